/* whynot.h: where a document comes in a search, or which step keeps it out. No HTTP and no output here.
 * Thread: any. */
#ifndef API_WHYNOT_H
#define API_WHYNOT_H
#include "api/retrieve.h"

/* In the order in which a search takes them; the first that holds. */
enum whynot_step {
	WHYNOT_FOUND,            /* it is among the hits */
	WHYNOT_COLLECTION,       /* it is in another collection */
	WHYNOT_ACCESS,           /* the reader's groups do not see it */
	WHYNOT_FILTER,           /* it does not fit the filter */
	WHYNOT_NO_TEXT,          /* skipped, failed, a duplicate: it has no passages */
	WHYNOT_PHRASE,           /* none of its passages holds a phrase of the query as it is quoted (r->phrases) */
	WHYNOT_CANDIDATES,       /* none of its passages is near enough to be looked at */
	WHYNOT_FUSION,           /* one ranking has it among the first k, both together do not */
	WHYNOT_CUT               /* it comes behind the first k */
};
const char *whynot_step_name(enum whynot_step step);

/* Its best passage in one ranking. */
struct whynot_list {
	size_t place;            /* from 1; 0: the whole ranking lacks it */
	double score;            /* of that passage; 0 when place is 0 and this is the ranking by words */
	double needed;           /* what the last candidate has; 0 where everything is one */
	size_t depth;            /* candidates of the ranking */
	int missed;              /* it has what it needs, and the graph's walk did not come by: a deeper search finds it */
};

struct whynot {
	struct doc doc;
	enum whynot_step step;
	const char *reason;      /* a sentence for people */
	struct whynot_list dense, lexical; /* depth 0: not asked for by the mode, or the document did not get that far */
	size_t place;            /* among all hits, from 1; 0: not among candidates */
	double score, needed;    /* of its best passage; of the last of the k hits, 0 where there are fewer */
	size_t alone;            /* without by_document: its place if each document came once; else 0 */
	size_t held;             /* with by_document: its other passages before the last of the k hits */
	int has_best;
	struct chunk best;       /* the passage that comes first in what was ranked */
	const char **held_words, **lacking; size_t held_words_n, lacking_n; /* the query's words that it holds, and the others */
	uint64_t seq;
};

/* Of the document with this id. asker: who wants to know: E_NOT_FOUND where they may not see it, as for one that is missing.
 * r: whose search it is, with its collection, filter and phrases. Everything in the arena. */
int whynot_run(struct service *s, const struct reader *asker, const struct reader *r, const char *query, const struct search_want *want,
	const char *id, struct arena *a, struct whynot *out, struct err *e);

#endif
