/* cblas.h: the one product that nn/dense.c calls, in plain loops, for `make gpu-check` on machines without OpenBLAS: there the encoder in fp32 is
 * only a yardstick. Programs for use have OpenBLAS. Threads: no state. */
#ifndef TESTS_GPU_CBLAS_H
#define TESTS_GPU_CBLAS_H
#include <stddef.h>

typedef int blasint;
enum { CblasRowMajor = 101, CblasNoTrans = 111, CblasTrans = 112 };

static inline void openblas_set_num_threads(int n) { (void)n; } /* it runs in the caller's */

/* c (m, n) = alpha a b + beta c, rows lda, ldb, ldc apart; b (k, n), or (n, k) transposed. a is never transposed here. */
static inline void cblas_sgemm(int order, int ta, int tb, blasint m, blasint n, blasint k, float alpha, const float *a, blasint lda, const float *b,
	blasint ldb, float beta, float *c, blasint ldc)
{
	(void)order, (void)ta;
	for (ptrdiff_t i = 0; i < m; i++)
		for (ptrdiff_t j = 0; j < n; j++) {
			float sum = 0;
			for (ptrdiff_t l = 0; l < k; l++) sum += a[i * lda + l] * (tb == CblasTrans ? b[j * ldb + l] : b[l * ldb + j]);
			c[i * ldc + j] = alpha * sum + (beta != 0 ? beta * c[i * ldc + j] : 0);
		}
}

#endif
