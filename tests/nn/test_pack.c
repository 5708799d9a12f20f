/* test_pack.c: matrices of every block format through the packer and back: the bits of quant_row. */
#include <math.h>
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/pack.h"
#include "nn/quant.h"
#include "tests/test.h"

static const uint32_t types[] = { QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1, QUANT_Q8_0, QUANT_Q4_K, QUANT_Q5_K,
	QUANT_Q6_K };
enum { TYPES = sizeof types / sizeof *types };

static uint8_t *pack_all(const struct matrix *w, struct packed *p)
{
	*p = pack_shape(w->type, w->rows, w->k);
	uint8_t *data = mem_aligned(PACK_VECTOR, p->panels * p->panel_bytes);
	memset(data, 0xa5, p->panels * p->panel_bytes);          /* so that a byte left out is seen */
	for (size_t i = 0; i < p->panels; i++) pack_panel(w, i, data + i * p->panel_bytes);
	p->data = data;
	return data;
}

static float weight(const struct pack_group *g, size_t row, size_t i)
{
	float v = g->scale[i / 16][row] * (float)(g->q[row][i] - g->zero);
	return v - g->min[row];
}

static void check_matrix(const struct matrix *w)
{
	struct packed p;
	struct pack_group g;
	uint8_t *data = pack_all(w, &p);
	float *want = mem_calloc(w->k, sizeof *want);
	for (size_t r = 0; r < p.panels * PACK_ROWS; r++) {
		if (r < w->rows) quant_row(w->type, w->data + r * w->row_bytes, w->k, want);
		else memset(want, 0, w->k * sizeof *want);
		for (size_t i = 0; i < w->k; i++) {
			if (i % PACK_GROUP == 0) pack_group(&p, r / PACK_ROWS, i / PACK_GROUP, &g);
			float got = weight(&g, r % PACK_ROWS, i % PACK_GROUP);
			CHECK_MSG(r < w->rows ? memcmp(&got, &want[i], sizeof got) == 0 || (isnan(got) && isnan(want[i])) : got == 0,
				"%s %zux%zu row %zu weight %zu: %a, want %a", quant_name(w->type), w->rows, w->k, r, i, (double)got,
				(double)want[i]);
		}
	}
	mem_free(want);
	mem_free(data);
}

/* Every bit of the blocks drawn, scales that are infinite or no number among them. */
TEST(pack_back_again)
{
	static const size_t rows[] = { 1, 15, 16, 17, 33 }, blocks[] = { 1, 2, 3 };
	uint64_t rng = 88172645463325252u;
	for (size_t t = 0; t < TYPES; t++)
		for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
			for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
				size_t k = blocks[b] * quant_block_weights(types[t]), row_bytes = quant_row_bytes(types[t], k);
				uint8_t *data = mem_alloc(rows[r] * row_bytes);
				for (size_t i = 0; i < rows[r] * row_bytes; i++) {
					rng ^= rng << 13;
					rng ^= rng >> 7;
					rng ^= rng << 17;
					data[i] = (uint8_t)(rng >> 24);
				}
				check_matrix(&(struct matrix){ types[t], rows[r], k, data, row_bytes });
				mem_free(data);
			}
}

/* The golden blocks: zero, subnormal, largest and negative scales. */
TEST(pack_golden_blocks)
{
	struct buf file;
	struct err e;
	size_t seen = 0;
	buf_init(&file, 1 << 20);
	CHECK_OK(file_read(test_data("golden/quant_blocks.bin"), &file, &e), e);
	for (size_t at = 0; at < file.len;) {
		uint32_t head[3]; /* type, bytes, floats */
		memcpy(head, file.data + at, sizeof head);
		uint8_t *data = mem_aligned(64, (head[1] + 63) / 64 * 64);
		memcpy(data, file.data + at + sizeof head, head[1]);
		if (pack_supported(head[0])) {
			check_matrix(&(struct matrix){ head[0], 1, head[2], data, quant_row_bytes(head[0], head[2]) });
			seen++;
		}
		mem_free(data);
		at += sizeof head + head[1] + head[2] * sizeof(float);
	}
	CHECK_INT(seen, TYPES);
	buf_clear(&file);
}

/* The layout that files on disk have: places of weights worked out by hand. */
TEST(pack_places_by_hand)
{
	struct block_q4_1 b[17 * 2] = { 0 };
	struct matrix w = { QUANT_Q4_1, 17, 64, (const void *)b, sizeof *b * 2 };
	struct packed p;
	b[2 * 3 + 1].d = 0x3c00;                 /* row 3, second group: weight 9 (step 2) is 5, weight 26 (step 6) is 14 */
	b[2 * 3 + 1].m = 0x4000;
	b[2 * 3 + 1].qs[9] = 5;
	b[2 * 3 + 1].qs[10] = 14 << 4;
	b[2 * 16].qs[0] = 9;                     /* row 16 is the second panel's first */
	uint8_t *data = pack_all(&w, &p), *unit = data + 320;
	CHECK_INT(p.panel_bytes, 2 * 320);
	CHECK_INT(p.panels, 2);
	CHECK(unit[6] == 0 && unit[7] == 0x3c && unit[32 + 7] == 0x40);
	CHECK(unit[64 + 2 * 64 + 4 * 3 + 1] == 5 && unit[64 + 2 * 64 + 4 * 3 + 2] == 14 << 4);
	CHECK(data[640 + 64] == 9);
	mem_free(data);
}

TEST(pack_sizes)
{
	for (size_t t = 0; t < TYPES; t++) {
		struct packed p = pack_shape(types[t], 4096, 4096);
		size_t file = 4096 * quant_row_bytes(types[t], 4096), packed = p.panels * p.panel_bytes;
		CHECK_MSG(packed >= file && packed * 100 <= file * 103, "%s: %zu bytes, %zu packed", quant_name(types[t]), file,
			packed);
		CHECK_INT(p.panel_bytes % PACK_VECTOR, 0);
	}
	CHECK(!pack_supported(QUANT_F32) && !pack_supported(QUANT_F16) && !pack_supported(QUANT_BF16) && !pack_supported(99));
}
