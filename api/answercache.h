/* answercache.h: answers that are given again. Documents are always searched first: an answer is given again only where
 * the same passages of the same revisions were found for this reader, so it is right for any reader, and no change of a
 * document needs to be told to it. In memory, under a limit; the least lately used go first. */
#ifndef API_ANSWERCACHE_H
#define API_ANSWERCACHE_H
#include "api/answer.h"

struct answercache;
struct answer_keys {                 /* what an answer depends on */
	uint8_t exact[32], near[32];
	int known;                   /* 0: it can't be kept */
	const char *prompt; int version; /* the template in use then; "": none */
};
/* max_bytes 0: *out is NULL, which every function takes for an empty cache that keeps nothing. E_MEMORY. */
int answercache_open(struct answercache **out, size_t max_bytes, struct err *e);
void answercache_close(struct answercache *c);
/* With out->retrieval filled: 1 and the answer in out, told to the sink, where it is known. Equal must be: passages (id,
 * revision, chunk, place, order), the question in its normal form (question.h), history, every setting, the templates' texts
 * (the judge's too), models, style, tone and the numbers of the request. Who wants it explained gets none. With answers.cache_cosine also another wording: equal numbers,
 * negations and question words, and a cosine of at least that. k is
 * for answercache_put, since later steps may change the passages. Thread-safe. */
int answercache_get(struct service *s, const struct answer_request *q, const struct answer_sink *sink, struct arena *a, struct answer *out,
	struct answer_keys *k);
/* Keeps a copy, unless it is partial or another style than was asked for, which the next try may do better, or was made
 * from a state of the store that was forgotten meanwhile, or by a template that was put in use since answercache_get. */
void answercache_put(struct service *s, const struct answer_request *q, const struct answer *a, const struct answer_keys *k);
/* Forgets all, and whatever is still to be made from states of the store before seq: for an erasure, that leaves no byte of a
 * document. */
void answercache_clear(struct answercache *c, uint64_t seq);
struct answercache_figures {
	uint64_t exact, semantic, missed; /* of the questions that could be kept, since it was opened: given again, or not */
	size_t entries, bytes, max_bytes;
};
/* All 0 of an empty cache that keeps nothing. Thread-safe. */
void answercache_figures(struct answercache *c, struct answercache_figures *out);

#endif
