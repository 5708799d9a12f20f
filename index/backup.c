/* backup.c: owns the store as one file, and the way back.
 *
 * A backup is LMDB's data file without free pages, followed by a seal of 4096 bytes, little-endian, zeros behind:
 *
 *   0 char[16] "footnote backup\n"; 16 u32 version = 1; 20 u32 0; 24 u64 bytes of the data file; 32 i64 made, wall time
 *   in ms; 40 u8[32] SHA-256 of the data file; 72 u32 CRC-32C of bytes 0 to 71
 *
 * Method: a backup is written to FILE.part beside it, sealed, synced, and renamed where no FILE is; an open lock on the
 * part tells a running backup from what a killed one left, which is written over. A restore copies the data file into
 * data.new/ of the data folder while it hashes it, opens the copy as a store, has index_check walk it, and only then
 * renames it over data.mdb: before, nothing is touched; after, the new store is whole and on disk.
 * Threads: any; a restore wants the folder to itself (index.h). Failure: the temporary file or folder is removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "index/inside.h"

enum { SEAL_BYTES = 4096, SEAL_CRC_AT = 72, SEAL_VERSION = 1, BLOCK_BYTES = 1 << 20, PATH_BYTES_MAX = 1 << 16 };
static const char seal_magic[17] = "footnote backup\n";

/* ---- the seal ---- */

struct seal { uint64_t bytes; int64_t made_ms; uint8_t hash[32]; };

static void seal_fill(uint8_t out[SEAL_BYTES], const struct seal *s)
{
	uint32_t version = SEAL_VERSION, crc;
	memset(out, 0, SEAL_BYTES);
	memcpy(out, seal_magic, 16);
	memcpy(out + 16, &version, 4);
	memcpy(out + 24, &s->bytes, 8);
	memcpy(out + 32, &s->made_ms, 8);
	memcpy(out + 40, s->hash, 32);
	crc = crc32c(0, out, SEAL_CRC_AT);
	memcpy(out + SEAL_CRC_AT, &crc, 4);
}

/* Reads exactly n bytes at off. 0: the file ends before; -1 with errno. */
static int read_at(int fd, uint8_t *out, size_t n, uint64_t off)
{
	while (n) {
		ssize_t got = pread(fd, out, n, (off_t)off);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) return (int)got;
		out += got, n -= (size_t)got, off += (uint64_t)got;
	}
	return 1;
}

static int write_all(int fd, const uint8_t *p, size_t n, const char *path, struct err *e)
{
	while (n) {
		ssize_t put = fault_fails("backup.write") ? (errno = ENOSPC, -1) : write(fd, p, n);
		if (put < 0 && errno == EINTR) continue;
		if (put < 0) return err_sys(e, "write %s", path);
		p += put, n -= (size_t)put;
	}
	return OK;
}

static int seal_read(struct seal *s, int fd, const char *path, struct err *e)
{
	uint8_t b[SEAL_BYTES];
	struct stat st;
	uint32_t version, crc;
	int got;
	if (fstat(fd, &st)) return err_sys(e, "%s", path);
	if (!S_ISREG(st.st_mode)) return err_set(e, E_FORMAT, "%s: is no file", path);
	got = st.st_size > SEAL_BYTES ? read_at(fd, b, SEAL_BYTES, (uint64_t)st.st_size - SEAL_BYTES) : 0;
	if (got < 0) return err_sys(e, "read %s", path);
	if (!got || memcmp(b, seal_magic, 16) != 0)
		return err_set(e, E_FORMAT, "%s: is no Footnote backup, or was cut short (its last page is not a seal)", path);
	memcpy(&version, b + 16, 4);
	memcpy(&crc, b + SEAL_CRC_AT, 4);
	if (crc != crc32c(0, b, SEAL_CRC_AT)) return err_set(e, E_CORRUPT, "%s: its seal is damaged", path);
	if (version != SEAL_VERSION)
		return err_set(e, E_UNSUPPORTED, "%s: backup version %u, this build reads %d", path, version, SEAL_VERSION);
	memcpy(&s->bytes, b + 24, 8);
	memcpy(&s->made_ms, b + 32, 8);
	memcpy(s->hash, b + 40, 32);
	if (s->bytes != (uint64_t)st.st_size - SEAL_BYTES)
		return err_set(e, E_FORMAT, "%s: has %lld bytes, its seal speaks of %llu", path, (long long)st.st_size,
			(unsigned long long)s->bytes + SEAL_BYTES);
	return OK;
}

/* SHA-256 of the first n bytes; copies them to `to` unless that is -1. */
static int hash_bytes(int fd, uint64_t n, int to, uint8_t hash[32], const char *path, const char *to_path, struct err *e)
{
	uint8_t *block = mem_alloc(BLOCK_BYTES);
	struct sha256 *h = block ? sha256_new() : NULL;
	uint8_t own[32];
	int rc = h ? OK : err_set(e, E_MEMORY, "%s: out of memory", path);
	for (uint64_t at = 0; !rc && at < n;) {
		size_t part = n - at < BLOCK_BYTES ? (size_t)(n - at) : BLOCK_BYTES;
		int got = read_at(fd, block, part, at);
		if (got <= 0) {
			rc = got < 0 ? err_sys(e, "read %s", path) : err_set(e, E_FORMAT, "%s: ends while it is read", path);
			break;
		}
		sha256_put(h, block, part);
		if (to >= 0) rc = write_all(to, block, part, to_path, e);
		at += part;
	}
	if (h) sha256_end(h, own);
	if (h) memcpy(hash, own, 32);
	mem_free(block);
	return rc;
}

/* ---- backup ---- */

/* Opens and locks FILE.part, empty. */
static int part_open(const char *part, int *fd, struct err *e)
{
	struct stat st;
	*fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (*fd < 0) return err_sys(e, "create %s", part);
	if (fstat(*fd, &st)) return err_sys(e, "create %s", part);
	if (!S_ISREG(st.st_mode)) return err_set(e, E_CONFLICT, "%s: is in the way", part);
	if (flock(*fd, LOCK_EX | LOCK_NB)) return err_set(e, E_BUSY, "%s: a backup to it is running", part);
	return ftruncate(*fd, 0) ? err_sys(e, "create %s", part) : OK;
}

/* rename that never replaces, also where the file system can't say so itself. */
static int rename_new(const char *from, const char *to, struct err *e)
{
	int code = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) ? errno : 0;
	if (code == EINVAL || code == ENOSYS) {
		struct stat st;
		code = lstat(to, &st) == 0 ? EEXIST : rename(from, to) ? errno : 0;
	}
	if (code == EEXIST) return err_set(e, E_CONFLICT, "%s: exists; a backup replaces nothing", to);
	errno = code;
	return code ? err_sys(e, "rename %s", from) : OK;
}

static int backup_write(struct index *x, int fd, const char *part, uint64_t *bytes, struct err *e)
{
	uint8_t page[SEAL_BYTES];
	struct seal s = { .made_ms = clock_wall_ms() };
	struct stat st;
	struct txn *t;
	int rc = txn_begin(&t, x->store, 0, e);
	if (rc) return rc;
	rc = store_copy(t, fd, e);
	txn_abort(t);
	if (rc) return rc;
	fault_point("backup.copied");
	if (fstat(fd, &st)) return err_sys(e, "%s", part);
	s.bytes = (uint64_t)st.st_size;
	rc = hash_bytes(fd, s.bytes, -1, s.hash, part, NULL, e);
	if (rc) return rc;
	seal_fill(page, &s);
	if (lseek(fd, 0, SEEK_END) < 0) return err_sys(e, "%s", part);
	rc = write_all(fd, page, sizeof page, part, e);
	if (!rc && fsync(fd)) rc = err_sys(e, "sync %s", part);
	if (!rc) fault_point("backup.sealed");
	*bytes = s.bytes + SEAL_BYTES;
	return rc;
}

int index_backup(struct index *x, const char *path, uint64_t *bytes, struct err *e)
{
	char dir[PATH_BYTES_MAX];
	struct stat st;
	struct buf part;
	int fd = -1, rc;
	*bytes = 0;
	if (lstat(path, &st) == 0) return err_set(e, E_CONFLICT, "%s: exists; a backup replaces nothing", path);
	if (!path_dir(path, dir, sizeof dir)) return err_set(e, E_USAGE, "%s: path too long", path);
	buf_init(&part, PATH_BYTES_MAX);
	if (buf_printf(&part, "%s.part", path)) return err_set(e, E_USAGE, "%s: path too long", path);
	rc = part_open(part.data, &fd, e);
	if (rc) goto out;
	rc = backup_write(x, fd, part.data, bytes, e);
	if (!rc) rc = rename_new(part.data, path, e);
	if (rc) unlink(part.data);
	else fault_point("backup.renamed");
	if (!rc) rc = dir_sync(dir, e);
out:
	if (fd >= 0) close(fd);
	buf_clear(&part);
	return rc;
}

/* ---- restore ---- */

static void problem_first(void *ctx, const char *what)
{
	struct err *e = ctx;
	if (!e->status) err_set(e, E_CORRUPT, "%s", what);
}

/* Opens the store in the folder, walks it whole and tells its figures. */
static int store_prove(const struct index_options *o, const char *dir, struct index_stats *out, struct err *e)
{
	struct index_options own = *o;
	struct err first = { OK, "" };
	struct index *x;
	uint64_t problems = 0;
	int rc;
	own.dir = dir;
	own.dim = 0;
	own.embedder = "";
	rc = index_open(&x, &own, e);
	if (rc) return rc;
	rc = index_check(x, problem_first, &first, &problems, e);
	if (!rc && problems)
		rc = err_set(e, E_CORRUPT, "%llu problems, first: %s", (unsigned long long)problems, first.msg);
	if (!rc) rc = index_stats(x, out, e);
	index_close(x);
	return rc;
}

/* Copies the backup's data file into the fresh folder, hashing it. */
static int backup_copy(const char *path, const char *fresh, struct err *e)
{
	struct seal s;
	struct buf data;
	uint8_t hash[32];
	int to = -1, rc, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) return err_sys(e, "open %s", path);
	buf_init(&data, PATH_BYTES_MAX);
	rc = seal_read(&s, fd, path, e);
	if (!rc && path_join(&data, fresh, "data.mdb")) rc = err_set(e, E_USAGE, "%s: path too long", fresh);
	if (!rc) rc = dir_make(fresh, e);
	if (!rc && (to = open(data.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
		rc = err_sys(e, "create %s", data.data);
	if (!rc) rc = hash_bytes(fd, s.bytes, to, hash, path, data.data, e);
	if (!rc && memcmp(hash, s.hash, 32) != 0)
		rc = err_set(e, E_CORRUPT, "%s: damaged: its content is not what was sealed (SHA-256 differs)", path);
	if (!rc && fsync(to)) rc = err_sys(e, "sync %s", data.data);
	if (to >= 0) close(to);
	close(fd);
	buf_clear(&data);
	if (!rc) fault_point("restore.copied");
	return rc;
}

static int restore_run(const struct index_options *o, const char *path, const char *fresh, struct index_stats *out,
	struct err *e)
{
	int rc = backup_copy(path, fresh, e);
	if (rc) return rc;
	rc = store_prove(o, fresh, out, e);
	if (rc) return err_wrap(e, "%s", path);
	fault_point("restore.checked");
	rc = dir_sync(fresh, e);
	if (!rc) rc = store_adopt(o->dir, e);
	if (!rc) fault_point("restore.renamed");
	return rc ? rc : dir_sync(o->dir, e);
}

int index_restore(const struct index_options *o, const char *path, int replace, struct index_stats *out, struct err *e)
{
	struct buf old, fresh;
	int rc = dir_make(o->dir, e);
	memset(out, 0, sizeof *out);
	if (rc) return rc;
	buf_init(&old, PATH_BYTES_MAX);
	buf_init(&fresh, PATH_BYTES_MAX);
	if (path_join(&old, o->dir, "data.mdb") || path_join(&fresh, o->dir, "data.new"))
		rc = err_set(e, E_USAGE, "%s: path too long", o->dir);
	else if (file_exists(old.data) && !replace)
		rc = err_set(e, E_CONFLICT, "%s: holds a store already", o->dir);
	if (!rc) {
		store_remains_remove(o->dir);
		rc = restore_run(o, path, fresh.data, out, e);
		store_remains_remove(o->dir);
	}
	buf_clear(&old);
	buf_clear(&fresh);
	return rc;
}
