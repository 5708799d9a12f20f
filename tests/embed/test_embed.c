/* test_embed.c: the reference's tokens and vectors, the promises of embed.h, and bad model folders. What needs no
 * trained weights runs on a model of two layers and eight dimensions that is written here. */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "embed/embed.h"
#include "embed/encoder.h"
#include "embed/pool.h"
#include "tests/embed/golden.h"
#include "tests/test.h"

enum { DIM = 384, SPECIAL_TEXT = 21 /* "[CLS] [SEP] [MASK] [UNK]" */ };
static struct err e;

/* ---- the reference ---- */

static struct embedder *minilm(int threads, const char *kernel)
{
	struct embedder *m;
	const char *dir = test_model("all-minilm-l6-v2");
	if (!dir) test_skip("all-minilm-l6-v2 is not in the models folder");
	struct embedder_options o = {.dir = dir, .threads = threads, .kernel = kernel};
	CHECK_OK(embedder_open(&m, &o, &e), e);
	CHECK_INT(embedder_info(m)->dim, DIM);
	CHECK_INT(embedder_info(m)->max_tokens, 256);
	return m;
}

/* (GOLDEN_TEXTS, DIM) of minilm_embeddings.npy, version 1.0: magic, version, header length, header, floats. */
static float *golden_vectors(void)
{
	struct buf b;
	size_t bytes = GOLDEN_TEXTS * DIM * sizeof(float);
	float *v = mem_alloc(bytes);
	buf_init(&b, 1 << 20);
	CHECK_OK(file_read(test_data("golden/minilm_embeddings.npy"), &b, &e), e);
	CHECK(v && b.len > 10 && memcmp(b.data, "\x93NUMPY\x01", 7) == 0);
	size_t at = 10 + ((size_t)(uint8_t)b.data[8] | (size_t)(uint8_t)b.data[9] << 8);
	CHECK_INT(b.len, at + bytes);
	CHECK(strstr(b.data + 10, "'<f4'") && strstr(b.data + 10, "(29, 384)"));
	memcpy(v, b.data + at, bytes);
	buf_clear(&b);
	return v;
}

static double length(const float *v, size_t dim)
{
	double s = 0;
	for (size_t i = 0; i < dim; i++) s += (double)v[i] * v[i];
	return sqrt(s);
}

TEST(embed_tokens_equal_the_reference)
{
	struct embedder *m = minilm(1, NULL);
	cJSON *texts = golden_texts(), *line;
	struct buf b;
	buf_init(&b, 1 << 20);
	CHECK_OK(file_read(test_data("golden/minilm_tokens.jsonl"), &b, &e), e);
	char *at = b.data;
	for (int i = 0; i < GOLDEN_TEXTS; i++) {
		struct embed_text t = text_at(texts, i);
		char *end = strchr(at, '\n');
		int32_t ids[256];
		size_t n;
		CHECK(end != NULL);
		CHECK_OK(json_parse(&line, at, (size_t)(end - at), 1 << 20, "minilm_tokens.jsonl", &e), e);
		const cJSON *want = cJSON_GetObjectItem(line, "ids");
		CHECK_OK(embedder_tokenize(m, t.text, t.len, ids, 256, &n, &e), e);
		CHECK_MSG((int)n == cJSON_GetArraySize(want), "text %d: %zu tokens, want %d", i, n, cJSON_GetArraySize(want));
		for (int k = 0; k < (int)n; k++)
			CHECK_MSG(ids[k] == cJSON_GetArrayItem(want, k)->valueint, "text %d token %d: %d, want %d", i, k, ids[k],
				cJSON_GetArrayItem(want, k)->valueint);
		if (n < 256 && i != SPECIAL_TEXT) CHECK_INT(embedder_count_tokens(m, t.text, t.len), n - 2);
		cJSON_Delete(line);
		at = end + 1;
	}
	buf_clear(&b);
	cJSON_Delete(texts);
	embedder_close(m);
}

TEST(embed_vectors_equal_the_reference)
{
	struct embedder *m = minilm(2, "ref");
	cJSON *texts = golden_texts();
	float *want = golden_vectors(), *got = mem_alloc(GOLDEN_TEXTS * DIM * sizeof *got), one[DIM];
	struct embed_text t[GOLDEN_TEXTS];
	CHECK(got != NULL);
	for (int i = 0; i < GOLDEN_TEXTS; i++) t[i] = text_at(texts, i);
	CHECK_OK(embedder_encode(m, t, GOLDEN_TEXTS, EMBED_PASSAGE, EMBED_BULK, got, &e), e);
	for (int i = 0; i < GOLDEN_TEXTS; i++) {
		double c = cosine(got + i * DIM, want + i * DIM, DIM);
		CHECK_OK(embedder_encode(m, &t[i], 1, EMBED_QUERY, EMBED_FIRST, one, &e), e);
		CHECK_MSG(cosine(one, got + i * DIM, DIM) >= 0.999999, "text %d: alone and in the batch differ", i);
		CHECK_MSG(fabs(length(one, DIM) - 1) < 1e-6, "text %d: length %.9f", i, length(one, DIM));
		/* The reference took the control tokens of this one; a text of ours spells them out. */
		if (i == SPECIAL_TEXT) CHECK_MSG(c < 0.99, "control tokens were parsed: cosine %.6f", c);
		else CHECK_MSG(c >= 0.99999, "text %d: cosine %.8f", i, c);
	}
	mem_free(want);
	mem_free(got);
	cJSON_Delete(texts);
	embedder_close(m);
}

/* The one golden text that embedder_encode takes differently, through the encoder itself. */
TEST(embed_control_tokens_equal_the_reference)
{
	const char *dir = test_model("all-minilm-l6-v2");
	if (!dir) test_skip("all-minilm-l6-v2 is not in the models folder");
	static const int32_t ids[] = {101, 101, 102, 103, 100, 102};
	static const size_t starts[] = {0, 6};
	struct encoder_shape shape = {.hidden = DIM, .layers = 6, .heads = 12, .intermediate = 1536, .vocabulary = 30522,
		.positions = 512, .types = 2, .eps = 1e-12f, .act = DENSE_GELU};
	struct encoder *m;
	struct encoder_space *space;
	struct safetensors *weights;
	char path[600];
	float v[DIM], *want = golden_vectors();
	snprintf(path, sizeof path, "%s/model.safetensors", dir);
	CHECK_OK(safetensors_open(&weights, path, &e), e);
	CHECK_OK(encoder_open(&m, weights, &shape, &(struct encoder_how){0}, "minilm", &e), e);
	safetensors_close(weights);
	CHECK_OK(encoder_space_open(&space, m, 1, 16, 0, &e), e);
	CHECK_OK(encoder_vectors(space, ids, starts, 1, POOL_MEAN, 1, v, &e), e);
	CHECK(cosine(v, want + SPECIAL_TEXT * DIM, DIM) >= 0.99999);
	mem_free(want);
	encoder_space_close(space);
	encoder_close(m);
}

/* ---- int8 ---- */

/* Sentences and paragraphs of an ordinary page, of some words to some hundred, in int8 and in fp32. Texts as odd as the
 * golden ones lose a little more, and one without a word (two control tokens) most. */
TEST(embed_int8_stays_near_fp32)
{
	enum { N = 64 };
	struct embedder *m = minilm(2, NULL), *exact = minilm(2, "ref");
	struct embed_text t[N];
	float *got = mem_alloc(N * DIM * sizeof *got), *want = mem_alloc(N * DIM * sizeof *want);
	cJSON *texts = golden_texts();
	double sum = 0;
	struct buf page;
	size_t n = 0, ordinary;
	buf_init(&page, 1 << 20);
	CHECK(got && want && strcmp(embedder_info(m)->kernel, "ref") != 0);
	CHECK_OK(file_read(test_data("golden/long_prompt.txt"), &page, &e), e);
	for (size_t at = 0, from = 0; at < page.len && n < N; at++) { /* to a line's end, and every other sentence */
		if (page.data[at] != '\n' && !(n % 2 && page.data[at] == '.')) continue;
		if (at > from + 3) t[n++] = (struct embed_text){page.data + from, at - from};
		from = at + 1;
	}
	ordinary = n;
	CHECK(ordinary >= 20);
	for (int i = 0; i < GOLDEN_TEXTS && n < N; i++) t[n++] = text_at(texts, i);
	CHECK_OK(embedder_encode(m, t, n, EMBED_PASSAGE, EMBED_BULK, got, &e), e);
	CHECK_OK(embedder_encode(exact, t, n, EMBED_PASSAGE, EMBED_BULK, want, &e), e);
	for (size_t i = 0; i < n; i++) {
		double c = cosine(got + i * DIM, want + i * DIM, DIM);
		CHECK_MSG(c >= (i < ordinary ? 0.98 : 0.975), "%.*s: cosine %.5f", (int)t[i].len, t[i].text, c);
		CHECK_MSG(fabs(length(got + i * DIM, DIM) - 1) < 1e-6, "text %zu: length %.9f", i, length(got + i * DIM, DIM));
		sum += i < ordinary ? c : 0;
	}
	CHECK_MSG(sum / (double)ordinary >= 0.995, "mean cosine %.5f", sum / (double)ordinary);
	mem_free(got);
	mem_free(want);
	buf_clear(&page);
	cJSON_Delete(texts);
	embedder_close(m);
	embedder_close(exact);
}

/* The vectors of texts t (n), in one call and each alone, by every kernel of this CPU and several threads: all the
 * same bits. */
static void same_bits(const char *folder, const struct embed_text *t, size_t n)
{
	static const char *const kernels[] = {"avx2", "avxvnni", "vnni", "amx"};
	float *want = NULL;
	size_t dim = 0;
	for (size_t k = 0; k < 2 * sizeof kernels / sizeof *kernels; k++) {
		struct embedder_options o = {.dir = folder, .threads = k % 2 ? 3 : 1, .kernel = kernels[k / 2]};
		struct embedder *m;
		if (embedder_open(&m, &o, &e) == E_UNSUPPORTED) continue;
		CHECK(m != NULL);
		CHECK_STR(embedder_info(m)->kernel, kernels[k / 2]);
		dim = (size_t)embedder_info(m)->dim;
		float *got = mem_calloc(n * dim, sizeof *got), *one = mem_calloc(dim, sizeof *one);
		CHECK(got && one);
		CHECK_OK(embedder_encode(m, t, n, EMBED_PASSAGE, EMBED_BULK, got, &e), e);
		for (size_t i = 0; i < n; i++) {
			CHECK_OK(embedder_encode(m, &t[i], 1, EMBED_PASSAGE, EMBED_FIRST, one, &e), e);
			CHECK_MSG(memcmp(one, got + i * dim, dim * sizeof *one) == 0, "%s: text %zu alone and in the batch differ",
				kernels[k / 2], i);
		}
		if (want) CHECK_MSG(memcmp(got, want, n * dim * sizeof *want) == 0, "%s differs from the one before", kernels[k / 2]);
		mem_free(want);
		want = got;
		mem_free(one);
		embedder_close(m);
	}
	mem_free(want);
}

TEST(embed_int8_has_the_same_bits_everywhere)
{
	static const char *const names[] = {"tiny-bge-en", "tiny-e5", "tiny-gte"};
	const char *dir = test_model("all-minilm-l6-v2");
	cJSON *texts = golden_texts();
	struct embed_text t[GOLDEN_TEXTS];
	for (int i = 0; i < GOLDEN_TEXTS; i++) t[i] = text_at(texts, i);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[64];
		snprintf(path, sizeof path, "golden/embedders/%s", names[i]);
		same_bits(test_data(path), t, GOLDEN_TEXTS);
	}
	if (dir) same_bits(dir, t, GOLDEN_TEXTS);
	cJSON_Delete(texts);
}

/* ---- a small model ---- */

enum { H = 8, WIDE = 6 /* narrower than H, as no trained model is */, POSITIONS = 40, VOCABULARY = 12 };
enum number { AS_F32, AS_F16, AS_BF16 };
static char dir[300];

static void put(const char *name, const char *text)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	CHECK_OK(file_write_atomic(path, text, strlen(text), &e), e);
}

static const char config[] = "{\"model_type\":\"bert\",\"hidden_size\":8,\"num_hidden_layers\":2,"
	"\"num_attention_heads\":2,\"intermediate_size\":6,\"vocab_size\":12,\"max_position_embeddings\":40,"
	"\"type_vocab_size\":2,\"hidden_act\":\"gelu_new\"}";

/* config with from replaced by to */
static void put_config(const char *from, const char *to)
{
	char text[1024];
	const char *at = strstr(config, from);
	CHECK(at != NULL);
	snprintf(text, sizeof text, "%.*s%s%s", (int)(at - config), config, to, at + strlen(from));
	put("config.json", text);
}

static void number_put(struct buf *data, enum number as, float v)
{
	uint32_t bits;
	memcpy(&bits, &v, 4);
	if (as == AS_F32) buf_put(data, &bits, 4);
	else if (as == AS_BF16) buf_put(data, (uint8_t *)&bits + 2, 2);
	else {
		uint32_t half = (bits >> 16 & 0x8000) | (((bits >> 23 & 255) - 112) << 10) | (bits >> 13 & 1023);
		if (v == 0) half = 0;
		buf_put(data, &half, 2);
	}
}

static void tensor_put(struct buf *header, struct buf *data, enum number as, const char *prefix, const char *name,
	int rows, int columns)
{
	static const char *const names[] = {"F32", "F16", "BF16"};
	size_t from = data->len;
	uint32_t seed = 99;
	for (const char *s = name; *s; s++) seed = seed * 31 + (uint8_t)*s;
	for (int i = 0; i < rows * (columns ? columns : 1); i++) {
		seed = seed * 1664525u + 1013904223u;
		float v = (float)((int)(seed >> 25) - 64) / 64; /* exact in every type */
		if (strstr(name, "bias")) v /= 8; /* or biases would make all vectors alike */
		number_put(data, as, strstr(name, "Norm.weight") ? 1 + v : v);
	}
	buf_printf(header, "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":[%d", header->len ? "," : "{", prefix, name, names[as],
		rows);
	if (columns) buf_printf(header, ",%d", columns);
	buf_printf(header, "],\"data_offsets\":[%zu,%zu]}", from, data->len);
}

static void weights_put(enum number as, const char *prefix)
{
	static const struct { const char *name; int rows, columns; } parts[] = {
		{"attention.self.query", H, H}, {"attention.self.key", H, H}, {"attention.self.value", H, H},
		{"attention.output.dense", H, H}, {"attention.output.LayerNorm", H, 0}, {"intermediate.dense", WIDE, H},
		{"output.dense", H, WIDE}, {"output.LayerNorm", H, 0}};
	struct buf header, data, file;
	char name[128], path[512];
	buf_init(&header, 1 << 16);
	buf_init(&data, 1 << 20);
	buf_init(&file, 1 << 21);
	tensor_put(&header, &data, as, prefix, "embeddings.word_embeddings.weight", VOCABULARY, H);
	tensor_put(&header, &data, as, prefix, "embeddings.position_embeddings.weight", POSITIONS, H);
	tensor_put(&header, &data, as, prefix, "embeddings.token_type_embeddings.weight", 2, H);
	tensor_put(&header, &data, as, prefix, "embeddings.LayerNorm.weight", H, 0);
	tensor_put(&header, &data, as, prefix, "embeddings.LayerNorm.bias", H, 0);
	for (int layer = 0; layer < 2; layer++)
		for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
			snprintf(name, sizeof name, "encoder.layer.%d.%s.weight", layer, parts[i].name);
			tensor_put(&header, &data, as, prefix, name, parts[i].rows, parts[i].columns);
			snprintf(name, sizeof name, "encoder.layer.%d.%s.bias", layer, parts[i].name);
			tensor_put(&header, &data, as, prefix, name, parts[i].rows, 0);
		}
	buf_putc(&header, '}');
	uint64_t n = header.len;
	buf_put(&file, &n, 8);
	buf_put(&file, header.data, header.len);
	buf_put(&file, data.data, data.len);
	CHECK(!buf_failed(&header) && !buf_failed(&data) && !buf_failed(&file));
	snprintf(path, sizeof path, "%s/model.safetensors", dir);
	CHECK_OK(file_write_atomic(path, file.data, file.len, &e), e);
	buf_clear(&header);
	buf_clear(&data);
	buf_clear(&file);
}

static void small_make(void)
{
	char path[400];
	snprintf(dir, sizeof dir, "%s/small", test_dir());
	snprintf(path, sizeof path, "%s/1_Pooling", dir);
	CHECK_OK(dir_make(path, &e), e);
	put("config.json", config);
	put("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\n##b\n##c\nquery\n:\n[\n");
	weights_put(AS_F32, "");
}

static int small_try(struct embedder **m, const struct embedder_options *with)
{
	struct embedder_options o = {0};
	if (with) o = *with;
	o.dir = dir;
	o.threads = o.threads ? o.threads : 2;
	return embedder_open(m, &o, &e);
}

static struct embedder *small_open(const struct embedder_options *with)
{
	struct embedder *m;
	CHECK_OK(small_try(&m, with), e);
	return m;
}

static void small_vector(struct embedder *m, const char *text, enum embed_kind kind, float out[H])
{
	struct embed_text t = {text, strlen(text)};
	CHECK_OK(embedder_encode(m, &t, 1, kind, kind == EMBED_QUERY ? EMBED_FIRST : EMBED_BULK, out, &e), e);
	for (int i = 0; i < H; i++) CHECK(isfinite(out[i]));
}

TEST(embed_info_says_what_the_folder_says)
{
	small_make();
	struct embedder *m = small_open(NULL);
	const struct embedder_info *info = embedder_info(m);
	CHECK_STR(info->name, "small");
	CHECK_INT(info->dim, H);
	CHECK_INT(info->layers, 2);
	CHECK_INT(info->max_tokens, POSITIONS);
	CHECK_STR(info->pooling, "mean");
	CHECK_INT(strlen(info->fingerprint), 64);
	char before[65];
	snprintf(before, sizeof before, "%s", info->fingerprint);
	embedder_close(m);
	m = small_open(NULL);
	CHECK_STR(embedder_info(m)->fingerprint, before);
	embedder_close(m);
	put("1_Pooling/config.json", "{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":false}");
	put("sentence_bert_config.json", "{\"max_seq_length\":20}");
	m = small_open(NULL);
	CHECK_STR(embedder_info(m)->pooling, "cls");
	CHECK_INT(embedder_info(m)->max_tokens, 20);
	CHECK(strcmp(embedder_info(m)->fingerprint, before) != 0); /* other vectors, another fingerprint */
	embedder_close(m);
	m = small_open(&(struct embedder_options){.max_tokens = 5});
	CHECK_INT(embedder_info(m)->max_tokens, 5);
	embedder_close(m);
}

TEST(embed_tensor_names_and_types_do_not_matter)
{
	float want[H], v[H];
	small_make();
	struct embedder *m = small_open(NULL);
	small_vector(m, "a bc, [SEP] cab", EMBED_PASSAGE, want);
	embedder_close(m);
	for (int k = 0; k < 3; k++) {
		weights_put(k == 0 ? AS_F32 : k == 1 ? AS_F16 : AS_BF16, k == 0 ? "bert." : "");
		m = small_open(NULL);
		small_vector(m, "a bc, [SEP] cab", EMBED_PASSAGE, v);
		CHECK(memcmp(v, want, sizeof v) == 0);
		embedder_close(m);
	}
}

TEST(embed_pooling_and_normalising_follow_the_folder)
{
	float normal[H], raw[H], cls[H];
	small_make();
	struct embedder *m = small_open(NULL);
	small_vector(m, "a b", EMBED_PASSAGE, normal);
	embedder_close(m);
	CHECK(fabs(length(normal, H) - 1) < 1e-6);
	put("modules.json", "[{\"type\":\"sentence_transformers.models.Transformer\",\"path\":\"\"},"
		"{\"type\":\"sentence_transformers.models.Pooling\",\"path\":\"1_Pooling\"}]");
	put("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\":true}");
	m = small_open(NULL);
	small_vector(m, "a b", EMBED_PASSAGE, raw);
	embedder_close(m);
	CHECK(fabs(length(raw, H) - 1) > 1e-3);
	for (int i = 0; i < H; i++) CHECK(fabs(raw[i] / length(raw, H) - normal[i]) < 1e-6);
	put("1_Pooling/config.json", "{\"pooling_mode_cls_token\":true}");
	m = small_open(NULL);
	small_vector(m, "a b", EMBED_PASSAGE, cls);
	embedder_close(m);
	CHECK_MSG(cosine(cls, raw, H) < 0.99, "cosine %.6f", cosine(cls, raw, H));
}

TEST(embed_pool_means_and_first_rows)
{
	static const float states[] = {3, 0, 1, 0, -4, 8};
	float v[3];
	pool_text(POOL_MEAN, 0, states, 2, 3, v);
	CHECK(v[0] == 1.5f && v[1] == -2 && v[2] == 4.5f);
	pool_text(POOL_CLS, 0, states, 2, 3, v);
	CHECK(v[0] == 3 && v[1] == 0 && v[2] == 1);
	pool_text(POOL_MEAN, 1, states + 3, 1, 2, v);
	CHECK(v[0] == 0 && v[1] == -1);
	pool_text(POOL_MEAN, 1, (const float[]){0, 0}, 1, 2, v); /* no direction: stays zero */
	CHECK(v[0] == 0 && v[1] == 0);
}

TEST(embed_prefixes_are_of_their_kind)
{
	float query[H], passage[H], plain[H], both[H];
	small_make();
	struct embedder *m = small_open(NULL);
	small_vector(m, "query: a", EMBED_QUERY, query);
	small_vector(m, "a", EMBED_PASSAGE, plain);
	embedder_close(m);
	m = small_open(&(struct embedder_options){.query_prefix = "query: "});
	small_vector(m, "a", EMBED_QUERY, both);
	small_vector(m, "a", EMBED_PASSAGE, passage);
	embedder_close(m);
	CHECK(memcmp(both, query, sizeof query) == 0 && memcmp(passage, plain, sizeof plain) == 0);
	CHECK(memcmp(both, plain, sizeof plain) != 0);
}

static struct embedder *small_called(const char *name)
{
	struct embedder *m;
	char path[400];
	snprintf(path, sizeof path, "%.*s/%s", (int)(strrchr(dir, '/') - dir), dir, name);
	CHECK(rename(dir, path) == 0);
	snprintf(dir, sizeof dir, "%.299s", path);
	CHECK_OK(small_try(&m, NULL), e);
	return m;
}

/* The folder's own word comes first, then the family by its name, and the options before both. */
TEST(embed_prefixes_come_from_folder_or_family)
{
	static const char bge[] = "Represent this sentence for searching relevant passages: ";
	static const struct { const char *name, *query, *passage; } families[] = {
		{"e5-small-v2", "query: ", "passage: "}, {"My_E5", "query: ", "passage: "}, {"me5-x", "", ""}, {"e55", "", ""},
		{"bge-small-en-v1.5", bge, ""}, {"bge-reranker", "", ""}, {"gte-base", "", ""}, {"snapshot", "", ""}};
	char none[65], query[65], passage[65];
	small_make();
	for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
		struct embedder *m = small_called(families[i].name);
		CHECK_STR(embedder_info(m)->query_prefix, families[i].query);
		CHECK_STR(embedder_info(m)->passage_prefix, families[i].passage);
		embedder_close(m);
	}
	put_config("\"bert\"", "\"bert\",\"_name_or_path\":\"intfloat/e5-large\"");
	struct embedder *m = small_open(NULL);
	CHECK_STR(embedder_info(m)->passage_prefix, "passage: ");
	embedder_close(m);
	m = small_open(&(struct embedder_options){.query_prefix = "", .passage_prefix = ""});
	CHECK(!*embedder_info(m)->query_prefix && !*embedder_info(m)->passage_prefix);
	embedder_close(m);
	put("config_sentence_transformers.json", "{\"prompts\":{\"query\":\"a: \",\"passage\":\"b c \"}}");
	m = small_open(NULL);
	CHECK_STR(embedder_info(m)->query_prefix, "a: ");
	CHECK_STR(embedder_info(m)->passage_prefix, "b c ");
	CHECK_INT(embedder_info(m)->passage_tokens, 40 - 2);
	embedder_close(m);
	put("config_sentence_transformers.json", "{\"prompts\":{\"query\":\"a: \",\"all\":\"c\"},\"default_prompt_name\":\"all\"}");
	m = small_open(NULL);
	CHECK_STR(embedder_info(m)->query_prefix, "a: ");
	CHECK_STR(embedder_info(m)->passage_prefix, "c");
	snprintf(none, sizeof none, "%s", embedder_info(m)->fingerprint);
	embedder_close(m);
	m = small_open(&(struct embedder_options){.query_prefix = "b"});
	snprintf(query, sizeof query, "%s", embedder_info(m)->fingerprint);
	embedder_close(m);
	m = small_open(&(struct embedder_options){.passage_prefix = "b"});
	snprintf(passage, sizeof passage, "%s", embedder_info(m)->fingerprint);
	embedder_close(m);
	CHECK(strcmp(none, query) == 0 && strcmp(none, passage) != 0); /* stored vectors are of one passage prefix */
	CHECK_INT(small_try(&m, &(struct embedder_options){.passage_prefix = "a b c a b c", .max_tokens = 8}), E_USAGE);
	CHECK(strstr(e.msg, "a b c"));
}

/* ---- tiny models of the families' layouts against sentence-transformers ---- */

static void golden_text(struct embedder *m, const cJSON *model, enum embed_kind kind, int i, const char *text)
{
	const char *query = kind == EMBED_QUERY ? "query" : "passage";
	char key[32], joined[4096];
	float got[64];
	int32_t ids[512];
	size_t n, dim = (size_t)embedder_info(m)->dim;
	struct embed_text t = {text, strlen(text)};
	snprintf(key, sizeof key, "%s_ids", query);
	const cJSON *want = cJSON_GetArrayItem(json_get(model, key), i);
	snprintf(key, sizeof key, "%s_prefix", query);
	snprintf(joined, sizeof joined, "%s%s", json_str(model, key, NULL), text);
	CHECK_OK(embedder_tokenize(m, joined, strlen(joined), ids, (size_t)embedder_info(m)->max_tokens, &n, &e), e);
	CHECK_INT(n, cJSON_GetArraySize(want));
	for (size_t k = 0; k < n; k++) CHECK_INT(ids[k], cJSON_GetArrayItem(want, (int)k)->valueint);
	snprintf(key, sizeof key, "%s_vectors", query);
	want = cJSON_GetArrayItem(json_get(model, key), i);
	CHECK(dim <= 64);
	CHECK_INT(cJSON_GetArraySize(want), dim);
	CHECK_OK(embedder_encode(m, &t, 1, kind, EMBED_FIRST, got, &e), e);
	for (size_t k = 0; k < dim; k++) {
		double v = cJSON_GetArrayItem(want, (int)k)->valuedouble;
		CHECK_MSG(fabs(v - got[k]) < 1e-5, "%s %s text %d [%zu]: %.7f, want %.7f", embedder_info(m)->name, query, i, k,
			(double)got[k], v);
	}
}

/* Every element within 1e-5 of vectors of length 1: a cosine over 0.9999999. */
TEST(embed_families_equal_the_reference)
{
	static const char *const names[] = {"tiny-bge-en", "tiny-e5", "tiny-gte"};
	struct buf b;
	cJSON *golden;
	buf_init(&b, 1 << 20);
	CHECK_OK(file_read(test_data("golden/embedders/expected.json"), &b, &e), e);
	CHECK_OK(json_parse(&golden, b.data, b.len, 1 << 20, "expected.json", &e), e);
	const cJSON *texts = json_get(golden, "texts");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct embedder *m;
		char path[64];
		const cJSON *model = json_get(json_get(golden, "models"), names[i]);
		snprintf(path, sizeof path, "golden/embedders/%s", names[i]);
		CHECK_OK(embedder_open(&m, &(struct embedder_options){.dir = test_data(path), .threads = 2, .kernel = "ref"}, &e), e);
		CHECK_STR(embedder_info(m)->query_prefix, json_str(model, "query_prefix", NULL));
		CHECK_STR(embedder_info(m)->passage_prefix, json_str(model, "passage_prefix", NULL));
		CHECK_STR(embedder_info(m)->pooling, i ? "mean" : "cls");
		CHECK_INT(embedder_info(m)->max_tokens, json_num(model, "max_tokens", 0));
		for (int t = 0; t < cJSON_GetArraySize(texts); t++) {
			const char *text = cJSON_GetArrayItem(texts, t)->valuestring;
			golden_text(m, model, EMBED_QUERY, t, text);
			golden_text(m, model, EMBED_PASSAGE, t, text);
		}
		embedder_close(m);
	}
	cJSON_Delete(golden);
	buf_clear(&b);
}

/* Thousands of texts of many lengths: order kept, results those of each text alone. */
TEST(embed_batches_keep_order_and_values)
{
	enum { N = 3000 };
	static char text[N][64];
	static struct embed_text t[N];
	static float all[N][H];
	float one[H];
	int apart = 0;
	small_make();
	struct embedder *m = small_open(&(struct embedder_options){.threads = 3});
	for (int i = 0; i < N; i++) {
		size_t len = (size_t)(i * 7 % 60);
		for (size_t k = 0; k < len; k++) text[i][k] = " abc"[((unsigned)i >> (k % 12)) % 4];
		t[i] = (struct embed_text){text[i], len};
	}
	CHECK_OK(embedder_encode(m, t, N, EMBED_PASSAGE, EMBED_BULK, all[0], &e), e);
	for (int i = 0; i < N; i++) {
		CHECK_OK(embedder_encode(m, &t[i], 1, EMBED_QUERY, EMBED_FIRST, one, &e), e);
		CHECK_MSG(memcmp(one, all[i], sizeof one) == 0, "text %d: %.9f", i, cosine(one, all[i], H));
		apart += i > 0 && cosine(all[i - 1], all[i], H) < 0.999;
	}
	CHECK_MSG(apart > N / 2, "only %d of %d vectors differ from the one before: the check above says little", apart, N);
	CHECK_OK(embedder_encode(m, NULL, 0, EMBED_PASSAGE, EMBED_BULK, NULL, &e), e);
	embedder_close(m);
}

TEST(embed_long_and_bad_texts)
{
	int32_t ids[POSITIONS];
	size_t n;
	float cut[H], whole[H];
	char text[400];
	struct embed_text bad[] = {{"a", 1}, {"\xff", 1}};
	float two[2 * H];
	small_make();
	struct embedder *m = small_open(NULL);
	for (int i = 0; i < 400; i += 2) memcpy(text + i, "a ", 2);
	text[399] = 0;
	CHECK_OK(embedder_tokenize(m, text, 399, ids, POSITIONS, &n, &e), e);
	CHECK(n == POSITIONS && ids[0] == 2 && ids[POSITIONS - 1] == 3);
	CHECK_OK(embedder_tokenize(m, text, 399, ids, 2, &n, &e), e);
	CHECK(n == 2 && ids[0] == 2 && ids[1] == 3);
	CHECK_INT(embedder_tokenize(m, text, 399, ids, 1, &n, &e), E_USAGE);
	CHECK_INT(embedder_count_tokens(m, text, 399), 200);
	CHECK_INT(embedder_count_tokens(m, "[SEP]", 5), 3); /* "[", "sep" unknown, "]" unknown */
	CHECK_INT(embedder_count_tokens(m, "a\xff", 2), 2);
	small_vector(m, text, EMBED_PASSAGE, whole);
	text[2 * (POSITIONS - 2)] = 0;
	small_vector(m, text, EMBED_PASSAGE, cut);
	CHECK(memcmp(cut, whole, sizeof cut) == 0);
	CHECK_INT(embedder_encode(m, bad, 2, EMBED_PASSAGE, EMBED_BULK, two, &e), E_FORMAT);
	CHECK(strstr(e.msg, "UTF-8"));
	small_vector(m, "a", EMBED_QUERY, cut); /* and goes on */
	embedder_close(m);
}

/* ---- bad folders ---- */

static void refuse(int status, const char *word)
{
	struct embedder *m;
	int rc = small_try(&m, NULL);
	CHECK_MSG(rc == status && m == NULL, "want status %d and \"%s\", got %d: %s", status, word, rc, rc ? e.msg : "");
	CHECK_MSG(strstr(e.msg, word), "\"%s\" lacks \"%s\"", e.msg, word);
}

static void remove_file(const char *name)
{
	char path[400];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	CHECK(unlink(path) == 0);
}

TEST(embed_bad_folders_are_refused_by_name)
{
	struct embedder *m;
	small_make();
	put_config("\"bert\"", "\"t5\"");
	refuse(E_UNSUPPORTED, "t5");
	put_config("\"bert\"", "\"xlm-roberta\"");
	refuse(E_UNSUPPORTED, "model_type \"xlm-roberta\": only bert is known");
	put_config("\"bert\"", "\"bert\",\"is_decoder\":true");
	refuse(E_UNSUPPORTED, "is_decoder");
	put_config("\"bert\"", "\"bert\",\"position_embedding_type\":\"relative_key\"");
	refuse(E_UNSUPPORTED, "relative_key");
	put_config("gelu_new", "swish");
	refuse(E_UNSUPPORTED, "swish");
	put_config("\"hidden_size\":8", "\"hidden_size\":1e9");
	refuse(E_FORMAT, "hidden_size");
	put_config("\"num_attention_heads\":2", "\"num_attention_heads\":3");
	refuse(E_FORMAT, "num_attention_heads");
	put_config("\"intermediate_size\":6", "\"intermediate_size\":-6");
	refuse(E_FORMAT, "intermediate_size");
	put_config("\"vocab_size\":12", "\"vocab_size\":11");
	refuse(E_FORMAT, "vocab.txt: 12 tokens");
	put_config("\"vocab_size\":12", "\"vocab_size\":1100");
	refuse(E_FORMAT, "vocab.txt: 12 tokens, but vocab_size is 1100: truncated");
	put_config("\"max_position_embeddings\":40", "\"max_position_embeddings\":41");
	refuse(E_FORMAT, "embeddings.position_embeddings.weight: shape [40,8], expected [41,8]");
	put_config("\"intermediate_size\":6", "\"intermediate_size\":7");
	refuse(E_FORMAT, "encoder.layer.0.intermediate.dense.weight");
	put_config("\"num_hidden_layers\":2", "\"num_hidden_layers\":3");
	refuse(E_FORMAT, "encoder.layer.2.attention.self.query.weight: missing");
	put("config.json", "{\"model_type\":");
	refuse(E_FORMAT, "config.json");
	put("config.json", "7");
	refuse(E_FORMAT, "config.json");
	put("config.json", config);
	put("1_Pooling/config.json", "{\"pooling_mode_max_tokens\":true}");
	refuse(E_UNSUPPORTED, "pooling_mode_max_tokens");
	put("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\":true,\"pooling_mode_cls_token\":true}");
	refuse(E_UNSUPPORTED, "pooling_mode_cls_token");
	put("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\":true,\"word_embedding_dimension\":9}");
	refuse(E_FORMAT, "word_embedding_dimension");
	put("1_Pooling/config.json", "{\"pooling_mode\":\"lasttoken\"}");
	refuse(E_UNSUPPORTED, "pooling_mode \"lasttoken\"");
	put("1_Pooling/config.json", "{\"pooling_mode\":[\"mean\",\"cls\"]}");
	refuse(E_UNSUPPORTED, "one alone");
	put("1_Pooling/config.json", "{\"pooling_mode\":\"mean\",\"include_prompt\":false}");
	refuse(E_UNSUPPORTED, "include_prompt");
	remove_file("1_Pooling/config.json");
	put("modules.json", "[{\"type\":\"sentence_transformers.models.Dense\",\"path\":\"2_Dense\"}]");
	refuse(E_UNSUPPORTED, "models.Dense");
	put("modules.json", "[{\"type\":\"sentence_transformers.models.Pooling\",\"path\":\"../up\"}]");
	refuse(E_FORMAT, "modules.json");
	put("modules.json", "[{\"type\":\"sentence_transformers.models.Pooling\",\"path\":\"1_Pooling\"}]");
	refuse(E_NOT_FOUND, "1_Pooling/config.json");
	remove_file("modules.json");
	put("sentence_bert_config.json", "{\"max_seq_length\":1}");
	refuse(E_FORMAT, "max_seq_length");
	remove_file("sentence_bert_config.json");
	put("tokenizer_config.json", "{\"cls_token\":{\"content\":\"<s>\"}}");
	refuse(E_FORMAT, "<s>");
	remove_file("tokenizer_config.json");
	put("tokenizer_config.json", "{\"tokenizer_class\":\"XLMRobertaTokenizer\"}");
	refuse(E_UNSUPPORTED, "XLMRobertaTokenizer");
	remove_file("tokenizer_config.json");
	put("config_sentence_transformers.json", "{\"default_prompt_name\":\"x\",\"prompts\":{}}");
	refuse(E_FORMAT, "default_prompt_name \"x\"");
	remove_file("config_sentence_transformers.json");
	put("model.safetensors", "not a model");
	refuse(E_FORMAT, "model.safetensors");
	put("sentencepiece.bpe.model", "x");
	remove_file("vocab.txt");
	refuse(E_UNSUPPORTED, "sentencepiece.bpe.model: SentencePiece");
	remove_file("sentencepiece.bpe.model");
	refuse(E_NOT_FOUND, "vocab.txt");
	remove_file("model.safetensors");
	refuse(E_NOT_FOUND, "model.safetensors");
	put("pytorch_model.bin", "x");
	refuse(E_UNSUPPORTED, "save_pretrained('.')");
	put("model.safetensors.index.json", "{}");
	refuse(E_UNSUPPORTED, "model.safetensors.index.json");
	remove_file("config.json");
	refuse(E_NOT_FOUND, "config.json");
	CHECK_INT(small_try(&m, &(struct embedder_options){.threads = 65}), E_USAGE);
	CHECK_INT(small_try(&m, &(struct embedder_options){.max_tokens = 1}), E_USAGE);
	small_make();
	CHECK_INT(small_try(&m, &(struct embedder_options){.kernel = "sse"}), E_USAGE);
	CHECK(strstr(e.msg, "sse"));
}

TEST(embed_truncated_weights_are_refused)
{
	struct embedder *m;
	struct buf b;
	char path[400];
	small_make();
	snprintf(path, sizeof path, "%s/model.safetensors", dir);
	buf_init(&b, 1 << 21);
	CHECK_OK(file_read(path, &b, &e), e);
	for (size_t n = b.len; n > 0; n = n * 9 / 10) {
		CHECK_OK(file_write_atomic(path, b.data, n - 1, &e), e);
		CHECK_INT(small_try(&m, NULL), E_FORMAT);
		CHECK(m == NULL && strstr(e.msg, "model.safetensors"));
	}
	buf_clear(&b);
}

/* Every allocation of open and encode fails once: an error, nothing leaked (the sanitizers see), and it works again. */
TEST(embed_stands_failed_allocations)
{
	struct embedder *m = NULL;
	struct embed_text t = {"a b c", 5};
	float v[H];
	int done = 0;
	small_make();
	put("tokenizer_config.json", "{\"do_lower_case\":true}");
	for (long n = 1; n < 5000 && !done; n++) {
		fault_alloc_after(n);
		int rc = small_try(&m, &(struct embedder_options){.threads = 1, .query_prefix = "query"});
		fault_alloc_after(0);
		CHECK_MSG(rc == OK || rc == E_MEMORY || rc == E_FORMAT, "allocation %ld: status %d, %s", n, rc, e.msg);
		CHECK((rc == OK) == (m != NULL));
		done = rc == OK;
	}
	CHECK(done);
	done = 0;
	for (long n = 1; n < 100 && !done; n++) {
		fault_alloc_after(n);
		int rc = embedder_encode(m, &t, 1, EMBED_QUERY, EMBED_FIRST, v, &e);
		fault_alloc_after(0);
		CHECK_MSG(rc == OK || rc == E_MEMORY, "allocation %ld: status %d, %s", n, rc, e.msg);
		done = rc == OK;
	}
	CHECK(done);
	embedder_close(m);
}

/* ---- threads ---- */

struct caller {
	struct embedder *m;
	enum embed_turn turn;
	const struct embed_text *texts;
	const float (*want)[H];
	int from, n, rounds, wrong;
};

static void *caller_run(void *arg)
{
	struct caller *c = arg;
	struct err mine;
	float (*got)[H] = mem_alloc((size_t)c->n * sizeof *got);
	for (int round = 0; got && round < c->rounds; round++) {
		if (embedder_encode(c->m, c->texts + c->from, (size_t)c->n, EMBED_PASSAGE, c->turn, got[0], &mine) != OK) c->wrong++;
		for (int i = 0; i < c->n; i++) c->wrong += memcmp(got[i], c->want[c->from + i], sizeof got[i]) != 0;
		embedder_count_tokens(c->m, c->texts[c->from].text, c->texts[c->from].len);
	}
	if (!got) c->wrong++;
	mem_free(got);
	return NULL;
}

TEST(embed_queries_beside_passages)
{
	enum { N = 400, CALLERS = 6 };
	static char text[N][48];
	static struct embed_text t[N];
	static float want[N][H];
	struct caller c[CALLERS];
	pthread_t thread[CALLERS];
	small_make();
	struct embedder *m = small_open(NULL);
	for (int i = 0; i < N; i++) {
		for (int k = 0; k < 40; k++) text[i][k] = " abc"[(i * 31 + k * k * (i % 5 + 1)) % 4];
		t[i] = (struct embed_text){text[i], 40};
	}
	CHECK_OK(embedder_encode(m, t, N, EMBED_PASSAGE, EMBED_BULK, want[0], &e), e);
	for (int i = 0; i < CALLERS; i++) {
		int first = i >= 3;
		c[i] = (struct caller){.m = m, .turn = first ? EMBED_FIRST : EMBED_BULK, .texts = t,
			.want = (const float (*)[H])want, .from = first ? i * 50 : 0, .n = first ? 1 + i : N, .rounds = first ? 200 : 5};
		CHECK(pthread_create(&thread[i], NULL, caller_run, &c[i]) == 0);
	}
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(thread[i], NULL);
		CHECK_MSG(c[i].wrong == 0, "caller %d: %d wrong vectors", i, c[i].wrong);
	}
	embedder_close(m);
}
