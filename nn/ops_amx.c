/* ops_amx.c: the products of prompts (nn/ops.h) with AMX: packed weights become bfloat16 on the way, TDPBF16PS
 * multiplies tiles of 16 tokens by 32 k with tiles of 32 k by 16 rows, and the sums are floats.
 *
 * Blocking, for a second-level cache of 2 MB and a first one of 48 KB: along k in slabs, so that the activations of
 * all tokens in a slab (768 KB) stay in the second; within that, two panels at a time, and of those up to 288 k at a
 * time, a part, unpacked to 18 KB that stay in the first while all tokens stream past, 32 at a time: four tiles of
 * sums, two of tokens, two of weights. Between parts the sums rest where they are wanted, in y. The next part is
 * unpacked meanwhile, some groups for each 32 tokens: the vector units are idle where the tiles multiply.
 * What bounds it: a line written to the second cache costs about four times one read from it, and every part writes
 * all sums; longer parts leave the first cache. What a sum adds, and in which order, depends on none of that.
 *
 * Built with AVX-512 F, BW, VL, DQ, VBMI, VNNI and BF16; ops.c sees to it that nothing here runs on a CPU without
 * them or without leave to use tiles. Threads: no state. Failure: none. */
#include <immintrin.h>
#include <string.h>
#include "nn/amx.h"
#include "nn/ops_inside.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define V __m512
#define LANES 16
#include "nn/ops_unpack512.h"
#include "nn/ops_unpack.h"

enum {
	TILE = AMX_ROWS * AMX_ROW_BYTES,                /* bytes */
	SLAB_GROUPS = 24, PART_GROUPS = 9,              /* of 32 k, at most */
	BLOCK_TOKENS = 512, BLOCK_PANELS = 32,
	PART_BYTES = PART_GROUPS * TILE                 /* of a panel */
};
_Static_assert(2 * 2 * PART_BYTES <= AMX_SCRATCH_FLOATS * sizeof(float), "scratch takes two parts of two panels");

/* What turns bytes into floats: a byte put in the middle of this float adds itself to it. Two lanes a row, then: a
 * vector has the weights 2h and 2h + 1 of a step for eight rows. */
struct expand { __m512i magic, index[2][2]; __mmask64 put; __m512 minus; };

INLINE struct expand expand_of(uint32_t type)
{
	const int at = type == QUANT_Q8_0 ? 1 : 2;      /* all eight bits, or seven, fit the mantissa there */
	const float magic = type == QUANT_Q8_0 ? 32768 : 128;
	const float zero = type == QUANT_Q4_0 ? 8 : type == QUANT_Q5_0 ? 16 : type == QUANT_Q6_K ? 32 : type == QUANT_Q8_0 ? 128 : 0;
	const __m512i lane = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
	struct expand x;
	x.magic = _mm512_castps_si512(_mm512_set1_ps(magic));
	x.minus = _mm512_set1_ps(-(magic + zero));
	x.put = at == 1 ? 0x2222222222222222u : 0x4444444444444444u;
	UNROLL for (int half = 0; half < 2; half++)
		UNROLL for (int h = 0; h < 2; h++)
			x.index[half][h] = _mm512_slli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(32 * half + 2 * h)), 8 * at);
	return x;
}

/* A group to a tile: 16 rows of 32 bytes pairs … each of the tile's rows has two weights of every row of the panel. */
INLINE void unpack_group(uint32_t type, const struct expand *x, const uint8_t *head, size_t g, const uint8_t *group,
	uint8_t *tile)
{
	const __m512i twice[2] = { _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
		_mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15) };
	__m512i w[STEPS];
	__m512 scale[2][2], add[2][2];
	struct scales s = scales_of(type, head, g, 0);
	const __m512 min = !has_min(type) ? _mm512_setzero_ps() : is_k(type) ? _mm512_sub_ps(_mm512_setzero_ps(), s.min) : s.min;
	steps_of(type, group, w);
	for (int part = 0; part < (type == QUANT_Q6_K ? 2 : 1); part++) {
		__m512 a = _mm512_fmadd_ps(x->minus, s.w[part], min);
		UNROLL for (int half = 0; half < 2; half++) {
			scale[part][half] = _mm512_permutexvar_ps(twice[half], s.w[part]);
			add[part][half] = _mm512_permutexvar_ps(twice[half], a);
		}
	}
	UNROLL for (int i = 0; i < STEPS; i++) {
		const int part = type == QUANT_Q6_K ? i / 4 : 0;
		UNROLL for (int h = 0; h < 2; h++) {
			__m512 f[2];
			UNROLL for (int half = 0; half < 2; half++)
				f[half] = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_mask_permutexvar_epi8(x->magic, x->put,
					x->index[half][h], w[i])), scale[part][half], add[part][half]);
			_mm512_store_si512(tile + (2 * i + h) * AMX_ROW_BYTES, (__m512i)_mm512_cvtne2ps_pbh(f[1], f[0]));
		}
	}
}

/* Groups g0 to g1 of two panels: what is unpacked at a time. */
struct part { size_t panel, g0, g1; };

struct walk {                            /* over the parts of a block: slab by slab, in it pair by pair */
	size_t panel0, panel1, groups, slab;
	size_t panel, k0, k1, at;        /* the slab's groups; the next part's first */
};

/* The most at a time when n are cut evenly into as few as that takes. */
static size_t even_cut(size_t n, size_t most)
{
	size_t cuts = (n + most - 1) / most;
	return (n + cuts - 1) / cuts;
}

static struct walk walk_begin(size_t panel0, size_t panel1, size_t groups)
{
	size_t slab = even_cut(groups, SLAB_GROUPS);
	return (struct walk){ panel0, panel1, groups, slab, panel0, 0, slab, 0 };
}

/* Behind the last: one of no groups. */
static struct part walk_next(struct walk *w)
{
	struct part p;
	if (w->at == w->k1) {
		w->at = w->k0;
		w->panel += 2;
	}
	if (w->panel >= w->panel1) {
		if (w->k1 == w->groups) return (struct part){ w->panel0, 0, 0 };
		w->panel = w->panel0;
		w->at = w->k0 = w->k1;
		w->k1 = w->groups - w->k0 < w->slab ? w->groups : w->k0 + w->slab;
	}
	const size_t step = even_cut(w->k1 - w->k0, PART_GROUPS);
	p.panel = w->panel;
	p.g0 = w->at;
	p.g1 = w->at = w->k1 - w->at < step ? w->k1 : w->at + step;
	return p;
}

static size_t part_groups(const struct part *p)
{
	return p->g1 - p->g0;
}

/* Of the groups of both panels those from `from` to `to`, a tile each. The matrix's last panel is its own neighbour. */
INLINE void unpack(uint32_t type, const struct expand *x, const struct packed *p, const struct part *part, size_t from,
	size_t to, uint8_t *tiles)
{
	const size_t unit = is_k(type) ? K_GROUPS : has_min(type) ? 1 : 2, head = is_k(type) ? K_HEAD : PACK_VECTOR,
		n = part_groups(part);
	for (size_t i = from; i < to; i++) {
		const size_t second = i >= n, at = i - second * n, g = part->g0 + at,
			panel = part->panel + (second && part->panel + 1 < p->panels);
		const uint8_t *h = p->data + panel * p->panel_bytes + g / unit * (head + unit * group_bytes(type));
		unpack_group(type, x, h, g % unit, h + head + g % unit * group_bytes(type), tiles + second * PART_BYTES + at * TILE);
	}
}

/* Sums of up to 32 tokens (blocks of 16 at a0 and a1) and two panels, in tiles 0…3, over `steps` tiles along k. */
INLINE void dots(int blocks, const uint8_t *a0, const uint8_t *a1, const uint8_t *b0, size_t steps)
{
	const uint8_t *b1 = b0 + PART_BYTES;
	for (size_t s = 0; s < steps; s++, a0 += TILE, a1 += TILE, b0 += TILE, b1 += TILE) {
		amx_load(4, a0, AMX_ROW_BYTES);
		amx_load(6, b0, AMX_ROW_BYTES);
		amx_dot_bf16(0, 4, 6);
		amx_load(7, b1, AMX_ROW_BYTES);
		amx_dot_bf16(1, 4, 7);
		if (blocks == 1) continue;
		amx_load(5, a1, AMX_ROW_BYTES);
		amx_dot_bf16(2, 5, 6);
		amx_dot_bf16(3, 5, 7);
	}
}

/* Those sums from y, or zero. */
INLINE void sums_take(int blocks, int first, const float *y, size_t ldy)
{
	if (first) {
		amx_zero(0);
		amx_zero(1);
		amx_zero(2);
		amx_zero(3);
		return;
	}
	amx_load(0, y, ldy * sizeof *y);
	amx_load(1, y + PACK_ROWS, ldy * sizeof *y);
	if (blocks == 1) return;
	amx_load(2, y + AMX_ROWS * ldy, ldy * sizeof *y);
	amx_load(3, y + AMX_ROWS * ldy + PACK_ROWS, ldy * sizeof *y);
}

INLINE void sums_put(int blocks, float *y, size_t ldy)
{
	amx_store(0, y, ldy * sizeof *y);
	amx_store(1, y + PACK_ROWS, ldy * sizeof *y);
	if (blocks == 1) return;
	amx_store(2, y + AMX_ROWS * ldy, ldy * sizeof *y);
	amx_store(3, y + AMX_ROWS * ldy + PACK_ROWS, ldy * sizeof *y);
}

INLINE void multiply(int blocks, int first, const uint8_t *a, size_t lda, const uint8_t *b, size_t steps, float *y,
	size_t ldy)
{
	sums_take(blocks, first, y, ldy);
	dots(blocks, a, a + lda, b, steps);
	sums_put(blocks, y, ldy);
}

/* n <= BLOCK_TOKENS tokens and panels panel0 to panel1; y: of the first token and panel. */
INLINE void multiply_block(uint32_t type, const struct packed *p, size_t panel0, size_t panel1, const uint8_t *acts,
	size_t n, float *y, size_t ldy, uint8_t *scratch)
{
	const size_t groups = p->k / PACK_GROUP, lda = groups * TILE, blocks = (n + AMX_ROWS - 1) / AMX_ROWS,
		pairs = (blocks + 1) / 2;
	const struct expand x = expand_of(type);
	struct walk walk = walk_begin(panel0, panel1, groups);
	struct part part = walk_next(&walk), next;
	uint8_t *tiles[2] = { scratch, scratch + 2 * PART_BYTES };
	unpack(type, &x, p, &part, 0, 2 * part_groups(&part), tiles[0]);
	for (int turn = 0; part_groups(&part); turn ^= 1, part = next) {
		next = walk_next(&walk);
		const size_t steps = part_groups(&part), unpacks = 2 * part_groups(&next);
		const uint8_t *a = acts + part.g0 * TILE;
		float *to = y + (part.panel - panel0) * PACK_ROWS;
		for (size_t i = 0; i < pairs; i++, a += 2 * lda, to += 2 * AMX_ROWS * ldy) {
			unpack(type, &x, p, &next, unpacks * i / pairs, unpacks * (i + 1) / pairs, tiles[turn ^ 1]);
			if (2 * i + 2 <= blocks) multiply(2, part.g0 == 0, a, lda, tiles[turn], steps, to, ldy);
			else multiply(1, part.g0 == 0, a, 0, tiles[turn], steps, to, ldy);
		}
	}
}

/* All blocks; for each type on its own, so that what it is stands fixed in the innermost loop. */
INLINE void multiply_type(uint32_t type, const struct packed *p, size_t panel0, size_t panel1, const uint8_t *acts, size_t n,
	float *y, size_t ldy, uint8_t *scratch)
{
	const size_t token_bytes = p->k * sizeof(uint16_t);
	for (size_t t = 0; t < n; t += BLOCK_TOKENS)
		for (size_t i = panel0; i < panel1; i += BLOCK_PANELS)
			multiply_block(type, p, i, panel1 - i < BLOCK_PANELS ? panel1 : i + BLOCK_PANELS, acts + t * token_bytes,
				n - t < BLOCK_TOKENS ? n - t : BLOCK_TOKENS, y + t * ldy + (i - panel0) * PACK_ROWS, ldy, scratch);
}

void amx_prompt_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y,
	size_t ldy, void *scratch)
{
	amx_enter();
	switch (p->type) {
	case QUANT_Q4_0: multiply_type(QUANT_Q4_0, p, panel0, panel1, acts, n, y, ldy, scratch); break;
	case QUANT_Q4_1: multiply_type(QUANT_Q4_1, p, panel0, panel1, acts, n, y, ldy, scratch); break;
	case QUANT_Q5_0: multiply_type(QUANT_Q5_0, p, panel0, panel1, acts, n, y, ldy, scratch); break;
	case QUANT_Q5_1: multiply_type(QUANT_Q5_1, p, panel0, panel1, acts, n, y, ldy, scratch); break;
	case QUANT_Q8_0: multiply_type(QUANT_Q8_0, p, panel0, panel1, acts, n, y, ldy, scratch); break;
	case QUANT_Q4_K: multiply_type(QUANT_Q4_K, p, panel0, panel1, acts, n, y, ldy, scratch); break;
	case QUANT_Q5_K: multiply_type(QUANT_Q5_K, p, panel0, panel1, acts, n, y, ldy, scratch); break;
	case QUANT_Q6_K: multiply_type(QUANT_Q6_K, p, panel0, panel1, acts, n, y, ldy, scratch); break;
	}
	amx_leave();
}

size_t amx_prompt_bytes(size_t k, size_t n)
{
	return (n + AMX_ROWS - 1) / AMX_ROWS * AMX_ROWS * k * sizeof(uint16_t);
}

void amx_prompt_act(const float *x, size_t from, size_t count, size_t k, size_t t, void *acts)
{
	uint8_t *out = (uint8_t *)acts + (t / AMX_ROWS * k + from) / PACK_GROUP * TILE + t % AMX_ROWS * AMX_ROW_BYTES;
	for (size_t i = 0; i < count; i += PACK_GROUP, out += TILE)
		_mm512_store_si512(out, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i)));
}
