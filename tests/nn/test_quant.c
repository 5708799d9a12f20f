/* test_quant.c: half floats, dequantisation of blocks written by hand, and of blocks of every type against ggml's own. */
#include <math.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/file.h"
#include "nn/quant.h"
#include "tests/test.h"

TEST(quant_half_values)
{
	CHECK(quant_half(0x3c00) == 1.0f && quant_half(0xc000) == -2.0f && quant_half(0x7bff) == 65504.0f);
	CHECK(quant_half(0x0001) == 0x1p-24f && quant_half(0x8001) == -0x1p-24f && quant_half(0x03ff) == 0x1.ff8p-15f);
	CHECK(quant_half(0) == 0 && signbit(quant_half(0x8000)) && isinf(quant_half(0x7c00)) && isnan(quant_half(0x7e00)));
	for (uint32_t h = 0; h < 0x7c00; h++) /* positive finite halves are in order, so each is itself */
		if (h) CHECK(quant_half((uint16_t)h) > quant_half((uint16_t)(h - 1)));
}

TEST(quant_blocks_by_hand)
{
	float out[256];
	struct block_q8_0 q8 = { 0x3800, { 1, -2, [31] = -128 } };                /* d 0.5 */
	struct block_q4_1 q41 = { 0x4000, 0xbc00, { 0x21, [15] = 0xf0 } };         /* d 2, m -1 */
	struct block_q5_0 q5 = { 0x3c00, { 1, 0, 0, 0x80 }, { 0x03, [15] = 0xf0 } }; /* d 1 */
	quant_row(QUANT_Q8_0, &q8, 32, out);
	CHECK(out[0] == 0.5f && out[1] == -1 && out[2] == 0 && out[31] == -64);
	quant_row(QUANT_Q4_1, &q41, 32, out);
	CHECK(out[0] == 1 && out[16] == 3 && out[15] == -1 && out[31] == 29 && out[1] == -1);
	quant_row(QUANT_Q5_0, &q5, 32, out);
	CHECK(out[0] == 3 && out[1] == -16 && out[31] == 15 && out[15] == -16);
	CHECK_INT(quant_row_bytes(QUANT_Q6_K, 512), 420);
	CHECK_INT(quant_row_bytes(QUANT_F16, 7), 14);
}

TEST(quant_k_blocks_by_hand)
{
	float out[256];
	struct block_q4_k q4 = { .d = 0x3c00, .dmin = 0x3c00 };
	struct block_q6_k q6 = { .d = 0x3c00 };
	q4.scales[0] = 63;                 /* part 0: scale 63 (6 bits), part 4: high bits from the top of byte 0 */
	q4.scales[4] = 5;                  /* part 0: min 5 */
	q4.scales[0] |= 2 << 6;            /* part 4: scale 2<<4 | … */
	q4.scales[8] = 0x73;               /* … 3; min low 7 */
	q4.scales[4] |= 1 << 6;            /* part 4: min 1<<4 | 7 */
	q4.qs[0] = 0x02;                   /* weight 0: 2; weight 32: 0 */
	q4.qs[64] = 0x04;                  /* weight 128, first of part 4 */
	quant_row(QUANT_Q4_K, &q4, 256, out);
	CHECK(out[0] == 2 * 63 - 5 && out[1] == -5 && out[32] == 0);
	CHECK(out[128] == 4 * 35 - 23 && out[129] == -23);
	q6.scales[0] = 1;
	q6.scales[2] = -3;
	q6.scales[15] = 2;
	q6.ql[0] = 0x0f;                   /* weight 0 low, weight 64 high half 0 */
	q6.qh[0] = 0x01 | 2 << 2;          /* weight 0: 1<<4, weight 32: 2<<4 */
	q6.ql[127] = 0x90;                 /* weight 255 low bits 9 */
	q6.qh[63] = 3 << 6;                /* weight 255 */
	quant_row(QUANT_Q6_K, &q6, 256, out);
	CHECK(out[0] == 31 - 32 && out[1] == -32 && out[32] == -3.0f * (32 - 32) && out[33] == 96);
	CHECK(out[255] == 2 * (57 - 32));
}

TEST(quant_new_blocks_by_hand)
{
	float out[256];
	struct block_q4_0 q40 = { 0x4000, { 0x21, [15] = 0xf0 } };                         /* d 2 */
	struct block_q5_1 q51 = { 0x4000, 0xbc00, { 1, 0, 0, 0x80 }, { 0x03, [15] = 0xf0 } }; /* d 2, m -1 */
	struct block_q5_k q5 = { .d = 0x3c00, .dmin = 0x4000 };
	uint16_t bf[5] = { 0x3f80, 0xc049, 0x0001, 0x7f7f, 0x8000 };
	quant_row(QUANT_Q4_0, &q40, 32, out);
	CHECK(out[0] == -14 && out[16] == -12 && out[1] == -16 && out[15] == -16 && out[31] == 14);
	quant_row(QUANT_Q5_1, &q51, 32, out);
	CHECK(out[0] == 2 * 19 - 1 && out[1] == -1 && out[15] == -1 && out[31] == 2 * 31 - 1);
	q5.scales[0] = 3;
	q5.scales[4] = 7;                  /* part 0: scale 3, min 7 */
	q5.scales[1] = 5;                  /* part 1: scale 5, min 0 */
	q5.scales[11] = 0x21;              /* part 7: scale 1, min 2 */
	q5.qs[0] = 0x42;                   /* weight 0: 2, weight 32: 4 */
	q5.qh[0] = 2;                      /* weight 32: 16 more */
	q5.qs[127] = 0xf0;
	q5.qh[31] = 0x80;                  /* weight 255: 31 */
	quant_row(QUANT_Q5_K, &q5, 256, out);
	CHECK(out[0] == 2 * 3 - 14 && out[1] == -14 && out[32] == 5 * 20 && out[33] == 0 && out[255] == 31 - 4);
	quant_row(QUANT_BF16, bf, 5, out);
	CHECK(out[0] == 1 && out[1] == -3.140625f && out[2] == 0x1p-133f && out[3] == 0x1.fep127f);
	CHECK(out[4] == 0 && signbit(out[4]));
	CHECK_INT(quant_row_bytes(QUANT_Q4_0, 64), 36);
	CHECK_INT(quant_row_bytes(QUANT_BF16, 7), 14);
	CHECK(!quant_supported(10) && strcmp(quant_name(10), "Q2_K") == 0 && strcmp(quant_name(11), "Q3_K") == 0);
	CHECK(strcmp(quant_name(15), "Q8_K") == 0 && strcmp(quant_name(23), "IQ4_XS") == 0 && !quant_supported(23));
}

/* Every type, with ordinary, zero, subnormal, largest and negative scales: the same bits as ggml's numpy code. */
TEST(quant_blocks_golden)
{
	struct buf file;
	struct err e;
	size_t at = 0, types = 0;
	buf_init(&file, 1 << 20);
	CHECK_OK(file_read(test_data("golden/quant_blocks.bin"), &file, &e), e);
	while (at < file.len) {
		uint32_t head[3]; /* type, bytes, floats */
		CHECK(file.len - at >= sizeof head);
		memcpy(head, file.data + at, sizeof head);
		at += sizeof head;
		CHECK(head[1] <= file.len - at && head[2] <= (file.len - at - head[1]) / 4);
		CHECK_INT(quant_row_bytes(head[0], head[2]), head[1]);
		void *block = malloc(head[1]); /* of that size, so that a read past it is caught */
		float *want = malloc(head[2] * sizeof *want), *got = malloc(head[2] * sizeof *got);
		memcpy(block, file.data + at, head[1]);
		memcpy(want, file.data + at + head[1], head[2] * sizeof *want);
		quant_row(head[0], block, head[2], got);
		for (uint32_t i = 0; i < head[2]; i++)
			CHECK_MSG(got[i] == want[i] || (isnan(got[i]) && isnan(want[i])), "%s weight %u: %a, want %a",
				quant_name(head[0]), i, (double)got[i], (double)want[i]);
		free(block);
		free(want);
		free(got);
		at += head[1] + head[2] * sizeof(float);
		types++;
	}
	CHECK_INT(types, 11);
	buf_clear(&file);
}
