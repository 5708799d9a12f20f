/* kvcache.c: owns the pages of the KV cache, and the tree of those that may be of use again.
 *
 * A page is free, or in tables (refs counts them), or in the tree, or both of the latter. The tree is made of the pages
 * themselves: a page's children begin where it ends. Three rules keep it simple:
 * - A running sequence holds every page on its way through the tree: what it shares is put under pages it holds, and
 *   where the tree has the same tokens already it takes the tree's page and drops its own (the bits are the same,
 *   because what a position holds depends on the tokens up to it alone). So a page that nobody holds has only
 *   descendants that nobody holds, and the page to give up is the oldest such leaf.
 * - `used` pages are held and `promised` ones may still be asked for; both together never pass `pages`, so a page
 *   that was promised is always there: a free one, or a leaf that nobody holds. Sequences that run never wait.
 * - A page that is not whole (the end of an ended sequence) is never held: its positions are copied.
 * Looking for a child or for the oldest leaf walks a list, once in KVCACHE_PAGE tokens and over hundreds of pages.
 * Failure: E_MEMORY at init. */
#include "generate/kvcache.h"
#include <string.h>
#include "base/mem.h"

enum { CACHE_ALIGN = 64, PAGES_MAX = 1 << 24 };

size_t kvcache_page_bytes(size_t layers, size_t kv_heads, size_t head_dim)
{
	size_t n;
	return __builtin_mul_overflow(layers, kv_heads, &n) || __builtin_mul_overflow(n, head_dim, &n) ||
		__builtin_mul_overflow(n, 2 * KVCACHE_PAGE * sizeof(uint16_t), &n) ? 0 : n;
}

static int heap_get(void *ctx, size_t bytes, void **out, struct err *e)
{
	(void)ctx;
	*out = mem_aligned(CACHE_ALIGN, bytes);
	return *out ? OK : err_set(e, E_MEMORY, "KV cache: out of memory for %zu bytes", bytes);
}

static void heap_put(void *ctx, void *p)
{
	(void)ctx;
	mem_free(p);
}

static void heap_copy(void *ctx, void *to, const void *from, size_t bytes)
{
	(void)ctx;
	memcpy(to, from, bytes);
}

int kvcache_init(struct kvcache *c, size_t layers, size_t kv_heads, size_t head_dim, size_t bytes, size_t window,
	const uint8_t *slides, const struct kvmemory *memory, struct err *e)
{
	size_t page_bytes = kvcache_page_bytes(layers, kv_heads, head_dim), total = 0;
	void *store = NULL;
	int st;
	*c = (struct kvcache){ .layers = layers, .kv_heads = kv_heads, .head_dim = head_dim, .window = window,
		.page_halves = page_bytes / sizeof(uint16_t), .top = KVCACHE_NONE, .spare = KVCACHE_NONE,
		.memory = memory ? *memory : (struct kvmemory){ NULL, heap_get, heap_put, heap_copy } };
	if (page_bytes) c->pages = bytes > page_bytes ? bytes / page_bytes : 1;
	if (c->pages > PAGES_MAX) c->pages = PAGES_MAX;
	c->slides = mem_calloc(layers, 1);
	c->page = mem_calloc(c->pages, sizeof *c->page);
	if (c->slides && slides) memcpy(c->slides, slides, layers);
	if (c->slides && c->page && page_bytes && !__builtin_mul_overflow(page_bytes, c->pages, &total))
		st = c->memory.get(c->memory.ctx, total, &store, e);
	else st = err_set(e, E_MEMORY, "KV cache: out of memory for %zu bytes", total > bytes ? total : bytes);
	c->store = store;
	if (st != OK) {
		kvcache_clear(c);
		return st;
	}
	for (size_t i = c->pages; i-- > 0; c->spare = (uint32_t)i) c->page[i].next = c->spare;
	return OK;
}

void kvcache_clear(struct kvcache *c)
{
	mem_free(c->slides);
	mem_free(c->page);
	if (c->memory.put) c->memory.put(c->memory.ctx, c->store);
	*c = (struct kvcache){ 0 };
}

size_t kvcache_positions(const struct kvcache *c)
{
	return c->pages * KVCACHE_PAGE;
}

size_t kvcache_first(const struct kvcache *c, size_t layer, size_t pos)
{
	return c->slides[layer] && pos + 1 > c->window ? pos + 1 - c->window : 0;
}

/* --- the tree --- */
static uint32_t *children(struct kvcache *c, uint32_t parent)
{
	return parent == KVCACHE_NONE ? &c->top : &c->page[parent].child;
}

static void tree_add(struct kvcache *c, uint32_t parent, uint32_t i, const int32_t *ids, size_t n)
{
	struct kvpage *p = &c->page[i];
	uint32_t *list = children(c, parent);
	memcpy(p->ids, ids, n * sizeof *ids);
	p->filled = (uint32_t)n;
	p->used = ++c->clock;
	p->parent = parent;
	p->child = KVCACHE_NONE;
	p->next = *list;
	*list = i;
}

static void tree_remove(struct kvcache *c, uint32_t i)
{
	uint32_t *at = children(c, c->page[i].parent);
	while (*at != i) at = &c->page[*at].next;
	*at = c->page[i].next;
	c->page[i].filled = 0;
}

static size_t common(const struct kvpage *p, const int32_t *ids, size_t n)
{
	size_t i = 0, most = n < p->filled ? n : p->filled;
	while (i < most && p->ids[i] == ids[i]) i++;
	return i;
}

/* The child that has most of these n ids in common; how many they are. */
static uint32_t tree_find(struct kvcache *c, uint32_t parent, const int32_t *ids, size_t n, size_t *same)
{
	uint32_t best = KVCACHE_NONE;
	*same = 0;
	for (uint32_t i = *children(c, parent); i != KVCACHE_NONE && *same < n; i = c->page[i].next) {
		size_t k = common(&c->page[i], ids, n);
		if (k > *same) *same = k, best = i;
	}
	if (best != KVCACHE_NONE) c->page[best].used = ++c->clock;
	return best;
}

/* --- pages --- */
static void page_free(struct kvcache *c, uint32_t i)
{
	c->page[i].next = c->spare;
	c->spare = i;
}

static void page_hold(struct kvcache *c, uint32_t i)
{
	if (c->page[i].refs++ == 0) c->used++;
}

static void page_leave(struct kvcache *c, uint32_t i)
{
	if (--c->page[i].refs) return;
	c->used--;
	if (!c->page[i].filled) page_free(c, i);
}

/* A page for the caller to hold: a free one, or the oldest leaf of the tree that nobody holds. */
static uint32_t page_take(struct kvcache *c)
{
	uint32_t oldest = KVCACHE_NONE;
	if (c->spare == KVCACHE_NONE) {
		for (uint32_t i = 0; i < c->pages; i++) {
			const struct kvpage *p = &c->page[i];
			if (p->refs || p->child != KVCACHE_NONE) continue;
			if (oldest == KVCACHE_NONE || p->used < c->page[oldest].used) oldest = i;
		}
		if (oldest == KVCACHE_NONE) return oldest;
		tree_remove(c, oldest);
		page_free(c, oldest);
	}
	uint32_t i = c->spare;
	c->spare = c->page[i].next;
	c->page[i] = (struct kvpage){ .parent = KVCACHE_NONE, .child = KVCACHE_NONE, .next = KVCACHE_NONE };
	page_hold(c, i);
	return i;
}

static uint16_t *page_data(const struct kvcache *c, uint32_t i)
{
	return c->store + i * c->page_halves;
}

/* --- sequences --- */
int kvseq_init(struct kvseq *s, size_t context, struct err *e)
{
	*s = (struct kvseq){ .context = context };
	s->page = mem_calloc((context + KVCACHE_PAGE - 1) / KVCACHE_PAGE, sizeof *s->page);
	s->ids = mem_calloc(context, sizeof *s->ids);
	if (s->page && s->ids) return OK;
	kvseq_clear(s);
	return err_set(e, E_MEMORY, "KV cache: out of memory for a sequence of %zu tokens", context);
}

void kvseq_clear(struct kvseq *s)
{
	mem_free(s->page);
	mem_free(s->ids);
	*s = (struct kvseq){ 0 };
}

int kvseq_begin(struct kvcache *c, struct kvseq *s, size_t total)
{
	size_t most = (total + KVCACHE_PAGE - 1) / KVCACHE_PAGE;
	if (most > c->pages - c->used - c->promised) return E_BUSY;
	s->len = s->pages = s->shared = 0;
	s->most = most;
	c->promised += most;
	return OK;
}

static void table_put(struct kvcache *c, struct kvseq *s, uint32_t i)
{
	s->page[s->pages++] = i;
	c->promised--;
}

static uint32_t last_shared(const struct kvseq *s)
{
	return s->shared ? s->page[s->shared - 1] : KVCACHE_NONE;
}

/* A page of the sequence's own that begins as the tree's page `from` does: a copy, or that page itself where it is the last
 * one to be had. The page promised to the sequence is there unless it is `from`, which is held meanwhile. */
static void table_copy(struct kvcache *c, struct kvseq *s, uint32_t from)
{
	uint32_t to;
	page_hold(c, from);
	to = page_take(c);
	if (to == KVCACHE_NONE) {
		tree_remove(c, from);
		table_put(c, s, from);
		return;
	}
	c->memory.copy(c->memory.ctx, page_data(c, to), page_data(c, from), c->page_halves * sizeof(uint16_t));
	table_put(c, s, to);
	page_leave(c, from);
}

size_t kvseq_extend(struct kvcache *c, struct kvseq *s, const int32_t *ids, size_t n)
{
	size_t same = KVCACHE_PAGE, from = s->len;
	while (same == KVCACHE_PAGE && s->len == s->shared * KVCACHE_PAGE && s->pages == s->shared && s->len < n) {
		uint32_t i = tree_find(c, last_shared(s), ids + s->len, n - s->len < KVCACHE_PAGE ? n - s->len : KVCACHE_PAGE,
			&same);
		if (same == 0) break;
		if (same == KVCACHE_PAGE) {
			page_hold(c, i);
			table_put(c, s, i);
			s->shared++;
		} else {
			table_copy(c, s, i);
		}
		s->len += same;
	}
	memcpy(s->ids + from, ids + from, (s->len - from) * sizeof *ids);
	return s->len;
}

void kvseq_room(struct kvcache *c, struct kvseq *s, size_t n)
{
	while (s->pages * KVCACHE_PAGE < s->len + n) table_put(c, s, page_take(c));
}

void kvseq_share(struct kvcache *c, struct kvseq *s, size_t n)
{
	for (; (s->shared + 1) * KVCACHE_PAGE <= n; s->shared++) {
		const int32_t *ids = s->ids + s->shared * KVCACHE_PAGE;
		uint32_t *mine = &s->page[s->shared], there;
		size_t same;
		there = tree_find(c, last_shared(s), ids, KVCACHE_PAGE, &same);
		if (there != KVCACHE_NONE && c->page[there].filled == same) { /* of the same tokens, or of a part of them */
			if (same < KVCACHE_PAGE) {
				tree_remove(c, there);
				page_free(c, there);
			} else {
				page_hold(c, there);
				page_leave(c, *mine);
				*mine = there;
				continue;
			}
		}
		tree_add(c, last_shared(s), *mine, ids, KVCACHE_PAGE);
	}
}

void kvseq_cut(struct kvseq *s, size_t len)
{
	s->len = len;
}

/* Puts the first n tokens of the page after the shared ones into the tree, where it knows no more than that. */
static void share_part(struct kvcache *c, struct kvseq *s, size_t n)
{
	const int32_t *ids = s->ids + s->shared * KVCACHE_PAGE;
	size_t same;
	uint32_t there = tree_find(c, last_shared(s), ids, n, &same);
	if (same == n) return;
	if (there != KVCACHE_NONE && c->page[there].filled == same) {
		tree_remove(c, there);
		page_free(c, there);
	}
	tree_add(c, last_shared(s), s->page[s->shared], ids, n);
}

void kvseq_end(struct kvcache *c, struct kvseq *s, size_t n)
{
	kvseq_share(c, s, n);
	if (n > s->shared * KVCACHE_PAGE) share_part(c, s, n - s->shared * KVCACHE_PAGE);
	for (size_t i = s->pages; i-- > 0;) page_leave(c, s->page[i]);
	c->promised -= s->most - s->pages;
	s->len = s->pages = s->shared = s->most = 0;
}

struct ops_pages kvseq_pages(const struct kvcache *c, const struct kvseq *s, size_t layer, size_t kv_head)
{
	return (struct ops_pages){ .base = c->store + (layer * c->kv_heads + kv_head) * 2 * KVCACHE_PAGE * c->head_dim,
		.stride = c->page_halves, .len = KVCACHE_PAGE, .page = s->page };
}

uint16_t *kvseq_key(const struct kvcache *c, const struct kvseq *s, size_t layer, size_t kv_head, size_t pos)
{
	return page_data(c, s->page[pos / KVCACHE_PAGE]) +
		((layer * c->kv_heads + kv_head) * 2 * KVCACHE_PAGE + pos % KVCACHE_PAGE) * c->head_dim;
}

uint16_t *kvseq_value(const struct kvcache *c, const struct kvseq *s, size_t layer, size_t kv_head, size_t pos)
{
	return kvseq_key(c, s, layer, kv_head, pos) + KVCACHE_PAGE * c->head_dim;
}
