/* random.h: the random values of the kernels' tests: xorshift64 (Marsaglia 2003), of each file that includes it its own and from
 * the same seed, so that a test tries the same ones every time. */
#ifndef TESTS_NN_RANDOM_H
#define TESTS_NN_RANDOM_H
#include <stdint.h>

static uint64_t rng = 88172645463325252u;

static inline uint32_t random_bits(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 24);
}

static inline float random_float(void)   /* -1 … 1 */
{
	return (float)((int32_t)random_bits() >> 8) / (float)(1 << 23);
}

static inline uint16_t random_half(void) /* finite: 2^-14 … 2, either sign, now and then subnormal or 0 */
{
	uint32_t r = random_bits();
	return (uint16_t)((r & 0x83ff) | (r >> 16 & 15) << 10);
}

#endif
