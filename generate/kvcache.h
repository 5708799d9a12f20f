/* kvcache.h: keys and values of the last sequence, with the token ids they came from, so that the next sequence
 * pays only for what differs. One sequence; fp32; a layer's heads lie one behind the other, a head's positions too, so
 * that one head's keys are packed rows for ops.attend. Memory is touched as positions fill.
 *
 * A layer with a sliding window keeps only the last positions: its rows are those from `base` on, and when they have
 * filled their room the last ones move to its beginning. It keeps KVCACHE_BACK positions more than the window, so that
 * a cache can go back by that many at least; where it cannot go back far enough it is emptied, which costs time and
 * never correctness. Thread: the engine thread; while a forward pass runs its team may read any row and write rows of
 * distinct positions. */
#ifndef GENERATE_KVCACHE_H
#define GENERATE_KVCACHE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum { KVCACHE_BACK = 512, KVCACHE_SLIDE = 512 };   /* positions kept behind a window; positions between two moves */

struct kvcache {
	size_t layers, kv_heads, head_dim;
	size_t context;      /* positions there is room for */
	size_t len;          /* positions filled */
	size_t window;       /* positions a sliding layer attends to; 0: no layer slides */
	size_t rows;         /* positions a sliding layer has room for, at most context */
	size_t base;         /* position in row 0 of sliding layers; 0 in the others */
	uint8_t *slides;     /* (layers) */
	size_t *at;          /* (layers + 1) where a layer begins in k and v, in floats */
	int32_t *ids;        /* (context) tokens of the filled positions */
	float *k, *v;
};

/* slides: (layers) 1 for the layers with the window, copied; NULL with window 0. most: most positions that one pass
 * adds. */
int kvcache_init(struct kvcache *c, size_t layers, size_t kv_heads, size_t head_dim, size_t context, size_t window,
	const uint8_t *slides, size_t most, struct err *e);
void kvcache_clear(struct kvcache *c);                                     /* frees; fine on a zeroed struct */
/* Forgets positions from len on, and all of them where the windows do not reach back that far; what is left. */
size_t kvcache_cut(struct kvcache *c, size_t len);
/* Cuts to the leading ids of these n that are cached; how many are left. */
size_t kvcache_keep(struct kvcache *c, const int32_t *ids, size_t n);
/* Before a pass that adds n positions (at most `most`): makes rows for them. Moves rows, allocates nothing. */
void kvcache_room(struct kvcache *c, size_t n);
/* The row of position pos, which is within the layer's reach; rows of later positions follow it, head_dim apart. */
float *kvcache_key(const struct kvcache *c, size_t layer, size_t kv_head, size_t pos);
float *kvcache_value(const struct kvcache *c, size_t layer, size_t kv_head, size_t pos);
/* First position that a query at pos attends to. */
size_t kvcache_first(const struct kvcache *c, size_t layer, size_t pos);

#endif
