/* rope.c: owns the tables of rotary positions. Threads: read-only once filled. Failure: E_MEMORY. */
#include "generate/rope.h"
#include <math.h>
#include <string.h>
#include "base/mem.h"

int rope_init(struct rope *r, size_t positions, size_t dim, int apart, double base, double stretch, const float *factors,
	struct err *e)
{
	size_t half = dim / 2, n = positions * half;
	*r = (struct rope){ .half = half, .apart = apart, .cos = mem_alloc(n * sizeof(float)), .sin = mem_alloc(n * sizeof(float)) };
	if (!r->cos || !r->sin) return err_set(e, E_MEMORY, "out of memory for %zu rotary positions", positions);
	for (size_t i = 0; i < half; i++) {
		float freq = (float)(1 / pow(base, (double)(2 * i) / (double)dim) / stretch);
		if (factors) freq /= factors[i];
		for (size_t p = 0; p < positions; p++) {
			float angle = (float)p * freq;
			r->cos[p * half + i] = cosf(angle);
			r->sin[p * half + i] = sinf(angle);
		}
	}
	return OK;
}

void rope_clear(struct rope *r)
{
	mem_free(r->cos);
	mem_free(r->sin);
	*r = (struct rope){ 0 };
}

static void turn_halves(float *restrict x, float *restrict y, const float *restrict c, const float *restrict s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float a = x[i], b = y[i];
		x[i] = a * c[i] - b * s[i];
		y[i] = a * s[i] + b * c[i];
	}
}

static void turn_pairs(float *restrict x, const float *restrict c, const float *restrict s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float a = x[2 * i], b = x[2 * i + 1];
		x[2 * i] = a * c[i] - b * s[i];
		x[2 * i + 1] = a * s[i] + b * c[i];
	}
}

void rope_turn(const struct rope *r, float *x, size_t heads, size_t head_dim, size_t pos)
{
	const float *c = r->cos + pos * r->half, *s = r->sin + pos * r->half;
	for (size_t h = 0; h < heads; h++, x += head_dim) {
		if (r->apart) turn_halves(x, x + r->half, c, s, r->half);
		else turn_pairs(x, c, s, r->half);
	}
}
