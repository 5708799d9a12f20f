/* facet.c: owns facets: which values documents have at a key, and how many have each.
 *
 * Method: the documents that the reader sees are walked once for all keys; a table of values a key counts them, each once a
 * document. What the reader does not see is not counted and adds no value.
 * Threads: the snapshot's. Failure: a key that is none is E_USAGE; too many different values E_MEMORY. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "index/filter.h"
#include "index/inside.h"

enum { VALUES_BYTES_MAX = 256 << 20 };   /* of one key's different values */

struct slot { const char *text; uint64_t n, last; }; /* last: the number of the document counted last */
struct tally { struct filter *key; struct slot *slots; size_t n, cap; struct arena texts; }; /* cap: a power of two, or 0 */
struct walk { struct tally *tallies; size_t n; uint64_t doc; };
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

static int on_value(void *ctx, const char *text)
{
	struct counting *c = ctx;
	struct tally *t = c->t;
	if (t->n * 2 >= t->cap && tally_grow(t)) return E_MEMORY;
	struct slot *s = &t->slots[slot_find(t, text)];
	if (!s->text) {
		if (!(s->text = arena_strdup(&t->texts, text))) return E_MEMORY;
		t->n++;
	}
	if (s->last != c->doc) s->n++, s->last = c->doc;
	return OK;
}

static int on_doc(void *ctx, const struct rec_doc *r)
{
	struct walk *w = ctx;
	struct doc d = { .source = r->source, .type = r->type, .meta = r->meta, .added_ms = r->added_ms, .updated_ms = r->updated_ms };
	int rc = OK;
	if (!doc_verdict_has_text(r->verdict)) return OK;
	w->doc++;
	for (size_t i = 0; i < w->n && !rc; i++) {
		struct counting c = { &w->tallies[i], w->doc };
		rc = filter_values(c.t->key->root, &d, on_value, &c);
	}
	return rc;
}

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
	struct walk w = { mem_calloc(key_n + 1, sizeof *w.tallies), key_n, 0 };
	struct rec_coll coll;
	int rc = w.tallies ? OK : err_set(e, E_MEMORY, "facets: out of memory");
	if (!rc && (!r || !r->collection)) rc = err_set(e, E_USAGE, "facets: no collection is named");
	for (size_t i = 0; i < key_n && w.tallies; i++) arena_init(&w.tallies[i].texts, VALUES_BYTES_MAX);
	for (size_t i = 0; i < key_n && !rc; i++) rc = key_parse(&w.tallies[i], keys[i], e);
	if (!rc) rc = coll_read(s->t, r->collection, &coll, e);
	if (!rc) rc = snapshot_each_seen(s, r, coll.number, on_doc, &w, e);
	if (rc == E_NOT_FOUND) rc = OK;
	for (size_t i = 0; i < key_n && !rc; i++) rc = tally_take(&w.tallies[i], keys[i], max, a, &out[i], e);
	for (size_t i = 0; i < key_n && w.tallies; i++) {
		filter_free(w.tallies[i].key);
		arena_clear(&w.tallies[i].texts);
		mem_free(w.tallies[i].slots);
	}
	mem_free(w.tallies);
	return rc;
}
