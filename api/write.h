/* write.h: lets the generator write an answer from chosen sentences, one verified sentence at a time.
 * Thread: the caller's; decoding and the sink run in the engine thread while the caller waits. */
#ifndef API_WRITE_H
#define API_WRITE_H
#include "api/cite.h"

enum write_end {
	WRITE_DONE,         /* every sentence written was kept */
	WRITE_REFUSED,      /* the model says the passages do not hold the answer */
	WRITE_UNSUPPORTED,  /* a sentence was written that no passage carries, twice; what came before stands */
	WRITE_OTHER,        /* the first sentence names another answer than the reader model sees in the best units; nothing stands */
	WRITE_NO_ROOM,      /* no sentence fits the model's context beside the question; nothing was written */
	WRITE_CUT           /* max_tokens or the deadline came in mid-sentence; what came before stands */
};
struct written {
	enum write_end end;
	double refusal;     /* log-odds of refusing, at the first token; 0 when the model was not asked */
	double support;     /* lowest support of the sentences kept */
	int rewritten;      /* sentences kept in the passages' own words, after another that no passage carries was taken back */
	int unverified;     /* sentences kept that no passage carries (answer.unsupported = mark): at most the last */
};
/* The words with which the template lets the model refuse. */
extern const char write_refusal[];
/* Chooses what sel shows the model and writes into c->answer, whose selection sel is. E_USAGE (the question alone does not fit
 * the model's context), E_LIMIT (queue full), E_CANCELLED, E_NOT_FOUND (template), E_MEMORY. */
int write_answer(struct service *s, struct engine *n, const struct answer_request *q, struct citer *c,
	struct selection *sel, struct written *out, struct err *e);

#endif
