/* visible.c: owns which chunks of a collection a reader sees who does not see all, where a search must know all of them.
 *
 * Method: the table of documents in memory tells, once for a reader and a state of the store (docpick.c); until it is there,
 * after open, the documents' records are walked. What they see is kept as runs of chunk ids, joined where they touch and in
 * order, so that a list of postings is compared with them in one pass; a reader with phrases is left those of the runs that
 * hold them (phrase.c). The last few are remembered under a hash of collection, groups, filter and phrases;
 * a commit that changes no document leaves them right.
 * Threads: index.lock guards the table of those remembered, for moments; one that is in use lives until its last user
 * is done. Failure: a damaged record is left out with a warning. */
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "base/mem.h"
#include "index/filter.h"
#include "index/inside.h"
#include "index/phrase.h"

struct gather { struct visible *v; size_t cap; };

static int run_add(struct gather *g, uint64_t first, uint64_t n)
{
	struct visible *v = g->v;
	v->chunks += n;
	if (!n) return OK;
	if (v->n && v->runs[v->n - 1].first + v->runs[v->n - 1].n == first) {
		v->runs[v->n - 1].n += n;
		return OK;
	}
	if (v->n == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : 256;
		struct chunk_run *more = mem_realloc(v->runs, cap * sizeof *more);
		if (!more) return E_MEMORY;
		v->runs = more;
		g->cap = cap;
	}
	v->runs[v->n++] = (struct chunk_run){ first, n };
	return OK;
}

static int on_doc(void *ctx, const struct rec_doc *d)
{
	struct gather *g = ctx;
	g->v->documents += doc_verdict_has_text(d->verdict) != 0;
	return run_add(g, d->first_chunk, d->chunk_n);
}

/* By the table of documents, whose rows are in the order of chunk ids. */
static int rows_gather(struct gather *g, struct snapshot *s, const struct reader *r, uint32_t coll, struct err *e)
{
	struct doc_ask ask = { s, r };
	struct docset *d = s->docs;
	uint64_t *bits;
	int rc;
	pthread_rwlock_rdlock(&d->lock);
	rc = docs_pick(d, s->state.seq, coll, r, &(struct doc_match){ snapshot_match, &ask }, &bits, e);
	for (size_t w = 0; !rc && w <= d->n / 64; w++)
		for (uint64_t left = bits[w]; left && !rc; left &= left - 1) {
			size_t row = w * 64 + (size_t)__builtin_ctzll(left);
			g->v->documents++;
			if (run_add(g, d->first[row], d->chunk_n[row])) rc = err_set(e, E_MEMORY, "search: out of memory");
		}
	pthread_rwlock_unlock(&d->lock);
	mem_free(bits);
	return rc;
}

static int by_first(const void *a, const void *b)
{
	const struct chunk_run *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

static void runs_join(struct visible *v)
{
	size_t kept = 0;
	if (v->n) qsort(v->runs, v->n, sizeof *v->runs, by_first);
	for (size_t i = 1; i < v->n; i++)
		if (v->runs[kept].first + v->runs[kept].n == v->runs[i].first) v->runs[kept].n += v->runs[i].n;
		else v->runs[++kept] = v->runs[i];
	v->n = v->n ? kept + 1 : 0;
}

/* The same groups in another order are another reader: that costs a walk, no more. */
static int who_hash(const struct reader *r, uint32_t coll, uint8_t out[32], struct err *e)
{
	const char *filter = r->filter ? filter_text(r->filter) : "";
	uint64_t n = r->all_groups ? UINT64_MAX : r->group_n;
	struct sha256 *h = sha256_new();
	if (!h) return err_set(e, E_MEMORY, "search: out of memory");
	sha256_put(h, &coll, sizeof coll);
	sha256_put(h, &n, sizeof n);
	for (size_t i = 0; i < r->group_n && !r->all_groups; i++) sha256_put(h, r->groups[i], strlen(r->groups[i]) + 1);
	sha256_put(h, filter, strlen(filter) + 1);
	for (size_t i = 0; r->phrases && i < r->phrases->n; i++) {
		sha256_put(h, &r->phrases->at[i].len, sizeof r->phrases->at[i].len);
		sha256_put(h, r->phrases->at[i].text, r->phrases->at[i].len);
	}
	sha256_end(h, out);
	return OK;
}

void visible_put(struct visible *v)
{
	if (!v || atomic_fetch_sub(&v->refs, 1) > 1) return;
	mem_free(v->runs);
	mem_free(atomic_load(&v->mask));
	mem_free(v);
}

/* The one remembered in the slot when it is this reader's and state's, with a reference for the caller. */
static struct visible *remembered(struct index *x, size_t slot, const uint8_t who[32], uint64_t seq)
{
	struct visible *v;
	pthread_mutex_lock(&x->lock);
	v = x->seen[slot];
	if (v && (v->seq != seq || memcmp(v->who, who, 32) != 0)) v = NULL;
	if (v) atomic_fetch_add(&v->refs, 1);
	pthread_mutex_unlock(&x->lock);
	return v;
}

static void remember(struct index *x, size_t slot, struct visible *v)
{
	struct visible *old;
	atomic_fetch_add(&v->refs, 1);
	pthread_mutex_lock(&x->lock);
	old = x->seen[slot];
	x->seen[slot] = v;
	pthread_mutex_unlock(&x->lock);
	visible_put(old);
}

/* Of what the reader sees without the phrases, the chunks that hold them. */
static int phrases_see(struct snapshot *s, const struct reader *r, uint32_t coll, struct visible *out, struct err *e)
{
	struct reader plain = *r;
	struct visible *base = NULL;
	int rc;
	plain.phrases = NULL;
	rc = reader_sees_all(&plain) ? OK : visible_get(s, &plain, coll, &base, e);
	if (!rc) rc = phrases_find(s, r, coll, base, out, e);
	visible_put(base);
	return rc;
}

int visible_get(struct snapshot *s, const struct reader *r, uint32_t coll, struct visible **out, struct err *e)
{
	struct gather g = { 0 };
	uint64_t seq = s->docs ? docset_state(s->docs, s->state.seq) : s->state.seq;
	uint8_t who[32];
	size_t slot;
	int rc = who_hash(r, coll, who, e);
	*out = NULL;
	if (rc) return rc;
	slot = who[0] % SEEN_SLOTS;
	if ((*out = remembered(s->x, slot, who, seq))) return OK;
	g.v = mem_calloc(1, sizeof *g.v);
	if (!g.v) return err_set(e, E_MEMORY, "search: out of memory");
	g.v->seq = seq;
	memcpy(g.v->who, who, sizeof who);
	atomic_init(&g.v->refs, 1);
	rc = r->phrases ? phrases_see(s, r, coll, g.v, e) : s->docs ? rows_gather(&g, s, r, coll, e) : snapshot_each_seen(s, r, coll, on_doc, &g, e);
	if (rc) {
		visible_put(g.v);
		return rc;
	}
	if (!s->docs) runs_join(g.v);
	remember(s->x, slot, g.v);
	*out = g.v;
	return OK;
}

int snapshot_count(struct snapshot *s, const struct reader *r, struct seen_count *out, struct err *e)
{
	struct visible *v;
	struct rec_coll coll;
	int rc;
	*out = (struct seen_count){ 0, 0 };
	if (!r || !r->collection) return err_set(e, E_USAGE, "count: no collection is named");
	rc = coll_read(s->t, r->collection, &coll, e);
	if (rc) return rc == E_NOT_FOUND ? OK : rc;
	*out = (struct seen_count){ coll.documents, coll.chunks };
	if (reader_sees_all(r) || (rc = visible_get(s, r, coll.number, &v, e))) return rc;
	*out = (struct seen_count){ v->documents, v->chunks };
	visible_put(v);
	return OK;
}

int visible_has(const struct visible *v, size_t *at, uint64_t chunk)
{
	while (*at < v->n && v->runs[*at].first + v->runs[*at].n <= chunk) ++*at;
	return *at < v->n && v->runs[*at].first <= chunk;
}

int visible_meets(const struct visible *v, uint64_t first, uint64_t n)
{
	size_t low = 0, high = v->n;              /* the first run that ends behind `first` */
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (v->runs[mid].first + v->runs[mid].n <= first) low = mid + 1;
		else high = mid;
	}
	return n && low < v->n && v->runs[low].first < first + n;
}
