/* Answers that are given again: only where passages, question, history, settings and numbers are the same; told to the
 * sink as new ones are; gone when the documents change, when there is no room, and when they are asked for anew. */
#include "api/answercache.h"
#include "api/question.h"
#include "tests/api/fresh.h"
#include "tests/test.h"

static struct conf conf;
static struct service *service;
static struct arena arena;
static struct answer answer;
static struct err e;

static void open_service(size_t bytes, double cosine)
{
	fresh_conf(&conf, NULL);
	conf.cache_bytes = bytes;
	conf.cache_cosine = cosine;
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	arena_init(&arena, 64 << 20);
}

static void close_service(void)
{
	answer_close(&answer);
	arena_clear(&arena);
	service_close(service);
}

static void put(const char *title, const char *text)
{
	(void)fresh_put(service, title, text);
}

static struct { char text[4096]; size_t len; int passages, citations; } heard;

static void hear_passages(void *ctx, const struct answer *a)
{
	(void)ctx, (void)a;
	CHECK(!heard.len);
	heard.passages++;
}

static void hear_sentence(void *ctx, const struct answer *a, const char *text, size_t len)
{
	(void)ctx;
	CHECK(heard.len + len < sizeof heard.text);
	memcpy(heard.text + heard.len, text, len);
	heard.len += len;
	CHECK_INT(heard.len, a->text_len);
	CHECK_INT(heard.citations, a->citation_n);
}

static void hear_citation(void *ctx, const struct answer *a, const struct answer_citation *c)
{
	(void)ctx, (void)a;
	CHECK_INT(c->n, ++heard.citations);
	CHECK(c->quote_len > 0);
}

static const char *ask(const struct answer_request *given)
{
	const struct answer_sink sink = { NULL, hear_passages, hear_sentence, hear_citation };
	struct answer_request q = *given;
	q.reader = (struct reader){ .collection = "default", .all_groups = 1 };
	if (q.temperature == 0) q.temperature = -1;
	q.style = STYLE_EXTRACTIVE;
	answer_close(&answer);
	memset(&heard, 0, sizeof heard);
	CHECK_OK(answer_run(service, &q, &sink, &arena, &answer, &e), e);
	CHECK_INT(heard.passages, 1);
	CHECK_INT(heard.len, answer.text_len);
	CHECK(memcmp(heard.text, answer.text, heard.len) == 0);
	for (size_t i = 0; i < answer.citation_n; i++)
		CHECK(answer.citations[i].quote >= answer.retrieval.passages[answer.citations[i].passage].text);
	return answer.cached;
}

static const char *plain(const char *question)
{
	return ask(&(struct answer_request){ .question = question });
}

static struct answercache_figures figures(void)
{
	struct answercache_figures f;
	answercache_figures(service->answers, &f);
	return f;
}

static size_t kept_bytes(void)
{
	return figures().bytes;
}

TEST(answercache_gives_again_what_is_the_same)
{
	const struct answer_turn turn = { "user", "Who is on call?" };
	const struct { const char *what; struct answer_request q; } other[] = {
		{ "k", { .question = "How many days of leave?", .k = 3 } },
		{ "seed", { .question = "How many days of leave?", .seed = 7 } },
		{ "temperature", { .question = "How many days of leave?", .temperature = 1 } },
		{ "max_tokens", { .question = "How many days of leave?", .max_tokens = 50 } },
		{ "tone", { .question = "How many days of leave?", .tone = "stern" } },
		{ "history", { .question = "How many days of leave?", .history = &turn, .history_n = 1 } },
		{ "another question", { .question = "How many days of leave are there?" } },
	};
	char first[4096], id[40];
	open_service(1 << 20, 0);
	put("leave.txt", "Employees receive 27 days of paid leave a year. Unused days may be carried over.\n");
	put("travel.txt", "Train tickets are booked in second class. Receipts are handed in within thirty days.\n");
	CHECK_STR(plain("How many days of leave?"), "");
	CHECK_INT(answer.status, ANSWER_ANSWERED);
	CHECK(answer.citation_n > 0);
	snprintf(first, sizeof first, "%s", answer.text);
	snprintf(id, sizeof id, "%s", answer.id);
	CHECK_STR(plain(" How many days of leave?\n"), "exact");
	CHECK_STR(answer.text, first);
	CHECK(strcmp(answer.id, id) != 0);
	CHECK(answer.citation_n > 0 && answer.confidence > 0);
	CHECK_INT(answer.prompt_tokens, 0);
	for (size_t i = 0; i < sizeof other / sizeof *other; i++)
		CHECK_MSG(!*ask(&other[i].q), "%s is another question", other[i].what);
	CHECK_STR(ask(&(struct answer_request){ .question = "How many days of leave?", .fresh = 1 }), "");
	CHECK_STR(plain("How many days of leave?"), "exact");
	put("leave.txt", "Employees receive 30 days of paid leave a year. Unused days may be carried over.\n");
	CHECK_STR(plain("How many days of leave?"), "");
	CHECK(strstr(answer.text, "30 days") != NULL);
	CHECK_STR(plain("How many days of leave?"), "exact");
	struct answercache_figures f = figures();
	CHECK(f.exact == 3 && f.semantic == 0 && f.missed == 2 + sizeof other / sizeof *other);
	CHECK(f.entries == f.missed && f.max_bytes == 1 << 20);
	answercache_clear(service->answers, 0);
	CHECK(figures().bytes == 0 && figures().entries == 0 && figures().exact == 3);
	CHECK_STR(plain("How many days of leave?"), "");
	CHECK_STR(plain("How many days of leave?"), "exact");
	const struct prompt_template *t;
	CHECK_OK(prompts_find(service->prompts, "judge", &t, &e), e);
	char *text = arena_printf(&arena, "# another\n%s", prompt_source(t));
	CHECK(text != NULL);
	CHECK_OK(prompts_add(service->prompts, "judge.v9.txt", text, strlen(text), &t, &e), e);
	prompts_use(service->prompts, t);
	CHECK_STR(plain("How many days of leave?"), "");
	close_service();
}

TEST(answercache_keeps_nothing_of_what_was_forgotten_or_of_another_template)
{
	struct answer_request q = { .question = "How many days of leave?", .style = STYLE_EXTRACTIVE, .temperature = -1, .conf = &conf };
	struct answer_keys k;
	struct answer again = { 0 };
	q.reader = (struct reader){ .collection = "default", .all_groups = 1 };
	open_service(1 << 20, 0);
	put("leave.txt", "Employees receive 27 days of paid leave a year. Unused days may be carried over.\n");
	CHECK_STR(plain(q.question), "");
	again = answer;
	/* put in use while the answer was written: it is no answer of the one that was looked up */
	answercache_clear(service->answers, 0);
	CHECK(!answercache_get(service, &q, NULL, &arena, &again, &k));
	again.prompt_name = "answer";
	again.prompt_version = k.version + 1;
	answercache_put(service, &q, &again, &k);
	CHECK_INT(kept_bytes(), 0);
	again.prompt_version = k.version;
	answercache_put(service, &q, &again, &k);
	CHECK(kept_bytes() > 0);
	/* a document was erased while the answer was made from it */
	answercache_clear(service->answers, again.retrieval.seq + 1);
	answercache_put(service, &q, &again, &k);
	CHECK_INT(kept_bytes(), 0);
	close_service();
}

TEST(answercache_takes_other_wordings_only_when_told)
{
	open_service(1 << 20, 0.7);
	put("leave.txt", "Employees receive 27 days of paid leave a year. Unused days may be carried over.\n");
	CHECK_STR(plain("How many days of paid leave do employees receive?"), "");
	CHECK_STR(plain("How many days of paid leave do the employees receive a year?"), "semantic");
	CHECK_STR(plain("How many days of paid leave do employees not receive?"), "");
	CHECK_STR(plain("How many days of paid leave do 3 employees receive?"), "");
	CHECK_STR(plain("Why do employees receive paid leave?"), "");
	CHECK_STR(plain("How many days of paid leave do employees receive?"), "exact");
	CHECK(figures().semantic == 1 && figures().exact == 1);
	close_service();
}

TEST(answercache_keeps_to_its_bytes)
{
	char question[80];
	open_service(100 << 10, 0);
	put("leave.txt", "Employees receive 27 days of paid leave a year. Unused days may be carried over.\n");
	for (int i = 0; i < 60; i++) {
		snprintf(question, sizeof question, "How many days of leave in year %d?", 2000 + i);
		CHECK_STR(plain(question), "");
		CHECK(kept_bytes() <= 100 << 10);
		if (i) CHECK_STR(plain("How many days of leave in year 2000?"), "exact");
	}
	CHECK(kept_bytes() > 50 << 10);
	CHECK_STR(plain("How many days of leave in year 2001?"), "");
	close_service();
	open_service(0, 0.9);
	put("leave.txt", "Employees receive 27 days of paid leave a year.\n");
	CHECK_STR(plain("How many days of leave?"), "");
	CHECK_STR(plain("How many days of leave?"), "");
	close_service();
}

TEST(question_hash_is_of_the_normal_form_and_of_this_store)
{
	char a[QUESTION_HASH_LEN + 1], b[QUESTION_HASH_LEN + 1];
	const char *normal;
	cJSON *o;
	open_service(0, 0);
	CHECK_OK(question_normal("\t \xc2\xa0u\xcc\x88" "ber x \n", &arena, &normal, &e), e);
	CHECK_STR(normal, "\xc3\xbc" "ber x");
	CHECK_OK(question_normal("  ", &arena, &normal, &e), e);
	CHECK_STR(normal, "");
	CHECK_OK(question_hash(service, "u\xcc\x88" "ber", a, &e), e);
	CHECK_OK(question_hash(service, " \xc3\xbc" "ber ", b, &e), e);
	CHECK_STR(a, b);
	CHECK_INT(strlen(a), 64);
	CHECK_OK(question_hash(service, "Uber", b, &e), e);
	CHECK(strcmp(a, b) != 0);
	o = cJSON_CreateObject();
	CHECK_OK(question_stored(service, "Uber", o, &e), e);
	CHECK(!json_get(o, "question"));
	CHECK_STR(json_str(o, "question_hash", ""), b);
	cJSON_Delete(o);
	snprintf(service->conf.questions, sizeof service->conf.questions, "keep");
	o = cJSON_CreateObject();
	CHECK_OK(question_stored(service, "Uber", o, &e), e);
	CHECK_STR(json_str(o, "question", ""), "Uber");
	cJSON_Delete(o);
	close_service();
	open_service(0, 0);      /* another store: test_dir() is new */
	CHECK_OK(question_hash(service, "Uber", a, &e), e);
	CHECK(strcmp(a, b) != 0);
	close_service();
}
