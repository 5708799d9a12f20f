/* show.c: an answer for people (show.h): its text, footnotes with source, page and quote, and what it looked at where it
 * abstains. What comes from documents goes through screen.h.
 * Threads: show_sentence may be called from the engine's, never two at once. Failure: a reader that left is E_CANCELLED. */
#include "api/show.h"
#include <string.h>
#include "api/screen.h"
#include "api/view.h"

enum { BLOCK_BYTES_MAX = 1 << 20, TITLE_CHARS = 100, LOOKED_AT_MAX = 5 };

static void text_print(struct show *v, const char *text, size_t len)
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

void show_sentence(void *ctx, const struct answer *a, const char *text, size_t len)
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

int show_answer(struct show *v, const struct answer *a, struct err *e)
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
