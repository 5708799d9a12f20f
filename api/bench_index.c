/* bench_index.c: `footnote bench index`: search by vector, measured on real embeddings in a store of its own: how many of
 * the 10 best are found and how many queries a second one thread answers, exactly, by graph at several efforts, and for
 * readers who see a half, a tenth, a hundredth and a thousandth; memory a vector; the time to open and to have the graph;
 * the same by lists of codes (--kinds hnsw, ivf or hnsw,ivf; in a folder that was there, where lists would take the
 * graph's place, hnsw alone when not said).
 * Every vector is a document of one chunk, the dearest case for access. Queries a second are of the thread's processor
 * time, so that what else runs on the machine does not count; a query is what the service does: a snapshot, the search.
 * The truth is the exact search's, of which some answers are compared with every vector in doubles.
 * The folder keeps base.fvecs and queries.fvecs (u32 dimension before each vector) for tests/bench/peer_index.py.
 * Threads: the command's. Failure: the first error ends it; the folder stays as far as it came. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "api/bench.h"
#include "api/models.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/mem.h"
#include "embed/embed.h"
#include "index/index.h"

enum { K = 10, PER_COMMIT = 1000, PROVED = 20, QUERIES_MAX = 10000, SHARES = 4 };

static const struct { const char *group; uint32_t one_in; } shares[SHARES] = {
	{"half", 2}, {"tenth", 10}, {"hundredth", 100}, {"thousandth", 1000},
};

struct index_bench {
	struct command_call *call;
	const char *texts, *queries, *folder;
	const char *kinds;              /* "hnsw", "ivf" or both */
	int again;                      /* 1: the folder is there already, with its vectors and its store */
	long limit;
	struct embedder *embedder;      /* opened when a text is to be embedded */
	float *base, *query;            /* (n, dim), (query_n, dim) */
	size_t n, query_n;
	int dim;
	struct index_options o;
	struct index *x;
	struct vec_hit *truth;          /* ((1 + SHARES) * query_n, K): everyone's, then of each share */
	size_t *truth_n;
};

/* ---- vectors ---- */

static int fvecs_read(struct index_bench *b, const char *path, size_t limit, float **out, size_t *n, struct err *e)
{
	struct mapping m;
	int32_t dim = 0;
	size_t each, have;
	int rc = mapping_open(&m, path, e);
	if (rc) return rc;
	if (m.len >= 4) memcpy(&dim, m.data, 4);
	each = dim > 0 && dim <= 65536 ? 4 + 4 * (size_t)dim : 1;
	have = m.len / each;
	*n = have < limit ? have : limit;
	if (each == 1 || !have || m.len % each) rc = err_set(e, E_FORMAT, "%s: no vectors (fvecs)", path);
	else if (b->dim && b->dim != dim) rc = err_set(e, E_FORMAT, "%s: vectors of %d floats, not %d", path, dim, b->dim);
	*out = rc ? NULL : mem_calloc(*n, each);
	if (!rc && !*out) rc = err_set(e, E_MEMORY, "bench: out of memory");
	for (size_t i = 0; !rc && i < *n; i++) {
		if (memcmp(m.data + i * each, &dim, 4) != 0) rc = err_set(e, E_FORMAT, "%s: vector %zu has another size", path, i);
		memcpy(*out + i * (size_t)dim, m.data + i * each + 4, each - 4);
	}
	b->dim = dim;
	mapping_close(&m);
	return rc;
}

static int fvecs_write(const struct index_bench *b, const char *name, const float *v, size_t n, struct err *e)
{
	struct buf path;
	FILE *f;
	int ok;
	buf_init(&path, 8192);
	ok = path_join(&path, b->folder, name) == OK;
	f = ok ? fopen(buf_cstr(&path), "wb") : NULL;
	for (size_t i = 0; f && ok && i < n; i++)
		ok = fwrite(&b->dim, 4, 1, f) == 1 && fwrite(v + i * (size_t)b->dim, (size_t)b->dim * sizeof *v, 1, f) == 1;
	if (f) ok = fclose(f) == 0 && ok;
	buf_clear(&path);
	return f && ok ? OK : err_sys(e, "write %s", name);
}

static int texts_embed(struct index_bench *b, const char *path, size_t limit, enum embed_kind kind, float **out,
	size_t *n, struct err *e)
{
	const struct conf *conf = b->call->conf;
	struct embedder_options o = { .threads = service_threads(conf->embed_threads), .kernel = conf->embed_kernel,
		.device = conf->embed_device, .max_tokens = conf->embed_max_tokens };
	struct embed_text *texts = NULL;
	struct arena a;
	struct buf dir;
	int rc;
	arena_init(&a, BENCH_FILE_BYTES_MAX);
	buf_init(&dir, 8192);
	rc = bench_texts(path, limit, &a, &texts, n, e);
	if (!rc && !b->embedder) rc = model_find(conf, conf->embed_model, &dir, e);
	o.dir = buf_cstr(&dir);
	if (!rc && !b->embedder) rc = embedder_open(&b->embedder, &o, e);
	if (!rc && b->dim && b->dim != embedder_info(b->embedder)->dim)
		rc = err_set(e, E_FORMAT, "%s: the other file's vectors are of %d floats", path, b->dim);
	if (!rc) b->dim = embedder_info(b->embedder)->dim;
	*out = rc ? NULL : mem_calloc(*n, (size_t)b->dim * sizeof **out);
	if (!rc && !*out) rc = err_set(e, E_MEMORY, "bench: out of memory");
	if (!rc) rc = embedder_encode(b->embedder, texts, *n, kind, EMBED_BULK, *out, e);
	mem_free(texts);
	buf_clear(&dir);
	arena_clear(&a);
	return rc;
}

static int vectors_get(struct index_bench *b, const char *file, size_t limit, enum embed_kind kind, float **out,
	size_t *n, struct err *e)
{
	size_t len = strlen(file);
	struct buf path;
	int rc;
	buf_init(&path, 8192);
	rc = path_absolute(&path, b->call->cwd, file, e);
	if (!rc && len > 6 && strcmp(file + len - 6, ".fvecs") == 0) rc = fvecs_read(b, buf_cstr(&path), limit, out, n, e);
	else if (!rc) rc = texts_embed(b, buf_cstr(&path), limit, kind, out, n, e);
	buf_clear(&path);
	return rc;
}

/* Both sets of vectors as an earlier run left them. */
static int folder_read(struct index_bench *b, struct err *e)
{
	struct buf path;
	int rc;
	buf_init(&path, 8192);
	rc = path_join(&path, b->folder, "base.fvecs");
	if (!rc) rc = fvecs_read(b, buf_cstr(&path), (size_t)b->limit, &b->base, &b->n, e);
	if (!rc) rc = path_join(&path, b->folder, "queries.fvecs");
	if (!rc) rc = fvecs_read(b, buf_cstr(&path), QUERIES_MAX, &b->query, &b->query_n, e);
	buf_clear(&path);
	return rc;
}

/* ---- the store ---- */

/* exact 1: collections of any size are searched exactly. *ready_ms: until the graph is there. */
static int store_open(struct index_bench *b, int exact, int ef, double *open_ms, double *ready_ms, struct err *e)
{
	double start = clock_ms();
	int rc;
	index_close(b->x);
	b->x = NULL;
	b->o.exact_below = exact ? SIZE_MAX : 1;
	b->o.hnsw_ef_search = ef;
	rc = index_open(&b->x, &b->o, e);
	*open_ms = clock_ms() - start;
	if (!rc) rc = index_rebuild_wait(b->x, e);
	*ready_ms = clock_ms() - start;
	return rc;
}

static int one_put(struct index_bench *b, struct write *w, size_t i, struct err *e)
{
	static const struct span all = { 0, 4 };
	static const struct chunk_in chunk = { { 0, 4 }, "", 0, &all, 1 };
	const char *groups[SHARES];
	struct doc_in d = { .collection = "bench", .title = "", .source = "", .type = "txt", .root = "", .meta = "{}",
		.acl = groups, .verdict = DOC_ADDED, .reason = "", .duplicate_of = "", .text = "text", .text_len = 4,
		.chunks = &chunk, .chunk_n = 1, .vectors = b->base + i * (size_t)b->dim };
	uint32_t chance = (uint32_t)i * 2654435761u;    /* Knuth's multiplicative hash: the same documents on every machine */
	char id[64];
	int verdict;
	chance ^= chance >> 15;
	for (size_t s = 0; s < SHARES; s++)
		if (chance % 1000 < 1000 / shares[s].one_in) groups[d.acl_n++] = shares[s].group;
	if (!d.acl_n) groups[d.acl_n++] = "others";
	return index_put(w, &d, id, &verdict, e);
}

static int fill(struct index_bench *b, double *seconds, struct err *e)
{
	double start = clock_ms();
	int rc = OK;
	for (size_t i = 0; !rc && i < b->n;) {
		struct write *w;
		rc = flag_is(b->call->cancel) ? err_set(e, E_CANCELLED, "bench: cancelled") : index_write_begin(&w, b->x, e);
		if (rc) break;
		for (size_t end = i + PER_COMMIT; !rc && i < b->n && i < end; i++) rc = one_put(b, w, i, e);
		if (!rc) rc = index_write_commit(w, e);
		else index_write_abort(w);
	}
	*seconds = (clock_ms() - start) / 1000;
	return rc;
}

/* ---- searching ---- */

struct figures { double recall, per_s, p50_ms, p99_ms; };

/* Every query as share s (SHARES: everyone) sees the store. keep 1: the answers become the truth. */
static int run(struct index_bench *b, size_t s, int keep, struct figures *f, struct err *e)
{
	const struct reader r = { .collection = "bench", .all_groups = s == SHARES,
		.groups = s < SHARES ? &shares[s].group : NULL, .group_n = s < SHARES };
	double *took = mem_calloc(b->query_n, sizeof *took), sum = 0;
	size_t first = s * b->query_n, found = 0, all = 0;
	int rc = took ? OK : err_set(e, E_MEMORY, "bench: out of memory");
	for (int warm = 1; warm >= 0; warm--)
		for (size_t i = 0; !rc && i < b->query_n; i++) {
			struct vec_hit hit[K], *truth = b->truth + (first + i) * K;
			struct snapshot *snap;
			size_t got = 0;
			double start = bench_thread_ms();
			rc = snapshot_open(&snap, b->x, e);
			if (!rc) rc = snapshot_search(snap, &r, b->query + i * (size_t)b->dim, K, hit, &got, e);
			if (snap) snapshot_close(snap);
			took[i] = bench_thread_ms() - start;
			if (!rc && flag_is(b->call->cancel)) rc = err_set(e, E_CANCELLED, "bench: cancelled");
			if (rc || warm) continue;
			if (keep) memcpy(truth, hit, got * sizeof *hit), b->truth_n[first + i] = got;
			for (size_t x = 0; x < got; x++)
				for (size_t y = 0; y < b->truth_n[first + i]; y++) found += hit[x].chunk_id == truth[y].chunk_id;
			all += b->truth_n[first + i];
			sum += took[i];
		}
	if (!rc)
		*f = (struct figures){ all ? (double)found / (double)all : 1, (double)b->query_n * 1000 / sum,
			bench_quantile(took, b->query_n, 0.5), bench_quantile(took, b->query_n, 0.99) };
	mem_free(took);
	return rc;
}

/* Share of the exact search's answers that are among the K best of all vectors, by products in doubles. Chunk i + 1 has
 * vector i. */
static double proved(const struct index_bench *b)
{
	size_t found = 0, all = 0, queries = b->query_n < PROVED ? b->query_n : PROVED;
	for (size_t i = 0; i < queries; i++) {
		const float *q = b->query + i * (size_t)b->dim;
		const struct vec_hit *hit = b->truth + (SHARES * b->query_n + i) * K;
		size_t n = b->truth_n[SHARES * b->query_n + i], better = 0;
		double worst = n ? (double)hit[n - 1].score : 0;
		for (size_t j = 0; j < b->n; j++) {
			double sum = 0;
			for (int d = 0; d < b->dim; d++) sum += (double)q[d] * b->base[j * (size_t)b->dim + (size_t)d];
			better += sum > worst + 1e-6 * (fabs(worst) + 1);
		}
		found += better < n ? n : n - (better - n + 1 < n ? better - n + 1 : n);
		all += n;
	}
	return all ? (double)found / (double)all : 1;
}

static int tell(cJSON *out, const char *name, const struct figures *f, int tail, struct err *e)
{
	char key[40];
	int rc;
	snprintf(key, sizeof key, "%s_recall", name);
	rc = bench_number(out, key, f->recall, e);
	snprintf(key, sizeof key, "%s_per_s", name);
	if (!rc) rc = bench_number(out, key, f->per_s, e);
	snprintf(key, sizeof key, "%s_p50_ms", name);
	if (!rc && tail) rc = bench_number(out, key, f->p50_ms, e);
	snprintf(key, sizeof key, "%s_p99_ms", name);
	if (!rc && tail) rc = bench_number(out, key, f->p99_ms, e);
	return rc;
}

static int measure_shares(struct index_bench *b, const char *how, int keep, cJSON *out, struct err *e)
{
	struct figures f;
	char name[32];
	int rc = OK;
	for (size_t s = 0; s < SHARES && !rc; s++) {
		rc = run(b, s, keep, &f, e);
		snprintf(name, sizeof name, "%s_%s", how, shares[s].group);
		if (!rc && !keep) rc = tell(out, name, &f, 1, e);
	}
	return rc;
}

static int measure_exact(struct index_bench *b, cJSON *out, struct err *e)
{
	struct figures f;
	int rc = run(b, SHARES, 1, &f, e);
	f.recall = rc ? 0 : proved(b);
	if (!rc) rc = tell(out, "exact", &f, 1, e);
	return rc ? rc : measure_shares(b, "exact", 1, out, e);
}

static int measure_graph(struct index_bench *b, cJSON *out, struct err *e)
{
	static const int efforts[] = { 16, 24, 32, 48, 64, 100, 200, 400, 800 };
	struct index_stats st;
	struct figures f;
	double open_ms, ready_ms;
	char name[32];
	int rc = store_open(b, 0, b->call->conf->hnsw_ef_search, &open_ms, &ready_ms, e);
	if (!rc) rc = bench_number(out, "build_s", ready_ms / 1000, e);
	if (!rc) rc = store_open(b, 0, b->call->conf->hnsw_ef_search, &open_ms, &ready_ms, e);
	if (!rc) rc = bench_number(out, "open_ms", open_ms, e);
	if (!rc) rc = bench_number(out, "graph_ready_ms", ready_ms, e);
	if (!rc) rc = index_stats(b->x, &st, e);
	if (!rc) rc = bench_number(out, "bytes_per_vector", (double)st.memory_bytes / (double)b->n, e);
	if (!rc) rc = run(b, SHARES, 0, &f, e);
	if (!rc) rc = tell(out, "default", &f, 1, e);
	if (!rc) rc = measure_shares(b, "default", 0, out, e);
	for (size_t i = 0; i < sizeof efforts / sizeof *efforts && !rc; i++) {
		snprintf(name, sizeof name, "ef%d", efforts[i]);
		rc = store_open(b, 0, efforts[i], &open_ms, &ready_ms, e);
		if (!rc) rc = run(b, SHARES, 0, &f, e);
		if (!rc) rc = tell(out, name, &f, 0, e);
	}
	return rc;
}

/* The same by lists of codes. */
static int measure_lists(struct index_bench *b, cJSON *out, struct err *e)
{
	static const int probes[] = { 64, 128, 512 };
	struct index_stats st;
	struct figures f;
	double open_ms, ready_ms;
	char name[32];
	int rc;
	b->o.kind = INDEX_IVF;
	rc = store_open(b, 0, b->call->conf->hnsw_ef_search, &open_ms, &ready_ms, e);
	if (!rc) rc = bench_number(out, "ivf_build_s", ready_ms / 1000, e);
	if (!rc) rc = store_open(b, 0, b->call->conf->hnsw_ef_search, &open_ms, &ready_ms, e);
	if (!rc) rc = bench_number(out, "ivf_ready_ms", ready_ms, e);
	if (!rc) rc = index_stats(b->x, &st, e);
	if (!rc) rc = bench_number(out, "ivf_bytes_per_vector", (double)st.memory_bytes / (double)b->n, e);
	if (!rc) rc = run(b, SHARES, 0, &f, e);
	if (!rc) rc = tell(out, "ivf", &f, 1, e);
	if (!rc) rc = measure_shares(b, "ivf", 0, out, e);
	for (size_t i = 0; i < sizeof probes / sizeof *probes && !rc; i++) {
		snprintf(name, sizeof name, "ivf_probes%d", probes[i]);
		b->o.ivf_probes = (size_t)probes[i];
		rc = store_open(b, 0, b->call->conf->hnsw_ef_search, &open_ms, &ready_ms, e);
		if (!rc) rc = run(b, SHARES, 0, &f, e);
		if (!rc) rc = tell(out, name, &f, 0, e);
	}
	return rc;
}

/* Both sets of vectors and the store, in the folder. */
static int folder_fill(struct index_bench *b, cJSON *out, struct err *e)
{
	double seconds;
	int rc = fvecs_write(b, "base.fvecs", b->base, b->n, e);
	if (!rc) rc = fvecs_write(b, "queries.fvecs", b->query, b->query_n, e);
	if (!rc) rc = fill(b, &seconds, e);
	return rc ? rc : bench_number(out, "put_per_s", (double)b->n / seconds, e);
}

static int measure(struct index_bench *b, cJSON *out, struct err *e)
{
	size_t answers = (1 + SHARES) * b->query_n;
	double open_ms, ready_ms;
	int rc = OK;
	b->truth = mem_calloc(answers, K * sizeof *b->truth);
	b->truth_n = mem_calloc(answers, sizeof *b->truth_n);
	if (!rc && (!b->truth || !b->truth_n)) rc = err_set(e, E_MEMORY, "bench: out of memory");
	if (!rc) rc = store_open(b, 1, b->call->conf->hnsw_ef_search, &open_ms, &ready_ms, e);
	if (!rc && !b->again) rc = folder_fill(b, out, e);
	if (!rc) rc = index_rebuild_wait(b->x, e);
	if (!rc) rc = bench_number(out, "vectors", (double)b->n, e);
	if (!rc) rc = bench_number(out, "dim", b->dim, e);
	if (!rc) rc = bench_number(out, "queries", (double)b->query_n, e);
	if (!rc) rc = measure_exact(b, out, e);
	if (!rc && strstr(b->kinds, "hnsw")) rc = measure_graph(b, out, e);
	return rc || !strstr(b->kinds, "ivf") ? rc : measure_lists(b, out, e);
}

int bench_index(struct command_call *c, cJSON *out, struct err *e)
{
	struct index_bench b = { .call = c, .limit = BENCH_TEXTS_MAX };
	struct option options[] = { { "--texts", OPTION_TEXT, &b.texts, 0, 0 }, { "--queries", OPTION_TEXT, &b.queries, 0, 0 },
		{ "--folder", OPTION_TEXT, &b.folder, 0, 0 }, { "--kinds", OPTION_TEXT, &b.kinds, 0, 0 }, { "--limit", OPTION_NUMBER, &b.limit, 1, BENCH_TEXTS_MAX } };
	struct buf folder, store;
	int rc = options_parse(c, options, sizeof options / sizeof *options, e);
	buf_init(&folder, 8192);
	buf_init(&store, 8192);
	b.again = !b.texts && !b.queries;
	if (!b.kinds) b.kinds = b.again ? "hnsw" : "hnsw,ivf";
	if (!rc && strcmp(b.kinds, "hnsw") != 0 && strcmp(b.kinds, "ivf") != 0 && strcmp(b.kinds, "hnsw,ivf") != 0)
		rc = err_set(e, E_USAGE, "bench index: --kinds hnsw, ivf or hnsw,ivf");
	if (!rc && (c->argc != 1 || !b.folder || (!b.again && (!b.texts || !b.queries))))
		rc = err_set(e, E_USAGE, "bench index: wants --folder D and, for a new one, --texts F and --queries Q");
	if (!rc) rc = path_absolute(&folder, c->cwd, b.folder, e);
	b.folder = buf_cstr(&folder);
	if (!rc && !b.again && file_exists(b.folder)) rc = err_set(e, E_CONFLICT, "%s: is there; a new folder is wanted", b.folder);
	if (!rc) rc = path_join(&store, b.folder, "store");
	if (!rc) rc = b.again ? folder_read(&b, e) : vectors_get(&b, b.texts, (size_t)b.limit, EMBED_PASSAGE, &b.base, &b.n, e);
	if (!rc && !b.again) rc = vectors_get(&b, b.queries, QUERIES_MAX, EMBED_QUERY, &b.query, &b.query_n, e);
	if (!rc && !b.again) rc = dir_make(buf_cstr(&store), e);
	service_store_options(c->conf, &b.o);
	b.o.dir = buf_cstr(&store);
	b.o.dim = b.dim;
	b.o.embedder = "bench";
	b.o.sync = 0;
	b.o.kind = INDEX_HNSW;
	b.o.memory_bytes = 0;
	if (!rc) rc = measure(&b, out, e);
	index_close(b.x);
	embedder_close(b.embedder);
	mem_free(b.base);
	mem_free(b.query);
	mem_free(b.truth);
	mem_free(b.truth_n);
	buf_clear(&folder);
	buf_clear(&store);
	return rc;
}
