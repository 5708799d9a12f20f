/* sandbox.h: what a child process that reads foreign bytes may still do: limits of the system on memory, time and
 * output, seccomp-bpf (libseccomp) and Landlock (linux/landlock.h, ABI 1 to 7, raw system calls). Everything here acts
 * on the calling process for good; call it in a child with one thread. A kernel without one of the two goes on with
 * the other. */
#ifndef INGEST_SANDBOX_H
#define INGEST_SANDBOX_H
#include <stddef.h>
#include <stdint.h>

struct sandbox_state {
	int seccomp;            /* 1: filters are there */
	int landlock;           /* its ABI; 0: not in this kernel, or switched off */
};
/* What this kernel has. Changes nothing. Any process, any thread. */
void sandbox_probe(struct sandbox_state *s);

/* Limits of the system. memory_bytes: address space beyond what the process has now when `more` is set, in all when it is
 * not; 0: none. cpu_seconds: 0: none. No core files, no growing of files, at most files_max descriptors, not readable
 * by other processes of the user. */
void sandbox_limits(uint64_t memory_bytes, int more, int cpu_seconds, int files_max);

/* For a parser: an allowlist of system calls around memory, time and the descriptors that are open. With Landlock the
 * system's libraries and data may be opened to be read (character sets load lazily); without it nothing may be opened.
 * *s: what is in force afterwards. */
void sandbox_parser(struct sandbox_state *s);
/* For another program that is about to be executed: reads and executes what lies in the system's folders and the folder of
 * the program, writes no file, starts no process, has no network, looks into no process. The exec itself is allowed. */
void sandbox_tool(const char *program, struct sandbox_state *s);

#endif
