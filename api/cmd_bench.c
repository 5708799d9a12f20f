/* cmd_bench.c: `footnote bench WHAT`: the project's own measuring. Each measurement is a file of its own, which fills
 * an object with figures; here they are named and told. Measurements open the model they are given, as the service
 * would, beside no store but one of their own; what they are compared with is tests/bench/.
 * Threads: the command's, and the model's own. Failure: the first error ends it, nothing is told by halves. */
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "api/bench.h"
#include "base/file.h"
#include "base/mem.h"

static const struct { const char *name; int (*run)(struct command_call *c, cJSON *out, struct err *e); } measures[] = {
	{"embed", bench_embed}, {"generate", bench_generate}, {"index", bench_index}, {"store", bench_store},
	{"words", bench_words},
};

int bench_folder_make(char dir[BENCH_DIR_MAX], struct err *e)
{
	const char *tmp = getenv("TMPDIR");
	int n = snprintf(dir, BENCH_DIR_MAX, "%s/footnote-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (n > 0 && n < BENCH_DIR_MAX && mkdtemp(dir)) return OK;
	dir[0] = 0;
	return err_set(e, E_IO, "bench: no folder can be made in %.100s", tmp && *tmp ? tmp : "/tmp");
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
	(void)st, (void)kind, (void)place;
	(void)remove(path);
	return 0;
}

void bench_folder_remove(const char *dir)
{
	if (*dir) (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

double bench_thread_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t n, double p)
{
	if (!n) return 0;
	qsort(values, n, sizeof *values, by_value);
	return values[(size_t)(p * (double)(n - 1) + 0.5)];
}

int bench_text(cJSON *out, const char *key, const char *value, struct err *e)
{
	return cJSON_AddStringToObject(out, key, value) ? OK : err_set(e, E_MEMORY, "bench: out of memory");
}

int bench_number(cJSON *out, const char *key, double value, struct err *e)
{
	char text[32];
	snprintf(text, sizeof text, fabs(value) < 1000 ? "%.4g" : "%.0f", value);
	return cJSON_AddNumberToObject(out, key, strtod(text, NULL)) ? OK : err_set(e, E_MEMORY, "bench: out of memory");
}

/* A line {"text"[,"title"]}, title first: the text in the arena. */
static int line_text(const char *line, size_t len, const char *what, struct arena *a, struct embed_text *t,
	struct err *e)
{
	cJSON *o = NULL;
	const char *title, *text;
	char *s;
	int rc = json_parse(&o, line, len, len, what, e);
	if (rc) return rc;
	title = json_str(o, "title", "");
	text = json_str(o, "text", NULL);
	if (!text) rc = err_set(e, E_FORMAT, "%s: no \"text\"", what);
	s = rc ? NULL : arena_printf(a, "%s%s%s", title, *title ? " " : "", text);
	if (!rc && !s) rc = err_set(e, E_MEMORY, "bench: out of memory");
	if (!rc) *t = (struct embed_text){ s, strlen(s) };
	cJSON_Delete(o);
	return rc;
}

int bench_texts(const char *path, size_t limit, struct arena *a, struct embed_text **out, size_t *n, struct err *e)
{
	struct buf file;
	char what[300];
	size_t line = 0, lines = 1;
	int rc;
	*n = 0;
	buf_init(&file, BENCH_FILE_BYTES_MAX);
	rc = file_read(path, &file, e);
	for (size_t i = 0; !rc && i < file.len; i++) lines += file.data[i] == '\n';
	*out = rc ? NULL : mem_calloc(lines, sizeof **out);
	if (!rc && !*out) rc = err_set(e, E_MEMORY, "bench: out of memory");
	for (size_t at = 0, len; !rc && at < file.len && *n < limit; at += len + 1) {
		const char *end = memchr(file.data + at, '\n', file.len - at);
		len = end ? (size_t)(end - file.data) - at : file.len - at;
		snprintf(what, sizeof what, "%.200s:%zu", path, ++line);
		if (len) rc = line_text(file.data + at, len, what, a, &(*out)[*n], e);
		*n += !rc && len;
	}
	if (!rc && !*n) rc = err_set(e, E_FORMAT, "%s: no line {\"text\": …}", path);
	buf_clear(&file);
	return rc;
}

static void print_people(struct command_call *c, const cJSON *o)
{
	const cJSON *f;
	cJSON_ArrayForEach(f, o) {
		if (cJSON_IsString(f)) out_printf(c->out, 1, "%-16s %s\n", f->string, f->valuestring);
		else out_printf(c->out, 1, "%-16s %.10g\n", f->string, f->valuedouble);
	}
}

int cmd_bench(struct command_call *c)
{
	struct command_call inner = *c;
	struct err e = {0};
	cJSON *out = cJSON_CreateObject();
	int rc = OK, found = 0;
	inner.argv++;
	inner.argc--;
	if (!out) rc = err_set(&e, E_MEMORY, "bench: out of memory");
	for (size_t i = 0; i < sizeof measures / sizeof *measures && inner.argc > 0 && !rc && !found; i++) {
		if (strcmp(inner.argv[0], measures[i].name) != 0) continue;
		found = 1;
		rc = measures[i].run(&inner, out, &e);
	}
	if (!rc && !found) rc = err_set(&e, E_USAGE, "bench: must be embed, generate, index, store or words");
	if (!rc && !c->json) print_people(c, out);
	if (!rc && c->json) {
		rc = command_json(c, out, &e);
		out = NULL;
	}
	cJSON_Delete(out);
	return rc ? command_misused(c, &e) : EXIT_DONE;
}
