/* cuda_host_mma.h: how the emulator's tensor cores add (cuda_host.h says after whom), four columns at a time. */
#ifndef TESTS_NN_CUDA_HOST_MMA_H
#define TESTS_NN_CUDA_HOST_MMA_H
#include <immintrin.h>

enum { MMA_DEEP = 8, MMA_BITS = 24 };

/* Eight columns of a row: d += a b over MMA_DEEP of k, four columns at a time in doubles. All that is added is cut to MMA_BITS bits below the
 * largest's first, and what comes of it to a float. */
static inline void mma_add(float d[8], const float *a, const float (*b)[8])
{
	const __m256d exponent = _mm256_castsi256_pd(_mm256_set1_epi64x(0x7ff0000000000000)), all = _mm256_set1_pd(0x1p1000),
		bits = _mm256_set1_pd(static_cast<double>(1u << MMA_BITS)), kept = _mm256_castsi256_pd(_mm256_set1_epi64x(~0x1fffffffll));
	for (int j = 0; j < 8; j += 4) {
		__m256d x[MMA_DEEP + 1], most, sum, plain;
		x[MMA_DEEP] = plain = _mm256_cvtps_pd(_mm_loadu_ps(d + j));
		most = _mm256_and_pd(x[MMA_DEEP], exponent);
		for (int k = 0; k < MMA_DEEP; k++) {
			x[k] = _mm256_mul_pd(_mm256_set1_pd(static_cast<double>(a[k])), _mm256_cvtps_pd(_mm_loadu_ps(b[k] + j)));
			most = _mm256_max_pd(_mm256_and_pd(x[k], exponent), most);
			plain = _mm256_add_pd(plain, x[k]);
		}
		const __m256d unit = _mm256_div_pd(most, bits), one = _mm256_div_pd(bits, most);
		sum = _mm256_setzero_pd();
		for (int k = 0; k <= MMA_DEEP; k++) sum = _mm256_add_pd(sum, _mm256_round_pd(_mm256_mul_pd(x[k], one), _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
		sum = _mm256_and_pd(_mm256_mul_pd(sum, unit), kept);
		/* nothing but zeros, or what is no number */
		sum = _mm256_blendv_pd(plain, sum, _mm256_and_pd(_mm256_cmp_pd(most, _mm256_setzero_pd(), _CMP_GT_OQ), _mm256_cmp_pd(most, all, _CMP_LT_OQ)));
		_mm_storeu_ps(d + j, _mm256_cvtpd_ps(sum));
	}
}

#endif
