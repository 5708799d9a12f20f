/* test_retention.c: which rule holds for a source, and when it takes a document. */
#include "api/retention.h"
#include "tests/test.h"

TEST(retention_longest_path_holds)
{
	static const struct { const char *source; double days; } cases[] = {
		{ "/srv/mail/a.eml", 365 }, { "/srv/mail", 365 }, { "/srv/mail/keep/x", 0 }, { "/srv/mail/keep", 0 },
		{ "/srv/mailbox/a", 30 }, { "/srv/mail/keeper", 365 }, { "/tmp/a b/x", 1.5 }, { "/tmp/a", 30 }, { "", 30 },
		{ "pushed", 30 }, { "pushed/one", 7 },
	};
	struct retention r;
	struct arena a;
	struct err e;
	arena_init(&a, 1 << 16);
	CHECK_OK(retention_parse(&r, " /srv/mail 365,/srv/mail/keep/  0 , /tmp/a b\t1.5, pushed/one 7 ", 30, &a, &e), e);
	CHECK_INT(r.n, 5);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		CHECK_MSG(retention_of(&r, cases[i].source)->days == cases[i].days, "%s: %g", cases[i].source,
			retention_of(&r, cases[i].source)->days);
	CHECK_OK(retention_parse(&r, "/ 5", 30, &a, &e), e);
	CHECK(retention_of(&r, "/x/y")->days == 5 && retention_of(&r, "x")->days == 30);
	CHECK_OK(retention_parse(&r, "", 0, &a, &e), e);
	CHECK_INT(r.n, 1);
	CHECK_INT(retention_due_ms(retention_of(&r, "/x"), 1000), 0);
	arena_clear(&a);
}

TEST(retention_due_by_days)
{
	struct retention_rule rule = { "", 1 };
	CHECK_INT(retention_due_ms(&rule, 1000), 1000 + 86400000);
	rule.days = 0.5;
	CHECK_INT(retention_due_ms(&rule, 0), 43200000);
	rule.days = 36500;
	CHECK_INT(retention_due_ms(&rule, 1763726400000), 1763726400000 + 36500 * 86400000ll);
}

TEST(retention_mistakes_are_named)
{
	static const char *const bad[] = { "/srv", "30", "/srv x", "/srv -1", "/srv 36501", "/srv nan", "/a 1,,/b 2", ", /a 1", "/srv 1e" };
	struct retention r;
	struct arena a;
	struct err e;
	arena_init(&a, 1 << 16);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK_MSG(retention_parse(&r, bad[i], 0, &a, &e) == E_USAGE, "%s", bad[i]);
	}
	arena_clear(&a);
}
