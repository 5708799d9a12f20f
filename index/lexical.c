/* lexical.c: owns the search by words: BM25 over the table of postings.
 *
 * Method: a chunk's score is the sum over the query's words of
 *     times in the query * ln(1 + (N - df + 0.5) / (df + 0.5)) * count / (count + k1 * (1 - b + b * len / average len))
 * with N the collection's chunks, df those that hold the word, len the words of the chunk (Robertson & Zaragoza, The
 * Probabilistic Relevance Framework: BM25 and Beyond, 2009, without the constant k1 + 1; the logarithm as Lucene keeps it
 * positive). Function words are left out when the query has others. Of very long queries the rarest words are kept: df
 * comes from the heads of a term's blocks, without reading them. For a reader of some groups N and df count what they
 * see (visible.c), which costs one more walk over the query's postings, and the average is that of the chunks which hold
 * the words: a score that depended on hidden chunks would tell which words those hold. maxscore.c then finds the best chunks;
 * access is decided there, before anything is returned, and a chunk that is gone is not seen.
 * Threads: any, each with its own snapshot. Failure: a damaged block is left out with a warning (index_check names it). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "index/postings.h"
#include "index/maxscore.h"

enum { QUERY_ARENA = 64 << 20 };

struct terms { struct post_term *list; size_t n, cap; double chunks, average; struct arena a; };

/* ---- the query's terms ---- */

static int on_term(void *ctx, const char *term, size_t n, int stop)
{
	struct terms *t = ctx;
	char *copy = arena_strndup(&t->a, term, n);
	if (!copy) return E_MEMORY;
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		struct post_term *more = mem_realloc(t->list, cap * sizeof *more);
		if (!more) return E_MEMORY;
		t->list = more;
		t->cap = cap;
	}
	t->list[t->n++] = (struct post_term){ .text = copy, .len = n, .times = 1, .stop = stop };
	return OK;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct post_term *)a)->text, ((const struct post_term *)b)->text);
}

static int by_rarity(const void *a, const void *b)
{
	const struct post_term *x = a, *y = b;
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

/* ---- weights ---- */

struct seen_sum { const struct visible *v; size_t at; uint64_t df, words; };

/* What of a block the reader sees. */
static void block_count(void *ctx, const struct post_term *q)
{
	struct seen_sum *sum = ctx;
	for (size_t i = 0; i < q->n; i++) {
		if (!visible_has(sum->v, &sum->at, q->chunk[i])) continue;
		sum->df++;
		sum->words += q->words[i];
	}
}

/* Fills df of every term, and what the weights count. keep 1: the terms' blocks are remembered. */
static int terms_count(struct cursor *c, const struct visible *seen, const struct rec_coll *coll, struct terms *t, int keep, struct err *e)
{
	uint64_t words = coll->words, held = coll->chunks;
	int rc = OK;
	t->chunks = (double)(seen ? seen->chunks : coll->chunks);
	if (seen) words = held = 0;
	for (size_t i = 0; !rc && i < t->n; i++) {
		struct post_term *q = &t->list[i];
		struct seen_sum sum = { .v = seen };
		rc = post_term_find(c, coll->number, q, keep || seen, e);
		if (rc || !seen) continue;
		rc = post_term_each(coll->number, q, block_count, &sum, e);
		q->df = sum.df;
		words += sum.words;
		held += sum.df;
		if (!keep) post_term_clear(q);
	}
	t->average = words ? (double)words / (double)held : 1;
	return rc;
}

/* Weighs the terms, and leaves the rarest of those that occur, with their blocks. */
static int terms_weigh(struct cursor *c, const struct visible *seen, const struct rec_coll *coll, size_t max, struct terms *t, struct err *e)
{
	size_t kept = 0;
	int keep = t->n <= max, rc = terms_count(c, seen, coll, t, keep, e);
	if (rc) return rc;
	for (size_t i = 0; i < t->n; i++) {
		struct post_term *q = &t->list[i];
		double df = (double)q->df < t->chunks ? (double)q->df : t->chunks;
		q->weight = q->times * log(1 + (t->chunks - df + 0.5) / (df + 0.5));
		kept += q->df > 0;
	}
	if (t->n) qsort(t->list, t->n, sizeof *t->list, by_rarity);
	if (kept > max) kept = max;
	for (size_t i = kept; i < t->n; i++) post_term_clear(&t->list[i]);
	t->n = kept;
	for (size_t i = 0; !rc && !keep && i < kept; i++) rc = post_term_find(c, coll->number, &t->list[i], 1, e);
	return rc;
}

/* ---- the search ---- */

static int search_run(struct snapshot *s, const struct reader *r, const struct rec_coll *coll, struct terms *t,
	struct topk *best, struct err *e)
{
	struct walk_options o = { .k1 = s->x->bm25_k1, .b = s->x->bm25_b };
	struct visible *seen = NULL;
	struct cursor c = { 0 };
	int rc = r->all_groups ? OK : visible_get(s, r, coll->number, &seen, e);
	if (!rc) rc = cursor_open(&c, s->t, T_POST, e);
	if (!rc) rc = terms_weigh(&c, seen, coll, s->x->query_terms_max, t, e);
	cursor_close(&c);
	o.average = t->average, o.seen = seen;
	if (!rc && t->n) rc = walk_best(s, r, coll->number, t->list, t->n, &o, best, e);
	visible_put(seen);
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
	for (size_t i = 0; i < t.n; i++) post_term_clear(&t.list[i]);
	mem_free(t.list);
	arena_clear(&t.a);
	return rc;
}
