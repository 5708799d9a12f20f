/* routes_admin.c: owns the page's files, liveness, readiness and metrics.
 *
 * Method: the page is carried in the program (base/embedded.h). Gauges are read when they are asked for. Threads: the
 * page and /healthz in the connection's thread, the rest in the admin pool, so that they answer while other queues are
 * full. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "api/figures.h"
#include "api/job.h"
#include "api/openapi.h"
#include "api/route.h"
#include "api/server.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/embedded.h"
#include "base/file.h"
#include "base/stat.h"

static const char *page_type(const char *name)
{
	const char *ext = path_ext(name);
	if (!strcmp(ext, "html"))
		return "text/html; charset=utf-8";
	if (!strcmp(ext, "css"))
		return "text/css; charset=utf-8";
	if (!strcmp(ext, "js"))
		return "text/javascript; charset=utf-8";
	if (!strcmp(ext, "svg"))
		return "image/svg+xml";
	return "application/octet-stream";
}

int page_get(struct request *r, struct err *e)
{
	const char *name = r->segment_n ? r->segments[1] : "index.html";
	for (const struct embedded_file *f = www_files; f->name; f++) {
		if (strcmp(f->name, name))
			continue;
		r->is_page = 1;
		reply_static(r, 200, page_type(name), f->data, f->len);
		return OK;
	}
	return err_set(e, E_NOT_FOUND, "no such file: %.80s", name);
}

int healthz_get(struct request *r, struct err *e)
{
	static const char ok[] = "{\"status\":\"ok\"}\n";
	(void)e;
	reply_static(r, 200, "application/json", ok, sizeof ok - 1);
	return OK;
}

/* "caller": who the service takes the asker for, {"role","groups":[…] or "*"}, to writers with "acl_default", what a
 * document gets that names no groups; null: a key is needed, and none that is good was shown. */
static int caller_add(cJSON *o, const struct caller *c, const struct ingest_acl *acl)
{
	cJSON *x, *groups, *unset = NULL;
	if (c->role == ROLE_NONE)
		return cJSON_AddNullToObject(o, "caller") != NULL;
	x = cJSON_AddObjectToObject(o, "caller");
	groups = c->all_groups ? cJSON_CreateString("*") : cJSON_CreateStringArray(c->groups, (int)c->group_n);
	if (!x || !cJSON_AddStringToObject(x, "role", role_name(c->role)) || !cJSON_AddItemToObject(x, "groups", groups)) {
		cJSON_Delete(groups);
		return 0;
	}
	if (!caller_may(c, ROLE_WRITE))
		return 1;
	unset = cJSON_CreateStringArray(acl->unset, (int)acl->unset_n);
	if (cJSON_AddItemToObject(x, "acl_default", unset))
		return 1;
	cJSON_Delete(unset);
	return 0;
}

/* How much there is, is for those who see it all. */
static cJSON *ready_make(const struct request *r, const struct index_stats *st)
{
	const struct http *h = r->http;
	struct embedder *m;
	const char *embedder = service_embedder(r->service, &m, NULL) ? "" : embedder_info(m)->name;
	const char *generator = h->engine ? generator_info(engine_generator(h->engine))->name : NULL;
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddStringToObject(o, "status", "ready") && cJSON_AddStringToObject(o, "embedder", embedder) &&
	    (generator ? cJSON_AddStringToObject(o, "generator", generator) : cJSON_AddNullToObject(o, "generator")) &&
	    caller_add(o, &r->caller, &r->service->ingest_limits.acl) &&
	    (!r->caller.all_groups || (cJSON_AddNumberToObject(o, "documents", (double)st->documents) &&
	    cJSON_AddNumberToObject(o, "chunks", (double)st->chunks) && cJSON_AddNumberToObject(o, "snapshot", (double)st->seq))))
		return o;
	cJSON_Delete(o);
	return NULL;
}

int readyz_get(struct request *r, struct err *e)
{
	struct http *h = r->http;
	int state = atomic_load(&h->state), rc;
	struct index_stats st;
	if (state != HTTP_READY) {
		r->fail_status = 503;
		return err_set(e, E_BUSY, state == HTTP_STARTING ? "the service is starting" : "the service is shutting down");
	}
	if ((rc = service_failure(r->service, e)) || (rc = index_stats(r->service->index, &st, e))) {
		r->fail_status = 503;
		return rc;
	}
	reply_json(r, 200, ready_make(r, &st));
	return OK;
}

/* Resident memory of this process in bytes; 0 when /proc does not say. */
static double resident_bytes(void)
{
	unsigned long long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f && fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void gauges_queues(struct http *h)
{
	char label[40];
	for (int p = POOL_ADMIN; p < POOL_N; p++) {
		snprintf(label, sizeof label, "pool=\"%s\"", pool_name((enum pool_kind)p));
		stat_gauge("footnote_jobs_waiting", label, (double)jobs_waiting(h->jobs, (enum pool_kind)p));
		stat_gauge("footnote_jobs_running", label, (double)jobs_running(h->jobs, (enum pool_kind)p));
	}
	if (atomic_load(&h->state) != HTTP_STARTING)
		stat_gauge("footnote_engine_waiting", "", h->engine ? (double)engine_waiting(h->engine) : 0);
	stat_gauge("footnote_http_requests_open", "", (double)atomic_load(&h->requests));
	stat_gauge("footnote_http_body_bytes", "", (double)atomic_load(&h->body_bytes));
}

static void gauges_store(const struct index_stats *st)
{
	stat_gauge("footnote_documents", "", (double)st->documents);
	stat_gauge("footnote_documents_without_text", "", (double)st->documents_without_text);
	stat_gauge("footnote_chunks", "", (double)st->chunks);
	stat_gauge("footnote_vectors", "", (double)st->vectors);
	stat_gauge("footnote_store_file_bytes", "", (double)st->file_bytes);
	stat_gauge("footnote_store_used_bytes", "", (double)st->used_bytes);
	stat_gauge("footnote_graph_vectors", "", (double)st->graph_vectors);
	stat_gauge("footnote_graph_tail_vectors", "", (double)st->tail_vectors);
	stat_gauge("footnote_graph_tombstones", "", (double)st->tombstones);
	stat_gauge("footnote_vector_memory_bytes", "", (double)st->memory_bytes);
	stat_gauge("footnote_words_memory_bytes", "", (double)st->words_bytes);
	stat_gauge("footnote_documents_memory_bytes", "", (double)st->docs_bytes);
	stat_gauge("footnote_snapshot", "", (double)st->seq);
}

/* Bytes of a GPU's memory; of engines they tell themselves. */
static void gauges_devices(struct service *s)
{
	struct embedder *embedder;
	struct reader_model *reader;
	char name[64];
	service_reader_open(s, &reader);
	stat_gauge("footnote_embedder_device_bytes", "", service_embedder(s, &embedder, NULL) ? 0 : (double)embedder_device_bytes(embedder));
	stat_gauge("footnote_reader_device_bytes", "", reader ? (double)reader_device_bytes(reader) : 0);
	stat_gauge("footnote_search_device_bytes", "", s->scanner.scan ? (double)scan_device(s->scanner.scan, name) : 0);
}

int metrics_get(struct request *r, struct err *e)
{
	struct index_stats st;
	int rc = index_stats(r->service->index, &st, e);
	if (rc)
		return rc;
	gauges_queues(r->http);
	gauges_store(&st);
	gauges_devices(r->service);
	stat_gauge("footnote_ready", "", atomic_load(&r->http->state) == HTTP_READY);
	stat_gauge("process_resident_memory_bytes", "", resident_bytes());
	stat_gauge("process_start_time_seconds", "", (double)r->service->started_ms / 1e3);
	if ((rc = stat_print(&r->out)))
		return err_set(e, rc, "metrics: do not fit");
	reply_static(r, 200, "text/plain; version=0.0.4; charset=utf-8", r->out.data, r->out.len);
	return OK;
}

int openapi_get(struct request *r, struct err *e)
{
	cJSON *o;
	int rc = openapi_make(&o, e);
	if (!rc)
		reply_json(r, 200, o);
	return rc;
}

static int queues_put(cJSON *all, struct http *h)
{
	cJSON *o = cJSON_AddObjectToObject(all, "queues");
	for (int p = POOL_ADMIN; o && p < POOL_N; p++) {
		cJSON *x = cJSON_AddObjectToObject(o, pool_name((enum pool_kind)p));
		if (!x || !cJSON_AddNumberToObject(x, "waiting", (double)jobs_waiting(h->jobs, (enum pool_kind)p)) ||
		    !cJSON_AddNumberToObject(x, "running", (double)jobs_running(h->jobs, (enum pool_kind)p)))
			return 0;
	}
	return o && cJSON_AddNumberToObject(o, "engine", h->engine ? (double)engine_waiting(h->engine) : 0) &&
		view_put_time(all, "started", h->service->started_ms);
}

int stats_get(struct request *r, struct err *e)
{
	cJSON *o;
	int rc = figures_view(r->service, &o, e);
	if (rc)
		return rc;
	if (!queues_put(o, r->http)) {
		cJSON_Delete(o);
		o = NULL;
	}
	reply_json(r, 200, o);
	return OK;
}

/* {"file": path on the service's own disk}: never replaces a file. */
int backup_post(struct request *r, struct err *e)
{
	const char *file = NULL;
	uint64_t bytes;
	cJSON *body, *o;
	int rc = body_json(r, &body, e);
	if (rc)
		return rc;
	rc = field_text(r, body, "file", &file, e);
	if (!rc && (!file || *file != '/')) {
		r->param = "file";
		rc = err_set(e, E_USAGE, "file: an absolute path on the service's machine");
	}
	if (!rc && !r->caller.all_groups)
		rc = err_set(e, E_DENIED, "a backup holds every document, and this key does not see all of them");
	if (!rc)
		rc = index_backup(r->service->index, file, &bytes, e);
	o = rc ? NULL : cJSON_CreateObject();
	if (o && !(cJSON_AddStringToObject(o, "file", file) && cJSON_AddNumberToObject(o, "bytes", (double)bytes))) {
		cJSON_Delete(o);
		o = NULL;
	}
	cJSON_Delete(body);
	if (!rc)
		reply_json(r, 201, o);
	return rc;
}
