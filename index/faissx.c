/* faissx.c: owns the way to FAISS 1.7.3, through its C API; what that API lacks is in faissx_extra.cc.
 *
 * The graph is "HNSW<M>" over inner products: M links a node (2M on the ground level), vectors kept beside it as fp32
 * (Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, 2016). FAISS builds;
 * searches are graph.c's.
 * Traps that this file takes care of: FAISS keeps an error's text per thread, so it is copied at once; its OpenMP
 * threads are set before each call; error_c.h defines an enumerator OK as base/err.h does, so its one function is
 * declared here.
 * Threads: see faissx.h. Failure: every nonzero code becomes E_MEMORY or E_BUG. */
#include "index/faissx.h"
#include "base/err.h"
#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"

const char *faiss_get_last_error(void);
int faissx_extra_links(const FaissIndex *index, struct faissx_links *out);
int faissx_extra_vectors(FaissIndex *index, size_t n, const float *vectors);
int faissx_extra_restore(FaissIndex *index, size_t n, const int *levels, const int32_t *neighbors, int32_t entry);

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

int faissx_new(struct faissx **out, int dim, int m, int ef_construction, struct err *e)
{
	FaissIndex *index = NULL;
	FaissParameterSpace *space = NULL;
	char kind[32];
	int code;
	*out = NULL;
	snprintf(kind, sizeof kind, "HNSW%d", m);
	if (faiss_index_factory(&index, dim, kind, METRIC_INNER_PRODUCT)) return failed(e, E_BUG, "new graph");
	code = faiss_ParameterSpace_new(&space);
	if (!code) code = faiss_ParameterSpace_set_index_parameter(space, index, "efConstruction", ef_construction);
	if (space) faiss_ParameterSpace_free(space);
	if (code) {
		failed(e, E_BUG, "new graph");
		faiss_Index_free(index);
		return e ? e->status : E_BUG;
	}
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

int faissx_restore_vectors(struct faissx *g, size_t n, const float *vectors, struct err *e)
{
	if (faissx_extra_vectors(g->index, n, vectors)) return failed(e, E_BUG, "restore a graph");
	return OK;
}

int faissx_restore_links(struct faissx *g, size_t n, const int *levels, const int32_t *neighbors, int32_t entry,
	struct err *e)
{
	if (faissx_extra_restore(g->index, n, levels, neighbors, entry)) return failed(e, E_BUG, "restore a graph");
	return OK;
}
