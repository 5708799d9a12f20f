/* extract_xml.c: XML of no known kind: its text, element by element.
 *
 * An element that holds text and no other element is a paragraph; so is a run of text between elements (mixed content
 * as in DocBook keeps its inline elements inside the paragraph: an element that begins right behind text, without white
 * space with a line break between them, does not end it). The root's <title>, else nothing, is the title. Threads: one
 * document, one thread. Failure: a broken document is kept as far as it could be read, with the place of the breach. */
#include "ingest/extract.h"

#include <string.h>

#include "ingest/clean.h"
#include "ingest/xml.h"

struct reader {
	struct builder *b;
	int depth;
	int title;              /* inside the root's or its child's <title>: the depth of it */
	int space;              /* white space waits */
	int ended;              /* nothing but an end tag came last: what begins now is another element's text */
};

static void on_start(void *ctx, const char *name, const struct xml_attrs *attrs)
{
	struct reader *r = ctx;
	const char *local = strchr(name, ':') ? strchr(name, ':') + 1 : name;

	(void)attrs;
	r->space |= r->ended;
	r->ended = 0;
	r->depth++;
	if (!r->title && r->depth <= 3 && strcmp(local, "title") == 0)
		r->title = r->depth;
}

static void on_end(void *ctx, const char *name)
{
	struct reader *r = ctx;

	(void)name;
	if (r->title == r->depth) {
		if (!r->b->x->title[0] && r->b->is_open)
			extracted_title(r->b->x, buf_cstr(&r->b->cur), r->b->cur.len);
		r->title = 0;
	}
	r->depth--;
	r->ended = 1;
}

static void on_text(void *ctx, const char *s, size_t len)
{
	struct reader *r = ctx;
	size_t from = 0;

	r->ended = 0;
	for (size_t i = 0; i <= len; i++) {
		int blank = i < len && strchr(" \t\r\n", s[i]) && s[i];

		if (i < len && !blank)
			continue;
		if (i > from) {
			if (!r->b->is_open)
				builder_open(r->b, BLOCK_PARAGRAPH, 0, 0);
			else if (r->space)
				builder_put(r->b, " ", 1);
			builder_put(r->b, s + from, i - from);
			r->space = 0;
		}
		if (blank) {
			/* A line break right between tags parts paragraphs; white space inside a text does not. */
			r->space = 1;
			if (s[i] == '\n' && clean_is_blank(s, len))
				builder_close(r->b);
		}
		from = i + 1;
	}
}

static int on_stop(void *ctx)
{
	struct reader *r = ctx;

	return builder_stopped(r->b);
}

void extract_xml(struct builder *b, const char *text, size_t len)
{
	struct reader r = { .b = b };
	struct xml_handler h = { .ctx = &r, .start = on_start, .end = on_end, .text = on_text, .stop = on_stop };
	struct xml_report report;
	int rc = xml_parse(text, len, &h, &report, b->e);

	if (rc != OK)
		b->rc = rc;
	builder_close(b);
	if (b->rc != OK)
		return;
	if (report.entities > 0 && b->x->block_n == 0)
		extracted_drop(b->x, "XML of nothing but entities that it declares itself, which are not expanded");
	else if (report.entities > 0)
		extracted_note(b->x, EXTRACT_PARTIAL, "XML declares entities of its own: %zu references are left out",
			report.entities);
	if (report.broken)
		extracted_note(b->x, EXTRACT_PARTIAL, "XML is broken: %s", report.first);
}
