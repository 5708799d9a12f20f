/* test_generator.c: generate.h from outside, on SmolLM2: what is reused, how it ends, what a constraint may do. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "generate/generate.h"
#include "nn/gguf.h"
#include "tests/generate/feed.h"
#include "tests/test.h"

static struct generator *open_with(const char *kernel, int context)
{
	const char *path = test_model("smollm2-135m-instruct-q4_1.gguf");
	struct generator_options o = { .path = path, .device = "cpu", .threads = 2, .context_max = context, .kernel = kernel };
	struct generator *g;
	struct err e;
	if (!path) test_skip("smollm2 was not fetched");
	CHECK_OK(generator_open(&g, &o, &e), e);
	return g;
}

static struct tokens tokens_of(const struct generator *g, const char *text)
{
	struct tokens t = { 0 };
	struct err e;
	CHECK_OK(generator_tokenize(g, text, strlen(text), &t, &e), e);
	return t;
}

static struct gen_result run(struct generator *g, const struct tokens *t, const struct gen_params *p,
	const struct gen_constraint *c, gen_text_fn on_text, void *ctx)
{
	struct gen_result r;
	struct err e;
	CHECK_OK(generate(g, t->ids, t->n, p, c, on_text, ctx, NULL, &r, &e), e);
	CHECK(utf8_valid(buf_cstr(&r.text), r.text.len));
	return r;
}

TEST(generator_info_and_bad_options)
{
	struct generator *g = open_with(NULL, 0);
	const struct generator_info *f = generator_info(g);
	struct generator_options o = { .path = "absent.gguf", .device = "cpu", .threads = 1 };
	struct generator *none;
	struct err e;
	CHECK_STR(f->name, "smollm2-135m-instruct-q4_1");
	CHECK_STR(f->arch, "llama");
	CHECK_STR(f->family, "chatml");
	CHECK(f->layers == 30 && f->dim == 576 && f->heads == 9 && f->kv_heads == 3 && f->vocab == 49152 &&
		f->context == 4096);
	CHECK_INT(f->file_bytes, 98362432);
	/* all of the file but metadata and padding; the embedding is the output too, and one row of it is read again */
	CHECK_INT(f->token_bytes, 98362432 - 1785664 + 576 / 32 * 34);
	generator_close(g);
	CHECK_INT(generator_open(&none, &o, &e), E_NOT_FOUND);
	CHECK(strstr(e.msg, "absent.gguf") && !none);
	o.threads = 0;
	CHECK_INT(generator_open(&none, &o, &e), E_USAGE);
	generator_close(NULL);
}

TEST(generator_tokenize_and_pieces)
{
	struct generator *g = open_with(NULL, 64);
	struct tokens t = tokens_of(g, "<|im_start|>user\nHello<|im_end|> caf\xc3\xa9");
	struct buf b;
	buf_init(&b, 1000);
	for (size_t i = 0; i < t.n; i++) {
		CHECK(t.ids[i] > 16 && !generator_is_stop(g, t.ids[i]));
		CHECK_INT(generator_piece(g, t.ids[i], &b), OK);
	}
	CHECK_STR(buf_cstr(&b), "<|im_start|>user\nHello<|im_end|> caf\xc3\xa9");
	buf_reset(&b);
	CHECK_INT(generator_piece(g, 1, &b), OK);
	CHECK_INT(b.len, 0);
	CHECK_INT(generator_piece(g, -1, &b), E_USAGE);
	CHECK_INT(generator_piece(g, 1 << 20, &b), E_USAGE);
	CHECK(generator_is_stop(g, 2) && generator_is_stop(g, 0) && !generator_is_stop(g, 1));
	buf_clear(&b);
	tokens_clear(&t);
	generator_close(g);
}

/* The template, spelled: control tokens only where the template has them. */
TEST(generator_chat_template)
{
	struct generator *g = open_with(NULL, 64);
	const struct chat_message m[] = { { "system", "Be kind.", 8 }, { "user", "<|im_end|>hi", 12 } };
	struct tokens t = { 0 }, part;
	struct err e;
	static const char *const lines[] = { "system\nBe kind.", "user\n<|im_end|>hi", "assistant\n" };
	size_t at = 0;
	CHECK_OK(generator_chat(g, m, 2, 1, &t, &e), e);
	for (size_t i = 0; i < 3; i++) {
		part = tokens_of(g, lines[i]);
		CHECK(t.n >= at + part.n + 1 && t.ids[at] == 1);
		CHECK(memcmp(t.ids + at + 1, part.ids, part.n * sizeof *part.ids) == 0);
		at += part.n + 1;
		tokens_clear(&part);
		if (i == 2) break;
		part = tokens_of(g, "\n");
		CHECK(t.ids[at] == 2 && t.ids[at + 1] == part.ids[0]);
		at += 2;
		tokens_clear(&part);
	}
	CHECK_INT(t.n, at);
	tokens_clear(&t);
	CHECK_INT(generator_chat(g, &(struct chat_message){ "robot", "x", 1 }, 1, 0, &t, &e), E_USAGE);
	CHECK(strstr(e.msg, "robot"));
	tokens_clear(&t);
	generator_close(g);
}

TEST(generator_greedy_and_reuse)
{
	struct generator *g = open_with(NULL, 512);
	struct tokens t = tokens_of(g, "The capital of France is"), longer;
	struct gen_params p;
	struct gen_result a, b;
	float *first = mem_calloc(49152, 4), *again = mem_calloc(49152, 4);
	gen_params_default(&p);
	p.max_tokens = 12;
	a = run(g, &t, &p, NULL, NULL, NULL);
	CHECK(strstr(a.text.data, " Paris") == a.text.data);
	CHECK(a.finish == GEN_END_LENGTH && a.completion_tokens == 12 && a.prompt_tokens == 5 && a.reused_tokens == 0);
	b = run(g, &t, &p, NULL, NULL, NULL);
	CHECK_STR(b.text.data, a.text.data);
	CHECK_INT(b.reused_tokens, 4);
	buf_clear(&b.text);
	longer = tokens_of(g, "The capital of France is Paris, and");
	b = run(g, &longer, &p, NULL, NULL, NULL);
	CHECK(b.reused_tokens >= 5 && b.reused_tokens < longer.n);
	buf_clear(&b.text);
	logits_after(g, t.ids, t.n, first);
	b = run(g, &t, &p, NULL, NULL, NULL);
	CHECK_INT(b.reused_tokens, 4);
	CHECK_STR(b.text.data, a.text.data);
	logits_after(g, t.ids, t.n, again);
	CHECK(memcmp(first, again, 49152 * 4) == 0);
	buf_clear(&a.text);
	buf_clear(&b.text);
	mem_free(first);
	mem_free(again);
	tokens_clear(&t);
	tokens_clear(&longer);
	generator_close(g);
}

TEST(generator_limits)
{
	struct generator *g = open_with(NULL, 16);
	struct tokens t = tokens_of(g, "one two three four five six seven eight nine ten"), big = { 0 };
	struct gen_params p;
	struct gen_result r;
	struct err e;
	int32_t bad = 49152;
	gen_params_default(&p);
	r = run(g, &t, &p, NULL, NULL, NULL);
	CHECK(r.finish == GEN_END_LENGTH && t.n + r.completion_tokens == 16);
	buf_clear(&r.text);
	CHECK_OK(generator_tokenize(g, "a b c d e f g h i j k l m n o p q r s", 37, &big, &e), e);
	CHECK_INT(generate(g, big.ids, big.n, &p, NULL, NULL, NULL, NULL, &r, &e), E_LIMIT);
	CHECK(strstr(e.msg, "19") && strstr(e.msg, "16"));
	buf_clear(&r.text);
	CHECK_INT(generate(g, &bad, 1, &p, NULL, NULL, NULL, NULL, &r, &e), E_USAGE);
	CHECK_INT(generate(g, t.ids, 0, &p, NULL, NULL, NULL, NULL, &r, &e), E_USAGE);
	p.top_p = 0;
	CHECK_INT(generate(g, t.ids, t.n, &p, NULL, NULL, NULL, NULL, &r, &e), E_USAGE);
	CHECK(strstr(e.msg, "top_p"));
	tokens_clear(&t);
	tokens_clear(&big);
	generator_close(g);
}

struct heard { char text[4000]; size_t n, calls, stop_after; };

static int hear(void *ctx, const char *text, size_t len)
{
	struct heard *h = ctx;
	CHECK(utf8_valid(text, len) && len && h->n + len < sizeof h->text);
	memcpy(h->text + h->n, text, len);
	h->n += len;
	h->text[h->n] = 0;
	return ++h->calls == h->stop_after;
}

TEST(generator_stops_and_streams)
{
	struct generator *g = open_with(NULL, 256);
	struct tokens t = tokens_of(g, "The capital of France is");
	struct gen_params p;
	struct gen_result whole, r;
	struct heard h = { 0 };
	gen_params_default(&p);
	p.max_tokens = 24;
	whole = run(g, &t, &p, NULL, hear, &h);
	CHECK_STR(h.text, whole.text.data);
	CHECK(whole.text.len > 20);
	for (size_t at = 1; at + 5 < whole.text.len; at += 3) { /* any five bytes as a stop, so also across token borders */
		char stop[6] = { 0 };
		const char *stops[] = { "never seen", "", stop, NULL };
		memcpy(stop, whole.text.data + at, 5);
		p.stops = stops;
		h = (struct heard){ 0 };
		r = run(g, &t, &p, NULL, hear, &h);
		CHECK(r.finish == GEN_END_STOP);
		CHECK_INT(r.text.len, strstr(whole.text.data, stop) - whole.text.data);
		CHECK(memcmp(r.text.data, whole.text.data, r.text.len) == 0);
		CHECK_STR(h.text, r.text.data);
		buf_clear(&r.text);
	}
	p.stops = NULL;
	h = (struct heard){ .stop_after = 3 };
	r = run(g, &t, &p, NULL, hear, &h);
	CHECK(r.finish == GEN_END_CANCELLED && h.calls == 3 && r.completion_tokens < 24);
	buf_clear(&r.text);
	buf_clear(&whole.text);
	tokens_clear(&t);
	generator_close(g);
}

TEST(generator_cancel)
{
	struct generator *g = open_with(NULL, 256);
	struct tokens t = tokens_of(g, "The capital of France is");
	volatile int cancel = 1;
	struct gen_params p;
	struct gen_result r;
	struct err e;
	gen_params_default(&p);
	CHECK_OK(generate(g, t.ids, t.n, &p, NULL, NULL, NULL, &cancel, &r, &e), e);
	CHECK(r.finish == GEN_END_CANCELLED && r.completion_tokens == 0);
	buf_clear(&r.text);
	tokens_clear(&t);
	generator_close(g);
}

TEST(generator_sampling_is_seeded)
{
	struct generator *g = open_with(NULL, 256);
	struct tokens t = tokens_of(g, "Once upon a time");
	struct gen_params p;
	struct gen_result a, b;
	int differs = 0;
	gen_params_default(&p);
	p.max_tokens = 16;
	p.temperature = 1.2f;
	p.top_k = 40;
	p.top_p = 0.95f;
	p.min_p = 0.01f;
	p.repeat_penalty = 1.1f;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		p.seed = seed;
		a = run(g, &t, &p, NULL, NULL, NULL);
		b = run(g, &t, &p, NULL, NULL, NULL);
		CHECK_STR(a.text.data, b.text.data);
		p.seed = seed + 100;
		buf_clear(&b.text);
		b = run(g, &t, &p, NULL, NULL, NULL);
		differs += strcmp(a.text.data, b.text.data) != 0;
		buf_clear(&a.text);
		buf_clear(&b.text);
	}
	CHECK(differs >= 3);
	tokens_clear(&t);
	generator_close(g);
}

/* A script of verdicts: one letter a step. */
struct script { const char *steps; const char *force; const int32_t *choices; size_t choice_n, seen, refused; char text[400]; };

static enum gen_verdict follow(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	struct script *c = ctx;
	char step = c->steps[v->step];
	if (step == 'n' || (step == 'r' && !v->is_stop)) {
		c->refused++;
		return GEN_REFUSE;
	}
	CHECK(v->step == c->seen && v->vocab == 49152 && v->len < sizeof c->text && v->text[v->len] == 0);
	CHECK(isfinite(gen_view_logits(v)[0]) && isfinite(gen_view_logits(v)[49151]));
	c->seen++;
	memcpy(c->text, v->text, v->len + 1);
	s->force = c->force;
	s->force_len = c->force ? strlen(c->force) : 0;
	s->choices = c->choices;
	s->choice_n = c->choice_n;
	s->keep = 0;
	return step == 'b' ? GEN_REWIND : step == 'a' || step == 'r' ? GEN_ACCEPT : step == 'f' ? GEN_FORCE : step == 'c' ? GEN_CHOOSE : GEN_STOP;
}

TEST(generator_constraint)
{
	struct generator *g = open_with(NULL, 256);
	struct tokens t = tokens_of(g, "The capital of France is"), forced = tokens_of(g, " [12] as everyone knows"),
		pick = tokens_of(g, " London Paris Rome");
	struct script s = { .steps = "aas" };
	struct gen_constraint c = { &s, follow };
	struct gen_params p;
	struct gen_result r;
	struct err e;
	gen_params_default(&p);
	r = run(g, &t, &p, &c, NULL, NULL);
	CHECK(r.finish == GEN_END_CONSTRAINT && r.completion_tokens == 2 && s.seen == 3);
	CHECK_STR(s.text, r.text.data);
	buf_clear(&r.text);
	s = (struct script){ .steps = "cfas", .force = " [12] as everyone knows", .choices = pick.ids, .choice_n = pick.n };
	r = run(g, &t, &p, &c, NULL, NULL);
	CHECK(strstr(r.text.data, " Paris [12] as everyone knows") == r.text.data);
	CHECK_INT(r.completion_tokens, 2 + forced.n);
	buf_clear(&r.text);
	s = (struct script){ .steps = "aabacs", .choices = pick.ids, .choice_n = pick.n }; /* back to the beginning, another choice */
	r = run(g, &t, &p, &c, NULL, NULL);
	CHECK(r.finish == GEN_END_CONSTRAINT && r.completion_tokens == 4 && s.seen == 6);
	CHECK_STR(s.text, r.text.data);
	buf_clear(&r.text);
	s = (struct script){ .steps = "raas" };         /* refused until the stop token is offered: all in one step */
	r = run(g, &t, &p, &c, NULL, NULL);
	CHECK(r.finish == GEN_END_STOP && r.completion_tokens == 0 && r.text.len == 0 && s.refused > 1 && s.seen == 1);
	buf_clear(&r.text);
	s = (struct script){ .steps = "ns" };
	r = run(g, &t, &p, &c, NULL, NULL);
	CHECK(r.finish == GEN_END_CONSTRAINT && r.completion_tokens == 0 && s.refused == 49152);
	buf_clear(&r.text);
	s = (struct script){ .steps = "fs", .force = " [12] as everyone knows" };
	p.max_tokens = (int)forced.n - 1; /* does not fit: not at all */
	r = run(g, &t, &p, &c, NULL, NULL);
	CHECK(r.finish == GEN_END_LENGTH && r.text.len == 0);
	buf_clear(&r.text);
	s = (struct script){ .steps = "f", .force = "" };
	CHECK_INT(generate(g, t.ids, t.n, &p, &c, NULL, NULL, NULL, &r, &e), E_USAGE);
	buf_clear(&r.text);
	s = (struct script){ .steps = "c", .choices = (int32_t[]){ -5 }, .choice_n = 1 };
	CHECK_INT(generate(g, t.ids, t.n, &p, &c, NULL, NULL, NULL, &r, &e), E_USAGE);
	buf_clear(&r.text);
	s = (struct script){ .steps = "c", .choices = (int32_t[]){ 2 }, .choice_n = 1 };
	r = run(g, &t, &p, &c, NULL, NULL);
	CHECK(r.finish == GEN_END_STOP && r.completion_tokens == 0);
	buf_clear(&r.text);
	tokens_clear(&t);
	tokens_clear(&forced);
	tokens_clear(&pick);
	generator_close(g);
}

/* Where prompts are computed as what is written, forced text leaves the cache as a prompt with that text would. */
TEST(generator_force_equals_prompt)
{
	struct generator *g = open_with("avx2", 256);
	struct tokens t = tokens_of(g, "Two and two"), all = tokens_of(g, "Two and two");
	struct err e;
	struct script s = { .steps = "faaaas", .force = " make exactly" };
	struct gen_constraint c = { &s, follow };
	struct gen_params p;
	struct gen_result a, b;
	CHECK_OK(generator_tokenize(g, " make exactly", 13, &all, &e), e);
	gen_params_default(&p);
	a = run(g, &t, &p, &c, NULL, NULL);
	p.max_tokens = 4;
	b = run(g, &all, &p, NULL, NULL, NULL);
	CHECK_STR(a.text.data + 13, b.text.data);
	CHECK_INT(b.reused_tokens, all.n - 1);
	buf_clear(&a.text);
	buf_clear(&b.text);
	tokens_clear(&t);
	tokens_clear(&all);
	generator_close(g);
}

/* A copy of the model with bytes replaced, everything behind the header sparse. */
static void expect_refusal_at(const char *find, size_t skip, const char *put, size_t put_n, int status, const char *want)
{
	enum { HEADER = 1785664 };
	struct mapping m;
	struct generator *g;
	struct err e = { 0, "" };
	struct generator_options o = { .device = "cpu", .threads = 1, .kernel = "ref" };
	char path[300], *header, *at;
	const char *model = test_model("smollm2-135m-instruct-q4_1.gguf");
	off_t size;
	if (!model) test_skip("smollm2 was not fetched");
	CHECK_OK(mapping_open(&m, model, &e), e);
	size = (off_t)m.len;
	header = mem_alloc(HEADER);
	memcpy(header, m.data, HEADER);
	mapping_close(&m);
	at = memmem(header, HEADER, find, strlen(find));
	CHECK(at != NULL);
	memcpy(at + skip, put, put_n);
	snprintf(path, sizeof path, "%s/bent.gguf", test_dir());
	CHECK_OK(file_write_atomic(path, header, HEADER, &e), e);
	CHECK(truncate(path, size) == 0);
	o.path = path;
	CHECK_INT(generator_open(&g, &o, &e), status);
	CHECK_MSG(strstr(e.msg, want) && strstr(e.msg, "bent.gguf"), "\"%s\" lacks \"%s\"", e.msg, want);
	mem_free(header);
}

static void expect_refusal(const char *find, const char *put, int status, const char *want)
{
	CHECK(strlen(find) == strlen(put));
	expect_refusal_at(find, 0, put, strlen(put), status, want);
}

TEST(generator_refuses_by_name)
{
	static const char eps[] = "llama.attention.layer_norm_rms_epsilon";
	const float bad[] = { -1, 1, NAN };
	for (size_t i = 0; i < 3; i++) expect_refusal_at(eps, sizeof eps - 1 + 4, (const char *)&bad[i], 4, E_FORMAT, eps);
	expect_refusal("llama", "bloom", E_UNSUPPORTED, "bloom");
	expect_refusal("smollm\x15", "smollX\x15", E_UNSUPPORTED, "smollX");
	expect_refusal("gpt2", "bert", E_UNSUPPORTED, "bert");
	expect_refusal("llama.block_count", "llama.block_cXunt", E_FORMAT, "llama.block_count");
	expect_refusal("llama.block_count", "llama.logit_scale", E_UNSUPPORTED, "llama.logit_scale");
	expect_refusal("blk.7.ffn_up.weight", "blk.7.ffn_uX.weight", E_FORMAT, "blk.7.ffn_up.weight");
	expect_refusal("tokenizer.ggml.merges", "tokenizer.ggml.mergeX", E_FORMAT, "tokenizer.ggml.merges");
	expect_refusal("tokenizer.ggml.token_type", "tokenizer.ggml.token_typX", E_FORMAT, "token_type");
}

/* The n-th allocation of opening, tokenising and generating fails, for every n: an error, nothing leaked, no crash. */
TEST(generator_out_of_memory)
{
	const char *path = test_model("smollm2-135m-instruct-q4_1.gguf");
	struct generator_options o = { .path = path, .device = "cpu", .threads = 2, .context_max = 32, .kernel = NULL };
	if (!path) test_skip("smollm2 was not fetched");
	out_of_memory_is_told(&o, "hi");
}

/* Weights that make numbers of no meaning end a generation with an error that names the file. */
TEST(generator_tells_of_damaged_weights)
{
	const char *model = test_model("smollm2-135m-instruct-q4_1.gguf");
	struct generator_options o = { .device = "cpu", .threads = 2, .context_max = 64 };
	struct generator *g;
	struct gguf *whole;
	const struct gguf_tensor *t;
	const uint8_t *at;
	struct mapping m;
	struct gen_params p;
	struct gen_result r;
	struct err e = { 0, "" };
	char path[300];
	uint8_t *copy;
	int32_t id = 100;
	if (!model) test_skip("smollm2 was not fetched");
	CHECK_OK(mapping_open(&m, model, &e), e);
	CHECK_OK(gguf_open(&whole, model, &e), e);
	copy = mem_alloc(m.len);
	memcpy(copy, m.data, m.len);
	t = gguf_tensor(whole, "output_norm.weight");
	at = memmem(m.data, m.len, t->data, t->bytes); /* the file mapped twice: the same bytes at another address */
	CHECK(at != NULL);
	memset(copy + (at - m.data), 0xff, 64);
	snprintf(path, sizeof path, "%s/worn.gguf", test_dir());
	CHECK_OK(file_write_atomic(path, copy, m.len, &e), e);
	mem_free(copy);
	gguf_close(whole);
	mapping_close(&m);
	o.path = path;
	CHECK_OK(generator_open(&g, &o, &e), e);
	gen_params_default(&p);
	CHECK_INT(generate(g, &id, 1, &p, NULL, NULL, NULL, NULL, &r, &e), E_IO);
	CHECK_MSG(strstr(e.msg, "worn.gguf"), "%s", e.msg);
	buf_clear(&r.text);
	generator_close(g);
}
