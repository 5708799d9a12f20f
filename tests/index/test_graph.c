/* test_graph.c: the graph in memory: what its walk finds against all, its stored form and bytes that do not fit, links
 * put back and grown. */
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"
#include "index/flat.h"
#include "index/graph.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { N = 2000, M = 8, K = 10, QUERIES = 40 };

/* Adds vectors [from, to) to both. */
static void grow(struct graph *g, struct faissx *fx, int dim, int from, int to)
{
	float *x = mem_calloc((size_t)(to - from), (size_t)dim * sizeof *x);
	struct err e;
	CHECK(x);
	for (int i = from; i < to; i++) {
		help_unit((uint64_t)i + 1, x + (size_t)(i - from) * (size_t)dim, dim);
		CHECK_OK(graph_row_add(g, 10 + 2 * (uint64_t)i, x + (size_t)(i - from) * (size_t)dim), e);
	}
	CHECK_OK(faissx_add(fx, (size_t)(to - from), x, 1, &e), e);
	CHECK_OK(graph_link(g, fx, &e), e);
	mem_free(x);
}

static struct graph *make(int dim, int n)
{
	struct graph *g = graph_new(3, (uint32_t)dim, M, (size_t)n);
	struct faissx *fx;
	struct err e;
	CHECK(g);
	CHECK_OK(faissx_new(&fx, g->rows, g->stride, dim, M, 60, &e), e);
	if (n) grow(g, fx, dim, 0, n);
	else CHECK_OK(graph_link(g, fx, &e), e);
	faissx_free(fx);
	return g;
}

/* Share of the true k best among the ef the walk finds. */
static double recall(struct graph *g, int dim, size_t ef)
{
	size_t found = 0;
	for (uint64_t i = 0; i < QUERIES; i++) {
		struct vec_hit hit[K];
		struct topk t = { hit, 0, K };
		struct code8_query q;
		struct err e;
		float x[256], y[256], near[400];
		uint32_t rows[400];
		size_t got;
		help_unit(700000 + i, x, dim);
		for (size_t j = 0; j < g->vectors; j++) {
			float s;
			help_unit(j + 1, y, dim);
			s = flat_dot(x, y, (size_t)dim);
			if (topk_wants(&t, s, j)) topk_put(&t, s, j);
		}
		CHECK_OK(code8_query_init(&q, x, (uint32_t)dim, &e), e);
		CHECK_OK(graph_walk(g, &q, ef, rows, near, &got, &e), e);
		code8_query_clear(&q);
		CHECK(got <= ef && got >= K);
		for (size_t a = 0; a < got; a++) {
			CHECK(a == 0 || near[a] <= near[a - 1]);
			for (size_t b = 0; b < a; b++) CHECK(rows[a] != rows[b]);
			for (size_t b = 0; b < K; b++) found += rows[a] == hit[b].chunk_id;
		}
	}
	return (double)found / (K * QUERIES);
}

TEST(graph_walk_finds_the_nearest)
{
	static const int dims[] = { 5, 32, 33, 100 };
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
		struct graph *g = make(dims[i], N);
		CHECK(recall(g, dims[i], 200) >= 0.98);
		CHECK_INT(g->ids[5], 20);
		graph_put(g);
	}
}

TEST(graph_small_ones)
{
	for (int n = 0; n <= 3; n++) {
		struct graph *g = make(32, n);
		struct code8_query q;
		struct err e;
		float x[32], near[5];
		uint32_t rows[5];
		size_t got;
		help_unit(2, x, 32);
		CHECK_OK(code8_query_init(&q, x, 32, &e), e);
		CHECK_OK(graph_walk(g, &q, 5, rows, near, &got, &e), e);
		code8_query_clear(&q);
		CHECK_INT(got, n);
		if (n >= 2) CHECK(rows[0] == 1 && near[0] > 0.98f);
		graph_put(g);
	}
}

static char *stored(const struct graph *g, size_t *n)
{
	char *p = NULL;
	FILE *f = open_memstream(&p, n);
	struct err e;
	CHECK(f);
	CHECK_OK(graph_write(g, f, &e), e);
	fclose(f);
	return p;
}

static int reread(struct graph **out, char *p, size_t n, uint64_t vectors, uint32_t m, struct err *e)
{
	FILE *f = fmemopen(p, n, "rb");
	int rc;
	CHECK(f);
	rc = graph_read(out, f, 3, 32, m, vectors, n, e);
	fclose(f);
	return rc;
}

TEST(graph_stored_form)
{
	struct graph *g = make(32, N), *back;
	struct err e;
	size_t n;
	char *p = stored(g, &n), *copy = mem_alloc(n);
	CHECK(copy);
	CHECK_OK(reread(&back, p, n, N, M, &e), e);
	CHECK(back->vectors == N && back->entry == g->entry && back->levels == g->levels && g->levels > 0);
	CHECK(memcmp(back->ids, g->ids, N * sizeof *g->ids) == 0);
	CHECK(recall(back, 32, 200) == recall(g, 32, 200));
	graph_put(back);
	CHECK_INT(reread(&back, p, n, N + 1, M, &e), E_CORRUPT);
	CHECK_INT(reread(&back, p, n, N, M + 4, &e), E_CORRUPT);
	CHECK_INT(reread(&back, p, n, UINT64_MAX, M, &e), E_CORRUPT);
	CHECK_INT(reread(&back, p, n - 4, N, M, &e), E_CORRUPT);
	/* Bytes that lead elsewhere are either refused or still a graph whose walk stays inside (the sanitizers look). */
	for (size_t i = 0; i < 400; i++) {
		size_t at = i < 40 ? i : i < 100 ? n - 4 * (i - 39) : (i * 7919) % n;
		memcpy(copy, p, n);
		copy[at] ^= (char)(1 << i % 8);
		if (reread(&back, copy, n, N, M, &e)) continue;
		for (uint64_t s = 0; s < 3; s++) {
			struct code8_query q;
			float x[32], near[20];
			uint32_t rows[20];
			size_t got;
			help_unit(s, x, 32);
			CHECK_OK(code8_query_init(&q, x, 32, &e), e);
			CHECK_OK(graph_walk(back, &q, 20, rows, near, &got, &e), e);
			for (size_t k = 0; k < got; k++) CHECK(rows[k] < N);
			code8_query_clear(&q);
		}
		graph_put(back);
	}
	mem_free(copy);
	free(p);
	graph_put(g);
}

TEST(graph_put_back_and_grown)
{
	struct graph *g = make(32, N / 2), *grown = graph_new(3, 32, M, N), *again = graph_new(3, 32, M, N / 2);
	struct faissx *fx;
	struct err e;
	int *levels;
	int32_t *neighbors, entry;
	float x[32];
	CHECK(grown && again);
	for (int i = 0; i < N / 2; i++) {
		CHECK_OK(graph_row_copy(grown, g, (size_t)i), e);
		CHECK_OK(graph_row_copy(again, g, (size_t)i), e);
	}
	CHECK_OK(faissx_new(&fx, grown->rows, grown->stride, 32, M, 60, &e), e);
	CHECK_OK(graph_unlink(g, &levels, &neighbors, &entry, &e), e);
	CHECK_OK(faissx_restore(fx, N / 2, levels, neighbors, entry, &e), e);
	CHECK_INT(faissx_restore(fx, N / 2, levels, neighbors, entry, &e), E_BUG);     /* into a new one alone */
	CHECK_OK(graph_link(again, fx, &e), e);                     /* nothing was lost on the way */
	CHECK(again->levels == g->levels && again->entry == g->entry && again->link_n == g->link_n);
	CHECK(memcmp(again->rows, g->rows, g->vectors * g->stride) == 0);
	CHECK(memcmp(again->links, g->links, g->link_n * sizeof *g->links) == 0);
	grow(grown, fx, 32, N / 2, N);
	CHECK(recall(grown, 32, 200) >= 0.98);
	help_unit(1, x, 32);
	CHECK_INT(graph_row_add(grown, UINT64_MAX, x), E_LIMIT);
	faissx_free(fx);
	mem_free(levels);
	mem_free(neighbors);
	graph_put(g);
	graph_put(grown);
	graph_put(again);
}
