/* openapi.c: owns GET /openapi.json: the table of endpoints (route.c) with what api/www/api.json says of each.
 *
 * Method: path, method, parameters of the path, role and errors come from the table, so that the document cannot leave out an
 * endpoint or name one that is not; the file adds, under "METHOD PATH", a summary, the shapes of body and reply, and
 * parameters of the query. Tests hold both against each other, and replies against the shapes.
 * Threads: no state. Failure: E_BUG, which a test would have found. */
#include "api/openapi.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "api/command.h"
#include "api/route.h"
#include "base/embedded.h"

enum { FILE_BYTES_MAX = 1 << 20, TEXT_SIZE = 160 };

int openapi_description(cJSON **out, struct err *e)
{
	for (const struct embedded_file *f = www_files; f->name; f++)
		if (!strcmp(f->name, "api.json")) {
			int rc = json_parse(out, f->data, f->len, FILE_BYTES_MAX, "api.json", e);
			return rc && rc != E_MEMORY ? err_set(e, E_BUG, "api.json is no JSON") : rc;
		}
	return err_set(e, E_BUG, "api.json is not in the program");
}

int openapi_row(const cJSON *description, size_t i, char *text, size_t size, int *described)
{
	const struct route *t = route_at(i);
	if (!t) return 0;
	snprintf(text, size, "%s %s", t->method, t->path);
	*described = json_get(json_get(description, "operations"), text) != NULL;
	return 1;
}

/* "GET /v1/keys/{id}" -> "get_v1_keys_id". */
static void id_make(const char *text, char *out)
{
	size_t n = 0;
	for (; *text; text++) {
		if (isalnum((unsigned char)*text)) out[n++] = (char)tolower((unsigned char)*text);
		else if (n && out[n - 1] != '_') out[n++] = '_';
	}
	while (n && out[n - 1] == '_') n--;
	out[n] = 0;
}

static int parameter_add(cJSON *list, const char *name, size_t len, const char *in, const char *help)
{
	char key[64];
	cJSON *p = cJSON_CreateObject(), *s;
	if (!p || !cJSON_AddItemToArray(list, p)) return 0;
	snprintf(key, sizeof key, "%.*s", (int)(len < sizeof key ? len : sizeof key - 1), name);
	return cJSON_AddStringToObject(p, "name", key) && cJSON_AddStringToObject(p, "in", in) &&
		(*in != 'p' || cJSON_AddTrueToObject(p, "required")) && (!*help || cJSON_AddStringToObject(p, "description", help)) &&
		(s = cJSON_AddObjectToObject(p, "schema")) && cJSON_AddStringToObject(s, "type", "string");
}

static int parameters_add(cJSON *op, const struct route *t, const cJSON *query)
{
	const cJSON *q;
	cJSON *list = cJSON_AddArrayToObject(op, "parameters");
	for (const char *p = strchr(t->path, '{'); list && p; p = strchr(p + 1, '{'))
		if (!parameter_add(list, p + 1, strcspn(p + 1, "}"), "path", "")) return 0;
	cJSON_ArrayForEach(q, query)
		if (!parameter_add(list, q->string, strlen(q->string), "query", cJSON_IsString(q) ? q->valuestring : "")) return 0;
	return list != NULL;
}

/* {type: {"schema": {"$ref": …}}}; name NULL: text. */
static int content_add(cJSON *to, const char *type, const char *name)
{
	char ref[96];
	cJSON *c = cJSON_AddObjectToObject(to, "content"), *x = c ? cJSON_AddObjectToObject(c, type) : NULL;
	cJSON *s = x ? cJSON_AddObjectToObject(x, "schema") : NULL;
	snprintf(ref, sizeof ref, "#/components/schemas/%s", name ? name : "");
	return s && (name ? cJSON_AddStringToObject(s, "$ref", ref) : cJSON_AddStringToObject(s, "type", "string"));
}

static int replies_add(cJSON *op, const cJSON *told)
{
	char status[16];
	cJSON *all = cJSON_AddObjectToObject(op, "responses"), *x;
	snprintf(status, sizeof status, "%d", (int)json_num(told, "status", 200));
	x = all ? cJSON_AddObjectToObject(all, status) : NULL;
	if (!x || !cJSON_AddStringToObject(x, "description", "Done") ||
	    !content_add(x, json_str(told, "type", "application/json"), json_str(told, "reply", NULL)))
		return 0;
	x = cJSON_AddObjectToObject(all, "default");
	return x && cJSON_AddStringToObject(x, "description", "What is wrong, with the status that fits") && content_add(x, "application/json", "Error");
}

static int security_add(cJSON *op, const struct route *t)
{
	cJSON *list = cJSON_AddArrayToObject(op, "security"), *x;
	if (!list || t->role == ROLE_OPEN) return list != NULL;
	x = cJSON_CreateObject();
	return x && cJSON_AddItemToArray(list, x) && cJSON_AddArrayToObject(x, "key") && cJSON_AddStringToObject(op, "x-role", role_name(t->role));
}

static int operation_add(cJSON *paths, const struct route *t, const cJSON *told, const char *text)
{
	char method[16], id[TEXT_SIZE], tag[64];
	const char *body = json_str(told, "body", NULL), *from = strncmp(t->path, "/v1/", 4) ? "service" : t->path + 4;
	cJSON *path = cJSON_GetObjectItemCaseSensitive(paths, t->path), *op, *x;
	if (!path) path = cJSON_AddObjectToObject(paths, t->path);
	id_make(t->method, method);
	id_make(text, id);
	snprintf(tag, sizeof tag, "%.*s", (int)strcspn(from, "/"), from);
	op = path ? cJSON_AddObjectToObject(path, method) : NULL;
	if (!op || !cJSON_AddStringToObject(op, "operationId", id) || !cJSON_AddStringToObject(op, "summary", json_str(told, "summary", t->name)) ||
	    !(x = cJSON_AddArrayToObject(op, "tags")) || !cJSON_AddItemToArray(x, cJSON_CreateString(tag)) ||
	    !parameters_add(op, t, json_get(told, "query")) || !replies_add(op, told) || !security_add(op, t))
		return 0;
	x = body ? cJSON_AddObjectToObject(op, "requestBody") : NULL;
	return !body || (x && cJSON_AddTrueToObject(x, "required") && content_add(x, "application/json", body));
}

static int head_add(cJSON *o)
{
	cJSON *info, *servers, *server;
	return cJSON_AddStringToObject(o, "openapi", "3.1.0") && (info = cJSON_AddObjectToObject(o, "info")) &&
		cJSON_AddStringToObject(info, "title", "Footnote") && cJSON_AddStringToObject(info, "version", FOOTNOTE_VERSION) &&
		cJSON_AddStringToObject(info, "description", "Answers from documents, each sentence with a footnote. Offsets are code points, half-open.") &&
		(servers = cJSON_AddArrayToObject(o, "servers")) && (server = cJSON_CreateObject()) && cJSON_AddItemToArray(servers, server) &&
		cJSON_AddStringToObject(server, "url", "/");
}

static int components_add(cJSON *o, cJSON *told)
{
	cJSON *c = cJSON_AddObjectToObject(o, "components"), *schemas = cJSON_DetachItemFromObjectCaseSensitive(told, "schemas"), *s, *key;
	if (c && schemas && cJSON_AddItemToObject(c, "schemas", schemas))
		return (s = cJSON_AddObjectToObject(c, "securitySchemes")) && (key = cJSON_AddObjectToObject(s, "key")) &&
			cJSON_AddStringToObject(key, "type", "http") && cJSON_AddStringToObject(key, "scheme", "bearer") &&
			cJSON_AddStringToObject(key, "description", "Authorization: Bearer KEY (footnote keys add). Without any key this machine alone is served.");
	cJSON_Delete(schemas);
	return 0;
}

int openapi_make(cJSON **out, struct err *e)
{
	char text[TEXT_SIZE];
	cJSON *told = NULL, *o = NULL, *paths;
	int described, ok, rc = openapi_description(&told, e);
	*out = NULL;
	if (rc) return rc;
	o = cJSON_CreateObject();
	ok = o && head_add(o) && (paths = cJSON_AddObjectToObject(o, "paths"));
	for (size_t i = 0; ok && openapi_row(told, i, text, sizeof text, &described); i++)
		ok = operation_add(paths, route_at(i), json_get(json_get(told, "operations"), text), text);
	ok = ok && components_add(o, told);
	cJSON_Delete(told);
	if (ok) *out = o;
	else cJSON_Delete(o);
	return ok ? OK : err_set(e, E_MEMORY, "out of memory");
}
