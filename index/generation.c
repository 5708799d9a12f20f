/* generation.c: owns whose vectors the store holds: which embedder it is opened with, another's beside, and the turn.
 *
 * An embedder's vectors of every chunk are a generation. One serves; the other pair of tables (record.c) may hold a
 * second. Building it walks the chunks by their ids, which only grow: a batch is read and embedded in a snapshot, then
 * written in a transaction of its own, which also writes how far it is (upto). Chunks deleted meanwhile are passed over
 * there, new ones have higher ids and are met later. So a kill loses a batch, and nothing else has to know of the
 * build but deletion, which takes a chunk's vectors from both.
 *
 * The turn is one write: the few chunks that came last are embedded in it, while writers wait; then the state record
 * names the other tables. What searches need in memory (graphs that were stored, codes of all else) is read before and
 * published under the new generation's number before the commit, so that every snapshot finds parts of its own
 * generation; those of the old one go when it is done. Graphs are built before the turn, from what is there by then, and
 * cost what they would cost after it. The old generation stays in its tables and is caught up by the
 * same walk when the store is to turn back.
 *
 * Threads: index_reembed and index_reembed_forget from any, one at a time (x->reembedding); the rest as inside.h says.
 * Failure: see index.h; before the turn's commit nothing has changed for anybody. */
#include <stdio.h>
#include <string.h>
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/inside.h"

enum { BATCH = 64, LATE_ROUNDS = 64, TOLD_MAX = 120, LIST_BYTES_MAX = 1 << 30 };

/* ---- whose vectors they are ---- */

void serving_set(struct index *x, const struct rec_gen *g)
{
	pthread_mutex_lock(&x->lock);
	memcpy(x->embedder, g->embedder, sizeof x->embedder);
	pthread_mutex_unlock(&x->lock);
}

void index_serving(struct index *x, char fingerprint[65])
{
	pthread_mutex_lock(&x->lock);
	memcpy(fingerprint, x->embedder, sizeof x->embedder);
	pthread_mutex_unlock(&x->lock);
}

const struct rec_gen *gen_of(const struct rec_state *r, enum table table)
{
	if (table == gen_vec(&r->serving)) return &r->serving;
	return table == gen_vec(&r->beside) && r->beside.status ? &r->beside : NULL;
}

/* "bge-small (a1b2c3d4e5f6, 384 floats)" */
static const char *embedder_told(char out[TOLD_MAX], const char *model, const char *fingerprint, uint32_t dim)
{
	snprintf(out, TOLD_MAX, "%.40s%s%.12s, %u floats%s", model, *model ? " (" : "", fingerprint, dim, *model ? ")" : "");
	return out;
}

/* A store without chunks takes any embedder; one with chunks its own, whose name it learns. */
static int embedder_settle(struct txn *t, struct rec_state *state, const struct index_options *o, int *changed, struct err *e)
{
	struct rec_gen *g = &state->serving;
	char have[TOLD_MAX], want[TOLD_MAX];
	uint64_t chunks;
	int rc = store_entries(t, T_CHUNK, &chunks, e), same = g->dim == (uint32_t)o->dim && strcmp(g->embedder, o->embedder) == 0;
	if (rc) return rc;
	if (!same && chunks)
		return err_set(e, E_CONFLICT, "the store holds vectors of %s, not of %s: set embed.model and embed.passage_prefix as "
			"they were, or turn to the other with footnote reembed", embedder_told(have, g->model, g->embedder, g->dim),
			embedder_told(want, o->model ? o->model : "", o->embedder, (uint32_t)o->dim));
	if (!same) {
		*changed = 1;
		g->dim = (uint32_t)o->dim;
		snprintf(g->embedder, sizeof g->embedder, "%s", o->embedder);
		g->model[0] = 0;
		state->beside.status = BESIDE_NONE;
		rc = store_empty(t, gen_vec(&state->beside), e);
		if (!rc) rc = store_empty(t, gen_graph(&state->beside), e);
	}
	if (o->model && *o->model && !*g->model) {
		*changed = 1;
		snprintf(g->model, sizeof g->model, "%s", o->model);
	}
	return rc;
}

int index_attach(struct index *x, const struct index_options *o, struct err *e)
{
	struct rec_state state;
	struct txn *t;
	int changed = 0, rc = strlen(o->embedder) > EMBEDDER_MAX || o->dim < 1 || o->dim > DIM_MAX
		? err_set(e, E_USAGE, "embedder %.80s of dimension %d", o->embedder, o->dim) : txn_begin(&t, x->store, 1, e);
	if (rc) return rc;
	rc = state_read(t, &state, e);
	if (!rc) rc = embedder_settle(t, &state, o, &changed, e);
	if (!rc && changed) rc = state_write(t, &state, e);
	if (!rc && changed) rc = txn_commit(t, e);
	else txn_abort(t);
	if (rc) return rc;
	serving_set(x, &state.serving);
	atomic_store(&x->with_vectors, 1);
	return catchup_start(x, e);
}

static void embedder_tell(struct index_embedder *out, const struct rec_gen *g)
{
	*out = (struct index_embedder){ .dim = (int)g->dim, .status = (enum beside)g->status };
	memcpy(out->fingerprint, g->embedder, sizeof out->fingerprint);
	memcpy(out->model, g->model, sizeof out->model);
}

int embedders_tell(struct txn *t, const struct rec_state *state, struct index_embedder *serving,
	struct index_embedder *beside, struct err *e)
{
	int rc;
	embedder_tell(serving, &state->serving);
	embedder_tell(beside, &state->beside);
	rc = store_entries(t, gen_vec(&state->serving), &serving->vectors, e);
	return rc ? rc : store_entries(t, gen_vec(&state->beside), &beside->vectors, e);
}

int index_embedders(struct index *x, struct index_embedder *serving, struct index_embedder *beside, struct err *e)
{
	struct rec_state state;
	struct txn *t;
	int rc = txn_begin(&t, x->store, 0, e);
	if (rc) return rc;
	rc = state_read(t, &state, e);
	if (!rc) rc = embedders_tell(t, &state, serving, beside, e);
	txn_abort(t);
	return rc;
}

/* ---- building beside ---- */

struct fresh { uint32_t coll; struct graph *graph; struct tail *tail; }; /* owned */
struct build {
	struct index *x;
	const struct reembed_hooks *h;
	struct rec_gen gen;              /* that is built, as it was when this began; upto moves */
	struct reembed_chunk chunk[BATCH];
	uint32_t coll[BATCH];
	size_t n;                        /* of them in work */
	float *vectors;                  /* (BATCH, dim) */
	struct reembed_progress told;
	struct fresh *fresh; size_t fresh_n;
	uint64_t fresh_upto;             /* gen.upto when they were read */
};

static int claim(struct index *x, struct err *e)
{
	int idle = 0;
	if (atomic_load(&x->writer) == pthread_self()) return err_set(e, E_BUSY, "this thread is writing to the store already");
	if (atomic_compare_exchange_strong(&x->reembedding, &idle, 1)) return OK;
	return err_set(e, E_BUSY, "a change of the embedder is going on already");
}

static void beside_new(struct rec_state *state, const struct index_embedder *to)
{
	uint32_t last = state->serving.number > state->beside.number ? state->serving.number : state->beside.number;
	struct rec_gen *g = &state->beside;
	*g = (struct rec_gen){ .number = last + 1, .slot = 1 - state->serving.slot, .dim = (uint32_t)to->dim,
		.status = BESIDE_BUILDING };
	memcpy(g->embedder, to->fingerprint, sizeof g->embedder);
	memcpy(g->model, to->model, sizeof g->model);
}

/* Empties the tables beside. */
static int beside_empty(struct txn *t, const struct rec_state *state, struct err *e)
{
	int rc = store_empty(t, gen_vec(&state->beside), e);
	return rc ? rc : store_empty(t, gen_graph(&state->beside), e);
}

/* Sees to it that what stands beside is the embedder's. */
static int build_begin(struct build *b, const struct index_embedder *to, struct err *e)
{
	struct rec_state state;
	struct txn *t;
	int rc = txn_begin(&t, b->x->store, 1, e), same;
	if (rc) return rc;
	rc = state_read(t, &state, e);
	if (!rc && strcmp(state.serving.embedder, to->fingerprint) == 0)
		rc = err_set(e, E_CONFLICT, "the store's vectors are %.64s's already", *to->model ? to->model : to->fingerprint);
	same = !rc && state.beside.status && state.beside.dim == (uint32_t)to->dim &&
		strcmp(state.beside.embedder, to->fingerprint) == 0;
	if (!rc && !same) {
		rc = beside_empty(t, &state, e);
		beside_new(&state, to);
		if (!rc) rc = state_write(t, &state, e);
	}
	b->gen = state.beside;
	if (rc || same) txn_abort(t);
	else rc = txn_commit(t, e);
	if (!rc) fault_point("reembed.begun");
	return rc;
}

/* Record, text and title of a chunk; all borrowed from the transaction. */
static int chunk_take(struct txn *t, uint64_t id, struct slice value, struct reembed_chunk *out, uint32_t *coll, struct err *e)
{
	struct rec_text text = { 0, 0, NULL, 0, "" };
	struct rec_chunk c;
	struct rec_doc d;
	struct slice v;
	struct key k;
	int rc;
	key_u64(&k, id);
	rc = rec_chunk_get(&c, &k, value, e);
	key_u64(&k, c.doc);
	if (!rc) rc = store_get(t, T_DOC, &k, &v, e);
	if (!rc) rc = rec_doc_get(&d, &k, v, e);
	if (!rc) rc = store_get(t, T_TEXT, &k, &v, e);
	if (!rc) rc = rec_text_get(&text, &k, v, 1, e);
	if (rc == E_NOT_FOUND || (!rc && ((uint64_t)c.range.off + c.range.len > text.len ||
		(c.sentence_n && rec_sentence(&c, 0).off - (uint64_t)c.range.off > c.range.len))))
		rc = err_set(e, E_CORRUPT, "its document or text is not there");
	if (rc) return err_wrap(e, "chunk %llu (footnote check tells more)", (unsigned long long)id);
	*coll = c.coll;
	*out = (struct reembed_chunk){ id, c.range, c.sentence_n ? rec_sentence(&c, 0) : (struct span){ 0, 0 }, d.title, c.heading,
		text.text };
	return OK;
}

/* The next chunks without a vector into b; upto moves to the last, or to the end where there are no more. */
static int batch_read(struct build *b, struct txn *t, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value, v;
	struct rec_state state;
	struct key k;
	int rc = state_read(t, &state, e);
	b->n = 0;
	if (!rc) rc = cursor_open(&c, t, T_CHUNK, e);
	key_u64(&k, b->gen.upto + 1);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc && b->n < BATCH; rc = cursor_next(&c, &key, &value, e)) {
		uint64_t id = key.n == 8 ? key_get_u64(key.p) : 0;
		rc = chunk_take(t, id, value, &b->chunk[b->n], &b->coll[b->n], e);
		if (rc) break;
		b->gen.upto = id;
		key_vec(&k, b->coll[b->n], id);
		rc = store_get(t, gen_vec(&b->gen), &k, &v, e);
		if (rc == E_NOT_FOUND) rc = OK, b->n++;
		if (rc) break;
	}
	cursor_close(&c);
	if (rc != E_NOT_FOUND) return rc;
	b->gen.upto = state.next_chunk - 1;
	return OK;
}

/* Vectors of the batch whose chunks still live. */
static int batch_write(struct build *b, struct txn *t, struct err *e)
{
	size_t size = rec_vec_size(b->gen.dim, b->x->form);
	int rc = OK;
	for (size_t i = 0; !rc && i < b->n; i++) {
		struct slice v;
		struct key k;
		uint8_t *to;
		key_u64(&k, b->chunk[i].id);
		rc = store_get(t, T_CHUNK, &k, &v, e);
		if (rc == E_NOT_FOUND) {
			rc = OK;
			continue;
		}
		key_vec(&k, b->coll[i], b->chunk[i].id);
		if (!rc) rc = store_reserve(t, gen_vec(&b->gen), &k, size, &to, e);
		if (!rc) rec_vec_fill(to, &k, b->vectors + i * b->gen.dim, b->gen.dim, b->x->form);
	}
	return rc;
}

static int batch_embed(struct build *b, struct err *e)
{
	int rc = b->n ? b->h->embed(b->h->ctx, b->chunk, b->n, b->vectors, e) : OK;
	return rc ? rc : vectors_check(b->x, b->vectors, b->n, b->gen.dim, e);
}

/* Counts, tells, and asks whether to go on. */
static int build_tell(struct build *b, struct txn *t, struct err *e)
{
	int rc = store_entries(t, gen_vec(&b->gen), &b->told.done, e);
	if (!rc) rc = store_entries(t, T_CHUNK, &b->told.total, e);
	if (!rc && b->h->progress && b->h->progress(b->h->ctx, &b->told))
		rc = err_set(e, E_CANCELLED, "interrupted; what is done stays");
	return rc;
}

/* What a transaction of this build leaves; it must still be what stands beside. */
static int upto_write(struct build *b, struct txn *t, struct err *e)
{
	struct rec_state state;
	int rc = state_read(t, &state, e);
	if (!rc && state.beside.number != b->gen.number) rc = err_set(e, E_CONFLICT, "the vectors beside are others meanwhile");
	state.beside.upto = b->gen.upto;
	return rc ? rc : state_write(t, &state, e);
}

static int batch_run(struct build *b, struct err *e)
{
	struct txn *t;
	int stop, rc = txn_begin(&t, b->x->store, 0, e);
	if (rc) return rc;
	rc = batch_read(b, t, e);
	if (!rc) rc = batch_embed(b, e);
	txn_abort(t);
	if (!rc) rc = txn_begin(&t, b->x->store, 1, e);
	if (rc) return rc;
	rc = batch_write(b, t, e);
	if (!rc) rc = upto_write(b, t, e);
	if (!rc) rc = build_tell(b, t, e);
	if (rc && rc != E_CANCELLED) {
		txn_abort(t);
		return rc;
	}
	stop = rc;
	rc = txn_commit(t, stop ? NULL : e);
	if (stop) return stop;
	if (!rc) fault_point("reembed.batch");
	return rc;
}

/* ---- turning to it ---- */

static void fresh_drop(struct build *b)
{
	for (size_t i = 0; i < b->fresh_n; i++) {
		graph_put(b->fresh[i].graph);
		tail_put(b->fresh[i].tail);
	}
	mem_free(b->fresh);
	b->fresh = NULL;
	b->fresh_n = 0;
}

static struct fresh *fresh_find(struct build *b, uint32_t coll)
{
	for (size_t i = 0; i < b->fresh_n; i++)
		if (b->fresh[i].coll == coll) return &b->fresh[i];
	return NULL;
}

/* The collection's graph, where the store has one, and a tail of the rest, from a transaction. */
static int fresh_read(struct build *b, struct txn *t, uint32_t coll, int with_graph, struct fresh *f, struct err *e)
{
	struct vec_set *set;
	f->coll = coll;
	if (with_graph && graph_load(b->x, t, &b->gen, coll, &f->graph, NULL)) f->graph = NULL;
	f->tail = tail_new(gen_vec(&b->gen), coll, b->gen.dim, f->graph ? f->graph->last_chunk : 0);
	if (!f->tail) return err_set(e, E_MEMORY, "turn to another embedder: out of memory");
	set = vec_set_get(b->x);
	f->tail->room = tail_room(b->x, set, b->gen.number, coll, f->graph, b->gen.dim);
	vec_set_put(set);
	tail_add(f->tail, t, 1);
	return OK;
}

/* What searches will need of every collection, beside readers and writers. */
static int fresh_read_all(struct build *b, struct err *e)
{
	struct coll_entry *list;
	struct arena a;
	struct txn *t;
	size_t n = 0;
	int rc = txn_begin(&t, b->x->store, 0, e);
	if (rc) return rc;
	arena_init(&a, LIST_BYTES_MAX);
	fresh_drop(b);
	rc = coll_list(t, &a, &list, &n, e);
	if (!rc && n) b->fresh = mem_calloc(n, sizeof *b->fresh);
	if (!rc && n && !b->fresh) rc = err_set(e, E_MEMORY, "turn to another embedder: out of memory");
	for (size_t i = 0; !rc && i < n; i++) rc = fresh_read(b, t, list[i].rec.number, 1, &b->fresh[b->fresh_n++], e);
	b->fresh_upto = b->gen.upto;
	txn_abort(t);
	arena_clear(&a);
	return rc;
}

/* In the write: what is left gets its vectors. E_CORRUPT: not every chunk has one, though the walk went by all. */
static int rest_write(struct build *b, struct write *w, struct err *e)
{
	uint64_t have, due;
	int rc = OK;
	do {
		rc = batch_read(b, w->t, e);
		if (!rc) rc = batch_embed(b, e);
		if (!rc) rc = batch_write(b, w->t, e);
	} while (!rc && b->gen.upto + 1 < w->state.next_chunk);
	if (!rc) rc = store_entries(w->t, gen_vec(&b->gen), &have, e);
	if (!rc) rc = store_entries(w->t, T_CHUNK, &due, e);
	if (!rc && have != due)
		rc = err_set(e, E_CORRUPT, "%llu chunks have %llu vectors of the other embedder", (unsigned long long)due,
			(unsigned long long)have);
	return rc;
}

/* In the write: a collection's counters become those of its graph in the new generation, and what was read of it before
 * becomes whole. */
static int coll_turn(struct build *b, struct write *w, const struct coll_entry *c, struct err *e)
{
	struct rec_coll rec = c->rec;
	struct fresh own = { 0 }, *f = fresh_find(b, rec.number);
	struct rec_graph h;
	int rc = OK;
	if (f && f->graph && (graph_header(w->t, gen_graph(&b->gen), rec.number, &h, NULL) || h.generation != f->graph->generation)) {
		graph_put(f->graph); /* something was erased meanwhile */
		tail_put(f->tail);
		*f = (struct fresh){ 0 };
		f = NULL;
	}
	if (f) tail_add(f->tail, w->t, b->fresh_upto + 1);
	else rc = fresh_read(b, w->t, rec.number, 0, f = &own, e);
	if (!rc && !f->graph) rc = graph_delete(w->t, gen_graph(&b->gen), rec.number, e);
	rec.graph_vectors = f->graph ? f->graph->vectors : 0;
	rec.graph_last = f->graph ? f->graph->last_chunk : 0;
	if (!rc) rc = tail_count(w->t, gen_vec(&b->gen), rec.number, rec.graph_last, &rec.tail, e);
	if (!rc) rc = coll_write(w->t, c->name, &rec, e);
	if (rc) {
		graph_put(own.graph);
		tail_put(own.tail);
		return rc;
	}
	own = *f;
	if (f != &own) *f = (struct fresh){ 0 };
	return vec_set_swap(b->x, b->gen.number, rec.number, own.graph, own.tail, e);
}

static int turn_write(struct build *b, struct write *w, struct err *e)
{
	struct rec_state *state = &w->state;
	struct rec_gen old = state->serving;
	struct coll_entry *list;
	struct arena a;
	size_t n = 0;
	int rc;
	arena_init(&a, LIST_BYTES_MAX);
	rc = coll_list(w->t, &a, &list, &n, e);
	for (size_t i = 0; !rc && i < n; i++) rc = coll_turn(b, w, &list[i], e);
	arena_clear(&a);
	if (rc) return rc;
	state->serving = b->gen;
	state->serving.status = state->serving.upto = 0;
	state->beside = old;
	state->beside.status = old.dim ? BESIDE_KEPT : BESIDE_NONE;
	state->beside.upto = state->next_chunk - 1;
	w->turned = 1;
	return OK;
}

static int build_stop(void *build)
{
	struct build *b = build;
	return b->h->progress && b->h->progress(b->h->ctx, &b->told);
}

/* Graphs are built before, so that no search is slower after the turn; where that fails, they are built after it. */
static int build_graphs(struct build *b, struct err *e)
{
	struct err why = { OK, "" };
	b->told.turning = 1;
	if (graphs_ahead(b->x, &b->gen, build_stop, b, &why) == E_CANCELLED) return err_set(e, E_CANCELLED, "%s", why.msg);
	if (why.status) log_put(LOG_WARN, "index", "before the turn to another embedder: %s", why.msg);
	return OK;
}

static int build_turn(struct build *b, struct err *e)
{
	struct index *x = b->x;
	struct write *w;
	uint32_t old = 0;
	int rc = build_graphs(b, e);
	if (!rc) rc = fresh_read_all(b, e);
	if (!rc) rc = index_write_begin(&w, x, e);
	if (rc) return rc;
	old = w->state.serving.number;
	if (w->state.beside.number != b->gen.number) rc = err_set(e, E_CONFLICT, "the vectors beside are others meanwhile");
	if (!rc) rc = rest_write(b, w, e);
	if (!rc) rc = build_tell(b, w->t, e);
	if (!rc) rc = turn_write(b, w, e);
	if (rc) index_write_abort(w);
	else rc = index_write_commit(w, e);
	if (rc) {
		vec_drop(x, b->gen.number, 0, NULL);
		return rc;
	}
	serving_set(x, &b->gen);
	if (vec_drop(x, old, 0, NULL)) log_put(LOG_WARN, "index", "vectors that serve no more stay in memory until close");
	atomic_store(&x->with_vectors, 1);
	return catchup_start(x, e);
}

/* The walk began over: something had no vector though it was passed. */
static int build_again(struct build *b, struct err *e)
{
	struct txn *t;
	int rc = txn_begin(&t, b->x->store, 1, e);
	if (rc) return rc;
	b->gen.upto = 0;
	rc = upto_write(b, t, e);
	if (!rc) return txn_commit(t, e);
	txn_abort(t);
	return rc;
}

/* Batches until few chunks are left, or whoever adds others is as quick as this. */
static int build_walk(struct build *b, struct err *e)
{
	uint64_t rounds = 0, due = UINT64_MAX;
	int rc = OK;
	do {
		rc = batch_run(b, e);
		if (rounds == 0) due = 2 * (b->told.total / BATCH) + LATE_ROUNDS;
	} while (!rc && b->told.total - b->told.done > BATCH && rounds++ < due);
	return rc;
}

int index_reembed(struct index *x, const struct index_embedder *to, const struct reembed_hooks *h, struct err *e)
{
	struct build *b;
	int rc = to->dim < 1 || to->dim > DIM_MAX || !*to->fingerprint
		? err_set(e, E_USAGE, "reembed: no embedder") : claim(x, e);
	if (rc) return rc;
	b = mem_calloc(1, sizeof *b);
	if (b) b->vectors = mem_calloc((size_t)BATCH * (size_t)to->dim, sizeof *b->vectors);
	if (!b || !b->vectors) rc = err_set(e, E_MEMORY, "reembed: out of memory");
	if (b) b->x = x, b->h = h;
	if (!rc) rc = build_begin(b, to, e);
	if (!rc) rc = build_walk(b, e);
	if (!rc) rc = build_turn(b, e);
	if (rc == E_CORRUPT && b->told.turning && !build_again(b, NULL)) {
		b->told.turning = 0;
		rc = build_walk(b, e);
		if (!rc) rc = build_turn(b, e);
	}
	if (b) {
		fresh_drop(b);
		mem_free(b->vectors);
		mem_free(b);
	}
	atomic_store(&x->reembedding, 0);
	return rc;
}

int index_reembed_forget(struct index *x, struct err *e)
{
	struct rec_state state;
	struct txn *t;
	int rc = claim(x, e);
	if (rc) return rc;
	rc = txn_begin(&t, x->store, 1, e);
	if (rc) goto out;
	rc = state_read(t, &state, e);
	if (!rc && !state.beside.status) rc = err_set(e, E_NOT_FOUND, "there are no vectors of another embedder beside");
	if (!rc) rc = beside_empty(t, &state, e);
	state.beside.status = BESIDE_NONE;
	state.beside.upto = 0;
	if (!rc) rc = state_write(t, &state, e);
	if (rc) txn_abort(t);
	else rc = txn_commit(t, e);
out:
	atomic_store(&x->reembedding, 0);
	return rc;
}
