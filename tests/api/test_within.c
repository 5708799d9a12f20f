/* The question within a message. */
#include <string.h>
#include "api/within.h"
#include "tests/test.h"

static struct arena arena;
static struct err e;

static void takes(const char *language, const char *message, const char *question, int dropped)
{
	const char *out = NULL;
	int around = -1;
	CHECK_OK(within_take(message, language, &arena, &out, &around, &e), e);
	CHECK_MSG(strcmp(out, question) == 0 && around == dropped, "\"%s\" was taken as \"%s\" (%d), not \"%s\"", message, out, around, question);
}

TEST(frames_are_taken_off)
{
	static const char *const framed[] = {
		"Can you tell me: when did the strike end?", "I would like to know: when did the strike end?", "Tell me, when did the strike end?",
		"Please answer: when did the strike end?", "Could you please tell me when did the strike end?", "Hello! When did the strike end?",
		"I'd like to know when did the strike end?", "Hi, do you know when did the strike end?", "My question is: when did the strike end?",
		"Could you please answer the following question: when did the strike end?", "Excuse me, would you kindly tell us: when did the strike end?",
		"I was wondering, when did the strike end?", "please let me know when did the strike end", "Does anyone know when did the strike end?",
	};
	arena_init(&arena, 16 << 20);
	for (size_t i = 0; i < sizeof framed / sizeof *framed; i++)
		takes("en", framed[i], "When did the strike end?", strncmp(framed[i], "Hello!", 6) == 0);
	takes("en", "Do you know whether the museum is open?", "The museum is open?", 0);
	takes("de", "Können Sie mir bitte sagen, wann die Mensa öffnet?", "Wann die Mensa öffnet?", 0);
	takes("de", "Weißt du, ob die Mensa öffnet?", "Die Mensa öffnet?", 0);
	takes("es", "¿Puedes decirme cuándo abre el museo?", "Cuándo abre el museo?", 0);
	takes("fr", "Pourriez-vous me dire quand ouvre le musée ?", "Quand ouvre le musée ?", 0);
	arena_clear(&arena);
}

TEST(what_is_no_frame_stays)
{
	static const char *const whole[] = {
		"When did the strike end?", "Tell me about the strike", "Please tell me why", "Can you return a broken lamp?", "I need a receipt for the taxi.",
		"Do you know the way to the museum?", "Show the opening hours", "refund policy", "Explain the difference between A and B.", "", "?",
		"1) When does it open? 2) Please tell me who runs it.", "ISO 9001", "USB",
	};
	arena_init(&arena, 16 << 20);
	for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) takes("en", whole[i], whole[i], 0);
	arena_clear(&arena);
}

TEST(sentences_around_a_question_are_left_out_where_it_stands_alone)
{
	arena_init(&arena, 16 << 20);
	takes("en", "I am moving away. How do I end the lease?", "How do I end the lease?", 1);
	takes("en", "How do I end the lease? I am moving away.", "How do I end the lease?", 1);
	takes("en", "Hi there. I am moving away. How do I end the lease", "How do I end the lease?", 1);
	takes("en", "I lost my card. How do I block it?", "I lost my card. How do I block it?", 0);
	takes("en", "The boiler shows E17. Why?", "The boiler shows E17. Why?", 0);
	takes("en", "The boiler is cold. The radiators are too.", "The boiler is cold. The radiators are too.", 0);
	arena_clear(&arena);
}

TEST(capitals_and_marks)
{
	arena_init(&arena, 16 << 20);
	takes("en", "WHEN DID THE A320NEO FLY FIRST?", "When did the A320NEO fly first?", 0);
	takes("en", "what is the capital of France", "what is the capital of France?", 0);
	takes("en", "capital of France", "capital of France", 0);
	takes("en", "Which NATO?", "Which NATO?", 0);
	arena_clear(&arena);
}
