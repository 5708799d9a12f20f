/* gguf_fill.h: matrices of random weights made where they lie in a file, by all cores. A fault fails the test.
 *
 *   gguf_fill_open -> gguf_fill_put (what the file begins with), gguf_fill_matrix … -> gguf_fill_close
 *
 * Deterministic: a matrix follows from its type, size and seed. Every bit of a block is random but those that make numbers
 * useless: scales are set so that weights have a deviation of about 1/sqrt(k) and a mean of about 0. */
#ifndef TESTS_GGUF_FILL_H
#define TESTS_GGUF_FILL_H
#include <stddef.h>
#include <stdint.h>

struct team;
struct gguf_fill { uint8_t *data; uint64_t bytes; int fd; struct team *team; };

void gguf_fill_open(struct gguf_fill *f, const char *path, uint64_t bytes);  /* a file of that many zeros */
void gguf_fill_put(struct gguf_fill *f, const void *data, size_t n);
/* bytes of a matrix of rows of k weights, from `at` on. */
void gguf_fill_matrix(struct gguf_fill *f, uint64_t at, uint32_t type, size_t k, uint64_t bytes, uint64_t seed);
void gguf_fill_close(struct gguf_fill *f);
/* The same in memory, by one thread; n blocks of the type. */
void random_blocks(uint32_t type, size_t k, uint64_t seed, size_t n, void *out);

#endif
