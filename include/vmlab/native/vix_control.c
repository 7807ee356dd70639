/* The control connection to the lab's NFC service: one per open disk.
 *
 * Messages as vmlab.nfc.wire documents them. The service may push messages at any
 * time (planted faults); they are looked for before each request with one
 * non-blocking peek. A connection that has ended makes every later request fail, as
 * when the host is gone.
 */
#define _GNU_SOURCE
#include "vix_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT 65536u
#define MAX_FAULTS 16

typedef struct {
    unsigned number;
    bool reads, writes;
    uint64_t bytes_left, requests_left;
} fault;

struct vix_control {
    int socket;
    pthread_mutex_t lock;
    bool lost;
    _Atomic int fault_count; /* read without the lock as a hint */
    fault faults[MAX_FAULTS];
};

typedef struct {
    char *body;
    size_t length;
} message;

typedef struct {
    char data[4 + LIMIT];
    size_t length;
    bool overflow;
} draft;

static void put_string(draft *d, const char *text)
{
    size_t length = strlen(text) + 1;
    if (length > sizeof d->data - d->length) {
        d->overflow = true;
        return;
    }
    memcpy(d->data + d->length, text, length);
    d->length += length;
}

static void put(draft *d, const char *key, const char *value)
{
    if (!value)
        return;
    put_string(d, key);
    put_string(d, value);
}

static int send_draft(int socket, draft *d)
{
    if (d->overflow)
        return VL_INVALID;
    uint32_t size = htonl((uint32_t)(d->length - 4));
    memcpy(d->data, &size, 4);
    for (size_t at = 0; at < d->length;) {
        ssize_t sent = send(socket, d->data + at, d->length - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return VIX_CONNECTION_LOST;
        at += (size_t)sent;
    }
    return VL_OK;
}

static int receive_exactly(int socket, char *data, size_t length)
{
    while (length > 0) {
        ssize_t got = recv(socket, data, length, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return VIX_CONNECTION_LOST;
        data += got;
        length -= (size_t)got;
    }
    return VL_OK;
}

static int receive_message(int socket, message *m)
{
    uint32_t size;
    m->body = NULL;
    int code = receive_exactly(socket, (char *)&size, 4);
    if (code)
        return code;
    m->length = ntohl(size);
    if (m->length > LIMIT)
        return VIX_CONNECTION_LOST;
    if (!(m->body = malloc(m->length + 1)))
        return VL_NO_MEMORY;
    code = receive_exactly(socket, m->body, m->length);
    if (!code && m->length && m->body[m->length - 1] != 0)
        code = VIX_CONNECTION_LOST;
    if (code)
        free(m->body);
    return code;
}

/* The body ends in NUL, so every string in it is bounded. */
static const char *get(const message *m, const char *key)
{
    for (size_t at = 0; at < m->length;) {
        const char *name = m->body + at;
        at += strlen(name) + 1;
        if (at >= m->length)
            return NULL;
        const char *value = m->body + at;
        at += strlen(value) + 1;
        if (strcmp(name, key) == 0)
            return value;
    }
    return NULL;
}

static uint64_t number(const message *m, const char *key)
{
    const char *value = get(m, key);
    return value ? strtoull(value, NULL, 10) : 0;
}

static bool plants_already(const vix_control *c, unsigned wanted)
{
    for (int i = 0; i < c->fault_count; i++)
        if (c->faults[i].number == wanted)
            return true;
    return false;
}

static void take_push(vix_control *c, const message *m)
{
    const char *kind = get(m, "push"), *on = get(m, "on");
    if (strcmp(kind, "clear") == 0)
        c->fault_count = 0;
    if (strcmp(kind, "fault") != 0 || !on || c->fault_count == MAX_FAULTS)
        return;
    fault f = {.number = (unsigned)number(m, "fault"), .reads = strcmp(on, "write") != 0,
               .writes = strcmp(on, "read") != 0, .bytes_left = number(m, "after_bytes"),
               .requests_left = number(m, "after_requests")};
    if (!plants_already(c, f.number))
        c->faults[c->fault_count++] = f;
}

/* Waits for the next message that is an answer; pushes on the way are taken in. */
static int receive_answer(vix_control *c, message *m)
{
    for (;;) {
        int code = receive_message(c->socket, m);
        if (code || !get(m, "push"))
            return code;
        take_push(c, m);
        free(m->body);
    }
}

static int ask(vix_control *c, draft *d, message *m)
{
    int code = send_draft(c->socket, d);
    return code ? code : receive_answer(c, m);
}

static int dial(int *out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)vix_nfc_port()),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (!vix_nfc_port())
        return VIX_CANNOT_CONNECT;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return VL_TOO_MANY_FILES;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return VIX_CONNECTION_REFUSED;
    }
    *out = fd;
    return VL_OK;
}

static int control_new(vix_control **out)
{
    vix_control *c = calloc(1, sizeof *c);
    if (!c)
        return VL_NO_MEMORY;
    int code = dial(&c->socket);
    if (code) {
        free(c);
        return code;
    }
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return VL_OK;
}

void vix_control_close(vix_control *control)
{
    if (!control)
        return;
    close(control->socket);
    pthread_mutex_destroy(&control->lock);
    free(control);
}

static bool copy_metadata(const message *m, vix_grant *grant)
{
    grant->metadata = malloc(m->length + 1);
    if (!grant->metadata)
        return false;
    for (size_t at = 0; at < m->length;) {
        const char *name = m->body + at, *value = name + strlen(name) + 1;
        if (value >= m->body + m->length)
            break;
        size_t size = strlen(name) + strlen(value) + 2;
        if (strncmp(name, "meta.", 5) == 0) {
            memcpy(grant->metadata + grant->metadata_length, name + 5, size - 5);
            grant->metadata_length += size - 5;
        }
        at += size;
    }
    return true;
}

static int take_grant(const message *m, vix_grant *grant)
{
    const char *status = get(m, "status"), *file = get(m, "file"), *transport = get(m, "transport");
    const char *text = get(m, "message");
    int code = status ? atoi(status) : VL_FAIL;
    if (code) {
        vix_warn("VixDiskLib: open refused: %s", text ? text : "no reason given");
        return code;
    }
    if (!file || !(grant->file = strdup(file)) || !copy_metadata(m, grant))
        return VL_NO_MEMORY;
    grant->read_only = number(m, "read_only") != 0;
    grant->latency_us = number(m, "latency_us");
    snprintf(grant->transport, sizeof grant->transport, "%s", transport ? transport : "nbdssl");
    return VL_OK;
}

void vix_grant_free(vix_grant *grant)
{
    free(grant->file);
    free(grant->metadata);
    *grant = (vix_grant){0};
}

int vix_control_open(const struct vix_connection *connection, const char *path, bool read_only, vix_grant *grant,
                     vix_control **out)
{
    vix_control *c;
    message m;
    draft *d = calloc(1, sizeof *d);
    int code = d ? control_new(&c) : VL_NO_MEMORY;
    if (code) {
        free(d);
        return code;
    }
    d->length = 4;
    put(d, "op", "open");
    put(d, "user", connection->user);
    put(d, "password", connection->password);
    put(d, "cookie", connection->cookie);
    put(d, "vmx_spec", connection->vmx_spec);
    put(d, "snapshot_ref", connection->snapshot_ref);
    put(d, "path", path);
    put(d, "read_only", read_only ? "1" : "0");
    put(d, "transports", connection->transports);
    put(d, "thumbprint", connection->thumbprint);
    code = ask(c, d, &m);
    explicit_bzero(d, sizeof *d);
    free(d);
    if (!code) {
        code = take_grant(&m, grant);
        free(m.body);
    }
    if (code) {
        vix_control_close(c);
        return code;
    }
    *out = c;
    return VL_OK;
}

static int fire(vix_control *c, int index)
{
    draft *d = calloc(1, sizeof *d);
    message m;
    char text[16];
    if (!d)
        return VL_NO_MEMORY;
    d->length = 4;
    snprintf(text, sizeof text, "%u", c->faults[index].number);
    put(d, "op", "fire");
    put(d, "fault", text);
    unsigned number_fired = c->faults[index].number;
    int code = ask(c, d, &m);
    free(d);
    if (code)
        return code;
    code = (int)number(&m, "status");
    bool over = number(&m, "over") != 0;
    free(m.body);
    if (over) /* the table may have changed while we waited: look the fault up again */
        for (int i = 0; i < c->fault_count; i++)
            if (c->faults[i].number == number_fired)
                c->faults[i--] = c->faults[--c->fault_count];
    return code;
}

static bool is_due(fault *f, bool writing, uint64_t bytes)
{
    if (!(writing ? f->writes : f->reads))
        return false;
    if (f->requests_left > 0) {
        f->requests_left--;
        return false;
    }
    if (f->bytes_left >= bytes && f->bytes_left > 0) {
        f->bytes_left -= bytes;
        return false;
    }
    f->bytes_left = 0;
    return true;
}

static int take_pushes(vix_control *c)
{
    char byte;
    for (;;) {
        ssize_t got = recv(c->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return VL_OK;
        if (got < 0 && errno == EINTR)
            continue;
        message m;
        int code = got <= 0 ? VIX_CONNECTION_LOST : receive_message(c->socket, &m);
        if (code)
            return code;
        if (get(&m, "push"))
            take_push(c, &m);
        free(m.body);
    }
}

int vix_control_admit(vix_control *control, bool writing, uint64_t bytes)
{
    char byte;
    bool quiet = recv(control->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
                 (errno == EAGAIN || errno == EWOULDBLOCK);
    if (quiet && control->fault_count == 0)
        return VL_OK;
    pthread_mutex_lock(&control->lock);
    int code = control->lost ? VIX_CONNECTION_LOST : take_pushes(control);
    for (int i = 0; !code && i < control->fault_count; i++)
        if (is_due(&control->faults[i], writing, bytes)) {
            code = fire(control, i);
            break; /* the table may have changed; the next request looks at the rest */
        }
    if (code == VIX_CONNECTION_LOST)
        control->lost = true;
    pthread_mutex_unlock(&control->lock);
    return code;
}

int vix_control_access(const char *operation, const char *vmx_spec, const char *identity)
{
    vix_control *c;
    message m;
    draft *d = calloc(1, sizeof *d);
    int code = d ? control_new(&c) : VL_NO_MEMORY;
    if (code) {
        free(d);
        return code;
    }
    d->length = 4;
    put(d, "op", operation);
    put(d, "vmx_spec", vmx_spec);
    put(d, "identity", identity);
    code = ask(c, d, &m);
    free(d);
    if (!code) {
        code = (int)number(&m, "status");
        free(m.body);
    }
    vix_control_close(c);
    return code;
}
