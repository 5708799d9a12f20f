/* catchup.c: owns the background thread that keeps what is in memory fitting: after open it reads the table of documents
 * (docload.c), loads the stored graphs and codes the tails, and it builds, stores and publishes new graphs when a collection's tail and tombstones have grown past
 * their share.
 *
 * Method: one thread, woken after every commit, works in rounds until nothing is due. A build reads the vectors in a
 * snapshot of its own, so nobody waits for it. FAISS links; its links are read out and FAISS's own form is dropped.
 * When few of the old graph's vectors are dead, its links and vectors are put back into FAISS and the tail is added,
 * which costs the tail alone (of the dead there are codes, near enough to keep them as stepping stones); otherwise it
 * is built anew without the dead.
 * The serialised graph goes to the store in pieces, each a write transaction of its own under a generation that no
 * header names yet; a last transaction writes the header and the collection's counters and deletes the older
 * generation. So writers wait for 4 MiB at most, memory holds one piece, and a kill at any point leaves the old header
 * with its pieces whole; remains of other generations are swept at the next open.
 * The stamp is last_chunk: chunk ids only grow, so a graph built from a snapshot covers exactly the chunks up to the
 * highest id the snapshot knew, and the tail of any later snapshot is what lies beyond.
 * A stored graph that is damaged or was built with another M is logged and built again: the vectors are the truth.
 *
 * Threads: the functions of inside.h from any thread. Failure: logged, kept for index_rebuild_wait, tried again when
 * that asks or after the first commit a minute later; searches meanwhile scan exactly what no graph covers. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/inside.h"
#include "index/ivfbuild.h"

enum { BATCH = 1024 };           /* vectors added between two looks at x->closing */
enum { AHEAD_MAX = 1000 };       /* graphs built before a turn; others are built after it */
enum { NICE = 5 };               /* of the thread: searches go first */
enum { RETRY_US = 60 * 1000000 }; /* after a failed build, before commits alone start another */

static int cancelled(struct index *x, struct err *e)
{
	return atomic_load(&x->closing) ? err_set(e, E_CANCELLED, "the store is closing") : OK;
}

/* ---- the stored form ---- */

/* Deletes a collection's pieces but those of one number (0: all). */
static int pieces_delete(struct txn *t, enum table table, uint32_t coll, uint64_t keep, struct err *e)
{
	uint64_t generation = 0;
	uint32_t piece = 0;
	for (;;) {
		struct cursor c = { 0 };
		struct slice key, value;
		struct key k;
		int rc = cursor_open(&c, t, table, e);
		key_piece(&k, coll, generation, piece);
		if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
		if (!rc && (key.n != k.n || key_get_u32(key.p) != coll)) rc = E_NOT_FOUND;
		if (!rc) {
			memcpy(k.b, key.p, key.n);
			generation = key_get_u64(key.p + 4);
			piece = key_get_u32(key.p + 12);
		}
		cursor_close(&c);
		if (rc == E_NOT_FOUND) return OK;
		if (!rc && keep && generation == keep) {
			generation++;
			piece = 0;
			continue;
		}
		if (!rc) rc = store_del(t, table, &k, e);
		if (rc) return rc;
	}
}

int graph_delete(struct txn *t, enum table table, uint32_t coll, struct err *e)
{
	struct key k;
	int rc = pieces_delete(t, table, coll, 0, e);
	key_graph(&k, coll);
	if (!rc) rc = store_del(t, table, &k, e);
	return rc == E_NOT_FOUND ? OK : rc;
}

int graph_header(struct txn *t, enum table table, uint32_t coll, struct rec_graph *h, struct err *e)
{
	struct slice v;
	struct key k;
	int rc;
	key_graph(&k, coll);
	rc = store_get(t, table, &k, &v, e);
	return rc ? rc : rec_graph_get(h, &k, v, e);
}

/* ---- writing pieces: a FILE whose bytes become entries ---- */

struct piece_writer {
	struct index *x;
	struct rec_gen gen;              /* whose vectors the graph is over */
	uint32_t coll, piece;
	uint64_t generation, bytes;
	unsigned long erasures;          /* x->erasures when the snapshot began */
	uint8_t *piece_buf;              /* PIECE_BYTES */
	size_t n;                        /* filled, head included */
	struct err why;                  /* what went wrong; a FILE only tells that something did */
};

/* In a write: E_NOT_FOUND when something was erased since the snapshot, whose vectors must not reach the store again. */
static int outdated(const struct piece_writer *p, struct err *e)
{
	return atomic_load(&p->x->erasures) == p->erasures ? OK : err_set(e, E_NOT_FOUND, "a document was erased meanwhile");
}

static int piece_flush(struct piece_writer *p)
{
	struct txn *t;
	struct key k;
	int rc = cancelled(p->x, &p->why);
	if (rc || p->n == PIECE_HEAD) return rc;
	key_piece(&k, p->coll, p->generation, p->piece);
	rec_piece_seal(p->piece_buf, p->n, &k);
	rc = txn_begin(&t, p->x->store, 1, &p->why);
	if (rc) return rc;
	rc = outdated(p, &p->why);
	if (!rc) rc = store_put(t, gen_graph(&p->gen), &k, p->piece_buf, p->n, &p->why);
	if (!rc) rc = store_spare(t, &p->why);
	if (rc) txn_abort(t);
	else rc = txn_commit(t, &p->why);
	if (rc) return rc;
	fault_point("graph.piece");
	p->bytes += p->n - PIECE_HEAD;
	p->piece++;
	p->n = PIECE_HEAD;
	return OK;
}

static ssize_t piece_write(void *cookie, const char *data, size_t n)
{
	struct piece_writer *p = cookie;
	for (size_t done = 0; done < n;) {
		size_t part = PIECE_BYTES - p->n < n - done ? PIECE_BYTES - p->n : n - done;
		memcpy(p->piece_buf + p->n, data + done, part);
		p->n += part;
		done += part;
		if (p->n == PIECE_BYTES && piece_flush(p)) {
			errno = EIO;
			return 0;
		}
	}
	return (ssize_t)n;
}

/* Serialises g into pieces of a generation of its own. */
static int pieces_write(struct piece_writer *p, const struct graph *g, struct err *e)
{
	FILE *f;
	int rc, closed;
	p->n = PIECE_HEAD;
	p->piece_buf = mem_alloc(PIECE_BYTES);
	if (!p->piece_buf) return err_set(e, E_MEMORY, "store a graph: out of memory");
	f = fopencookie(p, "wb", (cookie_io_functions_t){ .write = piece_write });
	if (!f) {
		mem_free(p->piece_buf);
		return err_sys(e, "store a graph");
	}
	rc = graph_write(g, f, e);
	closed = fclose(f);
	if (!rc && closed) rc = err_set(e, E_IO, "store a graph: could not be written");
	if (!rc) piece_flush(p);
	if (p->why.status) rc = err_set(e, p->why.status, "store a graph: %s", p->why.msg);
	mem_free(p->piece_buf);
	return rc;
}

/* ---- reading pieces ---- */

struct piece_reader {
	struct index *x;
	struct txn *t;
	enum table table;
	uint32_t coll, piece, piece_n;
	uint64_t generation;
	struct slice left;               /* of the current piece */
	struct err why;
};

static ssize_t piece_read(void *cookie, char *data, size_t n)
{
	struct piece_reader *p = cookie;
	size_t part;
	while (p->left.n == 0) {
		struct slice v;
		struct key k;
		int rc = cancelled(p->x, &p->why);
		if (!rc && p->piece == p->piece_n) return 0;
		key_piece(&k, p->coll, p->generation, p->piece);
		if (!rc) rc = store_get(p->t, p->table, &k, &v, &p->why);
		if (rc == E_NOT_FOUND) err_set(&p->why, E_CORRUPT, "piece %u is missing", p->piece);
		if (!rc) rc = rec_piece_get(&p->left, &k, v, &p->why);
		if (rc) {
			errno = EIO;
			return -1;
		}
		p->piece++;
	}
	part = n < p->left.n ? n : p->left.n;
	memcpy(data, p->left.p, part);
	p->left.p += part;
	p->left.n -= part;
	return (ssize_t)part;
}

int graph_load(struct index *x, struct txn *t, const struct rec_gen *gen, uint32_t coll, struct graph **out, struct err *e)
{
	struct piece_reader p = { .x = x, .t = t, .table = gen_graph(gen), .coll = coll };
	struct rec_graph h;
	FILE *f;
	int rc = graph_header(t, p.table, coll, &h, e);
	if (rc == E_NOT_FOUND) return err_set(e, rc, "its header is missing");
	if (rc) return rc;
	if (h.dim != gen->dim || strcmp(h.embedder, gen->embedder) != 0 || (h.m && h.m != (uint32_t)x->hnsw_m))
		return err_set(e, E_CONFLICT, "it was built with M %u for %s (%u)", h.m, h.embedder, h.dim);
	if (h.version < 2) return err_set(e, E_CONFLICT, "it has an older form");
	p.generation = h.generation;
	p.piece_n = h.piece_n;
	f = fopencookie(&p, "rb", (cookie_io_functions_t){ .read = piece_read });
	if (!f) return err_sys(e, "read a graph");
	rc = graph_read(out, f, coll, h.dim, h.m, h.vectors, h.bytes, e);
	fclose(f);
	if (p.why.status && !rc) graph_put(*out);
	if (p.why.status) return err_set(e, p.why.status, "%s", p.why.msg);
	if (rc) return rc;
	(*out)->last_chunk = h.last_chunk;
	(*out)->seq = h.seq;
	(*out)->generation = h.generation;
	return OK;
}

/* ---- building ---- */

struct batch { struct faissx *fx; struct graph *g; float *vectors; size_t n; int threads; };

/* Who waits for a build may stop it. */
static int stopped(struct snapshot *s, struct err *e)
{
	if (s->stop && s->stop(s->stop_ctx)) return err_set(e, E_CANCELLED, "interrupted; what is done stays");
	return cancelled(s->x, e);
}

static int batch_flush(struct snapshot *s, struct batch *b, struct err *e)
{
	int rc = stopped(s, e);
	if (!rc && b->n) rc = faissx_add(b->fx, b->n, b->vectors, b->threads, e);
	b->n = 0;
	return rc;
}

/* Adds every vector of the collection beyond chunk `after`. A damaged one goes in as zeros, to keep the count. */
static int vectors_add(struct snapshot *s, uint32_t coll, uint64_t after, struct batch *b, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	struct key k;
	size_t dim = s->state.serving.dim;
	int rc = cursor_open(&c, s->t, gen_vec(&s->state.serving), e);
	key_vec(&k, coll, after + 1);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc; rc = cursor_next(&c, &key, &value, e)) {
		float *to = b->vectors + b->n * dim;
		uint64_t chunk;
		struct rec_vec v;
		struct err why;
		if (key.n != 12 || key_get_u32(key.p) != coll) break;
		chunk = key_get_u64(key.p + 4);
		key_vec(&k, coll, chunk);
		if (rec_vec_get(&v, &k, value, (uint32_t)dim, 1, &why)) {
			log_put(LOG_WARN, "index", "chunk %llu: %s", (unsigned long long)chunk, why.msg);
			memset(to, 0, dim * sizeof *to);
		} else {
			rec_vec_floats(to, &v);
		}
		if (graph_row_add(b->g, chunk, to)) {
			rc = err_set(e, E_CORRUPT, "build a graph: more vectors than its record says; check tells more");
			break;
		}
		if (++b->n == BATCH && (rc = batch_flush(s, b, e))) break;
	}
	if (rc == E_NOT_FOUND) rc = OK;
	if (!rc) rc = batch_flush(s, b, e);
	cursor_close(&c);
	return rc;
}

/* Puts the old graph into b, as FAISS had it when it was built. */
static int graph_restore(const struct graph *old, struct batch *b, struct err *e)
{
	int *levels = NULL, rc = OK;
	int32_t *neighbors = NULL, entry;
	for (size_t i = 0; !rc && i < old->vectors; i++)
		if (graph_row_copy(b->g, old, i)) rc = err_set(e, E_BUG, "build a graph: no room for the old one");
	if (!rc) rc = graph_unlink(old, &levels, &neighbors, &entry, e);
	if (!rc) rc = faissx_restore(b->fx, old->vectors, levels, neighbors, entry, e);
	mem_free(levels);
	mem_free(neighbors);
	return rc;
}

/* What is in memory when it is the stored one: an erasure takes that away. */
static const struct graph *graph_present(struct snapshot *s, const struct rec_coll *c)
{
	const struct rec_gen *gen = &s->state.serving;
	const struct vec_part *part = vec_set_find(s->vecs, gen->number, c->number);
	const struct graph *g = part ? part->graph : NULL;
	struct rec_graph h;
	if (!g || graph_header(s->t, gen_graph(gen), c->number, &h, NULL) || h.generation != g->generation) return NULL;
	return g->vectors == c->graph_vectors && g->last_chunk == c->graph_last ? g : NULL;
}

/* How much of a graph, or of lists, may have changed. */
static double share_of(const struct index *x, int lists)
{
	return lists ? x->rebuild_share / LISTS_OFTENER : x->rebuild_share;
}

static int few_dead(const struct index *x, const struct graph *g, const struct rec_coll *c)
{
	return (double)coll_tombstones(c) <= share_of(x, g->lists != NULL) / 2 * (double)g->vectors;
}

/* The graph in memory when it may be grown: built with the same M, and few of it are dead. */
static const struct graph *graph_old(struct snapshot *s, const struct rec_coll *c)
{
	const struct graph *g = graph_present(s, c);
	return g && g->m == (uint32_t)s->x->hnsw_m && few_dead(s->x, g, c) ? g : NULL;
}

/* Lists over what the snapshot holds of the collection. What was learnt holds until there are twice as many vectors. */
static int lists_build(struct snapshot *s, const struct rec_coll *c, struct graph **out, struct err *e)
{
	const struct graph *old = graph_present(s, c);
	struct ivf *lists;
	int rc;
	if (old && (!old->lists || c->chunks > 2 * old->lists->trained || c->chunks < old->lists->trained / 4)) old = NULL;
	rc = ivf_build(s, c, old ? old->lists : NULL, old && few_dead(s->x, old, c) ? &old->last_chunk : NULL, &lists, e);
	if (rc) return rc;
	*out = graph_of_lists(c->number, lists);
	if (!*out) return err_set(e, E_MEMORY, "build lists: out of memory");
	(*out)->last_chunk = s->state.next_chunk - 1;
	(*out)->seq = s->state.seq;
	return OK;
}

/* A graph over what the snapshot holds of the collection; *out is not published yet. */
static int graph_build(struct snapshot *s, const struct rec_coll *c, struct graph **out, struct err *e)
{
	struct index *x = s->x;
	const struct graph *old = graph_old(s, c);
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct batch b = { .threads = cores > 3 ? (int)cores / 2 : 1 };
	uint32_t dim = s->state.serving.dim;
	int rc;
	b.vectors = mem_alloc((size_t)BATCH * dim * sizeof *b.vectors);
	b.g = graph_new(c->number, dim, (uint32_t)x->hnsw_m, old ? old->vectors + c->tail : c->chunks);
	rc = b.vectors && b.g ? OK : err_set(e, E_MEMORY, "build a graph: out of memory");
	if (!rc) rc = faissx_new(&b.fx, b.g->rows, b.g->stride, (int)dim, x->hnsw_m, x->hnsw_ef_construction, e);
	if (!rc && old) rc = graph_restore(old, &b, e);
	if (!rc) rc = vectors_add(s, c->number, old ? old->last_chunk : 0, &b, e);
	if (!rc) rc = graph_link(b.g, b.fx, e);
	mem_free(b.vectors);
	faissx_free(b.fx);
	if (rc) {
		graph_put(b.g);
		return rc;
	}
	b.g->last_chunk = s->state.next_chunk - 1;
	b.g->seq = s->state.seq;
	*out = b.g;
	return OK;
}

/* ---- making a graph the collection's ---- */

int tail_count(struct txn *t, enum table table, uint32_t coll, uint64_t after, uint64_t *out, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	struct key k;
	int rc = cursor_open(&c, t, table, e);
	*out = 0;
	key_vec(&k, coll, after + 1);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc && key.n == 12 && key_get_u32(key.p) == coll; rc = cursor_next(&c, &key, &value, e)) ++*out;
	cursor_close(&c);
	return rc == E_NOT_FOUND ? OK : rc;
}

static int header_write(struct txn *t, const struct index *x, const struct graph *g, const struct piece_writer *p,
	struct err *e)
{
	struct rec_graph h = { .dim = p->gen.dim, .m = g->m, .ef_construction = g->m ? (uint32_t)x->hnsw_ef_construction : 0,
		.piece_n = p->piece, .generation = p->generation, .seq = g->seq, .last_chunk = g->last_chunk,
		.vectors = g->vectors, .bytes = p->bytes };
	struct key k;
	struct buf b;
	int rc;
	memcpy(h.embedder, p->gen.embedder, sizeof h.embedder);
	buf_init(&b, 4096);
	key_graph(&k, g->coll);
	rc = rec_graph_put(&b, &k, &h);
	if (rc) err_set(e, rc, "encode a graph's header");
	else rc = store_put(t, gen_graph(&p->gen), &k, b.data, b.len, e);
	buf_clear(&b);
	return rc;
}

/* The transaction that turns from the old graph to g (NULL: to none). E_NOT_FOUND: the collection is gone meanwhile, or
 * its vectors serve no more. */
static int graph_settle(const struct piece_writer *p, const char *name, const struct graph *g, struct err *e)
{
	enum table table = gen_graph(&p->gen);
	struct rec_state state;
	struct rec_coll c;
	struct txn *t;
	int gone = 0, rc = txn_begin(&t, p->x->store, 1, e);
	if (rc) return rc;
	if (g && outdated(p, e)) {
		txn_abort(t);
		return E_NOT_FOUND;
	}
	rc = state_read(t, &state, e);
	if (!rc && state.serving.number != p->gen.number) {
		rc = graph_sweep(t, table, p->coll, e);
		gone = 1;
	} else if (!rc) {
		rc = coll_read(t, name, &c, e);
		gone = rc == E_NOT_FOUND || (!rc && c.number != p->coll);
		if (gone) rc = graph_delete(t, table, p->coll, e);
	}
	if (!rc && !gone) {
		c.graph_vectors = g ? g->vectors : 0;
		c.graph_last = g ? g->last_chunk : 0;
		rc = tail_count(t, gen_vec(&p->gen), p->coll, c.graph_last, &c.tail, e);
		if (!rc && g) rc = header_write(t, p->x, g, p, e);
		if (!rc) rc = g ? pieces_delete(t, table, p->coll, p->generation, e) : graph_delete(t, table, p->coll, e);
		if (!rc) rc = coll_write(t, name, &c, e);
	}
	if (rc) {
		txn_abort(t);
		return rc;
	}
	rc = txn_commit(t, e);
	return !rc && gone ? E_NOT_FOUND : rc;
}

/* Highest generation of the collection's pieces, whole or remains. */
static int generation_last(struct txn *t, enum table table, uint32_t coll, uint64_t *out, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	struct key k;
	int rc = cursor_open(&c, t, table, e);
	*out = 0;
	key_graph(&k, coll);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc && key.n >= 4 && key_get_u32(key.p) == coll; rc = cursor_next(&c, &key, &value, e))
		if (key.n == 16) *out = key_get_u64(key.p + 4);
	cursor_close(&c);
	return rc == E_NOT_FOUND ? OK : rc;
}

int graph_sweep(struct txn *t, enum table table, uint32_t coll, struct err *e)
{
	struct rec_graph h;
	return pieces_delete(t, table, coll, graph_header(t, table, coll, &h, NULL) ? 0 : h.generation, e);
}

static int sweep_one(struct index *x, enum table table, uint32_t coll, struct err *e)
{
	struct txn *t;
	int rc = txn_begin(&t, x->store, 1, e);
	if (rc) return rc;
	rc = graph_sweep(t, table, coll, e);
	if (!rc) return txn_commit(t, e);
	txn_abort(t);
	return rc;
}

/* Builds what the snapshot holds of the collection and writes its pieces, which no header names yet. *out is the graph;
 * *s has no transaction any more. */
static int graph_make(struct snapshot *s, const struct coll_entry *c, int lists, struct piece_writer *p, struct graph **out,
	struct err *e)
{
	int rc = generation_last(s->t, gen_graph(&p->gen), c->rec.number, &p->generation, e);
	*out = NULL;
	p->generation++;
	if (!rc) rc = lists ? lists_build(s, &c->rec, out, e) : graph_build(s, &c->rec, out, e);
	if (rc) return rc;
	/* The transaction is not needed any more, and while it lives the store can't reuse a page: */
	txn_abort(s->t);
	s->t = NULL;
	fault_point("graph.before_write");
	return pieces_write(p, *out, e);
}

static void made_log(const char *name, const struct graph *g, int lists)
{
	fault_point("graph.after_write");
	log_put(LOG_INFO, "index", "%s: %s of %llu vectors stored", name, lists ? "lists" : "graph", (unsigned long long)g->vectors);
}

static int rebuild(struct snapshot *s, const struct coll_entry *c, int lists, unsigned long erasures, struct err *e)
{
	struct piece_writer p = { .x = s->x, .gen = s->state.serving, .coll = c->rec.number, .erasures = erasures };
	struct graph *g = NULL;
	int rc;
	if (c->rec.chunks < s->x->exact_below) {
		rc = graph_settle(&p, c->name, NULL, e);
		return rc && rc != E_NOT_FOUND ? rc : vec_publish(s->x, &p.gen, c->rec.number, NULL, e);
	}
	rc = graph_make(s, c, lists, &p, &g, e);
	if (!rc) rc = graph_settle(&p, c->name, g, e);
	if (!rc) {
		made_log(c->name, g, lists);
		g->generation = p.generation;
		return vec_publish(s->x, &p.gen, c->rec.number, g, e);
	}
	if (g && rc != E_NOT_FOUND && rc != E_CANCELLED) sweep_one(s->x, gen_graph(&p.gen), c->rec.number, NULL); /* a full store needs the room */
	graph_put(g);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- graphs over vectors that are to serve ---- */

/* The transaction that makes g the stored one of vectors beside; the collection's counters come with the turn to them.
 * E_NOT_FOUND: collection or vectors are gone meanwhile, or something was erased. */
static int ahead_settle(const struct piece_writer *p, const char *name, const struct graph *g, struct err *e)
{
	struct rec_state state;
	struct rec_coll c;
	struct txn *t;
	int rc = txn_begin(&t, p->x->store, 1, e);
	if (rc) return rc;
	rc = outdated(p, e);
	if (!rc) rc = state_read(t, &state, e);
	if (!rc && state.beside.number != p->gen.number) rc = E_NOT_FOUND;
	if (!rc) rc = coll_read(t, name, &c, e);
	if (!rc && c.number != p->coll) rc = E_NOT_FOUND;
	if (!rc) rc = header_write(t, p->x, g, p, e);
	if (!rc) rc = pieces_delete(t, gen_graph(&p->gen), p->coll, p->generation, e);
	if (!rc) return txn_commit(t, e);
	txn_abort(t);
	return rc;
}

static int ahead_build(struct snapshot *s, const struct coll_entry *c, int lists, unsigned long erasures, struct err *e)
{
	struct piece_writer p = { .x = s->x, .gen = s->state.serving, .coll = c->rec.number, .erasures = erasures };
	struct graph *g = NULL;
	int rc = graph_make(s, c, lists, &p, &g, e);
	if (!rc) rc = ahead_settle(&p, c->name, g, e);
	if (!rc) made_log(c->name, g, lists);
	else if (g) sweep_one(s->x, gen_graph(&p.gen), c->rec.number, NULL);
	graph_put(g);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* The collection is searched by a graph, and over these vectors none is stored, or one that is to be built again. */
static int ahead_due(struct snapshot *s, const struct rec_coll *c, struct err *e)
{
	const struct rec_gen *gen = &s->state.serving;
	struct rec_graph h;
	uint64_t tail;
	if (c->chunks < s->x->exact_below) return 0;
	if (graph_header(s->t, gen_graph(gen), c->number, &h, e)) return 1;
	if (h.dim != gen->dim || strcmp(h.embedder, gen->embedder) != 0 || (h.m && h.m != (uint32_t)s->x->hnsw_m)) return 1;
	return tail_count(s->t, gen_vec(gen), c->number, h.last_chunk, &tail, e) ||
		(double)tail > s->x->rebuild_share * (double)h.vectors;
}

/* The snapshot is looked at as if these vectors served, and as if nothing had come that has none of them. */
static int ahead_one(struct snapshot *s, const struct rec_gen *gen, unsigned long erasures, int *more, struct err *e)
{
	struct coll_entry *list;
	size_t n = 0;
	int rc = coll_list(s->t, &s->a, &list, &n, e);
	s->state.serving = *gen;
	s->state.next_chunk = gen->upto + 1;
	*more = 0;
	for (size_t i = 0; !rc && !*more && i < n; i++) {
		if (!ahead_due(s, &list[i].rec, NULL)) continue;
		*more = 1;
		rc = ahead_build(s, &list[i], lists_wanted(s->x, gen->dim, list, n, i, 0), erasures, e);
		if (rc) err_wrap(e, "graph of collection %s", list[i].name);
	}
	return rc;
}

int graphs_ahead(struct index *x, const struct rec_gen *gen, int (*stop)(void *ctx), void *ctx, struct err *e)
{
	int more = 1, rc = OK;
	for (int tries = 0; !rc && more && tries < AHEAD_MAX; tries++) {
		unsigned long erasures = atomic_load(&x->erasures);
		struct snapshot *s;
		rc = snapshot_open(&s, x, e);
		if (rc) break;
		s->stop = stop;
		s->stop_ctx = ctx;
		rc = ahead_one(s, gen, erasures, &more, e);
		snapshot_close(s);
	}
	return rc;
}

/* ---- rounds ---- */

/* A graph, or lists, are to be built, or to go. */
static int graph_due(const struct index *x, const struct vec_part *part, const struct rec_coll *c, int lists)
{
	double stale = (double)c->tail + (double)coll_tombstones(c);
	if (!c->graph_vectors) return c->chunks >= x->exact_below;
	if (!part || !part->graph || x->kind == INDEX_EXACT || (part->graph->lists != NULL) != lists) return 1;
	return stale > share_of(x, lists) * (double)c->graph_vectors;
}

/* The vectors in memory are to be read anew: none are there, not all, or many of them are dead. */
static int tail_due(const struct vec_part *part, const struct rec_coll *c)
{
	if (!part) return c->chunks > 0;
	if (atomic_load(&part->tail->end) != UINT64_MAX && !atomic_load(&part->tail->full)) return 1;
	return atomic_load(&part->tail->n) / 2 > c->chunks + TAIL_FIRST;
}

/* Publishes the collection's present graph with a new tail. */
static int tail_renew(struct snapshot *s, const struct vec_part *part, uint32_t coll, struct err *e)
{
	struct graph *g = part ? part->graph : NULL;
	if (g) atomic_fetch_add(&g->refs, 1);
	return vec_publish(s->x, &s->state.serving, coll, g, e);
}

/* Does the first thing that is due; *more says whether there was one. */
static int rebuild_one(struct index *x, int now, int *more, struct err *e)
{
	struct snapshot *s;
	struct coll_entry *list;
	char name[COLLECTION_MAX + 1] = "";
	uint32_t words = 0;
	size_t n = 0, i = 0;
	unsigned long erasures = atomic_load(&x->erasures);
	int rc = snapshot_open(&s, x, e);
	*more = 0;
	if (rc) return rc;
	rc = coll_list(s->t, &s->a, &list, &n, e);
	for (; !rc && !*more && i < n; i++) {
		const struct vec_part *part = vec_set_find(s->vecs, s->state.serving.number, list[i].rec.number);
		if (words_due(x, &list[i].rec, now)) {
			*more = 1;
			words = list[i].rec.number;
			snprintf(name, sizeof name, "%s", list[i].name);
			continue;
		}
		int lists = lists_wanted(x, s->state.serving.dim, list, n, i, part && part->graph && part->graph->lists);
		int graph = graph_due(x, part, &list[i].rec, lists), tail = tail_due(part, &list[i].rec);
		if (!graph && !tail) continue;
		*more = 1;
		atomic_store(&x->rebuilding, 1);
		if (tail) rc = tail_renew(s, part, list[i].rec.number, e);
		else rc = rebuild(s, &list[i], lists, erasures, e);
		if (rc) err_wrap(e, "%s of collection %s", tail ? "vectors" : "graph", list[i].name);
	}
	snapshot_close(s);
	if (rc || !words) return rc;
	atomic_store(&x->rebuilding, 1);
	rc = words_renew(x, name, words, e); /* in a snapshot of its own */
	return rc ? err_wrap(e, "collection %s", name) : OK;
}

/* Sweeps every collection that has pieces no header names: remains of a build that was cut off. */
static int remains_sweep(struct snapshot *s, enum table table, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	uint64_t keep = 0;
	uint32_t coll = 0;           /* the one that keep is of; numbers start at 1 */
	int swept = 0, rc = cursor_open(&c, s->t, table, e);
	if (!rc) rc = cursor_seek(&c, NULL, &key, &value, e);
	for (; !rc; rc = cursor_next(&c, &key, &value, e)) {
		if (key.n != 16) continue;
		if (key_get_u32(key.p) != coll) {
			struct rec_graph h;
			coll = key_get_u32(key.p);
			keep = graph_header(s->t, table, coll, &h, NULL) ? 0 : h.generation;
			swept = 0;
		}
		if (swept || (keep && key_get_u64(key.p + 4) == keep)) continue;
		rc = sweep_one(s->x, table, coll, e);
		if (rc) break;
		swept = 1;
	}
	cursor_close(&c);
	return rc == E_NOT_FOUND ? OK : rc;
}

static int graph_load_stamped(struct snapshot *s, const struct rec_coll *c, struct graph **out, struct err *e)
{
	int rc = graph_load(s->x, s->t, &s->state.serving, c->number, out, e);
	if (rc || ((*out)->vectors == c->graph_vectors && (*out)->last_chunk == c->graph_last)) return rc;
	graph_put(*out);
	return err_set(e, E_CORRUPT, "its stamp is not the collection's");
}

/* Loads what is stored. A graph that can't be read is left out, and so becomes due. */
static int load_all(struct index *x, struct err *e)
{
	struct snapshot *s;
	struct coll_entry *list;
	size_t n = 0;
	int rc = snapshot_open(&s, x, e);
	if (rc) return rc;
	rc = remains_sweep(s, T_GRAPH, e);
	if (!rc) rc = remains_sweep(s, T_GRAPH2, e);
	if (!rc) rc = coll_list(s->t, &s->a, &list, &n, e);
	for (size_t i = 0; !rc && i < n; i++) {
		struct err why = { OK, "" };
		struct graph *g;
		if (!list[i].rec.graph_vectors) continue;
		rc = cancelled(x, e);
		if (rc) break;
		if (graph_load_stamped(s, &list[i].rec, &g, &why) == OK) rc = vec_publish(x, &s->state.serving, list[i].rec.number, g, e);
		else if (why.status == E_CANCELLED || why.status == E_MEMORY) rc = err_set(e, why.status, "%s", why.msg);
		else log_put(LOG_WARN, "index", "graph of collection %s is built again: %s", list[i].name, why.msg);
	}
	snapshot_close(s);
	return rc;
}

/* build 0: only load. now: someone waits for all that can be done. */
static int round_run(struct index *x, int *loaded, int build, int now, struct err *e)
{
	int rc = docs_due(x) && (build || !*loaded) ? docs_load(x, e) : OK, more = build && atomic_load(&x->with_vectors);
	if (!rc && !*loaded && atomic_load(&x->with_vectors)) {
		atomic_store(&x->rebuilding, 1);
		rc = load_all(x, e);
		*loaded = rc == OK;
	}
	while (!rc && more) {
		rc = cancelled(x, e);
		if (!rc) rc = rebuild_one(x, now, &more, e);
	}
	atomic_store(&x->rebuilding, 0);
	return rc;
}

/* With the lock: until there is something to do, or it is time for what could wait. */
static void thread_wait(struct index *x)
{
	while (!atomic_load(&x->closing) && x->done == x->asked) {
		struct timespec until;
		uint64_t now = clock_us(), wait;
		if (!x->words.wake_us) {
			pthread_cond_wait(&x->wake, &x->lock);
			continue;
		}
		if (x->words.wake_us <= now) break;
		wait = x->words.wake_us - now;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += (time_t)(wait / 1000000);
		until.tv_nsec += (long)(wait % 1000000) * 1000;
		if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
		(void)pthread_cond_timedwait(&x->wake, &x->lock, &until);
	}
	x->words.wake_us = 0;
}

static void *thread_main(void *arg)
{
	struct index *x = arg;
	uint64_t retry_us = 0;
	int loaded = 0;
	setpriority(PRIO_PROCESS, 0, NICE); /* on Linux: of this thread alone */
	pthread_mutex_lock(&x->lock);
	for (;;) {
		struct err e = { OK, "" };
		uint64_t ticket;
		int build, now;
		thread_wait(x);
		if (atomic_load(&x->closing)) break;
		ticket = x->asked;
		now = x->urgent;
		build = now || clock_us() >= retry_us;
		x->urgent = 0;
		pthread_mutex_unlock(&x->lock);
		if (round_run(x, &loaded, build, now, &e) && e.status != E_CANCELLED) {
			log_put(LOG_WARN, "index", "%s", e.msg);
			retry_us = clock_us() + RETRY_US;
		}
		pthread_mutex_lock(&x->lock);
		x->done = ticket;
		x->last = e;
		pthread_cond_broadcast(&x->done_cond);
	}
	pthread_cond_broadcast(&x->done_cond);
	pthread_mutex_unlock(&x->lock);
	return NULL;
}

int catchup_start(struct index *x, struct err *e)
{
	sigset_t all, before;
	int code;
	if (x->thread_runs) {
		catchup_kick(x);
		return OK;
	}
	x->asked = 1;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the threads that expect them */
	code = pthread_create(&x->thread, NULL, thread_main, x);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code) return err_set(e, E_MEMORY, "start the index's thread: %s", strerror(code));
	x->thread_runs = 1;
	return OK;
}

void catchup_stop(struct index *x)
{
	if (!x->thread_runs) return;
	pthread_mutex_lock(&x->lock);
	atomic_store(&x->closing, 1);
	pthread_cond_broadcast(&x->wake);
	pthread_mutex_unlock(&x->lock);
	pthread_join(x->thread, NULL);
	x->thread_runs = 0;
}

void catchup_kick(struct index *x)
{
	pthread_mutex_lock(&x->lock);
	x->asked++;
	pthread_cond_signal(&x->wake);
	pthread_mutex_unlock(&x->lock);
}

int catchup_wait(struct index *x, struct err *e)
{
	uint64_t ticket;
	int rc = OK;
	if (!x->thread_runs) return OK;
	pthread_mutex_lock(&x->lock);
	ticket = ++x->asked;
	x->urgent = 1;
	pthread_cond_signal(&x->wake);
	while (x->done < ticket && !atomic_load(&x->closing)) pthread_cond_wait(&x->done_cond, &x->lock);
	if (x->last.status) rc = err_set(e, x->last.status, "%s", x->last.msg);
	pthread_mutex_unlock(&x->lock);
	return rc;
}
