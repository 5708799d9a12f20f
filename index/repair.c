/* repair.c: owns the mending of a store in which check found faults.
 *
 * What is derived is made anew from what is true, and what can be read is never taken away:
 *
 *   collections  a damaged record gets its number from the documents that no other collection has; where that tells
 *                nothing, the documents get a collection "recovered-NUMBER"
 *   documents    text, chunks and vectors are read; where something is damaged, the document is put again under its key
 *                with new chunks: a code point map is made from its text (which the checksum then proves), a damaged chunk
 *                becomes what lies between its neighbours, a damaged vector is embedded again. A text that is damaged
 *                is lost: its document becomes a failed one with the reason, which every sync reads again
 *   texts        one whose document's record is damaged or missing gets a record of what ids, sources and chunks still
 *                tell of it. Who might see it is not known any more: nobody but readers of every group
 *   references   ids, sources and hashes are put where their document wants them
 *   strays       entries that no document has are removed; so are damaged notes, but for holds, which are kept
 *   words        the table of postings is built anew when check found a fault in it, or documents were put
 *   counters     are counted; a stored graph that does not fit is dropped, the background thread builds another
 *
 * Each of these is one write transaction; a kill between two leaves what is left to mend for the next call. Every mended
 * thing is a line. Document records are not trusted beyond their checksum and the checks that check.c makes too.
 * Threads: any; the writer's place is held through each step. Failure: LMDB and memory; a step that failed changed
 * nothing. What can't be mended (a page of LMDB's own, a vector without an embedder) is left to check to tell. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sentence.h"
#include "base/utf8.h"
#include "index/inside.h"
#include "index/postings.h"

enum { ARENA_MAX = 1 << 30, FILL_BYTES = 1200, SENTENCE_MAX = 400, NUMBERS_MAX = 1 << 20 };
/* A group that nobody has: of documents whose own are lost. */
static const char *const nobody[] = { "footnote:recovered" };

typedef unsigned long long ull;

struct repair {
	struct index *x;
	const struct index_mender *m;
	struct write *w;
	uint64_t repaired;
	int words_bad;               /* the postings are to be made anew */
	uint32_t dim;                /* of the vectors that serve */
	struct arena a;              /* of the call */
	struct coll_entry *colls; size_t coll_n;
};

__attribute__((format(printf, 2, 3))) static void mended(struct repair *p, const char *fmt, ...)
{
	char line[500];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	p->repaired++;
	p->w->puts++;
	if (p->m->on_repair) p->m->on_repair(p->m->ctx, line);
}

/* ---- walking a table that changes ---- */

/* The first entry behind k (of no bytes: of all); key and value are copied or borrowed until the next change. */
static int entry_after(struct repair *p, enum table table, struct key *k, struct slice *value, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key;
	int rc = cursor_open(&c, p->w->t, table, e), first = k->n == 0;
	if (!first && k->n < KEY_MAX) k->b[k->n++] = 0;
	if (!rc) rc = cursor_seek(&c, first ? NULL : k, &key, value, e);
	cursor_close(&c);
	if (rc) return rc;
	if (key.n > KEY_MAX) return err_set(e, E_CORRUPT, "table %s: a key of %zu bytes", table_name(table), key.n);
	memcpy(k->b, key.p, key.n);
	k->n = key.n;
	return OK;
}

static int found(struct repair *p, enum table table, const struct key *k, struct slice *v)
{
	return store_get(p->w->t, table, k, v, NULL) == OK;
}

/* Deletes an entry, there or not. */
static int entry_drop(struct repair *p, enum table table, const struct key *k, struct err *e)
{
	int rc = store_del(p->w->t, table, k, e);
	return rc == E_NOT_FOUND ? OK : rc;
}

static int doc_find(struct repair *p, uint64_t doc, struct rec_doc *d)
{
	struct slice v;
	struct key k;
	key_u64(&k, doc);
	return doc && found(p, T_DOC, &k, &v) && rec_doc_get(d, &k, v, NULL) == OK;
}

/* ---- collections ---- */

struct numbers { uint32_t *at; size_t n, cap; };

static int number_add(struct repair *p, struct numbers *s, uint32_t number, struct err *e)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->at[i] == number) return OK;
	if (s->n == s->cap) {
		uint32_t *more = arena_alloc(&p->a, (s->cap = s->cap ? 2 * s->cap : 64) * sizeof *more);
		if (!more || s->n > NUMBERS_MAX) return err_set(e, E_MEMORY, "repair: out of memory");
		if (s->n) memcpy(more, s->at, s->n * sizeof *more);
		s->at = more;
	}
	s->at[s->n++] = number;
	return OK;
}

/* Numbers that documents have and no good collection. */
static int orphan_numbers(struct repair *p, const struct numbers *good, struct numbers *out, struct err *e)
{
	struct slice v;
	struct key k = { .n = 0 };
	int rc;
	while (!(rc = entry_after(p, T_DOC, &k, &v, e))) {
		struct rec_doc d;
		size_t i = 0;
		if (rec_doc_get(&d, &k, v, NULL)) continue;
		while (i < good->n && good->at[i] != d.coll) i++;
		if (i == good->n && (rc = number_add(p, out, d.coll, e))) return rc;
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

static int coll_make(struct repair *p, const char *name, uint32_t number, struct err *e)
{
	if (number >= p->w->state.next_coll) p->w->state.next_coll = number + 1;
	p->words_bad = 1;
	return coll_write(p->w->t, name, &(struct rec_coll){ .number = number }, e);
}

static int collections_mend(struct repair *p, struct err *e)
{
	struct numbers good = { 0 }, orphans = { 0 };
	char **damaged = NULL;
	size_t damaged_n = 0;
	struct slice v;
	struct key k = { .n = 0 };
	int rc;
	while (!(rc = entry_after(p, T_COLL, &k, &v, e))) {
		struct rec_coll r;
		char **more;
		if (rec_coll_get(&r, &k, v, NULL) == OK) {
			if ((rc = number_add(p, &good, r.number, e))) return rc;
			continue;
		}
		more = arena_alloc(&p->a, (damaged_n + 1) * sizeof *more);
		if (!more || !(more[damaged_n] = arena_strndup(&p->a, (char *)k.b, k.n))) return err_set(e, E_MEMORY, "repair: out of memory");
		if (damaged_n) memcpy(more, damaged, damaged_n * sizeof *more);
		damaged = more;
		damaged_n++;
		if ((rc = entry_drop(p, T_COLL, &k, e))) return rc;
	}
	if (rc == E_NOT_FOUND) rc = orphan_numbers(p, &good, &orphans, e);
	if (!rc && damaged_n == 1 && orphans.n == 1 && coll_name_ok(damaged[0])) {
		rc = coll_make(p, damaged[0], orphans.at[0], e);
		if (!rc) mended(p, "collection %s: its record is made again", damaged[0]);
		return rc;
	}
	for (size_t i = 0; !rc && i < damaged_n; i++)
		mended(p, "collection %.80s: its damaged record is removed", damaged[i]);
	for (size_t i = 0; !rc && i < orphans.n; i++) {
		char name[40];
		snprintf(name, sizeof name, "recovered-%u", orphans.at[i]);
		rc = coll_make(p, name, orphans.at[i], e);
		if (!rc) mended(p, "collection %s: made for documents whose own is lost", name);
	}
	return rc;
}

/* ---- one document: what can be read of it ---- */

struct body {
	struct arena a;
	struct doc_in in;            /* everything in the arena */
	struct chunk_in *chunks; size_t chunk_n, chunk_cap;
	float *vectors;              /* (chunk_n, dim), rows of `missing` are not filled */
	uint8_t *missing;            /* 1: the chunk has no vector */
	size_t missing_n;
	int text_mended, chunks_lost, adopted; /* adopted: without a record of its own */
};

static int is_char_start(const struct rec_text *t, uint64_t off)
{
	return off == t->len || (off < t->len && (t->text[off] & 0xc0) != 0x80);
}

static int span_fits(const struct rec_text *t, struct span s)
{
	return (uint64_t)s.off + s.len <= t->len && s.len && is_char_start(t, s.off) && is_char_start(t, (uint64_t)s.off + s.len);
}

static int chunk_fits(const struct rec_chunk *r, uint64_t doc, uint32_t coll, const struct rec_text *t)
{
	uint64_t at = r->range.off, end = at + r->range.len;
	if (r->doc != doc || r->coll != coll || !span_fits(t, r->range)) return 0;
	if (cpmap_to_cp(t->map, t->text, t->len, at) != r->start_cp || cpmap_to_cp(t->map, t->text, t->len, end) != r->end_cp) return 0;
	for (uint32_t i = 0; i < r->sentence_n; i++) {
		struct span s = rec_sentence(r, i);
		if (s.off < at || (uint64_t)s.off + s.len > end || !span_fits(t, s) || utf8_count(t->text + s.off, s.len) > SENTENCE_MAX)
			return 0;
		at = (uint64_t)s.off + s.len;
	}
	return 1;
}

static int vector_read(struct repair *p, uint32_t coll, uint64_t chunk, float *out)
{
	struct rec_vec vec;
	struct slice v;
	struct key k;
	key_vec(&k, coll, chunk);
	if (!found(p, gen_vec(&p->w->state.serving), &k, &v) || rec_vec_get(&vec, &k, v, p->dim, 1, NULL)) return 0;
	rec_vec_floats(out, &vec);
	for (uint32_t i = 0; i < p->dim; i++)
		if (!isfinite(out[i])) return 0;
	return 1;
}

/* 1: the map is the text's. */
static int map_fits(const struct rec_text *t)
{
	uint64_t cp = 0;
	for (uint64_t i = 0; i <= t->len; i++) {
		if (i % CPMAP_STRIDE == 0 && t->map[i / CPMAP_STRIDE] != cp) return 0;
		if (i < t->len) cp += (t->text[i] & 0xc0) != 0x80;
	}
	return 1;
}

/* The document's text in *t with a map that fits, in the arena when it had to be mended. len: of its record, 0 when that
 * is lost. E_CORRUPT: it can't be read. */
static int text_read(struct repair *p, uint64_t doc, uint64_t len, struct arena *a, struct rec_text *t, int *was_mended,
	struct err *e)
{
	struct slice v;
	struct key k;
	uint8_t *whole;
	*was_mended = 0;
	key_u64(&k, doc);
	if (!found(p, T_TEXT, &k, &v)) return E_CORRUPT;
	if (rec_text_get(t, &k, v, 1, NULL) == OK && utf8_valid(t->text, t->len) && utf8_count(t->text, t->len) == t->chars) {
		if (map_fits(t)) return OK;
		len = t->len;
	}
	if (!len || rec_text_size(len) != v.n) return E_CORRUPT;
	whole = arena_alloc(a, v.n + 16);
	if (!whole) return err_set(e, E_MEMORY, "repair: out of memory");
	if (rec_text_mend(whole, &k, v, len)) return E_CORRUPT;
	*was_mended = 1;
	return rec_text_get(t, &k, (struct slice){ whole, v.n }, 1, NULL) ? E_CORRUPT : OK;
}

/* 1: nothing of the document's body is damaged. */
static int body_fits(struct repair *p, uint64_t doc, const struct rec_doc *d, struct err *e)
{
	struct rec_text t = { 0, 0, (const uint32_t[1]){ 0 }, 1, "" };
	struct arena a;
	float *vec = mem_alloc((p->dim + 1) * sizeof *vec);
	int fresh = 0, ok = vec != NULL;
	arena_init(&a, ARENA_MAX);
	if (ok && d->text_len) ok = text_read(p, doc, d->text_len, &a, &t, &fresh, e) == OK && !fresh;
	ok = ok && t.len == d->text_len && t.chars == d->chars;
	for (uint32_t i = 0; ok && i < d->chunk_n; i++) {
		struct rec_chunk r;
		struct slice v;
		struct key k;
		key_u64(&k, d->first_chunk + i);
		ok = found(p, T_CHUNK, &k, &v) && rec_chunk_get(&r, &k, v, NULL) == OK && chunk_fits(&r, doc, d->coll, &t) &&
			vector_read(p, d->coll, d->first_chunk + i, vec);
	}
	arena_clear(&a);
	mem_free(vec);
	return ok;
}

/* ---- one document: chunks ---- */

static struct chunk_in *chunk_new(struct repair *p, struct body *b)
{
	if (b->chunk_n == b->chunk_cap) {
		size_t cap = b->chunk_cap ? 2 * b->chunk_cap : 64, row = p->dim * sizeof *b->vectors;
		struct chunk_in *chunks = arena_calloc(&b->a, cap, sizeof *chunks);
		float *vectors = arena_calloc(&b->a, cap + 1, row);
		uint8_t *missing = arena_calloc(&b->a, cap, 1);
		if (!chunks || !vectors || !missing) return NULL;
		if (b->chunk_n) {
			memcpy(chunks, b->chunks, b->chunk_n * sizeof *chunks);
			memcpy(vectors, b->vectors, b->chunk_n * row);
			memcpy(missing, b->missing, b->chunk_n);
		}
		b->chunks = chunks, b->vectors = vectors, b->missing = missing, b->chunk_cap = cap;
	}
	return &b->chunks[b->chunk_n++];
}

/* Chunks for a part of the text that has none any more: whole sentences, about FILL_BYTES in each. */
static int chunks_fill(struct repair *p, struct body *b, size_t from, size_t to, struct err *e)
{
	size_t pos = from, start = 0, end = 0;
	struct chunk_in *c = NULL;
	struct span *spans = NULL;
	while (from < to && sentence_next(b->in.text, to, &pos, &start, &end)) {
		if (!c || end - c->range.off > FILL_BYTES) {
			c = chunk_new(p, b);
			spans = arena_alloc(&b->a, (FILL_BYTES + 1) * sizeof *spans);
			if (!c || !spans) return err_set(e, E_MEMORY, "repair: out of memory");
			*c = (struct chunk_in){ .range = { (uint32_t)start, 0 }, .heading = "", .sentences = spans };
			b->missing[b->chunk_n - 1] = 1;
			b->missing_n++;
		}
		c->range.len = (uint32_t)(end - c->range.off);
		if (utf8_count(b->in.text + start, end - start) <= SENTENCE_MAX)
			spans[c->sentence_n++] = (struct span){ (uint32_t)start, (uint32_t)(end - start) };
	}
	return OK;
}

static int chunk_copy(struct repair *p, struct body *b, const struct rec_chunk *r, uint64_t id, struct err *e)
{
	struct chunk_in *c = chunk_new(p, b);
	struct span *spans = arena_alloc(&b->a, ((size_t)r->sentence_n + 1) * sizeof *spans);
	size_t row = b->chunk_n - 1;
	if (!c || !spans) return err_set(e, E_MEMORY, "repair: out of memory");
	for (uint32_t i = 0; i < r->sentence_n; i++) spans[i] = rec_sentence(r, i);
	*c = (struct chunk_in){ r->range, arena_strdup(&b->a, r->heading), r->page, spans, r->sentence_n };
	if (!c->heading) return err_set(e, E_MEMORY, "repair: out of memory");
	b->missing[row] = !vector_read(p, r->coll, id, b->vectors + row * p->dim);
	b->missing_n += b->missing[row];
	return OK;
}

/* The chunks with ids [first, first + n) of the document, those that don't fit replaced by what lies between. */
static int chunks_read(struct repair *p, struct body *b, uint64_t doc, uint32_t coll, uint64_t first, uint32_t n,
	const struct rec_text *t, struct err *e)
{
	size_t covered = 0, at = 0;
	int rc = OK, gap = n == 0;
	for (uint32_t i = 0; !rc && i < n; i++) {
		struct rec_chunk r;
		struct slice v;
		struct key k;
		key_u64(&k, first + i);
		if (!found(p, T_CHUNK, &k, &v) || rec_chunk_get(&r, &k, v, NULL) || !chunk_fits(&r, doc, coll, t) || r.range.off < at) {
			gap = b->chunks_lost = 1;
			continue;
		}
		if (gap) rc = chunks_fill(p, b, covered, r.range.off, e);
		if (!rc) rc = chunk_copy(p, b, &r, first + i, e);
		gap = 0;
		at = r.range.off;
		if (covered < (size_t)r.range.off + r.range.len) covered = (size_t)r.range.off + r.range.len;
	}
	if (!rc && gap) rc = chunks_fill(p, b, covered, t->len, e);
	return rc;
}

/* ---- one document: put again ---- */

/* The strings of a record, copied: they move with the first change. */
static int strings_keep(struct body *b, const struct rec_doc *d)
{
	const char **acl = arena_alloc(&b->a, ((size_t)d->acl_n + 1) * sizeof *acl);
	const uint8_t *q = d->acl;
	struct doc_in *in = &b->in;
	int ok = acl != NULL;
	for (uint32_t i = 0; ok && i < d->acl_n; i++) ok = (acl[i] = arena_strdup(&b->a, rec_acl_next(&q))) != NULL;
	*in = (struct doc_in){ .id = arena_strdup(&b->a, d->id), .title = arena_strdup(&b->a, d->title),
		.source = arena_strdup(&b->a, d->source), .type = arena_strdup(&b->a, d->type), .root = arena_strdup(&b->a, d->root),
		.meta = arena_strdup(&b->a, d->meta), .reason = arena_strdup(&b->a, d->reason),
		.duplicate_of = arena_strdup(&b->a, d->duplicate_of), .acl = acl, .acl_n = d->acl_n, .bytes = d->bytes,
		.source_size = d->source_size, .source_mtime_ns = d->source_mtime_ns };
	memcpy(in->hash, d->hash, sizeof in->hash);
	return ok && in->id && in->title && in->source && in->type && in->root && in->meta && in->reason && in->duplicate_of;
}

static int vectors_make(struct repair *p, struct body *b, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; !rc && i < b->chunk_n; i++)
		if (b->missing[i])
			rc = p->m->embed(p->m->ctx, b->in.title, b->in.text, &b->chunks[i], 1, b->vectors + i * p->dim, e);
	return rc;
}

/* Takes the old body away, as far as it is there, and puts the new one under the document's key. */
static int body_put_again(struct repair *p, uint64_t doc, const struct rec_doc *old, struct body *b, int verdict, struct err *e)
{
	struct rec_doc r = { .revision = old->revision + 1, .added_ms = old->added_ms, .updated_ms = clock_wall_ms(),
		.verdict = verdict, .id = b->in.id };
	struct key k;
	int rc = words_gone_chunks(p->w, old->coll, old->first_chunk, old->chunk_n)
		? err_set(e, E_MEMORY, "repair: out of memory") : OK;
	docs_note_gone(&p->w->docs, doc);
	for (uint32_t i = 0; !rc && i < old->chunk_n; i++) {
		key_u64(&k, old->first_chunk + i);
		rc = entry_drop(p, T_CHUNK, &k, e);
		key_vec(&k, old->coll, old->first_chunk + i);
		if (!rc) rc = entry_drop(p, T_VEC, &k, e);
		if (!rc) rc = entry_drop(p, T_VEC2, &k, e);
	}
	key_u64(&k, doc);
	if (!rc) rc = entry_drop(p, T_TEXT, &k, e);
	key_hash(&k, old->coll, old->hash, doc);
	if (!rc) rc = entry_drop(p, T_HASH, &k, e);
	b->in.chunks = b->chunks, b->in.chunk_n = b->chunk_n, b->in.vectors = b->vectors;
	if (!rc) rc = write_again(p->w, doc, old->coll, &r, &b->in, e);
	p->words_bad = 1;
	return rc;
}

static int doc_fail(struct repair *p, uint64_t doc, const struct rec_doc *d, struct body *b, struct err *e)
{
	int rc;
	b->in.reason = "its text was damaged in the store";
	b->chunk_n = 0;
	rc = body_put_again(p, doc, d, b, DOC_FAILED, e);
	if (!rc) mended(p, "document %s (%.200s): its text is damaged and lost: it is failed now, and read again at the next sync of "
		"its source", b->in.id, *b->in.source ? b->in.source : "pushed");
	return rc;
}

/* Without an embedder what lacks vectors stays as it is. */
static int doc_rebuild(struct repair *p, uint64_t doc, const struct rec_doc *d, struct body *b, const struct rec_text *t,
	struct err *e)
{
	int rc;
	b->in.text = t->text, b->in.text_len = t->len;
	if (!b->text_mended && !(b->in.text = arena_strndup(&b->a, t->text, t->len))) return err_set(e, E_MEMORY, "repair: out of memory");
	rc = chunks_read(p, b, doc, d->coll, d->first_chunk, d->chunk_n, t, e);
	if (rc || (b->missing_n && !p->m->embed)) return rc;
	rc = vectors_make(p, b, e);
	if (rc) return rc;
	if (b->chunks_lost && b->in.source_mtime_ns) {   /* the next sync takes it for changed */
		b->in.source_mtime_ns = 1;
		memset(b->in.hash, 0, sizeof b->in.hash);
	}
	rc = body_put_again(p, doc, d, b, d->verdict, e);
	if (rc) return rc;
	if (b->text_mended) mended(p, "document %s: the code point map of its text is made again", b->in.id);
	if (b->chunks_lost) mended(p, "document %s: damaged chunks are made again from its text", b->in.id);
	if (b->missing_n) mended(p, "document %s: %zu vector%s made again from its text", b->in.id, b->missing_n,
		b->missing_n == 1 ? " is" : "s are");
	if (!b->text_mended && !b->chunks_lost && !b->missing_n && !b->adopted) mended(p, "document %s: its counts are made again", b->in.id);
	return OK;
}

static int body_mend(struct repair *p, uint64_t doc, const struct rec_doc *d, struct err *e)
{
	struct rec_text t = { 0, 0, (const uint32_t[1]){ 0 }, 1, "" };
	struct body b = { .in = { 0 } };
	struct rec_doc old = *d;
	int rc;
	arena_init(&b.a, ARENA_MAX);
	rc = strings_keep(&b, d) ? OK : err_set(e, E_MEMORY, "repair: out of memory");
	old.id = b.in.id;
	if (!rc && d->text_len) {
		rc = text_read(p, doc, d->text_len, &b.a, &t, &b.text_mended, e);
		if (rc == E_CORRUPT) {
			rc = doc_fail(p, doc, &old, &b, e);
			arena_clear(&b.a);
			return rc;
		}
	}
	if (!rc) rc = doc_rebuild(p, doc, &old, &b, &t, e);
	arena_clear(&b.a);
	return rc;
}

/* ---- references ---- */

static int ref_mend(struct repair *p, enum table table, const struct key *k, uint64_t doc, const char *id, struct err *e)
{
	uint8_t value[8];
	uint64_t there = 0;
	struct slice v;
	struct rec_doc other;
	int rc;
	if (found(p, table, k, &v) && rec_u64_get(&there, v, NULL) == OK && there == doc) return OK;
	if (table != T_HASH && there && doc_find(p, there, &other)) {      /* is it rightly another's? */
		struct key own;
		if (table == T_ID) key_text(&own, other.id);
		else key_source(&own, other.coll, other.source);
		if (own.n == k->n && memcmp(own.b, k->b, k->n) == 0) return OK;
	}
	rec_u64_fill(value, doc);
	rc = store_put(p->w->t, table, k, value, 8, e);
	if (!rc) mended(p, "document %s: its entry in table %s is made again", id, table_name(table));
	return rc;
}

static int refs_mend(struct repair *p, uint64_t doc, struct err *e)
{
	char id[ID_MAX + 1];
	struct key k, source, hash;
	struct rec_doc d;
	int rc = OK, with_source, with_hash;
	if (!doc_find(p, doc, &d) || !*d.id || strlen(d.id) > ID_MAX) return OK;
	memcpy(id, d.id, strlen(d.id) + 1);
	key_text(&k, d.id);
	key_source(&source, d.coll, d.source);
	key_hash(&hash, d.coll, d.hash, doc);
	with_source = *d.source != 0, with_hash = doc_verdict_has_text(d.verdict);
	rc = ref_mend(p, T_ID, &k, doc, id, e);
	if (!rc && with_source) rc = ref_mend(p, T_SOURCE, &source, doc, id, e);
	if (!rc && with_hash) rc = ref_mend(p, T_HASH, &hash, doc, id, e);
	return rc;
}

/* ---- documents ---- */

static int documents_mend(struct repair *p, struct err *e)
{
	struct slice v;
	struct key k = { .n = 0 };
	int rc;
	while (!(rc = entry_after(p, T_DOC, &k, &v, e))) {
		uint64_t doc = k.n == 8 ? key_get_u64(k.b) : 0;
		struct rec_doc d;
		if (doc == 0 || doc >= p->w->state.next_doc || rec_doc_get(&d, &k, v, NULL)) {
			rc = entry_drop(p, T_DOC, &k, e);
			docs_note_gone(&p->w->docs, doc);
			if (!rc) mended(p, "document %llu: its record is damaged, and removed", (ull)doc);
		} else {
			if (d.first_chunk + d.chunk_n > p->w->state.next_chunk) d.chunk_n = 0;
			if (!body_fits(p, doc, &d, e)) rc = body_mend(p, doc, &d, e);
			if (!rc) rc = refs_mend(p, doc, e);
		}
		if (rc) return rc;
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- texts without a document ---- */

/* The first key of a table whose value is this document; "" when there is none. skip: bytes in front that are not wanted. */
static int ref_of(struct repair *p, enum table table, uint64_t doc, size_t skip, char *out, size_t size, uint32_t *coll,
	struct err *e)
{
	struct slice v;
	struct key k = { .n = 0 };
	uint64_t to;
	int rc;
	*out = 0;
	while (!(rc = entry_after(p, table, &k, &v, e))) {
		if (rec_u64_get(&to, v, NULL) || to != doc || k.n < skip || k.n - skip >= size) continue;
		if (table == T_SOURCE && (k.n < 5 || k.b[4])) continue;    /* a hashed one */
		memcpy(out, k.b + skip, k.n - skip);
		out[k.n - skip] = 0;
		if (coll && k.n >= 4) *coll = key_get_u32(k.b);
		return OK;
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

/* Which chunks say that they are the document's: a run of ids. */
static int chunks_of(struct repair *p, uint64_t doc, struct rec_doc *d, struct err *e)
{
	struct slice v;
	struct key k = { .n = 0 };
	int rc;
	while (!(rc = entry_after(p, T_CHUNK, &k, &v, e))) {
		struct rec_chunk r;
		uint64_t id = k.n == 8 ? key_get_u64(k.b) : 0;
		if (!id || rec_chunk_get(&r, &k, v, NULL) || r.doc != doc) continue;
		if (!d->chunk_n) d->first_chunk = id;
		d->chunk_n = (uint32_t)(id - d->first_chunk + 1);
		d->coll = r.coll;
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

static int text_adopt(struct repair *p, uint64_t doc, struct err *e)
{
	char id[ID_MAX + 1], source[KEY_MAX + 1];
	struct rec_doc old = { .verdict = DOC_ADDED, .added_ms = clock_wall_ms(), .id = id };
	struct body b = { .in = { .type = "", .root = "", .meta = "{}", .reason = "", .duplicate_of = "", .acl = nobody, .acl_n = 1 },
		.adopted = 1 };
	struct rec_text t;
	int rc = ref_of(p, T_ID, doc, 0, id, sizeof id, NULL, e);
	if (!rc) rc = ref_of(p, T_SOURCE, doc, 5, source, sizeof source, &old.coll, e);
	if (!rc) rc = chunks_of(p, doc, &old, e);
	if (rc) return rc;
	if (!*id) snprintf(id, sizeof id, "recovered-%llu", (ull)doc);
	if (!old.coll && p->coll_n) old.coll = p->colls[0].rec.number;
	arena_init(&b.a, ARENA_MAX);
	b.in.id = arena_strdup(&b.a, id);
	b.in.source = arena_strdup(&b.a, source);
	b.in.title = arena_strdup(&b.a, *source ? source : id);
	b.in.source_mtime_ns = *source == '/' && !strchr(source, '#');
	if (!b.in.id || !b.in.source || !b.in.title) rc = err_set(e, E_MEMORY, "repair: out of memory");
	if (!rc) rc = text_read(p, doc, 0, &b.a, &t, &b.text_mended, e);
	if (!rc && old.coll) {
		rc = doc_rebuild(p, doc, &old, &b, &t, e);
		if (!rc && (!b.missing_n || p->m->embed)) mended(p, "document %s (%.200s): its record is made again from its text; its title, metadata "
			"and groups are lost: only readers of every group see it, until it is ingested again", id, *source ? source : "pushed");
	}
	arena_clear(&b.a);
	return rc == E_CORRUPT ? OK : rc;
}

static int texts_mend(struct repair *p, struct err *e)
{
	struct slice v;
	struct key k = { .n = 0 };
	int rc = coll_list(p->w->t, &p->a, &p->colls, &p->coll_n, e);
	if (rc) return rc;
	while (!(rc = entry_after(p, T_TEXT, &k, &v, e))) {
		uint64_t doc = k.n == 8 ? key_get_u64(k.b) : 0;
		struct rec_text t;
		struct rec_doc d;
		if (doc && doc < p->w->state.next_doc && !doc_find(p, doc, &d) && rec_text_get(&t, &k, v, 1, NULL) == OK) rc = text_adopt(p, doc, e);
		if (!rc && doc_find(p, doc, &d)) rc = refs_mend(p, doc, e);
		if (rc) return rc;
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- what nobody has ---- */

/* Does a document say that it has this entry? An entry whose text is readable has one by now, or waits for an embedder. */
static int is_owned(struct repair *p, enum table table, const struct key *key, struct slice value)
{
	struct key k = *key;
	struct rec_chunk r;
	struct rec_text t;
	struct rec_doc d;
	struct slice v;
	uint64_t doc;
	switch (table) {
	case T_TEXT:
		if (k.n == 8 && doc_find(p, key_get_u64(k.b), &d)) return d.text_len != 0;
		return rec_text_get(&t, &k, value, 1, NULL) == OK;
	case T_CHUNK:
		if (k.n != 8 || rec_chunk_get(&r, &k, value, NULL)) return 0;
		doc = key_get_u64(k.b);
		if (doc_find(p, r.doc, &d)) return doc >= d.first_chunk && doc - d.first_chunk < d.chunk_n;
		key_u64(&k, r.doc);
		return found(p, T_TEXT, &k, &v) && rec_text_get(&t, &k, v, 1, NULL) == OK;
	case T_VEC: case T_VEC2:
		if (k.n != 12 || !gen_of(&p->w->state, table)) return 0;
		key_u64(&k, key_get_u64(key->b + 4));
		return found(p, T_CHUNK, &k, &v) && rec_chunk_get(&r, &k, v, NULL) == OK && r.coll == key_get_u32(key->b);
	default:
		if (rec_u64_get(&doc, value, NULL) || !doc_find(p, doc, &d)) return 0;
		if (table == T_ID) key_text(&k, d.id);
		else if (table == T_SOURCE) key_source(&k, d.coll, d.source);
		else key_hash(&k, d.coll, d.hash, doc);
		return k.n == key->n && memcmp(k.b, key->b, k.n) == 0;
	}
}

static int strays_mend(struct repair *p, struct err *e)
{
	static const enum table order[] = { T_TEXT, T_CHUNK, T_VEC, T_VEC2, T_ID, T_SOURCE, T_HASH };
	for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
		struct slice v;
		struct key k = { .n = 0 };
		uint64_t n = 0;
		int rc;
		while (!(rc = entry_after(p, order[i], &k, &v, e))) {
			if (is_owned(p, order[i], &k, v)) continue;
			rc = entry_drop(p, order[i], &k, e);
			if (rc) return rc;
			n++;
			if (order[i] == T_ID) mended(p, "document %.*s: nothing of it can be read any more, it is lost", (int)k.n, (char *)k.b);
			else if (order[i] == T_SOURCE && k.n > 5 && !k.b[4])
				mended(p, "source %.*s: no document has it any more, a sync reads it again", (int)k.n - 5, (char *)k.b + 5);
		}
		if (rc != E_NOT_FOUND) return rc;
		if (n) mended(p, "table %s: %llu entries that no document has are removed", table_name(order[i]), (ull)n);
	}
	return OK;
}

static int notes_mend(struct repair *p, struct err *e)
{
	static const char kept[] = "{\"reason\":\"its note was damaged\",\"since\":\"\"}";
	struct slice v, json;
	struct key k = { .n = 0 };
	int rc;
	while (!(rc = entry_after(p, T_NOTE, &k, &v, e))) {
		const uint8_t *zero = memchr(k.b, 0, k.n);
		char name[KEY_MAX + 1] = "";
		if (zero) memcpy(name, zero + 1, (size_t)(k.b + k.n - zero - 1));
		if (zero && rec_note_get(&json, &k, v, NULL) == OK && note_json_check((const char *)json.p, json.n, NULL) == OK) continue;
		if (zero && strcmp((const char *)k.b, NOTE_HOLD) == 0 && *name) {
			rc = index_note_put(p->w, NOTE_HOLD, name, kept, sizeof kept - 1, e);
			if (!rc) mended(p, "hold of document %s: it stands, its reason is lost", name);
		} else {
			rc = entry_drop(p, T_NOTE, &k, e);
			if (!rc) mended(p, "note %.100s of kind %.40s: damaged, and removed", name, zero ? (const char *)k.b : "?");
		}
		if (rc) return rc;
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- words, graphs, counters ---- */

static int coll_count(struct repair *p, struct rec_coll *c, struct err *e)
{
	struct rec_coll n = { .number = c->number, .graph_vectors = c->graph_vectors, .graph_last = c->graph_last, .words = c->words };
	struct slice v;
	struct key k = { .n = 0 };
	int rc;
	while (!(rc = entry_after(p, T_DOC, &k, &v, e))) {
		struct rec_doc d;
		if (rec_doc_get(&d, &k, v, NULL) || d.coll != c->number) continue;
		if (doc_verdict_has_text(d.verdict)) n.documents++;
		else n.without_text++;
		n.chunks += d.chunk_n;
		n.text_bytes += d.text_len;
		for (uint32_t i = 0; i < d.chunk_n; i++) n.tail += d.first_chunk + i > n.graph_last;
	}
	*c = n;
	return rc == E_NOT_FOUND ? OK : rc;
}

static int graph_mend(struct repair *p, const struct rec_gen *g, const struct coll_entry *c, int *dropped, struct err *e)
{
	struct err why;
	int rc = OK;
	*dropped = graph_fits(p->w->t, &p->w->state, g, &c->rec, &why) != OK;
	if (*dropped) rc = graph_delete(p->w->t, gen_graph(g), c->rec.number, e);
	if (*dropped && !rc) mended(p, "graph of collection %s: dropped, to be built again (%s)", c->name, why.msg);
	return rc;
}

static int counters_mend(struct repair *p, struct err *e)
{
	int rc = coll_list(p->w->t, &p->a, &p->colls, &p->coll_n, e);
	for (size_t i = 0; !rc && i < p->coll_n; i++) {
		struct rec_coll c = p->colls[i].rec, old = c;
		int dropped;
		rc = graph_mend(p, &p->w->state.beside, &p->colls[i], &dropped, e);
		if (!rc) rc = graph_mend(p, &p->w->state.serving, &p->colls[i], &dropped, e);
		if (dropped) c.graph_vectors = c.graph_last = 0;
		if (!rc) rc = coll_count(p, &c, e);
		if (rc || memcmp(&c, &old, sizeof c) == 0) continue;
		rc = coll_write(p->w->t, p->colls[i].name, &c, e);
		if (!rc) mended(p, "collection %s: its counters are counted again", p->colls[i].name);
	}
	for (size_t i = 0; !rc && p->words_bad && i < p->coll_n; i++)
		if (words_gone_unknown(p->w, p->colls[i].rec.number)) rc = err_set(e, E_MEMORY, "repair: out of memory");
	if (!rc && p->words_bad) {
		rc = postings_rebuild(p->w->t, e);
		if (!rc) mended(p, "words: the table of postings is made again from the texts");
	}
	return rc;
}

/* ---- the whole ---- */

/* Vectors of another embedder are made by reembed alone. */
static int beside_mend(struct repair *p, struct err *e)
{
	int rc = index_reembed_forget(p->x, e);
	if (rc == E_NOT_FOUND) return OK;
	if (rc) return err_wrap(e, "repair");
	p->repaired++;
	if (p->m->on_repair) p->m->on_repair(p->m->ctx, "vectors of the embedder beside: damaged, and dropped; reembed makes them again");
	return OK;
}

static int step(struct repair *p, int (*mend)(struct repair *p, struct err *e), struct err *e)
{
	int rc = index_write_begin(&p->w, p->x, e);
	if (rc) return rc;
	p->dim = p->w->state.serving.dim;
	rc = mend(p, e);
	if (!rc) return index_write_commit(p->w, e);
	index_write_abort(p->w);
	return err_wrap(e, "repair");
}

int index_repair(struct index *x, const struct index_mender *m, uint64_t *repaired, struct err *e)
{
	static int (*const steps[])(struct repair *p, struct err *e) = { collections_mend, documents_mend, texts_mend, strays_mend,
		notes_mend, counters_mend };
	struct repair p = { .x = x, .m = m };
	struct faults faults;
	uint64_t problems;
	int rc = check_run(x, NULL, NULL, &problems, &faults, e);
	*repaired = 0;
	if (rc || !problems) return rc;
	p.words_bad = faults.words;
	if (faults.beside && (rc = beside_mend(&p, e))) return rc;
	arena_init(&p.a, ARENA_MAX);
	for (size_t i = 0; !rc && i < sizeof steps / sizeof *steps; i++) rc = step(&p, steps[i], e);
	arena_clear(&p.a);
	*repaired = p.repaired;
	return rc;
}
