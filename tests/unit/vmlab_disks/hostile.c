/* Feeds damaged descriptors and deltas to the disk core. Built with sanitizers by its test.
 *
 * usage: hostile FOLDER ROUNDS SEED. FOLDER holds a.vmdk and its child b.vmdk; each
 * round damages copies of the child's files (c.vmdk), then opens, reads, asks, writes
 * and merges. Any error code is right; a crash or an over-read is not.
 */
#define _GNU_SOURCE
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t state;

static uint64_t next(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below ? state % below : 0;
}

static void spoil(char *data, size_t length, size_t front)
{
    static const uint32_t nasty[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, 4096, 512, 2, 0x00200000};
    for (uint64_t n = next(4); n-- > 0;) {
        size_t at = (size_t)next(front < length ? front : length);
        uint32_t value = nasty[next(sizeof nasty / sizeof *nasty)];
        if (next(2) && at + 4 <= length)
            memcpy(data + (at & ~(size_t)3), &value, 4);
        else
            data[at] = (char)next(256);
    }
}

static void put(const char *path, const char *data, size_t length)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, length, file) != length || fclose(file))
        abort();
}

static void use(const char *path, unsigned flags, uint8_t *buffer, uint8_t *marks)
{
    vl_chain *chain;
    if (vl_chain_open(path, flags, &chain))
        return;
    uint64_t capacity = vl_chain_capacity(chain);
    for (int i = 0; i < 8; i++) {
        uint64_t start = i ? next(capacity) : 0, count = 1 + next(4096);
        (void)vl_chain_read(chain, start, count, buffer);
        if (flags & VL_OPEN_WRITABLE)
            (void)vl_chain_write(chain, start, count, buffer);
    }
    uint64_t count = capacity < 65536 ? capacity : 65536;
    (void)vl_chain_allocated(chain, next(capacity - count + 1), count, 1 + next(128), marks);
    (void)vl_chain_flush(chain);
    vl_chain_close(chain);
}

static void descriptor_only(char *text, size_t length)
{
    vl_descriptor *d;
    char value[16], keys[64];
    size_t required;
    char *exact = malloc(length ? length : 1); /* no spare byte behind it: the sanitizer sees any over-read */
    memcpy(exact, text, length);
    if (vl_descriptor_parse(exact, length, &d) == 0) {
        (void)vl_descriptor_ddb(d, "uuid", value, sizeof value, &required);
        (void)vl_descriptor_ddb_keys(d, keys, sizeof keys, &required);
        vl_descriptor_free(d);
    }
    free(exact);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    char path[4096], parent[4096], delta_path[4096];
    char *text, *delta;
    size_t text_length, delta_length;
    uint8_t *buffer = malloc(4097 * 512), *marks = malloc(65536);
    state = strtoull(argv[3], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    snprintf(path, sizeof path, "%s/b.vmdk", argv[1]);
    snprintf(delta_path, sizeof delta_path, "%s/b-delta.vmdk", argv[1]);
    snprintf(parent, sizeof parent, "%s/a.vmdk", argv[1]);
    if (vl_read_file(path, 1 << 20, &text, &text_length) || vl_read_file(delta_path, 1 << 26, &delta, &delta_length))
        return 3;
    char *damaged = malloc(delta_length), *damaged_text = malloc(text_length + 1);
    snprintf(path, sizeof path, "%s/c.vmdk", argv[1]);
    for (int round = atoi(argv[2]); round > 0; round--) {
        memcpy(damaged, delta, delta_length);
        memcpy(damaged_text, text, text_length + 1);
        bool in_text = next(3) == 0;
        if (in_text)
            spoil(damaged_text, text_length, text_length);
        else
            spoil(damaged, delta_length, next(2) ? 64 : delta_length);
        size_t cut = next(8) ? delta_length : (size_t)next(delta_length);
        descriptor_only(damaged_text, next(4) ? text_length : (size_t)next(text_length));
        put(delta_path, damaged, cut);
        put(path, damaged_text, text_length);
        use(path, 0, buffer, marks);
        use(path, VL_OPEN_SINGLE_LINK, buffer, marks);
        use(path, VL_OPEN_WRITABLE, buffer, marks);
        if (next(4) == 0)
            (void)vl_merge(path, parent);
        if (next(8) == 0)
            (void)vl_set_entry(path, NULL, "ddb.x", "y", 1);
    }
    free(damaged);
    free(damaged_text);
    free(text);
    free(delta);
    free(buffer);
    free(marks);
    return 0;
}
