/* test_json.c: limits, strictness where cJSON is lenient, and the getters. */
#include "base/json.h"
#include "base/mem.h"
#include "tests/test.h"

static int parse_as(const char *text, size_t len, struct err *e)
{
	cJSON *j = (cJSON *)1;
	int rc = json_parse(&j, text, len, 1000, "body", e);
	CHECK((rc == OK) == (j != NULL));
	cJSON_Delete(j);
	return rc;
}

TEST(json_good)
{
	static const char *const good[] = { "{}", "[]", " {\"a\": [1, 2.5, -3e2, true, null]} \r\n\t", "\"x\"",
		"17", "null", "\"\\ud83d\\ude00 \\\"\\\\u0000\"", "{\"k\":\"[[[[{{{{\"}", "\"\xc3\xa9\xf0\x9f\x98\x80\"" };
	struct err e;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) CHECK_OK(parse_as(good[i], strlen(good[i]), &e), e);
}

TEST(json_bad)
{
	static const char *const bad[] = { "", " ", "{", "}", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{a:1}", "nul",
		"tru", "\"abc", "\"abc\\", "\"abc\\\"", "{} x", "{}{}", "1 2", "[1]]", "\"a\nb\"", "\"\x01\"", "\x01{}",
		"[\x0b]", "\"\\u0000\"", "\"a\\ud800\"", "\"a\\udc00\"", "\"\\x\"", "'a'", "1e999", "[[-1e999]]",
		"{\"a\":{\"b\":1e400}}", "\xff", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", "[1,2", "\"\\u12\"", "\"\\" };
	struct err e;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK_MSG(parse_as(bad[i], strlen(bad[i]), &e) == E_FORMAT, "case %zu: %s", i, bad[i]);
		CHECK_MSG(strncmp(e.msg, "body: ", 6) == 0, "%s", e.msg);
	}
	CHECK_INT(parse_as("{}\0", 3, &e), E_FORMAT);
	CHECK_INT(parse_as("[\0]", 3, &e), E_FORMAT);
	CHECK_INT(parse_as("{} x", 4, &e), E_FORMAT);
	CHECK_STR(e.msg, "body: something follows the JSON at byte 3");
}

TEST(json_reads_no_byte_beyond_len)
{
	static const char text[] = "{\"a\":[true,\"x\\u00e9\",-1.5e3]}";
	struct err e;
	for (size_t len = 0; len < sizeof text - 1; len++) {
		char *exact = mem_alloc(len), next[sizeof text]; /* exact: a sanitizer sees a read beyond it */
		CHECK(exact);
		memcpy(exact, text, len);
		CHECK_INT(parse_as(exact, len, &e), E_FORMAT);
		mem_free(exact);
		memcpy(next, text, sizeof text); /* here what follows would complete it */
		CHECK_INT(parse_as(next, len, &e), E_FORMAT);
	}
	CHECK_OK(parse_as(text, sizeof text - 1, &e), e);
}

TEST(json_depth_limit)
{
	char text[2 * JSON_DEPTH_MAX + 10];
	struct err e;
	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	CHECK_INT(parse_as(text, 2 * JSON_DEPTH_MAX + 2, &e), E_LIMIT);
	CHECK_OK(parse_as(text + 1, 2 * JSON_DEPTH_MAX, &e), e);
	CHECK_INT(parse_as("]]]]]]]]]][[", 12, &e), E_FORMAT);
}

TEST(json_length_limit)
{
	cJSON *j;
	struct err e;
	CHECK_INT(json_parse(&j, "[1,2]", 5, 4, "body", &e), E_LIMIT);
	CHECK(!j);
	CHECK_OK(json_parse(&j, "[1,2]", 5, 5, "body", &e), e);
	CHECK_INT(cJSON_GetArraySize(j), 2);
	cJSON_Delete(j);
}

TEST(json_getters)
{
	static const char text[] = "{\"s\":\"x\",\"n\":2.5,\"t\":true,\"f\":false,\"z\":null,\"o\":{}}";
	cJSON *j;
	struct err e;
	CHECK_OK(json_parse(&j, text, sizeof text - 1, 1000, "body", &e), e);
	CHECK_STR(json_str(j, "s", "none"), "x");
	CHECK_STR(json_str(j, "n", "none"), "none");
	CHECK_STR(json_str(j, "S", "none"), "none");
	CHECK(json_str(NULL, "s", NULL) == NULL);
	CHECK(json_num(j, "n", 7) == 2.5);
	CHECK(json_num(j, "s", 7) == 7);
	CHECK_INT(json_bool(j, "t", 0), 1);
	CHECK_INT(json_bool(j, "f", 1), 0);
	CHECK_INT(json_bool(j, "z", 9), 9);
	CHECK_INT(json_bool(j, "none", 9), 9);
	cJSON_Delete(j);
}

TEST(json_digits_keeps_them_all)
{
	static const struct { const char *text, *digits; } rows[] = {
		{ "{\"id\":1234567890123456789}", "1234567890123456789" }, { " { \"a\" : {\"id\":1}, \"id\" :\t-9007199254740993 , \"b\":2}", "-9007199254740993" },
		{ "{\"x\":\"id\",\"id\":0}", "0" }, { "{\"x\":[\"id\",{\"id\":5}],\"id\":7}", "7" }, { "{\"q\":\"\\\"id\\\":4\",\"id\":8}", "8" }, { "{\"id\":1.5}", NULL },
		{ "{\"id\":1e3}", NULL }, { "{\"id\":01}", NULL }, { "{\"id\":\"1\"}", NULL }, { "{\"id\":null}", NULL }, { "{\"idx\":1}", NULL }, { "{}", NULL },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t len = strlen(rows[i].text), n;
		char *exact = mem_alloc(len);        /* a byte too far is seen by the sanitizer */
		memcpy(exact, rows[i].text, len);
		const char *got = json_digits(exact, len, "id", &n);
		CHECK(!got == !rows[i].digits);
		if (got && rows[i].digits) CHECK(n == strlen(rows[i].digits) && memcmp(got, rows[i].digits, n) == 0);
		mem_free(exact);
	}
}
