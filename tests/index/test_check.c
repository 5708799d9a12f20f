/* test_check.c: index_check finds what is wrong, whatever byte of whatever record is changed, and never crashes. The
 * damage is done through the room's own store.h, which knows nothing of what records mean. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/mem.h"
#include "index/store.h"
#include "tests/index/help.h"
#include "tests/test.h"

static void store_make(const char *dir)
{
	struct doc_in skipped = { .collection = "b", .source = "/skipped", .verdict = DOC_SKIPPED, .reason = "binary" };
	struct index *x = help_open(dir);
	struct write *w;
	struct err e;
	char id[64];
	int verdict;
	for (int i = 0; i < 12; i++) {
		char name[20];
		snprintf(name, sizeof name, "doc %d", i);
		help_add(x, i % 3 ? "c" : "b", name, name, (uint64_t)i * 100, 30, i % 2 ? "staff" : NULL, NULL);
	}
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &skipped, id, &verdict, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_check_clean(x);
	index_close(x);
}

enum change { FLIP, CUT, LOSE, EMPTY };

/* Changes the nth entry of a table and keeps the old value in *old. Returns 0 when the table has no nth. */
static int change(struct store *st, enum table table, int nth, enum change how, unsigned random, struct key *k,
	struct buf *old)
{
	struct txn *t;
	struct cursor c;
	struct slice key, value;
	struct err e;
	size_t n;
	int rc;
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	CHECK_OK(cursor_open(&c, t, table, &e), e);
	rc = cursor_seek(&c, NULL, &key, &value, &e);
	while (!rc && nth--) rc = cursor_next(&c, &key, &value, &e);
	if (!rc) {
		memcpy(k->b, key.p, key.n), k->n = key.n;
		buf_reset(old);
		CHECK(buf_put(old, value.p, value.n) == OK && value.n);
	}
	cursor_close(&c);
	if (rc) {
		txn_abort(t);
		return 0;
	}
	n = how == CUT ? random % old->len : how == EMPTY ? 0 : old->len;
	if (how == FLIP) old->data[random % old->len] ^= (char)(1 << random / 7 % 8);
	rc = how == LOSE ? store_del(t, table, k, &e) : store_put(t, table, k, old->data, n, &e);
	if (how == FLIP) old->data[random % old->len] ^= (char)(1 << random / 7 % 8);
	CHECK_OK(rc, e);
	CHECK_OK(txn_commit(t, &e), e);
	return 1;
}

static void restore(struct store *st, enum table table, const struct key *k, const struct buf *old)
{
	struct txn *t;
	struct err e;
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	CHECK_OK(store_put(t, table, k, old->data, old->len, &e), e);
	CHECK_OK(txn_commit(t, &e), e);
}

/* Reads whatever can be read: no crash, and every failure has a message. */
static void read_all(struct index *x)
{
	const struct reader all = { NULL, 1, NULL, 0, NULL, NULL };
	struct snapshot *s;
	struct arena a;
	struct err e = { OK, "" };
	struct vec_hit hit[5];
	float q[DIM];
	size_t got;
	if (snapshot_open(&s, x, &e)) return;
	arena_init(&a, 1 << 24);
	help_unit(3, q, DIM);
	snapshot_search(s, &everyone, q, 5, hit, &got, &e);
	for (uint64_t key = 1; key < 14; key++) {
		struct doc d;
		struct chunk *c;
		const char *text;
		size_t n, len;
		if (snapshot_doc_by_key(s, &all, key, &a, &d, &e)) continue;
		if (snapshot_text(s, &d, &text, &len, &e)) CHECK(e.status == E_CORRUPT && e.msg[0]);
		if (snapshot_chunks(s, &d, &a, &c, &n, &e)) CHECK(e.status == E_CORRUPT && e.msg[0]);
	}
	arena_clear(&a);
	snapshot_close(s);
}

/* Opened without an embedder, so that no rebuild mends what was damaged. */
static uint64_t problems_of(const char *dir)
{
	struct index_options o = help_options(dir);
	struct index *x;
	struct err e;
	uint64_t n;
	o.dim = 0, o.embedder = "";
	if (index_open(&x, &o, &e)) {
		CHECK(e.status == E_CORRUPT || e.status == E_UNSUPPORTED);
		return 1;
	}
	n = help_problems(x);
	read_all(x);
	index_close(x);
	return n;
}

TEST(check_finds_every_damage)
{
	static const int entries[TABLE_N] = { 1, 2, 8, 4, 4, 4, 8, 8, 8, 4 };
	char dir[300];
	struct buf old;
	unsigned random = 12345;
	buf_init(&old, 1 << 26);
	snprintf(dir, sizeof dir, "%s", test_dir());
	store_make(dir);
	CHECK_INT(problems_of(dir), 0);
	for (int table = 0; table < TABLE_N; table++)
		for (int how = FLIP; how <= EMPTY; how++)
			for (int nth = 0; nth < entries[table]; nth++) {
				struct store *st;
				struct key k;
				struct err e;
				int there;
				random = random * 1664525 + 1013904223;
				CHECK_OK(store_open(&st, dir, 64 << 20, 10, 0, &e), e);
				there = change(st, (enum table)table, nth, (enum change)how, random >> 8, &k, &old);
				store_close(st);
				if (!there) break;
				CHECK_MSG(problems_of(dir) > 0, "table %s, entry %d, change %d: not found", table_name((enum table)table), nth,
					how);
				CHECK_OK(store_open(&st, dir, 64 << 20, 10, 0, &e), e);
				restore(st, (enum table)table, &k, &old);
				store_close(st);
			}
	CHECK_INT(problems_of(dir), 0);
	buf_clear(&old);
}

/* Entries that belong to nobody. */
TEST(check_finds_strays)
{
	static const enum table tables[] = { T_ID, T_SOURCE, T_HASH, T_TEXT, T_CHUNK, T_VEC };
	char dir[300];
	snprintf(dir, sizeof dir, "%s", test_dir());
	store_make(dir);
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		uint8_t value[8];
		struct store *st;
		struct txn *t;
		struct key k;
		struct err e;
		rec_u64_fill(value, 1);
		if (tables[i] == T_ID) key_text(&k, "stray");
		else if (tables[i] == T_SOURCE) key_source(&k, 1, "stray");
		else if (tables[i] == T_HASH) key_hash(&k, 1, (const uint8_t[32]){ 1 }, 1);
		else if (tables[i] == T_VEC) key_vec(&k, 1, 100000);
		else key_u64(&k, 100000);
		CHECK_OK(store_open(&st, dir, 64 << 20, 10, 0, &e), e);
		CHECK_OK(txn_begin(&t, st, 1, &e), e);
		CHECK_OK(store_put(t, tables[i], &k, value, 8, &e), e);
		CHECK_OK(txn_commit(t, &e), e);
		store_close(st);
		CHECK_MSG(problems_of(dir) > 0, "stray in %s not found", table_name(tables[i]));
		CHECK_OK(store_open(&st, dir, 64 << 20, 10, 0, &e), e);
		CHECK_OK(txn_begin(&t, st, 1, &e), e);
		CHECK_OK(store_del(t, tables[i], &k, &e), e);
		CHECK_OK(txn_commit(t, &e), e);
		store_close(st);
	}
	CHECK_INT(problems_of(dir), 0);
}

/* A data file that was cut off is an error or a list of problems, not a SIGBUS. */
TEST(check_survives_a_cut_file)
{
	char dir[300], path[320];
	struct stat st;
	snprintf(dir, sizeof dir, "%s", test_dir());
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	for (int part = 1; part < 8; part++) {
		CHECK(remove(path) == 0 || errno == ENOENT);
		store_make(dir);
		CHECK(stat(path, &st) == 0);
		CHECK(truncate(path, st.st_size * part / 8) == 0);
		CHECK_MSG(problems_of(dir) > 0, "cut to %d/8: nothing found", part);
	}
}
