/* Evaluation figures against values worked out by hand. */
#include "api/score.h"
#include <math.h>
#include "tests/test.h"

#define CHECK_NEAR(got, want) CHECK_MSG(fabs((got) - (want)) < 1e-9, "%s is %.10f, want %.10f", #got, (double)(got), (double)(want))

TEST(score_ranks)
{
	double gains[] = { 0, 1, 0, 2 }, ideal[] = { 1, 2, 1 };
	double dcg = 1 / log2(3) + 2 / log2(5), best = 2 / log2(2) + 1 / log2(3) + 1 / log2(4);
	CHECK_NEAR(score_ndcg(gains, 4, ideal, 3, 10), dcg / best);
	CHECK_NEAR(score_ndcg(gains, 4, ideal, 3, 2), (1 / log2(3)) / (2 + 1 / log2(3)));
	CHECK_NEAR(score_ndcg(gains, 0, ideal, 3, 10), 0);
	CHECK_NEAR(score_recall(gains, 4, 3, 10), 2.0 / 3);
	CHECK_NEAR(score_recall(gains, 4, 3, 2), 1.0 / 3);
	CHECK_NEAR(score_mrr(gains, 4, 10), 0.5);
	CHECK_NEAR(score_mrr(gains, 4, 1), 0);
}

TEST(score_texts)
{
	struct arena a;
	arena_init(&a, 1 << 20);
	CHECK_STR(score_normalise(&a, "The  U.S. Army, an A-team!", 26), " us army ateam ");
	CHECK_STR(score_normalise(&a, "the", 3), " ");
	CHECK_STR(score_unmark(&a, "Five days. [1][12] See a[i] [x].", 32), "Five days.  See a[i] [x].");
	char *text = score_normalise(&a, "It was founded in 1912.", 23);
	CHECK_INT(score_contains(text, score_normalise(&a, "1912", 4)), 1);
	CHECK_INT(score_contains(text, score_normalise(&a, "912", 3)), 0);
	CHECK_INT(score_contains(text, score_normalise(&a, "the", 3)), 0);
	CHECK_NEAR(score_f1(" a b b ", " b b c "), 2.0 * (2.0 / 3) * (2.0 / 3) / (4.0 / 3));
	CHECK_NEAR(score_f1(" x ", " y "), 0);
	CHECK_NEAR(score_f1(" x y ", " x y "), 1);
	arena_clear(&a);
}

TEST(score_quantiles)
{
	double v[] = { 5, 1, 4, 2, 3 };
	CHECK_NEAR(score_quantile(v, 5, 0.5), 3);
	CHECK_NEAR(score_quantile(v, 5, 0.95), 5);
	CHECK_NEAR(score_quantile(v, 0, 0.5), 0);
}
