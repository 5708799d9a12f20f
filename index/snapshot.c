/* snapshot.c: owns reading: a snapshot is one read transaction of LMDB and the vectors in memory that fit it.
 *
 * Method: everything is looked up in the transaction, so a snapshot sees one state of the store whatever the writer
 * does, and never waits for it. Records are decoded where they lie; what a caller gets is copied into the caller's
 * arena, except texts and vectors, which are borrowed from the map. A text's checksum is verified at its first use in
 * the snapshot (the last sixteen are remembered). Access has one choke point: reader_may_see, through doc_get and
 * snapshot_sees_chunk; functions that take a struct doc rely on it having come from there.
 * Threads: one at a time per snapshot. Failure: E_NOT_FOUND alike for what is missing and what may not be seen;
 * E_CORRUPT names the record. */
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "index/filter.h"
#include "index/inside.h"

/* What a thread read last: many snapshots in a row see the same state. */
static _Thread_local struct { struct store_at at; struct rec_state state; char name[COLLECTION_MAX + 1]; struct rec_coll coll; } lately;

static int lately_is(const struct txn *t)
{
	const struct store_at at = txn_at(t);
	return at.env == lately.at.env && at.commit == lately.at.commit;
}

static int state_recall(struct snapshot *s, struct err *e)
{
	int rc;
	if (lately_is(s->t)) {
		s->state = lately.state;
		return OK;
	}
	rc = state_read(s->t, &s->state, e);
	if (rc) return rc;
	lately.at = txn_at(s->t);
	lately.state = s->state;
	lately.name[0] = 0;
	return OK;
}

int snapshot_coll(struct snapshot *s, const char *name, struct rec_coll *out, struct err *e)
{
	int rc;
	if (lately_is(s->t) && strcmp(lately.name, name) == 0 && *name) {
		*out = lately.coll;
		return OK;
	}
	rc = coll_read(s->t, name, out, e);
	if (rc || !lately_is(s->t)) return rc;
	memcpy(lately.name, name, strlen(name) + 1); /* coll_read took it, so it fits */
	lately.coll = *out;
	return OK;
}

int snapshot_open(struct snapshot **out, struct index *x, struct err *e)
{
	struct snapshot *s = mem_calloc(1, sizeof *s);
	int rc;
	*out = NULL;
	if (!s) return err_set(e, E_MEMORY, "read the store: out of memory");
	s->x = x;
	arena_init(&s->a, (size_t)1 << 30);
	s->vecs = vec_set_get(x);
	do {
		txn_abort(s->t);
		docset_put(s->docs);
		s->t = NULL;
		s->docs = docs_get(x);
		rc = txn_begin(&s->t, x->store, 0, e);
		if (!rc) rc = state_recall(s, e);
		if (rc == E_NOT_FOUND) rc = err_set(e, E_CORRUPT, "the state record is missing");
	} while (!rc && s->docs && s->state.seq >= atomic_load(&s->docs->end)); /* another took its place meanwhile */
	if (rc) snapshot_close(s);
	else *out = s;
	return rc;
}

void snapshot_close(struct snapshot *s)
{
	if (!s) return;
	txn_abort(s->t);
	vec_set_put(s->vecs);
	docset_put(s->docs);
	arena_clear(&s->a);
	holds_clear(&s->holds);
	mem_free(s);
}

uint64_t snapshot_seq(const struct snapshot *s)
{
	return s->state.seq;
}

const char *snapshot_embedder(const struct snapshot *s)
{
	return s->state.serving.embedder;
}

int reader_may_see(const struct reader *r, const struct doc *d)
{
	if (!r) return 0;
	if (r->collection && strcmp(r->collection, d->collection) != 0) return 0;
	if (r->all_groups || d->acl_n == 0) return filter_match(r->filter, d);
	for (size_t i = 0; i < d->acl_n; i++)
		for (size_t g = 0; g < r->group_n; g++)
			if (strcmp(d->acl[i], r->groups[g]) == 0) return filter_match(r->filter, d);
	return 0;
}

int reader_sees_all(const struct reader *r)
{
	return r->all_groups && !r->filter && !r->phrases;
}

/* ---- collections ---- */

static int coll_name(struct snapshot *s, uint32_t number, const char **name, struct err *e)
{
	if (!s->colls_read) {
		int rc = coll_list(s->t, &s->a, &s->colls, &s->coll_n, e);
		if (rc) return rc;
		s->colls_read = 1;
	}
	for (size_t i = 0; i < s->coll_n; i++)
		if (s->colls[i].rec.number == number) {
			*name = s->colls[i].name;
			return OK;
		}
	return err_set(e, E_CORRUPT, "no collection has number %u", number);
}

/* ---- documents ---- */

/* A borrowed view of the record as readers see it; the list of groups is in the arena. */
static int doc_view(struct snapshot *s, uint64_t key, const struct rec_doc *r, struct arena *a, struct doc *out,
	struct err *e)
{
	const uint8_t *p = r->acl;
	int rc;
	memset(out, 0, sizeof *out);
	rc = coll_name(s, r->coll, &out->collection, e);
	if (rc) return rc;
	out->key = key;
	out->id = r->id, out->title = r->title, out->source = r->source, out->type = r->type;
	out->root = r->root, out->meta = r->meta, out->reason = r->reason, out->duplicate_of = r->duplicate_of;
	out->bytes = r->bytes, out->source_size = r->source_size, out->source_mtime_ns = r->source_mtime_ns;
	memcpy(out->hash, r->hash, sizeof out->hash);
	out->text_len = r->text_len, out->chars = r->chars, out->chunks = r->chunk_n;
	out->added_ms = r->added_ms, out->updated_ms = r->updated_ms, out->revision = r->revision;
	out->verdict = r->verdict, out->seq = r->seq;
	out->acl = arena_calloc(a, r->acl_n + 1, sizeof *out->acl);
	if (!out->acl) return err_set(e, E_MEMORY, "read a document: out of memory");
	for (uint32_t i = 0; i < r->acl_n; i++) out->acl[i] = rec_acl_next(&p);
	out->acl_n = r->acl_n;
	return OK;
}

/* Turns the borrowed strings of a view into copies in the arena. */
static int doc_keep(struct doc *d, struct arena *a, struct err *e)
{
	const char **strings[] = { &d->id, &d->collection, &d->title, &d->source, &d->type, &d->root, &d->meta, &d->reason,
		&d->duplicate_of };
	for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
		if (!(*strings[i] = arena_strdup(a, *strings[i]))) goto full;
	for (size_t i = 0; i < d->acl_n; i++)
		if (!(d->acl[i] = arena_strdup(a, d->acl[i]))) goto full;
	return OK;
full:
	return err_set(e, E_MEMORY, "read a document: out of memory");
}

int doc_rec(struct snapshot *s, uint64_t key, struct rec_doc *r, struct err *e)
{
	struct slice v;
	struct key k;
	int rc;
	key_u64(&k, key);
	rc = store_get(s->t, T_DOC, &k, &v, e);
	if (rc) return rc;
	rc = rec_doc_get(r, &k, v, e);
	return rc ? err_wrap(e, "document %llu", (unsigned long long)key) : OK;
}

/* E_NOT_FOUND, quiet, when there is none or the reader may not see it. */
static int doc_get(struct snapshot *s, const struct reader *r, uint64_t key, struct arena *a, struct doc *out,
	struct err *e)
{
	struct rec_doc rec;
	int rc = doc_rec(s, key, &rec, e);
	if (!rc) rc = doc_view(s, key, &rec, a, out, e);
	if (rc) return rc;
	if (!reader_may_see(r, out)) return E_NOT_FOUND;
	return doc_keep(out, a, e);
}

/* Follows a table that leads to a document key. */
static int doc_by(struct snapshot *s, const struct reader *r, enum table table, const struct key *k, struct arena *a,
	struct doc *out, struct err *e)
{
	struct slice v;
	uint64_t key;
	int rc = store_get(s->t, table, k, &v, e);
	if (!rc) rc = rec_u64_get(&key, v, e);
	return rc ? rc : doc_get(s, r, key, a, out, e);
}

int snapshot_doc(struct snapshot *s, const struct reader *r, const char *id, struct arena *a, struct doc *out,
	struct err *e)
{
	struct key k;
	size_t n = strlen(id);
	int rc = E_NOT_FOUND;
	if (n >= 1 && n <= ID_MAX) {
		key_text(&k, id);
		rc = doc_by(s, r, T_ID, &k, a, out, e);
	}
	return rc == E_NOT_FOUND ? err_set(e, rc, "no document %.64s", id) : rc;
}

int snapshot_doc_by_key(struct snapshot *s, const struct reader *r, uint64_t key, struct arena *a, struct doc *out,
	struct err *e)
{
	int rc = doc_get(s, r, key, a, out, e);
	return rc == E_NOT_FOUND ? err_set(e, rc, "no document with key %llu", (unsigned long long)key) : rc;
}

int snapshot_doc_by_source(struct snapshot *s, const struct reader *r, const char *collection, const char *source,
	struct arena *a, struct doc *out, struct err *e)
{
	struct rec_coll c;
	struct key k;
	int rc = *source ? coll_read(s->t, collection, &c, e) : E_NOT_FOUND;
	if (!rc) {
		key_source(&k, c.number, source);
		rc = doc_by(s, r, T_SOURCE, &k, a, out, e);
	}
	if (!rc && strcmp(out->source, source) != 0) rc = E_NOT_FOUND; /* another source with the same SHA-256 */
	return rc == E_NOT_FOUND ? err_set(e, rc, "no document from %.160s", source) : rc;
}

int snapshot_doc_by_hash(struct snapshot *s, const struct reader *r, const char *collection, const uint8_t hash[32],
	struct arena *a, struct doc *out, struct err *e)
{
	struct cursor c = { 0 };
	struct rec_coll coll;
	struct slice key, value;
	struct key k;
	int rc = coll_read(s->t, collection, &coll, e);
	if (!rc) rc = cursor_open(&c, s->t, T_HASH, e);
	if (rc) goto out;
	key_hash(&k, coll.number, hash, 0);
	for (rc = cursor_seek(&c, &k, &key, &value, e); !rc; rc = cursor_next(&c, &key, &value, e)) {
		if (key.n != k.n || memcmp(key.p, k.b, k.n - 8) != 0) {
			rc = E_NOT_FOUND;
			break;
		}
		rc = doc_get(s, r, key_get_u64(key.p + k.n - 8), a, out, e);
		if (rc != E_NOT_FOUND) break;
	}
out:
	cursor_close(&c);
	return rc == E_NOT_FOUND ? err_set(e, rc, "no document with this hash") : rc;
}

int snapshot_docs(struct snapshot *s, const struct reader *r, uint64_t after, unsigned verdict_mask, size_t n,
	struct arena *a, struct doc *out, size_t *got, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	struct arena scratch;
	struct key k;
	int rc;
	*got = 0;
	if (n == 0 || after == UINT64_MAX) return OK;
	if (!verdict_mask) verdict_mask = ~(1u << DOC_DUPLICATE | 1u << DOC_SKIPPED | 1u << DOC_FAILED);
	arena_init(&scratch, (size_t)1 << 24);
	rc = cursor_open(&c, s->t, T_DOC, e);
	key_u64(&k, after + 1);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc; rc = cursor_next(&c, &key, &value, e)) {
		struct rec_doc rec;
		struct doc view;
		if (key.n != 8) continue;
		key_u64(&k, key_get_u64(key.p));
		rc = rec_doc_get(&rec, &k, value, e);
		if (rc) {
			err_wrap(e, "document %llu", (unsigned long long)key_get_u64(key.p));
			break;
		}
		if (!(verdict_mask >> rec.verdict & 1)) continue;
		arena_clear(&scratch);
		rc = doc_view(s, key_get_u64(key.p), &rec, &scratch, &view, e);
		if (rc) break;
		if (!reader_may_see(r, &view)) continue;
		rc = doc_get(s, r, view.key, a, &out[*got], e);
		if (rc || ++*got == n) break;
	}
	cursor_close(&c);
	arena_clear(&scratch);
	return rc == E_NOT_FOUND ? OK : rc;
}

int snapshot_each_seen(struct snapshot *s, const struct reader *r, uint32_t coll,
	int (*on_doc)(void *ctx, const struct rec_doc *d), void *ctx, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	struct arena scratch;
	struct key k;
	int rc;
	arena_init(&scratch, (size_t)1 << 24);
	rc = cursor_open(&c, s->t, T_DOC, e);
	key_u64(&k, 0);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc; rc = cursor_next(&c, &key, &value, e)) {
		struct rec_doc rec;
		struct doc view;
		struct err why;
		if (key.n != 8) continue;
		key_u64(&k, key_get_u64(key.p));
		if (rec_doc_get(&rec, &k, value, &why)) {
			log_put(LOG_WARN, "index", "document %llu is left out: %s", (unsigned long long)key_get_u64(key.p), why.msg);
			continue;
		}
		if (rec.coll != coll) continue;
		arena_clear(&scratch);
		rc = doc_view(s, key_get_u64(key.p), &rec, &scratch, &view, e);
		if (!rc && reader_may_see(r, &view) && on_doc(ctx, &rec)) rc = err_set(e, E_MEMORY, "search: out of memory");
		if (rc) break;
	}
	cursor_close(&c);
	arena_clear(&scratch);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- texts ---- */

/* A document without text gets an empty one. */
static int text_get(struct snapshot *s, const struct doc *d, struct rec_text *out, struct err *e)
{
	size_t slot = d->key % (sizeof s->verified / sizeof *s->verified);
	int known = s->verified[slot].ok && s->verified[slot].key == d->key;
	static const uint32_t empty_map[1];
	struct slice v;
	struct key k;
	int rc;
	*out = (struct rec_text){ 0, 0, empty_map, 1, "" };
	if (d->text_len == 0) return OK;
	key_u64(&k, d->key);
	rc = store_get(s->t, T_TEXT, &k, &v, e);
	if (rc == E_NOT_FOUND) return err_set(e, E_CORRUPT, "document %s: its text is missing", d->id);
	if (!rc) rc = rec_text_get(out, &k, v, !known, e);
	if (!rc && out->len != d->text_len) rc = err_set(e, E_CORRUPT, "its text has another length than its record says");
	if (rc) return err_wrap(e, "document %s", d->id);
	s->verified[slot].key = d->key;
	s->verified[slot].ok = 1;
	return OK;
}

int snapshot_text(struct snapshot *s, const struct doc *d, const char **text, size_t *len, struct err *e)
{
	struct rec_text r;
	int rc = text_get(s, d, &r, e);
	*text = rc ? "" : r.text;
	*len = rc ? 0 : r.len;
	return rc;
}

int snapshot_text_range(struct snapshot *s, const struct doc *d, uint64_t start_cp, uint64_t end_cp, struct span *out,
	struct err *e)
{
	struct rec_text r;
	size_t from, to;
	int rc = text_get(s, d, &r, e);
	*out = (struct span){ 0, 0 };
	if (rc) return rc;
	if (end_cp < start_cp)
		return err_set(e, E_USAGE, "range %llu to %llu ends before it starts",
			(unsigned long long)start_cp, (unsigned long long)end_cp);
	if (r.len == 0) return OK;
	from = cpmap_to_byte(r.map, r.text, r.len, start_cp);
	to = cpmap_to_byte(r.map, r.text, r.len, end_cp);
	*out = (struct span){ (uint32_t)from, (uint32_t)(to - from) };
	return OK;
}

int snapshot_text_cp(struct snapshot *s, const struct doc *d, uint64_t byte_off, uint64_t *cp, struct err *e)
{
	struct rec_text r;
	int rc = text_get(s, d, &r, e);
	*cp = 0;
	if (rc) return rc;
	if (byte_off > r.len) return err_set(e, E_USAGE, "byte %llu is past the text's end", (unsigned long long)byte_off);
	if (r.len) *cp = cpmap_to_cp(r.map, r.text, r.len, byte_off);
	return OK;
}

/* ---- chunks ---- */

/* E_NOT_FOUND, quiet. */
static int chunk_rec(struct snapshot *s, uint64_t id, struct rec_chunk *r, struct err *e)
{
	struct slice v;
	struct key k;
	int rc;
	key_u64(&k, id);
	rc = store_get(s->t, T_CHUNK, &k, &v, e);
	if (rc) return rc;
	rc = rec_chunk_get(r, &k, v, e);
	return rc ? err_wrap(e, "chunk %llu", (unsigned long long)id) : OK;
}

static int chunk_keep(uint64_t id, const struct rec_chunk *r, struct arena *a, struct chunk *out, struct err *e)
{
	struct span *sentences = arena_calloc(a, (size_t)r->sentence_n + 1, sizeof *sentences);
	*out = (struct chunk){ id, r->doc, r->range, r->start_cp, r->end_cp, r->page, arena_strdup(a, r->heading), sentences,
		r->sentence_n };
	if (!sentences || !out->heading) return err_set(e, E_MEMORY, "read a chunk: out of memory");
	for (uint32_t i = 0; i < r->sentence_n; i++) sentences[i] = rec_sentence(r, i);
	return OK;
}

int snapshot_match(void *ctx, uint64_t key, int *yes, struct err *e)
{
	const struct doc_ask *ask = ctx;
	struct err why = { OK, "" };
	struct arena scratch;
	struct rec_doc rec;
	struct doc view;
	int rc = doc_rec(ask->s, key, &rec, &why);
	arena_init(&scratch, (size_t)1 << 20);
	if (!rc) rc = doc_view(ask->s, key, &rec, &scratch, &view, &why);
	*yes = !rc && filter_match(ask->r->filter, &view);
	arena_clear(&scratch);
	if (rc == E_MEMORY) return err_set(e, rc, "%s", why.msg);
	if (rc) log_put(LOG_WARN, "index", "document %llu is left out: %s", (unsigned long long)key, why.msg);
	return OK;
}

/* By the table in memory; of the record only what the filter asks. */
static int docs_see_chunk(struct snapshot *s, const struct reader *r, uint32_t coll, uint64_t chunk, struct sight *cache,
	int *yes, struct err *e)
{
	struct doc_at at;
	size_t slot;
	int rc;
	*yes = docset_sees(s->docs, s->state.seq, chunk, r, &at) && at.coll == coll;
	if (!*yes || !r->filter) return OK;
	slot = at.key % (sizeof cache->seen / sizeof *cache->seen);
	if (cache->seen[slot].doc != at.key) {
		rc = snapshot_match(&(struct doc_ask){ s, r }, at.key, yes, e);
		if (rc) return rc;
		cache->seen[slot].doc = at.key;
		cache->seen[slot].yes = *yes;
	}
	*yes = cache->seen[slot].yes;
	return OK;
}

static int records_see_chunk(struct snapshot *s, const struct reader *r, uint32_t coll, uint64_t chunk, struct sight *cache,
	int *yes, struct err *e)
{
	struct err why = { OK, "" };
	struct rec_chunk rec;
	struct rec_doc doc;
	struct doc view;
	struct arena scratch;
	size_t slot;
	int rc = chunk_rec(s, chunk, &rec, &why);
	*yes = 0;
	if (rc == E_NOT_FOUND || (!rc && rec.coll != coll)) return OK;
	slot = rec.doc % (sizeof cache->seen / sizeof *cache->seen);
	if (!rc && cache->seen[slot].doc == rec.doc) {
		*yes = cache->seen[slot].yes;
		return OK;
	}
	arena_init(&scratch, (size_t)1 << 20);
	if (!rc) rc = doc_rec(s, rec.doc, &doc, &why);
	if (!rc) rc = doc_view(s, rec.doc, &doc, &scratch, &view, &why);
	if (!rc) {
		cache->seen[slot].doc = rec.doc;
		*yes = cache->seen[slot].yes = reader_may_see(r, &view);
	}
	arena_clear(&scratch);
	if (rc == E_MEMORY) return err_set(e, rc, "%s", why.msg);
	if (rc && rc != E_NOT_FOUND)
		log_put(LOG_WARN, "index", "chunk %llu is left out: %s", (unsigned long long)chunk, why.msg);
	return OK;
}

int snapshot_sees_chunk(struct snapshot *s, const struct reader *r, uint32_t coll, uint64_t chunk, struct sight *cache,
	int *yes, struct err *e)
{
	return s->docs && r ? docs_see_chunk(s, r, coll, chunk, cache, yes, e) : records_see_chunk(s, r, coll, chunk, cache, yes, e);
}

int snapshot_chunk(struct snapshot *s, const struct reader *r, uint64_t chunk_id, struct arena *a, struct chunk *out,
	struct err *e)
{
	struct sight cache = { 0 };
	struct rec_chunk rec;
	const char *name = NULL;
	int yes, rc = chunk_rec(s, chunk_id, &rec, e);
	if (!rc && r && r->collection) rc = coll_name(s, rec.coll, &name, e);
	if (!rc && name && strcmp(name, r->collection) != 0) rc = E_NOT_FOUND;
	if (!rc) rc = snapshot_sees_chunk(s, r, rec.coll, chunk_id, &cache, &yes, e);
	if (!rc && !yes) rc = E_NOT_FOUND;
	if (rc == E_NOT_FOUND) return err_set(e, rc, "no chunk %llu", (unsigned long long)chunk_id);
	return rc ? rc : chunk_keep(chunk_id, &rec, a, out, e);
}

int snapshot_chunks(struct snapshot *s, const struct doc *d, struct arena *a, struct chunk **out, size_t *n,
	struct err *e)
{
	struct rec_doc doc;
	struct rec_chunk rec;
	int rc = doc_rec(s, d->key, &doc, e);
	*out = NULL;
	*n = 0;
	if (rc == E_NOT_FOUND) return err_set(e, rc, "no document %s", d->id);
	if (rc) return rc;
	*out = arena_calloc(a, (size_t)doc.chunk_n + 1, sizeof **out);
	if (!*out) return err_set(e, E_MEMORY, "read chunks: out of memory");
	for (; *n < doc.chunk_n; ++*n) {
		uint64_t id = doc.first_chunk + *n;
		rc = chunk_rec(s, id, &rec, e);
		if (rc == E_NOT_FOUND)
			rc = err_set(e, E_CORRUPT, "document %s: chunk %llu is missing", d->id, (unsigned long long)id);
		if (!rc) rc = chunk_keep(id, &rec, a, &(*out)[*n], e);
		if (rc) return rc;
	}
	return OK;
}

int snapshot_vector(struct snapshot *s, uint64_t chunk_id, float *out, struct err *e)
{
	struct rec_chunk rec;
	struct rec_vec vec;
	struct slice v;
	struct key k;
	int rc = chunk_rec(s, chunk_id, &rec, e);
	if (!rc) {
		key_vec(&k, rec.coll, chunk_id);
		rc = store_get(s->t, gen_vec(&s->state.serving), &k, &v, e);
	}
	if (rc == E_NOT_FOUND) return err_set(e, rc, "no vector of chunk %llu", (unsigned long long)chunk_id);
	if (!rc && (rc = rec_vec_get(&vec, &k, v, s->state.serving.dim, 1, e)))
		err_wrap(e, "chunk %llu", (unsigned long long)chunk_id);
	if (!rc) rec_vec_floats(out, &vec);
	return rc;
}
