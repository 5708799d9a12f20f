/* cuda_prompt.h: attention of a prompt's rows; ops_cuda_attend.cu launches it.
 *
 * prompt: a block of four warps attends for PROMPT_ROWS pairs of token and head; queries and shares are
 * halves. Keys and values come to shared memory with asynchronous copies, in blocks at multiples of their length, one
 * ahead. A tile of tokens that holds several sequences is walked once for each. Long rows are cut in runs of GPU_PROMPT_SPLIT
 * keys that begin at multiples of it, each from a fresh start; prompt_add adds them up in order of positions. So a few rows
 * behind a long context, a block or two by themselves, are as many times more. Always, for whether a row is alone must not show
 * in its bits; but a row of one run, as all are of a prompt of 2k tokens, knows nothing of it.
 *
 * The reckoning. 4 * head_dim operations a pair of query and key: 2048 positions of the 1.5B are 13 GFLOP a layer; a block
 * has 64 rows for 32 KB of a block of keys: 128 operations a byte, which come from the cache. 512 rows are 104
 * blocks. Sums of runs: 4 * head_dim bytes a row, head and run, written and read, where that took 4 * head_dim * 2048
 * operations: 1024 operations a byte.
 * Threads: as gpu.h. Failure: none of its own. */
#ifndef NN_CUDA_PROMPT_H
#define NN_CUDA_PROMPT_H
#include "nn/cuda_attend.h"

constexpr uint32_t PROMPT_ROWS = 16 * WARPS, PROMPT_PAD = 8, PROMPT_SPLIT = GPU_PROMPT_SPLIT;

/* Keys of a block, and halves from one key to the next in shared memory (rows of 8 then lie in different banks). */
template <int DIM> struct prompt_of {
	static constexpr uint32_t KEYS = DIM > 128 ? 32 : 64, LD = DIM + PROMPT_PAD;
	static constexpr int SPARE = DIM > 128;        /* registers: queries are kept in shared memory */
};

struct prompt_at {                             /* where a segment of a tile is: rows t … end-1, of one sequence */
	uint32_t tile, t, end;                 /* tile: its first row */
	uint32_t kv_head, head, heads, slot;
	uint32_t run;
	struct row keys;                       /* from the first key of any row to the last of any, in this run */
};

template <int DIM> struct prompt_shared {      /* of block b: [b % 2] */
	alignas(16) uint16_t keys[2][prompt_of<DIM>::KEYS][prompt_of<DIM>::LD];
	alignas(16) uint16_t values[2][prompt_of<DIM>::KEYS][prompt_of<DIM>::LD];
	alignas(16) uint32_t query[prompt_of<DIM>::SPARE ? DIM / 16 : 1][WARPS][4][32]; /* as in prompt_rows */
	struct prompt_at at;                   /* here, for registers are few */
	struct row all;                        /* keys of the segment in all its runs */
};

template <int DIM> struct prompt_rows {        /* what a thread has of rows lane/4 and lane/4 + 8 of its warp */
	struct row keys[2];                    /* none where the row is not the segment's */
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

/* The row that is a thread's i-th, and its head. */
struct prompt_place { uint32_t t, head; };
CUDA_FN struct prompt_place prompt_place_of(const struct prompt_at *at, int i)
{
	const uint32_t row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + 8 * i;
	struct prompt_place p = { at->tile + row / at->heads, at->head + row % at->heads };
	return p;
}

/* Two neighbours of row i's query, which lies at q; zeros where there are none. */
template <int DIM, int ALL> CUDA_FN float2 query_two(const struct attend_job *c, const struct prompt_rows<DIM> *r,
	int i, const float *q, uint32_t d)
{
	if (r->keys[i].end && (ALL || d < c->dim)) return *(const float2 *)(q + d);
	return make_float2(0, 0);
}

/* The rows of a thread: their keys and queries. */
template <int DIM, int ALL> CUDA_FN void prompt_begin(const struct attend_job *c, const struct prompt_at *at,
	struct prompt_shared<DIM> *s, struct prompt_rows<DIM> *r)
{
	const uint32_t lane = threadIdx.x % 32, column = lane % 4 * 2;
	const float *query[2];
	float lift[2];
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const struct prompt_place p = prompt_place_of(at, i);
		const int mine = p.t < at->tile + c->tokens && p.t >= at->t && p.t < at->end;
		float most = 0;
		r->keys[i].first = r->keys[i].end = 0;
		if (mine) r->keys[i] = row_keys(c, (uint32_t)c->pos[p.t]);
		query[i] = c->q + ((size_t)p.t * c->heads + p.head) * c->dim;
		r->top[i] = -INFINITY;
		r->sum[i] = 0;
#pragma unroll 8
		for (uint32_t d = column; d < DIM; d += 8) {
			const float2 q = query_two<DIM, ALL>(c, r, i, query[i], d);
			most = fmaxf(most, fmaxf(fabsf(q.x), fabsf(q.y)));
		}
		lift[i] = query_lift(quad_max(most), c->scale, &r->factor[i]);
	}
#pragma unroll
	for (int k = 0; k < DIM / 16; k++) {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			const float2 q = query_two<DIM, ALL>(c, r, i % 2, query[i % 2], 16 * k + i / 2 * 8 + column);
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

/* The run of a row's first key, and of its last. */
struct prompt_runs { uint32_t first, last; };
CUDA_FN struct prompt_runs prompt_runs_of(struct row keys)
{
	struct prompt_runs r = { keys.first / PROMPT_SPLIT, (keys.end - 1) / PROMPT_SPLIT };
	return r;
}

/* What a run gave: the result of a row that has no other, else to scratch. */
template <int DIM, int ALL> CUDA_FN void prompt_end(const struct attend_job *c, const struct prompt_at *at,
	const struct prompt_rows<DIM> *r)
{
	const uint32_t column = threadIdx.x % 4 * 2, run = at->run;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const float sum = quad_sum(r->sum[i]);
		const struct prompt_runs runs = prompt_runs_of(r->keys[i]);
		if (!r->keys[i].end || run < runs.first || run > runs.last) continue;
		const int alone = runs.first == runs.last;
		const struct prompt_place p = prompt_place_of(at, i);
		const size_t one = ((size_t)p.t * (alone ? 1 : c->runs) + (run - runs.first)) * c->heads + p.head;
		float *to = (alone ? c->out : c->vec) + one * c->dim;
#pragma unroll
		for (int d = 0; d < DIM / 8; d++)
			if (ALL || 8 * d < (int)c->dim)
				*(float2 *)(to + 8 * d + column) = alone ? make_float2(r->acc[d][2 * i] / sum, r->acc[d][2 * i + 1] / sum)
					: make_float2(r->acc[d][2 * i], r->acc[d][2 * i + 1]);
		if (alone || column) continue;
		c->top[one * 2] = r->top[i];
		c->top[one * 2 + 1] = sum;
	}
}

/* One sequence's rows of a tile, and keys of one run: what s->at says. */
template <int DIM, int ALL> CUDA_FN void prompt_segment(const struct attend_job *c, struct prompt_shared<DIM> *s)
{
	constexpr uint32_t KEYS = prompt_of<DIM>::KEYS;
	const struct prompt_at *at = &s->at;
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
	prompt_end<DIM, ALL>(c, at, &r);
}

/* Where the segment is that begins with row t, before `end`: of one thread. */
template <int DIM> CUDA_FN void prompt_find(const struct attend_job *c, uint32_t tile, uint32_t t, uint32_t end,
	struct prompt_shared<DIM> *s)
{
	struct prompt_at at;
	at.tile = tile;
	at.t = t;
	at.kv_head = blockIdx.y / c->parts;
	at.head = blockIdx.y % c->parts * PROMPT_ROWS;
	at.heads = min(c->group - at.head, PROMPT_ROWS);
	at.head += at.kv_head * c->group;
	at.slot = (uint32_t)c->slot[t];
	at.keys = row_keys(c, (uint32_t)c->pos[t]);
	for (at.end = t + 1; at.end < end && c->pos[at.end] >= 0 && (uint32_t)c->slot[at.end] == at.slot; at.end++) {
		const struct row keys = row_keys(c, (uint32_t)c->pos[at.end]);
		at.keys.first = min(at.keys.first, keys.first);
		at.keys.end = max(at.keys.end, keys.end);
	}
	s->at = at;
	s->all = at.keys;
}

/* Grid: tiles of c.tokens rows, the last first, for they have most keys; heads of keys times parts; runs, of which a block takes
 * every so many-th. */
template <int DIM, int ALL> __launch_bounds__(THREADS, 2) CUDA_KERNEL(prompt)(struct attend_job c)
{
	CUDA_SHARED(struct prompt_shared<DIM>, s);
	const uint32_t tile = (gridDim.x - 1 - blockIdx.x) * c.tokens, end = min(tile + c.tokens, c.n);
	for (uint32_t t = tile; t < end;) {
		if (c.pos[t] < 0) {
			t++;
			continue;
		}
		if (threadIdx.x == 0) prompt_find<DIM>(&c, tile, t, end, s);
		__syncthreads();
		for (uint32_t run = s->all.first / PROMPT_SPLIT + blockIdx.z; run * PROMPT_SPLIT < s->all.end;) {
			if (threadIdx.x == 0) {
				s->at.run = run;
				s->at.keys.first = max(s->all.first, run * PROMPT_SPLIT);
				s->at.keys.end = min(s->all.end, (run + 1) * PROMPT_SPLIT);
			}
			__syncthreads();
			prompt_segment<DIM, ALL>(&c, s);
			run = s->at.run + gridDim.z;
			__syncthreads();
		}
		t = s->at.end;
		__syncthreads();
	}
}

/* The runs of a row and head, in order of positions; a warp for each. Grid: rows, heads by warps. */
CUDA_KERNEL(prompt_add)(struct attend_job c)
{
	const uint32_t lane = threadIdx.x % 32, t = blockIdx.x, head = blockIdx.y * WARPS + threadIdx.x / 32;
	if (head >= c.heads || c.pos[t] < 0) return;
	const struct prompt_runs runs = prompt_runs_of(row_keys(&c, (uint32_t)c.pos[t]));
	const uint32_t all = runs.last - runs.first + 1;
	const size_t begin = (size_t)t * c.runs * c.heads + head, step = (size_t)c.heads * c.dim;
	const float *from = c.vec + begin * c.dim;
	float top = -INFINITY, sum = 0, v[2][4] = { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } };
	if (all == 1) return;
	for (uint32_t i = lane; i < all; i += 32) top = fmaxf(top, c.top[(begin + (size_t)i * c.heads) * 2]);
	top = top_safe(warp_max(top));
	for (uint32_t i0 = 0; i0 < all; i0 += 32) {
		const float *one = c.top + (begin + (size_t)(i0 + lane) * c.heads) * 2, share = i0 + lane < all ? exp2f(one[0] - top) : 0;
		sum += warp_sum(i0 + lane < all ? share * one[1] : 0);
#pragma unroll 4
		for (uint32_t i = 0; i < min(all - i0, 32u); i++) {
			const float some = warp_exchange(share, (int)i);
#pragma unroll
			for (uint32_t m = 0; m < 2; m++) {
				const uint32_t d = 4 * (lane + 32 * m);
				if (d >= c.dim) continue;
				const float4 x = *(const float4 *)(from + (i0 + i) * step + d);
				v[m][0] = fmaf(x.x, some, v[m][0]), v[m][1] = fmaf(x.y, some, v[m][1]);
				v[m][2] = fmaf(x.z, some, v[m][2]), v[m][3] = fmaf(x.w, some, v[m][3]);
			}
		}
	}
#pragma unroll
	for (uint32_t m = 0; m < 2; m++) {
		const uint32_t d = 4 * (lane + 32 * m);
		if (d < c.dim) *(float4 *)(c.out + (size_t)t * step + head * c.dim + d) =
			make_float4(v[m][0] / sum, v[m][1] / sum, v[m][2] / sum, v[m][3] / sum);
	}
}

#endif
