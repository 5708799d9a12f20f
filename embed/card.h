/* card.h: of embed/ alone. What the small files of a model folder say: config.json, tokenizer_config.json,
 * sentence_bert_config.json, modules.json, the pooling module's config.json, config_sentence_transformers.json and,
 * where there is no vocab.txt, tokenizer.json (Hugging Face and sentence-transformers layout, old and new). Every number is checked against the ranges below, so that what follows may compute with them.
 * Thread: a value; no state. */
#ifndef EMBED_CARD_H
#define EMBED_CARD_H
#include <stddef.h>
#include "base/err.h"
#include "embed/encoder.h"
#include "embed/model_folder.h"
#include "embed/pool.h"
#include "nn/safetensors.h"
#include "nn/wordpiece.h"

enum {
	CARD_HIDDEN_MAX = 16384, CARD_LAYERS_MAX = 256, CARD_HEADS_MAX = 1024, CARD_WIDE_MAX = 131072,
	CARD_POSITIONS_MAX = 65536, CARD_TYPES_MAX = 1024, CARD_VOCABULARY_MAX = 8 << 20, CARD_TOKEN_LEN = 32,
	CARD_PREFIX_LEN = 256
};

struct card {
	struct encoder_shape shape;
	int max_tokens;                     /* of one text, with [CLS] and [SEP]; at most shape.positions */
	int lower_case, strip_accents, cjk_words;
	char unk[CARD_TOKEN_LEN], cls[CARD_TOKEN_LEN], sep[CARD_TOKEN_LEN], pad[CARD_TOKEN_LEN], mask[CARD_TOKEN_LEN];
	const char *vocabulary;             /* "vocab.txt" or "tokenizer.json"; static */
	enum pool_kind pooling;
	int normalise;
	char query_prefix[CARD_PREFIX_LEN], passage_prefix[CARD_PREFIX_LEN];
};

/* Reads the folder; every file read goes into hash too (name, length, bytes), but for config_sentence_transformers.json,
 * of which the passage prefix alone changes stored vectors. name is the folder's own (its base name). config.json, the
 * weights and a vocabulary must be there. Without modules.json: mean pooling, or what 1_Pooling says, and normalised.
 * Prefixes: "prompts" of config_sentence_transformers.json; where it says nothing, those of the families that were
 * trained with some and do not write it down, known by the folder's name or config.json's _name_or_path: e5, bge.
 * E_NOT_FOUND names the file, E_FORMAT file and field, E_UNSUPPORTED what this program does not do (an architecture, a
 * tokenizer, a pooling, a module, a form of the weights). */
int card_read(struct card *c, const struct model_folder *at, const char *name, struct sha256 *hash, struct err *e);
/* The vocabulary that the card names, from the same folder; its hash goes into hash. E_FORMAT: it does not fit the card. */
int card_words(struct wordpiece **out, const struct card *c, const struct model_folder *at, struct sha256 *hash, struct err *e);
/* The folder's weights; the hash of their file goes into hash. Errors of safetensors_open. */
int card_weights(struct safetensors **out, const struct model_folder *at, struct sha256 *hash, struct err *e);

#endif
