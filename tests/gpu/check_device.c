/* check_device.c: what is asked of a real device's memory and queue, beside its kernels; the emulated one is tried in the same way. */
#include "base/mem.h"
#include "tests/gpu/measure.h"
#include "tests/test.h"

enum { WORDS = 1 << 16 };

TEST(device_memory)
{
	const struct gpu_table *t = test_gpu();
	struct gpu *g = device_open();
	struct gpu_info before, after;
	uint32_t *words = mem_alloc(WORDS * sizeof *words);
	void *p[4], *q;
	struct err e;
	t->info(g, &before);
	CHECK(before.name[0] && before.major >= 8 && before.sms > 0 && before.memory >= before.free && before.free > 0);
	for (int i = 0; i < 4; i++) {
		p[i] = device_room(g, WORDS * sizeof *words + (size_t)i);
		CHECK((uintptr_t)p[i] % 256 == 0);
		out(g, words, p[i], WORDS * sizeof *words);
		for (size_t w = 0; w < WORDS; w++) CHECK(words[w] == 0);
	}
	for (uint32_t w = 0; w < WORDS; w++) words[w] = w * 2654435761u;
	t->copy_in(g, p[1], words, WORDS * sizeof *words);
	memset(words, 7, WORDS * sizeof *words);     /* read at once: what is done to it now is too late */
	t->copy(g, p[2], p[1], WORDS * sizeof *words);
	out(g, words, p[2], WORDS * sizeof *words);
	for (uint32_t w = 0; w < WORDS; w++) CHECK(words[w] == w * 2654435761u);
	CHECK_INT(t->alloc(g, before.memory + 1, "too much", &q, &e), E_MEMORY);
	CHECK(!q && strstr(e.msg, "too much"));
	device_sync(g);                              /* a refusal harms nothing */
	for (int i = 0; i < 4; i++) t->release(g, p[i]);
	t->info(g, &after);
	CHECK(after.memory == before.memory);
	mem_free(words);
	t->close(g);
}

/* A recorded pass reads, each time it runs, what lies there then. */
TEST(device_record)
{
	enum { N = 256 };
	const struct gpu_table *t = test_gpu();
	struct gpu *g = device_open();
	struct gpu_graph *graph;
	float *in, *out, *x = device_room(g, N * sizeof *x), *y = device_room(g, N * sizeof *y), ones[N], *one = device_room(g, sizeof ones);
	struct err e;
	CHECK_OK(t->alloc_host(g, N * sizeof *in, (void **)&in, &e), e);
	CHECK_OK(t->alloc_host(g, N * sizeof *out, (void **)&out, &e), e);
	for (int i = 0; i < N; i++) ones[i] = 1;
	t->copy_in(g, one, ones, sizeof ones);
	CHECK_OK(t->record(g, &e), e);
	t->copy_in(g, y, in, N * sizeof *in);
	t->add_normed(g, x, y, one, 1, N, 0);
	t->copy_out(g, out, x, N * sizeof *out);
	CHECK_OK(t->recorded(g, &graph, &e), e);
	for (int round = 1; round <= 5; round++) {
		for (int i = 0; i < N; i++) in[i] = (float)round; /* of norm 1, whatever its length */
		t->replay(g, graph);
		device_sync(g);
		for (int i = 0; i < N; i++) CHECK_MSG(out[i] > (float)round - 0.01f && out[i] < (float)round + 0.01f, "round %d: %g", round, (double)out[i]);
	}
	t->graph_free(g, graph);
	t->close(g);
}

/* Closing a device that still has work in its queue, and opening it again, is as it should be. */
TEST(device_again)
{
	const struct gpu_table *t = test_gpu();
	for (int i = 0; i < 3; i++) {
		struct gpu *g = device_open();
		void *p = device_room(g, 1 << 20), *q = device_room(g, 1 << 20);
		for (int k = 0; k < 50; k++) t->copy(g, q, p, 1 << 20);
		t->close(g);
	}
}
