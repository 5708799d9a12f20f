/* ivfbuild.c: owns the making of lists of codes (ivf.h) from the vectors of the store.
 *
 * Method: SAMPLE vectors a list, spread evenly over the collection, teach FAISS the directions of the centres (k-means).
 * The centre is the mean of what is nearest to a direction, as an int8 code; what is left of a vector when its centre is
 * taken off teaches the codes. Then all vectors go through it in batches. Lists grow the cheap way:
 * what was learnt stays, the codes that are there are copied, and the tail alone is read. With many dead among them all
 * vectors are coded again; all is learnt anew when the collection has become another (catchup.c).
 * Threads: the background thread. Failure: the store's, E_MEMORY, E_CANCELLED; a damaged vector is logged and goes in as
 * zeros, to keep the count. */
#include "index/ivfbuild.h"
#include <math.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/mem.h"
#include "index/faissx.h"
#include "index/flat.h"

enum { SAMPLE = 32, BATCH = 1024, RESTS = 8192 };

struct maker {
	struct snapshot *s;
	struct faissx_coder *fx;
	struct ivf_shape shape;
	size_t width;                    /* components of a rest: those filled up too */
	int threads;
	uint8_t *centres;                /* rows of code8.h */
	float *vectors; size_t held, room; /* (room, dim) */
	float *rests;                    /* (RESTS, width) */
	uint64_t seen, all;              /* of a sample: vectors that passed, vectors there are */
	int64_t *list;                   /* (room): of the vectors held */
	uint32_t *lists; uint8_t *codes; uint64_t *ids; size_t n, cap; /* of what was coded */
};

static int closing(void *index)
{
	return atomic_load(&((struct index *)index)->closing);
}

static int cancelled(struct index *x, struct err *e)
{
	return closing(x) ? err_set(e, E_CANCELLED, "the store is closing") : OK;
}

/* Calls on_vector with every vector of the collection above chunk `after`, (dim), borrowed for the call. */
static int vectors_each(struct snapshot *s, uint32_t coll, uint64_t after,
	int (*on_vector)(struct maker *m, uint64_t chunk, const float *v, struct err *e), struct maker *m, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	struct key k;
	float *scratch = mem_calloc(m->shape.dim, sizeof *scratch);
	int rc = scratch ? cursor_open(&c, s->t, gen_vec(&s->state.serving), e) : err_set(e, E_MEMORY, "build lists: out of memory");
	key_vec(&k, coll, after + 1);
	if (!rc) rc = cursor_seek(&c, &k, &key, &value, e);
	for (; !rc; rc = cursor_next(&c, &key, &value, e)) {
		const float *v = scratch;
		struct rec_vec stored;
		struct err why;
		uint64_t chunk;
		if (key.n != 12 || key_get_u32(key.p) != coll) break;
		chunk = key_get_u64(key.p + 4);
		key_vec(&k, coll, chunk);
		if (!rec_vec_get(&stored, &k, value, m->shape.dim, 1, &why)) {
			v = rec_vec_borrow(&stored, scratch);
		} else {
			log_put(LOG_WARN, "index", "chunk %llu: %s", (unsigned long long)chunk, why.msg);
			memset(scratch, 0, m->shape.dim * sizeof *scratch);
		}
		if ((rc = on_vector(m, chunk, v, e))) break;
	}
	cursor_close(&c);
	mem_free(scratch);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- teaching ---- */

static int vectors_alloc(struct maker *m, size_t room, struct err *e)
{
	mem_free(m->vectors);
	mem_free(m->list);
	m->vectors = mem_calloc(room, m->shape.dim * sizeof *m->vectors);
	m->list = mem_calloc(room, sizeof *m->list);
	m->room = room;
	m->held = 0;
	return m->vectors && m->list ? OK : err_set(e, E_MEMORY, "build lists: out of memory");
}

static void vector_hold(struct maker *m, const float *v)
{
	memcpy(m->vectors + m->held++ * m->shape.dim, v, m->shape.dim * sizeof *v);
}

static int on_sample(struct maker *m, uint64_t chunk, const float *v, struct err *e)
{
	(void)chunk;
	if (m->held < m->room && m->seen++ * m->room >= m->held * m->all) vector_hold(m, v);
	return m->seen % BATCH ? OK : cancelled(m->s->x, e);
}

/* Vectors from … from + n - 1 held, without their centres. */
static void rests_take(struct maker *m, size_t from, size_t n)
{
	size_t dim = m->shape.dim;
	for (size_t i = 0; i < n; i++) {
		float *rest = m->rests + i * m->width;
		const float *v = m->vectors + (from + i) * dim;
		code8_decode(rest, m->centres + (size_t)m->list[from + i] * code8_size(m->shape.dim), m->shape.dim);
		for (size_t d = 0; d < dim; d++) rest[d] = v[d] - rest[d];
		memset(rest + dim, 0, (m->width - dim) * sizeof *rest);
	}
}

/* A coder over the centres' directions. */
static int coder_new(struct maker *m, struct err *e)
{
	size_t dim = m->shape.dim;
	float *units = mem_calloc(m->shape.lists, dim * sizeof *units);
	int rc = units ? OK : err_set(e, E_MEMORY, "build lists: out of memory");
	for (uint32_t l = 0; !rc && l < m->shape.lists; l++) {
		float *u = units + l * dim, length;
		code8_decode(u, m->centres + l * code8_size(m->shape.dim), m->shape.dim);
		length = sqrtf(flat_dot(u, u, dim));
		for (size_t d = 0; d < dim && length > 0; d++) u[d] /= length;
	}
	faissx_coder_free(m->fx);
	m->fx = NULL;
	if (!rc) rc = faissx_coder_new(&m->fx, (int)dim, m->shape.lists, units, (int)m->width, m->shape.parts, e);
	mem_free(units);
	return rc;
}

/* Of the vectors held: directions, then the means of what is nearest to them. */
static int means_learn(struct maker *m, struct err *e)
{
	size_t dim = m->shape.dim, lists = m->shape.lists;
	float *centres = mem_calloc(lists, dim * sizeof *centres);
	uint32_t *count = mem_calloc(lists, sizeof *count);
	int rc = centres && count ? OK : err_set(e, E_MEMORY, "build lists: out of memory");
	if (!rc) rc = faissx_cluster((int)dim, lists, m->held, m->vectors, centres, m->threads, closing, m->s->x, e);
	if (closing(m->s->x)) rc = cancelled(m->s->x, e);
	if (!rc) rc = faissx_coder_new(&m->fx, (int)dim, lists, centres, (int)m->width, m->shape.parts, e);
	if (!rc) rc = faissx_coder_assign(m->fx, m->held, m->vectors, m->list, m->threads, e);
	for (size_t i = 0; !rc && i < m->held; i++) {
		float *c = centres + (size_t)m->list[i] * dim;
		if (!count[m->list[i]]++) memset(c, 0, dim * sizeof *c);     /* one that has none stays as it is */
		for (size_t d = 0; d < dim; d++) c[d] += m->vectors[i * dim + d];
	}
	for (size_t l = 0; !rc && l < lists; l++) {
		float *c = centres + l * dim;
		for (size_t d = 0; d < dim && count[l]; d++) c[d] /= (float)count[l];
		code8_encode(m->centres + l * code8_size(m->shape.dim), c, m->shape.dim);
	}
	mem_free(centres);
	mem_free(count);
	return rc;
}

static int learn(struct maker *m, uint32_t coll, struct err *e)
{
	uint64_t sample = (uint64_t)m->shape.lists * SAMPLE;
	size_t rests;
	int rc;
	if (sample < IVF_LEAST) sample = IVF_LEAST;
	rc = vectors_alloc(m, sample < m->all ? sample : m->all, e);
	if (!rc) rc = vectors_each(m->s, coll, 0, on_sample, m, e);
	if (!rc && (m->held < IVF_LEAST / 2 || m->held < m->shape.lists))
		rc = err_set(e, E_CORRUPT, "build lists: fewer vectors than the collection's record says; check tells more");
	if (rc) return rc;
	rc = means_learn(m, e);
	if (!rc) rc = coder_new(m, e);
	if (!rc) rc = faissx_coder_assign(m->fx, m->held, m->vectors, m->list, m->threads, e);
	if (rc) return rc;
	rests = m->held < RESTS ? m->held : RESTS;
	rests_take(m, 0, rests);
	rc = faissx_coder_learn(m->fx, rests, m->rests, m->threads, closing, m->s->x, e);
	return closing(m->s->x) ? cancelled(m->s->x, e) : rc;
}

/* ---- coding ---- */

static int batch_flush(struct maker *m, struct err *e)
{
	size_t first = m->n - m->held;
	int rc = cancelled(m->s->x, e);
	if (rc || !m->held) return rc;
	rc = faissx_coder_assign(m->fx, m->held, m->vectors, m->list, m->threads, e);
	if (!rc) rests_take(m, 0, m->held);
	if (!rc) rc = faissx_coder_code(m->fx, m->held, m->rests, m->codes + first * (m->shape.parts / 2), m->threads, e);
	for (size_t i = 0; i < m->held && !rc; i++) m->lists[first + i] = (uint32_t)m->list[i];
	m->held = 0;
	return rc;
}

static int on_code(struct maker *m, uint64_t chunk, const float *v, struct err *e)
{
	if (m->n == m->cap)
		return err_set(e, E_CORRUPT, "build lists: more vectors than the collection's record says; check tells more");
	m->ids[m->n++] = chunk;
	vector_hold(m, v);
	return m->held == m->room ? batch_flush(m, e) : OK;
}

static int code_all(struct maker *m, uint32_t coll, uint64_t after, uint64_t due, struct err *e)
{
	int rc = vectors_alloc(m, BATCH, e);
	if (rc) return rc;
	m->cap = due;
	m->lists = mem_calloc(due + 1, sizeof *m->lists);
	m->codes = mem_calloc(due + 1, m->shape.parts / 2);
	m->ids = mem_calloc(due + 1, sizeof *m->ids);
	if (!m->lists || !m->codes || !m->ids) return err_set(e, E_MEMORY, "build lists: out of memory");
	rc = vectors_each(m->s, coll, after, on_code, m, e);
	return rc ? rc : batch_flush(m, e);
}

int ivf_build(struct snapshot *s, const struct rec_coll *c, const struct ivf *old, const uint64_t *after,
	struct ivf **out, struct err *e)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct maker m = { .s = s, .threads = cores > 3 ? (int)cores / 2 : 1, .all = c->chunks };
	struct ivf_learnt l;
	int rc;
	*out = NULL;
	m.shape = old ? old->shape : ivf_shape(s->state.serving.dim, c->chunks);
	m.width = (size_t)m.shape.parts * m.shape.width;
	m.centres = mem_alloc(m.shape.lists * code8_size(m.shape.dim));
	m.rests = mem_alloc(RESTS * m.width * sizeof *m.rests);
	rc = m.centres && m.rests ? OK : err_set(e, E_MEMORY, "build lists: out of memory");
	if (!rc && old) {
		memcpy(m.centres, old->centres, m.shape.lists * code8_size(m.shape.dim));
		rc = coder_new(&m, e);
		if (!rc) faissx_coder_set(m.fx, old->books);
	} else if (!rc) {
		rc = learn(&m, c->number, e);
	}
	if (!rc) rc = code_all(&m, c->number, after ? *after : 0, after ? c->tail : c->chunks, e);
	if (!rc) {
		struct ivf_rows rows = { m.n, m.lists, m.codes, m.ids };
		l = (struct ivf_learnt){ m.shape, old ? old->trained : c->chunks, m.centres, faissx_coder_books(m.fx) };
		rc = ivf_new(out, &l, after ? old : NULL, &rows, e);
	}
	faissx_coder_free(m.fx);
	mem_free(m.centres);
	mem_free(m.rests);
	mem_free(m.list);
	mem_free(m.vectors);
	mem_free(m.lists);
	mem_free(m.codes);
	mem_free(m.ids);
	return rc;
}
