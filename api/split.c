/* split.c: a question that asks several things, taken apart (split.h).
 *
 * Method: three cuts, tried in this order; the first that yields two parts is taken. Numbered items ("1) … 2) …", counted up
 * from the first). Question marks, each part what stands before one, a statement included; a part without a word of content
 * ("why?", "right?") stays with the part before. "and" with a question word behind it, when a question stands before it
 * already. Words are only compared with lists of the language.
 * Threads: no state. Failure: only memory. */
#include "api/split.h"
#include <string.h>
#include "api/followup.h"
#include "base/buf.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"

enum { CUTS_MAX = 16, BEGIN_WORDS = 3, SIDE_WORDS = 12, PART_BYTES_MAX = 8192 };

/* Lower case, blanks between. joins: "and". differ, between, joins: "difference between A and B". */
static const struct rules { const char *code, *joins, *differ, *between; } rules[] = {
	{ "en", " and ", " difference differences differ compare comparison distinguish ", " between " },
	{ "de", " und ", " unterschied unterschiede unterschiedlich vergleich unterscheiden ", " zwischen " },
	{ "es", " y e ", " diferencia diferencias comparación comparar distinguir ", " entre " },
	{ "fr", " et ", " différence différences comparaison comparer distinguer ", " entre " },
};

struct token { uint32_t off, len; const char *text; };   /* text: lower case */

static const struct rules *rules_of(const char *language)
{
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (strcmp(rules[i].code, language) == 0) return &rules[i];
	return NULL;
}

static int tokens_of(const char *text, size_t len, struct arena *a, struct token **out, size_t *n, struct err *e)
{
	struct word *w;
	struct buf low;
	size_t all;
	int rc = words_of(text, len, a, &w, &all, e);
	if (rc) return rc;
	*n = 0;
	*out = arena_alloc(a, (all + 1) * sizeof **out);
	if (!*out) return err_set(e, E_MEMORY, "question: out of memory");
	buf_init(&low, 1024);
	for (size_t i = 0; i < all; i++) {
		buf_reset(&low);
		if (w[i].len > 200 || uni_lower(text + w[i].off, w[i].len, &low, NULL)) continue;
		(*out)[*n] = (struct token){ w[i].off, w[i].len, arena_strdup(a, buf_cstr(&low)) };
		if (!(*out)[(*n)++].text) {
			buf_clear(&low);
			return err_set(e, E_MEMORY, "question: out of memory");
		}
	}
	buf_clear(&low);
	return OK;
}

static struct span trim(const char *text, size_t from, size_t to)
{
	while (from < to && strchr(" \t\r\n,;", text[from])) from++;
	while (to > from && strchr(" \t\r\n,;", text[to - 1])) to--;
	return (struct span){ (uint32_t)from, (uint32_t)(to - from) };
}

/* Parts between the cuts, at most QUESTION_PARTS_MAX; the first begins at `from`. */
static size_t cut(const char *text, size_t len, size_t from, const size_t *cuts, size_t n, struct span out[QUESTION_PARTS_MAX])
{
	size_t parts = 0;
	for (size_t i = 0; i <= n; i++) {
		size_t to = i == n || parts == QUESTION_PARTS_MAX - 1 ? len : cuts[i];
		struct span s = trim(text, from, to);
		if (s.len) out[parts++] = s;
		from = to;
		if (to == len) break;
	}
	return parts;
}

/* Where items 1, 2, 3 … begin, behind their numbers; the first item is cuts[0]. */
static size_t items(const char *text, size_t len, size_t *begins, size_t *ends)
{
	size_t n = 0;
	for (size_t i = 0; i + 2 < len && n < CUTS_MAX; i++) {
		int at_word = i == 0 || strchr(" \t\r\n(", text[i - 1]) != NULL;
		int number = text[i] == (char)('1' + n) && n < 9, letter = text[i] == (char)('a' + n);
		if (!at_word || !(number || letter) || !(text[i + 1] == ')' || (number && text[i + 1] == '.')) || text[i + 2] != ' ') continue;
		ends[n] = i && text[i - 1] == '(' ? i - 1 : i;
		begins[n++] = i + 2;
		i += 2;
	}
	return n;
}

static size_t split_items(const char *text, size_t len, struct span out[QUESTION_PARTS_MAX])
{
	size_t begins[CUTS_MAX], ends[CUTS_MAX], n = items(text, len, begins, ends), parts = 0;
	for (size_t i = 0; n >= 2 && i < n && parts < QUESTION_PARTS_MAX; i++) {
		size_t to = i + 1 < n && parts < QUESTION_PARTS_MAX - 1 ? ends[i + 1] : len;
		struct span s = trim(text, begins[i], to);
		if (s.len) out[parts++] = s;
	}
	return parts;
}

static int split_marks(const char *text, size_t len, const char *language, struct arena *a, struct span out[QUESTION_PARTS_MAX], size_t *n, struct err *e)
{
	size_t cuts[CUTS_MAX], cut_n = 0, from = 0, i = 0, content;
	*n = 0;
	while (i < len && cut_n < CUTS_MAX) {
		int32_t cp = utf8_next(text, len, &i);
		if (cp != '?' && cp != 0xFF1F && cp != 0x61F) continue;
		while (i < len && strchr("?!", text[i])) i++;
		if (i < len && cp == '?' && !strchr(" \t\r\n\"')", text[i])) continue;  /* in a URL */
		int rc = followup_content(text + from, i - from, language, a, &content, e);
		if (rc) return rc;
		if (content) cuts[cut_n++] = i;
		else if (cut_n) cuts[cut_n - 1] = i;
		from = i;
	}
	/* what comes behind the last question mark belongs to the last question */
	if (cut_n < 2) return OK;
	*n = cut(text, len, 0, cuts, cut_n - 1, out);
	return OK;
}

/* "Who founded it and when did it close": a question before, a question word behind, both saying something. */
static int split_joins(const struct rules *r, const char *text, size_t len, const struct token *t, size_t n, struct arena *a,
	struct span out[QUESTION_PARTS_MAX], size_t *parts, struct err *e)
{
	size_t cuts[CUTS_MAX], cut_n = 0, begin = 0, before, behind;
	*parts = 0;
	for (size_t i = 1; i + 1 < n && cut_n < CUTS_MAX; i++) {
		int asked = 0;
		if (!words_listed(r->joins, t[i].text)) continue;
		if (!followup_asks(r->code, t[i + 1].text)) continue;
		for (size_t k = begin; k < i; k++) {
			if (words_listed(r->between, t[k].text)) return OK;
			int asks = followup_asks(r->code, t[k].text);
			asked |= asks == 1 || (asks == 2 && k < begin + BEGIN_WORDS);
		}
		int rc = followup_content(text + t[begin].off, t[i].off - t[begin].off, r->code, a, &before, e);
		if (!rc) rc = followup_content(text + t[i + 1].off, len - t[i + 1].off, r->code, a, &behind, e);
		if (rc) return rc;
		if (!asked || !before || !behind) continue;
		cuts[cut_n++] = t[i].off;
		begin = i + 1;
	}
	if (!cut_n) return OK;
	*parts = cut(text, len, 0, cuts, cut_n, out);
	for (size_t i = 1; i < *parts; i++) {        /* without the "and" */
		size_t k = 0;
		while (k < n && t[k].off < out[i].off) k++;
		if (k + 1 < n && words_listed(r->joins, t[k].text)) out[i] = trim(text, t[k + 1].off, out[i].off + out[i].len);
	}
	return OK;
}

int parts_split(const char *question, size_t len, const char *language, struct arena *a, struct span out[QUESTION_PARTS_MAX], size_t *n, struct err *e)
{
	const struct rules *r = rules_of(language);
	struct token *t;
	size_t words, parts = 0;
	int rc = OK;
	if (len <= PART_BYTES_MAX) parts = split_items(question, len, out);
	if (len <= PART_BYTES_MAX && parts < 2) rc = split_marks(question, len, language, a, out, &parts, e);
	if (!rc && len <= PART_BYTES_MAX && parts < 2 && r) {
		rc = tokens_of(question, len, a, &t, &words, e);
		if (!rc) rc = split_joins(r, question, len, t, words, a, out, &parts, e);
	}
	if (parts < 2) out[0] = trim(question, 0, len), parts = 1;
	*n = parts;
	return rc;
}

int parts_sides(const char *question, size_t len, const char *language, struct arena *a, struct span out[2], int *found, struct err *e)
{
	const struct rules *r = rules_of(language);
	struct token *t;
	size_t n, between = 0, join = 0;
	int differ = 0;
	*found = 0;
	if (!r || len > PART_BYTES_MAX) return OK;
	int rc = tokens_of(question, len, a, &t, &n, e);
	for (size_t i = 0; !rc && i < n && !join; i++) {
		if (words_listed(r->differ, t[i].text)) differ = 1;
		else if (differ && !between && words_listed(r->between, t[i].text)) between = i;
		else if (between && i > between + 1 && words_listed(r->joins, t[i].text)) join = i;
	}
	if (rc || !join || join + 1 >= n || join - between > SIDE_WORDS) return rc;
	size_t last = join + 1, to = t[last].off + t[last].len;
	while (last + 1 < n && last - join < SIDE_WORDS && !memchr(question + to, '?', t[last + 1].off - to) && !memchr(question + to, ',', t[last + 1].off - to))
		last++, to = t[last].off + t[last].len;
	out[0] = trim(question, t[between + 1].off, t[join].off);
	out[1] = trim(question, t[join + 1].off, to);
	*found = out[0].len && out[1].len;
	return OK;
}
