/* routes_batches.c: owns /v1/batches: posting, how far one is, its output, its end.
 * Threads: what writes in the write thread, the rest in the search pool; batches.c runs them. */
#include "api/batches.h"
#include "api/route.h"
#include "api/server.h"
#include "base/mem.h"

int batches_post(struct request *r, struct err *e)
{
	struct reader reader;
	cJSON *o = NULL;
	int rc = request_reader(r, NULL, r->service->conf.collection, &reader, e);
	if (!rc && r->body.len > r->service->conf.batches_bytes) {
		r->fail_status = 413;
		rc = err_set(e, E_LIMIT, "the batch has %zu bytes, over batches.bytes_max", r->body.len);
	}
	if (!rc)
		rc = batches_add(r->http->batches, buf_cstr(&r->body), r->body.len, &r->caller, &reader, &o, e);
	if (rc == E_LIMIT)
		r->retry_after = 60;
	if (!rc)
		reply_json(r, 201, o);
	return rc;
}

int batches_get_all(struct request *r, struct err *e)
{
	cJSON *o = NULL;
	int rc = batches_list(r->http->batches, &r->caller, &o, e);
	if (!rc)
		reply_json(r, 200, o);
	return rc;
}

int batches_get_one(struct request *r, struct err *e)
{
	cJSON *o = NULL;
	int rc = batches_get(r->http->batches, &r->caller, r->segments[2], &o, e);
	if (!rc)
		reply_json(r, 200, o);
	return rc;
}

int batches_get_output(struct request *r, struct err *e)
{
	uint64_t start = 0, limit = 0;
	char *text = NULL;
	size_t len;
	int rc = query_u64(r, "start", 0, UINT32_MAX, 0, &start, e);
	if (!rc)
		rc = query_u64(r, "limit", 1, UINT32_MAX, UINT32_MAX, &limit, e);
	if (!rc)
		rc = batches_output(r->http->batches, &r->caller, r->segments[2], (size_t)start, (size_t)limit, &text, &len, e);
	if (rc)
		return rc;
	buf_init(&r->out, len + 1);
	rc = buf_put(&r->out, text, len) ? err_set(e, E_MEMORY, "batch: out of memory") : OK;
	mem_free(text);
	if (!rc)
		reply_static(r, 200, "application/x-ndjson; charset=utf-8", buf_cstr(&r->out), len);
	return rc;
}

int batches_delete_one(struct request *r, struct err *e)
{
	cJSON *o = NULL;
	int rc = batches_delete(r->http->batches, &r->caller, r->segments[2], &o, e);
	if (!rc)
		reply_json(r, 200, o);
	return rc;
}
