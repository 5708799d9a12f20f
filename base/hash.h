/* hash.h: SHA-256 through libcrypto (the only file that includes it). */
#ifndef BASE_HASH_H
#define BASE_HASH_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct sha256;                                             /* opaque, heap */
struct sha256 *sha256_new(void);                           /* NULL: out of memory */
void sha256_put(struct sha256 *h, const void *data, size_t len);
void sha256_end(struct sha256 *h, uint8_t out[32]);        /* finishes and frees h */
void sha256_of(const void *data, size_t len, uint8_t out[32]);
/* HMAC-SHA-256 (RFC 2104). */
void hmac_sha256_of(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32]);
/* Hash of a whole file; progress (may be NULL) is called with bytes done so far. */
int sha256_file(const char *path, uint8_t out[32], void (*progress)(void *ctx, uint64_t done), void *ctx,
	struct err *e);
void hex_put(char *out, const uint8_t *in, size_t n);      /* 2n digits and a NUL */

#endif
