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
