/* Plans: which queries a request becomes, and what several queries find in one store. */
#include <math.h>
#include "api/answer.h"
#include "api/understand.h"
#include "base/mem.h"
#include "tests/api/fresh.h"
#include "tests/test.h"

static struct conf conf;
static struct service *service;
static struct arena arena;
static struct plan plan;
static struct err e;

static void open_service(void)
{
	fresh_conf(&conf, NULL);
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	arena_init(&arena, 64 << 20);
}

static void close_service(void)
{
	arena_clear(&arena);
	service_close(service);
}

static const struct answer_turn talk[] = {
	{ "user", "How often are the sand filters of the waterworks washed?" },
	{ "assistant", "The sand filters are washed every two days [1]." },
};

static int make(const char *question, const struct answer_turn *turns, size_t n)
{
	const struct answer_request q = { .question = question, .history = turns, .history_n = n, .style = STYLE_EXTRACTIVE, .temperature = -1, .conf = &conf,
		.reader = { .collection = "default", .all_groups = 1 } };
	return plan_make(service, &q, &arena, &plan, &e);
}

TEST(plan_of_a_question_alone_is_the_question)
{
	open_service();
	CHECK_OK(make("When does the library open?", talk, 2), e);
	CHECK_STR(plan.question, "When does the library open?");
	CHECK_STR(plan.rewritten_by, "none");
	CHECK_STR(plan.language, "en");
	CHECK(plan.query_n == 1 && plan.part_n == 1 && plan.queries[0].text == plan.question);
	CHECK_OK(make("And in winter?", NULL, 0), e);
	CHECK_STR(plan.question, "And in winter?");
	close_service();
}

TEST(plan_of_a_follow_up_searches_both_and_stands_alone)
{
	open_service();
	CHECK_OK(make("And in winter?", talk, 2), e);
	CHECK_STR(plan.rewritten_by, "rules");
	CHECK_STR(plan.question, "How often are the sand filters of the waterworks washed in winter?");
	CHECK_INT(plan.query_n, 2);
	CHECK_STR(plan.queries[0].text, "And in winter?");
	CHECK_MSG(strstr(plan.queries[1].text, "waterworks") != NULL, "%s", plan.queries[1].text);
	CHECK_OK(make("Why are they washed?", talk, 2), e);
	CHECK_MSG(strstr(plan.question, "Why are they washed? (") == plan.question && strstr(plan.question, "sand filters"), "%s", plan.question);
	CHECK_MSG(strstr(plan.queries[1].text, "waterworks") != NULL, "%s", plan.queries[1].text);
	snprintf(conf.answer_rewrite, sizeof conf.answer_rewrite, "none");
	CHECK_OK(make("And in winter?", talk, 2), e);
	CHECK_INT(plan.query_n, 1);
	snprintf(conf.answer_rewrite, sizeof conf.answer_rewrite, "rules");
	conf.answer_history_turns = 0;
	CHECK_OK(make("And in winter?", talk, 2), e);
	CHECK_STR(plan.question, "And in winter?");
	close_service();
}

TEST(plan_of_parts_searches_each_with_what_it_leans_on)
{
	open_service();
	CHECK_OK(make("Who founded the Anna Lind museum and when did it close?", NULL, 0), e);
	CHECK(plan.part_n == 2 && plan.query_n == 2 && plan.query_part[0] == 0 && plan.query_part[1] == 1);
	CHECK_STR(plan.queries[0].text, "Who founded the Anna Lind museum");
	CHECK_MSG(strstr(plan.queries[1].text, "when did it close?") && strstr(plan.queries[1].text, "Anna Lind museum"), "%s", plan.queries[1].text);
	CHECK_STR(plan.question, "Who founded the Anna Lind museum and when did it close?");
	CHECK_OK(make("What is the difference between a sand filter and a drum filter?", NULL, 0), e);
	CHECK(plan.part_n == 1 && plan.query_n == 3 && plan.query_part[1] == -1);
	CHECK_OK(make("And who washes them? And who pays? And who paints the doors? And the roof?", talk, 2), e);
	CHECK(plan.part_n == 3 && plan.query_n == 3);
	close_service();
}

/* An "and" at its beginning does not make a whole question lean on the one before; what is not whole or refers does. */
TEST(plan_of_whole_parts_searches_each_by_itself)
{
	static const struct { const char *question, *part; } whole[] = {
		{ "What can I do if my order is damaged? And do you deliver to Switzerland?", "And do you deliver to Switzerland?" },
		{ "How do I renew a book? And also when does the library open?", "And also when does the library open?" },
		{ "Wie kann ich Bücher verlängern? Und wann öffnet die Bibliothek?", "Und wann öffnet die Bibliothek?" },
	};
	static const char *const leaning[] = {
		"When does the museum open? And when does it close?", "When does the museum open? And in winter?",
	};
	open_service();
	for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
		CHECK_OK(make(whole[i].question, NULL, 0), e);
		CHECK_INT(plan.part_n, 2);
		CHECK_STR(plan.parts[1], whole[i].part);
		CHECK_STR(plan.queries[1].text, whole[i].part);
	}
	for (size_t i = 0; i < sizeof leaning / sizeof *leaning; i++) {
		CHECK_OK(make(leaning[i], NULL, 0), e);
		CHECK_INT(plan.part_n, 2);
		CHECK_MSG(strstr(plan.parts[1], "museum"), "%s", plan.parts[1]);
	}
	close_service();
}

TEST(plan_refuses_a_broken_history_and_takes_a_hostile_one)
{
	struct answer_turn turns[64];
	char *big = mem_alloc(100001);
	CHECK(big);
	memset(big, 'x', 100000);
	for (size_t i = 5; i < 100000; i += 6) big[i] = ' ';
	big[100000] = 0;
	open_service();
	CHECK_INT(make("And in winter?", &(struct answer_turn){ "user", "\xff\xfe" }, 1), E_USAGE);
	for (size_t i = 0; i < 64; i++) turns[i] = (struct answer_turn){ i % 2 ? "assistant" : "user", i % 3 ? big : "" };
	CHECK_OK(make("And in winter?", turns, 64), e);
	CHECK(strlen(plan.queries[plan.query_n - 1].text) < 1000);
	mem_free(big);
	close_service();
}

TEST(several_queries_find_the_passages_of_each)
{
	static const struct retrieve_query queries[] = { { "Who founded the museum?", 23, 1, 0, NULL }, { "When was the bridge painted?", 28, 1, 1, NULL } };
	const struct reader all = { .collection = "default", .all_groups = 1 };
	const struct search_want want = { .mode = SEARCH_HYBRID, .k = 4 };
	struct retrieval many, one;
	char name[16];
	open_service();
	CHECK_INT(fresh_put(service, "museum", "The museum was founded by Anna Lind, a teacher."), DOC_ADDED);
	CHECK_INT(fresh_put(service, "bridge", "The bridge over the harbour was painted in 1985."), DOC_ADDED);
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof name, "other %d", i);
		CHECK_INT(fresh_put(service, name, i % 2 ? "Apples are picked in autumn and kept in the cellar until spring." : "The violin was made of spruce and maple by a master."), DOC_ADDED);
	}
	CHECK_OK(retrieve_many(service, &all, queries, 2, &want, &arena, &many, &e), e);
	CHECK(many.n == 4 && many.query_n == 2);
	CHECK_STR(many.passages[0].doc.title, "museum");
	CHECK_INT(many.passages[0].query, 0);
	CHECK_STR(many.passages[1].doc.title, "bridge");
	CHECK_INT(many.passages[1].query, 1);
	CHECK(many.passages[0].highlight_n && many.passages[1].highlight_n);
	for (size_t i = 0; i < many.n; i++) {
		const struct passage *p = &many.passages[i];
		CHECK(i == 0 || p->score <= many.passages[i - 1].score);
		CHECK(fabs(p->by_vector.part + p->by_words.part + p->by_reader.part + p->exact - p->score) < 1e-6);
	}
	/* one query of many is what retrieve gives */
	CHECK_OK(retrieve_many(service, &all, queries, 1, &want, &arena, &one, &e), e);
	CHECK(one.n == 4 && one.passages[0].chunk.id == many.passages[0].chunk.id);
	CHECK(fabs(one.passages[0].cosine - many.passages[0].cosine) < 1e-6);
	retrieve_close(&one);
	retrieve_close(&many);
	CHECK_INT(retrieve_many(service, &all, queries, 0, &want, &arena, &many, &e), E_BUG);
	CHECK_INT(retrieve_many(service, &all, ((struct retrieve_query[]){ queries[0], { " ", 1, 1, 0, NULL } }), 2, &want, &arena, &many, &e), E_USAGE);
	close_service();
}

TEST(plan_reads_a_mistyped_question_as_meant)
{
	open_service();
	fresh_put(service, "library", "The library of Steinbruck opens at nine on weekdays.");
	CHECK_OK(make("When does the libarry open?", NULL, 0), e);
	CHECK_STR(plan.read_as, "When does the library open?");
	CHECK_STR(plan.question, "When does the library open?");
	CHECK_STR(plan.queries[0].text, "When does the library open?");
	conf.answer_spelling = 0;
	CHECK_OK(make("When does the libarry open?", NULL, 0), e);
	CHECK_STR(plan.read_as, "When does the libarry open?");
	close_service();
}
