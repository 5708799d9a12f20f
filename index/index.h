/* index.h: PUBLIC. The store: one LMDB environment that holds documents, extracted text, chunks and vectors, and the
 * vector index (an FAISS HNSW graph plus a flat tail) derived from them.
 *
 *   index_open -> index_write_begin … index_write_commit          (one writer at a time, any thread)
 *              -> snapshot_open … reads and searches … snapshot_close  (many readers, never blocked)
 *   -> index_close
 *
 * LMDB is the truth. Vectors are searched in memory, as int8 codes, by true fp32 scores in the end. A collection's graph
 * covers every change up to a sequence number; what came later is searched exactly (the tail), what was deleted is
 * skipped (tombstones). A background thread rebuilds and swaps the graph when
 * tail plus tombstones pass a share of it. On open the stored graph is loaded when its stamp fits, else rebuilt.
 * index knows no embedder and no HTTP: it receives vectors.
 *
 * Offsets here are bytes into the document's extracted text; *_cp are code points. */
#ifndef INDEX_INDEX_H
#define INDEX_INDEX_H
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"

struct filter;
struct phrases;
struct index;
struct snapshot;
struct write;

/* How large collections are searched: by what suits memory_bytes; all exactly; by graph; by lists of 4-bit codes. */
enum index_kind { INDEX_AUTO, INDEX_EXACT, INDEX_HNSW, INDEX_IVF };

/* A device that compares int8 codes of vectors, all of a table with one query (embed/scan.h is one): what exact search may ask instead
 * of comparing by itself. Its calls are thread-safe. What fails the CPU does; the log tells it, once a table, but what is E_IO (the
 * device is lost) those who gave the device tell. */
enum { INDEX_SCAN_BEST = 1024 };
struct index_scan {
	const int8_t *code; float scale;        /* the query: scale * code; len of the table, padded with 0 */
	const uint64_t *among;                  /* a bit a row: those that count; NULL: all */
	size_t rows, k;                         /* the first so many rows; k at most INDEX_SCAN_BEST */
	uint32_t *best; float *near; size_t got; /* (k) out: rows and products, the largest first, then the lower row */
};
struct index_scanner {
	void *ctx;
	size_t least;                           /* rows; fewer are not worth asking for */
	int (*ready)(void *ctx);                /* 1: ask it. Called before each search of so many rows, and for no others; the first call may
	                                           open a device. 0: the CPU does it this time */
	/* Codes of len bytes, a multiple of 64; so many rows will soon be added. */
	int (*open)(void *ctx, void **table, size_t len, size_t rows, struct err *e);
	/* n rows more, stride bytes apart: a byte is the code's whole number + 128; behind the code a float, its scale. Copied. */
	int (*add)(void *table, const uint8_t *rows, size_t stride, size_t n, struct err *e);
	int (*best)(void *table, struct index_scan *q, struct err *e);
	void (*close)(void *table);
};

struct index_options {
	const char *dir;             /* data folder, made when missing */
	size_t map_bytes;            /* address space reserved for LMDB; the largest the store may grow to */
	int dim;                     /* floats a vector */
	int half_vectors;            /* 1: vectors that are added are kept as fp16; both kinds are read */
	const char *embedder;        /* fingerprint the vectors belong to; "" with dim 0: open without an embedder (no search by vector) */
	const char *model;           /* the embedder's name or path, told where it differs; at most 255 bytes are kept; NULL: unknown */
	enum index_kind kind;
	uint64_t memory_bytes;       /* that codes and links should take in memory; 0: no limit */
	size_t ivf_probes, ivf_rerank; /* lists looked at; of what they have, how many are compared by their stored vectors; at least 1 */
	int hnsw_m;                  /* neighbours, 4 … 64 */
	int hnsw_ef_construction;    /* 8 … 1000 */
	int hnsw_ef_search;          /* 8 … 4000 */
	size_t exact_below;          /* collections with fewer chunks are searched exactly, with recall 1 */
	double rebuild_share;        /* (tail + tombstones) / graph size that starts a rebuild, 0.01 … 1 */
	size_t readers_max;          /* LMDB reader slots */
	double bm25_k1, bm25_b;      /* search by words: how soon repetition saturates, 0 … 10; weight of a chunk's length, 0 … 1 */
	size_t query_terms_max;      /* different words of a query that are looked for, at least 1; of more the rarest */
	size_t similar_max;          /* words looked for in place of one that is nowhere: nearly like it, or going on from it; 0: none */
	size_t phrase_max;           /* chunks that are read to find a phrase; more: E_USAGE */
	size_t words_bytes;          /* of postings held in memory for search by words, all collections together; larger ones stay in the store; 0: none */
	const struct index_scanner *scanner; /* NULL: none; borrowed until index_close. Large collections are then searched exactly */
	int sync;                    /* 1: commits reach the disk before they return (the default); 0 only for tests and bulk eval */
};

/* E_CONFLICT when the store holds vectors of another embedder or dimension (the message names both), E_CORRUPT,
 * E_UNSUPPORTED for a newer format, E_FULL, E_IO. The caller holds the data folder's lock (api/owner.h). */
int index_open(struct index **out, const struct index_options *o, struct err *e);
void index_close(struct index *x);                           /* waits for the background thread; NULL is allowed */

struct span { uint32_t off, len; };                          /* bytes */

/* ---- whose vectors they are: one embedder's serve searches, another's may stand beside ---- */
enum beside { BESIDE_NONE, BESIDE_BUILDING, BESIDE_KEPT }; /* none; being built; those that served before */
struct index_embedder {
	char fingerprint[65];        /* "": none */
	char model[256];             /* its name or path, "" when unknown */
	int dim;
	enum beside status;          /* of the one beside; BESIDE_NONE: what is told was there last, and is gone */
	uint64_t vectors;
};
int index_embedders(struct index *x, struct index_embedder *serving, struct index_embedder *beside, struct err *e);
/* For a store that was opened without: the embedder that there is now. E_CONFLICT as index_open; o's other fields are
 * not looked at. Before other threads use x. */
int index_attach(struct index *x, const struct index_options *o, struct err *e);
/* Fingerprint of the embedder that serves now. */
void index_serving(struct index *x, char fingerprint[65]);

/* Gives every chunk of every collection a vector of another embedder, beside those that serve on, and then turns to
 * them in one commit. `to` (status and vectors aside): goes on where its vectors are beside already, kept or not done;
 * else those of a third are dropped and it begins. Those that served are kept beside, so that turning back takes no
 * more than vectors of what came since. A kill loses the batch in work; documents that come and go meanwhile are
 * followed. E_CONFLICT: `to` serves already; E_BUSY: this is going on, or this thread writes; E_CANCELLED: `progress`
 * wanted it: what is done stays; hooks' own errors. */
struct reembed_chunk {           /* borrowed during embed */
	uint64_t id;
	struct span range;           /* in the document's text */
	struct span sentence;        /* the first; len 0: it has none */
	const char *title, *heading;
	const char *text;            /* the document's */
};
struct reembed_progress { uint64_t done, total; int turning; }; /* chunks; turning: the last of it has begun */
struct reembed_hooks {
	void *ctx;
	int (*embed)(void *ctx, const struct reembed_chunk *c, size_t n, float *out, struct err *e); /* out: (n, to->dim) */
	int (*progress)(void *ctx, const struct reembed_progress *p); /* other than 0: stop */
};
int index_reembed(struct index *x, const struct index_embedder *to, const struct reembed_hooks *h, struct err *e);
/* Drops the vectors beside. E_NOT_FOUND: there are none; E_BUSY as above. */
int index_reembed_forget(struct index *x, struct err *e);

/* ---- documents ---- */
enum doc_verdict { DOC_ADDED, DOC_UPDATED, DOC_UNCHANGED, DOC_DUPLICATE, DOC_REMOVED, DOC_PARTIAL, DOC_SKIPPED, DOC_FAILED };
int doc_verdict_has_text(int verdict);                       /* 0: kept only so that lists can show it (skipped, failed, duplicate, removed) */
const char *doc_verdict_name(int verdict);                   /* "added" …; static */
int doc_verdict_parse(const char *s);                        /* -1 when unknown */

struct chunk_in {
	struct span range;           /* in the document's text */
	const char *heading;         /* "A > B", "" when none; borrowed */
	uint32_t page;               /* 1-based; 0: the format has no pages */
	const struct span *sentences;/* quotable units, ascending, absolute byte ranges in the document's text, inside `range`, each at most 400 code points */
	uint32_t sentence_n;
};

struct reader;
struct doc_over { uint64_t key; uint32_t revision; }; /* of a record as it was read; all 0: there was none */

struct doc_in {                  /* all borrowed during index_put */
	const char *id;              /* NULL or "": keep the id of the document with this source, or make one */
	const char *collection;      /* 1 … 64 of [A-Za-z0-9._-] */
	const char *title, *source, *type; /* type: "txt" "md" "html" …; source may be "" for pushed text */
	uint64_t bytes;              /* of the original */
	uint8_t hash[32];            /* SHA-256 of the original */
	uint64_t source_size; int64_t source_mtime_ns; /* to skip unchanged files without reading them */
	const char *root;            /* the synced folder this came from, "" when none (for --prune) */
	const char *meta;            /* JSON object text, "{}" when none */
	const char *const *acl; size_t acl_n;          /* groups; none: everyone */
	const struct reader *reader; /* on whose behalf, its collection aside: what they may not see is not replaced; NULL: everyone's eyes */
	const struct doc_over *over; /* what acl was decided by; NULL: it was not by a record */
	int verdict;                 /* DOC_ADDED (the store turns it to UPDATED when it replaces), DOC_PARTIAL, or one without text: DOC_DUPLICATE (duplicate_of set), DOC_SKIPPED, DOC_FAILED */
	const char *reason;          /* why partial, skipped or failed; "" otherwise */
	const char *duplicate_of;    /* id of a document with equal text, "" when none */
	const char *text; size_t text_len;             /* NFC UTF-8; < 4 GiB */
	const struct chunk_in *chunks; size_t chunk_n;
	const float *vectors;        /* (chunk_n, dim) of the embedder that index_write_embedder names */
};

struct doc {                     /* what a reader sees; strings in the arena that was passed */
	uint64_t key;                /* internal, monotonic */
	const char *id, *collection, *title, *source, *type, *root, *meta, *reason, *duplicate_of;
	const char **acl; size_t acl_n;
	uint64_t bytes, source_size; int64_t source_mtime_ns;
	uint8_t hash[32];
	uint64_t text_len, chars;    /* bytes; code points */
	uint32_t chunks;
	int64_t added_ms, updated_ms;/* wall time */
	uint32_t revision;           /* 1, 2, 3 … */
	int verdict;
	uint64_t seq;                /* of the commit that wrote it */
};

struct chunk {                   /* strings and spans in the arena that was passed */
	uint64_t id;                 /* monotonic, never reused; the chunk_id of a hit */
	uint64_t doc_key;
	struct span range;
	uint32_t start_cp, end_cp;   /* the same range in code points */
	uint32_t page;
	const char *heading;
	const struct span *sentences; uint32_t sentence_n; /* absolute byte ranges */
};

/* ---- writing: one transaction holds many documents; nothing is visible before commit ---- */
/* Waits for the writer before. The write belongs to the thread that began it, to its end; E_BUSY: this thread has one. */
int index_write_begin(struct write **out, struct index *x, struct err *e);
/* Fingerprint of the embedder whose vectors this write takes; "": of none yet. Borrowed from w. */
const char *index_write_embedder(const struct write *w);
/* Adds or replaces (same id, or same collection and source). Copies everything. id_out: 64 bytes. verdict_out: what
 * it became. E_USAGE, E_CONFLICT (an id that another collection holds), E_LIMIT, E_FULL; after a failure the write
 * must be aborted. NaN or infinite vectors are E_USAGE. An id has at most 63 bytes and no control characters; E_CONFLICT
 * also when another document of the collection has the source, when d->reader may not see what is replaced (the words
 * then tell nothing of it), and when d->over stands no more and what does has other groups than d->acl: a check that
 * was made in a snapshot holds at the commit. */
int index_put(struct write *w, const struct doc_in *d, char id_out[64], int *verdict_out, struct err *e);
/* Hides and removes a document with its text, chunks and vectors. E_NOT_FOUND and E_DENIED (on hold) leave the write
 * usable. */
int index_delete(struct write *w, const char *id, struct err *e);
int index_write_commit(struct write *w, struct err *e);      /* frees w, also on failure (then nothing was written) */
void index_write_abort(struct write *w);

/* ---- reading ---- */
/* Who reads. Every read of documents, chunks and text takes one: the choke point for access. */
struct reader {
	const char *collection;      /* NULL: every collection */
	int all_groups;              /* 1: no acl check */
	const char *const *groups; size_t group_n;
	const struct filter *filter; /* NULL: none; documents outside of it do not exist for this reader (filter.h) */
	const struct phrases *phrases; /* NULL: none; searches and snapshot_count know only chunks that hold each (phrase.h) */
};
int reader_may_see(const struct reader *r, const struct doc *d);

int snapshot_open(struct snapshot **out, struct index *x, struct err *e); /* one thread at a time */
void snapshot_close(struct snapshot *s);
uint64_t snapshot_seq(const struct snapshot *s);
/* Fingerprint of the embedder whose vectors it holds; borrowed from s. */
const char *snapshot_embedder(const struct snapshot *s);

/* E_NOT_FOUND also when the reader may not see it. */
int snapshot_doc(struct snapshot *s, const struct reader *r, const char *id, struct arena *a, struct doc *out, struct err *e);
int snapshot_doc_by_key(struct snapshot *s, const struct reader *r, uint64_t key, struct arena *a, struct doc *out, struct err *e);
int snapshot_doc_by_source(struct snapshot *s, const struct reader *r, const char *collection, const char *source, struct arena *a, struct doc *out, struct err *e);
/* A document with text and this content hash in the collection (first by key). E_NOT_FOUND. */
int snapshot_doc_by_hash(struct snapshot *s, const struct reader *r, const char *collection, const uint8_t hash[32], struct arena *a, struct doc *out, struct err *e);
/* Documents with key > after in order, at most n; *got written. verdict_mask: bits 1<<doc_verdict, 0: those with text. */
int snapshot_docs(struct snapshot *s, const struct reader *r, uint64_t after, unsigned verdict_mask, size_t n, struct arena *a, struct doc *out, size_t *got, struct err *e);
/* Borrowed from the snapshot until it closes; valid UTF-8, not NUL-terminated. */
int snapshot_text(struct snapshot *s, const struct doc *d, const char **text, size_t *len, struct err *e);
/* Byte range of code points [start_cp, end_cp) of the document's text, clipped to its end. */
int snapshot_text_range(struct snapshot *s, const struct doc *d, uint64_t start_cp, uint64_t end_cp, struct span *out, struct err *e);
int snapshot_text_cp(struct snapshot *s, const struct doc *d, uint64_t byte_off, uint64_t *cp, struct err *e);
int snapshot_chunk(struct snapshot *s, const struct reader *r, uint64_t chunk_id, struct arena *a, struct chunk *out, struct err *e);
/* Chunks of a document in text order; *out in the arena. */
int snapshot_chunks(struct snapshot *s, const struct doc *d, struct arena *a, struct chunk **out, size_t *n, struct err *e);
int snapshot_vector(struct snapshot *s, uint64_t chunk_id, float *out, struct err *e); /* (dim), as it is stored */

/* How much of r->collection (required) the reader sees: documents with text, and chunks. */
struct seen_count { uint64_t documents, chunks; };
int snapshot_count(struct snapshot *s, const struct reader *r, struct seen_count *out, struct err *e);

/* Facets: for each key of the filter language (filter.h) which values documents with text of r->collection (required) that
 * the reader sees, with its phrases, have there, and how many of them: the most frequent first, then in byte order, at most max a key. Values
 * as filter_values gives them; in the arena. out: key_n. E_USAGE names what is no key. */
enum { FACET_KEY_MAX = 1024 };
struct facet_value { const char *text; uint64_t documents; };
struct facet { const char *key; struct facet_value *values; size_t n; };
int snapshot_facets(struct snapshot *s, const struct reader *r, const char *const *keys, size_t key_n, size_t max, struct arena *a,
	struct facet *out, struct err *e);

/* ---- search by vector ---- */
struct vec_hit { uint64_t chunk_id; float score; };          /* score: inner product, higher is nearer */
/* Nearest chunks of r->collection (required) that the reader may see; *got <= k, best first, ties by chunk id.
 * query: (dim), of the embedder that snapshot_embedder names. E_CONFLICT: opened without an embedder; E_USAGE: NaN. */
int snapshot_search(struct snapshot *s, const struct reader *r, const float *query, size_t k, struct vec_hit *out, size_t *got, struct err *e);

/* ---- search by words ---- */
struct word_hit { uint64_t chunk_id; float score; };         /* score: BM25, higher is better */
/* Chunks of r->collection (required) that hold words of the query and that the reader may see, by BM25 (Robertson &
 * Zaragoza 2009); *got <= k, best first, ties by chunk id. query: UTF-8. A query without words finds nothing. For a word
 * that none of them holds, others within one or two edits count (similar_max), for the last one also those it begins. */
int snapshot_search_words(struct snapshot *s, const struct reader *r, const char *query, size_t len, size_t k,
	struct word_hit *out, size_t *got, struct err *e);

/* Words that the last search by words in this snapshot looked for in place of ones that nobody wrote, as words_visit gives
 * terms (words.h); at: where in the query the word stands that this one is for. Borrowed until the next one. */
struct word_meant { const char *term; uint32_t at; };
void snapshot_words_meant(const struct snapshot *s, const struct word_meant **out, size_t *n);

/* The same of a search for the query, as they are written in the first passages that it finds: for each word its forms
 * there; worth: higher the more and the better passages have it, so what stands where the query's other words do comes
 * first. A term that none of them holds is its own form, of worth 0. Only from chunks that the reader may see. *out in the
 * arena; no words of the query are taken for unfinished where it ends in a blank. */
struct word_reading { const char *term, *text; uint32_t at; double worth; };
int snapshot_words_read(struct snapshot *s, const struct reader *r, const char *query, size_t len, struct arena *a,
	struct word_reading **out, size_t *n, struct err *e);

/* What the last word of the query may become, from words of chunks of r->collection (required) that the reader may see: ones
 * it begins, else ones within an edit or two. A query that does not end in a word gets none. *got <= max, best first; text:
 * the whole query with that word in its place, in the arena; score: of how many chunks, less for edits. E_LIMIT: a query
 * over SUGGEST_QUERY_MAX bytes. */
enum { SUGGEST_QUERY_MAX = 1024 };
struct suggestion { const char *text; double score; };
int snapshot_suggest(struct snapshot *s, const struct reader *r, const char *query, size_t len, size_t max, struct arena *a,
	struct suggestion *out, size_t *got, struct err *e);

/* ---- both together ---- */
struct rank_part { uint32_t rank; float score; double part; }; /* rank from 1, 0: not in that list; part: of the fused score */
struct fused_hit { uint64_t chunk_id; double score; struct rank_part by_vector, by_words, by_parts, by_reader; double exact; uint32_t query; }; /* exact: a part too, of fuse_lift; query: for who joins several queries, else 0 */
/* FUSE_SCORES: weight * the score's share of its list's range, for meaning from the list's lowest to its highest (1 when
 * these are one), for words from 0 to the highest (Bruch et al. 2023). FUSE_RANKS: weight / (k + rank) (Cormack et al.
 * 2009). Either way nothing from a list that lacks the chunk. */
enum fuse_method { FUSE_SCORES, FUSE_RANKS };
struct fuse_options { enum fuse_method method; double k, vector_weight, word_weight; }; /* k > 0, of FUSE_RANKS; weights >= 0 */
/* Joins two lists, each best first and without repetition: ranks and scores, no parts yet. out: vec_n + word_n slots. Returns
 * how many it wrote, by chunk id. Pure. */
size_t fuse_join(const struct vec_hit *vec, size_t vec_n, const struct word_hit *word, size_t word_n, struct fused_hit *out);
/* Gives hits their parts and the sum as score; best first, ties by vector rank, then by chunk id. Pure. */
void fuse_weigh(struct fused_hit *hits, size_t n, const struct fuse_options *o);
double fuse_most(const struct fuse_options *o); /* what the best of both lists gets */

struct fuse_part { uint64_t chunk_id; double part; };
/* Adds parts, at most one a chunk, to the hits of these chunks and puts all in order again, the parts by chunk id. Pure. */
void fuse_lift(struct fused_hit *hits, size_t n, struct fuse_part *parts, size_t part_n);
/* A third ranking, of the first m hits alone, by the query's parts: near[i] is of hits[i], a cosine or a mean of some; its part
 * is weight * near, 0 where that is below. Puts all in order again. Pure. */
void fuse_parts(struct fused_hit *hits, size_t n, const float *near, size_t m, double weight);
/* A fourth, of the first m likewise: logits[i] is of hits[i]; its part is weight / (1 + e^-logit), 0 or more, so that
 * none falls behind those that were not read. Puts all in order again. Pure. */
void fuse_read(struct fused_hit *hits, size_t n, const float *logits, size_t m, double weight);

/* ---- notes: small records beside the documents (access keys, holds, synced folders, jobs …) ----
 * They name a file by its path alone: index_erase takes entries of lists that do out of them, and removes one that does
 * elsewhere (a source: by its "path"; keys, holds and receipts stay). One that repeats words of documents is an object that
 * names them: "of_documents": [{"id","key"} …]. It goes with the first of them that is removed, or that is put without
 * text, in the same commit; index_note_put of it is E_NOT_FOUND when one is gone already. Name, kind and id: 198 bytes.
 * One JSON text under (kind, name); kind: 1 … 32 of [a-z_], name: 1 … 200 bytes without NUL. At most 1 MiB.
 * E_USAGE (a bad kind or name, no JSON), E_LIMIT and E_NOT_FOUND leave the write usable; others want it aborted. */
int index_note_put(struct write *w, const char *kind, const char *name, const char *json, size_t len, struct err *e); /* adds or replaces */
int index_note_delete(struct write *w, const char *kind, const char *name, struct err *e);                            /* E_NOT_FOUND */
struct note { const char *name, *json; size_t len; };        /* NUL-terminated, in the arena that was passed */
int snapshot_note(struct snapshot *s, const char *kind, const char *name, struct arena *a, struct note *out, struct err *e); /* E_NOT_FOUND */
/* Notes of a kind with a name > after ("" from the first) in byte order, at most n. */
int snapshot_notes(struct snapshot *s, const char *kind, const char *after, size_t n, struct arena *a, struct note *out, size_t *got, struct err *e);
int snapshot_note_names(struct snapshot *s, const char *kind, const char *after, size_t n, struct arena *a, const char **out, size_t *got,
	struct err *e);              /* the same, without what is in them */
/* The kind of the references that lead from documents to such notes; written by index_note_put alone. */
#define NOTE_OF "of_document"

/* A document on hold is neither replaced nor removed: index_put, index_delete and index_erase of it are E_DENIED and
 * name the hold. It is on hold while a note of this kind has its id as name: {"reason", …}. A document whose duplicate
 * is on hold is kept likewise, for the text is there alone. */
#define NOTE_HOLD "hold"
int snapshot_hold(struct snapshot *s, const char *id, struct err *e); /* E_DENIED as above; OK: it may go */
/* Receipts of erasures, named by their number; index_erase writes them, hashes only. */
#define NOTE_ERASURE "erasure"

/* ---- the store's own life ---- */
struct index_stats {
	uint64_t seq, documents, documents_without_text, chunks, vectors, collections, text_bytes;
	uint64_t file_bytes, map_bytes, used_bytes;
	uint64_t graph_vectors, tail_vectors, tombstones;   /* over all collections */
	uint64_t list_vectors;       /* of graph_vectors: those in lists of codes, in memory */
	uint64_t memory_bytes;       /* of codes and links in memory, over all collections */
	uint64_t words_bytes;        /* of postings in memory, likewise */
	uint64_t docs_bytes;         /* of the table of documents in memory; 0: it is not there yet */
	int rebuilding;
	struct index_embedder serving, beside;
};
int index_stats(struct index *x, struct index_stats *out, struct err *e);
/* Every collection with its number of documents; names in the arena. */
struct collection_info { const char *name; uint64_t documents, chunks, graph_vectors, tail_vectors, tombstones; };
int index_collections(struct index *x, struct arena *a, struct collection_info **out, size_t *n, struct err *e);
/* Walks everything: checksums, counts of text = chunks = vectors, offsets, references both ways, graph stamp.
 * Each mistake is one call of on_problem; *problems counts them. OK even when problems were found. */
int index_check(struct index *x, void (*on_problem)(void *ctx, const char *what), void *ctx, uint64_t *problems, struct err *e);
/* Mends what index_check finds fault with, as far as truth allows (repair.c tells how): each thing mended is one call of
 * on_repair and counts in *repaired. Text that can be read is never removed. Check again for what is left. E_FULL, E_IO,
 * E_MEMORY: what was told before is done, the rest is as it was. */
struct index_mender {
	void (*on_repair)(void *ctx, const char *what);          /* may be NULL */
	/* Vectors (n, dim) of n chunks of a text, as they were made when it was put; NULL: no embedder, then documents that
	 * lack a vector are left. */
	int (*embed)(void *ctx, const char *title, const char *text, const struct chunk_in *c, size_t n, float *out, struct err *e);
	void *ctx;
};
int index_repair(struct index *x, const struct index_mender *m, uint64_t *repaired, struct err *e);
/* Writes the store's file anew, without free pages and what deleted documents left in them. Readers go on, writers
 * wait. Sizes in bytes of the file. E_BUSY: this thread has a write; E_FULL, E_IO, E_CORRUPT: nothing is changed. */
int index_compact(struct index *x, uint64_t *before, uint64_t *after, struct err *e);

struct index_erasure {           /* a receipt */
	char receipt[33];            /* its number, hexadecimal */
	char document_id[64];
	uint8_t source_hash[32];     /* SHA-256 of the source as it was stored */
	uint8_t content_hash[32];    /* SHA-256 of the original */
	int64_t erased_ms;           /* wall time of the commit that removed it */
	uint64_t snapshot;           /* first state of the store without it */
	uint64_t bytes_rewritten;    /* size of the new file */
	uint64_t samples, shared;    /* pieces looked for; of them held by other documents, which keep them */
	uint64_t duplicates, notes;  /* records of equal files, removed with it; notes that named its file, changed or removed */
	int verified;                /* the raw file was read: none of the samples is in it */
};
/* Removes a document and every byte of it: hides it in one commit, then rewrites the file and reads it raw. What
 * deletes and updates left before goes with it. A kill in between is made good by the next index_open. E_NOT_FOUND,
 * E_DENIED (on hold), E_BUSY as above; E_CORRUPT: something of it was found (the message tells what); E_FULL, E_IO:
 * it is deleted, but its bytes are still there: index_compact, or the next open, finishes. */
int index_erase(struct index *x, const char *id, struct index_erasure *out, struct err *e);

/* One file that holds the whole store as of now, beside readers and writers. E_CONFLICT: path exists; E_BUSY: a backup
 * to it is running; E_FULL, E_IO. Format: backup.c. */
int index_backup(struct index *x, const char *path, uint64_t *bytes, struct err *e);
/* Makes a backup the store of the data folder o->dir, which the caller has locked and not open. The backup is copied
 * and checked whole before anything is replaced. E_NOT_FOUND, E_FORMAT (no backup, cut short), E_CORRUPT (damaged),
 * E_UNSUPPORTED (newer format), E_CONFLICT (the folder has a store and replace is 0), E_FULL, E_IO: nothing changed. */
int index_restore(const struct index_options *o, const char *path, int replace, struct index_stats *out, struct err *e);
int index_drop_collection(struct index *x, const char *collection, struct err *e);
int index_rebuild_wait(struct index *x, struct err *e);      /* starts a rebuild where one is due and waits until none runs */

#endif
