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
 * A query's words are looked for as each language stems them that the collection has documents in.
 * A word of the query that no passage holds which the reader sees is taken for mistyped, or, at the query's end, for
 * unfinished (similar.c): the words that may be meant are looked for in its place, for a share of its weight. A query
 * whose words are all there is never changed.
 * Where the collection's postings are in memory (wordset.c) they are searched there (segwalk.c), and in the store only for the
 * chunks that came later; where they are not, all in the store. One list of the k best goes through both, and terms have one
 * weight and one order, so what is found does not depend on where it lies. What a query needs lies in memory that its thread
 * keeps for the next one.
 * Threads: any, each with its own snapshot. Failure: a damaged block is left out with a warning (index_check names it). */
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "index/maxscore.h"
#include "index/postings.h"
#include "index/segwalk.h"
#include "index/similar.h"

enum { QUERY_ARENA = 64 << 20, EXPANDED_MAX = 8, SLOTS = 128, KEEP_TERMS = 1024, KEEP_HITS = 4096, FEW = 40 }; /* EXPANDED: words of a query
	that are looked for in other forms; KEEP: what a thread keeps room for */

#define NONE SIZE_MAX
struct terms {
	struct post_term *list; size_t n, cap;
	uint32_t *slot; size_t slot_n;   /* term + 1 by hash; at most half full; a power of two */
	const struct word_view *view;    /* of the collection; NULL: its postings are not in memory */
	size_t last;                     /* the term of the query's last word; NONE: a function word that does not count */
	int stops, with_stops;           /* there are function words; they count */
	int quoted;                      /* the query has phrases, so each of its words is meant as it is, function words too */
	const char *query; size_t len;   /* borrowed: as it was asked */
	double chunks, average;
	struct arena a;
};

/* What a thread keeps from one query to the next. */
struct scratch {
	struct terms t;
	struct vec_hit *hit; size_t hit_cap;
	struct seg_walk *walk;
	struct seg_probe *probe; struct post_term **order; size_t probe_cap;
};

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_free(void *p)
{
	struct scratch *s = p;
	if (!s) return;
	for (size_t i = 0; i < s->t.n; i++) post_term_clear(&s->t.list[i]);
	mem_free(s->t.list);
	mem_free(s->t.slot);
	arena_clear(&s->t.a);
	mem_free(s->hit);
	seg_walk_free(s->walk);
	mem_free(s->probe);
	mem_free(s->order);
	mem_free(s);
}

static void scratch_key_make(void)
{
	(void)pthread_key_create(&scratch_key, scratch_free);
}

static struct scratch *scratch_get(void)
{
	struct scratch *s;
	pthread_once(&scratch_once, scratch_key_make);
	s = pthread_getspecific(scratch_key);
	if (s) return s;
	s = mem_calloc(1, sizeof *s);
	if (!s) return NULL;
	arena_init(&s->t.a, QUERY_ARENA);
	s->walk = seg_walk_new();
	if (s->walk && pthread_setspecific(scratch_key, s) == 0) return s;
	scratch_free(s);
	return NULL;
}

/* Ends a query: a large one leaves nothing behind. */
static void scratch_end(struct scratch *s)
{
	if (s->t.cap > KEEP_TERMS || s->hit_cap > KEEP_HITS) {
		(void)pthread_setspecific(scratch_key, NULL);
		scratch_free(s);
		return;
	}
	for (size_t i = 0; i < s->t.n; i++) post_term_clear(&s->t.list[i]);
	s->t.n = 0;
	arena_reset(&s->t.a);
}

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

static int slots_make(struct terms *t, size_t n)
{
	if (n != t->slot_n) {
		mem_free(t->slot);
		t->slot = mem_alloc(n * sizeof *t->slot);
		t->slot_n = t->slot ? n : 0;
		if (!t->slot) return E_MEMORY;
	}
	memset(t->slot, 0, n * sizeof *t->slot);
	for (size_t i = 0; i < t->n; i++) {
		size_t at = t->list[i].hash & (n - 1);
		while (t->slot[at]) at = (at + 1) & (n - 1);
		t->slot[at] = (uint32_t)i + 1;
	}
	return OK;
}

/* A term's number in the segment, and its text: the segment's, or a copy. 0: out of memory. */
static int term_place(struct terms *t, struct post_term *q, uint64_t hash, const char *text, size_t n)
{
	q->hash = hash;
	q->seg = t->view ? seg_find(t->view->seg, q->hash, text, n) : 0;
	q->len = n;
	q->text = q->seg ? seg_text(t->view->seg, q->seg - 1, &n) : arena_strndup(&t->a, text, n);
	return q->text != NULL;
}

/* Equal words become one term, and the form that a word has in another language counts once: with a few thousand of them, equal hashes of 64 bits mean equal words. */
static int on_term(void *ctx, const struct query_word *word)
{
	struct terms *t = ctx;
	const uint64_t hash = seg_hash(word->term, word->n);
	struct post_term *q;
	size_t at;
	if (word->stop && !t->quoted && !t->with_stops) {
		t->stops = 1;
		if (!word->other) t->last = NONE;
		return OK;
	}
	if (t->view) seg_expect(t->view->seg, hash);
	if (2 * t->n >= t->slot_n && slots_make(t, 2 * t->slot_n)) return E_MEMORY;
	for (at = hash & (t->slot_n - 1); t->slot[at]; at = (at + 1) & (t->slot_n - 1)) {
		q = &t->list[t->slot[at] - 1];
		if (q->hash != hash) continue;
		if (word->other && (!q->other || q->place == word->at)) return OK;
		q->times++;
		if (!word->other) t->last = t->slot[at] - 1;
		return OK;
	}
	if (terms_grow(t)) return E_MEMORY;
	q = &t->list[t->n];
	*q = (struct post_term){ .times = 1, .stop = word->stop && !t->quoted, .share = 1, .place = word->at,
		.other = word->other };
	if (!term_place(t, q, hash, word->term, word->n)) return E_MEMORY;
	if (!word->other) t->last = t->n;
	t->slot[at] = (uint32_t)++t->n;
	return OK;
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

/* ---- weights ---- */

struct seen_sum { const struct visible *v; size_t at; uint64_t after, df, words; };

/* What of a block the reader sees. */
static void block_count(void *ctx, const struct post_term *q)
{
	struct seen_sum *sum = ctx;
	for (size_t i = 0; i < q->n; i++) {
		if (q->chunk[i] <= sum->after || !visible_has(sum->v, &sum->at, q->chunk[i])) continue;
		sum->df++;
		sum->words += q->words[i];
	}
}

/* What of a term in memory the reader sees. */
static void seg_count(struct seen_sum *sum, const struct wordseg *g, uint32_t term)
{
	const struct seg_term *t = &g->term[term];
	for (uint64_t r = t->run; r < t[1].run; r++) {
		uint32_t end = r + 1 < t[1].run ? g->run[r + 1].at : t->df;
		for (uint32_t i = g->run[r].at; i < end; i++) {
			uint32_t post = g->post[t->post + i];
			if (!visible_has(sum->v, &sum->at, seg_chunk(g, g->run[r].window * SEG_WINDOW + (post & 0xffff)))) continue;
			sum->df++;
			sum->words += g->code[post >> 16].len;
		}
	}
}

/* view: NULL: there is none. after: what it covers; store: 1: there are chunks that it does not. */
struct counting {
	struct cursor *c;
	const struct visible *seen;
	const struct rec_coll *coll;
	uint64_t words, held;
	const struct word_view *view; uint64_t after; int store;
};

/* Finds a term's postings, in the store remembered where keep is 1, and fills its df. */
static int term_count(struct counting *count, struct post_term *q, int keep, struct seen_sum *sum, struct err *e)
{
	int rc = OK;
	if (!count->seen && !count->store) {
		q->df = q->seg ? word_view_df(count->view, q->seg - 1) : 0;
		return OK;
	}
	*sum = (struct seen_sum){ .v = count->seen, .after = count->after };
	q->df = 0;
	if (q->seg && count->seen) seg_count(sum, count->view->seg, q->seg - 1);
	else if (q->seg) q->df = word_view_df(count->view, q->seg - 1);
	if (count->store) rc = post_term_find(count->c, count->coll->number, count->after, q, keep || count->seen, e);
	if (rc || !count->seen) return rc;
	if (count->store) rc = post_term_each(count->coll->number, q, block_count, sum, e);
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
		if (!count->seen) continue;
		count->words += sum.words;
		count->held += sum.df;
	}
	return rc;
}

/* ---- words that nobody has written ---- */

/* Of struct dictionary: chunks with the term that the reader sees. */
static int term_seen(void *ctx, const char *term, size_t n, uint64_t *out, struct err *e)
{
	struct counting *count = ctx;
	struct post_term q = { .text = term, .len = n, .hash = seg_hash(term, n) };
	struct seen_sum sum;
	int rc;
	if (count->view) q.seg = seg_find(count->view->seg, q.hash, term, n);
	rc = term_count(count, &q, 0, &sum, e);
	post_term_clear(&q);
	*out = q.df;
	return rc;
}

static int by_nearness(const struct post_term *x, const struct post_term *y)
{
	if (x->share != y->share) return x->share > y->share ? -1 : 1;
	return by_rarity(y, x);
}

static int terms_have(const struct terms *t, const struct post_term *q)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].hash == q->hash && strcmp(t->list[i].text, q->text) == 0) return 1;
	return 0;
}

/* Adds the words that may have been meant by term `at`: at most max that the reader sees, the nearest, of these the most
 * frequent. All of them weigh as the most frequent does: that one of them is rare says nothing, it was not asked for. */
static int term_expand(struct counting *count, struct terms *t, size_t at, size_t max, struct err *e)
{
	static const double shares[] = { 0.9, 0.7, 0.5 };
	struct similar found[SIMILAR_MAX];
	struct post_term tried[SIMILAR_MAX], *order[SIMILAR_MAX];
	struct seen_sum sum;
	const struct post_term q = t->list[at];
	const struct dictionary d = { .view = count->store ? NULL : count->view, .c = count->c, .coll = count->coll->number,
		.seen = count->seen ? term_seen : NULL, .ctx = count };
	uint64_t most = 0;
	size_t n = 0, kept = 0;
	int rc = q.unfinished ? similar_longer(&d, q.text, q.len, SIMILAR_FROM, &t->a, found, &n, e) : OK;
	if (!rc && n == 0) {
		const char *folded;
		rc = query_word_folded(t->query, t->len, q.place, &t->a, &folded, e);
		if (!rc) rc = similar_meant(&d, q.text, q.len, folded, strlen(folded), &t->a, found, &n, e);
	}
	for (size_t i = 0; !rc && i < n; i++) {
		struct post_term *p = &tried[kept];
		*p = (struct post_term){ .times = q.times, .share = shares[found[i].edits], .place = q.place };
		if (!term_place(t, p, seg_hash(found[i].text, found[i].len), found[i].text, found[i].len)) rc = err_set(e, E_MEMORY, "search: out of memory");
		if (rc || terms_have(t, p)) continue;
		rc = term_count(count, p, 1, &sum, e);
		p->words_seen = count->seen ? sum.words : 0;
		if (rc || !p->df) {
			post_term_clear(p);
			continue;
		}
		size_t to = kept++;
		for (; to && by_nearness(order[to - 1], p) > 0; to--) order[to] = order[to - 1];
		order[to] = p;
	}
	for (size_t i = 0; i < kept && i < max; i++)
		if (order[i]->df > most) most = order[i]->df;
	for (size_t i = 0; i < kept; i++) {
		if (rc || i >= max || (terms_grow(t) && (rc = err_set(e, E_MEMORY, "search: out of memory")))) {
			post_term_clear(order[i]);
			continue;
		}
		order[i]->weigh_df = most;
		t->list[t->n++] = *order[i];
		count->words += order[i]->words_seen;
		count->held += count->seen ? order[i]->df : 0;
	}
	return rc;
}

/* 1 when a passage holds the query's word in one of its forms. */
static int word_held(const struct terms *t, uint32_t place)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].place == place && t->list[i].df && t->list[i].share >= 1) return 1;
	return 0;
}

/* Words of the query that the reader's passages do not hold are taken for mistyped, the last one for unfinished; of many the
 * first in byte order. */
static int terms_expand(struct counting *count, struct terms *t, size_t max, struct err *e)
{
	size_t missing[EXPANDED_MAX], n = 0;
	int rc = OK;
	for (size_t i = 0; max && i < t->n; i++) {
		size_t at = n;
		if (t->list[i].df || t->list[i].stop || t->list[i].other || word_held(t, t->list[i].place)) continue;
		while (at && strcmp(t->list[missing[at - 1]].text, t->list[i].text) > 0) at--;
		if (at == EXPANDED_MAX) continue;
		n += n < EXPANDED_MAX;
		memmove(missing + at + 1, missing + at, (n - 1 - at) * sizeof *missing);
		missing[at] = i;
	}
	for (size_t i = 0; !rc && i < n; i++) rc = term_expand(count, t, missing[i], max, e);
	return rc;
}

/* Leaves the terms that occur, the rarest of more than max. */
static void terms_cut(struct terms *t, size_t max)
{
	size_t kept = 0;
	for (size_t i = 0; i < t->n; i++) {
		if (t->list[i].df) {
			if (kept < i) t->list[kept] = t->list[i];
			kept++;
		} else post_term_clear(&t->list[i]);
	}
	t->n = kept;
	if (kept <= max) return;
	qsort(t->list, kept, sizeof *t->list, by_rarity);
	for (size_t i = max; i < kept; i++) post_term_clear(&t->list[i]);
	t->n = max;
}

/* Weighs the terms, and leaves the rarest of those that occur, with their blocks. */
/* The forms that a word has in several languages weigh as one word does that all of their chunks hold: that few chunks are in
 * a language makes no word rare. */
static void forms_weigh(struct terms *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct post_term *q = &t->list[i];
		uint64_t df = 0;
		if (!q->other) continue;
		for (size_t j = 0; j < t->n; j++)
			if (t->list[j].place == q->place && t->list[j].share >= 1) df += t->list[j].df;
		for (size_t j = 0; j < t->n; j++)
			if (t->list[j].place == q->place && t->list[j].share >= 1) t->list[j].weigh_df = df;
	}
}

static int terms_weigh(struct counting *count, const struct index *x, struct terms *t, struct err *e)
{
	const struct visible *seen = count->seen;
	size_t max = x->query_terms_max;
	int keep = t->n <= max, rc = terms_count(count, t, keep, e);
	if (!rc && keep && !t->quoted) rc = terms_expand(count, t, x->similar_max, e);
	if (rc) return rc;
	t->chunks = (double)(seen ? seen->chunks : count->coll->chunks);
	t->average = count->words ? (double)count->words / (double)count->held : 1;
	terms_cut(t, max);
	forms_weigh(t);
	for (size_t i = 0; i < t->n; i++) {
		struct post_term *q = &t->list[i];
		double df = (double)(q->weigh_df ? q->weigh_df : q->df);
		if (df > t->chunks) df = t->chunks;
		q->weight = q->share * q->times * log(1 + (t->chunks - df + 0.5) / (df + 0.5));
	}
	for (size_t i = 0; !rc && !keep && count->store && i < t->n; i++) {
		uint64_t df = t->list[i].df;
		rc = post_term_find(count->c, count->coll->number, count->after, &t->list[i], 1, e);
		t->list[i].df = df;
	}
	return rc;
}

/* Remembers the words that are looked for in place of others, for who shows what was found. */
static int meant_keep(struct snapshot *s, const struct terms *t, struct err *e)
{
	size_t n = 0;
	s->meant_n = 0;
	for (size_t i = 0; i < t->n; i++) n += t->list[i].share < 1;
	if (!n) return OK;
	s->meant = arena_alloc(&s->a, n * sizeof *s->meant);
	for (size_t i = 0; s->meant && i < t->n; i++) {
		if (t->list[i].share >= 1) continue;
		struct word_meant *m = &s->meant[s->meant_n++];
		*m = (struct word_meant){ arena_strdup(&s->a, t->list[i].text), t->list[i].place };
		if (!m->term) s->meant = NULL;
	}
	return s->meant ? OK : (s->meant_n = 0, err_set(e, E_MEMORY, "search: out of memory"));
}

void snapshot_words_meant(const struct snapshot *s, const struct word_meant **out, size_t *n)
{
	*out = s->meant;
	*n = s->meant_n;
}

/* ---- the search ---- */

static int by_weight(const void *a, const void *b)
{
	const struct post_term *x = *(const struct post_term *const *)a, *y = *(const struct post_term *const *)b;
	if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
	return strcmp(x->text, y->text);
}

/* The same order for a few: each goes where its rank says. */
__attribute__((target("avx2"))) static void few_order(struct post_term **order, size_t n)
{
	struct post_term *by[FEW];
	_Alignas(32) double weight[FEW];
	for (size_t i = 0; i < FEW; i++) weight[i] = i < n ? order[i]->weight : -1;
	memcpy(by, order, n * sizeof *by);
	for (size_t i = 0; i < n; i++) {
		const __m256d x = _mm256_set1_pd(weight[i]);
		unsigned rank = 0;
		uint64_t same = 0;
		for (size_t j = 0; j < n; j += 4) {
			__m256d y = _mm256_load_pd(weight + j);
			rank += (unsigned)__builtin_popcount((unsigned)_mm256_movemask_pd(_mm256_cmp_pd(y, x, _CMP_GT_OQ)));
			same |= (uint64_t)(unsigned)_mm256_movemask_pd(_mm256_cmp_pd(y, x, _CMP_EQ_OQ)) << j;
		}
		for (same &= ~(1ull << i); same; same &= same - 1) rank += strcmp(by[__builtin_ctzll(same)]->text, by[i]->text) < 0;
		order[rank] = by[i];
	}
}

/* Those of the terms that the segment has, heaviest first, as probes. */
static int probes_make(struct scratch *s, const struct wordseg *g, size_t *out)
{
	struct terms *t = &s->t;
	size_t n = 0;
	if (t->n > s->probe_cap) {
		mem_free(s->probe);
		mem_free(s->order);
		s->probe = mem_alloc(t->cap * sizeof *s->probe);
		s->order = mem_alloc(t->cap * sizeof *s->order);
		s->probe_cap = s->probe && s->order ? t->cap : 0;
		if (!s->probe_cap) return E_MEMORY;
	}
	if (seg_walk_room(s->walk, t->n)) return E_MEMORY;
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].seg) s->order[n++] = &t->list[i];
	if (n > FEW) qsort(s->order, n, sizeof *s->order, by_weight);
	else few_order(s->order, n);
	for (size_t i = 0; i < n; i++) seg_probe_of(g, s->order[i]->seg - 1, s->order[i]->weight, &s->probe[i]);
	*out = n;
	return OK;
}

/* Rows become chunks. For who sees all, each that is found is asked for once: documents can be damaged. *all: what was found is
 * there. Others see by themselves only what is there. */
static int rows_look(struct snapshot *s, const struct reader *r, const struct wordseg *g, struct topk *best, int *all, struct err *e)
{
	const int sees_all = reader_sees_all(r);
	struct sight cache;
	int rc = OK, asked = 0;
	*all = 1;
	for (size_t i = 0; !rc && *all && i < best->n; i++) {
		uint32_t row = (uint32_t)best->hit[i].chunk_id;
		best->hit[i].chunk_id = seg_chunk(g, row);
		if (!sees_all || atomic_load_explicit(&g->looked[row / 64], memory_order_relaxed) >> row % 64 & 1) continue;
		if (!asked++) memset(&cache, 0, sizeof cache);
		rc = snapshot_sees_chunk(s, r, g->coll, best->hit[i].chunk_id, &cache, all, e);
		if (!rc && *all) atomic_fetch_or_explicit(&g->looked[row / 64], 1ull << row % 64, memory_order_relaxed);
	}
	return rc;
}

static int seg_search(struct snapshot *s, const struct reader *r, struct word_view *v, struct scratch *q, const struct visible *seen,
	struct topk *best, int *all, struct err *e)
{
	struct seg_worths *worths = word_view_worths(s->x, v, q->t.average, !seen);
	size_t n;
	*all = 1;
	if (!worths || probes_make(q, v->seg, &n)) {
		seg_worths_put(worths);
		return err_set(e, E_MEMORY, "search: out of memory");
	}
	seg_walk_best(q->walk, v, worths, q->probe, n, seen, best);
	seg_worths_put(worths);
	return rows_look(s, r, v->seg, best, all, e);
}

/* *again: what was found in memory is not all there: the store is damaged, and must be searched itself. view: NULL then. */
static int search_in(struct snapshot *s, const struct reader *r, const struct rec_coll *coll, struct word_view *view, struct scratch *q,
	const struct visible *seen, struct topk *best, int *again, struct err *e)
{
	struct walk_options o = { .k1 = s->x->bm25_k1, .b = s->x->bm25_b, .seen = seen, .after = view ? view->seg->last_chunk : 0 };
	struct cursor c = { 0 };
	struct counting count = { &c, seen, coll, seen ? 0 : coll->words, seen ? 0 : coll->chunks, view, o.after,
		!view || coll->chunks != view->seg->row_n - view->dead_n };
	int all = 1, rc = count.store ? cursor_open(&c, s->t, T_POST, e) : OK;
	if (!rc) rc = terms_weigh(&count, s->x, &q->t, e);
	if (!rc) rc = meant_keep(s, &q->t, e);
	cursor_close(&c);
	o.average = q->t.average;
	if (!rc && q->t.n && view) rc = seg_search(s, r, view, q, seen, best, &all, e);
	if (!rc && q->t.n && all && count.store) rc = walk_best(s, r, coll->number, q->t.list, q->t.n, &o, best, e);
	*again = view && (!all || rc == E_CORRUPT);
	return *again ? OK : rc;
}

/* Function words count where the query has no others. */
static int query_terms(struct scratch *q, const char *query, size_t len, uint32_t languages, struct err *e)
{
	struct terms *t = &q->t;
	int rc = OK;
	for (t->with_stops = t->stops = 0; !rc; t->with_stops = 1) {
		t->last = NONE;
		rc = slots_make(t, SLOTS);
		if (!rc) rc = query_words_visit(query, len, languages, on_term, t, e);
		if (t->n || !t->stops || t->with_stops) break;
	}
	if (rc == E_MEMORY) return err_set(e, rc, "search: out of memory");
	if (!rc && t->last != NONE) t->list[t->last].unfinished = ends_open(query, len);
	return rc;
}

/* The languages of the collection's chunks, from memory where all of them are there. */
static int languages_of(struct snapshot *s, const struct rec_coll *coll, const struct word_view *view, uint32_t *out, struct err *e)
{
	if (!view || coll->chunks != view->seg->row_n - view->dead_n) return languages_find(s->t, coll->number, out, e);
	*out = 0;
	for (uint32_t left = view->seg->languages; left; left &= left - 1) {
		const int l = __builtin_ctz(left);
		char mark[8];
		size_t n = language_term((enum words_language)l, mark);
		uint32_t term = seg_find(view->seg, seg_hash(mark, n), mark, n);
		if (term && word_view_df(view, term - 1)) *out |= 1u << l;
	}
	return OK;
}

/* Once with the postings in memory; again without, where that is needed. */
static int search_run(struct snapshot *s, const struct reader *r, const struct rec_coll *coll, struct scratch *q, const char *query, size_t len,
	struct topk *best, struct err *e)
{
	struct word_view *view = word_view_get(s->x, coll->number, s->state.seq);
	struct visible *seen = NULL;
	uint32_t languages;
	int again = 1, rc = reader_sees_all(r) ? OK : visible_get(s, r, coll->number, &seen, e);
	if (!rc) rc = languages_of(s, coll, view, &languages, e);
	while (!rc && again) {
		q->t.view = view;
		rc = query_terms(q, query, len, languages, e);
		if (!rc) rc = search_in(s, r, coll, view, q, seen, best, &again, e);
		if (rc || !again) break;
		word_view_put(view);
		view = NULL;
		best->n = 0;
		for (size_t i = 0; i < q->t.n; i++) post_term_clear(&q->t.list[i]);
		q->t.n = 0;
	}
	word_view_put(view);
	visible_put(seen);
	return rc;
}

int snapshot_search_words(struct snapshot *s, const struct reader *r, const char *query, size_t len, size_t k,
	struct word_hit *out, size_t *got, struct err *e)
{
	struct scratch *q;
	struct topk best;
	struct rec_coll coll;
	int rc;
	*got = 0;
	if (!r || !r->collection) return err_set(e, E_USAGE, "search: no collection is named");
	rc = snapshot_coll(s, r->collection, &coll, e);
	if (rc) return rc == E_NOT_FOUND ? OK : rc;
	if (k > coll.chunks) k = coll.chunks;
	if (k == 0) return OK;
	q = scratch_get();
	if (q && k > q->hit_cap) {
		mem_free(q->hit);
		q->hit = mem_alloc(k * sizeof *q->hit);
		q->hit_cap = q->hit ? k : 0;
	}
	if (!q || !q->hit) return err_set(e, E_MEMORY, "search: out of memory");
	q->t.quoted = r->phrases != NULL;
	q->t.query = query, q->t.len = len;
	best = (struct topk){ q->hit, 0, k };
	rc = search_run(s, r, &coll, q, query, len, &best, e);
	if (!rc) {
		topk_sort(&best);
		for (size_t i = 0; i < best.n; i++) out[i] = (struct word_hit){ best.hit[i].chunk_id, best.hit[i].score };
		*got = best.n;
	}
	scratch_end(q);
	return rc;
}
