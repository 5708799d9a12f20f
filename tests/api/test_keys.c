/* test_keys.c: access keys on a real store: what a key may, when it ends, what is kept of it; damaged records. */
#include "api/keys.h"
#include "base/clock.h"
#include "tests/test.h"

static struct index *x;
static struct keys *keys;
static struct arena arena;
static struct err e;

static void begin(void)
{
	struct index_options o = { .dir = test_dir(), .map_bytes = (size_t)1 << 26, .embedder = "", .ivf_probes = 64, .ivf_rerank = 100, .hnsw_m = 16, .hnsw_ef_construction = 64,
		.hnsw_ef_search = 64, .exact_below = 1000, .rebuild_share = 0.2, .readers_max = 16, .bm25_k1 = 1.2, .bm25_b = 0.75,
		.query_terms_max = 64 };
	arena_init(&arena, 1 << 22);
	CHECK_OK(index_open(&x, &o, &e), e);
	CHECK_OK(keys_open(&keys, x, &e), e);
}

static void reopen(void)
{
	keys_close(keys);
	CHECK_OK(keys_open(&keys, x, &e), e);
}

static void end(void)
{
	keys_close(keys);
	index_close(x);
	arena_clear(&arena);
}

static const char *add(const char *name, enum role role, const char *groups, int64_t expires_ms)
{
	struct key in = { .name = name, .role = role, .expires_ms = expires_ms }, out;
	char *secret = arena_alloc(&arena, KEY_SECRET_LEN + 1);
	CHECK_OK(key_groups_read(groups, &arena, &in, &e), e);
	CHECK_OK(keys_add(keys, &in, &arena, &out, secret, &e), e);
	CHECK_INT(strlen(secret), KEY_SECRET_LEN);
	CHECK_INT(strlen(out.id), KEY_ID_LEN);
	return secret;
}

static int find(const char *secret, int64_t now_ms, struct caller *c)
{
	return keys_find(keys, secret, strlen(secret), now_ms, &arena, c, &e);
}

TEST(keys_give_what_they_were_made_with)
{
	const char *hr, *all, *open;
	struct caller c;
	begin();
	CHECK(!keys_any(keys));
	CHECK_INT(find("fn_", 0, &c), E_KEY);
	hr = add("people", ROLE_WRITE, "hr, board", 0);
	all = add("root", ROLE_ADMIN, "*", 0);
	open = add("open", ROLE_READ, "", 0);
	for (int turn = 0; turn < 2; turn++, reopen()) {
		CHECK(keys_any(keys));
		CHECK_OK(find(hr, clock_wall_ms(), &c), e);
		CHECK(c.role == ROLE_WRITE && !c.all_groups && c.group_n == 2);
		CHECK_STR(c.groups[1], "board");
		CHECK_OK(find(all, clock_wall_ms(), &c), e);
		CHECK(c.role == ROLE_ADMIN && c.all_groups && c.group_n == 0);
		CHECK_OK(find(open, clock_wall_ms(), &c), e);
		CHECK(c.role == ROLE_READ && !c.all_groups && c.group_n == 0);
		CHECK_INT(keys_find(keys, hr, KEY_SECRET_LEN - 1, 0, &arena, &c, &e), E_KEY);
		CHECK(c.role == ROLE_NONE && !c.all_groups && !c.group_n);
		CHECK_INT(keys_find(keys, hr, KEY_SECRET_LEN + 1, 0, &arena, &c, &e), E_KEY); /* with its NUL */
	}
	end();
}

TEST(keys_end_when_they_expire_and_when_they_are_revoked)
{
	int64_t now = clock_wall_ms();
	const char *a, *b;
	struct key was;
	struct caller c;
	begin();
	a = add("a", ROLE_READ, "", now + 100000);
	b = add("b", ROLE_READ, "", 0);
	CHECK_OK(find(a, now + 99999, &c), e);
	CHECK_INT(find(a, now + 100000, &c), E_KEY);
	CHECK(strstr(e.msg, "expired"));
	CHECK_OK(find(b, now + 100000, &c), e);
	CHECK_OK(keys_revoke(keys, "b", NULL, &arena, &was, &e), e);
	CHECK_INT(find(b, now, &c), E_KEY);
	CHECK_INT(keys_revoke(keys, "b", NULL, &arena, &was, &e), E_NOT_FOUND);
	CHECK(keys_any(keys));                   /* one that has expired still asks for keys */
	reopen();
	CHECK_INT(find(b, now, &c), E_KEY);
	CHECK_OK(find(a, now, &c), e);
	CHECK_OK(keys_revoke(keys, c.key_id, NULL, &arena, &was, &e), e);
	CHECK_STR(was.name, "a");
	CHECK(!keys_any(keys));
	end();
}

TEST(keys_refuse_bad_input)
{
	static const char *const names[] = { "", "a b", "a\n", "\xff", "12345678901234567890123456789012345678901234567890123456789012345" };
	const char *comma[] = { "a,b" }, *star[] = { "*" };
	struct key in = { .role = ROLE_READ }, out;
	char secret[KEY_SECRET_LEN + 1];
	begin();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		in.name = names[i];
		CHECK_MSG(keys_add(keys, &in, &arena, &out, secret, &e) == E_USAGE, "%s", names[i]);
	}
	in = (struct key){ .name = "x", .role = ROLE_NONE };
	CHECK_INT(keys_add(keys, &in, &arena, &out, secret, &e), E_USAGE);
	in = (struct key){ .name = "x", .role = ROLE_READ, .expires_ms = 1 };
	CHECK_INT(keys_add(keys, &in, &arena, &out, secret, &e), E_USAGE);
	in = (struct key){ .name = "x", .role = ROLE_READ, .groups = comma, .group_n = 1 };
	CHECK_INT(keys_add(keys, &in, &arena, &out, secret, &e), E_USAGE);
	in.groups = star;
	CHECK_INT(keys_add(keys, &in, &arena, &out, secret, &e), E_USAGE);
	CHECK(!keys_any(keys));
	add("x", ROLE_READ, "", 0);
	in = (struct key){ .name = "x", .role = ROLE_READ };
	CHECK_INT(keys_add(keys, &in, &arena, &out, secret, &e), E_CONFLICT);
	end();
}

/* Of a key the store holds its hash; the time of its use is kept to the hour. */
TEST(keys_are_not_stored)
{
	struct snapshot *s;
	struct note notes[2];
	struct caller c;
	struct key *list;
	size_t n;
	const char *secret;
	int64_t now = clock_wall_ms();
	begin();
	secret = add("a", ROLE_READ, "", 0);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_notes(s, "key", "", 2, &arena, notes, &n, &e), e);
	CHECK_INT(n, 1);
	CHECK(!strstr(notes[0].json, secret) && !strstr(notes[0].json, secret + 3));
	snapshot_close(s);
	CHECK_OK(keys_list(keys, &arena, &list, &n, &e), e);
	CHECK(n == 1 && list[0].used_ms == 0);
	CHECK_OK(find(secret, now, &c), e);
	reopen();
	CHECK_OK(keys_list(keys, &arena, &list, &n, &e), e);
	CHECK(n == 1 && list[0].used_ms == now - now % 3600000);
	end();
}

/* A record that cannot be read lets nobody in, and keeps the service closed. */
TEST(keys_damaged_records_stay_closed)
{
	static const char *const bad[] = { "{}", "[]", "{\"name\":\"a\",\"role\":\"admin\",\"groups\":\"*\",\"sha256\":\"\"}",
		"{\"name\":\"a\",\"role\":\"king\",\"groups\":[],\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\"}",
		"{\"name\":\"a\",\"role\":\"admin\",\"groups\":[7],\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\"}",
		"{\"name\":\"a\",\"role\":\"admin\",\"groups\":{},\"sha256\":\"zz00000000000000000000000000000000000000000000000000000000000000\"}" };
	struct caller c;
	struct key was, *list;
	size_t n;
	begin();
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct write *w;
		CHECK_OK(index_write_begin(&w, x, &e), e);
		CHECK_OK(index_note_put(w, "key", "k1", bad[i], strlen(bad[i]), &e), e);
		CHECK_OK(index_write_commit(w, &e), e);
		reopen();
		CHECK(keys_any(keys));
		CHECK_INT(find("fn_0", 0, &c), E_KEY);
		CHECK_OK(keys_list(keys, &arena, &list, &n, &e), e);
		CHECK(n == 1 && list[0].role == ROLE_NONE && !list[0].all_groups && list[0].group_n == 0);
		CHECK_OK(keys_revoke(keys, "k1", NULL, &arena, &was, &e), e);
		CHECK(!keys_any(keys));
	}
	end();
}
