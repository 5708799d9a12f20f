/* rewrite.c: owns compaction and erasure: what makes the store's file forget.
 *
 * Compaction is store_rewrite: the living entries in a new file. Erasure takes three commits around it:
 *
 *   1  in one write: the document, the records of files equal to it (they hold its source), what notes say of its file
 *      and the stored graph that may hold its vectors are taken away; a receipt of hashes is put in, "state": "pending".
 *      Before, pieces of all that is taken away are copied into memory (samples.h).
 *   2  the store is rewritten. While writers still wait, the new file is read raw, from the first byte to the last,
 *      for every piece. A piece that is found must lie in a living record: then another document says the same, and
 *      keeps it. Anything else is a failure that is told.
 *   3  the receipt's state becomes "done".
 *
 * From 1 on the document is gone for every reader that begins. A kill between 1 and 3 leaves a pending receipt, which
 * the next open sees: it rewrites the store again. A graph that is being built meanwhile from an older snapshot is
 * thrown away (index.erasures), so that it can't bring the vectors back; the one in memory is searched on, its
 * tombstones are skipped as ever, until the next is built from the living vectors alone.
 * Notes that repeat a document's words go with it (notes.c). The others hold paths of files: a job's problem that names
 * the file leaves the job's note, and a note that is about the file alone (a job or source of that very path) goes. A
 * pushed document's source is any word that its sender chose: it is looked for in no note, since it would be found in
 * those of others.
 * Threads: any; the writer's place is held through 1, 2 and 3 in turn. Failure: index.h. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/inside.h"
#include "index/samples.h"

enum { NAMES_BYTES_MAX = 64 << 20, NOTES_PAGE = 256 };

/* ---- compaction ---- */

static int file_size(struct index *x, uint64_t *bytes, struct err *e)
{
	uint64_t map, used;
	struct txn *t;
	int rc = txn_begin(&t, x->store, 0, e);
	if (rc) return rc;
	rc = store_sizes(t, bytes, &map, &used, e);
	txn_abort(t);
	return rc;
}

static int writer_is_me(struct index *x, struct err *e)
{
	return atomic_load(&x->writer) == pthread_self()
		? err_set(e, E_BUSY, "this thread is writing to the store already") : OK;
}

/* ---- receipts ---- */

static int hash_add(cJSON *o, const char *name, const uint8_t hash[32])
{
	char hex[65];
	hex_put(hex, hash, 32);
	return cJSON_AddStringToObject(o, name, hex) != NULL;
}

/* Hashes only: a receipt must not keep what it says is gone. */
static int receipt_put(struct write *w, const struct index_erasure *r, const char *state, struct err *e)
{
	cJSON *o = cJSON_CreateObject();
	char at[CLOCK_TEXT_LEN], *text = NULL;
	uint8_t id[32];
	int rc;
	clock_text(at, r->erased_ms);
	sha256_of(r->document_id, strlen(r->document_id), id);
	if (o && cJSON_AddStringToObject(o, "receipt", r->receipt) && cJSON_AddStringToObject(o, "state", state) && hash_add(o, "document_id_sha256", id) &&
		hash_add(o, "source_sha256", r->source_hash) && hash_add(o, "content_sha256", r->content_hash) &&
		cJSON_AddStringToObject(o, "erased_at", at) && cJSON_AddNumberToObject(o, "snapshot", (double)r->snapshot) &&
		cJSON_AddNumberToObject(o, "bytes_rewritten", (double)r->bytes_rewritten) &&
		cJSON_AddBoolToObject(o, "verified", r->verified) && cJSON_AddNumberToObject(o, "samples", (double)r->samples))
		text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	rc = text ? index_note_put(w, NOTE_ERASURE, r->receipt, text, strlen(text), e)
		: err_set(e, E_MEMORY, "receipt of an erasure: out of memory");
	cJSON_free(text);
	return rc;
}

/* The receipt's state in a note of the store; *o is to be freed. */
static int receipt_parse(const struct note *n, cJSON **o, int *pending, struct err *e)
{
	int rc = json_parse(o, n->json, n->len, NOTE_JSON_MAX, "receipt", e);
	*pending = !rc && strcmp(json_str(*o, "state", ""), "pending") == 0;
	return rc;
}

/* Names of pending receipts, in the arena. */
static int pending_list(struct index *x, struct arena *a, const char ***names, size_t *n, struct err *e)
{
	struct note *page = arena_alloc(a, NOTES_PAGE * sizeof *page);
	const char *after = "";
	struct snapshot *s;
	size_t got = NOTES_PAGE, cap = 0;
	int rc = page ? snapshot_open(&s, x, e) : err_set(e, E_MEMORY, "read receipts: out of memory");
	*n = 0;
	*names = NULL;
	if (rc) return rc;
	while (!rc && got == NOTES_PAGE) {
		rc = snapshot_notes(s, NOTE_ERASURE, after, NOTES_PAGE, a, page, &got, e);
		for (size_t i = 0; !rc && i < got; i++) {
			cJSON *o = NULL;
			int pending;
			rc = receipt_parse(&page[i], &o, &pending, e);
			cJSON_Delete(o);
			after = page[i].name;
			if (rc || !pending) continue;
			if (*n == cap) {
				const char **more = arena_alloc(a, (cap = cap ? 2 * cap : 16) * sizeof *more);
				if (!more) rc = err_set(e, E_MEMORY, "read receipts: out of memory");
				else if (*n) memcpy(more, *names, *n * sizeof *more);
				*names = more;
			}
			if (!rc) (*names)[(*n)++] = page[i].name;
		}
	}
	snapshot_close(s);
	return rc;
}

/* Says of a receipt that its bytes are gone by rewriting, though nobody looked for them. */
static int pending_end(struct write *w, const char *name, struct err *e)
{
	struct note n = { name, NULL, 0 };
	cJSON *o = NULL;
	struct slice v, json;
	struct key k;
	char *text = NULL;
	int pending, rc;
	key_note(&k, NOTE_ERASURE, name);
	rc = store_get(w->t, T_NOTE, &k, &v, e);
	if (rc == E_NOT_FOUND) return OK;
	if (!rc) rc = rec_note_get(&json, &k, v, e);
	if (rc) return rc;
	n.json = (const char *)json.p, n.len = json.n;
	rc = receipt_parse(&n, &o, &pending, e);
	if (!rc && pending && cJSON_SetValuestring(cJSON_GetObjectItemCaseSensitive(o, "state"), "done"))
		text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	if (rc || !pending) return rc;
	rc = text ? index_note_put(w, NOTE_ERASURE, name, text, strlen(text), e) : err_set(e, E_MEMORY, "out of memory");
	cJSON_free(text);
	return rc;
}

/* Rewrites the store, and with that ends the erasures that were pending before. */
static int rewrite_all(struct index *x, const char *const *pending, size_t n, struct err *e)
{
	struct write *w;
	int rc = store_rewrite(x->store, NULL, NULL, e);
	if (rc || !n) return rc;
	rc = index_write_begin(&w, x, e);
	if (rc) return rc;
	for (size_t i = 0; !rc && i < n; i++) rc = pending_end(w, pending[i], e);
	if (!rc) return index_write_commit(w, e);
	index_write_abort(w);
	return rc;
}

int index_compact(struct index *x, uint64_t *before, uint64_t *after, struct err *e)
{
	const char **pending;
	struct arena a;
	size_t n;
	int rc = writer_is_me(x, e);
	*before = *after = 0;
	if (rc) return rc;
	arena_init(&a, NAMES_BYTES_MAX);
	rc = pending_list(x, &a, &pending, &n, e);
	if (!rc) rc = file_size(x, before, e);
	if (!rc) rc = rewrite_all(x, pending, n, e);
	if (!rc) rc = file_size(x, after, e);
	arena_clear(&a);
	return rc ? err_wrap(e, "compact") : OK;
}

void erasures_finish(struct index *x)
{
	const char **pending;
	struct arena a;
	struct err e;
	size_t n;
	int rc;
	arena_init(&a, NAMES_BYTES_MAX);
	rc = pending_list(x, &a, &pending, &n, &e);
	if (!rc && n) {
		log_put(LOG_INFO, "index", "%zu erasures were cut off: rewriting the store", n);
		rc = rewrite_all(x, pending, n, &e);
	}
	if (rc) log_put(LOG_WARN, "index", "erasures that were cut off are not finished: %s", e.msg);
	arena_clear(&a);
}

/* ---- pieces of what is erased ---- */

struct erase {
	struct index *x;
	struct write *w;
	struct index_erasure *r;
	struct samples samples;
	struct arena a;
	const char *source, *id;         /* in the arena */
	const char *coll_name;           /* likewise */
	const char **paths; size_t path_n, path_cap; /* of the files that go: by these notes name them; in the arena */
	uint64_t key, first_chunk;
	uint32_t coll;
	struct err found;                /* what the raw file still holds */
	uint8_t *code;                   /* of one vector of any length, as graphs hold it */
	float *floats;                   /* the vector, where it is stored otherwise */
};

/* The vector of a chunk in one generation, and its code. E_NOT_FOUND, E_CORRUPT: it has none to sample. */
static int vector_sample(struct erase *p, const struct rec_gen *g, uint64_t id, struct err *e)
{
	struct slice v;
	struct rec_vec vec;
	struct key k;
	size_t n;
	int rc;
	key_vec(&k, p->coll, id);
	rc = store_get(p->w->t, gen_vec(g), &k, &v, e);
	if (!rc) rc = rec_vec_get(&vec, &k, v, g->dim, 1, e);
	n = rc ? 0 : v.n - 4; /* without its checksum */
	if (!rc) rc = samples_add(&p->samples, v.p, n / 2, SAMPLE_VECTOR, e);
	if (!rc) rc = samples_add(&p->samples, v.p + n / 2, n - n / 2, SAMPLE_VECTOR, e);
	if (rc) return rc;
	code8_encode(p->code, rec_vec_borrow(&vec, p->floats), g->dim);
	return samples_add(&p->samples, p->code, g->dim, SAMPLE_VECTOR, e);
}

static int chunk_sample(struct erase *p, uint64_t id, const struct rec_text *text, struct err *e)
{
	struct rec_chunk c;
	struct slice v;
	struct key k;
	int rc;
	key_u64(&k, id);
	rc = store_get(p->w->t, T_CHUNK, &k, &v, e);
	if (!rc) rc = rec_chunk_get(&c, &k, v, e);
	if (rc == OK) rc = samples_add(&p->samples, c.heading, strlen(c.heading), SAMPLE_TEXT, e);
	for (uint32_t i = 0; rc == OK && i < c.sentence_n; i++) {
		struct span s = rec_sentence(&c, i);
		if ((uint64_t)s.off + s.len <= text->len) rc = samples_add(&p->samples, text->text + s.off, s.len, SAMPLE_TEXT, e);
	}
	if (rc == OK) rc = vector_sample(p, &p->w->state.serving, id, e);
	if (rc == E_NOT_FOUND || rc == E_CORRUPT) rc = OK; /* a damaged record goes all the same */
	if (rc == OK && p->w->state.beside.status) rc = vector_sample(p, &p->w->state.beside, id, e);
	return rc == E_NOT_FOUND || rc == E_CORRUPT ? OK : rc;
}

static int text_samples(struct erase *p, const struct rec_doc *d, struct err *e)
{
	struct rec_text text = { 0, 0, NULL, 0, "" };
	struct slice v;
	struct key k;
	int rc = OK;
	key_u64(&k, p->key);
	if (d->text_len) rc = store_get(p->w->t, T_TEXT, &k, &v, e);
	if (!rc && d->text_len) rc = rec_text_get(&text, &k, v, 0, e);
	if (!rc) rc = samples_add_text(&p->samples, text.text, text.len, e);
	if (rc == E_NOT_FOUND || rc == E_CORRUPT) rc = OK;
	for (uint32_t i = 0; !rc && i < d->chunk_n; i++) rc = chunk_sample(p, d->first_chunk + i, &text, e);
	return rc;
}

/* Keeps the source of a document that a sync brought. */
static int path_add(struct erase *p, const struct rec_doc *d)
{
	if (d->source[0] != '/' || (!d->source_mtime_ns && !*d->root && !strchr(d->source, '#'))) return OK;
	if (p->path_n == p->path_cap) {
		const char **more = arena_alloc(&p->a, (p->path_cap = p->path_cap ? 2 * p->path_cap : 16) * sizeof *more);
		if (!more) return E_MEMORY;
		if (p->path_n) memcpy(more, p->paths, p->path_n * sizeof *more);
		p->paths = more;
	}
	return (p->paths[p->path_n++] = arena_strdup(&p->a, d->source)) ? OK : E_MEMORY;
}

static int coll_name_find(struct erase *p, uint32_t number, struct err *e)
{
	struct coll_entry *list;
	size_t n = 0;
	int rc = coll_list(p->w->t, &p->a, &list, &n, e);
	p->coll_name = "";
	for (size_t i = 0; !rc && i < n; i++)
		if (list[i].rec.number == number) p->coll_name = list[i].name;
	return rc;
}

/* Finds the document and copies pieces of all that is stored of it. */
static int doc_samples(struct erase *p, const char *id, struct err *e)
{
	struct rec_doc d;
	struct slice v;
	struct key k;
	size_t n = strlen(id);
	int rc = n >= 1 && n <= ID_MAX ? OK : E_NOT_FOUND;
	key_text(&k, id);
	if (!rc) rc = store_get(p->w->t, T_ID, &k, &v, e);
	if (rc == E_NOT_FOUND) return err_set(e, rc, "no document %.64s", id);
	if (!rc) rc = rec_u64_get(&p->key, v, e);
	key_u64(&k, p->key);
	if (!rc) rc = store_get(p->w->t, T_DOC, &k, &v, e);
	if (!rc) rc = rec_doc_get(&d, &k, v, e);
	if (rc) return err_set(e, E_CORRUPT, "document %s: its record is damaged or missing", id);
	p->coll = d.coll;
	p->first_chunk = d.first_chunk;
	p->id = arena_strdup(&p->a, id);
	p->source = arena_strdup(&p->a, d.source);
	rc = coll_name_find(p, d.coll, e);
	if (rc) return rc;
	if (!p->id || !p->source || path_add(p, &d)) return err_set(e, E_MEMORY, "erase %s: out of memory", id);
	snprintf(p->r->document_id, sizeof p->r->document_id, "%s", id);
	sha256_of(d.source, strlen(d.source), p->r->source_hash);
	memcpy(p->r->content_hash, d.hash, 32);
	{
		const char *const names[] = { d.id, d.source, d.title, d.meta, d.reason };
		for (size_t i = 0; !rc && i < sizeof names / sizeof *names; i++)
			rc = samples_add(&p->samples, names[i], strlen(names[i]), SAMPLE_NAME, e);
	}
	return rc ? rc : text_samples(p, &d, e);
}

/* ---- taking away ---- */

/* Records of files with the same content: they name the document, and its source. */
static int duplicates_delete(struct erase *p, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	const char **ids = NULL;
	size_t n = 0, cap = 0;
	int rc = cursor_open(&c, p->w->t, T_DOC, e);
	if (!rc) rc = cursor_seek(&c, NULL, &key, &value, e);
	for (; !rc; rc = cursor_next(&c, &key, &value, e)) {
		struct rec_doc d;
		struct key k;
		if (key.n != 8) continue;
		key_u64(&k, key_get_u64(key.p));
		if (rec_doc_get(&d, &k, value, NULL) || strcmp(d.duplicate_of, p->id) != 0 || d.coll != p->coll) continue;
		if (n == cap) {
			const char **more = arena_alloc(&p->a, (cap = cap ? 2 * cap : 16) * sizeof *more);
			if (!more) break;
			if (n) memcpy(more, ids, n * sizeof *more);
			ids = more;
		}
		if (!(ids[n] = arena_strdup(&p->a, d.id))) break;
		n++;
		if (path_add(p, &d) || samples_add(&p->samples, d.source, strlen(d.source), SAMPLE_NAME, NULL) ||
			samples_add(&p->samples, d.reason, strlen(d.reason), SAMPLE_NAME, NULL)) break;
	}
	cursor_close(&c);
	if (!rc) return err_set(e, E_MEMORY, "erase %s: out of memory", p->id);
	if (rc != E_NOT_FOUND) return rc;
	rc = samples_seal(&p->samples, e);
	if (rc) return rc;
	for (size_t i = 0; i < n; i++)
		if ((rc = index_delete(p->w, ids[i], e))) return rc;
	p->r->duplicates = n;
	return OK;
}

/* Access keys, and what speaks of other documents: holds, by ids that can't be erased, and receipts. */
static int kind_is_kept(const char *kind)
{
	return strcmp(kind, "key") == 0 || strcmp(kind, NOTE_HOLD) == 0 || strcmp(kind, NOTE_ERASURE) == 0;
}

static int is_named(const struct erase *p, const char *s)
{
	for (size_t i = 0; i < p->path_n; i++)
		if (path_is_named(s, p->paths[i])) return 1;
	return 0;
}

static int is_path(const struct erase *p, const char *s)
{
	for (size_t i = 0; i < p->path_n; i++)
		if (strcmp(s, p->paths[i]) == 0) return 1;
	return 0;
}

/* Takes the entries of lists that name a file out. 1: something outside of such entries names one. */
static int json_forget(const struct erase *p, cJSON *o, int *changed)
{
	for (cJSON *x = o->child, *next; x; x = next) {
		const char *s = cJSON_GetStringValue(x);
		next = x->next;
		if (!(s && is_named(p, s)) && !json_forget(p, x, changed)) continue;
		if (!cJSON_IsArray(o) || !cJSON_IsObject(x)) return 1;
		cJSON_Delete(cJSON_DetachItemViaPointer(o, x));
		*changed = 1;
	}
	return 0;
}

/* What becomes of a note: 1 in *gone: deleted; *text: what it is then; neither: it stays. A synced folder or file is
 * what someone configured: its other strings are theirs. */
static int note_forget(struct erase *p, const char *kind, struct slice json, int *gone, char **text, struct err *e)
{
	cJSON *o;
	const char *coll;
	int changed = 0;
	*gone = 0;
	*text = NULL;
	if (json_parse(&o, (const char *)json.p, json.n, NOTE_JSON_MAX, "note", NULL)) return OK;
	coll = json_str(o, "collection", NULL);
	if (coll && strcmp(coll, p->coll_name) != 0) *gone = 0; /* the same file, as another document */
	else if (strcmp(kind, "source") == 0) *gone = is_path(p, json_str(o, "path", ""));
	else *gone = json_forget(p, o, &changed);
	if (!*gone && changed) *text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	return !*gone && changed && !*text ? err_set(e, E_MEMORY, "erase %s: out of memory", p->id) : OK;
}

/* Rids the first note from `at` on that names the document of it and moves at behind it. E_NOT_FOUND at the end. */
static int note_clean_next(struct erase *p, struct key *at, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	char kind[NOTE_KIND_MAX + 1], name[NOTE_NAME_MAX + 1], *text = NULL;
	int gone = 0, rc = cursor_open(&c, p->w->t, T_NOTE, e);
	if (!rc) rc = cursor_seek(&c, at->n ? at : NULL, &key, &value, e);
	for (; !rc; rc = cursor_next(&c, &key, &value, e)) {
		const uint8_t *zero = memchr(key.p, 0, key.n);
		struct slice json;
		size_t kind_n = zero ? (size_t)(zero - key.p) : 0, name_n = key.n - kind_n - 1;
		if (!zero || kind_n > NOTE_KIND_MAX || name_n > NOTE_NAME_MAX) continue;
		memcpy(at->b, key.p, key.n);
		at->n = key.n;
		memcpy(kind, key.p, kind_n + 1);
		memcpy(name, zero + 1, name_n);
		name[name_n] = 0;
		if (kind_is_kept(kind) || rec_note_get(&json, at, value, NULL) || note_is_of(json)) continue;
		rc = note_forget(p, kind, json, &gone, &text, e);
		if (rc || gone || text) break;
	}
	cursor_close(&c);
	if (rc) return rc;
	at->b[at->n++] = 0; /* the key right behind; notes' keys leave room for it */
	p->r->notes++;
	rc = gone ? index_note_delete(p->w, kind, name, e) : index_note_put(p->w, kind, name, text, strlen(text), e);
	cJSON_free(text);
	return rc;
}

static int notes_clean(struct erase *p, struct err *e)
{
	struct key at = { .n = 0 };
	int rc = p->path_n ? OK : E_NOT_FOUND;
	while (!rc) rc = note_clean_next(p, &at, e);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* The first commit. */
static int erase_commit(struct erase *p, const char *id, struct err *e)
{
	uint8_t number[16];
	int rc = index_write_begin(&p->w, p->x, e);
	if (rc) return rc;
	rc = hold_check(p->w, id, e);
	if (!rc) rc = doc_samples(p, id, e);
	if (!rc) rc = duplicates_delete(p, e);
	if (!rc) rc = notes_clean(p, e);
	if (!rc) rc = index_delete(p->w, id, e);
	if (!rc) rc = write_forget_graph(p->w, p->coll, p->first_chunk, e);
	if (!rc && getrandom(number, sizeof number, 0) != sizeof number) rc = err_sys(e, "number of a receipt");
	hex_put(p->r->receipt, number, sizeof number);
	p->r->erased_ms = clock_wall_ms();
	p->r->snapshot = p->w->state.seq;
	p->r->samples = p->samples.n;
	if (!rc) rc = receipt_put(p->w, p->r, "pending", e);
	if (rc) {
		index_write_abort(p->w);
		return rc;
	}
	atomic_fetch_add(&p->x->erasures, 1);
	fault_point("erase.before_commit");
	rc = index_write_commit(p->w, e);
	if (!rc) fault_point("erase.after_commit");
	return rc;
}

/* ---- looking whether it is gone ---- */

/* Marks the samples that living records hold. Graphs don't count: they hold codes of vectors, which are asked instead. */
static int alive_scan(struct erase *p, struct err *e)
{
	struct rec_state state;
	struct txn *t;
	int rc = txn_begin(&t, p->x->store, 0, e);
	if (rc) return rc;
	rc = state_read(t, &state, e);
	for (int i = 0; !rc && i < TABLE_N; i++) {
		const struct rec_gen *g = gen_of(&state, (enum table)i);
		struct cursor c = { 0 };
		struct slice key, value;
		struct rec_vec vec;
		if (i == T_GRAPH || i == T_GRAPH2) continue;
		rc = cursor_open(&c, t, (enum table)i, e);
		if (!rc) rc = cursor_seek(&c, NULL, &key, &value, e);
		for (; !rc; rc = cursor_next(&c, &key, &value, e)) {
			samples_scan(&p->samples, key.p, key.n, SEEN_ALIVE);
			samples_scan(&p->samples, value.p, value.n, SEEN_ALIVE);
			if (!g || rec_vec_get(&vec, NULL, value, g->dim, 0, NULL)) continue;
			code8_encode(p->code, rec_vec_borrow(&vec, p->floats), g->dim);
			samples_scan(&p->samples, p->code, g->dim, SEEN_ALIVE);
		}
		cursor_close(&c);
		if (rc == E_NOT_FOUND) rc = OK;
	}
	txn_abort(t);
	return rc;
}

static int raw_verify(void *ctx, int fd, struct err *e)
{
	static const char *const kinds[] = { "its names", "its text", "its vectors" };
	struct erase *p = ctx;
	size_t found = 0, left = 0, first = 0;
	int rc;
	fault_point("erase.before_verify");
	rc = samples_scan_file(&p->samples, fd, SEEN_RAW, &p->r->bytes_rewritten, e);
	for (size_t i = 1; i <= p->samples.n; i++) found += p->samples.at[i].seen & SEEN_RAW;
	if (!rc && found) rc = alive_scan(p, e);
	if (rc) return rc;
	for (size_t i = 1; i <= p->samples.n; i++) {
		if (p->samples.at[i].seen != SEEN_RAW) continue;
		if (!left++) first = i;
	}
	p->r->shared = found - left;
	p->r->verified = left == 0;
	return left ? err_set(e, E_CORRUPT, "document %s is deleted, but %zu of %zu pieces of it are still in the store's "
		"file (%s)", p->id, left, p->samples.n, kinds[p->samples.at[first].kind]) : OK;
}

static int erase_end(struct erase *p, struct err *e)
{
	int rc = index_write_begin(&p->w, p->x, e);
	if (rc) return rc;
	rc = receipt_put(p->w, p->r, "done", e);
	if (rc) {
		index_write_abort(p->w);
		return rc;
	}
	fault_point("erase.before_receipt");
	rc = index_write_commit(p->w, e);
	if (!rc) fault_point("erase.done");
	return rc;
}

/* A small collection needs no graph any more; a large one searches the old one until the next is built. */
static void graph_drop_small(struct erase *p)
{
	struct rec_state state;
	struct coll_entry *list;
	struct txn *t;
	struct arena a;
	struct err e;
	size_t n = 0;
	int small = 1;
	if (txn_begin(&t, p->x->store, 0, NULL)) return;
	arena_init(&a, NAMES_BYTES_MAX);
	if (state_read(t, &state, NULL) || coll_list(t, &a, &list, &n, NULL)) small = 0;
	for (size_t i = 0; small && i < n; i++)
		if (list[i].rec.number == p->coll) small = list[i].rec.chunks < p->x->exact_below;
	txn_abort(t);
	arena_clear(&a);
	if (small && vec_publish(p->x, &state.serving, p->coll, NULL, &e)) log_put(LOG_WARN, "index", "%s", e.msg);
}

int index_erase(struct index *x, const char *id, struct index_erasure *out, struct err *e)
{
	struct erase p = { .x = x, .r = out };
	int rc = writer_is_me(x, e);
	memset(out, 0, sizeof *out);
	if (rc) return rc;
	samples_init(&p.samples);
	arena_init(&p.a, NAMES_BYTES_MAX);
	p.code = mem_alloc(code8_size(DIM_MAX));
	p.floats = mem_alloc(DIM_MAX * sizeof *p.floats);
	rc = p.code && p.floats ? erase_commit(&p, id, e) : err_set(e, E_MEMORY, "erase: out of memory");
	if (rc) goto out;
	graph_drop_small(&p);
	rc = store_rewrite(x->store, raw_verify, &p, e);
	if (rc && rc != E_CORRUPT)
		rc = err_wrap(e, "document %s is deleted, but not yet erased (footnote compact finishes it)", id);
	if (!rc) rc = erase_end(&p, e);
out:
	samples_clear(&p.samples);
	mem_free(p.code);
	mem_free(p.floats);
	arena_clear(&p.a);
	return rc;
}
