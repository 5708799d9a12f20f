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

/* The file's time counts where it is older; a pushed document has none, and a time to come makes nothing younger. */
TEST(retention_age_of_a_file)
{
	struct doc d = { .updated_ms = 5000 };
	struct retention r;
	struct arena a;
	struct err e;
	char why[100] = "";
	CHECK_INT(retention_changed_ms(&d), 5000);
	d.source_mtime_ns = 3000 * 1000000ll;
	CHECK_INT(retention_changed_ms(&d), 3000);
	d.source_mtime_ns = 7000 * 1000000ll;
	CHECK_INT(retention_changed_ms(&d), 5000);
	arena_init(&a, 1 << 16);
	CHECK_OK(retention_parse(&r, "/srv/mail 365, /srv/contracts 0", 30, &a, &e), e);
	CHECK(!retention_is_over(&r, "/srv/contracts/a", 1, why, sizeof why) && !*why);
	CHECK(!retention_is_over(&r, "/srv/mail/a", INT64_C(1) << 60, why, sizeof why));
	CHECK(retention_is_over(&r, "/srv/mail/a", 1, why, sizeof why));
	CHECK_STR(why, "older than 365 days (/srv/mail)");
	CHECK(retention_is_over(&r, "/srv/x", 1, why, sizeof why));
	CHECK_STR(why, "older than 30 days (retention.days)");
	arena_clear(&a);
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
