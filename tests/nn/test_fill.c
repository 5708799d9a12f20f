/* test_fill.c: matrices of random bits (tests/gguf_fill.h) are of use as weights, and whole models of them open. */
#include <math.h>
#include "base/mem.h"
#include "nn/gguf.h"
#include "nn/quant.h"
#include "tests/gguf_fill.h"
#include "tests/gguf_make.h"
#include "tests/test.h"

TEST(fill_types)
{
	static const uint32_t types[] = { QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1,
		QUANT_Q8_0, QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K };
	enum { K = 1024, ROWS = 64, N = K * ROWS };
	float *w = mem_alloc(N * sizeof *w);
	uint8_t *blocks = mem_alloc(N * sizeof *w);
	for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
		double sum = 0, square = 0, sd;
		random_blocks(types[t], K, 7, N / quant_block_weights(types[t]), blocks);
		quant_row(types[t], blocks, N, w);
		for (size_t i = 0; i < N; i++) sum += (double)w[i], square += (double)w[i] * (double)w[i];
		sd = sqrt(square / N) * sqrt(K);
		CHECK_MSG(sd > 0.6 && sd < 1.6, "%s: deviation %g", quant_name(types[t]), sd);
		CHECK_MSG(fabs(sum / N) * sqrt(K) < 0.15, "%s: mean %g", quant_name(types[t]), sum / N * sqrt(K));
	}
	mem_free(w);
	mem_free(blocks);
}

/* A model's matrices are all there, differ, and come out the same a second time. */
TEST(fill_model)
{
	struct model_spec s = model_spec_of("qwen2");
	struct gguf *a, *b;
	char path[2][300];
	struct err e;
	const char *dir = test_dir();
	s.large = 1;
	s.heads = 4;
	s.type = QUANT_Q4_K;
	s.embed_type = QUANT_Q8_0;
	for (int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof path[i], "%s/%d.gguf", dir, i);
		model_make(&s, path[i]);
	}
	CHECK_OK(gguf_open(&a, path[0], &e), e);
	CHECK_OK(gguf_open(&b, path[1], &e), e);
	CHECK_INT(gguf_tensor_n(a), 1 + 1 + s.layers * 12);
	for (size_t i = 0; i < gguf_tensor_n(a); i++)
		CHECK(memcmp(gguf_tensor_at(a, i)->data, gguf_tensor_at(b, i)->data, gguf_tensor_at(a, i)->bytes) == 0);
	const struct gguf_tensor *gate = gguf_tensor(a, "blk.1.ffn_gate.weight"), *up = gguf_tensor(a, "blk.1.ffn_up.weight");
	CHECK(gate && up && gate->bytes == up->bytes && memcmp(gate->data, up->data, gate->bytes) != 0);
	gguf_close(a);
	gguf_close(b);
}
