/* cuda_heads.h: what becomes of heads of queries, keys and values once their products are there: the norm of a head, its turn
 * by its position, and where it goes: queries to where they came from, keys and values to their page as halves.
 *
 * It is done in three places, with the same bits: by a kernel of its own (ops_cuda_rope.cu); where a head is normed by the last of
 * the blocks of `narrow` that have a panel of it (heads_warp, both); and where it is not by the very thread that has added up a sum
 * (heads_turn, heads_store; cuda_decode.h). For this the two of a pair are neighbours (gpu.h): they fall into one panel of 16 rows and
 * to neighbouring lanes. Nobody then waits for anybody, and no product is written only to be read again: that a block waits for
 * others by counting costs it a fence, an atomic and two more ways through the second-level cache, as much as the launch that is
 * saved, so only norms, which need all of a head, do that. */
#ifndef NN_CUDA_HEADS_H
#define NN_CUDA_HEADS_H
#include "nn/cuda_inside.h"

enum heads_kind { HEADS_NONE, HEADS_Q, HEADS_K, HEADS_V, HEADS_ALL = 1 << HEADS_Q | 1 << HEADS_K | 1 << HEADS_V /* their bits */ };
enum { HEADS_MOST_DIM = 256, HEADS_LANE = HEADS_MOST_DIM / (2 * CUDA_WARP) /* pairs of a lane */ };

struct heads { struct gpu_rope rope; struct gpu_rows rows; };

/* A row's place: its position, and in the page that has it, that position's first number of the layer's first head of keys. */
struct heads_row { uint16_t *page; int32_t pos; };
/* -1: padding; its slot is not looked at. */
CUDA_FN struct heads_row heads_row_of(const struct heads *c, int32_t pos, int32_t slot)
{
	struct heads_row r = { NULL, pos };
	if (r.pos < 0) return r;
	const size_t page = c->rows.pages[(size_t)slot * c->rows.ld_pages + (uint32_t)r.pos / GPU_PAGE];
	r.page = c->rope.store + page * c->rope.page_halves + c->rope.head_halves + (uint32_t)r.pos % GPU_PAGE * c->rope.head_dim;
	return r;
}

/* Number i of a head, turned; other: the other one of its pair. */
CUDA_FN float heads_turn(const struct heads *c, int32_t pos, uint32_t i, float v, float other)
{
	const size_t at = (size_t)pos * c->rope.half + i / 2;
	if (i / 2 >= c->rope.half) return v;
	const float co = c->rope.cos[at], si = c->rope.sin[at];
	return i % 2 ? other * si + v * co : v * co - other * si;
}

CUDA_FN void heads_store(const struct heads *c, uint32_t kind, const struct heads_row *r, uint32_t t, uint32_t head, uint32_t i, float v)
{
	const size_t d = c->rope.head_dim;
	if (kind == HEADS_Q) c->rope.q[(t * c->rope.heads + head) * d + i] = v;
	else r->page[(2 * head + (kind == HEADS_V)) * GPU_PAGE * d + i] = float_half(v);
}

CUDA_BOTH const float *heads_norm(const struct gpu_rope *c, uint32_t kind)
{
	return kind == HEADS_Q ? c->q_norm : kind == HEADS_K ? c->k_norm : NULL;
}

/* A head of a row from its products to its place, by a warp. */
CUDA_FN void heads_warp(const struct heads *c, uint32_t kind, uint32_t t, uint32_t head)
{
	const struct heads_row r = heads_row_of(c, c->rows.pos[t], c->rows.slot[t]);
	const uint32_t d = (uint32_t)c->rope.head_dim, lane = (uint32_t)cuda_lane();
	const size_t at = kind == HEADS_Q ? (t * c->rope.heads + head) * d : (t * c->rope.kv_heads + head) * d;
	const float *x = (kind == HEADS_Q ? c->rope.q : kind == HEADS_K ? c->rope.k : c->rope.v) + at, *norm = heads_norm(&c->rope, kind);
	float v[HEADS_LANE][2], sum = 0, inverse = 1;
	if (r.pos < 0) return;
	CUDA_UNROLL
	for (uint32_t j = 0; j < HEADS_LANE; j++)
		CUDA_UNROLL
		for (uint32_t e = 0; e < 2; e++) {
			const uint32_t i = 2 * (lane + j * CUDA_WARP) + e;
			v[j][e] = i < d ? load_fresh(x + i) : 0;
			sum = fmaf(v[j][e], v[j][e], sum);
		}
	if (norm) inverse = 1 / sqrtf(warp_sum(sum) / (float)d + c->rope.eps);
	CUDA_UNROLL
	for (uint32_t j = 0; j < HEADS_LANE; j++) {
		const uint32_t i = 2 * (lane + j * CUDA_WARP);
		if (i >= d) continue;
		float a = v[j][0], b = v[j][1];
		if (norm) a = a * inverse * norm[i], b = b * inverse * norm[i + 1];
		heads_store(c, kind, &r, t, head, i, kind == HEADS_V ? a : heads_turn(c, r.pos, i, a, b));
		heads_store(c, kind, &r, t, head, i + 1, kind == HEADS_V ? b : heads_turn(c, r.pos, i + 1, b, a));
	}
}

#endif
