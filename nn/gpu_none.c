/* gpu_none.c: the choice of a GPU's table in a program that was built without CUDA. Threads: no state. */
#include "nn/gpu.h"

int gpu_choose(const struct gpu_table **out, struct err *e)
{
	*out = NULL;
	return err_set(e, E_UNSUPPORTED, "this footnote was built without CUDA");
}
