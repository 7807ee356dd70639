/*
 * The limit of a restore on this machine: read, decompress, BLAKE3, compare, sparse write, in C, with N threads.
 *
 * Reads what the program "limit" has stored. Frames are read in the order of packs, up to 4 MiB at a time; a block is
 * written only after its digest was compared, and zeros are not written: the target has to read as zeros there.
 *
 *   limit_restore FOLDER OUT THREADS       writes the disk; OUT may exist, and then keeps its space
 *   limit_restore FOLDER - THREADS         only compares the digests of everything stored
 */
#include "limit.h"
#include <sys/resource.h>
#include <sys/stat.h>

enum { BATCH = 4 << 20 };

static struct head head;
static struct frame *frames;
static int *pack_files;
static int target = -1;
static size_t next_frame;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_ullong bytes_written;

static int in_pack_order(const void *left, const void *right) {
    const struct frame *a = left, *b = right;
    if (a->pack != b->pack)
        return a->pack < b->pack ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

/* Neighbouring frames of one pack, up to BATCH bytes; returns the first, and how many. */
static size_t take(size_t *count) {
    pthread_mutex_lock(&lock);
    size_t first = next_frame, at = first;
    while (at < head.frames && frames[at].pack == frames[first].pack &&
           frames[at].at + DIGEST + frames[at].stored - frames[first].at <= BATCH)
        at++;
    next_frame = at;
    pthread_mutex_unlock(&lock);
    *count = at - first;
    return first;
}

static void *work(void *unused_argument) {
    (void)unused_argument;
    char *buffer = malloc(BATCH);
    char *raw = malloc(head.block_size);
    ZSTD_DCtx *context = ZSTD_createDCtx();
    void *hasher = aligned_alloc(64, HASHER_BYTES);
    uint8_t digest[DIGEST];
    size_t count;
    for (size_t first; first = take(&count), count;) {
        const struct frame *from = &frames[first], *last = from + count - 1;
        read_all(pack_files[from->pack], buffer, last->at + DIGEST + last->stored - from->at, from->at);
        for (const struct frame *frame = from; frame <= last; frame++) {
            const char *stored = buffer + (frame->at - from->at) + DIGEST, *block = stored;
            if (frame->stored != frame->raw) {
                if (ZSTD_decompressDCtx(context, raw, head.block_size, stored, frame->stored) != frame->raw)
                    die("zstd");
                block = raw;
            }
            digest_of(hasher, block, frame->raw, digest);
            if (memcmp(digest, frame->digest, DIGEST) != 0)
                die("digest");
            if (target >= 0)
                write_all(target, block, frame->raw, (off_t)frame->offset);
            bytes_written += frame->raw;
        }
    }
    return NULL;
}

static int open_in(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int file = open(path, O_RDONLY);
    if (file < 0)
        die(path);
    return file;
}

static void load(const char *folder) {
    int map = open_in(folder, "map");
    read_all(map, &head, sizeof head, 0);
    frames = malloc(head.frames * sizeof *frames + 1);
    read_all(map, frames, head.frames * sizeof *frames, sizeof head);
    close(map);
    qsort(frames, head.frames, sizeof *frames, in_pack_order);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    pack_files = malloc(head.packs * sizeof *pack_files + 1);
    for (size_t number = 0; number < head.packs; number++) {
        char name[32];
        snprintf(name, sizeof name, "pack-%zu", number);
        pack_files[number] = open_in(folder, name);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: limit_restore FOLDER OUT|- THREADS\n");
        return 2;
    }
    load(argv[1]);
    if (strcmp(argv[2], "-") != 0) {
        target = open(argv[2], O_WRONLY | O_CREAT, 0640);
        if (target < 0 || ftruncate(target, (off_t)head.capacity))
            die(argv[2]);
    }
    run_threads(thread_count(argv[3]), work);
    if (target >= 0 && fsync(target))
        die("fsync");
    printf("{\"written\": %llu}\n", (unsigned long long)bytes_written);
    return 0;
}
