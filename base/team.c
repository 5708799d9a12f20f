/* team.c: owns the worker threads of parallel loops. A run is announced by raising `turn`; each worker does its part
 * and lowers `busy`; the run is over when `busy` is 0. Both sides spin for SPIN_US, because the next run usually comes
 * at once, and then sleep in the kernel (futex(2)).
 * No wake-up is lost: a sleeper first says so in its counter and then sleeps only if the word still has the value it
 * saw; the waker first changes the word and then reads the counter. All four are sequentially consistent, so at least
 * one of the two sees the other. fn and ctx are plain: they are written before turn is raised and read after.
 * Threads: one runner at a time. Failure: only team_new, when threads or memory are short. */
#include "base/team.h"
#include "base/clock.h"
#include "base/mem.h"
#include <immintrin.h>
#include <linux/futex.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPIN_US = 20, PAUSES = 64, CACHE_LINE = 64 };

struct worker {
	struct team *team;
	pthread_t thread;
	int member;
};

struct team {
	_Alignas(CACHE_LINE) atomic_uint turn;   /* number of the current run */
	atomic_uint turn_sleepers;
	_Alignas(CACHE_LINE) atomic_uint busy;   /* workers that are not done yet */
	atomic_uint busy_sleepers;
	_Alignas(CACHE_LINE) void (*fn)(void *ctx, int member, int size); /* NULL: end */
	void *ctx;
	int size, started;
	struct worker *workers;                  /* size - 1, owned */
};

static void word_sleep(atomic_uint *word, unsigned seen)
{
	syscall(SYS_futex, (void *)word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void word_wake(atomic_uint *word)
{
	syscall(SYS_futex, (void *)word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Returns once *word differs from seen; the new value. */
static unsigned word_wait(atomic_uint *word, atomic_uint *sleepers, unsigned seen)
{
	uint64_t until = clock_us() + SPIN_US;
	unsigned now;
	do {
		for (int i = 0; i < PAUSES; i++) {
			now = atomic_load_explicit(word, memory_order_acquire);
			if (now != seen) return now;
			_mm_pause();
		}
	} while (clock_us() < until);
	atomic_fetch_add(sleepers, 1);
	while ((now = atomic_load(word)) == seen) word_sleep(word, seen);
	atomic_fetch_sub(sleepers, 1);
	return now;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct team *t = w->team;
	unsigned turn = 0;
	for (;;) {
		turn = word_wait(&t->turn, &t->turn_sleepers, turn);
		if (!t->fn) return NULL;
		t->fn(t->ctx, w->member, t->size);
		if (atomic_fetch_sub(&t->busy, 1) == 1 && atomic_load(&t->busy_sleepers) > 0) word_wake(&t->busy);
	}
}

static void turn_raise(struct team *t)
{
	atomic_fetch_add(&t->turn, 1);
	if (atomic_load(&t->turn_sleepers) > 0) word_wake(&t->turn);
}

/* Signals are for the program's main thread: workers block them all. */
static int workers_start(struct team *t)
{
	sigset_t all, before;
	int failed = 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; t->started < t->size - 1 && !failed; t->started += !failed) {
		struct worker *w = &t->workers[t->started];
		w->team = t;
		w->member = t->started + 1;
		failed = pthread_create(&w->thread, NULL, worker_main, w) != 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return !failed;
}

struct team *team_new(int threads)
{
	struct team *t = mem_aligned(CACHE_LINE, sizeof *t);
	if (!t) return NULL;
	*t = (struct team){ .size = threads < 1 ? 1 : threads };
	t->workers = mem_calloc((size_t)t->size, sizeof *t->workers);
	if (!t->workers || !workers_start(t)) {
		team_free(t);
		return NULL;
	}
	return t;
}

void team_free(struct team *t)
{
	if (!t) return;
	t->fn = NULL;
	turn_raise(t);
	for (int i = 0; i < t->started; i++) pthread_join(t->workers[i].thread, NULL);
	mem_free(t->workers);
	mem_free(t);
}

int team_size(const struct team *t)
{
	return t->size;
}

void team_run(struct team *t, void (*fn)(void *ctx, int member, int size), void *ctx)
{
	unsigned busy = (unsigned)t->started;
	if (busy > 0) {
		t->fn = fn;
		t->ctx = ctx;
		atomic_store(&t->busy, busy);
		turn_raise(t);
	}
	fn(ctx, 0, t->size);
	while ((busy = atomic_load_explicit(&t->busy, memory_order_acquire)) != 0)
		word_wait(&t->busy, &t->busy_sleepers, busy);
}
