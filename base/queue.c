/* queue.c: owns a ring of pointers behind one mutex, and a condition for those who wait for an item. The clock of the
 * waits is the monotonic one, so that setting the time neither hangs nor hurries them. Threads: any number on both
 * sides. Failure: a status; items are never lost or doubled. */
#include "base/queue.h"
#include "base/err.h"
#include "base/mem.h"
#include <errno.h>
#include <pthread.h>
#include <time.h>

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	void **ring;       /* cap places */
	size_t cap, first, len;
	int closed;
};

struct queue *queue_new(size_t cap)
{
	struct queue *q = mem_calloc(1, sizeof *q);
	pthread_condattr_t attr;
	if (!q) return NULL;
	q->ring = mem_calloc(cap, sizeof *q->ring);
	if (!q->ring) {
		mem_free(q);
		return NULL;
	}
	q->cap = cap;
	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->filled, &attr);
	pthread_condattr_destroy(&attr);
	return q;
}

void queue_free(struct queue *q)
{
	if (!q) return;
	pthread_cond_destroy(&q->filled);
	pthread_mutex_destroy(&q->lock);
	mem_free(q->ring);
	mem_free(q);
}

int queue_push(struct queue *q, void *item)
{
	int rc = OK;
	pthread_mutex_lock(&q->lock);
	if (q->closed) {
		rc = E_CANCELLED;
	} else if (q->len == q->cap) {
		rc = E_LIMIT;
	} else {
		size_t at = q->len < q->cap - q->first ? q->first + q->len : q->len - (q->cap - q->first);
		q->ring[at] = item;
		q->len++;
		pthread_cond_signal(&q->filled);
	}
	pthread_mutex_unlock(&q->lock);
	return rc;
}

static struct timespec deadline_in(int timeout_ms)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += timeout_ms / 1000;
	t.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

int queue_pop(struct queue *q, int timeout_ms, void **item)
{
	struct timespec until = { 0, 0 };
	int rc = OK, late = 0;
	if (timeout_ms >= 0) until = deadline_in(timeout_ms);
	pthread_mutex_lock(&q->lock);
	while (q->len == 0 && !q->closed && !late) {
		if (timeout_ms < 0) pthread_cond_wait(&q->filled, &q->lock);
		else late = pthread_cond_timedwait(&q->filled, &q->lock, &until) == ETIMEDOUT;
	}
	if (q->len > 0) {
		*item = q->ring[q->first];
		q->first = q->first + 1 == q->cap ? 0 : q->first + 1;
		q->len--;
	} else {
		rc = q->closed ? E_CANCELLED : E_BUSY;
	}
	pthread_mutex_unlock(&q->lock);
	return rc;
}

void queue_close(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->closed = 1;
	pthread_cond_broadcast(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

size_t queue_len(struct queue *q)
{
	size_t len;
	pthread_mutex_lock(&q->lock);
	len = q->len;
	pthread_mutex_unlock(&q->lock);
	return len;
}
