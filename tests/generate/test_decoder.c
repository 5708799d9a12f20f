/* test_decoder.c: the forward pass against logits of the reference implementation (tests/golden), and what makes the
 * KV cache trustworthy: the same bits whatever the chunks. */
#include <math.h>
#include <stdlib.h>
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/team.h"
#include "generate/decoder.h"
#include "tests/generate/feed.h"
#include "tests/test.h"

static const char SMOL[] = "smollm2-135m-instruct-q4_1", QWEN[] = "qwen2.5-coder-0.5b-instruct-q4_k_m",
	GEMMA[] = "gemma-3-270m-q4_k_m";

struct model { struct gguf *g; struct team *team; struct decoder *d; struct feed f; };

static struct model model_open(const char *name, const char *kernel, int threads)
{
	struct model m;
	struct err e;
	const struct ops *ops;
	char file[128];
	const char *path;
	snprintf(file, sizeof file, "%s.gguf", name);
	path = test_model(file);
	if (!path) test_skip("%s was not fetched", file);
	if (ops_choose(&ops, kernel, &e) == E_UNSUPPORTED) test_skip("%s", e.msg);
	CHECK_OK(gguf_open(&m.g, path, &e), e);
	m.team = team_new(threads);
	CHECK(m.team);
	CHECK_OK(decoder_open(&m.d, m.g, NULL, ops, m.team, &(struct decoder_options){ .context_max = 2048, .sequences = 1 }, &e), e);
	feed_open(&m.f, m.d);
	return m;
}

static void model_close(struct model *m)
{
	feed_close(&m->f);
	decoder_close(m->d);
	team_free(m->team);
	gguf_close(m->g);
}

static char *golden(const char *name, const char *kind)
{
	struct buf b;
	struct err e;
	char file[256];
	size_t len;
	snprintf(file, sizeof file, "golden/%s.%s", name, kind);
	buf_init(&b, 1 << 22);
	CHECK_OK(file_read(test_data(file), &b, &e), e);
	return buf_take(&b, &len);
}

static size_t ids_of(const cJSON *row, const char *key, int32_t **out)
{
	const cJSON *a = cJSON_GetObjectItem(row, key), *x;
	size_t n = 0;
	*out = mem_calloc((size_t)cJSON_GetArraySize(a) + 1, sizeof **out);
	cJSON_ArrayForEach(x, a) (*out)[n++] = (int32_t)x->valuedouble;
	return n;
}

static const double NEAR = 0.12; /* of logits up to 20 */

/* One position: the reference's ten best logits within NEAR, the same best token where the reference is sure. The
 * reference keeps its keys and values in floats, this decoder in halves. */
static void check_position(const float *logits, size_t vocab, const cJSON *ids, const cJSON *tops, int pos, double lse)
{
	const cJSON *id = cJSON_GetArrayItem(ids, pos)->child, *top = cJSON_GetArrayItem(tops, pos)->child;
	double gap = top->valuedouble - top->next->valuedouble, sum = 0;
	size_t best = 0;
	int first = id->valueint;
	for (size_t i = 1; i < vocab; i++)
		if (logits[i] > logits[best]) best = i;
	for (size_t i = 0; i < vocab; i++) sum += exp((double)(logits[i] - logits[best]));
	if (gap > 2 * NEAR) CHECK_INT(best, first);
	CHECK_MSG(fabs(log(sum) + (double)logits[best] - lse) < NEAR, "position %d: logsumexp off by %g", pos,
		log(sum) + (double)logits[best] - lse);
	for (; id; id = id->next, top = top->next)
		CHECK_MSG(fabs((double)logits[id->valueint] - top->valuedouble) < NEAR, "position %d token %d: %g, want %g",
			pos, id->valueint, (double)logits[id->valueint], top->valuedouble);
}

static void check_row(struct feed *f, const cJSON *row, float *logits)
{
	int32_t *ids, *greedy;
	size_t n = ids_of(row, "ids", &ids), g = ids_of(row, "greedy", &greedy), vocab = decoder_info(f->d)->vocab;
	feed_restart(f);
	feed_ids(f, ids, n, DECODER_CHUNK, n, logits);
	for (size_t t = 0; t < n; t++)
		check_position(logits + t * vocab, vocab, cJSON_GetObjectItem(row, "top_ids"), cJSON_GetObjectItem(row,
			"top_logits"), (int)t, cJSON_GetArrayItem(cJSON_GetObjectItem(row, "logsumexp"), (int)t)->valuedouble);
	memmove(logits, logits + (n - 1) * vocab, vocab * sizeof *logits);
	for (size_t i = 0; i < g; i++) {
		size_t best = 0;
		for (size_t v = 1; v < vocab; v++)
			if (logits[v] > logits[best]) best = v;
		CHECK_MSG((int32_t)best == greedy[i], "%s: greedy token %zu: %zu, want %d", json_str(row, "prompt", ""), i,
			best, greedy[i]);
		feed_ids(f, &greedy[i], 1, 1, 1, logits);
	}
	mem_free(ids);
	mem_free(greedy);
}

static void check_logits(const char *name, const char *kernel)
{
	struct model m = model_open(name, kernel, 2);
	struct err e;
	char *text = golden(name, "logits.jsonl"), *save = NULL;
	float *logits = mem_calloc(DECODER_CHUNK * decoder_info(m.d)->vocab, sizeof *logits);
	int rows = 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), rows++) {
		cJSON *row;
		CHECK_OK(json_parse(&row, line, strlen(line), 1 << 22, "golden", &e), e);
		check_row(&m.f, row, logits);
		cJSON_Delete(row);
	}
	CHECK_INT(rows, 4);
	mem_free(text);
	mem_free(logits);
	model_close(&m);
}

TEST(decoder_logits_smollm2_auto) { check_logits(SMOL, "auto"); }
TEST(decoder_logits_smollm2_avx2) { check_logits(SMOL, "avx2"); }
TEST(decoder_logits_qwen_auto) { check_logits(QWEN, "auto"); }
TEST(decoder_logits_qwen_avx2) { check_logits(QWEN, "avx2"); }
TEST(decoder_logits_gemma_auto) { check_logits(GEMMA, "auto"); }
TEST(decoder_logits_gemma_avx2) { check_logits(GEMMA, "avx2"); }

static void check_long(const char *name, const char *kernel)
{
	struct model m = model_open(name, kernel, 2);
	struct err e;
	char *text = golden(name, "long.json");
	size_t vocab = decoder_info(m.d)->vocab, n;
	float *logits = mem_calloc(32 * vocab, sizeof *logits);
	int32_t *ids;
	cJSON *row;
	CHECK_OK(json_parse(&row, text, strlen(text), 1 << 22, "golden", &e), e);
	n = ids_of(row, "ids", &ids);
	CHECK(n > 1500);
	feed_ids(&m.f, ids, n, DECODER_CHUNK, 32, logits);
	for (int t = 0; t < 32; t++)
		check_position(logits + (size_t)t * vocab, vocab, cJSON_GetObjectItem(row, "top_ids"), cJSON_GetObjectItem(row,
			"top_logits"), t, cJSON_GetArrayItem(cJSON_GetObjectItem(row, "logsumexp"), t)->valuedouble);
	cJSON_Delete(row);
	mem_free(ids);
	mem_free(text);
	mem_free(logits);
	model_close(&m);
}

TEST(decoder_long_smollm2) { check_long(SMOL, "auto"); }
TEST(decoder_long_qwen) { check_long(QWEN, "auto"); }
TEST(decoder_long_gemma) { check_long(GEMMA, "auto"); }

/* The last logits of 130 tokens, cut into chunks of 1, 7 and 64, on 1 and 3 threads: equal to the bit. */
static void check_chunks(const char *name, const char *kernel, size_t n)
{
	static const size_t chunks[] = { 64, 1, 7 };
	float *want = NULL, *got = NULL;
	for (size_t i = 0; i < 3; i++) {
		struct model m = model_open(name, kernel, i == 2 ? 3 : 1);
		size_t vocab = decoder_info(m.d)->vocab;
		int32_t ids[256];
		if (!want) want = mem_calloc(vocab, sizeof *want), got = mem_calloc(vocab, sizeof *got);
		for (size_t t = 0; t < n; t++) ids[t] = (int32_t)(t * 7919 % 40000 + 100);
		feed_ids(&m.f, ids, n, chunks[i], 1, i ? got : want);
		if (i) CHECK_MSG(memcmp(want, got, vocab * sizeof *want) == 0, "chunks of %zu differ", chunks[i]);
		model_close(&m);
	}
	mem_free(want);
	mem_free(got);
}

TEST(decoder_chunks_avx2) { check_chunks(SMOL, "avx2", 130); }
TEST(decoder_chunks_avx512) { check_chunks(SMOL, "avx512", 130); }
TEST(decoder_chunks_ref) { check_chunks(SMOL, "ref", 9); }
TEST(decoder_chunks_qwen) { check_chunks(QWEN, "auto", 70); }
TEST(decoder_chunks_gemma) { check_chunks(GEMMA, "auto", 70); }
