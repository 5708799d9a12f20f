/* test_scan_host.c: a scan where there is no GPU, too little memory or one that is lost: only the emulated device can be made so. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/stat.h"
#include "embed/scan.h"
#include "tests/nn/gpu_host.h"
#include "tests/test.h"

static struct err e;

TEST(scan_without_a_device)
{
	struct scan *s;
	CHECK_OK(scan_open(&s, "cpu", &host_table, &e), e);
	CHECK(s == NULL);
	host_devices(0);
	CHECK_OK(scan_open(&s, "auto", &host_table, &e), e);
	CHECK(!scan_ready(s));
	scan_close(s);
	CHECK_INT(scan_open(&s, "cuda", &host_table, &e), E_UNSUPPORTED);
	CHECK_INT(scan_open(&s, "gpu", &host_table, &e), E_USAGE);
}

/* A table that does not get more room stays as it was; of a lost device nothing is told. */
TEST(scan_out_of_memory_and_lost)
{
	enum { LEN = 64, STRIDE = LEN + 4, N = 16384 };
	uint8_t *rows = mem_calloc(N, STRIDE);
	int8_t code[LEN] = {1};
	uint32_t best[2];
	float near[2];
	char name[64];
	struct buf metrics;
	struct scan *s;
	struct scan_table *t;
	struct scan_query q = {.code = code, .scale = 1, .rows = N, .k = 2, .best = best, .near = near};
	CHECK_OK(scan_open(&s, "cuda", &host_table, &e), e);
	CHECK_OK(scan_table_open(&t, s, LEN, 0, &e), e);
	CHECK_OK(scan_table_add(t, rows, STRIDE, N, &e), e);
	CHECK_OK(scan_table_best(t, &q, &e), e);
	host_memory(6 << 20);
	CHECK_INT(scan_table_add(t, rows, STRIDE, N, &e), E_MEMORY);
	CHECK_OK(scan_table_best(t, &q, &e), e);
	CHECK(q.got == 2 && best[0] == 0 && best[1] == 1);
	host_lose();
	CHECK(scan_ready(s));
	CHECK_INT(scan_table_best(t, &q, &e), E_IO);
	CHECK(!scan_ready(s));
	CHECK(scan_device(s, name) == 0 && *name == 0);
	scan_table_close(t);
	scan_close(s);
	buf_init(&metrics, 1 << 20);
	CHECK_OK(stat_print(&metrics), e);
	CHECK(strstr(buf_cstr(&metrics), "footnote_gpu_lost_total{what=\"search\"} 1\n"));
	buf_clear(&metrics);
	mem_free(rows);
}

/* Each taking of memory fails once, in opening, growing and searching: told, and nothing stays taken. The two of the pass by which a
 * device is tried (kernels that overlap) are no failure. */
TEST(scan_takings_fail)
{
	enum { LEN = 64, STRIDE = LEN + 4, N = 100 };
	uint8_t rows[N * STRIDE] = { 0 };
	int8_t code[LEN] = { 1 };
	uint64_t among[(N + 63) / 64] = { 5 };
	uint32_t best[2];
	float near[2];
	int n = 0, rc;
	do {
		struct scan *s = NULL;
		struct scan_table *t = NULL;
		struct scan_query q = { .code = code, .scale = 1, .rows = N, .k = 2, .among = among, .best = best, .near = near };
		host_fail_after(++n);
		rc = scan_open(&s, "cuda", &host_table, &e);
		if (rc == OK) rc = scan_table_open(&t, s, LEN, 0, &e);
		if (rc == OK) rc = scan_table_add(t, rows, STRIDE, N, &e);
		if (rc == OK) rc = scan_table_best(t, &q, &e);
		host_fail_after(0);
		CHECK_MSG(rc == OK || (rc == E_MEMORY && strstr(e.msg, "memory")), "%d: %d, %s", n, rc, e.msg);
		if (rc == OK) CHECK(q.got == 2 && best[0] == 0 && best[1] == 2);
		scan_table_close(t);
		scan_close(s);
		CHECK_MSG(host_taken() == 0, "%d: %zu are still taken", n, host_taken());
	} while ((rc != OK || n <= 3) && n < 50);
	CHECK(n > 6 && n < 50);
}

/* ---- when a device is opened ---- */

static struct gpu_table counted;
static int counts, opens, closes;
static struct scan *beside;      /* asked while a device is being opened */

static int count_counted(void)
{
	counts++;
	return host_table.count();
}

static int open_counted(struct gpu **out, int device, struct err *why)
{
	opens++;
	if (beside) CHECK(!scan_ready(beside));
	return host_table.open(out, device, why);
}

static void close_counted(struct gpu *g)
{
	closes++;
	host_table.close(g);
}

static struct scan *opened(const char *device)
{
	struct scan *s;
	counted = host_table;
	counted.count = count_counted;
	counted.open = open_counted;
	counted.close = close_counted;
	CHECK_OK(scan_open(&s, device, &counted, &e), e);
	return s;
}

TEST(scan_opens_a_device_when_it_is_needed)
{
	struct scan *s = opened("auto");
	char name[64];
	CHECK(s && counts == 0 && opens == 0);
	CHECK_INT(scan_device(s, name), 0);
	CHECK_STR(name, "");
	scan_close(s);
	CHECK_INT(closes, 0);
	beside = s = opened("auto");
	CHECK(scan_ready(s) && scan_ready(s));
	CHECK(counts == 1 && opens == 1);
	scan_close(s);
	CHECK_INT(closes, 1);
	beside = NULL;
	s = opened("cuda");
	CHECK_INT(opens, 2);
	CHECK(scan_ready(s));
	CHECK_INT(opens, 2);
	scan_close(s);
}

/* Where there is none, or no room, nobody tries again. */
TEST(scan_tries_a_device_once)
{
	struct scan *s = opened("auto");
	host_memory(1 << 20);
	CHECK(!scan_ready(s) && !scan_ready(s));
	CHECK(opens == 1 && closes == 1);
	host_memory(1 << 30);
	CHECK(!scan_ready(s));
	CHECK_INT(opens, 1);
	scan_close(s);
	CHECK_INT(closes, 1);
	host_devices(0);
	s = opened("auto");
	CHECK(!scan_ready(s) && !scan_ready(s));
	CHECK(counts == 2 && opens == 1);
	scan_close(s);
}

/* ---- how a table grows ---- */

static size_t scans;
static struct { void *at; uint64_t bytes; } took[64];
static size_t took_n;

static int alloc_counted(struct gpu *g, uint64_t bytes, const char *what, void **out, struct err *why)
{
	int rc = host_table.alloc(g, bytes, what, out, why);
	CHECK(took_n < 64);
	took[took_n].at = *out;
	took[took_n++].bytes = bytes;
	return rc;
}

static void scan_counted(struct gpu *g, const struct gpu_scan *c)
{
	size_t i = took_n;
	scans++;
	while (i && took[i - 1].at != c->scratch) i--;
	CHECK(i && took[i - 1].bytes >= host_table.scan_bytes(c->rows, c->n, c->k));
	host_table.scan(g, c);
}

static uint64_t memory_taken(void)
{
	struct gpu_info f;
	struct gpu *g;
	CHECK_OK(host_table.open(&g, 0, &e), e);
	host_table.info(g, &f);
	host_table.close(g);
	return f.memory - f.memory / 64 - f.free; /* with what this one took; alloc leaves a 64th */
}

/* As it grows a table takes what its rows take, and nothing beside; rows that were told of lie together. */
TEST(scan_tables_grow_in_place)
{
	enum { LEN = 64, STRIDE = LEN + 4, N = 16384, BYTES = N * STRIDE };
	uint8_t *rows = mem_calloc(3 * N + 1, STRIDE);
	int8_t code[LEN] = {1};
	uint32_t best[2];
	float near[2];
	struct scan *s = opened("cuda");
	struct scan_table *t;
	struct scan_query q = {.code = code, .scale = 1, .rows = 3 * N, .k = 2, .best = best, .near = near};
	char name[64];
	uint64_t before = scan_device(s, name);
	CHECK_STR(name, "host");
	counted.scan = scan_counted;
	counted.alloc = alloc_counted;
	CHECK_OK(scan_table_open(&t, s, LEN, 0, &e), e);
	host_memory((memory_taken() + 3 * BYTES) / 63 * 64 + 64);
	for (int i = 0; i < 3; i++) CHECK_OK(scan_table_add(t, rows, STRIDE, N, &e), e);
	CHECK_INT(scan_table_add(t, rows, STRIDE, 1, &e), E_MEMORY);
	CHECK_INT(scan_device(s, name), before + 3 * BYTES);
	host_memory(1 << 30);
	CHECK_OK(scan_table_best(t, &q, &e), e);
	CHECK_INT(scans, 3);
	scan_table_close(t);
	CHECK(scan_device(s, name) == before + took[took_n - 1].bytes); /* the work space stays */
	CHECK_OK(scan_table_open(&t, s, LEN, 3 * N, &e), e);
	for (int i = 0; i < 3; i++) CHECK_OK(scan_table_add(t, rows, STRIDE, N, &e), e);
	CHECK_OK(scan_table_best(t, &q, &e), e);
	CHECK_INT(scans, 4);
	CHECK_OK(scan_table_add(t, rows, STRIDE, 3 * N + 1, &e), e); /* a second block, the larger one */
	q.rows = 6 * N + 1;
	CHECK_OK(scan_table_best(t, &q, &e), e);
	CHECK_INT(scans, 6);
	scan_table_close(t);
	scan_close(s);
	mem_free(rows);
}
