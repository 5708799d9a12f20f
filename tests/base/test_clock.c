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

TEST(clock_reads_dates_and_moments)
{
	static const struct { const char *text, *moment; int day; } good[] = {
		{ "2026-12-31", "2027-01-01T00:00:00.000Z", 1 }, { "2024-02-29", "2024-03-01T00:00:00.000Z", 1 },
		{ "2026-12-31T12:00:00Z", "2026-12-31T12:00:00.000Z", 0 }, { "2026-12-31t12:30z", "2026-12-31T12:30:00.000Z", 0 },
		{ "2026-12-31 12:00:00.1234Z", "2026-12-31T12:00:00.123Z", 0 }, { "2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00.000Z", 0 },
		{ "2026-01-01T00:30:00-01:30", "2026-01-01T02:00:00.000Z", 0 } };
	static const char *const bad[] = { "", "2026", "2026-1-1", "2026-13-01", "2026-02-30", "2026-00-10", "2026-01-00", "2026-01-01T", "2026-01-01T24:00Z", "2026-01-01T12:60Z",
		"2026-01-01T12:00", "2026-01-01T12:00:00", "2026-01-01T12:00:00Zx", "2026-01-01T12:00:00+1:00", "2026-01-01x", "soon", "2026-01-01T12:00:61Z", "-026-01-01" };
	char text[CLOCK_TEXT_LEN];
	int64_t ms;
	int day;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		CHECK_MSG(clock_read(good[i].text, &ms, &day), "%s", good[i].text);
		clock_text(text, ms);
		CHECK_STR(text, good[i].moment);
		CHECK_INT(day, good[i].day);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK_MSG(!clock_read(bad[i], &ms, NULL), "%s", bad[i]);
}

/* Names lie in order of their times and are 16 hex digits. */
TEST(clock_names)
{
	char early[CLOCK_NAME_LEN], late[CLOCK_NAME_LEN];
	clock_name(early, 1767225600000);
	clock_name(late, 1767225600001);
	CHECK(strlen(early) == 16 && strspn(early, "0123456789abcdef") == 16);
	CHECK(strncmp(early, late, 12) < 0);
}
