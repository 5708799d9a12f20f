/* scan.c: owns a device for scans, its tables, and the queue in front of it.
 *
 * A table is two arrays on the device, codes and scales, that double when they are full. A caller who finds the device idle takes
 * it, and with its own query those of others that wait for the same: who comes last to a busy device is so served by
 * the one who has it next. Work space on the device, and page-locked memory through which queries go there and rows come back,
 * belong to whoever has it.
 * Threads: `lock` guards the queue and busy; never held while the device works. Who moves `state` on from NOT_YET opens the device;
 * what belongs to it does not change once it is THERE. Failure: what fails for want of memory leaves all as it was; a lost
 * device fails everything from then on. */
#include "embed/scan.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "nn/gpu.h"

enum { FIRST_ROWS = 16384, STAGE_BYTES = 4 << 20, CODE_ZERO = 128 };
_Static_assert((int)SCAN_BEST == (int)GPU_SCAN_BEST, "what the device gives");

enum { NOT_YET, OPENING, THERE, NONE }; /* NONE: and it stays so */

struct asked {
	struct scan_table *t;
	struct scan_query *q;
	struct err *e;
	int rc, done;
	struct asked *next;
};

struct scan {
	const struct gpu_table *given; /* NULL: this program's */
	atomic_int state;
	const struct gpu_table *t;
	struct gpu *g;
	uint8_t *stage;              /* page-locked, STAGE_BYTES: on the way there; of a run what `there` says */
	uint8_t *there;              /* device, as many */
	uint32_t *back;              /* page-locked: got (SCAN_TOGETHER), best (n, k), near (n, k) */
	uint32_t *found;             /* device, likewise */
	void *work; size_t work_bytes; /* device */
	uint32_t *among; size_t among_bytes; /* device */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	int busy;
	struct asked *first;
};

struct scan_table {
	struct scan *s;
	size_t len, rows, cap;       /* rows, cap: whoever has the device */
	uint8_t *codes;              /* device (cap, len) */
	float *scales;               /* device (cap) */
};

static const size_t back_n = (size_t)SCAN_TOGETHER * (1 + 2 * (size_t)SCAN_BEST);

static int device_open(struct scan *s, const struct gpu_table *t, struct err *e)
{
	int rc = t->open(&s->g, 0, e);
	s->t = t;
	if (rc == OK) rc = t->alloc_host(s->g, STAGE_BYTES, (void **)&s->stage, e);
	if (rc == OK) rc = t->alloc_host(s->g, back_n * sizeof *s->back, (void **)&s->back, e);
	if (rc == OK) rc = t->alloc(s->g, STAGE_BYTES, "queries", (void **)&s->there, e);
	if (rc == OK) rc = t->alloc(s->g, back_n * sizeof *s->found, "what a search found", (void **)&s->found, e);
	if (rc == OK) rc = t->sync(s->g, e);
	if (rc != OK) {
		t->close(s->g);
		s->g = NULL;
	}
	return rc;
}

int scan_open(struct scan **out, const char *device, const struct gpu_table *given, struct err *e)
{
	const int later = strcmp(device, "auto") == 0;
	const struct gpu_table *t = NULL;
	struct scan *s;
	int must, rc = later ? OK : gpu_pick(&t, &must, device, given, e);
	*out = NULL;
	if (rc != OK || (!t && !later)) return rc;
	s = mem_calloc(1, sizeof *s);
	if (!s) return err_set(e, E_MEMORY, "exact search on a GPU: out of memory");
	s->given = given;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->idle, NULL);
	if (t) rc = device_open(s, t, e);
	if (t) atomic_store(&s->state, THERE);
	if (rc == OK) *out = s;
	else scan_close(s);
	return rc;
}

void scan_close(struct scan *s)
{
	if (!s) return;
	if (s->g) s->t->close(s->g);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	mem_free(s);
}

static int first_open(struct scan *s)
{
	const struct gpu_table *t;
	struct gpu_info f;
	struct err e;
	int must, rc = gpu_pick(&t, &must, "auto", s->given, &e);
	if (rc == OK && !t) {
		log_put(LOG_DEBUG, "embed", "exact search stays on the CPU: no GPU is here");
		return NONE;
	}
	if (rc == OK) rc = device_open(s, t, &e);
	if (rc != OK) {
		log_put(LOG_WARN, "embed", "exact search stays on the CPU: %s", e.msg);
		return NONE;
	}
	t->info(s->g, &f);
	log_put(LOG_INFO, "embed", "exact search computes on the GPU: %s; %.1f of its %.1f GiB are free still", f.name,
		(double)f.free / (1 << 30), (double)f.memory / (1 << 30));
	return THERE;
}

int scan_ready(struct scan *s)
{
	int was = NOT_YET;
	if (atomic_compare_exchange_strong(&s->state, &was, OPENING)) atomic_store(&s->state, was = first_open(s));
	return was == THERE;
}

/* What came of work on the device. The first who hears that it is lost tells. */
static int device_tell(struct scan *s, int rc, const struct err *e)
{
	int was = THERE;
	if (rc == E_IO && atomic_compare_exchange_strong(&s->state, &was, NONE))
		log_put(LOG_WARN, "embed", "exact search is the CPU's from now on: %s", e->msg);
	return rc;
}

static void device_take(struct scan *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->busy) pthread_cond_wait(&s->idle, &s->lock);
	s->busy = 1;
	pthread_mutex_unlock(&s->lock);
}

static void device_give(struct scan *s)
{
	pthread_mutex_lock(&s->lock);
	s->busy = 0;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

/* ---- tables ---- */

int scan_table_open(struct scan_table **out, struct scan *s, size_t len, struct err *e)
{
	*out = NULL;
	if (len == 0 || len % GPU_PAD || len > SCAN_LEN) return err_set(e, E_UNSUPPORTED, "exact search on a GPU: codes of %zu bytes", len);
	*out = mem_calloc(1, sizeof **out);
	if (!*out) return err_set(e, E_MEMORY, "exact search on a GPU: out of memory");
	(*out)->s = s;
	(*out)->len = len;
	return OK;
}

void scan_table_close(struct scan_table *t)
{
	if (!t) return;
	device_take(t->s);
	t->s->t->release(t->s->g, t->codes);
	t->s->t->release(t->s->g, t->scales);
	device_give(t->s);
	mem_free(t);
}

/* Room for n rows more. */
static int table_grow(struct scan_table *t, size_t n, struct err *e)
{
	const struct gpu_table *d = t->s->t;
	size_t cap = t->cap ? t->cap : FIRST_ROWS;
	void *codes = NULL, *scales = NULL;
	if (n <= t->cap - t->rows) return OK;
	while (cap - t->rows < n) cap *= 2;
	int rc = d->alloc(t->s->g, cap * t->len, "codes of vectors", &codes, e);
	if (rc == OK) rc = d->alloc(t->s->g, cap * sizeof *t->scales, "codes of vectors", &scales, e);
	if (rc != OK) {
		d->release(t->s->g, codes);
		return rc;
	}
	d->copy(t->s->g, codes, t->codes, t->rows * t->len);
	d->copy(t->s->g, scales, t->scales, t->rows * sizeof *t->scales);
	d->release(t->s->g, t->codes);
	d->release(t->s->g, t->scales);
	t->codes = codes;
	t->scales = scales;
	t->cap = cap;
	return OK;
}

/* Some rows through the stage: scales, then codes. */
static int rows_send(struct scan_table *t, const uint8_t *rows, size_t stride, size_t n, struct err *e)
{
	const struct scan *s = t->s;
	uint8_t *codes = s->stage + n * sizeof(float);
	for (size_t i = 0; i < n; i++) {
		memcpy(codes + i * t->len, rows + i * stride, t->len);
		memcpy(s->stage + i * sizeof(float), rows + i * stride + t->len, sizeof(float));
	}
	s->t->copy_in(s->g, t->codes + t->rows * t->len, codes, n * t->len);
	s->t->copy_in(s->g, t->scales + t->rows, s->stage, n * sizeof(float));
	int rc = s->t->sync(s->g, e);
	if (rc == OK) t->rows += n;
	return rc;
}

int scan_table_add(struct scan_table *t, const uint8_t *rows, size_t stride, size_t n, struct err *e)
{
	size_t some = STAGE_BYTES / (t->len + sizeof(float));
	struct err own;
	if (!e) e = &own;
	device_take(t->s);
	int rc = n > (size_t)INT32_MAX - t->rows ? err_set(e, E_LIMIT, "exact search on a GPU: more than %d vectors", INT32_MAX)
		: table_grow(t, n, e);
	for (size_t at = 0; at < n && rc == OK; at += some)
		rc = rows_send(t, rows + at * stride, stride, n - at < some ? n - at : some, e);
	device_give(t->s);
	return device_tell(t->s, rc, e);
}

/* ---- queries ---- */

/* At least so many bytes at *p on the device. */
static int room_for(struct scan *s, void **p, size_t *have, size_t bytes, struct err *e)
{
	if (*have >= bytes) return OK;
	s->t->release(s->g, *p);
	*have = 0;
	*p = NULL;
	int rc = s->t->alloc(s->g, bytes, "work space of a search", p, e);
	if (rc == OK) *have = bytes;
	return rc;
}

static int32_t shift_of(const int8_t *code, size_t len)
{
	int32_t sum = 0;
	for (size_t i = 0; i < len; i++) sum += code[i];
	return CODE_ZERO * sum;
}

/* The queries of the n that asked for the same table and rows, of k at most; the device is the caller's. */
static int asked_run(struct asked *const *of, size_t n, size_t k, struct err *e)
{
	struct scan_table *t = of[0]->t;
	struct scan *s = t->s;
	const struct scan_query *q = of[0]->q;
	size_t among = q->among ? (q->rows + 63) / 64 * sizeof *q->among : 0, all = n * (1 + 2 * k);
	int8_t *codes = (int8_t *)s->stage;
	float *scales = (float *)(codes + n * t->len);
	int32_t *shifts = (int32_t *)(scales + n);
	int rc = room_for(s, &s->work, &s->work_bytes, s->t->scan_bytes(q->rows, n, k), e);
	if (rc == OK) rc = room_for(s, (void **)&s->among, &s->among_bytes, among, e);
	if (rc != OK) return rc;
	for (size_t i = 0; i < n; i++) {
		memcpy(codes + i * t->len, of[i]->q->code, t->len);
		scales[i] = of[i]->q->scale;
		shifts[i] = shift_of(of[i]->q->code, t->len);
	}
	s->t->copy_in(s->g, s->there, s->stage, n * (t->len + sizeof *scales + sizeof *shifts));
	if (among) s->t->copy_in(s->g, s->among, q->among, among);
	struct gpu_scan c = {.codes = t->codes, .scales = t->scales, .among = among ? s->among : NULL, .queries = (int8_t *)s->there,
		.query_scales = (float *)(s->there + n * t->len), .shifts = (int32_t *)(s->there + n * (t->len + sizeof *scales)), .rows = q->rows,
		.len = t->len, .n = n, .k = k, .scratch = s->work, .got = s->found, .best = s->found + n, .near = (float *)(s->found + n + n * k)};
	s->t->scan(s->g, &c);
	s->t->copy_out(s->g, s->back, s->found, all * sizeof *s->back);
	return s->t->sync(s->g, e);
}

/* What came back for query i of n. */
static void asked_take(const struct scan *s, struct scan_query *q, size_t i, size_t n, size_t k)
{
	size_t got = s->back[i];
	q->got = got < q->k ? got : q->k;
	memcpy(q->best, s->back + n + i * k, q->got * sizeof *q->best);
	memcpy(q->near, s->back + n + n * k + i * k, q->got * sizeof *q->near);
}

/* Takes from the queue the first, and those that want the same of the same rows. Under the lock. */
static size_t asked_gather(struct scan *s, struct asked **of, size_t *k)
{
	size_t n = 0;
	*k = 0;
	for (struct asked **at = &s->first; *at && n < SCAN_TOGETHER;) {
		struct asked *a = *at;
		int same = n == 0 || (a->t == of[0]->t && a->q->rows == of[0]->q->rows && !a->q->among && !of[0]->q->among);
		if (!same) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		of[n++] = a;
		if (a->q->k > *k) *k = a->q->k;
	}
	return n;
}

/* One round for those who wait. Under the lock, which is not held meanwhile. */
static void round_run(struct scan *s)
{
	struct asked *of[SCAN_TOGETHER];
	struct err e = {0};
	size_t k, n = asked_gather(s, of, &k);
	s->busy = 1;
	pthread_mutex_unlock(&s->lock);
	int rc = device_tell(s, asked_run(of, n, k, &e), &e);
	for (size_t i = 0; i < n; i++) {
		if (rc == OK) asked_take(s, of[i]->q, i, n, k);
		else if (of[i]->e) *of[i]->e = e;
		of[i]->rc = rc;
	}
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < n; i++) of[i]->done = 1;
	s->busy = 0;
	pthread_cond_broadcast(&s->idle);
}

int scan_table_best(struct scan_table *t, struct scan_query *q, struct err *e)
{
	struct asked me = {.t = t, .q = q, .e = e}, **last;
	struct scan *s = t->s;
	q->got = 0;
	if (q->rows == 0) return OK;
	pthread_mutex_lock(&s->lock);
	for (last = &s->first; *last;) last = &(*last)->next;
	*last = &me;
	while (!me.done) {
		if (s->busy) pthread_cond_wait(&s->idle, &s->lock);
		else round_run(s);
	}
	pthread_mutex_unlock(&s->lock);
	return me.rc;
}
