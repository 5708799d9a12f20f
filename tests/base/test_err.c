/* test_err.c: messages are cut, cleaned and wrapped; statuses follow errno. */
#include "base/err.h"
#include "base/utf8.h"
#include "tests/test.h"
#include <errno.h>

TEST(err_set_fills_status_and_message)
{
	struct err e;
	CHECK_INT(err_set(&e, E_FORMAT, "%s: bad type %u", "a.bin", 7u), E_FORMAT);
	CHECK_INT(e.status, E_FORMAT);
	CHECK_STR(e.msg, "a.bin: bad type 7");
	CHECK_INT(err_set(NULL, E_LIMIT, "x"), E_LIMIT);
}

TEST(err_message_may_be_its_own_argument)
{
	struct err e;
	err_set(&e, E_IO, "inner");
	err_set(&e, E_BUSY, "outer (%s)", e.msg);
	CHECK_STR(e.msg, "outer (inner)");
	CHECK_INT(err_wrap(&e, "open %s", "x"), E_BUSY);
	CHECK_STR(e.msg, "open x: outer (inner)");
	CHECK_INT(err_wrap(NULL, "x"), E_BUG);
}

TEST(err_message_is_one_line_of_utf8)
{
	struct err e;
	err_set(&e, E_IO, "a\nb\x1b[1m\xff\xc3");
	CHECK_STR(e.msg, "a b [1m??");
	CHECK(utf8_valid(e.msg, strlen(e.msg)));
}

TEST(err_long_message_is_cut_at_a_code_point)
{
	char text[2000];
	struct err e;
	for (size_t shift = 0; shift < 4; shift++) {
		memset(text, 'x', sizeof text);
		for (size_t i = shift; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xe2\x82\xac", 3);
		text[1900] = 0;
		err_set(&e, E_IO, "%s", text);
		CHECK(strlen(e.msg) >= sizeof e.msg - 4 && strlen(e.msg) < sizeof e.msg);
		CHECK(utf8_valid(e.msg, strlen(e.msg)));
	}
}

TEST(err_sys_maps_errno)
{
	static const struct { int number, status; } cases[] = {
		{ ENOSPC, E_FULL }, { EDQUOT, E_FULL }, { ENOENT, E_NOT_FOUND }, { EACCES, E_DENIED }, { EPERM, E_DENIED }, { EROFS, E_DENIED },
		{ ENOMEM, E_MEMORY }, { EIO, E_IO }, { EISDIR, E_IO },
	};
	struct err e;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		errno = cases[i].number;
		CHECK_INT(err_sys(&e, "open %s", "f"), cases[i].status);
		CHECK_INT(e.status, cases[i].status);
		CHECK(strncmp(e.msg, "open f: ", 8) == 0);
		errno = cases[i].number;
		CHECK_INT(err_sys(NULL, "open"), cases[i].status);
	}
	errno = ENOENT;
	err_sys(&e, "open f");
	CHECK_STR(e.msg, "open f: No such file or directory");
}

TEST(err_status_names)
{
	CHECK_STR(status_name(OK), "ok");
	CHECK_STR(status_name(E_NOT_FOUND), "not_found");
	CHECK_STR(status_name(E_BUG), "bug");
	CHECK_STR(status_name(-1), "unknown");
	CHECK_STR(status_name(E_BUG + 1), "unknown");
	for (int i = OK; i <= E_BUG; i++) CHECK(strcmp(status_name(i), "unknown") != 0);
}
