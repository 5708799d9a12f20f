/* on_device.h: the way of a kernel's test to the device under test (test_gpu(), test.h) and back. What fails, fails the test. */
#ifndef TESTS_NN_ON_DEVICE_H
#define TESTS_NN_ON_DEVICE_H
#include "base/mem.h"
#include "nn/gpu.h"
#include "tests/test.h"

static inline struct gpu *device_open(void)
{
	struct gpu *g;
	struct err e;
	CHECK_OK(test_gpu()->open(&g, 0, &e), e);
	return g;
}

/* How many multiprocessors it has: sizes that fill it follow from that. */
static inline size_t device_sms(void)
{
	struct gpu *g = device_open();
	struct gpu_info info;
	test_gpu()->info(g, &info);
	test_gpu()->close(g);
	CHECK(info.sms > 0);
	return (size_t)info.sms;
}

/* Memory there, with what lies at `from`; NULL: zeros. Closing the device frees it. */
static inline void *device(struct gpu *g, const void *from, size_t bytes)
{
	void *p;
	struct err e;
	CHECK_OK(test_gpu()->alloc(g, bytes, "a test", &p, &e), e);
	if (from) test_gpu()->copy_in(g, p, from, bytes);
	return p;
}

/* What lies there once all that is queued is done. */
static inline void out(struct gpu *g, void *to, const void *from, size_t bytes)
{
	struct err e;
	test_gpu()->copy_out(g, to, from, bytes);
	CHECK_OK(test_gpu()->sync(g, &e), e);
}

/* The same in memory for the caller to free. */
static inline void *host(struct gpu *g, const void *from, size_t bytes)
{
	void *p = mem_alloc(bytes);
	CHECK(p != NULL);
	out(g, p, from, bytes);
	return p;
}

#endif
