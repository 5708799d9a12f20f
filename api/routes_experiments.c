/* routes_experiments.c: owns /v1/experiments: the list, one with its figures, a start, a stop, the figures as a table.
 * Threads: admin pool. Failure: as experiment.h has it. */
#include <string.h>
#include "api/experiment.h"
#include "api/route.h"

enum { CSV_BYTES_MAX = 1 << 20 };

int experiments_get(struct request *r, struct err *e)
{
	struct experiments *x = r->service->experiments;
	cJSON *o;
	int rc = r->segment_n > 2 ? experiments_view(x, r->segments[2], &o, e) : experiments_list(x, &o, e);
	if (!rc)
		reply_json(r, 200, o);
	return rc;
}

int experiments_post(struct request *r, struct err *e)
{
	cJSON *o, *made = NULL;
	int rc = body_json(r, &o, e);
	if (rc)
		return rc;
	rc = experiments_start(r->service->experiments, o, &made, e);
	if (rc == E_NOT_FOUND)
		r->fail_status = 400;     /* a prompt, not what the path names */
	if (rc == E_USAGE || rc == E_NOT_FOUND)
		r->param = strncmp(e->msg, "name", 4) ? "arms" : "name";
	if (rc == E_LIMIT)
		r->fail_status = 409;
	if (!rc)
		reply_json(r, 201, made);
	cJSON_Delete(o);
	return rc;
}

int experiments_stop_post(struct request *r, struct err *e)
{
	cJSON *o;
	int rc = experiments_stop(r->service->experiments, r->segments[2], &o, e);
	if (!rc)
		reply_json(r, 200, o);
	return rc;
}

int experiments_delete(struct request *r, struct err *e)
{
	cJSON *o;
	int rc = experiments_remove(r->service->experiments, r->segments[2], &o, e);
	if (!rc)
		reply_json(r, 200, o);
	return rc;
}

int experiments_export(struct request *r, struct err *e)
{
	const char *format = query_text(r, "format");
	int rc;
	if (!format || !strcmp(format, "json"))
		return experiments_get(r, e);
	r->param = "format";
	if (strcmp(format, "csv"))
		return err_set(e, E_USAGE, "format: json or csv");
	r->param = NULL;
	rc = experiments_csv(r->service->experiments, r->segments[2], &r->out, e);
	if (!rc)
		reply_static(r, 200, "text/csv; charset=utf-8", r->out.data, r->out.len);
	return rc;
}
