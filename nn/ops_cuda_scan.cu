/* ops_cuda_scan.cu: owns the exact scan: a few vectors against many, all as int8 codes, and the k best of each. No state.
 *
 * Method. scan_rows goes over all rows once for up to QUERIES queries: a block has RUN rows, a warp 32 of them, which are the
 * columns of m16n8k32 in whole numbers (the rows of it are the queries, from shared memory). In which order a row's bytes
 * are multiplied is of no matter, so each lane reads 16 of them on end. Of every product a key is kept, a whole number that
 * orders as the product does, and of every run its best. scan_best then has a block a query: the k best rows lie in the k
 * best runs (of equal ones the first), so of these the keys that reach the k-th run's best are gathered, k rows' at least and
 * k RUN at most; the k-th of them is found by its digits from the highest on (radix select), and what reaches it is sorted.
 * Keys are joined with the row's number, so that no two are equal: the k best are the same at every run.
 * Bound by reading the codes, once for QUERIES queries. Threads, failure: gpu.h. */
#include "nn/cuda_inside.h"

enum { RUN = 256, ROW_WARPS = RUN / 32, QUERIES = 16, BEST_TEAM = 1024, DIGITS = 256 };

struct rows_args {
	const uint8_t *codes; const float *scales; const uint32_t *among;
	const int8_t *queries; const float *query_scales; const int32_t *shifts;
	uint32_t rows, len, n, runs;
	uint32_t *keys, *tops;            /* (n, runs * RUN), (n, runs); 0: does not count */
};

CUDA_FN uint32_t key_of(float x)
{
	const uint32_t bits = __float_as_uint(x + 0.0f);   /* + 0: one zero only */
	if (x != x) return 0xffffffffu;
	return bits >> 31 ? ~bits : bits | 0x80000000u;
}

CUDA_FN float key_float(uint32_t key)
{
	return __uint_as_float(key >> 31 ? key ^ 0x80000000u : ~key);
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

/* What a block shares. */
struct best_shared {
	uint32_t digits[DIGITS];
	uint32_t digit, before, in, n;    /* a digit of the k-th; how many are above it, and how many have it */
	uint64_t sorted[GPU_SCAN_BEST];
};

CUDA_FN uint64_t joined(uint32_t key, uint32_t i)
{
	return key ? (uint64_t)key << 32 | ~i : 0;
}

/* By the block's first warp: where, from the highest digit down, `want` is reached; the lowest where they are fewer. */
CUDA_FN void digit_find(struct best_shared *s, uint32_t want)
{
	const uint32_t lane = (uint32_t)cuda_lane(), high = DIGITS - 1 - lane * 8;
	uint32_t mine = 0, upto;
	for (int i = 0; i < 8; i++) mine += s->digits[high - i];
	upto = mine;
	for (int step = 1; step < CUDA_WARP; step *= 2) {
		const uint32_t other = warp_exchange(upto, (int)lane - step < 0 ? (int)lane : (int)lane - step);
		if ((int)lane >= step) upto += other;
	}
	uint32_t above = upto - mine;
	if (above >= want || (upto < want && lane != CUDA_WARP - 1)) return;
	for (int i = 0; i < 8; i++) {
		const uint32_t here = s->digits[high - i];
		if (above + here >= want || i == 7) {
			s->digit = high - i;
			s->before = above;
			s->in = here;
			return;
		}
		above += here;
	}
}

/* The least of the k largest of n items that are not 0 and all different, by all threads: item(i). 1 where there are no more. */
template <class ITEM> CUDA_FN uint64_t kth_find(struct best_shared *s, const ITEM &item, uint32_t n, uint32_t k)
{
	uint64_t prefix = 0;
	uint32_t want = k;
	for (int shift = 56; shift >= 0; shift -= 8) {
		for (uint32_t i = threadIdx.x; i < DIGITS; i += BEST_TEAM) s->digits[i] = 0;
		__syncthreads();
		for (uint32_t i = threadIdx.x; i < n; i += BEST_TEAM) {
			const uint64_t x = item(i);
			if (x && (shift == 56 || x >> (shift + 8) == prefix)) atomicAdd(&s->digits[x >> shift & (DIGITS - 1)], 1u);
		}
		__syncthreads();
		if (threadIdx.x < CUDA_WARP) digit_find(s, want);
		__syncthreads();
		const uint32_t before = s->before, in = s->in;
		prefix = prefix << 8 | s->digit;
		__syncthreads();
		if (before + in <= want) {        /* all that have this digit are among them */
			prefix <<= shift;
			break;
		}
		want -= before;
	}
	return prefix ? prefix : 1;
}

struct run_item {
	const uint32_t *tops;
	__device__ uint64_t operator()(uint32_t i) const { return joined(tops[i], i); }
};

struct found_item {
	const uint64_t *found;
	__device__ uint64_t operator()(uint32_t i) const { return found[i]; }
};

/* The keys that may be among the k best; how many in s->n. A warp has a run at a time. */
CUDA_FN void runs_gather(struct best_shared *s, const uint32_t *keys, const uint32_t *tops, uint32_t runs, uint64_t least, uint64_t *found)
{
	const uint32_t key_least = (uint32_t)(least >> 32);
	for (uint32_t r = threadIdx.x / CUDA_WARP; r < runs; r += BEST_TEAM / CUDA_WARP) {
		if (joined(tops[r], r) < least) continue;
		for (uint32_t i = (uint32_t)cuda_lane(); i < RUN; i += CUDA_WARP) {
			const uint32_t row = r * RUN + i, key = keys[row];
			if (key && key >= key_least) found[atomicAdd(&s->n, 1u)] = joined(key, row);
		}
	}
}

/* Sorts n items (zeros behind them to the next power of two), the largest first: Batcher 1968. */
CUDA_FN void items_sort(uint64_t *at, uint32_t n)
{
	uint32_t all = 1;
	while (all < n) all *= 2;
	for (uint32_t size = 2; size <= all; size *= 2)
		for (uint32_t step = size / 2; step; step /= 2) {
			__syncthreads();
			const uint32_t i = threadIdx.x, j = i ^ step;
			if (i < all && j > i && (at[i] < at[j]) == !(i & size)) {
				const uint64_t t = at[i];
				at[i] = at[j];
				at[j] = t;
			}
		}
	__syncthreads();
}

CUDA_KERNEL(__launch_bounds__(BEST_TEAM) scan_best)(struct best_args c)
{
	CUDA_SHARED(struct best_shared, s);
	const size_t q = blockIdx.x;
	const uint32_t *keys = c.keys + q * c.runs * RUN, *tops = c.tops + q * c.runs;
	uint64_t *found = c.found + q * c.k * RUN;
	for (uint32_t i = threadIdx.x; i < GPU_SCAN_BEST; i += BEST_TEAM) s->sorted[i] = 0;
	if (threadIdx.x == 0) s->n = 0;
	const uint64_t run_least = kth_find(s, run_item{ tops }, c.runs, c.k);
	runs_gather(s, keys, tops, c.runs, run_least, found);
	__syncthreads();
	const uint32_t n = s->n;
	const uint64_t least = kth_find(s, found_item{ found }, n, c.k);
	__syncthreads();
	if (threadIdx.x == 0) s->n = 0;
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < n; i += BEST_TEAM)
		if (found[i] >= least) s->sorted[atomicAdd(&s->n, 1u)] = found[i];
	__syncthreads();
	const uint32_t got = s->n;
	items_sort(s->sorted, got);
	for (uint32_t i = threadIdx.x; i < got; i += BEST_TEAM) {
		c.best[q * c.k + i] = ~(uint32_t)s->sorted[i];
		c.near[q * c.k + i] = key_float((uint32_t)(s->sorted[i] >> 32));
	}
	if (threadIdx.x == 0) c.got[q] = got;
}

static size_t runs_of(size_t rows) { return div_up(rows, RUN); }
static size_t at_once(size_t n) { return n < QUERIES ? n : (size_t)QUERIES; }
static size_t padded(size_t bytes) { return div_up(bytes, 256) * 256; }

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
