/* rows.h: rows of one table among the units: which of them a question is about. Thread: the caller's. */
#ifndef API_ROWS_H
#define API_ROWS_H
#include "api/select.h"

/* Has the reader model read, of each of a few tables, the row that holds most of the question's words, as table_said shows it, and
 * takes its answers from there; those of all rows are cut to the cell they begin in. Coverage must be known, scores need not. Errors
 * of the reader; E_MEMORY. */
int rows_read(struct selection *sel, const struct retrieval *r, const char *question, struct arena *a, struct err *e);
/* Once units have scores: of a table's rows that with most of the question's words comes first. */
void rows_order(struct selection *sel, const struct retrieval *r);

#endif
