/* ops_cuda_linear.cu: owns matrices on a device and the products with them.
 *
 * matrix_load copies the file's rows to the device in pieces and has a kernel lay them out there (cuda_weights.h); the
 * host's memory is only read. `linear` chooses among the kernels of cuda_decode.h, which finish heads too where they can
 * (cuda_heads.h; what they leave is done behind them), or for prompts brings the weights of a slab of
 * rows to bfloat16 in work space (those of BF16 are there already) and multiplies tiles (cuda_gemm.h): slabs small enough to
 * stay in the device's cache between the two. Work space is what the longest rows so far want, and kept to the end, as recorded
 * passes hold its address.
 *
 * Prompts, the reckoning: 2048 tokens of a 1.5B model are 5.4e12 operations: 11 ms at half of what mma.sync does at best; the
 * weights of 4 calls of 512 rows written and read, out of the cache for the most part: 4 x 1.3 ms. Tiles of 64 x 128 on
 * 1536 rows and 512 tokens are 96 blocks, 560 and 280 of 128 x 128 on 8960.
 * Threads, failure: gpu.h. */
#include <string.h>
#include "nn/cuda_decode.h"
#include "nn/cuda_gemm.h"
#include "nn/cuda_inside.h"
#include "nn/cuda_weights.h"

enum {
	PACK_THREADS = 256, SLAB_PANELS = 8,
	ROOM_SM = 256 << 10,            /* of the work space for weights, per multiprocessor: wide's parts fill that at most */
	SHARED_BUDGET = CUDA_SHARED_MOST - 1024
};

/* --- matrices -------------------------------------------------------------------------------------------------------- */

/* Grid: words of a panel by threads, then panels. */
template <uint32_t T> CUDA_KERNEL(weights_pack)(const uint8_t *rows, size_t row_bytes, size_t n, size_t k, uint8_t *out)
{
	const size_t panel = blockIdx.y, at = ((size_t)blockIdx.x * PACK_THREADS + threadIdx.x) * 4, bytes = weights_panel_bytes<T>(k);
	const struct file_rows f = { rows + panel * WEIGHTS_ROWS * row_bytes, row_bytes, n - panel * WEIGHTS_ROWS, k };
	if (at < bytes) *(uint32_t *)(out + panel * bytes + at) = packed_word<T>(&f, at);
}

template <uint32_t T> static void pack_piece(struct gpu *g, const void *rows, const struct matrix *w, size_t n, uint8_t *out)
{
	CUDA_LAUNCH(g, (weights_pack<T>), cuda_grid(div_up(weights_panel_bytes<T>(w->k) / 4, PACK_THREADS), div_up(n, WEIGHTS_ROWS)),
		PACK_THREADS, 0, static_cast<const uint8_t *>(rows), w->row_bytes, n, w->k, out);
}

template <uint32_t T> static void panel_bytes(size_t k, size_t *out)
{
	*out = weights_panel_bytes<T>(k);
}

/* At least `bytes` in *room. What was there before stays until the device is closed. */
static int room_grow(struct gpu *g, struct gpu_room *room, uint64_t bytes, const char *what, struct err *e)
{
	void *p;
	int st;
	if (room->bytes >= bytes) return OK;
	if ((st = GPU_NAME(alloc)(g, bytes, what, &p, e)) != OK) return st;
	*room = gpu_room{ static_cast<uint8_t *>(p), bytes };
	return OK;
}

static uint64_t acts_bytes(size_t k)
{
	return (uint64_t)weights_steps(k) * acts_slice_step(GPU_ROWS);
}

/* A slab of two matrices, which is more than a panel's rows take in any file, or wide's parts. */
static uint64_t room_bytes(const struct gpu *g, size_t k)
{
	const uint64_t slab = 2 * SLAB_PANELS * (uint64_t)gemm_panel_bytes(k), parts = (uint64_t)ROOM_SM * (uint64_t)g->sms;
	return slab > parts ? slab : parts;
}

uint64_t GPU_NAME(work_bytes)(const struct gpu *g, size_t k)
{
	return acts_bytes(k) + room_bytes(g, k);
}

int GPU_NAME(work_make)(struct gpu *g, size_t k, struct err *e)
{
	int st = room_grow(g, &g->acts, acts_bytes(k), "activations", e);
	return st == OK ? room_grow(g, &g->room, room_bytes(g, k), "work space of products", e) : st;
}

uint64_t GPU_NAME(matrix_bytes)(const struct matrix *w)
{
	size_t bytes = 0;
	if (!quant_supported(w->type)) return 0;
	WEIGHTS_BY_TYPE(w->type, panel_bytes, w->k, &bytes);
	return (uint64_t)div_up(w->rows, WEIGHTS_ROWS) * bytes;
}

int GPU_NAME(matrix_load)(struct gpu *g, const struct matrix *w, struct gpu_matrix *out, struct err *e)
{
	size_t bytes = 0;
	int st;
	memset(out, 0, sizeof *out);
	if (!quant_supported(w->type))
		return err_set(e, E_UNSUPPORTED, "weights of type %s on a GPU", quant_name(w->type));
	if (!w->rows || !w->k || w->k % OPS_ALIGN || w->k % quant_block_weights(w->type) || w->rows > INT32_MAX || w->k > INT32_MAX)
		return err_set(e, E_UNSUPPORTED, "a matrix of %zu rows of %zu %s weights on a GPU", w->rows, w->k, quant_name(w->type));
	WEIGHTS_BY_TYPE(w->type, panel_bytes, w->k, &bytes);
	out->bytes = GPU_NAME(matrix_bytes)(w);
	if ((st = GPU_NAME(work_make)(g, w->k, e)) != OK || (st = GPU_NAME(alloc)(g, out->bytes, "weights", &out->data, e)) != OK) {
		out->bytes = 0;
		return st;
	}
	out->type = w->type;
	out->rows = w->rows;
	out->k = w->k;
	const size_t most = g->room.bytes / w->row_bytes / WEIGHTS_ROWS * WEIGHTS_ROWS;
	const size_t piece = most < 32768 * WEIGHTS_ROWS ? most : 32768 * WEIGHTS_ROWS;       /* panels count in a grid's y */
	for (size_t r = 0; r < w->rows; r += piece) {
		const size_t n = w->rows - r < piece ? w->rows - r : piece;
		uint8_t *to = static_cast<uint8_t *>(out->data) + r / WEIGHTS_ROWS * bytes;
		GPU_NAME(copy_in)(g, g->room.data, w->data + r * w->row_bytes, n * w->row_bytes);
		WEIGHTS_BY_TYPE(w->type, pack_piece, g, g->room.data, w, n, to);
	}
	return OK;
}

/* --- decode ---------------------------------------------------------------------------------------------------------- */

template <uint32_t T, int MATRICES, int OCTETS> static void run_wide(struct gpu *g, struct decode *c)
{
	typedef wide_stage<T, OCTETS> STAGE;
	const size_t m = OCTETS * 8, slices = div_up(c->n, m);
	size_t eights = 0;
	const size_t sums = MATRICES * m * WIDE_LD * sizeof(float);
	for (size_t i = 0; i < DECODE_PARTS; i++) eights += div_up(c->parts[i].panels, DECODE_WARPS);
	const int parted = slices * eights < (size_t)g->sms;
	c->depth = min(SHARED_BUDGET / STAGE::BYTES, (uint32_t)DECODE_DEPTH_MOST);
	c->acts = g->acts.data;
	c->segments = parted ? reinterpret_cast<float *>(g->room.data) : NULL;
	for (size_t i = 0; i < DECODE_PARTS; i++)
		if (!parted || heads_norm(&c->heads.rope, c->parts[i].heads)) c->parts[i].heads = HEADS_NONE;
	CUDA_FOLLOW(g, act_rows, slices * m, DECODE_THREADS, 0, *c, m, T == QUANT_Q6_K);
	CUDA_FOLLOW(g, (wide<T, MATRICES, OCTETS>), cuda_grid(slices, eights, parted ? DECODE_SEGMENTS : 1), DECODE_THREADS,
		max((size_t)c->depth * STAGE::BYTES, sums), *c);
	if (parted)
		CUDA_FOLLOW(g, decode_sums, cuda_grid(div_up((size_t)c->panels * WEIGHTS_ROWS, DECODE_THREADS), c->n), DECODE_THREADS, 0, *c, MATRICES);
}

/* Bytes of shared memory that narrow takes for these; 0: it cannot have them. */
template <uint32_t T, int MATRICES> static size_t narrow_fit(struct decode *c)
{
	const size_t fixed = narrow_bytes(MATRICES, c->steps, c->n), ring = DECODE_WARPS * decode_tile<T>::BYTES;
	if (c->n > DECODE_NARROW || fixed + 2 * ring > SHARED_BUDGET) return 0;
	c->panel_bytes = weights_panel_bytes<T>(c->k);
	c->depth = min((SHARED_BUDGET - fixed) / ring, (size_t)DECODE_DEPTH_MOST);
	return fixed + c->depth * ring;
}

template <uint32_t T, int MATRICES> static void run_decode(struct gpu *g, struct decode *c)
{
	const size_t shared = narrow_fit<T, MATRICES>(c);
	c->panel_bytes = weights_panel_bytes<T>(c->k);
	if (shared) CUDA_FOLLOW(g, (narrow<T, MATRICES>), min((size_t)c->panels, 2 * (size_t)g->sms), DECODE_THREADS, shared, *c);
	else if (c->n <= 16) run_wide<T, MATRICES, 2>(g, c);
	else run_wide<T, MATRICES, MATRICES == 2 ? 4 : 8>(g, c);
}

/* Both in one launch, blocks by panels; 0: not by narrow. */
template <uint32_t A, uint32_t B> static int run_two(struct gpu *g, struct decode *a, struct decode *b)
{
	const size_t shared[2] = { narrow_fit<A, 1>(a), narrow_fit<B, 1>(b) }, most = 2 * (size_t)g->sms, panels = a->panels + b->panels;
	if (!shared[0] || !shared[1]) return 0;
	const size_t share = min(div_up(most * b->panels, panels), most - 1), of_b = panels <= most ? b->panels : share,
		of_a = panels <= most ? a->panels : most - of_b;
	CUDA_FOLLOW(g, (narrow_two<A, B>), of_a + of_b, DECODE_THREADS, max(shared[0], shared[1]), *a, *b, of_a);
	return 1;
}

/* The types of queries and keys, and of values, that files have which are called Q4_K_M, Q5_K_M … */
static int run_types(struct gpu *g, uint32_t type_a, struct decode *a, uint32_t type_b, struct decode *b)
{
	if (type_a == QUANT_Q4_K && type_b == QUANT_Q6_K) return run_two<QUANT_Q4_K, QUANT_Q6_K>(g, a, b);
	if (type_a == QUANT_Q5_K && type_b == QUANT_Q6_K) return run_two<QUANT_Q5_K, QUANT_Q6_K>(g, a, b);
	if (type_a == QUANT_Q5_0 && type_b == QUANT_Q8_0) return run_two<QUANT_Q5_0, QUANT_Q8_0>(g, a, b);
	if (type_a == QUANT_Q5_1 && type_b == QUANT_Q8_0) return run_two<QUANT_Q5_1, QUANT_Q8_0>(g, a, b);
	return 0;
}

template <uint32_t T> static void run_matrices(struct gpu *g, struct decode *c)
{
	if (c->w2) run_decode<T, 2>(g, c);
	else run_decode<T, 1>(g, c);
}

/* --- prompts --------------------------------------------------------------------------------------------------------- */

/* Weights of a panel as tiles of bfloat16, to nearest. Grid: lanes of steps by threads, then panels. */
template <uint32_t T> CUDA_KERNEL(weights_round)(const uint8_t *w, size_t panel_size, uint32_t steps, uint8_t *out)
{
	typedef weights_form<T> F;
	const uint32_t at = blockIdx.x * PACK_THREADS + threadIdx.x, step = at / CUDA_WARP, lane = at % CUDA_WARP, t = lane % 4;
	const uint8_t *panel = w + blockIdx.y * panel_size;
	struct weights_lane<T> v;
	if (step >= steps) return;
	out += ((size_t)blockIdx.y * steps + step) * 2 * GEMM_TILE_BYTES;
	weights_take<T>(panel + weights_unit_at<T>(step), panel + weights_step_at<T>(step), lane, &v);
	CUDA_UNROLL
	for (uint32_t j = 0; j < 2; j++) {
		struct weights_scale scale;
		if constexpr (!F::PLAIN) scale = weights_scale_of<T>(&v, j);
		CUDA_UNROLL
		for (uint32_t s = 0; s < 2; s++) {
			uint32_t pairs[4];
			CUDA_UNROLL
			for (uint32_t r = 0; r < 4; r++) {
				const uint32_t h = r % 2;
				if constexpr (T == QUANT_F32) {
					const uint32_t i = 16 * j + 8 * s + 4 * h + r / 2 * 2;
					pairs[r] = bf16_pair(__uint_as_float(v.body[i]), __uint_as_float(v.body[i + 1]));
				} else if constexpr (F::PLAIN) {
					const uint32_t both = v.body[8 * j + 4 * s + r];
					pairs[r] = bf16_pair(half_float((uint16_t)both), half_float((uint16_t)(both >> 16)));
				} else {
					const uint32_t q = weights_pair<T>(&v, j, h, 2 * s + r / 2);
					pairs[r] = bf16_pair(scale.scale[s][h] * bf16_low(q) - scale.min[h],
						scale.scale[s][h] * bf16_high(q) - scale.min[h]);
				}
			}
			/* Q6_K's halves are in another order than tiles' */
			const uint32_t to_s = T == QUANT_Q6_K ? t % 2 : s, to_t = T == QUANT_Q6_K ? 2 * s + t / 2 : t;
			*(uint4 *)(out + j * GEMM_TILE_BYTES + to_s * 512 + (lane - t + to_t) * 16) =
				make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
		}
	}
}

template <uint32_t T> static void round_slab(struct gpu *g, const struct gpu_matrix *w, size_t panel, size_t panels, uint8_t *out)
{
	const size_t bytes = weights_panel_bytes<T>(w->k);
	const uint32_t steps = weights_steps(w->k);
	CUDA_LAUNCH(g, (weights_round<T>), cuda_grid(div_up((size_t)steps * CUDA_WARP, PACK_THREADS), panels), PACK_THREADS, 0,
		static_cast<const uint8_t *>(w->data) + panel * bytes, bytes, steps, out);
}

/* Tiles of some panels of a matrix: its own, or made in work space. */
static const uint8_t *slab_tiles(struct gpu *g, const struct gpu_matrix *w, size_t panel, size_t panels, uint8_t *room)
{
	if (w->type == QUANT_BF16) return static_cast<const uint8_t *>(w->data) + panel * gemm_panel_bytes(w->k);
	WEIGHTS_BY_TYPE(w->type, round_slab, g, w, panel, panels, room);
	return room;
}

struct prompt_finish {
	struct linear_to to;
	__device__ void operator()(uint32_t row, uint32_t token, float a, float b) const { linear_put(&to, row, token, a, b); }
};

/* b: activations in rows of gemm_k(k). */
static void run_prompt(struct gpu *g, const struct gpu_linear *c, const uint16_t *b, size_t n, const struct linear_to *to)
{
	const size_t ld = gemm_k(c->w->k), panels = div_up(c->w->rows, WEIGHTS_ROWS), bytes = gemm_panel_bytes(c->w->k);
	const size_t fit = g->room.bytes / (bytes * (c->w2 ? 2 : 1)) / SLAB_PANELS * SLAB_PANELS;
	const size_t slab = c->w->type == QUANT_BF16 ? panels : fit < 32768 ? fit : 32768;
	for (size_t p = 0; p < panels; p += slab) {
		const size_t some = panels - p < slab ? panels - p : slab, rows = c->w->rows - p * WEIGHTS_ROWS;
		struct gemm m = {};
		struct prompt_finish finish = { *to };
		m.a = slab_tiles(g, c->w, p, some, g->room.data);
		if (c->w2) m.a2 = slab_tiles(g, c->w2, p, some, g->room.data + some * bytes);
		m.b = b;
		m.ldb = ld;
		m.rows = static_cast<uint32_t>(rows < some * WEIGHTS_ROWS ? rows : some * WEIGHTS_ROWS);
		m.n = static_cast<uint32_t>(n);
		m.k = static_cast<uint32_t>(c->w->k);
		finish.to.row0 = static_cast<uint32_t>(p * WEIGHTS_ROWS);
		if (c->w2) gemm_run<GEMM_BF16, 1>(g, &m, finish);
		else gemm_run<GEMM_BF16, 0>(g, &m, finish);
	}
}

static struct linear_to to_of(const struct gpu_linear *c, const int32_t *pick)
{
	return linear_to{ c->bias, c->y, c->ldy, pick, c->finish, 0 };
}

static uint32_t heads_of(const struct gpu_linear *c, const struct gpu_rope *r)
{
	return !r ? HEADS_NONE : c->y == r->q ? HEADS_Q : c->y == r->k ? HEADS_K : HEADS_V;
}

/* As many of the chain from c on as one struct can have: of one type. What is left of it. first: the chain's. */
static const struct gpu_linear *take_parts(const struct gpu *g, const struct gpu_linear *first, const struct gpu_linear *c,
	const struct linear_from *from, struct decode *d)
{
	const int finish = first->rope && first->rope->heads + first->rope->kv_heads <= GPU_HEADS;
	const uint32_t type = c->w->type;
	*d = decode{};
	d->from = *from;
	d->w2 = c->w2 ? static_cast<const uint8_t *>(c->w2->data) : NULL;
	d->k = from->k;
	d->n = from->n;
	d->steps = weights_steps(d->k);
	for (size_t i = 0; i < DECODE_PARTS && c && c->w->type == type; i++, c = c->next) {
		struct decode_part *p = &d->parts[i];
		p->w = static_cast<const uint8_t *>(c->w->data);
		p->rows = static_cast<uint32_t>(c->w->rows);
		p->panels = (p->rows + WEIGHTS_ROWS - 1) / WEIGHTS_ROWS;
		p->to = to_of(c, from->pick);
		p->heads = finish ? heads_of(c, first->rope) : (uint32_t)HEADS_NONE;
		d->panels += p->panels;
	}
	if (first->rope) d->heads = heads{ *first->rope, *first->rows };
	d->arrived = g->arrived;
	return c;
}

/* Bits of the kinds of heads that are finished with it. */
static uint32_t finished(const struct decode *d)
{
	uint32_t kinds = 0;
	for (size_t i = 0; i < DECODE_PARTS; i++) kinds |= 1u << d->parts[i].heads;
	return kinds;
}

/* A launch, or those of `wide`, for as many of the chain from c on as one can have; what is left of it. */
static const struct gpu_linear *run_parts(struct gpu *g, const struct gpu_linear *first, const struct gpu_linear *c,
	const struct linear_from *from, uint32_t *done)
{
	const uint32_t type = c->w->type;
	struct decode d, two;
	const struct gpu_linear *next = take_parts(g, first, c, from, &d);
	if (next && !d.w2) {
		const struct gpu_linear *left = take_parts(g, first, next, from, &two);
		if (run_types(g, type, &d, next->w->type, &two)) {
			*done |= finished(&d) | finished(&two);
			return left;
		}
	}
	WEIGHTS_BY_TYPE(type, run_matrices, g, &d);
	*done |= finished(&d);
	return next;
}

void GPU_NAME(linear)(struct gpu *g, const struct gpu_linear *c)
{
	const struct linear_from from = { c->x, c->norm, c->pick, c->ldx, c->eps, static_cast<uint32_t>(c->n),
		static_cast<uint32_t>(c->w->k) };
	const struct gpu_linear *const first = c;
	uint16_t *b = reinterpret_cast<uint16_t *>(g->acts.data);
	uint32_t done = 0;
	while (c && !first->prompt) c = run_parts(g, first, c, &from, &done);
	if (first->prompt) CUDA_LAUNCH(g, act_prompt, c->n, DECODE_THREADS, 0, from, b, gemm_k(c->w->k));
	for (; c; c = c->next) {
		const struct linear_to to = to_of(c, from.pick);
		run_prompt(g, c, b, from.n, &to);
	}
	if (first->rope && HEADS_ALL & ~done) GPU_NAME(rope_some)(g, first->rope, first->rows, HEADS_ALL & ~done);
}
