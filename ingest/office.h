/* office.h: what .docx and .odt share: members of the package, and paragraphs, lists and tables on their way to the
 * builder. Used by extract_docx.c and extract_odt.c alone. */
#ifndef INGEST_OFFICE_H
#define INGEST_OFFICE_H
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"
#include "ingest/extract.h"
#include "ingest/xml.h"

enum { OFFICE_NEST_MAX = 8, OFFICE_LABEL_MAX = 48 };

enum office_kind { OFFICE_OTHER, OFFICE_DOCX, OFFICE_ODT, OFFICE_ENCRYPTED, OFFICE_DAMAGED };
/* What a ZIP archive is, by the names of its members and ODF's "mimetype". E_MEMORY. */
int office_kind(const char *data, size_t len, enum office_kind *kind, struct err *e);

struct office_member {
	const char *name;               /* as asked for; one that ends in "*" takes every member that begins so */
	int (*use)(void *ctx, const char *name, const char *text, size_t len, struct err *e);   /* text: UTF-8 */
};
/* Unpacks the members that are named (ended by a NULL name) and hands each to its function, in the order of the table.
 * What is broken, or unpacks to too much, is a note in x (a failure when nothing was read before). E_MEMORY, or what
 * `use` returns. */
int office_read(struct extracted *x, const char *data, size_t len, const struct office_member *members, void *ctx,
	struct err *e);

struct office_look {                    /* how a paragraph is shown */
	int heading;                    /* level 1 to 6; 0: none */
	int is_title;
	int item;                       /* 1: of a list */
	int depth;                      /* of the list, from 0 */
	char label[OFFICE_LABEL_MAX];   /* "3." "b)"; "" for a bullet, or none */
};

struct office {
	struct builder *b;
	struct { struct buf text; struct office_look look; } open[OFFICE_NEST_MAX];     /* a text box lies in a paragraph */
	int open_n, over;               /* over: paragraphs opened beyond OFFICE_NEST_MAX */
	struct buf row;                 /* of the outermost table: cells ended by NUL, paragraphs by line breaks */
	int tables, rows, cells;        /* depth of tables; 1: a row is open; cells of it so far */
	uint32_t groups;
	int in_list;                    /* the last block was an item of groups */
};
void office_init(struct office *o, struct builder *b);
void office_clear(struct office *o);
void office_paragraph_begin(struct office *o);
struct office_look *office_look(struct office *o);      /* of the innermost open paragraph; never NULL */
void office_put(struct office *o, const char *s, size_t len);   /* nothing when no paragraph is open */
void office_paragraph_end(struct office *o);
void office_table_begin(struct office *o);
void office_table_end(struct office *o);
void office_row_begin(struct office *o);
void office_row_end(struct office *o);
void office_cell_begin(struct office *o);
void office_end(struct office *o);      /* closes what a broken document left open */

/* Parses a member and notes in x when it is broken. */
int office_parse(struct extracted *x, const char *member, const char *text, size_t len, const struct xml_handler *h,
	struct err *e);
/* Sets x's title to the text of the member's dc:title elements, which both formats have. */
int office_title(struct extracted *x, const char *member, const char *text, size_t len, struct err *e);
/* A number as lists show it: "decimal" "lowerLetter" "upperLetter" "lowerRoman" "upperRoman", else decimal. */
void office_number(struct buf *out, long n, const char *format);

#endif
