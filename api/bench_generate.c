/* bench_generate.c: `footnote bench generate`: how fast prompts are read and texts are written, one or several
 * together. A prompt is made of words, each run and text its own, so that nothing computed before is of use, and
 * exactly -n tokens are written whatever the model would say; or it is the text of a file, put to the model as a
 * question is, and its answer ends as answers do (for drafts, which pay where answers repeat what they were given).
 *
 * Time is taken after each step of the generator. Prompts are read until the step that brings the last text's first
 * token; tokens count as written from there to the step in which the first text is done: of all texts together.
 * Figures are medians over runs after one that warms up; one whose prompt had been computed before tells nothing of reading.
 * A prompt's first words may have been seen before; what is computed counts.
 * Threads: the command's and the generator's. Failure: the first error ends it. */
#include <stdio.h>
#include <string.h>
#include "api/bench.h"
#include "api/models.h"
#include "api/screen.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/mem.h"
#include "generate/generate.h"

enum { PARALLEL_MAX = 64, TOKENS_MAX = 100000, FILE_BYTES_MAX = 16 << 20, DRAFT_MAX = 16, THREADS_MAX = 256,
	RUNS_MAX = BENCH_REPEAT_MAX + 1, COMPUTED_SHARE = 10 };

struct text {                    /* one of those written together */
	struct gen_request request;
	struct gen_constraint constraint;
	struct gen_result result;
	struct err err;
	struct tokens prompt;
	uint32_t *at;            /* (tokens) the step that brought each */
	size_t written;
	int32_t plain;           /* a token to go on with where the model would stop; -1: let it stop */
	const size_t *step;
};
struct bench {
	struct command_call *call;
	const char *model, *kernel, *file;
	long prompt, tokens, threads, parallel, repeat, draft;
	struct generator *generator;
	struct gen_params params;
	struct text text[PARALLEL_MAX];
	double *ends; size_t ends_cap; /* ms at which each step ended; [0]: the start */
	size_t step;             /* under way, from 1 */
	double opened_ms;
	/* of each run; prefill and first only of those that computed their prompts, but for a first word */
	double prefill[RUNS_MAX], first[RUNS_MAX], decode[RUNS_MAX], bytes[RUNS_MAX];
	size_t prefill_n, run_n, written;
	struct buf answer;       /* to the file's text */
};

static enum gen_verdict on_token(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	struct text *t = ctx;
	if (v->is_stop && t->plain < 0) return GEN_ACCEPT;
	t->at[t->written++] = (uint32_t)*t->step;
	if (!v->is_stop) return GEN_ACCEPT;
	s->choices = &t->plain;
	s->choice_n = 1;
	return GEN_CHOOSE;
}

/* ---- prompts ---- */

/* Words without much sense, cut at exactly `prompt` tokens; other ones for every number. */
static int prompt_words(struct bench *b, uint32_t number, struct tokens *out, struct err *e)
{
	static const char *const words[] = { "river", "stone", "letter", "seven", "early", "market", "green", "under",
		"paper", "window", "north", "silver", "quiet", "garden", "winter", "bridge", "table", "corner", "music", "harbour" };
	enum { WORDS = sizeof words / sizeof *words };
	uint32_t state = number * 2654435761u + 12345;
	int rc = OK;
	out->n = 0;
	while (!rc && out->n < (size_t)b->prompt) {
		char word[32];
		int len;
		state = state * 1664525u + 1013904223u;
		len = snprintf(word, sizeof word, " %s%s", words[(state >> 16) % WORDS], (state >> 28) == 0 ? "," : "");
		rc = generator_tokenize(b->generator, word, (size_t)len, out, e);
	}
	if (!rc) out->n = (size_t)b->prompt;
	return rc;
}

static int prompt_file(struct bench *b, const char *path, struct tokens *out, struct err *e)
{
	struct buf text;
	int rc;
	buf_init(&text, FILE_BYTES_MAX);
	rc = file_read(path, &text, e);
	if (!rc) {
		struct chat_message m = { "user", buf_cstr(&text), text.len };
		rc = generator_chat(b->generator, &m, 1, 1, out, e);
	}
	buf_clear(&text);
	return rc;
}

static int texts_make(struct bench *b, const char *path, struct err *e)
{
	int rc = OK;
	for (long i = 0; !rc && i < b->parallel; i++) {
		struct text *t = &b->text[i];
		struct tokens plain = { 0 };
		t->at = mem_calloc((size_t)b->tokens, sizeof *t->at);
		if (!t->at) return err_set(e, E_MEMORY, "bench: out of memory");
		if (b->file) rc = prompt_file(b, path, &t->prompt, e);
		else rc = generator_tokenize(b->generator, " and", 4, &plain, e);
		t->plain = plain.n ? plain.ids[0] : -1;
		t->step = &b->step;
		t->constraint = (struct gen_constraint){ t, on_token };
		tokens_clear(&plain);
	}
	return rc;
}

/* ---- a run ---- */

static int steps_room(struct bench *b, struct err *e)
{
	size_t cap = 2 * b->ends_cap + 1024;
	double *more;
	if (b->step < b->ends_cap) return OK;
	if (!(more = mem_realloc(b->ends, cap * sizeof *more))) return err_set(e, E_MEMORY, "bench: out of memory");
	b->ends = more;
	b->ends_cap = cap;
	return OK;
}

/* Steps until every text is done. Those that began are ended in any case. */
static int texts_write(struct bench *b, struct err *e)
{
	int rc = OK;
	b->step = 0;
	rc = steps_room(b, e);
	if (!rc) b->ends[0] = clock_ms();
	for (long i = 0; i < b->parallel; i++) {
		struct text *t = &b->text[i];
		t->written = 0;
		t->request = (struct gen_request){ .prompt = t->prompt.ids, .n = t->prompt.n, .params = &b->params,
			.constraint = &t->constraint, .cancel = b->call->cancel, .result = &t->result, .err = &t->err, .done = 1 };
		if (rc) continue;
		t->request.done = 0;
		if ((rc = generator_start(b->generator, &t->request)) == OK) continue;
		t->request.done = 1;
		*e = t->err;
		if (rc == E_BUSY) err_set(e, rc, "bench: %ld texts of %ld tokens do not fit the cache", b->parallel, b->tokens);
	}
	while (generator_running(b->generator)) {
		b->step++;
		if (!rc) rc = steps_room(b, e);
		generator_step(b->generator);
		if (!rc) b->ends[b->step] = clock_ms();
	}
	for (long i = 0; i < b->parallel; i++) {
		struct text *t = &b->text[i];
		if (!rc && t->request.status) rc = (*e = t->err, t->request.status);
		if (!rc && i == 0 && b->file) {
			buf_reset(&b->answer);
			screen_line(&b->answer, buf_cstr(&t->result.text), t->result.text.len, 0);
		}
		buf_clear(&t->result.text);
	}
	if (!rc && flag_is(b->call->cancel)) rc = err_set(e, E_CANCELLED, "bench: cancelled");
	return rc;
}

/* What the run that just ended tells. */
static int run_count(struct bench *b, struct err *e)
{
	size_t from = 0, to = b->step, computed = 0, reused = 0, tokens = 0, run = b->run_n;
	double firsts[PARALLEL_MAX], seconds;
	for (long i = 0; i < b->parallel; i++) {
		const struct text *t = &b->text[i];
		if (!t->written) return err_set(e, E_FORMAT, "bench: %s writes nothing after this prompt", b->model);
		if (t->at[0] > from) from = t->at[0];
		if (t->at[t->written - 1] < to) to = t->at[t->written - 1];
		firsts[i] = b->ends[t->at[0]] - b->ends[0];
		computed += t->prompt.n - t->result.reused_tokens;
		reused += t->result.reused_tokens;
	}
	if (reused * COMPUTED_SHARE <= computed) {
		b->first[b->prefill_n] = bench_quantile(firsts, (size_t)b->parallel, 0.5);
		b->prefill[b->prefill_n++] = (double)computed / (b->ends[from] - b->ends[0]) * 1000;
	}
	b->written = b->text[0].written;
	if (b->tokens > 1 && to <= from)
		return err_set(e, E_USAGE, "bench: the first text is done before the last one begins: -n must be larger");
	for (long i = 0; i < b->parallel; i++)
		for (size_t k = 0; k < b->text[i].written; k++) tokens += b->text[i].at[k] > from && b->text[i].at[k] <= to;
	seconds = (b->ends[to] - b->ends[from]) / 1000;
	b->decode[run] = tokens ? (double)tokens / seconds : 0;
	b->bytes[run] = tokens ? (double)(to - from) / seconds * (double)generator_info(b->generator)->token_bytes : 0;
	b->run_n++;
	return OK;
}

static int runs(struct bench *b, struct err *e)
{
	int rc = OK;
	for (long r = -1; !rc && r < b->repeat; r++) {
		for (long i = 0; !rc && !b->file && i < b->parallel; i++)
			rc = prompt_words(b, (uint32_t)((r + 1) * b->parallel + i), &b->text[i].prompt, e);
		if (!rc) rc = texts_write(b, e);
		if (!rc && (r >= 0 || b->file)) rc = run_count(b, e);
		if (!rc && r < 0) b->run_n = 0; /* the warm-up; of a file's text the only one that reads its prompt */
	}
	return rc;
}

/* ---- the command ---- */

static int model_open(struct bench *b, struct err *e)
{
	const struct conf *conf = b->call->conf;
	struct generator_options o = { .threads = (int)b->threads, .kernel = b->kernel, .sequences = (int)b->parallel,
		.draft_max = (int)b->draft, .lora = conf->generate_lora, .device = conf->generate_device };
	struct buf path, packs;
	double start = clock_ms();
	int rc;
	o.context_max = b->file ? conf->generate_context : (int)(b->prompt + b->tokens + 1);
	buf_init(&path, 8192);
	buf_init(&packs, 8192);
	rc = model_find(conf, b->model, &path, e);
	if (!rc) rc = models_cache(conf, &packs, e);
	o.path = buf_cstr(&path);
	o.packs = buf_cstr(&packs);
	if (!rc) rc = generator_open(&b->generator, &o, e);
	b->opened_ms = clock_ms() - start;
	buf_clear(&path);
	buf_clear(&packs);
	return rc;
}

static int figures(struct bench *b, cJSON *out, struct err *e)
{
	const struct generator_info *f = generator_info(b->generator);
	struct generator_stats s;
	struct { const char *key; double value; int there; } rows[] = {
		{ "threads", (double)b->threads, 1 }, { "prompt_tokens", (double)b->text[0].prompt.n, 1 },
		{ "written_tokens", (double)b->written, 1 }, { "parallel", (double)b->parallel, 1 }, { "draft", (double)b->draft, 1 },
		{ "open_ms", b->opened_ms, 1 },
		{ "prefill_tps", bench_quantile(b->prefill, b->prefill_n, 0.5), b->prefill_n > 0 },
		{ "first_token_ms", bench_quantile(b->first, b->prefill_n, 0.5), b->prefill_n > 0 },
		{ "decode_tps", bench_quantile(b->decode, b->run_n, 0.5), b->tokens > 1 },
		{ "bytes_per_s", bench_quantile(b->bytes, b->run_n, 0.5), b->tokens > 1 },
		{ "token_bytes", (double)f->token_bytes, 1 }, { "drafted", 0, b->draft > 0 }, { "accepted", 0, b->draft > 0 },
	};
	int rc = bench_text(out, "model", f->name, e);
	generator_stats(b->generator, &s);
	if (!rc) rc = bench_text(out, "kernel", f->kernel, e);
	if (!rc) rc = bench_text(out, "device", f->device, e);
	for (size_t i = 0; i < sizeof rows / sizeof *rows && !rc; i++) {
		double v = strcmp(rows[i].key, "drafted") == 0 ? (double)s.drafted
			: strcmp(rows[i].key, "accepted") == 0 ? (double)s.accepted : rows[i].value;
		if (rows[i].there) rc = bench_number(out, rows[i].key, v, e);
	}
	if (!rc && b->file) rc = bench_text(out, "answer", buf_cstr(&b->answer), e);
	return rc;
}

int bench_generate(struct command_call *c, cJSON *out, struct err *e)
{
	struct bench *b = mem_calloc(1, sizeof *b);
	struct buf path;
	int rc;
	if (!b) return err_set(e, E_MEMORY, "bench: out of memory");
	*b = (struct bench){ .call = c, .model = c->conf->generate_model, .kernel = c->conf->generate_kernel,
		.prompt = 512, .tokens = 64, .threads = service_threads(c->conf->generate_threads), .parallel = 1, .repeat = BENCH_REPEAT };
	struct option options[] = { { "--model", OPTION_TEXT, &b->model, 0, 0 }, { "--kernel", OPTION_TEXT, &b->kernel, 0, 0 },
		{ "--prompt", OPTION_TEXT, &b->file, 0, 0 }, { "-p", OPTION_NUMBER, &b->prompt, 1, TOKENS_MAX },
		{ "-n", OPTION_NUMBER, &b->tokens, 1, TOKENS_MAX }, { "--threads", OPTION_NUMBER, &b->threads, 1, THREADS_MAX },
		{ "--parallel", OPTION_NUMBER, &b->parallel, 1, PARALLEL_MAX }, { "--draft", OPTION_NUMBER, &b->draft, 0, DRAFT_MAX },
		{ "--repeat", OPTION_NUMBER, &b->repeat, 1, BENCH_REPEAT_MAX } };
	buf_init(&path, 8192);
	buf_init(&b->answer, FILE_BYTES_MAX);
	rc = options_parse(c, options, sizeof options / sizeof *options, e);
	if (!rc && c->argc != 1) rc = err_set(e, E_USAGE, "bench generate: %.60s is no option", c->argv[1]);
	if (!rc && b->file) rc = path_absolute(&path, c->cwd, b->file, e);
	if (!rc) rc = model_open(b, e);
	gen_params_default(&b->params);
	b->params.max_tokens = (int)b->tokens;
	if (!rc) rc = texts_make(b, buf_cstr(&path), e);
	if (!rc) rc = runs(b, e);
	if (!rc) rc = figures(b, out, e);
	for (size_t i = 0; i < PARALLEL_MAX; i++) {
		tokens_clear(&b->text[i].prompt);
		mem_free(b->text[i].at);
	}
	generator_close(b->generator);
	mem_free(b->ends);
	buf_clear(&b->answer);
	buf_clear(&path);
	mem_free(b);
	return rc;
}
