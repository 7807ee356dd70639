/* Clone: any disk that can be opened, into a new local disk. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <stdlib.h>

#define STEP 2048u /* sectors */

static bool any(const uint8_t *marks, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++)
        if (marks[i])
            return true;
    return false;
}

static int copy_step(VixDiskLibHandle to, VixDiskLibHandle from, uint64_t at, uint64_t count, uint8_t *buffer)
{
    int code = (int)vix_transfer(from, &(vix_request){.start = at, .count = count, .buffer = buffer});
    return code ? code : vl_chain_write(to->chain, at, count, buffer);
}

/* Only allocated blocks are read, because the new disk is zeros already. */
static int copy_disk(VixDiskLibHandle to, VixDiskLibHandle from, VixDiskLibProgressFunc progress, void *data)
{
    uint64_t capacity = vl_chain_capacity(from->chain), chunks = (capacity + VIX_MIN_CHUNK - 1) / VIX_MIN_CHUNK;
    uint8_t *marks = malloc(chunks), *buffer = malloc(STEP * VL_SECTOR);
    int code = marks && buffer ? vl_chain_allocated(from->chain, 0, capacity, VIX_MIN_CHUNK, marks) : VL_NO_MEMORY;
    for (uint64_t at = 0; !code && at < capacity; at += STEP) {
        uint64_t count = capacity - at < STEP ? capacity - at : STEP;
        if (any(marks, at / VIX_MIN_CHUNK, (at + count + VIX_MIN_CHUNK - 1) / VIX_MIN_CHUNK))
            code = copy_step(to, from, at, count, buffer);
        if (progress)
            (void)progress(data, (int)((at + count) * 100 / capacity));
    }
    free(marks);
    free(buffer);
    return code;
}

static VixError clone_opened(VixDiskLibConnection to, const char *path, VixDiskLibHandle from,
                             const VixDiskLibCreateParams *params, VixDiskLibProgressFunc progress, void *data)
{
    VixDiskLibHandle made;
    VixDiskLibCreateParams wanted = *params;
    wanted.capacity = vl_chain_capacity(from->chain);
    VixError error = VixDiskLib_Create(to, path, &wanted, NULL, NULL);
    if (error || (error = VixDiskLib_Open(to, path, 0, &made)))
        return error;
    error = (VixError)copy_disk(made, from, progress, data);
    (void)VixDiskLib_Close(made);
    if (error)
        (void)vl_remove(path);
    return error;
}

VIX_API VixError VixDiskLib_Clone(VixDiskLibConnection dstConnection, const char *dstPath,
                                  VixDiskLibConnection srcConnection, const char *srcPath,
                                  const VixDiskLibCreateParams *params, VixDiskLibProgressFunc progress, void *data,
                                  Bool overWrite)
{
    VixDiskLibHandle from;
    if (!vix_is_connection(dstConnection) || !dstPath || !params)
        return VL_INVALID;
    if (!dstConnection->local)
        return VIX_NOT_ON_REMOTE;
    VixError error = VixDiskLib_Open(srcConnection, srcPath, VIX_OPEN_READ_ONLY, &from);
    if (error)
        return error;
    if (overWrite)
        (void)vl_remove(dstPath);
    error = clone_opened(dstConnection, dstPath, from, params, progress, data);
    (void)VixDiskLib_Close(from);
    return error;
}
