/* routes_rerank.c: owns POST /v1/rerank: texts that the caller brings, by how much they are about a query.
 *
 * Method: fields to rerank_texts(), whose scores order them. Threads: search pool. Failure: the parameter is named. */
#include <stdlib.h>
#include <string.h>
#include "api/rerank.h"
#include "api/route.h"
#include "api/view.h"

struct rerank_ask {
	const char *query;
	struct embed_text *texts; size_t n;
	int64_t top;
};
struct ranked { size_t index; double score; };

/* A text, or an object with one as "text", as other services take them. */
static const char *document_text(const cJSON *item)
{
	return cJSON_IsObject(item) ? json_str(item, "text", NULL) : cJSON_GetStringValue(item);
}

static int documents_read(struct request *r, const cJSON *o, struct rerank_ask *q, struct err *e)
{
	const struct conf *c = &r->service->conf;
	const cJSON *list = json_get(o, "documents"), *item;
	int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
	uint64_t bytes = 0;
	r->param = "documents";
	if (!list)
		return err_set(e, E_USAGE, "documents: missing");
	if (n < 1 || n > c->rerank_documents_max)
		return err_set(e, E_USAGE, "documents: must be an array of 1 to %d texts (rerank.documents_max)", c->rerank_documents_max);
	if (!(q->texts = arena_calloc(&r->arena, (size_t)n, sizeof *q->texts)))
		return err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(item, list) {
		const char *text = document_text(item);
		if (!text)
			return err_set(e, E_USAGE, "documents: item %zu is neither a text nor an object with a \"text\"", q->n);
		q->texts[q->n++] = (struct embed_text){ text, strlen(text) };
		bytes += strlen(text);
	}
	if (bytes > c->rerank_bytes_max)
		return err_set(e, E_USAGE, "documents: %llu bytes in all, over rerank.bytes_max (%llu)", (unsigned long long)bytes,
			(unsigned long long)c->rerank_bytes_max);
	r->param = NULL;
	return OK;
}

static int ask_read(struct request *r, const cJSON *o, struct rerank_ask *q, struct err *e)
{
	int rc = field_text(r, o, "query", &q->query, e);
	if (!rc && !q->query)
		rc = err_set(e, E_USAGE, "query: missing");
	if (!rc)
		rc = query_check(q->query, strlen(q->query), "query", e);
	if (!rc && strlen(q->query) > r->service->conf.rerank_bytes_max)
		rc = err_set(e, E_USAGE, "query: over rerank.bytes_max");
	if (rc) {
		r->param = "query";
		return rc;
	}
	rc = documents_read(r, o, q, e);
	q->top = (int64_t)q->n;
	return rc ? rc : field_int(r, o, "top_n", 1, r->service->conf.rerank_documents_max, &q->top, e);
}

/* Best first; of equals the one that came first. */
static int by_score(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static cJSON *reply_make(const struct ranked *best, size_t n, const char *model)
{
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "results") : NULL;
	int ok = list != NULL;
	for (size_t i = 0; ok && i < n; i++) {
		cJSON *x = cJSON_CreateObject();
		ok = x && cJSON_AddItemToArray(list, x);
		if (!ok)
			cJSON_Delete(x);
		ok = ok && cJSON_AddNumberToObject(x, "index", (double)best[i].index) && cJSON_AddNumberToObject(x, "relevance_score", best[i].score);
	}
	if (ok && cJSON_AddStringToObject(o, "model", model))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static int rerank_run(struct request *r, const struct rerank_ask *q, struct err *e)
{
	double *scores = arena_calloc(&r->arena, q->n, sizeof *scores);
	struct ranked *best = arena_calloc(&r->arena, q->n, sizeof *best);
	const char *model = "";
	int rc = scores && best ? OK : err_set(e, E_MEMORY, "out of memory");
	if (!rc)
		rc = rerank_texts(r->service, q->query, strlen(q->query), q->texts, q->n, scores, &model, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < q->n; i++)
		best[i] = (struct ranked){ i, scores[i] };
	qsort(best, q->n, sizeof *best, by_score);
	reply_json(r, 200, reply_make(best, (size_t)q->top < q->n ? (size_t)q->top : q->n, model));
	return OK;
}

int rerank_post(struct request *r, struct err *e)
{
	struct rerank_ask q = { 0 };
	cJSON *o = NULL;
	int rc = body_json(r, &o, e);
	if (!rc)
		rc = ask_read(r, o, &q, e);
	if (!rc)
		rc = rerank_run(r, &q, e);
	cJSON_Delete(o);
	return rc;
}
