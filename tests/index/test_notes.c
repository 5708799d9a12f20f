/* test_notes.c: notes in and out, in the same commits as documents, in order, and found by check when damaged. */
#include <stdlib.h>
#include "base/arena.h"
#include "base/mem.h"
#include "index/inside.h"
#include "tests/index/help.h"
#include "tests/test.h"

static void note_put(struct index *x, const char *kind, const char *name, const char *json)
{
	struct write *w;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_note_put(w, kind, name, json, strlen(json), &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
}

/* Names of a kind after `after`, joined by commas. */
static const char *names(struct index *x, const char *kind, const char *after, size_t n, char out[200])
{
	struct note note[20];
	struct snapshot *s;
	struct arena a;
	struct err e;
	size_t got;
	out[0] = 0;
	arena_init(&a, 1 << 24);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_notes(s, kind, after, n, &a, note, &got, &e), e);
	for (size_t i = 0; i < got; i++) {
		strncat(out, note[i].name, 20);
		strncat(out, ",", 2);
	}
	snapshot_close(s);
	arena_clear(&a);
	return out;
}

TEST(notes_come_back_in_order)
{
	char out[200];
	struct index *x = help_open(test_dir());
	struct snapshot *s;
	struct arena a;
	struct note n;
	struct err e;
	note_put(x, "key", "b", "{\"v\":1}");
	note_put(x, "key", "a", "[]");
	note_put(x, "key", "c", "\"ü\"");
	note_put(x, "keys", "z", "1");
	note_put(x, "ke", "y", "1");
	note_put(x, "key", "b", "{\"v\":2}");
	CHECK_STR(names(x, "key", "", 20, out), "a,b,c,");
	CHECK_STR(names(x, "key", "", 2, out), "a,b,");
	CHECK_STR(names(x, "key", "a", 20, out), "b,c,");
	CHECK_STR(names(x, "key", "aa", 20, out), "b,c,");
	CHECK_STR(names(x, "key", "c", 20, out), "");
	CHECK_STR(names(x, "none", "", 20, out), "");
	arena_init(&a, 1 << 24);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_note(s, "key", "b", &a, &n, &e), e);
	CHECK_STR(n.json, "{\"v\":2}");
	CHECK_INT(n.len, 7);
	CHECK_INT(snapshot_note(s, "key", "d", &a, &n, &e), E_NOT_FOUND);
	snapshot_close(s);
	arena_clear(&a);
	help_check_clean(x);
	index_close(x);
}

TEST(notes_live_and_die_with_their_write)
{
	char dir[300], out[200];
	struct index *x;
	struct write *w;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	help_put(w, "c", "one", "/1", 1, 2, NULL, NULL);
	CHECK_OK(index_note_put(w, "hold", "d1", "{}", 2, &e), e);
	index_write_abort(w);
	CHECK_STR(names(x, "hold", "", 20, out), "");
	note_put(x, "hold", "d1", "{}");
	index_close(x);
	x = help_open(dir);
	CHECK_STR(names(x, "hold", "", 20, out), "d1,");
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_INT(index_note_delete(w, "hold", "d2", &e), E_NOT_FOUND); /* and the write goes on */
	CHECK_OK(index_note_delete(w, "hold", "d1", &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_STR(names(x, "hold", "", 20, out), "");
	help_check_clean(x);
	index_close(x);
}

TEST(notes_bad_ones_are_refused)
{
	struct index *x = help_open(test_dir());
	char name[300], *large = mem_calloc(1, NOTE_JSON_MAX + 2);
	char out[200];
	struct write *w;
	struct err e;
	CHECK(large);
	memset(large, ' ', NOTE_JSON_MAX + 1);
	large[0] = '1';
	memset(name, 'n', sizeof name);
	name[NOTE_NAME_MAX + 1] = 0;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_INT(index_note_put(w, "Bad", "a", "1", 1, &e), E_USAGE);
	CHECK_INT(index_note_put(w, "", "a", "1", 1, &e), E_USAGE);
	CHECK_INT(index_note_put(w, "abcdefghijklmnopqrstuvwxyzabcdefg", "a", "1", 1, &e), E_USAGE);
	CHECK_INT(index_note_put(w, "ok", "", "1", 1, &e), E_USAGE);
	CHECK_INT(index_note_put(w, "ok", name, "1", 1, &e), E_USAGE);
	CHECK_INT(index_note_put(w, "ok", "a", "{", 1, &e), E_USAGE);
	CHECK_INT(index_note_put(w, "ok", "a", "\"\xff\"", 3, &e), E_USAGE);
	CHECK_INT(index_note_put(w, "ok", "a", "1 2", 3, &e), E_USAGE);
	CHECK_INT(index_note_put(w, "ok", "a", large, NOTE_JSON_MAX + 1, &e), E_LIMIT);
	name[NOTE_NAME_MAX] = 0;
	CHECK_OK(index_note_put(w, "ok", name, large, NOTE_JSON_MAX, &e), e);
	CHECK_OK(index_note_put(w, "abcdefghijklmnopqrstuvwxyzabcdef", name, "1", 1, &e), e);
	CHECK_OK(index_note_put(w, "ok", "a", "1", 1, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_STR(names(x, "ok", "", 1, out), "a,");
	help_check_clean(x);
	index_close(x);
	mem_free(large);
}

/* A note that a buggy program or a bad disk left: check names it, readers get an error, not nonsense. */
TEST(notes_damage_is_found)
{
	struct index *x = help_open(test_dir());
	struct snapshot *s;
	struct txn *t;
	struct arena a;
	struct note n;
	struct key k;
	struct buf b;
	struct err e;
	note_put(x, "key", "a", "{}");
	key_note(&k, "key", "b");
	buf_init(&b, 1 << 20);
	CHECK(rec_note_put(&b, &k, "no json", 7) == OK);
	CHECK_OK(txn_begin(&t, x->store, 1, &e), e);
	CHECK_OK(store_put(t, T_NOTE, &k, b.data, b.len, &e), e);
	CHECK_OK(txn_commit(t, &e), e);
	CHECK_INT(help_problems(x), 1);
	key_note(&k, "key", "c");
	CHECK_OK(txn_begin(&t, x->store, 1, &e), e);
	CHECK_OK(store_put(t, T_NOTE, &k, b.data, b.len, &e), e); /* b's record under another key */
	CHECK_OK(txn_commit(t, &e), e);
	CHECK_INT(help_problems(x), 2);
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_INT(snapshot_note(s, "key", "c", &a, &n, &e), E_CORRUPT);
	snapshot_close(s);
	arena_clear(&a);
	buf_clear(&b);
	index_close(x);
}
