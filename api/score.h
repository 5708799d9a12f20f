/* score.h: the figures of `footnote eval` (contract, section 6): pure functions over ranks and texts.
 * Texts are compared as SQuAD does: lower case, no ASCII punctuation, no articles, single blanks. */
#ifndef API_SCORE_H
#define API_SCORE_H
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

/* gains[i]: relevance of the i-th result (0: none), n results; ideal: relevances of all relevant documents, any order. */
double score_ndcg(const double *gains, size_t n, const double *ideal, size_t ideal_n, size_t k);
double score_recall(const double *gains, size_t n, size_t relevant, size_t k); /* relevant found among the first k ÷ relevant */
double score_mrr(const double *gains, size_t n, size_t k);

/* " word word " form, blanks at both ends; NULL out of memory. */
char *score_normalise(struct arena *a, const char *text, size_t len);
/* The answer's text without its [1] marks. */
char *score_unmark(struct arena *a, const char *text, size_t len);
int score_contains(const char *normal_text, const char *normal_gold); /* gold as a token sequence; 0 for an empty gold */
double score_f1(const char *normal_a, const char *normal_b);          /* of token multisets, 0 … 1 */
/* p-quantile of values (sorted in place), p 0 … 1; 0 when n is 0. */
double score_quantile(double *values, size_t n, double p);

#endif
