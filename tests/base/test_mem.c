/* test_mem.c: sizes of zero, overflow, alignment, and the allocation that a test makes fail. */
#include "base/fault.h"
#include "base/mem.h"
#include "tests/test.h"
#include <stdint.h>

TEST(mem_zero_bytes_is_no_failure)
{
	void *a = mem_alloc(0), *b = mem_calloc(0, 8), *c = mem_realloc(NULL, 0), *d = mem_aligned(64, 0);
	CHECK(a && b && c && d);
	c = mem_realloc(c, 0);
	CHECK(c);
	mem_free(a), mem_free(b), mem_free(c), mem_free(d), mem_free(NULL);
}

TEST(mem_overflow_is_null)
{
	volatile size_t half = SIZE_MAX / 2 + 1;
	CHECK(!mem_calloc(half, 2));
	CHECK(!mem_calloc(half, half));
	CHECK(!mem_alloc((half >> 24) + 1) && !mem_realloc(NULL, half) && !mem_aligned(64, half));
	CHECK(!mem_strndup("", half - 1 + half));
}

TEST(mem_aligned_is_aligned)
{
	for (size_t align = 1; align <= 4096; align *= 2) {
		char *p = mem_aligned(align, 100);
		CHECK(p && (uintptr_t)p % align == 0);
		memset(p, 1, 100);
		mem_free(p);
	}
	CHECK(!mem_aligned(48, 100));
}

TEST(mem_strings_are_copied_exactly)
{
	char *s = mem_strndup("ab\0cd", 5), *t = mem_strdup("xyz"), *u = mem_strndup(NULL, 0);
	CHECK(memcmp(s, "ab\0cd\0", 6) == 0);
	CHECK_STR(t, "xyz");
	CHECK_STR(u, "");
	mem_free(s), mem_free(t), mem_free(u);
}

TEST(mem_nth_request_fails_once)
{
	void *p;
	char *s;
	fault_alloc_after(3);
	p = mem_alloc(1);
	CHECK(p);
	p = mem_realloc(p, 2);
	CHECK(p);
	s = mem_strdup("x");
	CHECK(!s);
	s = mem_strdup("x");
	CHECK(s);
	mem_free(p), mem_free(s);
	fault_alloc_after(1);
	fault_alloc_after(0);
	p = mem_aligned(16, 1);
	CHECK(p);
	mem_free(p);
	fault_alloc_after(1);
	CHECK(!mem_calloc(1, 1));
}
