/* routes_records.c: owns what can be asked of answers afterwards: /v1/answers/{id} and its replay, /v1/feedback, /v1/usage.
 * Threads: search, answer and write pools. Failure: as answerrecord.h and feedback.h have it; an answer of someone else is
 * as one that never was. */
#include <string.h>
#include "api/answerrecord.h"
#include "api/feedback.h"
#include "api/remember.h"
#include "api/route.h"
#include "api/usage.h"

enum { RECORD_ARENA = 256 << 20, TEXT_MAX = 16 << 10, LIST_MAX = 1000, TURNS_MAX = 64 };

static int record_get(struct request *r, const cJSON *body, const char *id, struct reader *reader, struct arena *a, cJSON **out, struct err *e)
{
	int rc = request_reader(r, body, r->service->conf.collection, reader, e);
	return rc ? rc : answerrecord_read(r->service, &r->caller, reader, id, a, out, e);
}

int answers_get(struct request *r, struct err *e)
{
	struct reader reader;
	struct arena a;
	cJSON *record;
	arena_init(&a, RECORD_ARENA);
	int rc = record_get(r, NULL, r->segments[2], &reader, &a, &record, e);
	if (!rc)
		rc = answerrecord_view(r->service, &reader, r->segments[2], record, &a, &record, e);
	if (!rc)
		reply_json(r, 200, record);
	arena_clear(&a);
	return rc;
}

static int history_read(struct request *r, const cJSON *o, struct arena *a, struct answer_again *with, struct err *e)
{
	const cJSON *list = json_get(o, "history"), *x;
	struct answer_turn *turns = arena_calloc(a, TURNS_MAX, sizeof *turns);
	if (!turns)
		return err_set(e, E_MEMORY, "out of memory");
	r->param = "history";
	if (list && (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > TURNS_MAX))
		return err_set(e, E_USAGE, "history: must be an array of at most %d turns", TURNS_MAX);
	with->history = turns;
	cJSON_ArrayForEach(x, list) {
		turns[with->history_n++] = (struct answer_turn){ json_str(x, "role", ""), json_str(x, "content", "") };
	}
	r->param = NULL;
	return OK;
}

int answers_replay(struct request *r, struct err *e)
{
	struct answer_again with = { .key_id = r->caller.key_id, .cancel = &r->cancel };
	struct reader reader;
	struct arena a;
	cJSON *o = NULL, *record = NULL, *out;
	int rc = r->body.len ? body_json(r, &o, e) : OK;
	arena_init(&a, RECORD_ARENA);
	if (!rc)
		rc = field_text(r, o, "question", &with.question, e);
	if (!rc)
		rc = history_read(r, o, &a, &with, e);
	if (!rc)
		rc = record_get(r, o, r->segments[2], &reader, &a, &record, e);
	if (!rc)
		rc = answerrecord_replay(r->service, &reader, record, &with, &a, &out, e);
	if (rc == E_LIMIT)
		r->retry_after = 5;
	if (!rc)
		reply_json(r, 200, out);
	cJSON_Delete(record);
	cJSON_Delete(o);
	arena_clear(&a);
	return rc;
}

/* ---- feedback ---- */

static int text_read(struct request *r, const cJSON *o, const char *key, const char **out, struct err *e)
{
	*out = NULL;
	int rc = field_text(r, o, key, out, e);
	if (rc || !*out || strlen(*out) <= TEXT_MAX)
		return rc;
	r->param = key;
	return err_set(e, E_USAGE, "%s: over %d bytes", key, TEXT_MAX);
}

static int feedback_read(struct request *r, const cJSON *o, const char **id, struct feedback *f, struct err *e)
{
	int64_t rating = 0, citation = 0;
	*f = (struct feedback){ .answerable = -1, .key_id = r->caller.key_id };
	if (text_read(r, o, "answer_id", id, e) || field_int(r, o, "rating", -1, 1, &rating, e) ||
	    field_int(r, o, "citation", 1, 1000, &citation, e) || text_read(r, o, "comment", &f->comment, e) ||
	    text_read(r, o, "question", &f->question, e) || text_read(r, o, "expected", &f->expected, e) ||
	    (json_get(o, "answerable") && field_bool(r, o, "answerable", &f->answerable, e)))
		return e->status;
	f->rating = (int)rating;
	f->citation = (int)citation;
	if (*id && rating)
		return OK;
	r->param = *id ? "rating" : "answer_id";
	return *id ? err_set(e, E_USAGE, "rating: must be -1 or 1") : err_set(e, E_USAGE, "answer_id: missing");
}

int feedback_post(struct request *r, struct err *e)
{
	struct feedback f;
	struct reader reader;
	struct arena a;
	const char *id;
	cJSON *o = NULL, *record = NULL;
	int rc = body_json(r, &o, e);
	arena_init(&a, RECORD_ARENA);
	if (!rc)
		rc = feedback_read(r, o, &id, &f, e);
	if (!rc && (rc = record_get(r, o, id, &reader, &a, &record, e)) == E_NOT_FOUND)
		r->param = "answer_id";
	if (!rc && (rc = feedback_put(r->service, id, record, &f, e)) == E_USAGE)
		r->param = "citation";
	if (!rc) {
		cJSON *told = cJSON_CreateObject();
		if (told && !(cJSON_AddStringToObject(told, "answer_id", id) && cJSON_AddNumberToObject(told, "rating", f.rating))) {
			cJSON_Delete(told);
			told = NULL;
		}
		reply_json(r, 201, told);
	}
	cJSON_Delete(record);
	cJSON_Delete(o);
	arena_clear(&a);
	return rc;
}

int feedback_get(struct request *r, struct err *e)
{
	const char *export = query_text(r, "export"), *cursor = query_text(r, "cursor");
	uint64_t limit;
	size_t n;
	cJSON *o;
	int rc = query_u64(r, "limit", 1, LIST_MAX, 100, &limit, e);
	if (rc)
		return rc;
	if (!r->caller.all_groups)
		return err_set(e, E_DENIED, "what people say may repeat documents: a key with every group is needed");
	if (!export) {
		rc = feedback_view(r->service, &r->caller, cursor ? cursor : "", (size_t)limit, &o, e);
		if (!rc)
			reply_json(r, 200, o);
		return rc;
	}
	if (strcmp(export, "questions")) {
		r->param = "export";
		return err_set(e, E_USAGE, "export: only questions can be had");
	}
	rc = feedback_questions(r->service, &r->caller, &r->out, &n, e);
	if (!rc)
		reply_static(r, 200, "application/x-ndjson", buf_cstr(&r->out), r->out.len);
	return rc;
}

/* ---- what it cost ---- */

int usage_get(struct request *r, struct err *e)
{
	cJSON *o;
	remember_flush(r->service->memory);
	int rc = usage_view(r->service, query_text(r, "from"), query_text(r, "to"), &o, e);
	if (!rc)
		reply_json(r, 200, o);
	return rc;
}
