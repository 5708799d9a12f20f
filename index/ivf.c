/* ivf.c: owns lists of 4-bit codes in memory: their making, the search, the stored form.
 *
 * Method: vectors lie in lists by the centre that is nearest to them; a list is blocks of 32 places (pq4.h), the last one
 * with gaps. The inner product of query and vector is about that of query and centre, once a list, and for each part the
 * one of the query's part and what the vector's code stands for: 16 values a part, which are the same for all lists. As
 * bytes (least value 0, one step for all parts) they make the tables of the scan. What a scan yields below the worst of
 * the `want` best so far is not even written down: the floor of each list is what its centre leaves to be reached; where
 * that is more than codes can give the list is passed over.
 * Kept are twice as many as wanted and a portion more; when they are full the best are picked out (Hoare's quickselect).
 *
 * Why 4 bits a part of three components (on 96k real vectors of 384, 310 lists, 64 looked at, 100 compared truly): recall
 * of the 10 best is 0.98 with 64 bytes of code; parts of four components, 48 bytes, give 0.96, and need twice as many
 * true comparisons, which cost more than the scan does. Eight bits a part do not fit a register.
 *
 * Threads: searches share nothing. Failure: E_MEMORY; E_CORRUPT where stored bytes do not fit each other, whatever their
 * checksums say. */
#include "index/ivf.h"
#include <float.h>
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "index/flat.h"

enum { WIDTH_LEAST = 3, LISTS_MAX = 65536, STEP = 1024, ALIGN = 64 };

static size_t padded(const struct ivf_shape *s)
{
	return (size_t)s->parts * s->width;
}

struct ivf_shape ivf_shape(uint32_t dim, uint64_t vectors)
{
	struct ivf_shape s = { .dim = dim, .width = WIDTH_LEAST };
	uint64_t lists = (uint64_t)sqrt((double)vectors);
	if (s.width < (dim + PQ4_PARTS_MAX - 1) / PQ4_PARTS_MAX) s.width = (dim + PQ4_PARTS_MAX - 1) / PQ4_PARTS_MAX;
	s.parts = ((dim + s.width - 1) / s.width + PQ4_PARTS_STEP - 1) / PQ4_PARTS_STEP * PQ4_PARTS_STEP;
	s.lists = lists < 1 ? 1 : lists > LISTS_MAX ? LISTS_MAX : (uint32_t)lists;
	return s;
}

/* ---- life ---- */

static size_t block_bytes(const struct ivf_shape *s)
{
	return (size_t)PQ4_CODES * s->parts;
}

static int alloc(struct ivf *v, size_t blocks, struct err *e)
{
	v->places = blocks * PQ4_BLOCK;
	v->ids = mem_alloc((v->places + 1) * sizeof *v->ids);
	v->codes = mem_huge(blocks * block_bytes(&v->shape) + ALIGN);
	if (!v->ids || !v->codes) return err_set(e, E_MEMORY, "lists: out of memory");
	memset(v->ids, 0xff, v->places * sizeof *v->ids);
	memset(v->codes, 0, blocks * block_bytes(&v->shape));
	return OK;
}

static struct ivf *start(const struct ivf_shape *s, uint64_t trained)
{
	struct ivf *v = mem_calloc(1, sizeof *v);
	if (!v) return NULL;
	v->shape = *s;
	v->trained = trained;
	v->centres = mem_alloc(s->lists * padded(s) * sizeof *v->centres);
	v->books = mem_alloc(PQ4_CODES * padded(s) * sizeof *v->books);
	v->sizes = mem_calloc(s->lists, sizeof *v->sizes);
	v->first = mem_calloc(s->lists, sizeof *v->first);
	if (v->centres && v->books && v->sizes && v->first) return v;
	ivf_free(v);
	return NULL;
}

void ivf_free(struct ivf *v)
{
	if (!v) return;
	mem_free(v->centres);
	mem_free(v->books);
	mem_free(v->sizes);
	mem_free(v->first);
	mem_free(v->ids);
	mem_free(v->codes);
	mem_free(v);
}

size_t ivf_bytes(const struct ivf *v)
{
	return v->places * (sizeof *v->ids + v->shape.parts / 2) + (v->shape.lists + PQ4_CODES) * padded(&v->shape) * sizeof(float) +
		v->shape.lists * (sizeof *v->sizes + sizeof *v->first);
}

static size_t blocks_of(uint32_t size)
{
	return ((size_t)size + PQ4_BLOCK - 1) / PQ4_BLOCK;
}

/* Where each list begins, from their sizes. 0: that many places have no numbers. */
static int first_fill(struct ivf *v, size_t *blocks)
{
	*blocks = 0;
	for (uint32_t l = 0; l < v->shape.lists; l++) {
		v->first[l] = (uint32_t)*blocks;
		*blocks += blocks_of(v->sizes[l]);
		if (*blocks > UINT32_MAX / PQ4_BLOCK) return 0;
	}
	return 1;
}

/* Puts a code at a place. */
static void code_put(struct ivf *v, size_t place, const uint8_t *code)
{
	uint8_t *block = v->codes + place / PQ4_BLOCK * block_bytes(&v->shape);
	size_t j = place % PQ4_BLOCK, shift = j < PQ4_CODES ? 0 : 4;
	for (uint32_t p = 0; p < v->shape.parts; p++)
		block[PQ4_CODES * p + j % PQ4_CODES] |= (uint8_t)((code[p / 2] >> (p % 2 ? 4 : 0) & 15) << shift);
}

int ivf_new(struct ivf **out, const struct ivf_learnt *l, const struct ivf *old, const struct ivf_rows *rows, struct err *e)
{
	struct ivf *v = start(&l->shape, l->trained);
	size_t blocks, each = block_bytes(&l->shape);
	int rc = v ? OK : err_set(e, E_MEMORY, "lists: out of memory");
	*out = NULL;
	if (rc) return rc;
	memcpy(v->centres, l->centres, l->shape.lists * padded(&l->shape) * sizeof *v->centres);
	memcpy(v->books, l->books, PQ4_CODES * padded(&l->shape) * sizeof *v->books);
	if (old) memcpy(v->sizes, old->sizes, l->shape.lists * sizeof *v->sizes);
	v->vectors = (old ? old->vectors : 0) + rows->n;
	if (v->vectors > INT32_MAX) rc = err_set(e, E_LIMIT, "lists: %zu vectors are too many", v->vectors);
	for (size_t i = 0; i < rows->n && !rc; i++)
		if (rows->list[i] < l->shape.lists) v->sizes[rows->list[i]]++;
		else rc = err_set(e, E_BUG, "lists: a vector of no list");
	if (!rc && !first_fill(v, &blocks)) rc = err_set(e, E_LIMIT, "lists: too many vectors");
	if (!rc) rc = alloc(v, blocks, e);
	if (rc) {
		ivf_free(v);
		return rc;
	}
	for (uint32_t i = 0; i < l->shape.lists; i++) {
		size_t n = old ? old->sizes[i] : 0;
		v->sizes[i] = (uint32_t)n;
		if (!n) continue;
		memcpy(v->ids + (size_t)v->first[i] * PQ4_BLOCK, old->ids + (size_t)old->first[i] * PQ4_BLOCK, n * sizeof *v->ids);
		memcpy(v->codes + v->first[i] * each, old->codes + old->first[i] * each, blocks_of((uint32_t)n) * each);
	}
	for (size_t i = 0; i < rows->n; i++) {
		uint32_t to = rows->list[i];
		size_t place = (size_t)v->first[to] * PQ4_BLOCK + v->sizes[to]++;
		v->ids[place] = rows->ids[i];
		code_put(v, place, rows->codes + i * (l->shape.parts / 2));
	}
	*out = v;
	return OK;
}

/* ---- search ---- */

struct spot { float near; uint32_t at; };

/* The n best come first, in no order, by Hoare's quickselect. */
static void pick(struct spot *s, size_t len, size_t n)
{
	size_t lo = 0, hi = len;
	while (n > lo && n < hi && hi - lo > 1) {
		float pivot = s[lo + (hi - lo) / 2].near;
		size_t i = lo, j = hi - 1;
		for (;;) {
			struct spot x;
			while (s[i].near > pivot) i++;
			while (s[j].near < pivot) j--;
			if (i >= j) break;
			x = s[i];
			s[i++] = s[j];
			s[j--] = x;
		}
		/* Before i none is below the pivot, behind j none above it. */
		if (n <= i) hi = i;
		else if (n > j + 1) lo = j + 1;
		else return;
	}
}

struct look {
	const struct ivf *v;
	const struct pq4_kernel *kernel;
	float *query;                /* (parts * width), filled up with zeros */
	uint8_t *table;
	float base, step;            /* a sum stands for base + step * sum */
	struct spot *lists;          /* by their centres */
	struct spot *kept; size_t n, cap, want;
	float floor;                 /* of the worst of `want` kept; -FLT_MAX: there are fewer */
	uint32_t *at; uint16_t *sum; /* STEP each */
};

static void look_clear(struct look *k)
{
	mem_free(k->query);
	mem_free(k->table);
	mem_free(k->lists);
	mem_free(k->kept);
	mem_free(k->at);
	mem_free(k->sum);
}

static int look_init(struct look *k, const struct ivf *v, const float *query, size_t want, struct err *e)
{
	size_t width = padded(&v->shape);
	int rc = pq4_choose(&k->kernel, NULL, e);
	k->v = v;
	k->want = want;
	k->floor = -FLT_MAX;
	k->cap = 2 * want + STEP;
	k->query = mem_calloc(width, sizeof *k->query);
	k->table = mem_aligned(ALIGN, PQ4_CODES * (size_t)v->shape.parts);
	k->lists = mem_alloc(v->shape.lists * sizeof *k->lists);
	k->kept = mem_alloc(k->cap * sizeof *k->kept);
	k->at = mem_alloc(STEP * sizeof *k->at);
	k->sum = mem_alloc(STEP * sizeof *k->sum);
	if (rc) return rc;
	if (!k->query || !k->table || !k->lists || !k->kept || !k->at || !k->sum)
		return err_set(e, E_MEMORY, "search: out of memory");
	memcpy(k->query, query, v->shape.dim * sizeof *query);
	return OK;
}

/* What a code of a part gives. */
static float part_dot(const struct look *k, uint32_t part, uint32_t code)
{
	uint32_t width = k->v->shape.width;
	const float *book = k->v->books + ((size_t)part * PQ4_CODES + code) * width, *q = k->query + (size_t)part * width;
	float sum = 0;
	for (uint32_t i = 0; i < width; i++) sum += q[i] * book[i];
	return sum;
}

/* The tables: bytes, whose step suits the part that spreads the most. Products that are no numbers (huge components)
 * make tables of zeros: then centres alone decide. */
static int tables_fill(struct look *k, struct err *e)
{
	uint32_t parts = k->v->shape.parts;
	float *dot = mem_alloc((size_t)parts * PQ4_CODES * sizeof *dot), spread = 0;
	if (!dot) return err_set(e, E_MEMORY, "search: out of memory");
	k->base = 0;
	for (uint32_t p = 0; p < parts; p++) {
		float *d = dot + (size_t)p * PQ4_CODES, least = FLT_MAX, most = -FLT_MAX;
		for (uint32_t c = 0; c < PQ4_CODES; c++) {
			d[c] = part_dot(k, p, c);
			least = d[c] < least ? d[c] : least;
			most = d[c] > most ? d[c] : most;
		}
		for (uint32_t c = 0; c < PQ4_CODES; c++) d[c] -= least;
		k->base += least;
		spread = most - least > spread ? most - least : spread;
	}
	k->step = spread / 255;
	if (!isfinite(k->base) || !(k->step > FLT_MIN) || !isfinite(spread)) k->step = 0;
	if (!isfinite(k->base)) k->base = 0;
	for (size_t i = 0; i < (size_t)parts * PQ4_CODES; i++) {
		float x = k->step > 0 ? dot[i] / k->step + 0.5f : 0;
		k->table[i] = x >= 255 ? 255 : x > 0 ? (uint8_t)x : 0;
	}
	mem_free(dot);
	return OK;
}

/* The nearest `probes` lists, best first as far as that is cheap. */
static void lists_rank(struct look *k, size_t probes)
{
	const struct ivf_shape *s = &k->v->shape;
	for (uint32_t l = 0; l < s->lists; l++) {
		float near = flat_dot(k->query, k->v->centres + l * padded(s), padded(s));
		k->lists[l] = (struct spot){ isfinite(near) ? near : -FLT_MAX, l };
	}
	for (size_t n = s->lists, some = probes; some < n; n = some, some /= 2) pick(k->lists, n, some);
	for (size_t some = probes < 8 ? probes : 8, i = 1; i < some; i++)
		for (size_t j = i; j > 0 && k->lists[j].near > k->lists[j - 1].near; j--) {
			struct spot x = k->lists[j];
			k->lists[j] = k->lists[j - 1];
			k->lists[j - 1] = x;
		}
}

static void keep_best(struct look *k)
{
	if (k->n < k->want) return;
	pick(k->kept, k->n, k->want);
	k->n = k->want;
	k->floor = FLT_MAX;
	for (size_t i = 0; i < k->n; i++) k->floor = k->kept[i].near < k->floor ? k->kept[i].near : k->floor;
}

/* The least sum that reaches the floor in a list; over UINT16_MAX: none does. */
static uint32_t least_sum(const struct look *k, float bias)
{
	float due = k->floor - bias;
	if (due <= 0) return 0;
	if (k->step == 0) return UINT16_MAX + 1;
	due /= k->step;
	return due > UINT16_MAX ? UINT16_MAX + 1 : (uint32_t)due;
}

static void list_scan(struct look *k, const struct spot *list, const uint32_t *mask)
{
	const struct ivf *v = k->v;
	size_t size = v->sizes[list->at], block = v->first[list->at];
	float bias = list->near + k->base;
	for (size_t from = 0; from < size; from += STEP) {
		size_t n = size - from < STEP ? size - from : STEP, at = block + from / PQ4_BLOCK, got;
		uint32_t least = least_sum(k, bias);
		if (least > UINT16_MAX) return;
		got = k->kernel->scan(v->codes + at * block_bytes(&v->shape), n, v->shape.parts, k->table, (uint16_t)least,
			mask ? mask + at : NULL, k->at, k->sum);
		for (size_t i = 0; i < got; i++)
			k->kept[k->n++] = (struct spot){ bias + k->step * (float)k->sum[i], (uint32_t)(at * PQ4_BLOCK) + k->at[i] };
		if (k->n > k->cap - STEP) keep_best(k);
	}
}

int ivf_search(const struct ivf *v, const float *query, const uint32_t *mask, size_t probes, size_t want, uint32_t *at,
	size_t *got, struct err *e)
{
	struct look k = { 0 };
	int rc;
	*got = 0;
	if (want > v->vectors) want = v->vectors;
	if (probes > v->shape.lists) probes = v->shape.lists;
	if (!want) return OK;
	rc = look_init(&k, v, query, want, e);
	if (!rc) rc = tables_fill(&k, e);
	if (!rc) {
		lists_rank(&k, probes);
		for (size_t i = 0; i < probes; i++) list_scan(&k, &k.lists[i], mask);
		keep_best(&k);
		for (; *got < k.n; ++*got) at[*got] = k.kept[*got].at;
	}
	look_clear(&k);
	return rc;
}

/* ---- the stored form ---- */

static int put(FILE *f, const void *p, size_t n)
{
	return n == 0 || fwrite(p, n, 1, f) == 1;
}

int ivf_write(const struct ivf *v, FILE *f, struct err *e)
{
	const struct ivf_shape *s = &v->shape;
	uint32_t head[4] = { s->lists, s->parts, s->width, 0 };
	size_t each = block_bytes(s);
	int ok = put(f, head, sizeof head) && put(f, &v->trained, sizeof v->trained) &&
		put(f, v->centres, s->lists * padded(s) * sizeof *v->centres) &&
		put(f, v->books, PQ4_CODES * padded(s) * sizeof *v->books) && put(f, v->sizes, s->lists * sizeof *v->sizes);
	for (uint32_t l = 0; l < s->lists && ok; l++)
		ok = put(f, v->ids + (size_t)v->first[l] * PQ4_BLOCK, v->sizes[l] * sizeof *v->ids) &&
			put(f, v->codes + v->first[l] * each, blocks_of(v->sizes[l]) * each);
	return ok ? OK : err_set(e, E_IO, "write lists");
}

static int get(FILE *f, void *p, size_t n)
{
	return n == 0 || fread(p, n, 1, f) == 1;
}

static int all_finite(const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(x[i])) return 0;
	return 1;
}

/* Sizes are read; are they those of so many vectors? */
static int sizes_fit(const struct ivf *v, uint64_t vectors)
{
	uint64_t sum = 0;
	for (uint32_t l = 0; l < v->shape.lists; l++) sum += v->sizes[l];
	return sum == vectors;
}

static int lists_read(struct ivf *v, FILE *f)
{
	size_t each = block_bytes(&v->shape);
	for (uint32_t l = 0; l < v->shape.lists; l++) {
		uint64_t *ids = v->ids + (size_t)v->first[l] * PQ4_BLOCK;
		if (!get(f, ids, v->sizes[l] * sizeof *ids) || !get(f, v->codes + v->first[l] * each, blocks_of(v->sizes[l]) * each))
			return 0;
		for (uint32_t i = 0; i < v->sizes[l]; i++)
			if (ids[i] == UINT64_MAX || (i && ids[i] <= ids[i - 1])) return 0;
		v->vectors += v->sizes[l];
	}
	return 1;
}

int ivf_read(struct ivf **out, FILE *f, uint32_t dim, uint64_t vectors, uint64_t bytes, struct err *e)
{
	struct ivf_shape s = ivf_shape(dim, 1);
	uint32_t head[4];
	uint64_t trained, fixed;
	size_t blocks = 0;
	struct ivf *v;
	int rc = OK;
	*out = NULL;
	if (vectors > INT32_MAX || !get(f, head, sizeof head) || !get(f, &trained, sizeof trained) || head[0] < 1 ||
		head[0] > LISTS_MAX || head[1] != s.parts || head[2] != s.width)
		return err_set(e, E_CORRUPT, "read lists: their head does not fit the collection");
	s.lists = head[0];
	fixed = sizeof head + sizeof trained + (s.lists + PQ4_CODES) * padded(&s) * sizeof(float) + s.lists * sizeof *v->sizes;
	if (bytes < fixed) return err_set(e, E_CORRUPT, "read lists: their size is not their header's");
	v = start(&s, trained);
	if (!v) return err_set(e, E_MEMORY, "read lists: out of memory");
	if (!get(f, v->centres, s.lists * padded(&s) * sizeof *v->centres) ||
		!get(f, v->books, PQ4_CODES * padded(&s) * sizeof *v->books) || !get(f, v->sizes, s.lists * sizeof *v->sizes) ||
		!sizes_fit(v, vectors) || !first_fill(v, &blocks) ||
		bytes != fixed + vectors * sizeof *v->ids + blocks * block_bytes(&s))
		rc = err_set(e, E_CORRUPT, "read lists: their size is not their header's");
	if (!rc) rc = alloc(v, blocks, e);
	if (!rc && (!lists_read(v, f) || !all_finite(v->centres, s.lists * padded(&s)) ||
		!all_finite(v->books, PQ4_CODES * padded(&s))))
		rc = err_set(e, E_CORRUPT, "read lists: what is in them does not fit");
	if (rc) ivf_free(v);
	else *out = v;
	return rc;
}
