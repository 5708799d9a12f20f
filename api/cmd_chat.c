/* cmd_chat.c: `footnote chat`: questions line by line, each answered as `footnote ask` answers, with what was said before
 * remembered.
 *
 * Method: a turn is one `ask` with the history in --history, run here where this process owns the store and sent to the owner
 * where another does: so that a conversation never keeps the store from anyone, and only the one who asks knows it. What ask
 * prints is kept beside: the answer in it is the next turn's history, of which the latest answer.history_turns are kept.
 * Threads: its caller's. Failure: a turn that fails says why and is forgotten, the conversation goes on (exit 1 at the end);
 * it ends with the input, /quit, a signal, or when the reader of the output left. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include "api/command.h"
#include "api/owner.h"
#include "base/buf.h"
#include "base/flag.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { LINE_BYTES_MAX = 1 << 20, SAID_BYTES_MAX = 16 << 20, FIXED_ARGS = 8 };

struct chat {
	struct command_call *call;
	cJSON *history;              /* turns, as POST /v1/answers takes them */
	struct buf in, said;         /* read and not yet used; what the turn printed on stdout */
	int ended, failed;
};

/* Passes output on and keeps stdout's. */
static int tap_write(void *ctx, int stream, const char *data, size_t len)
{
	struct chat *t = ctx;
	struct out *out = t->call->out;
	if (stream == 1) (void)buf_put(&t->said, data, len);
	return out->write(out->ctx, stream, data, len);
}

/* One line without its end, in *line (the arena's). 0: the input ended. */
static int line_read(struct chat *t, struct arena *a, const char **line, struct err *e)
{
	char part[4096];
	for (;;) {
		char *nl = t->in.len ? memchr(t->in.data, '\n', t->in.len) : NULL;
		size_t len = nl ? (size_t)(nl - t->in.data) : t->in.len;
		if (nl || (t->ended && t->in.len)) {
			*line = arena_strndup(a, t->in.data, len);
			size_t used = nl ? len + 1 : len;
			memmove(t->in.data, t->in.data + used, t->in.len - used);
			t->in.len -= used;
			return *line ? 1 : (err_set(e, E_MEMORY, "out of memory"), 0);
		}
		if (t->ended) return 0;
		struct pollfd p = { .fd = 0, .events = POLLIN };
		int ready = poll(&p, 1, -1);                    /* a signal ends it, where read would go on */
		if (flag_is(t->call->cancel)) return 0;
		ssize_t n = ready > 0 ? read(0, part, sizeof part) : -1;
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "read standard input"), 0;
		if (n == 0) t->ended = 1;
		else if (buf_put(&t->in, part, (size_t)n)) return err_set(e, E_LIMIT, "standard input: a line is longer than %d bytes", LINE_BYTES_MAX), 0;
	}
}

/* What was answered: of the JSON object, or of the text up to the empty line before its footnotes. */
static const char *answer_of(struct chat *t, struct arena *a)
{
	const char *said = buf_cstr(&t->said);
	const char *end = strstr(said, "\n\n"), *text = NULL;
	cJSON *o = NULL;
	if (!t->call->json) {
		size_t len = end ? (size_t)(end - said) : t->said.len;
		while (len && said[len - 1] == '\n') len--;
		return arena_strndup(a, said, len);
	}
	if (!json_parse(&o, said, t->said.len, SAID_BYTES_MAX, "answer", NULL)) text = arena_strdup(a, json_str(o, "answer", ""));
	cJSON_Delete(o);
	return text;
}

static int turn_add(cJSON *list, const char *role, const char *text)
{
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "role", role) && cJSON_AddStringToObject(o, "content", text) && cJSON_AddItemToArray(list, o)) return OK;
	cJSON_Delete(o);
	return E_MEMORY;
}

/* Only the latest turns stay. */
static int history_put(struct chat *t, const char *question, const char *answer, struct err *e)
{
	int max = t->call->conf->answer_history_turns;
	if (!answer || turn_add(t->history, "user", question) || turn_add(t->history, "assistant", answer)) return err_set(e, E_MEMORY, "out of memory");
	while (cJSON_GetArraySize(t->history) > max) cJSON_DeleteItemFromArray(t->history, 0);
	return OK;
}

static int turn_run(struct chat *t, int argc, char **argv, int *code, struct err *e)
{
	struct command_call ask = *t->call;
	struct out out = *t->call->out;
	const struct command *command = command_find("ask");
	if (!t->call->service) return owner_send(t->call->conf->data_dir, argc, argv, t->call->out, &t->said, code, e);
	out.ctx = t;
	out.write = tap_write;
	ask.out = &out;
	ask.argc = argc;
	ask.argv = argv;
	*code = command->run(&ask);
	t->call->out->broken |= out.broken;
	return OK;
}

/* ask's arguments: the common ones that an owner needs to be told, chat's own, the history, the question. */
static int question_ask(struct chat *t, const char *question, struct arena *a, struct err *e)
{
	struct command_call *c = t->call;
	char **argv = arena_alloc(a, ((size_t)c->argc + FIXED_ARGS + 4) * sizeof *argv), *history = cJSON_PrintUnformatted(t->history);
	int n = 0, code = EXIT_DONE, rc = argv && history ? OK : err_set(e, E_MEMORY, "out of memory");
	if (!rc && !c->service) {
		argv[n++] = (char *)(uintptr_t)"--collection";
		argv[n++] = (char *)(uintptr_t)c->collection;
		if (c->json) argv[n++] = (char *)(uintptr_t)"--json";
		if (c->quiet) argv[n++] = (char *)(uintptr_t)"-q";
	}
	if (!rc) {
		argv[n++] = (char *)(uintptr_t)"ask";
		for (int i = 1; i < c->argc; i++) argv[n++] = c->argv[i];
		argv[n++] = (char *)(uintptr_t)"--history";
		argv[n++] = history;
		argv[n++] = (char *)(uintptr_t)"--";
		argv[n++] = (char *)(uintptr_t)question;
		buf_reset(&t->said);
		rc = turn_run(t, n, argv, &code, e);
	}
	cJSON_free(history);
	if (!rc && code != EXIT_DONE) t->failed = 1;
	else if (!rc) rc = history_put(t, question, answer_of(t, a), e);
	return rc;
}

/* 1: the line was for chat itself. */
static int own_line(struct chat *t, const char *line, int *quit)
{
	*quit = strcmp(line, "/quit") == 0;
	if (*quit) return 1;
	if (strcmp(line, "/new") == 0) {
		while (cJSON_GetArraySize(t->history)) cJSON_DeleteItemFromArray(t->history, 0);
		return 1;
	}
	if (*line != '/' || strpbrk(line, " ?.")) return *line == 0;
	out_printf(t->call->out, 2, "footnote: %.60s: not a command of chat; /new forgets what was said, /quit ends\n", line);
	return 1;
}

static void trim(char *line)
{
	size_t len = strlen(line), from = strspn(line, " \t\r");
	while (len > from && strchr(" \t\r", line[len - 1])) len--;
	memmove(line, line + from, len - from);
	line[len - from] = 0;
}

static int talk(struct chat *t, struct err *e)
{
	int prompt = t->call->out->tty && isatty(0) && !t->call->json && !t->call->quiet, rc = OK, quit = 0;
	while (!rc && !quit && !t->call->out->broken && !flag_is(t->call->cancel)) {
		struct arena a;
		const char *line = NULL;
		arena_init(&a, 64 << 20);
		e->status = OK;
		if (prompt) out_printf(t->call->out, 2, "> ");
		if (!line_read(t, &a, &line, e)) {
			rc = e->status;
			quit = 1;
		} else if (!utf8_valid(line, strlen(line))) {
			out_printf(t->call->out, 2, "footnote: the line is not valid UTF-8\n");
			t->failed = 1;
		} else {
			trim((char *)(uintptr_t)line);
			if (!own_line(t, line, &quit)) rc = question_ask(t, line, &a, e);
			if (prompt && !quit) out_printf(t->call->out, 2, "\n");
		}
		arena_clear(&a);
	}
	return rc;
}

int cmd_chat(struct command_call *c)
{
	struct chat t = { .call = c, .history = cJSON_CreateArray() };
	struct err e = { 0 };
	const char *text;
	int flag, code = EXIT_DONE, argc = c->argc;
	struct option options[] = { {"--as", OPTION_TEXT, &text, 0, 0}, {"--prompt", OPTION_TEXT, &text, 0, 0}, {"--filter", OPTION_TEXT, &text, 0, 0},
		{"--extractive", OPTION_FLAG, &flag, 0, 0}, {"--no-stream", OPTION_FLAG, &flag, 0, 0} };
	char **given = c->argv, **copy = mem_calloc((size_t)argc + 1, sizeof *copy);
	buf_init(&t.in, LINE_BYTES_MAX);
	buf_init(&t.said, SAID_BYTES_MAX);
	int rc = copy && t.history ? OK : err_set(&e, E_MEMORY, "out of memory");
	if (!rc) {                       /* ask reads them; here they are only checked, in a copy, since that takes them out */
		memcpy(copy, given, (size_t)argc * sizeof *copy);
		c->argv = copy;
		rc = options_parse(c, options, sizeof options / sizeof *options, &e);
		if (!rc && c->argc > 1) rc = err_set(&e, E_USAGE, "chat: %.60s: questions are read from standard input", c->argv[1]);
		if (rc) code = command_misused(c, &e);
		c->argv = given;
		c->argc = argc;
	}
	if (!rc) {
		rc = talk(&t, &e);
		if (rc) code = command_fail(c, &e);
		else if (t.failed || c->out->broken) code = EXIT_SOME_FAILED;
	}
	cJSON_Delete(t.history);
	buf_clear(&t.in);
	buf_clear(&t.said);
	mem_free(copy);
	return code;
}
