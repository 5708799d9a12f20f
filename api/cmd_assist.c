/* cmd_assist.c: `footnote assist`: a thread from a file to a suggested reply, what to ask next, and similar tickets.
 * Threads: as cmd_ask.c's. Failure: an error line and the exit code of its kind; an abstention is a reply (exit 0). */
#include <string.h>
#include "api/ask.h"
#include "api/assist.h"
#include "api/screen.h"
#include "api/show.h"
#include "base/file.h"

enum { ARENA_BYTES_MAX = 512 << 20, FILE_BYTES_MAX = 1 << 20, TITLE_CHARS = 100 };

struct thread { struct buf bytes; cJSON *o; struct assist_request q; struct filter *filter; };

static int thread_read(struct command_call *c, const char *as, const char *filter, struct arena *a, struct thread *t, struct err *e)
{
	const char *param = NULL, *collection = c->collection;
	struct buf path;
	buf_init(&path, 4096);
	int rc = path_absolute(&path, c->cwd, c->argv[1], e);
	if (!rc) rc = file_read(buf_cstr(&path), &t->bytes, e);
	buf_clear(&path);
	if (!rc) rc = json_parse(&t->o, buf_cstr(&t->bytes), t->bytes.len, FILE_BYTES_MAX, c->argv[1], e);
	if (!rc && !cJSON_IsObject(t->o)) rc = err_set(e, E_FORMAT, "%.160s: not an object", c->argv[1]);
	if (rc) return rc;
	rc = assist_read(c->service, t->o, a, &t->q, &param, e);
	if (!rc) rc = json_get_text(t->o, "collection", &collection, e);
	if (!rc) rc = ask_collection_check(collection, e);
	if (!rc) rc = command_reader(c, as, a, &t->q.reader, e);
	if (!rc) rc = ask_narrow(t->o, NULL, &t->q.reader, a, e);
	if (!rc) rc = ask_filter(c->conf, t->o, filter, &t->q.reader, &t->filter, e);
	t->q.reader.collection = collection;
	t->q.cancel = c->cancel;
	return rc ? err_wrap(e, "%.120s", c->argv[1]) : OK;
}

static void phrase_print(struct command_call *c, const char *before, const char *text)
{
	struct buf b;
	buf_init(&b, FILE_BYTES_MAX);
	screen_line(&b, text, strlen(text), 0);
	if (*text) out_printf(c->out, 1, "%s%s\n", before, buf_cstr(&b));
	buf_clear(&b);
}

static void beside_print(struct command_call *c, const struct assist *x)
{
	struct buf b;
	buf_init(&b, FILE_BYTES_MAX);
	if (x->next_n) out_printf(c->out, 1, "\nTo ask next:\n");
	for (size_t i = 0; i < x->next_n; i++) phrase_print(c, "  ", x->next[i]);
	if (x->similar.n) out_printf(c->out, 1, "\nSimilar tickets:\n");
	for (size_t i = 0; i < x->similar.n; i++) {
		const struct doc *d = &x->similar.passages[i].doc;
		const char *where = *d->source ? d->source : d->id;
		buf_reset(&b);
		screen_line(&b, d->title, strlen(d->title), TITLE_CHARS);
		buf_puts(&b, " — ");
		screen_line(&b, where, strlen(where), 0);
		out_printf(c->out, 1, "  %s\n", buf_cstr(&b));
	}
	buf_clear(&b);
}

static int assist_print(struct command_call *c, struct show *view, const struct assist *x, struct err *e)
{
	if (c->json) return command_json(c, assist_view(x), e);
	int rc = show_answer(view, &x->reply, e);
	if (!rc) phrase_print(c, "\n", x->closing);
	if (!rc) beside_print(c, x);
	return rc;
}

int cmd_assist(struct command_call *c)
{
	const char *as = NULL, *filter = NULL, *tone = NULL;
	int extractive = 0, code = EXIT_DONE, rc;
	struct option options[] = { {"--as", OPTION_TEXT, &as, 0, 0}, {"--filter", OPTION_TEXT, &filter, 0, 0},
		{"--tone", OPTION_TEXT, &tone, 0, 0}, {"--extractive", OPTION_FLAG, &extractive, 0, 0} };
	struct show view = { .call = c };
	struct answer_sink sink = { .ctx = &view, .sentence = show_sentence };
	struct thread t = { .o = NULL };
	struct assist x = {0};
	struct arena arena;
	struct err e = {0};
	arena_init(&arena, ARENA_BYTES_MAX);
	buf_init(&t.bytes, FILE_BYTES_MAX);
	rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc && c->argc != 2) rc = err_set(&e, E_USAGE, "assist: takes one file with the messages");
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	rc = thread_read(c, as, filter, &arena, &t, &e);
	if (!rc && tone) t.q.tone = tone;
	if (!rc && extractive) t.q.style = STYLE_EXTRACTIVE, t.q.style_given = 1;
	if (!rc && !c->json) phrase_print(c, "", c->conf->assist_greeting);
	if (!rc) rc = assist_run(c->service, &t.q, c->json ? NULL : &sink, &arena, &x, &e);
	if (rc && view.started) out_printf(c->out, 1, "\n");
	if (!rc) rc = assist_print(c, &view, &x, &e);
	if (rc) code = command_fail(c, &e);
	assist_close(&x);
out:
	filter_free(t.filter);
	cJSON_Delete(t.o);
	buf_clear(&t.bytes);
	arena_clear(&arena);
	return code;
}
