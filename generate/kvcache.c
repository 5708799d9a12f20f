/* kvcache.c: owns the memory of the KV cache. A position counts only once `len` covers it, which the decoder does after
 * the last layer: a pass that is given up half-way leaves the cache as it was, but for rows behind the windows.
 * Rows of sliding layers move together, so one `base` serves all of them. Attention over a moved row reads the same
 * numbers, so results do not depend on when rows moved. Failure: E_MEMORY at init. */
#include "generate/kvcache.h"
#include <string.h>
#include "base/mem.h"

enum { CACHE_ALIGN = 64 };

/* Places of the layers, in floats; E_MEMORY when they do not fit the address space. */
static int place_layers(struct kvcache *c, size_t *bytes)
{
	size_t sum = 0;
	for (size_t i = 0; i < c->layers; i++) {
		size_t n;
		c->at[i] = sum;
		if (__builtin_mul_overflow(c->kv_heads, c->head_dim, &n) ||
			__builtin_mul_overflow(n, c->slides[i] ? c->rows : c->context, &n) ||
			__builtin_add_overflow(sum, n, &sum)) return E_MEMORY;
	}
	c->at[c->layers] = sum;
	return __builtin_mul_overflow(sum, sizeof(float), bytes) ? E_MEMORY : OK;
}

int kvcache_init(struct kvcache *c, size_t layers, size_t kv_heads, size_t head_dim, size_t context, size_t window,
	const uint8_t *slides, size_t most, struct err *e)
{
	size_t bytes = 0;
	*c = (struct kvcache){ .layers = layers, .kv_heads = kv_heads, .head_dim = head_dim, .context = context,
		.window = window };
	c->rows = window < context ? window + KVCACHE_BACK + KVCACHE_SLIDE + most : context;
	if (c->rows > context) c->rows = context;
	c->slides = mem_calloc(layers, 1);
	c->at = mem_calloc(layers + 1, sizeof *c->at);
	c->ids = mem_calloc(context, sizeof *c->ids);
	if (c->slides && slides) memcpy(c->slides, slides, layers);
	if (c->slides && c->at && c->ids && place_layers(c, &bytes) == OK) {
		c->k = mem_aligned(CACHE_ALIGN, bytes);
		c->v = mem_aligned(CACHE_ALIGN, bytes);
		if (c->k && c->v) return OK;
	}
	kvcache_clear(c);
	return err_set(e, E_MEMORY, "KV cache: out of memory for %zu positions (2 x %zu bytes)", context, bytes);
}

void kvcache_clear(struct kvcache *c)
{
	mem_free(c->slides);
	mem_free(c->at);
	mem_free(c->ids);
	mem_free(c->k);
	mem_free(c->v);
	*c = (struct kvcache){ 0 };
}

size_t kvcache_cut(struct kvcache *c, size_t len)
{
	if (len >= c->len) return c->len;
	/* position len attends to len + 1 - window and on, which row 0 must not be behind */
	if (c->base > 0 && (len + 1 < c->window || c->base > len + 1 - c->window)) len = c->base = 0;
	c->len = len;
	return len;
}

size_t kvcache_keep(struct kvcache *c, const int32_t *ids, size_t n)
{
	size_t i = 0;
	while (i < n && i < c->len && ids[i] == c->ids[i]) i++;
	return kvcache_cut(c, i);
}

void kvcache_room(struct kvcache *c, size_t n)
{
	size_t keep = c->window + KVCACHE_BACK, from, rows;
	if (c->len + n - c->base <= c->rows) return;
	from = c->len - keep;
	rows = c->len - from;
	for (size_t layer = 0; layer < c->layers; layer++)
		for (size_t h = 0; c->slides[layer] && h < c->kv_heads; h++) {
			size_t to = c->at[layer] + h * c->rows * c->head_dim, at = to + (from - c->base) * c->head_dim;
			memmove(c->k + to, c->k + at, rows * c->head_dim * sizeof *c->k);
			memmove(c->v + to, c->v + at, rows * c->head_dim * sizeof *c->v);
		}
	c->base = from;
}

static size_t row_of(const struct kvcache *c, size_t layer, size_t kv_head, size_t pos)
{
	size_t row = c->slides[layer] ? kv_head * c->rows + pos - c->base : kv_head * c->context + pos;
	return c->at[layer] + row * c->head_dim;
}

float *kvcache_key(const struct kvcache *c, size_t layer, size_t kv_head, size_t pos)
{
	return c->k + row_of(c, layer, kv_head, pos);
}

float *kvcache_value(const struct kvcache *c, size_t layer, size_t kv_head, size_t pos)
{
	return c->v + row_of(c, layer, kv_head, pos);
}

size_t kvcache_first(const struct kvcache *c, size_t layer, size_t pos)
{
	return c->slides[layer] && pos + 1 > c->window ? pos + 1 - c->window : 0;
}
