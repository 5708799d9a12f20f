/* Writing under constraint, with the small generator: numbers and quotations are the passages', unsupported sentences are
 * written again in the passages' words, and what is left of them after that. */
#include <stdlib.h>
#include "api/write.h"
#include "base/language.h"
#include "tests/api/fresh.h"
#include "tests/test.h"

static struct conf conf;
static struct service *service;
static struct engine *engine;
static struct arena arena;
static struct err e;
static struct answer answer;
static const char *language = "en"; /* that the question is taken to be in */
static struct selection sel;

static const char harbour[] = "The Kolm harbour was built in 1873 for 1,250 crowns. Its master, Ada Brandt, calls it \"the calmest water of the "
	"north\". Ships of up to 140 metres may enter between 5:30 and 22:15. In winter the ice is broken twice a day.\n";

static void open_service(void)
{
	const char *why;
	fresh_conf(&conf, "smollm2-135m-instruct-q4_1.gguf");
	snprintf(conf.reader_model, sizeof conf.reader_model, "none"); /* what the mask and the words do is looked at here */
	conf.embed_threads = conf.generate_threads = 1;
	conf.answer_refusal = 100;
	conf.answer_confidence = 0;
	CHECK_OK(service_open(&service, &conf, NEED_EMBEDDER, &e), e);
	CHECK_OK(service_engine(service, &engine, &why, &e), e);
	arena_init(&arena, 64 << 20);
	CHECK_INT(fresh_put(service, "Kolm", harbour), DOC_ADDED);
}

static void close_service(void)
{
	arena_clear(&arena);
	service_close(service);
}

static struct written write_for(const char *question, double temperature, uint64_t seed)
{
	struct answer_request q = { .question = question, .temperature = temperature, .seed = seed, .patient = 1, .conf = &conf };
	const struct search_want want = { .mode = SEARCH_HYBRID, .k = 4, .conf = &conf };
	struct written w;
	struct citer c;
	q.reader = (struct reader){ .collection = "default", .all_groups = 1 };
	memset(&answer, 0, sizeof answer);
	answer.question = question;
	answer.plan.language = language;
	CHECK_OK(retrieve(service, &q.reader, question, strlen(question), &want, &arena, &answer.retrieval, &e), e);
	CHECK_OK(select_units(service, &answer.retrieval, question, &arena, &sel, &e), e);
	CHECK_OK(citer_begin(&c, &answer, &sel, NULL, &arena, 0, &e), e);
	CHECK_OK(write_answer(service, engine, &q, &c, &sel, &w, &e), e);
	CHECK_OK(citer_end(&c, &e), e);
	retrieve_close(&answer.retrieval);
	return w;
}

/* Digits of a sentence without its marks are those of the harbour's numbers or of the question's. */
static void check_numbers(const char *question)
{
	static const char *const numbers[] = { "1873", "1,250", "140", "5:30", "22:15" };
	for (size_t i = 0; i < answer.text_len;) {
		size_t n = 0, k = 0;
		const char *s = answer.text + i;
		if (*s == '[') while (s[k] && s[k] != ']') k++;
		while (!k && ((s[n] >= '0' && s[n] <= '9') || (n && strchr(".,:", s[n]) && s[n + 1] >= '0' && s[n + 1] <= '9'))) n++;
		i += n ? n : k ? k : 1;
		if (!n) continue;
		while (k < 5 && (strlen(numbers[k]) != n || memcmp(numbers[k], s, n) != 0)) k++;
		CHECK_MSG(k < 5 || memmem(question, strlen(question), s, n), "%.*s: %s", (int)n, s, answer.text);
	}
}

TEST(write_keeps_to_numbers)
{
	static const char *const questions[] = { "In which years, at which prices and for how many crowns was the harbour of Kolm built?",
		"When may ships of 77 metres enter the harbour?", "What does Ada Brandt call it? Quote her in quotation marks." };
	size_t sentences = 0;
	open_service();
	conf.answer_support = 0.2;
	for (uint64_t i = 0; i < 9; i++) {
		(void)write_for(questions[i % 3], i < 3 ? 0 : 1.2, i);
		check_numbers(questions[i % 3]);
		for (const char *s = answer.text; (s = strchr(s, '"')) != NULL; s++) { /* whole quotations alone go out */
			const char *end = strchr(s + 1, '"');
			CHECK_MSG(end && memmem(harbour, strlen(harbour), s + 1, (size_t)(end - s) - 1), "%s", answer.text);
			s = end;
		}
		sentences += answer.sentence_n;
	}
	CHECK_MSG(sentences > 4, "%zu sentences", sentences);
	close_service();
}

/* So strict that only the passage's own words are good enough. */
TEST(write_again_in_the_passages_words)
{
	static const char *const asked[] = { "What is broken in winter?", "When was the harbour built?", "What does the harbour master say?" };
	int rewritten = 0;
	open_service();
	conf.answer_support = 0.9;
	for (uint64_t i = 0; i < 32 && rewritten < 2; i++) {
		struct written w = write_for(asked[i % 3], 0.9, i);
		for (size_t k = 0; k < answer.sentence_n; k++) CHECK(answer.sentences[k].verified && answer.sentences[k].citation_n);
		if (w.rewritten && answer.sentence_n == (size_t)w.rewritten) {
			size_t n = 0;
			while (answer.text[n] && strncmp(answer.text + n, " [", 2) != 0) n++;
			while (n && answer.text[n - 1] == '.') n--; /* an end may be put in */
			CHECK_MSG(memmem(harbour, strlen(harbour), answer.text, n), "%s", answer.text);
		}
		CHECK(!w.unverified);
		rewritten += w.rewritten;
	}
	CHECK_MSG(rewritten > 0, "nothing was written again");
	close_service();
}

/* Nothing is supported enough: removed, or kept and marked. */
TEST(write_unsupported)
{
	struct written w;
	open_service();
	conf.answer_support = 1.01;
	w = write_for("Who is the harbour master of Kolm?", -1, 0);
	CHECK(w.end == WRITE_UNSUPPORTED && answer.sentence_n == 0 && answer.text_len == 0 && !w.unverified && !w.rewritten);
	snprintf(conf.answer_unsupported, sizeof conf.answer_unsupported, "mark");
	w = write_for("Who is the harbour master of Kolm?", -1, 0);
	CHECK(w.end == WRITE_DONE && answer.sentence_n == 1 && w.unverified == 1 && w.support < 1.01);
	CHECK(!answer.sentences[0].verified && !answer.sentences[0].citation_n && !answer.citation_n && answer.text_len > 5);
	CHECK_MSG(!strchr(answer.text, '[') && answer.sentences[0].end == answer.text_len, "%s", answer.text);
	close_service();
}

/* A question in German, put in English here so that a small model answers in English: the German sentence that carries it stands there instead. */
TEST(write_in_the_questions_language)
{
	static const char town[] = "Der Hafen von Kolm liegt im Landkreis Harburg. Er ist der einzige Hafen, der auch im Winter offen ist.\n";
	struct written w;
	open_service();
	CHECK_INT(fresh_put(service, "Kolm am Meer", town), DOC_ADDED);
	conf.answer_support = 0.1;
	w = write_for("In which county (Landkreis) is the Hafen von Kolm?", 0, 0);
	CHECK_MSG(answer.sentence_n && !w.rewritten && strcmp(language_of(answer.text, answer.text_len), "en") == 0, "%s", answer.text);
	language = "de";
	w = write_for("In which county (Landkreis) is the Hafen von Kolm?", 0, 0);
	language = "en";
	CHECK_MSG(answer.sentence_n && strcmp(language_of(answer.text, answer.text_len), "de") == 0, "%s", answer.text);
	CHECK(w.rewritten == 1 && answer.citation_n == 1 && memmem(town, strlen(town), answer.text, answer.sentences[0].end - 5));
	close_service();
}
