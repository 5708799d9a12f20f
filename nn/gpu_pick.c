/* gpu_pick.c: what auto, cpu and cuda mean. Threads: no state. Failure: see gpu.h. */
#include <string.h>
#include "nn/gpu.h"

int gpu_pick(const struct gpu_table **out, int *must, const char *device, const struct gpu_table *given, struct err *e)
{
	struct err none;
	int rc = OK;
	*out = NULL;
	*must = strcmp(device, "cuda") == 0;
	if (strcmp(device, "cpu") == 0) return OK;
	if (!*must && strcmp(device, "auto") != 0) return err_set(e, E_USAGE, "no device \"%.20s\": auto, cpu or cuda", device);
	if (given) *out = given;
	else rc = gpu_choose(out, *must ? e : &none);
	if (*must) return rc;
	if (rc != OK || (*out)->count() < 1) *out = NULL;
	return OK;
}
