/* check.c: owns the walk that tells whether the store fits itself.
 *
 * Method: one snapshot, every table once, in an order that lets each record be held against those it refers to:
 * collections; documents with their texts, chunks, vectors and references; then texts, chunks, vectors, ids, sources
 * and hashes for entries that no document has; postings; notes; then the counters found against the counters stored; then graphs.
 * Words are made again from each text and looked up, and those in the index are counted: equal numbers of both, with
 * none missing, leave no room for a word of something deleted.
 * Only records decoded here are used, so a damaged one is a line and not the end. What comes out of a record is
 * bounds-checked before it is used, also when the checksum fits.
 * Threads: any, beside readers and a writer. Failure: an error only when LMDB or memory fails. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/arena.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "index/inside.h"
#include "index/postings.h"

typedef unsigned long long ull;

struct found { const char *name; struct rec_coll want, have; uint64_t postings, indexed; }; /* have: counted here; postings: of the
 * texts, as found in the index; indexed: all there are */

struct check {
	struct snapshot *s;
	void (*on_problem)(void *ctx, const char *what);
	void *ctx;
	uint64_t problems;
	struct arena a;
	struct found *coll; size_t coll_n;
	uint64_t vectors, beside;            /* of the generation that serves; of the one beside */
	struct postings *words;
	struct posting *block;               /* BLOCK_MAX of them */
	float *floats;                       /* a vector that is stored otherwise */
	struct key post; uint64_t post_last; /* of the block before */
	struct faults faults;
};

__attribute__((format(printf, 2, 3))) static void problem(struct check *c, const char *fmt, ...)
{
	char line[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	c->problems++;
	if (c->on_problem) c->on_problem(c->ctx, line);
}

static struct found *coll_find(struct check *c, uint32_t number)
{
	for (size_t i = 0; i < c->coll_n; i++)
		if (c->coll[i].want.number == number) return &c->coll[i];
	return NULL;
}

/* Reads an entry that must be there; a failure of LMDB counts as a missing entry, named with its reason. */
static int due_get(struct check *c, enum table table, const struct key *k, struct slice *v, const char *whose,
	uint64_t id)
{
	struct err e = { OK, "not there" };
	if (store_get(c->s->t, table, k, v, &e) == OK) return 1;
	problem(c, "%s %llu: its entry in table %s: %s", whose, (ull)id, table_name(table), e.msg);
	return 0;
}

/* ---- collections ---- */

static void coll_check(struct check *c, struct slice key, struct slice value)
{
	struct found *f = &c->coll[c->coll_n];
	struct err e;
	struct key k;
	f->name = arena_strndup(&c->a, (const char *)key.p, key.n);
	if (!f->name) return;
	if (!coll_name_ok(f->name)) {
		problem(c, "collection \"%.80s\": not a name", f->name);
		return;
	}
	key_text(&k, f->name);
	if (rec_coll_get(&f->want, &k, value, &e)) {
		problem(c, "collection %s: %s", f->name, e.msg);
		return;
	}
	if (coll_find(c, f->want.number)) {
		problem(c, "collection %s: number %u is another's", f->name, f->want.number);
		return;
	}
	if (f->want.number == 0 || f->want.number >= c->s->state.next_coll)
		problem(c, "collection %s: number %u was never given", f->name, f->want.number);
	c->coll_n++;
}

/* ---- documents ---- */

static void span_check(struct check *c, const struct rec_text *t, uint64_t doc, const char *what, uint64_t n,
	struct span s)
{
	uint64_t end = (uint64_t)s.off + s.len;
	if (end > t->len) {
		problem(c, "document %llu: %s %llu ends past the text", (ull)doc, what, (ull)n);
		return;
	}
	if ((s.off < t->len && (t->text[s.off] & 0xc0) == 0x80) || (end < t->len && (t->text[end] & 0xc0) == 0x80))
		problem(c, "document %llu: %s %llu cuts a code point", (ull)doc, what, (ull)n);
}

static void vector_check(struct check *c, const struct rec_gen *g, uint32_t coll, uint64_t id)
{
	struct rec_vec vec;
	const float *x;
	struct slice v;
	struct err e;
	struct key k;
	key_vec(&k, coll, id);
	if (!due_get(c, gen_vec(g), &k, &v, "chunk", id)) return;
	if (rec_vec_get(&vec, &k, v, g->dim, 1, &e)) {
		problem(c, "chunk %llu: %s", (ull)id, e.msg);
		return;
	}
	x = rec_vec_borrow(&vec, c->floats);
	for (uint32_t i = 0; i < g->dim; i++)
		if (!isfinite(x[i])) {
			problem(c, "chunk %llu: component %u of its vector is not a number", (ull)id, i);
			break;
		}
}

static void chunk_check(struct check *c, uint64_t doc, const struct rec_doc *d, uint64_t id, const struct rec_text *t)
{
	struct rec_chunk r;
	struct slice v;
	struct err e;
	struct key k;
	uint64_t at, end, before;
	key_u64(&k, id);
	if (!due_get(c, T_CHUNK, &k, &v, "chunk", id)) return;
	if (rec_chunk_get(&r, &k, v, &e)) {
		problem(c, "chunk %llu: %s", (ull)id, e.msg);
		return;
	}
	if (r.doc != doc || r.coll != d->coll)
		problem(c, "chunk %llu: belongs to document %llu, found under %llu", (ull)id, (ull)r.doc, (ull)doc);
	at = r.range.off, end = at + r.range.len;
	span_check(c, t, doc, "chunk", id, r.range);
	if (end <= t->len && t->len && (cpmap_to_cp(t->map, t->text, t->len, at) != r.start_cp ||
		cpmap_to_cp(t->map, t->text, t->len, end) != r.end_cp))
		problem(c, "chunk %llu: code points %u to %u are not its range", (ull)id, r.start_cp, r.end_cp);
	for (uint32_t i = 0; i < r.sentence_n; i++) {
		struct span s = rec_sentence(&r, i);
		if (s.off < at || (uint64_t)s.off + s.len > end)
			problem(c, "chunk %llu: sentence %u is not in order inside it", (ull)id, i);
		else span_check(c, t, doc, "sentence of chunk", id, s);
		at = (uint64_t)s.off + s.len;
	}
	vector_check(c, &c->s->state.serving, d->coll, id);
	before = c->problems;
	if (c->s->state.beside.status && id <= c->s->state.beside.upto) vector_check(c, &c->s->state.beside, d->coll, id);
	if (c->problems > before) c->faults.beside = 1;
}

/* The text and its map; *t becomes an empty text when it can't be used. */
static void text_check(struct check *c, uint64_t doc, const struct rec_doc *d, struct rec_text *t)
{
	static const uint32_t empty_map[1];
	const struct rec_text none = { 0, 0, empty_map, 1, "" };
	struct slice v;
	struct err e;
	struct key k;
	uint64_t cp = 0;
	*t = none;
	if (d->text_len == 0) return;
	key_u64(&k, doc);
	if (!due_get(c, T_TEXT, &k, &v, "document", doc)) return;
	if (rec_text_get(t, &k, v, 1, &e)) {
		problem(c, "document %llu: its text: %s", (ull)doc, e.msg);
		*t = none;
	} else if (!utf8_valid(t->text, t->len)) {
		problem(c, "document %llu: its text is not UTF-8", (ull)doc);
		*t = none;
	} else if (t->len != d->text_len || t->chars != d->chars || utf8_count(t->text, t->len) != t->chars) {
		problem(c, "document %llu: its text has %llu bytes, not the %llu (%llu code points) of its record", (ull)doc,
			(ull)t->len, (ull)d->text_len, (ull)d->chars);
	}
	for (uint64_t i = 0; i <= t->len; i++) {
		if (i % CPMAP_STRIDE == 0 && t->map[i / CPMAP_STRIDE] != cp) {
			problem(c, "document %llu: entry %llu of its code point map is wrong", (ull)doc, (ull)(i / CPMAP_STRIDE));
			*t = none;
			return;
		}
		if (i < t->len) cp += (t->text[i] & 0xc0) != 0x80;
	}
}

static void word_wrong(void *ctx, uint64_t chunk, const char *how)
{
	struct check *c = ctx;
	c->faults.words = 1;
	problem(c, "chunk %llu: %s", (ull)chunk, how);
}

/* Makes the words of the document's chunks again and looks each up. */
static int words_check(struct check *c, struct found *f, const struct rec_doc *d, const struct rec_text *t, struct err *e)
{
	const enum words_language language = d->chunk_n ? words_language(t->text, t->len) : WORDS_ENGLISH;
	int rc = OK;
	for (uint32_t i = 0; !rc && i < d->chunk_n; i++) {
		struct rec_chunk r;
		struct slice v;
		struct key k;
		uint32_t n;
		key_u64(&k, d->first_chunk + i);
		if (store_get(c->s->t, T_CHUNK, &k, &v, NULL) || rec_chunk_get(&r, &k, v, NULL)) continue;
		if (r.range.off > t->len || r.range.len > t->len - r.range.off) continue;
		rc = postings_chunk(c->words, d->coll, d->first_chunk + i, &(struct chunk_words){ d->title, r.heading,
			t->text + r.range.off, r.range.len, language }, 0, &n, e);
		f->have.words += n;
	}
	return rc ? rc : postings_compare(c->words, c->s->t, word_wrong, c, &f->postings, e);
}

static void ref_check(struct check *c, enum table table, const struct key *k, uint64_t doc)
{
	struct slice v;
	uint64_t key;
	if (!due_get(c, table, k, &v, "document", doc)) return;
	if (rec_u64_get(&key, v, NULL) || key != doc)
		problem(c, "document %llu: table %s leads to %llu", (ull)doc, table_name(table), (ull)key);
}

static void doc_count(struct found *f, const struct rec_doc *d)
{
	if (!doc_verdict_has_text(d->verdict)) f->have.without_text++;
	else f->have.documents++;
	f->have.chunks += d->chunk_n;
	f->have.text_bytes += d->text_len;
	if (d->chunk_n && d->first_chunk + d->chunk_n - 1 > f->want.graph_last) {
		uint64_t from = d->first_chunk > f->want.graph_last ? d->first_chunk : f->want.graph_last + 1;
		f->have.tail += d->first_chunk + d->chunk_n - from;
	}
}

static int doc_check(struct check *c, struct slice key, struct slice value, struct err *why)
{
	uint64_t doc = key.n == 8 ? key_get_u64(key.p) : 0;
	struct rec_text t;
	struct rec_doc d;
	struct found *f;
	struct err e;
	int rc = OK;
	struct key k;
	if (doc == 0 || doc >= c->s->state.next_doc) {
		problem(c, "document %llu: key of %zu bytes that was never given", (ull)doc, key.n);
		return OK;
	}
	key_u64(&k, doc);
	if (rec_doc_get(&d, &k, value, &e)) {
		problem(c, "document %llu: %s", (ull)doc, e.msg);
		return OK;
	}
	f = coll_find(c, d.coll);
	if (f) doc_count(f, &d);
	else problem(c, "document %llu: no collection has number %u", (ull)doc, d.coll);
	if (d.seq > c->s->state.seq) problem(c, "document %llu: seq %llu is to come", (ull)doc, (ull)d.seq);
	if (d.first_chunk + d.chunk_n > c->s->state.next_chunk) {
		problem(c, "document %llu: its chunks were never given", (ull)doc);
		return OK;
	}
	text_check(c, doc, &d, &t);
	for (uint32_t i = 0; i < d.chunk_n; i++) chunk_check(c, doc, &d, d.first_chunk + i, &t);
	if (f) rc = words_check(c, f, &d, &t, why);
	key_text(&k, d.id);
	if (!*d.id || strlen(d.id) > ID_MAX) problem(c, "document %llu: id of %zu bytes", (ull)doc, strlen(d.id));
	else ref_check(c, T_ID, &k, doc);
	key_source(&k, d.coll, d.source);
	if (*d.source) ref_check(c, T_SOURCE, &k, doc);
	key_hash(&k, d.coll, d.hash, doc);
	if (doc_verdict_has_text(d.verdict)) ref_check(c, T_HASH, &k, doc);
	return rc;
}

/* ---- entries that no document has ---- */

/* The document's record, or 0. A damaged one was named before. */
static int doc_get(struct check *c, uint64_t doc, struct rec_doc *d)
{
	struct slice v;
	struct key k;
	key_u64(&k, doc);
	return store_get(c->s->t, T_DOC, &k, &v, NULL) == OK && rec_doc_get(d, &k, v, NULL) == OK;
}

static void text_owner_check(struct check *c, struct slice key, struct slice value)
{
	uint64_t doc = key.n == 8 ? key_get_u64(key.p) : 0;
	struct rec_doc d;
	(void)value;
	if (!doc_get(c, doc, &d) || d.text_len == 0) problem(c, "text %llu: no document has it", (ull)doc);
}

static void chunk_owner_check(struct check *c, struct slice key, struct slice value)
{
	uint64_t id = key.n == 8 ? key_get_u64(key.p) : 0;
	struct rec_chunk r;
	struct rec_doc d;
	struct key k;
	key_u64(&k, id);
	if (rec_chunk_get(&r, &k, value, NULL)) problem(c, "chunk %llu: damaged", (ull)id);
	else if (!doc_get(c, r.doc, &d) || id < d.first_chunk || id - d.first_chunk >= d.chunk_n)
		problem(c, "chunk %llu: document %llu does not have it", (ull)id, (ull)r.doc);
}

static void vec_owner_check(struct check *c, enum table table, struct slice key)
{
	uint64_t id = key.n == 12 ? key_get_u64(key.p + 4) : 0;
	struct rec_chunk r;
	struct slice v;
	struct key k;
	if (table == gen_vec(&c->s->state.serving)) c->vectors++;
	else c->beside++;
	key_u64(&k, id);
	if (store_get(c->s->t, T_CHUNK, &k, &v, NULL) || rec_chunk_get(&r, &k, v, NULL) || r.coll != key_get_u32(key.p))
		problem(c, "vector %llu: no chunk has it", (ull)id);
}

/* id, source and hash: does the document refer back with this very key? */
static void ref_owner_check(struct check *c, enum table table, struct slice key, struct slice value)
{
	struct rec_doc d;
	struct key k = { .n = 0 };
	uint64_t doc;
	if (rec_u64_get(&doc, value, NULL) || !doc_get(c, doc, &d)) {
		problem(c, "table %s: an entry leads to no document", table_name(table));
		return;
	}
	if (table == T_ID) key_text(&k, d.id);
	else if (table == T_SOURCE) key_source(&k, d.coll, d.source);
	else key_hash(&k, d.coll, d.hash, doc);
	if (k.n != key.n || memcmp(k.b, key.p, k.n) != 0)
		problem(c, "table %s: document %llu does not know of its entry", table_name(table), (ull)doc);
}

/* ---- postings ---- */

static void block_check(struct check *c, struct slice key, struct slice value)
{
	struct slice term;
	struct found *f;
	struct key k;
	struct err e;
	uint64_t last, after = 0;
	uint32_t coll;
	uint64_t before = c->problems;
	size_t n;
	if (!key_block_parse(key, &coll, &term, &last)) {
		problem(c, "postings: a key of %zu bytes that is none", key.n);
		c->faults.words = 1;
		return;
	}
	memcpy(k.b, key.p, key.n), k.n = key.n;
	if (c->post.n == k.n && memcmp(c->post.b, k.b, k.n - 8) == 0) after = c->post_last;
	c->post = k, c->post_last = last;
	f = coll_find(c, coll);
	if (!f) problem(c, "postings: no collection has number %u", coll);
	else if (rec_block_get(c->block, BLOCK_MAX, &n, &k, value, &e)) problem(c, "postings of collection %s: %s", f->name, e.msg);
	else if (c->block[0].chunk <= after || c->block[n - 1].chunk > last || c->block[n - 1].chunk >= c->s->state.next_chunk)
		problem(c, "postings of collection %s: a block holds chunks %llu to %llu, which are another's", f->name,
			(ull)c->block[0].chunk, (ull)c->block[n - 1].chunk);
	else f->indexed += n;
	if (c->problems > before) c->faults.words = 1;
}

/* ---- notes ---- */

static void note_check(struct check *c, struct slice key, struct slice value)
{
	const uint8_t *zero = memchr(key.p, 0, key.n);
	struct slice json;
	struct key k;
	struct err e;
	if (key.n > KEY_MAX || !zero) {
		problem(c, "note: a key of %zu bytes without a kind", key.n);
		return;
	}
	memcpy(k.b, key.p, key.n);
	k.n = key.n;
	if (rec_note_get(&json, &k, value, &e) || note_json_check((const char *)json.p, json.n, &e))
		problem(c, "note %.*s of kind %.40s: %s", (int)(key.p + key.n - zero - 1), (const char *)zero + 1,
			(const char *)key.p, e.msg);
}

/* ---- graphs ---- */

int graph_fits(struct txn *t, const struct rec_state *state, const struct rec_gen *g, const struct rec_coll *c, struct err *e)
{
	int serves = g == &state->serving;
	struct err why = { OK, "not there" };
	struct slice v, payload;
	struct rec_graph h;
	struct key k;
	uint64_t bytes = 0;
	key_graph(&k, c->number);
	if (store_get(t, gen_graph(g), &k, &v, &why) || rec_graph_get(&h, &k, v, &why))
		return serves && c->graph_vectors ? err_set(e, E_CORRUPT, "header: %s", why.msg) : OK;
	if ((serves && (h.vectors != c->graph_vectors || h.last_chunk != c->graph_last)) || h.seq > state->seq)
		return err_set(e, E_CORRUPT, "its stamp is not the collection's");
	for (uint32_t i = 0; i < h.piece_n; i++) {
		key_piece(&k, c->number, h.generation, i);
		if (store_get(t, gen_graph(g), &k, &v, &why) || rec_piece_get(&payload, &k, v, &why))
			return err_set(e, E_CORRUPT, "piece %u: %s", i, why.msg);
		bytes += payload.n;
	}
	return bytes == h.bytes ? OK : err_set(e, E_CORRUPT, "%llu bytes of %llu", (ull)bytes, (ull)h.bytes);
}

static void graph_check(struct check *c, const struct rec_gen *g, struct found *f)
{
	struct err e;
	if (graph_fits(c->s->t, &c->s->state, g, &f->want, &e)) problem(c, "graph of collection %s: %s", f->name, e.msg);
}

static void counters_check(struct check *c, const struct found *f)
{
	static const struct { const char *name; size_t at; } fields[] = {
		{ "documents", offsetof(struct rec_coll, documents) },
		{ "documents without text", offsetof(struct rec_coll, without_text) },
		{ "chunks", offsetof(struct rec_coll, chunks) }, { "bytes of text", offsetof(struct rec_coll, text_bytes) },
		{ "tail", offsetof(struct rec_coll, tail) }, { "words", offsetof(struct rec_coll, words) },
	};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		uint64_t have, want;
		memcpy(&have, (const char *)&f->have + fields[i].at, sizeof have);
		memcpy(&want, (const char *)&f->want + fields[i].at, sizeof want);
		if (have != want)
			problem(c, "collection %s: %s: counted %llu, stored %llu", f->name, fields[i].name, (ull)have, (ull)want);
	}
	if (f->indexed != f->postings || f->have.words != f->want.words) c->faults.words = 1;
	if (f->indexed != f->postings)
		problem(c, "collection %s: the index has %llu postings, of which its texts have %llu", f->name, (ull)f->indexed,
			(ull)f->postings);
}

/* ---- the walk ---- */

static int entry_check(struct check *c, enum table table, struct slice key, struct slice value, struct err *e)
{
	switch (table) {
	case T_COLL: coll_check(c, key, value); break;
	case T_DOC: return doc_check(c, key, value, e);
	case T_TEXT: text_owner_check(c, key, value); break;
	case T_CHUNK: chunk_owner_check(c, key, value); break;
	case T_VEC: case T_VEC2: vec_owner_check(c, table, key); break;
	case T_ID: case T_SOURCE: case T_HASH: ref_owner_check(c, table, key, value); break;
	case T_NOTE: note_check(c, key, value); break;
	case T_POST: block_check(c, key, value); break;
	default: break;
	}
	return OK;
}

static int table_walk(struct check *c, enum table table, struct err *e)
{
	struct cursor cur = { 0 };
	struct slice key, value;
	struct err why;
	int rc = cursor_open(&cur, c->s->t, table, &why);
	if (!rc) rc = cursor_seek(&cur, NULL, &key, &value, &why);
	while (!rc) {
		rc = entry_check(c, table, key, value, &why);
		if (!rc) rc = cursor_next(&cur, &key, &value, &why);
	}
	cursor_close(&cur);
	if (rc == E_CORRUPT) problem(c, "%s", why.msg); /* a page of LMDB's own: the rest of the walk has no transaction */
	return rc == E_NOT_FOUND || rc == E_CORRUPT ? OK : err_set(e, rc, "check: %s", why.msg);
}

int check_run(struct index *x, void (*on_problem)(void *ctx, const char *what), void *ctx, uint64_t *problems,
	struct faults *faults, struct err *e)
{
	static const enum table order[] = { T_COLL, T_DOC, T_TEXT, T_CHUNK, T_VEC, T_VEC2, T_ID, T_SOURCE, T_HASH,
		T_POST, T_NOTE };
	struct check c = { .on_problem = on_problem, .ctx = ctx };
	struct err why;
	uint64_t n, chunks = 0;
	int rc;
	*problems = 0;
	*faults = (struct faults){ 0, 0 };
	rc = snapshot_open(&c.s, x, &why);
	if (rc == E_CORRUPT) {
		problem(&c, "%s", why.msg);
		*problems = c.problems;
		return OK;
	}
	if (rc) return err_set(e, rc, "%s", why.msg);
	rc = store_pages_check(c.s->t, &why);
	if (rc) {
		if (rc == E_CORRUPT) problem(&c, "%s", why.msg); /* LMDB would be led astray */
		*problems = c.problems;
		snapshot_close(c.s);
		return rc == E_CORRUPT ? OK : err_set(e, rc, "check: %s", why.msg);
	}
	arena_init(&c.a, (size_t)1 << 30);
	rc = store_entries(c.s->t, T_COLL, &n, &why);
	if (rc) err_set(e, rc, "check: %s", why.msg);
	if (!rc && !(c.coll = arena_calloc(&c.a, n + 1, sizeof *c.coll))) rc = err_set(e, E_MEMORY, "check: out of memory");
	if (!rc && !(c.block = mem_alloc(BLOCK_MAX * sizeof *c.block))) rc = err_set(e, E_MEMORY, "check: out of memory");
	if (!rc && !(c.floats = mem_alloc(DIM_MAX * sizeof *c.floats))) rc = err_set(e, E_MEMORY, "check: out of memory");
	if (!rc) rc = postings_new(&c.words, e);
	for (size_t i = 0; !rc && i < sizeof order / sizeof *order; i++) rc = table_walk(&c, order[i], e);
	for (size_t i = 0; !rc && i < c.coll_n; i++) {
		counters_check(&c, &c.coll[i]);
		graph_check(&c, &c.s->state.serving, &c.coll[i]);
		graph_check(&c, &c.s->state.beside, &c.coll[i]);
		chunks += c.coll[i].have.chunks;
	}
	if (!rc && chunks != c.vectors) problem(&c, "%llu chunks have %llu vectors", (ull)chunks, (ull)c.vectors);
	if (!rc && c.beside && !c.s->state.beside.status) c.faults.beside = 1, problem(&c, "%llu vectors are of no embedder", (ull)c.beside);
	*problems = c.problems;
	*faults = c.faults;
	mem_free(c.block);
	mem_free(c.floats);
	postings_free(c.words);
	arena_clear(&c.a);
	snapshot_close(c.s);
	return rc;
}

int index_check(struct index *x, void (*on_problem)(void *ctx, const char *what), void *ctx, uint64_t *problems,
	struct err *e)
{
	struct faults faults;
	return check_run(x, on_problem, ctx, problems, &faults, e);
}
