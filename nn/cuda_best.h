/* cuda_best.h: the k best of many floats, by one block, where another kernel has kept the best of every run of them; no
 * interface.
 *
 * A float's key is a whole number that orders as the float does; 0 does not count. The k best lie in the k runs whose own
 * best are the best (of equal ones the first), so of these runs the keys that reach the k-th run's best are gathered, as many as k at
 * least and k runs at most; the k-th of them is found by its digits from the highest on (radix select), and what reaches it is
 * sorted. Keys are joined with the float's place, so that no two are equal, and the k best are the same at every run. */
#ifndef NN_CUDA_BEST_H
#define NN_CUDA_BEST_H
#include "nn/cuda_inside.h"

enum { BEST_TEAM = 1024, BEST_MOST = 1024, BEST_DIGITS = 256 };

/* Of a number. */
CUDA_FN uint32_t float_key(float x)
{
	const uint32_t bits = __float_as_uint(x + 0.0f);   /* + 0: one zero only */
	return bits >> 31 ? ~bits : bits | 0x80000000u;
}

CUDA_FN uint64_t best_joined(uint32_t key, uint32_t place)
{
	return key ? (uint64_t)key << 32 | ~place : 0;
}
CUDA_FN uint32_t best_place(uint64_t joined) { return ~(uint32_t)joined; }
CUDA_FN float best_float(uint64_t joined)
{
	const uint32_t key = (uint32_t)(joined >> 32);
	return __uint_as_float(key >> 31 ? key ^ 0x80000000u : ~key);
}

/* What a block shares. */
struct best_shared {
	uint32_t digits[BEST_DIGITS];
	uint64_t parts[BEST_TEAM / CUDA_WARP];
	uint32_t digit, before, in, n;    /* a digit of the k-th; how many are above it, and how many have it */
	uint64_t sorted[BEST_MOST];
};

/* By the block's first warp: where, from the highest digit down, `want` is reached; the lowest where they are fewer. */
CUDA_FN void digit_find(struct best_shared *s, uint32_t want)
{
	const uint32_t lane = (uint32_t)cuda_lane(), high = BEST_DIGITS - 1 - lane * 8;
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

/* The largest of n items, by all threads: item(i). 1 where all are 0. */
template <class ITEM> CUDA_FN uint64_t largest_find(struct best_shared *s, const ITEM &item, uint32_t n)
{
	uint64_t most = 1;
	for (uint32_t i = threadIdx.x; i < n; i += BEST_TEAM) most = max(most, item(i));
	for (int mask = CUDA_WARP / 2; mask; mask >>= 1) most = max(most, warp_xor(most, mask));
	if (cuda_lane() == 0) s->parts[threadIdx.x / CUDA_WARP] = most;
	__syncthreads();
	for (int w = 0; w < BEST_TEAM / CUDA_WARP; w++) most = max(most, s->parts[w]);
	__syncthreads();
	return most;
}

/* The least of the k largest of n items that are not 0 and all different, by all threads. 1 where there are no more. */
template <class ITEM> CUDA_FN uint64_t kth_find(struct best_shared *s, const ITEM &item, uint32_t n, uint32_t k)
{
	uint64_t prefix = 0;
	uint32_t want = k;
	if (k == 1) return largest_find(s, item, n);
	for (int shift = 56; shift >= 0; shift -= 8) {
		for (uint32_t i = threadIdx.x; i < BEST_DIGITS; i += BEST_TEAM) s->digits[i] = 0;
		__syncthreads();
		for (uint32_t i = threadIdx.x; i < n; i += BEST_TEAM) {
			const uint64_t x = item(i);
			if (x && (shift == 56 || x >> (shift + 8) == prefix)) atomicAdd(&s->digits[x >> shift & (BEST_DIGITS - 1)], 1u);
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

struct best_run {
	const uint32_t *tops;
	__device__ uint64_t operator()(uint32_t i) const { return best_joined(tops[i], i); }
};

struct best_found {
	const uint64_t *found;
	__device__ uint64_t operator()(uint32_t i) const { return found[i]; }
};

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

/* The k best (1 … BEST_MOST) into s->sorted, the best first, joined with their places; how many there are. By all of BEST_TEAM threads.
 * key(i): of float i, also behind the last one to the end of its run; tops: (runs) the largest key of each; found: room for
 * k * RUN items. */
template <uint32_t RUN, class KEY> CUDA_FN uint32_t best_find(struct best_shared *s, const KEY &key, const uint32_t *tops, uint32_t runs,
	uint32_t k, uint64_t *found)
{
	if (threadIdx.x == 0) s->n = 0;
	const uint64_t run_least = kth_find(s, best_run{ tops }, runs, k);
	const uint32_t key_least = (uint32_t)(run_least >> 32);
	for (uint32_t r = threadIdx.x; r < runs; r += BEST_TEAM)
		if (best_joined(tops[r], r) >= run_least) s->sorted[atomicAdd(&s->n, 1u)] = r;
	__syncthreads();
	const uint32_t among = s->n;
	__syncthreads();
	if (threadIdx.x == 0) s->n = 0;
	__syncthreads();
	for (uint32_t j = threadIdx.x / CUDA_WARP; j < among; j += BEST_TEAM / CUDA_WARP)  /* a warp has a run at a time */
		for (uint32_t i = (uint32_t)cuda_lane(); i < RUN; i += CUDA_WARP) {
			const uint32_t place = (uint32_t)s->sorted[j] * RUN + i, x = key(place);
			if (x && x >= key_least) found[atomicAdd(&s->n, 1u)] = best_joined(x, place);
		}
	__syncthreads();
	const uint32_t n = s->n;
	for (uint32_t i = threadIdx.x; i < BEST_MOST; i += BEST_TEAM) s->sorted[i] = 0;
	const uint64_t least = kth_find(s, best_found{ found }, n, k);
	__syncthreads();
	if (threadIdx.x == 0) s->n = 0;
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < n; i += BEST_TEAM)
		if (found[i] >= least) s->sorted[atomicAdd(&s->n, 1u)] = found[i];
	__syncthreads();
	const uint32_t got = s->n;
	items_sort(s->sorted, got);
	return got;
}

#endif
