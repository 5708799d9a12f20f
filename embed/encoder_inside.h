/* encoder_inside.h: of embed/encoder*.c alone. What an open encoder and a space are made of. */
#ifndef EMBED_ENCODER_INSIDE_H
#define EMBED_ENCODER_INSIDE_H
#include "base/team.h"
#include "embed/encoder.h"

enum { ENCODER_TYPES = 2 };               /* a text alone, or the second of a pair */

struct linear { float *w, *bias; };       /* (out, in), (out) */
struct norm { float *gamma, *beta; };     /* (hidden), zero up to the next multiple of 16 */

struct layer {
	struct linear qkv, out, up, down;
	struct norm after_attention, after_feed;
};

/* The same in int8. A head is padded to whole vectors (encoder8.c). */
struct layer8 {
	struct gemm8_matrix qk, v, out, up, down; /* qk: the queries of all heads, then the keys */
	struct norm after_attention, after_feed;
};

struct encoder {
	struct encoder_shape s;
	float *words;                          /* (vocabulary, hidden) */
	float *positions;                      /* (the first ENCODER_TYPES types, positions, hidden): the sums of both rows */
	struct norm embedding_norm;
	const struct gemm8 *kernel;            /* NULL: fp32, `layers`; else `layers8` */
	struct layer *layers;
	struct layer8 *layers8;
	int8_t *packed;                        /* the weights of all of them */
};

struct space32;
struct space8;

struct encoder_space {
	const struct encoder *m;
	struct team *team;
	struct space32 *floats;                /* the one that fits the encoder's kind; the other is NULL */
	struct space8 *ints;
};

/* What is added to the word of an id: the rows of its place in its text and of its type. */
static inline const float *position_row(const struct encoder *m, const uint8_t *types, size_t row, size_t start)
{
	size_t type = types ? types[row] : 0;
	return m->positions + (type * (size_t)m->s.positions + (row - start)) * (size_t)m->s.hidden;
}

/* A 64-byte aligned array; E_MEMORY's caller says what for. Behind n it is zero to the next multiple of 16. */
float *floats_new(size_t n);
/* NULL: out of memory. */
struct space32 *space32_new(const struct encoder *m, const struct team *team, size_t rows);
void space32_free(struct space32 *s);
const float *space32_run(struct encoder_space *s, const int32_t *ids, const uint8_t *types, const size_t *starts,
	size_t texts);

struct space8 *space8_new(const struct encoder *m, const struct team *team, size_t rows);
void space8_free(struct space8 *s);
const float *space8_run(struct encoder_space *s, const int32_t *ids, const uint8_t *types, const size_t *starts,
	size_t texts);

size_t layer8_bytes(const struct encoder_shape *s); /* that the weights of a layer take; a multiple of 64 */
/* Packs a layer into data, and takes its norms (they are NULL in `from` then). E_MEMORY. */
int layer8_pack(struct layer8 *to, const struct encoder_shape *s, struct layer *from, int8_t *data, struct err *e);
void layer8_clear(struct layer8 *l);
void norm_clear(struct norm *n);

#endif
