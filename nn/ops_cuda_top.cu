/* ops_cuda_top.cu: owns the choice among a row's logits: the likeliest tokens in order, and what all of them weigh. No state.
 *
 * top_runs goes over the logits once, several blocks a row: of every run of RUN logits it keeps the largest key, of every block's
 * share the largest scaled logit and the sum of exponentials beside it. top_best, a block a row, has the best of them
 * (cuda_best.h) and joins the sums, in the order of the blocks: which are cut by the vocabulary alone, so that a row has the
 * same bits in every call. A row that asks for one token or none pays for no more.
 * The sum's error, of it: the argument of an exponential, up to 104 where it counts, is rounded twice (2^-24 of it each), the
 * exponential and the sum's some 30 steps of a float add 2^-23 and 2^-19: under GPU_TOP_SLACK.
 * Bound by reading the logits. Threads, failure: gpu.h. */
#include "nn/cuda_best.h"

enum { RUN = 2 * CUDA_WARP, TEAM = 256, EACH = 4 /* runs of a warp */, SHARE = TEAM / CUDA_WARP * EACH * RUN };

struct top_args {
	const float *logits;
	const int32_t *most;
	const float *temperature;
	uint32_t *tops;                   /* (n, runs) */
	float2 *sums;                     /* (n, shares): the largest scaled logit, the sum */
	uint64_t *found;                  /* (n, GPU_TOP * RUN) */
	struct gpu_best *best;
	uint32_t vocab, runs, shares;
};

CUDA_FN int is_finite(float x)
{
	return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}

/* 0: does not count. */
CUDA_FN uint32_t logit_key(float x)
{
	return is_finite(x) ? float_key(x) : 0;
}

/* The share of x, what the block's threads have of a row: its largest and the sum, for thread 0. */
CUDA_FN float2 share_sum(const float *x, float temperature, float *parts)
{
	float scaled[2 * EACH], most = -INFINITY, sum = 0;
	#pragma unroll
	for (int i = 0; i < 2 * EACH; i++) {
		scaled[i] = x[i] / temperature;
		if (!is_finite(x[i]) || !is_finite(scaled[i])) scaled[i] = -INFINITY;
		most = fmaxf(most, scaled[i]);
	}
	most = warp_max(most);
	if (cuda_lane() == 0) parts[threadIdx.x / CUDA_WARP] = most;
	__syncthreads();
	for (int w = 0; w < TEAM / CUDA_WARP; w++) most = fmaxf(most, parts[w]);
	#pragma unroll
	for (int i = 0; i < 2 * EACH; i++)
		if (is_finite(scaled[i])) sum += expf(scaled[i] - most);
	return make_float2(most, block_sum(sum, parts + CUDA_WARP));
}

CUDA_KERNEL(top_runs)(struct top_args c)
{
	CUDA_SHARED_N(float, parts, 2 * CUDA_WARP);
	const size_t row = blockIdx.y;
	await_earlier();
	const float *logits = c.logits + row * c.vocab, temperature = c.temperature[row];
	const uint32_t warp = threadIdx.x / CUDA_WARP, run0 = (blockIdx.x * (TEAM / CUDA_WARP) + warp) * EACH, lane = (uint32_t)cuda_lane();
	const int most = c.most[row];
	float x[2 * EACH];
	if (most <= 0) return;
	#pragma unroll
	for (uint32_t i = 0; i < 2 * EACH; i++) {
		const uint32_t at = run0 * RUN + i * CUDA_WARP + lane;
		x[i] = at < c.vocab ? logits[at] : NAN;
	}
	#pragma unroll
	for (uint32_t e = 0; e < EACH; e++) {
		uint32_t top = max(logit_key(x[2 * e]), logit_key(x[2 * e + 1]));
		for (int mask = CUDA_WARP / 2; mask; mask >>= 1) top = max(top, warp_xor(top, mask));
		if (lane == 0 && run0 + e < c.runs) c.tops[row * c.runs + run0 + e] = top;
	}
	if (most == 1 || !(temperature > 0)) return;
	const float2 sum = share_sum(x, temperature, parts);
	if (threadIdx.x == 0) c.sums[row * c.shares + blockIdx.x] = sum;
}

struct row_logit {
	const float *logits;
	uint32_t vocab;
	__device__ uint32_t operator()(uint32_t i) const { return i < vocab ? logit_key(logits[i]) : 0; }
};

/* The sums of shares, by a warp; the largest logit is known. */
CUDA_FN float sums_join(const float2 *sums, uint32_t n, float largest)
{
	float sum = 0;
	for (uint32_t i = (uint32_t)cuda_lane(); i < n; i += CUDA_WARP)
		if (sums[i].y > 0) sum += sums[i].y * expf(sums[i].x - largest);
	return warp_sum(sum);
}

CUDA_KERNEL(__launch_bounds__(BEST_TEAM) top_best)(struct top_args c)
{
	CUDA_SHARED(struct best_shared, s);
	const size_t row = blockIdx.x;
	await_earlier();
	const uint32_t most = (uint32_t)min(max(c.most[row], 0), (int)GPU_TOP);
	const float temperature = c.temperature[row];
	struct gpu_best *best = c.best + row;
	uint32_t got = 0;
	float sum = 0;
	if (most)
		got = best_find<RUN>(s, row_logit{ c.logits + row * c.vocab, c.vocab }, c.tops + row * c.runs, c.runs, most,
			c.found + row * GPU_TOP * RUN);
	for (uint32_t i = threadIdx.x; i < got; i += BEST_TEAM) {
		best->ids[i] = (int32_t)best_place(s->sorted[i]);
		best->logits[i] = best_float(s->sorted[i]);
	}
	if (threadIdx.x >= CUDA_WARP) return;
	if (most > 1 && got && temperature > 0) sum = sums_join(c.sums + row * c.shares, c.shares, best_float(s->sorted[0]) / temperature);
	if (threadIdx.x == 0) best->n = got, best->sum = sum;
}

static size_t tops_bytes(size_t vocab, size_t n) { return padded(n * div_up(vocab, RUN) * sizeof(uint32_t)); }
static size_t sums_bytes(size_t vocab, size_t n) { return padded(n * div_up(vocab, SHARE) * sizeof(float2)); }

size_t GPU_NAME(top_bytes)(size_t vocab, size_t n)
{
	return tops_bytes(vocab, n) + sums_bytes(vocab, n) + n * GPU_TOP * RUN * sizeof(uint64_t);
}

void GPU_NAME(top)(struct gpu *g, const struct gpu_top *c)
{
	char *tops = static_cast<char *>(c->scratch), *sums = tops + tops_bytes(c->vocab, c->n), *found = sums + sums_bytes(c->vocab, c->n);
	const size_t runs = div_up(c->vocab, RUN), shares = div_up(c->vocab, SHARE);
	const struct top_args args = { c->logits, c->most, c->temperature, reinterpret_cast<uint32_t *>(tops), reinterpret_cast<float2 *>(sums),
		reinterpret_cast<uint64_t *>(found), c->best, (uint32_t)c->vocab, (uint32_t)runs, (uint32_t)shares };
	CUDA_FOLLOW(g, top_runs, cuda_grid(shares, c->n), TEAM, 0, args);
	CUDA_FOLLOW(g, top_best, c->n, BEST_TEAM, sizeof(struct best_shared), args);
}
