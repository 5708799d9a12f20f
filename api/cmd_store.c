/* cmd_store.c: `footnote check`, `stats`, `compact`, `backup` and `restore`.
 * Threads: runs in its caller's. Failure: check tells every problem and ends with exit code 4 when there was one. */
#include <stdio.h>
#include <string.h>
#include "api/command.h"
#include "api/figures.h"
#include "api/screen.h"
#include "base/file.h"
#include "ingest/ingest.h"

enum { ARENA_BYTES_MAX = 16 << 20, LINE_BYTES_MAX = 1 << 16 };

/* ---- check ---- */

/* {"KEY": what} on a line, or "KEY: what". */
static void line_put(struct command_call *c, const char *key, const char *what)
{
	struct err e;
	if (c->json) {
		cJSON *o = cJSON_CreateObject();
		if (o && !cJSON_AddStringToObject(o, key, what)) {
			cJSON_Delete(o);
			o = NULL;
		}
		command_json(c, o, &e);
	} else {
		struct buf b;
		buf_init(&b, LINE_BYTES_MAX);
		screen_line(&b, what, strlen(what), 0);
		out_printf(c->out, 1, "%s: %s\n", key, buf_cstr(&b));
		buf_clear(&b);
	}
}

static void on_problem(void *ctx, const char *what)
{
	line_put(ctx, "problem", what);
}

static void on_repair(void *ctx, const char *what)
{
	line_put(ctx, "repaired", what);
}

static int embed_again(void *ctx, const char *title, const char *text, const struct chunk_in *chunk, size_t n, float *out,
	struct err *e)
{
	struct command_call *c = ctx;
	struct embedder *m;
	int rc = service_embedder(c->service, &m, e);
	return rc ? rc : ingest_embed(m, title, text, chunk, n, out, e);
}

static int repair(struct command_call *c, uint64_t *repaired, struct err *e)
{
	struct embedder *m;
	int with = service_embedder(c->service, &m, NULL) == OK;
	return index_repair(c->service->index, &(struct index_mender){ on_repair, with ? embed_again : NULL, c }, repaired, e);
}

int cmd_check(struct command_call *c)
{
	int with_repair = 0;
	struct option options[] = { {"--repair", OPTION_FLAG, &with_repair, 0, 0} };
	uint64_t problems = 0, repaired = 0;
	struct err e = {0};
	cJSON *o, *x;
	int rc = options_parse(c, options, 1, &e);
	if (!rc && c->argc != 1) rc = err_set(&e, E_USAGE, "check: takes no argument");
	if (rc) return command_misused(c, &e);
	if (with_repair) rc = repair(c, &repaired, &e);
	if (!rc) rc = index_check(c->service->index, on_problem, c, &problems, &e);
	if (rc) return command_fail(c, &e);
	if (c->json) {
		o = cJSON_CreateObject();
		x = o ? cJSON_AddObjectToObject(o, "summary") : NULL;
		if (!x || !cJSON_AddNumberToObject(x, "problems", (double)problems) ||
			(with_repair && !cJSON_AddNumberToObject(x, "repaired", (double)repaired))) {
			cJSON_Delete(o);
			o = NULL;
		}
		rc = command_json(c, o, &e);
		if (rc) return command_fail(c, &e);
	} else if (!c->quiet || problems) {
		if (with_repair) out_printf(c->out, 1, "%llu repaired, ", (unsigned long long)repaired);
		out_printf(c->out, 1, "%llu problem%s%s\n", (unsigned long long)problems, problems == 1 ? "" : "s",
			with_repair ? " left" : "");
	}
	return problems ? EXIT_DAMAGED : EXIT_DONE;
}

/* ---- stats ---- */

static void stats_text(struct command_call *c, const struct index_stats *s, const struct collection_info *k, size_t n)
{
	struct out *o = c->out;
	char text[24], file[24], used[24], map[24], memory[24];
	screen_bytes(memory, s->memory_bytes);
	screen_bytes(text, s->text_bytes);
	screen_bytes(file, s->file_bytes);
	screen_bytes(used, s->used_bytes);
	screen_bytes(map, s->map_bytes);
	out_printf(o, 1, "documents    %llu (%llu more without text)\n", (unsigned long long)s->documents,
		(unsigned long long)s->documents_without_text);
	out_printf(o, 1, "text         %s in %llu chunks\n", text, (unsigned long long)s->chunks);
	if (s->serving.dim)
		out_printf(o, 1, "vectors      %llu of %d floats, encoder %s%s%.12s\n", (unsigned long long)s->vectors, s->serving.dim,
			s->serving.model, *s->serving.model ? " " : "", s->serving.fingerprint);
	else out_printf(o, 1, "vectors      none yet\n");
	if (s->beside.status)
		out_printf(o, 1, "beside       %llu of %d floats, encoder %s %.12s, %s\n", (unsigned long long)s->beside.vectors,
			s->beside.dim, s->beside.model, s->beside.fingerprint, s->beside.status == BESIDE_KEPT
			? "kept for footnote reembed --rollback" : "not done yet (footnote reembed goes on)");
	out_printf(o, 1, "index        %llu in graphs, %llu in tails, %llu tombstones; %s of memory%s\n",
		(unsigned long long)s->graph_vectors, (unsigned long long)s->tail_vectors, (unsigned long long)s->tombstones,
		memory, s->rebuilding ? ", rebuilding" : "");
	out_printf(o, 1, "disk         %s, %s of it in use, may grow to %s\n", file, used, map);
	out_printf(o, 1, "snapshot     %llu\n", (unsigned long long)s->seq);
	for (size_t i = 0; i < n; i++)
		out_printf(o, 1, "collection   %s: %llu documents, %llu chunks\n", k[i].name,
			(unsigned long long)k[i].documents, (unsigned long long)k[i].chunks);
}

int cmd_stats(struct command_call *c)
{
	struct index_stats stats;
	struct collection_info *k = NULL;
	struct arena arena;
	struct buf lines;
	struct err e = {0};
	cJSON *o = NULL;
	size_t n = 0;
	int code = EXIT_DONE, rc = options_parse(c, NULL, 0, &e);
	if (!rc && c->argc != 1) rc = err_set(&e, E_USAGE, "stats: takes no argument");
	if (rc) return command_misused(c, &e);
	arena_init(&arena, ARENA_BYTES_MAX);
	rc = index_stats(c->service->index, &stats, &e);
	if (!rc) rc = index_collections(c->service->index, &arena, &k, &n, &e);
	if (!rc) rc = figures_view(c->service, &o, &e);
	if (!rc && c->json) {
		rc = command_json(c, o, &e);
		o = NULL;
	} else if (!rc) {
		buf_init(&lines, ARENA_BYTES_MAX);
		stats_text(c, &stats, k, n);
		rc = figures_lines(o, &lines) ? err_set(&e, E_MEMORY, "stats: out of memory") : OK;
		if (!rc) out_printf(c->out, 1, "%s", buf_cstr(&lines));
		buf_clear(&lines);
	}
	cJSON_Delete(o);
	if (rc) code = command_fail(c, &e);
	arena_clear(&arena);
	return code;
}

/* ---- compact, backup, restore ---- */

/* Prints {"name": value, …} or the line for people. */
static int numbers_print(struct command_call *c, const char *const *names, const uint64_t *values, size_t n,
	const char *line, struct err *e)
{
	cJSON *o;
	int ok;
	if (!c->json) {
		if (!c->quiet) out_printf(c->out, 1, "%s\n", line);
		return OK;
	}
	o = cJSON_CreateObject();
	ok = o != NULL;
	for (size_t i = 0; ok && i < n; i++) ok = cJSON_AddNumberToObject(o, names[i], (double)values[i]) != NULL;
	if (!ok) cJSON_Delete(o);
	return command_json(c, ok ? o : NULL, e);
}

int cmd_compact(struct command_call *c)
{
	static const char *const names[] = { "bytes_before", "bytes_after" };
	uint64_t bytes[2];
	char line[100], before[24], after[24];
	struct err e = {0};
	int rc = options_parse(c, NULL, 0, &e);
	if (!rc && c->argc != 1) rc = err_set(&e, E_USAGE, "compact: takes no argument");
	if (rc) return command_misused(c, &e);
	rc = index_compact(c->service->index, &bytes[0], &bytes[1], &e);
	if (rc) return command_fail(c, &e);
	screen_bytes(before, bytes[0]);
	screen_bytes(after, bytes[1]);
	snprintf(line, sizeof line, "%s, before %s", after, before);
	return numbers_print(c, names, bytes, 2, line, &e) ? command_fail(c, &e) : EXIT_DONE;
}

/* The one argument as an absolute path. */
static int file_argument(struct command_call *c, struct buf *path, struct err *e)
{
	if (c->argc != 2) return err_set(e, E_USAGE, "%s: takes one file", c->argv[0]);
	return path_absolute(path, c->cwd, c->argv[1], e);
}

int cmd_backup(struct command_call *c)
{
	struct buf path;
	uint64_t bytes = 0;
	char size[24];
	cJSON *o;
	struct err e = {0};
	int code = EXIT_DONE, rc = options_parse(c, NULL, 0, &e);
	buf_init(&path, LINE_BYTES_MAX);
	if (!rc) rc = file_argument(c, &path, &e);
	if (rc) code = command_misused(c, &e);
	if (!rc) rc = index_backup(c->service->index, buf_cstr(&path), &bytes, &e);
	if (rc && !code) code = command_fail(c, &e);
	screen_bytes(size, bytes);
	if (!rc && c->json) {
		o = cJSON_CreateObject();
		if (o && (!cJSON_AddStringToObject(o, "file", buf_cstr(&path)) ||
			!cJSON_AddNumberToObject(o, "bytes", (double)bytes))) {
			cJSON_Delete(o);
			o = NULL;
		}
		if (command_json(c, o, &e)) code = command_fail(c, &e);
	} else if (!rc && !c->quiet) {
		out_printf(c->out, 1, "%s in %s\n", size, buf_cstr(&path));
	}
	buf_clear(&path);
	return code;
}

int cmd_restore(struct command_call *c)
{
	static const char *const names[] = { "documents", "chunks", "snapshot" };
	int force = 0, code = EXIT_DONE;
	struct option options[] = { {"--force", OPTION_FLAG, &force, 0, 0} };
	struct index_options o;
	struct index_stats stats;
	struct buf path;
	char line[120];
	struct err e = {0};
	int rc = options_parse(c, options, 1, &e);
	buf_init(&path, LINE_BYTES_MAX);
	if (!rc) rc = file_argument(c, &path, &e);
	if (rc) {
		code = command_misused(c, &e);
		goto out;
	}
	service_store_options(c->conf, &o);
	rc = index_restore(&o, buf_cstr(&path), force, &stats, &e);
	if (rc == E_CONFLICT && !force) rc = err_set(&e, rc, "%s holds a store already; --force replaces it", o.dir);
	snprintf(line, sizeof line, "%llu documents in %llu chunks are back", (unsigned long long)stats.documents,
		(unsigned long long)stats.chunks);
	if (!rc) rc = numbers_print(c, names, (uint64_t[]){ stats.documents, stats.chunks, stats.seq }, 3, line, &e);
	if (rc) code = command_fail(c, &e);
out:
	buf_clear(&path);
	return code;
}
