/* test_queue.c: order, full, closed, timeouts, and many threads on both sides. */
#include "base/queue.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "tests/test.h"
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

static void *num(uintptr_t n)
{
	return (void *)n;
}

TEST(queue_is_first_in_first_out)
{
	for (size_t cap = 1; cap < 9; cap++) {
		struct queue *q = queue_new(cap);
		uintptr_t in = 0, want = 0;
		void *item;
		CHECK(q);
		for (int round = 0; round < 50; round++) {
			for (size_t k = 0; k < cap - (size_t)round % cap; k++) CHECK_INT(queue_push(q, num(in++)), OK);
			if (round % (int)cap == 0) CHECK_INT(queue_push(q, NULL), E_LIMIT);
			while (queue_len(q) > 0) {
				CHECK_INT(queue_pop(q, 0, &item), OK);
				CHECK(item == num(want++));
			}
		}
		CHECK(in == want);
		CHECK_INT(queue_pop(q, 0, &item), E_BUSY);
		queue_free(q);
	}
}

TEST(queue_closed_gives_out_what_it_holds)
{
	struct queue *q = queue_new(3);
	void *item;
	queue_push(q, num(1));
	queue_push(q, num(2));
	queue_close(q);
	CHECK_INT(queue_push(q, num(3)), E_CANCELLED);
	CHECK_INT(queue_pop(q, -1, &item), OK);
	CHECK(item == num(1));
	CHECK_INT(queue_pop(q, -1, &item), OK);
	CHECK_INT(queue_pop(q, -1, &item), E_CANCELLED);
	CHECK_INT(queue_pop(q, 100000, &item), E_CANCELLED);
	queue_free(q);
}

TEST(queue_of_no_room_is_always_full)
{
	struct queue *q = queue_new(0);
	void *item;
	CHECK(q);
	CHECK_INT(queue_push(q, num(1)), E_LIMIT);
	CHECK_INT(queue_pop(q, 0, &item), E_BUSY);
	queue_free(q);
	CHECK(!queue_new(SIZE_MAX / 2));
}

TEST(queue_pop_waits_its_time)
{
	struct queue *q = queue_new(1);
	double before = clock_ms();
	void *item;
	CHECK_INT(queue_pop(q, 30, &item), E_BUSY);
	CHECK(clock_ms() - before >= 29);
	queue_free(q);
}

static void *push_late(void *arg)
{
	usleep(20000);
	queue_push(arg, num(5));
	usleep(20000);
	queue_close(arg);
	return NULL;
}

TEST(queue_push_and_close_wake_a_waiter)
{
	struct queue *q = queue_new(1);
	pthread_t thread;
	void *item;
	pthread_create(&thread, NULL, push_late, q);
	CHECK_INT(queue_pop(q, -1, &item), OK);
	CHECK(item == num(5));
	CHECK_INT(queue_pop(q, -1, &item), E_CANCELLED);
	pthread_join(thread, NULL);
	queue_free(q);
}

enum { PRODUCERS = 4, CONSUMERS = 3, EACH = 5000 };
static struct queue *shared;
static unsigned char seen[PRODUCERS * EACH];

static void *produce(void *arg)
{
	uintptr_t first = *(int *)arg * (uintptr_t)EACH;
	for (uintptr_t i = 0; i < EACH; i++)
		while (queue_push(shared, num(first + i + 1)) == E_LIMIT) sched_yield();
	return NULL;
}

static void *consume(void *arg)
{
	void *item;
	int rc;
	while ((rc = queue_pop(shared, *(int *)arg, &item)) != E_CANCELLED)
		if (rc == OK) seen[(uintptr_t)item - 1]++;
	return NULL;
}

TEST(queue_threads_lose_and_double_nothing)
{
	pthread_t in[PRODUCERS], out[CONSUMERS];
	int id[PRODUCERS] = { 0, 1, 2, 3 }, wait_ms[CONSUMERS] = { -1, 1, 50 };
	shared = queue_new(7);
	CHECK(shared);
	for (int i = 0; i < CONSUMERS; i++) pthread_create(&out[i], NULL, consume, &wait_ms[i]);
	for (int i = 0; i < PRODUCERS; i++) pthread_create(&in[i], NULL, produce, &id[i]);
	for (int i = 0; i < PRODUCERS; i++) pthread_join(in[i], NULL);
	queue_close(shared);
	for (int i = 0; i < CONSUMERS; i++) pthread_join(out[i], NULL);
	for (int i = 0; i < PRODUCERS * EACH; i++) CHECK_INT(seen[i], 1);
	queue_free(shared);
}

TEST(queue_without_memory)
{
	for (int n = 1; n <= 2; n++) {
		fault_alloc_after(n);
		CHECK(!queue_new(4));
	}
	fault_alloc_after(0);
	queue_free(NULL);
}
