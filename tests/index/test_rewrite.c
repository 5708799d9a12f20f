/* test_rewrite.c: compaction beside readers and a writer; erasure, proved by reading the raw file here too. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "index/inside.h"
#include "index/samples.h"
#include "index/code8.h"
#include "tests/index/help.h"
#include "tests/test.h"

static char dir[300];

static struct index *fresh_open(void)
{
	snprintf(dir, sizeof dir, "%s", test_dir());
	return help_open(dir);
}

/* How often the bytes occur in data.mdb and lock.mdb. The store must be closed: opening lock.mdb beside LMDB's own
 * descriptor drops its locks. */
static int raw_count(const void *what, size_t n)
{
	static const char *const names[] = { "data.mdb", "lock.mdb" };
	int count = 0;
	for (int i = 0; i < 2; i++) {
		struct buf path, data;
		struct err e;
		const char *p;
		buf_init(&path, 1 << 12);
		buf_init(&data, (size_t)1 << 30);
		CHECK(path_join(&path, dir, names[i]) == OK);
		CHECK_OK(file_read(path.data, &data, &e), e);
		p = data.data;
		while (p && (p = memmem(p, data.len - (size_t)(p - data.data), what, n))) count++, p++;
		buf_clear(&data);
		buf_clear(&path);
	}
	return count;
}

static int raw_text(const char *s)
{
	return raw_count(s, strlen(s));
}

static int raw_vector(uint64_t seed)
{
	float v[DIM];
	help_unit(seed, v, DIM);
	return raw_count(v, sizeof v / 2);
}

static int raw_code(uint64_t seed)
{
	uint8_t row[256];
	float v[DIM];
	help_unit(seed, v, DIM);
	code8_encode(row, v, DIM);
	return raw_count(row, DIM / 2);
}

static void note_put(struct index *x, const char *kind, const char *name, const char *json)
{
	struct write *w;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_note_put(w, kind, name, json, strlen(json), &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
}

static int note_is(struct index *x, const char *kind, const char *name)
{
	struct snapshot *s;
	struct arena a;
	struct note n;
	struct err e;
	int rc;
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	rc = snapshot_note(s, kind, name, &a, &n, &e);
	snapshot_close(s);
	arena_clear(&a);
	return rc == OK;
}

static const char *note_text(struct index *x, const char *kind, const char *name)
{
	static char out[1000];
	struct snapshot *s;
	struct arena a;
	struct note n;
	struct err e;
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_note(s, kind, name, &a, &n, &e), e);
	snprintf(out, sizeof out, "%s", n.json);
	snapshot_close(s);
	arena_clear(&a);
	return out;
}

static int doc_is(struct index *x, const char *id)
{
	struct snapshot *s;
	struct arena a;
	struct doc d;
	struct err e;
	int rc;
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	rc = snapshot_doc(s, &everyone, id, &a, &d, &e);
	snapshot_close(s);
	arena_clear(&a);
	return rc == OK;
}

/* What a store takes that never had more than documents 0, 4, 8 …, compacted. */
static uint64_t living_bytes(void)
{
	struct index *x = fresh_open();
	uint64_t before, after;
	struct err e;
	char name[40];
	for (int i = 0; i < 60; i += 4) {
		snprintf(name, sizeof name, "Document number %d", i);
		help_add(x, "c", name, name, (uint64_t)i * 100, 20, NULL, NULL);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(index_compact(x, &before, &after, &e), e);
	index_close(x);
	return after;
}

TEST(compact_gives_back_what_was_deleted)
{
	uint64_t before, after, living = living_bytes();
	struct index *x = fresh_open();
	struct err e;
	char id[64], name[40];
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof name, "Document number %d", i);
		help_add(x, "c", name, name, (uint64_t)i * 100, 20, NULL, id);
		if (i % 4) help_delete(x, id);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(index_compact(x, &before, &after, &e), e);
	CHECK_MSG(after < before && after <= living + living / 8, "%llu of %llu bytes, without the deleted %llu",
		(unsigned long long)after, (unsigned long long)before, (unsigned long long)living);
	help_check_clean(x);
	help_add(x, "c", "after", "/after", 1, 3, NULL, NULL);
	CHECK_OK(index_compact(x, &before, &after, &e), e);
	index_close(x);
	CHECK_INT(raw_text("Document number 1 "), 0);
	CHECK_INT(raw_text("of Document number 1."), 0);
	CHECK(raw_text("of Document number 4.") > 0);
	x = help_open(dir);
	help_check_clean(x);
	CHECK(doc_is(x, "d1") && !doc_is(x, "d2"));
	index_close(x);
}

/* A snapshot reads the state it began with through two rewrites and the writes between. */
TEST(compact_leaves_open_snapshots_alone)
{
	struct index *x = fresh_open();
	struct snapshot *s;
	struct arena a;
	struct doc d;
	uint64_t n;
	const char *text;
	size_t len;
	struct err e;
	char id[64];
	help_add(x, "c", "old", "/old", 1, 30, NULL, id);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(index_compact(x, &n, &n, &e), e);
	help_delete(x, id);
	help_add(x, "c", "new", "/new", 500, 30, NULL, NULL);
	CHECK_OK(index_compact(x, &n, &n, &e), e);
	arena_init(&a, 1 << 20);
	CHECK_OK(snapshot_doc(s, &everyone, id, &a, &d, &e), e);
	CHECK_OK(snapshot_text(s, &d, &text, &len, &e), e);
	CHECK(len > 20 && memcmp(text, "Sentence 0 of old.", 18) == 0);
	CHECK_INT(snapshot_doc(s, &everyone, "d2", &a, &d, &e), E_NOT_FOUND);
	snapshot_close(s);
	CHECK(!doc_is(x, id) && doc_is(x, "d2"));
	help_check_clean(x);
	arena_clear(&a);
	index_close(x);
}

TEST(compact_is_refused_inside_a_write)
{
	struct index *x = fresh_open();
	struct write *w;
	struct index_erasure r;
	uint64_t n;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_INT(index_compact(x, &n, &n, &e), E_BUSY);
	CHECK_INT(index_erase(x, "d1", &r, &e), E_BUSY);
	index_write_abort(w);
	CHECK_OK(index_compact(x, &n, &n, &e), e);
	index_close(x);
}

/* ---- beside others ---- */

static atomic_int stop, reads;

static void *reader_main(void *arg)
{
	struct index *x = arg;
	while (!atomic_load(&stop)) {
		struct vec_hit hit[5];
		struct snapshot *s;
		float q[DIM];
		size_t got;
		struct err e;
		if (snapshot_open(&s, x, &e)) return (void *)"open";
		help_unit(7, q, DIM);
		if (snapshot_search(s, &everyone, q, 5, hit, &got, &e) || got != 5 || hit[0].score < 0.999f) return (void *)"search";
		snapshot_close(s);
		atomic_fetch_add(&reads, 1);
	}
	return NULL;
}

static void *writer_main(void *arg)
{
	struct index *x = arg;
	char id[64];
	for (int i = 0; !atomic_load(&stop); i++) {
		help_add(x, "c", "passing", "/passing", 5000 + (uint64_t)i, 4, NULL, id);
		if (i % 3 == 2) help_delete(x, id);
	}
	return NULL;
}

TEST(compact_beside_readers_and_a_writer)
{
	struct index *x = fresh_open();
	pthread_t t[4];
	uint64_t n;
	struct err e;
	atomic_store(&stop, 0);
	atomic_store(&reads, 0);
	help_add(x, "c", "standing", "/standing", 0, 300, NULL, NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	for (int i = 0; i < 4; i++) CHECK(pthread_create(&t[i], NULL, i ? reader_main : writer_main, x) == 0);
	for (int i = 0; i < 12 || atomic_load(&reads) < 50; i++) CHECK_OK(index_compact(x, &n, &n, &e), e);
	atomic_store(&stop, 1);
	for (int i = 0; i < 4; i++) {
		void *why;
		pthread_join(t[i], &why);
		CHECK_MSG(!why, "a reader failed: %s", (const char *)why);
	}
	help_check_clean(x);
	index_close(x);
	x = help_open(dir);
	help_check_clean(x);
	index_close(x);
}

/* ---- erasure ---- */

TEST(samples_are_found_wherever_they_lie)
{
	char text[5000], far[200];
	struct samples s;
	struct err e;
	for (int i = 0; i < 5000; i++) text[i] = (char)('a' + (i * 7 + i / 26) % 26);
	samples_init(&s);
	CHECK_OK(samples_add(&s, "2026-01-01 12:00:00 one log line", 32, SAMPLE_TEXT, &e), e);
	CHECK_OK(samples_add(&s, "2026-01-01 12:00:00 two log line", 32, SAMPLE_TEXT, &e), e);
	CHECK_OK(samples_add(&s, "seventeen bytes..", 17, SAMPLE_NAME, &e), e);
	CHECK_OK(samples_add(&s, "too short", 9, SAMPLE_NAME, &e), e);
	CHECK_OK(samples_add(&s, "----------------------------", 28, SAMPLE_NAME, &e), e);
	CHECK_OK(samples_add(&s, "seventeen bytes..", 17, SAMPLE_NAME, &e), e);
	CHECK_OK(samples_seal(&s, &e), e);
	CHECK_INT(s.n, 4);
	memset(far, '-', sizeof far);
	memcpy(far + 200 - 32, "2026-01-01 12:00:00 two log line", 32);
	samples_scan(&s, far, sizeof far, SEEN_RAW);
	CHECK(s.at[2].seen == SEEN_RAW && !s.at[1].seen && !s.at[3].seen);
	samples_scan(&s, "x seventeen bytes.", 18, SEEN_ALIVE);
	CHECK(s.at[3].seen == SEEN_ALIVE && !s.at[4].seen);
	samples_clear(&s);
	samples_init(&s);
	CHECK_OK(samples_add_text(&s, text, sizeof text, &e), e);
	CHECK_OK(samples_seal(&s, &e), e);
	CHECK(s.n > 70);
	samples_clear(&s);
}

/* Old revisions, a stored graph, a file that says the same, notes that name it: none of it is left. */
TEST(erase_leaves_no_byte)
{
	struct index *x = fresh_open();
	struct doc_in dup = { .collection = "c", .source = "/files/copy-of-secret.txt", .title = "copy", .verdict = DOC_DUPLICATE,
		.source_mtime_ns = 1,
		.reason = "same content as /files/the-secret-file.txt" };
	struct index_erasure r;
	struct snapshot *old;
	struct write *w;
	struct err e;
	char id[64], dup_id[64];
	int verdict;
	help_add(x, "c", "Ordinary one", "/files/ordinary.txt", 1000, 150, NULL, NULL);
	help_add(x, "c", "Crimson draft of the zebra", "/files/the-secret-file.txt", 4000, 60, NULL, id);
	CHECK_OK(snapshot_open(&old, x, &e), e); /* while it lives, what is freed is not written over */
	help_add(x, "c", "Crimson verdict of the zebra", "/files/the-secret-file.txt", 7000, 200, NULL, id);
	CHECK_OK(index_rebuild_wait(x, &e), e); /* its vectors are in a stored graph now */
	dup.duplicate_of = id;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &dup, dup_id, &verdict, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	note_put(x, "job", "one", "{\"files\":[\"/files/the-secret-file.txt\"]}");
	note_put(x, "job", "two", "{\"problems\":[{\"source\":\"/files/the-secret-file.txt#a\",\"why\":[\"x\"]},{\"source\":\"/files/b\"}]}");
	note_put(x, "job", "five", "{\"problems\":[{\"source\":\"/files/b\",\"reason\":\"same content as /files/copy-of-secret.txt\"}]}");
	note_put(x, "source", "six", "{\"path\":\"/files/the-secret-file.txt\",\"collection\":\"c\"}");
	note_put(x, "job", "three", "{\"text\":\"nothing of it, but /files/the-secret-file\"}");
	note_put(x, "job", "four", "{\"log\":[{\"line\":\"took /files/the-secret-file.txt and others\"}]}");
	snapshot_close(old);
	index_close(x);
	CHECK(raw_text("Crimson draft") > 0 && raw_text("Crimson verdict") > 0 && raw_text("the-secret-file") > 0);
	CHECK(raw_vector(7003) > 0 && raw_code(7003) > 0);         /* in vec and in the graph */
	x = help_open(dir);
	CHECK_OK(index_erase(x, id, &r, &e), e);
	CHECK(r.verified && r.samples > 400 && r.bytes_rewritten > 4096 && strlen(r.receipt) == 32);
	CHECK(r.duplicates == 1 && r.notes == 5);
	CHECK(!doc_is(x, id) && !doc_is(x, dup_id) && note_is(x, "job", "three") && !note_is(x, "job", "one"));
	CHECK(!note_is(x, "source", "six"));
	CHECK_STR(note_text(x, "job", "two"), "{\"problems\":[{\"source\":\"/files/b\"}]}");
	CHECK_STR(note_text(x, "job", "four"), "{\"log\":[]}");
	CHECK_STR(note_text(x, "job", "five"), "{\"problems\":[]}");
	CHECK(note_is(x, NOTE_ERASURE, r.receipt));
	help_check_clean(x);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_check_clean(x);
	index_close(x);
	CHECK_INT(raw_text("Crimson"), 0);
	CHECK_INT(raw_text("zebra"), 0);
	CHECK_INT(raw_text("the-secret-file.txt"), 0);
	CHECK(raw_text("the-secret-file") > 0);                    /* what another note says */
	CHECK_INT(raw_text("copy-of-secret"), 0);
	for (uint64_t i = 0; i < 200; i += 13) CHECK(raw_vector(7000 + i) == 0 && raw_code(7000 + i) == 0);
	CHECK_INT(raw_vector(4001), 0);
	CHECK(raw_text("of Ordinary one.") > 0 && raw_vector(1003) > 0);
	x = help_open(dir);
	CHECK_INT(index_erase(x, id, &r, &e), E_NOT_FOUND);
	index_close(x);
}

/* Whoever pushes a document chooses its source, id and text: none of them reaches into notes, not even erased. */
TEST(erase_leaves_the_notes_of_others_alone)
{
	static const char job[] = "{\"id\":\"j0123456789abcdef\",\"kind\":\"ingest\",\"collection\":\"c\",\"paths\":[\"/srv/docs\"],"
		"\"problems\":[{\"source\":\"/srv/docs/scan.bin\",\"reason\":\"no text was found in this file\"}]}";
	static const char source[] = "{\"path\":\"/srv/docs\",\"collection\":\"c\",\"meta\":{\"see\":\"/srv/docs/index.txt\"}}";
	static const char other[] = "{\"path\":\"/srv/docs/index.txt\",\"collection\":\"other\"}";
	static const char *const sources[] = { "e", "ingest", "/srv/docs", "j0123456789abcdef", "", "/srv/docs/scan.bin" };
	struct index *x = fresh_open();
	struct index_erasure r;
	struct err e;
	char id[64];
	note_put(x, "job", "j0123456789abcdef", job);
	note_put(x, "source", "s1", source);
	note_put(x, "source", "s2", other);
	for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
		struct doc_in d = { .id = i ? "j0123456789abcdef" : "e", .collection = "c", .source = sources[i], .verdict = DOC_ADDED,
			.text = "no text was found in this file", .text_len = 30 };
		struct write *w;
		int verdict;
		CHECK_OK(index_write_begin(&w, x, &e), e);
		CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
		CHECK_OK(index_write_commit(w, &e), e);
		CHECK_OK(index_erase(x, id, &r, &e), e);
		CHECK_INT(r.notes, 0);
		CHECK(r.verified);
	}
	help_add(x, "c", "a file", "/srv/docs/index.txt", 1, 2, NULL, id);
	CHECK_OK(index_erase(x, id, &r, &e), e);
	CHECK_INT(r.notes, 0);
	CHECK_STR(note_text(x, "job", "j0123456789abcdef"), job);
	CHECK_STR(note_text(x, "source", "s1"), source);
	CHECK_STR(note_text(x, "source", "s2"), other);
	help_check_clean(x);
	index_close(x);
}

/* What another document says too stays with it, and is no failure. */
TEST(erase_spares_what_others_say)
{
	struct index *x = fresh_open();
	struct index_erasure r;
	struct err e;
	char a[64], b[64];
	help_add(x, "c", "a shared paragraph", "/one", 10, 20, NULL, a);
	help_add(x, "c", "a shared paragraph", "/two", 10, 20, NULL, b); /* same text, same vectors, other source */
	CHECK_OK(index_erase(x, a, &r, &e), e);
	CHECK(r.verified && r.shared > 20 && r.shared <= r.samples);
	CHECK(!doc_is(x, a) && doc_is(x, b));
	help_check_clean(x);
	index_close(x);
	CHECK(raw_text("Sentence 3 of a shared paragraph.") > 0);
}

/* A build that began before the erasure must not bring the vectors back. */
TEST(erase_beats_a_build_under_way)
{
	for (int round = 0; round < 6; round++) {
		struct index *x = fresh_open();
		struct index_erasure r;
		struct err e;
		char id[64];
		help_add(x, "c", "Ordinary", "/o", 90000, 2000, NULL, NULL);
		help_add(x, "c", "Quicksilver", "/q", 1, 300, NULL, id); /* the commit starts a build */
		usleep((unsigned)round * 9000);
		CHECK_OK(index_erase(x, id, &r, &e), e);
		CHECK_OK(index_rebuild_wait(x, &e), e);
		help_check_clean(x);
		index_close(x);
		for (uint64_t i = 1; i < 300; i += 17) CHECK_INT(raw_vector(i), 0);
		CHECK_INT(raw_text("Quicksilver"), 0);
	}
}

TEST(hold_keeps_a_document)
{
	struct index *x = fresh_open();
	struct index_erasure r;
	struct doc_in d = { .collection = "c", .source = "/held", .verdict = DOC_ADDED, .text = "New.", .text_len = 4 };
	struct write *w;
	struct err e;
	char id[64], other[64], made[64];
	int verdict;
	help_add(x, "c", "held", "/held", 1, 3, NULL, id);
	help_add(x, "c", "free", "/free", 9, 3, NULL, other);
	note_put(x, NOTE_HOLD, id, "{\"reason\":\"case 17\"}");
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_INT(index_delete(w, id, &e), E_DENIED);
	CHECK(strstr(e.msg, id) && strstr(e.msg, "case 17"));
	CHECK_OK(index_delete(w, other, &e), e);                   /* the write goes on */
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_INT(index_erase(x, id, &r, &e), E_DENIED);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_INT(index_put(w, &d, made, &verdict, &e), E_DENIED);
	index_write_abort(w);
	CHECK_INT(index_drop_collection(x, "c", &e), E_DENIED);
	CHECK(doc_is(x, id) && !doc_is(x, other));
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_note_delete(w, NOTE_HOLD, id, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_OK(index_erase(x, id, &r, &e), e);
	help_check_clean(x);
	index_close(x);
}

/* The text of a held duplicate is its original's: that stays too, for as long. */
TEST(hold_of_a_duplicate_keeps_its_original)
{
	struct index *x = fresh_open();
	struct doc_in dup = { .collection = "c", .source = "/copy", .verdict = DOC_DUPLICATE };
	struct doc_in d = { .collection = "c", .source = "/original", .verdict = DOC_ADDED, .text = "New.", .text_len = 4 };
	struct index_erasure r;
	struct snapshot *s;
	struct write *w;
	struct err e;
	char id[64], other[64], dup_id[64], made[64];
	int verdict;
	help_add(x, "c", "the original", "/original", 1, 3, NULL, id);
	help_add(x, "c", "another", "/other", 9, 3, NULL, other);
	dup.duplicate_of = id;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &dup, dup_id, &verdict, &e), e);
	CHECK_OK(index_delete(w, other, &e), e);                   /* holds were looked at: there is none */
	CHECK_OK(index_note_put(w, NOTE_HOLD, dup_id, "{\"reason\":\"case 19\"}", 20, &e), e);
	CHECK_OK(index_note_put(w, NOTE_HOLD, "of nothing", "{}", 2, &e), e);
	CHECK_INT(index_delete(w, id, &e), E_DENIED);
	CHECK(strstr(e.msg, id) && strstr(e.msg, dup_id) && strstr(e.msg, "case 19"));
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_INT(index_erase(x, id, &r, &e), E_DENIED);
	CHECK_INT(index_drop_collection(x, "c", &e), E_DENIED);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_INT(index_put(w, &d, made, &verdict, &e), E_DENIED);
	index_write_abort(w);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_INT(snapshot_hold(s, id, &e), E_DENIED);
	CHECK_INT(snapshot_hold(s, dup_id, &e), E_DENIED);
	CHECK_OK(snapshot_hold(s, "d999", &e), e);
	snapshot_close(s);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_INT(index_delete(w, id, &e), E_DENIED);
	CHECK_OK(index_note_delete(w, NOTE_HOLD, dup_id, &e), e);
	CHECK_OK(index_delete(w, id, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	help_check_clean(x);
	index_close(x);
}

static void two_docs(void)
{
	struct index *x = help_open(dir);
	help_add(x, "c", "Ordinary", "/o", 100, 20, NULL, NULL);
	help_add(x, "c", "Quicksilver", "/q", 1, 20, NULL, NULL);
	index_close(x);
}

static void erase_fails(void)
{
	struct index *x = help_open(dir);
	struct index_erasure r;
	struct err e;
	CHECK_INT(index_erase(x, "d2", &r, &e), E_FULL);
	CHECK(strstr(e.msg, "d2") && strstr(e.msg, "deleted"));
	CHECK(!doc_is(x, "d2") && doc_is(x, "d1"));
	help_check_clean(x);
	help_add(x, "c", "More", "/m", 300, 3, NULL, NULL);
	index_close(x);
}

static void reopen(void)
{
	struct index *x = help_open(dir);
	CHECK(doc_is(x, "d1") && !doc_is(x, "d2") && doc_is(x, "d3"));
	help_check_clean(x);
	index_close(x);
}

static void compact_fails(void)
{
	struct index *x = help_open(dir);
	uint64_t n;
	struct err e;
	CHECK_INT(index_compact(x, &n, &n, &e), E_FULL);
	help_check_clean(x);
	CHECK_OK(index_compact(x, &n, &n, &e), e); /* the plan fires once */
	help_check_clean(x);
	index_close(x);
}

/* No room for the copy: the old file stands and is in use, the document is hidden, and the next open finishes. */
TEST(erase_without_room_is_finished_later)
{
	snprintf(dir, sizeof dir, "%s", test_dir());
	help_in_child("", two_docs);
	help_in_child("store.rewrite:1:fail", erase_fails);
	CHECK(raw_text("Quicksilver") > 0);
	help_in_child("", reopen);
	CHECK_INT(raw_text("Quicksilver"), 0);
	help_in_child("store.rewrite:1:fail", compact_fails);
	help_in_child("", reopen);
}
