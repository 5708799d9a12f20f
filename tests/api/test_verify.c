/* Support of written sentences by given ones, short spans; sentences are built by hand, without an embedder. */
#include "api/short.h"
#include "api/verify.h"
#include <math.h>
#include "tests/test.h"

enum { UNITS = 5 };
static struct arena arena;
static struct unit units[UNITS];
static struct selection sel;

/* Without weights every word that is no function word weighs the same. */
static void make(const char *question, const char *const *texts)
{
	struct err e = { 0 };
	struct word *w;
	arena_init(&arena, 1 << 20);
	sel = (struct selection){ .units = units, .dim = 0 };
	sel.weight_n = 64;
	sel.weights = arena_calloc(&arena, sel.weight_n, sizeof *sel.weights);
	CHECK_OK(words_of(question, strlen(question), &arena, &w, &sel.question_n, &e), e);
	sel.question = w;
	for (uint32_t off = 0; sel.unit_n < UNITS && texts[sel.unit_n]; sel.unit_n++) {
		struct unit *u = &units[sel.unit_n];
		*u = (struct unit){ .text = texts[sel.unit_n], .len = strlen(texts[sel.unit_n]), .chosen = 1, .passage = sel.unit_n / 3 };
		CHECK_OK(words_of(u->text, u->len, &arena, &w, &u->word_n, &e), e);
		u->words = w;
		u->range = (struct span){ off, (uint32_t)u->len };
		off += (uint32_t)u->len + 1;
	}
}

static struct claim claim_of(const char *text)
{
	struct err e = { 0 };
	struct claim c = { .text = text, .len = strlen(text) };
	struct word *w;
	CHECK_OK(words_of(text, c.len, &arena, &w, &c.word_n, &e), e);
	c.words = w;
	return c;
}

static const char *const texts[] = {
	"Employees receive 27 days of paid leave.",
	"Up to five unused days may be carried over until 31 March.",
	"It must be requested from the head of the department.",
	"Hotel nights cost at most 140 euros.",
	"Dogs are not allowed in the office.",
	NULL,
};

TEST(verify_finds_the_sentence)
{
	double score;
	make("How many days may be carried over?", texts);
	struct claim c = claim_of("Five unused days may be carried over until March.");
	CHECK_INT(verify_best(&sel, &c, (size_t)-1, &score), 1);
	CHECK_MSG(score >= 0.75, "score %.3f", score);
	CHECK_INT(verify_best(&sel, &c, 1, &score), 3); /* passage 1 holds units 3 and 4 */
	CHECK_MSG(score < 0.5, "score %.3f", score);
	CHECK_INT(verify_best(&sel, &c, 9, &score), (size_t)-1);
	arena_clear(&arena);
}

TEST(verify_breaks_on_wrong_numbers)
{
	make("How many days of leave?", texts);
	struct claim right = claim_of("Employees receive 27 days of paid leave."), wrong = claim_of("Employees receive 30 days of paid leave.");
	CHECK(verify_support(&sel, &right, 0) > 0.7);
	CHECK_MSG(verify_support(&sel, &wrong, 0) < 0.35, "%.3f", verify_support(&sel, &wrong, 0));
	arena_clear(&arena);
}

TEST(verify_breaks_on_negation)
{
	make("Are dogs allowed?", texts);
	struct claim plain = claim_of("Employees receive paid leave."), denied = claim_of("Employees never receive paid leave.");
	CHECK(verify_support(&sel, &denied, 0) < 0.7 * verify_support(&sel, &plain, 0));
	arena_clear(&arena);
}

TEST(verify_second_sentence_fills_the_gap)
{
	make("What about leave?", texts);
	struct claim c = claim_of("Employees receive 27 paid days, and five unused ones may be carried over until March.");
	double score;
	size_t first = verify_best(&sel, &c, 0, &score), second = verify_second(&sel, &c, first);
	CHECK(first != second && first <= 1 && second <= 1);
	c = claim_of("Employees receive 27 days.");
	CHECK_INT(verify_second(&sel, &c, 0), (size_t)-1);
	arena_clear(&arena);
}

TEST(verify_second_is_no_other_price)
{
	static const char *const prices[] = { "Product: Pallets; Price per unit (EUR): 11.20", "Lunch costs 6.80 euros.", "It is served at noon.",
		"Prices are in euros.", NULL };
	make("What does a pallet cost?", prices);
	struct claim c = claim_of("A pallet costs 11.20 euros.");
	CHECK_INT(verify_second(&sel, &c, 0), 3);
	units[3].chosen = 0;
	CHECK_INT(verify_second(&sel, &c, 0), (size_t)-1);
	arena_clear(&arena);
}

TEST(short_by_words_is_what_the_answer_adds)
{
	struct span s;
	make("How much may a hotel cost?", texts);
	struct claim c = claim_of("A hotel night may cost at most 140 euros.");
	CHECK_INT(short_by_words(&sel, c.words, c.word_n, 3, &s), 1);
	CHECK_MSG(strncmp(units[3].text + s.off - units[3].range.off, "140 euros", s.len) == 0 && s.len == 9, "%.*s", (int)s.len,
		units[3].text + s.off - units[3].range.off);
	c = claim_of("How much may a hotel cost?");
	CHECK_INT(short_by_words(&sel, c.words, c.word_n, 3, &s), 0);
	arena_clear(&arena);
}

TEST(verify_nothing_new_answers_only_a_yes_or_no)
{
	struct claim c;
	make("Which dogs are allowed in the office?", texts);
	c = claim_of("Dogs are allowed in the office.");
	CHECK(verify_support(&sel, &c, 4) == 0);
	arena_clear(&arena);
	make("Are employees given paid leave?", texts);
	c = claim_of("Employees are given paid leave.");
	CHECK(verify_support(&sel, &c, 0) > 0.4);
	arena_clear(&arena);
}

/* A claim that names none of what the reader sees in the leading units is another answer. */
TEST(verify_names_other_than_the_reader)
{
	static const size_t order[] = { 1, 0, 2, 3, 4 };
	make("Until when may unused days be carried over?", texts);
	struct claim same = claim_of("They may be carried over until 31 March."), other = claim_of("They may be carried over for five days.");
	CHECK_INT(verify_names_other(&sel, &other), 0); /* nobody has read */
	sel.order = order;
	sel.lead_n = 1;
	CHECK_INT(verify_names_other(&sel, &other), 0);
	const char *at = strstr(texts[1], "31 March");
	units[1].answers[0] = (struct unit_answer){ { units[1].range.off + (uint32_t)(at - texts[1]), 8 }, 2.5 };
	units[1].answer_n = 1;
	CHECK_INT(verify_names_other(&sel, &other), 1);
	CHECK_INT(verify_names_other(&sel, &same), 0);
	units[1].answers[0].logit = -1; /* it would rather see none */
	CHECK_INT(verify_names_other(&sel, &other), 0);
	arena_clear(&arena);
}
