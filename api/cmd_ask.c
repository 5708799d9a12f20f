/* cmd_ask.c: `footnote ask`: the answer for people, streamed sentence by sentence as each is verified, with its
 * footnotes below; or the whole answer object with --json.
 * Threads: runs in its caller's; sentences may come from the engine's thread, never two at once, and never after
 * answer_run returned. Failure: an error line and the exit code of its kind; an abstention is an answer (exit 0). */
#include <string.h>
#include "api/answer.h"
#include "api/command.h"
#include "api/screen.h"
#include "api/view.h"

enum { ARENA_BYTES_MAX = 256 << 20, BLOCK_BYTES_MAX = 1 << 20, TITLE_CHARS = 100, LOOKED_AT_MAX = 5 };

struct ask_view { struct command_call *call; int started; };

static void text_print(struct ask_view *v, const char *text, size_t len)
{
	struct buf b;
	if (!v->started) /* a blank before the first sentence */
		while (len && (*text == ' ' || *text == '\n')) text++, len--;
	buf_init(&b, BLOCK_BYTES_MAX);
	/* A sentence's leading blank must stay: screen_text keeps it where text follows. */
	screen_text(&b, text, len);
	out_printf(v->call->out, 1, "%s", buf_cstr(&b));
	buf_clear(&b);
	v->started = 1;
}

static void on_sentence(void *ctx, const struct answer *a, const char *text, size_t len)
{
	(void)a;
	text_print(ctx, text, len);
}

static void source_put(struct buf *b, const struct doc *d, uint32_t page)
{
	const char *where = *d->source ? d->source : d->id;
	screen_line(b, d->title, strlen(d->title), TITLE_CHARS);
	buf_puts(b, " — ");
	screen_line(b, where, strlen(where), 0);
	if (page) buf_printf(b, ", page %u", page);
}

static void footnotes_print(struct command_call *c, const struct answer *a)
{
	struct buf b;
	buf_init(&b, BLOCK_BYTES_MAX);
	for (size_t i = 0; i < a->citation_n; i++) {
		const struct answer_citation *t = &a->citations[i];
		const struct passage *p = &a->retrieval.passages[t->passage];
		buf_reset(&b);
		buf_printf(&b, "%s[%d] ", i ? "" : "\n", t->n);
		source_put(&b, &p->doc, p->chunk.page);
		buf_printf(&b, " (chars %u–%u)\n    “", t->start_cp, t->end_cp);
		screen_line(&b, t->quote, t->quote_len, 0);
		out_printf(c->out, 1, "%s”\n", buf_cstr(&b));
	}
	buf_clear(&b);
}

/* What an abstention looked at: each document once. */
static void looked_at_print(struct command_call *c, const struct answer *a)
{
	struct buf b;
	int shown = 0;
	buf_init(&b, BLOCK_BYTES_MAX);
	for (size_t i = 0; i < a->retrieval.n && shown < LOOKED_AT_MAX; i++) {
		const struct passage *p = &a->retrieval.passages[i];
		size_t k = 0;
		while (k < i && a->retrieval.passages[k].doc.key != p->doc.key) k++;
		if (k < i) continue;
		buf_puts(&b, shown++ ? "\n  " : "\nLooked at:\n  ");
		source_put(&b, &p->doc, 0);
	}
	if (shown) out_printf(c->out, 1, "%s\n", buf_cstr(&b));
	buf_clear(&b);
}

static int answer_print(struct ask_view *v, const struct answer *a, struct err *e)
{
	struct command_call *c = v->call;
	struct buf reason;
	if (c->json) return command_json(c, view_answer(a), e);
	if (!v->started) text_print(v, a->text, a->text_len);
	out_printf(c->out, 1, "\n");
	footnotes_print(c, a);
	if (a->status == ANSWER_ABSTAINED) looked_at_print(c, a);
	if (*a->reason && !c->quiet) {
		buf_init(&reason, BLOCK_BYTES_MAX);
		screen_line(&reason, a->reason, strlen(a->reason), 0);
		out_printf(c->out, 1, "\n(%s: %s)\n", a->status == ANSWER_ANSWERED ? "quoted" : answer_status_name(a->status),
			buf_cstr(&reason));
		buf_clear(&reason);
	}
	return c->out->broken ? err_set(e, E_CANCELLED, "the reader of the output left") : OK;
}

int cmd_ask(struct command_call *c)
{
	const char *as = NULL, *prompt = NULL, *filter_text = NULL;
	int extractive = 0, no_stream = 0, code = EXIT_DONE, rc;
	struct option options[] = {
		{"--as", OPTION_TEXT, &as, 0, 0}, {"--prompt", OPTION_TEXT, &prompt, 0, 0},
		{"--extractive", OPTION_FLAG, &extractive, 0, 0}, {"--no-stream", OPTION_FLAG, &no_stream, 0, 0},
		{"--filter", OPTION_TEXT, &filter_text, 0, 0},
	};
	struct answer_request q = { .temperature = -1, .cancel = c->cancel };
	struct ask_view view = { .call = c };
	struct answer_sink sink = { .ctx = &view, .sentence = on_sentence };
	struct answer answer = {0};
	struct filter *filter = NULL;
	struct arena arena;
	struct err e = {0};
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc) rc = command_words(c, "ask: the question", &arena, &q.question, &e);
	if (!rc) rc = command_reader(c, as, &arena, &q.reader, &e);
	if (!rc) rc = command_filter(c, filter_text, &q.reader, &filter, &e);
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	q.style = extractive ? STYLE_EXTRACTIVE : STYLE_GENERATE;
	q.prompt = prompt;
	rc = answer_run(c->service, &q, c->json || no_stream ? NULL : &sink, &arena, &answer, &e);
	if (rc && view.started) out_printf(c->out, 1, "\n");
	if (!rc) rc = answer_print(&view, &answer, &e);
	if (rc) code = command_fail(c, &e);
	answer_close(&answer);
out:
	filter_free(filter);
	arena_clear(&arena);
	return code;
}
