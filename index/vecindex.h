/* vecindex.h: the graphs in memory and the search that joins graph, tail and tombstones.
 *
 * A graph_set is what searches see: an immutable list of graphs, at most one a collection, sorted by collection
 * number. Changing anything means a new set; readers keep the one they hold. Both kinds are counted references,
 * thread-safe. */
#ifndef INDEX_VECINDEX_H
#define INDEX_VECINDEX_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "index/faissx.h"
#include "index/index.h"

struct graph {
	atomic_int refs;
	uint32_t coll;
	uint64_t last_chunk;         /* every chunk up to it that lived at seq is in the graph, none after it */
	uint64_t seq, vectors;
	struct faissx *fx;           /* owned */
};
struct graph_set { atomic_int refs; size_t n; struct graph *graph[]; };

struct graph *graph_new(struct faissx *fx, uint32_t coll); /* takes fx, also on failure; NULL: out of memory */
struct faissx *graph_take(struct graph *g);                /* frees g, which nobody else holds, and hands over its fx */
void graph_put(struct graph *g);                           /* drops a reference; NULL is allowed */
struct graph_set *graph_set_new(void);                     /* empty; NULL: out of memory */
void graph_set_put(struct graph_set *set);                 /* drops a reference; NULL is allowed */
struct graph *graph_set_find(const struct graph_set *set, uint32_t coll); /* borrows; NULL: none */
/* The index's current set, one reference more. */
struct graph_set *graph_set_get(struct index *x);
/* Publishes a set in which collection coll has graph g (takes the reference, also on failure), or none when NULL. */
int graph_set_swap(struct index *x, uint32_t coll, struct graph *g, struct err *e);

#endif
