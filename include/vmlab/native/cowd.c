/* COWD: ESX's sparse redo log (Virtual Disk Format, "ESX Server sparse extents").
 *
 * 2048 bytes of header, a grain directory, grain tables of 4096 u32 entries that
 * hold the file sector of each grain (0 = look in the parent), then the grains.
 * Deltas made here have one-sector grains and all tables laid out at creation (a
 * hole until used). The map of the tables therefore never moves, and a lookup is a
 * memory read. Tables are read through the map but written with pwrite, because a
 * store into a hole of a full file system would be a SIGBUS instead of an error.
 * Files of others are read with any grain size and never written.
 */
#define _GNU_SOURCE
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES 4096u
#define TABLE_SECTORS (ENTRIES * 4 / VL_SECTOR)
#define HEADER_BYTES 2048u
#define MAX_GRAIN 1024u

typedef struct {
    char magic[4];
    uint32_t version, flags, sectors, grain, directory_at, directory_entries, free_sector;
    char parent_file[1024];
    uint32_t parent_generation, generation;
    char name[60], description[512];
    uint32_t saved_generation;
    char reserved[8];
    uint32_t unclean;
    char padding[396];
} cowd_header;
_Static_assert(sizeof(cowd_header) == HEADER_BYTES, "the published header is four sectors");

struct vl_cowd {
    int fd;
    bool writable;
    uint64_t sectors;
    uint32_t grain;
    uint32_t directory_entries;
    uint32_t *directory;
    const uint8_t *map; /* the file from 0 to the end of the last table */
    size_t map_size;
    pthread_mutex_t lock; /* guards free_sector */
    uint64_t free_sector;
};

static uint64_t tables_for(uint64_t sectors, uint32_t grain)
{
    uint64_t span = (uint64_t)ENTRIES * grain;
    return (sectors + span - 1) / span;
}

int vl_cowd_create(const char *path, uint64_t sectors, const char *parent_file)
{
    uint64_t tables = tables_for(sectors, 1);
    uint64_t directory_sectors = (tables * 4 + VL_SECTOR - 1) / VL_SECTOR;
    uint64_t first_table = HEADER_BYTES / VL_SECTOR + directory_sectors;
    uint64_t data_at = first_table + tables * TABLE_SECTORS;
    if (sectors == 0 || sectors + data_at > UINT32_MAX)
        return VL_TOO_BIG;
    cowd_header header = {
        .magic = {'C', 'O', 'W', 'D'}, .version = 1, .flags = 3, .sectors = (uint32_t)sectors, .grain = 1,
        .directory_at = HEADER_BYTES / VL_SECTOR, .directory_entries = (uint32_t)tables,
        .free_sector = (uint32_t)data_at};
    strncpy(header.parent_file, parent_file, sizeof header.parent_file - 1);
    uint32_t *directory = calloc(directory_sectors, VL_SECTOR);
    if (!directory)
        return VL_NO_MEMORY;
    for (uint64_t i = 0; i < tables; i++)
        directory[i] = (uint32_t)(first_table + i * TABLE_SECTORS);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int code = fd < 0 ? vl_from_errno(errno) : VL_OK;
    if (!code)
        code = vl_pwrite_all(fd, (const uint8_t *)&header, sizeof header, 0);
    if (!code)
        code = vl_pwrite_all(fd, (const uint8_t *)directory, directory_sectors * VL_SECTOR, HEADER_BYTES);
    if (!code && ftruncate(fd, (off_t)(data_at * VL_SECTOR)) < 0)
        code = vl_from_errno(errno);
    if (fd >= 0) {
        close(fd);
        if (code)
            unlink(path);
    }
    free(directory);
    return code;
}

/* Every number of the header is checked against the file's size before it is used. */
static int load(vl_cowd *c, uint64_t sectors)
{
    cowd_header h;
    struct stat st;
    if (fstat(c->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return VL_WRONG_TYPE;
    uint64_t size = (uint64_t)st.st_size;
    if (size < HEADER_BYTES || vl_pread_all(c->fd, (uint8_t *)&h, sizeof h, 0))
        return VL_BAD_DISK;
    if (memcmp(h.magic, "COWD", 4) != 0)
        return VL_WRONG_TYPE;
    if (h.version != 1 || h.grain == 0 || h.grain > MAX_GRAIN || (h.grain & (h.grain - 1)) || h.sectors != sectors)
        return VL_BAD_DISK;
    uint64_t tables = tables_for(h.sectors, h.grain);
    uint64_t directory_at = (uint64_t)h.directory_at * VL_SECTOR;
    if (h.directory_entries < tables || directory_at > size || tables * 4 > size - directory_at)
        return VL_BAD_DISK;
    if (!(c->directory = malloc(tables * 4)))
        return VL_NO_MEMORY;
    if (vl_pread_all(c->fd, (uint8_t *)c->directory, tables * 4, directory_at))
        return VL_IO;
    c->sectors = sectors;
    c->grain = h.grain;
    c->directory_entries = (uint32_t)tables;
    bool complete = true;
    for (uint64_t i = 0; i < tables; i++) {
        uint64_t end = ((uint64_t)c->directory[i] + TABLE_SECTORS) * VL_SECTOR;
        if (c->directory[i] && end > size)
            return VL_BAD_DISK;
        if (c->directory[i] && end > c->map_size)
            c->map_size = end;
        complete = complete && c->directory[i];
    }
    if (c->writable && (c->grain != 1 || !complete))
        return VL_UNSUPPORTED;
    c->free_sector = (size + VL_SECTOR - 1) / VL_SECTOR;
    if (h.free_sector > c->free_sector)
        c->free_sector = h.free_sector;
    return VL_OK;
}

int vl_cowd_open(const char *path, bool writable, uint64_t sectors, vl_cowd **out)
{
    *out = NULL;
    vl_cowd *c = calloc(1, sizeof *c);
    if (!c)
        return VL_NO_MEMORY;
    pthread_mutex_init(&c->lock, NULL);
    c->writable = writable;
    c->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    int code = c->fd < 0 ? vl_from_errno(errno) : load(c, sectors);
    if (!code && c->map_size) {
        void *map = mmap(NULL, c->map_size, PROT_READ, MAP_SHARED, c->fd, 0);
        if (map == MAP_FAILED)
            code = vl_from_errno(errno);
        else
            c->map = map;
    }
    if (code) {
        vl_cowd_close(c);
        return code;
    }
    *out = c;
    return VL_OK;
}

static int store_free_sector(vl_cowd *c)
{
    uint32_t value = c->free_sector > UINT32_MAX ? UINT32_MAX : (uint32_t)c->free_sector;
    return vl_pwrite_all(c->fd, (const uint8_t *)&value, sizeof value, offsetof(cowd_header, free_sector));
}

void vl_cowd_close(vl_cowd *c)
{
    if (!c)
        return;
    if (c->fd >= 0) {
        if (c->writable && c->map)
            (void)store_free_sector(c); /* only a hint, because opening takes the larger of it and the file's size */
        close(c->fd);
    }
    if (c->map)
        munmap((void *)c->map, c->map_size);
    free(c->directory);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

int vl_cowd_flush(vl_cowd *c)
{
    pthread_mutex_lock(&c->lock);
    int code = store_free_sector(c);
    pthread_mutex_unlock(&c->lock);
    return code ? code : fdatasync(c->fd) == 0 ? VL_OK : VL_IO;
}

int vl_cowd_fd(const vl_cowd *c)
{
    return c->fd;
}

static const uint32_t *table_of(const vl_cowd *c, uint64_t index)
{
    uint32_t at = c->directory[index];
    return at ? (const uint32_t *)(const void *)(c->map + (uint64_t)at * VL_SECTOR) : NULL;
}

static uint64_t lookup(const vl_cowd *c, uint64_t sector)
{
    uint64_t grain = sector / c->grain;
    const uint32_t *table = table_of(c, grain / ENTRIES);
    uint32_t at = table ? __atomic_load_n(&table[grain % ENTRIES], __ATOMIC_ACQUIRE) : 0;
    return at ? (uint64_t)at + sector % c->grain : 0;
}

uint64_t vl_cowd_run(const vl_cowd *c, uint64_t start, uint64_t limit, uint64_t *file_sector)
{
    uint64_t first = lookup(c, start);
    uint64_t length = 1;
    *file_sector = first;
    if (c->grain == 1) { /* the common case, without a division per sector */
        while (length < limit) {
            uint64_t sector = start + length;
            const uint32_t *table = table_of(c, sector / ENTRIES);
            uint64_t in_table = sector % ENTRIES, left = ENTRIES - in_table;
            if (left > limit - length)
                left = limit - length;
            if (!table) {
                if (first)
                    return length;
                length += left;
                continue;
            }
            for (uint64_t i = 0; i < left; i++, length++)
                if (__atomic_load_n(&table[in_table + i], __ATOMIC_ACQUIRE) != (first ? first + length : 0))
                    return length;
        }
        return length;
    }
    while (length < limit && lookup(c, start + length) == (first ? first + length : 0))
        length++;
    return length;
}

uint64_t vl_cowd_next(const vl_cowd *c, uint64_t start, uint64_t limit)
{
    uint64_t span = (uint64_t)ENTRIES * c->grain;
    while (start < limit) {
        uint64_t index = start / span;
        if (!c->directory[index]) {
            start = (index + 1) * span;
            continue;
        }
        uint64_t table_at = (uint64_t)c->directory[index] * VL_SECTOR;
        uint64_t entry_at = table_at + start % span / c->grain * 4;
        off_t data = lseek(c->fd, (off_t)entry_at, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            return start; /* this file system cannot find holes: look at every entry */
        uint64_t data_at = data < 0 ? UINT64_MAX : (uint64_t)data;
        if (data_at <= entry_at)
            return start;
        uint64_t table_end = table_at + (uint64_t)TABLE_SECTORS * VL_SECTOR;
        while (data_at >= table_end && index + 1 < c->directory_entries && /* neighbours share the hole */
               (uint64_t)c->directory[index + 1] * VL_SECTOR == table_end) {
            index++;
            table_at = table_end;
            table_end += (uint64_t)TABLE_SECTORS * VL_SECTOR;
        }
        if (data_at < table_end)
            return index * span + (data_at - table_at) / 4 * c->grain;
        start = (index + 1) * span;
    }
    return limit;
}

static int point_entries(vl_cowd *c, uint64_t start, uint64_t count, uint64_t file_sector)
{
    uint32_t entries[ENTRIES];
    while (count > 0) {
        uint64_t in_table = start % ENTRIES, batch = ENTRIES - in_table;
        if (batch > count)
            batch = count;
        for (uint64_t i = 0; i < batch; i++)
            entries[i] = (uint32_t)(file_sector + i);
        uint64_t at = (uint64_t)c->directory[start / ENTRIES] * VL_SECTOR + in_table * 4;
        int code = vl_pwrite_all(c->fd, (const uint8_t *)entries, batch * 4, at);
        if (code)
            return code;
        start += batch;
        file_sector += batch;
        count -= batch;
    }
    return VL_OK;
}

/* Takes room at the end of the file for up to `limit` sectors that are still unallocated. */
static uint64_t reserve(vl_cowd *c, uint64_t start, uint64_t limit, uint64_t *file_sector)
{
    uint64_t taken;
    pthread_mutex_lock(&c->lock);
    uint64_t run = vl_cowd_run(c, start, limit, &taken);
    *file_sector = 0;
    if (taken)
        run = 0; /* another writer was faster: the caller looks again */
    else if (c->free_sector + run <= UINT32_MAX) {
        *file_sector = c->free_sector;
        c->free_sector += run;
    }
    pthread_mutex_unlock(&c->lock);
    return run;
}

int vl_cowd_write(vl_cowd *c, uint64_t start, uint64_t count, const uint8_t *data)
{
    while (count > 0) {
        uint64_t at, run = vl_cowd_run(c, start, count, &at);
        bool fresh = at == 0;
        if (fresh && (run = reserve(c, start, run, &at)) == 0)
            continue;
        if (at == 0)
            return VL_TOO_BIG;
        int code = vl_pwrite_all(c->fd, data, run * VL_SECTOR, at * VL_SECTOR);
        if (!code && fresh) /* data first, because a reader in between still sees the parent's */
            code = point_entries(c, start, run, at);
        if (code)
            return code;
        start += run;
        count -= run;
        data += run * VL_SECTOR;
    }
    return VL_OK;
}
