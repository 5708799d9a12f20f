/* time_models.c: whole models timed on the table under test: decoding with one sequence and many, a prompt of 2048 tokens. Tokens are
 * chosen on the device; the host sees no logits. Models are of random weights: what a token is has no influence on what a step costs. */
#include <math.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"
#include "nn/quant.h"
#include "tests/gpu/measure.h"
#include "tests/gpu/model.h"
#include "tests/test.h"

enum { BEFORE = 256, WRITTEN = 64, WARM = 8, ROUNDS = 3, PROMPT = 2048 };

static double middle(double v[ROUNDS])
{
	double low = v[0], high = v[0], sum = 0;
	for (int i = 0; i < ROUNDS; i++) {
		if (v[i] < low) low = v[i];
		if (v[i] > high) high = v[i];
		sum += v[i];
	}
	return sum - low - high;                     /* of three */
}

static void time_decode(const char *name, const struct model_spec *s, struct model *m, size_t n, size_t before, size_t written)
{
	int32_t ids[BEFORE], next[MODEL_SEQUENCES];
	double ms[ROUNDS], step, kv;
	model_restart(m);
	model_ids(m->vocab, before, ids);
	for (size_t i = 0; i < n; i++) {
		next[i] = ids[i % before];
		model_feed(m, i, PHASE_PROMPT, ids, before, before, NULL);
	}
	for (size_t i = 0; i < (real_sizes() ? WARM : 1); i++) model_step(m, n, next);
	for (int round = 0; round < ROUNDS; round++) {
		double start = clock_ms();
		for (size_t i = 0; i < written; i++) model_step(m, n, next);
		ms[round] = clock_ms() - start;
	}
	step = middle(ms) / (double)written;
	kv = 4.0 * (double)(s->layers * s->kv_heads * s->head_dim) * (double)n * (double)(m->seq[0].len - ROUNDS * written / 2);
	figure("decode", "\"model\": \"%s\", \"type\": \"%s\", \"n\": %zu, \"before\": %zu, \"written\": %zu, \"bytes\": %llu, \"kv_bytes\": %.0f, "
		"\"flops\": %.0f, \"step_us\": %.1f, \"tokens_per_s\": %.1f", name, quant_name(s->type), n, before, written,
		(unsigned long long)model_bytes(s), kv, 2 * model_weights(s) * (double)n, step * 1000, (double)n * 1000 / step);
}

static void time_prompt(const char *name, const struct model_spec *s, struct model *m, size_t tokens)
{
	int32_t *ids = mem_calloc(tokens, sizeof *ids), first;
	double ms[ROUNDS], flops;
	CHECK(ids != NULL);
	model_ids(m->vocab, tokens, ids);
	for (int round = -1; round < ROUNDS; round++) {
		double start;
		model_restart(m);
		first = ids[tokens - 1];
		start = clock_ms();
		model_feed(m, 0, PHASE_PROMPT, ids, tokens - 1, DECODER_CHUNK, NULL);
		model_step(m, 1, &first);
		if (round >= 0) ms[round] = clock_ms() - start;
	}
	flops = 2 * (model_weights(s) - (double)s->vocab * (double)s->dim) * (double)tokens +
		2.0 * (double)(s->layers * s->heads * s->head_dim) * (double)tokens * (double)tokens;
	figure("prompt", "\"model\": \"%s\", \"type\": \"%s\", \"n\": %zu, \"bytes\": %.0f, \"flops\": %.0f, \"ms\": %.3f, \"tokens_per_s\": %.0f",
		name, quant_name(s->type), tokens, (double)model_bytes(s) * ceil((double)tokens / DECODER_CHUNK), flops, middle(ms),
		(double)tokens * 1000 / middle(ms));
	mem_free(ids);
}

static uint64_t free_bytes(const struct gpu *g)
{
	struct gpu_info i;
	test_gpu()->info(g, &i);
	return i.free;
}

/* What recorded passes and kernels that were loaded meanwhile have taken since `before` were free: alloc leaves that much to them. */
static void tell_memory(const char *name, const struct model_spec *s, const struct model *m, struct gpu *beside, uint64_t before)
{
	const uint64_t now = free_bytes(beside), took = before > now ? before - now : 0;
	figure("memory", "\"model\": \"%s\", \"type\": \"%s\", \"opened_bytes\": %llu, \"running_bytes\": %llu, \"spare_bytes\": %d", name,
		quant_name(s->type), (unsigned long long)decoder_info(m->d)->device_bytes, (unsigned long long)took, (int)GPU_SPARE);
	CHECK_MSG(took <= GPU_SPARE, "recorded passes and kernels took %.1f MiB, more than is left to them", (double)took / (1 << 20));
}

/* One opening for all: what takes most of the time with large models. */
static void time_model(const char *name, uint32_t type)
{
	const struct model_spec s = real_model(name, type);
	const char *path = real_model_file(name, type);
	const size_t most = real_sizes() ? MODEL_SEQUENCES : 4, before = real_sizes() ? BEFORE : 5, written = real_sizes() ? WRITTEN : 2,
		prompt = real_sizes() ? PROMPT : 20, decode = before + WARM + ROUNDS * written, context = (prompt > decode ? prompt : decode) + 8;
	struct gpu *beside = device_open();
	struct model m;
	model_open(&m, path, test_gpu(), context, most);
	const uint64_t left = free_bytes(beside);
	for (size_t n = 1; n <= most; n *= 4) time_decode(name, &s, &m, n, before, written);
	time_prompt(name, &s, &m, prompt);
	tell_memory(name, &s, &m, beside, left);
	model_close(&m);
	test_gpu()->close(beside);
}

DEVICE_TEST(time_15b_bf16) { time_model("1.5b", QUANT_BF16); }
TEST(time_15b_q4_k) { time_model("1.5b", QUANT_Q4_K); }
DEVICE_TEST(time_8b_q8_0) { time_model("8b", QUANT_Q8_0); }
DEVICE_TEST(time_15b_q8_0) { time_model("1.5b", QUANT_Q8_0); }
DEVICE_TEST(time_135m_q8_0) { time_model("135m", QUANT_Q8_0); }
DEVICE_TEST(time_8b_q4_k) { time_model("8b", QUANT_Q4_K); }
DEVICE_TEST(time_8b_bf16) { time_model("8b", QUANT_BF16); }
