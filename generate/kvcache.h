/* kvcache.h: keys and values of the last sequence, with the token ids they came from, so that the next sequence
 * pays only for what differs. One sequence; fp32; layout (layer, kv_head, position, head_dim), so that one head's
 * keys are packed rows for ops.attend. Memory is touched as positions fill. Thread: the engine thread; while a
 * forward pass runs its team may read any row and write rows of distinct positions. */
#ifndef GENERATE_KVCACHE_H
#define GENERATE_KVCACHE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct kvcache {
	size_t layers, kv_heads, head_dim;
	size_t context;      /* positions there is room for */
	size_t len;          /* positions filled */
	int32_t *ids;        /* (context) tokens of the filled positions */
	float *k, *v;        /* (layers, kv_heads, context, head_dim) */
};

int kvcache_init(struct kvcache *c, size_t layers, size_t kv_heads, size_t head_dim, size_t context, struct err *e);
void kvcache_clear(struct kvcache *c);                                     /* frees; fine on a zeroed struct */
size_t kvcache_common(const struct kvcache *c, const int32_t *ids, size_t n); /* leading ids that are cached already */
void kvcache_cut(struct kvcache *c, size_t len);                           /* forgets positions from len on */
float *kvcache_keys(const struct kvcache *c, size_t layer, size_t kv_head);   /* (context, head_dim) */
float *kvcache_values(const struct kvcache *c, size_t layer, size_t kv_head);

#endif
