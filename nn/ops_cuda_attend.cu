/* ops_cuda_attend.cu: attention over pages of keys and values on a GPU (nn/gpu.h, attend, attend_floats).
 *
 * What both kinds have in common stands in cuda_attend.h, prompts in cuda_prompt.h; here are decoding and the launches.
 *
 * Decoding (decode): a block of four warps attends to runs of GPU_SPLIT keys that begin at multiples of it, a page
 * for each warp (Flash-Decoding, Dao et al. 2023). Up to 8 heads; the 16 rows of a product are their queries as two
 * halves each, rounded and rest, and so with the shares: scores and sums are good to 2^-22 as though in floats. Keys
 * and values go from memory to registers, 16 bytes at a time, without shared memory: a product's k is counted so that
 * each lane's 8 dimensions (of keys) or 4 keys (of values) are what it must bring. Warps are added up in order of
 * pages; then runs, from scratch, in order of positions: each GROUP of them, counted from the row's first, by the last block of the
 * group to arrive, and the groups by the last of those. One block that added them all up would have 4 * head_dim * heads
 * bytes of every 128 keys to read by itself, one behind the other.
 *
 * Scratch has a bound, SUMS_MOST: rows whose sums would pass it go in several launches, one behind the other. A row's sums have
 * the same association however that falls out: runs and groups are places in the row, and who adds them up is no matter.
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
 *   1 of 32768: 34 MB: 7 us, then 32 runs of 3 KB added up by each of 16 blocks at once, then 8 such sums by 2
 * Under way: a warp asks for its page (16 KB) at once, 4 warps a block, 3 blocks a multiprocessor: 192 KB, where 4.8
 * TB/s at 0.8 us want 29. A page's 64 mma take 512 clocks of a quarter of a multiprocessor, which gets a page in 3100.
 * Threads: as gpu.h. Failure: none of its own. */
#include <math.h>
#include <stdint.h>
#include "nn/cuda_attend.h"
#include "nn/cuda_prompt.h"

constexpr uint32_t DECODE_HEADS = 8;           /* of a block */
constexpr uint32_t DECODE_BLOCKS = 2048;       /* about so many of a launch are enough */
constexpr uint32_t GROUP = 32;                 /* runs whose sums are added up by one block; a lane of a warp for each */
constexpr size_t SUMS_MOST = 8 << 20;          /* floats of sums of one launch: about what stays in the cache */
constexpr size_t COUNTERS = 16 * GPU_ROWS;     /* for each head */
constexpr uint32_t LINE = 64;                  /* halves that memory gives at a time */

/* ---- decoding ---- */

/* Shared memory of a block of decode: queries as the lanes of a product's first operand want them, for each 16
 * dimensions; factors of scores; each warp's top and sum of every head, then its sums of values. */
template <int DIM> struct decode_shared {
	struct words query[DIM / 16][32];
	float factor[DECODE_HEADS], top[WARPS][DECODE_HEADS], sum[WARPS][DECODE_HEADS];
	float all_top[DECODE_HEADS], all_sum[DECODE_HEADS], share[DECODE_HEADS][GROUP];
	uint32_t last;
	alignas(16) float vec[WARPS][DECODE_HEADS][DIM + 4];
};

struct decode_at {                             /* a block's place */
	uint32_t row, kv_head, head, heads;    /* its first head, and how many */
	uint32_t slot, run0, runs;             /* the row's first run, and how many it has */
	uint32_t first, n;                     /* of its runs, those of the block's group */
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

/* Whether this is the last of `blocks` that count here: then it sees what the others wrote, and the next call counts from 0
 * again. place: 0 counts the row's groups, 1 + g the blocks of group g. */
template <int DIM> CUDA_FN int decode_last(const struct attend_job *c, const struct decode_at *at, uint32_t place,
	uint32_t blocks, struct decode_shared<DIM> *s)
{
	uint32_t *arrived = c->arrived + ((size_t)at->row * (1 + c->groups) + place) * c->heads + at->head;
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

/* Sums to be added up: n of them, every step-th of the row's from the first on. */
struct decode_sums { uint32_t first, step, n; };

/* Where sum i lies: the row's in (row, runs, heads). */
CUDA_FN size_t sums_at(const struct attend_job *c, const struct decode_at *at, const struct decode_sums *sums, uint32_t i)
{
	return ((size_t)at->row * c->runs + sums->first + i * sums->step) * c->heads + at->head;
}

/* The largest top of all. A warp takes every fourth head, a lane every 32nd sum. */
template <int DIM> CUDA_FN void decode_tops(const struct attend_job *c, const struct decode_at *at,
	const struct decode_sums *sums, struct decode_shared<DIM> *s)
{
	for (uint32_t h = threadIdx.x / 32; h < at->heads; h += WARPS) {
		float top = -INFINITY;
		for (uint32_t i = threadIdx.x % 32; i < sums->n; i += 32)
			top = fmaxf(top, load_fresh(c->top + (sums_at(c, at, sums, i) + h) * 2));
		top = warp_max(top);
		if (threadIdx.x % 32 == 0) s->all_top[h] = top, s->all_sum[h] = 0;
	}
}

/* Shares of sums i0 … i0+GROUP-1. */
template <int DIM> CUDA_FN void decode_sums_shares(const struct attend_job *c, const struct decode_at *at,
	const struct decode_sums *sums, uint32_t i0, struct decode_shared<DIM> *s)
{
	const uint32_t lane = threadIdx.x % 32;
	for (uint32_t h = threadIdx.x / 32; h < at->heads; h += WARPS) {
		float share = 0, sum = 0;
		if (i0 + lane < sums->n) {
			const float *one = c->top + (sums_at(c, at, sums, i0 + lane) + h) * 2;
			share = exp2f(load_fresh(one) - s->all_top[h]);
			sum = share * load_fresh(one + 1);
		}
		sum = warp_sum(sum);
		s->share[h][lane] = share;
		if (lane == 0) s->all_sum[h] += sum;
	}
}

/* Adds up sums in order of positions: to the result, or (is_group) to the first's place, for a sum of them all. There a thread
 * writes what it alone has read. */
template <int DIM, int ALL> CUDA_FN void decode_add(const struct attend_job *c, const struct decode_at *at,
	const struct decode_sums *sums, int is_group, struct decode_shared<DIM> *s)
{
	const uint32_t dim = head_dim<DIM, ALL>(c), all = at->heads * dim / 4;
	constexpr uint32_t MOST = DECODE_HEADS * DIM / 4 / THREADS;
	const size_t begin = sums_at(c, at, sums, 0), step = (size_t)sums->step * c->heads * dim;
	const float *from = c->vec + begin * dim;
	float v[MOST][4];
#pragma unroll
	for (uint32_t m = 0; m < MOST; m++)
#pragma unroll
		for (int l = 0; l < 4; l++) v[m][l] = 0;
	decode_tops(c, at, sums, s);
	for (uint32_t i0 = 0; i0 < sums->n; i0 += GROUP) {
		uint32_t n = min(sums->n - i0, GROUP);
		__syncthreads();
		decode_sums_shares(c, at, sums, i0, s);
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
		const uint32_t k = threadIdx.x + m * THREADS, h = k / (dim / 4);
		if (k >= all) continue;
		float *to = is_group ? c->vec + begin * dim + 4 * k : c->out + ((size_t)at->row * c->heads + at->head) * dim + 4 * k;
#pragma unroll
		for (int l = 0; l < 4; l++) to[l] = is_group ? v[m][l] : v[m][l] / s->all_sum[h];
		if (!is_group || k % (dim / 4)) continue;
		c->top[(begin + h) * 2] = s->all_top[h];
		c->top[(begin + h) * 2 + 1] = s->all_sum[h];
	}
}

/* What a block does when its part of a group is done: the last of them adds up the group, the last of those the row. */
template <int DIM, int ALL> CUDA_FN void decode_end(const struct attend_job *c, const struct decode_at *at,
	struct decode_shared<DIM> *s)
{
	const uint32_t groups = (at->runs + GROUP - 1) / GROUP;
	struct decode_sums sums = { at->first, 1, at->n };
	uint32_t place = 1 + at->first / GROUP, blocks = min(at->n, c->blocks);
	for (int is_group = groups > 1; ; is_group = 0) {
		if (is_group && at->n == 1) continue;  /* a run is a group's sum */
		if (!is_group && groups > 1) sums.first = 0, sums.step = GROUP, sums.n = groups, place = 0, blocks = groups;
		if (!decode_last<DIM>(c, at, place, blocks, s)) return;
		decode_add<DIM, ALL>(c, at, &sums, is_group, s);
		if (!is_group) return;
	}
}

/* Grid: heads of keys times parts; groups of runs times blocks, each of which takes every so many-th run of its group; rows. */
template <int DIM, int ALL> __launch_bounds__(THREADS, ALL ? 3 : 2) CUDA_KERNEL(decode)(struct attend_job c)
{
	CUDA_SHARED(struct decode_shared<DIM>, s);
	await_earlier();
	const int32_t pos = c.pos[blockIdx.z];
	const uint32_t part = blockIdx.y % c.blocks;
	struct decode_at at;
	if (pos < 0) return;
	at.row = blockIdx.z;
	at.keys = row_keys(&c, (uint32_t)pos);
	at.run0 = at.keys.first / SPLIT;
	at.runs = (uint32_t)pos / SPLIT - at.run0 + 1;
	at.first = blockIdx.y / c.blocks * GROUP;
	if (at.first >= at.runs) return;
	at.n = min(at.runs - at.first, GROUP);
	if (part >= at.n) return;
	at.slot = (uint32_t)c.slot[at.row];
	at.kv_head = blockIdx.x / c.parts;
	at.head = blockIdx.x % c.parts * DECODE_HEADS;
	at.heads = min(c.group - at.head, DECODE_HEADS);
	at.head += at.kv_head * c.group;
	decode_ask<DIM, ALL>(&c, &at, at.run0 + at.first + part);
	decode_query<DIM, ALL>(&c, &at, s);
	__syncthreads();
	for (uint32_t i = at.first + part, end = at.first + at.n; i < end; i += c.blocks) {
		decode_page<DIM, ALL>(&c, &at, at.run0 + i, s);
		if (i + c.blocks < end) decode_ask<DIM, ALL>(&c, &at, at.run0 + i + c.blocks);
		__syncthreads();
		decode_run<DIM, ALL>(&c, &at, i, s);
		__syncthreads();
	}
	if (at.runs > 1) decode_end<DIM, ALL>(&c, &at, s);
}

/* ---- launches ---- */

/* Scratch: counters, whose place is the same for every call of a model, for they must stay zero between calls; then
 * sums of values; then tops and sums. */
static size_t counters(size_t heads) { return COUNTERS * heads; }
static size_t sums_floats(size_t runs, size_t heads, size_t dim) { return runs * heads * (dim + 2); } /* of a row */

/* Runs that a row can have. */
static size_t runs_most(const struct gpu_attend *c)
{
	const size_t split = c->prompt ? PROMPT_SPLIT : SPLIT;
	size_t runs = div_up(c->keys_most, split);
	if (c->window && runs > (c->window + split - 2) / split + 1) runs = (c->window + split - 2) / split + 1;
	return runs ? runs : 1;
}

size_t GPU_NAME(attend_floats)(size_t n, size_t heads, size_t head_dim, size_t keys_most, int prompt)
{
	const size_t runs = div_up(keys_most, prompt ? PROMPT_SPLIT : SPLIT), one = sums_floats(runs, heads, head_dim);
	if (runs <= 1) return counters(heads);
	return counters(heads) + (one > SUMS_MOST ? one : n * one < SUMS_MOST ? n * one : SUMS_MOST);
}

/* How many of n rows one launch takes: those for whose sums there is room, in launches of about the same size. */
static size_t rows_fit(const struct gpu_attend *c, size_t n)
{
	const size_t runs = runs_most(c), counted = COUNTERS / (1 + div_up(runs, GROUP));
	size_t fit = SUMS_MOST / sums_floats(runs, c->heads, c->head_dim);
	if (runs == 1) return n;
	if (fit > counted) fit = counted;
	return div_up(n, div_up(n, fit ? fit : 1));
}

/* Of rows first … first+n-1. */
static struct attend_job job_make(const struct gpu_attend *c, const struct gpu_rows *rows, size_t first, size_t n)
{
	struct attend_job j = {};
	j.q = c->q + first * c->heads * c->head_dim, j.out = c->out + first * c->heads * c->head_dim;
	j.store = c->store, j.page_halves = c->page_halves, j.head_halves = c->head_halves;
	j.pos = rows->pos + first, j.slot = rows->slot + first, j.pages = rows->pages, j.ld_pages = rows->ld_pages;
	j.n = (uint32_t)n, j.heads = (uint32_t)c->heads, j.kv_heads = (uint32_t)c->kv_heads;
	j.dim = (uint32_t)c->head_dim;
	j.group = j.heads / j.kv_heads;
	j.parts = (uint32_t)div_up(j.group, c->prompt ? PROMPT_ROWS : DECODE_HEADS);
	j.tokens = j.group < PROMPT_ROWS ? PROMPT_ROWS / j.group : 1;
	j.window = (uint32_t)c->window;
	j.runs = (uint32_t)runs_most(c);
	j.groups = (uint32_t)div_up(j.runs, GROUP);
	j.scale = c->scale * 1.44269504088896341f;
	if (!c->scratch) return j;
	j.arrived = (uint32_t *)c->scratch;
	j.vec = c->scratch + counters(c->heads);
	j.top = j.vec + n * j.runs * c->heads * c->head_dim;
	return j;
}

/* Blocks for each of `places`, so that there are about `enough` in all: one at least, no more than there is work for. */
static uint32_t blocks_each(size_t enough, size_t places, uint32_t most)
{
	const size_t n = enough / places;
	return n < 1 ? 1 : n > most ? most : (uint32_t)n;
}

template <int DIM, int ALL> static void run_decode(struct gpu *g, struct attend_job *j)
{
	const size_t x = (size_t)j->kv_heads * j->parts;
	j->blocks = blocks_each(DECODE_BLOCKS, x * j->n * j->groups, min(j->runs, GROUP));
	CUDA_FOLLOW(g, (decode<DIM, ALL>), cuda_grid(x, (size_t)j->groups * j->blocks, j->n), THREADS, sizeof(struct decode_shared<DIM>), *j);
}

template <int DIM, int ALL> static void run_prompt(struct gpu *g, const struct attend_job *j)
{
	const size_t tiles = div_up(j->n, j->tokens), x = (size_t)j->kv_heads * j->parts;
	CUDA_LAUNCH(g, (prompt<DIM, ALL>), cuda_grid(tiles, x, blocks_each(2 * (size_t)g->sms, tiles * x, j->runs)), THREADS,
		sizeof(struct prompt_shared<DIM>), *j);
	if (j->runs > 1) CUDA_LAUNCH(g, prompt_add, cuda_grid(j->n, div_up(j->heads, WARPS)), THREADS, 0, *j);
}

template <int DIM, int ALL> static void launch(struct gpu *g, const struct gpu_attend *c, const struct gpu_rows *rows)
{
	const size_t most = rows_fit(c, rows->n);
	for (size_t t = 0; t < rows->n; t += most) {
		struct attend_job j = job_make(c, rows, t, rows->n - t < most ? rows->n - t : most);
		if (c->prompt) run_prompt<DIM, ALL>(g, &j);
		else run_decode<DIM, ALL>(g, &j);
	}
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
