/* keys.c: owns access keys: their notes in the store, and the copy in memory that every request is checked against.
 *
 * Method: the copy is read once and follows each change after its commit, so a check costs one SHA-256 and a comparison
 * with every key, and never touches the store. A key has 256 random bits, so one plain SHA-256 is as good as a slow
 * hash. A damaged record still counts as a key: losing one must not open the service. The time of last use is kept to
 * the hour in memory and written with the next change and at the end.
 * Threads: `change` orders those who write and is held over LMDB's writer lock; `lock` guards the copy and is held for
 * moments. Lock order: change, LMDB's writer, lock. Failure: a change that cannot be committed leaves both as they were. */
#include "api/keys.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { NOTES_PAGE = 64, NOTE_BYTES_MAX = 1 << 20, NAME_MAX_BYTES = 64, GROUPS_MAX = 256, HOUR_MS = 3600000 };
static const char kind[] = "key";

struct entry {
	struct arena arena;              /* of key's strings */
	struct key key;                  /* used_ms: what the store says */
	uint8_t hash[32];
	_Atomic int64_t used_ms;
};
struct keys {
	struct index *x;
	pthread_mutex_t change;
	pthread_rwlock_t lock;           /* of the list */
	struct entry **list; size_t n, cap;
	atomic_size_t count;             /* n, for those who never wait */
};

/* ---- one record ---- */

static cJSON *groups_view(const struct key *k)
{
	cJSON *list;
	if (k->all_groups)
		return cJSON_CreateString("*");
	list = cJSON_CreateArray();
	for (size_t i = 0; list && i < k->group_n; i++) {
		cJSON *g = cJSON_CreateString(k->groups[i]);
		if (!g || !cJSON_AddItemToArray(list, g)) {
			cJSON_Delete(g);
			cJSON_Delete(list);
			list = NULL;
		}
	}
	return list;
}

static int groups_add(cJSON *o, const struct key *k)
{
	cJSON *g = groups_view(k);
	if (g && cJSON_AddItemToObject(o, "groups", g))
		return 1;
	cJSON_Delete(g);
	return 0;
}

static int time_add(cJSON *o, const char *name, int64_t ms)
{
	char text[CLOCK_TEXT_LEN];
	clock_text(text, ms);
	return (ms ? cJSON_AddStringToObject(o, name, text) : cJSON_AddNullToObject(o, name)) != NULL;
}

cJSON *key_view(const struct key *k, const char *secret)
{
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "id", k->id) && cJSON_AddStringToObject(o, "name", k->name) &&
	    cJSON_AddStringToObject(o, "role", role_name(k->role)) && groups_add(o, k) && time_add(o, "created", k->created_ms) &&
	    time_add(o, "expires", k->expires_ms) && time_add(o, "last_used", k->used_ms) &&
	    (!secret || cJSON_AddStringToObject(o, "key", secret)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* The note's text; the caller frees it with cJSON_free. NULL: no memory. */
static char *entry_text(const struct entry *x)
{
	cJSON *o = cJSON_CreateObject();
	char hex[65], *text = NULL;
	hex_put(hex, x->hash, sizeof x->hash);
	if (o && cJSON_AddStringToObject(o, "name", x->key.name) && cJSON_AddStringToObject(o, "role", role_name(x->key.role)) &&
	    groups_add(o, &x->key) && cJSON_AddStringToObject(o, "sha256", hex) &&
	    cJSON_AddNumberToObject(o, "created_ms", (double)x->key.created_ms) &&
	    cJSON_AddNumberToObject(o, "expires_ms", (double)x->key.expires_ms) &&
	    cJSON_AddNumberToObject(o, "used_ms", (double)atomic_load(&x->used_ms)))
		text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	return text;
}

static int hex_read(const char *s, uint8_t out[32])
{
	static const char digits[] = "0123456789abcdef";
	if (strlen(s) != 64 || strspn(s, digits) != 64)
		return 0;
	for (int i = 0; i < 32; i++)
		out[i] = (uint8_t)((strchr(digits, s[2 * i]) - digits) << 4 | (strchr(digits, s[2 * i + 1]) - digits));
	return 1;
}

static int groups_take(const cJSON *v, struct entry *x)
{
	const char **list;
	const cJSON *item;
	size_t n = 0;
	if (cJSON_IsString(v) && !strcmp(v->valuestring, "*")) {
		x->key.all_groups = 1;
		return OK;
	}
	if (!cJSON_IsArray(v))
		return E_CORRUPT;
	if (!(list = arena_calloc(&x->arena, (size_t)cJSON_GetArraySize(v) + 1, sizeof *list)))
		return E_MEMORY;
	cJSON_ArrayForEach(item, v) {
		if (!cJSON_IsString(item))
			return E_CORRUPT;
		if (!(list[n++] = arena_strdup(&x->arena, item->valuestring)))
			return E_MEMORY;
	}
	x->key.groups = list;
	x->key.group_n = n;
	return OK;
}

/* Fills x from a note. OK also for a damaged one, which lets nobody in; E_MEMORY. */
static int entry_read(struct entry *x, const struct note *note)
{
	struct err e;
	cJSON *o = NULL;
	int rc = json_parse(&o, note->json, note->len, NOTE_BYTES_MAX, "key", &e);
	x->key.id = arena_strdup(&x->arena, note->name);
	x->key.name = arena_strdup(&x->arena, json_str(o, "name", note->name));
	if (!x->key.id || !x->key.name)
		rc = E_MEMORY;
	if (!rc)
		rc = groups_take(json_get(o, "groups"), x);
	if (!rc && (!role_parse(json_str(o, "role", ""), &x->key.role) || !hex_read(json_str(o, "sha256", ""), x->hash)))
		rc = E_CORRUPT;
	x->key.created_ms = (int64_t)json_num(o, "created_ms", 0);
	x->key.expires_ms = (int64_t)json_num(o, "expires_ms", rc ? 1 : 0);
	x->key.used_ms = (int64_t)json_num(o, "used_ms", 0);
	atomic_store(&x->used_ms, x->key.used_ms);
	cJSON_Delete(o);
	if (rc && rc != E_MEMORY) {
		log_put(LOG_ERROR, "keys", "the record of key %s is damaged: it lets nobody in; revoke it", note->name);
		x->key.role = ROLE_NONE;
		x->key.all_groups = 0;
		x->key.group_n = 0;
	}
	return rc == E_MEMORY ? rc : OK;
}

static struct entry *entry_new(void)
{
	struct entry *x = mem_calloc(1, sizeof *x);
	if (x)
		arena_init(&x->arena, NOTE_BYTES_MAX * 2);
	return x;
}

static void entry_free(struct entry *x)
{
	if (!x)
		return;
	arena_clear(&x->arena);
	mem_free(x);
}

/* ---- the list; lock held for writing, or nobody else there ---- */

static int list_add(struct keys *k, struct entry *x)
{
	if (k->n == k->cap) {
		size_t cap = k->cap ? 2 * k->cap : 8;
		struct entry **list = mem_realloc(k->list, cap * sizeof *list);
		if (!list)
			return E_MEMORY;
		k->list = list;
		k->cap = cap;
	}
	k->list[k->n++] = x;
	atomic_store(&k->count, k->n);
	return OK;
}

static struct entry *entry_find(const struct keys *k, const char *id_or_name)
{
	for (size_t i = 0; i < k->n; i++)
		if (!strcmp(k->list[i]->key.id, id_or_name))
			return k->list[i];
	for (size_t i = 0; i < k->n; i++)
		if (!strcmp(k->list[i]->key.name, id_or_name))
			return k->list[i];
	return NULL;
}

static int notes_read(struct keys *k, struct err *e)
{
	struct snapshot *s = NULL;
	struct arena a;
	struct note notes[NOTES_PAGE];
	char after[256] = "";
	size_t got = 0;
	int rc = snapshot_open(&s, k->x, e);
	arena_init(&a, (size_t)NOTES_PAGE * 2 * NOTE_BYTES_MAX);
	do {
		arena_clear(&a);
		if (!rc)
			rc = snapshot_notes(s, kind, after, NOTES_PAGE, &a, notes, &got, e);
		for (size_t i = 0; !rc && i < got; i++) {
			struct entry *x = entry_new();
			rc = x ? entry_read(x, &notes[i]) : E_MEMORY;
			if (!rc)
				rc = list_add(k, x);
			if (rc) {
				entry_free(x);
				err_set(e, rc, "keys: out of memory");
			}
			snprintf(after, sizeof after, "%s", notes[i].name);
		}
	} while (!rc && got == NOTES_PAGE);
	arena_clear(&a);
	snapshot_close(s);
	return rc;
}

int keys_open(struct keys **out, struct index *x, struct err *e)
{
	struct keys *k = mem_calloc(1, sizeof *k);
	int rc;
	*out = NULL;
	if (!k)
		return err_set(e, E_MEMORY, "keys: out of memory");
	k->x = x;
	pthread_mutex_init(&k->change, NULL);
	pthread_rwlock_init(&k->lock, NULL);
	rc = notes_read(k, e);
	if (rc)
		keys_close(k);
	else
		*out = k;
	return rc;
}

/* Puts the times of last use that the store does not know yet into w. */
static int uses_write(struct keys *k, struct write *w, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; !rc && i < k->n; i++) {
		struct entry *x = k->list[i];
		char *text;
		if (atomic_load(&x->used_ms) == x->key.used_ms || x->key.role == ROLE_NONE)
			continue;
		text = entry_text(x);
		rc = text ? index_note_put(w, kind, x->key.id, text, strlen(text), e) : err_set(e, E_MEMORY, "keys: out of memory");
		cJSON_free(text);
	}
	return rc;
}

static void uses_written(struct keys *k)
{
	pthread_rwlock_wrlock(&k->lock);
	for (size_t i = 0; i < k->n; i++)
		k->list[i]->key.used_ms = atomic_load(&k->list[i]->used_ms);
	pthread_rwlock_unlock(&k->lock);
}

void keys_close(struct keys *k)
{
	struct write *w = NULL;
	struct err e;
	int due = 0;
	if (!k)
		return;
	for (size_t i = 0; i < k->n; i++)
		due |= atomic_load(&k->list[i]->used_ms) != k->list[i]->key.used_ms;
	if (due && !index_write_begin(&w, k->x, &e)) {
		if (uses_write(k, w, &e))
			index_write_abort(w);
		else
			index_write_commit(w, &e);
	}
	for (size_t i = 0; i < k->n; i++)
		entry_free(k->list[i]);
	mem_free(k->list);
	pthread_mutex_destroy(&k->change);
	pthread_rwlock_destroy(&k->lock);
	mem_free(k);
}

/* ---- checks ---- */

int keys_any(const struct keys *k)
{
	return k && atomic_load(&k->count) > 0;
}

/* 1 when equal; takes the same time wherever they differ. */
static int hash_same(const uint8_t a[32], const uint8_t b[32])
{
	volatile uint8_t differ = 0;
	for (int i = 0; i < 32; i++)
		differ |= a[i] ^ b[i];
	return differ == 0;
}

/* The caller with this entry's rights; groups copied, since the entry may go. */
static int caller_make(const struct entry *x, struct arena *a, struct caller *out, struct err *e)
{
	const char **groups = arena_calloc(a, x->key.group_n + 1, sizeof *groups);
	int ok = groups != NULL;
	for (size_t i = 0; ok && i < x->key.group_n; i++)
		ok = (groups[i] = arena_strdup(a, x->key.groups[i])) != NULL;
	*out = (struct caller){ .role = x->key.role, .all_groups = x->key.all_groups, .groups = groups, .group_n = x->key.group_n,
		.key_id = ok ? arena_strdup(a, x->key.id) : NULL };
	if (ok && out->key_id)
		return OK;
	*out = (struct caller){ 0 };
	return err_set(e, E_MEMORY, "out of memory");
}

int keys_find(struct keys *k, const char *secret, size_t len, int64_t now_ms, struct arena *a, struct caller *out, struct err *e)
{
	struct entry *found = NULL;
	uint8_t hash[32];
	int rc;
	*out = (struct caller){ 0 };
	sha256_of(secret, len, hash);
	pthread_rwlock_rdlock(&k->lock);
	for (size_t i = 0; i < k->n; i++)
		if (hash_same(hash, k->list[i]->hash) && k->list[i]->key.role != ROLE_NONE)
			found = k->list[i];
	if (!found) {
		rc = err_set(e, E_KEY, "the access key is not known");
	} else if (found->key.expires_ms && found->key.expires_ms <= now_ms) {
		rc = err_set(e, E_KEY, "the access key has expired");
	} else {
		int64_t hour = now_ms - now_ms % HOUR_MS;
		if (atomic_load(&found->used_ms) != hour)
			atomic_store(&found->used_ms, hour);
		rc = caller_make(found, a, out, e);
	}
	pthread_rwlock_unlock(&k->lock);
	return rc;
}

int keys_caller(struct keys *k, const char *id, int64_t now_ms, struct arena *a, struct caller *out, struct err *e)
{
	struct entry *found = NULL;
	int rc;
	*out = (struct caller){ .role = ROLE_ADMIN, .all_groups = 1 };
	if (!id)
		return OK;
	*out = (struct caller){ 0 };
	pthread_rwlock_rdlock(&k->lock);
	for (size_t i = 0; i < k->n; i++)
		if (!strcmp(k->list[i]->key.id, id) && k->list[i]->key.role != ROLE_NONE)
			found = k->list[i];
	if (!found || (found->key.expires_ms && found->key.expires_ms <= now_ms))
		rc = err_set(e, E_KEY, "key %.40s %s", id, found ? "has expired" : "was ended");
	else
		rc = caller_make(found, a, out, e);
	pthread_rwlock_unlock(&k->lock);
	return rc;
}

/* ---- changes ---- */

static int name_check(const char *s, struct err *e)
{
	size_t n = strlen(s);
	int ok = n >= 1 && n <= NAME_MAX_BYTES && utf8_valid(s, n);
	for (size_t i = 0; ok && i < n; i++)
		ok = (unsigned char)s[i] > 0x20 && s[i] != 0x7f;
	return ok ? OK : err_set(e, E_USAGE, "name: must be 1 to %d bytes of UTF-8 without blanks", NAME_MAX_BYTES);
}

int key_groups_read(const char *text, struct arena *a, struct key *out, struct err *e)
{
	int rc = OK;
	out->all_groups = !strcmp(text, "*");
	out->groups = NULL;
	out->group_n = 0;
	if (!out->all_groups)
		rc = groups_split(text, a, &out->groups, &out->group_n, e);
	return rc ? err_wrap(e, "groups") : OK;
}

static int input_check(const struct key *in, struct err *e)
{
	int rc = name_check(in->name, e);
	if (!rc && (in->role < ROLE_READ || in->role > ROLE_ADMIN))
		rc = err_set(e, E_USAGE, "role: must be admin, write or read");
	if (!rc && in->group_n > GROUPS_MAX)
		rc = err_set(e, E_USAGE, "groups: more than %d", GROUPS_MAX);
	for (size_t i = 0; !rc && i < in->group_n; i++)
		rc = group_check(in->groups[i], e) ? err_wrap(e, "groups") : OK;
	if (!rc && in->expires_ms && in->expires_ms <= clock_wall_ms())
		rc = err_set(e, E_USAGE, "expires: lies in the past");
	return rc;
}

/* A copy of what the list holds; used_ms as it is known now. lock held. */
static int key_copy(const struct entry *x, struct arena *a, struct key *out, struct err *e)
{
	const char **groups = arena_calloc(a, x->key.group_n + 1, sizeof *groups);
	int ok = groups != NULL;
	*out = x->key;
	out->used_ms = atomic_load(&x->used_ms);
	for (size_t i = 0; ok && i < x->key.group_n; i++)
		ok = (groups[i] = arena_strdup(a, x->key.groups[i])) != NULL;
	out->groups = groups;
	ok = ok && (out->id = arena_strdup(a, x->key.id)) && (out->name = arena_strdup(a, x->key.name));
	return ok ? OK : err_set(e, E_MEMORY, "keys: out of memory");
}

/* A new entry of in, with its secret. */
static int entry_make(const struct key *in, struct entry **out, char secret[KEY_SECRET_LEN + 1], struct err *e)
{
	struct entry *x = entry_new();
	uint8_t raw[32 + (KEY_ID_LEN - 1) / 2];
	char id[KEY_ID_LEN + 1];
	const char **groups = x ? arena_calloc(&x->arena, in->group_n + 1, sizeof *groups) : NULL;
	int ok = groups != NULL;
	if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw) {
		entry_free(x);
		return err_sys(e, "random bytes for a key");
	}
	memcpy(secret, "fn_", 3);
	hex_put(secret + 3, raw, 32);
	id[0] = 'k';
	hex_put(id + 1, raw + 32, (KEY_ID_LEN - 1) / 2);
	for (size_t i = 0; ok && i < in->group_n; i++)
		ok = (groups[i] = arena_strdup(&x->arena, in->groups[i])) != NULL;
	if (ok) {
		x->key = *in;
		x->key.groups = groups;
		x->key.created_ms = clock_wall_ms();
		x->key.used_ms = 0;
		ok = (x->key.id = arena_strdup(&x->arena, id)) && (x->key.name = arena_strdup(&x->arena, in->name));
		sha256_of(secret, KEY_SECRET_LEN, x->hash);
	}
	if (!ok) {
		entry_free(x);
		return err_set(e, E_MEMORY, "keys: out of memory");
	}
	*out = x;
	return OK;
}

/* Commits one change: x put, or deleted; and what was used since. `change` held. */
static int change_commit(struct keys *k, const struct entry *x, int put, struct err *e)
{
	struct write *w = NULL;
	char *text = put ? entry_text(x) : NULL;
	int rc = put && !text ? err_set(e, E_MEMORY, "keys: out of memory") : index_write_begin(&w, k->x, e);
	if (!rc)
		rc = uses_write(k, w, e);
	if (!rc)
		rc = put ? index_note_put(w, kind, x->key.id, text, strlen(text), e) : index_note_delete(w, kind, x->key.id, e);
	cJSON_free(text);
	if (rc) {
		index_write_abort(w);
		return rc;
	}
	rc = index_write_commit(w, e);
	if (!rc)
		uses_written(k);
	return rc;
}

int keys_add(struct keys *k, const struct key *in, struct arena *a, struct key *out, char secret[KEY_SECRET_LEN + 1], struct err *e)
{
	struct entry *x = NULL;
	int rc = input_check(in, e);
	if (rc)
		return rc;
	pthread_mutex_lock(&k->change);
	if (entry_find(k, in->name))
		rc = err_set(e, E_CONFLICT, "name: there is a key %.64s already", in->name);
	if (!rc)
		rc = entry_make(in, &x, secret, e);
	if (!rc)
		rc = key_copy(x, a, out, e);
	if (!rc)
		rc = change_commit(k, x, 1, e);
	if (!rc) {
		pthread_rwlock_wrlock(&k->lock);
		rc = list_add(k, x);
		pthread_rwlock_unlock(&k->lock);
		if (rc) /* it is stored, and holds after the next start */
			err_set(e, rc, "keys: out of memory");
	}
	if (rc)
		entry_free(x);
	pthread_mutex_unlock(&k->change);
	return rc;
}

static int revoke_check(const struct keys *k, const struct key *x, const struct caller *by, struct err *e)
{
	struct err why;
	if (!by || by->all_groups)
		return OK;
	if (x->all_groups || caller_grants(by, x->groups, x->group_n, &why))
		return err_set(e, E_DENIED, "key %.64s has groups that this one lacks", x->name);
	return k->n > 1 ? OK : err_set(e, E_DENIED, "key %.64s is the last one: without keys every document is seen", x->name);
}

int keys_revoke(struct keys *k, const char *id_or_name, const struct caller *by, struct arena *a, struct key *out, struct err *e)
{
	struct entry *x;
	int rc;
	pthread_mutex_lock(&k->change);
	x = entry_find(k, id_or_name);
	rc = x ? key_copy(x, a, out, e) : err_set(e, E_NOT_FOUND, "no key %.64s", id_or_name);
	if (!rc)
		rc = revoke_check(k, &x->key, by, e);
	if (!rc)
		rc = change_commit(k, x, 0, e);
	if (!rc) {
		size_t i = 0;
		pthread_rwlock_wrlock(&k->lock);
		while (k->list[i] != x)
			i++;
		memmove(&k->list[i], &k->list[i + 1], (k->n - i - 1) * sizeof *k->list);
		atomic_store(&k->count, --k->n);
		pthread_rwlock_unlock(&k->lock);
		entry_free(x);
	}
	pthread_mutex_unlock(&k->change);
	return rc;
}

int keys_list(struct keys *k, struct arena *a, struct key **out, size_t *n, struct err *e)
{
	int rc = OK;
	pthread_rwlock_rdlock(&k->lock);
	*n = 0;
	*out = arena_calloc(a, k->n + 1, sizeof **out);
	if (!*out)
		rc = err_set(e, E_MEMORY, "keys: out of memory");
	for (size_t i = 0; !rc && i < k->n; i++) {
		rc = key_copy(k->list[i], a, &(*out)[*n], e);
		*n += !rc;
	}
	pthread_rwlock_unlock(&k->lock);
	for (size_t i = 1; !rc && i < *n; i++) { /* the notes come by id */
		struct key x = (*out)[i];
		size_t j = i;
		for (; j > 0 && (*out)[j - 1].created_ms > x.created_ms; j--)
			(*out)[j] = (*out)[j - 1];
		(*out)[j] = x;
	}
	return rc;
}
