/* gemm8.h: the kernels of an encoder in int8, behind one table per instruction set: products of int8 activations and
 * int8 weights, and what lies between the products.
 *
 * Weights have one scale an output, activations one a row (a token), both symmetric; sums of products are exact
 * integers, and every float operation around them is written down below in one order. So a row has the same bits
 * whoever shares its call, on every CPU: gemm8_plain.c is the specification in plain loops, and the others equal it
 * bit for bit.
 *
 * Sizes: vectors of floats are padded with zeros to a multiple of GEMM8_LANES (n16 below), bytes along k to a multiple
 * of GEMM8_K. Lane sums: term i goes to lane i mod 16, in order of i; then lane l takes lane l+8, l+4, l+2, l+1.
 * Buffers of rows may be read (not written) up to the next multiple of GEMM8_ROWS rows.
 * Method: Dettmers et al. 2022 (a scale a row and a column), Zhang et al. 2025 (SageAttention: the two products of
 * attention in int8).
 * Threads: kernels have no state; callers split rows, panels or heads over threads and give each its own scratch. Each
 * thread calls `enter` before its first kernel of a piece of work, and `leave` after its last. */
#ifndef NN_GEMM8_H
#define NN_GEMM8_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum {
	GEMM8_LANES = 16,      /* outputs of a panel */
	GEMM8_K = 64,
	GEMM8_ROWS = 32,
	GEMM8_ZERO = 128       /* an activation q is stored as the byte q + 128 */
};

enum gemm8_act { GEMM8_NONE, GEMM8_GELU, GEMM8_GELU_TANH, GEMM8_RELU };

/* Weights (outputs, k), packed once. Panel p holds outputs 16p to 16p+15 as [k/4][16][4] bytes, q from -127 to 127:
 * what VPDPBUSD and an AMX tile want. */
struct gemm8_matrix {
	size_t panels, k;      /* k: a multiple of GEMM8_K */
	int8_t *data;          /* (panels, k/4, 16, 4); borrowed */
	int32_t *start;        /* (16 panels): -128 times the sum of the output's q */
	float *scale, *bias;   /* (16 panels) */
};

/* Bytes of data that outputs by k weights take; a multiple of 64. */
size_t gemm8_bytes(size_t outputs, size_t k);
/* w (outputs, k) row-major with any k; bias (outputs). Copies, the weights to data: gemm8_bytes bytes of the caller's,
 * 64-byte aligned, borrowed until gemm8_clear. q = round(w / scale), scale = max|w| / 127 of the output. E_MEMORY; *m is
 * then empty. */
int gemm8_pack(struct gemm8_matrix *m, const float *w, const float *bias, size_t outputs, size_t k, int8_t *data,
	struct err *e);
void gemm8_clear(struct gemm8_matrix *m);      /* an all-zero one is allowed */

struct gemm8_norm { const float *gamma, *beta; float eps; };   /* (n16), zero behind dim */

/* One head of one text, from its first row on. dv: the head's dimension padded to GEMM8_LANES. */
struct gemm8_head {
	const uint8_t *q, *k;  /* quants of dv values, without padding to GEMM8_K; rows `ld8` bytes apart. Up to GEMM8_K
	                        * bytes of each row of q may be read, whatever they are */
	const float *q_scale, *k_scale; /* a row's is `lds` floats behind the one before */
	const float *v;        /* dv floats a row, `ldv` floats apart */
	size_t ld8, lds, ldv;
	size_t rows, dim;      /* dim: unpadded */
	float *out;            /* dv floats a row, `ldo` floats apart; may be v */
	size_t ldo;
};

struct gemm8 {
	const char *name;
	void (*enter)(void);
	void (*leave)(void);
	/* Each of the vectors x (count, n16) to k bytes and a scale: m = max|x|; scale = m * (1/127), q = round to even(x *
	 * (127 / m)), both 0 when m is under 1e-30; k is n16 or more, bytes behind n16 are GEMM8_ZERO. */
	void (*quant)(const float *x, size_t count, size_t n16, size_t k, uint8_t *q, float *scales);
	/* In place: x = layer_norm(x + add) * gamma + beta over dim values (add NULL: of x), and its quant as above. With
	 * lane sums: mean = sum(x) / dim, var = sum((x - mean)^2) / dim (fma), x = fma((x - mean) * (1 / sqrt(var + eps)),
	 * gamma, beta). */
	void (*norm)(float *x, const float *add, size_t dim, const struct gemm8_norm *n, size_t k, uint8_t *q, float *scale);
	/* y[r*ldy + i] = act(fma((float)sum, scales[r] * w->scale[i], w->bias[i])) for the outputs i of panels p0 to p1, and
	 * rows of a (rows, w->k) bytes. GELU: x * max(0, fma(t, p(t*t), 1/2)), t = x held between -4.5 and 4.5, p a polynomial of
	 * degree 9 (Horner, fma): within 1e-4 of the function of the name for |x| <= 100, and 2e-6 |x| beyond. */
	void (*linear)(const struct gemm8_matrix *w, size_t p0, size_t p1, const uint8_t *a, const float *scales, size_t rows,
		enum gemm8_act act, float *y, size_t ldy);
	/* softmax(q k' / sqrt(dim)) v over all rows of the text; v is rounded with one scale a column. Weights of a row: 255 * 2^(s - max s), rounded to bytes, divided by their sum.
	 * scratch: gemm8_attend_bytes(rows, dim) bytes, 64-byte aligned. */
	void (*attend)(const struct gemm8_head *h, void *scratch);
};

extern const struct gemm8 gemm8_plain, gemm8_avx2, gemm8_avxvnni, gemm8_vnni, gemm8_amx;

/* name NULL or "auto": the best this CPU has. E_UNSUPPORTED: the CPU lacks it; E_USAGE: no such table. */
int gemm8_choose(const struct gemm8 **out, const char *name, struct err *e);
size_t gemm8_attend_bytes(size_t rows, size_t dim);

#endif
