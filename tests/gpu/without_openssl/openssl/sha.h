/* sha.h: SHA-256 (FIPS 180-4) by the names that base/hash.c calls, for `make gpu-check` on machines without OpenSSL's headers: there files of
 * packed weights are named by it, which no check reads. Programs for use have OpenSSL's. Threads: no state. */
#ifndef TESTS_GPU_SHA_H
#define TESTS_GPU_SHA_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct { uint32_t h[8]; uint8_t block[64]; uint64_t len; } SHA256_CTX;

static inline uint32_t sha_turn(uint32_t v, int n) { return v >> n | v << (32 - n); }

static inline void sha_block(SHA256_CTX *c)
{
	static const uint32_t k[64] = {
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
		0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
		0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
		0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
		0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
		0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2 };
	uint32_t w[64], s[8];
	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)c->block[4 * i] << 24 | (uint32_t)c->block[4 * i + 1] << 16 | (uint32_t)c->block[4 * i + 2] << 8 | c->block[4 * i + 3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + (sha_turn(w[i - 15], 7) ^ sha_turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
			(sha_turn(w[i - 2], 17) ^ sha_turn(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, c->h, sizeof s);
	for (int i = 0; i < 64; i++) {
		uint32_t a = s[7] + (sha_turn(s[4], 6) ^ sha_turn(s[4], 11) ^ sha_turn(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i],
			b = (sha_turn(s[0], 2) ^ sha_turn(s[0], 13) ^ sha_turn(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof *s);
		s[4] += a;
		s[0] = a + b;
	}
	for (int i = 0; i < 8; i++) c->h[i] += s[i];
}

static inline int SHA256_Init(SHA256_CTX *c)
{
	static const uint32_t h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	memcpy(c->h, h, sizeof h);
	c->len = 0;
	return 1;
}

static inline int SHA256_Update(SHA256_CTX *c, const void *data, size_t len)
{
	for (const uint8_t *p = data; len--; p++) {
		c->block[c->len++ % 64] = *p;
		if (c->len % 64 == 0) sha_block(c);
	}
	return 1;
}

static inline int SHA256_Final(unsigned char out[32], SHA256_CTX *c)
{
	static const uint8_t end = 0x80, zero = 0;
	uint64_t bits = c->len * 8;
	uint8_t length[8];
	SHA256_Update(c, &end, 1);
	while (c->len % 64 != 56) SHA256_Update(c, &zero, 1);
	for (int i = 0; i < 8; i++) length[i] = (uint8_t)(bits >> (56 - 8 * i));
	SHA256_Update(c, length, 8);
	for (int i = 0; i < 32; i++) out[i] = (uint8_t)(c->h[i / 4] >> (24 - 8 * (i % 4)));
	return 1;
}

#endif
