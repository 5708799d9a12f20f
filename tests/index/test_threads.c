/* test_threads.c: readers beside a writer and rebuilds: every snapshot is one state, whole, and never waits. */
#include <pthread.h>
#include <stdatomic.h>
#include "base/arena.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { READERS = 3, COMMITS = 120, K = 10 };

static struct index *shared;
static atomic_int stop, searches, failures;

/* Not CHECK: a failure in a thread is counted and told by the test. */
#define THREAD_CHECK(cond) do { if (!(cond)) { fprintf(stderr, "  %s:%d: %s\n", __FILE__, __LINE__, #cond); \
	atomic_fetch_add(&failures, 1); } } while (0)

static void *reader_main(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg * 1000, last = 0;
	struct arena a;
	arena_init(&a, 1 << 24);
	while (!atomic_load(&stop) && !atomic_load(&failures)) {
		struct snapshot *s;
		struct vec_hit hit[K];
		struct chunk c;
		struct doc d;
		struct err e;
		float q[DIM];
		size_t got = 0;
		help_unit(++seed, q, DIM);
		if (snapshot_open(&s, shared, &e)) {
			THREAD_CHECK(!"snapshot_open");
			break;
		}
		THREAD_CHECK(snapshot_seq(s) >= last);
		last = snapshot_seq(s);
		THREAD_CHECK(snapshot_search(s, &everyone, q, K, hit, &got, &e) == OK);
		THREAD_CHECK(got == K);
		for (size_t i = 0; i < got; i++) {
			THREAD_CHECK(snapshot_chunk(s, &everyone, hit[i].chunk_id, &a, &c, &e) == OK);
			THREAD_CHECK(snapshot_doc_by_key(s, &everyone, c.doc_key, &a, &d, &e) == OK && d.seq <= last);
			THREAD_CHECK(i == 0 || hit[i - 1].score >= hit[i].score);
		}
		snapshot_close(s);
		arena_clear(&a);
		atomic_fetch_add(&searches, 1);
	}
	arena_clear(&a);
	return NULL;
}

TEST(threads_readers_beside_writer_and_rebuilds)
{
	pthread_t thread[READERS];
	struct err e;
	shared = help_open(test_dir());
	for (int i = 0; i < 10; i++) {
		char name[20];
		snprintf(name, sizeof name, "base %d", i);
		help_add(shared, "c", name, name, (uint64_t)i * 10, 10, NULL, NULL);
	}
	for (int i = 0; i < READERS; i++)
		CHECK(pthread_create(&thread[i], NULL, reader_main, (void *)(uintptr_t)(i + 1)) == 0);
	for (int i = 0; i < COMMITS && !atomic_load(&failures); i++) {
		char name[20];
		snprintf(name, sizeof name, "doc %d", i % 40);      /* replaced again and again */
		help_add(shared, "c", name, name, (uint64_t)(1000 + i * 20), 20, NULL, NULL);
		if (i == 60) CHECK_OK(index_rebuild_wait(shared, &e), e);
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < READERS; i++) pthread_join(thread[i], NULL);
	CHECK_INT(atomic_load(&failures), 0);
	CHECK(atomic_load(&searches) > 0);
	CHECK_OK(index_rebuild_wait(shared, &e), e);
	help_check_clean(shared);
	index_close(shared);
}

/* Closing while the background thread loads or builds does not wait for its end and leaves a clean store. */
TEST(threads_close_in_mid_build)
{
	char dir[300];
	snprintf(dir, sizeof dir, "%s", test_dir());
	for (int i = 0; i < 6; i++) {
		char name[20];
		shared = help_open(dir);
		snprintf(name, sizeof name, "doc %d", i);
		help_add(shared, "c", name, name, (uint64_t)i * 1000, 700, NULL, NULL);
		index_close(shared);
	}
	shared = help_open(dir);
	help_check_clean(shared);
	index_close(shared);
}

static void *writer_main(void *arg)
{
	for (int i = 0; i < 15; i++) {
		char name[40];
		snprintf(name, sizeof name, "w%u-%d", (unsigned)(uintptr_t)arg, i);
		help_add(shared, "c", name, name, (uint64_t)(uintptr_t)arg * 100 + (uint64_t)i, 3, NULL, NULL);
	}
	return NULL;
}

TEST(threads_writers_take_turns)
{
	pthread_t thread[3];
	struct index_stats st;
	struct err e;
	shared = help_open(test_dir());
	for (int i = 0; i < 3; i++) CHECK(pthread_create(&thread[i], NULL, writer_main, (void *)(uintptr_t)(i + 1)) == 0);
	for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
	CHECK_OK(index_stats(shared, &st, &e), e);
	CHECK(st.documents == 45 && st.seq == 45 && st.chunks == 135);
	help_check_clean(shared);
	index_close(shared);
}
