/* Finds the chunks of a chain that hold data, from holes of flat files and tables of sparse ones, over all links. */
#define _GNU_SOURCE
#include "chain.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define STEP 65536u /* sectors looked at before holes of the tables are skipped again */

typedef struct {
    uint64_t origin, chunk;
    uint8_t *marks;
} marker;

static void mark(const marker *m, uint64_t start, uint64_t count)
{
    uint64_t first = (start - m->origin) / m->chunk, last = (start + count - 1 - m->origin) / m->chunk;
    memset(m->marks + first, 1, last - first + 1);
}

/* A file that was cut off has no hole at its end, because the missing part is lost and is not zeros. */
static int mark_flat(const marker *m, const vl_extent *e, uint64_t start, uint64_t count)
{
    uint64_t shift = (e->file_offset - e->start) * VL_SECTOR; /* disk byte + shift = file byte; wraps as it should */
    uint64_t at = start * VL_SECTOR + shift, end = (start + count) * VL_SECTOR + shift;
    off_t size = lseek(e->fd, 0, SEEK_END);
    if (size < 0 || (uint64_t)size < end)
        return VL_IO;
    while (at < end) {
        off_t data = lseek(e->fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return VL_OK;
        off_t hole = data < 0 ? -1 : lseek(e->fd, data, SEEK_HOLE);
        if (hole < 0) { /* this file system cannot find holes */
            mark(m, start, count);
            return VL_OK;
        }
        if ((uint64_t)data >= end)
            return VL_OK;
        uint64_t stop = (uint64_t)hole < end ? (uint64_t)hole : end;
        uint64_t from = ((uint64_t)data - shift) / VL_SECTOR, to = (stop - shift + VL_SECTOR - 1) / VL_SECTOR;
        mark(m, from, to - from);
        at = (uint64_t)hole;
    }
    return VL_OK;
}

static void mark_cowd(const marker *m, const vl_extent *e, uint64_t start, uint64_t count)
{
    uint64_t at = start - e->start, end = at + count;
    while ((at = vl_cowd_next(e->cowd, at, end)) < end) {
        uint64_t file_sector, step = end - at < STEP ? end - at : STEP;
        uint64_t run = vl_cowd_run(e->cowd, at, step, &file_sector);
        if (file_sector)
            mark(m, e->start + at, run);
        at += run;
    }
}

int vl_chain_allocated(vl_chain *chain, uint64_t start, uint64_t count, uint64_t chunk, uint8_t *marks)
{
    uint64_t capacity = vl_chain_capacity(chain);
    if (chunk == 0 || start > capacity || count > capacity - start)
        return VL_OUT_OF_RANGE;
    marker m = {start, chunk, marks};
    memset(marks, 0, (count + chunk - 1) / chunk);
    for (int i = 0; i < chain->count; i++) {
        vl_link *link = &chain->links[i];
        uint64_t at = start, end = start + count < link->capacity ? start + count : link->capacity;
        while (at < end) {
            uint64_t length;
            vl_extent *e = vl_link_span(link, at, end - at, &length);
            int code = e->kind == VL_FLAT ? mark_flat(&m, e, at, length) : VL_OK;
            if (code)
                return code;
            if (e->kind == VL_COWD)
                mark_cowd(&m, e, at, length);
            at += length;
        }
    }
    return VL_OK;
}
