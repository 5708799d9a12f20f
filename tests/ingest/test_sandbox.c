/* test_sandbox.c: a child goes into a sandbox and tries what it must not do. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "ingest/sandbox.h"
#include "tests/test.h"

enum { TRIES = 16 };
static struct report { struct sandbox_state state; int error[TRIES]; } *report;
static char own[300];                   /* a file of this user */

/* Runs try in a child; what it reports lies in *report. Returns the wait status. */
static int in_child(void (*try)(void))
{
	pid_t pid;
	int status = 0;

	report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(report != MAP_FAILED);
	snprintf(own, sizeof own, "%s/mine.txt", test_dir());
	CHECK_INT(file_write_atomic(own, "secret", 6, NULL), OK);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		try();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static void put(int i, long rc)
{
	report->error[i] = rc >= 0 ? 0 : errno;
}

static void execute(const char *path)
{
	char *const argv[] = { (char *)(uintptr_t)path, NULL };

	execv(path, argv);
}

static void try_parser(void)
{
	char *more;
	pid_t pid;

	sandbox_parser(&report->state);
	put(0, open(own, O_RDONLY));
	put(1, open("/usr/lib/os-release", O_RDONLY));
	put(2, open("/usr/lib/footnote-test", O_WRONLY | O_CREAT, 0600));
	put(3, socket(AF_INET, SOCK_STREAM, 0));
	put(4, socket(AF_UNIX, SOCK_STREAM, 0));
	pid = fork();
	if (pid == 0)
		_exit(0);
	put(5, pid);
	put(6, ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	put(7, kill(getppid(), 0));
	put(8, unlink(own));
	execute("/usr/bin/true");
	put(9, -1);
	more = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	report->error[10] = more == MAP_FAILED ? errno : 0;
}

TEST(sandbox_parser_refuses)
{
	static const int refused[] = { 0, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct sandbox_state have;

	sandbox_probe(&have);
	if (!have.seccomp)
		test_skip("this kernel has no seccomp filters");
	CHECK_INT(in_child(try_parser), 0);
	CHECK_INT(report->state.seccomp, 1);
	CHECK_INT(report->state.landlock > 0, have.landlock > 0);
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		CHECK_MSG(report->error[refused[i]] == EPERM || report->error[refused[i]] == EACCES, "try %d: errno %d", refused[i],
			report->error[refused[i]]);
	if (have.landlock)
		CHECK_INT(report->error[1], 0);         /* the system's own data may be read */
	CHECK_INT(report->error[10], 0);
	CHECK(file_exists(own));
}

static void try_tool(void)
{
	pid_t pid;

	sandbox_tool("/usr/bin/true", &report->state);
	put(0, open(own, O_RDONLY));
	put(1, open("/usr/lib/os-release", O_RDONLY));
	put(2, open(own, O_WRONLY));
	put(3, socket(AF_INET, SOCK_STREAM, 0));
	pid = fork();
	if (pid == 0)
		_exit(0);
	put(4, pid);
	put(5, ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	put(6, kill(getppid(), 0));
	put(7, unlink(own));
	execute(own);
	put(8, -1);
	execute("/usr/bin/true");
	_exit(3);
}

TEST(sandbox_tool_refuses)
{
	struct sandbox_state have;
	int status;

	sandbox_probe(&have);
	if (!have.seccomp || !have.landlock)
		test_skip("this kernel lacks one of the two walls");
	status = in_child(try_tool);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), 0);              /* what it was made for runs */
	CHECK_INT(report->error[1], 0);
	for (int i = 0; i < 9; i++)
		if (i != 1)
			CHECK_MSG(report->error[i] == EPERM || report->error[i] == EACCES, "try %d: errno %d", i, report->error[i]);
	CHECK(file_exists(own));
}

static void try_limits(void)
{
	struct rlimit l;
	char name[320];
	int fd;

	sandbox_limits((uint64_t)64 << 20, 1, 100, 20);
	report->error[0] = getrlimit(RLIMIT_CORE, &l) || l.rlim_max != 0;
	report->error[1] = getrlimit(RLIMIT_NOFILE, &l) || l.rlim_max != 20;
	report->error[2] = getrlimit(RLIMIT_CPU, &l) || l.rlim_cur != 100 || l.rlim_max != 101;
	report->error[3] = getrlimit(RLIMIT_AS, &l) || l.rlim_max == RLIM_INFINITY;
	report->error[4] = mmap(NULL, 256 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
	snprintf(name, sizeof name, "%s.grow", own);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	signal(SIGXFSZ, SIG_IGN);
	report->error[5] = fd < 0 || write(fd, "x", 1) > 0;
}

TEST(sandbox_limits_hold)
{
	CHECK_INT(in_child(try_limits), 0);
	for (int i = 0; i < 6; i++) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
		if (i == 3 || i == 4)
			continue;
#endif
		CHECK_MSG(report->error[i] == 0, "limit %d", i);
	}
}
