/* routes_keys.c: owns /v1/keys: the list, a new key, a key's end. The key itself is in the reply to its making alone.
 * Whoever has not every group can make and end keys of its own groups alone. Threads: admin pool. Failure: as keys.h has it, each with its field. */
#include <string.h>
#include "api/keys.h"
#include "api/route.h"
#include "base/clock.h"

enum { GROUPS_MAX = 256 };

int keys_get(struct request *r, struct err *e)
{
	struct key *list;
	size_t n;
	cJSON *o, *all;
	int rc = keys_list(r->service->keys, &r->arena, &list, &n, e);
	if (rc)
		return rc;
	o = cJSON_CreateObject();
	all = o ? cJSON_AddArrayToObject(o, "keys") : NULL;
	for (size_t i = 0; all && i < n; i++) {
		cJSON *x = key_view(&list[i], NULL);
		if (!x || !cJSON_AddItemToArray(all, x)) {
			cJSON_Delete(x);
			all = NULL;
		}
	}
	if (!all) {
		cJSON_Delete(o);
		o = NULL;
	}
	reply_json(r, 200, o);
	return OK;
}

/* "groups": a list, "G,G", or "*" for every group, alone or in the list. */
static int groups_read(struct request *r, const cJSON *o, struct key *in, struct err *e)
{
	const cJSON *v = json_get(o, "groups");
	const char **list;
	int rc;
	r->param = "groups";
	if (v && cJSON_IsString(v))
		rc = key_groups_read(v->valuestring, &r->arena, in, e);
	else if (!(rc = field_texts(r, o, "groups", GROUPS_MAX, &list, &in->group_n, e)))
		in->groups = list;
	if (!rc && in->group_n == 1 && !strcmp(in->groups[0], "*"))
		rc = key_groups_read("*", &r->arena, in, e);
	if (!rc)
		r->param = NULL;
	return rc;
}

static int key_read(struct request *r, const cJSON *o, struct key *in, struct err *e)
{
	const char *role = "read", *expires = NULL;
	int rc = field_text(r, o, "name", &in->name, e);
	if (!rc && !in->name) {
		r->param = "name";
		rc = err_set(e, E_USAGE, "name: missing");
	}
	if (!rc)
		rc = field_text(r, o, "role", &role, e);
	if (!rc && !role_parse(role, &in->role)) {
		r->param = "role";
		rc = err_set(e, E_USAGE, "role: must be admin, write or read");
	}
	if (!rc)
		rc = field_text(r, o, "expires", &expires, e);
	if (!rc && expires && !clock_read(expires, &in->expires_ms, NULL)) {
		r->param = "expires";
		rc = err_set(e, E_USAGE, "expires: must be a date like 2026-12-31, or a moment like 2026-12-31T12:00:00Z");
	}
	return rc ? rc : groups_read(r, o, in, e);
}

/* A key gives no groups that it does not have itself. */
static int groups_grant(struct request *r, const struct key *in, struct err *e)
{
	int rc = in->all_groups && !r->caller.all_groups ? err_set(e, E_DENIED, "groups: this key does not have every group, so it cannot give them")
		: caller_grants(&r->caller, in->groups, in->group_n, e);
	if (rc)
		r->param = "groups";
	return rc;
}

int keys_post(struct request *r, struct err *e)
{
	char secret[KEY_SECRET_LEN + 1];
	struct key in = { 0 }, made;
	cJSON *o = NULL;
	int rc = body_json(r, &o, e);
	if (!rc)
		rc = key_read(r, o, &in, e);
	if (!rc)
		rc = groups_grant(r, &in, e);
	if (!rc)
		rc = keys_add(r->service->keys, &in, &r->arena, &made, secret, e);
	if (!rc)
		reply_json(r, 201, key_view(&made, secret));
	cJSON_Delete(o);
	return rc;
}

int keys_delete(struct request *r, struct err *e)
{
	struct key was;
	cJSON *o;
	int rc = keys_revoke(r->service->keys, r->segments[2], &r->caller, &r->arena, &was, e);
	if (rc)
		return rc;
	o = cJSON_CreateObject();
	if (o && !(cJSON_AddStringToObject(o, "id", was.id) && cJSON_AddStringToObject(o, "name", was.name) &&
	    cJSON_AddTrueToObject(o, "revoked"))) {
		cJSON_Delete(o);
		o = NULL;
	}
	reply_json(r, 200, o);
	return OK;
}
