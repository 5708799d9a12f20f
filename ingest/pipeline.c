/* pipeline.c: owns the order of things: walk -> prune -> per file: unchanged? duplicate? -> extract -> chunk -> group.
 *
 * A file is left alone when size and time are those of the record, or when its SHA-256 is, and its groups and meta are
 * what this call asks for. A file that repeats another document of the collection (same hash, groups and meta) is kept
 * as a record without text that names the original (verdict skipped in the store, with duplicate_of); as soon as the
 * original is gone or differs, the next call makes it a document. Pruning comes before the files, so that a renamed
 * file is never taken for a duplicate of its own old name. A file that fails to be read keeps the text it had.
 * Groups that the call does not name come from the path rules, else stay as they are, else are the default. What the
 * call's reader may not see is left alone: its file or id is refused, without a word about what is there.
 * Reads of the store go through one snapshot a group, closed before each commit.
 * Threads: everything runs in the caller's. Failure: a file's is its verdict; the store's, the embedder's and memory end
 * the call after what was committed. */
#include "ingest/ingest.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ingest/clean.h"
#include "ingest/group.h"
#include "ingest/walk.h"

enum { PRUNE_PAGE = 256, DOC_ARENA = 64 << 20 };

struct run {
	struct group g;
	const char *collection, *meta;
	const char *const *acl; size_t acl_n;
	const struct reader *reader;    /* NULL: sees everything */
	struct snapshot *snap;          /* NULL: opened when needed */
	struct arena docs;              /* of the record looked at */
	struct err *e;                  /* the caller's, or own */
	struct err own;
};

void ingest_limits_default(struct ingest_limits *l)
{
	*l = (struct ingest_limits){
		.file_bytes_max = (uint64_t)64 << 20, .text_bytes_max = (uint64_t)32 << 20, .chunk_tokens = 200,
		.chunk_overlap_tokens = 20, .commit_docs = 64, .commit_ms = 2000, .depth_max = 64,
	};
}

static int run_begin(struct run *r, struct index *x, struct embedder *m, const struct ingest_limits *l,
	const struct ingest_sink *sink, struct ingest_summary *sum, struct err *e)
{
	memset(r, 0, sizeof *r);
	arena_init(&r->docs, DOC_ARENA);
	r->g = (struct group){ .x = x, .m = m, .l = l, .sink = sink, .sum = sum, .started_ms = clock_ms() };
	r->e = e ? e : &r->own;
	if (sum)
		memset(sum, 0, sizeof *sum);
	return m ? OK : err_set(r->e, E_NOT_FOUND, "ingest needs an embedder");
}

/* rc: what the call returns. */
static void run_end(struct run *r, int rc)
{
	if (rc != OK && rc != E_CANCELLED)
		group_fail(&r->g, r->e);
	snapshot_close(r->snap);
	r->snap = NULL;
	group_clear(&r->g);
	arena_clear(&r->docs);
	if (r->g.sum)
		r->g.sum->elapsed_ms = clock_ms() - r->g.started_ms;
}

static int run_commit(struct run *r)
{
	snapshot_close(r->snap);
	r->snap = NULL;
	return group_commit(&r->g, r->e);
}

static int cancelled(struct run *r)
{
	return flag_is(r->g.cancel) ? err_set(r->e, E_CANCELLED, "cancelled") : OK;
}

static int need_snapshot(struct run *r)
{
	return r->snap ? OK : snapshot_open(&r->snap, r->g.x, r->e);
}

/* ---- what the store knows ---- */

static struct reader everything(const char *collection)
{
	return (struct reader){ .collection = collection, .all_groups = 1 };
}

/* The reader of this run in a collection. */
static struct reader seen_by(const struct run *r, const char *collection)
{
	struct reader out = r->reader ? *r->reader : everything(collection);

	out.collection = collection;
	return out;
}

static int hidden(const struct run *r, const struct doc *d)
{
	struct reader reader = seen_by(r, NULL);

	return !reader_may_see(&reader, d);
}

/* *have: 1 when the store has a document of this id (preferred) or source, seen or not. */
static int find_document(struct run *r, const char *id, const char *source, struct doc *out, int *have)
{
	struct reader all = everything(id && *id ? NULL : r->collection);
	struct err why;
	int rc = need_snapshot(r);

	*have = 0;
	arena_clear(&r->docs);
	if (rc != OK || ((!id || !*id) && !*source))
		return rc;
	if (id && *id)
		rc = snapshot_doc(r->snap, &all, id, &r->docs, out, &why);
	else
		rc = snapshot_doc_by_source(r->snap, &all, r->collection, source, &r->docs, out, &why);
	*have = rc == OK;
	if (rc != OK && rc != E_NOT_FOUND)
		*r->e = why;
	return rc == E_NOT_FOUND ? OK : rc;
}

const struct ingest_acl_rule *ingest_acl_find(const struct ingest_acl *t, const char *path)
{
	const struct ingest_acl_rule *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; i < t->rule_n; i++) {
		const char *p = t->rules[i].path;
		size_t n = strcmp(p, "/") == 0 ? 0 : strlen(p);
		char after = strncmp(path, p, n) == 0 ? path[n] : 'x';

		/* '#': a member of the archive that the path names */
		if ((after == '/' || after == 0 || after == '#') && (!best || n > best_len)) {
			best = &t->rules[i];
			best_len = n;
		}
	}
	return best;
}

static int same_groups(const char *const *a, size_t a_n, const char *const *b, size_t b_n)
{
	for (int turn = 0; turn < 2; turn++) {
		for (size_t i = 0; i < a_n; i++) {
			size_t k = 0;

			while (k < b_n && strcmp(a[i], b[k]) != 0)
				k++;
			if (k == b_n)
				return 0;
		}
		const char *const *list = a;
		size_t n = a_n;

		a = b, a_n = b_n, b = list, b_n = n;
	}
	return 1;
}

static int same_settings(const struct job *j, const struct doc *d)
{
	return same_groups(j->d.acl, j->d.acl_n, (const char *const *)d->acl, d->acl_n) && strcmp(j->d.meta, d->meta) == 0;
}

static int has_text(const struct doc *d)
{
	return doc_verdict_has_text(d->verdict);
}

/* Is the document `id` still what a duplicate with this hash may point at? */
static int original_stands(struct run *r, const struct job *j, const char *id, const uint8_t hash[32], int *stands)
{
	struct reader all = seen_by(r, r->collection);
	struct arena a;
	struct doc d;
	struct err why;
	int rc;

	*stands = 0;
	arena_init(&a, DOC_ARENA);
	rc = snapshot_doc(r->snap, &all, id, &a, &d, &why);
	if (rc == OK && has_text(&d) && memcmp(d.hash, hash, 32) == 0 && same_settings(j, &d)) {
		*stands = 1;
		for (size_t i = 0; i < r->g.n; i++)             /* unless this very group replaces it */
			if (r->g.jobs[i]->store && strcmp(r->g.jobs[i]->source, d.source) == 0)
				*stands = 0;
	}
	arena_clear(&a);
	if (rc != OK && rc != E_NOT_FOUND)
		*r->e = why;
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- one document ---- */

static const char *keep(struct job *j, const char *s)
{
	const char *out = arena_strdup(&j->strings, s ? s : "");

	return out ? out : "";
}

/* The event repeats what is stored; nothing is written. *done: 0 when the record must be looked at anew. */
static int keep_record(struct run *r, struct job *j, const struct doc *d, int *done)
{
	int rc = OK;

	*done = 1;
	if (d->duplicate_of[0]) {
		rc = original_stands(r, j, d->duplicate_of, d->hash, done);
		j->verdict = DOC_DUPLICATE;
	} else {
		j->verdict = has_text(d) ? DOC_UNCHANGED : d->verdict;
	}
	if (*done) {
		j->reason = has_text(d) ? "" : keep(j, d->reason);
		j->id = keep(j, d->id);
		j->chars = d->chars;
		j->chunks = d->chunks;
	}
	return rc;
}

/* No text: a record says why, unless the store has that already, or has text that a failure must not cost. */
static void job_without_text(struct job *j, int verdict, const char *reason, const struct doc *have, int keep_it)
{
	const char *old = have ? keep(j, have->id) : "";

	j->verdict = j->d.verdict = verdict;
	j->reason = j->d.reason = keep(j, reason);
	j->id = old;
	j->store = keep_it && !(have && verdict == DOC_FAILED && has_text(have))
		&& !(have && have->verdict == verdict && strcmp(have->reason, reason) == 0 && !have->duplicate_of[0]
			&& memcmp(have->hash, j->d.hash, 32) == 0);
	if (have && verdict == DOC_FAILED && has_text(have)) {
		const char *more = arena_printf(&j->strings, "%s (the text stored before is kept)", reason);

		j->reason = more ? more : j->reason;
	}
}

/* A title when the document has none: the file's name without its extension. */
static const char *name_title(struct job *j, const char *path)
{
	const char *base = path_base(path), *ext = path_ext(path);
	size_t n = strlen(base);

	if (*ext && (size_t)(ext - base) > 1)
		n = (size_t)(ext - base) - 1;
	base = arena_strndup(&j->strings, base, n);
	return base && *base ? base : "Untitled";
}

static size_t count_tokens(const void *ctx, const char *text, size_t len)
{
	return embedder_count_tokens(ctx, text, len);
}

static int extract_status(int verdict)
{
	return verdict == EXTRACT_FAILED ? DOC_FAILED : verdict == EXTRACT_SKIPPED ? DOC_SKIPPED
		: verdict == EXTRACT_PARTIAL ? DOC_PARTIAL : DOC_ADDED;
}

/* Text and chunks of a document whose bytes are new. name NULL: data is text. */
static int job_extract(struct run *r, struct job *j, const char *name, const char *data, size_t len, const char *title,
	const struct doc *have, int keep_it)
{
	struct chunk_options o = {
		.tokens = r->g.l->chunk_tokens, .overlap_tokens = r->g.l->chunk_overlap_tokens,
		.embed_tokens = embedder_info(r->g.m)->passage_tokens, .count = count_tokens, .ctx = r->g.m,
	};
	const char *note = j->reason;
	int rc, verdict;

	rc = name ? extract_file(&j->x, name, data, len, r->g.l->text_bytes_max, r->e)
		: extract_plain(&j->x, data, len, r->g.l->text_bytes_max, r->e);
	if (rc != OK)
		return err_wrap(r->e, "%s", j->source);
	verdict = extract_status(j->x.verdict);
	j->d.type = j->x.type;
	if (title && *title)
		extracted_title(&j->x, title, strlen(title));
	if (!j->x.title[0]) {
		const char *from = name_title(j, name && *name ? name : j->source);

		extracted_title(&j->x, from, strlen(from));
	}
	j->d.title = j->x.title;
	if (verdict == DOC_SKIPPED || verdict == DOC_FAILED) {
		job_without_text(j, verdict, j->x.reason, have, keep_it);
		return OK;
	}
	rc = chunk_document(&j->set, &j->x, &o, r->e);
	if (rc != OK)
		return err_wrap(r->e, "%s", j->source);
	j->verdict = verdict == DOC_PARTIAL ? DOC_PARTIAL : have ? DOC_UPDATED : DOC_ADDED;
	j->d.verdict = verdict;
	j->reason = j->x.reason[0] ? keep(j, j->x.reason) : note;
	j->d.reason = j->reason;
	j->d.text = j->x.text.data;
	j->d.text_len = j->x.text.len;
	j->d.chunks = j->set.chunks;
	j->d.chunk_n = j->set.n;
	j->chars = utf8_count(j->x.text.data, j->x.text.len);
	j->chunks = j->set.n;
	j->store = 1;
	return OK;
}

static void job_fields(struct run *r, struct job *j, const char *source, const char *root, uint64_t bytes)
{
	j->source = keep(j, source);
	j->bytes = bytes;
	j->d = (struct doc_in){ .collection = r->collection, .title = "", .source = j->source, .type = "", .bytes = bytes,
		.source_size = bytes, .root = keep(j, root), .meta = r->meta ? r->meta : "{}", .acl = r->acl, .acl_n = r->acl_n, .reason = "",
		.duplicate_of = "", .verdict = DOC_ADDED };
}

/* Groups and meta that this call does not name: a rule's for the path, else those the document has (what was for some
 * eyes only must not become everyone's because a later call forgot to say so), else the default. path NULL: no rules.
 * have NULL: a new document. */
static int job_inherit(const struct run *r, struct job *j, const char *path, const struct doc *have)
{
	const struct ingest_acl *table = &r->g.l->acl;
	const struct ingest_acl_rule *rule = path ? ingest_acl_find(table, path) : NULL;
	const char **acl;

	if (!r->meta && have)
		j->d.meta = keep(j, have->meta);
	if (r->acl)
		return OK;
	j->d.acl = rule ? rule->groups : table->unset;
	j->d.acl_n = rule ? rule->group_n : table->unset_n;
	if (rule || !have)
		return OK;
	acl = arena_alloc(&j->strings, (have->acl_n + 1) * sizeof *acl);
	if (!acl)
		return err_set(r->e, E_MEMORY, "%s: out of memory", j->source);
	for (size_t i = 0; i < have->acl_n; i++) {
		acl[i] = arena_strdup(&j->strings, have->acl[i]);
		if (!acl[i])
			return err_set(r->e, E_MEMORY, "%s: out of memory", j->source);
	}
	j->d.acl = acl;
	j->d.acl_n = have->acl_n;
	return OK;
}

/* What stands in the way may not be seen: refused in words that fit any reason. */
static void job_refuse_hidden(struct run *r, struct job *j)
{
	j->verdict = DOC_FAILED;
	j->reason = "this id or source cannot be used";
	if (r->g.refused.status == OK)
		err_set(&r->g.refused, E_CONFLICT, "%s", j->reason);
}

/* Makes j a duplicate when its hash is another document's. *is: 1 then. */
static int job_duplicate(struct run *r, struct job *j, int *is)
{
	struct reader all = seen_by(r, r->collection);
	struct arena a;
	struct doc d;
	struct err why;
	const char *of = NULL;
	int rc = OK;

	*is = 0;
	for (size_t i = 0; i < r->g.n && !*is; i++) {
		const struct job *k = r->g.jobs[i];

		if (k->store && k->d.text_len > 0 && memcmp(k->d.hash, j->d.hash, 32) == 0 && strcmp(k->d.meta, j->d.meta) == 0
			&& same_groups(k->d.acl, k->d.acl_n, j->d.acl, j->d.acl_n)) {
			j->duplicate_job = (long)i;
			of = k->source;
			*is = 1;
		}
	}
	arena_init(&a, DOC_ARENA);
	if (!*is) {
		rc = snapshot_doc_by_hash(r->snap, &all, r->collection, j->d.hash, &a, &d, &why);
		if (rc == OK && strcmp(d.source, j->source) != 0) {
			rc = original_stands(r, j, d.id, j->d.hash, is);
			j->d.duplicate_of = keep(j, d.id);
			of = d.source[0] ? d.source : d.id;
		} else if (rc != OK && rc != E_NOT_FOUND) {
			*r->e = why;
		}
	}
	if (*is) {
		const char *reason = arena_printf(&j->strings, "same content as %.400s", of);

		j->verdict = DOC_DUPLICATE;
		j->d.verdict = DOC_DUPLICATE;
		j->d.title = name_title(j, j->source);
		j->reason = j->d.reason = reason ? reason : "";
		j->store = 1;
	} else {
		j->d.duplicate_of = "";
	}
	arena_clear(&a);
	return rc == E_NOT_FOUND ? OK : rc;
}

/* ---- files ---- */

/* Reads the file and compares its hash with the record. */
static int look_inside(struct run *r, const struct walk_file *f, struct job *j, const struct doc *have)
{
	struct buf data;
	struct err why = { 0 };
	int rc, done = 0;

	buf_init(&data, r->g.l->file_bytes_max < SIZE_MAX ? (size_t)r->g.l->file_bytes_max : SIZE_MAX);
	rc = file_read(f->path, &data, &why);
	if (rc != OK) {
		if (rc != E_MEMORY) {
			job_without_text(j, DOC_FAILED, why.msg, have, 1);
			rc = OK;
		} else {
			*r->e = why;
		}
		goto out;
	}
	sha256_of(buf_cstr(&data), data.len, j->d.hash);
	if (have && have->verdict != DOC_FAILED && memcmp(have->hash, j->d.hash, 32) == 0 && same_settings(j, have)) {
		rc = keep_record(r, j, have, &done);
		if (rc != OK || done)
			goto out;
	}
	if (!clean_is_blank(buf_cstr(&data), data.len))
		rc = job_duplicate(r, j, &done);
	if (rc == OK && !done)
		rc = job_extract(r, j, f->source, buf_cstr(&data), data.len, NULL, have, 1);
out:
	buf_clear(&data);
	return rc;
}

static int is_too_large(const char *reason)
{
	return strncmp(reason, "larger than ", 12) == 0;
}

/* Decides about one file of the walk. */
static int look_at_file(struct run *r, const struct walk_file *f, struct job *j)
{
	struct doc d, *have = NULL;
	int found, done = 0, rc;
	char reason[100];

	job_fields(r, j, f->source, f->root, f->size);
	j->d.source_mtime_ns = f->mtime_ns;
	j->reason = keep(j, f->reason);
	rc = find_document(r, NULL, f->source, &d, &found);
	if (rc != OK)
		return rc;
	have = found ? &d : NULL;
	if (have && hidden(r, have)) {
		job_refuse_hidden(r, j);
		return OK;
	}
	if (job_inherit(r, j, f->source, have) != OK)
		return E_MEMORY;
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
	if (have && have->verdict != DOC_FAILED && have->source_size == f->size && have->source_mtime_ns == f->mtime_ns
		&& same_settings(j, have) && !is_too_large(have->reason))
		rc = keep_record(r, j, have, &done);
	return rc == OK && !done ? look_inside(r, f, j, have) : rc;
}

static int run_files(struct run *r, const struct walk *w)
{
	int rc = OK;

	for (size_t i = 0; i < w->n && rc == OK; i++) {
		const struct walk_file *f = &w->files[i];
		struct job *j;

		if (f->verdict == DOC_REMOVED)
			continue;                                       /* pruned and reported */
		rc = cancelled(r);
		j = rc == OK ? job_new() : NULL;
		if (rc == OK && !j)
			rc = err_set(r->e, E_MEMORY, "%s: out of memory", f->source);
		if (rc == OK)
			rc = look_at_file(r, f, j);
		if (rc != OK) {
			job_free(j);
			break;
		}
		rc = group_add(&r->g, j, r->e);
		r->g.progress.files_done++;
		r->g.progress.bytes_done += f->size;
		group_progress(&r->g);
		if (rc == OK && group_is_due(&r->g))
			rc = run_commit(r);
	}
	return rc == OK ? run_commit(r) : rc;
}

/* ---- pruning ---- */

struct gone { struct arena strings; const char **ids, **sources, **held; size_t n, cap; }; /* held: why it stays, or NULL */

static int gone_add(struct gone *g, const struct doc *d, struct err *e)
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
	g->ids[g->n] = arena_strdup(&g->strings, d->id);
	g->sources[g->n] = arena_strdup(&g->strings, d->source);
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

/* Came from a synced folder, lies under one that was walked whole, and was not found there; or was given itself. */
static int is_gone(const struct walk *w, const struct doc *d)
{
	if (d->root[0])
		for (size_t i = 0; i < w->root_n; i++)
			if (w->roots[i].complete && is_under(d->source, w->roots[i].source))
				return !walk_has(w, d->source);
	return 0;
}

static int gone_find(struct run *r, struct walk *w, struct gone *g)
{
	struct reader all = seen_by(r, r->collection);
	struct doc *page = mem_calloc(PRUNE_PAGE, sizeof *page);
	uint64_t after = 0;
	size_t got = 0;
	int rc = page ? need_snapshot(r) : err_set(r->e, E_MEMORY, "prune: out of memory");

	do {
		arena_clear(&r->docs);
		if (rc == OK)
			rc = cancelled(r);
		if (rc == OK)
			rc = snapshot_docs(r->snap, &all, after, ~0u, PRUNE_PAGE, &r->docs, page, &got, r->e);
		for (size_t i = 0; i < got && rc == OK; i++) {
			after = page[i].key;
			if (is_gone(w, &page[i]))
				rc = gone_add(g, &page[i], r->e);
		}
	} while (rc == OK && got == PRUNE_PAGE);
	for (size_t i = 0; i < w->n && rc == OK; i++) {
		struct doc d;
		int have = 0;

		if (!w->files[i].missing)
			continue;
		rc = find_document(r, NULL, w->files[i].source, &d, &have);
		if (rc == OK && have && !hidden(r, &d)) {
			w->files[i].verdict = DOC_REMOVED;
			rc = gone_add(g, &d, r->e);
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
			g->held[i] ? g->held[i] : "" };

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
	snapshot_close(r->snap);
	r->snap = NULL;
	for (size_t i = 0; i < g.n && rc == OK; ) {
		size_t to = g.n - i > PRUNE_PAGE ? i + PRUNE_PAGE : g.n;

		rc = gone_delete(r, &g, i, to);
		i = to;
	}
	mem_free(g.ids);
	mem_free(g.sources);
	mem_free(g.held);
	arena_clear(&g.strings);
	return rc;
}

int ingest_paths(struct index *x, struct embedder *m, const struct ingest_limits *l, const struct ingest_request *q,
	const struct ingest_sink *sink, struct ingest_summary *sum, struct err *e)
{
	struct walk w = { 0 };
	struct run r;
	int rc = run_begin(&r, x, m, l, sink, sum, e);

	r.collection = q->collection;
	r.acl = q->acl;
	r.acl_n = q->acl_n;
	r.meta = q->meta && *q->meta ? q->meta : NULL;
	r.reader = q->reader;
	r.g.cancel = q->cancel;
	r.g.dry_run = q->dry_run;
	if (rc == OK)
		rc = walk_paths(&w, q->cwd, q->paths, q->path_n, l->depth_max, q->cancel, r.e);
	r.g.progress.files_total = w.n;
	for (size_t i = 0; i < w.n; i++)
		r.g.progress.bytes_total += w.files[i].size;
	if (rc == OK)
		group_progress(&r.g);
	if (rc == OK && q->prune)
		rc = run_prune(&r, &w);
	if (rc == OK)
		rc = run_files(&r, &w);
	walk_clear(&w);
	run_end(&r, rc);
	return rc;
}

/* ---- pushed documents ---- */

static int same_item(const struct run *r, const struct ingest_item *it, const struct job *j, const struct doc *d)
{
	return memcmp(d->hash, j->d.hash, 32) == 0 && same_settings(j, d) && strcmp(d->collection, r->collection) == 0
		&& (!it->title || !*it->title || strcmp(it->title, d->title) == 0)
		&& (!it->source || strcmp(it->source, d->source) == 0);
}

/* Pushed without id and source, and already there: nothing is stored, the event names the document that is. */
static int item_repeats(struct run *r, const struct ingest_item *it, struct job *j, int *repeats)
{
	struct reader all = seen_by(r, r->collection);
	struct err why;
	struct doc d;
	int rc = snapshot_doc_by_hash(r->snap, &all, r->collection, j->d.hash, &r->docs, &d, &why);

	*repeats = rc == OK && same_settings(j, &d) && (!it->title || !*it->title || strcmp(it->title, d.title) == 0);
	if (*repeats) {
		j->verdict = DOC_DUPLICATE;
		j->reason = "same content as the document named";
		j->id = keep(j, d.id);
		j->chars = d.chars;
		j->chunks = d.chunks;
	} else if (rc != OK && rc != E_NOT_FOUND) {
		*r->e = why;
	}
	return rc == E_NOT_FOUND ? OK : rc;
}

static int look_at_item(struct run *r, const struct ingest_item *it, struct job *j)
{
	const char *source = it->source ? it->source : "";
	int nameless = (!it->id || !*it->id) && !*source, found, done = 0, rc;
	struct doc d;
	char reason[100];

	r->collection = it->collection;
	r->acl = it->acl;
	r->acl_n = it->acl_n;
	r->meta = it->meta && *it->meta ? it->meta : NULL;
	r->reader = it->reader;
	job_fields(r, j, source, "", it->len);
	j->d.id = it->id && *it->id ? keep(j, it->id) : NULL;
	j->d.title = keep(j, it->title);
	sha256_of(it->data ? it->data : "", it->len, j->d.hash);
	rc = find_document(r, it->id, source, &d, &found);
	if (rc == OK && found && hidden(r, &d)) {
		job_refuse_hidden(r, j);
		return OK;
	}
	if (rc == OK)
		rc = job_inherit(r, j, NULL, found ? &d : NULL);
	if (rc == OK && found && has_text(&d) && same_item(r, it, j, &d))
		rc = keep_record(r, j, &d, &done);
	else if (rc == OK && nameless)
		rc = item_repeats(r, it, j, &done);
	if (rc != OK || done)
		return rc;
	if (it->len > r->g.l->file_bytes_max) {
		snprintf(reason, sizeof reason, "larger than ingest.file_bytes_max (%llu bytes)",
			(unsigned long long)r->g.l->file_bytes_max);
		job_without_text(j, DOC_SKIPPED, reason, found ? &d : NULL, !nameless);
		return OK;
	}
	return job_extract(r, j, it->is_text ? NULL : it->name && *it->name ? it->name : source, it->data ? it->data : "",
		it->len, it->title, found ? &d : NULL, !nameless);
}

/* *refused: the first document that the store would not take. */
static int run_items(struct run *r, const struct ingest_item *it, size_t n, struct err *refused)
{
	int rc = OK;

	r->g.progress.files_total = n;
	for (size_t i = 0; i < n && rc == OK; i++) {
		struct job *j = job_new();

		rc = j ? look_at_item(r, &it[i], j) : err_set(r->e, E_MEMORY, "document %zu: out of memory", i);
		if (rc != OK) {
			job_free(j);
			break;
		}
		rc = group_add(&r->g, j, r->e);
		r->g.progress.files_done++;
		r->g.progress.bytes_done += it[i].len;
		if (rc == OK && group_is_due(&r->g))
			rc = run_commit(r);
	}
	if (rc == OK)
		rc = run_commit(r);
	*refused = r->g.refused;
	return rc;
}

int ingest_items(struct index *x, struct embedder *m, const struct ingest_limits *l, const struct ingest_item *it, size_t n,
	const struct ingest_sink *sink, struct ingest_summary *sum, struct err *e)
{
	struct err refused;
	struct run r;
	int rc = run_begin(&r, x, m, l, sink, sum, e);

	if (rc == OK)
		rc = run_items(&r, it, n, &refused);
	run_end(&r, rc);
	return rc;
}

int ingest_item(struct index *x, struct embedder *m, const struct ingest_limits *l, const struct ingest_item *it,
	const struct ingest_sink *sink, struct err *e)
{
	struct err refused = { 0 };
	struct run r;
	int rc = run_begin(&r, x, m, l, sink, NULL, e);

	if (rc == OK)
		rc = run_items(&r, it, 1, &refused);
	run_end(&r, rc);
	if (rc == OK && refused.status != OK) {
		rc = refused.status;
		if (e)
			*e = refused;
	}
	return rc;
}
