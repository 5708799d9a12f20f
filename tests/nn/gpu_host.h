/* gpu_host.h: the table of nn/gpu.h whose device is this machine's CPU (cuda_host.h), and what a test can do to it. */
#ifndef TESTS_NN_GPU_HOST_H
#define TESTS_NN_GPU_HOST_H
#include <stddef.h>
#include <stdint.h>
#include "nn/gpu.h"

#ifdef __cplusplus
extern "C" {
#endif
extern const struct gpu_table host_table;

void host_memory(uint64_t bytes);   /* what the device has, from now on; 1 GiB before */
void host_fail_after(int n);        /* the n-th taking of memory from now on fails, once: of the device's, page-locked, of a recorded pass; 0: none */
size_t host_taken(void);            /* how many of these are not given back */
void host_lose(void);               /* the device is lost, for good: the next sync says so */
void host_devices(int n);           /* how many there are; 1 before */
#ifdef __cplusplus
}
#endif

#endif
