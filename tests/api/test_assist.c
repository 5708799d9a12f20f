/* What a customer asks, and the questions that conditions in passages become. */
#include "api/assist.h"
#include "api/nextask.h"
#include "tests/test.h"

static struct arena arena;

static void condition(const char *sentence, const char *want)
{
	const char *got = condition_question(sentence, strlen(sentence), &arena);
	if (!want) CHECK_MSG(!got, "%s: %s", sentence, got);
	else CHECK_MSG(got && strcmp(got, want) == 0, "%s: %s", sentence, got ? got : "none");
}

TEST(nextask_conditions)
{
	arena_init(&arena, 1 << 20);
	condition("If your lease is open-ended, you may cancel it after six months.", "Is your lease open-ended?");
	condition("If you have lost your key, call the desk.", "Have you lost your key?");
	condition("If you have a company card, no receipt is needed.", "Do you have a company card?");
	condition("If you pay by card, the refund takes three days.", "Do you pay by card?");
	condition("If you've opened the box, the right ends.", "Have you opened the box?");
	condition("If the red light does not blink, press reset.", "Does the red light blink?");
	condition("Returns are free if the parcel has been damaged on its way.", "Has the parcel been damaged on its way?");
	condition("A deposit is due if the instrument is worth more than 2,000 euros.", "Is the instrument worth more than 2,000 euros?");
	condition("If the customer who rents it leaves, tell us.", "Is it the case that the customer who rents it leaves?");
	condition("If the printer shows error E-23, clean the head.", "Does the printer show error E-23?");
	condition("If possible, come early.", NULL);
	condition("If you wish to stay, stay.", NULL);
	condition("It works even if the door is open.", NULL);
	condition("Gift and iffy are words.", NULL);
	condition("If", NULL);
	condition("if ", NULL);
	condition("", NULL);
	condition("If the limit of 4.5 tons has been passed, stop.", "Has the limit of 4.5 tons been passed?");
	condition("Come early if possible, or if you are late by an hour, call.", "Are you late by an hour?");
	arena_clear(&arena);
}

static void asks(const char *message, size_t max, const char *want)
{
	const char *got = assist_question(message, max, &arena);
	CHECK_MSG(got && strcmp(got, want) == 0, "%s: %s", message, got ? got : "none");
}

TEST(assist_finds_the_question)
{
	arena_init(&arena, 1 << 20);
	asks("Hello there! My horn arrived with a dent in the bell. Can I send it back? Thanks a lot.", 2000,
		"My horn arrived with a dent in the bell. Can I send it back?");
	asks("Hi. I ordered it in May. It came in June. How long is the warranty? And who pays the postage?", 2000,
		"It came in June. How long is the warranty? And who pays the postage?");
	asks("Hi. The key is stuck and will not turn.", 2000, "The key is stuck and will not turn.");
	asks("Help", 2000, "Help");
	asks("", 2000, "");
	asks("One two three four five six seven?", 12, "e six seven?");
	arena_clear(&arena);
}
