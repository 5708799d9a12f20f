/* cmd_search.c: `footnote search`: ranked passages for people or as one hit a line.
 * Threads: runs in its caller's. Failure: an error line and the exit code of its kind; an empty store finds nothing. */
#include <string.h>
#include "api/command.h"
#include "api/retrieve.h"
#include "api/screen.h"
#include "api/view.h"
#include "base/utf8.h"
#include "index/phrase.h"

enum { ARENA_BYTES_MAX = 256 << 20, SNIPPET_CHARS = 280, TITLE_CHARS = 100, REMARK_CHARS = 400, BLOCK_BYTES_MAX = 1 << 16 };

static void part_text(struct buf *b, const char *name, const struct rank_part *part)
{
	if (part->rank) buf_printf(b, "   %.4f %s: place %u with %.3f\n", part->part, name, part->rank, part->score);
}

/* Where the piece of the passage that is shown begins: where most of what was looked for stands within it. */
static size_t snippet_at(const struct passage *p)
{
	size_t best = 0, most = 0, at;
	for (size_t i = 0; i < p->highlight_n && p->text_len > SNIPPET_CHARS; i++) {
		size_t off = p->highlights[i].off - p->chunk.range.off, from = off > SNIPPET_CHARS / 3 ? off - SNIPPET_CHARS / 3 : 0, n = 0;
		for (size_t h = i; h < p->highlight_n && p->highlights[h].off - p->chunk.range.off + p->highlights[h].len <= from + SNIPPET_CHARS; h++) n++;
		if (n > most) best = from, most = n;
	}
	if (best + SNIPPET_CHARS > p->text_len) best = p->text_len > SNIPPET_CHARS ? p->text_len - SNIPPET_CHARS : 0;
	for (at = best; at && at < best + SNIPPET_CHARS / 3 && p->text[at - 1] != ' ' && p->text[at - 1] != '\n';) at++; /* from a word on */
	return utf8_floor(p->text, p->text_len, at);
}

static int hit_text(struct command_call *c, const struct passage *p, size_t rank, int explain)
{
	const size_t at = snippet_at(p);
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
	buf_puts(&b, at ? "… " : "");
	screen_line(&b, p->text + at, p->text_len - at, SNIPPET_CHARS);
	if (explain) {
		buf_printf(&b, "\n   score %.4f is the sum of\n", p->score);
		part_text(&b, "by meaning", &p->by_vector);
		part_text(&b, "by words", &p->by_words);
		part_text(&b, "by the query's parts", &p->by_parts);
		part_text(&b, "by reading", &p->by_reader);
		if (p->exact != 0) buf_printf(&b, "   %.4f holds what the query names, as it is written\n", p->exact);
	}
	left = out_printf(c->out, 1, "%s\n\n", buf_cstr(&b));
	buf_clear(&b);
	return left;
}

/* Why there is nothing, as far as the reader may know. */
static int nothing_print(struct command_call *c, const struct reader *reader, const struct retrieval *r, int mode, struct arena *a,
	struct err *e)
{
	struct seen_count seen;
	const char *remark = phrases_remark(reader->phrases, a);
	struct buf b;
	int rc = snapshot_count(r->snapshot, reader, &seen, e);
	if (rc) return rc;
	buf_init(&b, BLOCK_BYTES_MAX);
	if (remark) {
		screen_line(&b, remark, strlen(remark), REMARK_CHARS);
		out_printf(c->out, 1, "nothing found: %s\n", buf_cstr(&b));
	} else if (seen.documents && mode == SEARCH_LEXICAL)
		out_printf(c->out, 1, "nothing found: no passage of collection %s%s holds a word of the query\n", c->collection,
			reader->filter ? " within the filter" : "");
	else if (reader->filter) out_printf(c->out, 1, "nothing found: no document of collection %s fits the filter\n", c->collection);
	else out_printf(c->out, 1, "nothing found: no documents in collection %s (footnote ingest PATH adds some)\n", c->collection);
	buf_clear(&b);
	return OK;
}

static int hits_print(struct command_call *c, const struct reader *reader, const struct retrieval *r, int mode, int explain,
	struct arena *a, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; i < r->n && !rc; i++) {
		if (c->json) rc = command_json(c, view_hit(&r->passages[i], 1, explain), e);
		else if (hit_text(c, &r->passages[i], i + 1, explain)) rc = err_set(e, E_CANCELLED, "the reader of the output left");
	}
	return rc || r->n || c->json || c->quiet ? rc : nothing_print(c, reader, r, mode, a, e);
}

int command_want(const char *mode, const char *group, long k, struct search_want *out, struct err *e)
{
	int m = search_mode_parse(mode);
	if (m < 0) return err_set(e, E_USAGE, "--mode %.60s: no such mode; hybrid, dense or lexical", mode);
	if (group && strcmp(group, "document") != 0) return err_set(e, E_USAGE, "--group %.60s: must be document", group);
	*out = (struct search_want){ .mode = (enum search_mode)m, .k = (size_t)k, .by_document = group != NULL };
	return OK;
}

int cmd_search(struct command_call *c)
{
	long k = c->conf->search_k;
	int explain = 0;
	const char *mode_name = "hybrid", *as = NULL, *filter_text = NULL, *group = NULL, *query;
	struct option options[] = {
		{"-k", OPTION_NUMBER, &k, 1, c->conf->search_k_max}, {"--mode", OPTION_TEXT, &mode_name, 0, 0},
		{"--as", OPTION_TEXT, &as, 0, 0}, {"--filter", OPTION_TEXT, &filter_text, 0, 0},
		{"--group", OPTION_TEXT, &group, 0, 0},
		{"--explain", OPTION_FLAG, &explain, 0, 0},
	};
	struct search_want want;
	struct arena arena;
	struct retrieval r = {0};
	struct filter *filter = NULL;
	struct reader reader;
	struct err e = {0};
	int code = EXIT_DONE, rc;
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc) rc = command_words(c, "search: the query", &arena, &query, &e);
	if (!rc) rc = command_reader(c, as, &arena, &reader, &e);
	if (!rc) rc = command_filter(c, filter_text, &reader, &filter, &e);
	if (!rc) rc = command_want(mode_name, group, k, &want, &e);
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	rc = phrases_parse(&reader.phrases, query, strlen(query), &arena, &e);
	if (!rc) rc = retrieve(c->service, &reader, query, strlen(query), &want, &arena, &r, &e);
	if (!rc) rc = hits_print(c, &reader, &r, want.mode, explain, &arena, &e);
	if (rc) code = command_fail(c, &e);
	retrieve_close(&r);
out:
	filter_free(filter);
	arena_clear(&arena);
	return code;
}
