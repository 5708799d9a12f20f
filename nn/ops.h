/* ops.h: the kernels of a decoder-only transformer, behind one table per instruction set.
 *
 * ops_ref.c is the specification in plain loops; the others are tested against it. Every kernel is batch-invariant:
 * an output element has the same bits whoever shares its call (other tokens, other rows, another split over threads),
 * because its terms are always added in the same order. Tables differ from each other within rounding.
 * Float products (matmul): activations are fp32; weights are F32, F16 or BF16 as they lie in the file (nn/quant.h).
 *
 * Integer products (act, mul): weights are packed (nn/pack.h), exactly as the file has them; activations are int8 in
 * groups of 32 along k. Every table has the same bits, those of ops_plain_act and ops_plain_mul:
 *   a group of x: max = largest |x|; scale = max / 127, q[i] = x[i] * (127 / max) to the nearest, ties to even. A
 *     group whose max is under 2^-100 is all zero; one with an infinity or a NaN has every q 0 and that as its
 *     scale, so that what it touches becomes NaN.
 *   y[r] = acc after all groups, ascending, from acc = 0:
 *     isum = sum over the group's 32 of (w - zero) * q, an exact integer;
 *     acc = fma((float)isum, wscale * scale, acc); Q6_K: so for the first 16 of the group, then for the others, each
 *       with its own wscale; then, for types with a min,
 *     acc = fma(-min, scale * (float)(sum of q), acc).
 *   wscale and min are exact floats (pack.h); every product that stands alone is rounded once.
 *
 * Products of prompts (prompt_act, prompt_mul): with AMX other numbers, elsewhere the same as act and mul. With AMX,
 * activations and weights are bfloat16 and sums floats (ops_plain_prompt_mul), which is nearer to exact activations
 * than int8; every operation rounds to nearest, ties to even, and takes and makes 0 for what is subnormal:
 *   w = bf16(fma(m + q, wscale, fma(-(m + zero), wscale, -min))), m = 32768 for Q8_0 and 128 for the other types;
 *   y[r] = acc after all groups of 32 k, ascending, from acc = 0:
 *     even = sum over the group's even k, ascending, of even = fma(x, w, even), from 0; odd likewise;
 *     acc = acc + (even + odd).
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
	OPS_PROMPT_TOKENS = 16, OPS_PROMPT_PAD = 16,
	OPS_TILE_ROWS = 32,    /* rows unpacked at a time: split rows over threads in multiples of this */
	OPS_TILE_K = 256,
	OPS_LANES_MAX = 16
};

struct packed;                 /* nn/pack.h */
struct act_group {             /* 32 activations */
	int8_t q[32];
	float scale, sum;      /* sum: scale * (float)(sum of q) */
	int32_t minus[3];      /* -(sum of q): of the first 16, of the others, of all */
};

/* Keys and values of one head of one sequence, as IEEE halves in pages of `len` positions: page i of the sequence is at
 * base + page[i] * stride, first the keys of its positions, then their values, head_dim halves each. */
struct ops_pages {
	const uint16_t *base;
	size_t stride, len;
	const uint32_t *page;  /* borrowed */
};

struct ops_attend {            /* consecutive tokens of a sequence, and the query heads that share a head of keys */
	const float *q;        /* head h of token t at q + t*ldq + h*head_dim */
	size_t ldq, tokens, heads, head_dim;
	size_t pos, window;    /* the first token's position; a token at p has the keys from p + 1 - window on, or with
	                          window 0 all, to p */
	const struct ops_pages *kv;
	float scale;
	float *out;            /* as q, ldo apart */
	size_t ldo;
};

struct ops {
	const char *name;
	/* y[t*ldy + r] = sum over i of w[r][i] * x[t*ldx + i], for rows r0 <= r < r1 and tokens t < n <= OPS_TOKENS.
	 * w of a float type; with ops_ref of any.
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
	/* out = softmax(scale * q·k) v for every query over the keys it has. A query's result does not depend on which
	 * others are in the call. scratch: ops_attend_floats(head_dim, most keys of a query) floats, 64-byte aligned, one a
	 * thread. */
	void (*attend)(const struct ops_attend *a, void *scratch);
	/* To IEEE halves, to nearest, ties to even; over 65504 becomes infinity. n is a multiple of OPS_HEAD_ALIGN. */
	void (*halves)(const float *x, size_t n, uint16_t *out);
	/* The integer products; NULL in ops_ref, the yardstick that stays in floats. A token's activations take
	 * act_bytes(k) bytes, aligned to 4. */
	size_t (*act_bytes)(size_t k);
	void (*act)(const float *x, size_t k, void *out);
	/* y[t*ldy + r] is row panel0*PACK_ROWS + r of p for token t: the rows of panels panel0 <= panel < panel1, tokens t < n,
	 * n >= 1; acts: n tokens, act_bytes(p->k) apart. scratch as for matmul. */
	void (*mul)(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y, size_t ldy,
		void *scratch);
	/* The same for tokens of prompts, whose activations lie together in prompt_bytes(k, n) bytes, aligned to 64:
	 * prompt_act puts there those of token t for the `count` of its k activations from `from` on, both multiples of 32;
	 * they are at x. n tokens of `acts` are the first n. y has room for whole OPS_TILE_ROWS rows, from panel0 on, and
	 * whole OPS_PROMPT_TOKENS tokens: what lies there beyond the panels and tokens asked for is overwritten. With AMX
	 * it is fastest where 4096 bytes are no multiple of ldy floats (OPS_PROMPT_PAD more than the rows). */
	size_t (*prompt_bytes)(size_t k, size_t n);
	void (*prompt_act)(const float *x, size_t from, size_t count, size_t k, size_t t, void *acts);
	void (*prompt_mul)(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y,
		size_t ldy, void *scratch);
	/* attend for prompts. With AMX values are rounded to bfloat16, scores good to 2^-15 of sum |q k| scale; elsewhere
	 * it is attend itself. */
	void (*prompt_attend)(const struct ops_attend *a, void *scratch);
};

extern const struct ops ops_ref, ops_avx2, ops_avx512, ops_vnni, ops_amx;

/* The specification of the integer products. */
size_t ops_plain_act_bytes(size_t k);
void ops_plain_act(const float *x, size_t k, void *out);
void ops_plain_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y,
	size_t ldy, void *scratch);
/* The specification of the products of prompts with AMX; activations in the layout of ops_amx. */
void ops_plain_prompt_act(const float *x, size_t from, size_t count, size_t k, size_t t, void *acts);
void ops_plain_prompt_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y,
	size_t ldy, void *scratch);

/* name NULL or "auto": the best this CPU has. E_UNSUPPORTED: the CPU lacks it (the least is AVX2, FMA and F16C; "ref"
 * runs without); E_USAGE: no such table. */
int ops_choose(const struct ops **out, const char *name, struct err *e);
size_t ops_scratch_floats(size_t k_max);
size_t ops_attend_floats(size_t head_dim, size_t keys);

#endif
