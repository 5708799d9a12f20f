/* test_search.c: vector search: exact and by graph, tail, tombstones, reload, access, isolation, a damaged graph. */
#include <math.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/mem.h"
#include "index/flat.h"
#include "index/store.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { K = 10 };

static size_t search(struct index *x, const struct reader *r, uint64_t seed, size_t k, struct vec_hit *out)
{
	struct snapshot *s;
	struct err e;
	float q[DIM];
	size_t got;
	help_unit(seed, q, DIM);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search(s, r, q, k, out, &got, &e), e);
	snapshot_close(s);
	return got;
}

/* The truth, from the vectors of every chunk the reader sees: ids of the k best. */
static size_t brute(struct index *x, const struct reader *r, uint64_t seed, size_t k, struct vec_hit *out)
{
	struct topk t = { out, 0, k };
	struct snapshot *s;
	struct arena a;
	struct doc d;
	struct err e;
	float q[DIM];
	uint64_t after = 0;
	size_t got = 1;
	help_unit(seed, q, DIM);
	arena_init(&a, 1 << 28);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	for (;;) {
		struct chunk *c;
		size_t n;
		CHECK_OK(snapshot_docs(s, r, after, 0, 1, &a, &d, &got, &e), e);
		if (!got) break;
		after = d.key;
		CHECK_OK(snapshot_chunks(s, &d, &a, &c, &n, &e), e);
		for (size_t i = 0; i < n; i++) {
			float v[DIM];
			double sum = 0;
			CHECK_OK(snapshot_vector(s, c[i].id, v, &e), e);
			for (int j = 0; j < DIM; j++) sum += (double)q[j] * v[j];
			if (topk_wants(&t, (float)sum, c[i].id)) topk_put(&t, (float)sum, c[i].id);
		}
	}
	snapshot_close(s);
	arena_clear(&a);
	topk_sort(&t);
	return t.n;
}

/* Share of the true k best found, over queries. */
static double recall(struct index *x, const struct reader *r, int queries)
{
	struct vec_hit want[K], got[K];
	size_t found = 0, all = 0;
	for (int i = 0; i < queries; i++) {
		size_t n = brute(x, r, 900000 + (uint64_t)i, K, want), m = search(x, r, 900000 + (uint64_t)i, K, got);
		CHECK_INT(m, n);
		all += n;
		for (size_t a = 0; a < m; a++) {
			CHECK(a == 0 || got[a - 1].score >= got[a].score);
			for (size_t b = 0; b < n; b++) found += got[a].chunk_id == want[b].chunk_id;
		}
	}
	return (double)found / (double)all;
}

static void fill(struct index *x, const char *coll, int docs, int chunks, uint64_t seed, const char *acl)
{
	struct write *w;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	for (int i = 0; i < docs; i++) {
		char name[40];
		snprintf(name, sizeof name, "%s-%llu-%d", coll, (unsigned long long)seed, i);
		help_put(w, coll, name, name, seed + (uint64_t)(i * chunks), chunks, acl, NULL);
	}
	CHECK_OK(index_write_commit(w, &e), e);
}

static struct index_stats stats(struct index *x)
{
	struct index_stats st;
	struct err e;
	CHECK_OK(index_stats(x, &st, &e), e);
	return st;
}

TEST(search_dot_and_topk)
{
	float a[77], b[77];
	struct vec_hit hit[7];
	struct topk t = { hit, 0, 7 };
	for (int n = 0; n <= 77; n++) {
		double sum = 0, size = 0;
		for (int i = 0; i < n; i++) {
			a[i] = sinf((float)(i * 3 + n));
			b[i] = cosf((float)(i * 5));
			sum += (double)a[i] * b[i];
			size += fabs((double)a[i] * b[i]);
		}
		CHECK(fabs((double)flat_dot(a, b, (size_t)n) - sum) <= 77 * 6e-8 * size); /* n roundings of 2^-24 */
	}
	for (uint64_t i = 0; i < 100; i++) {
		float score = (float)((i * 37) % 50);
		if (topk_wants(&t, score, i)) topk_put(&t, score, i);
	}
	CHECK(!topk_wants(&t, NAN, 1));
	topk_sort(&t);
	CHECK_INT(t.n, 7);
	for (size_t i = 0; i < 7; i++) CHECK_INT(hit[i].score, 49 - (int)i / 2);
	for (size_t i = 0; i < 6; i += 2) CHECK(hit[i].chunk_id < hit[i + 1].chunk_id);
}

TEST(search_small_collections_exactly)
{
	struct index *x = help_open(test_dir());
	struct vec_hit hit[200];
	struct snapshot *s;
	struct err e;
	float q[DIM] = { 0 };
	size_t got;
	CHECK_INT(search(x, &everyone, 1, K, hit), 0);              /* nothing there */
	fill(x, "c", 19, 10, 1, NULL);
	CHECK(recall(x, &everyone, 20) == 1.0);
	CHECK_INT(search(x, &everyone, 5, 200, hit), 190);
	CHECK(hit[0].score > 0.999f);
	CHECK_INT(search(x, &everyone, 5, 0, hit), 0);
	CHECK_INT(stats(x).graph_vectors, 0);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	q[4] = NAN;
	CHECK_INT(snapshot_search(s, &everyone, q, K, hit, &got, &e), E_USAGE);
	q[4] = 0;
	CHECK_INT(snapshot_search(s, &(struct reader){ NULL, 1, NULL, 0, NULL, NULL }, q, K, hit, &got, &e), E_USAGE);
	CHECK_OK(snapshot_search(s, &everyone, q, 3, hit, &got, &e), e);
	CHECK(got == 3 && hit[0].chunk_id == 1 && hit[2].chunk_id == 3); /* ties by id */
	snapshot_close(s);
	index_close(x);
}

TEST(search_graph_recall_over_inserts_deletes_and_reload)
{
	char dir[300];
	struct index *x;
	struct index_stats st;
	struct err e;
	uint64_t graph;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	fill(x, "c", 150, 20, 1, NULL);                             /* 3000 vectors */
	CHECK_OK(index_rebuild_wait(x, &e), e);
	st = stats(x);
	CHECK(st.graph_vectors == 3000 && st.tail_vectors == 0 && st.tombstones == 0 && !st.rebuilding);
	CHECK(recall(x, &everyone, 40) >= 0.98);
	fill(x, "c", 20, 20, 100000, NULL);                         /* a tail of 400, under the share of 0.2 */
	for (int i = 0; i < 9; i++) {                               /* and 180 tombstones */
		char id[64];
		snprintf(id, sizeof id, "d%d", 3 + i * 7);
		help_delete(x, id);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);
	st = stats(x);
	CHECK(st.graph_vectors == 3000 && st.tail_vectors == 400 && st.tombstones == 180 && st.chunks == 3220);
	CHECK(recall(x, &everyone, 40) >= 0.98);
	help_check_clean(x);
	index_close(x);
	x = help_open(dir);                                         /* the stored graph and the tail behind it */
	CHECK_OK(index_rebuild_wait(x, &e), e);
	st = stats(x);
	CHECK(st.graph_vectors == 3000 && st.tail_vectors == 400 && st.tombstones == 180);
	CHECK(recall(x, &everyone, 40) >= 0.98);
	fill(x, "c", 10, 20, 200000, NULL);                         /* past the share: extended, tombstones stay */
	CHECK_OK(index_rebuild_wait(x, &e), e);
	st = stats(x);
	graph = st.graph_vectors;
	CHECK(graph == 3600 && st.tail_vectors == 0 && st.tombstones == 180);
	CHECK(recall(x, &everyone, 40) >= 0.98);
	for (int i = 0; i < 40; i++) {
		char id[64];
		snprintf(id, sizeof id, "d%d", 80 + i);
		help_delete(x, id);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);                     /* many dead: built anew without them */
	st = stats(x);
	CHECK(st.graph_vectors < graph && st.graph_vectors - st.tombstones + st.tail_vectors == st.chunks);
	CHECK(recall(x, &everyone, 40) >= 0.98);
	help_check_clean(x);
	index_close(x);
}

TEST(search_gives_k_whenever_k_are_visible)
{
	struct index *x = help_open(test_dir());
	static const char *const staff[] = { "staff" };
	const struct reader in = { "c", 0, staff, 1, NULL, NULL }, out = { "c", 0, NULL, 0, NULL, NULL };
	struct vec_hit hit[K];
	struct err e;
	fill(x, "c", 100, 20, 1, "board");
	fill(x, "c", 1, 12, 70000, "staff");                        /* 12 of 2012 */
	fill(x, "c", 1, 4, 80000, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK(stats(x).graph_vectors >= 2000);
	CHECK(recall(x, &in, 20) == 1.0);
	for (uint64_t i = 0; i < 20; i++) {
		CHECK_INT(search(x, &in, 5000 + i, K, hit), K);
		CHECK_INT(search(x, &out, 5000 + i, K, hit), 4);
		for (int j = 0; j < 4; j++) CHECK(hit[j].chunk_id > 2012);
	}
	index_close(x);
}

TEST(search_keeps_collections_apart)
{
	struct index *x = help_open(test_dir());
	const struct reader b = { "b", 1, NULL, 0, NULL, NULL }, none = { "none", 1, NULL, 0, NULL, NULL };
	struct vec_hit hit[K];
	struct err e;
	fill(x, "c", 30, 10, 1, NULL);
	fill(x, "b", 30, 10, 1, NULL);                              /* the same vectors */
	CHECK_OK(index_rebuild_wait(x, &e), e);
	for (uint64_t i = 0; i < 10; i++) {
		CHECK_INT(search(x, &b, 1 + i, K, hit), K);
		for (int j = 0; j < K; j++) CHECK(hit[j].chunk_id > 300);
		CHECK_INT(search(x, &everyone, 1 + i, K, hit), K);
		for (int j = 0; j < K; j++) CHECK(hit[j].chunk_id <= 300);
		CHECK_INT(search(x, &none, 1 + i, K, hit), 0);
	}
	CHECK_OK(index_drop_collection(x, "c", &e), e);
	CHECK_INT(search(x, &everyone, 1, K, hit), 0);
	CHECK_INT(search(x, &b, 1, K, hit), K);
	help_check_clean(x);
	index_close(x);
}

/* A snapshot goes on seeing its state: what is deleted and rebuilt meanwhile is still found, what is new is not. */
TEST(search_old_snapshot_keeps_its_state)
{
	struct index *x = help_open(test_dir());
	struct vec_hit before[K], after[K];
	struct snapshot *s;
	struct err e;
	float q[DIM];
	size_t n, m;
	fill(x, "c", 40, 10, 1, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_unit(77, q, DIM);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search(s, &everyone, q, K, before, &n, &e), e);
	CHECK(n == K && before[0].score > 0.999f);
	for (int i = 1; i <= 30; i++) {
		char id[64];
		snprintf(id, sizeof id, "d%d", i);
		help_delete(x, id);
	}
	fill(x, "c", 40, 10, 1, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(snapshot_search(s, &everyone, q, K, after, &m, &e), e);
	CHECK(m == n && memcmp(before, after, sizeof before) == 0);
	snapshot_close(s);
	CHECK_INT(search(x, &everyone, 77, K, after), K);
	CHECK(after[0].chunk_id != before[0].chunk_id);
	index_close(x);
}

TEST(search_damaged_graph_is_built_again)
{
	char dir[300];
	struct index *x;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	fill(x, "c", 50, 10, 1, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	index_close(x);
	for (int what = 0; what < 2; what++) {                      /* its header, then its first piece */
		help_damage(dir, T_GRAPH, what, 100 - 40 * (size_t)!what);
		x = help_open(dir);
		CHECK_OK(index_rebuild_wait(x, &e), e);
		CHECK_INT(stats(x).graph_vectors, 500);
		help_check_clean(x);
		CHECK(recall(x, &everyone, 10) >= 0.98);
		index_close(x);
	}
}

TEST(search_other_m_builds_again)
{
	char dir[300];
	struct index_options o;
	struct index *x;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	fill(x, "c", 50, 10, 1, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	index_close(x);
	o = help_options(dir);
	o.hnsw_m = 32;
	CHECK_OK(index_open(&x, &o, &e), e);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK(recall(x, &everyone, 10) >= 0.98);
	help_check_clean(x);
	index_close(x);
}

/* A graph goes again when its collection has become small. */
TEST(search_graph_of_a_small_collection_goes)
{
	struct index *x = help_open(test_dir());
	struct err e;
	fill(x, "c", 30, 10, 1, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_INT(stats(x).graph_vectors, 300);
	for (int i = 1; i <= 20; i++) {
		char id[64];
		snprintf(id, sizeof id, "d%d", i);
		help_delete(x, id);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_INT(stats(x).graph_vectors, 0);
	CHECK_INT(stats(x).tail_vectors, 100);
	CHECK(recall(x, &everyone, 10) == 1.0);
	help_check_clean(x);
	index_close(x);
}

/* No room for the graph: told, its pieces go again, and searches are exact meanwhile. */
TEST(search_graph_without_room)
{
	char dir[300];
	struct index_options o;
	struct vec_hit hit[K];
	struct index *x;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	o = help_options(dir);
	o.map_bytes = 3 << 19;
	o.exact_below = 1000000;
	CHECK_OK(index_open(&x, &o, &e), e);
	fill(x, "c", 150, 20, 1, NULL);
	index_close(x);
	o.exact_below = 200;
	CHECK_OK(index_open(&x, &o, &e), e);
	CHECK_INT(index_rebuild_wait(x, &e), E_FULL);
	CHECK(strstr(e.msg, "data.map_bytes") && strstr(e.msg, "collection c"));
	CHECK_INT(search(x, &everyone, 1, K, hit), K);
	CHECK_INT(stats(x).graph_vectors, 0);
	help_check_clean(x);
	index_close(x);
	o.map_bytes = 16 << 20;
	CHECK_OK(index_open(&x, &o, &e), e);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_INT(stats(x).graph_vectors, 3000);
	help_check_clean(x);
	index_close(x);
}
