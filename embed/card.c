/* card.c: owns the reading of a model folder's JSON files into one checked struct.
 *
 * Where two files speak of one thing, the order is that of sentence-transformers: max_seq_length of
 * sentence_bert_config.json before model_max_length of tokenizer_config.json, neither beyond the positions that
 * config.json gives; strip_accents null means "as do_lower_case". A module or a mode that would change the vectors
 * and is not known here is refused, for a vector that is nearly right is worse than none.
 *
 * Threads: no state. Failure: the file and the field are named. */
#include "embed/card.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"

enum { JSON_BYTES_MAX = 4 << 20, PATH_BYTES_MAX = 4096 };

/* Reads dir/name. A file that is missing leaves *out NULL, and is an error only when it is needed. */
static int json_read(cJSON **out, const char *dir, const char *name, int needed, struct sha256 *hash, struct err *e)
{
	struct buf path, text;
	char length[32];
	int rc;
	*out = NULL;
	buf_init(&path, PATH_BYTES_MAX);
	buf_init(&text, JSON_BYTES_MAX);
	rc = path_join(&path, dir, name);
	if (rc != OK) {
		rc = err_set(e, rc, "%.100s: path too long", dir);
		goto out;
	}
	if (!needed && !file_exists(buf_cstr(&path))) goto out;
	rc = file_read(buf_cstr(&path), &text, e);
	if (rc == OK) rc = json_parse(out, buf_cstr(&text), text.len, JSON_BYTES_MAX, buf_cstr(&path), e);
	if (rc != OK) goto out;
	if (!cJSON_IsObject(*out) && !cJSON_IsArray(*out)) {
		rc = err_set(e, E_FORMAT, "%s: neither an object nor a list", buf_cstr(&path));
		cJSON_Delete(*out);
		*out = NULL;
		goto out;
	}
	sha256_put(hash, name, strlen(name) + 1);
	sha256_put(hash, length, (size_t)snprintf(length, sizeof length, "%zu", text.len) + 1);
	sha256_put(hash, text.data, text.len);
out:
	buf_clear(&text);
	buf_clear(&path);
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

static int config_read(struct card *c, const char *dir, struct sha256 *hash, struct err *e)
{
	struct encoder_shape *s = &c->shape;
	const struct { const char *key; int max, *to; } sizes[] = {
		{"hidden_size", CARD_HIDDEN_MAX, &s->hidden}, {"num_hidden_layers", CARD_LAYERS_MAX, &s->layers},
		{"num_attention_heads", CARD_HEADS_MAX, &s->heads}, {"intermediate_size", CARD_WIDE_MAX, &s->intermediate},
		{"vocab_size", CARD_VOCABULARY_MAX, &s->vocabulary}, {"max_position_embeddings", CARD_POSITIONS_MAX, &s->positions},
		{"type_vocab_size", CARD_TYPES_MAX, &s->types},
	};
	cJSON *j;
	int rc = json_read(&j, dir, "config.json", 1, hash, e);
	if (rc != OK) return rc;
	const char *type = json_str(j, "model_type", ""), *position = json_str(j, "position_embedding_type", "absolute");
	const char *act = json_str(j, "hidden_act", "gelu");
	double eps = json_num(j, "layer_norm_eps", 1e-12);
	if (strcmp(type, "bert") != 0)
		rc = err_set(e, E_UNSUPPORTED, "%s/config.json: model_type \"%.40s\": only bert is known", dir, type);
	else if (strcmp(position, "absolute") != 0)
		rc = err_set(e, E_UNSUPPORTED, "%s/config.json: position_embedding_type \"%.40s\"", dir, position);
	else if (!act_parse(act, &s->act))
		rc = err_set(e, E_UNSUPPORTED, "%s/config.json: hidden_act \"%.40s\"", dir, act);
	else if (!(eps >= 0 && eps < 1)) rc = err_set(e, E_FORMAT, "%s/config.json: layer_norm_eps: not in 0 to 1", dir);
	for (size_t i = 0; rc == OK && i < sizeof sizes / sizeof sizes[0]; i++)
		if (!whole(j, sizes[i].key, sizes[i].max, sizes[i].to))
			rc = err_set(e, E_FORMAT, "%s/config.json: %s: not a whole number from 1 to %d", dir, sizes[i].key, sizes[i].max);
	if (rc == OK && s->hidden % s->heads != 0)
		rc = err_set(e, E_FORMAT, "%s/config.json: hidden_size %d is no multiple of num_attention_heads %d", dir, s->hidden,
			s->heads);
	if (rc == OK && s->positions < 2) rc = err_set(e, E_FORMAT, "%s/config.json: max_position_embeddings: under 2", dir);
	s->eps = (float)eps;
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

static int tokenizer_read(struct card *c, const char *dir, struct sha256 *hash, struct err *e)
{
	cJSON *j;
	int rc = json_read(&j, dir, "tokenizer_config.json", 0, hash, e);
	if (rc != OK) return rc;
	c->lower_case = json_bool(j, "do_lower_case", 1);
	c->strip_accents = json_bool(j, "strip_accents", c->lower_case);
	c->cjk_words = json_bool(j, "tokenize_chinese_chars", 1);
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

static int sentence_read(struct card *c, const char *dir, struct sha256 *hash, struct err *e)
{
	cJSON *j;
	int rc = json_read(&j, dir, "sentence_bert_config.json", 0, hash, e);
	if (rc != OK) return rc;
	const cJSON *longest = cJSON_GetObjectItemCaseSensitive(j, "max_seq_length");
	if (cJSON_IsNumber(longest)) {
		if (!(longest->valuedouble >= 2))
			rc = err_set(e, E_FORMAT, "%s/sentence_bert_config.json: max_seq_length: under 2", dir);
		else c->max_tokens = longest->valuedouble < c->shape.positions ? (int)longest->valuedouble : c->shape.positions;
	}
	c->lower_case |= json_bool(j, "do_lower_case", 0);
	cJSON_Delete(j);
	return rc;
}

static int pooling_read(struct card *c, const char *dir, const char *module, struct sha256 *hash, struct err *e)
{
	static const char *const modes[] = {"pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_max_tokens",
		"pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
	char name[300];
	cJSON *j;
	int chosen = -1, rc;
	snprintf(name, sizeof name, "%.250s/config.json", module);
	rc = json_read(&j, dir, name, 0, hash, e);
	if (rc != OK || !j) return rc;
	for (int i = 0; i < 6 && rc == OK; i++) {
		if (!json_bool(j, modes[i], 0)) continue;
		if (i > 1 || chosen >= 0)
			rc = err_set(e, E_UNSUPPORTED, "%s/%s: %s: mean or CLS alone is known", dir, name, modes[i]);
		chosen = i;
	}
	int dim = c->shape.hidden;
	if (rc == OK && chosen < 0) rc = err_set(e, E_FORMAT, "%s/%s: no pooling mode is on", dir, name);
	if (rc == OK && json_num(j, "word_embedding_dimension", dim) != dim)
		rc = err_set(e, E_FORMAT, "%s/%s: word_embedding_dimension is not hidden_size %d", dir, name, dim);
	c->pooling = chosen == 1 ? POOL_CLS : POOL_MEAN;
	cJSON_Delete(j);
	return rc;
}

static int ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), m = strlen(tail);
	return n >= m && strcmp(s + n - m, tail) == 0;
}

static int modules_read(struct card *c, const char *dir, struct sha256 *hash, struct err *e)
{
	cJSON *j;
	const cJSON *module;
	char pooling[256] = "1_Pooling";
	int rc = json_read(&j, dir, "modules.json", 0, hash, e);
	if (rc != OK) return rc;
	c->normalise = j == NULL;
	cJSON_ArrayForEach(module, j) {
		const char *type = json_str(module, "type", ""), *path = json_str(module, "path", "");
		if (ends_with(type, ".Normalize")) c->normalise = 1;
		else if (ends_with(type, ".Pooling")) {
			if (strlen(path) >= sizeof pooling || strstr(path, ".."))
				rc = err_set(e, E_FORMAT, "%s/modules.json: bad path of the pooling module", dir);
			else if (*path) snprintf(pooling, sizeof pooling, "%s", path);
		} else if (!ends_with(type, ".Transformer"))
			rc = err_set(e, E_UNSUPPORTED, "%s/modules.json: module \"%.80s\"", dir, type);
		if (rc != OK) break;
	}
	cJSON_Delete(j);
	return rc == OK ? pooling_read(c, dir, pooling, hash, e) : rc;
}

int card_read(struct card *c, const char *dir, struct sha256 *hash, struct err *e)
{
	memset(c, 0, sizeof *c);
	int rc = config_read(c, dir, hash, e);
	if (rc == OK) rc = tokenizer_read(c, dir, hash, e);
	if (rc == OK) rc = sentence_read(c, dir, hash, e);
	if (rc == OK) rc = modules_read(c, dir, hash, e);
	return rc;
}
