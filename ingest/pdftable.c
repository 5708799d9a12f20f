/* pdftable.c: owns the finding of tables on a PDF's page, which has none: only words that lie in columns.
 *
 * Lines are cut into pieces at wide gaps; pieces whose heights overlap are a strip (cells that were centred beside
 * higher ones lie between their lines). A run of strips is a table when neighbours have two cells or more that stand
 * below each other, and the pieces are as short as cells are: the columns of a newspaper also lie side by side, but are
 * filled with prose. Strips of a table are rows, unless a strip goes on with the row above: it stands closer than
 * usual, and has nothing in the first column, or begins in every cell with a word that did not fit the line above it.
 * Poppler gives the cells of a column as a block of its own, so that without this a table's rows would be read apart.
 * Lines that are found get table and row, their words the column; whoever meets the first of them writes the table.
 * Threads: no state. Failure: memory. */
#include "ingest/pdfpage.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { COLUMNS_MAX = 24, ROWS_MIN = 2, LONE_ROW_CELLS = 3, CELL_CHARS_MAX = 26 };
#define WIDE_GAP 0.9f           /* between words of a line, times its height: a column's border */
#define LONE_GAP 1.5f           /* the same where there are only two words to compare */
#define OVERLAP 0.25f           /* of their height, for two pieces to be of one strip */

struct piece { float x0, x1, y0, y1, size; uint32_t line, word, word_n, chars; };
struct strip { size_t from, n; float y0, y1; int goes_on; };
struct span_x { float x0, x1; };
struct page {
	struct pdf *p;
	struct piece *k; size_t n;
	struct strip *s; size_t strips;
};

/* The gap between words of a line from which on it is a column's border: clearly wider than the others of the line, for
 * lines that fill their width may have wide blanks everywhere. */
static float border_of(const struct pdf *p, const struct pdf_line *l)
{
	const struct pdf_word *w = p->words + l->word;
	float least = INFINITY;

	if (l->rtl)
		return INFINITY;
	if (l->word_n < 3)
		return LONE_GAP * l->size;
	for (uint32_t k = 1; k < l->word_n; k++)
		least = fminf(least, w[k].x0 - w[k - 1].x1);
	return fmaxf(WIDE_GAP * l->size, 1.8f * least);
}

static size_t pieces_of(const struct pdf *p, const struct pdf_page *g, struct piece *out)
{
	size_t n = 0;

	for (uint32_t i = g->line; i < g->line + g->line_n; i++) {
		const struct pdf_line *l = &p->lines[i];

		float border = border_of(p, l);

		if (l->dropped || !l->upright)
			continue;
		for (uint32_t k = 0; k < l->word_n; k++) {
			const struct pdf_word *w = &p->words[l->word + k];
			uint32_t chars = (uint32_t)utf8_count(p->text.data + w->off, w->len);

			if (k > 0 && w->x0 - w[-1].x1 < border) {
				out[n - 1].x1 = fmaxf(out[n - 1].x1, w->x1);
				out[n - 1].word_n++;
				out[n - 1].chars += chars + 1;
			} else {
				out[n++] = (struct piece){ w->x0, w->x1, l->y0, l->y1, l->size, i, l->word + k, 1, chars };
			}
		}
	}
	return n;
}

static int by_top(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return x->y0 != y->y0 ? (x->y0 > y->y0) - (x->y0 < y->y0) : (x->x0 > y->x0) - (x->x0 < y->x0);
}

static void strips_of(struct page *g)
{
	const struct piece *k = g->k;

	for (size_t i = 0, end; i < g->n; i = end) {
		struct strip s = { i, 0, k[i].y0, k[i].y1, 0 };

		for (end = i + 1; end < g->n && s.y1 - k[end].y0 > OVERLAP * fminf(k[end].size, k[i].size); end++)
			s.y1 = fmaxf(s.y1, k[end].y1);
		s.n = end - i;
		g->s[g->strips++] = s;
	}
}

/* The cells of a strip: where its pieces lie, those above each other together. Returns how many, up to COLUMNS_MAX + 1. */
static size_t cells_of(const struct page *g, const struct strip *s, struct span_x out[COLUMNS_MAX + 1])
{
	size_t n = 0;

	for (size_t i = s->from; i < s->from + s->n; i++) {
		struct span_x new = { g->k[i].x0, g->k[i].x1 };
		size_t at = 0;

		while (at < n) {                                    /* takes in what it touches */
			if (out[at].x0 < new.x1 && new.x0 < out[at].x1) {
				new.x0 = fminf(new.x0, out[at].x0);
				new.x1 = fmaxf(new.x1, out[at].x1);
				memmove(out + at, out + at + 1, (n - at - 1) * sizeof *out);
				n--;
				at = 0;
			} else {
				at++;
			}
		}
		for (at = 0; at < n && out[at].x0 < new.x0; at++)
			;
		if (n > COLUMNS_MAX)
			return n;
		memmove(out + at + 1, out + at, (n - at) * sizeof *out);
		out[at] = new;
		n++;
	}
	return n;
}

static int touches(const struct span_x *a, const struct span_x *b)
{
	return a->x0 < b->x1 && b->x0 < a->x1;
}

/* Do two strips belong to one table: not far apart, no cell of the one below wider than its column, and two cells at
 * least that stand below each other? */
static int is_aligned(const struct page *g, const struct strip *a, const struct strip *b)
{
	struct span_x x[COLUMNS_MAX + 1], y[COLUMNS_MAX + 1];
	size_t n = cells_of(g, a, x), m = cells_of(g, b, y), shared = 0;

	if (n < 2 || m < 2 || n > COLUMNS_MAX || m > COLUMNS_MAX || b->y0 - a->y1 > 2.2f * g->k[b->from].size)
		return 0;
	for (size_t j = 0; j < m; j++) {
		size_t hits = 0;

		for (size_t i = 0; i < n; i++)
			hits += (size_t)touches(&x[i], &y[j]);
		if (hits > 1 && m >= n)
			return 0;
		shared += hits > 0;
	}
	return shared >= 2;
}

/* Which of n columns a piece lies in: the one it shares most with, else the nearest. */
static size_t column_of(const struct span_x *columns, size_t n, const struct piece *one)
{
	size_t best = 0;
	float most = -INFINITY;

	for (size_t i = 0; i < n; i++) {
		float share = fminf(one->x1, columns[i].x1) - fmaxf(one->x0, columns[i].x0);

		if (share > most) {
			most = share;
			best = i;
		}
	}
	return best;
}

/* Does strip b, one of fewer cells right below a, hold nothing but what goes on in cells of the table? first: the left
 * edge of the second column. */
static int is_rest(const struct page *g, const struct strip *a, const struct strip *b, const struct span_x *columns, size_t n)
{
	if (b->y0 - a->y1 > 0.6f * g->k[b->from].size || n < 2)
		return 0;
	for (size_t i = b->from; i < b->from + b->n; i++) {
		size_t hits = 0, at = 0;

		for (size_t c = 0; c < n; c++)
			if (g->k[i].x0 < columns[c].x1 && columns[c].x0 < g->k[i].x1) {
				hits++;
				at = c;
			}
		if (hits != 1 || at == 0 || fabsf(g->k[i].x0 - columns[at].x0) > g->k[i].size)
			return 0;
	}
	return 1;
}

/* Are the pieces of these strips as short as cells? Prose in two columns is not. */
static int is_cells(const struct page *g, const struct strip *s, size_t n)
{
	size_t chars = 0, pieces = 0, long_strips = 0;

	for (size_t i = 0; i < n; i++) {
		size_t longs = 0;

		for (size_t j = s[i].from; j < s[i].from + s[i].n; j++) {
			chars += g->k[j].chars;
			longs += g->k[j].chars > CELL_CHARS_MAX;
		}
		pieces += s[i].n;
		long_strips += longs >= 2;
	}
	return chars <= pieces * CELL_CHARS_MAX && long_strips * 4 <= n;
}

/* Would the first word of every cell of b have had no room behind the last line of the same cell of a? */
static int is_wrapped(const struct page *g, const struct strip *a, const struct strip *b, const struct span_x *columns,
	size_t n)
{
	for (size_t j = b->from; j < b->from + b->n; j++) {
		size_t c = column_of(columns, n, &g->k[j]);
		const struct piece *above = NULL;
		const struct pdf_word *w = &g->p->words[g->k[j].word];

		for (size_t i = a->from; i < a->from + a->n; i++)
			if (column_of(columns, n, &g->k[i]) == c)
				above = &g->k[i];
		if (!above || above->x1 + (w->x1 - w->x0) + 0.2f * above->size <= columns[c].x1)
			return 0;
	}
	return 1;
}

/* Decides which of the strips go on with the row above. */
static void rows_of(const struct page *g, struct strip *s, size_t n, const struct span_x *columns, size_t column_n)
{
	float least = INFINITY, most = -INFINITY;

	for (size_t i = 1; i < n; i++) {
		least = fminf(least, s[i].y0 - s[i - 1].y1);
		most = fmaxf(most, s[i].y0 - s[i - 1].y1);
	}
	for (size_t i = 1; i < n; i++) {
		float gap = s[i].y0 - s[i - 1].y1;
		int close = most - least > 0.25f * g->k[s[i].from].size && gap < (least + most) / 2;

		s[i].goes_on = is_rest(g, &s[i - 1], &s[i], columns, column_n)
			|| (close && is_wrapped(g, &s[i - 1], &s[i], columns, column_n));
	}
}

/* The column that a word stands in: the first it touches, or -1. */
static int touched(const struct span_x *columns, size_t n, const struct pdf_word *w)
{
	for (size_t c = 0; c < n; c++)
		if (w->x0 < columns[c].x1 && columns[c].x0 < w->x1)
			return (int)c;
	return -1;
}

/* Gives each word of a strip the column it stands in, and one between two columns that of the word before it. Returns
 * 1 when every column has got a word: then cells stood closer than words do, and the pieces were no cells. */
static int split(const struct page *g, const struct strip *s, const struct span_x *columns, size_t column_n)
{
	uint32_t seen = 0;

	for (size_t j = s->from; j < s->from + s->n; j++) {
		int c = (int)column_of(columns, column_n, &g->k[j]);

		for (uint32_t k = 0; k < g->k[j].word_n; k++) {
			struct pdf_word *w = &g->p->words[g->k[j].word + k];
			int at = touched(columns, column_n, w);

			c = at >= 0 && (k == 0 || at > c) ? at : c;
			w->column = c;
			seen |= 1u << c;
		}
	}
	return seen == (1u << column_n) - 1;
}

static void mark(const struct page *g, const struct strip *s, size_t n, const struct span_x *columns, size_t column_n,
	int table)
{
	int row = 0;

	for (size_t i = 0; i < n; i++) {
		int whole = split(g, &s[i], columns, column_n);

		row += i > 0 && !s[i].goes_on;
		for (size_t j = s[i].from; j < s[i].from + s[i].n; j++) {
			struct pdf_line *l = &g->p->lines[g->k[j].line];
			size_t c = column_of(columns, column_n, &g->k[j]);

			l->table = table;
			l->row = row;
			for (uint32_t k = 0; !whole && k < g->k[j].word_n; k++)
				g->p->words[g->k[j].word + k].column = (int)c;
		}
	}
}

/* The columns of a run: the cells of its widest strip, as wide as the others' that lie in just one of them. */
static size_t columns_of(const struct page *g, const struct strip *s, size_t n, struct span_x out[COLUMNS_MAX + 1])
{
	struct span_x cells[COLUMNS_MAX + 1];
	size_t column_n = 0;

	for (size_t i = 0; i < n; i++) {
		size_t m = cells_of(g, &s[i], cells);

		if (m > column_n && m <= COLUMNS_MAX) {
			column_n = m;
			memcpy(out, cells, m * sizeof *out);
		}
	}
	for (size_t i = 0; i < n; i++) {
		size_t m = cells_of(g, &s[i], cells);

		for (size_t j = 0; j < m && m <= COLUMNS_MAX; j++) {
			size_t hits = 0, at = 0;

			for (size_t c = 0; c < column_n; c++)
				if (touches(&out[c], &cells[j])) {
					hits++;
					at = c;
				}
			if (hits == 1) {
				out[at].x0 = fminf(out[at].x0, cells[j].x0);
				out[at].x1 = fmaxf(out[at].x1, cells[j].x1);
			}
		}
	}
	return column_n;
}

/* The strips from i on that are one table, if there is one: how many, else 0. */
static size_t run_of(const struct page *g, size_t i)
{
	struct span_x columns[COLUMNS_MAX + 1];
	size_t last = i, rows = 1, end, n = cells_of(g, &g->s[i], columns);

	if (n < 2 || n > COLUMNS_MAX)
		return 0;
	for (end = i + 1; end < g->strips; end++) {
		if (is_aligned(g, &g->s[last], &g->s[end])) {
			rows++;
			last = end;
			n = columns_of(g, g->s + i, end - i + 1, columns);
		} else if (!is_rest(g, &g->s[end - 1], &g->s[end], columns, n)) {
			break;
		}
		if (end - i > 4096)                                 /* a page has no more lines than that to read */
			break;
	}
	/* One row alone may be the end of a table that began on the page before. */
	return (rows >= ROWS_MIN || n >= LONE_ROW_CELLS) && is_cells(g, g->s + i, end - i) ? end - i : 0;
}

int pdf_find_tables(struct pdf *p, size_t page, int *tables, struct err *e)
{
	const struct pdf_page *at = &p->pages[page];
	struct page g = { .p = p };
	size_t words = 0;
	int rc = OK;

	for (uint32_t i = 0; i < at->line_n; i++)
		words += p->lines[at->line + i].word_n;
	g.k = mem_calloc(words + 1, sizeof *g.k);
	g.s = mem_calloc(words + 1, sizeof *g.s);
	if (!g.k || !g.s) {
		rc = err_set(e, E_MEMORY, "page of %zu words: out of memory", words);
		goto out;
	}
	g.n = pieces_of(p, at, g.k);
	qsort(g.k, g.n, sizeof *g.k, by_top);
	strips_of(&g);
	for (size_t i = 0; i < g.strips; ) {
		struct span_x columns[COLUMNS_MAX + 1];
		size_t n = run_of(&g, i), column_n;

		if (n > 0) {
			column_n = columns_of(&g, g.s + i, n, columns);
			rows_of(&g, g.s + i, n, columns, column_n);
			mark(&g, g.s + i, n, columns, column_n, ++*tables);
		}
		i += n ? n : 1;
	}
out:
	mem_free(g.k);
	mem_free(g.s);
	return rc;
}
