/* store.c: owns the LMDB environment (data.mdb and lock.mdb in the data folder) and is the only file that knows LMDB.
 *
 * Method: one environment, a named database for each table, opened in one transaction at the start. The map is
 * address space, not memory or disk: the file grows as far as it is used. Read transactions are not tied to threads
 * (MDB_NOTLS), so that a snapshot may travel. Reader slots of processes that were killed are cleared on open. A file
 * that ends before the last page LMDB knows of is lengthened with a hole: what was cut off then reads as zero pages,
 * which are refused with an error, where the missing ones would be a SIGBUS. For the same reason lock.mdb, which is
 * written through its mapping, has all its blocks before it is mapped.
 *
 * Threads: see store.h. Failure: LMDB's codes are translated in code_set and nowhere else. */
#include "index/store.h"
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

struct store {
	MDB_env *env;
	MDB_dbi table[TABLE_N];
	int sync;
};

struct txn { struct store *s; MDB_txn *mt; };

static const char *const table_names[TABLE_N] = {
	"meta", "coll", "doc", "id", "source", "hash", "text", "chunk", "vec", "graph", "note", "post"
};

const char *table_name(enum table t)
{
	return (unsigned)t < TABLE_N ? table_names[t] : "?";
}

/* Every LMDB code but MDB_SUCCESS and MDB_NOTFOUND. */
static int code_set(struct err *e, int code, const char *what, const char *thing)
{
	switch (code) {
	case MDB_MAP_FULL:
		return err_set(e, E_FULL, "%s %s: the store is full, raise data.map_bytes", what, thing);
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return err_set(e, E_FULL, "%s %s: the disk is full (%s)", what, thing, strerror(code));
	case MDB_TXN_FULL:
		return err_set(e, E_LIMIT, "%s %s: too much in one transaction", what, thing);
	case MDB_READERS_FULL:
		return err_set(e, E_LIMIT, "%s %s: too many readers at once, raise data.readers_max", what, thing);
	case MDB_INVALID:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_PANIC:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_TXN:
		return err_set(e, E_CORRUPT, "%s %s: %s", what, thing, mdb_strerror(code));
	case MDB_VERSION_MISMATCH:
		return err_set(e, E_UNSUPPORTED, "%s %s: %s", what, thing, mdb_strerror(code));
	case MDB_BAD_VALSIZE:
		return err_set(e, E_LIMIT, "%s %s: key or value has a size LMDB does not take", what, thing);
	case ENOMEM:
		return err_set(e, E_MEMORY, "%s %s: out of memory or address space (data.map_bytes)", what, thing);
	case EACCES:
	case EPERM:
	case EROFS:
		return err_set(e, E_DENIED, "%s %s: %s", what, thing, strerror(code));
	default:
		return err_set(e, E_IO, "%s %s: %s", what, thing, mdb_strerror(code));
	}
}

/* ---- open and close ---- */

static int tables_open(struct store *s, const char *dir, struct err *e)
{
	MDB_txn *mt;
	int code = mdb_txn_begin(s->env, NULL, 0, &mt);
	if (code) return code_set(e, code, "open store", dir);
	for (int i = 0; i < TABLE_N; i++) {
		code = mdb_dbi_open(mt, table_names[i], MDB_CREATE, &s->table[i]);
		if (code) {
			mdb_txn_abort(mt);
			return code_set(e, code, "open table", table_names[i]);
		}
	}
	code = mdb_txn_commit(mt);
	return code ? code_set(e, code, "open store", dir) : OK;
}

/* Sees to it that the file reaches as far as the map is used. */
static int file_lengthen(struct store *s, const char *dir, struct err *e)
{
	MDB_envinfo info;
	MDB_stat st;
	struct stat file;
	int fd;
	off_t due;
	mdb_env_info(s->env, &info);
	mdb_env_stat(s->env, &st);
	if (mdb_env_get_fd(s->env, &fd) || fstat(fd, &file)) return err_sys(e, "stat store %s", dir);
	due = (off_t)(info.me_last_pgno + 1) * (off_t)st.ms_psize;
	if (file.st_size >= due) return OK;
	log_put(LOG_WARN, "index", "%s/data.mdb has %lld bytes of %lld: lengthened; what was cut off is lost", dir,
		(long long)file.st_size, (long long)due);
	return ftruncate(fd, due) ? err_sys(e, "lengthen %s/data.mdb", dir) : OK;
}

/* Gives the file of reader slots its blocks before LMDB maps it: where it is a hole, the first touch of a slot on a full
 * disk is a SIGBUS. The size is the one LMDB 0.9 gives it (a head of two cache lines, a line a reader). The caller owns
 * the folder, so closing the file here drops nobody's lock. */
static int lock_file_reserve(const char *dir, size_t readers_max, struct err *e)
{
	enum { LINE = 64 };
	struct buf path;
	struct stat st;
	int rc, fd, code;
	off_t due = (off_t)(2 + readers_max) * LINE;
	buf_init(&path, 1 << 20);
	rc = path_join(&path, dir, "lock.mdb");
	if (rc) {
		buf_clear(&path);
		return err_set(e, rc, "open store %s", dir);
	}
	fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	buf_clear(&path);
	if (fd < 0) return code_set(e, errno, "open store", dir);
	code = fstat(fd, &st) ? errno : 0;
	if (!code && st.st_size > due) due = st.st_size;
	if (!code) code = posix_fallocate(fd, 0, due);
	close(fd);
	return code ? code_set(e, code, "open store", dir) : OK;
}

/* An environment over an existing folder; *env is open or NULL. */
static int env_open(MDB_env **env, const char *dir, size_t map_bytes, size_t readers_max, int sync, struct err *e)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned flags = MDB_NOTLS | (sync ? 0 : MDB_NOSYNC | MDB_NOMETASYNC);
	int code = mdb_env_create(env);
	if (code) {
		*env = NULL;
		return code_set(e, code, "open store", dir);
	}
	code = mdb_env_set_mapsize(*env, map_bytes / page * page);
	if (!code) code = mdb_env_set_maxreaders(*env, (unsigned)readers_max);
	if (!code) code = mdb_env_set_maxdbs(*env, TABLE_N);
	if (!code) code = mdb_env_open(*env, dir, flags, 0600);
	if (!code) return OK;
	mdb_env_close(*env);
	*env = NULL;
	return code_set(e, code, "open store", dir);
}

int store_open(struct store **out, const char *dir, size_t map_bytes, size_t readers_max, int sync, struct err *e)
{
	struct store *s;
	int rc, dead = 0;
	*out = NULL;
	if (map_bytes < 1 << 20) return err_set(e, E_USAGE, "data.map_bytes %zu: at least %d", map_bytes, 1 << 20);
	if (readers_max < 1 || readers_max > 65536)
		return err_set(e, E_USAGE, "data.readers_max %zu: 1 to 65536", readers_max);
	rc = dir_make(dir, e);
	if (rc) return rc;
	s = mem_calloc(1, sizeof *s);
	if (!s) return err_set(e, E_MEMORY, "open store %s: out of memory", dir);
	s->sync = sync;
	rc = lock_file_reserve(dir, readers_max, e);
	if (!rc) rc = env_open(&s->env, dir, map_bytes, readers_max, sync, e);
	if (rc) goto out;
	rc = file_lengthen(s, dir, e);
	if (rc) goto out;
	mdb_reader_check(s->env, &dead);
	if (dead) log_put(LOG_INFO, "index", "%s: cleared %d reader slots of ended processes", dir, dead);
	rc = tables_open(s, dir, e);
out:
	if (rc) store_close(s);
	else *out = s;
	return rc;
}

void store_close(struct store *s)
{
	if (!s) return;
	if (s->env) {
		if (!s->sync) mdb_env_sync(s->env, 1);
		mdb_env_close(s->env);
	}
	mem_free(s);
}

/* ---- transactions ---- */

int txn_begin(struct txn **out, struct store *s, int write, struct err *e)
{
	struct txn *t = mem_alloc(sizeof *t);
	int code;
	*out = NULL;
	if (!t) return err_set(e, E_MEMORY, "begin a transaction: out of memory");
	t->s = s;
	code = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->mt);
	if (code) {
		mem_free(t);
		return code_set(e, code, "begin", write ? "a write" : "a read");
	}
	*out = t;
	return OK;
}

/* LMDB reports a write that was cut short as EIO; on a full disk that is what it means. */
static int disk_is_full(struct store *s)
{
	struct statvfs fs;
	int fd;
	return mdb_env_get_fd(s->env, &fd) == 0 && fstatvfs(fd, &fs) == 0 && fs.f_bavail * fs.f_frsize < 1 << 20;
}

int txn_commit(struct txn *t, struct err *e)
{
	struct store *s;
	int code;
	if (fault_fails("store.commit")) {
		txn_abort(t);
		return err_set(e, E_IO, "commit: fault injected");
	}
	s = t->s;
	code = mdb_txn_commit(t->mt);
	mem_free(t);
	if (code == EIO && disk_is_full(s)) code = ENOSPC;
	return code ? code_set(e, code, "commit", "the store") : OK;
}

void txn_abort(struct txn *t)
{
	if (!t) return;
	mdb_txn_abort(t->mt);
	mem_free(t);
}

/* ---- entries ---- */

static MDB_val key_val(const struct key *k)
{
	return (MDB_val){ k->n, (void *)(uintptr_t)k->b };
}

int store_get(struct txn *t, enum table table, const struct key *k, struct slice *out, struct err *e)
{
	MDB_val key = key_val(k), v;
	int code = mdb_get(t->mt, t->s->table[table], &key, &v);
	*out = (struct slice){ NULL, 0 };
	if (code == MDB_NOTFOUND) return E_NOT_FOUND;
	if (code) return code_set(e, code, "read table", table_names[table]);
	*out = (struct slice){ v.mv_data, v.mv_size };
	return OK;
}

int store_put(struct txn *t, enum table table, const struct key *k, const void *data, size_t n, struct err *e)
{
	MDB_val key = key_val(k), v = { n, (void *)(uintptr_t)data };
	int code;
	if (fault_fails("store.put")) return err_set(e, E_IO, "write table %s: fault injected", table_names[table]);
	code = mdb_put(t->mt, t->s->table[table], &key, &v, 0);
	return code ? code_set(e, code, "write table", table_names[table]) : OK;
}

int store_reserve(struct txn *t, enum table table, const struct key *k, size_t n, uint8_t **out, struct err *e)
{
	MDB_val key = key_val(k), v = { n, NULL };
	int code;
	*out = NULL;
	if (fault_fails("store.put")) return err_set(e, E_IO, "write table %s: fault injected", table_names[table]);
	code = mdb_put(t->mt, t->s->table[table], &key, &v, MDB_RESERVE);
	if (code) return code_set(e, code, "write table", table_names[table]);
	*out = v.mv_data;
	return OK;
}

int store_del(struct txn *t, enum table table, const struct key *k, struct err *e)
{
	MDB_val key = key_val(k);
	int code;
	if (fault_fails("store.del")) return err_set(e, E_IO, "delete from table %s: fault injected", table_names[table]);
	code = mdb_del(t->mt, t->s->table[table], &key, NULL);
	if (code == MDB_NOTFOUND) return E_NOT_FOUND;
	return code ? code_set(e, code, "delete from table", table_names[table]) : OK;
}

int store_empty(struct txn *t, enum table table, struct err *e)
{
	int code = mdb_drop(t->mt, t->s->table[table], 0);
	return code ? code_set(e, code, "empty table", table_names[table]) : OK;
}

int store_entries(struct txn *t, enum table table, uint64_t *out, struct err *e)
{
	MDB_stat st;
	int code = mdb_stat(t->mt, t->s->table[table], &st);
	*out = code ? 0 : st.ms_entries;
	return code ? code_set(e, code, "measure table", table_names[table]) : OK;
}

/* ---- cursors ---- */

int cursor_open(struct cursor *c, struct txn *t, enum table table, struct err *e)
{
	MDB_cursor *mc;
	int code = mdb_cursor_open(t->mt, t->s->table[table], &mc);
	*c = (struct cursor){ code ? NULL : mc, t, table };
	return code ? code_set(e, code, "walk table", table_names[table]) : OK;
}

static int cursor_get(struct cursor *c, MDB_val *k, MDB_cursor_op op, struct slice *key, struct slice *value,
	struct err *e)
{
	MDB_val v;
	int code = mdb_cursor_get(c->mc, k, &v, op);
	*key = *value = (struct slice){ NULL, 0 };
	if (code == MDB_NOTFOUND) return E_NOT_FOUND;
	if (code) return code_set(e, code, "walk table", table_names[c->table]);
	*key = (struct slice){ k->mv_data, k->mv_size };
	*value = (struct slice){ v.mv_data, v.mv_size };
	return OK;
}

int cursor_seek(struct cursor *c, const struct key *k, struct slice *key, struct slice *value, struct err *e)
{
	MDB_val mk = { 0, NULL };
	if (k) mk = key_val(k);
	return cursor_get(c, &mk, k ? MDB_SET_RANGE : MDB_FIRST, key, value, e);
}

int cursor_next(struct cursor *c, struct slice *key, struct slice *value, struct err *e)
{
	MDB_val mk;
	return cursor_get(c, &mk, MDB_NEXT, key, value, e);
}

void cursor_close(struct cursor *c)
{
	if (c->mc) mdb_cursor_close(c->mc);
	c->mc = NULL;
}

/* ---- figures ---- */

int store_sizes(struct txn *t, uint64_t *file_bytes, uint64_t *map_bytes, uint64_t *used_bytes, struct err *e)
{
	MDB_envinfo info;
	MDB_stat st;
	struct stat file;
	int fd, code;
	uint64_t pages = 0;
	if (mdb_env_get_fd(t->s->env, &fd) || fstat(fd, &file)) return err_sys(e, "stat store");
	mdb_env_info(t->s->env, &info);
	for (int i = 0; i < TABLE_N; i++) {
		code = mdb_stat(t->mt, t->s->table[i], &st);
		if (code) return code_set(e, code, "measure table", table_names[i]);
		pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
	}
	mdb_env_stat(t->s->env, &st);
	*file_bytes = (uint64_t)file.st_size;
	*map_bytes = info.me_mapsize;
	*used_bytes = pages * st.ms_psize;
	return OK;
}
