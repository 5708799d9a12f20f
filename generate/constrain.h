/* constrain.h: PUBLIC. What texts allow to be written: between quotation marks only what stands in them, of numbers only theirs.
 * Names and words are free: those are for a verifier.
 *
 *   constrain_new (once a request) -> constrain_begin (each sentence) -> constrain_put (each token offered) … -> constrain_may_end
 *
 * Quotations. Behind " “ „ « » 「 『 or ＂ the text until the closing mark is a piece of a quotable source, byte for byte but for
 * white space (any of it, and line breaks, equals one blank). It begins and ends where words and numbers do, or beside a letter of a script
 * without blanks. A " directly behind a digit means inches; apostrophes and single marks ('…', ‘…’, ‹…›) open nothing.
 * Numbers. A run of digits (Unicode Nd, of any script) with single . , : ٫ ٬ inside is, as a whole, such a run of a source: of
 * "1,234.5" no "1", "234" nor "1,234". Letters beside it don't count: "1980s" gives 1980 and "COVID-19" 19. Number words, Roman numerals and
 * characters like 三 are words. "2020-01-15" and "1 000" are several runs. Digits inside a quotation belong to it.
 * A list's "1." at the beginning of a line is a number like any other. Footnote marks are for the caller to put in.
 * A text that was taken so far can always be brought to an end by bytes that are allowed; invalid UTF-8 never is.
 * The walk is Blumer et al.'s suffix automaton (1985) and a tree of numbers: a token costs its bytes.
 * Thread: built by one; then read by any, each state by one. Nothing is borrowed from the sources. */
#ifndef GENERATE_CONSTRAIN_H
#define GENERATE_CONSTRAIN_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct constrain;
struct constrain_source {
	const char *text; size_t len;    /* valid UTF-8 */
	int quotable;                    /* 0: only its numbers count, as of a question */
};
enum constrain_mode {
	CONSTRAIN_FREE,   /* words of one's own */
	CONSTRAIN_COPY    /* all of it one piece of a quotable source, as if between quotation marks; blanks before it are free */
};
struct constrain_state {                 /* plain data: a copy goes its own way */
	uint32_t at;                     /* in the quotation */
	uint32_t number, point;          /* in the tree of numbers: behind the digits, behind the separator after them */
	uint8_t mark;                    /* the quotation's kind; 0: outside */
	uint8_t empty, tail;             /* nothing of it is written; only blanks and its end may follow */
	uint8_t run, word;               /* of what came last */
	uint8_t part_n; char part[4];    /* of a code point that is not whole */
};

/* E_LIMIT: over 4 MiB of sources; E_MEMORY. About 100 bytes a byte of quotable text. */
int constrain_new(struct constrain **out, const struct constrain_source *s, size_t n, struct err *e);
void constrain_free(struct constrain *c);                      /* NULL is allowed */
void constrain_begin(const struct constrain *c, struct constrain_state *s, enum constrain_mode mode);
/* 1: the bytes (of one token: also parts of code points) may follow, and s is behind them; 0: they may not, s is as it was. */
int constrain_put(const struct constrain *c, struct constrain_state *s, const char *bytes, size_t n);
int constrain_may_end(const struct constrain *c, const struct constrain_state *s); /* 1: no quotation or number is open */

#endif
