/* maxscore.c: owns the walk over postings that finds the k best chunks (maxscore.h).
 *
 * Method: MaxScore (Turtle & Flood 1995) in windows of chunk ids with bounds of blocks (Ding & Suel 2011), as Lucene's
 * MaxScoreBulkScorer has it. Terms stand heaviest first. Once k chunks are known, the score of the worst of them is the
 * bar. In each window a term's bound is the best of its blocks there; the light terms at the end whose bounds together
 * don't pass the bar can't bring in a chunk by themselves. The heavy ones are added up chunk by chunk; only for chunks
 * that may still pass the bar with the bounds of the rest the light ones are looked up, each time fewer, and a block
 * that none of them falls into is never read. A window without heavy terms is passed over, and where one heavy term is
 * left, its own postings are the candidates. Every sum is made in the order of the terms, heavy or light, so what is
 * found is what scoring everything finds, bit for bit. Bounds are rounded up a little, since sums of floats and of
 * bounds round otherwise.
 * What may be seen is decided before a chunk becomes a candidate (visible.c). For a reader who sees all, what enters is looked at
 * once more where documents are (snapshot_sees_chunk), after the walk. When one then is not to be seen, which takes a damaged
 * store, all is walked again with that look inside.
 * Failure: a block that is damaged is left out with a warning (index_check names it). */
#include "index/maxscore.h"
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"

enum { WINDOW = 16384, STRIP = 256, LANES = SCORES_LANES, DENSE = 8 }; /* a look-up costs as much as DENSE additions */

struct walk {
	struct snapshot *s;
	const struct reader *r;
	uint32_t coll;
	struct post_term *t; size_t n;
	float a, b;                   /* a + b * len is what a count is held against */
	const struct visible *seen; size_t seen_at;
	struct topk *best;
	uint64_t after;
	struct sight *cache;
	int strict;                   /* 1: look at documents before a chunk enters */
	double slack;                 /* bounds times this are bounds of rounded sums */
	uint64_t base; size_t extent; /* the window, and how much of it chunks may have; a multiple of STRIP */
	float sum[WINDOW];            /* of all chunks of the window; behind its extent nothing that counts */
	uint16_t list[WINDOW + LANES]; size_t list_n; /* candidates, ascending */
};

void post_term_clear(struct post_term *q)
{
	if (!q->block_cap && !q->cap) return;
	mem_free(q->blocks);
	mem_free(q->chunk);
	mem_free(q->count);
	mem_free(q->words);
	mem_free(q->score);
	q->blocks = NULL;
	q->chunk = NULL, q->count = q->words = NULL, q->score = NULL;
	q->block_n = q->block_cap = q->cap = q->n = 0;
}

/* ---- finding ---- */

static int block_keep(struct post_term *q, struct slice v, uint64_t last, const struct block_look *look)
{
	if (q->block_n == q->block_cap) {
		size_t cap = q->block_cap ? 4 * q->block_cap : 4;
		struct post_block *more = mem_realloc(q->blocks, cap * sizeof *more);
		if (!more) return E_MEMORY;
		q->blocks = more;
		q->block_cap = cap;
	}
	q->blocks[q->block_n++] = (struct post_block){ v, look->first, last, 0 };
	return OK;
}

/* How many postings of a block are of chunks above `after`. */
static size_t block_above(uint32_t coll, const struct post_term *q, struct slice v, uint64_t last, uint64_t after)
{
	uint64_t chunk[BLOCK_MAX];
	uint32_t count[BLOCK_MAX], words[BLOCK_MAX];
	size_t n = rec_block_n(v), above = 0;
	struct key k;
	key_block(&k, coll, q->text, q->len, last);
	if (n > BLOCK_MAX || rec_block_read(&k, v, chunk, count, words, NULL)) return n;
	for (size_t i = 0; i < n; i++) above += chunk[i] > after;
	return above;
}

int post_term_find(struct cursor *c, uint32_t coll, uint64_t after, struct post_term *q, int keep, struct err *e)
{
	struct block_look look;
	struct slice key, value;
	struct key k;
	int rc;
	key_block(&k, coll, q->text, q->len, after ? after + 1 : 0);
	for (rc = cursor_seek(c, &k, &key, &value, e); !rc; rc = cursor_next(c, &key, &value, e)) {
		size_t n = rec_block_n(value);
		int good = 1;
		if (key.n != k.n || memcmp(key.p, k.b, k.n - 8) != 0) return OK;
		if (keep || after) good = rec_block_look(value, &look);
		if (good && after && look.first <= after) n = block_above(coll, q, value, key_get_u64(key.p + key.n - 8), after);
		q->df += n;
		if (!keep || n == 0) continue;
		if (!good) log_put(LOG_WARN, "index", "postings are left out: record 'W' is damaged");
		else if (block_keep(q, value, key_get_u64(key.p + key.n - 8), &look)) return err_set(e, E_MEMORY, "search: out of memory");
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- reading ---- */

static int lists_grow(struct post_term *q, size_t n)
{
	size_t cap = (n + LANES - 1) / LANES * LANES;
	if (n <= q->cap) return OK;
	mem_free(q->chunk);
	mem_free(q->count);
	mem_free(q->words);
	mem_free(q->score);
	q->chunk = mem_alloc(cap * sizeof *q->chunk);
	q->count = mem_calloc(cap, sizeof *q->count);
	q->words = mem_calloc(cap, sizeof *q->words);
	q->score = mem_alloc(cap * sizeof *q->score);
	q->cap = cap;
	return q->chunk && q->count && q->words && q->score ? OK : E_MEMORY;
}

/* Reads the block at hand; n is 0 when it is damaged. Only memory fails. */
static int block_read(struct post_term *q, uint32_t coll, struct err *e)
{
	const struct post_block *b = &q->blocks[q->cur];
	size_t n = rec_block_n(b->v);
	struct err why;
	struct key k;
	q->at = q->n = 0;
	q->open = 1;
	if (lists_grow(q, n)) return err_set(e, E_MEMORY, "search: out of memory");
	key_block(&k, coll, q->text, q->len, b->last);
	if (rec_block_read(&k, b->v, q->chunk, q->count, q->words, &why)) {
		log_put(LOG_WARN, "index", "postings are left out: %s", why.msg);
		return OK;
	}
	if (q->chunk[n - 1] > b->last || (q->cur && q->chunk[0] <= b[-1].last)) {
		log_put(LOG_WARN, "index", "postings are left out: a block has chunks of another");
		return OK;
	}
	q->n = n;
	return OK;
}

int post_term_each(uint32_t coll, struct post_term *q, void (*on_block)(void *ctx, const struct post_term *q), void *ctx, struct err *e)
{
	for (q->cur = 0; q->cur < q->block_n; q->cur++) {
		int rc = block_read(q, coll, e);
		if (rc) return rc;
		on_block(ctx, q);
	}
	q->cur = 0;
	q->open = 0;
	return OK;
}

__attribute__((target("avx2"))) static void block_score(struct post_term *q, float a, float b)
{
	const __m256 va = _mm256_set1_ps(a), vb = _mm256_set1_ps(b), weight = _mm256_set1_ps((float)q->weight);
	for (size_t i = 0; i < q->n; i += LANES) { /* the lists have room for whole vectors; what is behind their end is not used */
		__m256 f = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(q->count + i)));
		__m256 len = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(q->words + i)));
		__m256 d = _mm256_add_ps(f, _mm256_add_ps(va, _mm256_mul_ps(vb, len)));
		_mm256_storeu_ps(q->score + i, _mm256_mul_ps(weight, _mm256_div_ps(f, d)));
	}
}

static int block_open(struct walk *w, struct post_term *q, struct err *e)
{
	int rc = block_read(q, w->coll, e);
	if (!rc) block_score(q, w->a, w->b);
	return rc;
}

/* The most that a posting of the block may give. */
static float block_bound(const struct walk *w, const struct post_term *q, const struct post_block *b)
{
	struct block_look look;
	float best = 0;
	if (!rec_block_look(b->v, &look) || look.pair_n == 0) return (float)q->weight;
	for (size_t i = 0; i < look.pair_n; i++) {
		float f = (float)look.pair[i].count, s = (float)q->weight * (f / (f + (w->a + w->b * (float)look.pair[i].len)));
		if (s > best) best = s;
	}
	return best;
}

/* ---- one window ---- */

double scores_slack(size_t n)
{
	return 1 + 1e-6 * (8 + (double)n);
}

float scores_least(const struct topk *best, double slack, double more)
{
	double bar = best->n < best->k ? 0 : (double)best->hit[0].score / slack - more;
	return bar > FLT_MIN ? (float)(bar * (1 - 1e-7)) : FLT_MIN;
}

static float least(const struct walk *w, double more)
{
	return scores_least(w->best, w->slack, more);
}

/* Gives up what lies before `from`, without reading. */
static void term_skip(struct post_term *q, uint64_t from)
{
	while (q->cur < q->block_n && q->blocks[q->cur].last < from) {
		q->cur++;
		q->open = 0;
	}
	if (q->open) while (q->at < q->n && q->chunk[q->at] < from) q->at++;
}

/* *from: the first chunk at or behind the window's base from which on the term may have something; UINT64_MAX: none. */
static int term_from(struct walk *w, struct post_term *q, uint64_t *from, struct err *e)
{
	size_t next;
	int rc = OK;
	*from = UINT64_MAX;
	term_skip(q, w->base);
	next = q->cur + 1;
	if (q->cur >= q->block_n) return OK;
	if (!q->open && next == q->block_n && q->blocks[q->cur].first < w->base) { /* a tail's key does not say where it ends */
		rc = block_open(w, q, e);
		term_skip(q, w->base);
	}
	if (!q->open) *from = q->blocks[q->cur].first;
	else if (q->at < q->n) *from = q->chunk[q->at];
	else if (next < q->block_n) *from = q->blocks[next].first;
	return rc;
}

/* How many of the block's postings from `at` on lie in the window. */
static size_t block_end(const struct walk *w, const struct post_term *q)
{
	size_t lo = q->at, hi = q->n;
	if (hi > lo && q->chunk[hi - 1] - w->base < WINDOW) return hi;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (q->chunk[mid] - w->base < WINDOW) lo = mid + 1;
		else hi = mid;
	}
	return lo;
}

/* Adds what the term has in the window to the sums of all chunks. */
static int term_add(struct walk *w, struct post_term *q, struct err *e)
{
	while (q->cur < q->block_n) {
		size_t end;
		if (!q->open) {
			if (q->blocks[q->cur].first >= w->base && q->blocks[q->cur].first - w->base >= WINDOW) return OK;
			int rc = block_open(w, q, e);
			if (rc) return rc;
			while (q->at < q->n && q->chunk[q->at] < w->base) q->at++;
		}
		end = block_end(w, q);
		for (size_t i = q->at; i < end; i++) w->sum[q->chunk[i] - w->base] += q->score[i];
		q->at = end;
		if (end < q->n) return OK;
		q->cur++;
		q->open = 0;
	}
	return OK;
}

/* Adds what the term has for the candidates; at most `after` comes behind it. One that a block can't help enough is given
 * up without reading the block. */
static int term_look_up(struct walk *w, struct post_term *q, double after, struct err *e)
{
	for (size_t i = 0; i < w->list_n;) {
		const struct post_block *b;
		uint64_t chunk = w->base + w->list[i];
		while (q->cur < q->block_n && q->blocks[q->cur].last < chunk) {
			q->cur++;
			q->open = 0;
		}
		if (q->cur == q->block_n) return OK;
		b = &q->blocks[q->cur];
		if (!q->open && b->first > chunk) {
			i++;
			continue;
		}
		if (!q->open && w->sum[w->list[i]] < least(w, b->bound + after)) {
			w->sum[w->list[i++]] = -INFINITY;
			continue;
		}
		if (!q->open) {
			int rc = block_open(w, q, e);
			if (rc) return rc;
		}
		size_t at = q->at;
		for (; i < w->list_n && (chunk = w->base + w->list[i]) <= b->last; i++) {
			while (at < q->n && q->chunk[at] < chunk) at++;
			if (at < q->n && q->chunk[at] == chunk) w->sum[w->list[i]] += q->score[at];
		}
		q->at = at;
	}
	return OK;
}

__attribute__((target("avx2"))) size_t scores_over(const float *sum, size_t from, size_t to, float least_sum, uint16_t *list)
{
	const __m256 bar = _mm256_set1_ps(least_sum);
	size_t n = 0;
	for (size_t i = from; i < to; i += 4 * LANES) {
		const float *v = sum + i;
		__m256 a = _mm256_max_ps(_mm256_loadu_ps(v), _mm256_loadu_ps(v + LANES));
		__m256 b = _mm256_max_ps(_mm256_loadu_ps(v + 2 * LANES), _mm256_loadu_ps(v + 3 * LANES));
		if (!_mm256_movemask_ps(_mm256_cmp_ps(_mm256_max_ps(a, b), bar, _CMP_GE_OQ))) continue;
		for (size_t j = 0; j < 4 * LANES; j += LANES) {
			unsigned bits = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(v + j), bar, _CMP_GE_OQ));
			for (; bits; bits &= bits - 1) list[n++] = (uint16_t)(i + j + (size_t)__builtin_ctz(bits));
		}
	}
	return n;
}

size_t scores_thin(const float *sum, uint16_t *list, size_t n, float bar)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		uint16_t at = list[i];
		list[kept] = at;
		kept += sum[at] >= bar;
	}
	return kept;
}

/* What of the places [from, to) may enter and be seen becomes the list; both are multiples of STRIP. */
static void candidates_take(struct walk *w, size_t from, size_t to, double more)
{
	size_t n = scores_over(w->sum, from, to, least(w, more), w->list), kept = 0;
	for (size_t i = 0; i < n && w->seen; i++)
		if (visible_has(w->seen, &w->seen_at, w->base + w->list[i])) w->list[kept++] = w->list[i];
	w->list_n = w->seen ? kept : n;
}

static int candidates_enter(struct walk *w, struct err *e)
{
	int rc = OK, yes = 1;
	for (size_t i = 0; i < w->list_n; i++) {
		uint64_t chunk = w->base + w->list[i];
		float score = w->sum[w->list[i]];
		if (rc || !topk_wants(w->best, score, chunk)) continue;
		if (w->strict) rc = snapshot_sees_chunk(w->s, w->r, w->coll, chunk, w->cache, &yes, e);
		if (!rc && yes) topk_put(w->best, score, chunk);
	}
	return rc;
}

/* How many of the first terms are heavy: the others' bounds together don't pass the bar. */
static size_t heavy_terms(const struct walk *w, int here)
{
	double sum = 0;
	size_t n = w->n;
	if (w->best->n < w->best->k) return n;
	for (; n; n--) {
		sum += here ? w->t[n - 1].here : w->t[n - 1].rest;
		if (sum * w->slack >= w->best->hit[0].score) break;
	}
	return n;
}

static void bounds_here(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++) {
		struct post_term *q = &w->t[i];
		q->here = 0;
		q->due = 0;
		term_skip(q, w->base);
		for (size_t b = q->cur; b < q->block_n; b++) {
			const struct post_block *block = &q->blocks[b];
			if (block->first > w->base && block->first - w->base >= WINDOW) break;
			if (block->bound > q->here) q->here = block->bound;
			q->due += BLOCK_POSTINGS;
		}
	}
}

static int window_run(struct walk *w, struct err *e)
{
	double more = 0;
	size_t heavy, added = 0;
	int rc = OK;
	bounds_here(w);
	heavy = heavy_terms(w, 1);
	if (heavy == 0) return OK;
	for (size_t i = 0; i < heavy; i++) added += w->t[i].due;
	/* One with no more postings than the heavy ones together is sooner added up than looked up for all their chunks. */
	for (; heavy < w->n && w->t[heavy].due <= added; heavy++) added += w->t[heavy].due;
	w->extent = WINDOW;
	if (w->s->state.next_chunk > w->base && w->s->state.next_chunk - w->base < WINDOW)
		w->extent = ((size_t)(w->s->state.next_chunk - w->base) + STRIP - 1) / STRIP * STRIP;
	memset(w->sum, 0, w->extent * sizeof *w->sum);
	for (size_t i = 0; !rc && i < heavy; i++) rc = term_add(w, &w->t[i], e);
	for (size_t i = heavy; i < w->n; i++) more += w->t[i].here;
	if (heavy == w->n) { /* sums are whole: each strip raises the bar for the next */
		for (size_t at = 0; !rc && at < w->extent; at += STRIP) {
			candidates_take(w, at, at + STRIP, 0);
			rc = candidates_enter(w, e);
		}
		return rc;
	}
	candidates_take(w, 0, w->extent, more);
	for (size_t i = heavy; !rc && i < w->n && w->list_n; i++) {
		if (w->t[i].here <= 0) continue;
		more = 0;
		for (size_t j = i + 1; j < w->n; j++) more += w->t[j].here;
		rc = w->t[i].due < w->list_n * DENSE ? term_add(w, &w->t[i], e) : term_look_up(w, &w->t[i], more, e);
		w->list_n = scores_thin(w->sum, w->list, w->list_n, least(w, more));
	}
	return rc ? rc : candidates_enter(w, e);
}

/* ---- all of them ---- */

static int by_weight(const void *a, const void *b)
{
	const struct post_term *x = a, *y = b;
	if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
	return strcmp(x->text, y->text);
}

static void bounds_begin(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++) {
		struct post_term *q = &w->t[i];
		q->cur = q->at = q->n = 0;
		q->open = 0;
		q->rest = 0;
		for (size_t b = 0; b < q->block_n; b++) {
			q->blocks[b].bound = block_bound(w, q, &q->blocks[b]);
			if (q->blocks[b].bound > q->rest) q->rest = q->blocks[b].bound;
		}
	}
}

static int walk_run(struct walk *w, struct err *e)
{
	int rc = OK;
	bounds_begin(w);
	w->seen_at = 0;
	w->base = w->after + (w->after > 0);
	while (!rc) {
		size_t heavy = heavy_terms(w, 0);
		uint64_t base = UINT64_MAX;
		for (size_t i = 0; !rc && i < heavy; i++) {
			uint64_t from;
			rc = term_from(w, &w->t[i], &from, e);
			if (from < base) base = from;
		}
		if (rc || base == UINT64_MAX) break;
		if (base > w->base) w->base = base;
		rc = window_run(w, e);
		if (w->base > UINT64_MAX - WINDOW) break;
		w->base += WINDOW;
	}
	return rc;
}

/* *all: every chunk that entered here exists and may be seen. */
static int entered_look(struct walk *w, int *all, struct err *e)
{
	int rc = OK;
	*all = 1;
	for (size_t i = 0; !rc && *all && !w->seen && i < w->best->n; i++)
		if (w->best->hit[i].chunk_id > w->after) rc = snapshot_sees_chunk(w->s, w->r, w->coll, w->best->hit[i].chunk_id, w->cache, all, e);
	return rc;
}

int walk_best(struct snapshot *s, const struct reader *r, uint32_t coll, struct post_term *terms, size_t n,
	const struct walk_options *o, struct topk *best, struct err *e)
{
	struct walk *w = mem_alloc(sizeof *w);
	struct sight *cache = mem_calloc(1, sizeof *cache);
	int all, rc = w && cache ? OK : err_set(e, E_MEMORY, "search: out of memory");
	if (rc) goto out;
	memset(w, 0, offsetof(struct walk, sum)); /* sums and list are filled before they are read */
	qsort(terms, n, sizeof *terms, by_weight);
	w->s = s, w->r = r, w->coll = coll, w->t = terms, w->n = n, w->seen = o->seen, w->best = best, w->cache = cache;
	w->a = (float)(o->k1 * (1 - o->b)), w->b = (float)(o->k1 * o->b / o->average);
	w->slack = scores_slack(n);
	w->after = o->after;
	rc = walk_run(w, e);
	if (!rc) rc = entered_look(w, &all, e);
	if (!rc && !all && w->after) rc = E_CORRUPT;
	else if (!rc && !all) {
		w->strict = 1;
		best->n = 0;
		rc = walk_run(w, e);
	}
out:
	mem_free(cache);
	mem_free(w);
	return rc;
}
