/* quant.c: owns the sizes of the weight formats and their dequantisation in plain loops, the specification that the
 * fast kernels are tested against. Nothing here fails: the loader has checked types and lengths. Thread-safe. */
#include "nn/quant.h"
#include <string.h>

static const struct { uint32_t type; const char *name; size_t weights, bytes; } types[] = {
	{ QUANT_F32, "F32", 1, 4 }, { QUANT_F16, "F16", 1, 2 }, { QUANT_BF16, "BF16", 1, 2 },
	{ QUANT_Q4_0, "Q4_0", 32, sizeof(struct block_q4_0) }, { QUANT_Q4_1, "Q4_1", 32, sizeof(struct block_q4_1) },
	{ QUANT_Q5_0, "Q5_0", 32, sizeof(struct block_q5_0) }, { QUANT_Q5_1, "Q5_1", 32, sizeof(struct block_q5_1) },
	{ QUANT_Q8_0, "Q8_0", 32, sizeof(struct block_q8_0) }, { QUANT_Q4_K, "Q4_K", 256, sizeof(struct block_q4_k) },
	{ QUANT_Q5_K, "Q5_K", 256, sizeof(struct block_q5_k) }, { QUANT_Q6_K, "Q6_K", 256, sizeof(struct block_q6_k) },
	/* known by name only, so that a refusal can say what the file holds */
	{ 9, "Q8_1", 0, 0 }, { 10, "Q2_K", 0, 0 }, { 11, "Q3_K", 0, 0 }, { 15, "Q8_K", 0, 0 }, { 16, "IQ2_XXS", 0, 0 },
	{ 17, "IQ2_XS", 0, 0 }, { 18, "IQ3_XXS", 0, 0 }, { 19, "IQ1_S", 0, 0 }, { 20, "IQ4_NL", 0, 0 },
	{ 21, "IQ3_S", 0, 0 }, { 22, "IQ2_S", 0, 0 }, { 23, "IQ4_XS", 0, 0 }, { 24, "I8", 0, 0 }, { 25, "I16", 0, 0 },
	{ 26, "I32", 0, 0 }, { 27, "I64", 0, 0 }, { 28, "F64", 0, 0 }, { 29, "IQ1_M", 0, 0 }, { 34, "TQ1_0", 0, 0 },
	{ 35, "TQ2_0", 0, 0 }, { 39, "MXFP4", 0, 0 },
};

static size_t find(uint32_t type)
{
	size_t i = 0, n = sizeof types / sizeof *types;
	while (i < n && types[i].type != type) i++;
	return i;
}

const char *quant_name(uint32_t type)
{
	size_t i = find(type);
	return i < sizeof types / sizeof *types ? types[i].name : "unknown";
}

size_t quant_block_weights(uint32_t type)
{
	size_t i = find(type);
	return i < sizeof types / sizeof *types ? types[i].weights : 0;
}

size_t quant_block_bytes(uint32_t type)
{
	size_t i = find(type);
	return i < sizeof types / sizeof *types ? types[i].bytes : 0;
}

int quant_supported(uint32_t type)
{
	return quant_block_weights(type) != 0;
}

size_t quant_row_bytes(uint32_t type, size_t k)
{
	return k / quant_block_weights(type) * quant_block_bytes(type);
}

float quant_half(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, frac = h & 1023, bits;
	float f;
	if (exp == 31) bits = sign | 0x7f800000u | frac << 13;
	else if (exp) bits = sign | (exp + 112) << 23 | frac << 13;
	else { /* zero or subnormal: frac * 2^-24 is exact in a float */
		f = (float)frac * 0x1p-24f;
		return sign ? -f : f;
	}
	memcpy(&f, &bits, sizeof f);
	return f;
}

float quant_bf16(uint16_t h)
{
	uint32_t bits = (uint32_t)h << 16;
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

static void row_q4_0(const struct block_q4_0 *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++, out += 32) {
		float d = quant_half(b[i].d);
		for (int j = 0; j < 16; j++) {
			out[j] = d * (float)((b[i].qs[j] & 15) - 8);
			out[j + 16] = d * (float)((b[i].qs[j] >> 4) - 8);
		}
	}
}

static void row_q4_1(const struct block_q4_1 *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++, out += 32) {
		float d = quant_half(b[i].d), m = quant_half(b[i].m);
		for (int j = 0; j < 16; j++) {
			out[j] = d * (float)(b[i].qs[j] & 15) + m;
			out[j + 16] = d * (float)(b[i].qs[j] >> 4) + m;
		}
	}
}

/* Weight j of a q5_0 or q5_1 block. */
static int five_bits(const uint8_t qh[4], const uint8_t qs[16], int j)
{
	int low = j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
	return low | (qh[j / 8] >> j % 8 & 1) << 4;
}

static void row_q5_0(const struct block_q5_0 *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++, out += 32) {
		float d = quant_half(b[i].d);
		for (int j = 0; j < 32; j++) out[j] = d * (float)(five_bits(b[i].qh, b[i].qs, j) - 16);
	}
}

static void row_q5_1(const struct block_q5_1 *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++, out += 32) {
		float d = quant_half(b[i].d), m = quant_half(b[i].m);
		for (int j = 0; j < 32; j++) out[j] = d * (float)five_bits(b[i].qh, b[i].qs, j) + m;
	}
}

static void row_q8_0(const struct block_q8_0 *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++, out += 32) {
		float d = quant_half(b[i].d);
		for (int j = 0; j < 32; j++) out[j] = d * (float)b[i].qs[j];
	}
}

static void row_q4_k(const struct block_q4_k *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		for (int part = 0; part < 8; part++, out += 32) {
			uint8_t scale, min;
			quant_q4_k_scale(b[i].scales, part, &scale, &min);
			float d = quant_half(b[i].d) * scale, m = quant_half(b[i].dmin) * min;
			const uint8_t *q = b[i].qs + part / 2 * 32;
			for (int j = 0; j < 32; j++) out[j] = d * (float)(q[j] >> part % 2 * 4 & 15) - m;
		}
}

static void row_q5_k(const struct block_q5_k *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		for (int part = 0; part < 8; part++, out += 32) {
			uint8_t scale, min;
			quant_q4_k_scale(b[i].scales, part, &scale, &min);
			float d = quant_half(b[i].d) * scale, m = quant_half(b[i].dmin) * min;
			const uint8_t *q = b[i].qs + part / 2 * 32;
			for (int j = 0; j < 32; j++)
				out[j] = d * (float)((q[j] >> part % 2 * 4 & 15) | (b[i].qh[j] >> part & 1) << 4) - m;
		}
}

static void row_q6_k(const struct block_q6_k *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		for (int j = 0; j < 256; j++) {
			int half = j / 128, quarter = j % 128 / 32, l = j % 32;
			int low = b[i].ql[half * 64 + quarter % 2 * 32 + l] >> quarter / 2 * 4 & 15;
			int high = b[i].qh[half * 32 + l] >> quarter * 2 & 3;
			*out++ = quant_half(b[i].d) * b[i].scales[j / 16] * (float)((low | high << 4) - 32);
		}
}

void quant_row(uint32_t type, const void *src, size_t k, float *out)
{
	const uint16_t *half = src;
	size_t n = k / quant_block_weights(type);
	switch (type) {
	case QUANT_F32: memcpy(out, src, k * sizeof *out); break;
	case QUANT_F16: for (size_t i = 0; i < k; i++) out[i] = quant_half(half[i]); break;
	case QUANT_BF16: for (size_t i = 0; i < k; i++) out[i] = quant_bf16(half[i]); break;
	case QUANT_Q4_0: row_q4_0(src, n, out); break;
	case QUANT_Q4_1: row_q4_1(src, n, out); break;
	case QUANT_Q5_0: row_q5_0(src, n, out); break;
	case QUANT_Q5_1: row_q5_1(src, n, out); break;
	case QUANT_Q8_0: row_q8_0(src, n, out); break;
	case QUANT_Q4_K: row_q4_k(src, n, out); break;
	case QUANT_Q5_K: row_q5_k(src, n, out); break;
	case QUANT_Q6_K: row_q6_k(src, n, out); break;
	}
}
