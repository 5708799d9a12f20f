/* kvcache.c: owns the memory of the KV cache. A position counts only once `len` covers it, which the decoder does after
 * the last layer: a pass that is given up half-way leaves the cache as it was. Failure: E_MEMORY at init. */
#include "generate/kvcache.h"
#include "base/mem.h"

enum { CACHE_ALIGN = 64 };

int kvcache_init(struct kvcache *c, size_t layers, size_t kv_heads, size_t head_dim, size_t context, struct err *e)
{
	size_t bytes;
	*c = (struct kvcache){ .layers = layers, .kv_heads = kv_heads, .head_dim = head_dim, .context = context };
	if (__builtin_mul_overflow(layers, kv_heads, &bytes) || __builtin_mul_overflow(bytes, head_dim, &bytes) ||
		__builtin_mul_overflow(bytes, context, &bytes) || __builtin_mul_overflow(bytes, sizeof(float), &bytes))
		return err_set(e, E_MEMORY, "KV cache: %zu positions do not fit the address space", context);
	c->ids = mem_calloc(context, sizeof *c->ids);
	c->k = mem_aligned(CACHE_ALIGN, bytes);
	c->v = mem_aligned(CACHE_ALIGN, bytes);
	if (c->ids && c->k && c->v) return OK;
	kvcache_clear(c);
	return err_set(e, E_MEMORY, "KV cache: out of memory for %zu positions (2 x %zu bytes)", context, bytes);
}

void kvcache_clear(struct kvcache *c)
{
	mem_free(c->ids);
	mem_free(c->k);
	mem_free(c->v);
	*c = (struct kvcache){ 0 };
}

size_t kvcache_common(const struct kvcache *c, const int32_t *ids, size_t n)
{
	size_t i = 0;
	while (i < n && i < c->len && ids[i] == c->ids[i]) i++;
	return i;
}

void kvcache_cut(struct kvcache *c, size_t len)
{
	if (len < c->len) c->len = len;
}

static size_t row_of(const struct kvcache *c, size_t layer, size_t kv_head)
{
	return (layer * c->kv_heads + kv_head) * c->context * c->head_dim;
}

float *kvcache_keys(const struct kvcache *c, size_t layer, size_t kv_head)
{
	return c->k + row_of(c, layer, kv_head);
}

float *kvcache_values(const struct kvcache *c, size_t layer, size_t kv_head)
{
	return c->v + row_of(c, layer, kv_head);
}
