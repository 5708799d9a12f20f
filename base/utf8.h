/* utf8.h: UTF-8 as RFC 3629 has it (no surrogates, no overlong forms, at most U+10FFFF). Offsets inside Footnote are
 * bytes; the contract counts code points. cpmap converts at the edge. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H
#include <stddef.h>
#include <stdint.h>

/* Decodes the code point at s[*i] (*i < len) and moves *i past it. Invalid byte: returns -1 and moves *i by one. */
int32_t utf8_next(const char *s, size_t len, size_t *i);
/* Decodes the code point that ends before s[*i] (*i > 0) and moves *i to its start. Invalid: -1, moves by one. */
int32_t utf8_prev(const char *s, size_t *i);
size_t utf8_put(char out[4], uint32_t cp);                     /* bytes written, 1 to 4; cp must be a scalar value */
int utf8_valid(const char *s, size_t len);                     /* 1 or 0 */
size_t utf8_count(const char *s, size_t len);                  /* code points in valid UTF-8 */
size_t utf8_offset(const char *s, size_t len, size_t cp);      /* byte offset of code point cp; len when past the end */
size_t utf8_floor(const char *s, size_t len, size_t at);       /* at, moved back to a code point boundary */

enum { CPMAP_STRIDE = 1024 };                                  /* bytes of text an entry stands for */
/* A sparse table: entry i is the number of code points that start before byte i*CPMAP_STRIDE. */
size_t cpmap_n(size_t text_len);                               /* entries for a text of that length (at least 1) */
void cpmap_fill(uint32_t *map, const char *text, size_t len);  /* map: cpmap_n(len) entries; text valid, < 4 GiB */
size_t cpmap_to_cp(const uint32_t *map, const char *text, size_t len, size_t byte_off);
size_t cpmap_to_byte(const uint32_t *map, const char *text, size_t len, size_t cp); /* len when past the end */

#endif
