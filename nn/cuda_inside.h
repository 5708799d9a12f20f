/* cuda_inside.h: what the files of the CUDA table share; no interface. Each is compiled for the GPU and for the host
 * (cuda.h); GPU_NAME keeps the two apart: cuda_linear, host_linear. */
#ifndef NN_CUDA_INSIDE_H
#define NN_CUDA_INSIDE_H
#include "nn/cuda.h"
extern "C" {
#include "base/err.h"
#include "base/mem.h"
#include "nn/gpu.h"
#include "nn/quant.h"
}

#ifdef GPU_HOST
#define GPU_NAME(x) host_##x
#else
#define GPU_NAME(x) cuda_##x
#endif

enum { GPU_HEADS = 1024 };          /* most heads of queries and keys that are normed where their products are made */

struct gpu_block {                  /* memory that close frees */
	struct gpu_block *next;
	void *p;
	uint64_t bytes;
};

struct gpu_room {                   /* work space that grows; what a recorded pass has seen stays */
	uint8_t *data;
	uint64_t bytes;
};

struct gpu {
	cudaStream_t stream;
	struct cuda_launches launches;
	int device, sms, recording;
	cudaError_t error;          /* the first that a call met; what was asked for then */
	const char *failed;
	struct gpu_block *blocks, *host_blocks;
	struct gpu_room acts, room; /* of linear: activations; weights and sums on their way */
	uint32_t *arrived;          /* device (GPU_HEADS): panels of a head of queries or keys that are done; 0 between launches */
};

/* Keeps the first error of a device for the next sync. what: static. */
static inline void gpu_check(struct gpu *g, cudaError_t r, const char *what)
{
	if (r == cudaSuccess || g->error != cudaSuccess) return;
	g->error = r;
	g->failed = what;
}

static inline size_t div_up(size_t a, size_t b) { return (a + b - 1) / b; }
/* Bytes of scratch, so that what lies behind is aligned as memory of alloc is. */
static inline size_t padded(size_t bytes) { return div_up(bytes, 256) * 256; }

extern "C" const struct gpu_table GPU_NAME(table);

/* ops_cuda.cu */
int GPU_NAME(alloc)(struct gpu *g, uint64_t bytes, const char *what, void **out, struct err *e);
void GPU_NAME(release)(struct gpu *g, void *device);
int GPU_NAME(alloc_host)(struct gpu *g, size_t bytes, void **out, struct err *e);
void GPU_NAME(release_host)(struct gpu *g, void *p);
void GPU_NAME(copy_in)(struct gpu *g, void *device, const void *host, size_t bytes);
int GPU_NAME(sync)(struct gpu *g, struct err *e);
int GPU_NAME(record)(struct gpu *g, struct err *e);
int GPU_NAME(recorded)(struct gpu *g, struct gpu_graph **out, struct err *e);
void GPU_NAME(replay)(struct gpu *g, struct gpu_graph *graph);
void GPU_NAME(graph_free)(struct gpu *g, struct gpu_graph *graph);
/* ops_cuda_attend.cu */
void GPU_NAME(attend)(struct gpu *g, const struct gpu_attend *c, const struct gpu_rows *rows);
size_t GPU_NAME(attend_floats)(size_t n, size_t heads, size_t head_dim, size_t keys_most, int prompt);
/* ops_cuda_linear.cu */
uint64_t GPU_NAME(work_bytes)(const struct gpu *g, size_t k);
int GPU_NAME(work_make)(struct gpu *g, size_t k, struct err *e);
uint64_t GPU_NAME(matrix_bytes)(const struct matrix *w);
int GPU_NAME(matrix_load)(struct gpu *g, const struct matrix *w, struct gpu_matrix *out, struct err *e);
void GPU_NAME(linear)(struct gpu *g, const struct gpu_linear *c);
/* ops_cuda_plain.cu */
void GPU_NAME(embed)(struct gpu *g, const struct gpu_matrix *table, const int32_t *ids, size_t n, float scale, float *x);
void GPU_NAME(add_normed)(struct gpu *g, float *x, const float *y, const float *w, size_t n, size_t dim, float eps);
/* ops_cuda_rope.cu; kinds: bits of those of enum heads_kind that are to be done */
void GPU_NAME(rope)(struct gpu *g, const struct gpu_rope *c, const struct gpu_rows *rows);
void GPU_NAME(rope_some)(struct gpu *g, const struct gpu_rope *c, const struct gpu_rows *rows, uint32_t kinds);
/* ops_cuda_top.cu */
void GPU_NAME(top)(struct gpu *g, const struct gpu_top *c);
size_t GPU_NAME(top_bytes)(size_t vocab, size_t n);
/* ops_cuda_encode.cu */
int GPU_NAME(encode_load)(struct gpu *g, const uint16_t *w, size_t rows, size_t k, struct gpu_matrix *out, struct err *e);
void GPU_NAME(encode_norm)(struct gpu *g, const struct gpu_encode_norm *c);
void GPU_NAME(encode_linear)(struct gpu *g, const struct gpu_encode_linear *c);
void GPU_NAME(encode_attend)(struct gpu *g, const struct gpu_encode_attend *c);
void GPU_NAME(encode_pool)(struct gpu *g, const struct gpu_encode_pool *c);
/* ops_cuda_scan.cu */
void GPU_NAME(scan)(struct gpu *g, const struct gpu_scan *c);
size_t GPU_NAME(scan_bytes)(size_t rows, size_t n, size_t k);

#endif
