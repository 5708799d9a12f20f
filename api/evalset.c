/* evalset.c: reading question sets (evalset.h). Files are read whole (at most FILE_MAX), a JSON object a line.
 * Threads: the caller's. Failure: E_FORMAT with file and line; nothing stays open. */
#include "api/evalset.h"
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"

enum { FILE_MAX = 1 << 30, LINE_MAX_BYTES = 16 << 20 };

/* One line of a .jsonl file; returns a status. */
typedef int (*line_fn)(struct evalset *s, cJSON *row, struct arena *a, struct err *e);

static int file_load(const char *dir, const char *name, struct arena *a, struct buf *text, char **path, struct err *e)
{
	*path = arena_printf(a, "%s/%s", dir, name);
	if (!*path) return err_set(e, E_MEMORY, "eval: out of memory");
	return file_read(*path, text, e);
}

static size_t lines_of(const struct buf *b)
{
	size_t n = 1;
	for (size_t i = 0; i < b->len; i++) n += b->data[i] == '\n';
	return n;
}

static int jsonl_each(struct evalset *s, const char *path, const struct buf *text, line_fn fn, struct arena *a, struct err *e)
{
	size_t line = 0, at = 0;
	int rc = OK;
	while (rc == OK && at < text->len) {
		const char *start = text->data + at, *nl = memchr(start, '\n', text->len - at);
		size_t len = nl ? (size_t)(nl - start) : text->len - at;
		cJSON *row = NULL;
		line++;
		at += len + 1;
		if (len == 0 || (len == 1 && *start == '\r')) continue;
		rc = json_parse(&row, start, len, LINE_MAX_BYTES, "line", e);
		if (rc == OK && !cJSON_IsObject(row)) rc = err_set(e, E_FORMAT, "not an object");
		if (rc == OK) rc = fn(s, row, a, e);
		cJSON_Delete(row);
		if (rc) err_wrap(e, "%s:%zu", path, line);
	}
	return rc;
}

static const char *copy(struct arena *a, const cJSON *row, const char *key, const char *absent)
{
	return arena_strdup(a, json_str(row, key, absent));
}

static int document_add(struct evalset *s, cJSON *row, struct arena *a, struct err *e)
{
	struct eval_document *d = &s->documents[s->document_n++];
	d->id = copy(a, row, "id", "");
	d->title = copy(a, row, "title", "");
	d->text = copy(a, row, "text", "");
	if (!d->id || !d->title || !d->text) return err_set(e, E_MEMORY, "eval: out of memory");
	return *d->id ? OK : err_set(e, E_FORMAT, "no \"id\"");
}

static int answers_add(struct eval_question *q, const cJSON *list, struct arena *a, struct err *e)
{
	int n = cJSON_GetArraySize(list);
	const cJSON *item;
	q->answers = arena_calloc(a, (size_t)n + 1, sizeof *q->answers);
	if (!q->answers) return err_set(e, E_MEMORY, "eval: out of memory");
	cJSON_ArrayForEach(item, list) {
		if (!cJSON_IsString(item)) return err_set(e, E_FORMAT, "\"answers\" holds something that is no string");
		q->answers[q->answer_n] = arena_strdup(a, item->valuestring);
		if (!q->answers[q->answer_n++]) return err_set(e, E_MEMORY, "eval: out of memory");
	}
	return OK;
}

static int question_add(struct evalset *s, cJSON *row, struct arena *a, struct err *e)
{
	struct eval_question *q = &s->questions[s->question_n++];
	q->id = copy(a, row, "id", "");
	q->text = copy(a, row, s->has_articles ? "question" : "text", "");
	q->document = copy(a, row, "doc", "");
	q->paragraph = copy(a, row, "paragraph", "");
	q->answerable = json_bool(row, "answerable", 1);
	if (!q->id || !q->text || !q->document || !q->paragraph) return err_set(e, E_MEMORY, "eval: out of memory");
	if (!*q->text) return err_set(e, E_FORMAT, "no question text");
	return answers_add(q, cJSON_GetObjectItemCaseSensitive(row, "answers"), a, e);
}

static int question_by_id(const void *x, const void *y)
{
	return strcmp(((const struct eval_question *)x)->id, ((const struct eval_question *)y)->id);
}

/* qrels.tsv: header line, then query-id <tab> corpus-id <tab> score. */
static int qrels_load(struct evalset *s, struct arena *a, struct err *e)
{
	struct buf text;
	char *path, *save = NULL;
	size_t line = 0;
	buf_init(&text, FILE_MAX);
	int rc = file_load(s->dir, "qrels.tsv", a, &text, &path, e);
	qsort(s->questions, s->question_n, sizeof *s->questions, question_by_id);
	for (char *row = rc ? NULL : strtok_r(text.data, "\r\n", &save); rc == OK && row; row = strtok_r(NULL, "\r\n", &save)) {
		char *fields = NULL, *q = strtok_r(row, "\t", &fields), *d = strtok_r(NULL, "\t", &fields), *g = strtok_r(NULL, "\t", &fields);
		if (line++ == 0) continue;
		if (!q || !d || !g) {
			rc = err_set(e, E_FORMAT, "%s:%zu: not three columns", path, line);
			break;
		}
		struct eval_question key = { .id = q };
		struct eval_question *found = bsearch(&key, s->questions, s->question_n, sizeof key, question_by_id);
		if (!found) continue;
		if ((found->relevant_n & (found->relevant_n - 1)) == 0) { /* grows at powers of two */
			struct eval_relevant *more = arena_calloc(a, found->relevant_n ? 2 * found->relevant_n : 1, sizeof *more);
			if (more && found->relevant_n) memcpy(more, found->relevant, found->relevant_n * sizeof *more);
			found->relevant = more;
		}
		char *id = arena_strdup(a, d);
		if (!found->relevant || !id) rc = err_set(e, E_MEMORY, "eval: out of memory");
		else found->relevant[found->relevant_n++] = (struct eval_relevant){ id, strtod(g, NULL) };
	}
	buf_clear(&text);
	return rc;
}

static int rows_load(struct evalset *s, const char *name, int documents, struct arena *a, struct err *e)
{
	struct buf text;
	char *path;
	buf_init(&text, FILE_MAX);
	int rc = file_load(s->dir, name, a, &text, &path, e);
	size_t n = rc ? 0 : lines_of(&text);
	if (!rc && documents) s->documents = arena_calloc(a, n, sizeof *s->documents);
	if (!rc && !documents) s->questions = arena_calloc(a, n, sizeof *s->questions);
	if (!rc && !(documents ? (void *)s->documents : (void *)s->questions)) rc = err_set(e, E_MEMORY, "eval: out of memory");
	if (!rc) rc = jsonl_each(s, path, &text, documents ? document_add : question_add, a, e);
	buf_clear(&text);
	return rc;
}

static int has_file(const char *dir, const char *name, struct arena *a)
{
	char *path = arena_printf(a, "%s/%s", dir, name);
	return path && file_exists(path);
}

int evalset_load(struct evalset *out, const char *dir, struct arena *a, struct err *e)
{
	size_t len = strlen(dir);
	memset(out, 0, sizeof *out);
	while (len > 1 && dir[len - 1] == '/') len--;
	out->dir = arena_strndup(a, dir, len);
	if (!out->dir) return err_set(e, E_MEMORY, "eval: out of memory");
	out->name = path_base(out->dir);
	out->has_articles = has_file(out->dir, "articles", a) && has_file(out->dir, "questions.jsonl", a);
	if (out->has_articles) return rows_load(out, "questions.jsonl", 0, a, e);
	if (!has_file(out->dir, "corpus.jsonl", a) || !has_file(out->dir, "queries.jsonl", a) || !has_file(out->dir, "qrels.tsv", a))
		return err_set(e, E_NOT_FOUND, "%s: no question set (articles/ + questions.jsonl, or corpus.jsonl + queries.jsonl + qrels.tsv)", dir);
	int rc = rows_load(out, "corpus.jsonl", 1, a, e);
	if (!rc) rc = rows_load(out, "queries.jsonl", 0, a, e);
	if (!rc) rc = qrels_load(out, a, e);
	return rc;
}
