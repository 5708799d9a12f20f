/* sample.h: choosing a token from logits. Memory is made at init; choosing allocates nothing. Thread: one at a time.
 *
 * A row of logits that lies on a GPU is known by its candidates: its largest logits, and what all of them weigh. What they prove is
 * chosen from them; where they prove nothing (the token is none of them, or a rounding would decide) the whole row is
 * fetched. Either way it is the same token. */
#ifndef GENERATE_SAMPLE_H
#define GENERATE_SAMPLE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "generate/generate.h"

struct sample_row {
	const float *logits;                  /* (vocab); NULL: elsewhere, sample_logits gets them */
	const float *(*fetch)(void *from, size_t at); void *from; size_t at; /* by this; it gives NULL when they are lost */
	/* candidates: of the finite logits the largest, the larger first, then the lower id; ids NULL: there are none */
	const int32_t *ids; const float *top; size_t n;
	int all;                              /* there are no others */
	double sum, slack;                    /* of exp((logit - largest) / temperature) over the row, to `slack` of it; 0: not known */
};
/* The whole row, until another one's is asked for; NULL: it is lost. */
const float *sample_logits(const struct sample_row *row);

struct sample_rng { uint64_t s[4]; };   /* xoshiro256**; one for each sequence */
struct sample_draw {                    /* what one token is chosen by; all but r and row is borrowed while it may be refused */
	struct sample_row row;
	struct sample_rng *rng;
	const struct gen_params *p;
	const int32_t *recent; size_t recent_n; /* tokens that repeat_penalty looks back on */
};

struct sampler {
	size_t vocab;
	float *logits;        /* (vocab) a working copy, or of candidates alone */
	int32_t *heap;        /* (vocab) */
	float floor;          /* ids that are not heaped have no more, once penalised and divided; -INFINITY: there are none */
	/* of sample_rest */
	struct sample_draw draw;
	struct sample_rng rng;               /* as it was */
	int32_t refused;
	size_t given;
	int32_t *first; size_t first_n, rest_n; /* heaps at first and at heap */
	int more;                            /* the heaps end before the ids do */
};

int sampler_init(struct sampler *s, size_t vocab, struct err *e);
void sampler_clear(struct sampler *s);
void sample_seed(struct sample_rng *r, uint64_t seed);
/* The likeliest by raw logit; the lowest id where several are equal. -1: none is a number. */
int32_t sample_best(const float *logits, size_t vocab);
/* The same of n ids. -1 also: the row is lost. */
int32_t sample_best_of(const struct sample_row *row, const int32_t *ids, size_t n);
/* Order: repetition penalty over the recent (Keskar et al. 2019), temperature, top-k, top-p (Holtzman et al. 2019),
 * min-p. temperature 0 takes the best after the penalty. -1: the logits hold no finite number, or are lost. */
int32_t sample_next(struct sampler *s, const struct sample_draw *d);

/* The others, when the token that sample_next drew with these arguments is refused. Greedy: from the likeliest on. Drawn: what the
 * filters kept in the order of a draw without putting back, so that the first one taken is as likely as if the refused had not
 * been there; then what they did not keep, from the likeliest on. sample_another gives one after the other; -1: none is
 * left, sample_next was called since, or the row is lost. */
void sample_rest(struct sampler *s, const struct sample_draw *d, int32_t refused);
int32_t sample_another(struct sampler *s);

#endif
