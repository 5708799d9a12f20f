/* test_schedule.c: texts written together. What a text is, to the bit of every row of logits, does not depend on who else
 * runs, on how prompts are cut, on pages that are short, on what is cached, or on drafts. */
#include <stdlib.h>
#include "base/fault.h"
#include "base/mem.h"
#include "generate/draft.h"
#include "generate/sample.h"
#include "generate/generate.h"
#include "nn/quant.h"
#include "tests/generate/candidates.h"
#include "tests/generate/feed.h"
#include "tests/generate/plain_gpu.h"
#include "tests/gguf_make.h"
#include "tests/test.h"

enum { TEXTS = 12, CONTEXT = 512, PROMPT_MAX = 300 };

/* A request, and a constraint that hashes all it is shown and meddles by a plan. */
struct text {
	int32_t prompt[PROMPT_MAX];
	size_t n;
	struct gen_params p;
	struct gen_constraint c;
	struct gen_result r;
	struct gen_request q;
	struct err err;
	uint64_t hash;
	size_t force_every, choose_every, refuse_every; /* steps; 0: never */
	size_t rewind_at, rewind_keep;    /* once so many tokens are written, all but so many go; 0: never */
	uint64_t rows[PROMPT_MAX];        /* hashes of the logits behind so many tokens */
	size_t rewound, same;             /* times; rows that came again, with the same bits */
	char stop[4]; const char *stops[3];
	int32_t written[PROMPT_MAX]; size_t written_n;
	int32_t choices[3];
	volatile int cancel;
	size_t cancel_at;                 /* step; 0: never */
};

static uint64_t hash_of(uint64_t h, const void *data, size_t n)
{
	const unsigned char *p = data;
	for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 1099511628211u;
	return h;
}

static enum gen_verdict watch(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	struct text *t = ctx;
	const float *logits = gen_view_logits(v);
	t->hash = hash_of(t->hash, logits, (size_t)v->vocab * sizeof *logits);
	t->hash = hash_of(hash_of(t->hash, v->text, v->len), &v->token, sizeof v->token);
	t->hash = hash_of(t->hash, &v->step, sizeof v->step);
	if (v->tokens < PROMPT_MAX && !t->force_every && !t->choose_every && !t->refuse_every && t->p.temperature <= 0) {
		uint64_t row = hash_of(1, logits, (size_t)v->vocab * sizeof *logits);
		if (t->rewound && t->rows[v->tokens]) {
			CHECK_MSG(t->rows[v->tokens] == row, "other logits behind %zu tokens, when they were written again", v->tokens);
			t->same++;
		}
		t->rows[v->tokens] = row;
	}
	if (t->rewind_at && !t->rewound && v->tokens >= t->rewind_at) {
		t->rewound = 1;
		t->written_n = t->rewind_keep;
		s->keep = t->rewind_keep;
		return GEN_REWIND;
	}
	if (t->cancel_at && v->step >= t->cancel_at) t->cancel = 1;
	if (t->force_every && v->step % t->force_every == t->force_every - 1) {
		*s = (struct gen_steer){ .force = "[7] and", .force_len = 7 };
		return GEN_FORCE;
	}
	if (t->choose_every && v->step % t->choose_every == 0) {
		*s = (struct gen_steer){ .choices = t->choices, .choice_n = 3 };
		return GEN_CHOOSE;
	}
	if (t->refuse_every && v->step % t->refuse_every == 0 && v->token % 5) return GEN_REFUSE;
	if (t->written_n < PROMPT_MAX) t->written[t->written_n++] = v->token;
	return GEN_ACCEPT;
}

static int told(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	CHECK(text && len);
	return 0;
}

static uint32_t seed = 7;
static uint32_t random_n(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Beginnings in common, repeated pieces, greedy and sampled, steered and not. */
static void text_make(struct text *t, size_t i)
{
	*t = (struct text){ .n = 1 + (i % 3 ? 60 + random_n(PROMPT_MAX - 60) : random_n(40)) };
	for (size_t k = 0; k < t->n; k++) t->prompt[k] = (int32_t)(k < 100 ? k * (1 + i / 4) % 61 + 40 : 40 + random_n(3 + 20 * (i % 4)));
	gen_params_default(&t->p);
	t->p.max_tokens = 1 + (int)random_n(60);
	if (i % 6 == 0) t->p.max_tokens += 120;      /* long enough to go round in circles, which guesses find */
	t->p.temperature = i % 3 == 1 ? 0.9f : 0;
	t->p.top_k = i % 2 ? 30 : 0;
	t->p.repeat_penalty = i % 5 == 4 ? 1.2f : 1;
	t->p.seed = i;
	t->force_every = i % 4 == 2 ? 7 : 0;
	t->choose_every = i % 4 == 3 ? 5 : 0;
	t->refuse_every = i % 5 == 1 ? 3 : 0;
	t->rewind_at = (i % 3 != 1 && i % 4 < 2) || i == 7 || i == 6 ? 4 + random_n(20) : 0;
	t->rewind_keep = i % 2 ? t->rewind_at / 2 : 0;
	if (i == 8) t->n = 4 * KVCACHE_PAGE; /* back to a prompt that ends with a page */
	for (size_t k = 0; k < 3; k++) t->choices[k] = (int32_t)random_n(250);
}

static void text_begin(struct text *t)
{
	t->c = (struct gen_constraint){ t, watch };
	t->hash = 14695981039346656037u;
	t->cancel = 0;
	t->written_n = t->rewound = t->same = 0;
	memset(t->rows, 0, sizeof t->rows);
	t->q = (struct gen_request){ .prompt = t->prompt, .n = t->n, .params = &t->p, .constraint = &t->c, .cancel = &t->cancel,
		.result = &t->r, .err = &t->err };
}

struct outcome { uint64_t hash; size_t tokens; enum gen_finish finish; char *text; };

/* The table of a kernel that is none of the CPU's: "gpu", plain loops, or "kernels", those of a GPU; else NULL. */
static const struct gpu_table *gpu_of(const char *kernel)
{
	if (kernel && strcmp(kernel, "kernels") == 0) return test_gpu();
	return kernel && strcmp(kernel, "gpu") == 0 ? &plain_gpu : NULL;
}

/* Skips the test where this CPU has no such kernels. */
static const struct ops *kernel_needed(const char *kernel)
{
	const struct ops *ops = NULL;
	struct err e;
	if (!gpu_of(kernel) && ops_choose(&ops, kernel, &e) != OK) test_skip("%s", e.msg);
	return ops;
}

static struct generator *open_with(const char *path, const char *kernel, int sequences, int threads, int draft_max,
	uint64_t kv_bytes, double chunk_ms)
{
	struct generator_options o = { .path = path, .kernel = gpu_of(kernel) ? NULL : kernel, .threads = threads, .context_max = CONTEXT,
		.device = gpu_of(kernel) ? "cuda" : "cpu", .gpu = gpu_of(kernel), .sequences = sequences, .draft_max = draft_max, .kv_bytes = kv_bytes, .chunk_ms = chunk_ms };
	struct generator *g;
	struct err e;
	CHECK_OK(generator_open(&g, &o, &e), e);
	return g;
}

static struct generator *open_at(const char *path, int sequences, int threads, int draft_max, uint64_t kv_bytes, double chunk_ms)
{
	return open_with(path, NULL, sequences, threads, draft_max, kv_bytes, chunk_ms);
}

static void outcome_check(struct text *t, const struct outcome *want, size_t i, const char *how)
{
	CHECK_OK(t->q.status, t->err);
	CHECK_MSG(strcmp(buf_cstr(&t->r.text), want->text) == 0 && t->r.completion_tokens == want->tokens &&
		t->r.finish == want->finish, "%s: text %zu: \"%s\", want \"%s\"", how, i, buf_cstr(&t->r.text), want->text);
	CHECK_MSG(t->hash == want->hash, "%s: text %zu: other logits", how, i);
	buf_clear(&t->r.text);
}

/* All texts, let in as they fit, some in the middle of others. */
static void together(struct generator *g, struct text *texts, size_t n, const struct outcome *want, const char *how)
{
	struct generator_stats s;
	size_t next = 0, most = 0;
	while (next < n || generator_running(g)) {
		while (next < n && random_n(3)) {
			int st;
			text_begin(&texts[next]);
			st = generator_start(g, &texts[next].q);
			if (st == E_BUSY) CHECK(generator_running(g) > 0);
			if (st == E_BUSY) break;
			CHECK_OK(st, texts[next].err);
			next++;
		}
		if (generator_running(g) > most) most = generator_running(g);
		generator_step(g);
	}
	for (size_t i = 0; i < n; i++) outcome_check(&texts[i], &want[i], i, how);
	generator_stats(g, &s);
	CHECK_MSG(most > 1, "%s: nobody ran together", how);
	CHECK(s.pages_used == 0 && s.running == 0);
}

/* The text alone, nothing cached, no drafts. */
static struct outcome run_alone(const char *path, const char *kernel, struct text *t)
{
	struct generator *g = open_with(path, kernel, 1, 1, 0, 0, 0);
	struct outcome o;
	text_begin(t);
	CHECK_OK(generator_start(g, &t->q), t->err);
	while (!t->q.done) generator_step(g);
	CHECK_OK(t->q.status, t->err);
	CHECK(t->r.reused_tokens == 0);
	o = (struct outcome){ t->hash, t->r.completion_tokens, t->r.finish, buf_take(&t->r.text, NULL) };
	generator_close(g);
	return o;
}

/* Ends the text at three bytes that it has somewhere, so across the borders of tokens and of guesses. */
static void text_stop(struct text *t, const struct outcome *o, size_t i)
{
	size_t n = strlen(o->text), at = n / 3 + i % 3;
	if (n < 8) return;
	memcpy(t->stop, o->text + at, 3);
	t->stops[0] = "never to be seen";
	t->stops[1] = t->stop;
	t->p.stops = t->stops;
}

static void check_model(const struct model_spec *spec, const char *kernel)
{
	struct text *t = mem_calloc(TEXTS, sizeof *t);
	struct outcome want[TEXTS];
	struct generator_stats s;
	struct generator *g;
	char path[300];
	size_t page = kvcache_page_bytes(spec->layers, spec->kv_heads, spec->head_dim), stopped = 0, same = 0;
	kernel_needed(kernel);
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(spec, path);
	for (size_t i = 0; i < TEXTS; i++) {
		text_make(&t[i], i);
		want[i] = run_alone(path, kernel, &t[i]);
		same += t[i].same;
		if (i % 2) continue;
		text_stop(&t[i], &want[i], i);
		mem_free(want[i].text);
		want[i] = run_alone(path, kernel, &t[i]);
		stopped += want[i].finish == GEN_END_STOP;
	}
	CHECK_MSG(stopped > 1, "%d stopped", (int)stopped);
	CHECK_MSG(same > 12, "%d rows came again", (int)same);
	g = open_with(path, kernel, 1, 2, 16, 0, 0); /* one by one, from the cache, with drafts */
	for (size_t i = 0; i < TEXTS; i++) {
		text_begin(&t[i]);
		CHECK_OK(generator_start(g, &t[i].q), t[i].err);
		while (!t[i].q.done) generator_step(g);
		outcome_check(&t[i], &want[i], i, "one by one");
	}
	generator_stats(g, &s);
	CHECK_MSG(s.reused_tokens > 100 && s.drafted >= s.accepted, "reused %d", (int)s.reused_tokens);
	generator_close(g);
	g = open_with(path, kernel, 8, 3, 4, 0, 1e-3);
	together(g, t, TEXTS, want, "eight");
	together(g, t, TEXTS, want, "eight, cached");
	for (size_t i = 0; i < TEXTS; i++) t[i].p.patient = i % 4 > 0;
	together(g, t, TEXTS, want, "eight, some patient");
	for (size_t i = 0; i < TEXTS; i++) t[i].p.patient = 1;
	together(g, t, TEXTS, want, "eight patient");
	generator_stats(g, &s);
	CHECK(s.writers > s.write_steps);
	generator_close(g);
	g = open_with(path, kernel, 5, 2, 0, 17 * page, 1000); /* pages for one of the longest and a bit */
	together(g, t, TEXTS, want, "few pages");
	generator_close(g);
	for (size_t i = 0; i < TEXTS; i++) mem_free(want[i].text);
	mem_free(t);
}

static struct model_spec small(const char *arch, uint32_t type)
{
	struct model_spec s = model_spec_of(arch);
	s.layers = s.pattern = 2;
	s.dim = s.ff = 256;
	s.heads = 4;
	s.kv_heads = 2;
	s.head_dim = 64;
	s.context = 1024;
	s.type = type;
	return s;
}

static void check_llama(const char *kernel)
{
	struct model_spec s = small("llama", QUANT_Q4_K);
	check_model(&s, kernel);
}

/* Where prompts have kernels of their own (amx) passes are cut otherwise and the cache keeps less than where they have not. */
TEST(schedule_llama) { check_llama(NULL); }
TEST(schedule_llama_vnni) { check_llama("vnni"); }
TEST(schedule_llama_avx512) { check_llama("avx512"); }
TEST(schedule_llama_avx2) { check_llama("avx2"); }
TEST(schedule_llama_ref) { check_llama("ref"); }
TEST(schedule_llama_gpu) { check_llama("gpu"); }

TEST(schedule_qwen2)
{
	struct model_spec s = small("qwen2", QUANT_Q8_0);
	check_model(&s, NULL);
	check_model(&s, "avx2");
}

TEST(schedule_gemma3)
{
	struct model_spec s = small("gemma3", QUANT_F32);
	s.window = 50;
	check_model(&s, NULL);
	check_model(&s, "avx2");
}

/* A conversation goes on: a prompt with an answer in it that was just written, as if nobody had written it. */
static void check_conversation(const char *kernel, int written_too)
{
	struct model_spec spec = small("llama", QUANT_Q4_K);
	struct text *t = mem_calloc(2, sizeof *t);
	struct outcome want;
	struct generator *g;
	char path[300];
	kernel_needed(kernel);
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&spec, path);
	g = open_with(path, kernel, 2, 2, 8, 0, 0);
	for (size_t i = 0; i < 2; i++) {
		text_make(&t[i], 0);
		t[i].p.max_tokens = 140;
	}
	t[0].n = 75;
	for (size_t k = 0; k < t[0].n; k++) t[0].prompt[k] = (int32_t)(k * k % 83 + 33);
	text_begin(&t[0]);
	CHECK_OK(generator_start(g, &t[0].q), t[0].err);
	while (!t[0].q.done) generator_step(g);
	CHECK_OK(t[0].q.status, t[0].err);
	CHECK_MSG(t[0].written_n > 100, "only %d tokens", (int)t[0].written_n);
	t[1].n = t[0].n + t[0].written_n + 3;
	memcpy(t[1].prompt, t[0].prompt, t[0].n * sizeof *t[0].prompt);
	memcpy(t[1].prompt + t[0].n, t[0].written, t[0].written_n * sizeof *t[0].written);
	for (size_t k = t[1].n - 3; k < t[1].n; k++) t[1].prompt[k] = 65;
	want = run_alone(path, kernel, &t[1]);
	text_begin(&t[1]);
	CHECK_OK(generator_start(g, &t[1].q), t[1].err);
	while (!t[1].q.done) generator_step(g);
	outcome_check(&t[1], &want, 1, "going on");
	CHECK(t[1].r.reused_tokens >= t[0].n);
	if (written_too) CHECK_MSG(t[1].r.reused_tokens >= t[1].n - 5, "%d of %d", (int)t[1].r.reused_tokens, (int)t[1].n);
	buf_clear(&t[0].r.text);
	generator_close(g);
	mem_free(want.text);
	mem_free(t);
}

TEST(schedule_conversation) { check_conversation(NULL, 0); }
TEST(schedule_conversation_vnni) { check_conversation("vnni", 1); }
TEST(schedule_conversation_avx2) { check_conversation("avx2", 1); }
TEST(schedule_conversation_gpu) { check_conversation("gpu", 0); }

/* A step takes no memory, but for forced text, which is tokenised, and for text over 4 KB. */
TEST(schedule_steps_allocate_nothing)
{
	enum { SOME = 4 };
	struct model_spec spec = small("qwen2", QUANT_Q4_K);
	struct text *t = mem_calloc(SOME, sizeof *t);
	char path[300];
	struct generator *g;
	size_t steps = 0;
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&spec, path);
	g = open_at(path, SOME, 2, 8, 0, 0.01);
	for (size_t i = 0; i < SOME; i++) {
		text_make(&t[i], i);
		t[i].force_every = 0;
		t[i].stops[0] = "neverseen";
		t[i].p.stops = t[i].stops;
		text_begin(&t[i]);
		CHECK_OK(generator_start(g, &t[i].q), t[i].err);
	}
	for (; generator_running(g); steps++) {
		fault_alloc_after(1);
		generator_step(g);
		CHECK_MSG(mem_alloc(1) == NULL, "step %d allocates", (int)steps); /* the first since then */
	}
	for (size_t i = 0; i < SOME; i++) {
		CHECK_OK(t[i].q.status, t[i].err);
		buf_clear(&t[i].r.text);
	}
	CHECK(steps > 20);
	generator_close(g);
	mem_free(t);
}

/* What may not be taken back. */
TEST(schedule_rewind_refused)
{
	struct model_spec spec = small("llama", QUANT_Q8_0);
	struct text *t = mem_calloc(1, sizeof *t);
	char path[300];
	struct generator *g;
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&spec, path);
	g = open_at(path, 1, 1, 4, 0, 0);
	for (int round = 0; round < 2; round++) {
		text_make(t, 0);
		t->rewind_at = 5;
		t->rewind_keep = round ? 1 : 6;
		text_begin(t);
		if (round) t->q.on_text = told, t->q.ctx = t;
		CHECK_OK(generator_start(g, &t->q), t->err);
		while (!t->q.done) generator_step(g);
		CHECK_INT(t->q.status, E_USAGE);
		CHECK_MSG(strstr(t->err.msg, round ? "handed out" : "keeps 6 of 5"), "%s", t->err.msg);
		buf_clear(&t->r.text);
	}
	generator_close(g);
	mem_free(t);
}

/* One that leaves in mid-text, or fails, leaves the others as they are. */
/* Tokens that the first text, which writes, gets while the second one's prompt of many chunks is read. */
static size_t written_beside_prompt(const char *path, int patient)
{
	struct text *t = mem_calloc(2, sizeof *t);
	struct generator *g = open_at(path, 2, 1, 0, 0, 1e-3);
	size_t written = 0;
	for (size_t i = 0; i < 2; i++) {
		text_make(&t[i], 1);
		t[i].n = PROMPT_MAX - i * 10;
		t[i].p.max_tokens = 100;
		t[i].p.patient = patient;
		for (size_t k = 0; k < t[i].n; k++) t[i].prompt[k] = (int32_t)(40 + (k * (i + 3)) % 50);
		text_begin(&t[i]);
	}
	CHECK_OK(generator_start(g, &t[0].q), t[0].err);
	for (int i = 0; i < 1000 && t[0].written_n < 3; i++) generator_step(g);
	CHECK_OK(generator_start(g, &t[1].q), t[1].err);
	written = t[0].written_n;
	for (int i = 0; i < 1000 && !t[1].written_n; i++) generator_step(g);
	written = t[0].written_n - written;
	while (generator_running(g)) generator_step(g);
	for (size_t i = 0; i < 2; i++) buf_clear(&t[i].r.text);
	generator_close(g);
	mem_free(t);
	return written;
}

/* Who is watched flows on beside another's prompt; the patient let it pass first. */
TEST(schedule_patient)
{
	struct model_spec spec = small("llama", QUANT_Q4_K);
	char path[300];
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&spec, path);
	CHECK(written_beside_prompt(path, 0) > 3);
	CHECK(written_beside_prompt(path, 1) <= 1);
}

TEST(schedule_cancel_and_failure)
{
	struct model_spec spec = small("llama", QUANT_Q8_0);
	struct text *t = mem_calloc(TEXTS, sizeof *t);
	struct outcome want[TEXTS];
	char path[300];
	struct generator *g;
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&spec, path);
	g = open_at(path, TEXTS, 2, 8, 0, 0.01);
	for (size_t i = 0; i < TEXTS; i++) text_make(&t[i], i);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < TEXTS; i++) {
			text_begin(&t[i]);
			t[i].cancel_at = round && i % 3 == 0 ? 1 + i : 0;
			t[i].choices[0] = round && i == 7 ? 9999 : t[i].choices[0];
			CHECK_OK(generator_start(g, &t[i].q), t[i].err);
		}
		while (generator_running(g)) generator_step(g);
		for (size_t i = 0; i < TEXTS; i++) {
			if (!round) {
				want[i] = (struct outcome){ t[i].hash, t[i].r.completion_tokens, t[i].r.finish, buf_take(&t[i].r.text, NULL) };
			} else if (i == 7) {
				CHECK(t[i].q.status == E_USAGE && strstr(t[i].err.msg, "9999"));
				buf_clear(&t[i].r.text);
			} else if (i % 3 == 0) {
				CHECK_OK(t[i].q.status, t[i].err);
				CHECK(t[i].r.completion_tokens <= want[i].tokens);
				CHECK(t[i].r.finish == GEN_END_CANCELLED || t[i].r.completion_tokens == want[i].tokens);
				buf_clear(&t[i].r.text);
			} else {
				outcome_check(&t[i], &want[i], i, "beside a failure");
			}
		}
	}
	generator_close(g);
	for (size_t i = 0; i < TEXTS; i++) mem_free(want[i].text);
	mem_free(t);
}

TEST(schedule_limits)
{
	struct model_spec spec = small("llama", QUANT_Q8_0);
	struct text t[3];
	char path[300];
	struct generator *g;
	struct generator_options o = { .path = path, .threads = 1, .sequences = 65 };
	struct err e;
	size_t page = kvcache_page_bytes(spec.layers, spec.kv_heads, spec.head_dim);
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&spec, path);
	CHECK_INT(generator_open(&g, &o, &e), E_USAGE);
	g = open_at(path, 2, 1, 0, 3 * page, 0);
	for (size_t i = 0; i < 3; i++) {
		text_make(&t[i], i);
		t[i].p.max_tokens = 30;
		t[i].n = i == 0 ? 96 : 40;
		for (size_t k = 0; k < 96; k++) t[i].prompt[k] = (int32_t)(k + i);
		text_begin(&t[i]);
	}
	CHECK_INT(generator_info(g)->context, 3 * KVCACHE_PAGE);
	CHECK_INT(generator_start(g, &t[0].q), E_LIMIT);     /* never fits */
	CHECK_MSG(t[0].q.done && strstr(t[0].err.msg, "prompt of 96 ") && strstr(t[0].err.msg, "context of 96"), "%s",
		t[0].err.msg);
	CHECK_OK(generator_start(g, &t[1].q), t[1].err);
	CHECK_INT(generator_start(g, &t[2].q), E_BUSY);      /* not now */
	while (!t[1].q.done) generator_step(g);
	CHECK_OK(generator_start(g, &t[2].q), t[2].err);
	while (!t[2].q.done) generator_step(g);
	CHECK_OK(t[2].q.status, t[2].err);
	for (size_t i = 0; i < 3; i++) buf_clear(&t[i].r.text);
	generator_close(g);
}

/* Rows of many sequences in random company and cuts: the logits of each as if it were alone; and no allocation. */
static void check_rows_of(struct model_spec spec, const char *kernel)
{
	enum { SEQS = 6, LEN = 90 };
	const char *arch = spec.arch;
	const struct ops *ops = kernel_needed(kernel);
	struct gguf *file;
	struct team *team = team_new(2);
	struct decoder *d;
	struct kvseq s[SEQS];
	struct feed f;
	struct decoder_row rows[DECODER_CHUNK];
	struct err e;
	char path[300];
	int32_t ids[SEQS][LEN];
	float *want = mem_calloc(SEQS * LEN * spec.vocab, sizeof *want);
	size_t at[DECODER_CHUNK], left = SEQS * LEN;
	int st;
	if (strcmp(arch, "gemma3") == 0) spec.window = 40;
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&spec, path);
	CHECK_OK(gguf_open(&file, path, &e), e);
	CHECK_OK(decoder_open(&d, file, NULL, ops, team, &(struct decoder_options){ .context_max = 128, .sequences = SEQS + 1,
		.gpu = gpu_of(kernel) }, &e), e);
	for (int phase = PHASE_PROMPT; phase <= PHASE_WRITTEN; phase++) {
		for (size_t i = 0; i < SEQS; i++) {
			for (size_t k = 0; k < LEN; k++) ids[i][k] = (int32_t)random_n(300);
			feed_open(&f, d);
			f.phase = phase;
			feed_ids(&f, ids[i], LEN, DECODER_CHUNK, LEN, want + i * LEN * spec.vocab);
			feed_close(&f);
			CHECK_OK(kvseq_init(&s[i], 128, &e), e);
			CHECK_INT(kvseq_begin(decoder_cache(d), &s[i], LEN), OK);
		}
		for (left = SEQS * LEN; left;) {
			size_t n = 0, most = 1 + random_n(random_n(2) ? 9 : 150), more[SEQS] = { 0 };
			for (size_t tries = 0; n < most && tries < 400; tries++) {
				size_t i = random_n(SEQS), p = s[i].len + more[i];
				if (p == LEN) continue;
				more[i]++;
				rows[n] = (struct decoder_row){ .seq = &s[i], .id = ids[i][p], .want = (enum decoder_want)random_n(3),
					.temperature = (float)random_n(3) / 2 };
				at[n++] = i * LEN + p;
			}
			for (size_t i = 0; i < SEQS; i++) kvseq_room(decoder_cache(d), &s[i], more[i]);
			if (!gpu_of(kernel)) fault_alloc_after(1);
			st = decoder_eval(d, (enum decoder_phase)phase, rows, n, &e);
			if (!gpu_of(kernel)) CHECK(mem_alloc(1) == NULL); /* the first since then */
			CHECK_OK(st, e);
			for (size_t t = 0; t < n; t++) {
				const float *w = want + at[t] * spec.vocab;
				if (rows[t].want == WANT_BEST) CHECK_INT(rows[t].best, sample_best(w, spec.vocab));
				if (rows[t].want == WANT_LOGITS) CHECK_MSG(memcmp(candidates_check(&rows[t], spec.vocab), w, spec.vocab * sizeof *w) == 0,
					"%s %s: sequence %zu, position %zu", arch, kernel, at[t] / LEN, at[t] % LEN);
			}
			left -= n;
		}
		for (size_t i = 0; i < SEQS; i++) {
			kvseq_end(decoder_cache(d), &s[i], 0);
			kvseq_clear(&s[i]);
		}
	}
	mem_free(want);
	decoder_close(d);
	gguf_close(file);
	team_free(team);
}

static void check_rows(const char *arch, const char *kernel, uint32_t type)
{
	check_rows_of(small(arch, type), kernel);
}

/* Sizes that no vector, tile or panel divides. */
static void check_rows_odd(const char *kernel, uint32_t type)
{
	struct model_spec s = small("llama", type);
	s.dim = 96;
	s.ff = 160;
	s.heads = 6;
	s.kv_heads = 3;
	s.head_dim = 16;
	s.vocab = 323;
	check_rows_of(s, kernel);
	s.heads = 10;                                /* groups of 32 that are cut by heads */
	s.kv_heads = 5;
	s.head_dim = 48;
	check_rows_of(s, kernel);
}

TEST(schedule_rows_auto)
{
	check_rows("llama", "auto", QUANT_Q4_K);
	check_rows("qwen3", "auto", QUANT_Q4_0);
	check_rows("gemma3", "auto", QUANT_Q6_K);
	check_rows("llama", "auto", QUANT_F16);
}

static void check_rows_types(const char *kernel)
{
	static const uint32_t types[] = { QUANT_Q4_K, QUANT_Q8_0, QUANT_Q5_1, QUANT_Q6_K };
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) check_rows("qwen2", kernel, types[i]);
	check_rows_odd(kernel, QUANT_Q4_0);
	check_rows_odd(kernel, QUANT_Q5_1);
	check_rows_odd(kernel, QUANT_F16);
}

TEST(schedule_rows_amx) { check_rows_types("amx"); }
TEST(schedule_rows_vnni) { check_rows_types("vnni"); }
TEST(schedule_rows_avx512) { check_rows_types("avx512"); }
TEST(schedule_rows_avx2) { check_rows_types("avx2"); }
TEST(schedule_rows_gpu)
{
	check_rows("gemma3", "gpu", QUANT_Q6_K);
	check_rows_odd("gpu", QUANT_Q5_1);
}
TEST(schedule_rows_kernels)
{
	struct model_spec s = small("gemma3", QUANT_Q5_1);
	s.dim = s.ff = 64;
	s.heads = 2;
	s.kv_heads = 1;
	s.head_dim = 32;
	s.vocab = 300;
	check_rows_of(s, "kernels");
}
TEST(schedule_rows_ref) { check_rows("qwen2", "ref", QUANT_Q4_1); }

/* A real model that repeats its passage: with guesses, without, and side by side. */
TEST(schedule_smollm2_quotes)
{
	enum { QUOTES = 4, TOKENS = 90 };
	static const char *const passages[QUOTES] = {
		"Leave that is not taken by the end of December may be carried over until the end of March, but no more than ten days.",
		"The limit for a hotel night is 120 euros in the country and 180 euros abroad; breakfast is paid on top of that.",
		"Visitors sign the book at the gate, wear the blue badge at all times and are brought back to the gate by their host.",
		"The pump is switched off, the valve is closed by hand and the pressure is let down before the lid is opened." };
	const char *path = test_model("smollm2-135m-instruct-q4_1.gguf");
	uint64_t want[QUOTES] = { 0 };
	char *texts[QUOTES] = { NULL };
	if (!path) test_skip("smollm2 was not fetched");
	for (int how = 0; how < 3; how++) {           /* alone; alone with guesses; together with guesses */
		struct generator *g = open_at(path, how == 2 ? QUOTES : 1, 2, how ? 8 : 0, 0, 1);
		struct text *t = mem_calloc(QUOTES, sizeof *t);
		struct generator_stats stats;
		for (size_t i = 0; i < QUOTES; i++) {
			char text[400];
			struct chat_message m = { "user", text, 0 };
			struct tokens ids = { 0 };
			m.len = (size_t)snprintf(text, sizeof text, "%s Repeat this word for word, three times.", passages[i]);
			CHECK_OK(generator_chat(g, &m, 1, 1, &ids, &t[i].err), t[i].err);
			CHECK(ids.n < PROMPT_MAX);
			memcpy(t[i].prompt, ids.ids, ids.n * sizeof *ids.ids);
			t[i].n = ids.n;
			tokens_clear(&ids);
			gen_params_default(&t[i].p);
			t[i].p.max_tokens = TOKENS;
			t[i].force_every = i == 1 ? 40 : 0;
			text_begin(&t[i]);
			CHECK_OK(generator_start(g, &t[i].q), t[i].err);
			while (how < 2 && !t[i].q.done) generator_step(g);
		}
		while (generator_running(g)) generator_step(g);
		for (size_t i = 0; i < QUOTES; i++) {
			CHECK_OK(t[i].q.status, t[i].err);
			if (how == 0) want[i] = t[i].hash, texts[i] = buf_take(&t[i].r.text, NULL);
			else CHECK_STR(buf_cstr(&t[i].r.text), texts[i]);
			CHECK_MSG(t[i].hash == want[i], "text %zu, way %d: other logits", i, how);
			buf_clear(&t[i].r.text);
		}
		generator_stats(g, &stats);
		if (how == 0) CHECK_INT(stats.drafted, 0);
		if (how == 1) CHECK_MSG(stats.accepted > 0, "nothing guessed in %s", texts[0]);
		mem_free(t);
		generator_close(g);
	}
	for (size_t i = 0; i < QUOTES; i++) mem_free(texts[i]);
}

TEST(draft_finds_and_learns)
{
	const int32_t ids[] = { 9, 1, 2, 3, 4, 5, 8, 2, 3, 6, 7, 1, 2, 3 };
	struct draft d;
	draft_init(&d);
	draft_find(&d, ids, 14, 16);                  /* 1 2 3 goes on with 4 5 8 …, not as 2 3 did later */
	CHECK(d.n == 10 && d.seen == 3 && memcmp(d.ids, ids + 4, 10 * sizeof *ids) == 0);
	draft_find(&d, ids, 14, 4);
	CHECK_INT(d.n, 4);
	draft_find(&d, ids + 4, 5, 16);               /* 4 5 8 2 3: nothing */
	CHECK_INT(d.n, 0);
	draft_find(&d, ids + 6, 8, 16);               /* 8 2 3 6 7 1 2 3: two seen */
	CHECK(d.n == 5 && d.seen == 2 && d.ids[0] == 6);
	draft_find(&d, ids, 2, 16);
	CHECK_INT(d.n, 0);
	draft_find(&d, ids, 0, 16);
	CHECK_INT(d.n, 0);
	draft_find(&d, (const int32_t[]){ 5, 5, 5, 5 }, 4, 16);
	CHECK(d.n == 1 && d.ids[0] == 5);
	CHECK(draft_expect(&d, 0) == 0 && draft_expect(&d, 1) == 1. / 3 && draft_expect(&d, 2) < 0.5);
	for (int i = 0; i < 40; i++) draft_learn(&d, 4, 4);
	CHECK(draft_expect(&d, 4) > 3.5);
	for (int i = 0; i < 40; i++) draft_learn(&d, 4, 0);
	CHECK(draft_expect(&d, 4) < 0.5);
}
