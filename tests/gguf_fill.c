/* gguf_fill.c: gguf_fill.h. A matrix is cut into runs of blocks, each with a generator of its own, so that it does not matter who
 * makes which. Threads: a team's. Failure: ends the test. */
#include "tests/gguf_fill.h"
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/team.h"
#include "nn/quant.h"
#include "tests/test.h"

enum { RUN_BYTES = 1 << 17, THREADS_MAX = 32 };

static uint16_t half_of(float f)
{
	_Float16 h = (_Float16)f;
	uint16_t bits;
	memcpy(&bits, &h, 2);
	return bits;
}

static uint64_t next(uint64_t *s) /* xorshift64* */
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1du;
}

/* The deviation of q where its bits are random, and what is to be taken from q to make its mean 0. */
static float spread_of(int steps) { return sqrtf((float)(steps * steps - 1) / 12); }
static float middle_of(int steps) { return (float)(steps - 1) / 2; }

/* Scales and mins of Q4_K and Q5_K are made the same number of 6 bits, so that mins take the mean off. */
static void k_scales(uint8_t s[12])
{
	memcpy(s + 4, s, 4);
	for (int j = 8; j < 12; j++) s[j] = (uint8_t)((s[j] & 15) | s[j] << 4);
}

/* Floats of 16 or 32 bits: sign and fraction stay random, of the exponent two bits. */
static uint32_t float_bits(uint32_t r, int exponent_bits, int fraction_bits, float sd)
{
	const int bias = (1 << (exponent_bits - 1)) - 1, top = bias + (int)lrintf(log2f(sd / 0.88f));
	const uint32_t fraction = r & ((1u << fraction_bits) - 1), sign = r >> 31;
	return sign << (exponent_bits + fraction_bits) | (uint32_t)(top - (int)(r >> 29 & 3)) << fraction_bits | fraction;
}

static void mend_floats(uint32_t type, float sd, size_t n, void *out)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t *h = (uint16_t *)out + i;
		uint32_t *f = (uint32_t *)out + i;
		if (type == QUANT_F32) *f = float_bits(*f, 8, 23, sd);
		else if (type == QUANT_F16) *h = (uint16_t)float_bits((uint32_t)*h << 16 | *h, 5, 10, sd);
		else *h = (uint16_t)float_bits((uint32_t)*h << 16 | *h, 8, 7, sd);
	}
}

static void mend_block(uint32_t type, float sd, void *block)
{
	const float scale_rms = 36.4f; /* of six random bits */
	switch (type) {
	case QUANT_Q4_0: ((struct block_q4_0 *)block)->d = half_of(sd / spread_of(16)); break;
	case QUANT_Q4_1: {
		struct block_q4_1 *b = block;
		b->d = half_of(sd / spread_of(16));
		b->m = half_of(-middle_of(16) * sd / spread_of(16));
		break;
	}
	case QUANT_Q5_0: ((struct block_q5_0 *)block)->d = half_of(sd / spread_of(32)); break;
	case QUANT_Q5_1: {
		struct block_q5_1 *b = block;
		b->d = half_of(sd / spread_of(32));
		b->m = half_of(-middle_of(32) * sd / spread_of(32));
		break;
	}
	case QUANT_Q8_0: ((struct block_q8_0 *)block)->d = half_of(sd / spread_of(256)); break;
	case QUANT_Q4_K: {
		struct block_q4_k *b = block;
		k_scales(b->scales);
		b->d = half_of(sd / (scale_rms * spread_of(16)));
		b->dmin = half_of(middle_of(16) * sd / (scale_rms * spread_of(16)));
		break;
	}
	case QUANT_Q5_K: {
		struct block_q5_k *b = block;
		k_scales(b->scales);
		b->d = half_of(sd / (scale_rms * spread_of(32)));
		b->dmin = half_of(middle_of(32) * sd / (scale_rms * spread_of(32)));
		break;
	}
	case QUANT_Q6_K: ((struct block_q6_k *)block)->d = half_of(sd / (spread_of(256) * spread_of(64))); break;
	default: test_fail(__FILE__, __LINE__, "no blocks of type %u", type);
	}
}

void random_blocks(uint32_t type, size_t k, uint64_t seed, size_t n, void *out)
{
	const size_t block = quant_block_bytes(type), bytes = n * block;
	const float sd = 1 / sqrtf((float)k);
	uint8_t *p = out;
	uint64_t s = seed * 0x9e3779b97f4a7c15u | 1, last;
	for (size_t i = 0; i + 8 <= bytes; i += 8) {
		last = next(&s);
		memcpy(p + i, &last, 8);
	}
	last = next(&s);
	memcpy(p + bytes / 8 * 8, &last, bytes % 8);
	if (quant_block_weights(type) == 1) mend_floats(type, sd, n, out);
	else for (size_t i = 0; i < n; i++) mend_block(type, sd, p + i * block);
}

struct job { uint32_t type; size_t k, blocks; uint64_t seed; uint8_t *out; atomic_size_t run; };

static void fill_runs(void *ctx, int member, int size)
{
	struct job *j = ctx;
	const size_t block = quant_block_bytes(j->type), run = RUN_BYTES / block;
	(void)member, (void)size;
	for (size_t at; (at = atomic_fetch_add(&j->run, 1) * run) < j->blocks;)
		random_blocks(j->type, j->k, j->seed ^ (at + 1) << 24, j->blocks - at < run ? j->blocks - at : run, j->out + at * block);
}

void gguf_fill_open(struct gguf_fill *f, const char *path, uint64_t bytes)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	void *p;
	f->bytes = bytes;
	f->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK_MSG(f->fd >= 0, "%s cannot be made", path);
	CHECK_MSG(posix_fallocate(f->fd, 0, (off_t)bytes) == 0, "%s: there is no room for %llu bytes", path, (unsigned long long)bytes);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	CHECK_MSG(p != MAP_FAILED, "%s: no mapping of %llu bytes", path, (unsigned long long)bytes);
	f->data = p;
	f->team = team_new(cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (int)cores);
	CHECK(f->team);
}

void gguf_fill_put(struct gguf_fill *f, const void *data, size_t n)
{
	CHECK(n <= f->bytes);
	memcpy(f->data, data, n);
}

void gguf_fill_matrix(struct gguf_fill *f, uint64_t at, uint32_t type, size_t k, uint64_t bytes, uint64_t seed)
{
	struct job j = { .type = type, .k = k, .blocks = bytes / quant_block_bytes(type), .seed = seed, .out = f->data + at };
	CHECK(at + bytes <= f->bytes);
	team_run(f->team, fill_runs, &j);
}

void gguf_fill_close(struct gguf_fill *f)
{
	munmap(f->data, f->bytes);
	close(f->fd);
	team_free(f->team);
}
