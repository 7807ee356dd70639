/* Data calls. Synchronous ones run on the caller's thread, asynchronous ones on the handle's. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <stdlib.h>

void vix_delay(const struct vix_disk *disk, uint64_t begins_us)
{
    if (disk->grant.latency_us)
        vix_sleep_until(begins_us + disk->grant.latency_us);
}

/* Moves the data first and holds the answer back, so that a request takes the latency and not latency plus copying. */
VixError vix_transfer(struct vix_disk *disk, const vix_request *request)
{
    uint64_t began = disk->grant.latency_us && !request->begins_us ? vix_now_us() : request->begins_us;
    vix_kind kind = request->writing ? VIX_WRITE : VIX_READ;
    int code = disk->control ? vix_control_admit(disk->control, kind, request->count * VL_SECTOR) : VL_OK;
    if (!code)
        code = request->writing ? vl_chain_write(disk->chain, request->start, request->count, request->buffer)
                                : vl_chain_read(disk->chain, request->start, request->count, request->buffer);
    vix_delay(disk, began);
    return (VixError)code;
}

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
