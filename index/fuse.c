/* fuse.c: owns the joining of ranked lists.
 *
 * Method: reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009): a chunk gets weight / (k + rank) from each
 * list that has it, so lists whose scores can't be compared meet by their order alone. Threads: no state. */
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

size_t fuse_ranks(const struct vec_hit *vec, size_t vec_n, const struct word_hit *word, size_t word_n,
	const struct fuse_options *o, struct fused_hit *out)
{
	size_t n = 0, kept = 0;
	for (size_t i = 0; i < vec_n; i++)
		out[n++] = (struct fused_hit){ .chunk_id = vec[i].chunk_id,
			.by_vector = { (uint32_t)i + 1, vec[i].score, o->vector_weight / (o->k + (double)i + 1) } };
	for (size_t i = 0; i < word_n; i++)
		out[n++] = (struct fused_hit){ .chunk_id = word[i].chunk_id,
			.by_words = { (uint32_t)i + 1, word[i].score, o->word_weight / (o->k + (double)i + 1) } };
	qsort(out, n, sizeof *out, by_chunk);
	for (size_t i = 0; i < n; i++) {
		struct fused_hit *last = kept ? &out[kept - 1] : NULL;
		if (!last || last->chunk_id != out[i].chunk_id) out[kept++] = out[i];
		else if (out[i].by_vector.rank) last->by_vector = out[i].by_vector;
		else last->by_words = out[i].by_words;
	}
	for (size_t i = 0; i < kept; i++) out[i].score = out[i].by_vector.part + out[i].by_words.part;
	qsort(out, kept, sizeof *out, by_score);
	return kept;
}

static int part_by_chunk(const void *a, const void *b)
{
	const struct fuse_part *x = a, *y = b;
	return (x->chunk_id > y->chunk_id) - (x->chunk_id < y->chunk_id);
}

void fuse_lift(struct fused_hit *hits, size_t n, struct fuse_part *parts, size_t part_n)
{
	if (n == 0 || part_n == 0) return;
	qsort(parts, part_n, sizeof *parts, part_by_chunk);
	for (size_t i = 0; i < n; i++) {
		const struct fuse_part key = { hits[i].chunk_id, 0 }, *p = bsearch(&key, parts, part_n, sizeof *parts, part_by_chunk);
		if (!p) continue;
		hits[i].exact = p->part;
		hits[i].score = hits[i].by_vector.part + hits[i].by_words.part + p->part;
	}
	qsort(hits, n, sizeof *hits, by_score);
}
