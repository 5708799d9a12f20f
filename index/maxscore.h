/* maxscore.h: PRIVATE to index/. The k chunks that a set of terms gives the highest score to, without reading the blocks of
 * postings that can't matter. Thread: the snapshot's. */
#ifndef INDEX_MAXSCORE_H
#define INDEX_MAXSCORE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "index/flat.h"
#include "index/inside.h"

struct post_block { struct slice v; uint64_t first, last; float bound; }; /* v: borrowed from the transaction; last: its key's */

/* A term of a query, where its postings lie and how far they have been walked. Zeroed but for its text; post_term_clear. */
struct post_term {
	const char *text; size_t len;             /* borrowed */
	uint32_t times; int stop;                 /* the query's own */
	int other;                                /* as a language other than English has the word at `place` */
	int unfinished;                           /* 1: the query ends in it */
	double share;                             /* of its weight that counts; 1 for what the query says itself */
	uint64_t df;                              /* chunks that hold it */
	uint64_t weigh_df, words_seen;            /* what its weight counts instead, 0: df; words of those that the reader sees */
	double weight;
	uint32_t place;                           /* where it first stands in the query */
	uint32_t seg; uint64_t hash;              /* its number in the segment in memory plus 1, 0: not there; what it is found by (wordseg.h) */
	struct post_block *blocks; size_t block_n, block_cap;
	size_t cur;                               /* the block at hand, or the next one */
	int open;                                 /* 1: it has been read */
	uint64_t *chunk; uint32_t *count, *words; float *score; size_t n, at, cap; /* what was read */
	float rest;                               /* the best that a block from `cur` on may give */
	float here; size_t due;                   /* … of those in the window, and about how many postings they have */
};
void post_term_clear(struct post_term *q);         /* forgets its blocks; it may be found again */

/* Adds to df how many chunks above `after` hold the term, mostly from the heads of its blocks; blocks are remembered where keep is 1.
 * c: open on T_POST. */
int post_term_find(struct cursor *c, uint32_t coll, uint64_t after, struct post_term *q, int keep, struct err *e);
/* Reads every block of a term that was found with keep 1, chunks before `after` included; q->n postings in q->chunk and q->words, valid
 * for one call of on_block. */
int post_term_each(uint32_t coll, struct post_term *q, void (*on_block)(void *ctx, const struct post_term *q), void *ctx, struct err *e);

/* ---- sums of a window, as both walks use them (segwalk.h) ---- */
enum { SCORES_LANES = 8 };
/* Bounds times this are bounds of rounded sums of n terms. */
double scores_slack(size_t n);
/* The least sum with which a chunk may still enter when at most `more` comes to it. Over 0: who has no word does not. */
float scores_least(const struct topk *best, double slack, double more);
/* The places [from, to), both multiples of 32, with a sum of bar or more, into list, which has SCORES_LANES slots more; returns how many. */
size_t scores_over(const float *sum, size_t from, size_t to, float bar, uint16_t *list);
/* Leaves those of n that still have it. */
size_t scores_thin(const float *sum, uint16_t *list, size_t n, float bar);

struct walk_options {
	double k1, b, average;                    /* BM25; average: words of a chunk */
	uint64_t after;                           /* only chunks above this one */
	const struct visible *seen;               /* only chunks among these; NULL: all of the collection */
};
/* terms: found with keep 1, weights set, at least one. A chunk's score is the sum of weight * (count / (count + k1 * (1 - b
 * + b * len / average))) in float, heaviest term first, ties by text: it does not depend on k. *best, which may have chunks
 * of elsewhere already, is filled as if all were scored. A chunk enters only when snapshot_sees_chunk says so; E_CORRUPT, without a message: one had entered
 * above o->after that may not, so *best has lost another; all must be searched anew from 0. Puts terms in another order. */
int walk_best(struct snapshot *s, const struct reader *r, uint32_t coll, struct post_term *terms, size_t n,
	const struct walk_options *o, struct topk *best, struct err *e);

#endif
