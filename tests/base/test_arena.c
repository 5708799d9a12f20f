/* test_arena.c: alignment, the cap, large pieces, overflow and memory running out. */
#include "base/arena.h"
#include "base/fault.h"
#include "tests/test.h"
#include <stdint.h>

TEST(arena_pieces_are_apart_and_aligned)
{
	static unsigned char *p[2000];
	struct arena a;
	arena_init(&a, 100u << 20);
	for (int i = 0; i < 2000; i++) {
		p[i] = arena_alloc(&a, (size_t)(i * 37 % 3001));
		CHECK(p[i] && (uintptr_t)p[i] % 16 == 0);
		memset(p[i], i & 255, (size_t)(i * 37 % 3001));
	}
	for (int i = 0; i < 2000; i++)
		for (int k = 0; k < i * 37 % 3001; k++) CHECK(p[i][k] == (i & 255));
	arena_clear(&a);
	CHECK(a.used == 0 && a.head == NULL);
}

TEST(arena_cap_counts_what_was_asked)
{
	struct arena a;
	arena_init(&a, 100);
	CHECK(arena_alloc(&a, 99));
	CHECK(!arena_alloc(&a, 2));
	CHECK(arena_alloc(&a, 1));
	CHECK(!arena_alloc(&a, 1));
	CHECK(!arena_alloc(&a, 0));
	CHECK_INT(a.used, 100);
	arena_clear(&a);
	CHECK(arena_alloc(&a, 100));
	arena_clear(&a);
}

TEST(arena_sizes_that_overflow)
{
	struct arena a;
	arena_init(&a, SIZE_MAX);
	CHECK(!arena_alloc(&a, SIZE_MAX));
	CHECK(!arena_alloc(&a, SIZE_MAX - 20));
	CHECK(!arena_alloc(&a, SIZE_MAX / 2));
	CHECK(!arena_calloc(&a, SIZE_MAX / 2, 3));
	CHECK(!arena_strndup(&a, "", SIZE_MAX));
	CHECK(arena_alloc(&a, 1));
	arena_clear(&a);
}

TEST(arena_strings_and_zeroes)
{
	struct arena a;
	char *z;
	arena_init(&a, 10u << 20);
	CHECK_STR(arena_strdup(&a, "hello"), "hello");
	CHECK_STR(arena_strndup(&a, "hello", 2), "he");
	CHECK_STR(arena_strndup(&a, NULL, 0), "");
	CHECK_STR(arena_printf(&a, "%d-%s", 12, "x"), "12-x");
	memset(arena_alloc(&a, 5000), 0xff, 5000);
	z = arena_calloc(&a, 3000, 1000); /* a block of its own */
	for (int i = 0; i < 3000000; i++) CHECK(z[i] == 0);
	CHECK_STR(arena_printf(&a, "%s", ""), "");
	arena_clear(&a);
}

TEST(arena_stands_every_failing_allocation)
{
	for (int n = 1; n < 6; n++) {
		struct arena a;
		int failed = 0;
		arena_init(&a, 1u << 20);
		fault_alloc_after(n);
		for (int i = 0; i < 100; i++) {
			char *p = arena_alloc(&a, 500);
			if (p) memset(p, 1, 500);
			else failed++;
		}
		fault_alloc_after(0);
		CHECK_INT(failed, n < 5 ? 1 : 0);
		CHECK_INT(a.used, (100 - failed) * 500);
		arena_clear(&a);
	}
}
