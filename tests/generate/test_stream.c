/* test_stream.c: UTF-8 that comes in pieces, bad bytes, and text held back for stops. */
#include "base/utf8.h"
#include "base/err.h"
#include "generate/stream.h"
#include "tests/test.h"

static char heard[400];
static size_t heard_n;

static int hear(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	CHECK(len && utf8_valid(text, len) && heard_n + len < sizeof heard);
	memcpy(heard + heard_n, text, len);
	heard[heard_n += len] = 0;
	return 0;
}

/* Puts `bytes` in pieces of `step`; the text must be `want`. Returns whether a stop ended it. */
static int play(const char *bytes, size_t step, const char *const *stops, const char *want)
{
	struct buf text;
	struct stream s = { .text = &text, .stops = stops, .on_text = hear };
	int stopped = 0;
	size_t n = strlen(bytes);
	buf_init(&text, 1000);
	heard_n = 0;
	heard[0] = 0;
	for (size_t at = 0; at < n && !stopped; at += step) {
		CHECK_INT(stream_put(&s, bytes + at, n - at < step ? n - at : step, &stopped), 0);
		CHECK(utf8_valid(buf_cstr(&text), text.len) && heard_n <= text.len);
	}
	stream_end(&s);
	CHECK_STR(buf_cstr(&text), want);
	CHECK_STR(heard, want);
	buf_clear(&text);
	return stopped;
}

TEST(stream_whole_utf8)
{
	for (size_t step = 1; step < 9; step++) {
		play("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x91\x8d!", step, NULL, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x91\x8d!");
		play("x\xff\x80y\xe2\x82z\xed\xa0\x80w", step, NULL,
			"x\xef\xbf\xbd\xef\xbf\xbdy\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdw");
		play("cut \xf0\x9f\x91", step, NULL, "cut ");
	}
}

TEST(stream_stops)
{
	static const char *const stops[] = { "", "\n\nUser:", "aab", "\xe2\x82\xac!", NULL };
	for (size_t step = 1; step < 9; step++) {
		CHECK(play("hello\n\nUser: x", step, stops, "hello"));
		CHECK(play("caaab", step, stops, "ca"));
		CHECK(play("5 \xe2\x82\xac! no", step, stops, "5 "));
		CHECK(!play("5 \xe2\x82\xac, aa\n\nUse", step, stops, "5 \xe2\x82\xac, aa\n\nUse"));
		CHECK(play("User: aa \n\n\nUser:", step, stops, "User: aa \n"));
	}
}

TEST(stream_holds_back_what_a_stop_may_take)
{
	static const char *const stops[] = { "END", NULL };
	struct buf text;
	struct stream s = { .text = &text, .stops = stops, .on_text = hear };
	int stopped;
	buf_init(&text, 20);
	heard_n = 0;
	stream_put(&s, "one E", 5, &stopped);
	CHECK_STR(heard, "one ");
	stream_put(&s, "N", 1, &stopped);
	CHECK_STR(heard, "one ");
	stream_put(&s, "E", 1, &stopped);
	CHECK_STR(heard, "one EN");
	CHECK_INT(stream_put(&s, "0123456789abcdefgh", 18, &stopped), E_LIMIT);
	buf_clear(&text);
}
