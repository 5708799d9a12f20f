/* ops_cuda_plain.cu: owns the decoder's kernels that are neither a matrix product nor what comes of one: rows of the token table,
 * the norm that is added, the choice of the best token.
 *
 * Rows are apart from each other: a block or a warp has one row's piece, and its sums go in an order that the lengths
 * alone give, so that a row has the same bits in every call. Threads, failure: gpu.h. */
#include "nn/cuda_inside.h"
#include "nn/cuda_weights.h"

enum { EMBED_THREADS = 128, NORM_THREADS = 256, BEST_THREADS = 256, BEST_RUN = 4096 };

template <uint32_t T> CUDA_KERNEL(embed_rows)(const uint8_t *table, size_t k, const int32_t *ids, float scale, float *x)
{
	const size_t t = blockIdx.y, i = (size_t)blockIdx.x * EMBED_THREADS + threadIdx.x;
	const int32_t id = ids[t];
	if (i < k) x[t * k + i] = id < 0 ? 0 : scale * weights_value<T>(table, k, (size_t)id, i);
}

template <uint32_t T> static void embed_type(struct gpu *g, const struct gpu_matrix *table, const int32_t *ids, size_t n, float scale,
	float *x)
{
	CUDA_LAUNCH(g, (embed_rows<T>), cuda_grid(div_up(table->k, EMBED_THREADS), n), EMBED_THREADS, 0,
		static_cast<const uint8_t *>(table->data), table->k, ids, scale, x);
}

void GPU_NAME(embed)(struct gpu *g, const struct gpu_matrix *table, const int32_t *ids, size_t n, float scale, float *x)
{
	WEIGHTS_BY_TYPE(table->type, embed_type, g, table, ids, n, scale, x);
}

CUDA_KERNEL(norm_added)(float *x, const float *y, const float *w, size_t dim, float eps)
{
	CUDA_SHARED_N(float, parts, CUDA_WARP);
	const size_t row = blockIdx.x * dim;
	float sum = 0;
	for (size_t i = threadIdx.x; i < dim; i += NORM_THREADS) sum = fmaf(y[row + i], y[row + i], sum);
	const float inv = 1 / sqrtf(block_sum(sum, parts) / (float)dim + eps);
	for (size_t i = threadIdx.x; i < dim; i += NORM_THREADS) x[row + i] += y[row + i] * inv * w[i];
}

void GPU_NAME(add_normed)(struct gpu *g, float *x, const float *y, const float *w, size_t n, size_t dim, float eps)
{
	CUDA_LAUNCH(g, norm_added, n, NORM_THREADS, 0, x, y, w, dim, eps);
}

/* A logit with its place, so that the greater of two is the better: the larger, then the first. 0: none. */
CUDA_FN unsigned long long best_key(float v, size_t i)
{
	const uint32_t bits = __float_as_uint(v + 0.0f), sign = bits >> 31;   /* + 0: one zero only */
	if (v != v) return 0;
	return (unsigned long long)(bits ^ (sign ? 0xffffffffu : 0x80000000u)) << 32 | (0xffffffffu - (uint32_t)i);
}

CUDA_FN unsigned long long best_of_block(unsigned long long best, unsigned long long *parts)
{
	for (int mask = CUDA_WARP / 2; mask; mask >>= 1) best = max(best, warp_xor(best, mask));
	if (cuda_lane() == 0) parts[threadIdx.x / CUDA_WARP] = best;
	__syncthreads();
	for (int i = 0; i < BEST_THREADS / CUDA_WARP; i++) best = max(best, parts[i]);
	return best;
}

CUDA_KERNEL(best_parts)(const float *logits, size_t vocab, const uint32_t *allowed, size_t ld_allowed, unsigned long long *out)
{
	CUDA_SHARED_N(unsigned long long, parts, BEST_THREADS / CUDA_WARP);
	const size_t t = blockIdx.y, stride = (size_t)gridDim.x * BEST_THREADS;
	unsigned long long best = 0;
	for (size_t i = blockIdx.x * BEST_THREADS + threadIdx.x; i < vocab; i += stride)
		if (!allowed || allowed[t * ld_allowed + i / 32] >> i % 32 & 1) best = max(best, best_key(logits[t * vocab + i], i));
	best = best_of_block(best, parts);
	if (threadIdx.x == 0) out[t * GPU_BEST_PARTS + blockIdx.x] = best;
}

CUDA_KERNEL(best_whole)(const unsigned long long *in, unsigned n, int32_t *ids)
{
	const unsigned long long *part = in + (size_t)blockIdx.x * GPU_BEST_PARTS;
	unsigned long long best = 0;
	for (unsigned i = threadIdx.x; i < n; i += CUDA_WARP) best = max(best, part[i]);
	for (int mask = CUDA_WARP / 2; mask; mask >>= 1) best = max(best, warp_xor(best, mask));
	if (threadIdx.x == 0) ids[blockIdx.x] = best ? (int32_t)(0xffffffffu - (uint32_t)best) : -1;
}

void GPU_NAME(best)(struct gpu *g, const float *logits, size_t vocab, size_t n, const uint32_t *allowed, size_t ld_allowed,
	int32_t *ids)
{
	const size_t most = GPU_BEST_PARTS, parts = min(div_up(vocab, BEST_RUN), most);
	CUDA_LAUNCH(g, best_parts, cuda_grid(parts, n), BEST_THREADS, 0, logits, vocab, allowed, ld_allowed, g->best);
	CUDA_LAUNCH(g, best_whole, n, CUDA_WARP, 0, g->best, parts, ids);
}
