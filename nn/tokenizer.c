/* tokenizer.c: owns the choice between the kinds of tokenizer. Threads: read-only after open. Failure: that of the kind
 * chosen. */
#include "nn/tokenizer.h"
#include <string.h>
#include "base/mem.h"
#include "nn/bpe.h"
#include "nn/spm.h"

struct tokenizer { /* one of the two */
	struct bpe *bpe;
	struct spm *spm;
};

int tokenizer_open(struct tokenizer **out, const struct gguf *g, struct err *e)
{
	struct tokenizer *t;
	struct gguf_str s;
	int st = gguf_str(g, "tokenizer.ggml.model", &s, e);
	*out = NULL;
	if (st != OK) return st;
	if (!(t = mem_calloc(1, sizeof *t))) return err_set(e, E_MEMORY, "%s: out of memory", gguf_path(g));
	if (s.len == 4 && memcmp(s.s, "gpt2", 4) == 0) st = bpe_open(&t->bpe, g, e);
	else if (s.len == 5 && memcmp(s.s, "llama", 5) == 0) st = spm_open(&t->spm, g, e);
	else
		st = err_set(e, E_UNSUPPORTED, "%s: tokenizer.ggml.model \"%.*s\" is not supported, only gpt2 and llama",
			gguf_path(g), (int)(s.len < 40 ? s.len : 40), s.s);
	if (st != OK) tokenizer_close(t);
	else *out = t;
	return st;
}

void tokenizer_close(struct tokenizer *t)
{
	if (!t) return;
	bpe_close(t->bpe);
	spm_close(t->spm);
	mem_free(t);
}

size_t tokenizer_vocab(const struct tokenizer *t)
{
	return t->bpe ? bpe_vocab(t->bpe) : spm_vocab(t->spm);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, unsigned flags,
	int (*put)(void *ctx, int32_t id), void *ctx, struct err *e)
{
	return t->bpe ? bpe_encode(t->bpe, text, len, flags, put, ctx, e) : spm_encode(t->spm, text, len, flags, put, ctx, e);
}

const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *len)
{
	return t->bpe ? bpe_bytes(t->bpe, id, len) : spm_bytes(t->spm, id, len);
}

enum token_kind tokenizer_kind(const struct tokenizer *t, int32_t id)
{
	return t->bpe ? bpe_kind(t->bpe, id) : spm_kind(t->spm, id);
}

int32_t tokenizer_special(const struct tokenizer *t, const char *name)
{
	return t->bpe ? bpe_special(t->bpe, name) : spm_special(t->spm, name);
}

int tokenizer_bos_by_habit(const struct tokenizer *t)
{
	return t->bpe ? bpe_bos_by_habit(t->bpe) : 1;
}

int tokenizer_blank_first(const struct tokenizer *t)
{
	return t->spm && spm_blank_first(t->spm);
}
