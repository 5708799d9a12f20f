/* score.c: evaluation figures (score.h). nDCG with linear gains and log2 discount (Järvelin & Kekäläinen 2002, as
 * trec_eval computes it), recall and MRR at k, SQuAD's normalised containment and token F1 (Rajpurkar et al. 2016).
 * Threads: pure functions. Failure: only memory. */
#include "api/score.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/unicode.h"
#include "base/utf8.h"

static int descending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x < y) - (x > y);
}

static int ascending(const void *a, const void *b)
{
	return -descending(a, b);
}

double score_ndcg(const double *gains, size_t n, const double *ideal, size_t ideal_n, size_t k)
{
	double dcg = 0, best = 0, sorted[1024];
	size_t m = ideal_n < 1024 ? ideal_n : 1024;
	memcpy(sorted, ideal, m * sizeof *sorted);
	qsort(sorted, m, sizeof *sorted, descending);
	for (size_t i = 0; i < n && i < k; i++) dcg += gains[i] / log2((double)i + 2);
	for (size_t i = 0; i < m && i < k; i++) best += sorted[i] / log2((double)i + 2);
	return best > 0 ? dcg / best : 0;
}

double score_recall(const double *gains, size_t n, size_t relevant, size_t k)
{
	size_t found = 0;
	for (size_t i = 0; i < n && i < k; i++) found += gains[i] > 0;
	return relevant ? (double)found / (double)relevant : 0;
}

double score_mrr(const double *gains, size_t n, size_t k)
{
	for (size_t i = 0; i < n && i < k; i++)
		if (gains[i] > 0) return 1 / (double)(i + 1);
	return 0;
}

static int is_article(const char *s, size_t len)
{
	return (len == 1 && s[0] == 'a') || (len == 2 && memcmp(s, "an", 2) == 0) || (len == 3 && memcmp(s, "the", 3) == 0);
}

char *score_normalise(struct arena *a, const char *text, size_t len)
{
	char *out = arena_alloc(a, 3 * len + 3);
	size_t n = 1, word = 1, i = 0;
	if (!out) return NULL;
	out[0] = ' ';
	while (i <= len) {
		int32_t cp = i < len ? utf8_next(text, len, &i) : (i++, ' ');
		if (cp < 0 || (cp < 128 && ispunct(cp))) continue;
		if (!uni_is_white_space((uint32_t)cp)) {
			n += utf8_put(out + n, uni_tolower((uint32_t)cp));
			continue;
		}
		if (is_article(out + word, n - word)) n = word;
		if (n > word) out[n++] = ' ';
		word = n;
	}
	out[n] = 0;
	return out;
}

char *score_unmark(struct arena *a, const char *text, size_t len)
{
	char *out = arena_alloc(a, len + 1);
	size_t n = 0, i = 0;
	while (out && i < len) {
		size_t j = i + 1;
		while (text[i] == '[' && j < len && isdigit((unsigned char)text[j])) j++;
		if (text[i] == '[' && j > i + 1 && j < len && text[j] == ']') i = j + 1;
		else out[n++] = text[i++];
	}
	if (out) out[n] = 0;
	return out;
}

int score_contains(const char *normal_text, const char *normal_gold)
{
	return normal_gold[0] && normal_gold[1] && strstr(normal_text, normal_gold) != NULL;
}

/* Walks " a b c ": the next token, 0 at the end. */
static size_t token_next(const char **s, const char **token)
{
	while (**s == ' ') (*s)++;
	*token = *s;
	while (**s && **s != ' ') (*s)++;
	return (size_t)(*s - *token);
}

static size_t token_count(const char *s, const char *want, size_t want_len)
{
	const char *t;
	size_t n = 0;
	for (size_t len; (len = token_next(&s, &t));) n += !want || (len == want_len && memcmp(t, want, len) == 0);
	return n;
}

double score_f1(const char *normal_a, const char *normal_b)
{
	size_t na = token_count(normal_a, NULL, 0), nb = token_count(normal_b, NULL, 0), common = 0, len;
	const char *t, *s = normal_a;
	if (na == 0 || nb == 0) return na == nb;
	while ((len = token_next(&s, &t))) {
		const char *head = t; /* occurrences of this token in a up to here, to count each pair once */
		size_t before = 0;
		for (const char *x = normal_a, *y; x < head;) {
			size_t l = token_next(&x, &y);
			if (y < head && l == len && memcmp(y, t, len) == 0) before++;
		}
		common += before < token_count(normal_b, t, len);
	}
	if (!common) return 0;
	double p = (double)common / (double)na, r = (double)common / (double)nb;
	return 2 * p * r / (p + r);
}

double score_quantile(double *values, size_t n, double p)
{
	if (!n) return 0;
	qsort(values, n, sizeof *values, ascending);
	size_t i = (size_t)ceil(p * (double)n);
	return values[i ? i - 1 : 0];
}
