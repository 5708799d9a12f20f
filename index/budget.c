/* budget.c: owns what memory search by vector may take: which kind of index a collection gets, and how many rows its tail.
 *
 * Method: with index.kind = auto and a limit, what every collection would take as a graph (a small one: as codes) is
 * added up from its counters; while that is too much, the largest that still gets a graph gets lists instead. One that
 * has lists goes back to a graph only when a fifth of the limit would stay free, so that it does not change to and fro.
 * A tail that would pass the limit is closed; what came later is searched in the store, which is slower and as exact.
 * Estimates leave out what a build takes for a while, and what searches do.
 * Threads: no state. Failure: none. */
#include "index/inside.h"
#include "index/ivfbuild.h"

/* Of `vectors` in a tail. */
static double flat_bytes(uint32_t dim, double vectors)
{
	return vectors * (double)(code8_size(dim) + sizeof(uint64_t));
}

static double graph_estimate(const struct index *x, uint32_t dim, double vectors)
{
	size_t row = (code8_size(dim) + 8 * (size_t)x->hnsw_m + 63) / 64 * 64 + sizeof(uint64_t);
	return vectors * ((double)row + 8.0 / x->hnsw_m + 4) + flat_bytes(dim, vectors * x->rebuild_share / 2);
}

static double lists_estimate(const struct index *x, uint32_t dim, double vectors)
{
	struct ivf_shape s = ivf_shape(dim, (uint64_t)vectors);
	return vectors * (s.parts / 2 + sizeof(uint64_t)) + (double)s.lists * (double)code8_size(dim) +
		flat_bytes(dim, vectors * x->rebuild_share / LISTS_OFTENER / 2);
}

static double estimate(const struct index *x, uint32_t dim, const struct rec_coll *c)
{
	double n = (double)c->chunks;
	return c->chunks < x->exact_below ? flat_bytes(dim, n) : graph_estimate(x, dim, n);
}

/* Is a the one to be looked at first? */
static int larger(const struct coll_entry *list, size_t a, size_t b)
{
	return list[a].rec.chunks != list[b].rec.chunks ? list[a].rec.chunks > list[b].rec.chunks : a < b;
}

int lists_wanted(const struct index *x, uint32_t dim, const struct coll_entry *list, size_t n, size_t i, int has_lists)
{
	double need = 0, limit = (double)x->memory_bytes * (has_lists ? 0.8 : 1);
	uint64_t least = x->exact_below > IVF_LEAST ? x->exact_below : IVF_LEAST;
	if (list[i].rec.chunks < least) return 0;
	if (x->kind == INDEX_IVF) return 1;
	if (x->kind != INDEX_AUTO || !x->memory_bytes) return 0;
	for (size_t j = 0; j < n; j++) {
		const struct rec_coll *c = &list[j].rec;
		if (j != i && c->chunks >= least && larger(list, j, i)) need += lists_estimate(x, dim, (double)c->chunks);
		else need += estimate(x, dim, c);
	}
	return need > limit;
}

size_t tail_room(const struct index *x, const struct vec_set *set, uint32_t gen, uint32_t coll, const struct graph *g,
	uint32_t dim)
{
	size_t each = code8_size(dim) + sizeof(uint64_t), used = g ? graph_bytes(g) : 0, room;
	if (!x->memory_bytes) return SIZE_MAX;
	for (size_t i = 0; i < set->n; i++) {
		const struct vec_part *p = &set->at[i];
		if (p->gen == gen && p->coll == coll) continue;
		used += tail_bytes(p->tail) + (p->graph ? graph_bytes(p->graph) : 0);
	}
	room = used < x->memory_bytes ? (size_t)(x->memory_bytes - used) / each : 0;
	return room > TAIL_FIRST ? room : TAIL_FIRST;
}
