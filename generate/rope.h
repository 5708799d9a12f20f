/* rope.h: rotary positions (Su et al. 2021): pair i of a head of keys or queries is turned by pos / base^(2i/dim).
 * Angles are computed in float, as the reference implementations do. Thread: what is filled is read-only. */
#ifndef GENERATE_ROPE_H
#define GENERATE_ROPE_H
#include <stddef.h>
#include "base/err.h"

struct rope {
	size_t half;           /* pairs: the first 2*half floats of a head turn */
	int apart;             /* the two of a pair lie half apart; otherwise they are neighbours */
	float *cos, *sin;      /* (positions, half) */
};

/* Positions are divided by `stretch` (linear scaling, Chen et al. 2023), frequency i by factors[i] (NULL: 1). E_MEMORY. */
int rope_init(struct rope *r, size_t positions, size_t dim, int apart, double base, double stretch, const float *factors,
	struct err *e);
void rope_clear(struct rope *r);       /* frees; fine on a zeroed struct */
/* In place: `heads` heads at x, head_dim apart, of the token at pos. */
void rope_turn(const struct rope *r, float *x, size_t heads, size_t head_dim, size_t pos);

#endif
