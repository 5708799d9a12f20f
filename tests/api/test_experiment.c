/* Experiments: definitions refused, shares and stickiness, what an arm sets, figures over a restart, intervals. */
#include <math.h>
#include "api/experiment.h"
#include "api/latency.h"
#include "tests/test.h"

static struct conf conf;
static struct service *service;
static struct arena arena;
static struct err e;

static void start(void)
{
	conf_default(&conf);
	snprintf(conf.generate_model, sizeof conf.generate_model, "none");
	conf.map_bytes = 64 << 20;
	static char dir[512];
	if (!service) snprintf(dir, sizeof dir, "%s/data", test_dir());
	snprintf(conf.data_dir, sizeof conf.data_dir, "%s", dir);
	CHECK_OK(service_open(&service, &conf, 0, &e), e);
	arena_init(&arena, 64 << 20);
}

static void end(void)
{
	arena_clear(&arena);
	service_close(service);
}

static int begin(const char *json, cJSON **out)
{
	struct err pe;
	cJSON *o;
	CHECK_OK(json_parse(&o, json, strlen(json), 1 << 20, "test", &pe), pe);
	int rc = experiments_start(service->experiments, o, out, &e);
	cJSON_Delete(o);
	return rc;
}

static const char *arm_of(const char *user, const char *key, const char *question, struct answer_request *q)
{
	static struct answer a;
	*q = (struct answer_request){ .question = question, .user = user, .key_id = key, .traffic = 1, .conf = &service->conf };
	a = (struct answer){ .experiment = "", .arm = "" };
	CHECK_OK(experiments_enter(service->experiments, q, &a, &arena, &e), e);
	return a.arm;
}

TEST(experiments_definitions_are_checked)
{
	static const struct { const char *json, *word; int status; } rows[] = {
		{ "{}", "name", E_USAGE }, { "{\"name\":\"a b\",\"arms\":[]}", "name", E_USAGE }, { "{\"name\":\"x\"}", "arms", E_USAGE },
		{ "{\"name\":\"x\",\"arms\":[5]}", "objects", E_USAGE },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":60},{\"name\":\"b\",\"share\":50}]}", "110", E_USAGE },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":50},{\"name\":\"a\",\"share\":50}]}", "two named a", E_USAGE },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":-1}]}", "share", E_USAGE },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":100,\"prompt\":\"answer@9\"}]}", "answer@9", E_NOT_FOUND },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":100,\"prompt\":\"judge\"}]}", "answer@1", E_NOT_FOUND },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":100,\"style\":\"loud\"}]}", "style", E_USAGE },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":100,\"settings\":{\"data.dir\":\"/\"}}]}", "data.dir", E_USAGE },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":100,\"settings\":{\"answer.confidence\":7}}]}", "answer.confidence", E_USAGE },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":100,\"settings\":{\"answer.confidence\":[]}}]}", "answer.confidence", E_USAGE },
		{ "{\"name\":\"x\",\"arms\":[{\"name\":\"a\",\"share\":100,\"settings\":{\"answer.context_tokens\":60000}}]}", "generate.context", E_USAGE },
	};
	cJSON *o;
	service = NULL;
	start();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int rc = begin(rows[i].json, &o);
		CHECK_MSG(rc == rows[i].status && !o && strstr(e.msg, rows[i].word), "row %zu: %d %s", i, rc, e.msg);
	}
	CHECK_OK(experiments_list(service->experiments, &o, &e), e);
	CHECK_INT(cJSON_GetArraySize(json_get(o, "experiments")), 0);
	cJSON_Delete(o);
	end();
}

static const char split[] = "{\"name\":\"split\",\"arms\":[{\"name\":\"old\",\"share\":70},{\"name\":\"new\",\"share\":30,\"prompt\":\"answer@1\","
	"\"style\":\"extractive\",\"settings\":{\"answer.passages\":3,\"search.fusion\":\"rrf\",\"answer.confidence\":0.5}}]}";

TEST(experiments_split_by_share_and_stick)
{
	struct answer_request q;
	cJSON *o;
	char user[32];
	int fresh = 0, differ = 0;
	service = NULL;
	start();
	CHECK_STR(arm_of("u", NULL, "why?", &q), "");
	CHECK_OK(begin(split, &o), e);
	cJSON_Delete(o);
	for (int i = 0; i < 2000; i++) {
		snprintf(user, sizeof user, "user-%d", i);
		const char *arm = arm_of(user, "key", "one question?", &q);
		fresh += !strcmp(arm, "new");
		CHECK_STR(arm_of(user, "another key", "another question?", &q), arm);
		differ += strcmp(arm, arm_of(NULL, user, "one question?", &q)) != 0;
	}
	CHECK_MSG(fresh > 520 && fresh < 680, "%d of 2000 in an arm of 30 %%", fresh);
	CHECK(differ > 200);          /* a user and a key of one name are two askers */
	for (int i = 0; i < 200; i++) {
		snprintf(user, sizeof user, "user-%d", i);
		const char *arm = arm_of(user, NULL, "why?", &q);
		if (!strcmp(arm, "old")) {
			CHECK(!q.prompt && q.style == STYLE_GENERATE && q.conf == &service->conf);
			continue;
		}
		CHECK_STR(q.prompt, "answer@1");
		CHECK(q.style == STYLE_EXTRACTIVE && q.conf != &service->conf);
		CHECK_INT(q.conf->answer_passages, 3);
		CHECK_STR(q.conf->search_fusion, "rrf");
		CHECK(q.conf->answer_confidence == 0.5 && q.conf->answer_context_tokens == service->conf.answer_context_tokens);
		break;
	}
	q = (struct answer_request){ .question = "why?", .traffic = 1, .prompt = "answer@1", .conf = &service->conf };
	struct answer a = { .experiment = "", .arm = "" };
	CHECK_OK(experiments_enter(service->experiments, &q, &a, &arena, &e), e);
	CHECK_STR(a.arm, "");
	q = (struct answer_request){ .question = "why?", .conf = &service->conf };
	CHECK_OK(experiments_enter(service->experiments, &q, &a, &arena, &e), e);
	CHECK_STR(a.arm, "");
	CHECK_INT(begin(split, &o), E_CONFLICT);
	CHECK_INT(begin("{\"name\":\"other\",\"arms\":[{\"name\":\"a\",\"share\":100}]}", &o), E_CONFLICT);
	CHECK(strstr(e.msg, "split"));
	CHECK_INT(experiments_remove(service->experiments, "split", &o, &e), E_CONFLICT);
	end();
}

static const cJSON *arm_view(const cJSON *o, int i)
{
	return cJSON_GetArrayItem(json_get(o, "arms"), i);
}

TEST(experiments_figures_outlive_the_process)
{
	struct answer a = { .experiment = "split", .arm = "new", .prompt_tokens = 100, .completion_tokens = 10 };
	struct buf csv;
	cJSON *o;
	service = NULL;
	start();
	CHECK_OK(begin(split, &o), e);
	cJSON_Delete(o);
	for (int i = 0; i < 10; i++) {
		a.status = i < 8 ? ANSWER_ANSWERED : ANSWER_ABSTAINED;
		a.total_ms = 100 * (i + 1);
		experiments_count(service->experiments, &a, OK);
	}
	experiments_count(service->experiments, &a, E_IO);
	experiments_count(service->experiments, &a, E_CANCELLED);
	for (int i = 0; i < 4; i++) experiments_rate(service->experiments, "split", "new", 0, i ? 1 : -1);
	experiments_rate(service->experiments, "split", "new", 1, -1);
	experiments_rate(service->experiments, "split", "new", -1, 1);
	experiments_rate(service->experiments, "split", "nobody", 0, 1);
	experiments_rate(service->experiments, "nothing", "new", 0, 1);
	end();
	start();
	CHECK_OK(experiments_view(service->experiments, "split", &o, &e), e);
	CHECK_STR(json_str(o, "status", ""), "running");
	const cJSON *m = arm_view(o, 1), *r = json_get(m, "answered_rate"), *t = json_get(m, "latency_ms"), *f = json_get(m, "feedback");
	CHECK(json_num(m, "requests", 0) == 11 && json_num(m, "answered", 0) == 8 && json_num(m, "abstained", 0) == 2 && json_num(m, "failed", 0) == 1);
	CHECK(json_num(r, "rate", 0) == 0.8 && fabs(json_num(r, "low", 0) - 0.490) < 0.002 && fabs(json_num(r, "high", 0) - 0.943) < 0.002);
	CHECK(json_num(t, "p50", 0) > 400 && json_num(t, "p50", 0) < 620 && json_num(t, "p95", 0) > 800 && json_num(t, "p95", 0) < 1200);
	CHECK(json_num(t, "mean", 0) == 550 && json_num(f, "up", 0) == 3 && json_num(f, "down", 0) == 1);
	CHECK(cJSON_IsNull(cJSON_GetObjectItem(arm_view(o, 0), "answered_rate")));
	cJSON_Delete(o);
	buf_init(&csv, 1 << 16);
	CHECK_OK(experiments_csv(service->experiments, "split", &csv, &e), e);
	CHECK_MSG(strstr(buf_cstr(&csv), "\nsplit,new,30,answer@1,extractive,answer.passages=3 search.fusion=rrf answer.confidence=0.5,11,8,2,0,1,0.8000,"), "%s", buf_cstr(&csv));
	size_t commas[3] = { 0 }, line = 0;
	for (const char *s = buf_cstr(&csv); *s; s++) *s == '\n' ? line++ : (commas[line] += *s == ',');
	CHECK(line == 3 && commas[0] == commas[1] && commas[1] == commas[2]);
	buf_clear(&csv);
	CHECK_OK(experiments_stop(service->experiments, "split", &o, &e), e);
	cJSON_Delete(o);
	CHECK_INT(experiments_stop(service->experiments, "split", &o, &e), E_CONFLICT);
	CHECK_INT(experiments_stop(service->experiments, "nothing", &o, &e), E_NOT_FOUND);
	end();
	start();
	CHECK_OK(experiments_view(service->experiments, "split", &o, &e), e);
	CHECK_STR(json_str(o, "status", ""), "stopped");
	cJSON_Delete(o);
	struct answer_request q;
	CHECK_STR(arm_of("u", NULL, "why?", &q), "");
	CHECK_OK(experiments_remove(service->experiments, "split", &o, &e), e);
	cJSON_Delete(o);
	CHECK_INT(experiments_view(service->experiments, "split", &o, &e), E_NOT_FOUND);
	CHECK_OK(begin(split, &o), e);
	cJSON_Delete(o);
	end();
}

TEST(latency_quantiles_are_near)
{
	static struct latency l, again;
	memset(&l, 0, sizeof l);
	CHECK(latency_quantile(&l, 0.5) == 0);
	for (int i = 1; i <= 1000; i++) latency_add(&l, i * 7);
	latency_add(&l, NAN);
	latency_add(&l, -1);
	CHECK_INT(l.n, 1000);
	const double want[] = { 0.1, 0.5, 0.95, 0.99 };
	for (int i = 0; i < 4; i++) {
		double got = latency_quantile(&l, want[i]) / (7000 * want[i]);
		CHECK_MSG(got > 0.83 && got < 1.2, "quantile %g is off by %g", want[i], got);
	}
	cJSON *o = latency_keep(&l);
	latency_read(&again, o);
	CHECK(memcmp(&l, &again, sizeof l) == 0);
	cJSON_Delete(o);
	latency_add(&l, 1e12);
	CHECK_INT(l.bins[LATENCY_BINS - 1], 1);
}
