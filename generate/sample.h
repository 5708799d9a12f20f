/* sample.h: choosing a token from logits. Memory is made at init; choosing allocates nothing. Thread: one at a time. */
#ifndef GENERATE_SAMPLE_H
#define GENERATE_SAMPLE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "generate/generate.h"

struct sampler {
	size_t vocab;
	float *logits;        /* (vocab) a working copy */
	int32_t *heap;        /* (vocab) */
	int32_t *first; size_t first_n, rest_n; /* of sample_rest: heaps at first and at heap */
};
struct sample_rng { uint64_t s[4]; };   /* xoshiro256**; one for each sequence */

int sampler_init(struct sampler *s, size_t vocab, struct err *e);
void sampler_clear(struct sampler *s);
void sample_seed(struct sample_rng *r, uint64_t seed);
/* The likeliest of n ids (ids NULL: of all) by raw logit; the lowest id where several are equal. -1: none is a
 * number. */
int32_t sample_best(const float *logits, size_t vocab, const int32_t *ids, size_t n);
/* Order: repetition penalty over recent[0,n) (Keskar et al. 2019), temperature, top-k, top-p (Holtzman et al. 2019),
 * min-p. temperature 0 takes the best after the penalty. -1: the logits hold no finite number. */
int32_t sample_next(struct sampler *s, struct sample_rng *r, const float *logits, const struct gen_params *p,
	const int32_t *recent, size_t n);

/* The others, when the token that sample_next drew with these arguments is refused. Greedy: from the likeliest on. Drawn: what the
 * filters kept in the order of a draw without putting back, so that the first one taken is as likely as if the refused had not
 * been there; then what they did not keep, from the likeliest on. sample_another gives one after the other; -1: none is
 * left, or sample_next was called since. */
void sample_rest(struct sampler *s, struct sample_rng *r, const float *logits, const struct gen_params *p, const int32_t *recent,
	size_t n, int32_t refused);
int32_t sample_another(struct sampler *s);

#endif
