/* merge.h: what the tokenizers that merge pairs (bpe.c, spm.c) share: the hashes of their tables, and the priority queue
 * of neighbours that can be merged, lowest rank first, then leftmost. The caller owns the queue's array and knows how
 * long it can get. */
#ifndef NN_MERGE_H
#define NN_MERGE_H
#include <stddef.h>
#include <stdint.h>

struct cand { int32_t rank, at, left, right; };          /* left, right: the two as they were when the pair was put */

static inline int cand_less(const struct cand *a, const struct cand *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static inline void heap_push(struct cand *heap, size_t *n, struct cand c)
{
	size_t i = (*n)++;
	while (i && cand_less(&c, &heap[(i - 1) / 2])) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = c;
}

static inline struct cand heap_pop(struct cand *heap, size_t *n)
{
	struct cand top = heap[0], last = heap[--*n];
	size_t i = 0;
	for (;;) {
		size_t c = 2 * i + 1;
		if (c >= *n) break;
		if (c + 1 < *n && cand_less(&heap[c + 1], &heap[c])) c++;
		if (!cand_less(&heap[c], &last)) break;
		heap[i] = heap[c];
		i = c;
	}
	if (*n) heap[i] = last;
	return top;
}

/* Hashes of the tokenizers' tables. */
static inline uint64_t hash_mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

#define HASH_START 0xcbf29ce484222325u
static inline uint64_t hash_step(uint64_t h, char c)     /* hash_mix after the last byte */
{
	return (h ^ (uint8_t)c) * 0x100000001b3u;
}

static inline size_t hash_slots(size_t n)                /* a table of n entries, at most half full */
{
	size_t size = 16;
	while (size < 2 * n) size *= 2;
	return size;
}

#endif
