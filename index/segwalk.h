/* segwalk.h: PRIVATE to index/. The k chunks of a segment in memory (wordseg.h) that a set of terms gives the highest score to. */
#ifndef INDEX_SEGWALK_H
#define INDEX_SEGWALK_H
#include "index/flat.h"
#include "index/inside.h"
#include "index/wordset.h"

/* A term of a query and how far it has been walked. */
struct seg_probe { float weight, rest; const uint32_t *post; const struct seg_run *run, *end; uint32_t df; };

struct seg_walk;                             /* scratch of one walk at a time; about 30 KB */
struct seg_walk *seg_walk_new(void);         /* NULL: out of memory */
int seg_walk_room(struct seg_walk *w, size_t n); /* for as many terms; E_MEMORY */
void seg_walk_free(struct seg_walk *w);      /* NULL is allowed */

void seg_probe_of(const struct wordseg *g, uint32_t term, double weight, struct seg_probe *out);
/* probes: heaviest first; changed. A chunk's score is the sum of weight * worth in float in their order, as in maxscore.h. Fills
 * *best, which is empty, with rows in place of chunks, as if all were scored; of the rows that are dead, or not among seen (NULL: all are), none enters. */
void seg_walk_best(struct seg_walk *w, const struct word_view *v, const struct seg_worths *worths, struct seg_probe *probes, size_t n,
	const struct visible *seen, struct topk *best);

#endif
