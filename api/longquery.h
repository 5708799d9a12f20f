/* longquery.h: a query of many words, compared with passages part by part as well. No HTTP here. Thread: any. */
#ifndef API_LONGQUERY_H
#define API_LONGQUERY_H
#include "api/retrieve.h"

/* 1: it has over 30 words, and so more than one part. */
int longquery_is(const char *query, size_t len);
/* Gives the first search.parts of n hits, best first, a part for how near their texts are to the query's parts, and puts
 * all in order again (fuse_parts). Does nothing for a query of at most 30 words, which is one part. The same hits always
 * come out in the same order. Errors of embedder and store. */
int longquery_rank(const struct conf *c, const struct reader *r, const char *query, size_t len, struct fused_hit *hits, size_t n,
	struct retrieval *found, struct arena *a, struct err *e);

#endif
