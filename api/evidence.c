/* evidence.c: who is asked before anything is written (evidence.h).
 *
 * The search has its first passages read by the reader model where it orders them anew; what lies behind is read here. The
 * generator is shown the best unit with the sentence before it (a table's row alone) and not the whole prompt: its "yes" tells
 * most of an answer's being there when it has little else to look at (EVALUATION.md).
 * Threads: the caller's. Failure: what does not fit the generator's context goes without its judgement. */
#include "api/evidence.h"
#include <string.h>
#include "api/judge.h"
#include "api/rerank.h"
#include "base/clock.h"

enum { JUDGE_BEFORE = 1 }; /* sentences shown in front of the one that is judged */

int evidence_read(struct service *s, const char *question, struct arena *arena, struct retrieval *r, struct err *e)
{
	struct reader_model *m = NULL;
	const char *why;
	size_t n = 0;
	struct reader_pair *pairs = arena_calloc(arena, r->n + 1, sizeof *pairs);
	struct reader_reading *readings = arena_calloc(arena, r->n + 1, sizeof *readings);
	if (!pairs || !readings) return err_set(e, E_MEMORY, "answer: out of memory");
	int rc = rerank_reads(question, strlen(question)) ? service_reader(s, &m, &why, e) : OK;
	if (rc || !m) return rc;
	for (size_t i = 0; i < r->n; i++) {
		const struct passage *p = &r->passages[i];
		if (!p->reading) pairs[n++] = (struct reader_pair){ question, strlen(question), p->doc.title, strlen(p->doc.title), p->text, p->text_len };
	}
	rc = n ? reader_read(m, pairs, n, readings, e) : OK;
	for (size_t i = 0; !rc && i < r->n; i++)
		if (!r->passages[i].reading) r->passages[i].reading = readings++;
	return rc;
}

/* Unit u with up to `before` sentences of its passage in front, as they stand there: who "he" is, what "this" was. */
static struct span with_before(const struct selection *sel, size_t u, size_t before)
{
	size_t from = u;
	for (size_t i = 0; i < before && from > 0 && sel->units[from - 1].passage == sel->units[u].passage; i++) from--;
	return (struct span){ sel->units[from].range.off, sel->units[u].range.off + sel->units[u].range.len - sel->units[from].range.off };
}

int evidence_judge(struct service *s, struct engine *n, const struct answer_request *q, struct answer *a, struct err *e)
{
	const struct selection *sel = a->selection;
	const struct unit *u = &sel->units[sel->order[0]];
	const struct passage *p = &a->retrieval.passages[u->passage];
	int row = u->row && u->row->named;
	uint64_t deadline = q->patient ? 0 : clock_us() + (uint64_t)(q->conf->answer_deadline_s * 1e6);
	const char *title = p->chunk.heading[0] ? p->chunk.heading : p->doc.title; /* a heading begins with the title, or names the part */
	size_t tokens = 0;
	double t0 = clock_ms();
	struct judge_scale scale;
	int rc = E_LIMIT;
	if (!decide_judge(q->conf, generator_info(engine_generator(n))->name, &scale)) return OK;
	for (size_t more = row ? 1 : JUDGE_BEFORE + 1; rc == E_LIMIT && more-- > 0;) {
		struct span r = with_before(sel, sel->order[0], more);
		const char *text = row ? u->said : p->text + (r.off - p->chunk.range.off);
		rc = judge_answerable(s, n, q->question, title, text, row ? u->said_len : r.len, q->cancel, deadline,
			&a->evidence.judge, &tokens, e);
	}
	a->judge_ms = clock_ms() - t0;
	a->prompt_tokens += tokens;
	a->evidence.judged = !rc;
	if (!rc) a->evidence.judge = a->evidence.judge * scale.scale + scale.shift;
	return rc == E_LIMIT ? OK : rc;
}
