/* test_extract.c: every format and every kind of bad file to clean text and blocks. */
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "ingest/extract.h"
#include "tests/test.h"

enum { MAX = 1 << 24 };

static struct extracted x;

static void load(const char *name)
{
	char path[64];
	struct err e = { 0 };
	struct buf b;

	snprintf(path, sizeof path, "fixtures/ingest/%s", name);
	buf_init(&b, MAX);
	CHECK_OK(file_read(test_data(path), &b, &e), e);
	CHECK_OK(extract_file(&x, name, buf_cstr(&b), b.len, MAX, &e), e);
	buf_clear(&b);
}

static void load_text(const char *name, const char *text)
{
	struct err e = { 0 };

	CHECK_OK(extract_file(&x, name, text, strlen(text), MAX, &e), e);
}

/* What holds for every extracted document. */
static void check_form(void)
{
	const char *s = buf_cstr(&x.text);
	size_t end = 0;
	struct err e;
	struct buf nfc;

	CHECK(utf8_valid(s, x.text.len));
	CHECK(!memchr(s, 0, x.text.len) && !strstr(s, "\r") && !strstr(s, "\n\n\n") && !strstr(s, "\xEF\xBB\xBF"));
	CHECK(!strstr(s, " \n") && !strstr(s, "\t\n"));
	buf_init(&nfc, MAX);
	CHECK_OK(uni_nfc(s, x.text.len, &nfc, &e), e);
	CHECK(nfc.len == x.text.len && (nfc.len == 0 || memcmp(nfc.data, s, nfc.len) == 0));
	buf_clear(&nfc);
	for (size_t i = 0; i < x.block_n; i++) {
		const struct block *k = &x.blocks[i];

		CHECK(k->len > 0 && k->mark < k->len && k->off + k->len <= x.text.len);
		CHECK(i == 0 ? k->off == 0 : k->off > end);
		for (; i > 0 && end < k->off; end++)
			CHECK(s[end] == '\n');
		end = k->off + k->len;
	}
	CHECK(end == x.text.len);
}

static int count(enum block_kind kind)
{
	int n = 0;

	for (size_t i = 0; i < x.block_n; i++)
		n += x.blocks[i].kind == kind;
	return n;
}

#define HAS(what) CHECK_MSG(strstr(buf_cstr(&x.text), what), "missing \"%s\" in:\n%s", what, buf_cstr(&x.text))
#define HASNT(what) CHECK_MSG(!strstr(buf_cstr(&x.text), what), "unwanted \"%s\" in:\n%s", what, buf_cstr(&x.text))

TEST(extract_markdown)
{
	load("full.md");
	check_form();
	CHECK_INT(x.verdict, EXTRACT_OK);
	CHECK_STR(x.type, "md");
	CHECK_STR(x.title, "Field guide");
	CHECK_STR(buf_cstr(&x.text),
		"Rivers & lakes\n\n"
		"Water flows down; see the map or a blue line. A soft break, inline code and éé entities ©.\nA hard break.\n\n"
		"Facts\n\n"
		"Name | Length | Note\nElbe | 1,094 km | rises in Czechia\nOder | 866 km |\n\n"
		"- first item\n  - nested item\n- second item with bold\n\n"
		"3. third\n4. fourth\n\n"
		"A quoted remark.\n\n"
		"int main(void)\n{\n    return 0;\n}\n\n"      /* md4c writes indentation as spaces */
		"Raw HTML block\n\n"
		"Setext heading\n\n"
		"- [x] done\n- [ ] open\n\n"
		"Last words.\nNew line.");
	CHECK_INT(count(BLOCK_HEADING), 3);
	CHECK_INT(count(BLOCK_TABLE_ROW), 3);
	CHECK_INT(count(BLOCK_LIST_ITEM), 7);
	CHECK_INT(count(BLOCK_CODE), 1);
	CHECK_INT(count(BLOCK_QUOTE), 1);
	extracted_clear(&x);
}

TEST(extract_html)
{
	load("full.html");
	check_form();
	CHECK_INT(x.verdict, EXTRACT_OK);
	CHECK_STR(x.type, "html");
	CHECK_STR(x.title, "Field & forest");
	CHECK_STR(buf_cstr(&x.text),
		"Field and forest\n\n"
		"First paragraph with a link,\na break and an image of a tree.\n\n"
		"Table\n\n"
		"Trees\n\n"
		"Tree | Height\nOak | 20 m\nPine tree | 30 m\n\n"
		"- one\n- two\n  - inner\n- three\n\n"
		"4. four\n5. five\n\n"
		"Said someone.\n\n"
		"line 1\n  line 2\n\n"
		"Layout\n\nCell text.\n\nOther cell\n\n"
		"Term\n\nMeaning\n\n"
		"Loose text <not a tag> softhyphen");
	CHECK_INT(count(BLOCK_TABLE_ROW), 3);
	extracted_clear(&x);
}

TEST(extract_encodings)
{
	load("bom.txt");
	check_form();
	CHECK_STR(x.text.data, "Plain words after a mark.\n\nSecond paragraph.");
	extracted_clear(&x);
	load("utf16le_bom.txt");
	check_form();
	CHECK_STR(x.text.data, "Wide words.\n\nZweiter Absatz: größer.");
	extracted_clear(&x);
	load("utf16be.txt");
	HAS("Wide words without a mark");
	extracted_clear(&x);
	load("utf32le_bom.txt");
	CHECK_STR(x.text.data, "Very wide words.\n\nSecond.");
	extracted_clear(&x);
	load("latin1.txt");
	CHECK_INT(x.verdict, EXTRACT_OK);
	HAS("règlement intérieur est affiché");
	HAS("5 € – à régler");
	extracted_clear(&x);
	load("broken_utf8.txt");
	CHECK_INT(x.verdict, EXTRACT_PARTIAL);
	CHECK_STR(x.reason, "1 bytes are not valid UTF-8");
	HAS("Grüße aus Köln");
	HAS("fehlt: \xEF\xBF\xBD und");
	extracted_clear(&x);
	load("cp1251.html");
	check_form();
	CHECK_INT(x.verdict, EXTRACT_OK);
	CHECK_STR(x.title, "Письмо");
	CHECK_STR(x.text.data, "Собрание во вторник.");
	extracted_clear(&x);
}

TEST(extract_bad_files)
{
	static const struct { const char *name, *reason; } skipped[] = {
		{ "garbage.txt", "binary" }, { "empty.txt", "empty" }, { "blank.txt", "empty" },
		{ "notes.md", "binary" },
	};

	for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++) {
		load(skipped[i].name);
		CHECK_INT(x.verdict, EXTRACT_SKIPPED);
		CHECK_STR(x.reason, skipped[i].reason);
		CHECK_INT(x.text.len, 0);
		extracted_clear(&x);
	}
	load("report.txt");
	CHECK_STR(x.type, "pdf");
	CHECK(x.needs_boxes);
	extracted_clear(&x);
	load_text("slides.pdf", "plain words");
	CHECK_INT(x.verdict, EXTRACT_OK);
	CHECK_STR(x.type, "txt");
	HAS("plain words");
	extracted_clear(&x);
	load_text("page.html", "<script>only()</script>");
	CHECK_STR(x.reason, "no text");
	extracted_clear(&x);
}

TEST(extract_by_content)
{
	load("text.html");
	check_form();
	CHECK_STR(x.type, "txt");
	CHECK_STR(x.text.data, "No markup here at all, only\ntwo lines & an ampersand.\n\nAnd 1 < 2.");
	extracted_clear(&x);
	load("page_named.txt");
	CHECK_STR(x.type, "html");
	CHECK_STR(x.title, "A page");
	CHECK_STR(x.text.data, "Under a wrong name.");
	extracted_clear(&x);
	load_text("settings.ini", "[a]\nb = 1\n");
	CHECK_STR(x.type, "txt");
	extracted_clear(&x);
	load_text("id3.txt", "ID3 tags are described here, in words.");
	CHECK_INT(x.verdict, EXTRACT_OK);
	extracted_clear(&x);
}

TEST(extract_deep_and_cut_html)
{
	load("deep.html");
	check_form();
	CHECK_INT(x.verdict, EXTRACT_PARTIAL);
	HAS("text under many divs");
	HAS("after");
	extracted_clear(&x);
	load("truncated.html");
	HAS("Kept words.");
	extracted_clear(&x);
}

/* Repeats a piece n times; what a parser makes of it must come back soon and whole. */
static void repeat(const char *name, const char *piece, size_t n)
{
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, SIZE_MAX);
	for (size_t i = 0; i < n; i++)
		buf_puts(&b, piece);
	buf_puts(&b, "end");
	CHECK_OK(extract_file(&x, name, b.data, b.len, MAX, &e), e);
	check_form();
	extracted_clear(&x);
	buf_clear(&b);
}

TEST(extract_hostile)
{
	repeat("a.html", "<li><dd>", 20000);
	repeat("a.html", "<b><div></b>", 20000);
	repeat("a.html", "<a href=x><p>", 3000);
	repeat("a.html", "<table><tr><td>", 3000);
	repeat("a.html", "<svg><td>", 3000);
	repeat("a.html", "<", 100000);
	repeat("a.html", "<!--", 20000);
	repeat("a.html", "<select><style></select><div>", 3000);
	repeat("a.html", "<div a=b=\"><div>", 3000);
	repeat("a.html", "<p>&", 20000);
	repeat("a.md", "> ", 5000);
	repeat("a.md", "[", 20000);
	repeat("a.md", "* ", 2000);
	repeat("a.md", "![](", 5000);
	repeat("a.md", "`a", 5000);
	repeat("a.md", "*a _b ", 5000);
	repeat("a.md", "|x", 2000);
	repeat("a.md", "&eacute;<br>", 500);
	repeat("a.txt", "\n \n", 20000);
}

TEST(extract_many_attributes)
{
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_puts(&b, "<p ");
	for (int i = 0; i < 50000; i++)
		buf_printf(&b, "a%d=\"%d\" ", i, i);
	buf_puts(&b, ">words</p>");
	CHECK_OK(extract_file(&x, "a.html", b.data, b.len, MAX, &e), e);
	CHECK_STR(x.text.data, "words");
	extracted_clear(&x);
	buf_clear(&b);
}

TEST(extract_txt_form)
{
	load("controls.txt");
	check_form();
	CHECK_STR(x.text.data, "A bell, a\xE2\x80\x8B zero-width space, café in two parts.\n\nNext\ttab.");
	extracted_clear(&x);
	load_text("dir/My notes.txt", "1973 oil crisis\n\nThe crisis began.\n  Indented.\n\nMore.");
	check_form();
	CHECK_STR(x.title, "1973 oil crisis");
	CHECK_INT(x.blocks[0].kind, BLOCK_HEADING);
	CHECK_INT(x.block_n, 3);
	HAS("The crisis began.\n  Indented.\n\nMore.");
	extracted_clear(&x);
	load_text("a.txt", "A whole sentence.\n\nMore.");
	CHECK_STR(x.title, "");
	CHECK_INT(x.blocks[0].kind, BLOCK_PARAGRAPH);
	extracted_clear(&x);
	load_text("a.txt", "Alone");
	CHECK_INT(x.blocks[0].kind, BLOCK_PARAGRAPH);
	extracted_clear(&x);
}

TEST(extract_text_limit)
{
	struct err e = { 0 };
	const char *s = "First paragraph.\n\nZweiter, größerer Absatz.\n\nThird.";

	for (size_t max = 1; max < strlen(s) + 2; max++) {
		CHECK_OK(extract_file(&x, "a.txt", s, strlen(s), max, &e), e);
		CHECK(x.text.len <= max);
		check_form();
		if (max >= strlen(s))
			CHECK_INT(x.verdict, EXTRACT_OK);
		else
			CHECK(x.verdict == EXTRACT_PARTIAL || x.text.len == 0);
		extracted_clear(&x);
	}
}

TEST(extract_front_matter)
{
	load_text("a.md", "---\ntitle: 'Quoted: yes'\ntags: [a]\n---\n\nBody.\n");
	CHECK_STR(x.title, "Quoted: yes");
	CHECK_STR(x.text.data, "Body.");
	extracted_clear(&x);
	load_text("a.md", "---\n\nA rule, not front matter.\n\n---\n\nBody.\n");
	HAS("A rule, not front matter.");
	HAS("Body.");
	extracted_clear(&x);
	load_text("a.md", "# Heading as title\n\nBody.\n");
	CHECK_STR(x.title, "Heading as title");
	extracted_clear(&x);
}

TEST(extract_html_details)
{
	load_text("a.html", "<p>a<p>b<h1>Only <br>heading</h1><p>10<p>&nbsp;</p>&#8364;&hellip;<hr>x<i>y</i> <b>z</b>");
	check_form();
	CHECK_STR(x.title, "Only heading");
	CHECK_STR(x.text.data, "a\n\nb\n\nOnly heading\n\n10\n\n€…\n\nxy z");
	HASNT("nbsp");
	extracted_clear(&x);
}

/* GitHub's tables need one dash a column; rows of dashes and code stay as they are. */
TEST(extract_markdown_short_underlines)
{
	static const char *const lines[] = { "|-|-|", "| - | - |", "|--|--|", "-|-", "--|--", ":-:|-", "|:-|-:|", "| --- | - |", "|---|---|" };
	char text[200];

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		snprintf(text, sizeof text, "Before.\n\n| a | b |\n%s\n| c | d |\n| - | - |\n", lines[i]);
		load_text("a.md", text);
		CHECK_MSG(count(BLOCK_TABLE_ROW) == 3, "%s gives:\n%s", lines[i], buf_cstr(&x.text));
		HAS("c | d\n- | -");
		extracted_clear(&x);
	}
	load_text("a.md", "> | a | b |\r\n> |-|-|\r\n> | c | d |\r\n\r\n- | e | f |\r\n  |-|-|\r\n  | g | h |\r\n");
	CHECK_INT(count(BLOCK_TABLE_ROW), 4);
	extracted_clear(&x);
	load_text("a.md", "```\n| a | b |\n|-|-|\n```\n\n- ~~~~\n  | a | b |\n  |-|-|\n  ~~~\n  | - |\n  ~~~~\n\n| c | d |\n|-|-|\n| e | f |\n\n    | g | h |\n    |-|-|\n");
	CHECK_INT(count(BLOCK_TABLE_ROW), 2);
	HAS("| a | b |\n|-|-|");
	HAS("| g | h |\n|-|-|");
	extracted_clear(&x);
}

static char *filled(const char *line, size_t lines, size_t *len)
{
	struct buf b;

	buf_init(&b, MAX);
	for (size_t i = 0; i < lines; i++)
		buf_puts(&b, line);
	return buf_take(&b, len);
}

TEST(extract_stray_controls)
{
	struct err e = { 0 };
	size_t len;
	char *text = filled("some words, 1\n", 500, &len);

	text[3000 + 4] = 0;
	CHECK_OK(extract_file(&x, "a.txt", text, len, MAX, &e), e);
	CHECK_INT(x.verdict, EXTRACT_PARTIAL);
	CHECK_STR(x.reason, "1 NUL bytes are read as blanks");
	CHECK(x.text.len >= len - 2);
	check_form();
	extracted_clear(&x);
	CHECK_OK(extract_file(&x, "a.csv", text, len, MAX, &e), e);
	CHECK_INT(x.verdict, EXTRACT_PARTIAL);
	CHECK_INT(count(BLOCK_TABLE_ROW), 500);
	extracted_clear(&x);
	for (size_t i = 3000; i < 3008; i++)
		text[i] = 0;                                    /* more than one in a thousand */
	CHECK_OK(extract_file(&x, "a.txt", text, len, MAX, &e), e);
	CHECK_STR(x.reason, "binary");
	extracted_clear(&x);
	memset(text + 3000, 'x', 8);
	text[20] = 0;                                           /* where formats that are no text have theirs */
	CHECK_OK(extract_file(&x, "a.txt", text, len, MAX, &e), e);
	CHECK_INT(x.verdict, EXTRACT_SKIPPED);
	extracted_clear(&x);
	mem_free(text);
	load_text("ls.txt", "N\bNA\bAM\bME\bE\n       _\bl_\bs - gr\brü\büß\bß x\b_ at the \b end\b\n");
	CHECK_INT(x.verdict, EXTRACT_OK);
	HAS("NAME\n       ls - grüß x at the  end");
	extracted_clear(&x);
}

TEST(extract_names_what_is_not_supported)
{
	load_text("letter.txt", "{\\rtf1\\ansi Hello}");
	CHECK_INT(x.verdict, EXTRACT_SKIPPED);
	CHECK_STR(x.reason, "type not supported: Rich Text Format data");
	extracted_clear(&x);
	load_text("letter.rtf", "{\\rtf1\\ansi Hello}");
	CHECK_STR(x.reason, "type not supported: .rtf");
	extracted_clear(&x);
}
