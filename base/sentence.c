/* sentence.c: where sentences end. Owns the tables of terminators, closers and abbreviations.
 *
 * Method: one pass from left to right. A candidate border is a run of terminators with the closing quotes, brackets
 * and reference marks behind it. What stands before a single full stop (abbreviation, initial, ordinal) and what comes
 * after the white space (lower case, a dash, a common first word) decide whether it is one: the rules that Kiss and
 * Strunk 2006 (Punkt) learn are written down here for English with some German and French, because a table can be
 * read and does not change from document to document. Scripts with a terminator of their own (CJK, Devanagari) need
 * none of them. Look-behind is bounded by the longest abbreviation, so that time is linear in the text.
 *
 * No state: every call is thread-safe. There is no failure; bytes that are not UTF-8 count as letters. */
#include "base/sentence.h"

#include <stdint.h>
#include <string.h>

#include "base/unicode.h"
#include "base/utf8.h"

enum {
	TOKEN_MAX = 40,         /* bytes looked at before a full stop */
	TAIL_MAX = 512,         /* bytes sentence_ends looks at behind and ahead */
	NEXT_MAX = 128
};

enum term { TERM_NONE, TERM_STOP, TERM_STRONG, TERM_CJK };

/* What an abbreviation says about a border behind it. */
enum abbr {
	ABBR_NONE,
	ABBR_NEVER,             /* "Dr.": something follows */
	ABBR_DIGIT,             /* "No.": none when a number follows */
	ABBR_STARTER            /* "U.S.", "etc.": one only before a common first word of a sentence */
};

static const struct { const char *word; enum abbr kind; } abbreviations[] = {
	{ "mr", ABBR_NEVER }, { "mrs", ABBR_NEVER }, { "ms", ABBR_NEVER }, { "messrs", ABBR_NEVER }, { "dr", ABBR_NEVER },
	{ "prof", ABBR_NEVER }, { "gen", ABBR_NEVER }, { "col", ABBR_NEVER }, { "maj", ABBR_NEVER }, { "capt", ABBR_NEVER },
	{ "cpt", ABBR_NEVER }, { "lt", ABBR_NEVER }, { "sgt", ABBR_NEVER }, { "cmdr", ABBR_NEVER }, { "adm", ABBR_NEVER },
	{ "rev", ABBR_NEVER }, { "hon", ABBR_NEVER }, { "sen", ABBR_NEVER }, { "rep", ABBR_NEVER }, { "gov", ABBR_NEVER },
	{ "pres", ABBR_NEVER }, { "supt", ABBR_NEVER }, { "mme", ABBR_NEVER }, { "mlle", ABBR_NEVER },
	{ "vs", ABBR_NEVER }, { "cf", ABBR_NEVER }, { "viz", ABBR_NEVER }, { "approx", ABBR_NEVER }, { "ca", ABBR_NEVER },
	{ "eg", ABBR_NEVER }, { "ie", ABBR_NEVER }, { "e.g", ABBR_NEVER }, { "i.e", ABBR_NEVER }, { "fig", ABBR_NEVER },
	{ "figs", ABBR_NEVER }, { "eq", ABBR_NEVER }, { "eqs", ABBR_NEVER }, { "bzw", ABBR_NEVER }, { "z.b", ABBR_NEVER },
	{ "d.h", ABBR_NEVER }, { "u.a", ABBR_NEVER }, { "incl", ABBR_NEVER }, { "resp", ABBR_NEVER },
	{ "no", ABBR_DIGIT }, { "nos", ABBR_DIGIT }, { "nr", ABBR_DIGIT }, { "p", ABBR_DIGIT }, { "pp", ABBR_DIGIT },
	{ "vol", ABBR_DIGIT }, { "vols", ABBR_DIGIT }, { "ch", ABBR_DIGIT }, { "chap", ABBR_DIGIT }, { "sec", ABBR_DIGIT },
	{ "sect", ABBR_DIGIT }, { "art", ABBR_DIGIT }, { "ref", ABBR_DIGIT }, { "pt", ABBR_DIGIT }, { "op", ABBR_DIGIT },
	{ "abs", ABBR_DIGIT }, { "par", ABBR_DIGIT }, { "ext", ABBR_DIGIT }, { "tel", ABBR_DIGIT }, { "jan", ABBR_DIGIT },
	{ "feb", ABBR_DIGIT }, { "mar", ABBR_DIGIT }, { "apr", ABBR_DIGIT }, { "jun", ABBR_DIGIT }, { "jul", ABBR_DIGIT },
	{ "aug", ABBR_DIGIT }, { "sep", ABBR_DIGIT }, { "sept", ABBR_DIGIT }, { "oct", ABBR_DIGIT }, { "nov", ABBR_DIGIT },
	{ "dec", ABBR_DIGIT }, { "v", ABBR_DIGIT },
	{ "etc", ABBR_STARTER }, { "inc", ABBR_STARTER }, { "ltd", ABBR_STARTER }, { "co", ABBR_STARTER },
	{ "corp", ABBR_STARTER }, { "bros", ABBR_STARTER }, { "assn", ABBR_STARTER }, { "dept", ABBR_STARTER },
	{ "univ", ABBR_STARTER }, { "jr", ABBR_STARTER }, { "sr", ABBR_STARTER }, { "al", ABBR_STARTER },
	{ "ave", ABBR_STARTER }, { "blvd", ABBR_STARTER }, { "rd", ABBR_STARTER }, { "st", ABBR_STARTER },
	{ "mt", ABBR_STARTER }, { "ft", ABBR_STARTER }, { "est", ABBR_STARTER }, { "ed", ABBR_STARTER },
	{ "eds", ABBR_STARTER }, { "ph.d", ABBR_STARTER }, { "usw", ABBR_STARTER }, { "max", ABBR_STARTER },
	{ "min", ABBR_STARTER },
};

/* Words that begin a sentence far more often than they follow an abbreviation. */
static const char *const starters[] = {
	"a", "after", "all", "although", "an", "and", "another", "as", "at", "because", "before", "both", "but", "by",
	"during", "each", "for", "from", "he", "her", "here", "his", "how", "however", "i", "if", "in", "it", "its", "many",
	"most", "no", "not", "on", "one", "our", "she", "since", "so", "some", "such", "that", "the", "their", "then",
	"there", "these", "they", "this", "those", "to", "under", "until", "we", "what", "when", "where", "while", "who",
	"why", "with", "yet", "you", "your",
};

static const char *const months_de[] = {
	"januar", "februar", "märz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november",
	"dezember",
};

static enum term term_of(int32_t c)
{
	switch (c) {
	case '.': case 0x2026: case 0x2024:
		return TERM_STOP;
	case '!': case '?': case 0x203C: case 0x203D: case 0x2047: case 0x2048: case 0x2049: /* doubled marks */
	case 0x061F: case 0x06D4:                                                       /* Arabic question mark, full stop */
	case 0x0589: case 0x1362: case 0x1367: case 0x0964: case 0x0965: case 0x104B:   /* Armenian, Ethiopic, danda, Burmese */
		return TERM_STRONG;
	case 0x3002: case 0xFF01: case 0xFF1F: case 0xFF61: case 0xFF0E:
		return TERM_CJK;
	default:
		return TERM_NONE;
	}
}

static int is_closer(int32_t c)
{
	switch (c) {
	case '"': case '\'': case ')': case ']': case '}': case 0x2019: case 0x201D: case 0xBB: case 0x203A:
	case 0x300D: case 0x300F: case 0xFF09: case 0x3011: case 0x300B: case 0x3009: case 0xFF02: case 0xFF07:
		return 1;
	default:
		return 0;
	}
}

static int is_opener(int32_t c)
{
	switch (c) {
	case '"': case '\'': case '(': case '[': case '{': case 0x2018: case 0x201C: case 0x201E: case 0x201A: case 0xAB:
	case 0x2039: case 0x300C: case 0x300E: case 0xFF08: case 0x3010: case 0x300A: case 0x3008: case 0xBF: case 0xA1:
	case '*': case '_':
		return 1;
	default:
		return 0;
	}
}

static int is_space(int32_t c)
{
	return c >= 0 && (c < 0x80 ? c == ' ' || (c >= 9 && c <= 13) : uni_is_white_space((uint32_t)c));
}

static int is_dash_or_comma(int32_t c)
{
	return c == ',' || c == ';' || c == ':' || c == '-' || c == 0x2013 || c == 0x2014 || c == 0xFF0C || c == 0x3001;
}

static int is_digit(int32_t c)
{
	return c >= '0' && c <= '9';
}

/* Lower-cases up to cap - 1 bytes of a word; 0 when it does not fit. */
static size_t word_lower(char *out, size_t cap, const char *s, size_t len)
{
	size_t n = 0, i = 0;

	while (i < len) {
		size_t was = i;
		int32_t c = utf8_next(s, len, &i);
		char b[4];
		size_t k;

		if (c < 0) {
			b[0] = s[was];
			k = 1;
		} else {
			k = utf8_put(b, uni_tolower((uint32_t)c));
		}
		if (n + k >= cap)
			return 0;
		memcpy(out + n, b, k);
		n += k;
	}
	out[n] = 0;
	return n;
}

/* The word that begins at s[at], lower-cased; quotes before it are passed over. */
static size_t word_after(char *out, size_t cap, const char *s, size_t len, size_t at)
{
	size_t i = at, begin;

	while (i < len) {
		size_t was = i;

		if (!is_opener(utf8_next(s, len, &i))) {
			i = was;
			break;
		}
	}
	begin = i;
	while (i < len && i - begin < TOKEN_MAX) {
		size_t was = i;
		int32_t c = utf8_next(s, len, &i);

		if (c >= 0 && !uni_is_word((uint32_t)c) && c != 0x2019 && c != '\'') {
			i = was;
			break;
		}
	}
	return word_lower(out, cap, s + begin, i - begin);
}

static int word_in(const char *w, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(w, list[i]) == 0)
			return 1;
	return 0;
}

/* "u.s", "a.m", "z.b": single letters with full stops between them. */
static int is_dotted(const char *w, size_t len)
{
	size_t i = 0, dots = 0;

	while (i < len) {
		int32_t c = utf8_next(w, len, &i);

		if (c < 0 || uni_class((uint32_t)c) != UNI_LETTER)
			return 0;
		if (i == len)
			return dots > 0;
		if (w[i++] != '.')
			return 0;
		dots++;
	}
	return 0;
}

/* One upper-case letter: the initial of a name. */
static int is_initial(const char *s, size_t len)
{
	size_t i = 0;
	int32_t c;

	if (len == 0)
		return 0;
	c = utf8_next(s, len, &i);
	return c >= 0 && i == len && strcmp(uni_category((uint32_t)c), "Lu") == 0;
}

/* Where the token that ends at s[dot] begins, not before start; brackets and quotes in front are left out. */
static size_t token_start(const char *s, size_t start, size_t dot)
{
	size_t i = dot, floor_at = dot - start > TOKEN_MAX ? dot - TOKEN_MAX : start;

	while (i > floor_at) {
		size_t was = i;
		int32_t c = utf8_prev(s, &i);

		if (is_space(c) || is_opener(c) || c == 0x2014 || c == '/') {
			return was;
		}
	}
	return i < start ? start : i;
}

/* Does the single full stop at s[dot] belong to the word before it? after: where the next word begins (len: nowhere). */
static int stop_is_inner(const char *s, size_t len, size_t start, size_t dot, size_t after)
{
	size_t begin = token_start(s, start, dot), n = dot - begin, word_n, at = after;
	char w[TOKEN_MAX * 2], next[TOKEN_MAX * 2];
	int32_t c = after < len ? utf8_next(s, len, &at) : 0;
	enum abbr kind = ABBR_NONE;
	int all_digits = n > 0;

	if (n == 0 || n > TOKEN_MAX)
		return 0;
	if (is_initial(s + begin, n))
		return 1;
	for (size_t i = 0; i < n; i++)
		all_digits &= is_digit((unsigned char)s[begin + i]);
	word_n = word_lower(w, sizeof w, s + begin, n);
	if (!word_after(next, sizeof next, s, len, after))
		next[0] = 0;
	if (all_digits)         /* "1. Introduction" and "3. Oktober", but "in 1999. The" */
		return (n <= 3 && begin == start) || (n <= 2 && word_in(next, months_de, sizeof months_de / sizeof *months_de));
	for (size_t i = 0; i < sizeof abbreviations / sizeof *abbreviations && kind == ABBR_NONE; i++)
		if (strcmp(w, abbreviations[i].word) == 0)
			kind = abbreviations[i].kind;
	if (kind == ABBR_NONE && is_dotted(w, word_n))
		kind = ABBR_STARTER;
	if (kind == ABBR_DIGIT)
		return is_digit(c);
	if (kind == ABBR_STARTER)
		return !word_in(next, starters, sizeof starters / sizeof *starters);
	return kind == ABBR_NEVER;
}

/* Passes over a reference mark "[12]" or "[note 3]" glued to the terminator. */
static size_t skip_reference(const char *s, size_t len, size_t i)
{
	size_t j = i + 1;

	if (i >= len || s[i] != '[')
		return i;
	while (j < len && j - i < 12 && (is_digit((unsigned char)s[j]) || s[j] == ' ' || (s[j] >= 'a' && s[j] <= 'z')))
		j++;
	return j < len && s[j] == ']' && j > i + 1 ? j + 1 : i;
}

/* A run of terminators, closers and reference marks that begins with the terminator at s[at]. */
struct run {
	size_t end;             /* behind it */
	size_t last_stop;       /* the last terminator in it */
	int stops;              /* terminators */
	enum term kind;         /* the strongest */
};

static struct run run_at(const char *s, size_t len, size_t at)
{
	struct run r = { .end = at, .last_stop = at };

	while (r.end < len) {
		size_t was = r.end, i = r.end;
		int32_t c = utf8_next(s, len, &i);
		enum term t = term_of(c);

		if (t != TERM_NONE) {
			r.last_stop = was;
			r.stops += c == 0x2026 ? 3 : 1;
			r.kind = t > r.kind ? t : r.kind;
		} else if (is_closer(c)) {
			/* "." and then "(" or a word glued on is no closer; only real closers get here */
		} else {
			size_t ref = skip_reference(s, len, was);

			if (ref == was)
				return r;
			i = ref;
		}
		r.end = i;
	}
	return r;
}

/* Is there a sentence border behind the run r (found at s[at]) of a sentence that began at start? */
static int run_is_border(const char *s, size_t len, size_t start, size_t at, const struct run *r)
{
	size_t i = r->end, after = len;
	int32_t c = 0;
	int newlines = 0, spaces = 0;

	if (i >= len || r->kind == TERM_CJK)
		return 1;
	while (i < len) {
		after = i;
		c = utf8_next(s, len, &i);
		if (!is_space(c))
			break;
		spaces++;
		newlines += c == '\n';
		if (newlines == 2)
			return 1;
		after = len;
	}
	if (spaces == 0)
		return 0;                                           /* "3.14", "example.com" */
	if (after == len)
		return r->stops > 1 || r->kind != TERM_STOP || !stop_is_inner(s, len, start, at, len);
	if (is_dash_or_comma(c) || (c >= 0 && strcmp(uni_category((uint32_t)c), "Ll") == 0))
		return 0;
	if (r->kind == TERM_STOP && r->stops == 1 && stop_is_inner(s, len, start, at, after))
		return 0;
	return 1;
}

/* At the line break s[at]: does an empty line follow? */
static int empty_line_at(const char *s, size_t len, size_t at)
{
	for (size_t i = at + 1; i < len; i++) {
		if (s[i] == '\n')
			return 1;
		if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r')
			return 0;
	}
	return 0;
}

static size_t trim_end(const char *s, size_t start, size_t end)
{
	while (end > start) {
		size_t i = end;

		if (!is_space(utf8_prev(s, &i)))
			break;
		end = i;
	}
	return end;
}

int sentence_next(const char *text, size_t len, size_t *pos, size_t *start, size_t *end)
{
	size_t i = *pos;

	while (i < len) {                                           /* to the first character */
		size_t was = i;

		if (!is_space(utf8_next(text, len, &i))) {
			i = was;
			break;
		}
	}
	*pos = *start = i;
	if (i >= len)
		return 0;
	while (i < len) {
		size_t at = i;
		int32_t c = utf8_next(text, len, &i);

		if (c == '\n' && empty_line_at(text, len, at)) {
			*end = trim_end(text, *start, at);
			*pos = at;
			return 1;
		}
		if (term_of(c) != TERM_NONE) {
			struct run r = run_at(text, len, at);

			i = r.end;
			if (run_is_border(text, len, *start, r.last_stop, &r)) {
				*end = *pos = r.end;
				return 1;
			}
		}
	}
	*end = trim_end(text, *start, len);
	*pos = len;
	return 1;
}

/* Where the run that ends at s[end] begins: its first terminator; end when there is none. */
static size_t run_start(const char *s, size_t end)
{
	size_t i = end, first = end;

	while (i > 0) {
		size_t was = i;
		int32_t c = utf8_prev(s, &i);

		if (term_of(c) != TERM_NONE)
			first = i;
		else if (!is_closer(c) && !(first == end && was - i == 1 && (is_digit(c) || c == '[')))
			break;
	}
	return first;
}

int sentence_ends(const char *text, size_t len, const char *next, size_t next_len)
{
	char both[TAIL_MAX + NEXT_MAX];
	size_t tail = len > TAIL_MAX ? len - TAIL_MAX : 0, n, m, end, start, at;
	struct run r;

	if (trim_end(text, 0, len) == 0)
		return 0;
	if (next_len == 0)
		return 1;
	while (tail < len && ((unsigned char)text[tail] & 0xC0) == 0x80)
		tail++;
	n = len - tail;
	m = next_len < NEXT_MAX ? next_len : utf8_floor(next, next_len, NEXT_MAX);
	memcpy(both, text + tail, n);
	memcpy(both + n, next, m);
	end = trim_end(both, 0, n);
	for (size_t i = end; i < n + m && is_space((unsigned char)both[i]); i++)
		if (both[i] == '\n' && empty_line_at(both, n + m, i))
			return 1;
	at = run_start(both, end);
	if (at == end)
		return 0;
	r = run_at(both, n + m, at);
	if (r.end != end)
		return 0;                                           /* a terminator or a closer is still to come */
	for (start = at; start > 0; start--)                        /* the line's start will do for "1." */
		if (both[start - 1] == '\n')
			break;
	return run_is_border(both, n + m, start, r.last_stop, &r);
}
