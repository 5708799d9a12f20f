/* batch.c: lines of questions to results in order (batch.h).
 *
 * As many threads as the language model writes together take a line each when they are done with one; results wait in a
 * ring for those before them. An answer is the same whoever is written beside it.
 * Threads: the caller's and as many more; `lock` holds all that changes. Failure: a question's own (no question, unknown
 * prompt …) is its result; the batch's ends it before anything is lost. */
#include "api/batch.h"
#include <pthread.h>
#include <string.h>
#include "api/ask.h"
#include "api/view.h"
#include "base/flag.h"
#include "base/mem.h"

enum { ANSWER_ARENA = 256 << 20, WAITING = 4 /* results for each thread that may wait for an earlier one */ };

struct slot { struct batch_result r; int there; };
struct running {
	struct batch *b;
	size_t taken;                /* lines */
	pthread_mutex_t lock;
	pthread_cond_t moved;        /* done grew, or rc was set */
	struct slot *slots;          /* (room): line i's at i % room */
	size_t room;
	int rc;                      /* the batch's own failure, told in why */
	struct err why;
};

int batch_line(const struct buf *b, size_t *at, const char **line, size_t *len)
{
	while (*at < b->len) {
		const char *start = b->data + *at, *nl = memchr(start, '\n', b->len - *at);
		*len = nl ? (size_t)(nl - start) : b->len - *at;
		*at += *len + (nl != NULL);
		*line = start;
		while (*len && strchr(" \t\r", start[*len - 1])) (*len)--;
		if (*len) return 1;
	}
	return 0;
}

const cJSON *batch_id(const cJSON *line)
{
	const cJSON *id = cJSON_IsObject(line) ? json_get(line, "id") : NULL;
	return cJSON_IsString(id) || cJSON_IsNumber(id) ? id : NULL;
}

/* A copy of it with every digit; NULL: out of memory. */
static cJSON *id_copy(const cJSON *id, const char *line, size_t len, struct arena *a)
{
	size_t n;
	const char *digits = cJSON_IsNumber(id) ? json_digits(line, len, "id", &n) : NULL;
	char *copy = digits ? arena_strndup(a, digits, n) : NULL;
	if (digits) return copy ? cJSON_CreateRaw(copy) : NULL;
	return id ? cJSON_Duplicate(id, 1) : cJSON_CreateNull();
}

char *batch_text(cJSON *id, cJSON *answer, cJSON *error)
{
	cJSON *o = cJSON_CreateObject(), *parts[] = { id, answer ? answer : cJSON_CreateNull(), error ? error : cJSON_CreateNull() };
	static const char *const names[] = { "id", "answer", "error" };
	int ok = o != NULL;
	for (int i = 0; i < 3; i++) {
		ok = ok && parts[i] && cJSON_AddItemToObject(o, names[i], parts[i]);
		if (!ok) cJSON_Delete(parts[i]);
	}
	char *text = ok ? cJSON_PrintUnformatted(o) : NULL, *line = text ? cJSON_malloc(strlen(text) + 2) : NULL;
	if (line) {
		size_t len = strlen(text);
		memcpy(line, text, len);
		memcpy(line + len, "\n", 2);
	}
	cJSON_free(text);
	cJSON_Delete(o);
	return line;
}

static void result_clear(struct batch_result *r)
{
	cJSON_Delete(r->id);
	cJSON_Delete(r->answer);
	cJSON_Delete(r->error);
	cJSON_Delete(r->documents);
	*r = (struct batch_result){ 0 };
}

/* *own: the failure is the batch's, not the line's. */
static int question_answer(struct batch *b, const cJSON *o, struct arena *arena, struct answer *a, const char **param, int *own, struct err *e)
{
	struct filter *filter = NULL;
	struct answer_request q;
	struct reader reader;
	const char *collection = b->collection;
	int rc = b->reader(b->ctx, arena, &reader, e);
	*own = rc != OK;
	if (!rc) rc = ask_read(b->service, o, arena, &q, param, e);
	if (rc) return rc;
	q.reader = reader;
	rc = json_get_text(o, *param = "collection", &collection, e);
	if (!rc) rc = ask_collection_check(collection, e);
	if (!rc) *param = "as", rc = ask_narrow(o, NULL, &q.reader, arena, e);
	if (!rc) *param = "filter", rc = ask_filter(&b->service->conf, o, NULL, &q.reader, &filter, e);
	if (rc) return rc;
	q.reader.collection = collection;
	q.cancel = b->cancel;
	q.patient = 1;
	q.key_id = b->key_id;
	*param = NULL;
	rc = answer_run(b->service, &q, NULL, arena, a, e);
	if (rc == E_USAGE) *param = "question";
	filter_free(filter);
	return rc;
}

/* Each document once. */
static cJSON *documents_list(const struct answer *a)
{
	cJSON *list = cJSON_CreateArray();
	int ok = list != NULL;
	for (size_t i = 0; ok && i < a->retrieval.n; i++) {
		const struct doc *d = &a->retrieval.passages[i].doc;
		size_t k = 0;
		while (k < i && a->retrieval.passages[k].doc.key != d->key) k++;
		if (k < i) continue;
		cJSON *x = cJSON_CreateObject();
		ok = x && cJSON_AddStringToObject(x, "id", d->id) && cJSON_AddNumberToObject(x, "key", (double)d->key) && cJSON_AddItemToArray(list, x);
		if (!ok) cJSON_Delete(x);
	}
	if (ok) return list;
	cJSON_Delete(list);
	return NULL;
}

static int result_make(struct batch_result *r, cJSON *id, const struct answer *a, const struct err *why, const char *param, int http, struct err *e)
{
	*r = (struct batch_result){ .id = id, .abstained = !why->status && a->status == ANSWER_ABSTAINED };
	if (why->status) {
		cJSON *error = view_error(why, param, http);
		r->error = error ? cJSON_DetachItemFromObject(error, "error") : NULL;
		cJSON_Delete(error);
	} else {
		r->answer = view_answer(a);
		r->documents = documents_list(a);
	}
	if (id && (r->error || (r->answer && r->documents))) return OK;
	result_clear(r);
	return err_set(e, E_MEMORY, "batch: out of memory");
}

/* The result of line `number`. The batch's own failure in e; the question's is its result. */
static int question_do(struct batch *b, size_t number, const char *line, size_t len, struct batch_result *r, struct err *e)
{
	struct answer a = {0};
	struct arena arena;
	struct err why = {0};
	const char *param = NULL;
	int own = 0;
	cJSON *o = NULL;
	arena_init(&arena, ANSWER_ARENA);
	int rc = json_parse(&o, line, len, BATCH_LINE_BYTES_MAX, "question", &why);
	if (!rc && !cJSON_IsObject(o)) rc = err_set(&why, E_FORMAT, "question: not an object");
	int http = rc ? 400 : 0;
	const cJSON *id = batch_id(o);
	if (rc) err_wrap(&why, "line %zu", number);
	else if (!id) rc = err_set(&why, E_USAGE, "id: must be a text or a number"), param = "id";
	else rc = question_answer(b, o, &arena, &a, &param, &own, &why);
	if (rc && (flag_is(b->cancel) || rc == E_CANCELLED)) rc = err_set(e, E_CANCELLED, "batch: stopped");
	else if (rc && own) *e = why;
	else {
		if (!rc) why.status = OK;
		rc = result_make(r, id_copy(id, line, len, &arena), &a, &why, param, http, e);
	}
	answer_close(&a);
	arena_clear(&arena);
	cJSON_Delete(o);
	return rc;
}

/* Gives the results that are there and have nothing before them. Under the lock. */
static int results_give(struct running *u, struct err *e)
{
	int rc = OK;
	for (struct slot *s; !rc && (s = &u->slots[u->b->done % u->room])->there; u->b->done += !rc) {
		rc = u->b->put(u->b->ctx, &s->r, e);
		result_clear(&s->r);
		s->there = 0;
	}
	return rc;
}

/* Takes lines until there are none, or the batch failed. */
static void *answer_lines(void *ctx)
{
	struct running *u = ctx;
	struct batch *b = u->b;
	const char *line;
	size_t len;
	pthread_mutex_lock(&u->lock);
	for (;;) {
		while (!u->rc && u->taken - b->done == u->room) pthread_cond_wait(&u->moved, &u->lock);
		if (u->rc || !batch_line(b->in, &b->at, &line, &len)) break;
		size_t at = u->taken++;
		struct batch_result r = {0};
		struct err e = {0};
		pthread_mutex_unlock(&u->lock);
		int rc = flag_is(b->cancel) ? err_set(&e, E_CANCELLED, "batch: stopped") : question_do(b, at + 1, line, len, &r, &e);
		pthread_mutex_lock(&u->lock);
		if (!rc) {
			u->slots[at % u->room] = (struct slot){ r, 1 };
			if (!u->rc) rc = results_give(u, &e);   /* nothing behind a line that was cut short */
		}
		if (rc && !u->rc) u->rc = rc, u->why = e;
		pthread_cond_broadcast(&u->moved);
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

/* Threads that cannot be had are not missed. */
int batch_run(struct batch *b, struct err *e)
{
	struct running u = { .b = b, .taken = b->done, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };
	size_t threads = 0, most = (size_t)b->service->conf.generate_sequences - 1;
	pthread_t *others = mem_calloc(most + 1, sizeof *others);
	u.room = (most + 1) * WAITING;
	u.slots = mem_calloc(u.room, sizeof *u.slots);
	if (!others || !u.slots) u.rc = err_set(&u.why, E_MEMORY, "batch: out of memory");
	while (!u.rc && threads < most && !pthread_create(&others[threads], NULL, answer_lines, &u)) threads++;
	if (!u.rc) answer_lines(&u);
	while (threads) pthread_join(others[--threads], NULL);
	for (size_t i = 0; u.slots && i < u.room; i++) result_clear(&u.slots[i].r);
	mem_free(u.slots);
	mem_free(others);
	if (u.rc && e) *e = u.why;
	return u.rc;
}
