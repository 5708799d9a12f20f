/* cmd_models.c: `footnote models list|fetch|verify|add|use`, on top of models.h. Several names are done one after the
 * other; a failure is told and the rest goes on.
 * Threads: runs in its caller's. Failure: an error line and the exit code of the first failure's kind. */
#include <stdio.h>
#include <string.h>
#include "api/command.h"
#include "api/models.h"
#include "api/screen.h"
#include "base/flag.h"
#include "base/mem.h"
#include "embed/embed.h"
#include "generate/generate.h"

enum { PATH_BYTES_MAX = 8192, TEXT_BYTES = 400, TRY_CONTEXT = 64 };

struct models_view {
	struct command_call *call;
	const char *name;
	struct progress progress;
	char said[16];               /* the last step told to a stderr that is no terminal */
};

/* ---- list ---- */

static int row_json(struct command_call *c, const struct model_row *r, struct err *e)
{
	const struct model_known *k = r->known;
	cJSON *o = cJSON_CreateObject();
	int ok = o && cJSON_AddStringToObject(o, "name", r->name) &&
		cJSON_AddStringToObject(o, "alias", k ? k->alias : "") &&
		cJSON_AddStringToObject(o, "role", model_role_name(r->role)) &&
		cJSON_AddStringToObject(o, "state", model_state_name(r->state)) &&
		cJSON_AddNumberToObject(o, "bytes", (double)r->bytes) && cJSON_AddStringToObject(o, "path", r->path) &&
		cJSON_AddStringToObject(o, "licence", k ? k->licence : "") &&
		cJSON_AddStringToObject(o, "note", k ? k->note : "") &&
		cJSON_AddBoolToObject(o, "default", k && k->is_default);
	if (!ok) {
		cJSON_Delete(o);
		o = NULL;
	}
	return command_json(c, o, e);
}

static void row_text(struct command_call *c, const struct model_row *r)
{
	char bytes[24];
	struct buf b;
	screen_bytes(bytes, r->bytes);
	buf_init(&b, PATH_BYTES_MAX);
	screen_line(&b, r->name, strlen(r->name), 0);
	while (b.len < 38) buf_putc(&b, ' ');
	buf_printf(&b, " %-9s %-8s %8s  ", model_role_name(r->role), model_state_name(r->state), bytes);
	if (r->known) buf_printf(&b, "%s%s. ", r->known->licence, r->known->is_default ? ", default" : "");
	if (r->known) buf_puts(&b, r->known->note);
	else screen_line(&b, r->path, strlen(r->path), 0);
	out_printf(c->out, 1, "%s\n", buf_cstr(&b));
	buf_clear(&b);
}

static int models_show(struct command_call *c)
{
	struct model_row *rows;
	struct err e = {0};
	size_t n;
	struct model_row reader;
	int rc = models_list(c->conf, &rows, &n, &e);
	if (rc) return command_fail(c, &e);
	if (!models_reader(c->conf, &reader, NULL)) {
		if (c->json) rc = row_json(c, &reader, &e);
		else row_text(c, &reader);
	}
	for (size_t i = 0; i < n && !rc; i++) {
		if (c->json) rc = row_json(c, &rows[i], &e);
		else row_text(c, &rows[i]);
	}
	mem_free(rows);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}

/* ---- fetch, verify, add ---- */

static int on_progress(void *ctx, const char *what, int part, int parts, uint64_t done, uint64_t total)
{
	struct models_view *v = ctx;
	char text[TEXT_BYTES], of[32] = "", a[24], b[24];
	if (flag_is(v->call->cancel)) return 1;
	screen_bytes(a, done);
	screen_bytes(b, total);
	if (parts > 1) snprintf(of, sizeof of, " part %d of %d,", part, parts);
	if (v->progress.on) {
		if (!progress_due(&v->progress)) return 0;
		snprintf(text, sizeof text, "%s %s:%s %s of %s", what, v->name, of, a, b);
		progress_draw(&v->progress, total ? (double)done / (double)total : 0, text);
	} else if (!v->call->quiet && strcmp(v->said, what) != 0) {
		/* A log gets one line a step. */
		snprintf(v->said, sizeof v->said, "%s", what);
		out_printf(v->call->out, 2, "%s %s (%s)\n", what, v->name, b);
	}
	return 0;
}

static int result_print(struct command_call *c, const char *name, const char *state, const char *path, struct err *e)
{
	cJSON *o;
	if (!c->json) {
		if (!c->quiet) out_printf(c->out, 1, "%s: %s%s%s\n", name, state, *path ? ", " : "", path);
		return OK;
	}
	o = cJSON_CreateObject();
	if (!o || !cJSON_AddStringToObject(o, "name", name) || !cJSON_AddStringToObject(o, "state", state) ||
		!cJSON_AddStringToObject(o, "path", path)) {
		cJSON_Delete(o);
		o = NULL;
	}
	return command_json(c, o, e);
}

enum model_job { JOB_FETCH, JOB_VERIFY, JOB_ADD };

/* What is taken in must be a model that this program runs: opened once, in small, and closed. told: what people should
 * know of it. */
static int model_try(const char *path, char told[TEXT_BYTES], struct err *e)
{
	struct generator_options g = { .path = path, .threads = 1, .context_max = TRY_CONTEXT, .device = "cpu" };
	struct embedder_options m = { .dir = path, .threads = 1 };
	struct generator *generator;
	struct embedder *embedder;
	int role, rc = model_role_at(path, &role, e);
	told[0] = 0;
	if (rc) return rc;
	if (role == MODEL_GENERATOR) {
		if ((rc = generator_open(&generator, &g, e)) == OK) generator_close(generator);
		return rc;
	}
	if ((rc = embedder_open(&embedder, &m, e)) != OK) return rc;
	const struct embedder_info *f = embedder_info(embedder);
	snprintf(told, TEXT_BYTES, "%d dimensions, %s pooling, texts of up to %d tokens; put before questions: \"%.100s\", before "
		"passages: \"%.100s\"\n", f->dim, f->pooling, f->max_tokens, f->query_prefix, f->passage_prefix);
	embedder_close(embedder);
	return rc;
}

/* A licence of its own is told where the model comes in. */
static void terms_tell(struct command_call *c, const char *name)
{
	const struct model_known *k = model_known_find(name);
	if (k && k->terms && !c->quiet) out_printf(c->out, 2, "%s: %s\n", k->name, k->terms);
}

/* One model; the exit code. */
static int model_do(struct command_call *c, enum model_job job, const char *name)
{
	struct models_view view = { .call = c, .name = name };
	struct model_progress progress = { &view, on_progress };
	struct buf text;
	struct err e = {0};
	char told[TEXT_BYTES];
	int rc;
	progress_init(&view.progress, c);
	buf_init(&text, PATH_BYTES_MAX);
	if (job == JOB_FETCH) rc = model_fetch(c->conf, name, &progress, &text, &e);
	else if (job == JOB_VERIFY) rc = model_verify(c->conf, name, &progress, &text, &e);
	else if (!(rc = model_try(name, told, &e))) rc = model_add(c->conf, name, &progress, &text, &e);
	progress_hide(&view.progress);
	if (!rc && job == JOB_FETCH) terms_tell(c, name);
	if (!rc && job == JOB_ADD) rc = result_print(c, buf_cstr(&text), "added", "", &e);
	if (!rc && job == JOB_ADD && !c->json && !c->quiet)
		out_printf(c->out, 1, "%s%s", told, model_known_find(buf_cstr(&text)) ? "" : "its licence is not known here: see "
			"where it comes from\n");
	else if (!rc && job != JOB_ADD) rc = result_print(c, name, job == JOB_FETCH ? "here" : "verified", buf_cstr(&text), &e);
	buf_clear(&text);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}

/* Of the models named or, when none is, of those that are the defaults (fetch) or are here (verify). */
static int models_do(struct command_call *c, enum model_job job)
{
	struct model_row *rows = NULL;
	struct err e = {0};
	size_t n = 0;
	int first = EXIT_DONE, code;
	if (c->argc > 2) {
		for (int i = 2; i < c->argc && !flag_is(c->cancel); i++) {
			code = model_do(c, job, c->argv[i]);
			if (!first) first = code;
		}
		return first;
	}
	if (models_list(c->conf, &rows, &n, &e)) return command_fail(c, &e);
	for (size_t i = 0; i < n && !flag_is(c->cancel); i++) {
		const struct model_known *k = rows[i].known;
		int wanted = k && (job == JOB_FETCH ? k->is_default : rows[i].state != MODEL_ABSENT);
		if (!wanted) continue;
		code = model_do(c, job, rows[i].name);
		if (!first) first = code;
	}
	mem_free(rows);
	return first;
}

/* ---- use ---- */

static int model_use(struct command_call *c, const char *name)
{
	const char *file = c->conf_path ? c->conf_path : "service.conf", *key;
	struct buf path;
	struct err e = {0};
	int role, rc, none = strcmp(name, "none") == 0;
	buf_init(&path, PATH_BYTES_MAX);
	role = MODEL_GENERATOR;
	rc = none ? OK : model_check(c->conf, name, &role, &path, &e);
	key = role == MODEL_EMBEDDER ? "embed.model" : "generate.model";
	if (!rc) rc = conf_file_set(file, key, name, &e);
	if (!rc && c->json) rc = result_print(c, name, "in use", buf_cstr(&path), &e);
	else if (!rc && !c->quiet) {
		out_printf(c->out, 1, "%s: %s = %s (for a service that runs: from its next start)\n", file, key, name);
		if (role == MODEL_EMBEDDER)
			out_printf(c->out, 1, "%s", "stored vectors belong to the encoder that made them: a data folder filled "
				"with another must be filled anew\n");
	}
	buf_clear(&path);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}

int cmd_models(struct command_call *c)
{
	struct err e = {0};
	const char *what;
	int rc = options_parse(c, NULL, 0, &e);
	what = c->argc > 1 ? c->argv[1] : "";
	if (!rc && strcmp(what, "list") == 0 && c->argc == 2) return models_show(c);
	if (!rc && strcmp(what, "fetch") == 0) return models_do(c, JOB_FETCH);
	if (!rc && strcmp(what, "verify") == 0) return models_do(c, JOB_VERIFY);
	if (!rc && strcmp(what, "add") == 0 && c->argc > 2) return models_do(c, JOB_ADD);
	if (!rc && strcmp(what, "use") == 0 && c->argc == 3) return model_use(c, c->argv[2]);
	if (!rc) rc = err_set(&e, E_USAGE, "models: must be list, fetch, verify, add or use");
	return command_misused(c, &e);
}
