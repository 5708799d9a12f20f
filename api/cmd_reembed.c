/* cmd_reembed.c: `footnote reembed`: the store's vectors become another embedder's, and back.
 *
 * Everything happens in the process that owns the data folder (owner.h), so that a service goes on with the vectors it
 * has and turns to the new ones as soon as all are there; the embedder that was opened for it here is then the one that
 * service_embedder gives.
 * Threads: runs in its caller's, which ingest calls back. Failure: what was embedded stays and the next call goes on. */
#include <stdio.h>
#include <string.h>
#include "api/command.h"
#include "api/screen.h"
#include "base/clock.h"
#include "base/file.h"

enum { LINE_BYTES_MAX = 1 << 16, TELL_MS = 1000 };

struct reembed_view {
	struct command_call *call;
	struct progress progress;
	double next_ms;              /* of the next line with --json */
	struct err err;              /* of the output */
};

static double rate_of(const struct ingest_reembed *p)
{
	return p->elapsed_ms > 0 ? (double)p->embedded / (p->elapsed_ms / 1000) : 0;
}

static cJSON *numbers_make(const struct ingest_reembed *p)
{
	cJSON *o = cJSON_CreateObject();
	if (o && cJSON_AddNumberToObject(o, "chunks_done", (double)p->done) && cJSON_AddNumberToObject(o, "chunks", (double)p->total) &&
		cJSON_AddNumberToObject(o, "embedded", (double)p->embedded) && cJSON_AddNumberToObject(o, "chunks_per_s", rate_of(p)) &&
		cJSON_AddNumberToObject(o, "elapsed_ms", p->elapsed_ms))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* {"progress":{…}} or {"summary":{…}}; takes `what`. */
static int object_print(struct command_call *c, const char *name, cJSON *what, struct err *e)
{
	cJSON *o = cJSON_CreateObject();
	if (!o || !what || !cJSON_AddItemToObject(o, name, what)) {
		cJSON_Delete(what);
		cJSON_Delete(o);
		o = NULL;
	}
	return command_json(c, o, e);
}

static void on_progress(void *ctx, const struct ingest_reembed *p)
{
	struct reembed_view *v = ctx;
	char text[160], left[24];
	double rate = rate_of(p);
	if (v->call->json && clock_ms() >= v->next_ms) {
		v->next_ms = clock_ms() + TELL_MS;
		object_print(v->call, "progress", numbers_make(p), &v->err);
	}
	if (!progress_due(&v->progress)) return;
	screen_seconds(left, rate > 0 ? (double)(p->total - p->done) / rate : -1);
	snprintf(text, sizeof text, "%llu/%llu chunks, %.0f chunks/s, %s left", (unsigned long long)p->done,
		(unsigned long long)p->total, rate, left);
	progress_draw(&v->progress, p->total ? (double)p->done / (double)p->total : 1, p->turning ? "turning to them" : text);
}

/* What a person should know before it takes its time. */
static void begin_tell(struct command_call *c, const struct index_embedder *beside, const char *fingerprint, const char *name)
{
	int same = beside->status && strcmp(beside->fingerprint, fingerprint) == 0;
	if (c->quiet || c->json) return;
	if (same && beside->vectors)
		out_printf(c->out, 2, "%llu chunks have their vector of %s already; the rest follows\n", (unsigned long long)beside->vectors,
			name);
	else if (beside->status)
		out_printf(c->out, 2, "the vectors of %s, which stood beside, are dropped\n", beside->model);
}

static int summary_print(struct command_call *c, const struct index_embedder *from, const struct index_embedder *to,
	const struct ingest_reembed *done, struct err *e)
{
	char seconds[24];
	cJSON *o;
	if (c->json) {
		o = numbers_make(done);
		if (o && (!cJSON_AddStringToObject(o, "model", to->model) || !cJSON_AddNumberToObject(o, "dim", to->dim) ||
			!cJSON_AddStringToObject(o, "before", from->model))) {
			cJSON_Delete(o);
			o = NULL;
		}
		return object_print(c, "summary", o, e);
	}
	if (c->quiet) return OK;
	screen_seconds(seconds, done->elapsed_ms / 1000);
	out_printf(c->out, 1, "%llu chunks have vectors of %s (%d floats), which searches use from now on; %llu were embedded in %s\n",
		(unsigned long long)done->total, to->model, to->dim, (unsigned long long)done->embedded, seconds);
	if (from->dim)
		out_printf(c->out, 1, "those of %s are kept for footnote reembed --rollback; footnote reembed --forget frees their room\n",
			*from->model ? from->model : "the model before");
	if (strcmp(c->service->conf.embed_model, to->model) != 0)
		out_printf(c->out, 1, "set embed.model = %s in service.conf: it still says %s\n", to->model, c->service->conf.embed_model);
	return OK;
}

/* model: a name or a path from the caller's folder. wanted: the fingerprint it must have; NULL: any. */
static int reembed_run(struct command_call *c, const char *model, const char *wanted, struct err *e)
{
	struct reembed_view view = { .call = c };
	struct ingest_reembed_sink sink = { &view, on_progress };
	struct index_embedder from, beside, to, before;
	struct ingest_reembed done;
	struct embedder *m;
	struct buf path;
	char name[256];
	int rc = OK;
	buf_init(&path, LINE_BYTES_MAX);
	if (strchr(model, '/')) rc = path_absolute(&path, c->cwd, model, e);
	if (!rc) rc = service_embedder_open(c->service, strchr(model, '/') ? buf_cstr(&path) : model, &m, name, e);
	buf_clear(&path);
	if (!rc && wanted && strcmp(embedder_info(m)->fingerprint, wanted) != 0)
		rc = err_set(e, E_CONFLICT, "%.80s is not what it was when its vectors were made: was a file of it or embed.passage_prefix "
			"changed?", name);
	if (!rc) rc = index_embedders(c->service->index, &from, &beside, e);
	if (rc) return rc;
	if (strcmp(from.fingerprint, embedder_info(m)->fingerprint) != 0)
		begin_tell(c, &beside, embedder_info(m)->fingerprint, name);
	progress_init(&view.progress, c);
	rc = ingest_reembed(c->service->index, m, name, c->cancel, &sink, &done, e);
	progress_hide(&view.progress);
	if (rc == E_CANCELLED)
		return err_set(e, rc, "interrupted with %llu of %llu chunks done; footnote reembed --model %.80s goes on there",
			(unsigned long long)done.done, (unsigned long long)done.total, name);
	if (!rc && view.err.status) *e = view.err, rc = view.err.status;
	if (!rc) rc = index_embedders(c->service->index, &to, &before, e);
	return rc ? rc : summary_print(c, &from, &to, &done, e);
}

static int rollback(struct command_call *c, const char *model, struct err *e)
{
	struct index_embedder serving, beside;
	int rc = index_embedders(c->service->index, &serving, &beside, e);
	if (rc) return rc;
	if (beside.status == BESIDE_BUILDING)
		return err_set(e, E_CONFLICT, "%.80s was never turned to: footnote reembed --forget drops what there is of its vectors",
			beside.model);
	if (!beside.status) return err_set(e, E_NOT_FOUND, "there are no vectors of another model to go back to");
	if (model && strcmp(model, beside.model) != 0)
		return err_set(e, E_NOT_FOUND, "the vectors that are kept are %.80s's, not %.80s's", beside.model, model);
	rc = reembed_run(c, beside.model, beside.fingerprint, e);
	return rc == E_NOT_FOUND ? err_wrap(e, "going back needs the model for questions and for what came since") : rc;
}

static int forget(struct command_call *c, struct err *e)
{
	struct index_embedder serving, beside;
	cJSON *o;
	int rc = index_embedders(c->service->index, &serving, &beside, e);
	if (!rc) rc = index_reembed_forget(c->service->index, e);
	if (rc) return rc;
	if (c->json) {
		o = cJSON_CreateObject();
		if (o && (!cJSON_AddStringToObject(o, "forgotten", beside.model) ||
			!cJSON_AddNumberToObject(o, "vectors", (double)beside.vectors))) {
			cJSON_Delete(o);
			o = NULL;
		}
		return command_json(c, o, e);
	}
	if (!c->quiet)
		out_printf(c->out, 1, "%llu vectors of %s are gone (footnote compact gives their room back to the disk)\n",
			(unsigned long long)beside.vectors, beside.model);
	return OK;
}

int cmd_reembed(struct command_call *c)
{
	const char *model = NULL;
	int back = 0, drop = 0;
	struct option options[] = {
		{"--model", OPTION_TEXT, &model, 0, 0}, {"--rollback", OPTION_FLAG, &back, 0, 0},
		{"--forget", OPTION_FLAG, &drop, 0, 0},
	};
	struct err e = {0};
	int rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc && (c->argc != 1 || back + drop > 1 || (drop && model) || !(model || back || drop)))
		rc = err_set(&e, E_USAGE, "reembed: wants --model M, --rollback or --forget");
	if (rc) return command_misused(c, &e);
	if (back) rc = rollback(c, model, &e);
	else rc = drop ? forget(c, &e) : reembed_run(c, model, NULL, &e);
	return rc ? command_fail(c, &e) : EXIT_DONE;
}
