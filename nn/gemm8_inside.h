/* gemm8_inside.h: what the tables of gemm8.h share: sizes, constants, the scratch of attention. Of nn/gemm8* alone. */
#ifndef NN_GEMM8_INSIDE_H
#define NN_GEMM8_INSIDE_H
#include <stddef.h>
#include <stdint.h>
#include "nn/gemm8.h"

enum { GEMM8_GELU_TERMS = 10, GEMM8_EXP2_TERMS = 4 };
#define GEMM8_GELU_EDGE 4.5f
#define GEMM8_LOG2_E 1.44269504f
#define GEMM8_LOG2_255 7.99435344f
#define GEMM8_EXP2_LEAST -8.0f   /* under it a weight is no byte any more */

/* Highest power first. */
extern const float gemm8_gelu_erf[GEMM8_GELU_TERMS], gemm8_gelu_tanh[GEMM8_GELU_TERMS], gemm8_exp2[GEMM8_EXP2_TERMS];

/* The parts of attention's scratch, each 64-byte aligned. rows16, rows64: the text's rows padded; dk: the head's
 * dimension padded to GEMM8_K, dv to GEMM8_LANES. */
struct gemm8_attend {
	size_t rows16, rows64, dk, dv;
	size_t ldw, lds;                       /* from one row of weights, of sums, to the next */
	int8_t *keys, *values;                 /* (rows16/16, dk/4, 16, 4), (dv/16, rows64/4, 16, 4) */
	int32_t *key_start, *value_start;      /* (rows16), (dv) */
	float *key_scale, *value_scale;
	uint8_t *weights;                      /* (GEMM8_ROWS, ldw) */
	int32_t *sums;                         /* (GEMM8_ROWS, lds or dv) */
};

static inline size_t gemm8_pad(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* Lays the parts out in scratch (NULL: only the sum); the bytes that they take. */
size_t gemm8_attend_lay(struct gemm8_attend *s, size_t rows, size_t dim, void *scratch);

/* The scale of numbers of which the largest has the size top, and what they are multiplied by. */
static inline void gemm8_scales(float top, float *scale, float *by)
{
	int some = top >= 1e-30f;
	*scale = some ? top * (1.0f / 127) : 0;
	*by = some ? 127 / top : 0;
}

#endif
