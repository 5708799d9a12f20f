/* test_sample.c: sampling on small distributions with known answers; and that candidates give the token that the whole row gives. */
#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
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
		int32_t id = sample_next(&s, &(struct sample_draw){ { .logits = logits }, &r, p, recent, recent_n });
		CHECK(id >= 0 && (size_t)id < n);
		out[id]++;
	}
	sampler_clear(&s);
}

TEST(sample_greedy_and_ties)
{
	const float none[2] = { NAN, -INFINITY };
	int32_t some[] = { 4, 2, 1 };
	CHECK_INT(sample_best(base, N), 1);
	CHECK_INT(sample_best_of(&(struct sample_row){ .logits = base }, some, 3), 1);
	CHECK_INT(sample_best_of(&(struct sample_row){ .logits = base }, some, 1), 4);
	CHECK_INT(sample_best(none, 2), -1);
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
	const struct sample_draw d = { { .logits = base }, &r, p, NULL, 0 };
	struct err e;
	int got[N] = { 0 };
	CHECK_OK(sampler_init(&s, N, &e), e);
	sample_seed(&r, 9);
	for (int i = 0; i < 4000; i++) {
		int32_t id = sample_next(&s, &d);
		if (refused[id]) {
			sample_rest(&s, &d, id);
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
	const struct sample_draw d = { { .logits = base }, &r, &p, NULL, 0 };
	struct err e;
	static const int32_t order[] = { 2, 4, 0, 5 };
	gen_params_default(&p);
	CHECK_OK(sampler_init(&s, N, &e), e);
	CHECK_INT(sample_next(&s, &d), 1);
	CHECK_INT(sample_another(&s), -1);
	sample_rest(&s, &d, 1);
	for (int i = 0; i < 4; i++) CHECK_INT(sample_another(&s), order[i]);
	CHECK_INT(sample_another(&s), -1);
	sampler_clear(&s);
}

/* --- candidates --- */

static const double SLACK = 0x1p-16;
enum { VOCAB = 1000, MOST = 40, RECENT = 30, CHAIN = 60 };

static const float *ordered_by;
static int by_logit(const void *a, const void *b)
{
	const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
	if (ordered_by[x] != ordered_by[y]) return ordered_by[x] > ordered_by[y] ? -1 : 1;
	return x < y ? -1 : 1;
}

static uint32_t random_n(uint32_t n)
{
	static uint32_t seed = 5;
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* A row, its candidates, and what fetching it gives and costs. */
struct known { float logits[VOCAB], top[VOCAB]; int32_t ids[VOCAB]; size_t n, most, fetched; int is_lost; };

static const float *fetch(void *from, size_t at)
{
	struct known *k = from;
	CHECK_INT(at, 7);
	k->fetched++;
	return k->is_lost ? NULL : k->logits;
}

/* kind 0: as a model's, few likely; 1: flat; 2: few values, ties all over; 3: with what is not finite; 4: few are finite; 5: one alone is
 * likely; 6: large, so that a small temperature overflows; 7: far below a few equals. */
static void known_make(struct known *k, size_t kind)
{
	size_t n = 0;
	for (size_t i = 0; i < VOCAB; i++) {
		float x = 0, l;
		for (int j = 0; j < 12; j++) x += (float)random_n(4096) / 4096 - 0.5f; /* of deviation 1 */
		switch (kind) {
		case 1: l = x / 8; break;
		case 2: l = (float)random_n(12); break;
		case 3: l = random_n(4) == 0 ? NAN : random_n(5) == 0 ? -INFINITY : random_n(50) == 0 ? INFINITY : 3 * x; break;
		case 4: l = random_n(30) ? -INFINITY : 2 * x; break;
		case 5: l = i == 400 ? 60 : 2 * x; break;
		case 6: l = x * 1e38f; break;
		case 7: l = i % 100 == 3 ? 9 : x - 20; break;
		default: l = 4 * x;
		}
		k->logits[i] = l;
		if (isfinite(l)) k->ids[n++] = (int32_t)i;
	}
	ordered_by = k->logits;
	qsort(k->ids, n, sizeof *k->ids, by_logit);
	k->most = random_n(3) ? MOST : 1 + random_n(VOCAB);
	k->n = n < k->most ? n : k->most;
	for (size_t i = 0; i < k->n; i++) k->top[i] = k->logits[k->ids[i]];
}

/* off: where between both ends the sum of weights is said to be. */
static struct sample_row known_row(struct known *k, float temperature, double off, double slack)
{
	double sum = 0;
	for (size_t i = 0; i < VOCAB && k->n && temperature > 0; i++)
		if (isfinite(k->logits[i])) sum += exp((double)(k->logits[i] / temperature) - (double)(k->top[0] / temperature));
	return (struct sample_row){ .fetch = fetch, .from = k, .at = 7, .ids = k->ids, .top = k->top, .n = k->n, .all = k->n < k->most,
		.sum = sum * (1 + off * slack), .slack = slack };
}

static void params_make(struct gen_params *p)
{
	static const float temperatures[] = { 0, 0, 0.1f, 0.7f, 1, 1, 2, 1e-30f }, top_ps[] = { 1, 1, 0.9f, 0.5f, 0.99999f, 0.01f },
		min_ps[] = { 0, 0, 0, 0.05f, 0.5f, 1e-20f }, penalties[] = { 1, 1, 1, 1.1f, 3, 0.8f };
	static const int top_ks[] = { 0, 0, 1, 5, MOST - 1, MOST, 200, 2 * VOCAB };
	gen_params_default(p);
	p->temperature = temperatures[random_n(8)];
	p->top_p = top_ps[random_n(6)];
	p->min_p = min_ps[random_n(6)];
	p->top_k = top_ks[random_n(8)];
	p->repeat_penalty = penalties[random_n(6)];
}

/* The token and those after it, CHAIN of them refused; what the random numbers are then is the last. */
static size_t chain(struct sampler *s, const struct sample_draw *d, int32_t out[CHAIN + 1])
{
	size_t n = 0;
	out[n++] = sample_next(s, d);
	CHECK_INT(sample_another(s), -1);
	if (out[0] >= 0) sample_rest(s, d, out[0]);
	while (n < CHAIN && out[n - 1] >= 0) out[n++] = sample_another(s);
	out[n++] = (int32_t)(d->rng->s[0] >> 33);
	return n;
}

/* A row whose candidates prove nothing: all is done with the whole row, in the way of those that have some. */
static struct sample_row unproved(struct known *k)
{
	return (struct sample_row){ .fetch = fetch, .from = k, .at = 7, .ids = k->ids };
}

/* Tokens and refused ones, over rows and parameters: the same ones, and the same random numbers used up. */
TEST(sample_candidates_give_the_same)
{
	enum { ROUNDS = 8000 };
	struct known *k = mem_calloc(1, sizeof *k);
	size_t fetched[2] = { 0 }, asked[2] = { 0 };
	struct sampler s;
	struct err e;
	CHECK_OK(sampler_init(&s, VOCAB, &e), e);
	for (size_t round = 0; round < ROUNDS; round++) {
		struct sample_rng r[2];
		struct gen_params p;
		int32_t recent[RECENT], want[CHAIN + 1], got[CHAIN + 1];
		size_t kind = round / 5 % 8, n;
		if (round % 5 == 0) known_make(k, kind);
		params_make(&p);
		for (size_t i = 0; i < RECENT; i++) recent[i] = random_n(2) && k->n ? k->ids[random_n((uint32_t)k->n)] : (int32_t)random_n(VOCAB);
		struct sample_draw d = { unproved(k), &r[0], &p, recent, random_n(3) ? RECENT : 0 };
		for (int i = 0; i < 2; i++) sample_seed(&r[i], round);
		n = chain(&s, &d, want);
		d.row = known_row(k, p.temperature, (double)(round % 3) - 1, random_n(2) ? SLACK : 0x1p-5);
		d.rng = &r[1];
		k->fetched = 0;
		CHECK_INT(chain(&s, &d, got), n);
		for (size_t i = 0; i < n; i++)
			CHECK_MSG(got[i] == want[i], "round %zu, kind %zu, %zu candidates; temperature %g, top-k %d, top-p %g, min-p %g, penalty %g over %zu: "
				"token %zu is %d, want %d", round, kind, k->n, (double)p.temperature, p.top_k, (double)p.top_p, (double)p.min_p,
				(double)p.repeat_penalty, d.recent_n, i, got[i], want[i]);
		sample_seed(&r[1], round);
		k->fetched = 0;
		(void)sample_next(&s, &d);
		asked[p.temperature > 0]++;
		fetched[p.temperature > 0] += k->fetched;
	}
	CHECK_MSG(fetched[0] * 5 < asked[0] && fetched[1] * 3 < asked[1] * 2, "greedy: %zu of %zu fetched, drawn: %zu of %zu", fetched[0], asked[0],
		fetched[1], asked[1]);
	sampler_clear(&s);
	mem_free(k);
}

/* What is not fetched: most of a model's rows. */
TEST(sample_candidates_suffice)
{
	static const struct gen_params modes[] = { { .top_p = 1, .repeat_penalty = 1 }, { .top_p = 1, .repeat_penalty = 1.1f },
		{ .temperature = 0.5f, .top_p = 1, .repeat_penalty = 1 }, { .temperature = 0.7f, .top_p = 0.9f, .repeat_penalty = 1 },
		{ .temperature = 1, .top_p = 1, .top_k = 20, .repeat_penalty = 1 }, { .temperature = 1, .top_p = 1, .min_p = 0.1f, .repeat_penalty = 1 },
		{ .temperature = 1, .top_p = 0.8f, .top_k = 30, .repeat_penalty = 1.2f } };
	struct known *k = mem_calloc(1, sizeof *k);
	struct sampler s;
	struct sample_rng r;
	struct err e;
	CHECK_OK(sampler_init(&s, VOCAB, &e), e);
	sample_seed(&r, 3);
	for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
		size_t fetched = 0;
		for (size_t round = 0; round < 200; round++) {
			int32_t recent[2];
			known_make(k, 0);
			k->n = k->most = k->n < MOST ? k->n : MOST;
			if (k->n < 10) continue;
			k->fetched = 0;
			recent[0] = k->ids[0], recent[1] = k->ids[1];
			const struct sample_draw d = { known_row(k, modes[m].temperature, 0, SLACK), &r, &modes[m], recent, 2 };
			sample_rest(&s, &d, sample_next(&s, &d));
			if (m < 2) for (int i = 0; i < 5; i++) CHECK(sample_another(&s) >= 0);
			fetched += k->fetched > (m == 2);   /* what is drawn of all and refused is drawn again of all */
		}
		CHECK_MSG(fetched < 40, "mode %zu: %zu of 200 rows fetched", m, fetched);
	}
	sampler_clear(&s);
	mem_free(k);
}

/* Drawn in order of candidates or by ids: as likely. Chi squared over 20 cells, of which a value of 80 or more has a chance of 1e-9; the
 * seed is fixed. */
TEST(sample_candidates_are_as_likely)
{
	enum { DRAWS = 40000, CELLS = 20 };
	static const struct gen_params modes[] = { { .temperature = 1, .top_p = 1, .repeat_penalty = 1 },
		{ .temperature = 1.5f, .top_p = 0.95f, .repeat_penalty = 1 }, { .temperature = 2, .top_p = 1, .repeat_penalty = 1.3f } };
	struct known *k = mem_calloc(1, sizeof *k);
	struct sampler s;
	struct sample_rng r;
	struct err e;
	CHECK_OK(sampler_init(&s, VOCAB, &e), e);
	sample_seed(&r, 11);
	for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
		for (int refuses = 0; refuses < 2; refuses++) {
			double count[2][CELLS] = { { 0 } }, chi = 0;
			do known_make(k, 0); while (k->n < MOST || k->most != MOST);
			const int32_t recent[] = { k->ids[0], k->ids[3] };
			for (int how = 0; how < 2; how++)
				for (int i = 0; i < DRAWS; i++) {
					const struct sample_draw d = { how ? known_row(k, modes[m].temperature, 0, SLACK) : (struct sample_row){ .logits = k->logits }, &r,
						&modes[m], recent, 2 };
					int32_t id = sample_next(&s, &d);
					size_t cell = 0;
					if (refuses && id == k->ids[0]) {
						sample_rest(&s, &d, id);
						id = sample_another(&s);
					}
					while (cell + 1 < CELLS && k->ids[2 * cell] != id && k->ids[2 * cell + 1] != id) cell++;
					count[how][cell]++;                 /* the last: all others */
				}
			for (int c = 0; c < CELLS; c++) {
				double all = count[0][c] + count[1][c], off = count[0][c] - count[1][c];
				if (all > 0) chi += off * off / all;
			}
			CHECK_MSG(chi < 80, "mode %zu, refusing %d: chi squared is %g", m, refuses, chi);
		}
	sampler_clear(&s);
	mem_free(k);
}

TEST(sample_best_of_candidates)
{
	struct known *k = mem_calloc(1, sizeof *k);
	size_t fetched = 0;
	for (int round = 0; round < 2000; round++) {
		int32_t ids[4];
		known_make(k, (size_t)round % 8);
		k->fetched = 0;
		for (size_t i = 0; i < 4; i++) ids[i] = random_n(4) == 0 && k->n ? k->ids[random_n((uint32_t)k->n)] : (int32_t)random_n(VOCAB);
		const struct sample_row row = known_row(k, 0, 0, SLACK), whole = { .logits = k->logits };
		CHECK_INT(sample_best_of(&row, ids, 4), sample_best_of(&whole, ids, 4));
		fetched += k->fetched;
	}
	CHECK(fetched > 200 && fetched < 1800);
	mem_free(k);
}

/* A row that is lost gives no token, and none is read. */
TEST(sample_lost)
{
	struct known *k = mem_calloc(1, sizeof *k);
	struct sampler s;
	struct sample_rng r;
	struct gen_params p;
	struct err e;
	int32_t id;
	size_t n = 0;
	gen_params_default(&p);
	CHECK_OK(sampler_init(&s, VOCAB, &e), e);
	sample_seed(&r, 1);
	do known_make(k, 0); while (k->n < MOST || k->most != MOST);
	k->is_lost = 1;
	const struct sample_draw d = { known_row(k, 0, 0, SLACK), &r, &p, NULL, 0 }, whole = { unproved(k), &r, &p, NULL, 0 };
	CHECK_INT(sample_next(&s, &whole), -1);
	id = sample_next(&s, &d);
	CHECK_INT(id, k->ids[0]);
	for (sample_rest(&s, &d, id); (id = sample_another(&s)) >= 0; n++) CHECK_INT(id, k->ids[n + 1]);
	CHECK_INT(n, MOST - 2);                           /* of the last another may be the equal */
	sampler_clear(&s);
	mem_free(k);
}
