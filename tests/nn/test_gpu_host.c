/* test_gpu_host.c: the GPU's table over the emulated device, and only there: memory, queues, recorded passes, what is said when it is
 * lost. What a real device is asked of these stands in tests/gpu/check_device.c. */
#include <math.h>
#include "tests/nn/gpu_host.h"
#include "tests/test.h"

static const struct gpu_table *const T = &host_table;

static struct gpu *opened(void)
{
	struct gpu *g;
	struct err e;
	CHECK_OK(T->open(&g, 0, &e), e);
	return g;
}

static void *device(struct gpu *g, const void *from, size_t bytes)
{
	void *p;
	struct err e;
	CHECK_OK(T->alloc(g, bytes, "a test", &p, &e), e);
	if (from) T->copy_in(g, p, from, bytes);
	return p;
}

static void out(struct gpu *g, void *to, const void *device, size_t bytes)
{
	struct err e;
	T->copy_out(g, to, device, bytes);
	CHECK_OK(T->sync(g, &e), e);
}

TEST(gpu_memory)
{
	struct gpu *g = opened();
	struct gpu_info i;
	struct err e;
	char bytes[100], zeros[100] = { 0 };
	void *p, *q;
	host_memory(1 << 20);
	p = device(g, NULL, 100);
	CHECK((uintptr_t)p % 256 == 0);
	out(g, bytes, p, 100);
	CHECK(memcmp(bytes, zeros, 100) == 0);
	T->info(g, &i);
	CHECK_INT(i.memory, 1 << 20);
	CHECK(i.free > 0 && i.free < 1 << 20);
	CHECK_INT(T->alloc(g, 2 << 20, "the weights", &q, &e), E_MEMORY);
	CHECK(!q && strstr(e.msg, "the weights takes 2.0 MiB, ") && strstr(e.msg, " of 1.0 MiB are free"));
	uint64_t before = i.free;
	q = device(g, NULL, 1000);
	T->release(g, q);
	T->info(g, &i);
	CHECK_INT(i.free, before);
	CHECK_OK(T->sync(g, &e), e);    /* a refusal harms nothing */
	T->close(g);
}

/* Alloc leaves a 64th to what needs memory without asking; what was taken through an opening is told, and not what others took. */
TEST(gpu_memory_is_told)
{
	struct gpu *g = opened(), *other = opened();
	struct gpu_info i, j;
	struct err e;
	void *p, *q;
	host_memory(64 << 20);
	T->info(g, &i);
	T->info(other, &j);
	const uint64_t own = i.held;
	CHECK_INT(i.free, (63 << 20) - own - j.held);
	p = device(g, NULL, 10 << 20);
	T->info(g, &i);
	CHECK_INT(i.held, own + (10 << 20));
	T->info(other, &j);
	CHECK_INT(j.held, own);
	CHECK_INT(i.free, j.free);
	CHECK_INT(T->alloc(other, i.free + 1, "a byte more", &q, &e), E_MEMORY);
	CHECK_OK(T->alloc(other, i.free, "all of it", &q, &e), e);
	CHECK_INT(T->alloc(g, 1, "a byte", &q, &e), E_MEMORY);
	T->release(g, p);
	T->info(g, &i);
	CHECK_INT(i.held, own);
	CHECK_INT(i.free, 10 << 20);
	T->close(other);
	T->close(g);
	CHECK_INT(host_taken(), 0);
}

TEST(gpu_queue_runs_at_sync)
{
	struct gpu *g = opened();
	struct err e;
	int *in, *back, *d = device(g, NULL, sizeof *d);
	CHECK_OK(T->alloc_host(g, sizeof *in, (void **)&in, &e), e);
	CHECK_OK(T->alloc_host(g, sizeof *back, (void **)&back, &e), e);
	*back = 1;
	*in = 7;
	T->copy_in(g, d, in, sizeof *in);
	T->copy_out(g, back, d, sizeof *back);
	CHECK_INT(*back, 1);
	CHECK_OK(T->sync(g, &e), e);
	CHECK_INT(*back, 7);
	T->close(g);
}

TEST(gpu_record)
{
	enum { N = 64 };
	struct gpu *g = opened();
	struct gpu_graph *graph;
	struct err e;
	float w[N], *x, *y = device(g, NULL, sizeof w), *sum = device(g, NULL, sizeof w), got[N];
	for (int i = 0; i < N; i++) w[i] = 1;
	float *ones = device(g, w, sizeof w);
	CHECK_OK(T->alloc_host(g, sizeof w, (void **)&x, &e), e);
	CHECK_OK(T->record(g, &e), e);
	T->copy_in(g, y, x, sizeof w);
	T->add_normed(g, sum, y, ones, 1, N, 0);
	CHECK_OK(T->recorded(g, &graph, &e), e);
	out(g, got, sum, sizeof got);
	CHECK(got[0] == 0);             /* recorded, not run */
	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < N; i++) x[i] = round == 2 ? -3 : 3;
		T->replay(g, graph);
		out(g, got, sum, sizeof got);
		CHECK(fabsf(got[5] - (round == 2 ? 0 : 1)) < 1e-6f);
	}
	T->graph_free(g, graph);
	CHECK_OK(T->record(g, &e), e);
	T->copy_in(g, y, w, sizeof w);  /* of the stack: a replay would read what is no longer there */
	CHECK_INT(T->recorded(g, &graph, &e), E_IO);
	CHECK(strstr(e.msg, "pageable"));
	T->close(g);
}

/* A recorded pass for which there is no memory, in either of its steps: told, and nothing else. */
TEST(gpu_record_without_memory)
{
	struct gpu *g = opened();
	struct gpu_graph *graph;
	struct err e;
	char *a = device(g, NULL, 64), *b = device(g, NULL, 64);
	const size_t taken = host_taken();
	for (int n = 1; n <= 3; n++) {
		CHECK_OK(T->record(g, &e), e);
		T->copy(g, a, b, 64);
		host_fail_after(n);
		if (n < 3) {
			CHECK_INT(T->recorded(g, &graph, &e), E_MEMORY);
			CHECK(!graph && host_taken() == taken);
		} else CHECK_OK(T->recorded(g, &graph, &e), e);
		host_fail_after(0);
		CHECK_OK(T->sync(g, &e), e);
	}
	T->graph_free(g, graph);
	CHECK_INT(host_taken(), taken);
	T->close(g);
}

TEST(gpu_lost)
{
	struct gpu *g = opened();
	struct err e;
	void *p;
	host_lose();
	CHECK_INT(T->sync(g, &e), E_IO);
	CHECK(strstr(e.msg, "device lost: "));
	CHECK_INT(T->sync(g, &e), E_IO);
	CHECK_INT(T->alloc(g, 8, "more", &p, &e), E_IO);
	T->close(g);
}

TEST(gpu_none)
{
	struct gpu *g;
	struct err e;
	CHECK_INT(T->count(), 1);
	CHECK_INT(T->open(&g, 1, &e), E_UNSUPPORTED);
	CHECK_STR(e.msg, "no GPU 1: there are 1");
	host_devices(0);
	CHECK_INT(T->count(), 0);
	CHECK_INT(T->open(&g, 0, &e), E_UNSUPPORTED);
	CHECK(!g && strstr(e.msg, "no GPU"));
}

TEST(gpu_pick_as_the_setting_says)
{
	const struct gpu_table *t;
	struct err e;
	int must;
	CHECK_OK(gpu_pick(&t, &must, "cpu", T, &e), e);
	CHECK(!t && !must);
	CHECK_OK(gpu_pick(&t, &must, "auto", T, &e), e);
	CHECK(t == T && !must);
	CHECK_OK(gpu_pick(&t, &must, "cuda", T, &e), e);
	CHECK(t == T && must);
	CHECK_INT(gpu_pick(&t, &must, "gpu", T, &e), E_USAGE);
	CHECK(!t && strstr(e.msg, "\"gpu\": auto, cpu or cuda"));
	host_devices(0);
	CHECK_OK(gpu_pick(&t, &must, "auto", T, &e), e);
	CHECK(!t && !must);
	CHECK_OK(gpu_pick(&t, &must, "cuda", T, &e), e);  /* what is wrong with it, open says */
	CHECK(t == T && must);
}
