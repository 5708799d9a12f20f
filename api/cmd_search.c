/* cmd_search.c: `footnote search`: ranked passages for people or as one hit a line.
 * Threads: runs in its caller's. Failure: an error line and the exit code of its kind; an empty store finds nothing. */
#include <string.h>
#include "api/command.h"
#include "api/retrieve.h"
#include "api/screen.h"
#include "api/view.h"

enum { ARENA_BYTES_MAX = 256 << 20, SNIPPET_CHARS = 280, TITLE_CHARS = 100, BLOCK_BYTES_MAX = 1 << 16 };

static void part_text(struct buf *b, const char *name, const struct rank_part *part)
{
	if (part->rank) buf_printf(b, "   %.4f %s: place %u with %.3f\n", part->part, name, part->rank, part->score);
}

static int hit_text(struct command_call *c, const struct passage *p, size_t rank, int explain)
{
	struct buf b;
	int left;
	buf_init(&b, BLOCK_BYTES_MAX);
	buf_printf(&b, "%zu. %.3f  ", rank, p->score);
	screen_line(&b, p->doc.title, strlen(p->doc.title), TITLE_CHARS);
	if (*p->chunk.heading && strcmp(p->chunk.heading, p->doc.title) != 0) {
		buf_puts(&b, " — ");
		screen_line(&b, p->chunk.heading, strlen(p->chunk.heading), TITLE_CHARS);
	}
	buf_puts(&b, "\n   ");
	screen_line(&b, *p->doc.source ? p->doc.source : p->doc.id, strlen(*p->doc.source ? p->doc.source : p->doc.id), 0);
	if (p->chunk.page) buf_printf(&b, ", page %u", p->chunk.page);
	buf_puts(&b, "\n   ");
	screen_line(&b, p->text, p->text_len, SNIPPET_CHARS);
	if (explain) {
		buf_printf(&b, "\n   score %.4f is the sum of\n", p->score);
		part_text(&b, "by meaning", &p->by_vector);
		part_text(&b, "by words", &p->by_words);
		if (p->exact != 0) buf_printf(&b, "   %.4f holds what the query names, as it is written\n", p->exact);
	}
	left = out_printf(c->out, 1, "%s\n\n", buf_cstr(&b));
	buf_clear(&b);
	return left;
}

static int hits_print(struct command_call *c, const struct retrieval *r, int mode, int explain, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; i < r->n && !rc; i++) {
		if (c->json) rc = command_json(c, view_hit(&r->passages[i], 1, explain), e);
		else if (hit_text(c, &r->passages[i], i + 1, explain)) rc = err_set(e, E_CANCELLED, "the reader of the output left");
	}
	if (!rc && r->n == 0 && !c->json && !c->quiet)
		out_printf(c->out, 1, mode == SEARCH_LEXICAL ? "nothing found: no passage of collection %s holds a word of the query\n"
			: "nothing found: no documents in collection %s (footnote ingest PATH adds some)\n", c->collection);
	return rc;
}

int cmd_search(struct command_call *c)
{
	long k = c->conf->search_k;
	int explain = 0;
	const char *mode_name = "hybrid", *as = NULL, *query;
	struct option options[] = {
		{"-k", OPTION_NUMBER, &k, 1, c->conf->search_k_max}, {"--mode", OPTION_TEXT, &mode_name, 0, 0},
		{"--as", OPTION_TEXT, &as, 0, 0}, {"--filter", OPTION_ABSENT, NULL, 0, 0},
		{"--group", OPTION_ABSENT, NULL, 0, 0},
		{"--explain", OPTION_FLAG, &explain, 0, 0},
	};
	struct arena arena;
	struct retrieval r = {0};
	struct reader reader;
	struct err e = {0};
	int code = EXIT_DONE, mode, rc;
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc) rc = command_words(c, "search: the query", &arena, &query, &e);
	if (!rc) rc = command_reader(c, as, &arena, &reader, &e);
	mode = search_mode_parse(mode_name);
	if (!rc && mode < 0) rc = err_set(&e, E_USAGE, "--mode %.60s: no such mode; hybrid, dense or lexical", mode_name);
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	rc = retrieve(c->service, &reader, query, strlen(query), (enum search_mode)mode, (size_t)k, 0, &arena, &r, &e);
	if (!rc) rc = hits_print(c, &r, mode, explain, &e);
	if (rc) code = command_fail(c, &e);
	retrieve_close(&r);
out:
	arena_clear(&arena);
	return code;
}
