/* cmd_experiments.c: `footnote experiments list|start|stop|show|export|remove`, in the process that owns the data folder,
 * so that a running service follows at once.
 * Threads: runs in its caller's. Failure: an error line and the exit code of its kind. */
#include <stdio.h>
#include <string.h>
#include "api/command.h"
#include "api/experiment.h"
#include "base/file.h"

enum { FILE_BYTES_MAX = 1 << 20, CSV_BYTES_MAX = 1 << 20 };

static void rate_line(struct command_call *c, const char *what, const cJSON *x)
{
	if (cJSON_IsObject(x))
		out_printf(c->out, 1, ", %s %.1f %% (%.1f to %.1f)", what, 100 * json_num(x, "rate", 0), 100 * json_num(x, "low", 0),
			100 * json_num(x, "high", 0));
}

static void experiment_lines(struct command_call *c, const cJSON *o)
{
	const cJSON *a;
	out_printf(c->out, 1, "%s  %s since %.16s\n", json_str(o, "name", ""), json_str(o, "status", ""),
		json_str(o, *json_str(o, "stopped", "") ? "stopped" : "started", ""));
	cJSON_ArrayForEach(a, json_get(o, "arms")) {
		const cJSON *t = json_get(a, "latency_ms"), *f = json_get(a, "feedback");
		out_printf(c->out, 1, "  %-16s %5.1f %%  %.0f questions", json_str(a, "name", ""), json_num(a, "share", 0), json_num(a, "requests", 0));
		rate_line(c, "answered", json_get(a, "answered_rate"));
		rate_line(c, "refused", json_get(a, "abstained_rate"));
		if (cJSON_IsNumber(json_get(t, "p50")))
			out_printf(c->out, 1, ", p50 %.0f ms, p95 %.0f ms", json_num(t, "p50", 0), json_num(t, "p95", 0));
		out_printf(c->out, 1, ", rated +%.0f -%.0f\n", json_num(f, "up", 0), json_num(f, "down", 0));
	}
}

static int tell(struct command_call *c, cJSON *o, struct err *e)
{
	if (c->json) return command_json(c, o, e);
	if (!c->quiet) experiment_lines(c, o);
	cJSON_Delete(o);
	return OK;
}

static int list(struct command_call *c, struct err *e)
{
	cJSON *all, *x;
	int rc = experiments_list(c->service->experiments, &all, e);
	if (rc) return rc;
	if (!c->json && !c->quiet && !cJSON_GetArraySize(json_get(all, "experiments"))) out_printf(c->out, 1, "no experiments\n");
	cJSON_ArrayForEach(x, json_get(all, "experiments"))
		if (!rc) rc = tell(c, cJSON_Duplicate(x, 1), e);
	cJSON_Delete(all);
	return rc;
}

static int start(struct command_call *c, struct err *e)
{
	cJSON *o = NULL, *made = NULL;
	struct buf path, text;
	int rc;
	buf_init(&path, 8192);
	buf_init(&text, FILE_BYTES_MAX);
	rc = path_absolute(&path, c->cwd, c->argv[2], e);
	if (!rc) rc = file_read(buf_cstr(&path), &text, e);
	if (!rc && json_parse(&o, buf_cstr(&text), text.len, FILE_BYTES_MAX, c->argv[2], e)) rc = e->status = E_USAGE;
	if (!rc) rc = experiments_start(c->service->experiments, o, &made, e);
	if (!rc) rc = tell(c, made, e);
	cJSON_Delete(o);
	buf_clear(&path);
	buf_clear(&text);
	return rc;
}

static int named(struct command_call *c, int (*act)(struct experiments *, const char *, cJSON **, struct err *), struct err *e)
{
	cJSON *o;
	int rc = act(c->service->experiments, c->argv[2], &o, e);
	return rc ? rc : tell(c, o, e);
}

static int stop(struct command_call *c, struct err *e) { return named(c, experiments_stop, e); }
static int show(struct command_call *c, struct err *e) { return named(c, experiments_view, e); }
static int removal(struct command_call *c, struct err *e) { return named(c, experiments_remove, e); }

static int export_rows(struct command_call *c, struct err *e)
{
	struct buf out;
	int rc;
	if (c->json) return named(c, experiments_view, e);
	buf_init(&out, CSV_BYTES_MAX);
	rc = experiments_csv(c->service->experiments, c->argv[2], &out, e);
	if (!rc) out_printf(c->out, 1, "%s", buf_cstr(&out));
	buf_clear(&out);
	return rc;
}

static const struct { const char *name; int argc; int (*run)(struct command_call *c, struct err *e); const char *wants; } acts[] = {
	{"list", 2, list, "no argument"}, {"start", 3, start, "one file"}, {"stop", 3, stop, "one name"}, {"show", 3, show, "one name"},
	{"export", 3, export_rows, "one name"}, {"remove", 3, removal, "one name"},
};

int cmd_experiments(struct command_call *c)
{
	struct err e = { 0 };
	size_t act = 0, n = sizeof acts / sizeof *acts;
	int rc = options_parse(c, NULL, 0, &e);
	const char *what = c->argc > 1 ? c->argv[1] : "";
	while (act < n && strcmp(acts[act].name, what)) act++;
	if (!rc && act == n) rc = err_set(&e, E_USAGE, "experiments: must be list, start, stop, show, export or remove");
	if (!rc && c->argc != acts[act].argc) rc = err_set(&e, E_USAGE, "experiments %s: takes %s", what, acts[act].wants);
	if (rc) return command_misused(c, &e);
	rc = acts[act].run(c, &e);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}
