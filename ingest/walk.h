/* walk.h: which files there are under the given paths. Nothing is read but folders. */
#ifndef INGEST_WALK_H
#define INGEST_WALK_H
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"

struct walk_file {              /* strings in the walk's arena */
	const char *path;       /* as the system knows it */
	const char *source;     /* absolute, links unresolved, valid UTF-8: a byte that is none is written %XX */
	const char *root;       /* the given folder it was found under, "" when it was given itself */
	uint64_t size;
	int64_t mtime_ns;
	int verdict;            /* 0: a regular file to look at; else DOC_SKIPPED or DOC_FAILED with the reason */
	const char *reason;
	int missing;            /* given itself, and not there */
};
struct walk_root { const char *source; int complete; }; /* complete: every folder below could be read */

struct walk {
	struct walk_file *files; size_t n, cap;         /* by source; a source once */
	struct walk_root *roots; size_t root_n;         /* the folders among the paths */
	const char **dirs; size_t dir_n, dir_cap;       /* every folder that was read, as the system knows it */
	struct arena strings;
};

/* Lists what is under the paths, taken from cwd when relative. Files and folders that begin with "." are passed over
 * unless given themselves. Links are followed once, after all that is not a link: a file or folder already seen (device
 * and inode) is not seen again, so loops end. Folders deeper than depth_max are left out, and their root is then not
 * complete. So is `except` passed over, by whatever name it is met. With `within`, what a link or a given path leads to
 * outside of these folders is not looked at: an entry says so. E_CANCELLED when *cancel is set, E_MEMORY, E_USAGE for
 * an empty path. The caller clears w in every case. */
struct walk_options {
	int depth_max;
	const char *except;     /* a folder; may be NULL */
	const char *const *within; size_t within_n;     /* real paths; none: links may lead anywhere */
	const volatile int *cancel;     /* may be NULL */
};
int walk_paths(struct walk *w, const char *cwd, const char *const *paths, size_t path_n, const struct walk_options *o,
	struct err *e);
void walk_clear(struct walk *w);
/* The path as a source, a copy in a: bytes that are not UTF-8 are written %XX. NULL: out of memory. */
const char *walk_source(struct arena *a, const char *path);
/* 1 when source is among the files. Binary search; valid after walk_paths. */
int walk_has(const struct walk *w, const char *source);

#endif
