/* Calls that this library does not offer. They exist for programs that link against them, and return an error. */
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
