/* arena.h: memory for one request or one document, freed at once. Blocks are chained; alignment 16. Returns NULL past
 * the cap or out of memory. Thread: one at a time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stddef.h>

struct arena_block;
struct arena {
	struct arena_block *head; /* newest block, owned */
	size_t used;              /* bytes handed out */
	size_t max;               /* most bytes to hand out */
};

void arena_init(struct arena *a, size_t max_bytes);
void *arena_alloc(struct arena *a, size_t bytes);              /* not zeroed */
void *arena_calloc(struct arena *a, size_t n, size_t bytes);   /* zeroed, overflow-checked */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_clear(struct arena *a);                             /* frees all; usable again */
void arena_reset(struct arena *a);                             /* as arena_clear, but keeps the first block for the next user */

#endif
