/* tool.c: owns foreign programs run on a file's bytes.
 *
 * The bytes go into a memory file that becomes the program's standard input, so that nobody has to feed it while its
 * outputs are read, and nothing touches the disk. Both outputs are read until they end; of what it says the line that
 * speaks of an error is kept, the rest is dropped. Time up, output too long or a cancel: it is killed.
 * Threads: no state; the caller's. Failure: see tool.h. */
#include "ingest/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/flag.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ingest/child.h"

enum { POLL_MS = 100, READ_BYTES = 64 << 10, PATH_BYTES = 4096, ARGS_MAX = 32, SAID_BYTES = 8192 };

/* The program's absolute path. */
static int find_program(const char *name, char out[PATH_BYTES], struct err *e)
{
	const char *path = getenv("PATH");

	if (strchr(name, '/')) {
		if (access(name, X_OK) != 0)
			return err_sys(e, "%s", name);
		return realpath(name, out) ? OK : err_sys(e, "%s", name);
	}
	if (!path || !*path)
		path = "/usr/local/bin:/usr/bin:/bin";
	while (*path) {
		size_t n = strcspn(path, ":");

		if (n > 0 && path[0] == '/' && snprintf(out, PATH_BYTES, "%.*s/%s", (int)n, path, name) < PATH_BYTES
			&& access(out, X_OK) == 0)
			return OK;
		path += n + (path[n] == ':');
	}
	return err_set(e, E_NOT_FOUND, "%s is not installed", name);
}

/* A memory file that holds the bytes, read from its start. */
static int input_make(const void *data, size_t len, int *out, struct err *e)
{
	int fd = memfd_create("footnote", MFD_CLOEXEC);
	const char *at = data;

	if (fd < 0)
		return err_sys(e, "memory file");
	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int rc = err_sys(e, "memory file");

			close(fd);
			return rc;
		}
		at += n;
		len -= (size_t)n;
	}
	lseek(fd, 0, SEEK_SET);
	*out = fd;
	return OK;
}

/* The line worth showing: the first that speaks of an error, else the first. */
static void words_choose(struct tool_result *r, const char *said)
{
	const char *line = strcasestr(said, "error");
	size_t n;

	while (line && line > said && line[-1] != '\n')
		line--;
	line = line ? line : said + strspn(said, " \r\n");
	n = strcspn(line, "\n");
	if (n >= sizeof r->words)
		n = utf8_floor(line, n, sizeof r->words - 1);
	for (size_t i = 0; i < n; i++)
		r->words[i] = (unsigned char)line[i] < 0x20 || line[i] == 0x7f ? ' ' : line[i];
	while (n > 0 && r->words[n - 1] == ' ')
		n--;
	r->words[n] = 0;
	if (!utf8_valid(r->words, n))
		for (size_t i = 0; i < n; i++)
			if ((unsigned char)r->words[i] >= 0x80)
				r->words[i] = '?';
}

/* Reads what one pipe has. OK, or E_LIMIT, E_MEMORY of out; *open: 0 when it ended. What does not fit into `said` is
 * dropped. */
static int drain(int fd, struct buf *out, int is_said, int *open, char *part, struct err *e)
{
	ssize_t n = read(fd, part, READ_BYTES);
	size_t room = out->max - out->len;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return OK;
	*open = n > 0;
	if (n <= 0)
		return OK;
	switch (buf_put(out, part, is_said && (size_t)n > room ? room : (size_t)n)) {
	case OK:
		return OK;
	case E_LIMIT:
		return err_set(e, E_LIMIT, "its output is longer than %zu bytes", out->max);
	default:
		return err_set(e, E_MEMORY, "output of %zu bytes: out of memory", out->len);
	}
}

static int gather(struct child *c, const struct tool_limits *l, struct buf *out, struct buf *said, struct err *e)
{
	uint64_t until = clock_us() + (uint64_t)l->seconds * 1000000;
	char *part = mem_alloc(READ_BYTES);
	int open[2] = { 1, 1 }, rc = part ? OK : err_set(e, E_MEMORY, "tool: out of memory");

	while (rc == OK && (open[0] || open[1])) {
		struct pollfd p[2] = { { open[0] ? c->out : -1, POLLIN, 0 }, { open[1] ? c->err : -1, POLLIN, 0 } };

		if (flag_is(l->cancel))
			rc = err_set(e, E_CANCELLED, "cancelled");
		else if (clock_us() >= until)
			rc = err_set(e, E_LIMIT, "it took longer than %d s", l->seconds);
		else if (poll(p, 2, POLL_MS) > 0) {
			if (p[0].revents)
				rc = drain(c->out, out, 0, &open[0], part, e);
			if (rc == OK && p[1].revents)
				rc = drain(c->err, said, 1, &open[1], part, e);
		}
	}
	mem_free(part);
	return rc;
}

/* Both outputs are closed: it is about to end. */
static void wait_end(struct child *c, const struct tool_limits *l)
{
	uint64_t until = clock_us() + (uint64_t)l->seconds * 1000000;
	siginfo_t info;

	while (clock_us() < until && !flag_is(l->cancel)) {
		memset(&info, 0, sizeof info);
		if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0)
			break;
		poll(NULL, 0, 1);
	}
}

static int speaks_of_memory(const char *said)
{
	return strcasestr(said, "out of memory") || strcasestr(said, "allocate memory") || strstr(said, "bad_alloc");
}

int tool_run(const char *const *argv, const void *in, size_t in_len, const struct tool_limits *l, struct buf *out,
	struct tool_result *r, struct err *e)
{
	struct child_limits limits = { l->memory_bytes, l->seconds };
	const char *args[ARGS_MAX];
	struct child c = { 0, -1, -1, -1 };
	struct child_fate fate;
	struct buf said;
	char program[PATH_BYTES];
	int fd = -1, rc;
	size_t n = 0;

	memset(r, 0, sizeof *r);
	rc = find_program(argv[0], program, e);
	for (; rc == OK && argv[n] && n < ARGS_MAX - 1; n++)
		args[n] = n ? argv[n] : program;
	if (rc == OK && argv[n])
		rc = err_set(e, E_USAGE, "%s: more than %d arguments", argv[0], ARGS_MAX - 2);
	if (rc == OK)
		rc = input_make(in, in_len, &fd, e);
	args[n] = NULL;
	if (rc == OK)
		rc = child_start(&c, CHILD_TOOL, &limits, args, fd, e);
	if (fd >= 0)
		close(fd);
	if (rc != OK)
		return rc;
	fault_point("ingest.tool");
	buf_init(&said, SAID_BYTES);
	rc = gather(&c, l, out, &said, e);
	if (rc == OK)
		wait_end(&c, l);
	child_end(&c, &fate);
	words_choose(r, buf_cstr(&said));
	r->no_memory = speaks_of_memory(buf_cstr(&said));
	buf_clear(&said);
	r->signal = fate.signal;
	r->code = fate.signal ? -1 : fate.code;
	if (rc == OK && fate.signal == SIGXCPU)
		rc = err_set(e, E_LIMIT, "it took longer than %d s", l->seconds);
	if (rc == OK && fate.code == CHILD_EXIT_EXEC)
		rc = err_set(e, E_IO, "%s could not be started: %s", argv[0], r->words);
	return rc;
}
