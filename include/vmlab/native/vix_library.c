/* The library as a whole: Init and Exit, log callbacks, where the lab's NFC service is. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SESSION_64K 256ul /* 16 MiB: with more, opens fail */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool ready;
    VixDiskLibGenericLogFunc *log, *warn;
    unsigned nfc_port;
    unsigned long buffer_64k, buffer_count; /* of one NFC session, as VDDK's configuration file sets them */
} library;

bool vix_ready(void)
{
    return __atomic_load_n(&library.ready, __ATOMIC_ACQUIRE);
}

unsigned vix_nfc_port(void)
{
    return library.nfc_port;
}

bool vix_buffers_too_big(void)
{
    return library.buffer_64k > MAX_SESSION_64K || library.buffer_count > MAX_SESSION_64K ||
           library.buffer_64k * library.buffer_count > MAX_SESSION_64K;
}

static void emit(VixDiskLibGenericLogFunc *sink, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sink(format, arguments);
    va_end(arguments);
}

/* The text is made here and handed on as one "%s": hosts differ in how well they print a va_list. */
static void say(VixDiskLibGenericLogFunc *sink, const char *format, va_list arguments)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, arguments);
    if (sink)
        emit(sink, "%s\n", text);
}

void vix_log(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(library.log, format, arguments);
    va_end(arguments);
}

void vix_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(library.warn, format, arguments);
    va_end(arguments);
}

/* `name=value` lines; 0 when the name is not there or holds no number. */
static unsigned long value_in(FILE *file, const char *name)
{
    char line[512];
    unsigned long value = 0;
    size_t length = strlen(name);
    rewind(file);
    while (fgets(line, sizeof line, file)) {
        char *equals = strchr(line, '=');
        if (equals && strncmp(line, name, length) == 0 && strspn(line + length, " \t") == (size_t)(equals - line) - length)
            value = strtoul(equals + 1 + strspn(equals + 1, " \t\""), NULL, 10);
    }
    return value;
}

static void read_config(const char *path)
{
    library.buffer_64k = 1;
    library.buffer_count = 4;
    FILE *file = path ? fopen(path, "re") : NULL;
    if (path && !file)
        vix_warn("VixDiskLib: cannot read the configuration file %s", path);
    if (!file)
        return;
    unsigned long size = value_in(file, "vixDiskLib.nfcAio.Session.BufSizeIn64KB");
    unsigned long count = value_in(file, "vixDiskLib.nfcAio.Session.BufCount");
    fclose(file);
    library.buffer_64k = size ? size : library.buffer_64k;
    library.buffer_count = count ? count : library.buffer_count;
    vix_log("VixDiskLib: NFC sessions have %lu buffers of %lu KiB", library.buffer_count, library.buffer_64k * 64);
}

/* lab.conf lies beside the folder that holds lib64. */
static unsigned port_in(const char *folder)
{
    char *path = NULL;
    if (asprintf(&path, "%s/lab.conf", folder) < 0)
        return 0;
    FILE *file = fopen(path, "re");
    unsigned long port = file ? value_in(file, "nfc_port") : 0;
    if (file)
        fclose(file);
    free(path);
    return port < 65536 ? (unsigned)port : 0;
}

static unsigned find_port(const char *lib_dir)
{
    Dl_info self;
    unsigned port = lib_dir && *lib_dir ? port_in(lib_dir) : 0;
    if (port || !dladdr((void *)(uintptr_t)find_port, &self) || !self.dli_fname)
        return port;
    char *folder = realpath(self.dli_fname, NULL);
    for (int up = 0; folder && !port && up < 2; up++) { /* lib64, then the distribution's root */
        char *slash = strrchr(folder, '/');
        if (!slash)
            break;
        *slash = 0;
        port = port_in(folder);
    }
    free(folder);
    return port;
}

VIX_API VixError VixDiskLib_InitEx(uint32_t major, uint32_t minor, VixDiskLibGenericLogFunc *log,
                                   VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic, const char *libDir,
                                   const char *configFile)
{
    (void)panic;
    if (major < 6)
        return VL_UNSUPPORTED;
    pthread_mutex_lock(&lock);
    library.log = log;
    library.warn = warn;
    library.nfc_port = find_port(libDir);
    __atomic_store_n(&library.ready, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    vix_log("VixDiskLib: stand-in of the lab, version 8.0.3, asked for %u.%u", major, minor);
    read_config(configFile);
    return VL_OK;
}

VIX_API VixError VixDiskLib_Init(uint32_t major, uint32_t minor, VixDiskLibGenericLogFunc *log,
                                 VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic, const char *libDir)
{
    return VixDiskLib_InitEx(major, minor, log, warn, panic, libDir, NULL);
}

/* Closes what the host forgot, for it may unload the library straight after. */
VIX_API void VixDiskLib_Exit(void)
{
    vix_close_all();
    pthread_mutex_lock(&lock);
    __atomic_store_n(&library.ready, false, __ATOMIC_RELEASE);
    library.log = library.warn = NULL;
    pthread_mutex_unlock(&lock);
}

VIX_API const char *VixDiskLib_ListTransportModes(void)
{
    return "file:san:hotadd:nbdssl:nbd";
}
