/* short.c: the core of an answer (short.h).
 *
 * The reader model's span of a cited sentence, as it saw it in its passage: of several the one that it is surest of and that
 * the answer repeats; where it saw none there, as it sees it in the sentence alone. Without the model, or where the answer
 * says nothing of that span: the longest run of the sentence's words that the answer repeats and the question does not hold.
 * Threads: none of its own. Failure: the answer keeps having no short one. */
#include "api/short.h"
#include <math.h>
#include <string.h>

static const double REPEATED = 4; /* logits that the answer's repeating a span is worth */

static size_t unit_of(const struct selection *sel, const struct answer *a, const struct answer_citation *k)
{
	uint64_t doc = a->retrieval.passages[k->passage].doc.key;
	for (size_t u = 0; u < sel->unit_n; u++) {
		const struct unit *x = &sel->units[u];
		if (x->range.off == k->range.off && x->range.len == k->range.len && a->retrieval.passages[x->passage].doc.key == doc) return u;
	}
	return (size_t)-1;
}

static void take(struct answer *a, size_t passage, struct span span)
{
	a->has_short = 1;
	cite_range(a, passage, span, &a->short_answer);
}

/* The reader's answer in a unit read alone. */
static int read_alone(struct service *s, const char *question, const struct selection *sel, size_t u, struct answer *a, struct err *e)
{
	const struct unit *x = &sel->units[u];
	const char *title = a->retrieval.passages[x->passage].doc.title, *why;
	struct reader_pair pair = { question, strlen(question), title, strlen(title), x->text, x->len };
	struct reader_reading r;
	struct reader_model *m;
	int rc = service_reader(s, &m, &why, e);
	if (rc || !m) return rc;
	rc = reader_read(m, &pair, 1, &r, e);
	if (!rc && r.spans_n)
		take(a, x->passage, (struct span){ x->range.off + (uint32_t)r.spans[0].from, (uint32_t)(r.spans[0].to - r.spans[0].from) });
	return rc;
}

/* Runs of unit words that the claim repeats and the question does not hold; function words may stand inside a run. */
int short_by_words(const struct selection *sel, const struct word *written, size_t n, size_t u, struct span *out)
{
	const struct unit *x = &sel->units[u];
	double best = 0, sum = 0;
	size_t first = 0, last = 0, open = 0;
	for (size_t i = 0; i <= x->word_n; i++) {
		const struct word *w = i < x->word_n ? &x->words[i] : NULL;
		int asked = w && words_have(sel->question, sel->question_n, w->stem);
		int told = w && !asked && words_have(written, n, w->stem);
		if (told && !w->stop) {
			if (!open) first = i;
			open = 1;
			last = i;
			sum += select_weight(sel, w);
		} else if (open && !(told && w->stop)) {
			if (sum > best) {
				best = sum;
				size_t from = x->words[first].off, to = x->words[last].off + x->words[last].len;
				*out = (struct span){ x->range.off + (uint32_t)from, (uint32_t)(to - from) };
			}
			open = 0;
			sum = 0;
		}
	}
	return best > 0;
}

/* The share of a span's content words that were written, 0 … 1; < 0: it has none. */
static double repeated(const struct answer *a, const struct unit *x, struct span span, const struct word *written, size_t n,
	struct arena *arena, struct err *e)
{
	struct word *w;
	size_t have = 0, all = 0, m;
	const struct passage *p = &a->retrieval.passages[x->passage];
	if (words_of(p->text + (span.off - p->chunk.range.off), span.len, arena, &w, &m, e)) return -1;
	for (size_t i = 0; i < m; i++) {
		all += !w[i].stop;
		have += !w[i].stop && words_have(written, n, w[i].stem);
	}
	return all ? (double)have / (double)all : -1;
}

/* The cited unit that the reader is surest of, or the first. */
static size_t unit_cited(const struct citer *c, const struct answer_sentence *s)
{
	size_t best = (size_t)-1;
	for (int i = 0; i < s->citation_n; i++) {
		size_t u = unit_of(c->sel, c->answer, &c->answer->citations[s->citations[i] - 1]);
		if (u == (size_t)-1) continue;
		const struct unit *x = &c->sel->units[u], *y = best == (size_t)-1 ? NULL : &c->sel->units[best];
		if (!y || (x->answer_n && (!y->answer_n || x->answers[0].logit > y->answers[0].logit))) best = u;
	}
	return best;
}

int short_take(struct service *s, const char *question, struct citer *c, struct err *e)
{
	struct answer *a = c->answer;
	const struct answer_sentence *first = a->sentences;
	size_t u = a->sentence_n ? unit_cited(c, first) : (size_t)-1, n, best = 0;
	double high = -INFINITY, told = -1;
	struct span span;
	struct word *w;
	if (u == (size_t)-1) return OK;
	const struct unit *x = &c->sel->units[u];
	if (!x->answer_n && c->sel->read) return read_alone(s, question, c->sel, u, a, e);
	int rc = words_of(c->text.data + first->start, first->end - first->start, c->arena, &w, &n, e);
	for (size_t i = 0; !rc && i < x->answer_n; i++) {
		double share = repeated(a, x, x->answers[i].range, w, n, c->arena, e), score = x->answers[i].logit + REPEATED * fmax(share, 0);
		if (score <= high) continue;
		high = score;
		told = share;
		best = i;
	}
	int contradicted = x->answer_n && told == 0; /* the answer says none of it */
	if (!rc && (!x->answer_n || contradicted) && short_by_words(c->sel, w, n, u, &span)) take(a, x->passage, span);
	else if (!rc && x->answer_n) take(a, x->passage, x->answers[best].range);
	return rc;
}
