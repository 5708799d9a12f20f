/* Which questions may go to less than the large model, and when they do. */
#include "api/tier.h"
#include "tests/test.h"

TEST(tier_questions_of_fact)
{
	static const char *const facts[] = { "Who leads the team?", "When is the office closed?", "How many days of leave are there?", "What is the limit for a hotel?",
		"In which city is the office?", "how long is the notice period" };
	static const char *const others[] = { "Why is the office closed?", "How do I book a train?", "Explain the notice period.", "What is the difference between a and b?",
		"Which steps are there to book a train?", "The office", "How?", "", "Wie viele Tage Urlaub gibt es?", "¿Cuántos días de vacaciones hay?",
		"What should I do when the alarm goes off?", "Who leads the team that was founded after the merger of the two companies in spring?" };
	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) CHECK_MSG(tier_is_factual(facts[i]), "%s", facts[i]);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) CHECK_MSG(!tier_is_factual(others[i]), "%s", others[i]);
}

TEST(tier_by_confidence)
{
	static struct conf c;
	conf_default(&c);
	CHECK_INT(tier_choose(&c, "Who leads the team?", 1), TIER_LARGE);
	c.route_small = 0.6;
	CHECK_INT(tier_choose(&c, "Who leads the team?", 0.59), TIER_LARGE);
	CHECK_INT(tier_choose(&c, "Who leads the team?", 0.6), TIER_SMALL);
	CHECK_INT(tier_choose(&c, "Why does she lead the team?", 1), TIER_LARGE);
	c.route_extractive = 0.9;
	CHECK_INT(tier_choose(&c, "Who leads the team?", 0.8), TIER_SMALL);
	CHECK_INT(tier_choose(&c, "Who leads the team?", 0.95), TIER_EXTRACTIVE);
	c.route_small = 0;
	CHECK_INT(tier_choose(&c, "Who leads the team?", 0.8), TIER_LARGE);
}
