/* nextask.h: questions that a reply's passages suggest: what they make the answer depend on ("if you …"), what they ask
 * themselves, and what they tell beside, as far as the conversation says nothing of it. By rules, no model.
 * Thread: the caller's; everything in the arena. */
#ifndef API_NEXTASK_H
#define API_NEXTASK_H
#include "api/answer.h"

/* The question in an English condition, "If the light is red, …": "Is the light red?". NULL: the sentence has none that
 * asks for something, or no memory. */
const char *condition_question(const char *sentence, size_t len, struct arena *a);
/* At most max questions, none twice, none that `thread` speaks of. about: how a heading becomes one, with {{heading}}; ""
 * or NULL: it does not. *out in the arena. E_MEMORY. */
int next_questions(const struct answer *reply, const char *thread, const char *about, size_t max, struct arena *a,
	const char ***out, size_t *n, struct err *e);

#endif
