/* test_gpu_decoder.c: a decoder on a GPU: over plain loops that are as strict as a device (plain_gpu.h), and over the kernels
 * themselves (test_gpu()).
 *
 * Tolerances, for logits of size 1 (test_arch.c): the plain loops sum in doubles and round as the CPU's floats do, so
 * written rows are held to its TOLERANCE. The kernels take an activation as two bfloat16, 2^-16 of it at worst, some ten times
 * a layer one behind the other and larger by their scatter: 3 layers of sqrt(512) · 2^-17 with room of 4 are 2e-3, and
 * halves of keys and values that round the other way as much again: WRITTEN. A prompt's activations are one bfloat16 (2^-9), half as
 * near as that int8 is for which test_arch.c has ROUNDED. */
#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
#include "generate/decoder.h"
#include "generate/sample.h"
#include "nn/quant.h"
#include "tests/generate/feed.h"
#include "tests/generate/plain_gpu.h"
#include "tests/generate/plain_model.h"
#include "tests/test.h"

static const double PLAIN = 1e-3, WRITTEN = 4e-3, PROMPT = 0.15;

static const char *model_path(void)
{
	static char path[300];
	if (!*path) snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	return path;
}

static struct fed model_open(const struct gpu_table *gpu, const struct decoder_options *o)
{
	struct fed m;
	struct decoder_options own = *o;
	own.gpu = gpu;
	fed_open(&m, model_path(), NULL, 0, &own);
	return m;
}

static void check_near(const char *what, const float *got, const double *want, size_t n, size_t vocab, double tol)
{
	double worst = 0;
	for (size_t i = 0; i < n * vocab; i++) {
		double off = fabs((double)got[i] - want[i]);
		CHECK_MSG(off < tol, "%s: position %zu logit %zu: %g, want %g", what, i / vocab, i % vocab, (double)got[i], want[i]);
		if (off > worst) worst = off;
	}
	if (getenv("FOOTNOTE_TELL")) fprintf(stderr, "%s: at most %g off\n", what, worst);
}

/* Logits of both phases against the plain pass; the same bits in other cuts, and behind positions cut off. */
static void check_spec(const struct gpu_table *gpu, const struct model_spec *s, size_t n)
{
	const size_t vocab = s->vocab, back = n / 4 + 1;
	double *want = mem_calloc(n * vocab, sizeof *want);
	float *got = mem_calloc(n * vocab, sizeof *got), *again = mem_calloc(n * vocab, sizeof *again);
	int32_t *ids = mem_calloc(n, sizeof *ids);
	struct fed m;
	char what[64];
	model_make(s, model_path());
	m = model_open(gpu, &(struct decoder_options){ .sequences = 2, .wants = 8 });
	CHECK(decoder_info(m.d)->device_bytes > 0);
	feed_random(ids, n, vocab);
	plain_logits(m.g, s, ids, n, want);
	for (int phase = PHASE_PROMPT; phase <= PHASE_WRITTEN; phase++) {
		snprintf(what, sizeof what, "%s %s %s", gpu->name, s->arch, phase == PHASE_PROMPT ? "prompt" : "written");
		m.f.phase = (enum decoder_phase)phase;
		feed_ids(&m.f, ids, n, 8, n, got);
		check_near(what, got, want, n, vocab, phase == PHASE_PROMPT ? PROMPT : gpu == &plain_gpu ? PLAIN : WRITTEN);
		feed_restart(&m.f);
		feed_ids(&m.f, ids, n, n < 40 ? 5 : 37, 3, again);
		CHECK_MSG(memcmp(got + (n - 3) * vocab, again, 3 * vocab * sizeof *got) == 0, "%s: chunks differ", what);
		kvseq_cut(&m.f.seq, n - back);
		feed_ids(&m.f, ids + n - back, back, 3, back, again);
		CHECK_MSG(memcmp(got + (n - back) * vocab, again, back * vocab * sizeof *got) == 0, "%s: cut differs", what);
		feed_restart(&m.f);
	}
	fed_close(&m);
	mem_free(want);
	mem_free(got);
	mem_free(again);
	mem_free(ids);
}

static struct model_spec spec_of(const char *arch, uint32_t type, uint32_t embed_type)
{
	struct model_spec s = model_spec_of(arch);
	s.type = type;
	s.embed_type = embed_type;
	return s;
}

TEST(gpu_decoder_archs_plainly)
{
	struct model_spec s = spec_of("llama", QUANT_Q8_0, QUANT_F16);
	s.untied = 1;
	s.heads = 9;
	s.kv_heads = 3;
	s.head_dim = 32;
	check_spec(&plain_gpu, &s, 75);
	s = spec_of("llama", QUANT_F32, QUANT_F32);
	s.rope_factors = 1;
	s.rope_linear = 4;
	check_spec(&plain_gpu, &s, 40);
	s = spec_of("qwen2", QUANT_F32, QUANT_F32);
	s.kv_heads = 5;
	s.rope_base = 1e6f;
	check_spec(&plain_gpu, &s, 75);
	s = spec_of("qwen3", QUANT_Q4_K, QUANT_Q6_K);
	s.heads = 4;
	s.kv_heads = 2;
	s.head_dim = 64;
	check_spec(&plain_gpu, &s, 75);
	s = spec_of("gemma3", QUANT_F32, QUANT_F32);
	s.pattern = 2;
	check_spec(&plain_gpu, &s, 75);
}

/* The kernels themselves, on models as small as they may be. */
static struct model_spec tiny_of(const char *arch, uint32_t type, uint32_t embed_type)
{
	struct model_spec s = spec_of(arch, type, embed_type);
	s.layers = 2;
	s.dim = s.ff = 64;
	s.heads = 2;
	s.kv_heads = 1;
	s.head_dim = 32;
	s.vocab = 272;
	return s;
}

TEST(gpu_decoder_llama)
{
	struct model_spec s = tiny_of("llama", QUANT_Q8_0, QUANT_F16);
	s.untied = 1;
	s.heads = 4;
	s.kv_heads = 2;
	s.head_dim = 16;
	check_spec(test_gpu(), &s, 40);
}

TEST(gpu_decoder_qwen2)
{
	struct model_spec s = tiny_of("qwen2", QUANT_F32, QUANT_BF16);
	check_spec(test_gpu(), &s, 20);
}

TEST(gpu_decoder_qwen3)
{
	struct model_spec s = tiny_of("qwen3", QUANT_Q4_K, QUANT_Q6_K);
	s.layers = 1;
	s.dim = s.ff = 256;
	s.heads = 4;
	s.kv_heads = 2;
	s.head_dim = 64;
	check_spec(test_gpu(), &s, 20);
}

TEST(gpu_decoder_gemma3)
{
	struct model_spec s = tiny_of("gemma3", QUANT_Q5_0, QUANT_Q4_1);
	s.pattern = 2;
	s.window = 11;
	check_spec(test_gpu(), &s, 40);
}

/* Many written rows in one pass, of which a few want something: the bits of each alone. */
TEST(gpu_decoder_writes_many_rows)
{
	enum { N = 75, LAST = 24 };
	struct model_spec s = spec_of("qwen2", QUANT_F32, QUANT_F32);
	const struct decoder_options o = { .sequences = 1, .wants = LAST };
	float *one = mem_calloc(LAST * s.vocab, sizeof *one), *all = mem_calloc(LAST * s.vocab, sizeof *all);
	int32_t ids[N];
	model_make(&s, model_path());
	feed_random(ids, N, s.vocab);
	struct fed m = model_open(&plain_gpu, &o);
	m.f.phase = PHASE_WRITTEN;
	feed_ids(&m.f, ids, N, 1, LAST, one);
	feed_restart(&m.f);
	feed_ids(&m.f, ids, N, N, LAST, all);
	CHECK(memcmp(one, all, LAST * s.vocab * sizeof *one) == 0);
	fed_close(&m);
	mem_free(one);
	mem_free(all);
}

/* Passes of one size are recorded when they come again; what a graph gives are the bits that the queue gives. */
TEST(gpu_decoder_records_passes)
{
	enum { N = 600 };
	struct model_spec s = model_spec_of("gemma3");
	struct plain_gpu_state *st = &plain_gpu_state;
	float *got, *again;
	int32_t ids[N];
	size_t bytes = st->used;
	s.layers = s.pattern = 2;
	s.dim = s.ff = 64;
	s.heads = 2;
	s.head_dim = 32;
	s.window = 50;
	s.context = 1024;
	model_make(&s, model_path());
	got = mem_calloc(N * s.vocab, sizeof *got);
	again = mem_calloc(N * s.vocab, sizeof *again);
	feed_random(ids, N, s.vocab);
	struct fed m = model_open(&plain_gpu, &(struct decoder_options){ .sequences = 1, .wants = 4 });
	m.f.phase = PHASE_WRITTEN;
	feed_ids(&m.f, ids, 2, 1, 2, got);
	CHECK(decoder_was_first(m.d));
	feed_ids(&m.f, ids + 2, N - 2, 1, N - 2, got + 2 * s.vocab);
	CHECK(!decoder_was_first(m.d));
	CHECK_INT(st->recorded, 3);                     /* one row, up to 256, 512 and 1024 keys */
	CHECK_INT(st->replays, N - 3);
	feed_restart(&m.f);
	feed_ids(&m.f, ids, N, 3, N, again);            /* rows and rows wanted are rounded up */
	CHECK_INT(st->recorded, 6);
	CHECK(memcmp(got, again, N * s.vocab * sizeof *got) == 0);
	fed_close(&m);
	CHECK(st->graphs == 0 && st->used == bytes && st->open == 0);
	st->no_graphs = 1;                              /* no memory for them: slower, and nothing else */
	m = model_open(&plain_gpu, &(struct decoder_options){ .sequences = 1, .wants = 4 });
	m.f.phase = PHASE_WRITTEN;
	feed_ids(&m.f, ids, N, 1, N, again);
	CHECK_INT(st->recorded, 6);
	CHECK(memcmp(got, again, N * s.vocab * sizeof *got) == 0);
	fed_close(&m);
	mem_free(got);
	mem_free(again);
}

/* --- whole generators --- */
static const char PROMPT_TEXT[] = "to be or not to be or not to be";

static struct generator_options options_of(const char *device)
{
	return (struct generator_options){ .path = model_path(), .threads = 2, .sequences = 2, .draft_max = 4, .device = device,
		.gpu = &plain_gpu };
}

static struct model_spec small_made_of(size_t vocab)
{
	struct model_spec s = model_spec_of("llama");
	s.vocab = vocab;
	s.layers = 2;
	s.dim = s.ff = 64;
	s.heads = 2;
	s.head_dim = 32;
	s.context = 512;
	model_make(&s, model_path());
	return s;
}

static struct model_spec small_made(void)
{
	return small_made_of(320);
}

/* What the model writes behind PROMPT_TEXT, or the status and message of its failure. */
static int write_by(struct generator *g, const struct gen_params *p, const struct gen_constraint *c, struct gen_result *r, struct err *e)
{
	int32_t ids[sizeof PROMPT_TEXT - 1];
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) ids[i] = PROMPT_TEXT[i];
	return generate(g, ids, sizeof ids / sizeof *ids, p, c, NULL, NULL, NULL, r, e);
}

static int write_text(struct generator *g, struct gen_result *r, struct err *e)
{
	struct gen_params p;
	gen_params_default(&p);
	p.max_tokens = 60;
	return write_by(g, &p, NULL, r, e);
}

static char *text_of(const char *device)
{
	struct generator_options o = options_of(device);
	struct generator *g;
	struct gen_result r;
	struct err e;
	CHECK_OK(generator_open(&g, &o, &e), e);
	CHECK_OK(write_text(g, &r, &e), e);
	generator_close(g);
	return buf_take(&r.text, NULL);
}

TEST(gpu_generator_copies_no_logits)
{
	struct model_spec s = small_made_of(20000);
	char *gpu = text_of("cuda"), *cpu;
	size_t copied = plain_gpu_state.copied_out;
	CHECK_MSG(copied > 0 && copied < s.vocab * sizeof(float), "%zu bytes", copied);
	CHECK(plain_gpu_state.open == 0 && plain_gpu_state.used == 0);
	cpu = text_of("cpu");
	CHECK(plain_gpu_state.copied_out == copied && *cpu && *gpu);
	mem_free(gpu);
	mem_free(cpu);
}

/* A constraint that chooses once more, from whole rows, what it is offered; it refuses and picks by chance. */
struct shadow {
	const struct gen_params *p;
	struct sampler s;
	struct sample_rng rng;
	int32_t ids[400], none[1];
	size_t n, step, refused, picked;
	uint32_t chance;
};

static uint32_t shadow_chance(struct shadow *w, uint32_t n)
{
	w->chance = w->chance * 1664525 + 1013904223;
	return (w->chance >> 8) % n;
}

static enum gen_verdict shadow_next(void *ctx, const struct gen_view *v, struct gen_steer *steer)
{
	static int32_t picks[3];
	struct shadow *w = ctx;
	const struct sample_row row = { .logits = gen_view_logits(v), .ids = w->none };
	const size_t look = (size_t)w->p->repeat_last < w->n ? (size_t)w->p->repeat_last : w->n;
	const struct sample_draw d = { row, &w->rng, w->p, w->ids + w->n - look, look };
	const int is_first = v->step == w->step;
	int32_t want = is_first ? sample_next(&w->s, &d) : sample_another(&w->s);
	CHECK_MSG(v->token == want, "step %zu: token %d, want %d", v->step, v->token, want);
	w->step = v->step + 1;
	if (shadow_chance(w, 3) == 0 || v->is_stop) {
		w->refused++;
		if (is_first) sample_rest(&w->s, &d, want);
		return GEN_REFUSE;
	}
	if (shadow_chance(w, 5) == 0) {
		for (int i = 0; i < 3; i++) picks[i] = (int32_t)shadow_chance(w, (uint32_t)v->vocab);
		*steer = (struct gen_steer){ .choices = picks, .choice_n = 3 };
		want = sample_best_of(&(struct sample_row){ .logits = row.logits }, picks, 3);
		w->picked++;
	}
	w->ids[w->n++] = want;
	return steer->choice_n ? GEN_CHOOSE : GEN_ACCEPT;
}

/* Every token that is offered is the one that the whole row gives, greedy and drawn. */
static void check_shadow(const struct gpu_table *gpu, size_t vocab, int tokens)
{
	static const struct gen_params modes[] = { { .top_p = 1, .repeat_penalty = 1 }, { .top_p = 1, .repeat_penalty = 1.3f, .repeat_last = 20 },
		{ .temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 4 }, { .temperature = 0.6f, .top_p = 0.8f, .repeat_penalty = 1, .seed = 5 },
		{ .temperature = 1.5f, .top_p = 0.9f, .top_k = 30, .repeat_penalty = 1.1f, .repeat_last = 64, .seed = 6 },
		{ .temperature = 1, .top_p = 1, .min_p = 0.2f, .repeat_penalty = 1, .seed = 7 } };
	struct generator_options o = options_of("cuda");
	struct generator *g;
	struct err e;
	size_t refused = 0, picked = 0, written = 0;
	small_made_of(vocab);
	o.gpu = gpu;
	CHECK_OK(generator_open(&g, &o, &e), e);
	for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
		struct gen_params p = modes[m];
		struct shadow w = { .p = &p, .chance = (uint32_t)m, .n = sizeof PROMPT_TEXT - 1 };
		const struct gen_constraint c = { &w, shadow_next };
		struct gen_result r;
		p.max_tokens = tokens;
		for (size_t i = 0; i < w.n; i++) w.ids[i] = PROMPT_TEXT[i];
		CHECK_OK(sampler_init(&w.s, vocab, &e), e);
		sample_seed(&w.rng, p.seed);
		CHECK_OK(write_by(g, &p, &c, &r, &e), e);
		w.n -= sizeof PROMPT_TEXT - 1;          /* a stop token may have been picked at last */
		CHECK_MSG(w.n - r.completion_tokens <= 1, "%zu tokens, %zu were taken", r.completion_tokens, w.n);
		written += w.n;
		refused += w.refused;
		picked += w.picked;
		sampler_clear(&w.s);
		buf_clear(&r.text);
	}
	CHECK_MSG(written > 3 * (size_t)tokens && refused > written / 4 && picked > written / 10, "%zu written, %zu refused, %zu picked", written,
		refused, picked);
	generator_close(g);
}

TEST(gpu_generator_chooses_as_from_whole_rows)
{
	check_shadow(&plain_gpu, 320, 60);
	check_shadow(&plain_gpu, 3000, 25);
	check_shadow(test_gpu(), 320, 7);
}

/* Takes two tokens of three, and never looks at logits. */
static enum gen_verdict take_most(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	size_t *refused = ctx;
	(void)s;
	if (v->is_stop || v->token % 3 == 0) return ++*refused, GEN_REFUSE;
	return GEN_ACCEPT;
}

/* Under a constraint, and drawn, rows of logits stay where they are. */
TEST(gpu_generator_constraint_copies_no_logits)
{
	enum { VOCAB = 20000, TOKENS = 30 };
	struct generator_options o = options_of("cuda");
	struct generator *g;
	struct err e;
	small_made_of(VOCAB);
	o.draft_max = 0;
	CHECK_OK(generator_open(&g, &o, &e), e);
	for (int drawn = 0; drawn < 2; drawn++) {
		size_t before = plain_gpu_state.copied_out, refused = 0;
		const struct gen_constraint c = { &refused, take_most };
		struct gen_params p;
		struct gen_result r;
		gen_params_default(&p);
		p.max_tokens = TOKENS;
		p.temperature = drawn ? 0.05f : 0;      /* what the model says is all but flat */
		p.top_p = drawn ? 0.9f : 1;
		CHECK_OK(write_by(g, &p, &c, &r, &e), e);
		CHECK_INT(r.completion_tokens, TOKENS);
		CHECK(refused > 0);
		CHECK_INT(plain_gpu_state.copied_out - before, TOKENS * sizeof(struct gpu_best));
		buf_clear(&r.text);
	}
	generator_close(g);
}

static enum gen_verdict look_and_go(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	(void)s;
	if (gen_view_logits(v)) return GEN_ACCEPT;
	*(int *)ctx = 1;
	return GEN_STOP;
}

/* Lost while a row is fetched, or at any other moment. */
TEST(gpu_generator_lost_while_looked_at)
{
	struct generator_options o = options_of("cuda");
	int unseen = 0;
	small_made();
	o.sequences = 1;
	for (int after = 1; after < 12; after++) {
		const struct gen_constraint c = { &unseen, look_and_go };
		struct generator *g;
		struct gen_params p;
		struct gen_result r;
		struct err e = { 0, "" };
		CHECK_OK(generator_open(&g, &o, &e), e);
		plain_gpu_state.lose_after = after;
		gen_params_default(&p);
		p.max_tokens = 20;
		CHECK_INT(write_by(g, &p, &c, &r, &e), E_IO);
		CHECK_MSG(strstr(e.msg, "device lost"), "%s", e.msg);
		CHECK_INT(generator_lost(g, &e), E_IO);
		buf_clear(&r.text);
		generator_close(g);
		plain_gpu_state.lost = plain_gpu_state.lose_after = 0;
	}
	CHECK(unseen);
}

/* Who names a kernel of the CPU means it, unless it must be a GPU. */
TEST(gpu_generator_kernel_is_what_the_settings_say)
{
	static const struct { const char *device, *kernel, *is; } all[] = { { "auto", NULL, "cuda" }, { "auto", "auto", "cuda" },
		{ "auto", "ref", "ref" }, { "cpu", "ref", "ref" }, { "cuda", "ref", "cuda" } };
	(void)small_made();
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		struct generator_options o = options_of(all[i].device);
		struct generator *g;
		struct err e;
		o.kernel = all[i].kernel;
		CHECK_OK(generator_open(&g, &o, &e), e);
		CHECK_MSG(strcmp(generator_info(g)->kernel, all[i].is) == 0, "%s, %s: %s", o.device, o.kernel ? o.kernel : "-", generator_info(g)->kernel);
		CHECK_INT(generator_info(g)->device_bytes > 0, strcmp(all[i].is, "cuda") == 0);
		generator_close(g);
	}
}

TEST(gpu_generator_device_lost)
{
	struct generator_options o = options_of(NULL);
	struct generator *g;
	struct gen_result r;
	struct gen_params p;
	struct gen_request q;
	struct err e = { 0, "" };
	const int32_t ids[] = { 'a', 'b' };
	char *want;
	(void)small_made();
	o.device = "cpu";
	want = text_of("cpu");
	o.device = "auto";
	CHECK_OK(generator_open(&g, &o, &e), e);
	CHECK_STR(generator_info(g)->device, "plain loops");
	CHECK_STR(generator_info(g)->kernel, "cuda");
	CHECK(generator_info(g)->device_bytes > 0);
	CHECK_OK(generator_lost(g, &e), e);
	plain_gpu_state.lose_after = 5;
	CHECK_INT(write_text(g, &r, &e), E_IO);
	CHECK_MSG(strstr(e.msg, "device lost") && strstr(e.msg, "random.gguf"), "%s", e.msg);
	CHECK_INT(generator_running(g), 0);
	CHECK(r.text.len > 0);                          /* what had been written by then stays to be seen */
	buf_clear(&r.text);
	gen_params_default(&p);
	q = (struct gen_request){ .prompt = ids, .n = 2, .params = &p, .result = &r, .err = &e };
	CHECK_INT(generator_start(g, &q), E_IO);
	CHECK(q.done && q.status == E_IO && strstr(e.msg, "device lost"));
	buf_clear(&r.text);
	generator_step(g);
	CHECK_INT(generator_lost(g, &e), E_IO);
	CHECK_OK(generator_recover(g, &e), e);
	CHECK_INT(plain_gpu_state.open, 0);
	CHECK_OK(generator_lost(g, &e), e);
	CHECK_OK(write_text(g, &r, &e), e);
	CHECK_STR(buf_cstr(&r.text), want);
	CHECK_INT(generator_info(g)->context, 512);
	buf_clear(&r.text);
	generator_close(g);
	mem_free(want);
}

/* The promised context stays, though the CPU was to have less memory. */
TEST(gpu_generator_recovers_its_context)
{
	struct generator_options o = options_of("auto");
	struct generator_stats s;
	struct generator *g;
	struct gen_result r;
	struct err e;
	(void)small_made();
	o.sequences = 4;
	CHECK_OK(generator_open(&g, &o, &e), e);
	plain_gpu_state.lost = 1;
	CHECK_INT(write_text(g, &r, &e), E_IO);
	buf_clear(&r.text);
	CHECK_OK(generator_recover(g, &e), e);
	generator_stats(g, &s);
	CHECK(s.pages * s.page_tokens >= 512);
	generator_close(g);
}

TEST(gpu_generator_room)
{
	struct generator_options o = options_of("auto");
	struct plain_gpu_state *st = &plain_gpu_state;
	struct generator_stats s;
	struct generator *g;
	struct gen_result r;
	struct err e;
	uint64_t takes, kv;
	(void)small_made();
	CHECK_OK(generator_open(&g, &o, &e), e);
	generator_stats(g, &s);
	takes = st->used;
	kv = s.pages * kvcache_page_bytes(2, 1, 32);
	CHECK_INT(s.pages, 2 * 512 / KVCACHE_PAGE);
	generator_close(g);
	st->memory = takes - kv / 4;                    /* room for a context and a half, of which three quarters are given */
	CHECK_OK(generator_open(&g, &o, &e), e);
	generator_stats(g, &s);
	CHECK(s.pages >= 512 / KVCACHE_PAGE && s.pages < 2 * 512 / KVCACHE_PAGE);
	CHECK_INT(generator_info(g)->context, 512);
	CHECK_OK(write_text(g, &r, &e), e);
	buf_clear(&r.text);
	generator_close(g);
	st->memory = takes - kv;                        /* none at all: the CPU, or an error that tells how much is wanted */
	CHECK_OK(generator_open(&g, &o, &e), e);
	CHECK_STR(generator_info(g)->device, "cpu");
	CHECK_INT(generator_info(g)->device_bytes, 0);
	generator_close(g);
	o.device = "cuda";
	CHECK_INT(generator_open(&g, &o, &e), E_MEMORY);
	CHECK_MSG(strstr(e.msg, "generate.device: ") && strstr(e.msg, "MiB") && strstr(e.msg, "plain loops"), "%s", e.msg);
	st->devices = 0;
	CHECK_INT(generator_open(&g, &o, &e), E_UNSUPPORTED);
	CHECK_MSG(strstr(e.msg, "no GPU"), "%s", e.msg);
	o.device = "gpu";
	CHECK_INT(generator_open(&g, &o, &e), E_USAGE);
	CHECK(st->used == 0 && st->open == 0);
}

/* Keys and values leave a second model its place on a device that is short of memory, unless somebody named the size and it is
 * there. Who finds no room any more is the CPU's, and takes nothing from those who have theirs. */
TEST(gpu_generators_share_a_device)
{
	struct generator_options o = options_of("auto");
	struct plain_gpu_state *st = &plain_gpu_state;
	struct generator *g[3];
	struct generator_stats s;
	struct gen_result r;
	struct err e;
	char *want;
	uint64_t takes, kv;
	(void)small_made();
	want = text_of("cuda");
	o.sequences = 64;
	kv = kvcache_page_bytes(2, 1, 32) * 512 / KVCACHE_PAGE; /* of a context */
	CHECK_OK(generator_open(&g[0], &o, &e), e);
	takes = st->used - 64 * kv;
	CHECK_INT(generator_info(g[0])->device_bytes, st->used);
	generator_close(g[0]);
	st->memory = takes + 4 * (takes + 2 * kv);      /* a quarter of the rest is enough for another */
	CHECK(64 * kv > st->memory - takes);
	for (int i = 0; i < 2; i++) {
		CHECK_OK(generator_open(&g[i], &o, &e), e);
		CHECK_STR(generator_info(g[i])->device, "plain loops");
		generator_stats(g[i], &s);
		CHECK(s.pages * s.page_tokens >= 512);
		if (i == 0) CHECK(st->memory - st->used >= takes + 2 * kv && st->memory - st->used < takes + 3 * kv);
	}
	CHECK_OK(generator_open(&g[2], &o, &e), e);
	CHECK_STR(generator_info(g[2])->device, "cpu");
	for (int i = 0; i < 2; i++) {
		CHECK_OK(write_text(g[i], &r, &e), e);
		CHECK_STR(buf_cstr(&r.text), want);
		buf_clear(&r.text);
	}
	for (int i = 0; i < 3; i++) generator_close(g[i]);
	const uint64_t left = st->memory - takes;
	for (int i = 0; i < 2; i++) {                   /* a size by name that is there, and one that is not */
		o.kv_bytes = left + (uint64_t)i;
		CHECK_OK(generator_open(&g[0], &o, &e), e);
		CHECK_STR(generator_info(g[0])->device, "plain loops");
		CHECK(i ? st->memory - st->used >= left / 4 : st->memory - st->used < kv);
		generator_close(g[0]);
	}
	mem_free(want);
}
