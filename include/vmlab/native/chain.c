/* Opens a chain of links as one disk: finds its files and checks that they fit together. */
#define _GNU_SOURCE
#include "chain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int lock_for_writing(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? VL_OK : VL_LOCKED;
}

static int open_flat(vl_extent *e, const char *path, uint64_t file_offset, bool writable)
{
    struct stat st;
    e->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (e->fd < 0)
        return vl_from_errno(errno);
    if (fstat(e->fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        return VL_WRONG_TYPE;
    off_t size = lseek(e->fd, 0, SEEK_END);
    if (size < 0 || (uint64_t)size / VL_SECTOR < file_offset + e->sectors)
        return VL_BAD_DISK;
    e->file_offset = file_offset;
    return writable ? lock_for_writing(e->fd) : VL_OK;
}

static int open_extent(vl_extent *e, const vl_descriptor *d, const vl_extent_line *line, bool writable)
{
    e->kind = line->kind;
    e->sectors = line->sectors;
    e->fd = -1;
    if (line->kind == VL_ZERO)
        return VL_OK;
    char *path = vl_sibling(d->path, line->file);
    if (!path)
        return VL_NO_MEMORY;
    int code = line->kind == VL_FLAT ? open_flat(e, path, line->file_offset, writable)
                                     : vl_cowd_open(path, writable, line->sectors, &e->cowd);
    if (!code && line->kind == VL_COWD && writable)
        code = lock_for_writing(vl_cowd_fd(e->cowd));
    free(path);
    return code;
}

static void close_link(vl_link *link)
{
    for (size_t i = 0; link->extents && i < link->extent_count; i++) {
        if (link->extents[i].fd >= 0)
            close(link->extents[i].fd);
        vl_cowd_close(link->extents[i].cowd);
    }
    free(link->extents);
    vl_descriptor_free(link->descriptor);
}

static int open_link(vl_link *link, bool writable)
{
    const vl_descriptor *d = link->descriptor;
    uint64_t start = 0;
    link->capacity = d->capacity;
    link->extents = calloc(d->extent_count, sizeof *link->extents);
    if (!link->extents)
        return VL_NO_MEMORY;
    link->extent_count = d->extent_count;
    for (size_t i = 0; i < d->extent_count; i++)
        link->extents[i].fd = -1;
    for (size_t i = 0; i < d->extent_count; i++) {
        link->extents[i].start = start;
        int code = open_extent(&link->extents[i], d, &d->extents[i], writable);
        if (code)
            return code;
        start += d->extents[i].sectors;
    }
    return VL_OK;
}

/* A file without a descriptor is one flat extent of whole sectors: give it the descriptor it lacks. */
static int describe_raw(const char *path, vl_descriptor **out)
{
    struct stat st;
    char *text = NULL;
    const char *slash = strrchr(path, '/');
    if (stat(path, &st) < 0)
        return vl_from_errno(errno);
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)VL_SECTOR || strchr(path, '"'))
        return VL_WRONG_TYPE;
    int length = asprintf(&text,
                          "# Disk DescriptorFile\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"
                          "RW %llu FLAT \"%s\" 0\n",
                          (unsigned long long)st.st_size / VL_SECTOR, slash ? slash + 1 : path);
    if (length < 0)
        return VL_NO_MEMORY;
    int code = vl_descriptor_parse(text, (size_t)length, out);
    free(text);
    if (!code && !((*out)->path = strdup(path)))
        code = VL_NO_MEMORY;
    return code;
}

static int load_top(vl_chain *chain, const char *path, vl_descriptor **out)
{
    char head[32] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return vl_from_errno(errno);
    ssize_t got = pread(fd, head, sizeof head, 0);
    close(fd);
    if (got < 0)
        return vl_from_errno(errno);
    if (vl_is_descriptor(head, (size_t)got))
        return vl_descriptor_load(path, out);
    if (memcmp(head, "KDMV", 4) == 0)
        return VL_UNSUPPORTED; /* hosted sparse: not a format of this lab */
    if (!(chain->flags & VL_OPEN_ALLOW_RAW) || memcmp(head, "COWD", 4) == 0)
        return VL_WRONG_TYPE;
    chain->raw = true;
    return describe_raw(path, out);
}

static int load_parent(const vl_chain *chain, const vl_descriptor *child, vl_descriptor **out)
{
    char *path = vl_sibling(child->path, child->parent_hint);
    if (!path)
        return VL_NO_MEMORY;
    int code = vl_descriptor_load(path, out);
    free(path);
    if (code)
        return code == VL_NOT_FOUND ? VL_PARTIAL_CHAIN : code;
    if (!(chain->flags & VL_OPEN_IGNORE_CONTENT_ID) && (*out)->content_id != child->parent_content_id)
        return VL_CONTENT_ID_MISMATCH;
    return VL_OK;
}

static int open_links(vl_chain *chain, const char *path)
{
    bool writable = chain->flags & VL_OPEN_WRITABLE;
    for (;;) {
        vl_link *link = &chain->links[chain->count];
        const vl_descriptor *child = chain->count ? chain->links[chain->count - 1].descriptor : NULL;
        int code = child ? load_parent(chain, child, &link->descriptor) : load_top(chain, path, &link->descriptor);
        if (link->descriptor)
            chain->count++;
        if (code || (code = open_link(link, writable && !child)))
            return code;
        if (link->descriptor->parent_content_id == VL_NO_PARENT || (chain->flags & VL_OPEN_SINGLE_LINK))
            return VL_OK;
        if (chain->count == VL_MAX_LINKS)
            return VL_BAD_CHAIN;
    }
}

static int open_tracking(vl_chain *chain)
{
    const vl_descriptor *d = chain->links[0].descriptor;
    if (!d->track_path || !(chain->flags & VL_OPEN_WRITABLE) || (chain->flags & VL_OPEN_UNRECORDED))
        return VL_OK;
    char *path = vl_sibling(d->path, d->track_path);
    int code = path ? vl_track_open(path, d->capacity, &chain->track) : VL_NO_MEMORY;
    free(path);
    return code;
}

int vl_chain_open(const char *path, unsigned flags, vl_chain **out)
{
    *out = NULL;
    vl_chain *chain = calloc(1, sizeof *chain);
    if (!chain)
        return VL_NO_MEMORY;
    chain->flags = flags;
    pthread_mutex_init(&chain->lock, NULL);
    int code = open_links(chain, path);
    if (!code)
        code = open_tracking(chain);
    if (code) {
        vl_chain_close(chain);
        return code;
    }
    *out = chain;
    return VL_OK;
}

void vl_chain_close(vl_chain *chain)
{
    if (!chain)
        return;
    for (int i = 0; i < chain->count; i++)
        close_link(&chain->links[i]);
    vl_track_close(chain->track);
    pthread_mutex_destroy(&chain->lock);
    free(chain);
}

uint64_t vl_chain_capacity(const vl_chain *chain)
{
    return chain->links[0].capacity;
}

int vl_chain_links(const vl_chain *chain)
{
    return chain->count;
}

const vl_descriptor *vl_chain_descriptor(const vl_chain *chain)
{
    return chain->links[0].descriptor;
}
