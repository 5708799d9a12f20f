/* extract_odt.c: OpenDocument texts (ODF 1.2, OASIS) to blocks.
 *
 * The styles say two things that the content does not: whether a list's level is numbered, and whether a paragraph's
 * style goes back to "Title"; they are gathered first, from styles.xml and from the automatic styles at the beginning
 * of content.xml. Tracked deletions lie in a part of their own that is skipped. Notes and comments lie inside the
 * paragraph they hang on and become paragraphs in front of it. White space is collapsed as ODF says: only text:s,
 * text:tab and text:line-break are kept.
 * Threads: one document, one thread. Failure: memory; what is broken is read as far as it goes, with a note. */
#include "ingest/extract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ingest/office.h"

enum { NAME_LEN = 64, LEVELS = 10, NAMES_MAX = 8000, DEPTH = 16, CHAIN_MAX = 12, SPACES_MAX = 64, CELLS_MAX = 64 };

static const struct xml_ns namespaces[] = {
	{ "urn:oasis:names:tc:opendocument:xmlns:office:1.0", "office" },
	{ "urn:oasis:names:tc:opendocument:xmlns:text:1.0", "text" },
	{ "urn:oasis:names:tc:opendocument:xmlns:table:1.0", "table" },
	{ "urn:oasis:names:tc:opendocument:xmlns:style:1.0", "style" },
	{ "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0", "draw" },
	{ "urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0", "svg" },
	{ "http://purl.org/dc/elements/1.1/", "dc" },
	{ NULL, NULL },
};

struct parent { char name[NAME_LEN], of[NAME_LEN], list[NAME_LEN]; };
struct list_style { char name[NAME_LEN]; char formats[LEVELS][8]; char after[LEVELS][8]; };

struct odt {
	struct builder *b;
	struct office o;
	struct parent *parents; size_t parent_n;
	struct list_style *lists; size_t list_n;
	int in_list_style;
	int skip;                       /* depth of elements whose text is left out */
	int in_body;
	int paragraphs;                 /* open ones */
	int space[OFFICE_NEST_MAX + 1]; /* white space waits, a flag for each open paragraph; none at its start */
	int started[OFFICE_NEST_MAX + 1];
	int list_depth;
	struct { char style[NAME_LEN]; long n; } open_lists[DEPTH];
	int item_waits;                 /* the item's first paragraph has not come yet */
	char comment_by[96];
	int in_creator;
	struct buf meta;
};

static int is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static long attr_number(const struct xml_attrs *a, const char *name, long otherwise, long most)
{
	char text[24], *end;
	long n;

	if (!xml_attr(a, name, text, sizeof text))
		return otherwise;
	n = strtol(text, &end, 10);
	return end == text || n < 0 ? otherwise : n > most ? most : n;
}

/* ---- styles ---- */

static void style_begin(struct odt *d, const struct xml_attrs *a)
{
	struct parent *more = d->parent_n < NAMES_MAX ? mem_realloc(d->parents, (d->parent_n + 1) * sizeof *more) : NULL;

	if (!more)
		return;
	d->parents = more;
	more += d->parent_n++;
	xml_attr(a, "style:name", more->name, sizeof more->name);
	xml_attr(a, "style:parent-style-name", more->of, sizeof more->of);
	xml_attr(a, "style:list-style-name", more->list, sizeof more->list);
}

static void list_style_begin(struct odt *d, const struct xml_attrs *a)
{
	struct list_style *more = d->list_n < NAMES_MAX ? mem_realloc(d->lists, (d->list_n + 1) * sizeof *more) : NULL;

	d->in_list_style = more != NULL;
	if (!more)
		return;
	d->lists = more;
	memset(&more[d->list_n], 0, sizeof *more);
	xml_attr(a, "style:name", more[d->list_n++].name, NAME_LEN);
}

static void list_level(struct odt *d, const struct xml_attrs *a)
{
	struct list_style *s = &d->lists[d->list_n - 1];
	long level = attr_number(a, "text:level", 1, LEVELS) - 1;

	if (level < 0)
		return;
	xml_attr(a, "style:num-format", s->formats[level], sizeof s->formats[level]);
	xml_attr(a, "style:num-suffix", s->after[level], sizeof s->after[level]);
}

/* 1 when the element belongs to the styles. */
static int styles_start(struct odt *d, const char *name, const struct xml_attrs *a)
{
	if (is(name, "style:style"))
		style_begin(d, a);
	else if (is(name, "text:list-style"))
		list_style_begin(d, a);
	else if (is(name, "text:list-level-style-number") && d->in_list_style)
		list_level(d, a);
	else
		return 0;
	return 1;
}

static int style_is_title(const struct odt *d, const char *style)
{
	for (int i = 0; i < CHAIN_MAX && *style; i++) {
		size_t k = 0;

		if (is(style, "Title"))
			return 1;
		while (k < d->parent_n && !is(d->parents[k].name, style))
			k++;
		style = k < d->parent_n ? d->parents[k].of : "";
	}
	return 0;
}

/* "3." for the n-th item of the innermost list, "" for a bullet. */
static void label_of(const struct odt *d, long n, char out[OFFICE_LABEL_MAX])
{
	static const struct { const char *odf, *name; } formats[] = {
		{ "1", "decimal" }, { "a", "lowerLetter" }, { "A", "upperLetter" }, { "i", "lowerRoman" }, { "I", "upperRoman" },
	};
	int depth = d->list_depth < DEPTH ? d->list_depth : DEPTH, level = depth - 1 < LEVELS ? depth - 1 : LEVELS - 1;
	const char *style = "";
	struct buf b;

	out[0] = 0;
	for (int i = depth - 1; i >= 0 && !*style; i--)         /* inner lists take the style of the outer */
		style = d->open_lists[i].style;
	for (size_t i = 0; i < d->list_n; i++) {
		if (!is(d->lists[i].name, style))
			continue;
		for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
			if (!is(d->lists[i].formats[level], formats[k].odf))
				continue;
			buf_init(&b, OFFICE_LABEL_MAX - 1);
			office_number(&b, n, formats[k].name);
			buf_puts(&b, d->lists[i].after[level]);
			if (buf_failed(&b) == OK)
				snprintf(out, OFFICE_LABEL_MAX, "%s", buf_cstr(&b));
			buf_clear(&b);
			return;
		}
		return;
	}
}

/* ---- content ---- */

static int now(const struct odt *d)
{
	return d->paragraphs < OFFICE_NEST_MAX ? d->paragraphs : OFFICE_NEST_MAX;
}

static void put(struct odt *d, const char *s, size_t len)
{
	int at = now(d);

	if (d->space[at] && d->started[at])
		office_put(&d->o, " ", 1);
	d->space[at] = 0;
	d->started[at] = 1;
	office_put(&d->o, s, len);
}

static void paragraph_begin(struct odt *d, const char *name, const struct xml_attrs *a)
{
	char style[NAME_LEN];
	struct office_look *k;
	int nested = d->paragraphs > 0;

	office_paragraph_begin(&d->o);
	d->paragraphs++;
	d->space[now(d)] = d->started[now(d)] = 0;
	k = office_look(&d->o);
	if (d->comment_by[0]) {
		put(d, d->comment_by, strlen(d->comment_by));
		d->comment_by[0] = 0;
		return;
	}
	if (d->o.over > 0)
		return;
	if (is(name, "text:h")) {
		long level = attr_number(a, "text:outline-level", 1, 6);

		k->heading = level > 0 ? (int)level : 1;
	} else if (xml_attr(a, "text:style-name", style, sizeof style) && style_is_title(d, style)) {
		k->heading = k->is_title = 1;
	}
	if (d->list_depth > 0 && !nested) {
		int at = d->list_depth <= DEPTH ? d->list_depth - 1 : DEPTH - 1;

		k->item = d->item_waits;                        /* what follows in the item is a paragraph of it */
		k->depth = at;
		if (k->item)
			label_of(d, ++d->open_lists[at].n, k->label);
		d->item_waits = 0;
	}
}

static void list_begin(struct odt *d, const struct xml_attrs *a)
{
	if (d->list_depth++ < DEPTH) {
		int at = d->list_depth - 1;

		xml_attr(a, "text:style-name", d->open_lists[at].style, NAME_LEN);
		d->open_lists[at].n = 0;
	}
	d->item_waits = 0;
}

static int is_left_out(const char *name)
{
	static const char *const names[] = { "text:tracked-changes", "text:note-citation", "svg:title", "svg:desc", "text:ruby-text",
		"office:forms", "text:sequence-decls", "office:scripts", "office:event-listeners", "dc:date", "text:index-title-template",
		"text:table-of-content-source", "text:alphabetical-index-source", "text:illustration-index-source" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (is(name, names[i]))
			return 1;
	return 0;
}

static void text_start(struct odt *d, const char *name, const struct xml_attrs *a)
{
	long n;

	if (is(name, "text:p") || is(name, "text:h")) {
		paragraph_begin(d, name, a);
	} else if (is(name, "text:s")) {
		n = attr_number(a, "text:c", 1, SPACES_MAX);
		d->space[now(d)] |= n > 0;
	} else if (is(name, "text:tab")) {
		put(d, "\t", 1);
	} else if (is(name, "text:line-break")) {
		put(d, "\n", 1);
	} else if (is(name, "text:list")) {
		list_begin(d, a);
	} else if (is(name, "text:list-item")) {
		d->item_waits = 1;
	} else if (is(name, "table:table")) {
		office_table_begin(&d->o);
	} else if (is(name, "table:table-row")) {
		office_row_begin(&d->o);
	} else if (is(name, "table:table-cell") || is(name, "table:covered-table-cell")) {
		office_cell_begin(&d->o);
	} else if (is(name, "office:annotation")) {
		snprintf(d->comment_by, sizeof d->comment_by, "Comment: ");
	} else if (is(name, "dc:creator")) {
		d->in_creator = 1;
		buf_reset(&d->meta);
	}
}

static void on_start(void *ctx, const char *name, const struct xml_attrs *a)
{
	struct odt *d = ctx;

	if (d->skip > 0 || is_left_out(name))
		d->skip++;
	else if (is(name, "office:text"))
		d->in_body = 1;
	else if (d->in_body)
		text_start(d, name, a);
	else
		styles_start(d, name, a);
}

static void on_end(void *ctx, const char *name)
{
	struct odt *d = ctx;

	if (d->skip > 0) {
		d->skip--;
	} else if (is(name, "text:list-style")) {
		d->in_list_style = 0;
	} else if (!d->in_body) {
		return;
	} else if (is(name, "text:p") || is(name, "text:h")) {
		office_paragraph_end(&d->o);
		d->paragraphs -= d->paragraphs > 0;
	} else if (is(name, "text:list")) {
		d->list_depth -= d->list_depth > 0;
		d->item_waits = 0;
	} else if (is(name, "table:table")) {
		office_table_end(&d->o);
	} else if (is(name, "table:table-row")) {
		office_row_end(&d->o);
	} else if (is(name, "dc:creator")) {
		d->in_creator = 0;
		if (d->meta.len > 0)
			snprintf(d->comment_by, sizeof d->comment_by, "Comment by %.80s: ", buf_cstr(&d->meta));
	} else if (is(name, "office:text")) {
		d->in_body = 0;
	}
}

static void on_text(void *ctx, const char *s, size_t len)
{
	struct odt *d = ctx;
	size_t from = 0;

	if (d->in_creator && !d->skip)
		buf_put(&d->meta, s, len);
	if (d->skip || d->in_creator || !d->in_body || d->paragraphs == 0)
		return;
	for (size_t i = 0; i <= len; i++) {
		if (i < len && !strchr(" \t\r\n", s[i]))
			continue;
		if (i > from)
			put(d, s + from, i - from);
		if (i < len)
			d->space[now(d)] = 1;
		from = i + 1;
	}
}

static int on_stop(void *ctx)
{
	struct odt *d = ctx;

	return builder_stopped(d->b);
}

static int content_use(void *ctx, const char *name, const char *text, size_t len, struct err *e)
{
	struct odt *d = ctx;
	struct xml_handler h = { d, namespaces, on_start, on_end, on_text, on_stop };
	int rc;

	rc = office_parse(d->b->x, name, text, len, &h, e);
	office_end(&d->o);
	return rc != OK ? rc : d->b->rc;
}

static int meta_use(void *ctx, const char *name, const char *text, size_t len, struct err *e)
{
	struct odt *d = ctx;

	return office_title(d->b->x, name, text, len, e);
}

void extract_odt(struct builder *b, const char *data, size_t len)
{
	static const struct office_member members[] = {
		{ "meta.xml", meta_use }, { "styles.xml", content_use }, { "content.xml", content_use }, { NULL, NULL },
	};
	struct odt d = { .b = b };
	int rc;

	office_init(&d.o, b);
	buf_init(&d.meta, TITLE_MAX);
	rc = office_read(b->x, data, len, members, &d, b->e);
	if (b->rc == OK)
		b->rc = rc;
	office_clear(&d.o);
	buf_clear(&d.meta);
	mem_free(d.parents);
	mem_free(d.lists);
}
