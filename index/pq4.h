/* pq4.h: sums over 4-bit codes, 32 vectors at a time, from tables that fit a register ("fast scan": André, Kermarrec, Le
 * Scouarnec, Cache locality is not enough: high-performance nearest neighbor search with product quantization fast scan,
 * 2015). Thread-safe; the tables are constant. */
#ifndef INDEX_PQ4_H
#define INDEX_PQ4_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

/* A block: for each part 16 bytes; byte j has the code of vector j in its low half and of vector j + 16 in its high one. */
enum { PQ4_BLOCK = 32, PQ4_CODES = 16, PQ4_PARTS_STEP = 4, PQ4_PARTS_MAX = 256 };

/* One way to compute; every one gives the same integers. */
struct pq4_kernel {
	const char *name;
	/* Of the vectors from … n - 1 of the blocks, from < 32, those with sum >= least, where sum is table[16 p + code] over all parts p:
	 * their places to at, their sums to sum, in order (room for n of each); how many. mask: a bit a vector, a word a
	 * block; those without are left out; NULL: none is. parts: a multiple of PQ4_PARTS_STEP, at most PQ4_PARTS_MAX. */
	size_t (*scan)(const uint8_t *blocks, size_t from, size_t n, size_t parts, const uint8_t *table, uint16_t least,
		const uint32_t *mask, uint32_t *at, uint16_t *sum);
};
extern const struct pq4_kernel pq4_plain, pq4_avx2, pq4_avx512;
/* name NULL: the best this CPU has. E_UNSUPPORTED: it lacks what that one needs; E_USAGE: no such. */
int pq4_choose(const struct pq4_kernel **out, const char *name, struct err *e);

/* Which vectors of block b count: bits of the mask that are among them. */
static inline uint32_t pq4_live(const uint32_t *mask, size_t b, size_t from, size_t n)
{
	size_t left = n - b * PQ4_BLOCK;
	uint32_t all = left >= PQ4_BLOCK ? UINT32_MAX : ((uint32_t)1 << left) - 1;
	if (b == 0) all &= UINT32_MAX << from;
	return mask ? mask[b] & all : all;
}

/* Appends those of block b whose bit is set; returns the new count. */
static inline size_t pq4_emit(uint32_t hits, const uint16_t sums[PQ4_BLOCK], size_t b, size_t n, uint32_t *at, uint16_t *sum)
{
	for (; hits; hits &= hits - 1, n++) {
		unsigned j = (unsigned)__builtin_ctz(hits);
		at[n] = (uint32_t)(b * PQ4_BLOCK + j);
		sum[n] = sums[j];
	}
	return n;
}

#endif
