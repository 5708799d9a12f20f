/* mem.c: owns the way to the heap. Thin over libc, with one counter in front that lets a test fail the n-th request
 * (fault_alloc_after, declared in fault.h, lives here because the counter does). A request for 0 bytes gets a pointer
 * of its own, so NULL always means failure. Thread-safe. Failure: NULL. */
#include "base/mem.h"
#include "base/fault.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_long alloc_countdown; /* 0: off */

void fault_alloc_after(long n)
{
	atomic_store(&alloc_countdown, n > 0 ? n : 0);
}

/* 1 when this request is the one to fail. The compare-and-swap lets exactly one thread see the last step. */
static int alloc_refused(void)
{
	long left = atomic_load_explicit(&alloc_countdown, memory_order_relaxed);
	while (left > 0)
		if (atomic_compare_exchange_weak(&alloc_countdown, &left, left - 1)) return left == 1;
	return 0;
}

void *mem_alloc(size_t bytes)
{
	if (alloc_refused()) return NULL;
	return malloc(bytes ? bytes : 1);
}

void *mem_calloc(size_t n, size_t bytes)
{
	if (alloc_refused()) return NULL;
	return n && bytes ? calloc(n, bytes) : calloc(1, 1);
}

void *mem_realloc(void *p, size_t bytes)
{
	if (alloc_refused()) return NULL;
	return realloc(p, bytes ? bytes : 1);
}

void *mem_aligned(size_t align, size_t bytes)
{
	void *p;
	if (alloc_refused()) return NULL;
	if (align < sizeof(void *)) align = sizeof(void *);
	return posix_memalign(&p, align, bytes ? bytes : 1) == 0 ? p : NULL;
}

char *mem_strndup(const char *s, size_t len)
{
	char *p;
	if (len == SIZE_MAX) return NULL;
	p = mem_alloc(len + 1);
	if (!p) return NULL;
	if (len) memcpy(p, s, len);
	p[len] = 0;
	return p;
}

char *mem_strdup(const char *s)
{
	return mem_strndup(s, strlen(s));
}

void mem_free(void *p)
{
	free(p);
}
