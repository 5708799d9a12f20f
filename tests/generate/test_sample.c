/* test_sample.c: sampling on small distributions with known answers. */
#include <math.h>
#include "generate/sample.h"
#include "tests/test.h"

enum { N = 6 };
static const float base[N] = { 1, 3, 3, -INFINITY, 2, 0 };

/* Counts of 4000 draws. */
static void count(const struct gen_params *p, const float *logits, size_t n, const int32_t *recent, size_t recent_n,
	int *out)
{
	struct sampler s;
	struct sample_rng r = { { 1 } };
	struct err e;
	CHECK_OK(sampler_init(&s, n, &e), e);
	sample_seed(&r, 42);
	memset(out, 0, n * sizeof *out);
	for (int i = 0; i < 4000; i++) {
		int32_t id = sample_next(&s, &r, logits, p, recent, recent_n);
		CHECK(id >= 0 && (size_t)id < n);
		out[id]++;
	}
	sampler_clear(&s);
}

TEST(sample_greedy_and_ties)
{
	const float none[2] = { NAN, -INFINITY };
	int32_t some[] = { 4, 2, 1 };
	CHECK_INT(sample_best(base, N, NULL, 0), 1);
	CHECK_INT(sample_best(base, N, some, 3), 1);
	CHECK_INT(sample_best(base, N, some, 1), 4);
	CHECK_INT(sample_best(none, 2, NULL, 0), -1);
}

TEST(sample_shares)
{
	struct gen_params p;
	int got[N];
	double total = 0;
	gen_params_default(&p);
	p.temperature = 1;
	count(&p, base, N, NULL, 0, got);
	for (int i = 0; i < N; i++) total += exp((double)base[i]);
	for (int i = 0; i < N; i++) { /* five standard deviations */
		double share = exp((double)base[i]) / total, sd = sqrt(4000 * share * (1 - share));
		CHECK_MSG(fabs(got[i] - 4000 * share) <= 5 * sd, "token %d: %d of 4000, share %g", i, got[i], share);
	}
	p.top_k = N - 1; /* the same through the ordered way */
	count(&p, base, N, NULL, 0, got);
	for (int i = 0; i < N; i++) {
		double share = exp((double)base[i]) / total, sd = sqrt(4000 * share * (1 - share));
		CHECK_MSG(fabs(got[i] - 4000 * share) <= 5 * sd, "top-k %d: %d of 4000, share %g", i, got[i], share);
	}
}

TEST(sample_filters)
{
	struct gen_params p;
	int got[N];
	gen_params_default(&p);
	p.temperature = 1;
	p.top_k = 1;
	count(&p, base, N, NULL, 0, got);
	CHECK_INT(got[1], 4000); /* the tie goes to the lowest id */
	p.top_k = 3;
	count(&p, base, N, NULL, 0, got);
	CHECK(got[1] && got[2] && got[4] && got[1] + got[2] + got[4] == 4000);
	p.top_k = 0;
	p.top_p = 0.7f; /* 1 and 2 hold 0.80 of the weight, 1 alone 0.40 */
	count(&p, base, N, NULL, 0, got);
	CHECK(got[1] && got[2] && got[1] + got[2] == 4000);
	p.top_p = 0.01f;
	count(&p, base, N, NULL, 0, got);
	CHECK_INT(got[1], 4000);
	p.top_p = 1;
	p.min_p = 0.3f; /* e^-1 = 0.37 stays, e^-2 = 0.14 goes */
	count(&p, base, N, NULL, 0, got);
	CHECK(got[4] && got[1] + got[2] + got[4] == 4000);
	p.min_p = 0;
	p.temperature = 1e-30f;
	count(&p, base, N, NULL, 0, got);
	CHECK(got[1] + got[2] == 4000);
}

TEST(sample_penalty)
{
	struct gen_params p;
	const int32_t recent[] = { 1, 1, 2, 1 };
	const float logits[4] = { -1, 3, 3, 2.5f };
	int got[4];
	gen_params_default(&p);
	p.repeat_penalty = 1.1f;
	count(&p, logits, 4, recent, 4, got);
	CHECK_INT(got[1], 4000); /* 3/1.1 = 2.73, penalised once however often it stands there */
	p.repeat_penalty = 1.3f;
	count(&p, logits, 4, recent, 4, got);
	CHECK_INT(got[3], 4000);
}

/* Refused tokens one after the other until one is taken, 4000 times: shares among those that are not refused. */
static void check_refused(const struct gen_params *p, const int *refused, const double *want)
{
	struct sampler s;
	struct sample_rng r;
	struct err e;
	int got[N] = { 0 };
	CHECK_OK(sampler_init(&s, N, &e), e);
	sample_seed(&r, 9);
	for (int i = 0; i < 4000; i++) {
		int32_t id = sample_next(&s, &r, base, p, NULL, 0);
		if (refused[id]) {
			sample_rest(&s, &r, base, p, NULL, 0, id);
			do id = sample_another(&s); while (id >= 0 && refused[id]);
		}
		CHECK(id >= 0);
		got[id]++;
	}
	for (int i = 0; i < N; i++) {
		double sd = sqrt(4000 * want[i] * (1 - want[i]));
		CHECK_MSG(fabs(got[i] - 4000 * want[i]) <= 5 * sd, "token %d: %d of 4000, share %g", i, got[i], want[i]);
	}
	sampler_clear(&s);
}

TEST(sample_refused)
{
	const int refused[N] = { 0, 1, 0, 0, 0, 0 }, more[N] = { 0, 1, 1, 0, 1, 0 };
	double w[N] = { exp(1), 0, exp(3), 0, exp(2), exp(0) }, all = w[0] + w[2] + w[4] + w[5];
	const double greedy[N] = { 0, 0, 1 }, kept[N] = { 0, 0, w[2] / (w[2] + w[4]), 0, w[4] / (w[2] + w[4]) }, beyond[N] = { 1 };
	struct gen_params p;
	gen_params_default(&p);
	check_refused(&p, refused, greedy);
	p.temperature = 1;
	for (int i = 0; i < N; i++) w[i] /= all;
	check_refused(&p, refused, w);
	p.top_k = 3;                              /* 1, 2 and 4 */
	check_refused(&p, refused, kept);
	check_refused(&p, more, beyond);          /* of what top-k did not keep the likeliest */
}

TEST(sample_refuses_all)
{
	struct sampler s;
	struct sample_rng r = { { 1 } };
	struct gen_params p;
	struct err e;
	static const int32_t order[] = { 2, 4, 0, 5 };
	gen_params_default(&p);
	CHECK_OK(sampler_init(&s, N, &e), e);
	CHECK_INT(sample_next(&s, &r, base, &p, NULL, 0), 1);
	CHECK_INT(sample_another(&s), -1);
	sample_rest(&s, &r, base, &p, NULL, 0, 1);
	for (int i = 0; i < 4; i++) CHECK_INT(sample_another(&s), order[i]);
	CHECK_INT(sample_another(&s), -1);
	sampler_clear(&s);
}
