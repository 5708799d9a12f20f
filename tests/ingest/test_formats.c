/* test_formats.c: formats that are more than text: packages, mail, tables, pages of PDFs; files that harm. */
#include <stdlib.h>

#include "base/file.h"
#include "base/utf8.h"
#include "ingest/extract.h"
#include "tests/test.h"

enum { MAX = 1 << 24 };

static struct extracted x;
static struct err e;

static void read_fixture(const char *name, struct buf *b)
{
	char path[80];

	snprintf(path, sizeof path, "fixtures/ingest/formats/%s", name);
	buf_init(b, MAX);
	CHECK_OK(file_read(test_data(path), b, &e), e);
}

static void load(const char *name)
{
	struct buf b;

	read_fixture(name, &b);
	CHECK_OK(extract_file(&x, name, buf_cstr(&b), b.len, MAX, &e), e);
	buf_clear(&b);
}

static void load_text(const char *name, const char *text, size_t len)
{
	CHECK_OK(extract_file(&x, name, text, len, MAX, &e), e);
}

static void load_words(const char *name, const char *text)
{
	load_text(name, text, strlen(text));
}

static void load_boxes(const char *name)
{
	struct buf b;

	read_fixture(name, &b);
	memset(&x, 0, sizeof x);
	CHECK_OK(extract_pdf(&x, name, buf_cstr(&b), b.len, MAX, &e), e);
	buf_clear(&b);
}

/* The number of a block with just this text; fails when there is none. */
static const struct block *block_of(const char *text)
{
	for (size_t i = 0; i < x.block_n; i++)
		if (x.blocks[i].len == strlen(text) && memcmp(x.text.data + x.blocks[i].off, text, strlen(text)) == 0)
			return &x.blocks[i];
	test_fail(__FILE__, __LINE__, "no block \"%s\" in:\n%s", text, buf_cstr(&x.text));
}

#define HAS(what) CHECK_MSG(strstr(buf_cstr(&x.text), what), "missing \"%s\" in:\n%s", what, buf_cstr(&x.text))
#define HASNT(what) CHECK_MSG(!strstr(buf_cstr(&x.text), what), "unwanted \"%s\" in:\n%s", what, buf_cstr(&x.text))
#define SKIPPED(why) do { CHECK_INT(x.verdict, EXTRACT_SKIPPED); CHECK_STR(x.reason, why); CHECK_INT(x.text.len, 0); \
	extracted_clear(&x); } while (0)

TEST(format_docx)
{
	load("own.docx");
	CHECK_INT(x.verdict, EXTRACT_OK);
	CHECK_STR(x.type, "docx");
	CHECK_STR(x.title, "Own title");
	CHECK_STR(buf_cstr(&x.text), "Inherited heading\n\nKept and added\tbehind a tab\n\n3. third\n  3.a) inner\n4. fourth\n\n"
		"Boxed once.\n\nAround the box.\n\nName | Two lines\n\nE=mc\n\nA note below.");
	CHECK_INT(block_of("Inherited heading")->level, 2);
	CHECK_INT(block_of("4. fourth")->kind, BLOCK_LIST_ITEM);
	CHECK_INT(block_of("Name | Two lines")->kind, BLOCK_TABLE_ROW);
	extracted_clear(&x);
	load("broken.docx");
	CHECK_INT(x.verdict, EXTRACT_PARTIAL);
	HAS("First part.\n\nSecond");
	HAS("Third part.\n\nBoxed.\n\nBoxed too.\n\nAround.\n\nLast part.");
	CHECK(strstr(x.text.data, "Second") < strstr(x.text.data, "Third part."));
	extracted_clear(&x);
	load("docx-tables.docx");
	CHECK_INT(block_of("Lorem ipsum | A link example")->kind, BLOCK_TABLE_ROW);
	HAS("d | e f g&t h | i");
	extracted_clear(&x);
}

TEST(format_odt)
{
	load("own.odt");
	CHECK_INT(x.verdict, EXTRACT_OK);
	CHECK_STR(x.type, "odt");
	CHECK_STR(x.title, "Own ODF");
	CHECK_STR(buf_cstr(&x.text), "Second level\n\nThe note.\n\nOne two three\nfour.\n\n1. first\n  - dot\n2. second\n\n"
		"Comment by Ada: Why?\n\nMarked.\n\na |  | c");
	CHECK_INT(block_of("Second level")->level, 2);
	extracted_clear(&x);
	load("fake.odt");
	HAS("Lorem ipsum dolor sit amet.");
	HAS("Leader | Sarah | Mark | Ryan");
	extracted_clear(&x);
	load("locked.odt");
	SKIPPED("encrypted");
}

TEST(format_package_damaged)
{
	struct buf b;
	int failed = 0;

	read_fixture("docx-tables.docx", &b);
	for (size_t cut = 10; cut < b.len; cut += 97) {
		CHECK_OK(extract_file(&x, "a.docx", b.data, cut, MAX, &e), e);
		CHECK((x.verdict != EXTRACT_OK) == (x.reason[0] != 0));
		CHECK(x.verdict <= EXTRACT_PARTIAL || x.text.len == 0);
		CHECK(x.verdict != EXTRACT_OK || cut > b.len / 2);      /* what comes last is only the list of members */
		failed += x.verdict == EXTRACT_FAILED;
		extracted_clear(&x);
	}
	CHECK(failed > 0);
	for (size_t i = 0; i < 4000; i++) {                     /* any byte may be wrong */
		size_t at = (i * 2654435761u) % b.len;

		b.data[at] = (char)(b.data[at] ^ (1 << i % 8));
		CHECK_OK(extract_file(&x, "a.docx", b.data, b.len, MAX, &e), e);
		CHECK(utf8_valid(buf_cstr(&x.text), x.text.len));
		extracted_clear(&x);
		b.data[at] = (char)(b.data[at] ^ (1 << i % 8));
	}
	buf_clear(&b);
}

TEST(format_eml)
{
	load("mime-different-plain-html.eml");
	CHECK_INT(x.verdict, EXTRACT_OK);
	CHECK_STR(x.type, "eml");
	CHECK_STR(x.title, "Example MIME Email");
	CHECK_INT(x.blocks[0].kind, BLOCK_HEADING);
	HAS("From: sender@example.com\nTo: recipient@example.com\nDate: Tue, 01 Oct 2024 12:34:56 -0500");
	HAS("that the first email was sent");
	HASNT("text/html part");
	extracted_clear(&x);
	load("fake-email-b64.eml");
	HAS("This is a test email to use for unit tests.");
	extracted_clear(&x);
	load("fake-encrypted.eml");
	SKIPPED("encrypted");
	load("eml_with_attachment.eml");
	CHECK_INT(x.part_n, 1);
	CHECK_STR(x.parts[0].name, "test.txt");
	CHECK(x.parts[0].len > 20 && memcmp(x.parts[0].data, "This is a test attachment file.", 31) == 0);
	HASNT("dummy content");
	extracted_clear(&x);
}

TEST(format_eml_details)
{
	static const char mail[] = "From x Mon Jan  1\nFrom: =?utf-8?Q?J=C3=B6rg?= <j@example.com>\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\n"
		"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
		"--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/plain\n\nSee HTML.\n"
		"--c\nContent-Type: text/html; charset=windows-1252\nContent-Transfer-Encoding: quoted-printable\n\n"
		"<p>The whole mail costs 5 =80 and has <b>many</b> more words than its stub says, as it must.</p>\n--c--\n"
		"--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8''%C3%BCber%2Fsicht.pdf\n"
		"Content-Transfer-Encoding: base64\n\nJVBERg==\n"
		"--b\nContent-Type: application/pdf; name=\"\xC3\xBC" "ber_sicht.pdf\"\nContent-Disposition: attachment\n\nx\n"
		"--b\nContent-Type: message/rfc822\n\nSubject: Inner\nFrom: k@example.com\n\n> quoted words\n> go on\nAnswer.\n--b--\n";

	load_text("a.eml", mail, sizeof mail - 1);
	CHECK_INT(x.verdict, EXTRACT_OK);
	CHECK_STR(x.title, "Grüße");
	HAS("Jörg");
	HAS("The whole mail costs 5 € and has many more words");
	HASNT("See HTML");
	CHECK_INT(x.part_n, 2);
	CHECK_STR(x.parts[0].name, "über_sicht.pdf");
	CHECK_INT(x.parts[0].len, 4);
	CHECK_STR(x.parts[1].name, "über_sicht (2).pdf");
	CHECK_INT(block_of("Inner")->kind, BLOCK_HEADING);
	CHECK_INT(block_of("quoted words\ngo on")->kind, BLOCK_QUOTE);
	CHECK_INT(block_of("Answer.")->kind, BLOCK_PARAGRAPH);
	extracted_clear(&x);
	load_words("a.eml", " \n\n ");
	SKIPPED("empty");
	load_words("a.eml", "From: a@example.com\nTo: b@example.com\n\n\n");
	SKIPPED("empty");
	load_words("notes.eml", "No mail at all, words only.\n");
	CHECK_STR(x.type, "txt");
	HAS("words only");
	extracted_clear(&x);
}

TEST(format_csv)
{
	load("stanley-cups-utf-16.csv");
	CHECK_STR(x.type, "csv");
	CHECK_STR(x.title, "Stanley Cups");
	CHECK_STR(buf_cstr(&x.text), "Stanley Cups\n\nTeam | Location | Stanley Cups\nTeam: Blues; Location: STL; Stanley Cups: 1\n"
		"Team: Flyers; Location: PHI; Stanley Cups: 2\nTeam: Maple Leafs; Location: TOR; Stanley Cups: 13");
	extracted_clear(&x);
	load("semicolon-delimited.csv");
	HAS("dolor sit: et, dolore");
	extracted_clear(&x);
	load("test_mskanji.csv");
	CHECK_INT(x.verdict, EXTRACT_OK);
	HAS("髙橋淳");
	extracted_clear(&x);
	load_words("a.csv", "1,2\n3,\"4\nand \"\"more\"\"\"\n");
	CHECK_STR(buf_cstr(&x.text), "1 | 2\n3 | 4 and \"more\"");
	extracted_clear(&x);
	load_words("a.tsv", "name\tage\nAnn\t30\n");
	CHECK_STR(buf_cstr(&x.text), "name | age\nname: Ann; age: 30");
	extracted_clear(&x);
	load_words("a.csv", "Only words here.\nAnd more.\n");
	CHECK_STR(x.type, "txt");
	extracted_clear(&x);
}

TEST(format_csv_with_an_open_quote)
{
	load_words("a.csv", "name,size\nlamp,3\ndesk,\"4\n\nchair,5\nbed,6\n");
	CHECK_INT(x.verdict, EXTRACT_PARTIAL);
	CHECK_STR(x.reason, "the quote in line 3 is never closed");
	CHECK_STR(buf_cstr(&x.text), "name | size\nname: lamp; size: 3\nname: desk; size: \"4\nname: chair; size: 5\nname: bed; size: 6");
	extracted_clear(&x);
	load_words("a.csv", "name,size\r\nlamp,\"3\r\nor 4\"\r\ndesk,\"5\"\"\r\nchair,6");
	CHECK_STR(x.reason, "the quote in line 4 is never closed");
	CHECK_INT(x.block_n, 4);
	HAS("name: lamp; size: 3 or 4\n");
	HAS("name: chair; size: 6");
	extracted_clear(&x);
	load_words("a.csv", "name,size\nlamp,\"3\"");
	CHECK_INT(x.verdict, EXTRACT_OK);
	extracted_clear(&x);
}

TEST(format_eml_with_too_many_attachments)
{
	struct buf b;

	buf_init(&b, MAX);
	buf_puts(&b, "From: a@example.com\nTo: b@example.com\nSubject: Many\nMIME-Version: 1.0\n"
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nSee attached.\n");
	for (int i = 0; i < 1030; i++)
		buf_printf(&b, "--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename=%d.txt\n\nx\n", i);
	buf_puts(&b, "--b--\n");
	load_text("a.eml", buf_cstr(&b), b.len);
	CHECK_INT(x.part_n, 1000);
	CHECK_STR(x.reason, "more than 1000 attachments");
	extracted_clear(&x);
	buf_clear(&b);
}

TEST(format_xml)
{
	static const char mixed[] = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><book><title>B\xFC" "cher</title>\n"
		"<p>Words <b>in</b> a row &amp; caf&eacute;.</p>\n<x><![CDATA[a < b]]></x><y>one</y><z>two</z></book>";

	load("factbook.xml");
	CHECK_STR(x.type, "xml");
	HAS("Trinidad & Tobado");
	HAS("Port of Spain");
	extracted_clear(&x);
	load("entities.xml");
	CHECK_INT(x.verdict, EXTRACT_SKIPPED);
	CHECK_INT(x.text.len, 0);
	extracted_clear(&x);
	load_text("a.xml", mixed, sizeof mixed - 1);
	CHECK_STR(x.title, "Bücher");
	HAS("Words in a row & café.");
	HAS("a < b one two");
	extracted_clear(&x);
	load_words("a.xml", "<a>open &own; <b>and never closed");
	CHECK_INT(x.verdict, EXTRACT_PARTIAL);
	HAS("and never closed");
	extracted_clear(&x);
}

TEST(format_encodings)
{
	load("letter_cp1251.txt");
	CHECK_INT(x.verdict, EXTRACT_OK);
	HAS("собрание переносится на вторник");
	extracted_clear(&x);
	load("letter_sjis.txt");
	CHECK_INT(x.verdict, EXTRACT_OK);
	HAS("会議は来週の月曜日に変更");
	extracted_clear(&x);
	load("umlauts-non-utf8.md");
	HAS("können");
	HAS("äöüß");
	extracted_clear(&x);
	load_words("a.txt", "It\x92s a caf\xE9 \x96 na\xEFve.");
	HAS("It’s a café – naïve");
	extracted_clear(&x);
}

TEST(format_pdf_pages)
{
	load_boxes("list-item-example.boxes");
	CHECK_INT(x.verdict, EXTRACT_OK);
	CHECK_STR(x.type, "pdf");
	CHECK_STR(x.title, "Unstructured-test-doc");
	HAS("what kinds of products might be developed and tested");
	HAS("collaboration with stakeholders. It then looks at who should lead");
	CHECK_INT(block_of("- Design considerations")->kind, BLOCK_LIST_ITEM);
	CHECK_INT(block_of("- Design considerations")->page, 2);
	CHECK_INT(block_of("- What are product types?")->page, 1);
	for (size_t i = 1; i < x.block_n; i++)
		CHECK(x.blocks[i].page >= x.blocks[i - 1].page);
	extracted_clear(&x);
	load_boxes("rotated-page-90.boxes");
	HAS("Hello World Test Text");
	HAS("Second line of text here");
	extracted_clear(&x);
	load_boxes("right_to_left_01.boxes");
	HAS("البرمجة بلغة R و Python من");
	extracted_clear(&x);
}

/* A page of pdftotext's from a list of lines "x0 y0 x1 y1 text"; a block for each run without an empty one. */
static void page_put(struct buf *b, const char *const *lines, size_t n)
{
	buf_puts(b, "<page width=\"600\" height=\"800\"><flow><block xMin=\"0\" yMin=\"0\" xMax=\"0\" yMax=\"0\">");
	for (size_t i = 0; i < n; i++) {
		char *at;
		double x0 = strtod(lines[i], &at), y0 = strtod(at, &at), x1 = strtod(at, &at), y1 = strtod(at, &at), wide;
		size_t len = strlen(++at);

		if (!*at) {
			buf_puts(b, "</block><block xMin=\"0\" yMin=\"0\" xMax=\"0\" yMax=\"0\">");
			continue;
		}
		wide = (x1 - x0) / (double)len;
		buf_printf(b, "<line xMin=\"%g\" yMin=\"%g\" xMax=\"%g\" yMax=\"%g\">", x0, y0, x1, y1);
		for (size_t k = 0, end; k < len; k = end + 1) {
			end = k + strcspn(at + k, " ");
			buf_printf(b, "<word xMin=\"%g\" yMin=\"%g\" xMax=\"%g\" yMax=\"%g\">%.*s</word>", x0 + wide * (double)k, y0,
				x0 + wide * (double)end, y1, (int)(end - k), at + k);
		}
		buf_puts(b, "</line>");
	}
	buf_puts(b, "</block></flow></page>");
}

static void load_pages(struct buf *pages)
{
	struct buf b;

	buf_init(&b, MAX);
	buf_puts(&b, "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title>paper.docx</title></head><body><doc>");
	buf_put(&b, pages->data, pages->len);
	buf_puts(&b, "</doc></body></html>");
	memset(&x, 0, sizeof x);
	CHECK_OK(extract_pdf(&x, "a.pdf", b.data, b.len, MAX, &e), e);
	buf_clear(&b);
	buf_reset(pages);
}

TEST(format_pdf_flow)
{
	static const char *const one[] = { "50 20 150 30 The Running Head", "0 0 0 0 ", "50 100 300 124 Big heading", "0 0 0 0 ",
		"50 140 550 152 This paragraph is long and its words are parted by hy-", "50 154 550 166 phens, and it goes on over a page",
		"0 0 0 0 ", "290 770 310 780 Page 1 of 3" };
	static const char *const two[] = { "50 20 150 30 The Running Head", "0 0 0 0 ",
		"50 100 550 112 break in the middle. What follows is of the second page.", "0 0 0 0 ", "290 770 310 780 Page 2 of 3" };
	static const char *const three[] = { "50 20 150 30 The Running Head", "0 0 0 0 ",
		"50 100 550 112 A twenty-five is written so, and a twenty-", "50 114 200 126 four is too.", "0 0 0 0 ",
		"290 770 310 780 Page 3 of 3" };
	struct buf b;

	buf_init(&b, MAX);
	page_put(&b, one, sizeof one / sizeof *one);
	page_put(&b, two, sizeof two / sizeof *two);
	page_put(&b, three, sizeof three / sizeof *three);
	load_pages(&b);
	CHECK_STR(buf_cstr(&x.text), "The Running Head\n\nBig heading\n\n"
		"This paragraph is long and its words are parted by hyphens, and it goes on over a page break in the middle.\n\n"
		"What follows is of the second page.\n\nA twenty-five is written so, and a twenty-four is too.");
	CHECK_STR(x.title, "Big heading");
	CHECK_INT(block_of("What follows is of the second page.")->page, 2);
	CHECK_INT(x.blocks[2].page, 1);
	extracted_clear(&x);
	buf_clear(&b);
}

/* Numbers that count as pages do are kept when they are not pages'; a head of two pages is kept once. */
TEST(format_pdf_running)
{
	static const char *const one[] = { "50 20 150 30 Invoice 17", "0 0 0 0 ", "50 100 550 112 First bill.", "0 0 0 0 ",
		"50 770 150 780 Beam and Sons" };
	static const char *const two[] = { "50 20 150 30 Invoice 18", "0 0 0 0 ", "50 100 550 112 Second bill.", "0 0 0 0 ",
		"50 770 150 780 Beam and Sons" };
	struct buf b;

	buf_init(&b, MAX);
	page_put(&b, one, sizeof one / sizeof *one);
	page_put(&b, two, sizeof two / sizeof *two);
	load_pages(&b);
	CHECK_STR(buf_cstr(&x.text), "Invoice 17\n\nFirst bill.\n\nBeam and Sons\n\nInvoice 18\n\nSecond bill.");
	CHECK_INT(block_of("Invoice 18")->page, 2);
	extracted_clear(&x);
	buf_clear(&b);
}

TEST(format_pdf_table)
{
	/* Cells as Poppler tells them: each a block, in the order of columns; one row is two lines high. */
	static const char *const page[] = { "50 100 550 112 These are the rooms and who has the keys of each of them.", "0 0 0 0 ",
		"50 140 90 152 Room", "0 0 0 0 ", "200 140 260 152 Keys", "0 0 0 0 ", "400 140 460 152 Floor", "0 0 0 0 ",
		"50 167 90 179 Archive", "0 0 0 0 ", "200 160 280 172 Ada Beam and", "200 174 270 186 Carl Dorn", "0 0 0 0 ",
		"400 167 440 179 first", "0 0 0 0 ",
		"50 194 90 206 Cellar", "0 0 0 0 ", "200 194 280 206 Eva Frost", "0 0 0 0 ", "400 194 440 206 none" };
	static const char *const columns[] = {
		"50 100 290 112 The first column holds a text of some length,", "50 114 290 126 which goes on from line to line until it ends.",
		"0 0 0 0 ", "310 100 550 112 The second one stands beside it and is no part", "310 114 550 126 of any table, whatever its lines look like." };
	/* Cells no further apart than words: Tank stands over T1, Capacity over 12,500. */
	static const char *const tight[] = { "37 187 183 200 Tank Capacity (litres)", "0 0 0 0 ", "203 187 260 200 Material", "0 0 0 0 ",
		"37 206 53 219 T1", "0 0 0 0 ", "74 206 116 219 12,500", "0 0 0 0 ", "187 206 275 219 Stainless steel", "0 0 0 0 ",
		"37 225 53 238 T2", "0 0 0 0 ", "74 225 110 238 8,400", "0 0 0 0 ", "187 225 210 238 Oak" };
	struct buf b;

	buf_init(&b, MAX);
	page_put(&b, tight, sizeof tight / sizeof *tight);
	load_pages(&b);
	CHECK_STR(buf_cstr(&x.text), "Tank | Capacity (litres) | Material\nT1 | 12,500 | Stainless steel\nT2 | 8,400 | Oak");
	extracted_clear(&x);
	page_put(&b, page, sizeof page / sizeof *page);
	load_pages(&b);
	CHECK_STR(buf_cstr(&x.text), "These are the rooms and who has the keys of each of them.\n\nRoom | Keys | Floor\n"
		"Archive | Ada Beam and Carl Dorn | first\nCellar | Eva Frost | none");
	extracted_clear(&x);
	page_put(&b, columns, sizeof columns / sizeof *columns);
	load_pages(&b);
	HAS("The first column holds a text of some length, which goes on from line to line until it ends.");
	HAS("stands beside it and is no part of any table");
	extracted_clear(&x);
	buf_clear(&b);
}

TEST(format_pdf_without_text)
{
	struct buf b;

	buf_init(&b, MAX);
	page_put(&b, NULL, 0);
	load_pages(&b);
	SKIPPED("no text (scanned?)");
	memset(&x, 0, sizeof x);
	CHECK_OK(extract_pdf(&x, "a.pdf", "", 0, MAX, &e), e);
	CHECK(x.verdict >= EXTRACT_SKIPPED);
	extracted_clear(&x);
	buf_clear(&b);
}

TEST(format_by_content)
{
	load_words("a.pdf", "Just a plain note: the ferry leaves at half past six.\n");
	CHECK_STR(x.type, "txt");
	HAS("ferry leaves at half past six");
	extracted_clear(&x);
	load_words("a.txt", "%PDF-1.4\n%\xE2\xE3\n1 0 obj");
	CHECK_STR(x.type, "pdf");
	CHECK_INT(x.needs_boxes, 1);
	extracted_clear(&x);
	load_text("a.docx", "\320\317\021\340\241\261\032\341 E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0", 41);
	SKIPPED("encrypted");
	load_text("a.xlsx", "PK\003\004\0\0\0\0 and so on", 18);
	CHECK(x.verdict >= EXTRACT_SKIPPED);
	extracted_clear(&x);
}

/* What was loaded can be given back and loaded again. */
TEST(format_prepare)
{
	CHECK_OK(extract_prepare(&e), e);
	CHECK_OK(extract_prepare(&e), e);
	extract_finish();
	extract_finish();
	load("own.docx");
	HAS("Boxed once.");
	extracted_clear(&x);
}
