/* lexical.c: owns the search by words: BM25 over the table of postings.
 *
 * Method: a chunk's score is the sum over the query's words of
 *     times in the query * ln(1 + (N - df + 0.5) / (df + 0.5)) * count / (count + k1 * (1 - b + b * len / average len))
 * with N the collection's chunks, df those that hold the word, len the words of the chunk (Robertson & Zaragoza, The
 * Probabilistic Relevance Framework: BM25 and Beyond, 2009, without the constant k1 + 1; the logarithm as Lucene keeps it
 * positive). Function words are left out when the query has others. Of very long queries the rarest words are kept: df
 * comes from the heads of a term's blocks, without reading them. For a reader of some groups N and df count what they
 * see (visible.c), which costs one more walk over the query's postings, and the average is that of the chunks which hold
 * the words: a score that depended on hidden chunks would tell which words those hold. Then all terms are walked side by side through windows
 * of chunk ids with one sum a chunk, so memory does not grow with the collection, and in the order of the terms, so a
 * score never depends on what else is in the store's memory. Only a chunk that would enter the k best is asked for its
 * visibility: access is decided here, before anything is returned, and a chunk that is gone is not seen.
 * Threads: any, each with its own snapshot. Failure: a damaged block is left out with a warning (index_check names it). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "index/flat.h"
#include "index/inside.h"
#include "index/postings.h"

enum { WINDOW = 16384, QUERY_ARENA = 64 << 20 };

struct query_term {
	const char *text; size_t len;
	uint32_t times;
	int stop;
	uint64_t df;
	double weight;
	/* the walk */
	struct cursor c;
	struct posting *block; size_t n, cap, at; /* at == n: at its end */
};
struct terms { struct query_term *list; size_t n, cap; double chunks, average; struct arena a; };

/* ---- the query's terms ---- */

static int on_term(void *ctx, const char *term, size_t n, int stop)
{
	struct terms *t = ctx;
	char *copy = arena_strndup(&t->a, term, n);
	if (!copy) return E_MEMORY;
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		struct query_term *more = mem_realloc(t->list, cap * sizeof *more);
		if (!more) return E_MEMORY;
		t->list = more;
		t->cap = cap;
	}
	t->list[t->n++] = (struct query_term){ .text = copy, .len = n, .times = 1, .stop = stop };
	return OK;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct query_term *)a)->text, ((const struct query_term *)b)->text);
}

static int by_rarity(const void *a, const void *b)
{
	const struct query_term *x = a, *y = b;
	if (x->df != y->df) return x->df - 1 < y->df - 1 ? -1 : 1; /* what occurs nowhere comes last */
	return strcmp(x->text, y->text);
}

/* Equal terms become one; function words go unless there is nothing else. */
static void terms_merge(struct terms *t)
{
	size_t kept = 0;
	int content = 0;
	for (size_t i = 0; i < t->n; i++) content |= !t->list[i].stop;
	if (t->n) qsort(t->list, t->n, sizeof *t->list, by_text);
	for (size_t i = 0; i < t->n; i++) {
		if (content && t->list[i].stop) continue;
		if (kept && strcmp(t->list[kept - 1].text, t->list[i].text) == 0) t->list[kept - 1].times++;
		else t->list[kept++] = t->list[i];
	}
	t->n = kept;
}

/* Is this a block of the term k was made for? */
static int same_term(const struct key *k, struct slice key)
{
	return key.n == k->n && memcmp(key.p, k->b, k->n - 8) == 0;
}

/* How many chunks hold the term, by the heads of its blocks. */
static int df_count(struct cursor *c, uint32_t coll, struct query_term *q, struct err *e)
{
	struct slice key, value;
	struct key k;
	int rc;
	key_block(&k, coll, q->text, q->len, 0);
	for (rc = cursor_seek(c, &k, &key, &value, e); !rc && same_term(&k, key); rc = cursor_next(c, &key, &value, e))
		q->df += rec_block_n(value);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- walking ---- */

/* Takes the block at hand, or the next that is not damaged; at == n at the term's end. rc: of the cursor's last step. */
static int block_take(struct query_term *q, struct key *k, int rc, struct slice key, struct slice value, struct err *e)
{
	q->at = q->n = 0;
	for (; !rc && same_term(k, key); rc = cursor_next(&q->c, &key, &value, e)) {
		size_t due = rec_block_n(value);
		struct err why;
		if (due > q->cap) {
			struct posting *more = mem_realloc(q->block, due * sizeof *more);
			if (!more) return err_set(e, E_MEMORY, "search: out of memory");
			q->block = more;
			q->cap = due;
		}
		memcpy(k->b, key.p, key.n);
		if (rec_block_get(q->block, q->cap, &q->n, k, value, &why) == OK) return OK;
		log_put(LOG_WARN, "index", "postings are left out: %s", why.msg);
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

static int term_begin(struct snapshot *s, uint32_t coll, struct query_term *q, struct err *e)
{
	struct slice key, value;
	struct key k;
	int rc = cursor_open(&q->c, s->t, T_POST, e);
	if (rc) return rc;
	key_block(&k, coll, q->text, q->len, 0);
	return block_take(q, &k, cursor_seek(&q->c, &k, &key, &value, e), key, value, e);
}

static int term_next(struct query_term *q, uint32_t coll, struct err *e)
{
	struct slice key, value;
	struct key k;
	if (++q->at < q->n) return OK;
	key_block(&k, coll, q->text, q->len, 0);
	return block_take(q, &k, cursor_next(&q->c, &key, &value, e), key, value, e);
}

/* ---- weights ---- */

/* The same of the chunks that the reader sees, one by one. Their lengths are added to sums[0], their number to sums[1]. */
static int df_count_seen(struct snapshot *s, const struct visible *v, uint32_t coll, struct query_term *q, uint64_t sums[2],
	struct err *e)
{
	size_t at = 0;
	int rc = term_begin(s, coll, q, e);
	while (!rc && q->at < q->n) {
		const struct posting *p = &q->block[q->at];
		if (visible_has(v, &at, p->chunk)) {
			q->df++;
			sums[0] += p->len;
			sums[1]++;
		}
		rc = term_next(q, coll, e);
	}
	cursor_close(&q->c);
	q->at = q->n = 0;
	return rc;
}

/* Fills df of every term, and what the weights count. */
static int terms_count(struct snapshot *s, const struct reader *r, const struct rec_coll *coll, struct terms *t, struct err *e)
{
	struct cursor c = { 0 };
	struct visible *v = NULL;
	uint64_t sums[2] = { coll->words, coll->chunks };
	int rc;
	t->chunks = (double)coll->chunks;
	if (r->all_groups) {
		rc = cursor_open(&c, s->t, T_POST, e);
		for (size_t i = 0; !rc && i < t->n; i++) rc = df_count(&c, coll->number, &t->list[i], e);
		cursor_close(&c);
	} else {
		sums[0] = sums[1] = 0;
		rc = visible_get(s, r, coll->number, &v, e);
		for (size_t i = 0; !rc && i < t->n; i++) rc = df_count_seen(s, v, coll->number, &t->list[i], sums, e);
		if (!rc) t->chunks = (double)v->chunks;
		visible_put(v);
	}
	t->average = sums[0] ? (double)sums[0] / (double)sums[1] : 1;
	return rc;
}

/* Weighs the terms, and leaves the rarest of those that occur, in text order. */
static int terms_weigh(struct snapshot *s, const struct reader *r, const struct rec_coll *coll, struct terms *t, struct err *e)
{
	size_t kept = 0, max = s->x->query_terms_max;
	int rc = terms_count(s, r, coll, t, e);
	if (rc) return rc;
	for (size_t i = 0; i < t->n; i++) {
		struct query_term *q = &t->list[i];
		double df = (double)q->df < t->chunks ? (double)q->df : t->chunks;
		q->weight = q->times * log(1 + (t->chunks - df + 0.5) / (df + 0.5));
		kept += q->df > 0;
	}
	if (t->n) qsort(t->list, t->n, sizeof *t->list, by_rarity);
	if (kept > max) kept = max;
	for (size_t i = kept; i < t->n; i++) mem_free(t->list[i].block);
	t->n = kept;
	if (kept) qsort(t->list, kept, sizeof *t->list, by_text);
	return OK;
}

struct scan {
	struct snapshot *s;
	const struct reader *r;
	const struct rec_coll *coll;
	struct terms *t;
	struct topk *best;
	struct sight *cache;
	float *sum;                  /* WINDOW of them, all 0 between windows */
};

/* Adds up what the terms have for chunks [base, base + WINDOW). */
static int window_sum(const struct scan *w, uint64_t base, struct err *e)
{
	double k1 = w->s->x->bm25_k1, b = w->s->x->bm25_b;
	double average = w->t->average;
	int rc = OK;
	for (size_t i = 0; !rc && i < w->t->n; i++) {
		struct query_term *q = &w->t->list[i];
		while (!rc && q->at < q->n && q->block[q->at].chunk - base < WINDOW) {
			const struct posting *p = &q->block[q->at];
			double f = p->count, score = q->weight * f / (f + k1 * (1 - b + b * p->len / average));
			w->sum[p->chunk - base] += (float)score;
			rc = term_next(q, w->coll->number, e);
		}
	}
	return rc;
}

static int window_take(const struct scan *w, uint64_t base, struct err *e)
{
	int rc = OK, yes;
	for (size_t i = 0; i < WINDOW; i++) {
		float score = w->sum[i];
		w->sum[i] = 0;
		if (rc || score <= 0 || !topk_wants(w->best, score, base + i)) continue;
		rc = snapshot_sees_chunk(w->s, w->r, w->coll->number, base + i, w->cache, &yes, e);
		if (!rc && yes) topk_put(w->best, score, base + i);
	}
	return rc;
}

static int scan_run(const struct scan *w, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; !rc && i < w->t->n; i++) rc = term_begin(w->s, w->coll->number, &w->t->list[i], e);
	while (!rc) {
		uint64_t base = UINT64_MAX;
		for (size_t i = 0; i < w->t->n; i++) {
			const struct query_term *q = &w->t->list[i];
			if (q->at < q->n && q->block[q->at].chunk < base) base = q->block[q->at].chunk;
		}
		if (base == UINT64_MAX) break;
		rc = window_sum(w, base, e);
		if (!rc) rc = window_take(w, base, e);
	}
	for (size_t i = 0; i < w->t->n; i++) cursor_close(&w->t->list[i].c);
	return rc;
}

/* ---- the search ---- */

static int search_run(struct snapshot *s, const struct reader *r, const struct rec_coll *coll, struct terms *t,
	struct topk *best, struct err *e)
{
	struct scan w = { s, r, coll, t, best, mem_calloc(1, sizeof *w.cache), mem_calloc(WINDOW, sizeof *w.sum) };
	int rc = w.cache && w.sum ? terms_weigh(s, r, coll, t, e) : err_set(e, E_MEMORY, "search: out of memory");
	if (!rc) rc = scan_run(&w, e);
	mem_free(w.cache);
	mem_free(w.sum);
	return rc;
}

int snapshot_search_words(struct snapshot *s, const struct reader *r, const char *query, size_t len, size_t k,
	struct word_hit *out, size_t *got, struct err *e)
{
	struct terms t = { 0 };
	struct topk best = { 0 };
	struct rec_coll coll;
	int rc;
	*got = 0;
	if (!r || !r->collection) return err_set(e, E_USAGE, "search: no collection is named");
	rc = coll_read(s->t, r->collection, &coll, e);
	if (rc) return rc == E_NOT_FOUND ? OK : rc;
	if (k > coll.chunks) k = coll.chunks;
	if (k == 0) return OK;
	arena_init(&t.a, QUERY_ARENA);
	best = (struct topk){ mem_alloc(k * sizeof *best.hit), 0, k };
	rc = best.hit ? query_words_visit(query, len, on_term, &t, e) : E_MEMORY;
	if (rc == E_MEMORY) err_set(e, rc, "search: out of memory");
	if (!rc) {
		terms_merge(&t);
		rc = search_run(s, r, &coll, &t, &best, e);
	}
	if (!rc) {
		topk_sort(&best);
		for (size_t i = 0; i < best.n; i++) out[i] = (struct word_hit){ best.hit[i].chunk_id, best.hit[i].score };
		*got = best.n;
	}
	mem_free(best.hit);
	for (size_t i = 0; i < t.n; i++) mem_free(t.list[i].block);
	mem_free(t.list);
	arena_clear(&t.a);
	return rc;
}
