/* cite.h: puts verified sentences into an answer, with their footnotes. The one place that numbers citations and
 * fixes quotes. Thread: one at a time per answer. */
#ifndef API_CITE_H
#define API_CITE_H
#include "api/answer.h"
#include "api/select.h"

enum { ANSWER_TEXT_MAX = 64 << 10, ANSWER_SENTENCES_MAX = 64 };

struct citer {
	struct answer *answer;               /* being filled */
	const struct selection *sel;
	const struct answer_sink *sink;
	struct arena *arena;
	struct buf text;                     /* the answer so far; citer_end moves it into the arena */
	double began_ms;                     /* clock_ms() when the question came, for first_sentence_ms */
};

int citer_begin(struct citer *c, struct answer *out, const struct selection *sel, const struct answer_sink *sink, struct arena *a, double began_ms, struct err *e);
/* Appends one sentence carried by units[0 … n), at most 2, and tells the sink; by none: it is unverified. text has no marks. E_LIMIT, E_MEMORY. */
int citer_add(struct citer *c, const char *text, size_t len, const size_t *units, size_t n, struct err *e);
/* Makes text fit to stand in an answer, in place: one line, and a "[3]" of its own, which would read as a footnote of
 * the answer, becomes "(3)". */
void cite_plain(char *text, size_t len);
/* 1 when a sentence of the answer has this text already. */
int citer_said(const struct citer *c, const char *text, size_t len);
/* Finishes answer.text; also after an error. */
int citer_end(struct citer *c, struct err *e);
/* Fills document offsets of a byte range of a passage's document. */
void cite_range(const struct answer *a, size_t passage, struct span range, struct answer_citation *out);

#endif
