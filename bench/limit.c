/*
 * The limit of a full backup on this machine: zero test, BLAKE3, zstd level 1 and writing, in C, with N threads.
 *
 * No index, no deduplication, no durability, no tree of digests: what any engine with these algorithms and block size
 * has to do at least. A full pack is written by the thread that filled it, while the others go on into the next one.
 *
 *   limit IMAGE FOLDER THREADS BLOCK_SIZE      stores; prints bytes read, not zero, and stored
 */
#include "limit.h"

enum { PIECE = 1 << 20, PACK = 64 << 20 };

struct piece {
    off_t start;
    size_t length;
};

struct pack {
    char *data;
    size_t used;
    unsigned number;
    struct pack *next;
};

static struct piece *pieces;
static size_t piece_count;
static atomic_size_t next_piece;
static atomic_ullong bytes_read, bytes_data, bytes_stored;
static int image;
static const char *folder;
static size_t block_size;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pack *filling, *unused;
static unsigned packs;
static struct frame *frames;
static size_t frame_count, frame_room;

static struct pack *open_pack(void) {
    struct pack *pack = unused;
    if (pack)
        unused = pack->next;
    else if (!(pack = malloc(sizeof *pack)) || !(pack->data = malloc(PACK)))
        die("malloc");
    pack->used = 0;
    pack->number = packs++;
    return pack;
}

static void write_file(const char *name, const void *data, size_t length) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (file < 0)
        die(path);
    write_all(file, data, length, 0);
    close(file);
}

static void write_pack(const struct pack *pack) {
    char name[32];
    snprintf(name, sizeof name, "pack-%u", pack->number);
    write_file(name, pack->data, pack->used);
}

static void append(off_t offset, const uint8_t *digest, const char *data, size_t length, size_t raw) {
    pthread_mutex_lock(&lock);
    while (filling->used + DIGEST + length > PACK) {
        struct pack *full = filling;
        filling = open_pack();
        pthread_mutex_unlock(&lock);
        write_pack(full);
        pthread_mutex_lock(&lock);
        full->next = unused;
        unused = full;
    }
    if (frame_count == frame_room && !(frames = realloc(frames, (frame_room += 65536) * sizeof *frames)))
        die("realloc");
    struct frame *frame = &frames[frame_count++];
    *frame = (struct frame){(uint64_t)offset, filling->number, (uint32_t)filling->used, (uint32_t)length, (uint32_t)raw, {0}};
    memcpy(frame->digest, digest, DIGEST);
    memcpy(filling->data + filling->used, digest, DIGEST);
    memcpy(filling->data + filling->used + DIGEST, data, length);
    filling->used += DIGEST + length;
    pthread_mutex_unlock(&lock);
}

static int all_zero(const char *data, size_t length) {
    return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

static void *work(void *unused_argument) {
    (void)unused_argument;
    char *buffer = malloc(PIECE);
    size_t bound = ZSTD_compressBound(block_size);
    char *packed = malloc(bound);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    void *hasher = aligned_alloc(64, HASHER_BYTES);
    uint8_t digest[DIGEST];
    for (size_t number; (number = atomic_fetch_add(&next_piece, 1)) < piece_count;) {
        struct piece piece = pieces[number];
        read_all(image, buffer, piece.length, piece.start);
        bytes_read += piece.length;
        for (size_t at = 0; at < piece.length; at += block_size) {
            size_t length = piece.length - at < block_size ? piece.length - at : block_size;
            const char *block = buffer + at;
            if (all_zero(block, length))
                continue;
            bytes_data += length;
            digest_of(hasher, block, length, digest);
            size_t stored = ZSTD_compressCCtx(context, packed, bound, block, length, 1);
            if (ZSTD_isError(stored))
                die("zstd");
            int smaller = stored < length;
            append(piece.start + (off_t)at, digest, smaller ? packed : block, smaller ? stored : length, length);
            bytes_stored += smaller ? stored : length;
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

static void write_map(off_t capacity) {
    size_t length = sizeof(struct head) + frame_count * sizeof *frames;
    char *map = malloc(length);
    struct head head = {(uint64_t)capacity, frame_count, packs, block_size};
    memcpy(map, &head, sizeof head);
    if (frame_count)
        memcpy(map + sizeof head, frames, frame_count * sizeof *frames);
    write_file("map", map, length);
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
    block_size = (size_t)atol(argv[4]);
    off_t capacity = lseek(image, 0, SEEK_END);
    filling = open_pack();
    plan(capacity);
    run_threads(thread_count(argv[3]), work);
    write_pack(filling);
    write_map(capacity);
    printf("{\"read\": %llu, \"data\": %llu, \"stored\": %llu}\n", (unsigned long long)bytes_read,
           (unsigned long long)bytes_data, (unsigned long long)bytes_stored);
    return 0;
}
