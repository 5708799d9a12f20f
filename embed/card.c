/* card.c: owns the reading of a model folder's JSON files into one checked struct.
 *
 * Where two files speak of one thing, the order is that of sentence-transformers: max_seq_length of
 * sentence_bert_config.json before model_max_length of tokenizer_config.json, neither beyond the positions that
 * config.json gives; strip_accents null means "as do_lower_case". What tokenizer.json and tokenizer_config.json both say
 * counts as the latter says it, as with transformers. A module or a mode that would change the vectors and is not known
 * here is refused, for a vector that is nearly right is worse than none.
 *
 * Threads: no state. Failure: the file and the field are named. */
#include "embed/card.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "embed/embed.h"
#include "nn/wordpiece.h"

enum {
	JSON_BYTES_MAX = 64 << 20,
	PADDING_MAX = 1024 /* rows that vocab_size may be above the vocabulary's end */
};

/* Reads a file of the folder. One that is missing leaves *out NULL, and is an error only when it is needed. hash may be NULL. */
static int json_read(cJSON **out, const struct model_folder *at, const char *name, int needed, struct sha256 *hash, struct err *e)
{
	struct model_file f = {0};
	char length[32];
	*out = NULL;
	if (!needed && !model_folder_has(at, name)) return OK;
	int rc = model_file_open(&f, at, name, e);
	if (rc == OK) rc = json_parse(out, f.data, f.len, JSON_BYTES_MAX, f.path, e);
	if (rc == OK && !cJSON_IsObject(*out) && !cJSON_IsArray(*out)) {
		rc = err_set(e, E_FORMAT, "%s: neither an object nor a list", f.path);
		cJSON_Delete(*out);
		*out = NULL;
	}
	if (rc == OK && hash) {
		sha256_put(hash, name, strlen(name) + 1);
		sha256_put(hash, length, (size_t)snprintf(length, sizeof length, "%zu", f.len) + 1);
		sha256_put(hash, f.data, f.len);
	}
	model_file_close(&f);
	return rc;
}

static int whole(const cJSON *j, const char *key, int max, int *out)
{
	double d = json_num(j, key, -1);
	if (!(d >= 1 && d <= max) || d != floor(d)) return 0;
	*out = (int)d;
	return 1;
}

static int act_parse(const char *name, enum dense_act *out)
{
	static const struct { const char *name; enum dense_act act; } acts[] = {
		{"gelu", DENSE_GELU}, {"gelu_python", DENSE_GELU}, {"gelu_new", DENSE_GELU_TANH}, {"gelu_fast", DENSE_GELU_TANH},
		{"gelu_pytorch_tanh", DENSE_GELU_TANH}, {"relu", DENSE_RELU},
	};
	for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
		if (strcmp(acts[i].name, name) == 0) {
			*out = acts[i].act;
			return 1;
		}
	return 0;
}

/* What somebody may bring and what is missing are told apart: the first can be helped. */
static int folder_check(const struct model_folder *at, struct err *e)
{
	static const char *const pieces[] = {"sentencepiece.bpe.model", "spiece.model", "tokenizer.model"};
	if (!model_folder_has(at, "config.json")) return err_set(e, E_NOT_FOUND, "%s: not an embedder: holds no config.json", at->dir);
	if (!model_folder_has(at, "model.safetensors")) {
		if (model_folder_has(at, "model.safetensors.index.json"))
			return err_set(e, E_UNSUPPORTED, "%.100s: weights in several files (model.safetensors.index.json) are not read: "
				"join them into one model.safetensors", at->dir);
		if (model_folder_has(at, "pytorch_model.bin"))
			return err_set(e, E_UNSUPPORTED, "%.70s: pytorch_model.bin is not read, only model.safetensors; to convert, there: "
				"python3 -c \"from transformers import AutoModel as M; M.from_pretrained('.').save_pretrained('.')\"", at->dir);
		return err_set(e, E_NOT_FOUND, "%s: not an embedder: holds no model.safetensors", at->dir);
	}
	if (model_folder_has(at, "vocab.txt") || model_folder_has(at, "tokenizer.json")) return OK;
	for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
		if (model_folder_has(at, pieces[i]))
			return err_set(e, E_UNSUPPORTED, "%.150s: %s: SentencePiece tokenizers of embedders are not read, only WordPiece",
				at->dir, pieces[i]);
	return err_set(e, E_NOT_FOUND, "%s: not an embedder: holds no vocab.txt and no tokenizer.json", at->dir);
}

int embedder_folder_check(const char *dir, struct err *e)
{
	const struct model_folder at = {dir, NULL};
	return folder_check(&at, e);
}

/* ---- prefixes ---- */

/* Where word stands in name as a word of its own (between ends and signs); NULL: nowhere. Letters' case is nothing. */
static const char *name_word(const char *name, const char *word)
{
	size_t n = strlen(word);
	for (const char *s = name; (s = strcasestr(s, word)); s++)
		if ((s == name || !isalnum((unsigned char)s[-1])) && !isalnum((unsigned char)s[n])) return s;
	return NULL;
}

/* Models trained with prefixes whose folders do not say so: Wang et al. 2022 (e5), Xiao et al. 2023 (bge). */
static int family_prefixes(struct card *c, const char *name)
{
	static const struct { const char *word, *language, *query, *passage; } families[] = {
		{"e5", NULL, "query: ", "passage: "},
		{"bge", "en", "Represent this sentence for searching relevant passages: ", ""},
		{"bge", "zh", "为这个句子生成表示以用于检索相关文章：", ""},
	};
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
		const char *at = name_word(name, families[i].word);
		if (!at || (families[i].language && !name_word(at, families[i].language))) continue;
		snprintf(c->query_prefix, sizeof c->query_prefix, "%s", families[i].query);
		snprintf(c->passage_prefix, sizeof c->passage_prefix, "%s", families[i].passage);
		return 1;
	}
	return 0;
}

/* The first of the names that prompts has, else absent. */
static const char *prompt_of(const cJSON *prompts, const char *const names[3], const char *absent)
{
	for (int i = 0; i < 3 && names[i]; i++) {
		const char *text = json_str(prompts, names[i], NULL);
		if (text) return text;
	}
	return absent;
}

/* Two empty prompts are what the library writes of itself when nobody said anything. */
static int prefixes_read(struct card *c, const struct model_folder *at, const char *name, const char *made_of, struct err *e)
{
	static const char *const query[3] = {"query"}, *const passage[3] = {"document", "passage", "corpus"};
	static const char file[] = "config_sentence_transformers.json";
	cJSON *j;
	int rc = json_read(&j, at, file, 0, NULL, e);
	if (rc != OK) return rc;
	const cJSON *prompts = cJSON_GetObjectItemCaseSensitive(j, "prompts");
	const char *chosen = json_str(j, "default_prompt_name", NULL), *other = chosen ? json_str(prompts, chosen, NULL) : "";
	if (!other) rc = err_set(e, E_FORMAT, "%s/%s: default_prompt_name \"%.40s\" is not in prompts", at->dir, file, chosen);
	else {
		const char *q = prompt_of(prompts, query, other), *p = prompt_of(prompts, passage, other);
		if (strlen(q) >= CARD_PREFIX_LEN || strlen(p) >= CARD_PREFIX_LEN)
			rc = err_set(e, E_UNSUPPORTED, "%s/%s: a prompt of over %d bytes", at->dir, file, CARD_PREFIX_LEN - 1);
		else if (*q || *p) {
			snprintf(c->query_prefix, sizeof c->query_prefix, "%s", q);
			snprintf(c->passage_prefix, sizeof c->passage_prefix, "%s", p);
		} else if (!family_prefixes(c, name)) (void)family_prefixes(c, made_of);
	}
	cJSON_Delete(j);
	return rc;
}

/* ---- config.json ---- */

static int config_read(struct card *c, const struct model_folder *at, const char *name, struct sha256 *hash, struct err *e)
{
	struct encoder_shape *s = &c->shape;
	const struct { const char *key; int max, *to; } sizes[] = {
		{"hidden_size", CARD_HIDDEN_MAX, &s->hidden}, {"num_hidden_layers", CARD_LAYERS_MAX, &s->layers},
		{"num_attention_heads", CARD_HEADS_MAX, &s->heads}, {"intermediate_size", CARD_WIDE_MAX, &s->intermediate},
		{"vocab_size", CARD_VOCABULARY_MAX, &s->vocabulary}, {"max_position_embeddings", CARD_POSITIONS_MAX, &s->positions},
		{"type_vocab_size", CARD_TYPES_MAX, &s->types},
	};
	cJSON *j;
	int rc = json_read(&j, at, "config.json", 1, hash, e);
	if (rc != OK) return rc;
	const char *type = json_str(j, "model_type", ""), *position = json_str(j, "position_embedding_type", "absolute");
	const char *act = json_str(j, "hidden_act", "gelu");
	double eps = json_num(j, "layer_norm_eps", 1e-12);
	if (strcmp(type, "bert") != 0)
		rc = err_set(e, E_UNSUPPORTED, "%s/config.json: model_type \"%.40s\": only bert is known (most bge, e5, gte; not the "
			"multilingual e5 and bge-m3, which are xlm-roberta)", at->dir, type);
	else if (json_bool(j, "is_decoder", 0))
		rc = err_set(e, E_UNSUPPORTED, "%s/config.json: is_decoder: an encoder is needed", at->dir);
	else if (strcmp(position, "absolute") != 0)
		rc = err_set(e, E_UNSUPPORTED, "%s/config.json: position_embedding_type \"%.40s\"", at->dir, position);
	else if (!act_parse(act, &s->act))
		rc = err_set(e, E_UNSUPPORTED, "%s/config.json: hidden_act \"%.40s\"", at->dir, act);
	else if (!(eps >= 0 && eps < 1)) rc = err_set(e, E_FORMAT, "%s/config.json: layer_norm_eps: not in 0 to 1", at->dir);
	for (size_t i = 0; rc == OK && i < sizeof sizes / sizeof sizes[0]; i++)
		if (!whole(j, sizes[i].key, sizes[i].max, sizes[i].to))
			rc = err_set(e, E_FORMAT, "%s/config.json: %s: not a whole number from 1 to %d", at->dir, sizes[i].key, sizes[i].max);
	if (rc == OK && s->hidden % s->heads != 0)
		rc = err_set(e, E_FORMAT, "%s/config.json: hidden_size %d is no multiple of num_attention_heads %d", at->dir, s->hidden,
			s->heads);
	if (rc == OK && s->positions < 2) rc = err_set(e, E_FORMAT, "%s/config.json: max_position_embeddings: under 2", at->dir);
	s->eps = (float)eps;
	if (rc == OK) rc = prefixes_read(c, at, name, path_base(json_str(j, "_name_or_path", "")), e);
	cJSON_Delete(j);
	return rc;
}

/* A special token is a string, or an object whose "content" is. A name cut here is missed by the vocabulary. */
static void token_name(const cJSON *j, const char *key, const char *absent, char out[CARD_TOKEN_LEN])
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(j, key);
	const char *name = cJSON_IsObject(v) ? json_str(v, "content", absent) : json_str(j, key, absent);
	snprintf(out, CARD_TOKEN_LEN, "%s", name);
}

/* What tokenizer.json does with a text must be what BERT's tokenizer does. */
static int pipeline_check(const cJSON *j, const char *dir, struct err *e)
{
	const cJSON *model = json_get(j, "model"), *normal = json_get(j, "normalizer"), *pre = json_get(j, "pre_tokenizer");
	const char *type = json_str(model, "type", json_get(model, "vocab") ? "WordPiece" : ""), *wrong = NULL;
	if (strcmp(type, "WordPiece") != 0)
		return err_set(e, E_UNSUPPORTED, "%s/tokenizer.json: model \"%.40s\": only WordPiece is known", dir, type);
	if (strcmp(json_str(normal, "type", ""), "BertNormalizer") != 0) wrong = "normalizer";
	else if (!json_bool(normal, "clean_text", 1)) wrong = "clean_text";
	else if (strcmp(json_str(pre, "type", ""), "BertPreTokenizer") != 0) wrong = "pre_tokenizer";
	else if (strcmp(json_str(model, "continuing_subword_prefix", "##"), "##") != 0) wrong = "continuing_subword_prefix";
	else if (json_num(model, "max_input_chars_per_word", WORDPIECE_WORD_MAX) != WORDPIECE_WORD_MAX)
		wrong = "max_input_chars_per_word";
	return wrong ? err_set(e, E_UNSUPPORTED, "%s/tokenizer.json: %s: not that of BERT", dir, wrong) : OK;
}

/* Sets vocabulary and, from tokenizer.json where it is used, what tokenizer_config.json may still override. */
static int vocabulary_read(struct card *c, const struct model_folder *at, struct sha256 *hash, struct err *e)
{
	cJSON *j;
	c->lower_case = c->cjk_words = 1;
	c->strip_accents = -1;
	c->vocabulary = model_folder_has(at, "vocab.txt") ? "vocab.txt" : "tokenizer.json";
	if (strcmp(c->vocabulary, "vocab.txt") == 0) return OK;
	int rc = json_read(&j, at, c->vocabulary, 1, hash, e);
	if (rc != OK) return rc;
	const cJSON *normal = json_get(j, "normalizer");
	rc = pipeline_check(j, at->dir, e);
	c->lower_case = json_bool(normal, "lowercase", 1);
	c->strip_accents = json_bool(normal, "strip_accents", -1);
	c->cjk_words = json_bool(normal, "handle_chinese_chars", 1);
	cJSON_Delete(j);
	return rc;
}

static int tokenizer_read(struct card *c, const struct model_folder *at, struct sha256 *hash, struct err *e)
{
	static const char *const classes[] = {"BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer",
		"DistilBertTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"};
	size_t n = sizeof classes / sizeof classes[0], i = 0;
	cJSON *j;
	int rc = vocabulary_read(c, at, hash, e);
	if (rc == OK) rc = json_read(&j, at, "tokenizer_config.json", 0, hash, e);
	if (rc != OK) return rc;
	const char *class = json_str(j, "tokenizer_class", classes[0]);
	while (i < n && strcmp(classes[i], class) != 0) i++;
	if (i == n || !json_bool(j, "do_basic_tokenize", 1)) {
		rc = err_set(e, E_UNSUPPORTED, "%s/tokenizer_config.json: tokenizer_class \"%.60s\"%s: not BERT's tokenizer", at->dir,
			class, i == n ? "" : " without do_basic_tokenize");
		cJSON_Delete(j);
		return rc;
	}
	c->lower_case = json_bool(j, "do_lower_case", c->lower_case);
	c->strip_accents = json_bool(j, "strip_accents", c->strip_accents);
	if (c->strip_accents < 0) c->strip_accents = c->lower_case;
	c->cjk_words = json_bool(j, "tokenize_chinese_chars", c->cjk_words);
	double longest = json_num(j, "model_max_length", c->shape.positions);
	c->max_tokens = longest >= 2 && longest < c->shape.positions ? (int)longest : c->shape.positions;
	token_name(j, "unk_token", "[UNK]", c->unk);
	token_name(j, "cls_token", "[CLS]", c->cls);
	token_name(j, "sep_token", "[SEP]", c->sep);
	token_name(j, "pad_token", "[PAD]", c->pad);
	token_name(j, "mask_token", "[MASK]", c->mask);
	cJSON_Delete(j);
	return OK;
}

static int sentence_read(struct card *c, const struct model_folder *at, struct sha256 *hash, struct err *e)
{
	cJSON *j;
	int rc = json_read(&j, at, "sentence_bert_config.json", 0, hash, e);
	if (rc != OK) return rc;
	const cJSON *longest = cJSON_GetObjectItemCaseSensitive(j, "max_seq_length");
	if (cJSON_IsNumber(longest)) {
		if (!(longest->valuedouble >= 2))
			rc = err_set(e, E_FORMAT, "%s/sentence_bert_config.json: max_seq_length: under 2", at->dir);
		else c->max_tokens = longest->valuedouble < c->shape.positions ? (int)longest->valuedouble : c->shape.positions;
	}
	c->lower_case |= json_bool(j, "do_lower_case", 0);
	cJSON_Delete(j);
	return rc;
}

/* The folder's modes, old form (a flag a mode) or new (pooling_mode: a name or names); *mean, *cls: on. */
static int pooling_modes(const cJSON *j, const char *where, int *mean, int *cls, struct err *e)
{
	static const char *const flags[] = {"pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_max_tokens",
		"pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
	const cJSON *mode = json_get(j, "pooling_mode"), *one = cJSON_IsArray(mode) ? mode->child : mode;
	for (int i = 0; i < 6; i++) {
		if (!json_bool(j, flags[i], 0)) continue;
		if (i > 1) return err_set(e, E_UNSUPPORTED, "%s: %s: mean or CLS alone is known", where, flags[i]);
		*(i ? cls : mean) = 1;
	}
	for (; one; one = cJSON_IsArray(mode) ? one->next : NULL) {
		const char *name = cJSON_IsString(one) ? one->valuestring : "";
		if (strcmp(name, "mean") != 0 && strcmp(name, "cls") != 0)
			return err_set(e, E_UNSUPPORTED, "%s: pooling_mode \"%.40s\": mean or CLS alone is known", where, name);
		*(*name == 'c' ? cls : mean) = 1;
	}
	if (*mean && *cls)
		return err_set(e, E_UNSUPPORTED, "%s: pooling_mode_mean_tokens and pooling_mode_cls_token: one alone is known", where);
	return *mean || *cls ? OK : err_set(e, E_FORMAT, "%s: no pooling mode is on", where);
}

static int pooling_read(struct card *c, const struct model_folder *at, int needed, struct sha256 *hash, struct err *e)
{
	static const char name[] = "1_Pooling/config.json";
	char where[300];
	cJSON *j;
	int dim = c->shape.hidden, mean = 0, cls = 0, rc = json_read(&j, at, name, needed, hash, e);
	if (rc != OK || !j) return rc;
	snprintf(where, sizeof where, "%.250s/%s", at->dir, name);
	rc = pooling_modes(j, where, &mean, &cls, e);
	if (rc == OK && json_num(j, "word_embedding_dimension", json_num(j, "embedding_dimension", dim)) != dim)
		rc = err_set(e, E_FORMAT, "%s: word_embedding_dimension is not hidden_size %d", where, dim);
	if (rc == OK && !json_bool(j, "include_prompt", 1))
		rc = err_set(e, E_UNSUPPORTED, "%s: include_prompt false: a mean that leaves the prefix out is not known", where);
	c->pooling = cls ? POOL_CLS : POOL_MEAN;
	cJSON_Delete(j);
	return rc;
}

static int ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), m = strlen(tail);
	return n >= m && strcmp(s + n - m, tail) == 0;
}

/* Pooling's folder is 1_Pooling in every model; `models add` copies that one. */
static int modules_read(struct card *c, const struct model_folder *at, struct sha256 *hash, struct err *e)
{
	cJSON *j;
	const cJSON *module;
	int pools = 0, rc = json_read(&j, at, "modules.json", 0, hash, e);
	if (rc != OK) return rc;
	c->normalise = j == NULL;
	cJSON_ArrayForEach(module, j) {
		const char *type = json_str(module, "type", ""), *path = json_str(module, "path", "");
		if (ends_with(type, ".Normalize")) c->normalise = 1;
		else if (ends_with(type, ".Pooling")) {
			pools = 1;
			if (strcmp(path, "1_Pooling") != 0)
				rc = err_set(e, E_FORMAT, "%s/modules.json: the pooling module's path is \"%.40s\", not 1_Pooling", at->dir, path);
		} else if (!ends_with(type, ".Transformer"))
			rc = err_set(e, E_UNSUPPORTED, "%s/modules.json: module \"%.80s\"", at->dir, type);
		if (rc != OK) break;
	}
	cJSON_Delete(j);
	return rc == OK ? pooling_read(c, at, pools, hash, e) : rc;
}

int card_read(struct card *c, const struct model_folder *at, const char *name, struct sha256 *hash, struct err *e)
{
	memset(c, 0, sizeof *c);
	int rc = folder_check(at, e);
	if (rc == OK) rc = config_read(c, at, name, hash, e);
	if (rc == OK) rc = tokenizer_read(c, at, hash, e);
	if (rc == OK) rc = sentence_read(c, at, hash, e);
	if (rc == OK) rc = modules_read(c, at, hash, e);
	return rc;
}

int card_words(struct wordpiece **out, const struct card *c, const struct model_folder *at, struct sha256 *hash, struct err *e)
{
	struct wordpiece_options o = {.lower_case = c->lower_case, .strip_accents = c->strip_accents,
		.cjk_words = c->cjk_words, .unk = c->unk, .cls = c->cls, .sep = c->sep, .pad = c->pad, .mask = c->mask};
	size_t want = (size_t)c->shape.vocabulary, has = 0;
	struct model_file f = {0};
	*out = NULL;
	int rc = model_file_open(&f, at, c->vocabulary, e);
	if (rc == OK) model_file_hash(&f, hash);
	if (rc == OK) rc = wordpiece_open(out, f.path, f.data, f.len, &o, e);
	if (rc == OK) has = wordpiece_size(*out);
	/* vocab_size may be rounded up; a file cut off would read every lost word as unknown, and say nothing. */
	if (rc == OK && (has > want || want - has >= PADDING_MAX)) {
		rc = err_set(e, E_FORMAT, "%s: %zu tokens, but vocab_size is %zu%s", f.path, has, want,
			has < want ? ": truncated" : "");
		wordpiece_close(*out);
		*out = NULL;
	}
	model_file_close(&f);
	return rc;
}

int card_weights(struct safetensors **out, const struct model_folder *at, struct sha256 *hash, struct err *e)
{
	struct model_file f = {0};
	*out = NULL;
	int rc = model_file_open(&f, at, "model.safetensors", e);
	if (rc == OK) model_file_hash(&f, hash);
	if (rc == OK) rc = at->inside ? safetensors_view(out, f.path, f.data, f.len, e) : safetensors_open(out, f.path, e);
	model_file_close(&f);
	return rc;
}
