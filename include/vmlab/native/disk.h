/* The disk core: VMDK chains on a local file system.
 *
 * A disk is a chain of links. Each link is a text descriptor and one or more
 * extents: flat data, or a COWD sparse delta of one-sector grains. All offsets
 * and lengths are in 512-byte sectors unless a name says bytes. Functions give
 * 0 or one of the codes below, which are VixDiskLib's own numbers, so that the
 * layer above never translates. Knows nothing of VDDK, sockets or threads of
 * its own; data calls on one chain may come from several threads at once.
 */
#ifndef VMLAB_DISK_H
#define VMLAB_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VL_SECTOR 512u
#define VL_MAX_LINKS 256
#define VL_NO_PARENT UINT32_C(0xffffffff)
#ifndef VL_EXPORT /* the stand-in, which holds this core too, does not show it */
#define VL_EXPORT __attribute__((visibility("default")))
#endif

enum {
    VL_OK = 0,
    VL_FAIL = 1,
    VL_NO_MEMORY = 2,
    VL_INVALID = 3,
    VL_NOT_FOUND = 4,
    VL_UNSUPPORTED = 6,
    VL_FILE_ERROR = 7,
    VL_DISK_FULL = 8,
    VL_WRONG_TYPE = 9,
    VL_READ_ONLY = 11,
    VL_EXISTS = 12,
    VL_NO_ACCESS = 13,
    VL_LOCKED = 15,
    VL_TOO_BIG = 21,
    VL_BAD_DISK = 16000,
    VL_IO = 16002,
    VL_PARTIAL_CHAIN = 16003,
    VL_OUT_OF_RANGE = 16007,
    VL_CONTENT_ID_MISMATCH = 16008,
    VL_TOO_MANY_FILES = 16027,
    VL_BAD_CHAIN = 16030,
    VL_NO_SUCH_KEY = 16052,
};

/* ---- descriptor.c, entries.c: the text file that names a link's extents ---- */

typedef enum { VL_FLAT, VL_COWD, VL_ZERO } vl_extent_kind;

typedef struct {
    vl_extent_kind kind;
    uint64_t sectors;
    uint64_t file_offset; /* sectors into the file, flat extents only */
    char *file;           /* as written in the descriptor */
} vl_extent_line;

typedef struct {
    char *path;
    char *text; /* NUL-terminated copy of the whole file */
    size_t text_length;
    uint32_t content_id;
    uint32_t parent_content_id;
    char *create_type;
    char *parent_hint; /* NULL for a base */
    char *track_path;  /* change-tracking file as written; NULL when untracked */
    vl_extent_line *extents;
    size_t extent_count;
    uint64_t capacity;
} vl_descriptor;

int vl_descriptor_load(const char *path, vl_descriptor **out);
int vl_descriptor_parse(const char *text, size_t length, vl_descriptor **out);
void vl_descriptor_free(vl_descriptor *d);
/* Value of a disk-database key ("ddb." is prefixed); copies at most size bytes
 * and always tells the full length with its NUL. */
int vl_descriptor_ddb(const vl_descriptor *d, const char *key, char *value, size_t size, size_t *required);
/* All disk-database keys, NUL-separated with one more NUL at the end. */
int vl_descriptor_ddb_keys(const vl_descriptor *d, char *keys, size_t size, size_t *required);
/* Set `name` to `value` in the file at `path` and rename the new text into place;
 * NULL removes the line. `section` is the comment line under which a new entry goes. */
int vl_descriptor_set(const char *path, const char *section, const char *name, const char *value, bool quoted);
bool vl_is_descriptor(const char *head, size_t length);

/* ---- cowd.c: one sparse delta file ---- */

typedef struct vl_cowd vl_cowd;
int vl_cowd_create(const char *path, uint64_t sectors, const char *parent_file);
int vl_cowd_open(const char *path, bool writable, uint64_t sectors, vl_cowd **out);
void vl_cowd_close(vl_cowd *c);
int vl_cowd_flush(vl_cowd *c);
/* Length of the run at `start` (at most `limit`) that is all allocated and
 * contiguous in the file, or all unallocated; file_sector is 0 for the latter. */
uint64_t vl_cowd_run(const vl_cowd *c, uint64_t start, uint64_t limit, uint64_t *file_sector);
int vl_cowd_fd(const vl_cowd *c);
int vl_cowd_write(vl_cowd *c, uint64_t start, uint64_t count, const uint8_t *data);
/* First sector >= start whose grain may be allocated, or `limit`: skips holes of the tables. */
uint64_t vl_cowd_next(const vl_cowd *c, uint64_t start, uint64_t limit);

/* ---- tracking.c: changed-block stamps beside a link ---- */

typedef struct vl_track vl_track;
int vl_track_open(const char *path, uint64_t sectors, vl_track **out);
void vl_track_close(vl_track *t);
int vl_track_flush(vl_track *t);
void vl_track_stamp(vl_track *t, uint64_t start, uint64_t count);

/* ---- chain.c, transfer.c, allocated.c: a disk as its user sees it ---- */

typedef struct vl_chain vl_chain;
enum {
    VL_OPEN_WRITABLE = 1,
    VL_OPEN_SINGLE_LINK = 2,
    VL_OPEN_IGNORE_CONTENT_ID = 4,
    VL_OPEN_ALLOW_RAW = 8,   /* a file without a descriptor is one flat extent */
    VL_OPEN_UNRECORDED = 16, /* writes change neither stamps nor content ID: merging only */
};

VL_EXPORT int vl_chain_open(const char *path, unsigned flags, vl_chain **out);
VL_EXPORT void vl_chain_close(vl_chain *chain);
VL_EXPORT uint64_t vl_chain_capacity(const vl_chain *chain);
VL_EXPORT int vl_chain_links(const vl_chain *chain);
VL_EXPORT int vl_chain_read(vl_chain *chain, uint64_t start, uint64_t count, uint8_t *data);
VL_EXPORT int vl_chain_write(vl_chain *chain, uint64_t start, uint64_t count, const uint8_t *data);
VL_EXPORT int vl_chain_flush(vl_chain *chain);
/* marks[i] = 1 where chunk i, counted from `start`, holds an allocated sector. `start` need not be aligned. */
VL_EXPORT int vl_chain_allocated(vl_chain *chain, uint64_t start, uint64_t count, uint64_t chunk, uint8_t *marks);
const vl_descriptor *vl_chain_descriptor(const vl_chain *chain);

/* ---- create.c, merge.c: making links and merging them away ---- */

VL_EXPORT int vl_create_flat(const char *path, const char *create_type, const char *adapter, const char *uuid,
                             uint64_t sectors, unsigned hw_version, bool thin);
VL_EXPORT int vl_create_raw_map(const char *path, const char *create_type, const char *target, const char *adapter,
                                const char *uuid, uint64_t sectors);
VL_EXPORT int vl_create_child(const char *parent_path, const char *child_path);
VL_EXPORT int vl_extend_flat(const char *path, uint64_t sectors);
VL_EXPORT int vl_remove(const char *path);
/* Copy every allocated grain of the link at child_path into its parent, and sync.
 * Neither descriptor changes; may be repeated after a crash. */
VL_EXPORT int vl_merge(const char *child_path, const char *parent_path);
VL_EXPORT int vl_set_entry(const char *path, const char *section, const char *name, const char *value, int quoted);

/* ---- util.c ---- */

int vl_from_errno(int error);
char *vl_sibling(const char *path, const char *name); /* name relative to path's folder; absolute names pass */
char *vl_stem(const char *path);                      /* base name without .vmdk */
int vl_pread_all(int fd, uint8_t *data, uint64_t bytes, uint64_t offset);
int vl_pwrite_all(int fd, const uint8_t *data, uint64_t bytes, uint64_t offset);
int vl_read_file(const char *path, size_t limit, char **text, size_t *length);
int vl_write_file(const char *path, const char *text, size_t length, bool replace);
uint32_t vl_new_content_id(uint32_t not_this);

#endif
