/* short.c: the core of an answer (short.h).
 *
 * The reader model's span of a cited sentence, as it saw it in its passage; where it saw none there, as it sees it in the
 * sentence alone. Without the model: the longest run of the sentence's words that the answer repeats and the question
 * does not hold.
 * Threads: none of its own. Failure: the answer keeps having no short one. */
#include "api/short.h"
#include <string.h>

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

int short_take(struct service *s, const char *question, struct citer *c, struct err *e)
{
	struct answer *a = c->answer;
	const struct answer_sentence *first = a->sentences;
	size_t u = (size_t)-1, n;
	struct span span;
	struct word *w;
	if (!a->sentence_n || !first->citation_n) return OK;
	for (int i = 0; i < first->citation_n; i++) {
		size_t v = unit_of(c->sel, a, &a->citations[first->citations[i] - 1]);
		int better = v != (size_t)-1 && c->sel->units[v].answer.len && (u == (size_t)-1 || !c->sel->units[u].answer.len ||
			c->sel->units[v].span > c->sel->units[u].span);
		if (better || u == (size_t)-1) u = v;
	}
	if (u == (size_t)-1) return OK;
	const struct unit *x = &c->sel->units[u];
	if (x->answer.len) {
		take(a, x->passage, x->answer);
		return OK;
	}
	if (c->sel->read) return read_alone(s, question, c->sel, u, a, e);
	int rc = words_of(c->text.data + first->start, first->end - first->start, c->arena, &w, &n, e);
	if (!rc && short_by_words(c->sel, w, n, u, &span)) take(a, x->passage, span);
	return rc;
}
