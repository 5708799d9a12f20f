/* usage.c: owns the daily sums (usage.h): notes of kind "usage", one a day and key, so that months of them are a few
 * kilobytes. Threads: rows are written by one (remember.c), read by any. Failure: err. */
#include "api/usage.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "api/view.h"
#include "base/clock.h"

#define KIND "usage"
enum { DAY = 10, PAGE = 256, ARENA_BYTES = 16 << 20, ROW_BYTES_MAX = 4096 };

static const struct { const char *name; size_t off; } fields[] = {
	{ "answers", offsetof(struct usage, answers) }, { "abstained", offsetof(struct usage, abstained) },
	{ "cached", offsetof(struct usage, cached) }, { "prompt_tokens", offsetof(struct usage, prompt_tokens) },
	{ "completion_tokens", offsetof(struct usage, completion_tokens) },
	{ "reused_tokens", offsetof(struct usage, reused_tokens) }, { "ms", offsetof(struct usage, ms) },
	{ "cost", offsetof(struct usage, cost) },
};
enum { FIELDS = sizeof fields / sizeof *fields };

static double *field(struct usage *u, size_t i)
{
	return (double *)(void *)((char *)u + fields[i].off);
}

void usage_name(char out[USAGE_NAME], int64_t wall_ms, const char *key_id)
{
	char day[CLOCK_TEXT_LEN];
	clock_text(day, wall_ms);
	snprintf(out, USAGE_NAME, "%.10s %.40s", day, key_id ? key_id : "-");
}

void usage_add(struct usage *to, const struct usage *u)
{
	struct usage from = *u;
	for (size_t i = 0; i < FIELDS; i++) *field(to, i) += *field(&from, i);
}

double usage_cost(const struct conf *c, double prompt_tokens, double completion_tokens, double ms)
{
	return prompt_tokens / 1000 * c->price_prompt + completion_tokens / 1000 * c->price_completion + ms / 3.6e6 * c->price_hour;
}

static int fields_put(cJSON *o, const struct usage *u)
{
	struct usage from = *u;
	int ok = o != NULL;
	for (size_t i = 0; ok && i < FIELDS; i++) ok = cJSON_AddNumberToObject(o, fields[i].name, *field(&from, i)) != NULL;
	return ok;
}

static int row_read(const struct note *n, struct usage *out, struct err *e)
{
	cJSON *o = NULL;
	int rc = json_parse(&o, n->json, n->len, ROW_BYTES_MAX, "usage", e);
	memset(out, 0, sizeof *out);
	for (size_t i = 0; !rc && i < FIELDS; i++) *field(out, i) = json_num(o, fields[i].name, 0);
	cJSON_Delete(o);
	return rc;
}

static int row_write(struct snapshot *s, struct write *w, const struct usage_row *row, struct arena *a, struct err *e)
{
	struct usage sum = { 0 };
	struct note n;
	int rc = snapshot_note(s, KIND, row->name, a, &n, e);
	if (!rc) rc = row_read(&n, &sum, e);
	if (rc == E_NOT_FOUND || rc == E_FORMAT) rc = OK;
	if (rc) return rc;
	usage_add(&sum, &row->sum);
	cJSON *o = cJSON_CreateObject();
	char *text = fields_put(o, &sum) ? cJSON_PrintUnformatted(o) : NULL;
	rc = text ? index_note_put(w, KIND, row->name, text, strlen(text), e) : err_set(e, E_MEMORY, "usage: out of memory");
	cJSON_free(text);
	cJSON_Delete(o);
	return rc;
}

int usage_write(struct service *s, struct write *w, const struct usage_row *rows, size_t n, struct err *e)
{
	struct snapshot *snap;
	struct arena a;
	int rc = n ? snapshot_open(&snap, s->index, e) : OK;
	if (rc || !n) return rc;
	arena_init(&a, ARENA_BYTES);
	for (size_t i = 0; !rc && i < n; i++) rc = row_write(snap, w, &rows[i], &a, e);
	snapshot_close(snap);
	arena_clear(&a);
	return rc;
}

/* ---- reading ---- */

static int day_check(const char *day, const char *what, struct err *e)
{
	int64_t ms;
	int whole = 0;
	if (!day || (clock_read(day, &ms, &whole) && whole)) return OK;
	return err_set(e, E_USAGE, "%s: must be a day like 2026-12-31", what);
}

static int row_view(cJSON *list, const struct note *n, struct usage *total, struct err *e)
{
	struct usage u;
	char day[DAY + 1];
	int rc = row_read(n, &u, e);
	if (rc || strlen(n->name) < DAY + 2) return rc;
	snprintf(day, sizeof day, "%.*s", DAY, n->name);
	usage_add(total, &u);
	const char *key = n->name + DAY + 1;
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "day", day) &&
		(strcmp(key, "-") ? cJSON_AddStringToObject(o, "key", key) : cJSON_AddNullToObject(o, "key")) && fields_put(o, &u) &&
		cJSON_AddItemToArray(list, o)) return OK;
	cJSON_Delete(o);
	return err_set(e, E_MEMORY, "usage: out of memory");
}

int usage_view(struct service *s, const char *from, const char *to, cJSON **out, struct err *e)
{
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "usage") : NULL;
	struct usage total = { 0 };
	struct note page[PAGE];
	struct snapshot *snap = NULL;
	struct arena a;
	const char *after = from ? from : "";   /* a day alone comes before all its rows */
	size_t got = PAGE;
	int rc = day_check(from, "from", e);
	arena_init(&a, ARENA_BYTES);
	if (!rc) rc = day_check(to, "to", e);
	if (!rc) rc = list ? snapshot_open(&snap, s->index, e) : err_set(e, E_MEMORY, "usage: out of memory");
	while (!rc && got == PAGE) {
		rc = snapshot_notes(snap, KIND, after, PAGE, &a, page, &got, e);
		for (size_t i = 0; !rc && i < got; i++) {
			after = page[i].name;
			if (to && strncmp(after, to, DAY) > 0) got = 0;
			else rc = row_view(list, &page[i], &total, e);
		}
	}
	snapshot_close(snap);
	arena_clear(&a);
	cJSON *sum = rc ? NULL : cJSON_AddObjectToObject(o, "total");
	if (!rc && !fields_put(sum, &total)) rc = err_set(e, E_MEMORY, "usage: out of memory");
	if (rc) cJSON_Delete(o);
	*out = rc ? NULL : o;
	return rc;
}

int usage_day(struct service *s, int64_t wall_ms, struct usage *out, struct err *e)
{
	char day[CLOCK_TEXT_LEN];
	cJSON *o;
	clock_text(day, wall_ms);
	day[DAY] = 0;
	memset(out, 0, sizeof *out);
	int rc = usage_view(s, day, day, &o, e);
	for (size_t i = 0; !rc && i < FIELDS; i++) *field(out, i) = json_num(json_get(o, "total"), fields[i].name, 0);
	if (!rc) cJSON_Delete(o);
	return rc;
}
