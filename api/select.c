/* select.c: scoring and choosing sentences (select.h).
 *
 * A unit's score is linear in what is known of it: its cosine to the question, the share of the question's content words
 * that it, its passage's title and heading hold (weighted by rarity among the units, in the manner of BM25's idf), its
 * passage's own cosine, and what the reader model says: how relevant the passage is, whether it answers the question, and
 * whether the answer lies in this very unit. The weights are those of a conditional logit (tests/eval/fit_confidence.py):
 * of a question's units, which holds the answer? Choosing is greedy: the best unit first, each together with its
 * neighbours, because small models read a sentence better with the one before it; a unit that would pass the budget is
 * left out.
 * Threads: the caller's. Failure: memory and the embedder. */
#include "api/select.h"
#include "api/orders.h"
#include "api/rerank.h"
#include "api/rows.h"
#include "api/version.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PASSAGES_MAX = 9, HEADER_TOKENS = 12, BESIDE = 2 };
static const double BESIDE_SHARE = 0.25; /* of the question's words, by weight */
static const double LOGIT_MAX = 8; /* beyond it a logit says no more */
/* Weights of what units are scored by. */
static const struct weights { double cosine, coverage, passage, has, span, answerable, relevance; } read_weights =
	{ .cosine = 1.23, .coverage = 2.26, .passage = 0.39, .has = 2.58, .span = 0.33, .answerable = 1.03, .relevance = 0.16 },
	plain_weights = { .cosine = 3.57, .coverage = 6.23, .passage = 1.99 };

static struct word_weight *weight_slot(const struct selection *sel, uint64_t stem)
{
	size_t i = (size_t)(stem ^ stem >> 29) & (sel->weight_n - 1);
	while (sel->weights[i].df && sel->weights[i].stem != stem) i = (i + 1) & (sel->weight_n - 1);
	return &sel->weights[i];
}

double select_weight(const struct selection *sel, const struct word *w)
{
	if (w->stop) return 0;
	const struct word_weight *s = weight_slot(sel, w->stem);
	return s->df ? s->weight : log(1.0 + (double)sel->unit_n + 1.0);
}

/* Document frequencies over the units, open addressing at most half full. */
static int weights_make(struct selection *sel, struct arena *a, struct err *e)
{
	size_t words = 0;
	for (size_t u = 0; u < sel->unit_n; u++) words += sel->units[u].word_n;
	for (sel->weight_n = 64; sel->weight_n < 2 * words; sel->weight_n *= 2) continue;
	sel->weights = arena_calloc(a, sel->weight_n, sizeof *sel->weights);
	if (!sel->weights) return err_set(e, E_MEMORY, "answer: out of memory");
	for (size_t u = 0; u < sel->unit_n; u++) {
		for (size_t i = 0; i < sel->units[u].word_n; i++) {
			struct word_weight *s = weight_slot(sel, sel->units[u].words[i].stem);
			s->stem = sel->units[u].words[i].stem;
			if (s->last != u + 1) s->df++;
			s->last = (uint32_t)u + 1;
		}
	}
	for (size_t i = 0; i < sel->weight_n; i++)
		if (sel->weights[i].df) sel->weights[i].weight = log(1.0 + (double)sel->unit_n / sel->weights[i].df);
	return OK;
}

/* A sentence of an overlapping chunk of the same document may be there already. */
static int unit_known(const struct selection *sel, const struct retrieval *r, size_t passage, struct span range)
{
	for (size_t i = 0; i < sel->unit_n; i++) {
		const struct unit *u = &sel->units[i];
		if (u->range.off == range.off && r->passages[u->passage].doc.key == r->passages[passage].doc.key) return 1;
	}
	return 0;
}

int select_has(const struct unit *u, uint64_t stem)
{
	return words_have(u->words, u->word_n, stem) || words_have(u->names, u->name_n, stem);
}

/* Where the unit is a table's row: as that is said, with the words that name its columns. */
static int unit_row(const struct passage *p, struct arena *a, struct unit *u, struct err *e)
{
	struct table_row row;
	const char *text = p->text - p->chunk.range.off;
	struct buf names;
	struct word *w;
	if (!table_row(text, p->doc.text_len, u->range, &row)) return OK;
	buf_init(&names, 1 << 16);
	u->row = arena_alloc(a, sizeof *u->row);
	if (u->row) *u->row = row;
	u->said = u->row ? table_said(text, u->row, a) : NULL;
	for (size_t i = 0; i < row.cell_n; i++) {
		struct span name = row.cells[i].name;
		if (name.off >= u->range.off && name.off < u->range.off + u->range.len) continue; /* among the unit's own words */
		(void)buf_put(&names, text + name.off, name.len);
		(void)buf_putc(&names, ' ');
	}
	const char *all = buf_failed(&names) ? "" : arena_strndup(a, buf_cstr(&names), names.len);
	buf_clear(&names);
	if (!u->said || !all) return err_set(e, E_MEMORY, "answer: out of memory");
	u->said_len = strlen(u->said);
	u->mute = row.is_head;
	int rc = words_of(all, strlen(all), a, &w, &u->name_n, e);
	u->names = w;
	return rc;
}

static int units_collect(const struct retrieval *r, int screen, struct arena *a, struct selection *sel, struct err *e)
{
	size_t cap = 0;
	for (size_t p = 0; p < r->n; p++) cap += r->passages[p].chunk.sentence_n;
	sel->units = arena_calloc(a, cap + 1, sizeof *sel->units);
	if (!sel->units) return err_set(e, E_MEMORY, "answer: out of memory");
	for (size_t p = 0; p < r->n; p++) {
		const struct passage *q = &r->passages[p];
		for (uint32_t i = 0; i < q->chunk.sentence_n; i++) {
			struct span s = q->chunk.sentences[i];
			if (unit_known(sel, r, p, s)) continue;
			if (screen && orders_machine(q->text + (s.off - q->chunk.range.off), s.len)) continue;
			struct unit *u = &sel->units[sel->unit_n];
			*u = (struct unit){ .passage = p, .range = s, .text = q->text + (s.off - q->chunk.range.off), .len = s.len };
			struct word *w;
			int rc = words_of(u->text, u->len, a, &w, &u->word_n, e);
			if (rc) return rc;
			u->words = w;
			u->said = u->text;
			u->said_len = u->len;
			u->mute = u->text[u->len - 1] == '?';
			if (u->word_n && (rc = unit_row(q, a, u, e))) return rc;
			if (u->word_n) sel->unit_n++;
		}
	}
	return OK;
}

static int units_embed(struct service *s, const struct retrieval *r, struct arena *a, struct selection *sel, struct err *e)
{
	int rc = service_embedder_of(s, r->snapshot, &sel->embedder, e);
	if (rc || sel->unit_n == 0) return rc;
	sel->dim = embedder_info(sel->embedder)->dim;
	struct embed_text *t = arena_alloc(a, sel->unit_n * sizeof *t);
	float *v = arena_alloc(a, sel->unit_n * (size_t)sel->dim * sizeof *v);
	if (!t || !v) return err_set(e, E_MEMORY, "answer: out of memory");
	for (size_t i = 0; i < sel->unit_n; i++) {
		t[i] = (struct embed_text){ sel->units[i].said, sel->units[i].said_len };
		sel->units[i].vec = v + i * (size_t)sel->dim;
	}
	return embedder_encode(sel->embedder, t, sel->unit_n, EMBED_PASSAGE, EMBED_FIRST, v, e);
}

double select_cosine(const struct selection *sel, const float *x, const float *y)
{
	double sum = 0;
	for (int i = 0; i < sel->dim; i++) sum += (double)x[i] * y[i];
	return sum;
}

/* Rarity-weighted share of the question's words in a unit; words of title and heading count half. */
static double coverage(const struct selection *sel, const struct unit *u, const struct word *around, size_t around_n)
{
	double all = 0, have = 0;
	for (size_t i = 0; i < sel->question_n; i++) {
		double w = select_weight(sel, &sel->question[i]);
		all += w;
		if (select_has(u, sel->question[i].stem)) have += w;
		else if (words_have(around, around_n, sel->question[i].stem)) have += w / 2;
	}
	return all > 0 ? have / all : 0;
}

/* An answer without the signs around it that do not belong to it, and with the bracket that closes one of its own. text: of the
 * document from `from` on, `end` bytes of it in the unit. */
static size_t answer_tidy(const char *text, size_t len, size_t end)
{
	long open = 0;
	while (len && strchr(".,;:!?\"'(", text[len - 1])) len--;
	for (size_t i = 0; i < len; i++) open += (text[i] == '(') - (text[i] == ')');
	if (open == 1 && len < end && text[len] == ')') len++;
	return len;
}

/* Gives each unit the reader's answers that begin in it. */
static void answers_place(const struct retrieval *r, struct selection *sel)
{
	for (size_t i = 0; i < sel->unit_n; i++) {
		struct unit *u = &sel->units[i];
		const struct passage *p = &r->passages[u->passage];
		for (size_t k = 0; p->reading && k < p->reading->spans_n; k++) {
			const struct reader_span *x = &p->reading->spans[k];
			size_t from = p->chunk.range.off + x->from, to = p->chunk.range.off + x->to, end = u->range.off + u->range.len;
			if (from < u->range.off || from >= end) continue;
			size_t len = answer_tidy(p->text + x->from, (to < end ? to : end) - from, end - from);
			if (len) u->answers[u->answer_n++] = (struct unit_answer){ { (uint32_t)from, (uint32_t)len }, x->logit };
		}
		sel->read |= p->reading != NULL;
	}
}

static double clamp(double x)
{
	return x > LOGIT_MAX ? LOGIT_MAX : x < -LOGIT_MAX ? -LOGIT_MAX : x;
}

static double unit_score(const struct passage *p, const struct unit *u, int read)
{
	const struct weights *w = read ? &read_weights : &plain_weights;
	double score = w->cosine * u->cosine + w->coverage * u->coverage + w->passage * p->cosine;
	if (read && u->answer_n) score += w->has + w->span * clamp(u->answers[0].logit);
	if (read) score += w->answerable * (p->reading ? clamp(p->reading->answerable) : -LOGIT_MAX);
	if (read) score += w->relevance * (p->reading ? clamp(p->reading->relevance) : -LOGIT_MAX);
	return score;
}

static int by_score(const void *x, const void *y, void *ctx)
{
	const struct unit *u = ctx;
	size_t i = *(const size_t *)x, j = *(const size_t *)y;
	if (u[i].mute != u[j].mute) return u[i].mute - u[j].mute;
	if (u[i].score != u[j].score) return u[i].score > u[j].score ? -1 : 1;
	return (i > j) - (i < j);
}

int select_rank(struct selection *sel, struct arena *a, struct err *e)
{
	size_t *order = arena_alloc(a, (sel->unit_n + 1) * sizeof *order);
	if (!order) return err_set(e, E_MEMORY, "answer: out of memory");
	for (size_t i = 0; i < sel->unit_n; i++) order[i] = i;
	qsort_r(order, sel->unit_n, sizeof *order, by_score, sel->units);
	sel->order = order;
	sel->lead_n = sel->unit_n && !sel->units[order[0]].mute;
	return OK;
}

int select_lead(struct selection *sel, const struct retrieval *r, const int *part_of, size_t part_n, struct arena *a, struct err *e)
{
	size_t *order = arena_alloc(a, (sel->unit_n + 1) * sizeof *order), n = 0;
	uint64_t led = 0;
	if (!order) return err_set(e, E_MEMORY, "answer: out of memory");
	for (int front = 1; front >= 0; front--) {
		uint64_t seen = 0;
		for (size_t i = 0; i < sel->unit_n; i++) {
			const struct unit *u = &sel->units[sel->order[i]];
			int part = part_of[r->passages[u->passage].query], leads = 0;
			if (part >= 0 && (size_t)part < part_n && !u->mute) {
				leads = !(seen & UINT64_C(1) << part);
				seen |= UINT64_C(1) << part;
			}
			if (leads == front) order[n++] = sel->order[i];
		}
		if (front) led = n;
	}
	if (led) sel->lead_n = led;
	sel->order = order;
	return OK;
}

/* No empty line parts them. */
static int same_paragraph(const struct unit *a, const struct unit *b)
{
	const char *from = a->text + a->len;
	if (a->passage != b->passage || a->row || b->row || b->text < from) return 0;
	return !memmem(from, (size_t)(b->text - from), "\n\n", 2);
}

size_t select_beside(const struct selection *sel, size_t u)
{
	size_t best = (size_t)-1;
	double all = 0, most = 0;
	if (!sel->yes_no) return best;
	for (size_t i = 0; i < sel->question_n; i++) all += select_weight(sel, &sel->question[i]);
	for (size_t x = u > BESIDE ? u - BESIDE : 0; x < sel->unit_n && x <= u + BESIDE; x++) {
		double more = 0;
		const struct unit *v = &sel->units[x];
		if (x == u || v->mute || !(x < u ? same_paragraph(v, &sel->units[u]) : same_paragraph(&sel->units[u], v))) continue;
		for (size_t i = 0; i < sel->question_n; i++)
			if (!select_has(&sel->units[u], sel->question[i].stem) && select_has(v, sel->question[i].stem)) more += select_weight(sel, &sel->question[i]);
		if (more > most) most = more, best = x;
	}
	return most >= BESIDE_SHARE * all ? best : (size_t)-1;
}

static int units_score(const struct retrieval *r, const char *question, struct arena *a, struct selection *sel, struct err *e)
{
	size_t last = (size_t)-1, n = 0;
	struct word *around = NULL;
	answers_place(r, sel);
	for (size_t i = 0; i < sel->unit_n; i++) {
		struct unit *u = &sel->units[i];
		const struct passage *p = &r->passages[u->passage];
		if (u->passage != last) {
			char *head = arena_printf(a, "%s %s", p->doc.title, p->chunk.heading);
			if (!head) return err_set(e, E_MEMORY, "answer: out of memory");
			int rc = words_of(head, strlen(head), a, &around, &n, e);
			if (rc) return rc;
			last = u->passage;
		}
		u->cosine = select_cosine(sel, u->vec, r->query);
		for (size_t k = 1; k < r->query_n; k++) u->cosine = fmax(u->cosine, select_cosine(sel, u->vec, r->query + k * (size_t)sel->dim));
		u->coverage = coverage(sel, u, around, n);
	}
	int rc = rows_read(sel, r, question, a, e);
	if (rc) return rc;
	for (size_t i = 0; i < sel->unit_n; i++) sel->units[i].score = unit_score(&r->passages[sel->units[i].passage], &sel->units[i], sel->read);
	rows_order(sel, r);
	versions_settle(sel, r, question);
	return select_rank(sel, a, e);
}

int select_units(struct service *s, const struct retrieval *r, const char *question, struct arena *a, struct selection *out, struct err *e)
{
	struct word *q;
	const char *why;
	memset(out, 0, sizeof *out);
	int rc = rerank_reads(question, strlen(question)) ? service_reader(s, &out->reader, &why, e) : OK;
	if (!rc) rc = words_of(question, strlen(question), a, &q, &out->question_n, e);
	out->question = q;
	if (!rc) rc = units_collect(r, s->conf.answer_screen, a, out, e);
	if (!rc) rc = weights_make(out, a, e);
	if (!rc) rc = units_embed(s, r, a, out, e);
	if (!rc) rc = units_score(r, question, a, out, e);
	return rc;
}

static size_t passage_slot(struct selection *sel, size_t passage, size_t passages_max)
{
	for (size_t i = 0; i < sel->passage_n; i++)
		if (sel->passages[i] == passage) return i;
	if (sel->passage_n == passages_max) return (size_t)-1;
	sel->passages[sel->passage_n] = passage;
	return sel->passage_n++;
}

/* Adds unit i when it fits; 0 when it does not. */
static int unit_choose(struct selection *sel, size_t i, size_t passages_max, size_t *left)
{
	struct unit *u = &sel->units[i];
	size_t had = sel->passage_n;
	if (u->chosen || u->instead) return 1;
	size_t need = embedder_count_tokens(sel->embedder, u->said, u->said_len);
	if (passage_slot(sel, u->passage, passages_max) == (size_t)-1) return 0;
	if (sel->passage_n > had) need += HEADER_TOKENS;
	if (need > *left) {
		sel->passage_n = had;
		return 0;
	}
	*left -= need;
	u->chosen = 1;
	return 1;
}

int select_only(struct selection *sel, size_t u, struct arena *a, struct err *e)
{
	int rc = select_choose(0, 1, a, sel, e);
	if (rc) return rc;
	sel->units[u].chosen = 1;
	sel->passages[sel->passage_n++] = sel->units[u].passage;
	return OK;
}

int select_choose(size_t budget, size_t passages_max, struct arena *a, struct selection *sel, struct err *e)
{
	sel->passages = arena_alloc(a, PASSAGES_MAX * sizeof *sel->passages);
	if (!sel->passages) return err_set(e, E_MEMORY, "answer: out of memory");
	if (passages_max > PASSAGES_MAX) passages_max = PASSAGES_MAX;
	sel->passage_n = 0;
	for (size_t i = 0; i < sel->unit_n; i++) sel->units[i].chosen = 0;
	for (size_t i = 0; i < sel->unit_n && budget > 0; i++) {
		size_t u = sel->order[i];
		if (!unit_choose(sel, u, passages_max, &budget)) continue;
		if (u > 0 && sel->units[u - 1].passage == sel->units[u].passage) unit_choose(sel, u - 1, passages_max, &budget);
		if (u + 1 < sel->unit_n && sel->units[u + 1].passage == sel->units[u].passage) unit_choose(sel, u + 1, passages_max, &budget);
	}
	return OK;
}

int select_print(const struct retrieval *r, const struct selection *sel, struct arena *a, const char **out, size_t *len, struct err *e)
{
	struct buf b;
	buf_init(&b, 1 << 20);
	for (size_t k = 0; k < sel->passage_n; k++) {
		const struct passage *p = &r->passages[sel->passages[k]];
		size_t last = (size_t)-1;
		size_t title = strlen(p->doc.title);
		const char *heading = strncmp(p->chunk.heading, p->doc.title, title) == 0 ? p->chunk.heading + title : p->chunk.heading;
		(void)buf_printf(&b, "%s[%zu] %s%s%s\n", k ? "\n\n" : "", k + 1, p->doc.title, *heading && *heading != ' ' ? " > " : "", heading);
		for (size_t i = 0; i < sel->unit_n; i++) {
			const struct unit *u = &sel->units[i];
			if (u->passage != sel->passages[k] || !u->chosen) continue;
			if (last != (size_t)-1) (void)buf_puts(&b, last + 1 == i ? " " : " … ");
			(void)buf_put(&b, u->said, u->said_len);
			last = i;
		}
	}
	int rc = buf_failed(&b);
	*len = b.len;
	*out = rc ? NULL : arena_strndup(a, buf_cstr(&b), b.len);
	buf_clear(&b);
	if (rc || !*out) return err_set(e, rc ? rc : E_MEMORY, "answer: prompt too large");
	return OK;
}
