/* decide.c: the confidence of an answer (decide.h).
 *
 * A logistic regression of "the answer holds what was asked" on the evidence (Platt 1999 for the idea of it), one row of
 * weights for each state of knowledge: with and without the reader model, with and without the generator's judgement,
 * before writing, when it has begun, and after it. tests/eval/fit_confidence.py makes the weights from questions whose answers are known and
 * tells how well they hold on articles that were not fitted; EVALUATION.md has its figures.
 * Threads: pure functions. Failure: none. */
#include "api/decide.h"
#include <math.h>

struct weights { double bias, score, margin, cosine, coverage, span, answerable, relevance, judge, support, refusal; };
enum { READ = 1, JUDGED = 2, BEFORE = 0, BEGUN = 4, WRITTEN = 8 };
static const struct weights table[12] = {
	[BEFORE] = { .bias = -3.2, .cosine = 2.3, .coverage = 1.8, .score = 0.1 },
	[BEFORE | READ] = { .bias = -1.5, .cosine = 0.5, .coverage = 1.0, .span = 0.3, .answerable = 0.3, .relevance = 0.1 },
	[BEFORE | JUDGED] = { .bias = -2.5, .cosine = 1.5, .coverage = 1.5, .judge = 0.6 },
	[BEFORE | READ | JUDGED] = { .bias = -1.5, .cosine = 0.5, .coverage = 0.5, .span = 0.2, .answerable = 0.2, .judge = 0.4 },
	[BEGUN] = { .bias = -3.2, .cosine = 1.5, .coverage = 1.3, .refusal = -0.7 },
	[BEGUN | READ] = { .bias = -1.5, .cosine = 0.5, .coverage = 0.5, .span = 0.2, .answerable = 0.2, .refusal = -0.7 },
	[BEGUN | JUDGED] = { .bias = -2.5, .cosine = 1.5, .coverage = 1.3, .judge = 0.4, .refusal = -0.5 },
	[BEGUN | READ | JUDGED] = { .bias = -1.5, .cosine = 0.5, .coverage = 0.5, .span = 0.2, .answerable = 0.2, .judge = 0.3, .refusal = -0.5 },
	[WRITTEN] = { .bias = -4.1, .cosine = 1.5, .coverage = 1.3, .support = 1.9, .refusal = -0.5 },
	[WRITTEN | READ] = { .bias = -2.5, .cosine = 0.5, .coverage = 0.5, .span = 0.2, .answerable = 0.2, .support = 1.0, .refusal = -0.3 },
	[WRITTEN | JUDGED] = { .bias = -3.5, .cosine = 1.5, .coverage = 1.3, .judge = 0.4, .support = 1.9, .refusal = -0.3 },
	[WRITTEN | READ | JUDGED] = { .bias = -2.5, .cosine = 0.5, .coverage = 0.5, .span = 0.2, .answerable = 0.2, .judge = 0.3, .support = 1.0, .refusal = -0.2 },
};

void decide_look(const struct selection *sel, const struct retrieval *r, struct evidence *out)
{
	*out = (struct evidence){ .looked = 1, .read = sel->read };
	if (!sel->unit_n) return;
	const struct unit *u = &sel->units[sel->order[0]];
	const struct passage *p = &r->passages[u->passage];
	out->score = u->score;
	out->margin = sel->unit_n > 1 ? u->score - sel->units[sel->order[1]].score : EVIDENCE_MARGIN_MAX;
	if (out->margin > EVIDENCE_MARGIN_MAX) out->margin = EVIDENCE_MARGIN_MAX;
	out->cosine = u->cosine;
	out->coverage = u->coverage;
	out->passage = p->cosine;
	out->span = u->answer_n ? u->answers[0].logit : EVIDENCE_NO_SPAN;
	if (!p->reading) return;
	out->answerable = p->reading->answerable;
	out->relevance = p->reading->relevance;
}

static double probability(const struct evidence *e, int stage)
{
	const struct weights *w = &table[stage | (e->read ? READ : 0) | (e->judged ? JUDGED : 0)];
	double x = w->bias + w->score * e->score + w->margin * e->margin + w->cosine * e->cosine + w->coverage * e->coverage +
		w->span * e->span + w->answerable * e->answerable + w->relevance * e->relevance + w->judge * e->judge +
		w->support * e->support + w->refusal * e->refusal;
	return 1 / (1 + exp(-x));
}

double decide_before(const struct evidence *e)
{
	return probability(e, BEFORE);
}

double decide_begun(const struct evidence *e)
{
	return probability(e, BEGUN);
}

double decide_after(const struct evidence *e)
{
	return probability(e, WRITTEN);
}
