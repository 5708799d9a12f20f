/* test_clean.c: the form text is stored in. */
#include "ingest/clean.h"
#include "tests/test.h"

static const char *clean(const char *s, size_t len)
{
	static char out[512];
	struct buf b, scratch;
	struct err e = { 0 };

	buf_init(&b, 500);
	buf_init(&scratch, 500);
	CHECK_OK(clean_put(s, len, &b, &scratch, &e), e);
	memcpy(out, buf_cstr(&b), b.len + 1);
	buf_clear(&b);
	buf_clear(&scratch);
	return out;
}

TEST(clean_text)
{
	CHECK_STR(clean("a\r\nb\rc\n", 7), "a\nb\nc");
	CHECK_STR(clean("\n\n  a  \n\n\n\n\tb\t\n", 16), "  a\n\n\tb");
	CHECK_STR(clean("a\0b\x01" "c\x7f", 6), "abc");
	CHECK_STR(clean("\xEF\xBB\xBFx\xEF\xBB\xBF", 7), "x");
	CHECK_STR(clean("e\xCC\x81", 3), "\xC3\xA9");
	CHECK_STR(clean("a\xFF" "b", 3), "a\xEF\xBF\xBD" "b");
	CHECK_STR(clean("a\fb\xC2\x85" "c\xC2\x80", 8), "a\nb\nc");
	CHECK_STR(clean("", 0), "");
	CHECK_STR(clean(" \n \t\n", 5), "");
}

TEST(clean_blank)
{
	CHECK(clean_is_blank("", 0));
	CHECK(clean_is_blank(" \t\n\xC2\xA0\xE2\x80\x8B\xEF\xBB\xBF", 11));
	CHECK(!clean_is_blank(" . ", 3));
	CHECK(!clean_is_blank("\xFF", 1));
}
