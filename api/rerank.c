/* rerank.c: owns the reading of a search's first hits (rerank.h).
 *
 * Method: a cross-encoder sees query and passage at once and so tells better than two vectors whether one answers the other
 * (Nogueira & Cho 2019); it is too slow for all passages and quick enough for some. Its judgement joins the fused score and
 * does not replace it (fuse_read): what was found by a rare word stays near the top though the model knows nothing of it.
 * It was taught questions; over the parts of a long story it judges worse than the vectors do, so these are not read.
 * Which hits are read does not depend on how many are asked for, so pages of one search are cut from one order.
 * Threads: no state. Failure: the hits stay as they were. */
#include "api/rerank.h"
#include <math.h>
#include <string.h>
#include "api/longquery.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/language.h"
#include "base/mem.h"
#include "base/words.h"

enum { SCRATCH_BYTES = 256 << 20 };

int rerank_reads(const char *text, size_t len)
{
	return language_is_english(text, len);
}

const struct reader_reading *rerank_reading(const struct retrieval *found, uint64_t chunk)
{
	for (size_t i = 0; i < found->read_n; i++)
		if (found->read[i].chunk_id == chunk) return &found->read[i].reading;
	return NULL;
}

/* A document that says no title has its file's name as one, which tells nothing of a passage. */
static int is_file_name(const char *title, const char *source)
{
	const char *name = path_base(source);
	size_t n = strlen(title);
	return strncmp(name, title, n) == 0 && (name[n] == 0 || name[n] == '.');
}

int rerank_pair(const struct retrieval *found, const struct reader *r, uint64_t chunk, struct arena *a, struct reader_pair *out,
	struct err *e)
{
	struct chunk c;
	struct doc d;
	const char *text;
	size_t len;
	int rc = snapshot_chunk(found->snapshot, r, chunk, a, &c, e);
	if (!rc) rc = snapshot_doc_by_key(found->snapshot, r, c.doc_key, a, &d, e);
	if (!rc) rc = snapshot_text(found->snapshot, &d, &text, &len, e);
	if (rc) return rc;
	if (c.range.off > len || c.range.len > len - c.range.off)
		return err_set(e, E_CORRUPT, "chunk %llu of %s lies outside its text", (unsigned long long)c.id, d.id);
	*out = (struct reader_pair){ 0 };
	out->title = is_file_name(d.title, d.source) ? c.heading : d.title;
	out->title_len = strlen(out->title);
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
		rc = rerank_pair(found, r, hits[i].chunk_id, scratch, &pairs[i], e);
		pairs[i].first = query;
		pairs[i].first_len = len;
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
	if (first == 0 || !rerank_reads(query, len) || longquery_is(query, len)) return OK;
	int rc = service_reader(s, &m, &why, e);
	if (rc || !m) return rc;
	arena_init(&scratch, SCRATCH_BYTES);
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
	found->rerank_ms += clock_ms() - t0;
	return rc;
}

/* ---- texts that somebody brings ---- */

static int texts_read(struct reader_model *m, const char *query, size_t len, const struct embed_text *texts, size_t n, double *scores,
	struct arena *a, struct err *e)
{
	struct reader_pair *pairs = arena_calloc(a, n, sizeof *pairs);
	struct reader_reading *readings = arena_calloc(a, n, sizeof *readings);
	if (!pairs || !readings) return err_set(e, E_MEMORY, "rerank: out of memory for %zu texts", n);
	for (size_t i = 0; i < n; i++) pairs[i] = (struct reader_pair){ .first = query, .first_len = len, .text = texts[i].text, .len = texts[i].len };
	int rc = reader_read(m, pairs, n, readings, e);
	for (size_t i = 0; !rc && i < n; i++) scores[i] = 1 / (1 + exp(-(double)readings[i].relevance));
	return rc;
}

/* The share of the query's words that the text has; function words count only where there are no others. */
static int words_share(const struct word *query, size_t n, const struct embed_text *text, struct arena *a, double *out, struct err *e)
{
	struct word *w;
	size_t words, held = 0, all = 0, held_all = 0, content = 0;
	int rc = words_of(text->text, text->len, a, &w, &words, e);
	for (size_t i = 0; !rc && i < n; i++) {
		int has = words_have(w, words, query[i].stem);
		content += !query[i].stop;
		held += has && !query[i].stop;
		held_all += (size_t)has;
		all++;
	}
	*out = content ? (double)held / (double)content : all ? (double)held_all / (double)all : 0;
	return rc;
}

/* Half by meaning, half by words. */
static int texts_compare(struct embedder *m, const char *query, size_t len, const struct embed_text *texts, size_t n, double *scores,
	struct arena *a, struct err *e)
{
	const struct embed_text asked = { query, len };
	size_t dim = (size_t)embedder_info(m)->dim, words;
	float *v = arena_calloc(a, n + 1, dim * sizeof *v);
	struct word *w;
	if (!v) return err_set(e, E_MEMORY, "rerank: out of memory for %zu texts", n);
	int rc = words_of(query, len, a, &w, &words, e);
	if (!rc) rc = embedder_encode(m, &asked, 1, EMBED_QUERY, EMBED_FIRST, v, e);
	if (!rc) rc = embedder_encode(m, texts, n, EMBED_PASSAGE, EMBED_FIRST, v + dim, e);
	for (size_t i = 0; !rc && i < n; i++) {
		double cosine = 0, share = 0;
		struct arena scratch;
		for (size_t k = 0; k < dim; k++) cosine += (double)v[k] * v[(i + 1) * dim + k];
		arena_init(&scratch, SCRATCH_BYTES);
		rc = words_share(w, words, &texts[i], &scratch, &share, e);
		arena_clear(&scratch);
		scores[i] = ((cosine < 0 ? 0 : cosine > 1 ? 1 : cosine) + share) / 2;
	}
	return rc;
}

int rerank_texts(struct service *s, const char *query, size_t len, const struct embed_text *texts, size_t n, double *scores,
	const char **model, struct err *e)
{
	struct reader_model *m = NULL;
	struct embedder *embedder;
	struct arena a;
	const char *why;
	int rc = rerank_reads(query, len) ? service_reader(s, &m, &why, e) : OK;
	if (rc) return rc;
	arena_init(&a, SCRATCH_BYTES);
	if (m) {
		*model = reader_info(m)->name;
		rc = texts_read(m, query, len, texts, n, scores, &a, e);
	} else if (!(rc = service_embedder(s, &embedder, e))) {
		*model = embedder_info(embedder)->name;
		rc = texts_compare(embedder, query, len, texts, n, scores, &a, e);
	}
	arena_clear(&a);
	return rc;
}
