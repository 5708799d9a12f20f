/* tail.c: owns the codes of vectors that no graph covers.
 *
 * Method: blocks of 1024, 2048, 4096 … rows, so that rows never move while searches read them and few blocks hold any
 * number. A write appends what it puts just before it commits (put.c), while it has the store's writer lock: a snapshot
 * that sees the commit finds the rows here. One that doesn't, stops at its own highest chunk id, for ids only grow. A
 * commit that fails leaves rows behind whose ids are given again; who then finds rows in the way of its own closes the
 * tail (end), and the background thread makes another. Rows of deleted chunks stay until then: what lives is for the
 * store to say, where every hit is looked up.
 * Threads: one writer, by the store's lock; any number of readers, who see rows below n. Failure: see tail_add. */
#include "index/tail.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/code8.h"

struct tail *tail_new(enum table table, uint32_t coll, uint32_t dim, uint64_t after)
{
	struct tail *t = mem_calloc(1, sizeof *t);
	if (!t) return NULL;
	atomic_init(&t->refs, 1);
	atomic_init(&t->end, UINT64_MAX);
	atomic_init(&t->n, 0);
	t->table = table;
	atomic_init(&t->full, 0);
	t->room = SIZE_MAX;
	t->coll = coll;
	t->dim = dim;
	t->after = t->last = after;
	t->stride = code8_size(dim);
	t->scratch = mem_alloc(dim * sizeof *t->scratch);
	if (t->scratch) return t;
	mem_free(t);
	return NULL;
}

void tail_put(struct tail *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1) return;
	scanned_free(&t->scan);
	for (size_t i = 0; i < TAIL_BLOCKS; i++) {
		mem_free(t->block[i].ids);
		mem_free(t->block[i].rows);
	}
	mem_free(t->scratch);
	mem_free(t);
}

/* The block of row i, and the block's first row. */
static size_t block_of(size_t i, size_t *first)
{
	size_t b = (size_t)(63 - __builtin_clzll(i / TAIL_FIRST + 1));
	*first = (((size_t)1 << b) - 1) * TAIL_FIRST;
	return b;
}

static int row_add(struct tail *t, uint64_t chunk, const float *v)
{
	size_t n = atomic_load_explicit(&t->n, memory_order_relaxed), first, b = block_of(n, &first);
	struct tail_block *k;
	if (n == t->room) {
		atomic_store(&t->full, 1);
		return E_LIMIT;
	}
	if (b >= TAIL_BLOCKS) return E_LIMIT;
	k = &t->block[b];
	if (!k->ids) {
		size_t rows = (size_t)TAIL_FIRST << b;
		k->ids = mem_alloc(rows * sizeof *k->ids);
		k->rows = mem_huge(rows * t->stride);
		if (!k->ids || !k->rows) return E_MEMORY;
	}
	if (!k->rows) return E_MEMORY; /* as the last time */
	k->ids[n - first] = t->last = chunk;
	code8_encode(k->rows + (n - first) * t->stride, v, t->dim);
	atomic_store_explicit(&t->n, n + 1, memory_order_release);
	return OK;
}

static void tail_close(struct tail *t, uint64_t end, const char *why)
{
	atomic_store(&t->end, end);
	log_put(LOG_WARN, "index", "vectors from chunk %llu on are searched in the store: %s", (unsigned long long)end, why);
}

void tail_add(struct tail *tail, struct txn *t, uint64_t first)
{
	struct cursor c = { 0 };
	struct slice key, value;
	struct err e = { OK, "" };
	struct key k;
	int rc;
	if (atomic_load(&tail->end) != UINT64_MAX) return;
	if (first <= tail->after) first = tail->after + 1;
	if (first <= tail->last) {
		tail_close(tail, first, "a commit before failed");
		return;
	}
	key_vec(&k, tail->coll, first);
	rc = cursor_open(&c, t, tail->table, &e);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, &e);
	for (; !rc && key.n == 12 && key_get_u32(key.p) == tail->coll; rc = cursor_next(&c, &key, &value, &e)) {
		struct rec_vec v;
		uint64_t chunk = key_get_u64(key.p + 4);
		if (rec_vec_get(&v, &k, value, tail->dim, 0, NULL)) continue; /* of wrong size: check names it */
		rc = row_add(tail, chunk, rec_vec_borrow(&v, tail->scratch));
		if (rc) err_set(&e, rc, rc == E_LIMIT ? "memory has no room for more (index.memory_bytes)" : "out of memory");
		if (rc) break;
	}
	cursor_close(&c);
	if (rc && rc != E_NOT_FOUND) tail_close(tail, tail->last < first ? first : tail->last + 1, e.msg);
}

void tail_part(const struct tail *t, size_t from, size_t n, const uint64_t **ids, const uint8_t **rows, size_t *upto)
{
	size_t first, b = block_of(from, &first), end = first + ((size_t)TAIL_FIRST << b);
	*ids = t->block[b].ids + (from - first);
	*rows = t->block[b].rows + (from - first) * t->stride;
	*upto = n < end ? n : end;
}

size_t tail_bytes(const struct tail *t)
{
	return atomic_load(&t->n) * (t->stride + sizeof(uint64_t));
}
