/* gpu.h: what a GPU does for the models: its memory, and kernels on it, behind one table.
 *
 *   gpu_pick or gpu_choose -> open -> alloc, copy_in, matrix_load … -> kernels, in order -> sync -> close
 *
 * One table is CUDA (ops_cuda.cu and its parts, for compute capability 8.0 and up); the same source compiled for the host
 * (nn/cuda.h says how) is the table that tests use, so that what runs on a GPU is also run, thread by thread, without one.
 * Everything queued on a device runs in the order it was queued: a kernel returns before it has run. What goes wrong there
 * comes up at the next sync, and is final (E_IO, "device lost"): close, and go on without the device. Only alloc,
 * matrix_load, work_make and open fail by themselves: E_MEMORY tells how much there is, and harms nothing that runs. They leave
 * GPU_SPARE bytes of a device, or a 64th of a small one: kernels are loaded when they first run, and recorded passes lie there
 * too; who wants memory can be told that there is none, where a kernel that has none ends all that runs.
 * Pointers named "device" point into memory from alloc; the others are the host's. Activations are floats in rows.
 *
 * Arithmetic. Rows of a call are batch-invariant as the CPU's are (ops.h): a row's results have the same bits whatever
 * runs beside it and however a prompt was cut; sums go in an order that the shapes alone give. Weights are exactly
 * the file's. In `linear` an activation is bfloat16. For prompts (prompt = 1) it is one of them, and weights are rounded to
 * bfloat16 too (to nearest; those of type BF16 stay). Else it is two whose sum is the activation to 2^-17 of it, and weights
 * are exact: integers, whose groups' sums are scaled (block formats), or one to three of bfloat16 (float formats). Sums are
 * floats. Keys and values are IEEE halves in pages, as kvcache.h has them.
 * Threads: one at a time for a device. */
#ifndef NN_GPU_H
#define NN_GPU_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "nn/ops.h"

enum {
	GPU_ROWS = 512,              /* most rows of one call */
	GPU_SPLIT = 128,             /* keys that one block of attention reads: a sum is over such runs, in order … */
	GPU_PROMPT_SPLIT = 2048,     /* … of a prompt's row: such ones */
	GPU_PAGE = 32,               /* positions of a page of keys and values */
	GPU_SPARE = 128 << 20        /* bytes: the code of this table's kernels is under 10 MiB, stacks next to none; 100 passes of 300
	                                kernels with up to 1 KiB of arguments are 30 MiB. gpu-check tells what they take */
};

struct gpu;                          /* an open device */
struct gpu_graph;                    /* a recorded pass */

struct gpu_info {
	char name[64];               /* "NVIDIA H200" */
	int major, minor;            /* compute capability */
	int sms;                     /* multiprocessors */
	uint64_t memory, free;       /* bytes, when asked; free: that alloc may give still */
	uint64_t held;               /* bytes that were taken through this opening of the device, by all calls, and not given back */
};

struct gpu_matrix {                  /* weights on the device, in a layout of their own (cuda_weights.h); rows of k weights */
	uint32_t type;               /* enum quant_type */
	size_t rows, k;
	uint64_t bytes;              /* of device memory */
	void *data;                  /* device; one alloc, given back by release */
};

enum gpu_finish {
	GPU_STORE,                   /* y = w x + bias */
	GPU_ADD,                     /* y += w x + bias */
	GPU_SILU_MUL, GPU_GELU_MUL   /* y = act(w x) * (w2 x), act as in ops.h */
};

struct gpu_rope;
struct gpu_rows;
struct gpu_linear {
	const struct gpu_matrix *w, *w2;  /* w2: for *_MUL, of the same shape and type; else NULL */
	const float *bias;                /* device (rows) or NULL */
	const float *norm; float eps;     /* device (k): x goes through the RMS norm of ops.h first; NULL: as it is */
	const float *x; size_t ldx;       /* device (n, k), rows ldx apart; x and norm aligned to 16 bytes, ldx a multiple of 4 */
	const int32_t *pick;              /* device (n): row t is row pick[t] of x, none where that is under 0 (y's stays); NULL: row t */
	float *y; size_t ldy;             /* device (n, rows), ldy apart; not x */
	enum gpu_finish finish;
	size_t n;                         /* 1 … GPU_ROWS */
	int prompt;
	const struct gpu_linear *next;    /* or NULL: one more product with the same k, x, ldx, pick, norm, eps, n and prompt, whose own
	                                     fields of these are not looked at; no *_MUL in such a chain. It costs fewer launches */
	const struct gpu_rope *rope;      /* of a chain's first, or NULL: the chain stores to its q, k and v, each whole rows on end, and */
	const struct gpu_rows *rows;      /* what rope() makes of them with these rows comes of it; no pick. k and v are of no use then.
	                                     The same bits, and for a few written rows no launch of its own */
};

/* Where the rows of a pass belong. Device memory, the same addresses at every run of a recorded pass. A row of position -1 is
 * padding: nothing is written for it, and what is computed is of no use. */
struct gpu_rows {
	const int32_t *pos;               /* device (n) position in its sequence */
	const int32_t *slot;              /* device (n) row of `pages` */
	const uint32_t *pages; size_t ld_pages; /* device (slots, ld_pages): pages of a sequence, in order */
	size_t n;
};

/* Queries, keys and values: norms of heads, rotary positions (rope.h of generate/: cos and sin tables), then keys and values
 * to their pages as halves. Numbers 2i and 2i+1 of a head are a pair: a model whose pairs lie apart has its rows of weights put in
 * that order when they are loaded, for queries and keys alike, of which only their products matter. */
struct gpu_rope {
	float *q; const float *k, *v;     /* device (n, heads*head_dim), (n, kv_heads*head_dim) twice; q in place */
	size_t heads, kv_heads, head_dim;
	const float *q_norm, *k_norm; float eps; /* device (head_dim) or NULL */
	const float *cos, *sin;           /* device (positions, half) */
	size_t half;                      /* pairs of a head that turn: the first */
	uint16_t *store;                  /* device: the first page */
	size_t page_halves, head_halves;  /* from page to page; from its begin to this layer's first head. Head h lies
	                                     h * 2 * GPU_PAGE * head_dim on: keys of GPU_PAGE positions, then values */
};

struct gpu_attend {                       /* softmax(scale q·k) v over the keys at positions from … pos of the row's sequence */
	const float *q; float *out;       /* device (n, heads*head_dim), aligned to 16 bytes */
	size_t heads, kv_heads, head_dim; /* head_dim: a multiple of OPS_HEAD_ALIGN, at most 256 */
	size_t window;                    /* from = pos + 1 - window, or 0 with window 0 */
	size_t keys_most;                 /* no row has more: what the grid is made for */
	float scale;
	const uint16_t *store; size_t page_halves, head_halves; /* as in gpu_rope */
	float *scratch;                   /* device, the more of attend_floats() of both kinds, for the most rows and keys of any call with these
	                                     heads; nobody else writes there, for it counts on the zeros that it leaves. May be NULL for
	                                     prompts of up to GPU_PROMPT_SPLIT keys */
	int prompt;                       /* rows of one sequence stand together, in order: tensor cores; q and p as halves */
};

/* --- the likeliest tokens of rows of logits, from which the host draws one --- */
enum { GPU_TOP = 128 /* most of a row */ };
struct gpu_best {
	uint32_t n;                       /* how many there are; fewer than asked for where fewer are finite */
	float sum;                        /* of exp((logit - largest) / temperature) over the row's finite logits, to GPU_TOP_SLACK of
	                                     it; 0 for a temperature of 0 or fewer than 2 asked for; of no use where the temperature makes an
	                                     infinity of the largest */
	int32_t ids[GPU_TOP];             /* of the finite logits the largest, the larger first, then the lower id */
	float logits[GPU_TOP];
};
#define GPU_TOP_SLACK 0x1p-16
struct gpu_top {
	const float *logits;              /* device (n, vocab) */
	size_t vocab, n;                  /* n: 1 … GPU_ROWS */
	const int32_t *most;              /* device (n): how many of a row, 0 … GPU_TOP */
	const float *temperature;         /* device (n), 0 or more */
	void *scratch;                    /* device, top_bytes(vocab, n) of it */
	struct gpu_best *best;            /* device (n) */
};

/* --- an encoder's (BERT) ---
 * Texts lie one behind the other, a token a row. Activations and weights are halves (IEEE; what is larger becomes the largest
 * half), in rows whose lengths are multiples of GPU_PAD: what pads them is 0 and stays so. Sums, norms and softmax are floats. */
enum { GPU_PAD = 64, GPU_TILE = 64 /* queries that one block of encode_attend takes */, GPU_ENCODE_DIM = 2048 /* most of a row that is normed */ };
enum gpu_act { GPU_PLAIN, GPU_GELU, GPU_GELU_TANH, GPU_RELU }; /* as of dense.h */

struct gpu_encode_norm {                  /* x[t] = (words[ids[t]] + places[at[t]] or x[t] + y[t]), normed as dense_add_norm does */
	const uint16_t *words, *places;   /* device (…, dim), rows next to each other */
	const int32_t *ids, *at;          /* device (n); NULL: x and y instead */
	uint16_t *x; const uint16_t *y;   /* device (n, ld); of x no more than dim are written */
	const float *gamma, *beta;        /* device (dim) */
	float eps;
	size_t n, dim, ld;                /* dim: even, at most GPU_ENCODE_DIM */
};

struct gpu_encode_linear {                /* y = act(x w^T + bias) */
	const struct gpu_matrix *w;       /* of encode_load */
	const uint16_t *x;                /* device (n, w->k) */
	const float *bias;                /* device (w->rows) */
	uint16_t *y;                      /* device (n, w->rows); not x */
	size_t n;
	enum gpu_act act;
};

struct gpu_encode_attend {                /* softmax(scale q·k) v over all rows of the row's text */
	const uint16_t *qkv; size_t ld;   /* device (n, ld): queries of all heads, then keys, then values */
	uint16_t *out; size_t ldo;        /* device (n, ldo): heads * head_dim of them are written */
	size_t heads, head_dim;           /* head_dim: 16, 32, 64 or 128 */
	float scale;
	const int32_t *tiles; size_t tiles_n; /* device (tiles_n, 3): first row of a tile, of its text, and the row behind the text */
};

struct gpu_encode_pool {                  /* a text's rows to its vector: their mean, or the first of them */
	const uint16_t *x; size_t ld;     /* device (n, ld) */
	const int32_t *starts;            /* device (texts + 1) */
	float *out;                       /* device (texts, dim) */
	size_t texts, dim;
	int first, normalise;             /* normalise: to length 1 (a zero vector stays) */
};

/* --- a scan: inner products of a few vectors with many, all as int8 codes, and the k best of each --- */
enum { GPU_SCAN_BEST = 1024 /* most of k */ };
struct gpu_scan {
	const uint8_t *codes;             /* device (rows, len): a whole number of -127 … 127, + 128, a byte; what pads a row: 128 */
	const float *scales;              /* device (rows): a row is its scale times its code */
	const uint32_t *among;            /* device (rows) bits: those that count; NULL: all */
	const int8_t *queries;            /* device (n, len); what pads a row: 0 */
	const float *query_scales; const int32_t *shifts; /* device (n); shift: 128 times the sum of its code */
	size_t rows, len, n, k;           /* len: a multiple of GPU_PAD, at most 4096; rows under 2^31; k: 1 … GPU_SCAN_BEST */
	void *scratch;                    /* device, scan_bytes(rows, n, k) of it */
	uint32_t *best; float *near;      /* device (n, k): rows and products, the larger first, then the lower row; not a number: first */
	uint32_t *got;                    /* device (n): how many there are; fewer than k where fewer count */
};

struct gpu_table {
	const char *name;                 /* "cuda"; "host" for tests */
	const struct gpu_table *in_order; /* the same where no kernel begins before the one in front of it is done: the same bits, slower.
	                                     For comparisons; NULL where there is no other */
	/* --- devices --- */
	int (*count)(void);               /* devices that this table can use; 0 without a driver */
	int (*open)(struct gpu **out, int device, struct err *e); /* E_UNSUPPORTED: none, its driver or capability too old */
	void (*close)(struct gpu *g);     /* frees all of it; NULL is allowed */
	void (*info)(const struct gpu *g, struct gpu_info *out);
	/* --- memory; device memory is aligned to 256 bytes and begins as zeros --- */
	int (*alloc)(struct gpu *g, uint64_t bytes, const char *what, void **out, struct err *e);
	void (*release)(struct gpu *g, void *device); /* NULL is allowed; after what is queued */
	int (*alloc_host)(struct gpu *g, size_t bytes, void **out, struct err *e); /* page-locked: copies do not wait */
	void (*release_host)(struct gpu *g, void *p);
	void (*copy_in)(struct gpu *g, void *device, const void *host, size_t bytes);  /* queued; memory of alloc_host must stay until then, other is read at once */
	void (*copy_out)(struct gpu *g, void *host, const void *device, size_t bytes); /* queued: there after sync */
	void (*copy)(struct gpu *g, void *to, const void *from, size_t bytes);
	int (*sync)(struct gpu *g, struct err *e);
	/* Products share work space: of work_bytes(k) for matrices of up to k weights a row, or larger. matrix_load makes what there is
	 * not, and keeps the smaller, for recorded passes hold its address: so make it first for the longest rows. */
	uint64_t (*work_bytes)(const struct gpu *g, size_t k);
	int (*work_make)(struct gpu *g, size_t k, struct err *e);
	/* matrix_bytes: what w takes beside it. w's rows are read during the call. Types: those of quant.h. */
	uint64_t (*matrix_bytes)(const struct matrix *w);
	int (*matrix_load)(struct gpu *g, const struct matrix *w, struct gpu_matrix *out, struct err *e);
	/* --- passes that run again and again: what is queued between the two is recorded, not run. Kernels and copies between device
	 * memory and memory of alloc_host may be recorded; their addresses and sizes stay --- */
	int (*record)(struct gpu *g, struct err *e);
	int (*recorded)(struct gpu *g, struct gpu_graph **out, struct err *e);
	void (*replay)(struct gpu *g, struct gpu_graph *graph);
	void (*graph_free)(struct gpu *g, struct gpu_graph *graph); /* NULL is allowed */
	/* --- kernels of a decoder --- */
	/* x[t] = scale * row ids[t] of the table; ids: device (n), under 0: zeros. */
	void (*embed)(struct gpu *g, const struct gpu_matrix *table, const int32_t *ids, size_t n, float scale, float *x);
	void (*linear)(struct gpu *g, const struct gpu_linear *c);
	void (*rope)(struct gpu *g, const struct gpu_rope *c, const struct gpu_rows *rows);
	void (*attend)(struct gpu *g, const struct gpu_attend *c, const struct gpu_rows *rows);
	size_t (*attend_floats)(size_t n, size_t heads, size_t head_dim, size_t keys_most, int prompt); /* bounded, but for very long rows */
	/* x[t] += RMS norm of y[t] with w; all device, (n, dim). */
	void (*add_normed)(struct gpu *g, float *x, const float *y, const float *w, size_t n, size_t dim, float eps);
	void (*top)(struct gpu *g, const struct gpu_top *c);
	size_t (*top_bytes)(size_t vocab, size_t n);
	/* --- kernels of an encoder: a text's results have the same bits whatever runs beside it --- */
	/* w: (rows, k) halves, the host's, read during the call; rows and k multiples of GPU_PAD. For encode_linear alone. */
	int (*encode_load)(struct gpu *g, const uint16_t *w, size_t rows, size_t k, struct gpu_matrix *out, struct err *e);
	void (*encode_norm)(struct gpu *g, const struct gpu_encode_norm *c);
	void (*encode_linear)(struct gpu *g, const struct gpu_encode_linear *c);
	void (*encode_attend)(struct gpu *g, const struct gpu_encode_attend *c);
	void (*encode_pool)(struct gpu *g, const struct gpu_encode_pool *c);
	/* --- exact, the same for every n: whole numbers are summed --- */
	void (*scan)(struct gpu *g, const struct gpu_scan *c);
	size_t (*scan_bytes)(size_t rows, size_t n, size_t k);
};

/* The table of this program's GPUs. E_UNSUPPORTED: it was built without CUDA. Whether there is a device, open tells. */
int gpu_choose(const struct gpu_table **out, struct err *e);
/* What a setting says of where to compute. "cpu": *out is NULL. "auto": the GPUs' table where it has a device, else NULL, which is no
 * error. "cuda": the table, and *must is 1; whether there is a device, open tells. given: the table to pick; NULL: gpu_choose's.
 * E_USAGE: no such setting; E_UNSUPPORTED. */
int gpu_pick(const struct gpu_table **out, int *must, const char *device, const struct gpu_table *given, struct err *e);

#endif
