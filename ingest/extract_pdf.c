/* extract_pdf.c: a PDF's pages to blocks: what is a paragraph, a heading, an item, a row.
 *
 * Poppler's order of blocks is kept (it follows columns). Inside a block a paragraph ends at an item's bullet, at
 * another size, at a wider gap between lines, at an indented line or behind a short line that ends a sentence. It goes
 * on over the border of a block, column or page when the text goes on in lower case; lines are joined by a blank, or by
 * nothing where a hyphen parts a word (unless the document writes it so elsewhere) or the script has no blanks. A block of the text belongs to one page: of
 * a paragraph that goes on over a page break, the sentence that straddles it stays on the page where it begins, and
 * what follows is the next page's. Headings are short lines larger than the body (levels by size), and numbered ones
 * ("3.2 Title"). Running headers and page numbers are gone (pdfpage.c), tables are rows (pdftable.c).
 * Threads: one document, one thread. Failure: memory. */
#include "ingest/extract.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/sentence.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "ingest/clean.h"
#include "ingest/pdfpage.h"

enum { HEADING_LEVELS = 6, HEADING_CP_MAX = 160, HEADING_LINES_MAX = 4, BREAKS_MAX = 16, NUMBERED_CP_MAX = 90, TABLE_WRITTEN = -1 };
#define HEADING_SIZE 1.15f      /* times the body's */
#define SAME_SIZE 1.12f

struct writer {
	struct pdf *p;
	struct builder *b;
	const char *name;
	float sizes[HEADING_LEVELS];    /* of headings, largest first */
	int size_n;
	struct buf text;                /* the open paragraph */
	struct buf cell;
	float size;                     /* of it */
	const struct pdf_line *last;    /* its last line so far */
	float left, right;              /* of the block that one lies in */
	int lines, is_item, is_bulleted;
	size_t mark;                    /* bytes of the bullet at its start */
	struct { size_t at; uint32_t page; } breaks[BREAKS_MAX];        /* where it comes to a page; the first at 0 */
	int break_n;
	uint32_t groups;
	int in_list;
	uint64_t *hyphens; size_t hyphen_n;     /* words that the document writes with a hyphen */
};

/* ---- sizes of headings ---- */

static void sizes_put(struct writer *w, float size)
{
	int i = 0;

	while (i < w->size_n && w->sizes[i] > size * 1.06f)
		i++;
	if (i < w->size_n && w->sizes[i] * 1.06f > size)
		return;
	if (w->size_n == HEADING_LEVELS && i == HEADING_LEVELS)
		return;
	w->size_n += w->size_n < HEADING_LEVELS;
	for (int k = w->size_n - 1; k > i; k--)
		w->sizes[k] = w->sizes[k - 1];
	w->sizes[i] = size;
}

static void sizes_of(struct writer *w)
{
	const struct pdf *p = w->p;

	for (size_t i = 0; i < p->line_n; i++)
		if (!p->lines[i].dropped && !p->lines[i].table && p->lines[i].size > p->body * HEADING_SIZE
			&& p->lines[i].word_n > 0 && p->blocks[p->lines[i].block].line_n <= HEADING_LINES_MAX)
			sizes_put(w, p->lines[i].size);
}

/* "3.2 Leave" with at least two numbers: the depth; else 0. */
static int numbered_depth(const char *s, size_t len)
{
	size_t i = 0;
	int depth = 0;

	while (i < len && s[i] >= '0' && s[i] <= '9') {
		size_t from = i;

		while (i < len && i - from < 3 && s[i] >= '0' && s[i] <= '9')
			i++;
		depth++;
		if (i < len && s[i] == '.')
			i++;
		else
			break;
	}
	if (depth < 2 || i + 1 >= len || s[i] != ' ' || !((s[i + 1] >= 'A' && s[i + 1] <= 'Z') || (unsigned char)s[i + 1] >= 0xC3))
		return 0;
	return strchr(".,;:", s[len - 1]) || utf8_count(s, len) > NUMBERED_CP_MAX ? 0 : depth;
}

static int has_letter(const char *s, size_t len)
{
	for (size_t i = 0; i < len; ) {
		int32_t c = utf8_next(s, len, &i);

		if (c > 0 && uni_class((uint32_t)c) == UNI_LETTER)
			return 1;
	}
	return 0;
}

static int heading_level(const struct writer *w)
{
	const char *s = buf_cstr(&w->text);
	size_t len = w->text.len;
	int level = 0;

	if (w->is_item || w->lines > HEADING_LINES_MAX || len == 0 || utf8_count(s, len) > HEADING_CP_MAX || !has_letter(s, len))
		return 0;
	if (w->size > w->p->body * HEADING_SIZE) {
		while (level < w->size_n - 1 && w->sizes[level] > w->size * 1.06f)
			level++;
		return s[len - 1] == '.' && memchr(s, ' ', len) && w->lines > 1 ? 0 : level + 1;
	}
	if (w->lines == 1 && w->size > w->p->body / SAME_SIZE)
		level = numbered_depth(s, len);
	return level > HEADING_LEVELS ? HEADING_LEVELS : level;
}

/* ---- paragraphs ---- */

static void piece_put(struct writer *w, enum block_kind kind, int level, uint32_t page, const char *s, size_t len, size_t mark)
{
	struct builder *b = w->b;

	if (clean_is_blank(s, len))
		return;
	if (kind == BLOCK_LIST_ITEM && !w->in_list)
		w->groups++;
	builder_open(b, kind, level, kind == BLOCK_LIST_ITEM ? w->groups : 0);
	b->open.page = page + 1;
	w->in_list = kind == BLOCK_LIST_ITEM;
	if (kind == BLOCK_LIST_ITEM && w->is_bulleted)
		builder_mark(b, "- ");
	builder_put(b, s + mark, len - mark);
	builder_close(b);
	if (kind == BLOCK_HEADING && !b->x->title[0] && page < 2)
		extracted_title(b->x, s, len);
}

/* Where the sentence that runs over s[at] ends; at when none does. */
static size_t sentence_over(const char *s, size_t len, size_t at)
{
	size_t pos = 0, start, end;

	while (sentence_next(s, len, &pos, &start, &end))
		if (end > at)
			return start < at ? end : at;
	return at;
}

/* Writes the open paragraph. */
static void flush(struct writer *w)
{
	const char *s = buf_cstr(&w->text);
	size_t len = w->text.len, from = 0;
	int level = w->text.len ? heading_level(w) : 0;
	enum block_kind kind = level ? BLOCK_HEADING : w->is_item ? BLOCK_LIST_ITEM : BLOCK_PARAGRAPH;

	for (int i = 0; i < w->break_n && len > 0; i++) {
		size_t to = i + 1 < w->break_n ? sentence_over(s, len, w->breaks[i + 1].at) : len;

		if (to <= from)
			continue;                                   /* the sentence before goes on over this page */
		piece_put(w, from ? BLOCK_PARAGRAPH : kind, level, w->breaks[i].page, s + from, to - from, from ? 0 : w->mark);
		for (from = to; from < len && s[from] == ' '; from++)
			;
	}
	buf_reset(&w->text);
	w->lines = w->is_item = w->break_n = 0;
	w->last = NULL;
	w->mark = 0;
}

static int32_t first_char(const char *s, size_t len)
{
	size_t i = 0;

	return len ? utf8_next(s, len, &i) : -1;
}

static int is_lower(int32_t c)
{
	return c > 0 && uni_class((uint32_t)c) == UNI_LETTER && uni_toupper((uint32_t)c) != (uint32_t)c
		&& uni_tolower((uint32_t)c) == (uint32_t)c;
}

static int ends_sentence(const char *s, size_t len)
{
	while (len > 0) {
		size_t i = len;
		int32_t c = utf8_prev(s, &i);

		if (c == '"' || c == '\'' || c == ')' || c == ']' || c == 0x201D || c == 0x2019 || c == 0xBB) {
			len = i;
			continue;
		}
		return c > 0 && (c == '.' || c == '!' || c == '?' || c == ':' || c == 0x2026 || c == 0x3002 || c == 0xFF01
			|| c == 0xFF1F || c == 0x061F);
	}
	return 0;
}

static int has_no_blanks(int32_t c)
{
	return c > 0 && (uni_is_cjk((uint32_t)c) || (c >= 0x3000 && c < 0x3100) || (c >= 0xFF00 && c < 0xFFF0));
}

/* ---- words parted at the end of a line ---- */

static uint64_t hash_part(const char *s, size_t len)
{
	uint64_t hash = 1469598103934665603u;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		hash = (hash ^ (c >= 'A' && c <= 'Z' ? c + 32u : c)) * 1099511628211u;
	}
	return hash;
}

static int by_hash(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Which words of the document are written with a hyphen: the hash of what stands in front of it, in order. */
static int hyphens_of(struct writer *w)
{
	const struct pdf *p = w->p;
	size_t n = 0;

	for (int turn = 0; turn < 2; turn++) {
		for (size_t i = 0; i < p->word_n; i++) {
			const char *s = p->text.data + p->words[i].off, *end = s + p->words[i].len;
			const char *hyphen = memchr(s, '-', p->words[i].len);

			if (!hyphen || hyphen == s || hyphen + 1 == end)
				continue;
			if (turn)
				w->hyphens[w->hyphen_n++] = hash_part(s, (size_t)(hyphen - s));
			n++;
		}
		if (turn == 0) {
			w->hyphens = mem_calloc(n + 1, sizeof *w->hyphens);
			if (!w->hyphens)
				return err_set(w->b->e, E_MEMORY, "PDF of %zu words: out of memory", p->word_n);
		}
	}
	qsort(w->hyphens, w->hyphen_n, sizeof *w->hyphens, by_hash);
	return OK;
}

/* Does the text that ends with "twenty-" part a word that the document writes with this hyphen elsewhere? */
static int keeps_hyphen(const struct writer *w, const char *s, size_t len)
{
	size_t from = len;
	uint64_t hash;

	while (from > 0 && !strchr(" \n", s[from - 1]))
		from--;
	hash = hash_part(s + from, len - from);
	return w->hyphen_n > 0 && bsearch(&hash, w->hyphens, w->hyphen_n, sizeof hash, by_hash) != NULL;
}

/* Joins a line's text to the paragraph's. */
static void join(const struct writer *w, struct buf *text, const char *s, size_t len)
{
	size_t i = text->len, before;
	int32_t last = i ? utf8_prev(text->data, &i) : -1, next = first_char(s, len), was;

	before = i;
	if (last == '-' || last == 0x2010 || last == 0xAD) {
		was = before ? utf8_prev(text->data, &before) : -1;
		if (last == 0xAD || (is_lower(next) && was > 0 && uni_class((uint32_t)was) == UNI_LETTER
			&& !keeps_hyphen(w, text->data, i)))
			text->len = i;
	} else if (text->len > 0 && !(has_no_blanks(last) && has_no_blanks(next))) {
		buf_putc(text, ' ');
	}
	buf_put(text, s, len);
}

/* Bytes of the bullet with its blank that s begins with, else 0. */
static size_t bullet_len(const char *s, size_t len)
{
	static const char *const bullets[] = { "•", "●", "○", "◦", "▪", "■", "□", "‣", "⁃", "∙", "·", "–", "—", "-", "*",
		"\xEF\x82\xB7", "\xEF\x82\xA7", "➢", "✓", "❖", "o" };

	for (size_t i = 0; i < sizeof bullets / sizeof *bullets; i++) {
		size_t n = strlen(bullets[i]);

		if (len > n + 1 && memcmp(s, bullets[i], n) == 0 && s[n] == ' ')
			return n + 1;
	}
	return 0;
}

/* "1." "12)" "(3)" "b)" in front of words. */
static int is_numbered(const char *s, size_t len)
{
	size_t i = len > 0 && s[0] == '(', from = i;

	if (i < len && s[i] >= 'a' && s[i] <= 'z')
		return i + 2 < len && s[i + 1] == ')' && s[i + 2] == ' ';
	while (i < len && i - from < 3 && s[i] >= '0' && s[i] <= '9')
		i++;
	return i > from && i + 1 < len && (s[i] == '.' || s[i] == ')') && s[i + 1] == ' ';
}

static int is_near(float a, float b, float times)
{
	return a <= b * times && b <= a * times;
}

/* Does the line l, which follows prev in its block, begin a paragraph? s: its text. */
static int begins_paragraph(const struct writer *w, const struct pdf_line *prev, const struct pdf_line *l, float gap,
	float left, float right, const char *s, size_t len)
{
	float width = right - left, size = l->size > 0 ? l->size : 1;
	int ended = ends_sentence(buf_cstr(&w->text), w->text.len);
	float tail = l->rtl ? prev->x0 - left : right - prev->x1, indent = l->rtl ? right - l->x1 : l->x0 - left;

	if (l->bullet || bullet_len(s, len) > 0 || !is_near(prev->size, l->size, SAME_SIZE))
		return 1;
	if (is_numbered(s, len) && (ended || w->is_item || w->lines == 0))
		return 1;
	if (!l->upright || !prev->upright)
		return ended;
	if (l->y0 - prev->y0 > gap * 1.3f && l->y0 - prev->y0 > size * 1.3f && !is_lower(first_char(s, len)))
		return 1;
	if (ended && tail > width * 0.15f && !is_lower(first_char(s, len)))
		return 1;
	return ended && indent > size * 0.8f && indent < width / 2 && fabsf(prev->x0 - left) < size * 0.5f;
}

static void paragraph_begin(struct writer *w, const struct pdf_line *l, const char *s, size_t len)
{
	flush(w);
	w->mark = bullet_len(s, len);
	w->is_item = l->bullet || w->mark > 0 || is_numbered(s, len);
	w->is_bulleted = l->bullet || w->mark > 0;
	w->size = l->size;
	w->breaks[0].at = 0;
	w->breaks[0].page = l->page;
	w->break_n = 1;
}

/* Does the open paragraph go on with the first line of another block? */
static int goes_on(const struct writer *w, const struct pdf_line *l, const char *s, size_t len)
{
	const char *t = buf_cstr(&w->text);

	if (w->text.len == 0 || !is_near(w->size, l->size, SAME_SIZE) || l->bullet || bullet_len(s, len))
		return 0;
	if (ends_sentence(t, w->text.len))
		return 0;
	if (is_lower(first_char(s, len)))
		return 1;
	/* A full line, and the next one right below it: Poppler parts blocks for reasons of its own. */
	return w->last && w->last->page == l->page && l->upright && !l->rtl && !is_numbered(s, len)
		&& w->last->x1 > w->right - l->size && fabsf(l->x0 - w->left) < l->size && l->y0 > w->last->y0
		&& l->y0 - w->last->y0 < 1.6f * l->size && w->lines > 1 && w->size <= w->p->body * HEADING_SIZE;
}

/* The usual distance between lines of a block. */
static float usual_gap(const struct pdf *p, const struct pdf_block *k)
{
	float least = INFINITY, sum = 0;
	uint32_t n = 0;

	for (uint32_t i = 1; i < k->line_n; i++) {
		float gap = p->lines[k->line + i].y0 - p->lines[k->line + i - 1].y0;

		if (gap > 0) {
			least = gap < least ? gap : least;
			sum += gap;
			n++;
		}
	}
	return n == 0 ? 0 : fminf(sum / (float)n, least * 1.2f);
}

static void block_put(struct writer *w, const struct pdf_block *k, struct buf *line)
{
	const struct pdf *p = w->p;
	const struct pdf_line *prev = NULL;
	float gap = usual_gap(p, k), left = INFINITY, right = -INFINITY;

	for (uint32_t i = 0; i < k->line_n; i++) {
		left = fminf(left, p->lines[k->line + i].x0);
		right = fmaxf(right, p->lines[k->line + i].x1);
	}
	for (uint32_t i = 0; i < k->line_n && !builder_stopped(w->b); i++) {
		const struct pdf_line *l = &p->lines[k->line + i];
		const char *s;
		size_t before;

		if (l->dropped || l->table || l->word_n == 0)
			continue;
		buf_reset(line);
		pdf_words_put(p, l, l->word, l->word_n, line);
		s = buf_cstr(line);
		if (prev ? begins_paragraph(w, prev, l, gap, left, right, s, line->len) : !goes_on(w, l, s, line->len))
			paragraph_begin(w, l, s, line->len);
		before = w->text.len;
		join(w, &w->text, s, line->len);
		if (w->break_n > 0 && w->breaks[w->break_n - 1].page != l->page && w->break_n < BREAKS_MAX) {
			w->breaks[w->break_n].at = before;
			w->breaks[w->break_n++].page = l->page;
		}
		w->lines++;
		w->last = prev = l;
		w->left = left;
		w->right = right;
	}
}

/* ---- tables ---- */

/* Gathers the words of one cell: lines from the top down, as they lie in strips. */
static void cell_gather(struct writer *w, const struct pdf_page *g, int table, int row, int column, struct buf *line)
{
	const struct pdf *p = w->p;

	buf_reset(&w->cell);
	for (uint32_t i = g->line; i < g->line + g->line_n; i++) {
		const struct pdf_line *l = &p->lines[i];
		uint32_t from = 0, to;

		if (l->table != table || l->row != row)
			continue;
		while (from < l->word_n && p->words[l->word + from].column != column)
			from++;
		for (to = from; to < l->word_n && p->words[l->word + to].column == column; to++)
			;
		if (from == to)
			continue;
		buf_reset(line);
		pdf_words_put(p, l, l->word + from, to - from, line);
		join(w, &w->cell, buf_cstr(line), line->len);
	}
}

/* Writes a table of this page: row by row, cell by cell. */
static void table_put(struct writer *w, const struct pdf_page *g, int table, struct buf *line)
{
	struct pdf *p = w->p;
	int rows = 0, columns = 0;

	flush(w);
	w->groups++;
	w->in_list = 0;
	for (uint32_t i = g->line; i < g->line + g->line_n; i++) {
		const struct pdf_line *l = &p->lines[i];

		if (l->table != table)
			continue;
		rows = l->row >= rows ? l->row + 1 : rows;
		for (uint32_t k = 0; k < l->word_n; k++)
			columns = p->words[l->word + k].column >= columns ? p->words[l->word + k].column + 1 : columns;
	}
	for (int r = 0; r < rows && !builder_stopped(w->b); r++) {
		int waiting = 0;

		builder_open(w->b, BLOCK_TABLE_ROW, 0, w->groups);
		w->b->open.page = p->lines[g->line].page + 1;
		for (int c = 0; c < columns; c++, waiting++) {
			cell_gather(w, g, table, r, c, line);
			if (w->cell.len == 0)
				continue;
			for (; waiting > 0; waiting--)
				builder_put(w->b, " | ", 3);
			builder_put(w->b, w->cell.data, w->cell.len);
		}
		builder_close(w->b);
	}
	for (uint32_t i = g->line; i < g->line + g->line_n; i++)
		if (p->lines[i].table == table)
			p->lines[i].table = TABLE_WRITTEN;
}

/* The first table with a line in the block that was not written yet; 0: none. */
static int table_of(const struct pdf *p, const struct pdf_block *k)
{
	for (uint32_t i = 0; i < k->line_n; i++)
		if (p->lines[k->line + i].table > 0)
			return p->lines[k->line + i].table;
	return 0;
}

static void page_put(struct writer *w, const struct pdf_page *g, struct buf *line)
{
	for (uint32_t i = 0; i < g->block_n && !builder_stopped(w->b); i++) {
		const struct pdf_block *k = &w->p->blocks[g->block + i];
		int table;

		block_put(w, k, line);
		while ((table = table_of(w->p, k)) > 0 && !builder_stopped(w->b))
			table_put(w, g, table, line);
	}
}

/* ---- title ---- */

static int ends_with(const char *s, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len > n && strncasecmp(s + len - n, end, n) == 0;
}

/* The document's own title, when it is one: programs put file names there, or their own. */
static void title_put(struct writer *w)
{
	static const char *const files[] = { ".pdf", ".doc", ".docx", ".odt", ".rtf", ".tex", ".dvi", ".indd", ".qxd", ".html",
		".htm", ".txt", ".xls", ".xlsx", ".ppt", ".pptx", ".md" };
	const char *s = buf_cstr(&w->p->title), *base = path_base(w->name);
	const char *dot = strrchr(base, '.');
	size_t len = w->p->title.len, stem = dot && dot > base ? (size_t)(dot - base) : strlen(base);

	while (len > 0 && (unsigned char)*s <= ' ')
		s++, len--;
	while (len > 0 && (unsigned char)s[len - 1] <= ' ')
		len--;
	if (len > 17 && strncmp(s, "Microsoft Word - ", 17) == 0)
		s += 17, len -= 17;
	if (len < 2 || s[0] == '(' || strncasecmp(s, "untitled", 8) == 0 || (len == stem && strncasecmp(s, base, len) == 0))
		return;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (ends_with(s, len, files[i]))
			return;
	extracted_title(w->b->x, s, len);
}

void extract_boxes(struct builder *b, const char *name, const char *boxes, size_t len)
{
	struct pdf p;
	struct writer w = { .p = &p, .b = b, .name = name };
	struct buf line;
	int tables = 0;

	buf_init(&w.text, SIZE_MAX);
	buf_init(&w.cell, SIZE_MAX);
	buf_init(&line, SIZE_MAX);
	b->rc = pdf_read(&p, b->x, boxes, len, b->e);
	if (b->rc == OK)
		b->rc = pdf_drop_running(&p, b->e);
	pdf_join_bullets(&p);
	for (size_t i = 0; i < p.page_n && b->rc == OK; i++)
		b->rc = pdf_find_tables(&p, i, &tables, b->e);
	if (b->rc == OK)
		b->rc = hyphens_of(&w);
	if (b->rc == OK) {
		title_put(&w);
		sizes_of(&w);
	}
	for (size_t i = 0; i < p.page_n && !builder_stopped(b); i++)
		page_put(&w, &p.pages[i], &line);
	if (!builder_stopped(b))
		flush(&w);
	if (b->rc == OK && (buf_failed(&w.text) || buf_failed(&w.cell) || buf_failed(&line)))
		b->rc = err_set(b->e, E_MEMORY, "PDF: out of memory");
	buf_clear(&w.text);
	buf_clear(&w.cell);
	buf_clear(&line);
	mem_free(w.hyphens);
	pdf_clear(&p);
}
