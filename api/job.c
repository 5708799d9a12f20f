/* job.c: owns the worker pools, the suspending and resuming of connections, and the watch.
 *
 * Method: a request is suspended first and queued after, both in its connection's thread; from then on only job_wake
 * resumes it, under the request's lock, which also guards `connection` against the daemon's completion callback. Every
 * live request stands in one list, so that the watch and the drain see what waits and what runs. A worker that takes a
 * cancelled request answers it without running it. Reasons for cancelling are kept apart: only the client that is still
 * there gets an answer.
 * Threads: workers of each pool, one watch. Lock order: jobs, request, libmicrohttpd's own.
 * Failure: a pool whose threads cannot be made fails jobs_open. */
#include "api/job.h"
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "api/server.h"
#include "api/sse.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/queue.h"
#include "base/stat.h"

enum { WATCH_MS = 250, GRACE_S = 5, READ_LIMIT_S = 60, ADMIN_QUEUE = 64 };

struct pool {
	struct queue *queue;
	pthread_t *threads; size_t thread_n;
	atomic_int running;
	uint64_t wait_us, run_us;         /* a request's patience in the queue, and once it runs; 0: none */
};
struct jobs {
	struct pool pools[POOL_N];
	double answer_deadline_s;
	pthread_mutex_t lock;
	pthread_cond_t ended;             /* live became shorter, or stop was set */
	struct request *live;             /* submitted and not finished */
	int draining, stop;
	pthread_t watch; int watch_runs;
};
struct worker { struct jobs *jobs; struct pool *pool; };

const char *pool_name(enum pool_kind pool)
{
	static const char *const names[POOL_N] = { "none", "admin", "search", "answer", "write" };
	return names[pool];
}

size_t jobs_waiting(struct jobs *j, enum pool_kind pool)
{
	return j->pools[pool].queue ? queue_len(j->pools[pool].queue) : 0;
}

size_t jobs_running(struct jobs *j, enum pool_kind pool)
{
	return (size_t)atomic_load(&j->pools[pool].running);
}

void job_wake(struct request *r)
{
	if (!r->suspended || !r->connection)
		return;
	r->suspended = 0;
	MHD_resume_connection(r->connection);
}

/* What a cancelled request is told. */
static int cancelled_reply(struct request *r, int why, struct err *e)
{
	r->fail_status = 503;
	if (why == CANCEL_DRAIN)
		return err_set(e, E_BUSY, "the service is shutting down");
	if (why == CANCEL_DEADLINE)
		return err_set(e, E_CANCELLED, "the request took longer than its deadline");
	if (why == CANCEL_SLOW)
		return err_set(e, E_CANCELLED, "the reader of the stream is too slow");
	return err_set(e, E_CANCELLED, "the client left");
}

void job_fail(struct request *r, struct err *e)
{
	int open, why;
	pthread_mutex_lock(&r->lock);
	open = r->stream_open;
	why = r->cancel_why;
	pthread_mutex_unlock(&r->lock);
	if (why && e->status == E_CANCELLED)
		cancelled_reply(r, why, e);
	if (e->status == E_BUG || e->status == E_CORRUPT || e->status == E_IO || e->status == E_FULL || e->status == E_MEMORY)
		log_put(LOG_ERROR, "http", "%s %s: %s", r->id, r->route ? r->route->name : "", e->msg);
	if (open)
		sse_event(r, "error", view_error(e, r->param, 0));
	else
		reply_error(r, 0, e);
}

/* Takes r from the list and lets its connection go on. */
static void job_finish(struct jobs *j, struct request *r)
{
	pthread_mutex_lock(&j->lock);
	if (r->prev)
		r->prev->next = r->next;
	else
		j->live = r->next;
	if (r->next)
		r->next->prev = r->prev;
	pthread_mutex_lock(&r->lock);
	r->done = 1;
	r->stream_ended = 1;
	job_wake(r);
	pthread_mutex_unlock(&r->lock);
	pthread_cond_broadcast(&j->ended);
	pthread_mutex_unlock(&j->lock);
	request_unref(r);
}

static void job_run(struct jobs *j, struct pool *p, struct request *r)
{
	struct err e = { 0 };
	int why, rc = OK;
	pthread_mutex_lock(&r->lock);
	r->running = 1;
	why = r->cancel_why;
	r->deadline_us = p->run_us ? clock_us() + p->run_us : 0;
	pthread_mutex_unlock(&r->lock);
	atomic_fetch_add(&p->running, 1);
	rc = why ? cancelled_reply(r, why, &e) : r->route->run(r, &e);
	if (rc)
		job_fail(r, &e);
	atomic_fetch_sub(&p->running, 1);
	job_finish(j, r);
}

static void *worker_main(void *arg)
{
	struct worker w = *(struct worker *)arg;
	void *item;
	mem_free(arg);
	while (queue_pop(w.pool->queue, -1, &item) == OK)
		job_run(w.jobs, w.pool, item);
	return NULL;
}

static void refuse(struct request *r, struct err *e, int status)
{
	r->fail_status = status;
	reply_error(r, status, e);
}

void job_submit(struct jobs *j, struct request *r)
{
	struct pool *p = &j->pools[r->route->pool];
	struct err e = { 0 };
	int rc;
	pthread_mutex_lock(&j->lock);
	pthread_mutex_lock(&r->lock);
	r->submitted = r->suspended = 1;
	r->deadline_us = p->wait_us ? clock_us() + p->wait_us : 0;
	MHD_suspend_connection(r->connection);
	pthread_mutex_unlock(&r->lock);
	request_ref(r);
	r->prev = NULL;
	r->next = j->live;
	if (j->live)
		j->live->prev = r;
	j->live = r;
	rc = j->draining && !r->route->early ? E_CANCELLED : queue_push(p->queue, r);
	pthread_mutex_unlock(&j->lock);
	if (rc == OK)
		return;
	if (rc == E_LIMIT) {
		r->retry_after = r->route->pool == POOL_ANSWER ? 5 : 1;
		err_set(&e, E_LIMIT, "the %s queue is full, try again", pool_name(r->route->pool));
		refuse(r, &e, 429);
	} else {
		cancelled_reply(r, CANCEL_DRAIN, &e);
		refuse(r, &e, 503);
	}
	job_finish(j, r);
}

/* 1 when the peer of a live connection has closed its side. r->lock held: the descriptor lives. */
static int client_left(struct request *r)
{
	const union MHD_ConnectionInfo *info;
	char byte;
	ssize_t n;
	if (!r->connection)
		return 1;
	info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!info)
		return 0;
	n = recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

static void *watch_main(void *arg)
{
	struct jobs *j = arg;
	pthread_mutex_lock(&j->lock);
	while (!j->stop) {
		uint64_t now = clock_us();
		struct timespec at;
		for (struct request *r = j->live; r; r = r->next) {
			pthread_mutex_lock(&r->lock);
			if (!r->cancel && client_left(r))
				request_cancel(r, CANCEL_LEFT);
			if (!r->cancel && r->deadline_us && now > r->deadline_us)
				request_cancel(r, CANCEL_DEADLINE);
			sse_keep_alive(r, now);
			pthread_mutex_unlock(&r->lock);
		}
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += WATCH_MS * 1000000L;
		at.tv_sec += at.tv_nsec / 1000000000L;
		at.tv_nsec %= 1000000000L;
		while (!j->stop && pthread_cond_timedwait(&j->ended, &j->lock, &at) == 0)
			continue;
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

static int pool_open(struct jobs *j, enum pool_kind kind, int threads, int queue, double run_s, struct err *e)
{
	struct pool *p = &j->pools[kind];
	p->run_us = (uint64_t)(run_s * 1e6);
	p->wait_us = (uint64_t)(j->answer_deadline_s * 1e6);
	p->queue = queue_new((size_t)queue);
	p->threads = mem_calloc((size_t)threads, sizeof *p->threads);
	if (!p->queue || !p->threads)
		return err_set(e, E_MEMORY, "out of memory");
	for (int i = 0; i < threads; i++) {
		struct worker *w = mem_alloc(sizeof *w);
		if (!w)
			return err_set(e, E_MEMORY, "out of memory");
		*w = (struct worker){ j, p };
		errno = pthread_create(&p->threads[i], NULL, worker_main, w);
		if (errno) {
			mem_free(w);
			return err_sys(e, "start a thread of the %s pool", pool_name(kind));
		}
		p->thread_n++;
	}
	return OK;
}

int jobs_open(struct jobs **out, struct service *s, struct err *e)
{
	const struct conf *c = &s->conf;
	struct jobs *j = mem_calloc(1, sizeof *j);
	pthread_condattr_t attr;
	int rc;
	*out = NULL;
	if (!j)
		return err_set(e, E_MEMORY, "out of memory");
	pthread_mutex_init(&j->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&j->ended, &attr);
	pthread_condattr_destroy(&attr);
	j->answer_deadline_s = c->answer_deadline_s;
	/* An answer ends itself at answer.deadline_s; the watch is the net under it. A write is never cut short. */
	if ((rc = pool_open(j, POOL_ADMIN, 1, ADMIN_QUEUE, READ_LIMIT_S, e)) ||
	    (rc = pool_open(j, POOL_SEARCH, c->search_threads, c->search_queue, READ_LIMIT_S, e)) ||
	    (rc = pool_open(j, POOL_ANSWER, c->answer_threads, c->answer_queue, c->answer_deadline_s + GRACE_S, e)) ||
	    (rc = pool_open(j, POOL_WRITE, 1, c->write_queue, 0, e)))
		goto out;
	errno = pthread_create(&j->watch, NULL, watch_main, j);
	if (errno) {
		rc = err_sys(e, "start the watch thread");
		goto out;
	}
	j->watch_runs = 1;
out:
	if (rc)
		jobs_close(j);
	else
		*out = j;
	return rc;
}

/* Cancels live requests: those that wait, or all. */
static void cancel_live(struct jobs *j, int all)
{
	for (struct request *r = j->live; r; r = r->next) {
		pthread_mutex_lock(&r->lock);
		if (all || !r->running)
			request_cancel(r, CANCEL_DRAIN);
		pthread_mutex_unlock(&r->lock);
	}
}

void jobs_drain(struct jobs *j, double drain_s, const volatile int *hurry)
{
	uint64_t until = clock_us() + (uint64_t)(drain_s * 1e6);
	int cut = 0;
	pthread_mutex_lock(&j->lock);
	j->draining = 1;
	cancel_live(j, 0);
	while (j->live) {
		struct timespec at;
		if (!cut && (clock_us() >= until || flag_is(hurry))) {
			cut = 1;
			cancel_live(j, 1);
		}
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += 50 * 1000000L;
		at.tv_sec += at.tv_nsec / 1000000000L;
		at.tv_nsec %= 1000000000L;
		pthread_cond_timedwait(&j->ended, &j->lock, &at);
	}
	pthread_mutex_unlock(&j->lock);
}

void jobs_close(struct jobs *j)
{
	if (!j)
		return;
	pthread_mutex_lock(&j->lock);
	j->stop = 1;
	pthread_cond_broadcast(&j->ended);
	pthread_mutex_unlock(&j->lock);
	if (j->watch_runs)
		pthread_join(j->watch, NULL);
	for (int i = 0; i < POOL_N; i++) {
		struct pool *p = &j->pools[i];
		if (p->queue)
			queue_close(p->queue);
		for (size_t t = 0; t < p->thread_n; t++)
			pthread_join(p->threads[t], NULL);
		if (p->queue)
			queue_free(p->queue);
		mem_free(p->threads);
	}
	pthread_cond_destroy(&j->ended);
	pthread_mutex_destroy(&j->lock);
	mem_free(j);
}
