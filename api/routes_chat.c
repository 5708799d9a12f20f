/* routes_chat.c: owns POST /v1/chat/completions in the form of OpenAI's API (its reference, "Create chat completion"), so
 * that programs written for it work here.
 *
 * Method: model "footnote" is the query pipeline: the last message is the question, user and assistant messages before
 * it are the history, system messages are passed over (instructions are prompt templates here). Its marks come back as
 * url_citation annotations that link to the quote on the page, and the whole answer object under "footnote". A
 * generator's own name is the plain model behind its chat template, greedy unless a temperature is given. Streams are
 * data-only events, closed by [DONE]; the first chunk opens the stream, so that what is wrong with the request is told
 * by an HTTP status. Threads: answer pool; chunks are sent from the engine's thread or this one, never from two at once.
 * Failure: fields that would change the result and cannot be had (tools, several choices, log probabilities) are
 * refused by name. */
#include <stdio.h>
#include <string.h>
#include "api/answer.h"
#include "api/route.h"
#include "api/sse.h"
#include "api/view.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/stat.h"
#include "base/utf8.h"

enum { MESSAGES_MAX = 256, STOPS_MAX = 4, CHAT_ARENA = 256 << 20, TURNS_MAX = 65, URL_MAX = 160 };
static const double SEED_MAX = 9007199254740991.0;   /* 2^53 - 1: what a JSON number carries exactly */

struct chat {
	struct request *r;
	struct arena arena;
	const char *model;
	char id[REQUEST_ID_MAX + 16];
	double created;                  /* seconds since 1970 */
	struct chat_message *messages; size_t message_n;
	int stream, include_usage, opened;
	int64_t max_tokens, seed;        /* max_tokens 0: as many as fit */
	double temperature, top_p;
	const char *user;                /* NULL: not said */
	const char *stops[STOPS_MAX + 1];
};

/* ---- the request ---- */

static int parts_join(struct chat *c, const cJSON *list, size_t i, const char **text, struct err *e)
{
	const cJSON *part;
	struct buf b;
	int rc = OK;
	buf_init(&b, c->r->body.len + 1);        /* the parts' texts are not longer than the body they came in */
	cJSON_ArrayForEach(part, list) {
		const char *type = json_str(part, "type", ""), *more = json_str(part, "text", NULL);
		if (strcmp(type, "text") || !more) {
			rc = err_set(e, E_UNSUPPORTED, "messages[%zu].content: only parts of type text can be read", i);
			break;
		}
		if (b.len)
			buf_putc(&b, '\n');
		buf_puts(&b, more);
	}
	if (!rc && (buf_failed(&b) || !(*text = arena_strndup(&c->arena, buf_cstr(&b), b.len))))
		rc = err_set(e, E_MEMORY, "out of memory");
	buf_clear(&b);
	return rc;
}

/* A message's text: a string, or an array of parts of type text, which are joined. An assistant's may be null. */
static int content_read(struct chat *c, const cJSON *content, const char *role, size_t i, const char **text, struct err *e)
{
	*text = cJSON_IsString(content) ? content->valuestring : "";
	if (cJSON_IsString(content) || (cJSON_IsNull(content) && !strcmp(role, "assistant")))
		return OK;
	if (!cJSON_IsArray(content))
		return err_set(e, E_USAGE, "messages[%zu].content: must be a string or an array of parts", i);
	return parts_join(c, content, i, text, e);
}

static int message_read(struct chat *c, const cJSON *item, struct err *e)
{
	static const struct { const char *sent, *role; } roles[] = { { "system", "system" }, { "developer", "system" },
		{ "user", "user" }, { "assistant", "assistant" } };
	const char *sent = json_str(item, "role", NULL), *text;
	struct chat_message *m = &c->messages[c->message_n];
	int rc;
	if (!sent)
		return err_set(e, E_USAGE, "messages[%zu]: must be {\"role\":text,\"content\":text}", c->message_n);
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
		if (!strcmp(sent, roles[i].sent))
			m->role = roles[i].role;
	if (!m->role)
		return err_set(e, E_UNSUPPORTED, "messages[%zu].role: %.40s is not one of system, developer, user, assistant",
			c->message_n, sent);
	rc = content_read(c, cJSON_GetObjectItemCaseSensitive(item, "content"), m->role, c->message_n, &text, e);
	m->text = text;
	m->len = rc ? 0 : strlen(text);
	c->message_n++;
	return rc;
}

static int messages_read(struct chat *c, const cJSON *o, struct err *e)
{
	const cJSON *list = json_get(o, "messages"), *item;
	int n = cJSON_GetArraySize(list), rc = OK;
	if (!cJSON_IsArray(list) || n < 1 || n > MESSAGES_MAX)
		return err_set(e, E_USAGE, "messages: must be an array of 1 to %d messages", MESSAGES_MAX);
	c->messages = arena_calloc(&c->arena, (size_t)n, sizeof *c->messages);
	if (!c->messages)
		return err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(item, list)
		if (!rc)
			rc = message_read(c, item, e);
	return rc;
}

static int stops_read(struct chat *c, const cJSON *o, struct err *e)
{
	const cJSON *stop = json_get(o, "stop"), *item;
	size_t n = 0;
	if (cJSON_IsString(stop) && *stop->valuestring)
		c->stops[n++] = stop->valuestring;
	else if (stop && (!cJSON_IsArray(stop) || cJSON_GetArraySize(stop) > STOPS_MAX))
		return err_set(e, E_USAGE, "stop: must be a text or an array of at most %d texts", STOPS_MAX);
	if (cJSON_IsArray(stop))
		cJSON_ArrayForEach(item, stop) {
			if (!cJSON_IsString(item) || !*item->valuestring)
				return err_set(e, E_USAGE, "stop: must be a text or an array of at most %d texts", STOPS_MAX);
			c->stops[n++] = item->valuestring;
		}
	return OK;
}

/* What would change the result and is not to be had. */
static int lacking_check(struct request *r, const cJSON *o, struct err *e)
{
	static const char *const keys[] = { "tools", "functions", "logprobs", "audio", "logit_bias", "web_search_options" };
	const cJSON *format = json_get(o, "response_format");
	int64_t n = 1;
	double penalty = 0;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (field_lacking(r, o, keys[i], e))
			return e->status;
	if (field_int(r, o, "n", 1, 1, &n, e) || field_num(r, o, "frequency_penalty", 0, 0, &penalty, e) ||
	    field_num(r, o, "presence_penalty", 0, 0, &penalty, e))
		return e->status;
	if (!format || !strcmp(json_str(format, "type", ""), "text"))
		return OK;
	r->param = "response_format";
	return err_set(e, E_UNSUPPORTED, "response_format: only text can be had");
}

static int chat_read(struct chat *c, const cJSON *o, struct err *e)
{
	struct request *r = c->r;
	const cJSON *options = json_get(o, "stream_options");
	int64_t context = r->service->conf.generate_context;
	if (field_text(r, o, "model", &c->model, e) || lacking_check(r, o, e) || field_bool(r, o, "stream", &c->stream, e) ||
	    field_int(r, o, "max_tokens", 1, context, &c->max_tokens, e) ||
	    field_int(r, o, "max_completion_tokens", 1, context, &c->max_tokens, e) ||
	    field_num(r, o, "temperature", 0, 2, &c->temperature, e) || field_num(r, o, "top_p", 0, 1, &c->top_p, e) ||
	    field_int(r, o, "seed", 0, (int64_t)SEED_MAX, &c->seed, e) || field_text(r, o, "user", &c->user, e))
		return e->status;
	r->param = "stream_options";
	if (options && !cJSON_IsObject(options))
		return err_set(e, E_USAGE, "stream_options: must be an object");
	if (json_get_bool(options, "include_usage", &c->include_usage, e))
		return err_wrap(e, "stream_options");
	r->param = "model";
	if (!c->model)
		return err_set(e, E_USAGE, "model: missing");
	r->param = "messages";
	if (messages_read(c, o, e))
		return e->status;
	r->param = "stop";
	if (stops_read(c, o, e))
		return e->status;
	r->param = NULL;
	return OK;
}

/* ---- the reply ---- */

static cJSON *usage_make(size_t prompt, size_t completion, size_t reused)
{
	cJSON *o = cJSON_CreateObject(), *cached = o ? cJSON_AddObjectToObject(o, "prompt_tokens_details") : NULL;
	if (cached && cJSON_AddNumberToObject(cached, "cached_tokens", (double)reused) &&
	    cJSON_AddNumberToObject(o, "prompt_tokens", (double)prompt) &&
	    cJSON_AddNumberToObject(o, "completion_tokens", (double)completion) &&
	    cJSON_AddNumberToObject(o, "total_tokens", (double)(prompt + completion)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* Adds take to o under key; 0 and take freed when either is missing. */
static int add_taken(cJSON *o, const char *key, cJSON *take)
{
	if (o && take && cJSON_AddItemToObject(o, key, take))
		return 1;
	cJSON_Delete(take);
	return 0;
}

static cJSON *reply_make(const struct chat *c, const char *kind)
{
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "id", c->id) && cJSON_AddStringToObject(o, "object", kind) &&
	    cJSON_AddNumberToObject(o, "created", c->created) && cJSON_AddStringToObject(o, "model", c->model))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* o with its one choice: take under key ("message" or "delta"), finish NULL while it goes on. Takes both. */
static cJSON *choice_put(cJSON *o, const char *key, cJSON *take, const char *finish)
{
	cJSON *list = o ? cJSON_AddArrayToObject(o, "choices") : NULL, *x = list ? cJSON_CreateObject() : NULL;
	int ok = x && cJSON_AddItemToArray(list, x);
	if (!ok)
		cJSON_Delete(x);
	if (!ok)
		cJSON_Delete(take);
	ok = ok && add_taken(x, key, take) && cJSON_AddNumberToObject(x, "index", 0) && cJSON_AddNullToObject(x, "logprobs") &&
		(finish ? cJSON_AddStringToObject(x, "finish_reason", finish) : cJSON_AddNullToObject(x, "finish_reason"));
	if (ok)
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* Sends a chunk with this delta (taken). */
static void chunk_send(struct chat *c, cJSON *delta, const char *finish, cJSON *answer)
{
	cJSON *o = choice_put(reply_make(c, "chat.completion.chunk"), "delta", delta, finish);
	int ok = o != NULL;
	if (answer && !add_taken(o, "footnote", answer))
		ok = 0;
	if (ok && c->include_usage)
		ok = cJSON_AddNullToObject(o, "usage") != NULL;
	if (!ok) {
		cJSON_Delete(o);
		o = NULL;
	}
	sse_event(c->r, NULL, o);
}

/* A piece of text; the first one opens the stream. */
static void text_send(struct chat *c, const char *text, size_t len)
{
	char *copy = arena_strndup(&c->arena, text, len);
	cJSON *delta = copy ? cJSON_CreateObject() : NULL;
	if (delta && ((!c->opened && !cJSON_AddStringToObject(delta, "role", "assistant")) ||
	    !cJSON_AddStringToObject(delta, "content", copy))) {
		cJSON_Delete(delta);
		delta = NULL;
	}
	c->opened = 1;
	chunk_send(c, delta, NULL, NULL);
}

static void stream_end(struct chat *c, cJSON *delta, const char *finish, cJSON *answer, cJSON *usage)
{
	if (!c->opened)
		text_send(c, "", 0);
	chunk_send(c, delta, finish, answer);
	if (c->include_usage) {
		cJSON *o = reply_make(c, "chat.completion.chunk");
		int ok = o && cJSON_AddArrayToObject(o, "choices") != NULL;
		if (!add_taken(o, "usage", usage) || !ok) {
			cJSON_Delete(o);
			o = NULL;
		}
		sse_event(c->r, NULL, o);
	} else {
		cJSON_Delete(usage);
	}
	sse_text(c->r, "[DONE]");
}

static void whole_reply(struct chat *c, cJSON *message, const char *finish, cJSON *answer, cJSON *usage)
{
	cJSON *o = choice_put(reply_make(c, "chat.completion"), "message", message, finish);
	int ok = o != NULL;
	if (answer && !add_taken(o, "footnote", answer))
		ok = 0;
	if (!add_taken(o, "usage", usage) || !ok) {
		cJSON_Delete(o);
		o = NULL;
	}
	reply_json(c->r, 200, o);
}

static cJSON *message_make(const char *text, cJSON *annotations)
{
	cJSON *o = cJSON_CreateObject();
	int ok = o && cJSON_AddStringToObject(o, "role", "assistant") && cJSON_AddStringToObject(o, "content", text) &&
		cJSON_AddNullToObject(o, "refusal");
	if (annotations && !add_taken(o, "annotations", annotations))
		ok = 0;
	if (ok)
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* ---- the plain model ---- */

static int on_text(void *ctx, const char *text, size_t len)
{
	struct chat *c = ctx;
	text_send(c, text, len);
	return flag_is(&c->r->cancel);
}

static int plain_params(struct chat *c, const struct generator *g, const struct tokens *prompt, struct gen_params *p, struct err *e)
{
	size_t context = (size_t)generator_info(g)->context;
	gen_params_default(p);
	c->r->param = "messages";
	if (prompt->n + 1 > context)
		return err_set(e, E_USAGE, "messages: %zu tokens do not fit the model's context of %zu", prompt->n, context);
	c->r->param = NULL;
	p->max_tokens = c->max_tokens && (size_t)c->max_tokens < context - prompt->n ? (int)c->max_tokens : (int)(context - prompt->n);
	p->temperature = c->temperature > 0 && c->top_p > 0 ? (float)c->temperature : 0;  /* no mass but the likeliest's: greedy */
	p->top_p = c->top_p > 0 ? (float)c->top_p : 1;
	p->seed = (uint64_t)c->seed;
	p->stops = c->stops;
	return OK;
}

static int plain_run(struct chat *c, struct engine *n, struct err *e)
{
	const struct generator *g = engine_generator(n);
	struct tokens prompt = { 0 };
	struct gen_result result = { 0 };
	struct gen_params p;
	uint64_t deadline = clock_us() + (uint64_t)(c->r->service->conf.answer_deadline_s * 1e6);
	int rc = generator_chat(g, c->messages, c->message_n, 1, &prompt, e);
	if (!rc)
		rc = plain_params(c, g, &prompt, &p, e);
	if (!rc)
		rc = engine_generate(n, prompt.ids, prompt.n, &p, NULL, c->stream ? on_text : NULL, c, &c->r->cancel, deadline, &result, e);
	if (!rc && result.finish == GEN_END_CANCELLED && flag_is(&c->r->cancel))
		rc = err_set(e, E_CANCELLED, "cancelled");
	if (!rc) {
		const char *finish = result.finish == GEN_END_STOP ? "stop" : "length";
		cJSON *usage = usage_make(result.prompt_tokens, result.completion_tokens, result.reused_tokens);
		stat_count("footnote_chat_tokens_total", "kind=\"prompt\"", (double)result.prompt_tokens);
		stat_count("footnote_chat_tokens_total", "kind=\"completion\"", (double)result.completion_tokens);
		if (c->stream)
			stream_end(c, cJSON_CreateObject(), finish, NULL, usage);
		else
			whole_reply(c, message_make(buf_cstr(&result.text), NULL), finish, NULL, usage);
	}
	buf_clear(&result.text);
	tokens_clear(&prompt);
	return rc;
}

/* ---- the documents ---- */

static void send_sentence(void *ctx, const struct answer *a, const char *text, size_t len)
{
	(void)a;
	text_send(ctx, text, len);
}

static cJSON *annotation_make(const struct answer *a, const struct answer_citation *t, size_t start, size_t end)
{
	const struct doc *d = &a->retrieval.passages[t->passage].doc;
	cJSON *o = cJSON_CreateObject(), *u = o ? cJSON_AddObjectToObject(o, "url_citation") : NULL;
	char url[URL_MAX];
	snprintf(url, sizeof url, "/#doc=%s&start=%u&end=%u", d->id, t->start_cp, t->end_cp);
	if (u && cJSON_AddStringToObject(o, "type", "url_citation") && cJSON_AddStringToObject(u, "title", d->title) &&
	    cJSON_AddStringToObject(u, "url", url) && cJSON_AddNumberToObject(u, "start_index", (double)start) &&
	    cJSON_AddNumberToObject(u, "end_index", (double)end))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* One annotation a mark; indices are code points of the answer, where the mark stands. NULL: out of memory. */
static cJSON *annotations_make(const struct answer *a)
{
	cJSON *list = cJSON_CreateArray();
	size_t cp = 0, i = 0;
	while (list && i < a->text_len) {
		size_t from = i, len = 0;
		unsigned n = 0;
		utf8_next(a->text, a->text_len, &i);
		if (a->text[from] == '[')
			for (len = 1; from + len < a->text_len && n < 1000 && a->text[from + len] >= '0' && a->text[from + len] <= '9'; len++)
				n = n * 10 + (unsigned)(a->text[from + len] - '0');
		if (len > 1 && from + len < a->text_len && a->text[from + len] == ']' && n >= 1 && n <= a->citation_n) {
			cJSON *x = annotation_make(a, &a->citations[n - 1], cp, cp + len + 1);
			if (!x || !cJSON_AddItemToArray(list, x)) {
				cJSON_Delete(x);
				cJSON_Delete(list);
				list = NULL;
			}
		}
		cp++;
	}
	return list;
}

static int question_make(struct chat *c, struct answer_request *q, struct err *e)
{
	const struct chat_message *last = &c->messages[c->message_n - 1];
	struct answer_turn *turns = arena_calloc(&c->arena, c->message_n, sizeof *turns);
	if (!turns)
		return err_set(e, E_MEMORY, "out of memory");
	c->r->param = "messages";
	if (strcmp(last->role, "user"))
		return err_set(e, E_USAGE, "messages: the last one must be the user's question");
	for (size_t i = c->message_n > TURNS_MAX ? c->message_n - TURNS_MAX : 0; i + 1 < c->message_n; i++)
		if (strcmp(c->messages[i].role, "system") && c->messages[i].len)
			turns[q->history_n++] = (struct answer_turn){ c->messages[i].role, c->messages[i].text };
	c->r->param = "stop";
	if (c->stops[0])
		return err_set(e, E_UNSUPPORTED, "stop: answers from the documents end by themselves");
	c->r->param = NULL;
	q->history = turns;
	q->question = last->text;
	q->max_tokens = (int)c->max_tokens;
	q->temperature = c->temperature;
	q->seed = (uint64_t)c->seed;
	q->user = c->user;
	q->key_id = c->r->caller.key_id;
	q->traffic = 1;
	return OK;
}

static int documents_run(struct chat *c, struct answer_request *q, struct err *e)
{
	struct answer_sink sink = { .ctx = c, .sentence = send_sentence };
	struct answer a = { 0 };
	int rc = question_make(c, q, e);
	if (!rc)
		rc = answer_run(c->r->service, q, c->stream ? &sink : NULL, &c->arena, &a, e);
	if (rc == E_USAGE && !c->r->param)
		c->r->param = "messages";
	if (rc == E_LIMIT)
		c->r->retry_after = 5;
	if (!rc) {
		const char *finish = a.status == ANSWER_PARTIAL ? "length" : "stop";
		cJSON *usage = usage_make(a.prompt_tokens, a.completion_tokens, a.reused_tokens), *annotations = annotations_make(&a);
		if (c->stream) {
			cJSON *delta = cJSON_CreateObject();
			if (!add_taken(delta, "annotations", annotations)) {
				cJSON_Delete(delta);
				delta = NULL;
			}
			stream_end(c, delta, finish, view_answer(&a), usage);
		} else {
			whole_reply(c, message_make(a.text, annotations), finish, view_answer(&a), usage);
		}
	}
	answer_close(&a);
	return rc;
}

/* The model by its name: *n NULL for "footnote". */
static int model_choose(struct chat *c, struct engine **n, struct err *e)
{
	const char *why;
	int rc;
	*n = NULL;
	if (!strcmp(c->model, "footnote"))
		return OK;
	c->r->param = "model";
	if ((rc = service_engine(c->r->service, n, &why, e)))
		return rc;
	if (*n && !strcmp(c->model, generator_info(engine_generator(*n))->name)) {
		c->r->param = NULL;
		return OK;
	}
	return err_set(e, E_NOT_FOUND, "model %.80s: not served here%s%s; GET /v1/models lists what is", c->model,
		*n ? "" : ": ", *n ? "" : why);
}

int chat_completions_post(struct request *r, struct err *e)
{
	struct chat c = { .r = r, .temperature = -1, .top_p = 1 };
	struct answer_request q = { .cancel = &r->cancel };
	struct engine *n;
	cJSON *o = NULL;
	int rc = body_json(r, &o, e);
	arena_init(&c.arena, CHAT_ARENA);
	snprintf(c.id, sizeof c.id, "chatcmpl-%s", r->id);
	c.created = (double)(clock_wall_ms() / 1000);
	if (!rc)
		rc = chat_read(&c, o, e);
	if (!rc)
		rc = model_choose(&c, &n, e);
	if (!rc && n)
		rc = plain_run(&c, n, e);
	else if (!rc)
		rc = request_reader(r, o, r->service->conf.collection, &q.reader, e);
	if (!rc && !n)
		rc = documents_run(&c, &q, e);
	arena_clear(&c.arena);
	cJSON_Delete(o);
	return rc;
}
