/* attend_amx.c: attention of prompts with AMX (nn/ops.h, prompt_attend): many queries that share a head of keys.
 *
 * Method: the online softmax of Milakov & Gimelshein 2018, in blocks as in FlashAttention (Dao et al. 2022), lying on
 * its side. A block is 64 keys at a multiple of 64, so that a query meets the same blocks in the same order however
 * its prompt was cut; a block that a query has no key of changes nothing for it. Sixteen queries make a tile of 16
 * columns: scores are keys x queries (keys are rows as they lie in memory, queries were turned around once), so the
 * maximum and the sum of a query run down a lane, and the shares are, pair by pair, the next product's second operand:
 * sums are dimensions x queries.
 * Scores must be good to less than bfloat16's eight bits, for some models' are in the hundreds: keys (halves) are split
 * exactly into two bfloat16, queries nearly so, and three of the four products are added. Shares and values are
 * rounded to bfloat16. Scores are in units of log 2, so that exp2 does.
 *
 * Scratch: a block's keys and values as tiles, then each sixteen queries' state. Threads: no state. Failure: none. */
#include <immintrin.h>
#include <string.h>
#include "nn/amx.h"
#include "nn/ops_inside.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum {
	LANES = 16,
	KEYS = 64,                              /* of a block */
	KEY_TILES = KEYS / AMX_ROWS,
	PAIRS = LANES,                          /* of bfloat16 in a row of a tile */
	TILE = AMX_ROWS * AMX_ROW_BYTES,
	DIM_MAX = 256
};
static const float LOWEST = -1e30f;             /* under every score, and finite */

/* What is the same for all of a call; steps: 32 dimensions each, the last one perhaps half empty. */
struct work {
	const struct ops_attend *a;
	size_t steps, dims;                     /* dims: tiles of 16 dimensions */
	uint8_t *keys, *low_keys, *values, *shares;
	float *scores;
	size_t group_bytes;
};

struct group {                                  /* sixteen queries */
	__m512 max, sum;
	__m512i first, pos;                     /* the keys a query has: first … pos */
	size_t begin, end;                      /* of all of them, end behind */
	_Alignas(64) uint8_t tiles[];           /* queries: steps tiles, and as many of what they leave; then sums: dims */
};

INLINE void turn(__m512i r[16])                 /* rows to columns, 16 x 16 */
{
	__m512i a[16];
	UNROLL for (int i = 0; i < 16; i += 4) {
		__m512i x = _mm512_unpacklo_epi32(r[i], r[i + 1]), y = _mm512_unpackhi_epi32(r[i], r[i + 1]),
			z = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]), w = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
		a[i] = _mm512_unpacklo_epi64(x, z);
		a[i + 1] = _mm512_unpackhi_epi64(x, z);
		a[i + 2] = _mm512_unpacklo_epi64(y, w);
		a[i + 3] = _mm512_unpackhi_epi64(y, w);
	}
	UNROLL for (int i = 0; i < 4; i++) {
		__m512i x = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88), y = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd),
			z = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88), w = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
		r[i] = _mm512_shuffle_i32x4(x, z, 0x88);
		r[i + 4] = _mm512_shuffle_i32x4(y, w, 0x88);
		r[i + 8] = _mm512_shuffle_i32x4(x, z, 0xdd);
		r[i + 12] = _mm512_shuffle_i32x4(y, w, 0xdd);
	}
}

INLINE __m512 halves_at(const uint16_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE __m512 upper(__m512 x)                   /* its first eight bits */
{
	return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32((int)0xffff0000)));
}

INLINE __m512i uppers(__m512 a, __m512 b)       /* those of two vectors, as bfloat16 one behind the other */
{
	const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21,
		19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
	return _mm512_permutex2var_epi16(_mm512_castps_si512(a), odd, _mm512_castps_si512(b));
}

INLINE __m512i rounded(__m512 a, __m512 b)      /* two vectors as bfloat16, one behind the other */
{
	return (__m512i)_mm512_cvtne2ps_pbh(b, a);
}

INLINE __m512i pairs(__m512 a, __m512 b)        /* … side by side: lane i has a's and b's lane i */
{
	const __m512i mix = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20,
		4, 19, 3, 18, 2, 17, 1, 16, 0);
	return _mm512_permutexvar_epi16(mix, rounded(a, b));
}

INLINE __m512 exp2_of(__m512 x)                 /* x <= 0: within 2e-7 of itself; Taylor over half a unit either way */
{
	__m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm512_sub_ps(x, n), p;
	p = _mm512_fmadd_ps(f, _mm512_set1_ps(1.5403530e-4f), _mm512_set1_ps(1.3333558e-3f));
	p = _mm512_fmadd_ps(f, p, _mm512_set1_ps(9.6181291e-3f));
	p = _mm512_fmadd_ps(f, p, _mm512_set1_ps(5.5504109e-2f));
	p = _mm512_fmadd_ps(f, p, _mm512_set1_ps(0.24022651f));
	p = _mm512_fmadd_ps(f, p, _mm512_set1_ps(0.69314718f));
	p = _mm512_fmadd_ps(f, p, _mm512_set1_ps(1));
	return _mm512_scalef_ps(p, n);
}

/* --- turning what there is into tiles --- */
static const uint16_t *key_at(const struct ops_attend *a, size_t pos)
{
	return a->kv->base + a->kv->page[pos / a->kv->len] * a->kv->stride + pos % a->kv->len * a->head_dim;
}

/* Keys from `begin` on, `n` of them and zeros: tiles of 16 keys by 32 dimensions, and of what those leave. */
static void take_keys(const struct work *w, size_t begin, size_t n)
{
	for (size_t i = 0; i < KEYS; i++) {
		size_t at = i / AMX_ROWS * w->steps * TILE + i % AMX_ROWS * AMX_ROW_BYTES;
		const uint16_t *key = i < n ? key_at(w->a, begin + i) : NULL;
		for (size_t s = 0; s < w->steps; s++, at += TILE) {
			__m512 x = key ? halves_at(key + 32 * s) : _mm512_setzero_ps(),
				y = key && 32 * s + LANES < w->a->head_dim ? halves_at(key + 32 * s + LANES) : _mm512_setzero_ps();
			_mm512_store_si512(w->keys + at, uppers(x, y));
			_mm512_store_si512(w->low_keys + at, uppers(_mm512_sub_ps(x, upper(x)), _mm512_sub_ps(y, upper(y))));
		}
	}
}

/* Values: tiles of 16 dimensions by 32 keys. */
static void take_values(const struct work *w, size_t begin, size_t n)
{
	const size_t hd = w->a->head_dim, behind_keys = w->a->kv->len * hd;
	for (size_t half = 0; half < 2; half++) {
		const uint16_t *value[KEYS / 2];
		for (size_t i = 0; i < KEYS / 2; i++)
			value[i] = half * KEYS / 2 + i < n ? key_at(w->a, begin + half * KEYS / 2 + i) + behind_keys : NULL;
		for (size_t d = 0; d < w->dims; d++) {
			__m512i r[16];
			UNROLL for (int i = 0; i < 16; i++) {
				const uint16_t *x = value[2 * i], *y = value[2 * i + 1];
				r[i] = pairs(x ? halves_at(x + LANES * d) : _mm512_setzero_ps(),
					y ? halves_at(y + LANES * d) : _mm512_setzero_ps());
			}
			turn(r);
			UNROLL for (int i = 0; i < 16; i++)
				_mm512_store_si512(w->values + (2 * d + half) * TILE + (size_t)i * AMX_ROW_BYTES, r[i]);
		}
	}
}

static struct group *group_at(const struct work *w, uint8_t *groups, size_t i)
{
	return (struct group *)(void *)(groups + i * w->group_bytes);
}

static uint8_t *sums_of(const struct work *w, struct group *g)
{
	return g->tiles + 2 * w->steps * TILE;
}

/* Queries q0 … of the call, 16 or what is left: query i is head i % heads of token i / heads. */
static void take_queries(const struct work *w, size_t q0, struct group *g)
{
	const struct ops_attend *a = w->a;
	const __m512 scale = _mm512_set1_ps(a->scale * 1.44269504f);
	const size_t n = a->tokens * a->heads;
	int32_t first[LANES], pos[LANES];
	const float *q[LANES];
	for (size_t i = 0; i < LANES; i++) {
		size_t at = q0 + i < n ? q0 + i : n - 1, p = a->pos + at / a->heads;
		q[i] = a->q + at / a->heads * a->ldq + at % a->heads * a->head_dim;
		pos[i] = (int32_t)p;
		first[i] = a->window && p + 1 > a->window ? (int32_t)(p + 1 - a->window) : 0;
	}
	g->max = _mm512_set1_ps(LOWEST);
	g->sum = _mm512_setzero_ps();
	g->first = _mm512_loadu_si512(first);
	g->pos = _mm512_loadu_si512(pos);
	g->begin = (size_t)first[0];
	g->end = (size_t)pos[LANES - 1] + 1;
	for (size_t s = 0; s < w->steps; s++) {
		__m512i r[16], low[16];
		UNROLL for (int i = 0; i < 16; i++) {
			__m512 x = _mm512_mul_ps(_mm512_loadu_ps(q[i] + 32 * s), scale), y = _mm512_setzero_ps();
			if (32 * s + LANES < a->head_dim) y = _mm512_mul_ps(_mm512_loadu_ps(q[i] + 32 * s + LANES), scale);
			r[i] = uppers(x, y);
			low[i] = rounded(_mm512_sub_ps(x, upper(x)), _mm512_sub_ps(y, upper(y)));
		}
		turn(r);
		turn(low);
		UNROLL for (int i = 0; i < 16; i++) {
			_mm512_store_si512(g->tiles + s * TILE + (size_t)i * AMX_ROW_BYTES, r[i]);
			_mm512_store_si512(g->tiles + (w->steps + s) * TILE + (size_t)i * AMX_ROW_BYTES, low[i]);
		}
	}
	memset(sums_of(w, g), 0, w->dims * TILE);
}

/* --- one block of keys for sixteen queries --- */
/* Four tiles of scores, each the sum over k of key * query, key * low query, low key * query of 32 dimensions. */
static void make_scores(const struct work *w, const struct group *g)
{
	const size_t row = w->steps * TILE;
	const uint8_t *k = w->keys, *l = w->low_keys, *q = g->tiles, *p = g->tiles + row;
	amx_zero(0);
	amx_zero(1);
	amx_zero(2);
	amx_zero(3);
	for (size_t s = 0; s < w->steps; s++, k += TILE, l += TILE, q += TILE, p += TILE) {
		amx_load(6, q, AMX_ROW_BYTES);
		amx_load(4, k, AMX_ROW_BYTES);
		amx_dot_bf16(0, 4, 6);
		amx_load(5, k + row, AMX_ROW_BYTES);
		amx_dot_bf16(1, 5, 6);
		amx_load(7, p, AMX_ROW_BYTES);
		amx_dot_bf16(0, 4, 7);
		amx_load(4, k + 2 * row, AMX_ROW_BYTES);
		amx_dot_bf16(2, 4, 6);
		amx_dot_bf16(1, 5, 7);
		amx_load(5, k + 3 * row, AMX_ROW_BYTES);
		amx_dot_bf16(3, 5, 6);
		amx_dot_bf16(2, 4, 7);
		amx_load(4, l, AMX_ROW_BYTES);
		amx_dot_bf16(0, 4, 6);
		amx_dot_bf16(3, 5, 7);
		amx_load(5, l + row, AMX_ROW_BYTES);
		amx_dot_bf16(1, 5, 6);
		amx_load(4, l + 2 * row, AMX_ROW_BYTES);
		amx_dot_bf16(2, 4, 6);
		amx_load(5, l + 3 * row, AMX_ROW_BYTES);
		amx_dot_bf16(3, 5, 6);
	}
	amx_store(0, w->scores, AMX_ROW_BYTES);
	amx_store(1, w->scores + TILE / 4, AMX_ROW_BYTES);
	amx_store(2, w->scores + 2 * TILE / 4, AMX_ROW_BYTES);
	amx_store(3, w->scores + 3 * TILE / 4, AMX_ROW_BYTES);
}

/* Scores of keys that a query does not have become LOWEST; returns which those are through has. */
static void hide_scores(const struct work *w, const struct group *g, size_t begin, __mmask16 has[KEYS])
{
	for (size_t i = 0; i < KEYS; i++) {
		const __m512i key = _mm512_set1_epi32((int)(begin + i));
		has[i] = _mm512_cmple_epi32_mask(key, g->pos) & _mm512_cmpge_epi32_mask(key, g->first);
		_mm512_store_ps(w->scores + i * LANES, _mm512_mask_mov_ps(_mm512_set1_ps(LOWEST), has[i],
			_mm512_load_ps(w->scores + i * LANES)));
	}
}

/* Scores to shares, not yet divided by their sum; what was summed up before is scaled down where the maximum rose.
 * has NULL: every query has every key. */
static void make_shares(const struct work *w, struct group *g, const __mmask16 *has)
{
	const float *s = w->scores;
	__m512 max[4] = { g->max, g->max, g->max, g->max }, sum = _mm512_setzero_ps(), down;
	for (size_t i = 0; i < KEYS; i += 4)
		UNROLL for (size_t j = 0; j < 4; j++) max[j] = _mm512_max_ps(max[j], _mm512_load_ps(s + (i + j) * LANES));
	max[0] = _mm512_max_ps(_mm512_max_ps(max[0], max[1]), _mm512_max_ps(max[2], max[3]));
	for (size_t i = 0; i < KEYS; i += 2) {
		__m512 x = exp2_of(_mm512_sub_ps(_mm512_load_ps(s + i * LANES), max[0]));
		__m512 y = exp2_of(_mm512_sub_ps(_mm512_load_ps(s + (i + 1) * LANES), max[0]));
		if (has) {
			x = _mm512_maskz_mov_ps(has[i], x);
			y = _mm512_maskz_mov_ps(has[i + 1], y);
		}
		sum = _mm512_add_ps(sum, _mm512_add_ps(x, y));
		_mm512_store_si512(w->shares + i / 2 * AMX_ROW_BYTES, pairs(x, y));
	}
	down = exp2_of(_mm512_sub_ps(g->max, max[0]));
	g->sum = _mm512_fmadd_ps(g->sum, down, sum);
	if (_mm512_cmp_ps_mask(g->max, max[0], _CMP_NEQ_UQ)) {
		float *o = (float *)(void *)sums_of(w, g);
		for (size_t i = 0; i < w->dims * LANES; i++)
			_mm512_store_ps(o + i * LANES, _mm512_mul_ps(_mm512_load_ps(o + i * LANES), down));
	}
	g->max = max[0];
}

static void add_values(const struct work *w, struct group *g)
{
	uint8_t *o = sums_of(w, g);
	const uint8_t *v = w->values;
	size_t d = 0;
	amx_load(6, w->shares, AMX_ROW_BYTES);
	amx_load(7, w->shares + TILE, AMX_ROW_BYTES);
	for (; d + 2 <= w->dims; d += 2, v += 4 * TILE, o += 2 * TILE) {
		amx_load(0, o, AMX_ROW_BYTES);
		amx_load(2, v, AMX_ROW_BYTES);
		amx_dot_bf16(0, 2, 6);
		amx_load(1, o + TILE, AMX_ROW_BYTES);
		amx_load(3, v + 2 * TILE, AMX_ROW_BYTES);
		amx_dot_bf16(1, 3, 6);
		amx_load(4, v + TILE, AMX_ROW_BYTES);
		amx_dot_bf16(0, 4, 7);
		amx_load(5, v + 3 * TILE, AMX_ROW_BYTES);
		amx_dot_bf16(1, 5, 7);
		amx_store(0, o, AMX_ROW_BYTES);
		amx_store(1, o + TILE, AMX_ROW_BYTES);
	}
	if (d == w->dims) return;
	amx_load(0, o, AMX_ROW_BYTES);
	amx_load(2, v, AMX_ROW_BYTES);
	amx_dot_bf16(0, 2, 6);
	amx_load(4, v + TILE, AMX_ROW_BYTES);
	amx_dot_bf16(0, 4, 7);
	amx_store(0, o, AMX_ROW_BYTES);
}

static void add_block(const struct work *w, struct group *g, size_t begin)
{
	__mmask16 has[KEYS];
	const int partly = _mm512_cmplt_epi32_mask(g->pos, _mm512_set1_epi32((int)(begin + KEYS - 1))) ||
		_mm512_cmpgt_epi32_mask(g->first, _mm512_set1_epi32((int)begin));
	make_scores(w, g);
	if (partly) hide_scores(w, g, begin, has);
	make_shares(w, g, partly ? has : NULL);
	add_values(w, g);
}

static void put_out(const struct work *w, size_t q0, struct group *g)
{
	const struct ops_attend *a = w->a;
	const size_t n = a->tokens * a->heads - q0 < LANES ? a->tokens * a->heads - q0 : LANES;
	const __m512 share = _mm512_div_ps(_mm512_set1_ps(1), g->sum);
	const float *o = (const float *)(const void *)sums_of(w, g);
	for (size_t d = 0; d < w->dims; d++) {
		__m512i r[16];
		UNROLL for (int i = 0; i < 16; i++)
			r[i] = _mm512_castps_si512(_mm512_mul_ps(_mm512_load_ps(o + d * TILE / 4 + (size_t)i * LANES), share));
		turn(r);
		for (size_t i = 0; i < n; i++)
			_mm512_storeu_si512(a->out + (q0 + i) / a->heads * a->ldo + (q0 + i) % a->heads * a->head_dim + d * LANES, r[i]);
	}
}

/* Queries q0 to q1, as many as there is room for. */
static void attend_some(const struct work *w, size_t q0, size_t q1, uint8_t *groups)
{
	const size_t n = (q1 - q0 + LANES - 1) / LANES;
	size_t end = w->a->pos + (q1 - 1) / w->a->heads + 1;
	for (size_t i = 0; i < n; i++) take_queries(w, q0 + i * LANES, group_at(w, groups, i));
	for (size_t begin = group_at(w, groups, 0)->begin / KEYS * KEYS; begin < end; begin += KEYS) {
		const size_t keys = end - begin < KEYS ? end - begin : KEYS;
		take_keys(w, begin, keys);
		take_values(w, begin, keys);
		for (size_t i = 0; i < n; i++) {
			struct group *g = group_at(w, groups, i);
			if (g->begin < begin + KEYS && g->end > begin) add_block(w, g, begin);
		}
	}
	for (size_t i = 0; i < n; i++) put_out(w, q0 + i * LANES, group_at(w, groups, i));
}

int amx_attend(const struct ops_attend *a, void *scratch)
{
	const size_t steps = (a->head_dim + 31) / 32, dims = a->head_dim / LANES, n = a->tokens * a->heads;
	const size_t key_bytes = KEY_TILES * steps * TILE;
	uint8_t *at = scratch;
	struct work w = { .a = a, .steps = steps, .dims = dims, .keys = at, .low_keys = at + key_bytes,
		.values = at + 2 * key_bytes, .shares = at + 2 * key_bytes + 2 * dims * TILE,
		.scores = (float *)(void *)(at + 2 * key_bytes + 2 * dims * TILE + 2 * TILE),
		.group_bytes = sizeof(struct group) + (2 * steps + dims) * TILE };
	uint8_t *groups = at + 2 * key_bytes + 2 * dims * TILE + 2 * TILE + KEY_TILES * TILE;
	const size_t room = (AMX_SCRATCH_FLOATS * sizeof(float) - (size_t)(groups - at)) / w.group_bytes * LANES;
	if (a->head_dim > DIM_MAX) return 0;
	amx_enter();
	for (size_t q = 0; q < n; q += room) attend_some(&w, q, n - q < room ? n : q + room, groups);
	amx_leave();
	return 1;
}
