/* test_turns.c: questions beside a folder that is being embedded: they have the vectors they would have alone, and do
 * not wait for it. With all-minilm-l6-v2. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include "base/mem.h"
#include "embed/embed.h"
#include "tests/test.h"

enum { TEXTS = 400, WORDS = 100, PIECE_TOKENS = 2048, DIM = 384 };

struct folder {
	struct embedder *m;
	struct embed_text t[TEXTS];
	float v[TEXTS][DIM];
	int status;
	struct err err;
	atomic_int state;        /* 0 not begun, 1 running, 2 done */
};

static void *folder_run(void *arg)
{
	struct folder *f = arg;
	atomic_store(&f->state, 1);
	f->status = embedder_encode(f->m, f->t, TEXTS, EMBED_PASSAGE, EMBED_BULK, f->v[0], &f->err);
	atomic_store(&f->state, 2);
	return NULL;
}

/* Asks one text after the other while a folder is embedded; so many of them came through for each of its pieces. */
static double asked_beside_folder(size_t words)
{
	const char *model = test_model("all-minilm-l6-v2");
	struct folder *f = mem_calloc(1, sizeof *f);
	struct err e;
	pthread_t thread;
	char text[5 * WORDS + 1];
	float v[DIM], want[DIM];
	int through = 0, pieces = TEXTS / (PIECE_TOKENS / (WORDS + 2));
	if (!model) test_skip("all-minilm-l6-v2 was not fetched");
	CHECK_OK(embedder_open(&f->m, &(struct embedder_options){.dir = model, .threads = 2}, &e), e);
	for (int i = 0; i < WORDS; i++) memcpy(text + 5 * i, "much ", 6);
	for (int i = 0; i < TEXTS; i++) f->t[i] = (struct embed_text){text, strlen(text)};
	struct embed_text question = {text, 5 * words};
	CHECK_OK(embedder_encode(f->m, &question, 1, EMBED_QUERY, EMBED_FIRST, want, &e), e);
	CHECK(pthread_create(&thread, NULL, folder_run, f) == 0);
	while (atomic_load(&f->state) == 0) usleep(100);
	while (atomic_load(&f->state) == 1) {
		CHECK_OK(embedder_encode(f->m, &question, 1, EMBED_QUERY, EMBED_FIRST, v, &e), e);
		CHECK(memcmp(v, want, sizeof v) == 0);
		through += atomic_load(&f->state) == 1;
	}
	pthread_join(thread, NULL);
	CHECK_OK(f->status, f->err);
	embedder_close(f->m);
	mem_free(f);
	return (double)through / pieces;
}

/* A question takes a hundredth of the time of a folder's piece, a long one a twentieth. If they had to wait for one,
 * no more than two or three would come through beside it. */
TEST(turns_a_question_does_not_wait_for_a_folder)
{
	double through = asked_beside_folder(5);
	CHECK_MSG(through > 10, "%.1f for each piece", through);
}

TEST(turns_a_long_question_does_not_wait_for_a_folder)
{
	double through = asked_beside_folder(WORDS);
	CHECK_MSG(through > 5, "%.1f for each piece", through);
}
