/* record.c: owns the byte layout of every key and value in the store. THE FORMAT PAGE, format version 4.
 *
 * All integers in values are little-endian, all integers in keys big-endian, so that LMDB's byte order is the order of
 * the numbers. Floats (f32) are IEEE 754 binary32, halves (f16) binary16, little-endian. "str" is u32 length, the bytes, one NUL (not counted).
 * Every value but those of id, source and hash starts with u32 crc: CRC-32C over the key's bytes and then the value's
 * bytes behind the crc (vec has it at the end), so a record under a wrong key is found as well as a changed one.
 * "head" is {u32 crc, u8 kind, u8 version = 1, u16 0} where nothing else is said. Reserved fields are 0 and ignored when read.
 *
 * table   key                                   value
 * ------  ------------------------------------  -------------------------------------------------------------------
 * meta    "state"                               head 'S' version 2; 8 u32 format; 12 u32 dim; 16 u64 seq; 24 u64
 *                                               next_doc; 32 u64 next_chunk; 40 u32 next_coll; 44 u32 analysis; 48 str
 *                                               embedder, model; then u32 slot, number; and of the generation beside
 *                                               u32 number, status, dim; u64 upto; str embedder, model
 * coll    name (1 … 64 bytes)                   head 'C' version 2; 8 u32 number; 12 u32 0; 16 u64 documents; 24 u64
 *                                               without_text; 32 u64 chunks; 40 u64 text_bytes; 48 u64 graph_vectors;
 *                                               56 u64 graph_last; 64 u64 tail; 72 u64 words              (80 bytes)
 * doc     u64 key                               head 'D'; 8 u32 coll; 12 u32 revision; 16 u64 bytes; 24 u64
 *                                               source_size; 32 i64 source_mtime_ns; 40 i64 added_ms; 48 i64
 *                                               updated_ms; 56 u64 seq; 64 u64 text_len; 72 u64 chars; 80 u64
 *                                               first_chunk; 88 u32 chunk_n; 92 u32 acl_n; 96 u8[32] hash; 128 u32
 *                                               verdict; 132 str id, title, source, type, root, meta, reason,
 *                                               duplicate_of; acl_n str
 * id      document id (1 … 63 bytes)            u64 doc key
 * source  u32 coll, 0, source (≤ 400 bytes)     u64 doc key
 *         u32 coll, 1, SHA-256 of the source    u64 doc key (readers compare the source in the doc record)
 * hash    u32 coll, u8[32] hash, u64 doc key    u64 doc key
 * text    u64 doc key                           head 'T'; 8 u64 text_len; 16 u64 chars; 24 u32[cpmap_n(text_len)]
 *                                               code point map (base/utf8.h); text; 0 to 3 zero bytes up to a
 *                                               multiple of 4
 * chunk   u64 chunk id                          head 'K'; 8 u32 coll; 12 u32 page; 16 u64 doc key; 24 u32 off; 28 u32
 *                                               len; 32 u32 start_cp; 36 u32 end_cp; 40 u32 sentence_n; 44 str
 *                                               heading; sentence_n times {u32 off, u32 len}
 * vec     u32 coll, u64 chunk id                f32[dim]; u32 crc; or, when dim > 1, f16[dim]; 0 or 2 zero bytes up to a
 *                                               multiple of 4; u32 crc. The length says which
 * vec2    likewise, of the other generation     likewise
 * graph   u32 coll                              head 'G' version 2; 8 u32 dim; 12 u32 M; 16 u32 ef_construction; 20 u32 piece_n;
 *                                               24 u64 generation; 32 u64 seq; 40 u64 last_chunk; 48 u64 vectors; 56
 *                                               u64 bytes of all payloads; 64 str embedder
 *         u32 coll, u64 generation, u32 piece   head 'P'; payload: at most 4 MiB - 8 bytes of the graph's bytes below
 * graph2  likewise, over vec2                   likewise
 * note    kind (1 … 32 of [a-z_]), 0, name      head 'N'; 8 str: one JSON text of at most 1 MiB
 *         (1 … 200 bytes without NUL)           One that repeats words of documents is an object with "of_documents":
 *                                               [{"id": text, "key": number} …]; for each of these there is a note of
 *                                               kind of_document, JSON 0, named: id, 0x1f, kind, 0x1f, name
 * post    u32 coll, term (1 … 200 bytes         head 'W' version 2 with u16 n (1 … 1024) for its 0; 8 u8 widths; 9 u8
 *         without NUL), 0, u64 last             pair_n (≤ 4); LEB128 first chunk id; pair_n times {u32 count, u32 len};
 *                                               n - 1 gaps, n counts, n lens; of widths, bits 0-1, 2-3, 4-5 are log2
 *                                               of the bytes of a gap, a count, a len (of the last two at most 2)
 *
 * Document keys, chunk ids and collection numbers start at 1, only grow and are never used twice. The chunks of a
 * document are first_chunk … first_chunk + chunk_n - 1. A graph's pieces count from 0; pieces of another generation
 * than the header's are remains of an interrupted rebuild and mean nothing.
 *
 * Generations of vectors: an embedder's vectors of every chunk are one. The one that searches use has the tables vec and
 * graph when `slot` is 0, else vec2 and graph2; in the other two may stand another embedder's: status 1, being built
 * (every living chunk up to `upto` has one), or 2, kept after the store turned to the present one (what came later may
 * lack its vector). With status 0 they are empty, and embedder and model tell what was there last. Numbers of
 * generations are never given twice. The counters of 'C' are those of the serving generation's graph.
 *
 * A graph's bytes, its pieces' payloads one behind the other (graph.c): u32 entry; u32 levels; u64 high_n; u64 link_n;
 * u64[vectors] chunk ids, ascending; vectors rows of {u8[dim, rounded up to 64] code, f32 scale, f32 lost, f32 length
 * (code8.h), u32[2 M] links on the ground level: rows}; high_n of {u32 row, u32 at}: rows with upper levels, ascending,
 * whose lists begin at that link; u32[link_n] links on upper levels: numbers of those, M for each level, from the lowest
 * up. 2^32 - 1 stands behind the last link of a list. entry: one of those, with so many levels; of the rows when levels
 * is 0. A header of version 1 led to FAISS's own form; such a graph is built again.
 *
 * A header with M 0 leads to lists of codes (ivf.c), whose bytes are: u32 lists; u32 parts; u32 width; u32 0; u64 trained;
 * lists rows of {u8[dim, rounded up to 64] code, f32 scale, f32 lost, f32 length}: centres; f32[parts, 16, width] books;
 * u32[lists + 1]: the first place of each list, and how many there are; u64[vectors] chunk ids, in order in each list;
 * blocks of 16 parts bytes (pq4.h), 32 places each. parts and width follow from dim (ivf_shape).
 *
 * Postings: a term is a word as base/words.h makes it, so the keys are also the dictionary in byte order. What a term has
 * lies in blocks; each holds postings of chunks above the `last` of the block before it, up to its own. The last one is
 * the tail, with last = 2^64 - 1: it takes what is new, and when it would hold more than 256 it is split into blocks of
 * 256 under their highest chunk id and a new tail. A block that lost postings keeps its key, an emptied one goes. count
 * is how often the term stands in the chunk, len how many words the chunk has (text, title and heading; lexical.c), so
 * that scoring needs no second look-up. A gap is a chunk's id less the one before. Every posting has at most the count and
 * at least the len of one of the pairs, which bound its score unread; a block without pairs is unbounded. `analysis`
 * tells which version of the words they are.
 *
 * Format 1 had no post table, no words in 'C' (version 1, 72 bytes) and 0 for analysis; format 2 had blocks of version 1:
 * the head, then n times {LEB128 gap, LEB128 count, LEB128 len}, the first gap being the id. Both are upgraded when they
 * are opened (words_settle), in one transaction: postings are made anew from the texts.
 * Up to format 3 there were no vectors of halves, no vec2 and graph2, and 'S' (version 1) ended with embedder; it is read
 * as it is.
 * Alignment: values of text and vec are multiples of 4 long and their keys too, so LMDB (whose nodes have heads of 8
 * bytes and fill a page from its aligned end, and whose overflow pages hold data at 16) keeps floats and map entries
 * aligned, and they are read in place. A value that is not aligned is refused as damaged.
 *
 * Method: an encoder appends to a buf and seals the checksum at the end; a decoder walks a bounded cursor that turns
 * "bad" once and stays so. Threads: no state. Failure: E_CORRUPT, E_LIMIT, E_MEMORY. */
#include "index/record.h"
#include <immintrin.h>
#include <string.h>
#include "base/hash.h"
#include "base/utf8.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the store's values are little-endian and read in place"
#endif

enum { SOURCE_PLAIN_MAX = 400, DOC_FIXED = 132, CHUNK_FIXED = 44, TEXT_FIXED = 24 };

/* ---- checksum ---- */

__attribute__((target("sse4.2"))) uint32_t crc32c(uint32_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t c = ~crc;
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		c = _mm_crc32_u64(c, w);
	}
	for (; n; p++, n--) c = _mm_crc32_u8((uint32_t)c, *p);
	return ~(uint32_t)c;
}

/* Of a value that carries its crc in front. */
static uint32_t value_crc(const struct key *k, const uint8_t *p, size_t n)
{
	return crc32c(crc32c(0, k->b, k->n), p + 4, n - 4);
}

/* ---- keys ---- */

static void key_add(struct key *k, const void *p, size_t n)
{
	memcpy(k->b + k->n, p, n);
	k->n += n;
}

static void key_add_u32(struct key *k, uint32_t x)
{
	uint32_t be = __builtin_bswap32(x);
	key_add(k, &be, 4);
}

static void key_add_u64(struct key *k, uint64_t x)
{
	uint64_t be = __builtin_bswap64(x);
	key_add(k, &be, 8);
}

void key_u64(struct key *k, uint64_t id)
{
	k->n = 0;
	key_add_u64(k, id);
}

void key_text(struct key *k, const char *s)
{
	k->n = 0;
	key_add(k, s, strnlen(s, COLLECTION_MAX));
}

void key_source(struct key *k, uint32_t coll, const char *source)
{
	size_t n = strlen(source);
	uint8_t tag = n > SOURCE_PLAIN_MAX, hash[32];
	k->n = 0;
	key_add_u32(k, coll);
	key_add(k, &tag, 1);
	if (tag) {
		sha256_of(source, n, hash);
		key_add(k, hash, sizeof hash);
	} else {
		key_add(k, source, n);
	}
}

void key_hash(struct key *k, uint32_t coll, const uint8_t hash[32], uint64_t doc)
{
	k->n = 0;
	key_add_u32(k, coll);
	key_add(k, hash, 32);
	key_add_u64(k, doc);
}

void key_vec(struct key *k, uint32_t coll, uint64_t chunk)
{
	k->n = 0;
	key_add_u32(k, coll);
	key_add_u64(k, chunk);
}

void key_graph(struct key *k, uint32_t coll)
{
	k->n = 0;
	key_add_u32(k, coll);
}

void key_piece(struct key *k, uint32_t coll, uint64_t generation, uint32_t piece)
{
	k->n = 0;
	key_add_u32(k, coll);
	key_add_u64(k, generation);
	key_add_u32(k, piece);
}

void key_block(struct key *k, uint32_t coll, const char *term, size_t term_len, uint64_t last)
{
	k->n = 0;
	key_add_u32(k, coll);
	key_add(k, term, term_len < TERM_MAX ? term_len : TERM_MAX);
	key_add(k, "", 1);
	key_add_u64(k, last);
}

int key_block_parse(struct slice key, uint32_t *coll, struct slice *term, uint64_t *last)
{
	if (key.n < 4 + 1 + 1 + 8 || key.n > 4 + TERM_MAX + 1 + 8) return 0;
	*coll = key_get_u32(key.p);
	*term = (struct slice){ key.p + 4, key.n - 13 };
	*last = key_get_u64(key.p + key.n - 8);
	return key.p[key.n - 9] == 0 && !memchr(term->p, 0, term->n);
}

void key_note(struct key *k, const char *kind, const char *name)
{
	k->n = 0;
	key_add(k, kind, strnlen(kind, NOTE_KIND_MAX) + 1);
	key_add(k, name, strnlen(name, NOTE_NAME_MAX));
}

uint32_t key_get_u32(const uint8_t *p)
{
	uint32_t x;
	memcpy(&x, p, 4);
	return __builtin_bswap32(x);
}

uint64_t key_get_u64(const uint8_t *p)
{
	uint64_t x;
	memcpy(&x, p, 8);
	return __builtin_bswap64(x);
}

/* ---- encoding ---- */

static uint8_t head_version(char kind)
{
	return kind == 'S' || kind == 'C' || kind == 'G' ? 2 : 1;
}

static void put_u32(struct buf *b, uint32_t x) { buf_put(b, &x, 4); }
static void put_u64(struct buf *b, uint64_t x) { buf_put(b, &x, 8); }

static void put_str(struct buf *b, const char *s)
{
	size_t n = s ? strlen(s) : 0;
	if (n > UINT32_MAX) n = UINT32_MAX; /* past every buf's maximum: the put below fails */
	put_u32(b, (uint32_t)n);
	if (n) buf_put(b, s, n);
	buf_putc(b, 0);
}

static void head_put(struct buf *b, char kind)
{
	uint8_t head[8] = { 0, 0, 0, 0, (uint8_t)kind, head_version(kind), 0, 0 };
	buf_reset(b);
	buf_put(b, head, sizeof head);
}

static int seal(struct buf *b, const struct key *k)
{
	uint32_t crc;
	if (buf_failed(b)) return buf_failed(b);
	crc = value_crc(k, (uint8_t *)b->data, b->len);
	memcpy(b->data, &crc, 4);
	return OK;
}

int rec_state_put(struct buf *out, const struct key *k, const struct rec_state *r)
{
	head_put(out, 'S');
	put_u32(out, r->format);
	put_u32(out, r->serving.dim);
	put_u64(out, r->seq);
	put_u64(out, r->next_doc);
	put_u64(out, r->next_chunk);
	put_u32(out, r->next_coll);
	put_u32(out, r->analysis);
	put_str(out, r->serving.embedder);
	put_str(out, r->serving.model);
	put_u32(out, r->serving.slot);
	put_u32(out, r->serving.number);
	put_u32(out, r->beside.number);
	put_u32(out, r->beside.status);
	put_u32(out, r->beside.dim);
	put_u64(out, r->beside.upto);
	put_str(out, r->beside.embedder);
	put_str(out, r->beside.model);
	return seal(out, k);
}

int rec_coll_put(struct buf *out, const struct key *k, const struct rec_coll *r)
{
	head_put(out, 'C');
	put_u32(out, r->number);
	put_u32(out, 0);
	put_u64(out, r->documents);
	put_u64(out, r->without_text);
	put_u64(out, r->chunks);
	put_u64(out, r->text_bytes);
	put_u64(out, r->graph_vectors);
	put_u64(out, r->graph_last);
	put_u64(out, r->tail);
	put_u64(out, r->words);
	return seal(out, k);
}

int rec_doc_put(struct buf *out, const struct key *k, const struct rec_doc *r, const struct doc_in *d)
{
	head_put(out, 'D');
	put_u32(out, r->coll);
	put_u32(out, r->revision);
	put_u64(out, r->bytes);
	put_u64(out, r->source_size);
	put_u64(out, (uint64_t)r->source_mtime_ns);
	put_u64(out, (uint64_t)r->added_ms);
	put_u64(out, (uint64_t)r->updated_ms);
	put_u64(out, r->seq);
	put_u64(out, r->text_len);
	put_u64(out, r->chars);
	put_u64(out, r->first_chunk);
	put_u32(out, r->chunk_n);
	put_u32(out, (uint32_t)d->acl_n);
	buf_put(out, r->hash, 32);
	put_u32(out, (uint32_t)r->verdict);
	put_str(out, r->id);
	put_str(out, d->title);
	put_str(out, d->source);
	put_str(out, d->type);
	put_str(out, d->root);
	put_str(out, d->meta);
	put_str(out, d->reason);
	put_str(out, d->duplicate_of);
	for (size_t i = 0; i < d->acl_n; i++) put_str(out, d->acl[i]);
	return seal(out, k);
}

int rec_chunk_put(struct buf *out, const struct key *k, const struct rec_chunk *r, const struct span *sentences)
{
	head_put(out, 'K');
	put_u32(out, r->coll);
	put_u32(out, r->page);
	put_u64(out, r->doc);
	put_u32(out, r->range.off);
	put_u32(out, r->range.len);
	put_u32(out, r->start_cp);
	put_u32(out, r->end_cp);
	put_u32(out, r->sentence_n);
	put_str(out, r->heading);
	for (uint32_t i = 0; i < r->sentence_n; i++) {
		put_u32(out, sentences[i].off);
		put_u32(out, sentences[i].len);
	}
	return seal(out, k);
}

int rec_graph_put(struct buf *out, const struct key *k, const struct rec_graph *r)
{
	head_put(out, 'G');
	put_u32(out, r->dim);
	put_u32(out, r->m);
	put_u32(out, r->ef_construction);
	put_u32(out, r->piece_n);
	put_u64(out, r->generation);
	put_u64(out, r->seq);
	put_u64(out, r->last_chunk);
	put_u64(out, r->vectors);
	put_u64(out, r->bytes);
	put_str(out, r->embedder);
	return seal(out, k);
}

int rec_note_put(struct buf *out, const struct key *k, const char *json, size_t len)
{
	head_put(out, 'N');
	put_u32(out, (uint32_t)len);
	buf_put(out, json, len);
	buf_putc(out, 0);
	return seal(out, k);
}

size_t rec_text_size(size_t text_len)
{
	size_t n;
	if (text_len > UINT32_MAX) return 0;
	n = TEXT_FIXED + 4 * cpmap_n(text_len) + text_len;
	n = (n + 3) & ~(size_t)3;
	return n > UINT32_MAX ? 0 : n;
}

void rec_text_fill(uint8_t *out, size_t size, const struct key *k, const char *text, size_t len, size_t chars)
{
	uint8_t head[8] = { 0, 0, 0, 0, 'T', 1, 0, 0 };
	uint64_t len64 = len, chars64 = chars;
	size_t map_n = cpmap_n(len), at = TEXT_FIXED + 4 * map_n;
	uint32_t crc;
	memcpy(out, head, 8);
	memcpy(out + 8, &len64, 8);
	memcpy(out + 16, &chars64, 8);
	cpmap_fill((uint32_t *)(out + TEXT_FIXED), text, len);
	memcpy(out + at, text, len);
	memset(out + at + len, 0, size - at - len);
	crc = value_crc(k, out, size);
	memcpy(out, &crc, 4);
}

int rec_text_mend(uint8_t *out, const struct key *k, struct slice v, size_t len)
{
	const char *text = (const char *)v.p + TEXT_FIXED + 4 * cpmap_n(len);
	if (rec_text_size(len) != v.n || !utf8_valid(text, len)) return E_CORRUPT;
	rec_text_fill(out, v.n, k, text, len, utf8_count(text, len));
	return memcmp(out, v.p, 4) == 0 ? OK : E_CORRUPT;
}

size_t rec_vec_size(uint32_t dim, enum vec_form form)
{
	return form == VEC_F16 && dim > 1 ? ((size_t)dim * 2 + 3) / 4 * 4 + 4 : (size_t)dim * 4 + 4;
}

__attribute__((target("avx2,f16c"))) static void halves_fill(uint8_t *out, const float *v, uint32_t dim)
{
	uint32_t i = 0;
	for (; i + 8 <= dim; i += 8)
		_mm_storeu_si128((__m128i *)(out + 2 * (size_t)i), _mm256_cvtps_ph(_mm256_loadu_ps(v + i), _MM_FROUND_TO_NEAREST_INT));
	for (; i < dim; i++) {
		uint16_t h = (uint16_t)_cvtss_sh(v[i], _MM_FROUND_TO_NEAREST_INT);
		memcpy(out + 2 * (size_t)i, &h, sizeof h);
	}
}

void rec_vec_fill(uint8_t *out, const struct key *k, const float *v, uint32_t dim, enum vec_form form)
{
	size_t n = rec_vec_size(dim, form) - 4;
	uint32_t crc;
	memset(out + n - 4, 0, 4);
	if (form == VEC_F16 && dim > 1) halves_fill(out, v, dim);
	else memcpy(out, v, n);
	crc = crc32c(crc32c(0, k->b, k->n), out, n);
	memcpy(out + n, &crc, 4);
}

__attribute__((target("avx2,f16c"))) void rec_vec_floats(float *out, const struct rec_vec *v)
{
	const uint16_t *h = v->at;
	uint32_t i = 0;
	if (v->form == VEC_F32) {
		memcpy(out, v->at, (size_t)v->dim * sizeof *out);
		return;
	}
	for (; i + 8 <= v->dim; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(h + i))));
	for (; i < v->dim; i++) out[i] = _cvtsh_ss(h[i]);
}

const float *rec_vec_borrow(const struct rec_vec *v, float *scratch)
{
	if (v->form == VEC_F32) return v->at;
	rec_vec_floats(scratch, v);
	return scratch;
}

void rec_piece_seal(uint8_t *piece, size_t n, const struct key *k)
{
	uint8_t head[8] = { 0, 0, 0, 0, 'P', 1, 0, 0 };
	uint32_t crc;
	memcpy(piece, head, 8);
	crc = value_crc(k, piece, n);
	memcpy(piece, &crc, 4);
}

void rec_u64_fill(uint8_t out[8], uint64_t x)
{
	memcpy(out, &x, 8);
}

/* ---- decoding ---- */

struct cur { const uint8_t *p; size_t left; int bad; };

static const uint8_t *cur_take(struct cur *c, size_t n)
{
	const uint8_t *p = c->p;
	if (c->bad || n > c->left) {
		c->bad = 1;
		return NULL;
	}
	c->p += n;
	c->left -= n;
	return p;
}

static uint32_t cur_u32(struct cur *c)
{
	uint32_t x = 0;
	const uint8_t *p = cur_take(c, 4);
	if (p) memcpy(&x, p, 4);
	return x;
}

static uint64_t cur_u64(struct cur *c)
{
	uint64_t x = 0;
	const uint8_t *p = cur_take(c, 8);
	if (p) memcpy(&x, p, 8);
	return x;
}

/* A str: "" when bad. Its length, its NUL and the absence of others are checked. */
static const char *cur_str(struct cur *c)
{
	uint32_t n = cur_u32(c);
	const uint8_t *p = cur_take(c, (size_t)n + 1);
	if (p && (p[n] != 0 || memchr(p, 0, n))) c->bad = 1;
	return p && !c->bad ? (const char *)p : "";
}

/* Checks the head and the checksum and leaves c behind the head. */
static int head_get(struct cur *c, char kind, const struct key *k, struct slice v, int check, struct err *e)
{
	uint32_t crc;
	if (v.n < 8) return err_set(e, E_CORRUPT, "record '%c' is cut short: %zu bytes", kind, v.n);
	if (v.p[4] != (uint8_t)kind) return err_set(e, E_CORRUPT, "record '%c' has another kind (%u)", kind, v.p[4]);
	memcpy(&crc, v.p, 4);
	if (check && crc != value_crc(k, v.p, v.n)) return err_set(e, E_CORRUPT, "record '%c': wrong checksum", kind);
	if (v.p[5] == 0 || v.p[5] > head_version(kind))
		return err_set(e, E_UNSUPPORTED, "record '%c' has version %u, this build reads up to %u", kind, v.p[5], head_version(kind));
	*c = (struct cur){ v.p + 8, v.n - 8, 0 };
	return OK;
}

static int cur_end(const struct cur *c, char kind, struct err *e)
{
	if (c->bad) return err_set(e, E_CORRUPT, "record '%c': a length passes its end", kind);
	if (c->left) return err_set(e, E_CORRUPT, "record '%c': %zu bytes too many", kind, c->left);
	return OK;
}

/* Copies a str of at most max bytes into its fixed field. */
static void cur_field(struct cur *c, char *out, size_t max)
{
	const char *s = cur_str(c);
	size_t n = strlen(s);
	out[0] = 0;
	if (n > max) c->bad = 1;
	else memcpy(out, s, n + 1);
}

/* What version 2 adds to 'S'. */
static void generations_get(struct rec_state *r, struct cur *c)
{
	cur_field(c, r->serving.model, MODEL_MAX);
	r->serving.slot = cur_u32(c);
	r->serving.number = cur_u32(c);
	r->beside.number = cur_u32(c);
	r->beside.status = cur_u32(c);
	r->beside.dim = cur_u32(c);
	r->beside.upto = cur_u64(c);
	cur_field(c, r->beside.embedder, EMBEDDER_MAX);
	cur_field(c, r->beside.model, MODEL_MAX);
	if (r->serving.slot > 1 || r->beside.status > BESIDE_KEPT) c->bad = 1;
}

int rec_state_get(struct rec_state *r, const struct key *k, struct slice v, struct err *e)
{
	struct cur c;
	uint32_t format;
	int rc;
	memset(r, 0, sizeof *r);
	if (v.n >= 12 && v.p[4] == 'S') {
		memcpy(&format, v.p + 8, 4);
		if (format > FORMAT_VERSION) {
			uint32_t crc;
			memcpy(&crc, v.p, 4);
			if (crc == value_crc(k, v.p, v.n))
				return err_set(e, E_UNSUPPORTED, "the store has format %u, this build reads up to %d", format, FORMAT_VERSION);
		}
	}
	rc = head_get(&c, 'S', k, v, 1, e);
	if (rc) return rc;
	r->format = cur_u32(&c);
	r->serving.dim = cur_u32(&c);
	r->seq = cur_u64(&c);
	r->next_doc = cur_u64(&c);
	r->next_chunk = cur_u64(&c);
	r->next_coll = cur_u32(&c);
	r->analysis = cur_u32(&c);
	cur_field(&c, r->serving.embedder, EMBEDDER_MAX);
	r->serving.number = 1;
	if (v.p[5] > 1) generations_get(r, &c);
	r->beside.slot = 1 - r->serving.slot;
	if (r->serving.dim > DIM_MAX || r->beside.dim > DIM_MAX)
		return err_set(e, E_CORRUPT, "record 'S': dimension %u", r->serving.dim > DIM_MAX ? r->serving.dim : r->beside.dim);
	return cur_end(&c, 'S', e);
}

int rec_coll_get(struct rec_coll *r, const struct key *k, struct slice v, struct err *e)
{
	struct cur c;
	int rc = head_get(&c, 'C', k, v, 1, e);
	memset(r, 0, sizeof *r);
	if (rc) return rc;
	r->number = cur_u32(&c);
	cur_u32(&c);
	r->documents = cur_u64(&c);
	r->without_text = cur_u64(&c);
	r->chunks = cur_u64(&c);
	r->text_bytes = cur_u64(&c);
	r->graph_vectors = cur_u64(&c);
	r->graph_last = cur_u64(&c);
	r->tail = cur_u64(&c);
	if (v.p[5] > 1) r->words = cur_u64(&c);
	return cur_end(&c, 'C', e);
}

static void doc_fixed_get(struct rec_doc *r, struct cur *c)
{
	const uint8_t *hash;
	r->coll = cur_u32(c);
	r->revision = cur_u32(c);
	r->bytes = cur_u64(c);
	r->source_size = cur_u64(c);
	r->source_mtime_ns = (int64_t)cur_u64(c);
	r->added_ms = (int64_t)cur_u64(c);
	r->updated_ms = (int64_t)cur_u64(c);
	r->seq = cur_u64(c);
	r->text_len = cur_u64(c);
	r->chars = cur_u64(c);
	r->first_chunk = cur_u64(c);
	r->chunk_n = cur_u32(c);
	r->acl_n = cur_u32(c);
	hash = cur_take(c, 32);
	if (hash) memcpy(r->hash, hash, 32);
	r->verdict = (int)cur_u32(c);
}

int rec_doc_get(struct rec_doc *r, const struct key *k, struct slice v, struct err *e)
{
	struct cur c;
	int rc = head_get(&c, 'D', k, v, 1, e);
	memset(r, 0, sizeof *r);
	if (rc) return rc;
	doc_fixed_get(r, &c);
	r->id = cur_str(&c);
	r->title = cur_str(&c);
	r->source = cur_str(&c);
	r->type = cur_str(&c);
	r->root = cur_str(&c);
	r->meta = cur_str(&c);
	r->reason = cur_str(&c);
	r->duplicate_of = cur_str(&c);
	r->acl = c.p;
	if (r->acl_n > ACL_MAX) c.bad = 1;
	for (uint32_t i = 0; i < r->acl_n && !c.bad; i++) cur_str(&c);
	if (r->verdict < 0 || r->verdict > DOC_FAILED) c.bad = 1;
	if (r->text_len > UINT32_MAX || r->chars > r->text_len) c.bad = 1;
	if (r->first_chunk > UINT64_MAX - r->chunk_n) c.bad = 1;
	return cur_end(&c, 'D', e);
}

int rec_chunk_get(struct rec_chunk *r, const struct key *k, struct slice v, struct err *e)
{
	struct cur c;
	int rc = head_get(&c, 'K', k, v, 1, e);
	memset(r, 0, sizeof *r);
	if (rc) return rc;
	r->coll = cur_u32(&c);
	r->page = cur_u32(&c);
	r->doc = cur_u64(&c);
	r->range.off = cur_u32(&c);
	r->range.len = cur_u32(&c);
	r->start_cp = cur_u32(&c);
	r->end_cp = cur_u32(&c);
	r->sentence_n = cur_u32(&c);
	r->heading = cur_str(&c);
	r->sentences = cur_take(&c, (size_t)r->sentence_n * 8);
	if (r->range.len > UINT32_MAX - r->range.off || r->end_cp < r->start_cp) c.bad = 1;
	return cur_end(&c, 'K', e);
}

int rec_text_get(struct rec_text *r, const struct key *k, struct slice v, int check, struct err *e)
{
	struct cur c;
	const uint8_t *map, *text;
	int rc = head_get(&c, 'T', k, v, check, e);
	memset(r, 0, sizeof *r);
	if (rc) return rc;
	r->len = cur_u64(&c);
	r->chars = cur_u64(&c);
	if (c.bad || r->len > UINT32_MAX || rec_text_size(r->len) != v.n)
		return err_set(e, E_CORRUPT, "record 'T': %zu bytes do not fit a text of %llu", v.n, (unsigned long long)r->len);
	r->map_n = cpmap_n(r->len);
	map = cur_take(&c, 4 * r->map_n);
	text = cur_take(&c, r->len);
	if (!map || !text) return cur_end(&c, 'T', e);
	if ((uintptr_t)map % 4) return err_set(e, E_CORRUPT, "record 'T' is not aligned");
	r->map = (const uint32_t *)map;
	r->text = (const char *)text;
	return OK;
}

int rec_vec_get(struct rec_vec *out, const struct key *k, struct slice v, uint32_t dim, int check, struct err *e)
{
	size_t full = rec_vec_size(dim, VEC_F32), half = rec_vec_size(dim, VEC_F16);
	uint32_t crc;
	if (v.n != full && v.n != half)
		return err_set(e, E_CORRUPT, "vector has %zu bytes, %zu or %zu are due", v.n, full, half);
	if ((uintptr_t)v.p % 4) return err_set(e, E_CORRUPT, "vector is not aligned");
	memcpy(&crc, v.p + v.n - 4, 4);
	if (check && crc != crc32c(crc32c(0, k->b, k->n), v.p, v.n - 4))
		return err_set(e, E_CORRUPT, "vector: wrong checksum");
	*out = (struct rec_vec){ v.p, dim, v.n == full ? VEC_F32 : VEC_F16 };
	return OK;
}

int rec_graph_get(struct rec_graph *r, const struct key *k, struct slice v, struct err *e)
{
	struct cur c;
	int rc = head_get(&c, 'G', k, v, 1, e);
	memset(r, 0, sizeof *r);
	if (rc) return rc;
	r->version = v.p[5];
	r->dim = cur_u32(&c);
	r->m = cur_u32(&c);
	r->ef_construction = cur_u32(&c);
	r->piece_n = cur_u32(&c);
	r->generation = cur_u64(&c);
	r->seq = cur_u64(&c);
	r->last_chunk = cur_u64(&c);
	r->vectors = cur_u64(&c);
	r->bytes = cur_u64(&c);
	cur_field(&c, r->embedder, EMBEDDER_MAX);
	return cur_end(&c, 'G', e);
}

int rec_note_get(struct slice *json, const struct key *k, struct slice v, struct err *e)
{
	const char *text;
	struct cur c;
	int rc = head_get(&c, 'N', k, v, 1, e);
	*json = (struct slice){ (const uint8_t *)"", 0 };
	if (rc) return rc;
	text = cur_str(&c);
	rc = cur_end(&c, 'N', e);
	if (!rc) *json = (struct slice){ (const uint8_t *)text, strlen(text) };
	return rc;
}

int rec_piece_get(struct slice *payload, const struct key *k, struct slice v, struct err *e)
{
	struct cur c;
	int rc = head_get(&c, 'P', k, v, 1, e);
	*payload = (struct slice){ NULL, 0 };
	if (rc) return rc;
	*payload = (struct slice){ c.p, c.left };
	return OK;
}

int rec_u64_get(uint64_t *out, struct slice v, struct err *e)
{
	*out = 0;
	if (v.n != 8) return err_set(e, E_CORRUPT, "reference has %zu bytes, 8 are due", v.n);
	memcpy(out, v.p, 8);
	return OK;
}

const char *rec_acl_next(const uint8_t **p)
{
	uint32_t n;
	const char *s = (const char *)*p + 4;
	memcpy(&n, *p, 4);
	*p += 4 + (size_t)n + 1;
	return s;
}

struct span rec_sentence(const struct rec_chunk *r, uint32_t i)
{
	struct span s;
	memcpy(&s.off, r->sentences + (size_t)i * 8, 4);
	memcpy(&s.len, r->sentences + (size_t)i * 8 + 4, 4);
	return s;
}
