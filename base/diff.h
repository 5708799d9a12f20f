/* diff.h: what differs between two texts, line by line. */
#ifndef BASE_DIFF_H
#define BASE_DIFF_H
#include <stddef.h>
#include "base/err.h"

/* op ' ': both have the line, '-': a alone, '+': b alone; without its "\n". */
typedef void (*diff_fn)(void *ctx, char op, const char *line, size_t len);
/* Tells every line of both in order, what a has and b lacks before what b has in its place; as few of those as can be where
 * what differs is under some thousand lines. Texts end with or without "\n" alike. E_MEMORY. */
int diff_lines(const char *a, size_t a_len, const char *b, size_t b_len, diff_fn fn, void *ctx, struct err *e);

#endif
