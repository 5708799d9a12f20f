/* routes_sources.c: owns /v1/sources and /v1/jobs: folders that are named, and how their syncs go.
 *
 * Method: a folder must be one that may be named (sources.roots), exist, and be for the caller; then folders.c takes it.
 * Whether it may be named is looked at before whether it exists, and with its links resolved, so that nobody feels
 * about for folders. Threads: naming and cancelling in the admin pool, since they do not wait for a sync; lists in the
 * search pool; forgetting in the write thread. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "api/acl.h"
#include "api/folders.h"
#include "api/route.h"
#include "api/server.h"
#include "api/told.h"
#include "base/file.h"

enum { PATHS_MAX = 100, GROUPS_MAX = 256 };

/* ---- which folders may be named ---- */

static int root_check(struct request *r, const char *path, struct err *e)
{
	const char *const *roots, *const *resolved;
	char real[PATH_MAX];
	size_t n;
	int rc = roots_parse(r->service->conf.sources_roots, &r->arena, &roots, &n, e);
	if (rc)
		return rc;
	if (!n && r->caller.role == ROLE_ADMIN && r->caller.all_groups)
		return OK;
	if (!n)
		return err_set(e, E_DENIED, "path: sources.roots of service.conf names no folder that this key may name");
	if (!path_is_within(path, roots, n))
		return err_set(e, E_DENIED, "path: %.160s is not in a folder of sources.roots", path);
	if (!realpath(path, real))
		return err_sys(e, "path: %.160s", path);
	rc = roots_resolve(roots, n, &r->arena, &resolved, e);
	if (rc || path_is_within(real, resolved, n))
		return rc;
	return err_set(e, E_DENIED, "path: %.160s leads out of the folders of sources.roots", path);
}

static int path_check(struct request *r, const char *given, const char **out, const struct folder_in *in, struct err *e)
{
	struct buf b;
	int rc;
	if (*given != '/')
		return err_set(e, E_USAGE, "path: must be absolute");
	buf_init(&b, PATH_MAX - 1);
	rc = path_absolute(&b, "/", given, e);
	if (!rc && !(*out = arena_strdup(&r->arena, buf_cstr(&b))))
		rc = err_set(e, E_MEMORY, "out of memory");
	buf_clear(&b);
	if (!rc)
		rc = root_check(r, *out, e);
	if (!rc && !folder_is_for(r->service, &r->caller, *out, in->acl, in->acl_n, in->acl != NULL))
		rc = err_set(e, E_DENIED, "path: acl.rules or acl.default give documents of %.120s groups that this key lacks", *out);
	if (!rc && access(*out, R_OK))
		rc = err_sys(e, "path: %.160s", *out);
	return rc;
}

static int paths_read(struct request *r, const cJSON *o, struct folder_in *in, struct err *e)
{
	const char *one = NULL, **given, **out;
	size_t n;
	int rc = field_text(r, o, "path", &one, e);
	if (!rc)
		rc = field_texts(r, o, "paths", PATHS_MAX, &given, &n, e);
	if (rc)
		return rc;
	r->param = "path";
	if (!one == !n)
		return err_set(e, E_USAGE, "path: a folder, or several as paths");
	if (!(out = arena_calloc(&r->arena, PATHS_MAX, sizeof *out)))
		return err_set(e, E_MEMORY, "out of memory");
	if (one)
		given = &one, n = 1;
	for (size_t i = 0; !rc && i < n; i++) {
		rc = path_check(r, given[i], &out[i], in, e);
		for (size_t k = 0; !rc && k < i; k++)
			if (!strcmp(out[k], out[i]))
				rc = err_set(e, E_USAGE, "paths: %.160s is named twice", out[i]);
	}
	if (!rc)
		r->param = NULL;
	in->paths = out;
	in->path_n = n;
	return rc;
}

static int acl_read(struct request *r, const cJSON *o, struct folder_in *in, struct err *e)
{
	const cJSON *v = json_get(o, "acl");
	const char **list = NULL;
	int rc = OK;
	if (v && cJSON_IsString(v)) {
		r->param = "acl";
		rc = groups_split(v->valuestring, &r->arena, &in->acl, &in->acl_n, e) ? err_wrap(e, "acl") : OK;
	} else if (v) {
		rc = field_texts(r, o, "acl", GROUPS_MAX, &list, &in->acl_n, e);
		in->acl = list;
	}
	if (rc)
		return rc;
	r->param = "acl";
	if (in->acl && caller_grants(&r->caller, in->acl, in->acl_n, e))
		return e->status;
	r->param = NULL;
	return OK;
}

int sources_post(struct request *r, struct err *e)
{
	struct folder_in in = { 0 };
	cJSON *o = NULL, *out = NULL;
	const cJSON *meta;
	char *text = NULL;
	int rc = body_json(r, &o, e);
	if (!rc)
		rc = acl_read(r, o, &in, e);
	if (!rc)
		rc = field_bool(r, o, "prune", &in.prune, e);
	if (!rc)
		rc = request_collection(r, o, r->service->conf.collection, &in.collection, e);
	meta = json_get(o, "meta");
	if (!rc && meta && !cJSON_IsObject(meta)) {
		r->param = "meta";
		rc = err_set(e, E_USAGE, "meta: must be an object");
	}
	if (!rc && meta && !(text = cJSON_PrintUnformatted(meta)))
		rc = err_set(e, E_MEMORY, "out of memory");
	in.meta = text;
	if (!rc)
		rc = paths_read(r, o, &in, e);
	if (!rc)
		rc = folders_add(r->http->folders, &in, &r->caller, &out, e);
	if (!rc)
		reply_json(r, 202, out);
	cJSON_free(text);
	cJSON_Delete(o);
	return rc;
}

/* ---- the rest ---- */

int sources_list(struct request *r, struct err *e)
{
	cJSON *out = NULL;
	int rc = folders_list(r->http->folders, &r->caller, &out, e);
	if (!rc)
		reply_json(r, 200, out);
	return rc;
}

int sources_delete(struct request *r, struct err *e)
{
	const char *documents = query_text(r, "documents"), *id = r->segments[2];
	struct forgotten n;
	cJSON *o;
	int rc;
	if (documents && strcmp(documents, "true") && strcmp(documents, "false")) {
		r->param = "documents";
		return err_set(e, E_USAGE, "documents: must be true or false");
	}
	rc = folders_forget(r->http->folders, &r->caller, id, documents && *documents == 't', &n, e);
	if (rc)
		return rc;
	o = cJSON_CreateObject();
	if (o && !(cJSON_AddStringToObject(o, "id", id) && cJSON_AddTrueToObject(o, "deleted") &&
	    cJSON_AddNumberToObject(o, "documents_deleted", (double)n.deleted) &&
	    cJSON_AddNumberToObject(o, "documents_held", (double)n.held))) {
		cJSON_Delete(o);
		o = NULL;
	}
	reply_json(r, 200, o);
	return OK;
}

int jobs_list(struct request *r, struct err *e)
{
	cJSON *out = NULL;
	int rc = folders_jobs(r->http->folders, &r->caller, r->segment_n > 2 ? r->segments[2] : NULL, &out, e);
	if (!rc)
		reply_json(r, 200, out);
	return rc;
}

int jobs_delete(struct request *r, struct err *e)
{
	cJSON *out = NULL;
	int rc = folders_cancel(r->http->folders, &r->caller, r->segments[2], &out, e);
	if (!rc)
		reply_json(r, 200, out);
	return rc;
}
