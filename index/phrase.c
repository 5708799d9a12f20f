/* phrase.c: owns phrases: finding them in a query, and the chunks that hold them.
 *
 * Method: the index has no places of words. The chunks that hold every word of all phrases come from the postings, the
 * rarest word's first, of the others only the blocks that chunks still fall into; then each of these chunks is read and
 * its words are compared. That is as much work as there are such chunks, so there is a limit (search.phrase_max): past
 * it the query is refused, for an answer from a part would look like the whole.
 * What the reader may not see is left out before anything is read. All of it is done once for each language that chunks of the
 * collection are in, since a chunk's words have the stems of its document's language.
 * Threads: any, each with its own snapshot. Failure: a damaged block or chunk is left out with a warning. */
#include "index/phrase.h"
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "base/words.h"
#include "index/inside.h"
#include "index/maxscore.h"
#include "index/postings.h"

enum { WORK_ARENA = 64 << 20, SEPARATOR = 3 };

/* ---- in a query ---- */

static const struct { int32_t open, close; } marks[] = {
	{ '"', '"' }, { 0x201c, 0x201d }, { 0x201e, 0x201c }, { 0x201e, 0x201d }, { 0x201d, 0x201d }, { 0xab, 0xbb }, { 0xbb, 0xab },
	{ 0x300c, 0x300d }, { 0x300e, 0x300f }, { 0xff02, 0xff02 },
};
enum { MARKS = sizeof marks / sizeof *marks };

static int is_close(int32_t open, int32_t cp)
{
	for (size_t i = 0; i < MARKS; i++)
		if (marks[i].open == open && marks[i].close == cp) return 1;
	return 0;
}

/* Which mark begins a phrase here; MARKS: none. */
static size_t opens(int32_t cp, int32_t before)
{
	size_t i = 0;
	while (i < MARKS && (marks[i].open != cp || (cp == '"' && before >= '0' && before <= '9'))) i++;
	return i;
}

static int has_words(void *ctx, const struct word *w, const char *term, size_t n)
{
	(void)w, (void)term, (void)n;
	*(int *)ctx = 1;
	return OK;
}

/* What the mark right before `at` begins, up to its other mark, behind which is *next, or up to the end. *words: it has both, and
 * words between. */
static int phrase_take(const char *query, size_t len, int32_t open, size_t at, struct phrase *out, size_t *next, int *words, struct err *e)
{
	int closed = 0;
	*words = 0;
	*out = (struct phrase){ query + at, len - at };
	for (size_t i = at; !closed && i < len; *next = i) {
		out->len = i - at;
		closed = is_close(open, utf8_next(query, len, &i));
	}
	if (!closed) out->len = len - at;
	return closed ? words_visit(out->text, out->len, has_words, words, e) : OK;
}

/* A mark that begins nothing tells that others like it, up to where it looked, begin nothing either: so each is looked from once. */
int phrases_parse(const struct phrases **out, const char *query, size_t len, struct arena *a, struct err *e)
{
	struct phrases *p = NULL;
	struct phrase *list = NULL, one;
	size_t barren[MARKS] = { 0 }, next = 0;
	int32_t before = 0, cp;
	*out = NULL;
	if (!utf8_valid(query, len)) return OK;
	for (size_t i = 0; i < len; before = cp) {
		int words, rc;
		cp = utf8_next(query, len, &i);
		size_t mark = opens(cp, before);
		if (mark == MARKS || i <= barren[mark]) continue;
		rc = phrase_take(query, len, cp, i, &one, &next, &words, e);
		if (rc) return rc;
		if (!words) {
			barren[mark] = i + one.len;
			continue;
		}
		if (!p && (!(p = arena_calloc(a, 1, sizeof *p)) || !(p->at = list = arena_alloc(a, PHRASES_MAX * sizeof *list))))
			return err_set(e, E_MEMORY, "search: out of memory");
		if (p->n == PHRASES_MAX) return err_set(e, E_USAGE, "query: over %d phrases in quotation marks", (int)PHRASES_MAX);
		list[p->n++] = one;
		i = next;
	}
	*out = p;
	return OK;
}

/* ---- chunks that hold all their words ---- */

struct term_list { struct post_term *at; size_t n, cap; struct arena *a; };

static int on_term(void *ctx, const struct query_word *t)
{
	struct term_list *l = ctx;
	for (size_t i = 0; i < l->n; i++)
		if (l->at[i].len == t->n && memcmp(l->at[i].text, t->term, t->n) == 0) return OK;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		struct post_term *more = mem_realloc(l->at, cap * sizeof *more);
		if (!more) return E_MEMORY;
		l->at = more;
		l->cap = cap;
	}
	const char *copy = arena_strndup(l->a, t->term, t->n);
	if (!copy) return E_MEMORY;
	l->at[l->n++] = (struct post_term){ .text = copy, .len = t->n };
	return OK;
}

static int by_frequency(const void *a, const void *b)
{
	const struct post_term *x = a, *y = b;
	if (x->df != y->df) return x->df < y->df ? -1 : 1;
	return strcmp(x->text, y->text);
}

struct held { const struct visible *seen; size_t seen_at; uint64_t *chunk; size_t n, at, kept; int first; };

/* The rarest word's chunks are put down, of these the next words leave those they share. */
static void on_block(void *ctx, const struct post_term *q)
{
	struct held *h = ctx;
	for (size_t i = 0; i < q->n; i++) {
		if (h->first) {
			if (!h->seen || visible_has(h->seen, &h->seen_at, q->chunk[i])) h->chunk[h->kept++] = q->chunk[i];
			continue;
		}
		while (h->at < h->n && h->chunk[h->at] < q->chunk[i]) h->at++;
		if (h->at < h->n && h->chunk[h->at] == q->chunk[i]) h->chunk[h->kept++] = q->chunk[i];
	}
}

/* Leaves the blocks that some chunk falls into. */
static void blocks_sift(struct post_term *q, const struct held *h)
{
	size_t kept = 0, at = 0;
	for (size_t i = 0; i < q->block_n; i++) {
		while (at < h->n && h->chunk[at] < q->blocks[i].first) at++;
		if (at < h->n && h->chunk[at] <= q->blocks[i].last) q->blocks[kept++] = q->blocks[i];
	}
	q->block_n = kept;
}

static int held_find(struct snapshot *s, uint32_t coll, struct term_list *l, struct held *h, struct err *e)
{
	struct cursor c = { 0 };
	int rc = cursor_open(&c, s->t, T_POST, e);
	for (size_t i = 0; !rc && i < l->n; i++) rc = post_term_find(&c, coll, 0, &l->at[i], 1, e);
	cursor_close(&c);
	if (rc || l->n == 0) return rc;
	qsort(l->at, l->n, sizeof *l->at, by_frequency);
	if (l->at[0].df == 0) return OK;
	h->chunk = mem_alloc(l->at[0].df * sizeof *h->chunk);
	if (!h->chunk) return err_set(e, E_MEMORY, "search: out of memory");
	for (size_t i = 0; !rc && i < l->n && (i == 0 || h->n); i++) {
		h->first = i == 0;
		h->at = h->kept = 0;
		if (i) blocks_sift(&l->at[i], h);
		rc = post_term_each(coll, &l->at[i], on_block, h, e);
		h->n = h->kept;
	}
	return rc;
}

/* ---- words one after the other ---- */

struct chain { uint64_t *stem; size_t n, cap; };

struct reading {
	struct snapshot *s;
	const struct reader *r;
	struct chain *want; size_t want_n;
	struct chain have;               /* words of the text at hand */
	int single;                      /* no phrase has a second word, so the postings have told */
	struct arena doc_a; struct doc doc; const char *text; size_t len; /* the document at hand, when key says so */
	uint64_t key; enum words_language its; /* its: the document's */
	enum words_language language;    /* in which phrases are looked for; chunks of others are left */
};

static int chain_add(void *ctx, const struct word *w, const char *term, size_t n)
{
	struct chain *c = ctx;
	(void)term, (void)n;
	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 512;
		uint64_t *more = mem_realloc(c->stem, cap * sizeof *more);
		if (!more) return E_MEMORY;
		c->stem = more;
		c->cap = cap;
	}
	c->stem[c->n++] = w->stem;
	return OK;
}

static int chain_holds(const struct chain *have, const struct chain *want)
{
	for (size_t i = 0; i + want->n <= have->n; i++)
		if (memcmp(have->stem + i, want->stem, want->n * sizeof *want->stem) == 0) return 1;
	return 0;
}

/* found[i]: phrase i stands in one of the texts so far. */
static int text_look(struct reading *d, const char *text, size_t len, uint8_t *found, struct err *e)
{
	int rc;
	d->have.n = 0;
	rc = words_visit_in(d->language, text, len, chain_add, &d->have, e);
	if (rc) return err_set(e, E_MEMORY, "search: out of memory");
	for (size_t i = 0; i < d->want_n; i++) found[i] |= (uint8_t)chain_holds(&d->have, &d->want[i]);
	return OK;
}

static int heading_look(struct reading *d, const char *heading, uint8_t *found, struct err *e)
{
	const char *end;
	int rc = OK;
	for (; !rc && (end = strstr(heading, " > ")); heading = end + SEPARATOR) rc = text_look(d, heading, (size_t)(end - heading), found, e);
	return rc ? rc : text_look(d, heading, strlen(heading), found, e);
}

/* The document of a chunk; the one at hand serves its neighbours. */
static int doc_read(struct reading *d, uint64_t key, struct err *e)
{
	int rc;
	if (d->key == key) return OK;
	d->key = 0;
	arena_clear(&d->doc_a);
	rc = snapshot_doc_by_key(d->s, d->r, key, &d->doc_a, &d->doc, e);
	if (!rc) rc = snapshot_text(d->s, &d->doc, &d->text, &d->len, e);
	if (rc) return rc;
	d->its = words_language(d->text, d->len);
	d->key = key;
	return OK;
}

static int chunk_read(struct reading *d, const struct chunk *c, uint8_t *found, struct err *e)
{
	int rc = doc_read(d, c->doc_key, e);
	if (rc || d->its != d->language) return rc;
	if (c->range.off > d->len || c->range.len > d->len - c->range.off) rc = err_set(e, E_CORRUPT, "it lies outside its text");
	if (!rc) rc = text_look(d, d->text + c->range.off, c->range.len, found, e);
	if (!rc) rc = heading_look(d, c->heading, found, e);
	return rc ? rc : text_look(d, d->doc.title, strlen(d->doc.title), found, e);
}

/* *yes: the chunk holds every phrase; *doc: whose it is. */
static int chunk_look(struct reading *d, uint64_t id, uint8_t *found, int *yes, uint64_t *doc, struct err *e)
{
	struct err why = { OK, "" };
	struct arena a;
	struct chunk c;
	int rc;
	memset(found, d->single, d->want_n);
	arena_init(&a, WORK_ARENA);
	rc = snapshot_chunk(d->s, d->r, id, &a, &c, &why);
	if (!rc && !d->single) rc = chunk_read(d, &c, found, &why);
	*doc = rc ? 0 : c.doc_key;
	arena_clear(&a);
	*yes = !rc && !memchr(found, 0, d->want_n);
	if (rc == E_MEMORY) return err_set(e, rc, "search: out of memory");
	if (rc) log_put(LOG_WARN, "index", "chunk %llu is left out: %s", (unsigned long long)id, why.msg);
	return OK;
}

/* ---- all together ---- */

struct hit { uint64_t chunk, doc; };
struct hits { struct hit *at; size_t n, cap; };

static int by_chunk(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;
	return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

static int hit_add(struct hits *h, uint64_t chunk, uint64_t doc)
{
	if (h->n == h->cap) {
		size_t cap = h->cap ? 2 * h->cap : 64;
		struct hit *more = mem_realloc(h->at, cap * sizeof *more);
		if (!more) return E_MEMORY;
		h->at = more;
		h->cap = cap;
	}
	h->at[h->n++] = (struct hit){ chunk, doc };
	return OK;
}

static int held_look(struct reading *d, const struct held *h, struct hits *out, struct err *e)
{
	uint8_t *found = mem_alloc(d->want_n + 1);
	uint64_t doc;
	int yes, rc = found ? OK : err_set(e, E_MEMORY, "search: out of memory");
	for (size_t i = 0; !rc && i < h->n; i++) {
		rc = chunk_look(d, h->chunk[i], found, &yes, &doc, e);
		if (!rc && yes && hit_add(out, h->chunk[i], doc)) rc = err_set(e, E_MEMORY, "search: out of memory");
	}
	mem_free(found);
	return rc;
}

/* The chunks as runs, each once. */
static int runs_make(struct hits *h, struct visible *out, struct err *e)
{
	uint64_t last = 0;
	if (h->n == 0) return OK;
	qsort(h->at, h->n, sizeof *h->at, by_chunk);
	out->runs = mem_alloc(h->n * sizeof *out->runs);
	if (!out->runs) return err_set(e, E_MEMORY, "search: out of memory");
	for (size_t i = 0; i < h->n; i++) {
		struct chunk_run *run = out->n ? &out->runs[out->n - 1] : NULL;
		if (i && h->at[i].chunk == h->at[i - 1].chunk) continue; /* a word alone, as two languages have it */
		if (run && run->first + run->n == h->at[i].chunk) run->n++;
		else out->runs[out->n++] = (struct chunk_run){ h->at[i].chunk, 1 };
		out->chunks++;
		out->documents += h->at[i].doc != last;
		last = h->at[i].doc;
	}
	return OK;
}

/* The phrases' words in one language: as a chain each, and as terms. */
static int words_take(const struct phrases *p, struct reading *d, struct term_list *terms, struct err *e)
{
	int rc = OK;
	d->single = 1;
	for (size_t i = 0; !rc && i < p->n; i++) {
		d->want[i].n = 0;
		rc = words_visit_in(d->language, p->at[i].text, p->at[i].len, chain_add, &d->want[i], e);
		if (!rc) rc = query_words_in(d->language, p->at[i].text, p->at[i].len, on_term, terms, e);
		d->single &= d->want[i].n < 2;
	}
	return rc ? err_set(e, E_MEMORY, "search: out of memory") : OK;
}

/* Finds them in the chunks of one language. *left: how many chunks may still be read. */
static int language_find(struct reading *d, uint32_t coll, const struct visible *seen, struct hits *out, size_t *left, struct err *e)
{
	const struct phrases *p = d->r->phrases;
	struct term_list terms = { 0 };
	struct held held = { .seen = seen };
	struct arena a;
	arena_init(&a, WORK_ARENA);
	terms.a = &a;
	int rc = words_take(p, d, &terms, e);
	if (!rc) rc = held_find(d->s, coll, &terms, &held, e);
	if (!rc && !d->single && held.n > *left)
		rc = err_set(e, E_USAGE, "\"%.*s\": its words stand in %zu passages, and at most %zu are read for a phrase (search.phrase_max); a rarer "
			"word inside the quotation marks helps", (int)(p->at[0].len < 60 ? p->at[0].len : utf8_floor(p->at[0].text, p->at[0].len, 60)),
			p->at[0].text, held.n, *left);
	if (!rc && !d->single) *left -= held.n;
	if (!rc) rc = held_look(d, &held, out, e);
	for (size_t i = 0; i < terms.n; i++) post_term_clear(&terms.at[i]);
	mem_free(terms.at);
	mem_free(held.chunk);
	arena_clear(&a);
	return rc;
}

int phrases_find(struct snapshot *s, const struct reader *r, uint32_t coll, const struct visible *seen, struct visible *out, struct err *e)
{
	struct reading d = { .s = s, .r = r, .want_n = r->phrases->n };
	struct hits hits = { 0 };
	size_t left = s->x->phrase_max;
	uint32_t languages = 0;
	int rc = OK;
	arena_init(&d.doc_a, WORK_ARENA);
	d.want = mem_calloc(d.want_n, sizeof *d.want);
	if (!d.want) rc = err_set(e, E_MEMORY, "search: out of memory");
	if (!rc) rc = languages_find(s->t, coll, &languages, e);
	languages |= 1u << WORDS_ENGLISH;
	for (int l = 0; !rc && l < WORDS_LANGUAGES; l++) {
		d.language = (enum words_language)l;
		if (languages >> l & 1) rc = language_find(&d, coll, seen, &hits, &left, e);
	}
	if (!rc) rc = runs_make(&hits, out, e);
	for (size_t i = 0; d.want && i < d.want_n; i++) mem_free(d.want[i].stem);
	mem_free(d.want);
	mem_free(d.have.stem);
	mem_free(hits.at);
	arena_clear(&d.doc_a);
	return rc;
}
