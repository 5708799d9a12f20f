/* faissx.h: an HNSW graph over inner products, labelled with chunk ids: FAISS's "IDMap,HNSW<M>" behind plain C.
 * faissx.c and faissx_extra.cc are the only files that know FAISS. A graph may be searched by many threads at once,
 * but changed by one that has it alone. Errors carry FAISS's own text. */
#ifndef INDEX_FAISSX_H
#define INDEX_FAISSX_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/err.h"

struct faissx;
int faissx_new(struct faissx **out, int dim, int m, int ef_construction, struct err *e);
void faissx_free(struct faissx *g);                         /* NULL is allowed */
uint64_t faissx_count(const struct faissx *g);
/* Adds n vectors (n, dim) with labels ids (n), on that many threads. */
int faissx_add(struct faissx *g, size_t n, const float *vectors, const int64_t *ids, int threads, struct err *e);
/* The k nearest, best first: scores (k) and labels (k), *got <= k of them. ef >= 1: how widely to search. */
int faissx_search(const struct faissx *g, const float *query, int ef, size_t k, float *scores, int64_t *ids,
	size_t *got, struct err *e);
int faissx_write(const struct faissx *g, FILE *f, struct err *e);
/* E_CORRUPT when the bytes are no such graph of this dimension and number of vectors. */
int faissx_read(struct faissx **out, FILE *f, int dim, uint64_t count, struct err *e);

#endif
