/* docload.c: owns which table of documents snapshots see, and how that changes: reading it from the store, a commit's
 * changes, giving it up.
 *
 * Consistency: a snapshot takes the current set before its transaction begins. A commit's rows are in the set before LMDB
 * has it, so what the transaction holds, the set has; rows of a later state are not the snapshot's. While a set is read from
 * the store, beside writers, commits queue their changes for it as well; it becomes the current one together with them, and
 * the one before gets an end: a snapshot whose transaction is beyond takes the current set and begins anew
 * (snapshot_open). A set is read when there is none, when half of its rows are dead, which is how dead rows go, and when
 * something was erased. A commit that fails has left rows behind: then, and when memory runs out, the set is given up, and
 * read again in the background; meanwhile LMDB is asked, as without a set.
 * Threads: x->docs_lock keeps a commit and its outcome together, against the next commit and against a set being made
 * current. Failure: a write never fails for the set's sake. */
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "index/inside.h"

enum { LOOK = 1024, DEAD_LEAST = 256 };  /* documents between two looks at x->closing; dead rows not worth the reading */

struct doc_note { uint64_t key; struct doc_entry *put; }; /* put NULL: it goes */
struct docs_queued { struct docs_queued *next; struct docs_delta delta; uint64_t seq; };

/* ---- a write's changes ---- */

void docs_delta_begin(struct docs_delta *d, struct index *x)
{
	arena_init(&d->a, (size_t)1 << 36);
	pthread_mutex_lock(&x->lock);
	d->on = x->docs || x->docs_next;
	pthread_mutex_unlock(&x->lock);
}

void docs_delta_clear(struct docs_delta *d)
{
	arena_clear(&d->a);
	mem_free(d->at);
	*d = (struct docs_delta){ 0 };
}

static struct doc_note *note_add(struct docs_delta *d, uint64_t key)
{
	if (!d->on || d->lost) return NULL;
	if (d->n == d->cap) {
		size_t cap = d->cap ? 2 * d->cap : 16;
		struct doc_note *more = mem_realloc(d->at, cap * sizeof *more);
		if (!more) {
			d->lost = 1;
			return NULL;
		}
		d->at = more;
		d->cap = cap;
	}
	d->at[d->n] = (struct doc_note){ key, NULL };
	return &d->at[d->n++];
}

void docs_note_gone(struct docs_delta *d, uint64_t key)
{
	note_add(d, key);
}

void docs_note_put(struct docs_delta *d, uint64_t key, const struct rec_doc *r)
{
	struct doc_note *n = doc_verdict_has_text(r->verdict) ? note_add(d, key) : NULL;
	if (!n) return;
	n->put = arena_alloc(&d->a, sizeof *n->put);
	if (!n->put || doc_entry_fill(n->put, key, r, &d->a)) d->lost = 1;
}

static int delta_apply(struct docset *s, const struct docs_delta *d, uint64_t seq)
{
	int rc = d->lost ? E_MEMORY : OK;
	pthread_rwlock_wrlock(&s->lock);
	for (size_t i = 0; i < d->n && !rc; i++)
		if (d->at[i].put) rc = docset_add(s, seq, d->at[i].put);
		else docset_end(s, seq, d->at[i].key);
	s->last = seq;
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

/* ---- the current set ---- */

struct docset *docs_get(struct index *x)
{
	struct docset *d;
	pthread_mutex_lock(&x->lock);
	d = x->docs;
	if (d) atomic_fetch_add(&d->refs, 1);
	pthread_mutex_unlock(&x->lock);
	return d;
}

/* Makes another set, or none, the current one; the one before has no state from `end` on. With docs_lock. */
static void docs_swap(struct index *x, struct docset *fresh, uint64_t end)
{
	struct docset *old;
	pthread_mutex_lock(&x->lock);
	old = x->docs;
	x->docs = fresh;
	if (old) atomic_store(&old->end, end);
	pthread_mutex_unlock(&x->lock);
	docset_put(old);
}

void docs_commit(struct index *x, struct docs_delta *d, uint64_t seq)
{
	if (!d->on || (!d->n && !d->lost)) return;
	pthread_mutex_lock(&x->docs_lock);
	if (x->docs && delta_apply(x->docs, d, seq)) {
		log_put(LOG_WARN, "index", "the table of documents is read again: out of memory");
		docs_swap(x, NULL, seq);
	}
}

static void docs_next_set(struct index *x, struct docset *d)
{
	pthread_mutex_lock(&x->lock);
	x->docs_next = d;
	pthread_mutex_unlock(&x->lock);
}

/* What a set that is being read lacks yet. Takes the delta. */
static void delta_queue(struct index *x, struct docs_delta *d, uint64_t seq)
{
	struct docs_queued *q = mem_calloc(1, sizeof *q), **end = &x->docs_queue;
	x->docs_seq = seq;
	if (!x->docs_next || !q || d->lost) {
		docs_next_set(x, NULL);      /* it would lack something: it won't become the current one */
		mem_free(q);
		return;
	}
	q->delta = *d;
	q->seq = seq;
	*d = (struct docs_delta){ 0 };
	while (*end) end = &(*end)->next;
	*end = q;
}

void docs_settle(struct index *x, struct docs_delta *d, uint64_t seq, int rc)
{
	if (!d->on || (!d->n && !d->lost)) return;
	if (rc) docs_swap(x, NULL, seq);
	else delta_queue(x, d, seq);
	pthread_mutex_unlock(&x->docs_lock);
}

/* ---- reading the store ---- */

int docs_due(struct index *x)
{
	struct docset *d = docs_get(x);
	int due = !d || d->erasures != atomic_load(&x->erasures);
	if (!due) {
		pthread_rwlock_rdlock(&d->lock);
		due = d->dead > d->n / 2 + DEAD_LEAST;
		pthread_rwlock_unlock(&d->lock);
	}
	docset_put(d);
	return due;
}

static void queue_clear(struct index *x)
{
	for (struct docs_queued *q = x->docs_queue, *next; q; q = next) {
		next = q->next;
		docs_delta_clear(&q->delta);
		mem_free(q);
	}
	x->docs_queue = NULL;
}

/* A new set that commits begin to queue for, and a transaction on the state it starts with. */
static int reading_begin(struct index *x, struct docset **out, struct txn **t, struct err *e)
{
	struct docset *d = docset_new(0);
	struct rec_state state;
	struct txn *writer = NULL;
	int rc = d ? txn_begin(&writer, x->store, 1, e) : err_set(e, E_MEMORY, "documents in memory: out of memory");
	*t = NULL;
	if (!rc) rc = state_read(writer, &state, e);
	if (!rc) rc = txn_begin(t, x->store, 0, e);
	if (!rc) {
		pthread_mutex_lock(&x->docs_lock);
		d->start = d->last = x->docs_seq = state.seq;
		d->erasures = atomic_load(&x->erasures);
		docs_next_set(x, d);
		pthread_mutex_unlock(&x->docs_lock);
	}
	txn_abort(writer);
	if (rc) docset_put(d);
	*out = rc ? NULL : d;
	return rc;
}

static int all_read(struct index *x, struct docset *d, struct txn *t, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	struct arena scratch;
	struct key k;
	int rc = cursor_open(&c, t, T_DOC, e);
	arena_init(&scratch, (size_t)1 << 30);
	if (!rc) rc = cursor_seek(&c, NULL, &key, &value, e);
	for (size_t n = 0; !rc; rc = cursor_next(&c, &key, &value, e), n++) {
		struct doc_entry entry;
		struct rec_doc r;
		struct err why;
		if (n % LOOK == 0 && atomic_load(&x->closing)) rc = err_set(e, E_CANCELLED, "the store is closing");
		if (rc) break;
		if (key.n != 8) continue;
		key_u64(&k, key_get_u64(key.p));
		if (rec_doc_get(&r, &k, value, &why)) {
			log_put(LOG_WARN, "index", "document %llu is left out: %s", (unsigned long long)key_get_u64(key.p), why.msg);
			continue;
		}
		if (!doc_verdict_has_text(r.verdict)) continue;
		arena_clear(&scratch);
		rc = doc_entry_fill(&entry, key_get_u64(key.p), &r, &scratch);
		if (!rc) rc = docset_add(d, 0, &entry);
		if (rc) err_set(e, rc, "documents in memory: %s", rc == E_LIMIT ? "too many" : "out of memory");
		if (rc) break;
	}
	cursor_close(&c);
	arena_clear(&scratch);
	if (rc != E_NOT_FOUND) return rc;
	return docset_sort(d) ? err_set(e, E_MEMORY, "documents in memory: out of memory") : OK;
}

/* What was committed meanwhile goes in, and the set becomes the current one. */
static int reading_end(struct index *x, struct docset *d, int rc, struct err *e)
{
	pthread_mutex_lock(&x->docs_lock);
	for (struct docs_queued *q = x->docs_queue; q && !rc; q = q->next)
		if (delta_apply(d, &q->delta, q->seq)) rc = err_set(e, E_MEMORY, "documents in memory: out of memory");
	if (!rc && x->docs_next != d) rc = err_set(e, E_MEMORY, "documents in memory: out of memory");
	queue_clear(x);
	docs_next_set(x, NULL);
	if (!rc) docs_swap(x, d, x->docs_seq + 1);
	pthread_mutex_unlock(&x->docs_lock);
	if (rc) docset_put(d);
	return rc;
}

int docs_load(struct index *x, struct err *e)
{
	struct docset *d;
	struct txn *t;
	int rc = reading_begin(x, &d, &t, e);
	if (rc) return rc;
	rc = all_read(x, d, t, e);
	txn_abort(t);
	return reading_end(x, d, rc, e);
}
