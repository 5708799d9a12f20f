/* Forms: well made, cut at every byte, and strange. */
#include "api/multipart.h"
#include "base/mem.h"
#include "tests/test.h"

static const char form[] =
	"preamble\r\n--B\r\nContent-Disposition: form-data; name=\"acl\"\r\n\r\na,b\r\n"
	"--B  \r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION: form-data; name=\"f; x\"; filename=\"dir\\\\a \\\"q\\\".txt\"\r\n\r\nline\r\n--Bogus\r\n\r\n"
	"--B\r\nContent-Disposition: form-data; filename=../up/b.md; name=f\r\n\r\n\r\n--B--\r\nepilogue";
static const char type[] = "Multipart/Form-Data; charset=utf-8; boundary=\"B\"";

TEST(form_is_split)
{
	struct err e = { 0 };
	struct arena a;
	struct part *p;
	size_t n;
	arena_init(&a, 1 << 20);
	CHECK(multipart_is(type) && multipart_is("multipart/form-data") && !multipart_is("multipart/form-datax") && !multipart_is("application/json"));
	CHECK_OK(multipart_parse(type, form, sizeof form - 1, &a, &p, &n, &e), e);
	CHECK_INT(n, 3);
	CHECK_STR(p[0].name, "acl");
	CHECK(p[0].filename == NULL && p[0].len == 3 && !memcmp(p[0].data, "a,b", 3));
	CHECK_STR(p[1].name, "f; x");
	CHECK_STR(p[1].filename, "a \"q\".txt");
	CHECK(p[1].len == 15 && !memcmp(p[1].data, "line\r\n--Bogus\r\n", 15));
	CHECK_STR(p[2].filename, "b.md");
	CHECK_INT(p[2].len, 0);
	arena_clear(&a);
}

TEST(form_cut_anywhere_is_refused)
{
	size_t whole = sizeof form - 1 - strlen("--\r\nepilogue");
	for (size_t len = 0; len <= whole; len++) {
		char *copy = mem_alloc(len ? len : 1); /* exact size, so that a read past it is seen */
		struct arena a;
		struct part *p;
		size_t n;
		CHECK(copy != NULL);
		memcpy(copy, form, len);
		arena_init(&a, 1 << 20);
		CHECK_INT(multipart_parse(type, copy, len, &a, &p, &n, NULL), E_USAGE);
		arena_clear(&a);
		mem_free(copy);
	}
}

TEST(form_without_boundary)
{
	static const char *const types[] = { "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"\"", "multipart/form-data; x=\"; boundary=B\"", "multipart/form-data; boundary=C" };
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		struct arena a;
		struct part *p;
		size_t n;
		arena_init(&a, 1 << 20);
		CHECK_MSG(multipart_parse(types[i], form, sizeof form - 1, &a, &p, &n, NULL) == E_USAGE, "%s", types[i]);
		arena_clear(&a);
	}
}
