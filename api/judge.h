/* judge.h: the generator as judge: does what is shown answer the question? The log-odds of "yes" against "no" as its first
 * word, after a versioned template. Nothing is written. Only their order means something: a threshold belongs to a model and
 * a template (decide.h, decide_judge).
 * Thread: the caller's, which waits while the engine thread reads the prompt. */
#ifndef API_JUDGE_H
#define API_JUDGE_H
#include "api/cite.h"

/* One text (under which heading or title it stands, and itself), by the template "judge". deadline_us as for engine_generate; 0: none, and the
 * caller is patient (gen_params). *prompt_tokens counts those that were reused too, and may be NULL. E_LIMIT: queue full or too long
 * for the context; E_CANCELLED: *cancel or the deadline came first; E_NOT_FOUND (template); E_UNSUPPORTED: the vocabulary has no
 * token for either word; E_MEMORY. */
int judge_answerable(struct service *s, struct engine *n, const char *question, const char *title, const char *passage, size_t len,
	const volatile int *cancel, uint64_t deadline_us, double *log_odds, size_t *prompt_tokens, struct err *e);

#endif
