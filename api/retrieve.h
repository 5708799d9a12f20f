/* retrieve.h: query text to ranked passages of one snapshot. No HTTP here.
 * Thread: any; a struct retrieval belongs to one thread and holds a read transaction until retrieve_close. */
#ifndef API_RETRIEVE_H
#define API_RETRIEVE_H
#include <stddef.h>
#include "api/service.h"
#include "base/arena.h"
#include "base/words.h"

/* By meaning and by words, joined (the default everywhere); by meaning; by words, which needs no embedder. */
enum search_mode { SEARCH_HYBRID, SEARCH_DENSE, SEARCH_LEXICAL };
int search_mode_parse(const char *s);           /* -1 when unknown */
const char *search_mode_name(enum search_mode m);
/* E_USAGE, naming `what`: not valid UTF-8, or nothing but white space and control characters. */
int query_check(const char *query, size_t len, const char *what, struct err *e);

struct search_want {
	enum search_mode mode;
	size_t k, skip;          /* at most k hits, behind the first `skip` */
	int by_document;         /* of each document only its best passage counts and is a hit */
	int distinct;            /* what says the same as a hit before it is none (gist.h); only with skip 0 */
	const struct conf *conf; /* search.* that hold; NULL: the service's */
};

struct passage {
	struct doc doc;
	struct chunk chunk;
	const char *text;        /* borrowed from the snapshot: the chunk's bytes */
	size_t text_len;
	enum words_language language; /* of the document: how its words are stemmed */
	double score;            /* what it is ranked by: hybrid: the fused score; dense: the cosine; lexical: BM25 */
	size_t query;            /* which of several queries it comes best by (retrieve_many); its cosine is that to it */
	struct rank_part by_vector, by_words, by_parts, by_reader; /* the parts of the score; they sum to it, with */
	double exact;            /* what it gets for holding a rare identifier of the query as it is written; hybrid only */
	double cosine;           /* vector similarity to the query, however it was found; 0 in lexical mode */
	const struct reader_reading *reading; /* of the query and this text (embed/reader.h), in the arena; its spans are bytes of
	                          * text. NULL: not read (no reader, too far behind, a language that it was not taught) */
	struct span *highlights; /* byte ranges in the document's text, ascending, in the arena: words of the query, others that
	                          * were looked for in their place, its identifiers as written */
	size_t highlight_n;
};

struct read_hit { uint64_t chunk_id; struct reader_reading reading; };

struct retrieval {
	struct snapshot *snapshot;
	uint64_t seq;            /* the state of the store that was read */
	struct passage *passages;
	size_t n;
	struct embedder *embedder; /* of the snapshot's vectors; NULL in lexical mode */
	float *query; size_t query_n; /* (query_n, dim), in the arena; NULL likewise */
	const struct read_hit *read; size_t read_n; /* rerank.h: what the reader said; in the arena */
	size_t end;              /* how many hits there are, when the last of them came in sight; else SIZE_MAX */
	double embed_ms, search_ms, rerank_ms; /* search_ms is without the other two */
};

/* Passages of reader->collection (required) for the query, best first. The order does not depend on k and skip; beyond
 * search.fuse_depth a score may be a little over one above it.
 * Quotation marks are ordinary characters here; who searches for phrases has parsed them into the reader (phrase.h).
 * E_USAGE: empty query or not UTF-8, a phrase of too frequent words; errors of embedder and index. */
int retrieve(struct service *s, const struct reader *r, const char *query, size_t len, const struct search_want *want,
	struct arena *a, struct retrieval *out, struct err *e);
enum { RETRIEVE_QUERIES_MAX = 4 };
struct retrieve_query {
	const char *text; size_t len;
	double weight;           /* > 0 */
	int group;               /* 0 … RETRIEVE_QUERIES_MAX - 1, none left out */
	const char *read;        /* what the group's passages are read with (rerank.h); of its first query; NULL: text */
};
/* Passages for several queries at once, in one snapshot, each searched as retrieve does. Queries of one group are wordings of
 * one thing: their rankings are joined by places, each counting by its weight (reciprocal rank fusion, Cormack et al. 2009).
 * Groups are several things: a passage counts by the group it is best in, so that the first of each come first. A score is
 * what one query would give at best, less the further back the passage stands; with one query all is as retrieve has it.
 * n: 1 to RETRIEVE_QUERIES_MAX; want->by_document: not here. Errors as above. */
int retrieve_many(struct service *s, const struct reader *r, const struct retrieve_query *q, size_t n, const struct search_want *want,
	struct arena *a, struct retrieval *out, struct err *e);
/* The order that retrieve cuts its hits from, at least the first skip + k where there are so many, not looked up: out has
 * no passages. *hits in the arena. */
int retrieve_order(struct service *s, const struct reader *r, const char *query, size_t len, const struct search_want *want,
	struct arena *a, struct retrieval *out, struct fused_hit **hits, size_t *n, struct err *e);
/* What to say where a search with phrases (reader->phrases) found nothing; in the arena, NULL without phrases or memory. */
const char *phrases_remark(const struct phrases *p, struct arena *a);
void retrieve_close(struct retrieval *r);

#endif
