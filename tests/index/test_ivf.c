/* test_ivf.c: lists of codes: kernels against the plain form, what is found and grown, the stored form and bytes that do
 * not fit; in a store: inserts, deletes, readers of a share, reload, damage, and which kind memory allows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "index/faissx.h"
#include "index/flat.h"
#include "index/inside.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { K = 10, N = 3000, QUERIES = 40 };

/* ---- kernels ---- */

static uint32_t draw(uint64_t *s)
{
	*s = *s * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*s >> 33);
}

/* Both give the same, in a scan of n vectors. */
static void same_scan(const struct pq4_kernel *kernel, size_t from, size_t n, size_t parts, uint64_t seed, int top)
{
	size_t blocks = (n + PQ4_BLOCK - 1) / PQ4_BLOCK, got[2];
	uint8_t *codes = mem_aligned(64, blocks * PQ4_CODES * parts + 64), *table = mem_aligned(64, PQ4_CODES * parts);
	uint32_t *mask = mem_alloc((blocks + 1) * sizeof *mask), *at[2];
	uint16_t *sum[2], least;
	CHECK(codes && table && mask);
	for (int i = 0; i < 2; i++) at[i] = mem_calloc(n + 1, sizeof **at), sum[i] = mem_calloc(n + 1, sizeof **sum);
	for (size_t i = 0; i < blocks * PQ4_CODES * parts; i++) codes[i] = (uint8_t)draw(&seed);
	for (size_t i = 0; i < PQ4_CODES * parts; i++) table[i] = top ? 255 : (uint8_t)draw(&seed);
	for (size_t i = 0; i < blocks; i++) mask[i] = draw(&seed) & draw(&seed) << 3;
	for (int masked = 0; masked < 2; masked++)
		for (int floor = 0; floor < 4; floor++) {
			least = (uint16_t)(floor == 3 ? 65535 : (size_t)floor * parts * 64);
			got[0] = pq4_plain.scan(codes, from, n, parts, table, least, masked ? mask : NULL, at[0], sum[0]);
			got[1] = kernel->scan(codes, from, n, parts, table, least, masked ? mask : NULL, at[1], sum[1]);
			CHECK_INT(got[1], got[0]);
			CHECK(memcmp(at[0], at[1], got[0] * sizeof **at) == 0);
			CHECK(memcmp(sum[0], sum[1], got[0] * sizeof **sum) == 0);
			if (!masked && floor == 0) CHECK_INT(got[0], n - from);
			if (top && got[0]) CHECK_INT(sum[0][0], 255 * parts);
		}
	for (int i = 0; i < 2; i++) mem_free(at[i]), mem_free(sum[i]);
	mem_free(codes);
	mem_free(table);
	mem_free(mask);
}

TEST(ivf_kernels_give_what_the_plain_one_gives)
{
	static const char *const names[] = { "avx2", "avx512" };
	static const size_t sizes[] = { 1, 31, 32, 33, 100, 1024 }, parts[] = { 4, 12, 128, 256 };
	const struct pq4_kernel *k;
	struct err e;
	for (size_t i = 0; i < 2; i++) {
		if (pq4_choose(&k, names[i], &e)) continue;          /* this CPU lacks it */
		for (size_t s = 0; s < 6; s++)
			for (size_t p = 0; p < 4; p++) same_scan(k, sizes[s] < 40 ? 0 : s * 5, sizes[s], parts[p], s * 10 + p + 1, (s + p) % 5 == 0);
		same_scan(k, 0, 64, 256, 7, 1);                         /* the largest sum there is */
	}
	CHECK_OK(pq4_choose(&k, NULL, &e), e);
	CHECK_INT(pq4_choose(&k, "sse", &e), E_USAGE);
}

/* ---- lists ---- */

static float *units(int dim, int width, int from, int n)
{
	float *x = mem_calloc((size_t)n, (size_t)width * sizeof *x);
	CHECK(x);
	for (int i = 0; i < n; i++) help_unit((uint64_t)(from + i) + 1, x + (size_t)i * (size_t)width, dim);
	return x;
}

/* Lists of vectors 0 … n - 1, the last `late` of which are added to the others; vector i has id 2 i + 5. Centres are the
 * directions that k-means gives, which do for a test. */
static struct ivf *make(int dim, int n, int late)
{
	struct ivf_shape s = ivf_shape((uint32_t)dim, (uint64_t)n);
	struct ivf_learnt l = { .shape = s, .trained = (uint64_t)n };
	int width = (int)(s.parts * s.width);
	size_t each = code8_size(s.dim);
	float *x = units(dim, dim, 0, n), *rest = mem_calloc((size_t)n, (size_t)width * sizeof *rest);
	float *directions = mem_calloc(s.lists, (size_t)dim * sizeof *directions);
	uint8_t *codes = mem_calloc((size_t)n, s.parts / 2), *centres = mem_calloc(s.lists, each);
	int64_t *list = mem_calloc((size_t)n, sizeof *list);
	uint32_t *lists = mem_calloc((size_t)n, sizeof *lists);
	uint64_t *ids = mem_calloc((size_t)n, sizeof *ids);
	struct ivf_rows rows = { (size_t)(n - late), lists, codes, ids };
	struct faissx_coder *fx;
	struct ivf *v, *grown;
	struct err e;
	CHECK(rest && directions && list && lists && codes && centres && ids);
	CHECK_OK(faissx_cluster(dim, s.lists, (size_t)n, x, directions, 1, NULL, NULL, &e), e);
	CHECK_OK(faissx_coder_new(&fx, dim, s.lists, directions, width, s.parts, &e), e);
	CHECK_OK(faissx_coder_assign(fx, (size_t)n, x, list, 1, &e), e);
	for (uint32_t i = 0; i < s.lists; i++) code8_encode(centres + i * each, directions + (int)i * dim, s.dim);
	for (int i = 0; i < n; i++) {
		code8_decode(rest + i * width, centres + (size_t)list[i] * each, s.dim);
		for (int d = 0; d < dim; d++) rest[i * width + d] = x[i * dim + d] - rest[i * width + d];
		lists[i] = (uint32_t)list[i], ids[i] = 2 * (uint64_t)i + 5;
	}
	CHECK_OK(faissx_coder_learn(fx, (size_t)n, rest, 1, NULL, NULL, &e), e);
	CHECK_OK(faissx_coder_code(fx, (size_t)n, rest, codes, 1, &e), e);
	l.centres = centres;
	l.books = faissx_coder_books(fx);
	CHECK_OK(ivf_new(&v, &l, NULL, &rows, &e), e);
	if (late) {
		rows = (struct ivf_rows){ (size_t)late, lists + n - late, codes + (size_t)(n - late) * (s.parts / 2), ids + n - late };
		CHECK_OK(ivf_new(&grown, &l, v, &rows, &e), e);
		ivf_free(v);
		v = grown;
	}
	faissx_coder_free(fx);
	mem_free(x);
	mem_free(rest);
	mem_free(directions);
	mem_free(list);
	mem_free(lists);
	mem_free(codes);
	mem_free(centres);
	mem_free(ids);
	return v;
}

/* ivf_search by a query's floats. */
static size_t searched(const struct ivf *v, const float *x, const uint32_t *mask, size_t probes, size_t want,
	struct ivf_guess *out)
{
	struct code8_query q;
	struct err e;
	size_t got;
	CHECK_OK(code8_query_init(&q, x, v->shape.dim, &e), e);
	CHECK_OK(ivf_search(v, &q, mask, probes, want, out, &got, &e), e);
	code8_query_clear(&q);
	CHECK(got <= want);
	for (size_t i = 0; i < got; i++)
		CHECK(out[i].at < v->vectors && (i == 0 || out[i].near <= out[i - 1].near));
	return got;
}

/* Share of the true k best among the `want` places found; every: only those whose vector's number divides by it. */
static double guessed(const struct ivf *v, int dim, size_t probes, size_t want, uint64_t every)
{
	uint32_t *mask = mem_calloc(v->vectors / 32 + 1, sizeof *mask);
	struct ivf_guess *at = mem_calloc(want, sizeof *at);
	size_t found = 0, all = 0;
	CHECK(mask && at);
	for (size_t p = 0; p < v->vectors; p++)
		if ((v->ids[p] - 5) / 2 % every == 0) mask[p / 32] |= (uint32_t)1 << (p % 32);
	for (uint64_t i = 0; i < QUERIES; i++) {
		struct vec_hit hit[K];
		struct topk t = { hit, 0, K };
		float q[256], y[256];
		size_t got;
		help_unit(700000 + i, q, dim);
		for (uint64_t j = 0; j < v->vectors; j += every) {
			float s;
			help_unit(j + 1, y, dim);
			s = flat_dot(q, y, (size_t)dim);
			if (topk_wants(&t, s, j)) topk_put(&t, s, j);
		}
		got = searched(v, q, every > 1 ? mask : NULL, probes, want, at);
		for (size_t a = 0; a < got; a++) {
			CHECK((v->ids[at[a].at] - 5) / 2 % every == 0);
			for (size_t b = 0; b < t.n; b++) found += v->ids[at[a].at] == 2 * hit[b].chunk_id + 5;
		}
		all += t.n;
	}
	mem_free(mask);
	mem_free(at);
	return (double)found / (double)all;
}

TEST(ivf_finds_the_nearest)
{
	static const int dims[] = { 1, 5, 32, 33, 100 };
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
		struct ivf *v = make(dims[i], N, 0);
		CHECK_INT(v->vectors, N);
		if (dims[i] > 1) CHECK(guessed(v, dims[i], 1000, 300, 1) >= 0.95); /* of one component all are alike */
		if (dims[i] > 1) CHECK(guessed(v, dims[i], 1000, 150, 7) >= 0.95);
		CHECK(guessed(v, dims[i], 1000, N, 1) == 1);                /* all are all there are */
		CHECK(guessed(v, dims[i], 1000, N, 3) == 1);
		ivf_free(v);
	}
}

/* Grown lists are those that were made at once. */
TEST(ivf_grows)
{
	struct ivf *at_once = make(33, N, 0), *grown = make(33, N, 700);
	CHECK_INT(grown->vectors, at_once->vectors);
	CHECK(memcmp(grown->ids, at_once->ids, grown->vectors * sizeof *grown->ids) == 0);
	CHECK(memcmp(grown->codes, at_once->codes, (grown->vectors + 31) / 32 * PQ4_CODES * grown->shape.parts) == 0);
	ivf_free(at_once);
	ivf_free(grown);
}

static struct ivf *read_back(char *bytes, size_t n, int dim, uint64_t vectors, int *rc)
{
	FILE *f = fmemopen(bytes, n, "rb");
	struct ivf *v = NULL;
	struct err e;
	CHECK(f);
	*rc = ivf_read(&v, f, (uint32_t)dim, vectors, n, &e);
	fclose(f);
	return v;
}

TEST(ivf_stored_form)
{
	struct ivf *v = make(20, 1000, 0), *back;
	char *bytes = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&bytes, &n);
	struct err e;
	int rc;
	CHECK(f);
	CHECK_OK(ivf_write(v, f, &e), e);
	fclose(f);
	back = read_back(bytes, n, 20, 1000, &rc);
	CHECK(rc == OK && back->vectors == v->vectors && back->trained == 1000);
	CHECK(memcmp(back->ids, v->ids, v->vectors * sizeof *v->ids) == 0);
	CHECK(guessed(back, 20, 1000, 1000, 1) == 1);
	ivf_free(back);
	CHECK(!read_back(bytes, n, 20, 999, &rc) && rc == E_CORRUPT);      /* other vectors, another dimension, cut short */
	CHECK(!read_back(bytes, n, 28, 1000, &rc) && rc == E_CORRUPT);
	for (size_t cut = 1; cut < n; cut += n / 7) CHECK(!read_back(bytes, n - cut, 20, 1000, &rc) && rc == E_CORRUPT);
	for (uint64_t seed = 1; seed <= 300; seed++) {                     /* any byte else: refused, or searched without harm */
		uint64_t s = seed;
		size_t at = draw(&s) % n;
		uint8_t was = (uint8_t)bytes[at];
		bytes[at] = (char)(was ^ (1 + draw(&s) % 255));
		back = read_back(bytes, n, 20, 1000, &rc);
		CHECK((back != NULL) == (rc == OK) && (rc == OK || rc == E_CORRUPT));
		if (back) {
			struct ivf_guess places[50];
			float q[20];
			help_unit(seed, q, 20);
			searched(back, q, NULL, 5, 50, places);
		}
		ivf_free(back);
		bytes[at] = (char)was;
	}
	free(bytes);
	ivf_free(v);
}

/* Huge components make products that are no numbers: something is found all the same. */
TEST(ivf_huge_components)
{
	struct ivf *v = make(20, 1000, 0);
	struct ivf_guess at[50];
	float q[20];
	for (int i = 0; i < 20; i++) q[i] = i % 2 ? 3e38f : -3e38f;
	CHECK_INT(searched(v, q, NULL, 100, 50, at), 50);
	memset(q, 0, sizeof q);
	CHECK_INT(searched(v, q, NULL, 100, 50, at), 50);
	ivf_free(v);
}

/* ---- in a store ---- */

static struct index_options lists_options(const char *dir)
{
	struct index_options o = help_options(dir);
	o.kind = INDEX_IVF;
	o.ivf_probes = 160;
	o.ivf_rerank = 250;                                          /* random vectors lie anywhere: real ones need less */
	return o;
}

static struct index *opened(const struct index_options *o)
{
	struct index *x;
	struct err e;
	CHECK_OK(index_open(&x, o, &e), e);
	return x;
}

static void settle(struct index *x)
{
	struct err e;
	CHECK_OK(index_rebuild_wait(x, &e), e);
}

static const struct graph *graph_of(struct index *x, uint32_t coll)
{
	const struct vec_part *p = vec_set_find(x->vecs, 1, coll);
	return p ? p->graph : NULL;
}

/* Documents from … from + n - 1, one chunk each, whose vector is that of seed `number + 1`; the even ones are of group half,
 * each tenth of tenth, each hundredth of hundredth. */
static void add(struct index *x, const char *coll, int from, int n)
{
	struct write *w;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	for (int i = from; i < from + n; i++) {
		char name[40];
		snprintf(name, sizeof name, "%s-%d", coll, i);
		help_put(w, coll, name, name, (uint64_t)i + 1, 1, i % 100 == 0 ? "hundredth" : i % 10 == 0 ? "tenth" : i % 2 ? "odd" :
			"half", NULL);
	}
	CHECK_OK(index_write_commit(w, &e), e);
}

/* Chunk of document i of a store to which nothing but add() has added, in order. */
static uint64_t chunk_of(int i)
{
	return (uint64_t)i + 1;
}

/* Share of the k best of documents [from, to) of the groups named that the search finds, and nothing but such. */
static double found(struct index *x, const char *const *groups, size_t group_n, int from, int to)
{
	const struct reader r = { .collection = "c", .all_groups = group_n == 0, .groups = groups, .group_n = group_n };
	size_t hits = 0, all = 0;
	for (uint64_t i = 0; i < QUERIES; i++) {
		struct vec_hit want[K], got[K];
		struct topk t = { want, 0, K };
		struct snapshot *s;
		struct err e;
		float q[DIM], v[DIM];
		size_t m;
		help_unit(500000 + i, q, DIM);
		for (int j = from; j < to; j++) {
			const char *own = j % 100 == 0 ? "hundredth" : j % 10 == 0 ? "tenth" : j % 2 ? "odd" : "half";
			int seen = group_n == 0;
			float score;
			for (size_t g = 0; g < group_n; g++) seen |= strcmp(groups[g], own) == 0;
			help_unit((uint64_t)j + 1, v, DIM);
			score = flat_dot(q, v, DIM);
			if (seen && topk_wants(&t, score, chunk_of(j))) topk_put(&t, score, chunk_of(j));
		}
		topk_sort(&t);
		CHECK_OK(snapshot_open(&s, x, &e), e);
		CHECK_OK(snapshot_search(s, &r, q, K, got, &m, &e), e);
		snapshot_close(s);
		CHECK_INT(m, t.n);
		for (size_t a = 0; a < m; a++) {
			CHECK(a == 0 || got[a].score <= got[a - 1].score);
			CHECK(got[a].chunk_id >= chunk_of(from) && got[a].chunk_id < chunk_of(to));
			for (size_t b = 0; b < m; b++)
				if (got[a].chunk_id == want[b].chunk_id) {
					CHECK(got[a].score == want[b].score);
					hits++;
				}
		}
		all += t.n;
	}
	return (double)hits / (double)all;
}

static void found_by_all(struct index *x, int from, int to, double floor)
{
	static const char *const most[] = { "odd", "half" }, *const tenth[] = { "tenth", "hundredth" },
		*const hundredth[] = { "hundredth" }, *const nobody[] = { "nobody" };
	CHECK(found(x, NULL, 0, from, to) >= floor);
	CHECK(found(x, most, 2, from, to) >= floor);
	CHECK(found(x, most + 1, 1, from, to) >= floor);
	CHECK(found(x, tenth, 2, from, to) >= floor);
	CHECK(found(x, hundredth, 1, from, to) == 1);                      /* few: all are compared */
	CHECK(found(x, nobody, 1, from, 0) != 0);                          /* 0 of 0 is no number */
}

static void delete(struct index *x, int from, int to)
{
	struct write *w;
	struct snapshot *s;
	struct arena a;
	struct err e;
	arena_init(&a, 1 << 26);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	for (int i = from; i < to; i++) {
		struct doc d;
		char name[40];
		snprintf(name, sizeof name, "c-%d", i);
		CHECK_OK(snapshot_doc_by_source(s, &everyone, "c", name, &a, &d, &e), e);
		CHECK_OK(index_delete(w, d.id, &e), e);
	}
	snapshot_close(s);
	CHECK_OK(index_write_commit(w, &e), e);
	arena_clear(&a);
}

TEST(ivf_inserts_deletes_and_reload)
{
	char dir[300];
	struct index_options o;
	struct index *x;
	const struct graph *g;
	uint64_t trained;
	snprintf(dir, sizeof dir, "%s", test_dir());
	o = lists_options(dir);
	x = opened(&o);
	add(x, "c", 0, N);
	settle(x);
	g = graph_of(x, 1);
	CHECK(g && g->lists && g->vectors == N);
	trained = g->lists->trained;
	found_by_all(x, 0, N, 0.95);
	add(x, "c", N, 60);                                          /* too few to build: they are in the tail */
	CHECK(graph_of(x, 1)->vectors == N);
	found_by_all(x, 0, N + 60, 0.95);
	add(x, "c", N + 60, 400);                                    /* lists grow, what was learnt stays */
	settle(x);
	g = graph_of(x, 1);
	CHECK(g->vectors == N + 460 && g->lists->trained == trained);
	found_by_all(x, 0, N + 460, 0.95);
	delete(x, 0, 100);                                           /* dead among them */
	found_by_all(x, 100, N + 460, 0.95);
	delete(x, 100, 600);                                         /* too many: coded again, what was learnt stays */
	settle(x);
	g = graph_of(x, 1);
	CHECK(g->vectors == N - 140 && g->lists->trained == trained);
	found_by_all(x, 600, N + 460, 0.95);
	help_check_clean(x);
	index_close(x);
	x = opened(&o);                                              /* read back, not built */
	settle(x);
	CHECK(graph_of(x, 1)->lists && graph_of(x, 1)->vectors == N - 140 && graph_of(x, 1)->generation == 3);
	found_by_all(x, 600, N + 460, 0.95);
	add(x, "c", N + 460, 2 * N);                                 /* another collection: learnt anew */
	settle(x);
	CHECK(graph_of(x, 1)->lists->trained == 3 * N - 140);
	found_by_all(x, 600, 3 * N + 460, 0.88);
	help_check_clean(x);
	index_close(x);
}

/* Vectors of halves: the lists are of what is stored. */
TEST(ivf_over_halves)
{
	struct index_options o = lists_options(test_dir());
	struct index *x;
	struct vec_hit got[K];
	struct snapshot *s;
	struct err e;
	float q[DIM];
	size_t m;
	o.half_vectors = 1;
	x = opened(&o);
	add(x, "c", 0, N);
	settle(x);
	CHECK(graph_of(x, 1)->lists);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	for (int i = 0; i < N; i += 50) {
		help_unit((uint64_t)i + 1, q, DIM);
		CHECK_OK(snapshot_search(s, &everyone, q, K, got, &m, &e), e);
		CHECK(m == K && got[0].chunk_id == chunk_of(i) && got[0].score > 0.999f);
	}
	snapshot_close(s);
	help_check_clean(x);
	index_close(x);
}

TEST(ivf_damaged_piece_is_built_again)
{
	char dir[300];
	struct index_options o;
	struct index *x;
	snprintf(dir, sizeof dir, "%s", test_dir());
	o = lists_options(dir);
	x = opened(&o);
	add(x, "c", 0, N);
	settle(x);
	index_close(x);
	for (int what = 0; what < 2; what++) {                       /* its header, then its piece */
		help_damage(dir, T_GRAPH, what, what ? 5000 : 40);
		x = opened(&o);
		settle(x);
		CHECK(graph_of(x, 1)->lists && graph_of(x, 1)->vectors == N);
		help_check_clean(x);
		CHECK(found(x, NULL, 0, 0, N) >= 0.95);
		index_close(x);
	}
}

/* What is erased is in no list any more, and what the lists had learnt goes with it. */
TEST(ivf_erase)
{
	struct index_options o = lists_options(test_dir());
	struct index *x = opened(&o);
	struct index_erasure r;
	struct snapshot *s;
	struct arena a;
	struct doc d;
	struct err e;
	uint64_t serial;
	add(x, "c", 0, 1000);
	settle(x);
	serial = graph_of(x, 1)->serial;
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_doc_by_source(s, &everyone, "c", "c-0", &a, &d, &e), e);
	snapshot_close(s);
	CHECK_OK(index_erase(x, d.id, &r, &e), e);
	CHECK(r.verified);
	arena_clear(&a);
	settle(x);
	CHECK(graph_of(x, 1)->serial != serial && graph_of(x, 1)->vectors == 999 && graph_of(x, 1)->lists->trained == 999);
	CHECK(found(x, NULL, 0, 1, 1000) >= 0.95);
	help_check_clean(x);
	index_close(x);
}

/* Each kind takes over from the one before, in a store that is opened otherwise. */
TEST(ivf_kinds_change)
{
	static const enum index_kind kinds[] = { INDEX_HNSW, INDEX_IVF, INDEX_HNSW, INDEX_EXACT, INDEX_IVF, INDEX_AUTO };
	char dir[300];
	snprintf(dir, sizeof dir, "%s", test_dir());
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct index_options o = lists_options(dir);
		struct index *x;
		o.kind = kinds[i];
		x = opened(&o);
		if (i == 0) add(x, "c", 0, N);
		CHECK(found(x, NULL, 0, 0, N) >= 0.95);                  /* while it is loaded, or built, too */
		settle(x);
		if (kinds[i] == INDEX_EXACT) CHECK(!graph_of(x, 1) && found(x, NULL, 0, 0, N) == 1);
		else CHECK(graph_of(x, 1) && (graph_of(x, 1)->lists != NULL) == (kinds[i] == INDEX_IVF));
		CHECK(found(x, NULL, 0, 0, N) >= 0.95);
		help_check_clean(x);
		index_close(x);
	}
}

/* auto: the largest collections give way when memory is short, and come back when there is plenty again. */
TEST(ivf_by_memory)
{
	static const struct { uint64_t bytes; int lists[3]; } steps[] = {
		{ 0, { 0, 0, 0 } }, { 64 << 20, { 0, 0, 0 } }, { 1200000, { 1, 0, 0 } }, { 400000, { 1, 1, 0 } }, { 1200000, { 1, 0, 0 } },
		{ 64 << 20, { 0, 0, 0 } },
	};
	char dir[300];
	snprintf(dir, sizeof dir, "%s", test_dir());
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		struct index_options o = lists_options(dir);
		struct index_stats st;
		struct index *x;
		struct err e;
		o.kind = INDEX_AUTO;
		o.memory_bytes = steps[i].bytes;
		x = opened(&o);
		if (i == 0) {
			add(x, "c", 0, N);
			add(x, "d", 0, N - 500);
			add(x, "e", 0, 150);                                 /* below exact_below */
		}
		settle(x);
		for (uint32_t c = 0; c < 3; c++) {
			const struct graph *g = graph_of(x, c + 1);
			CHECK_MSG((g && g->lists) == steps[i].lists[c], "step %zu, collection %u", i, c);
			CHECK((g != NULL) == (c < 2));
		}
		CHECK_OK(index_stats(x, &st, &e), e);
		CHECK_INT(st.list_vectors, (uint64_t)(steps[i].lists[0] * N + steps[i].lists[1] * (N - 500)));
		if (steps[i].bytes) CHECK_MSG(st.memory_bytes <= steps[i].bytes, "step %zu: %d bytes", i, (int)st.memory_bytes);
		CHECK(found(x, NULL, 0, 0, N) >= 0.95);
		help_check_clean(x);
		index_close(x);
	}
}

/* Without a graph or lists: what memory has no room for is searched in the store, and nothing is missing. */
TEST(ivf_tail_keeps_to_memory)
{
	struct index_options o = lists_options(test_dir());
	struct index *x;
	const struct tail *t;
	o.kind = INDEX_EXACT;
	o.memory_bytes = 200000;
	x = opened(&o);
	add(x, "c", 0, N);
	settle(x);
	t = vec_set_find(x->vecs, 1, 1)->tail;
	CHECK(atomic_load(&t->full) && tail_bytes(t) <= 200000 && atomic_load(&t->n) >= 1024);
	CHECK(found(x, NULL, 0, 0, N) == 1);
	add(x, "c", N, 500);
	settle(x);
	CHECK(found(x, NULL, 0, 0, N + 500) == 1);
	index_close(x);
}
