/* Targets, fields and routes: what a request line and a body may say. */
#include "api/request.h"
#include "api/route.h"
#include "tests/test.h"

static struct request *target(const char *s)
{
	struct request *r = request_new(NULL, NULL, s);
	CHECK(r != NULL);
	return r;
}

TEST(target_is_split_before_it_is_decoded)
{
	struct request *r = target("/v1/documents/a%2Fb%20%C3%BC/text?start=1&q=a+b%26c&empty=&bare");
	CHECK_INT(r->target_err.status, OK);
	CHECK_INT(r->segment_n, 4);
	CHECK_STR(r->segments[2], "a/b ü");
	CHECK_STR(query_text(r, "q"), "a b&c");
	CHECK_STR(query_text(r, "empty"), "");
	CHECK_STR(query_text(r, "bare"), "");
	CHECK(query_text(r, "absent") == NULL);
	request_unref(r);
}

TEST(target_mistakes)
{
	static const char *const bad[] = { "", "x", "*", "/%", "/%4", "/%zz", "/%00", "/%ff", "/a?b=%", "/a?%c3=1", "/a?x=1&x=2", "/1/2/3/4/5/6/7/8/9", "/1/2/3/4/5/6/7/8/" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct request *r = target(bad[i]);
		CHECK_MSG(r->target_err.status != OK, "%s is taken", bad[i]);
		request_unref(r);
	}
}

TEST(numbers_of_the_query_are_whole)
{
	struct err e = { 0 };
	struct request *r = target("/x?a=17&b=-1&c=1x&d=99999999999999999999&e=%201&f=");
	uint64_t v;
	CHECK_OK(query_u64(r, "a", 0, 17, 5, &v, &e), e);
	CHECK_INT(v, 17);
	CHECK_OK(query_u64(r, "absent", 0, 17, 5, &v, &e), e);
	CHECK_INT(v, 5);
	CHECK_INT(query_u64(r, "a", 0, 16, 5, &v, &e), E_USAGE);
	for (const char *k = "bcdef"; *k; k++) {
		char key[2] = { *k, 0 };
		CHECK_INT(query_u64(r, key, 0, UINT64_MAX, 0, &v, &e), E_USAGE);
		CHECK_STR(r->param, key);
	}
	request_unref(r);
}

TEST(request_ids_that_are_kept)
{
	struct request *r = target("/");
	char first[REQUEST_ID_MAX + 1];
	request_set_id(r, "abc.DEF_1-2");
	CHECK_STR(r->id, "abc.DEF_1-2");
	request_set_id(r, NULL);
	CHECK_INT(strlen(r->id), 32);
	strncpy(first, r->id, sizeof first);
	request_set_id(r, "a b");
	CHECK_INT(strlen(r->id), 32);
	CHECK(strcmp(first, r->id) != 0);
	request_unref(r);
}

TEST(fields_by_type)
{
	struct err e = { 0 };
	struct request *r = target("/");
	cJSON *o = NULL;
	const char *text = "absent", **list;
	const char *body = "{\"s\":\"x\",\"i\":7,\"f\":1.5,\"b\":true,\"n\":null,\"l\":[\"a\",\"b\"],\"bad\":[1]}";
	int64_t i = 0;
	double d = 0;
	int b = 0;
	size_t n;
	CHECK_OK(json_parse(&o, body, strlen(body), 1000, "body", &e), e);
	CHECK_OK(field_text(r, o, "s", &text, &e), e);
	CHECK_STR(text, "x");
	CHECK_OK(field_text(r, o, "n", &text, &e), e);
	CHECK_STR(text, "x");
	CHECK_OK(field_int(r, o, "i", 0, 7, &i, &e), e);
	CHECK_INT(i, 7);
	CHECK_OK(field_num(r, o, "f", 0, 2, &d, &e), e);
	CHECK_OK(field_bool(r, o, "b", &b, &e), e);
	CHECK_INT(b, 1);
	CHECK_OK(field_texts(r, o, "l", 2, &list, &n, &e), e);
	CHECK_INT(n, 2);
	CHECK_STR(list[1], "b");
	CHECK_INT(field_texts(r, o, "l", 1, &list, &n, &e), E_USAGE);
	CHECK_INT(field_texts(r, o, "bad", 5, &list, &n, &e), E_USAGE);
	CHECK_INT(field_int(r, o, "f", 0, 7, &i, &e), E_USAGE);
	CHECK_STR(r->param, "f");
	CHECK_INT(field_int(r, o, "i", 0, 6, &i, &e), E_USAGE);
	CHECK_INT(field_lacking(r, o, "b", &e), E_UNSUPPORTED);
	CHECK_OK(field_lacking(r, o, "n", &e), e);
	cJSON_Delete(o);
	request_unref(r);
}

/* The groups that the reader of this request has, "*" for every one; in out. */
static int groups_of(const char *path, const char *body, int all, char out[80])
{
	static const char *const own[] = { "hr", "staff" };
	struct request *r = target(path);
	struct reader reader;
	struct err e = { 0 };
	cJSON *o = NULL;
	int rc;
	if (body)
		CHECK_OK(json_parse(&o, body, strlen(body), 1000, "body", &e), e);
	r->caller = (struct caller){ .role = ROLE_READ, .all_groups = all, .groups = all ? NULL : own, .group_n = all ? 0 : 2 };
	rc = request_reader(r, o, "default", &reader, &e);
	out[0] = 0;
	for (size_t i = 0; !rc && i < reader.group_n; i++)
		snprintf(out + strlen(out), 80 - strlen(out), "%s ", reader.groups[i]);
	if (!rc && reader.all_groups)
		snprintf(out, 80, "*");
	if (rc)
		CHECK_STR(r->param, "as");
	cJSON_Delete(o);
	request_unref(r);
	return rc;
}

TEST(readers_have_the_groups_of_their_caller_at_most)
{
	char g[80];
	static const struct { const char *path, *body, *some, *every; } cases[] = {
		{ "/x", NULL, "hr staff ", "*" }, { "/x", "{}", "hr staff ", "*" }, { "/x", "{\"as\":null}", "hr staff ", "*" },
		{ "/x?as=hr", NULL, "hr ", "hr " }, { "/x?as=board,hr", NULL, "hr ", "board hr " }, { "/x?as=", NULL, "", "" },
		{ "/x", "{\"as\":\"staff , board\"}", "staff ", "staff board " }, { "/x", "{\"as\":[\"*\"]}", "", "* " },
		{ "/x", "{\"as\":[]}", "", "" }, { "/x", "{\"as\":\"\"}", "", "" }, { "/x?as=hr", "{\"as\":[\"staff\"]}", "staff ", "staff " },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		CHECK_INT(groups_of(cases[i].path, cases[i].body, 0, g), OK);
		CHECK_STR(g, cases[i].some);
		CHECK_INT(groups_of(cases[i].path, cases[i].body, 1, g), OK);
		CHECK_STR(g, cases[i].every);
	}
	static const char *const bad[] = { "{\"as\":1}", "{\"as\":[1]}", "{\"as\":[\"\"]}", "{\"as\":\"a,,b\"}", "{\"as\":{}}", "{\"as\":true}" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_MSG(groups_of("/x", bad[i], 1, g) == E_USAGE, "%s", bad[i]);
}

static int found(const char *method, const char *path, const char *name)
{
	struct err e = { 0 };
	struct request *r = target(path);
	int rc, same;
	snprintf(r->method, sizeof r->method, "%s", method);
	rc = route_find(r, &e);
	same = name ? rc == OK && !strcmp(r->route->name, name) : rc != OK;
	request_unref(r);
	return same;
}

TEST(routes)
{
	CHECK(found("GET", "/", "page"));
	CHECK(found("GET", "/www/footnote.js", "page"));
	CHECK(found("HEAD", "/healthz", "healthz"));
	CHECK(found("POST", "/v1/search", "search"));
	CHECK(found("GET", "/v1/documents?limit=3", "documents_list"));
	CHECK(found("DELETE", "/v1/documents/text", "documents_delete"));
	CHECK(found("GET", "/v1/documents/text/text", "documents_text"));
	CHECK(found("GET", "/v1/documents//text", NULL));
	CHECK(found("GET", "/v1/documents/", NULL));
	CHECK(found("GET", "/v1/search/", NULL));
	CHECK(found("PUT", "/v1/search", NULL));
	CHECK(found("HEAD", "/v1/search", NULL));
}
