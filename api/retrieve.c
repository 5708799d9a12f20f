/* retrieve.c: query text to ranked passages (retrieve.h).
 *
 * The query is embedded once, the collection's vectors and its words are searched with the reader's access inside
 * candidate generation (index.h), the two rankings are joined (fuse.c), and each chunk is looked up in the same snapshot,
 * so that text, offsets and revision belong together. Both rankings have one fixed depth, whatever k is, so that pages of
 * one search are cut from one order; a page below it looks into rankings of double depth, as often as needed, for hits
 * that were not there yet, which come behind. (Joining anew at another depth would move the first places too, and pages
 * would repeat and lose hits.) One hit a document is cut from the same order: the first of each.
 * A long query is compared with the first hits part by part too (longquery.h).
 * The first hits of the joined order are read, each together with the query, and get a part for that (rerank.h).
 * Several queries are searched one after another, each taking a millisecond or two, and their rankings are joined by places.
 * An identifier in the query that few passages hold as it is written puts these first (exact.h), whatever it means to the
 * embedding.
 * Threads: any; nothing is shared. Failure: out is closed, nothing stays open. */
#include "api/retrieve.h"
#include <stdlib.h>
#include <string.h>
#include "api/exact.h"
#include "api/gist.h"
#include "api/longquery.h"
#include "api/rerank.h"
#include "api/version.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"
#include "index/phrase.h"

struct ask { const char *query; size_t len; enum search_mode mode; const struct conf *conf; };
/* What is marked in passages: the query's words, others that were looked for in their place, identifiers as written. */
struct marks {
	struct stemmed { uint64_t *stem; size_t n; } in[WORDS_LANGUAGES]; /* as a language has them, once a passage was in it; sorted */
	int only_stops;
	const struct word_meant *meant; size_t meant_n;
	const char *query; size_t len;
	struct span ids[EXACT_MAX]; size_t id_n;
};
struct ranking { struct fused_hit *hits; size_t n; };

static const char *const mode_names[] = { "hybrid", "dense", "lexical" };

int search_mode_parse(const char *s)
{
	for (int i = 0; i < 3; i++)
		if (strcmp(s, mode_names[i]) == 0) return i;
	return -1;
}

const char *search_mode_name(enum search_mode m)
{
	return mode_names[m];
}

const char *phrases_remark(const struct phrases *p, struct arena *a)
{
	const char *s = p ? "no passage holds " : NULL;
	for (size_t i = 0; s && i < p->n; i++)
		s = arena_printf(a, "%s%s\"%.*s\"", s, i ? " and " : "", (int)(p->at[i].len < 1000 ? p->at[i].len : utf8_floor(p->at[i].text, p->at[i].len, 1000)), p->at[i].text);
	return s ? arena_printf(a, "%s as it is quoted", s) : NULL;
}

int query_check(const char *query, size_t len, const char *what, struct err *e)
{
	size_t i = 0;
	if (!utf8_valid(query, len)) return err_set(e, E_USAGE, "%s: not valid UTF-8", what);
	while (i < len) {
		int32_t cp = utf8_next(query, len, &i);
		if (!uni_is_white_space((uint32_t)cp) && uni_class((uint32_t)cp) != UNI_CONTROL) return OK;
	}
	return err_set(e, E_USAGE, "%s: empty", what);
}

static int by_id(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/* The query's words as the search by words takes them: function words only where there are no others. Sorted, since a
 * query may be as long as a document. */
static int marks_take(const struct snapshot *s, const struct ask *ask, struct arena *a, struct marks *out, struct err *e)
{
	struct word *w;
	size_t n;
	int rc = words_of(ask->query, ask->len, a, &w, &n, e);
	if (rc) return rc;
	*out = (struct marks){ .only_stops = 1, .query = ask->query, .len = ask->len };
	for (size_t i = 0; i < n; i++) out->only_stops &= w[i].stop;
	out->id_n = exact_take(ask->query, ask->len, out->ids);
	if (ask->mode != SEARCH_DENSE) snapshot_words_meant(s, &out->meant, &out->meant_n);
	return OK;
}

/* The same words, stemmed as a passage's are. */
static int marks_stem(struct marks *m, enum words_language language, struct arena *a, struct err *e)
{
	struct stemmed *out = &m->in[language];
	struct word *w;
	size_t n;
	int rc = out->stem ? OK : words_of_in(language, m->query, m->len, a, &w, &n, e);
	if (rc || out->stem) return rc;
	out->stem = arena_alloc(a, (n + 1) * sizeof *out->stem);
	if (!out->stem) return err_set(e, E_MEMORY, "search: out of memory");
	for (size_t i = 0; i < n; i++)
		if (!w[i].stop || m->only_stops) out->stem[out->n++] = w[i].stem;
	qsort(out->stem, out->n, sizeof *out->stem, by_id);
	return OK;
}

struct marking { struct passage *p; const struct marks *m; struct arena *a; size_t cap; };

static int mark_put(struct marking *t, size_t off, size_t len)
{
	struct passage *p = t->p;
	if (p->highlight_n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 16;
		struct span *more = arena_alloc(t->a, cap * sizeof *more);
		if (!more) return E_MEMORY;
		if (p->highlight_n) memcpy(more, p->highlights, p->highlight_n * sizeof *more);
		p->highlights = more;
		t->cap = cap;
	}
	p->highlights[p->highlight_n++] = (struct span){ p->chunk.range.off + (uint32_t)off, (uint32_t)len };
	return OK;
}

static int mark_word(void *ctx, const struct word *w, const char *term, size_t n)
{
	struct marking *t = ctx;
	const struct marks *m = t->m;
	const struct stemmed *in = &m->in[t->p->language];
	int yes = (!w->stop || m->only_stops) && bsearch(&w->stem, in->stem, in->n, sizeof *in->stem, by_id);
	for (size_t i = 0; !yes && i < m->meant_n; i++) yes = strlen(m->meant[i].term) == n && memcmp(m->meant[i].term, term, n) == 0;
	return yes ? mark_put(t, w->off, w->len) : OK;
}

static int by_off(const void *a, const void *b)
{
	const struct span *x = a, *y = b;
	if (x->off != y->off) return x->off < y->off ? -1 : 1;
	return (x->len < y->len) - (x->len > y->len);
}

/* Where what was looked for stands in the passage; what lies in or over something else is one with it. */
static int highlight(struct passage *p, struct marks *m, struct arena *a, struct err *e)
{
	struct marking t = { p, m, a, 0 };
	size_t kept = 0;
	int rc = marks_stem(m, p->language, a, e);
	if (!rc) rc = words_visit_in(p->language, p->text, p->text_len, mark_word, &t, e);
	for (size_t i = 0; i < m->id_n; i++) {
		const char *id = m->query + m->ids[i].off;
		size_t len = m->ids[i].len, at = exact_find(p->text, p->text_len, 0, id, len);
		for (; !rc && at < p->text_len; at = exact_find(p->text, p->text_len, at + len, id, len)) rc = mark_put(&t, at, len);
	}
	if (rc) return err_set(e, rc, "search: out of memory");
	if (p->highlight_n) qsort(p->highlights, p->highlight_n, sizeof *p->highlights, by_off);
	for (size_t i = 1; i < p->highlight_n; i++) {
		struct span *last = &p->highlights[kept], s = p->highlights[i];
		if (s.off >= last->off + last->len) p->highlights[++kept] = s;
		else if (s.off + s.len > last->off + last->len) last->len = s.off + s.len - last->off;
	}
	if (p->highlight_n) p->highlight_n = kept + 1;
	return OK;
}

/* How near the chunk is to the query, where the ranking by meaning does not tell. */
static int cosine_of(const struct retrieval *r, uint64_t chunk, size_t query, double *out, struct err *e)
{
	int dim = embedder_info(r->embedder)->dim;
	const float *q = r->query + query * (size_t)dim;
	float *v = mem_alloc((size_t)dim * sizeof *v);
	int rc = v ? snapshot_vector(r->snapshot, chunk, v, e) : err_set(e, E_MEMORY, "search: out of memory");
	*out = 0;
	for (int i = 0; !rc && i < dim; i++) *out += (double)q[i] * v[i];
	mem_free(v);
	return rc;
}

static int passage_fill(const struct reader *r, const struct fused_hit *hit, struct retrieval *out, struct arena *a,
	struct passage *p, struct err *e)
{
	const char *text;
	size_t len;
	int rc = snapshot_chunk(out->snapshot, r, hit->chunk_id, a, &p->chunk, e);
	if (!rc) rc = snapshot_doc_by_key(out->snapshot, r, p->chunk.doc_key, a, &p->doc, e);
	if (!rc) rc = snapshot_text(out->snapshot, &p->doc, &text, &len, e);
	if (rc) return rc;
	if (p->chunk.range.off > len || p->chunk.range.len > len - p->chunk.range.off)
		return err_set(e, E_CORRUPT, "chunk %llu of %s lies outside its text", (unsigned long long)p->chunk.id, p->doc.id);
	p->text = text + p->chunk.range.off;
	p->text_len = p->chunk.range.len;
	p->language = words_language(text, len);
	p->score = hit->score;
	p->by_vector = hit->by_vector;
	p->by_words = hit->by_words;
	p->by_parts = hit->by_parts;
	p->by_reader = hit->by_reader;
	p->reading = rerank_reading(out, hit->chunk_id);
	p->exact = hit->exact;
	p->cosine = hit->by_vector.score;
	p->query = hit->query;
	if (out->query && !hit->by_vector.rank) rc = cosine_of(out, hit->chunk_id, hit->query, &p->cosine, e);
	return rc;
}

static int query_embed(struct service *s, const struct embed_text *texts, size_t n, struct arena *a, struct retrieval *out, struct err *e)
{
	double t0 = clock_ms();
	int rc = service_embedder_of(s, out->snapshot, &out->embedder, e);
	if (rc) return rc;
	out->query = arena_alloc(a, n * (size_t)embedder_info(out->embedder)->dim * sizeof *out->query);
	out->query_n = n;
	if (!out->query) return err_set(e, E_MEMORY, "search: out of memory");
	rc = embedder_encode(out->embedder, texts, n, EMBED_QUERY, EMBED_FIRST, out->query, e);
	out->embed_ms = clock_ms() - t0;
	return rc;
}

/* *holds: for each identifier, whether the chunk has it in its text, its heading or its document's title. */
static int identifiers_in(const struct retrieval *found, const struct reader *r, const struct ask *ask, const struct span *ids, size_t n,
	uint64_t chunk, uint8_t *holds, struct err *e)
{
	struct chunk c;
	struct doc d;
	struct arena a;
	const char *text;
	size_t len;
	arena_init(&a, 64 << 20);
	int rc = snapshot_chunk(found->snapshot, r, chunk, &a, &c, e);
	if (!rc) rc = snapshot_doc_by_key(found->snapshot, r, c.doc_key, &a, &d, e);
	if (!rc) rc = snapshot_text(found->snapshot, &d, &text, &len, e);
	for (size_t i = 0; !rc && i < n; i++) {
		const char *id = ask->query + ids[i].off;
		holds[i] = (c.range.off <= len && c.range.len <= len - c.range.off && exact_holds(text + c.range.off, c.range.len, id, ids[i].len)) ||
			exact_holds(c.heading, strlen(c.heading), id, ids[i].len) || exact_holds(d.title, strlen(d.title), id, ids[i].len);
	}
	arena_clear(&a);
	return rc;
}

/* Lifts what holds an identifier of the query over all that does not, when few enough of the hits by words do: then who
 * wrote it meant it. */
static int identifiers_lift(const struct reader *r, const struct ask *ask, const struct retrieval *found,
	const struct word_hit *word, size_t word_n, double part, struct arena *a, struct ranking *out, struct err *e)
{
	struct span ids[EXACT_MAX];
	size_t counts[EXACT_MAX] = { 0 }, n = exact_take(ask->query, ask->len, ids), lifted = 0;
	if (n == 0 || word_n == 0 || ask->conf->search_exact_max == 0) return OK;
	uint8_t *holds = arena_calloc(a, word_n, EXACT_MAX);
	struct fuse_part *parts = arena_calloc(a, word_n, sizeof *parts);
	int rc = holds && parts ? OK : err_set(e, E_MEMORY, "search: out of memory");
	for (size_t i = 0; !rc && i < word_n; i++) {
		rc = identifiers_in(found, r, ask, ids, n, word[i].chunk_id, holds + i * EXACT_MAX, e);
		for (size_t j = 0; !rc && j < n; j++) counts[j] += holds[i * EXACT_MAX + j];
	}
	for (size_t i = 0; !rc && i < word_n; i++) {
		size_t held = 0;
		for (size_t j = 0; j < n; j++) held += holds[i * EXACT_MAX + j] && counts[j] <= (size_t)ask->conf->search_exact_max;
		if (held) parts[lifted++] = (struct fuse_part){ word[i].chunk_id, part * (double)held };
	}
	if (!rc) fuse_lift(out->hits, out->n, parts, lifted);
	return rc;
}

/* The ranking of a mode from lists of `depth` hits each; *more: a list was that long, so deeper ones may hold others. */
static int rank_at(const struct reader *r, const struct ask *ask, size_t depth, const struct retrieval *found,
	struct arena *a, struct ranking *out, int *more, struct err *e)
{
	const struct fuse_options fuse = { strcmp(ask->conf->search_fusion, "rrf") == 0 ? FUSE_RANKS : FUSE_SCORES,
		ask->conf->search_rrf_k, 1, ask->conf->search_word_weight };
	struct vec_hit *vec = arena_alloc(a, (depth + 1) * sizeof *vec);
	struct word_hit *word = arena_alloc(a, (depth + 1) * sizeof *word);
	struct fused_hit *hits = out->hits = arena_calloc(a, 2 * depth + 1, sizeof *hits);
	size_t vec_n = 0, word_n = 0;
	int rc = vec && word && hits ? OK : err_set(e, E_MEMORY, "search: out of memory for %zu hits", depth);
	if (!rc && ask->mode != SEARCH_LEXICAL) rc = snapshot_search(found->snapshot, r, found->query, depth, vec, &vec_n, e);
	if (!rc && ask->mode != SEARCH_DENSE) rc = snapshot_search_words(found->snapshot, r, ask->query, ask->len, depth, word, &word_n, e);
	if (rc) return rc;
	*more = vec_n == depth || word_n == depth;
	out->n = vec_n + word_n;
	if (ask->mode == SEARCH_HYBRID) {
		out->n = fuse_join(vec, vec_n, word, word_n, hits);
		fuse_weigh(hits, out->n, &fuse);
		rc = identifiers_lift(r, ask, found, word, word_n, fuse_most(&fuse) + ask->conf->rerank_weight, a, out, e);
	}
	for (size_t i = 0; ask->mode == SEARCH_DENSE && i < vec_n; i++)
		hits[i] = (struct fused_hit){ vec[i].chunk_id, vec[i].score, .by_vector = { (uint32_t)i + 1, vec[i].score, vec[i].score } };
	for (size_t i = 0; ask->mode == SEARCH_LEXICAL && i < word_n; i++)
		hits[i] = (struct fused_hit){ word[i].chunk_id, word[i].score, .by_words = { (uint32_t)i + 1, word[i].score, word[i].score } };
	return rc;
}

/* Puts the hits of `deeper` that `all` lacks behind it. */
static int rank_append(struct ranking *all, const struct ranking *deeper, struct arena *a, struct err *e)
{
	struct fused_hit *hits = arena_alloc(a, (all->n + deeper->n + 1) * sizeof *hits);
	uint64_t *seen = arena_alloc(a, (all->n + 1) * sizeof *seen);
	size_t n = all->n;
	if (!hits || !seen) return err_set(e, E_MEMORY, "search: out of memory for %zu hits", n + deeper->n);
	for (size_t i = 0; i < n; i++) hits[i] = all->hits[i], seen[i] = all->hits[i].chunk_id;
	qsort(seen, n, sizeof *seen, by_id);
	for (size_t i = 0; i < deeper->n; i++)
		if (!bsearch(&deeper->hits[i].chunk_id, seen, n, sizeof *seen, by_id)) hits[all->n++] = deeper->hits[i];
	all->hits = hits;
	return OK;
}

struct placed { uint64_t doc; size_t at; };

static int by_doc(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	if (x->doc != y->doc) return x->doc < y->doc ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

/* The document of each hit. */
static int docs_find(const struct reader *r, const struct ranking *all, const struct retrieval *found, struct placed *docs, struct err *e)
{
	struct arena scratch;
	struct chunk c;
	int rc = OK;
	arena_init(&scratch, 64 << 20);
	for (size_t i = 0; !rc && i < all->n; i++) {
		rc = snapshot_chunk(found->snapshot, r, all->hits[i].chunk_id, &scratch, &c, e);
		if (!rc) docs[i] = (struct placed){ c.doc_key, i };
		arena_clear(&scratch);
	}
	return rc;
}

/* Leaves the best hit of each document. What is found deeper changes nothing of that. */
static int rank_group(const struct reader *r, const struct ranking *all, const struct retrieval *found, struct arena *a,
	struct ranking *out, struct err *e)
{
	struct placed *docs = arena_alloc(a, (all->n + 1) * sizeof *docs);
	uint8_t *keep = arena_calloc(a, all->n + 1, 1);
	*out = (struct ranking){ arena_alloc(a, (all->n + 1) * sizeof *out->hits), 0 };
	if (!docs || !keep || !out->hits) return err_set(e, E_MEMORY, "search: out of memory for %zu hits", all->n);
	int rc = docs_find(r, all, found, docs, e);
	if (rc) return rc;
	if (all->n) qsort(docs, all->n, sizeof *docs, by_doc);
	for (size_t i = 0; i < all->n; i++) keep[docs[i].at] = i == 0 || docs[i].doc != docs[i - 1].doc;
	for (size_t i = 0; i < all->n; i++)
		if (keep[i]) out->hits[out->n++] = all->hits[i];
	return OK;
}

/* At least `want` hits, or documents, where there are so many. How deep it looks changes nothing above: lists of one depth
 * give the beginning, and each doubling only adds what was not there. */
static int rank(struct service *s, const struct reader *r, const struct ask *ask, size_t want, int by_document, int reread,
	struct retrieval *found, struct arena *a, struct ranking *out, struct err *e)
{
	struct ranking all, deeper;
	size_t depth = (size_t)ask->conf->search_depth;
	int more, rc = rank_at(r, ask, depth, found, a, &all, &more, e);
	if (!rc && ask->mode == SEARCH_HYBRID) rc = longquery_rank(ask->conf, r, ask->query, ask->len, all.hits, all.n, found, a, e);
	if (!rc && reread && ask->mode == SEARCH_HYBRID) rc = rerank(s, ask->conf, r, ask->query, ask->len, all.hits, all.n, found, a, e);
	for (;; depth *= 2) {
		*out = all;
		if (!rc && by_document) rc = rank_group(r, &all, found, a, out, e);
		if (rc || !more || out->n >= want) break;
		rc = rank_at(r, ask, 2 * depth, found, a, &deeper, &more, e);
		if (!rc) rc = rank_append(&all, &deeper, a, e);
	}
	found->end = !rc && !more ? out->n : SIZE_MAX;
	return rc;
}

int retrieve_order(struct service *s, const struct reader *r, const char *query, size_t len, const struct search_want *want,
	struct arena *a, struct retrieval *out, struct fused_hit **hits, size_t *n, struct err *e)
{
	const struct ask ask = { query, len, want->mode, want->conf ? want->conf : &s->conf };
	struct ranking ranked = { NULL, 0 };
	memset(out, 0, sizeof *out);
	int rc = query_check(query, len, "query", e);
	if (!rc) rc = snapshot_open(&out->snapshot, s->index, e);
	if (rc) return rc;
	if (want->mode != SEARCH_LEXICAL) rc = query_embed(s, &(struct embed_text){ query, len }, 1, a, out, e);
	double t0 = clock_ms();
	out->seq = snapshot_seq(out->snapshot);
	if (!rc) rc = rank(s, r, &ask, want->k + want->skip, want->by_document, 1, out, a, &ranked, e);
	*hits = ranked.hits;
	*n = ranked.n;
	out->search_ms = clock_ms() - t0 - out->rerank_ms;
	if (rc) retrieve_close(out);
	return rc;
}

/* Takes the gist of the passage to gists[n]; *again: which of the n before says the same, n: none. */
static int gist_seen(const struct passage *p, struct gist *gists, size_t n, struct arena *a, size_t *again, struct err *e)
{
	int rc = gist_take(p->text, p->text_len, p->language, a, &gists[n], e);
	for (*again = 0; rc == OK && *again < n && !gist_repeats(&gists[n], &gists[*again]);) ++*again;
	return rc;
}

/* The passages of hits[want->skip …], marked where they hold words of the ask. */
static int passages_take(const struct reader *r, const struct ask *ask, const struct search_want *want, const struct fused_hit *hits,
	size_t n, struct arena *a, struct retrieval *out, struct err *e)
{
	struct gist *gists = NULL;
	struct marks marks;
	double t0 = clock_ms();
	int rc = OK;
	out->passages = arena_calloc(a, want->k + 1, sizeof *out->passages);
	if (want->distinct) gists = arena_alloc(a, (want->k + 1) * sizeof *gists);
	if (!out->passages || (want->distinct && !gists)) rc = err_set(e, E_MEMORY, "search: out of memory for %zu hits", want->k);
	if (!rc) rc = marks_take(out->snapshot, ask, a, &marks, e);
	for (size_t i = want->skip; rc == OK && i < n && out->n < want->k; i++) {
		struct passage *p = &out->passages[out->n];
		size_t again = out->n;
		rc = passage_fill(r, &hits[i], out, a, p, e);
		if (rc == OK && gists) rc = gist_seen(p, gists, out->n, a, &again, e);
		int first = again == out->n, newer = !first && rc == OK && version_compare(&out->passages[again].doc, &p->doc) > 0;
		if (rc == OK && (first || newer)) rc = highlight(p, &marks, a, e);
		if (first) out->n += rc == OK;
		else if (newer && rc == OK) out->passages[again] = *p, gists[again] = gists[out->n]; /* of equal ones the newer version's */
		if (!first) memset(p, 0, sizeof *p);
	}
	out->search_ms += clock_ms() - t0;
	return rc;
}

int retrieve(struct service *s, const struct reader *r, const char *query, size_t len, const struct search_want *want,
	struct arena *a, struct retrieval *out, struct err *e)
{
	const struct ask ask = { query, len, want->mode, want->conf ? want->conf : &s->conf };
	struct fused_hit *hits;
	size_t n;
	int rc = retrieve_order(s, r, query, len, want, a, out, &hits, &n, e);
	if (rc) return rc;
	rc = passages_take(r, &ask, want, hits, n, a, out, e);
	if (rc) retrieve_close(out);
	return rc;
}

/* ---- several queries ---- */
/* A hit of a ranking. value: what its place there counts; score: that of all rankings joined; from: which one it is. */
struct joined { struct fused_hit hit; double value, score; size_t place, from; };
struct rankings { struct ranking at[RETRIEVE_QUERIES_MAX]; size_t n; };

static int by_joined_id(const void *a, const void *b)
{
	const struct joined *x = a, *y = b;
	if (x->hit.chunk_id != y->hit.chunk_id) return x->hit.chunk_id < y->hit.chunk_id ? -1 : 1;
	return (x->from > y->from) - (x->from < y->from);
}

static int by_joined_score(const void *a, const void *b)
{
	const struct joined *x = a, *y = b;
	if (x->score != y->score) return x->score > y->score ? -1 : 1;
	if (x->from != y->from) return x->from < y->from ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

/* One row for the rows of a chunk, from where it counts most: the values added up, or the highest alone. */
static size_t rows_join(struct joined *rows, size_t n, int add)
{
	size_t kept = 0;
	if (n) qsort(rows, n, sizeof *rows, by_joined_id);
	for (size_t i = 0; i < n;) {
		struct joined best = rows[i];
		double sum = rows[i].value;
		for (i++; i < n && rows[i].hit.chunk_id == best.hit.chunk_id; i++) {
			sum += rows[i].value;
			if (rows[i].value > best.value) best = rows[i];
		}
		best.score = add ? sum : best.value;
		rows[kept++] = best;
	}
	return kept;
}

/* Parts of a score go on summing to it. */
static void hit_scale(struct fused_hit *h, double score)
{
	double by = h->score != 0 ? score / h->score : 0;
	h->by_vector.part *= by;
	h->by_words.part *= by;
	h->by_parts.part *= by;
	h->by_reader.part *= by;
	h->exact *= by;
	h->score = score;
}

/* Rankings joined by places, best first: their weights added up, or (weight NULL) by the best place alone. */
static int rankings_join(const struct rankings *r, const double *weight, double k, struct arena *a, struct ranking *out, struct err *e)
{
	size_t all = 0, at = 0;
	double weights = 0, most = 0;
	for (size_t i = 0; i < r->n; i++) {
		all += r->at[i].n;
		weights += weight ? weight[i] : 0;
		if (r->at[i].n && r->at[i].hits[0].score > most) most = r->at[i].hits[0].score;
	}
	struct joined *rows = arena_alloc(a, (all + 1) * sizeof *rows);
	*out = (struct ranking){ arena_alloc(a, (all + 1) * sizeof *out->hits), 0 };
	if (!rows || !out->hits) return err_set(e, E_MEMORY, "search: out of memory for %zu hits", all);
	for (size_t i = 0; i < r->n; i++)
		for (size_t j = 0; j < r->at[i].n; j++)
			rows[at++] = (struct joined){ r->at[i].hits[j], (weight ? weight[i] / weights : 1) * (k + 1) / (k + 1 + (double)j), 0, j, i };
	out->n = rows_join(rows, all, weight != NULL);
	if (out->n) qsort(rows, out->n, sizeof *rows, by_joined_score);
	for (size_t i = 0; i < out->n; i++) {
		out->hits[i] = rows[i].hit;
		hit_scale(&out->hits[i], most * rows[i].score);
	}
	return OK;
}

/* What is marked in passages of several queries: the words of all. */
static int ask_join(const struct retrieve_query *q, size_t n, struct arena *a, struct ask *out, struct err *e)
{
	const char *all = arena_strndup(a, q[0].text, q[0].len);
	for (size_t i = 1; all && i < n; i++) all = arena_printf(a, "%s\n%.*s", all, (int)q[i].len, q[i].text);
	if (!all) return err_set(e, E_MEMORY, "search: out of memory");
	out->query = all;
	out->len = strlen(all);
	return OK;
}

/* The ranking of one group, read where there is a reader. *any 0: the group has no query. A follow-up with words carried over
 * behind it is no question that the reader was taught, and stays in the order of the search (EVALUATION.md, row turns). */
static int group_rank(struct service *s, const struct reader *r, const struct retrieve_query *q, size_t n, int group, struct ask *ask,
	const struct search_want *want, struct retrieval *out, struct arena *a, struct ranking *ranked, int *any, struct err *e)
{
	struct rankings all = { .n = 0 };
	double weights[RETRIEVE_QUERIES_MAX];
	const char *read = NULL;
	float *vectors = out->query;
	int rc = OK, as_asked = 1;
	for (size_t i = 0; !rc && i < n; i++) {
		struct ranking *one = &all.at[all.n];
		if (q[i].group != group) continue;
		ask->query = q[i].text, ask->len = q[i].len;
		if (vectors) out->query = vectors + i * (size_t)embedder_info(out->embedder)->dim;
		rc = rank(s, r, ask, want->k + want->skip, 0, 0, out, a, one, e);
		for (size_t j = 0; !rc && j < one->n; j++) one->hits[j].query = (uint32_t)i;
		if (!all.n) read = q[i].read ? q[i].read : q[i].text;
		if (!all.n) as_asked = strcmp(read, q[i].text) == 0;
		weights[all.n++] = q[i].weight;
	}
	out->query = vectors;
	*any = all.n > 0;
	if (rc || !all.n) return rc;
	rc = rankings_join(&all, weights, ask->conf->search_rrf_k, a, ranked, e);
	if (!rc && ask->mode == SEARCH_HYBRID && as_asked) rc = rerank(s, ask->conf, r, read, strlen(read), ranked->hits, ranked->n, out, a, e);
	return rc;
}

static int queries_check(const struct retrieve_query *q, size_t n, const struct search_want *want, struct embed_text *texts, struct err *e)
{
	if (n == 0 || n > RETRIEVE_QUERIES_MAX || want->by_document) return err_set(e, E_BUG, "search: %zu queries at once", n);
	for (size_t i = 0; i < n; i++) {
		texts[i] = (struct embed_text){ q[i].text, q[i].len };
		if (q[i].group < 0 || q[i].group >= RETRIEVE_QUERIES_MAX || !(q[i].weight > 0)) return err_set(e, E_BUG, "search: query %zu of several", i);
		if (query_check(q[i].text, q[i].len, "query", e)) return e->status;
	}
	return OK;
}

/* What was read for each group; passages are told by the group of their query. */
struct readings { const struct read_hit *at[RETRIEVE_QUERIES_MAX]; size_t n[RETRIEVE_QUERIES_MAX]; };

static void readings_give(const struct retrieve_query *q, const struct readings *read, struct retrieval *out)
{
	for (size_t i = 0; i < out->n; i++) {
		struct passage *p = &out->passages[i];
		out->read = read->at[q[p->query].group];
		out->read_n = read->n[q[p->query].group];
		p->reading = rerank_reading(out, p->chunk.id);
	}
	out->read = NULL;
	out->read_n = 0;
}

int retrieve_many(struct service *s, const struct reader *r, const struct retrieve_query *q, size_t n, const struct search_want *want,
	struct arena *a, struct retrieval *out, struct err *e)
{
	struct ask ask = { NULL, 0, want->mode, want->conf ? want->conf : &s->conf };
	struct embed_text texts[RETRIEVE_QUERIES_MAX];
	struct readings read = { { NULL }, { 0 } };
	struct rankings groups = { .n = 0 };
	struct ranking ranked = { NULL, 0 };
	int any = 1;
	if (n == 1) return retrieve(s, r, q->text, q->len, want, a, out, e);
	memset(out, 0, sizeof *out);
	int rc = queries_check(q, n, want, texts, e);
	if (!rc) rc = snapshot_open(&out->snapshot, s->index, e);
	if (rc) return rc;
	out->seq = snapshot_seq(out->snapshot);
	if (want->mode != SEARCH_LEXICAL) rc = query_embed(s, texts, n, a, out, e);
	double t0 = clock_ms();
	for (int g = 0; !rc && any && g < RETRIEVE_QUERIES_MAX; g++) {
		out->read = NULL, out->read_n = 0;
		rc = group_rank(s, r, q, n, g, &ask, want, out, a, &groups.at[groups.n], &any, e);
		read.at[g] = out->read, read.n[g] = out->read_n;
		groups.n += any;
	}
	out->end = SIZE_MAX;
	if (!rc && groups.n == 1) ranked = groups.at[0];
	else if (!rc) rc = rankings_join(&groups, NULL, ask.conf->search_rrf_k, a, &ranked, e);
	if (!rc) rc = ask_join(q, n, a, &ask, e);
	out->search_ms = clock_ms() - t0 - out->rerank_ms;
	if (!rc) rc = passages_take(r, &ask, want, ranked.hits, ranked.n, a, out, e);
	if (!rc) readings_give(q, &read, out);
	if (rc) retrieve_close(out);
	return rc;
}

void retrieve_close(struct retrieval *r)
{
	snapshot_close(r->snapshot);
	memset(r, 0, sizeof *r);
}
