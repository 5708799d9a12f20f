/* test_reader.c: a reader model against PyTorch's figures on the same weights, the promises of reader.h, and what is
 * wrong with folders and texts. All on the tiny model of tests/golden (make_reader.py). */
#include <math.h>
#include <pthread.h>
#include "base/buf.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "embed/reader.h"
#include "tests/test.h"

enum { PAIRS_MAX = 16 };
static struct err e;

struct golden {
	cJSON *json;
	struct reader_pair pairs[PAIRS_MAX];
	size_t n;
};

static const char *text_of(const cJSON *item, const char *key, size_t *len)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItem(item, key));
	*len = s ? strlen(s) : 0;
	return s;
}

static struct golden golden_open(const char *name)
{
	struct golden g = {0};
	const cJSON *item;
	struct buf b;
	buf_init(&b, 1 << 20);
	CHECK_OK(file_read(test_data(name), &b, &e), e);
	CHECK_OK(json_parse(&g.json, b.data, b.len, 1 << 20, "expected.json", &e), e);
	buf_clear(&b);
	cJSON_ArrayForEach(item, g.json) {
		struct reader_pair *p = &g.pairs[g.n++];
		CHECK(g.n <= PAIRS_MAX);
		p->first = text_of(item, "first", &p->first_len);
		p->title = text_of(item, "title", &p->title_len);
		p->text = text_of(item, "text", &p->len);
	}
	return g;
}

static struct golden golden_read(void)
{
	struct golden g = golden_open("golden/reader/expected.json");
	CHECK(g.n >= 10);
	return g;
}

static struct reader_model *model_open(const char *dir, int threads, const char *kernel)
{
	struct reader_model *m;
	struct reader_options o = {.dir = test_data(dir), .threads = threads, .kernel = kernel};
	if (reader_open(&m, &o, &e) == E_UNSUPPORTED) return NULL;
	CHECK_MSG(m != NULL, "%s", e.msg);
	return m;
}

static struct reader_model *tiny(int threads, const char *kernel)
{
	return model_open("golden/reader/tiny", threads, kernel);
}

static double number(const cJSON *item, const char *key)
{
	return cJSON_GetNumberValue(cJSON_GetObjectItem(item, key));
}

static int near(double a, double b, double off)
{
	return fabs(a - b) <= off;
}

TEST(reader_figures_equal_the_reference)
{
	struct golden g = golden_read();
	struct reader_model *m = tiny(1, "ref");
	struct reader_reading r[PAIRS_MAX];
	struct reader_verdict v[PAIRS_MAX];
	CHECK_INT(reader_info(m)->max_tokens, 192);
	CHECK_OK(reader_read(m, g.pairs, g.n, r, &e), e);
	CHECK_OK(reader_support(m, g.pairs, g.n, v, &e), e);
	for (size_t i = 0; i < g.n; i++) {
		const cJSON *want = cJSON_GetArrayItem(g.json, (int)i), *spans = cJSON_GetObjectItem(want, "spans"), *s;
		const cJSON *support = cJSON_GetObjectItem(want, "support");
		size_t k = 0;
		CHECK_MSG(near(r[i].relevance, number(want, "relevance"), 1e-4), "pair %zu: relevance %.6f", i, r[i].relevance);
		CHECK_MSG(near(r[i].answerable, number(want, "answerable"), 1e-4), "pair %zu: answerable %.6f", i, r[i].answerable);
		CHECK_INT(r[i].spans_n, cJSON_GetArraySize(spans));
		cJSON_ArrayForEach(s, spans) {
			const struct reader_span *got = &r[i].spans[k++];
			size_t from = (size_t)s->child->valueint, to = (size_t)s->child->next->valueint;
			CHECK_MSG(got->from == from && got->to == to && near(got->logit, s->child->next->next->valuedouble, 1e-3),
				"pair %zu span %zu: %zu to %zu, %.5f", i, k, got->from, got->to, got->logit);
		}
		CHECK(near(v[i].supported, cJSON_GetArrayItem(support, 0)->valuedouble, 1e-4));
		CHECK(near(v[i].unsaid, cJSON_GetArrayItem(support, 1)->valuedouble, 1e-4));
		CHECK(near(v[i].contradicted, cJSON_GetArrayItem(support, 2)->valuedouble, 1e-4));
	}
	reader_close(m);
	cJSON_Delete(g.json);
}

TEST(reader_int8_stays_near)
{
	struct golden g = golden_read();
	struct reader_model *m = tiny(1, NULL);
	struct reader_reading r[PAIRS_MAX];
	double off = 0;
	CHECK(strcmp(reader_info(m)->kernel, "ref") != 0);
	CHECK_OK(reader_read(m, g.pairs, g.n, r, &e), e);
	for (size_t i = 0; i < g.n; i++) off += fabs(r[i].relevance - number(cJSON_GetArrayItem(g.json, (int)i), "relevance"));
	CHECK_MSG(off / (double)g.n < 0.1, "relevance is off by %.4f in the mean", off / (double)g.n);
	reader_close(m);
	cJSON_Delete(g.json);
}

static int same(const struct reader_reading *a, const struct reader_reading *b)
{
	int alike = a->relevance == b->relevance && a->answerable == b->answerable && a->spans_n == b->spans_n;
	for (size_t i = 0; alike && i < a->spans_n; i++)
		alike = a->spans[i].from == b->spans[i].from && a->spans[i].to == b->spans[i].to &&
			a->spans[i].logit == b->spans[i].logit;
	return alike;
}

TEST(reader_has_the_same_bits_everywhere)
{
	static const char *const kernels[] = {"avx2", "avxvnni", "vnni", "amx"};
	struct golden g = golden_read();
	struct reader_reading want[PAIRS_MAX], got[PAIRS_MAX], one;
	struct reader_verdict said[PAIRS_MAX], say[PAIRS_MAX], alone;
	int seen = 0;
	memset(want, 0, sizeof want);
	for (size_t k = 0; k < 2 * sizeof kernels / sizeof *kernels; k++) {
		struct reader_model *m = tiny(k % 2 ? 3 : 1, kernels[k / 2]);
		if (!m) continue;
		CHECK_STR(reader_info(m)->kernel, kernels[k / 2]);
		CHECK_OK(reader_read(m, g.pairs, g.n, got, &e), e);
		CHECK_OK(reader_support(m, g.pairs, g.n, say, &e), e);
		for (size_t i = 0; i < g.n; i++) {
			CHECK_OK(reader_read(m, &g.pairs[i], 1, &one, &e), e);
			CHECK_OK(reader_support(m, &g.pairs[i], 1, &alone, &e), e);
			CHECK_MSG(same(&one, &got[i]), "%s: pair %zu alone and beside others differ", kernels[k / 2], i);
			CHECK(memcmp(&alone, &say[i], sizeof alone) == 0);
			if (!seen) continue;
			CHECK_MSG(same(&want[i], &got[i]), "%s: pair %zu differs from the kernel before", kernels[k / 2], i);
			CHECK(memcmp(&said[i], &say[i], sizeof alone) == 0);
		}
		memcpy(want, got, sizeof want);
		memcpy(said, say, sizeof said);
		seen = 1;
		reader_close(m);
	}
	CHECK(seen);
	cJSON_Delete(g.json);
}

/* More pairs than a piece holds, of all lengths, come out in their order. */
TEST(reader_order_holds_over_pieces)
{
	enum { MANY = 300 };
	struct golden g = golden_read();
	struct reader_model *m = tiny(2, NULL);
	struct reader_pair *pairs = mem_calloc(MANY, sizeof *pairs);
	struct reader_reading *r = mem_calloc(MANY, sizeof *r), one[PAIRS_MAX];
	CHECK(pairs && r);
	for (size_t i = 0; i < MANY; i++) pairs[i] = g.pairs[(i * i + i / 7) % g.n];
	CHECK_OK(reader_read(m, g.pairs, g.n, one, &e), e);
	CHECK_OK(reader_read(m, pairs, MANY, r, &e), e);
	for (size_t i = 0; i < MANY; i++) CHECK(r[i].relevance == one[(i * i + i / 7) % g.n].relevance);
	mem_free(pairs);
	mem_free(r);
	reader_close(m);
	cJSON_Delete(g.json);
}

/* A span is words of the text: it begins and ends where they do. */
TEST(reader_spans_are_whole_words)
{
	static const char text[] = "The offices' opening-hours (in 1990s\xe2\x80\x94 caf\xc3\xa9) are told, "
		"supercalifragilistic, \xe4\xb8\xad\xe6\x96\x87.";
	static const char *const ends = " .,()'-";
	struct reader_model *m = tiny(1, NULL);
	struct reader_pair p = {.first = "when", .first_len = 4, .text = text, .len = sizeof text - 1};
	struct reader_reading r;
	CHECK_OK(reader_read(m, &p, 1, &r, &e), e);
	CHECK_INT(r.spans_n, READER_SPANS);
	for (size_t i = 0; i < r.spans_n; i++) {
		const struct reader_span *s = &r.spans[i];
		CHECK(s->from < s->to && s->to <= p.len);
		CHECK(s->from == 0 || strchr(ends, text[s->from]) || strchr(ends, text[s->from - 1]) || (text[s->from] & 0x80) ||
			(text[s->from - 1] & 0x80));
		CHECK(s->to == p.len || strchr(ends, text[s->to]) || strchr(ends, text[s->to - 1]) || (text[s->to] & 0x80) ||
			(text[s->to - 1] & 0x80));
		CHECK(((uint8_t)text[s->from] & 0xc0) != 0x80 && (s->to == p.len || ((uint8_t)text[s->to] & 0xc0) != 0x80));
		CHECK(i == 0 || s->logit <= r.spans[i - 1].logit);
	}
	reader_close(m);
}

struct caller { struct reader_model *m; const struct golden *g; int wrong; };

static void *call_often(void *arg)
{
	struct caller *c = arg;
	struct reader_reading r[PAIRS_MAX], want[PAIRS_MAX];
	struct err mine;
	c->wrong += reader_read(c->m, c->g->pairs, c->g->n, want, &mine) != OK;
	for (int i = 0; i < 10; i++) {
		c->wrong += reader_read(c->m, c->g->pairs, c->g->n, r, &mine) != OK;
		for (size_t k = 0; k < c->g->n; k++) c->wrong += r[k].relevance != want[k].relevance;
	}
	return NULL;
}

TEST(reader_callers_do_not_meet)
{
	struct golden g = golden_read();
	struct reader_model *m = tiny(2, NULL);
	struct caller c[3];
	pthread_t t[3];
	for (int i = 0; i < 3; i++) {
		c[i] = (struct caller){m, &g, 0};
		CHECK(pthread_create(&t[i], NULL, call_often, &c[i]) == 0);
	}
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], NULL);
		CHECK_INT(c[i].wrong, 0);
	}
	reader_close(m);
	cJSON_Delete(g.json);
}

/* Cross-encoders as transformers writes them, of one output and of two (in half precision): relevance alone. */
TEST(reader_takes_any_cross_encoder)
{
	static const char *const names[] = {"cross1", "cross2"};
	struct golden g = golden_open("golden/reader/cross.json");
	struct reader_reading r[PAIRS_MAX];
	struct reader_verdict v;
	char dir[64];
	CHECK_INT(g.n, 6);
	for (size_t k = 0; k < 4; k++) {
		const char *name = names[k / 2];
		snprintf(dir, sizeof dir, "golden/reader/%s", name);
		struct reader_model *m = model_open(dir, 1, k % 2 ? NULL : "ref");
		CHECK(reader_info(m)->only_relevance && !reader_info(m)->fingerprint[64] && reader_info(m)->max_tokens == 192);
		CHECK_OK(reader_read(m, g.pairs, g.n, r, &e), e);
		for (size_t i = 0; i < g.n; i++) {
			double want = number(cJSON_GetArrayItem(g.json, (int)i), name);
			CHECK_MSG(near(r[i].relevance, want, k % 2 ? 0.4 : 1e-4), "%s, pair %zu: %.6f, not %.6f", name, i, r[i].relevance, want);
			CHECK(r[i].spans_n == 0 && r[i].answerable == 0);
		}
		CHECK_INT(reader_support(m, g.pairs, 1, &v, &e), E_UNSUPPORTED);
		reader_close(m);
	}
	struct reader_model *m = tiny(1, NULL);
	CHECK(!reader_info(m)->only_relevance);
	reader_close(m);
	cJSON_Delete(g.json);
}

/* The same model from memory, as it is carried inside the program, is the same model. */
TEST(reader_opens_from_memory)
{
	static const char *const names[] = {"config.json", "tokenizer_config.json", "vocab.txt", "model.safetensors"};
	struct embedded_file files[5] = {{0}};
	struct golden g = golden_read();
	struct reader_model *disk = tiny(1, NULL), *m;
	struct reader_options o = {.dir = "built-in", .inside = files, .threads = 1};
	struct reader_reading a[PAIRS_MAX], b[PAIRS_MAX];
	struct buf bytes[4];
	char path[100];
	for (size_t i = 0; i < 4; i++) {
		buf_init(&bytes[i], 1 << 20);
		snprintf(path, sizeof path, "golden/reader/tiny/%s", names[i]);
		CHECK_OK(file_read(test_data(path), &bytes[i], &e), e);
		files[i] = (struct embedded_file){names[i], bytes[i].data, bytes[i].len};
	}
	CHECK_OK(reader_open(&m, &o, &e), e);
	CHECK_STR(reader_info(m)->name, "built-in");
	CHECK_STR(reader_info(m)->fingerprint, reader_info(disk)->fingerprint);
	CHECK_OK(reader_read(disk, g.pairs, g.n, a, &e), e);
	CHECK_OK(reader_read(m, g.pairs, g.n, b, &e), e);
	for (size_t i = 0; i < g.n; i++) CHECK(same(&a[i], &b[i]));
	reader_close(m);
	reader_close(disk);
	files[3].len /= 2; /* weights cut off */
	CHECK_INT(reader_open(&m, &o, &e), E_FORMAT);
	CHECK_MSG(strstr(e.msg, "built-in/model.safetensors"), "%s", e.msg);
	files[2] = files[3];
	files[3] = (struct embedded_file){0};
	CHECK_INT(reader_open(&m, &o, &e), E_NOT_FOUND);
	CHECK_MSG(strstr(e.msg, "vocab.txt"), "%s", e.msg);
	for (size_t i = 0; i < 4; i++) buf_clear(&bytes[i]);
	cJSON_Delete(g.json);
}

TEST(reader_bad_texts_are_refused)
{
	struct reader_model *m = tiny(1, NULL);
	struct reader_reading r;
	struct reader_verdict v;
	struct reader_pair p = {.first = "a\xff", .first_len = 2, .text = "b", .len = 1};
	CHECK_INT(reader_read(m, &p, 1, &r, &e), E_FORMAT);
	p = (struct reader_pair){.first = "a", .first_len = 1, .text = "b\xc3", .len = 2};
	CHECK_INT(reader_support(m, &p, 1, &v, &e), E_FORMAT);
	p = (struct reader_pair){.first = "a", .first_len = 1, .title = "\xed\xa0\x80", .title_len = 3, .text = "b", .len = 1};
	CHECK_INT(reader_read(m, &p, 1, &r, &e), E_FORMAT);
	CHECK_OK(reader_read(m, &p, 0, &r, &e), e);
	reader_close(m);
}

/* A copy of a folder in which `from` of the file `name` is `to` (of the same length, or it would not be read). */
static void refuse_in(const char *folder, const char *name, const char *from, const char *to, int status, const char *word)
{
	static const char *const names[] = {"config.json", "vocab.txt", "model.safetensors", "tokenizer_config.json"};
	struct reader_model *m;
	char path[600], dir[300];
	struct buf b;
	int changed = 0;
	snprintf(dir, sizeof dir, "%s", test_dir());
	buf_init(&b, 1 << 20);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		buf_reset(&b);
		snprintf(path, sizeof path, "golden/reader/%s/%s", folder, names[i]);
		if (i == 3 && strcmp(folder, "tiny") != 0) continue;
		CHECK_OK(file_read(test_data(path), &b, &e), e);
		char *at = strcmp(name, names[i]) == 0 ? memmem(b.data, b.len, from, strlen(from)) : NULL;
		if (at) memcpy(at, to, strlen(to));
		changed += at != NULL;
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		CHECK_OK(file_write_atomic(path, b.data, b.len, &e), e);
	}
	buf_clear(&b);
	CHECK_INT(changed, 1);
	struct reader_options o = {.dir = dir, .threads = 1};
	CHECK_INT(reader_open(&m, &o, &e), status);
	CHECK(m == NULL);
	CHECK_MSG(strstr(e.msg, word), "\"%s\" lacks \"%s\"", e.msg, word);
}

static void refuse(const char *name, const char *from, const char *to, int status, const char *word)
{
	refuse_in("tiny", name, from, to, status, word);
}

TEST(reader_bad_folders_are_refused)
{
	struct reader_model *m;
	struct reader_options o = {.dir = test_data("golden/reader/tiny"), .threads = 1, .kernel = "fast"};
	CHECK_INT(reader_open(&m, &o, &e), E_USAGE);
	o = (struct reader_options){.dir = o.dir, .threads = 0};
	CHECK_INT(reader_open(&m, &o, &e), E_USAGE);
	refuse("config.json", "\"type_vocab_size\": 2", "\"type_vocab_size\": 1", E_FORMAT, "type_vocab_size");
	refuse("tokenizer_config.json", "192", "100", E_FORMAT, "windows of 100 tokens");
	refuse("model.safetensors", "\"span.weight\"", "\"spam.weight\"", E_FORMAT, "tensor span.weight: missing");
	refuse("model.safetensors", "\"support.out.bias\"", "\"support.out.bios\"", E_FORMAT, "tensor support.out.bias: missing");
	refuse("model.safetensors", "query.weight.scale", "query.weight.scare", E_FORMAT, "I8 without 36 scales");
	refuse_in("cross1", "model.safetensors", "\"classifier.weight", "\"classifies.weight", E_FORMAT, "neither the heads of a reader");
	refuse_in("cross1", "model.safetensors", "pooler.dense.weight", "cooler.dense.weight", E_FORMAT, "bert.pooler.dense.weight: missing");
}

TEST(reader_survives_any_allocation_failing)
{
	struct golden g = golden_read();
	struct reader_reading r[PAIRS_MAX];
	int rc = E_MEMORY, n;
	for (n = 1; rc == E_MEMORY && n < 2000; n++) {
		struct reader_model *m;
		struct reader_options o = {.dir = test_data("golden/reader/tiny"), .threads = 1};
		fault_alloc_after(n);
		rc = reader_open(&m, &o, &e);
		if (rc == OK) rc = reader_read(m, g.pairs, g.n, r, &e);
		fault_alloc_after(0);
		reader_close(m);
	}
	CHECK_OK(rc, e);
	CHECK(n > 20);
	cJSON_Delete(g.json);
}
