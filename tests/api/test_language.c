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
		{ "Hur många invånare har staden?", "sv" }, { "Hvornår er kontoret åbent?", "da" }, { "Når er kontoret åpent?", "no" },
		{ "Mikä on Kazakstanin pääkaupunki?", "fi" }, { "Jaké je hlavní město Kazachstánu?", "cs" },
		{ "Mennyi szabadság jár és mikor?", "hu" }, { "Care este capitala și unde se află?", "ro" },
		{ "Kazakistan'ın başkenti nedir?", "tr" }, { "Thủ đô của Kazakhstan là gì?", "vi" },
		{ "Apa ibu kota Kazakhstan dan berapa penduduknya?", "id" }, { "Який сьогодні день і чому?", "uk" },
		{ "เมืองหลวงของคาซัคสถานคืออะไร", "th" }, { "Что значит the end of the world для компании?", "ru" },
		{ "How is the word 会社 written?", "en" }, { "Is Ελλάς the name of Greece?", "en" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) CHECK_STR(language_of(rows[i].text, strlen(rows[i].text)), rows[i].code);
	static const char *const codes[] = { "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "da", "no", "fi", "cs", "hu", "ro",
		"tr", "vi", "id", "uk", "th", "ru", "zh", "ja", "ko", "ar", "el", "he", "hi" };
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		CHECK_MSG(strcmp(language_abstain(codes[i]), language_abstain("en")) != 0, "%s has no words of its own", codes[i]);
	CHECK(strcmp(language_abstain("de"), language_abstain("en")) != 0);
	CHECK_STR(language_abstain("xx"), language_abstain("en"));
}
