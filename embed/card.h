/* card.h: of embed/ alone. What the small files of a model folder say: config.json, tokenizer_config.json,
 * sentence_bert_config.json, modules.json and the pooling module's config.json (Hugging Face and sentence-transformers
 * layout). Every number is checked against the ranges below, so that what follows may compute with them.
 * Thread: a value; no state. */
#ifndef EMBED_CARD_H
#define EMBED_CARD_H
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "embed/encoder.h"
#include "embed/pool.h"

enum {
	CARD_HIDDEN_MAX = 16384, CARD_LAYERS_MAX = 256, CARD_HEADS_MAX = 1024, CARD_WIDE_MAX = 131072,
	CARD_POSITIONS_MAX = 65536, CARD_TYPES_MAX = 1024, CARD_VOCABULARY_MAX = 8 << 20, CARD_TOKEN_LEN = 32
};

struct card {
	struct encoder_shape shape;
	int max_tokens;                     /* of one text, with [CLS] and [SEP]; at most shape.positions */
	int lower_case, strip_accents, cjk_words;
	char unk[CARD_TOKEN_LEN], cls[CARD_TOKEN_LEN], sep[CARD_TOKEN_LEN], pad[CARD_TOKEN_LEN], mask[CARD_TOKEN_LEN];
	enum pool_kind pooling;
	int normalise;
};

/* Reads the folder; every file read goes into hash too (name, length, bytes). Only config.json must be there. Without
 * modules.json: mean pooling, or what 1_Pooling says, and normalised. E_NOT_FOUND names the file, E_FORMAT file and
 * field, E_UNSUPPORTED what this program does not do (an architecture, a pooling, a module). */
int card_read(struct card *c, const char *dir, struct sha256 *hash, struct err *e);

#endif
