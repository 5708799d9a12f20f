/* The language of a question. */
#include "base/language.h"
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
		{ "In welchem County liegt Jacksonville?", "de" }, { "Was bedeutet Plastid?", "de" }, { "wann starb tesla", "de" },
		{ "Was Tesla married?", "en" }, { "Is Düsseldorf a city?", "en" }, { "What causes El Niño?", "en" },
		{ "¿A qué distancia está Jacksonville de Miami?", "es" }, { "cuando murio tesla", "es" }, { "¿Precio?", "es" },
		{ "Où habite Marie ?", "fr" }, { "Dov'è la stazione?", "it" }, { "Gdzie leży Kraków?", "pl" }, { "Waar ligt Utrecht?", "nl" },
		{ "How is the word 会社 written?", "en" }, { "Is Ελλάς the name of Greece?", "en" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) CHECK_STR(language_of(rows[i].text, strlen(rows[i].text)), rows[i].code);
}

TEST(language_of_documents_is_english_unless_it_is_clear)
{
	static const struct { const char *text, *code; } rows[] = {
		{ "Der Vertrag wird auf unbestimmte Zeit geschlossen und kann von beiden Seiten mit einer Frist von drei Monaten zum Ende des Jahres gekündigt werden.", "de" },
		{ "El contrato se celebra por tiempo indefinido y puede ser rescindido por las partes con un aviso de tres meses al final del año.", "es" },
		{ "Il contratto è concluso a tempo indeterminato e può essere disdetto da entrambe le parti con un preavviso di tre mesi alla fine dell'anno.", "it" },
		{ "O contrato é celebrado por tempo indeterminado e pode ser rescindido pelas partes com um aviso de três meses ao final do ano.", "pt" },
		{ "Le contrat est conclu pour une durée indéterminée et peut être résilié par les parties avec un préavis de trois mois.", "fr" },
		{ "Het contract wordt voor onbepaalde tijd gesloten en kan door beide partijen met een termijn van drie maanden worden opgezegd.", "nl" },
		{ "Avtalet gäller tills vidare och kan sägas upp av parterna med tre månaders varsel vid slutet av året, och det är inte dyrt.", "sv" },
		{ "Договор заключен на неопределенный срок.", "ru" },
		{ "Die Hard was a film in which the hero is on the roof of a tower, and it was one of the best of its year.", "en" },
		{ "Kann man hier liegen? Wem gehört das, wozu dient es, und wer zahlt dafür?", "en" }, /* by few of the words of questions */
		{ "int main(void) { return 0; }", "en" }, { "Vertrag, Frist, Kündigung", "en" }, { "", "en" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK_STR(language_of_document(rows[i].text, strlen(rows[i].text)), rows[i].code);
}
