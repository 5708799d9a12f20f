/* test_parser.c: the pool of parsing processes: what a good one answers, and what a bad one costs. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "ingest/parser.h"
#include "tests/test.h"

static struct parsers *pool;
static struct err e;
static const struct parsers_options usual = { .workers = 1, .files_max = 100, .memory_bytes = (uint64_t)512 << 20, .seconds = 120,
	.output_bytes_max = 64 << 20 };

static void begin(struct parsers_options o)
{
	CHECK_OK(parsers_open(&pool, &o, &e), e);
}

static struct extracted extract(const char *name, const char *data)
{
	struct extracted x = { 0 };

	CHECK_OK(parsers_extract(pool, &x, name, data, strlen(data), 1 << 20, NULL, &e), e);
	return x;
}

static void check_good(void)
{
	struct extracted x = extract("a.md", "# Title\n\nSome words.\n");

	CHECK_MSG(x.verdict == EXTRACT_OK, "%s", x.reason);
	CHECK_STR(x.type, "md");
	CHECK_STR(x.title, "Title");
	CHECK_STR(buf_cstr(&x.text), "Title\n\nSome words.");
	CHECK_INT(x.block_n, 2);
	CHECK_INT(x.blocks[0].kind, BLOCK_HEADING);
	CHECK_INT(x.blocks[1].off, 7);
	extracted_clear(&x);
}

/* Ids of our children that are parsers; at most max. */
static int children(pid_t *out, int max)
{
	DIR *d = opendir("/proc");
	struct dirent *ent;
	int n = 0;

	CHECK(d);
	while ((ent = readdir(d)) != NULL) {
		char path[300], want[60];
		struct buf text;

		if (ent->d_name[0] < '1' || ent->d_name[0] > '9')
			continue;
		snprintf(path, sizeof path, "/proc/%s/cmdline", ent->d_name);
		snprintf(want, sizeof want, "footnote%c--parser%c%d", 0, 0, (int)getpid());
		buf_init(&text, 1 << 20);
		if (file_read(path, &text, NULL) == OK && text.len > 18 + strlen(want + 18)
			&& memcmp(text.data, want, 18 + strlen(want + 18) + 1) == 0 && n < max)
			out[n++] = (pid_t)strtol(ent->d_name, NULL, 10);
		buf_clear(&text);
	}
	closedir(d);
	return n;
}

static pid_t the_child(void)
{
	pid_t pid = 0;

	CHECK_INT(children(&pid, 1), 1);
	return pid;
}

TEST(parser_answers)
{
	pid_t first;

	begin(usual);
	check_good();
	first = the_child();
	check_good();
	CHECK_INT(the_child(), first);          /* warm */
	parsers_close(pool);
	CHECK_INT(children(&first, 1), 0);
}

TEST(parser_is_replaced_after_its_files)
{
	struct parsers_options o = usual;
	pid_t first;

	o.files_max = 2;
	begin(o);
	check_good();
	first = the_child();
	check_good();
	check_good();
	CHECK(the_child() != first);
	parsers_close(pool);
}

/* Stops the worker, gives it a file, then does `sig` to it. */
static void misbehave(int sig, const char *want)
{
	struct parse q = { .name = "b.txt", .data = "words", .len = 5, .text_bytes_max = 1000 };
	pid_t pid = the_child();

	CHECK_INT(kill(pid, SIGSTOP), 0);
	CHECK_OK(parse_start(pool, &q, &e), e);
	if (sig) {
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
		CHECK_INT(kill(pid, sig), 0);
		kill(pid, SIGCONT);
	}
	CHECK_OK(parse_wait(pool, &q, NULL, &e), e);
	CHECK_INT(q.x.verdict, EXTRACT_FAILED);
	CHECK_MSG(strstr(q.x.reason, want), "%s", q.x.reason);
	CHECK_INT(q.x.text.len, 0);
	extracted_clear(&q.x);
	check_good();                           /* the next file has a fresh worker */
}

TEST(parser_crash_costs_one_file)
{
	begin(usual);
	check_good();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	misbehave(SIGSEGV, "crashed (signal 11)");
#endif
	misbehave(SIGKILL, "killed (signal 9)");
	parsers_close(pool);
}

TEST(parser_hang_costs_one_file)
{
	struct parsers_options o = usual;

	o.seconds = 5;
	begin(o);
	check_good();
	misbehave(0, "took longer than ingest.parser_seconds (5 s)");
	parsers_close(pool);
}

TEST(parser_cancel)
{
	struct parse q = { .name = "b.txt", .data = "words", .len = 5, .text_bytes_max = 1000 };
	volatile int cancel = 1;
	pid_t pid;

	begin(usual);
	check_good();
	pid = the_child();
	CHECK_INT(kill(pid, SIGSTOP), 0);
	CHECK_OK(parse_start(pool, &q, &e), e);
	nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
	CHECK_INT(parse_wait(pool, &q, &cancel, &e), E_CANCELLED);
	kill(pid, SIGCONT);                     /* had it not been asked yet, it lives */
	extracted_clear(&q.x);
	check_good();
	parsers_close(pool);
}

static char *repeat(const char *s, size_t n)
{
	size_t len = strlen(s);
	char *out = mem_alloc(n * len + 1);

	CHECK(out);
	for (size_t i = 0; i < n; i++)
		memcpy(out + i * len, s, len);
	out[n * len] = 0;
	return out;
}

TEST(parser_memory_is_limited)
{
	struct parsers_options o = usual;
	struct extracted x = { 0 };
	char *big;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	test_skip("a sanitizer's shadow memory knows no limit");
#endif
	big = repeat("<p>Some words in a paragraph.</p>\n", 600000);
	o.memory_bytes = (uint64_t)32 << 20;
	begin(o);
	CHECK_OK(parsers_extract(pool, &x, "big.html", big, strlen(big), 32 << 20, NULL, &e), e);
	CHECK_INT(x.verdict, EXTRACT_FAILED);
	CHECK_MSG(strstr(x.reason, "memory") || strstr(x.reason, "crashed"), "%s", x.reason);
	extracted_clear(&x);
	check_good();
	parsers_close(pool);
	mem_free(big);
}

TEST(parser_output_is_limited)
{
	struct parsers_options o = usual;
	char *big = repeat("Some words in a row. ", 10000);
	struct extracted x = { 0 };

	o.output_bytes_max = 64 << 10;
	begin(o);
	CHECK_OK(parsers_extract(pool, &x, "big.txt", big, strlen(big), 1 << 20, NULL, &e), e);
	CHECK_INT(x.verdict, EXTRACT_FAILED);
	CHECK_MSG(strstr(x.reason, "ingest.parser_output_bytes (65536 bytes)"), "%s", x.reason);
	extracted_clear(&x);
	check_good();
	parsers_close(pool);
	mem_free(big);
}

/* Character sets load lazily, in the sandbox too. */
TEST(parser_charsets)
{
	struct extracted x;
	struct buf data;

	begin(usual);
	buf_init(&data, 1 << 20);
	CHECK_OK(file_read(test_data("fixtures/ingest/cp1251.html"), &data, &e), e);
	x = extract("cp1251.html", buf_cstr(&data));
	CHECK_MSG(x.verdict == EXTRACT_OK || x.verdict == EXTRACT_PARTIAL, "%s", x.reason);
	CHECK(x.text.len > 0 && (unsigned char)x.text.data[0] >= 0x80);
	extracted_clear(&x);
	buf_clear(&data);
	parsers_close(pool);
}

/* Many at once, from one queue, over several workers; some dropped. */
TEST(parser_many)
{
	enum { N = 60 };
	static struct parse q[N];
	static char text[N][40];
	struct parsers_options o = usual;

	o.workers = 3;
	begin(o);
	for (int i = 0; i < N; i++) {
		int len = snprintf(text[i], sizeof text[i], "Text of number %d.", i);

		q[i] = (struct parse){ .name = "n.txt", .data = text[i], .len = (size_t)len, .text_bytes_max = 1000 };
		CHECK_OK(parse_start(pool, &q[i], &e), e);
	}
	for (int i = 0; i < N; i++) {
		if (i % 7 == 3) {
			parse_drop(pool, &q[i]);
			continue;
		}
		CHECK_OK(parse_wait(pool, &q[i], NULL, &e), e);
		CHECK_STR(buf_cstr(&q[i].x.text), text[i]);
		extracted_clear(&q[i].x);
	}
	parsers_close(pool);
}

/* ---- PDF ---- */

/* A page with one line; its table of objects is wrong, which readers mend. */
static const char pdf[] = "%PDF-1.4\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n"
	"2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj\n"
	"3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>> endobj\n"
	"4 0 obj <</Length 61>> stream\nBT /F1 18 Tf 20 100 Td (The harbour opens at seven.) Tj ET    \nendstream endobj\n"
	"5 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF\n";

TEST(parser_pdf)
{
	struct extracted x;

	begin(usual);
	x = extract("a.pdf", pdf);
	CHECK_MSG(x.verdict == EXTRACT_OK, "%s", x.reason);
	CHECK_STR(x.type, "pdf");
	CHECK_STR(buf_cstr(&x.text), "The harbour opens at seven.");
	CHECK_INT(x.blocks[0].page, 1);
	CHECK_INT(x.needs_boxes, 0);
	extracted_clear(&x);
	x = extract("a.pdf", "%PDF-1.4\nand nothing more");
	CHECK_INT(x.verdict, EXTRACT_FAILED);
	CHECK_MSG(strstr(x.reason, "pdftotext cannot read it"), "%s", x.reason);
	extracted_clear(&x);
	parsers_close(pool);
}

TEST(parser_pdf_without_its_program)
{
	struct parsers_options o = usual;
	struct extracted x;

	o.pdftotext = "no-such-pdftotext";
	begin(o);
	x = extract("a.pdf", pdf);
	CHECK_INT(x.verdict, EXTRACT_FAILED);
	CHECK_MSG(strstr(x.reason, "no-such-pdftotext") && strstr(x.reason, "poppler-utils"), "%s", x.reason);
	extracted_clear(&x);
	parsers_close(pool);
}
