/* dense.c: owns the calls to OpenBLAS and the AVX2 kernels of what lies between the products.
 *
 * Sharing out: a product is cut into a grid of tiles, columns first (each member then reads its own part of the
 * weights, which is what a short text is bound by), rows when columns would become narrow. Bias goes in before the
 * product (beta 1) and the activation runs on a tile while it is still in the cache. Attention is cut into (text,
 * head, block of query rows) units that members take from a counter: texts differ in length, a fixed share would not
 * balance; a block bounds the scratch to QUERY_BLOCK rows of scores for any length.
 *
 * exp is Cephes' expf (S. Moshier: range reduction by ln 2 in two parts, polynomial of degree 6), eight lanes at a
 * time; erf is 7.1.26 of Abramowitz & Stegun (error at most 1.5e-7), evaluated as 1 - erf for the negative side,
 * where the difference would cancel. AVX2 and FMA are the program's floor. A tail shorter than eight is copied through
 * a vector, so that a value's result does not depend on its place.
 *
 * Threads: nothing is kept but the once-only setting of OpenBLAS to one thread. Failure: none. */
#pragma GCC target("avx2,fma")
#include "nn/dense.h"
#include <cblas.h>
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { TILE_COLUMNS_MIN = 96, TILE_ROWS_MIN = 16, QUERY_BLOCK = 128, LANES = 8 };

static pthread_once_t blas_once = PTHREAD_ONCE_INIT;

static void blas_single(void)
{
	openblas_set_num_threads(1);
}

void dense_gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
	float beta, float *c, size_t ldc)
{
	pthread_once(&blas_once, blas_single);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda, b,
		(blasint)ldb, beta, c, (blasint)ldc);
}

void dense_gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
	float beta, float *c, size_t ldc)
{
	pthread_once(&blas_once, blas_single);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda, b,
		(blasint)ldb, beta, c, (blasint)ldc);
}

static void run(struct team *t, void (*fn)(void *, int, int), void *ctx)
{
	if (t && team_size(t) > 1) team_run(t, fn, ctx);
	else fn(ctx, 0, 1);
}

/* ---- eight lanes ---- */

static inline __m256 exp8(__m256 x)
{
	const __m256 one = _mm256_set1_ps(1);
	x = _mm256_max_ps(_mm256_min_ps(x, _mm256_set1_ps(88.0f)), _mm256_set1_ps(-87.3f));
	__m256 n = _mm256_mul_ps(x, _mm256_set1_ps(1.44269504f));
	n = _mm256_round_ps(n, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	x = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
	x = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), x);
	__m256 p = _mm256_set1_ps(1.9875691500e-4f);
	p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(1.3981999507e-3f));
	p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(8.3334519073e-3f));
	p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(4.1665795894e-2f));
	p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(1.6666665459e-1f));
	p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(5.0000001201e-1f));
	p = _mm256_fmadd_ps(p, _mm256_mul_ps(x, x), _mm256_add_ps(x, one));
	__m256i two_n = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
	return _mm256_mul_ps(p, _mm256_castsi256_ps(two_n));
}

static inline __m256 gelu8(__m256 x)
{
	const __m256 one = _mm256_set1_ps(1), sign = _mm256_set1_ps(-0.0f);
	__m256 z = _mm256_mul_ps(_mm256_andnot_ps(sign, x), _mm256_set1_ps(0.70710678f));
	__m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(z, _mm256_set1_ps(0.3275911f), one));
	__m256 p = _mm256_set1_ps(1.061405429f);
	p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-1.453152027f));
	p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(1.421413741f));
	p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-0.284496736f));
	p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(0.254829592f));
	__m256 erfc = _mm256_mul_ps(_mm256_mul_ps(p, t), exp8(_mm256_xor_ps(_mm256_mul_ps(z, z), sign)));
	__m256 sum = _mm256_blendv_ps(_mm256_sub_ps(_mm256_set1_ps(2), erfc), erfc, x); /* by the sign of x */
	return _mm256_mul_ps(_mm256_mul_ps(x, _mm256_set1_ps(0.5f)), sum);
}

/* x/2 (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3). Below -30 the result is 0 in float, but
 * exp8 stops at 88, where a large enough x would still show. */
static inline __m256 gelu_tanh8(__m256 x)
{
	x = _mm256_max_ps(x, _mm256_set1_ps(-30));
	__m256 cubic = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_mul_ps(x, x), x), _mm256_set1_ps(0.044715f), x);
	__m256 e = exp8(_mm256_mul_ps(cubic, _mm256_set1_ps(-1.5957691216f)));
	return _mm256_div_ps(x, _mm256_add_ps(e, _mm256_set1_ps(1)));
}

static inline __m256 relu8(__m256 x)
{
	return _mm256_max_ps(x, _mm256_setzero_ps());
}

static inline float sum8(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline __m256 load_tail(const float *p, size_t n)
{
	float lanes[LANES] = {0};
	memcpy(lanes, p, n * sizeof *p);
	return _mm256_loadu_ps(lanes);
}

static inline void store_tail(float *p, size_t n, __m256 v)
{
	float lanes[LANES];
	_mm256_storeu_ps(lanes, v);
	memcpy(p, lanes, n * sizeof *p);
}

#define EACH(x, n, fn) do { \
	size_t i_ = 0; \
	for (; i_ + LANES <= (n); i_ += LANES) _mm256_storeu_ps((x) + i_, fn(_mm256_loadu_ps((x) + i_))); \
	if (i_ < (n)) store_tail((x) + i_, (n) - i_, fn(load_tail((x) + i_, (n) - i_))); \
} while (0)

void dense_activate(enum dense_act act, float *x, size_t n)
{
	switch (act) {
	case DENSE_NONE: return;
	case DENSE_GELU: EACH(x, n, gelu8); return;
	case DENSE_GELU_TANH: EACH(x, n, gelu_tanh8); return;
	case DENSE_RELU: EACH(x, n, relu8); return;
	}
}

static float row_max(const float *x, size_t n)
{
	size_t i = 0;
	float lanes[LANES], max = x[0];
	if (n >= LANES) {
		__m256 v = _mm256_loadu_ps(x);
		for (i = LANES; i + LANES <= n; i += LANES) v = _mm256_max_ps(v, _mm256_loadu_ps(x + i));
		_mm256_storeu_ps(lanes, v);
		for (int j = 0; j < LANES; j++) max = lanes[j] > max ? lanes[j] : max;
	}
	for (; i < n; i++) max = x[i] > max ? x[i] : max;
	return max;
}

void dense_softmax(float *x, size_t rows, size_t n, size_t ld)
{
	for (float *row = x; rows-- > 0; row += ld) {
		__m256 max = _mm256_set1_ps(row_max(row, n)), acc = _mm256_setzero_ps(), scale;
		float tail = 0;
		size_t i = 0;
		for (; i + LANES <= n; i += LANES) {
			__m256 v = exp8(_mm256_sub_ps(_mm256_loadu_ps(row + i), max));
			_mm256_storeu_ps(row + i, v);
			acc = _mm256_add_ps(acc, v);
		}
		if (i < n) store_tail(row + i, n - i, exp8(_mm256_sub_ps(load_tail(row + i, n - i), max)));
		for (; i < n; i++) tail += row[i];
		tail = 1 / (tail + sum8(acc));
		scale = _mm256_set1_ps(tail);
		for (i = 0; i + LANES <= n; i += LANES) _mm256_storeu_ps(row + i, _mm256_mul_ps(_mm256_loadu_ps(row + i), scale));
		for (; i < n; i++) row[i] *= tail;
	}
}

/* ---- linear layer ---- */

struct linear {
	const float *x, *w, *bias;
	float *y;
	size_t rows, in, out;
	enum dense_act act;
};

/* Piece i of parts of n things, cut at multiples of unit. */
static void share(size_t n, size_t unit, size_t parts, size_t i, size_t *from, size_t *to)
{
	size_t units = (n + unit - 1) / unit;
	*from = units * i / parts * unit;
	*to = units * (i + 1) / parts * unit;
	if (*from > n) *from = n;
	if (*to > n) *to = n;
}

static void linear_tile(void *ctx, int member, int size)
{
	const struct linear *l = ctx;
	size_t columns = l->out / TILE_COLUMNS_MIN, rows = l->rows / TILE_ROWS_MIN, c0, c1, r0, r1;
	if (columns > (size_t)size) columns = (size_t)size;
	if (columns == 0) columns = 1;
	if (rows > (size_t)size / columns) rows = (size_t)size / columns;
	if (rows == 0) rows = 1;
	if ((size_t)member >= rows * columns) return;
	share(l->out, LANES, columns, (size_t)member % columns, &c0, &c1);
	share(l->rows, 1, rows, (size_t)member / columns, &r0, &r1);
	if (c0 == c1 || r0 == r1) return;
	for (size_t r = r0; l->bias && r < r1; r++) memcpy(l->y + r * l->out + c0, l->bias + c0, (c1 - c0) * sizeof *l->y);
	dense_gemm_nt(r1 - r0, c1 - c0, l->in, 1, l->x + r0 * l->in, l->in, l->w + c0 * l->in, l->in, l->bias ? 1 : 0,
		l->y + r0 * l->out + c0, l->out);
	for (size_t r = r0; l->act != DENSE_NONE && r < r1; r++) dense_activate(l->act, l->y + r * l->out + c0, c1 - c0);
}

void dense_linear(struct team *t, const float *x, size_t rows, size_t in, const float *w, const float *bias, size_t out,
	enum dense_act act, float *y)
{
	struct linear l = {.x = x, .w = w, .bias = bias, .y = y, .rows = rows, .in = in, .out = out, .act = act};
	run(t, linear_tile, &l);
}

/* ---- layer norm ---- */

struct norm {
	float *x;
	const float *add, *gamma, *beta;
	size_t rows, dim;
	float eps;
};

static inline __m256 load(const float *p, size_t n)
{
	return n >= LANES ? _mm256_loadu_ps(p) : load_tail(p, n);
}

static inline void store(float *p, size_t n, __m256 v)
{
	if (n >= LANES) _mm256_storeu_ps(p, v);
	else store_tail(p, n, v);
}

/* Two passes for mean and variance: one pass of squares would cancel. */
static void norm_row(const struct norm *l, float *x, const float *add)
{
	__m256 acc = _mm256_setzero_ps(), v, mean, scale;
	size_t dim = l->dim;
	for (size_t i = 0; i < dim; i += LANES) {
		v = load(x + i, dim - i);
		if (add) {
			v = _mm256_add_ps(v, load(add + i, dim - i));
			store(x + i, dim - i, v);
		}
		acc = _mm256_add_ps(acc, v);
	}
	float m = sum8(acc) / (float)dim, var = 0;
	mean = _mm256_set1_ps(m);
	acc = _mm256_setzero_ps();
	size_t i = 0;
	for (; i + LANES <= dim; i += LANES) {
		v = _mm256_sub_ps(_mm256_loadu_ps(x + i), mean);
		acc = _mm256_fmadd_ps(v, v, acc);
	}
	for (; i < dim; i++) var += (x[i] - m) * (x[i] - m);
	var = (var + sum8(acc)) / (float)dim;
	scale = _mm256_set1_ps(1 / sqrtf(var + l->eps));
	for (i = 0; i < dim; i += LANES) {
		v = _mm256_mul_ps(_mm256_sub_ps(load(x + i, dim - i), mean), scale);
		store(x + i, dim - i, _mm256_fmadd_ps(v, load(l->gamma + i, dim - i), load(l->beta + i, dim - i)));
	}
}

static void norm_rows(void *ctx, int member, int size)
{
	const struct norm *l = ctx;
	size_t from, to;
	share(l->rows, 1, (size_t)size, (size_t)member, &from, &to);
	for (size_t r = from; r < to; r++) norm_row(l, l->x + r * l->dim, l->add ? l->add + r * l->dim : NULL);
}

void dense_add_norm(struct team *t, float *x, const float *add, size_t rows, size_t dim, const float *gamma,
	const float *beta, float eps)
{
	struct norm l = {.x = x, .add = add, .gamma = gamma, .beta = beta, .rows = rows, .dim = dim, .eps = eps};
	run(t, norm_rows, &l);
}

/* ---- attention ---- */

struct attention {
	const float *qkv;
	const size_t *starts;
	float *scratch, *out;
	size_t texts, heads, head_dim;
	size_t scratch_each;   /* floats of scratch a member has */
	atomic_size_t next;    /* the next unit to take */
};

size_t dense_attention_scratch(size_t longest, const struct team *t)
{
	return (longest < QUERY_BLOCK ? longest : QUERY_BLOCK) * longest * (size_t)(t ? team_size(t) : 1);
}

/* Query rows from to to of one head of one text whose first row is first. */
static void attend(const struct attention *a, size_t first, size_t len, size_t head, size_t from, size_t to,
	float *scores)
{
	size_t width = a->heads * a->head_dim, ld = 3 * width, d = a->head_dim;
	const float *q = a->qkv + (first + from) * ld + head * d, *k = a->qkv + first * ld + width + head * d, *v = k + width;
	dense_gemm_nt(to - from, len, d, 1 / sqrtf((float)d), q, ld, k, ld, 0, scores, len);
	dense_softmax(scores, to - from, len, len);
	dense_gemm_nn(to - from, d, len, 1, scores, len, v, ld, 0, a->out + (first + from) * width + head * d, width);
}

static void attention_units(void *ctx, int member, int size)
{
	struct attention *a = ctx;
	float *scores = a->scratch + (size_t)member * a->scratch_each;
	size_t mine = atomic_fetch_add(&a->next, 1), unit = 0;
	(void)size;
	for (size_t text = 0; text < a->texts; text++) {
		size_t len = a->starts[text + 1] - a->starts[text], blocks = (len + QUERY_BLOCK - 1) / QUERY_BLOCK;
		for (size_t units = a->heads * blocks; mine < unit + units; mine = atomic_fetch_add(&a->next, 1)) {
			size_t block = (mine - unit) % blocks, from = block * QUERY_BLOCK;
			attend(a, a->starts[text], len, (mine - unit) / blocks, from, from + QUERY_BLOCK < len ? from + QUERY_BLOCK : len,
				scores);
		}
		unit += a->heads * blocks;
	}
}

void dense_attention(struct team *t, const float *qkv, const size_t *starts, size_t texts, size_t heads,
	size_t head_dim, float *scratch, float *out)
{
	struct attention a = {.qkv = qkv, .starts = starts, .scratch = scratch, .out = out, .texts = texts, .heads = heads,
		.head_dim = head_dim};
	size_t longest = 0;
	for (size_t i = 0; i < texts; i++)
		if (starts[i + 1] - starts[i] > longest) longest = starts[i + 1] - starts[i];
	a.scratch_each = dense_attention_scratch(longest, NULL);
	run(t, attention_units, &a);
}
