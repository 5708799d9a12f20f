/* test_scan.c: tables on the GPU under test against a plain loop: rows that come in pieces, several tables, tables of several blocks, a
 * choice of rows, many who ask at once; and what does not fit. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/mem.h"
#include "embed/scan.h"
#include "nn/gpu.h"
#include "tests/test.h"

enum { LEN = 64, STRIDE = LEN + 12, ROWS = 1500, K = 5, K_MOST = 10, ASK = 12 };
static struct err e;
static uint8_t rows[ROWS * STRIDE];
static struct scan_table *table;

static void rows_make(void)
{
	uint32_t seed = 7;
	for (size_t r = 0; r < ROWS; r++) {
		float scale = 0.001f * (float)(1 + r % 17);
		for (size_t i = 0; i < LEN; i++) {
			seed = seed * 1664525u + 1013904223u;
			rows[r * STRIDE + i] = (uint8_t)(1 + (seed >> 9) % 255);
		}
		memcpy(rows + r * STRIDE + LEN, &scale, sizeof scale);
	}
}

static void code_make(size_t number, int8_t *code)
{
	uint32_t seed = (uint32_t)number * 977u + 1;
	for (size_t i = 0; i < LEN; i++) {
		seed = seed * 1664525u + 1013904223u;
		code[i] = (int8_t)((int)((seed >> 9) % 255) - 127);
	}
}

static float product(const int8_t *code, float by, size_t r)
{
	float scale;
	int32_t sum = 0;
	for (size_t i = 0; i < LEN; i++) sum += ((int)rows[r * STRIDE + i] - 128) * code[i];
	memcpy(&scale, rows + r * STRIDE + LEN, sizeof scale);
	return (float)((double)by * (double)scale * sum);
}

/* What the table tells of its first n rows, from row `from` of ours on, is what a loop over them finds. */
static void best_check(struct scan_table *t, size_t number, size_t from, size_t n, size_t k, const uint64_t *among)
{
	int8_t code[LEN];
	uint32_t best[K_MOST];
	float near[K_MOST];
	char used[ROWS] = {0};
	struct scan_query q = {.code = code, .scale = 0.02f, .among = among, .rows = n, .k = k, .best = best, .near = near};
	size_t want = 0;
	code_make(number, code);
	CHECK_OK(scan_table_best(t, &q, &e), e);
	for (size_t i = 0; i < k; i++) {
		size_t top = ROWS;
		for (size_t r = 0; r < n; r++)
			if (!used[r] && (!among || among[r / 64] >> (r & 63) & 1) &&
				(top == ROWS || product(code, 0.02f, from + r) > product(code, 0.02f, from + top))) top = r;
		if (top == ROWS) break;
		used[top] = 1;
		want++;
		CHECK_MSG(i < q.got && best[i] == top && near[i] == product(code, 0.02f, from + top), "query %zu, hit %zu: row %u, want %zu",
			number, i, i < q.got ? best[i] : 0, top);
	}
	CHECK_INT(q.got, want);
}

TEST(scan_tables_tell_the_best)
{
	struct scan *s;
	struct scan_table *a, *b;
	uint64_t among[ROWS / 64 + 1] = {0};
	rows_make();
	CHECK_OK(scan_open(&s, "cuda", test_gpu(), &e), e);
	CHECK_OK(scan_table_open(&a, s, LEN, 0, &e), e);
	CHECK_OK(scan_table_open(&b, s, LEN, ROWS, &e), e);
	best_check(a, 1, 0, 0, K, NULL);
	CHECK_OK(scan_table_add(a, rows, STRIDE, 300, &e), e);
	best_check(a, 2, 0, 300, K, NULL);
	CHECK_OK(scan_table_add(b, rows + 900 * STRIDE, STRIDE, 600, &e), e);
	CHECK_OK(scan_table_add(a, rows + 300 * STRIDE, STRIDE, 600, &e), e);
	best_check(a, 3, 0, 900, K, NULL);
	best_check(a, 4, 0, 301, K, NULL);
	best_check(b, 5, 900, 600, K, NULL);
	among[0] = 0x810;
	among[13] = 1;
	best_check(a, 6, 0, 900, K, among);
	scan_table_close(a);
	best_check(b, 7, 900, 600, K, NULL);
	CHECK_INT(scan_table_open(&a, s, LEN + 1, 0, &e), E_UNSUPPORTED);
	scan_table_close(b);
	scan_close(s);
}

static void *ask(void *of)
{
	for (size_t i = 0; i < ASK; i++) best_check(table, (size_t)(uintptr_t)of * ASK + i, 0, ROWS - (i % 4 == 0), K, NULL);
	return NULL;
}

TEST(scan_many_ask_at_once)
{
	pthread_t threads[8];
	struct scan *s;
	rows_make();
	CHECK_OK(scan_open(&s, "auto", test_gpu(), &e), e);
	CHECK(scan_ready(s));
	CHECK_OK(scan_table_open(&table, s, LEN, 0, &e), e);
	CHECK_OK(scan_table_add(table, rows, STRIDE, ROWS, &e), e);
	for (size_t i = 0; i < 8; i++) CHECK_INT(pthread_create(&threads[i], NULL, ask, (void *)i), 0);
	for (size_t i = 0; i < 8; i++) pthread_join(threads[i], NULL);
	scan_table_close(table);
	scan_close(s);
}

/* ---- tables of several blocks ---- */

enum { MANY = 3 * 16384 + 777, MOST = SCAN_BEST };
static uint8_t *many;

/* Few different rows, so that equals lie in all blocks; some are no numbers. */
static void many_make(void)
{
	rows_make();
	many = mem_alloc((size_t)MANY * STRIDE);
	for (size_t r = 0; r < MANY; r++) {
		memcpy(many + r * STRIDE, rows + r * 7 % ROWS * STRIDE, STRIDE);
		if (r % 9973 == 9000) memset(many + r * STRIDE + LEN, 0xff, sizeof(float));
	}
}

static float many_product(const int8_t *code, size_t r)
{
	float scale;
	int32_t sum = 0;
	for (size_t i = 0; i < LEN; i++) sum += ((int)many[r * STRIDE + i] - 128) * code[i];
	memcpy(&scale, many + r * STRIDE + LEN, sizeof scale);
	return (float)((double)0.02f * (double)scale * sum);
}

struct found { size_t row; float near; };

static int found_order(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	int odd = !!isnan(y->near) - !!isnan(x->near);
	if (odd || x->near == y->near || isnan(x->near)) return odd ? odd : x->row < y->row ? -1 : 1;
	return x->near > y->near ? -1 : 1;
}

static void many_check(size_t number, size_t n, size_t k, const uint64_t *among)
{
	int8_t code[LEN];
	uint32_t best[MOST];
	float near[MOST];
	struct found *want = mem_alloc(MANY * sizeof *want);
	struct scan_query q = {.code = code, .scale = 0.02f, .among = among, .rows = n, .k = k, .best = best, .near = near};
	size_t all = 0;
	code_make(number, code);
	CHECK_OK(scan_table_best(table, &q, &e), e);
	for (size_t r = 0; r < n; r++)
		if (!among || among[r / 64] >> (r & 63) & 1) want[all++] = (struct found){r, many_product(code, r)};
	qsort(want, all, sizeof *want, found_order);
	CHECK_INT(q.got, all < k ? all : k);
	for (size_t i = 0; i < q.got; i++)
		CHECK_MSG(best[i] == want[i].row && (near[i] == want[i].near || (isnan(near[i]) && isnan(want[i].near))),
			"query %zu, %zu rows, hit %zu of %zu: row %u, want %zu", number, n, i, k, best[i], want[i].row);
	mem_free(want);
}

static void *ask_for_most(void *number)
{
	many_check((size_t)(uintptr_t)number, MANY, MOST, NULL);
	return NULL;
}

TEST(scan_tables_of_several_blocks)
{
	static const size_t steps[] = {768, 20000, 12, 600, MANY};
	enum { ALL_AT_ONCE = 40 };          /* whose best of two blocks are more than come back at once */
	pthread_t threads[ALL_AT_ONCE];
	struct scan *s;
	uint64_t *among = mem_calloc(MANY / 64 + 1, sizeof *among);
	size_t n = 0;
	many_make();
	CHECK_OK(scan_open(&s, "cuda", test_gpu(), &e), e);
	CHECK_OK(scan_table_open(&table, s, LEN, 0, &e), e);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		size_t some = steps[i] < MANY - n ? steps[i] : MANY - n;
		CHECK_OK(scan_table_add(table, many + n * STRIDE, STRIDE, some, &e), e);
		n += some;
		many_check(i, n, 9, NULL);
	}
	many_check(11, 20033, 9, NULL);
	many_check(12, MANY, 1, NULL);
	many_check(13, MANY, MOST, NULL);
	for (size_t r = 5; r < MANY; r += 61) among[r / 64] |= (uint64_t)1 << (r & 63);
	many_check(14, MANY, MOST, among);
	many_check(15, MANY - 100, 3, among);
	memset(among, 0, MANY / 64 * sizeof *among);
	for (size_t r = 19000; r < MANY; r += 16000) among[r / 64] |= (uint64_t)1 << (r & 63);
	many_check(16, MANY, 9, among);     /* none of the first block */
	for (size_t i = 0; i < ALL_AT_ONCE; i++) CHECK_INT(pthread_create(&threads[i], NULL, ask_for_most, (void *)(i + 100)), 0);
	for (size_t i = 0; i < ALL_AT_ONCE; i++) pthread_join(threads[i], NULL);
	scan_table_close(table);
	scan_close(s);
	mem_free(many);
	mem_free(among);
}

/* More rows at once than go over at once, and a first block that is asked to end amid a word of `among`. */
TEST(scan_adds_many_rows_at_once)
{
	enum { N = 5000, WIDE = 1024, EACH = WIDE + sizeof(float), FIRST = 16500, MORE = 600 };
	uint8_t *wide = mem_alloc((size_t)N * EACH);
	uint64_t *among = mem_calloc((FIRST + MORE) / 64 + 1, sizeof *among);
	int8_t code[WIDE];
	uint32_t best[2];
	float near[2];
	struct scan *s;
	struct scan_query q = {.code = code, .scale = 1, .rows = N, .k = 1, .best = best, .near = near};
	CHECK(wide && among);
	for (size_t r = 0; r < N; r++) {                             /* row r: r + 1 in every place */
		const float scale = (float)(r + 1);
		memset(wide + r * EACH, 129, WIDE);
		memcpy(wide + r * EACH + WIDE, &scale, sizeof scale);
	}
	CHECK_OK(scan_open(&s, "cuda", test_gpu(), &e), e);
	CHECK_OK(scan_table_open(&table, s, WIDE, 0, &e), e);
	CHECK_OK(scan_table_add(table, wide, EACH, N, &e), e);
	for (int sign = -1; sign <= 1; sign += 2) {
		memset(code, sign, sizeof code);
		CHECK_OK(scan_table_best(table, &q, &e), e);
		CHECK(q.got == 1 && best[0] == (sign < 0 ? 0 : N - 1) && near[0] == (float)(sign * WIDE * (int)(best[0] + 1)));
	}
	scan_table_close(table);
	many_make();
	CHECK_OK(scan_table_open(&table, s, LEN, FIRST, &e), e);
	CHECK_OK(scan_table_add(table, many, STRIDE, FIRST, &e), e);
	CHECK_OK(scan_table_add(table, many + FIRST * STRIDE, STRIDE, MORE, &e), e);
	for (size_t r = FIRST - 30; r < FIRST + MORE; r += 7) among[r / 64] |= (uint64_t)1 << (r & 63);
	many_check(1, FIRST + MORE, 20, among);
	scan_table_close(table);
	scan_close(s);
	mem_free(many);
	mem_free(wide);
	mem_free(among);
}

/* ---- a device that can be held up, and fails when it is told to ---- */

static struct gpu_table held;            /* test_gpu()'s, with what follows */
static atomic_int hold, fails;
static atomic_size_t runs, most_n;

static void held_scan(struct gpu *g, const struct gpu_scan *c)
{
	if (c->n > most_n) most_n = c->n;
	runs++;
	while (hold) usleep(1000);
	test_gpu()->scan(g, c);
}

static int held_sync(struct gpu *g, struct err *why)
{
	return fails ? err_set(why, E_IO, "device lost: told to be") : test_gpu()->sync(g, why);
}

static struct scan *held_open(void)
{
	struct scan *s;
	held = *test_gpu();
	held.scan = held_scan;
	held.sync = held_sync;
	CHECK_OK(scan_open(&s, "cuda", &held, &e), e);
	return s;
}

static atomic_size_t on_the_way;

struct wish { struct scan_table *t; size_t number, from, n, k; const uint64_t *among; };

static void *wish_ask(void *of)
{
	const struct wish *w = of;
	on_the_way++;
	best_check(w->t, w->number, w->from, w->n, w->k, w->among);
	return NULL;
}

/* What waits for a busy device goes in one run where it can: the same rows of one table, without a choice of them. */
TEST(scan_those_who_wait_go_together)
{
	struct scan *s = held_open();
	struct scan_table *a, *b;
	uint64_t few[ROWS / 64 + 1] = {0}, others[ROWS / 64 + 1] = {0};
	pthread_t threads[9];
	rows_make();
	CHECK_OK(scan_table_open(&a, s, LEN, 0, &e), e);
	CHECK_OK(scan_table_open(&b, s, LEN, 0, &e), e);
	CHECK_OK(scan_table_add(a, rows, STRIDE, ROWS, &e), e);
	CHECK_OK(scan_table_add(b, rows + 700 * STRIDE, STRIDE, ROWS - 700, &e), e);
	for (size_t i = 0; i < ROWS / 64; i++) few[i] = 0x11, others[i] = 0x2200;
	const struct wish wishes[9] = { { a, 1, 0, ROWS, 5, NULL }, { a, 2, 0, ROWS, 10, NULL }, { a, 3, 0, ROWS, 3, NULL }, { a, 4, 0, ROWS - 700, 5, NULL },
		{ b, 5, 700, ROWS - 700, 5, NULL }, { a, 6, 0, ROWS, 5, few }, { a, 7, 0, ROWS, 5, others }, { b, 8, 700, ROWS - 700, 2, NULL },
		{ a, 9, 0, ROWS, 7, NULL } };
	hold = 1;
	for (size_t i = 0; i < 9; i++) {
		CHECK_INT(pthread_create(&threads[i], NULL, wish_ask, (void *)(uintptr_t)&wishes[i]), 0);
		while (i == 0 && runs == 0) usleep(1000);
		while (on_the_way <= i) usleep(1000);
		usleep(20000);
	}
	usleep(100000);
	hold = 0;
	for (size_t i = 0; i < 9; i++) pthread_join(threads[i], NULL);
	CHECK_MSG(most_n >= 2 && runs < 9, "%zu runs, of at most %zu", (size_t)runs, (size_t)most_n);
	scan_table_close(a);
	scan_table_close(b);
	scan_close(s);
}

struct failing { struct scan_table *t; int rc; struct err e; };

static void *ask_in_vain(void *of)
{
	struct failing *f = of;
	int8_t code[LEN] = {1};
	uint32_t best[2];
	float near[2];
	struct scan_query q = {.code = code, .scale = 1, .rows = ROWS, .k = 2, .best = best, .near = near};
	on_the_way++;
	f->rc = scan_table_best(f->t, &q, &f->e);
	return NULL;
}

/* All who asked hear why. */
TEST(scan_failure_is_told_to_all)
{
	struct scan *s = held_open();
	struct failing f[3] = {{0}};
	pthread_t threads[3];
	rows_make();
	CHECK_OK(scan_table_open(&table, s, LEN, 0, &e), e);
	CHECK_OK(scan_table_add(table, rows, STRIDE, ROWS, &e), e);
	hold = 1;
	for (size_t i = 0; i < 3; i++) {
		f[i].t = table;
		CHECK_INT(pthread_create(&threads[i], NULL, ask_in_vain, &f[i]), 0);
		while (on_the_way <= i) usleep(1000);
	}
	usleep(50000);
	fails = 1;
	hold = 0;
	for (size_t i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		CHECK_INT(f[i].rc, E_IO);
		CHECK_MSG(strstr(f[i].e.msg, "told to be"), "%zu: %s", i, f[i].e.msg);
	}
	fails = 0;
	scan_table_close(table);
	scan_close(s);
}
