/* docset.h: PRIVATE to index/. The documents with text, as columns in memory: which states of the store have them, who may
 * see them, and what filters and facets ask for. One per open index, beside LMDB, which stays the truth.
 *
 *   docs_load (background)  ->  docs_get, docset_sees, docs_pick …  docset_put     any thread
 *   docs_note … docs_commit -> LMDB's commit -> docs_settle                         the writer
 *
 * A row is there from one state of the store on and up to another, as in MVCC, so one set serves snapshots of many states:
 * those from `start` to before `end`. Rows are in the order of their chunk ids. */
#ifndef INDEX_DOCSET_H
#define INDEX_DOCSET_H
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "index/docmeta.h"
#include "index/record.h"
#include "index/texts.h"

struct index;

/* One document as it goes in. Borrows. */
struct doc_entry {
	uint64_t key, first_chunk;
	uint32_t coll, chunk_n;
	int64_t added_ms, updated_ms;
	const char *source, *type;
	const char **acl; size_t acl_n;
	struct meta_cell *cells; size_t cell_n;
	int wide;                    /* its meta is too large for cells */
};
/* Fills one from a record; strings in the arena. E_MEMORY. */
int doc_entry_fill(struct doc_entry *out, uint64_t key, const struct rec_doc *r, struct arena *a);

struct row_life { uint64_t from, to; uint32_t coll, acl; }; /* seen from state `from` to before `to`, by an acl's groups */
struct row_cell { uint32_t row, value; };                    /* value: a number of `values` */
struct doc_path { struct row_cell *cells; size_t n, cap; };  /* what rows say at one path; those of a row together */

struct docset {
	atomic_int refs;
	atomic_uint_fast64_t end;    /* no state from it on; UINT64_MAX: it goes on */
	uint64_t start;
	unsigned long erasures;      /* of the index when it was read */
	pthread_rwlock_t lock;       /* guards what follows: readers hold it for a look or a pick, the writer to add a commit's */
	uint64_t last;               /* state that changed a row last */
	size_t n, cap, dead;         /* rows; room; rows that the newest state does not have */
	uint64_t *key, *first;       /* owned columns, one cell a row; first chunk ids ascend */
	uint32_t *chunk_n, *source, *type; /* source, type: numbers of texts */
	int64_t *added, *updated;
	struct row_life *life;
	uint32_t *slot; size_t slot_n; /* owned; row + 1 by document key, the newest row of each; 0: free */
	uint32_t *wide; size_t wide_n, wide_cap; /* owned; rows whose meta is not in cells */
	struct texts texts;          /* sources, types, groups */
	struct texts values;         /* of meta: a byte that is an enum cell_kind, then a text, or a double's bytes, or nothing */
	struct texts acls;           /* sets of groups: their numbers as texts, ascending; row_life.acl, 0: everyone */
	struct texts names;          /* paths of meta */
	struct doc_path *paths; size_t path_cap; /* owned; by number of names - 1 */
};

struct docset *docset_new(uint64_t start);                 /* NULL: out of memory */
void docset_put(struct docset *d);                         /* drops a reference; NULL is allowed */
/* The next three with the lock held for writing, or while nobody else has the set. After E_MEMORY or E_LIMIT it is of no use. */
int docset_add(struct docset *d, uint64_t from, const struct doc_entry *in);
void docset_end(struct docset *d, uint64_t seq, uint64_t key); /* the document is not there from state seq on */
int docset_sort(struct docset *d);                         /* rows that were added in any order */
size_t docset_bytes(struct docset *d);                     /* memory it takes */

/* Values of meta and their numbers. Not found: 0. E_MEMORY, E_LIMIT. */
uint32_t value_find(const struct docset *d, enum cell_kind kind, const char *text, size_t len, double number);
enum cell_kind value_get(const struct docset *d, uint32_t value, const char **text, double *number); /* text: "" of others */

/* A chunk in state seq: 1 when a living document has it whose groups let the reader in (filter and collection aside). */
struct doc_at { uint64_t key; uint32_t coll; };
int docset_sees(struct docset *d, uint64_t seq, uint64_t chunk, const struct reader *r, struct doc_at *out);
/* The first state that has the same documents as seq, as far as is known. */
uint64_t docset_state(struct docset *d, uint64_t seq);
/* With the lock held for reading: the row of a chunk, of any state; SIZE_MAX: none. */
size_t docset_row(const struct docset *d, uint64_t chunk);

/* What the reader sees of a collection in state seq, as a bit a row; the lock is held for reading. *out (d->n / 64 + 1 words)
 * is to be freed. match decides by the record for documents whose meta is too large for the columns. */
struct doc_match { int (*match)(void *ctx, uint64_t key, int *yes, struct err *e); void *ctx; };
int docs_pick(const struct docset *d, uint64_t seq, uint32_t coll, const struct reader *r, const struct doc_match *m,
	uint64_t **out, struct err *e);

/* ---- the index's current set ---- */
struct docset *docs_get(struct index *x);                  /* a reference more; NULL: not in memory yet */
int docs_due(struct index *x);                             /* none is there, or half of it is dead, or erased from the store */
/* Reads the store and makes what it found the current set; beside readers and writers, by one thread alone. */
int docs_load(struct index *x, struct err *e);

/* What a write changes, gathered until it commits. Zeroed: nothing. */
struct docs_delta { struct arena a; struct doc_note *at; size_t n, cap; int on, lost; };
void docs_note_put(struct docs_delta *d, uint64_t key, const struct rec_doc *r);
void docs_note_gone(struct docs_delta *d, uint64_t key);
void docs_delta_begin(struct docs_delta *d, struct index *x);
void docs_delta_clear(struct docs_delta *d);
/* Around LMDB's commit of state seq, in the thread that has the writer's lock: the set takes the changes before, so that no
 * snapshot lacks any; when the commit fails (rc) it is given up, and loaded again. */
void docs_commit(struct index *x, struct docs_delta *d, uint64_t seq);
void docs_settle(struct index *x, struct docs_delta *d, uint64_t seq, int rc);

#endif
