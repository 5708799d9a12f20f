/* scanned.c: owns the copies of codes that a device has.
 *
 * Rows only ever come at the end, and do not change; so a copy is brought up to what a search looks at by adding what it lacks.
 * What a code loses and how long it is at most is kept over all rows, so that the device, which tells products of codes, tells
 * with the last of the k how far any row that it did not tell can be off.
 * Threads: a lock a copy while rows are added; the scanner's own beside. Failure: a copy that could not be made or asked is given
 * up by the last who asks it, with its memory on the device, and not tried again; searches then compare the codes in memory. */
#include "index/scanned.h"
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "index/index.h"

enum { BATCH = 65536 };

struct scanned {
	const struct index_scanner *by;
	pthread_mutex_t lock;        /* guards what follows */
	void *table;                 /* NULL: none yet, or given up */
	size_t n, asking;            /* rows it has; searches that ask it now */
	struct code8_tail most;      /* the most that any row loses, and the longest */
	atomic_int failed;
};

static struct scanned *scanned_new(const struct index_scanner *by)
{
	struct scanned *s = mem_calloc(1, sizeof *s);
	if (!s) return NULL;
	s->by = by;
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

static void scanned_drop(struct scanned *s)
{
	if (!s) return;
	if (s->table) s->by->close(s->table);
	pthread_mutex_destroy(&s->lock);
	mem_free(s);
}

void scanned_free(scanned_place *place)
{
	scanned_drop(atomic_load(place));
	atomic_store(place, NULL);
}

static struct scanned *scanned_get(scanned_place *place, const struct index_scanner *by)
{
	struct scanned *s = atomic_load(place), *none = NULL;
	if (s) return s;
	s = scanned_new(by);
	if (!s || atomic_compare_exchange_strong(place, &none, s)) return s;
	scanned_drop(s);
	return none;
}

int scanned_may(scanned_place *place)
{
	const struct scanned *s = atomic_load(place);
	return !s || !atomic_load(&s->failed);
}

static void most_keep(struct scanned *s, const uint8_t *rows, size_t stride, size_t n, size_t len)
{
	struct code8_tail t;
	for (size_t i = 0; i < n; i++) {
		memcpy(&t, rows + i * stride + len, sizeof t);
		if (!(t.lost <= s->most.lost)) s->most.lost = isnan(t.lost) ? INFINITY : t.lost;
		if (!(t.length <= s->most.length)) s->most.length = isnan(t.length) ? INFINITY : t.length;
	}
}

/* Under the lock: the copy has the first n rows. */
static int rows_add(struct scanned *s, const struct scanned_rows *from, size_t n, size_t len, struct err *e)
{
	int rc = s->table ? OK : s->by->open(s->by->ctx, &s->table, len, n, e);
	while (rc == OK && s->n < n) {
		const uint8_t *rows;
		size_t upto, some;
		from->part(from->of, s->n, n, &rows, &upto);
		some = upto - s->n < BATCH ? upto - s->n : BATCH;
		rc = s->by->add(s->table, rows, from->stride, some, e);
		if (rc != OK) break;
		most_keep(s, rows, from->stride, some, len);
		s->n += some;
	}
	return rc;
}

static void copy_fail(struct scanned *s, int rc, const struct err *e)
{
	if (atomic_exchange(&s->failed, 1) || rc == E_IO) return;
	log_put(LOG_WARN, "index", "vectors are compared by the CPU: %s", e->msg);
}

/* 1: the copy has the first n rows, and *most holds for them. Either way copy_give is next. */
static int copy_take(struct scanned *s, const struct scanned_rows *rows, size_t n, size_t len, struct code8_tail *most)
{
	struct err e = {OK, ""};
	int rc;
	pthread_mutex_lock(&s->lock);
	s->asking++;
	rc = !atomic_load(&s->failed) && s->n < n ? rows_add(s, rows, n, len, &e) : OK;
	if (rc != OK) copy_fail(s, rc, &e);
	*most = s->most;
	pthread_mutex_unlock(&s->lock);
	return !atomic_load(&s->failed);
}

static void copy_give(struct scanned *s)
{
	pthread_mutex_lock(&s->lock);
	if (--s->asking == 0 && s->table && atomic_load(&s->failed)) {
		s->by->close(s->table);
		s->table = NULL;
	}
	pthread_mutex_unlock(&s->lock);
}

int scanned_best(scanned_place *place, const struct index_scanner *by, const struct scanned_rows *rows, const struct code8_query *q,
	struct scanned_best *b)
{
	struct scanned *s = scanned_get(place, by);
	struct err e = {OK, ""};
	struct code8_tail most;
	float near[INDEX_SCAN_BEST];
	struct index_scan scan = {.code = q->code, .scale = q->scale, .among = b->among, .rows = b->rows, .k = b->k, .best = b->at, .near = near};
	int rc, ready;
	if (!s || atomic_load(&s->failed)) return 0;
	ready = copy_take(s, rows, b->rows, q->len, &most);
	rc = ready ? s->by->best(s->table, &scan, &e) : OK;
	if (rc != OK) copy_fail(s, rc, &e);
	copy_give(s);
	if (!ready || rc != OK) return 0;
	b->got = scan.got;
	b->whole = scan.got < b->k;
	b->beyond = b->whole ? -INFINITY
		: near[scan.got - 1] + ((q->norm * most.lost + q->rest * most.length) * (1 + 8 * FLT_EPSILON) + FLT_MIN);
	return 1;
}
