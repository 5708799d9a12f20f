/* faissx.h: what builds HNSW graphs and learns codes over inner products: FAISS's IndexHNSW, k-means and product quantiser
 * behind plain C. A graph is of int8 rows (code8.h) that the caller has; its links are read out (graph.c), and what was read
 * out once can be put back to be grown. faissx.c and faissx_extra.cc are the only files that know FAISS. One thread at a
 * time. Errors carry FAISS's own text. */
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
/* k-means of n vectors (n, dim), n >= lists, into centres (lists, dim), each of length 1 (spherical: by inner product).
 * stop is asked now and then: not 0 ends it with an error. */
int faissx_cluster(int dim, size_t lists, size_t n, const float *vectors, float *centres, int threads,
	int (*stop)(void *ctx), void *ctx, struct err *e);
struct faissx_coder;                                        /* codes of 4 bits a part, and nearest centres */
/* centres: (lists, dim), borrowed for the call; rests have `width` components, a multiple of parts. */
int faissx_coder_new(struct faissx_coder **out, int dim, size_t lists, const float *centres, int width, size_t parts,
	struct err *e);
/* The values that codes stand for, (parts, 16, width / parts): by k-means of n >= 16 rests (n, width), or as they were. */
int faissx_coder_learn(struct faissx_coder *c, size_t n, const float *rests, int threads, int (*stop)(void *ctx), void *ctx,
	struct err *e);
void faissx_coder_set(struct faissx_coder *c, const float *books);
const float *faissx_coder_books(const struct faissx_coder *c);                          /* borrowed */
/* The centre nearest to each vector (n, dim). */
int faissx_coder_assign(struct faissx_coder *c, size_t n, const float *vectors, int64_t *list, int threads, struct err *e);
/* Codes of rests (n, width): parts / 2 bytes each, the first part in the low half of the first. */
int faissx_coder_code(struct faissx_coder *c, size_t n, const float *rests, uint8_t *codes, int threads, struct err *e);
void faissx_coder_free(struct faissx_coder *c);             /* NULL is allowed */

#endif
