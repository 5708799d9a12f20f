/* decoder.h: the forward pass of a llama, qwen2, qwen3 or gemma3 model from a GGUF file.
 *
 * Sizes come from the file's metadata, and every tensor's shape is checked against them. Weights are borrowed from the
 * mapping; kernels that read them packed (pack.h) have them once more in that form.
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
#include "nn/gguf.h"
#include "nn/ops.h"

struct decoder;
enum { DECODER_CHUNK = 512 };          /* most rows of one decoder_eval */
/* Prompts and generated tokens may be computed differently, each to the bit the same wherever and beside whomever it is
 * computed: the arithmetic that is fastest for many tokens is not the best one for one. */
enum decoder_phase { PHASE_PROMPT, PHASE_WRITTEN };
struct decoder_row {                   /* a token at the position behind what its sequence holds and earlier rows add */
	struct kvseq *seq;
	int32_t id;
	int want;                      /* its logits */
};
struct decoder_options {
	int context_max;               /* tokens of a sequence; 0: the model's own, at most 4096; more than its own is cut to it */
	int sequences;                 /* that kv_bytes 0 makes pages for, 1 and more */
	uint64_t kv_bytes;             /* of keys and values; 0: enough for `sequences` whole contexts */
	const char *packs;             /* folder that keeps packed weights (packs.h); NULL or "": none. Borrowed during open */
};

struct decoder_info {
	char arch[16];
	size_t layers, dim, ff, heads, kv_heads, head_dim, vocab;
	size_t context;                /* most tokens of a sequence */
	uint64_t token_bytes;          /* bytes of tensors that one decoded token touches */
};

/* g, lora (NULL: no adapter), ops and team are borrowed until close.
 * E_UNSUPPORTED names architecture, key or tensor; E_FORMAT the key or tensor that is wrong; E_MEMORY. */
int decoder_open(struct decoder **out, const struct gguf *g, struct lora *lora, const struct ops *ops,
	struct team *team, const struct decoder_options *o, struct err *e);
void decoder_close(struct decoder *d);                        /* NULL is allowed */
const struct decoder_info *decoder_info(const struct decoder *d);
struct kvcache *decoder_cache(struct decoder *d);
/* 1: a position of a prompt and one that was written hold different bits, so the latter may not stand for the former. */
int decoder_phases_differ(const struct decoder *d);
/* Runs n rows (1 … DECODER_CHUNK, ids in the vocabulary, pages for them in their sequences) and adds them to their
 * sequences. Rows of one sequence are in order; sequences may take turns. logits: (rows that want them, vocab), in order; may be
 * NULL when none does. Allocates nothing. What a row gives does not depend on the rows beside it, nor on how the
 * tokens before it were cut into calls, to the bit. */
void decoder_eval(struct decoder *d, enum decoder_phase phase, const struct decoder_row *rows, size_t n, float *logits);

#endif
