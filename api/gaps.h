/* gaps.h: questions that the documents did not answer, kept for a while and told in clusters of like ones.
 *
 * Of each there is a note: when, why, the collection, the places looked at (chunk ids), the signs of its vector (a bit a
 * dimension: enough to tell what is alike, too little to read it back), and its text or keyed hash, as audit.questions says
 * (question.h). Nothing of a document's words. Thread: any. */
#ifndef API_GAPS_H
#define API_GAPS_H
#include "api/answer.h"
#include "base/json.h"

#define GAP_ABSTAINED "abstained"
#define GAP_NOTHING "nothing_found"
#define GAP_DISLIKED "thumbs_down"

struct gap {
	const char *why;                 /* one of those above */
	const char *collection;
	const char *question;            /* its text; stored by question_stored. NULL: only its hash is known */
	const char *question_hash;       /* then this; else NULL */
	const float *vector; int dim;    /* of the embedder with this fingerprint; NULL: unknown, then the question alone tells what is alike */
	const char *embedder;
	const uint64_t *chunks; size_t chunk_n; /* looked at, best first; GAP_CHUNKS are kept */
};
enum { GAP_CHUNKS = 3 };
/* Stores one, and drops the oldest over gaps.kept and those older than gaps.days. Waits for the writer. Errors of the store. */
int gaps_put(struct service *s, const struct gap *g, struct err *e);
/* The same of an answer that is an abstention; of others nothing. A failure is logged. */
void gaps_note(struct service *s, const struct answer_request *q, const struct answer *a);
/* The same of an answer that somebody put a thumb down to, by its record (answerrecord.h); question: its text where the
 * sender gave it. Of an abstention, which is noted already, nothing. */
void gaps_disliked(struct service *s, const cJSON *record, const char *question);

/* {"gaps":[{"size","why":{…},"first","last","collection","examples":[text],"documents":[{"document_id","title","source",
 * "heading","times"}]}],"questions","clusters","texts_kept"}: the largest first, at most limit, each of at least least questions.
 * r: whose documents are named; its collection, where it has one, is the only one told of. E_MEMORY, errors of the store. */
int gaps_report(struct service *s, const struct reader *r, size_t least, size_t limit, struct arena *a, cJSON **out, struct err *e);

#endif
