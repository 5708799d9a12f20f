/* team.c: owns the worker threads of parallel loops. A run is announced by raising `turn`, whose lowest bit says which kind
 * it is. In team_run each worker does its part and lowers `busy`; the run is over when `busy` is 0. In team_draw the caller
 * opens `gate`, works, and shuts it; workers count themselves in and out there, one that comes too late finds it shut,
 * and the run is over when the gate is shut and nobody is inside. So a worker may be a run behind, and enter a later one;
 * fn and ctx are read only inside.
 * Both sides spin before they sleep in the kernel (futex(2)): the caller for SPIN_US; a worker longer after a wait that
 * turned out a little longer than that, up to SPIN_MOST_US, so that it sleeps between requests and not between the
 * tokens of one.
 * No wake-up is lost: a sleeper first says so in its counter and then sleeps only if the word still has the value it
 * saw; the waker first changes the word and then reads the counter. All four are sequentially consistent, so at least
 * one of the two sees the other. fn and ctx are plain: they are written before turn is raised or the gate opened, and read
 * after.
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

enum { SPIN_US = 20, SPIN_MOST_US = 320, PAUSES = 64, CACHE_LINE = 64 };
enum { TURN_DRAW = 1 };                          /* the lowest bit of turn, which grows by 2 */
enum { GATE_SHUT = 1, GATE_ONE = 2 };            /* gate: the number inside times GATE_ONE */

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
	_Alignas(CACHE_LINE) atomic_uint gate;
	atomic_uint gate_sleepers;
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

/* Returns once *word differs from seen; the new value. Spins for *spin_us, which becomes what fits waits like this one. */
static unsigned word_wait(atomic_uint *word, atomic_uint *sleepers, unsigned seen, unsigned *spin_us)
{
	uint64_t start = clock_us(), until = start + *spin_us;
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
	*spin_us = clock_us() - start > 2 * SPIN_MOST_US ? SPIN_US : *spin_us < SPIN_MOST_US ? 2 * *spin_us : SPIN_MOST_US;
	return now;
}

static void gate_leave(struct team *t)
{
	if (atomic_fetch_sub(&t->gate, GATE_ONE) == (GATE_ONE | GATE_SHUT) && atomic_load(&t->gate_sleepers) > 0)
		word_wake(&t->gate);
}

/* Takes part in the run whose gate is open, if one is. */
static void gate_enter(struct team *t, int member)
{
	unsigned gate = atomic_load(&t->gate);
	while (!(gate & GATE_SHUT))
		if (atomic_compare_exchange_weak(&t->gate, &gate, gate + GATE_ONE)) {
			t->fn(t->ctx, member, t->size);
			gate_leave(t);
			return;
		}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct team *t = w->team;
	unsigned turn = 0, spin_us = SPIN_US;
	for (;;) {
		turn = word_wait(&t->turn, &t->turn_sleepers, turn, &spin_us);
		if (turn & TURN_DRAW) {
			gate_enter(t, w->member);
			continue;
		}
		if (!t->fn) return NULL;
		t->fn(t->ctx, w->member, t->size);
		if (atomic_fetch_sub(&t->busy, 1) == 1 && atomic_load(&t->busy_sleepers) > 0) word_wake(&t->busy);
	}
}

static void turn_raise(struct team *t, unsigned kind)
{
	atomic_store(&t->turn, ((atomic_load(&t->turn) | TURN_DRAW) + 1) | kind);
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
	*t = (struct team){ .size = threads < 1 ? 1 : threads, .gate = GATE_SHUT };
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
	turn_raise(t, 0);
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
	unsigned busy = (unsigned)t->started, spin_us = SPIN_US;
	if (busy > 0) {
		t->fn = fn;
		t->ctx = ctx;
		atomic_store(&t->busy, busy);
		turn_raise(t, 0);
	}
	fn(ctx, 0, t->size);
	while ((busy = atomic_load_explicit(&t->busy, memory_order_acquire)) != 0)
		word_wait(&t->busy, &t->busy_sleepers, busy, &spin_us);
}

void team_draw(struct team *t, void (*fn)(void *ctx, int member, int size), void *ctx)
{
	unsigned gate, spin_us = SPIN_US;
	if (t->started > 0) {
		t->fn = fn;
		t->ctx = ctx;
		atomic_store(&t->gate, 0);
		turn_raise(t, TURN_DRAW);
	}
	fn(ctx, 0, t->size);
	atomic_fetch_or(&t->gate, GATE_SHUT);
	while ((gate = atomic_load(&t->gate)) != GATE_SHUT) word_wait(&t->gate, &t->gate_sleepers, gate, &spin_us);
}
