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
 * A word of the query that no passage holds which the reader sees is taken for mistyped, or, at the query's end, for
 * unfinished (similar.c): the words that may be meant are looked for in its place, for a share of its weight. A query
 * whose words are all there is never changed.
 * Threads: any, each with its own snapshot. Failure: a damaged block is left out with a warning (index_check names it). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "index/maxscore.h"
#include "index/postings.h"
#include "index/similar.h"

enum { QUERY_ARENA = 64 << 20, EXPANDED_MAX = 8 }; /* words of a query that are looked for in other forms */

/* quoted: the query has phrases, so each of its words is meant as it is, function words too. */
struct terms { struct post_term *list; size_t n, cap; double chunks, average; struct arena a; int quoted; };

/* ---- the query's terms ---- */

static int terms_grow(struct terms *t)
{
	size_t cap = t->cap ? 2 * t->cap : 64;
	struct post_term *more;
	if (t->n < t->cap) return OK;
	more = mem_realloc(t->list, cap * sizeof *more);
	if (!more) return E_MEMORY;
	t->list = more;
	t->cap = cap;
	return OK;
}

static int on_term(void *ctx, const char *term, size_t n, int stop)
{
	struct terms *t = ctx;
	char *copy = arena_strndup(&t->a, term, n);
	if (!copy || terms_grow(t)) return E_MEMORY;
	t->list[t->n++] = (struct post_term){ .text = copy, .len = n, .times = 1, .stop = stop && !t->quoted, .share = 1 };
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

/* Does the query stop in the middle of a word, or right behind one? */
static int ends_open(const char *query, size_t len)
{
	size_t at = len;
	int32_t last;
	if (len == 0) return 0;
	at = utf8_floor(query, len, len - 1);
	last = utf8_next(query, len, &at);
	return last >= 0 && uni_is_word((uint32_t)last);
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
		if (kept && strcmp(t->list[kept - 1].text, t->list[i].text) == 0) t->list[kept - 1].times++, t->list[kept - 1].unfinished |= t->list[i].unfinished;
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

struct counting { struct cursor *c; const struct visible *seen; const struct rec_coll *coll; uint64_t words, held; };

/* Finds a term's blocks, which are remembered where keep is 1, and fills its df. */
static int term_count(struct counting *count, struct post_term *q, int keep, struct seen_sum *sum, struct err *e)
{
	int rc = post_term_find(count->c, count->coll->number, q, keep || count->seen, e);
	*sum = (struct seen_sum){ .v = count->seen };
	if (rc || !count->seen) return rc;
	rc = post_term_each(count->coll->number, q, block_count, sum, e);
	q->df = sum->df;
	if (!keep) post_term_clear(q);
	return rc;
}

static int terms_count(struct counting *count, struct terms *t, int keep, struct err *e)
{
	struct seen_sum sum;
	int rc = OK;
	for (size_t i = 0; !rc && i < t->n; i++) {
		rc = term_count(count, &t->list[i], keep, &sum, e);
		count->words += sum.words;
		count->held += sum.df;
	}
	return rc;
}

/* ---- words that nobody has written ---- */

static int by_nearness(const void *a, const void *b)
{
	const struct post_term *x = a, *y = b;
	if (x->share != y->share) return x->share > y->share ? -1 : 1;
	return by_rarity(y, x);
}

static int terms_have(const struct terms *t, const char *text)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->list[i].text, text) == 0) return 1;
	return 0;
}

/* Adds the words that may have been meant by term `at`: at most max that the reader sees, the nearest, of these the most
 * frequent. All of them weigh as the most frequent does: that one of them is rare says nothing, it was not asked for. */
static int term_expand(struct counting *count, struct terms *t, size_t at, size_t max, struct err *e)
{
	static const double shares[] = { 0.9, 0.7, 0.5 };
	struct similar found[SIMILAR_MAX];
	struct post_term tried[SIMILAR_MAX];
	struct seen_sum sum;
	const struct post_term q = t->list[at];
	uint64_t most = 0;
	size_t n = 0, kept = 0;
	int rc = q.unfinished ? similar_longer(count->c, count->coll->number, q.text, q.len, &t->a, found, &n, e) : OK;
	if (!rc && n == 0)
		rc = similar_near(count->c, count->coll->number, q.text, q.len, similar_edits(q.text, q.len), &t->a, found, &n, e);
	for (size_t i = 0; !rc && i < n; i++) {
		struct post_term *p = &tried[kept];
		if (terms_have(t, found[i].text)) continue;
		*p = (struct post_term){ .text = found[i].text, .len = found[i].len, .times = q.times, .share = shares[found[i].edits] };
		rc = term_count(count, p, 1, &sum, e);
		p->words_seen = sum.words;
		if (!rc && p->df) kept++;
		else post_term_clear(p);
	}
	if (kept) qsort(tried, kept, sizeof *tried, by_nearness);
	for (size_t i = 0; i < kept && i < max; i++)
		if (tried[i].df > most) most = tried[i].df;
	for (size_t i = 0; i < kept; i++) {
		if (rc || i >= max || (terms_grow(t) && (rc = err_set(e, E_MEMORY, "search: out of memory")))) {
			post_term_clear(&tried[i]);
			continue;
		}
		tried[i].weigh_df = most;
		t->list[t->n++] = tried[i];
		count->words += tried[i].words_seen;
		count->held += count->seen ? tried[i].df : 0;
	}
	return rc;
}

/* Words of the query that the reader's passages do not hold are taken for mistyped, the last one for unfinished. */
static int terms_expand(struct counting *count, struct terms *t, size_t max, struct err *e)
{
	size_t n = t->n, done = 0;
	int rc = OK;
	for (size_t i = 0; !rc && max && i < n && done < EXPANDED_MAX; i++) {
		if (t->list[i].df || t->list[i].stop) continue;
		rc = term_expand(count, t, i, max, e);
		done++;
	}
	return rc;
}

/* Weighs the terms, and leaves the rarest of those that occur, with their blocks. */
static int terms_weigh(struct counting *count, const struct index *x, struct terms *t, struct err *e)
{
	const struct visible *seen = count->seen;
	size_t kept = 0, max = x->query_terms_max;
	int keep = t->n <= max, rc = terms_count(count, t, keep, e);
	if (!rc && keep && !t->quoted) rc = terms_expand(count, t, x->similar_max, e);
	if (rc) return rc;
	t->chunks = (double)(seen ? seen->chunks : count->coll->chunks);
	t->average = count->words ? (double)count->words / (double)count->held : 1;
	for (size_t i = 0; i < t->n; i++) {
		struct post_term *q = &t->list[i];
		double df = (double)(q->weigh_df ? q->weigh_df : q->df);
		if (df > t->chunks) df = t->chunks;
		q->weight = q->share * q->times * log(1 + (t->chunks - df + 0.5) / (df + 0.5));
		kept += q->df > 0;
	}
	if (t->n) qsort(t->list, t->n, sizeof *t->list, by_rarity);
	if (kept > max) kept = max;
	for (size_t i = kept; i < t->n; i++) post_term_clear(&t->list[i]);
	t->n = kept;
	for (size_t i = 0; !rc && !keep && i < kept; i++) {
		uint64_t df = t->list[i].df;
		rc = post_term_find(count->c, count->coll->number, &t->list[i], 1, e);
		t->list[i].df = df;
	}
	return rc;
}

/* Remembers the words that are looked for in place of others, for who shows what was found. */
static int meant_keep(struct snapshot *s, const struct terms *t, struct err *e)
{
	s->meant_n = 0;
	s->meant = arena_alloc(&s->a, (t->n + 1) * sizeof *s->meant);
	for (size_t i = 0; s->meant && i < t->n; i++) {
		if (t->list[i].share >= 1) continue;
		if (!(s->meant[s->meant_n++] = arena_strdup(&s->a, t->list[i].text))) s->meant = NULL;
	}
	return s->meant ? OK : (s->meant_n = 0, err_set(e, E_MEMORY, "search: out of memory"));
}

void snapshot_words_meant(const struct snapshot *s, const char *const **out, size_t *n)
{
	*out = s->meant;
	*n = s->meant_n;
}

/* ---- the search ---- */

static int search_run(struct snapshot *s, const struct reader *r, const struct rec_coll *coll, struct terms *t,
	struct topk *best, struct err *e)
{
	struct walk_options o = { .k1 = s->x->bm25_k1, .b = s->x->bm25_b };
	struct visible *seen = NULL;
	struct cursor c = { 0 };
	int rc = reader_sees_all(r) ? OK : visible_get(s, r, coll->number, &seen, e);
	if (!rc) rc = cursor_open(&c, s->t, T_POST, e);
	struct counting count = { &c, seen, coll, seen ? 0 : coll->words, seen ? 0 : coll->chunks };
	if (!rc) rc = terms_weigh(&count, s->x, t, e);
	if (!rc) rc = meant_keep(s, t, e);
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
	t.quoted = r->phrases != NULL;
	best = (struct topk){ mem_alloc(k * sizeof *best.hit), 0, k };
	rc = best.hit ? query_words_visit(query, len, on_term, &t, e) : E_MEMORY;
	if (rc == E_MEMORY) err_set(e, rc, "search: out of memory");
	if (!rc) {
		if (t.n) t.list[t.n - 1].unfinished = ends_open(query, len);
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
