/* test_scanner.c: what opens a GPU. An index and its scanner over the emulated one: no search among few vectors opens it, the first
 * among many does, once; whatever becomes of it, hits stay the same. And for which commands encoders may. */
#include "api/command.h"
#include "api/scanner.h"
#include "base/mem.h"
#include "tests/nn/gpu_host.h"
#include "tests/test.h"

enum { DIM = 24, DOCS = 150, K = 5 };

/* ---- a GPU that counts what it is asked ---- */

static struct gpu_table counted;
static int counts, opens;

static int count_counted(void)
{
	counts++;
	return host_table.count();
}

static int open_counted(struct gpu **out, int device, struct err *e)
{
	opens++;
	return host_table.open(out, device, e);
}

/* ---- an index beside it ---- */

static struct scanner scanner;
static const char *where;
static struct index *x;

static void open_with(const char *device, int64_t least)
{
	struct conf c;
	struct err e;
	struct index_options o = { .map_bytes = 16 << 20, .dim = DIM, .embedder = "e", .hnsw_m = 8, .hnsw_ef_construction = 40,
		.hnsw_ef_search = 40, .exact_below = 10000, .rebuild_share = 0.5, .readers_max = 8, .bm25_k1 = 1.2, .bm25_b = 0.75, .query_terms_max = 8,
		.ivf_probes = 1, .ivf_rerank = 1 };
	conf_default(&c);
	snprintf(c.index_device, sizeof c.index_device, "%s", device);
	if (least) c.device_least = least;
	counted = host_table;
	counted.count = count_counted;
	counted.open = open_counted;
	CHECK_OK(scanner_open(&scanner, &c, &counted, &e), e);
	if (!where) where = test_dir();
	o.dir = where;
	o.scanner = &scanner.hooks;
	CHECK_OK(index_open(&x, &o, &e), e);
	CHECK_OK(index_rebuild_wait(x, &e), e);
}

static void close_all(void)
{
	index_close(x);
	scanner_close(&scanner);
}

static void vector_of(uint32_t seed, float *v)
{
	for (size_t i = 0; i < DIM; i++) {
		seed = seed * 1664525u + 1013904223u;
		v[i] = (float)(seed >> 9) / (1 << 23) - 0.5f;
	}
}

static void fill(void)
{
	struct write *w;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	for (uint32_t i = 0; i < DOCS; i++) {
		struct span all = { 0, 4 };
		struct chunk_in chunk = { all, "", 0, &all, 1 };
		float v[DIM];
		struct doc_in d = { .collection = "c", .title = "", .source = "", .type = "txt", .root = "", .meta = "{}", .verdict = DOC_ADDED,
			.reason = "", .duplicate_of = "", .text = "text", .text_len = 4, .chunks = &chunk, .chunk_n = 1, .vectors = v };
		char id[64];
		int verdict;
		vector_of(i, v);
		CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
	}
	CHECK_OK(index_write_commit(w, &e), e);
}

static void search(struct vec_hit hits[K])
{
	const struct reader everyone = { .collection = "c", .all_groups = 1 };
	struct snapshot *s;
	struct err e;
	size_t got;
	float q[DIM];
	vector_of(7777, q);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search(s, &everyone, q, K, hits, &got, &e), e);
	snapshot_close(s);
	CHECK_INT(got, K);
}

static void searches_like(const struct vec_hit want[K], int n)
{
	struct vec_hit got[K];
	for (int i = 0; i < n; i++) {
		search(got);
		for (size_t h = 0; h < K; h++) CHECK(got[h].chunk_id == want[h].chunk_id && got[h].score == want[h].score);
	}
}

TEST(scanner_opens_a_gpu_for_many_vectors_only)
{
	struct vec_hit want[K];
	open_with("auto", 0);            /* the least that the settings begin with */
	fill();
	search(want);
	searches_like(want, 3);
	CHECK(counts == 0 && opens == 0);
	close_all();
	open_with("auto", DOCS + 1);
	searches_like(want, 3);
	CHECK(counts == 0 && opens == 0);
	close_all();
	open_with("auto", DOCS);
	CHECK(counts == 0 && opens == 0);
	searches_like(want, 3);
	CHECK(counts == 1 && opens == 1);
	close_all();
}

TEST(scanner_without_its_gpu)
{
	struct vec_hit want[K];
	struct conf c;
	struct err e;
	open_with("cuda", 1);
	CHECK_INT(opens, 1);
	fill();
	search(want);
	CHECK_INT(opens, 1);
	host_lose();
	searches_like(want, 2);
	close_all();
	host_devices(0);
	open_with("auto", 1);
	searches_like(want, 2);
	CHECK_INT(opens, 1);
	close_all();
	conf_default(&c);
	snprintf(c.index_device, sizeof c.index_device, "cuda");
	scanner = (struct scanner){ 0 };
	CHECK_INT(scanner_open(&scanner, &c, &counted, &e), E_UNSUPPORTED);
	CHECK_MSG(strstr(e.msg, "index.device") && strstr(e.msg, "no GPU"), "%s", e.msg);
	CHECK(!scanner.scan);
}

TEST(commands_that_open_a_gpu_for_encoders)
{
	static const char *const much[] = { "ingest", "reembed", "batch", "serve", "eval", "ask" }, *const little[] = { "search", "why-not", "docs",
		"stats", "check", "keys" };
	struct conf c;
	conf_default(&c);
	CHECK_STR(c.embed_device, "auto");
	for (size_t i = 0; i < sizeof much / sizeof *much; i++) CHECK_STR(service_encoder_device(&c, command_find(much[i])->need), "auto");
	for (size_t i = 0; i < sizeof little / sizeof *little; i++) CHECK_STR(service_encoder_device(&c, command_find(little[i])->need), "cpu");
	snprintf(c.embed_device, sizeof c.embed_device, "cuda");        /* who names it means it */
	CHECK_STR(service_encoder_device(&c, 0), "cuda");
}
