/* faissx_extra.cc: the calls that FAISS 1.7.3's C API lacks: reading the links of an HNSW graph out, and putting them
 * back. Written in the C API's manner: exceptions end here, 0 is success, the text is kept for faiss_get_last_error. */
#ifndef NDEBUG
#define NDEBUG /* the handler must not print to stderr */
#endif
#include <faiss/IndexHNSW.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/macros_impl.h>
extern "C" {
#include "index/faissx.h"
int faissx_extra_links(const FaissIndex *index, struct faissx_links *out);
int faissx_extra_vectors(FaissIndex *index, size_t n, const float *vectors);
int faissx_extra_restore(FaissIndex *index, size_t n, const int *levels, const int32_t *neighbors, int32_t entry);
}

static faiss::IndexHNSW *hnsw_of(const FaissIndex *index)
{
	auto h = dynamic_cast<const faiss::IndexHNSW *>(reinterpret_cast<const faiss::Index *>(index));
	FAISS_THROW_IF_NOT_MSG(h, "not an HNSW index");
	return const_cast<faiss::IndexHNSW *>(h);
}

int faissx_extra_links(const FaissIndex *index, struct faissx_links *out)
{
	*out = {};
	try {
		const faiss::HNSW &g = hnsw_of(index)->hnsw;
		out->n = g.levels.size();
		out->levels = g.levels.data();
		out->offsets = g.offsets.data();
		out->neighbors = g.neighbors.data();
		out->entry = g.entry_point;
	}
	CATCH_AND_HANDLE
}

int faissx_extra_vectors(FaissIndex *index, size_t n, const float *vectors)
{
	try {
		faiss::IndexHNSW *h = hnsw_of(index);
		h->storage->add((faiss::Index::idx_t)n, vectors);
		h->ntotal = h->storage->ntotal;
	}
	CATCH_AND_HANDLE
}

int faissx_extra_restore(FaissIndex *index, size_t n, const int *levels, const int32_t *neighbors, int32_t entry)
{
	try {
		faiss::IndexHNSW *h = hnsw_of(index);
		faiss::HNSW &g = h->hnsw;
		size_t at = 0;
		FAISS_THROW_IF_NOT_MSG((size_t)h->ntotal == n && g.levels.empty(), "links of other vectors");
		g.levels.assign(levels, levels + n);
		g.offsets.resize(n + 1);
		for (size_t i = 0; i < n; i++) {
			g.offsets[i] = at;
			at += (size_t)g.cum_nb_neighbors(levels[i]);
			g.max_level = levels[i] - 1 > g.max_level ? levels[i] - 1 : g.max_level;
		}
		g.offsets[n] = at;
		g.neighbors.assign(neighbors, neighbors + at);
		g.entry_point = entry;
	}
	CATCH_AND_HANDLE
}
