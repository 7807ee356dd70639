/* Data through an opened chain: reading all of it, writing its top.
 *
 * Readers take no lock. Writing changes only one shared state, the content ID: once per
 * opened chain, at its first write, as ESXi does. A child of a base that was written to
 * is thereby found out (content-ID mismatch).
 */
#define _GNU_SOURCE
#include "chain.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static vl_extent *extent_at(vl_link *link, uint64_t sector)
{
    size_t low = 0, high = link->extent_count - 1;
    while (low < high) {
        size_t middle = (low + high + 1) / 2;
        if (link->extents[middle].start <= sector)
            low = middle;
        else
            high = middle - 1;
    }
    return &link->extents[low];
}

/* The part of [start, start + count) that lies in one extent of the link. */
vl_extent *vl_link_span(vl_link *link, uint64_t start, uint64_t count, uint64_t *length)
{
    vl_extent *e = extent_at(link, start);
    uint64_t left = e->start + e->sectors - start;
    *length = left < count ? left : count;
    return e;
}

static int read_link(vl_chain *chain, int index, uint64_t start, uint64_t count, uint8_t *data);

static int read_cowd(vl_chain *chain, int index, const vl_extent *e, uint64_t start, uint64_t count, uint8_t *data)
{
    while (count > 0) {
        uint64_t at, run = vl_cowd_run(e->cowd, start - e->start, count, &at);
        int code = at ? vl_pread_all(vl_cowd_fd(e->cowd), data, run * VL_SECTOR, at * VL_SECTOR)
                      : read_link(chain, index + 1, start, run, data);
        if (code)
            return code;
        start += run;
        count -= run;
        data += run * VL_SECTOR;
    }
    return VL_OK;
}

static int read_link(vl_chain *chain, int index, uint64_t start, uint64_t count, uint8_t *data)
{
    while (count > 0) {
        if (index == chain->count || start >= chain->links[index].capacity) {
            memset(data, 0, count * VL_SECTOR);
            return VL_OK;
        }
        uint64_t length;
        vl_extent *e = vl_link_span(&chain->links[index], start, count, &length);
        int code = VL_OK;
        if (e->kind == VL_ZERO)
            memset(data, 0, length * VL_SECTOR);
        else if (e->kind == VL_FLAT)
            code = vl_pread_all(e->fd, data, length * VL_SECTOR, (e->file_offset + start - e->start) * VL_SECTOR);
        else
            code = read_cowd(chain, index, e, start, length, data);
        if (code)
            return code;
        start += length;
        count -= length;
        data += length * VL_SECTOR;
    }
    return VL_OK;
}

static int check_range(const vl_chain *chain, uint64_t start, uint64_t count)
{
    uint64_t capacity = vl_chain_capacity(chain);
    return start <= capacity && count <= capacity - start ? VL_OK : VL_OUT_OF_RANGE;
}

int vl_chain_read(vl_chain *chain, uint64_t start, uint64_t count, uint8_t *data)
{
    int code = check_range(chain, start, count);
    return code ? code : read_link(chain, 0, start, count, data);
}

static int renew_content_id(vl_chain *chain)
{
    char text[9];
    if (__atomic_load_n(&chain->renewed, __ATOMIC_ACQUIRE))
        return VL_OK;
    int code = VL_OK;
    pthread_mutex_lock(&chain->lock);
    if (!chain->renewed) {
        const vl_descriptor *d = vl_chain_descriptor(chain);
        snprintf(text, sizeof text, "%08x", vl_new_content_id(d->content_id));
        code = vl_descriptor_set(d->path, NULL, "CID", text, false);
        __atomic_store_n(&chain->renewed, !code, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&chain->lock);
    return code;
}

static int prepare_write(vl_chain *chain, uint64_t start, uint64_t count)
{
    if (!(chain->flags & VL_OPEN_WRITABLE))
        return VL_READ_ONLY;
    int code = check_range(chain, start, count);
    if (code || count == 0)
        return code;
    if (!chain->raw && !(chain->flags & VL_OPEN_UNRECORDED))
        code = renew_content_id(chain);
    if (!code && chain->track)
        vl_track_stamp(chain->track, start, count);
    return code;
}

int vl_chain_write(vl_chain *chain, uint64_t start, uint64_t count, const uint8_t *data)
{
    int code = prepare_write(chain, start, count);
    while (!code && count > 0) {
        uint64_t length;
        vl_extent *e = vl_link_span(&chain->links[0], start, count, &length);
        if (e->kind == VL_ZERO)
            return VL_READ_ONLY;
        code = e->kind == VL_FLAT
                   ? vl_pwrite_all(e->fd, data, length * VL_SECTOR, (e->file_offset + start - e->start) * VL_SECTOR)
                   : vl_cowd_write(e->cowd, start - e->start, length, data);
        start += length;
        count -= length;
        data += length * VL_SECTOR;
    }
    return code;
}

int vl_chain_flush(vl_chain *chain)
{
    if (!(chain->flags & VL_OPEN_WRITABLE))
        return VL_OK;
    int code = chain->track ? vl_track_flush(chain->track) : VL_OK;
    for (size_t i = 0; !code && i < chain->links[0].extent_count; i++) {
        vl_extent *e = &chain->links[0].extents[i];
        if (e->kind == VL_COWD)
            code = vl_cowd_flush(e->cowd);
        else if (e->kind == VL_FLAT && fdatasync(e->fd) < 0)
            code = VL_IO;
    }
    return code;
}
