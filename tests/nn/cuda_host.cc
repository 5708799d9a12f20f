/* cuda_host.cc: owns the emulator that cuda_host.h describes: fibers, what warps and blocks do together, and the calls of
 * the runtime. A fiber is a stack and the registers that calls keep; a switch is a dozen instructions. */
#include "tests/nn/cuda_host_mma.h"
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
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { THREADS_MOST = 1024, WARP = 32, STACK_BYTES = 256 << 10, PAGE = 4096, SHARED_MOST = 99 << 10, SHARED_OWN = 8 << 10, CANARY = 64,
	CANARY_BYTE = 0x5c, EARLY_BLOCKS = 6, WATCHED_BYTES = 1 << 20 };
enum state { READY, AT_BLOCK, AT_WARP, DONE };
enum op { OP_NONE, OP_WAIT, OP_AWAIT, OP_EXCHANGE, OP_SUM, OP_MAX, OP_MMA_BF16, OP_MMA_F16, OP_MMA_BYTES, OP_LDMATRIX, OP_LDMATRIX_T };
static const char *const op_names[] = { "", "__syncwarp", "await_earlier", "warp_exchange", "warp_sum", "warp_max", "mma_bf16", "mma_f16", "mma_bytes",
	"ldmatrix4", "ldmatrix4_t" };

struct copy { void *to; const void *from; int group; };
struct fiber {
	void *sp, *stack;
	enum state state;
	enum op op;                     /* AT_WARP: what it waits to do */
	uint64_t value;
	int lane, group;                /* of exchange; of copies that are not committed */
	int has_waited;                 /* for what is in front of its kernel */
	float *d;
	int32_t *sums;                  /* in place of d, of mma_bytes */
	const uint32_t *a, *b;
	uint32_t *r;
	const void *row;
	std::vector<copy> copies;
};
struct shared_n { const void *key; unsigned char *p; size_t bytes; };
struct block {                          /* one that runs, or has begun early */
	struct fiber fibers[THREADS_MOST];
	dim3 at;
	unsigned char *shared_end, *dynamic_at;
	size_t dynamic_bytes;
	std::vector<shared_n> statics;
};
struct running {                        /* a kernel */
	const struct host_kernel *k;
	unsigned number;                /* of all kernels: which orders it has */
	std::vector<block *> begun;     /* its first blocks, as far as await_earlier */
};

struct host_place host_at;
static std::mutex host_mutex;
static struct block *here;
static struct fiber *now;
static const struct running *runs;
static std::vector<block *> &blocks_free = *new std::vector<block *>; /* never freed: the leak checker looks after destructors have run */
static int is_ahead;                    /* what is in front of the kernel is not done */
static void *main_sp;
static std::vector<void *> stacks;      /* free ones */
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
	lose("kernel %s, block %u,%u,%u, thread %zu: %s%s", runs->k->name, host_at.block.x, host_at.block.y, host_at.block.z, thread,
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
	runs->k->body();
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
#ifdef __SANITIZE_ADDRESS__
	ASAN_UNPOISON_MEMORY_REGION(f->stack, STACK_BYTES); /* the fiber before it never returned from its last frames */
#endif
	void **top = reinterpret_cast<void **>(static_cast<unsigned char *>(f->stack) + STACK_BYTES) - 2;
	top[0] = reinterpret_cast<void *>(fiber_main);  /* where the first switch returns to, the stack aligned as after a call */
	top[1] = NULL;
	f->sp = top - 6;
	return 1;
}

/* Runs a thread until it waits or ends. */
static void fiber_run(size_t i)
{
	struct fiber *f = now = &here->fibers[i];
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
		for (int k = 0; k < 16; k += MMA_DEEP) mma_add(d[i], a[i] + k, b + k);
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
	if (at >= here->dynamic_at && at + bytes <= here->dynamic_at + here->dynamic_bytes) return 1;
	for (const shared_n &s : here->statics)
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
	struct fiber *w = &here->fibers[first];
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
		if (w[0].state != AT_WARP || (w[0].op == OP_AWAIT && is_ahead)) return;
		do_together(w, first);
		for (int l = 0; l < WARP; l++) w[l].state = READY;
	}
}

/* --- blocks --- */

static void shared_begin(struct block *b, size_t bytes)
{
	static const unsigned char fills[] = { 0xff, 0x7b, 0xfb };
	const size_t room = (bytes + 127) / 128 * 128;
	b->dynamic_bytes = bytes;
	b->dynamic_at = b->shared_end - room;
	memset(b->dynamic_at, fills[++fill % 3], bytes);
	memset(b->dynamic_at + bytes, CANARY_BYTE, room - bytes);
}

static int is_canary(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != CANARY_BYTE) return 0;
	return 1;
}

static void shared_check(const struct block *b)
{
	int good = is_canary(b->dynamic_at + b->dynamic_bytes, static_cast<size_t>(b->shared_end - b->dynamic_at) - b->dynamic_bytes);
	for (const shared_n &s : b->statics) good &= is_canary(s.p + s.bytes, CANARY);
	if (!good && !broken) complain(0, "written behind its shared memory");
}

/* Room for a block; NULL: there is no memory. */
static struct block *block_take()
{
	const size_t room = (SHARED_MOST + 2 * PAGE - 1) / PAGE * PAGE;
	if (!blocks_free.empty()) {
		struct block *b = blocks_free.back();
		blocks_free.pop_back();
		return b;
	}
	unsigned char *p = static_cast<unsigned char *>(mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (p == MAP_FAILED || mprotect(p + room, PAGE, PROT_NONE) != 0) return NULL;
	struct block *b = new block();
	b->shared_end = p + room;
	return b;
}

static void block_give(struct block *b)
{
	for (shared_n &n : b->statics) mem_free(n.p);
	b->statics.clear();
	if (broken)
		for (struct fiber &f : b->fibers) f.stack = NULL;  /* their frames are left as they are */
	blocks_free.push_back(b);
}

/* The block that is the i-th to run: kernel by kernel upwards, downwards, the even ones first. */
static size_t block_number(unsigned kernel, size_t i, size_t n)
{
	const size_t even = (n + 1) / 2;
	switch (kernel % 3) {
	case 0: return i;
	case 1: return n - 1 - i;
	default: return i < even ? 2 * i : 2 * (i - even) + 1;
	}
}

static size_t blocks_of(const struct host_kernel *k) { return (size_t)k->grid.x * k->grid.y * k->grid.z; }

/* The i-th to run, none of whose threads has run yet; NULL: broken. */
static struct block *block_begin(const struct running *r, size_t i)
{
	const struct host_kernel *k = r->k;
	const size_t at = block_number(r->number, i, blocks_of(k));
	struct block *b = block_take();
	if (!b) {
		lose("no memory for shared memory");
		return NULL;
	}
	b->at = dim3((unsigned)(at % k->grid.x), (unsigned)(at / k->grid.x % k->grid.y), (unsigned)(at / k->grid.x / k->grid.y));
	shared_begin(b, k->shared);
	for (size_t t = 0; t < k->threads; t++) {
		b->fibers[t].state = READY;
		b->fibers[t].group = b->fibers[t].has_waited = 0;
		b->fibers[t].copies.clear();
	}
	return b;
}

/* Runs a block to its end, or to where it waits for what is in front of its kernel. */
static void block_run(struct block *b)
{
	const size_t threads = runs->k->threads;
	here = b;
	host_at.block = b->at;
	for (size_t i = 0; i < threads && !is_ahead; i++)
		if (b->fibers[i].state == AT_WARP) b->fibers[i].state = READY;
	while (!broken) {
		size_t ended = 0, held = 0, flip = ++turn % 2;
		for (size_t i = 0; i < threads / WARP; i++) {
			const size_t first = (flip ? threads / WARP - 1 - i : i) * WARP;
			if (b->fibers[first].state == READY) warp_run(first);
			ended += b->fibers[first].state == DONE;
			held += b->fibers[first].state == AT_WARP;
		}
		if (broken || held || ended == threads / WARP) return;
		if (ended) {
			for (size_t i = 0; i < threads; i++)
				if (b->fibers[i].state == AT_BLOCK) {
					complain(i, "waits at __syncthreads for threads that have ended");
					return;
				}
		}
		for (size_t i = 0; i < threads; i++) b->fibers[i].state = READY;
	}
}

static void block_end(struct block *b)
{
	for (size_t i = 0; i < runs->k->threads && runs->k->follows && !broken; i++)
		if (!b->fibers[i].has_waited) complain(i, "ends without await_earlier");
	shared_check(b);
	block_give(b);
}

static void kernel_enter(const struct running *r)
{
	runs = r;
	host_at.block_dim = dim3(r->k->threads);
	host_at.grid_dim = r->k->grid;
}

/* What lies on the device, as far as it is not much. */
static uint64_t memory_sum();

/* Some of its blocks come to where they wait, before the kernel in front of it has begun. */
static void kernel_ahead(struct running *r)
{
	const uint64_t before = memory_sum();
	kernel_enter(r);
	is_ahead = 1;
	for (size_t i = 0; i < blocks_of(r->k) && i < EARLY_BLOCKS && !broken; i++) {
		struct block *b = block_begin(r, i);
		if (!b) break;
		r->begun.push_back(b);
		block_run(b);
	}
	is_ahead = 0;
	if (!broken && memory_sum() != before) complain(0, "writes before await_earlier");
}

static void kernel_run(struct running *r)
{
	kernel_enter(r);
	for (size_t i = 0; i < blocks_of(r->k) && !broken; i++) {
		struct block *b = i < r->begun.size() ? r->begun[i] : block_begin(r, i);
		if (!b) break;
		if (i < r->begun.size()) r->begun[i] = NULL;
		block_run(b);
		block_end(b);
	}
}

/* What had begun of a kernel that does not run. */
static void kernel_drop(const struct running *r)
{
	for (struct block *b : r->begun)
		if (b) block_give(b);
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

void await_earlier()
{
	struct fiber *me = now;
	wait_together(OP_AWAIT);
	me->has_waited = 1;
}

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
	return runs->number % 3 == 2 ? ++turn * 2654435761u >> 31 : runs->number % 3 == 1;
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

unsigned char *host_shared() { return here->dynamic_at; }

unsigned char *host_shared_n(const void *key, size_t bytes)
{
	size_t all = bytes;
	for (const shared_n &s : here->statics) {
		if (s.key == key) return s.p;
		all += s.bytes;
	}
	if (all > SHARED_OWN || all + here->dynamic_bytes > SHARED_MOST) complain(host_at.thread.x, "too much shared memory of its own");
	unsigned char *p = static_cast<unsigned char *>(mem_aligned(128, (bytes + CANARY + 127) / 128 * 128));
	memset(p, runs->number % 2 ? 0xff : 0x7b, bytes);
	memset(p + bytes, CANARY_BYTE, CANARY);
	here->statics.push_back({ key, p, bytes });
	return p;
}

/* --- the runtime --- */

struct queued { std::function<void()> run; struct host_kernel kernel; };        /* run, or where that is none the kernel */
struct host_graph { std::vector<queued> ops; };
struct host_stream {
	std::vector<queued> queue;
	struct host_graph *capture;
};
struct memory { unsigned char *p; size_t bytes; int is_device; void *mapping; size_t mapped; };
static std::vector<memory> memories;
static uint64_t memory_most = 1 << 30;
static size_t memory_used;
static size_t graphs;            /* that can be launched */
static int fail_after;           /* so many takings of memory until one fails; 0: none does */
static int devices = 1;

struct limit { const void *function; int bytes; };
static std::vector<limit> limits; /* of dynamic shared memory, where a kernel's was set */

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
	*p = cudaDeviceProp{ "host", 9, 0, 4 };
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

static uint64_t memory_sum()
{
	uint64_t sum = 0;
	for (const memory &m : memories) {
		if (!m.is_device || m.bytes > WATCHED_BYTES) continue;
		const uint64_t *p = reinterpret_cast<const uint64_t *>(m.p);
		for (size_t i = 0; i < m.bytes / sizeof *p; i++) sum = sum * 31 + p[i];
	}
	return sum;
}

/* In order; of four kernels that may begin early three do. */
static void queue_run(const std::vector<queued> &ops)
{
	struct running next = {};
	for (size_t i = 0; i < ops.size() && lost == cudaSuccess; i++) {
		if (ops[i].run) {
			ops[i].run();
			continue;
		}
		broken = 0;
		struct running r = next.k ? std::move(next) : running{ &ops[i].kernel, launches++, {} };
		next = {};
		if (i + 1 < ops.size() && !ops[i + 1].run && ops[i + 1].kernel.is_early) {
			next = running{ &ops[i + 1].kernel, launches++, {} };
			if (next.number * 2654435761u >> 30 != 0) kernel_ahead(&next);
		}
		if (!broken) kernel_run(&r);
		if (!broken) continue;
		kernel_drop(&r);
		kernel_drop(&next);
	}
}

static void stream_run(cudaStream_t s)
{
	queue_run(s->queue);
	s->queue.clear();
}

static void stream_put(cudaStream_t s, queued op)
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
	stream_put(s, { [=] { memcpy(to, from, bytes); }, {} });
	if (!host && s->capture) return answer(cudaErrorStreamCaptureUnsupported);
	if (!host && kind == cudaMemcpyHostToDevice) stream_run(s);
	return answer(cudaSuccess);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
	guard l(host_mutex);
	if (bytes && within(p, bytes, 1) != 1) return answer(cudaErrorInvalidValue);
	stream_put(s, { [=] { memset(p, value, bytes); }, {} });
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

static int limit_of(const void *function)
{
	for (const limit &l : limits)
		if (l.function == function) return l.bytes;
	return 48 << 10;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *kernel)
{
	guard l(host_mutex);
	*a = { 0, limit_of(kernel) };
	return answer(cudaSuccess);
}

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute which, int value)
{
	guard l(host_mutex);
	if (which != cudaFuncAttributeMaxDynamicSharedMemorySize) return answer(cudaSuccess);
	if (value < 0 || value > SHARED_MOST) return answer(cudaErrorInvalidValue);
	for (limit &i : limits)
		if (i.function == kernel) i.bytes = value;
	if (limit_of(kernel) != value) limits.push_back({ kernel, value });
	return answer(cudaSuccess);
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
	for (const queued &op : exec->ops)
		if (!op.run && op.kernel.shared > (size_t)limit_of(op.kernel.function)) return answer(cudaErrorInvalidValue);
	stream_put(s, { [=] { queue_run(exec->ops); }, {} });
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

cudaError_t host_launch(cudaStream_t s, struct host_kernel k)
{
	guard l(host_mutex);
	if (!k.threads || k.threads % WARP || k.threads > THREADS_MOST || k.shared > SHARED_MOST || !k.grid.x || !k.grid.y || !k.grid.z ||
	    k.grid.y > 65535 || k.grid.z > 65535) {
		lose("kernel %s: cannot be launched over %u x %u x %u blocks of %u threads and %zu shared bytes", k.name, k.grid.x, k.grid.y,
			k.grid.z, k.threads, k.shared);
		return lost;
	}
	if (k.shared > (size_t)limit_of(k.function)) return answer(cudaErrorInvalidValue);
	const std::vector<queued> &before = s->capture ? s->capture->ops : s->queue;
	if (k.is_early && (before.empty() || before.back().run || !before.back().kernel.follows))
		lose("kernel %s may begin early, and what it stands behind is no kernel of CUDA_FOLLOW", k.name);
	stream_put(s, { nullptr, std::move(k) });
	return answer(cudaSuccess);
}
