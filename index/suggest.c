/* suggest.c: owns suggestions: what the last word of a query may become, and how the words are written that a search took in
 * place of mistyped ones.
 *
 * Method: the indexed words that go on from it, or, where there are none, those within an edit or two (similar.c), are
 * counted by the passages that the reader sees. The index holds stems, so a word is shown in the form that stands most
 * often in the first passages with it that the reader sees: what is suggested has been written, where the reader may read
 * it. Order: fewest edits, then most passages.
 * Threads: any, each with its own snapshot. Failure: a damaged block or chunk is left out. */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"
#include "index/maxscore.h"
#include "index/postings.h"
#include "index/similar.h"

enum { SUGGEST_ARENA = 64 << 20, FOLD_MAX = 1 << 14, PASSAGES = 8, FORMS = 16, READ_PASSAGES = 16 };

struct last { const char *query; uint32_t off, end; char stem[TERM_MAX + 1]; size_t stem_n; int alone; };
struct candidate { struct similar word; uint64_t df, chunk[PASSAGES]; }; /* chunk: the first df of them */

static int on_last(void *ctx, const struct word *w, const char *term, size_t n)
{
	struct last *l = ctx;
	if (n > TERM_MAX) n = utf8_floor(term, n, TERM_MAX);
	l->off = w->off;
	l->end = w->off + w->len;
	l->alone = w->alone;
	memcpy(l->stem, term, n);
	l->stem[l->stem_n = n] = 0;
	return OK;
}

struct first_seen { const struct visible *v; size_t at; struct candidate *k; };

static void block_count(void *ctx, const struct post_term *q)
{
	struct first_seen *f = ctx;
	for (size_t i = 0; i < q->n; i++) {
		if (f->v && !visible_has(f->v, &f->at, q->chunk[i])) continue;
		if (f->k->df < PASSAGES) f->k->chunk[f->k->df] = q->chunk[i];
		f->k->df++;
	}
}

/* Of a candidate: how many passages the reader sees with it, and the first ones. */
static int candidate_count(struct cursor *c, const struct visible *seen, uint32_t coll, struct candidate *k, struct err *e)
{
	struct post_term q = { .text = k->word.text, .len = k->word.len };
	struct first_seen f = { .v = seen, .k = k };
	int rc = post_term_find(c, coll, 0, &q, 1, e);
	if (!rc) rc = post_term_each(coll, &q, block_count, &f, e);
	post_term_clear(&q);
	return rc;
}

static int by_worth(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	if (x->word.edits != y->word.edits) return x->word.edits < y->word.edits ? -1 : 1;
	if (x->df != y->df) return x->df > y->df ? -1 : 1;
	return strcmp(x->word.text, y->word.text);
}

struct counting { struct cursor *c; const struct visible *seen; uint32_t coll; };

/* Of struct dictionary: passages with the term that the reader sees. */
static int term_seen(void *ctx, const char *term, size_t n, uint64_t *out, struct err *e)
{
	const struct counting *count = ctx;
	struct candidate k = { .word = { term, n, 0 } };
	int rc = candidate_count(count->c, count->seen, count->coll, &k, e);
	*out = k.df;
	return rc;
}

/* Words that the last one may become, itself among them. */
static int candidates_find(struct cursor *c, const struct visible *seen, uint32_t coll, const struct last *l, struct arena *a,
	struct similar *out, size_t *n, struct err *e)
{
	struct counting count = { c, seen, coll };
	const struct dictionary d = { .c = c, .coll = coll, .seen = seen ? term_seen : NULL, .ctx = &count };
	struct buf fold;
	int rc;
	buf_init(&fold, FOLD_MAX);
	*n = 0;
	rc = uni_fold(l->query + l->off, l->end - l->off, &fold, e);
	if (!rc) rc = similar_longer(&d, buf_cstr(&fold), fold.len, 1, a, out, n, e);
	if (!rc && *n == 0) rc = similar_meant(&d, l->stem, l->stem_n, buf_cstr(&fold), fold.len, a, out, n, e);
	buf_clear(&fold);
	if (!rc && *n < SIMILAR_MAX) {
		const char *copy = arena_strndup(a, l->stem, l->stem_n);
		if (!copy) return err_set(e, E_MEMORY, "suggest: out of memory");
		out[(*n)++] = (struct similar){ copy, l->stem_n, 0 };
	}
	return rc;
}

/* The forms in which terms stand in passages, each term's in the order they were met. */
struct form { const char *text; size_t n; double times; };
struct forms { const char *term; size_t term_n; struct form form[FORMS]; size_t form_n; };
struct surface { const char *text; struct forms *of; size_t n; double weight; struct arena *a; }; /* weight: of one meeting */

static int form_met(struct surface *f, struct forms *of, const char *text, size_t n)
{
	size_t i = 0;
	while (i < of->form_n && (of->form[i].n != n || memcmp(of->form[i].text, text, n) != 0)) i++;
	if (i == FORMS) return OK;
	if (i == of->form_n) {
		const char *copy = arena_strndup(f->a, text, n);
		if (!copy) return E_MEMORY;
		of->form[of->form_n++] = (struct form){ copy, n, 0 };
	}
	of->form[i].times += f->weight;
	return OK;
}

static int on_word(void *ctx, const struct word *w, const char *term, size_t n)
{
	struct surface *f = ctx;
	int rc = OK;
	for (size_t i = 0; !rc && i < f->n; i++)
		if (n == f->of[i].term_n && memcmp(term, f->of[i].term, n) == 0) rc = form_met(f, &f->of[i], f->text + w->off, w->len);
	return rc;
}

static int surface_in(struct surface *f, enum words_language language, const char *text, size_t len, struct err *e)
{
	f->text = text;
	return words_visit_in(language, text, len, on_word, f, e);
}

/* What is not to be read is passed over. */
static int chunk_forms(struct snapshot *s, const struct reader *r, uint64_t chunk, struct surface *f)
{
	enum words_language language = 0;
	struct arena scratch;
	struct chunk c;
	struct doc d;
	struct err why;
	const char *text;
	size_t len;
	int rc;
	arena_init(&scratch, SUGGEST_ARENA);
	rc = snapshot_chunk(s, r, chunk, &scratch, &c, &why);
	if (!rc) rc = snapshot_doc_by_key(s, r, c.doc_key, &scratch, &d, &why);
	if (!rc) rc = snapshot_text(s, &d, &text, &len, &why);
	if (!rc) language = words_language(text, len);
	if (!rc && c.range.off <= len && c.range.len <= len - c.range.off)
		rc = surface_in(f, language, text + c.range.off, c.range.len, &why);
	if (!rc) rc = surface_in(f, language, c.heading, strlen(c.heading), &why);
	if (!rc) rc = surface_in(f, language, d.title, strlen(d.title), &why);
	arena_clear(&scratch);
	return rc == E_MEMORY ? rc : OK;
}

/* The form that stands most often in the candidate's first passages; *out NULL: none is to be read there. */
static int surface_of(struct snapshot *s, const struct reader *r, const struct candidate *k, struct arena *a, const char **out, struct err *e)
{
	struct forms of = { .term = k->word.text, .term_n = k->word.len };
	struct surface f = { .of = &of, .n = 1, .weight = 1, .a = a };
	size_t best = 0;
	*out = NULL;
	for (size_t i = 0; i < PASSAGES && i < k->df; i++)
		if (chunk_forms(s, r, k->chunk[i], &f)) return err_set(e, E_MEMORY, "suggest: out of memory");
	for (size_t i = 1; i < of.form_n; i++)
		if (of.form[i].times > of.form[best].times) best = i;
	if (of.form_n) *out = of.form[best].text;
	return OK;
}

/* Writes the best `max` with the query's beginning in front; what reads alike comes once. */
static int suggestions_make(struct snapshot *s, const struct reader *r, const struct last *l, const struct candidate *list, size_t n,
	size_t max, struct arena *a, struct suggestion *out, size_t *got, struct err *e)
{
	int rc = OK;
	for (size_t i = 0; !rc && i < n && *got < max; i++) {
		const char *word, *text;
		size_t same = 0;
		if (list[i].df == 0) continue;
		rc = surface_of(s, r, &list[i], a, &word, e);
		if (rc || !word) continue;
		text = arena_printf(a, "%.*s%s", (int)l->off, l->query, word);
		if (!text) return err_set(e, E_MEMORY, "suggest: out of memory");
		while (same < *got && strcmp(out[same].text, text) != 0) same++;
		if (same == *got) out[(*got)++] = (struct suggestion){ text, (double)list[i].df / (1 + list[i].word.edits) };
	}
	return rc;
}

int snapshot_suggest(struct snapshot *s, const struct reader *r, const char *query, size_t len, size_t max, struct arena *a,
	struct suggestion *out, size_t *got, struct err *e)
{
	struct last l = { .query = query };
	struct similar found[SIMILAR_MAX];
	struct candidate list[SIMILAR_MAX];
	struct visible *seen = NULL;
	struct cursor c = { 0 };
	struct rec_coll coll;
	size_t n = 0;
	int rc;
	*got = 0;
	if (!r || !r->collection) return err_set(e, E_USAGE, "suggest: no collection is named");
	if (len > SUGGEST_QUERY_MAX) return err_set(e, E_LIMIT, "suggest: a query of %zu bytes; at most %d", len, SUGGEST_QUERY_MAX);
	rc = words_visit(query, len, on_last, &l, e);
	if (rc || l.end != len || l.stem_n == 0 || l.alone) return rc;
	rc = coll_read(s->t, r->collection, &coll, e);
	if (rc) return rc == E_NOT_FOUND ? OK : rc;
	if (!reader_sees_all(r)) rc = visible_get(s, r, coll.number, &seen, e);
	if (!rc) rc = cursor_open(&c, s->t, T_POST, e);
	if (!rc) rc = candidates_find(&c, seen, coll.number, &l, a, found, &n, e);
	for (size_t i = 0; !rc && i < n; i++) {
		list[i] = (struct candidate){ .word = found[i] };
		rc = candidate_count(&c, seen, coll.number, &list[i], e);
	}
	cursor_close(&c);
	if (!rc && n) qsort(list, n, sizeof *list, by_worth);
	if (!rc) rc = suggestions_make(s, r, &l, list, n, max, a, out, got, e);
	visible_put(seen);
	return rc;
}

/* ---- words of a search ---- */

int snapshot_words_read(struct snapshot *s, const struct reader *r, const char *query, size_t len, struct arena *a,
	struct word_reading **out, size_t *n, struct err *e)
{
	struct word_hit hit[READ_PASSAGES];
	const struct word_meant *meant;
	struct surface f = { .a = a };
	size_t hit_n, meant_n, most = 0;
	*n = 0;
	*out = NULL;
	int rc = snapshot_search_words(s, r, query, len, READ_PASSAGES, hit, &hit_n, e);
	if (rc || !hit_n) return rc;                    /* nothing was searched, nothing is meant */
	snapshot_words_meant(s, &meant, &meant_n);
	if (!meant_n) return OK;
	f.of = arena_calloc(a, meant_n, sizeof *f.of);
	if (!f.of) return err_set(e, E_MEMORY, "search: out of memory");
	for (f.n = 0; f.n < meant_n; f.n++) f.of[f.n].term = meant[f.n].term, f.of[f.n].term_n = strlen(meant[f.n].term);
	for (size_t i = 0; i < hit_n; i++) {
		f.weight = 1 / (1 + (double)i);
		if (chunk_forms(s, r, hit[i].chunk_id, &f)) return err_set(e, E_MEMORY, "search: out of memory");
	}
	for (size_t i = 0; i < meant_n; i++) most += f.of[i].form_n ? f.of[i].form_n : 1;
	*out = arena_alloc(a, most * sizeof **out);
	for (size_t i = 0; *out && i < meant_n; i++) {
		const struct forms *of = &f.of[i];
		const char *term = arena_strdup(a, of->term);
		if (!term) *out = NULL;
		for (size_t k = 0; *out && k < of->form_n; k++)
			(*out)[(*n)++] = (struct word_reading){ term, of->form[k].text, meant[i].at, of->form[k].times };
		if (*out && !of->form_n) (*out)[(*n)++] = (struct word_reading){ term, term, meant[i].at, 0 };
	}
	return *out ? OK : (*n = 0, err_set(e, E_MEMORY, "search: out of memory"));
}
