/* keys.h: access keys: who has one, what it allows, and the check of a presented one.
 *
 * A key is "fn_" and 64 hex digits (256 random bits). Only its SHA-256 is kept, as a note of kind "key" in the store;
 * the key itself is told once, by keys_add. While there is a key, even one that has expired, the service asks for one.
 * Every function is thread-safe; a change holds at once for the next check. */
#ifndef API_KEYS_H
#define API_KEYS_H
#include <stdint.h>
#include "api/auth.h"
#include "base/json.h"

enum { KEY_SECRET_LEN = 67, KEY_ID_LEN = 13 };   /* without their NUL */

struct key {                         /* strings in the arena that was passed */
	const char *id, *name;
	enum role role;                  /* ROLE_NONE: its record is damaged, and it lets nobody in */
	int all_groups;
	const char *const *groups; size_t group_n;
	int64_t created_ms, expires_ms;  /* wall time; expires_ms 0: never */
	int64_t used_ms;                 /* of the last use, to the hour; 0: never used */
};

struct keys;
int keys_open(struct keys **out, struct index *x, struct err *e);
void keys_close(struct keys *k);     /* writes the times of last use; NULL is allowed */
/* 1 while there is any key. Never waits. */
int keys_any(const struct keys *k);
/* Who presents this key, groups in the arena. E_KEY: none that is known, or one that has expired by now_ms. Compares
 * with every key in constant time; never waits for a writer. */
int keys_find(struct keys *k, const char *secret, size_t len, int64_t now_ms, struct arena *a, struct caller *out, struct err *e);
/* Who has the key of this id, groups in the arena. E_KEY: it was ended, or has expired by now_ms. id NULL: who
 * came while no key was asked for, which is someone on this machine who sees everything. */
int keys_caller(struct keys *k, const char *id, int64_t now_ms, struct arena *a, struct caller *out, struct err *e);
/* Makes a key of in's name, role, groups and expiry; out->id and the rest is filled. E_USAGE: a bad name, role or group,
 * an expiry that has passed; E_CONFLICT: the name is taken. */
int keys_add(struct keys *k, const struct key *in, struct arena *a, struct key *out, char secret[KEY_SECRET_LEN + 1], struct err *e);
/* Ends the key of this id or name, at once. out: what it was. by: who asks; NULL: the owner of the data folder. E_NOT_FOUND;
 * E_DENIED: by does not have every group, and the key has one that by lacks, or is the last one: without keys whoever is
 * on this machine sees everything. */
int keys_revoke(struct keys *k, const char *id_or_name, const struct caller *by, struct arena *a, struct key *out, struct err *e);
/* All keys, oldest first. */
int keys_list(struct keys *k, struct arena *a, struct key **out, size_t *n, struct err *e);
/* "*" is every group; else as groups_split, each name checked. Into out->all_groups, groups, group_n. */
int key_groups_read(const char *text, struct arena *a, struct key *out, struct err *e);
/* {"id","name","role","groups":[…] or "*","created","expires","last_used"}; secret NULL: without "key". NULL: no memory. */
cJSON *key_view(const struct key *k, const char *secret);

#endif
