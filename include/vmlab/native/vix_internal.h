/* Shared by the stand-in's files: the library's state, connections, handles, the request queue. */
#ifndef VMLAB_VIX_INTERNAL_H
#define VMLAB_VIX_INTERNAL_H

#include "disk.h"
#include "vix_abi.h"

#include <pthread.h>
#include <stdbool.h>

/* ---- vix_state.c ---- */

int vix_begin(VixDiskLibGenericLogFunc *log, VixDiskLibGenericLogFunc *warn, const char *lib_dir, const char *config,
              const char *asked); /* the version that the host asked for, for the log */
void vix_end(void);
bool vix_ready(void);
unsigned vix_nfc_port(void); /* 0 when no lab.conf was found */
bool vix_buffers_too_big(void);
bool vix_is_opener(void); /* whether this thread may open and close disks */
void vix_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void vix_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- vix_connection.c ---- */

struct vix_connection {
    uint32_t magic;
    bool local, read_only;
    char *vmx_spec, *server, *thumbprint, *user, *password, *cookie, *snapshot_ref, *transports;
    VixDiskLibConnectParams params; /* its strings are the copies above */
};

bool vix_is_connection(const struct vix_connection *connection);

/* ---- vix_control.c: the conversation with the lab's NFC service ---- */

typedef struct vix_control vix_control;
typedef enum { VIX_READ, VIX_WRITE, VIX_QUERY } vix_kind;

typedef struct {
    char *file;
    bool read_only;
    uint64_t latency_us;
    char transport[16];
    char *metadata; /* key NUL value NUL … , metadata_length bytes */
    size_t metadata_length;
} vix_grant;

int vix_control_open(const struct vix_connection *connection, const char *path, bool read_only, vix_grant *grant,
                     vix_control **out);
void vix_grant_free(vix_grant *grant);
void vix_control_close(vix_control *control);
/* Called before each request: 0 to go on, or the code it gives instead. */
int vix_control_admit(vix_control *control, vix_kind kind, uint64_t bytes);
/* One call that opens no disk: "connect", "prepare", "end"; identity may be NULL. Each logs in. */
int vix_control_call(const char *operation, const struct vix_connection *connection, const char *identity);

/* ---- vix_queue.c: requests that are served by a handle's own threads ---- */

typedef struct vix_queue vix_queue;

typedef struct vix_request {
    struct vix_request *next;
    bool writing;
    uint64_t start, count;
    uint8_t *buffer;
    VixDiskLibCompletionCB callback;
    void *data;
    uint64_t begins_us; /* when its latency begins; 0 = now */
} vix_request;

vix_queue *vix_queue_new(struct vix_disk *disk, unsigned threads);
int vix_queue_add(vix_queue *queue, const vix_request *request);
void vix_queue_wait(vix_queue *queue);
void vix_queue_free(vix_queue *queue); /* waits for the last request and its thread */

/* ---- vix_disk.c ---- */

struct vix_disk {
    uint32_t magic;
    struct vix_disk *next, *previous; /* all open handles, for Exit */
    vl_chain *chain;
    vix_control *control; /* NULL for a local disk */
    vix_queue *queue;
    vix_grant grant;
    bool writable;
};

bool vix_is_disk(const struct vix_disk *disk);
void vix_close_all(void);

/* ---- vix_transfer.c ---- */

uint64_t vix_now_us(void);
void vix_delay(const struct vix_disk *disk, uint64_t begins_us); /* until the latency is over */
/* One request: admission, data, latency; on the calling thread. */
VixError vix_transfer(struct vix_disk *disk, const vix_request *request);

#endif
