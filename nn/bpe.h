/* bpe.h: byte-level byte-pair encoding (Sennrich et al. 2016; bytes as in GPT-2) with the vocabulary and merges of a
 * GGUF file: tokenizer.ggml.model "gpt2", pre-tokenizers of nn/pretok.h.
 *
 * Text may be any bytes. A byte for which the vocabulary has no token is left out (SmolLM2 lacks some control
 * characters). Only ordinary tokens can come out of text; control and user-defined tokens come out only where
 * TOKENIZE_SPECIAL asks for it, which is for the program's own template text and never for documents or users.
 * Time is O(n log n) in the text's length whatever it holds. Thread-safe after open. */
#ifndef NN_BPE_H
#define NN_BPE_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "nn/gguf.h"
#include "nn/tokenizer.h"

struct bpe;

/* Copies what it needs; g may be closed after. E_FORMAT names file and key, E_UNSUPPORTED the model or
 * pre-tokenizer. */
int bpe_open(struct bpe **out, const struct gguf *g, struct err *e);
void bpe_close(struct bpe *b);                                   /* NULL is allowed */
size_t bpe_vocab(const struct bpe *b);
/* Calls put(ctx, id) for each token in order; put returns OK or the status to end with. E_MEMORY, E_LIMIT (a word of
 * 2^31 bytes), or what put returned; the err is filled in the first two cases. */
int bpe_encode(const struct bpe *b, const char *text, size_t len, unsigned flags, int (*put)(void *ctx, int32_t id),
	void *ctx, struct err *e);
int bpe_bos_by_habit(const struct bpe *b);       /* 1: such models want the BOS token where their file says nothing */
/* Bytes of a token, borrowed; control tokens have their name here ("<|im_end|>"). id must be in [0, bpe_vocab). */
const char *bpe_bytes(const struct bpe *b, int32_t id, size_t *len);
enum token_kind bpe_kind(const struct bpe *b, int32_t id);
int32_t bpe_special(const struct bpe *b, const char *name);      /* id of the control token of that name, or -1 */

#endif
