/* dense.h: fp32 building blocks of a transformer encoder. Matrices are row-major; (r, c) in a comment is rows, columns;
 * a leading dimension (lda..) is the floats from one row to the next. All sizes are below 2^31.
 *
 * Products go through OpenBLAS, which this file alone calls, and which it holds to one thread for the whole process:
 * work is shared out by a struct team instead, so that every caller has the threads it was given and no others, and a
 * product of one caller never waits for the pool of another. `t` may be NULL: the caller alone. No function
 * allocates. Outputs must not overlap inputs unless it says "in place".
 *
 * A row's result depends on the number of rows beside it by rounding alone (the order of sums in OpenBLAS).
 * Thread: reentrant; one call at a time per team. */
#ifndef NN_DENSE_H
#define NN_DENSE_H
#include <stddef.h>
#include "base/team.h"

enum dense_act { DENSE_NONE, DENSE_GELU, DENSE_GELU_TANH, DENSE_RELU };

/* c (m, n) = alpha * a (m, k) * b^T + beta * c, with b (n, k): the layout of a linear layer's weights. */
void dense_gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
	float beta, float *c, size_t ldc);
/* c (m, n) = alpha * a (m, k) * b (k, n) + beta * c. */
void dense_gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
	float beta, float *c, size_t ldc);

/* y (rows, out) = act(x (rows, in) * w^T + bias), w (out, in), bias (out) or NULL. */
void dense_linear(struct team *t, const float *x, size_t rows, size_t in, const float *w, const float *bias, size_t out,
	enum dense_act act, float *y);
/* In place: each row of x (rows, dim) becomes layer_norm(x + add) * gamma + beta; add (rows, dim) or NULL.
 * Ba, Kiros & Hinton 2016; variance over dim, epsilon inside the root. */
void dense_add_norm(struct team *t, float *x, const float *add, size_t rows, size_t dim, const float *gamma,
	const float *beta, float eps);
/* In place. GELU: x/2 (1 + erf(x / sqrt 2)), Hendrycks & Gimpel 2016, with erf to 2e-7; GELU_TANH: its tanh form. */
void dense_activate(enum dense_act act, float *x, size_t n);
/* In place: softmax of each row of x (rows, n), ld floats apart. Values are finite. */
void dense_softmax(float *x, size_t rows, size_t n, size_t ld);

/* Self-attention of packed texts, no mask: rows starts[i] to starts[i+1] of qkv (rows, 3*heads*head_dim; queries, keys,
 * values side by side, heads within each) are text i. out (rows, heads*head_dim). Vaswani et al. 2017, scaled by
 * 1/sqrt(head_dim). scratch: dense_attention_scratch(longest text, team) floats. */
void dense_attention(struct team *t, const float *qkv, const size_t *starts, size_t texts, size_t heads,
	size_t head_dim, float *scratch, float *out);
size_t dense_attention_scratch(size_t longest, const struct team *t);

#endif
