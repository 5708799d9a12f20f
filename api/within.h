/* within.h: the question within what was written: without the words that ask for an answer ("Could you tell me: …"), without the
 * sentences that stand around it, not in capitals throughout. Thread: any, no state; what comes out lives in the arena. */
#ifndef API_WITHIN_H
#define API_WITHIN_H
#include "base/arena.h"
#include "base/err.h"

/* *out: the question; message itself where nothing is to be taken off. *around: 1 when sentences that ask nothing were left out,
 * which is done only where the question stands without them. language: of the message (language.h). E_MEMORY. */
int within_take(const char *message, const char *language, struct arena *a, const char **out, int *around, struct err *e);

#endif
