/* pretok.h: where a byte-level BPE tokenizer cuts text into words before it merges, by hand-written scanners that
 * match what the tokenizers' regular expressions match (they stand in pretok.c). Text may be any bytes: a byte that is
 * no UTF-8 counts as a symbol. Thread-safe. */
#ifndef NN_PRETOK_H
#define NN_PRETOK_H
#include <stddef.h>

enum pretok { PRETOK_QWEN2, PRETOK_SMOLLM, PRETOK_LLAMA3 };

/* 1: found; names as GGUF's tokenizer.ggml.pre has them. */
int pretok_find(const char *name, size_t len, enum pretok *out);
const char *pretok_names(void);  /* "qwen2, smollm, llama-bpe"; static */
/* End of the word that starts at text[at], at < len; always > at. */
size_t pretok_next(enum pretok p, const char *text, size_t len, size_t at);

#endif
