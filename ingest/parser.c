/* parser.c: owns the pool of parsing processes, and what becomes of a file whose parser misbehaves.
 *
 * A thread a worker: it takes files from one queue, keeps its child between them, and is the one that starts it, since
 * a child dies with the thread it came from. A child is never asked twice after a failure: it is killed, and its end
 * (signal, memory at its peak, time) is put into words for the file it had. A file of a kind that a program of the
 * distribution reads (PDF) goes child, program, child: what the program prints is parsed in the sandbox too. A worker without
 * work for IDLE_MS lets its child go.
 *
 * Threads: one lock over the queue and the orders' states; a worker's child is its own. A file is waited for by whoever
 * started it; its cancel flag is looked at every tenth of a second. Failure: see parser.h. */
#include "ingest/parser.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/flag.h"
#include "base/mem.h"
#include "ingest/child.h"
#include "ingest/sandbox.h"
#include "ingest/tool.h"
#include "ingest/wire.h"

enum { WORKERS_MAX = 64, WORKERS_DEFAULT = 4, IDLE_MS = 30000, WAIT_MS = 50, PROGRAM_MAX = 1024, MESSAGE_MAX = 4096 };
enum parse_state { PARSE_NONE, PARSE_QUEUED, PARSE_RUNNING, PARSE_DONE };

struct worker {
	struct parsers *pool;
	pthread_t thread;
	struct child child;
	int files;              /* read by this child */
};

struct parsers {
	struct parsers_options o;
	char pdftotext[PROGRAM_MAX];
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct parse *first, **last;
	struct worker *workers;
	int n, idle, stop;
};

/* ---- words ---- */

static void size_words(char out[32], uint64_t bytes)
{
	if (bytes % (1u << 20) == 0)
		snprintf(out, 32, "%llu MiB", (unsigned long long)(bytes >> 20));
	else
		snprintf(out, 32, "%llu bytes", (unsigned long long)bytes);
}

/* The file is failed with these words; whatever was extracted is forgotten. */
static void fail(struct parse *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct parse *q, const char *fmt, ...)
{
	const char *type = q->x.type ? q->x.type : "txt";
	va_list ap;

	extracted_clear(&q->x);
	memset(&q->x, 0, sizeof q->x);
	q->x.type = type;
	q->x.verdict = EXTRACT_FAILED;
	va_start(ap, fmt);
	vsnprintf(q->x.reason, sizeof q->x.reason, fmt, ap);
	va_end(ap);
}

static void fail_memory(const struct parsers *p, struct parse *q)
{
	char size[32];

	size_words(size, p->o.memory_bytes);
	fail(q, "the parser needed more memory than ingest.parser_memory_bytes (%s)", size);
}

static void fail_time(const struct parsers *p, struct parse *q)
{
	fail(q, "the parser took longer than ingest.parser_seconds (%d s)", p->o.seconds);
}

static void fail_output(const struct parsers *p, struct parse *q)
{
	char size[32];

	size_words(size, p->o.output_bytes_max);
	fail(q, "the parser handed back more than ingest.parser_output_bytes (%s)", size);
}

/* ---- one exchange with a child ---- */

/* The child is of no more use; what its end says about the file. */
static void child_failed(struct worker *w, struct parse *q, int rc, const struct err *e)
{
	const struct parsers *p = w->pool;
	struct child_fate f;

	child_end(&w->child, &f);
	if (rc == E_LIMIT || f.signal == SIGXCPU)
		fail_time(p, q);
	else if (rc == E_FORMAT)
		fail(q, "the parser answered nonsense (%s)", e->msg);
	else if (p->o.memory_bytes && f.peak_bytes >= p->o.memory_bytes / 10 * 9)
		fail_memory(p, q);
	else if (f.signal == SIGKILL)
		fail(q, "the parser was killed (signal %d)", f.signal);
	else if (f.signal)
		fail(q, "the parser crashed (signal %d)", f.signal);
	else
		fail(q, "the parser ended (exit code %d)", f.code);
}

static int child_ready(struct worker *w, struct err *e)
{
	const struct parsers_options *o = &w->pool->o;
	/* A backstop to the wall time that the parent watches: of all the files of a child's life. */
	int64_t cpu = (int64_t)o->seconds * (o->files_max + 1);
	struct child_limits l = { o->memory_bytes, cpu < INT32_MAX ? (int)cpu : INT32_MAX };

	if (w->child.pid && w->files >= o->files_max)
		child_end(&w->child, NULL);
	if (child_lives(&w->child))
		return OK;
	w->files = 0;
	return child_start(&w->child, CHILD_PARSER, &l, NULL, -1, e);
}

/* The reply's bytes in body. E_FORMAT for nonsense, E_LIMIT for a reply that is too long (r->len says so). */
static int converse(struct worker *w, struct parse *q, enum wire_what what, const char *data, size_t len, struct wire_reply *r,
	struct buf *body, struct err *e)
{
	struct wire_request head = { WIRE_REQUEST, what, strlen(q->name), len, q->text_bytes_max };
	struct child_wait wait = { clock_us() + (uint64_t)w->pool->o.seconds * 1000000, &q->cancel };
	int rc = child_write(&w->child, &head, sizeof head, &wait, e);

	memset(r, 0, sizeof *r);
	if (rc == OK)
		rc = child_write(&w->child, q->name, strlen(q->name), &wait, e);
	if (rc == OK)
		rc = child_write(&w->child, data, len, &wait, e);
	/* A child that could not take the request says why before it ends. */
	if (rc == OK || rc == E_IO)
		rc = child_read(&w->child, r, sizeof *r, &wait, e);
	if (rc == OK && (r->magic != WIRE_REPLY || r->status > E_BUG || (r->status != OK && r->len > MESSAGE_MAX)))
		rc = err_set(e, E_FORMAT, "its beginning");
	if (rc == OK && r->len > w->pool->o.output_bytes_max)
		return OK;
	if (rc == OK && buf_reserve(body, (size_t)r->len) != OK)
		return err_set(e, E_MEMORY, "%s: out of memory", q->name);
	if (rc == OK)
		rc = child_read(&w->child, body->data, (size_t)r->len, &wait, e);
	body->len = rc == OK ? (size_t)r->len : 0;
	return rc;
}

/* One request to the end. Only E_MEMORY of this process and E_CANCELLED are errors; the rest is a verdict. */
static int ask(struct worker *w, struct parse *q, enum wire_what what, const char *data, size_t len, struct err *e)
{
	struct err why = { 0 };
	struct wire_reply r;
	struct buf body;
	int rc = child_ready(w, &why);

	if (rc != OK) {
		fail(q, "the parser could not be started: %.120s", why.msg);
		return OK;
	}
	w->files++;
	buf_init(&body, SIZE_MAX);
	rc = converse(w, q, what, data, len, &r, &body, &why);
	if (rc == OK && r.len > w->pool->o.output_bytes_max) {
		child_end(&w->child, NULL);
		fail_output(w->pool, q);
	} else if (rc == OK && r.status == E_MEMORY) {
		child_end(&w->child, NULL);
		fail_memory(w->pool, q);
	} else if (rc == OK && r.status != OK) {
		child_end(&w->child, NULL);
		fail(q, "the parser gave up (%s)", status_name((int)r.status));
	} else if (rc == OK) {
		extracted_clear(&q->x);
		rc = wire_get(&q->x, buf_cstr(&body), body.len, q->text_bytes_max, &why);
	}
	if (rc == E_CANCELLED || rc == E_MEMORY) {
		child_end(&w->child, NULL);
		*e = why;
	} else if (rc != OK) {
		child_failed(w, q, rc, &why);
		rc = OK;
	}
	buf_clear(&body);
	return rc;
}

/* ---- one file ---- */

/* What pdftotext says of a file it cannot read. 1: its output is to be taken. */
static int pdf_read(const struct parsers *p, struct parse *q, int rc, const struct tool_result *r, const struct buf *out,
	const struct err *e)
{
	if (rc == E_NOT_FOUND)
		fail(q, "%.60s is needed to read PDF files: install the package poppler-utils, or set ingest.pdftotext", p->pdftotext);
	else if (rc == E_LIMIT && buf_failed(out))
		fail_output(p, q);
	else if (rc == E_LIMIT)
		fail_time(p, q);
	else if (rc != OK)
		fail(q, "pdftotext: %.150s", e->msg);
	else if (r->no_memory)
		fail_memory(p, q);
	else if (r->signal)
		fail(q, "pdftotext crashed (signal %d)", r->signal);
	else if (strstr(r->words, "ncorrect password") || strstr(r->words, "ncrypted"))
		q->x.verdict = EXTRACT_SKIPPED, snprintf(q->x.reason, sizeof q->x.reason, "encrypted");
	else if (r->code != 0)
		fail(q, "pdftotext cannot read it: %.140s", *r->words ? r->words : "it gives no reason");
	else
		return 1;
	return 0;
}

/* Its words with their boxes come from pdftotext, what they mean is the child's to find out. */
static int work_pdf(struct worker *w, struct parse *q, struct err *e)
{
	const struct parsers *p = w->pool;
	const char *const argv[] = { p->pdftotext, "-bbox-layout", "-enc", "UTF-8", "-", "-", NULL };
	struct tool_limits l = { p->o.memory_bytes, p->o.seconds, &q->cancel };
	struct tool_result r;
	struct err why = { 0 };
	struct buf out;
	int rc;

	buf_init(&out, p->o.output_bytes_max < SIZE_MAX ? (size_t)p->o.output_bytes_max : SIZE_MAX);
	rc = tool_run(argv, q->data, q->len, &l, &out, &r, &why);
	if (rc == E_CANCELLED || rc == E_MEMORY)
		*e = why;
	else if (pdf_read(p, q, rc, &r, &out, &why))
		rc = ask(w, q, WIRE_BOXES, buf_cstr(&out), out.len, e);
	else
		rc = OK;
	q->x.needs_boxes = 0;
	buf_clear(&out);
	return rc;
}

static int work(struct worker *w, struct parse *q, struct err *e)
{
	int rc = flag_is(&q->cancel) ? err_set(e, E_CANCELLED, "cancelled") : OK;

	fault_point("ingest.parse");
	if (rc == OK)
		rc = ask(w, q, WIRE_FILE, q->data, q->len, e);
	return rc == OK && q->x.needs_boxes ? work_pdf(w, q, e) : rc;
}

/* ---- the threads ---- */

static void until_ms(struct timespec *t, int ms)
{
	clock_gettime(CLOCK_MONOTONIC, t);
	t->tv_sec += ms / 1000;
	t->tv_nsec += (long)(ms % 1000) * 1000000;
	if (t->tv_nsec >= 1000000000) {
		t->tv_sec++;
		t->tv_nsec -= 1000000000;
	}
}

/* Under the lock. The next file, or NULL: the pool closes. */
static struct parse *next(struct worker *w)
{
	struct parsers *p = w->pool;
	struct parse *q;

	p->idle++;
	while (!p->first && !p->stop) {
		struct timespec t;

		until_ms(&t, IDLE_MS);
		if (pthread_cond_timedwait(&p->work, &p->lock, &t) == ETIMEDOUT && !p->first && w->child.pid)
			child_end(&w->child, NULL);
	}
	p->idle--;
	q = p->first;
	if (!q)
		return NULL;
	p->first = q->next;
	if (!p->first)
		p->last = &p->first;
	q->state = PARSE_RUNNING;
	return q;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct parsers *p = w->pool;
	struct parse *q;

	pthread_mutex_lock(&p->lock);
	while ((q = next(w)) != NULL) {
		int rc;

		pthread_mutex_unlock(&p->lock);
		rc = work(w, q, &q->e);
		pthread_mutex_lock(&p->lock);
		q->rc = rc;
		q->state = PARSE_DONE;
		pthread_cond_broadcast(&p->done);
	}
	pthread_mutex_unlock(&p->lock);
	child_end(&w->child, NULL);
	return NULL;
}

/* Under the lock. Another thread where the queue has more than those that wait can take. */
static int worker_add(struct parsers *p, struct err *e)
{
	struct worker *w = &p->workers[p->n];
	sigset_t all, was;
	int why;

	*w = (struct worker){ .pool = p, .child = { 0, -1, -1, -1 } };
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);               /* signals are other threads' affair; SIGPIPE is nobody's */
	why = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (why == 0) {
		p->n++;
		return OK;
	}
	if (p->n > 0)
		return OK;                                      /* those there are will do it */
	errno = why;
	return err_sys(e, "parser thread");
}

int parse_start(struct parsers *p, struct parse *q, struct err *e)
{
	int waiting = 1, rc = OK;

	pthread_mutex_lock(&p->lock);
	for (const struct parse *k = p->first; k; k = k->next)
		waiting++;
	if (waiting > p->idle && p->n < p->o.workers)
		rc = worker_add(p, e);
	if (rc == OK) {
		memset(&q->x, 0, sizeof q->x);
		q->x.type = "txt";
		q->state = PARSE_QUEUED;
		q->rc = OK;
		q->cancel = 0;
		q->next = NULL;
		*p->last = q;
		p->last = &q->next;
		pthread_cond_signal(&p->work);
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

int parse_wait(struct parsers *p, struct parse *q, const volatile int *cancel, struct err *e)
{
	int rc;

	pthread_mutex_lock(&p->lock);
	while (q->state != PARSE_DONE) {
		struct timespec t;

		if (flag_is(cancel))
			flag_set(&q->cancel);
		until_ms(&t, WAIT_MS);
		pthread_cond_timedwait(&p->done, &p->lock, &t);
	}
	q->state = PARSE_NONE;
	rc = q->rc;
	pthread_mutex_unlock(&p->lock);
	if (rc != OK && e)
		*e = q->e;
	return rc;
}

void parse_drop(struct parsers *p, struct parse *q)
{
	flag_set(&q->cancel);
	parse_wait(p, q, NULL, NULL);
	extracted_clear(&q->x);
}

int parsers_extract(struct parsers *p, struct extracted *x, const char *name, const char *data, size_t len,
	size_t text_bytes_max, const volatile int *cancel, struct err *e)
{
	struct parse q = { .name = name, .data = data, .len = len, .text_bytes_max = text_bytes_max };
	int rc = parse_start(p, &q, e);

	if (rc != OK)
		return rc;
	rc = parse_wait(p, &q, cancel, e);
	*x = q.x;
	return rc;
}

/* ---- the pool ---- */

static int cores(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n;
}

int parsers_open(struct parsers **out, const struct parsers_options *o, struct err *e)
{
	struct parsers *p = mem_calloc(1, sizeof *p);
	int n = o->workers > 0 ? o->workers : cores();
	pthread_condattr_t monotonic;

	if (o->workers <= 0 && n > WORKERS_DEFAULT)
		n = WORKERS_DEFAULT;
	if (n > WORKERS_MAX)
		n = WORKERS_MAX;
	if (p)
		p->workers = mem_calloc((size_t)n, sizeof *p->workers);
	if (!p || !p->workers) {
		mem_free(p);
		return err_set(e, E_MEMORY, "parsers: out of memory");
	}
	p->o = *o;
	p->o.workers = n;
	snprintf(p->pdftotext, sizeof p->pdftotext, "%s", o->pdftotext ? o->pdftotext : "pdftotext");
	p->o.pdftotext = p->pdftotext;
	p->last = &p->first;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, &monotonic);
	pthread_cond_init(&p->done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*out = p;
	return OK;
}

void parsers_close(struct parsers *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = 1;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < p->n; i++)
		pthread_join(p->workers[i].thread, NULL);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->done);
	pthread_mutex_destroy(&p->lock);
	mem_free(p->workers);
	mem_free(p);
}

int parsers_workers(const struct parsers *p)
{
	return p->o.workers;
}

int parsers_describe(char *out, size_t cap)
{
	struct sandbox_state s;
	char landlock[40];

	sandbox_probe(&s);
	snprintf(landlock, sizeof landlock, s.landlock ? "yes (ABI %d)" : "not in this kernel", s.landlock);
	snprintf(out, cap, "seccomp %s, landlock %s%s%s", s.seccomp ? "yes" : "not in this kernel", landlock,
		s.landlock ? "" : s.seccomp ? ": programs like pdftotext can read files of this user" : ": parsers can read files of this user",
		s.seccomp ? "" : "; a parser's process is held by its limits alone");
	return s.seccomp && s.landlock;
}

int parsers_main(int argc, char **argv)
{
	return child_main(argc, argv);
}
