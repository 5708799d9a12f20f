/* plain_gpu.h: the table of nn/gpu.h in plain loops over the heap, as its contract reads and as strict as a device may be:
 * nothing runs before sync, what a pass must not read is poisoned, and misuse fails the test. Quick where the emulated kernels
 * take seconds, so that whole texts can be written on it. */
#ifndef TESTS_PLAIN_GPU_H
#define TESTS_PLAIN_GPU_H
#include "nn/gpu.h"

extern const struct gpu_table plain_gpu;

/* Of the devices of this process, as they go on. */
struct plain_gpu_state {
	uint64_t memory, used;         /* bytes there are, 1 GiB to begin with; taken */
	int devices, full;             /* 1 to begin with; of these the first so many have no room */
	int lost;                      /* set it: the next sync says so */
	int open;                      /* devices that are open */
	int lose_after;                /* syncs until one is lost; 0: never */
	int no_graphs;                 /* recording fails */
	size_t syncs, replays, recorded, graphs, copied_out; /* counted; graphs: that are held; copied_out: bytes */
	size_t prompt_linears, prompt_picks; /* calls of linear for prompts; of these those with rows picked */
};
extern struct plain_gpu_state plain_gpu_state;

#endif
