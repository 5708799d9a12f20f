/* exact.h: identifiers in a query, such as ERR-4021, 10.0.0.1 or max_connections, and whether a text holds them as they are
 * written. Pure. Thread-safe. */
#ifndef API_EXACT_H
#define API_EXACT_H
#include <stddef.h>
#include "index/index.h"

enum { EXACT_MAX = 12 };
/* Byte ranges of the identifiers in a query of at most EXACT_MAX words, without the marks around them; returns how many. A
 * longer question says more than the identifiers in it: it has none (putting their passages first cost 0.012 of nDCG@10
 * on techsupport_answers; footnote eval SET --mode hybrid). An identifier stands between blanks, has 3 to 64 bytes and an underscore, or a digit and beside it a letter, one of -/:#, or two full stops; 19th and 1980s are none. */
size_t exact_take(const char *query, size_t len, struct span out[EXACT_MAX]);
/* Where it stands in the text next, from byte `from` on, as exact_holds has it; len: nowhere. */
size_t exact_find(const char *text, size_t len, size_t from, const char *id, size_t id_len);
/* 1: it stands in the text, ASCII letters in either case, no letter, digit or underscore before or behind. */
int exact_holds(const char *text, size_t len, const char *id, size_t id_len);

#endif
