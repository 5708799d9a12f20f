/* pq4.c: owns the plain form of the sums over 4-bit codes, and the choice of a kernel.
 *
 * Method: see pq4.h. The plain form is what the others are tested against. A sum of at most 256 bytes fits 16 bits.
 * Threads: no state. Failure: none but the choice's. */
#include "index/pq4.h"
#include <string.h>

static size_t scan_plain(const uint8_t *blocks, size_t from, size_t n, size_t parts, const uint8_t *table, uint16_t least,
	const uint32_t *mask, uint32_t *at, uint16_t *sum)
{
	size_t got = 0;
	for (size_t i = from; i < n; i++) {
		const uint8_t *block = blocks + i / PQ4_BLOCK * PQ4_CODES * parts;
		size_t j = i % PQ4_BLOCK;
		unsigned s = 0;
		if (!(pq4_live(mask, i / PQ4_BLOCK, from, n) >> j & 1)) continue;
		for (size_t p = 0; p < parts; p++) {
			uint8_t both = block[PQ4_CODES * p + j % 16];
			s += table[PQ4_CODES * p + (j < 16 ? both & 15 : both >> 4)];
		}
		if (s < least) continue;
		at[got] = (uint32_t)i;
		sum[got++] = (uint16_t)s;
	}
	return got;
}

const struct pq4_kernel pq4_plain = { "plain", scan_plain };

static int plain_ok(void)
{
	return 1;
}

static int avx2_ok(void)
{
	return __builtin_cpu_supports("avx2") != 0;
}

static int avx512_ok(void)
{
	return avx2_ok() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

int pq4_choose(const struct pq4_kernel **out, const char *name, struct err *e)
{
	static const struct { const struct pq4_kernel *kernel; int (*ok)(void); } all[] = {
		{ &pq4_avx512, avx512_ok }, { &pq4_avx2, avx2_ok }, { &pq4_plain, plain_ok } };
	*out = NULL;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if (name && strcmp(name, all[i].kernel->name) != 0) continue;
		if (all[i].ok()) {
			*out = all[i].kernel;
			return OK;
		}
		if (name) return err_set(e, E_UNSUPPORTED, "kernel \"%s\": this CPU lacks it", name);
	}
	return err_set(e, E_USAGE, "kernel \"%.40s\": there are avx512, avx2 and plain", name ? name : "");
}
