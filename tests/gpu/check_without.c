/* check_without.c: what stands in for libraries that a machine with a GPU may lack (tools/gpu_check.sh) does as they do. */
#include "base/hash.h"
#include "nn/dense.h"
#include "tests/gguf_make.h"
#include "tests/gpu/without_openblas/cblas.h"
#include "tests/gpu/without_openssl/openssl/sha.h"
#include "tests/test.h"

TEST(without_openssl)
{
	uint8_t data[300], got[32], want[32];
	for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 37);
	for (size_t n = 0; n <= sizeof data; n++) {
		SHA256_CTX c;
		SHA256_Init(&c);
		SHA256_Update(&c, data, n / 3);
		SHA256_Update(&c, data + n / 3, n - n / 3);
		SHA256_Final(got, &c);
		sha256_of(data, n, want);
		CHECK_MSG(memcmp(got, want, sizeof got) == 0, "%zu bytes", n);
	}
}

TEST(without_openblas)
{
	enum { M = 5, N = 7, K = 11 };
	float a[M * K], b[N * K], got[M * N], want[M * N];
	random_weights(1, "a", M * K, 1, a);
	random_weights(1, "b", N * K, 1, b);
	for (int transposed = 0; transposed < 2; transposed++) {
		for (int i = 0; i < M * N; i++) got[i] = want[i] = (float)i;
		cblas_sgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasTrans : CblasNoTrans, M, N, K, 0.5f, a, K, b, transposed ? K : N, 2, got, N);
		(transposed ? dense_gemm_nt : dense_gemm_nn)(M, N, K, 0.5f, a, K, b, transposed ? K : N, 2, want, N);
		for (int i = 0; i < M * N; i++) CHECK_MSG(got[i] - want[i] < 1e-4f && want[i] - got[i] < 1e-4f, "%d: %g, not %g", i, (double)got[i], (double)want[i]);
	}
}
