/* gguf_make.h: GGUF files made by tests: a writer of keys and tensors, and whole small models with random weights.
 *
 *   struct gguf_make m;  gguf_make_begin(&m);  gguf_make_str/_u32/…(&m, …);  gguf_make_tensor(&m, …);
 *   gguf_make_write(&m, path)
 *
 *   struct model_spec s = model_spec_of("qwen3");  s.type = QUANT_Q4_K;  model_make(&s, path)
 *
 * Everything is deterministic: a tensor's weights follow from the seed and the tensor's name. A fault fails the test. */
#ifndef TESTS_GGUF_MAKE_H
#define TESTS_GGUF_MAKE_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

struct gguf_room { uint32_t type; size_t k; uint64_t bytes, seed; };   /* a matrix of gguf_make_random */
struct gguf_make {
	struct buf keys, tensors, data;
	uint64_t key_n, tensor_n;
	struct gguf_room *rooms;
	size_t room_n;
	uint64_t room_bytes;
};

void gguf_make_begin(struct gguf_make *m);
void gguf_make_str(struct gguf_make *m, const char *key, const char *value);
void gguf_make_u32(struct gguf_make *m, const char *key, uint32_t value);
void gguf_make_f32(struct gguf_make *m, const char *key, float value);
void gguf_make_bool(struct gguf_make *m, const char *key, int value);
void gguf_make_strs(struct gguf_make *m, const char *key, const char *const *values, size_t n);
/* values: n elements of 4 bytes; type GGUF_I32 or GGUF_F32. */
void gguf_make_array(struct gguf_make *m, const char *key, uint32_t type, const void *values, size_t n);
/* A matrix of rows x k (a vector: rows 0) from floats, encoded as type; k a multiple of the type's block. */
void gguf_make_tensor(struct gguf_make *m, const char *name, uint32_t type, size_t k, size_t rows, const float *w);
/* The same with weights that are never floats: random bits in the type's blocks, under scales that give them a deviation of
 * about 1/sqrt(k). They come into being in the file, by all cores: models of many GB in seconds. */
void gguf_make_random(struct gguf_make *m, const char *name, uint32_t type, size_t k, size_t rows, uint64_t seed);
/* Keys of a byte-level BPE without merges: tokens 0 … 255 are the bytes, then come control tokens of the given names, then
 * unused ones up to vocab. The first control token ends a text. */
void gguf_make_tokenizer(struct gguf_make *m, const char *const *control, size_t n, size_t vocab);
/* Keys of a SentencePiece model: <unk>, <s>, </s>, 256 byte tokens, then "a" … "z" from 259 and " a" … " z" from 285; unused
 * ones up to vocab. It wants a blank before a text and <s> before that. */
void gguf_make_spm(struct gguf_make *m, size_t vocab);
/* Writes the file and frees. */
void gguf_make_write(struct gguf_make *m, const char *path);

/* n floats as the quant type packs them; n a multiple of its block. */
void quant_encode(uint32_t type, const float *w, size_t n, struct buf *out);
/* n floats, about normal, of standard deviation `sd`, that follow from seed and name. */
void random_weights(uint64_t seed, const char *name, size_t n, float sd, float *out);

struct model_spec {
	const char *arch;          /* "llama", "qwen2", "qwen3", "gemma3" */
	size_t layers, dim, ff, heads, kv_heads, head_dim, vocab, context;
	size_t window, pattern;    /* gemma3; pattern 0: no such key */
	int spm;                   /* gguf_make_spm instead of gguf_make_tokenizer */
	int untied;                /* an output matrix of its own */
	int rope_factors;          /* llama: the tensor rope_freqs.weight */
	float rope_base, rope_linear;  /* 0: no such key */
	uint32_t type, embed_type; /* enum quant_type of matrices, and of token_embd and output */
	uint64_t seed;
	int large;                 /* matrices of gguf_make_random */
};
/* A small model: 3 layers, dim 256, 5 heads on 1, ff 512, 320 tokens, context 256, all F32. */
struct model_spec model_spec_of(const char *arch);
/* Writes the model, with a byte-level tokenizer where s->spm is 0 (tokens 0 … 255 are the bytes; 256 <|endoftext|>, 257 <|im_start|>,
 * 258 <|im_end|>; the rest are fillers). */
void model_make(const struct model_spec *s, const char *path);
/* Rows and columns of the matrix `name` without ".weight" ("blk.1.attn_q"); 0 when the model has no such matrix. */
int model_matrix(const struct model_spec *s, const char *name, size_t *k, size_t *rows);

#endif
