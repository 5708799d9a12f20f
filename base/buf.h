/* buf.h: a growable byte buffer born with a maximum. Always NUL-terminated (the NUL is not in len). Every put says
 * whether it fitted: OK, E_LIMIT (would pass max; buffer unchanged) or E_MEMORY. A buffer that refused one put stays
 * "failed" (buf_failed) and refuses every later put until reset, so a run of puts may be checked once at its end and
 * what the buffer holds is an unbroken beginning of it. */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stddef.h>

struct buf {
	char *data;      /* owned; NULL until the first put */
	size_t len;      /* bytes in use */
	size_t cap;      /* bytes allocated */
	size_t max;      /* most bytes len may reach */
	int failed;      /* first status other than OK that a put returned */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_clear(struct buf *b);                 /* frees; b is as after buf_init with the same max */
void buf_reset(struct buf *b);                 /* len 0, keeps memory, forgets the failure */
int buf_put(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_reserve(struct buf *b, size_t more_bytes); /* room for more_bytes beyond len */
int buf_failed(const struct buf *b);
/* Transfers data to the caller (mem_free); never NULL unless out of memory; b is empty after. len may be NULL. */
char *buf_take(struct buf *b, size_t *len);
const char *buf_cstr(const struct buf *b);     /* borrows; "" when empty */

#endif
