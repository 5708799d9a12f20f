/* vecset.c: owns which graphs and tails searches see, and how that changes.
 *
 * Consistency: a snapshot takes the set before its transaction begins, so nothing in it is newer than the transaction
 * in what it lacks: every chunk the transaction holds is in the graph, in the tail, or beyond the tail's end. Tails are
 * exchanged with the store's writer lock held, so no commit falls between what the new one was read from and the moment
 * writes go into it; the old one gets an end, beyond which readers that still hold it look in the store.
 * Threads: x->lock guards the current set, for moments. Failure: E_MEMORY and the store's. */
#include "index/vecset.h"
#include "base/mem.h"
#include "index/inside.h"

static struct vec_set *set_alloc(size_t n)
{
	struct vec_set *set = mem_calloc(1, sizeof *set + n * sizeof *set->at);
	if (set) atomic_init(&set->refs, 1);
	return set;
}

struct vec_set *vec_set_new(void)
{
	return set_alloc(0);
}

void vec_set_put(struct vec_set *set)
{
	if (!set || atomic_fetch_sub(&set->refs, 1) != 1) return;
	for (size_t i = 0; i < set->n; i++) {
		graph_put(set->at[i].graph);
		tail_put(set->at[i].tail);
	}
	mem_free(set);
}

static uint64_t place_of(uint32_t gen, uint32_t coll)
{
	return (uint64_t)gen << 32 | coll;
}

const struct vec_part *vec_set_find(const struct vec_set *set, uint32_t gen, uint32_t coll)
{
	size_t lo = 0, hi = set->n;
	uint64_t want = place_of(gen, coll);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (place_of(set->at[mid].gen, set->at[mid].coll) < want) lo = mid + 1;
		else hi = mid;
	}
	return lo < set->n && place_of(set->at[lo].gen, set->at[lo].coll) == want ? &set->at[lo] : NULL;
}

struct vec_set *vec_set_get(struct index *x)
{
	struct vec_set *set;
	pthread_mutex_lock(&x->lock);
	set = x->vecs;
	atomic_fetch_add(&set->refs, 1);
	pthread_mutex_unlock(&x->lock);
	return set;
}

/* A set of what the current one has, without the parts of the generation in collection coll (0: in all), with *more in its
 * place (NULL: none). */
static int set_exchange(struct index *x, uint32_t gen, uint32_t coll, const struct vec_part *more, struct err *e)
{
	struct vec_set *old, *fresh;
	int placed = !more;
	pthread_mutex_lock(&x->lock);
	old = x->vecs;
	fresh = set_alloc(old->n + 1);
	for (size_t i = 0; fresh && i < old->n; i++) {
		const struct vec_part *have = &old->at[i];
		if (!placed && place_of(gen, coll) <= place_of(have->gen, have->coll)) fresh->at[fresh->n++] = *more, placed = 1;
		if (have->gen == gen && (!coll || have->coll == coll)) continue;
		if (have->graph) atomic_fetch_add(&have->graph->refs, 1);
		atomic_fetch_add(&have->tail->refs, 1);
		fresh->at[fresh->n++] = *have;
	}
	if (fresh && !placed) fresh->at[fresh->n++] = *more;
	if (fresh) x->vecs = fresh;
	pthread_mutex_unlock(&x->lock);
	if (!fresh) return err_set(e, E_MEMORY, "publish a graph: out of memory");
	vec_set_put(old);
	return OK;
}

int vec_set_swap(struct index *x, uint32_t gen, uint32_t coll, struct graph *g, struct tail *t, struct err *e)
{
	const struct vec_part part = { gen, coll, g, t };
	int rc = set_exchange(x, gen, coll, &part, e);
	if (!rc) return OK;
	graph_put(g);
	tail_put(t);
	return rc;
}

/* With the writer's lock: nothing is added to the collection's current tail any more. */
static void tail_end(struct index *x, uint32_t gen, uint32_t coll, uint64_t next_chunk)
{
	struct vec_set *set = vec_set_get(x);
	const struct vec_part *part = vec_set_find(set, gen, coll);
	uint_fast64_t open = UINT64_MAX;
	if (part) atomic_compare_exchange_strong(&part->tail->end, &open, next_chunk);
	vec_set_put(set);
}

/* What the store holds joins the tail, beside writers. *next: the first chunk id that may be missing. */
static int tail_read(struct index *x, struct tail *tail, uint64_t *next, struct err *e)
{
	struct rec_state state;
	struct txn *t;
	int rc = txn_begin(&t, x->store, 0, e);
	if (rc) return rc;
	rc = state_read(t, &state, e);
	if (!rc) tail_add(tail, t, 1);
	*next = state.next_chunk;
	txn_abort(t);
	return rc;
}

static void tail_limit(struct index *x, const struct rec_gen *gen, uint32_t coll, const struct graph *g, struct tail *tail)
{
	struct vec_set *set = vec_set_get(x);
	tail->room = tail_room(x, set, gen->number, coll, g, gen->dim);
	vec_set_put(set);
}

int vec_publish(struct index *x, const struct rec_gen *gen, uint32_t coll, struct graph *g, struct err *e)
{
	struct tail *tail = tail_new(gen_vec(gen), coll, gen->dim, g ? g->last_chunk : 0);
	struct rec_state state;
	struct txn *t = NULL;
	uint64_t first = 1;
	int whole, rc = tail ? OK : err_set(e, E_MEMORY, "publish a graph: out of memory");
	if (!rc) tail_limit(x, gen, coll, g, tail);
	if (!rc) rc = tail_read(x, tail, &first, e);
	if (!rc) rc = txn_begin(&t, x->store, 1, e);
	if (!rc) rc = state_read(t, &state, e);
	if (rc || state.serving.number != gen->number) {
		graph_put(g);
		tail_put(tail);
		txn_abort(t);
		return rc == E_NOT_FOUND ? err_set(e, E_CORRUPT, "the state record is missing") : rc;
	}
	tail_add(tail, t, first);
	whole = atomic_load(&tail->end) == UINT64_MAX || atomic_load(&tail->full);
	tail_end(x, gen->number, coll, state.next_chunk);
	rc = vec_set_swap(x, gen->number, coll, g, tail, e);
	txn_abort(t);
	return rc || whole ? rc : err_set(e, E_MEMORY, "vectors in memory: not all of them");
}

int vec_drop(struct index *x, uint32_t gen, uint32_t coll, struct err *e)
{
	return set_exchange(x, gen, coll, NULL, e);
}

void vec_append(struct index *x, struct txn *t, uint32_t gen, uint32_t coll, uint64_t first)
{
	struct vec_set *set = vec_set_get(x);
	const struct vec_part *part = vec_set_find(set, gen, coll);
	if (part) tail_add(part->tail, t, first);
	vec_set_put(set);
}
