/* faissx.c: owns the way to FAISS 1.7.3, through its C API; what that API lacks is in faissx_extra.cc.
 *
 * The graph is HNSW over inner products: M links a node (2M on the ground level; Malkov and Yashunin, Efficient and
 * robust approximate nearest neighbor search using HNSW graphs, 2016). FAISS builds, comparing the int8 rows; searches are
 * graph.c's.
 * Lists are "IVF<n>,PQ<m>x4": codes of what a vector is off its centre (Jegou, Douze, Schmid 2011). FAISS learns and
 * codes, searches are ivf.c's.
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
int faissx_extra_lists(FaissIndex **out, int dim, size_t lists, size_t parts);
int faissx_extra_lists_restore(FaissIndex *index, const float *centres, const float *books);
int faissx_extra_lists_read(const FaissIndex *index, const float **centres, const float **books);
int faissx_extra_lists_encode(const FaissIndex *index, size_t n, const float *vectors, int64_t *list, uint8_t *codes);

struct faissx { FaissIndex *index; };
struct faissx_lists { FaissIndex *index; };

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

static int lists_new(struct faissx_lists **out, int dim, size_t lists, size_t parts, struct err *e)
{
	*out = mem_calloc(1, sizeof **out);
	if (!*out) return err_set(e, E_MEMORY, "lists: out of memory");
	if (!faissx_extra_lists(&(*out)->index, dim, lists, parts)) return OK;
	mem_free(*out);
	*out = NULL;
	return failed(e, E_BUG, "new lists");
}

int faissx_lists_learn(struct faissx_lists **out, int dim, size_t lists, size_t parts, size_t n, const float *vectors,
	int threads, int (*stop)(void *ctx), void *ctx, struct err *e)
{
	int code, rc = lists_new(out, dim, lists, parts, e);
	if (rc) return rc;
	omp_set_num_threads(threads);
	faissx_extra_stop(stop, ctx);
	code = faiss_Index_train((*out)->index, (idx_t)n, vectors);
	faissx_extra_stop(NULL, NULL);
	if (!code) return OK;
	rc = failed(e, E_BUG, "learn lists");
	faissx_lists_free(*out);
	*out = NULL;
	return rc;
}

int faissx_lists_restore(struct faissx_lists **out, int dim, size_t lists, size_t parts, const float *centres,
	const float *books, struct err *e)
{
	int rc = lists_new(out, dim, lists, parts, e);
	if (rc || !faissx_extra_lists_restore((*out)->index, centres, books)) return rc;
	rc = failed(e, E_BUG, "restore lists");
	faissx_lists_free(*out);
	*out = NULL;
	return rc;
}

void faissx_lists_read(const struct faissx_lists *l, const float **centres, const float **books)
{
	faissx_extra_lists_read(l->index, centres, books);
}

int faissx_lists_encode(struct faissx_lists *l, size_t n, const float *vectors, int64_t *list, uint8_t *codes, int threads,
	struct err *e)
{
	omp_set_num_threads(threads);
	return faissx_extra_lists_encode(l->index, n, vectors, list, codes) ? failed(e, E_BUG, "code vectors") : OK;
}

void faissx_lists_free(struct faissx_lists *l)
{
	if (!l) return;
	faiss_Index_free(l->index);
	mem_free(l);
}
