/* cmd_whynot.c: `footnote why-not`: where a document comes in a search, or which step keeps it out.
 * Threads: runs in its caller's. Failure: an error line and the exit code of its kind; a document that is not there is 3. */
#include <stdio.h>
#include <string.h>
#include "api/command.h"
#include "api/screen.h"
#include "api/view.h"
#include "api/whynot.h"
#include "index/phrase.h"

enum { ARENA_BYTES_MAX = 256 << 20, LINE_BYTES_MAX = 1 << 20, TITLE_CHARS = 100 };

int command_document_named(struct command_call *c, const char *name, struct arena *a, struct doc *d, struct err *e)
{
	struct collection_info *all;
	size_t n = 0;
	int rc = command_document(c, name, NULL, a, d, e);
	if (rc == E_NOT_FOUND) rc = command_document(c, NULL, name, a, d, e);
	if (rc != E_NOT_FOUND) return rc;
	rc = index_collections(c->service->index, a, &all, &n, e);
	if (rc) return rc;
	struct command_call other = *c;
	for (size_t i = 0; i < n; i++) {
		other.collection = all[i].name;
		if ((rc = command_document(&other, NULL, name, a, d, e)) != E_NOT_FOUND) return rc;
	}
	return err_set(e, E_NOT_FOUND, "not in the store: no document has the id or source %.160s (footnote ingest adds files)", name);
}

/* ---- as an object ---- */

static int number_add(cJSON *o, const char *key, int there, double x)
{
	return (there ? cJSON_AddNumberToObject(o, key, x) : cJSON_AddNullToObject(o, key)) != NULL;
}

static int list_add(cJSON *lists, const char *name, const struct whynot_list *l)
{
	cJSON *o;
	if (!l->depth) return 1;
	o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "name", name) && number_add(o, "place", l->place != 0, (double)l->place) &&
		number_add(o, "score", l->place != 0, l->score) && cJSON_AddNumberToObject(o, "candidates", (double)l->depth) &&
		number_add(o, "score_needed", l->needed != 0, l->needed) && cJSON_AddBoolToObject(o, "missed", l->missed) && cJSON_AddItemToArray(lists, o)) return 1;
	cJSON_Delete(o);
	return 0;
}

static int passage_add(cJSON *o, const struct whynot *w)
{
	char id[24];
	cJSON *p = w->has_best ? cJSON_AddObjectToObject(o, "passage") : cJSON_AddNullToObject(o, "passage");
	snprintf(id, sizeof id, "%llu", (unsigned long long)w->best.id);
	return p && (!w->has_best || (cJSON_AddStringToObject(p, "chunk_id", id) && cJSON_AddStringToObject(p, "heading", w->best.heading) &&
		number_add(p, "page", w->best.page != 0, w->best.page) && cJSON_AddNumberToObject(p, "start", w->best.start_cp) &&
		cJSON_AddNumberToObject(p, "end", w->best.end_cp)));
}

static cJSON *whynot_json(const struct whynot *w, const struct search_want *want)
{
	cJSON *o = cJSON_CreateObject(), *lists, *words;
	if (o && cJSON_AddStringToObject(o, "document_id", w->doc.id) && cJSON_AddStringToObject(o, "title", w->doc.title) &&
		cJSON_AddStringToObject(o, "source", w->doc.source) && cJSON_AddStringToObject(o, "collection", w->doc.collection) &&
		cJSON_AddStringToObject(o, "verdict", doc_verdict_name(w->doc.verdict)) && cJSON_AddStringToObject(o, "mode", search_mode_name(want->mode)) &&
		cJSON_AddNumberToObject(o, "k", (double)want->k) && cJSON_AddStringToObject(o, "step", whynot_step_name(w->step)) &&
		cJSON_AddStringToObject(o, "reason", w->reason) && number_add(o, "place", w->place != 0, (double)w->place) &&
		number_add(o, "score", w->place != 0, w->score) && number_add(o, "score_needed", w->needed != 0, w->needed) &&
		number_add(o, "place_by_document", w->alone != 0, (double)w->alone) && cJSON_AddNumberToObject(o, "held_back", (double)w->held) &&
		(lists = cJSON_AddArrayToObject(o, "rankings")) && list_add(lists, "dense", &w->dense) && list_add(lists, "lexical", &w->lexical) &&
		passage_add(o, w) && (words = cJSON_AddObjectToObject(o, "words")) && view_put_list(words, "held", w->held_words, w->held_words_n) &&
		view_put_list(words, "lacking", w->lacking, w->lacking_n) && cJSON_AddNumberToObject(o, "snapshot", (double)w->seq)) return o;
	cJSON_Delete(o);
	return NULL;
}

/* ---- for people ---- */

static void list_put(struct buf *b, const char *name, const struct whynot_list *l)
{
	if (!l->depth) return;
	if (l->place) buf_printf(b, "  by %s: place %zu with %.4f", name, l->place, l->score);
	else buf_printf(b, "  by %s: not there", name);
	if (l->needed != 0) buf_printf(b, "; the last of %zu candidates has %.4f", l->depth, l->needed);
	buf_puts(b, l->missed ? "; the quick search missed it\n" : "\n");
}

static void words_put(struct buf *b, const char *name, const char *const *words, size_t n)
{
	if (n) buf_printf(b, "  %s:", name);
	for (size_t i = 0; i < n; i++) {
		buf_puts(b, i ? ", " : " ");
		screen_line(b, words[i], strlen(words[i]), TITLE_CHARS);
	}
	buf_puts(b, n ? "\n" : "");
}

static int whynot_print(struct command_call *c, const struct whynot *w, struct err *e)
{
	struct buf b;
	int left;
	buf_init(&b, LINE_BYTES_MAX);
	screen_line(&b, w->doc.title, strlen(w->doc.title), TITLE_CHARS);
	buf_puts(&b, " — ");
	screen_line(&b, *w->doc.source ? w->doc.source : w->doc.id, strlen(*w->doc.source ? w->doc.source : w->doc.id), 0);
	buf_printf(&b, "\n%s: ", whynot_step_name(w->step));
	screen_line(&b, w->reason, strlen(w->reason), 0);
	buf_putc(&b, '\n');
	list_put(&b, "meaning", &w->dense);
	list_put(&b, "words", &w->lexical);
	if (w->held) buf_printf(&b, "  %zu more of its passages are held back, since each document comes once\n", w->held);
	if (w->has_best) {
		buf_printf(&b, "  best passage: characters %u to %u", w->best.start_cp, w->best.end_cp);
		if (w->best.page) buf_printf(&b, ", page %u", w->best.page);
		buf_puts(&b, *w->best.heading ? ", " : "");
		screen_line(&b, w->best.heading, strlen(w->best.heading), TITLE_CHARS);
		buf_putc(&b, '\n');
	}
	words_put(&b, "words of the query it holds", w->held_words, w->held_words_n);
	words_put(&b, "words of the query it lacks", w->lacking, w->lacking_n);
	left = out_printf(c->out, 1, "%s", buf_cstr(&b));
	buf_clear(&b);
	return left ? err_set(e, E_CANCELLED, "the reader of the output left") : OK;
}

int cmd_whynot(struct command_call *c)
{
	long k = c->conf->search_k;
	const char *mode_name = "hybrid", *as = NULL, *filter_text = NULL, *group = NULL, *query, *name = NULL;
	struct option options[] = {
		{"-k", OPTION_NUMBER, &k, 1, c->conf->search_k_max}, {"--mode", OPTION_TEXT, &mode_name, 0, 0},
		{"--as", OPTION_TEXT, &as, 0, 0}, {"--filter", OPTION_TEXT, &filter_text, 0, 0}, {"--group", OPTION_TEXT, &group, 0, 0},
	};
	const struct reader asker = { .all_groups = 1 };
	struct search_want want;
	struct filter *filter = NULL;
	struct reader reader;
	struct whynot w;
	struct arena arena;
	struct doc d;
	struct err e = {0};
	int code = EXIT_DONE, rc;
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc && c->argc < 3) rc = err_set(&e, E_USAGE, "why-not: the query or the document is missing");
	if (!rc) name = c->argv[--c->argc];
	if (!rc) rc = command_words(c, "why-not: the query", &arena, &query, &e);
	if (!rc) rc = command_reader(c, as, &arena, &reader, &e);
	if (!rc) rc = command_filter(c, filter_text, &reader, &filter, &e);
	if (!rc) rc = command_want(mode_name, group, k, &want, &e);
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	rc = command_document_named(c, name, &arena, &d, &e);
	if (!rc) rc = phrases_parse(&reader.phrases, query, strlen(query), &arena, &e);
	if (!rc) rc = whynot_run(c->service, &asker, &reader, query, &want, d.id, &arena, &w, &e);
	if (!rc) rc = c->json ? command_json(c, whynot_json(&w, &want), &e) : whynot_print(c, &w, &e);
	if (rc) code = command_fail(c, &e);
out:
	filter_free(filter);
	arena_clear(&arena);
	return code;
}
