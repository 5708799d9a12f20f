/* cuda.h: the words in which kernels are written, and how they are launched.
 *
 * A .cu file of this room is compiled twice: by nvcc for the GPU, and (-DGPU_HOST) by g++ for tests, where an emulator
 * runs every kernel thread by thread (tests/nn/cuda_host.h, put in front on the command line). Both understand:
 *   __device__ __global__ __forceinline__ __launch_bounds__(n) threadIdx blockIdx blockDim gridDim __syncthreads()
 *   __syncwarp(), vectors (float4, uint4 …), fmaf and its kin, __float_as_uint, __uint_as_float, __byte_perm, min, max;
 *   the runtime's calls that ops_cuda.cu makes;
 *   CUDA_KERNEL(name)(args) { … }       a kernel; before it `template <…>` may stand
 *   CUDA_LAUNCH(g, kernel, grid, threads, shared_bytes, args…)   on g's stream; grid: cuda_grid(x, y, z) or a number;
 *                                       a kernel with commas in its name in brackets: (kernel<4, 2>)
 *   CUDA_FOLLOW(g, …)                   the same, of a kernel that may begin before the one in front of it is done (below)
 *   await_earlier()                     waits until all that was queued before the kernel is done; for its whole warp
 *   CUDA_FN, CUDA_BOTH                  before a function of the device, of both; CUDA_UNROLL, CUDA_ROLL before a loop
 *   CUDA_SHARED(type, name)             type *name: the block's shared_bytes of shared memory, aligned to 128 bytes
 *   CUDA_SHARED_N(type, name, n)        type *name: n more of them, of this kernel itself; n a constant
 *   warp_sum warp_max(float)            of the warp's 32, all of them the same bits, in the order of a butterfly
 *   warp_exchange(v, lane), warp_xor(v, mask)   v of another lane, of up to 8 bytes
 *   half_float float_half bf16_float float_bf16  between float and 16 bits (uint16_t); to nearest, ties to even
 *   half_pair(low, high)                two floats as halves in 32 bits
 *   __threadfence() atomicAdd(unsigned *, n) load_fresh load_fresh4: what other blocks of the kernel wrote, read past the
 *                                       first-level cache; 4: floats, aligned to 16 bytes
 *   prefetch_line(global)               asks for the 128 bytes around it: to the second-level cache
 *   mma_bf16 mma_f16(d[4], a[4], b[2])  d += a b, m16n8k16, sums in floats; fragments as the PTX ISA has them
 *   mma_bytes(d[4], a[4], b[2])         the same of int8 times uint8, m16n8k32, in whole numbers
 *   ldmatrix4 ldmatrix4_t(r[4], row)    four 8 x 8 matrices of 16 bits from shared memory; row: of lane 8i+j, row j of
 *                                       matrix i, aligned to 16 bytes; _t: transposed
 *   copy16_async(shared, global)        16 bytes, both aligned; copy_commit() ends a group of them; copy_wait(n): all
 *                                       groups but the last n are there for this thread (others: then __syncthreads)
 * Overlap. A launch costs a device one to three microseconds in which it has little to do: blocks of the kernel before leave one by
 * one, then the next ones come. From compute capability 9.0 on (programmatic dependent launch) a kernel of CUDA_FOLLOW that stands
 * directly behind another of CUDA_FOLLOW, with nothing between, may put blocks where there is room as soon as each block of that
 * one is past its await_earlier. What makes this give the same bits as one after the other:
 *   - Before await_earlier a kernel reads constants alone (weights), and writes to its own shared memory alone. Constant is what
 *     kernels of CUDA_LAUNCH or copies have laid down: these, and what is queued directly behind them, begin when all before is
 *     done and can be seen. So matrix_load and encode_load use CUDA_LAUNCH. Neither __ldg nor __restrict__ is used, as those
 *     would let loads be moved in front of the wait.
 *   - Every thread of every block of such a kernel calls await_earlier, also where it has nothing to do: so a kernel that is done
 *     says that all before it are, though it waits for the one before it alone.
 *   - await_earlier lets the next kernel begin, but not before it has waited itself. So only two kernels are there at a time: what
 *     one does early meets nothing but the other; counters, work space and activations of older ones are settled.
 *   - Copies, recording, replays and all other calls stand between kernels like kernels of CUDA_LAUNCH: wholly behind what is before
 *     them, and wholly before what is behind. Of the edges of a recorded pass only those from kernel to kernel may be such.
 * The emulator runs kernels so, with the blocks of the next as far as they come before those of this one, and reports what breaks
 * the rules. A table's in_order (gpu.h) has none of it.
 * Rules. Blocks are one-dimensional, of whole warps, of at most 1024 threads and CUDA_SHARED_MOST bytes of shared memory,
 * at most CUDA_SHARED_OWN of them by CUDA_SHARED_N; it begins as garbage. What a warp does together (sums, exchanges, mma, ldmatrix, __syncwarp) all its lanes do,
 * and what a block does together all its threads; a thread that has returned does nothing more. Products and sums are
 * not joined (-fmad=false, -ffp-contract=off): write fmaf. No fast math. Functions and kernels are static: both bodies
 * may be linked into one program. Neither body throws. */
#ifndef NN_CUDA_H
#define NN_CUDA_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#ifndef GPU_HOST
#include <cuda_runtime.h>
#endif

#define CUDA_KERNEL(name) static __global__ void name
#define CUDA_FN static __device__ __forceinline__
/* For the host too; before loops whose turns index registers; before those that are to stay short. */
#define CUDA_BOTH static __host__ __device__ inline
#ifdef GPU_HOST
#define CUDA_UNROLL
#define CUDA_ROLL
#else
#define CUDA_UNROLL _Pragma("unroll")
#define CUDA_ROLL _Pragma("unroll 1")
#endif
enum { CUDA_WARP = 32, CUDA_SHARED_MOST = 99 << 10, CUDA_SHARED_OWN = 8 << 10 };

enum { CUDA_ASKED = 256 };
struct cuda_launches {                 /* of a device */
	int overlap;                   /* it can, and may */
	int follows;                   /* what was queued last is a kernel of CUDA_FOLLOW */
	unsigned asked_n;
	const void *asked[CUDA_ASKED];  /* kernels that have run */
};

/* Whether the kernel that is queued now may begin early. */
static inline unsigned cuda_is_early(struct cuda_launches *l, int follows)
{
	const unsigned early = follows && l->follows && l->overlap;
	l->follows = follows;
	return early;
}

/* Once a kernel and opening. A block may have all the shared memory that there is, where it is 48 KiB else: all, for the limit is the
 * kernel's in the whole process, and a lower one would be another opening's and that of recorded passes too. Kernels of CUDA_FOLLOW want
 * the same of a multiprocessor, as much shared memory as it can have: those that divide its memory otherwise than the kernel in front
 * wait until that has left it. */
static inline cudaError_t cuda_ask(struct cuda_launches *l, int follows, const void *kernel)
{
	struct cudaFuncAttributes has;
	cudaError_t r = cudaSuccess;
	unsigned i = 0;
	while (i < l->asked_n && l->asked[i] != kernel) i++;
	if (i < l->asked_n) return r;
	if (follows && l->overlap) r = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
	if (r == cudaSuccess) r = cudaFuncGetAttributes(&has, kernel);
	if (r == cudaSuccess)
		r = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, CUDA_SHARED_MOST - static_cast<int>(has.sharedSizeBytes));
	if (r == cudaSuccess && i < CUDA_ASKED) l->asked[l->asked_n++] = kernel;
	return r;
}

#ifndef GPU_HOST
#define CUDA_SHARED(type, name) \
	extern __shared__ __align__(128) unsigned char cuda_shared_bytes[]; \
	type *const name = reinterpret_cast<type *>(cuda_shared_bytes)
#define CUDA_SHARED_N(type, name, n) \
	__shared__ __align__(16) type name##_of_block[n]; \
	type *const name = name##_of_block

template <typename... P, typename... A>
static cudaError_t cuda_launch(cudaStream_t stream, struct cuda_launches *l, int follows, const char *name, void (*kernel)(P...),
	dim3 grid, unsigned threads, size_t shared, A... args)
{
	cudaLaunchAttribute early = {};
	cudaLaunchConfig_t c = {};
	cudaError_t r = cuda_ask(l, follows, reinterpret_cast<const void *>(kernel));
	(void)name;
	early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
	early.val.programmaticStreamSerializationAllowed = 1;
	c.gridDim = grid;
	c.blockDim = dim3(threads);
	c.dynamicSmemBytes = shared;
	c.stream = stream;
	c.attrs = &early;
	c.numAttrs = cuda_is_early(l, follows);
	if (r == cudaSuccess) r = cudaLaunchKernelEx(&c, kernel, static_cast<P>(args)...);
	if (r != cudaSuccess) (void)cudaGetLastError();
	return r;
}

CUDA_FN void await_earlier()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.wait;" ::: "memory");
	asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

template <typename T> CUDA_FN T warp_exchange(T v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
template <typename T> CUDA_FN T warp_xor(T v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }

CUDA_FN float warp_sum(float v)
{
	for (int mask = 16; mask; mask >>= 1) v += warp_xor(v, mask);
	return v;
}

CUDA_FN float warp_max(float v)
{
	for (int mask = 16; mask; mask >>= 1) v = fmaxf(v, warp_xor(v, mask));
	return v;
}

CUDA_FN float half_float(uint16_t h)
{
	float f;
	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
	return f;
}

CUDA_FN uint16_t float_half(float f)
{
	uint16_t h;
	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}

CUDA_FN uint16_t float_bf16(float f)
{
	uint16_t h;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}

CUDA_FN uint32_t half_pair(float low, float high)
{
	uint32_t w;
	asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
	return w;
}

CUDA_FN void prefetch_line(const void *global) { asm volatile("prefetch.global.L2 [%0];" :: "l"(global)); }
CUDA_FN float load_fresh(const float *p) { return __ldcg(p); }
CUDA_FN void load_fresh4(float v[4], const float *p)
{
	const float4 f = __ldcg(reinterpret_cast<const float4 *>(p));
	v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
}

CUDA_FN void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		: "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

CUDA_FN void mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		: "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

CUDA_FN void mma_bytes(int32_t d[4], const uint32_t a[4], const uint32_t b[2])
{
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		: "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

CUDA_FN uint32_t cuda_shared_at(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

CUDA_FN void ldmatrix4(uint32_t r[4], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
		: "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(cuda_shared_at(row)) : "memory");
}

CUDA_FN void ldmatrix4_t(uint32_t r[4], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
		: "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(cuda_shared_at(row)) : "memory");
}

CUDA_FN void copy16_async(void *shared, const void *global)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(cuda_shared_at(shared)), "l"(global) : "memory");
}

CUDA_FN void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* n: a constant. */
#define copy_wait(n) asm volatile("cp.async.wait_group %0;" :: "n"(n) : "memory")
#endif

/* An err.h, gpu.h … is C: names as a C compiler gives them. */
#define _Static_assert static_assert

CUDA_FN float bf16_float(uint16_t h) { return __uint_as_float(static_cast<uint32_t>(h) << 16); }
CUDA_FN int cuda_lane() { return static_cast<int>(threadIdx.x % CUDA_WARP); }
static inline dim3 cuda_grid(size_t x, size_t y = 1, size_t z = 1)
{
	return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
}

/* The sum of v over the block, the same bits for all: warps in turn. parts: 32 floats of shared memory, free again at the
 * block's next __syncthreads. */
CUDA_FN float block_sum(float v, float *parts)
{
	float sum = warp_sum(v);
	if (cuda_lane() == 0) parts[threadIdx.x / CUDA_WARP] = sum;
	__syncthreads();
	sum = 0;
	for (unsigned i = 0; i < blockDim.x / CUDA_WARP; i++) sum += parts[i];
	return sum;
}

#define CUDA_QUEUE(g, follows, kernel, grid, threads, shared_bytes, ...) \
	gpu_check(g, cuda_launch((g)->stream, &(g)->launches, follows, #kernel, kernel, dim3(grid), threads, shared_bytes, __VA_ARGS__), #kernel)
#define CUDA_LAUNCH(g, kernel, ...) CUDA_QUEUE(g, 0, kernel, __VA_ARGS__)
#define CUDA_FOLLOW(g, kernel, ...) CUDA_QUEUE(g, 1, kernel, __VA_ARGS__)

#endif
