/*
 * The limit of a full backup on this machine: zero test, BLAKE3, zstd level 1 and writing, in C, with N threads.
 *
 * No index, no deduplication, no durability, no map: what any engine with these algorithms and block size has to do at
 * least. BLAKE3 is the one in libLLVM (the BLAKE3 authors' C and assembler code, public C API llvm-c/blake3.h), because
 * Debian 12 has no library package of its own.
 *
 *   limit IMAGE FOLDER THREADS BLOCK_SIZE      stores; prints bytes read, not zero, and stored
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

enum { PIECE = 1 << 20, PACK = 64 << 20, DIGEST = 32, HASHER_BYTES = 4096 };

void llvm_blake3_hasher_init(void *self);
void llvm_blake3_hasher_update(void *self, const void *input, size_t length);
void llvm_blake3_hasher_finalize(const void *self, uint8_t *out, size_t length);

struct piece {
    off_t start;
    size_t length;
};

static struct piece *pieces;
static size_t piece_count;
static atomic_size_t next_piece;
static atomic_ullong bytes_read, bytes_data, bytes_stored;
static int image;
static const char *folder;
static size_t block_size;

static pthread_mutex_t pack_lock = PTHREAD_MUTEX_INITIALIZER;
static char *pack;
static size_t pack_used;
static unsigned pack_number;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void write_pack(void) {
    char name[4096];
    snprintf(name, sizeof name, "%s/pack-%u", folder, pack_number++);
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (file < 0)
        die(name);
    for (size_t done = 0; done < pack_used;) {
        ssize_t count = write(file, pack + done, pack_used - done);
        if (count < 0)
            die(name);
        done += (size_t)count;
    }
    close(file);
    pack_used = 0;
}

static void append(const uint8_t *digest, const char *data, size_t length) {
    pthread_mutex_lock(&pack_lock);
    if (pack_used + DIGEST + length > PACK)
        write_pack();
    memcpy(pack + pack_used, digest, DIGEST);
    memcpy(pack + pack_used + DIGEST, data, length);
    pack_used += DIGEST + length;
    pthread_mutex_unlock(&pack_lock);
}

static int all_zero(const char *data, size_t length) {
    return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

static void *work(void *unused) {
    (void)unused;
    char *buffer = malloc(PIECE);
    size_t bound = ZSTD_compressBound(block_size);
    char *packed = malloc(bound);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    void *hasher = aligned_alloc(64, HASHER_BYTES);
    uint8_t digest[DIGEST];
    for (;;) {
        size_t number = atomic_fetch_add(&next_piece, 1);
        if (number >= piece_count)
            break;
        struct piece piece = pieces[number];
        for (size_t done = 0; done < piece.length;) {
            ssize_t count = pread(image, buffer + done, piece.length - done, piece.start + (off_t)done);
            if (count <= 0)
                die("pread");
            done += (size_t)count;
        }
        bytes_read += piece.length;
        for (size_t at = 0; at < piece.length; at += block_size) {
            size_t length = piece.length - at < block_size ? piece.length - at : block_size;
            if (all_zero(buffer + at, length))
                continue;
            bytes_data += length;
            llvm_blake3_hasher_init(hasher);
            llvm_blake3_hasher_update(hasher, buffer + at, length);
            llvm_blake3_hasher_finalize(hasher, digest, DIGEST);
            size_t stored = ZSTD_compressCCtx(context, packed, bound, buffer + at, length, 1);
            if (ZSTD_isError(stored))
                die("zstd");
            if (stored < length) {
                append(digest, packed, stored);
            } else {
                append(digest, buffer + at, length);
                stored = length;
            }
            bytes_stored += stored;
        }
    }
    return NULL;
}

/* Whole blocks of what the file system has data for, cut into pieces. */
static void plan(off_t size) {
    size_t room = (size_t)(size / PIECE) * 2 + 16;
    pieces = malloc(room * sizeof *pieces);
    off_t at = 0, planned = 0;
    while (at < size) {
        off_t data = lseek(image, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break;
        off_t hole = lseek(image, data, SEEK_HOLE);
        if (data < 0 || hole < 0)
            die("lseek");
        at = hole;
        data = data / (off_t)block_size * (off_t)block_size;
        hole = (hole + (off_t)block_size - 1) / (off_t)block_size * (off_t)block_size;
        if (data < planned)
            data = planned;
        if (hole > size)
            hole = size;
        while (data < hole) {
            off_t stop = (data / PIECE + 1) * PIECE;
            if (stop > hole)
                stop = hole;
            if (piece_count == room && !(pieces = realloc(pieces, (room *= 2) * sizeof *pieces)))
                die("realloc");
            pieces[piece_count++] = (struct piece){data, (size_t)(stop - data)};
            data = stop;
        }
        planned = hole;
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: limit IMAGE FOLDER THREADS BLOCK_SIZE\n");
        return 2;
    }
    image = open(argv[1], O_RDONLY);
    if (image < 0)
        die(argv[1]);
    folder = argv[2];
    int threads = atoi(argv[3]);
    block_size = (size_t)atol(argv[4]);
    pack = malloc(PACK);
    plan(lseek(image, 0, SEEK_END));
    pthread_t ids[64];
    for (int i = 0; i < threads; i++)
        pthread_create(&ids[i], NULL, work, NULL);
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    write_pack();
    printf("{\"read\": %llu, \"data\": %llu, \"stored\": %llu}\n", (unsigned long long)bytes_read,
           (unsigned long long)bytes_data, (unsigned long long)bytes_stored);
    return 0;
}
