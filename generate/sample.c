/* sample.c: owns the working copy of the logits.
 *
 * The ids are ordered by a heap, only as far as the filters need: the likeliest come off one by one until top-k,
 * top-p and min-p all have enough; equal logits come lowest id first, so that a seed means one text. The penalty is
 * computed from the raw logit into the copy, so that a token which stands several times in the window is penalised
 * once.
 * Where a drawn token is refused, each id gets its logit and a random number of Gumbel's distribution; from the largest sum on
 * they are a draw without putting back (Vieira 2014), one heap instead of a sum over all for every further draw.
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

static void sift(const struct sampler *s, int32_t *heap, size_t n, size_t i)
{
	int32_t id = heap[i];
	for (size_t c; (c = 2 * i + 1) < n; i = c) {
		if (c + 1 < n && before(s, heap[c + 1], heap[c])) c++;
		if (!before(s, heap[c], id)) break;
		heap[i] = heap[c];
	}
	heap[i] = id;
}

static void heap_make(const struct sampler *s, int32_t *heap, size_t n)
{
	for (size_t i = n / 2; i-- > 0;) sift(s, heap, n, i);
}

/* Takes the likeliest of the n heaped ids off and puts it behind the others. */
static void pop_top(const struct sampler *s, int32_t *heap, size_t *n)
{
	int32_t top = heap[0];
	heap[0] = heap[--*n];
	heap[*n] = top;
	sift(s, heap, *n, 0);
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

static int has_filters(const struct gen_params *p, size_t n)
{
	return (p->top_k > 0 && (size_t)p->top_k < n) || p->top_p < 1 || p->min_p > 0;
}

/* How many of the n ids of the heap array the filters keep: they stand at its end, best last. *sum: of their weights. */
static size_t filter(struct sampler *s, const struct gen_params *p, size_t n, double *sum)
{
	size_t left = n, kept = 0, k = p->top_k > 0 && (size_t)p->top_k < n ? (size_t)p->top_k : n;
	double total = 0;
	float best;
	heap_make(s, s->heap, n);
	best = s->logits[s->heap[0]];
	if (k < n) while (left > n - k) pop_top(s, s->heap, &left);
	/* top-p is a share of what top-k left */
	for (size_t i = k < n ? n - k : 0; i < n; i++) total += weight(s, s->heap[i], best);
	for (*sum = 0; kept < k; kept++) {
		double w;
		if (left == n - kept) pop_top(s, s->heap, &left);
		w = weight(s, s->heap[n - 1 - kept], best);
		if (kept && (w < (double)p->min_p || *sum >= (double)p->top_p * total)) break;
		*sum += w;
	}
	return kept;
}

static int32_t draw(struct sampler *s, struct sample_rng *r, const struct gen_params *p, size_t n)
{
	double sum;
	size_t kept;
	if (!has_filters(p, n)) return draw_any(s, r, n);
	kept = filter(s, p, n, &sum);
	sum *= next_uniform(r);
	for (size_t i = 1; i < kept; i++)
		if ((sum -= weight(s, s->heap[n - i], s->logits[s->heap[n - 1]])) < 0) return s->heap[n - i];
	return s->heap[n - kept];
}

/* The working copy, penalised. */
static void logits_copy(struct sampler *s, const float *logits, const struct gen_params *p, const int32_t *recent, size_t n)
{
	memcpy(s->logits, logits, s->vocab * sizeof *logits);
	for (size_t i = 0; i < n && p->repeat_penalty != 1; i++) {
		float l = logits[recent[i]];
		s->logits[recent[i]] = l > 0 ? l / p->repeat_penalty : l * p->repeat_penalty;
	}
}

/* Ids of finite logits, divided by the temperature, into the heap array; how many. */
static size_t heap_fill(struct sampler *s, float temperature)
{
	size_t have = 0;
	for (size_t i = 0; i < s->vocab; i++) {
		s->logits[i] /= temperature;
		if (isfinite(s->logits[i])) s->heap[have++] = (int32_t)i;
	}
	return have;
}

int32_t sample_next(struct sampler *s, struct sample_rng *r, const float *logits, const struct gen_params *p,
	const int32_t *recent, size_t n)
{
	size_t have;
	s->first_n = s->rest_n = 0;
	if (p->temperature <= 0 && (p->repeat_penalty == 1 || n == 0)) return sample_best(logits, s->vocab, NULL, 0);
	logits_copy(s, logits, p, recent, n);
	if (p->temperature <= 0) return sample_best(s->logits, s->vocab, NULL, 0);
	have = heap_fill(s, p->temperature);
	/* a temperature near 0 may overflow: its limit is greedy */
	if (have == 0) return sample_best(logits, s->vocab, NULL, 0);
	return draw(s, r, p, have);
}

/* A heap of n ids without one. */
static size_t heap_without(const struct sampler *s, int32_t *heap, size_t n, int32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (heap[i] == id) heap[i] = heap[--n];
	heap_make(s, heap, n);
	return n;
}

void sample_rest(struct sampler *s, struct sample_rng *r, const float *logits, const struct gen_params *p, const int32_t *recent,
	size_t n, int32_t refused)
{
	size_t have = 0, kept = 0;
	double sum;
	logits_copy(s, logits, p, recent, n);
	if (p->temperature > 0) have = heap_fill(s, p->temperature);
	if (have) {
		kept = has_filters(p, have) ? filter(s, p, have, &sum) : have;
	} else {
		logits_copy(s, logits, p, recent, p->temperature > 0 ? 0 : n);
		have = heap_fill(s, 1);
	}
	s->first = s->heap + (have - kept);
	for (size_t i = 0; i < kept; i++) s->logits[s->first[i]] -= (float)log(-log(next_uniform(r)));
	s->first_n = heap_without(s, s->first, kept, refused);
	s->rest_n = heap_without(s, s->heap, have - kept, refused);
}

int32_t sample_another(struct sampler *s)
{
	int32_t *heap = s->first_n ? s->first : s->heap;
	size_t *n = s->first_n ? &s->first_n : &s->rest_n;
	if (!*n) return -1;
	pop_top(s, heap, n);
	return heap[*n];
}
