/* faissx_extra.cc: the calls that FAISS 1.7.3's C API lacks: an HNSW graph over int8 rows, reading its links out, and
 * putting them back; lists of 4-bit codes. Written in the C API's manner: exceptions end here, 0 is success, the text is
 * kept for faiss_get_last_error.
 *
 * FAISS asks a graph's storage for products, one at a time; Rows gives those of codes (code8.h), a quarter of the memory
 * traffic that fp32 needs, which is what building is bound by. */
#ifndef NDEBUG
#define NDEBUG /* the handler must not print to stderr */
#endif
#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/ProductQuantizer.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/macros_impl.h>
#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <vector>
extern "C" {
#include "index/code8.h"
#include "index/faissx.h"
int faissx_extra_new(FaissIndex **out, const uint8_t *rows, size_t stride, int dim, int m, int ef_construction);
int faissx_extra_links(const FaissIndex *index, struct faissx_links *out);
int faissx_extra_restore(FaissIndex *index, size_t n, const int *levels, const int32_t *neighbors, int32_t entry);
void faissx_extra_stop(int (*stop)(void *ctx), void *ctx);
int faissx_extra_cluster(int dim, size_t lists, size_t n, const float *vectors, float *centres);
int faissx_extra_coder(struct faissx_coder **out, int dim, size_t lists, const float *centres, int width, size_t parts);
int faissx_extra_coder_learn(struct faissx_coder *c, size_t n, const float *rests);
int faissx_extra_coder_assign(const struct faissx_coder *c, size_t n, const float *vectors, int64_t *list);
int faissx_extra_coder_code(const struct faissx_coder *c, size_t n, const float *rests, uint8_t *codes);
}

namespace {

struct Rows : faiss::Index {
	const uint8_t *rows;
	size_t stride;

	Rows(const uint8_t *at, size_t each, int dim) : faiss::Index(dim, faiss::METRIC_INNER_PRODUCT), rows(at), stride(each) {}
	void add(idx_t n, const float *) override { ntotal += n; }
	void search(idx_t, const float *, idx_t, float *, idx_t *, const faiss::SearchParameters *) const override
	{
		FAISS_THROW_MSG("rows are not searched by FAISS");
	}
	void reset() override { ntotal = 0; }
	faiss::DistanceComputer *get_distance_computer() const override;
};

/* Products of one vector, and of the row that was named second with others: FAISS asks for many with the same one. */
struct Products : faiss::DistanceComputer {
	const Rows &of;
	code8_query query = {}, row = {};
	idx_t second = -1;

	explicit Products(const Rows &rows) : of(rows)
	{
		std::vector<float> zeros((size_t)of.d);
		if (code8_query_init(&query, zeros.data(), (uint32_t)of.d, nullptr) ||
			code8_query_init(&row, zeros.data(), (uint32_t)of.d, nullptr)) {
			code8_query_clear(&query);
			throw std::bad_alloc();
		}
	}
	~Products() override
	{
		code8_query_clear(&query);
		code8_query_clear(&row);
	}
	void set_query(const float *x) override { code8_query_again(&query, x); }
	float operator()(idx_t i) override { return with(query, i); }
	float symmetric_dis(idx_t i, idx_t j) override
	{
		if (j != second) code8_query_row(&row, of.rows + (size_t)j * of.stride);
		second = j;
		return with(row, i);
	}
	float with(const code8_query &q, idx_t i) const
	{
		uint32_t at = (uint32_t)i;
		float near;
		code8_near(&q, of.rows, of.stride, &at, 1, &near, nullptr);
		return near;
	}
};

faiss::DistanceComputer *Rows::get_distance_computer() const
{
	return new Products(*this);
}

}

int faissx_extra_new(FaissIndex **out, const uint8_t *rows, size_t stride, int dim, int m, int ef_construction)
{
	try {
		auto storage = std::make_unique<Rows>(rows, stride, dim);
		auto h = std::make_unique<faiss::IndexHNSW>(storage.get(), m);
		storage.release();
		h->own_fields = true;
		h->hnsw.efConstruction = ef_construction;
		*out = reinterpret_cast<FaissIndex *>(h.release());
	}
	CATCH_AND_HANDLE
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

int faissx_extra_restore(FaissIndex *index, size_t n, const int *levels, const int32_t *neighbors, int32_t entry)
{
	try {
		faiss::IndexHNSW *h = hnsw_of(index);
		faiss::HNSW &g = h->hnsw;
		size_t at = 0;
		FAISS_THROW_IF_NOT_MSG(g.levels.empty(), "the graph has links");
		h->ntotal = h->storage->ntotal = (faiss::Index::idx_t)n;
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

/* ---- lists of codes ---- */

enum { ROUNDS = 8 };             /* of k-means over vectors */

/* FAISS asks one object, from whatever thread learns: each thread's own question. */
static thread_local int (*stop_asked)(void *ctx);
static thread_local void *stop_ctx;

struct stop_question : faiss::InterruptCallback {
	bool want_interrupt() override { return stop_asked && stop_asked(stop_ctx); }
};

void faissx_extra_stop(int (*stop)(void *ctx), void *ctx)
{
	static std::once_flag once;
	std::call_once(once, [] { faiss::InterruptCallback::instance = std::make_unique<stop_question>(); });
	stop_asked = stop;
	stop_ctx = ctx;
}

int faissx_extra_cluster(int dim, size_t lists, size_t n, const float *vectors, float *centres)
{
	try {
		faiss::Clustering k(dim, (int)lists);
		faiss::IndexFlatIP index(dim);
		k.spherical = true;
		k.niter = ROUNDS;
		k.min_points_per_centroid = 1; /* it would warn on stderr */
		k.train((faiss::Index::idx_t)n, vectors, index);
		std::copy(k.centroids.begin(), k.centroids.end(), centres);
	}
	CATCH_AND_HANDLE
}

struct faissx_coder {
	faiss::IndexFlatIP centres;
	faiss::ProductQuantizer pq;
	faissx_coder(int dim, int width, size_t parts) : centres(dim), pq((size_t)width, parts, 4) {}
};

int faissx_extra_coder(struct faissx_coder **out, int dim, size_t lists, const float *centres, int width, size_t parts)
{
	*out = nullptr;
	try {
		auto c = std::make_unique<faissx_coder>(dim, width, parts);
		c->centres.add((faiss::Index::idx_t)lists, centres);
		c->pq.cp.min_points_per_centroid = 1;
		*out = c.release();
	}
	CATCH_AND_HANDLE
}

int faissx_extra_coder_learn(struct faissx_coder *c, size_t n, const float *rests)
{
	try {
		c->pq.train((int)n, rests);
	}
	CATCH_AND_HANDLE
}

void faissx_coder_set(struct faissx_coder *c, const float *books)
{
	std::copy(books, books + c->pq.centroids.size(), c->pq.centroids.begin());
}

const float *faissx_coder_books(const struct faissx_coder *c)
{
	return c->pq.centroids.data();
}

int faissx_extra_coder_assign(const struct faissx_coder *c, size_t n, const float *vectors, int64_t *list)
{
	try {
		c->centres.assign((faiss::Index::idx_t)n, vectors, list);
		for (size_t i = 0; i < n; i++) FAISS_THROW_IF_NOT_MSG(list[i] >= 0, "a vector is near to no centre");
	}
	CATCH_AND_HANDLE
}

int faissx_extra_coder_code(const struct faissx_coder *c, size_t n, const float *rests, uint8_t *codes)
{
	try {
		c->pq.compute_codes(rests, codes, n);
	}
	CATCH_AND_HANDLE
}

void faissx_coder_free(struct faissx_coder *c)
{
	delete c;
}
