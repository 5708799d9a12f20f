/* folders.c: owns named folders and their jobs (folders.h).
 *
 * Method: a source and a job are notes in the store, in the very shape that clients see. A job that waits or runs is
 * also in memory, where its progress is; its note is written when it is queued and again when it is over, so that after
 * a crash the note still says "queued" and is turned into a failure at the next start. One thread runs the jobs in
 * order. Only the last sources.jobs_kept finished jobs are kept.
 * Threads: `change` orders those who write notes and is held over LMDB's writer lock; `lock` guards the list of live
 * jobs and all that changes in them, and is held for moments; `door` guards service->folders, and an erasure holds it
 * and `change`. Lock order: door, change, LMDB's writer, lock.
 * Failure: a job's is its state and error; one that cannot be written at its end is logged and stays "queued". */
#include "api/folders.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "api/acl.h"
#include "api/problems.h"
#include "api/told.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"

enum { NOTE_BYTES_MAX = 1 << 20, PAGE = 128, JOB_ARENA = 8 << 20, ID_LEN = 17 };
enum state { QUEUED, RUNNING, DONE, FAILED, CANCELLED };
static const char *const state_names[] = { "queued", "running", "done", "failed", "cancelled" };
static const char source_kind[] = "source", job_kind[] = "job";

struct sync {
	struct sync *next;
	struct folders *folders;
	struct arena arena;              /* of all strings; once it is queued, under the lock */
	char id[ID_LEN + 1];
	const char **paths, **ids; size_t path_n;
	const char *collection, *meta;
	const char *const *acl; size_t acl_n;
	int prune;
	struct caller caller;
	struct reader reader;
	int64_t created_ms, started_ms;
	volatile int cancel;
	/* under the lock */
	int running, asked_to_stop;      /* asked_to_stop: by a client, not by the service's end */
	struct ingest_progress progress;
	struct problems problems;
};
struct folders {
	struct service *service;
	pthread_mutex_t change, lock;
	pthread_cond_t came;
	struct sync *live; size_t live_n;    /* in the order they came; the first one runs */
	int stop, runs;
	pthread_t thread;
};

static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;

/* ---- notes ---- */

static int note_read(struct folders *f, const char *kind, const char *name, cJSON **out, struct err *e)
{
	struct snapshot *s = NULL;
	struct note note;
	struct arena a;
	int rc = snapshot_open(&s, f->service->index, e);
	*out = NULL;
	arena_init(&a, 2 * NOTE_BYTES_MAX);
	if (!rc)
		rc = snapshot_note(s, kind, name, &a, &note, e);
	if (!rc)
		rc = json_parse(out, note.json, note.len, NOTE_BYTES_MAX, kind, e);
	arena_clear(&a);
	snapshot_close(s);
	return rc == E_NOT_FOUND ? err_set(e, rc, "no %s %.40s", kind, name) : rc;
}

/* Every note of a kind as an array, by name. */
static int notes_read(struct folders *f, const char *kind, cJSON **out, struct err *e)
{
	struct snapshot *s = NULL;
	struct note notes[PAGE];
	struct arena a;
	char after[256] = "";
	size_t got = 0;
	int rc = snapshot_open(&s, f->service->index, e);
	*out = cJSON_CreateArray();
	if (!rc && !*out)
		rc = err_set(e, E_MEMORY, "out of memory");
	arena_init(&a, (size_t)PAGE * 2 * NOTE_BYTES_MAX);
	do {
		arena_clear(&a);
		if (!rc)
			rc = snapshot_notes(s, kind, after, PAGE, &a, notes, &got, e);
		for (size_t i = 0; !rc && i < got; i++) {
			cJSON *x = NULL;
			snprintf(after, sizeof after, "%s", notes[i].name);
			rc = json_parse(&x, notes[i].json, notes[i].len, NOTE_BYTES_MAX, kind, e);
			if (!rc && !cJSON_AddItemToArray(*out, x)) {
				cJSON_Delete(x);
				rc = err_set(e, E_MEMORY, "out of memory");
			}
		}
	} while (!rc && got == PAGE);
	arena_clear(&a);
	snapshot_close(s);
	if (rc) {
		cJSON_Delete(*out);
		*out = NULL;
	}
	return rc;
}

static int note_write(struct write *w, const char *kind, const cJSON *x, struct err *e)
{
	char *text = x ? cJSON_PrintUnformatted(x) : NULL;
	int rc = text ? index_note_put(w, kind, json_str(x, "id", ""), text, strlen(text), e) : err_set(e, E_MEMORY, "out of memory");
	cJSON_free(text);
	return rc;
}

static int write_end(struct write *w, int rc, struct err *e)
{
	if (!rc)
		return index_write_commit(w, e);
	index_write_abort(w);
	return rc;
}

/* ---- shapes ---- */

static int put_summary(cJSON *o, const struct ingest_summary *sum)
{
	cJSON *x = sum ? view_summary(sum) : cJSON_CreateNull();
	if (x && cJSON_AddItemToObject(o, "summary", x))
		return 1;
	cJSON_Delete(x);
	return 0;
}

/* The job as it is (lock held), or as it ends. sum NULL: not over. code NULL: no error. */
static cJSON *job_view(const struct sync *s, enum state state, const struct ingest_summary *sum, const char *code,
	const char *message, int64_t finished_ms)
{
	const struct ingest_progress *p = &s->progress;
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "id", s->id) && cJSON_AddStringToObject(o, "kind", "ingest") &&
	    cJSON_AddStringToObject(o, "state", state_names[state]) && view_put_list(o, "sources", s->ids, s->path_n) &&
	    view_put_list(o, "paths", s->paths, s->path_n) && cJSON_AddStringToObject(o, "collection", s->collection) &&
	    view_put_acl(o, s->acl, s->acl_n) && cJSON_AddNumberToObject(o, "files_done", (double)p->files_done) &&
	    cJSON_AddNumberToObject(o, "files_total", (double)p->files_total) &&
	    cJSON_AddNumberToObject(o, "chunks", (double)p->chunks) && cJSON_AddNumberToObject(o, "bytes_done", (double)p->bytes_done) &&
	    cJSON_AddNumberToObject(o, "bytes_total", (double)p->bytes_total) && put_summary(o, sum) && problems_put(o, &s->problems) &&
	    told_maker_put(o, &s->caller) &&
	    view_put_error(o, code, message) && view_put_time(o, "created", s->created_ms) && view_put_time(o, "started", s->started_ms) &&
	    view_put_time(o, "finished", finished_ms))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* A live job; lock held. */
static cJSON *live_view(const struct sync *s)
{
	enum state state = s->running ? RUNNING : s->asked_to_stop ? CANCELLED : QUEUED;
	return job_view(s, state, NULL, NULL, NULL, 0);
}

static cJSON *source_view(const struct sync *s, size_t i, const char *meta, int prune, const char *added, const char *synced)
{
	char now[CLOCK_TEXT_LEN];
	cJSON *o = cJSON_CreateObject();
	clock_text(now, s->created_ms);
	if (o && cJSON_AddStringToObject(o, "id", s->ids[i]) && cJSON_AddStringToObject(o, "path", s->paths[i]) &&
	    cJSON_AddStringToObject(o, "collection", s->collection) && cJSON_AddBoolToObject(o, "prune", prune) &&
	    view_put_acl(o, s->acl, s->acl_n) && view_put_meta(o, meta) && cJSON_AddStringToObject(o, "added", added ? added : now) &&
	    cJSON_AddStringToObject(o, "last_job", s->id) &&
	    (synced ? cJSON_AddStringToObject(o, "last_synced", synced) : cJSON_AddNullToObject(o, "last_synced")))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* ---- a job's run ---- */

static void on_event(void *ctx, const struct ingest_event *ev)
{
	struct sync *s = ctx;
	char label[40];
	snprintf(label, sizeof label, "verdict=\"%s\"", doc_verdict_name(ev->verdict));
	stat_count("footnote_ingest_total", label, 1);
	if (ev->verdict != DOC_FAILED && ev->verdict != DOC_SKIPPED && ev->verdict != DOC_PARTIAL)
		return;
	pthread_mutex_lock(&s->folders->lock);
	problems_add(&s->problems, &s->arena, ev);
	pthread_mutex_unlock(&s->folders->lock);
}

static void on_progress(void *ctx, const struct ingest_progress *p)
{
	struct sync *s = ctx;
	pthread_mutex_lock(&s->folders->lock);
	s->progress = *p;
	pthread_mutex_unlock(&s->folders->lock);
}

/* Deletes the oldest finished jobs over the limit, counting the live one that ends with this write. */
static int jobs_trim(struct folders *f, struct write *w, struct err *e)
{
	cJSON *all = NULL;
	const cJSON *x;
	int over, rc = notes_read(f, job_kind, &all, e);
	over = rc ? 0 : cJSON_GetArraySize(all) - f->service->conf.jobs_kept - ((int)f->live_n - 1);
	cJSON_ArrayForEach(x, all) {
		if (rc || over <= 0)
			break;
		if (!json_str(x, "finished", NULL))
			continue;
		rc = index_note_delete(w, job_kind, json_str(x, "id", ""), e);
		over--;
	}
	cJSON_Delete(all);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* The sources' notes learn that they were synced; one that is gone meanwhile stays gone. */
static int sources_synced(struct folders *f, struct write *w, const struct sync *s, int64_t now_ms, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; !rc && i < s->path_n; i++) {
		cJSON *x = NULL;
		rc = note_read(f, source_kind, s->ids[i], &x, e);
		if (rc == E_NOT_FOUND) {
			rc = OK;
			continue;
		}
		cJSON_DeleteItemFromObjectCaseSensitive(x, "last_synced");
		if (!rc && !view_put_time(x, "last_synced", now_ms))
			rc = err_set(e, E_MEMORY, "out of memory");
		if (!rc)
			rc = note_write(w, source_kind, x, e);
		cJSON_Delete(x);
	}
	return rc;
}

static int job_end(struct folders *f, struct sync *s, int rc, const struct ingest_summary *sum, const struct err *why, struct err *e)
{
	int64_t now = clock_wall_ms();
	enum state state = !rc ? DONE : rc == E_CANCELLED && s->asked_to_stop ? CANCELLED : FAILED;
	int stopped = rc == E_CANCELLED && state == FAILED;
	struct write *w = NULL;
	cJSON *view;
	pthread_mutex_lock(&f->change);      /* from the view on: an erasure must not fall between it and the note */
	pthread_mutex_lock(&f->lock);
	view = job_view(s, state, rc ? NULL : sum, state != FAILED ? NULL : stopped ? "interrupted" : status_name(rc),
		stopped ? "the service was stopped; what was stored until then is kept" : why->msg, now);
	pthread_mutex_unlock(&f->lock);
	rc = index_write_begin(&w, f->service->index, e);
	if (!rc)
		rc = note_write(w, job_kind, view, e);
	if (!rc && state == DONE)
		rc = sources_synced(f, w, s, now, e);
	if (!rc)
		rc = jobs_trim(f, w, e);
	if (w)
		rc = write_end(w, rc, e);
	pthread_mutex_unlock(&f->change);
	cJSON_Delete(view);
	return rc;
}

static void job_do(struct folders *f, struct sync *s)
{
	struct ingest_sink sink = { s, on_event, on_progress };
	struct ingest_request q = { .collection = s->collection, .cwd = "/", .paths = s->paths, .path_n = s->path_n, .acl = s->acl,
		.acl_n = s->acl_n, .meta = s->meta, .prune = s->prune, .reader = &s->reader };
	struct ingest_summary sum = { 0 };
	struct ingest with;
	struct err e = { 0 }, of_end;
	struct arena a;
	int rc = flag_is(&s->cancel) ? err_set(&e, E_CANCELLED, "cancelled") : service_ingest(f->service, &with, &s->cancel, &e);
	arena_init(&a, JOB_ARENA);
	if (!rc)
		rc = roots_parse(f->service->conf.sources_roots, &a, &q.within, &q.within_n, &e);
	if (!rc)
		rc = roots_resolve(q.within, q.within_n, &a, &q.within, &e);
	if (!rc)
		rc = ingest_paths(&with, &q, &sink, &sum, &e);
	arena_clear(&a);
	if (job_end(f, s, rc, &sum, &e, &of_end))
		log_put(LOG_ERROR, "folders", "job %s: its end is not written: %s", s->id, of_end.msg);
}

static void sync_free(struct sync *s)
{
	if (!s)
		return;
	arena_clear(&s->arena);
	mem_free(s);
}

static void *folders_main(void *arg)
{
	struct folders *f = arg;
	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		struct sync *s = f->live;
		if (!s) {
			pthread_cond_wait(&f->came, &f->lock);
			continue;
		}
		s->running = !flag_is(&s->cancel);
		s->started_ms = s->running ? clock_wall_ms() : 0;
		pthread_mutex_unlock(&f->lock);
		job_do(f, s);
		pthread_mutex_lock(&f->lock);
		f->live = s->next;
		f->live_n--;
		sync_free(s);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* ---- start and end ---- */

/* Jobs that were queued or ran when a former process ended. */
static int jobs_interrupt(struct folders *f, struct err *e)
{
	struct write *w = NULL;
	cJSON *all = NULL, *x;
	int rc = notes_read(f, job_kind, &all, e);
	cJSON_ArrayForEach(x, all) {
		if (rc || json_str(x, "finished", NULL))
			continue;
		if (!w)
			rc = index_write_begin(&w, f->service->index, e);
		cJSON_DeleteItemFromObjectCaseSensitive(x, "state");
		cJSON_DeleteItemFromObjectCaseSensitive(x, "error");
		cJSON_DeleteItemFromObjectCaseSensitive(x, "finished");
		if (!rc && !(cJSON_AddStringToObject(x, "state", state_names[FAILED]) &&
		    view_put_error(x, "interrupted", "the service ended; what was stored until then is kept") && view_put_time(x, "finished", clock_wall_ms())))
			rc = err_set(e, E_MEMORY, "out of memory");
		if (!rc)
			rc = note_write(w, job_kind, x, e);
	}
	cJSON_Delete(all);
	return w ? write_end(w, rc, e) : rc;
}

int folders_open(struct folders **out, struct service *s, struct err *e)
{
	struct folders *f = mem_calloc(1, sizeof *f);
	int rc;
	*out = NULL;
	if (!f)
		return err_set(e, E_MEMORY, "out of memory");
	f->service = s;
	pthread_mutex_init(&f->change, NULL);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->came, NULL);
	rc = jobs_interrupt(f, e);
	if (!rc) {
		rc = pthread_create(&f->thread, NULL, folders_main, f);
		f->runs = !rc;
		rc = rc ? err_set(e, E_MEMORY, "start the thread of folders: %s", strerror(rc)) : OK;
	}
	if (rc) {
		folders_close(f);
		return rc;
	}
	pthread_mutex_lock(&door);
	s->folders = *out = f;
	pthread_mutex_unlock(&door);
	return OK;
}

void folders_close(struct folders *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&door);
	f->service->folders = NULL;
	pthread_mutex_unlock(&door);
	pthread_mutex_lock(&f->lock);
	f->stop = 1;
	for (struct sync *s = f->live; s; s = s->next)
		flag_set(&s->cancel);
	pthread_cond_signal(&f->came);
	pthread_mutex_unlock(&f->lock);
	if (f->runs)
		pthread_join(f->thread, NULL);
	while (f->live) {                    /* the notes of those that waited still say so: the next start tells */
		struct sync *s = f->live;
		f->live = s->next;
		sync_free(s);
	}
	pthread_cond_destroy(&f->came);
	pthread_mutex_destroy(&f->lock);
	pthread_mutex_destroy(&f->change);
	mem_free(f);
}

/* ---- adding ---- */

static void source_id(char out[ID_LEN + 1], const char *collection, const char *path)
{
	struct sha256 *h = sha256_new();
	uint8_t sum[32] = { 0 };
	if (h) {
		sha256_put(h, collection, strlen(collection) + 1);
		sha256_put(h, path, strlen(path));
		sha256_end(h, sum);
	}
	out[0] = 's';
	hex_put(out + 1, sum, 8);
}

static const char **list_copy(struct arena *a, const char *const *list, size_t n)
{
	const char **out = arena_calloc(a, n + 1, sizeof *out);
	for (size_t i = 0; out && i < n; i++)
		if (!(out[i] = arena_strdup(a, list[i])))
			return NULL;
	return out;
}

static struct sync *sync_new(struct folders *f, const struct folder_in *in, const struct caller *c)
{
	struct sync *s = mem_calloc(1, sizeof *s);
	char id[ID_LEN + 1];
	int ok;
	if (!s)
		return NULL;
	arena_init(&s->arena, JOB_ARENA);
	s->folders = f;
	s->created_ms = clock_wall_ms();
	s->id[0] = 'j';
	clock_name(s->id + 1, s->created_ms);
	s->path_n = in->path_n;
	s->prune = in->prune;
	s->paths = list_copy(&s->arena, in->paths, in->path_n);
	s->ids = arena_calloc(&s->arena, in->path_n + 1, sizeof *s->ids);
	s->collection = arena_strdup(&s->arena, in->collection);
	s->caller = *c;
	s->caller.key_id = c->key_id ? arena_strdup(&s->arena, c->key_id) : NULL;
	s->caller.groups = list_copy(&s->arena, c->groups, c->group_n);
	ok = s->paths && s->ids && s->collection && s->caller.groups && (s->caller.key_id || !c->key_id);
	if (in->acl)
		ok = ok && (s->acl = list_copy(&s->arena, in->acl, in->acl_n));
	if (in->meta)
		ok = ok && (s->meta = arena_strdup(&s->arena, in->meta));
	s->acl_n = in->acl_n;
	for (size_t i = 0; ok && i < in->path_n; i++) {
		source_id(id, in->collection, in->paths[i]);
		ok = (s->ids[i] = arena_strdup(&s->arena, id)) != NULL;
	}
	if (!ok) {
		sync_free(s);
		return NULL;
	}
	caller_reader(&s->caller, NULL, &s->reader);
	return s;
}

/* Writes the job's note and its sources'; the latter's views into list. `change` held. */
static int sync_note(struct folders *f, struct sync *s, cJSON *list, struct err *e)
{
	struct write *w = NULL;
	cJSON *job = live_view(s);
	int rc = index_write_begin(&w, f->service->index, e);
	if (!rc)
		rc = note_write(w, job_kind, job, e);
	for (size_t i = 0; !rc && i < s->path_n; i++) {
		cJSON *old = NULL, *x;
		rc = note_read(f, source_kind, s->ids[i], &old, e);
		if (rc && rc != E_NOT_FOUND)
			break;
		x = source_view(s, i, s->meta, s->prune, json_str(old, "added", NULL), json_str(old, "last_synced", NULL));
		cJSON_Delete(old);
		rc = note_write(w, source_kind, x, e);
		if (!rc && !cJSON_AddItemToArray(list, x))
			rc = err_set(e, E_MEMORY, "out of memory");
		if (rc)
			cJSON_Delete(x);
	}
	cJSON_Delete(job);
	return w ? write_end(w, rc, e) : rc;
}

static void sync_queue(struct folders *f, struct sync *s)
{
	struct sync **at = &f->live;
	pthread_mutex_lock(&f->lock);
	while (*at)
		at = &(*at)->next;
	*at = s;
	f->live_n++;
	pthread_cond_signal(&f->came);
	pthread_mutex_unlock(&f->lock);
}

static int queue_is_full(struct folders *f)
{
	size_t n;
	pthread_mutex_lock(&f->lock);
	n = f->live_n;
	pthread_mutex_unlock(&f->lock);
	return n > (size_t)f->service->conf.sources_queue;
}

static int counts_put(struct folders *f, const struct caller *c, cJSON *list, struct err *e);

int folders_add(struct folders *f, const struct folder_in *in, const struct caller *c, cJSON **out, struct err *e)
{
	struct sync *s = sync_new(f, in, c);
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "sources") : NULL, *first = NULL;
	int rc = s && list && cJSON_AddStringToObject(o, "job_id", s->id) ? OK : err_set(e, E_MEMORY, "out of memory");
	pthread_mutex_lock(&f->change);
	if (!rc && queue_is_full(f))
		rc = err_set(e, E_LIMIT, "the queue of folders is full, try again");
	if (!rc)
		rc = sync_note(f, s, list, e);
	if (!rc) {
		sync_queue(f, s);
		s = NULL;
	}
	pthread_mutex_unlock(&f->change);
	sync_free(s);
	if (!rc)
		rc = counts_put(f, c, list, e);
	if (!rc) {
		first = cJSON_Duplicate(cJSON_GetArrayItem(list, 0), 1);
		if (!first || !cJSON_AddItemToObject(o, "source", first)) {
			cJSON_Delete(first);
			rc = err_set(e, E_MEMORY, "out of memory");
		}
	}
	*out = rc ? NULL : o;
	if (rc)
		cJSON_Delete(o);
	return rc;
}

/* ---- sources ---- */

/* 1 when the document came from a file at or below the path. */
static int is_below(const struct doc *d, const char *path)
{
	size_t n = strlen(path);
	if (!*d->root && !d->source_mtime_ns && !strchr(d->source, '#'))
		return 0;                        /* pushed under a name like it */
	return path_is_within(d->source, &path, 1) || (!strncmp(d->source, path, n) && d->source[n] == '#');
}

/* "documents" of each source in the list, as the caller sees them. */
static int counts_put(struct folders *f, const struct caller *c, cJSON *list, struct err *e)
{
	size_t n = (size_t)cJSON_GetArraySize(list), got = 0, i;
	uint64_t *counts = mem_calloc(n + 1, sizeof *counts), after = 0;
	struct doc *page = mem_calloc(PAGE, sizeof *page);
	struct snapshot *snap = NULL;
	struct reader reader;
	struct arena a;
	cJSON *x;
	int rc = counts && page ? snapshot_open(&snap, f->service->index, e) : err_set(e, E_MEMORY, "out of memory");
	arena_init(&a, (size_t)512 << 20);
	caller_reader(c, NULL, &reader);
	do {
		arena_clear(&a);
		if (!rc && n)
			rc = snapshot_docs(snap, &reader, after, 0, PAGE, &a, page, &got, e);
		for (size_t d = 0; !rc && d < got; d++) {
			after = page[d].key;
			i = 0;
			cJSON_ArrayForEach(x, list) {
				counts[i] += !strcmp(page[d].collection, json_str(x, "collection", "")) && is_below(&page[d], json_str(x, "path", "?"));
				i++;
			}
		}
	} while (!rc && got == PAGE);
	i = 0;
	cJSON_ArrayForEach(x, list)
		if (!rc && !cJSON_AddNumberToObject(x, "documents", (double)counts[i++]))
			rc = err_set(e, E_MEMORY, "out of memory");
	arena_clear(&a);
	snapshot_close(snap);
	mem_free(page);
	mem_free(counts);
	return rc;
}

int folders_list(struct folders *f, const struct caller *c, cJSON **out, struct err *e)
{
	cJSON *all = NULL, *o;
	int rc = notes_read(f, source_kind, &all, e);
	for (cJSON *x = all ? all->child : NULL, *next; x; x = next) {
		next = x->next;
		if (!told_of(f->service, c, x))
			cJSON_Delete(cJSON_DetachItemViaPointer(all, x));
	}
	if (!rc)
		rc = counts_put(f, c, all, e);
	o = rc ? NULL : cJSON_CreateObject();
	if (!rc && (!o || !cJSON_AddItemToObject(o, "sources", all)))
		rc = err_set(e, E_MEMORY, "out of memory");
	*out = rc ? NULL : o;
	if (rc) {
		cJSON_Delete(o);
		cJSON_Delete(all);
	}
	return rc;
}

static int source_is_busy(struct folders *f, const char *id)
{
	int busy = 0;
	pthread_mutex_lock(&f->lock);
	for (struct sync *s = f->live; s; s = s->next)
		for (size_t i = 0; i < s->path_n; i++)
			busy |= !strcmp(s->ids[i], id);
	pthread_mutex_unlock(&f->lock);
	return busy;
}

/* Deletes the documents below the source's path, a page a commit. */
static int documents_delete_below(struct folders *f, const struct caller *c, const cJSON *x, struct forgotten *out, struct err *e)
{
	struct doc *page = mem_calloc(PAGE, sizeof *page);
	uint64_t after = 0;
	size_t got = 0;
	struct reader reader;
	struct arena a;
	int rc = page ? OK : err_set(e, E_MEMORY, "out of memory");
	arena_init(&a, (size_t)512 << 20);
	caller_reader(c, json_str(x, "collection", ""), &reader);
	do {
		struct snapshot *snap = NULL;
		struct write *w = NULL;
		uint64_t n = 0, held = 0;
		arena_clear(&a);
		if (!rc)
			rc = snapshot_open(&snap, f->service->index, e);
		if (!rc)
			rc = snapshot_docs(snap, &reader, after, ~0u, PAGE, &a, page, &got, e);
		snapshot_close(snap);
		if (!rc)
			rc = index_write_begin(&w, f->service->index, e);
		for (size_t i = 0; !rc && i < got; i++) {
			after = page[i].key;
			if (!is_below(&page[i], json_str(x, "path", "?")))
				continue;
			rc = index_delete(w, page[i].id, e);
			n += !rc && doc_verdict_has_text(page[i].verdict);
			held += rc == E_DENIED;
			rc = rc == E_NOT_FOUND || rc == E_DENIED ? OK : rc;
		}
		if (w)
			rc = write_end(w, rc, e);
		out->deleted += rc ? 0 : n;
		out->held += rc ? 0 : held;
	} while (!rc && got == PAGE);
	arena_clear(&a);
	mem_free(page);
	return rc;
}

int folders_forget(struct folders *f, const struct caller *c, const char *id, int documents, struct forgotten *out, struct err *e)
{
	struct write *w = NULL;
	cJSON *x = NULL;
	int rc;
	*out = (struct forgotten){ 0, 0 };
	pthread_mutex_lock(&f->change);
	rc = note_read(f, source_kind, id, &x, e);
	if (!rc && !told_of(f->service, c, x))
		rc = err_set(e, E_NOT_FOUND, "no source %.40s", id);
	if (!rc && source_is_busy(f, id))
		rc = err_set(e, E_CONFLICT, "source %.40s: its job %.40s is not over; cancel it first", id, json_str(x, "last_job", ""));
	if (!rc && documents)
		rc = documents_delete_below(f, c, x, out, e);
	if (!rc)
		rc = index_write_begin(&w, f->service->index, e);
	if (!rc)
		rc = write_end(w, index_note_delete(w, source_kind, id, e), e);
	pthread_mutex_unlock(&f->change);
	cJSON_Delete(x);
	return rc;
}

/* ---- jobs ---- */

/* The live job, or NULL; lock held. */
static struct sync *live_find(struct folders *f, const char *id)
{
	struct sync *s = f->live;
	while (s && strcmp(s->id, id))
		s = s->next;
	return s;
}

/* As it is noted, where the caller may know of it. */
static int job_find(struct folders *f, const struct caller *c, const char *id, cJSON **out, struct err *e)
{
	struct sync *s;
	int rc = OK;
	*out = NULL;
	pthread_mutex_lock(&f->lock);
	s = live_find(f, id);
	if (s && !(*out = live_view(s)))
		rc = err_set(e, E_MEMORY, "out of memory");
	pthread_mutex_unlock(&f->lock);
	if (!s)
		rc = note_read(f, job_kind, id, out, e);
	if (!rc && !told_of(f->service, c, *out)) {
		cJSON_Delete(*out);
		*out = NULL;
		rc = err_set(e, E_NOT_FOUND, "no job %.40s", id);
	}
	return rc;
}

static int job_read(struct folders *f, const struct caller *c, const char *id, cJSON **out, struct err *e)
{
	int rc = job_find(f, c, id, out, e);
	if (!rc)
		told_cut(*out, c);
	return rc;
}

int folders_jobs(struct folders *f, const struct caller *c, const char *id, cJSON **out, struct err *e)
{
	cJSON *all = NULL, *o = NULL, *list = NULL;
	int rc;
	if (id)
		return job_read(f, c, id, out, e);
	rc = notes_read(f, job_kind, &all, e);
	if (!rc && (!(o = cJSON_CreateObject()) || !(list = cJSON_AddArrayToObject(o, "jobs"))))
		rc = err_set(e, E_MEMORY, "out of memory");
	for (int i = rc ? 0 : cJSON_GetArraySize(all); i-- > 0 && !rc; ) {
		cJSON *x = NULL;
		struct err why;
		int one = job_read(f, c, json_str(cJSON_GetArrayItem(all, i), "id", ""), &x, &why);
		if (one == E_NOT_FOUND)
			continue;
		if (one || !cJSON_AddItemToArray(list, x)) {
			rc = one ? err_set(e, one, "%s", why.msg) : err_set(e, E_MEMORY, "out of memory");
			cJSON_Delete(x);
		}
	}
	cJSON_Delete(all);
	*out = rc ? NULL : o;
	if (rc)
		cJSON_Delete(o);
	return rc;
}

int folders_cancel(struct folders *f, const struct caller *c, const char *id, cJSON **out, struct err *e)
{
	struct sync *s;
	int rc = job_find(f, c, id, out, e), may = !rc && told_may_stop(*out, c);
	cJSON_Delete(*out);
	*out = NULL;
	if (rc)
		return rc;
	if (!may)
		return err_set(e, E_DENIED, "job %.40s: another key made it; that one or an admin key may stop it", id);
	pthread_mutex_lock(&f->lock);
	s = live_find(f, id);
	if (s) {
		s->asked_to_stop = 1;
		flag_set(&s->cancel);
		if (!(*out = live_view(s)))
			rc = err_set(e, E_MEMORY, "out of memory");
	} else {
		rc = err_set(e, E_CONFLICT, "job %.40s is over", id);
	}
	pthread_mutex_unlock(&f->lock);
	if (!rc)
		told_cut(*out, c);
	return rc;
}

/* ---- erasure ---- */

/* 1 when a live job has the path of one of them itself; lock held. */
static int is_named_by(const struct sync *s, const struct ingest_part *docs, size_t n)
{
	for (size_t i = 0; i < s->path_n; i++)
		for (size_t k = 0; k < n; k++)
			if (!strcmp(s->paths[i], docs[k].source))
				return 1;
	return 0;
}

int folders_erase_begin(struct service *service, const struct ingest_part *docs, size_t n, struct err *e)
{
	struct folders *f;
	int rc = OK;
	pthread_mutex_lock(&door);
	if (!(f = service->folders))
		return OK;
	pthread_mutex_lock(&f->change);
	pthread_mutex_lock(&f->lock);
	for (struct sync *s = f->live; s && !rc; s = s->next)
		if (is_named_by(s, docs, n))
			rc = err_set(e, E_CONFLICT, "job %s is about this very file and not over; cancel it first", s->id);
	pthread_mutex_unlock(&f->lock);
	if (rc) {
		pthread_mutex_unlock(&f->change);
		pthread_mutex_unlock(&door);
	}
	return rc;
}

void folders_erase_end(struct service *service, const struct ingest_part *docs, size_t n)
{
	struct folders *f = service->folders;
	if (f) {
		pthread_mutex_lock(&f->lock);
		for (struct sync *s = f->live; s; s = s->next)
			problems_forget(&s->problems, docs, n);
		pthread_mutex_unlock(&f->lock);
		pthread_mutex_unlock(&f->change);
	}
	pthread_mutex_unlock(&door);
}
