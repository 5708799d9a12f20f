/* vecset.h: what searches by vector see in memory: for each collection its graph and its tail. A set is immutable and
 * sorted by generation of vectors and collection, by their numbers; changing anything means a new one, readers keep
 * theirs. While the store turns to another generation it holds parts of both. Counted references. */
#ifndef INDEX_VECSET_H
#define INDEX_VECSET_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "index/graph.h"
#include "index/record.h"
#include "index/tail.h"

struct index;
struct vec_part { uint32_t gen, coll; struct graph *graph; struct tail *tail; }; /* owned; without a graph the tail has all */
struct vec_set { atomic_int refs; size_t n; struct vec_part at[]; };

struct vec_set *vec_set_new(void);                         /* empty; NULL: out of memory */
void vec_set_put(struct vec_set *set);                     /* drops a reference; NULL is allowed */
const struct vec_part *vec_set_find(const struct vec_set *set, uint32_t gen, uint32_t coll); /* borrows; NULL: none */
struct vec_set *vec_set_get(struct index *x);              /* the index's current one, a reference more */

/* Publishes a collection's graph over vectors of gen (takes the reference, also on failure; NULL: none) with a tail of
 * all that it does not cover, read from the store: most of it beside the writer, the end with the writer's lock. Nothing
 * happens when gen does not serve any more. E_MEMORY: also when the tail is not whole; searches then look in the store. */
int vec_publish(struct index *x, const struct rec_gen *gen, uint32_t coll, struct graph *g, struct err *e);
/* Puts graph and tail, which are taken also on failure, in the set, in place of those of their generation and collection. */
int vec_set_swap(struct index *x, uint32_t gen, uint32_t coll, struct graph *g, struct tail *t, struct err *e);
int vec_drop(struct index *x, uint32_t gen, uint32_t coll, struct err *e); /* a collection that is gone; 0: all of the generation */
/* In a write transaction before it commits: what it put into the collection, from chunk id `first` on, joins the tail. */
void vec_append(struct index *x, struct txn *t, uint32_t gen, uint32_t coll, uint64_t first);

#endif
