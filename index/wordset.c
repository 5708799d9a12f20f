/* wordset.c: owns which segments of postings searches see.
 *
 * Consistency: a segment has what a collection held at one commit. What came later has higher chunk ids and is found in the
 * store (lexical.c). What is taken away later is told by the writes that do it: just before such a write commits, while it
 * has the store's writer lock, a new view of the segment is published that lacks those rows and counts their terms no more,
 * for snapshots from this commit on; the old one ends there, and stays behind the new one for the snapshots before. A commit
 * that fails leaves a view for a state that never was: the next write, which makes a state of the same number, puts the old
 * one back first. Snapshots for which there is no view look in the store.
 * A segment is read beside writers. Writes that take away meanwhile leave their notes (word_set.since), and they are applied
 * with the writer's lock held, before it is published.
 * Threads: index.lock guards the set, for moments; views change hands by counted references. Failure: where memory runs out
 * a view ends and searches look in the store. */
#include "index/wordset.h"
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/inside.h"

enum { EDIT_BYTES_MAX = 256 << 20 };
static const double RENEW_SHARE = 0.2;       /* of a segment that is dead or in the store alone */
static const uint64_t RENEW_FREE = 4096;     /* chunks so few that they are read anew at any change */
static const uint64_t RENEW_US = 30000000, RENEW_TIMES = 20; /* else a change waits so long, and this many times what reading takes */

/* What a write takes from a collection. terms: {u32 text bytes, u32 n, text, n u64 chunks} one behind the other; chunks: {u64 first, u64 n}. */
struct words_edit {
	struct words_edit *next;
	uint32_t coll;
	uint64_t seq;
	int unknown;                             /* or more than fits in */
	struct buf terms, chunks;
};

/* ---- views ---- */

void seg_worths_put(struct seg_worths *w)
{
	if (w && atomic_fetch_sub(&w->refs, 1) == 1) mem_free(w);
}

void word_view_put(struct word_view *v)
{
	while (v && atomic_fetch_sub(&v->refs, 1) == 1) {
		struct word_view *prev = v->prev;
		wordseg_put(v->seg);
		mem_free(v->gone);
		mem_free(v->dead);
		seg_worths_put(v->worths);
		mem_free(v);
		v = prev;
	}
}

/* Takes the segment's reference, also on failure. */
static struct word_view *view_new(struct wordseg *g, uint64_t from)
{
	struct word_view *v = mem_calloc(1, sizeof *v);
	if (!v) {
		wordseg_put(g);
		return NULL;
	}
	atomic_init(&v->refs, 1);
	atomic_init(&v->end, UINT64_MAX);
	v->seg = g;
	v->from = from;
	return v;
}

static struct word_view **slot_of(struct word_set *set, uint32_t coll)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->at[i]->seg->coll == coll) return &set->at[i];
	return NULL;
}

struct word_view *word_view_get(struct index *x, uint32_t coll, uint64_t seq)
{
	struct word_view **slot, *v;
	pthread_mutex_lock(&x->lock);
	slot = slot_of(&x->words, coll);
	v = slot ? *slot : NULL;
	if (v && seq < v->from) v = v->prev;
	if (v && (seq < v->from || seq >= atomic_load(&v->end))) v = NULL;
	if (v) atomic_fetch_add(&v->refs, 1);
	pthread_mutex_unlock(&x->lock);
	return v;
}

static struct seg_worths *worths_new(const struct index *x, const struct wordseg *g, double average)
{
	struct seg_worths *w = mem_alloc(sizeof *w + (g->code_n + 1) * sizeof *w->of);
	if (!w) return NULL;
	atomic_init(&w->refs, 1);
	w->average = average;
	w->most = 0;
	seg_worth(g, x->bm25_k1, x->bm25_b, average, w->of);
	for (uint32_t i = 0; i < g->code_n; i++)
		if (w->of[i] > w->most * g->worth[i]) w->most = w->of[i] / g->worth[i] * (1 + 1e-6f);
	return w;
}

struct seg_worths *word_view_worths(struct index *x, struct word_view *v, double average, int keep)
{
	struct seg_worths *w;
	pthread_mutex_lock(&x->lock);
	w = v->worths;
	if (w && w->average == average) atomic_fetch_add(&w->refs, 1);
	else w = NULL;
	pthread_mutex_unlock(&x->lock);
	if (w) return w;
	w = worths_new(x, v->seg, average);
	if (w && keep) {
		struct seg_worths *old;
		atomic_fetch_add(&w->refs, 1);
		pthread_mutex_lock(&x->lock);
		old = v->worths;
		v->worths = w;
		pthread_mutex_unlock(&x->lock);
		seg_worths_put(old);
	}
	return w;
}

/* Makes v the collection's, NULL: it has none. Takes the reference. *was: the caller's then. 0: out of memory. */
static int slot_set(struct word_set *set, uint32_t coll, struct word_view *v, struct word_view **was)
{
	struct word_view **slot = slot_of(set, coll);
	*was = slot ? *slot : NULL;
	if (slot && v) *slot = v;
	else if (slot) *slot = set->at[--set->n];
	else if (v) {
		if (set->n == set->cap) {
			struct word_view **more = mem_realloc(set->at, (set->cap + 8) * sizeof *more);
			if (!more) return 0;
			set->at = more;
			set->cap += 8;
		}
		set->at[set->n++] = v;
	}
	return 1;
}

/* ---- what a write takes away ---- */

static void edit_free(struct words_edit *d)
{
	buf_clear(&d->terms);
	buf_clear(&d->chunks);
	mem_free(d);
}

void words_edits_free(struct words_edit *list)
{
	while (list) {
		struct words_edit *next = list->next;
		edit_free(list);
		list = next;
	}
}

/* NULL: out of memory. */
static struct words_edit *edit_of(struct write *w, uint32_t coll)
{
	struct words_edit *d = w->gone;
	while (d && d->coll != coll) d = d->next;
	if (d) return d;
	d = mem_calloc(1, sizeof *d);
	if (!d) return NULL;
	d->coll = coll;
	d->seq = w->state.seq;
	buf_init(&d->terms, EDIT_BYTES_MAX);
	buf_init(&d->chunks, EDIT_BYTES_MAX);
	d->next = w->gone;
	return w->gone = d;
}

int words_gone_chunks(struct write *w, uint32_t coll, uint64_t first, uint32_t n)
{
	const uint64_t run[2] = { first, n };
	struct words_edit *d = edit_of(w, coll);
	if (!d) return E_MEMORY;
	d->unknown |= buf_put(&d->chunks, run, sizeof run) != OK;
	return OK;
}

int words_gone_term(struct write *w, uint32_t coll, const char *term, size_t len, const uint64_t *chunks, size_t n)
{
	const uint32_t head[2] = { (uint32_t)len, (uint32_t)n };
	struct words_edit *d = edit_of(w, coll);
	if (!d) return E_MEMORY;
	if (!d->unknown) d->unknown = buf_put(&d->terms, head, sizeof head) || buf_put(&d->terms, term, len) || buf_put(&d->terms, chunks, n * sizeof *chunks);
	return OK;
}

int words_gone_unknown(struct write *w, uint32_t coll)
{
	struct words_edit *d = edit_of(w, coll);
	if (d) d->unknown = 1;
	return d ? OK : E_MEMORY;
}

/* ---- applying it ---- */

static int marks_make(struct word_view *v, const struct word_view *from)
{
	const struct wordseg *g = v->seg;
	size_t words = (size_t)g->row_n / 64 + 1;
	v->gone = mem_calloc((size_t)g->term_n + 1, sizeof *v->gone);
	v->dead = mem_calloc(words, sizeof *v->dead);
	if (!v->gone || !v->dead) return E_MEMORY;
	if (from->gone) memcpy(v->gone, from->gone, g->term_n * sizeof *v->gone);
	if (from->dead) memcpy(v->dead, from->dead, words * sizeof *v->dead);
	v->dead_n = from->dead_n;
	return OK;
}

static void terms_take(struct word_view *v, const struct words_edit *d)
{
	const char *p = d->terms.data, *end = p + d->terms.len;
	while (p < end) {
		uint32_t head[2], term;
		uint64_t chunk;
		memcpy(head, p, sizeof head);
		p += sizeof head;
		term = seg_find(v->seg, seg_hash(p, head[0]), p, head[0]);
		p += head[0];
		for (uint32_t i = 0; i < head[1]; i++, p += sizeof chunk) {
			memcpy(&chunk, p, sizeof chunk);
			if (term && chunk <= v->seg->last_chunk) v->gone[term - 1]++;
		}
	}
}

static void chunks_take(struct word_view *v, const struct words_edit *d)
{
	for (size_t at = 0; at < d->chunks.len; at += 2 * sizeof(uint64_t)) {
		uint64_t run[2];
		memcpy(run, d->chunks.data + at, sizeof run);
		for (uint64_t i = 0; i < run[1] && run[0] + i <= v->seg->last_chunk; i++) {
			uint32_t row = seg_row(v->seg, run[0] + i);
			if (row == v->seg->row_n || word_view_dead(v, row)) continue;
			v->dead[row / 64] |= 1ull << row % 64;
			v->dead_n++;
		}
	}
}

/* Does the edit touch what the segment has? */
static int edit_touches(const struct words_edit *d, const struct wordseg *g)
{
	int yes = d->unknown;
	for (size_t at = 0; !yes && at < d->chunks.len; at += 2 * sizeof(uint64_t)) {
		uint64_t run[2];
		memcpy(run, d->chunks.data + at, sizeof run);
		yes = run[0] <= g->last_chunk;
	}
	return yes;
}

/* The view as it is behind the edit, which touches it; NULL: out of memory. */
static struct word_view *view_edit(const struct word_view *old, const struct words_edit *d)
{
	struct word_view *v;
	atomic_fetch_add(&old->seg->refs, 1);
	v = view_new(old->seg, d->seq);
	if (v && marks_make(v, old)) {
		word_view_put(v);
		return NULL;
	}
	if (!v) return NULL;
	v->again_us = old->again_us;
	terms_take(v, d);
	chunks_take(v, d);
	return v;
}

/* Puts back what a write has changed that did not commit. Called with index.lock, by the next one. */
static void failed_undo(struct index *x, uint64_t seq)
{
	struct words_edit **at = &x->words.since;
	for (size_t i = 0; i < x->words.n; i++) {
		struct word_view *v = x->words.at[i];
		if (v->from == seq && v->prev) {
			x->words.at[i] = v->prev;
			v->prev = NULL;
			word_view_put(v);
			v = x->words.at[i];
		}
		if (atomic_load(&v->end) == seq) atomic_store(&v->end, UINT64_MAX);
	}
	while (*at) {
		struct words_edit *d = *at;
		if (d->seq != seq) {
			at = &d->next;
			continue;
		}
		*at = d->next;
		edit_free(d);
	}
}

static void edit_publish(struct index *x, const struct words_edit *d)
{
	struct word_view *old, *fresh = NULL, *older = NULL, **slot;
	pthread_mutex_lock(&x->lock);
	slot = slot_of(&x->words, d->coll);
	old = slot ? *slot : NULL;
	if (old) atomic_fetch_add(&old->refs, 1);
	pthread_mutex_unlock(&x->lock);
	if (!old || d->seq >= atomic_load(&old->end) || !edit_touches(d, old->seg)) {
		word_view_put(old);
		return;
	}
	if (!d->unknown) fresh = view_edit(old, d);
	pthread_mutex_lock(&x->lock);
	atomic_store(&old->end, d->seq);
	if (fresh) {
		older = old->prev;
		old->prev = NULL;
		fresh->prev = old;
		slot_set(&x->words, d->coll, fresh, &old); /* the set's reference is the new one's now */
	}
	pthread_mutex_unlock(&x->lock);
	word_view_put(old); /* the one taken above */
	word_view_put(older);
}

void words_publish(struct write *w)
{
	struct index *x = w->x;
	struct words_edit *next;
	pthread_mutex_lock(&x->lock);
	failed_undo(x, w->state.seq);
	pthread_mutex_unlock(&x->lock);
	for (struct words_edit *d = w->gone; d; d = next) {
		next = d->next;
		edit_publish(x, d);
		pthread_mutex_lock(&x->lock);
		if (x->words.building == d->coll) d->next = x->words.since, x->words.since = d;
		else edit_free(d);
		pthread_mutex_unlock(&x->lock);
	}
	w->gone = NULL;
}

/* ---- segments ---- */

/* Bytes of all segments but one collection's. Called with index.lock. */
static size_t bytes_beside(const struct word_set *set, uint32_t coll)
{
	size_t sum = 0;
	for (size_t i = 0; i < set->n; i++)
		if (set->at[i]->seg->coll != coll) sum += set->at[i]->seg->bytes;
	return sum;
}

/* 1: a segment of the collection has room beside the others. Called with index.lock. */
static int words_fit(const struct index *x, const struct rec_coll *coll)
{
	size_t beside = bytes_beside(&x->words, coll->number);
	return beside <= x->words_bytes && wordseg_guess(coll) <= x->words_bytes - beside;
}

int words_due(struct index *x, const struct rec_coll *coll, int now)
{
	struct word_view **slot, *v;
	uint64_t live, stale = 0;
	int none, unfit, wanted, fits, erased = 0;
	pthread_mutex_lock(&x->lock);
	slot = slot_of(&x->words, coll->number);
	v = slot ? *slot : NULL;
	none = !v || atomic_load(&v->end) != UINT64_MAX;
	unfit = v && v->seg->unfit;
	if (!none) {
		erased = v->seg->erasures != atomic_load(&x->erasures);
		live = v->seg->row_n + v->seg->lacks - v->dead_n; /* what damage hides would be hidden again */
		stale = v->dead_n + (coll->chunks > live ? coll->chunks - live : 0);
	}
	fits = coll->chunks && coll->words && !unfit && words_fit(x, coll);
	wanted = none || (stale && (now || erased || coll->chunks <= RENEW_FREE || (double)stale > RENEW_SHARE * (double)coll->chunks || clock_us() >= v->again_us));
	if (fits && stale && !wanted && (!x->words.wake_us || v->again_us < x->words.wake_us)) x->words.wake_us = v->again_us;
	pthread_mutex_unlock(&x->lock);
	return fits && wanted;
}

/* One that says that there can be none. */
static struct wordseg *seg_unfit(uint32_t coll)
{
	struct wordseg *g = mem_calloc(1, sizeof *g);
	if (!g) return NULL;
	atomic_init(&g->refs, 1);
	g->coll = coll;
	g->unfit = 1;
	return g;
}

/* Makes the view of a new segment as it is behind the edits since. Called with the writer's lock, so nobody adds to them.
 * NULL with E_BUSY: they don't tell all. Takes the segment. */
static struct word_view *view_begin(const struct index *x, struct wordseg *g, uint64_t now, int *rc)
{
	struct word_view *v = view_new(g, g->seq);
	*rc = v ? OK : E_MEMORY;
	for (const struct words_edit *d = x->words.since; d && !*rc; d = d->next) {
		if (d->seq <= g->seq || d->seq > now || !edit_touches(d, g)) continue;
		if (d->unknown) *rc = E_BUSY;
		else if (!v->dead) *rc = marks_make(v, v);
		if (*rc) break;
		terms_take(v, d);
		chunks_take(v, d);
		if (d->seq > v->from) v->from = d->seq;
	}
	if (!*rc) return v;
	word_view_put(v);
	return NULL;
}

/* Takes the segment. */
static int seg_publish(struct index *x, uint32_t coll, struct wordseg *g, uint64_t took_us, struct err *e)
{
	struct word_view *v = NULL, *old = NULL;
	struct rec_state state;
	struct txn *t;
	int set, rc = txn_begin(&t, x->store, 1, e);
	if (rc) {
		wordseg_put(g);
		return rc;
	}
	rc = state_read(t, &state, e);
	if (rc) wordseg_put(g);
	else if (!(v = view_begin(x, g, state.seq, &rc)) && rc == E_MEMORY) err_set(e, rc, "words in memory: out of memory");
	if (v && g->unfit) atomic_store(&v->end, 0);
	if (v) v->again_us = clock_us() + RENEW_US + RENEW_TIMES * took_us;
	pthread_mutex_lock(&x->lock);
	set = !v || slot_set(&x->words, coll, v, &old);
	pthread_mutex_unlock(&x->lock);
	txn_abort(t);
	word_view_put(set ? old : v);
	if (rc == E_BUSY) return OK; /* what is due stays due */
	return set ? rc : err_set(e, E_MEMORY, "words in memory: out of memory");
}

/* *out NULL: there is nothing to read, or it has grown out of the room meanwhile. */
static int seg_read(struct index *x, const char *name, uint32_t coll, struct wordseg **out, struct err *e)
{
	struct snapshot *s;
	struct rec_coll rec;
	int rc = snapshot_open(&s, x, e);
	*out = NULL;
	if (rc) return rc;
	rc = coll_read(s->t, name, &rec, e);
	if (!rc && rec.number != coll) rc = E_NOT_FOUND;
	if (!rc) {
		pthread_mutex_lock(&x->lock);
		if (!words_fit(x, &rec)) rc = E_NOT_FOUND;
		pthread_mutex_unlock(&x->lock);
	}
	if (!rc) rc = wordseg_read(out, s, &rec, &x->closing, e);
	if (!rc && rec.chunks > (*out)->row_n) (*out)->lacks = rec.chunks - (*out)->row_n;
	snapshot_close(s);
	if (rc != E_LIMIT) return rc == E_NOT_FOUND ? OK : rc;
	log_put(LOG_INFO, "index", "%s: searches by words look in the store: %s", name, e->msg);
	*out = seg_unfit(coll);
	return *out ? OK : err_set(e, E_MEMORY, "words in memory: out of memory");
}

/* Writes note what they take away from now on. With the writer's lock: what one that is about to commit has
 * taken away would be neither in the notes nor gone from the snapshot that is read next. */
static int notes_begin(struct index *x, uint32_t coll, struct err *e)
{
	struct txn *t;
	int rc = txn_begin(&t, x->store, 1, e);
	if (rc) return rc;
	pthread_mutex_lock(&x->lock);
	x->words.building = coll;
	pthread_mutex_unlock(&x->lock);
	txn_abort(t);
	return OK;
}

int words_renew(struct index *x, const char *name, uint32_t coll, struct err *e)
{
	struct words_edit *since;
	struct wordseg *g;
	unsigned long erasures = atomic_load(&x->erasures);
	uint64_t began;
	int rc = notes_begin(x, coll, e);
	if (rc) return rc;
	began = clock_us();
	rc = seg_read(x, name, coll, &g, e);
	if (!rc && g) g->erasures = erasures;
	if (!rc && g) rc = seg_publish(x, coll, g, clock_us() - began, e);
	pthread_mutex_lock(&x->lock);
	since = x->words.since;
	x->words.since = NULL;
	x->words.building = 0;
	pthread_mutex_unlock(&x->lock);
	words_edits_free(since);
	return rc;
}

void words_drop(struct index *x, uint32_t coll)
{
	struct word_view *old;
	pthread_mutex_lock(&x->lock);
	slot_set(&x->words, coll, NULL, &old);
	pthread_mutex_unlock(&x->lock);
	word_view_put(old);
}

void word_set_clear(struct word_set *set)
{
	for (size_t i = 0; i < set->n; i++) word_view_put(set->at[i]);
	words_edits_free(set->since);
	mem_free(set->at);
	*set = (struct word_set){ 0 };
}

size_t words_bytes(struct index *x)
{
	size_t sum;
	pthread_mutex_lock(&x->lock);
	sum = bytes_beside(&x->words, 0);
	pthread_mutex_unlock(&x->lock);
	return sum;
}
