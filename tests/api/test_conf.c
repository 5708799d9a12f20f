/* test_conf.c: settings: the printed manual is the file in the tree and reads back as what it was printed from; ranges,
 * units, quotes; every mistake names its file and line. */
#include <stdlib.h>
#include "api/conf.h"
#include "base/file.h"
#include "tests/test.h"

static const char *conf_file(const char *text)
{
	static char path[512];
	struct err e = {0};
	snprintf(path, sizeof path, "%s/service.conf", test_dir());
	CHECK_OK(file_write_atomic(path, text, strlen(text), &e), e);
	return path;
}

static void refused(const char *text, const char *expected)
{
	static struct conf c;
	struct err e = {0};
	conf_default(&c);
	CHECK_INT(conf_load(&c, conf_file(text), &e), E_USAGE);
	CHECK_MSG(strstr(e.msg, expected), "\"%s\" does not hold \"%s\"", e.msg, expected);
	CHECK_MSG(strstr(e.msg, "service.conf"), "\"%s\" does not name the file", e.msg);
}

TEST(conf_file_in_the_tree_is_the_table)
{
	static struct conf c;
	struct buf want, got;
	struct err e = {0};
	buf_init(&want, 1 << 20);
	buf_init(&got, 1 << 20);
	conf_default(&c);
	CHECK_INT(conf_print(&c, &want), OK);
	CHECK_OK(file_read(test_data("../service.conf"), &got, &e), e);
	CHECK_MSG(strcmp(buf_cstr(&want), buf_cstr(&got)) == 0,
		"service.conf is not what footnote conf prints: footnote conf > service.conf");
	buf_clear(&want);
	buf_clear(&got);
}

TEST(conf_defaults_are_in_range)
{
	static struct conf c;
	struct conf_row row;
	struct err e = {0};
	size_t i;
	conf_default(&c);
	for (i = 0; conf_row_at(&c, i, &row); i++) {
		CHECK_OK(conf_set(&c, row.key, row.unset, &e), e);
		CHECK_STR(row.value, row.unset);
		CHECK_MSG(strlen(row.help) > 20, "%s is not explained", row.key);
	}
	CHECK(i > 50);
	CHECK_STR(c.data_dir, "./data");
	CHECK(c.map_bytes == 64ull << 30);
	CHECK_INT(c.exact_below, 10000);
	CHECK_INT(c.search_k_max, 1000);
	CHECK(c.rebuild_share > 0.149 && c.rebuild_share < 0.151);
}

TEST(conf_print_reads_back)
{
	static struct conf c, back;
	struct buf page, again;
	struct err e = {0};
	buf_init(&page, 1 << 20);
	buf_init(&again, 1 << 20);
	conf_default(&c);
	CHECK_OK(conf_set(&c, "embed.query_prefix", "query: ", &e), e);
	CHECK_OK(conf_set(&c, "embed.passage_prefix", "a \"b\" \\ # c", &e), e);
	CHECK_OK(conf_set(&c, "data.dir", "/tmp/a # b/größe", &e), e);
	CHECK_OK(conf_set(&c, "ingest.file_bytes_max", "1536k", &e), e);
	CHECK_OK(conf_set(&c, "answer.refusal", "-0.125", &e), e);
	CHECK_INT(conf_print(&c, &page), OK);
	conf_default(&back);
	CHECK_OK(conf_load(&back, conf_file(buf_cstr(&page)), &e), e);
	CHECK_INT(conf_print(&back, &again), OK);
	CHECK(strcmp(buf_cstr(&page), buf_cstr(&again)) == 0);
	CHECK_STR(back.embed_query_prefix, "query: ");
	CHECK_STR(back.embed_passage_prefix, "a \"b\" \\ # c");
	CHECK_STR(back.data_dir, "/tmp/a # b/größe");
	CHECK(back.file_bytes_max == 1536 * 1024);
	CHECK(back.answer_refusal == -0.125);
	buf_clear(&page);
	buf_clear(&again);
}

TEST(conf_lines)
{
	static struct conf c;
	struct err e = {0};
	conf_default(&c);
	CHECK_OK(conf_load(&c, conf_file("\xEF\xBB\xBF# first\r\n\r\n  search.k=7  # seven\r\ndata.dir = /a#b\n"
		"models.dir =\nlog.level = \"warn\" # why"), &e), e);
	CHECK_INT(c.search_k, 7);
	CHECK_STR(c.data_dir, "/a#b");
	CHECK_STR(c.models_dir, "");
	CHECK_STR(c.log_level, "warn");
	CHECK_OK(conf_load(&c, conf_file(""), &e), e);
	CHECK_INT(conf_load(&c, "/no/such/service.conf", &e), E_NOT_FOUND);
}

TEST(conf_mistakes_name_file_and_line)
{
	refused("search.k = 5\nno.such.key = 1\n", "service.conf:2: unknown setting no.such.key");
	refused("search.k\n", "service.conf:1:");
	refused("\n\nsearch.k = 5\nsearch.k = 6\n", "service.conf:4: search.k is already set on line 3");
	refused("search.k = ten\n", "search.k = ten: must be a whole number from 1 to 1000");
	refused("search.k = 0\n", "must be from 1 to 1000");
	refused("search.k = 1001\n", "must be from 1 to 1000");
	refused("search.k = 1.5\n", "whole number");
	refused("search.k = \n", "whole number");
	refused("search.k = 5 6\n", "whole number");
	refused("search.k = 0x10\n", "whole number");
	refused("search.k = 1e400\n", "whole number");
	refused("answer.confidence = nan\n", "must be a number");
	refused("answer.confidence = 1.01\n", "must be from 0 to 1");
	refused("ingest.file_bytes_max = 64mb\n", "must be a size");
	refused("ingest.file_bytes_max = 5g\n", "from 1k to 4g");
	refused("data.collection = a/b\n", "only letters");
	refused("data.collection =\n", "must not be empty");
	refused("generate.kernel = sse\n", "must be one of: auto ref avx2");
	refused("generate.kernel = auto ref\n", "must be one of");
	refused("embed.query_prefix = \"open\n", "closing quote");
	refused("embed.query_prefix = \"a\" b\n", "after the closing quote");
	refused("data.dir = \xff\n", "not valid UTF-8");
	refused("data.dir = a\tb\x01\n", "control character");
	refused("ingest.chunk_tokens = 20\n", "ingest.chunk_overlap_tokens = 20: must be under");
	refused("search.k_max = 5\n", "must not be over search.k_max");
}

TEST(conf_texts_over_their_room_are_refused)
{
	static struct conf c;
	static char text[2000];
	struct err e = {0};
	conf_default(&c);
	memset(text, 'a', 1023);
	CHECK_OK(conf_set(&c, "data.dir", text, &e), e);
	CHECK_INT(strlen(c.data_dir), 1023);
	memset(text, 'a', 1024);
	CHECK_INT(conf_set(&c, "data.dir", text, &e), E_USAGE);
	text[65] = 0;
	CHECK_INT(conf_set(&c, "data.collection", text, &e), E_USAGE);
	text[64] = 0;
	CHECK_OK(conf_set(&c, "data.collection", text, &e), e);
}

TEST(conf_binary_file_is_refused)
{
	static struct conf c;
	struct err e = {0};
	char path[512];
	snprintf(path, sizeof path, "%s/service.conf", test_dir());
	CHECK_OK(file_write_atomic(path, "search.k = 5\n\0\1", 15, &e), e);
	conf_default(&c);
	CHECK_INT(conf_load(&c, path, &e), E_USAGE);
	CHECK(strstr(e.msg, "not a text file"));
}

TEST(conf_file_set_changes_one_line)
{
	struct buf got;
	struct err e = {0};
	char path[512];
	snprintf(path, sizeof path, "%s", conf_file("# mine\nsearch.k = 5 # five\n\n generate.model=x\nsearch.k_max = 50"));
	buf_init(&got, 1 << 16);
	CHECK_OK(conf_file_set(path, "generate.model", "/m/a b#c.gguf", &e), e);
	CHECK_OK(conf_file_set(path, "embed.model", "other", &e), e);
	CHECK_OK(file_read(path, &got, &e), e);
	CHECK_STR(buf_cstr(&got), "# mine\nsearch.k = 5 # five\n\ngenerate.model = \"/m/a b#c.gguf\"\n"
		"search.k_max = 50\nembed.model = other\n");
	CHECK_INT(conf_file_set(path, "search.k", "0", &e), E_USAGE);
	buf_clear(&got);
}
