/* feedback.c: owns ratings of answers (feedback.h). A rating, its counts and the question that came with it are one commit.
 * Threads: any; the store has one writer. Failure: err; nothing is stored by half. */
#include "api/feedback.h"
#include <stdio.h>
#include <string.h>
#include "api/answerrecord.h"
#include "api/experiment.h"
#include "api/gaps.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/stat.h"

#define KIND "feedback"
#define COUNTS "feedback_count"
enum { PAGE = 256, ARENA_BYTES = 256 << 20, ROW_BYTES_MAX = 1 << 20, COUNTS_MAX = 4096 };

static int memory_out(struct err *e)
{
	return err_set(e, E_MEMORY, "feedback: out of memory");
}

static int put_text(cJSON *o, const char *key, const char *s)
{
	return !s || cJSON_AddStringToObject(o, key, s);
}

/* ---- one rating ---- */

static int citation_check(const cJSON *record, int n, struct err *e)
{
	int have = cJSON_GetArraySize(json_get(json_get(record, "answer"), "citations"));
	return n <= have ? OK : err_set(e, E_USAGE, "citation: the answer has %d", have);
}

/* What the counts are by: prompt, model and arm of the record. */
static int made_put(cJSON *o, const cJSON *record)
{
	const cJSON *answer = json_get(record, "answer"), *prompt = json_get(answer, "prompt"), *arm = json_get(answer, "experiment");
	return cJSON_AddStringToObject(o, "prompt", json_str(prompt, "name", "")) &&
		cJSON_AddNumberToObject(o, "version", json_num(prompt, "version", 0)) &&
		cJSON_AddStringToObject(o, "model", json_str(answer, "model", "")) &&
		cJSON_AddStringToObject(o, "experiment", json_str(arm, "name", "")) && cJSON_AddStringToObject(o, "arm", json_str(arm, "arm", ""));
}

static cJSON *rating_make(const char *id, const cJSON *record, const struct feedback *f)
{
	const char *question = f->question ? f->question : json_str(record, "question", NULL);
	cJSON *o = cJSON_CreateObject(), *of = cJSON_Duplicate(json_get(record, "of_documents"), 1);
	if (o && of && cJSON_AddItemToObject(o, "of_documents", of)) {
		if (cJSON_AddStringToObject(o, "answer_id", id) && cJSON_AddNumberToObject(o, "rating", f->rating) &&
			view_put_time(o, "created", clock_wall_ms()) && put_text(o, "by", f->key_id) && put_text(o, "comment", f->comment) &&
			(!f->citation || cJSON_AddNumberToObject(o, "citation", f->citation)) && put_text(o, "question", question) &&
			put_text(o, "expected", f->expected) && (f->answerable < 0 || cJSON_AddBoolToObject(o, "answerable", f->answerable)) &&
			put_text(o, "status", json_str(json_get(record, "answer"), "status", "")) && made_put(o, record)) return o;
	} else {
		cJSON_Delete(of);
	}
	cJSON_Delete(o);
	return NULL;
}

static int note_json(struct snapshot *s, const char *kind, const char *name, struct arena *a, cJSON **out, struct err *e)
{
	struct note n;
	int rc = snapshot_note(s, kind, name, a, &n, e);
	*out = NULL;
	if (!rc) rc = json_parse(out, n.json, n.len, ROW_BYTES_MAX, kind, e);
	return rc == E_NOT_FOUND ? OK : rc;
}

static int json_put(struct write *w, const char *kind, const char *name, const cJSON *o, struct err *e)
{
	char *text = cJSON_PrintUnformatted(o);
	int rc = text ? index_note_put(w, kind, name, text, strlen(text), e) : memory_out(e);
	cJSON_free(text);
	return rc;
}

/* Adds to the counts of what made an answer, those of answers or those of citations; named by a hash, since models' names are
 * long. */
static int count_write(struct snapshot *s, struct write *w, const cJSON *rating, int up, int down, struct arena *a, struct err *e)
{
	static const char *const fields[] = { "up", "down", "citations_up", "citations_down" };
	size_t first = json_get(rating, "citation") ? 2 : 0;
	double had[4];
	char key[600], name[33];
	uint8_t hash[32];
	cJSON *o;
	snprintf(key, sizeof key, "%.64s@%d|%.200s|%.100s|%.100s", json_str(rating, "prompt", ""), (int)json_num(rating, "version", 0),
		json_str(rating, "model", ""), json_str(rating, "experiment", ""), json_str(rating, "arm", ""));
	sha256_of(key, strlen(key), hash);
	hex_put(name, hash, 16);
	int rc = note_json(s, COUNTS, name, a, &o, e);
	if (rc) return rc;
	for (size_t i = 0; i < 4; i++) had[i] = json_num(o, fields[i], 0);
	had[first] += up;
	had[first + 1] += down;
	cJSON_Delete(o);
	o = cJSON_CreateObject();
	int ok = o && cJSON_AddStringToObject(o, "prompt", json_str(rating, "prompt", "")) &&
		cJSON_AddNumberToObject(o, "version", json_num(rating, "version", 0)) &&
		cJSON_AddStringToObject(o, "model", json_str(rating, "model", "")) &&
		cJSON_AddStringToObject(o, "experiment", json_str(rating, "experiment", "")) &&
		cJSON_AddStringToObject(o, "arm", json_str(rating, "arm", ""));
	for (size_t i = 0; ok && i < 4; i++) ok = cJSON_AddNumberToObject(o, fields[i], had[i]) != NULL;
	rc = ok ? json_put(w, COUNTS, name, o, e) : memory_out(e);
	cJSON_Delete(o);
	return rc;
}

/* In the write, whose state s shows. *change: what the rating adds to what the same key had said, 0 when nothing. */
static int rating_write(struct snapshot *s, struct write *w, const char *name, const cJSON *rating, int *was, struct err *e)
{
	struct arena a;
	cJSON *old = NULL;
	int is = (int)json_num(rating, "rating", 0);
	arena_init(&a, ARENA_BYTES);
	int rc = note_json(s, KIND, name, &a, &old, e);
	*was = (int)json_num(old, "rating", 0);
	cJSON_Delete(old);
	if (!rc) rc = json_put(w, KIND, name, rating, e);
	if (!rc && *was != is) rc = count_write(s, w, rating, (is > 0) - (*was > 0), (is < 0) - (*was < 0), &a, e);
	arena_clear(&a);
	return rc;
}

int feedback_put(struct service *s, const char *id, const cJSON *record, const struct feedback *f, struct err *e)
{
	char name[160], about[16] = "", labels[160];
	struct snapshot *snap;
	struct write *w;
	int was = 0, rc = citation_check(record, f->citation, e);
	cJSON *o = rc ? NULL : rating_make(id, record, f);
	if (!rc && !o) rc = memory_out(e);
	if (f->citation) snprintf(about, sizeof about, " %d", f->citation);
	snprintf(name, sizeof name, "%.60s %.60s%s", id, f->key_id ? f->key_id : "-", about);
	if (!rc) rc = index_write_begin(&w, s->index, e);
	if (!rc) {
		rc = snapshot_open(&snap, s->index, e);
		if (!rc) {
			rc = rating_write(snap, w, name, o, &was, e);
			snapshot_close(snap);
		}
		if (!rc) rc = index_write_commit(w, e);
		else index_write_abort(w);
	}
	if (!rc && !f->citation && f->rating < 0 && was >= 0) gaps_disliked(s, record, f->question);
	if (!rc && was != f->rating) {
		snprintf(labels, sizeof labels, "rating=\"%s\",prompt=\"%.60s@%d\"", f->rating > 0 ? "up" : "down", json_str(o, "prompt", ""),
			(int)json_num(o, "version", 0));
		stat_count(f->citation ? "footnote_feedback_citations_total" : "footnote_feedback_total", labels, 1);
		if (!f->citation) experiments_rate(s->experiments, json_str(o, "experiment", ""), json_str(o, "arm", ""), was, f->rating);
	}
	cJSON_Delete(o);
	return rc;
}

/* ---- all of them ---- */

typedef int (*each_fn)(void *ctx, const char *name, cJSON *o, struct err *e);

/* May they see the documents of the answer that o is about? c NULL: it is about none. */
static int is_shown(struct snapshot *s, const struct caller *c, const cJSON *o)
{
	struct reader reader;
	const cJSON *x;
	struct arena a;
	int all = 1;
	if (!c) return 1;
	caller_reader(c, NULL, &reader);
	arena_init(&a, ARENA_BYTES);
	cJSON_ArrayForEach(x, json_get(o, "of_documents")) {
		struct doc d;
		all = all && !snapshot_doc(s, &reader, json_str(x, "id", ""), &a, &d, NULL);
	}
	arena_clear(&a);
	return all;
}

/* Every note of a kind behind `after`, at most limit, as far as it is shown to c. */
static int each(struct service *s, const char *kind, const struct caller *c, const char *after, size_t limit, each_fn fn, void *ctx, struct err *e)
{
	struct snapshot *snap;
	struct note page[PAGE];
	struct arena a;
	char at[256];
	size_t got = 1;
	int rc = snapshot_open(&snap, s->index, e);
	if (rc) return rc;
	arena_init(&a, ARENA_BYTES);
	snprintf(at, sizeof at, "%s", after);
	while (!rc && limit && got) {
		rc = snapshot_notes(snap, kind, at, PAGE, &a, page, &got, e);
		for (size_t i = 0; !rc && limit && i < got; i++) {
			cJSON *o = NULL;
			snprintf(at, sizeof at, "%s", page[i].name);
			rc = json_parse(&o, page[i].json, page[i].len, ROW_BYTES_MAX, kind, e);
			if (!rc && is_shown(snap, c, o)) rc = fn(ctx, at, o, e), limit--;
			cJSON_Delete(o);
		}
		arena_clear(&a);
	}
	snapshot_close(snap);
	return rc;
}

struct counting { struct arena *a; struct feedback_count *list; size_t n; };

static int count_take(void *ctx, const char *name, cJSON *o, struct err *e)
{
	struct counting *c = ctx;
	struct feedback_count *x = &c->list[c->n++];
	(void)name;
	x->prompt = arena_strdup(c->a, json_str(o, "prompt", ""));
	x->model = arena_strdup(c->a, json_str(o, "model", ""));
	x->experiment = arena_strdup(c->a, json_str(o, "experiment", ""));
	x->arm = arena_strdup(c->a, json_str(o, "arm", ""));
	x->version = (int)json_num(o, "version", 0);
	x->up = json_num(o, "up", 0);
	x->down = json_num(o, "down", 0);
	x->citations_up = json_num(o, "citations_up", 0);
	x->citations_down = json_num(o, "citations_down", 0);
	return x->prompt && x->model && x->experiment && x->arm ? OK : memory_out(e);
}

int feedback_counts(struct service *s, struct arena *a, struct feedback_count **out, size_t *n, struct err *e)
{
	struct counting c = { .a = a, .list = arena_calloc(a, COUNTS_MAX, sizeof *c.list) };
	int rc = c.list ? each(s, COUNTS, NULL, "", COUNTS_MAX, count_take, &c, e) : memory_out(e);
	*out = c.list;
	*n = c.n;
	return rc;
}

struct lines { struct buf *out; size_t n; };

static int line_take(void *ctx, const char *name, cJSON *o, struct err *e)
{
	struct lines *l = ctx;
	const char *question = json_str(o, "question", NULL), *expected = json_str(o, "expected", NULL);
	int answerable = json_bool(o, "answerable", 1);
	(void)name;
	if (!question || json_num(o, "rating", 0) >= 0) return OK;
	if (json_get(o, "citation") && !expected && !json_get(o, "answerable")) return OK;       /* nothing said of the answer */
	cJSON *x = cJSON_CreateObject(), *answers = x ? cJSON_CreateArray() : NULL, *gold = expected ? cJSON_CreateString(expected) : NULL;
	int ok = answers && (!expected || (gold && cJSON_AddItemToArray(answers, gold)));
	if (!ok) cJSON_Delete(gold);
	ok = ok && cJSON_AddStringToObject(x, "id", json_str(o, "answer_id", "")) && cJSON_AddStringToObject(x, "question", question) &&
		cJSON_AddBoolToObject(x, "answerable", answerable) && cJSON_AddItemToObject(x, "answers", answers);
	if (!ok) cJSON_Delete(answers);
	ok = ok && cJSON_AddStringToObject(x, "doc", "") && cJSON_AddStringToObject(x, "paragraph", "") &&
		(expected || !answerable || cJSON_AddTrueToObject(x, "needs_answer")) && put_text(x, "comment", json_str(o, "comment", NULL));
	char *text = ok ? cJSON_PrintUnformatted(x) : NULL;
	cJSON_Delete(x);
	int rc = text ? buf_puts(l->out, text) : E_MEMORY;
	if (!rc) rc = buf_putc(l->out, '\n');
	cJSON_free(text);
	l->n += !rc;
	return rc ? err_set(e, rc, "feedback: too much, or out of memory") : OK;
}

int feedback_questions(struct service *s, const struct caller *c, struct buf *out, size_t *n, struct err *e)
{
	struct lines l = { out, 0 };
	int rc = each(s, KIND, c, "", SIZE_MAX, line_take, &l, e);
	*n = l.n;
	return rc;
}

struct listing { cJSON *list; char last[256]; };

static int list_take(void *ctx, const char *name, cJSON *o, struct err *e)
{
	struct listing *l = ctx;
	cJSON *copy = cJSON_Duplicate(o, 1);
	snprintf(l->last, sizeof l->last, "%s", name);
	cJSON_DeleteItemFromObjectCaseSensitive(copy, "of_documents");
	if (copy && cJSON_AddItemToArray(l->list, copy)) return OK;
	cJSON_Delete(copy);
	return memory_out(e);
}

int feedback_view(struct service *s, const struct caller *c, const char *after, size_t limit, cJSON **out, struct err *e)
{
	cJSON *o = cJSON_CreateObject();
	struct listing l = { .list = o ? cJSON_AddArrayToObject(o, "feedback") : NULL };
	int rc = strlen(after) > 200 ? err_set(e, E_USAGE, "cursor: not one of this list") : l.list ? OK : memory_out(e);
	if (!rc) rc = each(s, KIND, c, after, limit, list_take, &l, e);
	int full = (size_t)cJSON_GetArraySize(l.list) == limit;
	if (!rc && !(full ? cJSON_AddStringToObject(o, "next_cursor", l.last) : cJSON_AddNullToObject(o, "next_cursor"))) rc = memory_out(e);
	if (rc) cJSON_Delete(o);
	*out = rc ? NULL : o;
	return rc;
}
