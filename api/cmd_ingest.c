/* cmd_ingest.c: `footnote ingest`: files and folders into the store, a line for each as it is safely stored.
 * Threads: runs in its caller's; ingest calls back in the same. Failure: a file's own is its verdict, and makes the
 * exit code 1; the store's or the encoder's ends the command, and what was told before is stored. */
#include <stdio.h>
#include <string.h>
#include "api/auth.h"
#include "api/command.h"
#include "api/screen.h"
#include "api/view.h"
#include "base/utf8.h"
#include "ingest/watch.h"

enum { ARENA_BYTES_MAX = 1 << 20, LINE_BYTES_MAX = 1 << 20, META_BYTES_MAX = 1 << 16 };

struct ingest_view {
	struct command_call *call;
	struct progress progress;
	struct err err;              /* of the output */
	int watching, told;          /* after the first sync what did not change is not told; told: something was */
};

/* A name that is not UTF-8 is shown with U+FFFD in the bad places. */
static const char *shown(struct buf *out, const char *text)
{
	if (utf8_valid(text, strlen(text))) return text;
	screen_text(out, text, strlen(text));
	return buf_cstr(out);
}

static void event_json(struct ingest_view *v, const struct ingest_event *ev)
{
	cJSON *o = cJSON_CreateObject();
	struct buf source;
	int ok;
	buf_init(&source, LINE_BYTES_MAX);
	ok = o && cJSON_AddStringToObject(o, "source", shown(&source, ev->source)) &&
		cJSON_AddStringToObject(o, "verdict", doc_verdict_name(ev->verdict)) &&
		cJSON_AddStringToObject(o, "document_id", ev->document_id) &&
		cJSON_AddNumberToObject(o, "chars", (double)ev->chars) &&
		cJSON_AddNumberToObject(o, "chunks", (double)ev->chunks) && cJSON_AddStringToObject(o, "reason", ev->reason);
	if (!ok) {
		cJSON_Delete(o);
		o = NULL;
	}
	command_json(v->call, o, &v->err);
	buf_clear(&source);
}

static void event_text(struct ingest_view *v, const struct ingest_event *ev)
{
	struct buf line;
	int bad = ev->verdict == DOC_FAILED || ev->verdict == DOC_SKIPPED || ev->verdict == DOC_PARTIAL;
	if (v->call->quiet && !bad) return;
	buf_init(&line, LINE_BYTES_MAX);
	buf_printf(&line, "%-9s ", doc_verdict_name(ev->verdict));
	screen_line(&line, ev->source, strlen(ev->source), 0);
	if (*ev->reason) {
		buf_puts(&line, ": ");
		screen_line(&line, ev->reason, strlen(ev->reason), 0);
	} else if (ev->chunks) {
		buf_printf(&line, " (%llu chunk%s)", (unsigned long long)ev->chunks, ev->chunks == 1 ? "" : "s");
	}
	out_printf(v->call->out, 1, "%s\n", buf_cstr(&line));
	buf_clear(&line);
}

static void on_event(void *ctx, const struct ingest_event *ev)
{
	struct ingest_view *v = ctx;
	if (v->watching && ev->verdict == DOC_UNCHANGED) return;
	v->told = 1;
	progress_hide(&v->progress);
	if (v->call->json) event_json(v, ev);
	else event_text(v, ev);
}

static void on_progress(void *ctx, const struct ingest_progress *p)
{
	struct ingest_view *v = ctx;
	double seconds = p->elapsed_ms / 1000, share;
	char text[160], left[24];
	double rate = seconds > 0 ? (double)p->bytes_done / 1e6 / seconds : 0;
	if (!progress_due(&v->progress)) return;
	if (p->bytes_total) share = (double)p->bytes_done / (double)p->bytes_total;
	else share = p->files_total ? (double)p->files_done / (double)p->files_total : 0;
	screen_seconds(left, share > 0.001 ? seconds / share - seconds : -1);
	snprintf(text, sizeof text, "%llu/%llu files, %llu chunks, %.*f MB/s, %s left", (unsigned long long)p->files_done,
		(unsigned long long)p->files_total, (unsigned long long)p->chunks, rate < 1 ? 2 : 1, rate, left);
	progress_draw(&v->progress, share, text);
}

static int summary_json(struct command_call *c, const struct ingest_summary *s, struct err *e)
{
	cJSON *o = cJSON_CreateObject(), *x = view_summary(s);
	if (!o || !x || !cJSON_AddItemToObject(o, "summary", x)) {
		cJSON_Delete(x);
		cJSON_Delete(o);
		o = NULL;
	}
	return command_json(c, o, e);
}

static int summary_text(struct command_call *c, const struct ingest_summary *s, int dry)
{
	char bytes[24], seconds[24];
	if (c->quiet) return OK;
	for (int v = DOC_ADDED, n = 0; v <= DOC_FAILED; v++)
		if (s->by_verdict[v])
			out_printf(c->out, 1, "%s%llu %s", n++ ? ", " : "", (unsigned long long)s->by_verdict[v],
				doc_verdict_name(v));
	screen_bytes(bytes, s->bytes);
	screen_seconds(seconds, s->elapsed_ms / 1000);
	out_printf(c->out, 1, "%s%llu file%s, %llu chunk%s, %s in %s%s\n", s->files ? ": " : "",
		(unsigned long long)s->files, s->files == 1 ? "" : "s", (unsigned long long)s->chunks,
		s->chunks == 1 ? "" : "s", bytes, seconds, dry ? " (dry run: nothing was stored)" : "");
	return OK;
}

static int summary_print(struct command_call *c, const struct ingest_summary *s, int dry, struct err *e)
{
	return c->json ? summary_json(c, s, e) : summary_text(c, s, dry);
}

/* One sync. *failed grows by the files that failed. */
static int ingest_round(struct ingest_view *view, const struct ingest *with, const struct ingest_request *q, uint64_t *failed,
	struct err *e)
{
	struct command_call *c = view->call;
	struct ingest_sink sink = { view, on_event, on_progress };
	struct ingest_summary sum = {0};
	int rc;
	progress_init(&view->progress, c);
	view->told = 0;
	rc = ingest_paths(with, q, &sink, &sum, e);
	progress_hide(&view->progress);
	*failed += sum.by_verdict[DOC_FAILED];
	if (!rc && view->err.status) {
		*e = view->err;
		rc = e->status;
	}
	if (rc) return rc;
	sum.files -= view->watching ? sum.by_verdict[DOC_UNCHANGED] : 0;
	if (view->watching) sum.by_verdict[DOC_UNCHANGED] = 0;
	return view->watching && !view->told ? OK : summary_print(c, &sum, q->dry_run, e);
}

static void gap_tell(struct command_call *c, const char *gap, char *told, size_t cap)
{
	if (*gap && strcmp(gap, told) != 0) out_printf(c->out, 2, "ingest: %s\n", gap);
	snprintf(told, cap, "%s", gap);
}

/* Follows what changes until it is cancelled, which is how it ends. */
static int ingest_follow(struct ingest_view *view, struct watch *w, const struct ingest *with, struct ingest_request *q,
	uint64_t *failed, struct err *e)
{
	struct command_call *c = view->call;
	char told[200] = "";
	int rc = OK;
	view->watching = 1;
	if (!c->quiet && !c->json)
		out_printf(c->out, 2, "watching %zu folder%s (Ctrl-C ends)\n", watch_folders(w), watch_folders(w) == 1 ? "" : "s");
	while (!rc) {
		gap_tell(c, watch_gap(w), told, sizeof told);
		rc = watch_wait(w, c->cancel, &q->only, &q->only_n, e);
		if (!rc) rc = ingest_round(view, with, q, failed, e);
	}
	return rc == E_CANCELLED ? OK : rc;
}

static int ingest_run(struct command_call *c, struct ingest_request *q, int watching, struct err *e)
{
	struct ingest_view view = { .call = c };
	const struct conf *conf = &c->service->conf;
	struct watch_options o = { .cwd = q->cwd, .paths = q->paths, .path_n = q->path_n, .depth_max = conf->depth_max, .except = conf->data_dir,
		.settle_ms = conf->watch_settle_ms, .rescan_s = conf->watch_rescan_s };
	struct watch *w = NULL;
	struct ingest with;
	uint64_t failed = 0;
	int rc = service_ingest(c->service, &with, c->cancel, e);
	if (!rc && watching) rc = watch_open(&w, &o, c->cancel, e);
	if (!rc) rc = ingest_round(&view, &with, q, &failed, e);
	if (!rc && watching) rc = ingest_follow(&view, w, &with, q, &failed, e);
	watch_close(w);
	if (rc == E_CANCELLED) err_set(e, rc, "ingest: interrupted; what was told is stored");
	if (rc) return command_fail(c, e);
	return failed ? EXIT_SOME_FAILED : EXIT_DONE;
}

int cmd_ingest(struct command_call *c)
{
	const char *acl = NULL;
	int watching = 0;
	struct ingest_request q = { .collection = c->collection, .cwd = c->cwd };
	cJSON *meta = cJSON_CreateObject();
	struct option options[] = {
		{"--acl", OPTION_TEXT, &acl, 0, 0}, {"--meta", OPTION_PAIR, meta, 0, 0},
		{"--prune", OPTION_FLAG, &q.prune, 0, 0},
		{"--dry-run", OPTION_FLAG, &q.dry_run, 0, 0}, {"--watch", OPTION_FLAG, &watching, 0, 0},
	};
	struct arena arena;
	struct err e = {0};
	char *text = NULL;
	int code, rc = meta ? OK : err_set(&e, E_MEMORY, "out of memory");
	arena_init(&arena, ARENA_BYTES_MAX);
	if (!rc) rc = options_parse(c, options, sizeof options / sizeof *options, &e);
	if (!rc && c->argc < 2) rc = err_set(&e, E_USAGE, "ingest: a file or folder is missing");
	if (!rc && watching && q.dry_run) rc = err_set(&e, E_USAGE, "ingest: --watch and --dry-run do not go together");
	if (!rc && acl) rc = groups_split(acl, &arena, &q.acl, &q.acl_n, &e) ? err_wrap(&e, "--acl") : OK;
	if (!rc && meta->child && !(text = cJSON_PrintUnformatted(meta))) rc = err_set(&e, E_MEMORY, "out of memory");
	if (!rc && text && strlen(text) > META_BYTES_MAX)
		rc = err_set(&e, E_USAGE, "--meta: more than %d bytes", META_BYTES_MAX);
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	q.meta = text;
	q.paths = (const char *const *)(c->argv + 1);
	q.path_n = (size_t)(c->argc - 1);
	code = ingest_run(c, &q, watching, &e);
out:
	cJSON_free(text);
	cJSON_Delete(meta);
	arena_clear(&arena);
	return code;
}
