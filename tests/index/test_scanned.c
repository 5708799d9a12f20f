/* test_scanned.c: copies of codes on a device whose answers are written here: what is told of rows that the device did not tell, how rows come to
 * it, and that it is left alone once it failed. test_vector.c has whole searches. */
#include <float.h>
#include <math.h>
#include "index/index.h"
#include "index/scanned.h"
#include "tests/test.h"

enum { LEN = 64, STRIDE = LEN + sizeof(struct code8_tail), ROWS = 70000, PART = 4 };
static uint8_t rows[ROWS * STRIDE];
static size_t there, calls, asked;       /* rows that came; calls of add, of best */
static size_t gives;                     /* how many best tells */
static int fails;

static int table_ready(void *ctx)
{
	(void)ctx;
	return 1;
}

static int table_open(void *ctx, void **out, size_t len, size_t most, struct err *e)
{
	(void)ctx, (void)most, (void)e;
	CHECK_INT(len, LEN);
	*out = &there;
	return OK;
}

/* Rows come once each and in order: every one has its number in it. */
static int table_add(void *table, const uint8_t *from, size_t stride, size_t n, struct err *e)
{
	(void)table, (void)e;
	for (size_t i = 0; i < n; i++, there++) {
		uint32_t number;
		memcpy(&number, from + i * stride, sizeof number);
		CHECK_INT(number, there);
	}
	calls++;
	return OK;
}

static int table_best(void *table, struct index_scan *q, struct err *e)
{
	(void)table;
	asked++;
	if (fails) return err_set(e, E_MEMORY, "told to fail");
	CHECK(q->rows <= there);
	q->got = gives;
	for (size_t i = 0; i < gives; i++) q->best[i] = (uint32_t)i, q->near[i] = 10 - (float)i;
	return OK;
}

static void table_close(void *table)
{
	(void)table;
}

/* One long part after some of PART rows. */
static void part(const void *of, size_t from, size_t n, const uint8_t **out, size_t *upto)
{
	const size_t end = from < 3 * PART ? from - from % PART + PART : n;
	(void)of;
	*out = rows + from * STRIDE;
	*upto = end < n ? end : n;
}

static void row_set(uint32_t r, float lost, float length)
{
	const struct code8_tail t = { .scale = 1, .lost = lost, .length = length };
	memcpy(rows + r * STRIDE, &r, sizeof r);
	memcpy(rows + r * STRIDE + LEN, &t, sizeof t);
}

static const struct index_scanner device = { .least = 1, .ready = table_ready, .open = table_open, .add = table_add, .best = table_best, .close = table_close };
static const struct scanned_rows all = { .stride = STRIDE, .part = part };
static const struct code8_query query = { .len = LEN, .norm = 3, .rest = 0.25f };

static struct scanned_best best_of(scanned_place *place, size_t n, size_t k)
{
	static uint32_t at[INDEX_SCAN_BEST];
	struct scanned_best b = { .rows = n, .k = k, .at = at };
	CHECK(scanned_best(place, &device, &all, &query, &b));
	CHECK_INT(b.got, gives);
	return b;
}

/* No row that was not told can be nearer than the last that was, and what the codes of any of them lose. */
static void check_beyond(const struct scanned_best *b, double last, double lost, double length)
{
	const double least = last + 3 * lost + 0.25 * length;
	CHECK(!b->whole);
	CHECK_MSG((double)b->beyond >= least && (double)b->beyond <= least * (1 + 32 * (double)FLT_EPSILON), "%.9g, at least %.9g", (double)b->beyond, least);
}

TEST(scanned_bounds_what_was_not_told)
{
	scanned_place place = NULL;
	for (uint32_t r = 0; r < 12; r++) row_set(r, 0.5f, 2);
	row_set(3, 1.5f, 1);                         /* loses the most */
	row_set(5, 0.25f, 4);                        /* the longest */
	row_set(10, 7, 9);                           /* comes later */
	gives = 2;
	struct scanned_best b = best_of(&place, 6, 2);
	check_beyond(&b, 9, 1.5, 4);
	b = best_of(&place, 6, 2);
	CHECK(calls == 2 && there == 6);             /* parts of 4 and 2, once */
	check_beyond(&b, 9, 1.5, 4);
	b = best_of(&place, 12, 2);
	check_beyond(&b, 9, 7, 9);
	b = best_of(&place, 6, 2);                   /* fewer again: what holds for more holds */
	check_beyond(&b, 9, 7, 9);
	b = best_of(&place, 12, 3);
	CHECK(b.whole && isinf(b.beyond) && b.beyond < 0);
	gives = 0;
	b = best_of(&place, 12, 3);
	CHECK(b.whole && isinf(b.beyond) && b.beyond < 0);
	scanned_free(&place);
}

/* A row whose numbers are none may be anywhere. */
TEST(scanned_rows_without_a_bound)
{
	for (int which = 0; which < 2; which++) {
		scanned_place place = NULL;
		for (uint32_t r = 0; r < 6; r++) row_set(r, 0.5f, 2);
		row_set(4, which ? 0.5f : NAN, which ? NAN : 2);
		row_set(5, 1, 3);
		there = 0;
		gives = 1;
		struct scanned_best b = best_of(&place, 6, 1);
		CHECK(!b.whole && isinf(b.beyond) && b.beyond > 0);
		scanned_free(&place);
	}
}

/* A long part goes in batches. */
TEST(scanned_rows_in_batches)
{
	scanned_place place = NULL;
	for (uint32_t r = 0; r < ROWS; r++) row_set(r, 0.5f, 2);
	row_set(ROWS - 1, 6, 2);
	gives = 1;
	struct scanned_best b = best_of(&place, ROWS, 1);
	CHECK(there == ROWS && calls == 5);
	check_beyond(&b, 10, 6, 2);
	scanned_free(&place);
}

TEST(scanned_fails_once)
{
	scanned_place place = NULL;
	uint32_t at[4];
	struct scanned_best b = { .rows = 3, .k = 2, .at = at };
	for (uint32_t r = 0; r < 3; r++) row_set(r, 0.5f, 2);
	CHECK(scanned_may(&place));
	gives = 2;
	(void)best_of(&place, 3, 2);
	CHECK(scanned_may(&place));
	fails = 1;
	CHECK(!scanned_best(&place, &device, &all, &query, &b));
	CHECK(!scanned_may(&place));
	fails = 0;
	asked = 0;
	CHECK(!scanned_best(&place, &device, &all, &query, &b) && asked == 0);
	scanned_free(&place);
}
