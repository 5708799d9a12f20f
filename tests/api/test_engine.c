/* test_engine.c: the generator's thread: results, a queue that refuses, cancelling while waiting and while running,
 * deadlines, closing under load. With smollm2. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include "api/engine.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/mem.h"
#include "base/stat.h"
#include "tests/generate/plain_gpu.h"
#include "tests/gguf_make.h"
#include "tests/test.h"

static struct engine *smollm_open_for(size_t queue, int sequences)
{
	const char *path = test_model("smollm2-135m-instruct-q4_1.gguf");
	struct generator_options o = { .path = path, .device = "cpu", .threads = 2, .context_max = 1024, .sequences = sequences, .draft_max = 8,
		.kv_bytes = sequences > 1 ? 40 << 20 : 0 };
	struct engine *n;
	struct err e = {0};
	if (!path) test_skip("smollm2 was not fetched");
	CHECK_OK(engine_open(&n, &o, queue, &e), e);
	return n;
}

static struct engine *smollm_open(size_t queue)
{
	return smollm_open_for(queue, 1);
}

/* One request, in a thread of its own when wanted. */
struct request {
	struct engine *engine;
	struct tokens prompt;
	int max_tokens, patient, pace_ms; /* pace_ms: that each piece of text takes at least */
	volatile int cancel, begun, done;
	uint64_t deadline_us;
	struct gen_result result;
	struct err err;
	int rc;
	pthread_t thread;
};

/* Keeps a request going for as long as it may: no text ends it. */
static enum gen_verdict never_stop(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	(void)ctx;
	if (!v->is_stop) return GEN_ACCEPT;
	s->force = " and";
	s->force_len = 4;
	return GEN_FORCE;
}

static int on_text(void *ctx, const char *text, size_t len)
{
	struct request *q = ctx;
	(void)text, (void)len;
	flag_set(&q->begun);
	if (q->pace_ms) poll(NULL, 0, q->pace_ms);
	return 0;
}

static void *request_main(void *arg)
{
	struct request *q = arg;
	struct gen_constraint c = { NULL, never_stop };
	struct gen_params p;
	gen_params_default(&p);
	p.max_tokens = q->max_tokens;
	p.patient = q->patient;
	q->rc = engine_generate(q->engine, q->prompt.ids, q->prompt.n, &p, &c, on_text, q, &q->cancel, q->deadline_us,
		&q->result, &q->err);
	flag_set(&q->done);
	return NULL;
}

static void request_init(struct request *q, struct engine *n, int max_tokens)
{
	static const char text[] = "Once upon a time there was a";
	struct err e = {0};
	*q = (struct request){ .engine = n, .max_tokens = max_tokens };
	CHECK_OK(generator_tokenize(engine_generator(n), text, strlen(text), &q->prompt, &e), e);
}

static void request_start(struct request *q)
{
	CHECK_INT(pthread_create(&q->thread, NULL, request_main, q), 0);
}

static void request_end(struct request *q)
{
	buf_clear(&q->result.text);
	tokens_clear(&q->prompt);
}

static void until_begun(struct request *q)
{
	while (!flag_is(&q->begun) && !flag_is(&q->done)) poll(NULL, 0, 2);
}

static void until_queued(struct engine *n, struct request *q)
{
	while (engine_waiting(n) == 0 && !flag_is(&q->done)) poll(NULL, 0, 2);
}

TEST(engine_missing_and_broken_models_are_errors)
{
	struct generator_options o = { .path = "/no/such/model.gguf", .device = "cpu", .threads = 1 };
	struct engine *n = NULL;
	struct err e = {0};
	CHECK_INT(engine_open(&n, &o, 4, &e), E_NOT_FOUND);
	CHECK_MSG(strstr(e.msg, "/no/such/model.gguf"), "%s", e.msg);
	o.path = test_data("test.h");
	CHECK(engine_open(&n, &o, 4, &e) != OK);
	CHECK(e.msg[0] && n == NULL);
	engine_close(NULL);
}

/* What the metrics say of a GPU's memory. */
static void device_bytes_told(uint64_t want)
{
	static const char name[] = "\nfootnote_engine_device_bytes ";
	struct buf all;
	const char *at;
	buf_init(&all, 1 << 20);
	CHECK_INT(stat_print(&all), OK);
	at = strstr(buf_cstr(&all), name);
	CHECK(at != NULL);
	CHECK_INT(strtod(at + sizeof name - 1, NULL), (double)want);
	buf_clear(&all);
}

static void random_made(char path[300])
{
	struct model_spec s = model_spec_of("llama");
	s.layers = 1;
	s.dim = s.ff = 64;
	s.heads = 2;
	s.head_dim = 32;
	snprintf(path, 300, "%s/random.gguf", test_dir());
	model_make(&s, path);
}

/* A model of random weights on a GPU that is lost in the middle of a text. */
static struct engine *lost_open(const char *device, struct request *q)
{
	char path[300];
	struct generator_options o = { .path = path, .threads = 1, .sequences = 2, .device = device, .gpu = &plain_gpu };
	struct engine *n;
	struct err e;
	char on[64];
	random_made(path);
	CHECK_OK(engine_open(&n, &o, 4, &e), e);
	engine_device(n, on);
	CHECK_STR(on, "plain loops");
	device_bytes_told(generator_info(engine_generator(n))->device_bytes);
	CHECK_OK(engine_failure(n, &e), e);
	plain_gpu_state.lose_after = 6;
	request_init(q, n, 40);
	request_start(q);
	pthread_join(q->thread, NULL);
	CHECK_INT(q->rc, E_IO);
	CHECK_MSG(strstr(q->err.msg, "device lost"), "%s", q->err.msg);
	request_end(q);
	return n;
}

/* Metrics are those of all engines of the process, and of none that is closed. */
TEST(engines_add_up_in_metrics)
{
	char path[300];
	struct generator_options o = { .path = path, .threads = 1, .device = "cuda", .gpu = &plain_gpu };
	struct engine *n[2];
	struct err e;
	uint64_t each;
	random_made(path);
	for (int i = 0; i < 2; i++) CHECK_OK(engine_open(&n[i], &o, 4, &e), e);
	each = generator_info(engine_generator(n[0]))->device_bytes;
	device_bytes_told(2 * each);
	engine_close(n[1]);
	device_bytes_told(each);
	engine_close(n[0]);
	device_bytes_told(0);
}

TEST(engine_goes_on_without_its_gpu)
{
	struct request q;
	struct engine *n = lost_open("auto", &q);
	struct err e;
	struct buf metrics;
	char on[64];
	request_init(&q, n, 12);
	request_start(&q);
	pthread_join(q.thread, NULL);
	CHECK_OK(q.rc, q.err);
	CHECK_INT(q.result.completion_tokens, 12);
	request_end(&q);
	engine_device(n, on);
	CHECK_STR(on, "cpu");
	buf_init(&metrics, 1 << 20);
	CHECK_OK(stat_print(&metrics), e);
	CHECK(strstr(buf_cstr(&metrics), "footnote_gpu_lost_total{what=\"generator\"} 1\n"));
	buf_clear(&metrics);
	device_bytes_told(0);
	CHECK_OK(engine_failure(n, &e), e);
	CHECK_INT(plain_gpu_state.open, 0);
	engine_close(n);
}

TEST(engine_says_that_its_gpu_is_lost)
{
	struct request q;
	struct engine *n = lost_open("cuda", &q);
	struct err e;
	for (int i = 0; i < 3; i++) {
		request_init(&q, n, 12);
		request_start(&q);
		pthread_join(q.thread, NULL);
		CHECK_INT(q.rc, E_IO);
		CHECK_MSG(strstr(q.err.msg, "device lost"), "%s", q.err.msg);
		request_end(&q);
	}
	CHECK_INT(engine_failure(n, &e), E_IO);
	CHECK_MSG(strstr(e.msg, "device lost"), "%s", e.msg);
	engine_close(n);
}

TEST(engine_gives_every_caller_its_own_result)
{
	struct request q[4];
	struct engine *n = smollm_open(8);
	for (int i = 0; i < 4; i++) request_init(&q[i], n, 4 + i);
	for (int i = 0; i < 4; i++) request_start(&q[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(q[i].thread, NULL);
		CHECK_OK(q[i].rc, q[i].err);
		CHECK_INT(q[i].result.finish, GEN_END_LENGTH);
		CHECK_INT(q[i].result.completion_tokens, 4 + i);
		CHECK(strncmp(buf_cstr(&q[i].result.text), buf_cstr(&q[0].result.text), 4) == 0);
	}
	for (int i = 0; i < 4; i++) request_end(&q[i]);
	engine_close(n);
}

/* More callers than sequences, and more sequences than the memory holds: all get what they would get alone. */
TEST(engine_writes_together)
{
	enum { N = 10 };
	struct request q[N];
	char *alone[N];
	struct engine *n = smollm_open_for(2 * N, 1);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < N; i++) {
			struct err e = {0};
			static const char *const texts[] = { "The three primary colours are", "A list of words: one, two, three, one, two,",
				"Once upon a time", "Paris is the capital of", "Dear Sir or Madam," };
			request_init(&q[i], n, 20 + 7 * i);
			CHECK_OK(generator_tokenize(engine_generator(n), texts[i % 5], strlen(texts[i % 5]), &q[i].prompt, &e), e);
			request_start(&q[i]);
			if (!round) pthread_join(q[i].thread, NULL);
		}
		for (int i = 0; i < N; i++) {
			if (round) pthread_join(q[i].thread, NULL);
			CHECK_OK(q[i].rc, q[i].err);
			CHECK_INT(q[i].result.completion_tokens, 20 + 7 * i);
			if (!round) alone[i] = buf_take(&q[i].result.text, NULL);
			else CHECK_STR(buf_cstr(&q[i].result.text), alone[i]);
			request_end(&q[i]);
		}
		engine_close(n);
		if (!round) n = smollm_open_for(2 * N, 6);
	}
	for (int i = 0; i < N; i++) mem_free(alone[i]);
}

TEST(engine_full_queue_refuses_and_who_waits_may_leave)
{
	struct request running, waiting, over, patient, leaving;
	struct engine *n = smollm_open(1);
	request_init(&running, n, 900);
	request_init(&waiting, n, 5);
	request_init(&over, n, 5);
	request_init(&patient, n, 5);
	request_init(&leaving, n, 5);
	patient.patient = leaving.patient = 1;
	request_start(&running);
	until_begun(&running);
	request_start(&waiting);
	until_queued(n, &waiting);
	request_main(&over);
	CHECK_INT(over.rc, E_LIMIT);
	request_start(&patient);                 /* waits where the other was refused */
	flag_set(&leaving.cancel);
	request_main(&leaving);
	CHECK(leaving.rc != OK && !leaving.begun && !flag_is(&patient.done));
	flag_set(&waiting.cancel);
	pthread_join(waiting.thread, NULL);
	CHECK_INT(waiting.rc, E_CANCELLED);
	CHECK(!waiting.begun);
	flag_set(&running.cancel);
	pthread_join(running.thread, NULL);
	CHECK_OK(running.rc, running.err);
	CHECK_INT(running.result.finish, GEN_END_CANCELLED);
	CHECK(running.result.completion_tokens < 900);
	pthread_join(patient.thread, NULL);
	CHECK_OK(patient.rc, patient.err);
	CHECK_INT(patient.result.completion_tokens, 5);
	request_end(&patient);
	request_end(&leaving);
	request_end(&running);
	request_end(&waiting);
	request_end(&over);
	engine_close(n);
}

TEST(engine_deadline_ends_waiting_and_running)
{
	struct request running, waiting;
	struct engine *n = smollm_open(4);
	request_init(&running, n, 900);
	request_init(&waiting, n, 5);
	running.pace_ms = 5;                    /* or a quick machine is done before its deadline */
	running.deadline_us = clock_us() + 1000000;
	waiting.deadline_us = clock_us() + 100000;
	request_start(&running);
	until_begun(&running);
	request_main(&waiting);
	CHECK_INT(waiting.rc, E_CANCELLED);
	pthread_join(running.thread, NULL);
	CHECK_OK(running.rc, running.err);
	CHECK_INT(running.result.finish, GEN_END_CANCELLED);
	CHECK_INT(running.result.text.len > 0, running.begun);
	request_end(&running);
	request_end(&waiting);
	engine_close(n);
}

static void *close_main(void *engine)
{
	engine_close(engine);
	return NULL;
}

TEST(engine_close_finishes_what_runs_and_cancels_what_waits)
{
	struct request running, waiting;
	pthread_t closer;
	struct engine *n = smollm_open(4);
	request_init(&running, n, 60);
	request_init(&waiting, n, 5);
	request_start(&running);
	until_begun(&running);
	request_start(&waiting);
	until_queued(n, &waiting);
	pthread_create(&closer, NULL, close_main, n);
	pthread_join(running.thread, NULL);
	pthread_join(waiting.thread, NULL);
	pthread_join(closer, NULL);
	CHECK_OK(running.rc, running.err);
	CHECK_INT(running.result.completion_tokens, 60);
	CHECK_INT(waiting.rc, E_CANCELLED);
	request_end(&running);
	request_end(&waiting);
}
