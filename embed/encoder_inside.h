/* encoder_inside.h: of embed/encoder*.c alone. What an open encoder and a space are made of. */
#ifndef EMBED_ENCODER_INSIDE_H
#define EMBED_ENCODER_INSIDE_H
#include <stdatomic.h>
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
	char name[64];                         /* for the log */
	char device[64];                       /* "cpu", or what the GPU is called */
	uint64_t device_bytes;                 /* of its memory */
	float *words;                          /* (vocabulary, hidden) */
	float *positions;                      /* (the first ENCODER_TYPES types, positions, hidden): the sums of both rows */
	struct norm embedding_norm;
	const struct gemm8 *kernel;            /* NULL: fp32, `layers`; else `layers8` */
	struct layer *layers;
	struct layer8 *layers8;
	int8_t *packed;                        /* the weights of all of them */
	struct encoder_gpu *gpu;               /* the same on a GPU, beside those or (`must`) instead of them; NULL: none */
	int must;                              /* on the GPU or not at all */
	atomic_int lost;                       /* the GPU is of no use any more */
	struct err why;                        /* it is not, when lost */
};

struct space32;
struct space8;
struct space_gpu;

struct encoder_space {
	struct encoder *m;
	struct team *team;
	struct space32 *floats;                /* the one that fits the encoder's kind; the other is NULL */
	struct space8 *ints;
	size_t rows;                           /* of either */
	struct space_gpu *gpu;                 /* NULL: runs here go to the CPU */
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

/* open -> embeddings, layer by layer, ready -> spaces. E_UNSUPPORTED: no device, or sizes that it does not take; E_MEMORY. */
int encoder_gpu_open(struct encoder_gpu **out, const struct gpu_table *t, const struct encoder_shape *s, struct err *e);
int encoder_gpu_embeddings(struct encoder_gpu *m, const struct encoder *from, struct err *e);
int encoder_gpu_layer(struct encoder_gpu *m, const struct encoder_shape *s, int i, const struct layer *from, struct err *e);
int encoder_gpu_ready(struct encoder_gpu *m, struct err *e);
void encoder_gpu_close(struct encoder_gpu *m);     /* with the memory of its spaces; NULL is allowed */
const char *encoder_gpu_name(const struct encoder_gpu *m); /* of its table */
void encoder_gpu_info(const struct encoder_gpu *m, struct gpu_info *out);

int space_gpu_open(struct space_gpu **out, struct encoder_gpu *m, size_t rows, struct err *e);
void space_gpu_close(struct space_gpu *s, struct encoder_gpu *m);
/* As encoder.h's. E_IO: the device is lost; out is then as it was. */
int space_gpu_states(const struct encoder_space *s, const int32_t *ids, const uint8_t *types, const size_t *starts,
	size_t texts, float *out, struct err *e);
int space_gpu_vectors(const struct encoder_space *s, const int32_t *ids, const size_t *starts, size_t texts,
	enum pool_kind pooling, int normalise, float *out, struct err *e);

#endif
