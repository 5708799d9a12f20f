/* gpu_is_cuda.c: what test_gpu() is in the programs of `make gpu-check`: the table of this machine's GPU. */
#include <stdio.h>
#include <stdlib.h>
#include "nn/gpu.h"
#include "tests/test.h"

__attribute__((constructor)) static void cuda_is_tested(void)
{
	const struct gpu_table *t;
	struct err e;
	if (gpu_choose(&t, &e) != OK) {
		fprintf(stderr, "%s\n", e.msg);
		exit(1);
	}
	test_gpu_is(t);
}
