/* test.h: the runner's side of a test. A test file defines tests with TEST(name) and checks with CHECK…; the runner
 * (runner.c) lists, filters and runs them and prints "N passed, N failed, N skipped". A failed check ends its test. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef void (*test_fn)(void);
void test_register(const char *name, const char *file, test_fn fn);
void test_fail(const char *file, int line, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));
void test_skip(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* A fresh folder, removed after the test; static storage until the next call. */
const char *test_dir(void);
/* Path of a file of tests/ ("golden/texts.json"); the test fails when it is missing. Static storage. */
const char *test_data(const char *name);
/* Path of a model in the models folder, or NULL when it was not fetched (then test_skip). Static storage. */
const char *test_model(const char *name);
/* The table of GPU kernels under test (nn/gpu.h), which the room's program named before its tests ran: the host's body of them, or,
 * in `make gpu-check`, the one of this machine's GPU (name "cuda"; sizes may then be those of real models). Every test is a
 * process of its own and opens the device by itself. The test fails when no table was named. */
struct gpu_table;
const struct gpu_table *test_gpu(void);
/* For a file that is linked for this alone: called from a constructor, once. */
void test_gpu_is(const struct gpu_table *t);

#define TEST(name) \
	static void test_##name(void); \
	__attribute__((constructor)) static void reg_##name(void) { test_register(#name, __FILE__, test_##name); } \
	static void test_##name(void)
#define CHECK(cond) do { if (!(cond)) test_fail(__FILE__, __LINE__, "%s", #cond); } while (0)
#define CHECK_MSG(cond, ...) do { if (!(cond)) test_fail(__FILE__, __LINE__, __VA_ARGS__); } while (0)
#define CHECK_INT(got, want) do { long long g_ = (long long)(got), w_ = (long long)(want); \
	if (g_ != w_) test_fail(__FILE__, __LINE__, "%s: got %lld, want %lld", #got, g_, w_); } while (0)
#define CHECK_STR(got, want) do { const char *g_ = (got), *w_ = (want); \
	if (strcmp(g_, w_) != 0) test_fail(__FILE__, __LINE__, "%s: got \"%s\", want \"%s\"", #got, g_, w_); } while (0)
#define CHECK_OK(call, e) do { if ((call) != 0) test_fail(__FILE__, __LINE__, "%s: %s", #call, (e).msg); } while (0)

#endif
