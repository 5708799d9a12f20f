/* test_fuse.c: both ways to join rankings against their definitions. */
#include <math.h>
#include "index/index.h"
#include "tests/test.h"

static const struct fuse_options plain = { FUSE_RANKS, 60, 1, 1 }, scores = { FUSE_SCORES, 60, 1, 0.5 };

static size_t fuse(const struct vec_hit *vec, size_t vec_n, const struct word_hit *word, size_t word_n, const struct fuse_options *o,
	struct fused_hit *out)
{
	size_t n = fuse_join(vec, vec_n, word, word_n, out);
	fuse_weigh(out, n, o);
	return n;
}

TEST(fuse_by_places_is_the_definition)
{
	struct vec_hit vec[] = { { 5, 0.9f }, { 3, 0.8f }, { 9, 0.1f } };
	struct word_hit word[] = { { 3, 12 }, { 7, 4 } };
	struct fused_hit out[5];
	CHECK_INT(fuse(vec, 3, word, 2, &plain, out), 4);
	CHECK(out[0].chunk_id == 3 && fabs(out[0].score - (1.0 / 62 + 1.0 / 61)) < 1e-15);
	CHECK(out[0].by_vector.rank == 2 && out[0].by_words.rank == 1 && out[0].by_vector.score == 0.8f && out[0].by_words.score == 12);
	CHECK(out[1].chunk_id == 5 && out[1].score == 1.0 / 61 && out[1].by_words.rank == 0 && out[1].by_words.part == 0);
	CHECK(out[2].chunk_id == 7 && out[2].by_vector.rank == 0 && out[2].by_words.rank == 2);
	CHECK(out[3].chunk_id == 9);
	for (int i = 0; i < 4; i++) CHECK(out[i].score == out[i].by_vector.part + out[i].by_words.part);
}

TEST(fuse_by_scores_is_the_definition)
{
	struct vec_hit vec[] = { { 5, 0.9f }, { 3, 0.8f }, { 9, 0.4f } };
	struct word_hit word[] = { { 3, 12 }, { 7, 4 } };
	struct fused_hit out[5];
	CHECK_INT(fuse(vec, 3, word, 2, &scores, out), 4);
	CHECK(out[0].chunk_id == 3 && out[1].chunk_id == 5 && out[2].chunk_id == 7 && out[3].chunk_id == 9);
	CHECK(fabs(out[0].by_vector.part - 0.8) < 1e-6 && out[0].by_words.part == 0.5 && out[1].by_vector.part == 1);
	CHECK(fabs(out[2].by_words.part - 0.5 / 3) < 1e-6 && out[2].by_vector.part == 0 && out[3].score == 0);
	for (int i = 0; i < 4; i++) CHECK(out[i].score == out[i].by_vector.part + out[i].by_words.part);
	CHECK(fuse_most(&scores) == 1.5 && fuse_most(&plain) == 2.0 / 61);
	CHECK_INT(fuse(vec, 1, word, 0, &scores, out), 1);
	CHECK(out[0].score == 1); /* the only one is the best */
	vec[0].score = vec[1].score = 0;
	word[0].score = 0;
	CHECK_INT(fuse(vec, 2, word, 1, &scores, out), 2);
	CHECK(out[0].chunk_id == 3 && out[0].score == 1.5 && out[1].score == 1);
}

TEST(fuse_ties_go_to_meaning)
{
	struct vec_hit vec[] = { { 8, 1 }, { 4, 0.5f } };
	struct word_hit word[] = { { 2, 1 }, { 1, 0.5f } };
	struct fused_hit out[4];
	CHECK_INT(fuse(vec, 2, word, 2, &plain, out), 4);
	CHECK(out[0].chunk_id == 8 && out[1].chunk_id == 2 && out[2].chunk_id == 4 && out[3].chunk_id == 1);
}

TEST(fuse_of_one_list_keeps_its_order)
{
	struct vec_hit vec[50];
	struct word_hit word[50];
	struct fused_hit out[100];
	for (int i = 0; i < 50; i++) {
		vec[i] = (struct vec_hit){ (uint64_t)(i * 37 % 50) + 1, (float)(50 - i) };
		word[i] = (struct word_hit){ (uint64_t)(i * 11 % 50) + 1, (float)(50 - i) };
	}
	CHECK_INT(fuse(vec, 50, NULL, 0, &plain, out), 50);
	for (int i = 0; i < 50; i++) CHECK(out[i].chunk_id == vec[i].chunk_id);
	CHECK_INT(fuse(NULL, 0, word, 50, &plain, out), 50);
	for (int i = 0; i < 50; i++) CHECK(out[i].chunk_id == word[i].chunk_id);
	CHECK_INT(fuse(vec, 50, word, 50, &(struct fuse_options){ FUSE_RANKS, 10, 1, 0 }, out), 50); /* words that count nothing */
	for (int i = 0; i < 50; i++) CHECK(out[i].chunk_id == vec[i].chunk_id && out[i].by_words.rank);
	CHECK_INT(fuse(vec, 50, NULL, 0, &scores, out), 50);
	for (int i = 0; i < 50; i++) CHECK(out[i].chunk_id == vec[i].chunk_id);
	CHECK_INT(fuse(NULL, 0, word, 50, &scores, out), 50);
	for (int i = 0; i < 50; i++) CHECK(out[i].chunk_id == word[i].chunk_id);
	CHECK_INT(fuse(NULL, 0, NULL, 0, &plain, out), 0);
}

TEST(fuse_parts_orders_the_first_anew)
{
	struct vec_hit vec[] = { { 5, 0.9f }, { 3, 0.8f }, { 9, 0.7f } };
	const float near[] = { -0.5f, 0.5f };
	struct fused_hit out[4];
	CHECK_INT(fuse(vec, 3, NULL, 0, &plain, out), 3);
	fuse_parts(out, 3, near, 2, 4);
	CHECK(out[0].chunk_id == 3 && out[0].by_parts.rank == 1 && out[0].by_parts.part == 2 && out[0].score == out[0].by_vector.part + 2);
	CHECK(out[1].chunk_id == 5 && out[1].by_parts.rank == 2 && out[1].by_parts.part == 0 && out[2].by_parts.rank == 0);
	fuse_parts(NULL, 0, NULL, 0, 4);
}

/* What is read moves among itself and never behind what is not. */
TEST(fuse_read_orders_the_first_anew)
{
	struct vec_hit vec[] = { { 5, 0.9f }, { 3, 0.8f }, { 9, 0.7f }, { 4, 0.65f } };
	struct fuse_part parts[] = { { 9, 5 } };
	const float logits[] = { -3, 2, 2 }, low[] = { -90, -90, -90 };
	struct fused_hit out[4];
	CHECK_INT(fuse(vec, 4, NULL, 0, &plain, out), 4);
	fuse_read(out, 4, logits, 3, 1);
	CHECK(out[0].chunk_id == 3 && out[0].by_reader.rank == 1 && out[0].by_reader.score == 2);
	CHECK(out[1].chunk_id == 9 && out[1].by_reader.rank == 2 && out[2].chunk_id == 5 && out[2].by_reader.rank == 3);
	CHECK(out[3].chunk_id == 4 && out[3].by_reader.rank == 0 && out[3].by_reader.part == 0);
	for (int i = 0; i < 4; i++) CHECK(out[i].score == out[i].by_vector.part + out[i].by_words.part + out[i].by_reader.part);
	CHECK(out[0].by_reader.part > 0.88 && out[0].by_reader.part < 0.881); /* 1 / (1 + e^-2) */
	fuse_lift(out, 4, parts, 1);
	CHECK(out[0].chunk_id == 9 && out[0].score == out[0].by_vector.part + out[0].by_reader.part + 5);
	CHECK_INT(fuse(vec, 4, NULL, 0, &plain, out), 4);
	fuse_read(out, 4, low, 3, 1);
	for (int i = 0; i < 4; i++) CHECK(out[i].chunk_id == vec[i].chunk_id);
	fuse_read(out, 4, low, 0, 1);
	fuse_read(NULL, 0, NULL, 0, 1);
}

TEST(fuse_lift_adds_parts_and_orders_anew)
{
	struct vec_hit vec[] = { { 5, 0.9f }, { 3, 0.8f } };
	struct word_hit word[] = { { 3, 12 }, { 7, 4 } };
	struct fuse_part parts[] = { { 7, 0.5 }, { 1, 9 } };
	struct fused_hit out[4];
	CHECK_INT(fuse(vec, 2, word, 2, &plain, out), 3);
	CHECK(out[2].chunk_id == 7 && out[2].exact == 0);
	fuse_lift(out, 3, parts, 2);
	CHECK(out[0].chunk_id == 7 && out[0].exact == 0.5 && out[0].score == out[0].by_words.part + 0.5);
	CHECK(out[1].chunk_id == 3 && out[1].exact == 0 && out[2].chunk_id == 5);
	fuse_lift(out, 3, NULL, 0);
	fuse_lift(NULL, 0, parts, 2);
	CHECK(out[0].chunk_id == 7);
}
