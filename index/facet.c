/* facet.c: owns facets: which values documents have at a key, and how many have each.
 *
 * Method: the table of documents in memory tells which rows the reader sees (docpick.c); down the column of a key, or the list
 * of its path of meta, values are counted by their numbers, each once a document. Of meta a number or truth and a text that
 * looks like it are one value. Documents whose meta is too large for the table are asked by their records, and where it is not
 * in memory, all are. What the reader does not see is not counted and adds no value; of a reader with phrases only documents
 * count that have a chunk with them.
 * Threads: the snapshot's. Failure: a key that is none is E_USAGE; too many different values E_MEMORY. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "index/filter.h"
#include "index/inside.h"

enum { DAY_MS = 86400000, VALUES_BYTES_MAX = 256 << 20 };   /* of one key's different values */

struct slot { const char *text; uint64_t n, last; }; /* last: the number of the document counted last */
struct tally { struct filter *key; struct slot *slots; size_t n, cap; struct arena texts; }; /* cap: a power of two, or 0 */
struct walk { struct tally *tallies; size_t n; uint64_t doc; const struct visible *with; }; /* with: of these a document has a chunk, or NULL */
struct counting { struct tally *t; uint64_t doc; };

static size_t slot_find(const struct tally *t, const char *text)
{
	uint64_t h = 14695981039346656037u;   /* FNV-1a */
	size_t at;
	for (const char *p = text; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211u;
	for (at = (h ^ h >> 32) & (t->cap - 1); t->slots[at].text && strcmp(t->slots[at].text, text) != 0;) at = (at + 1) & (t->cap - 1);
	return at;
}

static int tally_grow(struct tally *t)
{
	struct tally more = { .cap = t->cap ? 2 * t->cap : 64 };
	more.slots = mem_calloc(more.cap, sizeof *more.slots);
	if (!more.slots) return E_MEMORY;
	for (size_t i = 0; i < t->cap; i++)
		if (t->slots[i].text) more.slots[slot_find(&more, t->slots[i].text)] = t->slots[i];
	mem_free(t->slots);
	t->slots = more.slots;
	t->cap = more.cap;
	return OK;
}

/* The slot of a value, which is made when there is none. NULL: out of memory. */
static struct slot *slot_get(struct tally *t, const char *text)
{
	struct slot *s;
	if (t->n * 2 >= t->cap && tally_grow(t)) return NULL;
	s = &t->slots[slot_find(t, text)];
	if (s->text) return s;
	if (!(s->text = arena_strdup(&t->texts, text))) return NULL;
	t->n++;
	return s;
}

static int on_value(void *ctx, const char *text)
{
	struct counting *c = ctx;
	struct slot *s = slot_get(c->t, text);
	if (s && s->last != c->doc) s->n++, s->last = c->doc;
	return s ? OK : E_MEMORY;
}

static int on_doc(void *ctx, const struct rec_doc *r)
{
	struct walk *w = ctx;
	struct doc d = { .source = r->source, .type = r->type, .meta = r->meta, .added_ms = r->added_ms, .updated_ms = r->updated_ms };
	int rc = OK;
	if (!doc_verdict_has_text(r->verdict) || (w->with && !visible_meets(w->with, r->first_chunk, r->chunk_n))) return OK;
	w->doc++;
	for (size_t i = 0; i < w->n && !rc; i++) {
		struct counting c = { &w->tallies[i], w->doc };
		rc = filter_values(c.t->key->root, &d, on_value, &c);
	}
	return rc;
}

/* ---- by the table of documents ---- */

struct column { struct snapshot *s; const uint64_t *bits; struct tally *t; };

static int row_is_in(const struct column *c, size_t row)
{
	return c->bits[row / 64] >> (row & 63) & 1;
}

static int texts_count(const struct column *c, const uint32_t *column)
{
	const struct docset *d = c->s->docs;
	uint64_t *n = mem_calloc((size_t)d->texts.n + 1, sizeof *n);
	int rc = n ? OK : E_MEMORY;
	for (size_t row = 0; row < d->n && !rc; row++)
		if (row_is_in(c, row)) n[column[row]]++;
	for (uint32_t i = 1; i <= d->texts.n && !rc; i++) {
		const char *text = texts_get(&d->texts, i, NULL);
		struct slot *s = n[i] && *text ? slot_get(c->t, text) : NULL;
		if (s) s->n = n[i];
		else if (n[i] && *text) rc = E_MEMORY;
	}
	mem_free(n);
	return rc;
}

/* Rows beside each other are mostly of one day. */
static int days_count(const struct column *c, const int64_t *column)
{
	const struct docset *d = c->s->docs;
	int64_t begin = 0, end = 0;  /* of s's day */
	char day[CLOCK_TEXT_LEN];
	struct slot *s = NULL;
	for (size_t row = 0; row < d->n; row++) {
		int64_t ms = column[row];
		if (!row_is_in(c, row)) continue;
		if (!s || ms < begin || ms >= end) {
			clock_text(day, ms);
			day[sizeof "2026-12-31" - 1] = 0;
			if (!(s = slot_get(c->t, day))) return E_MEMORY;
			begin = ms - ((ms % DAY_MS) + DAY_MS) % DAY_MS;
			end = begin > INT64_MAX - DAY_MS ? INT64_MAX : begin + DAY_MS;
		}
		s->n++;
	}
	return OK;
}

struct value_count { uint32_t as, last; uint64_t n; }; /* as: the number it is counted under, 0: not known yet; last: row + 1 */

/* The text of a value; what is no text is printed, as in filter_values. */
static int value_print(const struct docset *d, uint32_t value, const char **text, cJSON **of, char **printed)
{
	double number;
	enum cell_kind kind = value_get(d, value, text, &number);
	*of = NULL, *printed = NULL;
	if (kind == CELL_TEXT) return OK;
	*of = kind == CELL_NUMBER ? cJSON_CreateNumber(number) : cJSON_CreateBool(kind == CELL_TRUE);
	*printed = *of ? cJSON_PrintUnformatted(*of) : NULL;
	*text = *printed ? *printed : "";
	return *printed ? OK : E_MEMORY;
}

/* A number and a text that looks like it count as that text, if some document has it. */
static uint32_t counted_as(const struct docset *d, uint32_t value)
{
	const char *text;
	char *printed;
	cJSON *of;
	uint32_t as = 0;
	if (value_print(d, value, &text, &of, &printed) == OK && printed) as = value_find(d, CELL_TEXT, text, strlen(text), 0);
	cJSON_Delete(of);
	cJSON_free(printed);
	return as ? as : value;
}

static int values_tell(const struct column *c, const struct value_count *n)
{
	const struct docset *d = c->s->docs;
	int rc = OK;
	for (uint32_t i = 1; i <= d->values.n && !rc; i++) {
		const char *text;
		char *printed;
		cJSON *of;
		struct slot *s;
		if (!n[i].n) continue;
		rc = value_print(d, i, &text, &of, &printed);
		s = rc ? NULL : slot_get(c->t, text);
		if (s) s->n += n[i].n;
		else rc = E_MEMORY;
		cJSON_Delete(of);
		cJSON_free(printed);
	}
	return rc;
}

static int path_count(const struct column *c, const struct doc_path *path)
{
	const struct docset *d = c->s->docs;
	struct value_count *n = mem_calloc((size_t)d->values.n + 1, sizeof *n);
	int rc = n ? OK : E_MEMORY;
	for (size_t i = 0; i < path->n && !rc; i++) {
		struct row_cell cell = path->cells[i];
		const char *text;
		double number;
		struct value_count *at = &n[cell.value];
		if (!row_is_in(c, cell.row) || value_get(d, cell.value, &text, &number) == CELL_OBJECT) continue;
		if (!at->as) at->as = counted_as(d, cell.value);
		at = &n[at->as];
		if (at->last != cell.row + 1) at->n++, at->last = cell.row + 1;
	}
	if (!rc) rc = values_tell(c, n);
	mem_free(n);
	return rc;
}

/* Documents that the columns do not tell of, by their records. */
static int wide_count(const struct column *c)
{
	const struct docset *d = c->s->docs;
	struct counting w = { c->t, UINT64_MAX / 2 };
	int rc = OK;
	for (size_t i = 0; i < d->wide_n && !rc; i++) {
		struct rec_doc r;
		if (!row_is_in(c, d->wide[i]) || doc_rec(c->s, d->key[d->wide[i]], &r, NULL)) continue;
		w.doc++;
		rc = filter_values(w.t->key->root, &(struct doc){ .meta = r.meta }, on_value, &w);
	}
	return rc;
}

static int column_count(const struct column *c)
{
	const struct filter_node *key = c->t->key->root;
	const struct docset *d = c->s->docs;
	char path[META_PATH_MAX];
	uint32_t number;
	size_t len;
	int rc;
	switch (key->key) {
	case FILTER_SOURCE: return texts_count(c, d->source);
	case FILTER_TYPE: return texts_count(c, d->type);
	case FILTER_ADDED: return days_count(c, d->added);
	case FILTER_UPDATED: return days_count(c, d->updated);
	case FILTER_META: break;
	}
	len = meta_path(path, key->path, key->path_n);
	number = len < META_PATH_MAX ? texts_find(&d->names, path, len) : 0;
	rc = number ? path_count(c, &d->paths[number - 1]) : OK;
	return rc ? rc : wide_count(c);
}

static int table_count(struct snapshot *s, const struct reader *r, uint32_t coll, struct walk *w, struct err *e)
{
	struct doc_ask ask = { s, r };
	uint64_t *bits;
	int rc;
	pthread_rwlock_rdlock(&s->docs->lock);
	rc = docs_pick(s->docs, s->state.seq, coll, r, &(struct doc_match){ snapshot_match, &ask }, &bits, e);
	for (size_t row = 0; row < s->docs->n && !rc && w->with; row++)
		if (!visible_meets(w->with, s->docs->first[row], s->docs->chunk_n[row])) bits[row / 64] &= ~((uint64_t)1 << (row & 63));
	for (size_t i = 0; i < w->n && !rc; i++)
		if (column_count(&(struct column){ s, bits, &w->tallies[i] })) rc = err_set(e, E_MEMORY, "facets: out of memory");
	pthread_rwlock_unlock(&s->docs->lock);
	mem_free(bits);
	return rc;
}

/* ---- all of it ---- */

/* A key is one whose existence can be asked for. */
static int key_parse(struct tally *t, const char *key, struct err *e)
{
	char expr[FACET_KEY_MAX + 16];
	int rc = OK;
	if (strlen(key) > FACET_KEY_MAX) return err_set(e, E_USAGE, "facets: a key over %d bytes", (int)FACET_KEY_MAX);
	snprintf(expr, sizeof expr, "exists(%s)", key);
	if (filter_parse(&t->key, expr, strlen(expr), sizeof expr, NULL)) rc = E_USAGE;
	else if (t->key->root->op != FILTER_EXISTS) rc = E_USAGE;
	return rc ? err_set(e, rc, "facets: %.80s is no key (meta.NAME, source, type, added, updated)", key) : OK;
}

static int by_count(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;
	if (x->n != y->n) return x->n > y->n ? -1 : 1;
	return strcmp(x->text, y->text);
}

/* The most frequent values of a tally, which is of no use after. */
static int tally_take(struct tally *t, const char *key, size_t max, struct arena *a, struct facet *out, struct err *e)
{
	size_t n = 0;
	for (size_t i = 0; i < t->cap; i++)
		if (t->slots[i].text) t->slots[n++] = t->slots[i];
	if (n) qsort(t->slots, n, sizeof *t->slots, by_count);
	*out = (struct facet){ key, arena_calloc(a, (n < max ? n : max) + 1, sizeof *out->values), n < max ? n : max };
	for (size_t i = 0; out->values && i < out->n; i++) {
		out->values[i] = (struct facet_value){ arena_strdup(a, t->slots[i].text), t->slots[i].n };
		if (!out->values[i].text) out->values = NULL;
	}
	return out->values ? OK : err_set(e, E_MEMORY, "facets: out of memory");
}

int snapshot_facets(struct snapshot *s, const struct reader *r, const char *const *keys, size_t key_n, size_t max, struct arena *a,
	struct facet *out, struct err *e)
{
	struct walk w = { mem_calloc(key_n + 1, sizeof *w.tallies), key_n, 0, NULL };
	struct visible *with = NULL;
	struct rec_coll coll;
	int rc = w.tallies ? OK : err_set(e, E_MEMORY, "facets: out of memory");
	if (!rc && (!r || !r->collection)) rc = err_set(e, E_USAGE, "facets: no collection is named");
	for (size_t i = 0; i < key_n && w.tallies; i++) arena_init(&w.tallies[i].texts, VALUES_BYTES_MAX);
	for (size_t i = 0; i < key_n && !rc; i++) rc = key_parse(&w.tallies[i], keys[i], e);
	if (!rc) rc = coll_read(s->t, r->collection, &coll, e);
	if (!rc && r->phrases) rc = visible_get(s, r, coll.number, &with, e);
	w.with = with;
	if (!rc) rc = s->docs ? table_count(s, r, coll.number, &w, e) : snapshot_each_seen(s, r, coll.number, on_doc, &w, e);
	if (rc == E_NOT_FOUND) rc = OK;
	for (size_t i = 0; i < key_n && !rc; i++) rc = tally_take(&w.tallies[i], keys[i], max, a, &out[i], e);
	for (size_t i = 0; i < key_n && w.tallies; i++) {
		filter_free(w.tallies[i].key);
		arena_clear(&w.tallies[i].texts);
		mem_free(w.tallies[i].slots);
	}
	mem_free(w.tallies);
	visible_put(with);
	return rc;
}
