/* vecindex.c: owns search by vector: graph, tail and store joined.
 *
 * Method: three parts hold a collection: its graph, what came later in its tail, and, where memory has not all (at
 * start, or when it ran out), the store itself. A large collection is searched by a walk over the graph and exactly in
 * the rest; a small one, and one of which the reader sees little, exactly. The walk looks at `ef` rows, more where only
 * a share of them is the reader's, and what is not is left out before anything is counted; when fewer than k are left
 * it is done again with twice as many, until comparing all of the reader's rows is cheaper. So k hits come whenever the
 * reader may see k chunks.
 * Exactly means: by int8 codes first, with their proven bound (code8.h). The k highest lower ends of living rows make a
 * floor; rows whose upper end does not reach it can't be among the k best; the others are compared with the query itself
 * instead of its code, which halves the range, and of those left the true scores are taken,
 * highest upper end first, until that is below the k-th true score. The result is that of comparing all as they are stored.
 * With a device that scans codes (index.h's scanner) the same is asked of it first: it tells the rows of the largest products
 * of codes, more than k of them; where no other row's upper end reaches the floor, these are the candidates.
 * Where memory is short there are lists of 4-bit codes instead of a graph (ivf.h): their best guesses are compared.
 * Scores are our own dot product over the stored vector, so a hit's score is the same whichever way it was found; and a
 * row counts only when its vector lives in the snapshot, which is where deleted chunks (tombstones) end.
 * Threads: any number of searches beside one swap. Failure: E_MEMORY, the store's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "index/flat.h"
#include "index/inside.h"

enum { BATCH = 256, CANDIDATES = 1024 };
enum { OFF_KNOWN = 20 };         /* so many guesses tell how far they are off */
enum { ALL_PAYS = 4 };           /* so many true comparisons cost no more than to choose one of them */

struct search {
	struct snapshot *s;
	const struct reader *r;
	const struct vec_part *part;     /* NULL: nothing is in memory */
	uint32_t coll;
	const float *query;
	size_t k;
	struct sight cache;
	struct visible *seen;            /* owned; NULL: everything */
	struct code8_query code;
	int each;                        /* every hit is asked for as it comes, not the k at the end */
};

/* The stored vector of a chunk; 0: it does not live in this snapshot. */
static int vector_of(const struct search *q, uint64_t chunk, struct rec_vec *v)
{
	struct slice value;
	struct key k;
	key_vec(&k, q->coll, chunk);
	return !store_get(q->s->t, gen_vec(&q->s->state.serving), &k, &value, NULL) &&
		!rec_vec_get(v, &k, value, q->s->state.serving.dim, 0, NULL);
}

/* Puts a chunk into *t by its true score when it lives, and, with q->each, the reader may see it. *told (may be NULL):
 * the score; NaN when it does not live. */
static int hit_put(struct search *q, uint64_t chunk, struct topk *t, float *told, struct err *e)
{
	struct rec_vec v;
	float score;
	int yes = 0, rc;
	if (told) *told = NAN;
	if (!vector_of(q, chunk, &v)) return OK;
	score = flat_score(q->query, &v);
	if (told) *told = score;
	if (!topk_wants(t, score, chunk)) return OK;
	rc = q->each ? snapshot_sees_chunk(q->s, q->r, q->coll, chunk, &q->cache, &yes, e) : OK;
	if (!rc && (yes || !q->each)) topk_put(t, score, chunk);
	return rc;
}

/* ---- exactly ---- */

struct candidate { float top; uint64_t chunk; const uint8_t *row; };
struct sieve {
	struct search *q;
	struct topk floor;               /* lower ends of k living rows */
	int look;                        /* rows may be dead: the store is asked */
	struct candidate *at; size_t n, cap;
};

static int below(const struct topk *t, float top)
{
	return t->n == t->k && top < t->hit[0].score;
}

static int candidate_add(struct sieve *s, float top, uint64_t chunk, const uint8_t *row, struct err *e)
{
	if (s->n == s->cap) {
		size_t kept = 0, cap = s->cap ? s->cap : CANDIDATES;
		struct candidate *more;
		for (size_t i = 0; i < s->n; i++)
			if (!below(&s->floor, s->at[i].top)) s->at[kept++] = s->at[i];
		s->n = kept;
		if (kept > cap / 2 || !s->cap) {
			more = mem_realloc(s->at, 2 * cap * sizeof *more);
			if (!more) return err_set(e, E_MEMORY, "search: out of memory");
			s->at = more;
			s->cap = 2 * cap;
		}
	}
	s->at[s->n++] = (struct candidate){ top, chunk, row };
	return OK;
}

/* One row, of which the product of the codes and its range are known. */
static int row_sift(struct sieve *s, uint64_t chunk, const uint8_t *row, float near, float off, struct err *e)
{
	if (below(&s->floor, near + off)) return OK;
	if (topk_wants(&s->floor, near - off, chunk)) {
		struct rec_vec v;
		if (s->look && !vector_of(s->q, chunk, &v)) return OK;
		topk_put(&s->floor, near - off, chunk);
	}
	return candidate_add(s, near + off, chunk, row, e);
}

/* Rows that may be among the k best become candidates. */
static int rows_sift(struct sieve *s, struct row_pick pick, const uint64_t *ids, const uint8_t *rows, size_t stride, struct err *e)
{
	uint32_t at[BATCH];
	float near[BATCH], off[BATCH];
	size_t some;
	int rc = OK;
	while (!rc && (some = row_pick_next(&pick, at, BATCH))) {
		code8_near(&s->q->code, rows, stride, at, some, near, off);
		for (size_t i = 0; i < some && !rc; i++) rc = row_sift(s, ids[at[i]], rows + at[i] * stride, near[i], off[i], e);
	}
	return rc;
}

static void rows_mark(struct row_mask *m, const uint64_t *ids, size_t n, size_t first, const struct visible *seen)
{
	struct row_pick pick;
	uint32_t at[BATCH];
	size_t some;
	row_pick_init(&pick, ids, n, seen);
	while ((some = row_pick_next(&pick, at, BATCH)))
		for (size_t i = 0; i < some; i++) m->bits[(first + at[i]) / 64] |= (uint64_t)1 << ((first + at[i]) & 63);
}

/* ---- by a device ---- */

/* Rows of a graph or a tail: where row i lies, and whose it is. */
struct row_source {
	struct scanned_rows rows;
	void (*at)(const void *of, size_t row, uint64_t *chunk, const uint8_t **bytes);
};

static void graph_part(const void *of, size_t from, size_t n, const uint8_t **rows, size_t *upto)
{
	const struct graph *g = of;
	*rows = g->rows + from * g->stride;
	*upto = n;
}

static void graph_row(const void *of, size_t row, uint64_t *chunk, const uint8_t **bytes)
{
	const struct graph *g = of;
	*chunk = g->ids[row];
	*bytes = g->rows + row * g->stride;
}

static void tail_rows(const void *of, size_t from, size_t n, const uint8_t **rows, size_t *upto)
{
	const uint64_t *ids;
	tail_part(of, from, n, &ids, rows, upto);
}

static void tail_row(const void *of, size_t row, uint64_t *chunk, const uint8_t **bytes)
{
	const uint64_t *ids;
	size_t upto;
	tail_part(of, row, row + 1, &ids, bytes, &upto);
	*chunk = ids[0];
}

/* Rows that the device told, into a sieve of their own. *whole: no other row can be among the k best. */
static int device_try(struct sieve *try, const struct row_source *of, const struct scanned_best *b, int *whole, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; i < b->got && !rc; i++) {
		const uint32_t first = 0;
		const uint8_t *row;
		uint64_t chunk;
		float near, off;
		of->at(of->rows.of, b->at[i], &chunk, &row);
		code8_near(&try->q->code, row, 0, &first, 1, &near, &off);
		rc = row_sift(try, chunk, row, near, off, e);
	}
	*whole = !rc && (b->whole || below(&try->floor, b->beyond));
	return rc;
}

/* *done: of n rows, those with a bit in among (NULL: all), all that may be among the k best are candidates; else the CPU must
 * look at them, and nothing has changed. */
static int device_sift(struct sieve *s, scanned_place *place, const struct row_source *of, size_t n, const uint64_t *among, int *done,
	struct err *e)
{
	uint32_t at[INDEX_SCAN_BEST];
	struct scanned_best b = { .among = among, .rows = n, .k = 4 * s->floor.k + CANDIDATES / 16, .at = at };
	struct sieve try = { .q = s->q, .floor = s->floor, .look = s->look };
	int rc = OK;
	*done = 0;
	if (b.k > INDEX_SCAN_BEST) b.k = INDEX_SCAN_BEST;
	if (b.k <= s->floor.k || !scanned_best(place, s->q->s->x->scanner, &of->rows, &s->q->code, &b)) return OK;
	try.floor.hit = mem_alloc(s->floor.k * sizeof *try.floor.hit);
	if (!try.floor.hit) return err_set(e, E_MEMORY, "search: out of memory");
	memcpy(try.floor.hit, s->floor.hit, s->floor.n * sizeof *try.floor.hit);
	rc = device_try(&try, of, &b, done, e);
	for (size_t i = 0; i < try.n && *done && !rc; i++) rc = candidate_add(s, try.at[i].top, try.at[i].chunk, try.at[i].row, e);
	if (*done) {
		memcpy(s->floor.hit, try.floor.hit, try.floor.n * sizeof *try.floor.hit);
		s->floor.n = try.floor.n;
	}
	mem_free(try.floor.hit);
	mem_free(try.at);
	return rc;
}

/* 1: so many rows that it pays to ask a device, and there is one. */
static int device_pays(const struct search *q, size_t n)
{
	const struct index_scanner *by = q->s->x->scanner;
	return by && n >= by->least && (!q->seen || q->seen->chunks >= by->least) && q->k < INDEX_SCAN_BEST && by->ready(by->ctx);
}

/* How many rows of the tail are of chunks below `next`. */
static size_t tail_below(const struct tail *t, size_t n, uint64_t next)
{
	while (n) {
		uint64_t chunk;
		const uint8_t *row;
		tail_row(t, n - 1, &chunk, &row);
		if (chunk < next) break;
		n--; /* few */
	}
	return n;
}

/* Which of the tail's first n rows are the reader's; *out stays NULL where all are. To be freed. */
static int tail_mask(const struct search *q, const struct tail *t, size_t n, struct row_mask **out, struct err *e)
{
	size_t upto;
	*out = NULL;
	if (!q->seen) return OK;
	*out = mem_calloc(1, sizeof **out + (n / 64 + 1) * sizeof *(*out)->bits);
	if (!*out) return err_set(e, E_MEMORY, "search: out of memory");
	for (size_t from = 0; from < n; from = upto) {
		const uint64_t *ids;
		const uint8_t *rows;
		tail_part(t, from, n, &ids, &rows, &upto);
		rows_mark(*out, ids, upto - from, from, q->seen);
	}
	return OK;
}

static int tail_by_device(struct sieve *s, struct tail *t, size_t n, int *done, struct err *e)
{
	const struct row_source of = { { t, t->stride, tail_rows }, tail_row };
	struct row_mask *mask;
	int rc;
	*done = 0;
	if (!device_pays(s->q, n)) return OK;
	rc = tail_mask(s->q, t, n, &mask, e);
	if (!rc) rc = device_sift(s, &t->scan, &of, n, mask ? mask->bits : NULL, done, e);
	mem_free(mask);
	return rc;
}

/* Rows of chunks below `next`: what lies beyond came later, or is searched in the store. */
static int tail_sift(struct sieve *s, struct tail *t, uint64_t next, struct err *e)
{
	size_t n = tail_below(t, atomic_load_explicit(&t->n, memory_order_acquire), next), upto;
	int done, rc = tail_by_device(s, t, n, &done, e);
	for (size_t from = 0; !rc && !done && from < n; from = upto) {
		struct row_pick pick;
		const uint64_t *ids;
		const uint8_t *rows;
		tail_part(t, from, n, &ids, &rows, &upto);
		row_pick_init(&pick, ids, upto - from, s->q->seen);
		rc = rows_sift(s, pick, ids, rows, t->stride, e);
	}
	return rc;
}

/* Highest first; what is no number before all. */
static int by_top(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int x_odd = isnan(x->top) != 0, y_odd = isnan(y->top) != 0;
	if (x_odd || y_odd) return y_odd - x_odd;
	return x->top > y->top ? -1 : x->top < y->top;
}

/* What is left is compared more closely, and the highest upper ends come first. */
static void candidates_order(struct sieve *s)
{
	size_t kept = 0;
	for (size_t i = 0; i < s->n; i++) {
		struct candidate c = s->at[i];
		float near, off;
		if (below(&s->floor, c.top)) continue;
		code8_nearer(&s->q->code, c.row, &near, &off);
		c.top = near + off;
		if (!below(&s->floor, c.top)) s->at[kept++] = c;
	}
	s->n = kept;
	if (kept) qsort(s->at, kept, sizeof *s->at, by_top);
}

/* Living chunks of the collection are `alive`, and those below `next` are in memory: may any row there be dead? What a
 * reader of some groups sees are chunks of living documents. */
static int rows_may_be_dead(const struct search *q, uint64_t alive, uint64_t next)
{
	const struct graph *g = q->part->graph;
	size_t tail = atomic_load_explicit(&q->part->tail->n, memory_order_acquire);
	return !q->seen && (next != q->s->state.next_chunk || alive < (g ? g->vectors : 0) + tail);
}

/* Which rows, or places of lists, are the reader's; *own is to be freed, unless NULL. NULL without an error: all. */
static int mask_get(const struct search *q, const struct graph *g, const struct row_mask **out, struct row_mask **own,
	struct err *e)
{
	struct row_mask *m, *none = NULL;
	const struct ivf *v = g->lists;
	*out = *own = NULL;
	if (!q->seen) return OK;
	*out = atomic_load(&q->seen->mask);
	if (*out && (*out)->serial == g->serial) return OK;
	m = mem_calloc(1, sizeof *m + ((v ? v->vectors : g->vectors) / 64 + 1) * sizeof *m->bits);
	if (!m) return err_set(e, E_MEMORY, "search: out of memory");
	m->serial = g->serial;
	if (!v) rows_mark(m, g->ids, g->vectors, 0, q->seen);
	for (uint32_t l = 0; v && l < v->shape.lists; l++) {
		size_t first = v->first[l];
		rows_mark(m, v->ids + first, v->first[l + 1] - first, first, q->seen);
	}
	*out = m;
	if (!atomic_compare_exchange_strong(&q->seen->mask, &none, m)) *own = m;
	return OK;
}

static int graph_sift(struct sieve *s, struct graph *g, struct err *e)
{
	const struct row_source of = { { g, g->stride, graph_part }, graph_row };
	const struct row_mask *mask = NULL;
	struct row_mask *own = NULL;
	struct row_pick pick;
	int rc = g->lists ? OK : mask_get(s->q, g, &mask, &own, e), done = 0;
	if (mask) row_pick_masked(&pick, mask, g->vectors);
	else row_pick_init(&pick, g->ids, g->vectors, s->q->seen);
	if (!rc && !g->lists && device_pays(s->q, g->vectors))
		rc = device_sift(s, &g->scan, &of, g->vectors, mask ? mask->bits : NULL, &done, e);
	if (!rc && !done) rc = rows_sift(s, pick, g->ids, g->rows, g->stride, e);
	mem_free(own);
	return rc;
}

/* Joins what memory has of chunks below `next`, the graph's rows too unless `walked`, to the k best in *t. */
static int memory_search(struct search *q, const struct rec_coll *c, int walked, uint64_t next, struct topk *t,
	struct err *e)
{
	struct sieve s = { .q = q, .floor = { NULL, t->n, t->k }, .look = rows_may_be_dead(q, c->chunks, next) };
	struct graph *g = q->part->graph;
	int rc = OK;
	s.floor.hit = mem_alloc(t->k * sizeof *t->hit);
	if (!s.floor.hit) return err_set(e, E_MEMORY, "search: out of memory");
	memcpy(s.floor.hit, t->hit, t->n * sizeof *t->hit);
	if (g && !walked) rc = graph_sift(&s, g, e);
	if (!rc) rc = tail_sift(&s, q->part->tail, next, e);
	candidates_order(&s);
	for (size_t i = 0; i < s.n && !rc && !below(t, s.at[i].top); i++) rc = hit_put(q, s.at[i].chunk, t, NULL, e);
	mem_free(s.floor.hit);
	mem_free(s.at);
	return rc;
}

/* ---- by the graph ---- */

/* True scores of what the walk found, best first, until the codes say that no more can be among the k best. Here their
 * bound is the likely one, not the proven: errors of random direction are sqrt(dim) times smaller, and three times that
 * is taken of both together. */
static int rows_rank(struct search *q, const struct graph *g, const uint32_t *rows, size_t n, struct topk *t,
	struct err *e)
{
	float near[BATCH], off[BATCH], part = fminf(1, 3 / sqrtf((float)g->dim));
	int rc = OK;
	for (size_t from = 0; from < n && !rc; from += BATCH) {
		size_t some = n - from < BATCH ? n - from : BATCH;
		code8_near(&q->code, g->rows, g->stride, rows + from, some, near, off);
		for (size_t i = 0; i < some && !rc; i++) {
			if (below(t, near[i] + part * off[i])) return OK;
			rc = hit_put(q, g->ids[rows[from + i]], t, NULL, e);
		}
	}
	return rc;
}

/* Candidates a walk is asked for: more the fewer of them are the reader's, so that as many of theirs are found as of all
 * (measured: the square root of the share does), and 2.5 k are theirs. */
static size_t walk_ef(const struct search *q, uint64_t mine, uint64_t all)
{
	double least = fmax(q->s->x->hnsw_ef_search, 2 * (double)q->k), times = mine ? (double)all / (double)mine : 1;
	return (size_t)fmin(fmax(least * sqrt(times), 2.5 * (double)q->k * times), 1e9);
}

/* Measured: what a walk takes for each of its ef scans about 3 M rows. */
static int walk_pays(const struct graph *g, size_t ef, uint64_t mine)
{
	return ef < g->vectors && 3 * (double)ef * g->m < (double)mine;
}

/* The k best of the graph; *enough is 0 when it could not tell them and the exact scan must. */
static int graph_search(struct search *q, size_t ef, uint64_t mine, struct topk *t, int *enough, struct err *e)
{
	struct graph *g = q->part->graph;
	const struct row_mask *mask;
	struct row_mask *own;
	int rc = mask_get(q, g, &mask, &own, e);
	*enough = 0;
	for (; !rc && !*enough && walk_pays(g, ef, mine); ef *= 2) {
		uint32_t *rows = mem_alloc(ef * sizeof *rows);
		float *near = mem_alloc(ef * sizeof *near);
		size_t got = 0, kept = 0;
		if (!rows || !near) rc = err_set(e, E_MEMORY, "search: out of memory");
		else rc = graph_walk(g, &q->code, ef, rows, near, &got, e);
		for (size_t i = 0; i < got; i++)
			if (!mask || mask->bits[rows[i] / 64] >> (rows[i] & 63) & 1) rows[kept++] = rows[i];
		t->n = 0;
		if (!rc) rc = rows_rank(q, g, rows, kept, t, e);
		*enough = t->n == t->k;
		mem_free(rows);
		mem_free(near);
	}
	if (!*enough) t->n = 0;
	mem_free(own);
	return rc;
}

/* ---- by lists ---- */

/* Every place of the mask is compared: few are. */
static int places_all(struct search *q, const struct ivf *v, const struct row_mask *mask, struct topk *t, struct err *e)
{
	int rc = OK;
	for (size_t w = 0; w < (v->vectors + 63) / 64 && !rc; w++)
		for (uint64_t bits = mask->bits[w]; bits && !rc; bits &= bits - 1)
			rc = hit_put(q, v->ids[w * 64 + (size_t)__builtin_ctzll(bits)], t, NULL, e);
	return rc;
}

/* True scores of guesses, best first, until what the guesses were off so far says that no more can be among the k best:
 * that is taken to vary evenly about its mean, and three times its deviation is allowed for. */
static int guesses_rank(struct search *q, const struct ivf *v, const struct ivf_guess *at, size_t n, struct topk *t,
	struct err *e)
{
	double sum = 0, squares = 0, seen = 0;
	int rc = OK;
	for (size_t i = 0; i < n && !rc; i++) {
		float score;
		if (seen >= OFF_KNOWN && t->n == t->k) {
			double mean = sum / seen, dev = sqrt(fmax(0, squares / seen - mean * mean));
			if ((double)at[i].near + mean + 3 * dev < (double)t->hit[0].score) break;
		}
		rc = hit_put(q, v->ids[at[i].at], t, &score, e);
		if (rc || isnan(score)) continue;
		sum += (double)(score - at[i].near);
		squares += (double)(score - at[i].near) * (double)(score - at[i].near);
		seen++;
	}
	return rc;
}

/* The k best of the lists. As many places are compared truly as ivf_rerank says, more where k is large and for the dead
 * among them; as many lists are looked at as ivf_probes says, more where only a share of what is in them is the
 * reader's, and twice as many again while that gives too few. */
static int lists_search(struct search *q, uint64_t mine, uint64_t all, struct topk *t, struct err *e)
{
	const struct index *x = q->s->x;
	const struct graph *g = q->part->graph;
	const struct ivf *v = g->lists;
	size_t tail = atomic_load_explicit(&q->part->tail->n, memory_order_acquire), want = x->ivf_rerank, got = 0;
	uint64_t alive = all > tail ? all - tail : 1;
	double probes = (double)x->ivf_probes * (double)all / (double)mine;
	const struct row_mask *mask;
	struct row_mask *own;
	struct ivf_guess *at;
	int rc = mask_get(q, g, &mask, &own, e);
	if (rc) return rc;
	if (want < 4 * q->k) want = 4 * q->k;
	if (v->vectors > alive) want = (size_t)fmin((double)v->vectors, (double)want * (double)v->vectors / (double)alive);
	if (mask && mine <= ALL_PAYS * want) {
		rc = places_all(q, v, mask, t, e);
		mem_free(own);
		return rc;
	}
	at = mem_alloc((want + 1) * sizeof *at);
	if (!at) rc = err_set(e, E_MEMORY, "search: out of memory");
	for (; !rc; probes *= 2) {
		size_t some = probes < v->shape.lists ? (size_t)probes : v->shape.lists;
		t->n = 0;
		rc = ivf_search(v, &q->code, mask ? (const uint32_t *)mask->bits : NULL, some, want, at, &got, e);
		if (!rc && got < want && some < v->shape.lists) continue;
		if (!rc) rc = guesses_rank(q, v, at, got, t, e);
		if (t->n == t->k || some == v->shape.lists) break;
	}
	mem_free(at);
	mem_free(own);
	return rc;
}

/* ---- all together ---- */

/* A device compares all rows sooner than the graph is walked. */
static int device_may(const struct search *q)
{
	struct graph *g = q->part->graph;
	return 4 * q->k <= INDEX_SCAN_BEST && scanned_may(&g->scan) && device_pays(q, g->vectors);
}

static int search_run(struct search *q, const struct rec_coll *c, struct topk *t, struct err *e)
{
	uint64_t mine = q->seen ? q->seen->chunks : c->chunks, next = q->s->state.next_chunk, rest = 0;
	int walked = 0, rc = OK;
	if (mine == 0) return OK;
	if (t->k > mine) t->k = q->k = mine;
	if (q->part && q->part->graph && q->part->graph->lists) {
		walked = 1;
		rc = lists_search(q, mine, c->chunks, t, e);
	} else if (q->part && q->part->graph && c->chunks >= q->s->x->exact_below && !device_may(q))
		rc = graph_search(q, walk_ef(q, mine, c->chunks), mine, t, &walked, e);
	if (!rc && q->part) {
		uint64_t end = atomic_load(&q->part->tail->end);
		rest = (end < next ? end : next) - 1;
		rc = memory_search(q, c, walked, rest + 1, t, e);
	}
	if (!rc && rest + 1 < next) rc = flat_scan(q->s, q->r, q->coll, rest, q->query, q->seen, t, &q->cache, e);
	return rc;
}

/* Rows of a reader who does not see all are those of documents that are there and that the reader sees. Of who sees all, what
 * was found is asked for one by one: a document's record may be damaged. When one is, and so may not be seen, all is done again
 * with every hit asked for as it comes. */
static int search_checked(struct search *q, const struct rec_coll *c, struct topk *t, struct err *e)
{
	int yes = 1, rc = search_run(q, c, t, e);
	for (size_t i = 0; i < t->n && !rc && yes && !q->seen; i++)
		rc = snapshot_sees_chunk(q->s, q->r, q->coll, t->hit[i].chunk_id, &q->cache, &yes, e);
	if (rc || yes) return rc;
	t->n = 0;
	q->each = 1;
	return search_run(q, c, t, e);
}

static int query_check(const struct snapshot *s, const struct reader *r, const float *query, struct err *e)
{
	if (!r || !r->collection || !coll_name_ok(r->collection)) return err_set(e, E_USAGE, "search: which collection?");
	if (!atomic_load(&s->x->with_vectors))
		return err_set(e, E_CONFLICT, "search by vector: the store was opened without an embedder");
	for (uint32_t i = 0; i < s->state.serving.dim; i++)
		if (!isfinite(query[i])) return err_set(e, E_USAGE, "search: component %u of the query is not a number", i);
	return OK;
}

int snapshot_search(struct snapshot *s, const struct reader *r, const float *query, size_t k, struct vec_hit *out,
	size_t *got, struct err *e)
{
	struct search *q;
	struct rec_coll c;
	struct topk t = { out, 0, k };
	int rc = query_check(s, r, query, e);
	*got = 0;
	if (rc) return rc;
	rc = coll_read(s->t, r->collection, &c, e);
	if (rc == E_NOT_FOUND) return OK;
	if (rc) return rc;
	if (k > c.chunks) t.k = k = c.chunks;
	if (k == 0) return OK;
	q = mem_calloc(1, sizeof *q);
	if (!q) return err_set(e, E_MEMORY, "search: out of memory");
	q->s = s;
	q->r = r;
	q->part = vec_set_find(s->vecs, s->state.serving.number, c.number);
	q->coll = c.number;
	q->query = query;
	q->k = k;
	rc = code8_query_init(&q->code, query, s->state.serving.dim, e);
	if (!rc && !reader_sees_all(r)) rc = visible_get(s, r, c.number, &q->seen, e);
	if (!rc) rc = search_checked(q, &c, &t, e);
	code8_query_clear(&q->code);
	visible_put(q->seen);
	mem_free(q);
	if (rc) return rc;
	topk_sort(&t);
	*got = t.n;
	return OK;
}
