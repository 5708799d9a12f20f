/* encoder.h: of embed/ alone. The transformer of a BERT-family model: token ids to hidden states.
 * Devlin et al. 2018; tensor names as Hugging Face's BertModel writes them, with or without "bert." or
 * another wrapper's name in front.
 *
 *   encoder_open -> encoder_space_open, once for every run that may go on beside others -> encoder_run
 *
 * Thread: an encoder is immutable after open. A space belongs to one run at a time; the result of a run is overwritten
 * by the next one in that space. */
#ifndef EMBED_ENCODER_H
#define EMBED_ENCODER_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "nn/dense.h"
#include "nn/gemm8.h"
#include "nn/safetensors.h"

struct encoder_shape {
	int hidden, layers, heads, intermediate;
	int vocabulary, positions, types;   /* rows of the three embedding tables */
	float eps;                          /* of layer norm */
	enum dense_act act;
};

struct encoder;
struct encoder_space;

/* kernel: int8 with this table; NULL: fp32. E_FORMAT names the tensor that is missing or of another shape; E_MEMORY.
 * All weights are copied: the file may be closed after. */
int encoder_open(struct encoder **out, const struct safetensors *weights, const struct encoder_shape *shape,
	const struct gemm8 *kernel, struct err *e);
void encoder_close(struct encoder *m);             /* after its spaces; NULL is allowed */
/* Room for runs of at most `rows` tokens (1 or more) on `threads` threads (1 to 64). E_MEMORY. */
int encoder_space_open(struct encoder_space **out, const struct encoder *m, int threads, size_t rows, struct err *e);
void encoder_space_close(struct encoder_space *s); /* NULL is allowed */
/* ids of text i are ids[starts[i]] to ids[starts[i+1]] (at least one; at most shape.positions), each below
 * shape.vocabulary; starts[0] is 0 and starts[texts] at most the space's rows. types: of each id, 0 or (when shape.types
 * is 2 or more) 1; NULL: all 0. Returns (starts[texts], hidden), borrowed until the next run. Texts do not see each
 * other; in int8 a text's states have the same bits whatever runs beside it, with whatever threads and table. Never
 * fails and never allocates. */
const float *encoder_run(struct encoder_space *s, const int32_t *ids, const uint8_t *types, const size_t *starts,
	size_t texts);

#endif
