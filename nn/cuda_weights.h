/* cuda_weights.h: weight matrices in a GPU's memory: the bits of the file in an order in which tensor cores take them.
 *
 * A matrix is panels of 16 rows, one behind the other; the last is filled up with rows of zeros. A panel is a row of units;
 * a unit is a head, then `STEPS` steps. A step is 64 weights along k of each of the 16 rows: two groups of 32. Where k is an odd
 * number of groups, the last one is zeros. All begins at multiples of 16 bytes; sizes are those of the file within 3 %.
 *
 * A warp multiplies a group with two mma.m16n8k16 ("halves" s = 0, 1), whose A fragment of lane 4g + t is, of the rows g
 * and g + 8 (h = 0, 1), four weights e = 0 … 3. Which of the group's 32 these are is free, as long as activations follow:
 *   weight (t, s, e) is number 8t + 4s + e of the group, so that a lane's eight activations are neighbours;
 *   for Q6_K it is 16s + 4t + e: there each half has scales of its own.
 * Register r = 0 … 3 of fragment s holds the pair e = 2(r / 2), 2(r / 2) + 1 of row g + 8(r % 2), the first in its low half.
 *
 *   type            unit: head, steps    step: scales, body, bits; bytes
 *   F32             0, 1                 0, 4096, 0     line (j, s, h): e as floats
 *   F16 BF16        0, 1                 0, 2048, 0     line (j, s): the four registers
 *   Q8_0            0, 1                 64, 1024, 0    line (j): word (h, s): bytes of e = 0, 2, 1, 3
 *   Q4_0            0, 1                 64, 512, 0     line: word (j, h): eight nibbles; pair p = 2s + e / 2 is nibbles p and p + 4
 *   Q4_1            0, 1                 128, 512, 0    the same
 *   Q5_0            0, 1                 64, 512, 128   the same; bits: a word a lane, the fifth bit of pair p at p + 4h + 8j and
 *   Q5_1            0, 1                 128, 512, 128    16 above it
 *   Q4_K            64, 4                64, 512, 0     as Q4_0
 *   Q5_K            64, 4                64, 512, 128   as Q5_0
 *   Q6_K            32, 4                64, 512, 256   as Q4_0; bits: word (j) of a lane, bits 4 and 5 of pair p at 2(p + 4h) and 16 above
 * A line is 512 bytes, 16 a lane; (j, s, h) orders what is there, the last running fastest; j is the group.
 *
 * Scales, for each g (h: the value of row g, then of row g + 8; halves are IEEE):
 *   Q4_0 Q5_0 Q8_0  8 bytes at 8g: half d (j, h).  Q4_1 Q5_1: then, from 64 on, half m likewise
 *   Q4_K Q5_K       head: 8 bytes at 8g: half d (h), half dmin (h). Step: 8 bytes at 8g: (h): scales of j = 0, 1, mins of j = 0, 1
 *   Q6_K            head: 4 bytes at 4g: half d (h). Step: 8 bytes at 8g: (h): signed scales (j, s)
 *
 * No state; nothing fails. Functions are a device's (nn/cuda.h). */
#ifndef NN_CUDA_WEIGHTS_H
#define NN_CUDA_WEIGHTS_H
#include "nn/cuda.h"
extern "C" {
#include "nn/quant.h"
}

enum { WEIGHTS_ROWS = 16, WEIGHTS_STEP = 64, WEIGHTS_GROUP = 32 };

template <uint32_t T> struct weights_form {
	static constexpr bool PLAIN = T == QUANT_F32 || T == QUANT_F16 || T == QUANT_BF16,
		K = T == QUANT_Q4_K || T == QUANT_Q5_K || T == QUANT_Q6_K,
		FIVE = T == QUANT_Q5_0 || T == QUANT_Q5_1 || T == QUANT_Q5_K,
		TWO = T == QUANT_Q4_1 || T == QUANT_Q5_1,                       /* d and m */
		MIN = TWO || T == QUANT_Q4_K || T == QUANT_Q5_K;
	static constexpr uint32_t ZERO = T == QUANT_Q4_0 ? 8 : T == QUANT_Q5_0 ? 16 : T == QUANT_Q6_K ? 32 : 0, /* taken from what lies there */
		PARTS = T == QUANT_F32 ? 3 : T == QUANT_F16 ? 2 : 1,            /* bfloat16 numbers whose sum a weight, or its integer, is */
		HEAD = T == QUANT_Q6_K ? 32 : K ? 64 : 0,
		STEPS = K ? 4 : 1,
		SCALES = PLAIN ? 0 : TWO ? 128 : 64,
		BODY = T == QUANT_F32 ? 4096 : PLAIN ? 2048 : T == QUANT_Q8_0 ? 1024 : 512,
		BITS = FIVE ? 128 : T == QUANT_Q6_K ? 256 : 0,
		STEP = SCALES + BODY + BITS,
		UNIT = HEAD + STEPS * STEP,
		BLOCK = K ? 256 : PLAIN ? 1 : 32,                               /* the file's: weights and bytes */
		BLOCK_BYTES = T == QUANT_F32 ? 4 : T == QUANT_F16 || T == QUANT_BF16 ? 2 : T == QUANT_Q4_0 ? 18 :
			T == QUANT_Q4_1 ? 20 : T == QUANT_Q5_0 ? 22 : T == QUANT_Q5_1 ? 24 : T == QUANT_Q8_0 ? 34 :
			T == QUANT_Q4_K ? 144 : T == QUANT_Q5_K ? 176 : 210;
};

/* Calls f<T>(args) for the type; it must be one of quant.h's. */
#define WEIGHTS_BY_TYPE(type, f, ...) do { switch (type) { \
	case QUANT_F32: f<QUANT_F32>(__VA_ARGS__); break; \
	case QUANT_F16: f<QUANT_F16>(__VA_ARGS__); break; \
	case QUANT_BF16: f<QUANT_BF16>(__VA_ARGS__); break; \
	case QUANT_Q8_0: f<QUANT_Q8_0>(__VA_ARGS__); break; \
	case QUANT_Q4_0: f<QUANT_Q4_0>(__VA_ARGS__); break; \
	case QUANT_Q4_1: f<QUANT_Q4_1>(__VA_ARGS__); break; \
	case QUANT_Q5_0: f<QUANT_Q5_0>(__VA_ARGS__); break; \
	case QUANT_Q5_1: f<QUANT_Q5_1>(__VA_ARGS__); break; \
	case QUANT_Q4_K: f<QUANT_Q4_K>(__VA_ARGS__); break; \
	case QUANT_Q5_K: f<QUANT_Q5_K>(__VA_ARGS__); break; \
	case QUANT_Q6_K: f<QUANT_Q6_K>(__VA_ARGS__); break; \
	} } while (0)

/* Steps and bytes of a panel. */
CUDA_BOTH uint32_t weights_steps(size_t k)
{
	return (uint32_t)((k + WEIGHTS_STEP - 1) / WEIGHTS_STEP);
}
template <uint32_t T> CUDA_BOTH size_t weights_panel_bytes(size_t k)
{
	return (size_t)weights_steps(k) / weights_form<T>::STEPS * weights_form<T>::UNIT;
}
/* From the panel's begin to the unit that step s is in, and to the step. */
template <uint32_t T> CUDA_BOTH size_t weights_unit_at(uint32_t s)
{
	return (size_t)(s / weights_form<T>::STEPS) * weights_form<T>::UNIT;
}
template <uint32_t T> CUDA_BOTH size_t weights_step_at(uint32_t s)
{
	return weights_unit_at<T>(s) + weights_form<T>::HEAD + s % weights_form<T>::STEPS * weights_form<T>::STEP;
}

/* Number in its group of weight (t, s, e), and the other way. */
template <uint32_t T> CUDA_FN uint32_t weights_place(uint32_t t, uint32_t s, uint32_t e)
{
	return T == QUANT_Q6_K ? 16 * s + 4 * t + e : 8 * t + 4 * s + e;
}
template <uint32_t T> CUDA_FN void weights_placed(uint32_t i, uint32_t *t, uint32_t *s)
{
	*t = T == QUANT_Q6_K ? i % 16 / 4 : i / 8;
	*s = T == QUANT_Q6_K ? i / 16 : i % 8 / 4;
}

/* --- from the file's blocks ------------------------------------------------------------------------------------------ */

CUDA_FN uint16_t weights_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

/* Weight i of a row of a block format as it lies there: without sign, Q8_0 as its byte. */
template <uint32_t T> CUDA_FN uint32_t file_weight(const uint8_t *row, size_t i)
{
	typedef weights_form<T> F;
	const uint8_t *b = row + i / F::BLOCK * F::BLOCK_BYTES;
	const uint32_t j = (uint32_t)(i % F::BLOCK), part = j / 32, l = j % 32;
	if (T == QUANT_Q8_0) return b[2 + j];
	if (T == QUANT_Q6_K) {
		uint32_t half = j / 128, quarter = j % 128 / 32;
		uint32_t low = b[half * 64 + quarter % 2 * 32 + l] >> quarter / 2 * 4 & 15;
		return low | (uint32_t)(b[128 + half * 32 + l] >> quarter * 2 & 3) << 4;
	}
	const uint8_t *qs = b + F::BLOCK_BYTES - F::BLOCK / 2;          /* the nibbles end the block, and fifth bits stand before them */
	uint32_t low = F::K ? qs[part / 2 * 32 + l] >> part % 2 * 4 & 15 : j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
	if (!F::FIVE) return low;
	uint32_t high = F::K ? b[16 + l] >> part & 1 : qs[(int)(j / 8) - 4] >> j % 8 & 1;
	return low | high << 4;
}

/* The float formats: the weight's bits. */
template <uint32_t T> CUDA_FN uint32_t file_bits(const uint8_t *row, size_t i)
{
	if (T == QUANT_F32) return weights_u16(row + 4 * i) | (uint32_t)weights_u16(row + 4 * i + 2) << 16;
	return weights_u16(row + 2 * i);
}

/* The half number `which` (d, then m or dmin) of the block that weight i is in. */
template <uint32_t T> CUDA_FN uint32_t file_half(const uint8_t *row, size_t i, uint32_t which)
{
	return weights_u16(row + i / weights_form<T>::BLOCK * weights_form<T>::BLOCK_BYTES +
		(T == QUANT_Q6_K ? 208 : 2 * which));
}

/* Q4_K and Q5_K: scale (which 0) or min (1) of part j of the block at b: quant_q4_k_scale. */
CUDA_FN uint32_t file_scale(const uint8_t *b, uint32_t j, uint32_t which)
{
	const uint8_t *s = b + 4;
	if (j < 4) return s[j + 4 * which] & 63;
	return (uint32_t)((s[j + 4] >> 4 * which & 15) | (s[j - 4 + 4 * which] >> 6 << 4));
}

/* A panel's rows as the file has them, to be packed; rows from `rows` on are zeros. */
struct file_rows {
	const uint8_t *data;
	size_t row_bytes, rows, k;
};

template <uint32_t T> CUDA_FN uint32_t packed_scales(const struct file_rows *f, uint32_t step, uint32_t at)
{
	typedef weights_form<T> F;
	const uint32_t g = at % 64 / 8, word = at / 4 % 2;
	uint32_t out = 0;
	if (!F::K) {
		size_t i = (size_t)step * WEIGHTS_STEP + word * WEIGHTS_GROUP;
		for (uint32_t h = 0; h < 2; h++)
			if (g + 8 * h < f->rows && i < f->k)
				out |= file_half<T>(f->data + (g + 8 * h) * f->row_bytes, i, at / 64) << 16 * h;
		return out;
	}
	if (g + 8 * word >= f->rows) return 0;
	const uint8_t *b = f->data + (g + 8 * word) * f->row_bytes + step / F::STEPS * F::BLOCK_BYTES;
	for (uint32_t i = 0; i < 4; i++)
		out |= (T == QUANT_Q6_K ? (uint32_t)b[192 + step % 4 * 4 + i] : file_scale(b, step % 4 * 2 + i % 2, i / 2)) << 8 * i;
	return out;
}

template <uint32_t T> CUDA_FN uint32_t packed_head(const struct file_rows *f, uint32_t step, uint32_t at)
{
	const uint32_t g = T == QUANT_Q6_K ? at / 4 : at / 8, which = T == QUANT_Q6_K ? 0 : at / 4 % 2;
	uint32_t out = 0;
	for (uint32_t h = 0; h < 2; h++)
		if (g + 8 * h < f->rows)
			out |= file_half<T>(f->data + (g + 8 * h) * f->row_bytes, (size_t)step * WEIGHTS_STEP, which) << 16 * h;
	return out;
}

/* Weight (t, s, e) of group j of the step in row r, as it lies in the file; 0 where there is none. */
template <uint32_t T> CUDA_FN uint32_t packed_from(const struct file_rows *f, uint32_t step, uint32_t j, uint32_t r,
	uint32_t t, uint32_t s, uint32_t e)
{
	size_t i = (size_t)step * WEIGHTS_STEP + j * WEIGHTS_GROUP + weights_place<T>(t, s, e);
	if (r >= f->rows || i >= f->k) return 0;
	if constexpr (weights_form<T>::PLAIN) return file_bits<T>(f->data + r * f->row_bytes, i);
	else return file_weight<T>(f->data + r * f->row_bytes, i);
}

template <uint32_t T> CUDA_FN uint32_t packed_body(const struct file_rows *f, uint32_t step, uint32_t at)
{
	const uint32_t line = at / 512, lane = at % 512 / 16, word = at / 4 % 4, g = lane / 4, t = lane % 4;
	uint32_t out = 0;
	if (T == QUANT_F32) return packed_from<T>(f, step, line / 4, g + 8 * (line % 2), t, line / 2 % 2, word);
	if (weights_form<T>::PLAIN)
		for (uint32_t i = 0; i < 2; i++)
			out |= packed_from<T>(f, step, line / 2, g + 8 * (word % 2), t, line % 2, word / 2 * 2 + i) << 16 * i;
	else if (T == QUANT_Q8_0)
		for (uint32_t e = 0; e < 4; e++)
			out |= packed_from<T>(f, step, line, g + 8 * (word / 2), t, word % 2, e) << (e % 2 * 16 + e / 2 * 8);
	else
		for (uint32_t i = 0; i < 8; i++)
			out |= (packed_from<T>(f, step, word / 2, g + 8 * (word % 2), t, i / 4, i % 4) & 15) << (i / 2 * 4 + i % 2 * 16);
	return out;
}

template <uint32_t T> CUDA_FN uint32_t packed_bits(const struct file_rows *f, uint32_t step, uint32_t at)
{
	uint32_t out = 0;
	if (T == QUANT_Q6_K) {
		const uint32_t lane = at / 8, j = at / 4 % 2;
		for (uint32_t i = 0; i < 16; i++) {
			uint32_t h = i / 8, p = i % 8 / 2;
			uint32_t q = packed_from<T>(f, step, j, lane / 4 + 8 * h, lane % 4, p / 2, p % 2 * 2 + i % 2);
			out |= (q >> 4) << (2 * (p + 4 * h) + i % 2 * 16);
		}
	} else {
		const uint32_t lane = at / 4;
		for (uint32_t i = 0; i < 32; i++) {
			uint32_t j = i / 16, h = i / 8 % 2, p = i % 8 / 2;
			uint32_t q = packed_from<T>(f, step, j, lane / 4 + 8 * h, lane % 4, p / 2, p % 2 * 2 + i % 2);
			out |= (q >> 4) << (p + 4 * h + 8 * j + i % 2 * 16);
		}
	}
	return out;
}

/* The four bytes at `at` (a multiple of 4) of the packed panel. */
template <uint32_t T> CUDA_FN uint32_t packed_word(const struct file_rows *f, size_t at)
{
	typedef weights_form<T> F;
	const uint32_t unit = (uint32_t)(at / F::UNIT), in = (uint32_t)(at % F::UNIT);
	if constexpr (F::HEAD != 0)
		if (in < F::HEAD) return packed_head<T>(f, unit * F::STEPS, in);
	const uint32_t step = unit * F::STEPS + (in - F::HEAD) / F::STEP, o = (in - F::HEAD) % F::STEP;
	if constexpr (!F::PLAIN)
		if (o < F::SCALES) return packed_scales<T>(f, step, o);
	if constexpr (F::BITS != 0)
		if (o >= F::SCALES + F::BODY) return packed_bits<T>(f, step, o - F::SCALES - F::BODY);
	return packed_body<T>(f, step, o - F::SCALES);
}

/* --- a lane's share of a step ---------------------------------------------------------------------------------------- */

/* Two floats as bfloat16, the first in the low half. */
CUDA_FN uint32_t bf16_pair(float low, float high)
{
#ifndef GPU_HOST
	uint32_t d;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
	return d;
#else
	return float_bf16(low) | (uint32_t)float_bf16(high) << 16;
#endif
}
CUDA_FN float bf16_low(uint32_t pair) { return __uint_as_float(pair << 16); }
CUDA_FN float bf16_high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

/* a - b for two pairs of bfloat16, rounded to nearest; here always exact. */
CUDA_FN uint32_t bf16_pair_minus(uint32_t a, uint32_t b)
{
#ifndef GPU_HOST
	uint32_t d;
	asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(b), "r"(0xbf80bf80u), "r"(a));
	return d;
#else
	return bf16_pair(bf16_low(a) - bf16_low(b), bf16_high(a) - bf16_high(b));
#endif
}

/* The next bfloat16 part of two floats, which lose it. */
CUDA_FN uint32_t bf16_pair_cut(float *x, float *y)
{
	uint32_t pair = bf16_pair(*x, *y);
	*x -= bf16_low(pair);
	*y -= bf16_high(pair);
	return pair;
}

/* (x & mask) | add, in one operation. */
template <uint32_t MASK, uint32_t ADD> CUDA_FN uint32_t bits_among(uint32_t x)
{
#ifndef GPU_HOST
	uint32_t d;
	asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(d) : "r"(x), "n"(MASK), "n"(ADD));
	return d;
#else
	return (x & MASK) | ADD;
#endif
}

template <uint32_t T> struct weights_lane {
	typedef weights_form<T> F;
	uint32_t body[F::BODY / 128];
	uint32_t bits[F::BITS > 0 ? F::BITS / 128 : 1];
	uint32_t scales[F::SCALES > 0 ? F::SCALES / 32 : 1];
	uint32_t head[2];
};

/* step, head: the step's and its unit's begin, in shared or device memory. */
template <uint32_t T> CUDA_FN void weights_take(const uint8_t *head, const uint8_t *step, uint32_t lane,
	struct weights_lane<T> *w)
{
	typedef weights_form<T> F;
	const uint32_t g = lane / 4;
	CUDA_UNROLL
	for (uint32_t i = 0; i < F::BODY / 512; i++) {
		uint4 v = *(const uint4 *)(step + F::SCALES + i * 512 + lane * 16);
		w->body[4 * i] = v.x, w->body[4 * i + 1] = v.y, w->body[4 * i + 2] = v.z, w->body[4 * i + 3] = v.w;
	}
	if constexpr (F::FIVE) w->bits[0] = *(const uint32_t *)(step + F::SCALES + F::BODY + lane * 4);
	if constexpr (F::BITS == 256) {
		uint2 v = *(const uint2 *)(step + F::SCALES + F::BODY + lane * 8);
		w->bits[0] = v.x, w->bits[1] = v.y;
	}
	CUDA_UNROLL
	for (uint32_t i = 0; i + 64 <= F::SCALES; i += 64) {
		uint2 v = *(const uint2 *)(step + i + g * 8);
		w->scales[i / 32] = v.x, w->scales[i / 32 + 1] = v.y;
	}
	if constexpr (F::HEAD == 32) w->head[0] = *(const uint32_t *)(head + g * 4);
	if constexpr (F::HEAD == 64) {
		uint2 v = *(const uint2 *)(head + g * 8);
		w->head[0] = v.x, w->head[1] = v.y;
	}
}

/* Pair p of row g + 8h in group j of a format of integers: q - zero, exact. */
template <uint32_t T> CUDA_FN uint32_t weights_pair(const struct weights_lane<T> *w, uint32_t j, uint32_t h, uint32_t p)
{
	typedef weights_form<T> F;
	if constexpr (T == QUANT_Q8_0) { /* 128 + low seven bits, minus 128 or 256 */
		uint32_t q = w->body[4 * j + 2 * h + p / 2] >> p % 2 * 8;
		return bf16_pair_minus(bits_among<0x007f007f, 0x43004300>(q), bits_among<0x00800080, 0x43004300>(q));
	} else {
		uint32_t q = bits_among<0x000f000f, 0x43004300>(w->body[2 * j + h] >> 4 * p);
		if constexpr (F::FIVE) {
			uint32_t at = p + 4 * h + 8 * j;
			q |= (at < 4 ? w->bits[0] << (4 - at) : w->bits[0] >> (at - 4)) & 0x00100010;
		}
		if constexpr (T == QUANT_Q6_K) {
			uint32_t at = 2 * (p + 4 * h);
			q |= (at < 4 ? w->bits[j] << (4 - at) : w->bits[j] >> (at - 4)) & 0x00300030;
		}
		const uint32_t z = 0x4300 + F::ZERO;    /* 128 + zero: seven bits of fraction, so units are steps of 1 */
		return bf16_pair_minus(q, z | z << 16);
	}
}

/* A fragments of half s of group j: PARTS of them, to be multiplied alike. */
template <uint32_t T> CUDA_FN void weights_fragment(const struct weights_lane<T> *w, uint32_t j, uint32_t s,
	uint32_t a[weights_form<T>::PARTS][4])
{
	CUDA_UNROLL
	for (uint32_t r = 0; r < 4; r++) {
		const uint32_t h = r % 2, e = r / 2 * 2;
		if constexpr (T == QUANT_BF16) a[0][r] = w->body[8 * j + 4 * s + r];
		else if constexpr (T == QUANT_F16) {
			uint32_t v = w->body[8 * j + 4 * s + r];
			float x = half_float((uint16_t)v), y = half_float((uint16_t)(v >> 16));
			CUDA_UNROLL
			for (uint32_t part = 0; part < 2; part++) a[part][r] = bf16_pair_cut(&x, &y);
		} else if constexpr (T == QUANT_F32) {
			const uint32_t at = 16 * j + 8 * s + 4 * h + e;
			float x = __uint_as_float(w->body[at]), y = __uint_as_float(w->body[at + 1]);
			CUDA_UNROLL
			for (uint32_t part = 0; part < 3; part++) a[part][r] = bf16_pair_cut(&x, &y);
		} else a[0][r] = weights_pair<T>(w, j, h, 2 * s + e / 2);
	}
}

/* A weight of row g + 8h is scale[s][h] * integer - min[h]; products are exact. */
struct weights_scale {
	float scale[2][2], min[2];
};
template <uint32_t T> CUDA_FN struct weights_scale weights_scale_of(const struct weights_lane<T> *w, uint32_t j)
{
	typedef weights_form<T> F;
	struct weights_scale o;
	CUDA_UNROLL
	for (uint32_t h = 0; h < 2; h++) {
		o.min[h] = 0;
		if constexpr (!F::K) {
			o.scale[0][h] = o.scale[1][h] = half_float((uint16_t)(w->scales[j] >> 16 * h));
			if constexpr (F::TWO) o.min[h] = -half_float((uint16_t)(w->scales[2 + j] >> 16 * h));
		} else {
			float d = half_float((uint16_t)(w->head[0] >> 16 * h));
			if constexpr (T == QUANT_Q6_K)
				CUDA_UNROLL
				for (uint32_t s = 0; s < 2; s++) o.scale[s][h] = d * (float)(int8_t)(w->scales[h] >> (16 * j + 8 * s));
			else {
				o.scale[0][h] = o.scale[1][h] = d * (float)(uint8_t)(w->scales[h] >> 8 * j);
				o.min[h] = half_float((uint16_t)(w->head[1] >> 16 * h)) * (float)(uint8_t)(w->scales[h] >> (16 + 8 * j));
			}
		}
	}
	return o;
}

/* --- one weight ------------------------------------------------------------------------------------------------------ */

/* Weight i of row `row` of the matrix at `data`: quant_row's bits. */
template <uint32_t T> CUDA_FN float weights_value(const uint8_t *data, size_t k, size_t row, size_t i)
{
	typedef weights_form<T> F;
	const uint8_t *panel = data + row / WEIGHTS_ROWS * weights_panel_bytes<T>(k);
	const uint32_t step = (uint32_t)(i / WEIGHTS_STEP), j = (uint32_t)(i % WEIGHTS_STEP / WEIGHTS_GROUP), e = (uint32_t)(i % 4),
		g = (uint32_t)(row % 8), h = (uint32_t)(row % WEIGHTS_ROWS / 8);
	const uint8_t *at = panel + weights_step_at<T>(step), *head = panel + weights_unit_at<T>(step);
	uint32_t t, s;
	weights_placed<T>((uint32_t)(i % WEIGHTS_GROUP), &t, &s);
	const uint32_t lane = 4 * g + t;
	if constexpr (T == QUANT_F32) return *(const float *)(at + (4 * j + 2 * s + h) * 512 + lane * 16 + 4 * e);
	else if constexpr (F::PLAIN) {
		uint16_t v = *(const uint16_t *)(at + (2 * j + s) * 512 + lane * 16 + (e / 2 * 2 + h) * 4 + e % 2 * 2);
		return T == QUANT_BF16 ? bf16_float(v) : half_float(v);
	} else {
		struct weights_lane<T> w;
		weights_take<T>(head, at, lane, &w);
		struct weights_scale o = weights_scale_of<T>(&w, j);
		uint32_t q = weights_pair<T>(&w, j, h, 2 * s + e / 2);
		float product = o.scale[s][h] * bf16_float((uint16_t)(q >> e % 2 * 16));
		return F::MIN ? product - o.min[h] : product;
	}
}

#endif
