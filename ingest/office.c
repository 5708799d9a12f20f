/* office.c: owns the package and the flow of paragraphs of office documents.
 *
 * The package is a ZIP archive that is read from memory, behind limits on members, unpacked bytes and their ratio; only
 * the members an extractor asks for are unpacked, and held one by one. Paragraphs are gathered here and not in the
 * builder, because they nest: a text box or a note lies inside the paragraph it hangs on and is written before it. In a
 * table the paragraphs of a row gather until the row ends: it is a row ("a | b"), or layout when there is one cell, or
 * prose in one of them, and its paragraphs are paragraphs. Tables inside a cell are read as text of the cell.
 * Threads: one document, one thread. Failure: memory; a damaged package is a verdict. */
#include "ingest/office.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "base/zip.h"
#include "ingest/charset.h"
#include "ingest/clean.h"

enum {
	MEMBERS_MAX = 20000, RATIO_MAX = 500, MIME_BYTES = 128, LABEL_MAX = 48, WANTED_MAX = 64,
	UNPACKED_MAX = 512 << 20,
	LONE_CELL_MAX = 200             /* bytes of a row's only text; longer ones are prose in a layout */
};
static const struct zip_limits limits = { MEMBERS_MAX, UNPACKED_MAX, RATIO_MAX };

/* ---- the package ---- */

static int begins(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

/* What ODF's first member says; and whether the manifest says that others are encrypted. */
static int look_at_odf(struct zip *z, const char *member, int *is_text, int *encrypted)
{
	struct buf text;
	int rc;

	buf_init(&text, 4 << 20);
	rc = zip_read_all(z, &text, NULL);
	if (strcmp(member, "mimetype") == 0)
		*is_text = begins(buf_cstr(&text), "application/vnd.oasis.opendocument.text");
	else
		*encrypted = text.len > 0 && memmem(text.data, text.len, "encryption-data", 15) != NULL;
	buf_clear(&text);
	return rc == E_MEMORY ? rc : OK;
}

int office_kind(const char *data, size_t len, enum office_kind *kind, struct err *e)
{
	int docx = 0, odt = 0, encrypted = 0, members = 0, step, rc = OK;
	struct zip *z = NULL;
	const char *name;
	struct err why = { 0 };

	*kind = OFFICE_DAMAGED;
	step = zip_open_memory(&z, "archive", data, len, &limits, &why);
	while (step == OK && rc == OK && (step = zip_next(z, &name, &why)) == OK) {
		members++;
		docx |= begins(name, "word/document");
		encrypted |= zip_is_encrypted(z);
		if (strcmp(name, "mimetype") == 0 || strcmp(name, "META-INF/manifest.xml") == 0)
			rc = look_at_odf(z, name, &odt, &encrypted);
	}
	zip_close(z);
	if (step == E_MEMORY || rc != OK)
		return err_set(e, E_MEMORY, "archive of %zu bytes: out of memory", len);
	if (members > 0 || step == E_NOT_FOUND)
		*kind = (docx || odt) && encrypted ? OFFICE_ENCRYPTED : docx ? OFFICE_DOCX : odt ? OFFICE_ODT : OFFICE_OTHER;
	return OK;
}

static int is_wanted(const struct office_member *m, const char *name)
{
	size_t n = strlen(m->name);

	return m->name[n - 1] == '*' ? strncmp(name, m->name, n - 1) == 0 : strcmp(name, m->name) == 0;
}

/* Unpacked bytes of an XML member to UTF-8. */
static int to_utf8(struct buf *raw, struct buf *text, struct err *e)
{
	char declared[LABEL_MAX];
	struct charset_result cs;
	int has = html_declared_charset(buf_cstr(raw), raw->len, declared, sizeof declared);

	buf_reset(text);
	return charset_decode(buf_cstr(raw), raw->len, has ? declared : NULL, text, &cs, e);
}

/* One pass over the archive for one row of the table. *found counts. A damaged archive is E_FORMAT or E_LIMIT. */
static int read_members(const char *data, size_t len, const struct office_member *m, void *ctx, int *found,
	struct err *e)
{
	struct buf raw, text;
	struct zip *z = NULL;
	const char *name;
	int rc, here = 0;

	buf_init(&raw, UNPACKED_MAX);
	buf_init(&text, SIZE_MAX);
	rc = zip_open_memory(&z, "archive", data, len, &limits, e);
	while (rc == OK && here < WANTED_MAX && (rc = zip_next(z, &name, e)) == OK) {
		char own[128];

		if (!is_wanted(m, name))
			continue;
		snprintf(own, sizeof own, "%s", name);
		buf_reset(&raw);
		rc = zip_read_all(z, &raw, e);
		if (rc == E_FORMAT && raw.len > 0) {            /* cut off: what there is of it */
			here++;
			rc = to_utf8(&raw, &text, e);
			rc = rc == OK ? m->use(ctx, own, buf_cstr(&text), text.len, e) : rc;
			rc = rc == OK ? err_set(e, E_FORMAT, "%s is cut off", own) : rc;
			break;
		}
		rc = rc == OK ? to_utf8(&raw, &text, e) : rc;
		if (rc == OK)
			rc = m->use(ctx, own, buf_cstr(&text), text.len, e);
		here++;
	}
	*found += here;
	zip_close(z);
	buf_clear(&raw);
	buf_clear(&text);
	return rc == E_NOT_FOUND ? OK : rc;
}

int office_read(struct extracted *x, const char *data, size_t len, const struct office_member *members, void *ctx,
	struct err *e)
{
	int found = 0, damaged = 0, rc = OK;

	for (; members->name && rc == OK; members++) {
		struct err why = { 0 };

		rc = read_members(data, len, members, ctx, &found, &why);
		if ((rc == E_FORMAT || rc == E_LIMIT) && buf_failed(&x->text) == OK) {
			if (!damaged++)
				extracted_note(x, EXTRACT_PARTIAL, "%.150s", why.msg);
			rc = OK;
		} else if (rc != OK && e) {
			*e = why;
		}
	}
	return rc;
}

int office_parse(struct extracted *x, const char *member, const char *text, size_t len, const struct xml_handler *h,
	struct err *e)
{
	struct xml_report report;
	int rc = xml_parse(text, len, h, &report, e);

	if (rc == OK && report.broken && x->verdict < EXTRACT_PARTIAL)
		extracted_note(x, EXTRACT_PARTIAL, "%s is broken: %s", member, report.first);
	return rc;
}

/* ---- paragraphs ---- */

void office_init(struct office *o, struct builder *b)
{
	memset(o, 0, sizeof *o);
	o->b = b;
	for (int i = 0; i < OFFICE_NEST_MAX; i++)
		buf_init(&o->open[i].text, SIZE_MAX);
	buf_init(&o->row, SIZE_MAX);
}

void office_clear(struct office *o)
{
	for (int i = 0; i < OFFICE_NEST_MAX; i++)
		buf_clear(&o->open[i].text);
	buf_clear(&o->row);
}

static void check(struct office *o, int rc)
{
	if (rc != OK && o->b->rc == OK)
		o->b->rc = err_set(o->b->e, E_MEMORY, "document: out of memory");
}

void office_paragraph_begin(struct office *o)
{
	if (o->open_n == OFFICE_NEST_MAX) {
		o->over++;
		return;
	}
	buf_reset(&o->open[o->open_n].text);
	memset(&o->open[o->open_n].look, 0, sizeof o->open[o->open_n].look);
	o->open_n++;
}

struct office_look *office_look(struct office *o)
{
	return &o->open[o->open_n > 0 ? o->open_n - 1 : 0].look;
}

void office_put(struct office *o, const char *s, size_t len)
{
	if (o->open_n > 0 && !builder_stopped(o->b))
		check(o, buf_put(&o->open[o->open_n - 1].text, s, len));
}

static void emit(struct office *o, const struct office_look *k, const char *s, size_t len)
{
	char indent[2 * 16 + 3];

	if (clean_is_blank(s, len))
		return;
	if (k->heading) {
		builder_open(o->b, BLOCK_HEADING, k->heading, 0);
	} else if (k->item) {
		if (!o->in_list)
			o->groups++;
		builder_open(o->b, BLOCK_LIST_ITEM, 0, o->groups);
		snprintf(indent, sizeof indent, "%*s", 2 * (k->depth < 16 ? k->depth : 16), "");
		builder_mark(o->b, indent);
		if (!k->label[0])
			builder_mark(o->b, "- ");
	} else {
		builder_open(o->b, BLOCK_PARAGRAPH, 0, 0);
	}
	o->in_list = k->item && !k->heading;
	if (k->label[0]) {
		builder_put(o->b, k->label, strlen(k->label));
		builder_put(o->b, " ", 1);
	}
	builder_put(o->b, s, len);
	builder_close(o->b);
	if (!o->b->x->title[0] && (k->is_title || k->heading == 1))
		extracted_title(o->b->x, s, len);
}

void office_paragraph_end(struct office *o)
{
	struct buf *text;

	if (o->over > 0) {
		o->over--;
		return;
	}
	if (o->open_n == 0)
		return;
	text = &o->open[--o->open_n].text;
	if (builder_stopped(o->b))
		return;
	if (!o->rows) {
		emit(o, &o->open[o->open_n].look, buf_cstr(text), text->len);
		return;
	}
	if (clean_is_blank(buf_cstr(text), text->len))
		return;
	if (o->open[o->open_n].look.label[0])
		check(o, buf_printf(&o->row, "%s ", o->open[o->open_n].look.label));
	buf_put(&o->row, text->data, text->len);
	check(o, buf_putc(&o->row, '\n'));
}

/* ---- tables ---- */

void office_table_begin(struct office *o)
{
	if (o->tables++ == 0) {
		o->groups++;
		o->in_list = 0;
	}
}

void office_table_end(struct office *o)
{
	o->tables -= o->tables > 0;
}

void office_row_begin(struct office *o)
{
	if (o->tables != 1 || o->rows)
		return;
	o->rows = 1;
	o->cells = 0;
	buf_reset(&o->row);
}

void office_cell_begin(struct office *o)
{
	if (o->tables == 1 && o->rows && o->cells++ > 0)
		check(o, buf_putc(&o->row, 0));
}

/* The row as paragraphs: it has one cell with text. */
static void row_as_paragraphs(struct office *o, const char *s, size_t len)
{
	struct office_look plain = { 0 };

	while (len > 0) {
		const char *nl = memchr(s, '\n', len);
		size_t n = nl ? (size_t)(nl - s) : len;
		size_t end = n;

		while (n > 0 && *s == 0)
			s++, n--, len--;
		end = n;
		while (end > 0 && s[end - 1] == 0)
			end--;
		emit(o, &plain, s, end);
		s += nl ? n + 1 : n;
		len -= nl ? n + 1 : n;
	}
}

void office_row_end(struct office *o)
{
	const char *s = buf_cstr(&o->row), *end = s + o->row.len;
	int filled = 0, waiting = 0;

	if (o->tables != 1 || !o->rows)
		return;
	o->rows = 0;
	for (const char *p = s; p < end; p += strlen(p) + 1)
		filled += !clean_is_blank(p, strlen(p));
	if (filled == 0)
		return;
	if (filled == 1 && (o->cells == 1 || o->row.len > LONE_CELL_MAX)) {
		row_as_paragraphs(o, s, o->row.len);
		return;
	}
	builder_open(o->b, BLOCK_TABLE_ROW, 0, o->groups);
	for (; s < end; s += strlen(s) + 1, waiting++) {
		size_t n = strlen(s);

		if (clean_is_blank(s, n))
			continue;
		for (; waiting > 0; waiting--)
			builder_put(o->b, " | ", 3);
		while (n > 0 && strchr(" \t\n", s[n - 1]))
			n--;
		for (size_t i = 0; i < n; i++)
			builder_put(o->b, s[i] == '\n' || s[i] == '\t' ? " " : s + i, 1);
	}
	builder_close(o->b);
}

void office_end(struct office *o)
{
	while (o->over > 0 || o->open_n > 0)
		office_paragraph_end(o);
	if (o->tables > 0) {
		o->tables = 1;
		office_row_end(o);
		o->tables = 0;
	}
}

/* ---- the title ---- */

struct title { struct buf text; int open; };

static void title_start(void *ctx, const char *name, const struct xml_attrs *a)
{
	struct title *t = ctx;

	(void)a;
	t->open = strcmp(name, "dc:title") == 0;
}

static void title_end(void *ctx, const char *name)
{
	struct title *t = ctx;

	(void)name;
	t->open = 0;
}

static void title_text(void *ctx, const char *s, size_t len)
{
	struct title *t = ctx;

	if (t->open)
		buf_put(&t->text, s, len);
}

int office_title(struct extracted *x, const char *member, const char *text, size_t len, struct err *e)
{
	static const struct xml_ns namespaces[] = { { "http://purl.org/dc/elements/1.1/", "dc" }, { NULL, NULL } };
	struct title t = { .open = 0 };
	struct xml_handler h = { &t, namespaces, title_start, title_end, title_text, NULL };
	int rc;

	buf_init(&t.text, TITLE_MAX);
	rc = office_parse(x, member, text, len, &h, e);
	extracted_title(x, buf_cstr(&t.text), t.text.len);
	buf_clear(&t.text);
	return rc;
}

/* ---- numbers ---- */

static void put_roman(struct buf *out, long n, int upper)
{
	static const struct { int value; const char *lower, *upper; } steps[] = {
		{ 1000, "m", "M" }, { 900, "cm", "CM" }, { 500, "d", "D" }, { 400, "cd", "CD" }, { 100, "c", "C" },
		{ 90, "xc", "XC" }, { 50, "l", "L" }, { 40, "xl", "XL" }, { 10, "x", "X" }, { 9, "ix", "IX" }, { 5, "v", "V" },
		{ 4, "iv", "IV" }, { 1, "i", "I" },
	};

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		for (; n >= steps[i].value; n -= steps[i].value)
			buf_puts(out, upper ? steps[i].upper : steps[i].lower);
}

void office_number(struct buf *out, long n, const char *format)
{
	int upper = begins(format, "upper");

	if (n > 0 && n < 4000 && strstr(format, "Roman"))
		put_roman(out, n, upper);
	else if (n > 0 && n <= 26 && strstr(format, "Letter"))
		buf_putc(out, (char)((upper ? 'A' : 'a') + n - 1));
	else
		buf_printf(out, "%ld", n);
}
