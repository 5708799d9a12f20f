/* store.c: owns the LMDB environment (data.mdb and lock.mdb in the data folder) and is the only file that knows LMDB.
 *
 * Method: one environment, a named database for each table, opened in one transaction at the start. The map is
 * address space, not memory or disk: the file grows as far as it is used. Read transactions are not tied to threads
 * (MDB_NOTLS), so that a snapshot may travel. Reader slots of processes that were killed are cleared on open. A file
 * that ends before the last page LMDB knows of is lengthened with a hole: what was cut off then reads as zero pages,
 * which are refused with an error, where the missing ones would be a SIGBUS. For the same reason lock.mdb, which is
 * written through its mapping, has all its blocks before it is mapped.
 *
 * A new store is made in data.new/ and renamed, as a rewritten one is. An environment that LMDB gives up, because a meta
 * page could not be written, is opened again (env_revive).
 *
 * Rewriting. LMDB never gives pages back to the file system, and what was deleted stays readable in its free pages, in
 * the gaps of pages in use and as separators in the inner nodes of its trees. So a rewrite copies entry by entry, not
 * page by page, into a fresh environment in data.new/, which then holds nothing but living entries, and takes its place.
 *
 *   the writer's place is taken: the state that is copied is the last one      (readers go on)
 *   data.new/ is made, filled and synced; then opened as an environment of its own, with a lock file of its own
 *   data.new/data.mdb is renamed over data.mdb, its lock file over lock.mdb, and the folder is synced
 *   from here transactions begin in the new environment; the old one lives, nameless, until the last transaction in
 *   it ends; then it is closed and its file is gone
 *
 * Nobody but writers waits, and no reader sees anything but the state it began with. A kill before the rename leaves
 * the old file and a data.new/ that the next open removes; after it, the new file, which is complete. LMDB forbids
 * to open an environment twice in a process, because POSIX locks on one lock file would be dropped by the first close:
 * here the two have different files throughout, the locks go with the inode, and lock.mdb is never opened again while
 * an environment over it lives. A crash that leaves the lock file of the old environment beside the new data is met by
 * LMDB itself: whoever opens it first and alone resets it.
 * A read transaction that ends is kept for the next reader, reset, so that it pins nothing: beginning anew costs neither memory nor
 * LMDB's lock. It goes when the store turns to another environment.
 * Writers queue in front of LMDB (writing, free), not in it, so that none sleeps inside an environment that is going.
 *
 * Threads: see store.h. Failure: LMDB's codes are translated in code_set and nowhere else. A rewrite that fails before
 * the rename removes its copy and has changed nothing. */
#include "index/store.h"
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
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
#include "index/pages.h"

enum { COPY_COMMIT_BYTES = 64 << 20 };   /* of entries in one transaction of a rewrite */
enum { PAGES_AT_OPEN = 16384 };          /* of files with more pages, check alone looks at each */
enum { IDLE_MAX = 16 };                  /* read transactions kept for the next readers */

struct env {
	MDB_env *mdb;
	MDB_dbi table[TABLE_N];
	uint64_t number;             /* no other environment of this process has it */
	unsigned refs;               /* the store's own and one a transaction that is not idle; guarded by store.lock */
	struct txn *idle; unsigned idle_n; /* read transactions that have ended and keep their reader's slot for the next; likewise */
};

struct store {
	char *dir;
	size_t map_bytes, readers_max;
	int sync;
	pthread_mutex_t lock;        /* a leaf: nothing is waited for while it is held */
	pthread_cond_t free;         /* writing became 0 */
	int writing;                 /* a write transaction or a rewrite lives */
	struct env *env;             /* the current one */
};

struct txn { struct store *s; struct env *env; MDB_txn *mt; int write; struct txn *next; };

static _Atomic uint64_t numbers = 1;     /* of environments */

static const char *const table_names[TABLE_N] = {
	"meta", "coll", "doc", "id", "source", "hash", "text", "chunk", "vec", "graph", "note", "post", "vec2",
	"graph2"
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
	case MDB_PANIC:
		return err_set(e, E_IO, "%s %s: a write before failed half-way", what, thing);
	default:
		return err_set(e, E_IO, "%s %s: %s", what, thing, mdb_strerror(code));
	}
}

/* LMDB reports a write that was cut short as EIO; on a full disk that is what it means. */
static int code_settle(int code, MDB_env *mdb)
{
	struct statvfs fs;
	int fd;
	if (code == EIO && mdb_env_get_fd(mdb, &fd) == 0 && fstatvfs(fd, &fs) == 0 &&
		fs.f_bavail * fs.f_frsize < 1 << 20) return ENOSPC;
	return code;
}

/* ---- open and close ---- */

static int tables_open(struct env *v, const char *dir, struct err *e)
{
	MDB_txn *mt;
	int code = mdb_txn_begin(v->mdb, NULL, 0, &mt);
	if (code) return code_set(e, code, "open store", dir);
	for (int i = 0; i < TABLE_N; i++) {
		code = mdb_dbi_open(mt, table_names[i], MDB_CREATE, &v->table[i]);
		if (code) {
			mdb_txn_abort(mt);
			return code_set(e, code, "open table", table_names[i]);
		}
	}
	code = mdb_txn_commit(mt);
	return code ? code_set(e, code, "open store", dir) : OK;
}

/* Sees to it that the file reaches as far as the map is used. */
static int file_lengthen(MDB_env *mdb, const char *dir, struct err *e)
{
	MDB_envinfo info;
	MDB_stat st;
	struct stat file;
	int fd;
	off_t due;
	mdb_env_info(mdb, &info);
	mdb_env_stat(mdb, &st);
	if (mdb_env_get_fd(mdb, &fd) || fstat(fd, &file)) return err_sys(e, "stat store %s", dir);
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

/* LMDB's environment over an existing folder; *mdb is open or NULL. */
static int lmdb_open(MDB_env **mdb, const struct store *s, const char *dir, unsigned flags, struct err *e)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int code = mdb_env_create(mdb);
	if (code) {
		*mdb = NULL;
		return code_set(e, code, "open store", dir);
	}
	code = mdb_env_set_mapsize(*mdb, s->map_bytes / page * page);
	if (!code) code = mdb_env_set_maxreaders(*mdb, (unsigned)s->readers_max);
	if (!code) code = mdb_env_set_maxdbs(*mdb, TABLE_N);
	if (!code) code = mdb_env_open(*mdb, dir, flags, 0600);
	if (!code) return OK;
	mdb_env_close(*mdb);
	*mdb = NULL;
	return code_set(e, code, "open store", dir);
}

/* Ends the idle transactions: nobody is in the environment any more. */
static void env_drain(struct env *v)
{
	while (v->idle) {
		struct txn *t = v->idle;
		v->idle = t->next;
		mdb_txn_abort(t->mt);
		mem_free(t);
	}
	v->idle_n = 0;
}

static void env_close(struct env *v)
{
	if (!v) return;
	env_drain(v);
	if (v->mdb) mdb_env_close(v->mdb);
	mem_free(v);
}

/* Looks at the pages of the state that a reader who begins now would see. */
static int pages_look(MDB_env *mdb, uint64_t pages_max, const char *dir, struct err *e)
{
	MDB_envinfo info;
	MDB_stat st;
	int fd, rc;
	mdb_env_info(mdb, &info);
	mdb_env_stat(mdb, &st);
	if (mdb_env_get_fd(mdb, &fd)) return err_set(e, E_BUG, "the store has no file");
	rc = pages_check(fd, st.ms_psize, info.me_last_txnid, pages_max, e);
	return rc ? err_wrap(e, "%s/data.mdb", dir) : OK;
}

/* The environment of a folder, ready for transactions; refs is 1. */
static int env_open(struct env **out, const struct store *s, const char *dir, struct err *e)
{
	struct env *v = mem_calloc(1, sizeof *v);
	int rc, dead = 0;
	*out = NULL;
	if (!v) return err_set(e, E_MEMORY, "open store %s: out of memory", dir);
	v->refs = 1;
	v->number = atomic_fetch_add(&numbers, 1);
	rc = lock_file_reserve(dir, s->readers_max, e);
	if (!rc) rc = lmdb_open(&v->mdb, s, dir, MDB_NOTLS | (s->sync ? 0 : MDB_NOSYNC | MDB_NOMETASYNC), e);
	if (!rc) rc = file_lengthen(v->mdb, dir, e);
	if (!rc) rc = pages_look(v->mdb, PAGES_AT_OPEN, dir, e);
	if (!rc) mdb_reader_check(v->mdb, &dead);
	if (dead) log_put(LOG_INFO, "index", "%s: cleared %d reader slots of ended processes", dir, dead);
	if (!rc) rc = tables_open(v, dir, e);
	if (rc) env_close(v);
	else *out = v;
	return rc;
}

/* A path under the folder; "" when out of memory, which every use of it refuses. */
static const char *path_of(struct buf *b, const char *dir, const char *name)
{
	buf_init(b, 1 << 20);
	path_join(b, dir, name);
	return buf_failed(b) ? "" : b->data;
}

void store_remains_remove(const char *dir)
{
	static const char *const names[] = { "data.new/data.mdb", "data.new/lock.mdb", "data.new" };
	struct buf b;
	for (size_t i = 0; i < 3; i++) {
		const char *path = path_of(&b, dir, names[i]);
		if (i < 2) unlink(path);
		else rmdir(path);
		buf_clear(&b);
	}
}

/* A folder without a store gets one, whole or not at all: it is made beside and renamed, since LMDB writes a file that it
 * begins in place, and a first page cut short would be taken for a damaged store. */
static int store_make(const struct store *s, struct err *e)
{
	struct env v = { .mdb = NULL };
	struct buf fresh, from, to;
	struct stat st;
	const char *path = path_of(&to, s->dir, "data.mdb");
	int code, there, rc = OK;
	path_of(&fresh, s->dir, "data.new");
	path_of(&from, s->dir, "data.new/data.mdb");
	if (buf_failed(&to) || buf_failed(&fresh) || buf_failed(&from)) rc = err_set(e, E_MEMORY, "open store %s: out of memory", s->dir);
	there = !rc && stat(path, &st) == 0;
	if (there && st.st_size == 0)
		rc = err_set(e, E_CORRUPT, "%s: is empty, which no store is: restore a backup, or remove the file to begin anew", path);
	if (!rc && !there) {
		rc = dir_make(buf_cstr(&fresh), e);
		if (!rc) rc = lmdb_open(&v.mdb, s, buf_cstr(&fresh), MDB_NOSYNC | MDB_NOMETASYNC | MDB_NOLOCK, e);
		if (!rc) rc = tables_open(&v, buf_cstr(&fresh), e);
		if (!rc && (code = mdb_env_sync(v.mdb, 1))) rc = code_set(e, code_settle(code, v.mdb), "make store", buf_cstr(&fresh));
		if (v.mdb) mdb_env_close(v.mdb);
		if (!rc && rename(buf_cstr(&from), path)) rc = err_sys(e, "make %s", path);
		store_remains_remove(s->dir);
		if (!rc) rc = dir_sync(s->dir, e);
	}
	buf_clear(&fresh);
	buf_clear(&from);
	buf_clear(&to);
	return rc;
}

int store_open(struct store **out, const char *dir, size_t map_bytes, size_t readers_max, int sync, struct err *e)
{
	struct store *s;
	int rc;
	*out = NULL;
	if (map_bytes < 1 << 20) return err_set(e, E_USAGE, "data.map_bytes %zu: at least %d", map_bytes, 1 << 20);
	if (readers_max < 1 || readers_max > 65536)
		return err_set(e, E_USAGE, "data.readers_max %zu: 1 to 65536", readers_max);
	rc = dir_make(dir, e);
	if (rc) return rc;
	s = mem_calloc(1, sizeof *s);
	if (!s) return err_set(e, E_MEMORY, "open store %s: out of memory", dir);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->free, NULL);
	s->map_bytes = map_bytes;
	s->readers_max = readers_max;
	s->sync = sync;
	s->dir = mem_strdup(dir);
	store_remains_remove(dir);
	rc = s->dir ? store_make(s, e) : err_set(e, E_MEMORY, "open store %s: out of memory", dir);
	if (!rc) rc = env_open(&s->env, s, dir, e);
	if (rc) store_close(s);
	else *out = s;
	return rc;
}

void store_close(struct store *s)
{
	if (!s) return;
	if (s->env && s->env->mdb && !s->sync) mdb_env_sync(s->env->mdb, 1);
	env_close(s->env);
	pthread_cond_destroy(&s->free);
	pthread_mutex_destroy(&s->lock);
	mem_free(s->dir);
	mem_free(s);
}

/* ---- who is in which environment ---- */

/* Waits for the place of the one writer. */
static void writer_enter(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->writing) pthread_cond_wait(&s->free, &s->lock);
	s->writing = 1;
	pthread_mutex_unlock(&s->lock);
}

static void writer_leave(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	s->writing = 0;
	pthread_cond_signal(&s->free);
	pthread_mutex_unlock(&s->lock);
}

/* *idle: for a reader (not NULL), a transaction of it that is to be renewed; NULL: there is none. */
static struct env *env_get(struct store *s, struct txn **idle)
{
	struct env *v;
	pthread_mutex_lock(&s->lock);
	v = s->env;
	v->refs++;
	if (idle && (*idle = v->idle)) {
		v->idle = (*idle)->next;
		v->idle_n--;
	}
	pthread_mutex_unlock(&s->lock);
	return v;
}

static void env_put(struct store *s, struct env *v)
{
	unsigned left;
	pthread_mutex_lock(&s->lock);
	left = --v->refs;
	pthread_mutex_unlock(&s->lock);
	if (!left) env_close(v);
}

/* ---- transactions ---- */

/* Opens the store again when LMDB gave the environment up, because it could not write a meta page: the file holds the
 * last commit whole. The environment is closed before, so nobody may be in it. Done with the lock held, since nobody can
 * begin anything meanwhile. */
static int env_revive(struct store *s, struct env *dead, struct err *e)
{
	struct env *v;
	int rc = OK;
	pthread_mutex_lock(&s->lock);
	if (s->env == dead && dead->refs > 1) {
		rc = err_set(e, E_IO, "the store %s could not be written; it is opened again when reads under way have ended", s->dir);
	} else if (s->env == dead) {
		env_drain(dead);
		if (dead->mdb) mdb_env_close(dead->mdb);
		dead->mdb = NULL;
		rc = env_open(&v, s, s->dir, e);
		if (!rc) {
			log_put(LOG_WARN, "index", "%s: opened again after a write that failed", s->dir);
			s->env = v;
			mem_free(dead);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* A transaction in the store as it stands; a writer has entered already. */
static int txn_new(struct txn **out, struct store *s, int write, struct err *e)
{
	struct txn *t = NULL, *idle = NULL;
	int code, rc = OK;
	*out = NULL;
	for (int again = 0; !rc; again++) {
		struct env *v = env_get(s, write ? NULL : &idle);
		if (idle && mdb_txn_renew(idle->mt) == 0) {
			*out = idle;
			mem_free(t);
			return OK;
		}
		if (idle) mdb_txn_abort(idle->mt);
		mem_free(idle);
		idle = NULL;
		if (!t && !(t = mem_alloc(sizeof *t))) {
			env_put(s, v);
			return err_set(e, E_MEMORY, "begin a transaction: out of memory");
		}
		*t = (struct txn){ .s = s, .env = v, .write = write };
		code = v->mdb ? mdb_txn_begin(v->mdb, NULL, write ? 0 : MDB_RDONLY, &t->mt) : MDB_PANIC;
		if (!code) {
			*out = t;
			return OK;
		}
		env_put(s, v);
		if (code == MDB_PANIC && !again) rc = env_revive(s, v, e);
		else rc = code_set(e, code, write ? "begin a write to" : "begin a read of", s->dir);
	}
	mem_free(t);
	return rc;
}

int txn_begin(struct txn **out, struct store *s, int write, struct err *e)
{
	int rc;
	if (write) writer_enter(s);
	rc = txn_new(out, s, write, e);
	if (rc && write) writer_leave(s);
	return rc;
}

/* What is left of a transaction when LMDB's has ended. */
static void txn_free(struct txn *t)
{
	struct store *s = t->s;
	int write = t->write;
	env_put(s, t->env);
	mem_free(t);
	if (write) writer_leave(s);
}

int txn_commit(struct txn *t, struct err *e)
{
	const char *dir = t->s->dir;
	int code;
	if (fault_fails("store.commit")) {
		txn_abort(t);
		return err_set(e, E_IO, "commit: fault injected");
	}
	code = code_settle(mdb_txn_commit(t->mt), t->env->mdb);
	txn_free(t);
	return code ? code_set(e, code, "commit to", dir) : OK;
}

/* 1: the transaction, a reader's, is idle now; 0: it is to end. */
static int txn_rest(struct txn *t)
{
	struct store *s = t->s;
	int rests;
	mdb_txn_reset(t->mt);
	pthread_mutex_lock(&s->lock);
	rests = t->env == s->env && t->env->idle_n < IDLE_MAX;
	if (rests) {
		t->next = t->env->idle;
		t->env->idle = t;
		t->env->idle_n++;
		t->env->refs--; /* the store has another */
	}
	pthread_mutex_unlock(&s->lock);
	return rests;
}

void txn_abort(struct txn *t)
{
	if (!t || (!t->write && txn_rest(t))) return;
	mdb_txn_abort(t->mt);
	txn_free(t);
}

struct store_at txn_at(const struct txn *t)
{
	return (struct store_at){ t->env->number, mdb_txn_id(t->mt) };
}

/* ---- entries ---- */

static MDB_val key_val(const struct key *k)
{
	return (MDB_val){ k->n, (void *)(uintptr_t)k->b };
}

int store_get(struct txn *t, enum table table, const struct key *k, struct slice *out, struct err *e)
{
	MDB_val key = key_val(k), v;
	int code = mdb_get(t->mt, t->env->table[table], &key, &v);
	*out = (struct slice){ NULL, 0 };
	if (code == MDB_NOTFOUND) return E_NOT_FOUND;
	if (code) return code_set(e, code, "read table", table_names[table]);
	*out = (struct slice){ v.mv_data, v.mv_size };
	return OK;
}

/* Tables whose new keys are nearly always above all others. An append looks at the last page alone, and pages come out full
 * where splitting would leave them half empty; it refuses a key that is not above, which is then put where it belongs. */
static const char grows[TABLE_N] = { [T_DOC] = 1, [T_TEXT] = 1, [T_CHUNK] = 1, [T_VEC] = 1, [T_VEC2] = 1 };

static int entry_put(struct txn *t, enum table table, const struct key *k, MDB_val *v, unsigned flags)
{
	MDB_val key = key_val(k), own = *v;
	int code = MDB_KEYEXIST;
	if (grows[table]) code = mdb_put(t->mt, t->env->table[table], &key, v, flags | MDB_APPEND);
	if (code != MDB_KEYEXIST) return code;
	key = key_val(k);
	*v = own;
	return mdb_put(t->mt, t->env->table[table], &key, v, flags);
}

int store_put(struct txn *t, enum table table, const struct key *k, const void *data, size_t n, struct err *e)
{
	MDB_val v = { n, (void *)(uintptr_t)data };
	int code;
	if (fault_fails("store.put")) return err_set(e, E_IO, "write table %s: fault injected", table_names[table]);
	code = entry_put(t, table, k, &v, 0);
	return code ? code_set(e, code, "write table", table_names[table]) : OK;
}

int store_reserve(struct txn *t, enum table table, const struct key *k, size_t n, uint8_t **out, struct err *e)
{
	MDB_val v = { n, NULL };
	int code;
	*out = NULL;
	if (fault_fails("store.put")) return err_set(e, E_IO, "write table %s: fault injected", table_names[table]);
	code = entry_put(t, table, k, &v, MDB_RESERVE);
	if (code) return code_set(e, code, "write table", table_names[table]);
	*out = v.mv_data;
	return OK;
}

int store_del(struct txn *t, enum table table, const struct key *k, struct err *e)
{
	MDB_val key = key_val(k);
	int code;
	if (fault_fails("store.del")) return err_set(e, E_IO, "delete from table %s: fault injected", table_names[table]);
	code = mdb_del(t->mt, t->env->table[table], &key, NULL);
	if (code == MDB_NOTFOUND) return E_NOT_FOUND;
	return code ? code_set(e, code, "delete from table", table_names[table]) : OK;
}

int store_empty(struct txn *t, enum table table, struct err *e)
{
	int code = mdb_drop(t->mt, t->env->table[table], 0);
	return code ? code_set(e, code, "empty table", table_names[table]) : OK;
}

int store_entries(struct txn *t, enum table table, uint64_t *out, struct err *e)
{
	MDB_stat st;
	int code = mdb_stat(t->mt, t->env->table[table], &st);
	*out = code ? 0 : st.ms_entries;
	return code ? code_set(e, code, "measure table", table_names[table]) : OK;
}

/* ---- cursors ---- */

int cursor_open(struct cursor *c, struct txn *t, enum table table, struct err *e)
{
	MDB_cursor *mc;
	int code = mdb_cursor_open(t->mt, t->env->table[table], &mc);
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

int cursor_find(struct cursor *c, const struct key *k, struct slice *value, struct err *e)
{
	MDB_val mk = key_val(k);
	struct slice key;
	return cursor_get(c, &mk, MDB_SET, &key, value, e);
}

int cursor_put(struct cursor *c, const struct key *k, const void *data, size_t n, struct err *e)
{
	MDB_val key = key_val(k), v = { n, (void *)(uintptr_t)data };
	int code;
	if (fault_fails("store.put")) return err_set(e, E_IO, "write table %s: fault injected", table_names[c->table]);
	code = mdb_cursor_put(c->mc, &key, &v, 0);
	return code ? code_set(e, code, "write table", table_names[c->table]) : OK;
}

void cursor_close(struct cursor *c)
{
	if (c->mc) mdb_cursor_close(c->mc);
	c->mc = NULL;
}

/* ---- rewriting and copying ---- */

/* Copies every entry of a table into `to`, in transactions of its own. Order is kept, so pages come out full. */
static int table_copy(struct txn *from, int table, struct env *to, struct err *e)
{
	struct cursor c;
	struct slice key, value;
	MDB_txn *mt = NULL;
	size_t bytes = 0;
	int code = 0, rc = cursor_open(&c, from, (enum table)table, e);
	if (!rc) rc = cursor_seek(&c, NULL, &key, &value, e);
	for (; !rc && !code; rc = cursor_next(&c, &key, &value, e)) {
		MDB_val k = { key.n, (void *)(uintptr_t)key.p }, v = { value.n, (void *)(uintptr_t)value.p };
		if (!mt) code = mdb_txn_begin(to->mdb, NULL, 0, &mt);
		if (!code) code = mdb_put(mt, to->table[table], &k, &v, MDB_APPEND);
		bytes += key.n + value.n;
		if (!code && bytes >= COPY_COMMIT_BYTES) {
			code = mdb_txn_commit(mt);
			mt = NULL;
			bytes = 0;
		}
	}
	cursor_close(&c);
	if (mt && !code && rc == E_NOT_FOUND) {
		code = mdb_txn_commit(mt);
		mt = NULL;
	}
	if (mt) mdb_txn_abort(mt);
	if (code) return code_set(e, code_settle(code, to->mdb), "rewrite table", table_names[table]);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* Fills the folder with a store of the entries there are, synced. */
static int store_copy_to(struct store *s, const char *dir, struct err *e)
{
	struct env to = { .mdb = NULL };
	struct txn *t;
	int code, rc = txn_new(&t, s, 0, e);
	if (rc) return rc;
	rc = lmdb_open(&to.mdb, s, dir, MDB_NOSYNC | MDB_NOMETASYNC | MDB_NOLOCK, e);
	if (!rc) rc = tables_open(&to, dir, e);
	for (int i = 0; !rc && i < TABLE_N; i++) rc = table_copy(t, i, &to, e);
	txn_abort(t);
	if (!rc && fault_fails("store.rewrite")) rc = err_set(e, E_FULL, "rewrite the store: fault injected");
	if (!rc && (code = mdb_env_sync(to.mdb, 1))) rc = code_set(e, code_settle(code, to.mdb), "rewrite store", dir);
	if (to.mdb) mdb_env_close(to.mdb);
	return rc;
}

int store_adopt(const char *dir, struct err *e)
{
	struct buf from, to;
	int rc;
	path_of(&from, dir, "data.new/data.mdb");
	path_of(&to, dir, "data.mdb");
	fault_point("store.before_rename");
	rc = rename(buf_cstr(&from), buf_cstr(&to)) ? err_sys(e, "replace %s", buf_cstr(&to)) : OK;
	if (!rc) {
		fault_point("store.after_rename");
		buf_clear(&from);
		buf_clear(&to);
		path_of(&from, dir, "data.new/lock.mdb");
		path_of(&to, dir, "lock.mdb");
		if (rename(buf_cstr(&from), buf_cstr(&to))) log_put(LOG_WARN, "index", "%s: %s", buf_cstr(&to), strerror(errno));
	}
	buf_clear(&from);
	buf_clear(&to);
	return rc;
}

/* The writer has entered. */
static int rewrite_locked(struct store *s, const char *fresh, struct err *e)
{
	struct env *v, *old;
	int rc;
	store_remains_remove(s->dir);
	rc = dir_make(fresh, e);
	if (!rc) rc = store_copy_to(s, fresh, e);
	if (rc) return rc;
	fault_point("store.copied");
	rc = env_open(&v, s, fresh, e);
	if (rc) return rc;
	rc = store_adopt(s->dir, e);
	if (rc) {
		env_close(v);
		return rc;
	}
	pthread_mutex_lock(&s->lock);
	old = s->env;
	s->env = v;
	pthread_mutex_unlock(&s->lock);
	env_put(s, old);
	fault_point("store.before_sync");
	return dir_sync(s->dir, e);
}

int store_rewrite(struct store *s, int (*after)(void *ctx, int fd, struct err *e), void *ctx, struct err *e)
{
	struct buf fresh;
	int rc, fd;
	writer_enter(s);
	fault_point("store.before_copy");
	path_of(&fresh, s->dir, "data.new");
	rc = rewrite_locked(s, buf_cstr(&fresh), e);
	store_remains_remove(s->dir);
	buf_clear(&fresh);
	if (!rc) fault_point("store.rewritten");
	if (!rc && after) {
		if (mdb_env_get_fd(s->env->mdb, &fd)) rc = err_set(e, E_BUG, "the store has no file");
		else rc = after(ctx, fd, e);
	}
	writer_leave(s);
	return rc;
}

int store_copy(struct txn *t, int fd, struct err *e)
{
	int code = mdb_env_copyfd2(t->env->mdb, fd, MDB_CP_COMPACT);
	struct statvfs fs;
	if (code == EIO && fstatvfs(fd, &fs) == 0 && fs.f_bavail * fs.f_frsize < 1 << 20) code = ENOSPC;
	return code ? code_set(e, code, "copy", "the store") : OK;
}

/* ---- figures ---- */

int store_sizes(struct txn *t, uint64_t *file_bytes, uint64_t *map_bytes, uint64_t *used_bytes, struct err *e)
{
	MDB_envinfo info;
	MDB_stat st;
	struct stat file;
	int fd, code;
	uint64_t pages = 0;
	if (mdb_env_get_fd(t->env->mdb, &fd) || fstat(fd, &file)) return err_sys(e, "stat store");
	mdb_env_info(t->env->mdb, &info);
	for (int i = 0; i < TABLE_N; i++) {
		code = mdb_stat(t->mt, t->env->table[i], &st);
		if (code) return code_set(e, code, "measure table", table_names[i]);
		pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
	}
	mdb_env_stat(t->env->mdb, &st);
	*file_bytes = (uint64_t)file.st_size;
	*map_bytes = info.me_mapsize;
	*used_bytes = pages * st.ms_psize;
	return OK;
}

/* A quarter of the map, or what a delete of a large document may need at once where that is less. */
int store_spare(struct txn *t, struct err *e)
{
	enum { LEAST = 256 << 10, MOST = 64 << 20 };
	uint64_t file, map, used, spare;
	int rc = store_sizes(t, &file, &map, &used, e);
	if (rc) return rc;
	spare = map / 4 < LEAST ? LEAST : map / 4 < MOST ? map / 4 : MOST;
	return used + spare > map ? code_set(e, MDB_MAP_FULL, "write to", t->s->dir) : OK;
}

int store_pages_check(struct txn *t, struct err *e)
{
	MDB_stat st;
	int fd;
	mdb_env_stat(t->env->mdb, &st);
	if (mdb_env_get_fd(t->env->mdb, &fd)) return err_set(e, E_BUG, "the store has no file");
	return pages_check(fd, st.ms_psize, mdb_txn_id(t->mt), 0, e);
}
