/* routes_search.c: owns POST /v1/search and GET /v1/suggest.
 *
 * Method: fields to retrieve(), its passages to hits. Paging is by place: the cursor is the number of hits before the
 * page. A store that changes between two pages may repeat or leave out a hit. Threads: search pool. */
#include <stdio.h>
#include <string.h>
#include "api/retrieve.h"
#include "api/route.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/utf8.h"

enum { DEPTH_MAX = 1000, SUGGESTIONS = 10 }; /* hits that paging reaches; suggestions a reply */

struct search_ask {
	const char *query;
	struct reader reader;
	int mode, highlight, explain;
	int64_t k;
	size_t skip;
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

static int ask_read(struct request *r, const cJSON *o, struct search_ask *q, struct err *e)
{
	static const char *const lacking[] = { "filter", "facets", "group" };
	const struct conf *c = &r->service->conf;
	const char *mode = NULL, *cursor = NULL;
	*q = (struct search_ask){ .mode = SEARCH_HYBRID, .highlight = 1, .k = c->search_k };
	for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++)
		if (field_lacking(r, o, lacking[i], e))
			return e->status;
	if (field_text(r, o, "query", &q->query, e) || field_text(r, o, "mode", &mode, e) ||
	    field_text(r, o, "cursor", &cursor, e) || field_bool(r, o, "highlight", &q->highlight, e) ||
	    field_bool(r, o, "explain", &q->explain, e) ||
	    field_int(r, o, "k", 1, c->search_k_max, &q->k, e) || request_reader(r, o, c->collection, &q->reader, e))
		return e->status;
	if (!q->query) {
		r->param = "query";
		return err_set(e, E_USAGE, "query: missing");
	}
	if (mode && (q->mode = search_mode_parse(mode)) < 0) {
		r->param = "mode";
		return err_set(e, E_USAGE, "mode: %.40s is not one of hybrid, dense, lexical", mode);
	}
	return cursor ? cursor_read(r, cursor, &q->skip, e) : OK;
}

static cJSON *reply_make(const struct search_ask *q, const struct retrieval *found, uint64_t total, double total_ms)
{
	cJSON *o = cJSON_CreateObject(), *hits = o ? cJSON_AddArrayToObject(o, "hits") : NULL, *times;
	size_t next = q->skip + found->n;
	char cursor[24];
	for (size_t i = 0; hits && i < found->n; i++) {
		cJSON *hit = view_hit(&found->passages[i], q->highlight, q->explain);
		if (!hit || !cJSON_AddItemToArray(hits, hit)) {
			cJSON_Delete(hit);
			hits = NULL;
		}
	}
	snprintf(cursor, sizeof cursor, "%zu", next);
	if (hits && cJSON_AddObjectToObject(o, "facets") && cJSON_AddNumberToObject(o, "total", (double)total) &&
	    (found->n == (size_t)q->k && next < total && next < DEPTH_MAX ? cJSON_AddStringToObject(o, "next_cursor", cursor)
	                                                  : cJSON_AddNullToObject(o, "next_cursor")) &&
	    (times = cJSON_AddObjectToObject(o, "timings_ms")) && cJSON_AddNumberToObject(times, "embed", found->embed_ms) &&
	    cJSON_AddNumberToObject(times, "search", found->search_ms) && cJSON_AddNumberToObject(times, "total", total_ms))
		return o;
	cJSON_Delete(o);
	return NULL;
}

int search_post(struct request *r, struct err *e)
{
	struct search_ask q;
	struct retrieval found = { 0 };
	struct seen_count total;         /* all that paging could rank */
	cJSON *o = NULL;
	int rc = body_json(r, &o, e);
	if (!rc)
		rc = ask_read(r, o, &q, e);
	if (rc)
		goto out;
	rc = retrieve(r->service, &q.reader, q.query, strlen(q.query), (enum search_mode)q.mode, (size_t)q.k, q.skip, &r->arena, &found, e);
	if (rc == E_USAGE)
		r->param = "query";
	if (!rc)
		rc = snapshot_count(found.snapshot, &q.reader, &total, e);
	if (!rc)
		reply_json(r, 200, reply_make(&q, &found, total.chunks, (double)(clock_us() - r->arrived_us) / 1e3));
	retrieve_close(&found);
out:
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
