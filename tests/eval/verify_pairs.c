/* verify_pairs.c: how well given evidence supports given sentences, by the program's own verifier, for the row "verifier" of
 * tests/eval/run_eval.py.
 * Usage: verify_pairs MODELS DATA < CASES > FIGURES
 * MODELS: the models folder; DATA: a folder for an empty store. CASES: a line each, {"evidence": [text, ..], "claims": [sentence, ..]}. A line comes out for
 * each: an object with lists of a figure a claim, that of the evidence which supports it best: "words" by words and
 * embeddings, "reader" the reader model's probability of support where there is one, and "support", which counts: both, as
 * api/verify.h joins them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/service.h"
#include "api/verify.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/sentence.h"

enum { LINE_MAX_BYTES = 64 << 20, ARENA_BYTES = 1 << 30, UNITS_MAX = 4096, FIRST_SLOTS = 64 };

static struct service *service;
static struct embedder *embedder;
static struct reader_model *reader;

static int unit_add(struct selection *sel, size_t passage, const char *text, size_t len, struct arena *a, struct err *e)
{
	struct unit *u = &sel->units[sel->unit_n];
	struct embed_text t = { text, len };
	struct word *w;
	float *vec = arena_alloc(a, (size_t)sel->dim * sizeof *vec);
	*u = (struct unit){ .passage = passage, .range = { 0, (uint32_t)len }, .text = text, .len = len, .vec = vec };
	if (!vec) return err_set(e, E_MEMORY, "out of memory");
	int rc = words_of(text, len, a, &w, &u->word_n, e);
	u->words = w;
	if (!rc) rc = embedder_encode(embedder, &t, 1, EMBED_PASSAGE, EMBED_FIRST, vec, e);
	sel->unit_n += !rc && u->word_n;
	return rc;
}

/* Every sentence of the evidence as a unit, without a question and with all words of one weight. */
static int units_make(const cJSON *evidence, struct arena *a, struct selection *sel, struct err *e)
{
	const cJSON *x;
	size_t passage = 0, pos, from, to;
	*sel = (struct selection){ .units = arena_calloc(a, UNITS_MAX, sizeof *sel->units), .embedder = embedder,
		.dim = embedder_info(embedder)->dim, .weight_n = FIRST_SLOTS };
	sel->weights = arena_calloc(a, sel->weight_n, sizeof *sel->weights);
	if (!sel->units || !sel->weights) return err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(x, evidence) {
		const char *text = cJSON_IsString(x) ? x->valuestring : "";
		for (pos = 0; sel->unit_n < UNITS_MAX && sentence_next(text, strlen(text), &pos, &from, &to);) {
			int rc = unit_add(sel, passage, text + from, to - from, a, e);
			if (rc) return rc;
		}
		passage++;
	}
	return OK;
}

/* *out: support by the best unit; *read: the best probability that the reader gives a unit, 0 without one. */
static int support_of(const struct selection *sel, const char *text, struct arena *a, double *out, double *read, struct err *e)
{
	struct claim c;
	int rc = claim_make(sel, text, strlen(text), a, &c, e);
	*out = *read = 0;
	if (!rc) verify_best(sel, &c, (size_t)-1, out);
	for (size_t u = 0; !rc && c.entailed && u < sel->unit_n; u++)
		if (!isnan(c.entailed[u])) *read = fmax(*read, 1 / (1 + exp(-(double)c.entailed[u])));
	return rc;
}

static int case_tell(const char *line, size_t len, struct err *e)
{
	struct selection sel;
	struct arena a;
	cJSON *in = NULL, *out = cJSON_CreateObject(), *lists[3];
	const cJSON *evidence, *claims, *x;
	arena_init(&a, ARENA_BYTES);
	int rc = json_parse(&in, line, len, LINE_MAX_BYTES, "a line", e);
	if (rc) goto out;
	evidence = json_get(in, "evidence");
	claims = json_get(in, "claims");
	lists[0] = cJSON_AddArrayToObject(out, "support");
	lists[1] = cJSON_AddArrayToObject(out, "words");
	lists[2] = reader ? cJSON_AddArrayToObject(out, "reader") : NULL;
	rc = units_make(evidence, &a, &sel, e);
	cJSON_ArrayForEach(x, claims) {
		double words = 0, both = 0, read = 0;
		const char *text = cJSON_IsString(x) ? x->valuestring : "";
		if (rc) break;
		rc = support_of(&sel, text, &a, &words, &read, e);
		sel.reader = reader;
		if (!rc) rc = support_of(&sel, text, &a, &both, &read, e);
		sel.reader = NULL;
		cJSON_AddItemToArray(lists[0], cJSON_CreateNumber(both));
		cJSON_AddItemToArray(lists[1], cJSON_CreateNumber(words));
		if (reader) cJSON_AddItemToArray(lists[2], cJSON_CreateNumber(read));
	}
	char *text = rc ? NULL : cJSON_PrintUnformatted(out);
	if (text) puts(text);
	cJSON_free(text);
out:
	cJSON_Delete(in);
	cJSON_Delete(out);
	arena_clear(&a);
	return rc;
}

static int begin(const char *models, const char *data, struct err *e)
{
	struct conf c;
	const char *why = "";
	conf_default(&c);
	int rc = conf_set(&c, "models.dir", models, e);
	if (!rc) rc = conf_set(&c, "data.dir", data, e);
	if (!rc) rc = conf_set(&c, "generate.model", "none", e);
	if (!rc) rc = service_open(&service, &c, NEED_EMBEDDER, e);
	if (!rc) rc = service_embedder(service, &embedder, e);
	if (!rc) rc = service_reader(service, &reader, &why, e);
	if (!rc && !reader) fprintf(stderr, "verify_pairs: by words alone: %s\n", why);
	return rc;
}

int main(int argc, char **argv)
{
	char *line = NULL;
	struct err e = { 0 };
	size_t room = 0;
	ssize_t len;
	if (argc != 3) {
		fprintf(stderr, "Usage: verify_pairs MODELS DATA < CASES > FIGURES\n");
		return 2;
	}
	int rc = begin(argv[1], argv[2], &e);
	while (!rc && (len = getline(&line, &room, stdin)) > 0) rc = case_tell(line, (size_t)len, &e);
	if (rc) fprintf(stderr, "verify_pairs: %s\n", e.msg);
	service_close(service);
	free(line);
	return rc != OK;
}
