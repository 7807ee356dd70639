/* Reading a descriptor's lines, shared by descriptor.c and entries.c. */
#ifndef VMLAB_LINES_H
#define VMLAB_LINES_H

#include <stdbool.h>

typedef struct {
    const char *start, *end; /* one line without its newline, or a part of it */
} vl_line;

bool vl_next_line(const char **cursor, const char *end, vl_line *line);
/* Splits `name = "value"`; false when the line is something else. */
bool vl_split_entry(vl_line line, vl_line *name, vl_line *value);
bool vl_is_named(vl_line name, const char *wanted);
/* Takes the next word, quoted or not, off the front of `rest`. */
bool vl_next_word(vl_line *rest, vl_line *word);

#endif
