/* runner.c: runs the tests that were linked in. Each test runs in a child process, so that a crash, a leak of state or
 * a runaway (600 s) fails one test and not the run.
 * Usage: run [--list | --inside] [NAME-PART | =NAME ...]. --inside: in this process itself, for tools that lose sight of children; the first
 * that fails or is skipped (exit code 77) ends it. Environment: FOOTNOTE_MODELS (models folder), FOOTNOTE_TESTS (tests folder). */
#include "tests/test.h"
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TESTS_MAX = 2000, TEST_SECONDS = 600, SKIP_EXIT = 77 };
static struct { const char *name, *file; test_fn fn; } tests[TESTS_MAX];
static int test_n;
static char dir_path[256];
static const struct gpu_table *gpu;

void test_register(const char *name, const char *file, test_fn fn)
{
	if (test_n == TESTS_MAX) abort();
	tests[test_n].name = name;
	tests[test_n].file = file;
	tests[test_n++].fn = fn;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void dir_remove(void)
{
	if (dir_path[0]) nftw(dir_path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	dir_path[0] = 0;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	fprintf(stderr, "  %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	dir_remove();
	exit(1);
}

void test_skip(const char *fmt, ...)
{
	va_list ap;
	fprintf(stderr, "  skipped: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	dir_remove();
	exit(SKIP_EXIT);
}

const char *test_dir(void)
{
	const char *tmp = getenv("TMPDIR");
	dir_remove();
	snprintf(dir_path, sizeof dir_path, "%s/footnote-test-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir_path)) test_fail(__FILE__, __LINE__, "mkdtemp %s: %s", dir_path, strerror(errno));
	return dir_path;
}

const char *test_data(const char *name)
{
	static char path[512];
	const char *root = getenv("FOOTNOTE_TESTS");
	snprintf(path, sizeof path, "%s/%s", root ? root : "tests", name);
	if (access(path, R_OK) != 0) test_fail(__FILE__, __LINE__, "missing %s", path);
	return path;
}

const char *test_model(const char *name)
{
	static char path[512];
	const char *dir = getenv("FOOTNOTE_MODELS"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	if (dir) snprintf(path, sizeof path, "%s/%s", dir, name);
	else if (xdg && *xdg) snprintf(path, sizeof path, "%s/footnote/models/%s", xdg, name);
	else snprintf(path, sizeof path, "%s/.cache/footnote/models/%s", home ? home : "", name);
	return access(path, R_OK) == 0 ? path : NULL;
}

void test_gpu_is(const struct gpu_table *t)
{
	if (gpu) abort();
	gpu = t;
}

const struct gpu_table *test_gpu(void)
{
	if (!gpu) test_fail(__FILE__, __LINE__, "no table of GPU kernels is linked");
	return gpu;
}

static int run_one(int i, int inside)
{
	int status;
	fflush(NULL);
	if (inside) {
		tests[i].fn();
		dir_remove();
		return 0;
	}
	pid_t pid = fork();
	if (pid < 0) return 1;
	if (pid == 0) {
		alarm(TEST_SECONDS);
		tests[i].fn();
		dir_remove();
		exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
	if (WIFSIGNALED(status)) fprintf(stderr, "  killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int wanted(int i, int argc, char **argv)
{
	if (argc < 2) return 1;
	for (int a = 1; a < argc; a++)
		if (argv[a][0] == '=' ? strcmp(tests[i].name, argv[a] + 1) == 0 : strstr(tests[i].name, argv[a]) || strstr(tests[i].file, argv[a])) return 1;
	return 0;
}

/* Where the room of parsers is linked in, this program is also the child that they start (ingest/ingest.h). */
int parsers_main(int argc, char **argv) __attribute__((weak));

int main(int argc, char **argv)
{
	int child = parsers_main ? parsers_main(argc, argv) : -1;
	if (child >= 0) return child;
	int passed = 0, failed = 0, skipped = 0, inside = argc > 1 && strcmp(argv[1], "--inside") == 0;
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (int i = 0; i < test_n; i++) printf("%s %s\n", tests[i].file, tests[i].name);
		return 0;
	}
	for (int i = 0; i < test_n; i++) {
		if (!wanted(i, argc - inside, argv + inside)) continue;
		int rc = run_one(i, inside);
		if (rc == 0) passed++;
		else if (rc == SKIP_EXIT) skipped++;
		else failed++;
		if (rc != 0) printf("%s %s (%s)\n", rc == SKIP_EXIT ? "skip" : "FAIL", tests[i].name, tests[i].file);
	}
	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed ? 1 : 0;
}
