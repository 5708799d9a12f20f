/* judge.c: asking the generator yes or no (judge.h).
 *
 * The prompt is read, and a constraint stops the text before its first token: the logits there are all that is wanted. A
 * word's weight is the sum over the tokens that spell it: with and without capital, with and without a blank before it.
 * Threads: the constraint runs in the engine thread while the caller waits. Failure: told by name; a model whose vocabulary
 * has no such token cannot judge. */
#include "api/judge.h"
#include <math.h>
#include <string.h>
#include "api/write.h"
#include "base/flag.h"

enum { VARIANTS = 6 };
struct word_ids { int32_t ids[VARIANTS]; size_t n; };
struct judge {
	struct word_ids yes, no;
	double log_odds;
	int judged;
};

/* The tokens that are the word in one of its spellings. */
static int ids_find(const struct generator *g, const char *const spelt[VARIANTS], struct word_ids *out, struct err *e)
{
	struct tokens t = { 0 };
	int rc = OK;
	out->n = 0;
	for (size_t i = 0; i < VARIANTS && !rc; i++) {
		int known = 0;
		t.n = 0;
		rc = generator_tokenize(g, spelt[i], strlen(spelt[i]), &t, e);
		for (size_t k = 0; k < out->n && t.n == 1; k++) known |= out->ids[k] == t.ids[0];
		if (!rc && t.n == 1 && !known) out->ids[out->n++] = t.ids[0];
	}
	tokens_clear(&t);
	if (!rc && !out->n) rc = err_set(e, E_UNSUPPORTED, "%s: its vocabulary has no token for \"%s\"", generator_info(g)->name, spelt[0]);
	return rc;
}

/* log of the sum of exp(logit) over the ids. */
static double weight_of(const float *logits, const struct word_ids *w)
{
	double max = -INFINITY, sum = 0;
	for (size_t i = 0; i < w->n; i++) max = fmax(max, (double)logits[w->ids[i]]);
	for (size_t i = 0; i < w->n; i++) sum += exp((double)logits[w->ids[i]] - max);
	return max + log(sum);
}

static enum gen_verdict next(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	struct judge *j = ctx;
	(void)s;
	const float *logits = gen_view_logits(v);
	if (!logits) return GEN_STOP;
	j->log_odds = weight_of(logits, &j->yes) - weight_of(logits, &j->no);
	j->judged = 1;
	return GEN_STOP;
}

static int judge_run(struct engine *n, const struct tokens *prompt, const volatile int *cancel, uint64_t deadline_us, int patient,
	double *log_odds, size_t *prompt_tokens, struct err *e)
{
	static const char *const yes[VARIANTS] = { "yes", "Yes", "YES", " yes", " Yes", " YES" };
	static const char *const no[VARIANTS] = { "no", "No", "NO", " no", " No", " NO" };
	const struct generator *g = engine_generator(n);
	struct judge j = { .judged = 0 };
	struct gen_constraint constraint = { &j, next };
	struct gen_result r = { 0 };
	struct gen_params p;
	gen_params_default(&p);
	p.max_tokens = 1;
	p.patient = patient;
	int rc = ids_find(g, yes, &j.yes, e);
	if (!rc) rc = ids_find(g, no, &j.no, e);
	if (!rc) rc = engine_generate(n, prompt->ids, prompt->n, &p, &constraint, NULL, NULL, cancel, deadline_us, &r, e);
	if (!rc && !j.judged) rc = err_set(e, E_CANCELLED, "judging: %s", flag_is(cancel) ? "cancelled" : "its time was over");
	if (!rc) *log_odds = j.log_odds;
	if (!rc && prompt_tokens) *prompt_tokens = prompt->n;
	buf_clear(&r.text);
	return rc;
}

int judge_answerable(struct service *s, struct engine *n, const char *question, const char *title, const char *passage, size_t len,
	const volatile int *cancel, uint64_t deadline_us, double *log_odds, size_t *prompt_tokens, struct err *e)
{
	const struct prompt_template *tpl;
	const struct prompt_value v[] = { { "title", title, strlen(title) }, { "passage", passage, len }, { "question", question, strlen(question) } };
	struct tokens prompt = { 0 };
	struct chat_message *m;
	struct arena a;
	size_t m_n;
	arena_init(&a, len + strlen(question) + (1 << 20));
	int rc = prompts_find(s->prompts, "judge", &tpl, e);
	if (!rc) rc = prompt_fill(tpl, v, sizeof v / sizeof *v, &a, &m, &m_n, e);
	if (!rc) rc = generator_chat(engine_generator(n), m, m_n, 1, &prompt, e);
	if (!rc) rc = judge_run(n, &prompt, cancel, deadline_us, !deadline_us, log_odds, prompt_tokens, e);
	tokens_clear(&prompt);
	arena_clear(&a);
	return rc;
}
