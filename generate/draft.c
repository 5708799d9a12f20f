/* draft.c: see draft.h. The share of tokens that come true is kept apart for guesses from two and from three tokens seen.
 * It starts at a third with the weight of three tokens, and what was learnt fades with a half-life of about 20 tokens, so
 * that a text which begins to quote is noticed soon. Failure: none. */
#include "generate/draft.h"
#include <string.h>

static const double FADE = 0.966;

void draft_init(struct draft *d)
{
	*d = (struct draft){ 0 };
	for (size_t i = 0; i <= DRAFT_SEEN; i++) d->hits[i] = 1, d->tries[i] = 3;
}

/* Where the last `seen` tokens stood before, latest first: the index behind them; 0: nowhere. */
static size_t find_before(const int32_t *ids, size_t n, size_t seen)
{
	const int32_t *tail = ids + n - seen;
	for (size_t end = n - 1; end >= seen; end--)
		if (ids[end - 1] == tail[seen - 1] && memcmp(ids + end - seen, tail, seen * sizeof *ids) == 0) return end;
	return 0;
}

void draft_find(struct draft *d, const int32_t *ids, size_t n, size_t most)
{
	d->n = 0;
	if (most > DRAFT_MAX) most = DRAFT_MAX;
	for (d->seen = DRAFT_SEEN; d->seen >= 2; d->seen--) {
		size_t at = n > d->seen ? find_before(ids, n, d->seen) : 0;
		if (!at) continue;
		for (; d->n < most && at + d->n < n; d->n++) d->ids[d->n] = ids[at + d->n];
		return;
	}
}

void draft_learn(struct draft *d, size_t tried, size_t true_n)
{
	double *hits = &d->hits[d->seen], *tries = &d->tries[d->seen];
	for (size_t i = 0; i < tried && i <= true_n; i++) {
		*hits = *hits * FADE + (i < true_n);
		*tries = *tries * FADE + 1;
	}
}

double draft_expect(const struct draft *d, size_t m)
{
	double p = d->hits[d->seen] / d->tries[d->seen], all = 1, sum = 0;
	for (size_t i = 0; i < m; i++) sum += all *= p;
	return sum;
}
