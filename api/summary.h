/* summary.h: a cited summary of one long document, or of all that a filter leaves: an answer in shape (answer.h), each
 * sentence with a citation of an exact sentence. */
#ifndef API_SUMMARY_H
#define API_SUMMARY_H
#include "api/answer.h"

struct summary_request {
	struct reader reader;            /* without a document: its collection and its filter say what is summed up */
	const char *document_id;         /* NULL: all that the reader sees */
	enum answer_style style;         /* STYLE_EXTRACTIVE: quoted, without the language model */
	const char *prompt;              /* template; NULL: conf */
	int sentences;                   /* at most; 0: conf, which is also the most */
	uint64_t seed;
	const char *key_id;              /* of the asker's access key, whose usage it is; NULL: none */
	const volatile int *cancel;      /* may be NULL */
};

/* out->question is the title of what was summed up; out->status is abstained where there is no sentence to quote; reason tells
 * what was quoted though it should have been written. The sink as answer_run's. After answer.deadline_s what is left is
 * quoted. E_NOT_FOUND: no such document, or the filter leaves none; E_USAGE: over summary.chars_max or
 * summary.documents_max; E_LIMIT: the engine's queue is full; E_CANCELLED. out must be closed also after an error. */
int summary_run(struct service *s, const struct summary_request *q, const struct answer_sink *sink, struct arena *a, struct answer *out, struct err *e);

#endif
