/* faissx.h: what builds HNSW graphs and learns codes over inner products: FAISS's IndexHNSW and "IVF<n>,PQ<m>x4" behind
 * plain C. A graph is of int8 rows (code8.h) that the caller has; its links are read out (graph.c), and what was read out
 * once can be put back to be grown. Of lists, centres and books are read out (ivf.c), and can be put back to code more
 * vectors alike. faissx.c and faissx_extra.cc are the only files that know FAISS. One thread at a time. Errors carry FAISS's
 * own text. */
#ifndef INDEX_FAISSX_H
#define INDEX_FAISSX_H
#include <stddef.h>
#include <stdint.h>
struct err;

struct faissx;
/* Row i lies at rows + i * stride; borrowed, and there until the graph is freed. m: 2 … 64. */
int faissx_new(struct faissx **out, const uint8_t *rows, size_t stride, int dim, int m, int ef_construction, struct err *e);
void faissx_free(struct faissx *g);                         /* NULL is allowed */
/* Links the next n rows, on that many threads; vectors (n, dim): what they are codes of. */
int faissx_add(struct faissx *g, size_t n, const float *vectors, int threads, struct err *e);

/* Links, borrowed until the graph changes. Vector i has levels[i] >= 1 levels; its neighbours on level l begin at
 * neighbors[offsets[i] + (l ? 2 M + (l - 1) M : 0)], 2 M of them on level 0 and M above, -1 behind the last. */
struct faissx_links {
	size_t n;
	const int *levels;
	const size_t *offsets;       /* (n) */
	const int32_t *neighbors;
	int32_t entry;               /* where searches begin, on its top level; -1: the graph is empty */
};
void faissx_links(const struct faissx *g, struct faissx_links *out);
/* Putting back, into a new graph: the links of its first n rows at once. neighbors: n lists one behind the other, each of
 * its levels' sizes. */
int faissx_restore(struct faissx *g, size_t n, const int *levels, const int32_t *neighbors, int32_t entry, struct err *e);

/* ---- lists of codes ---- */
struct faissx_lists;
/* k-means of n vectors (n, dim): centres of `lists` lists, all of length 1, then 16 values for each part of what is left;
 * dim: a multiple of parts. n: at least 16 and at least lists. stop is asked now and then: not 0 ends it with an error. */
int faissx_lists_learn(struct faissx_lists **out, int dim, size_t lists, size_t parts, size_t n, const float *vectors,
	int threads, int (*stop)(void *ctx), void *ctx, struct err *e);
/* centres: (lists, dim); books: (parts, 16, dim / parts). */
int faissx_lists_restore(struct faissx_lists **out, int dim, size_t lists, size_t parts, const float *centres,
	const float *books, struct err *e);
void faissx_lists_read(const struct faissx_lists *l, const float **centres, const float **books); /* borrowed */
/* Which list each vector belongs to, and its code: parts / 2 bytes, the first part in the low half of the first. */
int faissx_lists_encode(struct faissx_lists *l, size_t n, const float *vectors, int64_t *list, uint8_t *codes, int threads,
	struct err *e);
void faissx_lists_free(struct faissx_lists *l);             /* NULL is allowed */

#endif
