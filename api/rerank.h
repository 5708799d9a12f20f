/* rerank.h: the first hits of a search, each read together with the query by the reader model (embed/reader.h), in a better
 * order. No HTTP here. Thread: any. */
#ifndef API_RERANK_H
#define API_RERANK_H
#include "api/retrieve.h"

/* Reads the first search.rerank (of c) of n hits, best first, gives them their parts and puts all in order again. What was said of
 * each goes to found->read, the time is added to found->rerank_ms. Does nothing where there is no reader, or the query is in a
 * language that it was not taught, or a story (longquery.h) and no question as it was. The same hits always come out in the same order. Errors of the reader and the store. */
int rerank(struct service *s, const struct conf *c, const struct reader *r, const char *query, size_t len, struct fused_hit *hits,
	size_t n, struct retrieval *found, struct arena *a, struct err *e);
/* How much each text is about the query, 0 … 1, to scores[n]: by the reader, or, where there is none or it was not taught the
 * query's language, by the embedder and the share of the query's words that a text has. *model: the name of what judged;
 * static or of the service. Errors of either. */
int rerank_texts(struct service *s, const char *query, size_t len, const struct embed_text *texts, size_t n, double *scores,
	const char **model, struct err *e);
/* Title and text of a chunk as the reader takes them, without `first`: the title lives in the arena, the text in the snapshot. */
int rerank_pair(const struct retrieval *found, const struct reader *r, uint64_t chunk, struct arena *a, struct reader_pair *out,
	struct err *e);
/* What was read of a chunk; NULL: nothing. */
const struct reader_reading *rerank_reading(const struct retrieval *found, uint64_t chunk);
/* 1: the reader was taught the language of this text (English). */
int rerank_reads(const char *text, size_t len);

#endif
