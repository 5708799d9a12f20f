/* test_scan_host.c: a scan where there is no GPU, too little memory or one that is lost: only the emulated device can be made so. */
#include "base/mem.h"
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
	CHECK(s == NULL);
	CHECK_INT(scan_open(&s, "cuda", &host_table, &e), E_UNSUPPORTED);
}

/* A table that does not get more room stays as it was; of a lost device nothing is told. */
TEST(scan_out_of_memory_and_lost)
{
	enum { LEN = 64, STRIDE = LEN + 4, N = 16384 };
	uint8_t *rows = mem_calloc(N, STRIDE);
	int8_t code[LEN] = {1};
	uint32_t best[2];
	float near[2];
	struct scan *s;
	struct scan_table *t;
	struct scan_query q = {.code = code, .scale = 1, .rows = N, .k = 2, .best = best, .near = near};
	CHECK_OK(scan_open(&s, "cuda", &host_table, &e), e);
	CHECK_OK(scan_table_open(&t, s, LEN, &e), e);
	CHECK_OK(scan_table_add(t, rows, STRIDE, N, &e), e);
	CHECK_OK(scan_table_best(t, &q, &e), e);
	host_memory(7 << 20);
	CHECK_INT(scan_table_add(t, rows, STRIDE, N, &e), E_MEMORY);
	CHECK_OK(scan_table_best(t, &q, &e), e);
	CHECK(q.got == 2 && best[0] == 0 && best[1] == 1);
	host_lose();
	CHECK_INT(scan_table_best(t, &q, &e), E_IO);
	scan_table_close(t);
	scan_close(s);
	mem_free(rows);
}
