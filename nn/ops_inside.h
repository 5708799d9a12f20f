/* ops_inside.h: kernels that stand in several tables; no interface. They run only on CPUs that ops.c has found fit. */
#ifndef NN_OPS_INSIDE_H
#define NN_OPS_INSIDE_H
#include "nn/ops.h"

enum { AMX_SCRATCH_FLOATS = (1 << 12) + (1 << 17) };    /* prompt_attend's; prompt_mul takes less */
enum { ATTEND_KEYS = 64, ATTEND_QUERIES = 512 };        /* of a block of simd_attend, of one of its walks over the keys */

void avx2_act(const float *x, size_t k, void *out);
void avx2_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y, size_t ldy,
	void *scratch);
void vnni_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y, size_t ldy,
	void *scratch);

void avx2_prompt_act(const float *x, size_t from, size_t count, size_t k, size_t t, void *acts);
size_t plain_prompt_bytes(size_t k, size_t n);   /* of the products that act and mul make */

size_t amx_prompt_bytes(size_t k, size_t n);
void amx_prompt_act(const float *x, size_t from, size_t count, size_t k, size_t t, void *acts);
void amx_prompt_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y,
	size_t ldy, void *scratch);

/* prompt_attend; 0 and nothing done where head_dim is too large for it. */
int amx_attend(const struct ops_attend *a, void *scratch);

#endif
