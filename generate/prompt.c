/* prompt.c: versioned prompt templates (format in prompt.h).
 *
 * A template is parsed once into messages, each a run of literal text and placeholders. Filling copies literals and
 * values side by side, so that a value which contains "{{question}}" or "[system]" stays what it is: data. The
 * built-in files come from generate/prompts/ through tools/embed.sh; a folder's file of the same name and version
 * takes the place of the built-in one.
 * Threads: the list only grows, and a row is whole before its number is told, so readers take no lock; `change` orders
 * those who add. Which one a task uses is one atomic pointer. Failure: a template that cannot be parsed is an error that
 * names its file. */
#include "generate/prompt.h"
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/embedded.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { PARTS_MAX = 64, MESSAGES_MAX = 16, TEMPLATES_MAX = 256, TASKS_MAX = 32 };

struct part {
	const char *text;          /* literal bytes, or the placeholder's name */
	size_t len;
	int is_value;
};
struct message {
	const char *role;          /* static */
	struct part parts[PARTS_MAX];
	size_t part_n;
};
struct prompt_template {
	char name[PROMPT_NAME_SIZE];
	int version;
	enum prompt_origin origin;
	char *source;              /* owned; parts borrow from it */
	size_t source_len;
	struct message *messages;  /* owned, (message_n) */
	size_t message_n;
};
struct task {
	char name[PROMPT_NAME_SIZE];
	_Atomic(const struct prompt_template *) used;
};
struct prompts {
	struct prompt_template *rows[TEMPLATES_MAX];
	atomic_size_t n;
	struct task tasks[TASKS_MAX]; size_t task_n;   /* fixed once open */
	pthread_mutex_t change;
};

static const char *const roles[] = { "system", "user", "assistant" };

const char *prompt_origin_name(enum prompt_origin o)
{
	static const char *const names[] = { "built-in", "folder", "store" };
	return names[o];
}

static void template_free(struct prompt_template *t)
{
	if (!t) return;
	mem_free(t->source);
	mem_free(t->messages);
	mem_free(t);
}

int prompt_file_parse(const char *file, char *name, int *version)
{
	const char *v = strstr(file, ".v");
	char *end;
	if (!v || v == file || (size_t)(v - file) >= PROMPT_NAME_SIZE || v[2] < '1' || v[2] > '9') return 0;
	long n = strtol(v + 2, &end, 10);
	if (n > 1000000 || strcmp(end, ".txt") != 0) return 0;
	memcpy(name, file, (size_t)(v - file));
	name[v - file] = 0;
	*version = (int)n;
	return 1;
}

/* The role of a section line "[user]"; NULL when the line is none. */
static const char *section_role(const char *line, size_t len)
{
	for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
		size_t n = strlen(roles[i]);
		if (len == n + 2 && line[0] == '[' && line[len - 1] == ']' && memcmp(line + 1, roles[i], n) == 0) return roles[i];
	}
	return NULL;
}

static int part_add(struct message *m, const char *text, size_t len, int is_value, const char *file, struct err *e)
{
	if (len == 0 && !is_value) return OK;
	if (m->part_n == PARTS_MAX) return err_set(e, E_LIMIT, "prompt %s: more than %d parts in a section", file, PARTS_MAX);
	m->parts[m->part_n++] = (struct part){ text, len, is_value };
	return OK;
}

/* Splits a section's body at its placeholders. White space around the body does not belong to the message. */
static int body_parse(struct message *m, const char *s, size_t len, const char *file, struct err *e)
{
	while (len && (*s == '\n' || *s == ' ')) s++, len--;
	while (len && (s[len - 1] == '\n' || s[len - 1] == ' ')) len--;
	while (len) {
		const char *open = memmem(s, len, "{{", 2);
		if (!open) return part_add(m, s, len, 0, file, e);
		const char *close = memmem(open, len - (size_t)(open - s), "}}", 2);
		if (!close) return err_set(e, E_FORMAT, "prompt %s: \"{{\" without \"}}\"", file);
		if (part_add(m, s, (size_t)(open - s), 0, file, e) || part_add(m, open + 2, (size_t)(close - open) - 2, 1, file, e))
			return e ? e->status : E_FORMAT;
		len -= (size_t)(close + 2 - s);
		s = close + 2;
	}
	return OK;
}

static int template_parse(struct prompt_template *t, const char *file, struct err *e)
{
	const char *s = t->source, *end = s + t->source_len, *body = NULL;
	t->messages = mem_calloc(MESSAGES_MAX, sizeof *t->messages);
	if (!t->messages) return err_set(e, E_MEMORY, "prompt %s: out of memory", file);
	while (s < end) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		size_t len = (size_t)((nl ? nl : end) - s);
		const char *role = section_role(s, len);
		if (role) {
			if (body && body_parse(&t->messages[t->message_n - 1], body, (size_t)(s - body), file, e)) return e ? e->status : E_FORMAT;
			if (t->message_n == MESSAGES_MAX) return err_set(e, E_LIMIT, "prompt %s: more than %d sections", file, MESSAGES_MAX);
			t->messages[t->message_n++].role = role;
			body = nl ? nl + 1 : end;
		} else if (!body && len && *s != '#') {
			return err_set(e, E_FORMAT, "prompt %s: text before the first section; sections are [system], [user], [assistant]", file);
		}
		s = nl ? nl + 1 : end;
	}
	if (!body) return err_set(e, E_FORMAT, "prompt %s: no section; sections are [system], [user], [assistant]", file);
	return body_parse(&t->messages[t->message_n - 1], body, (size_t)(end - body), file, e);
}

/* A template from a copy of the text. */
static int template_make(struct prompt_template **out, const char *file, const char *source, size_t len, enum prompt_origin origin, struct err *e)
{
	struct prompt_template *t = mem_calloc(1, sizeof *t);
	int rc = t ? OK : err_set(e, E_MEMORY, "prompt %s: out of memory", file);
	*out = NULL;
	if (!rc && !prompt_file_parse(file, t->name, &t->version))
		rc = err_set(e, E_FORMAT, "prompt %s: a template's file is called NAME.vN.txt", file);
	if (!rc && len > PROMPT_BYTES_MAX) rc = err_set(e, E_LIMIT, "prompt %s: larger than %d bytes", file, PROMPT_BYTES_MAX);
	if (!rc && !utf8_valid(source, len)) rc = err_set(e, E_FORMAT, "prompt %s: not UTF-8", file);
	if (!rc && memchr(source, 0, len)) rc = err_set(e, E_FORMAT, "prompt %s: holds a NUL", file);
	if (!rc && !(t->source = mem_strndup(source, len))) rc = err_set(e, E_MEMORY, "prompt %s: out of memory", file);
	if (!rc) {
		t->source_len = len;
		t->origin = origin;
		rc = template_parse(t, file, e);
	}
	if (rc) template_free(t);
	else *out = t;
	return rc;
}

static struct prompt_template *version_find(const struct prompts *p, const char *name, size_t name_len, int version)
{
	size_t n = atomic_load(&p->n);
	for (size_t i = 0; i < n; i++)
		if (strlen(p->rows[i]->name) == name_len && memcmp(p->rows[i]->name, name, name_len) == 0 && p->rows[i]->version == version)
			return p->rows[i];
	return NULL;
}

static int row_add(struct prompts *p, struct prompt_template *t, struct err *e)
{
	size_t n = atomic_load(&p->n);
	if (n == TEMPLATES_MAX) return err_set(e, E_LIMIT, "prompt %s: more than %d templates", t->name, TEMPLATES_MAX);
	p->rows[n] = t;
	atomic_store(&p->n, n + 1);
	return OK;
}

/* While nobody reads yet. Replaces a template of the same name and version. */
static int file_add(struct prompts *p, const char *file, const char *source, size_t len, enum prompt_origin origin, struct err *e)
{
	struct prompt_template *t, *was;
	int rc = template_make(&t, file, source, len, origin, e);
	if (rc) return rc;
	was = version_find(p, t->name, strlen(t->name), t->version);
	for (size_t i = 0; was && i < p->n; i++)
		if (p->rows[i] == was) p->rows[i] = t;
	template_free(was);
	if (!was && (rc = row_add(p, t, e))) template_free(t);
	return rc;
}

static int folder_add(struct prompts *p, const char *dir, struct err *e)
{
	struct buf path, text;
	char name[PROMPT_NAME_SIZE];
	int version, rc = OK;
	DIR *d = opendir(dir);
	if (!d) return err_sys(e, "prompts.dir %s", dir);
	buf_init(&path, 4096);
	buf_init(&text, PROMPT_BYTES_MAX + 1);
	for (struct dirent *f; rc == OK && (f = readdir(d));) {
		if (!prompt_file_parse(f->d_name, name, &version)) continue;
		buf_reset(&text);
		rc = path_join(&path, dir, f->d_name);
		if (rc) rc = err_set(e, rc, "prompts.dir %s: path too long", dir);
		else rc = file_read(buf_cstr(&path), &text, e);
		if (rc == OK) rc = file_add(p, f->d_name, buf_cstr(&text), text.len, PROMPT_FOLDER, e);
	}
	buf_clear(&path);
	buf_clear(&text);
	closedir(d);
	return rc;
}

static int by_name(const void *a, const void *b)
{
	const struct prompt_template *x = *(struct prompt_template *const *)a, *y = *(struct prompt_template *const *)b;
	int c = strcmp(x->name, y->name);
	return c ? c : (x->version > y->version) - (x->version < y->version);
}

static struct task *task_find(const struct prompts *p, const char *name, size_t len)
{
	for (size_t i = 0; i < p->task_n; i++)
		if (strlen(p->tasks[i].name) == len && memcmp(p->tasks[i].name, name, len) == 0) return (struct task *)&p->tasks[i];
	return NULL;
}

/* The tasks of the built-in templates. */
static int tasks_make(struct prompts *p, struct err *e)
{
	for (size_t i = 0; i < p->n; i++) {
		size_t len = prompt_task_len(p->rows[i]);
		if (p->rows[i]->origin != PROMPT_BUILT_IN || task_find(p, p->rows[i]->name, len)) continue;
		if (p->task_n == TASKS_MAX) return err_set(e, E_BUG, "prompts: more than %d tasks", TASKS_MAX);
		memcpy(p->tasks[p->task_n++].name, p->rows[i]->name, len);
	}
	return OK;
}

static const struct prompt_template *highest(const struct prompts *p, const char *name, size_t len)
{
	const struct prompt_template *best = NULL;
	size_t n = atomic_load(&p->n);
	for (size_t i = 0; i < n; i++) {
		const struct prompt_template *t = p->rows[i];
		if (strlen(t->name) == len && memcmp(t->name, name, len) == 0 && (!best || t->version > best->version)) best = t;
	}
	return best;
}

int prompts_open(struct prompts **out, const char *dir, struct err *e)
{
	struct prompts *p = mem_calloc(1, sizeof *p);
	*out = NULL;
	if (!p) return err_set(e, E_MEMORY, "prompts: out of memory");
	pthread_mutex_init(&p->change, NULL);
	int rc = OK;
	for (const struct embedded_file *f = prompt_files; rc == OK && f->name; f++)
		rc = file_add(p, f->name, f->data, f->len, PROMPT_BUILT_IN, e);
	if (rc == OK) rc = tasks_make(p, e);
	if (rc == OK && dir && *dir) rc = folder_add(p, dir, e);
	if (rc) {
		prompts_close(p);
		return rc;
	}
	qsort(p->rows, p->n, sizeof p->rows[0], by_name);
	for (size_t i = 0; i < p->task_n; i++)
		atomic_store(&p->tasks[i].used, highest(p, p->tasks[i].name, strlen(p->tasks[i].name)));
	*out = p;
	return OK;
}

void prompts_close(struct prompts *p)
{
	if (!p) return;
	for (size_t i = 0; i < p->n; i++) template_free(p->rows[i]);
	pthread_mutex_destroy(&p->change);
	mem_free(p);
}

/* ---- finding ---- */

/* Lists what there is, for the task (len bytes) or, without one, at all. */
static int not_found(const struct prompts *p, const char *name, const char *task, size_t len, struct err *e)
{
	struct buf have;
	size_t n = atomic_load(&p->n);
	buf_init(&have, 150);
	for (size_t i = 0; i < n; i++) {
		const struct prompt_template *t = p->rows[i];
		if (!task || (prompt_task_len(t) == len && memcmp(t->name, task, len) == 0))
			(void)buf_printf(&have, " %s@%d", t->name, t->version);
	}
	err_set(e, E_NOT_FOUND, "no prompt %.60s%s%.*s; there are:%s", name, task ? " for the task " : "", (int)len, task ? task : "",
		buf_cstr(&have));
	buf_clear(&have);
	return E_NOT_FOUND;
}

/* Finds as prompts_find does; NULL with OK: there is none. */
static int find(const struct prompts *p, const char *name, const struct prompt_template **out, struct err *e)
{
	const char *at = strchr(name, '@');
	size_t len = at ? (size_t)(at - name) : strlen(name);
	char *end = NULL;
	long version = at ? strtol(at + 1, &end, 10) : 0;
	const struct task *task = at ? NULL : task_find(p, name, len);
	*out = NULL;
	if (at && (end == at + 1 || *end || version < 1 || version > 1000000))
		return err_set(e, E_USAGE, "prompt %.60s: a version is a number, as in answer@1", name);
	*out = at ? version_find(p, name, len, (int)version) : task ? atomic_load(&task->used) : NULL;
	if (!*out && !at) *out = highest(p, name, len);
	return OK;
}

int prompts_find(const struct prompts *p, const char *name, const struct prompt_template **out, struct err *e)
{
	int rc = find(p, name, out, e);
	return rc || *out ? rc : not_found(p, name, NULL, 0, e);
}

int prompts_find_for(const struct prompts *p, const char *task, const char *name, const struct prompt_template **out, struct err *e)
{
	size_t len = strlen(task);
	int rc = find(p, name ? name : task, out, e);
	if (!rc && *out && (prompt_task_len(*out) != len || memcmp((*out)->name, task, len) != 0)) *out = NULL;
	return rc || *out ? rc : not_found(p, name ? name : task, task, len, e);
}

/* ---- adding ---- */

static int has_value(const struct prompt_template *t, const char *name, size_t len)
{
	for (size_t i = 0; i < t->message_n; i++)
		for (size_t j = 0; j < t->messages[i].part_n; j++) {
			const struct part *q = &t->messages[i].parts[j];
			if (q->is_value && q->len == len && memcmp(q->text, name, len) == 0) return 1;
		}
	return 0;
}

/* How many built-in templates of t's task there are, and how many of them have that placeholder. */
static size_t value_count(const struct prompts *p, const struct prompt_template *t, const struct part *q, size_t *have)
{
	size_t len = prompt_task_len(t), n = atomic_load(&p->n), all = 0;
	*have = 0;
	for (size_t i = 0; i < n; i++) {
		const struct prompt_template *b = p->rows[i];
		if (b->origin != PROMPT_BUILT_IN || prompt_task_len(b) != len || memcmp(b->name, t->name, len) != 0) continue;
		*have += (size_t)has_value(b, q->text, q->len);
		all++;
	}
	return all;
}

/* Of every placeholder of `from`: unknown: one that no built-in template of t's task has is an error; else one that all of
 * them have and t has not. */
static int values_compare(const struct prompts *p, const struct prompt_template *t, const struct prompt_template *from, int unknown,
	const char *file, struct err *e)
{
	for (size_t i = 0; i < from->message_n; i++)
		for (size_t j = 0; j < from->messages[i].part_n; j++) {
			const struct part *q = &from->messages[i].parts[j];
			size_t have, all;
			if (!q->is_value) continue;
			all = value_count(p, t, q, &have);
			if (unknown ? have > 0 : have < all || has_value(t, q->text, q->len)) continue;
			return err_set(e, E_USAGE, "prompt %s: {{%.*s}} %s the task %.*s %s", file, (int)(q->len < 60 ? q->len : 60), q->text,
				unknown ? "is not a placeholder that" : "is missing, which", (int)prompt_task_len(t), t->name, unknown ? "fills" : "needs");
		}
	return OK;
}

/* A task fills the placeholders of its built-in templates, and needs those that all of them have. */
static int values_check(const struct prompts *p, const struct prompt_template *t, const char *file, struct err *e)
{
	size_t n = atomic_load(&p->n);
	int rc = values_compare(p, t, t, 1, file, e);
	for (size_t i = 0; !rc && i < n; i++)
		if (p->rows[i]->origin == PROMPT_BUILT_IN && prompt_task_len(p->rows[i]) == prompt_task_len(t) &&
		    memcmp(p->rows[i]->name, t->name, prompt_task_len(t)) == 0)
			rc = values_compare(p, t, p->rows[i], 0, file, e);
	return rc;
}

static int same_text(const struct prompt_template *t, const char *text, size_t len)
{
	return t->source_len == len && memcmp(t->source, text, len) == 0;
}

int prompts_check(const struct prompts *p, const char *file, const char *text, size_t len, struct err *e)
{
	static const char sane[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
	struct prompt_template *t;
	const struct prompt_template *was;
	int rc = template_make(&t, file, text, len, PROMPT_ADDED, e);
	if (rc) return rc;
	was = version_find(p, t->name, strlen(t->name), t->version);
	if (t->name[strspn(t->name, sane)])
		rc = err_set(e, E_USAGE, "prompt %s: a name is made of a-z, 0-9, _ and -", file);
	else if (!task_find(p, t->name, prompt_task_len(t)))
		rc = err_set(e, E_USAGE, "prompt %s: no task %.*s; a name is TASK or TASK-VARIANT (footnote prompts list)", file,
			(int)prompt_task_len(t), t->name);
	else rc = values_check(p, t, file, e);
	if (!rc && was && !same_text(was, text, len))
		rc = err_set(e, E_CONFLICT, "prompt %s@%d is there already, with another text; a version never changes: the next is %d", t->name,
			t->version, prompts_next(p, t->name));
	if (!rc && !was && atomic_load(&p->n) == TEMPLATES_MAX) rc = err_set(e, E_LIMIT, "prompt %s: there are %d templates already", file, TEMPLATES_MAX);
	template_free(t);
	return rc;
}

int prompts_add(struct prompts *p, const char *file, const char *text, size_t len, const struct prompt_template **out, struct err *e)
{
	struct prompt_template *t, *was;
	int rc = template_make(&t, file, text, len, PROMPT_ADDED, e);
	*out = NULL;
	if (rc) return rc;
	pthread_mutex_lock(&p->change);
	was = version_find(p, t->name, strlen(t->name), t->version);
	if (was && !same_text(was, text, len)) rc = err_set(e, E_CONFLICT, "prompt %s@%d is there already, with another text", t->name, t->version);
	else if (!was) rc = row_add(p, t, e);
	pthread_mutex_unlock(&p->change);
	if (rc || was) template_free(t);
	if (!rc) *out = was ? was : t;
	return rc;
}

void prompts_use(struct prompts *p, const struct prompt_template *t)
{
	struct task *task = task_find(p, t->name, prompt_task_len(t));
	if (task) atomic_store(&task->used, t);
}

int prompts_in_use(const struct prompts *p, const struct prompt_template *t)
{
	const struct task *task = task_find(p, t->name, prompt_task_len(t));
	return task && atomic_load(&task->used) == t;
}

int prompts_next(const struct prompts *p, const char *name)
{
	const struct prompt_template *t = highest(p, name, strlen(name));
	return t ? t->version + 1 : 1;
}

size_t prompt_task_len(const struct prompt_template *t)
{
	return strcspn(t->name, "-");
}

enum prompt_origin prompt_origin(const struct prompt_template *t)
{
	return t->origin;
}

const char *prompt_name(const struct prompt_template *t)
{
	return t->name;
}

int prompt_version(const struct prompt_template *t)
{
	return t->version;
}

size_t prompts_n(const struct prompts *p)
{
	return atomic_load(&p->n);
}

const struct prompt_template *prompts_at(const struct prompts *p, size_t i)
{
	return i < atomic_load(&p->n) ? p->rows[i] : NULL;
}

const char *prompt_source(const struct prompt_template *t)
{
	return t->source;
}

static const struct prompt_value *value_find(const struct part *q, const struct prompt_value *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(v[i].name) == q->len && memcmp(v[i].name, q->text, q->len) == 0) return &v[i];
	return NULL;
}

static int message_fill(const struct message *m, const struct prompt_value *v, size_t n, struct arena *a, struct chat_message *out, struct err *e)
{
	size_t len = 0, at = 0;
	char *text;
	for (size_t i = 0; i < m->part_n; i++) {
		const struct part *q = &m->parts[i];
		const struct prompt_value *x = q->is_value ? value_find(q, v, n) : NULL;
		if (q->is_value && !x) return err_set(e, E_USAGE, "prompt: no value for {{%.*s}}", (int)q->len, q->text);
		len += x ? x->len : q->len;
	}
	text = arena_alloc(a, len + 1);
	if (!text) return err_set(e, E_MEMORY, "prompt: out of memory for %zu bytes", len);
	for (size_t i = 0; i < m->part_n; i++) {
		const struct part *q = &m->parts[i];
		const struct prompt_value *x = q->is_value ? value_find(q, v, n) : NULL;
		memcpy(text + at, x ? x->text : q->text, x ? x->len : q->len);
		at += x ? x->len : q->len;
	}
	text[len] = 0;
	*out = (struct chat_message){ m->role, text, len };
	return OK;
}

int prompt_fill(const struct prompt_template *t, const struct prompt_value *v, size_t n, struct arena *a,
	struct chat_message **out, size_t *out_n, struct err *e)
{
	struct chat_message *m = arena_calloc(a, t->message_n, sizeof *m);
	if (!m) return err_set(e, E_MEMORY, "prompt %s: out of memory", t->name);
	for (size_t i = 0; i < t->message_n; i++) {
		int rc = message_fill(&t->messages[i], v, n, a, &m[i], e);
		if (rc) return rc;
	}
	*out = m;
	*out_n = t->message_n;
	return OK;
}
