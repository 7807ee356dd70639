/* The data part of a consolidation: copies a delta's grains into the link below it.
 *
 * The chain reads the same before, during and after, because the delta still covers
 * the copied grains. A crash at any moment loses nothing, and the merge is repeated.
 */
#include "chain.h"

#include <stdlib.h>

#define BUFFER_SECTORS 2048u

static int copy_run(vl_chain *parent, int fd, uint64_t file_sector, uint64_t start, uint64_t count, uint8_t *buffer)
{
    while (count > 0) {
        uint64_t step = count < BUFFER_SECTORS ? count : BUFFER_SECTORS;
        int code = vl_pread_all(fd, buffer, step * VL_SECTOR, file_sector * VL_SECTOR);
        if (!code)
            code = vl_chain_write(parent, start, step, buffer);
        if (code)
            return code;
        file_sector += step;
        start += step;
        count -= step;
    }
    return VL_OK;
}

static int copy_extent(vl_chain *parent, const vl_extent *e, uint8_t *buffer)
{
    uint64_t at = 0;
    while ((at = vl_cowd_next(e->cowd, at, e->sectors)) < e->sectors) {
        uint64_t left = e->sectors - at, file_sector;
        uint64_t run = vl_cowd_run(e->cowd, at, left < BUFFER_SECTORS ? left : BUFFER_SECTORS, &file_sector);
        if (file_sector) {
            int code = copy_run(parent, vl_cowd_fd(e->cowd), file_sector, e->start + at, run, buffer);
            if (code)
                return code;
        }
        at += run;
    }
    return VL_OK;
}

int vl_merge(const char *child_path, const char *parent_path)
{
    vl_chain *child = NULL, *parent = NULL;
    uint8_t *buffer = malloc(BUFFER_SECTORS * VL_SECTOR);
    int code = buffer ? vl_chain_open(child_path, VL_OPEN_SINGLE_LINK, &child) : VL_NO_MEMORY;
    if (!code)
        code = vl_chain_open(parent_path, VL_OPEN_SINGLE_LINK | VL_OPEN_WRITABLE | VL_OPEN_UNRECORDED, &parent);
    if (!code && vl_chain_capacity(child) > vl_chain_capacity(parent))
        code = VL_BAD_CHAIN;
    for (size_t i = 0; !code && i < child->links[0].extent_count; i++) {
        const vl_extent *e = &child->links[0].extents[i];
        code = e->kind == VL_COWD ? copy_extent(parent, e, buffer) : VL_UNSUPPORTED;
    }
    if (!code)
        code = vl_chain_flush(parent);
    vl_chain_close(parent);
    vl_chain_close(child);
    free(buffer);
    return code;
}
