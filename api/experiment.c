/* experiment.c: owns the experiments: definitions and figures in memory, and their notes (kind "experiment").
 *
 * Method: an asker is who the request says it is for, else its key, else the question. SHA-256 of the experiment's name and
 * the asker gives a number of 0 … 9,999; arms lie side by side on that line, so nothing needs to be kept for an asker to
 * stay in an arm, and two experiments split independently of each other. What an arm sets goes into a copy of the settings
 * that lives with the request. Rates are told with Wilson's score interval (1927), which holds for few and for rare.
 * Figures are counted in memory and written by a thread of its own, all changes of some seconds in one commit; stopping,
 * and the end of the process, write at once. A kill loses those seconds.
 * Threads: any; `lock` guards list and figures and is never held over a commit; `change` orders those who write.
 * Failure: a change that cannot be committed is taken back; figures that cannot be are tried again with the next. */
#include "api/experiment.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "api/latency.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

enum { ARMS_MAX = 8, SETTINGS_MAX = 16, LIST_MAX = 200, NAME_SIZE = 65, VALUE_SIZE = 64, NOTE_BYTES_MAX = 1 << 20, NOTES_PAGE = 16,
	FLUSH_S = 5, SHARES = 10000 };
static const char kind[] = "experiment";

/* Settings that a request may have of its own: all are read from its struct conf. */
static const char *const allowed[] = { "search.fuse_depth", "search.fusion", "search.word_weight", "search.rrf_k", "search.rerank",
	"search.rerank_weight", "search.exact_max", "answer.passages", "answer.context_tokens", "answer.max_tokens", "answer.sentences_max",
	"answer.confidence", "answer.support", "answer.refusal", "answer.route_extractive", "answer.route_small" };

struct setting { char key[40], value[VALUE_SIZE]; };
struct figures {
	uint64_t requests, status[3], failed, up, down;
	double prompt_tokens, completion_tokens, cost;
	struct latency latency;
};
struct arm {
	char name[NAME_SIZE], prompt[64];     /* prompt "": the one in use */
	double share;
	int style;                            /* -1: the request's */
	struct setting settings[SETTINGS_MAX]; size_t setting_n;
	struct figures f;
};
struct experiment {
	char name[NAME_SIZE];
	int running, dirty;
	int64_t started_ms, stopped_ms;       /* 0: it runs */
	struct arm arms[ARMS_MAX]; size_t arm_n;
};
struct experiments {
	struct service *s;
	struct experiment *list[LIST_MAX]; size_t n;   /* oldest first */
	pthread_mutex_t lock, change;
	pthread_cond_t wake;
	pthread_t writer;
	int writing, ending;                  /* the thread is there; it must end */
};

/* ---- reading a definition ---- */

static int name_ok(const char *s)
{
	size_t n = strlen(s);
	return n >= 1 && n < NAME_SIZE && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int is_allowed(const char *key)
{
	for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
		if (!strcmp(allowed[i], key)) return 1;
	return 0;
}

static int setting_read(struct arm *m, struct conf *c, const cJSON *v, struct err *e)
{
	struct setting *t = &m->settings[m->setting_n];
	if (!is_allowed(v->string))
		return err_set(e, E_USAGE, "arm %s: %.60s cannot vary by request (footnote experiments -h lists what can)", m->name, v->string);
	if (m->setting_n == SETTINGS_MAX) return err_set(e, E_USAGE, "arm %s: more than %d settings", m->name, SETTINGS_MAX);
	snprintf(t->key, sizeof t->key, "%s", v->string);
	if (cJSON_IsNumber(v)) snprintf(t->value, sizeof t->value, "%.15g", v->valuedouble);
	else if (cJSON_IsString(v) && strlen(v->valuestring) < sizeof t->value) snprintf(t->value, sizeof t->value, "%s", v->valuestring);
	else return err_set(e, E_USAGE, "arm %s: %s: must be a number or a short text", m->name, t->key);
	m->setting_n++;
	return conf_set(c, t->key, t->value, e) ? err_wrap(e, "arm %s", m->name) : OK;
}

static int arm_read(struct service *s, struct arm *m, const cJSON *o, struct err *e)
{
	const char *name = NULL, *prompt = NULL, *style = NULL;
	const struct prompt_template *t;
	const cJSON *settings = json_get(o, "settings"), *v;
	struct conf *c;
	int rc = cJSON_IsObject(o) ? json_get_text(o, "name", &name, e) : err_set(e, E_USAGE, "arms: must be objects");
	if (!rc && (!name || !name_ok(name))) rc = err_set(e, E_USAGE, "arms: each needs a name of 1 to 64 of A-Z a-z 0-9 . _ -");
	if (!rc) snprintf(m->name, sizeof m->name, "%s", name);
	m->style = -1;
	if (!rc && (rc = json_get_num(o, "share", 0, 100, &m->share, e))) return err_wrap(e, "arm %s", m->name);
	if (!rc && !(rc = json_get_text(o, "prompt", &prompt, e)) && prompt) {
		rc = prompts_find_for(s->prompts, "answer", prompt, &t, e);
		if (!rc) snprintf(m->prompt, sizeof m->prompt, "%s@%d", prompt_name(t), prompt_version(t));
	}
	if (!rc && !(rc = json_get_text(o, "style", &style, e)) && style) {
		m->style = !strcmp(style, "extractive") ? STYLE_EXTRACTIVE : STYLE_GENERATE;
		if (m->style == STYLE_GENERATE && strcmp(style, "generate")) rc = err_set(e, E_USAGE, "arm %s: style: generate or extractive", m->name);
	}
	if (!rc && settings && !cJSON_IsObject(settings)) rc = err_set(e, E_USAGE, "arm %s: settings: must be an object", m->name);
	if (rc) return rc;
	c = mem_alloc(sizeof *c);
	if (!c) return err_set(e, E_MEMORY, "experiment: out of memory");
	*c = s->conf;
	cJSON_ArrayForEach(v, settings)
		if (!rc) rc = setting_read(m, c, v, e);
	if (!rc && (rc = conf_check(c, e))) rc = err_wrap(e, "arm %s", m->name);
	mem_free(c);
	return rc;
}

static int arms_read(struct service *s, struct experiment *x, const cJSON *list, struct err *e)
{
	const cJSON *o;
	double sum = 0;
	int rc = cJSON_IsArray(list) && cJSON_GetArraySize(list) >= 1 && cJSON_GetArraySize(list) <= ARMS_MAX ? OK
		: err_set(e, E_USAGE, "arms: must be a list of 1 to %d", ARMS_MAX);
	if (rc) return rc;
	cJSON_ArrayForEach(o, list) {
		struct arm *m = &x->arms[x->arm_n];
		rc = arm_read(s, m, o, e);
		if (rc) return rc;
		for (size_t i = 0; i < x->arm_n; i++)
			if (!strcmp(x->arms[i].name, m->name)) return err_set(e, E_USAGE, "arms: there are two named %s", m->name);
		sum += m->share;
		x->arm_n++;
	}
	return fabs(sum - 100) < 1e-6 ? OK : err_set(e, E_USAGE, "arms: their shares sum to %g, and must to 100", sum);
}

/* ---- notes ---- */

static int settings_put(cJSON *o, const struct arm *m)
{
	cJSON *x = cJSON_AddObjectToObject(o, "settings");
	for (size_t i = 0; x && i < m->setting_n; i++)
		if (!cJSON_AddStringToObject(x, m->settings[i].key, m->settings[i].value)) return 0;
	return x != NULL;
}

static int arm_put(cJSON *o, const struct arm *m)
{
	return cJSON_AddStringToObject(o, "name", m->name) && cJSON_AddNumberToObject(o, "share", m->share) &&
		(!*m->prompt || cJSON_AddStringToObject(o, "prompt", m->prompt)) &&
		(m->style < 0 || cJSON_AddStringToObject(o, "style", m->style == STYLE_EXTRACTIVE ? "extractive" : "generate")) && settings_put(o, m);
}

static int counts_put(cJSON *o, const struct figures *f)
{
	int ok = cJSON_AddNumberToObject(o, "requests", (double)f->requests) != NULL;
	for (int i = 0; ok && i < 3; i++) ok = cJSON_AddNumberToObject(o, answer_status_name(i), (double)f->status[i]) != NULL;
	return ok && cJSON_AddNumberToObject(o, "failed", (double)f->failed);
}

static int figures_keep(cJSON *arm, const struct figures *f)
{
	cJSON *o = cJSON_AddObjectToObject(arm, "figures"), *l = latency_keep(&f->latency);
	if (o && l && cJSON_AddItemToObject(o, "latency", l))
		return counts_put(o, f) && cJSON_AddNumberToObject(o, "prompt_tokens", f->prompt_tokens) &&
			cJSON_AddNumberToObject(o, "completion_tokens", f->completion_tokens) && cJSON_AddNumberToObject(o, "cost", f->cost) &&
			cJSON_AddNumberToObject(o, "up", (double)f->up) &&
			cJSON_AddNumberToObject(o, "down", (double)f->down);
	cJSON_Delete(l);
	return 0;
}

static uint64_t count_read(const cJSON *o, const char *key)
{
	double v = json_num(o, key, 0);
	return v > 0 && v < 1e15 ? (uint64_t)v : 0;
}

static void figures_read(struct figures *f, const cJSON *o)
{
	memset(f, 0, sizeof *f);
	if (!o) return;
	f->requests = count_read(o, "requests");
	for (int i = 0; i < 3; i++) f->status[i] = count_read(o, answer_status_name(i));
	f->failed = count_read(o, "failed");
	f->up = count_read(o, "up");
	f->down = count_read(o, "down");
	f->prompt_tokens = json_num(o, "prompt_tokens", 0);
	f->completion_tokens = json_num(o, "completion_tokens", 0);
	f->cost = json_num(o, "cost", 0);
	latency_read(&f->latency, json_get(o, "latency"));
}

/* The note's text; cJSON_free. NULL: no memory. Under the lock, or of one that nobody sees yet. */
static char *note_text(const struct experiment *x)
{
	cJSON *o = cJSON_CreateObject(), *list = NULL;
	char *text = NULL;
	int ok = o && cJSON_AddNumberToObject(o, "started_ms", (double)x->started_ms) &&
		cJSON_AddNumberToObject(o, "stopped_ms", (double)x->stopped_ms) && (list = cJSON_AddArrayToObject(o, "arms"));
	for (size_t i = 0; ok && i < x->arm_n; i++) {
		cJSON *a = cJSON_CreateObject();
		ok = a && cJSON_AddItemToArray(list, a) && arm_put(a, &x->arms[i]) && figures_keep(a, &x->arms[i].f);
	}
	if (ok) text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	return text;
}

static int note_read(struct experiments *x, const struct note *n, struct err *e)
{
	struct experiment *k = mem_calloc(1, sizeof *k);
	const cJSON *a;
	cJSON *o = NULL;
	size_t i = 0;
	int rc = k ? json_parse(&o, n->json, n->len, NOTE_BYTES_MAX, "experiment", e) : err_set(e, E_MEMORY, "experiments: out of memory");
	if (!rc) rc = name_ok(n->name) ? arms_read(x->s, k, json_get(o, "arms"), e) : err_set(e, E_FORMAT, "its name");
	if (!rc) {
		snprintf(k->name, sizeof k->name, "%s", n->name);
		k->started_ms = (int64_t)json_num(o, "started_ms", 0);
		k->stopped_ms = (int64_t)json_num(o, "stopped_ms", 0);
		k->running = !k->stopped_ms;
		cJSON_ArrayForEach(a, json_get(o, "arms")) figures_read(&k->arms[i++].f, json_get(a, "figures"));
		x->list[x->n++] = k;
	} else {
		mem_free(k);
	}
	cJSON_Delete(o);
	if (rc && rc != E_MEMORY) log_put(LOG_WARN, "experiments", "the experiment %s is passed over: %s", n->name, e->msg);
	return rc == E_MEMORY ? rc : OK;
}

static int by_start(const void *a, const void *b)
{
	const struct experiment *x = *(struct experiment *const *)a, *y = *(struct experiment *const *)b;
	return (x->started_ms > y->started_ms) - (x->started_ms < y->started_ms);
}

int experiments_open(struct experiments **out, struct service *s, struct err *e)
{
	struct experiments *x = mem_calloc(1, sizeof *x);
	struct note notes[NOTES_PAGE];
	struct snapshot *from = NULL;
	struct arena a;
	char after[256] = "";
	size_t got = 0;
	*out = NULL;
	if (!x) return err_set(e, E_MEMORY, "experiments: out of memory");
	x->s = s;
	pthread_mutex_init(&x->lock, NULL);
	pthread_mutex_init(&x->change, NULL);
	pthread_cond_init(&x->wake, NULL);
	int rc = snapshot_open(&from, s->index, e);
	do {
		arena_init(&a, (size_t)NOTES_PAGE * 2 * NOTE_BYTES_MAX);
		if (!rc) rc = snapshot_notes(from, kind, after, NOTES_PAGE, &a, notes, &got, e);
		for (size_t i = 0; !rc && i < got && x->n < LIST_MAX; i++) {
			rc = note_read(x, &notes[i], e);
			snprintf(after, sizeof after, "%s", notes[i].name);
		}
		arena_clear(&a);
	} while (!rc && got == NOTES_PAGE && x->n < LIST_MAX);
	snapshot_close(from);
	qsort(x->list, x->n, sizeof *x->list, by_start);
	if (rc) experiments_close(x);
	else *out = x;
	return rc;
}

/* Commits a note, or with text NULL its end. */
static int note_commit(struct experiments *x, const char *name, const char *text, struct err *e)
{
	struct write *w;
	int rc = index_write_begin(&w, x->s->index, e);
	if (rc) return rc;
	rc = text ? index_note_put(w, kind, name, text, strlen(text), e) : index_note_delete(w, kind, name, e);
	if (!rc) return index_write_commit(w, e);
	index_write_abort(w);
	return rc;
}

/* Writes the figures that changed, in one commit. */
static int flush(struct experiments *x, struct err *e)
{
	char *texts[LIST_MAX], names[LIST_MAX][NAME_SIZE];
	struct write *w;
	size_t n = 0;
	int rc = OK;
	pthread_mutex_lock(&x->change);
	pthread_mutex_lock(&x->lock);
	for (size_t i = 0; i < x->n; i++) {
		if (!x->list[i]->dirty || !(texts[n] = note_text(x->list[i]))) continue;
		x->list[i]->dirty = 0;
		memcpy(names[n++], x->list[i]->name, NAME_SIZE);
	}
	pthread_mutex_unlock(&x->lock);
	if (n) rc = index_write_begin(&w, x->s->index, e);
	if (n && !rc) {
		for (size_t i = 0; !rc && i < n; i++) rc = index_note_put(w, kind, names[i], texts[i], strlen(texts[i]), e);
		if (rc) index_write_abort(w);
		else rc = index_write_commit(w, e);
	}
	pthread_mutex_lock(&x->lock);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; rc && j < x->n; j++)
			if (!strcmp(x->list[j]->name, names[i])) x->list[j]->dirty = 1;
		cJSON_free(texts[i]);
	}
	pthread_mutex_unlock(&x->lock);
	pthread_mutex_unlock(&x->change);
	return rc;
}

static void *writer_run(void *ctx)
{
	struct experiments *x = ctx;
	struct timespec until;
	struct err e;
	int ending = 0;
	while (!ending) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += FLUSH_S;
		pthread_mutex_lock(&x->lock);
		while (!x->ending && pthread_cond_timedwait(&x->wake, &x->lock, &until) == 0) continue;
		ending = x->ending;
		pthread_mutex_unlock(&x->lock);
		if (flush(x, &e)) log_put(LOG_WARN, "experiments", "figures could not be written, and will be tried again: %s", e.msg);
	}
	return NULL;
}

void experiments_close(struct experiments *x)
{
	if (!x) return;
	pthread_mutex_lock(&x->lock);
	x->ending = 1;
	pthread_cond_signal(&x->wake);
	pthread_mutex_unlock(&x->lock);
	if (x->writing) pthread_join(x->writer, NULL);
	for (size_t i = 0; i < x->n; i++) mem_free(x->list[i]);
	pthread_cond_destroy(&x->wake);
	pthread_mutex_destroy(&x->lock);
	pthread_mutex_destroy(&x->change);
	mem_free(x);
}

/* ---- in answer_run ---- */

static struct experiment *find(const struct experiments *x, const char *name)
{
	for (size_t i = 0; i < x->n; i++)
		if (!strcmp(x->list[i]->name, name)) return x->list[i];
	return NULL;
}

static struct experiment *running(const struct experiments *x)
{
	for (size_t i = 0; i < x->n; i++)
		if (x->list[i]->running) return x->list[i];
	return NULL;
}

/* Where an asker lies, 0 … SHARES - 1. The lengths keep "ab" + "c" from being "a" + "bc". */
static int place(const char *experiment, const struct answer_request *q)
{
	const char *of = q->user ? "user" : q->key_id ? "key" : "question", *who = q->user ? q->user : q->key_id ? q->key_id : q->question;
	char head[NAME_SIZE + 32];
	uint8_t hash[32];
	struct sha256 *h = sha256_new();
	uint64_t v = 0;
	int n = snprintf(head, sizeof head, "%s\n%s\n", experiment, of);
	if (!h) return 0;
	sha256_put(h, head, (size_t)n);
	sha256_put(h, who, strlen(who));
	sha256_end(h, hash);
	for (int i = 0; i < 8; i++) v = v << 8 | hash[i];
	return (int)(v % SHARES);
}

static const struct arm *arm_at(const struct experiment *x, int at)
{
	double end = 0;
	for (size_t i = 0; i < x->arm_n; i++) {
		end += x->arms[i].share * (SHARES / 100);
		if (at < end - 1e-6) return &x->arms[i];
	}
	return &x->arms[x->arm_n - 1];
}

/* What the arm sets, into the request. */
static int arm_apply(const struct arm *m, struct answer_request *q, struct arena *a, struct err *e)
{
	struct conf *c;
	int rc = OK;
	if (m->style >= 0) q->style = (enum answer_style)m->style;
	if (*m->prompt && !(q->prompt = arena_strdup(a, m->prompt))) return err_set(e, E_MEMORY, "answer: out of memory");
	if (!m->setting_n) return OK;
	c = arena_alloc(a, sizeof *c);
	if (!c) return err_set(e, E_MEMORY, "answer: out of memory");
	*c = *q->conf;
	for (size_t i = 0; !rc && i < m->setting_n; i++) rc = conf_set(c, m->settings[i].key, m->settings[i].value, e);
	q->conf = c;
	return rc;
}

int experiments_enter(struct experiments *x, struct answer_request *q, struct answer *out, struct arena *a, struct err *e)
{
	const struct experiment *k;
	int rc = OK;
	if (!q->traffic || q->prompt || q->style_given || q->k || q->max_tokens) return OK;
	pthread_mutex_lock(&x->lock);
	k = running(x);
	if (k) {
		const struct arm *m = arm_at(k, place(k->name, q));
		char *name = arena_strdup(a, k->name), *arm = arena_strdup(a, m->name);
		rc = name && arm ? arm_apply(m, q, a, e) : err_set(e, E_MEMORY, "answer: out of memory");
		if (!rc) out->experiment = name, out->arm = arm;
	}
	pthread_mutex_unlock(&x->lock);
	return rc;
}

/* Under the lock. Marks it changed and sees to the thread that writes it. */
static struct arm *arm_touch(struct experiments *x, const char *experiment, const char *arm)
{
	struct experiment *k = find(x, experiment);
	for (size_t i = 0; k && i < k->arm_n; i++) {
		if (strcmp(k->arms[i].name, arm)) continue;
		k->dirty = 1;
		if (!x->writing && !x->ending) x->writing = pthread_create(&x->writer, NULL, writer_run, x) == 0;
		return &k->arms[i];
	}
	return NULL;
}

void experiments_count(struct experiments *x, const struct answer *a, int rc)
{
	struct arm *m;
	if (!*a->experiment || rc == E_CANCELLED) return;
	pthread_mutex_lock(&x->lock);
	m = arm_touch(x, a->experiment, a->arm);
	if (m) {
		m->f.requests++;
		if (rc) m->f.failed++;
		else m->f.status[a->status]++;
		if (!rc) latency_add(&m->f.latency, a->total_ms);
		m->f.prompt_tokens += (double)a->prompt_tokens;
		m->f.completion_tokens += (double)a->completion_tokens;
		m->f.cost += a->cost;
	}
	pthread_mutex_unlock(&x->lock);
}

void experiments_rate(struct experiments *x, const char *experiment, const char *arm, int was, int rating)
{
	struct arm *m;
	pthread_mutex_lock(&x->lock);
	m = arm_touch(x, experiment, arm);
	if (m && was > 0 && m->f.up) m->f.up--;
	if (m && was < 0 && m->f.down) m->f.down--;
	if (m && rating > 0) m->f.up++;
	else if (m && rating < 0) m->f.down++;
	pthread_mutex_unlock(&x->lock);
}

/* ---- what is told ---- */

/* Wilson's interval at 95 %: of k in n. */
static void wilson(double k, double n, double *lo, double *hi)
{
	const double z = 1.959964, p = k / n, d = 1 + z * z / n, mid = p + z * z / (2 * n), w = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
	*lo = fmax(0, (mid - w) / d);
	*hi = fmin(1, (mid + w) / d);
}

static int rate_put(cJSON *o, const char *key, uint64_t k, uint64_t n)
{
	double lo, hi;
	cJSON *x;
	if (!n) return cJSON_AddNullToObject(o, key) != NULL;
	wilson((double)k, (double)n, &lo, &hi);
	x = cJSON_AddObjectToObject(o, key);
	return x && view_put_rounded(x, "rate", (double)k / (double)n) && view_put_rounded(x, "low", lo) && view_put_rounded(x, "high", hi);
}

static int figures_put(cJSON *o, const struct figures *f)
{
	uint64_t done = f->status[0] + f->status[1] + f->status[2];
	cJSON *tokens, *rated, *l;
	if (!counts_put(o, f) || !rate_put(o, "answered_rate", f->status[ANSWER_ANSWERED], done) ||
	    !rate_put(o, "abstained_rate", f->status[ANSWER_ABSTAINED], done) || !(l = latency_view(&f->latency)))
		return 0;
	cJSON_AddItemToObject(o, "latency_ms", l);
	tokens = cJSON_AddObjectToObject(o, "tokens");
	rated = cJSON_AddObjectToObject(o, "feedback");
	return tokens && cJSON_AddNumberToObject(tokens, "prompt", f->prompt_tokens) && cJSON_AddNumberToObject(tokens, "completion", f->completion_tokens) &&
		cJSON_AddNumberToObject(o, "cost", f->cost) && rated && cJSON_AddNumberToObject(rated, "up", (double)f->up) && cJSON_AddNumberToObject(rated, "down", (double)f->down) &&
		rate_put(rated, "up_rate", f->up, f->up + f->down);
}

/* Under the lock. */
static cJSON *view(const struct experiment *x)
{
	cJSON *o = cJSON_CreateObject(), *list = NULL;
	int ok = o && cJSON_AddStringToObject(o, "name", x->name) && cJSON_AddStringToObject(o, "status", x->running ? "running" : "stopped") &&
		view_put_time(o, "started", x->started_ms) && view_put_time(o, "stopped", x->stopped_ms) && (list = cJSON_AddArrayToObject(o, "arms"));
	for (size_t i = 0; ok && i < x->arm_n; i++) {
		cJSON *a = cJSON_CreateObject();
		ok = a && cJSON_AddItemToArray(list, a) && arm_put(a, &x->arms[i]) && figures_put(a, &x->arms[i].f);
	}
	if (ok) return o;
	cJSON_Delete(o);
	return NULL;
}

static int not_found(const char *name, struct err *e)
{
	return err_set(e, E_NOT_FOUND, "no experiment %.80s (footnote experiments list)", name);
}

int experiments_view(struct experiments *x, const char *name, cJSON **out, struct err *e)
{
	struct experiment *k;
	pthread_mutex_lock(&x->lock);
	k = find(x, name);
	*out = k ? view(k) : NULL;
	pthread_mutex_unlock(&x->lock);
	return !k ? not_found(name, e) : *out ? OK : err_set(e, E_MEMORY, "out of memory");
}

int experiments_list(struct experiments *x, cJSON **out, struct err *e)
{
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "experiments") : NULL;
	int ok = list != NULL;
	pthread_mutex_lock(&x->lock);
	for (size_t i = 0; ok && i < x->n; i++) {
		cJSON *k = view(x->list[i]);
		ok = k && cJSON_AddItemToArray(list, k);
	}
	pthread_mutex_unlock(&x->lock);
	*out = ok ? o : NULL;
	if (!ok) cJSON_Delete(o);
	return ok ? OK : err_set(e, E_MEMORY, "out of memory");
}

static void csv_rate(struct buf *out, uint64_t k, uint64_t n)
{
	double lo = 0, hi = 0;
	if (n) wilson((double)k, (double)n, &lo, &hi);
	buf_printf(out, n ? ",%.4f,%.4f,%.4f" : ",,,", n ? (double)k / (double)n : 0, lo, hi);
}

int experiments_csv(struct experiments *x, const char *name, struct buf *out, struct err *e)
{
	const struct experiment *k;
	buf_puts(out, "experiment,arm,share,prompt,style,settings,requests,answered,abstained,partial,failed,answered_rate,answered_low,answered_high,"
		"abstained_rate,abstained_low,abstained_high,p50_ms,p95_ms,mean_ms,prompt_tokens,completion_tokens,cost,up,down,up_rate,up_low,up_high\n");
	pthread_mutex_lock(&x->lock);
	k = find(x, name);
	for (size_t i = 0; k && i < k->arm_n; i++) {
		const struct arm *m = &k->arms[i];
		const struct figures *f = &m->f;
		uint64_t done = f->status[0] + f->status[1] + f->status[2];
		buf_printf(out, "%s,%s,%g,%s,%s,", k->name, m->name, m->share, m->prompt, m->style < 0 ? "" : m->style == STYLE_EXTRACTIVE ? "extractive" : "generate");
		for (size_t j = 0; j < m->setting_n; j++) buf_printf(out, "%s%s=%s", j ? " " : "", m->settings[j].key, m->settings[j].value);
		buf_printf(out, ",%llu,%llu,%llu,%llu,%llu", (unsigned long long)f->requests, (unsigned long long)f->status[0],
			(unsigned long long)f->status[1], (unsigned long long)f->status[2], (unsigned long long)f->failed);
		csv_rate(out, f->status[ANSWER_ANSWERED], done);
		csv_rate(out, f->status[ANSWER_ABSTAINED], done);
		buf_printf(out, ",%.1f,%.1f,%.1f,%.0f,%.0f,%.6g,%llu,%llu", latency_quantile(&f->latency, 0.5), latency_quantile(&f->latency, 0.95),
			f->latency.n ? f->latency.sum_ms / (double)f->latency.n : 0, f->prompt_tokens, f->completion_tokens, f->cost, (unsigned long long)f->up,
			(unsigned long long)f->down);
		csv_rate(out, f->up, f->up + f->down);
		buf_putc(out, '\n');
	}
	pthread_mutex_unlock(&x->lock);
	return !k ? not_found(name, e) : buf_failed(out) ? err_set(e, E_MEMORY, "out of memory") : OK;
}

/* ---- administration ---- */

static int may_start(struct experiments *x, const char *name, struct err *e)
{
	const struct experiment *other;
	int rc = OK;
	pthread_mutex_lock(&x->lock);
	other = running(x);
	if (find(x, name)) rc = err_set(e, E_CONFLICT, "there is an experiment %s already: its figures are of other arms; choose another name", name);
	else if (other) rc = err_set(e, E_CONFLICT, "the experiment %s runs: stop it first", other->name);
	else if (x->n == LIST_MAX) rc = err_set(e, E_LIMIT, "there are %d experiments: remove some", LIST_MAX);
	pthread_mutex_unlock(&x->lock);
	return rc;
}

int experiments_start(struct experiments *x, const cJSON *o, cJSON **out, struct err *e)
{
	struct experiment *k = mem_calloc(1, sizeof *k);
	const char *name = NULL;
	char *text = NULL;
	*out = NULL;
	pthread_mutex_lock(&x->change);
	int rc = k ? json_get_text(o, "name", &name, e) : err_set(e, E_MEMORY, "experiments: out of memory");
	if (!rc && (!name || !name_ok(name))) rc = err_set(e, E_USAGE, "name: must be 1 to 64 of A-Z a-z 0-9 . _ -");
	if (!rc) rc = arms_read(x->s, k, json_get(o, "arms"), e);
	if (!rc) rc = may_start(x, name, e);
	if (rc) goto out;
	snprintf(k->name, sizeof k->name, "%s", name);
	k->running = 1;
	k->started_ms = clock_wall_ms();
	text = note_text(k);
	rc = text ? note_commit(x, name, text, e) : err_set(e, E_MEMORY, "experiments: out of memory");
	if (rc) goto out;
	pthread_mutex_lock(&x->lock);
	x->list[x->n++] = k;
	*out = view(k);
	pthread_mutex_unlock(&x->lock);
	k = NULL;
	if (!*out) rc = err_set(e, E_MEMORY, "out of memory");
out:
	pthread_mutex_unlock(&x->change);
	cJSON_free(text);
	mem_free(k);
	return rc;
}

int experiments_stop(struct experiments *x, const char *name, cJSON **out, struct err *e)
{
	struct experiment *k;
	int rc = OK;
	*out = NULL;
	pthread_mutex_lock(&x->lock);
	k = find(x, name);
	if (!k) rc = not_found(name, e);
	else if (!k->running) rc = err_set(e, E_CONFLICT, "the experiment %s was stopped already", name);
	else {
		k->running = 0;
		k->dirty = 1;
		k->stopped_ms = clock_wall_ms();
	}
	pthread_mutex_unlock(&x->lock);
	if (!rc && (rc = flush(x, e))) {
		pthread_mutex_lock(&x->lock);
		if ((k = find(x, name))) k->running = 1, k->stopped_ms = 0;
		pthread_mutex_unlock(&x->lock);
	}
	return rc ? rc : experiments_view(x, name, out, e);
}

int experiments_remove(struct experiments *x, const char *name, cJSON **out, struct err *e)
{
	struct experiment *k;
	int rc = experiments_view(x, name, out, e);
	pthread_mutex_lock(&x->change);
	if (!rc && !strcmp(json_str(*out, "status", ""), "running")) rc = err_set(e, E_CONFLICT, "the experiment %s runs: stop it first", name);
	if (!rc) rc = note_commit(x, name, NULL, e);
	if (!rc) {
		pthread_mutex_lock(&x->lock);
		for (size_t i = 0; i < x->n; i++) {
			if (strcmp((k = x->list[i])->name, name)) continue;
			memmove(&x->list[i], &x->list[i + 1], (x->n - i - 1) * sizeof *x->list);
			x->n--;
			mem_free(k);
			break;
		}
		pthread_mutex_unlock(&x->lock);
	}
	pthread_mutex_unlock(&x->change);
	if (rc) {
		cJSON_Delete(*out);
		*out = NULL;
	}
	return rc;
}
