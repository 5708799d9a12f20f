/* test_reembed.c: stored chunks embedded anew by another embedder, as a new store filled by it would have them; an ingest
 * that was under way when the store turned. The embedders are the small ones of tests/golden/embedders. */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "index/index.h"
#include "ingest/ingest.h"
#include "tests/test.h"

enum { DOCS = 40 };

static struct embedder *bge, *e5;
static struct ingest_limits limits;
static struct err e;

static struct embedder *open_golden(const char *name)
{
	char path[400];
	struct embedder *m;

	snprintf(path, sizeof path, "%s/%s", test_data("golden/embedders"), name);
	CHECK_OK(embedder_open(&m, &(struct embedder_options){ .dir = path, .threads = 1 }, &e), e);
	return m;
}

static struct index *open_store(const char *dir, struct embedder *m)
{
	struct index_options o = { .dir = dir, .map_bytes = (size_t)1 << 28, .hnsw_m = 16, .hnsw_ef_construction = 64,
		.hnsw_ef_search = 64, .exact_below = 1000, .rebuild_share = 0.2, .readers_max = 16, .bm25_k1 = 1.2, .bm25_b = 0.75,
		.query_terms_max = 64, .ivf_probes = 1, .ivf_rerank = 1, .dim = embedder_info(m)->dim,
		.embedder = embedder_info(m)->fingerprint, .model = embedder_info(m)->name };
	struct index *x;

	CHECK_OK(index_open(&x, &o, &e), e);
	return x;
}

static void ignore(void *ctx, const struct ingest_event *ev)
{
	(void)ctx;
	CHECK_INT(ev->verdict, DOC_ADDED);
}

static const struct ingest_sink sink = { .event = ignore };

/* Documents `from` up to `to`, Markdown with headings and lists, in one call. */
static void add(struct ingest *with, int from, int to)
{
	static char text[DOCS][700], ids[DOCS][20];
	struct ingest_item items[DOCS];
	struct ingest_summary sum;

	memset(items, 0, sizeof items);
	for (int i = from; i < to; i++) {
		snprintf(ids[i], sizeof ids[i], "doc%d", i);
		snprintf(text[i], sizeof text[i], "The ledger of year %d has %d pages, and the harbour paid for them.\n\n"
			"Winter came early in year %d. The signal was seen from %d windows, said the garden's keeper.\n\n"
			"Copper and paper went down the quiet river, %d boats of it.", i, i * 7, i, i + 3, i * 2);
		items[i - from] = (struct ingest_item){ .id = ids[i], .collection = i % 2 ? "odd" : "even", .title = ids[i],
			.data = text[i], .len = strlen(text[i]), .is_text = 1 };
	}
	CHECK_OK(ingest_items(with, items, (size_t)(to - from), &sink, &sum, &e), e);
}

/* Both stores hold the same documents, chunks and vectors. */
static void same(struct index *x, struct index *y)
{
	const struct reader all = { .all_groups = 1 };
	struct snapshot *s, *t;
	struct arena a;
	uint64_t problems;

	CHECK_OK(index_check(x, NULL, NULL, &problems, &e), e);
	CHECK_INT(problems, 0);
	arena_init(&a, 1 << 24);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_open(&t, y, &e), e);
	CHECK_STR(snapshot_embedder(s), snapshot_embedder(t));
	for (int i = 0; i < DOCS; i++) {
		struct doc d, f;
		struct chunk *c, *g;
		size_t n, m;
		char id[20];

		snprintf(id, sizeof id, "doc%d", i);
		CHECK_OK(snapshot_doc(s, &all, id, &a, &d, &e), e);
		CHECK_OK(snapshot_doc(t, &all, id, &a, &f, &e), e);
		CHECK_OK(snapshot_chunks(s, &d, &a, &c, &n, &e), e);
		CHECK_OK(snapshot_chunks(t, &f, &a, &g, &m, &e), e);
		CHECK(n == m && n > 0);
		for (size_t j = 0; j < n; j++) {
			float v[64], w[64];

			CHECK(c[j].range.off == g[j].range.off && c[j].range.len == g[j].range.len);
			CHECK_OK(snapshot_vector(s, c[j].id, v, &e), e);
			CHECK_OK(snapshot_vector(t, g[j].id, w, &e), e);
			CHECK(memcmp(v, w, (size_t)embedder_info(bge)->dim * sizeof *v) == 0);
		}
	}
	snapshot_close(s);
	snapshot_close(t);
	arena_clear(&a);
}

static void begin(void)
{
	bge = open_golden("tiny-bge-en");
	e5 = open_golden("tiny-e5");
	ingest_limits_default(&limits);
	limits.chunk_tokens = 24;
}

static void end(struct index *x, struct index *y)
{
	index_close(x);
	index_close(y);
	embedder_close(bge);
	embedder_close(e5);
}

TEST(reembed_as_a_new_store_would_be)
{
	char dir[300], fresh[320];
	struct ingest_reembed done;
	struct ingest with = { .limits = &limits };
	struct index *x, *y;

	begin();
	snprintf(dir, sizeof dir, "%s", test_dir());
	snprintf(fresh, sizeof fresh, "%s/fresh", dir);
	with.index = x = open_store(dir, e5);
	with.embedder = e5;
	add(&with, 0, DOCS);
	with.index = y = open_store(fresh, bge);
	with.embedder = bge;
	add(&with, 0, DOCS);
	CHECK_OK(ingest_reembed(x, bge, "tiny-bge-en", NULL, NULL, &done, &e), e);
	CHECK(done.done == done.total && done.embedded == done.total && done.total > 2 * DOCS);
	same(x, y);
	end(x, y);
}

/* ---- an ingest under way ---- */

static struct index *turning;
static int asked;

/* What the ingest learns when it writes. */
static int now(void *ctx, struct embedder **out, struct err *err)
{
	(void)ctx;
	(void)err;
	asked++;
	*out = bge;
	return OK;
}

static void turn(void *ctx, const struct ingest_progress *p)
{
	struct ingest_reembed done;

	(void)ctx;
	if (p->chunks >= 40 && turning) {       /* between two batches of one group, before its write */
		CHECK_OK(ingest_reembed(turning, bge, "tiny-bge-en", NULL, NULL, &done, &e), e);
		turning = NULL;
	}
}

TEST(reembed_beside_an_ingest)
{
	static const struct ingest_sink turns = { .event = ignore, .progress = turn };
	char dir[300], fresh[320];
	struct ingest with = { .limits = &limits };
	struct ingest_item items[DOCS];
	struct ingest_summary sum;
	static char text[DOCS][300], ids[DOCS][20];
	struct index *x, *y;

	begin();
	snprintf(dir, sizeof dir, "%s", test_dir());
	snprintf(fresh, sizeof fresh, "%s/fresh", dir);
	memset(items, 0, sizeof items);
	for (int i = 0; i < DOCS; i++) {
		snprintf(ids[i], sizeof ids[i], "doc%d", i);
		snprintf(text[i], sizeof text[i], "Boat %d came down the river with copper and with paper for the harbour.\n\nThe keeper of "
			"garden %d saw it from the bridge, and wrote it into the ledger of the market.", i, i);
		items[i] = (struct ingest_item){ .id = ids[i], .collection = "c", .title = ids[i], .data = text[i],
			.len = strlen(text[i]), .is_text = 1 };
	}
	with.index = x = turning = open_store(dir, e5);
	with.embedder = e5;
	with.embedder_now = now;
	CHECK_OK(ingest_items(&with, items, DOCS, &turns, &sum, &e), e);
	CHECK(!turning && asked == 1);
	CHECK_INT(sum.by_verdict[DOC_ADDED], DOCS);
	with = (struct ingest){ .limits = &limits, .index = y = open_store(fresh, bge), .embedder = bge };
	CHECK_OK(ingest_items(&with, items, DOCS, &sink, &sum, &e), e);
	same(x, y);
	end(x, y);
}
