/* cmd_ask.c: `footnote ask`: the answer for people, streamed sentence by sentence as each is verified, with its
 * footnotes below; or the whole answer object with --json.
 * Threads: runs in its caller's; sentences may come from the engine's thread, never two at once, and never after
 * answer_run returned. Failure: an error line and the exit code of its kind; an abstention is an answer (exit 0). */
#include "api/gaps.h"
#include <string.h>
#include "api/ask.h"
#include "api/show.h"

enum { ARENA_BYTES_MAX = 256 << 20, HISTORY_BYTES_MAX = 2 << 20 };

int cmd_ask(struct command_call *c)
{
	const char *as = NULL, *prompt = NULL, *filter_text = NULL, *history = NULL;
	int extractive = 0, no_stream = 0, code = EXIT_DONE, rc;
	struct option options[] = {
		{"--as", OPTION_TEXT, &as, 0, 0}, {"--prompt", OPTION_TEXT, &prompt, 0, 0},
		{"--extractive", OPTION_FLAG, &extractive, 0, 0}, {"--no-stream", OPTION_FLAG, &no_stream, 0, 0},
		{"--filter", OPTION_TEXT, &filter_text, 0, 0},
		{"--history", OPTION_TEXT, &history, 0, 0},
	};
	struct answer_request q = { .temperature = -1, .cancel = c->cancel };
	struct show view = { .call = c };
	struct answer_sink sink = { .ctx = &view, .sentence = show_sentence };
	struct answer answer = {0};
	struct filter *filter = NULL;
	const struct prompt_template *template;
	cJSON *before = NULL;
	struct arena arena;
	struct err e = {0};
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc) rc = command_words(c, "ask: the question", &arena, &q.question, &e);
	if (!rc) rc = command_reader(c, as, &arena, &q.reader, &e);
	if (!rc) rc = command_filter(c, filter_text, &q.reader, &filter, &e);
	if (!rc && history) rc = json_parse(&before, history, strlen(history), HISTORY_BYTES_MAX, "--history", &e);
	if (rc == E_FORMAT) rc = e.status = E_USAGE;
	if (!rc && history) rc = ask_history(before, &arena, &q, &e);
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	q.style = extractive ? STYLE_EXTRACTIVE : STYLE_GENERATE;
	q.prompt = prompt;
	if (prompt) rc = prompts_find_for(c->service->prompts, "answer", prompt, &template, &e);
	if (!rc) rc = answer_run(c->service, &q, c->json || no_stream ? NULL : &sink, &arena, &answer, &e);
	if (!rc) gaps_note(c->service, &q, &answer);
	if (rc && view.started) out_printf(c->out, 1, "\n");
	if (!rc) rc = show_answer(&view, &answer, &e);
	if (rc) code = command_fail(c, &e);
	answer_close(&answer);
out:
	cJSON_Delete(before);
	filter_free(filter);
	arena_clear(&arena);
	return code;
}
