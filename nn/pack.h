/* pack.h: weight matrices of the block formats (nn/quant.h), repacked into panels that integer kernels read front to
 * back. The same bits in another order: a packed weight is exactly the file's.
 *
 * A matrix is `panels` panels of PACK_ROWS = 16 rows, one behind the other; the last one is filled up with rows of
 * zeros. A panel is a row of units; a unit is a head, then 1, 2 or 8 groups. A group is 32 weights along k of each
 * of the 16 rows, cut into 8 steps of 4 weights. A step as whole bytes is 64 of them, byte 4*row + i the row's
 * weight 4*step + i (i 0…3): what VPDPBUSD and a row of an AMX B tile take. Weights are kept without sign; `zero` is
 * to be subtracted from each.
 *
 *   type         zero  group's bytes          steps
 *   Q4_0          8    256                    4 vectors of 64 bytes: vector v has step v in its bytes' low halves and
 *   Q4_1 Q4_K     0    256                      step v+4 in the high ones; so low halves are the group's first 16 k
 *   Q5_0         16    256 + 64               as Q4, then a vector of fifth bits: bit s of a byte belongs to step s
 *   Q5_1 Q5_K     0    256 + 64
 *   Q6_K         32    256 + 128              as Q4, then 2 vectors of the upper two bits: bits 2j and 2j+1 of a byte
 *                                               of vector 0 belong to step j, of vector 1 to step j+4
 *   Q8_0        128    512                    8 vectors, one a step (the file's weight + 128)
 *
 *   type              groups in a unit   head (h: half floats; one value a row, the 16 rows one behind the other)
 *   Q4_0 Q5_0 Q8_0    2                  64 bytes: h d of the first group, h d of the second. An odd last unit
 *                                          has one group, and zeros for the other's d
 *   Q4_1 Q5_1         1                  64 bytes: h d, h m
 *   Q4_K Q5_K         8                  320 bytes: h d, h dmin; then for each group 16 bytes of scales, 16 of mins
 *   Q6_K              8                  320 bytes: h d, 32 bytes of zeros; then for each half group (16 weights of
 *                                          k) 16 signed bytes of scales
 * Everything begins at a multiple of 64 bytes from the panel's begin, and so do panels; data is aligned to 64. Sizes
 * are those of the file within 3 %.
 * A change of any of this raises PACK_VERSION, which packed matrices on disk carry. No state; nothing fails. */
#ifndef NN_PACK_H
#define NN_PACK_H
#include <stddef.h>
#include <stdint.h>
#include "nn/ops.h"

enum {
	PACK_VERSION = 1,
	PACK_ROWS = 16,
	PACK_GROUP = 32,
	PACK_VECTOR = 64,
	PACK_BITS_AT = 256          /* of a group: what is there beyond four bits */
};

struct packed {
	uint32_t type;              /* enum quant_type */
	size_t rows, k;
	size_t panels, panel_bytes;
	const uint8_t *data;        /* (panels, panel_bytes), aligned to PACK_VECTOR, borrowed */
};

struct pack_form {
	int zero, has_min;
	size_t unit_groups, head_bytes, group_bytes;
};

int pack_supported(uint32_t type);                            /* 1: one of the types above */
struct pack_form pack_form(uint32_t type);                    /* the type must be supported, here and below */
/* Sizes of a matrix of that type and shape; data is left NULL. k is a multiple of the type's block. */
struct packed pack_shape(uint32_t type, size_t rows, size_t k);
/* Bytes of one of its panels from the panel's begin to group g. */
size_t pack_group_at(const struct pack_form *f, size_t g);
/* Packs the rows of one panel of w to `out`, panel_bytes long. */
void pack_panel(const struct matrix *w, size_t panel, uint8_t *out);

/* One group in plain sight: weight i of row r is scale[i / 16][r] * (q[r][i] - zero) - min[r], where types without
 * a min have min 0. Scales are products of at most 18 significant bits, so exact; rounded as quant_row rounds, the
 * weight has its bits. */
struct pack_group {
	uint8_t q[PACK_ROWS][PACK_GROUP];
	int zero;
	float scale[2][PACK_ROWS], min[PACK_ROWS];
};
void pack_group(const struct packed *p, size_t panel, size_t g, struct pack_group *out);

#endif
