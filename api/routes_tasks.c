/* routes_tasks.c: owns POST /v1/summaries, POST /v1/assist and GET /v1/gaps.
 *
 * Method: fields to summary_run() or assist_run(), whole or streamed as an answer is. Threads: answer pool; the sink is called from the
 * engine's thread or this one, never from two at once. */
#include "api/ask.h"
#include "api/assist.h"
#include "api/gaps.h"
#include "api/route.h"
#include "api/sse.h"
#include "api/summary.h"
#include "api/view.h"

enum { TASK_ARENA = 512 << 20 };

static int style_read(struct request *r, const cJSON *o, enum answer_style *out, struct err *e)
{
	int given, rc = ask_style(o, out, &given, e);
	if (rc)
		r->param = "style";
	return rc;
}

static int prompt_read(struct request *r, const cJSON *o, const char **out, struct err *e)
{
	const struct prompt_template *t;
	int rc = field_text(r, o, "prompt", out, e);
	if (!rc && *out && prompts_find_for(r->service->prompts, "summary", *out, &t, e)) {
		r->param = "prompt";
		r->fail_status = 400;     /* the prompt, not what the path names */
		rc = e->status;
	}
	return rc;
}

static int summary_read(struct request *r, const cJSON *o, struct summary_request *q, struct filter **filter, int *stream, struct err *e)
{
	const char *text = NULL;
	int64_t sentences = 0, seed = 0;
	int rc = field_text(r, o, "document_id", &q->document_id, e);
	if (!rc)
		rc = field_text(r, o, "filter", &text, e);
	if (!rc && !q->document_id == !(text && *text)) {
		r->param = "document_id";
		rc = err_set(e, E_USAGE, "document_id: what is to be summed up: a document, or a filter");
	}
	if (rc || field_int(r, o, "sentences", 1, r->service->conf.summary_sentences_max, &sentences, e) ||
	    field_int(r, o, "seed", 0, INT64_C(9007199254740991), &seed, e) || field_bool(r, o, "stream", stream, e) ||
	    style_read(r, o, &q->style, e) || prompt_read(r, o, &q->prompt, e) ||
	    request_reader(r, o, q->document_id ? NULL : r->service->conf.collection, &q->reader, e))
		return e->status;
	q->sentences = (int)sentences;
	q->seed = (uint64_t)seed;
	q->key_id = r->caller.key_id;
	q->cancel = &r->cancel;
	return request_filter(r, o, &q->reader, filter, e);
}

int summaries_post(struct request *r, struct err *e)
{
	struct summary_request q = { 0 };
	struct answer_sink sink;
	struct answer a = { 0 };
	struct filter *filter = NULL;
	struct arena arena;
	cJSON *o = NULL;
	int stream = 0, rc = body_json(r, &o, e);
	arena_init(&arena, TASK_ARENA);
	if (!rc)
		rc = summary_read(r, o, &q, &filter, &stream, e);
	if (rc)
		goto out;
	sse_sink(r, &sink);
	rc = summary_run(r->service, &q, stream ? &sink : NULL, &arena, &a, e);
	if (rc == E_USAGE || rc == E_NOT_FOUND)
		r->param = q.document_id ? "document_id" : "filter";
	if (rc == E_LIMIT)
		r->retry_after = 5;
	if (!rc)
		sse_done(r, stream, view_answer(&a));
	answer_close(&a);
out:
	arena_clear(&arena);
	filter_free(filter);
	cJSON_Delete(o);
	return rc;
}

int assist_post(struct request *r, struct err *e)
{
	struct assist_request q;
	struct answer_sink sink;
	struct assist x = { 0 };
	struct filter *filter = NULL;
	struct arena arena;
	cJSON *o = NULL;
	int stream = 0, rc = body_json(r, &o, e);
	arena_init(&arena, TASK_ARENA);
	if (!rc)
		rc = assist_read(r->service, o, &arena, &q, &r->param, e);
	if (!rc)
		rc = field_bool(r, o, "stream", &stream, e);
	if (!rc)
		rc = request_reader(r, o, r->service->conf.collection, &q.reader, e);
	if (!rc)
		rc = request_filter(r, o, &q.reader, &filter, e);
	if (rc)
		goto out;
	q.key_id = r->caller.key_id;
	q.cancel = &r->cancel;
	sse_sink(r, &sink);
	rc = assist_run(r->service, &q, stream ? &sink : NULL, &arena, &x, e);
	if (rc == E_USAGE)
		r->param = "messages";
	if (rc == E_LIMIT)
		r->retry_after = 5;
	if (!rc)
		sse_done(r, stream, assist_view(&x));
	assist_close(&x);
out:
	arena_clear(&arena);
	filter_free(filter);
	cJSON_Delete(o);
	return rc;
}

int gaps_get(struct request *r, struct err *e)
{
	uint64_t least, limit;
	struct reader reader;
	struct arena arena;
	cJSON *o = NULL;
	int rc = query_u64(r, "least", 1, 1000000, 1, &least, e);
	if (!rc)
		rc = query_u64(r, "limit", 1, 10000, 50, &limit, e);
	if (!rc)
		rc = request_reader(r, NULL, NULL, &reader, e);
	if (rc)
		return rc;
	arena_init(&arena, TASK_ARENA);
	rc = gaps_report(r->service, &reader, (size_t)least, (size_t)limit, &arena, &o, e);
	if (!rc)
		reply_json(r, 200, o);
	arena_clear(&arena);
	return rc;
}
