/* Versions of one document: which names make two documents versions, which is newer, and that answers cite it. */
#include "api/answer.h"
#include "api/version.h"
#include "tests/api/fresh.h"
#include "tests/test.h"

static struct doc doc_of(uint64_t key, const char *title, const char *source, const char *meta)
{
	return (struct doc){ .key = key, .title = title, .source = source, .meta = meta, .updated_ms = (int64_t)key };
}

TEST(version_names_tell_which_is_newer)
{
	static const struct { const char *title, *source, *meta; } rows[][2] = {
		/* the second of each is the newer */
		{ { "Office handbook 2023", "/a.md", "{}" }, { "Office Handbook 2025", "/b.md", "{}" } },
		{ { "Expense policy, version 1", "/a.txt", "{}" }, { "Expense policy, version 2", "/b.txt", "{}" } },
		{ { "Policy", "/policy-v1.9.txt", "{}" }, { "Policy", "/policy-v1.10.txt", "{}" } },
		{ { "Policy", "/policy-v0.9.txt", "{}" }, { "Policy", "/policy-v1.0.txt", "{}" } },
		{ { "Policy v2.0.9", "/a.txt", "{}" }, { "Policy v2.1", "/b.txt", "{}" } },
		{ { "Handbook", "/x/a.md", "{\"year\":\"2023\"}" }, { "Handbook", "/y/b.md", "{\"year\":2025}" } },
		{ { "Handbook", "/x/a.md", "{\"version\":1e300,\"date\":\"2023-01-31\"}" }, { "Handbook", "/y/b.md", "{\"version\":-1e300,\"date\":\"2023-02-01\"}" } },
		{ { "Handbook", "/handbook_2024-11-30.md", "{}" }, { "Handbook", "/handbook_2025-02-01.md", "{}" } },
		{ { "Handbook", "/h 31.12.2024.md", "{}" }, { "Handbook", "/h 01.02.2025.md", "{}" } },
		{ { "Handbook (old)", "/a.md", "{}" }, { "Handbook", "/b.md", "{}" } },
		{ { "Handbook", "/2023/handbook.md", "{}" }, { "Handbook", "/2025/handbook.md", "{}" } },
		{ { "Handbook", "/x/a.md", "{\"date\":\"2023-01-31\"}" }, { "Handbook", "/y/b.md", "{\"date\":\"2024-01-01\"}" } },
		{ { "Handbook", "/x/a.md", "{\"version\":2}" }, { "Handbook", "/y/b.md", "{\"version\":10}" } },
		{ { "Handbook", "/handbook.md", "{}" }, { "Handbook", "/handbook_2025.md", "{}" } },   /* put later */
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct doc a = doc_of(1, rows[i][0].title, rows[i][0].source, rows[i][0].meta), b = doc_of(2, rows[i][1].title, rows[i][1].source, rows[i][1].meta);
		CHECK_MSG(version_compare(&a, &b) > 0 && version_compare(&b, &a) < 0, "%zu: %s %s: %d", i, a.title, a.source, version_compare(&a, &b));
	}
}

TEST(version_names_of_other_documents)
{
	static const struct { const char *title, *source; } rows[][2] = {
		{ { "Opening hours", "/berlin/hours.md" }, { "Opening hours", "/hamburg/hours.md" } },
		{ { "Chapter 1", "/ch1.md" }, { "Chapter 2", "/ch2.md" } },
		{ { "Travel policy 2023", "/a.md" }, { "Leave policy 2025", "/b.md" } },
		{ { "2023", "/x.md" }, { "2024", "/y.md" } },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct doc a = doc_of(1, rows[i][0].title, rows[i][0].source, "{}"), b = doc_of(2, rows[i][1].title, rows[i][1].source, "{}");
		CHECK_MSG(version_compare(&a, &b) == 0, "%zu: %s %s: %d", i, a.title, a.source, version_compare(&a, &b));
	}
}

TEST(version_that_a_question_asks_for)
{
	struct doc a = doc_of(1, "Handbook 2023", "/a.md", "{}"), b = doc_of(2, "Handbook 2025", "/b.md", "{}");
	struct doc c = doc_of(3, "Report", "/report_2024-03.md", "{}"), d = doc_of(4, "Report", "/report_2024-04.md", "{}");
	CHECK(version_asked("How many days were there in 2023?", &a, &b));
	CHECK(!version_asked("How many days are there in 2025?", &a, &b));
	CHECK(!version_asked("What changed from 2023 to 2025 for a 60 year old?", &c, &d));
	CHECK(version_asked("What did the previous handbook say?", &a, &b));
	CHECK(version_asked("What was the turnover in March 2024?", &c, &d));
	CHECK(version_asked("What was the turnover in march?", &c, &d) == 0 && version_asked("What was the turnover in March?", &c, &d));
	CHECK(!version_asked("What does the market say?", &c, &d));
	CHECK(!version_asked("What do children older than 12 pay?", &a, &b));
	CHECK(!version_asked("May former employees leave earlier?", &a, &b));
	CHECK(version_asked("What did the older version say?", &a, &b) && version_asked("Is that in the old handbook?", &a, &b));
	struct doc m = doc_of(5, "Handbook", "/handbook_2024-05.md", "{}"), n = doc_of(6, "Handbook", "/handbook_2025-02.md", "{}");
	CHECK(!version_asked("May employees work from home? How many days may they?", &m, &n));
	CHECK(version_asked("What was the rule in May?", &m, &n));
	CHECK(!version_asked("What was the turnover in April 2024?", &c, &d));
}

static struct service *service;
static struct arena arena;
static struct err e;

/* The title of the document that the answer cites. */
static const char *cited(const char *question, struct answer *a)
{
	struct answer_request q = { .reader = { .collection = "default", .all_groups = 1 }, .question = question, .style = STYLE_EXTRACTIVE, .temperature = -1 };
	CHECK_OK(answer_run(service, &q, NULL, &arena, a, &e), e);
	CHECK_MSG(a->citation_n == 1, "%s: %s", question, a->text);
	return a->retrieval.passages[a->citations[0].passage].doc.title;
}

TEST(version_answers_cite_the_newer)
{
	static const char *const both = "Dogs are allowed in the office if nobody in the room objects.";
	struct conf conf;
	struct answer a;
	fresh_conf(&conf, NULL);
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	CHECK_INT(fresh_put(service, "Home office 2025", "Employees may work from home three days a week. Requests go to the team lead."), DOC_ADDED);
	CHECK_INT(fresh_put(service, "Home office 2023", "Employees may work from home two days a week. Requests go to the team lead. Slippers are provided."), DOC_ADDED);
	CHECK_INT(fresh_put(service, "Pets v2", both), DOC_ADDED);
	CHECK_INT(fresh_put(service, "Pets v1", "Dogs are allowed in the office if nobody in the room objects!"), DOC_ADDED);
	static const struct { const char *question, *title; } rows[] = {
		{ "How many days a week may employees work from home?", "Home office 2025" },
		{ "How many days a week could employees work from home in 2023?", "Home office 2023" },
		{ "Are slippers provided?", "Home office 2023" },           /* the newer says nothing of it */
		{ "Are dogs allowed in the office?", "Pets v2" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		arena_init(&arena, 64 << 20);
		const char *title = cited(rows[i].question, &a);
		CHECK_MSG(strcmp(title, rows[i].title) == 0, "%s: %s", rows[i].question, title);
		answer_close(&a);
		arena_clear(&arena);
	}
	service_close(service);
}
