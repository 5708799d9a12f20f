/* watch.c: owns inotify.
 *
 * Every folder that a walk goes through gets a watch; files given by themselves, and paths that are not there yet, get
 * one on the folder they are in, for editors save by renaming over the old file. An event adds the path it is about to a
 * list, and nothing is told before the folder was quiet for a while. When folders come or go, the walk is made again
 * before the list is handed out: what was put into a new folder before it had a watch is found by the ingest that
 * follows, since the folder itself is on the list. An overflow of the kernel's queue, or a list grown too long, means
 * "everything". Folders beyond the system's limit on watches are looked through from time to time, and the gap is told.
 * Threads: one. Failure: see watch.h. */
#include "ingest/watch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/mem.h"
#include "ingest/walk.h"

enum { POLL_MS = 100, PATIENCE = 10, CHANGED_MAX = 10000, EVENT_BYTES = 64 << 10 };
#define CHANGES (IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF \
	| IN_MOVE_SELF | IN_EXCL_UNLINK | IN_ONLYDIR)

struct folder { char *path; int whole; };       /* path NULL: no such watch; whole: everything in it counts */

struct watch {
	struct watch_options o;
	int fd;
	struct folder *folders; size_t folder_cap;      /* by watch descriptor */
	size_t folder_n;
	char **given; size_t given_n;                   /* absolute paths */
	struct arena strings;                           /* of changed */
	const char **changed; size_t changed_n, changed_cap;
	int all, walk_again;
	uint64_t first_us, last_us;                     /* of the changes not told yet; 0: none */
	uint64_t told_us;                               /* everything was looked through */
	char gap[200];
};

static int no_memory(struct err *e)
{
	return err_set(e, E_MEMORY, "watch: out of memory");
}

/* ---- watches ---- */

static void folder_drop(struct watch *w, size_t wd)
{
	if (wd >= w->folder_cap || !w->folders[wd].path)
		return;
	mem_free(w->folders[wd].path);
	w->folders[wd] = (struct folder){ NULL, 0 };
	w->folder_n--;
}

static int folder_add(struct watch *w, const char *path, int whole, struct err *e)
{
	int wd = inotify_add_watch(w->fd, path, CHANGES);
	char *copy;

	if (wd < 0) {
		if (errno == ENOSPC)
			snprintf(w->gap, sizeof w->gap, "more folders than fs.inotify.max_user_watches allows: all are looked through every %d s",
				w->o.rescan_s);
		else if (errno == ENOMEM)
			return no_memory(e);
		else if (errno != ENOENT && errno != ENOTDIR && !w->gap[0])
			snprintf(w->gap, sizeof w->gap, "not every folder can be followed (%s): all are looked through every %d s",
				strerror(errno), w->o.rescan_s);
		return OK;
	}
	if ((size_t)wd >= w->folder_cap) {
		size_t cap = (size_t)wd * 2 + 64;
		struct folder *more = mem_realloc(w->folders, cap * sizeof *more);

		if (!more)
			return no_memory(e);
		memset(more + w->folder_cap, 0, (cap - w->folder_cap) * sizeof *more);
		w->folders = more;
		w->folder_cap = cap;
	}
	copy = mem_strdup(path);
	if (!copy)
		return no_memory(e);
	whole |= w->folders[wd].path ? w->folders[wd].whole : 0;
	folder_drop(w, (size_t)wd);                     /* the same folder under a new name */
	w->folders[wd] = (struct folder){ copy, whole };
	w->folder_n++;
	return OK;
}

/* The folder that a path is in, which may not be there either. */
static int parent_add(struct watch *w, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char *parent = mem_strndup(path, slash && slash > path ? (size_t)(slash - path) : 1);
	struct stat st;
	int rc;

	if (!parent)
		return no_memory(e);
	if (stat(parent, &st) != 0 && !w->gap[0])
		snprintf(w->gap, sizeof w->gap, "the folder of %.80s is not there: it is looked for every %d s", path, w->o.rescan_s);
	rc = folder_add(w, parent, 0, e);
	mem_free(parent);
	return rc;
}

/* Walks and watches whatever is there now. */
static int look(struct watch *w, const volatile int *cancel, struct err *e)
{
	struct walk walk;
	struct stat st;
	int rc = walk_paths(&walk, w->o.cwd, w->o.paths, w->o.path_n,
		&(struct walk_options){ .depth_max = w->o.depth_max, .except = w->o.except, .cancel = cancel }, e);

	w->gap[0] = 0;
	for (size_t i = 0; i < walk.dir_n && rc == OK; i++)
		rc = folder_add(w, walk.dirs[i], 1, e);
	for (size_t i = 0; i < w->given_n && rc == OK; i++)
		if (stat(w->given[i], &st) != 0 || !S_ISDIR(st.st_mode))
			rc = parent_add(w, w->given[i], e);
	walk_clear(&walk);
	return rc;
}

/* ---- events ---- */

static int is_given(const struct watch *w, const char *path)
{
	for (size_t i = 0; i < w->given_n; i++)
		if (strcmp(w->given[i], path) == 0)
			return 1;
	return 0;
}

static int changed_add(struct watch *w, const char *path, struct err *e)
{
	uint64_t now = clock_us();

	w->first_us = w->first_us ? w->first_us : now;
	w->last_us = now;
	if (w->all)
		return OK;
	if (w->changed_n == CHANGED_MAX) {
		w->all = 1;
		return OK;
	}
	if (w->changed_n > 0 && strcmp(w->changed[w->changed_n - 1], path) == 0)
		return OK;                              /* a file that grows */
	if (w->changed_n == w->changed_cap) {
		size_t cap = w->changed_cap ? w->changed_cap * 2 : 64;
		const char **more = mem_realloc(w->changed, cap * sizeof *more);

		if (!more)
			return no_memory(e);
		w->changed = more;
		w->changed_cap = cap;
	}
	w->changed[w->changed_n] = walk_source(&w->strings, path);
	return w->changed[w->changed_n] ? (w->changed_n++, OK) : no_memory(e);
}

/* A folder was moved or deleted: what is known below its old name is wrong. */
static void forget_below(struct watch *w, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < w->folder_cap; i++)
		if (w->folders[i].path && strncmp(w->folders[i].path, path, len) == 0
			&& (w->folders[i].path[len] == '/' || w->folders[i].path[len] == 0)) {
			inotify_rm_watch(w->fd, (int)i);
			folder_drop(w, i);
		}
}

static int on_event(struct watch *w, const struct inotify_event *ev, struct err *e)
{
	struct folder *f = ev->wd >= 0 && (size_t)ev->wd < w->folder_cap ? &w->folders[ev->wd] : NULL;
	struct buf path;
	int rc = OK;

	if (ev->mask & IN_Q_OVERFLOW) {
		w->all = w->walk_again = 1;
		return changed_add(w, "", e);
	}
	if (!f || !f->path)
		return OK;
	buf_init(&path, SIZE_MAX);
	if (ev->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) {
		if (buf_puts(&path, f->path) != OK)
			rc = no_memory(e);
		else if (is_given(w, path.data))
			rc = changed_add(w, path.data, e);
		w->walk_again = 1;
		if (ev->mask & IN_MOVE_SELF && path.data)
			forget_below(w, path.data);
		else if (ev->mask & IN_IGNORED)
			folder_drop(w, (size_t)ev->wd);
	} else if (ev->len > 0) {
		if (path_join(&path, f->path, ev->name) != OK)
			rc = no_memory(e);
		else if (is_given(w, path.data) || (f->whole && ev->name[0] != '.')) {
			int comes_or_goes = ev->mask & (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB);

			if (ev->mask & IN_ISDIR && ev->mask & IN_MOVED_FROM)
				forget_below(w, path.data);
			if (comes_or_goes && (ev->mask & IN_ISDIR || ev->mask & IN_CREATE || is_given(w, path.data)))
				w->walk_again = 1;              /* a new name may also be a link to a folder */
			rc = changed_add(w, path.data, e);
		}
	}
	buf_clear(&path);
	return rc;
}

static int read_events(struct watch *w, struct err *e)
{
	char *room = mem_aligned(16, EVENT_BYTES);
	ssize_t n = room ? read(w->fd, room, EVENT_BYTES) : 0;
	int rc = room ? OK : no_memory(e);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		rc = err_sys(e, "inotify");
	for (ssize_t at = 0; rc == OK && at + (ssize_t)sizeof(struct inotify_event) <= n; ) {
		const struct inotify_event *ev = (const struct inotify_event *)(const void *)(room + at);

		at += (ssize_t)(sizeof *ev + ev->len);
		if (at > n)
			break;
		rc = on_event(w, ev, e);
	}
	mem_free(room);
	return rc;
}

/* ---- waiting ---- */

static int is_due(const struct watch *w, uint64_t now)
{
	uint64_t settle = (uint64_t)w->o.settle_ms * 1000;

	if (w->first_us && (now - w->last_us >= settle || now - w->first_us >= settle * PATIENCE))
		return 1;
	return w->gap[0] && now - w->told_us >= (uint64_t)w->o.rescan_s * 1000000;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void changed_sort(struct watch *w)
{
	size_t n = 0;

	if (w->changed_n == 0)
		return;
	qsort(w->changed, w->changed_n, sizeof *w->changed, compare);
	for (size_t i = 1; i < w->changed_n; i++)
		if (strcmp(w->changed[n], w->changed[i]) != 0)
			w->changed[++n] = w->changed[i];
	w->changed_n = n + 1;
}

int watch_wait(struct watch *w, const volatile int *cancel, const char *const **only, size_t *n, struct err *e)
{
	int rc = OK, everything;

	if (!w->first_us) {                             /* what was handed out is done with */
		arena_clear(&w->strings);
		w->changed_n = 0;
	}
	while (rc == OK && !is_due(w, clock_us())) {
		struct pollfd p = { .fd = w->fd, .events = POLLIN };
		int wait = w->o.settle_ms < POLL_MS ? w->o.settle_ms : POLL_MS;

		if (flag_is(cancel))
			return err_set(e, E_CANCELLED, "cancelled");
		if (poll(&p, 1, wait) > 0)
			rc = read_events(w, e);
	}
	if (rc != OK)
		return rc;
	everything = w->all || !w->first_us;
	if (w->walk_again || everything)
		rc = look(w, cancel, e);
	if (everything)
		w->told_us = clock_us();
	changed_sort(w);
	*only = everything ? NULL : w->changed;
	*n = everything ? 0 : w->changed_n;
	w->all = w->walk_again = 0;
	w->first_us = w->last_us = 0;
	return rc;
}

size_t watch_folders(const struct watch *w)
{
	return w->folder_n;
}

const char *watch_gap(const struct watch *w)
{
	return w->gap;
}

/* ---- opening ---- */

static int given_all(struct watch *w, struct err *e)
{
	struct buf path;
	int rc = OK;

	buf_init(&path, SIZE_MAX);
	w->given = mem_calloc(w->o.path_n + 1, sizeof *w->given);
	if (!w->given)
		rc = no_memory(e);
	for (size_t i = 0; i < w->o.path_n && rc == OK; i++) {
		rc = w->o.paths[i][0] ? path_absolute(&path, w->o.cwd, w->o.paths[i], e) : err_set(e, E_USAGE, "a path is empty");
		if (rc == OK && !(w->given[w->given_n] = mem_strdup(path.data)))
			rc = no_memory(e);
		w->given_n += rc == OK;
	}
	buf_clear(&path);
	return rc;
}

int watch_open(struct watch **out, const struct watch_options *o, const volatile int *cancel, struct err *e)
{
	struct watch *w = mem_calloc(1, sizeof *w);
	int rc;

	if (!w)
		return no_memory(e);
	w->o = *o;
	arena_init(&w->strings, SIZE_MAX);
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	rc = w->fd < 0 ? err_sys(e, "inotify") : given_all(w, e);
	if (rc == OK)
		rc = look(w, cancel, e);
	w->told_us = clock_us();
	if (rc != OK) {
		watch_close(w);
		return rc;
	}
	*out = w;
	return OK;
}

void watch_close(struct watch *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	for (size_t i = 0; i < w->folder_cap; i++)
		mem_free(w->folders[i].path);
	for (size_t i = 0; i < w->given_n; i++)
		mem_free(w->given[i]);
	mem_free(w->folders);
	mem_free(w->given);
	mem_free(w->changed);
	arena_clear(&w->strings);
	mem_free(w);
}
