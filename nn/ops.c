/* ops.c: owns the choice of kernels by what the CPU can do. Threads: no state. */
#include "nn/ops.h"
#include <string.h>

static int has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static int has_avx512(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

int ops_choose(const struct ops **out, const char *name, struct err *e)
{
	int any = !name || strcmp(name, "auto") == 0;
	*out = NULL;
	if (!any && strcmp(name, "ref") == 0) *out = &ops_ref;
	else if (!any && strcmp(name, "avx2") != 0 && strcmp(name, "avx512") != 0)
		return err_set(e, E_USAGE, "kernel \"%s\": there are auto, ref, avx2 and avx512", name);
	else if (!has_avx2())
		return err_set(e, E_UNSUPPORTED,
			"this CPU lacks AVX2, FMA or F16C, which the kernels need; \"ref\" runs without, slowly");
	else if (!any && strcmp(name, "avx512") == 0 && !has_avx512())
		return err_set(e, E_UNSUPPORTED, "this CPU lacks AVX-512 (F, BW, VL, DQ)");
	else *out = has_avx512() && (any || strcmp(name, "avx512") == 0) ? &ops_avx512 : &ops_avx2;
	return OK;
}

/* A tile of unpacked rows and the sums of that tile, one vector a (token, row); the reference wants one row. */
size_t ops_scratch_floats(size_t k_max)
{
	size_t tile = OPS_TILE_ROWS * OPS_TILE_K + OPS_TOKENS * OPS_TILE_ROWS * OPS_LANES_MAX;
	return tile > k_max ? tile : (k_max + 15) / 16 * 16;
}
