/* pool.c: owns nothing. Sums go through double where they run over all dimensions or all tokens, so that the length of
 * a text does not cost precision. Threads: pure functions. Failure: none. */
#include "embed/pool.h"
#include <math.h>
#include <string.h>

void pool_text(enum pool_kind kind, int normalise, const float *states, size_t rows, size_t dim, float *out)
{
	double squares = 0;
	if (kind == POOL_CLS) memcpy(out, states, dim * sizeof *out);
	else for (size_t i = 0; i < dim; i++) {
		double sum = 0;
		for (size_t r = 0; r < rows; r++) sum += states[r * dim + i];
		out[i] = (float)(sum / (double)rows);
	}
	if (!normalise) return;
	for (size_t i = 0; i < dim; i++) squares += (double)out[i] * out[i];
	double scale = squares > 0 ? 1 / sqrt(squares) : 0;
	for (size_t i = 0; i < dim; i++) out[i] = (float)(out[i] * scale);
}
