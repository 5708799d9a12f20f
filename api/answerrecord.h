/* answerrecord.h: the record of an answer: what was asked, what it rested on and what made it, so that it can be read,
 * checked and asked again. A note of kind "answer" under the answer's id; it belongs to the documents it cites, to all it was
 * shown where a sentence of it cites none, and goes with them (index.h, "of_documents"). It repeats no word of other passages:
 * of these it has the chunks' numbers. */
#ifndef API_ANSWERRECORD_H
#define API_ANSWERRECORD_H
#include "api/answer.h"
#include "api/auth.h"
#include "base/json.h"

#define NOTE_ANSWER "answer"
/* Settles what an answer cost, counts it for its day and key, and leaves its record to be written (remember.h), unless the
 * request is unkept. Called once an answer is whole. */
void answer_remember(struct service *s, const struct answer_request *q, struct answer *a);
/* The cost alone, of what is made like an answer; of the request conf, unkept and key_id count. */
void answer_count(struct service *s, const struct answer_request *q, struct answer *a);

/* A record as it is stored:
 *   {"created","by":key id|null,"question"|"question_hash","history_turns","history_hash"?,
 *    "request":{"collection","k","style","prompt","tone","max_tokens","temperature","seed","filter","groups"},
 *    "answer":{the answer without question and passages},"passages":[{"chunk_id","revision","score"}],
 *    "made_by":{"version","model_sha256"?,"embedder","reader","settings":{…those of answers that are not the default}},
 *    "of_documents":[{"id","key"}]}
 * The caller deletes it. E_NOT_FOUND: none of this id, or one of another key's that is no admin's to see, or it cites or was
 * made from a document that the reader may not see now: who is refused learns no more. */
int answerrecord_read(struct service *s, const struct caller *c, const struct reader *r, const char *id, struct arena *a, cJSON **out, struct err *e);
/* What is told of it: with "id", "stale" and "stale_citations", the numbers whose document has changed since, and with the
 * answer's passages as they are, "gone": true for those that are not. Takes the record. */
int answerrecord_view(struct service *s, const struct reader *r, const char *id, cJSON *record, struct arena *a, cJSON **out, struct err *e);
/* Asks again: {"answer":{…},"same":bool,"differs":[{"field","was","is"}]}. question and history are needed where the record
 * has only their hashes: E_FORMAT when one is missing, E_CONFLICT when it is another one. The reader is the caller's,
 * narrowed to the groups of then; errors of answer_run. */
struct answer_again { const char *question; const struct answer_turn *history; size_t history_n; const char *key_id; const volatile int *cancel; };
int answerrecord_replay(struct service *s, const struct reader *r, const cJSON *record, const struct answer_again *with, struct arena *a,
	cJSON **out, struct err *e);

#endif
