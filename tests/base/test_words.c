/* Words: folding, stems, numbers, places. */
#include "base/words.h"
#include "base/mem.h"
#include "tests/test.h"

static size_t words(const char *text, struct arena *a, struct word **w)
{
	struct err e = { 0 };
	size_t n;
	CHECK_OK(words_of(text, strlen(text), a, w, &n, &e), e);
	return n;
}

TEST(words_places_and_stems)
{
	struct arena a;
	struct word *x, *y;
	arena_init(&a, 1 << 20);
	CHECK_INT(words("The company's running DOGS, run!", &a, &x), 5);
	CHECK_INT(x[0].stop, 1);
	CHECK_INT(x[1].off, 4);
	CHECK_INT(x[1].len, 9);
	CHECK_INT(words("company dog running", &a, &y), 3);
	CHECK(x[1].stem == y[0].stem);
	CHECK(x[3].stem == y[1].stem);
	CHECK(x[2].stem == y[2].stem);
	CHECK(x[2].stem == x[4].stem);
	CHECK_INT(x[3].capital, 1);
	CHECK_INT(x[4].capital, 0);
	CHECK(words_have(x, 5, y[1].stem));
	CHECK(!words_have(y, 3, x[0].stem));
	arena_clear(&a);
}

TEST(words_numbers)
{
	struct arena a;
	struct word *x, *y;
	arena_init(&a, 1 << 20);
	CHECK_INT(words("1,250 costs 3.14. 2020", &a, &x), 4);
	CHECK_INT(words("1250 3.14 3.15", &a, &y), 3);
	CHECK(x[0].stem == y[0].stem);
	CHECK(x[2].stem == y[1].stem);
	CHECK(x[2].stem != y[2].stem);
	CHECK(x[0].number && x[2].number && x[3].number && !x[1].number);
	CHECK_INT(x[2].len, 4);
	arena_clear(&a);
}

TEST(words_with_soft_hyphens_are_whole)
{
	struct arena a;
	struct word *x, *y;
	char *many = mem_alloc(3 * 200000 + 3);
	arena_init(&a, 64 << 20);
	CHECK_INT(words("Vor\u00adstands\u00ad\u2060sitzung, tail\u00ad and 1\u00ad250\u2060's", &a, &x), 5);
	CHECK_INT(words("vorstandssitzung tail and 1250", &a, &y), 4);
	CHECK_INT(x[0].off, 0);
	CHECK_INT(x[0].len, strlen("Vor\u00adstands\u00ad\u2060sitzung"));
	CHECK(x[0].stem == y[0].stem && x[1].stem == y[1].stem && x[2].stem == y[2].stem);
	CHECK_INT(x[1].len, 4);              /* nothing follows its hyphen */
	many[0] = 'a';                       /* in one pass, however many there are */
	for (size_t i = 0; i < 200000; i++) memcpy(many + 1 + 3 * i, "\u2060", 3);
	memcpy(many + 1 + 3 * 200000, "b", 2);
	CHECK_INT(words(many, &a, &x), 1);
	mem_free(many);
	arena_clear(&a);
}

TEST(words_marks_negation_cjk)
{
	struct arena a;
	struct word *x, *y;
	arena_init(&a, 1 << 20);
	CHECK_INT(words("Café isn't NOT never cafe", &a, &x), 5);
	CHECK(x[0].stem == x[4].stem);
	CHECK(x[1].negation && x[2].negation && x[3].negation && !x[0].negation);
	CHECK_INT(words("\xe6\x97\xa5\xe6\x9c\xac go", &a, &y), 3);
	CHECK_INT(y[1].off, 3);
	CHECK_INT(words("Who knows? Is it?", &a, &x), 4);
	CHECK(x[0].asks && !x[1].asks && !x[2].asks);
	CHECK_INT(words("", &a, &x), 0);
	CHECK_INT(words(" .,!? -- \n", &a, &x), 0);
	arena_clear(&a);
}

TEST(words_of_scripts_without_blanks)
{
	struct arena a;
	struct word *x, *y;
	arena_init(&a, 1 << 20);
	CHECK_INT(words("カタカナ とうきょう", &a, &x), 9);
	CHECK(x[0].alone && x[8].alone && x[1].len == 3 && x[0].stem == x[2].stem && x[1].stem != x[2].stem);
	CHECK_INT(words("한국어 go", &a, &x), 4);
	CHECK(x[0].alone && !x[3].alone);
	CHECK_INT(words("ที่", &a, &x), 1);       /* a consonant with its marks */
	CHECK_INT(x[0].len, 9);
	CHECK_INT(words("المكتبة والمكتبات", &a, &x), 2);
	CHECK_INT(words("مكتبة", &a, &y), 1);
	CHECK(x[0].stem == y[0].stem && !y[0].alone);
	arena_clear(&a);
}

TEST(words_cover_long_text)
{
	static char text[100000];
	struct arena a;
	struct word *x;
	arena_init(&a, 64 << 20);
	for (size_t i = 0; i + 2 < sizeof text; i += 2) text[i] = 'a', text[i + 1] = ' ';
	size_t n = words(text, &a, &x);
	CHECK_INT(n, strlen(text) / 2);
	CHECK_INT(x[n - 1].off, 2 * (n - 1));
	memset(text, 'x', sizeof text - 1);
	CHECK_INT(words(text, &a, &x), 1);
	CHECK_INT(x[0].len, sizeof text - 1);
	arena_clear(&a);
}

/* ---- words met before ---- */

static int word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static int digit_byte(char c)
{
	return c >= '0' && c <= '9';
}

/* Where the ASCII word at `at` ends, as words.c tells it; *stem_end: where its first apostrophe is, or its end. */
static size_t spec_end(const char *s, size_t at, size_t *stem_end)
{
	size_t i = at;
	*stem_end = 0;
	for (; s[i]; i++) {
		if (word_byte(s[i])) continue;
		if (s[i] == '\'' && word_byte(s[i + 1]) && !*stem_end) *stem_end = i;
		else if (!((s[i] == ',' || s[i] == '.') && digit_byte(s[i - 1]) && digit_byte(s[i + 1]))) break;
	}
	if (!*stem_end) *stem_end = i;
	return i;
}

static void piece_add(char *text, size_t cap, const char *piece)
{
	size_t n = strlen(text);
	if (n + strlen(piece) < cap) memcpy(text + n, piece, strlen(piece) + 1);
}

/* The same text twice, the second time with its words known, and each word alone in a text that ends with it or goes on in another
 * script: all say the same. */
TEST(words_met_before_are_the_same_words)
{
	static const char pieces[][12] = { " ", " ", " ", "'", ",", ".", "-", "(", "run", "Running", "n", "t", "isn", "1", "234", "the", "WHO", "not", "x9", "  ",
		"internation", "alisation", "\n" };
	static char lengthy[3000];
	unsigned seed = 11;
	struct arena a;
	arena_init(&a, 256 << 20);
	for (int turn = 0; turn < 3000; turn++) {
		char text[400] = "", one[420];
		struct word *x, *y, *z;
		size_t n, at = 0, stem_end, end;
		for (unsigned left = 1 + (seed >> 8) % 30; left--; seed = seed * 1664525u + 1013904223u)
			piece_add(text, sizeof text, pieces[(seed >> 8) % (sizeof pieces / sizeof *pieces)]);
		n = words(text, &a, &x);
		CHECK_INT(words(text, &a, &y), n);
		CHECK(memcmp(x, y, n * sizeof *x) == 0);
		for (size_t i = 0; i < n; i++) {
			while (text[at] && !word_byte(text[at])) at++;
			end = spec_end(text, at, &stem_end);
			CHECK_INT(x[i].off, at);
			CHECK_INT(x[i].len, end - at);
			snprintf(one, sizeof one, "%.*s\xe3\x81\x82", (int)(end - at), text + at); /* a Hiragana: another word, found the long way */
			CHECK_INT(words(one, &a, &z), 2);
			CHECK(z[0].stem == x[i].stem && z[0].stop == x[i].stop && z[0].negation == x[i].negation && z[0].asks == x[i].asks &&
				z[0].number == x[i].number && z[0].capital == x[i].capital && z[0].len == x[i].len);
			at = end;
		}
		while (text[at] && !word_byte(text[at])) at++;
		CHECK_INT(text[at], 0);
		memset(lengthy, ' ', sizeof lengthy - 1);       /* the same at the end of a text so long that it is read where it lies */
		memcpy(lengthy + sizeof lengthy - 1 - strlen(text), text, strlen(text));
		CHECK_INT(words(lengthy, &a, &y), n);
		for (size_t i = 0; i < n; i++) CHECK(y[i].stem == x[i].stem && y[i].len == x[i].len && y[i].negation == x[i].negation);
	}
	arena_clear(&a);
}

TEST(words_lists)
{
	static const char list[] = " who what it's ";
	CHECK(words_listed(list, "who") && words_listed(list, "it's"));
	CHECK(!words_listed(list, "wh") && !words_listed(list, "hat") && !words_listed(list, "") && !words_listed(list, "why"));
	CHECK(words_language_of("de") == WORDS_GERMAN && words_language_of("en") == WORDS_ENGLISH && words_language_of("zh") == WORDS_ENGLISH);
}
