/* err.h: one status code and one message for every failure.
 *
 * A function that can fail returns an `enum status` (OK is 0) and fills the caller's `struct err`. The message
 * names the thing that failed (path, key, id), is valid UTF-8 on one line, and is cut where it does not fit. Assertions
 * are for programmer errors only; files, models, stored records and requests are input and end here.
 *
 * Usage:   if (fd < 0) return err_sys(e, "open %s", path);
 *          if (bad)    return err_set(e, E_FORMAT, "%s: tensor %s: bad type %u", path, name, type);
 *          return err_wrap(e, "models add %s", path);        // adds context in front, keeps the status
 * `e` may be NULL where the caller only needs the status. Thread: a struct err belongs to one thread at a time. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum status {
	OK = 0,
	E_USAGE,       /* the caller asked for something malformed: exit 2, HTTP 400 */
	E_NOT_FOUND,   /* no such document, file, model: exit 3, HTTP 404 */
	E_IO,          /* the operating system refused: exit 1, HTTP 500 */
	E_FULL,        /* disk or map full: exit 1, HTTP 507 */
	E_CORRUPT,     /* stored data does not fit itself: exit 4, HTTP 500 */
	E_FORMAT,      /* input file is not what it claims to be: exit 1, HTTP 422 */
	E_LIMIT,       /* over a limit of service.conf, or a queue is full: exit 5, HTTP 413 or 429 */
	E_BUSY,        /* held by another process, or still starting: exit 5, HTTP 503 */
	E_DENIED,      /* not allowed: exit 5, HTTP 403 */
	E_KEY,         /* no access key, or not a good one: exit 5, HTTP 401 */
	E_CONFLICT,    /* contradicts what is stored (other embedder, other dimension): exit 5, HTTP 409 */
	E_UNSUPPORTED, /* known, but not by this build or this machine: exit 2, HTTP 422 */
	E_CANCELLED,   /* the client left, the deadline passed, or the service drains */
	E_MEMORY,      /* out of memory: exit 1, HTTP 500 */
	E_BUG          /* cannot happen: exit 70, HTTP 500 */
};

struct err {
	int status;
	char msg[240];
};

int err_set(struct err *e, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As err_set with ": strerror(errno)" added; status is E_FULL for ENOSPC and EDQUOT, E_NOT_FOUND for ENOENT,
 * E_DENIED for EACCES, EPERM and EROFS, E_MEMORY for ENOMEM, else E_IO. */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "fmt: " in front of the message already there; returns e's status (E_BUG when e is NULL). */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Short lower-case name of a status, "not_found" for E_NOT_FOUND; static storage. */
const char *status_name(int status);

#endif
