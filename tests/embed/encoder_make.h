/* encoder_make.h: encoders of random weights, of any sizes. */
#ifndef TESTS_EMBED_ENCODER_MAKE_H
#define TESTS_EMBED_ENCODER_MAKE_H
#include "embed/encoder.h"

/* Weights follow from the tensors' names; words_sd: deviation of the embeddings of words, 1 in other tables. Faults fail the test. */
struct encoder *encoder_made(const struct encoder_shape *s, float words_sd, const struct encoder_how *how);

#endif
