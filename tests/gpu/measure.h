/* measure.h: what the files of tests/gpu/ share: the device they run on, sizes, time, and the figures they leave.
 *
 * Checks and measurements are tests alike (tests/test.h), so that one that fails takes no other with it. They run on the table of
 * test_gpu(): on a GPU at the sizes of real models, on the host's body of the kernels at sizes that take a moment, which proves that
 * they work, not how fast. Figures are lines of JSON, appended to the file named by GPU_FIGURES, or printed (those of a GPU). Faults fail the
 * test. */
#ifndef TESTS_GPU_MEASURE_H
#define TESTS_GPU_MEASURE_H
#include <stddef.h>
#include <stdint.h>
#include "nn/gpu.h"
#include "tests/gguf_make.h"
#include "tests/nn/on_device.h"
#include "tests/test.h"

/* A test that only a GPU is asked: on the host it would repeat what another one does. */
extern const struct gpu_table host_table __attribute__((weak));
#define DEVICE_TEST(name) \
	static void test_##name(void); \
	__attribute__((constructor)) static void reg_##name(void) { if (!&host_table) test_register(#name, __FILE__, test_##name); } \
	static void test_##name(void)

int real_sizes(void);                        /* 1: a GPU, not the host */
void *device_room(struct gpu *g, uint64_t bytes);
void device_sync(struct gpu *g);             /* fails the test when the device is lost */
/* Device memory with n random floats of deviation sd. */
float *device_floats(struct gpu *g, uint64_t seed, size_t n, float sd);
int32_t *device_ids(struct gpu *g, const int32_t *ids, size_t n);
/* A matrix of random bits (tests/gguf_fill.h) on the device. */
struct gpu_matrix device_matrix(struct gpu *g, uint32_t type, size_t rows, size_t k, uint64_t seed);

/* Microseconds of what `queue` queues: recorded as one pass, run again and again; the median of rounds. */
double queued_us(struct gpu *g, void (*queue)(void *ctx), void *ctx);

/* One figure: `"name": value, …` without braces. The test's work, the table's and the device's names are added. */
void figure(const char *work, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A model of random weights. Its sizes are those of the one it is called after, or on the host as small as the architecture can be. */
struct real_model { const char *name; struct model_spec spec; };
struct model_spec real_model(const char *name, uint32_t type);  /* "135m", "0.5b", "1.5b", "8b" */
/* The same as a file, made where it is not yet: in the folder GPU_MODELS names, where it stays for other tests, or in the test's own.
 * Static storage. */
const char *real_model_file(const char *name, uint32_t type);
/* Bytes that one decoded token reads: all matrices, of the table of tokens one row, or all of it where it is the output. */
uint64_t model_bytes(const struct model_spec *s);
double model_weights(const struct model_spec *s);               /* that a token is multiplied with */

#endif
