/* kvcache.h: keys and values of all sequences, in pages that sequences with a common beginning share.
 *
 *   kvseq_init -> [ kvseq_begin -> (kvseq_extend, kvseq_room, a forward pass, kvseq_share) … -> kvseq_end ] … -> kvseq_clear
 *
 * A page holds KVCACHE_PAGE positions of one sequence in every layer, as IEEE halves: for each layer and each of its
 * key heads first the keys of the positions, then their values, head_dim apart. A sequence's table names its pages in
 * order. Pages of beginnings that may come again stand in a radix tree over their token ids; a new sequence takes
 * over the pages that its prompt begins with and pays only for the rest (vLLM's pages, Kwon et al. 2023; SGLang's tree,
 * Zheng et al. 2024). Only whole pages are shared, and nobody writes to a whole page, so none is ever copied because of
 * a write; what a page of the tree begins with beyond that is copied.
 * Layers with a sliding window keep all positions; kvcache_first says where their attention begins.
 * Thread: the engine thread; while a forward pass runs its team may read any position and write distinct ones. */
#ifndef GENERATE_KVCACHE_H
#define GENERATE_KVCACHE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "nn/ops.h"

enum { KVCACHE_PAGE = 32 };
#define KVCACHE_NONE UINT32_MAX

struct kvpage {
	int32_t ids[KVCACHE_PAGE];   /* of a page in the tree: the tokens it was made from */
	uint64_t used;               /* when it was last of use, by the cache's count */
	uint32_t refs;               /* sequences whose tables name it */
	uint32_t filled;             /* positions that the tree may give away; 0: not in the tree. Only whole pages have children */
	uint32_t parent, child, next;/* in the tree, or KVCACHE_NONE; next: another child of parent. next also chains free pages */
};

struct kvmemory {                    /* where pages lie */
	void *ctx;
	int (*get)(void *ctx, size_t bytes, void **out, struct err *e);
	void (*put)(void *ctx, void *p);     /* p may be NULL */
	void (*copy)(void *ctx, void *to, const void *from, size_t bytes);
};

struct kvcache {
	size_t layers, kv_heads, head_dim;
	size_t window;               /* positions a sliding layer attends to; 0: no layer slides */
	uint8_t *slides;             /* (layers) */
	size_t page_halves;
	size_t pages;                /* there are */
	size_t used;                 /* of them in tables */
	size_t promised;             /* pages that running sequences may still ask for */
	uint64_t clock;
	uint32_t top, spare;         /* first page of the tree's first level; first free page */
	struct kvpage *page;         /* (pages) */
	struct kvmemory memory;
	uint16_t *store;             /* (pages, page_halves), in that memory */
};

struct kvseq {
	size_t context;              /* positions there is room for in the table */
	size_t len;                  /* positions filled */
	size_t shared;               /* leading pages that stand in the tree */
	size_t pages, most;          /* in the table; promised in all */
	uint32_t *page;              /* (context up to whole pages) */
	int32_t *ids;                /* (context) tokens of the filled positions */
};

/* slides: (layers) 1 for the layers with the window, copied; NULL with window 0. bytes: of keys and values; at least one page
 * is made. memory: copied; NULL: the heap, touched as pages fill. E_MEMORY. */
int kvcache_init(struct kvcache *c, size_t layers, size_t kv_heads, size_t head_dim, size_t bytes, size_t window,
	const uint8_t *slides, const struct kvmemory *memory, struct err *e);
void kvcache_clear(struct kvcache *c);                         /* frees; fine on a zeroed struct */
size_t kvcache_page_bytes(size_t layers, size_t kv_heads, size_t head_dim); /* 0: more than an address can tell */
size_t kvcache_positions(const struct kvcache *c);             /* of one sequence that has all pages */
/* First position that a query at pos attends to. */
size_t kvcache_first(const struct kvcache *c, size_t layer, size_t pos);

int kvseq_init(struct kvseq *s, size_t context, struct err *e);
void kvseq_clear(struct kvseq *s);                             /* frees; fine on a zeroed struct. After kvseq_end */
/* An empty sequence that is promised pages for `total` positions (at most its context). E_BUSY: not while those run that
 * run now (never when total <= kvcache_positions and none runs). */
int kvseq_begin(struct kvcache *c, struct kvseq *s, size_t total);
/* Before a pass that goes on with ids[len … n): takes over what the tree has of them, at most n; the new len. Looks only from
 * the border of a page. */
size_t kvseq_extend(struct kvcache *c, struct kvseq *s, const int32_t *ids, size_t n);
/* Makes pages for n more positions, within what was promised. */
void kvseq_room(struct kvcache *c, struct kvseq *s, size_t n);
/* Puts the whole pages among the first n positions into the tree; others may take them over from now on. */
void kvseq_share(struct kvcache *c, struct kvseq *s, size_t n);
/* Forgets positions from len on, which is not under what was shared. */
void kvseq_cut(struct kvseq *s, size_t len);
/* Shares the first n positions, a page begun too, and gives all pages back. */
void kvseq_end(struct kvcache *c, struct kvseq *s, size_t n);
/* Keys and values of a layer and head, for the kernels of the CPU: of pages on the heap. */
struct ops_pages kvseq_pages(const struct kvcache *c, const struct kvseq *s, size_t layer, size_t kv_head);
uint16_t *kvseq_key(const struct kvcache *c, const struct kvseq *s, size_t layer, size_t kv_head, size_t pos);
uint16_t *kvseq_value(const struct kvcache *c, const struct kvseq *s, size_t layer, size_t kv_head, size_t pos);

#endif
