/* pack.c: owns the panel layout of packed weights (pack.h): from rows of blocks to panels, and from a panel back to
 * plain numbers. The way there goes through plain bytes: the blocks of 16 rows become one byte a weight, without
 * sign, and are then laid out step by step. Threads: no state; callers split panels over threads. Nothing here
 * fails. */
#include "nn/pack.h"
#include <string.h>
#include "nn/quant.h"

enum { STEPS = 8, STEP_WEIGHTS = 4, HALF_BYTES = 2 * PACK_ROWS, K_GROUPS = 8, K_SCALES_AT = 2 * HALF_BYTES };

static const struct { uint32_t type; struct pack_form form; } forms[] = {
	{ QUANT_Q4_0, { 8, 0, 2, 64, 256 } }, { QUANT_Q4_1, { 0, 1, 1, 64, 256 } },
	{ QUANT_Q5_0, { 16, 0, 2, 64, 320 } }, { QUANT_Q5_1, { 0, 1, 1, 64, 320 } },
	{ QUANT_Q8_0, { 128, 0, 2, 64, 512 } }, { QUANT_Q4_K, { 0, 1, K_GROUPS, 320, 256 } },
	{ QUANT_Q5_K, { 0, 1, K_GROUPS, 320, 320 } }, { QUANT_Q6_K, { 32, 0, K_GROUPS, 320, 384 } },
};

static size_t find(uint32_t type)
{
	size_t i = 0;
	while (i < sizeof forms / sizeof *forms && forms[i].type != type) i++;
	return i;
}

int pack_supported(uint32_t type)
{
	return find(type) < sizeof forms / sizeof *forms;
}

struct pack_form pack_form(uint32_t type)
{
	return forms[find(type)].form;
}

struct packed pack_shape(uint32_t type, size_t rows, size_t k)
{
	struct pack_form f = pack_form(type);
	size_t groups = k / PACK_GROUP, units = (groups + f.unit_groups - 1) / f.unit_groups;
	return (struct packed){ .type = type, .rows = rows, .k = k, .panels = (rows + PACK_ROWS - 1) / PACK_ROWS,
		.panel_bytes = units * f.head_bytes + groups * f.group_bytes };
}

static size_t unit_at(const struct pack_form *f, size_t g)
{
	return g / f->unit_groups * (f->head_bytes + f->unit_groups * f->group_bytes);
}

size_t pack_group_at(const struct pack_form *f, size_t g)
{
	return unit_at(f, g) + f->head_bytes + g % f->unit_groups * f->group_bytes;
}

/* Low halves of 16 bytes to q[0 … 15], high halves to q[16 … 31]; with the fifth bits of qh unless that is NULL. */
static void bytes_of_32(const uint8_t qs[16], const uint8_t *qh, uint8_t q[PACK_GROUP])
{
	for (int i = 0; i < 16; i++) {
		q[i] = qs[i] & 15;
		q[i + 16] = qs[i] >> 4;
	}
	for (int i = 0; qh && i < PACK_GROUP; i++) q[i] |= (uint8_t)((qh[i / 8] >> i % 8 & 1) << 4);
}

/* The block's weights as bytes without sign, and what it says about its row into the unit's head. g: which group of
 * the unit the block is; for the K formats 0, and q takes 8 groups. */
static void take_legacy(uint32_t type, const uint8_t *block, size_t g, size_t row, uint8_t *head, uint8_t *q)
{
	const struct block_q5_0 *q50 = (const void *)block;
	const struct block_q5_1 *q51 = (const void *)block;
	const struct block_q8_0 *q80 = (const void *)block;
	memcpy(head + g * HALF_BYTES + 2 * row, block, 2);              /* every one of them begins with d */
	switch (type) {
	case QUANT_Q4_0: bytes_of_32(((const struct block_q4_0 *)(const void *)block)->qs, NULL, q); return;
	case QUANT_Q5_0: bytes_of_32(q50->qs, q50->qh, q); return;
	case QUANT_Q8_0: for (int i = 0; i < PACK_GROUP; i++) q[i] = (uint8_t)(q80->qs[i] + 128); return;
	case QUANT_Q4_1: bytes_of_32(((const struct block_q4_1 *)(const void *)block)->qs, NULL, q); break;
	case QUANT_Q5_1: bytes_of_32(q51->qs, q51->qh, q); break;
	}
	memcpy(head + HALF_BYTES + 2 * row, block + 2, 2);              /* m follows */
}

static void take_k(uint32_t type, const uint8_t *block, size_t row, uint8_t *head, uint8_t *q)
{
	const struct block_q4_k *b4 = (const void *)block;
	const struct block_q5_k *b5 = (const void *)block;
	const uint8_t *qs = type == QUANT_Q4_K ? b4->qs : b5->qs;
	memcpy(head + 2 * row, &b4->d, 2);                              /* the two formats begin alike */
	memcpy(head + HALF_BYTES + 2 * row, &b4->dmin, 2);
	for (int part = 0; part < K_GROUPS; part++) {
		uint8_t *scales = head + K_SCALES_AT + part * 2 * PACK_ROWS;
		quant_q4_k_scale(b4->scales, part, &scales[row], &scales[PACK_ROWS + row]);
		for (int i = 0; i < PACK_GROUP; i++) {
			uint8_t high = type == QUANT_Q4_K ? 0 : b5->qh[i] >> part & 1;
			q[part * PACK_GROUP + i] = (uint8_t)((qs[part / 2 * PACK_GROUP + i] >> part % 2 * 4 & 15) | high << 4);
		}
	}
}

static void take_q6_k(const uint8_t *block, size_t row, uint8_t *head, uint8_t *q)
{
	const struct block_q6_k *b = (const void *)block;
	memcpy(head + 2 * row, &b->d, 2);
	for (int s = 0; s < 16; s++) head[K_SCALES_AT + s * PACK_ROWS + (int)row] = (uint8_t)b->scales[s];
	for (int half = 0; half < 2; half++)
		for (int quarter = 0; quarter < 4; quarter++)
			for (int i = 0; i < PACK_GROUP; i++) {
				int low = b->ql[half * 64 + quarter % 2 * 32 + i] >> quarter / 2 * 4 & 15;
				int high = b->qh[half * 32 + i] >> quarter * 2 & 3;
				q[half * 128 + quarter * 32 + i] = (uint8_t)(low | high << 4);
			}
}

/* Bytes q of 16 rows, `stride` apart, to the group's vectors. */
static void lay_group(uint32_t type, const uint8_t *q, size_t stride, uint8_t *out)
{
	uint8_t step[STEPS][PACK_VECTOR];
	for (int s = 0; s < STEPS; s++)
		for (size_t r = 0; r < PACK_ROWS; r++)
			memcpy(step[s] + STEP_WEIGHTS * r, q + r * stride + STEP_WEIGHTS * s, STEP_WEIGHTS);
	if (type == QUANT_Q8_0) {
		memcpy(out, step, sizeof step);
		return;
	}
	for (int v = 0; v < 4; v++)
		for (int i = 0; i < PACK_VECTOR; i++)
			out[v * PACK_VECTOR + i] = (uint8_t)((step[v][i] & 15) | step[v + 4][i] << 4);
	out += PACK_BITS_AT;
	if (type == QUANT_Q6_K)
		for (int v = 0; v < 2; v++, out += PACK_VECTOR)
			for (int i = 0; i < PACK_VECTOR; i++)
				out[i] = (uint8_t)(step[4 * v][i] >> 4 | step[4 * v + 1][i] >> 4 << 2 | step[4 * v + 2][i] >> 4 << 4 |
					step[4 * v + 3][i] >> 4 << 6);
	else if (type == QUANT_Q5_0 || type == QUANT_Q5_1 || type == QUANT_Q5_K)
		for (int i = 0; i < PACK_VECTOR; i++) {
			int bits = 0;
			for (int s = 0; s < STEPS; s++) bits |= step[s][i] >> 4 << s;
			out[i] = (uint8_t)bits;
		}
}

void pack_panel(const struct matrix *w, size_t panel, uint8_t *out)
{
	struct pack_form f = pack_form(w->type);
	size_t weights = quant_block_weights(w->type), bytes = quant_block_bytes(w->type), groups = w->k / PACK_GROUP;
	size_t row0 = panel * PACK_ROWS, rows = w->rows - row0 < PACK_ROWS ? w->rows - row0 : PACK_ROWS;
	uint8_t q[PACK_ROWS][QUANT_BLOCK_MAX] = { 0 };
	for (size_t g = 0; g < groups; g += weights / PACK_GROUP) {     /* a block of each row at a time */
		uint8_t *head = out + unit_at(&f, g);
		if (g % f.unit_groups == 0) memset(head, 0, f.head_bytes);
		for (size_t r = 0; r < rows; r++) {
			const uint8_t *block = w->data + (row0 + r) * w->row_bytes + g * PACK_GROUP / weights * bytes;
			if (w->type == QUANT_Q6_K) take_q6_k(block, r, head, q[r]);
			else if (f.unit_groups == K_GROUPS) take_k(w->type, block, r, head, q[r]);
			else take_legacy(w->type, block, g % f.unit_groups, r, head, q[r]);
		}
		for (size_t i = 0; i < weights / PACK_GROUP; i++)
			lay_group(w->type, q[0] + i * PACK_GROUP, sizeof q[0], out + pack_group_at(&f, g + i));
	}
}

static float half_at(const uint8_t *head, size_t i)
{
	uint16_t h;
	memcpy(&h, head + 2 * i, sizeof h);
	return quant_half(h);
}

/* Scales and min of a row in group g of the unit. */
static void row_scales(uint32_t type, const uint8_t *head, size_t g, size_t row, struct pack_group *out)
{
	const uint8_t *scales = head + K_SCALES_AT + g * 2 * PACK_ROWS; /* of two half groups, or scales and mins */
	float *s0 = &out->scale[0][row], *s1 = &out->scale[1][row];
	out->min[row] = 0;
	switch (type) {
	case QUANT_Q4_0: case QUANT_Q5_0: case QUANT_Q8_0:
		*s0 = *s1 = half_at(head, g * PACK_ROWS + row);
		break;
	case QUANT_Q4_1: case QUANT_Q5_1:
		*s0 = *s1 = half_at(head, row);
		out->min[row] = -half_at(head, PACK_ROWS + row);
		break;
	case QUANT_Q4_K: case QUANT_Q5_K:
		*s0 = *s1 = half_at(head, row) * scales[row];
		out->min[row] = half_at(head, PACK_ROWS + row) * scales[PACK_ROWS + row];
		break;
	case QUANT_Q6_K:
		*s0 = half_at(head, row) * (int8_t)scales[row];
		*s1 = half_at(head, row) * (int8_t)scales[PACK_ROWS + row];
		break;
	}
}

static uint8_t weight_of(const struct pack_form *f, const uint8_t *group, size_t row, size_t i)
{
	size_t s = i / STEP_WEIGHTS, at = row * STEP_WEIGHTS + i % STEP_WEIGHTS;
	if (f->group_bytes == STEPS * PACK_VECTOR) return group[s * PACK_VECTOR + at];
	int low = group[s % 4 * PACK_VECTOR + at] >> s / 4 * 4 & 15;
	const uint8_t *bits = group + PACK_BITS_AT + at;
	if (f->group_bytes == PACK_BITS_AT + PACK_VECTOR) low |= (*bits >> s & 1) << 4;
	if (f->group_bytes == PACK_BITS_AT + 2 * PACK_VECTOR) low |= (bits[s / 4 * PACK_VECTOR] >> s % 4 * 2 & 3) << 4;
	return (uint8_t)low;
}

void pack_group(const struct packed *p, size_t panel, size_t g, struct pack_group *out)
{
	struct pack_form f = pack_form(p->type);
	const uint8_t *begin = p->data + panel * p->panel_bytes, *group = begin + pack_group_at(&f, g);
	out->zero = f.zero;
	for (size_t r = 0; r < PACK_ROWS; r++) {
		row_scales(p->type, begin + unit_at(&f, g), g % f.unit_groups, r, out);
		for (size_t i = 0; i < PACK_GROUP; i++) out->q[r][i] = weight_of(&f, group, r, i);
	}
}
