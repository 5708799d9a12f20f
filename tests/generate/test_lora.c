/* test_lora.c: adapters against weights merged by hand: a random model, random adapters, and a second model file whose
 * matrices are W + scale·alpha/rank·B·A, made here in double and run through the plain pass. Tolerance as in
 * test_arch.c; leaving an adapter out shows at 1e-2 and more, which is checked too. Then adapters that are not. */
#include <math.h>
#include <stdlib.h>
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/team.h"
#include "generate/decoder.h"
#include "generate/generate.h"
#include "generate/lora.h"
#include "nn/quant.h"
#include "tests/generate/feed.h"
#include "tests/generate/plain_gpu.h"
#include "tests/generate/plain_model.h"
#include "tests/test.h"

static const double TOLERANCE = 1e-3, ROUNDED = 0.1;
enum { TOKENS = 70 };          /* over one chunk */
static char dir[256];
static struct err e;

static const char *at(const char *name)
{
	static char path[4][400];
	static int turn;
	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
	return path[turn];
}

static void dir_begin(void)
{
	snprintf(dir, sizeof dir, "%s", test_dir());
}

static void adapter_begin(struct gguf_make *m, const char *arch)
{
	gguf_make_begin(m);
	gguf_make_str(m, "general.type", "adapter");
	gguf_make_str(m, "general.architecture", arch);
	gguf_make_str(m, "adapter.type", "lora");
}

static void pair_put(struct gguf_make *m, const char *tensor, uint32_t type, size_t k, size_t rows, size_t rank)
{
	char name[128];
	float *a = mem_calloc(rank * k, 4), *b = mem_calloc(rows * rank, 4);
	snprintf(name, sizeof name, "%s.lora_a", tensor);
	random_weights(5 + rank, name, rank * k, 1 / sqrtf((float)k), a);
	gguf_make_tensor(m, name, type, k, rank, a);
	snprintf(name, sizeof name, "%s.lora_b", tensor);
	random_weights(5 + rank, name, rows * rank, 0.3f / sqrtf((float)rank), b);
	gguf_make_tensor(m, name, type, rank, rows, b);
	mem_free(a);
	mem_free(b);
}

/* An adapter of every step-th matrix of the model. */
static void adapter_make(const struct model_spec *s, const char *path, uint32_t type, size_t rank, float alpha, int step)
{
	static const char *const names[] = { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down" };
	struct gguf_make m;
	char name[64], tensor[80];
	size_t k, rows;
	int n = 0;
	adapter_begin(&m, s->arch);
	if (alpha != 0) gguf_make_f32(&m, "adapter.lora.alpha", alpha);
	for (size_t layer = 0; layer < s->layers; layer++)
		for (size_t i = 0; i < 7; i++) {
			snprintf(name, sizeof name, "blk.%zu.%s", layer, names[i]);
			CHECK(model_matrix(s, name, &k, &rows));
			snprintf(tensor, sizeof tensor, "%s.weight", name);
			if (n++ % step == 0) pair_put(&m, tensor, type, k, rows, rank);
		}
	if (s->untied) pair_put(&m, "output.weight", type, s->dim, s->vocab, rank);
	gguf_make_write(&m, path);
}

struct used { const char *path; double scale, alpha; };

/* w (rows, k) += scale·alpha/rank·B·A of one adapter, where it touches the tensor. */
static void merge_one(const struct used *u, const char *tensor, size_t k, size_t rows, double *w)
{
	struct gguf *g;
	char name[128];
	CHECK_OK(gguf_open(&g, u->path, &e), e);
	snprintf(name, sizeof name, "%s.lora_a", tensor);
	const struct gguf_tensor *a = gguf_tensor(g, name), *b;
	if (a) {
		snprintf(name, sizeof name, "%s.lora_b", tensor);
		b = gguf_tensor(g, name);
		size_t rank = (size_t)a->dim[1];
		float *fa = mem_calloc(rank * k, 4), *fb = mem_calloc(rows * rank, 4);
		for (size_t r = 0; r < rank; r++) quant_row(a->type, a->data + r * quant_row_bytes(a->type, k), k, fa + r * k);
		for (size_t r = 0; r < rows; r++) quant_row(b->type, b->data + r * quant_row_bytes(b->type, rank), rank, fb + r * rank);
		double scale = u->alpha != 0 ? u->scale * u->alpha / (double)rank : u->scale;
		for (size_t r = 0; r < rows; r++)
			for (size_t j = 0; j < rank; j++)
				for (size_t i = 0; i < k; i++) w[r * k + i] += scale * (double)fb[r * rank + j] * (double)fa[j * k + i];
		mem_free(fa);
		mem_free(fb);
	}
	gguf_close(g);
}

/* The model of s in floats at `to`, every matrix that of `from` (of any type) with the adapters in it. */
static void merged_make(const struct model_spec *s, const char *from, const struct used *u, size_t n, const char *to)
{
	struct model_spec plain = *s;
	struct gguf *g, *out;
	struct buf file;
	plain.type = plain.embed_type = QUANT_F32;
	model_make(&plain, to);
	buf_init(&file, 1 << 28);
	CHECK_OK(file_read(to, &file, &e), e);
	CHECK_OK(gguf_open(&g, from, &e), e);
	CHECK_OK(gguf_open(&out, to, &e), e);
	for (size_t i = 0; i < gguf_tensor_n(g); i++) {
		const struct gguf_tensor *t = gguf_tensor_at(g, i), *o;
		size_t k = (size_t)t->dim[0], rows = (size_t)t->dim[1];
		char name[80];
		if (t->n_dims < 2) continue;
		snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.s);
		o = gguf_tensor(out, name);
		CHECK(o && o->type == QUANT_F32 && o->dim[0] == k && o->dim[1] == rows);
		float *w = mem_calloc(rows * k, 4);
		double *d = mem_calloc(rows * k, 8);
		for (size_t r = 0; r < rows; r++) quant_row(t->type, t->data + r * quant_row_bytes(t->type, k), k, w + r * k);
		for (size_t j = 0; j < rows * k; j++) d[j] = (double)w[j];
		for (size_t j = 0; j < n; j++) merge_one(&u[j], name, k, rows, d);
		for (size_t j = 0; j < rows * k; j++) w[j] = (float)d[j];
		char *place = memmem(file.data, file.len, o->data, 256); /* random: there once */
		CHECK(place != NULL);
		memcpy(place, w, rows * k * 4);
		mem_free(w);
		mem_free(d);
	}
	gguf_close(g);
	gguf_close(out);
	CHECK_OK(file_write_atomic(to, file.data, file.len, &e), e);
	buf_clear(&file);
}

/* Logits (TOKENS, vocab) of the model at path with the adapters of the list, fed in chunks. */
static void logits_of(const char *path, const char *list, const char *kernel, const int32_t *ids, size_t chunk, float *out)
{
	const struct ops *ops;
	struct gguf *g;
	struct lora *l = NULL;
	struct decoder *d;
	struct feed f;
	struct team *team = team_new(3);
	if (ops_choose(&ops, kernel, &e) == E_UNSUPPORTED) test_skip("%s", e.msg);
	CHECK_OK(gguf_open(&g, path, &e), e);
	if (list) CHECK_OK(lora_open(&l, list, g, &e), e);
	CHECK_OK(decoder_open(&d, g, l, ops, team, &(struct decoder_options){ .sequences = 1 }, &e), e);
	feed_open(&f, d);
	feed_ids(&f, ids, TOKENS, chunk, TOKENS, out);
	feed_close(&f);
	decoder_close(d);
	lora_close(l);
	team_free(team);
	gguf_close(g);
}

static void check_merged(const struct model_spec *s)
{
	const char *base = at("base.gguf"), *merged = at("merged.gguf");
	char list[900], first[400], second[400];
	size_t n = TOKENS * s->vocab;
	float *got = mem_calloc(n, 4), *again = mem_calloc(n, 4), *without = mem_calloc(n, 4);
	double *want = mem_calloc(n, 8), most = 0;
	struct gguf *g;
	int32_t ids[TOKENS];
	for (size_t i = 0; i < TOKENS; i++) ids[i] = (int32_t)((i * i * 31 + i * 7) % s->vocab);
	snprintf(first, sizeof first, "%s", at("one.gguf"));
	snprintf(second, sizeof second, "%s", at("two.gguf"));
	model_make(s, base);
	adapter_make(s, first, QUANT_F32, 5, 8, 1);
	adapter_make(s, second, QUANT_F16, 33, 0, 2);
	const struct used used[] = { { first, 0.5, 8 }, { second, -0.75, 0 } };
	merged_make(s, base, used, 2, merged);
	CHECK_OK(gguf_open(&g, merged, &e), e);
	plain_logits(g, s, ids, TOKENS, want);
	gguf_close(g);
	snprintf(list, sizeof list, "%s:0.5, %s:-0.75", first, second);
	static const char *const kernels[] = { "ref", "avx2", "auto" };
	for (size_t k = 0; k < 3; k++) {
		logits_of(base, list, kernels[k], ids, DECODER_CHUNK, got);
		for (size_t i = 0; i < n; i++)
			CHECK_MSG(fabs((double)got[i] - want[i]) < (k ? ROUNDED : TOLERANCE), "%s %s: logit %zu: %g, want %g",
				s->arch, kernels[k], i, (double)got[i], want[i]);
		logits_of(base, list, kernels[k], ids, k == 1 ? 1 : 7, again);
		CHECK_MSG(memcmp(got, again, n * 4) == 0, "%s: chunks differ", kernels[k]);
	}
	logits_of(base, NULL, "auto", ids, DECODER_CHUNK, without);
	for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)got[i] - (double)without[i]));
	CHECK_MSG(most > 0.1, "the adapters change nothing: %g", most);
	mem_free(got);
	mem_free(again);
	mem_free(without);
	mem_free(want);
}

TEST(lora_equals_merged_weights)
{
	static const char *const archs[] = { "llama", "qwen2", "qwen3", "gemma3" };
	dir_begin();
	for (size_t i = 0; i < 4; i++) {
		struct model_spec s = model_spec_of(archs[i]);
		s.layers = 2;
		if (i == 1) s.kv_heads = 5;
		check_merged(&s);
	}
}

TEST(lora_equals_merged_weights_of_packed_models)
{
	static const uint32_t types[] = { QUANT_Q4_0, QUANT_Q5_1, QUANT_Q4_K, QUANT_Q5_K, QUANT_BF16 };
	dir_begin();
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		struct model_spec s = model_spec_of("llama");
		s.layers = 1;
		s.untied = 1;
		s.heads = s.kv_heads = 4;
		s.head_dim = 64; /* rows of 256, for the types of 256 */
		s.type = types[i];
		s.embed_type = QUANT_Q8_0;
		check_merged(&s);
	}
}

/* ---- what is refused ---- */

static void refuse(const char *list, int status, const char *word)
{
	struct gguf *g;
	struct lora *l = NULL;
	CHECK_OK(gguf_open(&g, at("base.gguf"), &e), e);
	int rc = lora_open(&l, list, g, &e);
	CHECK_MSG(rc == status && l == NULL && strstr(e.msg, word), "%s: want %d and \"%s\", got %d: %s", list, status, word, rc,
		rc ? e.msg : "");
	gguf_close(g);
}

/* One adapter of one pair of tensors, refused. */
static void refuse_pair(const char *a_name, size_t a_k, size_t a_rows, const char *b_name, size_t b_k, size_t b_rows,
	float value, int status, const char *word)
{
	struct gguf_make m;
	float w[4096];
	for (size_t i = 0; i < 4096; i++) w[i] = i == 100 ? value : 0.5f;
	adapter_begin(&m, "llama");
	gguf_make_tensor(&m, a_name, QUANT_F32, a_k, a_rows, w);
	if (b_name) gguf_make_tensor(&m, b_name, QUANT_F32, b_k, b_rows, w);
	gguf_make_write(&m, at("bad.gguf"));
	refuse(at("bad.gguf"), status, word);
}

static void keys_put(const char *type, const char *arch, const char *kind, float alpha)
{
	struct gguf_make m;
	gguf_make_begin(&m);
	gguf_make_str(&m, "general.type", type);
	gguf_make_str(&m, "general.architecture", arch);
	if (kind) gguf_make_str(&m, "adapter.type", kind);
	gguf_make_f32(&m, "adapter.lora.alpha", alpha);
	pair_put(&m, "blk.0.attn_q.weight", QUANT_F32, 256, 320, 2);
	gguf_make_write(&m, at("bad.gguf"));
}

static void base_make(void)
{
	struct model_spec s = model_spec_of("llama");
	dir_begin();
	s.layers = 1;
	model_make(&s, at("base.gguf")); /* attn_q: rows of 256, 5 heads of 64 */
}

TEST(lora_bad_adapters_are_refused_by_name)
{
#define Q "blk.0.attn_q.weight"
	base_make();
	keys_put("model", "llama", "lora", 1), refuse(at("bad.gguf"), E_FORMAT, "general.type");
	keys_put("adapter", "qwen2", "lora", 1), refuse(at("bad.gguf"), E_FORMAT, "\"qwen2\", but the model is \"llama\"");
	keys_put("adapter", "llama", "ia3", 1), refuse(at("bad.gguf"), E_UNSUPPORTED, "adapter.type");
	keys_put("adapter", "llama", NULL, 1), refuse(at("bad.gguf"), E_UNSUPPORTED, "adapter.type");
	keys_put("adapter", "llama", "lora", NAN), refuse(at("bad.gguf"), E_FORMAT, "adapter.lora.alpha");
	refuse(at("base.gguf"), E_FORMAT, "general.type");
	refuse_pair(Q ".lora_a", 256, 4, Q ".lora_b", 4, 321, 1, E_FORMAT, Q ".lora_b: shape 4 x 321");
	refuse_pair(Q ".lora_a", 256, 4, Q ".lora_b", 5, 320, 1, E_FORMAT, Q ".lora_b: shape 5 x 320");
	refuse_pair(Q ".lora_a", 4, 256, Q ".lora_b", 4, 320, 1, E_FORMAT, Q ".lora_a: shape 4 x 256");
	refuse_pair(Q ".lora_a", 256, 4, Q ".lora_b", 4, 320, NAN, E_FORMAT, Q ".lora_a: a value is not finite");
	refuse_pair(Q ".lora_a", 256, 4, NULL, 0, 0, 1, E_FORMAT, Q ".lora_b is missing");
	refuse_pair(Q ".lora_b", 4, 320, NULL, 0, 0, 1, E_FORMAT, Q ".lora_a is missing");
	refuse_pair("blk.9.attn_q.weight.lora_a", 256, 4, NULL, 0, 0, 1, E_FORMAT, "blk.9.attn_q.weight");
	refuse_pair(Q, 256, 4, NULL, 0, 0, 1, E_FORMAT, Q ": neither");
	refuse_pair("x", 256, 4, NULL, 0, 0, 1, E_FORMAT, "tensor x: neither");
	refuse("", E_USAGE, "no file");
	refuse(" , ", E_USAGE, "empty file name");
	refuse(at("none.gguf"), E_NOT_FOUND, "none.gguf");
	char list[500];
	keys_put("adapter", "llama", "lora", 1);
	snprintf(list, sizeof list, "%s:1e9", at("bad.gguf"));
	refuse(list, E_USAGE, "scale");
}

TEST(lora_truncated_files_are_refused)
{
	struct buf b;
	base_make();
	keys_put("adapter", "llama", "lora", 1);
	buf_init(&b, 1 << 20);
	CHECK_OK(file_read(at("bad.gguf"), &b, &e), e);
	for (size_t n = b.len - 1; n > 0; n = n * 9 / 10) {
		CHECK_OK(file_write_atomic(at("bad.gguf"), b.data, n, &e), e);
		refuse(at("bad.gguf"), E_FORMAT, "bad.gguf");
	}
	buf_clear(&b);
}

TEST(lora_stands_failed_allocations)
{
	struct gguf *g;
	struct lora *l = NULL;
	int done = 0;
	base_make();
	keys_put("adapter", "llama", "lora", 1);
	CHECK_OK(gguf_open(&g, at("base.gguf"), &e), e);
	for (long n = 1; n < 1000 && !done; n++) {
		fault_alloc_after(n);
		int rc = lora_open(&l, at("bad.gguf"), g, &e);
		fault_alloc_after(0);
		CHECK_MSG(rc == OK || rc == E_MEMORY, "allocation %ld: status %d, %s", n, rc, e.msg);
		done = rc == OK;
	}
	CHECK(done);
	lora_close(l);
	gguf_close(g);
}

/* Through the public door: the name says it, a table that cannot be adapted is refused, an adapter is no model. */
TEST(lora_of_a_generator)
{
	struct generator *m;
	struct gguf_make bad;
	base_make();
	keys_put("adapter", "llama", "lora", 1);
	struct generator_options o = { .path = at("base.gguf"), .device = "cpu", .threads = 1, .lora = at("bad.gguf") };
	CHECK_OK(generator_open(&m, &o, &e), e);
	CHECK_STR(generator_info(m)->name, "base+lora");
	generator_close(m);
	o.name = "a-name-that-is-quite-a-bit-longer-than-the-sixty-three-bytes-there-are";
	CHECK_OK(generator_open(&m, &o, &e), e);
	CHECK_INT(strlen(generator_info(m)->name), 63);
	CHECK_STR(generator_info(m)->name + 58, "+lora");
	generator_close(m);
	o.gpu = &plain_gpu;                             /* on the CPU alone */
	o.device = "cuda";
	CHECK_INT(generator_open(&m, &o, &e), E_UNSUPPORTED);
	CHECK_MSG(strstr(e.msg, "generate.lora"), "%s", e.msg);
	o.device = "auto";
	CHECK_OK(generator_open(&m, &o, &e), e);
	CHECK_STR(generator_info(m)->device, "cpu");
	generator_close(m);
	o.device = "cpu";
	adapter_begin(&bad, "llama");
	pair_put(&bad, "token_embd.weight", QUANT_F32, 256, 320, 2);
	gguf_make_write(&bad, at("bad.gguf"));
	CHECK_INT(generator_open(&m, &o, &e), E_UNSUPPORTED);
	CHECK(strstr(e.msg, "token_embd.weight"));
	o = (struct generator_options){ .path = at("bad.gguf"), .device = "cpu", .threads = 1 };
	CHECK_INT(generator_open(&m, &o, &e), E_UNSUPPORTED);
	CHECK(strstr(e.msg, "generate.lora"));
}
