/* mem.c: owns the way to the heap. Thin over libc, with one counter in front that lets a test fail the n-th request
 * (fault_alloc_after, declared in fault.h, lives here because the counter does). A request for 0 bytes gets a pointer
 * of its own, so NULL always means failure. A request over REQUEST_MAX is refused here: no part of Footnote needs it,
 * so it is a length gone wrong, and refusing it ourselves behaves the same under every allocator (the sanitizers' die
 * of it). Thread-safe. Failure: NULL. */
#include "base/mem.h"
#include "base/fault.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t REQUEST_MAX = (size_t)1 << 39, HUGE_PAGE = (size_t)2 << 20;
static atomic_long alloc_countdown; /* 0: off */

void fault_alloc_after(long n)
{
	atomic_store(&alloc_countdown, n > 0 ? n : 0);
}

/* 1 when this request is too large or the one to fail. The compare-and-swap lets just one thread see the last step. */
static int alloc_refused(size_t bytes)
{
	long left = atomic_load_explicit(&alloc_countdown, memory_order_relaxed);
	while (left > 0)
		if (atomic_compare_exchange_weak(&alloc_countdown, &left, left - 1)) return left == 1 || bytes > REQUEST_MAX;
	return bytes > REQUEST_MAX;
}

void *mem_alloc(size_t bytes)
{
	if (alloc_refused(bytes)) return NULL;
	return malloc(bytes ? bytes : 1);
}

void *mem_calloc(size_t n, size_t bytes)
{
	size_t total;
	if (__builtin_mul_overflow(n, bytes, &total) || alloc_refused(total)) return NULL;
	return calloc(1, total ? total : 1);
}

void *mem_realloc(void *p, size_t bytes)
{
	if (alloc_refused(bytes)) return NULL;
	return realloc(p, bytes ? bytes : 1);
}

void *mem_aligned(size_t align, size_t bytes)
{
	void *p;
	if (alloc_refused(bytes)) return NULL;
	if (align < sizeof(void *)) align = sizeof(void *);
	if (align & (align - 1)) return NULL;
	return posix_memalign(&p, align, bytes ? bytes : 1) == 0 ? p : NULL;
}

/* Advice that is not taken costs nothing. */
void *mem_huge(size_t bytes)
{
	size_t whole = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	if (bytes < HUGE_PAGE || whole < bytes) return mem_aligned(64, bytes);
	void *p = mem_aligned(HUGE_PAGE, whole);
	if (p) madvise(p, whole, MADV_HUGEPAGE);
	return p;
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
