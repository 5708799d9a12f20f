/* test_put.c: documents in and out: new, replaced, deleted, refused, kept over a reopen. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "base/arena.h"
#include "base/mem.h"
#include "tests/index/help.h"
#include "tests/test.h"

static struct arena a;

static void doc_of(struct index *x, const struct reader *r, const char *id, struct doc *d)
{
	struct snapshot *s;
	struct err e;
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_doc(s, r, id, &a, d, &e), e);
	snapshot_close(s);
}

static int has_doc(struct index *x, const struct reader *r, const char *id)
{
	struct snapshot *s;
	struct doc d;
	struct err e;
	int rc;
	CHECK_OK(snapshot_open(&s, x, &e), e);
	rc = snapshot_doc(s, r, id, &a, &d, &e);
	CHECK(rc == OK || rc == E_NOT_FOUND);
	snapshot_close(s);
	return rc == OK;
}

TEST(put_and_read_back_over_a_reopen)
{
	struct index *x;
	struct snapshot *s;
	struct doc d;
	struct chunk *c, one;
	struct err e;
	char id[64];
	const char *text;
	float vec[DIM];
	float want[DIM];
	size_t n, len;
	char dir[300];
	arena_init(&a, 1 << 24);
	snprintf(dir, sizeof dir, "%s/new/data", test_dir());
	x = help_open(dir);
	CHECK_INT(help_add(x, "c", "alpha", "/docs/alpha.txt", 100, 3, NULL, id), DOC_ADDED);
	CHECK_STR(id, "d1");
	for (int pass = 0; pass < 2; pass++) {
		CHECK_OK(snapshot_open(&s, x, &e), e);
		CHECK_INT(snapshot_seq(s), 1);
		CHECK_OK(snapshot_doc_by_source(s, &everyone, "c", "/docs/alpha.txt", &a, &d, &e), e);
		CHECK_STR(d.id, "d1");
		CHECK_STR(d.collection, "c");
		CHECK_STR(d.title, "alpha");
		CHECK(d.revision == 1 && d.chunks == 3 && d.seq == 1 && d.added_ms > 0);
		CHECK_OK(snapshot_doc_by_hash(s, &everyone, "c", d.hash, &a, &d, &e), e);
		CHECK_OK(snapshot_text(s, &d, &text, &len, &e), e);
		CHECK(len == d.text_len && memcmp(text, "Sentence 0 of alpha. ", 21) == 0);
		CHECK_OK(snapshot_chunks(s, &d, &a, &c, &n, &e), e);
		CHECK(n == 3 && c[1].range.off == 21 && c[1].start_cp == 21 && c[1].sentence_n == 1 && c[1].page == 1);
		CHECK_STR(c[2].heading, "A > B");
		CHECK_OK(snapshot_chunk(s, &everyone, c[2].id, &a, &one, &e), e);
		CHECK(one.doc_key == d.key && one.sentences[0].off == c[2].range.off);
		CHECK_OK(snapshot_vector(s, c[2].id, vec, &e), e);
		help_unit(102, want, DIM);
		CHECK(memcmp(vec, want, sizeof want) == 0);
		CHECK_INT(snapshot_doc(s, &everyone, "nope", &a, &d, &e), E_NOT_FOUND);
		CHECK_INT(snapshot_chunk(s, &everyone, 999, &a, &one, &e), E_NOT_FOUND);
		snapshot_close(s);
		help_check_clean(x);
		index_close(x);
		if (pass == 0) x = help_open(dir);
	}
	arena_clear(&a);
}

TEST(put_code_points_of_texts)
{
	static const char text[] = "Grüße. 日本語です。";
	struct span sentence = { 9, 18 };
	struct chunk_in chunk = { { 9, 18 }, "", 0, &sentence, 1 };
	float v[DIM];
	struct doc_in d = { .collection = "c", .verdict = DOC_ADDED, .text = text, .text_len = sizeof text - 1,
		.chunks = &chunk, .chunk_n = 1, .vectors = v };
	struct index *x = help_open(test_dir());
	struct snapshot *s;
	struct write *w;
	struct doc got;
	struct chunk *c;
	struct span range;
	struct err e;
	uint64_t cp;
	size_t n;
	char id[64];
	int verdict;
	arena_init(&a, 1 << 24);
	help_unit(1, v, DIM);
	CHECK_INT(sizeof text - 1, 27);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_doc(s, &everyone, id, &a, &got, &e), e);
	CHECK_INT(got.chars, 13);
	CHECK_OK(snapshot_chunks(s, &got, &a, &c, &n, &e), e);
	CHECK(n == 1 && c[0].start_cp == 7 && c[0].end_cp == 13);
	CHECK_OK(snapshot_text_range(s, &got, 7, 9, &range, &e), e);
	CHECK(range.off == 9 && range.len == 6);
	CHECK_OK(snapshot_text_range(s, &got, 12, 1000, &range, &e), e);
	CHECK(range.off == 24 && range.len == 3);
	CHECK_INT(snapshot_text_range(s, &got, 2, 1, &range, &e), E_USAGE);
	CHECK_OK(snapshot_text_cp(s, &got, 9, &cp, &e), e);
	CHECK_INT(cp, 7);
	snapshot_close(s);
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

TEST(put_replaces_by_source_and_by_id)
{
	struct index *x = help_open(test_dir());
	struct index_stats st;
	struct snapshot *s;
	struct doc before, d;
	struct chunk *c;
	struct err e;
	char id[64], again[64];
	uint64_t first;
	size_t n;
	arena_init(&a, 1 << 24);
	help_add(x, "c", "one", "/s", 1, 4, NULL, id);
	doc_of(x, &everyone, id, &before);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_chunks(s, &before, &a, &c, &n, &e), e);
	first = c[0].id;
	CHECK_INT(help_add(x, "c", "two", "/s", 50, 2, NULL, again), DOC_UPDATED);
	CHECK_STR(again, id);
	/* The older snapshot still sees the older document whole. */
	CHECK_OK(snapshot_chunks(s, &before, &a, &c, &n, &e), e);
	CHECK(n == 4 && c[0].id == first);
	snapshot_close(s);
	doc_of(x, &everyone, id, &d);
	CHECK(d.key == before.key && d.revision == 2 && d.chunks == 2 && d.added_ms == before.added_ms && d.seq == 2);
	CHECK_STR(d.title, "two");
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_chunks(s, &d, &a, &c, &n, &e), e);
	CHECK(n == 2 && c[0].id > first + 3);
	CHECK_INT(snapshot_doc_by_hash(s, &everyone, "c", before.hash, &a, &before, &e), E_NOT_FOUND);
	snapshot_close(s);
	CHECK_OK(index_stats(x, &st, &e), e);
	CHECK(st.documents == 1 && st.chunks == 2 && st.vectors == 2 && st.collections == 1 && st.text_bytes == d.text_len);
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

TEST(put_given_ids_and_conflicts)
{
	struct index *x = help_open(test_dir());
	struct doc_in d = { .id = "faq", .collection = "c", .source = "/x", .verdict = DOC_ADDED, .text = "t", .text_len = 1 };
	struct write *w;
	struct err e;
	char id[64];
	int verdict;
	arena_init(&a, 1 << 24);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	CHECK_STR(id, "faq");
	d.text = "u";
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	CHECK_INT(verdict, DOC_UPDATED);
	d.id = "d3", d.source = "";            /* an id that the store would make itself */
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	d.id = NULL;
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	CHECK_STR(id, "d3-1");
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	d.id = "faq", d.collection = "other";
	CHECK_INT(index_put(w, &d, id, &verdict, &e), E_CONFLICT);
	CHECK(strstr(e.msg, "faq"));
	CHECK_INT(index_write_commit(w, &e), E_USAGE);   /* a failed write writes nothing */
	CHECK_OK(index_write_begin(&w, x, &e), e);
	d.id = "new", d.collection = "c", d.source = "/x";
	CHECK_INT(index_put(w, &d, id, &verdict, &e), E_CONFLICT);
	CHECK(strstr(e.msg, "faq") && strstr(e.msg, "/x"));
	index_write_abort(w);
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

/* The look before the write is repeated in it: nobody replaces what they may not see, or opens what was closed. */
TEST(put_sees_what_it_replaces)
{
	static const char *const hr[] = { "hr" }, *const w[] = { "w" };
	const struct reader people = { .collection = "elsewhere", .groups = hr, .group_n = 1 }, other = { .groups = w, .group_n = 1 };
	struct index *x = help_open(test_dir());
	struct doc_in d = { .collection = "c", .source = "/hr", .verdict = DOC_ADDED, .text = "t", .text_len = 1, .acl = w, .acl_n = 1,
		.reader = &other };
	struct doc_over over = { 0 };
	struct write *wr;
	struct err e;
	struct doc was;
	char id[64];
	int v;
	arena_init(&a, 1 << 20);
	help_add(x, "c", "hidden", "/hr", 1, 1, "hr", id);
	for (int turn = 0; turn < 3; turn++) {
		d.id = turn == 0 ? NULL : turn == 1 ? id : "own";
		CHECK_OK(index_write_begin(&wr, x, &e), e);
		CHECK_INT(index_put(wr, &d, (char[64]){ 0 }, &v, &e), E_CONFLICT);
		CHECK_STR(e.msg, "this id or source cannot be used");
		index_write_abort(wr);
	}
	d.id = NULL;
	d.reader = &people;
	d.acl = hr;
	d.over = &over;                          /* there was none, and what came has the same groups */
	CHECK_OK(index_write_begin(&wr, x, &e), e);
	CHECK_OK(index_put(wr, &d, id, &v, &e), e);
	CHECK_OK(index_write_commit(wr, &e), e);
	doc_of(x, &everyone, id, &was);
	CHECK(was.revision == 2);
	d.acl_n = 0;
	for (int turn = 0; turn < 3; turn++) {       /* another document, another revision, this one */
		over = (struct doc_over){ was.key + (turn == 0), was.revision - (turn == 1) };
		CHECK_OK(index_write_begin(&wr, x, &e), e);
		CHECK_INT(index_put(wr, &d, id, &v, &e), turn < 2 ? E_CONFLICT : OK);
		if (turn < 2) {
			CHECK(strstr(e.msg, "other groups meanwhile"));
			index_write_abort(wr);
		} else {
			CHECK_OK(index_write_commit(wr, &e), e);
		}
	}
	doc_of(x, &everyone, id, &was);
	CHECK(was.revision == 3 && was.acl_n == 0);
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

TEST(put_refuses_bad_input)
{
	struct span sentence = { 0, 3 };
	struct chunk_in chunk = { { 0, 4 }, "", 0, &sentence, 1 };
	float v[DIM] = { 1 };
	const struct doc_in good = { .collection = "c", .verdict = DOC_ADDED, .text = "ab\xc3\xa9 c", .text_len = 6,
		.chunks = &chunk, .chunk_n = 1, .vectors = v };
	struct index *x = help_open(test_dir());
	char long_id[100], id[64];
	struct write *w;
	struct err e;
	int verdict;
	memset(long_id, 'i', 99), long_id[99] = 0;
	for (int i = 0; i < 16; i++) {
		struct doc_in d = good;
		int want = E_USAGE;
		chunk.range = (struct span){ 0, 4 }, sentence = (struct span){ 0, 2 }, v[3] = 0;
		switch (i) {
		case 0: want = OK; break;
		case 1: d.collection = "a b"; break;
		case 2: d.collection = ""; break;
		case 3: d.id = "a\nb"; break;
		case 4: d.id = long_id, want = E_LIMIT; break;
		case 5: d.verdict = DOC_REMOVED; break;
		case 6: d.text = "ab\xc3 cd"; break;
		case 7: d.text_len = 3; break;
		case 8: chunk.range.len = 7; break;
		case 9: chunk.range.off = 0xffffffff; break;
		case 10: chunk.range.len = 3; break;              /* cuts é */
		case 11: sentence = (struct span){ 3, 1 }; break;
		case 12: sentence = (struct span){ 4, 2 }; break; /* outside its chunk */
		case 13: v[3] = NAN; break;
		case 14: d.verdict = DOC_FAILED; break;           /* with a text */
		case 15: d.text = "ab\0\0 c"; break;
		}
		CHECK_OK(index_write_begin(&w, x, &e), e);
		CHECK_MSG(index_put(w, &d, id, &verdict, &e) == want, "case %d: want %d, got %d (%s)", i, want, e.status, e.msg);
		index_write_abort(w);
	}
	help_check_clean(x);
	index_close(x);
}

TEST(put_documents_without_text)
{
	struct index *x = help_open(test_dir());
	struct doc_in d = { .collection = "c", .source = "/empty", .verdict = DOC_SKIPPED, .reason = "empty file" };
	struct snapshot *s;
	struct write *w;
	struct doc docs[4];
	struct index_stats st;
	struct err e;
	char id[64];
	const char *text;
	size_t n, len;
	int verdict;
	arena_init(&a, 1 << 24);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	CHECK_INT(verdict, DOC_SKIPPED);
	help_put(w, "c", "full", "/full", 1, 2, NULL, NULL);
	help_put(w, "other", "else", "/full", 1, 2, NULL, NULL);
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_docs(s, &everyone, 0, 0, 4, &a, docs, &n, &e), e);
	CHECK(n == 1 && strcmp(docs[0].title, "full") == 0);
	CHECK_OK(snapshot_docs(s, &everyone, 0, 1u << DOC_SKIPPED, 4, &a, docs, &n, &e), e);
	CHECK_INT(n, 1);
	CHECK_STR(docs[0].reason, "empty file");
	CHECK_OK(snapshot_text(s, &docs[0], &text, &len, &e), e);
	CHECK_INT(len, 0);
	CHECK_OK(snapshot_docs(s, &(struct reader){ NULL, 1, NULL, 0, NULL, NULL }, 0, ~0u, 4, &a, docs, &n, &e), e);
	CHECK(n == 3 && docs[0].key < docs[1].key);
	CHECK_OK(snapshot_docs(s, &(struct reader){ NULL, 1, NULL, 0, NULL, NULL }, docs[1].key, ~0u, 4, &a, docs, &n, &e), e);
	CHECK_INT(n, 1);
	snapshot_close(s);
	CHECK_OK(index_stats(x, &st, &e), e);
	CHECK(st.documents == 2 && st.documents_without_text == 1 && st.collections == 2);
	/* It gets a text later, and loses it again. */
	CHECK_INT(help_add(x, "c", "now", "/empty", 9, 1, NULL, NULL), DOC_UPDATED);
	help_check_clean(x);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	d.verdict = DOC_FAILED;
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

TEST(put_sources_longer_than_a_key)
{
	struct index *x = help_open(test_dir());
	struct snapshot *s;
	struct doc d;
	struct err e;
	char source[3000], id[64], other[64];
	arena_init(&a, 1 << 24);
	memset(source, 's', sizeof source), source[0] = '/', source[sizeof source - 1] = 0;
	help_add(x, "c", "long", source, 1, 1, NULL, id);
	CHECK_INT(help_add(x, "c", "long 2", source, 1, 1, NULL, other), DOC_UPDATED);
	CHECK_STR(other, id);
	source[2000] = 'X';
	CHECK_INT(help_add(x, "c", "longer", source, 1, 1, NULL, other), DOC_ADDED);
	CHECK(strcmp(id, other) != 0);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_doc_by_source(s, &everyone, "c", source, &a, &d, &e), e);
	CHECK_STR(d.id, other);
	snapshot_close(s);
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

TEST(put_duplicates_by_hash)
{
	struct index *x = help_open(test_dir());
	struct snapshot *s;
	struct doc d, first;
	struct err e;
	char one[64], two[64];
	static const char *const staff[] = { "staff" };
	struct reader nobody = { "c", 0, NULL, 0, NULL, NULL }, some = { "c", 0, staff, 1, NULL, NULL };
	arena_init(&a, 1 << 24);
	help_add(x, "c", "same", "/1", 1, 1, "staff", one);
	help_add(x, "c", "same", "/2", 1, 1, NULL, two);
	doc_of(x, &everyone, one, &first);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_doc_by_hash(s, &some, "c", first.hash, &a, &d, &e), e);
	CHECK_STR(d.id, one);
	CHECK_OK(snapshot_doc_by_hash(s, &nobody, "c", first.hash, &a, &d, &e), e);
	CHECK_STR(d.id, two);                    /* the first is not for this reader */
	CHECK_INT(snapshot_doc_by_hash(s, &some, "none", first.hash, &a, &d, &e), E_NOT_FOUND);
	snapshot_close(s);
	help_delete(x, two);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_INT(snapshot_doc_by_hash(s, &nobody, "c", first.hash, &a, &d, &e), E_NOT_FOUND);
	snapshot_close(s);
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

TEST(put_access_holds_on_every_read)
{
	struct index *x = help_open(test_dir());
	static const char *const staff[] = { "guests", "staff" };
	const struct reader in = { "c", 0, staff, 2, NULL, NULL }, out = { "c", 0, staff, 1, NULL, NULL }, elsewhere = { "b", 1, NULL, 0, NULL, NULL };
	struct snapshot *s;
	struct doc d, docs[3];
	struct chunk *c, one;
	struct err e;
	char id[64];
	size_t n;
	arena_init(&a, 1 << 24);
	help_add(x, "c", "secret", "/secret", 1, 1, "staff", id);
	CHECK(has_doc(x, &in, id) && !has_doc(x, &out, id) && !has_doc(x, &elsewhere, id));
	doc_of(x, &in, id, &d);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_INT(snapshot_doc_by_key(s, &out, d.key, &a, &d, &e), E_NOT_FOUND);
	CHECK_INT(snapshot_doc_by_source(s, &out, "c", "/secret", &a, &d, &e), E_NOT_FOUND);
	CHECK_OK(snapshot_docs(s, &out, 0, ~0u, 3, &a, docs, &n, &e), e);
	CHECK_INT(n, 0);
	CHECK_OK(snapshot_doc(s, &in, id, &a, &d, &e), e);
	CHECK_OK(snapshot_chunks(s, &d, &a, &c, &n, &e), e);
	CHECK_INT(snapshot_chunk(s, &out, c[0].id, &a, &one, &e), E_NOT_FOUND);
	CHECK_INT(snapshot_chunk(s, &elsewhere, c[0].id, &a, &one, &e), E_NOT_FOUND);
	CHECK_OK(snapshot_chunk(s, &in, c[0].id, &a, &one, &e), e);
	CHECK(!reader_may_see(NULL, &d));
	snapshot_close(s);
	index_close(x);
	arena_clear(&a);
}

TEST(put_counts_are_what_a_reader_sees)
{
	static const char *const hr[] = { "hr" }, *const both[] = { "w", "hr" };
	const struct reader none = { .collection = "c" }, people = { .collection = "c", .groups = hr, .group_n = 1 },
		some = { .collection = "c", .groups = both, .group_n = 2 }, other = { .collection = "d" };
	struct doc_in skipped = { .collection = "c", .source = "/skipped", .verdict = DOC_SKIPPED, .reason = "empty" };
	struct index *x = help_open(test_dir());
	struct seen_count n;
	struct snapshot *s, *old;
	struct write *w;
	struct err e;
	int v;
	help_add(x, "c", "a", "/a", 1, 2, NULL, NULL);
	help_add(x, "c", "b", "/b", 2, 3, "hr", NULL);
	help_add(x, "d", "c", "/c", 3, 4, NULL, NULL);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_put(w, &skipped, (char[64]){ 0 }, &v, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	CHECK_OK(snapshot_open(&old, x, &e), e);
	help_add(x, "c", "a", "/a", 1, 1, "hr", NULL);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	for (int turn = 0; turn < 2; turn++) {       /* what is remembered of one state is not told of another */
		CHECK_OK(snapshot_count(old, &none, &n, &e), e);
		CHECK(n.documents == 1 && n.chunks == 2);
		CHECK_OK(snapshot_count(s, &none, &n, &e), e);
		CHECK(n.documents == 0 && n.chunks == 0);
		CHECK_OK(snapshot_count(s, &people, &n, &e), e);
		CHECK(n.documents == 2 && n.chunks == 4);
		CHECK_OK(snapshot_count(s, &some, &n, &e), e);
		CHECK(n.documents == 2 && n.chunks == 4);
		CHECK_OK(snapshot_count(s, &other, &n, &e), e);
		CHECK(n.documents == 1 && n.chunks == 4);
		CHECK_OK(snapshot_count(s, &everyone, &n, &e), e);
		CHECK(n.documents == 2 && n.chunks == 4);
		CHECK_OK(snapshot_count(old, &everyone, &n, &e), e);
		CHECK(n.documents == 2 && n.chunks == 5);
	}
	CHECK_INT(snapshot_count(s, &(struct reader){ 0 }, &n, &e), E_USAGE);
	CHECK_OK(snapshot_count(s, &(struct reader){ .collection = "none" }, &n, &e), e);
	CHECK(n.documents == 0 && n.chunks == 0);
	snapshot_close(s);
	snapshot_close(old);
	index_close(x);
}

TEST(put_abort_and_delete_leave_nothing)
{
	struct index *x = help_open(test_dir());
	struct index_stats st;
	struct write *w, *second;
	struct err e;
	char id[64];
	arena_init(&a, 1 << 24);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	help_put(w, "c", "gone", "/g", 1, 3, NULL, id);
	CHECK_INT(index_write_begin(&second, x, &e), E_BUSY);
	index_write_abort(w);
	CHECK(!has_doc(x, &everyone, id));
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);  /* an empty write */
	CHECK_OK(index_stats(x, &st, &e), e);
	CHECK_INT(st.seq, 0);
	help_add(x, "c", "there", "/g", 1, 3, NULL, id);
	help_delete(x, id);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_INT(index_delete(w, id, &e), E_NOT_FOUND);
	index_write_abort(w);
	CHECK_OK(index_stats(x, &st, &e), e);
	CHECK(st.seq == 2 && st.documents == 0 && st.chunks == 0 && st.vectors == 0 && st.text_bytes == 0);
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

TEST(put_drop_collection)
{
	struct index *x = help_open(test_dir());
	struct collection_info *ci;
	struct err e;
	size_t n;
	char kept[64];
	arena_init(&a, 1 << 24);
	for (int i = 0; i < 5; i++) {
		char name[20];
		snprintf(name, sizeof name, "doc %d", i);
		help_add(x, i == 2 ? "keep" : "drop", name, name, (uint64_t)i, 60, NULL, i == 2 ? kept : NULL);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(index_drop_collection(x, "drop", &e), e);
	CHECK_INT(index_drop_collection(x, "drop", &e), E_NOT_FOUND);
	CHECK_OK(index_collections(x, &a, &ci, &n, &e), e);
	CHECK(n == 1 && strcmp(ci[0].name, "keep") == 0 && ci[0].documents == 1 && ci[0].chunks == 60);
	help_check_clean(x);
	help_add(x, "drop", "again", "doc 1", 7, 1, NULL, NULL);
	CHECK(has_doc(x, &(struct reader){ "keep", 1, NULL, 0, NULL, NULL }, kept));
	help_check_clean(x);
	index_close(x);
	arena_clear(&a);
}

TEST(put_refuses_another_embedder)
{
	char dir[300];
	struct index_options o;
	struct index *x;
	struct write *w;
	struct err e;
	char id[64];
	snprintf(dir, sizeof dir, "%s", test_dir());
	o = help_options(dir);
	CHECK_OK(index_open(&x, &o, &e), e);
	index_close(x);
	o.embedder = "second";                     /* still empty: it takes the new one */
	CHECK_OK(index_open(&x, &o, &e), e);
	help_add(x, "c", "a", "/a", 1, 1, NULL, id);
	index_close(x);
	o.embedder = "third";
	CHECK_INT(index_open(&x, &o, &e), E_CONFLICT);
	CHECK(strstr(e.msg, "second") && strstr(e.msg, "third"));
	o.embedder = "second", o.dim = 16;
	CHECK_INT(index_open(&x, &o, &e), E_CONFLICT);
	o.embedder = "", o.dim = 0;                /* without an embedder: reading and deleting work */
	CHECK_OK(index_open(&x, &o, &e), e);
	help_check_clean(x);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_delete(w, id, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	help_check_clean(x);
	index_close(x);
}

TEST(put_bad_options_and_folders)
{
	char dir[300], path[400];
	struct index_options o;
	struct index *x;
	struct err e;
	FILE *f;
	snprintf(dir, sizeof dir, "%s", test_dir());
	o = help_options(dir);
	o.hnsw_m = 3;
	CHECK_INT(index_open(&x, &o, &e), E_USAGE);
	CHECK(strstr(e.msg, "hnsw_m"));
	o = help_options(dir), o.map_bytes = 4096;
	CHECK_INT(index_open(&x, &o, &e), E_USAGE);
	o = help_options(dir), o.rebuild_share = NAN;
	CHECK_INT(index_open(&x, &o, &e), E_USAGE);
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	f = fopen(path, "wb");
	CHECK(f);
	for (int i = 0; i < 20000; i++) fputc(i * 7, f);
	fclose(f);
	o = help_options(dir);
	CHECK_INT(index_open(&x, &o, &e), E_CORRUPT);
	snprintf(path, sizeof path, "%s/data.mdb/below", dir);
	o = help_options(path);
	CHECK(index_open(&x, &o, &e) != OK);
}

TEST(put_full_map_loses_nothing)
{
	char dir[300];
	struct index_options o;
	struct index *x;
	struct write *w;
	struct index_stats st;
	struct err e;
	size_t size = 1500;
	int docs = 0, rc = OK;
	arena_init(&a, 1 << 24);
	snprintf(dir, sizeof dir, "%s", test_dir());
	o = help_options(dir);
	o.map_bytes = 8 << 20;
	o.exact_below = SIZE_MAX;                  /* no graph, whose builder keeps old pages from being used again */
	o.words_bytes = 0;                         /* nor is another reader to do that */
	CHECK_OK(index_open(&x, &o, &e), e);
	while (docs < 4000) {                      /* ever smaller ones, until nothing fits */
		char name[40], text[9000];
		struct span all = { 0, (uint32_t)size }, first = { 0, 5 };
		struct chunk_in chunk = { all, "", 0, &first, 1 };
		float v[DIM] = { 1 };
		struct doc_in d = { .collection = "c", .source = name, .verdict = DOC_ADDED, .text = text, .text_len = size,
			.chunks = &chunk, .chunk_n = 1, .vectors = v };
		char id[64];
		int verdict;
		for (size_t i = 0; i < sizeof text; i++) /* words all over the table of postings, so that a delete needs much */
			text[i] = i % 6 == 5 ? ' ' : (char)('a' + (((unsigned)docs * 2654435761u + (unsigned)i * 40503u) >> 7) % 26);
		snprintf(name, sizeof name, "/doc/%d", docs);
		CHECK_OK(index_write_begin(&w, x, &e), e);
		rc = index_put(w, &d, id, &verdict, &e);
		if (rc) index_write_abort(w);
		else rc = index_write_commit(w, &e);
		docs += rc == OK;
		if (rc == OK) continue;
		if (size < 20) break;
		size /= 3;
	}
	CHECK_INT(rc, E_FULL);
	CHECK_MSG(strstr(e.msg, "data.map_bytes") != NULL, "%s", e.msg);
	CHECK(docs > 20);
	CHECK_OK(index_stats(x, &st, &e), e);
	CHECK_INT(st.documents, docs);
	help_check_clean(x);
	for (int i = 1; i < docs; i += 2) {        /* what is there can go, and makes room */
		char id[64];
		snprintf(id, sizeof id, "d%d", i);
		help_delete(x, id);
	}
	help_check_clean(x);
	help_add(x, "c", "room", "/room", 1, 2, NULL, NULL);
	{
		uint64_t before, after;
		CHECK_OK(index_compact(x, &before, &after, &e), e);
	}
	index_close(x);
	o.map_bytes = 32 << 20;                     /* raised: it goes on */
	CHECK_OK(index_open(&x, &o, &e), e);
	help_add(x, "c", "more", "/more", 1, 2, NULL, NULL);
	help_check_clean(x);
	index_close(x);
}

/* LMDB writes its reader slots through a mapping: a hole there would be a SIGBUS on a full disk. */
TEST(put_reader_slots_have_their_blocks)
{
	char path[400];
	struct index_options o;
	struct index *x;
	struct stat st;
	struct err e;
	o = help_options(test_dir());
	o.readers_max = 2048;
	CHECK_OK(index_open(&x, &o, &e), e);
	snprintf(path, sizeof path, "%s/lock.mdb", o.dir);
	CHECK_INT(stat(path, &st), 0);
	CHECK(st.st_size >= 2048 * 64);
	CHECK((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size);
	index_close(x);
}

/* A limit on the file's size stands for a full disk: writes fail, nothing is lost, and it goes on when there is room. */
TEST(put_full_disk_loses_nothing)
{
	struct rlimit limit, before;
	struct index_stats st;
	struct index *x = help_open(test_dir());
	struct write *w;
	struct err e = { OK, "" };
	int docs = 0, rc = OK;
	help_add(x, "c", "first", "/first", 1, 2, NULL, NULL);
	CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
	limit = before;
	limit.rlim_cur = 1 << 20;
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	while (rc == OK && docs < 1000) {
		char name[40], text[9000], id[64];
		struct doc_in d = { .collection = "c", .source = name, .verdict = DOC_ADDED, .text = text,
			.text_len = sizeof text };
		int verdict;
		memset(text, 'x', sizeof text);
		snprintf(name, sizeof name, "/doc/%d", docs);
		CHECK_OK(index_write_begin(&w, x, &e), e);
		CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
		rc = index_write_commit(w, &e);
		docs += rc == OK;
	}
	CHECK_MSG(rc == E_FULL || rc == E_IO, "%d: %s", rc, e.msg);
	CHECK(docs > 20);
	help_check_clean(x);
	CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
	help_add(x, "c", "more", "/more", 1, 2, NULL, NULL);
	CHECK_OK(index_stats(x, &st, &e), e);
	CHECK_INT(st.documents, docs + 2);
	help_check_clean(x);
	index_close(x);
}

TEST(put_too_many_readers)
{
	struct index_options o = help_options(test_dir());
	struct snapshot *s[8];
	struct index *x;
	struct err e;
	int n = 0;
	o.readers_max = 4;
	CHECK_OK(index_open(&x, &o, &e), e);
	while (n < 8 && snapshot_open(&s[n], x, &e) == OK) n++;
	CHECK(n >= 2 && n < 8);
	CHECK_INT(e.status, E_LIMIT);
	CHECK(strstr(e.msg, "readers_max"));
	while (n) snapshot_close(s[--n]);
	help_add(x, "c", "a", "/a", 1, 1, NULL, NULL);
	help_check_clean(x);
	index_close(x);
}

TEST(put_verdict_names)
{
	for (int v = DOC_ADDED; v <= DOC_FAILED; v++) CHECK_INT(doc_verdict_parse(doc_verdict_name(v)), v);
	CHECK_INT(doc_verdict_parse("lost"), -1);
	CHECK_STR(doc_verdict_name(99), "unknown");
}
