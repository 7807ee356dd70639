/* The descriptor's text, line by line: lines, `name = "value"` entries, words. Nothing is read beyond a line's end. */
#define _GNU_SOURCE
#include "lines.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

bool vl_next_line(const char **cursor, const char *end, vl_line *line)
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
bool vl_split_entry(vl_line line, vl_line *name, vl_line *value)
{
    const char *equals = memchr(line.start, '=', (size_t)(line.end - line.start));
    if (!equals || line.start == line.end || *line.start == '#')
        return false;
    *name = (vl_line){line.start, equals};
    *value = (vl_line){equals + 1, line.end};
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

bool vl_is_named(vl_line name, const char *wanted)
{
    size_t length = strlen(wanted);
    return (size_t)(name.end - name.start) == length && strncasecmp(name.start, wanted, length) == 0;
}

bool vl_next_word(vl_line *rest, vl_line *word)
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
