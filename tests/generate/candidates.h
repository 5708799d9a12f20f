/* candidates.h: what a GPU tells of a row of logits is true. For tests of whole models, here and on a device. */
#ifndef TESTS_GENERATE_CANDIDATES_H
#define TESTS_GENERATE_CANDIDATES_H
#include <math.h>
#include "generate/decoder.h"
#include "tests/test.h"

/* The row's logits, fetched where they are not; its candidates, where there are some, are the largest in order, and all weigh what they are
 * said to. */
static inline const float *candidates_check(const struct decoder_row *r, size_t vocab)
{
	const struct sample_row *row = &r->logits;
	const float *logits = sample_logits(row);
	double sum = 0;
	size_t as_large = 0;
	CHECK(logits != NULL);
	if (!row->ids) return logits;
	CHECK_INT(row->n, vocab < GPU_TOP ? vocab : GPU_TOP);
	for (size_t i = 0; i < row->n; i++) {
		CHECK_MSG(row->top[i] == logits[row->ids[i]], "candidate %zu is said to have %g, and has %g", i, (double)row->top[i], (double)logits[row->ids[i]]);
		if (i) CHECK(row->top[i - 1] > row->top[i] || (row->top[i - 1] == row->top[i] && row->ids[i - 1] < row->ids[i]));
	}
	for (size_t i = 0; i < vocab; i++) {
		as_large += logits[i] > row->top[row->n - 1] || (logits[i] == row->top[row->n - 1] && (int32_t)i <= row->ids[row->n - 1]);
		if (r->temperature > 0) sum += exp((double)(logits[i] / r->temperature) - (double)(row->top[0] / r->temperature));
	}
	CHECK_MSG(as_large == row->n, "%zu are as large as the last of %zu candidates", as_large, row->n);
	CHECK_MSG(fabs(row->sum - sum) <= row->slack * sum, "all weigh %g, and are said to weigh %g", sum, row->sum);
	return logits;
}

#endif
