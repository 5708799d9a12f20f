/* cmd_summarize.c: `footnote summarize`: a cited summary, streamed sentence by sentence, or the whole object with --json.
 * Threads: as cmd_ask.c's. Failure: an error line and the exit code of its kind. */
#include "api/show.h"
#include "api/summary.h"

enum { ARENA_BYTES_MAX = 512 << 20 };

/* What is summed up: the document that is named, or what the filter leaves. */
static int target_read(struct command_call *c, const char *filter, struct arena *a, struct summary_request *q, struct err *e)
{
	struct doc d;
	if (c->argc != (filter ? 1 : 2)) return err_set(e, E_USAGE, "summarize: takes one document, or --filter EXPR");
	if (filter) return OK;
	int rc = command_document_named(c, c->argv[1], a, &d, e);
	if (rc) return rc;
	q->document_id = d.id;
	q->reader.collection = d.collection;
	return OK;
}

int cmd_summarize(struct command_call *c)
{
	const char *as = NULL, *prompt = NULL, *filter_text = NULL;
	long sentences = 0;
	int extractive = 0, no_stream = 0, code = EXIT_DONE, rc;
	struct option options[] = {
		{"--as", OPTION_TEXT, &as, 0, 0}, {"--prompt", OPTION_TEXT, &prompt, 0, 0}, {"--filter", OPTION_TEXT, &filter_text, 0, 0},
		{"--sentences", OPTION_NUMBER, &sentences, 1, c->conf->summary_sentences_max},
		{"--extractive", OPTION_FLAG, &extractive, 0, 0}, {"--no-stream", OPTION_FLAG, &no_stream, 0, 0},
	};
	struct summary_request q = { .cancel = c->cancel };
	struct show view = { .call = c };
	struct answer_sink sink = { .ctx = &view, .sentence = show_sentence };
	struct answer answer = {0};
	const struct prompt_template *template;
	struct filter *filter = NULL;
	struct arena arena;
	struct err e = {0};
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc) rc = command_reader(c, as, &arena, &q.reader, &e);
	if (!rc) rc = command_filter(c, filter_text, &q.reader, &filter, &e);
	if (!rc) rc = target_read(c, filter_text, &arena, &q, &e);
	if (!rc && prompt) rc = prompts_find_for(c->service->prompts, "summary", prompt, &template, &e);
	if (rc) {
		code = rc == E_NOT_FOUND ? command_fail(c, &e) : command_misused(c, &e);
		goto out;
	}
	q.sentences = (int)sentences;
	q.style = extractive ? STYLE_EXTRACTIVE : STYLE_GENERATE;
	q.prompt = prompt;
	rc = summary_run(c->service, &q, c->json || no_stream ? NULL : &sink, &arena, &answer, &e);
	if (rc && view.started) out_printf(c->out, 1, "\n");
	if (!rc) rc = show_answer(&view, &answer, &e);
	if (rc) code = command_fail(c, &e);
	answer_close(&answer);
out:
	filter_free(filter);
	arena_clear(&arena);
	return code;
}
