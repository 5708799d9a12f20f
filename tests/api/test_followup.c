/* Follow-ups and questions in parts: what leans on a conversation, what is carried over, what stays whole. */
#include "api/answer.h"
#include "api/followup.h"
#include "api/split.h"
#include "base/mem.h"
#include "tests/test.h"

static struct arena arena;
static struct err e;

static enum followup kind(const char *question, const char *language)
{
	enum followup out;
	arena_init(&arena, 16 << 20);
	CHECK_OK(followup_of(question, strlen(question), language, &arena, &out, &e), e);
	arena_clear(&arena);
	return out;
}

TEST(followup_is_told_from_a_question_that_stands_alone)
{
	static const struct { const char *question, *language; enum followup kind; } rows[] = {
		{ "How often are the sand filters washed?", "en", FOLLOWUP_NONE },
		{ "What is the difference between Fixed and Tiered charges?", "en", FOLLOWUP_NONE },
		{ "Where do I report a scam that I was affected by in my county?", "en", FOLLOWUP_REFERS }, /* "that": costs a second search */
		{ "How do I use them?", "en", FOLLOWUP_SHORT },
		{ "Is American football derived from it?", "en", FOLLOWUP_REFERS },
		{ "And in winter?", "en", FOLLOWUP_SHORT },
		{ "What about the harbour ferry on Sunday mornings?", "en", FOLLOWUP_SHORT },
		{ "any awards", "en", FOLLOWUP_SHORT },
		{ "streaming services?", "en", FOLLOWUP_SHORT },
		{ "How many teams?", "en", FOLLOWUP_SHORT },
		{ "When does the library open?", "en", FOLLOWUP_NONE },
		/* what "it" is stands in the same turn */
		{ "The Vulnerability Advisor of my cluster complains. What does it actually scan today?", "en", FOLLOWUP_NONE },
		{ "Und wie sieht es im Winter mit den Filtern aus?", "de", FOLLOWUP_SHORT },
		{ "Wann wurde diese große Brücke über den Fluss gebaut?", "de", FOLLOWUP_REFERS },
		{ "Können Sie mir sagen, wann die alte Brücke gebaut wurde?", "de", FOLLOWUP_NONE },
		{ "Wie viele Brücken gibt es über den Fluss Elbe?", "de", FOLLOWUP_NONE },
		{ "¿Y cuándo cierra la biblioteca los domingos?", "es", FOLLOWUP_SHORT },
		{ "¿Cuándo fue construido ese viejo puente de piedra?", "es", FOLLOWUP_REFERS },
		{ "¿Cuándo abre la biblioteca municipal los domingos?", "es", FOLLOWUP_NONE },
		{ "Et combien coûte la carte annuelle du musée?", "fr", FOLLOWUP_SHORT },
		{ "Combien coûte la carte annuelle du musée?", "fr", FOLLOWUP_NONE },
		{ "", "en", FOLLOWUP_SHORT },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		CHECK_MSG(kind(rows[i].question, rows[i].language) == rows[i].kind, "%s: %d", rows[i].question, (int)kind(rows[i].question, rows[i].language));
}

static const struct answer_turn talk[] = {
	{ "user", "Who runs the Lindholm ferry?" },
	{ "assistant", "The Lindholm ferry is run by the harbour company [1]." },
	{ "user", "What new commands does version 6.15.0 of the VPC plug-in have?" },
	{ "assistant", "It has image-obsolete and image-deprecate [1]." },
};

TEST(followup_carries_the_words_of_the_latest_turns)
{
	const char *terms;
	arena_init(&arena, 16 << 20);
	CHECK_OK(followup_terms("How do I use them?", talk, 4, "en", 4, &arena, &terms, &e), e);
	CHECK_MSG(strstr(terms, "new commands") && strstr(terms, "VPC"), "%s", terms);
	CHECK_MSG(!strstr(terms, "Lindholm") && !strstr(terms, "What"), "%s", terms);
	CHECK_OK(followup_terms("Which commands?", talk, 4, "en", 32, &arena, &terms, &e), e);
	CHECK_MSG(!strstr(terms, "commands") && strstr(terms, "Lindholm") && !strstr(terms, "1]"), "%s", terms);
	CHECK_OK(followup_terms("Why?", NULL, 0, "en", 4, &arena, &terms, &e), e);
	CHECK_STR(terms, "");
	arena_clear(&arena);
}

TEST(followup_does_not_carry_an_abstention)
{
	const struct answer_turn turns[] = { { "user", "Who runs the ferry?" }, { "assistant", "The documents do not answer this question." } };
	const char *terms;
	arena_init(&arena, 16 << 20);
	CHECK_OK(followup_terms("And the bridge?", turns, 2, "en", 8, &arena, &terms, &e), e);
	CHECK_STR(terms, "runs, ferry");
	arena_clear(&arena);
}

TEST(followup_tells_a_rewriting_from_an_invention)
{
	int yes;
	arena_init(&arena, 16 << 20);
	CHECK_OK(followup_covers("How do I use the new commands of VPC version 6.15.0?", "How do I use them?", talk, 4, "en", &arena, &yes, &e), e);
	CHECK(yes);
	CHECK_OK(followup_covers("How do I use the new commands of Kubernetes?", "How do I use them?", talk, 4, "en", &arena, &yes, &e), e);
	CHECK(!yes);
	CHECK_OK(followup_keeps("Why does Toby leave the office?", "any reason to end?", "en", &arena, &yes, &e), e);
	CHECK(!yes);
	CHECK_OK(followup_keeps("What does the ferry cost?", "What did it cost in 1985?", "en", &arena, &yes, &e), e);
	CHECK(!yes);
	CHECK_OK(followup_keeps("What did the ferry cost in 1985?", "What did it cost in 1985?", "en", &arena, &yes, &e), e);
	CHECK(yes);
	arena_clear(&arena);
}

/* The parts, with "|" between. */
static const char *parts(const char *question, const char *language)
{
	static char text[4096];
	struct span at[QUESTION_PARTS_MAX];
	size_t n, have = 0;
	arena_init(&arena, 16 << 20);
	CHECK_OK(parts_split(question, strlen(question), language, &arena, at, &n, &e), e);
	CHECK(n >= 1 && n <= QUESTION_PARTS_MAX);
	for (size_t i = 0; i < n; i++) {
		CHECK(at[i].off + at[i].len <= strlen(question));
		have += (size_t)snprintf(text + have, sizeof text - have, "%s%.*s", i ? "|" : "", (int)at[i].len, question + at[i].off);
	}
	arena_clear(&arena);
	return text;
}

TEST(split_takes_apart_what_asks_several_things)
{
	CHECK_STR(parts("Who founded the museum and when did it close?", "en"), "Who founded the museum|when did it close?");
	CHECK_STR(parts("What is a sand filter? And a drum filter?", "en"), "What is a sand filter?|And a drum filter?");
	CHECK_STR(parts("I run a mill. How do I start it? How do I stop it?", "en"), "I run a mill. How do I start it?|How do I stop it?");
	CHECK_STR(parts("1) Who founded it? 2) Where is the mill? 3) What does it grind?", "en"), "Who founded it?|Where is the mill?|What does it grind?");
	CHECK_STR(parts("Tell me: (a) the price, (b) the opening hours", "en"), "the price|the opening hours");
	CHECK_STR(parts("Wer gründete das Museum und wann wurde es geschlossen?", "de"), "Wer gründete das Museum|wann wurde es geschlossen?");
	CHECK_STR(parts("¿Quién fundó el museo y cuándo cerró?", "es"), "¿Quién fundó el museo|cuándo cerró?");
	CHECK_STR(parts("Qui a fondé le musée et quand a-t-il fermé ses portes?", "fr"), "Qui a fondé le musée|quand a-t-il fermé ses portes?");
	CHECK_STR(parts("What is a mill? What is a dam? What is a weir? What is a lock?", "en"), "What is a mill?|What is a dam?|What is a weir? What is a lock?");
}

TEST(split_leaves_one_question_whole)
{
	static const char *const whole[] = { "How and why did the mill close?", "When and where was Anna Lind born?", "Who are Anna and Peter Lind?",
		"What is the difference between who pays and who earns?", "Does the price include bread and butter?", "Is it open on Sunday, and why?",
		"Did the mill close? Why?", "What does https://example.org/a?b=c say about mills?", "Which rooms have a bath and a view?",
		"What does section 1) say?", "mills" };
	for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) CHECK_STR(parts(whole[i], "en"), whole[i]);
	CHECK_STR(parts("Что такое мельница и когда она закрылась?", "ru"), "Что такое мельница и когда она закрылась?");
}

TEST(split_finds_the_sides_of_a_difference)
{
	static const char question[] = "What is the difference between a sand filter and a drum filter, in short?";
	struct span side[2];
	int found;
	arena_init(&arena, 16 << 20);
	CHECK_OK(parts_sides(question, strlen(question), "en", &arena, side, &found, &e), e);
	CHECK(found);
	CHECK(side[0].len == 13 && memcmp(question + side[0].off, "a sand filter", 13) == 0);
	CHECK(side[1].len == 13 && memcmp(question + side[1].off, "a drum filter", 13) == 0);
	CHECK_OK(parts_sides("Which towns lie between Lund and Malmö?", 40, "en", &arena, side, &found, &e), e);
	CHECK(!found);
	arena_clear(&arena);
}

TEST(followup_and_split_take_hostile_text)
{
	char *big = mem_alloc(100001);
	const struct answer_turn turn = { "user", big };
	const char *terms;
	struct span at[QUESTION_PARTS_MAX];
	size_t n;
	int yes;
	static const char *const fill[] = { "?", "and who ", "1) ", "it ", "é", "\xe6\xb0\xb4", "Xy" };
	CHECK(big);
	for (size_t f = 0; f < sizeof fill / sizeof *fill; f++) {
		size_t piece = strlen(fill[f]), len = 100000 / piece * piece;
		for (size_t i = 0; i < len; i++) big[i] = fill[f][i % piece];
		big[len] = 0;
		(void)kind(big, "en");
		arena_init(&arena, 64 << 20);
		CHECK_OK(parts_split(big, len, "en", &arena, at, &n, &e), e);
		CHECK(n >= 1);
		CHECK_OK(followup_terms(big, &turn, 1, "en", 32, &arena, &terms, &e), e);
		CHECK_OK(followup_covers(big, big, &turn, 1, "en", &arena, &yes, &e), e);
		CHECK(yes);
		arena_clear(&arena);
	}
	mem_free(big);
}

TEST(followup_tells_what_wants_a_yes_or_no)
{
	static const struct { const char *question, *language; int yes; } rows[] = {
		{ "Is the office open on Sunday?", "en", 1 },
		{ "And may I bring my dog?", "en", 1 },
		{ "Are the tickets free or paid?", "en", 0 },
		{ "Do you know who runs the ferry?", "en", 0 },
		{ "When is the office open?", "en", 0 },
		{ "Opening hours", "en", 0 },
		{ "Ist die Kantine am Sonntag geöffnet?", "de", 1 },
		{ "Darf ich rauchen?", "de", 1 },
		{ "Wann ist die Kantine geöffnet?", "de", 0 },
		{ "¿Está abierta la oficina?", "es", 1 },
		{ "", "en", 0 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int yes;
		arena_init(&arena, 16 << 20);
		CHECK_OK(followup_yes_no(rows[i].question, strlen(rows[i].question), rows[i].language, &arena, &yes, &e), e);
		CHECK_MSG(yes == rows[i].yes, "%s: %d", rows[i].question, yes);
		arena_clear(&arena);
	}
}

TEST(followup_puts_another_subject_in_the_place_of_the_old)
{
	static const struct { const char *before, *turn, *language, *out; } rows[] = {
		{ "How long does the lease of the Harbour Street office run?", "And the parking garage?", "en", "How long does the lease of the parking garage run?" },
		{ "What is the notice period for the lease?", "And the parking garage?", "en", "What is the notice period for the parking garage?" },
		{ "Are cats allowed in the building?", "What about dogs?", "en", "Are dogs allowed in the building?" },
		{ "Are cats allowed in the building?", "And on the terrace?", "en", "Are cats allowed on the terrace?" },
		{ "Is the gym open?", "And on Sunday?", "en", "Is the gym open on Sunday?" },
		{ "How much does the toner cyan cost?", "And toner black?", "en", "How much does the toner black cost?" },
		{ "When does the canteen open?", "And the reception?", "en", "When does the reception open?" },
		{ "Sind Katzen erlaubt?", "Und Hunde?", "de", "Sind Hunde erlaubt?" },
		{ "What is the rent?", "And the parking garage?", "en", "" },            /* nothing would be left of the question */
		{ "Are cats allowed?", "And how long is the lease?", "en", "" },         /* asks anew */
		{ "Are cats allowed?", "Why?", "en", "" },
		{ "Are cats allowed?", "And they?", "en", "" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct answer_turn turns[] = { { "user", rows[i].before }, { "assistant", "It says so [1]." } };
		const char *out;
		arena_init(&arena, 16 << 20);
		CHECK_OK(followup_swap(rows[i].turn, turns, 2, rows[i].language, &arena, &out, &e), e);
		CHECK_MSG(strcmp(out, rows[i].out) == 0, "%s %s: %s", rows[i].before, rows[i].turn, out);
		arena_clear(&arena);
	}
}
