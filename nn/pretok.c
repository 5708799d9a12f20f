/* pretok.c: owns the pre-tokenizers. The expressions they stand for, tried from left to right at each place:
 *
 *   qwen2   (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N} | ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+
 *           | \s+(?!\S) | \s+
 *   llama3  the same with \p{N}{1,3} for \p{N}
 *   smollm  every decimal digit by itself, then within what lies between (GPT-2, Radford et al. 2019)
 *           's|'t|'re|'ve|'m|'ll|'d | ?\p{L}+ | ?\p{N}+ | ?[^\s\p{L}\p{N}]+ | \s+(?!\S) | \s+
 *
 * (" ?" is an optional blank.) In smollm digits are the category Nd: the reference tokens keep " ½" together.
 * Neither needs backtracking: a run of white space is measured once and then cut where the expression would give back.
 * Threads: no state. Failure: none. */
#include "nn/pretok.h"
#include <stdint.h>
#include <string.h>
#include "base/unicode.h"
#include "base/utf8.h"

enum kind { END, LETTER, NUMBER, SPACE, OTHER };

static const struct { const char *name; enum pretok id; } names[] = {
	{ "qwen2", PRETOK_QWEN2 }, { "smollm", PRETOK_SMOLLM }, { "llama-bpe", PRETOK_LLAMA3 }, { "llama3", PRETOK_LLAMA3 },
};

int pretok_find(const char *name, size_t len, enum pretok *out)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i].name) == len && memcmp(names[i].name, name, len) == 0) {
			*out = names[i].id;
			return 1;
		}
	return 0;
}

const char *pretok_names(void)
{
	return "qwen2, smollm, llama-bpe";
}

struct scan { const char *text; size_t len; };

static enum kind kind_of(int32_t cp)
{
	if (cp >= 0 && cp < 128) {
		if ((cp | 32) >= 'a' && (cp | 32) <= 'z') return LETTER;
		if (cp >= '0' && cp <= '9') return NUMBER;
		return cp == ' ' || (cp >= 9 && cp <= 13) ? SPACE : OTHER;
	}
	if (cp < 0) return OTHER;
	if (uni_is_white_space((uint32_t)cp)) return SPACE;
	switch (uni_class((uint32_t)cp)) {
	case UNI_LETTER: return LETTER;
	case UNI_NUMBER: return NUMBER;
	default: return OTHER;
	}
}

/* Kind of the character at `at`; *next becomes the place behind it, *cp (may be NULL) the character, -1 for no
 * UTF-8. */
static enum kind peek(const struct scan *s, size_t at, size_t *next, int32_t *cp)
{
	int32_t c;
	*next = at;
	if (at >= s->len) return END;
	c = utf8_next(s->text, s->len, next);
	if (cp) *cp = c;
	return kind_of(c);
}

/* Past the run of one kind from `at`. */
static size_t run_of(const struct scan *s, enum kind k, size_t at)
{
	size_t next;
	while (peek(s, at, &next, NULL) == k) at = next;
	return at;
}

static int is_newline(char c)
{
	return c == '\r' || c == '\n';
}

/* Length of an English contraction at text[at] == '\'', or 0. With fold also in capitals, and with U+017F, which
 * folds to s. */
static size_t contraction(const struct scan *s, size_t at, int fold)
{
	static const char *const two[] = { "re", "ve", "ll" };
	const char *t = s->text + at + 1;
	size_t left = s->len - at - 1;
	char a = left > 0 ? t[0] : 0, b = left > 1 ? t[1] : 0;
	if (fold && left > 1 && (uint8_t)a == 0xc5 && (uint8_t)b == 0xbf) return 3;
	if (fold && a >= 'A' && a <= 'Z') a = (char)(a + 32);
	if (fold && b >= 'A' && b <= 'Z') b = (char)(b + 32);
	if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
	for (size_t i = 0; i < sizeof two / sizeof *two; i++)
		if (a == two[i][0] && b == two[i][1]) return 3;
	return 0;
}

/* \s+(?!\S) | \s+ over the run [at, end): the last character of a run that something follows belongs to what
 * follows. */
static size_t blank_end(const struct scan *s, size_t at, size_t end)
{
	size_t last = end;
	if (end == s->len) return end;
	utf8_prev(s->text, &last);
	return last > at ? last : end;
}

/* numbers: digits a word may have. */
static size_t next_qwen2(const struct scan *s, size_t at, int numbers)
{
	size_t one, two, end, n;
	int32_t cp = -1;
	enum kind k = peek(s, at, &one, &cp), k2;
	if (cp == '\'' && (n = contraction(s, at, 1)) != 0) return at + n;
	if (k == LETTER) return run_of(s, LETTER, one);
	if (k == NUMBER) {
		while (--numbers && peek(s, one, &two, NULL) == NUMBER) one = two;
		return one;
	}
	k2 = peek(s, one, &two, NULL);
	if (k2 == LETTER && cp != '\r' && cp != '\n') return run_of(s, LETTER, two);
	if (k == OTHER || (cp == ' ' && k2 == OTHER)) {
		end = run_of(s, OTHER, one);
		while (end < s->len && is_newline(s->text[end])) end++;
		return end;
	}
	end = run_of(s, SPACE, one);
	for (n = end; n > at; n--) /* \s*[\r\n]+: up to the last line break of the run */
		if (is_newline(s->text[n - 1])) return n;
	return blank_end(s, at, end);
}

static int is_digit(int32_t cp)
{
	return cp < 128 ? /* also -1 */ cp >= '0' && cp <= '9' : strcmp(uni_category((uint32_t)cp), "Nd") == 0;
}

/* End of the stretch without decimal digits that starts at `at`, looking no further than `limit`. */
static size_t digit_free(const struct scan *s, size_t at, size_t limit)
{
	while (at < limit) {
		size_t next = at;
		if (is_digit(utf8_next(s->text, s->len, &next))) break;
		at = next;
	}
	return at < limit ? at : limit;
}

static size_t next_gpt2(const struct scan *s, size_t at)
{
	size_t one, two, n, end;
	int32_t cp = -1;
	enum kind k = peek(s, at, &one, &cp), k2;
	if (cp == '\'' && (n = contraction(s, at, 0)) != 0) return at + n;
	if (k != SPACE) return run_of(s, k, one);
	if (cp == ' ') {
		k2 = peek(s, one, &two, NULL);
		if (k2 != SPACE && k2 != END) return run_of(s, k2, two);
	}
	end = run_of(s, SPACE, one);
	return blank_end(s, at, end);
}

/* A digit ends the text of the stretch before it, so that white space in front of it stands alone, whole. */
static size_t next_smollm(const struct scan *s, size_t at)
{
	struct scan part = *s;
	size_t one, next, end;
	int32_t cp = -1;
	enum kind k = peek(s, at, &one, &cp);
	if (is_digit(cp)) return one;
	if (k == SPACE) {
		end = run_of(s, SPACE, one);
		if (peek(s, end, &next, &cp) == NUMBER && is_digit(cp)) return end;
	}
	end = next_gpt2(s, at);
	part.len = digit_free(s, at, end);
	return part.len == end ? end : next_gpt2(&part, at);
}

size_t pretok_next(enum pretok p, const char *text, size_t len, size_t at)
{
	struct scan s = { text, len };
	switch (p) {
	case PRETOK_QWEN2: return next_qwen2(&s, at, 1);
	case PRETOK_LLAMA3: return next_qwen2(&s, at, 3);
	default: return next_smollm(&s, at);
	}
}
