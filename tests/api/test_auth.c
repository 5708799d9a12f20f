/* Who may talk to a keyless service; what callers may do and see. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include "api/auth.h"
#include "tests/test.h"

/* E_DENIED: an address that others can reach. */
static int listen_status(const char *s)
{
	struct sockaddr_storage a;
	socklen_t n;
	int loopback = 0, rc = listen_parse(s, &a, &n, &loopback, NULL);
	return !rc && !loopback ? E_DENIED : rc;
}

TEST(listen_addresses)
{
	struct sockaddr_storage a;
	socklen_t n;
	int loopback;
	CHECK_INT(listen_parse("127.0.0.1:8080", &a, &n, &loopback, NULL), OK);
	CHECK_INT(ntohs(((struct sockaddr_in *)&a)->sin_port), 8080);
	CHECK_INT(listen_parse("[::1]:0", &a, &n, &loopback, NULL), OK);
	CHECK_INT(a.ss_family, AF_INET6);
	CHECK_INT(listen_status("localhost:1"), OK);
	CHECK_INT(listen_status("127.1.2.3:65535"), OK);
	CHECK_INT(listen_status("0.0.0.0:80"), E_DENIED);
	CHECK_INT(listen_status("[::]:80"), E_DENIED);
	CHECK_INT(listen_status("128.0.0.1:80"), E_DENIED);
	static const char *const bad[] = { "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:8 ", "127.0.0.1:+8", "::1:80", "[::1]", "[::1", "[127.0.0.1]:1", "host:1", "1.2.3:4" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_MSG(listen_status(bad[i]) == E_USAGE, "%s", bad[i]);
}

TEST(hosts_of_this_machine)
{
	static const char *const good[] = { "localhost", "LocalHost:80", "127.0.0.1", "127.255.0.9:1", "[::1]", "[::1]:8080" };
	static const char *const bad[] = { "", ":80", "example.org", "localhost.example.org", "127.0.0.1.nip.io", "10.0.0.1", "0.0.0.0", "[::2]", "[::1]x", "[::1]:", "localhost:", "localhost:1:2", "127.1", "2130706433", "a@localhost" };
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		CHECK_MSG(host_is_loopback(good[i]), "%s", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_MSG(!host_is_loopback(bad[i]), "%s", bad[i]);
	CHECK(!host_is_loopback(NULL));
}

TEST(origins)
{
	CHECK(origin_is_own(NULL, "localhost:80"));
	CHECK(origin_is_own("http://localhost:80", "localhost:80"));
	CHECK(!origin_is_own("http://localhost:81", "localhost:80"));
	CHECK(!origin_is_own("https://localhost:80", "localhost:80"));
	CHECK(!origin_is_own("null", "localhost:80"));
	CHECK(!origin_is_own("http://evil.example", "localhost:80"));
	CHECK(!origin_is_own("http://localhost:80", NULL));
}

TEST(roles)
{
	struct caller c = { 0 };
	enum role role;
	CHECK(caller_may(&c, ROLE_OPEN));
	CHECK(!caller_may(&c, ROLE_READ) && !caller_may(&c, ROLE_WRITE) && !caller_may(&c, ROLE_ADMIN) && !caller_may(&c, ROLE_NONE));
	c.role = ROLE_WRITE;
	CHECK(caller_may(&c, ROLE_READ) && caller_may(&c, ROLE_WRITE) && !caller_may(&c, ROLE_ADMIN) && !caller_may(&c, ROLE_NONE));
	c.role = ROLE_ADMIN;
	CHECK(caller_may(&c, ROLE_ADMIN) && caller_may(&c, ROLE_NONE));
	CHECK(role_parse("write", &role) && role == ROLE_WRITE);
	CHECK(!role_parse("none", &role) && !role_parse("", &role) && !role_parse("Admin", &role));
	CHECK_STR(role_name(ROLE_READ), "read");
	CHECK_STR(role_name(ROLE_OPEN), "none");
}

TEST(as_narrows_and_never_widens)
{
	static const char *const own[] = { "hr", "staff" }, *const as[] = { "board", "hr", "hr" };
	struct caller c = { .role = ROLE_READ, .groups = own, .group_n = 2 };
	struct reader r;
	struct arena a;
	arena_init(&a, 1 << 16);
	caller_reader(&c, "x", &r);
	CHECK_OK(reader_narrow(&r, as, 3, &a, NULL), (struct err){ 0 });
	CHECK_INT(r.group_n, 2);
	CHECK_STR(r.groups[0], "hr");
	CHECK_STR(r.groups[1], "hr");
	CHECK_OK(reader_narrow(&r, as, 1, &a, NULL), (struct err){ 0 });
	CHECK_INT(r.group_n, 0);
	CHECK(!r.all_groups);
	c.all_groups = 1;
	caller_reader(&c, NULL, &r);
	CHECK_OK(reader_narrow(&r, as, 2, &a, NULL), (struct err){ 0 });
	CHECK(!r.all_groups && r.group_n == 2);
	CHECK_OK(reader_narrow(&r, NULL, 0, &a, NULL), (struct err){ 0 });
	CHECK(!r.all_groups && r.group_n == 0);
	arena_clear(&a);
}

TEST(groups_of_a_text)
{
	const char *const *list;
	struct arena a;
	size_t n;
	arena_init(&a, 1 << 16);
	CHECK_INT(groups_split(" hr , the board,x", &a, &list, &n, NULL), OK);
	CHECK_INT(n, 3);
	CHECK_STR(list[0], "hr");
	CHECK_STR(list[1], "the board");
	CHECK_STR(list[2], "x");
	CHECK_INT(groups_split(" \t", &a, &list, &n, NULL), OK);
	CHECK_INT(n, 0);
	CHECK(list != NULL);
	static const char *const bad[] = { ",", "a,", ",a", "a,,b", "a, ,b" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_MSG(groups_split(bad[i], &a, &list, &n, NULL) == E_USAGE, "%s", bad[i]);
	arena_clear(&a);
}

TEST(callers_give_only_groups_they_have)
{
	static const char *const own[] = { "hr", "staff" }, *const some[] = { "staff" }, *const more[] = { "hr", "board" }, *const star[] = { "*" };
	struct caller c = { .role = ROLE_WRITE, .groups = own, .group_n = 2 };
	CHECK_INT(caller_grants(&c, NULL, 0, NULL), OK);
	CHECK_INT(caller_grants(&c, some, 1, NULL), OK);
	CHECK_INT(caller_grants(&c, more, 2, NULL), E_DENIED);
	CHECK_INT(caller_grants(&c, star, 1, NULL), E_USAGE);
	c.all_groups = 1;
	CHECK_INT(caller_grants(&c, more, 2, NULL), OK);
	CHECK_INT(caller_grants(&c, star, 1, NULL), E_USAGE);
}

TEST(bearer_keys)
{
	static const struct { const char *header, *key; } cases[] = { { "Bearer abc", "abc" }, { "bEARER   abc  ", "abc" }, { "Bearer a b", "a b" },
		{ "Bearer", "" }, { "Bearer ", "" }, { "Bearer   ", "" }, { "", "" }, { "Basic abc", "" }, { "Bearerabc", "" }, { "Bearer\tabc", "" }, { " Bearer abc", "" } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n;
		const char *key = bearer_read(cases[i].header, strlen(cases[i].header), &n);
		CHECK_MSG(n == strlen(cases[i].key) && !memcmp(key, cases[i].key, n), "\"%s\"", cases[i].header);
	}
}
