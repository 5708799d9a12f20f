/* cmd_conf.c: `footnote conf`: every setting with the value in force, as a service.conf or, with --json, an object a
 * line. Threads: runs in its caller's. Failure: only bad usage and output. */
#include "api/command.h"
#include "api/conf.h"

enum { PAGE_BYTES_MAX = 1 << 20 };

static int rows_json(struct command_call *c, struct err *e)
{
	struct conf_row row;
	int rc = OK;
	for (size_t i = 0; !rc && conf_row_at(c->conf, i, &row); i++) {
		cJSON *o = cJSON_CreateObject();
		if (!o || !cJSON_AddStringToObject(o, "key", row.key) || !cJSON_AddStringToObject(o, "value", row.value) ||
			!cJSON_AddStringToObject(o, "default", row.unset) || !cJSON_AddStringToObject(o, "help", row.help)) {
			cJSON_Delete(o);
			o = NULL;
		}
		rc = command_json(c, o, e);
	}
	return rc;
}

int cmd_conf(struct command_call *c)
{
	struct buf page;
	struct err e = {0};
	int rc = options_parse(c, NULL, 0, &e);
	if (!rc && c->argc != 1) rc = err_set(&e, E_USAGE, "conf: takes no argument");
	if (rc) return command_misused(c, &e);
	if (c->json) {
		rc = rows_json(c, &e);
		return rc ? command_fail(c, &e) : EXIT_DONE;
	}
	buf_init(&page, PAGE_BYTES_MAX);
	rc = conf_print(c->conf, &page);
	if (rc) err_set(&e, rc, "conf: out of memory");
	else out_printf(c->out, 1, "%s", buf_cstr(&page));
	buf_clear(&page);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}
