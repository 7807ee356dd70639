/* The descriptor: VMDK's text file (Virtual Disk Format 5.0 as VMware published it).
 *
 * Parsing is bounded by the length given and refuses what it does not
 * understand; unknown `name=value` lines are kept as they are.
 */
#define _GNU_SOURCE
#include "disk.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
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

typedef struct {
    const char *start, *end; /* one line without its newline */
} line_t;

static bool next_line(const char **cursor, const char *end, line_t *line)
{
    if (*cursor >= end)
        return false;
    const char *newline = memchr(*cursor, '\n', (size_t)(end - *cursor));
    line->start = *cursor;
    line->end = newline ? newline : end;
    *cursor = newline ? newline + 1 : end;
    while (line->start < line->end && isspace((unsigned char)*line->start))
        line->start++;
    while (line->end > line->start && isspace((unsigned char)line->end[-1]))
        line->end--;
    return true;
}

/* Splits `name = "value"`; false when the line is something else. */
static bool split_entry(line_t line, line_t *name, line_t *value)
{
    const char *equals = memchr(line.start, '=', (size_t)(line.end - line.start));
    if (!equals || line.start == line.end || *line.start == '#')
        return false;
    *name = (line_t){line.start, equals};
    *value = (line_t){equals + 1, line.end};
    while (name->end > name->start && isspace((unsigned char)name->end[-1]))
        name->end--;
    while (value->start < value->end && isspace((unsigned char)*value->start))
        value->start++;
    if (value->end - value->start >= 2 && *value->start == '"' && value->end[-1] == '"') {
        value->start++;
        value->end--;
    }
    return true;
}

static bool is_named(line_t name, const char *wanted)
{
    size_t length = strlen(wanted);
    return (size_t)(name.end - name.start) == length && strncasecmp(name.start, wanted, length) == 0;
}

static char *copy_of(line_t part)
{
    return strndup(part.start, (size_t)(part.end - part.start));
}

static bool parse_number(line_t part, int base, uint64_t limit, uint64_t *number)
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

static bool next_word(line_t *rest, line_t *word)
{
    while (rest->start < rest->end && isspace((unsigned char)*rest->start))
        rest->start++;
    if (rest->start == rest->end)
        return false;
    bool quoted = *rest->start == '"';
    const char *p = rest->start + (quoted ? 1 : 0);
    word->start = p;
    while (p < rest->end && (quoted ? *p != '"' : !isspace((unsigned char)*p)))
        p++;
    if (quoted && p == rest->end)
        return false;
    word->end = p;
    rest->start = quoted ? p + 1 : p;
    return true;
}

static bool starts_extent(line_t line)
{
    static const char *const access[] = {"RW", "RDONLY", "NOACCESS"};
    line_t rest = line, word;
    if (!next_word(&rest, &word))
        return false;
    for (size_t i = 0; i < sizeof access / sizeof *access; i++)
        if (is_named(word, access[i]))
            return true;
    return false;
}

static int extent_kind(line_t word, vl_extent_kind *kind)
{
    static const struct {
        const char *name;
        vl_extent_kind kind;
    } kinds[] = {{"FLAT", VL_FLAT},    {"VMFS", VL_FLAT},      {"VMFSTHIN", VL_FLAT}, {"VMFSRDM", VL_FLAT},
                 {"VMFSRAW", VL_FLAT}, {"VMFSSPARSE", VL_COWD}, {"ZERO", VL_ZERO}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (is_named(word, kinds[i].name)) {
            *kind = kinds[i].kind;
            return VL_OK;
        }
    return VL_UNSUPPORTED; /* SPARSE, SESPARSE, VMFSSPARSE's successors: other people's formats */
}

/* `RW 4192256 FLAT "name-f001.vmdk" 0` */
static int parse_extent(line_t line, vl_descriptor *d)
{
    line_t word;
    vl_extent_line extent = {0};
    if (d->extent_count >= MAX_EXTENTS)
        return VL_BAD_DISK;
    if (!next_word(&line, &word) || is_named(word, "NOACCESS"))
        return VL_NO_ACCESS;
    if (!next_word(&line, &word) || !parse_number(word, 10, MAX_CAPACITY, &extent.sectors) || extent.sectors == 0)
        return VL_BAD_DISK;
    if (!next_word(&line, &word))
        return VL_BAD_DISK;
    int code = extent_kind(word, &extent.kind);
    if (code)
        return code;
    if (extent.kind != VL_ZERO) {
        if (!next_word(&line, &word) || word.start == word.end || memchr(word.start, 0, (size_t)(word.end - word.start)))
            return VL_BAD_DISK;
        line_t file = word;
        if (next_word(&line, &word) && !parse_number(word, 10, MAX_CAPACITY, &extent.file_offset))
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

static int keep(char **slot, line_t value)
{
    char *copy = copy_of(value);
    if (!copy)
        return VL_NO_MEMORY;
    free(*slot);
    *slot = copy;
    return VL_OK;
}

static int parse_entry(line_t name, line_t value, vl_descriptor *d, bool *has_cid)
{
    uint64_t number;
    if (is_named(name, "CID") || is_named(name, "parentCID")) {
        if (!parse_number(value, 16, UINT32_MAX, &number))
            return VL_BAD_DISK;
        if (is_named(name, "CID")) {
            d->content_id = (uint32_t)number;
            *has_cid = true;
        } else
            d->parent_content_id = (uint32_t)number;
        return VL_OK;
    }
    if (is_named(name, "createType"))
        return keep(&d->create_type, value);
    if (is_named(name, "parentFileNameHint"))
        return keep(&d->parent_hint, value);
    if (is_named(name, "changeTrackPath"))
        return keep(&d->track_path, value);
    return VL_OK;
}

static int parse_into(vl_descriptor *d)
{
    const char *cursor = d->text, *end = d->text + d->text_length;
    line_t line, name, value;
    bool has_cid = false;
    int code = VL_OK;
    if (!vl_is_descriptor(d->text, d->text_length))
        return VL_WRONG_TYPE;
    while (!code && next_line(&cursor, end, &line)) {
        if (starts_extent(line))
            code = parse_extent(line, d);
        else if (split_entry(line, &name, &value))
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

int vl_descriptor_ddb(const vl_descriptor *d, const char *key, char *value, size_t size, size_t *required)
{
    const char *cursor = d->text, *end = d->text + d->text_length;
    line_t line, name, found;
    while (next_line(&cursor, end, &line)) {
        if (!split_entry(line, &name, &found) || name.end - name.start < 4 || strncasecmp(name.start, "ddb.", 4))
            continue;
        name.start += 4;
        if (!is_named(name, key))
            continue;
        size_t length = (size_t)(found.end - found.start);
        *required = length + 1;
        if (value && size > length) {
            memcpy(value, found.start, length);
            value[length] = 0;
        }
        return VL_OK;
    }
    return VL_NO_SUCH_KEY;
}

int vl_descriptor_ddb_keys(const vl_descriptor *d, char *keys, size_t size, size_t *required)
{
    const char *cursor = d->text, *end = d->text + d->text_length;
    line_t line, name, value;
    size_t used = 0;
    while (next_line(&cursor, end, &line)) {
        if (!split_entry(line, &name, &value) || name.end - name.start <= 4 || strncasecmp(name.start, "ddb.", 4))
            continue;
        size_t length = (size_t)(name.end - name.start) - 4;
        if (keys && used + length + 1 < size) {
            memcpy(keys + used, name.start + 4, length);
            keys[used + length] = 0;
        }
        used += length + 1;
    }
    if (keys && used < size)
        keys[used] = 0;
    *required = used + 1;
    return VL_OK;
}

static int replaced(const vl_descriptor *d, const char *section, const char *name, const char *entry, char **text)
{
    const char *cursor = d->text, *end = d->text + d->text_length, *from = cursor;
    size_t size = 0;
    bool done = false;
    line_t line, found, value;
    FILE *out = open_memstream(text, &size);
    if (!out)
        return VL_NO_MEMORY;
    while (from = cursor, next_line(&cursor, end, &line)) {
        if (split_entry(line, &found, &value) && is_named(found, name)) {
            if (entry && !done)
                fputs(entry, out);
            done = true;
            continue;
        }
        fwrite(from, 1, (size_t)(cursor - from), out);
        if (cursor > from && cursor[-1] != '\n')
            fputc('\n', out);
        if (entry && !done && section && is_named(line, section)) {
            fputs(entry, out);
            done = true;
        }
    }
    if (entry && !done)
        fputs(entry, out);
    return fclose(out) == 0 ? VL_OK : VL_NO_MEMORY;
}

static int set_entry(const char *path, const char *section, const char *name, const char *value, bool quoted)
{
    vl_descriptor *d;
    char *entry = NULL, *text = NULL;
    if (value && strpbrk(value, "\"\r\n"))
        return VL_INVALID;
    int code = vl_descriptor_load(path, &d);
    if (code)
        return code;
    const char *form = strncmp(name, "ddb.", 4) == 0 ? "%s = \"%s\"\n" : quoted ? "%s=\"%s\"\n" : "%s=%s\n";
    if (value && asprintf(&entry, form, name, value) < 0)
        code = VL_NO_MEMORY;
    if (!code)
        code = replaced(d, section, name, entry, &text);
    if (!code)
        code = vl_write_file(path, text, strlen(text), true);
    free(entry);
    free(text);
    vl_descriptor_free(d);
    return code;
}

int vl_descriptor_set(const char *path, const char *section, const char *name, const char *value, bool quoted)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER; /* else one of two changes would be lost */
    pthread_mutex_lock(&one_at_a_time);
    int code = set_entry(path, section, name, value, quoted);
    pthread_mutex_unlock(&one_at_a_time);
    return code;
}
