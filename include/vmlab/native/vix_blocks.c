/* QueryAllocatedBlocks. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <stdlib.h>

static bool well_formed(uint64_t start, uint64_t count, uint64_t chunk)
{
    return chunk >= VIX_MIN_CHUNK && chunk <= VIX_MAX_CHUNK && count > 0 && start % chunk == 0 && count % chunk == 0 &&
           count / chunk <= VIX_MAX_CHUNKS;
}

static VixDiskLibBlockList *list_of(const uint8_t *marks, uint64_t chunks, uint64_t start, uint64_t chunk, uint64_t end)
{
    size_t runs = 0;
    for (uint64_t i = 0; i < chunks; i++)
        runs += marks[i] && (i == 0 || !marks[i - 1]);
    VixDiskLibBlockList *list = calloc(1, sizeof *list + runs * sizeof(VixDiskLibBlock));
    if (!list)
        return NULL;
    VixDiskLibBlock *blocks = list->blocks;
    size_t made = 0;
    for (uint64_t i = 0; i < chunks; i++) {
        if (!marks[i])
            continue;
        uint64_t from = start + i * chunk, length = end - from < chunk ? end - from : chunk;
        if (i == 0 || !marks[i - 1])
            blocks[made++] = (VixDiskLibBlock){from, 0};
        blocks[made - 1].length += length;
    }
    list->numBlocks = (uint32_t)made;
    return list;
}

/* Only whole chunks inside the disk: a query cannot reach beyond the last whole chunk. */
VIX_API VixError VixDiskLib_QueryAllocatedBlocks(VixDiskLibHandle disk, VixDiskLibSectorType start,
                                                 VixDiskLibSectorType count, VixDiskLibSectorType chunk,
                                                 VixDiskLibBlockList **blocks)
{
    if (!vix_is_disk(disk) || !blocks)
        return disk && blocks ? VIX_INVALID_HANDLE : VL_INVALID;
    *blocks = NULL;
    if (!well_formed(start, count, chunk))
        return VL_INVALID;
    uint64_t capacity = vl_chain_capacity(disk->chain);
    if (start > capacity || count > capacity - start)
        return VL_INVALID;
    uint64_t end = start + count, chunks = count / chunk;
    uint8_t *marks = malloc(chunks);
    if (!marks)
        return VL_NO_MEMORY;
    uint64_t began = vix_now_us();
    int code = disk->control ? vix_control_admit(disk->control, VIX_QUERY, 0) : VL_OK;
    if (!code)
        code = vl_chain_allocated(disk->chain, start, count, chunk, marks);
    if (!code && !(*blocks = list_of(marks, chunks, start, chunk, end)))
        code = VL_NO_MEMORY;
    free(marks);
    vix_delay(disk, began);
    return (VixError)code;
}

VIX_API VixError VixDiskLib_FreeBlockList(VixDiskLibBlockList *blocks)
{
    free(blocks);
    return VL_OK;
}
