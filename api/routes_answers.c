/* routes_answers.c: owns POST /v1/answers, whole and streamed.
 *
 * Method: fields to answer_run(). Streaming hangs its sink on the event stream; the first event opens it, so that what
 * is wrong with the request is still told by an HTTP status. Threads: answer pool; the sink is called from the engine's
 * thread or this one, never from two at once. */
#include <string.h>
#include "api/answer.h"
#include "api/route.h"
#include "api/sse.h"
#include "api/view.h"
#include "base/stat.h"

enum { HISTORY_MAX = 64, PASSAGES_MAX = 100, ANSWER_ARENA = 256 << 20 };
static const double SEED_MAX = 9007199254740991.0;   /* 2^53 - 1: what a JSON number carries exactly */

static int history_read(struct request *r, const cJSON *o, struct answer_request *q, struct err *e)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(o, "history"), *item;
	struct answer_turn *turns;
	size_t n = 0;
	if (!list || cJSON_IsNull(list))
		return OK;
	r->param = "history";
	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > HISTORY_MAX)
		return err_set(e, E_USAGE, "history: must be an array of at most %d turns", HISTORY_MAX);
	if (!(turns = arena_calloc(&r->arena, (size_t)cJSON_GetArraySize(list) + 1, sizeof *turns)))
		return err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(item, list) {
		const char *role = json_str(item, "role", NULL), *text = json_str(item, "content", NULL);
		if (!cJSON_IsObject(item) || !role || !text || (strcmp(role, "user") && strcmp(role, "assistant")))
			return err_set(e, E_USAGE, "history[%zu]: must be {\"role\":\"user\" or \"assistant\",\"content\":text}", n);
		turns[n++] = (struct answer_turn){ role, text };
	}
	r->param = NULL;
	q->history = turns;
	q->history_n = n;
	return OK;
}

static int style_read(struct request *r, const cJSON *o, struct answer_request *q, struct err *e)
{
	const struct prompt_template *t;
	const char *style = "generate";
	if (field_text(r, o, "style", &style, e) || field_text(r, o, "prompt", &q->prompt, e))
		return e->status;
	if (strcmp(style, "generate") && strcmp(style, "extractive")) {
		r->param = "style";
		return err_set(e, E_USAGE, "style: %.40s is not one of generate, extractive", style);
	}
	q->style = *style == 'e' ? STYLE_EXTRACTIVE : STYLE_GENERATE;
	if (q->prompt && prompts_find(r->service->prompts, q->prompt, &t, e)) {
		r->param = "prompt";
		r->fail_status = e->status == E_NOT_FOUND ? 400 : 0;
		return e->status;
	}
	return OK;
}

static int ask_read(struct request *r, const cJSON *o, struct answer_request *q, int *stream, struct err *e)
{
	const struct conf *c = &r->service->conf;
	int64_t k = 0, max_tokens = 0, seed = 0;
	*q = (struct answer_request){ .temperature = -1, .cancel = &r->cancel, .reader = { .all_groups = 1 } };
	if (field_lacking(r, o, "filter", e) || field_lacking(r, o, "as", e))
		return e->status;
	if (field_text(r, o, "question", &q->question, e) || field_bool(r, o, "stream", stream, e) ||
	    field_int(r, o, "k", 1, PASSAGES_MAX, &k, e) ||
	    field_int(r, o, "max_tokens", 1, c->generate_context, &max_tokens, e) ||
	    field_int(r, o, "seed", 0, (int64_t)SEED_MAX, &seed, e) || field_num(r, o, "temperature", 0, 2, &q->temperature, e) ||
	    request_collection(r, o, c->collection, &q->reader.collection, e))
		return e->status;
	if (!q->question) {
		r->param = "question";
		return err_set(e, E_USAGE, "question: missing");
	}
	q->k = (int)k;
	q->max_tokens = (int)max_tokens;
	q->seed = (uint64_t)seed;
	if (style_read(r, o, q, e))
		return e->status;
	return history_read(r, o, q, e);
}

/* ---- the stream ---- */
static void send_passages(void *ctx, const struct answer *a)
{
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "passages") : NULL;
	for (size_t i = 0; list && i < a->retrieval.n; i++) {
		cJSON *hit = view_hit(&a->retrieval.passages[i], 1);
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

static void answer_count(const struct answer *a)
{
	stat_count("footnote_answer_tokens_total", "kind=\"prompt\"", (double)a->prompt_tokens);
	stat_count("footnote_answer_tokens_total", "kind=\"completion\"", (double)a->completion_tokens);
	stat_count("footnote_answer_tokens_total", "kind=\"reused\"", (double)a->reused_tokens);
}

int answers_post(struct request *r, struct err *e)
{
	struct answer_sink sink = { r, send_passages, send_sentence, send_citation };
	struct answer_request q;
	struct answer a = { 0 };
	struct arena arena;
	cJSON *o = NULL;
	int stream = 0, rc = body_json(r, &o, e);
	arena_init(&arena, ANSWER_ARENA);
	if (!rc)
		rc = ask_read(r, o, &q, &stream, e);
	if (rc)
		goto out;
	rc = answer_run(r->service, &q, stream ? &sink : NULL, &arena, &a, e);
	if (rc == E_USAGE)
		r->param = "question";
	if (rc == E_LIMIT)
		r->retry_after = 5;
	if (!rc) {
		answer_count(&a);
		if (stream)
			sse_event(r, "done", view_answer(&a));
		else
			reply_json(r, 200, view_answer(&a));
	}
	answer_close(&a);
out:
	arena_clear(&arena);
	cJSON_Delete(o);
	return rc;
}
