/* quant.h: the weight types of GGUF files that Footnote reads, as they lie in the file (ggml's block formats), and the
 * plain way from a row of them to floats. Little-endian, no padding; 16-bit scales are IEEE half floats.
 * Formats after ggml-common.h's layout and docs/gguf.md of the ggml project. */
#ifndef NN_QUANT_H
#define NN_QUANT_H
#include <stddef.h>
#include <stdint.h>

enum quant_type {           /* numbers as GGUF files carry them */
	QUANT_F32 = 0,
	QUANT_F16 = 1,
	QUANT_Q4_0 = 2,
	QUANT_Q4_1 = 3,
	QUANT_Q5_0 = 6,
	QUANT_Q5_1 = 7,
	QUANT_Q8_0 = 8,
	QUANT_Q4_K = 12,
	QUANT_Q5_K = 13,
	QUANT_Q6_K = 14,
	QUANT_BF16 = 30         /* the upper half of a float */
};
enum { QUANT_BLOCK_MAX = 256 };

struct block_q4_0 {         /* 32 weights: d*(q-8), q 0…15 */
	uint16_t d;
	uint8_t qs[16];     /* as in q4_1 */
};
struct block_q4_1 {         /* 32 weights: d*q + m, q 0…15 */
	uint16_t d, m;
	uint8_t qs[16];     /* weight i in the low half of byte i, weight i+16 in the high half */
};
struct block_q5_0 {         /* 32 weights: d*(q-16), q 0…31 */
	uint16_t d;
	uint8_t qh[4];      /* bit i: the fifth bit of weight i */
	uint8_t qs[16];     /* as in q4_1 */
};
struct block_q5_1 {         /* 32 weights: d*q + m, q 0…31 */
	uint16_t d, m;
	uint8_t qh[4];      /* as in q5_0 */
	uint8_t qs[16];     /* as in q4_1 */
};
struct block_q8_0 {         /* 32 weights: d*q */
	uint16_t d;
	int8_t qs[32];
};
struct block_q4_k {         /* 256 weights in 8 parts of 32: d*scale*q - dmin*min, q 0…15 */
	uint16_t d, dmin;
	uint8_t scales[12]; /* 8 scales and 8 mins of 6 bits (quant_q4_k_scale) */
	uint8_t qs[128];    /* 32 bytes a pair of parts: the low halves are the even part, the high halves the odd one */
};
struct block_q5_k {         /* 256 weights in 8 parts of 32: d*scale*q - dmin*min, q 0…31 */
	uint16_t d, dmin;
	uint8_t scales[12]; /* as in q4_k */
	uint8_t qh[32];     /* bit p of byte j: the fifth bit of weight j of part p */
	uint8_t qs[128];    /* as in q4_k */
};
struct block_q6_k {         /* 256 weights in 16 parts of 16: d*scale*(q-32), q 0…63 */
	uint8_t ql[128];    /* low four bits: a half of the block takes 64 bytes, its quarters low, low, high, high */
	uint8_t qh[64];     /* high two bits, 32 bytes a half of the block */
	int8_t scales[16];
	uint16_t d;
};
_Static_assert(sizeof(struct block_q4_0) == 18, "Q4_0 block is 18 bytes");
_Static_assert(sizeof(struct block_q4_1) == 20, "Q4_1 block is 20 bytes");
_Static_assert(sizeof(struct block_q5_0) == 22, "Q5_0 block is 22 bytes");
_Static_assert(sizeof(struct block_q5_1) == 24, "Q5_1 block is 24 bytes");
_Static_assert(sizeof(struct block_q8_0) == 34, "Q8_0 block is 34 bytes");
_Static_assert(sizeof(struct block_q4_k) == 144, "Q4_K block is 144 bytes");
_Static_assert(sizeof(struct block_q5_k) == 176, "Q5_K block is 176 bytes");
_Static_assert(sizeof(struct block_q6_k) == 210, "Q6_K block is 210 bytes");

const char *quant_name(uint32_t type);      /* "Q4_K" …; also for ggml types not read here; "unknown"; static */
int quant_supported(uint32_t type);         /* 1: one of enum quant_type */
size_t quant_block_weights(uint32_t type);  /* weights in a block: 1, 32 or 256; 0 when not supported */
size_t quant_block_bytes(uint32_t type);    /* 0 when not supported */
/* Bytes of a row of k weights, k a multiple of quant_block_weights(type). */
size_t quant_row_bytes(uint32_t type, size_t k);
/* out: (k) floats of the row at src (aligned to 2 bytes; F32 to 4); k a multiple of the block. Type must be
 * supported. */
void quant_row(uint32_t type, const void *src, size_t k, float *out);

float quant_half(uint16_t h);               /* IEEE half to float, infinities and NaN kept */
float quant_bf16(uint16_t h);               /* bfloat16 to float, likewise */
/* Scale and min of part j (0…7) of a Q4_K or Q5_K block. */
static inline void quant_q4_k_scale(const uint8_t s[12], int j, uint8_t *scale, uint8_t *min)
{
	if (j < 4) {
		*scale = s[j] & 63;
		*min = s[j + 4] & 63;
	} else {
		*scale = (uint8_t)((s[j + 4] & 15) | (s[j - 4] >> 6 << 4));
		*min = (uint8_t)((s[j + 4] >> 4) | (s[j] >> 6 << 4));
	}
}

#endif
