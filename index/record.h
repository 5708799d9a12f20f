/* record.h: how keys and values look in the store. Encodes to a struct buf, decodes borrowed bytes into plain structs
 * whose strings point into those bytes. The format page is the opening comment of record.c. Thread-safe (no state). */
#ifndef INDEX_RECORD_H
#define INDEX_RECORD_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "index/index.h"

enum {
	FORMAT_VERSION = 4,
	POSTINGS_FORMAT = 3,          /* the first with postings as they are now */
	ID_MAX = 63,                  /* bytes of a document id */
	COLLECTION_MAX = 64,          /* bytes of a collection's name */
	EMBEDDER_MAX = 64,            /* bytes of an embedder's fingerprint */
	MODEL_MAX = 255,              /* of its name */
	DIM_MAX = 65536,
	STRING_MAX = 1 << 20,         /* bytes of a title, source, heading …; meta may have 16 of them */
	ACL_MAX = 4096,               /* groups of a document */
	PIECE_BYTES = 4 << 20,        /* of a graph's piece as written, its head included; readers take any size */
	NOTE_KIND_MAX = 32,           /* bytes of a note's kind */
	NOTE_NAME_MAX = 200,          /* of its name */
	NOTE_JSON_MAX = 1 << 20,      /* of its JSON */
	TERM_MAX = 200,               /* bytes of an indexed word; longer ones are cut */
	BLOCK_POSTINGS = 256,         /* postings of a block as written */
	BLOCK_MAX = 1024,             /* of one that is read */
	KEY_MAX = 500                 /* bytes of the longest key made here; LMDB takes 511 */
};

struct key { uint8_t b[KEY_MAX]; size_t n; };
struct slice { const uint8_t *p; size_t n; };   /* borrowed bytes */

/* ---- keys ---- */
void key_u64(struct key *k, uint64_t id);                                   /* doc, text, chunk */
void key_text(struct key *k, const char *s);                                /* meta, coll, id; s at most 64 bytes */
void key_source(struct key *k, uint32_t coll, const char *source);          /* hashed when long */
void key_hash(struct key *k, uint32_t coll, const uint8_t hash[32], uint64_t doc); /* doc 0: the first */
void key_vec(struct key *k, uint32_t coll, uint64_t chunk);
void key_graph(struct key *k, uint32_t coll);                               /* the header */
void key_note(struct key *k, const char *kind, const char *name);            /* kind and name within NOTE_* */
/* A term's block whose postings are all of chunks up to `last`; BLOCK_TAIL: the block that grows. term: at most TERM_MAX
 * bytes without NUL. */
#define BLOCK_TAIL UINT64_MAX
void key_block(struct key *k, uint32_t coll, const char *term, size_t term_len, uint64_t last);
/* The parts of such a key; term borrows from it. 0: not one. */
int key_block_parse(struct slice key, uint32_t *coll, struct slice *term, uint64_t *last);
void key_piece(struct key *k, uint32_t coll, uint64_t generation, uint32_t piece);
uint32_t key_get_u32(const uint8_t *p);                                     /* big-endian */
uint64_t key_get_u64(const uint8_t *p);

/* ---- values ---- */
struct rec_gen {                  /* a generation of vectors: one embedder's, of every chunk */
	uint32_t number;              /* 1, 2, 3 …, never given twice */
	uint32_t slot;                /* 0: in the tables vec and graph, 1: in vec2 and graph2 */
	uint32_t dim;                 /* 0: no embedder yet */
	uint32_t status;              /* of the one beside: enum beside (index.h) */
	uint64_t upto;                /* likewise: every living chunk up to it has a vector there */
	char embedder[EMBEDDER_MAX + 1], model[MODEL_MAX + 1]; /* model: its name, for people; "": unknown */
};
struct rec_state {
	uint32_t format, next_coll;
	uint32_t analysis;            /* words_fingerprint() the postings were made with; 0: they are to be made anew */
	uint64_t seq, next_doc, next_chunk;
	struct rec_gen serving, beside; /* beside.slot is the other one */
};
struct rec_coll {
	uint32_t number;
	uint64_t documents, without_text, chunks, text_bytes;
	uint64_t graph_vectors;       /* in the stored graph, living or not; 0: none */
	uint64_t graph_last;          /* highest chunk id the graph covers; 0: none */
	uint64_t tail;                /* living chunks with a higher id */
	uint64_t words;               /* indexed words of all living chunks */
};
struct rec_doc {                  /* strings borrow from the value */
	uint32_t coll, revision, chunk_n, acl_n;
	int verdict;
	uint64_t bytes, source_size, seq, text_len, chars, first_chunk;
	int64_t source_mtime_ns, added_ms, updated_ms;
	uint8_t hash[32];
	const char *id, *title, *source, *type, *root, *meta, *reason, *duplicate_of;
	const uint8_t *acl;           /* acl_n strings; rec_acl_next walks them */
};
struct rec_chunk {                /* heading and sentences borrow */
	uint32_t coll, page;
	uint64_t doc;
	struct span range;
	uint32_t start_cp, end_cp, sentence_n;
	const char *heading;
	const uint8_t *sentences;     /* sentence_n pairs of u32; rec_sentence reads one */
};
struct rec_text { uint64_t len, chars; const uint32_t *map; size_t map_n; const char *text; };
struct rec_graph {
	uint32_t dim, m, ef_construction, piece_n;
	uint64_t generation, seq, last_chunk, vectors, bytes;
	char embedder[EMBEDDER_MAX + 1];
	uint32_t version;             /* of its stored form, as it was read */
};

/* Encoders reset out and fill it; E_LIMIT or E_MEMORY. */
int rec_state_put(struct buf *out, const struct key *k, const struct rec_state *r);
int rec_coll_put(struct buf *out, const struct key *k, const struct rec_coll *r);
/* Strings from d, the rest from r; d's strings must be within the limits above. */
int rec_doc_put(struct buf *out, const struct key *k, const struct rec_doc *r, const struct doc_in *d);
int rec_chunk_put(struct buf *out, const struct key *k, const struct rec_chunk *r, const struct span *sentences);
int rec_graph_put(struct buf *out, const struct key *k, const struct rec_graph *r);
/* A block of postings: entries ascending by chunk. */
struct posting { uint64_t chunk; uint32_t count, len; }; /* count: of the term in the chunk; len: words of the chunk */
int rec_block_put(struct buf *out, const struct key *k, const struct posting *p, size_t n); /* 1 … BLOCK_MAX; block.c */
int rec_note_put(struct buf *out, const struct key *k, const char *json, size_t len);
/* A text's value has rec_text_size bytes and is filled where it will lie. */
size_t rec_text_size(size_t text_len);                                      /* 0: too long for one value */
void rec_text_fill(uint8_t *out, size_t size, const struct key *k, const char *text, size_t len, size_t chars);
/* How a vector's components are written. A vector of one component is always VEC_F32. */
enum vec_form { VEC_F32, VEC_F16 };
#define VEC_F16_MAX 65504.0f                                                /* the largest a half holds */
size_t rec_vec_size(uint32_t dim, enum vec_form form);
/* out: rec_vec_size(dim, form) bytes. Halves: nearest even; |v[i]| <= VEC_F16_MAX. */
/* A damaged record of a text of len bytes, v.n being rec_text_size(len): its head and map made again from the text. E_CORRUPT
 * when the checksum does not prove the text. out: v.n bytes, aligned as a text. */
int rec_text_mend(uint8_t *out, const struct key *k, struct slice v, size_t len);
void rec_vec_fill(uint8_t *out, const struct key *k, const float *v, uint32_t dim, enum vec_form form);
enum { PIECE_HEAD = 8 };                                                    /* bytes before a piece's payload */
void rec_piece_seal(uint8_t *piece, size_t n, const struct key *k);         /* fills the head of piece[0,n) */

/* Decoders: E_CORRUPT with a message that names the mistake; every length is checked, the checksum too. */
/* E_UNSUPPORTED: newer format */
int rec_state_get(struct rec_state *r, const struct key *k, struct slice v, struct err *e);
int rec_coll_get(struct rec_coll *r, const struct key *k, struct slice v, struct err *e);
int rec_doc_get(struct rec_doc *r, const struct key *k, struct slice v, struct err *e);
int rec_chunk_get(struct rec_chunk *r, const struct key *k, struct slice v, struct err *e);
/* check 0 leaves the checksum alone: for a text that this transaction has verified before. */
int rec_text_get(struct rec_text *r, const struct key *k, struct slice v, int check, struct err *e);
struct rec_vec { const void *at; uint32_t dim; enum vec_form form; };      /* borrows; the value's length says the form */
int rec_vec_get(struct rec_vec *out, const struct key *k, struct slice v, uint32_t dim, int check, struct err *e);
void rec_vec_floats(float *out, const struct rec_vec *v);                   /* (dim) */
/* The same where it lies when it is floats already, else converted into scratch (dim). */
const float *rec_vec_borrow(const struct rec_vec *v, float *scratch);
int rec_graph_get(struct rec_graph *r, const struct key *k, struct slice v, struct err *e);
/* Postings of a block, at most cap of them into out; *n written. E_CORRUPT also when they are more, none, or out of order. */
int rec_block_get(struct posting *out, size_t cap, size_t *n, const struct key *k, struct slice v, struct err *e);
size_t rec_block_n(struct slice v);                                         /* how many its head says; nothing is checked */
/* What stands in front of a block, without a look at its checksum; 0: not of this form, or over BLOCK_MAX. Each posting has
 * at most the count and at least the length of one of the pairs; no pairs: nothing is known of them. */
struct block_pair { uint32_t count, len; };
struct block_look { size_t n, pair_n; uint64_t first; struct block_pair pair[4]; const uint8_t *lists; };
int rec_block_look(struct slice v, struct block_look *out);
/* All of a block that rec_block_look took, in three lists of n. E_CORRUPT as above. */
int rec_block_read(const struct key *k, struct slice v, uint64_t *chunk, uint32_t *count, uint32_t *len, struct err *e);
int rec_note_get(struct slice *json, const struct key *k, struct slice v, struct err *e); /* a NUL follows it */
int rec_piece_get(struct slice *payload, const struct key *k, struct slice v, struct err *e);
int rec_u64_get(uint64_t *out, struct slice v, struct err *e);              /* the values of id and source */
void rec_u64_fill(uint8_t out[8], uint64_t x);

const char *rec_acl_next(const uint8_t **p);                                /* in a decoded record: acl_n times */
struct span rec_sentence(const struct rec_chunk *r, uint32_t i);
/* CRC-32C (Castagnoli; RFC 3720, B.4) of data, going on from crc; start with 0. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);

#endif
