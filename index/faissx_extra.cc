/* faissx_extra.cc: the one call that FAISS 1.7.3's C API lacks: a search with its own efSearch. The index's field is
 * shared by all threads, so it can't be set per search, and IndexIDMap of this version refuses search parameters: so
 * the inner HNSW is searched and its labels are translated here. Its candidate list is sized by max(index's efSearch,
 * k), not by the parameter, hence k should be near ef where ef is larger than FAISS's default of 16.
 * Written in the C API's manner: exceptions end here, 0 is success, the text is kept for faiss_get_last_error. */
#ifndef NDEBUG
#define NDEBUG /* the handler must not print to stderr */
#endif
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/macros_impl.h>

extern "C" int faissx_extra_search(const FaissIndex *index, const float *x, idx_t k, int ef, float *distances,
	idx_t *labels);

extern "C" int faissx_extra_search(const FaissIndex *index, const float *x, idx_t k, int ef, float *distances,
	idx_t *labels)
{
	try {
		auto map = dynamic_cast<const faiss::IndexIDMap *>(reinterpret_cast<const faiss::Index *>(index));
		FAISS_THROW_IF_NOT_MSG(map, "not an IDMap");
		FAISS_THROW_IF_NOT_MSG(dynamic_cast<const faiss::IndexHNSW *>(map->index), "not an HNSW index");
		faiss::SearchParametersHNSW params;
		params.efSearch = ef;
		map->index->search(1, x, k, distances, labels, &params);
		for (idx_t i = 0; i < k; i++)
			if (labels[i] >= 0) labels[i] = map->id_map[labels[i]];
	}
	CATCH_AND_HANDLE
}
