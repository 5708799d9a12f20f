/* Retrieval over a store of its own with the real encoder: one order for every page of a search. */
#include "api/whynot.h"
#include "tests/api/fresh.h"
#include "tests/test.h"

enum { DOCS = 130 };

static struct conf conf;
static struct service *service;
static struct arena arena;
static struct err e;

/* Documents whose order by meaning is not that by words. */
static void open_read(const char *reader)
{
	static const char *const things[] = { "apples", "pears", "railway tickets", "night trains", "a broken lamp", "the harbour", "violins" };
	char source[32], text[256];
	fresh_conf(&conf, NULL);
	snprintf(conf.reader_model, sizeof conf.reader_model, "%s", reader);
	conf.search_depth = 10;          /* so that a small store reaches far below it */
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	arena_init(&arena, 64 << 20);
	for (int i = 0; i < DOCS; i++) {
		snprintf(source, sizeof source, "d%d", i);
		snprintf(text, sizeof text, "Note %d is about %s.%s%s", i, things[i * 5 % 7], i % 3 ? "" : " The harvest was good, a harvest indeed.",
			i % 11 ? "" : " Trees bear fruit in autumn.");
		CHECK_INT(fresh_put(service, source, text), DOC_ADDED);
	}
}

static void open_filled(void)
{
	open_read("none");
}

static void close_filled(void)
{
	arena_clear(&arena);
	service_close(service);
}

/* Chunk ids of hits [skip, skip + k) in ids; how many. */
static size_t ask(enum search_mode mode, size_t k, size_t skip, uint64_t *ids)
{
	const struct reader all = { .collection = "default", .all_groups = 1 };
	static const char query[] = "Was the harvest of apples good?";
	struct retrieval found;
	size_t n;
	CHECK_OK(retrieve(service, &all, query, sizeof query - 1, &(struct search_want){ .mode = mode, .k = k, .skip = skip }, &arena, &found, &e), e);
	for (n = 0; n < found.n; n++) ids[n] = found.passages[n].chunk.id;
	retrieve_close(&found);
	return n;
}

static void pages_check(void)
{
	static const size_t sizes[] = { 1, 7, 10, 33, DOCS };
	uint64_t whole[DOCS + 1], got[DOCS + 1];
	for (enum search_mode mode = SEARCH_HYBRID; mode <= SEARCH_LEXICAL; mode++) {
		size_t n = ask(mode, DOCS + 1, 0, whole);
		CHECK(mode == SEARCH_LEXICAL ? n > 40 && n < DOCS : n == DOCS);
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < i; j++) CHECK(whole[i] != whole[j]);
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
			size_t at = 0, page;
			while (at < n && (page = ask(mode, sizes[s], at, got)) > 0) {
				CHECK_MSG(memcmp(got, whole + at, page * sizeof *got) == 0, "%s: the page of %zu behind %zu", search_mode_name(mode), sizes[s], at);
				at += page;
			}
			CHECK_INT(at, n);
			arena_clear(&arena);
		}
	}
}

TEST(pages_are_cut_from_one_order)
{
	open_filled();
	pages_check();
	close_filled();
}

/* With a reader, whose judgement (random weights) goes across the others'. */
TEST(pages_are_cut_from_one_order_when_it_is_read)
{
	static const char query[] = "Was the harvest of apples good?", german[] = "War die Ernte der Äpfel gut oder nicht?";
	const struct reader all = { .collection = "default", .all_groups = 1 };
	struct search_want want = { .mode = SEARCH_HYBRID, .k = 30 };
	struct retrieval found;
	uint64_t plain[DOCS + 1], read[DOCS + 1];
	open_read(test_data("golden/reader/tiny"));
	service->conf.rerank = 0;
	CHECK_INT(ask(SEARCH_HYBRID, DOCS + 1, 0, plain), DOCS);
	service->conf.rerank = 15;       /* beyond the first depth of 10, within what both lists bring */
	service->conf.rerank_weight = 50; /* over the small differences that such a model sees */
	CHECK_INT(ask(SEARCH_HYBRID, DOCS + 1, 0, read), DOCS);
	CHECK(memcmp(plain, read, sizeof *plain * 15) != 0);
	pages_check();
	CHECK_OK(retrieve(service, &all, query, sizeof query - 1, &want, &arena, &found, &e), e);
	CHECK(found.n == 30 && found.rerank_ms > 0 && found.read_n >= 10 && found.read_n <= 15);
	for (size_t i = 0, n = 0; i < found.n; i++) {
		const struct passage *p = &found.passages[i];
		CHECK(p->score == p->by_vector.part + p->by_words.part + p->by_reader.part + p->exact);
		CHECK((p->reading != NULL) == (p->by_reader.rank != 0) && (p->reading != NULL) == (n < found.read_n));
		if (!p->reading) continue;
		CHECK(p->reading->relevance == p->by_reader.score && p->reading->spans_n > 0 && p->reading->spans[0].to <= p->text_len);
		n++;
	}
	retrieve_close(&found);
	want.mode = SEARCH_DENSE;
	CHECK_OK(retrieve(service, &all, query, sizeof query - 1, &want, &arena, &found, &e), e);
	CHECK(found.read_n == 0 && found.rerank_ms == 0);
	retrieve_close(&found);
	want.mode = SEARCH_HYBRID;
	CHECK_OK(retrieve(service, &all, german, sizeof german - 1, &want, &arena, &found, &e), e);
	CHECK(found.n == 30 && found.read_n == 0 && found.passages[0].reading == NULL);
	retrieve_close(&found);
	close_filled();
}

/* A model that is named and cannot be used is an error that says so; one that is missing is done without. */
TEST(retrieve_says_what_is_wrong_with_the_reader)
{
	const struct reader all = { .collection = "default", .all_groups = 1 };
	const struct search_want want = { .mode = SEARCH_HYBRID, .k = 3 };
	struct reader_model *m;
	struct retrieval found;
	const char *why;
	open_read(test_data("golden/embedders/tiny-e5"));
	CHECK_INT(retrieve(service, &all, "apples", 6, &want, &arena, &found, &e), E_FORMAT);
	CHECK_MSG(strstr(e.msg, "models.reader"), "%s", e.msg);
	close_filled();
	open_read("/nowhere/at/all");
	CHECK_OK(service_reader(service, &m, &why, &e), e);
	CHECK_MSG(m == NULL && strstr(why, "models.reader"), "%s", why);
	CHECK_OK(retrieve(service, &all, "apples", 6, &want, &arena, &found, &e), e);
	CHECK(found.n == 3 && found.read_n == 0);
	retrieve_close(&found);
	close_filled();
	open_read("none");
	CHECK_OK(service_reader(service, &m, &why, &e), e);
	CHECK(m == NULL && strstr(why, "none"));
	close_filled();
}

static const char *first(const char *query, double *exact)
{
	const struct reader all = { .collection = "default", .all_groups = 1 };
	struct retrieval found;
	const char *source;
	CHECK_OK(retrieve(service, &all, query, strlen(query), &(struct search_want){ .mode = SEARCH_HYBRID, .k = 5 }, &arena, &found, &e), e);
	CHECK(found.n == 5);
	source = found.passages[0].doc.source;
	*exact = found.passages[0].exact;
	for (size_t i = 0; i < found.n; i++) {
		const struct passage *p = &found.passages[i];
		CHECK(p->score == p->by_vector.part + p->by_words.part + p->by_parts.part + p->by_reader.part + p->exact && (i == 0 || p->score <= p[-1].score));
	}
	retrieve_close(&found);
	return source;
}

/* What has the identifier is first, though others are nearer in meaning and have both its words. */
TEST(retrieve_rare_identifiers_first)
{
	static const char query[] = "What does the printer mean when it shows ERR-4021 on its display?";
	double exact;
	open_filled();
	CHECK_INT(fresh_put(service, "near", "What the printer means when it shows an error such as ERR-4020 on its display: the printer shows it when the paper is out. "
		"Call extension 4021 if the printer shows ERR and nothing else on its display."), DOC_ADDED);
	CHECK_INT(fresh_put(service, "nearer", "Meanings of what the display of the printer shows: ERR-4022, the printer is hot. ERR 4021 pages were printed."), DOC_ADDED);
	CHECK_INT(fresh_put(service, "exact", "Toner low: err-4021."), DOC_ADDED);
	CHECK_STR(first(query, &exact), "exact");
	CHECK(exact > 0);
	service->conf.search_exact_max = 0;
	CHECK(strcmp(first(query, &exact), "exact") != 0 && exact == 0);
	service->conf.search_exact_max = 10;
	for (int i = 0; i < 11; i++) {           /* no longer rare */
		char source[20], text[64];
		snprintf(source, sizeof source, "more%d", i);
		snprintf(text, sizeof text, "Toner low in room %d: ERR-4021.", i);
		CHECK_INT(fresh_put(service, source, text), DOC_ADDED);
	}
	service->conf.search_depth = 100;
	first(query, &exact);
	CHECK(exact == 0);
	close_filled();
}

/* Who may not see a document is told what is told of one that is not there. */
TEST(whynot_tells_no_more_than_the_asker_sees)
{
	static const char *const zoo = "zoo", *const staff = "staff";
	const struct reader asker = { .groups = &staff, .group_n = 1 }, all = { .all_groups = 1 };
	const struct reader reader = { .collection = "default", .groups = &staff, .group_n = 1 }, zoos = { .collection = "default", .groups = &zoo, .group_n = 1 };
	const struct search_want want = { .mode = SEARCH_HYBRID, .k = 3 };
	struct ingest_item it = { .collection = "default", .title = "zebra", .source = "zebra", .name = "", .meta = "", .id = "hidden",
		.data = "Zebras graze at dusk.", .len = 21, .is_text = 1, .acl = &zoo, .acl_n = 1 };
	const struct ingest_sink sink = { 0 };
	struct ingest with;
	struct whynot w;
	struct err missing;
	open_filled();
	CHECK_OK(service_ingest(service, &with, NULL, &e), e);
	CHECK_OK(ingest_item(&with, &it, &sink, &e), e);
	CHECK_INT(whynot_run(service, &asker, &reader, "zebra", &want, "nobody", &arena, &w, &missing), E_NOT_FOUND);
	CHECK_INT(whynot_run(service, &asker, &reader, "zebra", &want, "hidden", &arena, &w, &e), E_NOT_FOUND);
	CHECK_STR(missing.msg, "no document nobody");
	CHECK_STR(e.msg, "no document hidden");
	CHECK_OK(whynot_run(service, &all, &reader, "zebra", &want, "hidden", &arena, &w, &e), e);
	CHECK(w.step == WHYNOT_ACCESS && w.seq > 0);
	CHECK_OK(whynot_run(service, &all, &zoos, "zebra", &want, "hidden", &arena, &w, &e), e);
	CHECK(w.step == WHYNOT_FOUND && w.place == 1 && w.dense.place == 1 && w.lexical.place == 1 && w.held_words_n == 1 && w.lacking_n == 0);
	close_filled();
}

/* Copies of a passage come once where distinct ones are asked for, and others take their places. */
TEST(retrieve_distinct_passages)
{
	static const char text[] = "The lighthouse of Kolm was built by the harbour guild and shows a red light every seven seconds to the north.";
	const struct reader all = { .collection = "default", .all_groups = 1 };
	struct search_want want = { .mode = SEARCH_HYBRID, .k = 4 };
	struct retrieval found;
	char source[32], copy[sizeof text + 32];
	open_filled();
	for (int i = 0; i < 4; i++) {
		snprintf(source, sizeof source, "light%d", i);
		snprintf(copy, sizeof copy, "%s%.*s", text, i, "!!!"); /* not one file four times */
		CHECK_INT(fresh_put(service, source, copy), DOC_ADDED);
	}
	CHECK_INT(fresh_put(service, "other", "The lighthouse of Kolm was built by the harbour guild and shows a red light every 9 seconds to the north."), DOC_ADDED);
	CHECK_OK(retrieve(service, &all, "lighthouse of Kolm", 18, &want, &arena, &found, &e), e);
	CHECK_INT(found.n, 4);
	CHECK(strncmp(found.passages[1].doc.source, "d", 1) != 0);
	retrieve_close(&found);
	want.distinct = 1;
	CHECK_OK(retrieve(service, &all, "lighthouse of Kolm", 18, &want, &arena, &found, &e), e);
	CHECK_INT(found.n, 4);
	size_t lights = 0, others = 0;
	for (size_t i = 0; i < found.n; i++) {
		lights += strncmp(found.passages[i].doc.source, "light", 5) == 0;
		others += strcmp(found.passages[i].doc.source, "other") == 0;
		CHECK(found.passages[i].text_len > 0 && (i == 0 || found.passages[i].score <= found.passages[i - 1].score));
	}
	CHECK(lights == 1 && others == 1);
	retrieve_close(&found);
	close_filled();
}

/* A long story, of which the last part alone is the question: the passage that is near to that is nearest by parts. */
TEST(retrieve_long_queries_part_by_part)
{
	static const char query[] = "Good morning, last week I moved to Kolm with my family and we are very happy with the flat, the neighbours and the "
		"garden, where the children play with the dog all day long, and yesterday we even saw the old castle and had cake with cream there. "
		"My sister is a doctor and my brother paints. By the way, at what time do the night trains to the capital leave?";
	const struct reader all = { .collection = "default", .all_groups = 1 };
	const struct search_want want = { .mode = SEARCH_HYBRID, .k = 20 };
	struct retrieval found;
	int nearest = 0;
	open_filled();
	for (int on = 0; on < 2; on++) {
		service->conf.parts_weight = on ? 4 : 0;
		CHECK_OK(retrieve(service, &all, query, sizeof query - 1, &want, &arena, &found, &e), e);
		CHECK_INT(found.n, 20);
		for (size_t i = 0; i < found.n; i++) {
			const struct passage *p = &found.passages[i];
			CHECK(p->score == p->by_vector.part + p->by_words.part + p->by_parts.part + p->exact && (p->by_parts.rank != 0) == (on && p->by_parts.part > 0));
			nearest += p->by_parts.rank == 1 && strstr(p->text, "night trains");
		}
		retrieve_close(&found);
	}
	CHECK_INT(nearest, 1);
	CHECK_OK(retrieve(service, &all, query, 150, &want, &arena, &found, &e), e); /* 30 words and fewer are one part */
	CHECK(found.n == 20 && found.passages[0].by_parts.rank == 0);
	retrieve_close(&found);
	close_filled();
}
