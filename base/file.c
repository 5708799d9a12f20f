/* file.c: owns whole-file reads and writes, mappings, folders and paths. A read believes read(2), not the size that
 * stat told, so files that grow or shrink meanwhile come out as they were when the end was met. An atomic write goes
 * to a temporary file in the same folder, is synced, renamed over the target, and the folder is synced: after a crash
 * the path holds the old bytes or the new ones. Threads: no state but a counter for temporary names.
 * Failure: the path and the system's reason; nothing half-written stays behind. */
#include "base/file.h"
#include "base/fault.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, TEMP_TRIES = 100 };

static int buf_err(struct err *e, int rc, const struct buf *out, const char *path)
{
	if (rc == E_LIMIT) return err_set(e, rc, "%s: larger than the limit of %zu bytes", path, out->max);
	return err_set(e, rc, "%s: out of memory", path);
}

/* Appends what fd still gives. A full buffer is not grown before one more byte has shown that there is more: the size
 * that stat told is usually right, and then nothing is allocated in vain. */
static int fd_read_all(int fd, const char *path, struct buf *out, struct err *e)
{
	for (;;) {
		size_t free_n = out->cap > out->len ? out->cap - out->len - 1 : 0, room = out->max - out->len;
		char extra;
		ssize_t n = read(fd, free_n ? out->data + out->len : &extra, free_n ? free_n : 1);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "read %s", path);
		if (n == 0) return OK;
		if (free_n) {
			out->len += (size_t)n;
			out->data[out->len] = 0;
		} else if (room == 0) {
			return buf_err(e, E_LIMIT, out, path);
		} else {
			buf_reserve(out, room < READ_BYTES ? room : READ_BYTES);
			if (buf_putc(out, extra)) return buf_err(e, buf_failed(out), out, path);
		}
	}
}

/* Where an open file lies now. */
static int fd_is_within(int fd, const char *path, const char *const *within, size_t n, struct err *e)
{
	char link[40], real[PATH_MAX];
	ssize_t len;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, real, sizeof real);
	if (len < 0) return err_sys(e, "find out where %s lies", path);
	if ((size_t)len == sizeof real) return err_set(e, E_LIMIT, "%s: its real path is too long", path);
	real[len] = 0;
	return path_is_within(real, within, n) ? OK : err_set(e, E_DENIED, "%s: leads out of the folders it may lie in", path);
}

int file_read(const char *path, struct buf *out, struct err *e)
{
	return file_read_within(path, NULL, 0, out, e);
}

int file_read_within(const char *path, const char *const *within, size_t n, struct buf *out, struct err *e)
{
	size_t before = out->len;
	struct stat st;
	int fd = -1, rc;
	if (out->failed) return buf_err(e, out->failed, out, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return err_sys(e, "open %s", path);
	if (n && (rc = fd_is_within(fd, path, within, n, e))) goto out;
	if (fstat(fd, &st) != 0) {
		rc = err_sys(e, "stat %s", path);
		goto out;
	}
	if (S_ISDIR(st.st_mode)) {
		rc = err_set(e, E_IO, "%s: is a folder, not a file", path);
		goto out;
	}
	if (S_ISREG(st.st_mode) && st.st_size > 0) {
		if ((uint64_t)st.st_size > out->max - out->len) {
			rc = buf_err(e, E_LIMIT, out, path);
			goto out;
		}
		if ((rc = buf_reserve(out, (size_t)st.st_size)) != OK) {
			buf_err(e, rc, out, path);
			goto out;
		}
	}
	rc = fd_read_all(fd, path, out, e);
out:
	close(fd);
	if (rc && out->data) {
		out->len = before;
		out->data[before] = 0;
	}
	return rc;
}

int file_exists(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0;
}

static int fd_write_all(int fd, const char *path, const uint8_t *data, size_t len, struct err *e)
{
	while (len > 0) {
		ssize_t n = fault_fails("file.write") ? (errno = ENOSPC, -1) : write(fd, data, len);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "write %s", path);
		data += n;
		len -= (size_t)n;
	}
	return OK;
}

int path_dir(const char *path, char *out, size_t size)
{
	size_t n = (size_t)(path_base(path) - path);
	if (n == 0) return (size_t)snprintf(out, size, ".") < size;
	while (n > 1 && path[n - 1] == '/') n--;
	return (size_t)snprintf(out, size, "%.*s", (int)n, path) < size;
}

int dir_sync(const char *dir, struct err *e)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = OK;
	if (fd < 0) return err_sys(e, "open %s", dir);
	if (fsync(fd) != 0 && errno != EINVAL) rc = err_sys(e, "sync %s", dir); /* EINVAL: a file system that cannot */
	close(fd);
	return rc;
}

/* Creates a file of a name not in use beside path, with the mode a new file has. */
static int temp_open(const char *path, char *temp, size_t size, int *fd, struct err *e)
{
	static atomic_uint serial;
	for (int i = 0; i < TEMP_TRIES; i++) {
		unsigned id = atomic_fetch_add(&serial, 1);
		if ((size_t)snprintf(temp, size, "%s.%ld-%u.tmp", path, (long)getpid(), id) >= size)
			return err_set(e, E_USAGE, "%s: path too long", path);
		*fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (*fd >= 0) return OK;
		if (errno != EEXIST) return err_sys(e, "create %s", temp);
	}
	return err_set(e, E_IO, "create %s: every temporary name is in use", temp);
}

int file_write_atomic(const char *path, const void *data, size_t len, struct err *e)
{
	char temp[PATH_MAX], dir[PATH_MAX];
	int fd = -1, rc;
	if (!path_dir(path, dir, sizeof dir)) return err_set(e, E_USAGE, "%s: path too long", path);
	rc = temp_open(path, temp, sizeof temp, &fd, e);
	if (rc) return rc;
	rc = fd_write_all(fd, temp, data, len, e);
	if (!rc && fsync(fd) != 0) rc = err_sys(e, "sync %s", temp);
	if (close(fd) != 0 && !rc) rc = err_sys(e, "close %s", temp);
	fault_point("file.rename");
	if (!rc && rename(temp, path) != 0) rc = err_sys(e, "rename %s to %s", temp, path_base(path));
	if (rc) {
		unlink(temp);
		return rc;
	}
	return dir_sync(dir, e);
}

int mapping_open(struct mapping *m, const char *path, struct err *e)
{
	struct stat st;
	void *p;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = OK; /* O_NONBLOCK: a pipe must not hold us */
	m->data = NULL;
	m->len = 0;
	if (fd < 0) return err_sys(e, "open %s", path);
	if (fstat(fd, &st) != 0) {
		rc = err_sys(e, "stat %s", path);
	} else if (!S_ISREG(st.st_mode)) {
		rc = err_set(e, E_IO, "%s: is a %s, not a regular file", path,
			S_ISDIR(st.st_mode) ? "folder" : "device or pipe");
	} else if (st.st_size > 0) {
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED) {
			rc = err_sys(e, "map %s", path);
		} else {
			m->data = p;
			m->len = (size_t)st.st_size;
		}
	}
	close(fd);
	return rc;
}

void mapping_close(struct mapping *m)
{
	if (m->data) munmap((void *)(uintptr_t)m->data, m->len);
	m->data = NULL;
	m->len = 0;
}

/* One level; what is there already must be a folder. */
static int dir_make_one(const char *path, struct err *e)
{
	struct stat st;
	if (mkdir(path, 0777) == 0) return OK;
	if (errno == EEXIST || errno == EROFS || errno == EACCES || errno == EPERM) {
		int number = errno;
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return OK;
		errno = number;
		if (number == EEXIST) return err_set(e, E_IO, "make folder %s: a file is in its place", path);
	}
	return err_sys(e, "make folder %s", path);
}

int dir_make(const char *path, struct err *e)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	if (len == 0) return err_set(e, E_USAGE, "make folder: empty path");
	if (len >= sizeof part) return err_set(e, E_USAGE, "make folder %s: path too long", path);
	for (size_t i = 1; i <= len; i++) {
		int rc;
		if (path[i] != '/' && path[i] != 0) continue;
		if (path[i - 1] == '/') continue;
		memcpy(part, path, i);
		part[i] = 0;
		rc = dir_make_one(part, e);
		if (rc) return rc;
	}
	return OK;
}

int path_join(struct buf *out, const char *a, const char *b)
{
	size_t n = strlen(a);
	buf_reset(out);
	while (n > 1 && a[n - 1] == '/') n--;
	if (n > 0) while (*b == '/') b++;
	buf_put(out, a, n);
	if (n > 0 && a[n - 1] != '/' && *b) buf_putc(out, '/');
	buf_puts(out, b);
	return buf_failed(out);
}

/* Appends the parts of path to out, which holds "" or "/a/b" without a slash at its end. */
static void path_fold(struct buf *out, const char *path)
{
	while (*path) {
		size_t n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			while (out->len > 0 && out->data[--out->len] != '/') continue;
			if (out->data) out->data[out->len] = 0;
		} else if (n > 0 && !(n == 1 && path[0] == '.')) {
			buf_putc(out, '/');
			buf_put(out, path, n);
		}
		path += n;
		while (*path == '/') path++;
	}
}

int path_absolute(struct buf *out, const char *cwd, const char *path, struct err *e)
{
	char here[PATH_MAX];
	int rc;
	buf_reset(out);
	if (!*path) return err_set(e, E_USAGE, "empty path");
	if (*path != '/' && !cwd) {
		cwd = getcwd(here, sizeof here);
		if (!cwd) return err_sys(e, "%s: the working folder", path);
	}
	if (*path != '/') {
		if (*cwd != '/') return err_set(e, E_USAGE, "%s: the working folder %s is not absolute", path, cwd);
		path_fold(out, cwd);
	}
	path_fold(out, path);
	if (!buf_failed(out) && out->len == 0) buf_putc(out, '/');
	rc = buf_failed(out);
	return rc ? buf_err(e, rc, out, path) : OK;
}

/* Is this what follows a path in a sentence? whole: the text begins with the path and may go on as a longer one. */
static int ends_name(const char *s, int whole)
{
	if (!*s || *s == '#' || *s == ':') return 1;
	if (*s == '.' && (s[1] == ' ' || !s[1])) return !whole;
	return !whole && strchr(" ,;)]>\"'", *s) != NULL;
}

int path_is_named(const char *text, const char *path)
{
	size_t n = strlen(path);
	for (const char *at = text; n && (at = strstr(at, path)); at++)
		if ((at == text || strchr(" ([<\"'", at[-1])) && ends_name(at + n, at == text)) return 1;
	return 0;
}

int path_is_within(const char *path, const char *const *roots, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strcmp(roots[i], "/") ? strlen(roots[i]) : 0;
		if (!strncmp(path, roots[i], len) && (path[len] == '/' || !path[len])) return 1;
	}
	return 0;
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

const char *path_ext(const char *path)
{
	const char *base = path_base(path), *dot = strrchr(base, '.');
	return dot ? dot + 1 : base + strlen(base);
}
