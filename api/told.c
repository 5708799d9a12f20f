/* told.c: owns who is told what of named folders and of the jobs that sync them.
 *
 * Method: who knows of a folder is decided by the groups that its documents get, by rule, default or name. A job also
 * counts and names what its maker sees and others may not, such as the files of documents that have narrower groups: so
 * its note says whose eyes it was made with, and who sees less is told that it exists and how far it is, not what it
 * found. That note of the maker never leaves the service. Thread-safe (no state). */
#include "api/told.h"
#include <string.h>
#include "base/file.h"

/* ---- folders ---- */

static int has_one(const struct caller *c, const char *const *groups, size_t n)
{
	struct reader reader;
	struct doc like = { .collection = "", .acl = (const char **)(uintptr_t)groups, .acl_n = n };
	caller_reader(c, NULL, &reader);
	return reader_may_see(&reader, &like);
}

int folder_is_for(const struct service *s, const struct caller *c, const char *path, const char *const *acl, size_t acl_n,
	int has_acl)
{
	const struct ingest_acl *table = &s->ingest_limits.acl;
	const struct ingest_acl_rule *at = ingest_acl_find(table, path);
	if (c->all_groups)
		return 1;
	if ((has_acl && !has_one(c, acl, acl_n)) || (at && !has_one(c, at->groups, at->group_n)))
		return 0;
	if (!has_acl && !at && !has_one(c, table->unset, table->unset_n))
		return 0;
	for (size_t i = 0; i < table->rule_n; i++)
		if (path_is_within(table->rules[i].path, &path, 1) && !has_one(c, table->rules[i].groups, table->rules[i].group_n))
			return 0;
	return 1;
}

int told_of(const struct service *s, const struct caller *c, const cJSON *x)
{
	const cJSON *list = json_get(x, "acl"), *paths = json_get(x, "paths"), *item;
	const char *path = json_str(x, "path", NULL), *acl[256];
	size_t n = 0;
	if (list && cJSON_GetArraySize(list) > 256)
		return c->all_groups;
	cJSON_ArrayForEach(item, list)
		acl[n++] = cJSON_IsString(item) ? item->valuestring : "";
	if (path)
		return folder_is_for(s, c, path, acl, n, list != NULL);
	cJSON_ArrayForEach(item, paths)
		if (!cJSON_IsString(item) || !folder_is_for(s, c, item->valuestring, acl, n, list != NULL))
			return 0;
	return 1;
}

/* ---- jobs ---- */

int told_maker_put(cJSON *job, const struct caller *c)
{
	cJSON *o = cJSON_AddObjectToObject(job, "maker"), *list;
	if (!o || !(c->key_id ? cJSON_AddStringToObject(o, "key", c->key_id) : cJSON_AddNullToObject(o, "key")))
		return 0;
	if (c->all_groups)
		return cJSON_AddStringToObject(o, "groups", "*") != NULL;
	list = cJSON_AddArrayToObject(o, "groups");
	for (size_t i = 0; list && i < c->group_n; i++) {
		cJSON *s = cJSON_CreateString(c->groups[i]);
		if (!s || !cJSON_AddItemToArray(list, s)) {
			cJSON_Delete(s);
			return 0;
		}
	}
	return list != NULL;
}

int told_may_stop(const cJSON *job, const struct caller *c)
{
	const char *key = json_str(json_get(job, "maker"), "key", NULL);
	return c->role >= ROLE_ADMIN || (key && c->key_id && !strcmp(key, c->key_id));
}

/* Does the caller see all that the job's maker saw? Notes that don't say who that was: someone who sees everything. */
static int sees_as_maker(const cJSON *job, const struct caller *c)
{
	const cJSON *groups = json_get(json_get(job, "maker"), "groups"), *g;
	int all = cJSON_IsArray(groups);
	cJSON_ArrayForEach(g, groups)
		all = all && cJSON_IsString(g) && has_one(c, (const char *const[]){ g->valuestring }, 1);
	return all || c->all_groups;
}

void told_cut(cJSON *job, const struct caller *c)
{
	static const char *const found[] = { "files_done", "files_total", "chunks", "bytes_done", "bytes_total", "summary",
		"problems_left_out" };
	int all = sees_as_maker(job, c);
	cJSON *error;
	cJSON_DeleteItemFromObjectCaseSensitive(job, "maker");
	if (all)
		return;
	for (size_t i = 0; i < sizeof found / sizeof *found; i++) {     /* out of memory: without the field */
		cJSON_DeleteItemFromObjectCaseSensitive(job, found[i]);
		cJSON_AddNullToObject(job, found[i]);
	}
	cJSON_DeleteItemFromObjectCaseSensitive(job, "problems");
	cJSON_AddArrayToObject(job, "problems");
	error = cJSON_GetObjectItemCaseSensitive(job, "error");
	if (!cJSON_IsObject(error))
		return;
	cJSON_DeleteItemFromObjectCaseSensitive(error, "message");
	cJSON_AddStringToObject(error, "message", "told only to who sees all that the job's maker sees");
}
