/* cuda_decode.h: the kernels of `linear` for rows that are being generated: the weights are read once, at the pace of the
 * memory, and multiplied where they arrive. Two kernels with the same bits; ops_cuda_linear.cu chooses.
 *
 * Arithmetic. An activation x (after the norm) is hi = bf16(x) and lo = bf16(x - hi). k is cut into steps of 64 (two groups
 * of 32, cuda_weights.h); step s belongs to segment s % 8. The sum of a segment goes over its steps, ascending:
 *   float formats: one chain of m16n8k16 into the sum: for each half of a group, for each part of the weight, hi, then lo;
 *   others: for each group (Q6_K: each half of one) such a chain from 0 with the integers, then sum = fma(chain, scale, sum);
 *     with a min then sum = fma(-min, sum of the group's x, sum).
 * The segments' sums are added ascending. Nothing of that depends on how many rows a call has, or on the device.
 * The sum of squares for the norm: thread i of 256 takes the fours at 4i + 1024j, ascending; butterflies in warps; the warps
 * ascending.
 *
 * narrow (n <= 8): a warp of a block has a segment, the block a panel of 16 rows after another (one for blockIdx, then
 * gridDim further). Weights come through a ring in shared memory that each warp has for itself, `depth` tiles (16 rows x 64)
 * deep, filled by copies that do not wait: nothing of a block waits for its weights but the warp that multiplies them, and
 * the next panel's are under way while this one's sums meet. Activations are normed, split and laid down in shared memory
 * by every block for itself, behind the first tiles that are under way. narrow_two is narrow for matrices of two types, as
 * queries and keys are of one and values of another in many files: each block has panels of one of them.
 * wide: a warp has a panel, a block 8 of them and up to 64 tokens, whose activations (act_rows has made them) and weights come
 * through one ring of stages. A block has all segments in turn, or one of them, whose sums `decode_sums` adds.
 * Both begin while the kernel in front of them runs (cuda.h), and ask for the first tiles of weights then, as these are constants:
 * what a block has under way is there, or nearly, when the activations come.
 *
 * Heads (cuda_heads.h). narrow and decode_sums turn and store those without norms where their sums are added up; narrow has those
 * with norms finished by the last of the blocks that have one's panels. `wide` by itself leaves them: its threads have 32 sums
 * each, whose turns would stand behind each other. So a layer of a model without norms of heads is five launches for up to 8
 * rows: queries, keys and values; attention; its output; gate and up; down.
 *
 * The reckoning for 4.8 TB/s over 132 multiprocessors, 600 ns away: 3 MB must be under way, 22 KB a multiprocessor.
 * narrow, BF16: tiles of 2 KB, 8 warps, 3 of 4 under way: 48 KB a block. 1536 x 1536: 96 blocks at once, every byte of the
 * matrix asked for before the first is there; 1536 x 8960: the same blocks, 17.5 tiles a warp; 8960 x 1536: 560 panels over
 * 264 blocks, 2.1 each; 151936 x 1536: 36 each. Q4_K: tiles of 640 bytes, 7 under way: 35 KB a block, 70 with two.
 * A warp takes 225 instructions for a Q4_K tile of 640 bytes, 173 for 1088 of Q8_0, 109 for 2048 of BF16 (sm_90): 56, 43 and 27
 * clocks of four schedulers, where 4.8 TB/s bring the tile in 31, 53 and 99. So Q4_K is bound by them: 55 % at best.
 * wide at 64 tokens: 64 mma a tile at 2 clocks, against 99 clocks of memory for BF16's 2 KB: 77 % of 4.8 TB/s at best. */
#ifndef NN_CUDA_DECODE_H
#define NN_CUDA_DECODE_H
#include "nn/cuda_heads.h"
#include "nn/cuda_weights.h"

enum {
	DECODE_WARPS = 8, DECODE_THREADS = DECODE_WARPS * CUDA_WARP,
	DECODE_SEGMENTS = 8,
	DECODE_DEPTH_MOST = 8,
	DECODE_NARROW = 8,              /* most tokens of narrow */
	DECODE_PARTS = 3,
	ACTS_TOKEN = 4 * 64,            /* bytes of a token in a step: hi, lo of two groups */
	SUMS_TOKEN = 20                 /* floats of a token where segments' sums meet: 16 rows, apart for the banks */
};

struct linear_to {                      /* where results go; as in gpu_linear */
	const float *bias;
	float *y;
	size_t ldy;
	const int32_t *pick;
	int finish;
	uint32_t row0;                  /* of what `row` counts from */
};

struct linear_from {                    /* where activations come from */
	const float *x, *norm;
	const int32_t *pick;
	size_t ldx;
	float eps;
	uint32_t n, k;
};

/* Matrices of one type and k, behind each other in panels: one, or a chain of gpu_linear. */
struct decode_part {
	const uint8_t *w;
	uint32_t rows, panels;
	struct linear_to to;
	uint32_t heads;                 /* enum heads_kind: what its rows are, where they are to be finished too */
};

struct decode {
	struct decode_part parts[DECODE_PARTS];   /* those behind the last have no panels */
	const uint8_t *w2;              /* beside parts[0], or NULL */
	size_t panel_bytes;
	uint32_t k, n, steps;
	uint32_t panels;                /* of all parts */
	struct linear_from from;
	uint32_t depth;                 /* of rings */
	uint8_t *acts;                  /* wide: device (slices, steps, ACTS_TOKEN + 8 bytes for each token of a slice) */
	float *segments;                /* wide: device (segments, matrices, n, panels * 16), or NULL */
	struct heads heads;             /* where a part has some */
	uint32_t *arrived;              /* narrow: device, a count for each head of queries, then of keys; zeros */
};

/* The part that panel *panel of all is in; *panel becomes its number there. */
CUDA_FN const struct decode_part *decode_part_at(const struct decode *c, uint32_t *panel)
{
	const struct decode_part *p = c->parts;
	CUDA_UNROLL
	for (uint32_t i = 0; i + 1 < DECODE_PARTS; i++)
		if (*panel >= p->panels) *panel -= p->panels, p++;
		else break;
	return p;
}

/* Row t of the activations; NULL: there is none. */
CUDA_FN const float *linear_row(const struct linear_from *f, uint32_t t)
{
	const int32_t at = f->pick ? f->pick[t] : (int32_t)t;
	return at < 0 ? NULL : f->x + (size_t)at * f->ldx;
}

CUDA_FN void linear_put(const struct linear_to *to, uint32_t row, uint32_t t, float a, float b)
{
	float *y = to->y + t * to->ldy + to->row0 + row;
	if (to->pick && to->pick[t] < 0) return;
	if (to->bias) a += to->bias[to->row0 + row];
	switch (to->finish) {
	case GPU_STORE: *y = a; return;
	case GPU_ADD: *y += a; return;
	case GPU_SILU_MUL: *y = a / (1 + expf(-a)) * b; return;
	default: *y = a / 2 * (1 + tanhf(0.797884560802865356f * (a + 0.044715f * a * a * a))) * b;
	}
}

/* A row's sum finished, of a part of heads without norms; other: the sum of the other one of its pair. */
CUDA_FN void heads_put(const struct heads *c, const struct decode_part *p, const struct heads_row *at, uint32_t row, uint32_t t, float sum,
	float other)
{
	const uint32_t d = (uint32_t)c->rope.head_dim, i = row % d;
	if (at->pos < 0) return;
	if (p->to.bias) sum += p->to.bias[row], other += p->to.bias[row ^ 1];
	heads_store(c, p->heads, at, t, row / d, i, p->heads == HEADS_V ? sum : heads_turn(c, at->pos, i, sum, other));
}

/* --- activations ----------------------------------------------------------------------------------------------------- */

/* Of a warp's share of the sum of squares of a row. The block has 256 threads. */
CUDA_FN float acts_squares(const float *x, uint32_t k)
{
	float sum = 0;
	for (uint32_t i = threadIdx.x * 4; i < k; i += DECODE_THREADS * 4) {
		const float4 v = *(const float4 *)(x + i);
		sum = fmaf(v.x, v.x, sum), sum = fmaf(v.y, v.y, sum), sum = fmaf(v.z, v.z, sum), sum = fmaf(v.w, v.w, sum);
	}
	return warp_sum(sum);
}

CUDA_FN float acts_inverse(const float *squares, uint32_t k, float eps)
{
	float sum = 0;
	for (uint32_t i = 0; i < DECODE_WARPS; i++) sum += squares[i];
	return 1 / sqrtf(sum / (float)k + eps);
}

/* The four from x on, normed. norm may be NULL. */
CUDA_FN float4 acts_four(const float *x, const float *norm, float inverse)
{
	float4 v = *(const float4 *)x;
	if (norm) {
		const float4 w = *(const float4 *)norm;
		v.x = v.x * inverse * w.x, v.y = v.y * inverse * w.y, v.z = v.z * inverse * w.z, v.w = v.w * inverse * w.w;
	}
	return v;
}

/* Where the activations of a slice of m tokens lie: step s at data + s * step_bytes, of which
 *   16 bytes, the quarter t of a group's hi or lo, at ((j * 2 + (lo)) * m + token) * 64 + 16t;
 * and the sum of group j's x of a token at sums[s * step_sums + j * m + token]. */
struct acts {
	uint8_t *data;
	float *sums;
	uint32_t steps, m, step_bytes, step_sums;
};

/* Splits eight activations, number i % 4 of group i / 4, and adds up the group's; a warp's lanes do it together, for 32 i on end.
 * row NULL: zeros. halves: Q6_K's order (cuda_weights.h). */
CUDA_FN void acts_split(const struct acts *to, const float *row, const float *norm, float inverse, uint32_t k, int halves,
	uint32_t token, uint32_t i)
{
	const uint32_t group = i / 4, t = i % 4, step = group / 2, j = group % 2;
	float4 a = make_float4(0, 0, 0, 0), b = a;
	const uint32_t at = group * WEIGHTS_GROUP + (halves ? 4 * t : 8 * t), apart = halves ? 16 : 4;
	if (row && group * WEIGHTS_GROUP < k) {
		a = acts_four(row + at, norm ? norm + at : NULL, inverse);
		b = acts_four(row + at + apart, norm ? norm + at + apart : NULL, inverse);
	}
	float sum = ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
	uint4 hi, lo;
	sum += warp_xor(sum, 1);
	sum += warp_xor(sum, 2);
	hi.x = bf16_pair_cut(&a.x, &a.y), hi.y = bf16_pair_cut(&a.z, &a.w);
	hi.z = bf16_pair_cut(&b.x, &b.y), hi.w = bf16_pair_cut(&b.z, &b.w);
	lo.x = bf16_pair(a.x, a.y), lo.y = bf16_pair(a.z, a.w), lo.z = bf16_pair(b.x, b.y), lo.w = bf16_pair(b.z, b.w);
	if (step >= to->steps) return;
	uint8_t *p = to->data + (size_t)step * to->step_bytes + (j * 2 * to->m + token) * 64 + t * 16;
	*(uint4 *)p = hi;
	*(uint4 *)(p + to->m * 64) = lo;
	if (t == 0) to->sums[(size_t)step * to->step_sums + j * to->m + token] = sum;
}

/* A row of them, by the whole block. */
CUDA_FN void acts_row(const struct acts *to, const struct linear_from *f, const float *row, float inverse, int halves, uint32_t token)
{
	const uint32_t items = (to->steps * 8 + CUDA_WARP - 1) / CUDA_WARP * CUDA_WARP;
	for (uint32_t i = threadIdx.x; i < items; i += DECODE_THREADS) acts_split(to, row, f->norm, inverse, f->k, halves, token, i);
}

/* 1 / root mean square of the row, by the whole block; 1 without a norm or row. squares: DECODE_WARPS floats. */
CUDA_FN float acts_norm(const struct linear_from *f, const float *row, float *squares)
{
	if (!f->norm || !row) return 1;
	const float part = acts_squares(row, f->k);
	if (cuda_lane() == 0) squares[threadIdx.x / CUDA_WARP] = part;
	__syncthreads();
	return acts_inverse(squares, f->k, f->eps);
}

/* The bytes of a step of a slice of m tokens that act_rows makes, sums behind the rest. */
CUDA_BOTH uint32_t acts_slice_step(uint32_t m) { return (ACTS_TOKEN + 2 * (uint32_t)sizeof(float)) * m; }

/* For wide: a block has a token of a slice, tokens beyond n being zeros. Grid: slices * m. */
CUDA_KERNEL(__launch_bounds__(DECODE_THREADS) act_rows)(struct decode c, uint32_t m, int halves)
{
	CUDA_SHARED_N(float, squares, DECODE_WARPS);
	const uint32_t slice = blockIdx.x / m, bytes = acts_slice_step(m);
	uint8_t *data = c.acts + (size_t)slice * c.steps * bytes;
	const struct acts to = { data, (float *)(data + ACTS_TOKEN * m), c.steps, m, bytes, bytes / (uint32_t)sizeof(float) };
	await_earlier();
	const float *row = blockIdx.x < c.n ? linear_row(&c.from, blockIdx.x) : NULL;
	acts_row(&to, &c.from, row, acts_norm(&c.from, row, squares), halves, blockIdx.x % m);
}

/* For prompts: rows of bfloat16, ld apart, filled up with zeros. Grid: n. */
CUDA_KERNEL(__launch_bounds__(DECODE_THREADS) act_prompt)(struct linear_from f, uint16_t *out, uint32_t ld)
{
	CUDA_SHARED_N(float, squares, DECODE_WARPS);
	const float *row = linear_row(&f, blockIdx.x);
	const float inverse = acts_norm(&f, row, squares);
	for (uint32_t i = threadIdx.x * 4; i < ld; i += DECODE_THREADS * 4) {
		uint2 pairs = { 0, 0 };
		if (row && i < f.k) {
			const float4 v = acts_four(row + i, f.norm ? f.norm + i : NULL, inverse);
			pairs.x = bf16_pair(v.x, v.y), pairs.y = bf16_pair(v.z, v.w);
		}
		*(uint2 *)(out + (size_t)blockIdx.x * ld + i) = pairs;
	}
}

/* --- products -------------------------------------------------------------------------------------------------------- */

/* A tile times OCTETS x 8 tokens. acts, sums: the step's of a slice of m tokens; those beyond m are zeros. */
template <uint32_t T, int OCTETS> CUDA_FN void decode_multiply(const struct weights_lane<T> *w, const uint8_t *acts,
	const float *sums, uint32_t m, float acc[OCTETS][4])
{
	typedef weights_form<T> F;
	const uint32_t lane = (uint32_t)cuda_lane(), g = lane / 4, t = lane % 4;
	CUDA_UNROLL
	for (uint32_t j = 0; j < 2; j++) {
		uint32_t a[2][F::PARTS][4];
		struct weights_scale scale;
		if constexpr (!F::PLAIN) scale = weights_scale_of<T>(w, j);
		CUDA_UNROLL
		for (uint32_t s = 0; s < 2; s++) weights_fragment<T>(w, j, s, a[s]);
		CUDA_UNROLL
		for (uint32_t o = 0; o < OCTETS; o++) {
			uint4 hi = {}, lo = {};
			float chain[2][4] = {};
			const uint8_t *p = acts + (j * 2 * m + o * 8 + g) * 64 + t * 16;
			if (o * 8 + g < m) hi = *(const uint4 *)p, lo = *(const uint4 *)(p + m * 64);
			const uint32_t bh[2][2] = { { hi.x, hi.y }, { hi.z, hi.w } }, bl[2][2] = { { lo.x, lo.y }, { lo.z, lo.w } };
			CUDA_UNROLL
			for (uint32_t s = 0; s < 2; s++)
				CUDA_UNROLL
				for (uint32_t part = 0; part < F::PARTS; part++) {
					float *d = F::PLAIN ? acc[o] : chain[T == QUANT_Q6_K ? s : 0];
					mma_bf16(d, a[s][part], bh[s]);
					mma_bf16(d, a[s][part], bl[s]);
				}
			if constexpr (!F::PLAIN)
				CUDA_UNROLL
				for (uint32_t i = 0; i < 4; i++) {
					acc[o][i] = fmaf(chain[0][i], scale.scale[0][i / 2], acc[o][i]);
					if constexpr (T == QUANT_Q6_K) acc[o][i] = fmaf(chain[1][i], scale.scale[1][i / 2], acc[o][i]);
				}
			if constexpr (F::MIN) {
				const uint32_t at = o * 8 + 2 * t;
				const float one = at < m ? sums[j * m + at] : 0, two = at + 1 < m ? sums[j * m + at + 1] : 0;
				CUDA_UNROLL
				for (uint32_t i = 0; i < 4; i++) acc[o][i] = fmaf(-scale.min[i / 2], i % 2 ? two : one, acc[o][i]);
			}
		}
	}
}

/* A tile in a ring: its unit's head, then the step. */
template <uint32_t T> struct decode_tile {
	static constexpr uint32_t HEAD = weights_form<T>::HEAD, BYTES = HEAD + weights_form<T>::STEP;
};

/* A warp begins to copy a tile of the panel at `panel`. */
template <uint32_t T> CUDA_FN void decode_copy(uint8_t *to, const uint8_t *panel, uint32_t step)
{
	typedef decode_tile<T> TILE;
	const uint8_t *head = panel + weights_unit_at<T>(step), *body = panel + weights_step_at<T>(step) - TILE::HEAD;
	CUDA_UNROLL
	for (uint32_t i = (uint32_t)cuda_lane() * 16; i < TILE::BYTES; i += CUDA_WARP * 16)
		copy16_async(to + i, (TILE::HEAD > 0 && i / 16 < TILE::HEAD / 16 ? head : body) + i);
}

/* All copies but the last n groups: n is no constant here. */
CUDA_FN void decode_wait(uint32_t n)
{
	switch (n) {
	case 0: copy_wait(0); return;
	case 1: copy_wait(1); return;
	case 2: copy_wait(2); return;
	case 3: copy_wait(3); return;
	case 4: copy_wait(4); return;
	case 5: copy_wait(5); return;
	default: copy_wait(6); return;
	}
}

/* --- narrow ---------------------------------------------------------------------------------------------------------- */

/* What a warp of narrow asks for next: its segment's tiles of the panel, for each matrix, panel by panel. */
struct narrow_next {
	uint32_t panel, blocks, matrix, step, slot;
};

template <uint32_t T, int MATRICES> CUDA_FN void narrow_issue(const struct decode *c, struct narrow_next *at, uint8_t *ring)
{
	if (at->panel < c->panels && at->step < c->steps) {
		uint32_t panel = at->panel;
		const struct decode_part *p = decode_part_at(c, &panel);
		decode_copy<T>(ring + at->slot * decode_tile<T>::BYTES,
			(MATRICES == 2 && at->matrix ? c->w2 : p->w) + panel * c->panel_bytes, at->step);
		at->slot = at->slot + 1 == c->depth ? 0 : at->slot + 1;
		at->step += DECODE_SEGMENTS;
		if (at->step >= c->steps) {
			at->step = threadIdx.x / CUDA_WARP;
			if (++at->matrix == MATRICES) at->matrix = 0, at->panel += at->blocks;
		}
	}
	copy_commit();
}

/* The block's activations to shared memory. squares: DECODE_NARROW * DECODE_WARPS floats. */
CUDA_FN void narrow_acts(const struct linear_from *f, const struct acts *to, float *squares, int halves)
{
	for (uint32_t t = 0; f->norm && t < f->n; t++) {
		const float *row = linear_row(f, t);
		const float part = row ? acts_squares(row, f->k) : 0;
		if (cuda_lane() == 0) squares[t * DECODE_WARPS + threadIdx.x / CUDA_WARP] = part;
	}
	__syncthreads();
	for (uint32_t t = 0; t < f->n; t++)
		acts_row(to, f, linear_row(f, t), f->norm ? acts_inverse(squares + t * DECODE_WARPS, f->k, f->eps) : 1, halves, t);
}

/* Bytes of shared memory, in this order: activations, their sums, sums of segments (twice), rings. */
CUDA_BOTH uint32_t narrow_acts_bytes(uint32_t steps, uint32_t n) { return steps * ACTS_TOKEN * n; }
CUDA_BOTH uint32_t narrow_sums_bytes(uint32_t steps, uint32_t n) { return (steps * 2 * n * 4 + 127) / 128 * 128; }
CUDA_BOTH uint32_t narrow_meet_floats(uint32_t matrices, uint32_t n) { return matrices * DECODE_SEGMENTS * n * SUMS_TOKEN; }
CUDA_BOTH uint32_t narrow_bytes(uint32_t matrices, uint32_t steps, uint32_t n)
{
	return narrow_acts_bytes(steps, n) + narrow_sums_bytes(steps, n) + (2 * narrow_meet_floats(matrices, n) * 4 + 127) / 128 * 128;
}

/* A warp's sums of a panel to where the segments' meet: (matrix, segment, token, row). */
template <int MATRICES> CUDA_FN void narrow_meet(const float acc[MATRICES][1][4], uint32_t n, float *meet)
{
	const uint32_t lane = (uint32_t)cuda_lane(), g = lane / 4, t = lane % 4, segment = threadIdx.x / CUDA_WARP;
	CUDA_UNROLL
	for (uint32_t v = 0; v < MATRICES; v++)
		CUDA_UNROLL
		for (uint32_t i = 0; i < 4; i++)
			if (2 * t + i % 2 < n)
				meet[((v * DECODE_SEGMENTS + segment) * n + 2 * t + i % 2) * SUMS_TOKEN + g + i / 2 * 8] = acc[v][0][i];
}

/* A panel of normed heads is stored. The block that brings a head its last one finishes it: it sees what the others wrote. */
CUDA_FN void narrow_arrive(const struct decode *c, const struct decode_part *p, uint32_t row, uint32_t *last)
{
	const uint32_t d = (uint32_t)c->heads.rope.head_dim, head = row / d;
	uint32_t *arrived = c->arrived + head + (p->heads == HEADS_K ? c->heads.rope.heads : 0);
	__threadfence();
	__syncthreads();
	if (threadIdx.x == 0) {
		*last = atomicAdd(arrived, 1u) + 1 == d / WEIGHTS_ROWS;
		if (*last) *arrived = 0;
	}
	__syncthreads();
	if (!*last) return;
	__threadfence();
	for (uint32_t t = threadIdx.x / CUDA_WARP; t < c->n; t += DECODE_WARPS) heads_warp(&c->heads, p->heads, t, head);
}

/* Thread i has row i % 16 of the panel and token i / 16, whose place is `at`. */
template <int MATRICES> CUDA_FN void narrow_finish(const struct decode *c, uint32_t panel, const float *meet, const struct heads_row *at,
	uint32_t *last)
{
	const uint32_t t = threadIdx.x / WEIGHTS_ROWS, n = c->n;
	const struct decode_part *p = decode_part_at(c, &panel);
	const uint32_t row = panel * WEIGHTS_ROWS + threadIdx.x % WEIGHTS_ROWS;
	const int there = t < n && row < p->rows, heads = MATRICES == 1 && p->heads, normed = heads && heads_norm(&c->heads.rope, p->heads);
	float sum[2] = { 0, 0 };
	CUDA_UNROLL
	for (uint32_t v = 0; v < MATRICES; v++) {
		const float *from = meet + (v * DECODE_SEGMENTS * n + t) * SUMS_TOKEN + threadIdx.x % WEIGHTS_ROWS;
		CUDA_UNROLL
		for (uint32_t i = 0; i < DECODE_SEGMENTS && there; i++) sum[v] = i ? sum[v] + from[i * n * SUMS_TOKEN] : from[0];
	}
	if (heads && !normed) {
		const float other = warp_xor(sum[0], 1);
		if (there) heads_put(&c->heads, p, at, row, t, sum[0], other);
	} else if (there) linear_put(&p->to, row, t, sum[0], sum[1]);
	if (normed) narrow_arrive(c, p, row, last);
}

/* Block `block` of `blocks` that have the panels. */
template <uint32_t T, int MATRICES> CUDA_FN void narrow_block(const struct decode *c, uint32_t block, uint32_t blocks)
{
	CUDA_SHARED(uint8_t, shared);
	CUDA_SHARED_N(float, squares, DECODE_NARROW * DECODE_WARPS);
	CUDA_SHARED_N(uint32_t, last, 1);
	const uint32_t warp = threadIdx.x / CUDA_WARP, tile = decode_tile<T>::BYTES, token = threadIdx.x / WEIGHTS_ROWS;
	const int heads = MATRICES == 1 && c->heads.rope.q && token < c->n;
	const struct acts acts = { shared, (float *)(shared + narrow_acts_bytes(c->steps, c->n)), c->steps, c->n, ACTS_TOKEN * c->n,
		2 * c->n };
	float *meet = (float *)(shared + narrow_acts_bytes(c->steps, c->n) + narrow_sums_bytes(c->steps, c->n));
	uint8_t *ring = shared + narrow_bytes(MATRICES, c->steps, c->n) + warp * c->depth * tile;
	struct narrow_next next = { block, blocks, 0, warp, 0 };
	uint32_t slot = 0, turn = 0;
	for (uint32_t i = 0; i + 1 < c->depth; i++) narrow_issue<T, MATRICES>(c, &next, ring);
	await_earlier();
	const int32_t pos = heads ? c->heads.rows.pos[token] : -1, row_slot = heads ? c->heads.rows.slot[token] : 0;
	narrow_acts(&c->from, &acts, squares, T == QUANT_Q6_K);
	const struct heads_row at = heads_row_of(&c->heads, pos, row_slot);     /* under way until the first panel is done */
	__syncthreads();
	for (uint32_t panel = block; panel < c->panels; panel += blocks, turn ^= 1) {
		float acc[MATRICES][1][4] = {};
		CUDA_UNROLL
		for (uint32_t v = 0; v < MATRICES; v++)
			for (uint32_t s = warp; s < c->steps; s += DECODE_SEGMENTS) {
				struct weights_lane<T> w;
				decode_wait(c->depth - 2);
				__syncwarp();           /* the tile is there for all lanes, and all are done with the one before it */
				narrow_issue<T, MATRICES>(c, &next, ring);
				weights_take<T>(ring + slot * tile, ring + slot * tile + decode_tile<T>::HEAD, (uint32_t)cuda_lane(), &w);
				decode_multiply<T, 1>(&w, acts.data + s * acts.step_bytes, acts.sums + s * acts.step_sums, c->n, acc[v]);
				slot = slot + 1 == c->depth ? 0 : slot + 1;
			}
		float *half = meet + turn * narrow_meet_floats(MATRICES, c->n);
		narrow_meet<MATRICES>(acc, c->n, half);
		__syncthreads();                /* the other half is free: all have finished with it before they came here */
		narrow_finish<MATRICES>(c, panel, half, &at, last);
	}
}

template <uint32_t T, int MATRICES>
CUDA_KERNEL(__launch_bounds__(DECODE_THREADS, 2) narrow)(struct decode c)
{
	narrow_block<T, MATRICES>(&c, blockIdx.x, gridDim.x);
}

/* Matrices of two types: the first blocks_a blocks have a's. */
template <uint32_t A, uint32_t B>
CUDA_KERNEL(__launch_bounds__(DECODE_THREADS, 2) narrow_two)(struct decode a, struct decode b, uint32_t blocks_a)
{
	if (blockIdx.x < blocks_a) narrow_block<A, 1>(&a, blockIdx.x, blocks_a);
	else narrow_block<B, 1>(&b, blockIdx.x - blocks_a, gridDim.x - blocks_a);
}

/* --- wide ------------------------------------------------------------------------------------------------------------ */

/* One stage: a step's activations, then a tile for each warp. */
template <uint32_t T, int OCTETS> struct wide_stage {
	static constexpr uint32_t ACTS = (ACTS_TOKEN + 8) * OCTETS * 8, BYTES = ACTS + DECODE_WARPS * decode_tile<T>::BYTES;
};

/* The part that the eighth of panels blockIdx.y is in; *eighth: which of its own, *before: panels of the parts before. */
CUDA_FN const struct decode_part *wide_part(const struct decode *c, uint32_t *eighth, uint32_t *before)
{
	const struct decode_part *p = c->parts;
	*eighth = blockIdx.y, *before = 0;
	CUDA_UNROLL
	for (uint32_t i = 0; i + 1 < DECODE_PARTS; i++) {
		const uint32_t eights = (p->panels + DECODE_WARPS - 1) / DECODE_WARPS;
		if (*eighth < eights) break;
		*eighth -= eights, *before += p->panels, p++;
	}
	return p;
}

/* Stages in order: segments from first to last, of each its steps, of each the matrices. */
struct wide_next {
	uint32_t segment, matrix, step;
};

/* Goes on to the next stage; the segments' end is segment `last`. */
CUDA_FN void wide_step(struct wide_next *at, uint32_t matrices, uint32_t steps, uint32_t last)
{
	if (++at->matrix < matrices) return;
	at->matrix = 0;
	at->step += DECODE_SEGMENTS;
	while (at->step >= steps && at->segment < last) at->step = ++at->segment;
}

/* The weights of a stage, and its activations, begin to be copied. */
template <uint32_t T, int MATRICES, int OCTETS> CUDA_FN void wide_weights(const struct decode *c, const uint8_t *w,
	size_t panel_at, const struct wide_next *at, uint8_t *stage)
{
	uint8_t *tile = stage + wide_stage<T, OCTETS>::ACTS + threadIdx.x / CUDA_WARP * decode_tile<T>::BYTES;
	decode_copy<T>(tile, (MATRICES == 2 && at->matrix ? c->w2 : w) + panel_at, at->step);
}

template <uint32_t T, int OCTETS> CUDA_FN void wide_acts(const struct decode *c, const struct wide_next *at, uint8_t *stage)
{
	typedef wide_stage<T, OCTETS> STAGE;
	const uint8_t *acts = c->acts + ((size_t)blockIdx.x * c->steps + at->step) * STAGE::ACTS;
	for (uint32_t i = threadIdx.x * 16; i < STAGE::ACTS; i += DECODE_THREADS * 16) copy16_async(stage + i, acts + i);
}

template <uint32_t T, int MATRICES, int OCTETS> CUDA_FN void wide_issue(const struct decode *c, const uint8_t *w,
	size_t panel_at, struct wide_next *at, uint32_t last, uint8_t *stage)
{
	if (at->segment < last) {
		wide_acts<T, OCTETS>(c, at, stage);
		wide_weights<T, MATRICES, OCTETS>(c, w, panel_at, at, stage);
		wide_step(at, MATRICES, c->steps, last);
	}
	copy_commit();
}

/* The first stages: their weights before the kernels in front of this are done, in the group of the first one's activations. */
template <uint32_t T, int MATRICES, int OCTETS> CUDA_FN void wide_begin(const struct decode *c, const uint8_t *w, size_t panel_at,
	struct wide_next *at, uint32_t last, uint8_t *stages)
{
	struct wide_next next = *at;
	for (uint32_t i = 0; i + 1 < c->depth && next.segment < last; i++, wide_step(&next, MATRICES, c->steps, last))
		wide_weights<T, MATRICES, OCTETS>(c, w, panel_at, &next, stages + i * wide_stage<T, OCTETS>::BYTES);
	await_earlier();
	for (uint32_t i = 0; i + 1 < c->depth; i++) {
		if (at->segment < last) {
			wide_acts<T, OCTETS>(c, at, stages + i * wide_stage<T, OCTETS>::BYTES);
			wide_step(at, MATRICES, c->steps, last);
		}
		copy_commit();
	}
}

/* A segment's sums into those of all, the first one's first. */
template <int MATRICES, int OCTETS> CUDA_FN void wide_add(int first, float acc[MATRICES][OCTETS][4], float sum[MATRICES][OCTETS][4])
{
	CUDA_UNROLL
	for (uint32_t v = 0; v < MATRICES; v++)
		CUDA_UNROLL
		for (uint32_t o = 0; o < OCTETS; o++)
			CUDA_UNROLL
			for (uint32_t i = 0; i < 4; i++) {
				sum[v][o][i] = first ? acc[v][o][i] : sum[v][o][i] + acc[v][o][i];
				acc[v][o][i] = 0;
			}
}

/* Sums of a block, (matrix, token, row) with tokens this many floats apart: 128 rows, and 4 for the banks. */
enum { WIDE_ROWS = DECODE_WARPS * WEIGHTS_ROWS, WIDE_LD = WIDE_ROWS + 4 };

/* The block's sums through shared memory, so that rows that lie on end are stored together: to `segments`, or finished. */
template <int MATRICES, int OCTETS> CUDA_FN void wide_finish(const struct decode *c, const float sum[MATRICES][OCTETS][4], float *to)
{
	const uint32_t lane = (uint32_t)cuda_lane(), m = OCTETS * 8;
	float *mine = to + lane % 4 * 2 * WIDE_LD + threadIdx.x / CUDA_WARP * WEIGHTS_ROWS + lane / 4;
	const size_t all = (size_t)c->panels * WEIGHTS_ROWS;
	uint32_t eighth, before;
	const struct decode_part *p = wide_part(c, &eighth, &before);
	__syncthreads();                        /* all are done with the stages */
	CUDA_UNROLL
	for (uint32_t v = 0; v < MATRICES; v++)
		CUDA_UNROLL
		for (uint32_t o = 0; o < OCTETS; o++)
			CUDA_UNROLL
			for (uint32_t i = 0; i < 4; i++) mine[(v * m + o * 8 + i % 2) * WIDE_LD + i / 2 * 8] = sum[v][o][i];
	__syncthreads();
	CUDA_ROLL
	for (uint32_t i = threadIdx.x; i < m * WIDE_ROWS; i += DECODE_THREADS) {
		const uint32_t r = i % WIDE_ROWS, row = eighth * WIDE_ROWS + r, token = blockIdx.x * m + i / WIDE_ROWS;
		const float a = to[i / WIDE_ROWS * WIDE_LD + r], b = MATRICES == 2 ? to[(m + i / WIDE_ROWS) * WIDE_LD + r] : 0;
		if (token >= c->n || row >= p->rows) continue;
		if (c->segments) {
			float *at = c->segments + ((size_t)blockIdx.z * MATRICES * c->n + token) * all + before * WEIGHTS_ROWS + row;
			*at = a;
			if (MATRICES == 2) at[c->n * all] = b;
		} else linear_put(&p->to, row, token, a, b);
	}
}

/* Grid: slices of OCTETS * 8 tokens, eights of panels, then 1, or DECODE_SEGMENTS with `segments`. */
template <uint32_t T, int MATRICES, int OCTETS>
CUDA_KERNEL(__launch_bounds__(DECODE_THREADS, 1) wide)(struct decode c)
{
	typedef wide_stage<T, OCTETS> STAGE;
	CUDA_SHARED(uint8_t, stages);
	const uint32_t warp = threadIdx.x / CUDA_WARP;
	const uint32_t first = c.segments ? blockIdx.z : 0, last = c.segments ? first + 1 : (uint32_t)DECODE_SEGMENTS;
	float acc[MATRICES][OCTETS][4] = {}, sum[MATRICES][OCTETS][4] = {};
	struct wide_next next = { first, 0, first };
	uint32_t into = c.depth - 1, slot = 0, eighth, before;
	const struct decode_part *p = wide_part(&c, &eighth, &before);
	const size_t panel_at = min(eighth * DECODE_WARPS + warp, p->panels - 1) * c.panel_bytes;
	while (next.step >= c.steps && next.segment < last) next.step = ++next.segment;
	wide_begin<T, MATRICES, OCTETS>(&c, p->w, panel_at, &next, last, stages);
	for (uint32_t segment = first; segment < last; segment++) {
		for (uint32_t s = segment; s < c.steps; s += DECODE_SEGMENTS)
			CUDA_UNROLL
			for (uint32_t v = 0; v < MATRICES; v++) {
				struct weights_lane<T> w;
				uint8_t *at = stages + slot * STAGE::BYTES, *tile = at + STAGE::ACTS + warp * decode_tile<T>::BYTES;
				decode_wait(c.depth - 2);
				__syncthreads();        /* the stage is there for all, and all are done with the one before it */
				wide_issue<T, MATRICES, OCTETS>(&c, p->w, panel_at, &next, last, stages + into * STAGE::BYTES);
				weights_take<T>(tile, tile + decode_tile<T>::HEAD, (uint32_t)cuda_lane(), &w);
				decode_multiply<T, OCTETS>(&w, at, (const float *)(at + ACTS_TOKEN * OCTETS * 8), OCTETS * 8, acc[v]);
				slot = slot + 1 == c.depth ? 0 : slot + 1;
				into = into + 1 == c.depth ? 0 : into + 1;
			}
		wide_add<MATRICES, OCTETS>(segment == first, acc, sum);
	}
	wide_finish<MATRICES, OCTETS>(&c, sum, (float *)stages);
}

/* Adds wide's segments, and finishes heads without norms. A thread has a row of a token; grid: rows of all panels by threads, then tokens. */
CUDA_KERNEL(decode_sums)(struct decode c, uint32_t matrices)
{
	const uint32_t at = blockIdx.x * blockDim.x + threadIdx.x, token = blockIdx.y;
	const size_t all = (size_t)c.panels * WEIGHTS_ROWS;
	uint32_t panel = at / WEIGHTS_ROWS;
	float sum[2] = { 0, 0 };
	const struct decode_part *p = decode_part_at(&c, &panel);
	const uint32_t row = panel * WEIGHTS_ROWS + at % WEIGHTS_ROWS;
	const int there = row < p->rows;
	await_earlier();
	const int32_t pos = p->heads ? c.heads.rows.pos[token] : -1, slot = p->heads ? c.heads.rows.slot[token] : 0;
	for (uint32_t v = 0; v < matrices && there; v++)
		for (uint32_t s = 0; s < DECODE_SEGMENTS; s++) {
			const float add = c.segments[((size_t)(s * matrices + v) * c.n + token) * all + at];
			sum[v] = s ? sum[v] + add : add;
		}
	const float other = warp_xor(sum[0], 1);
	if (!there) return;
	if (p->heads) {
		const struct heads_row to = heads_row_of(&c.heads, pos, slot);
		heads_put(&c.heads, p, &to, row, token, sum[0], other);
	} else linear_put(&p->to, row, token, sum[0], sum[1]);
}

#endif
