/* encoder.h: of embed/ alone. The transformer of a BERT-family model: token ids to hidden states.
 * Devlin et al. 2018; tensor names as Hugging Face's BertModel writes them, with or without "bert." or
 * another wrapper's name in front.
 * Thread: one encoder_run at a time; its result is overwritten by the next. */
#ifndef EMBED_ENCODER_H
#define EMBED_ENCODER_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "nn/dense.h"

struct encoder_shape {
	int hidden, layers, heads, intermediate;
	int vocabulary, positions, types;   /* rows of the three embedding tables */
	float eps;                          /* of layer norm */
	enum dense_act act;
};

struct encoder;

/* rows: most tokens of one run. threads: of one run, 1 to 64. E_FORMAT names the tensor that is missing or of another
 * shape; E_MEMORY. All weights are copied: the file may go away after. */
int encoder_open(struct encoder **out, const char *weights_path, const struct encoder_shape *shape, int threads,
	size_t rows, struct err *e);
void encoder_close(struct encoder *m);             /* NULL is allowed */
/* ids of text i are ids[starts[i]] to ids[starts[i+1]] (at least one; at most shape.positions), each below
 * shape.vocabulary; starts[0] is 0 and starts[texts] at most rows. Returns (starts[texts], hidden), borrowed until the
 * next run. Texts do not see each other. Never fails and never allocates. */
const float *encoder_run(struct encoder *m, const int32_t *ids, const size_t *starts, size_t texts);

#endif
