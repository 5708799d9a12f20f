/* measure.c: measure.h. */
#include "tests/gpu/measure.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/quant.h"
#include "tests/gguf_fill.h"
#include "tests/test.h"

enum { ROUNDS = 5, ROUND_US = 30000, WARM_ROUNDS = 4 /* the clocks of an idle device take a while to rise */, LINE_BYTES = 1024 };

int real_sizes(void)
{
	return strcmp(test_gpu()->name, "host") != 0;
}

void *device_room(struct gpu *g, uint64_t bytes)
{
	void *p = NULL;
	struct err e;
	CHECK_OK(test_gpu()->alloc(g, bytes, "a test's room", &p, &e), e);
	return p;
}

void device_sync(struct gpu *g)
{
	struct err e;
	CHECK_OK(test_gpu()->sync(g, &e), e);
}

float *device_floats(struct gpu *g, uint64_t seed, size_t n, float sd)
{
	float *w = mem_alloc(n * sizeof *w), *p = device_room(g, n * sizeof *w);
	CHECK(w != NULL);
	random_weights(seed, "floats", n, sd, w);
	test_gpu()->copy_in(g, p, w, n * sizeof *w);
	mem_free(w);
	return p;
}

int32_t *device_ids(struct gpu *g, const int32_t *ids, size_t n)
{
	return device(g, ids, n * sizeof *ids);
}

struct gpu_matrix device_matrix(struct gpu *g, uint32_t type, size_t rows, size_t k, uint64_t seed)
{
	const size_t row = quant_row_bytes(type, k);
	uint8_t *data = mem_aligned(64, row * rows);
	struct matrix w = { type, rows, k, data, row };
	struct gpu_matrix m;
	struct err e;
	CHECK(data != NULL);
	random_blocks(type, k, seed, rows * k / quant_block_weights(type), data);
	CHECK_OK(test_gpu()->matrix_load(g, &w, &m, &e), e);
	mem_free(data);
	return m;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double queued_us(struct gpu *g, void (*queue)(void *ctx), void *ctx)
{
	const struct gpu_table *t = test_gpu();
	struct gpu_graph *graph = NULL;
	double took[ROUNDS], one = 0;
	struct err e;
	long times = 1;
	CHECK_OK(t->record(g, &e), e);
	queue(ctx);
	CHECK_OK(t->recorded(g, &graph, &e), e);
	if (!real_sizes()) {                                      /* that it runs is all there is to see */
		double start = clock_ms();
		t->replay(g, graph);
		device_sync(g);
		t->graph_free(g, graph);
		return (clock_ms() - start) * 1000;
	}
	for (int round = -WARM_ROUNDS; round < ROUNDS; round++) { /* those before 0 tell how often a round runs it */
		double start = clock_ms();
		for (long i = 0; i < times; i++) t->replay(g, graph);
		device_sync(g);
		one = (clock_ms() - start) * 1000 / (double)times;
		if (round >= 0) took[round] = one;
		else times = one < ROUND_US ? (long)(ROUND_US / (one + 1)) + 1 : 1;
	}
	t->graph_free(g, graph);
	qsort(took, ROUNDS, sizeof *took, by_size);
	return took[ROUNDS / 2];
}

void figure(const char *work, const char *fmt, ...)
{
	const char *path = getenv("GPU_FIGURES");
	char line[LINE_BYTES];
	int n = snprintf(line, sizeof line, "{\"work\": \"%s\", \"table\": \"%s\", ", work, test_gpu()->name), fd;
	va_list ap;
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	CHECK(n + 3 < LINE_BYTES);
	memcpy(line + n, "}\n", 3);
	if (!path || !*path) {
		if (real_sizes()) fputs(line, stdout);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	CHECK_MSG(fd >= 0 && write(fd, line, (size_t)n + 2) == n + 2, "%s cannot be written", path);
	close(fd);
}

/* --- models --- */
static const struct real_model models[] = {
	{ "135m", { .arch = "llama", .layers = 30, .dim = 576, .ff = 1536, .heads = 9, .kv_heads = 3, .head_dim = 64,
		.vocab = 49152, .rope_base = 100000 } },
	{ "0.5b", { .arch = "qwen2", .layers = 24, .dim = 896, .ff = 4864, .heads = 14, .kv_heads = 2, .head_dim = 64,
		.vocab = 151936, .rope_base = 1000000 } },
	{ "1.5b", { .arch = "qwen2", .layers = 28, .dim = 1536, .ff = 8960, .heads = 12, .kv_heads = 2, .head_dim = 128,
		.vocab = 151936, .rope_base = 1000000 } },
	{ "8b", { .arch = "llama", .layers = 32, .dim = 4096, .ff = 14336, .heads = 32, .kv_heads = 8, .head_dim = 128,
		.vocab = 128256, .untied = 1, .rope_base = 500000 } },
};

/* On the host: as small as blocks of 256 weights let a model be. */
static void make_small(struct model_spec *s)
{
	s->layers = 2;
	s->ff = 512;
	s->dim = 256;
	s->heads = 4;
	s->kv_heads = s->kv_heads == 2 ? 2 : 1;
	s->head_dim = 64;
	s->vocab = 320;
	s->context = 256;
}

struct model_spec real_model(const char *name, uint32_t type)
{
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		struct model_spec s = models[i].spec;
		if (strcmp(models[i].name, name) != 0) continue;
		s.context = 8192;
		s.type = type;
		s.embed_type = quant_block_weights(type) == QUANT_BLOCK_MAX ? QUANT_Q6_K : type;   /* as such files are */
		s.seed = 11;
		s.large = 1;
		if (!real_sizes()) make_small(&s);
		if (s.dim % quant_block_weights(s.embed_type) || s.heads * s.head_dim % quant_block_weights(type))
			test_fail(__FILE__, __LINE__, "a %s model of %s: rows do not fill blocks", name, quant_name(type));
		return s;
	}
	test_fail(__FILE__, __LINE__, "no model %s", name);
}

const char *real_model_file(const char *name, uint32_t type)
{
	static char path[512];
	const struct model_spec s = real_model(name, type);
	const char *kept = getenv("GPU_MODELS");
	char part[sizeof path + 8];
	snprintf(path, sizeof path, "%s/%s-%s.gguf", kept && *kept ? kept : test_dir(), name, quant_name(type));
	if (file_exists(path)) return path;
	snprintf(part, sizeof part, "%s.part", path);      /* who is killed meanwhile leaves no half of one */
	model_make(&s, part);
	CHECK(rename(part, path) == 0);
	return path;
}

static void sum_matrices(const struct model_spec *s, uint64_t *bytes, double *weights)
{
	static const char *const names[] = { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down" };
	size_t k, rows;
	*bytes = quant_row_bytes(s->embed_type, s->dim) * (s->vocab + 1);
	*weights = (double)s->vocab * (double)s->dim;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		CHECK(model_matrix(s, names[i], &k, &rows));
		*bytes += s->layers * quant_row_bytes(s->type, k) * rows;
		*weights += (double)s->layers * (double)k * (double)rows;
	}
}

uint64_t model_bytes(const struct model_spec *s)
{
	uint64_t bytes;
	double weights;
	sum_matrices(s, &bytes, &weights);
	return bytes;
}

double model_weights(const struct model_spec *s)
{
	uint64_t bytes;
	double weights;
	sum_matrices(s, &bytes, &weights);
	return weights;
}
