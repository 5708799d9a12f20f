/* write.c: constrained writing (write.h).
 *
 * Inside a sentence the model writes its own words, but of numbers only those of the chosen sentences and the question, and
 * between quotation marks only what stands in the chosen sentences (generate/constrain.h): a token that would be another is
 * refused, and the next likeliest taken. When one ends (or the model opens a mark itself), the constraint takes
 * over: the sentence is verified against every chosen passage, " [" is forced, and the model chooses among the numbers
 * of those passages that carry it; then "]" is forced and the sentence goes out with its quote. So a mark can name only a
 * given passage, and only one that says what the sentence says.
 * A sentence that no passage carries is taken back, and the model writes another in its place that must be a piece of the best
 * sentence not cited yet, word for word. Where that comes to nothing, writing ends there, and the first one is gone or, as
 * answer.unsupported says, sent as unverified.
 * The first token also tells whether the model would refuse: the template gives it one sentence for that, and the
 * log-odds of its first token against all others go into the evidence (decide.h), which is held against
 * answer.confidence, and are compared with answer.refusal. A "no" under the threshold is refused for the likeliest
 * other token.
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
#include "base/language.h"
#include "base/sentence.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "generate/constrain.h"

const char write_refusal[] = "Not found in the documents.";

enum { MARKS_MAX = 9, PROMPT_PASSAGES_MAX = 5, BUDGET_MIN = 8, ALONE_MAX = 8 };
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
	int sentences_max, mark_unsupported;
	int looked;                      /* at the first token's logits */
	enum writing state;
	size_t from, from_tokens;        /* where the sentence being written begins in the generated text */
	int begins;                      /* from_tokens is not known yet */
	struct constrain *mask;          /* what may be written */
	struct constrain *best;          /* the same of the best sentence alone, while it is copied from */
	struct constrain_state mask_at;
	int copying;                     /* the sentence is written a second time, in the passages' words */
	const char *first; size_t first_len; /* what it was at first, in the arena; NULL: nothing is left of it */
	double first_support;
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

/* What the sentence under way is held to. */
static const struct constrain *mask_of(const struct writer *w)
{
	return w->copying ? w->best : w->mask;
}

static void sentence_begin(struct writer *w, size_t from)
{
	w->state = IN_SENTENCE;
	w->from = from;
	w->begins = 1;
	w->copying = 0;
	w->first = NULL;
	constrain_begin(w->mask, &w->mask_at, CONSTRAIN_FREE);
}

/* Log-odds of the refusal's first token against everything else. */
static double refusal_odds(const struct writer *w, const float *logits, int vocab)
{
	double max = logits[0], other = 0;
	for (int t = 1; t < vocab; t++)
		if (logits[t] > max) max = logits[t];
	for (int t = 0; t < vocab; t++)
		if (t != w->refusal_token) other += exp(logits[t] - max);
	return logits[w->refusal_token] - max - log(other);
}

/* Sends the sentence with the units chosen. */
static enum gen_verdict sentence_add(struct writer *w, size_t mark)
{
	size_t units[2] = { w->units[mark], 0 }, n = 1;
	size_t second = verify_second(w->sel, &w->claim, units[0]);
	if (second == (size_t)-1) second = select_beside(w->sel, units[0]);
	if (second != (size_t)-1 && !w->sel->units[second].chosen) second = (size_t)-1; /* the model was not shown it */
	if (second != (size_t)-1) units[n++] = second;
	struct answer *a = w->citer->answer;
	int rc = citer_add(w->citer, w->sentence, w->sentence_len, units, n, w->err);
	if (rc) return fail(w, rc);
	if (w->out->support == 0 || w->scores[mark] < w->out->support) w->out->support = w->scores[mark];
	w->out->rewritten += w->copying;
	w->first = NULL;
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

/* Neither the sentence nor what was written instead stands: there is nothing more to write. */
static enum gen_verdict give_up(struct writer *w)
{
	const char *first = w->first;
	w->first = NULL;
	w->out->end = WRITE_UNSUPPORTED;
	if (!first || !w->mark_unsupported) return GEN_STOP;
	int rc = citer_add(w->citer, first, w->first_len, NULL, 0, w->err);
	if (rc) return fail(w, rc);
	w->out->end = WRITE_DONE;
	w->out->unverified++;
	if (w->out->support == 0 || w->first_support < w->out->support) w->out->support = w->first_support;
	return GEN_STOP;
}

static int is_cited(const struct answer *a, const struct unit *u)
{
	for (size_t i = 0; i < a->citation_n; i++)
		if (a->citations[i].passage == u->passage && a->citations[i].range.off == u->range.off) return 1;
	return 0;
}

/* The best sentence shown that is not cited yet; NULL: there is none. */
static const struct unit *best_left(const struct writer *w)
{
	for (size_t i = 0; i < w->sel->unit_n; i++) {
		const struct unit *u = &w->sel->units[w->sel->order[i]];
		if (u->chosen && !u->mute && !is_cited(w->citer->answer, u)) return u;
	}
	return NULL;
}

/* No passage carries the sentence, whose support is so much. */
static enum gen_verdict write_again(struct writer *w, double support, struct gen_steer *s)
{
	const struct unit *u = best_left(w);
	if (w->copying) return give_up(w);
	w->first = w->sentence;
	w->first_len = w->sentence_len;
	w->first_support = support;
	if (!u) return give_up(w);
	const struct constrain_source source = { u->said, u->said_len, 1 };
	constrain_free(w->best);
	int rc = constrain_new(&w->best, &source, 1, w->err);
	if (rc) return fail(w, rc);
	w->copying = 1;
	constrain_begin(w->best, &w->mask_at, CONSTRAIN_COPY);
	s->keep = w->from_tokens;
	return GEN_REWIND;
}

/* The sentence is not in the question's language, though the sentence that carries it is: small models fall into English.
 * "en" is also what language_of says of what tells nothing, so that an English question has no such sentences. */
static int speaks_other(const struct writer *w, const struct unit *u)
{
	const char *asked = w->citer->answer->plan.language;
	return asked && strcmp(asked, "en") != 0 && strcmp(language_of(w->sentence, w->sentence_len), asked) != 0 &&
		strcmp(language_of(u->text, u->len), asked) == 0;
}

/* The sentence that carries what was written stands in its place, and the answer ends. */
static enum gen_verdict sentence_quote(struct writer *w, size_t mark)
{
	const struct unit *u = &w->sel->units[w->units[mark]];
	int rc = sentence_take(w, u->said, u->said_len);
	if (!rc && citer_said(w->citer, w->sentence, w->sentence_len)) return GEN_STOP;
	if (!rc) rc = claim_make(w->sel, w->sentence, w->sentence_len, w->citer->arena, &w->claim, w->err);
	if (rc) return fail(w, rc);
	w->out->rewritten++;
	(void)sentence_add(w, mark);
	return GEN_STOP;
}

/* A sentence is complete: verify it and open its mark. */
static enum gen_verdict mark_open(struct writer *w, const struct gen_view *v, const char *text, size_t len, struct gen_steer *s)
{
	double best = 0, t0 = clock_ms();
	size_t only = 0;
	int rc = sentence_take(w, text, len);
	if (!rc && citer_said(w->citer, w->sentence, w->sentence_len)) return w->copying ? give_up(w) : GEN_STOP; /* small models run in circles */
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
	if (!w->choice_n) return write_again(w, best, s);
	if (!w->copying && speaks_other(w, &w->sel->units[w->units[only]])) return sentence_quote(w, only);
	if (!w->copying && !w->citer->answer->sentence_n && verify_names_other(w->sel, &w->claim)) {
		w->out->end = WRITE_OTHER;
		return GEN_STOP;
	}
	w->last = w->last || v->is_stop;
	if (w->choice_n == 1) {
		enum gen_verdict verdict = sentence_add(w, only);
		if (verdict == GEN_STOP) return verdict;
		int n = snprintf(w->force, sizeof w->force, " [%zu]", only + 1);
		sentence_begin(w, v->len + (size_t)n);
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
	sentence_begin(w, v->len + 1);
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

/* Has the token, which adds to the sentence, or another. */
static enum gen_verdict token_take(struct writer *w, const struct gen_view *v)
{
	return constrain_put(mask_of(w), &w->mask_at, v->piece, v->piece_len) ? GEN_ACCEPT : GEN_REFUSE;
}

/* An answer begins with a word of it: no refusal, mark, stop or white space alone. */
static enum gen_verdict first_token(struct writer *w, const struct gen_view *v)
{
	size_t k = 0;
	while (k < v->piece_len && isspace((unsigned char)v->piece[k])) k++;
	if (v->token == w->refusal_token || v->is_stop || k == v->piece_len || memchr(v->piece, '[', v->piece_len)) return GEN_REFUSE;
	return token_take(w, v);
}

static enum gen_verdict in_sentence(struct writer *w, const struct gen_view *v, struct gen_steer *s)
{
	const char *text = v->text + w->from;
	size_t len = v->len - w->from;
	int ends = v->is_stop || memchr(v->piece, '[', v->piece_len) != NULL;
	if (w->begins) w->from_tokens = v->tokens;
	w->begins = 0;
	if (v->tokens == 0) return first_token(w, v);
	if (!has_word(text, len)) return !ends ? token_take(w, v) : w->copying ? give_up(w) : GEN_STOP;
	ends |= *v->piece == '\n';
	if (!ends && !sentence_ends(text, len, v->piece, v->piece_len)) return token_take(w, v);
	if (constrain_may_end(mask_of(w), &w->mask_at)) return mark_open(w, v, text, len, s);
	return ends ? GEN_REFUSE : token_take(w, v); /* a quotation or a number is open */
}

static enum gen_verdict next(void *ctx, const struct gen_view *v, struct gen_steer *s)
{
	struct writer *w = ctx;
	if (!w->looked) {
		const float *logits = gen_view_logits(v);
		if (!logits) return GEN_STOP;
		w->looked = 1;
		w->out->refusal = refusal_odds(w, logits, v->vocab);
		w->evidence->refusal = w->out->refusal;
		if (w->out->refusal > w->refusal_floor || (w->evidence->looked && decide_begun(w->evidence) < w->confidence_floor)) {
			w->out->end = WRITE_REFUSED;
			return GEN_STOP;
		}
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

/* What may be quoted: the chosen sentences, as they stand together in their passages, titles and headings. The question's
 * numbers may be used too. */
static int mask_make(struct writer *w, const struct answer_request *q, struct err *e)
{
	const struct selection *sel = w->sel;
	const struct retrieval *r = &w->citer->answer->retrieval;
	struct constrain_source *src = arena_alloc(w->citer->arena, (sel->unit_n + 2 * sel->passage_n + 1) * sizeof *src);
	size_t n = 0;
	if (!src) return err_set(e, E_MEMORY, "answer: out of memory");
	src[n++] = (struct constrain_source){ q->question, strlen(q->question), 0 };
	for (size_t i = 0; i < sel->passage_n; i++) {
		const struct passage *p = &r->passages[sel->passages[i]];
		src[n++] = (struct constrain_source){ p->doc.title, strlen(p->doc.title), 1 };
		src[n++] = (struct constrain_source){ p->chunk.heading, strlen(p->chunk.heading), 1 };
	}
	for (size_t i = 0; i < sel->unit_n; i++) {
		const struct unit *u = &sel->units[i];
		if (!u->chosen) continue;
		if (i && u[-1].chosen && u[-1].passage == u->passage) src[n - 1].len = (size_t)(u->text - src[n - 1].text) + u->len;
		else src[n++] = (struct constrain_source){ u->text, u->len, 1 };
	}
	int rc = constrain_new(&w->mask, src, n, e);
	if (!rc) sentence_begin(w, 0);
	return rc;
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
	struct tokens *t, struct err *e)
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
 * know, and titles may be long: then there is less to show, in the end one sentence, the best that fits. */
static int prompt_fit(struct service *s, const struct answer_request *q, struct citer *c, const struct generator *g,
	struct selection *sel, struct tokens *t, struct err *e)
{
	size_t context = (size_t)generator_info(g)->context, budget = (size_t)q->conf->answer_context_tokens, alone = 0;
	int max = tokens_max(q), bare = 0, rc = OK;
	size_t room = (size_t)(max < q->conf->answer_max_tokens ? max : q->conf->answer_max_tokens);
	while (!rc) {
		double t0 = clock_ms();
		bare = budget < BUDGET_MIN && (alone == ALONE_MAX || alone == sel->unit_n || sel->units[sel->order[alone]].mute);
		if (budget >= BUDGET_MIN || bare) rc = select_choose(bare ? 0 : budget, PROMPT_PASSAGES_MAX, c->arena, sel, e);
		else rc = select_only(sel, sel->order[alone++], c->arena, e);
		c->answer->rerank_ms += clock_ms() - t0;
		t->n = 0;
		budget /= 2;
		if (!rc && !sel->passage_n && !bare) continue;
		if (!rc) rc = prompt_make(s, q, c, g, t, e);
		if (rc || t->n + room <= context) return rc;
		if (bare)
			return err_set(e, E_USAGE, "question: its %zu tokens with the prompt's template, and %zu for the answer (answer.max_tokens), do not fit "
				"the %zu of the language model's context", t->n, room, context);
	}
	return rc;
}

int write_answer(struct service *s, struct engine *n, const struct answer_request *q, struct citer *c,
	struct selection *sel, struct written *out, struct err *e)
{
	struct tokens prompt = { 0 };
	struct gen_result r = { 0 };
	struct gen_params p;
	struct writer w = { .service = s, .generator = engine_generator(n), .citer = c, .sel = c->sel, .out = out,
		.evidence = &c->answer->evidence, .confidence_floor = q->conf->answer_confidence, .refusal_floor = q->conf->answer_refusal,
		.support_floor = q->conf->answer_support,
		.sentences_max = q->conf->answer_sentences_max,
		.mark_unsupported = strcmp(q->conf->answer_unsupported, "mark") == 0, .err = e };
	struct gen_constraint constraint = { &w, next };
	struct answer *a = c->answer;
	*out = (struct written){ .end = WRITE_DONE };
	gen_params_default(&p);
	p.max_tokens = tokens_max(q);
	p.temperature = q->temperature > 0 ? (float)q->temperature : 0;
	p.seed = q->seed;
	p.patient = q->patient;
	int rc = tokens_find(&w, e);
	if (!rc) rc = prompt_fit(s, q, c, w.generator, sel, &prompt, e);
	if (!rc && !sel->passage_n) {
		out->end = WRITE_NO_ROOM;
		tokens_clear(&prompt);
		return OK;
	}
	if (!rc) rc = mask_make(&w, q, e);
	uint64_t deadline = q->patient ? 0 : clock_us() + (uint64_t)(q->conf->answer_deadline_s * 1e6);
	double t0 = clock_ms();
	if (!rc) rc = engine_generate(n, prompt.ids, prompt.n, &p, &constraint, NULL, NULL, q->cancel, deadline, &r, e);
	a->generate_ms = clock_ms() - t0;
	if (!rc && r.finish == GEN_END_CONSTRAINT && w.first) give_up(&w); /* nothing was allowed any more */
	if (!rc) rc = w.status;
	if (!rc && r.finish == GEN_END_CANCELLED && flag_is(q->cancel)) rc = err_set(e, E_CANCELLED, "answer: cancelled");
	if (!rc && (r.finish == GEN_END_CANCELLED || r.finish == GEN_END_LENGTH)) out->end = WRITE_CUT;
	a->model = generator_info(w.generator)->name;
	a->prompt_tokens += r.prompt_tokens;
	a->completion_tokens = r.completion_tokens;
	a->reused_tokens = r.reused_tokens;
	buf_clear(&r.text);
	tokens_clear(&prompt);
	constrain_free(w.mask);
	constrain_free(w.best);
	return rc;
}
