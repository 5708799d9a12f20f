/* faissx.c: owns the way to FAISS 1.7.3, through its C API; what that API lacks is in faissx_extra.cc.
 *
 * The graph is HNSW over inner products: M links a node (2M on the ground level; Malkov and Yashunin, Efficient and
 * robust approximate nearest neighbor search using HNSW graphs, 2016). FAISS builds, comparing the int8 rows; searches are
 * graph.c's.
 * Lists are FAISS's k-means over inner products and its product quantiser; searches are ivf.c's.
 * Traps that this file takes care of: FAISS keeps an error's text per thread, so it is copied at once; its OpenMP
 * threads are set before each call; error_c.h defines an enumerator OK as base/err.h does, so its one function is
 * declared here.
 * Threads: see faissx.h. Failure: every nonzero code becomes E_MEMORY or E_BUG. */
#include "index/faissx.h"
#include "base/err.h"
#include <faiss/c_api/Index_c.h>
#include <omp.h>
#include <string.h>
#include "base/mem.h"

const char *faiss_get_last_error(void);
int faissx_extra_new(FaissIndex **out, const uint8_t *rows, size_t stride, int dim, int m, int ef_construction);
int faissx_extra_links(const FaissIndex *index, struct faissx_links *out);
int faissx_extra_restore(FaissIndex *index, size_t n, const int *levels, const int32_t *neighbors, int32_t entry);
void faissx_extra_stop(int (*stop)(void *ctx), void *ctx);
int faissx_extra_cluster(int dim, size_t lists, size_t n, const float *vectors, float *centres);
int faissx_extra_coder(struct faissx_coder **out, int dim, size_t lists, const float *centres, int width, size_t parts);
int faissx_extra_coder_learn(struct faissx_coder *c, size_t n, const float *rests);
int faissx_extra_coder_assign(const struct faissx_coder *c, size_t n, const float *vectors, int64_t *list);
int faissx_extra_coder_code(const struct faissx_coder *c, size_t n, const float *rests, uint8_t *codes);

struct faissx { FaissIndex *index; };

static int failed(struct err *e, int status, const char *what)
{
	const char *text = faiss_get_last_error(), *reason = text ? strstr(text, "Error: ") : NULL;
	char line[160];
	size_t n = 0;
	if (reason) text = reason + 7; /* before it stand a function's signature and a path of the machine that built it */
	for (; text && text[n] && n + 1 < sizeof line; n++) line[n] = text[n] == '\n' ? ' ' : text[n];
	line[n] = 0;
	if (strstr(line, "bad_alloc")) status = E_MEMORY;
	return err_set(e, status, "%s: FAISS: %s", what, n ? line : "no reason given");
}

static int wrap(struct faissx **out, FaissIndex *index, struct err *e)
{
	*out = mem_alloc(sizeof **out);
	if (!*out) {
		faiss_Index_free(index);
		return err_set(e, E_MEMORY, "graph: out of memory");
	}
	(*out)->index = index;
	return OK;
}

int faissx_new(struct faissx **out, const uint8_t *rows, size_t stride, int dim, int m, int ef_construction, struct err *e)
{
	FaissIndex *index = NULL;
	*out = NULL;
	if (faissx_extra_new(&index, rows, stride, dim, m, ef_construction)) return failed(e, E_BUG, "new graph");
	return wrap(out, index, e);
}

void faissx_free(struct faissx *g)
{
	if (!g) return;
	faiss_Index_free(g->index);
	mem_free(g);
}

int faissx_add(struct faissx *g, size_t n, const float *vectors, int threads, struct err *e)
{
	omp_set_num_threads(threads);
	if (faiss_Index_add(g->index, (idx_t)n, vectors)) return failed(e, E_BUG, "add to graph");
	return OK;
}

void faissx_links(const struct faissx *g, struct faissx_links *out)
{
	faissx_extra_links(g->index, out);
}

int faissx_restore(struct faissx *g, size_t n, const int *levels, const int32_t *neighbors, int32_t entry, struct err *e)
{
	if (faissx_extra_restore(g->index, n, levels, neighbors, entry)) return failed(e, E_BUG, "restore a graph");
	return OK;
}

/* ---- lists of codes ---- */

int faissx_cluster(int dim, size_t lists, size_t n, const float *vectors, float *centres, int threads,
	int (*stop)(void *ctx), void *ctx, struct err *e)
{
	int code;
	omp_set_num_threads(threads);
	faissx_extra_stop(stop, ctx);
	code = faissx_extra_cluster(dim, lists, n, vectors, centres);
	faissx_extra_stop(NULL, NULL);
	return code ? failed(e, E_BUG, "learn lists") : OK;
}

int faissx_coder_new(struct faissx_coder **out, int dim, size_t lists, const float *centres, int width, size_t parts,
	struct err *e)
{
	return faissx_extra_coder(out, dim, lists, centres, width, parts) ? failed(e, E_BUG, "new lists") : OK;
}

int faissx_coder_learn(struct faissx_coder *c, size_t n, const float *rests, int threads, int (*stop)(void *ctx), void *ctx,
	struct err *e)
{
	int code;
	omp_set_num_threads(threads);
	faissx_extra_stop(stop, ctx);
	code = faissx_extra_coder_learn(c, n, rests);
	faissx_extra_stop(NULL, NULL);
	return code ? failed(e, E_BUG, "learn codes") : OK;
}

int faissx_coder_assign(struct faissx_coder *c, size_t n, const float *vectors, int64_t *list, int threads, struct err *e)
{
	omp_set_num_threads(threads);
	return faissx_extra_coder_assign(c, n, vectors, list) ? failed(e, E_BUG, "assign vectors") : OK;
}

int faissx_coder_code(struct faissx_coder *c, size_t n, const float *rests, uint8_t *codes, int threads, struct err *e)
{
	omp_set_num_threads(threads);
	return faissx_extra_coder_code(c, n, rests, codes) ? failed(e, E_BUG, "code vectors") : OK;
}
