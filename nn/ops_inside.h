/* ops_inside.h: kernels that stand in several tables; no interface. They run only on CPUs that ops.c has found fit. */
#ifndef NN_OPS_INSIDE_H
#define NN_OPS_INSIDE_H
#include "nn/ops.h"

void avx2_act(const float *x, size_t k, void *out);
void avx2_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y, size_t ldy,
	void *scratch);
void vnni_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y, size_t ldy,
	void *scratch);

#endif
