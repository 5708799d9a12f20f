/* routes_answers.c: owns POST /v1/answers, whole and streamed.
 *
 * Method: fields to answer_run(). Streaming hangs its sink on the event stream; the first event opens it, so that what
 * is wrong with the request is still told by an HTTP status. Threads: answer pool; the sink is called from the engine's
 * thread or this one, never from two at once. */
#include "api/answer.h"
#include "api/ask.h"
#include "api/route.h"
#include "api/sse.h"
#include "api/view.h"

enum { ANSWER_ARENA = 256 << 20 };

static int question_read(struct request *r, const cJSON *o, struct answer_request *q, struct filter **filter, int *stream, struct err *e)
{
	int rc = ask_read(r->service, o, &r->arena, q, &r->param, e);
	if (rc == E_NOT_FOUND)
		r->fail_status = 400;     /* the prompt, not what the path names */
	if (rc)
		return rc;
	q->cancel = &r->cancel;
	q->key_id = r->caller.key_id;
	q->traffic = 1;
	if (field_bool(r, o, "stream", stream, e) || request_reader(r, o, r->service->conf.collection, &q->reader, e))
		return e->status;
	return request_filter(r, o, &q->reader, filter, e);
}

/* ---- the stream ---- */
static void send_passages(void *ctx, const struct answer *a)
{
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "passages") : NULL;
	for (size_t i = 0; list && i < a->retrieval.n; i++) {
		cJSON *hit = view_hit(&a->retrieval.passages[i], 1, 0);
		if (!hit || !cJSON_AddItemToArray(list, hit)) {
			cJSON_Delete(hit);
			list = NULL;
		}
	}
	if (!list) {
		cJSON_Delete(o);
		o = NULL;
	}
	sse_event(ctx, "passages", o);
}

static void send_sentence(void *ctx, const struct answer *a, const char *text, size_t len)
{
	struct request *r = ctx;
	char *copy = arena_strndup(&r->arena, text, len);
	cJSON *o = copy ? cJSON_CreateObject() : NULL;
	(void)a;
	if (o && !cJSON_AddStringToObject(o, "text", copy)) {
		cJSON_Delete(o);
		o = NULL;
	}
	sse_event(r, "delta", o);
}

static void send_citation(void *ctx, const struct answer *a, const struct answer_citation *c)
{
	sse_event(ctx, "citation", view_citation(a, c));
}

void sse_sink(struct request *r, struct answer_sink *out)
{
	*out = (struct answer_sink){ r, send_passages, send_sentence, send_citation };
}

void sse_done(struct request *r, int stream, cJSON *data)
{
	if (stream)
		sse_event(r, "done", data);
	else
		reply_json(r, 200, data);
}

int answers_post(struct request *r, struct err *e)
{
	struct answer_sink sink;
	struct answer_request q;
	struct answer a = { 0 };
	struct filter *filter = NULL;
	struct arena arena;
	cJSON *o = NULL;
	int stream = 0, rc = body_json(r, &o, e);
	arena_init(&arena, ANSWER_ARENA);
	if (!rc)
		rc = question_read(r, o, &q, &filter, &stream, e);
	if (rc)
		goto out;
	sse_sink(r, &sink);
	rc = answer_run(r->service, &q, stream ? &sink : NULL, &arena, &a, e);
	if (rc == E_USAGE)
		r->param = "question";
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
