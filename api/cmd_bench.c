/* cmd_bench.c: `footnote bench WHAT`: the project's own measuring. Each measurement is a file of its own, which fills
 * an object with figures; here they are named and told. Measurements open the model they are given, as the service
 * would, beside no store; what they are compared with is tests/bench/.
 * Threads: the command's, and the model's own. Failure: the first error ends it, nothing is told by halves. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/bench.h"

static const struct { const char *name; int (*run)(struct command_call *c, cJSON *out, struct err *e); } measures[] = {
	{"embed", bench_embed}, {"generate", bench_generate},
};

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
	if (!rc && !found) rc = err_set(&e, E_USAGE, "bench: must be embed or generate");
	if (!rc && !c->json) print_people(c, out);
	if (!rc && c->json) {
		rc = command_json(c, out, &e);
		out = NULL;
	}
	cJSON_Delete(out);
	return rc ? command_misused(c, &e) : EXIT_DONE;
}
