/* lora.h: of generate/ alone. Low-rank adapters (Hu et al. 2021) from GGUF files, as llama.cpp's convert_lora_to_gguf.py
 * writes them: general.type "adapter", adapter.type "lora", adapter.lora.alpha, and for each matrix W of (rows, k) that
 * it touches a pair NAME.lora_a (rank, k) and NAME.lora_b (rows, rank). With it W x becomes
 *
 *     W x + scale · alpha / rank · B (A x)          (no alpha, or 0: scale · B (A x))
 *
 * W stays as it lies in its file, quantised and mapped; the pairs are kept in fp32 and the decoder adds their product.
 * That is the merged model's result but for rounding, and W is not rounded once more as a merge into its type would.
 * Thread: immutable after open. */
#ifndef GENERATE_LORA_H
#define GENERATE_LORA_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "nn/gguf.h"
#include "nn/ops.h"

enum {
	LORA_FILES_MAX = 16,
	LORA_RANK_MAX = 4096   /* of one matrix, all adapters together */
};

struct lora_pair {             /* what the adapters add to one matrix: b (a x) */
	struct matrix a;       /* (rank, k), F32; of several adapters one below the other */
	struct matrix b;       /* (rows, rank up to a multiple of OPS_ALIGN), F32, scales in it, zeros behind the rank */
};
struct lora;

/* list: "FILE[:SCALE], FILE[:SCALE], …", at most LORA_FILES_MAX; scale 1 when it is not given. base is borrowed until
 * close; of the files nothing stays mapped. E_USAGE: the list; E_NOT_FOUND, E_IO; E_FORMAT names file and key or tensor: no lora
 * adapter, of another architecture, a tensor that base lacks, has in another shape, or that has no partner, a value that
 * is not finite; E_UNSUPPORTED: a kind of adapter; E_LIMIT: the rank; E_MEMORY. */
int lora_open(struct lora **out, const char *list, const struct gguf *base, struct err *e);
void lora_close(struct lora *l);                       /* NULL is allowed */
/* What is added to base's tensor t, marked as taken; NULL (also for l NULL): nothing. */
const struct lora_pair *lora_take(struct lora *l, const struct gguf_tensor *t);
/* A touched tensor that nobody took: E_UNSUPPORTED naming it. */
int lora_leftover(const struct lora *l, struct err *e);
size_t lora_rank(const struct lora *l);                /* the largest b.k; 0 for l NULL */
uint64_t lora_bytes(const struct lora *l);             /* of all pairs */

#endif
