/* child.c: owns the start, the first steps and the end of child processes.
 *
 * A child is told its limits and its parent's id in its arguments, so that they hold before anything is read. It asks
 * the kernel to be killed when the thread that started it ends (which a process's death includes) and looks whether
 * that was too late. A parser also ends when its requests do, so nothing outlives a parent that was killed.
 * Threads: a struct child belongs to the thread that started it. Failure: see child.h. */
#include "ingest/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/flag.h"
#include "base/mem.h"
#include "ingest/sandbox.h"

enum { POLL_MS = 100, NUMBER_LEN = 24, FIXED_ARGS = 5, PIPE_BYTES = 1 << 18, PARSER_FILES = 64, TOOL_FILES = 64 };

static const char *const roles[] = { "--parser", "--tool" };

/* ---- the parent's side ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* A pipe of which `ours` (0: the reading end) is non-blocking. */
static int pipe_make(int ends[2], int ours)
{
	if (pipe2(ends, O_CLOEXEC) != 0)
		return errno;
	fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES);               /* less is as right, only slower */
	fcntl(ends[ours], F_SETFL, O_NONBLOCK);
	return 0;
}

/* Descriptors 0 to 2 of the child are these; one that is -1 is /dev/null. Returns 0 or an errno. */
static int spawn(pid_t *pid, char **argv, const int fds[3])
{
	static char *const env[] = { "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "OPENBLAS_NUM_THREADS=1",
		"OMP_NUM_THREADS=1", "HOME=/nonexistent", NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	for (int i = 0; i < 3; i++)
		if (fds[i] < 0)
			posix_spawn_file_actions_addopen(&files, i, "/dev/null", i == 0 ? O_RDONLY : O_WRONLY, 0);
		else
			posix_spawn_file_actions_adddup2(&files, fds[i], i);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	rc = posix_spawn(pid, "/proc/self/exe", &files, &attr, argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return rc;
}

int child_start(struct child *c, enum child_role role, const struct child_limits *l, const char *const *argv, int stdin_fd,
	struct err *e)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 }, why = 0;
	char numbers[3][NUMBER_LEN];
	size_t n = 0;
	char **args;

	*c = (struct child){ 0, -1, -1, -1 };
	while (argv && argv[n])
		n++;
	args = mem_calloc(FIXED_ARGS + n + 1, sizeof *args);
	if (!args)
		return err_set(e, E_MEMORY, "child process: out of memory");
	snprintf(numbers[0], NUMBER_LEN, "%d", (int)getpid());
	snprintf(numbers[1], NUMBER_LEN, "%llu", (unsigned long long)l->memory_bytes);
	snprintf(numbers[2], NUMBER_LEN, "%d", l->cpu_seconds);
	args[0] = "footnote";
	args[1] = (char *)(uintptr_t)roles[role];
	for (size_t i = 0; i < 3; i++)
		args[2 + i] = numbers[i];
	for (size_t i = 0; i < n; i++)
		args[FIXED_ARGS + i] = (char *)(uintptr_t)argv[i];
	if (stdin_fd < 0)
		why = pipe_make(in, 1);
	if (why == 0)
		why = pipe_make(out, 0);
	if (why == 0 && role == CHILD_TOOL)
		why = pipe_make(err, 0);
	if (why == 0)
		why = spawn(&c->pid, args, (const int[3]){ stdin_fd < 0 ? in[0] : stdin_fd, out[1], err[1] });
	mem_free(args);
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&err[1]);
	c->in = in[1];
	c->out = out[0];
	c->err = err[0];
	if (why == 0)
		return OK;
	c->pid = 0;
	child_end(c, NULL);
	errno = why;
	return err_sys(e, "child process");
}

static void reaped(struct child *c, int status, const struct rusage *use, struct child_fate *f)
{
	c->pid = 0;
	close_fd(&c->in);
	close_fd(&c->out);
	close_fd(&c->err);
	if (f)
		*f = (struct child_fate){ WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
			(uint64_t)use->ru_maxrss * 1024 };
}

void child_end(struct child *c, struct child_fate *f)
{
	struct rusage use = { 0 };
	int status = 0;

	if (c->pid > 0) {
		kill(c->pid, SIGKILL);                  /* one that has ended already keeps its own status */
		while (wait4(c->pid, &status, 0, &use) < 0 && errno == EINTR)
			continue;
	}
	reaped(c, status, &use, f);
}

int child_lives(struct child *c)
{
	struct rusage use = { 0 };
	int status = 0;

	if (c->pid > 0 && wait4(c->pid, &status, WNOHANG, &use) != 0)
		reaped(c, status, &use, NULL);
	return c->pid > 0;
}

/* Waits until fd can be used. */
static int ready(int fd, short events, const struct child_wait *w, struct err *e)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t now = clock_us();

		if (flag_is(w->cancel))
			return err_set(e, E_CANCELLED, "cancelled");
		if (now >= w->deadline_us)
			return err_set(e, E_LIMIT, "the time is up");
		uint64_t left = (w->deadline_us - now) / 1000 + 1;
		if (poll(&p, 1, left < POLL_MS ? (int)left : POLL_MS) > 0)
			return OK;
	}
}

int child_write(struct child *c, const void *data, size_t len, const struct child_wait *w, struct err *e)
{
	const char *at = data;
	int rc = OK;

	while (len > 0 && rc == OK) {
		ssize_t n = write(c->in, at, len);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			rc = ready(c->in, POLLOUT, w, e);
		} else if (n == 0 || errno != EINTR) {
			rc = err_set(e, E_IO, "the child process is gone");
		}
	}
	return rc;
}

int child_read(struct child *c, void *data, size_t len, const struct child_wait *w, struct err *e)
{
	char *at = data;
	int rc = OK;

	while (len > 0 && rc == OK) {
		ssize_t n = read(c->out, at, len);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			rc = ready(c->out, POLLIN, w, e);
		} else if (n == 0 || errno != EINTR) {
			rc = err_set(e, E_IO, "the child process is gone");
		}
	}
	return rc;
}

/* ---- the child's side ---- */

static int number(const char *s, unsigned long long *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	return errno == 0 && end != s && *end == 0;
}

/* Dies with its parent; keeps nothing that was left open by accident. */
static int begin(unsigned long long parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || (unsigned long long)getppid() != parent)
		return CHILD_EXIT_START;
	return close_range(3, ~0u, 0) == 0 || errno == ENOSYS ? OK : CHILD_EXIT_START;
}

static int tool_exec(const struct child_limits *l, char **argv)
{
	struct sandbox_state state;

	sandbox_limits(l->memory_bytes, 0, l->cpu_seconds, TOOL_FILES);
	sandbox_tool(argv[0], &state);
	execv(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	return CHILD_EXIT_EXEC;
}

int child_main(int argc, char **argv)
{
	unsigned long long parent, memory, seconds;
	struct child_limits l;
	int tool, rc;

	if (argc < FIXED_ARGS || (strcmp(argv[1], roles[CHILD_PARSER]) != 0 && strcmp(argv[1], roles[CHILD_TOOL]) != 0))
		return -1;
	tool = strcmp(argv[1], roles[CHILD_TOOL]) == 0;
	if (!number(argv[2], &parent) || !number(argv[3], &memory) || !number(argv[4], &seconds) || seconds > INT32_MAX
		|| (tool && argc == FIXED_ARGS))
		return CHILD_EXIT_START;
	l = (struct child_limits){ memory, (int)seconds };
	rc = begin(parent);
	if (rc != OK)
		return rc;
	if (tool)
		return tool_exec(&l, argv + FIXED_ARGS);
	sandbox_limits(l.memory_bytes, 1, l.cpu_seconds, PARSER_FILES);
	rc = parser_child_run();
	_exit(rc);                      /* no handlers of libraries: they may want what the sandbox refuses */
}
