/* failwrite.c: owns stand-ins for the calls that change files: write, writev, pwrite, pwritev, fsync, fdatasync, msync,
 * ftruncate, posix_fallocate, rename, renameat2, mkdir, and open for writing.
 *
 * Method: a stand-in has the name of the C library's function, so that the linker gives it to the program and to every
 * library it loads; it counts the calls on files under the folder and passes them on with dlsym(RTLD_NEXT), but for the one
 * that is to fail. A file is known by /proc/self/fd; a mapping by the folder being in use at all.
 * A disk that is full stays able to rename, to sync and to write over blocks that are there: FAIL_FULL fails only writes
 * past the end of a file, lengthening, and new files.
 * Threads: any; the count is atomic. Failure: a name that can't be resolved ends the program. */
#include "tests/torture/failwrite.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long count, failed, target;
static atomic_int mode;
static const char *_Atomic root;

enum outcome { PASS, HALF, HALF_THEN_FAIL, FAIL };

const char *fail_mode_name(enum fail_mode m)
{
	static const char *const names[FAIL_MODES] = { "eio", "nospc", "short", "torn", "full", "dead" };
	return m < FAIL_MODES ? names[m] : "?";
}

void failwrite_set(long n, enum fail_mode m, const char *folder)
{
	atomic_store(&target, n);
	atomic_store(&mode, m);
	atomic_store(&count, 0);
	atomic_store(&failed, 0);
	atomic_store(&root, folder);
}

long failwrite_count(void) { return atomic_load(&count); }
long failwrite_failed(void) { return atomic_load(&failed); }

static int under_root(const char *path)
{
	const char *r = atomic_load(&root);
	return r && strncmp(path, r, strlen(r)) == 0;
}

static int fd_under_root(int fd)
{
	char link[40], path[4096];
	ssize_t n;
	if (!atomic_load(&root)) return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n < 0) return 0;
	path[n] = 0;
	return under_root(path);
}

/* What is to become of the next call; grows: it wants blocks that are not there yet. */
static enum outcome step(int grows)
{
	long n = atomic_fetch_add(&count, 1) + 1, at = atomic_load(&target);
	int m = atomic_load(&mode), error = m == FAIL_NOSPC || m == FAIL_FULL ? ENOSPC : EIO;
	if (at == 0 || n < at || (n > at && m != FAIL_FULL && m != FAIL_DEAD)) return PASS;
	if (m == FAIL_FULL && !grows) return PASS;
	atomic_fetch_add(&failed, 1);
	errno = error;
	return m == FAIL_SHORT ? HALF : m == FAIL_TORN ? HALF_THEN_FAIL : FAIL;
}

static int grows_past(int fd, off_t end)
{
	struct stat st;
	return fstat(fd, &st) == 0 && end > st.st_size;
}

static void *real(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);
	if (!p) {
		fprintf(stderr, "failwrite: no %s\n", name);
		_exit(99);
	}
	return p;
}

#define REAL(type, name, ...) static type (*next)(__VA_ARGS__); if (!next) next = (type (*)(__VA_ARGS__))real(name)

ssize_t write(int fd, const void *data, size_t n)
{
	enum outcome o = PASS;
	REAL(ssize_t, "write", int, const void *, size_t);
	if (fd_under_root(fd)) o = step(grows_past(fd, lseek(fd, 0, SEEK_CUR) + (off_t)n));
	if (o == FAIL) return -1;
	if (o == PASS) return next(fd, data, n);
	if (n > 1 && next(fd, data, n / 2) < 0) return -1;
	return o == HALF && n > 1 ? (ssize_t)(n / 2) : (errno = EIO, -1);
}

static ssize_t pwrite_any(const char *name, int fd, const void *data, size_t n, off_t at)
{
	enum outcome o = PASS;
	REAL(ssize_t, name, int, const void *, size_t, off_t);
	if (fd_under_root(fd)) o = step(grows_past(fd, at + (off_t)n));
	if (o == FAIL) return -1;
	if (o == PASS) return next(fd, data, n, at);
	if (n > 1 && next(fd, data, n / 2, at) < 0) return -1;
	return o == HALF && n > 1 ? (ssize_t)(n / 2) : (errno = EIO, -1);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return pwrite_any("pwrite64", fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) { return pwrite_any("pwrite64", fd, data, n, at); }

static size_t iov_bytes(const struct iovec *v, int n)
{
	size_t sum = 0;
	for (int i = 0; i < n; i++) sum += v[i].iov_len;
	return sum;
}

/* Half of a vector is its first half of buffers, or half of the only one. */
static ssize_t pwritev_any(int fd, const struct iovec *v, int n, off_t at)
{
	struct iovec half = n ? v[0] : (struct iovec){ NULL, 0 };
	enum outcome o = PASS;
	ssize_t put;
	REAL(ssize_t, "pwritev64", int, const struct iovec *, int, off_t);
	if (fd_under_root(fd)) o = step(grows_past(fd, at + (off_t)iov_bytes(v, n)));
	if (o == FAIL) return -1;
	if (o == PASS) return next(fd, v, n, at);
	half.iov_len /= 2;
	put = n > 1 ? next(fd, v, n / 2, at) : next(fd, &half, 1, at);
	return put < 0 || o == HALF ? put : (errno = EIO, -1);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) { return pwritev_any(fd, v, n, at); }
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at) { return pwritev_any(fd, v, n, at); }

ssize_t writev(int fd, const struct iovec *v, int n)
{
	enum outcome o = PASS;
	REAL(ssize_t, "writev", int, const struct iovec *, int);
	if (fd_under_root(fd)) o = step(grows_past(fd, lseek(fd, 0, SEEK_CUR) + (off_t)iov_bytes(v, n)));
	if (o == PASS) return next(fd, v, n);
	if (o != FAIL && n > 1) {
		ssize_t put = next(fd, v, n / 2);
		if (put < 0 || o == HALF) return put;
	}
	errno = o == FAIL ? errno : EIO;
	return -1;
}

int fsync(int fd)
{
	REAL(int, "fsync", int);
	return fd_under_root(fd) && step(0) != PASS ? -1 : next(fd);
}

int fdatasync(int fd)
{
	REAL(int, "fdatasync", int);
	return fd_under_root(fd) && step(0) != PASS ? -1 : next(fd);
}

int msync(void *at, size_t n, int flags)
{
	REAL(int, "msync", void *, size_t, int);
	return atomic_load(&root) && step(0) != PASS ? -1 : next(at, n, flags);
}

static int ftruncate_any(int fd, off_t n)
{
	REAL(int, "ftruncate64", int, off_t);
	return fd_under_root(fd) && step(grows_past(fd, n)) != PASS ? -1 : next(fd, n);
}

int ftruncate(int fd, off_t n) { return ftruncate_any(fd, n); }
int ftruncate64(int fd, off_t n) { return ftruncate_any(fd, n); }

static int fallocate_any(int fd, off_t at, off_t n)
{
	REAL(int, "posix_fallocate64", int, off_t, off_t);
	return fd_under_root(fd) && step(grows_past(fd, at + n)) != PASS ? errno : next(fd, at, n);
}

int posix_fallocate(int fd, off_t at, off_t n) { return fallocate_any(fd, at, n); }
int posix_fallocate64(int fd, off_t at, off_t n) { return fallocate_any(fd, at, n); }

int rename(const char *from, const char *to)
{
	REAL(int, "rename", const char *, const char *);
	return under_root(to) && step(0) != PASS ? -1 : next(from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
	return under_root(to) && step(0) != PASS ? -1 : next(from_dir, from, to_dir, to, flags);
}

int mkdir(const char *path, mode_t m)
{
	REAL(int, "mkdir", const char *, mode_t);
	return under_root(path) && access(path, F_OK) && step(1) != PASS ? -1 : next(path, m);
}

static int open_any(const char *path, int flags, mode_t m)
{
	REAL(int, "open64", const char *, int, ...);
	if ((flags & O_ACCMODE) != O_RDONLY && under_root(path) && step((flags & O_CREAT) && access(path, F_OK)) != PASS) return -1;
	return next(path, flags, m);
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | __O_TMPFILE) ? (mode_t)va_arg(ap, int) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t m;
	va_start(ap, flags);
	m = mode_of(flags, ap);
	va_end(ap);
	return open_any(path, flags, m);
}

int open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t m;
	va_start(ap, flags);
	m = mode_of(flags, ap);
	va_end(ap);
	return open_any(path, flags, m);
}

/* ---- loaded before a program ---- */

__attribute__((constructor)) static void plan_read(void)
{
	const char *text = getenv("FAILWRITE");
	char *end;
	long n = text ? strtol(text, &end, 10) : 0;
	if (!text || *end != ':') return;
	for (int m = 0; m < FAIL_MODES; m++) {
		size_t len = strlen(fail_mode_name((enum fail_mode)m));
		if (strncmp(end + 1, fail_mode_name((enum fail_mode)m), len) == 0 && end[1 + len] == ':')
			failwrite_set(n, (enum fail_mode)m, end + 2 + len);
	}
}

__attribute__((destructor)) static void count_write(void)
{
	const char *path = getenv("FAILWRITE_COUNT");
	FILE *f = path ? fopen(path, "w") : NULL;
	if (!f) return;
	fprintf(f, "%ld %ld\n", failwrite_count(), failwrite_failed());
	fclose(f);
}
