/* ask.c: owns the reading of a question's fields (ask.h).
 *
 * Method: field by field; the first mistake ends it and names its field, so that HTTP and batches tell it the same way.
 * Threads: no state. Failure: *q is then of no use; nothing stays open. */
#include "api/ask.h"
#include <string.h>
#include "api/auth.h"

enum { HISTORY_MAX = 64, PASSAGES_MAX = 100, GROUPS_MAX = 256, USER_BYTES_MAX = 256 };
static const double SEED_MAX = 9007199254740991.0;   /* 2^53 - 1: what a JSON number carries exactly */

int ask_history(const cJSON *list, struct arena *a, struct answer_request *q, struct err *e)
{
	const cJSON *item;
	struct answer_turn *turns;
	size_t n = 0;
	if (!list) return OK;
	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > HISTORY_MAX)
		return err_set(e, E_USAGE, "history: must be an array of at most %d turns", HISTORY_MAX);
	turns = arena_calloc(a, (size_t)cJSON_GetArraySize(list) + 1, sizeof *turns);
	if (!turns) return err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(item, list) {
		const char *role = json_str(item, "role", NULL), *text = json_str(item, "content", NULL);
		if (!cJSON_IsObject(item) || !role || !text || (strcmp(role, "user") && strcmp(role, "assistant")))
			return err_set(e, E_USAGE, "history[%zu]: must be {\"role\":\"user\" or \"assistant\",\"content\":text}", n);
		turns[n++] = (struct answer_turn){ role, text };
	}
	q->history = turns;
	q->history_n = n;
	return OK;
}

int ask_style(const cJSON *o, enum answer_style *out, int *given, struct err *e)
{
	const char *style = NULL;
	int rc = json_get_text(o, "style", &style, e);
	if (rc || !style) return rc;
	*given = 1;
	if (strcmp(style, "generate") && strcmp(style, "extractive"))
		return err_set(e, E_USAGE, "style: %.40s is not one of generate, extractive", style);
	*out = *style == 'e' ? STYLE_EXTRACTIVE : STYLE_GENERATE;
	return OK;
}

static int prompt_read(struct service *s, const cJSON *o, struct answer_request *q, struct err *e)
{
	const struct prompt_template *t;
	int rc = json_get_text(o, "prompt", &q->prompt, e);
	return rc || !q->prompt ? rc : prompts_find_for(s->prompts, "answer", q->prompt, &t, e);
}

static int user_read(const cJSON *o, struct answer_request *q, struct err *e)
{
	int rc = json_get_text(o, "user", &q->user, e);
	if (rc || !q->user || strlen(q->user) <= USER_BYTES_MAX) return rc;
	return err_set(e, E_USAGE, "user: longer than %d bytes", USER_BYTES_MAX);
}

int ask_read(struct service *s, const cJSON *o, struct arena *a, struct answer_request *q, const char **param, struct err *e)
{
	int64_t k = 0, max_tokens = 0, seed = 0;
	int rc;
	*q = (struct answer_request){ .temperature = -1 };
	rc = json_get_text(o, *param = "question", &q->question, e);
	if (!rc && !q->question) rc = err_set(e, E_USAGE, "question: missing");
	if (!rc) rc = json_get_int(o, *param = "k", 1, PASSAGES_MAX, &k, e);
	if (!rc) rc = json_get_int(o, *param = "max_tokens", 1, s->conf.generate_context, &max_tokens, e);
	if (!rc) rc = json_get_int(o, *param = "seed", 0, (int64_t)SEED_MAX, &seed, e);
	if (!rc) rc = json_get_num(o, *param = "temperature", 0, 2, &q->temperature, e);
	if (!rc) rc = json_get_bool(o, *param = "explain", &q->explain, e);
	if (!rc) *param = "style", rc = ask_style(o, &q->style, &q->style_given, e);
	if (!rc) *param = "prompt", rc = prompt_read(s, o, q, e);
	if (!rc) *param = "user", rc = user_read(o, q, e);
	if (!rc) *param = "history", rc = ask_history(json_get(o, "history"), a, q, e);
	if (rc) return rc;
	*param = NULL;
	q->k = (int)k;
	q->max_tokens = (int)max_tokens;
	q->seed = (uint64_t)seed;
	return OK;
}

int ask_filter(const struct conf *c, const cJSON *o, const char *absent, struct reader *r, struct filter **keep, struct err *e)
{
	const char *text = absent;
	int rc = json_get_text(o, "filter", &text, e);
	*keep = NULL;
	if (!rc && text && *text) rc = filter_parse(keep, text, strlen(text), (size_t)c->search_filter_bytes, e);
	r->filter = *keep;
	return rc;
}

int ask_narrow(const cJSON *o, const char *absent, struct reader *r, struct arena *a, struct err *e)
{
	const cJSON *v = json_get(o, "as");
	const char *text = cJSON_IsString(v) ? v->valuestring : v ? NULL : absent, **list = NULL;
	const char *const *as;
	size_t n = 0;
	if (!v && !text) return OK;
	if (text && groups_split(text, a, &as, &n, e)) return err_wrap(e, "as");
	if (!text && json_get_texts(o, "as", GROUPS_MAX, a, &list, &n, e)) return e->status;
	return reader_narrow(r, text ? as : list, n, a, e);
}

int ask_collection_check(const char *name, struct err *e)
{
	static const char sane[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strlen(name);
	if (n >= 1 && n <= 64 && strspn(name, sane) == n) return OK;
	return err_set(e, E_USAGE, "collection: must be 1 to 64 of A-Z a-z 0-9 . _ -");
}
