/* scan.c: owns a device for scans, its tables, and the queue in front of it.
 *
 * A table is blocks of rows on the device, the first as large as was asked for and each later one at least half as large as all
 * before it: what is there is never copied, so a table takes no more memory while it grows than after, and blocks stay few. A
 * search asks one block after the other and joins the best of each. A caller who finds the device idle takes
 * it, and with its own query those of others that wait for the same: who comes last to a busy device is so served by
 * the one who has it next. Work space on the device, and page-locked memory through which queries go there and rows come back,
 * belong to whoever has it.
 * Threads: `lock` guards the queue and busy; never held while the device works. Who moves `state` on from NOT_YET opens the device;
 * what belongs to it does not change once it is THERE. Failure: what fails for want of memory leaves all as it was; a lost
 * device fails everything from then on. */
#include "embed/scan.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "nn/gpu.h"

enum { ROWS_LEAST = 16384, BLOCKS_MAX = 40 /* of 2^31 rows in all */, STAGE_BYTES = 4 << 20, CODE_ZERO = 128 };
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
	char name[64];               /* the device's */
	atomic_uint_least64_t taken; /* of its memory, bytes */
	uint8_t *stage;              /* page-locked, STAGE_BYTES: on the way there; of a run what `there` says */
	uint8_t *there;              /* device, as many */
	uint32_t *back;              /* page-locked, of a block or of several: got (n), best (n, k), near (n, k) */
	uint32_t *found;             /* device, likewise */
	void *work; size_t work_bytes; /* device */
	uint32_t *among; size_t among_bytes; /* device */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	int busy;
	struct asked *first;
};

struct block {
	size_t first, cap;           /* of the table's rows; how many there is room for; multiples of 64 */
	uint8_t *codes;              /* device (cap, len), */
	float *scales;               /* and behind them (cap) */
};

struct scan_table {
	struct scan *s;
	size_t len, most;            /* most: of the first block */
	size_t rows, cap, blocks_n;  /* this and the next: whoever has the device */
	struct block blocks[BLOCKS_MAX];
};

static const char lost_total[] = "footnote_gpu_lost_total";
static const size_t back_n = (size_t)SCAN_TOGETHER * (1 + 2 * (size_t)SCAN_BEST);

static int memory_get(struct scan *s, uint64_t bytes, const char *what, void **out, struct err *e)
{
	int rc = s->t->alloc(s->g, bytes, what, out, e);
	if (rc == OK) atomic_fetch_add(&s->taken, bytes);
	return rc;
}

/* p may be NULL, of 0 bytes. */
static void memory_put(struct scan *s, void *p, uint64_t bytes)
{
	s->t->release(s->g, p);
	atomic_fetch_sub(&s->taken, bytes);
}

static int device_open(struct scan *s, const struct gpu_table *t, struct err *e)
{
	struct gpu_info f;
	int rc = t->open(&s->g, 0, e);
	s->t = t;
	if (rc == OK) rc = t->alloc_host(s->g, STAGE_BYTES, (void **)&s->stage, e);
	if (rc == OK) rc = t->alloc_host(s->g, back_n * sizeof *s->back, (void **)&s->back, e);
	if (rc == OK) rc = memory_get(s, STAGE_BYTES, "queries", (void **)&s->there, e);
	if (rc == OK) rc = memory_get(s, back_n * sizeof *s->found, "what a search found", (void **)&s->found, e);
	if (rc == OK) rc = t->sync(s->g, e);
	if (rc != OK) {
		t->close(s->g);
		s->g = NULL;
		return rc;
	}
	t->info(s->g, &f);
	snprintf(s->name, sizeof s->name, "%s", f.name);
	log_put(LOG_INFO, "embed", "exact search computes on the GPU: %s; %.1f of its %.1f GiB are free still", f.name,
		(double)f.free / (1 << 30), (double)f.memory / (1 << 30));
	stat_count(lost_total, "what=\"search\"", 0);  /* a series from the start on */
	return OK;
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
	if (rc != E_IO || !atomic_compare_exchange_strong(&s->state, &was, NONE)) return rc;
	stat_count(lost_total, "what=\"search\"", 1);
	log_put(LOG_WARN, "embed", "exact search is the CPU's from now on: %s", e->msg);
	return rc;
}

uint64_t scan_device(const struct scan *s, char name[64])
{
	const int there = atomic_load(&s->state) == THERE;
	snprintf(name, 64, "%s", there ? s->name : "");
	return there ? atomic_load(&s->taken) : 0;
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

static size_t block_bytes(const struct scan_table *t, size_t cap)
{
	return cap * (t->len + sizeof(float));
}

int scan_table_open(struct scan_table **out, struct scan *s, size_t len, size_t rows, struct err *e)
{
	*out = NULL;
	if (len == 0 || len % GPU_PAD || len > SCAN_LEN) return err_set(e, E_UNSUPPORTED, "exact search on a GPU: codes of %zu bytes", len);
	*out = mem_calloc(1, sizeof **out);
	if (!*out) return err_set(e, E_MEMORY, "exact search on a GPU: out of memory");
	(*out)->s = s;
	(*out)->len = len;
	(*out)->most = rows;
	return OK;
}

void scan_table_close(struct scan_table *t)
{
	if (!t) return;
	device_take(t->s);
	for (size_t i = 0; i < t->blocks_n; i++) memory_put(t->s, t->blocks[i].codes, block_bytes(t, t->blocks[i].cap));
	device_give(t->s);
	mem_free(t);
}

/* Room for n rows more, in another block where the last has not enough. */
static int table_grow(struct scan_table *t, size_t n, struct err *e)
{
	size_t there = t->cap - t->rows, cap = t->blocks_n ? t->cap / 2 : t->most;
	struct block *b = &t->blocks[t->blocks_n];
	if (n <= there) return OK;
	if (t->blocks_n == BLOCKS_MAX) return err_set(e, E_LIMIT, "exact search on a GPU: more than %d blocks", BLOCKS_MAX);
	if (cap < n - there) cap = n - there;
	if (cap < ROWS_LEAST) cap = ROWS_LEAST;
	cap = (cap + 63) / 64 * 64;
	int rc = memory_get(t->s, block_bytes(t, cap), "codes of vectors", (void **)&b->codes, e);
	if (rc != OK) return rc;
	b->first = t->cap;
	b->cap = cap;
	b->scales = (float *)(b->codes + cap * t->len);
	t->cap += cap;
	t->blocks_n++;
	return OK;
}

/* Some rows to a block, through the stage: codes, then scales. As many as were sent. */
static size_t rows_send(struct scan_table *t, const struct block *b, const uint8_t *rows, size_t stride, size_t n)
{
	const struct scan *s = t->s;
	size_t at = t->rows - b->first, most = STAGE_BYTES / (t->len + sizeof(float));
	if (n > b->cap - at) n = b->cap - at;
	if (n > most) n = most;
	float *scales = (float *)(s->stage + n * t->len);
	for (size_t i = 0; i < n; i++) {
		memcpy(s->stage + i * t->len, rows + i * stride, t->len);
		memcpy(scales + i, rows + i * stride + t->len, sizeof *scales);
	}
	s->t->copy_in(s->g, b->codes + at * t->len, s->stage, n * t->len);
	s->t->copy_in(s->g, b->scales + at, scales, n * sizeof *scales);
	return n;
}

/* There is room. */
static int rows_add(struct scan_table *t, const uint8_t *rows, size_t stride, size_t n, struct err *e)
{
	const struct block *b = t->blocks;
	int rc = OK;
	for (size_t sent; n && rc == OK; rows += sent * stride, n -= sent) {
		while (t->rows >= b->first + b->cap) b++;
		sent = rows_send(t, b, rows, stride, n);
		rc = t->s->t->sync(t->s->g, e);
		if (rc == OK) t->rows += sent;
	}
	return rc;
}

int scan_table_add(struct scan_table *t, const uint8_t *rows, size_t stride, size_t n, struct err *e)
{
	struct err own;
	if (!e) e = &own;
	device_take(t->s);
	int rc = n > (size_t)INT32_MAX - t->rows ? err_set(e, E_LIMIT, "exact search on a GPU: more than %d vectors", INT32_MAX)
		: table_grow(t, n, e);
	if (rc == OK) rc = rows_add(t, rows, stride, n, e);
	device_give(t->s);
	return device_tell(t->s, rc, e);
}

/* ---- queries ---- */

/* At least so many bytes at *p on the device. */
static int room_for(struct scan *s, void **p, size_t *have, size_t bytes, struct err *e)
{
	if (*have >= bytes) return OK;
	memory_put(s, *p, *have);
	*have = 0;
	*p = NULL;
	int rc = memory_get(s, bytes, "work space of a search", p, e);
	if (rc == OK) *have = bytes;
	return rc;
}

static int32_t shift_of(const int8_t *code, size_t len)
{
	int32_t sum = 0;
	for (size_t i = 0; i < len; i++) sum += code[i];
	return CODE_ZERO * sum;
}

/* Queries of one table and as many of its rows, of k at most; the device is the caller's. */
struct round {
	struct asked *const *of;
	size_t n, k, rows;
	size_t words;                /* that come back of a block */
};

/* How many rows of a block are looked at. */
static size_t rows_of(const struct round *r, const struct block *b)
{
	return r->rows - b->first < b->cap ? r->rows - b->first : b->cap;
}

/* Sends the queries: codes, scales, shifts. */
static void queries_send(const struct round *r)
{
	const struct scan_table *t = r->of[0]->t;
	const struct scan *s = t->s;
	int8_t *codes = (int8_t *)s->stage;
	float *scales = (float *)(codes + r->n * t->len);
	int32_t *shifts = (int32_t *)(scales + r->n);
	for (size_t i = 0; i < r->n; i++) {
		const struct scan_query *q = r->of[i]->q;
		memcpy(codes + i * t->len, q->code, t->len);
		scales[i] = q->scale;
		shifts[i] = shift_of(q->code, t->len);
	}
	s->t->copy_in(s->g, s->there, s->stage, r->n * (t->len + sizeof *scales + sizeof *shifts));
}

static void block_scan(const struct round *r, const struct block *b, uint32_t *found)
{
	const struct scan_table *t = r->of[0]->t;
	const struct scan *s = t->s;
	const uint8_t *scales = s->there + r->n * t->len;
	struct gpu_scan c = {.codes = b->codes, .scales = b->scales, .among = r->of[0]->q->among ? s->among + b->first / 32 : NULL,
		.queries = (int8_t *)s->there, .query_scales = (const float *)scales,
		.shifts = (const int32_t *)(scales + r->n * sizeof(float)), .rows = rows_of(r, b), .len = t->len, .n = r->n, .k = r->k,
		.scratch = s->work, .got = found, .best = found + r->n, .near = (float *)(found + r->n + r->n * r->k)};
	s->t->scan(s->g, &c);
}

/* 1: product a stands before b, of a later row. */
static int is_before(float a, float b)
{
	return a > b || (isnan(a) && !isnan(b));
}

/* Joins what came back of a block for query i to what those before it gave. */
static void best_join(const struct round *r, const struct block *b, const uint32_t *back, size_t i)
{
	struct scan_query *q = r->of[i]->q;
	const uint32_t *best = back + r->n + i * r->k;
	const float *near = (const float *)(back + r->n + r->n * r->k) + i * r->k;
	uint32_t rows[SCAN_BEST];
	float nears[SCAN_BEST];
	size_t n = 0, old = 0, new = 0;
	while (n < q->k && (old < q->got || new < back[i])) {
		int later = new < back[i] && (old == q->got || is_before(near[new], q->near[old]));
		rows[n] = later ? (uint32_t)b->first + best[new] : q->best[old];
		nears[n++] = later ? near[new++] : q->near[old++];
	}
	memcpy(q->best, rows, n * sizeof *rows);
	memcpy(q->near, nears, n * sizeof *nears);
	q->got = n;
}

/* As many blocks from *b on as there is room for what comes back; moves *b on. */
static int blocks_run(const struct round *r, const struct block **b, const struct block *end, struct err *e)
{
	const struct scan *s = r->of[0]->t->s;
	const struct block *first = *b;
	size_t n = 0;
	for (; *b < end && (n + 1) * r->words <= back_n; ++*b, n++) block_scan(r, *b, s->found + n * r->words);
	s->t->copy_out(s->g, s->back, s->found, n * r->words * sizeof *s->back);
	int rc = s->t->sync(s->g, e);
	for (size_t i = 0; i < n && rc == OK; i++)
		for (size_t q = 0; q < r->n; q++) best_join(r, first + i, s->back + i * r->words, q);
	return rc;
}

static int asked_run(struct asked *const *of, size_t n, size_t k, struct err *e)
{
	struct scan_table *t = of[0]->t;
	struct scan *s = t->s;
	struct round r = {of, n, k, of[0]->q->rows, n * (1 + 2 * k)};
	size_t among = of[0]->q->among ? (r.rows + 63) / 64 * sizeof *of[0]->q->among : 0, work = 0;
	const struct block *b = t->blocks, *end = b;
	for (; end < b + t->blocks_n && end->first < r.rows; end++) {
		size_t bytes = s->t->scan_bytes(rows_of(&r, end), n, k);
		if (work < bytes) work = bytes;
	}
	int rc = room_for(s, &s->work, &s->work_bytes, work, e);
	if (rc == OK) rc = room_for(s, (void **)&s->among, &s->among_bytes, among, e);
	if (rc != OK) return rc;
	queries_send(&r);
	if (among) s->t->copy_in(s->g, s->among, of[0]->q->among, among);
	while (b < end && rc == OK) rc = blocks_run(&r, &b, end, e);
	return rc;
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
		if (rc != OK && of[i]->e) *of[i]->e = e;
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
