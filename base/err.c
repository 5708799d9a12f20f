/* err.c: owns the text of failures. A message is composed in a local buffer first, so that its arguments may be parts
 * of the err being filled; then it is cleaned (control characters and bytes that are no UTF-8 become one '?' or a
 * space, so that it can go into a log line and into JSON as it is) and cut at a code point when it is too long.
 * Threads: no shared state. Failure: none; a message that does not fit loses its tail. */
#include "base/err.h"
#include "base/utf8.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MSG_WORK = 1024 };

/* Copies text into msg, cleaned and cut to its size. */
static void msg_store(char *msg, size_t size, const char *text)
{
	size_t len = strlen(text), in = 0, out = 0;
	while (in < len) {
		size_t from = in;
		int32_t cp = utf8_next(text, len, &in);
		if (out + (in - from) >= size) break;
		if (cp < 0) msg[out++] = '?';
		else if (cp < 0x20 || cp == 0x7f) msg[out++] = ' ';
		else while (from < in) msg[out++] = text[from++];
	}
	msg[out] = 0;
}

int err_set(struct err *e, int status, const char *fmt, ...)
{
	char work[MSG_WORK];
	va_list ap;
	if (!e) return status;
	va_start(ap, fmt);
	vsnprintf(work, sizeof work, fmt, ap);
	va_end(ap);
	e->status = status;
	msg_store(e->msg, sizeof e->msg, work);
	return status;
}

static int errno_status(int number)
{
	switch (number) {
	case ENOSPC: case EDQUOT: return E_FULL;
	case ENOENT: return E_NOT_FOUND;
	case EACCES: case EPERM: case EROFS: return E_DENIED;
	case ENOMEM: return E_MEMORY;
	default: return E_IO;
	}
}

int err_sys(struct err *e, const char *fmt, ...)
{
	int number = errno, status = errno_status(number);
	char work[MSG_WORK], why[128];
	va_list ap;
	if (!e) return status;
	va_start(ap, fmt);
	vsnprintf(work, sizeof work, fmt, ap);
	va_end(ap);
	return err_set(e, status, "%s: %s", work, strerror_r(number, why, sizeof why));
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char work[MSG_WORK];
	va_list ap;
	if (!e) return E_BUG;
	va_start(ap, fmt);
	vsnprintf(work, sizeof work, fmt, ap);
	va_end(ap);
	return err_set(e, e->status, "%s: %s", work, e->msg);
}

const char *status_name(int status)
{
	static const char *const names[] = {
		[OK] = "ok", [E_USAGE] = "usage", [E_NOT_FOUND] = "not_found", [E_IO] = "io", [E_FULL] = "full",
		[E_CORRUPT] = "corrupt", [E_FORMAT] = "format", [E_LIMIT] = "limit", [E_BUSY] = "busy",
		[E_DENIED] = "denied", [E_KEY] = "unauthorized", [E_CONFLICT] = "conflict", [E_UNSUPPORTED] = "unsupported",
		[E_CANCELLED] = "cancelled", [E_MEMORY] = "memory", [E_BUG] = "bug",
	};
	if (status < 0 || (size_t)status >= sizeof names / sizeof *names) return "unknown";
	return names[status];
}
