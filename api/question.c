/* question.c: owns the form in which questions are stored (question.h).
 *
 * The key is 32 random bytes, a note of kind "secret" in the store, so that hashes of one store mean nothing to those who
 * have only another's, and can't be made for guessed questions without it. It is read at each call: a get in LMDB costs
 * less than keeping a copy in step with a restore.
 * Threads: none of its own. Failure: err; nothing is stored by half. */
#include "api/question.h"
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "base/hash.h"
#include "base/unicode.h"
#include "base/utf8.h"

#define SECRET "secret"
#define SECRET_NAME "questions"
enum { KEY_BYTES = 32, ARENA_BYTES = 1 << 20, QUESTION_BYTES_MAX = 1 << 22 };

int question_is_kept(const struct service *s)
{
	return strcmp(s->conf.questions, "keep") == 0;
}

int question_normal(const char *text, struct arena *a, const char **out, struct err *e)
{
	size_t from = 0, len, at, end;
	struct buf b;
	buf_init(&b, QUESTION_BYTES_MAX);
	int rc = uni_nfc(text, strlen(text), &b, e);
	const char *s = buf_cstr(&b);
	len = strlen(s);
	for (at = 0; at < len; from = at)
		if (!uni_is_white_space((uint32_t)utf8_next(s, len, &at))) break;
	for (at = end = from; at < len;)
		if (!uni_is_white_space((uint32_t)utf8_next(s, len, &at))) end = at;
	if (!rc && !(*out = arena_strndup(a, s + from, end - from))) rc = err_set(e, E_MEMORY, "question: out of memory");
	buf_clear(&b);
	return rc;
}

static int secret_read(struct service *s, struct arena *a, const char **hex, struct err *e)
{
	struct snapshot *snap;
	struct note n;
	cJSON *o = NULL;
	int rc = snapshot_open(&snap, s->index, e);
	if (rc) return rc;
	rc = snapshot_note(snap, SECRET, SECRET_NAME, a, &n, e);
	snapshot_close(snap);
	if (!rc) rc = json_parse(&o, n.json, n.len, ARENA_BYTES, "secret of questions", e);
	if (!rc) {
		const char *key = json_str(o, "key", "");
		*hex = arena_strdup(a, key);
		if (strlen(key) != 2 * KEY_BYTES) rc = err_set(e, E_CORRUPT, "the secret of questions is damaged");
		else if (!*hex) rc = err_set(e, E_MEMORY, "question: out of memory");
	}
	cJSON_Delete(o);
	return rc;
}

/* Makes it where there is none yet: another thread may have been first. */
static int secret_make(struct service *s, struct err *e)
{
	uint8_t key[KEY_BYTES];
	char hex[2 * KEY_BYTES + 1], json[2 * KEY_BYTES + 16];
	struct arena a;
	const char *have;
	struct write *w;
	int rc = index_write_begin(&w, s->index, e);
	if (rc) return rc;
	arena_init(&a, ARENA_BYTES);
	rc = secret_read(s, &a, &have, e);   /* no one else writes now */
	arena_clear(&a);
	if (rc != E_NOT_FOUND) {
		index_write_abort(w);
		return rc;
	}
	rc = getrandom(key, sizeof key, 0) == (ssize_t)sizeof key ? OK : err_sys(e, "question: random numbers");
	hex_put(hex, key, sizeof key);
	snprintf(json, sizeof json, "{\"key\":\"%s\"}", hex);
	if (!rc) rc = index_note_put(w, SECRET, SECRET_NAME, json, strlen(json), e);
	if (!rc) return index_write_commit(w, e);
	index_write_abort(w);
	return rc;
}

int question_hash(struct service *s, const char *text, char hex[QUESTION_HASH_LEN + 1], struct err *e)
{
	const char *normal, *key;
	uint8_t hash[32];
	struct arena a;
	int rc;
	arena_init(&a, 2 * (size_t)QUESTION_BYTES_MAX);
	rc = question_normal(text, &a, &normal, e);
	if (!rc && (rc = secret_read(s, &a, &key, e)) == E_NOT_FOUND && !(rc = secret_make(s, e))) rc = secret_read(s, &a, &key, e);
	if (!rc) {
		hmac_sha256_of(key, strlen(key), normal, strlen(normal), hash);
		hex_put(hex, hash, sizeof hash);
	}
	arena_clear(&a);
	return rc;
}

int question_stored(struct service *s, const char *text, cJSON *o, struct err *e)
{
	char hex[QUESTION_HASH_LEN + 1];
	int rc = question_is_kept(s) ? OK : question_hash(s, text, hex, e);
	if (rc) return rc;
	if (question_is_kept(s) ? cJSON_AddStringToObject(o, "question", text) : cJSON_AddStringToObject(o, "question_hash", hex)) return OK;
	return err_set(e, E_MEMORY, "question: out of memory");
}
