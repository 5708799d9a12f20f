/* ops_cuda_plain.cu: owns the decoder's kernels that are neither a matrix product nor what comes of one: rows of the token table,
 * the norm that is added.
 *
 * Rows are apart from each other: a block or a warp has one row's piece, and its sums go in an order that the lengths
 * alone give, so that a row has the same bits in every call. Threads, failure: gpu.h. */
#include "nn/cuda_inside.h"
#include "nn/cuda_weights.h"

enum { EMBED_THREADS = 128, NORM_THREADS = 256 };

template <uint32_t T> CUDA_KERNEL(embed_rows)(const uint8_t *table, size_t k, const int32_t *ids, float scale, float *x)
{
	const size_t t = blockIdx.y, i = (size_t)blockIdx.x * EMBED_THREADS + threadIdx.x;
	await_earlier();
	const int32_t id = ids[t];
	if (i < k) x[t * k + i] = id < 0 ? 0 : scale * weights_value<T>(table, k, (size_t)id, i);
}

template <uint32_t T> static void embed_type(struct gpu *g, const struct gpu_matrix *table, const int32_t *ids, size_t n, float scale,
	float *x)
{
	CUDA_FOLLOW(g, (embed_rows<T>), cuda_grid(div_up(table->k, EMBED_THREADS), n), EMBED_THREADS, 0,
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
	await_earlier();
	for (size_t i = threadIdx.x; i < dim; i += NORM_THREADS) sum = fmaf(y[row + i], y[row + i], sum);
	const float inv = 1 / sqrtf(block_sum(sum, parts) / (float)dim + eps);
	for (size_t i = threadIdx.x; i < dim; i += NORM_THREADS) x[row + i] += y[row + i] * inv * w[i];
}

void GPU_NAME(add_normed)(struct gpu *g, float *x, const float *y, const float *w, size_t n, size_t dim, float eps)
{
	CUDA_FOLLOW(g, norm_added, n, NORM_THREADS, 0, x, y, w, dim, eps);
}
