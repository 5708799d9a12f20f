/* pdfpage.h: the pages of a PDF as pdftotext tells them: words with boxes, in lines, blocks and reading order. Used by
 * extract_pdf.c and pdftable.c alone. Coordinates are points from the page's upper left corner. */
#ifndef INGEST_PDFPAGE_H
#define INGEST_PDFPAGE_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "ingest/extract.h"

struct pdf_word {
	uint32_t off, len;              /* bytes in pdf.text */
	float x0, y0, x1, y1;
	int column;                     /* of the table its line belongs to */
};
struct pdf_line {
	uint32_t word, word_n, block, page;     /* page from 0 */
	float x0, y0, x1, y1;
	float size;                     /* height of its longest word; of upright text */
	int upright;                    /* 0: it runs up or down the page */
	int rtl;                        /* 1: Arabic, Hebrew: its words and letters lie in visual order */
	int dropped;                    /* a running header or footer, a bullet alone */
	int bullet;                     /* 1: a bullet stands in front of it */
	int table;                      /* number of the table it belongs to, from 1; 0: none */
	int row;                        /* in it */
};
struct pdf_block { uint32_t line, line_n; };
struct pdf_page { uint32_t block, block_n, line, line_n; float width, height; };

struct pdf {
	struct buf text, title;
	struct pdf_word *words; size_t word_n, word_cap;
	struct pdf_line *lines; size_t line_n, line_cap;
	struct pdf_block *blocks; size_t block_n, block_cap;
	struct pdf_page *pages; size_t page_n, page_cap;
	float body;                     /* size of most of the text */
};

/* Reads what `pdftotext -bbox-layout` wrote. Notes in x when it breaks off. The caller clears p in every case.
 * E_MEMORY, E_LIMIT. */
int pdf_read(struct pdf *p, struct extracted *x, const char *boxes, size_t len, struct err *e);
void pdf_clear(struct pdf *p);
/* Marks lines that run over the pages in the same place: titles above, page numbers below. E_MEMORY. */
int pdf_drop_running(struct pdf *p, struct err *e);
/* Gives lines that are nothing but a bullet to the line they stand in front of. */
void pdf_join_bullets(struct pdf *p);
/* Finds rows of cells that lie in columns on a page and marks their lines and words; tables: the count so far. E_MEMORY. */
int pdf_find_tables(struct pdf *p, size_t page, int *tables, struct err *e);
/* Appends the words [from, from + n) of a line in reading order, with a blank between them. */
void pdf_words_put(const struct pdf *p, const struct pdf_line *l, uint32_t from, uint32_t n, struct buf *out);

#endif
