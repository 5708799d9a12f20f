/* put.c: owns writing: documents in, documents out, one LMDB write transaction for as many as the caller wants.
 *
 * Method: a put is checked whole before it touches the store (lengths, UTF-8, chunk and sentence ranges on code point
 * boundaries, finite vectors), then the document it replaces loses its body (text, chunks, vectors, references) and
 * the new one is written under the same key and id with the next revision. Chunk ids are always fresh. The counters
 * of the collections that were touched are kept in the write and stored at commit with the state record, whose seq
 * grows by one a commit. A replaced or deleted chunk that a graph covers becomes a tombstone by arithmetic alone: the
 * graph has more vectors than the collection has living chunks up to graph_last.
 * Threads: one write at a time, in the thread that began it; a second begin in that thread is E_BUSY, in another it
 * waits. Failure: a write that failed once can only be aborted; commit then aborts and says so. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "index/inside.h"
#include "index/postings.h"

/* ---- begin and end ---- */

int index_write_begin(struct write **out, struct index *x, struct err *e)
{
	struct write *w;
	int rc;
	*out = NULL;
	if (atomic_load(&x->writer) == pthread_self())
		return err_set(e, E_BUSY, "this thread is writing to the store already");
	w = mem_calloc(1, sizeof *w);
	if (!w) return err_set(e, E_MEMORY, "write to the store: out of memory");
	w->x = x;
	buf_init(&w->b, (size_t)1 << 31);
	rc = txn_begin(&w->t, x->store, 1, e);
	if (!rc) {
		atomic_store(&x->writer, pthread_self());
		rc = state_read(w->t, &w->state, e);
		if (rc == E_NOT_FOUND) rc = err_set(e, E_CORRUPT, "the state record is missing");
	}
	if (rc) {
		index_write_abort(w);
		return rc;
	}
	docs_delta_begin(&w->docs, x);
	w->state.seq++;
	w->first_chunk = w->state.next_chunk;
	*out = w;
	return OK;
}

const char *index_write_embedder(const struct write *w)
{
	return w->state.serving.embedder;
}

static void write_free(struct write *w)
{
	buf_clear(&w->b);
	postings_free(w->words);
	words_edits_free(w->gone);
	holds_clear(&w->holds);
	docs_delta_clear(&w->docs);
	mem_free(w->colls);
	mem_free(w);
}

void index_write_abort(struct write *w)
{
	if (!w) return;
	if (w->t) atomic_store(&w->x->writer, 0);
	txn_abort(w->t);
	write_free(w);
}

/* Writes the postings gathered so far. A damaged table is built anew at the next open. */
static int words_flush(struct write *w, struct err *e)
{
	int damaged = 0, rc = w->words ? postings_flush(w->words, w->t, w, &damaged, e) : OK;
	if (damaged) w->state.analysis = 0;
	for (size_t i = 0; !rc && damaged && i < w->coll_n; i++)
		if (words_gone_unknown(w, w->colls[i].rec.number)) rc = err_set(e, E_MEMORY, "index words: out of memory");
	return rc;
}

int index_write_commit(struct write *w, struct err *e)
{
	struct index *x = w->x;
	int rc = OK, turned = w->turned, puts = w->puts > 0, deletes = w->deletes > 0, notes = w->notes > 0;
	if (w->failed) {
		index_write_abort(w);
		return err_set(e, E_USAGE, "a write that failed can only be aborted; nothing was written");
	}
	if (!w->puts && !w->deletes && !w->notes && !w->turned && !w->coll_n) {
		index_write_abort(w);
		return OK;
	}
	rc = words_flush(w, e);
	fault_point("words.flushed");
	for (size_t i = 0; !rc && i < w->coll_n; i++)
		if (!w->colls[i].dropped) rc = coll_write(w->t, w->colls[i].name, &w->colls[i].rec, e);
	if (!rc) rc = state_write(w->t, &w->state, e);
	if (!rc && puts) rc = store_spare(w->t, e);
	if (rc) {
		index_write_abort(w);
		return rc;
	}
	for (size_t i = 0; i < w->coll_n && w->state.next_chunk > w->first_chunk; i++)
		if (!w->colls[i].dropped) vec_append(x, w->t, w->state.serving.number, w->colls[i].rec.number, w->first_chunk);
	words_publish(w);
	if (puts) fault_point("put.before_commit");
	if (deletes) fault_point("delete.before_commit");
	if (notes) fault_point("note.before_commit");
	if (turned) fault_point("reembed.before_turn");
	docs_commit(x, &w->docs, w->state.seq);
	atomic_store(&x->writer, 0);
	rc = txn_commit(w->t, e);
	docs_settle(x, &w->docs, w->state.seq, rc);
	write_free(w);
	if (rc) return rc;
	if (puts) fault_point("put.after_commit");
	if (deletes) fault_point("delete.after_commit");
	if (notes) fault_point("note.after_commit");
	if (turned) fault_point("reembed.after_turn");
	catchup_kick(x);
	return OK;
}

/* ---- collections of this write ---- */

/* The collection's counters, to be changed in place until the next call. create 0: E_NOT_FOUND, quiet. */
static int coll_touch(struct write *w, const char *name, int create, struct touched **out, struct err *e)
{
	struct touched *t;
	int rc;
	for (size_t i = 0; i < w->coll_n; i++)
		if (!w->colls[i].dropped && strcmp(w->colls[i].name, name) == 0) {
			*out = &w->colls[i];
			return OK;
		}
	if (w->coll_n == w->coll_cap) {
		size_t cap = w->coll_cap ? 2 * w->coll_cap : 4;
		t = mem_realloc(w->colls, cap * sizeof *t);
		if (!t) return err_set(e, E_MEMORY, "write to the store: out of memory");
		w->colls = t;
		w->coll_cap = cap;
	}
	t = &w->colls[w->coll_n];
	memset(t, 0, sizeof *t);
	rc = coll_read(w->t, name, &t->rec, e);
	for (size_t i = 0; i < w->coll_n; i++)
		if (!rc && w->colls[i].rec.number == t->rec.number) rc = E_NOT_FOUND; /* dropped in this write */
	if (rc == E_NOT_FOUND && create) {
		memset(&t->rec, 0, sizeof t->rec);
		t->rec.number = w->state.next_coll++;
		rc = OK;
	}
	if (rc) return rc;
	memcpy(t->name, name, strlen(name) + 1);
	w->coll_n++;
	*out = t;
	return OK;
}

/* The name of the collection with this number. */
static int coll_touch_number(struct write *w, uint32_t number, struct touched **out, struct err *e)
{
	struct arena a;
	struct coll_entry *list;
	size_t n;
	int rc;
	for (size_t i = 0; i < w->coll_n; i++)
		if (w->colls[i].rec.number == number) {
			*out = &w->colls[i];
			return OK;
		}
	arena_init(&a, (size_t)1 << 30);
	rc = coll_list(w->t, &a, &list, &n, e);
	if (!rc) {
		size_t i = 0;
		while (i < n && list[i].rec.number != number) i++;
		rc = i < n ? coll_touch(w, list[i].name, 0, out, e) : err_set(e, E_CORRUPT, "no collection has number %u", number);
	}
	arena_clear(&a);
	return rc;
}

/* ---- checks, before anything is written ---- */

static int string_check(const char *what, const char *s, size_t max, struct err *e)
{
	if (s && strlen(s) > max) return err_set(e, E_LIMIT, "%s: %zu bytes, at most %zu", what, strlen(s), max);
	return OK;
}

static int id_check(const char *id, struct err *e)
{
	if (strlen(id) > ID_MAX) return err_set(e, E_LIMIT, "document id %.64s…: at most %d bytes", id, ID_MAX);
	for (const char *p = id; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return err_set(e, E_USAGE, "document id: control character %u", (unsigned char)*p);
	if (!utf8_valid(id, strlen(id))) return err_set(e, E_USAGE, "document id: not UTF-8");
	return OK;
}

static int fields_check(const struct doc_in *d, struct err *e)
{
	int rc;
	if (!d->collection || !coll_name_ok(d->collection))
		return err_set(e, E_USAGE, "collection \"%.80s\": 1 to 64 of A-Z a-z 0-9 . _ -", d->collection ? d->collection : "");
	if (d->verdict != DOC_ADDED && d->verdict != DOC_PARTIAL && d->verdict != DOC_DUPLICATE && d->verdict != DOC_SKIPPED &&
		d->verdict != DOC_FAILED)
		return err_set(e, E_USAGE, "verdict %s can't be put", doc_verdict_name(d->verdict));
	if (d->acl_n > ACL_MAX) return err_set(e, E_LIMIT, "acl: %zu groups, at most %d", d->acl_n, ACL_MAX);
	if ((rc = string_check("title", d->title, STRING_MAX, e)) || (rc = string_check("source", d->source, STRING_MAX, e)) ||
		(rc = string_check("type", d->type, STRING_MAX, e)) || (rc = string_check("root", d->root, STRING_MAX, e)) ||
		(rc = string_check("meta", d->meta, 16 * STRING_MAX, e)) || (rc = string_check("reason", d->reason, STRING_MAX, e)) ||
		(rc = string_check("duplicate_of", d->duplicate_of, ID_MAX, e)))
		return rc;
	for (size_t i = 0; i < d->acl_n; i++)
		if ((rc = string_check("acl", d->acl[i], STRING_MAX, e))) return rc;
	return d->id ? id_check(d->id, e) : OK;
}

/* 1 when both ends of [off, off + len) are within the text and start a code point (or end the text). */
static int range_ok(const struct doc_in *d, struct span s)
{
	uint64_t end = (uint64_t)s.off + s.len;
	return end <= d->text_len && (s.off == d->text_len || (d->text[s.off] & 0xc0) != 0x80) &&
		(end == d->text_len || (d->text[end] & 0xc0) != 0x80);
}

static int chunk_check(const struct doc_in *d, size_t i, struct err *e)
{
	const struct chunk_in *c = &d->chunks[i];
	uint64_t at = c->range.off, end = (uint64_t)c->range.off + c->range.len;
	if (!range_ok(d, c->range) || c->range.len == 0)
		return err_set(e, E_USAGE, "chunk %zu: its range is not one of the text", i);
	if (i && c->range.off < d->chunks[i - 1].range.off)
		return err_set(e, E_USAGE, "chunk %zu starts before the one before it", i);
	for (uint32_t j = 0; j < c->sentence_n; j++) {
		struct span s = c->sentences[j];
		if (!range_ok(d, s) || s.len == 0 || s.off < at || (uint64_t)s.off + s.len > end)
			return err_set(e, E_USAGE, "chunk %zu: sentence %u is not in order inside it", i, j);
		if (utf8_count(d->text + s.off, s.len) > 400)
			return err_set(e, E_USAGE, "chunk %zu: sentence %u is longer than 400", i, j);
		at = (uint64_t)s.off + s.len;
	}
	return string_check("heading", c->heading, STRING_MAX, e);
}

int vectors_check(const struct index *x, const float *v, size_t n, size_t dim, struct err *e)
{
	for (size_t i = 0; i < n * dim; i++) {
		if (!isfinite(v[i]))
			return err_set(e, E_USAGE, "vector %zu: component %zu is not a number", i / dim, i % dim);
		if (x->form == VEC_F16 && fabsf(v[i]) > VEC_F16_MAX)
			return err_set(e, E_USAGE, "vector %zu: component %zu, %g, is more than index.vectors = f16 holds", i / dim,
				i % dim, (double)v[i]);
	}
	return OK;
}

static int text_check(const struct write *w, const struct doc_in *d, struct err *e)
{
	int rc, without = !doc_verdict_has_text(d->verdict);
	if (without && (d->text_len || d->chunk_n))
		return err_set(e, E_USAGE, "a %s document has no text", doc_verdict_name(d->verdict));
	if (d->text_len && !rec_text_size(d->text_len))
		return err_set(e, E_LIMIT, "text of %zu bytes is too long for the store", d->text_len);
	if (d->text_len && (memchr(d->text, 0, d->text_len) || !utf8_valid(d->text, d->text_len)))
		return err_set(e, E_USAGE, "text is not UTF-8 without NUL");
	if (d->chunk_n > UINT32_MAX) return err_set(e, E_LIMIT, "%zu chunks", d->chunk_n);
	if (d->chunk_n && !atomic_load(&w->x->with_vectors))
		return err_set(e, E_CONFLICT, "the store was opened without an embedder and takes no chunks");
	if (d->chunk_n && (!d->vectors || !d->chunks))
		return err_set(e, E_USAGE, "%zu chunks without ranges or vectors", d->chunk_n);
	for (size_t i = 0; i < d->chunk_n; i++)
		if ((rc = chunk_check(d, i, e))) return rc;
	return d->chunk_n ? vectors_check(w->x, d->vectors, d->chunk_n, w->state.serving.dim, e) : OK;
}

/* ---- finding what is replaced ---- */

/* The key that a reference table holds; 0: none. */
static int ref_get(struct write *w, enum table table, const struct key *k, uint64_t *out, struct err *e)
{
	struct slice v;
	int rc = store_get(w->t, table, k, &v, e);
	*out = 0;
	if (rc == E_NOT_FOUND) return OK;
	return rc ? rc : rec_u64_get(out, v, e);
}

static int doc_read(struct write *w, uint64_t key, struct rec_doc *r, struct err *e)
{
	struct slice v;
	struct key k;
	int rc;
	key_u64(&k, key);
	rc = store_get(w->t, T_DOC, &k, &v, e);
	if (rc == E_NOT_FOUND) return err_set(e, E_CORRUPT, "document %llu is missing", (unsigned long long)key);
	if (!rc) rc = rec_doc_get(r, &k, v, e);
	return rc ? err_wrap(e, "document %llu", (unsigned long long)key) : OK;
}

/* May who puts d see the document that stands where it would go? */
static int sees_standing(const struct doc_in *d, const struct rec_doc *r)
{
	const uint8_t *p = r->acl;
	struct reader reader;
	int sees = 0;
	if (!d->reader) return 1;
	reader = *d->reader;
	reader.collection = NULL;
	reader.filter = NULL;
	for (uint32_t i = 0; i < r->acl_n && !sees; i++) {
		const char *group = rec_acl_next(&p);
		sees = reader_may_see(&reader, &(struct doc){ .acl = &group, .acl_n = 1 });
	}
	return r->acl_n ? sees : reader_may_see(&reader, &(struct doc){ 0 });
}

static int has_group(const struct doc_in *d, const char *group)
{
	for (size_t i = 0; i < d->acl_n; i++)
		if (strcmp(d->acl[i], group) == 0) return 1;
	return 0;
}

/* Does each of the two lists hold all groups of the other? Neither names one twice, or the answer may be no. */
static int same_acl(const struct doc_in *d, const struct rec_doc *r)
{
	const uint8_t *p = r->acl;
	int same = d->acl_n == r->acl_n;
	for (uint32_t i = 0; i < r->acl_n && same; i++) same = has_group(d, rec_acl_next(&p));
	return same;
}

/* Reads the record that d would replace, or collide with; E_CONFLICT where that may not be. */
static int standing_read(struct write *w, const struct doc_in *d, uint64_t key, struct rec_doc *r, struct err *e)
{
	int rc = doc_read(w, key, r, e);
	if (rc) return rc;
	if (!sees_standing(d, r)) return err_set(e, E_CONFLICT, "this id or source cannot be used");
	if (d->over && (d->over->key != key || d->over->revision != r->revision) && !same_acl(d, r))
		return err_set(e, E_CONFLICT, "document %s got other groups meanwhile; nothing was written of this one", r->id);
	return OK;
}

/* Finds the document that d replaces: *key is its key, 0 when d is new. */
static int find_replaced(struct write *w, const struct doc_in *d, const struct touched *c, uint64_t *key, struct err *e)
{
	uint64_t by_id = 0, by_source = 0;
	struct rec_doc r;
	struct key k;
	int rc = OK;
	*key = 0;
	if (d->id && *d->id) {
		key_text(&k, d->id);
		rc = ref_get(w, T_ID, &k, &by_id, e);
		if (!rc && by_id) rc = standing_read(w, d, by_id, &r, e);
		if (!rc && by_id && r.coll != c->rec.number)
			rc = err_set(e, E_CONFLICT, "document id %s belongs to another collection", d->id);
	}
	if (!rc && d->source && *d->source) {
		key_source(&k, c->rec.number, d->source);
		rc = ref_get(w, T_SOURCE, &k, &by_source, e);
		if (!rc && by_source) rc = standing_read(w, d, by_source, &r, e);
		if (!rc && by_source && strcmp(r.source, d->source) != 0)
			rc = err_set(e, E_CONFLICT, "source %.100s has the SHA-256 of another source", d->source);
		if (!rc && by_source && d->id && *d->id && by_source != by_id)
			rc = err_set(e, E_CONFLICT, "source %.100s belongs to document %s", d->source, r.id);
	}
	*key = by_id ? by_id : by_source;
	return rc;
}

/* "d" and the key, with "-1", "-2" … behind it where someone gave that id to another document. */
static int id_make(struct write *w, uint64_t key, char out[ID_MAX + 1], struct err *e)
{
	uint64_t taken = 1;
	struct key k;
	for (unsigned n = 0; taken; n++) {
		int rc;
		if (n == 0) snprintf(out, ID_MAX + 1, "d%llu", (unsigned long long)key);
		else snprintf(out, ID_MAX + 1, "d%llu-%u", (unsigned long long)key, n);
		key_text(&k, out);
		rc = ref_get(w, T_ID, &k, &taken, e);
		if (rc) return rc;
	}
	return OK;
}

/* ---- taking away ---- */

static int del_due(struct write *w, enum table table, const struct key *k, struct err *e)
{
	int rc = store_del(w->t, table, k, e);
	return rc == E_NOT_FOUND ? err_set(e, E_CORRUPT, "table %s lacks an entry that a document refers to",
		table_name(table)) : rc;
}

/* Notes that the words of a document's chunks go. E_CORRUPT, before anything was noted of the chunk it names, when text or
 * chunk can't be read. Changes nothing in the store, so what is borrowed stays. */
static int words_unlearn(struct write *w, uint64_t key, const struct rec_doc *r, struct touched *c, struct err *e)
{
	enum words_language language = WORDS_ENGLISH;
	struct rec_text text;
	struct slice v;
	struct key k;
	int rc = w->words ? OK : postings_new(&w->words, e);
	key_u64(&k, key);
	if (!rc) rc = store_get(w->t, T_TEXT, &k, &v, e);
	if (!rc) rc = rec_text_get(&text, &k, v, 1, e);
	if (!rc && r->chunk_n) language = words_language(text.text, text.len);
	for (uint32_t i = 0; !rc && i < r->chunk_n; i++) {
		uint64_t id = r->first_chunk + i;
		struct rec_chunk chunk;
		uint32_t n;
		key_u64(&k, id);
		rc = store_get(w->t, T_CHUNK, &k, &v, e);
		if (!rc) rc = rec_chunk_get(&chunk, &k, v, e);
		if (!rc && (chunk.range.off > text.len || chunk.range.len > text.len - chunk.range.off)) rc = E_CORRUPT;
		if (!rc) rc = postings_chunk(w->words, r->coll, id, &(struct chunk_words){ r->title, chunk.heading,
			text.text + chunk.range.off, chunk.range.len, language }, 1, &n, e);
		if (!rc) c->rec.words -= n;
	}
	return rc;
}

/* The same where the stored text does not tell the words any more: by walking all postings. */
static int words_purge(struct write *w, const struct rec_doc *r, struct touched *c, struct err *e)
{
	uint64_t n;
	int damaged = 0, rc = words_flush(w, e);
	if (!rc) rc = postings_purge(w->t, r->coll, r->first_chunk, r->chunk_n, &n, &damaged, e);
	if (!rc) c->rec.words -= n;
	if (!rc && words_gone_unknown(w, r->coll)) rc = err_set(e, E_MEMORY, "delete a document: out of memory");
	if (damaged) w->state.analysis = 0;
	return rc;
}

static int words_remove(struct write *w, uint64_t key, const struct rec_doc *r, struct touched *c, struct err *e)
{
	struct err why;
	int rc;
	if (c->wordless || r->chunk_n == 0) return OK;
	if (words_gone_chunks(w, r->coll, r->first_chunk, r->chunk_n)) return err_set(e, E_MEMORY, "delete a document: out of memory");
	rc = words_unlearn(w, key, r, c, &why);
	if (rc == E_MEMORY) return err_set(e, rc, "%s", why.msg);
	if (rc) rc = words_purge(w, r, c, e);
	return rc || !postings_full(w->words) ? rc : words_flush(w, e);
}

/* Removes everything a document has but its own record and its id, and counts it out of its collection. */
static int body_remove(struct write *w, uint64_t key, const struct rec_doc *r, struct touched *c, struct err *e)
{
	struct rec_coll *n = &c->rec;
	int with_text = doc_verdict_has_text(r->verdict);
	struct key k;
	int rc = words_remove(w, key, r, c, e);
	if (rc) return rc;
	for (uint32_t i = 0; i < r->chunk_n; i++) {
		uint64_t id = r->first_chunk + i;
		key_u64(&k, id);
		if ((rc = del_due(w, T_CHUNK, &k, e))) return rc;
		key_vec(&k, r->coll, id);
		if ((rc = del_due(w, gen_vec(&w->state.serving), &k, e))) return rc;
		rc = w->state.beside.status ? store_del(w->t, gen_vec(&w->state.beside), &k, e) : OK;
		if (rc && rc != E_NOT_FOUND) return rc;
		if (id > n->graph_last) n->tail--;
	}
	docs_note_gone(&w->docs, key);
	n->chunks -= r->chunk_n;
	n->text_bytes -= r->text_len;
	if (with_text) n->documents--;
	else n->without_text--;
	key_u64(&k, key);
	if (r->text_len && (rc = del_due(w, T_TEXT, &k, e))) return rc;
	key_source(&k, r->coll, r->source);
	if (*r->source && (rc = del_due(w, T_SOURCE, &k, e))) return rc;
	key_hash(&k, r->coll, r->hash, key);
	if (with_text && (rc = del_due(w, T_HASH, &k, e))) return rc;
	return OK;
}

static int doc_remove(struct write *w, uint64_t key, struct touched *c, struct err *e)
{
	struct rec_doc r;
	struct key k;
	struct buf id;
	int rc = doc_read(w, key, &r, e);
	if (rc) return rc;
	buf_init(&id, ID_MAX);
	rc = buf_puts(&id, r.id);
	if (rc) rc = err_set(e, rc, "delete document %llu", (unsigned long long)key);
	/* The record's bytes move when the tree changes, so the walk over its fields comes before the first change: */
	if (!rc) {
		char *source = mem_strdup(r.source);
		r.source = source;
		rc = source ? body_remove(w, key, &r, c, e) : err_set(e, E_MEMORY, "delete document %s: out of memory",
			buf_cstr(&id));
		mem_free(source);
	}
	if (!rc) {
		key_text(&k, buf_cstr(&id));
		rc = del_due(w, T_ID, &k, e);
	}
	key_u64(&k, key);
	if (!rc) rc = del_due(w, T_DOC, &k, e);
	if (!rc) rc = notes_forget(w, buf_cstr(&id), e);
	buf_clear(&id);
	return rc;
}

int index_delete(struct write *w, const char *id, struct err *e)
{
	struct touched *c;
	struct rec_doc r;
	struct key k;
	uint64_t key = 0;
	size_t n = strlen(id);
	int rc = OK;
	if (w->failed) return err_set(e, E_USAGE, "a write that failed can only be aborted");
	if (n >= 1 && n <= ID_MAX) {
		key_text(&k, id);
		rc = ref_get(w, T_ID, &k, &key, e);
	}
	if (!rc && !key) return err_set(e, E_NOT_FOUND, "no document %.64s", id);
	if (!rc) rc = hold_check(w, id, e);
	if (rc == E_DENIED) return rc;
	if (!rc) rc = doc_read(w, key, &r, e);
	if (!rc) rc = coll_touch_number(w, r.coll, &c, e);
	if (!rc) rc = doc_remove(w, key, c, e);
	if (rc) w->failed = 1;
	else w->deletes++;
	return rc;
}

int write_forget_graph(struct write *w, uint32_t coll, uint64_t first_chunk, struct err *e)
{
	struct touched *c;
	enum table graph = gen_graph(&w->state.serving);
	int rc = coll_touch_number(w, coll, &c, e);
	if (!rc) rc = graph_delete(w->t, gen_graph(&w->state.beside), coll, e);
	if (!rc && first_chunk > c->rec.graph_last) rc = graph_sweep(w->t, graph, coll, e);
	else if (!rc) {
		c->rec.graph_vectors = c->rec.graph_last = 0;
		c->rec.tail = c->rec.chunks;
		rc = graph_delete(w->t, graph, coll, e);
	}
	if (rc) w->failed = 1;
	return rc;
}

int write_drop_collection(struct write *w, const char *collection, uint32_t *number, struct err *e)
{
	struct cursor cur = { 0 };
	struct touched *c;
	struct key k;
	uint64_t at = 0;
	int rc = coll_touch(w, collection, 0, &c, e);
	if (rc == E_NOT_FOUND) return err_set(e, rc, "no collection %.64s", collection);
	*number = rc ? 0 : c->rec.number;
	if (!rc) rc = words_flush(w, e);
	if (!rc) rc = postings_drop(w->t, *number, e);
	if (!rc && words_gone_unknown(w, *number)) rc = err_set(e, E_MEMORY, "drop a collection: out of memory");
	if (!rc) c->wordless = 1;
	while (!rc) {
		struct slice key, value;
		struct rec_doc r;
		key_u64(&k, at + 1);
		rc = cursor_open(&cur, w->t, T_DOC, e);
		if (!rc) rc = cursor_seek(&cur, &k, &key, &value, e);
		cursor_close(&cur);
		if (rc == E_NOT_FOUND) break;
		if (rc) break;
		at = key_get_u64(key.p);
		rc = doc_read(w, at, &r, e);
		if (!rc && r.coll == *number) rc = hold_check(w, r.id, e);
		if (!rc && r.coll == *number) rc = doc_remove(w, at, c, e);
		if (at == UINT64_MAX) break;
	}
	if (rc == E_NOT_FOUND) rc = OK;
	if (!rc) rc = graph_delete(w->t, T_GRAPH, *number, e);
	if (!rc) rc = graph_delete(w->t, T_GRAPH2, *number, e);
	key_text(&k, collection);
	if (!rc) rc = store_del(w->t, T_COLL, &k, e);
	if (rc == E_NOT_FOUND) rc = OK; /* made in this write */
	if (rc) w->failed = 1;
	else c->dropped = 1, w->deletes++;
	return rc;
}

/* ---- putting ---- */

static int text_put(struct write *w, uint64_t key, const struct doc_in *d, size_t chars, struct err *e)
{
	size_t size = rec_text_size(d->text_len);
	uint8_t *at;
	struct key k;
	int rc;
	key_u64(&k, key);
	rc = store_reserve(w->t, T_TEXT, &k, size, &at, e);
	if (!rc) rec_text_fill(at, size, &k, d->text, d->text_len, chars);
	return rc;
}

/* Code points before text[to] when *cp are before text[*at]. Chunks come in order: this walks the text about once. */
static uint32_t cp_forward(const struct doc_in *d, size_t *at, size_t *cp, size_t to)
{
	if (to < *at) *cp -= utf8_count(d->text + to, *at - to);
	else *cp += utf8_count(d->text + *at, to - *at);
	*at = to;
	return (uint32_t)*cp;
}

static int words_put(struct write *w, uint64_t id, const struct doc_in *d, const struct chunk_in *in, enum words_language language,
	struct touched *c, struct err *e)
{
	uint32_t n = 0;
	int rc = w->words ? OK : postings_new(&w->words, e);
	if (!rc) rc = postings_chunk(w->words, c->rec.number, id, &(struct chunk_words){ d->title ? d->title : "",
		in->heading ? in->heading : "", d->text + in->range.off, in->range.len, language }, 0, &n, e);
	c->rec.words += n;
	return rc || !postings_full(w->words) ? rc : words_flush(w, e);
}

static int chunks_put(struct write *w, uint64_t key, const struct doc_in *d, struct touched *c, struct err *e)
{
	size_t at = 0, cp = 0, dim = w->state.serving.dim, size = rec_vec_size((uint32_t)dim, w->x->form);
	enum words_language language = d->chunk_n ? words_language(d->text, d->text_len) : WORDS_ENGLISH;
	for (size_t i = 0; i < d->chunk_n; i++) {
		const struct chunk_in *in = &d->chunks[i];
		struct rec_chunk r = { .coll = c->rec.number, .page = in->page, .doc = key, .range = in->range,
			.sentence_n = in->sentence_n, .heading = in->heading };
		uint64_t id = w->state.next_chunk++;
		uint8_t *place;
		struct key k;
		int rc;
		r.start_cp = cp_forward(d, &at, &cp, in->range.off);
		r.end_cp = cp_forward(d, &at, &cp, (size_t)in->range.off + in->range.len);
		key_u64(&k, id);
		rc = rec_chunk_put(&w->b, &k, &r, in->sentences);
		if (rc) return err_set(e, rc, "chunk %zu: too large to store", i);
		rc = store_put(w->t, T_CHUNK, &k, w->b.data, w->b.len, e);
		if (rc) return rc;
		key_vec(&k, c->rec.number, id);
		rc = store_reserve(w->t, gen_vec(&w->state.serving), &k, size, &place, e);
		if (rc) return rc;
		rec_vec_fill(place, &k, d->vectors + i * dim, (uint32_t)dim, w->x->form);
		rc = words_put(w, id, d, in, language, c, e);
		if (rc) return rc;
	}
	return OK;
}

static int refs_put(struct write *w, uint64_t key, const struct rec_doc *r, const struct doc_in *d, struct err *e)
{
	uint8_t value[8];
	struct key k;
	int rc;
	rec_u64_fill(value, key);
	key_text(&k, r->id);
	rc = store_put(w->t, T_ID, &k, value, 8, e);
	if (!rc && d->source && *d->source) {
		key_source(&k, r->coll, d->source);
		rc = store_put(w->t, T_SOURCE, &k, value, 8, e);
	}
	if (!rc && doc_verdict_has_text(r->verdict)) {
		key_hash(&k, r->coll, r->hash, key);
		rc = store_put(w->t, T_HASH, &k, value, 8, e);
	}
	return rc;
}

/* Writes the document r (id, revision, times are set) with d's content under key, and counts it in. */
static int body_put(struct write *w, uint64_t key, struct rec_doc *r, const struct doc_in *d, struct touched *c,
	struct err *e)
{
	struct rec_doc stored;
	struct key k;
	int rc = OK;
	r->coll = c->rec.number;
	r->bytes = d->bytes, r->source_size = d->source_size, r->source_mtime_ns = d->source_mtime_ns;
	memcpy(r->hash, d->hash, sizeof r->hash);
	r->seq = w->state.seq;
	r->text_len = d->text_len;
	r->chars = d->text_len ? utf8_count(d->text, d->text_len) : 0;
	r->first_chunk = w->state.next_chunk;
	r->chunk_n = (uint32_t)d->chunk_n;
	if (d->text_len) rc = text_put(w, key, d, r->chars, e);
	if (!rc) rc = chunks_put(w, key, d, c, e);
	key_u64(&k, key);
	if (!rc && (rc = rec_doc_put(&w->b, &k, r, d))) err_set(e, rc, "document %s: too large to store", r->id);
	if (!rc) rc = store_put(w->t, T_DOC, &k, w->b.data, w->b.len, e);
	if (!rc) rc = refs_put(w, key, r, d, e);
	if (rc) return rc;
	if (rec_doc_get(&stored, &k, (struct slice){ (const uint8_t *)w->b.data, w->b.len }, e)) return e->status;
	docs_note_put(&w->docs, key, &stored);
	c->rec.chunks += r->chunk_n;
	c->rec.tail += r->chunk_n;
	c->rec.text_bytes += r->text_len;
	if (!doc_verdict_has_text(r->verdict)) c->rec.without_text++;
	else c->rec.documents++;
	return OK;
}

int write_again(struct write *w, uint64_t key, uint32_t coll, struct rec_doc *r, const struct doc_in *d, struct err *e)
{
	struct touched *c;
	int rc = coll_touch_number(w, coll, &c, e);
	for (size_t i = 0; !rc && i < d->chunk_n; i++) rc = chunk_check(d, i, e);
	if (!rc && d->chunk_n) rc = vectors_check(w->x, d->vectors, d->chunk_n, w->state.serving.dim, e);
	if (!rc) rc = body_put(w, key, r, d, c, e);
	if (rc) w->failed = 1;
	else w->puts++;
	return rc;
}

/* Fills r and id for a new document. */
static int doc_begin(struct write *w, const struct doc_in *d, uint64_t *key, struct rec_doc *r, char id[ID_MAX + 1],
	struct err *e)
{
	*key = w->state.next_doc++;
	r->revision = 1;
	r->added_ms = r->updated_ms;
	r->verdict = d->verdict;
	if (!d->id || !*d->id) return id_make(w, *key, id, e);
	memcpy(id, d->id, strlen(d->id) + 1);
	return OK;
}

/* Fills r and id from the document that is replaced and takes its body away. */
static int doc_replace(struct write *w, const struct doc_in *d, uint64_t key, struct touched *c, struct rec_doc *r,
	char id[ID_MAX + 1], struct err *e)
{
	struct rec_doc old;
	char *source;
	int rc = doc_read(w, key, &old, e);
	if (!rc) rc = hold_check(w, old.id, e);
	if (rc) return rc;
	snprintf(id, ID_MAX + 1, "%s", old.id);
	r->revision = old.revision + 1;
	r->added_ms = old.added_ms;
	r->verdict = d->verdict == DOC_ADDED ? DOC_UPDATED : d->verdict;
	source = mem_strdup(old.source); /* the record's bytes may move with the first change */
	if (!source) return err_set(e, E_MEMORY, "replace document %s: out of memory", id);
	old.source = source;
	rc = body_remove(w, key, &old, c, e);
	mem_free(source);
	return rc || d->text_len ? rc : notes_forget(w, id, e);
}

static int put_checked(struct write *w, const struct doc_in *d, char id[ID_MAX + 1], int *verdict, struct err *e)
{
	struct rec_doc r = { .updated_ms = clock_wall_ms(), .id = id };
	struct touched *c;
	uint64_t key;
	int rc = coll_touch(w, d->collection, 1, &c, e);
	if (!rc) rc = find_replaced(w, d, c, &key, e);
	if (rc) return rc;
	rc = key ? doc_replace(w, d, key, c, &r, id, e) : doc_begin(w, d, &key, &r, id, e);
	if (!rc) rc = body_put(w, key, &r, d, c, e);
	if (!rc) *verdict = r.verdict;
	return rc;
}

int index_put(struct write *w, const struct doc_in *d, char id_out[64], int *verdict_out, struct err *e)
{
	char id[ID_MAX + 1] = "";
	int rc;
	if (w->failed) return err_set(e, E_USAGE, "a write that failed can only be aborted");
	rc = fields_check(d, e);
	if (!rc) rc = text_check(w, d, e);
	if (!rc) rc = put_checked(w, d, id, verdict_out, e);
	if (rc) {
		w->failed = 1;
		return rc;
	}
	w->puts++;
	memcpy(id_out, id, sizeof id);
	return OK;
}
