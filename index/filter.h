/* filter.h: which documents a reader asks for: an expression over what a document's record says.
 *
 *   meta.year >= 2020 and (type in ("pdf", "docx") or exists(meta.reviewed)) and not source = "/tmp/a.txt"
 *
 *   expression: comparisons joined by not, and, or (binding in this order), parentheses; the words in any case
 *   comparison: key OP value, key in (value, …), exists(key); OP: = != < <= > >=
 *   key:        meta.NAME, source, type, added, updated; a name goes into objects with dots, meta.a.b; an odd one is
 *               quoted, meta."a b".c
 *   value:      "text" with JSON's escapes, a number, true, false; added and updated take "2026-12-31", the whole day in
 *               UTC, or a moment of RFC 3339, "2026-12-31T12:00:00Z"
 *
 * Like is compared with like: numbers as numbers, texts by their bytes, times as times; what differs in kind is unequal and
 * in no order. A list in meta fits when one of its elements does. key != v is not (key = v), so it holds where the key is
 * missing; every other comparison is false there. exists: something other than null is there (an empty text is, in meta).
 * Thread: a filter is not changed once it is made; any number may use it. */
#ifndef INDEX_FILTER_H
#define INDEX_FILTER_H
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "index/index.h"

enum { FILTER_DEPTH_MAX = 64 };      /* of parentheses and nots in each other */

enum filter_op { FILTER_AND, FILTER_OR, FILTER_NOT, FILTER_EXISTS, FILTER_IN, FILTER_LESS, FILTER_MOST, FILTER_MORE, FILTER_LEAST };
enum filter_key { FILTER_META, FILTER_SOURCE, FILTER_TYPE, FILTER_ADDED, FILTER_UPDATED };
enum filter_kind { FILTER_TEXT, FILTER_NUMBER, FILTER_TRUTH, FILTER_TIME };

struct filter_value {
	enum filter_kind kind;       /* FILTER_TIME for added and updated, and only there */
	const char *text;            /* of texts; of times as written */
	double number;
	int truth;
	int64_t from_ms, to_ms;      /* the times it stands for: a day, or a millisecond; to_ms is behind the last */
	struct filter_value *next;
};
/* A comparison, or others joined. = is IN with one value; != is NOT of it. LESS <, MOST <=, MORE >, LEAST >=. */
struct filter_node {
	enum filter_op op;
	struct filter_node *parts;   /* AND, OR: two or more; NOT: one; else NULL */
	struct filter_node *next;    /* part of the same node */
	enum filter_key key;
	const char **path;           /* FILTER_META: the names from the outermost object on */
	size_t path_n;
	struct filter_value *values; /* IN: one or more; EXISTS: none; else one */
};
struct filter { struct arena a; struct filter_node *root; char *text; };

/* E_USAGE names the character (from 1) where something else should be, or the limit, of a text over max_bytes.
 * *out is NULL after a failure. */
int filter_parse(struct filter **out, const char *expr, size_t len, size_t max_bytes, struct err *e);
void filter_free(struct filter *f);  /* NULL is allowed */
/* The filter in normal form, NUL-terminated, borrowed: equal for expressions that differ in blanks, case of words, needless
 * parentheses and ways to write a value; made of it, a filter has the same text again. */
const char *filter_text(const struct filter *f);

/* Whether the document is one of those; NULL: it is. Damaged meta counts as empty. */
int filter_match(const struct filter *f, const struct doc *d);
/* The parts of that, for who keeps documents in other forms. filter_eval asks `leaf` for the truth of comparisons, of no more
 * than it needs; the others tell whether one value fits a comparison (not EXISTS). */
int filter_eval(const struct filter_node *n, int (*leaf)(void *ctx, const struct filter_node *n), void *ctx);
int filter_fits_text(const struct filter_node *leaf, const char *text);
int filter_fits_number(const struct filter_node *leaf, double number);
int filter_fits_truth(const struct filter_node *leaf, int truth);
int filter_fits_time(const struct filter_node *leaf, int64_t ms);

/* Calls on_value with each value that a document has at a comparison's key, lists by element: texts as they are, numbers and
 * truths as JSON has them, times as days "2026-12-31". Objects, null and empty sources and types are none. What on_value
 * returns other than 0 ends it and is returned; E_MEMORY too. */
int filter_values(const struct filter_node *leaf, const struct doc *d, int (*on_value)(void *ctx, const char *text), void *ctx);

#endif
