/* cuda_gemm.h: products of whole matrices with tensor cores, for prompts and for encoders: 16-bit numbers, sums in floats.
 *
 *   value(row, token) = sum over k of A[row][k] * B[token][k], then finish(row, token, value, value2)
 *   gemm_run<GEMM_BF16, 0>(g, &c, finish)   one matrix; value2 is 0
 *   gemm_run<GEMM_BF16, 1>(g, &c, finish)   two of one shape, c.a2 the second, whose sums are value2
 *   gemm_run<GEMM_F16, 0>(g, &c, finish)    the same of IEEE halves
 *
 * A is weights in tiles: what matrix_load makes of type BF16 in gpu_matrix.data (cuda_weights.h; it only moves the 16 bits, so of
 * halves as well), a panel of 16 rows gemm_panel_bytes(k) long. B is rows of 16-bit numbers, ldb apart, each of gemm_k(k) of them (k filled up to a multiple of 64),
 * zeros behind the k; b and ldb * 2 bytes are multiples of 16.
 * finish is a struct with
 *   CUDA_FN-like member  __device__ void operator()(uint32_t row, uint32_t token, float value, float value2) const
 * called once for each row < c.rows and token < c.n, by some thread each; a warp's lanes have rows on end of one token, so that
 * values stored at [token * ld + row] lie together.
 *
 * Order: one chain of m16n8k16 over k, ascending, whatever c.n and the tile's shape are: a row's value has the same bits
 * alone and among others, and however a prompt is cut. That is why these are not cuBLAS' products, whose kernel and order follow the
 * shape; nor would those finish a layer's steps, and they are hundreds of MB of libraries. EVALUATION.md tells what it may cost.
 *
 * A block of 8 warps has a tile of rows x tokens; A and B come in stages of 32 k through shared memory by copies that do
 * not wait, GEMM_STAGES deep. A's tiles are stored as fragments, B's 64 bytes of a token are a quad's four fragments: both
 * are read by 16 bytes a lane, without conflicts of banks. Threads, failure: as for launches (cuda.h). */
#ifndef NN_CUDA_GEMM_H
#define NN_CUDA_GEMM_H
#include "nn/cuda.h"
#include "nn/cuda_inside.h"
#include "nn/cuda_weights.h"

enum { GEMM_BF16, GEMM_F16 };
enum { GEMM_STAGES = 4, GEMM_WARPS = 8, GEMM_TILE_BYTES = 1024, GEMM_TOKEN_BYTES = 64 };

struct gemm {
	const uint8_t *a, *a2;          /* device: panels of 16 rows */
	const uint16_t *b;              /* device (n, ldb) */
	size_t ldb;
	uint32_t rows, n, k;            /* all at least 1 */
};

CUDA_BOTH size_t gemm_k(size_t k) { return (size_t)weights_steps(k) * WEIGHTS_STEP; }
CUDA_BOTH size_t gemm_panel_bytes(size_t k) { return gemm_k(k) * WEIGHTS_ROWS * 2; }

/* A tile: ROW_WARPS x (8 / ROW_WARPS) warps, each of PANELS x 16 rows and OCTETS x 8 tokens. With PAIR half of a warp's panels
 * are the second matrix's, of the same rows. */
template <int PAIR, int ROW_WARPS, int PANELS, int OCTETS> struct gemm_tile {
	static constexpr uint32_t TOKEN_WARPS = GEMM_WARPS / ROW_WARPS,
		ALL_PANELS = ROW_WARPS * PANELS,
		ROWS = ALL_PANELS * WEIGHTS_ROWS / (PAIR ? 2 : 1),
		TOKENS = TOKEN_WARPS * OCTETS * 8,
		A_BYTES = ALL_PANELS * GEMM_TILE_BYTES,
		STAGE = A_BYTES + TOKENS * GEMM_TOKEN_BYTES,
		LD = ALL_PANELS * WEIGHTS_ROWS + 4,     /* floats of a token where sums are turned; 4 for the banks */
		SHARED = GEMM_STAGES * STAGE > TOKENS * LD * 4 ? GEMM_STAGES * STAGE : TOKENS * LD * 4,
		THREADS = GEMM_WARPS * CUDA_WARP;
};

/* The panel that is number i of the block's tile: rows of a warp stand together, with PAIR those of the two matrices in turn.
 * What is beyond the matrix is read as its last. */
template <class TILE, int PAIR> CUDA_FN const uint8_t *gemm_panel(const struct gemm *c, uint32_t i)
{
	const uint32_t panels = (c->rows + WEIGHTS_ROWS - 1) / WEIGHTS_ROWS;
	const uint32_t p = blockIdx.y * (TILE::ROWS / WEIGHTS_ROWS) + (PAIR ? i / 2 : i);
	return (PAIR && i % 2 ? c->a2 : c->a) + min(p, panels - 1) * gemm_panel_bytes(c->k);
}

template <class TILE, int PAIR> CUDA_FN void gemm_stage(const struct gemm *c, uint32_t group, uint8_t *stage)
{
	CUDA_UNROLL
	for (uint32_t i = threadIdx.x; i < TILE::A_BYTES / 16; i += TILE::THREADS)
		copy16_async(stage + i * 16, gemm_panel<TILE, PAIR>(c, i / 64) + (size_t)group * GEMM_TILE_BYTES + i % 64 * 16);
	CUDA_UNROLL
	for (uint32_t i = threadIdx.x; i < TILE::TOKENS * 4; i += TILE::THREADS) {
		const uint32_t token = min(blockIdx.x * TILE::TOKENS + i / 4, c->n - 1);
		copy16_async(stage + TILE::A_BYTES + i * 16, c->b + token * c->ldb + group * WEIGHTS_GROUP + i % 4 * 8);
	}
}

/* One warp's products of a stage. */
template <int KIND, class TILE, int PANELS, int OCTETS> CUDA_FN void gemm_multiply(const uint8_t *stage, uint32_t row_warp,
	uint32_t token_warp, float acc[PANELS][OCTETS][4])
{
	const uint32_t lane = (uint32_t)cuda_lane();
	const uint8_t *a_at = stage + row_warp * PANELS * GEMM_TILE_BYTES + lane * 16;
	const uint8_t *b_at = stage + TILE::A_BYTES + (token_warp * OCTETS * 8 + lane / 4) * GEMM_TOKEN_BYTES + lane % 4 * 16;
	uint4 b[OCTETS];
	CUDA_UNROLL
	for (int o = 0; o < OCTETS; o++) b[o] = *(const uint4 *)(b_at + o * 8 * GEMM_TOKEN_BYTES);
	CUDA_UNROLL
	for (int s = 0; s < 2; s++)
		CUDA_UNROLL
		for (int p = 0; p < PANELS; p++) {
			const uint4 v = *(const uint4 *)(a_at + p * GEMM_TILE_BYTES + s * 512);
			const uint32_t a[4] = { v.x, v.y, v.z, v.w };
			CUDA_UNROLL
			for (int o = 0; o < OCTETS; o++) {
				const uint32_t half[2] = { s ? b[o].z : b[o].x, s ? b[o].w : b[o].y };
				if constexpr (KIND == GEMM_BF16) mma_bf16(acc[p][o], a, half);
				else mma_f16(acc[p][o], a, half);
			}
		}
}

/* The block's sums through shared memory, so that rows that lie on end are finished by threads that do, in a short loop. */
template <int PAIR, class TILE, int PANELS, int OCTETS, class FINISH> CUDA_FN void gemm_finish(const struct gemm *c,
	const FINISH &finish, uint32_t row_warp, uint32_t token_warp, const float acc[PANELS][OCTETS][4], float *sums)
{
	const uint32_t lane = (uint32_t)cuda_lane();
	float *to = sums + (token_warp * OCTETS * 8 + lane % 4 * 2) * TILE::LD + row_warp * PANELS * WEIGHTS_ROWS + lane / 4;
	__syncthreads();                        /* all are done with the stages */
	CUDA_UNROLL
	for (int p = 0; p < PANELS; p++)
		CUDA_UNROLL
		for (int o = 0; o < OCTETS; o++)
			CUDA_UNROLL
			for (int i = 0; i < 4; i++) to[(o * 8 + i % 2) * TILE::LD + p * WEIGHTS_ROWS + i / 2 * 8] = acc[p][o][i];
	__syncthreads();
	CUDA_ROLL
	for (uint32_t i = threadIdx.x; i < TILE::TOKENS * TILE::ROWS; i += TILE::THREADS) {
		const uint32_t r = i % TILE::ROWS, row = blockIdx.y * TILE::ROWS + r, token = blockIdx.x * TILE::TOKENS + i / TILE::ROWS;
		const float *at = sums + i / TILE::ROWS * TILE::LD + (PAIR ? r / WEIGHTS_ROWS * 2 * WEIGHTS_ROWS + r % WEIGHTS_ROWS : r);
		if (row < c->rows && token < c->n) finish(row, token, *at, PAIR ? at[WEIGHTS_ROWS] : 0.0f);
	}
}

template <int KIND, int PAIR, int ROW_WARPS, int PANELS, int OCTETS, class FINISH>
CUDA_KERNEL(__launch_bounds__(GEMM_WARPS * CUDA_WARP, 2) gemm_tiles)(struct gemm c, FINISH finish)
{
	typedef gemm_tile<PAIR, ROW_WARPS, PANELS, OCTETS> TILE;
	CUDA_SHARED(uint8_t, stages);
	const uint32_t groups = weights_steps(c.k) * 2, warp = threadIdx.x / CUDA_WARP;
	const uint32_t row_warp = warp % ROW_WARPS, token_warp = warp / ROW_WARPS;
	float acc[PANELS][OCTETS][4] = {};
	for (uint32_t i = 0; i < GEMM_STAGES - 1; i++) {
		if (i < groups) gemm_stage<TILE, PAIR>(&c, i, stages + i * TILE::STAGE);
		copy_commit();
	}
	for (uint32_t i = 0; i < groups; i++) {
		copy_wait(GEMM_STAGES - 2);
		__syncthreads();                /* stage i is there for all, and all are done with the one before it */
		if (i + GEMM_STAGES - 1 < groups)
			gemm_stage<TILE, PAIR>(&c, i + GEMM_STAGES - 1, stages + (i + GEMM_STAGES - 1) % GEMM_STAGES * TILE::STAGE);
		copy_commit();
		gemm_multiply<KIND, TILE, PANELS, OCTETS>(stages + i % GEMM_STAGES * TILE::STAGE, row_warp, token_warp, acc);
	}
	gemm_finish<PAIR, TILE, PANELS, OCTETS>(&c, finish, row_warp, token_warp, acc, (float *)stages);
}

template <int KIND, int PAIR, int ROW_WARPS, int PANELS, int OCTETS, class FINISH>
static void gemm_launch(struct gpu *g, const struct gemm *c, const FINISH &finish)
{
	typedef gemm_tile<PAIR, ROW_WARPS, PANELS, OCTETS> TILE;
	CUDA_LAUNCH(g, (gemm_tiles<KIND, PAIR, ROW_WARPS, PANELS, OCTETS, FINISH>),
		cuda_grid(div_up(c->n, TILE::TOKENS), div_up(c->rows, TILE::ROWS)), TILE::THREADS, (size_t)TILE::SHARED,
		*c, finish);
}

/* Tiles of 128 x 128 where they fill the device, else of 64 x 128, for few tokens of 64 x 64 (rows with PAIR: half). */
template <int KIND, int PAIR, class FINISH> static void gemm_run(struct gpu *g, const struct gemm *c, const FINISH &finish)
{
	const size_t wide = div_up(c->n, 128) * div_up(c->rows, PAIR ? 64 : 128);
	if (c->n <= 64) gemm_launch<KIND, PAIR, 2, 2, 2>(g, c, finish);
	else if (wide < (size_t)g->sms) gemm_launch<KIND, PAIR, 2, 2, 4>(g, c, finish);
	else gemm_launch<KIND, PAIR, 2, 4, 4>(g, c, finish);
}

#endif
