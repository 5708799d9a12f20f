/* The language of a question, and an abstention in it. */
#include "api/language.h"
#include "tests/test.h"

TEST(language_is_told)
{
	static const struct { const char *text, *code; } rows[] = {
		{ "How many days of leave do I have?", "en" }, { "Wie viele Urlaubstage habe ich und was ist mit dem Rest?", "de" },
		{ "Qui était le premier directeur de la société ?", "fr" }, { "¿Cuándo fue fundada la empresa y por quién?", "es" },
		{ "Кто основал компанию?", "ru" }, { "这家公司是什么时候成立的?", "zh" }, { "会社はいつ設立されましたか", "ja" },
		{ "متى تأسست الشركة؟", "ar" }, { "", "en" }, { "1234", "en" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) CHECK_STR(language_of(rows[i].text, strlen(rows[i].text)), rows[i].code);
	CHECK(strcmp(language_abstain("de"), language_abstain("en")) != 0);
	CHECK_STR(language_abstain("xx"), language_abstain("en"));
}
