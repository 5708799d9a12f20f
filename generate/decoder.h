/* decoder.h: the forward pass of a llama, qwen2, qwen3 or gemma3 model from a GGUF file.
 *
 * Sizes come from the file's metadata, and every tensor's shape is checked against them. Weights stay in the mapping.
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
enum { DECODER_CHUNK = OPS_TOKENS };   /* most tokens of one decoder_eval */

struct decoder_info {
	char arch[16];
	size_t layers, dim, ff, heads, kv_heads, head_dim, vocab;
	size_t context;                /* of the cache */
	uint64_t token_bytes;          /* bytes of tensors that one decoded token touches */
};

/* g, lora (NULL: no adapter), ops and team are borrowed until close. context_max 0: the model's own, at most 4096; more than the model's own
 * is cut to it.
 * E_UNSUPPORTED names architecture, key or tensor; E_FORMAT the key or tensor that is wrong; E_MEMORY. */
int decoder_open(struct decoder **out, const struct gguf *g, struct lora *lora, const struct ops *ops,
	struct team *team, int context_max, struct err *e);
void decoder_close(struct decoder *d);                        /* NULL is allowed */
const struct decoder_info *decoder_info(const struct decoder *d);
struct kvcache *decoder_cache(struct decoder *d);
/* Runs n tokens (1 … DECODER_CHUNK, ids in the vocabulary, n more fit the cache) at the positions behind the cache,
 * which takes them in. logits: (want, vocab) for the last `want` <= n of them; may be NULL when want is 0.
 * Allocates nothing. The logits of a token do not depend on how the tokens before it were cut into calls, to the
 * bit. */
void decoder_eval(struct decoder *d, const int32_t *ids, size_t n, size_t want, float *logits);

#endif
