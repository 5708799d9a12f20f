/* gemm8.c: owns packed weights, the choice of a table by what the CPU can do, and what all tables share.
 * Threads: pure but for the caller's memory. Failure: only memory. */
#include "nn/gemm8.h"
#include <cpuid.h>
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "nn/amx.h"
#include "nn/gemm8_inside.h"

/* Minimax fits: Phi(t) - 1/2 and its tanh form over t, in t*t, weighted by t (the error that x * Phi(x) sees) and
 * held to 1/2 at the edge; 2^f for |f| <= 1/2, to 1e-4 of it, where a step of a byte is 2e-3. */
const float gemm8_gelu_erf[GEMM8_GELU_TERMS] = {-8.53243962e-13f, 1.16113057e-10f, -6.96911506e-09f, 2.45066985e-07f,
	-5.66857398e-06f, 9.20172097e-05f, -0.00109314604f, 0.00974952243f, -0.0662219152f, 0.398829848f};
const float gemm8_gelu_tanh[GEMM8_GELU_TERMS] = {-1.68055045e-12f, 2.02346723e-10f, -1.08276073e-08f, 3.41917939e-07f,
	-7.1620052e-06f, 0.000106525098f, -0.0011798396f, 0.0100387558f, -0.0666244403f, 0.398863137f};
const float gemm8_exp2[GEMM8_EXP2_TERMS] = {0.0551709091f, 0.242609535f, 0.693260962f, 0.999928173f};

/* ---- weights ---- */

static void *aligned(size_t n, size_t each)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, each, &bytes) || bytes > SIZE_MAX - GEMM8_K) return NULL;
	return mem_aligned(GEMM8_K, gemm8_pad(bytes, GEMM8_K));
}

/* Output i of m from its row w. */
static void output_pack(struct gemm8_matrix *m, size_t i, const float *w, size_t k)
{
	int8_t *panel = m->data + i / GEMM8_LANES * GEMM8_LANES * m->k + i % GEMM8_LANES * 4;
	float top = 0, by;
	int32_t sum = 0;
	for (size_t j = 0; j < k; j++) top = fmaxf(top, fabsf(w[j]));
	gemm8_scales(top, &m->scale[i], &by);
	for (size_t j = 0; j < k; j++) {
		long q = lrintf(w[j] * by);
		panel[j / 4 * GEMM8_K + j % 4] = (int8_t)q;
		sum += (int32_t)q;
	}
	m->start[i] = -GEMM8_ZERO * sum;
}

size_t gemm8_bytes(size_t outputs, size_t k)
{
	return gemm8_pad(outputs, GEMM8_LANES) * gemm8_pad(k, GEMM8_K);
}

int gemm8_pack(struct gemm8_matrix *m, const float *w, const float *bias, size_t outputs, size_t k, int8_t *data,
	struct err *e)
{
	size_t panels = gemm8_pad(outputs, GEMM8_LANES) / GEMM8_LANES, n = panels * GEMM8_LANES;
	*m = (struct gemm8_matrix){.panels = panels, .k = gemm8_pad(k, GEMM8_K), .data = data};
	m->start = aligned(n, sizeof *m->start);
	m->scale = aligned(n, sizeof *m->scale);
	m->bias = aligned(n, sizeof *m->bias);
	if (!m->start || !m->scale || !m->bias) {
		gemm8_clear(m);
		return err_set(e, E_MEMORY, "weights of %zu outputs and %zu inputs", outputs, k);
	}
	memset(m->data, 0, n * m->k);
	memset(m->start, 0, n * sizeof *m->start);
	memset(m->scale, 0, n * sizeof *m->scale);
	memset(m->bias, 0, n * sizeof *m->bias);
	for (size_t i = 0; i < outputs; i++) {
		output_pack(m, i, w + i * k, k);
		m->bias[i] = bias[i];
	}
	return OK;
}

void gemm8_clear(struct gemm8_matrix *m)
{
	mem_free(m->start);
	mem_free(m->scale);
	mem_free(m->bias);
	*m = (struct gemm8_matrix){0};
}

/* ---- attention's scratch ---- */

static void *part(void *scratch, size_t *at, size_t bytes)
{
	size_t from = *at;
	*at += gemm8_pad(bytes, GEMM8_K);
	return scratch ? (char *)scratch + from : NULL;
}

size_t gemm8_attend_lay(struct gemm8_attend *s, size_t rows, size_t dim, void *scratch)
{
	size_t at = 0;
	s->rows16 = gemm8_pad(rows, GEMM8_LANES);
	s->rows64 = gemm8_pad(rows, GEMM8_K);
	s->dk = gemm8_pad(dim, GEMM8_K);
	s->dv = gemm8_pad(dim, GEMM8_LANES);
	s->ldw = s->rows64 + GEMM8_K; /* rows that are no power of two apart do not evict each other */
	s->lds = s->rows16 + GEMM8_LANES;
	s->keys = part(scratch, &at, s->rows16 * s->dk);
	s->values = part(scratch, &at, s->dv * s->rows64);
	s->key_start = part(scratch, &at, s->rows16 * sizeof *s->key_start);
	s->value_start = part(scratch, &at, s->dv * sizeof *s->value_start);
	s->key_scale = part(scratch, &at, s->rows16 * sizeof *s->key_scale);
	s->value_scale = part(scratch, &at, s->dv * sizeof *s->value_scale);
	s->weights = part(scratch, &at, GEMM8_ROWS * s->ldw);
	s->sums = part(scratch, &at, GEMM8_ROWS * (s->lds > s->dv ? s->lds : s->dv) * sizeof *s->sums);
	return at;
}

size_t gemm8_attend_bytes(size_t rows, size_t dim)
{
	struct gemm8_attend s;
	return gemm8_attend_lay(&s, rows, dim, NULL);
}

/* ---- the choice ---- */

enum { AVXVNNI_EAX = 1 << 4 }; /* CPUID leaf 7, subleaf 1 */

static int avx2_ok(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int avxvnni_ok(void)
{
	unsigned a, b, c, d;
	return avx2_ok() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVXVNNI_EAX);
}

static int vnni_ok(void)
{
	return avx2_ok() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

static int amx_and_vnni_ok(void)
{
	return vnni_ok() && amx_ok();
}

int gemm8_choose(const struct gemm8 **out, const char *name, struct err *e)
{
	static const struct { const struct gemm8 *table; int (*ok)(void); const char *wants; } all[] = {
		{&gemm8_amx, amx_and_vnni_ok, "AMX int8, or the system's leave to use it"},
		{&gemm8_vnni, vnni_ok, "AVX-512 (F, BW, VL, DQ, VNNI)"},
		{&gemm8_avxvnni, avxvnni_ok, "AVX-VNNI"},
		{&gemm8_avx2, avx2_ok, "AVX2 and FMA"}};
	int any = !name || strcmp(name, "auto") == 0;
	*out = NULL;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if (!any && strcmp(name, all[i].table->name) != 0) continue;
		if (all[i].ok()) {
			*out = all[i].table;
			return OK;
		}
		if (!any) return err_set(e, E_UNSUPPORTED, "kernel \"%s\": this CPU lacks %s", name, all[i].wants);
	}
	if (any) return err_set(e, E_UNSUPPORTED, "this CPU lacks AVX2 or FMA, which the kernels need");
	return err_set(e, E_USAGE, "kernel \"%.40s\": there are auto, avx2, avxvnni, vnni and amx", name);
}
