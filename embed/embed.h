/* embed.h: PUBLIC. Text to vector with a BERT-family encoder (MiniLM, bge, e5, gte …) read from a model folder
 * (Hugging Face and sentence-transformers layout: config.json, model.safetensors in float, half or bfloat16, vocab.txt
 * or a WordPiece tokenizer.json; optional tokenizer_config.json, sentence_bert_config.json, 1_Pooling/config.json,
 * modules.json, config_sentence_transformers.json).
 *
 *   embedder_open -> embedder_encode (any thread, any number) -> embedder_close
 *
 * Sizes, layers, heads, activation, layer-norm epsilon, lower-casing and pooling (mean or CLS) are read from those
 * files. Vectors are L2-normalised float[dim] when the model says so, so that a dot product is the cosine.
 * Method: Devlin et al. 2018 (BERT), Reimers & Gurevych 2019 (mean pooling); WordPiece as in BERT's tokenization.py.
 * In int8, weights have a scale an output and activations one a token (nn/gemm8.h): cosines to fp32 of 0.995 and more,
 * for a fraction of the time. A vector in int8 has the same bits on every CPU, in any batch, with any number of threads. A GPU
 * computes in halves with sums in floats: cosines to fp32 of 0.9999 and more, the same bits in any batch on the same device.
 * Threads: every call is thread-safe. EMBED_FIRST texts of a question's size (512 tokens together) are encoded at once,
 * by the thread that asks where all threads are busy or it is enough. All else, and everything on a GPU, is done for one caller
 * at a time on all threads; EMBED_FIRST callers overtake waiting EMBED_BULK callers, whose work is split into short pieces. */
#ifndef EMBED_EMBED_H
#define EMBED_EMBED_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct embedder;
struct gpu_table;

struct embedder_options {
	const char *dir;      /* model folder; borrowed during open */
	int threads;          /* of one encode call, 1 to 64 */
	/* How the encoder computes: NULL or "auto" (int8 with the best instructions of this CPU), one of "amx", "vnni",
	 * "avxvnni" and "avx2" (the same vectors, bit for bit), or "ref" (fp32 throughout). */
	const char *kernel;
	/* Where: NULL or "cpu"; "auto": on a GPU when there is one, the model fits it and kernel is auto, else on the CPU (a line in
	 * the log tells which); "cuda": on a GPU, or it is an error. */
	const char *device;
	const struct gpu_table *gpu; /* nn/gpu.h: the GPUs to choose from; NULL: those of this machine */
	int max_tokens;       /* 0: the model's own limit; else at most that */
	/* Put before EMBED_QUERY texts; "": none; NULL: what the model was trained with, by its folder's files or its
	 * family's name. Copied. */
	const char *query_prefix;
	const char *passage_prefix; /* likewise for EMBED_PASSAGE */
};

struct embedder_info {
	char name[64];        /* the folder's base name */
	int dim;              /* floats a vector */
	int layers;
	int max_tokens;       /* of one text, with [CLS] and [SEP] */
	int passage_tokens;   /* the same less the passage prefix: what is left to a passage */
	char pooling[8];      /* "mean" or "cls" */
	const char *kernel;   /* in use when it was opened: "amx", "vnni", "avxvnni", "avx2", "ref" or "cuda" */
	const char *query_prefix, *passage_prefix; /* in use; "": none. Live as long as the embedder */
	/* Hex SHA-256 over config, vocabulary, the weights file and, unless it is empty, the passage prefix: what a stored
	 * vector belongs to. Not over kernel and device: vectors in int8, in fp32 and of a GPU are as near as roundings make them,
	 * search finds the same with each, and a store may hold all of them. */
	char fingerprint[65];
};

enum embed_kind {       /* what a text is, and so which prefix it gets */
	EMBED_PASSAGE,  /* what is found: chunks and sentences of documents, sentences compared with them */
	EMBED_QUERY     /* what is asked */
};
enum embed_turn {       /* how soon it is wanted */
	EMBED_BULK,     /* a folder's work: after everybody who waits */
	EMBED_FIRST     /* somebody waits for it */
};
struct embed_text { const char *text; size_t len; }; /* UTF-8, borrowed */

/* Are the files there? Nothing is read: a first look, with a word on what to do. E_NOT_FOUND names what is missing;
 * E_UNSUPPORTED: weights or a tokenizer in a form that is not read. */
int embedder_folder_check(const char *dir, struct err *e);
/* E_NOT_FOUND names the missing file, E_FORMAT the field or tensor that is wrong, E_UNSUPPORTED the architecture,
 * tokenizer, activation, pooling or module that is not known here, the kernel that this CPU lacks, or, where it must be a GPU,
 * what that lacks; E_MEMORY; E_USAGE: no such kernel or device, or no room for text beside the prefix. */
int embedder_open(struct embedder **out, const struct embedder_options *o, struct err *e);
void embedder_close(struct embedder *m);                      /* NULL is allowed */
const struct embedder_info *embedder_info(const struct embedder *m);
/* OK; E_IO: a GPU that it must be was lost: nothing can be encoded any more. Thread-safe. */
int embedder_lost(const struct embedder *m, struct err *e);
const char *embedder_device(const struct embedder *m);        /* "cpu", or what the GPU is called that it computes on now. Thread-safe */
uint64_t embedder_device_bytes(const struct embedder *m); /* that it has of that GPU's memory; 0 on the CPU. Thread-safe */
/* out: (n, dim) floats, caller's. Texts longer than max_tokens are cut. Text never becomes a control token: "[SEP]" in
 * it is those five characters. A vector depends on its text alone; in fp32, on the texts beside it by rounding.
 * E_MEMORY, E_FORMAT for invalid UTF-8, E_IO: a GPU that it must be was lost; out is then partly written. */
int embedder_encode(struct embedder *m, const struct embed_text *texts, size_t n, enum embed_kind kind,
	enum embed_turn turn, float *out, struct err *e);
/* Tokens of a text without [CLS] and [SEP], not cut. Cheap; used for chunk budgets. Invalid UTF-8 counts as [UNK]. */
size_t embedder_count_tokens(const struct embedder *m, const char *text, size_t len);
/* Ids with [CLS] and [SEP], cut to max (at least 2); *n ids written. For tests and tools that compare with the
 * reference tokenizer: as there, and unlike in encode and count, "[SEP]" in the text is taken for the control token.
 * E_FORMAT for invalid UTF-8. */
int embedder_tokenize(const struct embedder *m, const char *text, size_t len, int32_t *ids, size_t max, size_t *n,
	struct err *e);

#endif
