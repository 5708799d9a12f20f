/* tail.h: a collection's vectors that no graph covers, as int8 codes in memory, in the order of their chunk ids. One
 * writer adds rows, at the end alone; searches walk what is there, beside it. A counted reference. */
#ifndef INDEX_TAIL_H
#define INDEX_TAIL_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "index/scanned.h"
#include "index/store.h"

enum { TAIL_BLOCKS = 22, TAIL_FIRST = 1024 }; /* block b holds TAIL_FIRST << b rows */
struct tail_block { uint64_t *ids; uint8_t *rows; };
struct tail {
	atomic_int refs;
	uint32_t coll, dim;
	enum table table;            /* of the vectors */
	uint64_t after;              /* chunks up to it are not here */
	size_t stride;
	atomic_uint_fast64_t end;    /* every living chunk from after + 1 to end - 1 that is committed is here; UINT64_MAX: all */
	atomic_size_t n;             /* rows that may be read */
	struct tail_block block[TAIL_BLOCKS]; /* owned */
	uint64_t last;               /* the writer's: highest chunk id added, or after */
	float *scratch;              /* owned; the writer's: (dim) */
	size_t room;                 /* rows it may have; set before the first is added */
	atomic_int full;             /* it was closed because it has as many */
	scanned_place scan;          /* owned; a copy of the rows on a device */
};

struct tail *tail_new(enum table table, uint32_t coll, uint32_t dim, uint64_t after); /* NULL: out of memory */
void tail_put(struct tail *t);                                            /* drops a reference; NULL is allowed */
/* Adds the vectors of the collection that t holds from chunk id `first` on. In a write transaction, whose new chunk ids
 * begin at `first`, before it commits; or, while nobody else has the tail, in any. What can't be added (memory, a
 * damaged record) sets t->end: what lies beyond is then searched in the store. */
void tail_add(struct tail *tail, struct txn *t, uint64_t first);
/* Rows [from, *upto) of one block, upto <= n: their ids and codes. */
void tail_part(const struct tail *t, size_t from, size_t n, const uint64_t **ids, const uint8_t **rows, size_t *upto);
size_t tail_bytes(const struct tail *t);                                  /* memory that holds rows */

#endif
