/* test_arch.c: random models of every architecture: the decoder over ops_ref against a plain double-precision pass,
 * the fast kernels against ops_ref, and the promises of the KV cache.
 *
 * Tolerance: a logit is a sum of about dim terms of size 1 (the last norm), weights 1/sqrt(dim), so of size 1. Every
 * float that is stored on the way carries a relative error u = 2^-24; a layer stores some ten of them one behind the
 * other, each sum of k terms adds up to sqrt(k)·u as rounding goes (k·u at worst), and what a layer is wrong by the
 * next ones pass on about as large: 40 layers' steps of sqrt(512)·u with room of 4 are 2e-4. Keys and values rest as
 * halves in both passes; where an error makes one of them round the other way it differs by 2^-11, and some hundred of
 * these meet in a logit with weights of 1/hundreds: as much again with room of 4. TOLERANCE is the sum; errors of the
 * method (a norm left out, a window off by one, a wrong angle) are 1e-2 and more. */
#include <math.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/team.h"
#include "generate/decoder.h"
#include "nn/quant.h"
#include "tests/generate/feed.h"
#include "tests/generate/plain_model.h"
#include "tests/test.h"

static const double TOLERANCE = 1e-3, ROUNDED = 0.25; /* the latter where activations are rounded */
enum { TOKENS = 75 };          /* over one chunk and over the window */

static struct fed model_open(const struct model_spec *s, const char *kernel, int threads)
{
	struct fed m;
	struct err e;
	const struct ops *ops;
	char path[300];
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(s, path);
	if (ops_choose(&ops, kernel, &e) == E_UNSUPPORTED) test_skip("%s", e.msg);
	fed_open(&m, path, ops, threads, &(struct decoder_options){ .sequences = 1 });
	return m;
}

static void check_near(const char *what, const float *got, const double *want, size_t n, size_t vocab)
{
	double tol = strcmp(what, "ref") == 0 ? TOLERANCE : ROUNDED;
	for (size_t i = 0; i < n * vocab; i++)
		CHECK_MSG(fabs((double)got[i] - want[i]) < tol, "%s: position %zu logit %zu: %g, want %g", what, i / vocab,
			i % vocab, (double)got[i], want[i]);
}

/* The whole check of one model: every table against the plain pass, and chunks of any size to the bit. */
static void check_spec(const struct model_spec *s)
{
	static const char *const kernels[] = { "ref", "avx2", "avx512", "vnni", "amx" };
	size_t n = TOKENS, vocab = s->vocab;
	double *want = mem_calloc(n * vocab, sizeof *want);
	float *got = mem_calloc(n * vocab, sizeof *got), *again = mem_calloc(n * vocab, sizeof *again);
	int32_t ids[TOKENS];
	feed_random(ids, n, vocab);
	for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
		const struct ops *ops;
		if (ops_choose(&ops, kernels[i], NULL) != OK) continue;
		struct fed m = model_open(s, kernels[i], 2);
		if (i == 0) plain_logits(m.g, s, ids, n, want);
		feed_ids(&m.f, ids, n, DECODER_CHUNK, n, got);
		check_near(kernels[i], got, want, n, vocab);
		feed_restart(&m.f);
		feed_ids(&m.f, ids, n, i == 1 ? 1 : 7, n, again);
		CHECK_MSG(memcmp(got, again, n * vocab * sizeof *got) == 0, "%s: chunks differ", kernels[i]);
		kvseq_cut(&m.f.seq, n - 9);
		feed_ids(&m.f, ids + n - 9, 9, 4, 9, again);
		CHECK_MSG(memcmp(got + (n - 9) * vocab, again, 9 * vocab * sizeof *got) == 0, "%s: cut differs", kernels[i]);
		fed_close(&m);
	}
	mem_free(want);
	mem_free(got);
	mem_free(again);
}

TEST(arch_llama)
{
	struct model_spec s = model_spec_of("llama");
	check_spec(&s);
}

TEST(arch_llama_untied)
{
	struct model_spec s = model_spec_of("llama");
	s.untied = 1;
	s.heads = 9;
	s.kv_heads = 3;
	s.head_dim = 32;
	s.type = QUANT_Q8_0;
	s.embed_type = QUANT_F16;
	check_spec(&s);
}

TEST(arch_qwen2)
{
	struct model_spec s = model_spec_of("qwen2");
	s.kv_heads = 5;
	s.rope_base = 1e6f;
	check_spec(&s);
}

TEST(arch_llama_scaled)
{
	struct model_spec s = model_spec_of("llama");
	s.rope_factors = 1;
	check_spec(&s);
	s.rope_factors = 0;
	s.rope_linear = 4;
	s.rope_base = 5e5f;
	s.untied = 1;
	check_spec(&s);
}

TEST(arch_qwen3)
{
	struct model_spec s = model_spec_of("qwen3");
	s.rope_base = 1e6f;
	check_spec(&s);
	s.untied = 1;
	s.heads = 6;
	s.kv_heads = 2;
	s.head_dim = 96;
	s.type = QUANT_Q5_0;
	check_spec(&s);
}

TEST(arch_gemma3)
{
	struct model_spec s = model_spec_of("gemma3");
	check_spec(&s);
	s.rope_linear = 8;
	s.pattern = 2;
	s.window = 33;
	s.layers = 4;
	s.head_dim = 128;
	s.heads = 3;
	s.kv_heads = 3;
	s.type = QUANT_Q4_1;
	s.embed_type = QUANT_Q8_0;
	check_spec(&s);
}

/* Sizes that no vector, tile or panel divides; groups of 32 that are cut by heads. */
TEST(arch_odd_sizes)
{
	static const uint32_t types[] = { QUANT_F16, QUANT_Q4_0, QUANT_Q5_1, QUANT_Q8_0 };
	for (size_t i = 0; i < 4; i++) {
		struct model_spec s = model_spec_of(i % 2 ? "llama" : "qwen3");
		s.dim = 96;
		s.ff = 160;
		s.heads = 10;
		s.kv_heads = 5;
		s.head_dim = 48;
		s.vocab = 323;
		s.type = types[i];
		check_spec(&s);
		s.head_dim = 16;
		check_spec(&s);
	}
}

/* Every weight type in every architecture, the table of tokens too. */
TEST(arch_every_type)
{
	static const uint32_t types[] = { QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1,
		QUANT_Q8_0, QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K };
	static const char *const names[] = { "llama", "qwen2", "qwen3", "gemma3" };
	for (size_t i = 0; i < 4; i++)
		for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
			struct model_spec s = model_spec_of(names[i]);
			s.layers = 1;
			s.heads = 4;
			s.kv_heads = 2;
			s.head_dim = 64;
			s.vocab = 272;
			s.type = s.embed_type = types[t];
			check_spec(&s);
		}
}

/* Windows over many pages, far behind the beginning; back by a lot, and on again. */
TEST(arch_gemma3_windows_move)
{
	enum { N = 1500 };
	struct model_spec s = model_spec_of("gemma3");
	s.layers = s.pattern = 2;
	s.dim = s.ff = 64;
	s.heads = 2;
	s.head_dim = 32;
	s.context = 2048;
	struct fed m = model_open(&s, "auto", 2);
	double *want = mem_calloc(N * s.vocab, sizeof *want);
	float *got = mem_calloc(N * s.vocab, sizeof *got), *again = mem_calloc(N * s.vocab, sizeof *again);
	int32_t ids[N];
	feed_random(ids, N, s.vocab);
	plain_logits(m.g, &s, ids, N, want);
	feed_ids(&m.f, ids, N, DECODER_CHUNK, N, got);
	check_near("windows", got, want, N, s.vocab);
	feed_restart(&m.f);
	feed_ids(&m.f, ids, N, 37, N, again);
	CHECK(memcmp(got, again, N * s.vocab * sizeof *got) == 0);
	kvseq_cut(&m.f.seq, N - 400);
	feed_ids(&m.f, ids + N - 400, 400, 1, 400, again);
	CHECK(memcmp(got + (N - 400) * s.vocab, again, 400 * s.vocab * sizeof *got) == 0);
	mem_free(want);
	mem_free(got);
	mem_free(again);
	fed_close(&m);
}

/* What a file must have, has wrong, or has too much is refused by name. */
static void expect_refusal(const char *arch, const char *find, const char *put, int status, const char *want)
{
	struct model_spec s = model_spec_of(arch);
	struct gguf *g;
	struct decoder *d = NULL;
	struct team *team = team_new(1);
	struct err e = { 0, "" };
	struct buf file;
	char path[300], *hit;
	int st;
	s.layers = 1;
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&s, path);
	buf_init(&file, 1 << 28);
	CHECK_OK(file_read(path, &file, &e), e);
	CHECK(strlen(find) == strlen(put));
	hit = memmem(file.data, file.len, find, strlen(find));
	CHECK_MSG(hit != NULL, "no %s", find);
	memcpy(hit, put, strlen(put));
	CHECK_OK(file_write_atomic(path, file.data, file.len, &e), e);
	CHECK_OK(gguf_open(&g, path, &e), e);
	st = decoder_open(&d, g, NULL, &ops_ref, team, &(struct decoder_options){ .sequences = 1 }, &e);
	CHECK_MSG(st == status && strstr(e.msg, want), "%s: %d, %s", find, st, e.msg);
	decoder_close(d);
	team_free(team);
	gguf_close(g);
	buf_clear(&file);
}

TEST(arch_refuses_by_name)
{
	expect_refusal("gemma3", "attention.sliding_window", "attention.sliding_windoX", E_FORMAT, "sliding_window");
	expect_refusal("gemma3", "post_ffw_norm", "post_fXw_norm", E_FORMAT, "blk.0.post_ffw_norm.weight");
	expect_refusal("gemma3", "attn_k_norm", "attn_X_norm", E_FORMAT, "blk.0.attn_k_norm.weight");
	expect_refusal("qwen3", "attn_q_norm", "attn_X_norm", E_FORMAT, "blk.0.attn_q_norm.weight");
	expect_refusal("qwen3", "qwen3", "qwen4", E_UNSUPPORTED, "qwen4");
	expect_refusal("qwen2", "attn_k.bias", "attn_X.bias", E_FORMAT, "blk.0.attn_k.bias");
	expect_refusal("llama", "attn_output", "attn_outpuX", E_FORMAT, "blk.0.attn_output.weight");
}
