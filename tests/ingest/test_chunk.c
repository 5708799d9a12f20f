/* test_chunk.c: where documents are cut, with words as tokens so that no model is needed. */
#include <stdlib.h>

#include "base/utf8.h"
#include "ingest/chunk.h"
#include "tests/test.h"

static size_t count_words(const void *ctx, const char *s, size_t len)
{
	size_t n = 0;
	int in = 0;

	(void)ctx;
	for (size_t i = 0; i < len; i++) {
		int blank = s[i] == ' ' || s[i] == '\n' || s[i] == '\t';

		n += !blank && !in;
		in = !blank;
	}
	return n;
}

static struct extracted x;
static struct chunk_set set;

static int is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t';
}

/* What the store demands of any chunks, and what chunk.h promises. */
static void check_chunks(int tokens)
{
	const char *s = buf_cstr(&x.text);
	size_t covered = 0;

	for (size_t i = 0; i < set.n; i++) {
		const struct chunk_in *c = &set.chunks[i];
		size_t at = c->range.off, end = at + c->range.len;

		CHECK(c->range.len > 0 && end <= x.text.len);
		CHECK(i == 0 || c->range.off > set.chunks[i - 1].range.off);
		for (; covered < at; covered++)
			CHECK_MSG(is_blank(s[covered]), "byte %zu is in no chunk", covered);
		covered = end > covered ? end : covered;
		CHECK(utf8_valid(s + at, end - at));
		for (uint32_t k = 0; k < c->sentence_n; k++) {
			struct span u = c->sentences[k];

			CHECK(u.len > 0 && u.off >= at && u.off + u.len <= end);
			CHECK(utf8_valid(s + u.off, u.len) && utf8_count(s + u.off, u.len) <= UNIT_CP_MAX);
			CHECK(!is_blank(s[u.off]) && !is_blank(s[u.off + u.len - 1]));
			at = u.off + u.len;
		}
		if (tokens && c->sentence_n > 2)
			CHECK_MSG(count_words(NULL, s + c->range.off, c->range.len) <= (size_t)tokens + 12, "chunk %zu is too long", i);
	}
	for (; covered < x.text.len; covered++)
		CHECK(is_blank(s[covered]));
	for (size_t i = 0; i < x.block_n; i++) {
		size_t units = 0;

		for (size_t k = 0; k < set.n; k++)
			for (uint32_t j = 0; j < set.chunks[k].sentence_n; j++)
				units += set.chunks[k].sentences[j].off >= x.blocks[i].off &&
					set.chunks[k].sentences[j].off < x.blocks[i].off + x.blocks[i].len;
		CHECK_MSG((units > 0) == (x.blocks[i].kind != BLOCK_HEADING), "block %zu has %zu quotable units", i, units);
	}
}

static void cut(const char *name, const char *text, size_t len, int tokens, int overlap)
{
	struct chunk_options o = { .tokens = tokens, .overlap_tokens = overlap, .count = count_words };
	struct err e = { 0 };

	CHECK_OK(extract_file(&x, name, text, len, SIZE_MAX, &e), e);
	CHECK_OK(chunk_document(&set, &x, &o, &e), e);
	check_chunks(tokens);
}

static void clear(void)
{
	chunk_set_clear(&set);
	extracted_clear(&x);
}

static void check_chunk(size_t i, const char *heading, const char *text)
{
	char got[2048];

	CHECK(i < set.n && set.chunks[i].range.len < sizeof got);
	memcpy(got, x.text.data + set.chunks[i].range.off, set.chunks[i].range.len);
	got[set.chunks[i].range.len] = 0;
	CHECK_STR(got, text);
	CHECK_STR(set.chunks[i].heading, heading);
}

TEST(chunk_sections)
{
	const char *md = "Intro words.\n\n# A\n\n## B\n\nOne two. Three four.\n\nFive six.\n\n## C\n\nSeven.\n\n# D\n\n# E\n\nEight.\n";

	cut("a.md", md, strlen(md), 20, 4);
	CHECK_INT(set.n, 5);
	check_chunk(0, "", "Intro words.");
	check_chunk(1, "A > B", "A\n\nB\n\nOne two. Three four.\n\nFive six.");
	CHECK_INT(set.chunks[1].sentence_n, 3);
	check_chunk(2, "A > C", "C\n\nSeven.");
	check_chunk(3, "D", "D");
	check_chunk(4, "E", "E\n\nEight.");
	clear();
}

TEST(chunk_paragraphs_are_whole)
{
	const char *s = "a b c d e f g h. i j k l m n.\n\nA b c d e. F g.\n\nH i j k l m n o p.\n\nR s t u v w x.";

	cut("a.txt", s, strlen(s), 16, 4);
	CHECK_INT(set.n, 3);
	check_chunk(0, "", "a b c d e f g h. i j k l m n.");
	check_chunk(1, "", "A b c d e. F g.\n\nH i j k l m n o p.");
	clear();
}

TEST(chunk_long_paragraph_overlaps)
{
	const char *s = "One two three four five six. Seven eight nine ten. Aa bb cc dd ee ff gg. Hh ii jj kk. Ll mm nn oo pp.\n\nNew.";

	cut("a.txt", s, strlen(s), 16, 5);
	CHECK_INT(set.n, 3);
	check_chunk(0, "", "One two three four five six. Seven eight nine ten.");
	check_chunk(1, "", "Seven eight nine ten. Aa bb cc dd ee ff gg. Hh ii jj kk.");
	check_chunk(2, "", "Hh ii jj kk. Ll mm nn oo pp.\n\nNew.");
	clear();
	cut("a.txt", s, strlen(s), 16, 0);
	check_chunk(1, "", "Aa bb cc dd ee ff gg. Hh ii jj kk. Ll mm nn oo pp.");
	clear();
}

TEST(chunk_units)
{
	const char *md = "- item one. Still one\n- item two\n\n| a | b |\n|---|---|\n| 1. x | 2 |\n\n```\nline 1. x\n\nline 2\n```\n\n1. first\n2. second";
	static const char *const want[] = { "item one. Still one", "item two", "a | b", "1. x | 2", "line 1. x", "line 2",
		"1. first", "2. second" };

	cut("a.md", md, strlen(md), 100, 0);
	CHECK_INT(set.n, 1);
	CHECK_INT(set.unit_n, sizeof want / sizeof *want);
	for (size_t i = 0; i < set.unit_n; i++)
		CHECK_MSG(set.units[i].len == strlen(want[i]) && !memcmp(x.text.data + set.units[i].off, want[i], strlen(want[i])),
			"unit %zu: \"%.*s\"", i, (int)set.units[i].len, x.text.data + set.units[i].off);
	clear();
	cut("a.txt", "Bring:\n- a lamp\n- a rope\n2) water", 33, 100, 0);
	CHECK_INT(set.unit_n, 4);
	clear();
}

TEST(chunk_long_sentence)
{
	char s[3000];
	size_t n = 0;

	for (int i = 0; i < 300; i++)
		n += (size_t)snprintf(s + n, sizeof s - n, "word%d%s ", i, i % 10 == 9 ? "," : "");
	cut("a.txt", s, n, 100, 10);
	CHECK(set.n >= 3);
	for (size_t i = 0; i + 1 < set.unit_n; i++)
		CHECK(x.text.data[set.units[i].off + set.units[i].len - 1] == ',');
	clear();
}

TEST(chunk_one_line)
{
	size_t n = 1500000;
	char *s = malloc(n);

	CHECK(s);
	for (size_t i = 0; i < n; i++)
		s[i] = i % 7 == 6 ? ' ' : 'a';
	cut("a.txt", s, n, 100, 20);
	CHECK(set.n > 2000);
	clear();
	for (size_t i = 0; i + 3 <= n; i += 3)
		memcpy(s + i, "\xE6\x97\xA5", 3);               /* no white space at all */
	cut("a.txt", s, n, 100, 20);
	CHECK_INT(set.unit_n, n / 3 / UNIT_CP_MAX);
	clear();
	free(s);
}

TEST(chunk_embed_limit)
{
	struct chunk_options o = { .tokens = 50, .overlap_tokens = 8, .embed_tokens = 40, .count = count_words };
	struct err e = { 0 };
	struct buf md, text;

	buf_init(&md, SIZE_MAX);
	buf_init(&text, SIZE_MAX);
	buf_puts(&md, "# The title of it\n\n## Second heading of four words\n\n");
	for (int i = 0; i < 60; i++)
		buf_puts(&md, "Three little words. ");
	CHECK_OK(extract_file(&x, "a.md", md.data, md.len, SIZE_MAX, &e), e);
	CHECK_OK(chunk_document(&set, &x, &o, &e), e);
	check_chunks(0);
	CHECK(set.n > 5);
	for (size_t i = 0; i < set.n; i++) {
		buf_reset(&text);
		CHECK_INT(chunk_embed_text(x.title, x.text.data, &set.chunks[i], &text), OK);
		CHECK(count_words(NULL, text.data, text.len) <= 38 + 1);        /* ">" counts as a word here */
		CHECK(strncmp(text.data, "The title of it > Second heading of four words\nThree little words.", 66) == 0);
		CHECK(!strstr(text.data + 47, "title"));
	}
	clear();
	buf_clear(&md);
	buf_clear(&text);
}

TEST(chunk_embed_text_forms)
{
	struct span u = { 3, 4 };
	struct chunk_in c = { .range = { 0, 7 }, .heading = "A", .sentences = &u, .sentence_n = 1 };
	struct buf b;

	buf_init(&b, 1000);
	CHECK_INT(chunk_embed_text("T", "A\n\nText", &c, &b), OK);
	CHECK_STR(b.data, "T > A\nText");
	buf_reset(&b);
	CHECK_INT(chunk_embed_text("A", "A\n\nText", &c, &b), OK);
	CHECK_STR(b.data, "A\nText");
	buf_reset(&b);
	c.heading = "";
	CHECK_INT(chunk_embed_text("", "A\n\nText", &c, &b), OK);
	CHECK_STR(b.data, "Text");
	buf_reset(&b);
	c.sentence_n = 0;
	c.heading = "A";
	CHECK_INT(chunk_embed_text("T", "A\n\nText", &c, &b), OK);
	CHECK_STR(b.data, "T > A\n");
	buf_clear(&b);
}
