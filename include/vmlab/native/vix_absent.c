/* Calls of the interface that this library does not offer. They are here for programs linked against it, and say so. */
#include "vix_internal.h"

#define ABSENT(name, ...)                                                                                              \
    VIX_API VixError VixDiskLib_##name(__VA_ARGS__);                                                                   \
    VIX_API VixError VixDiskLib_##name(__VA_ARGS__)                                                                    \
    {                                                                                                                  \
        vix_warn("VixDiskLib_" #name " is not offered by the lab's library");                                          \
        return VL_UNSUPPORTED;                                                                                         \
    }

ABSENT(CreateChild, void)
ABSENT(Attach, void)
ABSENT(IsAttachPossible, void)
ABSENT(Shrink, void)
ABSENT(Defragment, void)
ABSENT(Rename, void)
