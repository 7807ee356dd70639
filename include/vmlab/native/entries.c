/* Single entries of a descriptor: reading the disk database, changing a line in the file. */
#define _GNU_SOURCE
#include "disk.h"
#include "lines.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int vl_descriptor_ddb(const vl_descriptor *d, const char *key, char *value, size_t size, size_t *required)
{
    const char *cursor = d->text, *end = d->text + d->text_length;
    vl_line line, name, found;
    while (vl_next_line(&cursor, end, &line)) {
        if (!vl_split_entry(line, &name, &found) || name.end - name.start < 4 || strncasecmp(name.start, "ddb.", 4))
            continue;
        name.start += 4;
        if (!vl_is_named(name, key))
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
    vl_line line, name, value;
    size_t used = 0;
    while (vl_next_line(&cursor, end, &line)) {
        if (!vl_split_entry(line, &name, &value) || name.end - name.start <= 4 || strncasecmp(name.start, "ddb.", 4))
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
    vl_line line, found, value;
    FILE *out = open_memstream(text, &size);
    if (!out)
        return VL_NO_MEMORY;
    while (from = cursor, vl_next_line(&cursor, end, &line)) {
        if (vl_split_entry(line, &found, &value) && vl_is_named(found, name)) {
            if (entry && !done)
                fputs(entry, out);
            done = true;
            continue;
        }
        fwrite(from, 1, (size_t)(cursor - from), out);
        if (cursor > from && cursor[-1] != '\n')
            fputc('\n', out);
        if (entry && !done && section && vl_is_named(line, section)) {
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
