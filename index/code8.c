/* code8.c: owns the int8 form of vectors, the bound on its error, and the choice of a kernel.
 *
 * Method: scale = max|x| / 127, c = x / scale rounded, so x = s c + r and q = t d + p. Then
 *   q x = t s (d c) + p (s c) + q r,  so  |q x - t s (d c)| <= |p| |s c| + |q| |r|   (Cauchy-Schwarz).
 * d c is a whole number and exact (65536 * 255 * 127 < 2^31). |r| and |s c| are measured when a vector is encoded, |p|
 * and |q| of the query, in doubles and rounded up. What the compared value, flat_dot, itself rounds is at most
 * dim 2^-24 |q| |x| (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); twice that, with sixteen more for
 * the few operations here, is added. The bytes are c + 128 because VPDPBUSD multiplies unsigned by signed; what the
 * 128 adds is the same for all rows, and taken off.
 * Threads: no state. Failure: memory of a query alone. */
#include "index/code8.h"
#include <cpuid.h>
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "base/mem.h"

enum { STEP = 64, TOP = 127, ZERO = 128, BATCH = 64 };

size_t code8_pad(uint32_t dim)
{
	return ((size_t)dim + STEP - 1) / STEP * STEP;
}

size_t code8_size(uint32_t dim)
{
	return code8_pad(dim) + sizeof(struct code8_tail);
}

/* A double as a float that is not less. */
static float up(double x)
{
	float f = (float)x;
	return (double)f < x ? nextafterf(f, INFINITY) : f;
}

/* Eight components from place i on, zeros beyond dim. */
__attribute__((target("avx2,fma"))) static __m256 eight(const float *x, uint32_t dim, uint32_t i)
{
	float rest[8] = { 0 };
	if (i + 8 <= dim) return _mm256_loadu_ps(x + i);
	memcpy(rest, x + i, (dim - i) * sizeof *rest);
	return _mm256_loadu_ps(rest);
}

__attribute__((target("avx2,fma"))) static double sum4(__m256d v)
{
	double x[4];
	memcpy(x, &v, sizeof x);
	return x[0] + x[1] + x[2] + x[3];
}

/* Components to whole numbers, c up to the next multiple of eight; *scale, and the lengths of what they stand for and of
 * what is lost. What is no number (a damaged vector) makes a length that is none. */
__attribute__((target("avx2,fma"))) static void quantise(int8_t *c, const float *x, uint32_t dim, float *scale,
	double *length, double *lost)
{
	__m256 top = _mm256_setzero_ps(), by, sign = _mm256_set1_ps(-0.0f);
	__m256d l = _mm256_setzero_pd(), r = l, step;
	float tops[8], most = 0;
	for (uint32_t i = 0; i < dim; i += 8) top = _mm256_max_ps(_mm256_andnot_ps(sign, eight(x, dim, i)), top);
	_mm256_storeu_ps(tops, top);
	for (int i = 0; i < 8; i++) most = tops[i] > most ? tops[i] : most;
	*scale = most / TOP;
	by = _mm256_set1_ps(*scale > 0 ? fminf(TOP / most, FLT_MAX) : 0);
	step = _mm256_set1_pd((double)*scale);
	for (uint32_t i = 0; i < dim; i += 8) {
		__m256 v = eight(x, dim, i);
		__m256i q = _mm256_max_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(v, by)), _mm256_set1_epi32(-TOP));
		__m128i low = _mm256_castsi256_si128(q), high = _mm256_extracti128_si256(q, 1);
		__m256d keep[2] = { _mm256_mul_pd(step, _mm256_cvtepi32_pd(low)), _mm256_mul_pd(step, _mm256_cvtepi32_pd(high)) };
		__m256d rest[2] = { _mm256_sub_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(v)), keep[0]),
			_mm256_sub_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)), keep[1]) };
		for (int h = 0; h < 2; h++) {
			l = _mm256_fmadd_pd(keep[h], keep[h], l);
			r = _mm256_fmadd_pd(rest[h], rest[h], r);
		}
		low = _mm_packs_epi32(low, high);
		_mm_storel_epi64((__m128i *)(c + i), _mm_packs_epi16(low, low));
	}
	*length = sqrt(sum4(l)) * (1 + 1e-9);
	*lost = sqrt(sum4(r)) * (1 + 1e-9);
}

void code8_encode(uint8_t *row, const float *x, uint32_t dim)
{
	size_t len = code8_pad(dim);
	struct code8_tail t;
	double length, lost;
	quantise((int8_t *)row, x, dim, &t.scale, &length, &lost);
	for (uint32_t i = 0; i < dim; i++) row[i] ^= ZERO;
	memset(row + dim, ZERO, len - dim);
	t.lost = up(lost);
	t.length = up(length);
	memcpy(row + len, &t, sizeof t);
}

void code8_decode(float *x, const uint8_t *row, uint32_t dim)
{
	struct code8_tail t;
	memcpy(&t, row + code8_pad(dim), sizeof t);
	for (uint32_t i = 0; i < dim; i++) x[i] = t.scale * (float)((int)row[i] - ZERO);
}

int code8_query_init(struct code8_query *q, const float *x, uint32_t dim, struct err *e)
{
	int rc = code8_choose(&q->kernel, NULL, e);
	q->len = code8_pad(dim);
	q->dim = dim;
	q->code = rc ? NULL : mem_aligned(STEP, q->len);
	if (rc) return rc;
	if (!q->code) return err_set(e, E_MEMORY, "search: out of memory");
	memset(q->code, 0, q->len);
	code8_query_again(q, x);
	return OK;
}

void code8_query_again(struct code8_query *q, const float *x)
{
	double length, lost, norm = 0, more = ((double)q->dim + 16) * FLT_EPSILON;
	quantise(q->code, x, q->dim, &q->scale, &length, &lost);
	q->shift = 0;
	for (uint32_t i = 0; i < q->dim; i++) {
		q->shift += ZERO * q->code[i];
		norm += (double)x[i] * x[i];
	}
	norm = sqrt(norm) * (1 + 1e-9);
	q->norm = up(norm * (1 + more));
	q->rounding = up(norm * more);
	q->rest = up(lost + (double)q->rounding);
	q->x = x;
}

void code8_query_row(struct code8_query *q, const uint8_t *row)
{
	struct code8_tail t;
	q->shift = 0;
	for (size_t i = 0; i < q->len; i++) {
		q->code[i] = (int8_t)(row[i] ^ ZERO);
		q->shift += ZERO * q->code[i];
	}
	memcpy(&t, row + q->len, sizeof t);
	q->scale = t.scale;
	q->x = NULL;
}

void code8_query_clear(struct code8_query *q)
{
	mem_free(q->code);
	q->code = NULL;
}

void code8_near(const struct code8_query *q, const uint8_t *rows, size_t stride, const uint32_t *at, size_t n,
	float *near, float *off)
{
	int32_t sum[BATCH];
	for (size_t from = 0; from < n; from += BATCH) {
		size_t some = n - from < BATCH ? n - from : BATCH;
		q->kernel->dots(q->code, rows, stride, at + from, some, q->len, sum);
		for (size_t i = 0; i < some; i++) {
			struct code8_tail t;
			memcpy(&t, rows + at[from + i] * stride + q->len, sizeof t);
			near[from + i] = (float)((double)q->scale * t.scale * (sum[i] - q->shift));
			if (!off) continue;
			off[from + i] = (q->norm * t.lost + q->rest * t.length) * (1 + 8 * FLT_EPSILON) + FLT_MIN;
			if (!(fabsf(near[from + i]) < FLT_MAX / 4)) off[from + i] = INFINITY; /* the other may have overflowed */
		}
	}
}

__attribute__((target("avx2,fma"))) void code8_nearer(const struct code8_query *q, const uint8_t *row, float *near,
	float *off)
{
	__m256 a = _mm256_setzero_ps(), b = a;
	float sums[8];
	double sum = 0;
	struct code8_tail t;
	for (uint32_t i = 0; i < q->dim; i += 16) { /* rows and codes are padded further than that */
		__m128i c = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(row + i)), _mm_set1_epi8((char)ZERO));
		a = _mm256_fmadd_ps(eight(q->x, q->dim, i), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(c)), a);
		if (i + 8 >= q->dim) break;
		c = _mm_srli_si128(c, 8);
		b = _mm256_fmadd_ps(eight(q->x, q->dim, i + 8), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(c)), b);
	}
	_mm256_storeu_ps(sums, _mm256_add_ps(a, b));
	for (int i = 0; i < 8; i++) sum += (double)sums[i];
	memcpy(&t, row + q->len, sizeof t);
	*near = (float)(sum * t.scale);
	*off = (q->norm * t.lost + 2 * q->rounding * t.length) * (1 + 8 * FLT_EPSILON) + FLT_MIN;
	if (!(fabsf(*near) < FLT_MAX / 4)) *off = INFINITY;
}

/* ---- kernels ---- */

static void dots_plain(const int8_t *q, const uint8_t *rows, size_t stride, const uint32_t *at, size_t n, size_t len,
	int32_t *out)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *row = rows + at[i] * stride;
		out[i] = 0;
		for (size_t j = 0; j < len; j++) out[i] += row[j] * q[j];
	}
}

const struct code8_kernel code8_plain = { "plain", dots_plain };

static int plain_ok(void)
{
	return 1;
}

static int avx2_ok(void)
{
	return __builtin_cpu_supports("avx2") != 0;
}

enum { AVXVNNI_EAX = 1 << 4 }; /* CPUID leaf 7, subleaf 1 */

static int avxvnni_ok(void)
{
	unsigned a, b, c, d;
	return avx2_ok() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVXVNNI_EAX);
}

static int vnni_ok(void)
{
	return avx2_ok() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
}

int code8_choose(const struct code8_kernel **out, const char *name, struct err *e)
{
	static const struct { const struct code8_kernel *kernel; int (*ok)(void); } all[] = {
		{ &code8_vnni, vnni_ok }, { &code8_avxvnni, avxvnni_ok }, { &code8_avx2, avx2_ok }, { &code8_plain, plain_ok } };
	*out = NULL;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if (name && strcmp(name, all[i].kernel->name) != 0) continue;
		if (all[i].ok()) {
			*out = all[i].kernel;
			return OK;
		}
		if (name) return err_set(e, E_UNSUPPORTED, "kernel \"%s\": this CPU lacks it", name);
	}
	return err_set(e, E_USAGE, "kernel \"%.40s\": there are vnni, avxvnni, avx2 and plain", name ? name : "");
}
