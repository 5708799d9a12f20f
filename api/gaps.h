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

/* Notes an answer that is an abstention; of others nothing. Never waits: remember.h writes it. */
void gaps_note(struct service *s, const struct answer_request *q, const struct answer *a);
/* The same of an answer that somebody put a thumb down to, by its record (answerrecord.h); question: its text where the
 * sender gave it. Of an abstention, which is noted already, nothing. */
void gaps_disliked(struct service *s, const cJSON *record, const char *question);

#define GAP_KIND "gap"                   /* of the notes */
/* In a write that adds so many: drops the oldest over gaps.kept and those older than gaps.days. For remember.h. Errors of the store. */
int gaps_drop(struct service *s, struct write *w, size_t added, struct err *e);

/* {"gaps":[{"size","why":{…},"first","last","collection","examples":[text],"documents":[{"document_id","title","source",
 * "heading","times"}]}],"questions","clusters","texts_kept"}: the largest first, at most limit, each of at least least questions.
 * r: whose documents are named; its collection, where it has one, is the only one told of. What remember.h still holds is written first. E_MEMORY, errors of the store. */
int gaps_report(struct service *s, const struct reader *r, size_t least, size_t limit, struct arena *a, cJSON **out, struct err *e);

#endif
