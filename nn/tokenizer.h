/* tokenizer.h: the tokenizer of a GGUF model, of whichever kind its file names: byte-level BPE (nn/bpe.h) or
 * SentencePiece (nn/spm.h).
 *
 * Text may be any bytes and never becomes a control token, unless TOKENIZE_SPECIAL asks for it, which is for the
 * program's own template text and never for documents or users. Thread-safe after open. */
#ifndef NN_TOKENIZER_H
#define NN_TOKENIZER_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "nn/gguf.h"

struct tokenizer;

enum tokenize_flags {
	TOKENIZE_SPECIAL = 1,      /* names of control and user-defined tokens in the text become these tokens */
	TOKENIZE_CONTINUE = 2      /* the text goes on from another: no blank is put before it where the model has that habit */
};
/* USER: user-defined tokens of a byte-level BPE do not come out of text, those of SentencePiece do, as they stand for
 * line breaks and the like; ones that look like a mark of turns or media are CONTROL. */
enum token_kind { TOKEN_NORMAL, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED };

/* Copies what it needs; g may be closed after. E_FORMAT names file and key, E_UNSUPPORTED the kind of tokenizer. */
int tokenizer_open(struct tokenizer **out, const struct gguf *g, struct err *e);
void tokenizer_close(struct tokenizer *t);                                    /* NULL is allowed */
size_t tokenizer_vocab(const struct tokenizer *t);
/* Calls put(ctx, id) for each token in order; put returns OK or the status to end with. E_MEMORY, E_LIMIT (a text that
 * is too long), or what put returned; the err is filled in the first two cases. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, unsigned flags,
	int (*put)(void *ctx, int32_t id), void *ctx, struct err *e);
/* Bytes of a token, borrowed; control tokens have their name here. id must be in [0, tokenizer_vocab). */
const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *len);
enum token_kind tokenizer_kind(const struct tokenizer *t, int32_t id);
int32_t tokenizer_special(const struct tokenizer *t, const char *name);       /* the control token of that name, or -1 */
int tokenizer_bos_by_habit(const struct tokenizer *t);       /* 1: wants BOS where the file's add_bos_token is missing */
int tokenizer_blank_first(const struct tokenizer *t);        /* 1: the first token of a text begins with a blank that is no part of it */

#endif
