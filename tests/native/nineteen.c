/* The smallest VixDiskLib a binding has to work with: the 19 symbols, over one plain local file as the disk.
 * Compiled with -DWITH_QUERY it also has QueryAllocatedBlocks, which fails with query=CODE.
 * FAKE_VDDK in the environment, read by InitEx, changes its ways: comma-separated words of
 *   thread        completions on another thread          reverse       ... and the newest request first
 *   sync          ReadAsync and WriteAsync: not supported (6)
 *   fail=N:CODE   the N-th read (from 1) ends with CODE   refuse=N:CODE the N-th ReadAsync is not accepted
 *   wrefuse=N:CODE  the N-th WriteAsync is not accepted
 *   wfail=N:CODE  the N-th write ends with CODE         zero=N  the N-th ReadAsync returns 0, and never calls back
 *   hang=N        the N-th read never completes           hangopen      Open never returns
 *   crash=N       the N-th read is a SIGSEGV              delay=US      microseconds before each completion
 *   open=CODE     Open fails                              init=CODE     InitEx fails
 *   hanginit      InitEx never returns                   chatty      prints to stdout */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
typedef uint64_t VixError;
typedef void (*Log)(const char *, va_list);
typedef void (*Completion)(void *, VixError);
struct info { uint32_t geometry[6]; uint64_t capacity; int32_t adapter, links; char *hint, *uuid; uint32_t sizes[2]; };
struct request { struct request *next; int fd; bool write; uint64_t at, length; uint8_t *memory; Completion done; void *data;
                 long number; };
struct disk { int fd; };

static char modes[256];
static Log warn_log;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct request *queue;
static long queued, reads, writes;
static bool stopping, working;
static pthread_t worker;

static const char *mode(const char *word)
{
    const char *at = modes;
    size_t length = strlen(word);
    while (at && *at) {
        if (!strncmp(at, word, length) && (at[length] == 0 || at[length] == ',' || at[length] == '='))
            return at + length + (at[length] == '=');
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    return NULL;
}

static long number_of(const char *word)
{
    const char *value = mode(word);
    return value ? atol(value) : -1;
}

static VixError code_for(const char *word, long number)
{
    const char *value = mode(word), *colon = value ? strchr(value, ':') : NULL;
    return colon && atol(value) == number ? (VixError)atol(colon + 1) : 0;
}

static void forever(void) { for (;;) pause(); }

static VixError move(struct request *r)
{
    if (!r->write && number_of("crash") == r->number)
        *(volatile int *)8 = 1;
    long delay = number_of("delay");
    if (delay > 0)
        usleep(delay);
    VixError code = code_for(r->write ? "wfail" : "fail", r->number);
    if (code)
        return code;
    struct stat st;
    if (fstat(r->fd, &st) || r->at + r->length > (uint64_t)st.st_size)
        return 16007 | (7ULL << 32);
    ssize_t n = r->write ? pwrite(r->fd, r->memory, r->length, r->at) : pread(r->fd, r->memory, r->length, r->at);
    return n == (ssize_t)r->length ? 0 : 7;
}

static void *work(void *nothing)
{
    (void)nothing;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!queue && !stopping)
            pthread_cond_wait(&changed, &lock);
        if (stopping && !queue) {
            pthread_mutex_unlock(&lock);
            return NULL;
        }
        struct request **at = &queue;
        if (!mode("reverse"))
            while ((*at)->next)
                at = &(*at)->next;
        struct request *r = *at;
        *at = r->next;
        pthread_mutex_unlock(&lock);
        if (mode("reverse"))
            usleep(300);
        if (r->write || number_of("hang") != r->number)
            r->done(r->data, move(r));
        else
            forever();
        free(r);
        pthread_mutex_lock(&lock);
        queued--;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
}

static void say(Log sink, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sink(format, arguments);
    va_end(arguments);
}

EXPORT VixError VixDiskLib_InitEx(uint32_t major, uint32_t minor, Log log, Log warn, Log panic, const char *dir,
                                  const char *config)
{
    (void)panic;
    const char *given = getenv("FAKE_VDDK");
    snprintf(modes, sizeof modes, "%s", given ? given : "");
    reads = writes = 0;
    stopping = false;
    warn_log = warn;
    say(log, "init %u.%u in %s\n", major, minor, dir);
    say(warn, "VDDK_PhoneHome: %s number %d of %.1f\n", "noise", 42, 1.5);
    if (config && access(config, R_OK))
        return 4;
    if (mode("hanginit"))
        forever();
    if (number_of("init") > 0)
        return number_of("init");
    if (mode("thread") || mode("reverse"))
        working = !pthread_create(&worker, NULL, work, NULL);
    return 0;
}

EXPORT void VixDiskLib_Exit(void)
{
    pthread_mutex_lock(&lock);
    stopping = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (working)
        pthread_join(worker, NULL);
    working = false;
}

/* As in nbdkit's dummy: success without writing the handle. */
EXPORT VixError VixDiskLib_ConnectEx(const void *p, char ro, const char *ref, const char *modes_, void **out)
{
    (void)p, (void)ro, (void)ref, (void)modes_, (void)out;
    return 0;
}
EXPORT VixError VixDiskLib_Disconnect(void *connection) { return connection ? 3 : 0; }
EXPORT void VixDiskLib_FreeConnectParams(void *p) { (void)p; abort(); }

EXPORT VixError VixDiskLib_Open(void *connection, const char *path, uint32_t flags, void **out)
{
    (void)connection;
    if (mode("hangopen"))
        forever();
    if (number_of("open") > 0)
        return number_of("open");
    if (mode("chatty")) {
        printf("{\"event\": \"result\", \"value\": \"a lie\"}\n");
        fflush(stdout);
        fprintf(stderr, "chatter on stderr\n");
    }
    int fd = open(path, (flags & 4 ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 4 : 13;
    struct disk *disk = malloc(sizeof *disk);
    disk->fd = fd;
    *out = disk;
    return 0;
}
EXPORT VixError VixDiskLib_Close(struct disk *disk)
{
    close(disk->fd);
    free(disk);
    return 0;
}
EXPORT VixError VixDiskLib_GetInfo(struct disk *disk, struct info **out)
{
    struct stat st;
    fstat(disk->fd, &st);
    *out = calloc(1, sizeof **out);
    (*out)->capacity = st.st_size / 512;
    return 0;
}
EXPORT void VixDiskLib_FreeInfo(struct info *info) { free(info); }
EXPORT const char *VixDiskLib_GetTransportMode(void *disk) { (void)disk; return "file"; }

static VixError sync_io(struct disk *disk, uint64_t start, uint64_t count, uint8_t *memory, bool write)
{
    struct request r = {.fd = disk->fd, .write = write, .at = start * 512, .length = count * 512, .memory = memory,
                        .number = write ? ++writes : ++reads};
    if (!write && number_of("hang") == r.number)
        forever();
    return move(&r);
}

static VixError async_io(struct disk *disk, uint64_t start, uint64_t count, uint8_t *memory, Completion done, void *data,
                         bool write)
{
    if (mode("sync"))
        return 6;
    long number = write ? ++writes : ++reads;
    VixError refused = code_for(write ? "wrefuse" : "refuse", number);
    if (refused)
        return refused;
    if (!write && number_of("zero") == number)
        return 0;
    struct request *r = malloc(sizeof *r);
    *r = (struct request){.fd = disk->fd, .write = write, .at = start * 512, .length = count * 512, .memory = memory,
                          .done = done, .data = data, .number = number};
    if (working) {
        pthread_mutex_lock(&lock);
        r->next = queue;
        queue = r;
        queued++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        return 25000;
    }
    if (write || number_of("hang") != number)
        done(data, move(r));
    free(r);
    return 25000;
}

EXPORT VixError VixDiskLib_Read(struct disk *d, uint64_t s, uint64_t n, uint8_t *m) { return sync_io(d, s, n, m, false); }
EXPORT VixError VixDiskLib_Write(struct disk *d, uint64_t s, uint64_t n, uint8_t *m) { return sync_io(d, s, n, m, true); }
EXPORT VixError VixDiskLib_ReadAsync(struct disk *d, uint64_t s, uint64_t n, uint8_t *m, Completion c, void *data)
{
    return async_io(d, s, n, m, c, data, false);
}
EXPORT VixError VixDiskLib_WriteAsync(struct disk *d, uint64_t s, uint64_t n, uint8_t *m, Completion c, void *data)
{
    return async_io(d, s, n, m, c, data, true);
}
EXPORT VixError VixDiskLib_Flush(struct disk *disk) { return fsync(disk->fd) ? 7 : 0; }
EXPORT VixError VixDiskLib_Wait(void *disk)
{
    (void)disk;
    pthread_mutex_lock(&lock);
    while (queued)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return 0;
}
EXPORT VixError VixDiskLib_Create(void) { return 6; }
EXPORT char *VixDiskLib_GetErrorText(VixError error, const char *locale)
{
    char text[64];
    snprintf(text, sizeof text, "fake error %llu", (unsigned long long)(error & 0xFFFF));
    return locale ? NULL : strdup(text);
}
EXPORT void VixDiskLib_FreeErrorText(char *text) { free(text); }

#ifdef WITH_QUERY
struct list { uint32_t count; uint64_t runs[2]; };
EXPORT VixError VixDiskLib_QueryAllocatedBlocks(void *disk, uint64_t start, uint64_t n, uint64_t chunk, struct list **out)
{
    (void)disk, (void)chunk;
    if (mode("hangquery"))
        forever();
    if (number_of("query") > 0)
        return number_of("query");
    *out = calloc(1, sizeof **out);
    **out = (struct list){1, {start, n}};
    return 0;
}
EXPORT VixError VixDiskLib_FreeBlockList(struct list *list)
{
    free(list);
    return 0;
}
#endif
