/* test_docset.c: the table of documents in memory says what the records say, to every reader, in every state of the store
 * that a snapshot holds: beside writers, after deletes, erasures, failed commits and being read anew. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "index/filter.h"
#include "index/inside.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { CHUNKS_MAX = 20000, FACETS = 13 };

static const char *const exprs[] = {
	"type = \"md\"", "type != \"md\"", "type in (\"md\", \"pdf\", \"none\")", "type < \"pdf\"", "exists(source)", "source = \"/a/1\"",
	"source >= \"/a/2\" and source < \"/a/4\"", "meta.year >= 2002", "meta.year = 2001", "meta.year != 2001", "meta.year in (2000, 2004, 7)",
	"meta.year < 2001 or meta.year > 2003", "meta.tag = \"red\"", "meta.tag != \"red\"", "meta.tag in (\"blue\", \"green\")",
	"meta.tag > \"c\"", "exists(meta.tag)", "not exists(meta.tag)", "exists(meta.deep)", "meta.deep.x = 1.5", "meta.deep.on = true",
	"meta.deep.on != true", "exists(meta.deep.gone)", "meta.deep = 1", "meta.list.at = 2", "meta.\"odd key\".\"\" = \"v\"", "meta.nothing = 1",
	"meta.nothing != 1", "added > \"2000-01-01\"", "added < \"2000-01-01\"", "updated >= \"2026-01-01T00:00:00Z\"", "exists(added)",
	"not (type = \"md\" and (meta.year > 2001 or meta.tag = \"red\")) or meta.deep.x <= 1", "meta.big = \"yes\"", "meta.big != \"yes\"",
	"meta.year = \"2001\"", "meta.tag <= 5",
};
enum { EXPRS = sizeof exprs / sizeof *exprs };

static uint64_t dice = 1;

static unsigned roll(unsigned n)
{
	dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
	return (unsigned)(dice >> 20) % n;
}

static void meta_make(struct buf *b)
{
	static const char *const colours[] = { "red", "green", "blue", "" };
	buf_reset(b);
	if (roll(40) == 0) {         /* too large for the columns */
		CHECK(buf_puts(b, "{\"year\": 2001, \"big\": \"yes\", \"text\": \"") == OK);
		for (int i = 0; i < 2000; i++) CHECK(buf_puts(b, "0123456789") == OK);
		CHECK(buf_puts(b, "\"}") == OK);
		return;
	}
	CHECK(buf_puts(b, "{\"null\": null") == OK);
	if (roll(3)) buf_printf(b, ", \"year\": %u", 2000 + roll(5));
	else if (roll(2)) buf_printf(b, ", \"year\": \"%u\"", 2000 + roll(5));
	if (roll(2)) buf_printf(b, ", \"tag\": \"%s\", \"tag\": \"red\"", colours[roll(4)]);
	else if (roll(2)) buf_printf(b, ", \"tag\": [\"%s\", [\"%s\"], null, 5, \"5\", true, {}, %s]", colours[roll(4)], colours[roll(4)],
		roll(2) ? "\"true\"" : "-0");
	else if (roll(2)) buf_puts(b, ", \"tag\": []");
	if (roll(2)) buf_printf(b, ", \"deep\": {\"x\": %s, \"on\": %s}", roll(2) ? "1.5" : "-3e2", roll(2) ? "true" : "false");
	if (roll(2)) buf_printf(b, ", \"list\": [{\"at\": %u}, {\"at\": %u, \"more\": {}}]", roll(3), roll(3));
	if (roll(4) == 0) buf_puts(b, ", \"odd key\": {\"\": \"v\"}");
	CHECK(buf_puts(b, "}") == OK);
}

/* A document of up to 3 chunks, one of `sources` sources. */
static void put_one(struct write *w, const char *coll, unsigned sources, const char *meta)
{
	static const char *const types[] = { "md", "txt", "pdf" }, *const groups[] = { "staff", "ops", "board" };
	struct span all = { 0, 4 };
	struct chunk_in chunks[3];
	float vectors[3 * DIM];
	const char *acl[3];
	char source[20], id[64];
	struct doc_in d = { .collection = coll, .title = "t", .source = source, .type = types[roll(3)], .root = "", .meta = meta, .acl = acl,
		.verdict = DOC_ADDED, .reason = "", .duplicate_of = "", .text = "text", .text_len = 4, .chunks = chunks, .chunk_n = roll(4),
		.vectors = vectors };
	struct err e;
	int verdict;
	snprintf(source, sizeof source, "/a/%u", roll(sources));
	for (size_t i = 0; i < d.chunk_n; i++) {
		chunks[i] = (struct chunk_in){ all, "", 0, &all, 1 };
		help_unit(dice + i, vectors + i * DIM, DIM);
	}
	for (size_t i = 0; i < 3; i++)
		if (roll(3) == 0) acl[d.acl_n++] = groups[i];
	if (roll(12) == 0) d.verdict = DOC_SKIPPED, d.text = NULL, d.text_len = 0, d.chunk_n = 0;
	CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
}

static void delete_some(struct index *x, struct write *w, unsigned n)
{
	struct reader all = { .all_groups = 1 };
	struct snapshot *s;
	struct doc docs[256];
	struct arena a;
	struct err e;
	size_t got;
	arena_init(&a, 1 << 26);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_docs(s, &all, 0, ~0u, 256, &a, docs, &got, &e), e);
	for (size_t i = 0; i < got && n; i++) {
		int rc = roll(4) ? OK : index_delete(w, docs[i].id, &e);
		CHECK(rc == OK || rc == E_NOT_FOUND);
		n -= roll(2);
	}
	snapshot_close(s);
	arena_clear(&a);
}

struct truth { uint8_t has[CHUNKS_MAX]; uint64_t documents, chunks; };

static int on_doc(void *ctx, const struct rec_doc *d)
{
	struct truth *t = ctx;
	t->documents += doc_verdict_has_text(d->verdict) != 0;
	t->chunks += d->chunk_n;
	CHECK(d->first_chunk + d->chunk_n < CHUNKS_MAX);
	memset(t->has + d->first_chunk, 1, d->chunk_n);
	return OK;
}

/* What memory says of the snapshot's state to the reader is what a walk over its records says. */
static void compare(struct snapshot *s, const struct reader *r)
{
	struct truth *t = mem_calloc(1, sizeof *t);
	struct sight *cache = mem_calloc(1, sizeof *cache);
	struct seen_count count;
	struct rec_coll coll;
	struct visible *v;
	struct err e;
	size_t at = 0;
	CHECK(t && cache && s->docs);
	CHECK_OK(coll_read(s->t, r->collection, &coll, &e), e);
	CHECK_OK(snapshot_each_seen(s, r, coll.number, on_doc, t, &e), e);
	CHECK_OK(visible_get(s, r, coll.number, &v, &e), e);
	CHECK(v->documents == t->documents && v->chunks == t->chunks);
	for (uint64_t c = 1; c < s->state.next_chunk; c++) {
		int yes;
		CHECK_INT(visible_has(v, &at, c), t->has[c]);
		CHECK_OK(snapshot_sees_chunk(s, r, coll.number, c, cache, &yes, &e), e);
		CHECK_INT(yes, t->has[c]);
	}
	CHECK_OK(snapshot_count(s, r, &count, &e), e);
	CHECK(count.documents == t->documents && count.chunks == t->chunks);
	CHECK(v->seq <= s->state.seq);
	visible_put(v);
	mem_free(t);
	mem_free(cache);
}

static void facets_of(struct snapshot *s, const struct reader *r, size_t max, struct arena *a, struct facet *out)
{
	static const char *const keys[] = { "type", "source", "added", "updated", "meta.year", "meta.tag", "meta.deep.x", "meta.deep.on",
		"meta.deep", "meta.list.at", "meta.\"odd key\".\"\"", "meta.big", "meta.nothing" };
	struct err e;
	CHECK_OK(snapshot_facets(s, r, keys, FACETS, max, a, out, &e), e);
}

/* Facets from memory are those of the walk that is done without it. */
static void compare_facets(struct snapshot *s, const struct reader *r, size_t max)
{
	struct docset *docs = s->docs;
	struct facet fast[FACETS], slow[FACETS];
	struct arena a;
	arena_init(&a, 1 << 26);
	facets_of(s, r, max, &a, fast);
	s->docs = NULL;
	facets_of(s, r, max, &a, slow);
	s->docs = docs;
	for (size_t i = 0; i < FACETS; i++) {
		CHECK_INT(fast[i].n, slow[i].n);
		for (size_t v = 0; v < slow[i].n; v++) {
			CHECK_STR(fast[i].values[v].text, slow[i].values[v].text);
			CHECK_INT(fast[i].values[v].documents, slow[i].values[v].documents);
		}
	}
	arena_clear(&a);
}

static void compare_readers(struct snapshot *s, const char *coll, size_t filters)
{
	static const char *const staff[] = { "staff" }, *const both[] = { "board", "unknown", "ops" };
	compare(s, &(struct reader){ coll, 1, NULL, 0, NULL, NULL });
	compare(s, &(struct reader){ coll, 0, staff, 1, NULL, NULL });
	compare(s, &(struct reader){ coll, 0, NULL, 0, NULL, NULL });
	for (size_t i = 0; i < filters; i++) {
		const char *text = exprs[filters == EXPRS ? i : roll(EXPRS)];
		struct filter *f;
		struct err e;
		CHECK_OK(filter_parse(&f, text, strlen(text), 1000, &e), e);
		compare(s, &(struct reader){ coll, roll(2) != 0, both, 3, f, NULL });
		if (roll(4) == 0) compare_facets(s, &(struct reader){ coll, roll(2) != 0, both, 3, f, NULL }, 1 + roll(100));
		filter_free(f);
	}
}

TEST(docset_says_what_the_records_say)
{
	enum { OLD = 4 };
	struct snapshot *old[OLD] = { 0 }, *s;
	struct index *x = help_open(test_dir());
	struct write *w;
	struct buf meta;
	struct err e;
	buf_init(&meta, 1 << 20);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	for (int round = 0; round < 40; round++) {
		CHECK_OK(index_write_begin(&w, x, &e), e);
		for (unsigned i = roll(30); i; i--) {
			meta_make(&meta);
			put_one(w, "c", 60, buf_cstr(&meta));
			meta_make(&meta);
			put_one(w, "other", 20, buf_cstr(&meta));
		}
		delete_some(x, w, roll(20));
		if (roll(10) == 0) index_write_abort(w);
		else CHECK_OK(index_write_commit(w, &e), e);
		if (round == 20) CHECK_OK(docs_load(x, &e), e);
		CHECK_OK(snapshot_open(&s, x, &e), e);
		if (round) compare_readers(s, "c", 3);
		for (int i = 0; i < OLD; i++)
			if (old[i] && roll(2)) compare_readers(old[i], "c", 2);
		snapshot_close(old[round % OLD]);
		old[round % OLD] = round ? s : NULL;
		if (!round) snapshot_close(s);
	}
	CHECK_OK(snapshot_open(&s, x, &e), e);
	compare_readers(s, "c", EXPRS);
	compare_readers(s, "other", EXPRS);
	snapshot_close(s);
	for (int i = 0; i < OLD; i++) snapshot_close(old[i]);
	buf_clear(&meta);
	index_close(x);
}

/* The store as two opens see it: the second reads the table, from records in no order of chunks. */
TEST(docset_reopened)
{
	char dir[300];
	struct index_stats stats;
	struct index *x;
	struct write *w;
	struct snapshot *s;
	struct buf meta;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	buf_init(&meta, 1 << 20);
	for (int round = 0; round < 10; round++) {
		CHECK_OK(index_write_begin(&w, x, &e), e);
		for (int i = 0; i < 30; i++) {
			meta_make(&meta);
			put_one(w, "c", 100, buf_cstr(&meta));
		}
		CHECK_OK(index_write_commit(w, &e), e);
	}
	index_close(x);
	x = help_open(dir);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(index_stats(x, &stats, &e), e);
	CHECK_MSG(stats.docs_bytes > 64 * 100 && stats.docs_bytes < 2 << 20, "%llu bytes", (unsigned long long)stats.docs_bytes);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	compare_readers(s, "c", EXPRS);
	snapshot_close(s);
	buf_clear(&meta);
	index_close(x);
}

static uint64_t seen_by(struct snapshot *s, const char *coll)
{
	static const char *const staff[] = { "staff" };
	struct seen_count n;
	struct err e;
	CHECK(s->docs);
	CHECK_OK(snapshot_count(s, &(struct reader){ coll, 0, staff, 1, NULL, NULL }, &n, &e), e);
	return n.documents;
}

TEST(docset_forgets)
{
	struct index_erasure receipt;
	struct index *x = help_open(test_dir());
	struct snapshot *before, *after;
	struct docset *d;
	struct err e;
	char id[64], name[20];
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_add(x, "c", "one", "one", 1, 3, "staff", id);
	help_add(x, "b", "two", "two", 50, 3, "staff", NULL);
	CHECK_OK(snapshot_open(&before, x, &e), e);
	CHECK_OK(index_erase(x, id, &receipt, &e), e);
	CHECK_OK(index_drop_collection(x, "b", &e), e);
	CHECK_OK(snapshot_open(&after, x, &e), e);
	CHECK(seen_by(before, "c") == 1 && seen_by(before, "b") == 1);
	CHECK(seen_by(after, "c") == 0 && seen_by(after, "b") == 0);
	snapshot_close(after);
	CHECK_OK(index_rebuild_wait(x, &e), e);      /* after an erasure the table is read anew */
	d = docs_get(x);
	CHECK(d && d->n - d->dead == 0 && d->n <= 1 && seen_by(before, "c") == 1);
	docset_put(d);
	for (int i = 0; i < 1500; i++) {
		snprintf(name, sizeof name, "doc %d", i % 3);
		help_add(x, "c", name, name, (uint64_t)i, 1, "staff", NULL);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);      /* and when most of it is dead */
	d = docs_get(x);
	CHECK(d && d->n < 1500 && d->n - d->dead == 3);
	docset_put(d);
	CHECK_OK(snapshot_open(&after, x, &e), e);
	CHECK(seen_by(before, "c") == 1 && seen_by(after, "c") == 3);
	compare_readers(after, "c", 0);
	compare_readers(before, "c", 0);
	snapshot_close(before);
	snapshot_close(after);
	index_close(x);
}

/* What a commit that failed has left in the table is nobody's. */
TEST(docset_after_a_failed_commit)
{
	struct index *x = help_open(test_dir());
	struct snapshot *before, *after;
	struct docset *d;
	struct write *w;
	struct err e;
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_add(x, "c", "one", "one", 1, 3, "staff", NULL);
	CHECK_OK(snapshot_open(&before, x, &e), e);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	help_put(w, "c", "two", "two", 10, 3, "staff", NULL);
	docs_commit(x, &w->docs, w->state.seq);
	docs_settle(x, &w->docs, w->state.seq, E_IO);
	w->docs.on = 0;
	index_write_abort(w);
	d = docs_get(x);
	CHECK(!d && seen_by(before, "c") == 1);
	help_add(x, "c", "three", "three", 20, 3, "staff", NULL);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	CHECK_OK(snapshot_open(&after, x, &e), e);
	CHECK(seen_by(before, "c") == 1 && seen_by(after, "c") == 2);
	compare_readers(before, "c", 0);
	compare_readers(after, "c", 0);
	snapshot_close(before);
	snapshot_close(after);
	index_close(x);
}

static struct index *shared;
static atomic_int stop, failures, looks;

#define THREAD_CHECK(cond) do { if (!(cond)) { fprintf(stderr, "  %s:%d: %s\n", __FILE__, __LINE__, #cond); \
	atomic_fetch_add(&failures, 1); } } while (0)

static int count_doc(void *ctx, const struct rec_doc *d)
{
	*(uint64_t *)ctx += doc_verdict_has_text(d->verdict) != 0;
	return OK;
}

static void *reader_main(void *arg)
{
	static const char *const groups[] = { "staff", "ops" };
	struct filter *f = arg;
	struct err e;
	while (!atomic_load(&stop) && !atomic_load(&failures)) {
		struct reader r = { "c", 0, groups, 2, f, NULL };
		struct seen_count n;
		struct rec_coll coll;
		struct snapshot *s;
		uint64_t truth = 0;
		if (snapshot_open(&s, shared, &e)) break;
		THREAD_CHECK(snapshot_count(s, &r, &n, &e) == OK);
		THREAD_CHECK(coll_read(s->t, "c", &coll, &e) == OK);
		THREAD_CHECK(snapshot_each_seen(s, &r, coll.number, count_doc, &truth, &e) == OK);
		THREAD_CHECK(truth == n.documents);
		atomic_fetch_add(&looks, s->docs != NULL);
		snapshot_close(s);
	}
	return NULL;
}

TEST(docset_readers_beside_a_writer)
{
	pthread_t thread[3];
	struct filter *f;
	struct write *w;
	struct buf meta;
	struct err e;
	buf_init(&meta, 1 << 20);
	shared = help_open(test_dir());
	help_add(shared, "c", "one", "one", 1, 3, "staff", NULL);
	CHECK_OK(filter_parse(&f, "meta.year > 2000 and type != \"md\"", 33, 100, &e), e);
	for (int i = 0; i < 3; i++) CHECK(pthread_create(&thread[i], NULL, reader_main, i ? f : NULL) == 0);
	for (int i = 0; (i < 80 || !atomic_load(&looks)) && !atomic_load(&failures); i++) {
		CHECK_OK(index_write_begin(&w, shared, &e), e);
		for (int j = 0; j < 5; j++) {
			meta_make(&meta);
			put_one(w, "c", 80, buf_cstr(&meta));
		}
		CHECK_OK(index_write_commit(w, &e), e);
		if (i % 20 == 0) CHECK_OK(index_rebuild_wait(shared, &e), e);
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
	CHECK_INT(atomic_load(&failures), 0);
	filter_free(f);
	buf_clear(&meta);
	index_close(shared);
}
