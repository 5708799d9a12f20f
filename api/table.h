/* table.h: a table's row in a document's text, with the names of its columns: "Berlin | 12 | yes" under "Room | Seats |
 * Projector", or "Room: Berlin; Seats: 12" that names them itself (extract_csv.c). Thread: any, no state. */
#ifndef API_TABLE_H
#define API_TABLE_H
#include <stddef.h>
#include "base/arena.h"
#include "index/index.h"

enum { TABLE_COLUMNS_MAX = 40 };
struct table_cell {
	struct span name, value;     /* bytes in the document's text; len 0: there is none */
	uint32_t said_off;           /* where the value stands in what table_said made; 0 before */
};
struct table_row {
	size_t top;                  /* where the table begins: the same for all its rows */
	int is_head;                 /* it names the columns, and says nothing by itself */
	int named;                   /* cells have names */
	size_t cell_n;
	struct table_cell cells[TABLE_COLUMNS_MAX];
};

/* 1: the range of the text is a row of a table, whole and at most TABLE_COLUMNS_MAX cells wide. */
int table_row(const char *text, size_t len, struct span range, struct table_row *out);
/* The row as a person would read it alone: "Room: Berlin; Seats: 12"; in the arena, NULL without memory. */
const char *table_said(const char *text, struct table_row *row, struct arena *a);
/* The cell whose value holds byte `off` of the document's text, or where `said` is set of what table_said made; -1: none. */
int table_cell_at(const struct table_row *row, size_t off, int said);

#endif
