/* decide.h: is the answer there? What is known of a question's passages and of what was written, and the probability that
 * the answer is right which follows from it. Thread: any, pure functions. */
#ifndef API_DECIDE_H
#define API_DECIDE_H
#include "api/conf.h"
#include "api/select.h"

struct evidence {                    /* figures of the best unit, unless said otherwise; 0 where unknown */
	int looked;                  /* decide_look has filled it */
	int read;                    /* the reader model has read the passages */
	int judged;                  /* the generator was asked whether the passage answers the question */
	double score, margin;        /* of select.h; and how far the next unit is behind, at most EVIDENCE_MARGIN_MAX */
	double cosine, coverage, passage; /* of select.h; the passage's cosine */
	double span;                 /* the reader's logit of the answer in it; EVIDENCE_NO_SPAN: it sees none */
	double answerable, relevance;/* the reader's logits of its passage */
	double judge;                /* the generator's log-odds of yes against no, as decide_judge takes them */
	double support;              /* lowest support of a written sentence, 0 … 1 */
	double refusal;              /* the generator's log-odds of refusing as it began to write */
};
enum { EVIDENCE_MARGIN_MAX = 8, EVIDENCE_NO_SPAN = -8 };

/* What the selection tells; a selection without units gives zeros. */
void decide_look(const struct selection *sel, const struct retrieval *r, struct evidence *out);
/* How a generator's log-odds of yes against no become those of the generator that the weights are fitted with. */
struct judge_scale { double scale, shift; };
/* The scale for the generator of that name (generator_info's), by conf's answer.judge; 0: it is not to be asked. */
int decide_judge(const struct conf *conf, const char *name, struct judge_scale *out);
/* Probability, 0 … 1, that an answer from the best unit is right: before anything is written; when the generator has begun
 * and its inclination to refuse is known; and of what was written. */
double decide_before(const struct evidence *e);
double decide_begun(const struct evidence *e);
double decide_after(const struct evidence *e);

#endif
