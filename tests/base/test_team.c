/* test_team.c: every member runs once a run, what a run wrote is seen after it, and teams come and go. */
#include "base/team.h"
#include "base/fault.h"
#include "tests/test.h"
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { MEMBERS_MAX = 8, ITEMS = 1000 };

struct work {
	int calls[MEMBERS_MAX]; /* plain on purpose: the team must order them */
	int size_seen[MEMBERS_MAX];
	pthread_t thread[MEMBERS_MAX];
	long sum[ITEMS];
};

static void add_part(void *ctx, int member, int size)
{
	struct work *w = ctx;
	w->calls[member]++;
	w->size_seen[member] = size;
	w->thread[member] = pthread_self();
	for (int i = member; i < ITEMS; i += size) w->sum[i] += i;
}

TEST(team_runs_every_member_once_a_run)
{
	for (int size = 1; size <= MEMBERS_MAX; size++) {
		static struct work w;
		struct team *t = team_new(size);
		CHECK(t);
		CHECK_INT(team_size(t), size);
		memset(&w, 0, sizeof w);
		for (int run = 1; run <= 1000; run++) {
			team_run(t, add_part, &w);
			for (int m = 0; m < size; m++) CHECK_INT(w.calls[m], run);
		}
		for (int i = 0; i < ITEMS; i++) CHECK_INT(w.sum[i], 1000L * i);
		for (int m = 0; m < size; m++) CHECK_INT(w.size_seen[m], size);
		CHECK(pthread_equal(w.thread[0], pthread_self()));
		for (int m = 1; m < size; m++) CHECK(!pthread_equal(w.thread[m], pthread_self()));
		team_free(t);
	}
}

struct draw { _Atomic int next; int items, done[ITEMS], calls[MEMBERS_MAX]; };

static void draw_some(void *ctx, int member, int size)
{
	struct draw *d = ctx;
	CHECK(member < size);
	d->calls[member]++;
	for (int i; (i = d->next++) < d->items;) d->done[i]++;
}

/* Whoever comes, every item is done once and is seen done; runs of both kinds may follow each other. */
TEST(team_draws_every_item_once)
{
	for (int size = 1; size <= MEMBERS_MAX; size += size > 2 ? 5 : 1) {
		static struct draw d;
		static struct work w;
		struct team *t = team_new(size);
		memset(&w, 0, sizeof w);
		for (int run = 1; run <= 3000; run++) {
			memset(&d, 0, sizeof d);
			d.items = run % 40 ? run % 7 : ITEMS;
			team_draw(t, draw_some, &d);
			for (int i = 0; i < d.items; i++) CHECK_INT(d.done[i], 1);
			CHECK_INT(d.calls[0], 1);
			if (run % 500 == 0) usleep(2000);
			if (run % 3) continue;
			team_run(t, add_part, &w);
			for (int m = 0; m < size; m++) CHECK_INT(w.calls[m], run / 3);
		}
		team_free(t);
	}
}

static void sleep_some(void *ctx, int member, int size)
{
	struct work *w = ctx;
	if (member == size - 1) usleep(3000); /* the others, and the caller, go to sleep meanwhile */
	w->calls[member]++;
}

TEST(team_wakes_after_long_pauses)
{
	static struct work w;
	struct team *t = team_new(4);
	for (int run = 1; run <= 30; run++) {
		if (run % 3 == 0) usleep(3000); /* the workers go to sleep */
		team_run(t, sleep_some, &w);
		for (int m = 0; m < 4; m++) CHECK_INT(w.calls[m], run);
	}
	team_free(t);
}

TEST(team_unused_and_odd_sizes)
{
	struct team *t;
	for (int i = 0; i < 50; i++) team_free(team_new(1 + i % 8));
	team_free(NULL);
	t = team_new(0);
	CHECK_INT(team_size(t), 1);
	team_free(t);
	t = team_new(-5);
	CHECK_INT(team_size(t), 1);
	team_free(t);
}

static void *own_team(void *arg)
{
	struct work *w = arg;
	struct team *t = team_new(3);
	for (int run = 0; run < 300; run++) team_run(t, add_part, w);
	team_free(t);
	return NULL;
}

TEST(team_several_side_by_side)
{
	static struct work w[3];
	pthread_t thread[3];
	for (int i = 0; i < 3; i++) pthread_create(&thread[i], NULL, own_team, &w[i]);
	for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
	for (int i = 0; i < 3; i++)
		for (int m = 0; m < 3; m++) CHECK_INT(w[i].calls[m], 300);
}

static void mask_read(void *ctx, int member, int size)
{
	sigset_t mask;
	(void)size;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	((int *)ctx)[member] = sigismember(&mask, SIGTERM);
}

TEST(team_workers_leave_signals_to_the_caller)
{
	int blocked[2] = { -1, -1 };
	struct team *t = team_new(2);
	team_run(t, mask_read, blocked);
	CHECK_INT(blocked[0], 0);
	CHECK_INT(blocked[1], 1);
	team_free(t);
}

TEST(team_without_memory)
{
	for (int n = 1; n <= 2; n++) {
		fault_alloc_after(n);
		CHECK(!team_new(3));
	}
}
