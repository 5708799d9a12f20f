/* extract.c: owns the choice of an extractor and the builder that every extractor writes through.
 *
 * Choice: by content, with the name as a hint. A PDF, a package of an office document and any other binary format are
 * what their bytes say (libmagic, and what lies in the package), whatever the name says. What is text is read as what
 * the name says it is, as long as the text agrees: mail must begin with a header, a table must have columns, HTML must
 * hold a tag; a page that begins with <!doctype html or <html is HTML under any name. Text under the name of a binary
 * format, and under names that nobody knows, is plain text. Binary files that this build cannot read are skipped.
 *
 * Builder: the open block is gathered raw, then cleaned and appended; its offset is the text's length at that moment.
 * Past text_bytes_max the text is cut at a character and the verdict becomes partial.
 * Threads: no state but what extract_prepare loads. Failure: memory only; everything else is a verdict with a reason. */
#include "ingest/extract.h"

#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "ingest/charset.h"
#include "ingest/clean.h"
#include "ingest/office.h"
#include "ingest/sniff.h"
#include "ingest/xml.h"

enum { TXT_HEADING_CP_MAX = 100, EXT_MAX = 16, CHARSET_NAME_MAX = 48 };

/* ---- builder ---- */

void builder_init(struct builder *b, struct extracted *x, struct err *e)
{
	memset(b, 0, sizeof *b);
	b->x = x;
	b->e = e;
	buf_init(&b->cur, SIZE_MAX);
	buf_init(&b->scratch[0], SIZE_MAX);
	buf_init(&b->scratch[1], SIZE_MAX);
}

void builder_clear(struct builder *b)
{
	buf_clear(&b->cur);
	buf_clear(&b->scratch[0]);
	buf_clear(&b->scratch[1]);
}

int builder_stopped(const struct builder *b)
{
	return b->rc != OK || b->full;
}

void builder_open(struct builder *b, enum block_kind kind, int level, uint32_t group)
{
	builder_close(b);
	b->open = (struct block){ .kind = kind, .level = level, .group = group };
	b->is_open = 1;
	buf_reset(&b->cur);
}

void builder_put(struct builder *b, const char *s, size_t len)
{
	if (b->is_open && !builder_stopped(b) && buf_put(&b->cur, s, len) != OK)
		b->rc = err_set(b->e, E_MEMORY, "block of %zu bytes: out of memory", b->cur.len + len);
}

void builder_mark(struct builder *b, const char *s)
{
	builder_put(b, s, strlen(s));
	b->open.mark = (uint32_t)b->cur.len;
}

static int blocks_grow(struct extracted *x, struct err *e)
{
	size_t cap = x->block_cap ? x->block_cap * 2 : 64;
	struct block *more;

	if (x->block_n < x->block_cap)
		return OK;
	more = cap < SIZE_MAX / sizeof *more ? mem_realloc(x->blocks, cap * sizeof *more) : NULL;
	if (!more)
		return err_set(e, E_MEMORY, "%zu blocks: out of memory", cap);
	x->blocks = more;
	x->block_cap = cap;
	return OK;
}

/* Where clean text is cut so that it fits into room bytes: not inside a character nor before a mark. */
static size_t cut_at(const char *s, size_t len, size_t room)
{
	size_t at = utf8_floor(s, len, room);

	for (int i = 0; i < 64 && at > 0; i++) {
		size_t next = at;

		if (uni_class((uint32_t)utf8_next(s, len, &next)) != UNI_MARK)
			break;
		utf8_prev(s, &at);
	}
	while (at > 0 && strchr(" \t\n", s[at - 1]))
		at--;
	return at;
}

/* Appends the open block's clean text with what goes between it and the block before. */
static int append(struct builder *b, const char *s, size_t len)
{
	struct extracted *x = b->x;
	const struct block *last = x->block_n ? &x->blocks[x->block_n - 1] : NULL;
	const char *gap = !last ? "" : b->open.group && last->group == b->open.group ? "\n" : "\n\n";
	size_t room = x->text.max - x->text.len;
	struct block *k;
	int rc;

	if (len > room || strlen(gap) > room - len) {
		b->full = 1;
		extracted_note(x, EXTRACT_PARTIAL, "text cut at ingest.text_bytes_max (%zu bytes)", x->text.max);
		len = room > strlen(gap) ? cut_at(s, len, room - strlen(gap)) : 0;
		if (len <= b->open.mark)
			return OK;
	}
	rc = blocks_grow(x, b->e);
	if (rc != OK)
		return rc;
	if (buf_puts(&x->text, gap) != OK || buf_put(&x->text, s, len) != OK)
		return err_set(b->e, E_MEMORY, "text of %zu bytes: out of memory", x->text.len + len);
	k = &x->blocks[x->block_n++];
	*k = b->open;
	k->off = x->text.len - len;
	k->len = len;
	return OK;
}

void builder_close(struct builder *b)
{
	int was_open = b->is_open;

	b->is_open = 0;
	if (!was_open || builder_stopped(b))
		return;
	if (b->cur.len <= b->open.mark || clean_is_blank(b->cur.data + b->open.mark, b->cur.len - b->open.mark))
		return;
	buf_reset(&b->scratch[1]);
	b->rc = clean_put(b->cur.data, b->cur.len, &b->scratch[1], &b->scratch[0], b->e);
	if (b->rc == OK && b->scratch[1].len > b->open.mark)
		b->rc = append(b, b->scratch[1].data, b->scratch[1].len);
}

/* ---- the document ---- */

void extracted_note(struct extracted *x, int verdict, const char *fmt, ...)
{
	size_t n = strlen(x->reason);
	va_list ap;

	if (verdict > x->verdict)
		x->verdict = verdict;
	if (n > 0 && n + 2 < sizeof x->reason) {
		memcpy(x->reason + n, "; ", 3);
		n += 2;
	}
	va_start(ap, fmt);
	vsnprintf(x->reason + n, sizeof x->reason - n, fmt, ap);
	va_end(ap);
}

void extracted_title(struct extracted *x, const char *s, size_t len)
{
	struct buf clean, scratch;
	size_t n = 0;

	if (clean_is_blank(s, len))
		return;
	buf_init(&clean, SIZE_MAX);
	buf_init(&scratch, SIZE_MAX);
	if (clean_put(s, len, &clean, &scratch, NULL) == OK && clean.len > 0) {
		int space = 0;

		for (size_t i = 0; i < clean.len && n < TITLE_MAX - 2; i++) {   /* white space to single spaces */
			if (strchr(" \t\n", clean.data[i])) {
				space = n > 0;
				continue;
			}
			if (space)
				x->title[n++] = ' ';
			space = 0;
			x->title[n++] = clean.data[i];
		}
		while (n > 0 && !utf8_valid(x->title, n))               /* a character that was cut */
			n--;
		x->title[n] = 0;
	}
	buf_clear(&clean);
	buf_clear(&scratch);
}

static void extracted_init(struct extracted *x, size_t text_bytes_max)
{
	memset(x, 0, sizeof *x);
	buf_init(&x->text, text_bytes_max < UINT32_MAX ? text_bytes_max : UINT32_MAX);
	x->type = "txt";
}

void extracted_clear(struct extracted *x)
{
	buf_clear(&x->text);
	mem_free(x->blocks);
	x->blocks = NULL;
	x->block_n = x->block_cap = 0;
	for (size_t i = 0; i < x->part_n; i++) {
		mem_free(x->parts[i].name);
		mem_free(x->parts[i].data);
	}
	mem_free(x->parts);
	x->parts = NULL;
	x->part_n = 0;
}

void extracted_drop(struct extracted *x, const char *reason)
{
	buf_reset(&x->text);
	x->block_n = 0;
	x->title[0] = x->reason[0] = 0;
	extracted_note(x, EXTRACT_SKIPPED, "%s", reason);
}

/* ---- plain text ---- */

/* A short first line with an empty line behind it names what follows. */
static int is_txt_heading(const char *s, size_t len)
{
	return !memchr(s, '\n', len) && utf8_count(s, len) <= TXT_HEADING_CP_MAX && !strchr(".,;:", s[len - 1]);
}

/* Ranges of text between blank lines. Returns 0 at the end. */
static int paragraph_next(const char *s, size_t len, size_t *pos, size_t *start, size_t *end)
{
	size_t i = *pos;
	int inside = 0;

	while (i < len) {
		const char *nl = memchr(s + i, '\n', len - i);
		size_t line_end = nl ? (size_t)(nl - s) : len;

		if (!clean_is_blank(s + i, line_end - i)) {
			*start = inside ? *start : i;
			*end = line_end;
			inside = 1;
		} else if (inside) {
			break;
		}
		i = line_end + 1;
	}
	*pos = i < len ? i : len;
	return inside;
}

void extract_txt(struct builder *b, const char *text, size_t len)
{
	struct buf lines;
	size_t pos = 0, start = 0, end = 0, more_start, more_end, n = 0;

	buf_init(&lines, SIZE_MAX);
	b->rc = clean_put(text, len, &lines, &b->scratch[0], b->e);     /* one kind of line end to split at */
	while (!builder_stopped(b) && paragraph_next(lines.data ? lines.data : "", lines.len, &pos, &start, &end)) {
		size_t look = pos;
		int heading = n++ == 0 && is_txt_heading(lines.data + start, end - start)
			&& paragraph_next(lines.data, lines.len, &look, &more_start, &more_end);

		if (heading) {                                      /* without the signs of reStructuredText's kin */
			size_t skip = strspn(lines.data + start, "=*# ");

			extracted_title(b->x, lines.data + start + (skip < end - start ? skip : 0),
				end - start - (skip < end - start ? skip : 0));
		}
		builder_open(b, heading ? BLOCK_HEADING : BLOCK_PARAGRAPH, heading, 0);
		builder_put(b, lines.data + start, end - start);
		builder_close(b);
	}
	buf_clear(&lines);
}

/* ---- which extractor ---- */

static int ext_in(const char *ext, const char *list)
{
	char key[EXT_MAX + 3];

	if (!*ext || strlen(ext) > EXT_MAX)
		return 0;
	snprintf(key, sizeof key, " %s ", ext);
	return strcasestr(list, key) != NULL;
}

/* Binary formats that people know by these names, and formats of text that is not there to be read. */
static const char not_supported[] = " doc dot dotx xls xlsx xlsm ppt pptx ods odp rtf epub mobi msg pst zip tar gz tgz bz2"
	" xz 7z rar png jpg jpeg gif bmp tif tiff webp heic ico mp3 mp4 m4a wav flac ogg avi mov mkv webm exe dll so a o class"
	" jar pyc wasm bin iso img dmg sqlite db parquet ttf otf woff woff2 safetensors gguf mbox svg ps eps ";
static const char not_reading[] = " mbox svg ps eps rtf ";
static const char html_names[] = " html htm xhtml xht ", xml_names[] = " xml ", csv_names[] = " csv tsv tab ";
enum { MAIL_FIELDS_MIN = 3 };   /* header fields that make mail of a file without a name for it */

/* The first character that is not white space begins one of these, whatever the case. */
static int begins_html(const char *s, size_t len)
{
	size_t i = 0;

	if (len >= 3 && memcmp(s, "\xEF\xBB\xBF", 3) == 0)
		i = 3;
	while (i < len && strchr(" \t\r\n\f", s[i]) && s[i])
		i++;
	return (len - i >= 14 && strncasecmp(s + i, "<!doctype html", 14) == 0)
		|| (len - i >= 6 && strncasecmp(s + i, "<html", 5) == 0 && strchr("> \t\r\n", s[i + 5]));
}

static int has_tag(const char *s, size_t len)
{
	const char *end = s + len;

	for (const char *p = s; p < end && (p = memchr(p, '<', (size_t)(end - p))); p++)
		if (p + 1 < end && ((p[1] >= 'a' && p[1] <= 'z') || (p[1] >= 'A' && p[1] <= 'Z') || p[1] == '!' || p[1] == '/'))
			return 1;
	return 0;
}

/* A whole file of XML, by its declaration. */
static int begins_xml(const char *s, size_t len)
{
	return len >= 6 && memcmp(s, "<?xml", 5) == 0 && strchr(" \t\r\n", s[5]);
}

/* Sets x->type of text. */
static void choose_type(struct extracted *x, const char *ext, const char *text, size_t len)
{
	if (begins_html(text, len) || (ext_in(ext, html_names) && has_tag(text, len)))
		x->type = "html";
	else if (ext_in(ext, " md markdown mdown mkd mkdn "))
		x->type = "md";
	else if (ext_in(ext, csv_names))
		x->type = "csv";
	else if ((ext_in(ext, xml_names) && has_tag(text, len)) || begins_xml(text, len))
		x->type = "xml";
	else
		x->type = "txt";
}

static void run_extractor(struct builder *b, const char *text, size_t len)
{
	const char *type = b->x->type;

	if (strcmp(type, "html") == 0)
		extract_html(b, text, len);
	else if (strcmp(type, "md") == 0)
		extract_md(b, text, len);
	else if (strcmp(type, "xml") == 0)
		extract_xml(b, text, len);
	else if (strcmp(type, "docx") == 0)
		extract_docx(b, text, len);
	else if (strcmp(type, "odt") == 0)
		extract_odt(b, text, len);
	else if (strcmp(type, "eml") == 0)
		extract_eml(b, text, len);
	else if (strcmp(type, "csv") != 0 || !extract_csv(b, text, len)) {
		b->x->type = "txt";
		extract_txt(b, text, len);
	}
	builder_close(b);
}

/* Extracts by x->type from text, or from the bytes of a format that is none, and says so when nothing is left of it. */
static int extract_typed(struct extracted *x, const char *text, size_t len, struct err *e)
{
	struct builder b;

	builder_init(&b, x, e);
	run_extractor(&b, text, len);
	builder_clear(&b);
	if (b.rc == OK && x->block_n == 0 && x->verdict < EXTRACT_SKIPPED) {
		int bad = x->reason[0] != 0;

		if (!bad)
			extracted_note(x, EXTRACT_SKIPPED, clean_is_blank(text, len) ? "empty" : "no text");
		else
			extracted_note(x, EXTRACT_FAILED, "no text could be read");
	}
	return b.rc;
}

/* A file that is not text: its type when it can be read, else why it is skipped. */
static int choose_binary(struct extracted *x, const char *ext, const struct sniff *s, const char *data, size_t len,
	struct err *e)
{
	static const char office_lock[] = "E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g";
	enum office_kind kind = OFFICE_OTHER;
	int rc = OK;

	if (len > 4 && memcmp(data, "PK", 2) == 0 && (data[2] == 3 || data[2] == 5))
		rc = office_kind(data, len, &kind, e);
	if (rc != OK)
		return rc;
	if (kind == OFFICE_DOCX || kind == OFFICE_ODT)
		x->type = kind == OFFICE_DOCX ? "docx" : "odt";
	else if (kind == OFFICE_ENCRYPTED || (len > 8 && memcmp(data, "\320\317\021\340\241\261\032\341", 8) == 0
		&& memmem(data, len, office_lock, sizeof office_lock - 1)))
		extracted_note(x, EXTRACT_SKIPPED, "encrypted");
	else if (kind == OFFICE_DAMAGED && ext_in(ext, " docx odt "))
		extracted_note(x, EXTRACT_FAILED, "the archive is damaged");
	else if (ext_in(ext, not_supported))
		extracted_note(x, EXTRACT_SKIPPED, "type not supported: .%s", ext);
	else if (s->words[0])
		extracted_note(x, EXTRACT_SKIPPED, "binary (looks like %s)", s->words);
	else
		extracted_note(x, EXTRACT_SKIPPED, "binary");
	return OK;
}

static int extract_text(struct extracted *x, const char *ext, const char *data, size_t len, const struct sniff *s,
	struct err *e)
{
	char declared[CHARSET_NAME_MAX];
	struct charset_result cs = { 0 };
	struct buf text;
	int has_declared = 0, rc;

	buf_init(&text, SIZE_MAX);
	if (ext_in(ext, html_names) || ext_in(ext, xml_names) || begins_html(data, len) || begins_xml(data, len))
		has_declared = html_declared_charset(data, len, declared, sizeof declared);
	rc = charset_decode(data, len, has_declared ? declared : NULL, &text, &cs, e);
	if (rc == OK && cs.binary) {
		rc = choose_binary(x, ext, s, data, len, e);
		if (rc == OK && x->verdict < EXTRACT_SKIPPED)
			rc = extract_typed(x, data, len, e);
	} else if (rc == OK) {
		if (cs.note[0])
			extracted_note(x, EXTRACT_PARTIAL, "%s", cs.note);
		choose_type(x, ext, buf_cstr(&text), text.len);
		rc = extract_typed(x, buf_cstr(&text), text.len, e);
	}
	buf_clear(&text);
	return rc;
}

int extract_file(struct extracted *x, const char *name, const char *data, size_t len, size_t text_bytes_max,
	struct err *e)
{
	const char *ext = path_ext(name);
	struct sniff s;

	extract_prepare(NULL);
	extracted_init(x, text_bytes_max);
	if (len == 0) {
		extracted_note(x, EXTRACT_SKIPPED, "empty");
		return OK;
	}
	sniff(data, len, &s);
	if (strcmp(s.mime, "application/pdf") == 0) {
		x->type = "pdf";
		x->needs_boxes = 1;
		extracted_note(x, EXTRACT_SKIPPED, "pages not read");     /* what stands when no boxes follow */
		return OK;
	}
	if (ext_in(ext, not_reading) || strcmp(s.mime, "text/rtf") == 0 || strcmp(s.mime, "application/postscript") == 0) {
		if (ext_in(ext, not_reading))
			extracted_note(x, EXTRACT_SKIPPED, "type not supported: .%s", ext);
		else
			extracted_note(x, EXTRACT_SKIPPED, "type not supported: %s", s.words);
		return OK;
	}
	if (eml_looks_like(data, len) >= (ext_in(ext, " eml ") ? 1 : *ext ? INT_MAX : MAIL_FIELDS_MIN)) {
		x->type = "eml";
		return extract_typed(x, data, len, e);
	}
	return extract_text(x, ext, data, len, &s, e);
}

int extract_plain(struct extracted *x, const char *data, size_t len, size_t text_bytes_max, struct err *e)
{
	extracted_init(x, text_bytes_max);
	if (!utf8_valid(data, len))
		extracted_note(x, EXTRACT_PARTIAL, "not valid UTF-8: broken bytes are replaced");
	return extract_typed(x, data, len, e);
}

int extract_pdf(struct extracted *x, const char *name, const char *boxes, size_t len, size_t text_bytes_max,
	struct err *e)
{
	struct builder b;

	extracted_clear(x);
	extracted_init(x, text_bytes_max);
	x->type = "pdf";
	builder_init(&b, x, e);
	extract_boxes(&b, name, boxes, len);
	builder_clear(&b);
	if (b.rc == OK && x->block_n == 0 && x->verdict < EXTRACT_SKIPPED)
		extracted_drop(x, "no text (scanned?)");
	return b.rc;
}

/* ---- set-up ---- */

static pthread_mutex_t prepare_lock = PTHREAD_MUTEX_INITIALIZER;
static int is_prepared;

int extract_prepare(struct err *e)
{
	int rc = OK;

	pthread_mutex_lock(&prepare_lock);
	if (!is_prepared) {
		charset_prepare();
		xml_prepare();
		eml_prepare();
		rc = sniff_prepare(e);
		is_prepared = 1;
	}
	pthread_mutex_unlock(&prepare_lock);
	return rc;
}

void extract_finish(void)
{
	pthread_mutex_lock(&prepare_lock);
	if (is_prepared) {
		sniff_finish();
		xml_finish();
		charset_finish();
		is_prepared = 0;
	}
	pthread_mutex_unlock(&prepare_lock);
}
