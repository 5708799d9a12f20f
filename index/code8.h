/* code8.h: vectors as int8 codes, with a bound on what that costs. A vector x is kept as scale * c, c a whole number of
 * -127 … 127 a component; with it the length of what is lost, |x - scale * c|, so that the inner product with a query is
 * known to within a range that is proved, not guessed: who asks only those whose range reaches the k-th best for their
 * true score finds the true k best. Thread-safe; the tables are constant. */
#ifndef INDEX_CODE8_H
#define INDEX_CODE8_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

/* A row: the code, (c + 128) a byte, padded with 128 (zero) to a multiple of 64 bytes; then struct code8_tail. Rows lie
 * `stride` bytes apart in a slab, at multiples of four. */
struct code8_tail { float scale, lost, length; }; /* lost: >= |x - scale c|; length: >= |scale c|; Euclidean */
size_t code8_pad(uint32_t dim);                   /* bytes of a code */
size_t code8_size(uint32_t dim);                  /* of a row */
void code8_encode(uint8_t *row, const float *x, uint32_t dim);
void code8_decode(float *x, const uint8_t *row, uint32_t dim);    /* scale * c */

/* One way to compute; every one gives the same integers. */
struct code8_kernel {
	const char *name;
	/* out[i] = sum over j < len of row[j] * q[j], row = rows + at[i] * stride, i < n. len: a multiple of 64. */
	void (*dots)(const int8_t *q, const uint8_t *rows, size_t stride, const uint32_t *at, size_t n, size_t len, int32_t *out);
};
extern const struct code8_kernel code8_plain, code8_avx2, code8_avxvnni, code8_vnni;
/* name NULL: the best this CPU has. E_UNSUPPORTED: it lacks what that one needs; E_USAGE: no such. */
int code8_choose(const struct code8_kernel **out, const char *name, struct err *e);

struct code8_query {
	const struct code8_kernel *kernel;
	int8_t *code;                /* owned; padded with 0 */
	size_t len;
	int32_t shift;               /* 128 times the sum of the code */
	float scale, norm, rest;     /* norm: >= |q|; rest: the share of a row's length that the query's own code and rounding may cost */
	float rounding;              /* the same without its own code */
	const float *x; uint32_t dim; /* the query itself, borrowed */
};
int code8_query_init(struct code8_query *q, const float *x, uint32_t dim, struct err *e); /* E_MEMORY; x is finite */
void code8_query_clear(struct code8_query *q);
void code8_query_again(struct code8_query *q, const float *x);       /* another vector of as many components */
void code8_query_row(struct code8_query *q, const uint8_t *row);     /* a row's own code; code8_near without `off` alone may follow */
/* Of one row, with the query itself instead of its code: closer, and dearer. */
void code8_nearer(const struct code8_query *q, const uint8_t *row, float *near, float *off);
/* Of rows rows[at[i]]: near[i], the inner product by the codes, and, unless NULL, off[i]: |near - flat_dot(x, vector)|
 * is at most that. Either may be infinite or not a number where components are huge: compare so that such a row stays. */
void code8_near(const struct code8_query *q, const uint8_t *rows, size_t stride, const uint32_t *at, size_t n,
	float *near, float *off);

#endif
