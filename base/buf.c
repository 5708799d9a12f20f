/* buf.c: owns the growable byte buffer. Memory doubles up to max + 1 (the NUL). Once a put was refused, every later
 * put is refused with the same status: what the buffer holds is always an unbroken beginning of what was put.
 * Threads: one at a time. Failure: E_LIMIT or E_MEMORY, the buffer unchanged. */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BUF_FIRST = 64 };

void buf_init(struct buf *b, size_t max_bytes)
{
	memset(b, 0, sizeof *b);
	b->max = max_bytes < SIZE_MAX ? max_bytes : SIZE_MAX - 1; /* leaves room for the NUL */
}

void buf_clear(struct buf *b)
{
	mem_free(b->data);
	buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = OK;
	if (b->data) b->data[0] = 0;
}

int buf_reserve(struct buf *b, size_t more_bytes)
{
	size_t need, cap;
	char *data;
	if (b->failed) return b->failed;
	if (more_bytes > b->max - b->len) return b->failed = E_LIMIT;
	need = b->len + more_bytes + 1;
	if (need <= b->cap) return OK;
	cap = b->cap <= (b->max + 1) / 2 ? b->cap * 2 : b->max + 1;
	if (cap < BUF_FIRST && b->max + 1 >= BUF_FIRST) cap = BUF_FIRST;
	if (cap < need) cap = need;
	data = mem_realloc(b->data, cap);
	if (!data) return b->failed = E_MEMORY;
	b->data = data;
	b->cap = cap;
	b->data[b->len] = 0;
	return OK;
}

int buf_put(struct buf *b, const void *data, size_t len)
{
	int rc = buf_reserve(b, len);
	if (rc) return rc;
	if (len) memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = 0;
	return OK;
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_put(b, s, strlen(s));
}

int buf_putc(struct buf *b, char c)
{
	return buf_put(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n, rc;
	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) return b->failed ? b->failed : (b->failed = E_LIMIT); /* over INT_MAX bytes */
	rc = buf_reserve(b, (size_t)n);
	if (rc) return rc;
	va_start(ap, fmt);
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return OK;
}

int buf_failed(const struct buf *b)
{
	return b->failed;
}

char *buf_take(struct buf *b, size_t *len)
{
	char *data = b->data ? b->data : mem_strndup("", 0);
	if (len) *len = b->len;
	buf_init(b, b->max);
	return data;
}

const char *buf_cstr(const struct buf *b)
{
	return b->data ? b->data : "";
}
