/* time_ready.c: from the start of a process to the first token of a model of random weights, by the way that `footnote serve` goes: the file
 * is mapped, its tokenizer made, its weights brought to the device. The file was written just before, so that it lies in memory: what a
 * disk gives is the machine's.
 *
 * The test runs its own program again with the one test "ready_process", which exists where READY_MODEL names a file; that one writes
 * down when it had got how far. */
#include <stdlib.h>
#include <spawn.h>
#include <sys/wait.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "generate/generate.h"
#include "nn/quant.h"
#include "tests/gpu/measure.h"
#include "tests/test.h"

extern char **environ;
struct moments { double opened, ready; uint64_t device_bytes; };   /* by clock_ms(), which all processes share */

static void ready_process(void)
{
	const int32_t prompt[] = { 'a', 'b', 'c' };
	const struct generator_options o = { .path = getenv("READY_MODEL"), .threads = 4, .context_max = 256, .sequences = 1, .device = "cuda",
		.gpu = test_gpu() };
	struct generator *g;
	struct gen_params p;
	struct gen_result r;
	struct moments m;
	struct err e;
	gen_params_default(&p);
	p.max_tokens = 1;
	CHECK_OK(generator_open(&g, &o, &e), e);
	m.opened = clock_ms();
	CHECK_OK(generate(g, prompt, sizeof prompt / sizeof *prompt, &p, NULL, NULL, NULL, NULL, &r, &e), e);
	m.ready = clock_ms();
	CHECK_INT(r.completion_tokens, 1);
	m.device_bytes = generator_info(g)->device_bytes;
	CHECK_OK(file_write_atomic(getenv("READY_TO"), &m, sizeof m, &e), e);
	buf_clear(&r.text);
	generator_close(g);
}

__attribute__((constructor)) static void reg_ready_process(void)
{
	if (getenv("READY_MODEL")) test_register("ready_process", __FILE__, ready_process);
}

static void time_ready(const char *name, uint32_t type)
{
	char *argv[] = { "/proc/self/exe", "=ready_process", NULL }, to[300];
	const char *path = real_model_file(name, type);
	struct mapping got;
	struct moments m;
	struct err e;
	double start;
	pid_t child;
	int status;
	snprintf(to, sizeof to, "%.290s.moments", path);
	setenv("READY_MODEL", path, 1);
	setenv("READY_TO", to, 1);
	start = clock_ms();
	CHECK_INT(posix_spawn(&child, argv[0], NULL, NULL, argv, environ), 0);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK_INT(status, 0);
	CHECK_OK(mapping_open(&got, to, &e), e);
	CHECK_INT(got.len, sizeof m);
	memcpy(&m, got.data, sizeof m);
	mapping_close(&got);
	CHECK(start < m.opened && m.opened < m.ready && m.device_bytes > 0);
	figure("ready", "\"model\": \"%s\", \"type\": \"%s\", \"device_bytes\": %llu, \"opened_ms\": %.1f, \"ready_ms\": %.1f", name,
		quant_name(type), (unsigned long long)m.device_bytes, m.opened - start, m.ready - start);
}

DEVICE_TEST(time_ready_15b_bf16) { time_ready("1.5b", QUANT_BF16); }
TEST(time_ready_15b_q4_k) { time_ready("1.5b", QUANT_Q4_K); }
