/* The control connection to the lab's NFC service: one per open disk.
 *
 * The service may push messages (planted faults) at any time. One non-blocking peek before
 * each request looks for them. A connection that has ended makes
 * every later request fail, as when the host is gone.
 */
#define _GNU_SOURCE
#include "vix_internal.h"
#include "vix_message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FAULTS 16

typedef struct {
    unsigned number;
    bool reads, writes, queries;
    uint64_t bytes_left, requests_left;
} fault;

struct vix_control {
    int socket;
    pthread_mutex_t lock;
    bool lost;
    _Atomic int fault_count; /* read without the lock as a hint */
    fault faults[MAX_FAULTS];
};

static bool plants_already(const vix_control *c, unsigned wanted)
{
    for (int i = 0; i < c->fault_count; i++)
        if (c->faults[i].number == wanted)
            return true;
    return false;
}

static void take_push(vix_control *c, const vix_message *m)
{
    const char *kind = vix_get(m, "push"), *on = vix_get(m, "on");
    if (strcmp(kind, "clear") == 0)
        c->fault_count = 0;
    if (strcmp(kind, "fault") != 0 || !on || c->fault_count == MAX_FAULTS)
        return;
    fault f = {.number = (unsigned)vix_number(m, "fault"), .reads = !strcmp(on, "read") || !strcmp(on, "io"),
               .writes = !strcmp(on, "write") || !strcmp(on, "io"), .queries = !strcmp(on, "query"), .bytes_left = vix_number(m, "after_bytes"),
               .requests_left = vix_number(m, "after_requests")};
    if (!plants_already(c, f.number))
        c->faults[c->fault_count++] = f;
}

/* Waits for the next message that is an answer; pushes on the way are taken in. */
static int receive_answer(vix_control *c, vix_message *m)
{
    for (;;) {
        int code = vix_receive(c->socket, m);
        if (code || !vix_get(m, "push"))
            return code;
        take_push(c, m);
        free(m->body);
    }
}

static int ask(vix_control *c, vix_draft *d, vix_message *m)
{
    int code = vix_send(c->socket, d);
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

static bool copy_metadata(const vix_message *m, vix_grant *grant)
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

static int take_grant(const vix_message *m, vix_grant *grant)
{
    const char *status = vix_get(m, "status"), *file = vix_get(m, "file"), *transport = vix_get(m, "transport");
    const char *text = vix_get(m, "message");
    int code = status ? atoi(status) : VL_FAIL;
    if (code) {
        vix_warn("VixDiskLib: open refused: %s", text ? text : "no reason given");
        return code;
    }
    if (!file || !(grant->file = strdup(file)) || !copy_metadata(m, grant))
        return VL_NO_MEMORY;
    grant->read_only = vix_number(m, "read_only") != 0;
    grant->latency_us = vix_number(m, "latency_us");
    snprintf(grant->transport, sizeof grant->transport, "%s", transport ? transport : "nbdssl");
    return VL_OK;
}

void vix_grant_free(vix_grant *grant)
{
    free(grant->file);
    free(grant->metadata);
    *grant = (vix_grant){0};
}

static void put_login(vix_draft *d, const struct vix_connection *connection)
{
    vix_put(d, "user", connection->user);
    vix_put(d, "password", connection->password);
    vix_put(d, "cookie", connection->cookie);
    vix_put(d, "thumbprint", connection->thumbprint);
    vix_put(d, "vmx_spec", connection->vmx_spec);
}

int vix_control_open(const struct vix_connection *connection, const char *path, bool read_only, vix_grant *grant,
                     vix_control **out)
{
    vix_control *c;
    vix_message m;
    vix_draft *d = calloc(1, sizeof *d);
    int code = d ? control_new(&c) : VL_NO_MEMORY;
    if (code) {
        free(d);
        return code;
    }
    d->length = 4;
    vix_put(d, "op", "open");
    put_login(d, connection);
    vix_put(d, "snapshot_ref", connection->snapshot_ref);
    vix_put(d, "path", path);
    vix_put(d, "read_only", read_only ? "1" : "0");
    vix_put(d, "transports", connection->transports);
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
    vix_draft *d = calloc(1, sizeof *d);
    vix_message m;
    char text[16];
    if (!d)
        return VL_NO_MEMORY;
    d->length = 4;
    snprintf(text, sizeof text, "%u", c->faults[index].number);
    vix_put(d, "op", "fire");
    vix_put(d, "fault", text);
    unsigned number_fired = c->faults[index].number;
    int code = ask(c, d, &m);
    free(d);
    if (code)
        return code;
    code = (int)vix_number(&m, "status");
    bool over = vix_number(&m, "over") != 0;
    free(m.body);
    if (over) /* the table may have changed while we waited: look the fault up again */
        for (int i = 0; i < c->fault_count; i++)
            if (c->faults[i].number == number_fired)
                c->faults[i--] = c->faults[--c->fault_count];
    return code;
}

static bool is_due(fault *f, vix_kind kind, uint64_t bytes)
{
    if (!(kind == VIX_QUERY ? f->queries : kind == VIX_WRITE ? f->writes : f->reads))
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
        vix_message m;
        int code = got <= 0 ? VIX_CONNECTION_LOST : vix_receive(c->socket, &m);
        if (code)
            return code;
        if (vix_get(&m, "push"))
            take_push(c, &m);
        free(m.body);
    }
}

int vix_control_admit(vix_control *control, vix_kind kind, uint64_t bytes)
{
    char byte;
    bool quiet = recv(control->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
                 (errno == EAGAIN || errno == EWOULDBLOCK);
    if (quiet && control->fault_count == 0)
        return VL_OK;
    pthread_mutex_lock(&control->lock);
    int code = control->lost ? VIX_CONNECTION_LOST : take_pushes(control);
    for (int i = 0; !code && i < control->fault_count; i++)
        if (is_due(&control->faults[i], kind, bytes)) {
            code = fire(control, i);
            break; /* the table may have changed; the next request looks at the rest */
        }
    if (code == VIX_CONNECTION_LOST)
        control->lost = true;
    pthread_mutex_unlock(&control->lock);
    return code;
}

static int take_status(const vix_message *m, const char *operation)
{
    const char *status = vix_get(m, "status"), *text = vix_get(m, "message");
    int code = status ? atoi(status) : VL_FAIL;
    if (code)
        vix_warn("VixDiskLib: %s refused: %s", operation, text ? text : "no reason given");
    return code;
}

int vix_control_call(const char *operation, const struct vix_connection *connection, const char *identity)
{
    vix_control *c;
    vix_message m;
    vix_draft *d = calloc(1, sizeof *d);
    int code = d ? control_new(&c) : VL_NO_MEMORY;
    if (code) {
        free(d);
        return code;
    }
    d->length = 4;
    vix_put(d, "op", operation);
    put_login(d, connection);
    vix_put(d, "identity", identity);
    code = ask(c, d, &m);
    explicit_bzero(d, sizeof *d);
    free(d);
    if (!code) {
        code = take_status(&m, operation);
        free(m.body);
    }
    vix_control_close(c);
    return code;
}
