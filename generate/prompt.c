/* prompt.c: versioned prompt templates (format in prompt.h).
 *
 * A template is parsed once into messages, each a run of literal text and placeholders. Filling copies literals and
 * values side by side, so that a value which contains "{{question}}" or "[system]" stays what it is: data. The
 * built-in files come from generate/prompts/ through tools/embed.sh; a folder's file of the same name and version
 * takes the place of the built-in one.
 * Threads: read-only after prompts_open. Failure: a template that cannot be parsed is an error that names its file. */
#include "generate/prompt.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include "base/embedded.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { TEMPLATE_BYTES_MAX = 64 << 10, PARTS_MAX = 64, MESSAGES_MAX = 16, TEMPLATES_MAX = 256, NAME_MAX_LEN = 48 };

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
	char name[NAME_MAX_LEN];
	int version;
	char *source;              /* owned; parts borrow from it */
	size_t source_len;
	struct message *messages;  /* owned, (message_n) */
	size_t message_n;
};
struct prompts {
	struct prompt_template *rows[TEMPLATES_MAX];
	size_t n;
};

static const char *const roles[] = { "system", "user", "assistant" };

static void template_free(struct prompt_template *t)
{
	if (!t) return;
	mem_free(t->source);
	mem_free(t->messages);
	mem_free(t);
}

/* "answer.v12.txt" -> "answer", 12. 0 when the name has another form. */
static int name_parse(const char *file, char name[NAME_MAX_LEN], int *version)
{
	const char *v = strstr(file, ".v");
	char *end;
	if (!v || v == file || (size_t)(v - file) >= NAME_MAX_LEN || v[2] < '1' || v[2] > '9') return 0;
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

/* Takes a copy of source. Replaces a template of the same name and version. */
static int prompts_add(struct prompts *p, const char *file, const char *source, size_t len, struct err *e)
{
	struct prompt_template *t = mem_calloc(1, sizeof *t);
	int rc;
	if (!t) return err_set(e, E_MEMORY, "prompt %s: out of memory", file);
	if (!name_parse(file, t->name, &t->version)) {
		rc = err_set(e, E_FORMAT, "prompt %s: a template's file is called NAME.vN.txt", file);
		goto out;
	}
	if (len > TEMPLATE_BYTES_MAX) {
		rc = err_set(e, E_LIMIT, "prompt %s: larger than %d bytes", file, TEMPLATE_BYTES_MAX);
		goto out;
	}
	if (!utf8_valid(source, len)) {
		rc = err_set(e, E_FORMAT, "prompt %s: not UTF-8", file);
		goto out;
	}
	t->source = mem_strndup(source, len);
	t->source_len = len;
	if (!t->source) {
		rc = err_set(e, E_MEMORY, "prompt %s: out of memory", file);
		goto out;
	}
	rc = template_parse(t, file, e);
	if (rc) goto out;
	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(p->rows[i]->name, t->name) == 0 && p->rows[i]->version == t->version) {
			template_free(p->rows[i]);
			p->rows[i] = t;
			return OK;
		}
	}
	if (p->n == TEMPLATES_MAX) {
		rc = err_set(e, E_LIMIT, "prompt %s: more than %d templates", file, TEMPLATES_MAX);
		goto out;
	}
	p->rows[p->n++] = t;
	return OK;
out:
	template_free(t);
	return rc;
}

static int folder_add(struct prompts *p, const char *dir, struct err *e)
{
	struct buf path, text;
	char name[NAME_MAX_LEN];
	int version, rc = OK;
	DIR *d = opendir(dir);
	if (!d) return err_sys(e, "prompts.dir %s", dir);
	buf_init(&path, 4096);
	buf_init(&text, TEMPLATE_BYTES_MAX + 1);
	for (struct dirent *f; rc == OK && (f = readdir(d));) {
		if (!name_parse(f->d_name, name, &version)) continue;
		buf_reset(&text);
		rc = path_join(&path, dir, f->d_name);
		if (rc) rc = err_set(e, rc, "prompts.dir %s: path too long", dir);
		else rc = file_read(buf_cstr(&path), &text, e);
		if (rc == OK) rc = prompts_add(p, f->d_name, buf_cstr(&text), text.len, e);
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

int prompts_open(struct prompts **out, const char *dir, struct err *e)
{
	struct prompts *p = mem_calloc(1, sizeof *p);
	int rc = p ? OK : err_set(e, E_MEMORY, "prompts: out of memory");
	for (const struct embedded_file *f = prompt_files; rc == OK && f->name; f++) rc = prompts_add(p, f->name, f->data, f->len, e);
	if (rc == OK && dir && *dir) rc = folder_add(p, dir, e);
	if (rc) {
		prompts_close(p);
		p = NULL;
	} else {
		qsort(p->rows, p->n, sizeof p->rows[0], by_name);
	}
	*out = p;
	return rc;
}

void prompts_close(struct prompts *p)
{
	if (!p) return;
	for (size_t i = 0; i < p->n; i++) template_free(p->rows[i]);
	mem_free(p);
}

int prompts_find(const struct prompts *p, const char *name, const struct prompt_template **out, struct err *e)
{
	const char *at = strchr(name, '@');
	size_t len = at ? (size_t)(at - name) : strlen(name);
	char *end = NULL;
	long version = at ? strtol(at + 1, &end, 10) : 0;
	struct buf have;
	*out = NULL;
	if (at && (end == at + 1 || *end || version < 1)) return err_set(e, E_USAGE, "prompt %s: a version is a number, as in answer@1", name);
	for (size_t i = 0; i < p->n; i++) {
		const struct prompt_template *t = p->rows[i];
		if (strlen(t->name) == len && memcmp(t->name, name, len) == 0 && (!at || t->version == version)) *out = t;
	}
	if (*out) return OK;
	buf_init(&have, 160);
	for (size_t i = 0; i < p->n; i++) (void)buf_printf(&have, " %s@%d", p->rows[i]->name, p->rows[i]->version);
	err_set(e, E_NOT_FOUND, "no prompt %s; there are:%s", name, buf_cstr(&have));
	buf_clear(&have);
	return E_NOT_FOUND;
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
	return p->n;
}

const struct prompt_template *prompts_at(const struct prompts *p, size_t i)
{
	return i < p->n ? p->rows[i] : NULL;
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
