/* arena.c: owns chained blocks of memory that are freed together. A piece comes from the newest block or, when it does
 * not fit there, from a new one; blocks double from 4 KiB to 1 MiB so that small users stay small, and a larger piece
 * gets a block of its own size. The cap counts bytes asked for (an empty piece counts as 1), not padding.
 * Threads: one at a time. Failure: NULL, nothing changed. */
#include "base/arena.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { ARENA_ALIGN = 16, ARENA_FIRST = 4096, ARENA_LARGEST = 1 << 20 };

struct arena_block {
	struct arena_block *next; /* older */
	size_t cap, used;         /* bytes of the payload, a multiple of ARENA_ALIGN */
};

enum { BLOCK_HEAD = (sizeof(struct arena_block) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN };

void arena_init(struct arena *a, size_t max_bytes)
{
	a->head = NULL;
	a->used = 0;
	a->max = max_bytes;
}

static struct arena_block *block_new(struct arena *a, size_t bytes)
{
	struct arena_block *b;
	size_t cap = ARENA_FIRST;
	if (a->head) cap = a->head->cap < ARENA_LARGEST / 2 ? a->head->cap * 2 : ARENA_LARGEST;
	if (cap < bytes) cap = bytes;
	b = mem_alloc(BLOCK_HEAD + cap);
	if (!b) return NULL;
	b->next = a->head;
	b->cap = cap;
	b->used = 0;
	a->head = b;
	return b;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	struct arena_block *b = a->head;
	size_t want = bytes ? bytes : 1, padded;
	void *p;
	if (want > a->max - a->used || want > SIZE_MAX - BLOCK_HEAD - ARENA_ALIGN) return NULL;
	padded = (want + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	if (!b || padded > b->cap - b->used) b = block_new(a, padded);
	if (!b) return NULL;
	p = (char *)b + BLOCK_HEAD + b->used;
	b->used += padded;
	a->used += want;
	return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t bytes)
{
	size_t total;
	void *p;
	if (__builtin_mul_overflow(n, bytes, &total)) return NULL;
	p = arena_alloc(a, total);
	return p ? memset(p, 0, total) : NULL;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *p;
	if (len == SIZE_MAX) return NULL;
	p = arena_alloc(a, len + 1);
	if (!p) return NULL;
	if (len) memcpy(p, s, len);
	p[len] = 0;
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;
	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) return NULL;
	p = arena_alloc(a, (size_t)n + 1);
	if (!p) return NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

void arena_reset(struct arena *a)
{
	while (a->head && a->head->next) {
		struct arena_block *older = a->head->next;
		mem_free(a->head);
		a->head = older;
	}
	if (a->head) a->head->used = 0;
	a->used = 0;
}

void arena_clear(struct arena *a)
{
	while (a->head) {
		struct arena_block *older = a->head->next;
		mem_free(a->head);
		a->head = older;
	}
	a->used = 0;
}
