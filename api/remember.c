/* remember.c: owns what waits to be written after answers, and the thread that writes it (remember.h).
 *
 * Method: memos and sums gather in memory. The thread, started by the first of them, waits answers.commit_ms from then, or
 * until it is hurried (a reader of records, the end), takes all and writes it in one commit: a sync of the disk costs
 * milliseconds whatever is in it. Questions are hashed and the model's file is read there as well, before the write begins.
 * A document that was removed between the answer and the commit makes its memo void (index_note_put checks it inside the
 * write), so that no word of it comes back. Names of records begin with their time, so the oldest stand first.
 * Threads: any tell; one writes. Lock order: this lock is the last, and none is held while writing. Failure: what cannot be
 * written is counted and told in the log; an answer never fails by it. */
#include "api/remember.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "api/gaps.h"
#include "api/models.h"
#include "api/question.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"

enum { MEMOS_MAX = 4096, TEXT_MAX = 64 << 20, ROWS_MAX = 1024, NAMES_PAGE = 1024, ARENA_BYTES = 256 << 20, TRIM_MS = 3600 * 1000, PATH_BYTES = 4096 };
static const double day_ms = 24 * 3600 * 1e3;

struct batch { struct memo *memos; size_t n, text; struct usage_row *rows; size_t row_n; }; /* text: bytes of questions and histories */
struct remember {
	struct service *s;
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	pthread_t thread;
	int started, closing, hurry;
	struct batch now;                    /* what waits: MEMOS_MAX, TEXT_MAX and ROWS_MAX at most */
	double since_ms;                     /* clock_ms() of the first of it */
	uint64_t told, written;              /* batches begun and ended */
	double trimmed_ms;                   /* the thread's; 0: never */
	uint64_t records;                    /* likewise: written since */
	pthread_mutex_t hash_lock;
	struct { char model[CONF_TEXT], hex[65]; } hashes[2]; /* of the models asked for; "": free */
};

int remember_open(struct remember **out, struct service *s, struct err *e)
{
	struct remember *m = *out = mem_calloc(1, sizeof *m);
	pthread_condattr_t mono;
	if (!m) return err_set(e, E_MEMORY, "start: out of memory");
	m->s = s;
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->hash_lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&m->work, &mono);
	pthread_cond_init(&m->done, &mono);
	pthread_condattr_destroy(&mono);
	return OK;
}

static void memo_clear(struct memo *x)
{
	cJSON_Delete(x->json);
	mem_free(x->question);
	mem_free(x->history);
	memset(x, 0, sizeof *x);
}

static void batch_clear(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) memo_clear(&b->memos[i]);
	mem_free(b->memos);
	mem_free(b->rows);
	memset(b, 0, sizeof *b);
}

/* ---- the model's hash ---- */

/* The note that keeps the hash of the file at path, as it is now: its name, and what must be equal. */
static int hash_note(const char *path, char name[33], char stamp[64])
{
	struct stat st;
	uint8_t h[32];
	if (stat(path, &st)) return 0;
	sha256_of(path, strlen(path), h);
	hex_put(name, h, 16);
	snprintf(stamp, 64, "%lld %lld.%09ld", (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	return 1;
}

static int hash_known(struct service *s, const char *name, const char *stamp, char hex[65])
{
	struct snapshot *snap;
	struct arena a;
	struct note n;
	cJSON *o = NULL;
	int known = 0;
	if (snapshot_open(&snap, s->index, NULL)) return 0;
	arena_init(&a, 1 << 16);
	if (!snapshot_note(snap, "model_hash", name, &a, &n, NULL) && !json_parse(&o, n.json, n.len, 4096, "model_hash", NULL)) {
		const char *sum = json_str(o, "sha256", "");
		known = strcmp(json_str(o, "stamp", ""), stamp) == 0 && strlen(sum) == 64;
		if (known) snprintf(hex, 65, "%.64s", sum);
	}
	cJSON_Delete(o);
	arena_clear(&a);
	snapshot_close(snap);
	return known;
}

static void hash_make(struct remember *m, const char *model, char hex[65])
{
	char name[33], stamp[64], json[200];
	uint8_t sum[32];
	struct write *w;
	struct buf path;
	struct err e;
	buf_init(&path, PATH_BYTES);
	if (model_find(&m->s->conf, model, &path, &e) || !hash_note(buf_cstr(&path), name, stamp)) goto out;
	if (hash_known(m->s, name, stamp, hex)) goto out;
	if (sha256_file(buf_cstr(&path), sum, NULL, NULL, &e)) {
		log_put(LOG_WARN, "answers", "the language model's file: %s", e.msg);
		goto out;
	}
	hex_put(hex, sum, sizeof sum);
	snprintf(json, sizeof json, "{\"stamp\":\"%s\",\"sha256\":\"%s\"}", stamp, hex);
	if (index_write_begin(&w, m->s->index, &e)) goto out;
	if (index_note_put(w, "model_hash", name, json, strlen(json), &e)) index_write_abort(w);
	else if (index_write_commit(w, &e)) log_put(LOG_WARN, "answers", "the hash of the language model is not kept: %s", e.msg);
out:
	buf_clear(&path);
}

void remember_model_hash(struct service *s, const char *model, char hex[65])
{
	struct remember *m = s->memory;
	size_t i = 0;
	pthread_mutex_lock(&m->hash_lock);
	while (i < 1 && *m->hashes[i].model && strcmp(m->hashes[i].model, model) != 0) i++;
	if (strcmp(m->hashes[i].model, model) != 0) {
		m->hashes[i].hex[0] = 0;
		hash_make(m, model, m->hashes[i].hex);
		snprintf(m->hashes[i].model, sizeof m->hashes[i].model, "%s", model);
	}
	memcpy(hex, m->hashes[i].hex, sizeof m->hashes[i].hex);
	pthread_mutex_unlock(&m->hash_lock);
}

/* ---- removing ---- */

/* The time in a record's name, "ans_" and 12 hex digits of milliseconds; 0: it has none. */
static int64_t name_ms(const char *name)
{
	char digits[13];
	if (strlen(name) < 16 || strncmp(name, "ans_", 4) != 0) return 0;
	snprintf(digits, sizeof digits, "%.12s", name + 4);
	return (int64_t)strtoull(digits, NULL, 16);
}

static int names_count(struct snapshot *snap, const char *kind, uint64_t *n, struct err *e)
{
	const char **names, *after = "";
	struct arena a;
	size_t got = NAMES_PAGE;
	int rc = OK;
	arena_init(&a, ARENA_BYTES);
	names = arena_alloc(&a, NAMES_PAGE * sizeof *names);
	if (!names) rc = err_set(e, E_MEMORY, "answers: out of memory");
	for (*n = 0; !rc && got == NAMES_PAGE; *n += got) {
		rc = snapshot_note_names(snap, kind, after, NAMES_PAGE, &a, names, &got, e);
		if (!rc && got) after = names[got - 1];
	}
	arena_clear(&a);
	return rc;
}

/* Removes the first notes of a kind: `over` of them, and those older than before_ms. */
static int kind_trim(struct snapshot *snap, struct write *w, const char *kind, uint64_t over, int64_t before_ms, uint64_t *removed, struct err *e)
{
	const char **names, *after = "";
	struct arena a;
	size_t got = NAMES_PAGE;
	int rc = OK, more = 1;
	arena_init(&a, ARENA_BYTES);
	names = arena_alloc(&a, NAMES_PAGE * sizeof *names);
	if (!names) rc = err_set(e, E_MEMORY, "answers: out of memory");
	while (!rc && more && got == NAMES_PAGE) {
		rc = snapshot_note_names(snap, kind, after, NAMES_PAGE, &a, names, &got, e);
		for (size_t i = 0; !rc && more && i < got; i++) {
			after = names[i];
			more = over || name_ms(after) < before_ms;
			if (!more) continue;
			rc = index_note_delete(w, kind, after, e);
			if (rc == E_NOT_FOUND) rc = OK;
			else if (!rc) ++*removed;
			over -= over > 0;
		}
	}
	arena_clear(&a);
	return rc;
}

static int usage_trim(struct snapshot *snap, struct write *w, int64_t before_ms, uint64_t *removed, struct err *e)
{
	const char *names[NAMES_PAGE];
	char day[USAGE_NAME];
	struct arena a;
	size_t got;
	arena_init(&a, ARENA_BYTES);
	usage_name(day, before_ms, "");
	int rc = snapshot_note_names(snap, "usage", "", NAMES_PAGE, &a, names, &got, e);
	for (size_t i = 0; !rc && i < got && strcmp(names[i], day) < 0; i++) {
		rc = index_note_delete(w, "usage", names[i], e);
		*removed += !rc;
	}
	arena_clear(&a);
	return rc;
}

/* In a write of the caller's. */
static int trim(struct service *s, struct write *w, uint64_t *removed, struct err *e)
{
	const struct conf *c = &s->conf;
	int64_t now = clock_wall_ms(), before = c->keep_days > 0 ? now - (int64_t)(c->keep_days * day_ms) : 0;
	struct snapshot *snap;
	uint64_t n, max = (uint64_t)c->keep_max;
	int rc = snapshot_open(&snap, s->index, e);
	*removed = 0;
	if (rc) return rc;
	rc = names_count(snap, "answer", &n, e);
	if (!rc) rc = kind_trim(snap, w, "answer", n > max ? n - max : 0, before, removed, e);
	if (!rc) rc = kind_trim(snap, w, "feedback", 0, before, removed, e);
	if (!rc) rc = usage_trim(snap, w, now - (int64_t)(c->usage_days * day_ms), removed, e);
	snapshot_close(snap);
	return rc;
}

int remember_trim(struct service *s, uint64_t *removed, struct err *e)
{
	struct write *w;
	remember_flush(s->memory);
	int rc = index_write_begin(&w, s->index, e);
	if (rc) return rc;
	rc = trim(s, w, removed, e);
	if (!rc) return index_write_commit(w, e);
	index_write_abort(w);
	return rc;
}

/* ---- writing ---- */

/* What only this thread adds to a memo: hashes. */
static int memo_finish(struct service *s, struct memo *x, struct err *e)
{
	char hex[65];
	int rc = x->question ? question_stored(s, x->question, x->json, e) : OK;
	if (!rc && x->history) {
		rc = question_hash(s, x->history, hex, e);
		if (!rc && !cJSON_AddStringToObject(x->json, "history_hash", hex)) rc = err_set(e, E_MEMORY, "out of memory");
	}
	if (rc || !x->model) return rc;
	remember_model_hash(s, x->model, hex);
	if (*hex && !cJSON_AddStringToObject(cJSON_GetObjectItemCaseSensitive(x->json, "made_by"), "model_sha256", hex))
		rc = err_set(e, E_MEMORY, "out of memory");
	return rc;
}

/* Of those that can be: what one cannot have hashed, a history too long for it, must not cost the others. */
static void memos_finish(struct remember *m, struct batch *b)
{
	size_t kept = 0;
	struct err e;
	for (size_t i = 0; i < b->n; i++) {
		struct memo x = b->memos[i];
		if (!memo_finish(m->s, &x, &e)) {
			b->memos[kept++] = x;
			continue;
		}
		stat_count("footnote_answer_records_lost_total", "", 1);
		log_put(LOG_WARN, "answers", "the record of an answer is not written: %s", e.msg);
		memo_clear(&x);
	}
	b->n = kept;
}

static int memo_write(struct write *w, struct memo *x, struct err *e)
{
	char *text = cJSON_PrintUnformatted(x->json);
	int rc = text ? index_note_put(w, x->kind, x->name, text, strlen(text), e) : err_set(e, E_MEMORY, "out of memory");
	cJSON_free(text);
	if (rc != E_NOT_FOUND && rc != E_LIMIT && rc != E_USAGE) return rc;
	stat_count("footnote_answer_records_void_total", "", 1);  /* its document is gone, or it is over a note's size */
	return OK;
}

static int batch_write(struct remember *m, struct batch *b, struct err *e)
{
	struct write *w;
	uint64_t removed;
	size_t gaps = 0;
	double now = clock_ms();
	memos_finish(m, b);
	int rc = index_write_begin(&w, m->s->index, e);
	if (rc) return rc;
	for (size_t i = 0; !rc && i < b->n; i++) {
		gaps += strcmp(b->memos[i].kind, GAP_KIND) == 0;
		rc = memo_write(w, &b->memos[i], e);
	}
	if (!rc && gaps) rc = gaps_drop(m->s, w, gaps, e);
	if (!rc) rc = usage_write(m->s, w, b->rows, b->row_n, e);
	m->records += b->n;
	/* before the first record, each hour, and when a hundredth of the limit has come since */
	if (!rc && b->n && (!m->trimmed_ms || now > m->trimmed_ms + TRIM_MS || m->records > (uint64_t)m->s->conf.keep_max / 100)) {
		rc = trim(m->s, w, &removed, e);
		m->trimmed_ms = now;
		m->records = 0;
	}
	if (!rc) return index_write_commit(w, e);
	index_write_abort(w);
	return rc;
}

static void batch_end(struct remember *m, struct batch *b)
{
	struct err e;
	double t0 = clock_ms();
	if (batch_write(m, b, &e)) {
		stat_count("footnote_answer_records_lost_total", "", (double)b->n);
		log_put(LOG_WARN, "answers", "%zu records of answers are not written: %s", b->n, e.msg);
	}
	stat_observe_ms("footnote_answer_records_commit_seconds", "", clock_ms() - t0);
	batch_clear(b);
}

static int is_waiting(const struct remember *m)
{
	return m->now.n || m->now.row_n;
}

/* Under the lock: until the batch is due. */
static void due_wait(struct remember *m)
{
	double until = m->since_ms + m->s->conf.keep_commit_ms;
	struct timespec t = { (time_t)(until / 1000), (long)((until - 1000.0 * (double)(time_t)(until / 1000)) * 1e6) };
	while (!m->hurry && !m->closing && clock_ms() < until) pthread_cond_timedwait(&m->work, &m->lock, &t);
}

static void *write_batches(void *ctx)
{
	struct remember *m = ctx;
	pthread_mutex_lock(&m->lock);
	while (!m->closing || is_waiting(m)) {
		if (!is_waiting(m)) {
			pthread_cond_wait(&m->work, &m->lock);
			continue;
		}
		due_wait(m);
		struct batch b = m->now;
		memset(&m->now, 0, sizeof m->now);
		m->hurry = 0;
		pthread_mutex_unlock(&m->lock);
		batch_end(m, &b);
		pthread_mutex_lock(&m->lock);
		m->written++;
		pthread_cond_broadcast(&m->done);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

/* Under the lock, before something is put in: begins a batch, and the thread. 0: there is no thread to be had. */
static int batch_begin(struct remember *m)
{
	if (!m->started) m->started = pthread_create(&m->thread, NULL, write_batches, m) == 0;
	if (m->started && !is_waiting(m)) {
		m->told++;
		m->since_ms = clock_ms();
	}
	return m->started;
}

void remember_memo(struct remember *m, struct memo *memo)
{
	size_t text = (memo->question ? strlen(memo->question) : 0) + (memo->history ? strlen(memo->history) : 0);
	int kept = 0;
	pthread_mutex_lock(&m->lock);
	if (!m->now.memos) m->now.memos = mem_calloc(MEMOS_MAX, sizeof *m->now.memos);
	if (m->now.memos && m->now.n < MEMOS_MAX && text <= TEXT_MAX - m->now.text && batch_begin(m)) {
		m->now.memos[m->now.n++] = *memo;
		m->now.text += text;
		kept = 1;
		pthread_cond_signal(&m->work);
	}
	pthread_mutex_unlock(&m->lock);
	if (kept) return;
	stat_count("footnote_answer_records_lost_total", "", 1);
	log_put(LOG_WARN, "answers", "a record of an answer finds no room: too many wait to be written");
	memo_clear(memo);
}

void remember_usage(struct remember *m, const char *key_id, const struct usage *u)
{
	char name[USAGE_NAME];
	size_t i = 0;
	usage_name(name, clock_wall_ms(), key_id);
	pthread_mutex_lock(&m->lock);
	if (!m->now.rows) m->now.rows = mem_calloc(ROWS_MAX, sizeof *m->now.rows);
	if (m->now.rows && batch_begin(m)) {
		while (i < m->now.row_n && strcmp(m->now.rows[i].name, name) != 0) i++;
		if (i == m->now.row_n && i < ROWS_MAX) {
			memcpy(m->now.rows[i].name, name, sizeof name);
			m->now.row_n++;
		}
		if (i < ROWS_MAX) usage_add(&m->now.rows[i].sum, u);
		pthread_cond_signal(&m->work);
	}
	pthread_mutex_unlock(&m->lock);
}

void remember_flush(struct remember *m)
{
	pthread_mutex_lock(&m->lock);
	uint64_t until = m->told;
	if (m->started && m->written < until) {
		m->hurry = is_waiting(m);
		pthread_cond_signal(&m->work);
	}
	while (m->started && m->written < until) pthread_cond_wait(&m->done, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

void remember_close(struct remember *m)
{
	if (!m) return;
	pthread_mutex_lock(&m->lock);
	m->closing = 1;
	pthread_cond_signal(&m->work);
	pthread_mutex_unlock(&m->lock);
	if (m->started) pthread_join(m->thread, NULL);
	batch_clear(&m->now);
	pthread_cond_destroy(&m->work);
	pthread_cond_destroy(&m->done);
	pthread_mutex_destroy(&m->hash_lock);
	pthread_mutex_destroy(&m->lock);
	mem_free(m);
}
