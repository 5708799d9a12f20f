/* rerank.c: owns the reading of a search's first hits (rerank.h).
 *
 * Method: a cross-encoder sees query and passage at once and so tells better than two vectors whether one answers the other
 * (Nogueira & Cho 2019); it is too slow for all passages and quick enough for some. Its judgement joins the fused score and
 * does not replace it (fuse_read): what was found by a rare word stays near the top though the model knows nothing of it.
 * Which hits are read does not depend on how many are asked for, so pages of one search are cut from one order.
 * Threads: no state. Failure: the hits stay as they were. */
#include "api/rerank.h"
#include <string.h>
#include "base/clock.h"
#include "base/language.h"
#include "base/mem.h"

int rerank_reads(const char *text, size_t len)
{
	return strcmp(language_of(text, len), "en") == 0;
}

const struct reader_reading *rerank_reading(const struct retrieval *found, uint64_t chunk)
{
	for (size_t i = 0; i < found->read_n; i++)
		if (found->read[i].chunk_id == chunk) return &found->read[i].reading;
	return NULL;
}

/* The pair of a hit; its title lives in the arena, its text in the snapshot. */
static int pair_fill(const struct retrieval *found, const struct reader *r, const struct fused_hit *hit, struct arena *a,
	struct reader_pair *out, struct err *e)
{
	struct chunk c;
	struct doc d;
	const char *text;
	size_t len;
	int rc = snapshot_chunk(found->snapshot, r, hit->chunk_id, a, &c, e);
	if (!rc) rc = snapshot_doc_by_key(found->snapshot, r, c.doc_key, a, &d, e);
	if (!rc) rc = snapshot_text(found->snapshot, &d, &text, &len, e);
	if (rc) return rc;
	if (c.range.off > len || c.range.len > len - c.range.off)
		return err_set(e, E_CORRUPT, "chunk %llu of %s lies outside its text", (unsigned long long)c.id, d.id);
	out->title = d.title;
	out->title_len = strlen(d.title);
	out->text = text + c.range.off;
	out->len = c.range.len;
	return OK;
}

static int hits_read(struct reader_model *m, const struct reader *r, const char *query, size_t len, const struct fused_hit *hits,
	size_t n, const struct retrieval *found, struct arena *scratch, struct reader_reading *out, struct err *e)
{
	struct reader_pair *pairs = arena_calloc(scratch, n, sizeof *pairs);
	int rc = pairs ? OK : err_set(e, E_MEMORY, "search: out of memory");
	for (size_t i = 0; !rc && i < n; i++) {
		pairs[i] = (struct reader_pair){ .first = query, .first_len = len };
		rc = pair_fill(found, r, &hits[i], scratch, &pairs[i], e);
	}
	return rc ? rc : reader_read(m, pairs, n, out, e);
}

int rerank(struct service *s, const struct conf *c, const struct reader *r, const char *query, size_t len, struct fused_hit *hits,
	size_t n, struct retrieval *found, struct arena *a, struct err *e)
{
	struct reader_model *m;
	const char *why;
	struct arena scratch;
	double t0 = clock_ms();
	size_t first = (size_t)c->rerank;
	if (first > n) first = n;
	if (first == 0 || !rerank_reads(query, len)) return OK;
	int rc = service_reader(s, &m, &why, e);
	if (rc || !m) return rc;
	arena_init(&scratch, 64 << 20);
	struct read_hit *read = arena_calloc(a, first, sizeof *read);
	struct reader_reading *readings = arena_calloc(&scratch, first, sizeof *readings);
	float *logits = arena_alloc(&scratch, first * sizeof *logits);
	if (!read || !readings || !logits) rc = err_set(e, E_MEMORY, "search: out of memory for %zu hits", first);
	if (!rc) rc = hits_read(m, r, query, len, hits, first, found, &scratch, readings, e);
	for (size_t i = 0; !rc && i < first; i++) {
		read[i] = (struct read_hit){ hits[i].chunk_id, readings[i] };
		logits[i] = readings[i].relevance;
	}
	if (!rc) {
		fuse_read(hits, n, logits, first, c->rerank_weight);
		found->read = read;
		found->read_n = first;
	}
	arena_clear(&scratch);
	found->rerank_ms = clock_ms() - t0;
	return rc;
}
