/* help.c: see help.h. Threads: any. */
#include "tests/index/help.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/test.h"

const struct reader everyone = { "c", 1, NULL, 0, NULL, NULL };

struct index_options help_options(const char *dir)
{
	return (struct index_options){ .dir = dir, .map_bytes = (size_t)256 << 20, .dim = DIM, .embedder = "test-embedder",
		.ivf_probes = 64, .ivf_rerank = 100,
		.hnsw_m = 16, .hnsw_ef_construction = 200, .hnsw_ef_search = 100, .exact_below = 200, .rebuild_share = 0.2,
		.readers_max = 64, .bm25_k1 = 1.2, .bm25_b = 0.75, .query_terms_max = 64, .similar_max = 10, .words_bytes = 1 << 28,
		.phrase_max = 1000, .sync = 0 };
}

struct index *help_open(const char *dir)
{
	struct index_options o = help_options(dir);
	struct index *x;
	struct err e;
	CHECK_OK(index_open(&x, &o, &e), e);
	return x;
}

void help_unit(uint64_t seed, float *out, int dim)
{
	uint64_t s = seed * 0x9e3779b97f4a7c15u + 0x1234567;
	double sum = 0;
	for (int i = 0; i < dim; i++) {
		double u = 0;
		for (int j = 0; j < 4; j++) { /* four uniform numbers make a bell good enough */
			s ^= s << 13, s ^= s >> 7, s ^= s << 17;
			u += (double)(s >> 11) / (double)(1ull << 53) - 0.5;
		}
		out[i] = (float)u;
		sum += u * u;
	}
	for (int i = 0; i < dim; i++) out[i] = (float)(out[i] / sqrt(sum));
}

int help_put(struct write *w, const char *coll, const char *name, const char *source, uint64_t seed, int n,
	const char *acl, char id[64])
{
	struct chunk_in *chunks = mem_calloc((size_t)n + 1, sizeof *chunks);
	struct span *spans = mem_calloc((size_t)n + 1, sizeof *spans);
	float *vectors = mem_calloc((size_t)n + 1, DIM * sizeof *vectors);
	struct doc_in d = { .collection = coll, .title = name, .source = source ? source : "", .type = "txt", .root = "",
		.meta = "{}", .verdict = DOC_ADDED, .reason = "", .duplicate_of = "", .acl = &acl, .acl_n = acl != NULL, .source_mtime_ns = source && *source == '/' };
	struct buf text;
	struct err e;
	char made[64];
	int verdict;
	CHECK(chunks && spans && vectors);
	buf_init(&text, 1 << 26);
	for (int i = 0; i < n; i++) {
		spans[i].off = (uint32_t)text.len;
		CHECK(buf_printf(&text, "Sentence %d of %s. ", i, name) == OK);
		spans[i].len = (uint32_t)text.len - 1 - spans[i].off;
		chunks[i] = (struct chunk_in){ spans[i], "A > B", 1, &spans[i], 1 };
		help_unit(seed + (uint64_t)i, vectors + (size_t)i * DIM, DIM);
	}
	sha256_of(buf_cstr(&text), text.len, d.hash);
	d.bytes = text.len;
	d.text = text.data, d.text_len = text.len;
	d.chunks = chunks, d.chunk_n = (size_t)n, d.vectors = vectors;
	CHECK_OK(index_put(w, &d, made, &verdict, &e), e);
	if (id) memcpy(id, made, sizeof made);
	buf_clear(&text);
	mem_free(chunks);
	mem_free(spans);
	mem_free(vectors);
	return verdict;
}

int help_add(struct index *x, const char *coll, const char *name, const char *source, uint64_t seed, int n,
	const char *acl, char id[64])
{
	struct write *w;
	struct err e;
	int verdict;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	verdict = help_put(w, coll, name, source, seed, n, acl, id);
	CHECK_OK(index_write_commit(w, &e), e);
	return verdict;
}

void help_delete(struct index *x, const char *id)
{
	struct write *w;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_delete(w, id, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
}

static void print_problem(void *ctx, const char *what)
{
	if (ctx) fprintf(stderr, "  problem: %s\n", what);
}

void help_check_clean(struct index *x)
{
	struct err e;
	uint64_t n;
	CHECK_OK(index_check(x, print_problem, x, &n, &e), e);
	CHECK_INT(n, 0);
}

uint64_t help_problems(struct index *x)
{
	struct err e;
	uint64_t n;
	CHECK_OK(index_check(x, print_problem, NULL, &n, &e), e);
	return n;
}

void help_damage(const char *dir, enum table table, int nth, size_t at)
{
	struct store *st;
	struct txn *t;
	struct cursor c;
	struct slice key, value;
	struct key k;
	struct err e;
	uint8_t *copy;
	CHECK_OK(store_open(&st, dir, 64 << 20, 10, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	CHECK_OK(cursor_open(&c, t, table, &e), e);
	CHECK_OK(cursor_seek(&c, NULL, &key, &value, &e), e);
	while (nth--) CHECK_OK(cursor_next(&c, &key, &value, &e), e);
	copy = mem_alloc(value.n);
	CHECK(copy && at < value.n);
	memcpy(copy, value.p, value.n);
	copy[at] ^= 0x10;
	memcpy(k.b, key.p, key.n), k.n = key.n;
	cursor_close(&c);
	CHECK_OK(store_put(t, table, &k, copy, value.n, &e), e);
	CHECK_OK(txn_commit(t, &e), e);
	mem_free(copy);
	store_close(st);
}

void help_in_child(const char *fault, void (*fn)(void))
{
	int status;
	pid_t pid;
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		setenv("FOOTNOTE_FAULT", fault, 1);
		fn();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
