/* test_cuda_host.cc: the emulator of cuda_host.h by itself: fragments of mma and ldmatrix with a value of its own in every
 * element, what warps exchange, copies that arrive late, and everything that it must report. */
#include "nn/cuda_inside.h"
#include "tests/nn/gpu_host.h"
extern "C" {
#include "nn/ops.h"
#include "tests/test.h"
}

enum { M = 16, N = 8, K = 16 };

static struct gpu *opened(void)
{
	struct gpu *g;
	struct err e;
	CHECK_OK(host_table.open(&g, 0, &e), e);
	return g;
}

template <typename T> static T *device(struct gpu *g, const T *from, size_t n)
{
	void *p;
	struct err e;
	CHECK_OK(host_table.alloc(g, n * sizeof(T), "a test", &p, &e), e);
	if (from) host_table.copy_in(g, p, from, n * sizeof(T));
	return static_cast<T *>(p);
}

template <typename T> static void out(struct gpu *g, T *to, const T *from, size_t n)
{
	struct err e;
	host_table.copy_out(g, to, from, n * sizeof(T));
	CHECK_OK(host_table.sync(g, &e), e);
}

static void check_lost(struct gpu *g, const char *why)
{
	struct err e;
	CHECK_INT(host_table.sync(g, &e), E_IO);
	CHECK_MSG(strstr(e.msg, why), "\"%s\" does not say \"%s\"", e.msg, why);
}

/* Elements of fragments as the PTX ISA numbers them: a0 … a7, b0 … b3, c0 … c3 of a lane. */
CUDA_KERNEL(mma_by_the_page)(const uint16_t *a, const uint16_t *b, float *d, int is_bf16)
{
	const int lane = cuda_lane(), group = lane >> 2, in_group = lane % 4;
	uint32_t fa[4] = { 0 }, fb[2] = { 0 };
	float c[4];
	for (int i = 0; i < 8; i++) {
		const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8, col = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
		fa[i / 2] |= (uint32_t)a[row * K + col] << (i % 2 * 16);
	}
	for (int i = 0; i < 4; i++) {
		const int row = in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0);
		fb[i / 2] |= (uint32_t)b[row * N + group] << (i % 2 * 16);
	}
	for (int i = 0; i < 4; i++) c[i] = d[(i < 2 ? group : group + 8) * N + in_group * 2 + (i & 1)];
	if (is_bf16) mma_bf16(c, fa, fb);
	else mma_f16(c, fa, fb);
	for (int i = 0; i < 4; i++) d[(i < 2 ? group : group + 8) * N + in_group * 2 + (i & 1)] = c[i];
}

/* The same with fragments by ldmatrix: a lies in rows, b in rows of k (hence transposed). Two mma, of columns 0 … 7 and
 * 8 … 15 of b. */
CUDA_KERNEL(mma_by_ldmatrix)(const uint16_t *a, const uint16_t *b, float *d)
{
	CUDA_SHARED(uint16_t, s);
	const int lane = cuda_lane();
	uint32_t fa[4], fb[4];
	float c[2][4] = { { 0 } };
	for (int i = lane; i < M * K; i += CUDA_WARP) s[i] = a[i], s[M * K + i] = b[i];
	__syncwarp();
	ldmatrix4(fa, s + lane % 16 * K + lane / 16 * 8);
	ldmatrix4_t(fb, s + M * K + lane % 16 * 16 + lane / 16 * 8);
	for (int half = 0; half < 2; half++) {
		mma_f16(c[half], fa, fb + 2 * half);
		for (int i = 0; i < 4; i++) d[(lane / 4 + i / 2 * 8) * 16 + half * 8 + lane % 4 * 2 + i % 2] = c[half][i];
	}
}

TEST(cuda_mma)
{
	for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
		struct gpu *g = opened();
		uint16_t a[M * K], b[K * N];
		float d[M * N], c[M * N];
		for (int i = 0; i < M * K; i++) a[i] = is_bf16 ? float_bf16((float)(i - 100)) : float_half((float)(i - 100));
		for (int i = 0; i < K * N; i++) b[i] = is_bf16 ? float_bf16((float)(3 * i % 128 + 1)) : float_half((float)(3 * i % 128 + 1));
		for (int i = 0; i < M * N; i++) c[i] = (float)(1000 * i);
		float *dd = device(g, c, M * N);
		CUDA_LAUNCH(g, mma_by_the_page, 1, 32, 0, device(g, a, M * K), device(g, b, K * N), dd, is_bf16);
		out(g, d, dd, M * N);
		for (int i = 0; i < M; i++)
			for (int j = 0; j < N; j++) {
				int want = 1000 * (i * N + j);
				for (int k = 0; k < K; k++) want += (i * K + k - 100) * (3 * (k * N + j) % 128 + 1);
				CHECK_INT(d[i * N + j], want);
			}
		host_table.close(g);
	}
}

CUDA_KERNEL(shared_last)(unsigned *out, unsigned bytes)
{
	CUDA_SHARED(uint8_t, all);
	if (threadIdx.x == 0) all[bytes - 1] = 7, *out = all[bytes - 1];
}

/* What one opening asks for is not less for another, nor for a recorded pass. */
TEST(cuda_shared_memory_is_the_process_s)
{
	struct gpu *one = opened(), *two = opened();
	unsigned *in = device<unsigned>(one, NULL, 1), *there = device<unsigned>(two, NULL, 1), got;
	const unsigned much = 98 << 10, less = 60 << 10;
	struct gpu_graph *graph;
	struct err e;
	CUDA_LAUNCH(one, shared_last, 1, 32, much, in, much);
	CHECK_OK(host_table.record(one, &e), e);
	CUDA_LAUNCH(one, shared_last, 1, 32, much, in, much);
	CHECK_OK(host_table.recorded(one, &graph, &e), e);
	CUDA_LAUNCH(two, shared_last, 1, 32, less, there, less);
	host_table.replay(one, graph);
	CUDA_LAUNCH(one, shared_last, 1, 32, much, in, much);
	out(one, &got, in, 1);
	CHECK_INT(got, 7);
	out(two, &got, there, 1);
	CHECK_INT(got, 7);
	host_table.graph_free(one, graph);
	host_table.close(one);
	host_table.close(two);
}

/* Products far below what they are added to are cut, each by itself; so is the sum. As floats would round them none of these would come so. */
TEST(cuda_mma_cuts)
{
	static const struct { float c, a, want; } of[] = { { 1, 0x1.8p-24f, 1 + 0x1p-21f * 2 }, { 1, -0x1.8p-25f, 1 }, { -1, 0x1.8p-25f, -1 },
		{ 0, 0x1.8p-130f, 0x1.8p-126f }, { 0x1.fffffep0f, 0x1p-23f, 2 + 0x1p-19f - 0x1p-22f }, { 0, 0, 0 } };
	uint16_t a[M * K], b[K * N];
	float d[M * N];
	struct gpu *g = opened();
	for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
		for (int k = 0; k < M * K; k++) a[k] = (uint16_t)(__float_as_uint(of[i].a) >> 16);
		for (int k = 0; k < K * N; k++) b[k] = 0x3f80;
		for (int k = 0; k < M * N; k++) d[k] = of[i].c;
		float *dd = device(g, d, M * N);
		CUDA_LAUNCH(g, mma_by_the_page, 1, 32, 0, device(g, a, M * K), device(g, b, K * N), dd, 1);
		out(g, d, dd, M * N);
		for (int k = 0; k < M * N; k++) CHECK_MSG(d[k] == of[i].want, "%a + 16 x %a: %a, want %a", (double)of[i].c, (double)of[i].a, (double)d[k], (double)of[i].want);
	}
	host_table.close(g);
}

TEST(cuda_ldmatrix)
{
	struct gpu *g = opened();
	uint16_t a[M * K], b[K * 16];
	float d[M * 16];
	for (int i = 0; i < M * K; i++) a[i] = float_half((float)(i - 100)), b[i] = float_half((float)(7 * i % 256));
	float *dd = device<float>(g, NULL, M * 16);
	CUDA_LAUNCH(g, mma_by_ldmatrix, 1, 32, 4 * M * K, device(g, a, M * K), device(g, b, K * 16), dd);
	out(g, d, dd, M * 16);
	for (int i = 0; i < M; i++)
		for (int j = 0; j < 16; j++) {
			int want = 0;
			for (int k = 0; k < K; k++) want += (i * K + k - 100) * (7 * (k * 16 + j) % 256);
			CHECK_INT(d[i * 16 + j], want);
		}
	host_table.close(g);
}

/* ldmatrix alone: which element of which matrix every lane has. */
CUDA_KERNEL(ldmatrix_alone)(uint32_t *out, int transposed)
{
	CUDA_SHARED_N(uint16_t, s, 4 * 64);
	const int lane = cuda_lane();
	uint32_t r[4];
	for (int i = lane; i < 4 * 64; i += CUDA_WARP) s[i] = (uint16_t)i;
	__syncwarp();
	if (transposed) ldmatrix4_t(r, s + lane * 8);
	else ldmatrix4(r, s + lane * 8);
	for (int i = 0; i < 4; i++) out[lane * 4 + i] = r[i];
}

TEST(cuda_ldmatrix_elements)
{
	struct gpu *g = opened();
	uint32_t got[128], *d = device<uint32_t>(g, NULL, 128);
	for (int transposed = 0; transposed < 2; transposed++) {
		CUDA_LAUNCH(g, ldmatrix_alone, 1, 32, 0, d, transposed);
		out(g, got, d, 128);
		for (uint32_t lane = 0; lane < 32; lane++)
			for (uint32_t i = 0; i < 4; i++) {
				const uint32_t row = lane / 4, col = lane % 4 * 2, at = i * 64;
				CHECK_INT(got[lane * 4 + i], transposed ? (at + col * 8 + row) | (at + (col + 1) * 8 + row) << 16 :
					(at + row * 8 + col) | (at + row * 8 + col + 1) << 16);
			}
	}
	host_table.close(g);
}

CUDA_KERNEL(warps_exchange)(float *out, unsigned long long *wide)
{
	const float v = (float)threadIdx.x * 1.1f;
	const size_t at = blockIdx.x * blockDim.x + threadIdx.x;
	out[4 * at] = warp_sum(v);
	out[4 * at + 1] = warp_max(-v);
	out[4 * at + 2] = warp_exchange(v, (cuda_lane() * 5 + 3) % 32);
	out[4 * at + 3] = warp_xor(v, 9);
	wide[at] = warp_xor(threadIdx.x * 0x100000001ull, 1);
}

TEST(cuda_warps)
{
	enum { THREADS = 96, BLOCKS = 3 };
	struct gpu *g = opened();
	static float got[4 * THREADS * BLOCKS];
	static unsigned long long got_wide[THREADS * BLOCKS];
	float *d = device<float>(g, NULL, 4 * THREADS * BLOCKS), v[32], next[32];
	unsigned long long *wide = device<unsigned long long>(g, NULL, THREADS * BLOCKS);
	CUDA_LAUNCH(g, warps_exchange, BLOCKS, THREADS, 0, d, wide);
	out(g, got, d, 4 * THREADS * BLOCKS);
	out(g, got_wide, wide, THREADS * BLOCKS);
	for (int i = 0; i < THREADS * BLOCKS; i++) {
		const int t = i % THREADS, warp = t / 32 * 32, lane = t % 32;
		for (int l = 0; l < 32; l++) v[l] = (float)(warp + l) * 1.1f;
		CHECK(got[4 * i + 1] == -v[0]);
		CHECK(got[4 * i + 2] == v[(lane * 5 + 3) % 32]);
		CHECK(got[4 * i + 3] == v[lane ^ 9]);
		CHECK(got_wide[i] == (unsigned long long)(t ^ 1) * 0x100000001ull);
		for (int mask = 16; mask; mask >>= 1) {
			for (int l = 0; l < 32; l++) next[l] = v[l] + v[l ^ mask];
			memcpy(v, next, sizeof v);
		}
		CHECK(got[4 * i] == v[lane]);
	}
	host_table.close(g);
}

/* What is copied is there after copy_wait; before that not in the first kernel, and all of it in the second. */
CUDA_KERNEL(copies_late)(const uint4 *from, uint32_t *out)
{
	CUDA_SHARED(uint4, s);
	const unsigned i = threadIdx.x;
	copy16_async(s + i, from + i);
	copy_commit();
	copy16_async(s + 32 + i, from + 32 + i);
	copy_commit();
	out[i] = s[i].x == from[i].x;
	copy_wait(1);
	out[32 + i] = s[i].x == from[i].x;
	out[64 + i] = s[32 + i].x == from[32 + i].x;
	copy_wait(0);
	__syncthreads();
	out[96 + i] = s[63 - i].w == from[63 - i].w;
}

TEST(cuda_copies)
{
	struct gpu *g = opened();
	uint4 from[64];
	uint32_t got[128], *d = device<uint32_t>(g, NULL, 128);
	for (unsigned i = 0; i < 64; i++) from[i] = make_uint4(i, i + 1, i + 2, i + 3);
	for (uint32_t round = 0; round < 3; round++) {
		CUDA_LAUNCH(g, copies_late, 1, 32, sizeof from, device(g, from, 64), d);
		out(g, got, d, 128);
		uint32_t early = 0;
		for (int i = 0; i < 32; i++) {
			CHECK(got[32 + i] && got[96 + i]);
			early += got[i] + got[64 + i];
		}
		CHECK(round == 2 ? early > 0 && early < 64 : early == 64 * round);
	}
	host_table.close(g);
}

/* A copy to what others still read: it shows where copies arrive at once. */
CUDA_KERNEL(copies_too_soon)(const uint4 *from, uint32_t *wrong)
{
	CUDA_SHARED(uint4, s);
	const unsigned i = threadIdx.x;
	s[i] = make_uint4(7, 7, 7, 7);
	__syncthreads();
	if (s[63 - i].x != 7) *wrong = 1;
	copy16_async(s + i, from + i);
	copy_commit();
	copy_wait(0);
}

TEST(cuda_copies_too_soon_show)
{
	struct gpu *g = opened();
	uint4 from[64] = {};
	uint32_t got, *d = device<uint32_t>(g, NULL, 1);
	for (int i = 0; i < 2; i++) CUDA_LAUNCH(g, copies_too_soon, 1, 64, sizeof from, device(g, from, 64), d);
	out(g, &got, d, 1);
	CHECK_INT(got, 1);
	host_table.close(g);
}

CUDA_KERNEL(sum_by_blocks)(const float *x, float *out)
{
	CUDA_SHARED_N(float, parts, 32);
	const float sum = block_sum(x[threadIdx.x], parts);
	out[threadIdx.x] = sum;
}

TEST(cuda_block_sum)
{
	struct gpu *g = opened();
	float x[256], got[256], *d = device<float>(g, NULL, 256);
	for (int i = 0; i < 256; i++) x[i] = (float)(i * i % 97);
	double want = 0;
	for (int i = 0; i < 256; i++) want += (double)x[i];
	CUDA_LAUNCH(g, sum_by_blocks, 1, 256, 0, device(g, x, 256), d);
	out(g, got, d, 256);
	for (int i = 0; i < 256; i++) CHECK(got[i] == (float)want);
	host_table.close(g);
}

/* Neighbours read before they were written: a missing barrier shows. */
CUDA_KERNEL(no_barrier)(int *wrong)
{
	CUDA_SHARED(int, s);
	s[threadIdx.x] = (int)threadIdx.x;
	if (s[(threadIdx.x + 1) % blockDim.x] != (int)((threadIdx.x + 1) % blockDim.x)) *wrong = 1;
}

TEST(cuda_missing_barrier_shows)
{
	struct gpu *g = opened();
	int *d = device<int>(g, NULL, 1), got;
	CUDA_LAUNCH(g, no_barrier, 1, 64, 64 * sizeof(int), d);
	out(g, &got, d, 1);
	CHECK_INT(got, 1);
	host_table.close(g);
}

CUDA_KERNEL(waits_for_another)(int *d)
{
	if (threadIdx.x == 0) d[blockIdx.x + 1] = d[blockIdx.x] + 1;
}

/* A block that wants what another of its kernel writes has it in the first kernel and not in the second. */
TEST(cuda_order_of_blocks_shows)
{
	enum { BLOCKS = 5 };
	struct gpu *g = opened();
	for (int i = 0; i < 3; i++) {
		int *d = device<int>(g, NULL, BLOCKS + 1), got[BLOCKS + 1];
		CUDA_LAUNCH(g, waits_for_another, BLOCKS, 32, 0, d);
		out(g, got, d, BLOCKS + 1);
		CHECK_INT(got[BLOCKS] == BLOCKS, i == 0);
	}
	host_table.close(g);
}

/* --- kernels that begin before the one in front of them is done --- */

CUDA_KERNEL(adds_one)(int *d)
{
	await_earlier();
	if (threadIdx.x == 0) d[blockIdx.x] += 1;
}

/* Neighbours' numbers doubled, read before or after the wait. */
CUDA_KERNEL(doubles)(const int *from, int *to, int early, unsigned *ahead)
{
	const unsigned at = (blockIdx.x + 1) % gridDim.x;
	int v = from[at];
	await_earlier();
	if (!early) v = from[at];
	if (threadIdx.x == 0) to[blockIdx.x] = 2 * v, atomicAdd(ahead, v != from[at]);
}

enum { AHEAD_BLOCKS = 9, AHEAD_ROUNDS = 12 };

/* What came of rounds of the two; read too early what is old shows in most of them. */
static unsigned read_ahead(const struct gpu_table *t, int early, int between)
{
	struct gpu *g;
	struct err e;
	int got[AHEAD_BLOCKS];
	unsigned ahead;
	CHECK_OK(t->open(&g, 0, &e), e);
	int *one = device<int>(g, NULL, AHEAD_BLOCKS), *two = device<int>(g, NULL, AHEAD_BLOCKS), *other = device<int>(g, NULL, 1);
	unsigned *d = device<unsigned>(g, NULL, 1);
	for (int i = 0; i < AHEAD_ROUNDS; i++) {
		CUDA_FOLLOW(g, adds_one, AHEAD_BLOCKS, 64, 0, one);
		if (between) t->copy(g, other, one, sizeof *one);
		CUDA_FOLLOW(g, doubles, AHEAD_BLOCKS, 64, 0, one, two, early, d);
		CUDA_LAUNCH(g, waits_for_another, 1, 32, 0, other);
	}
	out(g, got, two, AHEAD_BLOCKS);
	out(g, &ahead, d, 1);
	for (int i = 0; i < AHEAD_BLOCKS; i++) CHECK(early || got[i] == 2 * AHEAD_ROUNDS);
	t->close(g);
	return ahead;
}

TEST(cuda_begins_early)
{
	const unsigned seen = read_ahead(&host_table, 1, 0);
	CHECK_MSG(seen > AHEAD_ROUNDS && seen < AHEAD_ROUNDS * AHEAD_BLOCKS, "%u", seen);
	CHECK_INT(read_ahead(&host_table, 0, 0), 0);
	CHECK_INT(read_ahead(&host_table, 1, 1), 0);            /* a copy stands between */
	CHECK_INT(read_ahead(host_table.in_order, 1, 0), 0);
}

/* In recorded passes too; not over their beginning. */
TEST(cuda_begins_early_in_passes)
{
	struct gpu *g = opened();
	struct gpu_graph *graph;
	struct err e;
	unsigned ahead;
	int *one = device<int>(g, NULL, AHEAD_BLOCKS), *two = device<int>(g, NULL, AHEAD_BLOCKS);
	unsigned *d = device<unsigned>(g, NULL, 2);
	CHECK_OK(host_table.record(g, &e), e);
	CUDA_FOLLOW(g, doubles, AHEAD_BLOCKS, 64, 0, one, two, 1, d);
	CUDA_FOLLOW(g, adds_one, AHEAD_BLOCKS, 64, 0, one);
	CUDA_FOLLOW(g, doubles, AHEAD_BLOCKS, 64, 0, one, two, 1, d + 1);
	CHECK_OK(host_table.recorded(g, &graph, &e), e);
	for (int i = 0; i < AHEAD_ROUNDS; i++) {
		CUDA_FOLLOW(g, adds_one, AHEAD_BLOCKS, 64, 0, one);
		host_table.replay(g, graph);
	}
	out(g, &ahead, d, 1);
	CHECK_INT(ahead, 0);
	out(g, &ahead, d + 1, 1);
	CHECK(ahead > 0);
	host_table.graph_free(g, graph);
	host_table.close(g);
}

CUDA_KERNEL(never_waits)(int *d, int block)
{
	if ((int)blockIdx.x == block && threadIdx.x >= 32) return;
	await_earlier();
	d[blockIdx.x] = 1;
}

TEST(cuda_ends_without_waiting)
{
	struct gpu *g = opened();
	CUDA_FOLLOW(g, never_waits, 3, 64, 0, device<int>(g, NULL, 3), 1);
	check_lost(g, "kernel never_waits, block 1,0,0, thread 32: ends without await_earlier");
	host_table.close(g);
}

CUDA_KERNEL(waits_in_a_branch)(int *d)
{
	if (threadIdx.x % 2) await_earlier();
	d[threadIdx.x] = 1;
}

TEST(cuda_waits_in_a_branch)
{
	struct gpu *g = opened();
	CUDA_FOLLOW(g, waits_in_a_branch, 1, 32, 0, device<int>(g, NULL, 32));
	check_lost(g, "does not all come to await_earlier");
	host_table.close(g);
}

/* A launch that takes no notice of what stands in front of it. */
TEST(cuda_early_behind_a_copy)
{
	struct gpu *g = opened();
	int *d = device<int>(g, NULL, 2);
	CUDA_FOLLOW(g, adds_one, 1, 32, 0, d);
	host_table.copy(g, d + 1, d, sizeof *d);
	g->launches.follows = 1;
	CUDA_FOLLOW(g, adds_one, 1, 32, 0, d);
	check_lost(g, "kernel adds_one may begin early");
	host_table.close(g);
}

CUDA_KERNEL(writes_early)(int *d)
{
	if (threadIdx.x == 0) d[1] = (int)blockIdx.x + 7;
	await_earlier();
}

TEST(cuda_writes_early)
{
	struct gpu *g = opened();
	int *d = device<int>(g, NULL, AHEAD_BLOCKS);
	for (int i = 0; i < 4; i++) {
		CUDA_FOLLOW(g, adds_one, 1, 32, 0, d);
		CUDA_FOLLOW(g, writes_early, 2, 32, 0, d);
	}
	check_lost(g, "kernel writes_early");
	check_lost(g, "writes before await_earlier");
	host_table.close(g);
}

/* Each of these is wrong in a way of its own. */
enum wrong { RETURNS, RETURNS_WARP, BRANCH, EXCHANGE, ALIGNED, NOT_SHARED, BEHIND, BEHIND_N };
CUDA_KERNEL(goes_wrong)(int how, uint32_t *out)
{
	CUDA_SHARED(uint16_t, s);
	CUDA_SHARED_N(float, more, 3);
	uint32_t r[4] = { 0 };
	if (how == RETURNS && threadIdx.x == 7) return;
	if (how == RETURNS_WARP && threadIdx.x >= 32) return;
	if (how != BRANCH || threadIdx.x % 2) __syncthreads();
	if (how == EXCHANGE) out[threadIdx.x] = threadIdx.x % 32 == 5 ? 0 : warp_xor(threadIdx.x, 1);
	if (how == ALIGNED) ldmatrix4(r, s + threadIdx.x * 8 + 1);
	if (how == NOT_SHARED) ldmatrix4(r, out);
	if (how == BEHIND) s[1000] = 1;
	if (how == BEHIND_N) more[3] = 1;
	out[threadIdx.x] = r[0];
}

static void check_wrong(enum wrong how, const char *why)
{
	struct gpu *g = opened();
	uint32_t *d = device<uint32_t>(g, NULL, 64);
	CUDA_LAUNCH(g, goes_wrong, 2, 64, 2000, (int)how, d);
	check_lost(g, why);
	check_lost(g, "kernel goes_wrong, block 0,0,0");
	host_table.close(g);
}

TEST(cuda_thread_that_returned) { check_wrong(RETURNS, "thread 0: its warp does not all come to __syncthreads"); }
TEST(cuda_warp_that_returned) { check_wrong(RETURNS_WARP, "waits at __syncthreads for threads that have ended"); }
TEST(cuda_barrier_in_a_branch) { check_wrong(BRANCH, "does not all come to __syncthreads"); }
TEST(cuda_exchange_in_a_branch) { check_wrong(EXCHANGE, "does not all come to warp_exchange"); }
TEST(cuda_ldmatrix_aligned) { check_wrong(ALIGNED, "ldmatrix of a row"); }
TEST(cuda_ldmatrix_shared) { check_wrong(NOT_SHARED, "ldmatrix of a row"); }
TEST(cuda_behind_shared) { check_wrong(BEHIND, "behind its shared memory"); }
TEST(cuda_behind_shared_n) { check_wrong(BEHIND_N, "behind its shared memory"); }

TEST(cuda_launch_bounds)
{
	struct gpu *g = opened();
	CUDA_LAUNCH(g, no_barrier, 1, 48, 1024, (int *)NULL);
	check_lost(g, "no_barrier: cannot be launched over 1 x 1 x 1 blocks of 48 threads");
	host_table.close(g);
}

/* What a kernel has of shared memory by itself counts with what its launch gives it. */
CUDA_KERNEL(owns_much)(float *out)
{
	CUDA_SHARED(float, given);
	CUDA_SHARED_N(float, own, 1024);
	given[threadIdx.x] = own[threadIdx.x] = 0;
	out[threadIdx.x] = given[threadIdx.x] + own[threadIdx.x];
}

TEST(cuda_shared_memory_of_its_own)
{
	struct gpu *g = opened();
	float *d = device<float>(g, NULL, 32);
	struct err e;
	CUDA_LAUNCH(g, owns_much, 1, 32, CUDA_SHARED_MOST - 4096, d);
	CHECK_OK(host_table.sync(g, &e), e);
	CUDA_LAUNCH(g, owns_much, 1, 32, CUDA_SHARED_MOST - 4096 + 16, d);
	check_lost(g, "too much shared memory of its own");
	host_table.close(g);
}

TEST(cuda_copy_bounds)
{
	struct gpu *g = opened();
	char *a = device<char>(g, NULL, 1000), *b = device<char>(g, NULL, 2000);
	host_table.copy(g, a, b, 1001);
	check_lost(g, "copy: invalid argument");
	host_table.close(g);
}

TEST(cuda_halves)
{
	struct { float x[16]; uint16_t want[16]; } t;
	for (uint32_t h = 0; h < 65536; h++) {
		const float f = half_float((uint16_t)h);
		CHECK(f != f ? quant_half((uint16_t)h) != quant_half((uint16_t)h) : f == quant_half((uint16_t)h));
		const float next = half_float((uint16_t)(h + 1)), mid = (f + next) / 2;
		t.x[h % 16] = mid;
		if (h % 16 < 15) continue;
		ops_ref.halves(t.x, 16, t.want);
		for (int i = 0; i < 16; i++) CHECK(t.x[i] != t.x[i] || float_half(t.x[i]) == t.want[i]);
	}
	CHECK_INT(float_bf16(1.00390625f), 0x3f80);     /* halfway, to the even below */
	CHECK_INT(float_bf16(1.01171875f), 0x3f82);     /* and above */
	CHECK_INT(float_bf16(INFINITY), 0x7f80);
	CHECK_INT(float_bf16(3.4e38f), 0x7f80);
	CHECK(bf16_float(0xc2f7) == -123.5f);
}
