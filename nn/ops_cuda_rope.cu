/* ops_cuda_rope.cu: owns the kernel that finishes heads of queries, keys and values whose products did not do it themselves
 * (cuda_heads.h): those of prompts, and of many written rows where heads are normed. A warp has a head of a row. */
#include "nn/cuda_heads.h"

enum { ROPE_WARPS = 4 };

/* Heads of queries, then of keys, then of values, as far as `kinds` has their bits. Grid: heads by warps, then rows. */
CUDA_KERNEL(rope_heads)(struct heads c, uint32_t kinds)
{
	uint32_t head = blockIdx.x * ROPE_WARPS + threadIdx.x / CUDA_WARP, kind = HEADS_Q;
	const uint32_t heads = (uint32_t)c.rope.heads, kv_heads = (uint32_t)c.rope.kv_heads;
	await_earlier();
	if (head >= heads) head -= heads, kind = HEADS_K;
	if (kind == HEADS_K && head >= kv_heads) head -= kv_heads, kind = HEADS_V;
	if (kind == HEADS_V && head >= kv_heads) return;
	if (kinds >> kind & 1) heads_warp(&c, kind, blockIdx.y, head);
}

void GPU_NAME(rope_some)(struct gpu *g, const struct gpu_rope *c, const struct gpu_rows *rows, uint32_t kinds)
{
	const struct heads h = { *c, *rows };
	CUDA_FOLLOW(g, rope_heads, cuda_grid(div_up(c->heads + 2 * c->kv_heads, ROPE_WARPS), rows->n), ROPE_WARPS * CUDA_WARP, 0, h, kinds);
}

void GPU_NAME(rope)(struct gpu *g, const struct gpu_rope *c, const struct gpu_rows *rows)
{
	GPU_NAME(rope_some)(g, c, rows, HEADS_ALL);
}
