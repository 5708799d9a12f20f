/* gpu_is_host.c: what test_gpu() is in the programs that the emulated device is linked into. */
#include "tests/nn/gpu_host.h"
#include "tests/test.h"

__attribute__((constructor)) static void host_is_tested(void)
{
	test_gpu_is(&host_table);
}
