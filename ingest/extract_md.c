/* extract_md.c: Markdown to blocks. Owns the way to md4c (CommonMark with GitHub's tables, strikethrough, tasks).
 *
 * md4c calls back for every block, span and run of text; a small state machine turns that into builder calls. Links
 * keep their text and images their alternative text (md4c reports both as plain text, addresses only as details), so
 * nothing has to be done for them. Raw HTML blocks go through extract_html_part; inline tags are dropped, <br> breaks
 * the line. A table's line of dashes that is shorter than md4c asks for is widened first. Front matter between "---"
 * lines at the very start is not text; its title: is the title. Threads: one document, one thread. Failure: md4c's own
 * (memory) and the builder's. */
#include "ingest/extract.h"

#include <md4c.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"

enum { LIST_DEPTH_MAX = 16, FRONT_LINES_MAX = 400 };

struct list { int ordered; unsigned next; char delimiter; };

struct md {
	struct builder *b;
	struct list lists[LIST_DEPTH_MAX];      /* deeper ones share the last */
	int depth;              /* open lists */
	int quotes;             /* open block quotes */
	int in_item;            /* 1: the open block is an item's own and its first paragraph belongs to it */
	int in_html;
	unsigned cell;          /* cells of the open row so far */
	uint32_t group;         /* of the outermost open list or table */
	uint32_t groups;
	struct buf html;        /* the open raw HTML block */
	struct buf entity;
};

/* Text outside any block of its own (a tight list item after a nested list) opens one. */
static void need_block(struct md *m)
{
	if (!m->b->is_open)
		builder_open(m->b, m->quotes ? BLOCK_QUOTE : BLOCK_PARAGRAPH, 0, 0);
}

static void item_open(struct md *m, const MD_BLOCK_LI_DETAIL *d)
{
	struct list *l = &m->lists[(m->depth < LIST_DEPTH_MAX ? m->depth : LIST_DEPTH_MAX) - 1];
	char mark[64];

	builder_open(m->b, BLOCK_LIST_ITEM, 0, m->group);
	snprintf(mark, sizeof mark, "%*s", 2 * ((m->depth < LIST_DEPTH_MAX ? m->depth : LIST_DEPTH_MAX) - 1), "");
	builder_mark(m->b, mark);
	if (l->ordered) {
		snprintf(mark, sizeof mark, "%u%c ", l->next++, l->delimiter);
		builder_put(m->b, mark, strlen(mark));
	} else {
		builder_mark(m->b, "- ");
	}
	if (d->is_task)
		builder_put(m->b, d->task_mark == ' ' ? "[ ] " : "[x] ", 4);
	m->in_item = 1;
}

static void list_open(struct md *m, int ordered, unsigned start, char delimiter)
{
	builder_close(m->b);
	m->in_item = 0;
	if (m->depth++ == 0)
		m->group = ++m->groups;
	if (m->depth <= LIST_DEPTH_MAX)
		m->lists[m->depth - 1] = (struct list){ ordered, start, delimiter };
}

static int enter_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
	struct md *m = ctx;
	const MD_BLOCK_OL_DETAIL *ol = detail;

	switch (type) {
	case MD_BLOCK_QUOTE:
		builder_close(m->b);
		m->quotes++;
		break;
	case MD_BLOCK_UL:
		list_open(m, 0, 0, 0);
		break;
	case MD_BLOCK_OL:
		list_open(m, 1, ol->start, ol->mark_delimiter);
		break;
	case MD_BLOCK_LI:
		item_open(m, detail);
		break;
	case MD_BLOCK_H:
		builder_open(m->b, BLOCK_HEADING, (int)((MD_BLOCK_H_DETAIL *)detail)->level, 0);
		break;
	case MD_BLOCK_CODE:
		builder_open(m->b, BLOCK_CODE, 0, 0);
		break;
	case MD_BLOCK_HTML:
		m->in_html = 1;
		buf_reset(&m->html);
		break;
	case MD_BLOCK_P:
		if (!m->in_item)
			builder_open(m->b, m->quotes ? BLOCK_QUOTE : BLOCK_PARAGRAPH, 0, 0);
		m->in_item = 0;
		break;
	case MD_BLOCK_TABLE:
		builder_close(m->b);
		if (m->depth == 0)
			m->group = ++m->groups;
		break;
	case MD_BLOCK_TR:
		builder_open(m->b, BLOCK_TABLE_ROW, 0, m->group);
		m->cell = 0;
		break;
	case MD_BLOCK_TH: case MD_BLOCK_TD:
		if (m->cell++ > 0)
			builder_put(m->b, " | ", 3);
		break;
	default:
		break;
	}
	return builder_stopped(m->b);
}

/* Raw HTML between Markdown blocks. */
static void html_close(struct md *m)
{
	m->in_html = 0;
	if (m->html.len > 0) {
		builder_close(m->b);
		extract_html_part(m->b, m->html.data, m->html.len);
		m->in_item = 0;
	}
}

static int leave_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
	struct md *m = ctx;

	(void)detail;
	switch (type) {
	case MD_BLOCK_QUOTE:
		builder_close(m->b);
		m->quotes--;
		break;
	case MD_BLOCK_UL: case MD_BLOCK_OL:
		builder_close(m->b);
		m->depth--;
		break;
	case MD_BLOCK_LI:
		builder_close(m->b);
		m->in_item = 0;
		break;
	case MD_BLOCK_H:
		if (m->b->open.level == 1 && !m->b->x->title[0] && m->b->is_open)
			extracted_title(m->b->x, m->b->cur.data ? m->b->cur.data : "", m->b->cur.len);
		builder_close(m->b);
		break;
	case MD_BLOCK_CODE: case MD_BLOCK_P: case MD_BLOCK_TR:
		builder_close(m->b);
		break;
	case MD_BLOCK_HTML:
		html_close(m);
		break;
	default:
		break;
	}
	return builder_stopped(m->b);
}

static int enter_span(MD_SPANTYPE type, void *detail, void *ctx)
{
	(void)type;
	(void)detail;
	return builder_stopped(((struct md *)ctx)->b);
}

static int is_br(const char *s, size_t len)
{
	return len >= 4 && strncasecmp(s, "<br", 3) == 0 && strchr(" />\t", s[3]) && s[3];
}

static int put_text(MD_TEXTTYPE type, const MD_CHAR *s, MD_SIZE len, void *ctx)
{
	struct md *m = ctx;

	if (m->in_html) {
		if (buf_put(&m->html, s, len) != OK)
			m->b->rc = err_set(m->b->e, E_MEMORY, "HTML block: out of memory");
		return builder_stopped(m->b);
	}
	if (type == MD_TEXT_HTML && !is_br(s, len))
		return builder_stopped(m->b);
	need_block(m);
	switch (type) {
	case MD_TEXT_SOFTBR:
		builder_put(m->b, " ", 1);
		break;
	case MD_TEXT_BR: case MD_TEXT_HTML:
		builder_put(m->b, m->b->open.kind == BLOCK_PARAGRAPH || m->b->open.kind == BLOCK_QUOTE ? "\n" : " ", 1);
		break;
	case MD_TEXT_ENTITY:
		buf_reset(&m->entity);
		html_entity_put(&m->entity, s, len);
		builder_put(m->b, buf_cstr(&m->entity), m->entity.len);
		break;
	case MD_TEXT_NULLCHAR:
		break;
	default:
		builder_put(m->b, s, len);
		break;
	}
	return builder_stopped(m->b);
}

/* "title: …" of front matter, quotes removed. */
static void front_title(struct builder *b, const char *s, size_t len)
{
	size_t i = 6;

	if (len <= 6 || strncasecmp(s, "title:", 6) != 0)
		return;
	while (i < len && (s[i] == ' ' || s[i] == '\t'))
		i++;
	while (len > i && (s[len - 1] == ' ' || s[len - 1] == '\t' || s[len - 1] == '\r'))
		len--;
	if (len - i >= 2 && (s[i] == '"' || s[i] == '\'') && s[len - 1] == s[i]) {
		i++;
		len--;
	}
	extracted_title(b->x, s + i, len - i);
}

static size_t line_len(const char *s, size_t len)
{
	const char *nl = memchr(s, '\n', len);

	return nl ? (size_t)(nl - s) : len;
}

static int is_fence(const char *s, size_t n, const char *fence)
{
	while (n > 3 && (s[n - 1] == ' ' || s[n - 1] == '\r' || s[n - 1] == '\t'))
		n--;
	return n == 3 && memcmp(s, fence, 3) == 0;
}

/* Bytes of front matter at the start, 0 when there is none: "---", lines whose first has a ":", "---" or "...". */
static size_t front_matter(struct builder *b, const char *s, size_t len)
{
	size_t n = line_len(s, len), at = n + 1;

	if (!is_fence(s, n, "---"))
		return 0;
	for (int line = 0; at < len && line < FRONT_LINES_MAX; line++) {
		n = line_len(s + at, len - at);
		if (is_fence(s + at, n, "---") || is_fence(s + at, n, "...")) {
			size_t end = at + n < len ? at + n + 1 : len;

			for (size_t i = line_len(s, len) + 1; i < at; i += line_len(s + i, len - i) + 1)
				if (!b->x->title[0])
					front_title(b, s + i, line_len(s + i, len - i));
			return end;
		}
		if (line == 0 && !memchr(s + at, ':', n) && s[at] != '#')
			return 0;
		at += n + 1;
	}
	return 0;
}

/* ---- tables that md4c does not see ---- */

/* Bytes before the text of a line: blanks, quote marks, the marks of list items. */
static size_t line_prefix(const char *s, size_t n)
{
	size_t i = 0, digits;

	for (;;) {
		while (i < n && (s[i] == ' ' || s[i] == '\t' || s[i] == '>'))
			i++;
		for (digits = 0; i + digits < n && s[i + digits] >= '0' && s[i + digits] <= '9'; digits++)
			continue;
		if (digits == 0 && i + 1 < n && strchr("-*+", s[i]) && s[i + 1] == ' ')
			i += 2;
		else if (digits > 0 && i + digits + 1 < n && strchr(".)", s[i + digits]) && s[i + digits + 1] == ' ')
			i += digits + 2;
		else
			return i;
	}
}

/* Keeps track of fenced code: *fence is the open one's character, *run its length, 0 outside. 1: the line is code. */
static int is_code(const char *s, size_t n, char *fence, size_t *run)
{
	size_t at = line_prefix(s, n), same = 0;

	if (at < n && (s[at] == '`' || s[at] == '~'))
		while (at + same < n && s[at + same] == s[at])
			same++;
	if (*run == 0 && same >= 3 && (s[at] == '~' || !memchr(s + at + same, '`', n - at - same))) {
		*fence = s[at];
		*run = same;
	} else if (*run > 0 && same >= *run && s[at] == *fence && strspn(s + at + same, " \t\r") >= n - at - same) {
		*run = 0;
	} else {
		return *run > 0;
	}
	return 1;
}

/* The line under a table's header, as "|-|:-:|", with a cell that has less than three characters. */
static int is_short_underline(const char *s, size_t n)
{
	size_t i = 0, bars = 0, cells = 0, narrow = 0;

	while (i < n && (s[i] == ' ' || s[i] == '>'))
		i++;
	if (n - i >= 4 && i >= 4 && memchr(s, '>', i) == NULL)
		return 0;                                       /* indented code, perhaps: left as it is */
	while (i < n && s[i] != '\r') {
		size_t from = i, dashes = 0;

		i += s[i] == ':';
		for (; i < n && s[i] == '-'; i++)
			dashes++;
		i += dashes > 0 && i < n && s[i] == ':';
		cells += dashes > 0;
		narrow += dashes > 0 && i - from < 3;
		if (dashes == 0 && i > from)
			return 0;
		while (i < n && (s[i] == ' ' || s[i] == '\t'))
			i++;
		if (i < n && s[i] == '|')
			bars++, i++;
		else if (i < n && s[i] != '\r')
			return 0;
		while (i < n && (s[i] == ' ' || s[i] == '\t'))
			i++;
	}
	return bars > 0 && cells > 0 && narrow > 0;
}

/* GitHub takes one dash for a column, md4c asks for three characters: writes them. */
static void underline_widen(const char *s, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		buf_putc(out, s[i]);
		if (s[i] == '-' && (i + 1 == n || s[i + 1] != '-'))
			buf_puts(out, "--");
	}
}

/* Text with those lines mended, in out; 0: there are none, and out is empty. */
static int tables_mend(const char *text, size_t len, struct buf *out)
{
	size_t at = 0, done = 0, run = 0;
	int bar = 0, bar_before = 0;        /* in the line above, in the one above that */
	char fence = 0;

	while (at < len) {
		size_t n = line_len(text + at, len - at);

		int code = is_code(text + at, n, &fence, &run);

		if (!code && bar && !bar_before && is_short_underline(text + at, n)) {  /* not a row of dashes */
			buf_put(out, text + done, at - done);
			underline_widen(text + at, n, out);
			done = at + n;
		}
		bar_before = bar;
		bar = !code && memchr(text + at, '|', n);
		at += n + 1;
	}
	if (done > 0)
		buf_put(out, text + done, len - done);
	return done > 0;
}

void extract_md(struct builder *b, const char *text, size_t len)
{
	static const MD_PARSER parser = {
		.flags = MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH | MD_FLAG_TASKLISTS | MD_FLAG_COLLAPSEWHITESPACE,
		.enter_block = enter_block, .leave_block = leave_block, .enter_span = enter_span, .leave_span = enter_span,
		.text = put_text,
	};
	struct md m = { .b = b };
	size_t skip = front_matter(b, text, len);
	struct buf mended;

	if (len - skip > UINT32_MAX / 8) {                  /* mending may make it three times as long */
		extracted_note(b->x, EXTRACT_FAILED, "Markdown of %zu bytes is too long", len);
		return;
	}
	buf_init(&mended, SIZE_MAX);
	text += skip;
	len -= skip;
	if (tables_mend(text, len, &mended)) {
		text = buf_cstr(&mended);
		len = mended.len;
	}
	buf_init(&m.html, SIZE_MAX);
	buf_init(&m.entity, SIZE_MAX);
	if ((buf_failed(&mended) || md_parse(text, (MD_SIZE)len, &parser, &m) == -1) && !builder_stopped(b))
		b->rc = err_set(b->e, E_MEMORY, "Markdown: out of memory");
	builder_close(b);
	buf_clear(&m.html);
	buf_clear(&m.entity);
	buf_clear(&mended);
}
