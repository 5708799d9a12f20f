/* longquery.c: owns the comparison of a long query's parts with a search's first hits (longquery.h).
 *
 * Method: who tells a story before asking (a ticket, a mail, a forum's post) gets a vector that is a mean of all of it, and
 * the passage that answers is near to one part. So the query is also cut into windows of WINDOW words that overlap by half,
 * each is embedded, and a hit gets three quarters of its nearest window's cosine and one quarter of the mean over windows. The
 * hits' texts are embedded anew, for their stored vectors are of title and headings too, which windows have nothing to do with:
 * with those half of the gain is lost. It costs what embedding the first hits costs, some milliseconds each.
 * Threads: no state. Failure: the hits stay as they were. */
#include "api/longquery.h"
#include "api/rerank.h"
#include "base/clock.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum { WINDOW = 30, STEP = 15, WINDOWS_MAX = 16, WORDS_MAX = WINDOW + STEP * WINDOWS_MAX };
static const double NEAREST = 0.75;

struct place { size_t from, to; };

/* Where the first WORDS_MAX runs without white space are. */
static size_t words_find(const char *s, size_t len, struct place *out)
{
	size_t n = 0, at = 0;
	int inside = 0;
	while (at < len) {
		size_t from = at;
		int white = uni_is_white_space((uint32_t)utf8_next(s, len, &at));
		if (!white && !inside && n == WORDS_MAX) break;
		if (!white && !inside) out[n++].from = from;
		if (!white) out[n - 1].to = at;
		inside = !white;
	}
	return n;
}

int longquery_is(const char *query, size_t len)
{
	struct place words[WORDS_MAX];
	return words_find(query, len, words) > WINDOW;
}

static size_t windows_cut(const char *query, size_t len, struct embed_text *out)
{
	struct place words[WORDS_MAX];
	size_t n = words_find(query, len, words), windows = 0;
	if (n <= WINDOW) return 0;
	for (size_t i = 0; i + WINDOW < n + STEP && windows < WINDOWS_MAX; i += STEP) {
		size_t last = i + WINDOW < n ? i + WINDOW - 1 : n - 1;
		out[windows++] = (struct embed_text){ query + words[i].from, words[last].to - words[i].from };
	}
	return windows;
}

/* How near a passage's vector is to the windows': (windows, dim), all of length 1. */
static float nearness(const float *passage, const float *windows, size_t n, size_t dim)
{
	double best = 0, sum = 0;
	for (size_t w = 0; w < n; w++) {
		double cosine = 0;
		for (size_t i = 0; i < dim; i++) cosine += (double)windows[w * dim + i] * passage[i];
		if (w == 0 || cosine > best) best = cosine;
		sum += cosine;
	}
	return (float)(NEAREST * best + (1 - NEAREST) * sum / (double)n);
}

int longquery_rank(const struct conf *c, const struct reader *r, const char *query, size_t len, struct fused_hit *hits, size_t n,
	struct retrieval *found, struct arena *a, struct err *e)
{
	struct embed_text windows[WINDOWS_MAX];
	size_t first = (size_t)c->parts < n ? (size_t)c->parts : n, count = first && c->parts_weight > 0 ? windows_cut(query, len, windows) : 0;
	if (count == 0) return OK;
	size_t dim = (size_t)embedder_info(found->embedder)->dim;
	float *vectors = arena_alloc(a, (count + first) * dim * sizeof *vectors), *near = arena_alloc(a, first * sizeof *near);
	struct embed_text *texts = arena_calloc(a, first, sizeof *texts);
	double t0 = clock_ms();
	int rc = vectors && near && texts ? OK : err_set(e, E_MEMORY, "search: out of memory");
	if (!rc) rc = embedder_encode(found->embedder, windows, count, EMBED_QUERY, EMBED_FIRST, vectors, e);
	for (size_t i = 0; !rc && i < first; i++) {
		struct reader_pair pair;
		rc = rerank_pair(found, r, hits[i].chunk_id, a, &pair, e);
		if (!rc) texts[i] = (struct embed_text){ pair.text, pair.len };
	}
	if (!rc) rc = embedder_encode(found->embedder, texts, first, EMBED_PASSAGE, EMBED_FIRST, vectors + count * dim, e);
	for (size_t i = 0; !rc && i < first; i++) near[i] = nearness(vectors + (count + i) * dim, vectors, count, dim);
	if (!rc) fuse_parts(hits, n, near, first, c->parts_weight);
	found->rerank_ms += clock_ms() - t0;
	return rc;
}
