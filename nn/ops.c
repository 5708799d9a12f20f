/* ops.c: owns the choice of kernels by what the CPU can do. Threads: no state. */
#include "nn/ops.h"
#include <string.h>
#include "nn/amx.h"
#include "nn/ops_inside.h"

static int has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static int has_avx512(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

static int has_vnni(void)
{
	return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

static int has_amx(void)
{
	return has_vnni() && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bf16") && amx_ok();
}

/* Best first. */
static const struct { const struct ops *ops; int (*has)(void); const char *needs; } tables[] = {
	{ &ops_amx, has_amx, "AMX (bf16) with AVX-512 BF16 and VBMI, or leave to use it" },
	{ &ops_vnni, has_vnni, "AVX-512 VNNI" }, { &ops_avx512, has_avx512, "AVX-512 (F, BW, VL, DQ)" },
	{ &ops_avx2, has_avx2, "AVX2, FMA or F16C" },
};

int ops_choose(const struct ops **out, const char *name, struct err *e)
{
	int any = !name || strcmp(name, "auto") == 0;
	*out = NULL;
	if (!any && strcmp(name, "ref") == 0) {
		*out = &ops_ref;
		return OK;
	}
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		if (!any && strcmp(name, tables[i].ops->name) != 0) continue;
		if (tables[i].has()) {
			*out = tables[i].ops;
			return OK;
		}
		if (!any) return err_set(e, E_UNSUPPORTED, "this CPU lacks %s, which kernel \"%s\" needs", tables[i].needs, name);
	}
	if (!any) return err_set(e, E_USAGE, "kernel \"%s\": there are auto, ref, avx2, avx512, vnni and amx", name);
	return err_set(e, E_UNSUPPORTED, "this CPU lacks AVX2, FMA or F16C, which the kernels need");
}

/* A tile of unpacked rows and the sums of that tile, one vector a (token, row); the reference wants one row. */
size_t ops_scratch_floats(size_t k_max)
{
	size_t tile = OPS_TILE_ROWS * OPS_TILE_K + OPS_TOKENS * OPS_TILE_ROWS * OPS_LANES_MAX;
	if (tile < AMX_SCRATCH_FLOATS) tile = AMX_SCRATCH_FLOATS;
	return tile > k_max ? tile : (k_max + 15) / 16 * 16;
}

/* simd_attend's block; AMX's; the reference wants a query's scores. */
size_t ops_attend_floats(size_t head_dim, size_t keys)
{
	size_t simd = (2 * head_dim + head_dim / 2) * ATTEND_KEYS + 6 * ATTEND_KEYS + ATTEND_QUERIES * (OPS_LANES_MAX + 1);
	size_t most = simd > AMX_SCRATCH_FLOATS ? simd : AMX_SCRATCH_FLOATS;
	return most > keys ? most : (keys + 15) / 16 * 16;
}
