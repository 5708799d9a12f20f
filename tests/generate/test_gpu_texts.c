/* test_gpu_texts.c: whole texts that a generator writes on the GPU under test are those that it writes on the CPU by the plain loops: several
 * at once, with prompts that begin alike, with guesses, under a constraint.
 *
 * The two differ by rounding (test_gpu_decoder.c), so the same texts prove something only where rounding cannot turn a choice: of each choice the
 * first logit's lead over the second is measured, and how far off the device's logits are; the lead must be APART times that, where 2 would do.
 * The prompts were chosen for such leads. */
#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
#include "generate/generate.h"
#include "nn/quant.h"
#include "tests/gguf_make.h"
#include "tests/test.h"

enum { TEXTS = 5, FREE = 3 /* the others are of letters alone */, TOKENS = 12, VOCAB = 272 };
static const double APART = 3, OFF_MOST = 0.1; /* logits are of size 1 */

struct choice { int32_t token; float logits[VOCAB]; };
struct text {
	struct choice chosen[TOKENS + 1];
	size_t n;
	int letters;                             /* what is no letter is refused */
	struct gen_result result;
};

/* What is offered first at a step is kept: the likeliest. */
static enum gen_verdict keep(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	struct text *t = ctx;
	(void)s;
	CHECK(v->step <= TOKENS && v->vocab == VOCAB);
	struct choice *c = &t->chosen[v->step];
	c->token = v->token;
	memcpy(c->logits, gen_view_logits(v), sizeof c->logits);
	t->n = v->step + 1;
	if (t->letters && (v->is_stop || v->token < 'a' || v->token > 'z')) return GEN_REFUSE;
	return GEN_ACCEPT;
}

static const char *model_path(void)
{
	static char path[300];
	struct model_spec s = model_spec_of("qwen2");
	if (*path) return path;
	snprintf(path, sizeof path, "%s/texts.gguf", test_dir());
	s.layers = 2;
	s.dim = s.ff = 64;
	s.heads = 2;
	s.kv_heads = 1;
	s.head_dim = 32;
	s.vocab = VOCAB;
	s.untied = 1;                            /* else each token is its own likeliest follower */
	s.type = QUANT_Q8_0;
	s.embed_type = QUANT_F16;
	model_make(&s, path);
	return path;
}

/* All texts together; unseen: those that may be anything are written without a constraint, so that the device chooses. */
static void write_texts(const char *device, int unseen, struct text *t)
{
	static const char *const prompts[TEXTS] = { "to be or not", "four five six a", "five six a b", "to be or", "the rain in spain" };
	const struct generator_options o = { .path = model_path(), .threads = 1, .sequences = TEXTS, .draft_max = 4, .device = device,
		.gpu = test_gpu(), .kernel = "ref" };
	struct gen_request q[TEXTS];
	struct gen_constraint c[TEXTS];
	struct gen_params p;
	struct generator *g;
	struct err e;
	int32_t ids[TEXTS][32];
	gen_params_default(&p);
	p.max_tokens = TOKENS;
	CHECK_OK(generator_open(&g, &o, &e), e);
	CHECK_STR(generator_info(g)->kernel, strcmp(device, "cpu") == 0 ? "ref" : "cuda");
	for (size_t i = 0; i < TEXTS; i++) {
		t[i].letters = i >= FREE;
		c[i] = (struct gen_constraint){ &t[i], keep };
		q[i] = (struct gen_request){ .prompt = ids[i], .n = strlen(prompts[i]), .params = &p, .constraint = t[i].letters || !unseen ? &c[i] : NULL,
			.result = &t[i].result, .err = &e };
		for (size_t k = 0; k < q[i].n; k++) ids[i][k] = prompts[i][k];
		CHECK_OK(generator_start(g, &q[i]), e);
	}
	while (generator_running(g)) generator_step(g);
	for (size_t i = 0; i < TEXTS; i++) CHECK_MSG(q[i].done && q[i].status == OK, "text %zu: %s", i, e.msg);
	generator_close(g);
}

/* Of a step that both took: the lead of what the CPU takes over all else that may be taken, and how far off the device is. */
static double lead_of(const struct text *t, const struct choice *c, double *off, const struct choice *other)
{
	float first = -INFINITY, second = -INFINITY;
	*off = 0;
	for (int32_t i = 0; i < VOCAB; i++) {
		*off = fmax(*off, fabs((double)c->logits[i] - (double)other->logits[i]));
		if (t->letters && (i < 'a' || i > 'z')) continue;
		if (c->logits[i] > first) second = first, first = c->logits[i];
		else if (c->logits[i] > second) second = c->logits[i];
	}
	return (double)first - (double)second;
}

TEST(gpu_texts_are_the_cpus)
{
	struct text *cpu = mem_calloc(TEXTS, sizeof *cpu), *gpu = mem_calloc(TEXTS, sizeof *gpu), *chosen = mem_calloc(TEXTS, sizeof *chosen);
	double least = INFINITY, worst = 0;
	CHECK(cpu && gpu && chosen);
	write_texts("cpu", 0, cpu);
	write_texts("cuda", 0, gpu);
	write_texts("cuda", 1, chosen);
	for (size_t i = 0; i < TEXTS; i++) {
		CHECK_MSG(cpu[i].result.completion_tokens == TOKENS, "text %zu: %zu tokens", i, cpu[i].result.completion_tokens);
		CHECK_INT(gpu[i].n, cpu[i].n);
		for (size_t k = 0; k < cpu[i].n; k++) {
			double off, lead = lead_of(&cpu[i], &cpu[i].chosen[k], &off, &gpu[i].chosen[k]);
			CHECK_MSG(gpu[i].chosen[k].token == cpu[i].chosen[k].token, "text %zu token %zu: %d, the CPU's is %d", i, k, gpu[i].chosen[k].token,
				cpu[i].chosen[k].token);
			CHECK_MSG(off < OFF_MOST && lead > APART * off, "text %zu token %zu: a lead of %g, and logits %g off", i, k, lead, off);
			worst = fmax(worst, off);
			least = fmin(least, lead / off);
		}
		CHECK_STR(buf_cstr(&gpu[i].result.text), buf_cstr(&cpu[i].result.text));
		CHECK_STR(buf_cstr(&chosen[i].result.text), buf_cstr(&cpu[i].result.text));
		buf_clear(&cpu[i].result.text);
		buf_clear(&gpu[i].result.text);
		buf_clear(&chosen[i].result.text);
	}
	if (getenv("FOOTNOTE_TELL")) fprintf(stderr, "leads are %.2f times as far as logits are off, and more; these at most %g\n", least, worst);
	mem_free(cpu), mem_free(gpu), mem_free(chosen);
}
