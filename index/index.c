/* index.c: owns the open index: its options, the store's state record, the list of collections, figures, verdicts.
 *
 * Method: opening reads the state record (format, embedder, counters) or writes the first one, then starts the
 * background thread (catchup.c), which brings the graphs. A store without chunks takes the embedder it is opened with;
 * one with chunks refuses another. Closing cancels and joins the thread, then closes the environment.
 * Threads: every call, any thread; index_close when nothing else runs. Failure: see index.h. */
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "index/inside.h"
#include "index/postings.h"

static const char *const verdict_names[] = {
	"added", "updated", "unchanged", "duplicate", "removed", "partial", "skipped", "failed"
};
enum { VERDICT_N = sizeof verdict_names / sizeof *verdict_names };

int doc_verdict_has_text(int verdict)
{
	return verdict == DOC_ADDED || verdict == DOC_UPDATED || verdict == DOC_UNCHANGED || verdict == DOC_PARTIAL;
}

const char *doc_verdict_name(int verdict)
{
	return verdict >= 0 && verdict < VERDICT_N ? verdict_names[verdict] : "unknown";
}

int doc_verdict_parse(const char *s)
{
	for (int i = 0; i < VERDICT_N; i++)
		if (strcmp(s, verdict_names[i]) == 0) return i;
	return -1;
}

/* ---- state and collections in a transaction ---- */

int state_read(struct txn *t, struct rec_state *r, struct err *e)
{
	struct slice v;
	struct key k;
	int rc;
	key_text(&k, "state");
	rc = store_get(t, T_META, &k, &v, e);
	return rc ? rc : rec_state_get(r, &k, v, e);
}

int state_write(struct txn *t, const struct rec_state *r, struct err *e)
{
	struct buf b;
	struct key k;
	int rc;
	buf_init(&b, 4096);
	key_text(&k, "state");
	rc = rec_state_put(&b, &k, r);
	if (rc) err_set(e, rc, "encode the store's state");
	else rc = store_put(t, T_META, &k, b.data, b.len, e);
	buf_clear(&b);
	return rc;
}

int coll_name_ok(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
	return n >= 1 && n <= COLLECTION_MAX && s[n] == 0;
}

int coll_read(struct txn *t, const char *name, struct rec_coll *r, struct err *e)
{
	struct slice v;
	struct key k;
	int rc;
	if (!coll_name_ok(name)) return E_NOT_FOUND;
	key_text(&k, name);
	rc = store_get(t, T_COLL, &k, &v, e);
	if (rc) return rc;
	rc = rec_coll_get(r, &k, v, e);
	return rc ? err_wrap(e, "collection %s", name) : OK;
}

int coll_write(struct txn *t, const char *name, const struct rec_coll *r, struct err *e)
{
	struct buf b;
	struct key k;
	int rc;
	buf_init(&b, 4096);
	key_text(&k, name);
	rc = rec_coll_put(&b, &k, r);
	if (rc) err_set(e, rc, "encode collection %s", name);
	else rc = store_put(t, T_COLL, &k, b.data, b.len, e);
	buf_clear(&b);
	return rc;
}

uint64_t coll_tombstones(const struct rec_coll *r)
{
	uint64_t alive = r->chunks > r->tail ? r->chunks - r->tail : 0;
	return r->graph_vectors > alive ? r->graph_vectors - alive : 0;
}

int coll_list(struct txn *t, struct arena *a, struct coll_entry **out, size_t *n, struct err *e)
{
	struct cursor c = { 0 };
	struct slice key, value;
	uint64_t cap;
	int rc = store_entries(t, T_COLL, &cap, e);
	*n = 0;
	*out = NULL;
	if (rc) return rc;
	*out = arena_calloc(a, cap + 1, sizeof **out);
	if (!*out) return err_set(e, E_MEMORY, "list collections: out of memory");
	rc = cursor_open(&c, t, T_COLL, e);
	if (rc) return rc;
	for (rc = cursor_seek(&c, NULL, &key, &value, e); !rc && *n < cap; rc = cursor_next(&c, &key, &value, e)) {
		struct coll_entry *entry = &(*out)[*n];
		struct key k;
		if (key.n > COLLECTION_MAX) continue;
		entry->name = arena_strndup(a, (const char *)key.p, key.n);
		if (!entry->name) {
			rc = err_set(e, E_MEMORY, "list collections: out of memory");
			break;
		}
		key_text(&k, entry->name);
		rc = rec_coll_get(&entry->rec, &k, value, e);
		if (rc) {
			rc = err_wrap(e, "collection %s", entry->name);
			break;
		}
		++*n;
	}
	cursor_close(&c);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- open and close ---- */

static int options_check(const struct index_options *o, struct err *e)
{
	if (!o->dir || !*o->dir) return err_set(e, E_USAGE, "data folder: no name");
	if (!o->embedder || strlen(o->embedder) > EMBEDDER_MAX)
		return err_set(e, E_USAGE, "embedder's fingerprint: at most %d bytes", EMBEDDER_MAX);
	if (o->dim < 0 || o->dim > DIM_MAX || (o->dim == 0) != (*o->embedder == 0))
		return err_set(e, E_USAGE, "dimension %d: 1 to %d, or 0 with no embedder", o->dim, DIM_MAX);
	if (o->hnsw_m < 4 || o->hnsw_m > 64) return err_set(e, E_USAGE, "index.hnsw_m %d: 4 to 64", o->hnsw_m);
	if (o->hnsw_ef_construction < 8 || o->hnsw_ef_construction > 1000)
		return err_set(e, E_USAGE, "index.hnsw_ef_construction %d: 8 to 1000", o->hnsw_ef_construction);
	if (o->hnsw_ef_search < 8 || o->hnsw_ef_search > 4000)
		return err_set(e, E_USAGE, "index.hnsw_ef_search %d: 8 to 4000", o->hnsw_ef_search);
	if (o->kind < INDEX_AUTO || o->kind > INDEX_IVF) return err_set(e, E_USAGE, "index.kind %d: there is no such", (int)o->kind);
	if (o->ivf_probes < 1) return err_set(e, E_USAGE, "index.ivf_probes 0: at least 1");
	if (o->ivf_rerank < 1) return err_set(e, E_USAGE, "index.ivf_rerank 0: at least 1");
	if (!(o->rebuild_share >= 0.01 && o->rebuild_share <= 1))
		return err_set(e, E_USAGE, "index.rebuild_share %g: 0.01 to 1", o->rebuild_share);
	if (!(o->bm25_k1 >= 0 && o->bm25_k1 <= 10)) return err_set(e, E_USAGE, "search.bm25_k1 %g: 0 to 10", o->bm25_k1);
	if (!(o->bm25_b >= 0 && o->bm25_b <= 1)) return err_set(e, E_USAGE, "search.bm25_b %g: 0 to 1", o->bm25_b);
	if (o->query_terms_max < 1) return err_set(e, E_USAGE, "search.terms_max 0: at least 1");
	return OK;
}

/* Sees to it that the store has postings of this build's words: an older format has none, another version of the words
 * others. One transaction: a process that is killed here starts over at the next open. */
static int words_settle(struct txn *t, struct rec_state *state, int *changed, struct err *e)
{
	uint32_t mine;
	uint64_t chunks;
	int rc = words_fingerprint(&mine, e);
	if (rc) return rc;
	if (state->format == FORMAT_VERSION && state->analysis == mine) return OK;
	rc = store_entries(t, T_CHUNK, &chunks, e);
	if (state->format < POSTINGS_FORMAT || state->analysis != mine) {
		if (!rc && chunks) log_put(LOG_INFO, "index", "indexing the words of %llu chunks", (unsigned long long)chunks);
		if (!rc) rc = postings_rebuild(t, e);
	}
	state->format = FORMAT_VERSION;
	state->analysis = mine;
	*changed = 1;
	return rc;
}

/* Reads or writes the state record and brings the store to this build's format. */
static int state_settle(struct index *x, struct err *e)
{
	struct rec_state state = { .format = FORMAT_VERSION, .next_coll = 1, .next_doc = 1, .next_chunk = 1,
		.serving = { .number = 1 }, .beside = { .slot = 1 } };
	struct txn *t;
	uint64_t docs = 0;
	int fresh, rc = txn_begin(&t, x->store, 1, e);
	if (rc) return rc;
	rc = state_read(t, &state, e);
	fresh = rc == E_NOT_FOUND;
	if (fresh) rc = store_entries(t, T_DOC, &docs, e);
	if (fresh && !rc && docs) rc = err_set(e, E_CORRUPT, "the state record is missing");
	if (!rc) rc = words_settle(t, &state, &fresh, e);
	if (!rc && fresh) rc = state_write(t, &state, e);
	serving_set(x, &state.serving);
	if (!rc && fresh) return txn_commit(t, e);
	txn_abort(t);
	return rc;
}

int index_open(struct index **out, const struct index_options *o, struct err *e)
{
	struct index *x;
	int rc = options_check(o, e);
	*out = NULL;
	if (rc) return rc;
	x = mem_calloc(1, sizeof *x);
	if (!x) return err_set(e, E_MEMORY, "open store %s: out of memory", o->dir);
	pthread_mutex_init(&x->lock, NULL);
	pthread_mutex_init(&x->docs_lock, NULL);
	pthread_cond_init(&x->wake, NULL);
	pthread_cond_init(&x->done_cond, NULL);
	x->form = o->half_vectors ? VEC_F16 : VEC_F32;
	x->kind = o->kind;
	x->memory_bytes = o->memory_bytes;
	x->ivf_probes = o->ivf_probes;
	x->ivf_rerank = o->ivf_rerank;
	x->hnsw_m = o->hnsw_m;
	x->hnsw_ef_construction = o->hnsw_ef_construction;
	x->hnsw_ef_search = o->hnsw_ef_search;
	x->exact_below = o->kind == INDEX_EXACT ? UINT64_MAX : o->exact_below ? o->exact_below : 1;
	x->rebuild_share = o->rebuild_share;
	x->scanner = o->scanner;
	x->bm25_k1 = o->bm25_k1;
	x->bm25_b = o->bm25_b;
	x->query_terms_max = o->query_terms_max;
	x->similar_max = o->similar_max;
	x->phrase_max = o->phrase_max;
	x->words_bytes = o->words_bytes;
	x->vecs = vec_set_new();
	rc = x->vecs ? OK : err_set(e, E_MEMORY, "open store %s: out of memory", o->dir);
	if (!rc) rc = store_open(&x->store, o->dir, o->map_bytes, o->readers_max, o->sync, e);
	if (!rc) rc = state_settle(x, e);
	if (!rc) erasures_finish(x);
	if (!rc) rc = o->dim ? index_attach(x, o, e) : catchup_start(x, e);
	if (rc && x->store) err_wrap(e, "%s", o->dir);
	if (rc) index_close(x);
	else *out = x;
	return rc;
}

void index_close(struct index *x)
{
	if (!x) return;
	catchup_stop(x);
	vec_set_put(x->vecs);
	docset_put(x->docs);
	word_set_clear(&x->words);
	for (size_t i = 0; i < SEEN_SLOTS; i++) visible_put(x->seen[i]);
	store_close(x->store);
	pthread_cond_destroy(&x->done_cond);
	pthread_cond_destroy(&x->wake);
	pthread_mutex_destroy(&x->docs_lock);
	pthread_mutex_destroy(&x->lock);
	mem_free(x);
}

/* ---- figures ---- */

int index_stats(struct index *x, struct index_stats *out, struct err *e)
{
	struct snapshot *s;
	struct arena a;
	struct coll_entry *colls;
	size_t n;
	int rc = snapshot_open(&s, x, e);
	memset(out, 0, sizeof *out);
	if (rc) return rc;
	arena_init(&a, (size_t)1 << 30);
	rc = coll_list(s->t, &a, &colls, &n, e);
	for (size_t i = 0; !rc && i < n; i++) {
		const struct rec_coll *c = &colls[i].rec;
		out->documents += c->documents;
		out->documents_without_text += c->without_text;
		out->chunks += c->chunks;
		out->text_bytes += c->text_bytes;
		out->graph_vectors += c->graph_vectors;
		out->tail_vectors += c->tail;
		out->tombstones += coll_tombstones(c);
	}
	if (!rc) rc = embedders_tell(s->t, &s->state, &out->serving, &out->beside, e);
	out->vectors = out->serving.vectors;
	if (!rc) rc = store_sizes(s->t, &out->file_bytes, &out->map_bytes, &out->used_bytes, e);
	out->seq = s->state.seq;
	out->collections = n;
	for (size_t i = 0; i < s->vecs->n; i++) {
		const struct graph *g = s->vecs->at[i].graph;
		out->memory_bytes += tail_bytes(s->vecs->at[i].tail) + (g ? graph_bytes(g) : 0);
		out->list_vectors += g && g->lists ? g->vectors : 0;
	}
	out->words_bytes = words_bytes(x);
	out->docs_bytes = s->docs ? docset_bytes(s->docs) : 0;
	out->rebuilding = atomic_load(&x->rebuilding);
	arena_clear(&a);
	snapshot_close(s);
	return rc;
}

int index_collections(struct index *x, struct arena *a, struct collection_info **out, size_t *n, struct err *e)
{
	struct txn *t;
	struct coll_entry *colls;
	int rc = txn_begin(&t, x->store, 0, e);
	*out = NULL;
	*n = 0;
	if (rc) return rc;
	rc = coll_list(t, a, &colls, n, e);
	txn_abort(t);
	if (rc) return rc;
	*out = arena_calloc(a, *n + 1, sizeof **out);
	if (!*out) return err_set(e, E_MEMORY, "list collections: out of memory");
	for (size_t i = 0; i < *n; i++) {
		const struct rec_coll *c = &colls[i].rec;
		(*out)[i] = (struct collection_info){ colls[i].name, c->documents, c->chunks, c->graph_vectors, c->tail,
			coll_tombstones(c) };
	}
	return OK;
}

int index_drop_collection(struct index *x, const char *collection, struct err *e)
{
	struct write *w;
	uint32_t number, gen;
	int rc = index_write_begin(&w, x, e);
	if (rc) return rc;
	rc = write_drop_collection(w, collection, &number, e);
	if (rc) {
		index_write_abort(w);
		return rc;
	}
	gen = w->state.serving.number;
	rc = index_write_commit(w, e);
	if (!rc) words_drop(x, number);
	if (!rc && vec_drop(x, gen, number, NULL))
		log_put(LOG_WARN, "index", "%s: the vectors of a dropped collection stay in memory until close", collection);
	return rc;
}

int index_rebuild_wait(struct index *x, struct err *e)
{
	return catchup_wait(x, e);
}
