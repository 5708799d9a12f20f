/* routes_search.c: owns POST /v1/search and GET /v1/suggest.
 *
 * Method: fields to retrieve(), its passages to hits; facets count documents within the filter, of the same state of the
 * store. Paging is by place: the cursor is the number of hits before the page. A store that changes between two pages may
 * repeat or leave out a hit. Threads: search pool. */
#include <stdio.h>
#include <string.h>
#include "api/retrieve.h"
#include "api/route.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "index/filter.h"
#include "index/phrase.h"

enum { DEPTH_MAX = 1000, SUGGESTIONS = 10, FACETS_MAX = 20 }; /* hits that paging reaches; suggestions a reply; keys a search */

struct search_ask {
	const char *query;
	struct reader reader;
	struct filter *filter;           /* owned */
	struct search_want want;
	const char **facets; size_t facet_n;
	int highlight, explain;
};

struct search_found {
	struct retrieval hits;
	struct facet facets[FACETS_MAX];
	uint64_t total;                  /* hits of all pages */
};

static int cursor_read(struct request *r, const char *s, size_t *skip, struct err *e)
{
	size_t v = 0, n = strlen(s);
	for (size_t i = 0; i < n && n <= 4; i++) {
		if (s[i] < '0' || s[i] > '9')
			n = 9;
		v = v * 10 + (size_t)(s[i] - '0');
	}
	if (n == 0 || n > 4 || v >= DEPTH_MAX) {
		r->param = "cursor";
		return err_set(e, E_USAGE, "cursor: not one that this service gave");
	}
	*skip = v;
	return OK;
}

/* Field by field; q->filter is to be freed also after a failure. */
static int ask_read(struct request *r, const cJSON *o, struct search_ask *q, struct err *e)
{
	const struct conf *c = &r->service->conf;
	const char *mode = "hybrid", *cursor = NULL, *group = NULL;
	int64_t k = c->search_k;
	int m;
	*q = (struct search_ask){ .highlight = 1 };
	if (field_text(r, o, "query", &q->query, e) || field_text(r, o, "mode", &mode, e) ||
	    field_text(r, o, "cursor", &cursor, e) || field_bool(r, o, "highlight", &q->highlight, e) ||
	    field_bool(r, o, "explain", &q->explain, e) ||
	    field_text(r, o, "group", &group, e) || field_texts(r, o, "facets", FACETS_MAX, &q->facets, &q->facet_n, e) ||
	    field_int(r, o, "k", 1, c->search_k_max, &k, e) || request_reader(r, o, c->collection, &q->reader, e) ||
	    request_filter(r, o, &q->reader, &q->filter, e))
		return e->status;
	if (!q->query) {
		r->param = "query";
		return err_set(e, E_USAGE, "query: missing");
	}
	if (phrases_parse(&q->reader.phrases, q->query, strlen(q->query), &r->arena, e)) {
		r->param = "query";
		return e->status;
	}
	if ((m = search_mode_parse(mode)) < 0) {
		r->param = "mode";
		return err_set(e, E_USAGE, "mode: %.40s is not one of hybrid, dense, lexical", mode);
	}
	if (group && *group && strcmp(group, "document")) {
		r->param = "group";
		return err_set(e, E_USAGE, "group: %.40s is not document", group);
	}
	q->want = (struct search_want){ .mode = (enum search_mode)m, .k = (size_t)k, .by_document = group && *group };
	return cursor ? cursor_read(r, cursor, &q->want.skip, e) : OK;
}

/* Hits of all pages. Where the last came in sight they are counted; else all that the reader sees could be ranked. */
static int total_count(const struct search_ask *q, struct search_found *f, struct err *e)
{
	struct seen_count seen;
	int rc = OK;
	f->total = f->hits.end;
	if (f->hits.end == SIZE_MAX && !(rc = snapshot_count(f->hits.snapshot, &q->reader, &seen, e)))
		f->total = q->want.by_document ? seen.documents : seen.chunks;
	return rc;
}

static cJSON *facets_json(const struct facet *facets, size_t n)
{
	cJSON *o = cJSON_CreateObject(), *values = o;
	for (size_t i = 0; values && i < n; i++) {
		values = cJSON_GetObjectItemCaseSensitive(o, facets[i].key) ? o : cJSON_AddObjectToObject(o, facets[i].key);
		for (size_t v = 0; values && values != o && v < facets[i].n; v++)
			if (!cJSON_AddNumberToObject(values, facets[i].values[v].text, (double)facets[i].values[v].documents))
				values = NULL;
	}
	if (values)
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* Says why a search with phrases found nothing; 0: out of memory. */
static int remarks_add(cJSON *o, const struct search_ask *q, size_t hits, struct arena *a)
{
	const char *remark = hits ? NULL : phrases_remark(q->reader.phrases, a);
	cJSON *list = remark ? cJSON_AddArrayToObject(o, "remarks") : NULL, *one = list ? cJSON_CreateString(remark) : NULL;
	if (one && cJSON_AddItemToArray(list, one))
		return 1;
	cJSON_Delete(one);
	return hits || !q->reader.phrases;
}

static cJSON *reply_make(const struct search_ask *q, const struct search_found *f, double total_ms, struct arena *a)
{
	const struct retrieval *found = &f->hits;
	cJSON *o = cJSON_CreateObject(), *hits = o ? cJSON_AddArrayToObject(o, "hits") : NULL, *times;
	cJSON *facets = hits ? facets_json(f->facets, q->facet_n) : NULL;
	size_t next = q->want.skip + found->n;
	char cursor[24];
	if (!facets || !cJSON_AddItemToObject(o, "facets", facets)) {
		cJSON_Delete(facets);
		hits = NULL;
	}
	for (size_t i = 0; hits && i < found->n; i++) {
		cJSON *hit = view_hit(&found->passages[i], q->highlight, q->explain);
		if (!hit || !cJSON_AddItemToArray(hits, hit)) {
			cJSON_Delete(hit);
			hits = NULL;
		}
	}
	snprintf(cursor, sizeof cursor, "%zu", next);
	if (hits && remarks_add(o, q, next, a) && cJSON_AddNumberToObject(o, "total", (double)f->total) &&
	    (found->n == q->want.k && next < f->total && next < DEPTH_MAX ? cJSON_AddStringToObject(o, "next_cursor", cursor)
	                                                  : cJSON_AddNullToObject(o, "next_cursor")) &&
	    (times = cJSON_AddObjectToObject(o, "timings_ms")) && view_put_rounded(times, "embed", found->embed_ms) &&
	    view_put_rounded(times, "search", found->search_ms) && view_put_rounded(times, "rerank", found->rerank_ms) && view_put_rounded(times, "total", total_ms))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* Hits, facets and total, of one state of the store. */
static int search_all(struct request *r, const struct search_ask *q, struct search_found *f, struct err *e)
{
	int rc = retrieve(r->service, &q->reader, q->query, strlen(q->query), &q->want, &r->arena, &f->hits, e);
	if (rc == E_USAGE)
		r->param = "query";
	if (!rc && q->facet_n) {
		rc = snapshot_facets(f->hits.snapshot, &q->reader, q->facets, q->facet_n, (size_t)r->service->conf.search_facet_values,
			&r->arena, f->facets, e);
		if (rc == E_USAGE)
			r->param = "facets";
	}
	return rc ? rc : total_count(q, f, e);
}

int search_post(struct request *r, struct err *e)
{
	struct search_ask q = { 0 };
	struct search_found f = { 0 };
	cJSON *o = NULL;
	int rc = body_json(r, &o, e);
	if (!rc)
		rc = ask_read(r, o, &q, e);
	if (!rc)
		rc = search_all(r, &q, &f, e);
	if (!rc)
		reply_json(r, 200, reply_make(&q, &f, (double)(clock_us() - r->arrived_us) / 1e3, &r->arena));
	retrieve_close(&f.hits);
	filter_free(q.filter);
	cJSON_Delete(o);
	return rc;
}

static cJSON *suggestions_json(const struct suggestion *list, size_t n)
{
	cJSON *o = cJSON_CreateObject(), *all = o ? cJSON_AddArrayToObject(o, "suggestions") : NULL;
	for (size_t i = 0; all && i < n; i++) {
		cJSON *one = cJSON_CreateObject();
		if (!one || !cJSON_AddStringToObject(one, "text", list[i].text) || !cJSON_AddNumberToObject(one, "score", list[i].score) ||
		    !cJSON_AddItemToArray(all, one)) {
			cJSON_Delete(one);
			all = NULL;
		}
	}
	if (all)
		return o;
	cJSON_Delete(o);
	return NULL;
}

int suggest_get(struct request *r, struct err *e)
{
	struct suggestion list[SUGGESTIONS];
	const char *q = query_text(r, "q");
	struct snapshot *s;
	struct reader reader;
	size_t n = 0;
	int rc;
	r->param = "q";
	if (!q)
		return err_set(e, E_USAGE, "q: missing");
	if (!utf8_valid(q, strlen(q)))
		return err_set(e, E_USAGE, "q: not valid UTF-8");
	if (strlen(q) > SUGGEST_QUERY_MAX)
		return err_set(e, E_USAGE, "q: over %d bytes", SUGGEST_QUERY_MAX);
	r->param = NULL;
	if (request_reader(r, NULL, r->service->conf.collection, &reader, e))
		return e->status;
	if ((rc = snapshot_open(&s, r->service->index, e)))
		return rc;
	rc = snapshot_suggest(s, &reader, q, strlen(q), SUGGESTIONS, &r->arena, list, &n, e);
	if (!rc)
		reply_json(r, 200, suggestions_json(list, n));
	snapshot_close(s);
	return rc;
}
