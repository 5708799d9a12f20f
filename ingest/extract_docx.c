/* extract_docx.c: Word documents (ECMA-376, WordprocessingML) to blocks.
 *
 * Styles and numbering are read first, into tables of a fixed order: a paragraph's outline level and list come from
 * itself, else from its style, else from what that is based on; a style named "heading 2" is a heading whatever it is
 * called in the file. Then the body runs through one handler, and after it the notes, comments, headers and footers,
 * so that no text of the document is lost and none stands between two sentences of the body. Numbers of lists are
 * counted as Word counts them. Deleted text (tracked), field instructions, hidden runs and the fallbacks of text boxes
 * (their text a second time) are left out; equations are their text.
 * Threads: one document, one thread. Failure: memory; what is broken is read as far as it goes, with a note. */
#include "ingest/extract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "ingest/clean.h"
#include "ingest/office.h"

enum { ID_MAX = 64, LEVELS = 9, STYLES_MAX = 4000, LISTS_MAX = 4000, CHAIN_MAX = 12, NONE = -1, EXTRA_MAX = 64 };

struct style { char id[ID_MAX], based_on[ID_MAX]; int outline, num, level, is_title; };
struct level { char format[16], text[32]; int start; };
struct abstract { int id; struct level levels[LEVELS]; };
struct list { int id, abstract; int used; long counts[LEVELS]; };

static const struct xml_ns namespaces[] = {
	{ "http://schemas.openxmlformats.org/wordprocessingml/2006/main", "w" },
	{ "http://purl.oclc.org/ooxml/wordprocessingml/main", "w" },
	{ "http://schemas.openxmlformats.org/officeDocument/2006/math", "m" },
	{ "http://purl.oclc.org/ooxml/officeDocument/math", "m" },
	{ "http://schemas.openxmlformats.org/markup-compatibility/2006", "mc" },
	{ NULL, NULL },
};

struct docx {
	struct builder *b;
	struct office o;
	struct style *styles; size_t style_n;
	struct abstract *abstracts; size_t abstract_n;
	struct list *lists; size_t list_n;
	int level_now;                  /* of the abstract that is read; NONE: none */
	int part;                       /* enum member */
	int skip;                       /* depth of elements whose text is left out */
	int in_text, in_ppr, in_run, hidden;
	int boxes;                      /* open text boxes: each may hold a paragraph inside another one */
	int para_num, para_level, para_outline;         /* of the open paragraph itself; NONE: not said */
	char para_style[ID_MAX];
	int note;                       /* a note that is no text (separators) */
	char comment_by[96];
	uint64_t seen[EXTRA_MAX]; size_t seen_n;        /* headers and footers already written, by their hash */
};
enum member { BODY, NOTES, COMMENTS, EDGES };

static int is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static long attr_number(const struct xml_attrs *a, const char *name, long otherwise)
{
	char text[24], *end;
	long n;

	if (!xml_attr(a, name, text, sizeof text))
		return otherwise;
	n = strtol(text, &end, 10);
	return end == text || n < -1000000 || n > 1000000 ? otherwise : n;
}

/* Is a switch ("w:vanish") on? It is unless it says otherwise. */
static int is_on(const struct xml_attrs *a)
{
	char text[8];

	return !xml_attr(a, "w:val", text, sizeof text) || (!is(text, "0") && !is(text, "false") && !is(text, "off"));
}

/* ---- styles ---- */

static void style_start(void *ctx, const char *name, const struct xml_attrs *a)
{
	struct docx *d = ctx;
	struct style *s = d->style_n ? &d->styles[d->style_n - 1] : NULL;
	char text[ID_MAX];

	if (is(name, "w:style")) {
		struct style *more = d->style_n < STYLES_MAX ? mem_realloc(d->styles, (d->style_n + 1) * sizeof *more) : NULL;

		if (!more)
			return;
		d->styles = more;
		s = &more[d->style_n++];
		*s = (struct style){ .outline = NONE, .num = NONE, .level = NONE };
		xml_attr(a, "w:styleId", s->id, sizeof s->id);
	} else if (!s) {
		return;
	} else if (is(name, "w:name")) {
		xml_attr(a, "w:val", text, sizeof text);
		if (strncasecmp(text, "heading ", 8) == 0 && text[8] >= '1' && text[8] <= '9' && !text[9])
			s->outline = text[8] - '1';
		s->is_title = strcasecmp(text, "title") == 0;
	} else if (is(name, "w:basedOn")) {
		xml_attr(a, "w:val", s->based_on, sizeof s->based_on);
	} else if (is(name, "w:outlineLvl")) {
		s->outline = (int)attr_number(a, "w:val", NONE);
	} else if (is(name, "w:numId")) {
		s->num = (int)attr_number(a, "w:val", NONE);
	} else if (is(name, "w:ilvl")) {
		s->level = (int)attr_number(a, "w:val", NONE);
	}
}

static void nothing_end(void *ctx, const char *name)
{
	(void)ctx, (void)name;
}

static void nothing_text(void *ctx, const char *s, size_t len)
{
	(void)ctx, (void)s, (void)len;
}

static const struct style *style_find(const struct docx *d, const char *id)
{
	for (size_t i = 0; i < d->style_n && *id; i++)
		if (is(d->styles[i].id, id))
			return &d->styles[i];
	return NULL;
}

static int styles_use(void *ctx, const char *name, const char *text, size_t len, struct err *e)
{
	struct docx *d = ctx;
	struct xml_handler h = { d, namespaces, style_start, nothing_end, nothing_text, NULL };

	return office_parse(d->b->x, name, text, len, &h, e);
}

/* ---- numbering ---- */

static void numbering_start(void *ctx, const char *name, const struct xml_attrs *a)
{
	struct docx *d = ctx;
	struct abstract *k = d->abstract_n ? &d->abstracts[d->abstract_n - 1] : NULL;
	struct level *l = k && d->level_now >= 0 && d->level_now < LEVELS ? &k->levels[d->level_now] : NULL;

	if (is(name, "w:abstractNum")) {
		struct abstract *more = d->abstract_n < LISTS_MAX
			? mem_realloc(d->abstracts, (d->abstract_n + 1) * sizeof *more) : NULL;

		d->level_now = NONE;
		if (!more)
			return;
		d->abstracts = more;
		memset(&more[d->abstract_n], 0, sizeof *more);
		more[d->abstract_n++].id = (int)attr_number(a, "w:abstractNumId", NONE);
	} else if (is(name, "w:num")) {
		struct list *more = d->list_n < LISTS_MAX ? mem_realloc(d->lists, (d->list_n + 1) * sizeof *more) : NULL;

		d->level_now = NONE;
		if (!more)
			return;
		d->lists = more;
		more[d->list_n++] = (struct list){ .id = (int)attr_number(a, "w:numId", NONE), .abstract = NONE };
	} else if (is(name, "w:abstractNumId") && d->list_n > 0) {
		d->lists[d->list_n - 1].abstract = (int)attr_number(a, "w:val", NONE);
	} else if (is(name, "w:lvl") && d->list_n == 0) {
		d->level_now = (int)attr_number(a, "w:ilvl", NONE);
		if (k && d->level_now >= 0 && d->level_now < LEVELS)
			k->levels[d->level_now].start = 1;
	} else if (!l || d->list_n > 0) {
		return;
	} else if (is(name, "w:start")) {
		l->start = (int)attr_number(a, "w:val", 1);
	} else if (is(name, "w:numFmt")) {
		xml_attr(a, "w:val", l->format, sizeof l->format);
	} else if (is(name, "w:lvlText")) {
		xml_attr(a, "w:val", l->text, sizeof l->text);
	}
}

static int numbering_use(void *ctx, const char *name, const char *text, size_t len, struct err *e)
{
	struct docx *d = ctx;
	struct xml_handler h = { d, namespaces, numbering_start, nothing_end, nothing_text, NULL };

	return office_parse(d->b->x, name, text, len, &h, e);
}

static const struct abstract *abstract_find(const struct docx *d, int id)
{
	for (size_t i = 0; i < d->abstract_n; i++)
		if (d->abstracts[i].id == id)
			return &d->abstracts[i];
	return NULL;
}

/* Counts an item of list num at a level and writes what stands in front of it: "2.1.", "b)"; "" for bullets. */
static void count_item(struct docx *d, int num, int level, char label[OFFICE_LABEL_MAX])
{
	const struct abstract *k = NULL;
	struct list *list = NULL;
	struct buf out;

	label[0] = 0;
	for (size_t i = 0; i < d->list_n && !list; i++)
		list = d->lists[i].id == num ? &d->lists[i] : NULL;
	k = list ? abstract_find(d, list->abstract) : NULL;
	if (!k || level < 0 || level >= LEVELS)
		return;
	for (int i = 0; i < LEVELS && !list->used; i++)
		list->counts[i] = k->levels[i].start - 1;
	list->used = 1;
	list->counts[level]++;
	for (int i = level + 1; i < LEVELS; i++)
		list->counts[i] = k->levels[i].start - 1;
	if (is(k->levels[level].format, "bullet") || is(k->levels[level].format, "none") || !strchr(k->levels[level].text, '%'))
		return;
	buf_init(&out, OFFICE_LABEL_MAX - 1);
	for (const char *p = k->levels[level].text; *p; p++) {
		if (p[0] == '%' && p[1] >= '1' && p[1] <= '9') {
			int at = *++p - '1';

			office_number(&out, list->counts[at] < k->levels[at].start ? k->levels[at].start : list->counts[at],
				k->levels[at].format);
		} else {
			buf_putc(&out, *p);
		}
	}
	if (buf_failed(&out) == OK && utf8_valid(buf_cstr(&out), out.len))
		snprintf(label, OFFICE_LABEL_MAX, "%s", buf_cstr(&out));
	buf_clear(&out);
}

/* ---- text ---- */

/* What the open paragraph is: from itself, its style and what that is based on. */
static void paragraph_look(struct docx *d, struct office_look *k)
{
	int outline = d->para_outline, num = d->para_num, level = d->para_level;
	const struct style *s = style_find(d, d->para_style);

	for (int i = 0; s && i < CHAIN_MAX; i++, s = style_find(d, s->based_on)) {
		outline = outline == NONE ? s->outline : outline;
		level = level == NONE ? s->level : level;
		num = num == NONE ? s->num : num;
		k->is_title |= s->is_title && i == 0;
	}
	if (k->is_title)
		k->heading = 1;
	else if (outline >= 0 && outline < LEVELS)
		k->heading = outline < 6 ? outline + 1 : 6;
	if (num > 0) {
		k->item = 1;
		k->depth = level > 0 ? level : 0;
		count_item(d, num, k->depth, k->label);
	}
}

static void paragraph_begin(struct docx *d)
{
	while (d->o.open_n > d->boxes) {        /* its end is missing: what follows is not inside it */
		office_paragraph_end(&d->o);
		d->in_text = d->in_ppr = d->in_run = d->hidden = 0;
	}
	office_paragraph_begin(&d->o);
	d->para_num = d->para_level = d->para_outline = NONE;
	d->para_style[0] = 0;
	if (d->part == COMMENTS && d->comment_by[0]) {
		office_put(&d->o, d->comment_by, strlen(d->comment_by));
		d->comment_by[0] = 0;
	}
}

static void properties(struct docx *d, const char *name, const struct xml_attrs *a)
{
	if (is(name, "w:pStyle"))
		xml_attr(a, "w:val", d->para_style, sizeof d->para_style);
	else if (is(name, "w:numId"))
		d->para_num = (int)attr_number(a, "w:val", NONE);
	else if (is(name, "w:ilvl"))
		d->para_level = (int)attr_number(a, "w:val", NONE);
	else if (is(name, "w:outlineLvl"))
		d->para_outline = (int)attr_number(a, "w:val", NONE);
}

static void symbol(struct docx *d, const struct xml_attrs *a)
{
	char code[8], out[4];
	long c;

	xml_attr(a, "w:char", code, sizeof code);
	c = strtol(code, NULL, 16);
	if (c >= 0x20 && c < 0xD800)                            /* private ones are pictures of a symbol font */
		office_put(&d->o, out, utf8_put(out, (uint32_t)c));
}

static int is_left_out(const char *name)
{
	static const char *const names[] = { "w:del", "w:moveFrom", "w:instrText", "w:delText", "w:delInstrText", "mc:Fallback",
		"w:rt", "w:sdtPr", "w:pPrChange", "w:rPrChange", "w:sectPrChange", "w:tblPrChange" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (is(name, names[i]))
			return 1;
	return 0;
}

/* Notes with a type are the lines between notes and text. */
static void note_begin(struct docx *d, const char *name, const struct xml_attrs *a)
{
	char text[80];

	if (is(name, "w:footnote") || is(name, "w:endnote")) {
		d->note = xml_attr(a, "w:type", text, sizeof text) && !is(text, "normal");
		d->skip += d->note;
	} else if (is(name, "w:comment")) {
		xml_attr(a, "w:author", text, sizeof text);
		snprintf(d->comment_by, sizeof d->comment_by, "Comment%s%s: ", text[0] ? " by " : "", text);
	}
}

static void body_start(void *ctx, const char *name, const struct xml_attrs *a)
{
	struct docx *d = ctx;

	if (d->skip > 0 || is_left_out(name)) {
		d->skip++;
		return;
	}
	if (is(name, "w:p")) {
		paragraph_begin(d);
	} else if (is(name, "w:txbxContent")) {
		d->boxes++;
	} else if (is(name, "w:pPr")) {
		d->in_ppr = 1;
	} else if (d->in_ppr) {
		properties(d, name, a);
	} else if (is(name, "w:r")) {
		d->in_run = 1;
		d->hidden = 0;
	} else if (is(name, "w:vanish")) {
		d->hidden = d->in_run && is_on(a);
	} else if (is(name, "w:t") || is(name, "m:t")) {
		d->in_text = 1;
	} else if (is(name, "w:tab") || is(name, "w:ptab")) {
		office_put(&d->o, "\t", 1);
	} else if (is(name, "w:br") || is(name, "w:cr")) {
		office_put(&d->o, "\n", 1);
	} else if (is(name, "w:noBreakHyphen")) {
		office_put(&d->o, "-", 1);
	} else if (is(name, "w:sym")) {
		symbol(d, a);
	} else if (is(name, "w:tbl")) {
		office_table_begin(&d->o);
	} else if (is(name, "w:tr")) {
		office_row_begin(&d->o);
	} else if (is(name, "w:tc")) {
		office_cell_begin(&d->o);
	} else if (d->part != BODY) {
		note_begin(d, name, a);
	}
}

static void body_end(void *ctx, const char *name)
{
	struct docx *d = ctx;

	if (d->skip > 0) {
		d->skip--;
		return;
	}
	if (is(name, "w:p")) {
		office_paragraph_end(&d->o);
	} else if (is(name, "w:txbxContent")) {
		d->boxes--;
	} else if (is(name, "w:pPr")) {
		d->in_ppr = 0;
		if (d->part == BODY && d->o.over == 0)          /* here, as a text box's paragraphs come before the end of its own */
			paragraph_look(d, office_look(&d->o));
	} else if (is(name, "w:r")) {
		d->in_run = d->hidden = 0;
	} else if (is(name, "w:t") || is(name, "m:t")) {
		d->in_text = 0;
	} else if (is(name, "w:tbl")) {
		office_table_end(&d->o);
	} else if (is(name, "w:tr")) {
		office_row_end(&d->o);
	}
}

static void body_text(void *ctx, const char *s, size_t len)
{
	struct docx *d = ctx;

	if (d->in_text && d->skip == 0 && !d->hidden)
		office_put(&d->o, s, len);
}

static int body_stop(void *ctx)
{
	struct docx *d = ctx;

	return builder_stopped(d->b);
}

static int text_use(struct docx *d, int part, const char *name, const char *text, size_t len, struct err *e)
{
	struct xml_handler h = { d, namespaces, body_start, body_end, body_text, body_stop };
	int rc;

	d->part = part;
	d->skip = d->in_text = d->in_ppr = d->in_run = d->hidden = d->boxes = 0;
	rc = office_parse(d->b->x, name, text, len, &h, e);
	office_end(&d->o);
	return rc != OK ? rc : d->b->rc;
}

static int body_use(void *ctx, const char *name, const char *text, size_t len, struct err *e)
{
	return text_use(ctx, BODY, name, text, len, e);
}

static int notes_use(void *ctx, const char *name, const char *text, size_t len, struct err *e)
{
	return text_use(ctx, NOTES, name, text, len, e);
}

static int comments_use(void *ctx, const char *name, const char *text, size_t len, struct err *e)
{
	return text_use(ctx, COMMENTS, name, text, len, e);
}

/* Headers and footers come in several copies (first page, even pages): those with the same text are written once. */
static int edges_use(void *ctx, const char *name, const char *text, size_t len, struct err *e)
{
	struct docx *d = ctx;
	uint64_t hash = 1469598103934665603u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
	for (size_t i = 0; i < d->seen_n; i++)
		if (d->seen[i] == hash)
			return OK;
	if (d->seen_n == EXTRA_MAX)
		return OK;
	d->seen[d->seen_n++] = hash;
	return text_use(d, EDGES, name, text, len, e);
}

static int core_use(void *ctx, const char *name, const char *text, size_t len, struct err *e)
{
	struct docx *d = ctx;

	return office_title(d->b->x, name, text, len, e);
}

void extract_docx(struct builder *b, const char *data, size_t len)
{
	static const struct office_member members[] = {
		{ "docProps/core.xml", core_use }, { "word/styles.xml", styles_use }, { "word/numbering.xml", numbering_use },
		{ "word/document*", body_use }, { "word/footnotes.xml", notes_use }, { "word/endnotes.xml", notes_use },
		{ "word/comments.xml", comments_use }, { "word/header*", edges_use }, { "word/footer*", edges_use },
		{ NULL, NULL },
	};
	struct docx d = { .b = b, .level_now = NONE };
	int rc;

	office_init(&d.o, b);
	rc = office_read(b->x, data, len, members, &d, b->e);
	if (b->rc == OK)
		b->rc = rc;
	office_clear(&d.o);
	mem_free(d.styles);
	mem_free(d.abstracts);
	mem_free(d.lists);
}
