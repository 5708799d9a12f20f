/* pool.h: of embed/ alone. Hidden states of one text to its vector. Reimers & Gurevych 2019. */
#ifndef EMBED_POOL_H
#define EMBED_POOL_H
#include <stddef.h>

enum pool_kind { POOL_MEAN /* of all tokens, [CLS] and [SEP] among them */, POOL_CLS /* the first token's */ };

/* states (rows, dim), rows at least 1; out dim floats, with length 1 when normalise is not 0 (a zero vector stays). */
void pool_text(enum pool_kind kind, int normalise, const float *states, size_t rows, size_t dim, float *out);

#endif
