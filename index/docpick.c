/* docpick.c: owns which rows of the table of documents a reader sees: state, collection, groups and filter, a bit a row.
 *
 * Method: each comparison of the filter runs down one column, or the list of one path of meta, and sets bits; and, or and not
 * join them 64 rows at a time. Each different value is compared once, when the first row with it comes; those that a list
 * names are looked up instead. The few documents whose meta is too large for the columns are asked one by
 * one in the end, by their records. filter.c says what a filter means (filter_match); this must say the same.
 * Threads: under the set's lock. Failure: E_MEMORY, and what match fails with. */
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

enum fit { FIT_UNKNOWN, FIT_NO, FIT_YES };

/* A byte for each number of a table: of those a list names, whether it is one of them; of others FIT_UNKNOWN. To be freed. */
static uint8_t *fits_begin(const struct filter_node *leaf, const struct texts *t)
{
	uint8_t *fits = mem_alloc((size_t)t->n + 1);
	if (fits) memset(fits, leaf->op == FILTER_IN ? FIT_NO : FIT_UNKNOWN, (size_t)t->n + 1);
	return fits;
}

static enum fit value_fits(const struct docset *d, const struct filter_node *leaf, uint32_t value)
{
	const char *text;
	double number;
	int yes = 0;
	switch (value_get(d, value, &text, &number)) {
	case CELL_TEXT: yes = filter_fits_text(leaf, text); break;
	case CELL_NUMBER: yes = filter_fits_number(leaf, number); break;
	case CELL_FALSE: yes = filter_fits_truth(leaf, 0); break;
	case CELL_TRUE: yes = filter_fits_truth(leaf, 1); break;
	case CELL_OBJECT: break;
	}
	return yes ? FIT_YES : FIT_NO;
}

/* ---- comparisons ---- */

static int meta_compare(const struct pick *p, const struct filter_node *leaf, const struct doc_path *path, uint64_t *bits)
{
	const struct docset *d = p->d;
	uint8_t *fits = fits_begin(leaf, &d->values);
	if (!fits) return no_memory(p);
	if (leaf->op == FILTER_EXISTS) memset(fits, FIT_YES, (size_t)d->values.n + 1);
	for (const struct filter_value *v = leaf->op == FILTER_IN ? leaf->values : NULL; v; v = v->next) {
		enum cell_kind kind = v->kind == FILTER_TEXT ? CELL_TEXT : v->kind == FILTER_NUMBER ? CELL_NUMBER : v->truth ? CELL_TRUE : CELL_FALSE;
		uint32_t value = value_find(d, kind, v->text, kind == CELL_TEXT ? strlen(v->text) : 0, v->number);
		if (value) fits[value] = FIT_YES;
	}
	for (size_t i = 0; i < path->n; i++) {
		struct row_cell c = path->cells[i];
		if (fits[c.value] == FIT_UNKNOWN) fits[c.value] = (uint8_t)value_fits(d, leaf, c.value);
		if (fits[c.value] == FIT_YES) bit_set(bits, c.row);
	}
	mem_free(fits);
	return OK;
}

static int texts_compare(const struct pick *p, const struct filter_node *leaf, const uint32_t *column, uint64_t *bits)
{
	const struct texts *t = &p->d->texts;
	uint8_t *fits = fits_begin(leaf, t);
	if (!fits) return no_memory(p);
	if (leaf->op == FILTER_EXISTS) {
		memset(fits, FIT_YES, (size_t)t->n + 1);
		fits[texts_find(t, "", 0)] = FIT_NO;
	}
	for (const struct filter_value *v = leaf->op == FILTER_IN ? leaf->values : NULL; v; v = v->next)
		fits[texts_find(t, v->text, strlen(v->text))] = FIT_YES; /* 0, of one that is not there, is no row's */
	for (size_t i = 0; i < p->d->n; i++) {
		uint32_t number = column[i];
		if (fits[number] == FIT_UNKNOWN) fits[number] = filter_fits_text(leaf, texts_get(t, number, NULL)) ? FIT_YES : FIT_NO;
		bits[i / 64] |= (uint64_t)(fits[number] == FIT_YES) << (i & 63);
	}
	mem_free(fits);
	return OK;
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
	uint32_t number;
	size_t len;
	memset(bits, 0, p->words * sizeof *bits);
	switch (leaf->key) {
	case FILTER_SOURCE: return texts_compare(p, leaf, p->d->source, bits);
	case FILTER_TYPE: return texts_compare(p, leaf, p->d->type, bits);
	case FILTER_ADDED: times_compare(p, leaf, p->d->added, bits); return OK;
	case FILTER_UPDATED: times_compare(p, leaf, p->d->updated, bits); return OK;
	case FILTER_META: break;
	}
	len = meta_path(path, leaf->path, leaf->path_n);
	number = len < META_PATH_MAX ? texts_find(&p->d->names, path, len) : 0;
	return number ? meta_compare(p, leaf, &p->d->paths[number - 1], bits) : OK;
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
