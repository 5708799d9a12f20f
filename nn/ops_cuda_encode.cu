/* ops_cuda_encode.cu: owns the kernels of an encoder: layer norm with what is added before it, the linear layer on halves,
 * attention over whole texts, and pooling. No state.
 *
 * Method. encode_linear is cuda_gemm.h's product of halves. encode_attend is FlashAttention-2 (Dao 2023) over short texts: a
 * block has GPU_TILE queries of one text and one head, a warp 16 of them, and walks the text's keys in tiles of KEYS from its
 * first row on, so that a text's sums do not depend on where it lies; while the scores of a tile become probabilities the keys
 * of the next are copied. A warp norms a row, in two passes over what it keeps of it in shared memory.
 * Threads: as gpu.h says. Failure: none of their own; what a launch says comes up at sync. */
#include "nn/cuda_gemm.h"
#include "nn/cuda_inside.h"

enum {
	WARPS = 4, THREADS = 32 * WARPS,  /* of a block of attention and of norms */
	KEYS = 64,
	POOL_THREADS = 128
};

/* ---- halves ---- */

/* What is larger than a half holds becomes the largest one. */
CUDA_FN float held(float x)
{
	const float most = 65504;
	return fminf(fmaxf(x, -most), most);
}

CUDA_FN uint32_t halves(float a, float b)
{
	return half_pair(held(a), held(b));
}

CUDA_FN float low_half(uint32_t two)
{
	return half_float((uint16_t)two);
}

CUDA_FN float high_half(uint32_t two)
{
	return half_float((uint16_t)(two >> 16));
}

/* ---- norm ---- */

struct norm_args {
	const uint32_t *words, *places;   /* pairs of halves */
	const int32_t *ids, *at;
	uint32_t *x; const uint32_t *y;
	const float *gamma, *beta;
	float eps;
	uint32_t n, pairs, ld;            /* ld: pairs */
};

CUDA_KERNEL(norm_rows)(struct norm_args c)
{
	CUDA_SHARED(float, rows);
	uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, t = blockIdx.x * WARPS + warp;
	float *row = rows + warp * 2 * c.pairs, sum = 0, squares = 0;
	if (t >= c.n) return;
	uint32_t *x = c.x + (size_t)t * c.ld;
	const uint32_t *a = c.ids ? c.words + (size_t)c.ids[t] * c.pairs : x;
	const uint32_t *b = c.ids ? c.places + (size_t)c.at[t] * c.pairs : c.y + (size_t)t * c.ld;
	for (uint32_t i = lane; i < c.pairs; i += 32) {
		uint32_t p = a[i], q = b[i];
		float low = low_half(p) + low_half(q), high = high_half(p) + high_half(q);
		row[2 * i] = low;
		row[2 * i + 1] = high;
		sum += low + high;
	}
	float mean = warp_sum(sum) / (float)(2 * c.pairs);
	for (uint32_t i = lane; i < c.pairs; i += 32) {
		float low = row[2 * i] - mean, high = row[2 * i + 1] - mean;
		squares += low * low + high * high;
	}
	float scale = 1 / sqrtf(warp_sum(squares) / (float)(2 * c.pairs) + c.eps);
	for (uint32_t i = lane; i < c.pairs; i += 32)
		x[i] = halves((row[2 * i] - mean) * scale * c.gamma[2 * i] + c.beta[2 * i],
			(row[2 * i + 1] - mean) * scale * c.gamma[2 * i + 1] + c.beta[2 * i + 1]);
}

void GPU_NAME(encode_norm)(struct gpu *g, const struct gpu_encode_norm *c)
{
	struct norm_args a = {(const uint32_t *)c->words, (const uint32_t *)c->places, c->ids, c->at, (uint32_t *)c->x,
		(const uint32_t *)c->y, c->gamma, c->beta, c->eps, (uint32_t)c->n, (uint32_t)(c->dim / 2), (uint32_t)(c->ld / 2)};
	CUDA_LAUNCH(g, norm_rows, cuda_grid(div_up(c->n, WARPS)), THREADS, WARPS * c->dim * sizeof(float), a);
}

/* ---- linear ---- */

CUDA_FN float activated(enum gpu_act act, float x)
{
	switch (act) {
	case GPU_GELU: return 0.5f * x * (1 + erff(x * 0.70710678f));
	case GPU_GELU_TANH: return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
	case GPU_RELU: return fmaxf(x, 0);
	default: return x;
	}
}

struct encode_finish {
	uint16_t *y; const float *bias;
	uint32_t outputs;
	enum gpu_act act;
	__device__ void operator()(uint32_t row, uint32_t token, float value, float) const
	{
		y[(size_t)token * outputs + row] = float_half(held(activated(act, value + bias[row])));
	}
};

/* As if they were bfloat16: their bits are only moved. */
int GPU_NAME(encode_load)(struct gpu *g, const uint16_t *w, size_t rows, size_t k, struct gpu_matrix *out, struct err *e)
{
	struct matrix m = {};
	m.type = QUANT_BF16;
	m.data = reinterpret_cast<const uint8_t *>(w);
	m.rows = rows;
	m.k = k;
	m.row_bytes = k * sizeof *w;
	return GPU_NAME(matrix_load)(g, &m, out, e);
}

void GPU_NAME(encode_linear)(struct gpu *g, const struct gpu_encode_linear *c)
{
	struct gemm m = {};
	const struct encode_finish finish = { c->y, c->bias, (uint32_t)c->w->rows, c->act };
	m.a = static_cast<const uint8_t *>(c->w->data);
	m.b = c->x;
	m.ldb = c->w->k;
	m.rows = (uint32_t)c->w->rows;
	m.n = (uint32_t)c->n;
	m.k = (uint32_t)c->w->k;
	gemm_run<GEMM_F16, 0>(g, &m, finish);
}

/* ---- attention ---- */

struct attend_args {
	const uint16_t *qkv;
	uint16_t *out;
	const int32_t *tiles;
	size_t ld, ldo;
	uint32_t heads;
	float scale;                      /* times log2 e: probabilities are powers of two */
};

/* Where chunk c (8 halves) of row r of a tile lies, rows of D halves: so that eight rows' chunks are in different banks. */
template <int D> CUDA_FN uint32_t place(uint32_t r, uint32_t c)
{
	const uint32_t chunks = D / 8, turn = chunks >= 8 ? r & 7 : r / (8 / chunks) & (chunks - 1);
	return r * D + (c ^ turn) * 8;
}

/* ROWS rows of D halves from `from` on, ld apart, begin to be copied; rows behind `end` are zeros. */
template <int D> CUDA_FN void tile_copy(uint16_t *to, const uint16_t *from, size_t ld, uint32_t row, uint32_t end)
{
	const uint32_t chunks = D / 8;
	for (uint32_t i = threadIdx.x; i < KEYS * chunks; i += THREADS) {
		uint32_t r = i / chunks, c = i % chunks;
		uint16_t *at = to + place<D>(r, c);
		if (row + r < end) copy16_async(at, from + (size_t)(row + r) * ld + c * 8);
		else for (int k = 0; k < 4; k++) ((uint32_t *)at)[k] = 0;
	}
}

/* What a thread has of its warp's 16 queries: of rows lane / 4 and that + 8. */
template <int D> struct attended {
	uint32_t q[D / 16][4];
	float s[KEYS / 8][4];             /* scores, then probabilities, of a tile's keys */
	float o[D / 8][4];
	float most[2], sum[2];
};

template <int D> CUDA_FN void scores(struct attended<D> &w, const uint16_t *keys, uint32_t lane)
{
	#pragma unroll
	for (int n = 0; n < KEYS / 8; n++) w.s[n][0] = w.s[n][1] = w.s[n][2] = w.s[n][3] = 0;
	#pragma unroll
	for (int k = 0; k < D / 16; k++)
		#pragma unroll
		for (int n = 0; n < KEYS / 16; n++) {
			uint32_t b[4];
			ldmatrix4(b, keys + place<D>(n * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
			mma_f16(w.s[2 * n], w.q[k], b);
			mma_f16(w.s[2 * n + 1], w.q[k], b + 2);
		}
}

/* Scores of `keys` keys become probabilities, over the largest so far; what was summed before is scaled to it. */
template <int D> CUDA_FN void probabilities(struct attended<D> &w, uint32_t keys, float scale, uint32_t lane)
{
	#pragma unroll
	for (int h = 0; h < 2; h++) {
		float most = w.most[h], sum = 0;
		#pragma unroll
		for (int n = 0; n < KEYS / 8; n++)
			#pragma unroll
			for (int i = 2 * h; i < 2 * h + 2; i++) {
				w.s[n][i] = n * 8 + lane % 4 * 2 + (i & 1) < keys ? w.s[n][i] * scale : -INFINITY;
				most = fmaxf(most, w.s[n][i]);
			}
		most = fmaxf(most, warp_xor(most, 1));
		most = fmaxf(most, warp_xor(most, 2));
		float before = exp2f(w.most[h] - most);
		#pragma unroll
		for (int n = 0; n < KEYS / 8; n++)
			#pragma unroll
			for (int i = 2 * h; i < 2 * h + 2; i++) sum += w.s[n][i] = exp2f(w.s[n][i] - most);
		#pragma unroll
		for (int n = 0; n < D / 8; n++) {
			w.o[n][2 * h] *= before;
			w.o[n][2 * h + 1] *= before;
		}
		w.sum[h] = w.sum[h] * before + sum; /* of the thread's own columns: joined at the end */
		w.most[h] = most;
	}
}

template <int D> CUDA_FN void values_add(struct attended<D> &w, const uint16_t *values, uint32_t lane)
{
	#pragma unroll
	for (int k = 0; k < KEYS / 16; k++) {
		uint32_t p[4] = {halves(w.s[2 * k][0], w.s[2 * k][1]), halves(w.s[2 * k][2], w.s[2 * k][3]),
			halves(w.s[2 * k + 1][0], w.s[2 * k + 1][1]), halves(w.s[2 * k + 1][2], w.s[2 * k + 1][3])};
		#pragma unroll
		for (int n = 0; n < D / 16; n++) {
			uint32_t b[4];
			ldmatrix4_t(b, values + place<D>(k * 16 + lane % 16, n * 2 + lane / 16));
			mma_f16(w.o[2 * n], p, b);
			mma_f16(w.o[2 * n + 1], p, b + 2);
		}
	}
}

template <int D> CUDA_FN void attended_store(const struct attended<D> &w, uint16_t *out, size_t ldo, uint32_t rows, uint32_t lane)
{
	#pragma unroll
	for (int h = 0; h < 2; h++) {
		float sum = w.sum[h] + warp_xor(w.sum[h], 1);
		uint32_t row = lane / 4 + 8 * h;
		sum += warp_xor(sum, 2);
		if (row >= rows) continue;
		#pragma unroll
		for (int n = 0; n < D / 8; n++)
			*(uint32_t *)(out + row * ldo + n * 8 + lane % 4 * 2) = halves(w.o[n][2 * h] / sum, w.o[n][2 * h + 1] / sum);
	}
}

/* grid: (tiles, heads). Warps without queries only help to copy. */
template <int D> CUDA_KERNEL(attend_texts)(struct attend_args c)
{
	CUDA_SHARED(uint16_t, shared);
	uint16_t *q = shared, *k = q + KEYS * D, *v = k + KEYS * D;
	const int32_t *tile = c.tiles + 3 * (size_t)blockIdx.x;
	uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = (uint32_t)tile[0], begin = (uint32_t)tile[1], end = (uint32_t)tile[2];
	size_t head = (size_t)blockIdx.y * D, width = (size_t)c.heads * D;
	uint32_t mine = first + warp * 16, rows = mine < end ? end - mine : 0;
	struct attended<D> w;
	tile_copy<D>(q, c.qkv + head, c.ld, first, end);
	tile_copy<D>(k, c.qkv + width + head, c.ld, begin, end);
	copy_commit();
	tile_copy<D>(v, c.qkv + 2 * width + head, c.ld, begin, end);
	copy_commit();
	copy_wait(1);
	__syncthreads();
	#pragma unroll
	for (int i = 0; i < D / 16; i++) ldmatrix4(w.q[i], q + place<D>(warp * 16 + lane % 16, i * 2 + lane / 16));
	#pragma unroll
	for (int n = 0; n < D / 8; n++) w.o[n][0] = w.o[n][1] = w.o[n][2] = w.o[n][3] = 0;
	w.most[0] = w.most[1] = -INFINITY;
	w.sum[0] = w.sum[1] = 0;
	for (uint32_t at = begin; at < end; at += KEYS) {
		if (rows) scores<D>(w, k, lane);
		__syncthreads();                  /* the keys are read: the next may come */
		if (at + KEYS < end) tile_copy<D>(k, c.qkv + width + head, c.ld, at + KEYS, end);
		copy_commit();
		if (rows) probabilities<D>(w, end - at, c.scale, lane);
		copy_wait(1);
		__syncthreads();                  /* the values are there */
		if (rows) values_add<D>(w, v, lane);
		__syncthreads();
		if (at + KEYS < end) tile_copy<D>(v, c.qkv + 2 * width + head, c.ld, at + KEYS, end);
		copy_commit();
		copy_wait(1);
		__syncthreads();                  /* the next keys are there */
	}
	copy_wait(0);
	if (rows) attended_store<D>(w, c.out + mine * c.ldo + head, c.ldo, rows, lane);
}

void GPU_NAME(encode_attend)(struct gpu *g, const struct gpu_encode_attend *c)
{
	const float log2_e = 1.44269504088896341f;
	struct attend_args a = {c->qkv, c->out, c->tiles, c->ld, c->ldo, (uint32_t)c->heads, c->scale * log2_e};
	uint32_t bytes = (uint32_t)(3 * KEYS * c->head_dim * sizeof(uint16_t));
	dim3 grid = cuda_grid(c->tiles_n, c->heads);
	switch (c->head_dim) {
	case 16: CUDA_LAUNCH(g, attend_texts<16>, grid, THREADS, bytes, a); break;
	case 32: CUDA_LAUNCH(g, attend_texts<32>, grid, THREADS, bytes, a); break;
	case 64: CUDA_LAUNCH(g, attend_texts<64>, grid, THREADS, bytes, a); break;
	default: CUDA_LAUNCH(g, attend_texts<128>, grid, THREADS, bytes, a); break;
	}
}

/* ---- pooling ---- */

struct pool_args {
	const uint16_t *x;
	const int32_t *starts;
	float *out;
	size_t ld;
	uint32_t dim;
	int first, normalise;
};

/* A block has a text, a thread some of its dimensions. */
CUDA_KERNEL(pool_texts)(struct pool_args c)
{
	CUDA_SHARED(float, sums);
	uint32_t from = (uint32_t)c.starts[blockIdx.x], rows = c.first ? 1 : (uint32_t)c.starts[blockIdx.x + 1] - from;
	float *out = c.out + (size_t)blockIdx.x * c.dim, squares = 0, scale = 1;
	for (uint32_t i = threadIdx.x; i < c.dim; i += POOL_THREADS) {
		float sum = 0;
		for (uint32_t r = 0; r < rows; r++) sum += half_float(c.x[(size_t)(from + r) * c.ld + i]);
		sum /= (float)rows;
		out[i] = sum;
		squares += sum * sum;
	}
	if (!c.normalise) return;
	squares = warp_sum(squares);
	if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
	__syncthreads();
	squares = 0;
	for (int i = 0; i < POOL_THREADS / 32; i++) squares += sums[i];
	scale = squares > 0 ? 1 / sqrtf(squares) : 0;
	for (uint32_t i = threadIdx.x; i < c.dim; i += POOL_THREADS) out[i] *= scale;
}

void GPU_NAME(encode_pool)(struct gpu *g, const struct gpu_encode_pool *c)
{
	struct pool_args a = {c->x, c->starts, c->out, c->ld, (uint32_t)c->dim, c->first, c->normalise};
	CUDA_LAUNCH(g, pool_texts, cuda_grid(c->texts), POOL_THREADS, POOL_THREADS / 32 * sizeof(float), a);
}
