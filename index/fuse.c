/* fuse.c: owns the joining of ranked lists.
 *
 * Method: by scores, each list's are brought to 0 … 1 and added by weight (the convex combination of Bruch, Gai & Ingber,
 * An Analysis of Fusion Functions for Hybrid Retrieval, TOIS 2023): how far the first is ahead counts, which places hide.
 * Cosines lie close together, so the last of the list is 0; a passage without any word of the query has BM25 0, so that
 * is the words' zero. Or by places, reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009): a chunk gets weight /
 * (k + rank) from each list that has it, so that lists meet by their order alone. Threads: no state. */
#include <math.h>
#include <stdlib.h>
#include "index/index.h"

static int by_chunk(const void *a, const void *b)
{
	const struct fused_hit *x = a, *y = b;
	return (x->chunk_id > y->chunk_id) - (x->chunk_id < y->chunk_id);
}

static int by_score(const void *a, const void *b)
{
	const struct fused_hit *x = a, *y = b;
	if (x->score != y->score) return x->score > y->score ? -1 : 1;
	if (x->by_vector.rank != y->by_vector.rank) return x->by_vector.rank - 1 < y->by_vector.rank - 1 ? -1 : 1; /* 0, none, wraps: last */
	return by_chunk(a, b);
}

size_t fuse_join(const struct vec_hit *vec, size_t vec_n, const struct word_hit *word, size_t word_n, struct fused_hit *out)
{
	size_t n = 0, kept = 0;
	for (size_t i = 0; i < vec_n; i++)
		out[n++] = (struct fused_hit){ .chunk_id = vec[i].chunk_id, .by_vector = { (uint32_t)i + 1, vec[i].score, 0 } };
	for (size_t i = 0; i < word_n; i++)
		out[n++] = (struct fused_hit){ .chunk_id = word[i].chunk_id, .by_words = { (uint32_t)i + 1, word[i].score, 0 } };
	qsort(out, n, sizeof *out, by_chunk);
	for (size_t i = 0; i < n; i++) {
		struct fused_hit *last = kept ? &out[kept - 1] : NULL;
		if (!last || last->chunk_id != out[i].chunk_id) out[kept++] = out[i];
		else if (out[i].by_vector.rank) last->by_vector = out[i].by_vector;
		else last->by_words = out[i].by_words;
	}
	return kept;
}

/* Where a list's scores begin and end. */
struct scale { double low, high; };

static void scale_add(struct scale *s, const struct rank_part *p, int first)
{
	if (first || p->score < s->low) s->low = p->score;
	if (first || p->score > s->high) s->high = p->score;
}

static double share_of(const struct scale *s, const struct rank_part *p)
{
	if (!p->rank) return 0;
	return s->high > s->low ? (p->score - s->low) / (s->high - s->low) : 1;
}

void fuse_weigh(struct fused_hit *hits, size_t n, const struct fuse_options *o)
{
	struct scale vec = { 0, 0 }, word = { 0, 0 };
	size_t vec_n = 0;
	for (size_t i = 0; i < n; i++) {
		if (hits[i].by_vector.rank) scale_add(&vec, &hits[i].by_vector, vec_n++ == 0);
		if (hits[i].by_words.rank) scale_add(&word, &hits[i].by_words, 0);
	}
	for (size_t i = 0; i < n; i++) {
		struct rank_part *v = &hits[i].by_vector, *w = &hits[i].by_words;
		if (o->method == FUSE_RANKS) {
			v->part = v->rank ? o->vector_weight / (o->k + v->rank) : 0;
			w->part = w->rank ? o->word_weight / (o->k + w->rank) : 0;
		} else {
			v->part = o->vector_weight * share_of(&vec, v);
			w->part = o->word_weight * share_of(&word, w);
		}
		hits[i].score = v->part + w->part;
	}
	if (n) qsort(hits, n, sizeof *hits, by_score);
}

double fuse_most(const struct fuse_options *o)
{
	double both = o->vector_weight + o->word_weight;
	return o->method == FUSE_RANKS ? both / (o->k + 1) : both;
}

static int part_by_chunk(const void *a, const void *b)
{
	const struct fuse_part *x = a, *y = b;
	return (x->chunk_id > y->chunk_id) - (x->chunk_id < y->chunk_id);
}

static double parts_sum(const struct fused_hit *h)
{
	return h->by_vector.part + h->by_words.part + h->by_parts.part + h->by_reader.part + h->exact;
}

void fuse_lift(struct fused_hit *hits, size_t n, struct fuse_part *parts, size_t part_n)
{
	if (n == 0 || part_n == 0) return;
	qsort(parts, part_n, sizeof *parts, part_by_chunk);
	for (size_t i = 0; i < n; i++) {
		const struct fuse_part key = { hits[i].chunk_id, 0 }, *p = bsearch(&key, parts, part_n, sizeof *parts, part_by_chunk);
		if (!p) continue;
		hits[i].exact = p->part;
		hits[i].score = parts_sum(&hits[i]);
	}
	qsort(hits, n, sizeof *hits, by_score);
}

/* The place of value i among m, from 1; of equals the first is first. */
static uint32_t place_of(const float *values, size_t m, size_t i)
{
	uint32_t place = 1;
	for (size_t k = 0; k < m; k++) place += values[k] > values[i] || (values[k] == values[i] && k < i);
	return place;
}

void fuse_parts(struct fused_hit *hits, size_t n, const float *near, size_t m, double weight)
{
	for (size_t i = 0; i < m; i++) {
		hits[i].by_parts = (struct rank_part){ place_of(near, m, i), near[i], near[i] > 0 ? weight * near[i] : 0 };
		hits[i].score = parts_sum(&hits[i]);
	}
	if (n) qsort(hits, n, sizeof *hits, by_score);
}

void fuse_read(struct fused_hit *hits, size_t n, const float *logits, size_t m, double weight)
{
	for (size_t i = 0; i < m; i++) {
		hits[i].by_reader = (struct rank_part){ place_of(logits, m, i), logits[i], weight / (1 + exp(-(double)logits[i])) };
		hits[i].score = parts_sum(&hits[i]);
	}
	if (n) qsort(hits, n, sizeof *hits, by_score);
}
