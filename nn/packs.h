/* packs.h: the packed matrices (pack.h) of one model, together.
 *
 * Thread: one opener, whose team packs; what is open is read-only. */
#ifndef NN_PACKS_H
#define NN_PACKS_H
#include <stddef.h>
#include "base/err.h"
#include "base/team.h"
#include "nn/pack.h"

struct packs;
/* Packs n matrices of types that pack.h has, whose rows are borrowed during the call; out[i] is the i-th, borrowed
 * until close.
 * name stands in errors. E_MEMORY. */
int packs_open(struct packs **p, const struct matrix *const *w, size_t n, struct packed *out, const char *name,
	struct team *team, struct err *e);
void packs_close(struct packs *p);                            /* NULL is allowed */

#endif
