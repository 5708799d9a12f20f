/* engine.c: the thread that owns the generator, and the queue before it.
 *
 * A caller makes a job, puts it into the bounded queue and waits on the job's condition. The engine thread takes jobs out as long
 * as the generator takes them in, and steps it, which serves all that run; a job that must wait for memory is held back and
 * nobody overtakes it. A job has two holders, the caller and the queue, because a caller whose deadline passes while it
 * waits must be able to leave at once: it marks the job abandoned, and the engine frees it when its turn comes. Once a
 * job runs the caller stays until it ends (prompt, constraint and callbacks are the caller's), and turns its cancel flag
 * or deadline into the stop flag that the generator polls.
 *
 * When the GPU that runs the model is lost, the texts that run fail; with generate.device = auto the engine thread then opens the
 * model anew on the CPU, while who comes waits in the queue, else every text fails from then on and engine_failure says why.
 *
 * Threads: engine_generate from any; the model is opened, run and closed by the engine thread alone. Job states change
 * under the engine's lock. Failure: an error of a text is its caller's result; a model that cannot be opened is
 * engine_open's. */
#include "api/engine.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/flag.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/queue.h"
#include "base/stat.h"

enum { WATCH_MS = 20, TOGETHER_MAX = 64, TELL_STEPS = 32 };
static const char lost_total[] = "footnote_gpu_lost_total";
enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DONE, JOB_ABANDONED };

struct job {
	enum job_state state;
	volatile int stop;               /* polled by the generator */
	pthread_cond_t changed;
	struct gen_request request;
	struct err err;
};

struct part { double running, pages, pages_used, device_bytes; }; /* of the gauges */

struct engine {
	struct queue *queue;
	pthread_mutex_t lock;
	pthread_cond_t opened;
	pthread_t thread;
	const struct generator_options *options;  /* only while opening */
	struct generator *generator;
	struct job *running[TOGETHER_MAX];/* the engine thread's, as the next three */
	size_t running_n, together;      /* how many may run */
	struct job *held;                /* out of the queue, and waiting until another is done; or NULL */
	struct generator_stats told;     /* what the counters know, */
	struct part told_part;           /* and the gauges */
	struct err failure;              /* under the lock: why no text can be written any more; status OK: it can */
	char device[64];                 /* under the lock: what runs the model */
	uint64_t device_bytes;           /* of a GPU's memory; the engine thread's */
	int ready;                       /* the open is over, well or not */
	int closing;
	int callers;                     /* inside engine_generate: they still need the lock when their job is over */
	pthread_cond_t left;             /* signalled when callers falls to 0 */
	int open_status; struct err open_err;
};

static void job_free(struct job *j)
{
	pthread_cond_destroy(&j->changed);
	mem_free(j);
}

static void job_done(struct engine *n, struct job *j, int status)
{
	pthread_mutex_lock(&n->lock);
	j->request.status = status;
	j->state = JOB_DONE;
	pthread_cond_signal(&j->changed);
	pthread_mutex_unlock(&n->lock);
}

/* Lets the job begin; 0 when it must wait. */
static int job_begin(struct engine *n, struct job *j)
{
	int closing, st;
	pthread_mutex_lock(&n->lock);
	closing = n->closing;
	if (j->state == JOB_ABANDONED) {
		pthread_mutex_unlock(&n->lock);
		job_free(j);
		return 1;
	}
	j->state = JOB_RUNNING;
	pthread_mutex_unlock(&n->lock);
	if (closing) {
		job_done(n, j, err_set(&j->err, E_CANCELLED, "the language model is being closed"));
		return 1;
	}
	st = generator_start(n->generator, &j->request);
	if (st == OK) n->running[n->running_n++] = j;
	else if (st != E_BUSY) job_done(n, j, st);
	if (st != E_BUSY) return 1;
	pthread_mutex_lock(&n->lock);
	j->state = JOB_WAITING;
	pthread_mutex_unlock(&n->lock);
	return 0;
}

/* Lets in who waits, as far as they fit. Waits for a job when none runs; E_CANCELLED when none will come. */
static int jobs_admit(struct engine *n)
{
	void *item;
	int st = OK;
	while (n->running_n < n->together) {
		if (!n->held) {
			st = queue_pop(n->queue, n->running_n ? 0 : -1, &item);
			if (st != OK) break;
			n->held = item;
		}
		if (!job_begin(n, n->held)) break;
		n->held = NULL;
	}
	return n->running_n ? OK : st;
}

/* Gauges are those of all engines: each tells what its part was and is. */
static void gauges_tell(struct part *was, struct part is)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct part all;
	pthread_mutex_lock(&lock);
	stat_gauge("footnote_engine_running", "", all.running += is.running - was->running);
	stat_gauge("footnote_engine_kv_pages", "state=\"all\"", all.pages += is.pages - was->pages);
	stat_gauge("footnote_engine_kv_pages", "state=\"used\"", all.pages_used += is.pages_used - was->pages_used);
	stat_gauge("footnote_engine_device_bytes", "", all.device_bytes += is.device_bytes - was->device_bytes);
	pthread_mutex_unlock(&lock);
	*was = is;
}

/* Tells the metrics what came since they were told last. */
static void stats_tell(struct engine *n)
{
	struct generator_stats s, *t = &n->told;
	generator_stats(n->generator, &s);
	stat_count("footnote_engine_steps_total", "", (double)(s.steps - t->steps));
	stat_count("footnote_engine_tokens_total", "kind=\"prompt\"", (double)(s.prompt_tokens - t->prompt_tokens));
	stat_count("footnote_engine_tokens_total", "kind=\"reused\"", (double)(s.reused_tokens - t->reused_tokens));
	stat_count("footnote_engine_tokens_total", "kind=\"written\"", (double)(s.written_tokens - t->written_tokens));
	stat_count("footnote_engine_tokens_total", "kind=\"drafted\"", (double)(s.drafted - t->drafted));
	stat_count("footnote_engine_tokens_total", "kind=\"accepted\"", (double)(s.accepted - t->accepted));
	stat_count("footnote_engine_write_steps_total", "", (double)(s.write_steps - t->write_steps));
	stat_count("footnote_engine_writers_total", "", (double)(s.writers - t->writers));
	gauges_tell(&n->told_part, (struct part){ (double)s.running, (double)s.pages, (double)s.pages_used, (double)n->device_bytes });
	*t = s;
}

/* No step runs any more, unless the CPU takes over. */
static void device_lost(struct engine *n, struct err *why)
{
	const int cpu_too = generator_info(n->generator)->cpu_too;
	stat_count(lost_total, "what=\"generator\"", 1);
	if (cpu_too) log_put(LOG_ERROR, "engine", "%s: the model is opened again, on the CPU", why->msg);
	if (cpu_too && generator_recover(n->generator, why) == OK) {
		n->device_bytes = 0;
		pthread_mutex_lock(&n->lock);
		snprintf(n->device, sizeof n->device, "cpu");
		pthread_mutex_unlock(&n->lock);
		log_put(LOG_WARN, "engine", "%s runs on the CPU now; a restart tries the GPU again", generator_info(n->generator)->name);
		return;
	}
	log_put(LOG_ERROR, "engine", "%s: no text can be written before a restart", why->msg);
	pthread_mutex_lock(&n->lock);
	n->failure = *why;
	pthread_mutex_unlock(&n->lock);
}

static void jobs_run(struct engine *n)
{
	struct err why;
	int lost = 0;
	for (size_t step = 0; jobs_admit(n) == OK; step++) {
		size_t left = 0, were = n->running_n;
		generator_step(n->generator);
		for (size_t i = 0; i < were; i++) {
			struct job *j = n->running[i];
			if (j->request.done) job_done(n, j, j->request.status);
			else n->running[left++] = j;
		}
		n->running_n = left;
		if (!lost && generator_lost(n->generator, &why) != OK) { /* whose texts failed by that know it already */
			device_lost(n, &why);
			lost = 1;                /* a CPU is not lost, and a GPU not found again */
		}
		if (left < were || step % TELL_STEPS == 0) stats_tell(n);
	}
}

static void *engine_main(void *arg)
{
	struct engine *n = arg;
	int rc = generator_open(&n->generator, n->options, &n->open_err);
	if (!rc) {
		n->device_bytes = generator_info(n->generator)->device_bytes;
		stats_tell(n);           /* what there is, before the first text */
	}
	pthread_mutex_lock(&n->lock);
	if (!rc) snprintf(n->device, sizeof n->device, "%s", generator_info(n->generator)->device);
	n->open_status = rc;
	n->ready = 1;
	pthread_cond_signal(&n->opened);
	pthread_mutex_unlock(&n->lock);
	if (rc) return NULL;
	if (n->device_bytes) stat_count(lost_total, "what=\"generator\"", 0); /* a series from the start on */
	jobs_run(n);
	gauges_tell(&n->told_part, (struct part){ 0 });
	generator_close(n->generator);
	return NULL;
}

static void engine_free(struct engine *n)
{
	if (n->queue) queue_free(n->queue);
	pthread_cond_destroy(&n->opened);
	pthread_cond_destroy(&n->left);
	pthread_mutex_destroy(&n->lock);
	mem_free(n);
}

int engine_open(struct engine **out, const struct generator_options *o, size_t queue_cap, struct err *e)
{
	struct engine *n = mem_calloc(1, sizeof *n);
	int rc;
	if (!n) return err_set(e, E_MEMORY, "language model: out of memory");
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->opened, NULL);
	pthread_cond_init(&n->left, NULL);
	n->options = o;
	n->together = o->sequences ? (size_t)o->sequences : 1;
	n->queue = queue_new(queue_cap);
	if (!n->queue) {
		engine_free(n);
		return err_set(e, E_MEMORY, "language model: out of memory");
	}
	rc = pthread_create(&n->thread, NULL, engine_main, n);
	if (rc) {
		engine_free(n);
		return err_set(e, E_MEMORY, "language model: no thread: %s", strerror(rc));
	}
	pthread_mutex_lock(&n->lock);
	while (!n->ready) pthread_cond_wait(&n->opened, &n->lock);
	pthread_mutex_unlock(&n->lock);
	n->options = NULL;
	if (n->open_status) {
		rc = n->open_status;
		if (e) *e = n->open_err;
		pthread_join(n->thread, NULL);
		engine_free(n);
		return rc;
	}
	*out = n;
	return OK;
}

void engine_close(struct engine *n)
{
	if (!n) return;
	pthread_mutex_lock(&n->lock);
	n->closing = 1;
	pthread_mutex_unlock(&n->lock);
	queue_close(n->queue);
	pthread_join(n->thread, NULL);
	pthread_mutex_lock(&n->lock);
	while (n->callers) pthread_cond_wait(&n->left, &n->lock);
	pthread_mutex_unlock(&n->lock);
	engine_free(n);
}

const struct generator *engine_generator(const struct engine *n)
{
	return n->generator;
}

int engine_failure(struct engine *n, struct err *e)
{
	int st;
	pthread_mutex_lock(&n->lock);
	st = n->failure.status;
	if (st && e) *e = n->failure;
	pthread_mutex_unlock(&n->lock);
	return st;
}

void engine_device(struct engine *n, char out[64])
{
	pthread_mutex_lock(&n->lock);
	snprintf(out, 64, "%s", n->device);
	pthread_mutex_unlock(&n->lock);
}

size_t engine_waiting(struct engine *n)
{
	return queue_len(n->queue);
}

static struct job *job_new(void)
{
	struct job *j = mem_calloc(1, sizeof *j);
	pthread_condattr_t attr;
	if (!j) return NULL;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&j->changed, &attr);
	pthread_condattr_destroy(&attr);
	return j;
}

static void wait_a_little(struct job *j, pthread_mutex_t *lock)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += WATCH_MS * 1000000L;
	if (t.tv_nsec >= 1000000000L) t.tv_sec++, t.tv_nsec -= 1000000000L;
	pthread_cond_timedwait(&j->changed, lock, &t);
}

/* Waits until the job is done (1), or leaves it behind because it was not its turn in time (0). */
static int job_wait(struct engine *n, struct job *j, const volatile int *cancel, uint64_t deadline_us)
{
	pthread_mutex_lock(&n->lock);
	while (j->state != JOB_DONE) {
		if (flag_is(cancel) || (deadline_us && clock_us() >= deadline_us)) {
			flag_set(&j->stop);
			if (j->state == JOB_WAITING) {
				j->state = JOB_ABANDONED;
				pthread_mutex_unlock(&n->lock);
				return 0;
			}
		}
		wait_a_little(j, &n->lock);
	}
	pthread_mutex_unlock(&n->lock);
	return 1;
}

static void caller_count(struct engine *n, int by)
{
	pthread_mutex_lock(&n->lock);
	n->callers += by;
	if (n->callers == 0) pthread_cond_broadcast(&n->left);
	pthread_mutex_unlock(&n->lock);
}

/* Refused when the queue is full; who is patient waits for room. */
static int job_push(struct engine *n, struct job *j, const volatile int *cancel)
{
	int rc;
	while ((rc = queue_push(n->queue, j)) == E_LIMIT && j->request.params->patient && !flag_is(cancel)) usleep(WATCH_MS * 1000);
	return rc;
}

/* Queues the job and waits for it. It is freed, or left to the engine when it was abandoned. */
static int job_do(struct engine *n, struct job *j, const volatile int *cancel, uint64_t deadline_us, struct err *e)
{
	int rc = job_push(n, j, cancel);
	if (rc) {
		job_free(j);
		return rc == E_LIMIT ? err_set(e, E_LIMIT, "the language model's queue is full")
			: err_set(e, rc, "the language model is being closed");
	}
	if (!job_wait(n, j, cancel, deadline_us))
		return err_set(e, E_CANCELLED, "given up while waiting for the language model");
	rc = j->request.status;
	if (rc && e) *e = j->err;
	job_free(j);
	return rc;
}

int engine_generate(struct engine *n, const int32_t *prompt, size_t prompt_n, const struct gen_params *p,
	const struct gen_constraint *c, gen_text_fn on_text, void *ctx, const volatile int *cancel, uint64_t deadline_us,
	struct gen_result *r, struct err *e)
{
	struct job *j;
	int rc;
	memset(r, 0, sizeof *r);
	j = job_new();
	if (!j) return err_set(e, E_MEMORY, "language model: out of memory");
	j->request = (struct gen_request){ .prompt = prompt, .n = prompt_n, .params = p, .constraint = c, .on_text = on_text,
		.ctx = ctx, .cancel = &j->stop, .result = r, .err = &j->err };
	caller_count(n, 1);
	rc = job_do(n, j, cancel, deadline_us, e);
	caller_count(n, -1);
	return rc;
}
