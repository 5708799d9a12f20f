/* test_sentence.c: where sentences end, case by case, and what must hold for any text. */
#include <stdlib.h>

#include "base/sentence.h"
#include "base/utf8.h"
#include "tests/test.h"

/* text with "|" where sentences are expected to end; white space around it is not part of a sentence. */
static void check_split(const char *marked)
{
	char text[1024], want[1024];
	size_t n = 0, pos = 0, start, end;
	const char *m = marked;

	for (const char *s = marked; *s; s++)
		if (*s != '|')
			text[n++] = *s;
	text[n] = 0;
	while (sentence_next(text, n, &pos, &start, &end)) {
		const char *bar = strchr(m, '|');
		size_t len;

		while (*m == ' ' || *m == '\n' || *m == '|')
			m++;
		bar = strchr(m, '|');
		len = bar ? (size_t)(bar - m) : strlen(m);
		while (len > 0 && (m[len - 1] == ' ' || m[len - 1] == '\n'))
			len--;
		memcpy(want, m, len);
		want[len] = 0;
		CHECK_MSG(len == end - start && memcmp(want, text + start, len) == 0, "got \"%.*s\", want \"%s\"",
			(int)(end - start), text + start, want);
		m += len;
	}
	while (*m == ' ' || *m == '\n' || *m == '|')
		m++;
	CHECK_MSG(!*m, "missing \"%s\"", m);
}

TEST(sentence_cases)
{
	static const char *const cases[] = {
		"One. | Two! | Three? | Four",
		"Mr. Smith met Dr. Jones. | They spoke.",
		"See e.g. Fig. 3 and i.e. No. 5 of vol. 2. | Then stop.",
		"He said no. | It was late.",
		"The U.S. Army came. | He lives in the U.S. | The end.",
		"At 5 p.m. on Monday we met. | It ended at 6 p.m. | We left.",
		"J. R. R. Tolkien wrote it. | J. Doe read it.",
		"Pi is 3.14 or so. | Version 1.2.3 is out. | See www.example.com. | Done.",
		"Wait... what? | Yes… | No.",
		"He asked, \"Why?\" | She said, \"Because.\" | They left.",
		"\"Go!\" he said. | \"Stop!\" | (They did.) | Good.",
		"It ended.[12] | Then it began.[3][4] | So.",
		"First line\nsecond line. | Third.",
		"Title without stop\n\n| Paragraph here. | More",
		"これは文です。|次の文です！|終わり",
		"¿Qué pasa? | ¡Nada! | Bien.",
		"Am 3. Oktober 1990 war es so weit. | Danach kam z.B. Berlin. | Ende.",
		"1. Introduction to the matter. | 2. Method.",
		"Apples, pears, etc. are fruit. | We sell apples, etc. | They sell more.",
		"Acme Inc. was founded in 1999. | The firm grew.",
		"It rose (by 5%). | Then it fell.",
		"Yahoo! is a company. | Is it?! | Yes!!! | OK.",
		"St. John lived on Main St. | He moved.",
		"यह एक वाक्य है। | यह दूसरा है।",
		"He retired at 65. | She did not.",
		"Released on Jan. 5, 2020. | In Dec. | Snow fell.",
		"A ph.d. thesis by Prof. Dr. Müller et al. was cited. | Fine.",
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_split(cases[i]);
}

static int is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t';
}

TEST(sentence_properties)
{
	static const char *const parts[] = { "a", "The ", "Mr", ".", ". ", "!", "? ", "\n", "\n\n", " ", "\"", ")", "[1]", "e.g.",
		"3", "é", "。", "…", "U.S. ", "'", "(", "\t", "-", "x y", "\xE2\x80\x9D" };
	unsigned seed = 12345;

	for (int round = 0; round < 3000; round++) {
		char text[256];
		size_t n = 0, pos = 0, start, end, last = 0, was;

		for (int i = 0; i < 24; i++) {
			const char *p;

			seed = seed * 1103515245u + 12345u;
			p = parts[(seed >> 16) % (sizeof parts / sizeof *parts)];
			memcpy(text + n, p, strlen(p));
			n += strlen(p);
		}
		text[n] = 0;
		for (was = pos; sentence_next(text, n, &pos, &start, &end); was = pos) {
			CHECK(start >= last && end > start && end <= n && pos > was && pos >= end);
			CHECK(utf8_valid(text + start, end - start));
			CHECK(!is_blank(text[start]) && !is_blank(text[end - 1]));
			for (; last < start; last++)
				CHECK(is_blank(text[last]));
			last = end;
		}
		for (; last < n; last++)
			CHECK(is_blank(text[last]));
	}
}

TEST(sentence_one_long_line)
{
	size_t n = 1500000, pos = 0, start, end, count = 0;
	char *s = malloc(n);

	CHECK(s);
	for (size_t i = 0; i < n; i++)
		s[i] = i % 6 == 5 ? ' ' : i % 6 == 4 ? '.' : 'a';      /* lower case: never a border */
	while (sentence_next(s, n, &pos, &start, &end))
		count++;
	CHECK_INT(count, 1);
	memset(s, '.', n);
	pos = 0;
	CHECK(sentence_next(s, n, &pos, &start, &end) && end == n);
	free(s);
}

static int ends(const char *text, const char *next)
{
	return sentence_ends(text, strlen(text), next, strlen(next));
}

TEST(sentence_being_written)
{
	CHECK(ends("It is done.", " Then"));
	CHECK(ends("It is done. ", "Then"));
	CHECK(ends("Really?", " Yes"));
	CHECK(ends("He said \"no.\"", " Then"));
	CHECK(ends("It is done", ""));
	CHECK(ends("A title", "\n\nText"));
	CHECK(ends("Das Ende.[1]", " Neu"));
	CHECK(ends("終わり。", "次"));
	CHECK(!ends("It is done", " and"));
	CHECK(!ends("Mr.", " Smith"));
	CHECK(!ends("It costs 3.", "14 euros"));
	CHECK(!ends("He said \"no.", "\" Then"));
	CHECK(!ends("Wait.", ".."));
	CHECK(!ends("Wait...", " what"));
	CHECK(!ends("by e.g.", " "));
	CHECK(!ends("", " Then"));
	CHECK(!ends("  ", ""));
	CHECK(!ends("at 5 p.m.", " on Monday"));
}

/* Feeding a text piece by piece finds the same borders as reading it whole. */
TEST(sentence_ends_agrees)
{
	const char *text = "Mr. Fox paid 3.50 today. He said: \"Fine.\" Then he left... but why? The U.S. Army came. It won!";
	size_t n = strlen(text), pos = 0, start, end;

	while (sentence_next(text, n, &pos, &start, &end))
		for (size_t i = start + 1; i <= end; i++)
			CHECK_MSG(sentence_ends(text + start, i - start, text + i, n - i) == (i == end), "at \"%.*s\"",
				(int)(i - start), text + start);
}
