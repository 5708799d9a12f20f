/* test_utf8.c: every scalar value there and back, tables of what is no UTF-8, and the byte/code point table against
 * plain counting over random mixed text. */
#include "base/utf8.h"
#include "base/mem.h"
#include "tests/test.h"

static const char *const invalid[] = {
	"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
	"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
	"\xf7\xbf\xbf\xbf", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xfe", "\xff", "\xc3", "\xe2\x82",
	"\xf0\x9f\x98", "\xc3(", "\xe2\x28\xa1", "\xe2\x82\x28", "\xf0\x28\x8c\xbc", "\xf0\x90\x28\xbc", "\xf0\x28\x8c\x28", "a\xc3", "\xc3\xc3\xa9",
};

TEST(utf8_every_scalar_value_round_trips)
{
	for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
		char s[4];
		size_t n, i = 0, j;
		if (cp >= 0xd800 && cp <= 0xdfff) continue;
		n = utf8_put(s, cp);
		j = n;
		CHECK(utf8_next(s, n, &i) == (int32_t)cp && i == n);
		CHECK(utf8_prev(s, &j) == (int32_t)cp && j == 0);
		CHECK(utf8_valid(s, n) && utf8_count(s, n) == 1);
		for (size_t cut = 1; cut < n; cut++) CHECK(!utf8_valid(s, cut));
	}
}

TEST(utf8_invalid_is_refused)
{
	for (size_t k = 0; k < sizeof invalid / sizeof *invalid; k++) {
		const char *s = invalid[k];
		size_t len = strlen(s), i = 0, bad = 0, back = len, bad_back = 0;
		char padded[64] = "0123456789abcdef";
		CHECK_MSG(!utf8_valid(s, len), "case %zu", k);
		while (i < len) {
			size_t at = i;
			if (utf8_next(s, len, &i) >= 0) continue;
			bad++;
			CHECK_INT(i, at + 1);
		}
		while (back > 0) {
			size_t at = back;
			if (utf8_prev(s, &back) >= 0) continue;
			bad_back++;
			CHECK_INT(back, at - 1);
		}
		CHECK(bad > 0);
		CHECK_INT(bad_back, bad);
		for (size_t at = 0; at < 16; at++) { /* wherever the eight-byte step stands */
			memcpy(padded + at, s, len);
			memset(padded + at + len, 'z', 16);
			CHECK(!utf8_valid(padded, at + len + 16));
			memcpy(padded, "0123456789abcdef", 16);
		}
	}
}

/* All strings of three bytes over the edges of the ranges: forward and backward agree with the table of RFC 3629. */
TEST(utf8_three_bytes_over_the_edges)
{
	static const unsigned char edge[] = { 0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
		0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf4, 0xf5, 0xff };
	const size_t n = sizeof edge;
	for (size_t k = 0; k < n * n * n; k++) {
		unsigned char b[3] = { edge[k / n / n], edge[k / n % n], edge[k % n] };
		int tail1 = b[1] >= 0x80 && b[1] <= 0xbf, tail2 = b[2] >= 0x80 && b[2] <= 0xbf, want = 0;
		size_t i = 0;
		if (b[0] < 0x80) want = 1;
		else if (b[0] >= 0xc2 && b[0] <= 0xdf && tail1) want = 2;
		else if (b[0] == 0xe0 && b[1] >= 0xa0 && b[1] <= 0xbf && tail2) want = 3;
		else if (b[0] == 0xed && b[1] >= 0x80 && b[1] <= 0x9f && tail2) want = 3;
		else if (b[0] >= 0xe1 && b[0] <= 0xef && b[0] != 0xed && tail1 && tail2) want = 3;
		CHECK(utf8_next((char *)b, 3, &i) >= 0 ? (int)i == want : want == 0 && i == 1);
	}
}

TEST(utf8_offsets)
{
	const char *s = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"; /* a é € 😀 z at 0 1 3 6 10 */
	static const size_t at[] = { 0, 1, 3, 6, 10, 11, 11 };
	static const size_t floor_of[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11 };
	for (size_t cp = 0; cp < 7; cp++) CHECK_INT(utf8_offset(s, 11, cp), at[cp]);
	for (size_t b = 0; b < 14; b++) CHECK_INT(utf8_floor(s, 11, b), floor_of[b]);
	CHECK_INT(utf8_count(s, 11), 5);
	CHECK_INT(utf8_count(s, 0), 0);
	CHECK(utf8_valid(s, 0));
	CHECK_INT(utf8_offset(s, 0, 0), 0);
}

static uint32_t random_next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Mixed text of exactly len bytes: stretches of one width each, ASCII to fill the end. */
static void text_make(char *s, size_t len, uint32_t seed)
{
	static const uint32_t first[] = { 'a', 0xe0, 0x4e00, 0x1f600 };
	uint32_t x = seed | 1;
	size_t i = 0;
	while (len - i >= 4) {
		uint32_t kind = random_next(&x) % 4, run = random_next(&x) % 40;
		for (uint32_t k = 0; k < run && len - i >= 4; k++) i += utf8_put(s + i, first[kind] + random_next(&x) % 20);
	}
	while (i < len) s[i++] = '.';
}

TEST(cpmap_agrees_with_counting)
{
	static const size_t lens[] = { 0, 1, 3, 1023, 1024, 1025, 2047, 2048, 2049, 5000, 10240, 12345 };
	for (size_t k = 0; k < sizeof lens / sizeof *lens; k++)
		for (uint32_t seed = 1; seed < 6; seed++) {
			size_t len = lens[k], total, n = cpmap_n(len);
			char *s = mem_alloc(len);
			uint32_t *map = mem_alloc(n * sizeof *map);
			CHECK(s && map);
			text_make(s, len, seed * 7919);
			CHECK(utf8_valid(s, len));
			cpmap_fill(map, s, len);
			total = utf8_count(s, len);
			for (size_t b = 0; b <= len; b += b % 1024 < 4 || b % 1024 > 1019 ? 1 : 3)
				CHECK_INT(cpmap_to_cp(map, s, len, b), utf8_count(s, utf8_floor(s, len, b)));
			for (size_t cp = 0; cp <= total; cp++) {
				size_t b = cpmap_to_byte(map, s, len, cp);
				CHECK(b <= len && utf8_floor(s, len, b) == b);
				CHECK_INT(cpmap_to_cp(map, s, len, b), cp);
			}
			CHECK_INT(cpmap_to_byte(map, s, len, total + 1), len);
			CHECK_INT(cpmap_to_byte(map, s, len, (size_t)-1), len);
			CHECK_INT(cpmap_to_cp(map, s, len, len + 99), total);
			mem_free(s), mem_free(map);
		}
}

TEST(cpmap_has_an_entry_per_stride)
{
	CHECK_INT(cpmap_n(0), 1);
	CHECK_INT(cpmap_n(CPMAP_STRIDE - 1), 1);
	CHECK_INT(cpmap_n(CPMAP_STRIDE), 2);
	CHECK_INT(cpmap_n(10 * CPMAP_STRIDE + 5), 11);
}
