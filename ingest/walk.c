/* walk.c: owns the listing of folders.
 *
 * A folder's names are read whole, sorted and visited in order, so that a walk is the same on every machine. What a
 * link leads to is put off until everything that is not a link is known, in a first-in first-out list that may grow:
 * so the real name of a file wins over a link to it, and with the set of seen (device, inode) pairs no loop can form.
 * Hard links are names in their own right. Where links must not lead is asked of the real path; that a name was not
 * turned into a link since is for who opens the file (file_read_within). Recursion goes over folder depth, which depth_max bounds.
 * Threads: one walk, one thread. Failure: memory and cancel end the walk; a folder or file that cannot be read becomes
 * an entry with its reason. */
#include "ingest/walk.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/flag.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "index/index.h"

struct id { uint64_t dev, ino; };

struct later { char *path; const char *root; size_t root_i; int depth; };

struct walker {
	struct walk *w;
	const struct walk_options *o;
	struct id *seen; size_t seen_n, seen_cap;       /* open addressing, ino 0 and dev 0: free */
	struct later *later; size_t later_n, later_cap;
	struct err *e;
};

/* ---- seen files and folders ---- */

static size_t seen_slot(const struct id *set, size_t cap, struct id k)
{
	size_t i = (size_t)((k.ino * 0x9E3779B97F4A7C15u ^ k.dev * 0xC2B2AE3D27D4EB4Fu) >> 17) & (cap - 1);

	while ((set[i].ino || set[i].dev) && (set[i].ino != k.ino || set[i].dev != k.dev))
		i = (i + 1) & (cap - 1);
	return i;
}

/* 1: already seen, 0: new and now in the set, -1: out of memory. */
static int seen_add(struct walker *k, const struct stat *st)
{
	struct id id = { (uint64_t)st->st_dev, (uint64_t)st->st_ino };
	size_t i;

	if ((k->seen_n + 1) * 2 > k->seen_cap) {
		size_t cap = k->seen_cap ? k->seen_cap * 2 : 1024;
		struct id *more = mem_calloc(cap, sizeof *more);

		if (!more)
			return -1;
		for (i = 0; i < k->seen_cap; i++)
			if (k->seen[i].ino || k->seen[i].dev)
				more[seen_slot(more, cap, k->seen[i])] = k->seen[i];
		mem_free(k->seen);
		k->seen = more;
		k->seen_cap = cap;
	}
	i = seen_slot(k->seen, k->seen_cap, id);
	if (k->seen[i].ino || k->seen[i].dev)
		return 1;
	k->seen[i] = id;
	k->seen_n++;
	return 0;
}

/* ---- entries ---- */

static int no_memory(struct walker *k)
{
	return err_set(k->e, E_MEMORY, "walk of %zu files: out of memory", k->w->n);
}

static const char *source_of(struct arena *a, const char *path)
{
	size_t len = strlen(path), n = 0, i = 0;
	char *out;

	if (utf8_valid(path, len))
		return path;
	out = arena_alloc(a, len * 3 + 1);
	while (out && i < len) {
		size_t was = i;

		if (utf8_next(path, len, &i) < 0)
			n += (size_t)snprintf(out + n, 4, "%%%02X", (unsigned char)path[was]);
		else
			for (; was < i; was++)
				out[n++] = path[was];
	}
	if (out)
		out[n] = 0;
	return out;
}

const char *walk_source(struct arena *a, const char *path)
{
	const char *out = source_of(a, path);

	return out == path ? arena_strdup(a, path) : out;
}

static struct walk_file *entry(struct walker *k, const char *path, const char *root)
{
	struct walk *w = k->w;
	struct walk_file *f;

	if (w->n == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 256;
		struct walk_file *more = cap < SIZE_MAX / sizeof *more ? mem_realloc(w->files, cap * sizeof *more) : NULL;

		if (!more)
			return NULL;
		w->files = more;
		w->cap = cap;
	}
	f = &w->files[w->n];
	*f = (struct walk_file){ .root = root, .reason = "" };
	f->path = arena_strdup(&w->strings, path);
	f->source = f->path ? source_of(&w->strings, f->path) : NULL;
	if (!f->source)
		return NULL;
	if (f->source != f->path)
		f->reason = "name is not valid UTF-8, its bytes are written as %XX";
	w->n++;
	return f;
}

static int entry_bad(struct walker *k, const char *path, const char *root, int verdict, const char *fmt, const char *what)
{
	struct walk_file *f = entry(k, path, root);

	if (!f)
		return no_memory(k);
	f->verdict = verdict;
	f->reason = arena_printf(&k->w->strings, fmt, what);
	return f->reason ? OK : no_memory(k);
}

static const char *kind_name(mode_t mode)
{
	return S_ISFIFO(mode) ? "fifo" : S_ISSOCK(mode) ? "socket" : S_ISCHR(mode) || S_ISBLK(mode) ? "device" : "unknown";
}

static int put_file(struct walker *k, const char *path, const char *root, const struct stat *st)
{
	struct walk_file *f;

	if (!S_ISREG(st->st_mode))
		return entry_bad(k, path, root, DOC_SKIPPED, "not a regular file (%s)", kind_name(st->st_mode));
	f = entry(k, path, root);
	if (!f)
		return no_memory(k);
	f->size = (uint64_t)st->st_size;
	f->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	return OK;
}

static int put_later(struct walker *k, const char *path, const char *root, size_t root_i, int depth)
{
	if (k->later_n == k->later_cap) {
		size_t cap = k->later_cap ? k->later_cap * 2 : 16;
		struct later *more = mem_realloc(k->later, cap * sizeof *more);

		if (!more)
			return no_memory(k);
		k->later = more;
		k->later_cap = cap;
	}
	k->later[k->later_n] = (struct later){ mem_strdup(path), root, root_i, depth };
	return k->later[k->later_n].path ? (k->later_n++, OK) : no_memory(k);
}

/* ---- folders ---- */

struct names { char **at; size_t n, cap; };

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_clear(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		mem_free(l->at[i]);
	mem_free(l->at);
}

/* The folder's names in order; hidden ones are left out. Returns errno, 0 when all is well. */
static int names_read(struct names *l, const char *path)
{
	DIR *d = opendir(path);
	struct dirent *ent;
	int why = 0;

	if (!d)
		return errno;
	while (errno = 0, (ent = readdir(d)) != NULL) {
		if (ent->d_name[0] == '.')
			continue;
		if (l->n == l->cap) {
			size_t cap = l->cap ? l->cap * 2 : 64;
			char **more = mem_realloc(l->at, cap * sizeof *more);

			if (!more) {
				why = ENOMEM;
				goto out;
			}
			l->at = more;
			l->cap = cap;
		}
		l->at[l->n] = mem_strdup(ent->d_name);
		if (!l->at[l->n]) {
			why = ENOMEM;
			goto out;
		}
		l->n++;
	}
	why = errno;
out:
	closedir(d);
	if (l->n > 0)
		qsort(l->at, l->n, sizeof *l->at, name_compare);
	return why;
}

static int walk_folder(struct walker *k, const char *path, const char *root, size_t root_i, int depth);

/* One name of a folder. */
static int visit(struct walker *k, const char *path, const char *root, size_t root_i, int depth)
{
	struct stat st;
	int seen;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? OK : entry_bad(k, path, root, DOC_FAILED, "%s", strerror(errno));
	if (S_ISLNK(st.st_mode))
		return put_later(k, path, root, root_i, depth);
	if (S_ISDIR(st.st_mode))
		return walk_folder(k, path, root, root_i, depth + 1);
	seen = seen_add(k, &st);
	return seen < 0 ? no_memory(k) : put_file(k, path, root, &st);
}

static int put_dir(struct walker *k, const char *path)
{
	struct walk *w = k->w;

	if (w->dir_n == w->dir_cap) {
		size_t cap = w->dir_cap ? w->dir_cap * 2 : 64;
		const char **more = mem_realloc(w->dirs, cap * sizeof *more);

		if (!more)
			return no_memory(k);
		w->dirs = more;
		w->dir_cap = cap;
	}
	w->dirs[w->dir_n] = arena_strdup(&w->strings, path);
	return w->dirs[w->dir_n] ? (w->dir_n++, OK) : no_memory(k);
}

static int walk_folder(struct walker *k, const char *path, const char *root, size_t root_i, int depth)
{
	struct names names = { 0 };
	struct buf child;
	struct stat st;
	int rc = OK, why, seen;

	if (flag_is(k->o->cancel))
		return err_set(k->e, E_CANCELLED, "cancelled");
	if (depth > k->o->depth_max) {
		k->w->roots[root_i].complete = 0;
		return entry_bad(k, path, root, DOC_SKIPPED, "%s", "folder deeper than ingest.depth_max");
	}
	if (stat(path, &st) == 0) {
		seen = seen_add(k, &st);
		if (seen != 0)
			return seen < 0 ? no_memory(k) : OK;
	}
	if (put_dir(k, path) != OK)
		return E_MEMORY;
	buf_init(&child, SIZE_MAX);
	why = names_read(&names, path);
	if (why != 0) {
		k->w->roots[root_i].complete = 0;
		rc = why == ENOMEM ? no_memory(k) : entry_bad(k, path, root, DOC_FAILED, "folder: %s", strerror(why));
	}
	for (size_t i = 0; i < names.n && rc == OK; i++) {
		rc = path_join(&child, path, names.at[i]);
		rc = rc != OK ? no_memory(k) : visit(k, child.data, root, root_i, depth);
	}
	names_clear(&names);
	buf_clear(&child);
	return rc;
}

/* Does the path, whose links are followed, stay in the folders it must stay in? What is not there does. */
static int leads_out(const struct walker *k, const char *path)
{
	char real[PATH_MAX];

	return k->o->within_n > 0 && realpath(path, real) && !path_is_within(real, k->o->within, k->o->within_n);
}

/* What a link leads to, when nothing else led there. A link into nowhere is a failed file. */
static int visit_link(struct walker *k, const struct later *l)
{
	struct stat st;
	int seen;

	if (leads_out(k, l->path))
		return entry_bad(k, l->path, l->root, DOC_SKIPPED, "link leads out of %s", "sources.roots");
	if (stat(l->path, &st) != 0)
		return entry_bad(k, l->path, l->root, DOC_FAILED, "link: %s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return walk_folder(k, l->path, l->root, l->root_i, l->depth + 1);
	seen = seen_add(k, &st);
	return seen < 0 ? no_memory(k) : seen ? OK : put_file(k, l->path, l->root, &st);
}

/* ---- all paths ---- */

static int walk_given(struct walker *k, const char *path)
{
	struct walk *w = k->w;
	struct stat st;

	if (leads_out(k, path))
		return entry_bad(k, path, "", DOC_FAILED, "leads out of %s", "sources.roots");
	if (stat(path, &st) != 0) {
		int rc = entry_bad(k, path, "", DOC_FAILED, "%s", strerror(errno));

		if (rc == OK)
			w->files[w->n - 1].missing = errno == ENOENT || errno == ENOTDIR;
		return rc;
	}
	if (!S_ISDIR(st.st_mode))
		return put_file(k, path, "", &st);
	w->roots[w->root_n].source = arena_strdup(&w->strings, path);
	if (w->roots[w->root_n].source)
		w->roots[w->root_n].source = source_of(&w->strings, w->roots[w->root_n].source);
	if (!w->roots[w->root_n].source)
		return no_memory(k);
	w->roots[w->root_n].complete = 1;
	w->root_n++;
	return walk_folder(k, path, w->roots[w->root_n - 1].source, w->root_n - 1, 0);
}

static int by_source(const void *a, const void *b)
{
	return strcmp(((const struct walk_file *)a)->source, ((const struct walk_file *)b)->source);
}

/* Sorts by source and leaves each source once. */
static void files_sort(struct walk *w)
{
	size_t n = 0;

	if (w->n == 0)
		return;
	qsort(w->files, w->n, sizeof *w->files, by_source);
	for (size_t i = 1; i < w->n; i++)
		if (strcmp(w->files[n].source, w->files[i].source) != 0)
			w->files[++n] = w->files[i];
		else if (!w->files[n].root[0])                          /* given itself and found in a folder: the folder's */
			w->files[n].root = w->files[i].root;
	w->n = n + 1;
}

int walk_paths(struct walk *w, const char *cwd, const char *const *paths, size_t path_n, const struct walk_options *o,
	struct err *e)
{
	struct walker k = { .w = w, .o = o, .e = e };
	struct buf path;
	struct stat st;
	int rc = OK;

	memset(w, 0, sizeof *w);
	arena_init(&w->strings, SIZE_MAX);
	buf_init(&path, SIZE_MAX);
	w->roots = mem_calloc(path_n + 1, sizeof *w->roots);
	if (!w->roots)
		rc = no_memory(&k);
	if (o->except && stat(o->except, &st) == 0 && seen_add(&k, &st) < 0)
		rc = no_memory(&k);
	for (size_t i = 0; i < path_n && rc == OK; i++) {
		if (!paths[i] || !paths[i][0])
			rc = err_set(e, E_USAGE, "a path is empty");
		else
			rc = path_absolute(&path, cwd, paths[i], e);
		if (rc == OK)
			rc = walk_given(&k, path.data);
	}
	for (size_t i = 0; i < k.later_n && rc == OK; i++) {
		struct later l = k.later[i];                            /* the list may move while it grows */

		rc = visit_link(&k, &l);
	}
	if (rc == OK)
		files_sort(w);
	for (size_t i = 0; i < k.later_n; i++)
		mem_free(k.later[i].path);
	mem_free(k.later);
	mem_free(k.seen);
	buf_clear(&path);
	return rc;
}

int walk_has(const struct walk *w, const char *source)
{
	struct walk_file key = { .source = source };

	return w->n > 0 && bsearch(&key, w->files, w->n, sizeof key, by_source) != NULL;
}

void walk_clear(struct walk *w)
{
	mem_free(w->files);
	mem_free(w->roots);
	mem_free(w->dirs);
	arena_clear(&w->strings);
	w->files = NULL;
	w->roots = NULL;
	w->dirs = NULL;
	w->n = w->root_n = w->dir_n = 0;
}
