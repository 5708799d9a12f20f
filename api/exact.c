/* exact.c: identifiers in queries and texts (exact.h).
 *
 * Method: an embedding knows nothing of ERR-4021, and as words it is two, each of which others hold too; as it is
 * written it is one thing or none. So it is looked for as bytes. Failure: none. */
#include "api/exact.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { LEN_MIN = 3, LEN_MAX = 64 };

static int is_inner(unsigned char c)
{
	return isalnum(c) || c == '_' || c >= 0x80;
}

/* 19th, 2nd, 1980s: numbers as sentences have them. */
static int is_ordinal(const char *s, size_t len)
{
	static const char *const ends[] = { "st", "nd", "rd", "th", "s", "'s" };
	size_t digits = 0;
	while (digits < len && isdigit((unsigned char)s[digits])) digits++;
	for (size_t i = 0; digits && i < sizeof ends / sizeof *ends; i++)
		if (strlen(ends[i]) == len - digits && strncasecmp(s + digits, ends[i], len - digits) == 0) return 1;
	return 0;
}

static int is_identifier(const char *s, size_t len)
{
	int digit = 0, other = 0, low = 0, stops = 0;
	if (len < LEN_MIN || len > LEN_MAX || is_ordinal(s, len)) return 0;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		if (isdigit(c)) digit = 1;
		else if (c == '_') low = 1;
		else if (c == '.') stops++;
		else if (c != ',' && (isalpha(c) || c >= 0x80 || strchr("-/:#", c))) other = 1;
	}
	return low || (digit && (other || stops >= 2));
}

size_t exact_take(const char *query, size_t len, struct span out[EXACT_MAX])
{
	size_t n = 0, at = 0, words = 0, end;
	for (; at < len; at = end) {
		size_t last;
		while (at < len && isspace((unsigned char)query[at])) at++;
		if (at < len && ++words > EXACT_MAX) return 0;
		for (end = at; end < len && !isspace((unsigned char)query[end]);) end++;
		last = end;
		while (at < last && !is_inner((unsigned char)query[at])) at++;
		while (last > at && !is_inner((unsigned char)query[last - 1])) last--;
		if (is_identifier(query + at, last - at)) out[n++] = (struct span){ (uint32_t)at, (uint32_t)(last - at) };
	}
	return n;
}

size_t exact_find(const char *text, size_t len, size_t from, const char *id, size_t id_len)
{
	for (size_t at = from; id_len && at + id_len <= len; at++) {
		size_t i = 0;
		while (i < id_len && tolower((unsigned char)text[at + i]) == tolower((unsigned char)id[i])) i++;
		if (i == id_len && (at == 0 || !is_inner((unsigned char)text[at - 1])) && (at + i == len || !is_inner((unsigned char)text[at + i])))
			return at;
	}
	return len;
}

int exact_holds(const char *text, size_t len, const char *id, size_t id_len)
{
	return exact_find(text, len, 0, id, id_len) < len;
}
