/* The inside of an opened chain, shared by chain.c, transfer.c, allocated.c and merge.c. */
#ifndef VMLAB_CHAIN_H
#define VMLAB_CHAIN_H

#include "disk.h"

#include <pthread.h>

typedef struct {
    vl_extent_kind kind;
    uint64_t start, sectors, file_offset;
    int fd;        /* flat */
    vl_cowd *cowd; /* sparse */
} vl_extent;

typedef struct {
    vl_descriptor *descriptor;
    uint64_t capacity;
    vl_extent *extents;
    size_t extent_count;
} vl_link;

struct vl_chain {
    unsigned flags;
    bool raw;     /* a plain file without a descriptor */
    bool renewed; /* this handle has written and renewed the content ID */
    int count;
    pthread_mutex_t lock; /* guards renewed */
    vl_track *track;
    vl_link links[VL_MAX_LINKS]; /* 0 is the top */
};

vl_extent *vl_link_span(vl_link *link, uint64_t start, uint64_t count, uint64_t *length);

#endif
