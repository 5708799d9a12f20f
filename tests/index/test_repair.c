/* test_repair.c: damage of every kind of record, mended: afterwards check is clean, no text is lost that could be read,
 * searches find what they found, and groups that were lost don't open a document to anyone. */
#include <stdio.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/mem.h"
#include "index/store.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { DOCS = 12, CHUNKS = 20 };

static char dir[300];

static struct index *graph_open(int embedder)
{
	struct index_options o = help_options(dir);
	struct index *x;
	struct err e;
	o.exact_below = 50;
	if (!embedder) o.dim = 0, o.embedder = "";
	CHECK_OK(index_open(&x, &o, &e), e);
	return x;
}

/* Document i has text, source and title "doc i"; its chunk j the vector help_unit(i * 100 + j). */
static void store_make(void)
{
	struct doc_in skipped = { .collection = "b", .source = "/skipped", .verdict = DOC_SKIPPED, .reason = "binary" };
	struct index *x;
	struct write *w;
	struct err e;
	char id[64];
	int verdict;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = graph_open(1);
	for (int i = 0; i < DOCS; i++) {
		char name[20], source[20];
		snprintf(name, sizeof name, "doc %d", i);
		snprintf(source, sizeof source, "/doc/%d", i);
		help_add(x, i % 3 ? "c" : "b", name, source, (uint64_t)i * 100, CHUNKS, i % 2 ? "staff" : NULL, NULL);
	}
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &skipped, id, &verdict, &e), e);
	CHECK_OK(index_note_put(w, NOTE_HOLD, "d1", "{\"reason\":\"case\"}", 17, &e), e);
	CHECK_OK(index_note_put(w, "job", "1", "{\"a\":1}", 7, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_check_clean(x);
	index_close(x);
}

enum change { FLIP, LOSE };

/* Damages the nth entry of a table; at: the byte that is flipped, from the front, modulo the value's size. */
static void damage(enum table table, int nth, enum change how, size_t at)
{
	struct store *st;
	struct txn *t;
	struct cursor c;
	struct slice key, value;
	struct err e;
	struct key k;
	struct buf b;
	CHECK_OK(store_open(&st, dir, 64 << 20, 10, 0, &e), e);
	CHECK_OK(txn_begin(&t, st, 1, &e), e);
	CHECK_OK(cursor_open(&c, t, table, &e), e);
	CHECK_OK(cursor_seek(&c, NULL, &key, &value, &e), e);
	while (nth--) CHECK_OK(cursor_next(&c, &key, &value, &e), e);
	memcpy(k.b, key.p, key.n), k.n = key.n;
	buf_init(&b, 1 << 26);
	CHECK(buf_put(&b, value.p, value.n) == OK);
	cursor_close(&c);
	b.data[at % b.len] ^= 0x10;
	CHECK_OK(how == LOSE ? store_del(t, table, &k, &e) : store_put(t, table, &k, b.data, b.len, &e), e);
	CHECK_OK(txn_commit(t, &e), e);
	store_close(st);
	buf_clear(&b);
}

/* The vector that help_put gave to this chunk, found by its words. */
static int embed(void *ctx, const char *title, const char *text, const struct chunk_in *c, size_t n, float *out, struct err *e)
{
	int doc = -1, chunk;
	(void)ctx, (void)title, (void)e;
	for (size_t i = 0; i < n; i++) {
		CHECK(sscanf(text + c[i].range.off, "Sentence %d of doc %d", &chunk, &doc) == 2);
		help_unit((uint64_t)(doc * 100 + chunk), out + i * DIM, DIM);
	}
	return OK;
}

static int lines;

static void on_repair(void *ctx, const char *what)
{
	if (getenv("FOOTNOTE_TALK")) fprintf(stderr, "  %s: %s\n", (const char *)ctx, what);
	CHECK(*what);
	lines++;
}

/* What is wanted of a store after repair. */
struct want { int docs, failed, hidden; };     /* with text; failed; of those with text, seen by nobody of a group */

static void look(struct index *x, const char *what, const struct want *want)
{
	const struct reader all = { .all_groups = 1 }, staff = { .groups = &(const char *){ "staff" }, .group_n = 1 };
	struct snapshot *s;
	struct arena a;
	struct doc d[40];
	struct err e;
	size_t n, seen, failed;
	arena_init(&a, 1 << 24);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_docs(s, &all, 0, 1u << DOC_FAILED, 40, &a, d, &failed, &e), e);
	CHECK_OK(snapshot_docs(s, &staff, 0, 0, 40, &a, d, &seen, &e), e);
	CHECK_OK(snapshot_docs(s, &all, 0, 0, 40, &a, d, &n, &e), e);
	CHECK_MSG((int)n == want->docs && (int)failed == want->failed && (int)(n - seen) == want->hidden,
		"%s: %zu with text, %zu failed, %zu hidden", what, n, failed, n - seen);
	for (size_t i = 0; i < n; i++) {
		char sentence[60];
		struct reader r = all;
		struct vec_hit hit;
		struct word_hit word;
		const char *text;
		struct chunk c;
		size_t len, got;
		float q[DIM];
		int doc;
		CHECK_OK(snapshot_text(s, &d[i], &text, &len, &e), e);
		CHECK(sscanf(text, "Sentence 0 of doc %d", &doc) == 1);
		snprintf(sentence, sizeof sentence, "Sentence %d of doc %d.", CHUNKS - 1, doc);
		CHECK_MSG(memmem(text, len, sentence, strlen(sentence)), "%s: %s is not whole", what, d[i].id);
		r.collection = d[i].collection;
		help_unit((uint64_t)(doc * 100 + 7), q, DIM);
		CHECK_OK(snapshot_search(s, &r, q, 1, &hit, &got, &e), e);
		CHECK_MSG(got == 1 && hit.score > 0.999f, "%s: chunk 7 of %s is not found", what, d[i].id);
		CHECK_OK(snapshot_chunk(s, &r, hit.chunk_id, &a, &c, &e), e);
		CHECK(c.doc_key == d[i].key && c.sentence_n >= 1);
		CHECK_OK(snapshot_search_words(s, &r, sentence, strlen(sentence), 1, &word, &got, &e), e);
		CHECK(got == 1);
	}
	snapshot_close(s);
	arena_clear(&a);
}

/* Damages, repairs, looks. embedder 0: none; then left > 0 tells that something must be left. */
static void try(const char *what, int embedder, int left, struct want want)
{
	struct index_mender m = { .on_repair = on_repair, .embed = embedder ? embed : NULL, .ctx = (void *)(uintptr_t)what };
	struct index *x = graph_open(embedder);
	struct err e;
	uint64_t n;
	lines = 0;
	CHECK_MSG(help_problems(x) > 0 || left < 0, "%s: nothing was damaged", what);
	index_rebuild_wait(x, &e);                         /* what searches have in memory is there, and may be wrong */
	CHECK_OK(index_repair(x, &m, &n, &e), e);
	CHECK_INT(n, lines);
	CHECK_MSG((help_problems(x) > 0) == (left > 0), "%s: %llu problems are left", what, (unsigned long long)help_problems(x));
	if (left <= 0) {
		CHECK(left < 0 || n > 0);
		if (embedder) look(x, what, &want);
		CHECK_OK(index_repair(x, &m, &n, &e), e);
		CHECK_INT(n, 0);
	}
	index_close(x);
	if (left > 0) return;
	x = graph_open(1);                                 /* it goes on, with whatever the background thread makes */
	help_add(x, "c", "later", "/later", 5, 3, NULL, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_check_clean(x);
	index_close(x);
}

TEST(repair_texts)
{
	store_make();
	damage(T_TEXT, 3, FLIP, 26);                        /* its map */
	try("code point map", 0, 0, (struct want){ DOCS, 0, 0 });
	store_make();
	damage(T_TEXT, 3, FLIP, 9);                         /* its length */
	try("length of a text", 1, 0, (struct want){ DOCS, 0, 0 });
	store_make();
	damage(T_TEXT, 3, FLIP, 60);
	try("text", 1, 0, (struct want){ DOCS - 1, 1, 0 });
	store_make();
	damage(T_TEXT, 4, LOSE, 0);
	try("lost text", 0, 0, (struct want){ DOCS - 1, 1, 0 });
}

TEST(repair_chunks_and_vectors)
{
	store_make();
	damage(T_CHUNK, 3 * CHUNKS + 7, FLIP, 30);
	damage(T_CHUNK, 4 * CHUNKS, LOSE, 0);
	damage(T_CHUNK, 6 * CHUNKS - 1, FLIP, 5);
	try("chunks", 1, 0, (struct want){ DOCS, 0, 0 });
	store_make();
	damage(T_VEC, 30, FLIP, 17);
	damage(T_VEC, 90, LOSE, 0);
	try("vectors without an embedder", 0, 1, (struct want){ DOCS, 0, 0 });
	try("vectors", 1, 0, (struct want){ DOCS, 0, 0 });
}

TEST(repair_records_of_documents)
{
	store_make();
	damage(T_DOC, 3, FLIP, 100);                        /* group staff: hidden now from them too */
	damage(T_DOC, 4, LOSE, 0);                          /* everyone's: hidden from all but everyone */
	try("records", 1, 0, (struct want){ DOCS, 0, 2 });
	store_make();
	damage(T_DOC, 3, LOSE, 0);
	damage(T_TEXT, 3, FLIP, 200);
	try("record and text", 1, 0, (struct want){ DOCS - 1, 0, 0 });
}

TEST(repair_what_is_derived)
{
	static const enum table tables[] = { T_ID, T_SOURCE, T_HASH };
	for (int how = FLIP; how <= LOSE; how++) {
		for (size_t i = 0; i < 3; i++) {
			store_make();
			damage(tables[i], 2, (enum change)how, 3);
			try(table_name(tables[i]), 0, 0, (struct want){ DOCS, 0, 0 });
		}
		store_make();
		damage(T_POST, 5, (enum change)how, 20);
		damage(T_GRAPH, 1, (enum change)how, 2000);
		try("postings and graph", 0, 0, (struct want){ DOCS, 0, 0 });
		store_make();
		damage(T_COLL, 1, (enum change)how, 20);
		if (how == FLIP) try("a collection", 1, 0, (struct want){ DOCS, 0, 0 });
		else try("a lost collection", 0, 0, (struct want){ DOCS, 0, 0 });
	}
	store_make();
	damage(T_COLL, 0, FLIP, 20);
	damage(T_COLL, 1, FLIP, 20);
	try("two collections", 1, 0, (struct want){ DOCS, 0, 0 });
}

TEST(repair_notes)
{
	struct snapshot *s;
	struct index *x;
	struct err e;
	store_make();
	damage(T_NOTE, 0, FLIP, 15);
	damage(T_NOTE, 1, FLIP, 15);
	try("notes", 0, 0, (struct want){ DOCS, 0, 0 });
	x = help_open(dir);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_INT(snapshot_hold(s, "d1", &e), E_DENIED);    /* a hold is not lost with its reason */
	snapshot_close(s);
	index_close(x);
}

/* Everything that can be damaged, one after the other: nothing crashes, and what is left is a store that fits. */
TEST(repair_whatever_is_damaged)
{
	unsigned random = 4711;
	for (int round = 0; round < 12; round++) {
		store_make();
		for (int i = 0; i < 6; i++) {
			static const enum table tables[] = { T_DOC, T_TEXT, T_CHUNK, T_VEC, T_ID, T_SOURCE, T_HASH, T_POST, T_NOTE, T_COLL };
			random = random * 1664525 + 1013904223;
			damage(tables[random >> 8 & 7], (int)(random >> 12 & 3), random >> 20 & 1 ? FLIP : LOSE, random >> 16);
		}
		{
			struct index_mender m = { .on_repair = on_repair, .embed = embed, .ctx = (void *)(uintptr_t)"whatever" };
			struct index *x = help_open(dir);
			struct err e;
			uint64_t n;
			CHECK_OK(index_repair(x, &m, &n, &e), e);
			help_check_clean(x);
			index_close(x);
		}
	}
}
