/* cuda_attend.h: what both kinds of attention over pages have in common (nn/gpu.h, attend): a call as kernels read it, places in
 * pages, queries as halves.
 *
 * Both are the online softmax of Milakov & Gimelshein 2018 in the blocks of FlashAttention (Dao et al. 2022),
 * on tensor cores with sums in floats. All query heads that share a head of keys go together, so that keys are read
 * once.
 *
 * Halves. A head's query is multiplied by the power of two that brings its largest element to 2^14 … 2^15: nothing
 * passes what halves hold, and small elements keep their bits; scale and that power go into the score, a float, times
 * log2(e) for exp2. Shares stand times 2^14 (`top` below is the maximum less LIFT), so that those down to 2^-28 are
 * normal halves; the division by their sum takes it away.
 *
 * A query meets the same blocks in the same order whoever shares the call: a block that it has no key of changes
 * nothing, to the bit, nor do others' keys in a block, unless a value is no finite number: that shows in the whole
 * tile of a prompt. What no query of a tile attends to is not read. */
#ifndef NN_CUDA_ATTEND_H
#define NN_CUDA_ATTEND_H
#include "nn/cuda_inside.h"

constexpr uint32_t PAGE = GPU_PAGE, SPLIT = GPU_SPLIT;
constexpr uint32_t WARPS = SPLIT / PAGE, THREADS = 32 * WARPS;
constexpr int LIFT = 14;

struct alignas(16) words { uint32_t w[4]; };   /* 8 halves, in one load */

struct attend_job {
	const float *q; float *out;
	const uint16_t *store; size_t page_halves, head_halves;
	const int32_t *pos, *slot; const uint32_t *pages; size_t ld_pages;
	uint32_t n, heads, kv_heads, dim, group, parts; /* parts: into which a head of keys' queries are cut */
	uint32_t tokens;             /* prompts: of a tile */
	uint32_t window, runs;       /* runs: most of a row */
	uint32_t groups, blocks;     /* decoding: most groups of a row; blocks that share a group */
	float scale;                 /* times log2(e) */
	uint32_t *arrived;           /* (n, 1 + groups, heads): groups of a row that are done; blocks of a group that are */
	float *vec, *top;            /* (n, runs, heads, dim); (n, runs, heads, 2): top and sum */
};

struct row { uint32_t first, end; };           /* positions of a query's keys */

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

#endif
