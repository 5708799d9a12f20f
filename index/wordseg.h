/* wordseg.h: PRIVATE to index/. The postings of a collection in memory, as they stood at one commit: a dictionary and, for each
 * term, its chunks in order. Immutable but for the marks of rows that were looked at. Thread-safe; counted references. */
#ifndef INDEX_WORDSEG_H
#define INDEX_WORDSEG_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "index/record.h"

struct snapshot;

enum { SEG_WINDOW = 4096, SEG_BOUND_ONE = 65535 };

/* What a term has in one window of rows: postings from `at` on, of the term's own, up to the next run's. */
struct seg_run { uint32_t at; uint16_t window, bound; };     /* bound: the best worth among them, in parts of SEG_BOUND_ONE, rounded up */
struct seg_term { uint64_t post, run; uint32_t text, df, best; }; /* where its own begin; best: of its runs' bounds */
struct seg_slot { uint32_t tag, term; };                     /* half of the hash; the number plus 1, 0: empty */
struct seg_code { uint32_t count, len; };                    /* of a posting: how often its chunk has the term, words of the chunk */

struct wordseg {
	atomic_int refs;
	uint32_t coll;
	uint64_t seq, last_chunk;        /* read at this commit: it has what lived then of chunks up to last_chunk */
	uint32_t row_n;
	unsigned long erasures;          /* the index's, before it was read: what was erased since is still in its dictionary */
	uint64_t lacks;                  /* chunks that the collection's record counted then and that are not in it: of damaged records */
	uint64_t first_chunk; uint32_t *chunk; /* of a row, less first_chunk; ascending */
	_Atomic uint64_t *looked;        /* a bit a row: the store was asked, and has chunk and document whole */
	uint32_t term_n; struct seg_term *term; /* in byte order; one more, where the last one's end */
	uint32_t *shape;                 /* of each, see seg_shape */
	char *text;                      /* theirs, a NUL behind each */
	struct seg_slot *slot; uint32_t slot_mask;
	uint32_t *post;                  /* row of its window | code << 16 */
	struct seg_run *run;
	struct seg_code *code; uint32_t code_n;
	float *worth;                    /* of a code, at the average below: bounds are made of these */
	double average;                  /* words of a chunk */
	uint32_t languages;              /* but English, a bit each, that some of its chunks are in */
	size_t bytes;
	int unfit;                       /* 1: there is nothing in it, for the collection does not fit in */
};

/* What codes are worth: count / (count + (a + b * len)), a = k1 * (1 - b), b = k1 * b / average. */
void seg_worth(const struct wordseg *g, double k1, double b, double average, float *out);

/* Reads the collection's postings in the snapshot. E_LIMIT: it has a shape that does not fit in. E_CANCELLED when *stop turns 1. */
int wordseg_read(struct wordseg **out, struct snapshot *s, const struct rec_coll *coll, const atomic_int *stop, struct err *e);
void wordseg_put(struct wordseg *g);                         /* NULL is allowed */
/* Bytes that a segment of these counters will take, about. */
size_t wordseg_guess(const struct rec_coll *coll);

/* Above 27 bits: how many characters, 31 for more; a bit a kind of them: letters of ASCII one each, others by their number. A word within
 * e edits of another has at most e kinds that the other lacks, and the other way. */
uint32_t seg_shape(const char *text, size_t len);
/* Terms in [from, to) whose shape is within so many edits (1 or 2) of this one, ascending; at most cap. */
size_t seg_near(const struct wordseg *g, uint32_t from, uint32_t to, uint32_t shape, unsigned edits, uint32_t *out, size_t cap);

uint64_t seg_hash(const char *text, size_t len);
/* The term's number plus 1; 0: it has none. hash: seg_hash's. */
uint32_t seg_find(const struct wordseg *g, uint64_t hash, const char *text, size_t len);
/* The number of the first term that is not before these bytes; term_n: none. */
uint32_t seg_from(const struct wordseg *g, const char *text, size_t len);
/* The term of this hash will be looked for. */
static inline void seg_expect(const struct wordseg *g, uint64_t hash)
{
	__builtin_prefetch(&g->slot[(uint32_t)hash & g->slot_mask]);
}
static inline const char *seg_text(const struct wordseg *g, uint32_t term, size_t *len)
{
	*len = g->term[term + 1].text - g->term[term].text - 1;
	return g->text + g->term[term].text;
}
static inline uint64_t seg_chunk(const struct wordseg *g, uint32_t row)
{
	return g->first_chunk + g->chunk[row];
}
/* The row of a chunk; row_n: it has none. */
uint32_t seg_row(const struct wordseg *g, uint64_t chunk);

#endif
