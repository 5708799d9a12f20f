/* phrase.h: phrases of a query: what stands in quotation marks, "…" “…” „…“ «…» »…« 「…」 『…』, must stand in a chunk as such,
 * word after word, in its text, in one level of its heading or in its document's title. Words are those of the index:
 * case, marks and endings are folded, function words count, what stands between words does not. A mark without its
 * partner, a straight one behind a digit (5" pipes), and marks around nothing are ordinary characters.
 * Thread: not changed once made; any number may use it. */
#ifndef INDEX_PHRASE_H
#define INDEX_PHRASE_H
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

struct phrase { const char *text; size_t len; };             /* what stands inside the marks */
struct phrases { const struct phrase *at; size_t n; };
enum { PHRASES_MAX = 100 };                                  /* each costs a look at every word of the passages that are read for them */
/* The query's phrases, in the arena; *out NULL: it has none, or is not UTF-8. The texts borrow from it. E_USAGE: over PHRASES_MAX;
 * E_MEMORY. */
int phrases_parse(const struct phrases **out, const char *query, size_t len, struct arena *a, struct err *e);

#endif
