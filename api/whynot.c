/* whynot.c: owns the account of one document in one search (whynot.h).
 *
 * Method: what a search does step by step is asked for that document. Where it got into the rankings, the search itself is
 * run and its place read off; each ranking is then looked through deeper and deeper for its best passage, beyond the
 * candidates too: its rank there is exact, whatever it costs.
 * Threads: no state. Failure: errors of the search; nothing stays open. */
#include "api/whynot.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/words.h"
#include "index/filter.h"

enum { ORDER_ARENA = 1 << 30, WORDS_MAX = 1000 };

struct job {
	struct service *s;
	const struct reader *r;
	const char *query;
	const struct search_want *want;
	struct retrieval found;
	const struct chunk *chunks; size_t n;  /* the document's, ids ascending */
	struct arena *a;
	struct whynot *out;
};

static const char *const step_names[] = { "found", "collection", "access", "filter", "no_text", "phrase", "candidates", "fusion", "cut" };

const char *whynot_step_name(enum whynot_step step)
{
	return step_names[step];
}

/* Which of the document's chunks it is; n: none. */
static size_t chunk_at(const struct job *j, uint64_t id)
{
	size_t i = 0;
	while (i < j->n && j->chunks[i].id != id) i++;
	return i;
}

/* ---- the rankings ---- */

/* One ranking of `depth` hits: 0 … depth - 1 with id and score. */
static int list_read(struct job *j, int words, size_t depth, struct vec_hit *hits, size_t *got, struct err *e)
{
	struct word_hit *w;
	int rc;
	if (!words) return snapshot_search(j->found.snapshot, j->r, j->found.query, depth, hits, got, e);
	w = mem_alloc((depth + 1) * sizeof *w);
	if (!w) return err_set(e, E_MEMORY, "why-not: out of memory");
	rc = snapshot_search_words(j->found.snapshot, j->r, j->query, strlen(j->query), depth, w, got, e);
	for (size_t i = 0; !rc && i < *got; i++) hits[i] = (struct vec_hit){ w[i].chunk_id, w[i].score };
	mem_free(w);
	return rc;
}

/* Looks for the document in a ranking, deeper and deeper until it is there or the ranking ends. *best: the chunk. */
static int list_find(struct job *j, int words, struct whynot_list *out, size_t *best, struct err *e)
{
	const size_t first = (size_t)j->s->conf.search_depth;
	size_t got = 0;
	int rc = OK;
	*out = (struct whynot_list){ .depth = first };
	*best = j->n;
	for (size_t depth = first; !rc; depth *= 4) {
		struct vec_hit *hits = mem_alloc((depth + 1) * sizeof *hits);
		rc = hits ? list_read(j, words, depth, hits, &got, e) : err_set(e, E_MEMORY, "why-not: out of memory");
		for (size_t i = 0; !rc && i < got && !out->place; i++) {
			if ((*best = chunk_at(j, hits[i].chunk_id)) == j->n) continue;
			out->place = i + 1;
			out->score = hits[i].score;
		}
		if (!rc && depth == first) out->needed = got == depth ? hits[got - 1].score : 0;
		mem_free(hits);
		out->missed = !rc && out->place && depth > first && out->score > out->needed;
		if (out->place || got < depth) break;
	}
	return rc;
}

/* The document's place in an order of hits, 0 where it has none, and the hit. */
static size_t order_find(const struct job *j, const struct fused_hit *hits, size_t n, struct fused_hit *hit)
{
	for (size_t i = 0; i < n; i++) {
		if (chunk_at(j, hits[i].chunk_id) == j->n) continue;
		*hit = hits[i];
		return i + 1;
	}
	return 0;
}

/* The other order, by document or not, for what it tells. Beside the first, of what may be a later state of the store. */
static int other_order(struct job *j, struct err *e)
{
	struct search_want want = *j->want;
	struct whynot *out = j->out;
	struct retrieval other;
	struct arena scratch;
	struct fused_hit *hits, hit;
	size_t n, place;
	int rc;
	arena_init(&scratch, ORDER_ARENA);
	want.by_document = !want.by_document;
	rc = retrieve_order(j->s, j->r, j->query, strlen(j->query), &want, &scratch, &other, &hits, &n, e);
	if (!rc) {
		place = order_find(j, hits, n, &hit);
		if (want.by_document) out->alone = place;
		for (size_t i = 0; !want.by_document && i < n; i++)
			out->held += i + 1 != place && hits[i].score >= out->needed && chunk_at(j, hits[i].chunk_id) < j->n;
		retrieve_close(&other);
	}
	arena_clear(&scratch);
	return rc;
}

/* Place and scores among all hits, and the step that this means. */
static int order_judge(struct job *j, const struct fused_hit *hits, size_t n, struct err *e)
{
	struct whynot *out = j->out;
	const size_t k = j->want->k;
	size_t of_dense, of_words, at = j->n;
	struct fused_hit hit = { 0 };
	int rc = OK;
	out->place = order_find(j, hits, n, &hit);
	out->score = out->place ? hit.score : 0;
	out->needed = n >= k ? hits[k - 1].score : 0;
	if (j->want->mode != SEARCH_LEXICAL) rc = list_find(j, 0, &out->dense, &of_dense, e);
	if (!rc && j->want->mode != SEARCH_DENSE) rc = list_find(j, 1, &out->lexical, &of_words, e);
	if (rc) return rc;
	if (out->place) at = chunk_at(j, hit.chunk_id);
	else if (out->lexical.place) at = of_words;
	if (at == j->n && out->dense.place) at = of_dense;
	if ((out->has_best = at < j->n)) out->best = j->chunks[at];
	int first = (out->dense.place && out->dense.place <= k) || (out->lexical.place && out->lexical.place <= k);
	out->step = out->place && out->place <= k ? WHYNOT_FOUND : !out->place && !out->has_best && j->r->phrases ? WHYNOT_PHRASE :
		!out->place ? WHYNOT_CANDIDATES : first && j->want->mode == SEARCH_HYBRID ? WHYNOT_FUSION : WHYNOT_CUT;
	return out->place ? other_order(j, e) : OK;
}

/* ---- words ---- */

static int by_stem(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

struct stems { enum words_language language; uint64_t *at; size_t n, cap; struct arena *a; };

static int stem_put(void *ctx, const struct word *w, const char *term, size_t len)
{
	struct stems *s = ctx;
	(void)term, (void)len;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 1024;
		uint64_t *more = mem_realloc(s->at, cap * sizeof *more);
		if (!more) return E_MEMORY;
		s->at = more;
		s->cap = cap;
	}
	s->at[s->n++] = w->stem;
	return OK;
}

/* The stems of all that is indexed of the document, sorted; s->at is the caller's also after a failure. */
static int doc_stems(struct job *j, struct stems *s, struct err *e)
{
	const struct doc *d = &j->out->doc;
	const char *text;
	size_t len;
	int rc = snapshot_text(j->found.snapshot, d, &text, &len, e);
	if (!rc) s->language = words_language(text, len);
	if (!rc) rc = words_visit_in(s->language, text, len, stem_put, s, e);
	if (!rc) rc = words_visit_in(s->language, d->title, strlen(d->title), stem_put, s, e);
	for (size_t i = 0; !rc && i < j->n; i++) rc = words_visit_in(s->language, j->chunks[i].heading, strlen(j->chunks[i].heading), stem_put, s, e);
	if (rc) return err_set(e, rc, "why-not: %s", rc == E_MEMORY ? "out of memory" : "its text cannot be read");
	if (s->n) qsort(s->at, s->n, sizeof *s->at, by_stem);
	return OK;
}

/* Which of the query's words the document holds; function words count only where there are no others. */
static int words_judge(struct job *j, struct err *e)
{
	struct whynot *out = j->out;
	struct stems s = { 0 };
	struct word *w;
	size_t n;
	int only_stops = 1, rc = doc_stems(j, &s, e);
	if (!rc) rc = words_of_in(s.language, j->query, strlen(j->query), j->a, &w, &n, e);
	if (!rc && n > WORDS_MAX) n = WORDS_MAX;
	if (!rc) {
		out->held_words = arena_alloc(j->a, (n + 1) * sizeof *out->held_words);
		out->lacking = arena_alloc(j->a, (n + 1) * sizeof *out->lacking);
		if (!out->held_words || !out->lacking) rc = err_set(e, E_MEMORY, "why-not: out of memory");
	}
	for (size_t i = 0; !rc && i < n; i++) only_stops &= w[i].stop;
	for (size_t i = 0; !rc && i < n; i++) {
		const char *word = arena_strndup(j->a, j->query + w[i].off, w[i].len);
		if (w[i].stop && !only_stops) continue;
		if (words_have(w, i, w[i].stem)) continue;
		if (!word) rc = err_set(e, E_MEMORY, "why-not: out of memory");
		else if (s.n && bsearch(&w[i].stem, s.at, s.n, sizeof *s.at, by_stem)) out->held_words[out->held_words_n++] = word;
		else out->lacking[out->lacking_n++] = word;
	}
	mem_free(s.at);
	return rc;
}

/* ---- a sentence ---- */

static const char *no_text_reason(const struct doc *d, struct arena *a)
{
	if (d->verdict == DOC_DUPLICATE) return arena_printf(a, "its content is that of document %s, which is found in its place", d->duplicate_of);
	return arena_printf(a, "it has no text to be found (%s%s%s)", doc_verdict_name(d->verdict), *d->reason ? ": " : "", d->reason);
}

/* "by words in place 7", "not by words"; "" for a ranking that the mode has not. */
static const char *place_text(struct arena *a, const char *by, const struct whynot_list *l)
{
	if (!l->depth) return "";
	return l->place ? arena_printf(a, "by %s in place %zu", by, l->place) : arena_printf(a, "not by %s", by);
}

static const char *candidates_reason(const struct job *j)
{
	const struct whynot *out = j->out;
	const char *meaning = place_text(j->a, "meaning", &out->dense), *words = place_text(j->a, "words", &out->lexical);
	if (!meaning || !words) return NULL;
	if (!out->dense.depth && !out->lexical.place) return "none of its passages holds a word that was looked for";
	return arena_printf(j->a, "it is not among the first %d of a ranking, which are looked at (search.fuse_depth): %s%s%s%s", j->s->conf.search_depth, meaning,
		*meaning && *words ? ", " : "", words, out->dense.missed ? "; the quick search by meaning missed it, a deeper one finds it" : "");
}

static const char *order_reason(const struct job *j)
{
	const struct whynot *out = j->out;
	const char *meaning = place_text(j->a, "meaning", &out->dense), *words = place_text(j->a, "words", &out->lexical);
	const char *grouped = out->alone && out->alone <= j->want->k ? arena_printf(j->a, "; with one hit a document it would be in place %zu", out->alone) : "";
	if (!grouped || !meaning || !words) return NULL;
	if (out->step == WHYNOT_FOUND) return arena_printf(j->a, "it is there, in place %zu", out->place);
	if (out->step == WHYNOT_FUSION)
		return arena_printf(j->a, "one ranking alone has it among the first %zu (%s, %s), both joined put it in place %zu (score %.4f, needed: %.4f)%s",
			j->want->k, meaning, words, out->place, out->score, out->needed, grouped);
	return arena_printf(j->a, "it comes in place %zu, behind the %zu that were asked for (score %.4f, needed: %.4f)%s", out->place, j->want->k, out->score,
		out->needed, grouped);
}

static int reason_give(struct job *j, struct err *e)
{
	struct whynot *out = j->out;
	switch (out->step) {
	case WHYNOT_COLLECTION: out->reason = arena_printf(j->a, "it is in collection %s, not in %s", out->doc.collection, j->r->collection); break;
	case WHYNOT_ACCESS: out->reason = "the reader has none of its groups"; break;
	case WHYNOT_FILTER: out->reason = arena_printf(j->a, "it does not fit the filter %s", filter_text(j->r->filter)); break;
	case WHYNOT_NO_TEXT: out->reason = no_text_reason(&out->doc, j->a); break;
	case WHYNOT_PHRASE: out->reason = "none of its passages holds what the query quotes, as it is quoted"; break;
	case WHYNOT_CANDIDATES: out->reason = candidates_reason(j); break;
	default: out->reason = order_reason(j);
	}
	return out->reason ? OK : err_set(e, E_MEMORY, "why-not: out of memory");
}

/* ---- all together ---- */

/* The steps before any ranking; 1 when one of them decides. */
static int step_before(const struct job *j)
{
	struct whynot *out = j->out;
	struct reader bare;         /* the same with its groups alone */
	bare = *j->r;
	bare.filter = NULL;
	bare.collection = NULL;
	if (strcmp(out->doc.collection, j->r->collection) != 0) out->step = WHYNOT_COLLECTION;
	else if (!reader_may_see(&bare, &out->doc)) out->step = WHYNOT_ACCESS;
	else if (!filter_match(j->r->filter, &out->doc)) out->step = WHYNOT_FILTER;
	else if (!doc_verdict_has_text(out->doc.verdict) || !out->doc.chunks) out->step = WHYNOT_NO_TEXT;
	else return 0;
	return 1;
}

static int doc_find(struct job *j, const struct reader *asker, const char *id, struct err *e)
{
	struct snapshot *s;
	int rc = snapshot_open(&s, j->s->index, e);
	if (rc) return rc;
	rc = snapshot_doc(s, asker, id, j->a, &j->out->doc, e);
	j->out->seq = snapshot_seq(s);
	snapshot_close(s);
	return rc;
}

int whynot_run(struct service *s, const struct reader *asker, const struct reader *r, const char *query, const struct search_want *want,
	const char *id, struct arena *a, struct whynot *out, struct err *e)
{
	struct job j = { .s = s, .r = r, .query = query, .want = want, .a = a, .out = out };
	struct fused_hit *hits;
	struct chunk *chunks;
	struct arena order;
	size_t n;
	memset(out, 0, sizeof *out);
	int rc = query_check(query, strlen(query), "query", e);
	if (!rc) rc = doc_find(&j, asker, id, e);
	if (rc) return rc;
	if (step_before(&j)) return reason_give(&j, e);
	arena_init(&order, ORDER_ARENA);
	rc = retrieve_order(s, r, query, strlen(query), want, &order, &j.found, &hits, &n, e);
	if (!rc) {
		/* of the state that was searched, in which it may have changed or gone */
		rc = snapshot_doc(j.found.snapshot, r, id, a, &out->doc, e);
		if (!rc) rc = snapshot_chunks(j.found.snapshot, &out->doc, a, &chunks, &j.n, e);
		j.chunks = rc ? NULL : chunks;
		out->seq = j.found.seq;
		if (!rc) rc = order_judge(&j, hits, n, e);
		if (!rc) rc = words_judge(&j, e);
		if (!rc) rc = reason_give(&j, e);
		retrieve_close(&j.found);
	}
	arena_clear(&order);
	return rc;
}
