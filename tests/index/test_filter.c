/* test_filter.c: the filter language: what it takes, what it refuses, what it means. */
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"
#include "index/filter.h"
#include "tests/test.h"

enum { BYTES_MAX = 8192 };

static struct filter *parsed(const char *expr)
{
	struct filter *f;
	struct err e;
	if (filter_parse(&f, expr, strlen(expr), BYTES_MAX, &e)) test_fail(__FILE__, __LINE__, "%s: %s", expr, e.msg);
	return f;
}

static struct doc doc_make(void)
{
	struct doc d = { .id = "d", .source = "/a/b.pdf", .type = "pdf", .reason = "", .meta =
		"{\"year\":2020,\"lang\":\"de\",\"draft\":false,\"tags\":[\"red\",\"blue\",7],\"a\":{\"b\":{\"c\":\"deep\"}},\"odd name\":1,"
		"\"people\":[{\"name\":\"Ann\"},{\"name\":\"Bo\"}],\"none\":null,\"empty\":\"\",\"nothing\":[],\"a.b\":\"flat\"}" };
	CHECK(clock_read("2026-03-04T10:20:30.500Z", &d.added_ms, NULL));
	CHECK(clock_read("2026-03-05T00:00:00Z", &d.updated_ms, NULL));
	return d;
}

TEST(filter_means_what_the_manual_says)
{
	static const struct { const char *expr; int yes; } rows[] = {
		{ "type = \"pdf\"", 1 }, { "type != \"pdf\"", 0 }, { "type in (\"md\", \"pdf\")", 1 }, { "type in (\"md\")", 0 },
		{ "source = \"/a/b.pdf\"", 1 }, { "source > \"/a\"", 1 }, { "source < \"/a\"", 0 }, { "exists(source)", 1 }, { "TYPE = \"pdf\" AND NOT source = \"x\"", 1 },
		{ "meta.year = 2020", 1 }, { "meta.year >= 2020", 1 }, { "meta.year > 2020", 0 }, { "meta.year <= 2020", 1 }, { "meta.year < 2020.5", 1 },
		{ "meta.year = \"2020\"", 0 }, { "meta.year != \"2020\"", 1 }, { "meta.year > \"1\"", 0 }, { "meta.year = 2.02e3", 1 }, { "meta.year > -1", 1 },
		{ "meta.lang = \"de\"", 1 }, { "meta.lang = \"DE\"", 0 }, { "meta.lang >= \"d\"", 1 }, { "meta.lang < \"de\"", 0 }, { "meta.lang = 1", 0 },
		{ "meta.draft = false", 1 }, { "meta.draft = true", 0 }, { "meta.draft != true", 1 }, { "meta.draft = \"false\"", 0 }, { "meta.draft = 0", 0 },
		{ "meta.tags = \"red\"", 1 }, { "meta.tags = \"blue\"", 1 }, { "meta.tags = 7", 1 }, { "meta.tags = \"green\"", 0 }, { "meta.tags != \"red\"", 0 },
		{ "meta.tags in (\"green\", 7)", 1 }, { "meta.tags > 6", 1 }, { "meta.a.b.c = \"deep\"", 1 }, { "meta.a.b = \"deep\"", 0 }, { "meta.a.b.c.d = \"deep\"", 0 },
		{ "meta.\"a.b\" = \"flat\"", 1 }, { "meta.\"odd name\" = 1", 1 }, { "meta.people.name = \"Bo\"", 1 }, { "meta.people.name = \"Cy\"", 0 },
		{ "exists(meta.year)", 1 }, { "exists(meta.none)", 0 }, { "exists(meta.missing)", 0 }, { "exists(meta.empty)", 1 }, { "exists(meta.a)", 1 },
		{ "exists(meta.nothing)", 0 }, { "exists(added)", 1 }, { "not exists(meta.year)", 0 },
		{ "meta.missing = 1", 0 }, { "meta.missing != 1", 1 }, { "meta.missing < 1", 0 }, { "meta.missing >= 1", 0 }, { "not meta.missing < 1", 1 },
		{ "meta.none != 1", 1 }, { "meta.none = 1", 0 },
		{ "added = \"2026-03-04\"", 1 }, { "added < \"2026-03-04\"", 0 }, { "added <= \"2026-03-04\"", 1 }, { "added > \"2026-03-04\"", 0 },
		{ "added >= \"2026-03-04\"", 1 }, { "added > \"2026-03-03\"", 1 }, { "added < \"2026-03-05\"", 1 }, { "updated = \"2026-03-05\"", 1 }, { "updated = \"2026-03-04\"", 0 },
		{ "added = \"2026-03-04T10:20:30.500Z\"", 1 }, { "added = \"2026-03-04T12:20:30.500+02:00\"", 1 }, { "added = \"2026-03-04T10:20:30Z\"", 0 },
		{ "added >= \"2026-03-04T10:20:30Z\"", 1 }, { "added < \"2026-03-04T10:20:30.501Z\"", 1 }, { "added > \"2026-03-04T10:20:30.500Z\"", 0 }, { "added in (\"2026-01-01\", \"2026-03-04\")", 1 },
		{ "type = \"md\" or type = \"pdf\" and meta.year = 1", 0 }, { "(type = \"md\" or type = \"pdf\") and meta.year = 2020", 1 },
		{ "type = \"pdf\" or type = \"md\" and meta.year = 1", 1 }, { "not type = \"md\" and meta.year = 2020", 1 }, { "not (type = \"pdf\" and meta.year = 1)", 1 },
		{ "type = \"pdf\" and type = \"md\"", 0 }, { "meta.lang = \"\\u0064\\u0065\"", 1 }, { " type=\"pdf\"\n", 1 }, { "not not type = \"pdf\"", 1 },
	};
	struct doc d = doc_make();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct filter *f = parsed(rows[i].expr), *again = parsed(filter_text(f));
		CHECK_MSG(filter_match(f, &d) == rows[i].yes, "%s (%s)", rows[i].expr, filter_text(f));
		CHECK_MSG(filter_match(again, &d) == rows[i].yes, "%s: its normal form %s differs", rows[i].expr, filter_text(f));
		CHECK_STR(filter_text(again), filter_text(f));
		filter_free(f);
		filter_free(again);
	}
	CHECK(filter_match(NULL, &d));
	d.meta = "{damaged";
	struct filter *f = parsed("meta.year != 1");
	CHECK(filter_match(f, &d));
	filter_free(f);
}

TEST(filter_has_a_normal_form)
{
	static const struct { const char *expr, *text; } rows[] = {
		{ "type=\"a\"AND( (source!=\"b\") )", "type = \"a\" and source != \"b\"" }, { "type in (\"a\")", "type = \"a\"" },
		{ "not type = \"a\"", "type != \"a\"" }, { "not type != \"a\"", "type = \"a\"" }, { "not (not (exists( meta . x )))", "exists(meta.x)" },
		{ "not(type=\"a\"or type=\"b\")", "not (type = \"a\" or type = \"b\")" }, { "type=\"a\" and (type=\"b\" and type=\"c\")", "type = \"a\" and type = \"b\" and type = \"c\"" },
		{ "(type=\"a\" and type=\"b\") or type=\"c\"", "type = \"a\" and type = \"b\" or type = \"c\"" }, { "meta.\"x\".\"y z\".\"\" < 1.50", "meta.x.\"y z\".\"\" < 1.5" },
		{ "meta.x in (1,\"\\u0022\", TRUE)", "meta.x in (1, \"\\\"\", true)" }, { "not meta.x in (-0, 1)", "not meta.x in (0, 1)" }, { "not meta.x < 1", "not meta.x < 1" },
		{ "meta.größe = \"ß\"", "meta.größe = \"ß\"" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct filter *f = parsed(rows[i].expr);
		CHECK_STR(filter_text(f), rows[i].text);
		filter_free(f);
	}
}

TEST(filter_names_the_mistake)
{
	static const struct { const char *expr, *part; } rows[] = {
		{ "", "character 1: it ends where a key" }, { "type", "character 5: it ends where =, !=" }, { "type =", "character 7: it ends where a value" },
		{ "type = pdf", "character 8: pdf where a value" }, { "typ = \"pdf\"", "character 1: typ where a key" }, { "type = \"pdf", "character 12: it ends where the end of a text" },
		{ "type = \"pdf\" und x", "character 14: und where and, or, or the end" }, { "(type = \"pdf\"", "character 14: it ends where and, or, or a )" },
		{ "type = \"pdf\")", "character 13: ) where and, or, or the end" }, { "type = 5", "character 8: 5 where a text in quotes" }, { "added = \"yesterday\"", "where a time like" },
		{ "added = 5", "character 9: 5 where a time" }, { "type in ()", "character 10: ) where a value" }, { "type in (\"a\"", "where , or the )" }, { "type in \"a\"", "where the ( of a list" },
		{ "meta = 1", "character 6: = where the . of meta.NAME" }, { "meta. = 1", "character 7: = where a name in meta" }, { "exists meta.x", "where the ( of exists" }, { "exists(meta.x", "where the ) of exists" },
		{ "meta.x < true", "in no order" }, { "meta.x = 1.2.3", "character 10: 1" }, { "meta.x = \"\\q\"", "character 10: not a text" }, { "meta.x = \"\\u0000\"", "not a text" },
		{ "meta.x = 1e999", "where a number" }, { "meta.ä = ö", "character 10: ö where a value" }, { "not", "it ends where a key" }, { "meta.x = null", "null where a value" }, { "\xff = 1", "not valid UTF-8" },
		{ "added = \"2026-02-30\"", "where a time" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct filter *f;
		struct err e;
		CHECK_INT(filter_parse(&f, rows[i].expr, strlen(rows[i].expr), BYTES_MAX, &e), E_USAGE);
		CHECK_MSG(f == NULL && strstr(e.msg, rows[i].part), "%s: %s, wanted %s", rows[i].expr, e.msg, rows[i].part);
	}
}

TEST(filter_limits_hold)
{
	static char text[10240];
	struct filter *f;
	struct err e;
	memset(text, '(', sizeof text);
	CHECK_INT(filter_parse(&f, text, sizeof text, BYTES_MAX, &e), E_USAGE);
	CHECK(strstr(e.msg, "10240") && strstr(e.msg, "8192") && strstr(e.msg, "search.filter_bytes"));
	CHECK_INT(filter_parse(&f, text, 8000, BYTES_MAX, &e), E_USAGE);
	CHECK(strstr(e.msg, "deeper than 64"));
	for (size_t depth = 63; depth <= 65; depth++) {
		memset(text, ' ', sizeof text);
		for (size_t i = 0; i < depth; i++) text[i] = '(', text[2000 + i] = ')';
		memcpy(text + 1000, "type=\"\"", 7);
		CHECK_INT(filter_parse(&f, text, 4000, BYTES_MAX, &e), depth <= 64 ? OK : E_USAGE);
		filter_free(f);
	}
	memset(text, ' ', sizeof text);
	for (size_t i = 0; i + 4 <= 4000; i += 4) memcpy(text + i, "not ", 4);
	CHECK_INT(filter_parse(&f, text, 4100, BYTES_MAX, &e), E_USAGE);
	size_t n = 0;
	for (; n + 12 < 8000; n += 12) memcpy(text + n, n ? "or type=\"\"  " : "   type=\"\"  ", 12); /* long is not deep */
	CHECK_OK(filter_parse(&f, text, n, BYTES_MAX, &e), e);
	filter_free(f);
	memcpy(text, "type in (\"\"", 11);
	for (n = 11; n + 4 < 8000; n += 3) memcpy(text + n, ",\"\"", 3);
	text[n++] = ')';
	CHECK_OK(filter_parse(&f, text, n, BYTES_MAX, &e), e);
	filter_free(f);
	memcpy(text, "meta.x in (1e300", 16);
	for (n = 16; n + 7 < 8000; n += 6) memcpy(text + n, ",1e-30", 6);
	text[n++] = ')';
	CHECK_OK(filter_parse(&f, text, n, BYTES_MAX, &e), e);
	filter_free(f);
}

static int on_value(void *ctx, const char *text)
{
	char *all = ctx;
	snprintf(all + strlen(all), 200 - strlen(all), "%s;", text);
	return strcmp(text, "7") == 0 ? E_LIMIT : OK;
}

TEST(filter_values_are_what_is_there)
{
	static const struct { const char *key, *want; int rc; } rows[] = {
		{ "type", "pdf;", OK }, { "source", "/a/b.pdf;", OK }, { "added", "2026-03-04;", OK }, { "meta.year", "2020;", OK }, { "meta.draft", "false;", OK },
		{ "meta.tags", "red;blue;7;", E_LIMIT }, { "meta.a", "", OK }, { "meta.a.b.c", "deep;", OK }, { "meta.people.name", "Ann;Bo;", OK }, { "meta.none", "", OK },
		{ "meta.empty", ";", OK }, { "meta.nothing", "", OK }, { "meta.missing", "", OK }, { "meta.lang.x", "", OK },
	};
	struct doc d = doc_make();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char expr[64], got[200] = "";
		snprintf(expr, sizeof expr, "exists(%s)", rows[i].key);
		struct filter *f = parsed(expr);
		CHECK_INT(filter_values(f->root, &d, on_value, got), rows[i].rc);
		CHECK_STR(got, rows[i].want);
		filter_free(f);
	}
}

/* Pieces of the language in any order, and bytes of any kind: it never reads beyond the end, and what it takes is stable. */
TEST(filter_takes_any_bytes)
{
	static const char *const pieces[] = { "type", "source", "meta.", "meta.x", "added", "=", "!=", "<", "<=", " in ", "(", ")", "exists(", " and ", " or ", " not ", "\"", "\"a\"", "\\",
		"\"2026-01-01\"", "1", "-2.5e3", "true", ",", ".", " ", "\xc3\xa4", "\xff", "type = \"a\"", "not (", "exists(meta.y)", "meta.\"\\\"\" > 3" };
	struct doc d = doc_make();
	unsigned seed = 7;
	size_t good = 0;
	for (int round = 0; round < 60000; round++) {
		char made[400];
		size_t n = 0;
		int parts = 1 + rand_r(&seed) % 9;
		for (int i = 0; i < parts; i++) {
			const char *p = pieces[(size_t)rand_r(&seed) % (sizeof pieces / sizeof *pieces)];
			char any[2] = { (char)(rand_r(&seed) % 255 + 1), 0 };
			if (rand_r(&seed) % 20 == 0) p = any;
			memcpy(made + n, p, strlen(p));
			n += strlen(p);
		}
		char *exact = mem_alloc(n);              /* a byte too far is seen by the sanitizer */
		struct filter *f, *again;
		struct err e;
		memcpy(exact, made, n);
		if (filter_parse(&f, exact, n, BYTES_MAX, &e) == OK) {
			good++;
			CHECK_OK(filter_parse(&again, filter_text(f), strlen(filter_text(f)), 1 << 16, &e), e);
			CHECK_STR(filter_text(again), filter_text(f));
			CHECK_INT(filter_match(again, &d), filter_match(f, &d));
			filter_free(f);
			filter_free(again);
		}
		mem_free(exact);
	}
	CHECK(good > 500);
}
