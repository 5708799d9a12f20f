/* evidence.h: asking the models what they make of what was found, before anything is written. Thread: the caller's. */
#ifndef API_EVIDENCE_H
#define API_EVIDENCE_H
#include "api/answer.h"

/* Has the reader model read, with the question, those of r's passages that the search has not had it read. Without one, or in
 * a language that it does not know, they stay unread. Errors of the reader; E_MEMORY. */
int evidence_read(struct service *s, const char *question, struct arena *arena, struct retrieval *r, struct err *e);
/* The generator's judgement of a->selection's best unit with what stands around it, into a->evidence. What does not fit its context
 * is not judged; a queue that is full is told by the writing that follows. Errors of the engine otherwise. */
int evidence_judge(struct service *s, struct engine *n, const struct answer_request *q, struct answer *a, struct err *e);

#endif
