/* spm.h: SentencePiece's BPE model (Kudo & Richardson 2018) with the vocabulary of a GGUF file: tokenizer.ggml.model
 * "llama" (Llama 2, Mistral, Gemma), its scores and token types.
 *
 * Text is taken as it is, without normalisation, but for U+2581, which stands for a blank here. Where the file says so
 * (add_space_prefix; also when it says nothing) a text gets a blank before it. User-defined tokens are found first,
 * longest first from left to right, then neighbours are merged, best score first, then leftmost. A character that has no
 * token becomes tokens of its bytes. Only ordinary, byte and user-defined tokens come out of text.
 * Time is O(n log n) in the text's length whatever it holds. Thread-safe after open. */
#ifndef NN_SPM_H
#define NN_SPM_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "nn/gguf.h"
#include "nn/tokenizer.h"

struct spm;

/* Copies what it needs; g may be closed after. E_FORMAT names file and key, E_UNSUPPORTED a normalisation. */
int spm_open(struct spm **out, const struct gguf *g, struct err *e);
void spm_close(struct spm *m);                                   /* NULL is allowed */
size_t spm_vocab(const struct spm *m);
int spm_blank_first(const struct spm *m);                        /* 1: a blank is put before a text */
/* As tokenizer_encode; flags: enum tokenize_flags. */
int spm_encode(const struct spm *m, const char *text, size_t len, unsigned flags, int (*put)(void *ctx, int32_t id),
	void *ctx, struct err *e);
/* Bytes of a token, blanks as blanks, borrowed; control tokens have their name here. id must be in [0, spm_vocab). */
const char *spm_bytes(const struct spm *m, int32_t id, size_t *len);
enum token_kind spm_kind(const struct spm *m, int32_t id);
int32_t spm_special(const struct spm *m, const char *name);      /* id of the control token of that name, or -1 */

#endif
