/* answer.c: the query pipeline (answer.h).
 *
 *   question -> plan_make -> retrieve_many -> select_units -> decide: is it there? -> select_choose -> write_answer -> done
 *                                           no: abstain             no generator, or nothing it wrote is carried by the
 *                                                                   passages: quote the best sentence (extractive)
 * The best unit is known before anything is written, and with it the probability that an answer from it is right
 * (decide.h); the generator is asked for its judgement of that unit's passage where it writes anyway. Under
 * answer.confidence nothing is said.
 * Threads: any; the answer belongs to the caller. Failure: what was sent to the sink stays true; the caller learns the
 * error; answer_close releases the snapshot. */
#include "api/answer.h"
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "api/abstain.h"
#include "api/answercache.h"
#include "api/answerrecord.h"
#include "api/cite.h"
#include "api/experiment.h"
#include "api/figures.h"
#include "api/followup.h"
#include "api/gaps.h"
#include "api/evidence.h"
#include "api/select.h"
#include "api/tier.h"
#include "api/short.h"
#include "api/write.h"
#include "base/clock.h"
#include "base/utf8.h"

enum { JUDGE_BUDGET_MIN = 20 };
static const double JUDGE_SHARE = 0.15; /* of answer.confidence: under it the generator is not asked either */

const char *answer_status_name(int status)
{
	static const char *const names[] = { "answered", "abstained", "partial" };
	return status >= 0 && status < 3 ? names[status] : "unknown";
}

int answer_id_make(char id[40], struct err *e)
{
	unsigned char r[16];
	uint64_t now = (uint64_t)clock_wall_ms();
	if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r) return err_sys(e, "answer: random numbers");
	for (int i = 0; i < 6; i++) r[i] = (unsigned char)(now >> (40 - 8 * i));
	memcpy(id, "ans_", 4);
	for (size_t i = 0; i < sizeof r; i++) snprintf(id + 4 + 2 * i, 3, "%02x", r[i]);
	return OK;
}

static int question_check(const struct service *s, const struct answer_request *q, struct err *e)
{
	size_t len = strlen(q->question);
	int rc = query_check(q->question, len, "question", e);
	if (rc) return rc;
	size_t n = utf8_count(q->question, len);
	if (n > (size_t)s->conf.question_chars_max)
		return err_set(e, E_USAGE, "question: %zu characters, over answer.question_chars_max (%d)", n, s->conf.question_chars_max);
	return OK;
}

static void abstain(struct answer *a, const char *reason)
{
	a->status = ANSWER_ABSTAINED;
	a->reason = reason;
	a->text = abstain_text(a->plan.language);
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

/* Quotes one unit. */
static int quote(struct citer *c, const struct selection *sel, size_t unit, struct err *e)
{
	const struct unit *u = &sel->units[unit];
	char *line = arena_strndup(c->arena, u->said, u->said_len);
	if (!line) return err_set(e, E_MEMORY, "answer: out of memory");
	cite_plain(line, u->said_len);
	return citer_said(c, line, u->said_len) ? OK : citer_add(c, line, u->said_len, &unit, 1, e);
}

/* Quotes the best unit, of each part of the question; where yes or no is wanted together with what belongs to it. */
static int quote_best(struct citer *c, const struct selection *sel, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; !rc && i < sel->lead_n; i++) {
		size_t best = sel->order[i], beside = select_beside(sel, best);
		if (beside < best) rc = quote(c, sel, beside, e);
		if (!rc) rc = quote(c, sel, best, e);
		if (!rc && beside != (size_t)-1 && beside > best) rc = quote(c, sel, beside, e);
	}
	return rc;
}

static double confidence(const struct answer *a)
{
	if (a->status == ANSWER_ABSTAINED) return 0;
	return a->style == STYLE_GENERATE ? decide_after(&a->evidence) : a->answerable;
}

/* Lets the generator write; the style becomes generate when a sentence of its came through. */
static int generate_style(struct service *s, struct engine *n, const struct answer_request *q, struct citer *c, struct selection *sel, struct err *e)
{
	struct written w;
	struct answer *a = c->answer;
	int rc = write_answer(s, n, q, c, sel, &w, e);
	if (rc) return rc;
	a->evidence.support = w.support;
	if (a->sentence_n) a->style = STYLE_GENERATE;
	if (w.end == WRITE_REFUSED) abstain(a, "the model finds no answer in the passages");
	else if (w.end == WRITE_CUT && a->sentence_n) a->status = ANSWER_PARTIAL, a->reason = "the answer was cut at its token or time limit";
	else if (w.end == WRITE_CUT) a->reason = "the token or time limit came before a sentence was whole; quoted instead";
	else if (w.end == WRITE_NO_ROOM) a->reason = "no passage fits the language model's context beside the question; quoted instead";
	else if (w.end == WRITE_OTHER) a->reason = "the generated answer names something else than the best sentence found; quoted instead";
	else if (!a->sentence_n) a->reason = "no sentence of the generated answer is supported by the passages; quoted instead";
	return OK;
}

static int answer_find(struct service *s, const struct answer_request *q, struct arena *arena, struct answer *out, struct err *e)
{
	size_t k = (size_t)(q->k > 0 ? q->k : q->conf->answer_passages);
	const struct search_want want = { .mode = SEARCH_HYBRID, .k = k, .distinct = 1, .conf = q->conf };
	int rc = retrieve_many(s, &q->reader, out->plan.queries, out->plan.query_n, &want, arena, &out->retrieval, e);
	out->embed_ms = out->retrieval.embed_ms;
	out->search_ms = out->retrieval.search_ms;
	out->rerank_ms = out->retrieval.rerank_ms;
	return rc;
}

/* Nothing to answer from, or too little to be sure of. */
static int is_hopeless(struct answer *out, double floor)
{
	const struct selection *sel = out->selection;
	int found = sel->lead_n > 0;
	out->answerable = found ? decide_before(&out->evidence) : 0;
	if (found && out->answerable >= floor) return 0;
	abstain(out, found ? "what was found does not seem to answer the question" : out->retrieval.n ? "nothing relevant was found" : "no documents were found");
	return 1;
}

static int write_or_quote(struct service *s, struct engine *n, const struct answer_request *q, struct citer *c, struct selection *sel, struct err *e)
{
	struct answer *out = c->answer;
	int rc = n ? generate_style(s, n, q, c, sel, e) : OK;
	if (!rc && out->status == ANSWER_ANSWERED && !out->sentence_n) rc = quote_best(c, sel, e);
	if (out->status == ANSWER_ABSTAINED) {
		buf_clear(&c->text);
		return rc;
	}
	if (!rc) rc = short_take(s, q->question, c, e);
	int rc2 = citer_end(c, rc ? NULL : e);
	return rc ? rc : rc2;
}

static int answer_make(struct service *s, const struct answer_request *q, const struct answer_sink *sink, struct arena *arena, struct answer *out, double began, struct err *e)
{
	struct selection *sel = arena_calloc(arena, 1, sizeof *sel);
	struct engine *n = NULL;
	struct citer c;
	double t0 = clock_ms(), floor = q->conf->answer_confidence;
	int rc = sel ? evidence_read(s, q->question, arena, &out->retrieval, e) : err_set(e, E_MEMORY, "answer: out of memory");
	if (!rc) rc = select_units(s, &out->retrieval, q->question, arena, sel, e);
	if (!rc) rc = followup_yes_no(q->question, strlen(q->question), out->plan.language, arena, &sel->yes_no, e);
	if (!rc && out->plan.part_n > 1) rc = select_lead(sel, &out->retrieval, out->plan.query_part, out->plan.part_n, arena, e);
	out->rerank_ms += clock_ms() - t0;
	if (!rc && q->style == STYLE_GENERATE) rc = service_engine(s, &n, &out->reason, e);
	if (rc) return rc;
	out->selection = sel;
	decide_look(sel, &out->retrieval, &out->evidence);
	int hopeless = is_hopeless(out, n ? floor * JUDGE_SHARE : floor);
	if (!hopeless && n) rc = tier_engine(s, q, out, &n, e);
	if (!rc && !hopeless && n) {
		rc = evidence_judge(s, n, q, out, e);
		hopeless = !rc && is_hopeless(out, floor);
	}
	if (!rc && !hopeless) rc = citer_begin(&c, out, sel, sink, arena, began, e);
	if (!rc && !hopeless) rc = write_or_quote(s, n, q, &c, sel, e);
	if (!rc && out->status == ANSWER_ABSTAINED) abstain_send(out, sink, arena);
	return rc;
}

int answer_run(struct service *s, const struct answer_request *asked, const struct answer_sink *sink, struct arena *a, struct answer *out, struct err *e)
{
	struct answer_request own = *asked, *q = &own;
	struct answer_keys keys;
	double t0 = clock_ms();
	memset(out, 0, sizeof *out);
	if (!q->conf) q->conf = &s->conf;
	out->question = q->question;
	out->text = out->reason = out->model = out->prompt_name = out->experiment = out->arm = out->cached = "";
	out->style = STYLE_EXTRACTIVE;
	out->explain = q->explain;
	int rc = answer_id_make(out->id, e);
	if (!rc) rc = question_check(s, q, e);
	if (!rc) rc = experiments_enter(s->experiments, q, out, a, e);
	if (!rc) rc = plan_make(s, q, a, &out->plan, e);
	if (!rc) q->question = out->plan.question;
	if (!rc) rc = answer_find(s, q, a, out, e);
	if (!rc && sink && sink->passages) sink->passages(sink->ctx, out);
	if (!rc && !answercache_get(s, q, sink, a, out, &keys)) {
		rc = answer_make(s, q, sink, a, out, t0, e);
		out->confidence = confidence(out);
		if (!rc) answercache_put(s, q, out, &keys);
	}
	out->prompt_tokens += out->plan.prompt_tokens;
	out->completion_tokens += out->plan.completion_tokens;
	out->total_ms = clock_ms() - t0;
	if (!rc) answer_remember(s, q, out);
	experiments_count(s->experiments, out, rc);
	if (!rc && q->traffic) gaps_note(s, q, out);
	if (!rc) figures_answer(out);
	return rc;
}

void answer_close(struct answer *a)
{
	retrieve_close(&a->retrieval);
}
