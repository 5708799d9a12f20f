/* test_vector.c: search by vector against comparing all: odd dimensions, ties, what memory does not hold yet, readers of a
 * share, deletes; and the tail, which must never hold rows of a commit that failed for those of one that did not. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "index/flat.h"
#include "index/inside.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { K = 10, DIM_TOP = 100 };

static int dim;

static int half;                 /* vectors are added as fp16 */

/* ---- a device of plain loops ---- */

enum { TABLE_BYTES = 4 << 20 };
struct plain_table { size_t len, n; uint8_t bytes[TABLE_BYTES]; }; /* rows: code and scale */
static atomic_size_t tables, asked, told; /* open now; calls of best; of these those that gave all they were asked for */
static size_t fails_from;          /* 1 on: that call of best and later ones fail */
static int fails_with = E_IO;
static atomic_size_t tables_made, sounded; /* ever; calls of ready */
static size_t rows_most = SIZE_MAX;  /* there is no room for more */
static int takes_us;                 /* that best takes longer */
static atomic_int in_best;
static int is_ready = 1;

static int device_ready(void *ctx)
{
	(void)ctx;
	sounded++;
	return is_ready;
}

static int table_open(void *ctx, void **out, size_t len, size_t rows, struct err *e)
{
	struct plain_table *t = mem_calloc(1, sizeof *t);
	(void)ctx;
	(void)e;
	CHECK(rows > 0);
	t->len = len;
	*out = t;
	tables++;
	tables_made++;
	return OK;
}

static int table_add(void *table, const uint8_t *rows, size_t stride, size_t n, struct err *e)
{
	struct plain_table *t = table;
	if (n > rows_most - t->n) return err_set(e, E_MEMORY, "no room");
	for (size_t i = 0; i < n; i++, t->n++) {
		CHECK((t->n + 1) * (t->len + sizeof(float)) <= TABLE_BYTES);
		memcpy(t->bytes + t->n * (t->len + sizeof(float)), rows + i * stride, t->len + sizeof(float));
	}
	return OK;
}

static int table_best(void *table, struct index_scan *q, struct err *e)
{
	const struct plain_table *t = table;
	struct vec_hit hits[INDEX_SCAN_BEST];
	struct topk best = { hits, 0, q->k };
	if (fails_from && asked + 1 >= fails_from) return err_set(e, fails_with, "told to fail");
	asked++;
	in_best++;
	if (takes_us) usleep((useconds_t)takes_us);
	CHECK(q->rows <= t->n && q->k <= INDEX_SCAN_BEST && q->k > 0);
	for (size_t r = 0; r < q->rows; r++) {
		const uint8_t *row = t->bytes + r * (t->len + sizeof(float));
		float scale, near;
		int32_t sum = 0;
		if (q->among && !(q->among[r / 64] >> (r & 63) & 1)) continue;
		for (size_t i = 0; i < t->len; i++) sum += ((int)row[i] - 128) * q->code[i];
		memcpy(&scale, row + t->len, sizeof scale);
		near = (float)((double)q->scale * scale * sum);
		if (topk_wants(&best, near, r)) topk_put(&best, near, r);
	}
	topk_sort(&best);
	q->got = best.n;
	told += best.n == q->k;
	in_best--;
	for (size_t i = 0; i < best.n; i++) q->best[i] = (uint32_t)hits[i].chunk_id, q->near[i] = hits[i].score;
	return OK;
}

static void table_close(void *table)
{
	CHECK_INT(in_best, 0);
	mem_free(table);
	tables--;
}

static const struct index_scanner plain_device = { NULL, 1, device_ready, table_open, table_add, table_best, table_close };
static const struct index_scanner *device;

/* Vector `seed` as the store gives it back. */
static void stored(uint64_t seed, float *v)
{
	help_unit(seed, v, dim);
	for (int i = 0; i < dim && half && dim > 1; i++) v[i] = (float)(_Float16)v[i];
}

static struct index *opened(const char *where, size_t exact_below)
{
	struct index_options o = help_options(where);
	o.half_vectors = half;
	o.scanner = device;
	struct index *x;
	struct err e;
	o.dim = dim;
	o.exact_below = exact_below;
	CHECK_OK(index_open(&x, &o, &e), e);
	return x;
}

/* n documents of two chunks; those whose number divides by 2, 10, 100 are also of those groups. same: of all vectors
 * only so many differ. Chunk ids count from 1 in a fresh store: vector i is chunk i + 1. */
static void add(struct index *x, int from, int n, uint64_t same)
{
	static const char *const names[] = { "all", "half", "tenth", "hundredth" };
	static const int every[] = { 1, 2, 10, 100 };
	struct write *w;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	for (int i = from; i < from + n; i++) {
		struct span all = { 0, 4 };
		struct chunk_in chunks[2] = { { all, "", 0, &all, 1 }, { all, "", 0, &all, 1 } };
		struct doc_in d = { .collection = "c", .title = "", .source = "", .type = "txt", .root = "", .meta = "{}",
			.verdict = DOC_ADDED, .reason = "", .duplicate_of = "", .text = "text", .text_len = 4, .chunks = chunks, .chunk_n = 2 };
		const char *groups[4];
		float v[2 * DIM_TOP];
		char id[64];
		int verdict;
		for (int g = 0; g < 4; g++)
			if (i % every[g] == 0) groups[d.acl_n++] = names[g];
		d.acl = groups;
		for (int j = 0; j < 2; j++) help_unit(((uint64_t)(2 * i + j)) % same + 1, v + j * dim, dim);
		d.vectors = v;
		CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	}
	CHECK_OK(index_write_commit(w, &e), e);
}

/* Share of the k best among `n` vectors that the search finds; every: only documents whose number divides by it. All of
 * them, in their order and with their scores, when exact. */
static double found(struct index *x, const char *group, int every, int n, uint64_t same, int exact)
{
	const struct reader r = { .collection = "c", .all_groups = group == NULL, .groups = &group, .group_n = group != NULL };
	size_t hits = 0, all = 0;
	for (uint64_t i = 0; i < 30; i++) {
		struct vec_hit want[K], got[K];
		struct topk t = { want, 0, K };
		struct snapshot *s;
		struct err e;
		float q[DIM_TOP], v[DIM_TOP];
		size_t m;
		help_unit(500000 + i, q, dim);
		for (int j = 0; j < n; j++) {
			float score;
			if (j / 2 % every) continue;
			stored((uint64_t)j % same + 1, v);
			score = flat_dot(q, v, (size_t)dim);
			if (topk_wants(&t, score, (uint64_t)j + 1)) topk_put(&t, score, (uint64_t)j + 1);
		}
		topk_sort(&t);
		CHECK_OK(snapshot_open(&s, x, &e), e);
		CHECK_OK(snapshot_search(s, &r, q, K, got, &m, &e), e);
		snapshot_close(s);
		CHECK_INT(m, t.n);
		for (size_t a = 0; a < m; a++) {
			CHECK(every == 1 || (got[a].chunk_id - 1) / 2 % (uint64_t)every == 0);
			if (exact)
				CHECK_MSG(got[a].chunk_id == want[a].chunk_id && got[a].score == want[a].score,
					"dim %d, %s, hit %zu: chunk %d with %.9g, not %d with %.9g", dim, group ? group : "everyone", a,
					(int)got[a].chunk_id, (double)got[a].score, (int)want[a].chunk_id, (double)want[a].score);
			for (size_t b = 0; b < m; b++) hits += got[a].chunk_id == want[b].chunk_id;
		}
		all += t.n;
	}
	return (double)hits / (double)all;
}

/* By codes, in the store, and by both at once, the answer is that of comparing all, bit for bit. */
static void exact_is_exact(void)
{
	static const int dims[] = { 1, 2, 33, 64, 100 };
	char where[300];
	for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
		struct index *x;
		struct err e;
		dim = dims[d];
		snprintf(where, sizeof where, "%s", test_dir());
		x = opened(where, SIZE_MAX);
		add(x, 0, 300, 1 << 20);
		CHECK(found(x, NULL, 1, 600, 1 << 20, 1) == 1);      /* perhaps in the store still */
		CHECK_OK(index_rebuild_wait(x, &e), e);
		CHECK(vec_set_find(x->vecs, 1, 1) != NULL);
		add(x, 300, 900, 1 << 20);                           /* more than a block of the tail */
		CHECK_INT(atomic_load(&vec_set_find(x->vecs, 1, 1)->tail->n), 2400);
		CHECK(found(x, NULL, 1, 2400, 1 << 20, 1) == 1);
		CHECK(found(x, "half", 2, 2400, 1 << 20, 1) == 1);
		CHECK(found(x, "hundredth", 100, 2400, 1 << 20, 1) == 1);
		atomic_store(&vec_set_find(x->vecs, 1, 1)->tail->end, 1001); /* as after memory ran out: the rest is in the store */
		CHECK(found(x, NULL, 1, 2400, 1 << 20, 1) == 1);
		CHECK_OK(index_rebuild_wait(x, &e), e);              /* and it is made good */
		CHECK(atomic_load(&vec_set_find(x->vecs, 1, 1)->tail->end) == UINT64_MAX);
		CHECK(found(x, "tenth", 10, 2400, 1 << 20, 1) == 1);
		index_close(x);
	}
}

TEST(vector_exact_is_exact)
{
	exact_is_exact();
}

/* What is stored is the truth: the answer is that of comparing the halves, bit for bit. */
TEST(vector_exact_is_exact_over_halves)
{
	half = 1;
	exact_is_exact();
	half = 0;
}

/* A store may hold both: what a setting changed later finds is what was there. */
TEST(vector_floats_and_halves_in_one_store)
{
	struct index *x;
	struct snapshot *s;
	struct err e;
	char where[300];
	float v[2][DIM_TOP], want[DIM_TOP];
	dim = 33;
	snprintf(where, sizeof where, "%s", test_dir());
	x = opened(where, SIZE_MAX);
	add(x, 0, 1, 1 << 20);
	index_close(x);
	half = 1;
	x = opened(where, SIZE_MAX);
	add(x, 1, 300, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_vector(s, 1, v[0], &e), e);
	CHECK_OK(snapshot_vector(s, 3, v[1], &e), e);
	snapshot_close(s);
	help_unit(1, want, dim);
	CHECK(memcmp(v[0], want, (size_t)dim * 4) == 0);
	stored(3, want);
	CHECK(memcmp(v[1], want, (size_t)dim * 4) == 0);
	help_check_clean(x);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	index_close(x);
	half = 0;
}

TEST(vector_too_large_for_a_half)
{
	struct chunk_in chunk = { { 0, 4 }, "", 0, NULL, 0 };
	float v[33] = { 0 };
	struct doc_in d = { .collection = "c", .title = "", .source = "", .type = "txt", .root = "", .meta = "{}",
		.verdict = DOC_ADDED, .reason = "", .duplicate_of = "", .text = "text", .text_len = 4, .chunks = &chunk, .chunk_n = 1,
		.vectors = v };
	struct index *x;
	struct write *w;
	struct err e;
	char id[64];
	int verdict;
	dim = 33;
	half = 1;
	x = opened(test_dir(), SIZE_MAX);
	for (int i = 0; i < 2; i++) {
		v[7] = i ? NAN : 65505;
		CHECK_OK(index_write_begin(&w, x, &e), e);
		CHECK_INT(index_put(w, &d, id, &verdict, &e), E_USAGE);
		CHECK(strstr(e.msg, "component 7") && strstr(e.msg, i ? "not a number" : "f16"));
		index_write_abort(w);
	}
	v[7] = -65504;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	help_check_clean(x);
	index_close(x);
	half = 0;
}

TEST(vector_exact_breaks_ties_by_chunk)
{
	struct index *x;
	struct err e;
	dim = 20;
	x = opened(test_dir(), SIZE_MAX);
	add(x, 0, 400, 37);                                          /* each vector some twenty times */
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK(found(x, NULL, 1, 800, 37, 1) == 1);
	CHECK(found(x, "half", 2, 800, 37, 1) == 1);
	index_close(x);
}

/* The same with a device, which is asked every time something is in memory. */
TEST(vector_exact_by_a_device)
{
	device = &plain_device;
	exact_is_exact();
	CHECK_MSG(asked > 5 * 30 * 5 && told > asked / 2, "%zu calls, %zu of them with more left", asked, told);
	CHECK_INT(tables, 0);
}

/* A graph's rows: none is missed, where a walk would miss some; with a tail beside, and few that are seen. */
TEST(vector_graph_by_a_device)
{
	const struct index_scanner large = { NULL, 2000, device_ready, table_open, table_add, table_best, table_close };
	struct index *x;
	struct err e;
	dim = 16;
	device = &large;
	x = opened(test_dir(), 100);
	add(x, 0, 3000, 1 << 20);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK(vec_set_find(x->vecs, 1, 1)->graph->vectors == 6000);
	CHECK(found(x, NULL, 1, 6000, 1 << 20, 1) == 1);
	CHECK_INT(asked, 30);
	CHECK(found(x, "half", 2, 6000, 1 << 20, 1) == 1);
	CHECK_INT(asked, 60);
	CHECK(found(x, "tenth", 10, 6000, 1 << 20, 1) == 1); /* 600 rows: the CPU's */
	CHECK_INT(asked, 60);
	add(x, 3000, 200, 1 << 20);                                  /* a tail beside it */
	CHECK(found(x, NULL, 1, 6400, 1 << 20, 1) == 1);
	CHECK_INT(asked, 90);
	is_ready = 0;                                                /* the CPU walks the graph */
	CHECK(found(x, NULL, 1, 6400, 1 << 20, 0) > 0.9);
	CHECK_INT(asked, 90);
	index_close(x);
	CHECK_INT(tables, 0);
}

/* A device that costs to open is not asked whether it is there while searches are small, nor by any that it could not serve. */
TEST(vector_device_is_left_alone_by_small_searches)
{
	const struct index_scanner large = { NULL, 2000, device_ready, table_open, table_add, table_best, table_close };
	struct vec_hit hits[INDEX_SCAN_BEST];
	float q[DIM_TOP];
	struct snapshot *s;
	struct index *x;
	struct err e;
	size_t got;
	dim = 16;
	device = &large;
	x = opened(test_dir(), 100);
	add(x, 0, 900, 1 << 20);
	CHECK(found(x, NULL, 1, 1800, 1 << 20, 1) == 1);             /* a tail */
	CHECK_OK(index_rebuild_wait(x, &e), e);
	found(x, NULL, 1, 1800, 1 << 20, 0);                         /* a graph */
	CHECK(found(x, "half", 2, 1800, 1 << 20, 0) > 0.9);
	add(x, 900, 200, 1 << 20);
	CHECK(found(x, "tenth", 10, 2200, 1 << 20, 1) == 1);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_unit(3, q, dim);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search(s, &everyone, q, INDEX_SCAN_BEST, hits, &got, &e), e);
	snapshot_close(s);
	CHECK_INT(got, INDEX_SCAN_BEST);
	CHECK(sounded == 0 && tables_made == 0);
	index_close(x);
}

static void *search_much(void *x)
{
	CHECK(found(x, NULL, 1, 3000, 1 << 20, 1) == 1);
	return NULL;
}

/* What a device has no room for it is not asked again, and what that had taken is given back, though several ask. */
TEST(vector_device_without_room)
{
	const char *where = test_dir();
	pthread_t threads[3];
	struct index *x;
	struct err e;
	dim = 20;
	device = &plain_device;
	fails_with = E_MEMORY;
	x = opened(where, SIZE_MAX);
	add(x, 0, 1500, 1 << 20);
	CHECK(found(x, NULL, 1, 3000, 1 << 20, 1) == 1);
	CHECK_INT(tables, 1);
	fails_from = asked + 20;
	takes_us = 1000;
	for (int i = 0; i < 3; i++) CHECK_INT(pthread_create(&threads[i], NULL, search_much, x), 0);
	for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
	CHECK(tables == 0 && tables_made == 1);                      /* given back while the index is open */
	index_close(x);
	fails_from = 0;
	rows_most = 2999;
	x = opened(where, 100);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK(found(x, NULL, 1, 3000, 1 << 20, 0) > 0.9);            /* a graph, a row more than there is room for */
	CHECK(tables == 0 && tables_made == 2);
	index_close(x);
}

/* What it cannot tell for equals, and what it fails at, the CPU finds. */
TEST(vector_device_that_is_of_no_use)
{
	struct index *x;
	struct err e;
	dim = 20;
	device = &plain_device;
	x = opened(test_dir(), SIZE_MAX);
	add(x, 0, 3000, 7);                                          /* of more equals than it is asked for */
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK(found(x, NULL, 1, 6000, 7, 1) == 1);
	CHECK(found(x, "half", 2, 6000, 7, 1) == 1);
	CHECK_INT(asked, 60);
	fails_from = asked + 11;
	CHECK(found(x, NULL, 1, 6000, 7, 1) == 1);
	CHECK_INT(asked, 70);
	fails_from = 0;
	CHECK(found(x, NULL, 1, 6000, 7, 1) == 1);                   /* it is not asked again */
	CHECK_INT(asked, 70);
	index_close(x);
	CHECK_INT(tables, 0);
}

/* Large enough that everyone's and the half's searches walk, and the rest do not pay. */
TEST(vector_readers_of_a_share)
{
	struct index *x;
	struct err e;
	dim = 16;
	x = opened(test_dir(), 100);
	add(x, 0, 6000, 1 << 20);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK(vec_set_find(x->vecs, 1, 1)->graph->vectors == 12000);
	CHECK(found(x, NULL, 1, 12000, 1 << 20, 0) >= 0.98);
	CHECK(found(x, "half", 2, 12000, 1 << 20, 0) >= 0.99);
	CHECK(found(x, "tenth", 10, 12000, 1 << 20, 0) >= 0.99);
	CHECK(found(x, "hundredth", 100, 12000, 1 << 20, 0) >= 0.99);
	add(x, 6000, 300, 1 << 20);                                  /* a tail beside the graph */
	CHECK(found(x, NULL, 1, 12600, 1 << 20, 0) >= 0.98);
	CHECK(found(x, "half", 2, 12600, 1 << 20, 0) >= 0.99);
	CHECK(found(x, "tenth", 10, 12600, 1 << 20, 0) >= 0.99);
	index_close(x);
}

/* A small collection that is replaced over and over does not keep its dead in memory. */
TEST(vector_tail_forgets_the_dead)
{
	struct index *x = help_open(test_dir());
	struct err e;
	for (int i = 0; i < 60; i++) help_add(x, "c", "doc", "doc", (uint64_t)i * 100, 100, NULL, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK(atomic_load(&vec_set_find(x->vecs, 1, 1)->tail->n) <= 2 * (100 + TAIL_FIRST) + 100);
	index_close(x);
}

static void row_put(struct txn *t, uint64_t chunk, uint64_t seed)
{
	uint8_t *place;
	struct key k;
	struct err e;
	float v[DIM];
	help_unit(seed, v, DIM);
	key_vec(&k, 7, chunk);
	CHECK_OK(store_reserve(t, T_VEC, &k, rec_vec_size(DIM, VEC_F32), &place, &e), e);
	rec_vec_fill(place, &k, v, DIM, VEC_F32);
}

TEST(tail_closes_after_a_commit_that_failed)
{
	struct tail *tail = tail_new(T_VEC, 7, DIM, 4);
	struct store *s;
	struct txn *t;
	struct err e;
	CHECK(tail);
	CHECK_OK(store_open(&s, test_dir(), 8 << 20, 10, 0, &e), e);
	CHECK_OK(txn_begin(&t, s, 1, &e), e);
	for (uint64_t i = 3; i < 10; i++) row_put(t, i, i);
	tail_add(tail, t, 3);                                        /* 3 and 4 are not its own */
	CHECK(atomic_load(&tail->n) == 5 && tail->last == 9);
	CHECK_OK(txn_commit(t, &e), e);
	CHECK_OK(txn_begin(&t, s, 1, &e), e);
	row_put(t, 10, 10);
	tail_add(tail, t, 10);
	CHECK(atomic_load(&tail->n) == 6 && atomic_load(&tail->end) == UINT64_MAX);
	txn_abort(t);                                                /* the id is given again */
	CHECK_OK(txn_begin(&t, s, 1, &e), e);
	row_put(t, 10, 11);
	tail_add(tail, t, 10);
	CHECK(atomic_load(&tail->n) == 6 && atomic_load(&tail->end) == 10);
	row_put(t, 11, 11);
	tail_add(tail, t, 11);
	CHECK(atomic_load(&tail->n) == 6);
	CHECK_OK(txn_commit(t, &e), e);
	tail_put(tail);
	store_close(s);
}

TEST(rowpick_runs_and_rows)
{
	uint64_t ids[500];
	uint32_t rows[7];
	for (uint32_t seed = 1; seed < 60; seed++) {
		struct chunk_run runs[80];
		struct visible v = { .runs = runs };
		struct row_pick p;
		uint64_t at = 1, s = seed;
		struct { struct row_mask m; uint64_t bits[9]; } mask = { 0 };
		size_t some, n = seed * 8, next = 0, marked = 0;
		for (size_t i = 0; i < n; i++) ids[i] = seed % 2 ? i * 3 + 5 : i + 5 + i / 20;
		while (v.n < seed && v.n < 80) {
			s = s * 6364136223846793005u + 1442695040888963407u;
			at += 1 + (s >> 60);
			runs[v.n++] = (struct chunk_run){ at, 1 + (s >> 33) % 30 };
			at += runs[v.n - 1].n;
		}
		row_pick_init(&p, ids, n, &v);
		while ((some = row_pick_next(&p, rows, 7)))
			for (size_t i = 0; i < some; i++) {
				for (size_t run; next < rows[i]; next++) {   /* those left out are in no run */
					run = 0;
					CHECK(!visible_has(&v, &run, ids[next]));
				}
				size_t run = 0;
				CHECK(next == rows[i] && visible_has(&v, &run, ids[next]));
				mask.m.bits[next / 64] |= (uint64_t)1 << (next & 63);
				next++;
				marked++;
			}
		for (; next < n; next++) {
			size_t run = 0;
			CHECK(!visible_has(&v, &run, ids[next]));
		}
		row_pick_masked(&p, &mask.m, n);
		for (next = 0; (some = row_pick_next(&p, rows, 7)); marked -= some)
			for (size_t i = 0; i < some; i++, next++) {
				CHECK(next <= rows[i] && mask.m.bits[rows[i] / 64] >> (rows[i] & 63) & 1);
				next = rows[i];
			}
		CHECK(marked == 0);
	}
}
