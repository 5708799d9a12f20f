/* Records of answers: what is kept of them, who may read them, what becomes of them with their documents; asking again;
 * ratings, their counts and their export; what was used by day. Answers here are quoted, so that no generator is needed. */
#include <stdlib.h>
#include "api/answerrecord.h"
#include "api/feedback.h"
#include "api/remember.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/api/fresh.h"
#include "tests/test.h"

static struct conf conf;
static struct service *service;
static struct arena arena;
static struct answer answer;
static struct err e;
static const struct caller owner = { .role = ROLE_ADMIN, .all_groups = 1 };

static void open_with(void (*set)(struct conf *c))
{
	fresh_conf(&conf, NULL);
	if (set) set(&conf);
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	arena_init(&arena, 64 << 20);
}

static void close_service(void)
{
	answer_close(&answer);
	memset(&answer, 0, sizeof answer);
	arena_clear(&arena);
	service_close(service);
}

static void put(const char *title, const char *text, const char *group, char id[64])
{
	(void)fresh_put_for(service, title, text, group, id);
}

static const char *ask(const char *question, const char *key_id)
{
	struct answer_request q = { .question = question, .style = STYLE_EXTRACTIVE, .temperature = -1, .key_id = key_id };
	q.reader = (struct reader){ .collection = "default", .all_groups = 1 };
	answer_close(&answer);
	CHECK_OK(answer_run(service, &q, NULL, &arena, &answer, &e), e);
	return answer.id;
}

static int get(const struct caller *c, const char *id, cJSON **out)
{
	struct reader r;
	caller_reader(c, "other", &r);
	return answerrecord_read(service, c, &r, id, &arena, out, &e);
}

static cJSON *view(const char *id)
{
	struct reader r;
	cJSON *o;
	caller_reader(&owner, "other", &r);
	CHECK_OK(get(&owner, id, &o), e);
	CHECK_OK(answerrecord_view(service, &r, id, o, &arena, &o, &e), e);
	return o;
}

static int again(const char *id, const struct answer_again *with, cJSON **out)
{
	struct reader r;
	cJSON *o;
	caller_reader(&owner, "other", &r);
	CHECK_OK(get(&owner, id, &o), e);
	int rc = answerrecord_replay(service, &r, o, with, &arena, out, &e);
	cJSON_Delete(o);
	return rc;
}

static void doc_delete(const char *id)
{
	struct write *w;
	CHECK_OK(index_write_begin(&w, service->index, &e), e);
	CHECK_OK(index_delete(w, id, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
}

static const char LEAVE[] = "Employees receive 27 days of paid leave a year. Unused days may be carried over until March.\n";
static const char TRAVEL[] = "Train tickets are booked in second class. Receipts are handed in within thirty days.\n";
static const char QUESTION[] = "How many days of paid leave do employees receive?";

TEST(answerrecord_tells_what_made_an_answer)
{
	char id[40];
	cJSON *o, *x;
	open_with(NULL);
	put("leave.txt", LEAVE, NULL, NULL);
	put("travel.txt", TRAVEL, NULL, NULL);
	snprintf(id, sizeof id, "%s", ask(QUESTION, NULL));
	CHECK_INT(answer.status, ANSWER_ANSWERED);
	o = view(id);
	CHECK_STR(json_str(o, "id", ""), id);
	CHECK(!json_get(o, "question"));
	CHECK_INT(strlen(json_str(o, "question_hash", "")), 64);
	CHECK(!json_bool(o, "stale", 1) && !json_get(o, "by") && !json_get(o, "of_documents"));
	x = cJSON_GetObjectItemCaseSensitive(o, "answer");
	CHECK_STR(json_str(x, "answer", ""), answer.text);
	CHECK_INT(cJSON_GetArraySize(json_get(x, "passages")), answer.retrieval.n);
	CHECK(strstr(json_str(cJSON_GetArrayItem(json_get(x, "passages"), 0), "text", ""), "days") != NULL);
	CHECK_INT(strlen(json_str(json_get(o, "made_by"), "embedder", "")), 64);
	char *text = cJSON_PrintUnformatted(o);
	CHECK(strstr(text, QUESTION) == NULL);
	cJSON_free(text);
	cJSON_Delete(o);
	/* a change of the text makes it stale; the passages of then are gone */
	put("leave.txt", "Employees receive 30 days of paid leave a year.\n", NULL, NULL);
	o = view(id);
	CHECK(json_bool(o, "stale", 0));
	CHECK_INT(cJSON_GetArrayItem(json_get(o, "stale_citations"), 0)->valueint, 1);
	cJSON_Delete(o);
	CHECK_INT(get(&owner, "ans_none", &o), E_NOT_FOUND);
	CHECK_INT(get(&owner, "", &o), E_NOT_FOUND);
	close_service();
}

TEST(answerrecord_is_for_its_key_and_for_who_sees_the_documents)
{
	const char *const staff = "staff";
	const struct caller mine = { .role = ROLE_READ, .groups = &staff, .group_n = 1, .key_id = "k1" };
	const struct caller other = { .role = ROLE_READ, .all_groups = 1, .key_id = "k2" };
	const struct caller lost = { .role = ROLE_READ, .key_id = "k1" };
	const struct caller narrow_admin = { .role = ROLE_ADMIN, .key_id = "k3" };
	const struct caller nobody = { .role = ROLE_READ, .all_groups = 1 };
	char id[40];
	cJSON *o;
	open_with(NULL);
	put("leave.txt", LEAVE, staff, NULL);
	snprintf(id, sizeof id, "%s", ask(QUESTION, "k1"));
	CHECK(answer.citation_n > 0);
	CHECK_OK(get(&mine, id, &o), e);
	CHECK_STR(json_str(o, "by", ""), "k1");
	cJSON_Delete(o);
	CHECK_OK(get(&owner, id, &o), e);
	cJSON_Delete(o);
	CHECK_INT(get(&other, id, &o), E_NOT_FOUND);
	CHECK_INT(get(&lost, id, &o), E_NOT_FOUND);
	CHECK_INT(get(&narrow_admin, id, &o), E_NOT_FOUND);
	CHECK_INT(get(&nobody, id, &o), E_NOT_FOUND);
	/* an abstention that saw a passage of theirs */
	snprintf(id, sizeof id, "%s", ask("Which moon orbits Neptune backwards?", "k1"));
	CHECK_INT(answer.status, ANSWER_ABSTAINED);
	CHECK(answer.retrieval.n > 0);
	CHECK_OK(get(&mine, id, &o), e);
	cJSON_Delete(o);
	CHECK_INT(get(&lost, id, &o), E_NOT_FOUND);
	close_service();
}

static int raw_holds(const char *words)
{
	char path[1100];
	struct buf b;
	snprintf(path, sizeof path, "%s/data.mdb", conf.data_dir);
	buf_init(&b, 1 << 30);
	CHECK_OK(file_read(path, &b, &e), e);
	int found = memmem(b.data, b.len, words, strlen(words)) != NULL;
	buf_clear(&b);
	return found;
}

TEST(answerrecord_goes_with_its_documents)
{
	struct index_erasure receipt;
	struct feedback f = { .rating = -1, .comment = "no", .answerable = -1, .expected = "27 days of paid leave a year" };
	char doc[64], doc2[64], id[40], id2[40];
	struct write *w;
	cJSON *o;
	open_with(NULL);
	put("leave.txt", LEAVE, NULL, doc);
	put("travel.txt", TRAVEL, NULL, doc2);
	snprintf(id, sizeof id, "%s", ask(QUESTION, NULL));
	CHECK_OK(get(&owner, id, &o), e);
	CHECK_OK(feedback_put(service, id, o, &f, &e), e);
	cJSON_Delete(o);
	snprintf(id2, sizeof id2, "%s", ask("How are train tickets booked?", NULL));
	CHECK(answer.citation_n > 0);
	CHECK_OK(get(&owner, id2, &o), e);
	cJSON_Delete(o);
	answer_close(&answer);
	memset(&answer, 0, sizeof answer);
	CHECK(raw_holds("27 days of paid leave"));
	CHECK_OK(index_erase(service->index, doc, &receipt, &e), e);
	CHECK(receipt.verified && !receipt.shared);
	CHECK(!raw_holds("27 days of paid leave"));
	CHECK_INT(get(&owner, id, &o), E_NOT_FOUND);
	CHECK_OK(get(&owner, id2, &o), e);
	cJSON_Delete(o);
	/* one that is not yet written when its document goes is not written */
	snprintf(id, sizeof id, "%s", ask("How are train tickets booked, please?", NULL));
	doc_delete(doc2);
	CHECK_INT(get(&owner, id, &o), E_NOT_FOUND);
	CHECK_INT(get(&owner, id2, &o), E_NOT_FOUND);
	CHECK_OK(index_write_begin(&w, service->index, &e), e);
	index_write_abort(w);
	close_service();
}

/* What is marked as unverified may be of any passage that was shown (answer.unsupported = mark). */
TEST(answerrecord_goes_with_what_an_uncited_sentence_may_be_of)
{
	struct answer_request q = { .question = "How are train tickets booked?", .style = STYLE_EXTRACTIVE, .temperature = -1 };
	char doc[64], id[40];
	struct answer plain;
	cJSON *o;
	open_with(NULL);
	q.conf = &conf;
	q.reader = (struct reader){ .collection = "default", .all_groups = 1 };
	put("leave.txt", LEAVE, NULL, NULL);
	put("travel.txt", TRAVEL, NULL, doc);
	ask(q.question, NULL);
	CHECK_INT(answer.retrieval.n, 2);
	CHECK_OK(answer_id_make(answer.id, &e), e);
	snprintf(id, sizeof id, "%s", answer.id);
	plain = answer;
	plain.sentences[0].citation_n = plain.sentences[0].verified = 0;
	plain.citation_n = 0;
	plain.has_short = 0;
	answer_remember(service, &q, &plain);
	CHECK_OK(get(&owner, id, &o), e);
	cJSON_Delete(o);
	doc_delete(doc);
	CHECK_INT(get(&owner, id, &o), E_NOT_FOUND);
	close_service();
}

static void late_commit(struct conf *c)
{
	c->keep_commit_ms = 60000;
}

static void memo_leave(const char *name, const char *piece, size_t bytes)
{
	struct memo m = { .kind = "answer", .json = cJSON_CreateObject(), .question = mem_strdup("Why?") };
	snprintf(m.name, sizeof m.name, "%s", name);
	m.history = mem_alloc(bytes + 1);
	for (size_t i = 0; i < bytes; i++) m.history[i] = piece[i % strlen(piece)];
	m.history[bytes] = 0;
	remember_memo(service->memory, &m);
}

static int is_kept(const char *name)
{
	struct snapshot *s;
	struct note n;
	CHECK_OK(snapshot_open(&s, service->index, &e), e);
	int rc = snapshot_note(s, "answer", name, &arena, &n, NULL);
	snapshot_close(s);
	return !rc;
}

TEST(answerrecord_of_one_does_not_cost_the_others)
{
	char name[40];
	int kept = 0;
	open_with(late_commit);
	memo_leave("ans_a", "x", 100);
	memo_leave("ans_b", "\xe0\xa5\x98", 3 << 20);   /* twice as long in its normal form: too long to be hashed */
	memo_leave("ans_c", "x", 100);
	remember_flush(service->memory);
	CHECK(is_kept("ans_a") && !is_kept("ans_b") && is_kept("ans_c"));
	/* and what waits has a limit */
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof name, "ans_d%02d", i);
		memo_leave(name, "x", 3 << 20);
	}
	remember_flush(service->memory);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof name, "ans_d%02d", i);
		kept += is_kept(name);
	}
	CHECK_MSG(kept > 0 && kept <= 21, "%d of 3 MB each were kept", kept);
	close_service();
}

static void keep_questions(struct conf *c)
{
	snprintf(c->questions, sizeof c->questions, "keep");
}

TEST(answerrecord_is_asked_again)
{
	const struct answer_turn turn = { "user", "What about leave?" }, wrong = { "user", "What about travel?" };
	struct answer_again with = { .question = NULL };
	char id[40];
	cJSON *o;
	open_with(NULL);
	put("leave.txt", LEAVE, NULL, NULL);
	snprintf(id, sizeof id, "%s", ask(QUESTION, NULL));
	CHECK_INT(again(id, &with, &o), E_FORMAT);
	with.question = "Who?";
	CHECK_INT(again(id, &with, &o), E_CONFLICT);
	with.question = QUESTION;
	CHECK_OK(again(id, &with, &o), e);
	CHECK(json_bool(o, "same", 0));
	CHECK_INT(cJSON_GetArraySize(json_get(o, "differs")), 0);
	cJSON_Delete(o);
	put("leave.txt", "Employees receive 30 days of paid leave a year.\n", NULL, NULL);
	CHECK_OK(again(id, &with, &o), e);
	CHECK(!json_bool(o, "same", 1));
	CHECK_STR(json_str(cJSON_GetArrayItem(json_get(o, "differs"), 0), "field", ""), "answer");
	cJSON_Delete(o);
	/* with turns before it */
	struct answer_request q = { .question = QUESTION, .style = STYLE_EXTRACTIVE, .temperature = -1, .history = &turn, .history_n = 1 };
	q.reader = (struct reader){ .collection = "default", .all_groups = 1 };
	answer_close(&answer);
	CHECK_OK(answer_run(service, &q, NULL, &arena, &answer, &e), e);
	CHECK_INT(again(answer.id, &with, &o), E_FORMAT);
	with.history = &wrong, with.history_n = 1;
	CHECK_INT(again(answer.id, &with, &o), E_CONFLICT);
	with.history = &turn;
	CHECK_OK(again(answer.id, &with, &o), e);
	CHECK(json_bool(o, "same", 0));
	cJSON_Delete(o);
	close_service();
	open_with(keep_questions);
	put("leave.txt", LEAVE, NULL, NULL);
	snprintf(id, sizeof id, "%s", ask(QUESTION, NULL));
	o = view(id);
	CHECK_STR(json_str(o, "question", ""), QUESTION);
	cJSON_Delete(o);
	CHECK_OK(again(id, &(struct answer_again){ .question = NULL }, &o), e);
	CHECK(json_bool(o, "same", 0));
	cJSON_Delete(o);
	close_service();
}

static void few(struct conf *c)
{
	c->keep_max = 3;
}

static void none(struct conf *c)
{
	c->keep_max = 0;
}

TEST(answerrecord_keeps_to_its_number_and_survives_the_end)
{
	char id[8][40], again_id[40], question[64];
	uint64_t removed;
	cJSON *o;
	open_with(few);
	put("leave.txt", LEAVE, NULL, NULL);
	for (int i = 0; i < 8; i++) {
		snprintf(question, sizeof question, "How many days of paid leave in year %d?", 2000 + i);
		snprintf(id[i], sizeof id[i], "%s", ask(question, NULL));
		if (i) CHECK(strcmp(id[i - 1], id[i]) <= 0 || strncmp(id[i - 1], id[i], 16) == 0);
	}
	CHECK_OK(remember_trim(service, &removed, &e), e);
	CHECK_INT(get(&owner, id[0], &o), E_NOT_FOUND);
	snprintf(again_id, sizeof again_id, "%s", ask(QUESTION, NULL));
	answer_close(&answer);
	memset(&answer, 0, sizeof answer);
	service_close(service);      /* what waits is written */
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	CHECK_OK(get(&owner, again_id, &o), e);
	cJSON_Delete(o);
	close_service();
	open_with(none);
	put("leave.txt", LEAVE, NULL, NULL);
	CHECK_INT(get(&owner, ask(QUESTION, NULL), &o), E_NOT_FOUND);
	close_service();
}

static void priced(struct conf *c)
{
	c->price_hour = 3600;        /* one a second */
}

static void quote_facts(struct conf *c)
{
	const char *small = test_model("smollm2-135m-instruct-q4_1.gguf");
	if (!small) test_skip("smollm2 was not fetched");
	snprintf(c->generate_model, sizeof c->generate_model, "%s", small);
	c->route_extractive = 1e-6;
	c->answer_confidence = 0;
}

TEST(answerrecord_is_asked_again_by_the_same_route)
{
	struct answer_request q = { .question = QUESTION, .style = STYLE_GENERATE, .temperature = -1 };
	const struct answer_again with = { .question = QUESTION };
	char id[40];
	cJSON *o;
	open_with(quote_facts);
	put("leave.txt", LEAVE, NULL, NULL);
	q.reader = (struct reader){ .collection = "default", .all_groups = 1 };
	CHECK_OK(answer_run(service, &q, NULL, &arena, &answer, &e), e);
	CHECK_INT(answer.style, STYLE_EXTRACTIVE);
	snprintf(id, sizeof id, "%s", answer.id);
	CHECK_OK(again(id, &with, &o), e);
	CHECK_STR(json_str(json_get(o, "answer"), "style", ""), "extractive");
	CHECK(json_bool(o, "same", 0));
	cJSON_Delete(o);
	close_service();
}

TEST(usage_is_summed_by_day_and_key)
{
	struct usage u, today;
	char name[USAGE_NAME];
	cJSON *o;
	open_with(priced);
	put("leave.txt", LEAVE, NULL, NULL);
	ask(QUESTION, "k1");
	CHECK(answer.cost > 0 && answer.cost < 60);
	ask(QUESTION, "k1");
	CHECK_STR(answer.cached, "exact");
	ask("Which moon orbits Neptune backwards?", NULL);
	remember_flush(service->memory);
	CHECK_OK(usage_view(service, NULL, NULL, &o, &e), e);
	CHECK_INT(cJSON_GetArraySize(json_get(o, "usage")), 2);
	CHECK(json_num(json_get(o, "total"), "answers", 0) == 3 && json_num(json_get(o, "total"), "abstained", 0) == 1 &&
		json_num(json_get(o, "total"), "cached", 0) == 1);
	cJSON_Delete(o);
	ask("Who?", "k1");
	remember_flush(service->memory);
	CHECK_OK(usage_day(service, clock_wall_ms(), &today, &e), e);
	CHECK(today.answers == 4 && today.cost > 0);
	CHECK_OK(usage_view(service, "2001-01-01", "2001-01-02", &o, &e), e);
	CHECK_INT(cJSON_GetArraySize(json_get(o, "usage")), 0);
	cJSON_Delete(o);
	CHECK_INT(usage_view(service, "yesterday", NULL, &o, &e), E_USAGE);
	usage_name(name, 0, NULL);
	CHECK_STR(name, "1970-01-01 -");
	u = (struct usage){ .prompt_tokens = 2000 };
	conf.price_prompt = 0.5, conf.price_completion = 2, conf.price_hour = 0;
	CHECK(usage_cost(&conf, u.prompt_tokens, 500, 1e9) == 2);
	close_service();
}

/* A service whose one document was asked about; id: of the answer. The record is the caller's, b empty. */
static cJSON *answered(char id[40], struct buf *b)
{
	cJSON *record = NULL;
	open_with(NULL);
	buf_init(b, 1 << 20);
	put("leave.txt", LEAVE, NULL, NULL);
	snprintf(id, 40, "%s", ask(QUESTION, NULL));
	CHECK_OK(get(&owner, id, &record), e);
	return record;
}

TEST(feedback_is_counted_and_exported)
{
	struct feedback f = { .rating = 1, .answerable = -1 };
	struct feedback_count *counts;
	char id[40];
	size_t n;
	struct buf b;
	cJSON *record = answered(id, &b), *o;
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	f.citation = 9;
	CHECK_INT(feedback_put(service, id, record, &f, &e), E_USAGE);
	f.citation = 0;
	CHECK_OK(feedback_counts(service, &arena, &counts, &n, &e), e);
	CHECK_INT(n, 1);
	CHECK(counts[0].up == 1 && counts[0].down == 0);
	f.rating = -1;               /* the same asker thinks again */
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	CHECK_OK(feedback_counts(service, &arena, &counts, &n, &e), e);
	CHECK(n == 1 && counts[0].up == 0 && counts[0].down == 1);
	CHECK_OK(feedback_questions(service, &owner, &b, &n, &e), e);
	CHECK_INT(n, 0);             /* nobody said what the question was */
	f.question = QUESTION, f.key_id = "k9";
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	f.expected = "27 days", f.key_id = "k8";
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	f.expected = NULL, f.answerable = 0, f.key_id = "k7";
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	CHECK_OK(feedback_questions(service, &owner, &b, &n, &e), e);
	CHECK_INT(n, 3);
	CHECK(strstr(b.data, "\"answerable\":false") && strstr(b.data, "\"answers\":[\"27 days\"]") && strstr(b.data, "needs_answer"));
	CHECK_OK(feedback_view(service, &owner, "", 2, &o, &e), e);
	CHECK_INT(cJSON_GetArraySize(json_get(o, "feedback")), 2);
	CHECK(json_str(o, "next_cursor", NULL) != NULL);
	cJSON_Delete(o);
	cJSON_Delete(record);
	buf_clear(&b);
	close_service();
}

TEST(a_citation_is_rated_beside_its_answer)
{
	struct feedback f = { .rating = 1, .answerable = -1, .question = QUESTION };
	struct feedback_count *counts;
	char id[40];
	size_t n;
	struct buf b;
	cJSON *record = answered(id, &b), *o;
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	f.citation = 1, f.rating = -1;
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	CHECK_OK(feedback_counts(service, &arena, &counts, &n, &e), e);
	CHECK(n == 1 && counts[0].up == 1 && counts[0].down == 0 && counts[0].citations_up == 0 && counts[0].citations_down == 1);
	CHECK_OK(feedback_view(service, &owner, "", 9, &o, &e), e);
	CHECK_INT(cJSON_GetArraySize(json_get(o, "feedback")), 2);
	cJSON_Delete(o);
	CHECK_OK(feedback_questions(service, &owner, &b, &n, &e), e);
	CHECK_INT(n, 0);             /* a footnote that does not fit says nothing of the answer */
	f.expected = "27 days";
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	CHECK_OK(feedback_questions(service, &owner, &b, &n, &e), e);
	CHECK_INT(n, 1);
	f.rating = 1;
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	CHECK_OK(feedback_counts(service, &arena, &counts, &n, &e), e);
	CHECK(n == 1 && counts[0].up == 1 && counts[0].citations_up == 1 && counts[0].citations_down == 0);
	cJSON_Delete(record);
	buf_clear(&b);
	close_service();
}

TEST(feedback_is_for_who_sees_the_documents)
{
	const char *const staff = "staff";
	const struct caller narrow = { .role = ROLE_ADMIN, .key_id = "k3" };
	struct feedback f = { .rating = -1, .answerable = -1, .question = QUESTION, .expected = "27 days", .key_id = "k1" };
	char id[40];
	size_t n;
	struct buf b;
	cJSON *record, *o;
	open_with(NULL);
	buf_init(&b, 1 << 20);
	put("leave.txt", LEAVE, staff, NULL);
	put("travel.txt", TRAVEL, NULL, NULL);
	snprintf(id, sizeof id, "%s", ask(QUESTION, "k1"));
	CHECK_OK(get(&owner, id, &record), e);
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	cJSON_Delete(record);
	f.expected = "second class";
	snprintf(id, sizeof id, "%s", ask("How are train tickets booked?", "k1"));
	CHECK_OK(get(&owner, id, &record), e);
	CHECK_OK(feedback_put(service, id, record, &f, &e), e);
	cJSON_Delete(record);
	CHECK_OK(feedback_questions(service, &narrow, &b, &n, &e), e);
	CHECK(n == 1 && !strstr(b.data, "27 days") && strstr(b.data, "second class"));
	CHECK_OK(feedback_view(service, &narrow, "", 1, &o, &e), e);   /* a page is of what is shown */
	CHECK_INT(cJSON_GetArraySize(json_get(o, "feedback")), 1);
	CHECK_STR(json_str(cJSON_GetArrayItem(json_get(o, "feedback"), 0), "expected", ""), "second class");
	cJSON_Delete(o);
	buf_reset(&b);
	CHECK_OK(feedback_questions(service, &owner, &b, &n, &e), e);
	CHECK_INT(n, 2);
	buf_clear(&b);
	close_service();
}
