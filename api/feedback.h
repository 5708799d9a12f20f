/* feedback.h: what people say of answers: a rating, and what they add. Notes of kind "feedback", which belong to the
 * documents that the answer cites and go with them, and counts by prompt, model and arm, which stay. */
#ifndef API_FEEDBACK_H
#define API_FEEDBACK_H
#include "api/auth.h"
#include "api/service.h"
#include "base/buf.h"
#include "base/json.h"

struct feedback {                    /* borrowed */
	int rating;                  /* -1 or 1 */
	const char *comment;         /* NULL: none */
	int citation;                /* the number it is about; 0: the answer as a whole */
	const char *question;        /* as the sender gives it to be kept; NULL: it stays as the record has it */
	const char *expected;        /* what would have been right; NULL: not said */
	int answerable;              /* 0: it should have been refused; 1: not; -1: not said */
	const char *key_id;          /* whose; NULL: nobody's */
};
/* Stores it, in the place of what the same key said of this answer, or of this citation of it, before. id, record: the answer's, as answerrecord_read gives
 * it. E_USAGE: a citation that the answer lacks; E_NOT_FOUND: a document of it has gone; errors of the store. */
int feedback_put(struct service *s, const char *id, const cJSON *record, const struct feedback *f, struct err *e);

struct feedback_count {               /* prompt "": extractive */
	const char *prompt, *model, *experiment, *arm;
	int version;
	double up, down, citations_up, citations_down; /* of answers; of single citations */
};
/* Counts since the store began; strings in the arena. */
int feedback_counts(struct service *s, struct arena *a, struct feedback_count **out, size_t *n, struct err *e);
/* Thumbs down of answers whose question is known (of citations: where what would have been right was said too), as lines of a questions.jsonl (contract, section 6): {"id","question","answerable","answers",
 * "doc":"","paragraph":"","needs_answer"?:true,"comment"?}. needs_answer: nobody said what would have been right, and the
 * line is no gold until someone does. *n: how many lines. Here and below, what was said of an answer is passed over where the caller may
 * not see a document that it cites. */
int feedback_questions(struct service *s, const struct caller *c, struct buf *out, size_t *n, struct err *e);
/* {"feedback":[{"answer_id","rating","comment","citation","created","prompt","model", …}],"next_cursor"} behind a cursor. */
int feedback_view(struct service *s, const struct caller *c, const char *after, size_t limit, cJSON **out, struct err *e);

#endif
