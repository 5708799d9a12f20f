/* device.c: owns nothing. Threads: pure. Failure: what gpu_choose says. */
#include "embed/device.h"
#include <string.h>

int device_choose(const struct gpu_table **out, int *must, const char *device, const struct gpu_table *given, struct err *e)
{
	struct err none;
	int rc = OK;
	*out = NULL;
	*must = device && strcmp(device, "cuda") == 0;
	if (!device || strcmp(device, "cpu") == 0) return OK;
	if (!*must && strcmp(device, "auto") != 0) return err_set(e, E_USAGE, "no device \"%.20s\": auto, cpu or cuda", device);
	if (given) *out = given;
	else rc = gpu_choose(out, *must ? e : &none);
	if (*must) return rc;
	if (rc != OK || (*out)->count() == 0) *out = NULL;
	return OK;
}
