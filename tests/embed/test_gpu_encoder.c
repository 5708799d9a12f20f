/* test_gpu_encoder.c: encoders of sizes that real ones seldom have, on the GPU under test beside fp32 on the CPU: heads and rows that padding
 * fills, every activation, both kinds of tokens, texts of one token, numbers that no half holds.
 *
 * Tolerance: a state is a normed number of size 1; weights and activations are halves, 2^-11 of themselves, and a layer rounds some six
 * times one behind the other: 4 layers' worth with room of 3 are 0.035. A wrong activation or a head's place off are 0.1 and more. */
#include <math.h>
#include "base/mem.h"
#include "embed/encoder.h"
#include "tests/embed/encoder_make.h"
#include "tests/test.h"

enum { ROWS = 90, VOCABULARY = 50 };
static const double NEAR = 0.035;
static struct err e;

static struct encoder_space *space_of(struct encoder *m, size_t rows)
{
	struct encoder_space *s;
	CHECK_OK(encoder_space_open(&s, m, 1, rows, rows, &e), e);
	return s;
}

static void near_all(const char *what, const float *got, const float *want, size_t n, size_t width)
{
	for (size_t i = 0; i < n * width; i++)
		CHECK_MSG(fabs((double)got[i] - (double)want[i]) < NEAR, "%s: row %zu, %zu: %g, want %g", what, i / width, i % width, (double)got[i],
			(double)want[i]);
}

/* States, then both ways of pooling, of texts that begin at starts[]. */
static void encoder_try(const struct encoder_shape *s, const struct encoder_words *gpus, const struct encoder_words *cpus, const size_t *starts,
	size_t texts)
{
	struct encoder *m[2] = { encoder_made(s, gpus, &(struct encoder_how){ .gpu = test_gpu(), .must = 1 }),
		encoder_made(s, cpus, &(struct encoder_how){ 0 }) };
	const size_t rows = starts[texts], h = (size_t)s->hidden;
	struct encoder_space *space[2] = { space_of(m[0], rows), space_of(m[1], rows) };
	float *out[2] = { mem_calloc(rows * h, sizeof(float)), mem_calloc(rows * h, sizeof(float)) };
	int32_t ids[ROWS];
	uint8_t types[ROWS];
	CHECK(rows <= ROWS && out[0] && out[1] && encoder_on_gpu(m[0]));
	for (size_t i = 0; i < rows; i++) ids[i] = (int32_t)(i * 7 % VOCABULARY), types[i] = i % 3 == 1;
	for (int i = 0; i < 2; i++) CHECK_OK(encoder_states(space[i], ids, types, starts, texts, out[i], &e), e);
	near_all("states", out[0], out[1], rows, h);
	for (int kind = 0; kind < 4; kind++) {
		for (int i = 0; i < 2; i++)
			CHECK_OK(encoder_vectors(space[i], ids, starts, texts, kind / 2 ? POOL_CLS : POOL_MEAN, kind % 2, out[i], &e), e);
		near_all(kind / 2 ? "first" : "mean", out[0], out[1], texts, h);
	}
	for (int i = 0; i < 2; i++) {
		encoder_space_close(space[i]);
		encoder_close(m[i]);
		mem_free(out[i]);
	}
}

static struct encoder_shape shape_of(int hidden, int heads, enum dense_act act)
{
	return (struct encoder_shape){ .hidden = hidden, .layers = 2, .heads = heads, .intermediate = 100, .vocabulary = VOCABULARY, .positions = 70,
		.types = 2, .eps = 1e-12f, .act = act };
}

TEST(gpu_encoder_of_odd_sizes)
{
	static const size_t starts[] = { 0, 3, 73, 74, 81 };
	const struct encoder_shape shapes[] = { shape_of(40, 4, DENSE_GELU), shape_of(72, 3, DENSE_GELU_TANH), shape_of(66, 1, DENSE_RELU),
		shape_of(64, 2, DENSE_GELU) };
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) encoder_try(&shapes[i], NULL, NULL, starts, 4);
}

/* As many starts and tiles as rows. */
TEST(gpu_encoder_of_single_tokens)
{
	const struct encoder_shape s = shape_of(32, 2, DENSE_GELU);
	size_t starts[ROWS + 1];
	for (size_t i = 0; i <= ROWS; i++) starts[i] = i;
	encoder_try(&s, NULL, NULL, starts, ROWS);
}

/* Weights that are larger than any half are taken for the largest. */
TEST(gpu_encoder_of_large_weights)
{
	static const size_t starts[] = { 0, 4, 9 };
	const struct encoder_shape s = shape_of(32, 2, DENSE_GELU);
	encoder_try(&s, &(struct encoder_words){ 1e6f, INFINITY }, &(struct encoder_words){ 1e6f, 65504 }, starts, 2);
}

TEST(gpu_encoder_refuses_what_does_not_fit)
{
	struct encoder_shape s = shape_of(33, 3, DENSE_GELU);
	struct encoder *m;
	static const struct { int hidden, heads; } wide[] = { { 33, 3 }, { 2050, 25 }, { 260, 2 } };
	for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
		s.hidden = wide[i].hidden;
		s.heads = wide[i].heads;
		m = encoder_made(&s, NULL, &(struct encoder_how){ .gpu = test_gpu() });        /* the CPU does it */
		CHECK(!encoder_on_gpu(m));
		encoder_close(m);
	}
}
