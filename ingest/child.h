/* child.h: the program run again as a child of itself, by posix_spawn of /proc/self/exe: nothing of a threaded process
 * is forked. A child has an environment of its own, no descriptor but 0 to 2, limits from its start, its own process
 * group (Ctrl-C is its parent's affair), and dies with the thread that started it. */
#ifndef INGEST_CHILD_H
#define INGEST_CHILD_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"

struct child {
	pid_t pid;              /* 0: none runs */
	int in, out, err;       /* our ends, non-blocking; -1: none */
};
struct child_limits {
	uint64_t memory_bytes;
	int cpu_seconds;
};
enum child_role { CHILD_PARSER, CHILD_TOOL };
/* argv: for a tool, what it executes, argv[0] an absolute path; else NULL. stdin_fd: -1: a pipe, c->in; else it becomes
 * the child's standard input (borrowed). A parser's standard error is /dev/null, a tool's a pipe. The thread must live
 * as long as the child. E_IO, E_MEMORY. */
int child_start(struct child *c, enum child_role role, const struct child_limits *l, const char *const *argv, int stdin_fd,
	struct err *e);

struct child_fate { int signal, code; uint64_t peak_bytes; }; /* signal 0: it ended with code; peak: resident memory */
/* Ends it at once when it still runs, closes our ends. *f may be NULL. */
void child_end(struct child *c, struct child_fate *f);
/* 1 while it runs; when it has ended by itself, it is cleared away. */
int child_lives(struct child *c);

/* Exactly len bytes. E_LIMIT: the deadline (clock_us) passed; E_CANCELLED: *cancel was set; E_IO: the child is gone. */
struct child_wait { uint64_t deadline_us; const volatile int *cancel; };
int child_write(struct child *c, const void *data, size_t len, const struct child_wait *w, struct err *e);
int child_read(struct child *c, void *data, size_t len, const struct child_wait *w, struct err *e);

/* ---- in the child ---- */

enum { CHILD_EXIT_START = 125, CHILD_EXIT_EXEC = 126 };  /* it could not begin; the tool could not be executed */
/* For the top of main(): the exit code when this process was started by child_start, else -1. */
int child_main(int argc, char **argv);
/* Reads requests from 0, writes replies to 1, until 0 ends (parser_child.c). */
int parser_child_run(void);

#endif
