/* Asynchronous requests: a queue per handle, served by threads of the handle that start when they are needed.
 *
 * Without latency, a few threads keep the disks busy. With latency, as many requests
 * wait at once as there are threads, so a deeper queue is faster, as on a network.
 * All threads are gone when the queue is freed.
 */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <signal.h>
#include <stdlib.h>

#define MAX_THREADS 16

struct vix_queue {
    struct vix_disk *disk;
    pthread_mutex_t lock;
    pthread_cond_t work, drained;
    vix_request *first, **last;
    unsigned waiting, running, idle; /* requests queued, requests begun, threads without one */
    unsigned thread_count, thread_limit;
    pthread_t threads[MAX_THREADS];
    bool stopping;
};

static vix_request *take(vix_queue *q)
{
    q->idle++;
    while (!q->first && !q->stopping)
        pthread_cond_wait(&q->work, &q->lock);
    q->idle--;
    vix_request *request = q->first;
    if (request) {
        q->first = request->next;
        if (!q->first)
            q->last = &q->first;
        q->waiting--;
        q->running++;
    }
    return request;
}

static void *serve(void *argument)
{
    vix_queue *q = argument;
    vix_request *request;
    uint64_t free_since = 0;
    pthread_mutex_lock(&q->lock);
    while ((request = take(q))) {
        pthread_mutex_unlock(&q->lock);
        if (request->begins_us < free_since) /* it had to wait for a thread, as for a place in the host's window */
            request->begins_us = free_since;
        VixError result = vix_transfer(q->disk, request);
        free_since = vix_now_us();
        request->callback(request->data, result); /* with no lock held: it may submit the next request */
        free(request);
        pthread_mutex_lock(&q->lock);
        q->running--;
        if (q->waiting + q->running == 0)
            pthread_cond_broadcast(&q->drained);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

vix_queue *vix_queue_new(struct vix_disk *disk, unsigned threads)
{
    vix_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->disk = disk;
    q->last = &q->first;
    q->thread_limit = threads < MAX_THREADS ? threads : MAX_THREADS;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work, NULL);
    pthread_cond_init(&q->drained, NULL);
    return q;
}

/* The host's signal handlers stay on the host's threads. */
static bool start_thread(vix_queue *q)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&q->threads[q->thread_count], NULL, serve, q) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    q->thread_count += started;
    return started;
}

int vix_queue_add(vix_queue *q, const vix_request *request)
{
    vix_request *copy = malloc(sizeof *copy);
    if (!copy)
        return VL_NO_MEMORY;
    *copy = *request;
    copy->next = NULL;
    copy->begins_us = vix_now_us();
    pthread_mutex_lock(&q->lock);
    if (q->idle <= q->waiting && q->thread_count < q->thread_limit && !start_thread(q) && q->thread_count == 0) {
        pthread_mutex_unlock(&q->lock);
        free(copy);
        return VL_NO_MEMORY;
    }
    *q->last = copy;
    q->last = &copy->next;
    q->waiting++;
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
    return VL_OK;
}

void vix_queue_wait(vix_queue *q)
{
    pthread_mutex_lock(&q->lock);
    while (q->waiting + q->running > 0)
        pthread_cond_wait(&q->drained, &q->lock);
    pthread_mutex_unlock(&q->lock);
}

void vix_queue_free(vix_queue *q)
{
    if (!q)
        return;
    vix_queue_wait(q);
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0; i < q->thread_count; i++)
        pthread_join(q->threads[i], NULL);
    pthread_cond_destroy(&q->work);
    pthread_cond_destroy(&q->drained);
    pthread_mutex_destroy(&q->lock);
    free(q);
}
