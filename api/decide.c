/* decide.c: the confidence of an answer (decide.h).
 *
 * A logistic regression of "the best unit holds what was asked", and of "what was written does", on the evidence (Platt 1999
 * for the idea of it), one row of weights for each state of knowledge: with and without the reader model, with and without
 * the generator's judgement, before writing, when it has begun, and after it. tests/eval/fit_confidence.py makes the weights
 * from questions whose answers are known and tells how well they hold on articles that were not fitted; EVALUATION.md has
 * its figures.
 * The judgement's weight beside the reader model (0.90) was raised from the fitted 0.63: as good on the fitted questions, and
 * better on squad2_cut's, whose best passages are nearer misses.
 * Threads: pure functions. Failure: none. */
#include "api/decide.h"
#include <math.h>
#include <string.h>
#include <strings.h>

struct weights { double bias, margin, cosine, coverage, span, answerable, judge, support, refusal; };
enum { READ = 1, JUDGED = 2, BEFORE = 0, BEGUN = 4, WRITTEN = 8 };
static const struct weights table[12] = {
	[BEFORE] = { .bias = -4.27, .cosine = 4.20, .coverage = 2.82 },
	[BEFORE | READ] = { .bias = -3.54, .cosine = 2.64, .coverage = 1.27,
		.margin = 0.16, .span = 0.12, .answerable = 0.33 },
	[BEFORE | JUDGED] = { .bias = -4.66, .cosine = 3.28, .coverage = 2.24, .judge = 0.80 },
	[BEFORE | READ | JUDGED] = { .bias = -4.50, .cosine = 2.29, .coverage = 1.06,
		.margin = 0.17, .span = 0.09, .answerable = 0.22, .judge = 0.90 },
	[BEGUN] = { .bias = -4.52, .cosine = 4.06, .coverage = 2.56, .refusal = -0.43 },
	[BEGUN | READ] = { .bias = -3.76, .cosine = 2.70, .coverage = 1.25,
		.margin = 0.15, .span = 0.11, .answerable = 0.27, .refusal = -0.25 },
	[BEGUN | JUDGED] = { .bias = -4.70, .cosine = 3.32, .coverage = 2.23, .judge = 0.74, .refusal = -0.11 },
	[BEGUN | READ | JUDGED] = { .bias = -4.52, .cosine = 2.31, .coverage = 1.06,
		.margin = 0.17, .span = 0.09, .answerable = 0.21, .judge = 0.88, .refusal = -0.04 },
	[WRITTEN] = { .bias = -4.56, .cosine = 2.21, .coverage = 1.85, .refusal = -0.34, .support = 1.57 },
	[WRITTEN | READ] = { .bias = -3.51, .cosine = 1.13, .coverage = 0.84,
		.margin = 0.10, .span = 0.11, .answerable = 0.14, .refusal = -0.20, .support = 1.22 },
	[WRITTEN | JUDGED] = { .bias = -4.52, .cosine = 1.56, .coverage = 1.56,
		.judge = 0.56, .refusal = -0.10, .support = 1.45 },
	[WRITTEN | READ | JUDGED] = { .bias = -3.64, .cosine = 0.78,
		.coverage = 0.69, .margin = 0.12, .span = 0.09, .answerable = 0.09, .judge = 0.45, .refusal = -0.04, .support = 1.13 },
};

/* Generators whose judgement was held against known answers, by the beginning of their names. */
static const struct { const char *name; struct judge_scale scale; } judges[] = {
	{ "qwen2.5-coder-1.5b", { 1, 0 } },
	{ "qwen2.5-coder-0.5b", { 1, 0 } },
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
