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

/* Puts a note that belongs to the documents a and b, whose keys are 1 and 2 in a new store. */
static int of_put(struct index *x, const char *name, const char *json, struct err *e)
{
	struct write *w;
	int rc;
	CHECK_OK(index_write_begin(&w, x, e), *e);
	rc = index_note_put(w, "answer", name, json, strlen(json), e);
	if (rc) index_write_abort(w);
	else CHECK_OK(index_write_commit(w, e), *e);
	return rc;
}

static uint64_t key_of(struct index *x, const char *id)
{
	const struct reader all = { .all_groups = 1 };
	struct snapshot *s;
	struct arena a;
	struct doc d;
	struct err e;
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_doc(s, &all, id, &a, &d, &e), e);
	snapshot_close(s);
	arena_clear(&a);
	return d.key;
}

TEST(notes_of_documents_go_with_them)
{
	char out[200], json[400], first[200], ida[64], idb[64];
	const char *got[8];
	struct index *x = help_open(test_dir());
	struct snapshot *s;
	struct arena a;
	struct err e;
	size_t n;
	help_add(x, "c", "a", "/a.txt", 1, 2, NULL, ida);
	help_add(x, "c", "b", "/b.txt", 5, 2, NULL, idb);
	snprintf(first, sizeof first, "{\"of_documents\":[{\"id\":\"%s\",\"key\":%llu}]}", ida, (unsigned long long)key_of(x, ida));
	snprintf(json, sizeof json, "{\"of_documents\":[{\"id\":\"%s\",\"key\":%llu},{\"id\":\"%s\",\"key\":%llu}]}",
		ida, (unsigned long long)key_of(x, ida), idb, (unsigned long long)key_of(x, idb));
	CHECK_OK(of_put(x, "one", first, &e), e);
	CHECK_OK(of_put(x, "both", json, &e), e);
	CHECK_OK(of_put(x, "none", "{\"of_documents\":[]}", &e), e);
	CHECK_STR(names(x, "answer", "", 20, out), "both,none,one,");
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_note_names(s, "answer", "both", 8, &a, got, &n, &e), e);
	CHECK_INT(n, 2);
	CHECK_STR(got[1], "one");
	snapshot_close(s);
	/* refused: gone, another of the same id, a bad list; the store stays whole */
	CHECK_INT(of_put(x, "x", "{\"of_documents\":[{\"id\":\"c\",\"key\":1}]}", &e), E_NOT_FOUND);
	snprintf(json, sizeof json, "{\"of_documents\":[{\"id\":\"%s\",\"key\":77}]}", ida);
	CHECK_INT(of_put(x, "x", json, &e), E_NOT_FOUND);
	CHECK_INT(of_put(x, "x", "{\"of_documents\":\"a\"}", &e), E_USAGE);
	CHECK_INT(of_put(x, "x", "{\"of_documents\":[{\"key\":1}]}", &e), E_USAGE);
	/* a text that changes leaves them; what belongs to b alone no more leaves with a only */
	help_add(x, "c", "a2", "/a.txt", 9, 1, NULL, NULL);
	CHECK_STR(names(x, "answer", "", 20, out), "both,none,one,");
	help_delete(x, idb);
	CHECK_STR(names(x, "answer", "", 20, out), "none,one,");
	CHECK_OK(of_put(x, "one", "{\"of_documents\":[]}", &e), e);
	CHECK_STR(names(x, NOTE_OF, "", 20, out), "");
	CHECK_OK(of_put(x, "one", first, &e), e);
	help_delete(x, ida);
	CHECK_STR(names(x, "answer", "", 20, out), "none,");
	CHECK_STR(names(x, NOTE_OF, "", 20, out), "");
	help_check_clean(x);
	arena_clear(&a);
	index_close(x);
}
