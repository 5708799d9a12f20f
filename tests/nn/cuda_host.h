/* cuda_host.h: an emulator of what nn/cuda.h speaks of, for g++: kernels run thread by thread on the host. It stands in
 * front of every .cu file on the command line (-include), with -DGPU_HOST.
 *
 * A block's threads are fibers. One runs until it waits for its warp or its block; then another. The order in which they
 * run changes from wait to wait, and that of blocks from kernel to kernel, so that a missing barrier shows. Shared memory
 * begins as garbage, ends in a page that cannot be touched, and is of the size that was asked for; a device's memory likewise, in units of
 * 256 bytes; what copy16_async copies arrives at copy_wait, at once, or now so and now so, kernel by kernel. Reported as an error of the
 * stream, with kernel, block and thread: a wait that not all threads of a warp or block reach, or reach with different calls; ldmatrix of
 * rows that are not aligned or not in shared memory; launches out of bounds, and of more shared memory than the kernel may have now; copies out of an allocation. Everything queued on a stream runs at its
 * cudaStreamSynchronize, or at a call that implies it: what is read before shows that too.
 * mma sums as tensor cores of compute capability 8.0 were found to (Fasi et al. 2021; their vendor does not tell): eight products at a
 * time beside what was there, each cut to a bit more than a float has of the largest, and the sum cut to a float.
 * Kernels that may begin early (CUDA_FOLLOW) do: now and then some of the next kernel's blocks run up to await_earlier before the
 * one in front of it has begun, so that what they read too early is old, and what they wrote is there too early. Reported: a
 * thread of such a kernel that ends without that wait, memory that is not the same when blocks have come there, and a kernel that may
 * begin early behind something else than such a kernel.
 * Threads: one kernel at a time in the process; a stream is one thread's. */
#ifndef TESTS_NN_CUDA_HOST_H
#define TESTS_NN_CUDA_HOST_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <immintrin.h>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

/* --- vectors --- */
#define HOST_VECTOR(name, type, n, bytes) \
	struct alignas(bytes) name##2 { type x, y; }; \
	struct name##3 { type x, y, z; }; \
	struct alignas(n) name##4 { type x, y, z, w; }; \
	static inline name##2 make_##name##2(type x, type y) { return { x, y }; } \
	static inline name##4 make_##name##4(type x, type y, type z, type w) { return { x, y, z, w }; }
HOST_VECTOR(float, float, 16, 8)
HOST_VECTOR(int, int, 16, 8)
HOST_VECTOR(uint, unsigned, 16, 8)
HOST_VECTOR(ushort, unsigned short, 8, 4)
HOST_VECTOR(uchar, unsigned char, 4, 2)
struct dim3 {
	unsigned x, y, z;
	dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

static inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, sizeof u); return u; }
static inline int __float_as_int(float f) { int u; memcpy(&u, &f, sizeof u); return u; }
static inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, sizeof f); return f; }
static inline float __int_as_float(int u) { float f; memcpy(&f, &u, sizeof f); return f; }
static inline float rsqrtf(float v) { return 1 / sqrtf(v); }
template <typename T> static inline T __ldg(const T *p) { return *p; }
template <typename A, typename B> static inline std::common_type_t<A, B> min(A a, B b)
{
	return static_cast<std::common_type_t<A, B>>(a) < static_cast<std::common_type_t<A, B>>(b) ? a : b;
}
template <typename A, typename B> static inline std::common_type_t<A, B> max(A a, B b)
{
	return static_cast<std::common_type_t<A, B>>(a) > static_cast<std::common_type_t<A, B>>(b) ? a : b;
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select)
{
	const uint64_t all = static_cast<uint64_t>(b) << 32 | a;
	unsigned out = 0;
	for (int i = 0; i < 4; i++) {
		const unsigned s = select >> 4 * i & 15;
		unsigned byte = static_cast<unsigned>(all >> 8 * (s & 7)) & 255;
		if (s & 8) byte = byte & 128 ? 255 : 0;
		out |= byte << 8 * i;
	}
	return out;
}
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __clz(int v) { return v ? __builtin_clz(static_cast<unsigned>(v)) : 32; }

/* --- a thread of a block --- */
struct host_thread;
struct host_place { uint3 thread; dim3 block, block_dim, grid_dim; };
extern struct host_place host_at;           /* of the thread that runs */
#define threadIdx (host_at.thread)
#define blockIdx (host_at.block)
#define blockDim (host_at.block_dim)
#define gridDim (host_at.grid_dim)

void host_block_wait();
void host_warp_wait();
void await_earlier();
uint64_t host_exchange(uint64_t v, int lane);
float host_warp_sum(float v);
float host_warp_max(float v);
void host_mma(float d[4], const uint32_t a[4], const uint32_t b[2], int is_bf16);
void host_mma_bytes(int32_t d[4], const uint32_t a[4], const uint32_t b[2]);
void host_ldmatrix(uint32_t r[4], const void *row, int transposed);
void host_copy16(void *shared, const void *global);
void host_copy_commit();
void host_copy_wait(int n);
unsigned char *host_shared();
unsigned char *host_shared_n(const void *key, size_t bytes);

static inline float half_float(uint16_t h) { return _cvtsh_ss(h); }
static inline uint16_t float_half(float f) { return _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline uint16_t float_bf16(float f)
{
	const unsigned x = __float_as_uint(f);
	if (f != f) return 0x7fff;
	return static_cast<uint16_t>((x + 0x7fff + (x >> 16 & 1)) >> 16);
}
static inline uint32_t half_pair(float low, float high)
{
	return float_half(low) | static_cast<uint32_t>(float_half(high)) << 16;
}
static inline void __threadfence() {}
static inline unsigned atomicAdd(unsigned *p, unsigned n)
{
	const unsigned old = *p;
	*p += n;
	return old;
}
static inline void prefetch_line(const void *) {}
static inline float load_fresh(const float *p) { return *p; }
static inline void load_fresh4(float v[4], const float *p) { memcpy(v, p, 4 * sizeof *p); }

#define __syncthreads host_block_wait
#define __syncwarp host_warp_wait
#define CUDA_SHARED(type, name) type *const name = reinterpret_cast<type *>(host_shared())
#define CUDA_SHARED_N(type, name, n) \
	static const char name##_of_block = 0; \
	type *const name = reinterpret_cast<type *>(host_shared_n(&name##_of_block, sizeof(type) * (n)))

template <typename T> static inline T warp_exchange(T v, int lane)
{
	static_assert(sizeof(T) <= 8, "a warp exchanges up to 8 bytes");
	uint64_t bits = 0;
	memcpy(&bits, &v, sizeof v);
	bits = host_exchange(bits, lane);
	memcpy(&v, &bits, sizeof v);
	return v;
}
template <typename T> static inline T warp_xor(T v, int mask) { return warp_exchange(v, (threadIdx.x ^ mask) % 32); }
static inline float warp_sum(float v) { return host_warp_sum(v); }
static inline float warp_max(float v) { return host_warp_max(v); }
static inline void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) { host_mma(d, a, b, 1); }
static inline void mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2]) { host_mma(d, a, b, 0); }
static inline void mma_bytes(int32_t d[4], const uint32_t a[4], const uint32_t b[2]) { host_mma_bytes(d, a, b); }
static inline void ldmatrix4(uint32_t r[4], const void *row) { host_ldmatrix(r, row, 0); }
static inline void ldmatrix4_t(uint32_t r[4], const void *row) { host_ldmatrix(r, row, 1); }
static inline void copy16_async(void *shared, const void *global) { host_copy16(shared, global); }
static inline void copy_commit() { host_copy_commit(); }
static inline void copy_wait(int n) { host_copy_wait(n); }

/* --- the runtime --- */
enum cudaError_t { cudaSuccess, cudaErrorInvalidValue, cudaErrorMemoryAllocation, cudaErrorInvalidDevice,
	cudaErrorStreamCaptureUnsupported, cudaErrorLaunchFailure, cudaErrorNoDevice };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed };
enum { cudaStreamNonBlocking = 1, cudaHostAllocPortable = 1 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize, cudaFuncAttributePreferredSharedMemoryCarveout };
enum { cudaSharedmemCarveoutMaxShared = 100 };
struct cudaFuncAttributes { size_t sharedSizeBytes; int maxDynamicSharedSizeBytes; }; /* the first is not known here before a kernel runs: 0 */
struct cudaDeviceProp { char name[256]; int major, minor, multiProcessorCount; };
typedef struct host_stream *cudaStream_t;
typedef struct host_graph *cudaGraph_t;
typedef struct host_graph *cudaGraphExec_t;

cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t s);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *kernel);
cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute which, int value);
cudaError_t cudaGetLastError();
const char *cudaGetErrorString(cudaError_t r);

struct host_kernel {
	const char *name;
	const void *function;
	dim3 grid;
	unsigned threads;
	size_t shared;
	int follows, is_early;                /* by CUDA_FOLLOW; and it may begin before the kernel in front of it is done */
	std::function<void()> body;
};
cudaError_t host_launch(cudaStream_t s, struct host_kernel k);

struct cuda_launches;
static inline unsigned cuda_is_early(struct cuda_launches *l, int follows);
static inline cudaError_t cuda_ask(struct cuda_launches *l, int follows, const void *kernel);
template <typename... P, typename... A>
static cudaError_t cuda_launch(cudaStream_t stream, struct cuda_launches *l, int follows, const char *name, void (*kernel)(P...),
	dim3 grid, unsigned threads, size_t shared, A... args)
{
	const void *function = reinterpret_cast<const void *>(kernel);
	const cudaError_t r = cuda_ask(l, follows, function);
	if (r != cudaSuccess) return r;
	return host_launch(stream, { name, function, grid, threads, shared, follows, (int)cuda_is_early(l, follows),
		[=] { kernel(static_cast<P>(args)...); } });
}

#endif
