/* cuda_host.cc: owns the emulator that cuda_host.h describes: fibers, what warps and blocks do together, and the calls of
 * the runtime. A fiber is a stack and the registers that calls keep; a switch is a dozen instructions. */
#include "tests/nn/gpu_host.h"
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <algorithm>
#include <mutex>
#include <vector>
extern "C" {
#include "base/mem.h"
}
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

enum { THREADS_MOST = 1024, WARP = 32, STACK_BYTES = 256 << 10, PAGE = 4096, SHARED_MOST = 99 << 10, SHARED_OWN = 8 << 10, CANARY = 64,
	CANARY_BYTE = 0x5c };
enum state { READY, AT_BLOCK, AT_WARP, DONE };
enum op { OP_NONE, OP_WAIT, OP_EXCHANGE, OP_SUM, OP_MAX, OP_MMA_BF16, OP_MMA_F16, OP_MMA_BYTES, OP_LDMATRIX, OP_LDMATRIX_T };
static const char *const op_names[] = { "", "__syncwarp", "warp_exchange", "warp_sum", "warp_max", "mma_bf16", "mma_f16", "mma_bytes",
	"ldmatrix4", "ldmatrix4_t" };

struct copy { void *to; const void *from; int group; };
struct fiber {
	void *sp, *stack;
	enum state state;
	enum op op;                     /* AT_WARP: what it waits to do */
	uint64_t value;
	int lane, group;                /* of exchange; of copies that are not committed */
	float *d;
	int32_t *sums;                  /* in place of d, of mma_bytes */
	const uint32_t *a, *b;
	uint32_t *r;
	const void *row;
	std::vector<copy> copies;
};
struct shared_n { const void *key; unsigned char *p; size_t bytes; };

struct host_place host_at;
static std::mutex host_mutex;
static struct fiber fibers[THREADS_MOST], *now;
static void *main_sp;
static std::vector<void *> stacks;      /* free ones */
static unsigned char *shared_end, *dynamic_at;
static size_t dynamic_bytes;
static std::vector<shared_n> statics;
static const std::function<void()> *body;
static const char *kernel_name;
static unsigned fill, turn, launches;   /* of shared memory; of the order of threads; of blocks, and of copies */
static int broken;
static cudaError_t lost, last;
static char lost_why[300];

/* --- errors --- */

static void lose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void lose(const char *fmt, ...)
{
	va_list ap;
	broken = 1;
	if (lost != cudaSuccess) return;
	lost = cudaErrorLaunchFailure;
	va_start(ap, fmt);
	vsnprintf(lost_why, sizeof lost_why, fmt, ap);
	va_end(ap);
}

static void complain(size_t thread, const char *why, const char *more = "")
{
	lose("kernel %s, block %u,%u,%u, thread %zu: %s%s", kernel_name, host_at.block.x, host_at.block.y, host_at.block.z, thread,
		why, more);
}

/* --- fibers --- */

extern "C" void host_switch(void **from, void *to);
asm(".text\n.globl host_switch\n.type host_switch,@function\nhost_switch:\n"
	"pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
	"movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
	"popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
	".size host_switch,.-host_switch\n");

#ifdef __SANITIZE_ADDRESS__
static const void *main_stack;
static size_t main_stack_bytes;
#endif

/* Not returned from by a fiber that ends, which the thread sanitizer's own stack would keep. */
#define NO_TSAN __attribute__((no_sanitize("thread"), noinline))

NO_TSAN static void fiber_leave(int for_good)
{
#ifdef __SANITIZE_ADDRESS__
	void *fake = NULL;
	struct fiber *me = now;
	__sanitizer_start_switch_fiber(for_good ? NULL : &fake, main_stack, main_stack_bytes);
	host_switch(&me->sp, main_sp);
	__sanitizer_finish_switch_fiber(fake, &main_stack, &main_stack_bytes);
#else
	(void)for_good;
	host_switch(&now->sp, main_sp);
#endif
}

NO_TSAN static void fiber_main()
{
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(NULL, &main_stack, &main_stack_bytes);
#endif
	(*body)();
	now->state = DONE;
	fiber_leave(1);
}

static int fiber_begin(struct fiber *f)
{
	if (stacks.empty()) {
		unsigned char *p = static_cast<unsigned char *>(mmap(NULL, STACK_BYTES + PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
		if (p == MAP_FAILED || mprotect(p, PAGE, PROT_NONE) != 0) return 0;
		stacks.push_back(p + PAGE);
	}
	f->stack = stacks.back();
	stacks.pop_back();
	void **top = reinterpret_cast<void **>(static_cast<unsigned char *>(f->stack) + STACK_BYTES) - 2;
	top[0] = reinterpret_cast<void *>(fiber_main);  /* where the first switch returns to, the stack aligned as after a call */
	top[1] = NULL;
	f->sp = top - 6;
	return 1;
}

/* Runs a thread until it waits or ends. */
static void fiber_run(size_t i)
{
	struct fiber *f = now = &fibers[i];
	host_at.thread.x = static_cast<unsigned>(i);
	if (!f->stack && !fiber_begin(f)) {
		complain(i, "no memory for its stack");
		return;
	}
#ifdef __SANITIZE_ADDRESS__
	void *fake = NULL;
	__sanitizer_start_switch_fiber(&fake, f->stack, STACK_BYTES);
	host_switch(&main_sp, f->sp);
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
	host_switch(&main_sp, f->sp);
#endif
	if (f->state == DONE) {
		stacks.push_back(f->stack);
		f->stack = NULL;
	}
}

/* --- what a warp does together --- */

static void do_exchange(struct fiber *w)
{
	uint64_t got[WARP];
	for (int l = 0; l < WARP; l++) got[l] = w[w[l].lane & (WARP - 1)].value;
	for (int l = 0; l < WARP; l++) w[l].value = got[l];
}

static float float_of(uint64_t v) { return __uint_as_float(static_cast<unsigned>(v)); }

/* The butterfly of cuda.h. */
static void do_reduce(struct fiber *w, int is_sum)
{
	float v[WARP], next[WARP];
	for (int l = 0; l < WARP; l++) v[l] = float_of(w[l].value);
	for (int mask = 16; mask; mask >>= 1) {
		for (int l = 0; l < WARP; l++) next[l] = is_sum ? v[l] + v[l ^ mask] : fmaxf(v[l], v[l ^ mask]);
		memcpy(v, next, sizeof v);
	}
	for (int l = 0; l < WARP; l++) w[l].value = __float_as_uint(v[l]);
}

static float number(uint32_t pair, int upper, int is_bf16)
{
	const uint16_t h = static_cast<uint16_t>(upper ? pair >> 16 : pair);
	return is_bf16 ? __uint_as_float(static_cast<unsigned>(h) << 16) : half_float(h);
}

/* PTX ISA, mma.m16n8k16 with 16-bit types. Lane l: row l/4 (a0, a2) or 8 more (a1, a3), columns 2(l%4) and the next
 * (a0, a1) or 8 more (a2, a3); b: rows of k likewise (b0; b1 8 more), column l/4; d: rows as a0 and a1, columns 2(l%4). */
static void do_mma(struct fiber *w, int is_bf16)
{
	float a[16][16], b[16][8], d[16][8];
	for (int l = 0; l < WARP; l++)
		for (int half = 0; half < 2; half++) {
			const int k = l % 4 * 2 + half, row = l / 4;
			for (int i = 0; i < 4; i++) a[row + i % 2 * 8][k + i / 2 * 8] = number(w[l].a[i], half, is_bf16);
			for (int i = 0; i < 2; i++) b[k + i * 8][row] = number(w[l].b[i], half, is_bf16);
			for (int i = 0; i < 2; i++) d[row + i * 8][k] = w[l].d[2 * i + half];
		}
	for (int i = 0; i < 16; i++)
		for (int k = 0; k < 16; k++)
			for (int j = 0; j < 8; j++) d[i][j] = fmaf(a[i][k], b[k][j], d[i][j]);
	for (int l = 0; l < WARP; l++)
		for (int i = 0; i < 4; i++) w[l].d[i] = d[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
}

/* PTX ISA, mma.m16n8k32 with .s8 and .u8: as above, with four bytes of k in place of two halves. */
static void do_mma_bytes(struct fiber *w)
{
	int a[16][32], b[32][8];
	for (int l = 0; l < WARP; l++)
		for (int byte = 0; byte < 4; byte++) {
			const int k = l % 4 * 4 + byte, row = l / 4;
			for (int i = 0; i < 4; i++) a[row + i % 2 * 8][k + i / 2 * 16] = static_cast<int8_t>(w[l].a[i] >> 8 * byte);
			for (int i = 0; i < 2; i++) b[k + i * 16][row] = static_cast<uint8_t>(w[l].b[i] >> 8 * byte);
		}
	for (int l = 0; l < WARP; l++)
		for (int i = 0; i < 4; i++)
			for (int k = 0; k < 32; k++) w[l].sums[i] += a[l / 4 + i / 2 * 8][k] * b[k][l % 4 * 2 + i % 2];
}

static int is_shared(const void *p, size_t bytes)
{
	const unsigned char *at = static_cast<const unsigned char *>(p);
	if (at >= dynamic_at && at + bytes <= dynamic_at + dynamic_bytes) return 1;
	for (const shared_n &s : statics)
		if (at >= s.p && at + bytes <= s.p + s.bytes) return 1;
	return 0;
}

/* PTX ISA, ldmatrix.m8n8.x4.b16: lane l has of each matrix the pair at row l/4, columns 2(l%4) and the next. */
static void do_ldmatrix(struct fiber *w, size_t first, int transposed)
{
	uint16_t m[4][8][8];
	for (int l = 0; l < WARP; l++) {
		if (reinterpret_cast<uintptr_t>(w[l].row) % 16 || !is_shared(w[l].row, 16)) {
			complain(first + l, "ldmatrix of a row that is not in shared memory or not aligned");
			return;
		}
		memcpy(m[l / 8][l % 8], w[l].row, 16);
	}
	for (int l = 0; l < WARP; l++)
		for (int i = 0; i < 4; i++) {
			const int row = l / 4, col = l % 4 * 2;
			const uint32_t one = transposed ? m[i][col][row] : m[i][row][col], two = transposed ? m[i][col + 1][row] : m[i][row][col + 1];
			w[l].r[i] = one | two << 16;
		}
}

static void do_together(struct fiber *w, size_t first)
{
	switch (w->op) {
	case OP_EXCHANGE: do_exchange(w); break;
	case OP_SUM: case OP_MAX: do_reduce(w, w->op == OP_SUM); break;
	case OP_MMA_BF16: case OP_MMA_F16: do_mma(w, w->op == OP_MMA_BF16); break;
	case OP_MMA_BYTES: do_mma_bytes(w); break;
	case OP_LDMATRIX: case OP_LDMATRIX_T: do_ldmatrix(w, first, w->op == OP_LDMATRIX_T); break;
	default: break;
	}
}

/* Runs a warp until all its threads wait for the block or have ended. */
static void warp_run(size_t first)
{
	struct fiber *w = &fibers[first];
	while (!broken) {
		const unsigned flip = (++turn * 2654435761u >> 27) & (WARP - 1);
		for (unsigned i = 0; i < WARP && !broken; i++)
			if (w[i ^ flip].state == READY) fiber_run(first + (i ^ flip));
		if (broken) return;
		for (int l = 1; l < WARP; l++)
			if (w[l].state != w[0].state || (w[l].state == AT_WARP && w[l].op != w[0].op)) {
				const int at = w[l].state == AT_WARP ? l : 0;
				complain(first + at, w[at].state == AT_WARP ? "its warp does not all come to " : "its warp does not all come to __syncthreads",
					w[at].state == AT_WARP ? op_names[w[at].op] : "");
				return;
			}
		if (w[0].state != AT_WARP) return;
		do_together(w, first);
		for (int l = 0; l < WARP; l++) w[l].state = READY;
	}
}

/* --- blocks --- */

static void shared_begin(size_t bytes)
{
	if (!shared_end) {
		const size_t room = (SHARED_MOST + 2 * PAGE - 1) / PAGE * PAGE;
		unsigned char *p = static_cast<unsigned char *>(mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		if (p == MAP_FAILED || mprotect(p + room, PAGE, PROT_NONE) != 0) {
			lose("no memory for shared memory");
			return;
		}
		shared_end = p + room;
	}
	static const unsigned char fills[] = { 0xff, 0x7b, 0xfb };
	const size_t room = (bytes + 127) / 128 * 128;
	dynamic_bytes = bytes;
	dynamic_at = shared_end - room;
	memset(dynamic_at, fills[++fill % 3], bytes);
	memset(dynamic_at + bytes, CANARY_BYTE, room - bytes);
	for (shared_n &s : statics) memset(s.p, fills[fill % 3], s.bytes);
}

static int is_canary(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != CANARY_BYTE) return 0;
	return 1;
}

static void shared_check()
{
	int good = is_canary(dynamic_at + dynamic_bytes, static_cast<size_t>(shared_end - dynamic_at) - dynamic_bytes);
	for (shared_n &s : statics) good &= is_canary(s.p + s.bytes, CANARY);
	if (!good && !broken) complain(0, "written behind its shared memory");
}

static void statics_end()
{
	for (shared_n &s : statics) mem_free(s.p);
	statics.clear();
}

static void block_run(size_t threads)
{
	for (size_t i = 0; i < threads; i++) {
		fibers[i].state = READY;
		fibers[i].group = 0;
		fibers[i].copies.clear();
	}
	while (!broken) {
		size_t ended = 0, flip = ++turn % 2;
		for (size_t i = 0; i < threads / WARP; i++) {
			const size_t first = (flip ? threads / WARP - 1 - i : i) * WARP;
			if (fibers[first].state == READY) warp_run(first);
			ended += fibers[first].state == DONE;
		}
		if (broken) return;
		if (ended == threads / WARP) return;
		if (ended) {
			for (size_t i = 0; i < threads; i++)
				if (fibers[i].state == AT_BLOCK) {
					complain(i, "waits at __syncthreads for threads that have ended");
					return;
				}
		}
		for (size_t i = 0; i < threads; i++) fibers[i].state = READY;
	}
}

/* The block that is the i-th to run: kernel by kernel upwards, downwards, the even ones first. */
static size_t block_number(size_t i, size_t n)
{
	const size_t even = (n + 1) / 2;
	switch (launches % 3) {
	case 0: return i;
	case 1: return n - 1 - i;
	default: return i < even ? 2 * i : 2 * (i - even) + 1;
	}
}

static void kernel_run(const char *name, dim3 grid, unsigned threads, size_t shared, const std::function<void()> &fn)
{
	if (lost != cudaSuccess) return;
	broken = 0;
	kernel_name = name;
	body = &fn;
	host_at.block_dim = dim3(threads);
	host_at.grid_dim = grid;
	const size_t blocks = (size_t)grid.x * grid.y * grid.z;
	for (size_t i = 0; i < blocks && !broken; i++) {
		const size_t at = block_number(i, blocks);
		host_at.block = dim3((unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y), (unsigned)(at / grid.x / grid.y));
		shared_begin(shared);
		if (!broken) block_run(threads);
		shared_check();
	}
	launches++;
	statics_end();
	if (broken)
		for (struct fiber &f : fibers) f.stack = NULL;  /* their frames are left as they are */
}

/* --- what a thread calls --- */

static void wait_together(enum op op)
{
	now->op = op;
	now->state = AT_WARP;
	fiber_leave(0);
}

void host_block_wait()
{
	now->state = AT_BLOCK;
	fiber_leave(0);
}

void host_warp_wait() { wait_together(OP_WAIT); }

uint64_t host_exchange(uint64_t v, int lane)
{
	struct fiber *me = now;
	me->value = v;
	me->lane = lane;
	wait_together(OP_EXCHANGE);
	return me->value;
}

static float reduce(float v, enum op op)
{
	struct fiber *me = now;
	me->value = __float_as_uint(v);
	wait_together(op);
	return float_of(me->value);
}

float host_warp_sum(float v) { return reduce(v, OP_SUM); }
float host_warp_max(float v) { return reduce(v, OP_MAX); }

void host_mma(float d[4], const uint32_t a[4], const uint32_t b[2], int is_bf16)
{
	now->d = d;
	now->a = a;
	now->b = b;
	wait_together(is_bf16 ? OP_MMA_BF16 : OP_MMA_F16);
}

void host_mma_bytes(int32_t d[4], const uint32_t a[4], const uint32_t b[2])
{
	now->sums = d;
	now->a = a;
	now->b = b;
	wait_together(OP_MMA_BYTES);
}

void host_ldmatrix(uint32_t r[4], const void *row, int transposed)
{
	now->r = r;
	now->row = row;
	wait_together(transposed ? OP_LDMATRIX_T : OP_LDMATRIX);
}

/* Whether a copy arrives at once. Kernel by kernel: none does, all do, some. */
static int is_early()
{
	return launches % 3 == 2 ? ++turn * 2654435761u >> 31 : launches % 3 == 1;
}

void host_copy16(void *shared, const void *global)
{
	const uintptr_t to = reinterpret_cast<uintptr_t>(shared), from = reinterpret_cast<uintptr_t>(global);
	if (to % 16 || from % 16 || !is_shared(shared, 16)) complain(host_at.thread.x, "copy16_async: not aligned, or not to shared memory");
	else if (is_early()) memcpy(shared, global, 16);
	else now->copies.push_back({ shared, global, now->group });
}

void host_copy_commit() { now->group++; }

void host_copy_wait(int n)
{
	std::vector<copy> &c = now->copies;
	size_t done = 0;
	for (; done < c.size() && c[done].group < now->group - n; done++) memcpy(c[done].to, c[done].from, 16);
	c.erase(c.begin(), c.begin() + static_cast<long>(done));
}

unsigned char *host_shared() { return dynamic_at; }

unsigned char *host_shared_n(const void *key, size_t bytes)
{
	size_t all = bytes;
	for (const shared_n &s : statics) {
		if (s.key == key) return s.p;
		all += s.bytes;
	}
	if (all > SHARED_OWN || all + dynamic_bytes > SHARED_MOST) complain(host_at.thread.x, "too much shared memory of its own");
	unsigned char *p = static_cast<unsigned char *>(mem_aligned(128, (bytes + CANARY + 127) / 128 * 128));
	memset(p, 0xff, bytes);
	memset(p + bytes, CANARY_BYTE, CANARY);
	statics.push_back({ key, p, bytes });
	return p;
}

/* --- the runtime --- */

struct host_graph { std::vector<std::function<void()>> ops; };
struct host_stream {
	std::vector<std::function<void()>> queue;
	struct host_graph *capture;
};
struct memory { unsigned char *p; size_t bytes; int is_device; void *mapping; size_t mapped; };
static std::vector<memory> memories;
static uint64_t memory_most = 1 << 30;
static size_t memory_used;
static size_t graphs;            /* that can be launched */
static int fail_after;           /* so many takings of memory until one fails; 0: none does */
static int devices = 1;

typedef std::lock_guard<std::mutex> guard;

static cudaError_t answer(cudaError_t r)
{
	if (lost != cudaSuccess) return lost;
	if (r != cudaSuccess) last = r;
	return r;
}

extern "C" void host_memory(uint64_t bytes) { guard l(host_mutex); memory_most = bytes; }
extern "C" void host_lose(void) { guard l(host_mutex); lose("the test said so"); }
extern "C" void host_fail_after(int n) { guard l(host_mutex); fail_after = n; }
extern "C" size_t host_taken(void) { guard l(host_mutex); return memories.size() + graphs; }
extern "C" void host_devices(int n) { guard l(host_mutex); devices = n; }

cudaError_t cudaDriverGetVersion(int *version)
{
	*version = 13000;
	return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n)
{
	guard l(host_mutex);
	*n = devices;
	return answer(devices ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
	guard l(host_mutex);
	if (device < 0 || device >= devices) return answer(cudaErrorInvalidDevice);
	*p = cudaDeviceProp{ "host", 8, 0, 4 };
	return answer(cudaSuccess);
}

cudaError_t cudaSetDevice(int device)
{
	guard l(host_mutex);
	return answer(device < 0 || device >= devices ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
	guard l(host_mutex);
	*total = memory_most;
	*free = memory_used < memory_most ? memory_most - memory_used : 0;
	return answer(cudaSuccess);
}

static int fails() { return fail_after && --fail_after == 0; }

static cudaError_t memory_take(void **p, size_t bytes, int is_device)
{
	guard l(host_mutex);
	if (lost != cudaSuccess) return lost;
	if (fails()) return answer(cudaErrorMemoryAllocation);
	if (is_device && (memory_used > memory_most || bytes > memory_most - memory_used)) return answer(cudaErrorMemoryAllocation);
	const size_t all = (bytes + 255) / 256 * 256, room = (all + PAGE - 1) / PAGE * PAGE;
	unsigned char *at = static_cast<unsigned char *>(mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (at == MAP_FAILED) return answer(cudaErrorMemoryAllocation);
	if (mprotect(at + room, PAGE, PROT_NONE) != 0) {
		munmap(at, room + PAGE);
		return answer(cudaErrorMemoryAllocation);
	}
	*p = at + room - all;
	memset(*p, 0xa5, all);
	memories.push_back({ static_cast<unsigned char *>(*p), bytes, is_device, at, room + PAGE });
	if (is_device) memory_used += bytes;
	return cudaSuccess;
}

static cudaError_t memory_give(void *p, int is_device)
{
	guard l(host_mutex);
	for (size_t i = 0; i < memories.size(); i++)
		if (memories[i].p == p && memories[i].is_device == is_device) {
			if (is_device) memory_used -= memories[i].bytes;
			munmap(memories[i].mapping, memories[i].mapped);
			memories.erase(memories.begin() + static_cast<long>(i));
			return answer(cudaSuccess);
		}
	return answer(cudaErrorInvalidValue);
}

cudaError_t cudaMalloc(void **p, size_t bytes) { return memory_take(p, bytes, 1); }
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) { return memory_take(p, bytes, 0); }
cudaError_t cudaFree(void *p) { return memory_give(p, 1); }
cudaError_t cudaFreeHost(void *p) { return memory_give(p, 0); }

/* 1: within an allocation of the kind; 0: in none; -1: across its end, or of the other kind. */
static int within(const void *p, size_t bytes, int is_device)
{
	const uintptr_t at = reinterpret_cast<uintptr_t>(p);
	for (const memory &m : memories) {
		const uintptr_t from = reinterpret_cast<uintptr_t>(m.p);
		if (at + bytes <= from || at >= from + m.bytes) continue;
		return m.is_device == is_device && at >= from && at + bytes <= from + m.bytes ? 1 : -1;
	}
	return 0;
}

static void stream_run(cudaStream_t s)
{
	for (const std::function<void()> &op : s->queue)
		if (lost == cudaSuccess) op();
	s->queue.clear();
}

static void stream_put(cudaStream_t s, std::function<void()> op)
{
	(s->capture ? s->capture->ops : s->queue).push_back(std::move(op));
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s)
{
	guard l(host_mutex);
	const int is_to = within(to, bytes, kind != cudaMemcpyDeviceToHost), is_from = within(from, bytes, kind != cudaMemcpyHostToDevice);
	const int host = kind == cudaMemcpyHostToDevice ? is_from : kind == cudaMemcpyDeviceToHost ? is_to : 1;
	if (is_to < 0 || is_from < 0 || (kind != cudaMemcpyDeviceToHost && !is_to) || (kind != cudaMemcpyHostToDevice && !is_from))
		return answer(cudaErrorInvalidValue);
	stream_put(s, [=] { memcpy(to, from, bytes); });
	if (!host && s->capture) return answer(cudaErrorStreamCaptureUnsupported);
	if (!host && kind == cudaMemcpyHostToDevice) stream_run(s);
	return answer(cudaSuccess);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
	guard l(host_mutex);
	if (bytes && within(p, bytes, 1) != 1) return answer(cudaErrorInvalidValue);
	stream_put(s, [=] { memset(p, value, bytes); });
	return answer(cudaSuccess);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
	*s = new host_stream();
	return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
	delete s;
	return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
	guard l(host_mutex);
	if (s->capture) return answer(cudaErrorStreamCaptureUnsupported);
	stream_run(s);
	return answer(cudaSuccess);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
	guard l(host_mutex);
	s->capture = new host_graph();
	return answer(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
	guard l(host_mutex);
	*graph = s->capture;
	s->capture = NULL;
	return answer(*graph ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
	guard l(host_mutex);
	if (fails()) return answer(cudaErrorMemoryAllocation);
	*exec = new host_graph(*graph);
	graphs++;
	return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t)
{
	guard l(host_mutex);
	return answer(fails() ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s)
{
	guard l(host_mutex);
	if (s->capture) return answer(cudaErrorStreamCaptureUnsupported);
	stream_put(s, [=] { for (const std::function<void()> &op : exec->ops) op(); });
	return answer(cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	delete graph;
	return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
	guard l(host_mutex);
	graphs--;
	delete exec;
	return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
	guard l(host_mutex);
	cudaError_t r = lost != cudaSuccess ? lost : last;
	last = cudaSuccess;
	return r;
}

const char *cudaGetErrorString(cudaError_t r)
{
	static const char *const names[] = { "no error", "invalid argument", "out of memory", "invalid device ordinal",
		"operation not permitted when stream is capturing", lost_why, "no CUDA-capable device is detected" };
	return names[r];
}

cudaError_t host_launch(cudaStream_t s, const char *name, dim3 grid, unsigned threads, size_t shared, std::function<void()> fn)
{
	guard l(host_mutex);
	if (!threads || threads % WARP || threads > THREADS_MOST || shared > SHARED_MOST || !grid.x || !grid.y || !grid.z || grid.y > 65535 ||
	    grid.z > 65535) {
		lose("kernel %s: cannot be launched over %u x %u x %u blocks of %u threads and %zu shared bytes", name, grid.x, grid.y,
			grid.z, threads, shared);
		return lost;
	}
	stream_put(s, [=, fn = std::move(fn)] { kernel_run(name, grid, threads, shared, fn); });
	return answer(cudaSuccess);
}
