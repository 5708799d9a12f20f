/* verify.c: support of a written sentence by a sentence of a document (verify.h).
 *
 * What a claim adds to the question (its content words that the question lacks, weighted by rarity) must stand in the
 * unit; words that stand only in the unit's neighbours count half, for a pronoun in the unit may stand for them. What
 * it repeats from the question counts less, and the cosine of both sentences a little. A claim that adds nothing is no
 * answer to a question that asks who, what or how; it is one to "is …?". A number that is neither in the
 * unit nor in the question breaks the claim, and so does a negation on one side only.
 * Where there is a reader model it reads the claim with the units that look most like it, each with its neighbours; where
 * it sees no entailment the score falls in proportion to its log-odds. It only takes away: by itself it tells faithful
 * sentences from others less well than words do (EVALUATION.md).
 * Threads: none of its own. Failure: memory and the embedder. */
#include "api/verify.h"
#include <math.h>

enum { NEAR = 2, ENTAILED_MAX = 6 }; /* neighbours on each side that may resolve a pronoun; units that the reader reads */
static const double ODDS_MAX = 6, UNENTAILED_PENALTY = 0.04; /* a unit of log-odds */
static const double NUMBER_PENALTY = 0.3, NEGATION_PENALTY = 0.6, SECOND_SHARE = 0.3, NAMED_SHARE = 0.67;

static int near_have(const struct selection *sel, size_t u, uint64_t stem)
{
	size_t lo = u > NEAR ? u - NEAR : 0, hi = u + NEAR < sel->unit_n ? u + NEAR : sel->unit_n - 1;
	for (size_t i = lo; i <= hi; i++)
		if (i != u && sel->units[i].passage == sel->units[u].passage && select_has(&sel->units[i], stem)) return 1;
	return 0;
}

static int has_negation(const struct word *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (w[i].negation) return 1;
	return 0;
}

/* The question wants more than yes or no. */
static int asks_openly(const struct selection *sel)
{
	for (size_t i = 0; i < sel->question_n; i++)
		if (sel->question[i].asks) return 1;
	return 0;
}

/* By words, numbers, negation and embedding: 0 … 1. */
static double words_support(const struct selection *sel, const struct claim *c, size_t u)
{
	const struct unit *x = &sel->units[u];
	double new_all = 0, new_have = 0, old_all = 0, old_have = 0, cosine = 0, score;
	int wrong_number = 0;
	for (size_t i = 0; i < c->word_n; i++) {
		const struct word *w = &c->words[i];
		double weight = select_weight(sel, w);
		int in_unit = select_has(x, w->stem), asked = words_have(sel->question, sel->question_n, w->stem);
		double have = in_unit ? 1 : near_have(sel, u, w->stem) ? 0.5 : 0;
		if (w->number && !in_unit && !asked) wrong_number = 1;
		*(asked ? &old_all : &new_all) += weight;
		*(asked ? &old_have : &new_have) += weight * have;
	}
	cosine = select_cosine(sel, c->vec, x->vec);
	if (cosine < 0) cosine = 0;
	double old_share = old_all > 0 ? old_have / old_all : 1;
	if (new_all > 0) score = 0.6 * (new_have / new_all) + 0.2 * old_share + 0.2 * cosine;
	else score = asks_openly(sel) ? 0 : 0.6 * (old_all > 0 ? old_share : 0) + 0.4 * cosine;
	if (wrong_number) score *= NUMBER_PENALTY;
	if (has_negation(c->words, c->word_n) && !has_negation(x->words, x->word_n)) score *= NEGATION_PENALTY;
	return score > 1 ? 1 : score;
}

double verify_support(const struct selection *sel, const struct claim *c, size_t u)
{
	double score = words_support(sel, c, u);
	if (c->entailed && c->entailed[u] < 0) score += UNENTAILED_PENALTY * (double)c->entailed[u];
	return score > 0 ? score : 0;
}

/* Unit u with those beside it in its passage, as they stand in the document; a row by itself, its columns named. */
static struct reader_pair pair_of(const struct selection *sel, const struct claim *c, size_t u)
{
	size_t from = u, to = u;
	const struct unit *x = &sel->units[u];
	if (x->row && x->row->named) return (struct reader_pair){ .first = c->text, .first_len = c->len, .text = x->said, .len = x->said_len };
	if (u > 0 && sel->units[u - 1].passage == sel->units[u].passage && sel->units[u - 1].text < sel->units[u].text) from--;
	if (u + 1 < sel->unit_n && sel->units[u + 1].passage == sel->units[u].passage && sel->units[u + 1].text > sel->units[u].text) to++;
	const char *text = sel->units[from].text, *end = sel->units[to].text + sel->units[to].len;
	return (struct reader_pair){ .first = c->text, .first_len = c->len, .text = text, .len = (size_t)(end - text) };
}

/* Has the reader read the claim with the units that by words support it best. */
static int claim_entail(const struct selection *sel, struct claim *c, struct arena *a, struct err *e)
{
	struct reader_pair pairs[ENTAILED_MAX];
	struct reader_verdict v[ENTAILED_MAX];
	size_t best[ENTAILED_MAX], n = 0;
	double scores[ENTAILED_MAX];
	float *odds = arena_alloc(a, (sel->unit_n + 1) * sizeof *odds);
	if (!odds) return err_set(e, E_MEMORY, "answer: out of memory");
	for (size_t u = 0; u < sel->unit_n; u++) {
		odds[u] = NAN;
		double x = sel->units[u].mute ? 0 : words_support(sel, c, u);
		if (x <= 0 || (n == ENTAILED_MAX && x <= scores[n - 1])) continue;
		size_t i = n < ENTAILED_MAX ? n++ : n - 1;
		for (; i > 0 && x > scores[i - 1]; i--) scores[i] = scores[i - 1], best[i] = best[i - 1];
		scores[i] = x;
		best[i] = u;
	}
	for (size_t i = 0; i < n; i++) pairs[i] = pair_of(sel, c, best[i]);
	int rc = n ? reader_support(sel->reader, pairs, n, v, e) : OK;
	for (size_t i = 0; !rc && i < n; i++) {
		double x = v[i].supported - log(exp((double)v[i].unsaid) + exp((double)v[i].contradicted));
		odds[best[i]] = (float)fmax(-ODDS_MAX, fmin(ODDS_MAX, x));
	}
	c->entailed = odds;
	return rc;
}

int claim_make(const struct selection *sel, const char *text, size_t len, struct arena *a, struct claim *out, struct err *e)
{
	struct embed_text t = { text, len };
	struct word *w;
	float *vec = arena_alloc(a, (size_t)(sel->dim + 1) * sizeof *vec);
	if (!vec) return err_set(e, E_MEMORY, "answer: out of memory");
	*out = (struct claim){ .text = text, .len = len, .vec = vec };
	int rc = words_of(text, len, a, &w, &out->word_n, e);
	if (!rc && sel->dim) rc = embedder_encode(sel->embedder, &t, 1, EMBED_PASSAGE, EMBED_FIRST, vec, e);
	if (rc) return rc;
	out->words = w;
	return sel->reader ? claim_entail(sel, out, a, e) : OK;
}

size_t verify_best(const struct selection *sel, const struct claim *c, size_t passage, double *score)
{
	size_t best = (size_t)-1;
	*score = 0;
	for (size_t u = 0; u < sel->unit_n; u++) {
		if (sel->units[u].mute || (passage != (size_t)-1 && sel->units[u].passage != passage)) continue;
		double s = verify_support(sel, c, u);
		if (best != (size_t)-1 && s <= *score) continue;
		best = u;
		*score = s;
	}
	return best;
}

/* The share of an answer's words, function words aside, that the claim has; 1 for an answer of function words. */
static double named(const struct unit *x, struct span answer, const struct claim *c)
{
	size_t from = answer.off - x->range.off, to = from + answer.len, all = 0, have = 0;
	for (size_t i = 0; i < x->word_n; i++) {
		const struct word *w = &x->words[i];
		if (w->stop || w->off < from || w->off + w->len > to) continue;
		all++;
		have += (size_t)words_have(c->words, c->word_n, w->stem);
	}
	return all ? (double)have / (double)all : 1;
}

int verify_names_other(const struct selection *sel, const struct claim *c)
{
	for (size_t i = 0; i < sel->lead_n; i++) {
		const struct unit *x = &sel->units[sel->order[i]];
		if (!x->answer_n || x->answers[0].logit <= 0 || named(x, x->answers[0].range, c) >= NAMED_SHARE) return 0;
	}
	return sel->lead_n > 0;
}

/* Claim and unit both speak of numbers, and of no common one. */
static int other_numbers(const struct claim *c, const struct unit *x)
{
	int claimed = 0, has = 0;
	for (size_t i = 0; i < c->word_n; i++) {
		claimed |= c->words[i].number;
		if (c->words[i].number && words_have(x->words, x->word_n, c->words[i].stem)) return 0;
	}
	for (size_t i = 0; i < x->word_n; i++) has |= x->words[i].number;
	return claimed && has;
}

size_t verify_second(const struct selection *sel, const struct claim *c, size_t u)
{
	double all = 0, missing = 0, best_gain = 0;
	size_t best = (size_t)-1;
	for (size_t i = 0; i < c->word_n; i++) {
		double w = words_have(sel->question, sel->question_n, c->words[i].stem) ? 0 : select_weight(sel, &c->words[i]);
		all += w;
		if (!select_has(&sel->units[u], c->words[i].stem)) missing += w;
	}
	if (all <= 0 || missing < SECOND_SHARE * all) return best;
	for (size_t x = 0; x < sel->unit_n; x++) {
		double gain = 0;
		size_t gained = 0;
		if (x == u || sel->units[x].mute || !sel->units[x].chosen) continue;
		for (size_t i = 0; i < c->word_n; i++) {
			const struct word *w = &c->words[i];
			if (words_have(sel->question, sel->question_n, w->stem) || select_has(&sel->units[u], w->stem)) continue;
			if (!select_has(&sel->units[x], w->stem)) continue;
			gain += select_weight(sel, w);
			gained++;
		}
		/* "euros" alone comes from any price */
		if (gain <= best_gain || (gained < 2 && other_numbers(c, &sel->units[x]))) continue;
		best_gain = gain;
		best = x;
	}
	return best_gain >= SECOND_SHARE * all ? best : (size_t)-1;
}
