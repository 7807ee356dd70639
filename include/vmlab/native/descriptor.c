/* The descriptor: VMDK's text file (Virtual Disk Format 5.0 as VMware published it).
 *
 * Parsing is bounded by the length given and refuses what it does not
 * understand; unknown `name=value` lines are kept as they are.
 */
#define _GNU_SOURCE
#include "disk.h"
#include "lines.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_DESCRIPTOR (1u << 20)
#define MAX_EXTENTS 8192
#define MAX_CAPACITY (UINT64_C(1) << 46)

static const char HEADER[] = "# Disk DescriptorFile";

bool vl_is_descriptor(const char *head, size_t length)
{
    return length >= sizeof HEADER - 1 && strncasecmp(head, HEADER, sizeof HEADER - 1) == 0;
}

static char *copy_of(vl_line part)
{
    return strndup(part.start, (size_t)(part.end - part.start));
}

static bool parse_number(vl_line part, int base, uint64_t limit, uint64_t *number)
{
    uint64_t sum = 0;
    if (part.start == part.end)
        return false;
    for (const char *p = part.start; p < part.end; p++) {
        int digit = isdigit((unsigned char)*p)                ? *p - '0'
                    : base == 16 && isxdigit((unsigned char)*p) ? tolower((unsigned char)*p) - 'a' + 10
                                                                : -1;
        if (digit < 0 || sum > (limit - (uint64_t)digit) / (uint64_t)base)
            return false;
        sum = sum * (uint64_t)base + (uint64_t)digit;
    }
    *number = sum;
    return true;
}

static bool starts_extent(vl_line line)
{
    static const char *const access[] = {"RW", "RDONLY", "NOACCESS"};
    vl_line rest = line, word;
    if (!vl_next_word(&rest, &word))
        return false;
    for (size_t i = 0; i < sizeof access / sizeof *access; i++)
        if (vl_is_named(word, access[i]))
            return true;
    return false;
}

static int extent_kind(vl_line word, vl_extent_kind *kind)
{
    static const struct {
        const char *name;
        vl_extent_kind kind;
    } kinds[] = {{"FLAT", VL_FLAT},    {"VMFS", VL_FLAT},      {"VMFSTHIN", VL_FLAT}, {"VMFSRDM", VL_FLAT},
                 {"VMFSRAW", VL_FLAT}, {"VMFSSPARSE", VL_COWD}, {"ZERO", VL_ZERO}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (vl_is_named(word, kinds[i].name)) {
            *kind = kinds[i].kind;
            return VL_OK;
        }
    return VL_UNSUPPORTED; /* SPARSE, SESPARSE, VMFSSPARSE's successors: other people's formats */
}

/* `RW 4192256 FLAT "name-f001.vmdk" 0` */
static int parse_extent(vl_line line, vl_descriptor *d)
{
    vl_line word;
    vl_extent_line extent = {0};
    if (d->extent_count >= MAX_EXTENTS)
        return VL_BAD_DISK;
    if (!vl_next_word(&line, &word) || vl_is_named(word, "NOACCESS"))
        return VL_NO_ACCESS;
    if (!vl_next_word(&line, &word) || !parse_number(word, 10, MAX_CAPACITY, &extent.sectors) || extent.sectors == 0)
        return VL_BAD_DISK;
    if (!vl_next_word(&line, &word))
        return VL_BAD_DISK;
    int code = extent_kind(word, &extent.kind);
    if (code)
        return code;
    if (extent.kind != VL_ZERO) {
        if (!vl_next_word(&line, &word) || word.start == word.end || memchr(word.start, 0, (size_t)(word.end - word.start)))
            return VL_BAD_DISK;
        vl_line file = word;
        if (vl_next_word(&line, &word) && !parse_number(word, 10, MAX_CAPACITY, &extent.file_offset))
            return VL_BAD_DISK;
        if (!(extent.file = copy_of(file)))
            return VL_NO_MEMORY;
    }
    vl_extent_line *grown = realloc(d->extents, (d->extent_count + 1) * sizeof *grown);
    if (!grown) {
        free(extent.file);
        return VL_NO_MEMORY;
    }
    d->extents = grown;
    d->extents[d->extent_count++] = extent;
    d->capacity += extent.sectors;
    return d->capacity > MAX_CAPACITY ? VL_BAD_DISK : VL_OK;
}

static int keep(char **slot, vl_line value)
{
    char *copy = copy_of(value);
    if (!copy)
        return VL_NO_MEMORY;
    free(*slot);
    *slot = copy;
    return VL_OK;
}

static int parse_entry(vl_line name, vl_line value, vl_descriptor *d, bool *has_cid)
{
    uint64_t number;
    if (vl_is_named(name, "CID") || vl_is_named(name, "parentCID")) {
        if (!parse_number(value, 16, UINT32_MAX, &number))
            return VL_BAD_DISK;
        if (vl_is_named(name, "CID")) {
            d->content_id = (uint32_t)number;
            *has_cid = true;
        } else
            d->parent_content_id = (uint32_t)number;
        return VL_OK;
    }
    if (vl_is_named(name, "createType"))
        return keep(&d->create_type, value);
    if (vl_is_named(name, "parentFileNameHint"))
        return keep(&d->parent_hint, value);
    if (vl_is_named(name, "changeTrackPath"))
        return keep(&d->track_path, value);
    return VL_OK;
}

static int parse_into(vl_descriptor *d)
{
    const char *cursor = d->text, *end = d->text + d->text_length;
    vl_line line, name, value;
    bool has_cid = false;
    int code = VL_OK;
    if (!vl_is_descriptor(d->text, d->text_length))
        return VL_WRONG_TYPE;
    while (!code && vl_next_line(&cursor, end, &line)) {
        if (starts_extent(line))
            code = parse_extent(line, d);
        else if (vl_split_entry(line, &name, &value))
            code = parse_entry(name, value, d, &has_cid);
    }
    if (!code && (!has_cid || !d->create_type || d->extent_count == 0))
        code = VL_BAD_DISK;
    if (!code && d->parent_content_id != VL_NO_PARENT && !d->parent_hint)
        code = VL_PARTIAL_CHAIN;
    return code;
}

int vl_descriptor_parse(const char *text, size_t length, vl_descriptor **out)
{
    vl_descriptor *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return VL_NO_MEMORY;
    d->parent_content_id = VL_NO_PARENT;
    d->text_length = length;
    d->text = malloc(length + 1);
    if (!d->text) {
        free(d);
        return VL_NO_MEMORY;
    }
    memcpy(d->text, text, length);
    d->text[length] = 0;
    int code = parse_into(d);
    if (code) {
        vl_descriptor_free(d);
        return code;
    }
    *out = d;
    return VL_OK;
}

int vl_descriptor_load(const char *path, vl_descriptor **out)
{
    char *text;
    size_t length;
    *out = NULL;
    int code = vl_read_file(path, MAX_DESCRIPTOR, &text, &length);
    if (code)
        return code;
    code = vl_descriptor_parse(text, length, out);
    free(text);
    if (code)
        return code;
    if (!((*out)->path = strdup(path))) {
        vl_descriptor_free(*out);
        *out = NULL;
        return VL_NO_MEMORY;
    }
    return VL_OK;
}

void vl_descriptor_free(vl_descriptor *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->extent_count; i++)
        free(d->extents[i].file);
    free(d->extents);
    free(d->path);
    free(d->text);
    free(d->create_type);
    free(d->parent_hint);
    free(d->track_path);
    free(d);
}
