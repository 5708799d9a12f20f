/* ivf.c: owns lists of 4-bit codes in memory: their making, the search, the stored form.
 *
 * Method: vectors lie in lists by the centre whose direction is nearest to theirs; a code is of what is left when the
 * centre, the mean of its list, is taken off. Lists follow each other without gaps: the blocks of 32 places (pq4.h) where
 * two meet are scanned for both. The inner product of query and vector is about that of query and centre, once a list,
 * and for each part the one of the query's part and what the vector's code stands for: 16 values a part, which are the
 * same for all lists. As bytes (least value 0, one step for all parts) they make the tables of the scan. What a scan
 * yields below the worst of the `want` best so far is not even written down: the floor of each list is what its centre
 * leaves to be reached; where that is more than codes can give the list is passed over.
 * Kept are twice as many as wanted and a portion more; when they are full the best are picked out (Hoare's quickselect).
 *
 * Why 4 bits a part of three components: measured on 100k real vectors of 384 with parts of four, 48 bytes of code, twice
 * as many had to be compared truly for the same recall, which costs more than the scan; eight bits a part do not fit a
 * register. Why many lists: of four times as many, half as many vectors had to be looked at. Centres as int8 codes make
 * them cheap: their own error is in what is left, and so in the codes.
 *
 * Threads: searches share nothing. Failure: E_MEMORY; E_CORRUPT where stored bytes do not fit each other, whatever their
 * checksums say. */
#include "index/ivf.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

enum { WIDTH_LEAST = 3, LISTS_MAX = 65536, LISTS_FACTOR = 4, STEP = 1024, ALIGN = 64, BATCH = 256, FIRST_LISTS = 8 };

static size_t padded(const struct ivf_shape *s)
{
	return (size_t)s->parts * s->width;
}

struct ivf_shape ivf_shape(uint32_t dim, uint64_t vectors)
{
	struct ivf_shape s = { .dim = dim, .width = WIDTH_LEAST };
	uint64_t lists = (uint64_t)(LISTS_FACTOR * sqrt((double)vectors));
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

static size_t blocks_of(size_t vectors)
{
	return (vectors + PQ4_BLOCK - 1) / PQ4_BLOCK;
}

/* Room for the vectors that first[] tells of. */
static int alloc(struct ivf *v, struct err *e)
{
	size_t bytes;
	v->vectors = v->first[v->shape.lists];
	bytes = blocks_of(v->vectors) * block_bytes(&v->shape);
	v->ids = mem_alloc((v->vectors + 1) * sizeof *v->ids);
	v->codes = mem_huge(bytes + ALIGN);
	if (!v->ids || !v->codes) return err_set(e, E_MEMORY, "lists: out of memory");
	memset(v->codes, 0, bytes);
	return OK;
}

static struct ivf *start(const struct ivf_shape *s, uint64_t trained)
{
	struct ivf *v = mem_calloc(1, sizeof *v);
	if (!v) return NULL;
	v->shape = *s;
	v->trained = trained;
	v->centres = mem_aligned(ALIGN, s->lists * code8_size(s->dim));
	v->books = mem_alloc(PQ4_CODES * padded(s) * sizeof *v->books);
	v->first = mem_calloc(s->lists + 1, sizeof *v->first);
	if (v->centres && v->books && v->first) return v;
	ivf_free(v);
	return NULL;
}

void ivf_free(struct ivf *v)
{
	if (!v) return;
	mem_free(v->centres);
	mem_free(v->books);
	mem_free(v->first);
	mem_free(v->ids);
	mem_free(v->codes);
	mem_free(v);
}

size_t ivf_bytes(const struct ivf *v)
{
	return v->vectors * sizeof *v->ids + blocks_of(v->vectors) * block_bytes(&v->shape) +
		PQ4_CODES * padded(&v->shape) * sizeof *v->books + v->shape.lists * (code8_size(v->shape.dim) + sizeof *v->first);
}

static void code_get(const struct ivf *v, size_t place, uint8_t *code)
{
	const uint8_t *block = v->codes + place / PQ4_BLOCK * block_bytes(&v->shape);
	size_t j = place % PQ4_BLOCK, shift = j < PQ4_CODES ? 0 : 4;
	memset(code, 0, v->shape.parts / 2);
	for (uint32_t p = 0; p < v->shape.parts; p++)
		code[p / 2] |= (uint8_t)((block[PQ4_CODES * p + j % PQ4_CODES] >> shift & 15) << (p % 2 ? 4 : 0));
}

/* At a place where nothing is yet. */
static void code_put(struct ivf *v, size_t place, const uint8_t *code)
{
	uint8_t *block = v->codes + place / PQ4_BLOCK * block_bytes(&v->shape);
	size_t j = place % PQ4_BLOCK, shift = j < PQ4_CODES ? 0 : 4;
	for (uint32_t p = 0; p < v->shape.parts; p++)
		block[PQ4_CODES * p + j % PQ4_CODES] |= (uint8_t)((code[p / 2] >> (p % 2 ? 4 : 0) & 15) << shift);
}

/* Where each list begins, from what is in the old one and what is added. */
static int first_fill(struct ivf *v, const struct ivf *old, const struct ivf_rows *rows, struct err *e)
{
	uint32_t lists = v->shape.lists;
	if ((old ? old->vectors : 0) + rows->n > INT32_MAX) return err_set(e, E_LIMIT, "lists: too many vectors");
	for (size_t i = 0; i < rows->n; i++) {
		if (rows->list[i] >= lists) return err_set(e, E_BUG, "lists: a vector of no list");
		v->first[rows->list[i] + 1]++;
	}
	for (uint32_t l = 0; l < lists; l++) v->first[l + 1] += v->first[l] + (old ? old->first[l + 1] - old->first[l] : 0);
	return OK;
}

/* Each vector to its place; next: of each list the first that is free. */
static void rows_place(struct ivf *v, const struct ivf *old, const struct ivf_rows *rows, uint32_t *next)
{
	uint8_t code[PQ4_PARTS_MAX / 2];
	for (uint32_t l = 0; l < v->shape.lists; l++) {
		next[l] = v->first[l];
		for (uint32_t from = old ? old->first[l] : 0; old && from < old->first[l + 1]; from++) {
			code_get(old, from, code);
			code_put(v, next[l], code);
			v->ids[next[l]++] = old->ids[from];
		}
	}
	for (size_t i = 0; i < rows->n; i++) {
		uint32_t place = next[rows->list[i]]++;
		code_put(v, place, rows->codes + i * (v->shape.parts / 2));
		v->ids[place] = rows->ids[i];
	}
}

int ivf_new(struct ivf **out, const struct ivf_learnt *l, const struct ivf *old, const struct ivf_rows *rows, struct err *e)
{
	struct ivf *v = start(&l->shape, l->trained);
	uint32_t *next = mem_alloc(l->shape.lists * sizeof *next);
	int rc = v && next ? first_fill(v, old, rows, e) : err_set(e, E_MEMORY, "lists: out of memory");
	*out = NULL;
	if (!rc) rc = alloc(v, e);
	if (!rc) {
		memcpy(v->centres, l->centres, l->shape.lists * code8_size(l->shape.dim));
		memcpy(v->books, l->books, PQ4_CODES * padded(&l->shape) * sizeof *v->books);
		rows_place(v, old, rows, next);
		*out = v;
	} else {
		ivf_free(v);
	}
	mem_free(next);
	return rc;
}

/* ---- search ---- */

/* The n best come first, in no order, by Hoare's quickselect. */
static void pick(struct ivf_guess *s, size_t len, size_t n)
{
	size_t lo = 0, hi = len;
	while (n > lo && n < hi && hi - lo > 1) {
		float pivot = s[lo + (hi - lo) / 2].near;
		size_t i = lo, j = hi - 1;
		for (;;) {
			struct ivf_guess x;
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
	const struct code8_query *code;
	float *query;                /* (parts * width), filled up with zeros */
	uint8_t *table;
	float base, step;            /* a sum stands for base + step * sum */
	struct ivf_guess *lists;          /* by their centres */
	struct ivf_guess *kept; size_t n, cap, want;
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

static int look_init(struct look *k, const struct ivf *v, const struct code8_query *query, size_t want, struct err *e)
{
	size_t width = padded(&v->shape);
	int rc = pq4_choose(&k->kernel, NULL, e);
	k->v = v;
	k->code = query;
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
	memcpy(k->query, query->x, v->shape.dim * sizeof *k->query);
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

/* The `probes` lists whose centres' directions are nearest, with what the centre itself gives; the very best first. */
static void lists_rank(struct look *k, size_t probes)
{
	const struct ivf_shape *s = &k->v->shape;
	size_t each = code8_size(s->dim), len = code8_pad(s->dim), first = probes < FIRST_LISTS ? probes : FIRST_LISTS;
	for (uint32_t l = 0; l < s->lists; l += BATCH) {
		uint32_t rows[BATCH], n = s->lists - l < BATCH ? s->lists - l : BATCH;
		float near[BATCH];
		for (uint32_t i = 0; i < n; i++) rows[i] = l + i;
		code8_near(k->code, k->v->centres, each, rows, n, near, NULL);
		for (uint32_t i = 0; i < n; i++) {
			struct code8_tail t;
			memcpy(&t, k->v->centres + (l + i) * each + len, sizeof t);
			near[i] /= t.length;
			k->lists[l + i] = (struct ivf_guess){ isfinite(near[i]) ? near[i] : -FLT_MAX, l + i };
		}
	}
	pick(k->lists, s->lists, probes);
	pick(k->lists, probes, first);
	for (size_t i = 0; i < probes; i++) {
		float off;
		code8_nearer(k->code, k->v->centres + k->lists[i].at * each, &k->lists[i].near, &off);
		if (!isfinite(k->lists[i].near)) k->lists[i].near = -FLT_MAX;
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

static void list_scan(struct look *k, const struct ivf_guess *list, const uint32_t *mask)
{
	const struct ivf *v = k->v;
	size_t begin = v->first[list->at], end = v->first[list->at + 1];
	float bias = list->near + k->base;
	for (size_t at = begin / PQ4_BLOCK; at * PQ4_BLOCK < end; at += STEP / PQ4_BLOCK) {
		size_t n = end - at * PQ4_BLOCK, from = at * PQ4_BLOCK < begin ? begin % PQ4_BLOCK : 0, got;
		uint32_t least = least_sum(k, bias);
		if (least > UINT16_MAX) return;
		got = k->kernel->scan(v->codes + at * block_bytes(&v->shape), from, n < STEP ? n : STEP, v->shape.parts, k->table,
			(uint16_t)least, mask ? mask + at : NULL, k->at, k->sum);
		for (size_t i = 0; i < got; i++)
			k->kept[k->n++] = (struct ivf_guess){ bias + k->step * (float)k->sum[i], (uint32_t)(at * PQ4_BLOCK) + k->at[i] };
		if (k->n > k->cap - STEP) keep_best(k);
	}
}

static int by_near(const void *a, const void *b)
{
	const struct ivf_guess *x = a, *y = b;
	if (x->near != y->near) return x->near > y->near ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

int ivf_search(const struct ivf *v, const struct code8_query *query, const uint32_t *mask, size_t probes, size_t want,
	struct ivf_guess *out, size_t *got, struct err *e)
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
		qsort(k.kept, k.n, sizeof *k.kept, by_near);
		memcpy(out, k.kept, k.n * sizeof *out);
		*got = k.n;
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
	int ok = put(f, head, sizeof head) && put(f, &v->trained, sizeof v->trained) &&
		put(f, v->centres, s->lists * code8_size(s->dim)) && put(f, v->books, PQ4_CODES * padded(s) * sizeof *v->books) &&
		put(f, v->first, (s->lists + 1) * sizeof *v->first) && put(f, v->ids, v->vectors * sizeof *v->ids) &&
		put(f, v->codes, blocks_of(v->vectors) * block_bytes(s));
	return ok ? OK : err_set(e, E_IO, "write lists");
}

static int get(FILE *f, void *p, size_t n)
{
	return n == 0 || fread(p, n, 1, f) == 1;
}

/* Does all that was read fit each other? */
static int fits(const struct ivf *v)
{
	const struct ivf_shape *s = &v->shape;
	for (uint32_t l = 0; l < s->lists; l++)
		for (uint32_t i = v->first[l]; i + 1 < v->first[l + 1]; i++)
			if (v->ids[i] >= v->ids[i + 1]) return 0;
	for (uint32_t l = 0; l < s->lists; l++) {
		struct code8_tail t;
		memcpy(&t, v->centres + l * code8_size(s->dim) + code8_pad(s->dim), sizeof t);
		if (!isfinite(t.scale) || !isfinite(t.lost) || !isfinite(t.length)) return 0;
	}
	for (size_t i = 0; i < PQ4_CODES * padded(s); i++)
		if (!isfinite(v->books[i])) return 0;
	return 1;
}

/* Do the lists follow each other, up to so many vectors? */
static int first_fits(const struct ivf *v, uint64_t vectors)
{
	for (uint32_t l = 0; l < v->shape.lists; l++)
		if (v->first[l] > v->first[l + 1]) return 0;
	return v->first[0] == 0 && v->first[v->shape.lists] == vectors;
}

int ivf_read(struct ivf **out, FILE *f, uint32_t dim, uint64_t vectors, uint64_t bytes, struct err *e)
{
	struct ivf_shape s = ivf_shape(dim, 1);
	uint32_t head[4];
	uint64_t trained, due;
	struct ivf *v;
	int rc = OK;
	*out = NULL;
	if (vectors > INT32_MAX || !get(f, head, sizeof head) || !get(f, &trained, sizeof trained) || head[0] < 1 ||
		head[0] > LISTS_MAX || head[1] != s.parts || head[2] != s.width)
		return err_set(e, E_CORRUPT, "read lists: their head does not fit the collection");
	s.lists = head[0];
	due = sizeof head + sizeof trained + s.lists * (code8_size(dim) + sizeof *v->first) + sizeof *v->first +
		PQ4_CODES * padded(&s) * sizeof *v->books + vectors * sizeof *v->ids + blocks_of(vectors) * block_bytes(&s);
	if (bytes != due) return err_set(e, E_CORRUPT, "read lists: their size is not their header's");
	v = start(&s, trained);
	if (!v) return err_set(e, E_MEMORY, "read lists: out of memory");
	if (!get(f, v->centres, s.lists * code8_size(dim)) || !get(f, v->books, PQ4_CODES * padded(&s) * sizeof *v->books) ||
		!get(f, v->first, (s.lists + 1) * sizeof *v->first) || !first_fits(v, vectors))
		rc = err_set(e, E_CORRUPT, "read lists: where they begin does not fit");
	if (!rc) rc = alloc(v, e);
	if (!rc && (!get(f, v->ids, v->vectors * sizeof *v->ids) ||
		!get(f, v->codes, blocks_of(v->vectors) * block_bytes(&s)) || !fits(v)))
		rc = err_set(e, E_CORRUPT, "read lists: what is in them does not fit");
	if (rc) ivf_free(v);
	else *out = v;
	return rc;
}
