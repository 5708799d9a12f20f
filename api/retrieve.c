/* retrieve.c: query text to ranked passages (retrieve.h).
 *
 * The query is embedded once, the collection's vectors and its words are searched with the reader's access inside
 * candidate generation (index.h), the two rankings are joined by rank, and each chunk is looked up in the same snapshot,
 * so that text, offsets and revision belong together. Both rankings have one fixed depth, so that pages of one search are
 * cut from one order; a page below it is cut from rankings of double depth, as often as needed.
 * Threads: any; nothing is shared. Failure: out is closed, nothing stays open. */
#include "api/retrieve.h"
#include <string.h>
#include "base/clock.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"

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

/* Where content words of the query stand in the passage. */
static int highlight(struct passage *p, const struct word *q, size_t q_n, struct arena *a, struct err *e)
{
	struct word *w;
	size_t n;
	int rc = words_of(p->text, p->text_len, a, &w, &n, e);
	if (rc) return rc;
	p->highlights = arena_alloc(a, (n + 1) * sizeof *p->highlights);
	if (!p->highlights) return err_set(e, E_MEMORY, "search: out of memory");
	for (size_t i = 0; i < n; i++)
		if (!w[i].stop && words_have(q, q_n, w[i].stem))
			p->highlights[p->highlight_n++] = (struct span){ p->chunk.range.off + w[i].off, w[i].len };
	return OK;
}

/* How near the chunk is to the query, where the ranking by meaning does not tell. */
static int cosine_of(struct service *s, struct snapshot *snapshot, const float *query, uint64_t chunk, double *out, struct err *e)
{
	struct embedder *m;
	const float *v;
	int rc = service_embedder(s, &m, e);
	if (!rc) rc = snapshot_vector(snapshot, chunk, &v, e);
	*out = 0;
	for (int i = 0; !rc && i < embedder_info(m)->dim; i++) *out += (double)query[i] * v[i];
	return rc;
}

static int passage_fill(struct service *s, const struct reader *r, const struct fused_hit *hit, struct retrieval *out, struct arena *a,
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
	p->score = hit->score;
	p->by_vector = hit->by_vector;
	p->by_words = hit->by_words;
	p->cosine = hit->by_vector.score;
	if (out->query && !hit->by_vector.rank) rc = cosine_of(s, out->snapshot, out->query, hit->chunk_id, &p->cosine, e);
	return rc;
}

static int query_embed(struct service *s, const char *query, size_t len, struct arena *a, struct retrieval *out, struct err *e)
{
	struct embedder *m;
	struct embed_text text = { query, len };
	double t0 = clock_ms();
	int rc = service_embedder(s, &m, e);
	if (rc) return rc;
	out->query = arena_alloc(a, (size_t)embedder_info(m)->dim * sizeof *out->query);
	if (!out->query) return err_set(e, E_MEMORY, "search: out of memory");
	rc = embedder_encode(m, &text, 1, EMBED_QUERY, EMBED_FIRST, out->query, e);
	out->embed_ms = clock_ms() - t0;
	return rc;
}

/* The ranking of a mode: *got hits, at least `want` where there are so many. */
static int rank(struct service *s, const struct reader *r, const char *query, size_t len, enum search_mode mode, size_t want,
	const struct retrieval *found, struct arena *a, struct fused_hit **out, size_t *got, struct err *e)
{
	const struct fuse_options fuse = { s->conf.search_rrf_k, 1, s->conf.search_word_weight };
	size_t depth = mode == SEARCH_HYBRID ? (size_t)s->conf.search_depth : want, vec_n = 0, word_n = 0;
	while (depth < want) depth *= 2;
	struct vec_hit *vec = arena_alloc(a, (depth + 1) * sizeof *vec);
	struct word_hit *word = arena_alloc(a, (depth + 1) * sizeof *word);
	struct fused_hit *hits = arena_calloc(a, 2 * depth + 1, sizeof *hits);
	int rc = vec && word && hits ? OK : err_set(e, E_MEMORY, "search: out of memory for %zu hits", want);
	if (!rc && mode != SEARCH_LEXICAL) rc = snapshot_search(found->snapshot, r, found->query, depth, vec, &vec_n, e);
	if (!rc && mode != SEARCH_DENSE) rc = snapshot_search_words(found->snapshot, r, query, len, depth, word, &word_n, e);
	if (rc) return rc;
	*out = hits;
	*got = vec_n + word_n;
	if (mode == SEARCH_HYBRID) *got = fuse_ranks(vec, vec_n, word, word_n, &fuse, hits);
	for (size_t i = 0; mode == SEARCH_DENSE && i < vec_n; i++)
		hits[i] = (struct fused_hit){ vec[i].chunk_id, vec[i].score, .by_vector = { (uint32_t)i + 1, vec[i].score, vec[i].score } };
	for (size_t i = 0; mode == SEARCH_LEXICAL && i < word_n; i++)
		hits[i] = (struct fused_hit){ word[i].chunk_id, word[i].score, .by_words = { (uint32_t)i + 1, word[i].score, word[i].score } };
	return OK;
}

int retrieve(struct service *s, const struct reader *r, const char *query, size_t len, enum search_mode mode, size_t k, size_t skip,
	struct arena *a, struct retrieval *out, struct err *e)
{
	struct fused_hit *hits = NULL;
	struct word *q;
	size_t q_n, got = 0;
	memset(out, 0, sizeof *out);
	int rc = query_check(query, len, "query", e);
	if (!rc && mode != SEARCH_LEXICAL) rc = query_embed(s, query, len, a, out, e);
	if (!rc) rc = words_of(query, len, a, &q, &q_n, e);
	if (!rc) rc = snapshot_open(&out->snapshot, s->index, e);
	if (rc) return rc;
	double t0 = clock_ms();
	out->seq = snapshot_seq(out->snapshot);
	out->passages = arena_calloc(a, k + 1, sizeof *out->passages);
	if (!out->passages) rc = err_set(e, E_MEMORY, "search: out of memory for %zu hits", k);
	if (!rc) rc = rank(s, r, query, len, mode, k + skip, out, a, &hits, &got, e);
	for (size_t i = skip; rc == OK && i < got && out->n < k; i++) {
		struct passage *p = &out->passages[out->n];
		rc = passage_fill(s, r, &hits[i], out, a, p, e);
		if (rc == OK) rc = highlight(p, q, q_n, a, e);
		if (rc == OK) out->n++;
	}
	out->search_ms = clock_ms() - t0;
	if (rc) retrieve_close(out);
	return rc;
}

void retrieve_close(struct retrieval *r)
{
	snapshot_close(r->snapshot);
	memset(r, 0, sizeof *r);
}
