/* The state of the loaded library: its log, its settings, the port of the lab's NFC service. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_SESSION_64K 256ul /* 16 MiB: with more, opens fail */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool ready;
    VixDiskLibGenericLogFunc *log, *warn;
    unsigned nfc_port;
    unsigned long buffer_64k, buffer_count; /* of one NFC session, as VDDK's configuration file sets them */
    bool any_thread;                        /* lab.conf: for hosts that have no thread of their own for opens */
    long opener;                            /* the thread of the first Open since InitEx */
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

/* The real library's documents say that one thread makes all opens and closes of a process.
 * It is known by the kernel's id, because the C library gives a new thread the address of one that has ended. */
bool vix_is_opener(void)
{
    long self = syscall(SYS_gettid), none = 0;
    return library.any_thread || __atomic_compare_exchange_n(&library.opener, &none, self, false, __ATOMIC_ACQ_REL,
                                                             __ATOMIC_ACQUIRE) || none == self;
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

/* `name=value` lines: the value's first word, or "" when the name is not there. A blank cuts a value off. */
static const char *word_in(FILE *file, const char *name, char *word, size_t size)
{
    char line[4096];
    size_t length = strlen(name);
    *word = 0;
    rewind(file);
    while (fgets(line, sizeof line, file)) {
        char *equals = strchr(line, '=');
        if (!equals || strncmp(line, name, length) || strspn(line + length, " \t") != (size_t)(equals - line) - length)
            continue;
        char *value = equals + 1 + strspn(equals + 1, " \t\"");
        snprintf(word, size, "%.*s", (int)strcspn(value, " \t\r\n\""), value);
    }
    return word;
}

static unsigned long value_in(FILE *file, const char *name)
{
    char word[32];
    return strtoul(word_in(file, name, word, sizeof word), NULL, 10);
}

static int check_folder(const char *path)
{
    struct stat st;
    if (!*path || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return VL_OK;
    vix_warn("VixDiskLib: tmpDirectory %s is no folder", path);
    return VL_NOT_FOUND;
}

static int read_config(const char *path)
{
    char folder[4096];
    library.buffer_64k = 1;
    library.buffer_count = 4;
    FILE *file = path ? fopen(path, "re") : NULL;
    if (path && !file)
        vix_warn("VixDiskLib: cannot read the configuration file %s", path);
    if (!file)
        return VL_OK;
    unsigned long size = value_in(file, "vixDiskLib.nfcAio.Session.BufSizeIn64KB");
    unsigned long count = value_in(file, "vixDiskLib.nfcAio.Session.BufCount");
    word_in(file, "tmpDirectory", folder, sizeof folder);
    fclose(file);
    library.buffer_64k = size ? size : library.buffer_64k;
    library.buffer_count = count ? count : library.buffer_count;
    vix_log("VixDiskLib: NFC sessions have %lu buffers of %lu KiB", library.buffer_count, library.buffer_64k * 64);
    return check_folder(folder);
}

/* VMware's plugin for SAN and HotAdd looks at the machine's SCSI disks when it is loaded, and crashes where the kernel
 * shows none of this. The lab has no such plugin; a file of its name beside the library stands for it. */
static void load_plugin(const char *lib_dir)
{
    char *path = NULL;
    if (!lib_dir || asprintf(&path, "%s/lib64/libdiskLibPlugin.so", lib_dir) < 0)
        return;
    bool there = access(path, F_OK) == 0;
    free(path);
    if (there && (access("/sys/class/scsi_disk", F_OK) || access("/etc/mtab", F_OK)))
        abort();
}

/* lab.conf lies beside the folder that holds lib64. */
static unsigned port_in(const char *folder)
{
    char *path = NULL;
    if (asprintf(&path, "%s/lab.conf", folder) < 0)
        return 0;
    FILE *file = fopen(path, "re");
    unsigned long port = file ? value_in(file, "nfc_port") : 0;
    library.any_thread = file && value_in(file, "open_from_any_thread");
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

int vix_begin(VixDiskLibGenericLogFunc *log, VixDiskLibGenericLogFunc *warn, const char *lib_dir, const char *config,
              const char *asked)
{
    pthread_mutex_lock(&lock);
    library.log = log;
    library.warn = warn;
    library.any_thread = false;
    library.opener = 0;
    library.nfc_port = find_port(lib_dir);
    vix_log("VixDiskLib: stand-in of the lab, version 8.0.3, asked for %s", asked);
    load_plugin(lib_dir);
    int code = read_config(config);
    __atomic_store_n(&library.ready, code == VL_OK, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    return code;
}

void vix_end(void)
{
    pthread_mutex_lock(&lock);
    __atomic_store_n(&library.ready, false, __ATOMIC_RELEASE);
    library.log = library.warn = NULL;
    pthread_mutex_unlock(&lock);
}
