/* ops_cuda.cu: owns devices, their memory, their queues and the table of CUDA kernels.
 *
 * A device has one stream: what is queued runs in order, or with the next kernel's beginning over one's end so that nobody can
 * tell (cuda.h). Errors of calls that cannot fail are kept (gpu_check) and come up at the next sync, with those of kernels; CUDA's
 * own are final for the process. A pass is recorded by capturing the stream into a CUDA graph. Memory is listed by device, so that close
 * frees all of it and info tells how much it is.
 * Threads: one at a time for a device; CUDA's current device is a thread's own, so every call sets it.
 * Failure: E_UNSUPPORTED, E_MEMORY (nothing changed), E_IO "device lost" from sync. */
#include <stdio.h>
#include <string.h>
#include "nn/cuda_inside.h"

enum { CAPABILITY_LEAST = 8, CAPABILITY_OVERLAP = 9 };

/* CUDA's number of the device that is `device` of those that can be used; -1: none. properties may be NULL. */
static int device_find(int device, struct cudaDeviceProp *properties)
{
	struct cudaDeviceProp p;
	int n = 0;
	if (cudaGetDeviceCount(&n) != cudaSuccess) n = 0;
	for (int i = 0; i < n; i++)
		if (cudaGetDeviceProperties(&p, i) == cudaSuccess && p.major >= CAPABILITY_LEAST && device-- == 0) {
			if (properties) *properties = p;
			return i;
		}
	(void)cudaGetLastError();
	return -1;
}

static int table_count(void)
{
	int n = 0;
	while (device_find(n, NULL) >= 0) n++;
	return n;
}

/* Why there is no device: none at all, no driver for this build, or only older ones. */
static int none_found(int device, struct err *e)
{
	struct cudaDeviceProp p;
	int n = 0, driver = 0;
	cudaError_t r = cudaGetDeviceCount(&n);
	if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
	(void)cudaGetLastError();
	if (driver == 0) return err_set(e, E_UNSUPPORTED, "no GPU: there is no NVIDIA driver"); /* CUDA calls it too old */
	if (r != cudaSuccess) return err_set(e, E_UNSUPPORTED, "no GPU: %s", cudaGetErrorString(r));
	if (n == 0) return err_set(e, E_UNSUPPORTED, "no GPU: the driver knows none");
	if (table_count() > 0) return err_set(e, E_UNSUPPORTED, "no GPU %d: there are %d", device, table_count());
	if (cudaGetDeviceProperties(&p, 0) != cudaSuccess) return err_set(e, E_UNSUPPORTED, "no GPU: the driver tells nothing about it");
	return err_set(e, E_UNSUPPORTED, "GPU %.60s has compute capability %d.%d: %d.0 is the least", p.name, p.major, p.minor,
		CAPABILITY_LEAST);
}

static cudaError_t device_set(const struct gpu *g)
{
	static thread_local int current = -1;
	cudaError_t r = current == g->device ? cudaSuccess : cudaSetDevice(g->device);
	if (r == cudaSuccess) current = g->device;
	return r;
}

/* The same for what is queued that is no kernel: no kernel behind it begins before it is done (cuda.h). */
static void device_use(struct gpu *g)
{
	g->launches.follows = 0;
	(void)device_set(g);
}

static void table_close(struct gpu *g)
{
	if (!g) return;
	(void)device_set(g);
	if (g->stream) (void)cudaStreamSynchronize(g->stream);
	for (struct gpu_block *b = g->blocks, *next; b; b = next) {
		next = b->next;
		(void)cudaFree(b->p);
		mem_free(b);
	}
	for (struct gpu_block *b = g->host_blocks, *next; b; b = next) {
		next = b->next;
		(void)cudaFreeHost(b->p);
		mem_free(b);
	}
	if (g->stream) (void)cudaStreamDestroy(g->stream);
	(void)cudaGetLastError();
	mem_free(g);
}

/* Does nothing. */
CUDA_KERNEL(idle)(int)
{
	await_earlier();
}

/* Whether kernels that begin early can be recorded and run here; what a driver says against it is no failure. */
static int can_overlap(struct gpu *g)
{
	struct gpu_graph *graph = NULL;
	int can = 0;
	if (g->error != cudaSuccess || GPU_NAME(record)(g, NULL) != OK) return 0;
	g->launches.overlap = 1;
	for (int i = 0; i < 3; i++) CUDA_FOLLOW(g, idle, 1, CUDA_WARP, 0, i);
	if (GPU_NAME(recorded)(g, &graph, NULL) == OK) {
		GPU_NAME(replay)(g, graph);
		can = GPU_NAME(sync)(g, NULL) == OK;
	}
	GPU_NAME(graph_free)(g, graph);
	g->error = cudaSuccess;
	(void)cudaGetLastError();
	return can;
}

static int device_open(struct gpu **out, int device, int in_order, struct err *e)
{
	struct cudaDeviceProp p;
	struct gpu *g;
	cudaError_t r;
	void *arrived;
	int at = device_find(device, &p);
	*out = NULL;
	if (at < 0) return none_found(device, e);
	g = static_cast<struct gpu *>(mem_calloc(1, sizeof *g));
	if (!g) return err_set(e, E_MEMORY, "out of memory to open GPU %.60s", p.name);
	g->device = at;
	g->sms = p.multiProcessorCount;
	r = device_set(g);
	if (r == cudaSuccess) r = cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking);
	if (r != cudaSuccess) {
		err_set(e, r == cudaErrorMemoryAllocation ? E_MEMORY : E_UNSUPPORTED, "GPU %.60s: %s", p.name, cudaGetErrorString(r));
		goto out;
	}
	if (GPU_NAME(alloc)(g, sizeof *g->arrived * GPU_HEADS, "work space", &arrived, e) != OK) goto out;
	g->arrived = static_cast<uint32_t *>(arrived);
	g->launches.overlap = !in_order && p.major >= CAPABILITY_OVERLAP && can_overlap(g);
	*out = g;
	return OK;
out:
	table_close(g);
	return e ? e->status : E_UNSUPPORTED;
}

static int table_open(struct gpu **out, int device, struct err *e)
{
	return device_open(out, device, 0, e);
}

static int table_open_in_order(struct gpu **out, int device, struct err *e)
{
	return device_open(out, device, 1, e);
}

/* Of the current device: bytes that may be taken still, and that it has; 0 where it does not tell. */
static void room(size_t *free, size_t *total)
{
	size_t spare;
	if (cudaMemGetInfo(free, total) != cudaSuccess) *free = *total = 0;
	(void)cudaGetLastError();
	spare = *total / 64 < (size_t)GPU_SPARE ? *total / 64 : (size_t)GPU_SPARE;
	*free = *free > spare ? *free - spare : 0;
}

static void table_info(const struct gpu *g, struct gpu_info *out)
{
	struct cudaDeviceProp p;
	size_t free = 0, total = 0;
	memset(out, 0, sizeof *out);
	(void)device_set(g);
	if (cudaGetDeviceProperties(&p, g->device) == cudaSuccess) {
		snprintf(out->name, sizeof out->name, "%.63s", p.name);
		out->major = p.major;
		out->minor = p.minor;
		out->sms = p.multiProcessorCount;
	}
	room(&free, &total);
	out->memory = total;
	out->free = free;
	for (const struct gpu_block *b = g->blocks; b; b = b->next) out->held += b->bytes;
}

static int block_add(struct gpu_block **list, void *p, uint64_t bytes)
{
	struct gpu_block *b = static_cast<struct gpu_block *>(mem_alloc(sizeof *b));
	if (!b) return 0;
	*b = gpu_block{ *list, p, bytes };
	*list = b;
	return 1;
}

static void block_drop(struct gpu_block **list, const void *p)
{
	for (; *list; list = &(*list)->next)
		if ((*list)->p == p) {
			struct gpu_block *b = *list;
			*list = b->next;
			mem_free(b);
			return;
		}
}

int GPU_NAME(alloc)(struct gpu *g, uint64_t bytes, const char *what, void **out, struct err *e)
{
	size_t free = 0, total = 0;
	cudaError_t r;
	*out = NULL;
	device_use(g);
	if (g->recording) return err_set(e, E_BUG, "memory for %s while a pass is recorded", what);
	room(&free, &total);
	r = bytes > free && total ? cudaErrorMemoryAllocation : cudaMalloc(out, bytes ? bytes : 1);
	if (r == cudaSuccess) {
		gpu_check(g, cudaMemsetAsync(*out, 0, bytes, g->stream), what);
		if (block_add(&g->blocks, *out, bytes)) return OK;
		(void)cudaFree(*out);
		*out = NULL;
		return err_set(e, E_MEMORY, "out of memory for %s", what);
	}
	*out = NULL;
	(void)cudaGetLastError();   /* else the next launch would be blamed */
	if (r != cudaErrorMemoryAllocation) {
		gpu_check(g, r, what);
		return err_set(e, E_IO, "device lost: %s: %s", what, cudaGetErrorString(r));
	}
	return err_set(e, E_MEMORY, "out of GPU memory: %s takes %.1f MiB, %.1f of %.1f MiB are free", what,
		(double)bytes / (1 << 20), (double)free / (1 << 20), (double)total / (1 << 20));
}

void GPU_NAME(release)(struct gpu *g, void *device)
{
	if (!device) return;
	device_use(g);
	gpu_check(g, cudaStreamSynchronize(g->stream), "release");
	block_drop(&g->blocks, device);
	gpu_check(g, cudaFree(device), "release");
}

int GPU_NAME(alloc_host)(struct gpu *g, size_t bytes, void **out, struct err *e)
{
	cudaError_t r;
	*out = NULL;
	device_use(g);
	if (g->recording) return err_set(e, E_BUG, "page-locked memory while a pass is recorded");
	r = cudaHostAlloc(out, bytes ? bytes : 1, cudaHostAllocPortable);
	if (r == cudaSuccess) {
		if (block_add(&g->host_blocks, *out, bytes)) return OK;
		(void)cudaFreeHost(*out);
	}
	*out = NULL;
	(void)cudaGetLastError();
	if (r != cudaSuccess && r != cudaErrorMemoryAllocation) {
		gpu_check(g, r, "page-locked memory");
		return err_set(e, E_IO, "device lost: page-locked memory: %s", cudaGetErrorString(r));
	}
	return err_set(e, E_MEMORY, "out of memory: %.1f MiB, page-locked", (double)bytes / (1 << 20));
}

void GPU_NAME(release_host)(struct gpu *g, void *p)
{
	if (!p) return;
	device_use(g);
	gpu_check(g, cudaStreamSynchronize(g->stream), "release_host");
	block_drop(&g->host_blocks, p);
	gpu_check(g, cudaFreeHost(p), "release_host");
}

static int is_locked(const struct gpu *g, const void *p)
{
	const uintptr_t at = reinterpret_cast<uintptr_t>(p);
	for (const struct gpu_block *b = g->host_blocks; b; b = b->next)
		if (at - reinterpret_cast<uintptr_t>(b->p) < b->bytes) return 1;
	return 0;
}

/* What a recorded pass would read long after. */
static int is_refused(struct gpu *g, const void *host)
{
	if (!g->recording || is_locked(g, host)) return 0;
	gpu_check(g, cudaErrorInvalidValue, "a copy of pageable memory in a recorded pass");
	return 1;
}

void GPU_NAME(copy_in)(struct gpu *g, void *device, const void *host, size_t bytes)
{
	if (!bytes || is_refused(g, host)) return;
	device_use(g);
	gpu_check(g, cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, g->stream), "copy_in");
	/* mostly staged by now; where the device reads pageable memory by itself, not */
	if (!is_locked(g, host)) gpu_check(g, cudaStreamSynchronize(g->stream), "copy_in");
}

static void table_copy_out(struct gpu *g, void *host, const void *device, size_t bytes)
{
	if (!bytes || is_refused(g, host)) return;
	device_use(g);
	gpu_check(g, cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, g->stream), "copy_out");
}

static void table_copy(struct gpu *g, void *to, const void *from, size_t bytes)
{
	if (!bytes) return;
	device_use(g);
	gpu_check(g, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, g->stream), "copy");
}

int GPU_NAME(sync)(struct gpu *g, struct err *e)
{
	device_use(g);
	gpu_check(g, cudaStreamSynchronize(g->stream), "sync");
	if (g->error == cudaSuccess) return OK;
	return err_set(e, E_IO, "device lost: %s: %s", g->failed, cudaGetErrorString(g->error));
}

/* Relaxed: a kernel that is queued for the first time may load its code meanwhile. */
int GPU_NAME(record)(struct gpu *g, struct err *e)
{
	cudaError_t r;
	device_use(g);
	if (g->recording) return err_set(e, E_BUG, "a pass is being recorded already");
	r = g->error != cudaSuccess ? g->error : cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeRelaxed);
	if (r != cudaSuccess) {
		gpu_check(g, r, "record");
		return err_set(e, E_IO, "device lost: record: %s", cudaGetErrorString(r));
	}
	g->recording = 1;
	return OK;
}

int GPU_NAME(recorded)(struct gpu *g, struct gpu_graph **out, struct err *e)
{
	cudaGraph_t graph = NULL;
	cudaGraphExec_t exec = NULL;
	cudaError_t r;
	*out = NULL;
	device_use(g);
	if (!g->recording) return err_set(e, E_BUG, "no pass is being recorded");
	g->recording = 0;
	r = cudaStreamEndCapture(g->stream, &graph);
	if (r == cudaSuccess && g->error == cudaSuccess) r = cudaGraphInstantiate(&exec, graph, 0);
	if (r == cudaSuccess && exec) r = cudaGraphUpload(exec, g->stream);     /* takes its memory now, where that may fail */
	if (graph) (void)cudaGraphDestroy(graph);
	if (r == cudaErrorMemoryAllocation) {
		if (exec) (void)cudaGraphExecDestroy(exec);
		(void)cudaGetLastError();
		return err_set(e, E_MEMORY, "out of GPU memory for a recorded pass");
	}
	gpu_check(g, r, "recorded");
	if (g->error != cudaSuccess)
		return err_set(e, E_IO, "device lost: %s: %s", g->failed, cudaGetErrorString(g->error));
	*out = reinterpret_cast<struct gpu_graph *>(exec);
	return OK;
}

void GPU_NAME(replay)(struct gpu *g, struct gpu_graph *graph)
{
	device_use(g);
	gpu_check(g, cudaGraphLaunch(reinterpret_cast<cudaGraphExec_t>(graph), g->stream), "replay");
}

void GPU_NAME(graph_free)(struct gpu *g, struct gpu_graph *graph)
{
	if (!graph) return;
	device_use(g);
	gpu_check(g, cudaStreamSynchronize(g->stream), "graph_free");
	gpu_check(g, cudaGraphExecDestroy(reinterpret_cast<cudaGraphExec_t>(graph)), "graph_free");
}

static constexpr struct gpu_table table_of(const char *name, int (*open)(struct gpu **, int, struct err *), const struct gpu_table *in_order)
{
	return {
		.name = name,
		.in_order = in_order,
		.count = table_count,
		.open = open,
		.close = table_close,
		.info = table_info,
		.alloc = GPU_NAME(alloc),
		.release = GPU_NAME(release),
		.alloc_host = GPU_NAME(alloc_host),
		.release_host = GPU_NAME(release_host),
		.copy_in = GPU_NAME(copy_in),
		.copy_out = table_copy_out,
		.copy = table_copy,
		.sync = GPU_NAME(sync),
		.work_bytes = GPU_NAME(work_bytes),
		.work_make = GPU_NAME(work_make),
		.matrix_bytes = GPU_NAME(matrix_bytes),
		.matrix_load = GPU_NAME(matrix_load),
		.record = GPU_NAME(record),
		.recorded = GPU_NAME(recorded),
		.replay = GPU_NAME(replay),
		.graph_free = GPU_NAME(graph_free),
		.embed = GPU_NAME(embed),
		.linear = GPU_NAME(linear),
		.rope = GPU_NAME(rope),
		.attend = GPU_NAME(attend),
		.attend_floats = GPU_NAME(attend_floats),
		.add_normed = GPU_NAME(add_normed),
		.top = GPU_NAME(top),
		.top_bytes = GPU_NAME(top_bytes),
		.encode_load = GPU_NAME(encode_load),
		.encode_norm = GPU_NAME(encode_norm),
		.encode_linear = GPU_NAME(encode_linear),
		.encode_attend = GPU_NAME(encode_attend),
		.encode_pool = GPU_NAME(encode_pool),
		.scan = GPU_NAME(scan),
		.scan_bytes = GPU_NAME(scan_bytes),
	};
}

#ifdef GPU_HOST
#define TABLE_NAME "host"
#else
#define TABLE_NAME "cuda"
#endif
static constexpr struct gpu_table in_order = table_of(TABLE_NAME " in order", table_open_in_order, NULL);
constexpr struct gpu_table GPU_NAME(table) = table_of(TABLE_NAME, table_open, &in_order);

#ifndef GPU_HOST
extern "C" int gpu_choose(const struct gpu_table **out, struct err *e)
{
	(void)e;
	*out = &cuda_table;
	return OK;
}
#endif
