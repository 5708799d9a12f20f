/* encoder.h: of embed/ alone. The transformer of a BERT-family model: token ids to hidden states.
 * Devlin et al. 2018; tensor names as Hugging Face's BertModel writes them, with or without "bert." or
 * another wrapper's name in front.
 *
 *   encoder_open -> encoder_space_open, once for every run that may go on beside others -> encoder_states, encoder_vectors
 *
 * It computes on the CPU (encoder8.c, encoder32.c) or on a GPU (encoder_gpu.c). Where a GPU is taken because there is one, the
 * CPU's form is kept beside it: what goes wrong on the GPU, at open or later, is logged, and the CPU goes on.
 * Thread: an encoder is immutable after open. A space belongs to one run at a time. */
#ifndef EMBED_ENCODER_H
#define EMBED_ENCODER_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "embed/pool.h"
#include "nn/dense.h"
#include "nn/gemm8.h"
#include "nn/gpu.h"
#include "nn/safetensors.h"

struct encoder_shape {
	int hidden, layers, heads, intermediate;
	int vocabulary, positions, types;   /* rows of the three embedding tables */
	float eps;                          /* of layer norm */
	enum dense_act act;
};

struct encoder;
struct encoder_space;

/* Where and how an encoder computes. */
struct encoder_how {
	const struct gemm8 *kernel;         /* on the CPU: int8 with this table; NULL: fp32 */
	const struct gpu_table *gpu;        /* on the first device of this table; NULL: on the CPU */
	int must;                           /* there or not at all: without, the CPU does what the device does not */
};

/* What the settings say: device NULL or "cpu"; "auto": a GPU where there is one and kernel is NULL or "auto"; "cuda".
 * kernel: of gemm8_choose, or "ref". given: as of gpu_pick. E_UNSUPPORTED, E_USAGE: of that and of gemm8_choose. */
int encoder_how_choose(struct encoder_how *out, const char *device, const char *kernel, const struct gpu_table *given, struct err *e);
/* E_FORMAT names the tensor that is missing or of another shape; E_MEMORY; with how->must those of the device as well.
 * All weights are copied: the file may be closed after. name: the model's, for the log. */
int encoder_open(struct encoder **out, const struct safetensors *weights, const struct encoder_shape *shape,
	const struct encoder_how *how, const char *name, struct err *e);
void encoder_close(struct encoder *m);             /* after its spaces; NULL is allowed */
int encoder_on_gpu(const struct encoder *m);       /* and it is not lost */
int encoder_lost(const struct encoder *m, struct err *e); /* E_IO: it was, and with how->must every run fails with that; else OK */
/* "cpu", or what the GPU is called where it computes; settled once the first space is open. Thread-safe, as the one before. */
const char *encoder_device(const struct encoder *m);
uint64_t encoder_device_bytes(const struct encoder *m); /* that it has of that GPU's memory; 0 on the CPU. Likewise */
/* "amx" … "avx2" or "ref"; the table's name where it computes on a GPU. */
const char *encoder_kernel(const struct encoder *m);
/* Room for runs of at most `rows` tokens (1 or more) on `threads` threads (1 to 64). gpu_rows: of at most so many on the GPU, when
 * the encoder is there: of one space alone; 0: a space of the CPU. E_MEMORY, with how->must the device's too. */
int encoder_space_open(struct encoder_space **out, struct encoder *m, int threads, size_t rows, size_t gpu_rows, struct err *e);
void encoder_space_close(struct encoder_space *s); /* NULL is allowed */
/* ids of text i are ids[starts[i]] to ids[starts[i+1]] (at least one; at most shape.positions and the space's rows), each below
 * shape.vocabulary; starts[0] is 0 and starts[texts] at most the larger of the space's rows. types: of each id, 0 or (when
 * shape.types is 2 or more) 1; NULL: all 0. out: (starts[texts], hidden), the caller's. Texts do not see each
 * other; in int8 and on a GPU a text's states have the same bits whatever runs beside it, in int8 with whatever threads and
 * table. Never allocates. E_IO: the GPU is lost (with how->must alone); never fails on a CPU. */
int encoder_states(struct encoder_space *s, const int32_t *ids, const uint8_t *types, const size_t *starts, size_t texts,
	float *out, struct err *e);
/* The same, pooled (pool.h) to out: (texts, hidden). */
int encoder_vectors(struct encoder_space *s, const int32_t *ids, const size_t *starts, size_t texts, enum pool_kind pooling,
	int normalise, float *out, struct err *e);

#endif
