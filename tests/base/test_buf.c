/* test_buf.c: the cap, growth, the failure that sticks, and memory running out. */
#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "tests/test.h"
#include <stdint.h>

TEST(buf_fills_to_its_cap_exactly)
{
	for (size_t max = 0; max < 300; max += 7) {
		struct buf b;
		buf_init(&b, max);
		for (size_t i = 0; i < max; i++) {
			CHECK_INT(buf_putc(&b, 'a'), OK);
			CHECK(b.len == i + 1 && b.data[b.len] == 0 && b.cap <= max + 1);
		}
		CHECK_INT(buf_putc(&b, 'b'), E_LIMIT);
		CHECK_INT(b.len, max);
		CHECK_INT(strlen(buf_cstr(&b)), max);
		CHECK_INT(buf_failed(&b), E_LIMIT);
		buf_reset(&b);
		CHECK_INT(buf_failed(&b), OK);
		CHECK_INT(b.len, 0);
		CHECK_STR(buf_cstr(&b), "");
		buf_clear(&b);
	}
}

TEST(buf_failure_sticks_until_reset)
{
	struct buf b;
	buf_init(&b, 4);
	CHECK_INT(buf_puts(&b, "abc"), OK);
	CHECK_INT(buf_puts(&b, "de"), E_LIMIT);
	CHECK_INT(buf_puts(&b, "d"), E_LIMIT); /* would fit, but something before it is missing */
	CHECK_STR(buf_cstr(&b), "abc");
	buf_reset(&b);
	CHECK_INT(buf_puts(&b, "wxyz"), OK);
	CHECK_STR(buf_cstr(&b), "wxyz");
	buf_clear(&b);
	CHECK(b.max == 4 && !b.data);
}

TEST(buf_printf_measures_itself)
{
	struct buf b;
	buf_init(&b, 1000);
	for (int i = 0; i < 50; i++) CHECK_INT(buf_printf(&b, "%d,", i), OK);
	CHECK_INT(b.len, 10 * 2 + 40 * 3);
	CHECK_INT(buf_printf(&b, "%2000d", 1), E_LIMIT);
	CHECK_INT(strlen(buf_cstr(&b)), 140);
	buf_clear(&b);
	buf_init(&b, 3);
	CHECK_INT(buf_printf(&b, "%s", "abc"), OK);
	CHECK_STR(buf_cstr(&b), "abc");
	buf_clear(&b);
}

TEST(buf_sizes_that_overflow)
{
	struct buf b;
	buf_init(&b, SIZE_MAX);
	CHECK_INT(buf_puts(&b, "abc"), OK);
	CHECK_INT(buf_reserve(&b, SIZE_MAX), E_LIMIT);
	CHECK_STR(buf_cstr(&b), "abc");
	buf_reset(&b);
	CHECK_INT(buf_reserve(&b, SIZE_MAX / 2), E_MEMORY);
	buf_clear(&b);
	buf_init(&b, 10);
	CHECK_INT(buf_put(&b, NULL, 0), OK);
	CHECK_INT(buf_reserve(&b, 11), E_LIMIT);
	buf_clear(&b);
}

TEST(buf_take_hands_the_bytes_over)
{
	struct buf b;
	size_t len = 9;
	char *s;
	buf_init(&b, 10);
	s = buf_take(&b, &len);
	CHECK(s && len == 0);
	CHECK_STR(s, "");
	mem_free(s);
	buf_put(&b, "a\0b", 3);
	s = buf_take(&b, &len);
	CHECK(len == 3 && memcmp(s, "a\0b\0", 4) == 0);
	CHECK(!b.data && !b.len && b.max == 10);
	mem_free(s);
	CHECK_STR(buf_cstr(&b), "");
	fault_alloc_after(1);
	CHECK(!buf_take(&b, NULL));
}

TEST(buf_stands_every_failing_allocation)
{
	for (int n = 1; n < 8; n++) {
		struct buf b;
		size_t held = 0;
		buf_init(&b, 1000);
		fault_alloc_after(n);
		for (int i = 0; i < 1000; i++) {
			if (buf_putc(&b, 'x') != OK) break;
			held++;
		}
		fault_alloc_after(0);
		CHECK_INT(b.len, held);
		CHECK_INT(strlen(buf_cstr(&b)), held);
		CHECK_INT(buf_failed(&b), held == 1000 ? OK : E_MEMORY);
		if (n == 1) CHECK_INT(held, 0);
		buf_clear(&b);
	}
}
