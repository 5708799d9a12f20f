/* test_acl.c: settings that give folders their groups, and folders that may be named. */
#include "api/acl.h"
#include "api/conf.h"
#include "base/file.h"
#include "tests/test.h"

TEST(acl_rules_of_a_line)
{
	struct ingest_acl t;
	struct arena a;
	struct err e;
	arena_init(&a, 1 << 16);
	CHECK_OK(acl_rules_parse(" /srv/hr/ : hr,board ;; /srv/./open: ; /: all of us;", &a, &t, &e), e);
	CHECK_INT(t.rule_n, 3);
	CHECK_STR(t.rules[0].path, "/srv/hr");
	CHECK_INT(t.rules[0].group_n, 2);
	CHECK_STR(t.rules[0].groups[1], "board");
	CHECK_STR(t.rules[1].path, "/srv/open");
	CHECK_INT(t.rules[1].group_n, 0);
	CHECK_STR(t.rules[2].path, "/");
	CHECK_STR(t.rules[2].groups[0], "all of us");
	CHECK_OK(acl_rules_parse("", &a, &t, &e), e);
	CHECK_INT(t.rule_n, 0);
	static const char *const bad[] = { "hr", "/srv", "srv: hr", ": hr", "/a: b,,c", "/a: *", "/a: b; /a/: c", "/a: b: c", "~/a: b" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_MSG(acl_rules_parse(bad[i], &a, &t, &e) == E_USAGE, "%s", bad[i]);
	arena_clear(&a);
}

TEST(acl_roots)
{
	const char *const *roots;
	struct arena a;
	struct err e;
	size_t n;
	arena_init(&a, 1 << 16);
	CHECK_OK(roots_parse("/srv/share/; /data/../data", &a, &roots, &n, &e), e);
	CHECK_INT(n, 2);
	CHECK(path_is_within("/srv/share", roots, n) && path_is_within("/srv/share/x/y", roots, n) && path_is_within("/data", roots, n));
	CHECK(!path_is_within("/srv/shared", roots, n) && !path_is_within("/srv", roots, n) && !path_is_within("/", roots, n));
	CHECK_OK(roots_parse("/", &a, &roots, &n, &e), e);
	CHECK(path_is_within("/anything", roots, n) && path_is_within("/", roots, n));
	CHECK_INT(roots_parse("share", &a, &roots, &n, &e), E_USAGE);
	arena_clear(&a);
}

TEST(acl_settings_are_checked_when_they_are_read)
{
	static struct conf c;
	struct err e;
	conf_default(&c);
	CHECK_OK(conf_set(&c, "acl.default", "staff, hr", &e), e);
	CHECK_OK(conf_set(&c, "acl.rules", "/srv/hr: hr", &e), e);
	CHECK_INT(conf_set(&c, "acl.default", "a,,b", &e), E_USAGE);
	CHECK(strstr(e.msg, "acl.default"));
	CHECK_INT(conf_set(&c, "acl.rules", "/srv/hr", &e), E_USAGE);
	CHECK(strstr(e.msg, "acl.rules") && strstr(e.msg, "/srv/hr"));
	CHECK_INT(conf_set(&c, "sources.roots", "relative", &e), E_USAGE);
	CHECK(strstr(e.msg, "sources.roots"));
	CHECK_INT(conf_set(&c, "retention.rules", "/srv/mail soon", &e), E_USAGE);
	CHECK(strstr(e.msg, "retention.rules"));
	CHECK_STR(c.acl_rules, "/srv/hr: hr");
}
