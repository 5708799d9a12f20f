/* rows.c: owns the choice among rows of one table (rows.h).
 *
 * Rows of a table look alike to a model that reads them together: it sees the kind of thing that is asked for in each, and names
 * of columns stand far from the values. What tells one row from the others is which words of the question stand in its own cells.
 * So the row with the most of them (weighted by rarity) is read once more by itself, each value behind its column's name, and
 * takes the place of the best-scored row of its table; one with fewer stays behind it.
 * Threads: the caller's. Failure: memory and the reader. */
#include "api/rows.h"
#include <math.h>
#include <string.h>

enum { TABLES_READ = 4 };
static const double BEHIND = 2.5; /* what a share of the question's words counts between rows, beside scores */

/* The weighted share of the question's words that stand in the row's values. */
static double held(const struct selection *sel, const struct unit *u)
{
	double all = 0, have = 0;
	for (size_t i = 0; i < sel->question_n; i++) {
		double w = select_weight(sel, &sel->question[i]);
		int in = 0;
		all += w;
		for (size_t k = 0; w > 0 && k < u->word_n && !in; k++)
			in = u->words[k].stem == sel->question[i].stem && table_cell_at(u->row, u->range.off + u->words[k].off, 0) >= 0;
		have += in ? w : 0;
	}
	return all > 0 ? have / all : 0;
}

static int same_table(const struct retrieval *r, const struct unit *a, const struct unit *b)
{
	return a->row && b->row && a->row->top == b->row->top && r->passages[a->passage].doc.key == r->passages[b->passage].doc.key;
}

/* An answer that begins in a cell ends in it; one that begins in none is none. */
static void answers_cut(struct unit *u)
{
	size_t kept = 0;
	for (size_t i = 0; i < u->answer_n; i++) {
		struct unit_answer x = u->answers[i];
		int cell = table_cell_at(u->row, x.range.off, 0);
		if (cell < 0) continue;
		size_t end = (size_t)u->row->cells[cell].value.off + u->row->cells[cell].value.len;
		if ((size_t)x.range.off + x.range.len > end) x.range.len = (uint32_t)(end - x.range.off);
		u->answers[kept++] = x;
	}
	u->answer_n = kept;
}

/* The reader's answers in what is said of the row, as ranges of the document. */
static void answers_take(struct unit *u, const struct reader_reading *x)
{
	u->answer_n = 0;
	for (size_t i = 0; i < x->spans_n; i++) {
		int at = table_cell_at(u->row, x->spans[i].from, 1);
		if (at < 0) continue;
		const struct table_cell *c = &u->row->cells[at];
		size_t from = x->spans[i].from - c->said_off, to = x->spans[i].to - c->said_off;
		if (to > c->value.len) to = c->value.len;
		u->answers[u->answer_n++] = (struct unit_answer){ { c->value.off + (uint32_t)from, (uint32_t)(to - from) }, x->spans[i].logit };
	}
}

/* The row of the table of unit u that has most of the question's words; *first: u is the first unit of that table. */
static size_t best_of_table(const struct selection *sel, const struct retrieval *r, size_t u, int *first)
{
	size_t best = u;
	double most = -1;
	*first = 1;
	for (size_t i = 0; i < sel->unit_n; i++) {
		const struct unit *x = &sel->units[i];
		if (!same_table(r, x, &sel->units[u])) continue;
		if (i < u) *first = 0;
		if (x->mute) continue;
		double h = x->held;
		if (h > most) most = h, best = i;
	}
	return best;
}

int rows_read(struct selection *sel, const struct retrieval *r, const char *question, struct arena *a, struct err *e)
{
	struct reader_pair pairs[TABLES_READ];
	size_t units[TABLES_READ], n = 0;
	int first;
	for (size_t i = 0; i < sel->unit_n; i++) {
		struct unit *u = &sel->units[i];
		if (!u->row) continue;
		u->held = held(sel, u);
		answers_cut(u);
	}
	for (size_t i = 0; i < sel->unit_n && n < TABLES_READ && sel->reader; i++) {
		if (!sel->units[i].row) continue;
		size_t best = best_of_table(sel, r, i, &first);
		const struct unit *u = &sel->units[best];
		if (!first || u->mute || u->held <= 0 || !u->row->named) continue;
		const char *title = r->passages[u->passage].doc.title;
		pairs[n] = (struct reader_pair){ question, strlen(question), title, strlen(title), u->said, u->said_len };
		units[n++] = best;
	}
	struct reader_reading *readings = arena_calloc(a, n + 1, sizeof *readings);
	if (!readings) return err_set(e, E_MEMORY, "answer: out of memory");
	int rc = n ? reader_read(sel->reader, pairs, n, readings, e) : OK;
	for (size_t i = 0; !rc && i < n; i++) answers_take(&sel->units[units[i]], &readings[i]);
	return rc;
}

void rows_order(struct selection *sel, const struct retrieval *r)
{
	int first;
	for (size_t i = 0; i < sel->unit_n; i++) {
		if (!sel->units[i].row) continue;
		struct unit *best = &sel->units[best_of_table(sel, r, i, &first)];
		if (!first || best->mute || best->held <= 0) continue;
		double most = best->score;
		for (size_t k = 0; k < sel->unit_n; k++)
			if (same_table(r, &sel->units[k], best) && !sel->units[k].mute) most = fmax(most, sel->units[k].score);
		for (size_t k = 0; k < sel->unit_n; k++) {
			struct unit *x = &sel->units[k];
			if (!same_table(r, x, best)) continue;
			if (x->held < best->held) x->score = fmin(x->score, most - BEHIND * (best->held - x->held));
		}
		best->score = most;
	}
}
