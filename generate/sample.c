/* sample.c: owns the working copy of the logits.
 *
 * All is written for the whole row. Of candidates the same is done until an answer would depend on what they do not hold: they are
 * ordered as the whole row is down to a floor, the last candidate's logit, which no other id's is over, as a penalty of 1 and more
 * only lowers; and where the sum of weights counts, both ends of what it may be must say the same. Else it is UNTOLD, and done once more with
 * the whole row and the same random numbers. Without filters a token is drawn by ids as they come, or in the order of likelihood
 * where there are candidates: another token for a number, as likely.
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

enum { UNTOLD = -2 };
/* Beside what min_p keeps, a double's sum of weights never rounds up to the whole. */
static const float MIN_P_LEAST = 1e-9f;

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

const float *sample_logits(const struct sample_row *row)
{
	return row->logits ? row->logits : row->fetch(row->from, row->at);
}

/* ids NULL: all. */
static int32_t best_among(const float *logits, const int32_t *ids, size_t n)
{
	int32_t best = -1;
	float top = -INFINITY;
	for (size_t i = 0; i < n; i++) {
		int32_t id = ids ? ids[i] : (int32_t)i;
		if (logits[id] < top || !isfinite(logits[id]) || (logits[id] == top && id > best)) continue; /* mostly the first */
		top = logits[id];
		best = id;
	}
	return best;
}

int32_t sample_best(const float *logits, size_t vocab)
{
	return best_among(logits, NULL, vocab);
}

int32_t sample_best_of(const struct sample_row *row, const int32_t *ids, size_t n)
{
	const float *logits;
	for (size_t c = 0; c < row->n; c++)
		for (size_t i = 0; i < n; i++)
			if (ids[i] == row->ids[c]) return ids[i];
	logits = row->all ? NULL : sample_logits(row);
	return logits ? best_among(logits, ids, n) : -1;
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

static int is_part(const struct sampler *s)
{
	return s->floor > -INFINITY;
}

/* What all ids weigh, at least and at most; the n in the heap array are all of them, or in part. */
static void weigh(const struct sampler *s, const struct sample_draw *d, size_t n, float best, double *least, double *most)
{
	const int known = d->row.sum > 0 && (d->p->repeat_penalty == 1 || d->recent_n == 0);
	double total = 0;
	if (is_part(s)) {
		*least = known ? d->row.sum / (1 + d->row.slack) : 0;
		*most = known ? d->row.sum / (1 - d->row.slack) : INFINITY;
		return;
	}
	for (size_t i = 0; i < n; i++) total += weight(s, s->heap[i], best);
	*least = *most = total;
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

/* The same from the likeliest on. */
static int32_t draw_in_order(struct sampler *s, const struct sample_draw *d, size_t n)
{
	double u = next_uniform(d->rng), least, most;
	float best;
	heap_make(s, s->heap, n);
	best = s->logits[s->heap[0]];
	weigh(s, d, n, best, &least, &most);
	least *= u;
	most *= u;
	while (n) {
		double w;
		pop_top(s, s->heap, &n);
		if (s->logits[s->heap[n]] <= s->floor) return UNTOLD;
		w = weight(s, s->heap[n], best);
		if ((most -= w) < 0) return s->heap[n];
		if ((least -= w) < 0) return UNTOLD;
	}
	return s->heap[0];
}

static int has_filters(const struct sampler *s, const struct gen_params *p, size_t n)
{
	return (p->top_k > 0 && ((size_t)p->top_k < n || is_part(s))) || p->top_p < 1 || p->min_p > 0;
}

/* How many of the n ids of the heap array the filters keep: they stand at its end, best last. *sum: of their weights. 0: untold. */
static size_t filter(struct sampler *s, const struct sample_draw *d, size_t n, double *sum)
{
	const struct gen_params *p = d->p;
	size_t left = n, kept = 0, k = p->top_k > 0 && (size_t)p->top_k < n ? (size_t)p->top_k : n;
	double least = 0, most;
	float best;
	heap_make(s, s->heap, n);
	best = s->logits[s->heap[0]];
	if (k < n) { /* top-p is a share of what top-k left */
		while (left > n - k) pop_top(s, s->heap, &left);
		if (s->logits[s->heap[left]] <= s->floor) return 0;
		for (size_t i = left; i < n; i++) least += weight(s, s->heap[i], best);
		most = least;
	} else weigh(s, d, n, best, &least, &most);
	if (is_part(s) && k == n) {
		if (p->top_k > 0) least = 0;              /* of what top-k leaves, not of all */
		if (p->top_p >= 1 && p->min_p < MIN_P_LEAST) return 0;
		if (p->top_p >= 1) least = most = INFINITY; /* min-p ends them */
	}
	for (*sum = 0; kept < k; kept++) {
		double w;
		if (left == n - kept) pop_top(s, s->heap, &left);
		if (s->logits[s->heap[n - 1 - kept]] <= s->floor) return 0;
		w = weight(s, s->heap[n - 1 - kept], best);
		if (kept && (w < (double)p->min_p || *sum >= (double)p->top_p * most)) break;
		if (kept && *sum >= (double)p->top_p * least) return 0;
		*sum += w;
	}
	return kept;
}

static int32_t draw(struct sampler *s, const struct sample_draw *d, size_t n)
{
	double sum;
	size_t kept;
	if (!has_filters(s, d->p, n)) return d->row.ids ? draw_in_order(s, d, n) : draw_any(s, d->rng, n);
	kept = filter(s, d, n, &sum);
	if (!kept) return UNTOLD;
	sum *= next_uniform(d->rng);
	for (size_t i = 1; i < kept; i++)
		if ((sum -= weight(s, s->heap[n - i], s->logits[s->heap[n - 1]])) < 0) return s->heap[n - i];
	return s->heap[n - kept];
}

static float penalised(float logit, const struct gen_params *p)
{
	return logit > 0 ? logit / p->repeat_penalty : logit * p->repeat_penalty;
}

/* The working copy, penalised for so many recent tokens and divided by the temperature, and the ids of what is finite in the heap array;
 * how many. */
static size_t fill_whole(struct sampler *s, const float *logits, const struct sample_draw *d, size_t recent_n, float temperature)
{
	size_t have = 0;
	memcpy(s->logits, logits, s->vocab * sizeof *logits);
	for (size_t i = 0; i < recent_n && d->p->repeat_penalty != 1; i++) s->logits[d->recent[i]] = penalised(logits[d->recent[i]], d->p);
	for (size_t i = 0; i < s->vocab; i++) {
		s->logits[i] /= temperature;
		if (isfinite(s->logits[i])) s->heap[have++] = (int32_t)i;
	}
	s->floor = -INFINITY;
	return have;
}

/* The same of candidates alone, with the floor of all others; 0: untold. */
static size_t fill_part(struct sampler *s, const struct sample_draw *d, float temperature)
{
	const struct sample_row *row = &d->row;
	const size_t recent_n = d->p->repeat_penalty == 1 ? 0 : d->recent_n;
	if (row->n == 0 || (row->all && d->p->temperature > 0)) return 0; /* to the last bit sums follow the whole row's order */
	if (recent_n && d->p->repeat_penalty < 1) return 0;               /* others may rise over them */
	for (size_t i = 0; i < row->n; i++) s->logits[row->ids[i]] = 0;
	for (size_t i = 0; i < recent_n; i++) s->logits[d->recent[i]] = NAN;
	for (size_t i = 0; i < row->n; i++) {
		float *to = &s->logits[row->ids[i]];
		*to = (isnan(*to) ? penalised(row->top[i], d->p) : row->top[i]) / temperature;
		if (!isfinite(*to)) return 0;
		s->heap[i] = row->ids[i];
	}
	s->floor = row->all ? -INFINITY : row->top[row->n - 1] / temperature;
	return row->n;
}

static int is_greedy(const struct gen_params *p)
{
	return p->temperature <= 0;
}

static int32_t next_of_part(struct sampler *s, const struct sample_draw *d)
{
	size_t have;
	if (is_greedy(d->p) && (d->p->repeat_penalty == 1 || d->recent_n == 0) && d->row.n) return d->row.ids[0];
	have = fill_part(s, d, is_greedy(d->p) ? 1 : d->p->temperature);
	if (have == 0) return UNTOLD;
	if (!is_greedy(d->p)) return draw(s, d, have);
	heap_make(s, s->heap, have);
	return s->logits[s->heap[0]] > s->floor ? s->heap[0] : UNTOLD;
}

static int32_t next_of_whole(struct sampler *s, const struct sample_draw *d, const float *logits)
{
	size_t have;
	if (is_greedy(d->p) && (d->p->repeat_penalty == 1 || d->recent_n == 0)) return sample_best(logits, s->vocab);
	have = fill_whole(s, logits, d, d->recent_n, is_greedy(d->p) ? 1 : d->p->temperature);
	if (is_greedy(d->p)) return sample_best(s->logits, s->vocab);
	/* a temperature near 0 may overflow: its limit is greedy */
	if (have == 0) return sample_best(logits, s->vocab);
	return draw(s, d, have);
}

int32_t sample_next(struct sampler *s, const struct sample_draw *d)
{
	const struct sample_rng was = *d->rng;
	const float *logits;
	int32_t id = UNTOLD;
	s->first_n = s->rest_n = 0;
	s->more = 0;
	if (d->row.ids) id = next_of_part(s, d);
	if (id != UNTOLD) return id;
	*d->rng = was;
	logits = sample_logits(&d->row);
	return logits ? next_of_whole(s, d, logits) : -1;
}

/* A heap of n ids without one. */
static size_t heap_without(const struct sampler *s, int32_t *heap, size_t n, int32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (heap[i] == id) heap[i] = heap[--n];
	heap_make(s, heap, n);
	return n;
}

/* The heaps of sample_rest, from the whole row or (logits NULL) from candidates; 0: untold. */
static int rest_fill(struct sampler *s, const float *logits)
{
	const struct sample_draw *d = &s->draw;
	const float temperature = d->p->temperature;
	size_t have = 0, kept = 0;
	double sum;
	if (temperature > 0) have = logits ? fill_whole(s, logits, d, d->recent_n, temperature) : fill_part(s, d, temperature);
	if (have && has_filters(s, d->p, have)) kept = filter(s, d, have, &sum);
	else if (have && logits) kept = have;
	else if (logits) have = fill_whole(s, logits, d, temperature > 0 ? 0 : d->recent_n, 1);
	else if (temperature <= 0) have = fill_part(s, d, 1);
	if (!logits && (temperature > 0 ? !kept : !have)) return 0;
	s->first = s->heap + (have - kept);
	for (size_t i = 0; i < kept; i++) s->logits[s->first[i]] -= (float)log(-log(next_uniform(d->rng)));
	s->first_n = heap_without(s, s->first, kept, s->refused);
	s->rest_n = heap_without(s, s->heap, have - kept, s->refused);
	s->more = is_part(s);
	return 1;
}

static int32_t rest_take(struct sampler *s)
{
	int32_t *heap = s->first_n ? s->first : s->heap;
	size_t *n = s->first_n ? &s->first_n : &s->rest_n;
	if (!*n) return -1;
	pop_top(s, heap, n);
	return heap[*n];
}

/* From the whole row, with the random numbers that were drawn; behind those that the candidates gave. */
static void rest_whole(struct sampler *s)
{
	const float *logits = sample_logits(&s->draw.row);
	*s->draw.rng = s->rng;
	s->first_n = s->rest_n = 0;
	s->more = 0;
	if (logits) (void)rest_fill(s, logits);
	for (size_t i = 0; i < s->given; i++) (void)rest_take(s);
}

void sample_rest(struct sampler *s, const struct sample_draw *d, int32_t refused)
{
	s->draw = *d;
	s->rng = *d->rng;
	s->refused = refused;
	s->given = 0;
	if (!d->row.ids || !rest_fill(s, NULL)) rest_whole(s);
}

int32_t sample_another(struct sampler *s)
{
	int32_t id;
	if (s->more && !s->first_n && (!s->rest_n || s->logits[s->heap[0]] <= s->floor)) rest_whole(s);
	id = rest_take(s);
	s->given += id >= 0;
	return id;
}
