/* inside.h: PRIVATE to index/. What the files of this room share: the open index, a snapshot, the graphs in memory.
 *
 * Lock order: LMDB's writer lock (txn_begin with write 1), index.docs_lock, index.lock, a docset's. Nothing waits for one
 * while it holds a later one. */
#ifndef INDEX_INSIDE_H
#define INDEX_INSIDE_H
#include <pthread.h>
#include <stdatomic.h>
#include "base/arena.h"
#include "index/docset.h"
#include "index/index.h"
#include "index/record.h"
#include "index/store.h"
#include "index/rowpick.h"
#include "index/vecset.h"
#include "index/wordset.h"

enum { SEEN_SLOTS = 8 };

struct index {
	struct store *store;
	atomic_int with_vectors;          /* 0: opened without an embedder */
	atomic_int reembedding;           /* someone changes what stands beside */
	enum vec_form form;               /* in which new vectors are written */
	enum index_kind kind;
	uint64_t memory_bytes;            /* 0: no limit */
	size_t ivf_probes, ivf_rerank;
	int hnsw_m, hnsw_ef_construction, hnsw_ef_search;
	uint64_t exact_below;
	double rebuild_share;
	const struct index_scanner *scanner; /* NULL: none */
	double bm25_k1, bm25_b;
	size_t query_terms_max, similar_max, phrase_max, words_bytes;
	_Atomic(pthread_t) writer;        /* the thread that writes; 0: none */
	atomic_int closing, rebuilding;
	atomic_ulong erasures;            /* changed in a write: graphs built from snapshots before it must not be stored */
	pthread_mutex_t lock;             /* guards what follows */
	struct vec_set *vecs;             /* owned reference */
	struct docset *docs;              /* owned reference; NULL: not in memory. Changed with docs_lock too */
	struct docset *docs_next;         /* borrowed: one that is being read. Likewise */
	struct word_set words;
	struct visible *seen[SEEN_SLOTS]; /* owned references; NULL: empty */
	char embedder[EMBEDDER_MAX + 1];  /* that serves */
	pthread_cond_t wake, done_cond;
	uint64_t asked, done;             /* rounds of the background thread: requested, finished */
	int urgent;                       /* someone waits: build even soon after a failure */
	struct err last;                  /* how the last finished round ended */
	pthread_t thread;
	int thread_runs;
	pthread_mutex_t docs_lock;        /* holds a commit and its outcome together (docload.c); guards what follows */
	struct docs_queued *docs_queue;   /* owned; changes that docs_next lacks */
	uint64_t docs_seq;                /* last state that changed documents */
};

struct coll_entry { const char *name; struct rec_coll rec; };

/* Documents whose text a duplicate on hold needs, by id. Read when first asked for. */
struct hold_need { char original[ID_MAX + 1], held[ID_MAX + 1]; };
struct holds { struct hold_need *at; size_t n, cap; int read; };

struct snapshot {
	struct index *x;
	struct txn *t;
	struct rec_state state;
	struct vec_set *vecs;             /* owned reference, taken before the transaction: lacks nothing of it */
	struct docset *docs;              /* likewise; NULL: LMDB is asked */
	struct arena a;                   /* names of collections */
	struct coll_entry *colls; size_t coll_n; int colls_read;
	struct holds holds;
	struct word_meant *meant; size_t meant_n; /* in place of words that nobody wrote, of the last search by words */
	struct { uint64_t key; int ok; } verified[12]; /* texts whose checksum was looked at here */
	int (*stop)(void *ctx); void *stop_ctx; /* of a build in it: 1 ends it; NULL: nobody waits for it */
};

/* A collection's counters as this write leaves them. */
struct touched { char name[COLLECTION_MAX + 1]; struct rec_coll rec; int dropped, wordless; }; /* wordless: its postings are gone as a whole */

struct write {                        /* put.c owns it; notes.c writes through it */
	struct index *x;
	struct txn *t;
	struct rec_state state;          /* seq is already that of this write */
	uint64_t first_chunk;            /* that this write may give */
	struct touched *colls; size_t coll_n, coll_cap;
	struct buf b;                    /* scratch of encoders */
	struct postings *words;          /* gathered and not yet written; NULL until the first */
	struct words_edit *gone;         /* owned: words of chunks that it takes away; NULL: none */
	struct holds holds;              /* as this write sees them */
	struct docs_delta docs;          /* what changes in the table of documents */
	size_t puts, deletes, notes;
	int turned;                      /* the generation that serves is another after it */
	int failed;
};

/* The tables of a generation of vectors. */
static inline enum table gen_vec(const struct rec_gen *g) { return g->slot ? T_VEC2 : T_VEC; }
static inline enum table gen_graph(const struct rec_gen *g) { return g->slot ? T_GRAPH2 : T_GRAPH; }

/* index.c */
int state_read(struct txn *t, struct rec_state *r, struct err *e);
int state_write(struct txn *t, const struct rec_state *r, struct err *e);
int coll_read(struct txn *t, const char *name, struct rec_coll *r, struct err *e);       /* E_NOT_FOUND, quiet */
int coll_write(struct txn *t, const char *name, const struct rec_coll *r, struct err *e);
int coll_name_ok(const char *s);
/* generation.c */
/* Both of a state, with how many vectors each has. */
int embedders_tell(struct txn *t, const struct rec_state *state, struct index_embedder *serving,
	struct index_embedder *beside, struct err *e);
/* The generation that has this table of vectors; NULL: another table, or nothing is in it. */
const struct rec_gen *gen_of(const struct rec_state *r, enum table table);
/* Which embedder serves, to be told by index_serving. */
void serving_set(struct index *x, const struct rec_gen *g);
/* Vectors of the stored graph that belong to no living chunk any more. */
uint64_t coll_tombstones(const struct rec_coll *r);
/* Every collection of the transaction; *out and names in the arena. */
int coll_list(struct txn *t, struct arena *a, struct coll_entry **out, size_t *n, struct err *e);

/* snapshot.c */
int snapshot_coll(struct snapshot *s, const char *name, struct rec_coll *out, struct err *e); /* as coll_read; cheap for the last one */
int reader_sees_all(const struct reader *r);  /* 1: within its collection no chunk is kept from the reader */
/* What a search has found out about documents, so that many chunks of one cost one look. Zeroed before use. */
struct sight { struct { uint64_t doc; int yes; } seen[256]; };
/* *yes: the chunk exists in this snapshot, belongs to collection coll and the reader may see its document. A damaged
 * record is logged and not seen; running out of memory is an error, since it must not look like no access. */
int snapshot_sees_chunk(struct snapshot *s, const struct reader *r, uint32_t coll, uint64_t chunk, struct sight *cache,
	int *yes, struct err *e);

/* Calls on_doc with every document of the collection that the reader may see; damaged records are logged and left out.
 * on_doc's own failure, E_MEMORY, ends it. */
int snapshot_each_seen(struct snapshot *s, const struct reader *r, uint32_t coll,
	int (*on_doc)(void *ctx, const struct rec_doc *d), void *ctx, struct err *e);

/* The record of a document key, unseen by any access check. E_NOT_FOUND, quiet. */
int doc_rec(struct snapshot *s, uint64_t key, struct rec_doc *r, struct err *e);

/* For docs_pick: whether a document fits the reader's filter, by its record; ctx: a struct doc_ask. */
struct doc_ask { struct snapshot *s; const struct reader *r; };
int snapshot_match(void *ctx, uint64_t key, int *yes, struct err *e);

/* visible.c */
struct chunk_run { uint64_t first, n; };
struct visible {                      /* what a reader sees of a collection; not changed once it is made */
	atomic_int refs;
	uint8_t who[32];
	uint64_t seq, documents, chunks;  /* seq: a state, others have the same documents; documents: those with text */
	struct chunk_run *runs; size_t n; /* of chunk ids, ascending, with gaps between them */
	_Atomic(struct row_mask *) mask;  /* owned; the same as rows of a graph, once a search has asked (vecindex.c) */
};
/* From the table of documents, or, where it is not in memory, by a walk over their records; unless it was done before for this
 * state. The caller gives it back with visible_put. */
int visible_get(struct snapshot *s, const struct reader *r, uint32_t coll, struct visible **out, struct err *e);
void visible_put(struct visible *v);      /* NULL is allowed */
/* 1 when the chunk is among them; *at, 0 at first, goes on with chunks that are asked for in ascending order. */
int visible_has(const struct visible *v, size_t *at, uint64_t chunk);
/* 1 when one of the n chunks from `first` on is among them. */
int visible_meets(const struct visible *v, uint64_t first, uint64_t n);

/* phrase.c */
/* Fills out's runs and counts, empty before, with the chunks of the collection that hold each of r->phrases (not NULL), of
 * those in seen (NULL: all). E_USAGE: too many would have to be read. */
int phrases_find(struct snapshot *s, const struct reader *r, uint32_t coll, const struct visible *seen, struct visible *out,
	struct err *e);

/* put.c */
/* E_USAGE, naming the component, where one of n vectors (dim) can't be stored. */
int vectors_check(const struct index *x, const float *v, size_t n, size_t dim, struct err *e);
/* Takes every document of a collection away, and its record. w stays usable. *number: what it was. */
int write_drop_collection(struct write *w, const char *collection, uint32_t *number, struct err *e);

/* Takes away what is stored of a collection's graphs where they may cover chunks from first_chunk on; searches go on in
 * the one in memory until another is built. */
int write_forget_graph(struct write *w, uint32_t coll, uint64_t first_chunk, struct err *e);

/* Writes a document whose body was taken away, under its key, into a collection; r: id, revision, times and verdict are
 * set; the rest comes from d. The collection's counters are those of a document that was not there before. */
int write_again(struct write *w, uint64_t key, uint32_t coll, struct rec_doc *r, const struct doc_in *d, struct err *e);

/* check.c */
/* index_check, and where problems lie that are not of one record. */
struct faults { int words, beside; };     /* postings; vectors beside */
int check_run(struct index *x, void (*on_problem)(void *ctx, const char *what), void *ctx, uint64_t *problems,
	struct faults *faults, struct err *e);
/* Does the stored graph of a collection over vectors of g, a generation of state, fit it, if there is one? E_CORRUPT tells
 * what does not. */
int graph_fits(struct txn *t, const struct rec_state *state, const struct rec_gen *g, const struct rec_coll *c, struct err *e);

/* notes.c */
/* E_DENIED, naming document and reason, when the document is on hold, or a duplicate of it. */
int hold_check(struct write *w, const char *id, struct err *e);
void holds_clear(struct holds *h);
int note_json_check(const char *json, size_t len, struct err *e);
int note_is_of(struct slice json);   /* 1: it may belong to documents (notes.c) */
/* Removes the notes that belong to the document. The write is then to be aborted when it fails. */
int notes_forget(struct write *w, const char *id, struct err *e);

/* rewrite.c */
/* Finishes erasures that a kill cut off, by rewriting the store. A failure is logged and tried again at the next open. */
void erasures_finish(struct index *x);

/* budget.c */
enum { LISTS_OFTENER = 4 };               /* lists take their tail in so many times as often as a graph: it is cheap, and saves memory */
/* Is collection i of those there are to have lists of codes, not a graph? has_lists: it has some now. */
int lists_wanted(const struct index *x, uint32_t dim, const struct coll_entry *list, size_t n, size_t i, int has_lists);
/* Rows there is memory for in the tail of a collection beside graph g (NULL: none) and the other parts of a set. */
size_t tail_room(const struct index *x, const struct vec_set *set, uint32_t gen, uint32_t coll, const struct graph *g,
	uint32_t dim);

/* catchup.c */
int catchup_start(struct index *x, struct err *e);  /* again: wakes it */
void catchup_stop(struct index *x);       /* cancels, joins */
void catchup_kick(struct index *x);       /* after a commit: look whether work is due */
int catchup_wait(struct index *x, struct err *e);
/* Stores graphs over the vectors beside (those of chunks up to gen->upto) for collections that are to have one and have
 * none, so that a turn to them finds these. E_CANCELLED: stop said so. */
int graphs_ahead(struct index *x, const struct rec_gen *gen, int (*stop)(void *ctx), void *ctx, struct err *e);
/* In a table of graphs: deletes the pieces of a collection's that its header does not name. */
int graph_sweep(struct txn *t, enum table table, uint32_t coll, struct err *e);
/* Deletes the stored graph of a collection, header and pieces of every number. */
int graph_delete(struct txn *t, enum table table, uint32_t coll, struct err *e);
/* Header of a collection's stored graph; E_NOT_FOUND, quiet. */
int graph_header(struct txn *t, enum table table, uint32_t coll, struct rec_graph *h, struct err *e);
/* Reads the stored graph of a collection over vectors of gen; E_CORRUPT, E_CONFLICT (built otherwise), E_NOT_FOUND: it is
 * to be built again. */
int graph_load(struct index *x, struct txn *t, const struct rec_gen *gen, uint32_t coll, struct graph **out, struct err *e);
/* Vectors of a collection beyond chunk `after`. */
int tail_count(struct txn *t, enum table table, uint32_t coll, uint64_t after, uint64_t *out, struct err *e);

#endif
