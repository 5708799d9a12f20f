/* short.c: the core of an answer (short.h).
 *
 * The reader model's span of a cited sentence, as it saw it in its passage: of several the one that it is surest of and that
 * the answer repeats; where it saw none there, as it sees it in the sentence alone. Without the model, or where the answer
 * says nothing of that span: the longest run of the sentence's words that the answer repeats and the question does not hold.
 * Of a table's row it is one cell: that under the name that the question has, or that the answer tells. What is asked for a yes
 * or a no has a short answer only where the document says one of them.
 * Threads: none of its own. Failure: the answer keeps having no short one. */
#include "api/short.h"
#include <math.h>
#include <string.h>
#include <strings.h>

static const double REPEATED = 4; /* logits that the answer's repeating a span is worth */
static const double LIKE_MARGIN = 0.03; /* cosine by which a column's name is nearer to the question than the next */

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

/* ---- a row of a table ---- */

/* The weighted share of the words of text[at] that stand in the sentence that was written. */
static double told(const struct selection *sel, const char *text, struct span at, const struct word *written, size_t n, struct arena *arena,
	double *asked, struct err *e)
{
	struct word *w;
	size_t m;
	double all = 0, have = 0;
	*asked = 0;
	if (words_of(text + at.off, at.len, arena, &w, &m, e)) return 0;
	for (size_t i = 0; i < m; i++) {
		double weight = w[i].stop ? 0.1 : 1;
		all += weight;
		if (words_have(written, n, w[i].stem)) have += weight;
		if (words_have(sel->question, sel->question_n, w[i].stem)) *asked += w[i].stop ? 0 : 1;
	}
	*asked = all > 0 ? *asked / all : 0;
	return all > 0 ? have / all : 0;
}

/* Of n columns that the question names by no word of theirs ("cost": "Price in EUR") the one whose name means most like it;
 * -1: none stands out. Errors of the embedder. */
static int column_like(const struct citer *c, const struct unit *x, const size_t *cells, size_t n, int *best, struct err *e)
{
	const struct retrieval *r = &c->answer->retrieval;
	const struct passage *p = &r->passages[x->passage];
	const char *text = p->text - p->chunk.range.off;
	struct embed_text names[TABLE_COLUMNS_MAX];
	float *v = arena_alloc(c->arena, (n + 1) * (size_t)c->sel->dim * sizeof *v);
	double first = -1, second = -1;
	*best = -1;
	if (!v) return err_set(e, E_MEMORY, "answer: out of memory");
	if (!r->query || n < 2 || !x->row->named) return OK;
	for (size_t i = 0; i < n; i++) names[i] = (struct embed_text){ text + x->row->cells[cells[i]].name.off, x->row->cells[cells[i]].name.len };
	int rc = embedder_encode(c->sel->embedder, names, n, EMBED_PASSAGE, EMBED_FIRST, v, e);
	for (size_t i = 0; !rc && i < n; i++) {
		double like = select_cosine(c->sel, v + i * (size_t)c->sel->dim, r->query);
		if (like > first) second = first, first = like, *best = (int)cells[i];
		else if (like > second) second = like;
	}
	if (first - second < LIKE_MARGIN) *best = -1;
	return rc;
}

/* The cell that answers: of those that the sentence tells and the question lacks the one whose column it names most, or the only
 * one, or whose column means what is asked, or where the reader sees the answer; len 0: none. */
static int cell_take(const struct citer *c, const struct unit *x, const struct word *written, size_t n, struct span *out, struct err *e)
{
	const char *text = c->answer->retrieval.passages[x->passage].text - c->answer->retrieval.passages[x->passage].chunk.range.off;
	double high = 0, asked, named;
	size_t best = (size_t)-1, tied = 0, some = 0, open[TABLE_COLUMNS_MAX];
	int like = -1, rc = OK;
	for (size_t i = 0; i < x->row->cell_n; i++) {
		const struct table_cell *k = &x->row->cells[i];
		if (!k->value.len || told(c->sel, text, k->value, written, n, c->arena, &asked, e) < 0.99 || asked > 0.5) continue;
		(void)told(c->sel, text, k->name, written, n, c->arena, &named, e);
		open[some++] = i;
		if (named > 0 && named == high) tied++;
		if (named <= high) continue;
		high = named;
		best = i;
		tied = 0;
	}
	int seen = x->answer_n ? table_cell_at(x->row, x->answers[0].range.off, 0) : -1;
	if (best == (size_t)-1 && some > 1) rc = column_like(c, x, open, some, &like, e);
	*out = seen >= 0 ? x->answers[0].range : (struct span){ 0, 0 };
	if (best != (size_t)-1 && !tied) *out = x->row->cells[best].value;
	else if (some == 1) *out = x->row->cells[open[0]].value;
	else if (like >= 0) *out = x->row->cells[like].value;
	return rc;
}

/* ---- yes or no ---- */
static int says_yes_no(const char *text, size_t len)
{
	static const char *const words[] = { "yes", "no", "ja", "nein", "sí", "oui", "non" };
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strlen(words[i]) == len && strncasecmp(text, words[i], len) == 0) return 1;
	return 0;
}

/* The "yes" or "no" of the unit: the word it begins with, or what stands in the cell that is asked for; len 0: it says neither. */
static struct span yes_no_take(const struct unit *x, struct span cell)
{
	struct span at = x->row ? cell : (struct span){ x->range.off, x->word_n ? x->words[0].len : 0 };
	size_t from = at.off - x->range.off;
	int fits = x->row ? at.len > 0 : x->word_n > 0 && x->words[0].off == 0 && at.len < x->len && strchr(",.:;! ", x->text[at.len]) != NULL;
	if (!fits || from + at.len > x->len || !says_yes_no(x->text + from, at.len)) return (struct span){ 0, 0 };
	return at;
}

/* Of a row, or where a yes or a no was asked for; 1: that is decided, with or without a short answer. */
static int take_plain(const struct citer *c, const struct unit *x, const struct word *written, size_t n,
	int *decided, struct err *e)
{
	struct span span = { 0, 0 };
	int yes_no = c->sel->yes_no, rc = OK;
	*decided = yes_no || x->row;
	if (x->row) rc = cell_take(c, x, written, n, &span, e);
	if (rc) return rc;
	if (yes_no) span = yes_no_take(x, span);
	if (span.len) take(c->answer, x->passage, span);
	return OK;
}

int short_take(struct service *s, const char *question, struct citer *c, struct err *e)
{
	struct answer *a = c->answer;
	const struct answer_sentence *first = a->sentences;
	size_t u = a->sentence_n ? unit_cited(c, first) : (size_t)-1, n, best = 0;
	int decided = 0;
	double high = -INFINITY, told = -1;
	struct span span;
	struct word *w;
	if (u == (size_t)-1) return OK;
	const struct unit *x = &c->sel->units[u];
	int rc = words_of(c->text.data + first->start, first->end - first->start, c->arena, &w, &n, e);
	if (!rc) rc = take_plain(c, x, w, n, &decided, e);
	if (rc || decided) return rc;
	if (!x->answer_n && c->sel->read) return read_alone(s, question, c->sel, u, a, e);
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
