/* ops_cuda_scan.cu: owns the exact scan: a few vectors against many, all as int8 codes, and the k best of each. No state.
 *
 * Method. scan_rows goes over all rows once for up to QUERIES queries: a block has RUN rows, a warp 32 of them, which are the
 * columns of m16n8k32 in whole numbers (the rows of it are the queries, from shared memory). In which order a row's bytes
 * are multiplied is of no matter, so each lane reads 16 of them on end. Of every product a key is kept, a whole number that
 * orders as the product does, and of every run its best; of these scan_best, a block a query, has the k best (cuda_best.h).
 * Bound by reading the codes, once for QUERIES queries. Threads, failure: gpu.h. */
#include "nn/cuda_best.h"

enum { RUN = 256, ROW_WARPS = RUN / 32, QUERIES = 16 };
_Static_assert((int)GPU_SCAN_BEST <= (int)BEST_MOST, "the k best of a block");

struct rows_args {
	const uint8_t *codes; const float *scales; const uint32_t *among;
	const int8_t *queries; const float *query_scales; const int32_t *shifts;
	uint32_t rows, len, n, runs;
	uint32_t *keys, *tops;            /* (n, runs * RUN), (n, runs); 0: does not count */
};

/* Not a number is the largest. */
CUDA_FN uint32_t key_of(float x)
{
	return x != x ? 0xffffffffu : float_key(x);
}

/* Bytes from query to query in shared memory: eight of them, 64 bytes each, are then in different banks. */
CUDA_FN uint32_t query_stride(uint32_t len)
{
	return len % 128 ? len : len + 64;
}

CUDA_FN void queries_copy(uint8_t *to, const struct rows_args *c)
{
	for (uint32_t i = threadIdx.x * 16; i < QUERIES * c->len; i += RUN * 16) {
		const uint32_t q = i / c->len, at = i % c->len;
		uint4 v = make_uint4(0, 0, 0, 0);
		if (q < c->n) v = *(const uint4 *)(c->queries + (size_t)q * c->len + at);
		*(uint4 *)(to + q * query_stride(c->len) + at) = v;
	}
}

/* The keys of a lane: queries lane / 4 and that + 8, rows lane % 4 * 2 and the next of each of the warp's four eights; the best
 * of them go to tops (QUERIES). */
CUDA_FN void keys_put(const struct rows_args *c, const int32_t d[4][4], uint32_t row0, uint32_t *tops)
{
	const uint32_t lane = (uint32_t)cuda_lane();
	#pragma unroll
	for (int h = 0; h < 2; h++) {
		const uint32_t q = lane / 4 + 8 * h, known = min(q, c->n - 1);
		const double scale = (double)c->query_scales[known];
		const int32_t shift = c->shifts[known];
		uint32_t top = 0;
		#pragma unroll
		for (int i = 0; i < 8; i++) {
			const uint32_t row = row0 + i / 2 * 8 + lane % 4 * 2 + i % 2;
			const int counts = row < c->rows && (!c->among || c->among[row / 32] >> row % 32 & 1);
			const uint32_t key = counts ? key_of((float)(scale * (double)c->scales[row] * (double)(d[i / 2][2 * h + i % 2] - shift))) : 0;
			if (q < c->n) c->keys[(size_t)q * c->runs * RUN + row] = key;
			top = max(top, key);
		}
		top = max(top, warp_xor(top, 1));
		top = max(top, warp_xor(top, 2));
		if (lane % 4 == 0) tops[q] = top;
	}
}

CUDA_KERNEL(scan_rows)(struct rows_args c)
{
	CUDA_SHARED(uint8_t, queries);
	CUDA_SHARED_N(uint32_t, tops, ROW_WARPS * QUERIES);
	const uint32_t warp = threadIdx.x / CUDA_WARP, lane = (uint32_t)cuda_lane(), row0 = blockIdx.x * RUN + warp * 32;
	const uint8_t *a0 = queries + lane / 4 * query_stride(c.len) + lane % 4 * 16, *a1 = a0 + 8 * query_stride(c.len), *from[4];
	int32_t d[4][4] = {};
	queries_copy(queries, &c);
	#pragma unroll
	for (int g = 0; g < 4; g++) from[g] = c.codes + (size_t)min(row0 + g * 8 + lane / 4, c.rows - 1) * c.len + lane % 4 * 16;
	__syncthreads();
	#pragma unroll 2
	for (uint32_t k = 0; k < c.len; k += 64) {
		uint4 b[4];
		#pragma unroll
		for (int g = 0; g < 4; g++) b[g] = *(const uint4 *)(from[g] + k);
		const uint4 x = *(const uint4 *)(a0 + k), y = *(const uint4 *)(a1 + k);
		const uint32_t first[4] = { x.x, y.x, x.y, y.y }, second[4] = { x.z, y.z, x.w, y.w };
		#pragma unroll
		for (int g = 0; g < 4; g++) {
			const uint32_t low[2] = { b[g].x, b[g].y }, high[2] = { b[g].z, b[g].w };
			mma_bytes(d[g], first, low);
			mma_bytes(d[g], second, high);
		}
	}
	keys_put(&c, d, row0, tops + warp * QUERIES);
	__syncthreads();
	if (threadIdx.x >= c.n) return;
	uint32_t top = 0;
	for (int w = 0; w < ROW_WARPS; w++) top = max(top, tops[w * QUERIES + threadIdx.x]);
	c.tops[(size_t)threadIdx.x * c.runs + blockIdx.x] = top;
}

/* ---- the k best ---- */

struct best_args {
	const uint32_t *keys, *tops;
	uint64_t *found;                  /* (n, k * RUN) */
	uint32_t runs, k;
	uint32_t *best; float *near; uint32_t *got;
};

struct row_key {
	const uint32_t *keys;
	__device__ uint32_t operator()(uint32_t i) const { return keys[i]; }
};

CUDA_KERNEL(__launch_bounds__(BEST_TEAM) scan_best)(struct best_args c)
{
	CUDA_SHARED(struct best_shared, s);
	const size_t q = blockIdx.x;
	const uint32_t got = best_find<RUN>(s, row_key{ c.keys + q * c.runs * RUN }, c.tops + q * c.runs, c.runs, c.k, c.found + q * c.k * RUN);
	for (uint32_t i = threadIdx.x; i < got; i += BEST_TEAM) {
		c.best[q * c.k + i] = best_place(s->sorted[i]);
		c.near[q * c.k + i] = best_float(s->sorted[i]);
	}
	if (threadIdx.x == 0) c.got[q] = got;
}

static size_t runs_of(size_t rows) { return div_up(rows, RUN); }
static size_t at_once(size_t n) { return n < QUERIES ? n : (size_t)QUERIES; }

size_t GPU_NAME(scan_bytes)(size_t rows, size_t n, size_t k)
{
	const size_t some = at_once(n), runs = runs_of(rows);
	return padded(some * runs * RUN * sizeof(uint32_t)) + padded(some * runs * sizeof(uint32_t)) + some * k * RUN * sizeof(uint64_t);
}

void GPU_NAME(scan)(struct gpu *g, const struct gpu_scan *c)
{
	const size_t runs = runs_of(c->rows), some = at_once(c->n);
	const size_t shared = QUERIES * (c->len % 128 ? c->len : c->len + 64);
	char *scratch = static_cast<char *>(c->scratch);
	uint32_t *keys = reinterpret_cast<uint32_t *>(scratch);
	uint32_t *tops = reinterpret_cast<uint32_t *>(scratch + padded(some * runs * RUN * sizeof *keys));
	uint64_t *found = reinterpret_cast<uint64_t *>(reinterpret_cast<char *>(tops) + padded(some * runs * sizeof *tops));
	for (size_t q = 0; q < c->n; q += QUERIES) {
		const size_t n = at_once(c->n - q);
		const struct rows_args rows = { c->codes, c->scales, c->among, c->queries + q * c->len, c->query_scales + q, c->shifts + q,
			(uint32_t)c->rows, (uint32_t)c->len, (uint32_t)n, (uint32_t)runs, keys, tops };
		const struct best_args best = { keys, tops, found, (uint32_t)runs, (uint32_t)c->k, c->best + q * c->k, c->near + q * c->k, c->got + q };
		CUDA_LAUNCH(g, scan_rows, runs, RUN, shared, rows);
		CUDA_LAUNCH(g, scan_best, n, BEST_TEAM, sizeof(struct best_shared), best);
	}
}
