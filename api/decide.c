/* decide.c: the confidence of an answer (decide.h).
 *
 * A logistic regression of "the best unit holds what was asked", and of "what was written does", on the evidence (Platt 1999
 * for the idea of it), one row of weights for each state of knowledge: with and without the reader model, with and without
 * the generator's judgement, before writing, when it has begun, and after it. tests/eval/fit_confidence.py makes the weights
 * from questions whose answers are known and tells how well they hold on articles that were not fitted; EVALUATION.md has
 * its figures.
 * The judge counts twice what the likelihood gives it (--judge-weight 2): on the fitted questions as many near misses are
 * refused, and more of those that were written to mislead. Where it has a say, questions that mislead about a paragraph which
 * is not there were left out of the fit: they are the easier ones. Rows without it are fitted on all: alone, evidence that is
 * counted tells little of such questions, and should doubt sooner.
 * Threads: pure functions. Failure: none. */
#include "api/decide.h"
#include <math.h>
#include <string.h>
#include <strings.h>

struct weights { double bias, margin, cosine, coverage, span, answerable, judge, support, refusal; };
enum { READ = 1, JUDGED = 2, BEFORE = 0, BEGUN = 4, WRITTEN = 8 };
static const struct weights table[12] = {
	[BEFORE] = { .bias = -4.17, .cosine = 4.07, .coverage = 2.90 },
	[BEFORE | READ] = { .bias = -3.53, .cosine = 2.80, .coverage = 1.40, .margin = 0.22, .span = 0.09,
		.answerable = 0.15 },
	[BEFORE | JUDGED] = { .bias = -3.87, .cosine = 2.14, .coverage = 1.29, .judge = 1.51 },
	[BEFORE | READ | JUDGED] = { .bias = -3.70, .cosine = 1.71, .coverage = 0.50, .margin = 0.19, .span = 0.05,
		.answerable = 0.05, .judge = 1.41 },
	[BEGUN] = { .bias = -4.26, .cosine = 3.81, .coverage = 2.65, .refusal = -0.37 },
	[BEGUN | READ] = { .bias = -3.71, .cosine = 2.81, .coverage = 1.32, .margin = 0.23, .span = 0.08,
		.answerable = 0.12, .refusal = -0.24 },
	[BEGUN | JUDGED] = { .bias = -3.87, .cosine = 2.14, .coverage = 1.29, .judge = 1.50, .refusal = -0.01 },
	[BEGUN | READ | JUDGED] = { .bias = -3.69, .cosine = 1.70, .coverage = 0.50, .margin = 0.18, .span = 0.05,
		.answerable = 0.05, .judge = 1.42, .refusal = 0.02 },
	[WRITTEN] = { .bias = -6.12, .cosine = 1.70, .coverage = 2.66, .refusal = -0.36, .support = 3.49 },
	[WRITTEN | READ] = { .bias = -4.61, .cosine = 0.70, .coverage = 1.56, .margin = 0.15, .span = 0.10,
		.answerable = 0.11, .refusal = -0.21, .support = 2.52 },
	[WRITTEN | JUDGED] = { .bias = -5.14, .cosine = 0.66, .coverage = 1.40, .judge = 1.25, .refusal = -0.01,
		.support = 2.59 },
	[WRITTEN | READ | JUDGED] = { .bias = -4.40, .cosine = 0.18, .coverage = 0.87, .margin = 0.11, .span = 0.06,
		.answerable = 0.04, .judge = 1.13, .refusal = 0.01, .support = 2.07 },
};

/* Generators whose judgement was held against known answers, by the beginning of their names. */
static const struct { const char *name; struct judge_scale scale; } judges[] = {
	{ "qwen2.5-coder-1.5b", { 1, 0 } },
	{ "qwen2.5-coder-0.5b", { 0.305, 1.299 } },
};

int decide_judge(const struct conf *conf, const char *name, struct judge_scale *out)
{
	*out = (struct judge_scale){ conf->answer_judge_scale, conf->answer_judge_shift };
	if (!strcmp(conf->answer_judge, "own")) return 1;
	for (size_t i = 0; i < sizeof judges / sizeof *judges && !strcmp(conf->answer_judge, "auto"); i++) {
		if (strncasecmp(name, judges[i].name, strlen(judges[i].name))) continue;
		*out = judges[i].scale;
		return 1;
	}
	return 0;
}

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
	double x = w->bias + w->margin * e->margin + w->cosine * e->cosine + w->coverage * e->coverage +
		w->span * e->span + w->answerable * e->answerable + w->judge * e->judge +
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
