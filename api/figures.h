/* figures.h: what the service tells of itself: metrics of every answer, and the figures of `footnote stats` and /v1/stats. */
#ifndef API_FIGURES_H
#define API_FIGURES_H
#include "api/answer.h"
#include "base/json.h"

enum { PROMPTS_TOLD = 24 };   /* prompt versions with series of their own; those met later share prompt="other" */
/* Counts an answer that was given: status, time, tokens, confidence, support, by prompt version. Thread-safe. */
void figures_answer(const struct answer *a);
/* An object with the figures of the store and its collections, the models that are open, the prompts in use, and of answers
 * since the start: counts by status, confidence of the answered, times, tokens; how many were given again from the
 * cache; what today cost; ratings. Thread-safe. E_MEMORY, errors of the store. */
int figures_view(struct service *s, cJSON **out, struct err *e);
/* Of `answers` in it: the lines for people. E_MEMORY: none. */
int figures_lines(const cJSON *o, struct buf *out);

#endif
