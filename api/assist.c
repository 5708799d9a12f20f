/* assist.c: agent assist (assist.h).
 *
 *   thread -> what the customer asks -> answer_run with the thread as history and the template of replies
 *                                    -> next_questions from its passages
 *          -> retrieve among tickets (assist.tickets) -> similar
 *
 * The reply is an answer as any other: nothing uncited is in it. Greeting and closing come from the settings, never from
 * the model, and stand beside it. Tickets are left out of what the reply is written from: what was done for one customer
 * is no rule of the house, and may be nobody else's business.
 * Threads: any. Failure: as answer_run's. */
#include "api/assist.h"
#include <string.h>
#include "api/ask.h"
#include "api/gaps.h"
#include "api/nextask.h"
#include "api/view.h"
#include "base/sentence.h"
#include "base/utf8.h"

enum { MESSAGES_MAX = 256, HISTORY_MAX = 64, SENTENCES = 64, WORDS_LEAST = 3, QUESTION_CHARS = 400 };

/* ---- what is asked ---- */

static int asks(const char *s, size_t len)
{
	size_t at = len;
	int32_t cp = at ? utf8_prev(s, &at) : 0;
	while (at && (cp == ' ' || cp == ')' || cp == '"' || cp == '!')) cp = utf8_prev(s, &at);
	return cp == '?' || cp == 0xff1f || cp == 0x61f || cp == 0x37e;
}

/* Words by blanks; a greeting has few. Text without blanks counts by its length. */
static size_t words_about(const char *s, size_t len)
{
	size_t n = len > 0;
	for (size_t i = 1; i < len; i++) n += s[i - 1] == ' ' && s[i] != ' ';
	return n == 1 ? len / 6 : n;
}

static char *sentence_join(char *text, const char *s, size_t len, struct arena *a)
{
	return text ? arena_printf(a, "%s%s%.*s", text, *text ? " " : "", (int)len, s) : NULL;
}

const char *assist_question(const char *message, size_t chars_max, struct arena *a)
{
	struct { size_t from, to; int asks, take; } s[SENTENCES];
	size_t len = strlen(message), at = 0, n = 0, any = 0, from, to;
	char *text = arena_strdup(a, "");
	while (n < SENTENCES && sentence_next(message, len, &at, &from, &to)) {
		s[n].from = from;
		s[n].to = to;
		s[n].asks = asks(message + from, to - from);
		s[n].take = s[n].asks && words_about(message + from, to - from) >= 2;
		any |= (size_t)s[n].take;
		n++;
	}
	for (size_t i = 0; i < n; i++) {
		int next = any ? i + 1 < n && s[i + 1].asks && s[i + 1].take : 1;
		if (!s[i].asks && next && words_about(message + s[i].from, s[i].to - s[i].from) >= WORDS_LEAST) s[i].take = 1;
	}
	for (size_t i = 0; i < n; i++)
		if (s[i].take) text = sentence_join(text, message + s[i].from, s[i].to - s[i].from, a);
	if (text && !*text) text = arena_strdup(a, message);
	if (!text) return NULL;
	size_t chars = utf8_count(text, strlen(text)), most = chars_max < QUESTION_CHARS ? chars_max : QUESTION_CHARS;
	return chars <= most ? text : text + utf8_offset(text, strlen(text), chars - most); /* the question comes last */
}

/* ---- the request ---- */

static int message_read(const cJSON *x, size_t i, struct assist_message *out, struct err *e)
{
	const char *role = json_str(x, "role", NULL), *text = json_str(x, "text", NULL);
	if (!cJSON_IsObject(x) || !role || !text || (strcmp(role, "customer") && strcmp(role, "agent")))
		return err_set(e, E_USAGE, "messages[%zu]: must be {\"role\":\"customer\" or \"agent\",\"text\":text}", i);
	*out = (struct assist_message){ *role == 'c', text };
	return OK;
}

static int messages_read(const cJSON *o, struct arena *a, struct assist_request *q, struct err *e)
{
	const cJSON *list = json_get(o, "messages"), *x;
	struct assist_message *m;
	int rc = OK, customer = 0;
	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) < 1 || cJSON_GetArraySize(list) > MESSAGES_MAX)
		return err_set(e, E_USAGE, "messages: must be an array of 1 to %d messages", MESSAGES_MAX);
	if (!(m = arena_calloc(a, (size_t)cJSON_GetArraySize(list), sizeof *m))) return err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(x, list) {
		if (!rc) rc = message_read(x, q->n, &m[q->n], e);
		if (!rc) customer |= m[q->n++].customer;
	}
	q->messages = m;
	if (rc || customer) return rc;
	return err_set(e, E_USAGE, "messages: none is the customer's");
}

static int tone_read(const struct service *s, const cJSON *o, struct assist_request *q, struct err *e)
{
	int rc = json_get_text(o, "tone", &q->tone, e);
	if (rc || !q->tone) return rc;
	if (utf8_count(q->tone, strlen(q->tone)) > (size_t)s->conf.assist_tone_chars)
		return err_set(e, E_USAGE, "tone: longer than assist.tone_chars_max (%d)", s->conf.assist_tone_chars);
	for (const char *c = q->tone; *c; c++)
		if ((unsigned char)*c < ' ') return err_set(e, E_USAGE, "tone: must be one line");
	return OK;
}

int assist_read(const struct service *s, const cJSON *o, struct arena *a, struct assist_request *q, const char **param, struct err *e)
{
	*q = (struct assist_request){ 0 };
	*param = "messages";
	int rc = messages_read(o, a, q, e);
	if (!rc) *param = "tone", rc = tone_read(s, o, q, e);
	if (!rc) *param = "style", rc = ask_style(o, &q->style, &q->style_given, e);
	if (!rc) *param = NULL;
	return rc;
}

/* The text that assist.tones ("NAME: TEXT; NAME: TEXT") has under this name; else the name is the text itself. */
static const char *tone_text(const struct conf *c, const char *tone, struct arena *a)
{
	if (!tone) tone = c->assist_tone;
	for (const char *at = c->assist_tones; *at;) {
		const char *end = strchrnul(at, ';'), *colon = memchr(at, ':', (size_t)(end - at));
		while (*at == ' ') at++;
		if (colon && (size_t)(colon - at) == strlen(tone) && memcmp(at, tone, strlen(tone)) == 0) {
			for (colon++; colon < end && *colon == ' ';) colon++;
			return arena_strndup(a, colon, (size_t)(end - colon));
		}
		at = *end ? end + 1 : end;
	}
	return tone;
}

/* ---- the run ---- */

/* The reader's filter and another together; "" of either is none. */
static int filter_join(const struct conf *c, const struct reader *r, const char *also, int inverted, struct arena *a,
	struct filter **out, struct err *e)
{
	const char *own = r->filter ? filter_text(r->filter) : NULL;
	const char *text = !*also ? own : arena_printf(a, own ? "%s(%s) and (%s)" : "%s(%s)", inverted ? "not " : "", also, own);
	*out = NULL;
	if (*also && !text) return err_set(e, E_MEMORY, "assist: out of memory");
	return text ? filter_parse(out, text, strlen(text), 2 * (size_t)c->search_filter_bytes + sizeof c->assist_tickets + 16, e) : OK;
}

static int reply_make(struct service *s, const struct assist_request *q, size_t last, const char *question, const struct answer_sink *sink,
	struct arena *a, struct assist *out, struct err *e)
{
	size_t from = last > HISTORY_MAX ? last - HISTORY_MAX : 0;
	struct answer_turn *turns = arena_calloc(a, last - from + 1, sizeof *turns);
	struct answer_request r = { .reader = q->reader, .question = question, .style = q->style, .style_given = q->style_given,
		.prompt = s->conf.assist_prompt, .tone = out->tone, .temperature = -1, .key_id = q->key_id, .cancel = q->cancel };
	struct filter *filter;
	if (!turns) return err_set(e, E_MEMORY, "assist: out of memory");
	for (size_t i = from; i < last; i++)
		turns[r.history_n++] = (struct answer_turn){ q->messages[i].customer ? "user" : "assistant", q->messages[i].text };
	r.history = turns;
	int rc = filter_join(&s->conf, &q->reader, s->conf.assist_tickets, 1, a, &filter, e);
	if (rc) return err_wrap(e, "assist.tickets");
	r.reader.filter = filter;
	rc = answer_run(s, &r, sink, a, &out->reply, e);
	if (!rc) gaps_note(s, &r, &out->reply);
	filter_free(filter);
	return rc;
}

/* Tickets near to what is asked. */
static int similar_find(struct service *s, const struct assist_request *q, const char *question, struct arena *a, struct assist *out, struct err *e)
{
	const struct search_want want = { .mode = SEARCH_HYBRID, .k = (size_t)s->conf.assist_similar, .by_document = 1 };
	struct assist_request own = *q;
	struct filter *filter;
	size_t kept = 0;
	if (!*s->conf.assist_tickets || !want.k) return OK;
	int rc = filter_join(&s->conf, &q->reader, s->conf.assist_tickets, 0, a, &filter, e);
	own.reader.filter = filter;
	if (!rc) rc = retrieve(s, &own.reader, question, strlen(question), &want, a, &out->similar, e);
	for (size_t i = 0; !rc && i < out->similar.n; i++)
		if (out->similar.passages[i].cosine >= s->conf.assist_similarity) out->similar.passages[kept++] = out->similar.passages[i];
	out->similar.n = kept;
	filter_free(filter);
	return rc;
}

static const char *thread_text(const struct assist_request *q, struct arena *a)
{
	struct buf b;
	buf_init(&b, 4 << 20);
	for (size_t i = 0; i < q->n; i++) {
		(void)buf_puts(&b, q->messages[i].text);
		(void)buf_putc(&b, '\n');
	}
	const char *text = buf_failed(&b) ? NULL : arena_strndup(a, buf_cstr(&b), b.len);
	buf_clear(&b);
	return text;
}

int assist_run(struct service *s, const struct assist_request *q, const struct answer_sink *sink, struct arena *a, struct assist *out, struct err *e)
{
	const char *question, *thread = thread_text(q, a);
	size_t last = q->n;
	memset(out, 0, sizeof *out);
	out->tone = tone_text(&s->conf, q->tone, a);
	out->greeting = s->conf.assist_greeting;
	out->closing = s->conf.assist_closing;
	while (last > 0 && !q->messages[last - 1].customer) last--;
	if (last == 0) return err_set(e, E_USAGE, "messages: none is the customer's");
	last--;
	question = assist_question(q->messages[last].text, (size_t)s->conf.question_chars_max, a);
	if (!thread || !out->tone || !question) return err_set(e, E_MEMORY, "assist: out of memory");
	int rc = query_check(question, strlen(question), "the customer's message", e);
	if (!rc) rc = reply_make(s, q, last, question, sink, a, out, e);
	if (!rc) rc = next_questions(&out->reply, thread, s->conf.assist_ask_about, (size_t)s->conf.assist_questions, a, &out->next, &out->next_n, e);
	if (!rc) rc = similar_find(s, q, question, a, out, e);
	return rc;
}

void assist_close(struct assist *x)
{
	answer_close(&x->reply);
	retrieve_close(&x->similar);
}

cJSON *assist_view(const struct assist *x)
{
	cJSON *o = cJSON_CreateObject(), *reply = o ? view_answer(&x->reply) : NULL, *list;
	int ok = reply && cJSON_AddItemToObject(o, "reply", reply);
	if (!ok) cJSON_Delete(reply);
	ok = ok && cJSON_AddStringToObject(o, "greeting", x->greeting) && cJSON_AddStringToObject(o, "closing", x->closing) &&
		cJSON_AddStringToObject(o, "tone", x->tone) && view_put_list(o, "next_questions", x->next, x->next_n) &&
		(list = cJSON_AddArrayToObject(o, "similar"));
	for (size_t i = 0; ok && i < x->similar.n; i++) {
		cJSON *hit = view_hit(&x->similar.passages[i], 1, 0);
		ok = hit && cJSON_AddItemToArray(list, hit);
		if (!ok) cJSON_Delete(hit);
	}
	if (ok) return o;
	cJSON_Delete(o);
	return NULL;
}
