/* One request on the calling thread: admission by the NFC service, data, latency. */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <errno.h>
#include <sys/prctl.h>
#include <time.h>

uint64_t vix_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Makes sleeps exact to some microseconds, because the usual slack of 50 is a twentieth of a millisecond's latency. */
static void sleep_until(uint64_t due)
{
    struct timespec until = {.tv_sec = (time_t)(due / 1000000), .tv_nsec = (long)(due % 1000000) * 1000};
    int slack = prctl(PR_GET_TIMERSLACK);
    prctl(PR_SET_TIMERSLACK, 1);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    prctl(PR_SET_TIMERSLACK, slack > 0 ? slack : 0);
}

void vix_delay(const struct vix_disk *disk, uint64_t begins_us)
{
    if (disk->grant.latency_us)
        sleep_until(begins_us + disk->grant.latency_us);
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
