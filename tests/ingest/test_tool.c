/* test_tool.c: foreign programs: what they print, and what becomes of those that go wrong. */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "ingest/sandbox.h"
#include "ingest/tool.h"
#include "tests/test.h"

static struct err e;
static struct tool_result r;
static struct buf out;
static struct tool_limits usual = { .memory_bytes = (uint64_t)1 << 30, .seconds = 120 };

static int shell(const char *script, const char *in, size_t max)
{
	const char *const argv[] = { "sh", "-c", script, NULL };

	buf_clear(&out);
	buf_init(&out, max);
	return tool_run(argv, in, strlen(in), &usual, &out, &r, &e);
}

TEST(tool_output)
{
	CHECK_OK(shell("read a; read b; echo \"$b $a\"; echo said >&2; echo more >&2; exit 3", "one\ntwo\n", 1000), e);
	CHECK_STR(buf_cstr(&out), "two one\n");
	CHECK_STR(r.words, "said");
	CHECK_INT(r.code, 3);
	CHECK_INT(r.signal, 0);
	CHECK_OK(shell("kill -9 $$", "", 1000), e);     /* of itself it may not even that */
	CHECK_INT(r.signal, 0);
	CHECK_OK(shell("echo $FOOTNOTE_MODELS$USER; pwd >/dev/null", "", 1000), e);
	CHECK_STR(buf_cstr(&out), "\n");                /* nothing of our environment */
	buf_clear(&out);
}

TEST(tool_tells_that_memory_ran_out)
{
	CHECK_OK(shell("echo 'Syntax Error: bad token' >&2; echo 'Out of memory' >&2; exit 1", "", 1000), e);
	CHECK_STR(r.words, "Syntax Error: bad token");
	CHECK_INT(r.no_memory, 1);
	CHECK_OK(shell("echo \"terminate called after throwing an instance of 'std::bad_alloc'\" >&2; exit 1", "", 1000), e);
	CHECK_INT(r.no_memory, 1);
	CHECK_OK(shell("echo 'Error: memory of an elephant' >&2; exit 1", "", 1000), e);
	CHECK_INT(r.no_memory, 0);
	buf_clear(&out);
}

TEST(tool_missing)
{
	const char *const argv[] = { "no-such-program", NULL }, *const path[] = { "/no/such/program", NULL };

	buf_init(&out, 100);
	CHECK_INT(tool_run(argv, "", 0, &usual, &out, &r, &e), E_NOT_FOUND);
	CHECK(strstr(e.msg, "no-such-program"));
	CHECK_INT(tool_run(path, "", 0, &usual, &out, &r, &e), E_NOT_FOUND);
}

TEST(tool_limits)
{
	struct tool_limits was = usual;
	volatile int cancel = 1;

	CHECK_INT(shell("while :; do echo 0123456789; done", "", 5000), E_LIMIT);
	CHECK(strstr(e.msg, "longer than 5000 bytes"));
	usual.seconds = 1;
	CHECK_INT(shell("read x </dev/stdin; while :; do :; done", "", 5000), E_LIMIT);
	CHECK(strstr(e.msg, "longer than 1 s"));
	usual = was;
	usual.cancel = &cancel;
	CHECK_INT(shell("while :; do :; done", "", 5000), E_CANCELLED);
	usual = was;
	buf_clear(&out);
}

/* It has the files of the system and those bytes, and nothing else. */
TEST(tool_is_walled_in)
{
	struct sandbox_state have;
	char script[600];

	sandbox_probe(&have);
	if (!have.seccomp || !have.landlock)
		test_skip("this kernel lacks one of the two walls");
	snprintf(script, sizeof script, "read x <%s && echo read; (echo y >%s/new) 2>&- && echo wrote; ls / 2>&-; echo end",
		test_data("fixtures/ingest/README.md"), test_dir());
	CHECK_OK(shell(script, "", 1000), e);
	CHECK(!strstr(buf_cstr(&out), "read") && !strstr(buf_cstr(&out), "wrote"));
	buf_clear(&out);
}
