/* tool.h: PUBLIC. Programs of the distribution that read foreign files (pdftotext, pdftoppm), each run in a process of
 * its own: the file's bytes on its standard input, its standard output gathered, limits and a sandbox around it
 * (sandbox.h). GPL programs are used this way and never linked. */
#ifndef INGEST_TOOL_H
#define INGEST_TOOL_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

struct tool_limits {
	uint64_t memory_bytes;          /* address space; 0: none */
	int seconds;                    /* wall and CPU */
	const volatile int *cancel;     /* may be NULL */
};
enum { TOOL_WORDS = 160 };
struct tool_result {
	int code;                       /* exit code; -1: killed by signal */
	int signal;
	int no_memory;                  /* 1: it spoke of memory running out, on whatever line */
	char words[TOOL_WORDS];         /* the first line of its standard error that speaks of an error, else the first: UTF-8 without control characters, "" when none */
};
/* argv[0] is looked up in PATH when it holds no slash. The output is appended to out, whose maximum limits it. OK when
 * the program ran to its end, whatever its exit code says: look at r. E_NOT_FOUND: no such program; E_LIMIT: over the time
 * or out's maximum; E_CANCELLED; E_MEMORY; E_IO. The calling thread waits; any thread that outlives the call. */
int tool_run(const char *const *argv, const void *in, size_t in_len, const struct tool_limits *l, struct buf *out,
	struct tool_result *r, struct err *e);

#endif
