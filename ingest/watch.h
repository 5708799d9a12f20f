/* watch.h: PUBLIC. What changes under files and folders, told by the kernel (inotify), for `ingest --watch`.
 *
 *   watch_open -> ingest everything -> watch_wait -> ingest what it names -> watch_wait …  -> watch_close
 *
 * Changes made after watch_open returned are told, so nothing falls between it and the first ingest. One thread. */
#ifndef INGEST_WATCH_H
#define INGEST_WATCH_H
#include <stddef.h>
#include "base/err.h"

struct watch;
struct watch_options {                  /* borrowed as long as the watch is open */
	const char *cwd;                /* relative paths are taken from here; NULL: the process's own */
	const char *const *paths; size_t path_n;
	int depth_max;                  /* as in ingest_limits */
	const char *except;             /* as in struct ingest */
	int settle_ms;                  /* quiet time before changes are told; at most ten times that after the first */
	int rescan_s;                   /* where not everything can be followed: everything is told to have changed this often */
};
/* E_IO (no inotify), E_CANCELLED, E_MEMORY, E_USAGE (an empty path). */
int watch_open(struct watch **out, const struct watch_options *o, const volatile int *cancel, struct err *e);
void watch_close(struct watch *w);      /* NULL is allowed */

/* Waits until something changed and is quiet again. *only: the changed files and folders as ingest_request.only wants
 * them, borrowed until the next call; NULL: look through everything (more changed than the kernel could tell, or not
 * everything can be followed). E_CANCELLED when *cancel was set, E_IO, E_MEMORY. */
int watch_wait(struct watch *w, const volatile int *cancel, const char *const **only, size_t *n, struct err *e);
size_t watch_folders(const struct watch *w);            /* how many are followed */
/* Why not everything is followed, in a sentence; "" when it is. */
const char *watch_gap(const struct watch *w);

#endif
