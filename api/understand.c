/* understand.c: a request to a plan (understand.h).
 *
 *   last turn -> the question in it (within.h) -> slips of the keyboard mended (spell.h)
 *   last turn + history -> follow-up? (followup.h) --no--> as asked
 *                              | yes: words carried over; by a model where allowed
 *                          standalone question -> parts? (split.h) -> queries
 *
 * Method: a turn that stands alone is searched as it is. For one that does not, the turn itself and the turn with the words
 * carried over are searched both and their rankings joined by places: a passage that fits the turn alone stays in sight when
 * the wrong words were carried, and one that fits both comes first (tests/eval/mtrag.py measures this against either alone).
 * Parts are searched each; a part that leans on the first ("and when did it close?") gets that one's words.
 * Threads: no state; the model runs in the engine's thread while the caller waits. Failure: without a rewriting from the
 * model the rules' stands. */
#include "api/understand.h"
#include <stdio.h>
#include <string.h>
#include "api/answer.h"
#include "api/followup.h"
#include "api/spell.h"
#include "api/within.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/language.h"
#include "base/log.h"
#include "base/utf8.h"

enum { QUERIES_MAX = 3, SEARCHED_TERMS = 14, SHOWN_TERMS = 6, PART_TERMS = 6, PROMPT_TURN_CHARS = 400, REWRITTEN_CHARS_MAX = 400 };
static const double AROUND = 0.3;     /* of the whole message, beside the question in it */
static const double ENOUGH_WORDS = 3; /* a turn with more words of its own leans less on those carried over */

static size_t chars(const char *text, size_t max)
{
	size_t len = strlen(text), at = 0;
	for (size_t n = 0; at < len && n < max; n++) utf8_next(text, len, &at);
	return at;
}

/* The latest turns, as many as the settings say, empty ones left out. */
static int history_take(const struct answer_request *q, struct arena *a, struct answer_turn **out, size_t *n, struct err *e)
{
	size_t max = (size_t)q->conf->answer_history_turns, from = q->history_n > max ? q->history_n - max : 0;
	*out = arena_alloc(a, (q->history_n + 1) * sizeof **out);
	*n = 0;
	if (!*out) return err_set(e, E_MEMORY, "question: out of memory");
	for (size_t i = from; i < q->history_n; i++) {
		if (!utf8_valid(q->history[i].text, strlen(q->history[i].text)))
			return err_set(e, E_USAGE, "history[%zu]: not valid UTF-8", i);
		if (*q->history[i].text) (*out)[(*n)++] = q->history[i];
	}
	return OK;
}

/* A short turn may not tell its language; then what was said before does. */
static const char *language_take(const struct answer_request *q, const struct answer_turn *turns, size_t n, struct arena *a)
{
	size_t len = strlen(q->question);
	const char *code = language_of(q->question, len), *both = NULL;
	if (strcmp(code, "en") != 0 || chars(q->question, 40) < len) return code;
	while (n > 0 && strcmp(turns[n - 1].role, "user") != 0) n--;
	if (n > 0) both = arena_printf(a, "%s %.*s", q->question, (int)chars(turns[n - 1].text, 300), turns[n - 1].text);
	return both ? language_of(both, strlen(both)) : code;
}

/* ---- rewriting by the model ---- */
static const char *conversation(const struct answer_turn *turns, size_t n, struct arena *a)
{
	enum { TURNS = 4 };
	const char *text = "";
	for (size_t i = n > TURNS ? n - TURNS : 0; text && i < n; i++)
		text = arena_printf(a, "%s%s: %.*s%s", text, strcmp(turns[i].role, "user") == 0 ? "User" : "Assistant",
			(int)chars(turns[i].text, PROMPT_TURN_CHARS), turns[i].text, i + 1 < n ? "\n" : "");
	return text;
}

/* The first line that was written, without quotation marks around it; NULL: none. */
static const char *line_take(const char *text, struct arena *a)
{
	size_t len;
	while (*text && strchr(" \t\r\n\"", *text)) text++;
	len = strcspn(text, "\r\n");
	while (len && strchr(" \t\"", text[len - 1])) len--;
	return len ? arena_strndup(a, text, len) : NULL;
}

/* Is it the same question, in words of the conversation? */
static int acceptable(const char *line, const struct answer_request *q, const struct answer_turn *turns, size_t n, const char *language,
	struct arena *a, int *ok, struct err *e)
{
	int keeps = 0, covers = 0, rc = OK;
	*ok = 0;
	if (!line || chars(line, REWRITTEN_CHARS_MAX) < strlen(line) || !utf8_valid(line, strlen(line))) return OK;
	rc = followup_keeps(line, q->question, language, a, &keeps, e);
	if (!rc && keeps) rc = followup_covers(line, q->question, turns, n, language, a, &covers, e);
	*ok = !rc && keeps && covers && strncmp(q->question, line, strlen(line)) != 0;
	return rc;
}

static int prompt_make(struct service *s, const struct engine *n, const struct answer_request *q, const struct answer_turn *turns, size_t turn_n,
	struct arena *a, struct tokens *t, struct err *e)
{
	const struct prompt_template *tpl;
	struct chat_message *m;
	size_t m_n;
	const char *said = conversation(turns, turn_n, a);
	int rc = said ? prompts_find(s->prompts, "rewrite", &tpl, e) : err_set(e, E_MEMORY, "question: out of memory");
	if (rc) return rc;
	const struct prompt_value v[] = { { "conversation", said, strlen(said) }, { "question", q->question, strlen(q->question) } };
	rc = prompt_fill(tpl, v, sizeof v / sizeof *v, a, &m, &m_n, e);
	return rc ? rc : generator_chat(engine_generator(n), m, m_n, 1, t, e);
}

/* *line: what the model made of it, NULL when nothing that may be used. A model that is busy, late or broken is no error
 * here: whoever answers will say so. */
static int model_rewrite(struct service *s, const struct answer_request *q, const struct answer_turn *turns, size_t turn_n, struct arena *a,
	struct plan *out, const char **line, struct err *e)
{
	static const char *const stops[] = { "\n", NULL };
	struct engine *n;
	struct tokens prompt = { 0 };
	struct gen_params p;
	struct gen_result r = { 0 };
	struct err why = { 0 };
	const char *none;
	int ok = 0, rc = service_engine(s, &n, &none, &why);
	*line = NULL;
	if (rc || !n) return OK;
	gen_params_default(&p);
	p.max_tokens = q->conf->answer_rewrite_tokens;
	p.stops = stops;
	p.patient = q->patient;
	uint64_t deadline = q->patient ? 0 : clock_us() + (uint64_t)(q->conf->answer_rewrite_s * 1e6);
	rc = prompt_make(s, n, q, turns, turn_n, a, &prompt, &why);
	if (!rc) rc = engine_generate(n, prompt.ids, prompt.n, &p, NULL, NULL, NULL, q->cancel, deadline, &r, &why);
	out->prompt_tokens = r.prompt_tokens;
	out->completion_tokens = r.completion_tokens;
	if (!rc && r.finish == GEN_END_STOP) *line = line_take(buf_cstr(&r.text), a);
	if (rc && rc != E_CANCELLED) log_put(LOG_INFO, "answer", "question not rewritten: %s", why.msg);
	buf_clear(&r.text);
	tokens_clear(&prompt);
	if (flag_is(q->cancel)) return err_set(e, E_CANCELLED, "answer: cancelled");
	rc = acceptable(*line, q, turns, turn_n, out->language, a, &ok, e);
	if (!ok) *line = NULL;
	return rc;
}

/* ---- queries ---- */
static void query_add(struct plan *p, const char *text, const char *read, int part, int group)
{
	for (size_t i = 0; i < p->query_n; i++)
		if (strcmp(p->queries[i].text, text) == 0) return;
	if (p->query_n == QUERIES_MAX) return;
	p->query_part[p->query_n] = part;
	p->queries[p->query_n++] = (struct retrieve_query){ text, strlen(text), 1, group, read };
}

static const char *text_join(struct arena *a, const char *text, const char *terms)
{
	return *terms ? arena_printf(a, "%s %s", text, terms) : text;
}

/* The parts, each with the words that it takes from the first or from the conversation. */
static int parts_take(const struct answer_request *q, const struct span *at, size_t n, const char *carried, struct arena *a, struct plan *out,
	struct err *e)
{
	out->part_n = n;
	for (size_t i = 0; i < n; i++) {
		const char *text = arena_strndup(a, q->question + at[i].off, at[i].len), *terms = carried, *search;
		enum followup needs = FOLLOWUP_NONE;
		int rc = text ? OK : err_set(e, E_MEMORY, "question: out of memory");
		if (!rc && i) rc = followup_of_part(text, at[i].len, out->language, a, &needs, e);
		if (!rc && needs != FOLLOWUP_NONE) {
			const struct answer_turn first = { "user", out->parts[0] };
			rc = followup_terms(text, &first, 1, out->language, PART_TERMS, a, &terms, e);
		}
		if (rc) return rc;
		search = text_join(a, text, terms);
		out->parts[i] = *terms ? arena_printf(a, "%s (%s)", text, terms) : text;
		if (!search || !out->parts[i]) return err_set(e, E_MEMORY, "question: out of memory");
		query_add(out, search, out->parts[i], (int)i, (int)i);
	}
	return OK;
}

/* "The difference between A and B": both sides beside the whole. */
static int sides_take(const char *question, struct arena *a, struct plan *out, struct err *e)
{
	struct span side[2];
	int found, rc = parts_sides(question, strlen(question), out->language, a, side, &found, e);
	for (int i = 0; !rc && found && i < 2; i++) {
		const char *text = arena_strndup(a, question + side[i].off, side[i].len);
		if (!text) return err_set(e, E_MEMORY, "question: out of memory");
		query_add(out, text, question, -1, 1 + i);
	}
	return rc;
}

/* Standalone by rules: with the words carried over behind it. */
static int by_rules(const struct answer_request *q, const struct answer_turn *turns, size_t n, struct arena *a, struct plan *out,
	const char **carried, struct err *e)
{
	const char *shown, *swapped;
	int rc = followup_swap(q->question, turns, n, out->language, a, &swapped, e);
	if (!rc && *swapped) {                                       /* nothing of the old subject is carried */
		out->question = swapped;
		out->rewritten_by = "rules";
		return OK;
	}
	if (!rc) rc = followup_terms(q->question, turns, n, out->language, SEARCHED_TERMS, a, carried, e);
	if (!rc) rc = followup_terms(q->question, turns, n, out->language, SHOWN_TERMS, a, &shown, e);
	if (rc || !*shown) return rc;
	out->question = arena_printf(a, "%s (%s)", q->question, shown);
	out->rewritten_by = "rules";
	return out->question ? OK : err_set(e, E_MEMORY, "question: out of memory");
}

/* The turn with what is carried over, beside the turn alone; the less it says itself, the more that counts. */
static int carried_add(const struct answer_request *q, const char *carried, struct arena *a, struct plan *out, struct err *e)
{
	const char *search = text_join(a, q->question, carried);
	size_t own, before = out->query_n;
	int rc = search ? followup_content(q->question, strlen(q->question), out->language, a, &own, e) : err_set(e, E_MEMORY, "question: out of memory");
	if (rc) return rc;
	query_add(out, search, out->question, 0, 0);
	if (out->query_n > before && (double)own > ENOUGH_WORDS) out->queries[before].weight = ENOUGH_WORDS / (double)own;
	return OK;
}

static int plan_fill(struct service *s, const struct answer_request *q, struct arena *a, struct plan *out, struct err *e)
{
	struct answer_turn *turns;
	struct span at[QUESTION_PARTS_MAX];
	enum followup needs = FOLLOWUP_NONE;
	const char *carried = "", *line = NULL;
	size_t n, parts;
	int rc = history_take(q, a, &turns, &n, e);
	if (rc) return rc;
	out->language = language_take(q, turns, n, a);
	if (n) rc = followup_of(q->question, strlen(q->question), out->language, a, &needs, e);
	if (!rc && needs != FOLLOWUP_NONE && strcmp(q->conf->answer_rewrite, "none") != 0) {
		rc = by_rules(q, turns, n, a, out, &carried, e);
		if (!rc && q->style == STYLE_GENERATE && strcmp(q->conf->answer_rewrite, "model") == 0 && (*carried || out->question == q->question))
			rc = model_rewrite(s, q, turns, n, a, out, &line, e);
	}
	if (!rc) rc = parts_split(q->question, strlen(q->question), out->language, a, at, &parts, e);
	if (rc) return rc;
	if (parts > 1) return parts_take(q, at, parts, carried, a, out, e);
	if (line) {
		out->question = line;
		out->rewritten_by = "model";
	}
	query_add(out, q->question, out->question, 0, 0);
	if (!*carried && out->question != q->question) query_add(out, out->question, out->question, 0, 0);
	if (*carried) rc = carried_add(q, carried, a, out, e);
	if (rc) return rc;
	if (line) query_add(out, line, line, 0, 0);
	return sides_take(q->question, a, out, e);
}

int plan_make(struct service *s, const struct answer_request *asked, struct arena *a, struct plan *out, struct err *e)
{
	struct answer_request q = *asked;
	double t0 = clock_ms();
	memset(out, 0, sizeof *out);
	out->language = "en";
	out->rewritten_by = "none";
	int around = 0, rc = within_take(q.question, language_of(q.question, strlen(q.question)), a, &q.question, &around, e);
	if (!rc && q.conf->answer_spelling) rc = spell_read(s, &q.reader, q.question, a, &q.question, e);
	out->read_as = out->question = q.question;
	if (!rc) rc = plan_fill(s, &q, a, out, e);
	if (!rc && around && out->query_n == 1) {       /* "I live in Lund. How do I …": the place tells between documents */
		query_add(out, asked->question, out->question, 0, 0);
		out->queries[out->query_n - 1].weight = AROUND;
	}
	if (!rc && out->part_n == 0) out->parts[out->part_n++] = out->question;
	out->ms = clock_ms() - t0;
	return rc;
}
