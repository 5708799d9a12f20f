/* split.h: a question that asks several things, taken apart. Rules for English, German, Spanish and French: question marks,
 * numbered items, "and" before another question word, what a difference lies between. Where they do not clearly apply, a
 * question is one. Thread: any, no state. */
#ifndef API_SPLIT_H
#define API_SPLIT_H
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"
#include "index/index.h"

enum { QUESTION_PARTS_MAX = 3 };

/* Bytes of the parts, in order and trimmed; what is beyond the third is with the third. *n is 1 … QUESTION_PARTS_MAX. E_MEMORY. */
int parts_split(const char *question, size_t len, const char *language, struct arena *a, struct span out[QUESTION_PARTS_MAX], size_t *n, struct err *e);
/* The two sides of "the difference between A and B". *found 0: it is no such question. E_MEMORY. */
int parts_sides(const char *question, size_t len, const char *language, struct arena *a, struct span out[2], int *found, struct err *e);

#endif
