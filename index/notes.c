/* notes.c: owns notes: small JSON texts under (kind, name) that other rooms keep beside the documents, in the same
 * transactions: access keys, holds, synced folders, receipts.
 *
 * Method: one table; the kind is the beginning of the key, so notes of a kind lie together in order of their names.
 * What is stored is proved to be JSON when it comes in, so that readers may rely on it. A hold also keeps the document
 * that a held duplicate points at: which those are is gathered once a transaction, in one pass over the holds.
 * A note that repeats words of documents names them in its member "of_documents": for each there is a small note of
 * kind NOTE_OF, named by document, kind and name with 0x1f between, so that a document that is removed finds what must
 * go with it, in the same commit, whoever removes it. Ids have no control characters, so the name is not ambiguous.
 * Threads: as the write or the snapshot that is passed. Failure: a refused note leaves the write as it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/mem.h"
#include "index/inside.h"

static int kind_check(const char *kind, struct err *e)
{
	size_t n = strspn(kind, "abcdefghijklmnopqrstuvwxyz_");
	if (n >= 1 && n <= NOTE_KIND_MAX && kind[n] == 0) return OK;
	return err_set(e, E_USAGE, "note: its kind must be 1 to %d of a-z and _", NOTE_KIND_MAX);
}

static int names_check(const char *kind, const char *name, struct err *e)
{
	size_t n = strnlen(name, NOTE_NAME_MAX + 1);
	int rc = kind_check(kind, e);
	if (!rc && (n < 1 || n > NOTE_NAME_MAX))
		rc = err_set(e, E_USAGE, "note of %s: its name must have 1 to %d bytes", kind, NOTE_NAME_MAX);
	return rc;
}

int note_json_check(const char *json, size_t len, struct err *e)
{
	cJSON *parsed = NULL;
	int rc = json_parse(&parsed, json, len, NOTE_JSON_MAX, "note", e);
	cJSON_Delete(parsed);
	return rc;
}

/* ---- notes that belong to documents ---- */

static const char of_member[] = "of_documents";
enum { OF_SEPARATOR = 0x1f };

int note_is_of(struct slice json)
{
	return memmem(json.p, json.n, of_member, sizeof of_member - 1) != NULL;
}

/* The name of the reference from a document to a note; 0: too long, or an id that no document can have. */
static int of_name(char out[NOTE_NAME_MAX + 1], const char *id, const char *kind, const char *name)
{
	int n = snprintf(out, NOTE_NAME_MAX + 1, "%s%c%s%c%s", id, OF_SEPARATOR, kind, OF_SEPARATOR, name);
	return *id && !strchr(id, OF_SEPARATOR) && n > 0 && n <= NOTE_NAME_MAX;
}

/* Are the documents that a note names there, and are they the same ones? */
static int of_check(struct write *w, const cJSON *note, const char *kind, const char *name, struct err *e)
{
	const cJSON *list = cJSON_IsObject(note) ? json_get(note, of_member) : NULL, *x;
	char ref[NOTE_NAME_MAX + 1];
	if (list && !cJSON_IsArray(list)) return err_set(e, E_USAGE, "%s %.100s: %s must be a list", kind, name, of_member);
	cJSON_ArrayForEach(x, list) {
		const char *id = json_str(x, "id", "");
		struct slice v;
		struct key k;
		uint64_t key = 0;
		int rc;
		if (strlen(id) > ID_MAX || !of_name(ref, id, kind, name))
			return err_set(e, E_USAGE, "%s %.100s: %s needs ids of documents, and short names", kind, name, of_member);
		key_text(&k, id);
		rc = store_get(w->t, T_ID, &k, &v, e);
		if (!rc) rc = rec_u64_get(&key, v, e);
		if (rc && rc != E_NOT_FOUND) return rc;
		if (rc || (double)key != json_num(x, "key", -1)) return err_set(e, E_NOT_FOUND, "%s %.100s: document %s is gone", kind, name, id);
	}
	return OK;
}

/* Puts or takes away the references that lead to a note. */
static int of_refs(struct write *w, const cJSON *note, const char *kind, const char *name, int put, struct err *e)
{
	const cJSON *list = cJSON_IsObject(note) ? json_get(note, of_member) : NULL, *x;
	char ref[NOTE_NAME_MAX + 1];
	int rc = OK;
	cJSON_ArrayForEach(x, list) {
		struct key k;
		if (rc || !of_name(ref, json_str(x, "id", ""), kind, name)) continue;
		key_note(&k, NOTE_OF, ref);
		if (put) {
			rc = rec_note_put(&w->b, &k, "0", 1);
			if (!rc) rc = store_put(w->t, T_NOTE, &k, w->b.data, w->b.len, e);
		} else {
			rc = store_del(w->t, T_NOTE, &k, e);
			if (rc == E_NOT_FOUND) rc = OK;
		}
	}
	return rc;
}

/* Takes away the references to a note as it stands; a note that is not there has none. */
static int of_refs_drop(struct write *w, const char *kind, const char *name, struct err *e)
{
	struct slice v, json;
	struct key k;
	cJSON *old = NULL;
	int rc;
	key_note(&k, kind, name);
	rc = store_get(w->t, T_NOTE, &k, &v, e);
	if (rc) return rc == E_NOT_FOUND ? OK : rc;
	if (rec_note_get(&json, &k, v, NULL) || !note_is_of(json)) return OK;
	if (!json_parse(&old, (const char *)json.p, json.n, NOTE_JSON_MAX, "note", NULL)) rc = of_refs(w, old, kind, name, 0, e);
	cJSON_Delete(old);
	return rc;
}

/* The first reference of a document, its kind and name behind the id, into ref. E_NOT_FOUND: there is none. */
static int of_first(struct write *w, const char *id, char ref[NOTE_NAME_MAX + 1], struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	size_t head = sizeof NOTE_OF;
	struct key k;
	int rc = cursor_open(&c, w->t, T_NOTE, e);
	snprintf(ref, NOTE_NAME_MAX + 1, "%s%c", id, OF_SEPARATOR);
	key_note(&k, NOTE_OF, ref);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	if (!rc && (key.n <= k.n || key.n - head > NOTE_NAME_MAX || memcmp(key.p, k.b, k.n) != 0)) rc = E_NOT_FOUND;
	if (!rc) {
		memcpy(ref, key.p + head, key.n - head);
		ref[key.n - head] = 0;
	}
	cursor_close(&c);
	return rc;
}

int notes_forget(struct write *w, const char *id, struct err *e)
{
	char ref[NOTE_NAME_MAX + 1], *kind, *name;
	struct key k;
	int rc;
	while (!(rc = of_first(w, id, ref, e))) {
		key_note(&k, NOTE_OF, ref);
		rc = store_del(w->t, T_NOTE, &k, e);
		if (rc) return rc;
		kind = strchr(ref, OF_SEPARATOR) + 1;
		name = strchr(kind, OF_SEPARATOR);
		if (!name) continue;
		*name++ = 0;
		rc = index_note_delete(w, kind, name, e);
		if (rc && rc != E_NOT_FOUND) return rc;
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- writing ---- */

int index_note_put(struct write *w, const char *kind, const char *name, const char *json, size_t len, struct err *e)
{
	cJSON *parsed = NULL;
	struct err why;
	struct key k;
	int rc;
	if (w->failed) return err_set(e, E_USAGE, "a write that failed can only be aborted");
	rc = names_check(kind, name, e);
	if (rc) return rc;
	rc = json_parse(&parsed, json, len, NOTE_JSON_MAX, "note", &why);
	if (rc) return err_set(e, rc == E_FORMAT ? E_USAGE : rc, "%s %.100s: %s", kind, name, why.msg);
	rc = of_check(w, parsed, kind, name, e);
	if (rc) {
		cJSON_Delete(parsed);
		return rc;
	}
	key_note(&k, kind, name);
	rc = of_refs_drop(w, kind, name, e);
	if (!rc) rc = of_refs(w, parsed, kind, name, 1, e);
	if (!rc) {
		rc = rec_note_put(&w->b, &k, json, len);
		if (rc) rc = err_set(e, rc, "note %s %.100s: out of memory", kind, name);
		else rc = store_put(w->t, T_NOTE, &k, w->b.data, w->b.len, e);
	}
	cJSON_Delete(parsed);
	if (rc) w->failed = 1;
	else w->notes++;
	w->holds.read = 0;
	return rc;
}

int index_note_delete(struct write *w, const char *kind, const char *name, struct err *e)
{
	struct key k;
	int rc;
	if (w->failed) return err_set(e, E_USAGE, "a write that failed can only be aborted");
	rc = names_check(kind, name, e);
	if (!rc) rc = of_refs_drop(w, kind, name, e);
	if (rc) return rc;
	key_note(&k, kind, name);
	rc = store_del(w->t, T_NOTE, &k, e);
	if (rc == E_NOT_FOUND) return err_set(e, rc, "no %s named %.160s", kind, name);
	if (rc) w->failed = 1;
	else w->notes++;
	w->holds.read = 0;
	return rc;
}

/* ---- holds ---- */

void holds_clear(struct holds *h)
{
	mem_free(h->at);
	memset(h, 0, sizeof *h);
}

/* The id that the document `id` is a duplicate of, "" when none; borrowed. A record that is gone or damaged needs none. */
static int original_of(struct txn *t, const char *id, const char **out, struct err *e)
{
	struct rec_doc d;
	struct slice v;
	struct key k;
	uint64_t key = 0;
	int rc;
	*out = "";
	key_text(&k, id);
	rc = store_get(t, T_ID, &k, &v, e);
	if (!rc) rc = rec_u64_get(&key, v, e);
	key_u64(&k, key);
	if (!rc) rc = store_get(t, T_DOC, &k, &v, e);
	if (!rc) rc = rec_doc_get(&d, &k, v, e);
	if (!rc) *out = d.duplicate_of;
	return rc == E_NOT_FOUND || rc == E_CORRUPT ? OK : rc;
}

static int need_add(struct holds *h, const char *original, const char *held, struct err *e)
{
	if (h->n == h->cap) {
		size_t cap = h->cap ? 2 * h->cap : 16;
		struct hold_need *more = mem_realloc(h->at, cap * sizeof *more);
		if (!more) return err_set(e, E_MEMORY, "read holds: out of memory");
		h->at = more;
		h->cap = cap;
	}
	snprintf(h->at[h->n].original, sizeof h->at->original, "%s", original);
	snprintf(h->at[h->n++].held, sizeof h->at->held, "%s", held);
	return OK;
}

static int need_order(const void *a, const void *b)
{
	return strcmp(((const struct hold_need *)a)->original, ((const struct hold_need *)b)->original);
}

static int holds_read(struct txn *t, struct holds *h, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	size_t head = sizeof NOTE_HOLD;
	struct key k;
	int rc = cursor_open(&c, t, T_NOTE, e);
	h->n = 0;
	key_note(&k, NOTE_HOLD, "");
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc && key.n > head && memcmp(key.p, k.b, head) == 0; rc = cursor_next(&c, &key, &value, e)) {
		char id[ID_MAX + 1];
		const char *original;
		if (key.n - head > ID_MAX) continue;
		memcpy(id, key.p + head, key.n - head);
		id[key.n - head] = 0;
		rc = original_of(t, id, &original, e);
		if (!rc && *original) rc = need_add(h, original, id, e);
		if (rc) break;
	}
	cursor_close(&c);
	if (rc && rc != E_NOT_FOUND) return rc;
	if (h->n) qsort(h->at, h->n, sizeof *h->at, need_order);
	h->read = 1;
	return OK;
}

/* E_DENIED with "WHAT, on hold: its reason" when the note is there. */
static int hold_tell(struct txn *t, const char *id, const char *what, struct err *e)
{
	cJSON *o = NULL;
	struct slice v, json;
	const char *reason;
	struct key k;
	int rc;
	key_note(&k, NOTE_HOLD, id);
	rc = store_get(t, T_NOTE, &k, &v, e);
	if (rc == E_NOT_FOUND) return OK;
	if (!rc) rc = rec_note_get(&json, &k, v, e);
	if (!rc) rc = json_parse(&o, (const char *)json.p, json.n, NOTE_JSON_MAX, "hold", e);
	if (rc) return err_wrap(e, "hold of document %s", id);
	reason = json_str(o, "reason", "");
	rc = err_set(e, E_DENIED, "document %s is on hold%s%.100s", what, *reason ? ": " : "", reason);
	cJSON_Delete(o);
	return rc;
}

static int hold_find(struct txn *t, struct holds *h, const char *id, struct err *e)
{
	struct hold_need want, *found;
	char what[2 * ID_MAX + 40];
	int rc = strlen(id) <= ID_MAX ? hold_tell(t, id, id, e) : OK;
	if (rc || strlen(id) > ID_MAX) return rc;
	if (!h->read && (rc = holds_read(t, h, e))) return rc;
	snprintf(want.original, sizeof want.original, "%s", id);
	found = h->n ? bsearch(&want, h->at, h->n, sizeof *h->at, need_order) : NULL;
	if (!found) return OK;
	snprintf(what, sizeof what, "%s has the text of %s, which", id, found->held);
	return hold_tell(t, found->held, what, e);
}

int hold_check(struct write *w, const char *id, struct err *e)
{
	return hold_find(w->t, &w->holds, id, e);
}

int snapshot_hold(struct snapshot *s, const char *id, struct err *e)
{
	return hold_find(s->t, &s->holds, id, e);
}

/* ---- reading ---- */

/* Copies an entry into the arena. */
static int note_keep(struct slice key, struct slice value, size_t head, struct arena *a, struct note *out,
	struct err *e)
{
	struct slice json;
	struct key k;
	int rc;
	if (key.n < head || key.n - head > NOTE_NAME_MAX) return err_set(e, E_CORRUPT, "a note's key has %zu bytes", key.n);
	memcpy(k.b, key.p, key.n);
	k.n = key.n;
	rc = rec_note_get(&json, &k, value, e);
	if (rc) return err_wrap(e, "note %.32s %.*s", (const char *)key.p, (int)(key.n - head), (const char *)key.p + head);
	out->name = arena_strndup(a, (const char *)key.p + head, key.n - head);
	out->json = arena_strndup(a, (const char *)json.p, json.n);
	out->len = json.n;
	return out->name && out->json ? OK : err_set(e, E_MEMORY, "read notes: out of memory");
}

int snapshot_note(struct snapshot *s, const char *kind, const char *name, struct arena *a, struct note *out,
	struct err *e)
{
	struct slice v;
	struct key k;
	int rc = names_check(kind, name, e);
	if (rc) return rc;
	key_note(&k, kind, name);
	rc = store_get(s->t, T_NOTE, &k, &v, e);
	if (rc == E_NOT_FOUND) return err_set(e, rc, "no %s named %.160s", kind, name);
	return rc ? rc : note_keep((struct slice){ k.b, k.n }, v, strlen(kind) + 1, a, out, e);
}

/* Walks the notes of a kind behind the name `after`; `take` is given the key, the length of its kind and the value, until it
 * has taken n. */
static int notes_walk(struct snapshot *s, const char *kind, const char *after, size_t n,
	int (*take)(void *ctx, struct slice key, size_t head, struct slice value, struct err *e), void *ctx, size_t *got, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	size_t head = strlen(kind) + 1;
	struct key k;
	int rc = kind_check(kind, e);
	*got = 0;
	if (!rc && strlen(after) > NOTE_NAME_MAX) rc = err_set(e, E_USAGE, "notes of %s: the name to start at is too long", kind);
	if (rc || !n) return rc;
	key_note(&k, kind, after);
	rc = cursor_open(&c, s->t, T_NOTE, e);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc && key.n > head && memcmp(key.p, k.b, head) == 0; rc = cursor_next(&c, &key, &value, e)) {
		if (key.n == k.n && memcmp(key.p, k.b, k.n) == 0) continue; /* after itself */
		rc = take(ctx, key, head, value, e);
		if (rc || ++*got == n) break;
	}
	cursor_close(&c);
	return rc == E_NOT_FOUND ? OK : rc;
}

struct taken { struct arena *a; struct note *notes; const char **names; size_t n; };

static int note_take(void *ctx, struct slice key, size_t head, struct slice value, struct err *e)
{
	struct taken *t = ctx;
	return note_keep(key, value, head, t->a, &t->notes[t->n++], e);
}

static int name_take(void *ctx, struct slice key, size_t head, struct slice value, struct err *e)
{
	struct taken *t = ctx;
	(void)value;
	t->names[t->n] = arena_strndup(t->a, (const char *)key.p + head, key.n - head);
	return t->names[t->n++] ? OK : err_set(e, E_MEMORY, "read notes: out of memory");
}

int snapshot_notes(struct snapshot *s, const char *kind, const char *after, size_t n, struct arena *a,
	struct note *out, size_t *got, struct err *e)
{
	struct taken t = { .a = a, .notes = out };
	return notes_walk(s, kind, after, n, note_take, &t, got, e);
}

int snapshot_note_names(struct snapshot *s, const char *kind, const char *after, size_t n, struct arena *a,
	const char **out, size_t *got, struct err *e)
{
	struct taken t = { .a = a, .names = out };
	return notes_walk(s, kind, after, n, name_take, &t, got, e);
}
