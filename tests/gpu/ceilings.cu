/* ceilings.cu: what the GPU can do at most, and what cuBLAS makes of it: the yardsticks beside which figures stand.
 *
 * Usage: ceilings [device] — "device": only tells of it. Prints lines of JSON: the device; bytes a second that a kernel reads,
 * and that one copies (read and written counted), of 2 GiB each; what a kernel of nothing costs, launched alone and in a graph; then
 * cuBLAS: products of bfloat16 with sums in floats, one large one (what tensor cores give) and those of models' matrices with 1, 16,
 * 64, 512 and 2048 tokens. cuBLAS is opened as the system has it, at run time: where there is none a line says so.
 * Exit code 3: no device. Threads: one. */
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NO_DEVICE = 3, ROUNDS = 7, WARM = 2, WARM_TIMES = 300 /* of 2 GiB read: an idle device's clocks take a while to rise */, READ_THREADS = 512, READ_BLOCKS = 8 };
static const size_t MEMORY_BYTES = (size_t)2 << 30, APART_BYTES = (size_t)256 << 20;
static cudaStream_t stream;

static void need(cudaError_t r, const char *what)
{
	if (r == cudaSuccess) return;
	fprintf(stderr, "ceilings: %s: %s\n", what, cudaGetErrorString(r));
	exit(1);
}

/* Best of rounds, in microseconds. */
template <typename F> static double best_us(F queue)
{
	cudaEvent_t from, to;
	double best = 1e30;
	need(cudaEventCreate(&from), "event");
	need(cudaEventCreate(&to), "event");
	for (int i = 0; i < WARM + ROUNDS; i++) {
		float ms = 0;
		need(cudaEventRecord(from, stream), "record");
		queue();
		need(cudaEventRecord(to, stream), "record");
		need(cudaEventSynchronize(to), "run");
		need(cudaEventElapsedTime(&ms, from, to), "time");
		if (i >= WARM && ms * 1000 < best) best = ms * 1000;
	}
	cudaEventDestroy(from);
	cudaEventDestroy(to);
	return best;
}

/* --- memory --- */
static __global__ void read_all(const uint4 *p, size_t n, unsigned *out)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;
	size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
	uint4 a = make_uint4(0, 0, 0, 0);
	for (; i + 3 * step < n; i += 4 * step) {
		uint4 b = p[i], c = p[i + step], d = p[i + 2 * step], e = p[i + 3 * step];
		a.x |= b.x | c.x | d.x | e.x;
		a.y |= b.y | c.y | d.y | e.y;
		a.z |= b.z | c.z | d.z | e.z;
		a.w |= b.w | c.w | d.w | e.w;
	}
	for (; i < n; i += step) a.x |= p[i].x;
	if ((a.x | a.y | a.z | a.w) == 0xdeadbeef) *out = 1;   /* never: memory is zero */
}

static __global__ void copy_all(const uint4 *from, uint4 *to, size_t n)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;
	for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += step) to[i] = from[i];
}

static __global__ void nothing(void) {}

static void measure_memory(int sms)
{
	uint4 *a, *b;
	const size_t n = MEMORY_BYTES / sizeof *a;
	const unsigned blocks = (unsigned)(sms * READ_BLOCKS);
	need(cudaMalloc(&a, MEMORY_BYTES), "memory");
	need(cudaMalloc(&b, MEMORY_BYTES), "memory");
	need(cudaMemset(a, 0, MEMORY_BYTES), "memory");
	for (int i = 0; i < WARM_TIMES; i++) read_all<<<blocks, READ_THREADS, 0, stream>>>(a, n, (unsigned *)b);
	double us = best_us([&] { read_all<<<blocks, READ_THREADS, 0, stream>>>(a, n, (unsigned *)b); });
	printf("{\"work\": \"read\", \"bytes\": %zu, \"us\": %.3f}\n", MEMORY_BYTES, us);
	us = best_us([&] { copy_all<<<blocks, READ_THREADS, 0, stream>>>(a, b, n); });
	printf("{\"work\": \"copy kernel\", \"bytes\": %zu, \"us\": %.3f}\n", 2 * MEMORY_BYTES, us);
	need(cudaGetLastError(), "kernels");
	cudaFree(a);
	cudaFree(b);
}

static void measure_launch(void)
{
	enum { KERNELS = 200 };
	cudaGraph_t graph;
	cudaGraphExec_t made;
	double us = best_us([&] { for (int i = 0; i < KERNELS; i++) nothing<<<1, 32, 0, stream>>>(); });
	printf("{\"work\": \"launch\", \"how\": \"alone\", \"us\": %.3f}\n", us / static_cast<double>(KERNELS));
	need(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
	for (int i = 0; i < KERNELS; i++) nothing<<<1, 32, 0, stream>>>();
	need(cudaStreamEndCapture(stream, &graph), "capture");
	need(cudaGraphInstantiate(&made, graph, 0), "graph");
	us = best_us([&] { cudaGraphLaunch(made, stream); });
	printf("{\"work\": \"launch\", \"how\": \"graph\", \"us\": %.3f}\n", us / static_cast<double>(KERNELS));
	cudaGraphExecDestroy(made);
	cudaGraphDestroy(graph);
}

/* --- cuBLAS, by the names and numbers of its public interface --- */
enum { CUBLAS_T = 1, CUBLAS_N = 0, CUDA_BF16 = 14, CUDA_F32 = 0, CUBLAS_SUMS_F32 = 68, CUBLAS_ANY = -1 };
struct blas {
	void *handle;
	int (*create)(void **handle);
	int (*set_stream)(void *handle, cudaStream_t s);
	int (*gemm)(void *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int type_a, int lda, const void *b,
		int type_b, int ldb, const void *beta, void *c, int type_c, int ldc, int compute, int algorithm);
};

/* 0, or why there is none. */
static const char *blas_open(struct blas *b)
{
	static const char *const names[] = { "libcublas.so", "libcublas.so.13", "libcublas.so.12", "/usr/local/cuda/lib64/libcublas.so",
		"/usr/local/cuda/lib64/libcublas.so.13", "/usr/local/cuda/lib64/libcublas.so.12" };
	const char *own = getenv("CUBLAS");
	void *lib = own && *own ? dlopen(own, RTLD_NOW) : NULL;
	for (size_t i = 0; !lib && i < sizeof names / sizeof *names; i++) lib = dlopen(names[i], RTLD_NOW);
	if (!lib) return "libcublas is not found (CUBLAS=path names one)";
	*(void **)&b->create = dlsym(lib, "cublasCreate_v2");
	*(void **)&b->set_stream = dlsym(lib, "cublasSetStream_v2");
	*(void **)&b->gemm = dlsym(lib, "cublasGemmEx");
	if (!b->create || !b->set_stream || !b->gemm) return "libcublas lacks a function";
	if (b->create(&b->handle) != 0 || b->set_stream(b->handle, stream) != 0) return "cuBLAS does not start";
	return NULL;
}

static __global__ void fill(uint16_t *p, size_t n, unsigned seed)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;
	for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += step) {
		unsigned h = (unsigned)i * 2654435761u + seed;
		h ^= h >> 15;
		h *= 2246822519u;
		p[i] = (uint16_t)((h & 0x8000) | (0x3c00 + (h >> 20 & 0x1ff)));  /* about ±0.01 to ±0.1 */
	}
}

/* y (n, rows) = x (n, k) w (rows, k)^T, as row-major memory; w copies so many that the cache does not hold them. */
static int measure_product(struct blas *b, const char *model, const char *name, size_t rows, size_t k, size_t n)
{
	const size_t one = rows * k * 2;
	size_t copies = APART_BYTES / one + 1;
	const float alpha = 1, beta = 0;
	uint16_t *w, *x;
	float *y;
	int bad = 0;
	need(cudaMalloc(&w, copies * one), "memory");
	need(cudaMalloc(&x, n * k * 2), "memory");
	need(cudaMalloc(&y, n * rows * sizeof *y), "memory");
	fill<<<1024, 256, 0, stream>>>(w, copies * one / 2, 1);
	fill<<<1024, 256, 0, stream>>>(x, n * k, 2);
	double us = best_us([&] {
		for (size_t i = 0; i < copies; i++)
			bad |= b->gemm(b->handle, CUBLAS_T, CUBLAS_N, (int)rows, (int)n, (int)k, &alpha, w + i * one / 2, CUDA_BF16, (int)k, x,
				CUDA_BF16, (int)k, &beta, y, CUDA_F32, (int)rows, CUBLAS_SUMS_F32, CUBLAS_ANY);
	}) / (double)copies;
	if (!bad)
		printf("{\"work\": \"cublas\", \"model\": \"%s\", \"matrix\": \"%s\", \"rows\": %zu, \"k\": %zu, \"n\": %zu, \"bytes\": %zu, "
			"\"flops\": %.0f, \"us\": %.3f}\n", model, name, rows, k, n, one + n * (2 * k + 4 * rows), 2.0 * (double)rows * (double)k * (double)n, us);
	cudaFree(w);
	cudaFree(x);
	cudaFree(y);
	return bad;
}

static void measure_blas(void)
{
	static const struct { const char *model, *name; size_t rows, k; } m[] = { { "1.5b", "q", 1536, 1536 },
		{ "1.5b", "gate, up", 8960, 1536 }, { "1.5b", "down", 1536, 8960 }, { "8b", "q", 4096, 4096 },
		{ "8b", "gate, up", 14336, 4096 }, { "8b", "down", 4096, 14336 } };
	static const size_t tokens[] = { 1, 16, 64, 512, 2048 };
	struct blas b;
	const char *why = blas_open(&b);
	int bad = 0;
	if (why) {
		printf("{\"work\": \"missing\", \"peer\": \"cublas\", \"why\": \"%s\"}\n", why);
		return;
	}
	bad |= measure_product(&b, "none", "large", 8192, 8192, 8192);
	for (size_t i = 0; i < sizeof m / sizeof *m && !bad; i++)
		for (size_t t = 0; t < sizeof tokens / sizeof *tokens && !bad; t++)
			bad |= measure_product(&b, m[i].model, m[i].name, m[i].rows, m[i].k, tokens[t]);
	if (bad) printf("{\"work\": \"missing\", \"peer\": \"cublas\", \"why\": \"cublasGemmEx returned %d\"}\n", bad);
}

int main(int argc, char **argv)
{
	cudaDeviceProp p;
	int n = 0, clock = 0, width = 0, driver = 0;
	cudaError_t r = cudaGetDeviceCount(&n);
	if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
	if (r != cudaSuccess || n == 0) {
		const char *why = driver == 0 ? "there is no NVIDIA driver" : r != cudaSuccess ? cudaGetErrorString(r) : "the driver sees none";
		fprintf(stderr, "no GPU was found: %s\n", why);
		return NO_DEVICE;
	}
	need(cudaGetDeviceProperties(&p, 0), "properties");
	cudaDeviceGetAttribute(&clock, cudaDevAttrMemoryClockRate, 0);
	cudaDeviceGetAttribute(&width, cudaDevAttrGlobalMemoryBusWidth, 0);
	/* Two bits a clock and wire; clock in kHz. */
	printf("{\"work\": \"device\", \"name\": \"%s\", \"capability\": \"%d.%d\", \"sms\": %d, \"memory\": %zu, \"cache\": %d, \"bus_bytes_per_s\": "
		"%.0f, \"driver\": %d, \"runtime\": %d}\n", p.name, p.major, p.minor, p.multiProcessorCount, p.totalGlobalMem, p.l2CacheSize,
		2.0 * clock * 1000 * width / 8, driver, CUDART_VERSION);
	if (argc > 1 && strcmp(argv[1], "device") == 0) return 0;
	need(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
	measure_memory(p.multiProcessorCount);
	measure_launch();
	measure_blas();
	return 0;
}
