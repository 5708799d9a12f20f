/* encoder_make.h: encoders of random weights, of any sizes. */
#ifndef TESTS_EMBED_ENCODER_MAKE_H
#define TESTS_EMBED_ENCODER_MAKE_H
#include "embed/encoder.h"

struct encoder_words { float sd, most; };      /* embeddings of words: their deviation; none is further from 0 than that */
/* Weights follow from the tensors' names. words NULL: of deviation 1. Faults fail the test. */
struct encoder *encoder_made(const struct encoder_shape *s, const struct encoder_words *words, const struct encoder_how *how);

#endif
