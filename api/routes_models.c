/* routes_models.c: owns GET /v1/models and POST /v1/embeddings in the form of OpenAI's API.
 *
 * Method: the models are "footnote" (answers from the documents), the generator and the embedder by their own names.
 * Texts are embedded as passages unless "input_type" says query, and are cut at the embedder's length as everywhere;
 * usage counts the tokens that were read. Vectors travel as numbers or, as the official client asks for, as base64 of
 * little-endian float32. Threads: answer pool for models, whose first call opens the generator; search pool for
 * embeddings. Failure: arrays of token ids and other dimensions are refused by name. */
#include <stdio.h>
#include <string.h>
#include "api/route.h"
#include "base/base64.h"
#include "base/mem.h"

enum { VECTOR_TEXT_MAX = 4 << 20 };

/* ---- models ---- */

static cJSON *model_make(const char *name, int64_t started_ms)
{
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "id", name) && cJSON_AddStringToObject(o, "object", "model") &&
	    cJSON_AddNumberToObject(o, "created", (double)(started_ms / 1000)) && cJSON_AddStringToObject(o, "owned_by", "footnote"))
		return o;
	cJSON_Delete(o);
	return NULL;
}

int models_get(struct request *r, struct err *e)
{
	const char *names[3] = { "footnote" }, *why, *wanted = r->segment_n > 2 ? r->segments[2] : NULL;
	cJSON *o = wanted ? NULL : cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "data") : NULL;
	struct embedder *m;
	struct engine *n;
	size_t count = 1;
	int rc = service_engine(r->service, &n, &why, e), ok = list && cJSON_AddStringToObject(o, "object", "list");
	if (rc)
		goto out;
	if (n)
		names[count++] = generator_info(engine_generator(n))->name;
	if (!service_embedder(r->service, &m, NULL))
		names[count++] = embedder_info(m)->name;
	for (size_t i = 0; i < count; i++) {
		if (wanted && !strcmp(names[i], wanted)) {
			reply_json(r, 200, model_make(names[i], r->service->started_ms));
			return OK;
		}
		cJSON *x = ok ? model_make(names[i], r->service->started_ms) : NULL;
		ok = x && cJSON_AddItemToArray(list, x);
		if (!ok)
			cJSON_Delete(x);
	}
	if (wanted)
		return err_set(e, E_NOT_FOUND, "model %.80s: not served here", wanted);
	if (ok) {
		reply_json(r, 200, o);
		return OK;
	}
	rc = err_set(e, E_MEMORY, "out of memory");
out:
	cJSON_Delete(o);
	return rc;
}

/* ---- embeddings ---- */

struct embedding {
	struct embed_text *texts; size_t n;
	enum embed_kind kind;
	int base64;
};

static int input_read(struct request *r, const cJSON *o, struct embedding *x, struct err *e)
{
	const cJSON *input = json_get(o, "input"), *item;
	int many = cJSON_IsArray(input), n = many ? cJSON_GetArraySize(input) : 1, max = r->service->conf.embed_inputs_max;
	r->param = "input";
	if (!input)
		return err_set(e, E_USAGE, "input: missing");
	if (n < 1 || n > max)
		return err_set(e, E_USAGE, "input: must be a text or an array of 1 to %d texts (embed.inputs_max)", max);
	if (!(x->texts = arena_calloc(&r->arena, (size_t)n, sizeof *x->texts)))
		return err_set(e, E_MEMORY, "out of memory");
	for (item = many ? input->child : input; item; item = many ? item->next : NULL) {
		if (!cJSON_IsString(item))
			return err_set(e, cJSON_IsNumber(item) || cJSON_IsArray(item) ? E_UNSUPPORTED : E_USAGE,
				"input: must be texts; token ids are not taken");
		if (!*item->valuestring)
			return err_set(e, E_USAGE, "input: text %zu is empty", x->n);
		x->texts[x->n++] = (struct embed_text){ item->valuestring, strlen(item->valuestring) };
	}
	r->param = NULL;
	return OK;
}

/* A field that holds one of two words. */
static int word_read(struct request *r, const cJSON *o, const char *key, const char *no, const char *yes, int *is, struct err *e)
{
	const char *s = no;
	if (field_text(r, o, key, &s, e))
		return e->status;
	*is = !strcmp(s, yes);
	if (*is || !strcmp(s, no))
		return OK;
	r->param = key;
	return err_set(e, E_USAGE, "%s: %.40s is not one of %s, %s", key, s, no, yes);
}

static int embedding_read(struct request *r, const cJSON *o, const struct embedder_info *info, struct embedding *x, struct err *e)
{
	const char *model = NULL;
	int64_t dim = info->dim;
	int query = 0, rc = field_text(r, o, "model", &model, e);
	if (!rc && (!model || (strcmp(model, info->name) && strcmp(model, "footnote")))) {
		r->param = "model";
		rc = model ? err_set(e, E_NOT_FOUND, "model %.80s: the embedder here is %s", model, info->name)
			: err_set(e, E_USAGE, "model: missing");
	}
	if (!rc)
		rc = field_int(r, o, "dimensions", info->dim, info->dim, &dim, e);
	if (!rc)
		rc = word_read(r, o, "encoding_format", "float", "base64", &x->base64, e);
	if (!rc)
		rc = word_read(r, o, "input_type", "passage", "query", &query, e);
	x->kind = query ? EMBED_QUERY : EMBED_PASSAGE;
	return rc ? rc : input_read(r, o, x, e);
}

/* One vector as it travels. NULL: out of memory. */
static cJSON *vector_make(const float *v, size_t dim, int base64)
{
	struct buf b;
	cJSON *o;
	buf_init(&b, VECTOR_TEXT_MAX);
	if (base64)
		base64_put(&b, v, dim * sizeof *v);
	for (size_t i = 0; !base64 && i < dim; i++)
		buf_printf(&b, "%c%.9g", i ? ',' : '[', (double)v[i]);
	if (!base64)
		buf_putc(&b, ']');
	o = buf_failed(&b) ? NULL : base64 ? cJSON_CreateString(buf_cstr(&b)) : cJSON_CreateRaw(buf_cstr(&b));
	buf_clear(&b);
	return o;
}

static int vector_add(cJSON *list, size_t i, cJSON *vector)
{
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddItemToArray(list, o)) {
		if (vector && cJSON_AddItemToObject(o, "embedding", vector))
			return cJSON_AddStringToObject(o, "object", "embedding") && cJSON_AddNumberToObject(o, "index", (double)i);
	} else {
		cJSON_Delete(o);
	}
	cJSON_Delete(vector);
	return 0;
}

static cJSON *embeddings_make(const struct embedder *m, const struct embedding *x, const float *vectors)
{
	const struct embedder_info *info = embedder_info(m);
	size_t dim = (size_t)info->dim, tokens = 0, most = (size_t)info->max_tokens - 2;
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "data") : NULL;
	cJSON *usage = o ? cJSON_AddObjectToObject(o, "usage") : NULL;
	int ok = list && usage;
	for (size_t i = 0; ok && i < x->n; i++) {
		size_t n = embedder_count_tokens(m, x->texts[i].text, x->texts[i].len);
		tokens += n < most ? n : most;
		ok = vector_add(list, i, vector_make(vectors + i * dim, dim, x->base64));
	}
	ok = ok && cJSON_AddNumberToObject(usage, "prompt_tokens", (double)tokens) &&
		cJSON_AddNumberToObject(usage, "total_tokens", (double)tokens) &&
		cJSON_AddStringToObject(o, "object", "list") && cJSON_AddStringToObject(o, "model", info->name);
	if (ok)
		return o;
	cJSON_Delete(o);
	return NULL;
}

int embeddings_post(struct request *r, struct err *e)
{
	struct embedder *m;
	struct embedding x = { 0 };
	float *vectors = NULL;
	cJSON *o = NULL;
	int rc = body_json(r, &o, e);
	if (!rc)
		rc = service_embedder(r->service, &m, e);
	if (!rc)
		rc = embedding_read(r, o, embedder_info(m), &x, e);
	if (!rc && !(vectors = mem_calloc(x.n, (size_t)embedder_info(m)->dim * sizeof *vectors)))
		rc = err_set(e, E_MEMORY, "out of memory");
	if (!rc)
		rc = embedder_encode(m, x.texts, x.n, x.kind, EMBED_BULK, vectors, e);
	if (!rc)
		reply_json(r, 200, embeddings_make(m, &x, vectors));
	mem_free(vectors);
	cJSON_Delete(o);
	return rc;
}
