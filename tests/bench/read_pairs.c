/* read_pairs.c: a reader model's figures for pairs of texts, and how fast it has them.
 * Usage: read_pairs FOLDER KERNEL read|support [THREADS] < PAIRS > FIGURES
 * PAIRS: a line each, {"first": .., "title": .., "text": ..}; KERNEL as reader_open's ("auto": the best). A line comes
 * out for each; on stderr the time of the reading alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "embed/reader.h"

enum { PAIRS_MAX = 4 << 20, LINE_MAX_BYTES = 64 << 20 };

static struct reader_pair *pairs;
static size_t n;

static int fail(const struct err *e)
{
	fprintf(stderr, "read_pairs: %s\n", e->msg);
	return 1;
}

static const char *text_of(const cJSON *j, const char *key, size_t *len)
{
	const char *s = json_str(j, key, "");
	*len = strlen(s);
	return s;
}

/* The lines stay parsed until the end: pairs borrow their texts. */
static int lines_read(struct err *e)
{
	char *line = NULL;
	size_t room = 0, have = 0;
	ssize_t len;
	while ((len = getline(&line, &room, stdin)) > 0) {
		cJSON *j;
		if (json_parse(&j, line, (size_t)len, LINE_MAX_BYTES, "a line", e) != OK) return e->status;
		if (n == have) pairs = mem_realloc(pairs, (have = have ? 2 * have : 1024) * sizeof *pairs);
		if (!pairs || n == PAIRS_MAX) return err_set(e, E_MEMORY, "%zu pairs", n);
		struct reader_pair *p = &pairs[n++];
		p->first = text_of(j, "first", &p->first_len);
		p->title = text_of(j, "title", &p->title_len);
		p->text = text_of(j, "text", &p->len);
	}
	free(line);
	return OK;
}

static void reading_tell(const struct reader_reading *r)
{
	printf("{\"relevance\":%.6f,\"answerable\":%.6f,\"spans\":[", r->relevance, r->answerable);
	for (size_t i = 0; i < r->spans_n; i++)
		printf("%s[%zu,%zu,%.6f]", i ? "," : "", r->spans[i].from, r->spans[i].to, r->spans[i].logit);
	printf("]}\n");
}

int main(int argc, char **argv)
{
	struct err e;
	struct reader_model *m;
	if (argc < 4) {
		fprintf(stderr, "Usage: read_pairs FOLDER KERNEL read|support [THREADS] < PAIRS\n");
		return 2;
	}
	struct reader_options o = {.dir = argv[1], .kernel = argv[2], .threads = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 1};
	int support = strcmp(argv[3], "support") == 0;
	if (reader_open(&m, &o, &e) != OK || lines_read(&e) != OK) return fail(&e);
	struct reader_reading *r = mem_calloc(n + 1, sizeof *r);
	struct reader_verdict *v = mem_calloc(n + 1, sizeof *v);
	if (!r || !v) return 1;
	uint64_t from = clock_us();
	clock_t work = clock();
	if ((support ? reader_support(m, pairs, n, v, &e) : reader_read(m, pairs, n, r, &e)) != OK) return fail(&e);
	double seconds = (double)(clock_us() - from) / 1e6, worked = (double)(clock() - work) / CLOCKS_PER_SEC;
	fprintf(stderr, "%zu pairs with %s: %.3f s, of a processor %.3f s: %.1f a second of that\n", n, reader_info(m)->kernel,
		seconds, worked, (double)n / worked);
	for (size_t i = 0; i < n; i++)
		if (support) printf("[%.6f,%.6f,%.6f]\n", v[i].supported, v[i].unsaid, v[i].contradicted);
		else reading_tell(&r[i]);
	return 0;
}
