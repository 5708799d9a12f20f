/* Line diffs: what is told, in which order, and that both texts come back from it. */
#include "base/diff.h"
#include <stdint.h>
#include "base/buf.h"
#include "tests/test.h"

static struct buf told, a_again, b_again;

static void hear(void *ctx, char op, const char *line, size_t len)
{
	(void)ctx;
	buf_printf(&told, "%c%.*s\n", op, (int)len, line);
	if (op != '+') buf_printf(&a_again, "%.*s\n", (int)len, line);
	if (op != '-') buf_printf(&b_again, "%.*s\n", (int)len, line);
}

static const char *diff(const char *a, const char *b)
{
	struct err e;
	buf_init(&told, 64 << 20);
	buf_init(&a_again, 64 << 20);
	buf_init(&b_again, 64 << 20);
	CHECK_OK(diff_lines(a, strlen(a), b, strlen(b), hear, NULL, &e), e);
	CHECK_STR(buf_cstr(&a_again), a);
	CHECK_STR(buf_cstr(&b_again), b);
	return buf_cstr(&told);
}

static void clear(void)
{
	buf_clear(&told);
	buf_clear(&a_again);
	buf_clear(&b_again);
}

TEST(diff_tells_lines_in_order)
{
	CHECK_STR(diff("", ""), "");
	clear();
	CHECK_STR(diff("a\nb\nc\n", "a\nb\nc\n"), " a\n b\n c\n");
	clear();
	CHECK_STR(diff("a\nb\nc\n", "a\nx\nc\nd\n"), " a\n-b\n+x\n c\n+d\n");
	clear();
	CHECK_STR(diff("", "a\n\n"), "+a\n+\n");
	clear();
	CHECK_STR(diff("a\na\nb\na\n", "a\nb\na\na\n"), " a\n-a\n b\n+a\n a\n");
	clear();
}

TEST(diff_of_many_lines_gives_both_texts_back)
{
	struct buf a, b;
	uint32_t seed = 7;
	buf_init(&a, 1 << 20);
	buf_init(&b, 1 << 20);
	for (int i = 0; i < 400; i++) {
		seed = seed * 1664525u + 1013904223u;
		unsigned v = (seed >> 24) % 9, where = (seed >> 16) % 8;
		if (where != 1) buf_printf(&a, "line %u\n", v);
		if (where != 2) buf_printf(&b, "line %u\n", where == 3 ? v + 1 : v);
	}
	diff(buf_cstr(&a), buf_cstr(&b));
	CHECK(told.len < a.len + b.len);
	clear();
	buf_reset(&a);
	buf_reset(&b);
	for (int i = 0; i < 3000; i++) {
		buf_printf(&a, "a%d\n", i);
		buf_printf(&b, "b%d\n", i);
	}
	diff(buf_cstr(&a), buf_cstr(&b));
	clear();
	buf_clear(&a);
	buf_clear(&b);
}

TEST(diff_of_a_last_line_without_its_end)
{
	struct err e;
	buf_init(&told, 1 << 10);
	buf_init(&a_again, 1 << 10);
	buf_init(&b_again, 1 << 10);
	CHECK_OK(diff_lines("x\ny", 3, "x\ny\n", 4, hear, NULL, &e), e);
	CHECK_STR(buf_cstr(&told), " x\n y\n");
	clear();
}
