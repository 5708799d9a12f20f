/* routes_prompts.c: owns /v1/prompts: the list, a template's text, a new version, which one a task uses, what differs.
 * Threads: admin pool. Failure: as templates.h has it, each with its field. */
#include <string.h>
#include "api/route.h"
#include "api/templates.h"

int prompts_get(struct request *r, struct err *e)
{
	const struct prompt_template *t;
	int rc;
	if (r->segment_n < 3) {
		reply_json(r, 200, templates_view(r->service));
		return OK;
	}
	rc = prompts_find(r->service->prompts, r->segments[2], &t, e);
	if (!rc)
		reply_json(r, 200, template_view(r->service, t, 1));
	return rc;
}

/* {"name": TASK or TASK-VARIANT, "version"?: the next when absent, "text"}. */
int prompts_post(struct request *r, struct err *e)
{
	const struct prompt_template *t;
	const char *name = NULL, *text = NULL, *file;
	int64_t version = 0;
	cJSON *o;
	int rc = body_json(r, &o, e);
	if (!rc && !(rc = field_text(r, o, "name", &name, e)) && !name) {
		r->param = "name";
		rc = err_set(e, E_USAGE, "name: missing");
	}
	if (!rc && strchr(name, '.')) {
		r->param = "name";
		rc = err_set(e, E_USAGE, "name: a name is made of a-z, 0-9, _ and -");
	}
	if (!rc && !(rc = field_text(r, o, "text", &text, e)) && !text) {
		r->param = "text";
		rc = err_set(e, E_USAGE, "text: missing");
	}
	if (!rc)
		rc = field_int(r, o, "version", 1, 1000000, &version, e);
	if (!rc) {
		file = version ? arena_printf(&r->arena, "%s.v%d.txt", name, (int)version) : arena_printf(&r->arena, "%s.txt", name);
		rc = file ? template_add(r->service, file, text, strlen(text), &t, e) : err_set(e, E_MEMORY, "out of memory");
		if (rc == E_FORMAT || rc == E_LIMIT) {
			r->param = "text";
			r->fail_status = 400;
		}
	}
	if (!rc)
		reply_json(r, 201, template_view(r->service, t, 0));
	cJSON_Delete(o);
	return rc;
}

int prompts_use_post(struct request *r, struct err *e)
{
	const struct prompt_template *t;
	int rc = template_use(r->service, r->segments[2], &t, e);
	if (!rc)
		reply_json(r, 200, template_view(r->service, t, 0));
	return rc;
}

int prompts_diff_get(struct request *r, struct err *e)
{
	const char *with = query_text(r, "with");
	cJSON *o;
	int rc;
	r->param = "with";
	if (!with)
		return err_set(e, E_USAGE, "with: missing: the other template");
	r->param = NULL;
	rc = template_diff_view(r->service, r->segments[2], with, &o, e);
	if (!rc)
		reply_json(r, 200, o);
	return rc;
}
