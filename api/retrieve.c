/* retrieve.c: query text to ranked passages (retrieve.h).
 *
 * The query is embedded once, the collection's vectors are searched with the reader's access inside candidate
 * generation (index.h), and each chunk is looked up in the same snapshot, so that text, offsets and revision belong
 * together. Threads: any; nothing is shared. Failure: out is closed, nothing stays open. */
#include "api/retrieve.h"
#include <string.h>
#include "base/clock.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "base/words.h"

int search_mode_parse(const char *s)
{
	static const char *const names[] = { "hybrid", "dense", "lexical" };
	for (int i = 0; i < 3; i++)
		if (strcmp(s, names[i]) == 0) return i;
	return -1;
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

static int passage_fill(struct snapshot *s, const struct reader *r, const struct vec_hit *hit, struct arena *a, struct passage *p, struct err *e)
{
	const char *text;
	size_t len;
	int rc = snapshot_chunk(s, r, hit->chunk_id, a, &p->chunk, e);
	if (!rc) rc = snapshot_doc_by_key(s, r, p->chunk.doc_key, a, &p->doc, e);
	if (!rc) rc = snapshot_text(s, &p->doc, &text, &len, e);
	if (rc) return rc;
	if (p->chunk.range.off > len || p->chunk.range.len > len - p->chunk.range.off)
		return err_set(e, E_CORRUPT, "chunk %llu of %s lies outside its text", (unsigned long long)p->chunk.id, p->doc.id);
	p->text = text + p->chunk.range.off;
	p->text_len = p->chunk.range.len;
	p->score = p->cosine = hit->score;
	return OK;
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

int retrieve(struct service *s, const struct reader *r, const char *query, size_t len, enum search_mode mode, size_t k, size_t skip,
	struct arena *a, struct retrieval *out, struct err *e)
{
	struct word *q;
	size_t q_n, got = 0, want = k + skip;
	memset(out, 0, sizeof *out);
	if (mode != SEARCH_DENSE) return err_set(e, E_UNSUPPORTED, "mode: this build searches by meaning only; use dense");
	int rc = query_check(query, len, "query", e);
	if (!rc) rc = query_embed(s, query, len, a, out, e);
	if (!rc) rc = words_of(query, len, a, &q, &q_n, e);
	if (!rc) rc = snapshot_open(&out->snapshot, s->index, e);
	if (rc) return rc;
	double t0 = clock_ms();
	out->seq = snapshot_seq(out->snapshot);
	struct vec_hit *hits = arena_alloc(a, (want + 1) * sizeof *hits);
	out->passages = arena_calloc(a, k + 1, sizeof *out->passages);
	if (!hits || !out->passages) {
		rc = err_set(e, E_MEMORY, "search: out of memory for %zu hits", want);
		goto out;
	}
	rc = snapshot_search(out->snapshot, r, out->query, want, hits, &got, e);
	for (size_t i = skip; rc == OK && i < got; i++) {
		struct passage *p = &out->passages[out->n];
		rc = passage_fill(out->snapshot, r, &hits[i], a, p, e);
		if (rc == OK) rc = highlight(p, q, q_n, a, e);
		if (rc == OK) out->n++;
	}
	out->search_ms = clock_ms() - t0;
out:
	if (rc) retrieve_close(out);
	return rc;
}

void retrieve_close(struct retrieval *r)
{
	snapshot_close(r->snapshot);
	memset(r, 0, sizeof *r);
}
