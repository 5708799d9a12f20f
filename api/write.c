/* write.c: constrained writing (write.h).
 *
 * The model writes freely inside a sentence. When one ends (or the model opens a mark itself), the constraint takes
 * over: the sentence is verified against every chosen passage, " [" is forced, and the model chooses among the numbers
 * of those passages that carry it; then "]" is forced and the sentence goes out with its quote. A sentence that no
 * passage carries is never sent: writing ends there. So a mark can name only a given passage, and only one that says
 * what the sentence says.
 * The first token also tells whether the model would refuse: the template gives it one sentence for that, and the
 * log-odds of its first token against all others go into the evidence (decide.h), which is held against
 * answer.confidence, and are compared with answer.refusal. A "no" under the threshold is replaced by the likeliest other
 * token.
 * Threads: next() runs in the engine thread; the caller waits, so the state needs no lock. Failure: an error inside
 * next() stops decoding and is returned by write_answer. */
#include "api/write.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "api/verify.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/sentence.h"
#include "base/unicode.h"
#include "base/utf8.h"

const char write_refusal[] = "Not found in the documents.";

enum { MARKS_MAX = 9, RANKS = 24, PROMPT_PASSAGES_MAX = 5, BUDGET_MIN = 8 };
static const double CLOSE_SUPPORT = 0.1; /* passages this near the best one are left to the model's choice */

enum writing { IN_SENTENCE, IN_MARK, MARK_CHOSEN };
struct writer {
	struct service *service;
	const struct generator *generator;
	struct citer *citer;
	const struct selection *sel;
	struct written *out;
	struct evidence *evidence;       /* of the answer */
	double refusal_floor, confidence_floor, support_floor;
	int sentences_max;
	enum writing state;
	size_t from;                     /* where the sentence being written begins in the generated text */
	int last;                        /* the model wanted to stop after this sentence */
	int32_t refusal_token, digits[MARKS_MAX];
	char *sentence; size_t sentence_len; /* being marked, in the arena */
	struct claim claim;
	size_t units[MARKS_MAX]; double scores[MARKS_MAX]; /* best unit of each passage */
	int32_t choices[MARKS_MAX]; size_t choice_n;
	char force[16];
	struct err *err;
	int status;
};

static enum gen_verdict fail(struct writer *w, int status)
{
	w->status = status;
	return GEN_STOP;
}

/* The likeliest tokens, best first; n at most RANKS. */
static void top_tokens(const struct gen_view *v, int32_t *ids, size_t n)
{
	size_t have = 0;
	for (int32_t t = 0; t < v->vocab; t++) {
		if (have == n && v->logits[t] <= v->logits[ids[n - 1]]) continue;
		size_t i = have < n ? have++ : n - 1;
		while (i > 0 && v->logits[t] > v->logits[ids[i - 1]]) {
			ids[i] = ids[i - 1];
			i--;
		}
		ids[i] = t;
	}
}

/* The likeliest token that begins a sentence: no refusal, no mark, no stop, no white space alone. */
static enum gen_verdict choose_other(struct writer *w, const struct gen_view *v, struct gen_steer *s)
{
	int32_t ids[RANKS];
	struct buf piece;
	buf_init(&piece, 1024);
	top_tokens(v, ids, RANKS);
	w->choice_n = 0;
	for (size_t i = 0; i < RANKS && !w->choice_n; i++) {
		size_t k = 0;
		buf_reset(&piece);
		if (ids[i] == w->refusal_token || generator_is_stop(w->generator, ids[i]) || generator_piece(w->generator, ids[i], &piece)) continue;
		while (k < piece.len && isspace((unsigned char)piece.data[k])) k++;
		if (k < piece.len && !memchr(piece.data, '[', piece.len)) w->choices[w->choice_n++] = ids[i];
	}
	buf_clear(&piece);
	if (!w->choice_n) return GEN_STOP;
	*s = (struct gen_steer){ .choices = w->choices, .choice_n = 1 };
	return GEN_CHOOSE;
}

/* Log-odds of the refusal's first token against everything else. */
static double refusal_odds(const struct writer *w, const struct gen_view *v)
{
	double max = v->logits[0], other = 0;
	for (int t = 1; t < v->vocab; t++)
		if (v->logits[t] > max) max = v->logits[t];
	for (int t = 0; t < v->vocab; t++)
		if (t != w->refusal_token) other += exp(v->logits[t] - max);
	return v->logits[w->refusal_token] - max - log(other);
}

/* Sends the sentence with the units chosen. */
static enum gen_verdict sentence_add(struct writer *w, size_t mark)
{
	size_t units[2] = { w->units[mark], 0 }, n = 1;
	size_t second = verify_second(w->sel, &w->claim, units[0]);
	if (second != (size_t)-1) units[n++] = second;
	struct answer *a = w->citer->answer;
	int rc = citer_add(w->citer, w->sentence, w->sentence_len, units, n, w->err);
	if (rc) return fail(w, rc);
	if (w->out->support == 0 || w->scores[mark] < w->out->support) w->out->support = w->scores[mark];
	w->state = IN_SENTENCE;
	return w->last || (int)a->sentence_n >= w->sentences_max ? GEN_STOP : GEN_ACCEPT;
}

/* The written sentence as it will stand in the answer: trimmed, one line, with an end. */
static int sentence_take(struct writer *w, const char *text, size_t len)
{
	static const char lead[] = "Answer:";
	while (len && isspace((unsigned char)*text)) text++, len--;
	if (len > sizeof lead - 1 && memcmp(text, lead, sizeof lead - 1) == 0) text += sizeof lead - 1, len -= sizeof lead - 1;
	while (len && isspace((unsigned char)*text)) text++, len--;
	while (len && isspace((unsigned char)text[len - 1])) len--;
	w->sentence = arena_alloc(w->citer->arena, len + 2);
	if (!w->sentence) return err_set(w->err, E_MEMORY, "answer: out of memory");
	memcpy(w->sentence, text, len);
	cite_plain(w->sentence, len);
	size_t i = len;
	int32_t cp = len ? utf8_prev(w->sentence, &i) : -1;
	if (cp >= 0 && uni_is_word((uint32_t)cp)) w->sentence[len++] = '.';
	w->sentence[len] = 0;
	w->sentence_len = len;
	return OK;
}

static int is_refusal(const char *s, size_t len)
{
	static const char *const signs[] = { "not found in the documents", "passages do not contain", "passages don't contain", "does not contain the answer",
		"not mentioned in the passages", "no information", "not provided in the passages", "do not provide" };
	char low[160];
	size_t n = len < sizeof low - 1 ? len : sizeof low - 1;
	for (size_t i = 0; i < n; i++) low[i] = (char)tolower((unsigned char)s[i]);
	low[n] = 0;
	for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
		if (strstr(low, signs[i])) return 1;
	return 0;
}

/* A sentence is complete: verify it and open its mark. */
static enum gen_verdict mark_open(struct writer *w, const struct gen_view *v, const char *text, size_t len, struct gen_steer *s)
{
	double best = 0, t0 = clock_ms();
	size_t only = 0;
	int rc = sentence_take(w, text, len);
	if (!rc && citer_said(w->citer, w->sentence, w->sentence_len)) return GEN_STOP; /* small models run in circles */
	if (!rc && is_refusal(w->sentence, w->sentence_len)) {
		w->out->end = w->citer->answer->sentence_n ? WRITE_DONE : WRITE_REFUSED;
		return GEN_STOP;
	}
	if (!rc) rc = claim_make(w->sel, w->sentence, w->sentence_len, w->citer->arena, &w->claim, w->err);
	if (rc) return fail(w, rc);
	for (size_t i = 0; i < w->sel->passage_n; i++) {
		w->units[i] = verify_best(w->sel, &w->claim, w->sel->passages[i], &w->scores[i]);
		if (w->scores[i] > best) best = w->scores[i];
	}
	w->citer->answer->verify_ms += clock_ms() - t0;
	w->choice_n = 0;
	for (size_t i = 0; i < w->sel->passage_n; i++) {
		if (w->scores[i] < w->support_floor || w->scores[i] < best - CLOSE_SUPPORT) continue;
		w->choices[w->choice_n++] = w->digits[i];
		only = i;
	}
	if (!w->choice_n) {
		w->out->end = WRITE_UNSUPPORTED;
		return GEN_STOP;
	}
	w->last = w->last || v->is_stop;
	if (w->choice_n == 1) {
		enum gen_verdict verdict = sentence_add(w, only);
		if (verdict == GEN_STOP) return verdict;
		int n = snprintf(w->force, sizeof w->force, " [%zu]", only + 1);
		w->from = v->len + (size_t)n;
		*s = (struct gen_steer){ .force = w->force, .force_len = (size_t)n };
		return GEN_FORCE;
	}
	w->state = IN_MARK;
	*s = (struct gen_steer){ .force = " [", .force_len = 2 };
	return GEN_FORCE;
}

/* The number was chosen: it is the last byte of the text. */
static enum gen_verdict mark_close(struct writer *w, const struct gen_view *v, struct gen_steer *s)
{
	size_t mark = v->len ? (size_t)(v->text[v->len - 1] - '1') : MARKS_MAX;
	if (mark >= w->sel->passage_n) return fail(w, err_set(w->err, E_BUG, "answer: a mark outside the passages was chosen"));
	enum gen_verdict verdict = sentence_add(w, mark);
	if (verdict == GEN_STOP) return verdict;
	w->from = v->len + 1;
	*s = (struct gen_steer){ .force = "]", .force_len = 1 };
	return GEN_FORCE;
}

static int has_word(const char *s, size_t len)
{
	size_t i = 0;
	while (i < len) {
		int32_t cp = utf8_next(s, len, &i);
		if (cp >= 0 && uni_is_word((uint32_t)cp)) return 1;
	}
	return 0;
}

static enum gen_verdict in_sentence(struct writer *w, const struct gen_view *v, struct gen_steer *s)
{
	const char *text = v->text + w->from, *bracket = memchr(v->piece, '[', v->piece_len);
	size_t len = v->len - w->from;
	int content = has_word(text, len);
	if (bracket) {
		if (!content) return v->step == 0 ? choose_other(w, v, s) : GEN_STOP;
		return mark_open(w, v, text, len, s);
	}
	if (!content) return v->is_stop ? GEN_STOP : GEN_ACCEPT;
	if (v->is_stop || v->piece[0] == '\n' || sentence_ends(text, len, v->piece, v->piece_len)) return mark_open(w, v, text, len, s);
	return GEN_ACCEPT;
}

static enum gen_verdict next(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	struct writer *w = ctx;
	if (v->step == 0) {
		w->out->refusal = refusal_odds(w, v);
		w->evidence->refusal = w->out->refusal;
		if (w->out->refusal > w->refusal_floor || (w->evidence->looked && decide_begun(w->evidence) < w->confidence_floor)) {
			w->out->end = WRITE_REFUSED;
			return GEN_STOP;
		}
		if (v->token == w->refusal_token || v->is_stop) return choose_other(w, v, s);
	}
	switch (w->state) {
	case IN_MARK:
		w->state = MARK_CHOSEN;
		*s = (struct gen_steer){ .choices = w->choices, .choice_n = w->choice_n };
		return GEN_CHOOSE;
	case MARK_CHOSEN: return mark_close(w, v, s);
	default: return in_sentence(w, v, s);
	}
}

/* The ids of the digits and of the refusal's first word. */
static int tokens_find(struct writer *w, struct err *e)
{
	struct tokens t = { 0 };
	int rc = generator_tokenize(w->generator, write_refusal, strlen(write_refusal), &t, e);
	if (!rc && t.n) w->refusal_token = t.ids[0];
	for (int i = 0; rc == OK && i < MARKS_MAX; i++) {
		char digit = (char)('1' + i);
		t.n = 0;
		rc = generator_tokenize(w->generator, &digit, 1, &t, e);
		if (!rc && t.n != 1) rc = err_set(e, E_UNSUPPORTED, "generator: its vocabulary has no token for the digit %c", digit);
		if (!rc) w->digits[i] = t.ids[0];
	}
	tokens_clear(&t);
	return rc;
}

static int prompt_make(struct service *s, const struct answer_request *q, struct citer *c, const struct generator *g,
	const struct chat_message *behind, struct tokens *t, struct err *e)
{
	const struct prompt_template *tpl;
	struct chat_message *m;
	const char *passages;
	size_t len, n;
	int rc = prompts_find(s->prompts, q->prompt ? q->prompt : "answer", &tpl, e);
	if (!rc) rc = select_print(&c->answer->retrieval, c->sel, c->arena, &passages, &len, e);
	if (rc) return rc;
	struct prompt_value v[] = { { "passages", passages, len }, { "question", q->question, strlen(q->question) },
		{ "refusal", write_refusal, strlen(write_refusal) }, { "tone", q->tone ? q->tone : "", q->tone ? strlen(q->tone) : 0 } };
	rc = prompt_fill(tpl, v, sizeof v / sizeof v[0], c->arena, &m, &n, e);
	if (!rc && behind) {
		m[n - 1].text = arena_printf(c->arena, "%.*s\n\n%.*s", (int)m[n - 1].len, m[n - 1].text, (int)behind->len, behind->text);
		if (!m[n - 1].text) return err_set(e, E_MEMORY, "answer: out of memory");
		m[n - 1].len += 2 + behind->len;
	}
	if (!rc) rc = generator_chat(g, m, n, 1, t, e);
	c->answer->prompt_name = prompt_name(tpl);
	c->answer->prompt_version = prompt_version(tpl);
	return rc;
}

static int tokens_max(const struct answer_request *q)
{
	return q->max_tokens > 0 ? q->max_tokens : q->conf->answer_max_tokens;
}

/* The budget is counted in the encoder's tokens, which are fewer than the generator's in scripts that the encoder does not
 * know: then there is less to show. */
int write_prompt(struct service *s, const struct answer_request *q, struct citer *c, const struct generator *g,
	struct selection *sel, const struct chat_message *behind, struct tokens *t, struct err *e)
{
	size_t context = (size_t)generator_info(g)->context, budget = (size_t)q->conf->answer_context_tokens;
	int max = tokens_max(q);
	size_t room = (size_t)(max < q->conf->answer_max_tokens ? max : q->conf->answer_max_tokens);
	for (;; budget /= 2) {
		double t0 = clock_ms();
		int rc = select_choose(budget, PROMPT_PASSAGES_MAX, c->arena, sel, e);
		c->answer->rerank_ms += clock_ms() - t0;
		t->n = 0;
		if (!rc) rc = prompt_make(s, q, c, g, behind, t, e);
		if (rc || t->n + room <= context) return rc;
		if (budget < BUDGET_MIN)
			return err_set(e, E_USAGE, "question: too long for the %zu tokens of the language model's context", context);
	}
}

int write_answer(struct service *s, struct engine *n, const struct answer_request *q, struct citer *c,
	struct selection *sel, struct written *out, struct err *e)
{
	struct tokens prompt = { 0 };
	struct gen_result r = { 0 };
	struct gen_params p;
	struct writer w = { .service = s, .generator = engine_generator(n), .citer = c, .sel = c->sel, .out = out,
		.evidence = &c->answer->evidence, .confidence_floor = q->conf->answer_confidence, .refusal_floor = q->conf->answer_refusal, .support_floor = q->conf->answer_support,
		.sentences_max = q->conf->answer_sentences_max, .err = e };
	struct gen_constraint constraint = { &w, next };
	struct answer *a = c->answer;
	*out = (struct written){ .end = WRITE_DONE };
	gen_params_default(&p);
	p.max_tokens = tokens_max(q);
	p.temperature = q->temperature > 0 ? (float)q->temperature : 0;
	p.seed = q->seed;
	p.patient = q->patient;
	int rc = tokens_find(&w, e);
	if (!rc) rc = write_prompt(s, q, c, w.generator, sel, NULL, &prompt, e);
	uint64_t deadline = q->patient ? 0 : clock_us() + (uint64_t)(q->conf->answer_deadline_s * 1e6);
	double t0 = clock_ms();
	if (!rc) rc = engine_generate(n, prompt.ids, prompt.n, &p, &constraint, NULL, NULL, q->cancel, deadline, &r, e);
	a->generate_ms = clock_ms() - t0;
	if (!rc) rc = w.status;
	if (!rc && r.finish == GEN_END_CANCELLED && flag_is(q->cancel)) rc = err_set(e, E_CANCELLED, "answer: cancelled");
	if (!rc && (r.finish == GEN_END_CANCELLED || r.finish == GEN_END_LENGTH)) out->end = WRITE_CUT;
	a->model = generator_info(w.generator)->name;
	a->prompt_tokens += r.prompt_tokens;
	a->completion_tokens = r.completion_tokens;
	a->reused_tokens = r.reused_tokens;
	buf_clear(&r.text);
	tokens_clear(&prompt);
	return rc;
}
