/* test_random.c: generate.h on models with random weights: windows, prefix reuse and context edges, and the blank that
 * SentencePiece models of old begin a text with. */
#include "base/mem.h"
#include "generate/generate.h"
#include "tests/generate/feed.h"
#include "tests/gguf_make.h"
#include "tests/test.h"

static struct generator *open_spec(const struct model_spec *s)
{
	char path[300];
	struct generator_options o = { .path = path, .device = "cpu", .threads = 2 };
	struct generator *g;
	struct err e;
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(s, path);
	CHECK_OK(generator_open(&g, &o, &e), e);
	return g;
}

static struct model_spec small(const char *arch)
{
	struct model_spec s = model_spec_of(arch);
	s.layers = s.pattern = 2;
	s.dim = s.ff = 64;
	s.heads = 2;
	s.head_dim = 32;
	return s;
}

/* Every prompt's logits are the same bits from a cache that held something else as from an empty one. */
TEST(random_gemma3_reuse_and_edges)
{
	enum { CONTEXT = 1400 };
	struct model_spec spec = small("gemma3");
	struct generator *g, *fresh;
	struct gen_params p;
	struct gen_result r;
	struct err e;
	int32_t ids[CONTEXT + 1];
	float *got = mem_calloc(spec.vocab, sizeof *got), *want = mem_calloc(spec.vocab, sizeof *want);
	static const size_t lens[] = { 1300, 1290, 800, 790, 1399, 30, 1399, 16, 17, 1398 };
	uint32_t x = 3;
	spec.context = CONTEXT;
	g = open_spec(&spec);
	for (size_t i = 0; i <= CONTEXT; i++) ids[i] = (int32_t)((x = x * 1664525 + 1013904223) >> 24);
	for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
		logits_after(g, ids, lens[i], got);
		fresh = open_spec(&spec);
		logits_after(fresh, ids, lens[i], want);
		CHECK_MSG(memcmp(got, want, spec.vocab * sizeof *got) == 0, "prompt of %zu tokens", lens[i]);
		generator_close(fresh);
	}
	gen_params_default(&p);
	CHECK_OK(generate(g, ids, 1390, &p, NULL, NULL, NULL, NULL, &r, &e), e);
	CHECK_INT(r.reused_tokens, 1389);
	CHECK(r.finish == GEN_END_STOP || (r.finish == GEN_END_LENGTH && r.completion_tokens == CONTEXT - 1390));
	buf_clear(&r.text);
	CHECK_OK(generate(g, ids, 100, &p, NULL, NULL, NULL, NULL, &r, &e), e);
	CHECK_INT(r.reused_tokens, 99);         /* windows or not, every position is kept */
	buf_clear(&r.text);
	CHECK_INT(generate(g, ids, CONTEXT, &p, NULL, NULL, NULL, NULL, &r, &e), E_LIMIT);
	buf_clear(&r.text);
	mem_free(got);
	mem_free(want);
	generator_close(g);
}

/* Chooses " a", then " b", then ends. */
static enum gen_verdict spell(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	static const int32_t letters[] = { 285, 286 };
	(void)ctx;
	if (v->step == 2) return GEN_STOP;
	*s = (struct gen_steer){ .choices = letters + v->step, .choice_n = 1 };
	return GEN_CHOOSE;
}

static enum gen_verdict force_letter(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	(void)ctx;
	if (v->step == 1) return GEN_STOP;
	*s = (struct gen_steer){ .force = "a", .force_len = 1 };
	return GEN_FORCE;
}

static void check_text(struct generator *g, const int32_t *ids, size_t n, enum gen_verdict (*next)(void *,
	const struct gen_view *, struct gen_steer *), const char *want)
{
	struct gen_constraint c = { NULL, next };
	struct gen_params p;
	struct gen_result r;
	struct err e;
	gen_params_default(&p);
	CHECK_OK(generate(g, ids, n, &p, &c, NULL, NULL, NULL, &r, &e), e);
	CHECK_STR(buf_cstr(&r.text), want);
	buf_clear(&r.text);
}

TEST(random_llama_spm)
{
	struct model_spec spec = small("llama");
	const struct chat_message m = { "user", "a b", 3 };
	const int32_t bos = 1, more[] = { 1, 259 };
	struct generator *g;
	struct tokens t = { 0 };
	struct err e;
	spec.spm = 1;
	g = open_spec(&spec);
	CHECK_STR(generator_info(g)->family, "plain");
	CHECK_OK(generator_tokenize(g, "a b", 3, &t, &e), e);
	CHECK(t.n == 2 && t.ids[0] == 259 && t.ids[1] == 286);
	t.n = 0;
	CHECK_OK(generator_chat(g, &m, 1, 1, &t, &e), e);
	CHECK(t.n > 10 && t.ids[0] == 1 && t.ids[1] == 3 + ' ' && t.ids[2] == 3 + 'U' && t.ids[t.n - 1] == 3 + ':');
	check_text(g, &bos, 1, spell, "a b");           /* the text begins: its first blank is the tokenizer's */
	check_text(g, more, 2, spell, " a b");          /* it goes on */
	check_text(g, &bos, 1, force_letter, "a");
	check_text(g, more, 2, force_letter, "a");
	tokens_clear(&t);
	generator_close(g);
}

/* The n-th allocation of opening, tokenising and generating fails, for every n: an error, nothing leaked, no crash. */
TEST(random_gemma3_out_of_memory)
{
	struct model_spec spec = small("gemma3");
	char path[300];
	struct generator_options o = { .path = path, .device = "cpu", .threads = 2 };
	spec.spm = 1;
	snprintf(path, sizeof path, "%s/random.gguf", test_dir());
	model_make(&spec, path);
	out_of_memory_is_told(&o, "a b");
}
