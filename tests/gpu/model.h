/* model.h: a model file opened on the table under test or by the specification's kernels, and sequences through it. Faults fail the
 * test. */
#ifndef TESTS_GPU_MODEL_H
#define TESTS_GPU_MODEL_H
#include "generate/decoder.h"

enum { MODEL_SEQUENCES = 64, MODEL_REF_TOKENS = 24 /* of ref_logits.c */ };
struct model {
	struct gguf *g;
	struct team *team;                           /* of the specification */
	struct decoder *d;
	struct kvseq seq[MODEL_SEQUENCES];
	size_t sequences, vocab;
};

/* gpu NULL: by nn/ops_ref.c, with as many threads as there are cores. All sequences are begun, for whole contexts. */
void model_open(struct model *m, const char *path, const struct gpu_table *gpu, size_t context, size_t sequences);
void model_close(struct model *m);
void model_restart(struct model *m);                 /* all sequences empty again, and nothing remembered */
/* ids behind what sequence s holds, `chunk` at a time; out: (n, vocab) logits of each, or NULL. */
void model_feed(struct model *m, size_t s, enum decoder_phase phase, const int32_t *ids, size_t n, size_t chunk, float *out);
/* One token behind each of the first n sequences; what comes next is put in its place. */
void model_step(struct model *m, size_t n, int32_t *ids);
/* The tokens that all checks of a model begin with: some of each part of the vocabulary. */
void model_ids(size_t vocab, size_t n, int32_t *ids);
/* largest |a - b| of n numbers, in units of the deviation of b; infinite where one is no number. */
double model_distance(const float *a, const float *b, size_t n);

#endif
