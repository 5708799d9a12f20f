/* An abstention in the language of the question. */
#include "api/abstain.h"
#include "tests/test.h"

TEST(abstentions_have_words_of_their_own)
{
	static const char *const codes[] = { "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "da", "no", "fi", "cs", "hu", "ro",
		"tr", "vi", "id", "uk", "th", "ru", "zh", "ja", "ko", "ar", "el", "he", "hi" };
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		CHECK_MSG(strcmp(abstain_text(codes[i]), abstain_text("en")) != 0, "%s has no words of its own", codes[i]);
	CHECK(strcmp(abstain_text("de"), abstain_text("en")) != 0);
	CHECK_STR(abstain_text("xx"), abstain_text("en"));
}
