/* docmeta.c: owns taking a document's meta apart.
 *
 * Method: a walk over the parsed JSON that keeps the path in one buffer. Of two members of the same name the first counts, as
 * for filter_match. Whoever sends meta decides how large it is, so there is a limit, and what passes it is left as it is:
 * such documents are asked one by one, by their records (docset.h).
 * Threads: no state. Failure: see docmeta.h. */
#include "index/docmeta.h"
#include <string.h>

struct taking { struct arena *a; struct meta_cell *cells; size_t n, seen; char path[META_PATH_MAX]; };

static int cell_add(struct taking *t, const cJSON *v, size_t len)
{
	struct meta_cell *c = &t->cells[t->n];
	char *path = arena_alloc(t->a, len + 1);
	*c = (struct meta_cell){ CELL_OBJECT, path, len, "", 0 };
	if (cJSON_IsNumber(v)) c->kind = CELL_NUMBER, c->number = v->valuedouble;
	else if (cJSON_IsString(v)) c->kind = CELL_TEXT, c->text = arena_strdup(t->a, v->valuestring);
	else if (cJSON_IsBool(v)) c->kind = cJSON_IsTrue(v) ? CELL_TRUE : CELL_FALSE;
	if (!path || !c->text) return E_MEMORY;
	memcpy(path, t->path, len);
	t->n++;
	return OK;
}

static int is_repeated(const cJSON *object, const cJSON *member)
{
	const cJSON *x = object->child;
	while (x != member && strcmp(x->string, member->string) != 0) x = x->next;
	return x != member;
}

/* What is at the first len bytes of the path. */
static int value_take(struct taking *t, const cJSON *v, size_t len, int outermost)
{
	int rc = OK;
	if (++t->seen > 2 * META_CELLS_MAX) return E_LIMIT;
	if (cJSON_IsNull(v)) return OK;
	for (const cJSON *x = cJSON_IsArray(v) ? v->child : NULL; x && !rc; x = x->next) rc = value_take(t, x, len, outermost);
	if (cJSON_IsArray(v) || (!cJSON_IsObject(v) && outermost)) return rc;
	if (!outermost) rc = t->n < META_CELLS_MAX ? cell_add(t, v, len) : E_LIMIT;
	for (const cJSON *x = cJSON_IsObject(v) ? v->child : NULL; x && !rc; x = x->next) {
		size_t n = strlen(x->string), at = len + !outermost;
		if (is_repeated(v, x)) continue;
		if (n > sizeof t->path - 1 || at > sizeof t->path - 1 - n) return E_LIMIT;
		if (!outermost) t->path[len] = 0;
		memcpy(t->path + at, x->string, n);
		rc = value_take(t, x, at + n, 0);
	}
	return rc;
}

int meta_cells(const char *meta, struct arena *a, struct meta_cell **out, size_t *n)
{
	size_t len = strlen(meta);
	struct taking *t;
	cJSON *v;
	int rc;
	*n = 0;
	*out = NULL;
	if (len <= 2) return OK;     /* {} */
	if (len > META_CELL_BYTES_MAX) return E_LIMIT;
	t = arena_alloc(a, sizeof *t);
	if (!t || !(t->cells = arena_alloc(a, META_CELLS_MAX * sizeof *t->cells))) return E_MEMORY;
	t->a = a, t->n = t->seen = 0;
	rc = json_parse(&v, meta, len, META_CELL_BYTES_MAX, "meta", NULL);
	if (rc) return rc == E_MEMORY ? rc : OK;
	rc = value_take(t, v, 0, 1);
	cJSON_Delete(v);
	*out = t->cells;
	*n = t->n;
	return rc;
}

size_t meta_path(char *out, const char *const *names, size_t n)
{
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(names[i]);
		if (len > META_PATH_MAX - 1 || at + (i > 0) > META_PATH_MAX - 1 - len) return META_PATH_MAX;
		if (i) out[at++] = 0;
		memcpy(out + at, names[i], len);
		at += len;
	}
	return at;
}
