/* graph.h: what is built over a collection's vectors, in memory: an HNSW graph, int8 codes with the links beside them, and
 * the walk over it; or, where memory is short, lists of codes (ivf.h) in the same place. Immutable once it is whole; a
 * counted reference; searched by any number of threads. */
#ifndef INDEX_GRAPH_H
#define INDEX_GRAPH_H
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/err.h"
#include "index/code8.h"
#include "index/faissx.h"
#include "index/ivf.h"
#include "index/scanned.h"

enum { GRAPH_NONE = UINT32_MAX };    /* behind the last link of a list */

struct graph_high { uint32_t row, at; };     /* a row with upper levels; its lists begin at links[at], M each, level 1 first */
struct walker;
struct graph {
	atomic_int refs;
	uint64_t serial;             /* no other graph of this process has it */
	uint32_t coll, dim, m;       /* m 0: lists */
	struct ivf *lists;           /* owned; NULL: a graph. With lists there are no rows, ids and links */
	uint64_t last_chunk;         /* every chunk up to it that lived at seq is in the graph, none after it */
	uint64_t seq, generation;    /* of the state it was built from; of its stored form */
	size_t vectors, cap;         /* rows; rows there is room for */
	size_t code, stride;         /* bytes of a row's code with what belongs to it, and of a row: code, then 2 M links */
	uint8_t *rows;               /* owned */
	uint64_t *ids;               /* owned; chunk ids of rows, ascending */
	struct graph_high *high; size_t high_n;  /* owned */
	uint32_t *links; size_t link_n;          /* owned; neighbours on upper levels, as numbers of `high` */
	uint32_t entry, levels;      /* of `high`, and how many levels it has above the ground; without upper levels a row and 0 */
	pthread_mutex_t lock;
	struct walker *idle;         /* guarded by lock; scratch of walks that ended */
	scanned_place scan;          /* owned; a copy of the rows on a device */
};

/* Without rows; NULL: out of memory. */
struct graph *graph_new(uint32_t coll, uint32_t dim, uint32_t m, size_t cap);
struct graph *graph_of_lists(uint32_t coll, struct ivf *lists);  /* takes them, also on failure; NULL: out of memory */
void graph_put(struct graph *g);                           /* drops a reference; NULL is allowed */
int graph_row_add(struct graph *g, uint64_t chunk, const float *v);  /* chunk above those before; E_LIMIT: no room */
int graph_row_copy(struct graph *g, const struct graph *from, size_t row);  /* a row of another graph, without its links */
int graph_link(struct graph *g, const struct faissx *fx, struct err *e);    /* links of exactly its rows */
/* The same links in the form faissx_restore_links takes; levels and neighbors are the caller's. E_MEMORY. */
int graph_unlink(const struct graph *g, int **levels, int32_t **neighbors, int32_t *entry, struct err *e);

/* The `ef` rows nearest to the query that the walk finds, best first, into rows and near (ef slots); *got of them.
 * Malkov & Yashunin 2016, algorithms 2 and 5. E_MEMORY. */
int graph_walk(struct graph *g, const struct code8_query *q, size_t ef, uint32_t *rows, float *near, size_t *got,
	struct err *e);

int graph_write(const struct graph *g, FILE *f, struct err *e);     /* the stored form (record.c) */
/* E_CORRUPT when the `bytes` bytes are none of a graph (m 0: of lists) of so many vectors. The caller fills last_chunk, seq, generation. */
int graph_read(struct graph **out, FILE *f, uint32_t coll, uint32_t dim, uint32_t m, uint64_t vectors, uint64_t bytes,
	struct err *e);
size_t graph_bytes(const struct graph *g);                          /* memory it takes, scratch aside */

#endif
