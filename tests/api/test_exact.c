/* test_exact.c: what counts as an identifier in a query, and which texts hold one. */
#include <string.h>
#include "api/exact.h"
#include "tests/test.h"

TEST(exact_takes_identifiers_and_nothing_else)
{
	static const struct { const char *query, *ids; } cases[] = {
		{ "What does ERR-4021 mean?", "ERR-4021|" }, { "ERR-4021", "ERR-4021|" }, { "(see \"RFC2616\", please)", "RFC2616|" },
		{ "set max_connections to 100", "max_connections|" }, { "is 10.0.0.1 up?", "10.0.0.1|" }, { "CVE-2021-44228 or x86_64", "CVE-2021-44228|x86_64|" },
		{ "in 1989 it cost 1,500.50 or 2.5", "" }, { "a well-known state-of-the-art thing", "" }, { "", "" }, { "  --  ?! ", "" }, { "a1", "" },
		{ "Größe Ä7x", "Ä7x|" },
		{ "1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "" },
		{ "a-1 b-2 c-3 d-4 e-5 f-6 g-7 h-8 i-9 j k l", "a-1|b-2|c-3|d-4|e-5|f-6|g-7|h-8|i-9|" },
		{ "a-1 b c d e f g h i j k l m", "" }, { "Since the update on Monday the pump in hall 7 shows ERR-4021 again", "" },
		{ "the 19th century, the 2nd and the 1980s", "" }, { "19thA", "19thA|" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct span ids[EXACT_MAX];
		char got[512];
		size_t n = exact_take(cases[i].query, strlen(cases[i].query), ids), at = 0;
		got[0] = 0;
		for (size_t j = 0; j < n; j++) at += (size_t)snprintf(got + at, sizeof got - at, "%.*s|", (int)ids[j].len, cases[i].query + ids[j].off);
		CHECK_STR(got, cases[i].ids);
	}
}

TEST(exact_holds_whole_identifiers)
{
	static const struct { const char *text; int yes; } cases[] = {
		{ "The printer shows ERR-4021.", 1 }, { "err-4021", 1 }, { "ERR-40210 and XERR-4021", 0 }, { "XERR-4021 but also (Err-4021)", 1 },
		{ "ERR 4021", 0 }, { "ERR-402", 0 }, { "", 0 }, { "_ERR-4021", 0 }, { "\xc3\xa4" "ERR-4021", 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		CHECK_MSG(exact_holds(cases[i].text, strlen(cases[i].text), "ERR-4021", 8) == cases[i].yes, "%s", cases[i].text);
	CHECK(!exact_holds("abc", 3, "", 0));
	static const char two[] = "ERR-4021, xERR-4021, err-4021";
	CHECK_INT(exact_find(two, sizeof two - 1, 0, "ERR-4021", 8), 0);
	CHECK_INT(exact_find(two, sizeof two - 1, 1, "ERR-4021", 8), 21);
	CHECK_INT(exact_find(two, sizeof two - 1, 22, "ERR-4021", 8), sizeof two - 1);
}
