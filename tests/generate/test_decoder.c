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

static struct fed model_open(const char *name, const char *kernel, int threads)
{
	struct fed m;
	struct err e;
	const struct ops *ops;
	char file[128];
	const char *path;
	snprintf(file, sizeof file, "%s.gguf", name);
	path = test_model(file);
	if (!path) test_skip("%s was not fetched", file);
	if (ops_choose(&ops, kernel, &e) == E_UNSUPPORTED) test_skip("%s", e.msg);
	fed_open(&m, path, ops, threads, &(struct decoder_options){ .context_max = 2048, .sequences = 1 });
	return m;
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

/* Tolerances of a logit up to 20. The reference keeps its keys and values in floats, this decoder in halves; and but
 * for the plain loops it rounds activations to int8. */
static const double NEAR = 0.12, ROUGH = 1.2;

static size_t best_of(const float *logits, size_t vocab, double *logsumexp)
{
	size_t best = 0;
	double sum = 0;
	for (size_t i = 1; i < vocab; i++)
		if (logits[i] > logits[best]) best = i;
	for (size_t i = 0; i < vocab; i++) sum += exp((double)(logits[i] - logits[best]));
	*logsumexp = log(sum) + (double)logits[best];
	return best;
}

/* One position: the reference's ten best logits within tol, the same best token where the reference is sure. */
static void check_position(const float *logits, size_t vocab, const cJSON *row, int pos, double tol)
{
	const cJSON *id = cJSON_GetArrayItem(cJSON_GetObjectItem(row, "top_ids"), pos)->child,
		*top = cJSON_GetArrayItem(cJSON_GetObjectItem(row, "top_logits"), pos)->child;
	double gap = top->valuedouble - top->next->valuedouble, sum,
		want = cJSON_GetArrayItem(cJSON_GetObjectItem(row, "logsumexp"), pos)->valuedouble;
	size_t best = best_of(logits, vocab, &sum);
	if (gap > 2 * tol) CHECK_INT(best, id->valueint);
	CHECK_MSG(fabs(sum - want) < tol, "position %d: logsumexp off by %g", pos, sum - want);
	for (; id; id = id->next, top = top->next)
		CHECK_MSG(fabs((double)logits[id->valueint] - top->valuedouble) < tol, "position %d token %d: %g, want %g",
			pos, id->valueint, (double)logits[id->valueint], top->valuedouble);
}

/* The four golden prompts, a line each, to fn. */
static void each_row(const char *name, void (*fn)(void *ctx, const cJSON *row), void *ctx)
{
	struct err e;
	char *text = golden(name, "logits.jsonl"), *save = NULL;
	int rows = 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), rows++) {
		cJSON *row;
		CHECK_OK(json_parse(&row, line, strlen(line), 1 << 22, "golden", &e), e);
		fn(ctx, row);
		cJSON_Delete(row);
	}
	CHECK_INT(rows, 4);
	mem_free(text);
}

struct exact { struct feed *f; float *logits; int greedy; };

static void check_exact(void *ctx, const cJSON *row)
{
	struct exact *x = ctx;
	int32_t *ids, *greedy;
	size_t n = ids_of(row, "ids", &ids), g = ids_of(row, "greedy", &greedy), vocab = decoder_info(x->f->d)->vocab;
	double sum;
	feed_restart(x->f);
	feed_ids(x->f, ids, n, DECODER_CHUNK, n, x->logits);
	for (size_t t = 0; t < n; t++) check_position(x->logits + t * vocab, vocab, row, (int)t, NEAR);
	memmove(x->logits, x->logits + (n - 1) * vocab, vocab * sizeof *x->logits);
	for (size_t i = 0; x->greedy && i < g; i++) {
		CHECK_INT(best_of(x->logits, vocab, &sum), greedy[i]);
		feed_ids(x->f, &greedy[i], 1, 1, 1, x->logits);
	}
	mem_free(ids);
	mem_free(greedy);
}

enum { MOST = 64 };                              /* positions of a golden prompt */

/* The plain loops, with float activations, against the reference implementation. */
static void check_logits(const char *name, int greedy)
{
	struct fed m = model_open(name, "ref", 2);
	struct exact x = { &m.f, mem_calloc(MOST * decoder_info(m.d)->vocab, sizeof(float)), greedy };
	each_row(name, check_exact, &x);
	mem_free(x.logits);
	fed_close(&m);
}

TEST(decoder_logits_smollm2) { check_logits(SMOL, 1); }
TEST(decoder_logits_qwen) { check_logits(QWEN, 0); }
TEST(decoder_logits_gemma) { check_logits(GEMMA, 0); }

/* Every table's rounded activations, of prompts and of written tokens, against the plain loops: Kullback-Leibler
 * divergence, mean a position, and the best token wherever the plain loops are sure of it. */
static const struct { const char *kernel; enum decoder_phase phase; } kinds[] = {
	{ "avx2", PHASE_WRITTEN }, { "avx512", PHASE_WRITTEN }, { "vnni", PHASE_WRITTEN }, { "amx", PHASE_WRITTEN },
	{ "amx", PHASE_PROMPT },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

struct rounded {
	struct feed ref;
	struct fed of[KINDS];                  /* d NULL: this CPU has it not */
	float *want, *got;
	double divergence[KINDS];
	size_t positions;
};

static double divergence(const float *want, const float *got, size_t vocab)
{
	double a, b, sum = 0;
	size_t best = best_of(want, vocab, &a), other = best_of(got, vocab, &b);
	CHECK_MSG((double)(want[best] - want[other]) < ROUGH, "best token %zu (%g), want %zu (%g)", other,
		(double)want[other], best, (double)want[best]);
	for (size_t i = 0; i < vocab; i++)
		sum += exp((double)want[i] - a) * (((double)want[i] - a) - ((double)got[i] - b));
	return sum;
}

static void check_rounded(void *ctx, const cJSON *row)
{
	struct rounded *x = ctx;
	int32_t *ids;
	size_t n = ids_of(row, "ids", &ids), vocab = decoder_info(x->ref.d)->vocab;
	feed_restart(&x->ref);
	feed_ids(&x->ref, ids, n, DECODER_CHUNK, n, x->want);
	for (size_t i = 0; i < KINDS; i++) {
		if (!x->of[i].d) continue;
		feed_restart(&x->of[i].f);
		feed_ids(&x->of[i].f, ids, n, DECODER_CHUNK, n, x->got);
		for (size_t t = 0; t < n; t++)
			x->divergence[i] += divergence(x->want + t * vocab, x->got + t * vocab, vocab);
	}
	x->positions += n;
	mem_free(ids);
}

static void check_int8(const char *name)
{
	struct fed ref = model_open(name, "ref", 2);
	struct rounded x = { .ref = ref.f };
	size_t vocab = decoder_info(ref.d)->vocab;
	x.want = mem_calloc(MOST * vocab, sizeof *x.want);
	x.got = mem_calloc(MOST * vocab, sizeof *x.got);
	for (size_t i = 0; i < KINDS; i++) {
		const struct ops *ops;
		if (ops_choose(&ops, kinds[i].kernel, NULL) != OK) continue;
		x.of[i] = model_open(name, kinds[i].kernel, 2);
		x.of[i].f.phase = kinds[i].phase;
	}
	each_row(name, check_rounded, &x);
	ref.f = x.ref;
	for (size_t i = 0; i < KINDS; i++)
		if (x.of[i].d) {
			CHECK_MSG(x.divergence[i] / (double)x.positions <= 0.02, "%s, kind %zu: divergence %g a position",
				kinds[i].kernel, i, x.divergence[i] / (double)x.positions);
			fed_close(&x.of[i]);
		}
	mem_free(x.want);
	mem_free(x.got);
	fed_close(&ref);
}

TEST(decoder_int8_smollm2) { check_int8(SMOL); }
TEST(decoder_int8_qwen) { check_int8(QWEN); }
TEST(decoder_int8_gemma) { check_int8(GEMMA); }

/* The long prompt: its perplexity within `percent` of that with float activations, whose logarithm is `want`, and its
 * last 32 positions against the reference. */
static void check_long(const char *name, const char *kernel, enum decoder_phase phase, double want, double percent,
	double tol)
{
	struct fed m = model_open(name, kernel, 2);
	struct err e;
	char *text = golden(name, "long.json");
	size_t vocab = decoder_info(m.d)->vocab, n;
	float *logits = mem_calloc(MOST * vocab, sizeof *logits);
	double loss = 0, sum;
	int32_t *ids;
	cJSON *row;
	CHECK_OK(json_parse(&row, text, strlen(text), 1 << 22, "golden", &e), e);
	n = ids_of(row, "ids", &ids);
	CHECK(n > 1500);
	m.f.phase = phase;
	for (size_t at = 0; at < n; at += MOST) {
		size_t chunk = n - at < MOST ? n - at : MOST;
		feed_ids(&m.f, ids + at, chunk, chunk, chunk, logits);
		for (size_t t = 0; t < chunk; t++) {
			const float *l = logits + t * vocab;
			best_of(l, vocab, &sum);
			if (at + t + 1 < n) loss += sum - (double)l[ids[at + t + 1]];
			if (at + t + 32 >= n) check_position(l, vocab, row, (int)(at + t + 32 - n), tol);
		}
	}
	loss /= (double)(n - 1);
	CHECK_MSG(fabs(loss - want) < percent / 100, "%s: logarithm of the perplexity %.6f, want %.6f", name, loss, want);
	cJSON_Delete(row);
	mem_free(ids);
	mem_free(text);
	mem_free(logits);
	fed_close(&m);
}

/* FOOTNOTE_LONG: every table, and what `want` is. */
static void check_longs(const char *name, double want)
{
	check_long(name, "auto", PHASE_WRITTEN, want, 1, ROUGH);
	check_long(name, "auto", PHASE_PROMPT, want, 1, ROUGH);
	if (!getenv("FOOTNOTE_LONG")) return;
	check_long(name, "ref", PHASE_PROMPT, want, 0.02, NEAR);
	for (size_t i = 0; i < KINDS; i++) {
		const struct ops *ops;
		if (ops_choose(&ops, kinds[i].kernel, NULL) == OK) check_long(name, kinds[i].kernel, kinds[i].phase, want, 1, ROUGH);
	}
}

TEST(decoder_long_smollm2) { check_longs(SMOL, 2.8211); }
TEST(decoder_long_qwen) { check_longs(QWEN, 3.2156); }

/* The last logits of 130 tokens, cut into chunks of 1, 7 and 64, on 1 and 3 threads: equal to the bit. */
static void check_chunks(const char *name, const char *kernel, size_t n)
{
	static const size_t chunks[] = { 64, 1, 7 };
	float *want = NULL, *got = NULL;
	for (size_t i = 0; i < 3; i++) {
		struct fed m = model_open(name, kernel, i == 2 ? 3 : 1);
		size_t vocab = decoder_info(m.d)->vocab;
		int32_t ids[256];
		if (!want) want = mem_calloc(vocab, sizeof *want), got = mem_calloc(vocab, sizeof *got);
		for (size_t t = 0; t < n; t++) ids[t] = (int32_t)(t * 7919 % 40000 + 100);
		feed_ids(&m.f, ids, n, chunks[i], 1, i ? got : want);
		if (i) CHECK_MSG(memcmp(want, got, vocab * sizeof *want) == 0, "chunks of %zu differ", chunks[i]);
		fed_close(&m);
	}
	mem_free(want);
	mem_free(got);
}

TEST(decoder_chunks_avx2) { check_chunks(SMOL, "avx2", 130); }
TEST(decoder_chunks_avx512) { check_chunks(SMOL, "avx512", 130); }
TEST(decoder_chunks_vnni) { check_chunks(SMOL, "vnni", 130); }
TEST(decoder_chunks_ref) { check_chunks(SMOL, "ref", 9); }
TEST(decoder_chunks_qwen) { check_chunks(QWEN, "auto", 70); }
TEST(decoder_chunks_gemma) { check_chunks(GEMMA, "auto", 70); }
