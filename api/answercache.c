/* answercache.c: owns the answers that are given again (answercache.h).
 *
 * Method: what an answer depends on is hashed (SHA-256) with a length before each part. An entry has two such keys: one
 * with the question, and one with the numbers, negations and question words of it instead, by which other wordings are
 * looked for among all entries. An entry owns a copy of the answer; a hit is copied out of it under the lock, and its
 * quotes are taken from the snapshot just read, in which the passages are the same. What an answer gains in fields must be
 * copied in answer_copy, or a cached one lacks it.
 * Threads: any; one lock. Failure: out of memory is a miss, or nothing kept. */
#include "api/answercache.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "api/question.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/utf8.h"

enum { BUCKETS = 4096, KEY_ARENA = 8 << 20, FIRST_BLOCK = 4096 };

struct entry {
	struct answer_keys keys;
	struct entry *next;                  /* of the same bucket */
	struct entry *newer, *older;         /* by use */
	struct arena arena;                  /* of the answer and the vector */
	struct answer a;
	const uint64_t *chunks;              /* of each citation's passage, then of the short answer's */
	const float *query;                  /* (dim) */
	int dim;
};
struct answercache {
	pthread_mutex_t lock;
	struct entry *bucket[BUCKETS], *newest, *oldest;
	struct answercache_figures figures;
	uint64_t least_seq;                  /* what is made from states of the store before is not kept */
};

int answercache_open(struct answercache **out, size_t max_bytes, struct err *e)
{
	*out = max_bytes ? mem_calloc(1, sizeof **out) : NULL;
	if (!max_bytes) return OK;
	if (!*out) return err_set(e, E_MEMORY, "answers: out of memory");
	pthread_mutex_init(&(*out)->lock, NULL);
	(*out)->figures.max_bytes = max_bytes;
	return OK;
}

/* ---- keys ---- */

static void put_bytes(struct sha256 *h, const void *p, size_t n)
{
	uint64_t len = n;
	sha256_put(h, &len, sizeof len);
	if (n) sha256_put(h, p, n);
}

static void put_text(struct sha256 *h, const char *s)
{
	put_bytes(h, s ? s : "", s ? strlen(s) : 0);
}

static void put_passages(struct sha256 *h, const struct retrieval *r)
{
	put_bytes(h, &r->n, sizeof r->n);
	for (size_t i = 0; i < r->n; i++) {
		const struct passage *p = &r->passages[i];
		put_text(h, p->doc.id);
		put_bytes(h, &p->doc.seq, sizeof p->doc.seq);
		put_bytes(h, &p->doc.revision, sizeof p->doc.revision);
		put_bytes(h, &p->chunk.id, sizeof p->chunk.id);
		put_bytes(h, &p->chunk.range, sizeof p->chunk.range);
	}
}

/* All but the question. t: the template in use; NULL: none. */
static void put_rest(struct sha256 *h, const struct service *s, const struct prompt_template *t, const struct answer_request *q,
	const struct retrieval *r)
{
	const struct prompt_template *judge;
	const int numbers[] = { q->k, (int)q->style, q->style_given, q->max_tokens };
	put_passages(h, r);
	put_text(h, snapshot_embedder(r->snapshot));
	put_bytes(h, &q->history_n, sizeof q->history_n);
	for (size_t i = 0; i < q->history_n; i++) {
		put_text(h, q->history[i].role);
		put_text(h, q->history[i].text);
	}
	put_bytes(h, q->conf, sizeof *q->conf);      /* the models are of the settings, and stay those of the process */
	put_text(h, q->prompt);
	put_text(h, t ? prompt_source(t) : "");
	put_text(h, prompts_find(s->prompts, "judge", &judge, NULL) ? "" : prompt_source(judge));
	put_text(h, q->tone);
	put_bytes(h, numbers, sizeof numbers);
	put_bytes(h, &q->temperature, sizeof q->temperature);
	put_bytes(h, &q->seed, sizeof q->seed);
}

static int by_stem(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* What two wordings of a question must have in common: numbers and question words, whatever their order, and how many
 * negations there are. */
static int put_core(struct sha256 *h, const char *question, struct arena *a)
{
	struct word *w;
	size_t n, kept = 0, negations = 0;
	uint64_t *stems;
	if (words_of(question, strlen(question), a, &w, &n, NULL) || !(stems = arena_calloc(a, n + 1, sizeof *stems))) return E_MEMORY;
	for (size_t i = 0; i < n; i++) {
		negations += w[i].negation;
		if (w[i].number || w[i].asks) stems[kept++] = w[i].stem;
	}
	qsort(stems, kept, sizeof *stems, by_stem);
	put_bytes(h, &negations, sizeof negations);
	put_bytes(h, stems, kept * sizeof *stems);
	return OK;
}

static int keys_make(struct service *s, const struct answer_request *q, const struct answer *a, struct answer_keys *out)
{
	struct sha256 *exact = sha256_new(), *near = sha256_new();
	struct arena arena;
	const struct prompt_template *t;
	const char *asked, *normal;              /* as it came, and as it stands without the conversation */
	int rc;
	if (prompts_find_for(s->prompts, "answer", q->prompt, &t, NULL)) t = NULL;
	out->prompt = t ? prompt_name(t) : "";
	out->version = t ? prompt_version(t) : 0;
	arena_init(&arena, KEY_ARENA);
	rc = exact && near ? question_normal(a->question, &arena, &asked, NULL) : E_MEMORY;
	if (!rc) rc = question_normal(q->question, &arena, &normal, NULL);
	if (!rc) {
		put_rest(exact, s, t, q, &a->retrieval);
		put_text(exact, asked);
		put_text(exact, normal);
		put_rest(near, s, t, q, &a->retrieval);
		rc = put_core(near, normal, &arena);
	}
	if (exact) sha256_end(exact, out->exact);
	if (near) sha256_end(near, out->near);
	arena_clear(&arena);
	return rc;
}

/* ---- entries ---- */

static size_t entry_bytes(const struct entry *n)
{
	return sizeof *n + (n->arena.used < FIRST_BLOCK ? FIRST_BLOCK : 2 * n->arena.used + FIRST_BLOCK); /* blocks of an arena double */
}

static struct entry **bucket_of(struct answercache *c, const uint8_t exact[32])
{
	return &c->bucket[(exact[0] | exact[1] << 8) % BUCKETS];
}

static void use_unlink(struct answercache *c, struct entry *n)
{
	*(n->newer ? &n->newer->older : &c->newest) = n->older;
	*(n->older ? &n->older->newer : &c->oldest) = n->newer;
	n->newer = n->older = NULL;
}

static void use_first(struct answercache *c, struct entry *n)
{
	n->older = c->newest;
	n->newer = NULL;
	*(c->newest ? &c->newest->newer : &c->oldest) = n;
	c->newest = n;
}

static void entry_free(struct entry *n)
{
	arena_clear(&n->arena);
	mem_free(n);
}

static void entry_drop(struct answercache *c, struct entry *n)
{
	struct entry **at = bucket_of(c, n->keys.exact);
	while (*at != n) at = &(*at)->next;
	*at = n->next;
	use_unlink(c, n);
	c->figures.bytes -= entry_bytes(n);
	c->figures.entries--;
	entry_free(n);
}

void answercache_clear(struct answercache *c, uint64_t seq)
{
	if (!c) return;
	pthread_mutex_lock(&c->lock);
	while (c->oldest) entry_drop(c, c->oldest);
	if (seq > c->least_seq) c->least_seq = seq;
	pthread_mutex_unlock(&c->lock);
}

void answercache_close(struct answercache *c)
{
	if (!c) return;
	answercache_clear(c, 0);
	pthread_mutex_destroy(&c->lock);
	mem_free(c);
}

void answercache_figures(struct answercache *c, struct answercache_figures *out)
{
	memset(out, 0, sizeof *out);
	if (!c) return;
	pthread_mutex_lock(&c->lock);
	*out = c->figures;
	pthread_mutex_unlock(&c->lock);
}

/* A copy of n items in the arena; "" or nothing for none. */
static const void *copy(struct arena *a, const void *p, size_t n, int *failed)
{
	char *to = arena_alloc(a, n + 1);
	if (!to) {
		*failed = 1;
		return "";
	}
	if (n) memcpy(to, p, n);
	to[n] = 0;
	return to;
}

/* What an answer says and what made it, into another; the question, the passages, the times and the tokens are not of it.
 * Quotes stay where they were. */
static int answer_copy(struct answer *to, const struct answer *from, struct arena *a)
{
	int failed = 0;
	to->text = copy(a, from->text, from->text_len, &failed);
	to->text_len = from->text_len;
	to->status = from->status;
	to->reason = copy(a, from->reason, strlen(from->reason), &failed);
	to->style = from->style;
	to->sentences = (struct answer_sentence *)copy(a, from->sentences, from->sentence_n * sizeof *from->sentences, &failed);
	to->sentence_n = from->sentence_n;
	to->citations = (struct answer_citation *)copy(a, from->citations, from->citation_n * sizeof *from->citations, &failed);
	to->citation_n = from->citation_n;
	to->has_short = from->has_short;
	to->short_answer = from->short_answer;
	to->confidence = from->confidence;
	to->answerable = from->answerable;
	to->evidence = from->evidence;
	to->prompt_name = copy(a, from->prompt_name, strlen(from->prompt_name), &failed);
	to->prompt_version = from->prompt_version;
	to->model = copy(a, from->model, strlen(from->model), &failed);
	return failed ? E_MEMORY : OK;
}

/* ---- giving ---- */

static double cosine_of(const float *x, const float *y, int dim)
{
	double sum = 0;
	for (int i = 0; i < dim; i++) sum += (double)x[i] * y[i];
	return sum;
}

static struct entry *find_exact(struct answercache *c, const struct answer_keys *k)
{
	struct entry *n = *bucket_of(c, k->exact);
	while (n && memcmp(n->keys.exact, k->exact, 32) != 0) n = n->next;
	return n;
}

static struct entry *find_near(struct answercache *c, const struct answer_keys *k, const struct retrieval *r, double least)
{
	struct entry *best = NULL;
	int dim = r->embedder ? embedder_info(r->embedder)->dim : 0;
	for (struct entry *n = c->newest; n && r->query; n = n->older) {
		if (n->dim != dim || memcmp(n->keys.near, k->near, 32) != 0) continue;
		double x = cosine_of(n->query, r->query, dim);
		if (x >= least) best = n, least = x;
	}
	return best;
}

/* Finds the passage of a place among those of now, and takes its words from the snapshot. */
static int quote_take(struct answer *a, struct answer_citation *c, uint64_t chunk)
{
	const char *text;
	size_t len;
	for (c->passage = 0; c->passage < a->retrieval.n && a->retrieval.passages[c->passage].chunk.id != chunk;) c->passage++;
	if (c->passage >= a->retrieval.n || snapshot_text(a->retrieval.snapshot, &a->retrieval.passages[c->passage].doc, &text, &len, NULL)) return 0;
	if (c->range.off > len || c->range.len > len - c->range.off) return 0;
	c->quote = text + c->range.off;
	c->quote_len = c->range.len;
	return 1;
}

static int quotes_take(struct answer *a, const uint64_t *chunks)
{
	for (size_t i = 0; i < a->citation_n; i++)
		if (!quote_take(a, &a->citations[i], chunks[i])) return 0;
	return !a->has_short || quote_take(a, &a->short_answer, chunks[a->citation_n]);
}

/* Tells the sink as if the answer were being written: each citation before the sentence that uses it first. */
static void tell(const struct answer *a, const struct answer_sink *sink)
{
	struct answer so_far = *a;
	size_t from = 0;
	so_far.citation_n = 0;
	for (size_t i = 0; i < a->sentence_n; i++) {
		const struct answer_sentence *x = &a->sentences[i];
		for (int k = 0; k < x->citation_n; k++)
			while (so_far.citation_n < (size_t)x->citations[k] && so_far.citation_n < a->citation_n) {
				const struct answer_citation *c = &a->citations[so_far.citation_n++];
				if (sink->citation) sink->citation(sink->ctx, &so_far, c);
			}
		so_far.text_len = i + 1 < a->sentence_n ? x->end : a->text_len;
		so_far.sentence_n = i + 1;
		if (sink->sentence) sink->sentence(sink->ctx, &so_far, a->text + from, so_far.text_len - from);
		from = so_far.text_len;
	}
}

int answercache_get(struct service *s, const struct answer_request *q, const struct answer_sink *sink, struct arena *a, struct answer *out,
	struct answer_keys *k)
{
	struct answercache *c = s->answers;
	struct answer hit = *out;
	k->known = c && !q->fresh && !keys_make(s, q, out, k);
	if (!k->known || q->explain) return 0;
	pthread_mutex_lock(&c->lock);
	struct entry *n = find_exact(c, k);
	hit.cached = "exact";
	if (!n && q->conf->cache_cosine > 0) {
		n = find_near(c, k, &out->retrieval, q->conf->cache_cosine);
		hit.cached = "semantic";
	}
	int found = n && !answer_copy(&hit, &n->a, a) && quotes_take(&hit, n->chunks);
	if (found) {
		use_unlink(c, n);
		use_first(c, n);
	}
	(*(!found ? &c->figures.missed : *hit.cached == 'e' ? &c->figures.exact : &c->figures.semantic))++;
	pthread_mutex_unlock(&c->lock);
	stat_count("footnote_answer_cache_total", !found ? "result=\"miss\"" : *hit.cached == 'e' ? "result=\"exact\"" : "result=\"semantic\"", 1);
	if (!found) return 0;
	*out = hit;
	if (sink) tell(out, sink);
	return 1;
}

/* ---- keeping ---- */

static struct entry *entry_make(const struct answer_keys *k, const struct answer *a, size_t max_bytes)
{
	struct entry *n = mem_calloc(1, sizeof *n);
	uint64_t *chunks;
	int failed = 0;
	if (!n) return NULL;
	n->keys = *k;
	arena_init(&n->arena, max_bytes);
	n->chunks = chunks = arena_calloc(&n->arena, a->citation_n + 1, sizeof *chunks);
	for (size_t i = 0; chunks && i < a->citation_n; i++) chunks[i] = a->retrieval.passages[a->citations[i].passage].chunk.id;
	if (chunks && a->has_short) chunks[a->citation_n] = a->retrieval.passages[a->short_answer.passage].chunk.id;
	n->dim = a->retrieval.query && a->retrieval.embedder ? embedder_info(a->retrieval.embedder)->dim : 0;
	if (!chunks || answer_copy(&n->a, a, &n->arena)) failed = 1;
	n->query = copy(&n->arena, a->retrieval.query, (size_t)n->dim * sizeof *n->query, &failed);
	if (!failed) return n;
	entry_free(n);
	return NULL;
}

void answercache_put(struct service *s, const struct answer_request *q, const struct answer *a, const struct answer_keys *k)
{
	struct answercache *c = s->answers;
	struct entry *n, *old;
	if (!k->known || a->status == ANSWER_PARTIAL || (a->status == ANSWER_ANSWERED && a->style != (int)q->style)) return;
	if (*a->prompt_name && (strcmp(a->prompt_name, k->prompt) || a->prompt_version != k->version)) return;
	if (!(n = entry_make(k, a, c->figures.max_bytes))) return;
	pthread_mutex_lock(&c->lock);
	if (a->retrieval.seq < c->least_seq) {
		pthread_mutex_unlock(&c->lock);
		entry_free(n);
		return;
	}
	if ((old = find_exact(c, k))) entry_drop(c, old);
	struct entry **at = bucket_of(c, k->exact);
	n->next = *at;
	*at = n;
	use_first(c, n);
	c->figures.bytes += entry_bytes(n);
	c->figures.entries++;
	while (c->figures.bytes > c->figures.max_bytes && c->oldest) entry_drop(c, c->oldest);
	stat_gauge("footnote_answer_cache_bytes", "", (double)c->figures.bytes);
	pthread_mutex_unlock(&c->lock);
}
