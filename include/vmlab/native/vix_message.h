/* Messages for vix_control.c, made and read by vix_message.c. Codes are those of disk.h and vix_abi.h. */
#ifndef VMLAB_VIX_MESSAGE_H
#define VMLAB_VIX_MESSAGE_H

#include "disk.h"

#define VIX_MESSAGE_LIMIT 65536u

typedef struct {
    char *body;
    size_t length;
} vix_message;

typedef struct {
    char data[4 + VIX_MESSAGE_LIMIT];
    size_t length;
    bool overflow;
} vix_draft;

/* Adds a key and its value to a draft whose length began at 4; nothing for a value of NULL. */
void vix_put(vix_draft *d, const char *key, const char *value);
int vix_send(int socket, vix_draft *d);
int vix_receive(int socket, vix_message *m); /* the caller frees m->body */
const char *vix_get(const vix_message *m, const char *key);
uint64_t vix_number(const vix_message *m, const char *key); /* 0 when it is not there */

#endif
