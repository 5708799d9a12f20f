/* sync.c: owns the syncing of folders: walk -> prune -> per file, in order -> group.
 *
 * Pruning comes before the files, so that a renamed file is never taken for a duplicate of its own old name. While one
 * file is chunked and embedded, those after it are read and extracted already (struct ahead): what looks new is given
 * to the parsers when its turn is near, what looks unchanged or like a duplicate is not. That is only a guess: it is
 * decided in the file's turn, in which a wrong guess costs time and nothing else. So events keep the order of the files.
 * Threads: the caller's; the parsers have their own. Failure: a file's is its verdict; see ingest.h. */
#include "ingest/pipeline.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ingest/clean.h"
#include "ingest/walk.h"

enum { AHEAD_BYTES_MAX = 64 << 20, AHEAD_MAX = 128, PARENT_MAX = 8192, WHY_MAX = 1000 };

struct ahead {                  /* a file read before its turn */
	const struct walk_file *file;   /* NULL: free */
	int read_rc;
	struct err why;                 /* of read_rc */
	struct buf data;
	uint8_t hash[32];
	struct parse parse;
	int started;
};

struct sync {
	struct run r;
	struct walk w;
	const struct ingest_request *q;
	struct ahead *ahead; size_t ahead_n;            /* a ring: file i is in slot i % ahead_n */
	size_t next;                                    /* the first file not looked at ahead */
	size_t bytes;                                   /* held ahead */
};

/* ---- ahead ---- */

static void ahead_clear(struct sync *s, struct ahead *a)
{
	if (a->started)
		parse_drop(s->r.parsers, &a->parse);
	if (a->file)
		s->bytes -= a->data.len;
	buf_clear(&a->data);
	a->file = NULL;
	a->started = 0;
}

/* Reads the file. Its failure is kept for its turn. */
static void ahead_read(struct sync *s, struct ahead *a, const struct walk_file *f)
{
	uint64_t max = s->r.g.l->file_bytes_max;

	a->file = f;
	buf_init(&a->data, max < SIZE_MAX ? (size_t)max : SIZE_MAX);
	a->read_rc = file_read_within(f->path, s->q->within, s->q->within_n, &a->data, &a->why);
	if (a->read_rc != OK)
		buf_clear(&a->data);
	s->bytes += a->data.len;
	sha256_of(buf_cstr(&a->data), a->data.len, a->hash);
}

/* Does something with this content stand before it, stored or on its way? */
static int ahead_repeats(struct sync *s, const struct ahead *a, int *repeats)
{
	struct reader all = reader_seen(&s->r, s->r.collection);
	struct arena arena;
	struct err why;
	struct doc d;
	int rc;

	*repeats = 1;
	for (size_t i = 0; i < s->ahead_n; i++)
		if (&s->ahead[i] != a && s->ahead[i].file && memcmp(s->ahead[i].hash, a->hash, 32) == 0)
			return OK;
	for (size_t i = 0; i < s->r.g.n; i++)
		if (memcmp(s->r.g.jobs[i]->d.hash, a->hash, 32) == 0)
			return OK;
	arena_init(&arena, DOC_ARENA);
	rc = snapshot_doc_by_hash(s->r.snap, &all, s->r.collection, a->hash, &arena, &d, &why);
	arena_clear(&arena);
	*repeats = rc == OK;
	if (rc != OK && rc != E_NOT_FOUND)
		*s->r.e = why;
	return rc == E_NOT_FOUND ? OK : rc;
}

/* A file that retention would take at once is not brought in; what is stored already is retention's own to remove. */
static int is_too_old(const struct sync *s, const struct walk_file *f, const struct doc *have, char *why, size_t cap)
{
	const struct ingest_limits *l = s->r.g.l;

	return l->too_old && f->mtime_ns && !(have && doc_verdict_has_text(have->verdict))
		&& l->too_old(l->too_old_ctx, f->source, f->mtime_ns / 1000000, why, cap);
}

/* Reads one file before its turn when that is likely to be needed, and has it extracted when that is. */
static int ahead_look(struct sync *s, struct ahead *a, const struct walk_file *f)
{
	struct run *r = &s->r;
	struct doc d;
	char why[WHY_MAX];
	int found, repeats, rc;

	if (f->verdict || f->size > r->g.l->file_bytes_max)
		return OK;
	rc = run_find(r, NULL, f->source, &d, &found);
	if (rc != OK || (found && d.verdict != DOC_FAILED && d.source_size == f->size && d.source_mtime_ns == f->mtime_ns))
		return rc;
	if (is_too_old(s, f, found ? &d : NULL, why, sizeof why))
		return OK;
	ahead_read(s, a, f);
	if (a->read_rc != OK || clean_is_blank(buf_cstr(&a->data), a->data.len)
		|| (found && d.verdict != DOC_FAILED && memcmp(d.hash, a->hash, 32) == 0))
		return OK;
	rc = ahead_repeats(s, a, &repeats);
	if (rc != OK || repeats)
		return rc;
	a->parse = (struct parse){ .name = f->source, .data = buf_cstr(&a->data), .len = a->data.len,
		.text_bytes_max = r->g.l->text_bytes_max };
	rc = parse_start(r->parsers, &a->parse, r->e);
	a->started = rc == OK;
	return rc;
}

static int is_asked_for(const struct ingest_request *q, const char *source);

/* Keeps the ring filled up to the file after `at` that it has room for. */
static int ahead_fill(struct sync *s, size_t at)
{
	int rc = OK;

	if (s->next < at)
		s->next = at;
	while (rc == OK && s->next < s->w.n && s->next < at + s->ahead_n && (s->bytes < AHEAD_BYTES_MAX || s->next == at)) {
		const struct walk_file *f = &s->w.files[s->next];

		if (is_asked_for(s->q, f->source))
			rc = ahead_look(s, &s->ahead[s->next % s->ahead_n], f);
		s->next++;
	}
	return rc;
}

/* ---- files ---- */

/* Compares the file's hash with the record, and its text is made. */
static int look_inside(struct sync *s, struct ahead *a, struct job *j, const struct doc *have, int stale)
{
	struct run *r = &s->r;
	int rc = OK, done = 0;

	if (a->read_rc == E_MEMORY) {
		*r->e = a->why;
		return E_MEMORY;
	}
	if (a->read_rc != OK) {
		job_without_text(j, DOC_FAILED, a->why.msg, have, 1);
		return OK;
	}
	memcpy(j->d.hash, a->hash, 32);
	if (have && !stale && have->verdict != DOC_FAILED && memcmp(have->hash, j->d.hash, 32) == 0 && job_same_settings(j, have)) {
		rc = job_keep_record(r, j, have, &done);
		if (rc != OK || done)
			return rc;
	}
	if (!clean_is_blank(buf_cstr(&a->data), a->data.len))
		rc = job_duplicate(r, j, &done);
	if (rc == OK && !done) {
		struct job_source from = { .name = a->file->source, .data = buf_cstr(&a->data), .len = a->data.len,
			.started = a->started ? &a->parse : NULL };

		a->started = 0;                                         /* job_extract waits for it in every case */
		rc = job_extract(r, j, &from, have, 1);
	}
	return rc;
}

static int is_too_large(const char *reason)
{
	return strncmp(reason, "larger than ", 12) == 0;
}

/* The file's record is now in j, as far as it matters here; decides about the file. */
static int look_at_known(struct sync *s, const struct walk_file *f, struct ahead *a, struct job *j, const struct doc *have)
{
	struct run *r = &s->r;
	int done = 0, stale = 0, rc = OK;
	char reason[WHY_MAX];

	if (f->verdict) {
		job_without_text(j, f->verdict, f->reason, have, 0);
		return OK;
	}
	if (f->size > r->g.l->file_bytes_max) {
		snprintf(reason, sizeof reason, "larger than ingest.file_bytes_max (%llu bytes)",
			(unsigned long long)r->g.l->file_bytes_max);
		job_without_text(j, DOC_SKIPPED, reason, have, 1);
		return OK;
	}
	if (is_too_old(s, f, have, reason, sizeof reason)) {
		job_without_text(j, DOC_SKIPPED, reason, have, 0);
		return OK;
	}
	if (j->may_have_parts)
		rc = parts_stale(r, f->source, &stale);
	if (rc == OK && have && !stale && have->verdict != DOC_FAILED && have->source_size == f->size
		&& have->source_mtime_ns == f->mtime_ns && job_same_settings(j, have) && !is_too_large(have->reason))
		rc = job_keep_record(r, j, have, &done);
	if (rc != OK || done)
		return rc;
	if (!a->file)
		ahead_read(s, a, f);
	return look_inside(s, a, j, have, stale);
}

static int look_at_file(struct sync *s, const struct walk_file *f, struct ahead *a, struct job *j)
{
	struct run *r = &s->r;
	struct doc d, *have = NULL;
	int found, rc;

	job_fields(r, j, f->source, f->root, f->size);
	j->d.source_mtime_ns = f->mtime_ns;
	j->reason = job_keep(j, f->reason);
	rc = run_find(r, NULL, f->source, &d, &found);
	if (rc != OK)
		return rc;
	have = found ? &d : NULL;
	j->may_have_parts = have && parts_possible(have->type);
	if (have && doc_is_hidden(r, have)) {
		job_refuse_hidden(r, j);
		return OK;
	}
	rc = job_inherit(r, j, f->source, have, have && (have->source_mtime_ns || have->root[0]));
	if (rc == E_CONFLICT)
		return OK;
	return rc == OK ? look_at_known(s, f, a, j, have) : rc;
}

/* One file in its turn. */
static int run_file(struct sync *s, size_t at)
{
	const struct walk_file *f = &s->w.files[at];
	struct ahead *a = &s->ahead[at % s->ahead_n];
	struct run *r = &s->r;
	struct job *j = NULL;
	int rc = run_cancelled(r);

	if (rc == OK)
		rc = ahead_fill(s, at);
	if (rc == OK && !(j = job_new()))
		rc = err_set(r->e, E_MEMORY, "%s: out of memory", f->source);
	if (rc == OK)
		rc = look_at_file(s, f, a, j);
	ahead_clear(s, a);
	if (rc != OK) {
		job_free(j);
		return rc;
	}
	rc = group_add(&r->g, j, r->e);
	if (rc == OK)
		rc = parts_run(r, j);
	r->g.progress.files_done++;
	r->g.progress.bytes_done += f->size;
	group_progress(&r->g);
	return rc == OK && group_is_due(&r->g) ? run_commit(r) : rc;
}

/* Among q->only, or below one of them. Sorted by bytes, a folder may be followed by "folder-x" before "folder/y": so
 * every prefix that ends before a slash is looked up on its own. */
static int is_asked_for(const struct ingest_request *q, const char *source)
{
	size_t len = strlen(source);

	if (!q->only)
		return 1;
	for (size_t n = len; n > 0; n--) {
		size_t lo = 0, hi = q->only_n;

		if (n < len && source[n] != '/')
			continue;
		while (lo < hi) {
			size_t mid = (lo + hi) / 2;
			int c = strncmp(q->only[mid], source, n);

			if (c == 0 && q->only[mid][n] == 0)
				return 1;
			if (c < 0)
				lo = mid + 1;
			else
				hi = mid;
		}
	}
	return 0;
}

static int run_files(struct sync *s)
{
	int rc = OK;

	s->ahead_n = s->r.parsers ? 2 * (size_t)parsers_workers(s->r.parsers) + 1 : 1;
	if (s->ahead_n > AHEAD_MAX)
		s->ahead_n = AHEAD_MAX;
	s->ahead = mem_calloc(s->ahead_n, sizeof *s->ahead);
	if (!s->ahead)
		return err_set(s->r.e, E_MEMORY, "files read ahead: out of memory");
	for (size_t i = 0; i < s->w.n && rc == OK; i++)
		if (s->w.files[i].verdict != DOC_REMOVED && is_asked_for(s->q, s->w.files[i].source))      /* else pruned and reported */
			rc = run_file(s, i);
	for (size_t i = 0; i < s->ahead_n; i++)
		ahead_clear(s, &s->ahead[i]);
	mem_free(s->ahead);
	return rc == OK ? run_commit(&s->r) : rc;
}

/* ---- pruning ---- */

struct gone { struct arena strings; const char **ids, **sources, **held; size_t n, cap; }; /* held: why it stays, or NULL */

static int gone_add(struct gone *g, const char *id, const char *source, struct err *e)
{
	if (g->n == g->cap) {
		size_t cap = g->cap ? g->cap * 2 : 64;
		const char **ids = mem_realloc(g->ids, cap * sizeof *ids), **sources, **held;

		if (ids)
			g->ids = ids;
		sources = ids ? mem_realloc(g->sources, cap * sizeof *sources) : NULL;
		if (sources)
			g->sources = sources;
		held = sources ? mem_realloc(g->held, cap * sizeof *held) : NULL;
		if (!held)
			return err_set(e, E_MEMORY, "prune of %zu documents: out of memory", cap);
		g->held = held;
		g->cap = cap;
	}
	g->held[g->n] = NULL;
	g->ids[g->n] = arena_strdup(&g->strings, id);
	g->sources[g->n] = arena_strdup(&g->strings, source);
	if (!g->ids[g->n] || !g->sources[g->n])
		return err_set(e, E_MEMORY, "prune of %zu documents: out of memory", g->n + 1);
	g->n++;
	return OK;
}

static int is_under(const char *source, const char *root)
{
	size_t n = strlen(root);

	return strncmp(source, root, n) == 0 && (source[n] == '/' || (n > 0 && root[n - 1] == '/'));
}

/* Found by the walk, itself or the file it is a part of. */
static int is_there(const struct walk *w, const struct doc *d)
{
	struct doc up = *d;
	char parent[PARENT_MAX];

	if (walk_has(w, d->source))
		return 1;
	while (parts_parent(&up, parent, sizeof parent)) {
		if (walk_has(w, parent))
			return 1;
		up.source = parent;
	}
	return 0;
}

/* Came from a synced folder, lies under one that was walked whole, and was not found there; or was given itself. */
static int is_gone(const struct walk *w, const struct doc *d)
{
	if (d->root[0])
		for (size_t i = 0; i < w->root_n; i++)
			if (w->roots[i].complete && is_under(d->source, w->roots[i].source))
				return !is_there(w, d);
	return 0;
}

/* A file that was given itself, with its parts. */
static int gone_file(struct run *r, struct gone *g, const struct doc *d)
{
	char file[PARENT_MAX];
	const char *source, *id;
	int rc = gone_add(g, d->id, d->source, r->e);

	if (!parts_possible(d->type) || snprintf(file, sizeof file, "%s", d->source) >= (int)sizeof file)
		return rc;
	for (size_t i = 0; rc == OK && parts_at(r, file, i, &source, &id, r->e); i++)
		rc = gone_add(g, id, source, r->e);
	return rc;
}

static int gone_find(struct run *r, struct walk *w, struct gone *g)
{
	struct reader all = reader_seen(r, r->collection);
	struct doc *page = mem_calloc(DOC_PAGE, sizeof *page);
	uint64_t after = 0;
	size_t got = 0;
	int rc = page ? run_snapshot(r) : err_set(r->e, E_MEMORY, "prune: out of memory");

	do {
		arena_clear(&r->docs);
		if (rc == OK)
			rc = run_cancelled(r);
		if (rc == OK)
			rc = snapshot_docs(r->snap, &all, after, ~0u, DOC_PAGE, &r->docs, page, &got, r->e);
		for (size_t i = 0; i < got && rc == OK; i++) {
			after = page[i].key;
			if (is_gone(w, &page[i]))
				rc = gone_add(g, page[i].id, page[i].source, r->e);
		}
	} while (rc == OK && got == DOC_PAGE);
	for (size_t i = 0; i < w->n && rc == OK; i++) {
		struct doc d;
		int have = 0;

		if (!w->files[i].missing)
			continue;
		rc = run_find(r, NULL, w->files[i].source, &d, &have);
		if (rc == OK && have && !doc_is_hidden(r, &d)) {
			w->files[i].verdict = DOC_REMOVED;
			rc = gone_file(r, g, &d);
		}
	}
	mem_free(page);
	return rc;
}

/* Deletes [from, to) in one commit and reports them. A document that another writer removed meanwhile is as good; one
 * on hold stays. */
static int gone_delete(struct run *r, struct gone *g, size_t from, size_t to)
{
	struct write *w = NULL;
	struct err why = { 0 };
	int rc = OK;

	if (!r->g.dry_run)
		rc = index_write_begin(&w, r->g.x, r->e);
	for (size_t i = from; i < to && rc == OK && w; i++) {
		rc = index_delete(w, g->ids[i], &why);
		if (rc == E_DENIED && !(g->held[i] = arena_strdup(&g->strings, why.msg)))
			rc = err_set(&why, E_MEMORY, "prune: out of memory");
		if (rc == E_NOT_FOUND || rc == E_DENIED)
			rc = OK;
		else if (rc != OK)
			*r->e = why;
	}
	if (w && rc != OK)
		index_write_abort(w);
	else if (w)
		rc = index_write_commit(w, r->e);
	for (size_t i = from; i < to && rc == OK; i++) {
		struct ingest_event ev = { g->sources[i], g->held[i] ? DOC_SKIPPED : DOC_REMOVED, g->ids[i], 0, 0,
			g->held[i] ? g->held[i] : "", "" };

		group_report(&r->g, &ev);
	}
	return rc;
}

static int run_prune(struct run *r, struct walk *w)
{
	struct gone g = { 0 };
	int rc;

	arena_init(&g.strings, SIZE_MAX);
	rc = gone_find(r, w, &g);
	parts_forget(r);
	snapshot_close(r->snap);
	r->snap = NULL;
	for (size_t i = 0; i < g.n && rc == OK; ) {
		size_t to = g.n - i > DOC_PAGE ? i + DOC_PAGE : g.n;

		rc = gone_delete(r, &g, i, to);
		i = to;
	}
	mem_free(g.ids);
	mem_free(g.sources);
	mem_free(g.held);
	arena_clear(&g.strings);
	return rc;
}

int ingest_paths(const struct ingest *g, const struct ingest_request *q, const struct ingest_sink *sink,
	struct ingest_summary *sum, struct err *e)
{
	struct sync s = { .q = q };
	const struct walk_options walk = { .depth_max = g->limits->depth_max, .except = g->except, .within = q->within,
		.within_n = q->within_n, .cancel = g->cancel };
	struct run *r = &s.r;
	int rc = run_begin(r, g, sink, sum, e);

	r->collection = q->collection;
	r->acl = q->acl;
	r->acl_n = q->acl_n;
	r->meta = q->meta && *q->meta ? q->meta : NULL;
	r->reader = q->reader;
	r->g.dry_run = q->dry_run;
	if (rc == OK)
		rc = walk_paths(&s.w, q->cwd, q->paths, q->path_n, &walk, r->e);
	r->g.progress.files_total = s.w.n;
	for (size_t i = 0; i < s.w.n; i++)
		r->g.progress.bytes_total += s.w.files[i].size;
	if (rc == OK)
		group_progress(&r->g);
	if (rc == OK && q->prune)
		rc = run_prune(r, &s.w);
	if (rc == OK)
		rc = run_files(&s);
	walk_clear(&s.w);
	run_end(r, rc);
	return rc;
}
