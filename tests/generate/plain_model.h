/* plain_model.h: the forward pass of every architecture again, in double precision and without a cache, written from
 * the papers and sharing no code with the decoder. Slow: for models of test size. */
#ifndef TESTS_PLAIN_MODEL_H
#define TESTS_PLAIN_MODEL_H
#include <stddef.h>
#include <stdint.h>
#include "nn/gguf.h"
#include "tests/gguf_make.h"

/* out: (n, vocab) logits at every position. */
void plain_logits(const struct gguf *g, const struct model_spec *s, const int32_t *ids, size_t n, double *out);

#endif
