/* rowpick.h: which rows of a graph or a tail a reader sees. Thread-safe (no state). */
#ifndef INDEX_ROWPICK_H
#define INDEX_ROWPICK_H
#include <stddef.h>
#include <stdint.h>

struct visible;

/* A bit a row of a graph, kept with what a reader sees; visible.c frees it. */
struct row_mask { uint64_t serial, bits[]; };              /* serial: the graph's */

/* Rows of an ascending list of chunk ids that belong to a reader, in order. */
struct row_pick { const uint64_t *ids; size_t n, at, end, run; const struct visible *seen; const struct row_mask *mask; };
void row_pick_init(struct row_pick *p, const uint64_t *ids, size_t n, const struct visible *seen); /* seen NULL: all */
void row_pick_masked(struct row_pick *p, const struct row_mask *mask, size_t n);  /* of n rows those whose bit is set */
size_t row_pick_next(struct row_pick *p, uint32_t *rows, size_t cap);  /* how many it wrote; 0: that was all */

#endif
