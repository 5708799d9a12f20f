/* texts.h: byte strings, each kept once, under numbers. A zeroed struct is empty. Not thread-safe. */
#ifndef INDEX_TEXTS_H
#define INDEX_TEXTS_H
#include <stddef.h>
#include <stdint.h>

struct texts {
	char *bytes; size_t len, cap;    /* owned; a NUL behind each */
	size_t *end; uint32_t n, end_cap; /* owned; where text i + 1 ends in bytes */
	uint32_t *slot; size_t slot_n;   /* owned; numbers by hash, 0: free */
	uint64_t seed;
};

uint32_t texts_find(const struct texts *t, const char *s, size_t len);  /* 0: it is not there */
/* The number of a text, from 1 on in the order they came. E_MEMORY, E_LIMIT (over 2^31 of them); then nothing is changed. */
int texts_put(struct texts *t, const char *s, size_t len, uint32_t *out);
const char *texts_get(const struct texts *t, uint32_t number, size_t *len); /* NUL-terminated; until the next put; len may be NULL */
size_t texts_bytes(const struct texts *t);                 /* memory it takes */
void texts_clear(struct texts *t);

#endif
