/* answer.c: the query pipeline (answer.h).
 *
 *   question -> retrieve -> select_units -> relevant at all? -> select_choose -> write_answer -> done
 *                                            no: abstain          no generator, or nothing it wrote is carried by the
 *                                                                 passages: quote the best sentences (extractive)
 * Threads: any; the answer belongs to the caller. Failure: what was sent to the sink stays true; the caller learns the
 * error; answer_close releases the snapshot. */
#include "api/answer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "api/cite.h"
#include "api/language.h"
#include "api/select.h"
#include "api/write.h"
#include "base/clock.h"
#include "base/stat.h"
#include "base/utf8.h"

enum { QUOTES_MAX = 2, PROMPT_PASSAGES_MAX = 5 };
static const double QUOTE_SHARE = 0.9; /* a further sentence is quoted when it scores this share of the best */

const char *answer_status_name(int status)
{
	static const char *const names[] = { "answered", "abstained", "partial" };
	return status >= 0 && status < 3 ? names[status] : "unknown";
}

static int id_make(char id[40], struct err *e)
{
	unsigned char r[16];
	if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r) return err_sys(e, "answer: random numbers");
	memcpy(id, "ans_", 4);
	for (size_t i = 0; i < sizeof r; i++) snprintf(id + 4 + 2 * i, 3, "%02x", r[i]);
	return OK;
}

static int question_check(const struct service *s, const struct answer_request *q, struct err *e)
{
	size_t len = strlen(q->question);
	if (!utf8_valid(q->question, len)) return err_set(e, E_USAGE, "question: not valid UTF-8");
	size_t n = utf8_count(q->question, len);
	if (n > (size_t)s->conf.question_chars_max)
		return err_set(e, E_USAGE, "question: %zu characters, over answer.question_chars_max (%d)", n, s->conf.question_chars_max);
	return OK;
}

/* What is searched: a follow-up is read together with the question before it. */
static const char *query_text(const struct answer_request *q, struct arena *a)
{
	for (size_t i = q->history_n; i-- > 0;)
		if (strcmp(q->history[i].role, "user") == 0) return arena_printf(a, "%s %s", q->history[i].text, q->question);
	return q->question;
}

static void abstain(struct answer *a, const char *reason)
{
	a->status = ANSWER_ABSTAINED;
	a->reason = reason;
	a->text = language_abstain(language_of(a->question, strlen(a->question)));
	a->text_len = strlen(a->text);
}

/* Sends the abstention as the one sentence it is, without a footnote. */
static void abstain_send(struct answer *a, const struct answer_sink *sink, struct arena *arena)
{
	a->sentences = arena_calloc(arena, 1, sizeof *a->sentences);
	a->sentence_n = a->sentences ? 1 : 0;
	if (a->sentence_n) *a->sentences = (struct answer_sentence){ .end = (uint32_t)a->text_len };
	a->citation_n = 0;
	a->has_short = 0;
	if (sink && sink->sentence) sink->sentence(sink->ctx, a, a->text, a->text_len);
}

/* Quotes the best units, best first. */
static int quote_best(struct citer *c, const struct selection *sel, struct err *e)
{
	size_t done[QUOTES_MAX], n = 0;
	while (n < QUOTES_MAX) {
		size_t best = (size_t)-1;
		for (size_t u = 0; u < sel->unit_n; u++) {
			int used = sel->units[u].is_question;
			for (size_t i = 0; i < n; i++) used |= done[i] == u;
			if (!used && (best == (size_t)-1 || sel->units[u].score > sel->units[best].score)) best = u;
		}
		if (best == (size_t)-1 || (n && sel->units[best].score < QUOTE_SHARE * sel->best)) break;
		const struct unit *u = &sel->units[best];
		char *line = arena_strndup(c->arena, u->text, u->len);
		if (!line) return err_set(e, E_MEMORY, "answer: out of memory");
		for (size_t i = 0; i < u->len; i++)
			if (line[i] == '\n' || line[i] == '\t') line[i] = ' ';
		int rc = citer_add(c, line, u->len, &best, 1, e);
		if (rc) return rc;
		done[n++] = best;
	}
	return OK;
}

static double sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

/* Logistic in what is known of the answer; the weights come from tests/eval/fit_confidence.py. */
static double confidence(const struct answer *a)
{
	if (a->status == ANSWER_ABSTAINED) return 0;
	if (a->style == STYLE_EXTRACTIVE) return sigmoid(-5.0 + 7.0 * a->relevance);
	return sigmoid(-5.0 + 4.0 * a->relevance + 3.0 * a->support - 0.25 * a->refusal);
}

/* Lets the generator write; the style becomes generate when a sentence of its came through. */
static int generate_style(struct service *s, const struct answer_request *q, struct citer *c, struct selection *sel, struct err *e)
{
	struct engine *n;
	struct written w;
	const char *why = "";
	struct answer *a = c->answer;
	double t0 = clock_ms();
	int rc = service_engine(s, &n, &why, e);
	if (rc) return rc;
	if (!n) {
		a->reason = why;
		return OK;
	}
	rc = select_choose(s, (size_t)s->conf.answer_context_tokens, PROMPT_PASSAGES_MAX, c->arena, sel, e);
	a->rerank_ms += clock_ms() - t0;
	if (!rc) rc = write_answer(s, n, q, c, &w, e);
	if (rc) return rc;
	a->refusal = w.refusal;
	a->support = w.support;
	if (a->sentence_n) a->style = STYLE_GENERATE;
	if (w.end == WRITE_REFUSED) abstain(a, "the model finds no answer in the passages");
	else if (w.end == WRITE_CUT && a->sentence_n) a->status = ANSWER_PARTIAL, a->reason = "the answer was cut at its token or time limit";
	else if (!a->sentence_n) a->reason = "no sentence of the generated answer is supported by the passages; quoted instead";
	return OK;
}

static int answer_find(struct service *s, const struct answer_request *q, struct arena *arena, struct answer *out, struct err *e)
{
	const char *query = query_text(q, arena);
	size_t k = (size_t)(q->k > 0 ? q->k : s->conf.answer_passages);
	if (!query) return err_set(e, E_MEMORY, "answer: out of memory");
	int rc = retrieve(s, &q->reader, query, strlen(query), SEARCH_DENSE, k, 0, arena, &out->retrieval, e);
	out->embed_ms = out->retrieval.embed_ms;
	out->search_ms = out->retrieval.search_ms;
	return rc;
}

static int answer_make(struct service *s, const struct answer_request *q, const struct answer_sink *sink, struct arena *arena, struct answer *out, double began, struct err *e)
{
	struct selection sel;
	struct citer c;
	double t0 = clock_ms();
	int rc = select_units(s, &out->retrieval, q->question, arena, &sel, e);
	out->rerank_ms = clock_ms() - t0;
	if (rc) return rc;
	out->relevance = sel.best;
	if (sel.best < s->conf.answer_floor) {
		abstain(out, out->retrieval.n ? "nothing relevant was found" : "no documents were found");
		abstain_send(out, sink, arena);
		return OK;
	}
	rc = citer_begin(&c, out, &sel, sink, arena, began, e);
	if (!rc && q->style == STYLE_GENERATE) rc = generate_style(s, q, &c, &sel, e);
	if (!rc && out->status == ANSWER_ANSWERED && !out->sentence_n) rc = quote_best(&c, &sel, e);
	if (out->status != ANSWER_ABSTAINED) {
		int rc2 = citer_end(&c, rc ? NULL : e);
		if (!rc) rc = rc2;
	} else {
		buf_clear(&c.text);
		abstain_send(out, sink, arena);
	}
	return rc;
}

int answer_run(struct service *s, const struct answer_request *q, const struct answer_sink *sink, struct arena *a, struct answer *out, struct err *e)
{
	double t0 = clock_ms();
	memset(out, 0, sizeof *out);
	out->question = q->question;
	out->text = out->reason = out->model = out->prompt_name = "";
	out->style = STYLE_EXTRACTIVE;
	int rc = id_make(out->id, e);
	if (!rc) rc = question_check(s, q, e);
	if (!rc) rc = answer_find(s, q, a, out, e);
	if (!rc && sink && sink->passages) sink->passages(sink->ctx, out);
	if (!rc) rc = answer_make(s, q, sink, a, out, t0, e);
	out->total_ms = clock_ms() - t0;
	out->confidence = confidence(out);
	if (rc == OK) {
		char labels[40];
		snprintf(labels, sizeof labels, "status=\"%s\"", answer_status_name(out->status));
		stat_count("footnote_answers_total", labels, 1);
		stat_observe_ms("footnote_answer_seconds", "", out->total_ms);
	}
	return rc;
}

void answer_close(struct answer *a)
{
	retrieve_close(&a->retrieval);
}
