/* problems.c: owns the list of what went wrong in a sync. Threads: the caller's lock. Failure: a text for which there is
 * no memory is "". */
#include "api/problems.h"
#include <string.h>
#include "api/screen.h"
#include "base/file.h"
#include "base/utf8.h"

enum { TEXT_BYTES = 1000 };

static const char *kept_text(struct arena *a, const char *text)
{
	const char *out;
	struct buf b;
	if (utf8_valid(text, strlen(text)))
		return (out = arena_strndup(a, text, utf8_floor(text, strlen(text), TEXT_BYTES))) ? out : "";
	buf_init(&b, 1 << 16);
	screen_text(&b, text, strlen(text));
	out = arena_strndup(a, buf_cstr(&b), utf8_floor(buf_cstr(&b), b.len, TEXT_BYTES));
	buf_clear(&b);
	return out ? out : "";
}

void problems_add(struct problems *p, struct arena *a, const struct ingest_event *ev)
{
	if (p->n == PROBLEMS_MAX)
		p->left_out++;
	else
		p->at[p->n++] = (struct problem){ kept_text(a, ev->source), kept_text(a, ev->reason), ev->verdict };
}

void problems_forget(struct problems *p, const struct ingest_part *docs, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < p->n; i++) {
		int named = 0;
		for (size_t k = 0; k < n && !named; k++)
			named = path_is_named(p->at[i].source, docs[k].source) || path_is_named(p->at[i].reason, docs[k].source);
		if (!named)
			p->at[kept++] = p->at[i];
	}
	p->n = kept;
}

int problems_put(cJSON *o, const struct problems *p)
{
	cJSON *list = cJSON_AddArrayToObject(o, "problems");
	int ok = list != NULL;
	for (size_t i = 0; ok && i < p->n; i++) {
		cJSON *x = cJSON_CreateObject();
		ok = x && cJSON_AddItemToArray(list, x);
		if (!ok)
			cJSON_Delete(x);
		ok = ok && cJSON_AddStringToObject(x, "source", p->at[i].source) &&
			cJSON_AddStringToObject(x, "verdict", doc_verdict_name(p->at[i].verdict)) &&
			cJSON_AddStringToObject(x, "reason", p->at[i].reason);
	}
	return ok && cJSON_AddNumberToObject(o, "problems_left_out", (double)p->left_out);
}
