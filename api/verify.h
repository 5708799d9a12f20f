/* verify.h: does a sentence of a document carry a sentence that was written?
 * Thread: the caller's. */
#ifndef API_VERIFY_H
#define API_VERIFY_H
#include "api/select.h"

struct claim {                       /* a written sentence, without marks */
	const char *text; size_t len;
	const struct word *words; size_t word_n;
	const float *vec;            /* (dim) */
	const float *entailed;       /* (unit_n) the reader model's log-odds that a unit, with those beside it, says so; NAN
	                              * where it was not asked. NULL: there is no reader */
};
/* Words and vector of a written sentence, and what the reader model says of the units that look most like it; text is
 * borrowed. E_MEMORY and errors of the embedder and the reader. */
int claim_make(const struct selection *sel, const char *text, size_t len, struct arena *a, struct claim *out, struct err *e);
/* Support of the claim by unit u, 0 … 1. */
double verify_support(const struct selection *sel, const struct claim *c, size_t u);
/* The unit of passage `passage` (index into retrieval.passages; (size_t)-1: any) that supports the claim best;
 * *score its support. (size_t)-1 when the passage has no units. */
size_t verify_best(const struct selection *sel, const struct claim *c, size_t passage, double *score);
/* 1: the reader model sees an answer in each of the units that lead the selection, and the claim names none of these. Without the
 * model, or where it would rather see none, 0. */
int verify_names_other(const struct selection *sel, const struct claim *c);
/* A further unit that carries much of what the claim says and unit u lacks; (size_t)-1 when none is needed or found. */
size_t verify_second(const struct selection *sel, const struct claim *c, size_t u);

#endif
