/* sample.c: owns the working copy of the logits.
 *
 * The ids are ordered by a heap, only as far as the filters need: the likeliest come off one by one until top-k,
 * top-p and min-p all have enough; equal logits come lowest id first, so that a seed means one text. The penalty is
 * computed from the raw logit into the copy, so that a token which stands several times in the window is penalised
 * once.
 * Random numbers: xoshiro256** seeded by splitmix64 (Blackman & Vigna 2018). Failure: E_MEMORY at init. */
#include "generate/sample.h"
#include <math.h>
#include <string.h>
#include "base/mem.h"

int sampler_init(struct sampler *s, size_t vocab, struct err *e)
{
	*s = (struct sampler){ .vocab = vocab };
	s->logits = mem_calloc(vocab, sizeof *s->logits);
	s->heap = mem_calloc(vocab, sizeof *s->heap);
	if (s->logits && s->heap) return OK;
	sampler_clear(s);
	return err_set(e, E_MEMORY, "sampler: out of memory for %zu tokens", vocab);
}

void sampler_clear(struct sampler *s)
{
	mem_free(s->logits);
	mem_free(s->heap);
	*s = (struct sampler){ 0 };
}

void sample_seed(struct sample_rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15u;
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
		z = (z ^ z >> 27) * 0x94d049bb133111ebu;
		r->s[i] = z ^ z >> 31;
	}
}

static uint64_t rotl(uint64_t v, int k)
{
	return v << k | v >> (64 - k);
}

/* Uniform in [0, 1). */
static double next_uniform(struct sample_rng *rng)
{
	uint64_t *r = rng->s, out = rotl(r[1] * 5, 7) * 9, t = r[1] << 17;
	r[2] ^= r[0];
	r[3] ^= r[1];
	r[1] ^= r[2];
	r[0] ^= r[3];
	r[2] ^= t;
	r[3] = rotl(r[3], 45);
	return (double)(out >> 11) * 0x1p-53;
}

int32_t sample_best(const float *logits, size_t vocab, const int32_t *ids, size_t n)
{
	int32_t best = -1;
	float top = -INFINITY;
	if (!ids) n = vocab;
	for (size_t i = 0; i < n; i++) {
		int32_t id = ids ? ids[i] : (int32_t)i;
		if (logits[id] < top || !isfinite(logits[id]) || (logits[id] == top && id > best)) continue; /* mostly the first */
		top = logits[id];
		best = id;
	}
	return best;
}

static int before(const struct sampler *s, int32_t a, int32_t b)
{
	return s->logits[a] != s->logits[b] ? s->logits[a] > s->logits[b] : a < b;
}

static void sift(struct sampler *s, size_t n, size_t i)
{
	int32_t id = s->heap[i];
	for (size_t c; (c = 2 * i + 1) < n; i = c) {
		if (c + 1 < n && before(s, s->heap[c + 1], s->heap[c])) c++;
		if (!before(s, s->heap[c], id)) break;
		s->heap[i] = s->heap[c];
	}
	s->heap[i] = id;
}

/* Takes the likeliest of the n heaped ids off and puts it behind the others. */
static void pop_top(struct sampler *s, size_t *n)
{
	int32_t top = s->heap[0];
	s->heap[0] = s->heap[--*n];
	s->heap[*n] = top;
	sift(s, *n, 0);
}

static double weight(const struct sampler *s, int32_t id, float best)
{
	return exp((double)s->logits[id] - (double)best);
}

/* Draws from the n ids of the heap array, in any order, without filters. */
static int32_t draw_any(struct sampler *s, struct sample_rng *r, size_t n)
{
	float best = s->logits[s->heap[0]];
	double total = 0, target;
	for (size_t i = 1; i < n; i++) best = s->logits[s->heap[i]] > best ? s->logits[s->heap[i]] : best;
	for (size_t i = 0; i < n; i++) total += weight(s, s->heap[i], best);
	target = next_uniform(r) * total;
	for (size_t i = 0; i + 1 < n; i++)
		if ((target -= weight(s, s->heap[i], best)) < 0) return s->heap[i];
	return s->heap[n - 1];
}

/* Filters, then draws, from the n ids of the heap array. Those taken off stand at its end, best last. */
static int32_t draw(struct sampler *s, struct sample_rng *r, const struct gen_params *p, size_t n)
{
	size_t left = n, kept = 0, k = p->top_k > 0 && (size_t)p->top_k < n ? (size_t)p->top_k : n;
	double total = 0, sum = 0;
	float best;
	if (k == n && p->top_p >= 1 && p->min_p <= 0) return draw_any(s, r, n);
	for (size_t i = n / 2; i-- > 0;) sift(s, n, i);
	best = s->logits[s->heap[0]];
	if (k < n) while (left > n - k) pop_top(s, &left);
	/* top-p is a share of what top-k left */
	for (size_t i = k < n ? n - k : 0; i < n; i++) total += weight(s, s->heap[i], best);
	for (; kept < k; kept++) {
		double w;
		if (left == n - kept) pop_top(s, &left);
		w = weight(s, s->heap[n - 1 - kept], best);
		if (kept && (w < (double)p->min_p || sum >= (double)p->top_p * total)) break;
		sum += w;
	}
	sum *= next_uniform(r);
	for (size_t i = 1; i < kept; i++)
		if ((sum -= weight(s, s->heap[n - i], best)) < 0) return s->heap[n - i];
	return s->heap[n - kept];
}

int32_t sample_next(struct sampler *s, struct sample_rng *r, const float *logits, const struct gen_params *p,
	const int32_t *recent, size_t n)
{
	size_t have = 0;
	if (p->temperature <= 0 && (p->repeat_penalty == 1 || n == 0)) return sample_best(logits, s->vocab, NULL, 0);
	memcpy(s->logits, logits, s->vocab * sizeof *logits);
	for (size_t i = 0; i < n && p->repeat_penalty != 1; i++) {
		float l = logits[recent[i]];
		s->logits[recent[i]] = l > 0 ? l / p->repeat_penalty : l * p->repeat_penalty;
	}
	if (p->temperature <= 0) return sample_best(s->logits, s->vocab, NULL, 0);
	for (size_t i = 0; i < s->vocab; i++) {
		s->logits[i] /= p->temperature;
		if (isfinite(s->logits[i])) s->heap[have++] = (int32_t)i;
	}
	/* a temperature near 0 may overflow: its limit is greedy */
	if (have == 0) return sample_best(logits, s->vocab, NULL, 0);
	return draw(s, r, p, have);
}
