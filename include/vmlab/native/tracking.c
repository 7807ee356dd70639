/* Changed-block stamps: one u32 epoch per 64 KiB, in a file that every writer maps.
 *
 * Layout (little endian), made and read by vmlab.disks.change_tracking as well:
 *   0 "VMLABCTK"  8 u32 version = 1  12 u32 block bytes = 65536
 *   16 u64 capacity in bytes  24 u8[16] uuid  40 u32 epoch  44 u32 handed out
 *   4096 u32 stamp of each block
 * Stamps are written before the data, so that a crash leaves a superset.
 */
#define _GNU_SOURCE
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_SECTORS 128u
#define STAMPS_AT 4096u

struct vl_track {
    uint8_t *map;
    size_t size;
    uint64_t blocks;
};

typedef struct {
    char magic[8];
    uint32_t version, block_bytes;
    uint64_t capacity;
    uint8_t uuid[16];
    uint32_t epoch, handed;
} track_header;

static int check(const vl_track *t, uint64_t sectors)
{
    track_header h;
    memcpy(&h, t->map, sizeof h);
    if (memcmp(h.magic, "VMLABCTK", 8) != 0 || h.version != 1 || h.block_bytes != BLOCK_SECTORS * VL_SECTOR)
        return VL_BAD_DISK;
    return h.capacity == sectors * VL_SECTOR ? VL_OK : VL_BAD_DISK;
}

int vl_track_open(const char *path, uint64_t sectors, vl_track **out)
{
    struct stat st;
    *out = NULL;
    vl_track *t = calloc(1, sizeof *t);
    int fd = t ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        free(t);
        return t ? vl_from_errno(errno) : VL_NO_MEMORY;
    }
    t->blocks = (sectors + BLOCK_SECTORS - 1) / BLOCK_SECTORS;
    t->size = STAMPS_AT + t->blocks * 4;
    int code = fstat(fd, &st) < 0 ? vl_from_errno(errno) : (uint64_t)st.st_size < t->size ? VL_BAD_DISK : VL_OK;
    if (!code) {
        t->map = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (t->map == MAP_FAILED) {
            t->map = NULL;
            code = vl_from_errno(errno);
        } else
            code = check(t, sectors);
    }
    close(fd);
    if (code) {
        vl_track_close(t);
        return code;
    }
    *out = t;
    return VL_OK;
}

void vl_track_close(vl_track *t)
{
    if (!t)
        return;
    if (t->map)
        munmap(t->map, t->size);
    free(t);
}

int vl_track_flush(vl_track *t)
{
    return msync(t->map, t->size, MS_SYNC) == 0 ? VL_OK : VL_IO;
}

void vl_track_stamp(vl_track *t, uint64_t start, uint64_t count)
{
    uint32_t epoch;
    memcpy(&epoch, t->map + offsetof(track_header, epoch), sizeof epoch);
    _Atomic uint32_t *stamps = (_Atomic uint32_t *)(void *)(t->map + STAMPS_AT);
    uint64_t last = (start + count - 1) / BLOCK_SECTORS;
    for (uint64_t block = start / BLOCK_SECTORS; block <= last && block < t->blocks; block++)
        atomic_store_explicit(&stamps[block], epoch, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}
