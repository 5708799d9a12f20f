/* test_gpu_embed.c: embedder and reader model on the GPU under test: near fp32 on the CPU, the same bits beside any texts. */
#include <math.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "embed/embed.h"
#include "embed/reader.h"
#include "nn/gpu.h"
#include "tests/embed/golden.h"
#include "tests/test.h"

enum { PAIRS_MAX = 16 };
static struct err e;

static struct embedder *embedder(const char *dir, const char *kernel, const char *device)
{
	struct embedder *m;
	struct embedder_options o = {.dir = dir, .threads = 2, .kernel = kernel, .device = device, .gpu = test_gpu()};
	CHECK_OK(embedder_open(&m, &o, &e), e);
	return m;
}

static const char *tiny(const char *name)
{
	static char path[64];
	snprintf(path, sizeof path, "golden/embedders/%s", name);
	return test_data(path);
}

/* Texts t (n) on the GPU, together and some alone, beside fp32. */
static void vectors_try(const char *dir, const struct embed_text *t, size_t n, size_t alone)
{
	struct embedder *gpu = embedder(dir, NULL, "cuda"), *exact = embedder(dir, "ref", NULL);
	size_t dim = (size_t)embedder_info(gpu)->dim;
	float *got = mem_calloc(n * dim, sizeof *got), *want = mem_calloc(n * dim, sizeof *want), *one = mem_calloc(dim, sizeof *one);
	CHECK(got && want && one);
	CHECK_STR(embedder_info(gpu)->kernel, test_gpu()->name);
	CHECK_STR(embedder_info(gpu)->fingerprint, embedder_info(exact)->fingerprint);
	CHECK_OK(embedder_encode(gpu, t, n, EMBED_PASSAGE, EMBED_BULK, got, &e), e);
	CHECK_OK(embedder_encode(exact, t, n, EMBED_PASSAGE, EMBED_BULK, want, &e), e);
	for (size_t i = 0; i < n; i++) {
		double c = cosine(got + i * dim, want + i * dim, dim), length = 0;
		for (size_t k = 0; k < dim; k++) length += (double)got[i * dim + k] * got[i * dim + k];
		CHECK_MSG(c >= 0.9999, "text %zu: cosine %.6f", i, c);
		CHECK_MSG(fabs(length - 1) < 1e-5, "text %zu: length %.7f", i, sqrt(length));
		if (i % (n / alone) != 0) continue;
		CHECK_OK(embedder_encode(gpu, &t[i], 1, EMBED_PASSAGE, EMBED_FIRST, one, &e), e);
		CHECK_MSG(memcmp(one, got + i * dim, dim * sizeof *one) == 0, "text %zu: alone and in the batch differ", i);
	}
	mem_free(got);
	mem_free(want);
	mem_free(one);
	embedder_close(gpu);
	embedder_close(exact);
}

TEST(embed_gpu_stays_near_fp32)
{
	static const char *const names[] = {"tiny-bge-en", "tiny-e5", "tiny-gte"};
	struct embed_text t[GOLDEN_TEXTS];
	cJSON *texts = golden_texts();
	for (int i = 0; i < GOLDEN_TEXTS; i++) t[i] = text_at(texts, i);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) vectors_try(tiny(names[i]), t, GOLDEN_TEXTS, 6);
	cJSON_Delete(texts);
}

TEST(embed_gpu_minilm_stays_near_fp32)
{
	enum { N = 4 };
	static const int shorts[N] = {0, 3, 7, 12};
	const char *dir = test_model("all-minilm-l6-v2");
	struct embed_text some[N];
	if (!dir) test_skip("all-minilm-l6-v2 is not in the models folder");
	cJSON *texts = golden_texts();
	for (int i = 0; i < N; i++) {
		struct embed_text t = text_at(texts, shorts[i]);
		some[i] = (struct embed_text){t.text, t.len < 80 ? t.len : 0};
	}
	vectors_try(dir, some, N, 1);
	cJSON_Delete(texts);
}

/* ---- reader ---- */

static cJSON *golden_pairs(const char *name, struct reader_pair *pairs, size_t *n)
{
	struct buf b;
	cJSON *json;
	const cJSON *item;
	buf_init(&b, 1 << 20);
	CHECK_OK(file_read(test_data(name), &b, &e), e);
	CHECK_OK(json_parse(&json, b.data, b.len, 1 << 20, name, &e), e);
	*n = 0;
	cJSON_ArrayForEach(item, json) {
		const char *s[3];
		static const char *const keys[] = {"first", "title", "text"};
		CHECK(*n < PAIRS_MAX);
		for (int i = 0; i < 3; i++) s[i] = cJSON_GetStringValue(cJSON_GetObjectItem(item, keys[i]));
		pairs[(*n)++] = (struct reader_pair){s[0], strlen(s[0]), s[1], s[1] ? strlen(s[1]) : 0, s[2], strlen(s[2])};
	}
	buf_clear(&b);
	return json;
}

static struct reader_model *reader(const char *kernel, const char *device)
{
	struct reader_model *m;
	struct reader_options o = {.dir = test_data("golden/reader/tiny"), .threads = 1, .kernel = kernel, .device = device, .gpu = test_gpu()};
	CHECK_OK(reader_open(&m, &o, &e), e);
	return m;
}

TEST(reader_gpu_stays_near_fp32)
{
	struct reader_pair pairs[PAIRS_MAX];
	struct reader_reading got[PAIRS_MAX], want[PAIRS_MAX], one;
	struct reader_verdict verdicts[PAIRS_MAX], wanted[PAIRS_MAX];
	size_t n;
	cJSON *json = golden_pairs("golden/reader/expected.json", pairs, &n);
	struct reader_model *gpu = reader(NULL, "cuda"), *exact = reader("ref", "cpu");
	CHECK_STR(reader_info(gpu)->kernel, test_gpu()->name);
	CHECK_OK(reader_read(gpu, pairs, n, got, &e), e);
	CHECK_OK(reader_read(exact, pairs, n, want, &e), e);
	CHECK_OK(reader_support(gpu, pairs, n, verdicts, &e), e);
	CHECK_OK(reader_support(exact, pairs, n, wanted, &e), e);
	for (size_t i = 0; i < n; i++) {
		CHECK_MSG(fabs((double)got[i].relevance - want[i].relevance) < 0.02, "pair %zu: relevance %.4f, want %.4f", i,
			(double)got[i].relevance, (double)want[i].relevance);
		CHECK_MSG(fabs((double)got[i].answerable - want[i].answerable) < 0.02, "pair %zu: answerable %.4f, want %.4f", i,
			(double)got[i].answerable, (double)want[i].answerable);
		CHECK_MSG(fabs((double)verdicts[i].supported - wanted[i].supported) < 0.02, "pair %zu: supported %.4f, want %.4f", i,
			(double)verdicts[i].supported, (double)wanted[i].supported);
		CHECK_INT(got[i].spans_n, want[i].spans_n);
	}
	CHECK_OK(reader_read(gpu, &pairs[n / 2], 1, &one, &e), e);
	CHECK(memcmp(&one.relevance, &got[n / 2].relevance, sizeof one.relevance) == 0);
	cJSON_Delete(json);
	reader_close(gpu);
	reader_close(exact);
}
