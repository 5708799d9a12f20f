/* ops_cuda_attend.cu: attention over pages of keys and values on a GPU (nn/gpu.h, attend, attend_floats).
 *
 * Both kernels are the online softmax of Milakov & Gimelshein 2018 in the blocks of FlashAttention (Dao et al. 2022),
 * on tensor cores with sums in floats. All query heads that share a head of keys go together, so that keys are read
 * once.
 *
 * Halves. A head's query is multiplied by the power of two that brings its largest element to 2^14 … 2^15: nothing
 * passes what halves hold, and small elements keep their bits; scale and that power go into the score, a float, times
 * log2(e) for exp2. Shares stand times 2^14 (`top` below is the maximum less LIFT), so that those down to 2^-28 are
 * normal halves; the division by their sum takes it away.
 *
 * Decoding (decode): a block of four warps attends to runs of GPU_SPLIT keys that begin at multiples of it, a page
 * for each warp (Flash-Decoding, Dao et al. 2023). Up to 8 heads; the 16 rows of a product are their queries as two
 * halves each, rounded and rest, and so with the shares: scores and sums are good to 2^-22 as though in floats. Keys
 * and values go from memory to registers, 16 bytes at a time, without shared memory: a product's k is counted so that
 * each lane's 8 dimensions (of keys) or 4 keys (of values) are what it must bring. Warps are added up in order of
 * pages; then runs, from scratch, in order of positions, by the row's last block to arrive.
 *
 * Prompts (prompt): a block of four warps attends for PROMPT_ROWS pairs of token and head; queries and shares are
 * halves. Keys and values come to shared memory with asynchronous copies, in blocks at multiples of their length, one
 * ahead. A tile of tokens that holds several sequences is walked once for each.
 *
 * A query meets the same blocks in the same order whoever shares the call: a block that it has no key of changes
 * nothing, to the bit, nor do others' keys in a block, unless a value is no finite number: that shows in the whole
 * tile of a prompt. What no query of a tile attends to is not read.
 *
 * Heads of 64, 128 and 256 dimensions have kernels of their own; others take the next larger one, with bounds.
 *
 * The reckoning. Decoding reads 4 * head_dim * kv_heads bytes a position and layer, once for up to 8 heads (more read
 * it again, from the second-level cache); where a row has several runs it writes and reads 4 * head_dim * heads bytes
 * a run. Of 12 heads on 2 of 128 (the 1.5B) that is 1024 bytes a position, and 2 * 48 for sums, which stay in the
 * cache up to some 40 MB.
 *   1 sequence of 2048: 2 MB, 32 blocks of 64 KB; what bounds it is latency: slot and page, then all of a page at
 *     once, four products deep, then the sum of 16 runs: some 4 us a layer
 *   16 of 2048: 34 MB, 512 blocks: 7 us at 4.8 TB/s
 *   64 of 2048: 134 MB: 28 us.  64 of 8192: 537 MB: 112 us
 * Under way: a warp asks for its page (16 KB) at once, 4 warps a block, 3 blocks a multiprocessor: 192 KB, where 4.8
 * TB/s at 0.8 us want 29. A page's 64 mma take 512 clocks of a quarter of a multiprocessor, which gets a page in 3100.
 * Prompts: 4 * head_dim operations a pair of query and key: 2048 positions of the 1.5B are 13 GFLOP a layer; a block
 * has 64 rows for 32 KB of a block of keys: 128 operations a byte, which come from the cache. 512 rows are 104
 * blocks.
 * Threads: as gpu.h. Failure: none of its own. */
#include <math.h>
#include <stdint.h>
#include "nn/cuda_inside.h"

constexpr uint32_t PAGE = GPU_PAGE, SPLIT = GPU_SPLIT;
constexpr uint32_t WARPS = SPLIT / PAGE, THREADS = 32 * WARPS;
constexpr uint32_t DECODE_HEADS = 8;           /* of a block */
constexpr uint32_t DECODE_BLOCKS = 2048;       /* about so many of a launch are enough */
constexpr uint32_t RUNS = 32;                  /* that the last block adds up at a time */
constexpr uint32_t PROMPT_ROWS = 16 * WARPS, PROMPT_PAD = 8;
constexpr uint32_t LINE = 64;                  /* halves that memory gives at a time */
constexpr int LIFT = 14;

struct alignas(16) words { uint32_t w[4]; };   /* 8 halves, in one load */

struct attend_job {
	const float *q; float *out;
	const uint16_t *store; size_t page_halves, head_halves;
	const int32_t *pos, *slot; const uint32_t *pages; size_t ld_pages;
	uint32_t n, heads, kv_heads, dim, group, parts; /* parts: into which a head of keys' queries are cut */
	uint32_t tokens;             /* prompts: of a tile */
	uint32_t window, runs;       /* runs: most of a row */
	float scale;                 /* times log2(e) */
	uint32_t *arrived;           /* (rows, heads): blocks that are done */
	float *vec, *top;            /* (n, runs, heads, dim); (n, runs, heads, 2): top and sum */
};

struct row { uint32_t first, end; };           /* positions of a query's keys */

/* ---- what both have ---- */

CUDA_FN struct row row_keys(const struct attend_job *c, uint32_t pos)
{
	struct row r = { c->window && pos + 1 > c->window ? pos + 1 - c->window : 0, pos + 1 };
	return r;
}

/* Of a head: a constant where there is a kernel for it. */
template <int DIM, int ALL> CUDA_FN uint32_t head_dim(const struct attend_job *c) { return ALL ? DIM : c->dim; }

/* The first key of a page; values lie PAGE * dim on. */
CUDA_FN const uint16_t *page_keys(const struct attend_job *c, uint32_t slot, uint32_t page, uint32_t kv_head)
{
	return c->store + c->pages[slot * c->ld_pages + page] * c->page_halves + c->head_halves +
		(size_t)kv_head * (2 * PAGE) * c->dim;
}

CUDA_FN float quad_max(float x)
{
	x = fmaxf(x, warp_xor(x, 1));
	return fmaxf(x, warp_xor(x, 2));
}

CUDA_FN float quad_sum(float x)
{
	x += warp_xor(x, 1);
	return x + warp_xor(x, 2);
}

/* Two halves in 32 bits, and pairs of the halves of two such. */
CUDA_FN float pair_low(uint32_t w) { return half_float((uint16_t)w); }
CUDA_FN float pair_high(uint32_t w) { return half_float((uint16_t)(w >> 16)); }
CUDA_FN uint32_t words_low(uint32_t a, uint32_t b) { return __byte_perm(a, b, 0x5410); }
CUDA_FN uint32_t words_high(uint32_t a, uint32_t b) { return __byte_perm(a, b, 0x7632); }

/* The power of two that brings a query whose largest element is `most` to 2^14 … 2^15, and what a product with it is to
 * be multiplied with. */
CUDA_FN float query_lift(float most, float scale, float *factor)
{
	int e = most > 0x1p-100f && most < INFINITY ? ilogbf(most) : 0;
	*factor = ldexpf(scale, e - (float)LIFT);
	return ldexpf(1.0f, LIFT - e);
}

/* What shares are reckoned from: any number where there was no key yet. */
CUDA_FN float top_safe(float top)
{
	return top == -INFINITY ? 0 : top;
}

/* ---- decoding ---- */

/* Shared memory of a block of decode: queries as the lanes of a product's first operand want them, for each 16
 * dimensions; factors of scores; each warp's top and sum of every head, then its sums of values. */
template <int DIM> struct decode_shared {
	struct words query[DIM / 16][32];
	float factor[DECODE_HEADS], top[WARPS][DECODE_HEADS], sum[WARPS][DECODE_HEADS];
	float runs_top[DECODE_HEADS], runs_sum[DECODE_HEADS], share[DECODE_HEADS][RUNS];
	uint32_t last;
	alignas(16) float vec[WARPS][DECODE_HEADS][DIM + 4];
};

struct decode_at {                             /* a block's place */
	uint32_t row, kv_head, head, heads;    /* its first head, and how many */
	uint32_t slot, run0, runs;             /* the row's first run, and how many it has */
	struct row keys;
};

/* Queries to shared memory: warp w does the groups w, w + WARPS … of 32 dimensions. Lane 4h + i has 8 dimensions of
 * head h from 8i on: products 2x and 2x+1 take 4 of them each, as their k of 2i, 2i+1, 2i+8, 2i+9. */
template <int DIM, int ALL> CUDA_FN void decode_query(const struct attend_job *c, const struct decode_at *at,
	struct decode_shared<DIM> *s)
{
	const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = lane / 4, dim = head_dim<DIM, ALL>(c);
	const float *q = c->q + ((size_t)at->row * c->heads + at->head + head) * dim;
	float most = 0, factor, lift;
#pragma unroll
	for (uint32_t d = lane % 4 * 8; d < DIM; d += 32)
#pragma unroll
		for (uint32_t i = 0; i < 8; i += 4) {
			const float4 v = head < at->heads && (ALL || d < dim) ? *(const float4 *)(q + d + i) : make_float4(0, 0, 0, 0);
			most = fmaxf(fmaxf(most, fmaxf(fabsf(v.x), fabsf(v.y))), fmaxf(fabsf(v.z), fabsf(v.w)));
		}
	lift = query_lift(quad_max(most), c->scale, &factor);
	if (warp == 0 && lane % 4 == 0) s->factor[head] = factor;
	for (uint32_t x = warp; x < DIM / 32; x += WARPS)
#pragma unroll
		for (uint32_t half = 0; half < 2; half++) {
			const uint32_t d = x * 32 + lane % 4 * 8;
			float4 v = make_float4(0, 0, 0, 0);
			struct words w;
			if (head < at->heads && (ALL || d < dim)) v = *(const float4 *)(q + d + half * 4);
			const float f[4] = { v.x * lift, v.y * lift, v.z * lift, v.w * lift };
#pragma unroll
			for (uint32_t i = 0; i < 4; i += 2) {
				w.w[i] = half_pair(f[i], f[i + 1]);
				w.w[i + 1] = half_pair(f[i] - pair_low(w.w[i]), f[i + 1] - pair_high(w.w[i]));
			}
			s->query[2 * x + half][lane] = w;
		}
}

/* score[t]: products of the queries with keys 8t … 8t+7 of a page that begins at `keys`; those not from lo to hi are
 * not read. */
template <int DIM, int ALL> CUDA_FN void decode_scores(const uint16_t *keys, uint32_t dim, uint32_t lo, uint32_t hi,
	const struct decode_shared<DIM> *s, float score[4][4])
{
	constexpr int DEEP = DIM < 128 ? DIM / 32 : 4;
	const uint32_t lane = threadIdx.x % 32, key = lane / 4, d = lane % 4 * 8;
#pragma unroll
	for (int t = 0; t < 4; t++)
#pragma unroll
		for (int i = 0; i < 4; i++) score[t][i] = 0;
#pragma unroll DIM > 128 ? 1 : 4
	for (int x0 = 0; x0 < DIM / 32; x0 += DEEP) {
		struct words k[DEEP][4];
#pragma unroll
		for (int x = 0; x < DEEP; x++)
#pragma unroll
			for (int t = 0; t < 4; t++) {
				struct words w = { { 0, 0, 0, 0 } };
				uint32_t j = 8 * t + key, at = (x0 + x) * 32 + d;
				if (j >= lo && j < hi && (ALL || at < dim)) w = *(const struct words *)(keys + j * dim + at);
				k[x][t] = w;
			}
#pragma unroll
		for (int x = 0; x < DEEP; x++)
#pragma unroll
			for (int half = 0; half < 2; half++) {
				struct words q = s->query[2 * (x0 + x) + half][lane];
#pragma unroll
				for (int t = 0; t < 4; t++) mma_f16(score[t], q.w, k[x][t].w + 2 * half);
			}
	}
}

/* Scores to shares, each as two halves; p[u] is the first operand for keys 16u … 16u+15. */
CUDA_FN void decode_shares(float score[4][4], float factor, uint32_t lo, uint32_t hi, float *top, float *sum,
	uint32_t p[2][4])
{
	const uint32_t lane = threadIdx.x % 32;
	float most = -INFINITY, all = 0;
#pragma unroll
	for (int t = 0; t < 4; t++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			uint32_t j = 8 * t + lane % 4 * 2 + i;
			score[t][i] = j >= lo && j < hi ? (score[t][i] + score[t][2 + i]) * factor : -INFINITY;
			most = fmaxf(most, score[t][i]);
		}
	*top = top_safe(quad_max(most) - (float)LIFT);
#pragma unroll
	for (int t = 0; t < 4; t++) {
		float a = exp2f(score[t][0] - *top), b = exp2f(score[t][1] - *top);
		uint32_t high = half_pair(a, b);
		p[t / 2][t % 2 * 2] = high;
		p[t / 2][t % 2 * 2 + 1] = half_pair(a - pair_low(high), b - pair_high(high));
		all += a;
		all += b;
	}
	*sum = quad_sum(all);
}

/* The shares' sums of values, 64 dimensions from d0 on, to `out` (heads, DIM + 4). Lane 4g + i brings dimensions
 * 8g … 8g+7 of keys 2i, 2i+1, 2i+8, 2i+9: product number o has dimension 8g + o as its column g. */
template <int DIM, int ALL> CUDA_FN void decode_values(const uint16_t *values, uint32_t dim, uint32_t d0, uint32_t lo,
	uint32_t hi, const uint32_t p[2][4], float (*out)[DIM + 4])
{
	const uint32_t lane = threadIdx.x % 32, at = d0 + lane / 4 * 8, column = d0 + lane % 4 * 16;
	float acc[8][4];
	struct words v[2][4];
#pragma unroll
	for (int u = 0; u < 2; u++)
#pragma unroll
		for (int i = 0; i < 4; i++) {
			struct words w = { { 0, 0, 0, 0 } };
			uint32_t j = 16 * u + lane % 4 * 2 + i % 2 + i / 2 * 8;
			if (j >= lo && j < hi && (ALL || at < dim)) w = *(const struct words *)(values + j * dim + at);
			v[u][i] = w;
		}
#pragma unroll
	for (int o = 0; o < 8; o++) {
#pragma unroll
		for (int i = 0; i < 4; i++) acc[o][i] = 0;
#pragma unroll
		for (int u = 0; u < 2; u++) {
			uint32_t b[2];
#pragma unroll
			for (int i = 0; i < 2; i++)
				b[i] = o % 2 ? words_high(v[u][2 * i].w[o / 2], v[u][2 * i + 1].w[o / 2]) :
					words_low(v[u][2 * i].w[o / 2], v[u][2 * i + 1].w[o / 2]);
			mma_f16(acc[o], p[u], b);
		}
	}
#pragma unroll
	for (int i = 0; i < 2; i++)
#pragma unroll
		for (int o = 0; o < 8; o++) out[lane / 4][column + 8 * i + o] = acc[o][i] + acc[o][2 + i];
}

/* A warp's page of a run: its position, and which of its keys the row has. */
struct decode_part { uint32_t begin, lo, hi; };
CUDA_FN struct decode_part decode_part_of(const struct decode_at *at, uint32_t run)
{
	struct decode_part p = { run * SPLIT + threadIdx.x / 32 * PAGE, 0, 0 };
	if (at->keys.first > p.begin) p.lo = at->keys.first - p.begin;
	if (at->keys.end > p.begin) p.hi = min(at->keys.end - p.begin, PAGE);
	return p;
}

/* Asks for a warp's page, so that all of it is under way before the first product waits for its part. */
template <int DIM, int ALL> CUDA_FN void decode_ask(const struct attend_job *c, const struct decode_at *at,
	uint32_t run)
{
	const uint32_t dim = head_dim<DIM, ALL>(c);
	const struct decode_part p = decode_part_of(at, run);
	if (p.lo >= p.hi) return;
	const uint16_t *keys = page_keys(c, at->slot, p.begin / PAGE, at->kv_head);
	for (uint32_t i = p.lo * dim + threadIdx.x % 32 * LINE; i < p.hi * dim; i += 32 * LINE) {
		prefetch_line(keys + i);
		prefetch_line(keys + PAGE * dim + i);
	}
}

/* A warp's page of a run, to shared memory. */
template <int DIM, int ALL> CUDA_FN void decode_page(const struct attend_job *c, const struct decode_at *at,
	uint32_t run, struct decode_shared<DIM> *s)
{
	const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, dim = head_dim<DIM, ALL>(c);
	const struct decode_part part = decode_part_of(at, run);
	float top = -INFINITY, sum = 0, score[4][4];
	uint32_t p[2][4];
	if (part.lo < part.hi) {
		const uint16_t *keys = page_keys(c, at->slot, part.begin / PAGE, at->kv_head);
		decode_scores<DIM, ALL>(keys, dim, part.lo, part.hi, s, score);
		decode_shares(score, s->factor[lane / 4], part.lo, part.hi, &top, &sum, p);
#pragma unroll DIM > 128 ? 1 : 2
		for (int d = 0; d < DIM; d += 64)
			decode_values<DIM, ALL>(keys + PAGE * dim, dim, d, part.lo, part.hi, p, s->vec[warp]);
	}
	if (lane % 4 == 0) {
		s->top[warp][lane / 4] = top;
		s->sum[warp][lane / 4] = sum;
	}
}

/* The warps' sums, added up in order of pages: the result where the row has no other run, else to scratch. */
template <int DIM, int ALL> CUDA_FN void decode_run(const struct attend_job *c, const struct decode_at *at, uint32_t i,
	const struct decode_shared<DIM> *s)
{
	const uint32_t dim = head_dim<DIM, ALL>(c);
	const size_t to = ((size_t)at->row * c->runs + i) * c->heads + at->head;
	for (uint32_t k = threadIdx.x; k < at->heads * dim; k += THREADS) {
		uint32_t h = k / dim, d = k % dim;
		float top = -INFINITY, sum = 0, v = 0;
#pragma unroll
		for (uint32_t w = 0; w < WARPS; w++) top = fmaxf(top, s->top[w][h]);
#pragma unroll
		for (uint32_t w = 0; w < WARPS; w++) {
			if (s->top[w][h] == -INFINITY) continue;
			float share = exp2f(s->top[w][h] - top);
			sum = fmaf(s->sum[w][h], share, sum);
			v = fmaf(s->vec[w][h][d], share, v);
		}
		if (at->runs == 1) {
			c->out[((size_t)at->row * c->heads + at->head + h) * dim + d] = v / sum;
			continue;
		}
		c->vec[(to + h) * dim + d] = v;
		if (d) continue;
		c->top[(to + h) * 2] = top;
		c->top[(to + h) * 2 + 1] = sum;
	}
}

/* Whether this is the last of the row's blocks: then it sees what the others wrote, and the next pass counts from 0
 * again. */
template <int DIM> CUDA_FN int decode_last(const struct attend_job *c, const struct decode_at *at,
	struct decode_shared<DIM> *s)
{
	uint32_t blocks = at->runs < gridDim.y ? at->runs : gridDim.y;
	uint32_t *arrived = c->arrived + (size_t)at->row * c->heads + at->head;
	__threadfence();
	__syncthreads();
	if (threadIdx.x == 0) {
		s->last = atomicAdd(arrived, 1u) + 1 == blocks;
		if (s->last) *arrived = 0;
	}
	__syncthreads();
	if (!s->last) return 0;
	__threadfence();
	return 1;
}

/* Tops of runs, and their sum in the end. A warp takes every fourth head, a lane every 32nd run. */
template <int DIM> CUDA_FN void decode_tops(const struct attend_job *c, const struct decode_at *at,
	struct decode_shared<DIM> *s)
{
	const size_t from = (size_t)at->row * c->runs * c->heads + at->head;
	for (uint32_t h = threadIdx.x / 32; h < at->heads; h += WARPS) {
		float top = -INFINITY;
		for (uint32_t i = threadIdx.x % 32; i < at->runs; i += 32)
			top = fmaxf(top, load_fresh(c->top + (from + h + (size_t)i * c->heads) * 2));
		top = warp_max(top);
		if (threadIdx.x % 32 == 0) s->runs_top[h] = top, s->runs_sum[h] = 0;
	}
}

/* Shares of runs i0 … i0+RUNS-1. */
template <int DIM> CUDA_FN void decode_runs_shares(const struct attend_job *c, const struct decode_at *at, uint32_t i0,
	struct decode_shared<DIM> *s)
{
	const size_t from = (size_t)at->row * c->runs * c->heads + at->head;
	const uint32_t lane = threadIdx.x % 32;
	for (uint32_t h = threadIdx.x / 32; h < at->heads; h += WARPS) {
		float share = 0, sum = 0;
		if (i0 + lane < at->runs) {
			const float *run = c->top + (from + h + (size_t)(i0 + lane) * c->heads) * 2;
			share = exp2f(load_fresh(run) - s->runs_top[h]);
			sum = share * load_fresh(run + 1);
		}
		sum = warp_sum(sum);
		s->share[h][lane] = share;
		if (lane == 0) s->runs_sum[h] += sum;
	}
}

/* All runs of a row, in order of positions. */
template <int DIM, int ALL> CUDA_FN void decode_runs(const struct attend_job *c, const struct decode_at *at,
	struct decode_shared<DIM> *s)
{
	const uint32_t dim = head_dim<DIM, ALL>(c);
	constexpr uint32_t MOST = DECODE_HEADS * DIM / 4 / THREADS;
	const size_t step = (size_t)c->heads * dim;
	const float *from = c->vec + ((size_t)at->row * c->runs * c->heads + at->head) * dim;
	const uint32_t all = at->heads * dim / 4;
	float v[MOST][4];
#pragma unroll
	for (uint32_t m = 0; m < MOST; m++)
#pragma unroll
		for (int l = 0; l < 4; l++) v[m][l] = 0;
	decode_tops(c, at, s);
	for (uint32_t i0 = 0; i0 < at->runs; i0 += RUNS) {
		uint32_t n = min(at->runs - i0, RUNS);
		__syncthreads();
		decode_runs_shares(c, at, i0, s);
		__syncthreads();
#pragma unroll
		for (uint32_t m = 0; m < MOST; m++) {
			const uint32_t k = threadIdx.x + m * THREADS;
			if (k >= all) continue;
			const float *share = s->share[k / (dim / 4)];
#pragma unroll 8
			for (uint32_t i = 0; i < n; i++) {
				float x[4];
				load_fresh4(x, from + (i0 + i) * step + 4 * k);
#pragma unroll
				for (int l = 0; l < 4; l++) v[m][l] = fmaf(x[l], share[i], v[m][l]);
			}
		}
	}
#pragma unroll
	for (uint32_t m = 0; m < MOST; m++) {
		const uint32_t k = threadIdx.x + m * THREADS;
		if (k >= all) continue;
		float *to = c->out + ((size_t)at->row * c->heads + at->head) * dim + 4 * k;
#pragma unroll
		for (int l = 0; l < 4; l++) to[l] = v[m][l] / s->runs_sum[k / (dim / 4)];
	}
}

/* Grid: heads of keys times parts; runs, of which a block takes every so many-th; rows. */
template <int DIM, int ALL> __launch_bounds__(THREADS, ALL ? 3 : 2) CUDA_KERNEL(decode)(struct attend_job c)
{
	CUDA_SHARED(struct decode_shared<DIM>, s);
	const int32_t pos = c.pos[blockIdx.z];
	struct decode_at at;
	if (pos < 0) return;
	at.row = blockIdx.z;
	at.keys = row_keys(&c, (uint32_t)pos);
	at.run0 = at.keys.first / SPLIT;
	at.runs = (uint32_t)pos / SPLIT - at.run0 + 1;
	if (blockIdx.y >= at.runs) return;
	at.slot = (uint32_t)c.slot[at.row];
	at.kv_head = blockIdx.x / c.parts;
	at.head = blockIdx.x % c.parts * DECODE_HEADS;
	at.heads = min(c.group - at.head, DECODE_HEADS);
	at.head += at.kv_head * c.group;
	decode_ask<DIM, ALL>(&c, &at, at.run0 + blockIdx.y);
	decode_query<DIM, ALL>(&c, &at, s);
	__syncthreads();
	for (uint32_t i = blockIdx.y; i < at.runs; i += gridDim.y) {
		decode_page<DIM, ALL>(&c, &at, at.run0 + i, s);
		if (i + gridDim.y < at.runs) decode_ask<DIM, ALL>(&c, &at, at.run0 + i + gridDim.y);
		__syncthreads();
		decode_run<DIM, ALL>(&c, &at, i, s);
		__syncthreads();
	}
	if (at.runs > 1 && decode_last<DIM>(&c, &at, s)) decode_runs<DIM, ALL>(&c, &at, s);
}

/* ---- prompts ---- */

/* Keys of a block, and halves from one key to the next in shared memory (rows of 8 then lie in different banks). */
template <int DIM> struct prompt_of {
	static constexpr uint32_t KEYS = DIM > 128 ? 32 : 64, LD = DIM + PROMPT_PAD;
	static constexpr int SPARE = DIM > 128;        /* registers: queries are kept in shared memory */
};

template <int DIM> struct prompt_shared {      /* of block b: [b % 2] */
	alignas(16) uint16_t keys[2][prompt_of<DIM>::KEYS][prompt_of<DIM>::LD];
	alignas(16) uint16_t values[2][prompt_of<DIM>::KEYS][prompt_of<DIM>::LD];
	alignas(16) uint32_t query[prompt_of<DIM>::SPARE ? DIM / 16 : 1][WARPS][4][32]; /* as in prompt_rows */
};

struct prompt_at {                             /* where a segment of a tile is: rows t … end-1, of one sequence */
	uint32_t tile, t, end;                 /* tile: its first row */
	uint32_t kv_head, head, heads, slot;
	struct row keys;                       /* from the first key of any row to the last of any */
};

template <int DIM> struct prompt_rows {        /* what a thread has of rows lane/4 and lane/4 + 8 of its warp */
	struct row keys[2];                    /* none where the row is not the segment's */
	size_t place[2];                       /* of its query and its result */
	float factor[2], top[2], sum[2];
	uint32_t query[prompt_of<DIM>::SPARE ? 1 : DIM / 16][4]; /* for each 16 dimensions, as a product's first operand */
	float acc[DIM / 8][4];
};

/* The block of keys that begins at `begin`, on its way to shared memory; zeros where no row of the segment has a
 * key. */
template <int DIM, int ALL> CUDA_FN void prompt_take(const struct attend_job *c, const struct prompt_at *at,
	uint32_t begin, struct prompt_shared<DIM> *s)
{
	constexpr uint32_t KEYS = prompt_of<DIM>::KEYS, PIECES = DIM / 8;
	const uint32_t stage = begin / KEYS % 2, dim = head_dim<DIM, ALL>(c);
	const uint16_t *page[KEYS / PAGE];
#pragma unroll
	for (uint32_t i = 0; i < KEYS / PAGE; i++) {
		uint32_t j = begin + i * PAGE;
		page[i] = j < at->keys.end && j + PAGE > at->keys.first ? page_keys(c, at->slot, j / PAGE, at->kv_head) : NULL;
	}
#pragma unroll 4
	for (uint32_t i = threadIdx.x; i < KEYS * PIECES; i += THREADS) {
		const uint32_t j = i / PIECES, d = i % PIECES * 8;
		uint16_t *key = &s->keys[stage][j][d], *value = &s->values[stage][j][d];
		if (begin + j >= at->keys.first && begin + j < at->keys.end && (ALL || d < dim)) {
			const uint16_t *from = (KEYS == PAGE || j < PAGE ? page[0] : page[KEYS / PAGE - 1]) +
				j % PAGE * dim + d;
			copy16_async(key, from);
			copy16_async(value, from + PAGE * dim);
		} else {
			const struct words none = { { 0, 0, 0, 0 } };
			*(struct words *)key = none;
			*(struct words *)value = none;
		}
	}
	copy_commit();
}

/* Two neighbours of row i's query; zeros where there are none. */
template <int DIM, int ALL> CUDA_FN float2 query_two(const struct attend_job *c, const struct prompt_rows<DIM> *r,
	int i, uint32_t d)
{
	if (r->keys[i].end && (ALL || d < c->dim)) return *(const float2 *)(c->q + r->place[i] + d);
	return make_float2(0, 0);
}

/* The rows of a thread: their keys and queries. */
template <int DIM, int ALL> CUDA_FN void prompt_begin(const struct attend_job *c, const struct prompt_at *at,
	struct prompt_shared<DIM> *s, struct prompt_rows<DIM> *r)
{
	const uint32_t lane = threadIdx.x % 32, column = lane % 4 * 2;
	float lift[2];
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const uint32_t row = threadIdx.x / 32 * 16 + lane / 4 + 8 * i, t = at->tile + row / at->heads;
		const int mine = row < c->tokens * at->heads && t >= at->t && t < at->end;
		float most = 0;
		r->keys[i].first = r->keys[i].end = 0;
		if (mine) r->keys[i] = row_keys(c, (uint32_t)c->pos[t]);
		r->place[i] = ((size_t)t * c->heads + at->head + row % at->heads) * c->dim;
		r->top[i] = -INFINITY;
		r->sum[i] = 0;
#pragma unroll 8
		for (uint32_t d = column; d < DIM; d += 8) {
			const float2 q = query_two<DIM, ALL>(c, r, i, d);
			most = fmaxf(most, fmaxf(fabsf(q.x), fabsf(q.y)));
		}
		lift[i] = query_lift(quad_max(most), c->scale, &r->factor[i]);
	}
#pragma unroll
	for (int k = 0; k < DIM / 16; k++) {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			const float2 q = query_two<DIM, ALL>(c, r, i % 2, 16 * k + i / 2 * 8 + column);
			const uint32_t w = half_pair(q.x * lift[i % 2], q.y * lift[i % 2]);
			if constexpr (prompt_of<DIM>::SPARE) s->query[k][threadIdx.x / 32][i][lane] = w;
			else r->query[k][i] = w;
		}
	}
#pragma unroll
	for (int d = 0; d < DIM / 8; d++)
#pragma unroll
		for (int i = 0; i < 4; i++) r->acc[d][i] = 0;
}

/* score[t]: products of the warp's queries with keys 8t … 8t+7. */
template <int DIM> CUDA_FN void prompt_scores(const struct prompt_rows<DIM> *r, const struct prompt_shared<DIM> *s,
	uint32_t stage, float score[prompt_of<DIM>::KEYS / 8][4])
{
	const uint32_t lane = threadIdx.x % 32, key = lane / 16 * 8 + lane % 8, d = lane / 8 % 2 * 8;
#pragma unroll
	for (uint32_t t = 0; t < prompt_of<DIM>::KEYS / 8; t++)
#pragma unroll
		for (int i = 0; i < 4; i++) score[t][i] = 0;
#pragma unroll
	for (int k = 0; k < DIM / 16; k++) {
		uint32_t q[4];
		if constexpr (prompt_of<DIM>::SPARE) ldmatrix4(q, &s->query[k][threadIdx.x / 32][lane / 8][lane % 8 * 4]);
		else memcpy(q, r->query[k], sizeof q);
#pragma unroll
		for (uint32_t t = 0; t < prompt_of<DIM>::KEYS / 8; t += 2) {
			uint32_t b[4];
			ldmatrix4(b, &s->keys[stage][8 * t + key][16 * k + d]);
			mma_f16(score[t], q, b);
			mma_f16(score[t + 1], q, b + 2);
		}
	}
}

/* Scores of row i of a thread to shares, what was summed so far to their top. */
template <int DIM> CUDA_FN void prompt_shares(struct prompt_rows<DIM> *r, int i, uint32_t begin,
	float score[prompt_of<DIM>::KEYS / 8][4])
{
	constexpr uint32_t KEYS = prompt_of<DIM>::KEYS;
	const uint32_t column = begin + threadIdx.x % 4 * 2;
	const struct row keys = r->keys[i];
	const int all = keys.first <= begin && keys.end >= begin + KEYS;
	float most = -INFINITY, top, down, sum = 0;
#pragma unroll
	for (uint32_t t = 0; t < KEYS / 8; t++)
#pragma unroll
		for (int e = 0; e < 2; e++) {
			const uint32_t j = column + 8 * t + e;
			float x = score[t][2 * i + e] * r->factor[i];
			if (!all && (j < keys.first || j >= keys.end)) x = -INFINITY;
			score[t][2 * i + e] = x;
			most = fmaxf(most, x);
		}
	most = fmaxf(r->top[i], quad_max(most) - (float)LIFT);
	top = top_safe(most);
	down = exp2f(r->top[i] - top);
	r->top[i] = most;
#pragma unroll
	for (uint32_t t = 0; t < KEYS / 8; t++)
#pragma unroll
		for (int e = 0; e < 2; e++) {
			score[t][2 * i + e] = exp2f(score[t][2 * i + e] - top);
			sum += score[t][2 * i + e];
		}
	r->sum[i] = fmaf(r->sum[i], down, sum);
#pragma unroll
	for (int d = 0; d < DIM / 8; d++) {
		r->acc[d][2 * i] *= down;
		r->acc[d][2 * i + 1] *= down;
	}
}

template <int DIM> CUDA_FN void prompt_values(struct prompt_rows<DIM> *r, const uint16_t (*values)[prompt_of<DIM>::LD],
	float score[prompt_of<DIM>::KEYS / 8][4])
{
	const uint32_t lane = threadIdx.x % 32, key = lane % 16, d = lane / 16 * 8;
#pragma unroll
	for (uint32_t u = 0; u < prompt_of<DIM>::KEYS / 16; u++) {
		uint32_t p[4];
#pragma unroll
		for (int i = 0; i < 4; i++) p[i] = half_pair(score[2 * u + i / 2][i % 2 * 2], score[2 * u + i / 2][i % 2 * 2 + 1]);
#pragma unroll
		for (int o = 0; o < DIM / 8; o += 2) {
			uint32_t b[4];
			ldmatrix4_t(b, &values[16 * u + key][8 * o + d]);
			mma_f16(r->acc[o], p, b);
			mma_f16(r->acc[o + 1], p, b + 2);
		}
	}
}

template <int DIM, int ALL> CUDA_FN void prompt_end(const struct attend_job *c, const struct prompt_rows<DIM> *r)
{
	const uint32_t column = threadIdx.x % 4 * 2;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const float sum = quad_sum(r->sum[i]);
#pragma unroll
		for (int d = 0; d < DIM / 8; d++)
			if (r->keys[i].end && (ALL || 8 * d < (int)c->dim))
				*(float2 *)(c->out + r->place[i] + 8 * d + column) =
					make_float2(r->acc[d][2 * i] / sum, r->acc[d][2 * i + 1] / sum);
	}
}

/* One sequence's rows of a tile. */
template <int DIM, int ALL> CUDA_FN void prompt_segment(const struct attend_job *c, const struct prompt_at *at,
	struct prompt_shared<DIM> *s)
{
	constexpr uint32_t KEYS = prompt_of<DIM>::KEYS;
	struct prompt_rows<DIM> r;
	uint32_t begin = at->keys.first / KEYS * KEYS;
	prompt_take<DIM, ALL>(c, at, begin, s);
	prompt_begin<DIM, ALL>(c, at, s, &r);
	for (; begin < at->keys.end; begin += KEYS) {
		const uint32_t stage = begin / KEYS % 2;
		float score[KEYS / 8][4];
		if (begin + KEYS < at->keys.end) {
			prompt_take<DIM, ALL>(c, at, begin + KEYS, s);
			copy_wait(1);
		} else copy_wait(0);
		__syncthreads();
		prompt_scores<DIM>(&r, s, stage, score);
		prompt_shares<DIM>(&r, 0, begin, score);
		prompt_shares<DIM>(&r, 1, begin, score);
		prompt_values<DIM>(&r, s->values[stage], score);
		__syncthreads();
	}
	prompt_end<DIM, ALL>(c, &r);
}

/* Grid: tiles of c.tokens rows, the last first, for they have most keys; heads of keys times parts. */
template <int DIM, int ALL> __launch_bounds__(THREADS, 2) CUDA_KERNEL(prompt)(struct attend_job c)
{
	CUDA_SHARED(struct prompt_shared<DIM>, s);
	struct prompt_at at;
	at.tile = (gridDim.x - 1 - blockIdx.x) * c.tokens;
	at.kv_head = blockIdx.y / c.parts;
	at.head = blockIdx.y % c.parts * PROMPT_ROWS;
	at.heads = min(c.group - at.head, PROMPT_ROWS);
	at.head += at.kv_head * c.group;
	const uint32_t end = min(at.tile + c.tokens, c.n);
	for (at.t = at.tile; at.t < end; at.t = at.end) {
		at.end = at.t + 1;
		if (c.pos[at.t] < 0) continue;
		at.slot = (uint32_t)c.slot[at.t];
		at.keys = row_keys(&c, (uint32_t)c.pos[at.t]);
		for (; at.end < end && c.pos[at.end] >= 0 && (uint32_t)c.slot[at.end] == at.slot; at.end++) {
			const struct row keys = row_keys(&c, (uint32_t)c.pos[at.end]);
			at.keys.first = min(at.keys.first, keys.first);
			at.keys.end = max(at.keys.end, keys.end);
		}
		prompt_segment<DIM, ALL>(&c, &at, s);
	}
}

/* ---- launches ---- */

/* Scratch: counters, whose place is the same for every call of a model, for they must stay zero between calls; then
 * sums of values; then tops and sums. */
static size_t counters(size_t heads) { return GPU_ROWS * heads; }

/* Runs that a row can have. */
static size_t runs_most(const struct gpu_attend *c)
{
	size_t runs = div_up(c->keys_most, SPLIT);
	if (c->window && runs > (c->window + SPLIT - 2) / SPLIT + 1) runs = (c->window + SPLIT - 2) / SPLIT + 1;
	return runs ? runs : 1;
}

size_t GPU_NAME(attend_floats)(size_t n, size_t heads, size_t head_dim, size_t keys_most)
{
	return counters(heads) + n * heads * div_up(keys_most, SPLIT) * (head_dim + 2);
}

static struct attend_job job_make(const struct gpu_attend *c, const struct gpu_rows *rows)
{
	struct attend_job j = {};
	j.q = c->q, j.out = c->out;
	j.store = c->store, j.page_halves = c->page_halves, j.head_halves = c->head_halves;
	j.pos = rows->pos, j.slot = rows->slot, j.pages = rows->pages, j.ld_pages = rows->ld_pages;
	j.n = (uint32_t)rows->n, j.heads = (uint32_t)c->heads, j.kv_heads = (uint32_t)c->kv_heads;
	j.dim = (uint32_t)c->head_dim;
	j.group = j.heads / j.kv_heads;
	j.parts = (uint32_t)div_up(j.group, c->prompt ? PROMPT_ROWS : DECODE_HEADS);
	j.tokens = j.group < PROMPT_ROWS ? PROMPT_ROWS / j.group : 1;
	j.window = (uint32_t)c->window;
	j.runs = (uint32_t)runs_most(c);
	j.scale = c->scale * 1.44269504088896341f;
	if (!c->scratch) return j;
	j.arrived = (uint32_t *)c->scratch;
	j.vec = c->scratch + counters(c->heads);
	j.top = j.vec + rows->n * j.runs * c->heads * c->head_dim;
	return j;
}

template <int DIM, int ALL> static void launch(struct gpu *g, const struct gpu_attend *c, const struct gpu_rows *rows)
{
	const struct attend_job j = job_make(c, rows);
	const size_t x = c->kv_heads * j.parts;
	size_t y = DECODE_BLOCKS / (x * rows->n);
	if (c->prompt) {
		CUDA_LAUNCH(g, (prompt<DIM, ALL>), cuda_grid(div_up(rows->n, j.tokens), x), THREADS,
			sizeof(struct prompt_shared<DIM>), j);
		return;
	}
	y = y < 1 ? 1 : y > j.runs ? j.runs : y;
	CUDA_LAUNCH(g, (decode<DIM, ALL>), cuda_grid(x, y, rows->n), THREADS, sizeof(struct decode_shared<DIM>), j);
}

void GPU_NAME(attend)(struct gpu *g, const struct gpu_attend *c, const struct gpu_rows *rows)
{
	switch (c->head_dim) {
	case 64: launch<64, 1>(g, c, rows); break;
	case 128: launch<128, 1>(g, c, rows); break;
	case 256: launch<256, 1>(g, c, rows); break;
	default:
		if (c->head_dim < 64) launch<64, 0>(g, c, rows);
		else if (c->head_dim < 128) launch<128, 0>(g, c, rows);
		else launch<256, 0>(g, c, rows);
	}
}
