/*
 * What the two limit programs share: the container that one writes and the other reads, and BLAKE3.
 *
 * Frames (digest, stored bytes) lie in pack-0, pack-1, … one after another; the file "map" lists them. It is no
 * repository: no index, no durability, nothing is found by its digest.
 *
 * BLAKE3 is the one in libLLVM (the BLAKE3 authors' C and assembler code, public C API llvm-c/blake3.h), because
 * Debian 12 has no library package of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { DIGEST = 32, HASHER_BYTES = 4096, MAX_THREADS = 64 };

void llvm_blake3_hasher_init(void *self);
void llvm_blake3_hasher_update(void *self, const void *input, size_t length);
void llvm_blake3_hasher_finalize(const void *self, uint8_t *out, size_t length);

struct head {
    uint64_t capacity, frames, packs, block_size;
};

/* A block that was not compressed has stored == raw. */
struct frame {
    uint64_t offset;
    uint32_t pack, at, stored, raw;
    uint8_t digest[DIGEST];
};

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline void digest_of(void *hasher, const void *data, size_t length, uint8_t *digest) {
    llvm_blake3_hasher_init(hasher);
    llvm_blake3_hasher_update(hasher, data, length);
    llvm_blake3_hasher_finalize(hasher, digest, DIGEST);
}

static inline void read_all(int file, void *data, size_t length, off_t at) {
    for (size_t done = 0; done < length;) {
        ssize_t count = pread(file, (char *)data + done, length - done, at + (off_t)done);
        if (count <= 0)
            die("pread");
        done += (size_t)count;
    }
}

static inline void write_all(int file, const void *data, size_t length, off_t at) {
    for (size_t done = 0; done < length;) {
        ssize_t count = pwrite(file, (const char *)data + done, length - done, at + (off_t)done);
        if (count < 0)
            die("pwrite");
        done += (size_t)count;
    }
}

static inline void run_threads(int threads, void *(*work)(void *)) {
    pthread_t ids[MAX_THREADS];
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, NULL))
            die("pthread_create");
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
}

static inline int thread_count(const char *text) {
    int threads = atoi(text);
    return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
}
