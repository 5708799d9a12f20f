/* faissx.c: owns the way to FAISS 1.7.3, through its C API; what that API lacks is in faissx_extra.cc.
 *
 * The graph is "IDMap,HNSW<M>" over inner products: M links a node (2M on the ground level), vectors kept in the graph
 * as fp32 (Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, 2016).
 * Traps that this file takes care of: FAISS keeps an error's text per thread, so it is copied at once; it opens an
 * OpenMP region in every search, so the number of threads is set to one before each; labels are padded with -1; its
 * clone of an HNSW index can't be written any more (it loses the class), so graphs are copied through their stored
 * form; error_c.h defines an enumerator OK as base/err.h does, so its one function is declared here.
 * Threads: see faissx.h. Failure: every nonzero code becomes E_MEMORY, E_CORRUPT (reading) or E_BUG. */
#include "index/faissx.h"
#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/index_io_c.h>
#include <omp.h>
#include <string.h>
#include "base/mem.h"

const char *faiss_get_last_error(void);
int faissx_extra_search(const FaissIndex *index, const float *x, idx_t k, int ef, float *distances, idx_t *labels);

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
	snprintf(kind, sizeof kind, "IDMap,HNSW%d", m);
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

uint64_t faissx_count(const struct faissx *g)
{
	return (uint64_t)faiss_Index_ntotal(g->index);
}

int faissx_add(struct faissx *g, size_t n, const float *vectors, const int64_t *ids, int threads, struct err *e)
{
	omp_set_num_threads(threads);
	if (faiss_Index_add_with_ids(g->index, (idx_t)n, vectors, ids)) return failed(e, E_BUG, "add to graph");
	return OK;
}

int faissx_search(const struct faissx *g, const float *query, int ef, size_t k, float *scores, int64_t *ids,
	size_t *got, struct err *e)
{
	*got = 0;
	omp_set_num_threads(1);
	if (k == 0) return OK;
	if (faissx_extra_search(g->index, query, (idx_t)k, ef, scores, ids)) return failed(e, E_BUG, "search graph");
	while (*got < k && ids[*got] >= 0) ++*got;
	return OK;
}

int faissx_write(const struct faissx *g, FILE *f, struct err *e)
{
	if (faiss_write_index(g->index, f)) return failed(e, E_IO, "write graph");
	return OK;
}

int faissx_read(struct faissx **out, FILE *f, int dim, uint64_t count, struct err *e)
{
	FaissIndex *index = NULL;
	*out = NULL;
	if (faiss_read_index(f, 0, &index)) return failed(e, E_CORRUPT, "read graph");
	if (faiss_Index_d(index) != dim || (uint64_t)faiss_Index_ntotal(index) != count ||
		faiss_Index_metric_type(index) != METRIC_INNER_PRODUCT) {
		faiss_Index_free(index);
		return err_set(e, E_CORRUPT, "read graph: dimension, number of vectors or metric differ from its header");
	}
	return wrap(out, index, e);
}
