/* The library as a whole: Init, Exit, the transport modes. */
#include "vix_internal.h"

#include <stdio.h>

VIX_API VixError VixDiskLib_InitEx(uint32_t major, uint32_t minor, VixDiskLibGenericLogFunc *log,
                                   VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic, const char *libDir,
                                   const char *configFile)
{
    char asked[32];
    (void)panic;
    snprintf(asked, sizeof asked, "%u.%u", major, minor);
    return (VixError)(major < 6 ? VL_UNSUPPORTED : vix_begin(log, warn, libDir, configFile, asked));
}

VIX_API VixError VixDiskLib_Init(uint32_t major, uint32_t minor, VixDiskLibGenericLogFunc *log,
                                 VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic, const char *libDir)
{
    return VixDiskLib_InitEx(major, minor, log, warn, panic, libDir, NULL);
}

/* Closes handles that the host forgot, because it may unload the library straight after. */
VIX_API void VixDiskLib_Exit(void)
{
    vix_close_all();
    vix_end();
}

VIX_API const char *VixDiskLib_ListTransportModes(void)
{
    return "file:san:hotadd:nbdssl:nbd";
}
