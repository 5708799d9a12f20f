/* short.h: the core of an answer: a name, a number, a phrase, as an exact span of a sentence that it cites.
 * Thread: the one that writes the answer. */
#ifndef API_SHORT_H
#define API_SHORT_H
#include "api/cite.h"

/* Fills c->answer's short answer from what its first sentence cites; leaves it without one where there is none. Errors of the reader
 * model; E_MEMORY. */
int short_take(struct service *s, const char *question, struct citer *c, struct err *e);
/* By words alone: the span of unit u that says what the written sentence adds to the question; 0 when there is none. */
int short_by_words(const struct selection *sel, const struct word *written, size_t n, size_t u, struct span *out);

#endif
