/* docpick.c: owns which rows of the table of documents a reader sees: state, collection, groups and filter, a bit a row.
 *
 * Method: each comparison of the filter runs down one column, or the list of one path of meta, and sets bits; and, or and not
 * join them 64 rows at a time. What is compared is made ready once: texts that are looked for become numbers, and of texts in
 * an order each different one is compared once. The few documents whose meta is too large for the columns are asked one by
 * one in the end, by their records. filter.c says what a filter means (filter_match); this must say the same.
 * Threads: under the set's lock. Failure: E_MEMORY, and what match fails with. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "index/filter.h"
#include "index/inside.h"

struct pick { const struct docset *d; size_t words; struct err *e; };

static size_t words_of(const struct docset *d)
{
	return d->n / 64 + 1;
}

static int no_memory(const struct pick *p)
{
	return err_set(p->e, E_MEMORY, "search: out of memory");
}

static void bit_set(uint64_t *bits, size_t row)
{
	bits[row / 64] |= (uint64_t)1 << (row & 63);
}

/* ---- what a comparison looks for, made ready ---- */

struct wanted {
	const struct filter_node *leaf;
	uint32_t *texts; size_t text_n;  /* IN: numbers of the texts that are in the table, ascending */
	uint8_t *known;                  /* in an order: by number, 1: does not fit, 2: fits, 0: not compared yet */
	double *numbers; size_t number_n; /* IN: ascending; else the one */
	unsigned fits;                   /* in an order: bit 0 below, 1 equal, 2 above */
	int truth[2];
};

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void wanted_clear(struct wanted *w)
{
	mem_free(w->texts);
	mem_free(w->known);
	mem_free(w->numbers);
}

static int wanted_init(struct wanted *w, const struct pick *p, const struct filter_node *leaf)
{
	static const unsigned orders[] = { [FILTER_IN] = 2, [FILTER_LESS] = 1, [FILTER_MOST] = 3, [FILTER_MORE] = 4, [FILTER_LEAST] = 6 };
	size_t n = 1;
	*w = (struct wanted){ .leaf = leaf };
	if (leaf->op == FILTER_EXISTS) return OK;
	for (const struct filter_value *v = leaf->values; v; v = v->next) n++;
	w->texts = mem_alloc(n * sizeof *w->texts);
	w->numbers = mem_alloc(n * sizeof *w->numbers);
	if (leaf->op != FILTER_IN) w->known = mem_calloc((size_t)p->d->texts.n + 1, 1);
	if (!w->texts || !w->numbers || (leaf->op != FILTER_IN && !w->known)) return no_memory(p);
	for (const struct filter_value *v = leaf->values; v; v = v->next) {
		uint32_t number = v->kind == FILTER_TEXT ? texts_find(&p->d->texts, v->text, strlen(v->text)) : 0;
		if (number) w->texts[w->text_n++] = number;
		if (v->kind == FILTER_NUMBER) w->numbers[w->number_n++] = v->number;
	}
	if (w->text_n) qsort(w->texts, w->text_n, sizeof *w->texts, by_number);
	if (w->number_n) qsort(w->numbers, w->number_n, sizeof *w->numbers, by_value);
	w->fits = orders[leaf->op];
	w->truth[0] = filter_fits_truth(leaf, 0);
	w->truth[1] = filter_fits_truth(leaf, 1);
	return OK;
}

static int text_fits(struct wanted *w, const struct texts *t, uint32_t number)
{
	if (w->known) {
		if (!w->known[number]) w->known[number] = filter_fits_text(w->leaf, texts_get(t, number, NULL)) ? 2 : 1;
		return w->known[number] == 2;
	}
	if (w->text_n <= 1) return w->text_n && w->texts[0] == number;
	return bsearch(&number, w->texts, w->text_n, sizeof number, by_number) != NULL;
}

static int number_fits(const struct wanted *w, double x)
{
	if (w->number_n > 1) return bsearch(&x, w->numbers, w->number_n, sizeof x, by_value) != NULL;
	return w->number_n && (w->fits >> (1 + (x > w->numbers[0]) - (x < w->numbers[0])) & 1);
}

/* ---- comparisons ---- */

static void cells_compare(const struct pick *p, struct wanted *w, const struct doc_path *path, uint64_t *bits)
{
	int exists = w->leaf->op == FILTER_EXISTS;
	for (size_t i = 0; i < path->n; i++) {
		const struct row_cell *c = &path->cells[i];
		int yes;
		if (exists) yes = 1;
		else if (c->text == ROW_NUMBER) yes = number_fits(w, c->number);
		else if (c->text < ROW_OBJECT) yes = text_fits(w, &p->d->texts, c->text);
		else yes = c->text != ROW_OBJECT && w->truth[c->text == ROW_TRUE];
		if (yes) bit_set(bits, c->row);
	}
}

static void texts_compare(const struct pick *p, struct wanted *w, const uint32_t *column, uint64_t *bits)
{
	uint32_t empty = texts_find(&p->d->texts, "", 0);
	int exists = w->leaf->op == FILTER_EXISTS;
	for (size_t i = 0; i < p->d->n; i++)
		if (exists ? column[i] != empty : text_fits(w, &p->d->texts, column[i])) bit_set(bits, i);
}

/* The moments that fit a value are from lo to before hi. */
static void times_compare(const struct pick *p, const struct filter_node *leaf, const int64_t *column, uint64_t *bits)
{
	for (const struct filter_value *v = leaf->values; v; v = v->next) {
		enum filter_op op = leaf->op;
		int64_t lo = op == FILTER_LESS || op == FILTER_MOST ? INT64_MIN : op == FILTER_MORE ? v->to_ms : v->from_ms;
		int64_t hi = op == FILTER_MORE || op == FILTER_LEAST ? INT64_MAX : op == FILTER_LESS ? v->from_ms : v->to_ms;
		for (size_t i = 0; i < p->d->n; i++) bits[i / 64] |= (uint64_t)(column[i] >= lo && column[i] < hi) << (i & 63);
	}
	if (leaf->op == FILTER_EXISTS) memset(bits, 0xff, p->words * sizeof *bits);
}

static int leaf_pick(const struct pick *p, const struct filter_node *leaf, uint64_t *bits)
{
	char path[META_PATH_MAX];
	struct wanted w;
	uint32_t number;
	size_t len;
	int rc;
	memset(bits, 0, p->words * sizeof *bits);
	if (leaf->key == FILTER_ADDED || leaf->key == FILTER_UPDATED) {
		times_compare(p, leaf, leaf->key == FILTER_ADDED ? p->d->added : p->d->updated, bits);
		return OK;
	}
	rc = wanted_init(&w, p, leaf);
	if (!rc && leaf->key == FILTER_META) {
		len = meta_path(path, leaf->path, leaf->path_n);
		number = len < META_PATH_MAX ? texts_find(&p->d->names, path, len) : 0;
		if (number) cells_compare(p, &w, &p->d->paths[number - 1], bits);
	} else if (!rc) {
		texts_compare(p, &w, leaf->key == FILTER_SOURCE ? p->d->source : p->d->type, bits);
	}
	wanted_clear(&w);
	return rc;
}

static int node_pick(const struct pick *p, const struct filter_node *n, uint64_t *bits)
{
	uint64_t *more;
	int rc;
	if (!n->parts) return leaf_pick(p, n, bits);
	rc = node_pick(p, n->parts, bits);
	for (size_t i = 0; i < p->words && n->op == FILTER_NOT; i++) bits[i] = ~bits[i];
	if (rc || n->op == FILTER_NOT) return rc;
	more = mem_alloc(p->words * sizeof *more);
	if (!more) return no_memory(p);
	for (const struct filter_node *part = n->parts->next; part && !rc; part = part->next) {
		rc = node_pick(p, part, more);
		for (size_t i = 0; i < p->words; i++) bits[i] = n->op == FILTER_AND ? bits[i] & more[i] : bits[i] | more[i];
	}
	mem_free(more);
	return rc;
}

/* ---- all of it ---- */

/* Which sets of groups let the reader in, by number. */
static int acls_admit(const struct pick *p, const struct reader *r, uint8_t **out)
{
	uint8_t *admits = mem_calloc((size_t)p->d->acls.n + 1, 1), *has = mem_calloc((size_t)p->d->texts.n + 1, 1);
	*out = admits;
	for (size_t g = 0; g < r->group_n && has && !r->all_groups; g++) has[texts_find(&p->d->texts, r->groups[g], strlen(r->groups[g]))] = 1;
	if (!admits || !has) {
		mem_free(has);
		return no_memory(p);
	}
	admits[0] = 1;
	for (uint32_t acl = 1; acl <= p->d->acls.n; acl++) {
		size_t bytes;
		const char *groups = texts_get(&p->d->acls, acl, &bytes);
		admits[acl] = r->all_groups != 0;
		for (size_t i = 0; i < bytes && !admits[acl]; i += sizeof(uint32_t)) {
			uint32_t number;
			memcpy(&number, groups + i, sizeof number);
			admits[acl] = has[number];
		}
	}
	mem_free(has);
	return OK;
}

static int wide_pick(const struct pick *p, const struct doc_match *m, const uint64_t *alive, uint64_t *bits)
{
	for (size_t i = 0; i < p->d->wide_n; i++) {
		uint32_t row = p->d->wide[i];
		int yes = 0, rc = alive[row / 64] >> (row & 63) & 1 ? m->match(m->ctx, p->d->key[row], &yes, p->e) : OK;
		if (rc) return rc;
		bits[row / 64] &= ~((uint64_t)1 << (row & 63));
		if (yes) bit_set(bits, row);
	}
	return OK;
}

int docs_pick(const struct docset *d, uint64_t seq, uint32_t coll, const struct reader *r, const struct doc_match *m,
	uint64_t **out, struct err *e)
{
	struct pick p = { d, words_of(d), e };
	uint64_t *alive = mem_calloc(p.words, sizeof *alive), *fits = NULL;
	uint8_t *admits = NULL;
	int rc = alive ? acls_admit(&p, r, &admits) : no_memory(&p);
	for (size_t i = 0; i < d->n && !rc; i++) {
		const struct row_life *l = &d->life[i];
		int yes = (l->coll == coll) & (l->from <= seq) & (seq < l->to) & admits[l->acl];
		alive[i / 64] |= (uint64_t)yes << (i & 63);
	}
	mem_free(admits);
	if (!rc && r->filter) {
		fits = mem_alloc(p.words * sizeof *fits);
		rc = fits ? node_pick(&p, r->filter->root, fits) : no_memory(&p);
		if (!rc) rc = wide_pick(&p, m, alive, fits);
		for (size_t i = 0; i < p.words && !rc; i++) alive[i] &= fits[i];
		mem_free(fits);
	}
	if (rc) mem_free(alive);
	*out = rc ? NULL : alive;
	return rc;
}
