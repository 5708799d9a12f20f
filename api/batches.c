/* batches.c: owns posted batches (batches.h).
 *
 * All there is of a batch are notes: the batch itself, in the shape that clients see and who made it; its input in pieces;
 * and of each result a row (id and error) and, where there is one, its answer, which names the documents it shows words of and
 * so goes with the first of them that is removed (index.h). A result, its answer and the batch's counts are one commit, so
 * that after a kill the batch goes on behind the last. The input goes when the batch is over.
 * Who reads is looked up for each line: the key that made the batch, as it is then, narrowed to the groups it was posted with.
 * Threads: one runs the batches, oldest first; `lock` guards which one runs and is held over no write; `change` orders who
 * writes a batch's own note. Lock order: change, LMDB's writer, lock.
 * Failure: a line's own is its result; the batch's is its state and error. */
#include "api/batches.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "api/batch.h"
#include "api/keys.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

static const char batch_kind[] = "batch", input_kind[] = "batch_in", row_kind[] = "batch_row", answer_kind[] = "batch_answer";
enum { NOTE_BYTES_MAX = 1 << 20, PIECE_BYTES = 128 << 10, PAGE = 64, ID_LEN = 17, NAME_LEN = 40, OUTPUT_BYTES_MAX = 1 << 30, GROUPS_MAX = 256 };

struct batches {
	struct service *service;
	pthread_mutex_t change, lock;
	pthread_cond_t came;
	int stop, runs, posted;          /* posted: look again */
	char running[ID_LEN + 1];        /* "": none */
	int deleted;                     /* the one that runs is to be forgotten */
	volatile int cancel;
	pthread_t thread;
};

/* ---- notes ---- */

static int note_read(struct snapshot *s, const char *kind, const char *name, cJSON **out, struct err *e)
{
	struct note note;
	struct arena a;
	*out = NULL;
	arena_init(&a, 2 * NOTE_BYTES_MAX);
	int rc = snapshot_note(s, kind, name, &a, &note, e);
	if (!rc) rc = json_parse(out, note.json, note.len, NOTE_BYTES_MAX, kind, e);
	arena_clear(&a);
	return rc;
}

static int note_write(struct write *w, const char *kind, const char *name, const cJSON *o, struct err *e)
{
	char *text = o ? cJSON_PrintUnformatted(o) : NULL;
	int rc = text ? index_note_put(w, kind, name, text, strlen(text), e) : err_set(e, E_MEMORY, "batch: out of memory");
	cJSON_free(text);
	return rc;
}

static int write_end(struct write *w, int rc, struct err *e)
{
	if (!rc) return index_write_commit(w, e);
	if (w) index_write_abort(w);
	return rc;
}

static int batch_read(struct batches *b, const char *id, cJSON **out, struct err *e)
{
	struct snapshot *s = NULL;
	*out = NULL;
	int rc = strlen(id) == ID_LEN ? snapshot_open(&s, b->service->index, e) : E_NOT_FOUND;
	if (!rc) rc = note_read(s, batch_kind, id, out, e);
	snapshot_close(s);
	return rc == E_NOT_FOUND ? err_set(e, rc, "no batch %.40s", id) : rc;
}

/* Names of all batches, oldest first, in the arena. */
static int batch_names(struct batches *b, struct arena *a, const char ***out, size_t *n, struct err *e)
{
	size_t cap = 1 << 16;
	struct snapshot *s = NULL;
	*out = arena_calloc(a, cap, sizeof **out);
	*n = 0;
	int rc = *out ? snapshot_open(&s, b->service->index, e) : err_set(e, E_MEMORY, "batch: out of memory");
	if (!rc) rc = snapshot_note_names(s, batch_kind, "", cap, a, *out, n, e);
	snapshot_close(s);
	return rc;
}

/* Deletes every note of the kind whose name begins with the id. */
static int notes_drop(struct snapshot *s, struct write *w, const char *kind, const char *id, struct err *e)
{
	const char *names[PAGE];
	char after[256];
	size_t got = PAGE;
	struct arena a;
	int rc = OK, more = 1;
	arena_init(&a, 1 << 20);
	snprintf(after, sizeof after, "%s", id);
	while (!rc && more && got == PAGE) {
		arena_clear(&a);
		rc = snapshot_note_names(s, kind, after, PAGE, &a, names, &got, e);
		for (size_t i = 0; !rc && more && i < got; i++) {
			more = strncmp(names[i], id, ID_LEN) == 0;
			if (more) rc = index_note_delete(w, kind, names[i], e);
			if (rc == E_NOT_FOUND) rc = OK;
			snprintf(after, sizeof after, "%s", names[i]);
		}
	}
	arena_clear(&a);
	return rc;
}

static int batch_drop(struct batches *b, const char *id, struct err *e)
{
	struct snapshot *s = NULL;
	struct write *w = NULL;
	pthread_mutex_lock(&b->change);
	int rc = snapshot_open(&s, b->service->index, e);
	if (!rc) rc = index_write_begin(&w, b->service->index, e);
	if (!rc) rc = notes_drop(s, w, input_kind, id, e);
	if (!rc) rc = notes_drop(s, w, row_kind, id, e);
	if (!rc) rc = notes_drop(s, w, answer_kind, id, e);
	if (!rc && (rc = index_note_delete(w, batch_kind, id, e)) == E_NOT_FOUND) rc = OK;
	rc = write_end(w, rc, e);
	snapshot_close(s);
	pthread_mutex_unlock(&b->change);
	return rc;
}

static void text_set(cJSON *o, const char *key, const char *text)
{
	cJSON_DeleteItemFromObjectCaseSensitive(o, key);
	cJSON_AddStringToObject(o, key, text);
}

static void number_set(cJSON *o, const char *key, double x)
{
	cJSON_DeleteItemFromObjectCaseSensitive(o, key);
	cJSON_AddNumberToObject(o, key, x);
}

static void time_set(cJSON *o, const char *key)
{
	cJSON_DeleteItemFromObjectCaseSensitive(o, key);
	view_put_time(o, key, clock_wall_ms());
}

/* ---- who ---- */

static int is_makers(const cJSON *o, const struct caller *c)
{
	const char *key = json_str(json_get(o, "maker"), "key", NULL);
	return (c->role >= ROLE_ADMIN && c->all_groups) || (key && c->key_id && strcmp(key, c->key_id) == 0);
}

static int maker_put(cJSON *o, const struct caller *c, const struct reader *r)
{
	cJSON *m = cJSON_AddObjectToObject(o, "maker");
	if (!m || !(c->key_id ? cJSON_AddStringToObject(m, "key", c->key_id) : cJSON_AddNullToObject(m, "key"))) return 0;
	return r->all_groups ? cJSON_AddStringToObject(m, "groups", "*") != NULL : view_put_list(m, "groups", r->groups, r->group_n);
}

struct run {                         /* of one batch */
	struct batches *b;
	cJSON *o;                    /* its note */
	const char *id;
};

static int reader_get(void *ctx, struct arena *a, struct reader *out, struct err *e)
{
	struct run *u = ctx;
	const cJSON *m = json_get(u->o, "maker");
	const char **list = NULL;
	struct caller c;
	size_t n = 0;
	int rc = keys_caller(u->b->service->keys, json_str(m, "key", NULL), clock_wall_ms(), a, &c, e);
	if (rc) return err_set(e, E_DENIED, "the key that posted this batch is not good any more");
	caller_reader(&c, NULL, out);
	if (!cJSON_IsArray(json_get(m, "groups"))) return OK;
	rc = json_get_texts(m, "groups", GROUPS_MAX, a, &list, &n, e);
	return rc ? rc : reader_narrow(out, list, n, a, e);
}

/* ---- running ---- */

/* With `change` held: a batch that was forgotten meanwhile must not come back. */
static int still_there(struct batches *b, const char *id, struct err *e)
{
	cJSON *o;
	int rc = batch_read(b, id, &o, e);
	cJSON_Delete(o);
	return rc == E_NOT_FOUND ? err_set(e, E_CANCELLED, "batch %s was deleted", id) : rc;
}

/* What is said of an answer that no note can hold. */
static int too_large(cJSON *row, const struct err *why)
{
	cJSON *x = view_error(why, NULL, 0), *error = x ? cJSON_DetachItemFromObjectCaseSensitive(x, "error") : NULL;
	int ok = error && cJSON_AddItemToObject(row, "error", error);
	if (!ok) cJSON_Delete(error);
	cJSON_Delete(x);
	return ok;
}

/* A result with its answer and the counts in one commit. An answer whose document has just gone is not kept: its row then tells. */
static int result_put(void *ctx, struct batch_result *r, struct err *e)
{
	struct run *u = ctx;
	struct batches *b = u->b;
	struct write *w = NULL;
	char name[NAME_LEN];
	cJSON *row = cJSON_CreateObject(), *answer = cJSON_CreateObject();
	int failed = r->error != NULL, done = (int)json_num(u->o, "done", 0);
	const char *count = failed ? "failed" : r->abstained ? "abstained" : "answered";
	double counted = json_num(u->o, count, 0);
	snprintf(name, sizeof name, "%s.%08d", u->id, done);
	char *id = cJSON_PrintUnformatted(r->id); /* as JSON text: a number keeps its digits */
	int ok = row && answer && id && cJSON_AddStringToObject(row, "id", id);
	cJSON_free(id);
	ok = ok && (!failed || cJSON_AddItemToObject(row, "error", r->error));
	if (ok && failed) r->error = NULL;
	ok = ok && (failed || cJSON_AddItemToObject(answer, "of_documents", r->documents));
	if (ok && !failed) r->documents = NULL;
	ok = ok && (failed || cJSON_AddItemToObject(answer, "answer", r->answer));
	if (ok && !failed) r->answer = NULL;
	pthread_mutex_lock(&b->change);
	number_set(u->o, "done", done + 1);
	number_set(u->o, count, counted + 1);
	int rc = ok ? still_there(b, u->id, e) : err_set(e, E_MEMORY, "batch: out of memory");
	if (!rc) rc = index_write_begin(&w, b->service->index, e);
	if (!rc && !failed) rc = note_write(w, answer_kind, name, answer, e);
	if (rc == E_NOT_FOUND || (rc == E_LIMIT && too_large(row, e))) rc = OK;
	if (!rc) rc = note_write(w, row_kind, name, row, e);
	if (!rc) rc = note_write(w, batch_kind, u->id, u->o, e);
	rc = write_end(w, rc, e);
	if (rc) number_set(u->o, "done", done), number_set(u->o, count, counted);   /* the batch's end must not tell of it */
	pthread_mutex_unlock(&b->change);
	cJSON_Delete(row);
	cJSON_Delete(answer);
	return rc;
}

static int input_read(struct batches *b, const char *id, struct buf *out, struct err *e)
{
	struct snapshot *s = NULL;
	char name[NAME_LEN];
	int rc = snapshot_open(&s, b->service->index, e);
	for (int i = 0; !rc; i++) {
		cJSON *x = NULL;
		snprintf(name, sizeof name, "%s.%06d", id, i);
		rc = note_read(s, input_kind, name, &x, e);
		if (!rc && buf_puts(out, json_str(x, "text", ""))) rc = err_set(e, E_MEMORY, "batch: out of memory");
		cJSON_Delete(x);
	}
	snapshot_close(s);
	return rc == E_NOT_FOUND ? OK : rc;
}

static int note_replace(struct batches *b, const char *id, cJSON *o, int over, struct err *e)
{
	struct snapshot *s = NULL;
	struct write *w = NULL;
	pthread_mutex_lock(&b->change);
	int rc = still_there(b, id, e);
	if (!rc) rc = snapshot_open(&s, b->service->index, e);
	if (!rc) rc = index_write_begin(&w, b->service->index, e);
	if (!rc) rc = note_write(w, batch_kind, id, o, e);
	if (!rc && over) rc = notes_drop(s, w, input_kind, id, e);
	rc = write_end(w, rc, e);
	snapshot_close(s);
	pthread_mutex_unlock(&b->change);
	return rc;
}

static void batch_end(struct run *u, int rc, const struct err *why)
{
	struct err e;
	text_set(u->o, "state", rc ? "failed" : "done");
	cJSON_DeleteItemFromObjectCaseSensitive(u->o, "error");
	view_put_error(u->o, rc ? status_name(rc) : NULL, why->msg);
	time_set(u->o, "finished");
	if (note_replace(u->b, u->id, u->o, 1, &e)) log_put(LOG_ERROR, "batches", "batch %s: its end is not written: %s", u->id, e.msg);
}

/* To its end, or until the service stops or it is to be forgotten. */
static void batch_do(struct batches *b, const char *id, cJSON *o)
{
	struct run u = { b, o, id };
	struct err e = { 0 };
	struct buf in;
	const char *line;
	size_t len, done = (size_t)json_num(o, "done", 0);
	struct batch run = { .service = b->service, .collection = json_str(o, "collection", ""),
		.key_id = json_str(json_get(o, "maker"), "key", NULL), .in = &in, .cancel = &b->cancel, .ctx = &u,
		.reader = reader_get, .put = result_put };
	buf_init(&in, (size_t)b->service->conf.body_bytes_max + 1);
	text_set(o, "state", "running");
	if (!json_str(o, "started", NULL)) time_set(o, "started");
	int rc = note_replace(b, id, o, 0, &e);
	if (!rc) rc = input_read(b, id, &in, &e);
	while (!rc && run.done < done && batch_line(&in, &run.at, &line, &len)) run.done++;
	if (!rc) rc = batch_run(&run, &e);
	buf_clear(&in);
	if (rc != E_CANCELLED) batch_end(&u, rc, &e);
}

static int is_over(const cJSON *o)
{
	return json_str(o, "finished", NULL) != NULL;
}

/* Forgets what has been over for long; *next: the first that is not over, NULL: none. */
static int look(struct batches *b, char id[ID_LEN + 1], cJSON **next, struct err *e)
{
	int64_t now = clock_wall_ms(), at;
	const char **names;
	struct arena a;
	size_t n;
	*next = NULL;
	arena_init(&a, 16 << 20);
	int rc = batch_names(b, &a, &names, &n, e);
	for (size_t i = 0; !rc && i < n && !*next; i++) {
		cJSON *o = NULL;
		rc = batch_read(b, names[i], &o, e);
		if (!rc && !is_over(o)) {
			snprintf(id, ID_LEN + 1, "%s", names[i]);
			*next = o;
			continue;
		}
		if (!rc && clock_read(json_str(o, "finished", ""), &at, NULL) && (double)(now - at) > b->service->conf.batches_days * 86400e3)
			rc = batch_drop(b, names[i], e);
		cJSON_Delete(o);
		if (rc == E_NOT_FOUND) rc = OK;
	}
	arena_clear(&a);
	return rc;
}

/* Runs the next; 0: there is none. Called with the lock, which it gives away meanwhile. */
static int next_do(struct batches *b)
{
	char id[ID_LEN + 1] = "";
	cJSON *o = NULL;
	struct err e = { 0 };
	b->posted = 0;
	pthread_mutex_unlock(&b->lock);
	if (look(b, id, &o, &e)) log_put(LOG_ERROR, "batches", "%s", e.msg);
	pthread_mutex_lock(&b->lock);
	if (!o || b->stop) {
		cJSON_Delete(o);
		return 0;
	}
	memcpy(b->running, id, sizeof id);
	b->cancel = b->deleted = 0;
	pthread_mutex_unlock(&b->lock);
	batch_do(b, id, o);
	cJSON_Delete(o);
	pthread_mutex_lock(&b->lock);
	int forget = b->deleted;
	if (!forget) *b->running = 0;   /* from here on, who deletes it does so alone */
	pthread_mutex_unlock(&b->lock);
	if (forget && batch_drop(b, id, &e)) log_put(LOG_ERROR, "batches", "batch %s is not forgotten: %s", id, e.msg);
	pthread_mutex_lock(&b->lock);
	*b->running = 0;
	return 1;
}

static void *batches_main(void *arg)
{
	struct batches *b = arg;
	pthread_mutex_lock(&b->lock);
	while (!b->stop)
		if (!next_do(b) && !b->stop && !b->posted) pthread_cond_wait(&b->came, &b->lock);
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

int batches_open(struct batches **out, struct service *s, struct err *e)
{
	struct batches *b = *out = mem_calloc(1, sizeof *b);
	if (!b) return err_set(e, E_MEMORY, "batches: out of memory");
	b->service = s;
	pthread_mutex_init(&b->change, NULL);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->came, NULL);
	int rc = pthread_create(&b->thread, NULL, batches_main, b);
	b->runs = !rc;
	if (!rc) return OK;
	batches_close(b);
	*out = NULL;
	return err_set(e, E_MEMORY, "start the thread of batches: %s", strerror(rc));
}

void batches_close(struct batches *b)
{
	if (!b) return;
	pthread_mutex_lock(&b->lock);
	b->stop = 1;
	flag_set(&b->cancel);
	pthread_cond_signal(&b->came);
	pthread_mutex_unlock(&b->lock);
	if (b->runs) pthread_join(b->thread, NULL);
	pthread_cond_destroy(&b->came);
	pthread_mutex_destroy(&b->lock);
	pthread_mutex_destroy(&b->change);
	mem_free(b);
}

/* ---- posting ---- */

static int input_check(struct batches *b, const char *text, size_t len, size_t *lines, struct err *e)
{
	const struct conf *c = &b->service->conf;
	const struct buf in = { .data = (char *)(uintptr_t)text, .len = len };
	const char *line;
	size_t at = 0, n;
	*lines = 0;
	if (!utf8_valid(text, len) || memchr(text, 0, len)) return err_set(e, E_USAGE, "the batch is not valid UTF-8");
	while (batch_line(&in, &at, &line, &n)) ++*lines;
	if (!*lines) return err_set(e, E_USAGE, "the batch has no lines; one is {\"id\",\"question\", …}");
	if (*lines > (size_t)c->batches_lines) return err_set(e, E_USAGE, "the batch has %zu lines, over batches.lines_max (%d)", *lines, c->batches_lines);
	return OK;
}

static cJSON *batch_make(const char *id, size_t lines, const struct caller *c, const struct reader *r)
{
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "id", id) && cJSON_AddStringToObject(o, "state", "queued") &&
		cJSON_AddStringToObject(o, "collection", r->collection) && cJSON_AddNumberToObject(o, "lines", (double)lines) &&
		cJSON_AddNumberToObject(o, "done", 0) && cJSON_AddNumberToObject(o, "answered", 0) && cJSON_AddNumberToObject(o, "abstained", 0) &&
		cJSON_AddNumberToObject(o, "failed", 0) && maker_put(o, c, r) && view_put_error(o, NULL, NULL) &&
		view_put_time(o, "created", clock_wall_ms()) && view_put_time(o, "started", 0) && view_put_time(o, "finished", 0)) return o;
	cJSON_Delete(o);
	return NULL;
}

static int input_write(struct write *w, const char *id, const char *text, size_t len, struct err *e)
{
	char name[NAME_LEN];
	int rc = OK;
	for (int i = 0; !rc && len; i++) {
		size_t n = len > PIECE_BYTES ? utf8_floor(text, len, PIECE_BYTES) : len;
		cJSON *o = cJSON_CreateObject();
		char *copy = mem_strndup(text, n);
		snprintf(name, sizeof name, "%s.%06d", id, i);
		rc = o && copy && cJSON_AddStringToObject(o, "text", copy) ? note_write(w, input_kind, name, o, e) : err_set(e, E_MEMORY, "batch: out of memory");
		mem_free(copy);
		cJSON_Delete(o);
		text += n;
		len -= n;
	}
	return rc;
}

/* As the client sees it. */
static int told(cJSON *o, cJSON **out)
{
	cJSON_DeleteItemFromObjectCaseSensitive(o, "maker");
	*out = o;
	return OK;
}

static int queue_check(struct batches *b, struct err *e)
{
	const char **names;
	struct arena a;
	size_t n, waiting = 0;
	arena_init(&a, 16 << 20);
	int rc = batch_names(b, &a, &names, &n, e);
	for (size_t i = 0; !rc && i < n; i++) {
		cJSON *o = NULL;
		rc = batch_read(b, names[i], &o, e);
		waiting += !rc && !is_over(o);
		cJSON_Delete(o);
		if (rc == E_NOT_FOUND) rc = OK;
	}
	arena_clear(&a);
	if (!rc && waiting >= (size_t)b->service->conf.batches_queue)
		rc = err_set(e, E_LIMIT, "%zu batches are waiting already (batches.queue), try again", waiting);
	return rc;
}

int batches_add(struct batches *b, const char *text, size_t len, const struct caller *c, const struct reader *r, cJSON **out, struct err *e)
{
	struct write *w = NULL;
	char id[ID_LEN + 1];
	size_t lines;
	cJSON *o = NULL;
	*out = NULL;
	int rc = input_check(b, text, len, &lines, e);
	id[0] = 'b';
	clock_name(id + 1, clock_wall_ms());
	if (!rc && !(o = batch_make(id, lines, c, r))) rc = err_set(e, E_MEMORY, "batch: out of memory");
	pthread_mutex_lock(&b->change);
	if (!rc) rc = queue_check(b, e);
	if (!rc) rc = index_write_begin(&w, b->service->index, e);
	if (!rc) rc = input_write(w, id, text, len, e);
	if (!rc) rc = note_write(w, batch_kind, id, o, e);
	rc = write_end(w, rc, e);
	pthread_mutex_unlock(&b->change);
	if (rc) {
		cJSON_Delete(o);
		return rc;
	}
	pthread_mutex_lock(&b->lock);
	b->posted = 1;
	pthread_cond_signal(&b->came);
	pthread_mutex_unlock(&b->lock);
	return told(o, out);
}

/* ---- reading ---- */

static int batch_find(struct batches *b, const struct caller *c, const char *id, cJSON **out, struct err *e)
{
	int rc = batch_read(b, id, out, e);
	if (rc || is_makers(*out, c)) return rc;
	cJSON_Delete(*out);
	*out = NULL;
	return err_set(e, E_NOT_FOUND, "no batch %.40s", id);
}

int batches_get(struct batches *b, const struct caller *c, const char *id, cJSON **out, struct err *e)
{
	int rc = batch_find(b, c, id, out, e);
	return rc ? rc : told(*out, out);
}

int batches_list(struct batches *b, const struct caller *c, cJSON **out, struct err *e)
{
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "batches") : NULL;
	const char **names = NULL;
	struct arena a;
	size_t n = 0;
	arena_init(&a, 16 << 20);
	int rc = list ? batch_names(b, &a, &names, &n, e) : err_set(e, E_MEMORY, "batch: out of memory");
	for (size_t i = 0; !rc && i < n; i++) {
		cJSON *x = NULL;
		rc = batches_get(b, c, names[i], &x, e);
		if (rc == E_NOT_FOUND) {
			rc = OK;
			continue;
		}
		if (!rc && !cJSON_AddItemToArray(list, x)) rc = err_set(e, E_MEMORY, "batch: out of memory"), cJSON_Delete(x);
	}
	arena_clear(&a);
	*out = rc ? NULL : o;
	if (rc) cJSON_Delete(o);
	return rc;
}

/* 1: the caller may see every document that the answer shows words of. */
static int is_shown(struct snapshot *s, const struct caller *c, const cJSON *answer)
{
	struct reader reader;
	const cJSON *x;
	struct arena a;
	int all = answer != NULL;
	arena_init(&a, 4 << 20);
	caller_reader(c, NULL, &reader);
	cJSON_ArrayForEach(x, json_get(answer, "of_documents")) {
		struct doc d;
		all = all && !snapshot_doc_by_key(s, &reader, (uint64_t)json_num(x, "key", 0), &a, &d, NULL);
		arena_clear(&a);
	}
	return all;
}

static int row_print(struct snapshot *s, const struct caller *c, const char *name, struct buf *out, struct err *e)
{
	static const struct err gone = { E_NOT_FOUND, "a document that this answer showed words of is gone" };
	cJSON *row = NULL, *answer = NULL, *parsed = NULL, *error;
	int rc = note_read(s, row_kind, name, &row, e);
	if (rc) return rc;
	rc = note_read(s, answer_kind, name, &answer, e);
	if (rc == E_NOT_FOUND) rc = OK;
	error = cJSON_DetachItemFromObjectCaseSensitive(row, "error");
	if (!rc && !error && !is_shown(s, c, answer)) {
		parsed = view_error(&gone, NULL, 0);
		error = parsed ? cJSON_DetachItemFromObjectCaseSensitive(parsed, "error") : NULL;
	}
	char *text = rc ? NULL : batch_text(cJSON_CreateRaw(json_str(row, "id", "null")),
		error ? NULL : cJSON_DetachItemFromObjectCaseSensitive(answer, "answer"), error);
	if (!rc && (!text || buf_puts(out, text))) rc = err_set(e, E_LIMIT, "the output is too large for one reply: use start and limit");
	cJSON_free(text);
	cJSON_Delete(parsed);
	cJSON_Delete(row);
	cJSON_Delete(answer);
	return rc;
}

int batches_output(struct batches *b, const struct caller *c, const char *id, size_t from, size_t n, char **text, size_t *len, struct err *e)
{
	struct snapshot *s = NULL;
	char name[NAME_LEN];
	struct buf out;
	cJSON *o = NULL;
	*text = NULL;
	*len = 0;
	buf_init(&out, OUTPUT_BYTES_MAX);
	int rc = batch_find(b, c, id, &o, e);
	if (!rc) rc = snapshot_open(&s, b->service->index, e);
	for (size_t i = from; !rc && i - from < n && i < (size_t)json_num(o, "done", 0); i++) {
		snprintf(name, sizeof name, "%s.%08zu", id, i);
		rc = row_print(s, c, name, &out, e);
	}
	snapshot_close(s);
	cJSON_Delete(o);
	if (!rc) *text = buf_take(&out, len);
	if (!rc && !*text) rc = err_set(e, E_MEMORY, "batch: out of memory");
	buf_clear(&out);
	return rc;
}

int batches_delete(struct batches *b, const struct caller *c, const char *id, cJSON **out, struct err *e)
{
	int rc = batch_find(b, c, id, out, e), runs;
	if (rc) return rc;
	pthread_mutex_lock(&b->lock);
	runs = strcmp(b->running, id) == 0;
	if (runs) b->deleted = 1, flag_set(&b->cancel);
	pthread_mutex_unlock(&b->lock);
	if (!runs) rc = batch_drop(b, id, e);
	if (!rc && !is_over(*out)) text_set(*out, "state", "cancelled");
	if (!rc) return told(*out, out);
	cJSON_Delete(*out);
	*out = NULL;
	return rc;
}
