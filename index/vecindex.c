/* vecindex.c: owns the graphs in memory and vector search over them.
 *
 * Method: a collection is searched in its graph (what lived up to chunk id last_chunk when it was built) and exactly in
 * its tail (chunk ids beyond). FAISS's HNSW can't remove, so what was deleted since (tombstones) is dropped from its
 * answers: a label counts only when the chunk lives in the snapshot and the reader may see its document. The graph is
 * asked for as many candidates as it looks at anyway (ef of them), and when fewer than k survive, for twice as many,
 * until the exact scan is cheaper: a step of ef looks at about 2M neighbours, so at ef * 64 > vectors. So k hits come
 * whenever the reader may see k chunks, however selective the access is. Small collections are always scanned.
 * Scores are our own dot product over the stored vector, so that a hit's score is the same whichever way it was found.
 *
 * Consistency: a snapshot takes the set before its transaction begins, so no graph in it is newer than the
 * transaction: it never lacks a chunk that the transaction holds.
 * Threads: any number of searches beside one swap. Failure: E_MEMORY, and FAISS's errors, which turn into an exact
 * scan with a warning. */
#include "index/vecindex.h"
#include <math.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "index/flat.h"
#include "index/inside.h"

/* ---- references ---- */

struct graph *graph_new(struct faissx *fx, uint32_t coll)
{
	struct graph *g = mem_calloc(1, sizeof *g);
	if (!g) {
		faissx_free(fx);
		return NULL;
	}
	atomic_init(&g->refs, 1);
	g->coll = coll;
	g->fx = fx;
	return g;
}

struct faissx *graph_take(struct graph *g)
{
	struct faissx *fx = g->fx;
	mem_free(g);
	return fx;
}

void graph_put(struct graph *g)
{
	if (!g || atomic_fetch_sub(&g->refs, 1) != 1) return;
	faissx_free(g->fx);
	mem_free(g);
}

static struct graph_set *set_alloc(size_t n)
{
	struct graph_set *set = mem_calloc(1, sizeof *set + n * sizeof *set->graph);
	if (set) atomic_init(&set->refs, 1);
	return set;
}

struct graph_set *graph_set_new(void)
{
	return set_alloc(0);
}

void graph_set_put(struct graph_set *set)
{
	if (!set || atomic_fetch_sub(&set->refs, 1) != 1) return;
	for (size_t i = 0; i < set->n; i++) graph_put(set->graph[i]);
	mem_free(set);
}

struct graph *graph_set_find(const struct graph_set *set, uint32_t coll)
{
	size_t lo = 0, hi = set->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (set->graph[mid]->coll < coll) lo = mid + 1;
		else hi = mid;
	}
	return lo < set->n && set->graph[lo]->coll == coll ? set->graph[lo] : NULL;
}

struct graph_set *graph_set_get(struct index *x)
{
	struct graph_set *set;
	pthread_mutex_lock(&x->lock);
	set = x->graphs;
	atomic_fetch_add(&set->refs, 1);
	pthread_mutex_unlock(&x->lock);
	return set;
}

int graph_set_swap(struct index *x, uint32_t coll, struct graph *g, struct err *e)
{
	struct graph_set *old, *fresh;
	pthread_mutex_lock(&x->lock);
	old = x->graphs;
	fresh = set_alloc(old->n + 1);
	if (!fresh) {
		pthread_mutex_unlock(&x->lock);
		graph_put(g);
		return err_set(e, E_MEMORY, "publish a graph: out of memory");
	}
	for (size_t i = 0; i < old->n; i++) {
		struct graph *have = old->graph[i];
		if (g && coll < have->coll) {
			fresh->graph[fresh->n++] = g;
			g = NULL;
		}
		if (have->coll == coll) continue;
		atomic_fetch_add(&have->refs, 1);
		fresh->graph[fresh->n++] = have;
	}
	if (g) fresh->graph[fresh->n++] = g;
	x->graphs = fresh;
	pthread_mutex_unlock(&x->lock);
	graph_set_put(old);
	return OK;
}

/* ---- search ---- */

struct search {
	struct snapshot *s;
	const struct reader *r;
	uint32_t coll;
	const float *query;
	size_t k;
	struct sight *cache;
};

/* Puts what lives and is visible of the graph's candidates into *t; *alive says how many that were. */
static int candidates_take(const struct search *q, const int64_t *ids, size_t n, struct topk *t, size_t *alive,
	struct err *e)
{
	*alive = 0;
	for (size_t i = 0; i < n && *alive < q->k; i++) {
		uint64_t chunk = (uint64_t)ids[i];
		struct slice value;
		struct key k;
		const float *v;
		float score;
		int yes, rc = snapshot_sees_chunk(q->s, q->r, q->coll, chunk, q->cache, &yes, e);
		if (rc) return rc;
		if (!yes) continue;
		key_vec(&k, q->coll, chunk);
		if (store_get(q->s->t, T_VEC, &k, &value, NULL) || rec_vec_get(&v, &k, value, q->s->x->dim, 0, NULL)) continue;
		score = flat_dot(q->query, v, q->s->x->dim);
		if (isnan(score)) continue;
		++*alive;
		if (topk_wants(t, score, chunk)) topk_put(t, score, chunk);
	}
	return OK;
}

/* The k best of the graph; *enough is 0 when it could not tell them and the exact scan must. */
static int graph_search(const struct search *q, const struct graph *g, struct topk *t, int *enough, struct err *e)
{
	size_t ef = (size_t)q->s->x->hnsw_ef_search, got, alive;
	float *scores;
	int64_t *ids;
	int rc = OK;
	*enough = 0;
	if (ef < 2 * q->k) ef = 2 * q->k;
	for (; !*enough && !rc && ef < g->vectors / 64 + (size_t)q->s->x->hnsw_ef_search; ef *= 2) {
		scores = mem_alloc(ef * sizeof *scores);
		ids = mem_alloc(ef * sizeof *ids);
		if (!scores || !ids) rc = err_set(e, E_MEMORY, "search: out of memory");
		else rc = faissx_search(g->fx, q->query, (int)ef, ef, scores, ids, &got, e);
		t->n = 0;
		if (!rc) rc = candidates_take(q, ids, got, t, &alive, e);
		if (!rc) *enough = alive >= q->k;
		mem_free(scores);
		mem_free(ids);
	}
	return rc;
}

static int search_run(const struct search *q, const struct rec_coll *c, struct topk *t, struct err *e)
{
	struct graph *g = c->chunks < q->s->x->exact_below ? NULL : graph_set_find(q->s->graphs, q->coll);
	int enough = 0, rc;
	if (g && q->k < g->vectors) {
		struct err why = { OK, "" };
		rc = graph_search(q, g, t, &enough, &why);
		if (rc == E_MEMORY) return err_set(e, rc, "%s", why.msg);
		if (rc) log_put(LOG_WARN, "index", "searching exactly: %s", why.msg);
		if (rc) enough = 0;
	}
	if (!enough) t->n = 0;
	return flat_scan(q->s, q->r, q->coll, enough ? g->last_chunk : 0, q->query, t, q->cache, e);
}

static int query_check(const struct snapshot *s, const struct reader *r, const float *query, struct err *e)
{
	if (!r || !r->collection || !coll_name_ok(r->collection)) return err_set(e, E_USAGE, "search: which collection?");
	if (!s->x->with_vectors)
		return err_set(e, E_CONFLICT, "search by vector: the store was opened without an embedder");
	for (uint32_t i = 0; i < s->x->dim; i++)
		if (!isfinite(query[i])) return err_set(e, E_USAGE, "search: component %u of the query is not a number", i);
	return OK;
}

int snapshot_search(struct snapshot *s, const struct reader *r, const float *query, size_t k, struct vec_hit *out,
	size_t *got, struct err *e)
{
	struct sight *cache;
	struct rec_coll c;
	struct topk t = { out, 0, k };
	int rc = query_check(s, r, query, e);
	*got = 0;
	if (rc) return rc;
	rc = coll_read(s->t, r->collection, &c, e);
	if (rc == E_NOT_FOUND) return OK;
	if (rc) return rc;
	if (k > c.chunks) t.k = k = c.chunks;
	if (k == 0) return OK;
	cache = mem_calloc(1, sizeof *cache);
	if (!cache) return err_set(e, E_MEMORY, "search: out of memory");
	rc = search_run(&(struct search){ s, r, c.number, query, k, cache }, &c, &t, e);
	mem_free(cache);
	if (rc) return rc;
	topk_sort(&t);
	*got = t.n;
	return OK;
}
