/* test_clock.c: dates from their milliseconds (figures from `date -u -d @…`), and a clock that does not step back. */
#include "base/clock.h"
#include "tests/test.h"

TEST(clock_text_is_rfc3339)
{
	static const struct { int64_t ms; const char *text; } cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z" }, { 1767323045678, "2026-01-02T03:04:05.678Z" },
		{ 951782400000, "2000-02-29T00:00:00.000Z" }, { -1, "1969-12-31T23:59:59.999Z" },
		{ -1000, "1969-12-31T23:59:59.000Z" }, { 253402300799999, "9999-12-31T23:59:59.999Z" },
		{ INT64_MAX, "9999-12-31T23:59:59.999Z" }, { INT64_MIN, "0000-01-01T00:00:00.000Z" },
	};
	char text[CLOCK_TEXT_LEN];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		clock_text(text, cases[i].ms);
		CHECK_STR(text, cases[i].text);
	}
}

TEST(clock_runs_forward)
{
	uint64_t before = clock_us();
	for (int i = 0; i < 10000; i++) {
		uint64_t now = clock_us();
		CHECK(now >= before);
		before = now;
	}
	CHECK(clock_ms() >= (double)before / 1000);
	CHECK(clock_wall_ms() > 1700000000000);
}
