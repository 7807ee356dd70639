/* Data calls. Synchronous ones run on the caller's thread, asynchronous ones on the handle's. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <stdlib.h>

static int check(VixDiskLibHandle disk, const vix_request *request)
{
    if (!vix_is_disk(disk))
        return disk ? VIX_INVALID_HANDLE : VL_INVALID;
    if (!request->buffer)
        return VL_INVALID;
    if (request->writing && !disk->writable)
        return VL_READ_ONLY;
    uint64_t capacity = vl_chain_capacity(disk->chain);
    return request->start > capacity || request->count > capacity - request->start ? VL_OUT_OF_RANGE : VL_OK;
}

static VixError run(VixDiskLibHandle disk, const vix_request *request)
{
    int code = check(disk, request);
    return code ? (VixError)code : vix_transfer(disk, request);
}

static VixError submit(VixDiskLibHandle disk, const vix_request *request)
{
    int code = request->callback ? check(disk, request) : VL_INVALID;
    if (!code)
        code = vix_queue_add(disk->queue, request);
    return code ? (VixError)code : VIX_ASYNC;
}

VIX_API VixError VixDiskLib_Read(VixDiskLibHandle disk, VixDiskLibSectorType start, VixDiskLibSectorType count,
                                 uint8_t *buffer)
{
    return run(disk, &(vix_request){.start = start, .count = count, .buffer = buffer});
}

VIX_API VixError VixDiskLib_Write(VixDiskLibHandle disk, VixDiskLibSectorType start, VixDiskLibSectorType count,
                                  const uint8_t *buffer)
{
    return run(disk, &(vix_request){.writing = true, .start = start, .count = count, .buffer = (uint8_t *)buffer});
}

VIX_API VixError VixDiskLib_ReadAsync(VixDiskLibHandle disk, VixDiskLibSectorType start, VixDiskLibSectorType count,
                                      uint8_t *buffer, VixDiskLibCompletionCB callback, void *data)
{
    return submit(disk, &(vix_request){
                            .start = start, .count = count, .buffer = buffer, .callback = callback, .data = data});
}

VIX_API VixError VixDiskLib_WriteAsync(VixDiskLibHandle disk, VixDiskLibSectorType start, VixDiskLibSectorType count,
                                       const uint8_t *buffer, VixDiskLibCompletionCB callback, void *data)
{
    return submit(disk, &(vix_request){.writing = true, .start = start, .count = count, .buffer = (uint8_t *)buffer,
                                       .callback = callback, .data = data});
}

VIX_API VixError VixDiskLib_Wait(VixDiskLibHandle disk)
{
    if (!vix_is_disk(disk))
        return disk ? VIX_INVALID_HANDLE : VL_INVALID;
    vix_queue_wait(disk->queue);
    return VL_OK;
}

VIX_API VixError VixDiskLib_Flush(VixDiskLibHandle disk)
{
    if (!vix_is_disk(disk))
        return disk ? VIX_INVALID_HANDLE : VL_INVALID;
    return (VixError)vl_chain_flush(disk->chain);
}
