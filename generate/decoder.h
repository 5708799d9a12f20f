/* decoder.h: the forward pass of a llama, qwen2, qwen3 or gemma3 model from a GGUF file, on the CPU or on a GPU.
 *
 * Sizes come from the file's metadata, and every tensor's shape is checked against them. On the CPU weights are borrowed
 * from the mapping; kernels that read them packed (pack.h) have them once more in that form. A GPU has its own copy of
 * them, and keys and values lie there too.
 * Method: Touvron et al. 2023 (LLaMA), Qwen2 technical report 2024 (biases on q, k, v), Qwen3 2025 (norms of heads),
 * Gemma 3 2025 (its norms, windows, GeGLU), Su et al. 2021 (RoPE), Ainslie et al. 2023 (grouped queries). Weights of
 * norms are taken as the file has them: where a model's norm multiplies by 1 + w, converters have added the 1. Thread: one caller at a time. */
#ifndef GENERATE_DECODER_H
#define GENERATE_DECODER_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/team.h"
#include "generate/kvcache.h"
#include "generate/lora.h"
#include "generate/sample.h"
#include "nn/gguf.h"
#include "nn/gpu.h"
#include "nn/ops.h"

struct decoder;
enum { DECODER_CHUNK = 512 };          /* most rows of one decoder_eval */
/* Prompts and generated tokens may be computed differently, each to the bit the same wherever and beside whomever it is
 * computed: the arithmetic that is fastest for many tokens is not the best one for one. */
enum decoder_phase { PHASE_PROMPT, PHASE_WRITTEN };
enum decoder_want { WANT_NOTHING, WANT_BEST, WANT_LOGITS };
struct decoder_row {                   /* a token at the position behind what its sequence holds and earlier rows add */
	struct kvseq *seq;
	int32_t id;
	enum decoder_want want;
	float temperature;             /* WANT_LOGITS: that a token is to be drawn with; 0: none is drawn */
	/* filled in */
	int32_t best;                  /* WANT_BEST: the likeliest token after it, the first of equals; -1: no logit is a number */
	struct sample_row logits;      /* WANT_LOGITS: the decoder's until the next pass. On a GPU they stay there, and candidates
	                                  of them are here */
};
struct decoder_options {
	int context_max;               /* tokens of a sequence; 0: the model's own, at most 4096; more than its own is cut to it */
	int sequences;                 /* of one pass, and that kv_bytes 0 makes pages for, 1 and more */
	int wants;                     /* rows of a pass that want something, at most; 0: DECODER_CHUNK */
	uint64_t kv_bytes;             /* of keys and values; 0: enough for `sequences` whole contexts. A GPU with less free gives three
	                                  quarters of that, with 0 no more than these, with a line in the log, when it is one context
	                                  at least */
	const char *packs;             /* folder that keeps packed weights (packs.h); NULL or "": none. Borrowed during open */
	const struct gpu_table *gpu;   /* NULL: on the CPU; else on the first of this table's devices with room for it all */
};

struct decoder_info {
	char arch[16];
	size_t layers, dim, ff, heads, kv_heads, head_dim, vocab;
	size_t context;                /* most tokens of a sequence */
	uint64_t token_bytes;          /* bytes of tensors that one decoded token touches */
	char device[64];               /* "cpu", or what the GPU is called */
	uint64_t device_bytes;         /* of a GPU's memory that are taken */
};

/* g, lora (NULL: no adapter), ops and team are borrowed until close; ops and team may be NULL with a gpu.
 * E_UNSUPPORTED names architecture, key or tensor, or tells why a GPU cannot run it; E_FORMAT the key or tensor that is wrong;
 * E_MEMORY; E_IO: the device was lost. */
int decoder_open(struct decoder **out, const struct gguf *g, struct lora *lora, const struct ops *ops,
	struct team *team, const struct decoder_options *o, struct err *e);
void decoder_close(struct decoder *d);                        /* NULL is allowed */
const struct decoder_info *decoder_info(const struct decoder *d);
struct kvcache *decoder_cache(struct decoder *d);
/* 1: a position of a prompt and one that was written hold different bits, so the latter may not stand for the former. */
int decoder_phases_differ(const struct decoder *d);
/* Runs n rows (1 … DECODER_CHUNK, ids in the vocabulary, pages for them in their sequences), adds them to their
 * sequences, and fills in what they want. Rows of one sequence are in order; sequences may take turns. Allocates nothing, on a GPU
 * but for the first passes of a size. What a row gives does not depend on the rows beside it, nor on how the tokens before it
 * were cut into calls, to the bit. E_IO: the GPU was lost, with all keys and values; so says every later call. */
int decoder_eval(struct decoder *d, enum decoder_phase phase, struct decoder_row *rows, size_t n, struct err *e);
/* 1: the last pass took longer than its like will: on a GPU, the first of their size. */
int decoder_was_first(const struct decoder *d);
/* OK, or what decoder_eval says when the GPU was lost. */
int decoder_lost(const struct decoder *d, struct err *e);

#endif
