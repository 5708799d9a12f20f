/* pdftable.c: owns the finding of tables on a PDF's page, which has none: only words that lie in columns.
 *
 * Lines are cut into pieces at wide gaps; pieces of one height are a strip. A run of strips is a table when neighbours
 * have two pieces or more that stand below each other, and the pieces are as short as cells are: the columns of a
 * newspaper also lie side by side, but are filled with prose. A strip with nothing in the first column goes on with
 * cells of the row above, which were too long for one line. Poppler gives the cells of a column as a block of its own,
 * so that without this a table's rows would be read apart. Lines that are found get table, row and column; whoever
 * meets the first of them writes the table. Threads: no state. Failure: memory. */
#include "ingest/pdfpage.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { PIECES_MAX = 24, ROWS_MIN = 2, CELL_CHARS_MAX = 26, LONG_CELL = 60 };

struct piece { float x0, x1, y0, y1, size; uint32_t line, chars; };
struct strip { size_t from, n; float y0, y1; };

/* A line is a piece; a line that holds a gap wide enough for a column's border stays whole too, for Poppler has already
 * parted what it took for columns. */
static size_t pieces_of(const struct pdf *p, const struct pdf_page *g, struct piece *out)
{
	size_t n = 0;

	for (uint32_t i = g->line; i < g->line + g->line_n; i++) {
		const struct pdf_line *l = &p->lines[i];
		size_t chars = 0;

		if (l->dropped || !l->upright || l->word_n == 0)
			continue;
		for (uint32_t k = 0; k < l->word_n; k++) {
			const struct pdf_word *w = &p->words[l->word + k];

			chars += utf8_count(p->text.data + w->off, w->len) + (k > 0);
		}
		out[n++] = (struct piece){ l->x0, l->x1, l->y0, l->y1, l->size, i, (uint32_t)chars };
	}
	return n;
}

static int by_place(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;
	float u = x->y0 + x->y1, v = y->y0 + y->y1;

	return u != v ? (u > v) - (u < v) : (x->x0 > y->x0) - (x->x0 < y->x0);
}

static int by_left(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return (x->x0 > y->x0) - (x->x0 < y->x0);
}

static size_t strips_of(struct piece *k, size_t n, struct strip *out)
{
	size_t strips = 0;

	for (size_t i = 0, end; i < n; i = end) {
		float middle = (k[i].y0 + k[i].y1) / 2, y0 = k[i].y0, y1 = k[i].y1;

		for (end = i + 1; end < n && fabsf((k[end].y0 + k[end].y1) / 2 - middle) < 0.4f * k[i].size; end++) {
			y0 = k[end].y0 < y0 ? k[end].y0 : y0;
			y1 = k[end].y1 > y1 ? k[end].y1 : y1;
		}
		qsort(k + i, end - i, sizeof *k, by_left);
		out[strips++] = (struct strip){ i, end - i, y0, y1 };
	}
	return strips;
}

static int overlap(const struct piece *a, const struct piece *b)
{
	return a->x0 < b->x1 && b->x0 < a->x1;
}

/* Do two strips belong to one table: not far apart, and each piece of the one below no more than one of the other, two
 * of them at least? */
static int is_aligned(const struct piece *k, const struct strip *a, const struct strip *b, float size)
{
	size_t shared = 0;

	if (a->n < 2 || b->n < 2 || a->n > PIECES_MAX || b->n > PIECES_MAX || b->y0 - a->y1 > 2.2f * size)
		return 0;
	for (size_t j = 0; j < b->n; j++) {
		size_t hits = 0;

		for (size_t i = 0; i < a->n; i++)
			hits += (size_t)overlap(&k[a->from + i], &k[b->from + j]);
		if (hits > 1 && b->n >= a->n)
			return 0;
		shared += hits > 0;
	}
	return shared >= 2;
}

/* Does b go on with cells of the table's last row? */
static int is_continued(const struct piece *k, const struct strip *first, const struct strip *a, const struct strip *b,
	float size)
{
	const struct piece *left = &k[first->from];

	if (b->y0 - a->y1 > 0.6f * size || b->n >= first->n)
		return 0;
	for (size_t j = 0; j < b->n; j++) {
		size_t hits = 0;

		if (overlap(left, &k[b->from + j]) || k[b->from + j].x0 < left->x1)
			return 0;
		for (size_t i = 1; i < first->n; i++)
			hits += (size_t)overlap(&k[first->from + i], &k[b->from + j]);
		if (hits != 1)
			return 0;
	}
	return 1;
}

/* Are the pieces of these strips as short as cells? Prose in two columns is not. */
static int is_cells(const struct piece *k, const struct strip *s, size_t n)
{
	size_t chars = 0, pieces = 0, rows_of_long = 0;

	for (size_t i = 0; i < n; i++) {
		size_t longs = 0;

		for (size_t j = 0; j < s[i].n; j++) {
			chars += k[s[i].from + j].chars;
			longs += k[s[i].from + j].chars > CELL_CHARS_MAX;
		}
		pieces += s[i].n;
		rows_of_long += longs >= 2;
	}
	/* two columns of half sentences each are prose even where some lines are short */
	return chars <= pieces * CELL_CHARS_MAX && rows_of_long * 4 <= n;
}

/* The column of a piece: where the widest row of the table has one like it. */
static int column_of(const struct piece *k, const struct strip *widest, const struct piece *one)
{
	int best = 0;
	float nearest = INFINITY;

	for (size_t i = 0; i < widest->n; i++) {
		const struct piece *w = &k[widest->from + i];
		float gap = one->x0 > w->x1 ? one->x0 - w->x1 : w->x0 > one->x1 ? w->x0 - one->x1 : 0;

		if (gap == 0)
			gap = -(fminf(one->x1, w->x1) - fmaxf(one->x0, w->x0));
		if (gap < nearest) {
			nearest = gap;
			best = (int)i;
		}
	}
	return best;
}

static void mark(struct pdf *p, const struct piece *k, const struct strip *s, const unsigned char *continued, size_t n,
	int table)
{
	const struct strip *widest = s;
	int row = 0;

	for (size_t i = 1; i < n; i++)
		widest = s[i].n > widest->n ? s + i : widest;
	for (size_t i = 0; i < n; i++) {
		row += i > 0 && !continued[i];
		for (size_t j = 0; j < s[i].n; j++) {
			struct pdf_line *l = &p->lines[k[s[i].from + j].line];

			l->table = table;
			l->row = row;
			l->column = column_of(k, widest, &k[s[i].from + j]);
		}
	}
}

int pdf_find_tables(struct pdf *p, size_t page, int *tables, struct err *e)
{
	const struct pdf_page *g = &p->pages[page];
	struct piece *k = mem_calloc((size_t)g->line_n + 1, sizeof *k);
	struct strip *s = mem_calloc((size_t)g->line_n + 1, sizeof *s);
	unsigned char *continued = mem_calloc((size_t)g->line_n + 1, 1);
	size_t n, strips;
	int rc = OK;

	if (!k || !s || !continued) {
		rc = err_set(e, E_MEMORY, "page of %u lines: out of memory", g->line_n);
		goto out;
	}
	n = pieces_of(p, g, k);
	qsort(k, n, sizeof *k, by_place);
	strips = strips_of(k, n, s);
	for (size_t i = 0, end; i < strips; i = end) {
		size_t last = i, rows = 1;
		float size = k[s[i].from].size;

		for (end = i + 1; end < strips; end++) {
			if (is_aligned(k, &s[last], &s[end], size)) {
				rows++;
				last = end;
				continued[end] = 0;
			} else if (s[i].n >= 2 && is_continued(k, &s[i], &s[end - 1], &s[end], size)) {
				continued[end] = 1;
			} else {
				break;
			}
		}
		if (rows >= ROWS_MIN && is_cells(k, s + i, end - i))
			mark(p, k, s + i, continued + i, end - i, ++*tables);
	}
out:
	mem_free(k);
	mem_free(s);
	mem_free(continued);
	return rc;
}
