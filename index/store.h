/* store.h: the LMDB environment of a data folder and its tables; store.c is the only file that includes lmdb.h.
 *
 *   store_open -> txn_begin(write 0|1) … store_get, store_put, cursor_* … txn_commit or txn_abort -> store_close
 *
 * One write transaction at a time (txn_begin waits for the one before) and it belongs to the thread that began it.
 * Read transactions may move between threads, one thread at a time. What store_get and cursors return is borrowed
 * until the transaction ends, in a write transaction until its next change. Errors: E_FULL names data.map_bytes or
 * the disk, E_LIMIT names data.readers_max, E_CORRUPT a file that is no store. After a failed change the transaction
 * can only be aborted. */
#ifndef INDEX_STORE_H
#define INDEX_STORE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "index/record.h"

enum table { T_META, T_COLL, T_DOC, T_ID, T_SOURCE, T_HASH, T_TEXT, T_CHUNK, T_VEC, T_GRAPH, T_NOTE, T_POST, T_VEC2, T_GRAPH2, TABLE_N };

struct store;
struct txn;
struct cursor { void *mc; struct txn *t; enum table table; };

int store_open(struct store **out, const char *dir, size_t map_bytes, size_t readers_max, int sync, struct err *e);
void store_close(struct store *s);                          /* every transaction must have ended; NULL is allowed */
const char *table_name(enum table t);

int txn_begin(struct txn **out, struct store *s, int write, struct err *e);
int txn_commit(struct txn *t, struct err *e);               /* frees t, also on failure */
void txn_abort(struct txn *t);                              /* NULL is allowed */
/* Which state a read transaction sees: while the process lives, equal ones are of the same store and hold the same. */
struct store_at { uint64_t env, commit; };
struct store_at txn_at(const struct txn *t);

/* E_NOT_FOUND comes without a message: the caller knows what it looked for. */
int store_get(struct txn *t, enum table table, const struct key *k, struct slice *out, struct err *e);
int store_put(struct txn *t, enum table table, const struct key *k, const void *data, size_t n, struct err *e);
/* As store_put, but the caller fills *out (n bytes) before the next call on t. */
int store_reserve(struct txn *t, enum table table, const struct key *k, size_t n, uint8_t **out, struct err *e);
int store_del(struct txn *t, enum table table, const struct key *k, struct err *e);   /* E_NOT_FOUND */
int store_empty(struct txn *t, enum table table, struct err *e);                        /* every entry */
int store_entries(struct txn *t, enum table table, uint64_t *out, struct err *e);

/* A cursor ends before its transaction does. seek: first entry with a key >= k (k NULL: the first). seek and next
 * return E_NOT_FOUND without a message at the end; key and value are borrowed. */
int cursor_open(struct cursor *c, struct txn *t, enum table table, struct err *e);
int cursor_seek(struct cursor *c, const struct key *k, struct slice *key, struct slice *value, struct err *e);
int cursor_next(struct cursor *c, struct slice *key, struct slice *value, struct err *e);
/* store_get and store_put through a cursor, quicker for keys near the one before: LMDB starts from the page it is on. */
int cursor_find(struct cursor *c, const struct key *k, struct slice *value, struct err *e);
int cursor_put(struct cursor *c, const struct key *k, const void *data, size_t n, struct err *e);
void cursor_close(struct cursor *c);                        /* a zeroed cursor is allowed */

/* Writes the store anew without free pages and without a trace of what was deleted, and goes on with the new file.
 * Waits for the writer before; writers wait until it is done, readers never (store.c tells how). `after` (may be NULL)
 * runs at the end, while writers still wait, with the new data file, not to be closed; it may read, not write, and
 * what it returns is returned. E_FULL, E_IO, E_CORRUPT: the old file stands and is in use. */
int store_rewrite(struct store *s, int (*after)(void *ctx, int fd, struct err *e), void *ctx, struct err *e);
/* Writes a whole store file to fd, without free pages: the last commit when it begins, not t's. t: any, keeps the
 * store's file from being closed meanwhile. */
int store_copy(struct txn *t, int fd, struct err *e);
/* What an interrupted rewrite or restore left in a data folder; no store may be open on it. */
void store_remains_remove(const char *dir);
/* Makes data.new/ the folder's store, by renaming. Nobody may have the folder's store open, but store_rewrite. */
int store_adopt(const char *dir, struct err *e);

/* file: size of data.mdb; map: reserved; used: bytes in pages that hold entries. */
int store_sizes(struct txn *t, uint64_t *file_bytes, uint64_t *map_bytes, uint64_t *used_bytes, struct err *e);

/* In a write that adds, before its commit: E_FULL when it would leave so little of the map that deletes, which write new
 * pages before old ones are free, and compaction found no room any more. */
int store_spare(struct txn *t, struct err *e);

/* Looks at every page of the state that t, a read, sees (pages.h). E_CORRUPT: LMDB must not walk there. */
int store_pages_check(struct txn *t, struct err *e);

#endif
