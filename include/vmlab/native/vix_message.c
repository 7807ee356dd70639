/* Messages of the control connection, as vmlab.nfc.wire documents them: written and read within fixed bounds. */
#define _GNU_SOURCE
#include "vix_message.h"

#include "vix_abi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void put_string(vix_draft *d, const char *text)
{
    size_t length = strlen(text) + 1;
    if (length > sizeof d->data - d->length) {
        d->overflow = true;
        return;
    }
    memcpy(d->data + d->length, text, length);
    d->length += length;
}

void vix_put(vix_draft *d, const char *key, const char *value)
{
    if (!value)
        return;
    put_string(d, key);
    put_string(d, value);
}

int vix_send(int socket, vix_draft *d)
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

int vix_receive(int socket, vix_message *m)
{
    uint32_t size;
    m->body = NULL;
    int code = receive_exactly(socket, (char *)&size, 4);
    if (code)
        return code;
    m->length = ntohl(size);
    if (m->length > VIX_MESSAGE_LIMIT)
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
const char *vix_get(const vix_message *m, const char *key)
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

uint64_t vix_number(const vix_message *m, const char *key)
{
    const char *value = vix_get(m, key);
    return value ? strtoull(value, NULL, 10) : 0;
}
