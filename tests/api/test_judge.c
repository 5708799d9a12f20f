/* The generator as judge: over real models, where they were fetched. */
#include "api/decide.h"
#include "api/judge.h"
#include "api/select.h"
#include "api/write.h"
#include "base/clock.h"
#include "tests/api/fresh.h"
#include "tests/test.h"

static struct conf conf;
static struct service *service;
static struct engine *engine;
static struct arena arena;
static struct err e;

static void open_service(const char *generator)
{
	const char *why;
	fresh_conf(&conf, generator);
	conf.generate_threads = 2;
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	CHECK_OK(service_engine(service, &engine, &why, &e), e);
	arena_init(&arena, 64 << 20);
}

static void close_service(void)
{
	arena_clear(&arena);
	service_close(service);
}

static const char leave[] = "Employees of Alder receive 27 days of paid leave a year. Up to five unused days may be carried over until 31 March.";

static double odds(const char *question, const char *passage)
{
	double x = -1000;
	size_t n = 0;
	CHECK_OK(judge_answerable(service, engine, question, "Leave at Alder", passage, strlen(passage), NULL, 0, &x, &n, &e), e);
	CHECK(x > -100 && x < 100 && n > 30);
	return x;
}

/* Even a small model tells a passage that answers from one about something else. */
static void tell_apart(const char *model)
{
	static const char other[] = "The pump is switched off, the valve is closed by hand and the pressure is let down before the lid is opened.";
	static const char question[] = "How many days of paid leave do employees of Alder receive?";
	open_service(model);
	double yes = odds(question, leave), no = odds(question, other);
	CHECK_MSG(yes > no, "%.3f, other passage %.3f", yes, no);
	CHECK(odds(question, leave) == yes);
	close_service();
}

TEST(judge_tells_apart_0_5b) { tell_apart("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"); }
TEST(judge_tells_apart_1_5b) { tell_apart("qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"); }

TEST(judge_says_why_not)
{
	static char long_text[60000];
	volatile int cancel = 1;
	double x;
	open_service("smollm2-135m-instruct-q4_1.gguf");
	CHECK_INT(judge_answerable(service, engine, "Why?", "", leave, strlen(leave), &cancel, 0, &x, NULL, &e), E_CANCELLED);
	CHECK_INT(judge_answerable(service, engine, "Why?", "", leave, strlen(leave), NULL, clock_us(), &x, NULL, &e), E_CANCELLED);
	for (size_t i = 0; i + 1 < sizeof long_text; i++) long_text[i] = i % 2 ? ' ' : (char)('a' + i % 26);
	CHECK_INT(judge_answerable(service, engine, "Why?", "", long_text, strlen(long_text), NULL, 0, &x, NULL, &e), E_LIMIT);
	close_service();
}

/* Whose judgement counts: those that were fitted, any with a scale of its own, or none. */
TEST(judge_whose_counts)
{
	struct judge_scale x;
	struct conf c;
	conf_default(&c);
	CHECK(decide_judge(&c, "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M", &x) && x.scale == 1 && x.shift == 0);
	CHECK(!decide_judge(&c, "some-other-model", &x));
	CHECK_OK(conf_set(&c, "answer.judge", "own", &e), e);
	CHECK_OK(conf_set(&c, "answer.judge_scale", "0.5", &e), e);
	CHECK_OK(conf_set(&c, "answer.judge_shift", "-1.25", &e), e);
	CHECK(decide_judge(&c, "some-other-model", &x) && x.scale == 0.5 && x.shift == -1.25);
	CHECK_OK(conf_set(&c, "answer.judge", "none", &e), e);
	CHECK(!decide_judge(&c, "qwen2.5-coder-1.5b-instruct-q4_k_m", &x));
	CHECK(conf_set(&c, "answer.judge", "perhaps", &e) != OK);
}
