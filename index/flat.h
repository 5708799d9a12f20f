/* flat.h: exact search. The dot product, the k best so far, and the walk over a collection's vectors in the store. */
#ifndef INDEX_FLAT_H
#define INDEX_FLAT_H
#include <stddef.h>
#include <stdint.h>
#include "index/index.h"
#include "index/store.h"

/* Inner product of two vectors of n floats, any alignment. The order of additions depends on n alone. Thread-safe. */
float flat_dot(const float *a, const float *b, size_t n);
/* The same with a stored vector of as many: as if its components were floats, bit for bit. */
float flat_score(const float *a, const struct rec_vec *v);

/* The k best hits seen: higher score first, then lower chunk id. */
struct topk { struct vec_hit *hit; size_t n, k; };       /* hit: k slots, the caller's; a heap with the worst on top */
int topk_wants(const struct topk *t, float score, uint64_t chunk); /* NaN: 0 */
void topk_put(struct topk *t, float score, uint64_t chunk);        /* only what topk_wants */
void topk_sort(struct topk *t);                                    /* best first; the heap is gone */

/* Every vector of collection coll with chunk id > after: scores it and puts it into *t when it is
 * among seen (NULL: all) and the reader sees it. */
struct snapshot;
struct sight;
struct visible;
int flat_scan(struct snapshot *s, const struct reader *r, uint32_t coll, uint64_t after, const float *query,
	const struct visible *seen, struct topk *t, struct sight *cache, struct err *e);

#endif
