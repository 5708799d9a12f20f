/* check_models.c: whole models on the table under test beside the specification's kernels: models of random weights at real sizes (on
 * the host small ones), and real models cut to a few layers where they were carried along (GPU_PACK names their folder).
 *
 * What is compared: logits of each token of a prompt, in one pass and cut into several; logits of the same tokens one by one; that rows
 * have the same bits beside others as alone; that the token a GPU chooses is the first of its largest logits, and those it
 * offers the largest of them; that kernels which overlap give what kernels in order give. Distances are in deviations of the
 * logits. */
#include <math.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/quant.h"
#include "tests/generate/candidates.h"
#include "tests/gpu/measure.h"
#include "tests/gpu/model.h"
#include "tests/test.h"

/* Activations of prompts are good to 2^-9, written ones to 2^-16; keys and values are halves on both sides. On the emulated device prompts of
 * small random models of 2 and of 28 layers were 0.035 and 0.039 away, those of real ones cut to a layer or two up to 0.047; written tokens of the
 * former 0.0007 and 0.0014. A larger vocabulary has a larger largest. */
#define PROMPT_MOST(layers) (0.06 + 0.02 * sqrt((double)(layers)))
#define WRITTEN_MOST(layers) (0.004 + 0.001 * sqrt((double)(layers)))
enum { BESIDE = 17, STEPS = 12 };

static float *rows_of(size_t n, size_t vocab)
{
	float *p = mem_calloc(n * vocab, sizeof *p);
	CHECK(p != NULL);
	return p;
}

static int32_t first_best(const float *logits, size_t vocab)
{
	size_t best = 0;
	for (size_t i = 1; i < vocab; i++)
		if (logits[i] > logits[best]) best = i;
	return (int32_t)best;
}

/* How far `got` is from `want` at most, over n rows. */
static double compare(const char *what, const float *got, const float *want, size_t n, size_t vocab, double most)
{
	double worst = 0;
	for (size_t t = 0; t < n; t++, got += vocab, want += vocab) {
		double d = model_distance(got, want, vocab);
		CHECK_MSG(d <= most, "%s: row %zu is %.4f deviations away, at most %.4f", what, t, d, most);
		if (d > worst) worst = d;
	}
	return worst;
}

/* Sequence 1 … have other texts; what sequence 0 gives may not change by a bit. */
static void check_beside(struct model *m, const int32_t *ids, size_t n, const float *alone)
{
	struct decoder_row rows[BESIDE];
	float *first = rows_of(1, m->vocab);
	int32_t other[2 * BESIDE];
	struct err e;
	model_restart(m);
	model_ids(m->vocab, 2 * BESIDE, other);
	for (size_t s = 1; s < BESIDE; s++) model_feed(m, s, PHASE_PROMPT, other + s, 1 + s, 1 + s, NULL);
	for (size_t t = 0; t < n; t++) {
		for (size_t s = 0; s < BESIDE; s++) {
			size_t place = (s + t) % BESIDE;         /* another place in every pass */
			rows[place] = (struct decoder_row){ .seq = &m->seq[s], .id = s ? other[(s + t) % (2 * BESIDE)] : ids[t],
				.want = s % 3 == 2 ? WANT_BEST : WANT_LOGITS, .temperature = s % 2 ? 0.5f : 0.8f };
			kvseq_room(decoder_cache(m->d), &m->seq[s], 1);
		}
		CHECK_OK(decoder_eval(m->d, PHASE_WRITTEN, rows, BESIDE, &e), e);
		memcpy(first, candidates_check(&rows[t % BESIDE], m->vocab), m->vocab * sizeof *first);
		CHECK_MSG(memcmp(first, alone + t * m->vocab, m->vocab * sizeof *first) == 0, "token %zu: other bits beside %d sequences", t, BESIDE - 1);
	}
	mem_free(first);
}

/* Greedy text: the device's choice is that of its logits. */
static void check_choice(struct model *m, const int32_t *ids, size_t n)
{
	float *logits = rows_of(1, m->vocab);
	int32_t chosen[STEPS + 1];
	model_restart(m);
	model_feed(m, 0, PHASE_PROMPT, ids, n, n, NULL);
	chosen[0] = ids[n - 1];
	for (size_t i = 0; i < STEPS; i++) {
		chosen[i + 1] = chosen[i];
		model_step(m, 1, &chosen[i + 1]);
	}
	model_restart(m);
	model_feed(m, 0, PHASE_PROMPT, ids, n, n, NULL);
	for (size_t i = 0; i < STEPS; i++) {
		model_feed(m, 0, PHASE_WRITTEN, &chosen[i], 1, 1, logits);
		CHECK_MSG(first_best(logits, m->vocab) == chosen[i + 1], "step %zu: token %d chosen, %d is the likeliest", i, chosen[i + 1],
			first_best(logits, m->vocab));
	}
	mem_free(logits);
}

/* want: (n, vocab) by the specification. */
static void check_file(const char *name, const char *path, const int32_t *ids, size_t n, const float *want)
{
	struct model m;
	float *got, *again;
	double prompt, written;
	size_t layers;
	model_open(&m, path, test_gpu(), 64, BESIDE);
	layers = decoder_info(m.d)->layers;
	got = rows_of(n, m.vocab);
	again = rows_of(n, m.vocab);
	model_feed(&m, 0, PHASE_PROMPT, ids, n, n, got);
	prompt = compare("prompt", got, want, n, m.vocab, PROMPT_MOST(layers));
	model_restart(&m);
	model_feed(&m, 0, PHASE_PROMPT, ids, n, 3, again);
	CHECK_MSG(memcmp(got, again, n * m.vocab * sizeof *got) == 0, "a prompt cut into passes of 3 has other bits");
	model_restart(&m);
	model_feed(&m, 0, PHASE_WRITTEN, ids, n, 1, got);
	written = compare("written", got, want, n, m.vocab, WRITTEN_MOST(layers));
	check_beside(&m, ids, n, got);
	check_choice(&m, ids, n);
	figure("logits", "\"model\": \"%s\", \"tokens\": %zu, \"prompt_distance\": %.5f, \"written_distance\": %.5f", name, n, prompt, written);
	mem_free(got);
	mem_free(again);
	model_close(&m);
}

static void check_random(const char *size, uint32_t type)
{
	const size_t n = strcmp(size, "8b") == 0 ? 6 : 11;
	const char *path = real_model_file(size, type);
	char name[64];
	int32_t ids[16];
	struct model ref;
	float *want;
	model_open(&ref, path, NULL, 64, 1);
	want = rows_of(n, ref.vocab);
	model_ids(ref.vocab, n, ids);
	model_feed(&ref, 0, PHASE_PROMPT, ids, n, n, want);
	model_close(&ref);
	snprintf(name, sizeof name, "%s %s", size, quant_name(type));
	check_file(name, path, ids, n, want);
	mem_free(want);
}

DEVICE_TEST(model_135m_bf16) { check_random("135m", QUANT_BF16); }
DEVICE_TEST(model_135m_q8_0) { check_random("135m", QUANT_Q8_0); }
TEST(model_135m_q4_1) { check_random("135m", QUANT_Q4_1); }
TEST(model_05b_bf16) { check_random("0.5b", QUANT_BF16); }
DEVICE_TEST(model_05b_q5_0) { check_random("0.5b", QUANT_Q5_0); }
DEVICE_TEST(model_15b_bf16) { check_random("1.5b", QUANT_BF16); }
DEVICE_TEST(model_15b_q8_0) { check_random("1.5b", QUANT_Q8_0); }
DEVICE_TEST(model_15b_q4_k) { check_random("1.5b", QUANT_Q4_K); }
TEST(model_8b_q8_0) { check_random("8b", QUANT_Q8_0); }
DEVICE_TEST(model_8b_q4_k) { check_random("8b", QUANT_Q4_K); }

/* --- kernels that begin before the one in front of them is done (nn/cuda.h), beside kernels in order --- */
struct steps { int32_t *ids; float *logits; double us; };    /* (steps, n) tokens; (n, vocab) behind the last; of a step */

/* n sequences of texts of their own, `steps` greedy tokens each, then the logits of one more. */
static struct steps steps_run(struct model *m, size_t n, size_t steps)
{
	struct steps r = { mem_calloc(steps * n, sizeof(int32_t)), rows_of(n, m->vocab), 0 };
	int32_t next[MODEL_SEQUENCES], ids[MODEL_SEQUENCES + 1];
	double start = 0;
	model_restart(m);
	model_ids(m->vocab, n + 1, ids);
	for (size_t s = 0; s < n; s++) model_feed(m, s, PHASE_PROMPT, ids + s % 2, 1 + s, 1 + s, NULL);
	memcpy(next, ids, sizeof next);
	for (size_t i = 0; i < steps; i++) {
		if (i == steps / 4) start = clock_ms();          /* by then passes are recorded */
		model_step(m, n, next);
		memcpy(r.ids + i * n, next, n * sizeof *next);
	}
	r.us = (clock_ms() - start) * 1000 / (double)(steps - steps / 4);
	for (size_t s = 0; s < n; s++) model_feed(m, s, PHASE_WRITTEN, &next[s], 1, 1, r.logits + s * m->vocab);
	return r;
}

/* What a kernel reads too early, or another's that it writes to, shows in tokens, or in keys and values and so in the logits in the end. */
static void check_in_order(const char *size, uint32_t type)
{
	const struct gpu_table *const tables[2] = { test_gpu(), test_gpu()->in_order };
	const size_t most = real_sizes() ? MODEL_SEQUENCES : 4, steps = real_sizes() ? 200 : 6;
	const char *path = real_model_file(size, type);
	struct steps got[2][4] = { 0 };
	size_t vocab = 0, rounds = 0;
	for (int i = 0; i < 2; i++) {
		struct model m;
		model_open(&m, path, tables[i], most + steps + 2, most);
		vocab = m.vocab;
		rounds = 0;
		for (size_t n = 1; n <= most; n *= 4) got[i][rounds++] = steps_run(&m, n, steps);
		model_close(&m);
	}
	for (size_t r = 0, n = 1; r < rounds; r++, n *= 4) {
		const struct steps *a = &got[0][r], *b = &got[1][r];
		for (size_t i = 0; i < steps * n; i++)
			CHECK_MSG(a->ids[i] == b->ids[i], "%zu sequences: token %zu is %d, in order %d", n, i / n, a->ids[i], b->ids[i]);
		CHECK_MSG(memcmp(a->logits, b->logits, n * vocab * sizeof *a->logits) == 0, "%zu sequences: other logits than in order", n);
		figure("in_order", "\"model\": \"%s\", \"type\": \"%s\", \"n\": %zu, \"steps\": %zu, \"step_us\": %.1f, \"in_order_us\": %.1f", size,
			quant_name(type), n, steps, a->us, b->us);
		for (int i = 0; i < 2; i++) mem_free(got[i][r].ids), mem_free(got[i][r].logits);
	}
}

TEST(model_15b_q4_k_in_order) { check_in_order("1.5b", QUANT_Q4_K); }
DEVICE_TEST(model_15b_bf16_in_order) { check_in_order("1.5b", QUANT_BF16); }
DEVICE_TEST(model_135m_q8_0_in_order) { check_in_order("135m", QUANT_Q8_0); }

/* --- real weights --- */
static void check_packed(const char *name)
{
	const char *folder = getenv("GPU_PACK");
	char path[512], logits[512];
	int32_t ids[MODEL_REF_TOKENS];
	struct mapping want;
	struct gguf *g;
	struct err e;
	size_t vocab;
	snprintf(path, sizeof path, "%s/%s.gguf", folder ? folder : "", name);
	snprintf(logits, sizeof logits, "%s/%s.logits", folder ? folder : "", name);
	if (!folder || !file_exists(path)) test_skip("%s: no packed models (make gpu-pack makes them where models are)", name);
	CHECK_OK(gguf_open(&g, path, &e), e);
	CHECK(gguf_tensor(g, "token_embd.weight") != NULL);
	vocab = (size_t)gguf_tensor(g, "token_embd.weight")->dim[1];
	gguf_close(g);
	CHECK_OK(mapping_open(&want, logits, &e), e);
	CHECK_INT(want.len, MODEL_REF_TOKENS * vocab * sizeof(float));
	model_ids(vocab, MODEL_REF_TOKENS, ids);
	check_file(name, path, ids, MODEL_REF_TOKENS, (const float *)(const void *)want.data);
	mapping_close(&want);
}

TEST(packed_smollm2) { check_packed("smollm2"); }
TEST(packed_qwen) { check_packed("qwen"); }
TEST(packed_gemma) { check_packed("gemma"); }
