/* graph.c: owns HNSW graphs in memory: their rows, their links as FAISS made them, the walk, the stored form.
 *
 * Method: a row holds a vector's code and right behind it its 2 M neighbours on the ground level, at a multiple of 64
 * bytes, so that comparing a row and going on from it touch lines that lie together. The few rows with upper levels
 * (one in M) are numbered apart, and upper links are such numbers: the descent needs no table of all rows. The walk
 * keeps the ef best in one sorted list and expands the first that is not yet; what was seen is a bit a row: for 100k
 * rows that is 12 KiB, which stay in the nearest cache, and clearing them costs less than stamps of two bytes do in
 * misses. Scratch is kept for the next walk.
 * A graph needs no vectors but these codes: that what is found is compared exactly is vecindex.c's.
 * Threads: walks share nothing but the list of scratch. Failure: E_MEMORY; E_CORRUPT where stored bytes do not fit
 * each other, whatever their checksums say. */
#include "index/graph.h"
#include <immintrin.h>
#include <string.h>
#include "base/mem.h"

enum { LINE = 64, ROWS_MAX = INT32_MAX };
#define CLOSED 0x80000000u       /* in a spot's row: it was expanded */

struct spot { float near; uint32_t row; };
struct walker {
	struct walker *next;
	uint64_t *seen;              /* a bit a row */
	struct spot *pool; size_t cap;
	uint32_t *at; float *near;   /* of one list of links */
};

static uint8_t *row_of(const struct graph *g, size_t row)
{
	return g->rows + row * g->stride;
}

static const uint32_t *ground(const struct graph *g, size_t row)
{
	return (const uint32_t *)(row_of(g, row) + g->code);
}

/* ---- life ---- */

static struct graph *graph_start(uint32_t coll, uint32_t dim)
{
	static atomic_ullong serials;
	struct graph *g = mem_calloc(1, sizeof *g);
	if (!g) return NULL;
	atomic_init(&g->refs, 1);
	pthread_mutex_init(&g->lock, NULL);
	g->serial = atomic_fetch_add(&serials, 1) + 1;
	g->coll = coll;
	g->dim = dim;
	return g;
}

struct graph *graph_of_lists(uint32_t coll, struct ivf *lists)
{
	struct graph *g = graph_start(coll, lists->shape.dim);
	if (!g) {
		ivf_free(lists);
		return NULL;
	}
	g->lists = lists;
	g->vectors = lists->vectors;
	return g;
}

struct graph *graph_new(uint32_t coll, uint32_t dim, uint32_t m, size_t cap)
{
	struct graph *g = graph_start(coll, dim);
	size_t bytes;
	if (!g) return NULL;
	g->m = m;
	g->cap = cap;
	g->code = code8_size(dim);
	g->stride = (g->code + 8 * (size_t)m + LINE - 1) / LINE * LINE;
	if (cap > ROWS_MAX || __builtin_mul_overflow(cap + 1, g->stride, &bytes)) goto failed;
	g->rows = mem_huge(bytes);
	g->ids = mem_alloc((cap + 1) * sizeof *g->ids);
	if (g->rows && g->ids) return g;
failed:
	graph_put(g);
	return NULL;
}

static void walker_free(struct walker *w)
{
	if (!w) return;
	mem_free(w->seen);
	mem_free(w->pool);
	mem_free(w->at);
	mem_free(w->near);
	mem_free(w);
}

void graph_put(struct graph *g)
{
	if (!g || atomic_fetch_sub(&g->refs, 1) != 1) return;
	scanned_free(&g->scan);
	while (g->idle) {
		struct walker *w = g->idle;
		g->idle = w->next;
		walker_free(w);
	}
	pthread_mutex_destroy(&g->lock);
	ivf_free(g->lists);
	mem_free(g->rows);
	mem_free(g->ids);
	mem_free(g->high);
	mem_free(g->links);
	mem_free(g);
}

size_t graph_bytes(const struct graph *g)
{
	if (g->lists) return ivf_bytes(g->lists);
	return g->vectors * (g->stride + sizeof *g->ids) + g->high_n * sizeof *g->high + g->link_n * sizeof *g->links;
}

/* ---- making one ---- */

static int row_next(struct graph *g, uint64_t chunk)
{
	if (g->vectors == g->cap || (g->vectors && g->ids[g->vectors - 1] >= chunk)) return E_LIMIT;
	g->ids[g->vectors] = chunk;
	memset(row_of(g, g->vectors) + g->code, 0xff, g->stride - g->code);
	return OK;
}

int graph_row_add(struct graph *g, uint64_t chunk, const float *v)
{
	int rc = row_next(g, chunk);
	if (rc) return rc;
	code8_encode(row_of(g, g->vectors++), v, g->dim);
	return OK;
}

int graph_row_copy(struct graph *g, const struct graph *from, size_t row)
{
	int rc = row_next(g, from->ids[row]);
	if (rc) return rc;
	memcpy(row_of(g, g->vectors++), row_of(from, row), g->code);
	return OK;
}

/* The number of a row among those with upper levels; GRAPH_NONE: it has none. */
static uint32_t high_of(const struct graph *g, uint32_t row)
{
	size_t lo = 0, hi = g->high_n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (g->high[mid].row < row) lo = mid + 1;
		else hi = mid;
	}
	return lo < g->high_n && g->high[lo].row == row ? (uint32_t)lo : GRAPH_NONE;
}

/* Levels above the ground of number h. */
static uint32_t high_levels(const struct graph *g, size_t h)
{
	return (uint32_t)((h + 1 < g->high_n ? g->high[h + 1].at : g->link_n) - g->high[h].at) / g->m;
}

static int links_alloc(struct graph *g, size_t high_n, size_t link_n, struct err *e)
{
	g->high = mem_calloc(high_n + 1, sizeof *g->high);
	g->links = mem_calloc(link_n + 1, sizeof *g->links);
	g->high_n = high_n;
	g->link_n = link_n;
	return g->high && g->links ? OK : err_set(e, E_MEMORY, "graph: out of memory");
}

/* A list as FAISS has it to one of ours; upper: its rows become numbers of `high`. 0: it leads out of the graph. */
static int list_take(const struct graph *g, const int32_t *from, size_t n, int upper, uint32_t *to)
{
	size_t kept = 0;
	for (size_t i = 0; i < n && from[i] >= 0; i++) {
		uint32_t x = (uint32_t)from[i];
		if (x >= g->vectors) return 0;
		if (upper && (x = high_of(g, x)) == GRAPH_NONE) return 0;
		to[kept++] = x;
	}
	while (kept < n) to[kept++] = GRAPH_NONE;
	return 1;
}

int graph_link(struct graph *g, const struct faissx *fx, struct err *e)
{
	struct faissx_links f;
	size_t high = 0, links = 0, at = 0, h = 0;
	int ok = 1;
	faissx_links(fx, &f);
	if (f.n != g->vectors) return err_set(e, E_BUG, "graph: %zu vectors were linked, not %zu", f.n, g->vectors);
	for (size_t i = 0; i < f.n; i++)
		if (f.levels[i] > 1) high++, links += (size_t)(f.levels[i] - 1) * g->m;
	if (links_alloc(g, high, links, e)) return E_MEMORY;
	for (size_t i = 0; i < f.n; i++) {
		if (f.levels[i] <= 1) continue;
		g->high[h++] = (struct graph_high){ (uint32_t)i, (uint32_t)at };
		at += (size_t)(f.levels[i] - 1) * g->m;
	}
	for (size_t i = 0; i < f.n && ok; i++)
		ok = list_take(g, f.neighbors + f.offsets[i], 2 * g->m, 0, (uint32_t *)(row_of(g, i) + g->code));
	for (h = 0; h < high && ok; h++) {
		const int32_t *from = f.neighbors + f.offsets[g->high[h].row] + 2 * g->m;
		for (size_t l = 0; l < high_levels(g, h) && ok; l++)
			ok = list_take(g, from + l * g->m, g->m, 1, g->links + g->high[h].at + l * g->m);
	}
	g->entry = f.entry < 0 ? 0 : (uint32_t)f.entry;
	g->levels = 0;
	if (ok && g->vectors && (h = high_of(g, g->entry)) != GRAPH_NONE) {
		g->entry = (uint32_t)h;
		g->levels = high_levels(g, h);
	}
	return ok ? OK : err_set(e, E_BUG, "graph: a link leads out of it");
}

int graph_unlink(const struct graph *g, int **levels, int32_t **neighbors, int32_t *entry, struct err *e)
{
	size_t at = 0, h = 0;
	*levels = mem_calloc(g->vectors + 1, sizeof **levels);
	*neighbors = mem_calloc(g->vectors * 2 * g->m + g->link_n + 1, sizeof **neighbors);
	if (!*levels || !*neighbors) {
		mem_free(*levels);
		mem_free(*neighbors);
		return err_set(e, E_MEMORY, "graph: out of memory");
	}
	for (size_t i = 0; i < g->vectors; i++) {
		int high = h < g->high_n && g->high[h].row == i;
		size_t n = high ? high_levels(g, h) * (size_t)g->m : 0;
		memcpy(*neighbors + at, ground(g, i), 8 * (size_t)g->m); /* GRAPH_NONE is -1 there */
		at += 2 * (size_t)g->m;
		for (size_t j = 0; j < n; j++) {
			uint32_t x = g->links[g->high[h].at + j];
			(*neighbors)[at++] = x == GRAPH_NONE ? -1 : (int32_t)g->high[x].row;
		}
		(*levels)[i] = 1 + (int)(n / g->m);
		h += (size_t)high;
	}
	*entry = !g->vectors ? -1 : (int32_t)(g->levels ? g->high[g->entry].row : g->entry);
	return OK;
}

/* ---- the walk ---- */

static struct walker *walker_take(struct graph *g, size_t ef)
{
	struct walker *w;
	pthread_mutex_lock(&g->lock);
	w = g->idle;
	if (w) g->idle = w->next;
	pthread_mutex_unlock(&g->lock);
	if (!w) {
		w = mem_calloc(1, sizeof *w);
		if (!w) return NULL;
		w->seen = mem_alloc((g->vectors / 64 + 1) * sizeof *w->seen);
		w->at = mem_alloc(2 * g->m * sizeof *w->at);
		w->near = mem_alloc(2 * g->m * sizeof *w->near);
	}
	if (w->cap < ef) {
		mem_free(w->pool);
		w->pool = mem_alloc(ef * sizeof *w->pool);
		w->cap = ef;
	}
	if (w->seen && w->at && w->near && w->pool) return w;
	walker_free(w);
	return NULL;
}

static void walker_give(struct graph *g, struct walker *w)
{
	pthread_mutex_lock(&g->lock);
	w->next = g->idle;
	g->idle = w;
	pthread_mutex_unlock(&g->lock);
}

/* From the top level down to the row where the walk over the ground begins. */
static uint32_t descend(const struct graph *g, const struct code8_query *q, struct walker *w, float *near)
{
	uint32_t at = g->entry, row = g->levels ? g->high[at].row : at;
	code8_near(q, g->rows, g->stride, &row, 1, near, NULL);
	for (uint32_t level = g->levels; level > 0; level--) {
		for (uint32_t best = at;; at = best) {
			const uint32_t *list = g->links + g->high[at].at + (level - 1) * g->m;
			size_t n = 0;
			while (n < g->m && list[n] != GRAPH_NONE) w->at[n] = g->high[list[n]].row, n++;
			code8_near(q, g->rows, g->stride, w->at, n, w->near, NULL);
			for (size_t i = 0; i < n; i++)
				if (w->near[i] > *near) *near = w->near[i], best = list[i];
			if (best == at) break;
		}
	}
	return g->levels ? g->high[at].row : at;
}

/* Neighbours of a row that were not seen yet, into w->at. */
static size_t unseen(const struct graph *g, struct walker *w, uint32_t row)
{
	const uint32_t *list = ground(g, row);
	size_t n = 0;
	for (uint32_t i = 0; i < 2 * g->m && list[i] != GRAPH_NONE; i++) {
		uint32_t x = list[i];
		uint64_t bit = (uint64_t)1 << (x & 63), *word = &w->seen[x / 64];
		w->at[n] = x;
		n += !(*word & bit);
		*word |= bit;
	}
	return n;
}

/* Puts a spot into the sorted pool of n (at most ef); returns its place, or n when it does not belong in. */
static size_t pool_put(struct spot *pool, size_t *n, size_t ef, float near, uint32_t row)
{
	size_t lo = 0, hi = *n, end = *n;
	if (*n == ef && !(near > pool[ef - 1].near)) return end;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (pool[mid].near < near) hi = mid;
		else lo = mid + 1;
	}
	if (end < ef) ++*n;
	else end--;
	memmove(pool + lo + 1, pool + lo, (end - lo) * sizeof *pool);
	pool[lo] = (struct spot){ near, row };
	return lo;
}

int graph_walk(struct graph *g, const struct code8_query *q, size_t ef, uint32_t *rows, float *near, size_t *got,
	struct err *e)
{
	struct walker *w;
	struct spot *pool;
	size_t n = 0, next = 0;
	uint32_t row;
	float first;
	*got = 0;
	if (!g->vectors || !ef) return OK;
	w = walker_take(g, ef);
	if (!w) return err_set(e, E_MEMORY, "search: out of memory");
	pool = w->pool;
	memset(w->seen, 0, (g->vectors / 64 + 1) * sizeof *w->seen);
	row = descend(g, q, w, &first);
	w->seen[row / 64] |= (uint64_t)1 << (row & 63);
	pool_put(pool, &n, ef, first, row);
	while (next < n) {
		size_t fresh, best = n;
		if (pool[next].row & CLOSED) {
			next++;
			continue;
		}
		row = pool[next].row;
		pool[next].row |= CLOSED;
		fresh = unseen(g, w, row);
		if (next + 1 < n) _mm_prefetch((const char *)ground(g, pool[next + 1].row & ~CLOSED), _MM_HINT_T0);
		code8_near(q, g->rows, g->stride, w->at, fresh, w->near, NULL);
		next++;
		for (size_t i = 0; i < fresh; i++) {
			size_t place = pool_put(pool, &n, ef, w->near[i], w->at[i]);
			if (place < best && place < n) best = place;
		}
		if (best < next) next = best;
	}
	for (size_t i = 0; i < n; i++) rows[i] = pool[i].row & ~CLOSED, near[i] = pool[i].near;
	*got = n;
	walker_give(g, w);
	return OK;
}

/* ---- the stored form ---- */

static int put(FILE *f, const void *p, size_t n)
{
	return n == 0 || fwrite(p, n, 1, f) == 1;
}

int graph_write(const struct graph *g, FILE *f, struct err *e)
{
	uint64_t counts[2] = { g->high_n, g->link_n };
	int ok;
	if (g->lists) return ivf_write(g->lists, f, e);
	ok = put(f, &g->entry, 4) && put(f, &g->levels, 4) && put(f, counts, sizeof counts) &&
		put(f, g->ids, g->vectors * sizeof *g->ids);
	for (size_t i = 0; i < g->vectors && ok; i++) ok = put(f, row_of(g, i), g->code + 8 * (size_t)g->m);
	ok = ok && put(f, g->high, g->high_n * sizeof *g->high) && put(f, g->links, g->link_n * sizeof *g->links);
	return ok ? OK : err_set(e, E_IO, "write graph");
}

static int get(FILE *f, void *p, size_t n)
{
	return n == 0 || fread(p, n, 1, f) == 1;
}

/* Rows and their ids. */
static int rows_read(struct graph *g, FILE *f, uint64_t n)
{
	if (!get(f, g->ids, n * sizeof *g->ids)) return 0;
	for (size_t i = 0; i < n; i++) {
		const uint32_t *list = ground(g, i);
		size_t k = 0;
		memset(row_of(g, i) + g->code, 0xff, g->stride - g->code);
		if (!get(f, row_of(g, i), g->code + 8 * (size_t)g->m) || (i && g->ids[i] <= g->ids[i - 1])) return 0;
		while (k < 2 * g->m && list[k] < n) k++;
		if (k < 2 * g->m && list[k] != GRAPH_NONE) return 0;
	}
	g->vectors = n;
	return 1;
}

/* Do the upper levels fit the rows and each other? */
static int high_fits(const struct graph *g)
{
	for (size_t h = 0; h < g->high_n; h++) {
		size_t end = h + 1 < g->high_n ? g->high[h + 1].at : g->link_n;
		if (g->high[h].row >= g->vectors || (h && g->high[h].row <= g->high[h - 1].row)) return 0;
		if (end < g->high[h].at || end > g->link_n || g->high[h].at % g->m || end == g->high[h].at) return 0;
	}
	for (size_t h = 0; h < g->high_n; h++)
		for (size_t i = 0; i < high_levels(g, h) * (size_t)g->m; i++) {
			uint32_t x = g->links[g->high[h].at + i];
			if (x != GRAPH_NONE && (x >= g->high_n || high_levels(g, x) < i / g->m + 1)) return 0;
		}
	if (!g->levels) return g->vectors ? g->entry < g->vectors : 1;
	return g->entry < g->high_n && g->levels <= high_levels(g, g->entry);
}

static int read_lists(struct graph **out, FILE *f, uint32_t coll, uint32_t dim, uint64_t vectors, uint64_t bytes,
	struct err *e)
{
	struct ivf *lists;
	int rc = ivf_read(&lists, f, dim, vectors, bytes, e);
	if (rc) return rc;
	*out = graph_of_lists(coll, lists);
	return *out ? OK : err_set(e, E_MEMORY, "read lists: out of memory");
}

int graph_read(struct graph **out, FILE *f, uint32_t coll, uint32_t dim, uint32_t m, uint64_t vectors, uint64_t bytes,
	struct err *e)
{
	uint64_t counts[2], due, each = code8_size(dim) + 8 * (uint64_t)m + sizeof(uint64_t);
	uint32_t start[2];
	struct graph *g;
	int rc;
	*out = NULL;
	if (m == 0) return read_lists(out, f, coll, dim, vectors, bytes, e);
	if (vectors > ROWS_MAX || vectors > bytes / each || !get(f, start, sizeof start) ||
		!get(f, counts, sizeof counts) || counts[0] > vectors || counts[1] > UINT32_MAX || counts[1] % m)
		return err_set(e, E_CORRUPT, "read graph: its size is not its header's");
	due = sizeof start + sizeof counts + vectors * each + counts[0] * sizeof(struct graph_high) + counts[1] * 4;
	if (due != bytes) return err_set(e, E_CORRUPT, "read graph: its size is not its header's");
	g = graph_new(coll, dim, m, vectors);
	rc = g ? links_alloc(g, counts[0], counts[1], e) : err_set(e, E_MEMORY, "read graph: out of memory");
	if (!rc) {
		g->entry = start[0];
		g->levels = start[1];
		if (!rows_read(g, f, vectors) || !get(f, g->high, g->high_n * sizeof *g->high) ||
			!get(f, g->links, g->link_n * sizeof *g->links) || !high_fits(g))
			rc = err_set(e, E_CORRUPT, "read graph: its links do not fit it");
	}
	if (rc) graph_put(g);
	else *out = g;
	return rc;
}
