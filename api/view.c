/* view.c: the contract's JSON shapes (view.h).
 *
 * Each builder adds to a cJSON object and remembers nothing; a failed addition deletes the whole and returns NULL. Byte
 * offsets become code points by counting inside the chunk, whose own code point range is stored.
 * Threads: any. Failure: only memory. */
#include "api/view.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "api/cite.h"
#include "base/hash.h"
#include "base/clock.h"
#include "base/utf8.h"

enum { META_BYTES_MAX = 1 << 20, UNITS_EXPLAINED = 24 };

static cJSON *add_text(cJSON *o, const char *key, const char *s, size_t len)
{
	char *copy = len < 4096 ? NULL : cJSON_malloc(len + 1);
	char small[4096];
	char *at = len < sizeof small ? small : copy;
	if (!at) return NULL;
	memcpy(at, s, len);
	at[len] = 0;
	cJSON *item = cJSON_AddStringToObject(o, key, at);
	if (copy) cJSON_free(copy);
	return item;
}

static cJSON *add_page(cJSON *o, uint32_t page)
{
	return page ? cJSON_AddNumberToObject(o, "page", page) : cJSON_AddNullToObject(o, "page");
}

static cJSON *add_time(cJSON *o, const char *key, int64_t ms)
{
	char text[CLOCK_TEXT_LEN];
	clock_text(text, ms);
	return cJSON_AddStringToObject(o, key, text);
}

/* meta is stored as checked JSON text */
static cJSON *add_meta(cJSON *o, const char *meta)
{
	cJSON *m = NULL;
	if (json_parse(&m, meta, strlen(meta), 1 << 20, "meta", NULL)) m = cJSON_CreateObject();
	if (!m) return NULL;
	if (!cJSON_AddItemToObject(o, "meta", m)) {
		cJSON_Delete(m);
		return NULL;
	}
	return m;
}

static cJSON *whole(cJSON *o, int ok)
{
	if (ok) return o;
	cJSON_Delete(o);
	return NULL;
}

static int add_highlights(cJSON *o, const struct passage *p, int highlight)
{
	cJSON *list = cJSON_AddArrayToObject(o, "highlights");
	int ok = list != NULL;
	size_t at = 0, cp = 0;
	for (size_t i = 0; ok && highlight && i < p->highlight_n; i++) {
		size_t from = p->highlights[i].off - p->chunk.range.off;
		cp += utf8_count(p->text + at, from - at);
		at = from;
		double ends[2] = { p->chunk.start_cp + (double)cp, p->chunk.start_cp + (double)(cp + utf8_count(p->text + from, p->highlights[i].len)) };
		cJSON *pair = cJSON_CreateDoubleArray(ends, 2);
		ok = pair && cJSON_AddItemToArray(list, pair);
		if (!ok) cJSON_Delete(pair);
	}
	return ok;
}

static int add_part(cJSON *parts, const char *name, const struct rank_part *part)
{
	cJSON *o;
	if (!part->rank) return 1;
	o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "name", name) && cJSON_AddNumberToObject(o, "rank", part->rank) &&
		cJSON_AddNumberToObject(o, "score", part->score) && cJSON_AddNumberToObject(o, "part", part->part) &&
		cJSON_AddItemToArray(parts, o))
		return 1;
	cJSON_Delete(o);
	return 0;
}

static int add_exact(cJSON *parts, double part)
{
	cJSON *o;
	if (part == 0) return 1;
	o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "name", "exact") && cJSON_AddNumberToObject(o, "part", part) && cJSON_AddItemToArray(parts, o)) return 1;
	cJSON_Delete(o);
	return 0;
}

static int add_explain(cJSON *o, const struct passage *p)
{
	cJSON *x = cJSON_AddObjectToObject(o, "explain"), *parts = x ? cJSON_AddArrayToObject(x, "parts") : NULL;
	return parts && add_part(parts, "dense", &p->by_vector) && add_part(parts, "lexical", &p->by_words) && add_part(parts, "query_parts", &p->by_parts) && add_part(parts, "reader", &p->by_reader) &&
		add_exact(parts, p->exact) && cJSON_AddNumberToObject(x, "score", p->score);
}

cJSON *view_hit(const struct passage *p, int highlight, int explain)
{
	cJSON *o = cJSON_CreateObject();
	char id[24];
	snprintf(id, sizeof id, "%llu", (unsigned long long)p->chunk.id);
	return whole(o, o && cJSON_AddStringToObject(o, "document_id", p->doc.id) && cJSON_AddNumberToObject(o, "revision", p->doc.revision) &&
		cJSON_AddStringToObject(o, "chunk_id", id) && cJSON_AddStringToObject(o, "title", p->doc.title) &&
		cJSON_AddStringToObject(o, "source", p->doc.source) && add_page(o, p->chunk.page) &&
		cJSON_AddStringToObject(o, "heading", p->chunk.heading) && cJSON_AddNumberToObject(o, "start", p->chunk.start_cp) &&
		cJSON_AddNumberToObject(o, "end", p->chunk.end_cp) && add_text(o, "text", p->text, p->text_len) &&
		cJSON_AddNumberToObject(o, "score", p->score) && add_highlights(o, p, highlight) && add_meta(o, p->doc.meta) &&
		(!explain || add_explain(o, p)));
}

cJSON *view_document(const struct doc *d)
{
	cJSON *o = cJSON_CreateObject();
	cJSON *acl = o ? cJSON_AddArrayToObject(o, "acl") : NULL;
	int ok = acl != NULL;
	for (size_t i = 0; ok && i < d->acl_n; i++) {
		cJSON *g = cJSON_CreateString(d->acl[i]);
		ok = g && cJSON_AddItemToArray(acl, g);
		if (!ok) cJSON_Delete(g);
	}
	ok = ok && cJSON_AddStringToObject(o, "id", d->id) && cJSON_AddStringToObject(o, "title", d->title) &&
		cJSON_AddStringToObject(o, "source", d->source) && cJSON_AddStringToObject(o, "type", d->type) &&
		cJSON_AddStringToObject(o, "collection", d->collection) && cJSON_AddNumberToObject(o, "bytes", (double)d->bytes) &&
		cJSON_AddNumberToObject(o, "chars", (double)d->chars) && cJSON_AddNumberToObject(o, "chunks", d->chunks) && add_meta(o, d->meta) &&
		add_time(o, "added", d->added_ms) && add_time(o, "updated", d->updated_ms) && cJSON_AddNumberToObject(o, "revision", d->revision) &&
		cJSON_AddStringToObject(o, "verdict", doc_verdict_name(d->verdict));
	if (ok && *d->reason) ok = cJSON_AddStringToObject(o, "reason", d->reason) != NULL;
	if (ok && *d->duplicate_of) ok = cJSON_AddStringToObject(o, "duplicate_of", d->duplicate_of) != NULL;
	return whole(o, ok);
}

static int add_hash(cJSON *o, const char *name, const uint8_t hash[32])
{
	char hex[65];
	hex_put(hex, hash, 32);
	return cJSON_AddStringToObject(o, name, hex) != NULL;
}

cJSON *view_erasure(const struct index_erasure *r)
{
	cJSON *o = cJSON_CreateObject();
	return whole(o, o && cJSON_AddStringToObject(o, "receipt", r->receipt) &&
		cJSON_AddStringToObject(o, "document_id", r->document_id) && add_hash(o, "source_sha256", r->source_hash) &&
		add_hash(o, "content_sha256", r->content_hash) && add_time(o, "erased_at", r->erased_ms) &&
		cJSON_AddNumberToObject(o, "snapshot", (double)r->snapshot) &&
		cJSON_AddNumberToObject(o, "bytes_rewritten", (double)r->bytes_rewritten) &&
		cJSON_AddBoolToObject(o, "verified", r->verified) && cJSON_AddNumberToObject(o, "samples", (double)r->samples) &&
		cJSON_AddNumberToObject(o, "samples_of_others", (double)r->shared) &&
		cJSON_AddNumberToObject(o, "duplicates_removed", (double)r->duplicates) &&
		cJSON_AddNumberToObject(o, "notes_removed", (double)r->notes) &&
		cJSON_AddStringToObject(o, "note", "Backups made before still hold it, and so does the file it came from."));
}

cJSON *view_citation(const struct answer *a, const struct answer_citation *c)
{
	const struct passage *p = &a->retrieval.passages[c->passage];
	cJSON *o = cJSON_CreateObject();
	return whole(o, o && cJSON_AddNumberToObject(o, "n", c->n) && cJSON_AddStringToObject(o, "document_id", p->doc.id) &&
		cJSON_AddNumberToObject(o, "revision", p->doc.revision) && cJSON_AddStringToObject(o, "title", p->doc.title) &&
		cJSON_AddStringToObject(o, "source", p->doc.source) && add_page(o, p->chunk.page) && cJSON_AddNumberToObject(o, "start", c->start_cp) &&
		cJSON_AddNumberToObject(o, "end", c->end_cp) && add_text(o, "quote", c->quote, c->quote_len));
}

static int add_short(cJSON *o, const struct answer *a)
{
	const struct answer_citation *c = &a->short_answer;
	if (!a->has_short) return cJSON_AddNullToObject(o, "short") != NULL;
	cJSON *s = cJSON_AddObjectToObject(o, "short");
	return s && add_text(s, "text", c->quote, c->quote_len) && cJSON_AddStringToObject(s, "document_id", a->retrieval.passages[c->passage].doc.id) &&
		cJSON_AddNumberToObject(s, "start", c->start_cp) && cJSON_AddNumberToObject(s, "end", c->end_cp);
}

static int add_sentences(cJSON *o, const struct answer *a)
{
	cJSON *list = cJSON_AddArrayToObject(o, "sentences");
	int ok = list != NULL;
	for (size_t i = 0; ok && i < a->sentence_n; i++) {
		const struct answer_sentence *s = &a->sentences[i];
		cJSON *x = cJSON_CreateObject();
		ok = x && cJSON_AddItemToArray(list, x);
		if (!ok) cJSON_Delete(x);
		cJSON *marks = ok ? cJSON_CreateIntArray(s->citations, s->citation_n) : NULL;
		ok = marks && cJSON_AddNumberToObject(x, "start", (double)utf8_count(a->text, s->start)) &&
			cJSON_AddNumberToObject(x, "end", (double)utf8_count(a->text, s->end)) &&
			cJSON_AddStringToObject(x, "support", s->verified ? "verified" : "unverified") && cJSON_AddItemToObject(x, "citations", marks);
		if (!ok && marks) cJSON_Delete(marks);
	}
	return ok;
}

static int add_citations(cJSON *o, const struct answer *a)
{
	cJSON *list = cJSON_AddArrayToObject(o, "citations");
	int ok = list != NULL;
	for (size_t i = 0; ok && i < a->citation_n; i++) {
		cJSON *x = view_citation(a, &a->citations[i]);
		ok = x && cJSON_AddItemToArray(list, x);
		if (!ok) cJSON_Delete(x);
	}
	return ok;
}

static int add_passages(cJSON *o, const struct answer *a)
{
	cJSON *list = cJSON_AddArrayToObject(o, "passages");
	int ok = list != NULL;
	for (size_t i = 0; ok && i < a->retrieval.n; i++) {
		cJSON *x = view_hit(&a->retrieval.passages[i], 1, 0);
		ok = x && cJSON_AddItemToArray(list, x);
		if (!ok) cJSON_Delete(x);
	}
	return ok;
}

static int add_prompt(cJSON *o, const struct answer *a)
{
	if (!*a->prompt_name) return cJSON_AddNullToObject(o, "prompt") != NULL;
	cJSON *p = cJSON_AddObjectToObject(o, "prompt");
	return p && cJSON_AddStringToObject(p, "name", a->prompt_name) && cJSON_AddNumberToObject(p, "version", a->prompt_version);
}

static int add_plan(cJSON *o, const struct plan *p)
{
	const char *queries[RETRIEVE_QUERIES_MAX];
	for (size_t i = 0; i < p->query_n; i++) queries[i] = p->queries[i].text;
	cJSON *x = cJSON_AddObjectToObject(o, "plan");
	return x && cJSON_AddStringToObject(x, "read_as", p->read_as) && cJSON_AddStringToObject(x, "question", p->question) && view_put_list(x, "parts", p->parts, p->part_n) &&
		view_put_list(x, "queries", queries, p->query_n) && cJSON_AddStringToObject(x, "language", p->language) &&
		cJSON_AddStringToObject(x, "rewritten", p->rewritten_by);
}

static int add_experiment(cJSON *o, const struct answer *a)
{
	if (!*a->experiment) return 1;
	cJSON *x = cJSON_AddObjectToObject(o, "experiment");
	return x && cJSON_AddStringToObject(x, "name", a->experiment) && cJSON_AddStringToObject(x, "arm", a->arm);
}

cJSON *view_put_rounded(cJSON *o, const char *key, double x)
{
	return cJSON_AddNumberToObject(o, key, round(x * 1000) / 1000);
}

/* A unit as the choice saw it; what was chosen among. */
static cJSON *unit_explained(const struct answer *a, const struct unit *u)
{
	const struct passage *p = &a->retrieval.passages[u->passage];
	struct answer_citation c;
	cJSON *o = cJSON_CreateObject();
	cite_range(a, u->passage, u->range, &c);
	int ok = o && cJSON_AddStringToObject(o, "document_id", p->doc.id) && cJSON_AddNumberToObject(o, "start", c.start_cp) &&
		cJSON_AddNumberToObject(o, "end", c.end_cp) && add_text(o, "text", u->text, u->len) &&
		cJSON_AddNumberToObject(o, "passage", (double)u->passage) && view_put_rounded(o, "score", u->score) &&
		view_put_rounded(o, "cosine", u->cosine) && view_put_rounded(o, "coverage", u->coverage) &&
		view_put_rounded(o, "passage_cosine", p->cosine) && view_put_rounded(o, "passage_score", p->score);
	if (ok && u->answer_n)
		ok = view_put_rounded(o, "span", u->answers[0].logit) &&
			add_text(o, "answer", p->text + (u->answers[0].range.off - p->chunk.range.off), u->answers[0].range.len);
	if (ok && u->instead) ok = cJSON_AddStringToObject(o, "superseded_by", u->instead) != NULL;
	if (ok && p->reading)
		ok = view_put_rounded(o, "answerable", p->reading->answerable) && view_put_rounded(o, "relevance", p->reading->relevance);
	return whole(o, ok);
}

static int add_units(cJSON *o, const struct answer *a)
{
	const struct selection *sel = a->selection;
	cJSON *list = cJSON_AddArrayToObject(o, "units");
	for (size_t i = 0; list && sel && i < sel->unit_n && i < UNITS_EXPLAINED; i++) {
		cJSON *x = unit_explained(a, &sel->units[sel->order[i]]);
		if (x && cJSON_AddItemToArray(list, x)) continue;
		cJSON_Delete(x);
		return 0;
	}
	return list != NULL;
}

static int add_evidence(cJSON *o, const struct answer *a)
{
	const struct evidence *e = &a->evidence;
	cJSON *v = cJSON_AddObjectToObject(o, "evidence");
	return v && cJSON_AddBoolToObject(v, "read", e->read) && cJSON_AddBoolToObject(v, "judged", e->judged) &&
		view_put_rounded(v, "answerable", a->answerable) && view_put_rounded(v, "score", e->score) && view_put_rounded(v, "margin", e->margin) &&
		view_put_rounded(v, "cosine", e->cosine) && view_put_rounded(v, "coverage", e->coverage) && view_put_rounded(v, "passage", e->passage) &&
		view_put_rounded(v, "span", e->span) && view_put_rounded(v, "reader_answerable", e->answerable) &&
		view_put_rounded(v, "reader_relevance", e->relevance) && view_put_rounded(v, "judge", e->judge) &&
		view_put_rounded(v, "support", e->support) && view_put_rounded(v, "refusal", e->refusal) && (!a->explain || add_units(v, a));
}

static int add_figures(cJSON *o, const struct answer *a)
{
	if (!add_evidence(o, a)) return 0;
	cJSON *u = cJSON_AddObjectToObject(o, "usage"), *t = cJSON_AddObjectToObject(o, "timings_ms");
	return u && t && cJSON_AddNumberToObject(u, "prompt_tokens", (double)a->prompt_tokens) &&
		cJSON_AddNumberToObject(u, "completion_tokens", (double)a->completion_tokens) &&
		cJSON_AddNumberToObject(u, "reused_tokens", (double)a->reused_tokens) && cJSON_AddNumberToObject(u, "cost", a->cost) &&
		view_put_rounded(t, "understand", a->plan.ms) && view_put_rounded(t, "embed", a->embed_ms) && view_put_rounded(t, "search", a->search_ms) &&
		view_put_rounded(t, "rerank", a->rerank_ms) && view_put_rounded(t, "judge", a->judge_ms) && view_put_rounded(t, "first_sentence", a->first_sentence_ms) &&
		view_put_rounded(t, "generate", a->generate_ms) && view_put_rounded(t, "verify", a->verify_ms) &&
		view_put_rounded(t, "total", a->total_ms);
}

cJSON *view_answer(const struct answer *a)
{
	cJSON *o = cJSON_CreateObject();
	int ok = o && cJSON_AddStringToObject(o, "id", a->id) && cJSON_AddStringToObject(o, "question", a->question) &&
		add_text(o, "answer", a->text, a->text_len) && cJSON_AddStringToObject(o, "status", answer_status_name(a->status));
	if (ok && *a->reason) ok = cJSON_AddStringToObject(o, "reason", a->reason) != NULL;
	ok = ok && cJSON_AddStringToObject(o, "style", a->style == STYLE_GENERATE ? "generate" : "extractive") && add_short(o, a) &&
		add_sentences(o, a) && add_citations(o, a) && view_put_rounded(o, "confidence", a->confidence) && add_passages(o, a) &&
		add_prompt(o, a) && add_plan(o, &a->plan) && add_experiment(o, a) && (*a->model ? cJSON_AddStringToObject(o, "model", a->model) : cJSON_AddNullToObject(o, "model")) &&
		cJSON_AddNumberToObject(o, "snapshot", (double)a->retrieval.seq) && (*a->cached ? cJSON_AddStringToObject(o, "cached", a->cached) : cJSON_AddFalseToObject(o, "cached")) && add_figures(o, a);
	return whole(o, ok);
}

cJSON *view_summary(const struct ingest_summary *s)
{
	cJSON *o = cJSON_CreateObject();
	int ok = o != NULL;
	for (int v = DOC_ADDED; v <= DOC_FAILED && ok; v++)
		ok = cJSON_AddNumberToObject(o, doc_verdict_name(v), (double)s->by_verdict[v]) != NULL;
	return whole(o, ok && cJSON_AddNumberToObject(o, "files", (double)s->files) && cJSON_AddNumberToObject(o, "chunks", (double)s->chunks) &&
		cJSON_AddNumberToObject(o, "chars", (double)s->chars) && cJSON_AddNumberToObject(o, "bytes", (double)s->bytes) &&
		view_put_rounded(o, "elapsed_ms", s->elapsed_ms));
}

/* One row a status: HTTP status, exit code. */
static const struct { int status, http, exit; } codes[] = {
	{ OK, 200, 0 },
	{ E_USAGE, 400, 2 },
	{ E_NOT_FOUND, 404, 3 },
	{ E_IO, 500, 1 },
	{ E_FULL, 507, 1 },
	{ E_CORRUPT, 500, 4 },
	{ E_FORMAT, 422, 1 },
	{ E_LIMIT, 429, 5 },
	{ E_BUSY, 503, 5 },
	{ E_KEY, 401, 5 },
	{ E_DENIED, 403, 5 },
	{ E_CONFLICT, 409, 5 },
	{ E_UNSUPPORTED, 422, 2 },
	{ E_CANCELLED, 503, 5 },
	{ E_MEMORY, 500, 1 },
	{ E_BUG, 500, 70 },
};

static size_t code_row(int status)
{
	size_t n = sizeof codes / sizeof codes[0];
	for (size_t i = 0; i < n; i++)
		if (codes[i].status == status) return i;
	return n - 1;
}

int view_http_status(int status)
{
	return codes[code_row(status)].http;
}

int view_exit_code(int status)
{
	return codes[code_row(status)].exit;
}

/* OpenAI's type of an error. */
static const char *error_type(int http)
{
	return http == 401 ? "authentication_error" : http == 403 ? "permission_error" : http == 429 ? "rate_limit_error" :
		http < 500 ? "invalid_request_error" : "server_error";
}

cJSON *view_error(const struct err *e, const char *param, int http)
{
	cJSON *o = cJSON_CreateObject(), *x = o ? cJSON_AddObjectToObject(o, "error") : NULL;
	return whole(o, x && cJSON_AddStringToObject(x, "type", error_type(http ? http : view_http_status(e->status))) &&
		cJSON_AddStringToObject(x, "code", status_name(e->status)) && cJSON_AddStringToObject(x, "message", e->msg) &&
		(param ? cJSON_AddStringToObject(x, "param", param) : cJSON_AddNullToObject(x, "param")));
}

/* ---- members ---- */

int view_put_list(cJSON *o, const char *key, const char *const *list, size_t n)
{
	cJSON *a = cJSON_AddArrayToObject(o, key);
	int ok = a != NULL;
	for (size_t i = 0; ok && i < n; i++) {
		cJSON *s = cJSON_CreateString(list[i]);
		ok = s && cJSON_AddItemToArray(a, s);
		if (!ok)
			cJSON_Delete(s);
	}
	return ok;
}

int view_put_acl(cJSON *o, const char *const *acl, size_t n)
{
	return acl ? view_put_list(o, "acl", acl, n) : cJSON_AddNullToObject(o, "acl") != NULL;
}

int view_put_meta(cJSON *o, const char *meta)
{
	cJSON *m = NULL;
	if (!meta)
		return cJSON_AddNullToObject(o, "meta") != NULL;
	if (json_parse(&m, meta, strlen(meta), META_BYTES_MAX, "meta", NULL))
		return 0;
	if (cJSON_AddItemToObject(o, "meta", m))
		return 1;
	cJSON_Delete(m);
	return 0;
}

int view_put_time(cJSON *o, const char *key, int64_t ms)
{
	char text[CLOCK_TEXT_LEN];
	clock_text(text, ms);
	return (ms ? cJSON_AddStringToObject(o, key, text) : cJSON_AddNullToObject(o, key)) != NULL;
}

int view_put_error(cJSON *o, const char *code, const char *message)
{
	cJSON *x = code ? cJSON_AddObjectToObject(o, "error") : cJSON_AddNullToObject(o, "error");
	return x && (!code || (cJSON_AddStringToObject(x, "code", code) && cJSON_AddStringToObject(x, "message", message)));
}
