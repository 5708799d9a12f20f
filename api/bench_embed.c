/* bench_embed.c: `footnote bench embed`: texts and tokens a second as a folder is ingested, and the time of one short
 * query, tokenised and embedded, as a search asks for it. The figures are medians over several runs after one that
 * warms up. A query is the first words of a text.
 * Threads: the command's and the embedder's. Failure: the file's line that is wrong is named. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "api/bench.h"
#include "api/models.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/mem.h"
#include "embed/embed.h"

enum { QUERIES_MAX = 200, QUERY_WORDS = 10, THREADS_MAX = 64 };

struct embed_bench {
	struct command_call *call;
	const char *path, *model, *kernel;
	long threads, limit, repeat;
	struct embedder *embedder;
	struct embed_text *texts; size_t n;
	size_t tokens;              /* of all texts as the encoder reads them: cut, with [CLS] and [SEP] */
	float *vectors;             /* (n, dim) */
};

static int model_open(struct embed_bench *b, struct err *e)
{
	const struct conf *conf = b->call->conf;
	struct embedder_options o = { .threads = (int)b->threads, .kernel = b->kernel,
		.device = conf->embed_device, .max_tokens = conf->embed_max_tokens };
	struct buf path;
	int rc;
	buf_init(&path, 8192);
	rc = model_find(conf, b->model, &path, e);
	o.dir = buf_cstr(&path);
	if (!rc) rc = embedder_open(&b->embedder, &o, e);
	buf_clear(&path);
	return rc;
}

/* *median: seconds of a run over all texts. */
static int run_texts(struct embed_bench *b, double *median, struct err *e)
{
	double took[BENCH_REPEAT_MAX];
	int rc = OK;
	for (long i = -1; !rc && i < b->repeat; i++) {
		double start = clock_ms();
		if (flag_is(b->call->cancel)) return err_set(e, E_CANCELLED, "bench: cancelled");
		rc = embedder_encode(b->embedder, b->texts, b->n, EMBED_PASSAGE, EMBED_BULK, b->vectors, e);
		if (i >= 0) took[i] = (clock_ms() - start) / 1000;
	}
	*median = rc ? 0 : bench_quantile(took, (size_t)b->repeat, 0.5);
	return rc;
}

static size_t first_words(const struct embed_text *t)
{
	size_t at = 0, words = 0;
	while (at < t->len && isspace((unsigned char)t->text[at])) at++;
	while (at < t->len && words < QUERY_WORDS) {
		while (at < t->len && !isspace((unsigned char)t->text[at])) at++;
		if (++words == QUERY_WORDS) break;
		while (at < t->len && isspace((unsigned char)t->text[at])) at++;
	}
	return at;
}

static int run_queries(struct embed_bench *b, cJSON *out, struct err *e)
{
	double took[QUERIES_MAX];
	size_t n = b->n < QUERIES_MAX ? b->n : QUERIES_MAX;
	int rc = OK;
	for (int warm = 1; warm >= 0; warm--)
		for (size_t i = 0; !rc && i < n; i++) {
			struct embed_text q = { b->texts[i].text, first_words(&b->texts[i]) };
			double start = clock_ms();
			rc = embedder_encode(b->embedder, &q, 1, EMBED_QUERY, EMBED_FIRST, b->vectors, e);
			took[i] = clock_ms() - start;
		}
	if (!rc) rc = bench_number(out, "query_ms", bench_quantile(took, n, 0.5), e);
	if (!rc) rc = bench_number(out, "query_p95_ms", bench_quantile(took, n, 0.95), e);
	return rc;
}

static int measure(struct embed_bench *b, cJSON *out, struct err *e)
{
	const struct embedder_info *f = embedder_info(b->embedder);
	double seconds;
	int rc;
	for (size_t i = 0; i < b->n; i++) {
		size_t n = embedder_count_tokens(b->embedder, b->texts[i].text, b->texts[i].len) + 2;
		b->tokens += n < (size_t)f->max_tokens ? n : (size_t)f->max_tokens;
	}
	b->vectors = mem_calloc(b->n, (size_t)f->dim * sizeof *b->vectors);
	if (!b->vectors) return err_set(e, E_MEMORY, "bench: out of memory");
	rc = run_texts(b, &seconds, e);
	if (!rc) rc = bench_text(out, "model", f->name, e);
	if (!rc) rc = bench_text(out, "kernel", f->kernel, e);
	if (!rc) rc = bench_number(out, "threads", (double)b->threads, e);
	if (!rc) rc = bench_number(out, "texts", (double)b->n, e);
	if (!rc) rc = bench_number(out, "tokens", (double)b->tokens, e);
	if (!rc) rc = bench_number(out, "texts_per_s", (double)b->n / seconds, e);
	if (!rc) rc = bench_number(out, "tokens_per_s", (double)b->tokens / seconds, e);
	return rc ? rc : run_queries(b, out, e);
}

int bench_embed(struct command_call *c, cJSON *out, struct err *e)
{
	struct embed_bench b = { .call = c, .model = c->conf->embed_model, .kernel = c->conf->embed_kernel,
		.threads = service_threads(c->conf->embed_threads), .limit = BENCH_TEXTS_MAX, .repeat = BENCH_REPEAT };
	struct option options[] = { { "--texts", OPTION_TEXT, &b.path, 0, 0 }, { "--model", OPTION_TEXT, &b.model, 0, 0 },
		{ "--kernel", OPTION_TEXT, &b.kernel, 0, 0 }, { "--threads", OPTION_NUMBER, &b.threads, 1, THREADS_MAX },
		{ "--limit", OPTION_NUMBER, &b.limit, 1, BENCH_TEXTS_MAX }, { "--repeat", OPTION_NUMBER, &b.repeat, 1, BENCH_REPEAT_MAX } };
	struct arena a;
	struct buf path;
	int rc = options_parse(c, options, sizeof options / sizeof *options, e);
	arena_init(&a, BENCH_FILE_BYTES_MAX);
	buf_init(&path, 8192);
	if (!rc && (c->argc != 1 || !b.path)) rc = err_set(e, E_USAGE, "bench embed: wants --texts F.jsonl");
	if (!rc) rc = path_absolute(&path, c->cwd, b.path, e);
	if (!rc) rc = bench_texts(buf_cstr(&path), (size_t)b.limit, &a, &b.texts, &b.n, e);
	if (!rc) rc = model_open(&b, e);
	if (!rc) rc = measure(&b, out, e);
	embedder_close(b.embedder);
	mem_free(b.vectors);
	mem_free(b.texts);
	buf_clear(&path);
	arena_clear(&a);
	return rc;
}
