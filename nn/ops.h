/* ops.h: the kernels of a decoder-only transformer, behind one table per instruction set.
 *
 * ops_ref.c is the specification in plain loops; the others are tested against it. Every kernel is batch-invariant:
 * an output element has the same bits whoever shares its call (other tokens, other rows, another split over threads),
 * because its terms are always added in the same order. Tables differ from each other within rounding.
 * Activations are fp32; weights are unpacked to fp32 as they lie in the file (nn/quant.h).
 * Threads: kernels have no state; callers split rows, tokens or heads over threads and give each its own scratch. */
#ifndef NN_OPS_H
#define NN_OPS_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct matrix {                /* rows of k weights, one behind the other */
	uint32_t type;         /* enum quant_type */
	size_t rows, k;        /* k is a multiple of OPS_ALIGN and of the type's block */
	const uint8_t *data;   /* borrowed */
	size_t row_bytes;
};

enum {
	OPS_ALIGN = 32,        /* lengths of rows and vectors are multiples of this */
	OPS_HEAD_ALIGN = 16,   /* head_dim is a multiple of this */
	OPS_TOKENS = 64,       /* most tokens in one matmul */
	OPS_TILE_ROWS = 32,    /* rows unpacked at a time: split rows over threads in multiples of this */
	OPS_TILE_K = 256,
	OPS_LANES_MAX = 16
};

struct ops {
	const char *name;
	/* y[t*ldy + r] = sum over i of w[r][i] * x[t*ldx + i], for rows r0 <= r < r1 and tokens t < n <= OPS_TOKENS.
	 * scratch: ops_scratch_floats(k) floats, 64-byte aligned, one a thread. */
	void (*matmul)(const struct matrix *w, size_t r0, size_t r1, const float *x, size_t ldx, size_t n, float *y,
		size_t ldy, float *scratch);
	/* Root mean square norm (Zhang & Sennrich 2019): y[i] = x[i] / sqrt(mean(x^2) + eps) * w[i]. y may be x; n is a
	 * multiple of OPS_HEAD_ALIGN. */
	void (*norm)(const float *x, const float *w, size_t n, float eps, float *y);
	/* SwiGLU (Shazeer 2020): out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]. out may be gate. */
	void (*silu_mul)(const float *gate, const float *up, size_t n, float *out);
	/* GeGLU (Shazeer 2020) with the tanh form of GELU (Hendrycks & Gimpel 2016), as Gemma has it:
	 * out[i] = gate/2 * (1 + tanh(sqrt(2/pi) * (gate + 0.044715 gate^3))) * up. out may be gate. */
	void (*gelu_mul)(const float *gate, const float *up, size_t n, float *out);
	/* One query of one head over n >= 1 keys: out = softmax(scale * q·k) v. k, v: n rows of head_dim, packed.
	 * scores: n + OPS_LANES_MAX floats of work space. */
	void (*attend)(const float *q, const float *k, const float *v, size_t n, size_t head_dim, float scale,
		float *scores, float *out);
};

extern const struct ops ops_ref, ops_avx2, ops_avx512;

/* name NULL or "auto": the best this CPU has. E_UNSUPPORTED: the CPU lacks it (the least is AVX2, FMA and F16C; "ref"
 * runs without); E_USAGE: no such table. */
int ops_choose(const struct ops **out, const char *name, struct err *e);
size_t ops_scratch_floats(size_t k_max);

#endif
