/* cmd_gaps.c: `footnote gaps`: what people asked and the documents do not answer.
 * Threads: runs in its caller's. Failure: an error line and the exit code of its kind. */
#include <string.h>
#include "api/command.h"
#include "api/gaps.h"
#include "api/screen.h"

enum { ARENA_BYTES_MAX = 512 << 20, LINE_BYTES_MAX = 1 << 20, TITLE_CHARS = 100, LIMIT = 50, LIMIT_MAX = 10000 };

static void line_print(struct command_call *c, const char *before, const char *text, const char *behind)
{
	struct buf b;
	buf_init(&b, LINE_BYTES_MAX);
	screen_line(&b, text, strlen(text), TITLE_CHARS);
	out_printf(c->out, 1, "%s%s%s\n", before, buf_cstr(&b), behind);
	buf_clear(&b);
}

static int report_print(struct command_call *c, const cJSON *o, struct err *e)
{
	const cJSON *x, *y;
	int questions = (int)json_num(o, "questions", 0), clusters = (int)json_num(o, "clusters", 0);
	cJSON_ArrayForEach(x, json_get(o, "gaps")) {
		int size = (int)json_num(x, "size", 0);
		out_printf(c->out, 1, "%d question%s, %.10s to %.10s, in %s\n", size, size == 1 ? "" : "s", json_str(x, "first", ""),
			json_str(x, "last", ""), json_str(x, "collection", ""));
		cJSON_ArrayForEach(y, json_get(x, "examples")) line_print(c, "  “", y->valuestring, "”");
		cJSON_ArrayForEach(y, json_get(x, "documents")) line_print(c, "  near: ", json_str(y, "title", ""), "");
	}
	if (!c->quiet) out_printf(c->out, 1, "%d question%s without an answer, in %d cluster%s%s\n", questions, questions == 1 ? "" : "s",
		clusters, clusters == 1 ? "" : "s",
		questions && !json_bool(o, "texts_kept", 0) ? "; their texts are not kept (audit.questions)" : "");
	return c->out->broken ? err_set(e, E_CANCELLED, "the reader of the output left") : OK;
}

int cmd_gaps(struct command_call *c)
{
	long limit = LIMIT, least = 1;
	const char *as = NULL;
	struct option options[] = { {"--limit", OPTION_NUMBER, &limit, 1, LIMIT_MAX}, {"--least", OPTION_NUMBER, &least, 1, 1000000},
		{"--as", OPTION_TEXT, &as, 0, 0} };
	struct reader reader;
	struct arena arena;
	struct err e = {0};
	cJSON *o = NULL;
	int code = EXIT_DONE, rc;
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc && c->argc != 1) rc = err_set(&e, E_USAGE, "gaps: takes no arguments");
	if (!rc) rc = command_reader(c, as, &arena, &reader, &e);
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	rc = gaps_report(c->service, &reader, (size_t)least, (size_t)limit, &arena, &o, &e);
	if (!rc && !c->json) rc = report_print(c, o, &e);
	else if (!rc) rc = command_json(c, o, &e), o = NULL;
	if (rc) code = command_fail(c, &e);
out:
	cJSON_Delete(o);
	arena_clear(&arena);
	return code;
}
