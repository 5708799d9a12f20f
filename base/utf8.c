/* utf8.c: owns UTF-8 (RFC 3629) and the table between bytes and code points. The decoder takes the length from the
 * first byte and rejects by value (overlong, surrogate, over U+10FFFF). In valid UTF-8 a code point starts at every
 * byte that is not 10xxxxxx, so counting is counting those bytes; cpmap keeps that count for every CPMAP_STRIDE bytes,
 * and a conversion scans at most one stride. Threads: no state. Failure: -1 for what is not UTF-8. */
#include "base/utf8.h"
#include <string.h>

static int is_tail(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

int32_t utf8_next(const char *s, size_t len, size_t *i)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t at = (*i)++, n;
	unsigned char c = (unsigned char)s[at];
	uint32_t cp;
	if (c < 0x80) return c;
	if (c < 0xc2 || c > 0xf4) return -1;
	n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (n > len - at) return -1;
	cp = c & (0xffu >> (n + 1));
	for (size_t k = 1; k < n; k++) {
		if (!is_tail(s[at + k])) return -1;
		cp = cp << 6 | ((unsigned char)s[at + k] & 0x3f);
	}
	if (cp < least[n] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff)) return -1;
	*i = at + n;
	return (int32_t)cp;
}

int32_t utf8_prev(const char *s, size_t *i)
{
	size_t end = *i, at = end - 1, next;
	int32_t cp;
	while (at > 0 && end - at < 4 && is_tail(s[at])) at--;
	next = at;
	cp = utf8_next(s, end, &next);
	if (cp < 0 || next != end) {
		*i = end - 1;
		return -1;
	}
	*i = at;
	return cp;
}

size_t utf8_put(char out[4], uint32_t cp)
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xc0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

int utf8_valid(const char *s, size_t len)
{
	size_t i = 0;
	while (i < len) {
		uint64_t eight;
		if (len - i >= 8) { /* most text is ASCII: eight bytes at a step */
			memcpy(&eight, s + i, 8);
			if (!(eight & 0x8080808080808080u)) {
				i += 8;
				continue;
			}
		}
		if (utf8_next(s, len, &i) < 0) return 0;
	}
	return 1;
}

size_t utf8_count(const char *s, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) n += !is_tail(s[i]);
	return n;
}

size_t utf8_offset(const char *s, size_t len, size_t cp)
{
	for (size_t i = 0; i < len; i++) {
		if (is_tail(s[i])) continue;
		if (cp == 0) return i;
		cp--;
	}
	return len;
}

size_t utf8_floor(const char *s, size_t len, size_t at)
{
	if (at >= len) return len;
	while (at > 0 && is_tail(s[at])) at--;
	return at;
}

size_t cpmap_n(size_t text_len)
{
	return text_len / CPMAP_STRIDE + 1;
}

void cpmap_fill(uint32_t *map, const char *text, size_t len)
{
	size_t n = cpmap_n(len);
	map[0] = 0;
	for (size_t i = 1; i < n; i++)
		map[i] = map[i - 1] + (uint32_t)utf8_count(text + (i - 1) * CPMAP_STRIDE, CPMAP_STRIDE);
}

size_t cpmap_to_cp(const uint32_t *map, const char *text, size_t len, size_t byte_off)
{
	size_t at = utf8_floor(text, len, byte_off), i = at / CPMAP_STRIDE;
	return map[i] + utf8_count(text + i * CPMAP_STRIDE, at - i * CPMAP_STRIDE);
}

size_t cpmap_to_byte(const uint32_t *map, const char *text, size_t len, size_t cp)
{
	size_t low = 0, high = cpmap_n(len); /* map[low] <= cp; every entry from high on is larger */
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		if (map[mid] <= cp) low = mid;
		else high = mid;
	}
	return low * CPMAP_STRIDE + utf8_offset(text + low * CPMAP_STRIDE, len - low * CPMAP_STRIDE, cp - map[low]);
}
