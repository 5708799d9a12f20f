/* templates.c: owns the notes of prompt templates: kind "prompt", a note a version under its file's name, and kind
 * "prompt_use", a note a task that names what it uses.
 *
 * Method: a change is checked, committed, and then shown to requests, in that order, under one lock; the set of
 * generate/prompt.c takes it in without a reader noticing. Nothing is ever taken out: answers name the version that wrote
 * them, and it must be there to replay them.
 * Threads: any after templates_open. Failure: what cannot be committed is not shown. */
#include "api/templates.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { NOTES_PAGE = 16, NOTE_BYTES_MAX = 1 << 20, FILE_NAME_SIZE = PROMPT_NAME_SIZE + 24 };
static const char kind_text[] = "prompt", kind_use[] = "prompt_use";
static pthread_mutex_t change = PTHREAD_MUTEX_INITIALIZER;

/* ---- the start ---- */

typedef void (*note_fn)(struct service *s, const struct note *n, const cJSON *o);

static void text_take(struct service *s, const struct note *n, const cJSON *o)
{
	const struct prompt_template *t;
	const char *text = json_str(o, "text", NULL);
	struct err e;
	if (text && prompts_add(s->prompts, n->name, text, strlen(text), &t, &e))
		log_put(LOG_WARN, "prompts", "the store's template %s is passed over: %s", n->name, e.msg);
}

static void use_take(struct service *s, const struct note *n, const cJSON *o)
{
	const struct prompt_template *t;
	struct err e;
	if (prompts_find_for(s->prompts, n->name, json_str(o, "prompt", ""), &t, &e))
		log_put(LOG_WARN, "prompts", "what was chosen for the task %s is passed over: %s", n->name, e.msg);
	else prompts_use(s->prompts, t);
}

static int notes_each(struct service *s, struct snapshot *from, const char *kind, note_fn fn, struct err *e)
{
	struct note notes[NOTES_PAGE];
	struct arena a;
	char after[256] = "";
	size_t got;
	int rc;
	do {
		arena_init(&a, (size_t)NOTES_PAGE * 2 * NOTE_BYTES_MAX);
		rc = snapshot_notes(from, kind, after, NOTES_PAGE, &a, notes, &got, e);
		for (size_t i = 0; !rc && i < got; i++) {
			cJSON *o = NULL;
			struct err why;
			if (json_parse(&o, notes[i].json, notes[i].len, NOTE_BYTES_MAX, "note", &why))
				log_put(LOG_WARN, "prompts", "the note %s %s is passed over: %s", kind, notes[i].name, why.msg);
			else fn(s, &notes[i], o);
			cJSON_Delete(o);
			snprintf(after, sizeof after, "%s", notes[i].name);
		}
		arena_clear(&a);
	} while (!rc && got == NOTES_PAGE);
	return rc;
}

int templates_open(struct service *s, struct err *e)
{
	const struct prompt_template *t;
	struct snapshot *from = NULL;
	int rc = snapshot_open(&from, s->index, e);
	if (!rc) rc = notes_each(s, from, kind_text, text_take, e);
	if (!rc && (rc = prompts_find_for(s->prompts, "answer", s->conf.answer_prompt, &t, e))) rc = err_wrap(e, "answer.prompt");
	if (!rc) prompts_use(s->prompts, t);
	if (!rc) rc = notes_each(s, from, kind_use, use_take, e);
	snapshot_close(from);
	return rc;
}

/* ---- changes ---- */

/* Commits one note; takes o. */
static int note_put(struct service *s, const char *kind, const char *name, cJSON *o, struct err *e)
{
	char *text = o ? cJSON_PrintUnformatted(o) : NULL;
	struct write *w;
	int rc = text ? index_write_begin(&w, s->index, e) : err_set(e, E_MEMORY, "prompts: out of memory");
	cJSON_Delete(o);
	if (rc) goto out;
	rc = index_note_put(w, kind, name, text, strlen(text), e);
	if (rc) index_write_abort(w);
	else rc = index_write_commit(w, e);
out:
	cJSON_free(text);
	return rc;
}

/* "answer" or "answer.txt": the next version's file name. */
static int file_name(const struct prompts *p, const char *file, char out[FILE_NAME_SIZE], struct err *e)
{
	char name[PROMPT_NAME_SIZE];
	size_t len = strlen(file);
	int version;
	if (len > 4 && !strcmp(file + len - 4, ".txt") && !strchr(file, '@')) {
		if (prompt_file_parse(file, name, &version)) {
			snprintf(out, FILE_NAME_SIZE, "%s.v%d.txt", name, version);
			return OK;
		}
		len -= 4;
	}
	if (len < 1 || len >= sizeof name || memchr(file, '.', len) || memchr(file, '@', len))
		return err_set(e, E_USAGE, "prompt %.80s: must be called NAME.vN.txt, or NAME.txt for the next version", file);
	memcpy(name, file, len);
	name[len] = 0;
	snprintf(out, FILE_NAME_SIZE, "%s.v%d.txt", name, prompts_next(p, name));
	return OK;
}

int template_add(struct service *s, const char *file, const char *text, size_t len, const struct prompt_template **out, struct err *e)
{
	char full[FILE_NAME_SIZE];
	cJSON *o;
	int rc;
	pthread_mutex_lock(&change);
	rc = file_name(s->prompts, file, full, e);
	if (!rc) rc = prompts_check(s->prompts, full, text, len, e);
	if (!rc) {
		char *copy = mem_strndup(text, len);
		o = copy ? cJSON_CreateObject() : NULL;
		if (o && (!cJSON_AddStringToObject(o, "text", copy) || !cJSON_AddNumberToObject(o, "added_ms", (double)clock_wall_ms()))) {
			cJSON_Delete(o);
			o = NULL;
		}
		mem_free(copy);
		rc = note_put(s, kind_text, full, o, e);
	}
	if (!rc) rc = prompts_add(s->prompts, full, text, len, out, e);
	pthread_mutex_unlock(&change);
	return rc;
}

int template_use(struct service *s, const char *name, const struct prompt_template **out, struct err *e)
{
	char task[PROMPT_NAME_SIZE], full[FILE_NAME_SIZE];
	cJSON *o;
	int rc = strchr(name, '@') ? prompts_find(s->prompts, name, out, e)
		: err_set(e, E_USAGE, "prompt %.60s: which version? As in answer@2", name);
	if (rc) return rc;
	snprintf(task, sizeof task, "%.*s", (int)prompt_task_len(*out), prompt_name(*out));
	snprintf(full, sizeof full, "%s@%d", prompt_name(*out), prompt_version(*out));
	pthread_mutex_lock(&change);
	o = cJSON_CreateObject();
	if (o && (!cJSON_AddStringToObject(o, "prompt", full) || !cJSON_AddNumberToObject(o, "since_ms", (double)clock_wall_ms()))) {
		cJSON_Delete(o);
		o = NULL;
	}
	rc = note_put(s, kind_use, task, o, e);
	if (!rc) prompts_use(s->prompts, *out);
	pthread_mutex_unlock(&change);
	if (!rc) log_put(LOG_INFO, "prompts", "the task %s uses %s from now on", task, full);
	return rc;
}

/* ---- what is told ---- */

cJSON *template_view(const struct service *s, const struct prompt_template *t, int with_text)
{
	char task[PROMPT_NAME_SIZE];
	cJSON *o = cJSON_CreateObject();
	snprintf(task, sizeof task, "%.*s", (int)prompt_task_len(t), prompt_name(t));
	if (o && cJSON_AddStringToObject(o, "name", prompt_name(t)) && cJSON_AddNumberToObject(o, "version", prompt_version(t)) &&
	    cJSON_AddStringToObject(o, "task", task) && cJSON_AddBoolToObject(o, "in_use", prompts_in_use(s->prompts, t)) &&
	    cJSON_AddStringToObject(o, "origin", prompt_origin_name(prompt_origin(t))) &&
	    cJSON_AddNumberToObject(o, "bytes", (double)strlen(prompt_source(t))) &&
	    (!with_text || cJSON_AddStringToObject(o, "text", prompt_source(t))))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct prompt_template *x = *(const struct prompt_template *const *)a, *y = *(const struct prompt_template *const *)b;
	int c = strcmp(prompt_name(x), prompt_name(y));
	return c ? c : (prompt_version(x) > prompt_version(y)) - (prompt_version(x) < prompt_version(y));
}

cJSON *templates_view(const struct service *s)
{
	size_t n = prompts_n(s->prompts);
	const struct prompt_template **rows = mem_calloc(n + 1, sizeof *rows);
	cJSON *o = rows ? cJSON_CreateObject() : NULL, *list = o ? cJSON_AddArrayToObject(o, "prompts") : NULL, *x;
	int ok = list != NULL;
	for (size_t i = 0; ok && i < n; i++) rows[i] = prompts_at(s->prompts, i);
	if (ok) qsort(rows, n, sizeof *rows, by_name);
	for (size_t i = 0; ok && i < n; i++) {
		x = template_view(s, rows[i], 0);
		ok = x && cJSON_AddItemToArray(list, x);
	}
	mem_free(rows);
	if (ok) return o;
	cJSON_Delete(o);
	return NULL;
}

int template_diff(const struct service *s, const char *a, const char *b, diff_fn fn, void *ctx, struct err *e)
{
	const struct prompt_template *x, *y;
	int rc = prompts_find(s->prompts, a, &x, e);
	if (!rc) rc = prompts_find(s->prompts, b, &y, e);
	if (!rc) rc = diff_lines(prompt_source(x), strlen(prompt_source(x)), prompt_source(y), strlen(prompt_source(y)), fn, ctx, e);
	return rc;
}

struct line_list { cJSON *list; int failed; };

static void line_add(void *ctx, char op, const char *line, size_t len)
{
	struct line_list *l = ctx;
	const char ops[2] = { op, 0 };
	char *copy = mem_strndup(line, len);
	cJSON *x = cJSON_CreateObject();
	if (!copy || !x || !cJSON_AddItemToArray(l->list, x) || !cJSON_AddStringToObject(x, "op", ops) || !cJSON_AddStringToObject(x, "text", copy))
		l->failed = 1;
	mem_free(copy);
}

int template_diff_view(const struct service *s, const char *a, const char *b, cJSON **out, struct err *e)
{
	cJSON *o = cJSON_CreateObject();
	struct line_list l = { NULL, 0 };
	int rc = OK;
	if (!o || !cJSON_AddStringToObject(o, "a", a) || !cJSON_AddStringToObject(o, "b", b) || !(l.list = cJSON_AddArrayToObject(o, "lines"))) l.failed = 1;
	if (!l.failed) rc = template_diff(s, a, b, line_add, &l, e);
	if (!rc && l.failed) rc = err_set(e, E_MEMORY, "out of memory");
	if (rc) cJSON_Delete(o);
	*out = rc ? NULL : o;
	return rc;
}
