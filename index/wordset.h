/* wordset.h: PRIVATE to index/. Which segments of postings (wordseg.h) searches see, what has been taken from them since, and how that
 * changes. Thread-safe. */
#ifndef INDEX_WORDSET_H
#define INDEX_WORDSET_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "index/wordseg.h"

struct index;
struct write;

struct seg_worths { atomic_int refs; double average; float most; float of[]; }; /* of codes; most: the largest share of them to the segment's own */

/* A segment as snapshots from one commit on see it. Not changed once it is made, but for end and worths. */
struct word_view {
	atomic_int refs;
	struct wordseg *seg;
	uint64_t from; _Atomic uint64_t end;     /* of snapshots with from <= seq < end */
	uint32_t dead_n, *gone;                  /* rows that are gone; of each term, how many of its chunks; NULL: of none */
	uint64_t *dead;                          /* a bit a row; NULL: none */
	uint64_t again_us;                       /* clock_us() from which on it is worth while to read it anew for any change */
	struct seg_worths *worths;               /* owned, of the average last asked for; guarded by index.lock */
	struct word_view *prev;                  /* owned, what was before the commit `from`; NULL: not known; guarded by index.lock */
};
/* Guarded by index.lock. */
struct word_set {
	struct word_view **at; size_t n, cap;    /* owned, one a collection */
	uint32_t building; struct words_edit *since; /* the collection whose segment is being read, 0: none; owned: what commits have taken
	                                            from it meanwhile, the last first */
	uint64_t wake_us;                        /* when one should be read anew though little of it has changed; 0: none should */
};

/* The view of a collection that a snapshot of this commit can use, with a reference; NULL: none. */
struct word_view *word_view_get(struct index *x, uint32_t coll, uint64_t seq);
void word_view_put(struct word_view *v);                 /* NULL is allowed */
/* What codes are worth at an average, to be given back with seg_worths_put; NULL: out of memory. keep: others will ask for this average. */
struct seg_worths *word_view_worths(struct index *x, struct word_view *v, double average, int keep);
void seg_worths_put(struct seg_worths *w);
static inline int word_view_dead(const struct word_view *v, uint32_t row)
{
	return v->dead && v->dead[row / 64] >> row % 64 & 1;
}
static inline uint32_t word_view_df(const struct word_view *v, uint32_t term)
{
	return v->seg->term[term].df - (v->gone ? v->gone[term] : 0);
}

/* ---- writes ---- */
/* Notes of a write what it takes away: chunks of a collection; of a term (chunks ascending). E_MEMORY. What does not fit in makes
 * searches look in the store until there is another segment. */
int words_gone_chunks(struct write *w, uint32_t coll, uint64_t first, uint32_t n);
int words_gone_term(struct write *w, uint32_t coll, const char *term, size_t len, const uint64_t *chunks, size_t n);
/* The write does not know all that it takes away from the collection. */
int words_gone_unknown(struct write *w, uint32_t coll);
/* In a write transaction, last thing before it commits: searches of snapshots before and after it see each what they should. */
void words_publish(struct write *w);
void words_edits_free(struct words_edit *list);

/* ---- the background thread's ---- */
/* 1: the collection's segment is to be read anew; now: for any change. */
int words_due(struct index *x, const struct rec_coll *coll, int now);
/* Reads and publishes it. */
int words_renew(struct index *x, const char *name, uint32_t coll, struct err *e);
void words_drop(struct index *x, uint32_t coll);         /* a collection that is gone */
void word_set_clear(struct word_set *set);
size_t words_bytes(struct index *x);

#endif
