/* experiment.h: splitting live questions between arms (A/B) and counting what becomes of each. One experiment runs at a
 * time. An arm has a share of the questions and may set the prompt, the style and such answer.* and search.* settings as
 * can vary by request. The same asker always comes into the same arm. Definition and figures are notes of the store. */
#ifndef API_EXPERIMENT_H
#define API_EXPERIMENT_H
#include "api/answer.h"
#include "base/json.h"

struct experiments;
/* Reads the experiments of the store; a note that cannot be read is passed over with a warning. s has its store and prompts. */
int experiments_open(struct experiments **out, struct service *s, struct err *e);
/* Writes figures that are not written yet. NULL is allowed. */
void experiments_close(struct experiments *x);

/* ---- in answer_run ---- */
/* Takes a request into the running experiment: names it and the arm in out (in the arena), and sets in q what the arm
 * sets. Stays outside: what is not traffic, and whoever chose a prompt, a style, k or max_tokens. E_MEMORY. */
int experiments_enter(struct experiments *x, struct answer_request *q, struct answer *out, struct arena *a, struct err *e);
/* Counts the answer for its arm; rc: how answer_run ended. Written to the store some seconds later. */
void experiments_count(struct experiments *x, const struct answer *a, int rc);
/* Counts a rating (-1, 1) of an answer that was part of it, in the place of the one before (0: none). Unknown names are nobody's. */
void experiments_rate(struct experiments *x, const char *experiment, const char *arm, int was, int rating);

/* ---- administration; *out is the caller's ---- */
/* Starts {"name","arms":[{"name","share","prompt"?,"style"?,"settings"?:{key:value}}]}; shares sum to 100. E_USAGE, with the
 * arm and the setting; E_NOT_FOUND (prompt); E_CONFLICT: the name is taken, or another one runs; E_LIMIT. */
int experiments_start(struct experiments *x, const cJSON *o, cJSON **out, struct err *e);
int experiments_stop(struct experiments *x, const char *name, cJSON **out, struct err *e);    /* E_NOT_FOUND; E_CONFLICT: it ended */
int experiments_remove(struct experiments *x, const char *name, cJSON **out, struct err *e);  /* E_NOT_FOUND; E_CONFLICT: it runs */
/* With figures: counts, rates with the ends of their 95 % intervals (Wilson), times, tokens, cost, ratings. */
int experiments_view(struct experiments *x, const char *name, cJSON **out, struct err *e);    /* E_NOT_FOUND */
int experiments_list(struct experiments *x, cJSON **out, struct err *e);                      /* {"experiments":[…]}, oldest first */
int experiments_csv(struct experiments *x, const char *name, struct buf *out, struct err *e); /* a head, a line an arm; E_NOT_FOUND */

#endif
