/* gaps.c: what the documents do not answer (gaps.h).
 *
 * Names begin with the time, so that notes lie in order and the oldest come first. The report reads them all, from the
 * latest back, and puts each with the first cluster whose leader it is like: the same question, or vectors whose signs
 * agree so often that the angle between them, pi times the share of signs that differ (Charikar 2002), has a cosine of
 * gaps.similarity or more. Examples are the latest texts, where texts are kept; documents are those whose chunks came up
 * most often, as far as the reader sees them still.
 * Threads: none of its own; notes are written by remember.h's, off an answer's path. Failure: a question that cannot be noted
 * is logged, and its answer goes out all the same. */
#include "api/gaps.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/question.h"
#include "api/remember.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

enum { GAP_CHUNKS = 3, SIGNS_MAX = 1024 /* bytes */, PAGE = 256, NAME_TIME = 12, NOTE_BYTES_MAX = 1 << 20, EXAMPLES = 3, PLACES = 64, DOCUMENTS = 3 };
struct gap {
	const char *why;                 /* one of those above */
	const char *collection;
	const char *question;            /* its text; stored by question_stored. NULL: only its hash is known */
	const char *question_hash;       /* then this; else NULL */
	const float *vector; int dim;    /* of the embedder with this fingerprint; NULL: unknown, then the question alone tells what is alike */
	const char *embedder;
	const uint64_t *chunks; size_t chunk_n; /* looked at, best first; GAP_CHUNKS are kept */
};

/* ---- storing ---- */

static int vector_add(cJSON *o, const struct gap *g)
{
	uint8_t bits[SIGNS_MAX] = { 0 };
	char hex[2 * SIGNS_MAX + 1];
	size_t bytes = ((size_t)g->dim + 7) / 8;
	if (!g->vector || bytes > SIGNS_MAX) return 1;
	for (int i = 0; i < g->dim; i++) bits[i / 8] |= (uint8_t)((g->vector[i] > 0) << i % 8);
	hex_put(hex, bits, bytes);
	return cJSON_AddStringToObject(o, "signs", hex) && cJSON_AddNumberToObject(o, "dim", g->dim) &&
		cJSON_AddStringToObject(o, "embedder", g->embedder);
}

static int chunks_add(cJSON *o, const struct gap *g)
{
	cJSON *list = cJSON_AddArrayToObject(o, "chunks");
	int ok = list != NULL;
	for (size_t i = 0; ok && i < g->chunk_n && i < GAP_CHUNKS; i++) {
		cJSON *x = cJSON_CreateNumber((double)g->chunks[i]);
		ok = x && cJSON_AddItemToArray(list, x);
		if (!ok) cJSON_Delete(x);
	}
	return ok;
}

static cJSON *gap_json(const struct gap *g, int64_t now)
{
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddNumberToObject(o, "at", (double)now) && cJSON_AddStringToObject(o, "why", g->why) &&
		cJSON_AddStringToObject(o, "collection", g->collection) && vector_add(o, g) && chunks_add(o, g) &&
		(g->question || !g->question_hash || cJSON_AddStringToObject(o, "question_hash", g->question_hash))) return o;
	cJSON_Delete(o);
	return NULL;
}

int gaps_drop(struct service *s, struct write *w, size_t added, struct err *e)
{
	size_t most = (size_t)s->conf.gaps_kept, got = 0, n = 0, over;
	char limit[24];
	struct snapshot *snap = NULL;
	struct arena a;
	arena_init(&a, 64 << 20);
	const char **names = arena_calloc(&a, 2 * most + PAGE, sizeof *names);
	int64_t oldest = clock_wall_ms() - (int64_t)(s->conf.gaps_days * 86400e3);
	int rc = names ? snapshot_open(&snap, s->index, e) : err_set(e, E_MEMORY, "gaps: out of memory");
	if (!rc) rc = snapshot_note_names(snap, GAP_KIND, "", 2 * most + PAGE, &a, names, &got, e);
	snapshot_close(snap);
	snprintf(limit, sizeof limit, "%012llx", (unsigned long long)(oldest > 0 ? oldest : 0));
	over = got + added > most ? got + added - most : 0;
	for (; !rc && n < got && (n < over || strncmp(names[n], limit, NAME_TIME) < 0); n++) {
		rc = index_note_delete(w, GAP_KIND, names[n], e);
		if (rc == E_NOT_FOUND) rc = OK;
	}
	arena_clear(&a);
	return rc;
}

static void gap_put(struct service *s, const struct gap *g)
{
	int64_t now = clock_wall_ms();
	struct memo m = { .kind = GAP_KIND };
	if (s->conf.gaps_kept == 0) return;
	clock_name(m.name, now);
	m.json = gap_json(g, now);
	m.question = g->question ? mem_strdup(g->question) : NULL;
	if (m.json && (m.question || !g->question)) {
		remember_memo(s->memory, &m);
		return;
	}
	cJSON_Delete(m.json);
	mem_free(m.question);
	log_put(LOG_WARN, "gaps", "a question without an answer was not noted: out of memory");
}

void gaps_note(struct service *s, const struct answer_request *q, const struct answer *a)
{
	const struct retrieval *r = &a->retrieval;
	uint64_t chunks[GAP_CHUNKS];
	struct gap g = { .why = r->n ? GAP_ABSTAINED : GAP_NOTHING, .collection = q->reader.collection, .question = a->question, .chunks = chunks };
	if (a->status != ANSWER_ABSTAINED || !q->reader.collection) return;
	if (r->query && r->embedder) {
		g.vector = r->query;
		g.dim = embedder_info(r->embedder)->dim;
		g.embedder = embedder_info(r->embedder)->fingerprint;
	}
	for (; g.chunk_n < r->n && g.chunk_n < GAP_CHUNKS; g.chunk_n++) chunks[g.chunk_n] = r->passages[g.chunk_n].chunk.id;
	gap_put(s, &g);
}

/* The vector of a question as it would be searched; NULL: none can be had now. */
static const float *question_vector(struct service *s, const char *question, struct gap *g, struct arena *a)
{
	const struct embed_text t = { question, strlen(question) };
	struct embedder *m;
	float *v;
	if (service_embedder(s, &m, NULL)) return NULL;
	g->dim = embedder_info(m)->dim;
	g->embedder = embedder_info(m)->fingerprint;
	v = arena_alloc(a, (size_t)g->dim * sizeof *v);
	return v && !embedder_encode(m, &t, 1, EMBED_QUERY, EMBED_FIRST, v, NULL) ? v : NULL;
}

void gaps_disliked(struct service *s, const cJSON *record, const char *question)
{
	uint64_t chunks[GAP_CHUNKS];
	struct gap g = { .why = GAP_DISLIKED, .collection = json_str(json_get(record, "request"), "collection", s->conf.collection), .chunks = chunks };
	const cJSON *x;
	struct arena a;
	if (strcmp(json_str(json_get(record, "answer"), "status", ""), answer_status_name(ANSWER_ABSTAINED)) == 0) return;
	arena_init(&a, 1 << 20);
	g.question = question ? question : json_str(record, "question", NULL);
	g.question_hash = json_str(record, "question_hash", NULL);
	if (g.question) g.vector = question_vector(s, g.question, &g, &a);
	cJSON_ArrayForEach(x, json_get(record, "passages")) {
		const cJSON *id = json_get(x, "chunk_id");
		double n = cJSON_IsString(id) ? strtod(id->valuestring, NULL) : json_num(x, "chunk_id", -1);
		if (n >= 0 && g.chunk_n < GAP_CHUNKS) chunks[g.chunk_n++] = (uint64_t)n;
	}
	gap_put(s, &g);
	arena_clear(&a);
}

/* ---- reading ---- */

struct row {                         /* strings in the arena */
	int64_t at;
	const char *why, *collection, *question, *hash, *embedder;
	const uint8_t *signs; int dim;
	uint64_t chunks[GAP_CHUNKS]; size_t chunk_n;
	size_t cluster;
};
struct place { uint64_t doc; struct doc d; const char *heading; int times; };
struct cluster {
	size_t leader, size, abstained, nothing, disliked;
	int64_t first, last;
	const char *examples[EXAMPLES]; size_t example_n;
	struct place *places; size_t place_n;
};
struct report {
	struct service *s;
	const struct reader *reader;
	struct snapshot *snap;
	struct arena *a;
	struct row *rows; size_t n, cap;
	struct cluster *clusters; size_t cluster_n;
};

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const uint8_t *signs_read(const char *hex, int dim, struct arena *a)
{
	size_t bytes = ((size_t)dim + 7) / 8;
	uint8_t *out = dim > 0 && bytes <= SIGNS_MAX && strlen(hex) == 2 * bytes ? arena_alloc(a, bytes) : NULL;
	for (size_t i = 0; out && i < bytes; i++) {
		int hi = nibble(hex[2 * i]), lo = nibble(hex[2 * i + 1]);
		if (hi < 0 || lo < 0) return NULL;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return out;
}

/* A damaged note says as much as it can. */
static int row_read(struct report *p, const cJSON *o, struct row *x)
{
	const cJSON *c;
	*x = (struct row){ .at = (int64_t)json_num(o, "at", 0), .why = arena_strdup(p->a, json_str(o, "why", "")),
		.collection = arena_strdup(p->a, json_str(o, "collection", "")), .question = arena_strdup(p->a, json_str(o, "question", "")),
		.hash = arena_strdup(p->a, json_str(o, "question_hash", "")), .embedder = arena_strdup(p->a, json_str(o, "embedder", "")),
		.dim = (int)json_num(o, "dim", 0) };
	x->signs = signs_read(json_str(o, "signs", ""), x->dim, p->a);
	cJSON_ArrayForEach(c, json_get(o, "chunks"))
		if (cJSON_IsNumber(c) && c->valuedouble >= 0 && x->chunk_n < GAP_CHUNKS) x->chunks[x->chunk_n++] = (uint64_t)c->valuedouble;
	return x->why && x->collection && x->question && x->hash && x->embedder;
}

static int rows_read(struct report *p, struct err *e)
{
	struct note notes[PAGE];
	char after[256] = "", limit[24];
	size_t got = 0;
	struct arena scratch;
	int64_t oldest = clock_wall_ms() - (int64_t)(p->s->conf.gaps_days * 86400e3);
	int rc = OK;
	p->cap = 2 * (size_t)p->s->conf.gaps_kept + PAGE;
	p->rows = arena_calloc(p->a, p->cap, sizeof *p->rows);
	if (!p->rows) return err_set(e, E_MEMORY, "gaps: out of memory");
	snprintf(limit, sizeof limit, "%012llx", (unsigned long long)(oldest > 0 ? oldest : 0));
	arena_init(&scratch, 64 << 20);
	do {
		arena_clear(&scratch);
		rc = snapshot_notes(p->snap, GAP_KIND, after, PAGE, &scratch, notes, &got, e);
		for (size_t i = 0; !rc && i < got && p->n < p->cap; i++) {
			cJSON *o = NULL;
			snprintf(after, sizeof after, "%s", notes[i].name);
			if (strncmp(after, limit, NAME_TIME) < 0) continue;
			rc = json_parse(&o, notes[i].json, notes[i].len, NOTE_BYTES_MAX, GAP_KIND, e);
			struct row *x = &p->rows[p->n];
			if (!rc && !row_read(p, o, x)) rc = err_set(e, E_MEMORY, "gaps: out of memory");
			if (!rc && (!p->reader->collection || strcmp(p->reader->collection, x->collection) == 0)) p->n++;
			cJSON_Delete(o);
		}
	} while (!rc && got == PAGE && p->n < p->cap);
	arena_clear(&scratch);
	return rc;
}

static int is_alike(const struct report *p, const struct row *x, const struct row *y)
{
	int differ = 0;
	if (strcmp(x->collection, y->collection)) return 0;
	if ((*x->question && strcmp(x->question, y->question) == 0) || (*x->hash && strcmp(x->hash, y->hash) == 0)) return 1;
	if (!x->signs || !y->signs || x->dim != y->dim || strcmp(x->embedder, y->embedder)) return 0;
	for (int i = 0; i < (x->dim + 7) / 8; i++) differ += __builtin_popcount(x->signs[i] ^ y->signs[i]);
	return cos(M_PI * differ / x->dim) >= p->s->conf.gaps_similarity;
}

static int clusters_make(struct report *p, struct err *e)
{
	p->clusters = arena_calloc(p->a, p->n + 1, sizeof *p->clusters);
	if (!p->clusters) return err_set(e, E_MEMORY, "gaps: out of memory");
	for (size_t i = p->n; i-- > 0;) {
		struct row *x = &p->rows[i];
		size_t c = 0;
		while (c < p->cluster_n && !is_alike(p, x, &p->rows[p->clusters[c].leader])) c++;
		struct cluster *k = &p->clusters[c];
		if (c == p->cluster_n) *k = (struct cluster){ .leader = i, .first = x->at, .last = x->at }, p->cluster_n++;
		x->cluster = c;
		k->size++;
		k->abstained += strcmp(x->why, GAP_ABSTAINED) == 0;
		k->nothing += strcmp(x->why, GAP_NOTHING) == 0;
		k->disliked += strcmp(x->why, GAP_DISLIKED) == 0;
		if (x->at < k->first) k->first = x->at;
		if (x->at > k->last) k->last = x->at;
		size_t have = 0;
		while (have < k->example_n && strcmp(k->examples[have], x->question)) have++;
		if (*x->question && have == k->example_n && have < EXAMPLES) k->examples[k->example_n++] = x->question;
	}
	return OK;
}

/* ---- telling ---- */

static int larger(const void *a, const void *b)
{
	const struct cluster *x = a, *y = b;
	if (x->size != y->size) return x->size > y->size ? -1 : 1;
	return (x->last < y->last) - (x->last > y->last);
}

static int oftener(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	return y->times - x->times;
}

/* Where the questions of a cluster led, as the reader sees it. What is gone or hidden is passed over. */
static int places_find(struct report *p, struct cluster *k, size_t number, struct err *e)
{
	k->places = arena_calloc(p->a, PLACES, sizeof *k->places);
	if (!k->places) return err_set(e, E_MEMORY, "gaps: out of memory");
	for (size_t i = 0; i < p->n; i++) {
		const struct row *x = &p->rows[i];
		for (size_t j = 0; x->cluster == number && j < x->chunk_n; j++) {
			struct chunk c;
			size_t at = 0;
			int rc = snapshot_chunk(p->snap, p->reader, x->chunks[j], p->a, &c, e);
			if (rc && rc != E_NOT_FOUND) return rc;
			if (rc) continue;
			while (at < k->place_n && k->places[at].doc != c.doc_key) at++;
			if (at == PLACES) continue;
			struct place *o = &k->places[at];
			if (at == k->place_n) {
				rc = snapshot_doc_by_key(p->snap, p->reader, c.doc_key, p->a, &o->d, e);
				if (rc && rc != E_NOT_FOUND) return rc;
				if (rc) continue;
				o->doc = c.doc_key;
				o->heading = c.heading;
				k->place_n++;
			}
			o->times++;
		}
	}
	if (k->place_n) qsort(k->places, k->place_n, sizeof *k->places, oftener);
	return OK;
}

static int place_add(cJSON *list, const struct place *x)
{
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "document_id", x->d.id) && cJSON_AddStringToObject(o, "title", x->d.title) &&
		cJSON_AddStringToObject(o, "source", x->d.source) && cJSON_AddStringToObject(o, "heading", x->heading) &&
		cJSON_AddNumberToObject(o, "times", x->times) && cJSON_AddItemToArray(list, o)) return 1;
	cJSON_Delete(o);
	return 0;
}

static cJSON *cluster_view(const struct report *p, const struct cluster *k)
{
	cJSON *o = cJSON_CreateObject(), *why, *list = NULL;
	int ok = o && cJSON_AddNumberToObject(o, "size", (double)k->size) && (why = cJSON_AddObjectToObject(o, "why")) &&
		cJSON_AddNumberToObject(why, GAP_ABSTAINED, (double)k->abstained) && cJSON_AddNumberToObject(why, GAP_NOTHING, (double)k->nothing) &&
		cJSON_AddNumberToObject(why, GAP_DISLIKED, (double)k->disliked) && view_put_time(o, "first", k->first) &&
		view_put_time(o, "last", k->last) && cJSON_AddStringToObject(o, "collection", p->rows[k->leader].collection) &&
		view_put_list(o, "examples", k->examples, k->example_n) && (list = cJSON_AddArrayToObject(o, "documents"));
	for (size_t i = 0; ok && i < k->place_n && i < DOCUMENTS; i++) ok = place_add(list, &k->places[i]);
	if (ok) return o;
	cJSON_Delete(o);
	return NULL;
}

static int report_view(struct report *p, size_t least, size_t limit, cJSON **out, struct err *e)
{
	cJSON *o = cJSON_CreateObject(), *list = o ? cJSON_AddArrayToObject(o, "gaps") : NULL;
	size_t clusters = 0;
	int rc = list ? OK : err_set(e, E_MEMORY, "gaps: out of memory");
	for (size_t i = 0; !rc && i < p->cluster_n; i++) rc = p->clusters[i].size >= least ? places_find(p, &p->clusters[i], i, e) : OK;
	if (!rc && p->cluster_n) qsort(p->clusters, p->cluster_n, sizeof *p->clusters, larger);
	for (size_t i = 0; !rc && i < p->cluster_n && p->clusters[i].size >= least; i++) {
		if (clusters++ >= limit) continue;
		cJSON *x = cluster_view(p, &p->clusters[i]);
		if (x && cJSON_AddItemToArray(list, x)) continue;
		cJSON_Delete(x);
		rc = err_set(e, E_MEMORY, "gaps: out of memory");
	}
	if (!rc && !(cJSON_AddNumberToObject(o, "questions", (double)p->n) && cJSON_AddNumberToObject(o, "clusters", (double)clusters) &&
		cJSON_AddBoolToObject(o, "texts_kept", question_is_kept(p->s)))) rc = err_set(e, E_MEMORY, "gaps: out of memory");
	*out = rc ? NULL : o;
	if (rc) cJSON_Delete(o);
	return rc;
}

int gaps_report(struct service *s, const struct reader *r, size_t least, size_t limit, struct arena *a, cJSON **out, struct err *e)
{
	struct report p = { .s = s, .reader = r, .a = a };
	*out = NULL;
	remember_flush(s->memory);
	int rc = snapshot_open(&p.snap, s->index, e);
	if (!rc) rc = rows_read(&p, e);
	if (!rc) rc = clusters_make(&p, e);
	if (!rc) rc = report_view(&p, least, limit, out, e);
	snapshot_close(p.snap);
	return rc;
}
