/* cmd_prompts.c: `footnote prompts list|show|add|use|diff`: versioned templates, in the process that owns the data folder,
 * so that a running service follows at once. `use` with --gate scores a question set with the version first, through the
 * eval command, and leaves everything as it is when a figure is under its floor.
 * Threads: runs in its caller's. Failure: an error line and the exit code of its kind. */
#include <stdio.h>
#include <string.h>
#include "api/command.h"
#include "api/screen.h"
#include "api/templates.h"
#include "base/file.h"

static int prompts_list(struct command_call *c, struct err *e)
{
	cJSON *all = templates_view(c->service), *x;
	int rc = all ? OK : err_set(e, E_MEMORY, "prompts: out of memory");
	cJSON_ArrayForEach(x, json_get(all, "prompts")) {
		const char *name = json_str(x, "name", "");
		char full[PROMPT_NAME_SIZE + 16];
		if (c->json) {
			rc = command_json(c, cJSON_Duplicate(x, 1), e);
			if (rc) break;
			continue;
		}
		snprintf(full, sizeof full, "%s@%d", name, (int)json_num(x, "version", 0));
		if (out_printf(c->out, 1, "%-24s %-9s %6d bytes%s\n", full, json_str(x, "origin", ""), (int)json_num(x, "bytes", 0),
		    json_bool(x, "in_use", 0) ? "  in use" : "")) break;
	}
	cJSON_Delete(all);
	return rc;
}

static int prompt_show(struct command_call *c, struct err *e)
{
	const struct prompt_template *t;
	int rc = prompts_find(c->service->prompts, c->argv[2], &t, e);
	if (rc) return rc;
	if (c->json) return command_json(c, template_view(c->service, t, 1), e);
	out_printf(c->out, 1, "%s", prompt_source(t));
	return OK;
}

static int changed(struct command_call *c, const struct prompt_template *t, const char *what, struct err *e)
{
	if (c->json) return command_json(c, template_view(c->service, t, 0), e);
	if (!c->quiet) out_printf(c->out, 1, "%-9s %s@%d\n", what, prompt_name(t), prompt_version(t));
	return OK;
}

static int prompt_add(struct command_call *c, struct err *e)
{
	const struct prompt_template *t;
	struct buf path, text;
	int rc;
	buf_init(&path, 8192);
	buf_init(&text, PROMPT_BYTES_MAX + 1);
	rc = path_absolute(&path, c->cwd, c->argv[2], e);
	if (!rc) rc = file_read(buf_cstr(&path), &text, e);
	if (!rc) rc = template_add(c->service, path_base(buf_cstr(&path)), buf_cstr(&text), text.len, &t, e);
	if (!rc) rc = changed(c, t, prompts_in_use(c->service->prompts, t) ? "in use" : "added", e);
	buf_clear(&path);
	buf_clear(&text);
	return rc;
}

/* Runs the set with the template; *failed: a figure is under its floor, which eval has named. */
static int gate(struct command_call *c, const char *gate_path, const char *set, int *code)
{
	char answers[] = "--answers", verb[] = "eval", gate_option[] = "--gate", prompt[] = "--prompt", end[] = "--";
	char *argv[] = { verb, answers, gate_option, (char *)gate_path, prompt, c->argv[2], end, (char *)set };
	struct command_call call = *c;
	call.argc = sizeof argv / sizeof *argv;
	call.argv = argv;
	*code = cmd_eval(&call);
	return *code == EXIT_DONE;
}

static int prompt_use(struct command_call *c, struct err *e)
{
	const struct prompt_template *t;
	int rc = template_use(c->service, c->argv[2], &t, e);
	return rc ? rc : changed(c, t, "in use", e);
}

static void diff_line(void *ctx, char op, const char *line, size_t len)
{
	struct command_call *c = ctx;
	out_printf(c->out, 1, "%c%.*s\n", op, (int)len, line);
}

static int prompts_diff(struct command_call *c, struct err *e)
{
	cJSON *o;
	int rc;
	if (!c->json) return template_diff(c->service, c->argv[2], c->argv[3], diff_line, c, e);
	rc = template_diff_view(c->service, c->argv[2], c->argv[3], &o, e);
	return rc ? rc : command_json(c, o, e);
}

static const struct { const char *name; int argc; int (*run)(struct command_call *c, struct err *e); const char *wants; } acts[] = {
	{"list", 2, prompts_list, "no argument"}, {"show", 3, prompt_show, "one name"}, {"add", 3, prompt_add, "one file"},
	{"use", 3, prompt_use, "one NAME@V"}, {"diff", 4, prompts_diff, "two names"},
};

int cmd_prompts(struct command_call *c)
{
	const char *gate_path = NULL, *set = NULL, *what;
	struct option options[] = { {"--gate", OPTION_TEXT, &gate_path, 0, 0}, {"--eval", OPTION_TEXT, &set, 0, 0} };
	struct err e = { 0 };
	size_t act = 0, n = sizeof acts / sizeof *acts;
	int code, rc = options_parse(c, options, 2, &e);
	what = c->argc > 1 ? c->argv[1] : "";
	while (act < n && strcmp(acts[act].name, what)) act++;
	if (!rc && act == n) rc = err_set(&e, E_USAGE, "prompts: must be list, show, add, use or diff");
	if (!rc && c->argc != acts[act].argc) rc = err_set(&e, E_USAGE, "prompts %s: takes %s", what, acts[act].wants);
	if (!rc && (gate_path || set) && acts[act].run != prompt_use) rc = err_set(&e, E_USAGE, "--gate and --eval belong to prompts use");
	if (!rc && !gate_path != !set) rc = err_set(&e, E_USAGE, "prompts use: --gate FILE and --eval DIR go together");
	if (rc) return command_misused(c, &e);
	if (set && !strchr(c->argv[2], '@')) rc = err_set(&e, E_USAGE, "prompt %.60s: which version? As in answer@2", c->argv[2]);
	if (!rc && set && !gate(c, gate_path, set, &code)) {
		if (code == EXIT_SOME_FAILED) out_printf(c->out, 2, "footnote: %s is not taken into use: it misses a floor of %s\n", c->argv[2], gate_path);
		return code;
	}
	if (!rc) rc = acts[act].run(c, &e);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}
