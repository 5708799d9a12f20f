/* ops_amx.c: the products of prompts (nn/ops.h) with AMX: packed weights become bfloat16 on the way, TDPBF16PS
 * multiplies tiles of 16 tokens by 32 k with tiles of 32 k by 16 rows, and the sums are floats.
 *
 * Blocking, for a second-level cache of 2 MB and a first one of 48 KB: along k in slabs, so that the activations of
 * all tokens in a slab (768 KB) stay in the second; within that, two panels at a time, and of those 256 k at a time,
 * unpacked to 16 KB that stay in the first while all tokens stream past, 32 at a time: four tiles of sums, two of
 * tokens, two of weights. The sums of a block of panels rest in scratch between slabs, in the order of tiles.
 * What a sum adds, and in which order, depends on none of that.
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
	TILE = AMX_ROWS * AMX_ROW_BYTES,        /* bytes */
	TILE_FLOATS = TILE / 4,
	SLAB_K = 768, PART_K = 256,
	BLOCK_TOKENS = 512, BLOCK_PANELS = 16,
	PART_BYTES = PART_K / PACK_GROUP * TILE /* of a panel */
};
_Static_assert(2 * PART_BYTES + BLOCK_TOKENS * BLOCK_PANELS * PACK_ROWS * sizeof(float) <= AMX_SCRATCH_FLOATS * sizeof(float),
	"scratch takes two panels' part and a block's sums");

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

/* Groups g0 to g1 of the panel at `at`, a tile each. */
INLINE void unpack_type(uint32_t type, const uint8_t *at, size_t g0, size_t g1, uint8_t *tiles)
{
	const size_t unit = is_k(type) ? K_GROUPS : has_min(type) ? 1 : 2, head = is_k(type) ? K_HEAD : PACK_VECTOR;
	const struct expand x = expand_of(type);
	for (size_t g = g0; g < g1; g++, tiles += TILE) {
		const uint8_t *h = at + g / unit * (head + unit * group_bytes(type));
		unpack_group(type, &x, h, g % unit, h + head + g % unit * group_bytes(type), tiles);
	}
}

static void unpack(uint32_t type, const uint8_t *at, size_t g0, size_t g1, uint8_t *tiles)
{
	switch (type) {
	case QUANT_Q4_0: unpack_type(QUANT_Q4_0, at, g0, g1, tiles); break;
	case QUANT_Q4_1: unpack_type(QUANT_Q4_1, at, g0, g1, tiles); break;
	case QUANT_Q5_0: unpack_type(QUANT_Q5_0, at, g0, g1, tiles); break;
	case QUANT_Q5_1: unpack_type(QUANT_Q5_1, at, g0, g1, tiles); break;
	case QUANT_Q8_0: unpack_type(QUANT_Q8_0, at, g0, g1, tiles); break;
	case QUANT_Q4_K: unpack_type(QUANT_Q4_K, at, g0, g1, tiles); break;
	case QUANT_Q5_K: unpack_type(QUANT_Q5_K, at, g0, g1, tiles); break;
	case QUANT_Q6_K: unpack_type(QUANT_Q6_K, at, g0, g1, tiles); break;
	}
}

/* Sums of up to 32 tokens (blocks of 16 at a0 and a1) and two panels, in tiles 0…3, over `steps` tiles along k. */
INLINE void dots(int blocks, const uint8_t *a0, const uint8_t *a1, const uint8_t *b0, const uint8_t *b1, size_t steps)
{
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

INLINE void sums_take(int blocks, int first, const float *acc)
{
	if (first) {
		amx_zero(0);
		amx_zero(1);
		amx_zero(2);
		amx_zero(3);
		return;
	}
	amx_load(0, acc, AMX_ROW_BYTES);
	amx_load(1, acc + TILE_FLOATS, AMX_ROW_BYTES);
	if (blocks == 1) return;
	amx_load(2, acc + 2 * TILE_FLOATS, AMX_ROW_BYTES);
	amx_load(3, acc + 3 * TILE_FLOATS, AMX_ROW_BYTES);
}

INLINE void sums_put(int blocks, float *acc)
{
	amx_store(0, acc, AMX_ROW_BYTES);
	amx_store(1, acc + TILE_FLOATS, AMX_ROW_BYTES);
	if (blocks == 1) return;
	amx_store(2, acc + 2 * TILE_FLOATS, AMX_ROW_BYTES);
	amx_store(3, acc + 3 * TILE_FLOATS, AMX_ROW_BYTES);
}

/* One part of two panels for all tokens. a: the part's first tile of the first 16 tokens; lda: bytes from 16 tokens to
 * the next. acc: two tiles for each 16 tokens. */
static void multiply_part(const uint8_t *a, size_t lda, size_t blocks, const uint8_t *b, size_t steps, int first, float *acc)
{
	const uint8_t *b1 = b + PART_BYTES;
	for (; blocks >= 2; blocks -= 2, a += 2 * lda, acc += 4 * TILE_FLOATS) {
		sums_take(2, first, acc);
		dots(2, a, a + lda, b, b1, steps);
		sums_put(2, acc);
	}
	if (!blocks) return;
	sums_take(1, first, acc);
	dots(1, a, a, b, b1, steps);
	sums_put(1, acc);
}

/* The sums of all panels of a block to y: token by token, so that what is written lies together. */
static void write_block(const struct packed *p, size_t panel0, size_t panel1, const float *sums, size_t n, float *y, size_t ldy)
{
	const size_t blocks = (n + AMX_ROWS - 1) / AMX_ROWS;
	for (size_t t = 0; t < n; t++) {
		const float *from = sums + t / AMX_ROWS * 2 * TILE_FLOATS + t % AMX_ROWS * PACK_ROWS;
		for (size_t i = panel0; i < panel1; i++) {
			const size_t row = i * PACK_ROWS, rows = p->rows - row < PACK_ROWS ? p->rows - row : PACK_ROWS,
				at = ((i - panel0) / 2 * 2 * blocks + (i - panel0) % 2) * TILE_FLOATS;
			_mm512_mask_storeu_ps(y + t * ldy + (i - panel0) * PACK_ROWS, (__mmask16)((1u << rows) - 1), _mm512_load_ps(from + at));
		}
	}
}

/* k along which all is done at a time: whole groups, cut evenly. */
static size_t even_cut(size_t k, size_t most)
{
	size_t cuts = (k + most - 1) / most;
	return (k / PACK_GROUP + cuts - 1) / cuts * PACK_GROUP;
}

/* Panels panel0 to panel1, BLOCK_PANELS at most, and n <= BLOCK_TOKENS tokens. */
static void multiply_block(const struct packed *p, size_t panel0, size_t panel1, const uint8_t *acts, size_t n, float *y,
	size_t ldy, uint8_t *scratch)
{
	const size_t k = p->k, lda = k / PACK_GROUP * TILE, slab = even_cut(k, SLAB_K), blocks = (n + AMX_ROWS - 1) / AMX_ROWS;
	float *sums = (float *)(void *)(scratch + 2 * PART_BYTES);
	for (size_t k0 = 0; k0 < k; k0 += slab) {
		const size_t k1 = k - k0 < slab ? k : k0 + slab, part = even_cut(k1 - k0, PART_K);
		for (size_t panel = panel0; panel < panel1; panel += 2) {
			const size_t second = panel + 1 < panel1 ? panel + 1 : panel;
			float *acc = sums + (panel - panel0) * blocks * TILE_FLOATS;
			for (size_t at = k0; at < k1; at += part) {
				const size_t g0 = at / PACK_GROUP, g1 = (k1 - at < part ? k1 : at + part) / PACK_GROUP;
				unpack(p->type, p->data + panel * p->panel_bytes, g0, g1, scratch);
				unpack(p->type, p->data + second * p->panel_bytes, g0, g1, scratch + PART_BYTES);
				multiply_part(acts + g0 * TILE, lda, blocks, scratch, g1 - g0, at == 0, acc);
			}
		}
	}
	write_block(p, panel0, panel1, sums, n, y, ldy);
}

void amx_prompt_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y,
	size_t ldy, void *scratch)
{
	const size_t token_bytes = p->k * sizeof(uint16_t);
	amx_enter();
	for (size_t t = 0; t < n; t += BLOCK_TOKENS)
		for (size_t i = panel0; i < panel1; i += BLOCK_PANELS)
			multiply_block(p, i, panel1 - i < BLOCK_PANELS ? panel1 : i + BLOCK_PANELS, (const uint8_t *)acts + t * token_bytes,
				n - t < BLOCK_TOKENS ? n - t : BLOCK_TOKENS, y + t * ldy + (i - panel0) * PACK_ROWS, ldy, scratch);
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
