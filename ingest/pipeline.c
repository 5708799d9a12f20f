/* pipeline.c: owns what becomes of one document: unchanged? duplicate? -> extract -> chunk, and the frame of a call.
 *
 * A file is left alone when size and time are those of the record, or when its SHA-256 is, and its groups and meta are
 * what this call asks for. A file that repeats another document of the collection (same hash, groups and meta) is kept
 * as a record without text that names the original (verdict skipped in the store, with duplicate_of); as soon as the
 * original is gone or differs, the next call makes it a document. A file that fails to be read keeps the text it had.
 * Groups that the call does not name come from the path rules, else stay as they are, else are the default. They stay
 * only where the record is known to be the same thing (a file that was synced, a document pushed by its id): a source
 * alone is a name that anyone may have taken before. What the call's reader may not see is left alone: its file or id
 * is refused, without a word about what is there; the store looks again as it writes, since embedding takes its time.
 * Files are extracted by the parsers' processes, pushed text here. Reads of the store go through one snapshot a group, closed before each commit.
 * Threads: everything runs in the caller's. Failure: a file's is its verdict; the store's, the embedder's and memory end
 * the call after what was committed. */
#include "ingest/pipeline.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ingest/extract.h"

void ingest_limits_default(struct ingest_limits *l)
{
	*l = (struct ingest_limits){
		.file_bytes_max = (uint64_t)64 << 20, .text_bytes_max = (uint64_t)32 << 20, .chunk_tokens = 200,
		.chunk_overlap_tokens = 20, .commit_docs = 64, .commit_ms = 2000, .depth_max = 64,
		.part_depth_max = 4, .part_bytes_max = (uint64_t)128 << 20,
	};
}

int run_begin(struct run *r, const struct ingest *g, const struct ingest_sink *sink, struct ingest_summary *sum, struct err *e)
{
	memset(r, 0, sizeof *r);
	arena_init(&r->docs, DOC_ARENA);
	r->g = (struct group){ .x = g->index, .m = g->embedder, .embedder_now = g->embedder_now,
		.embedder_ctx = g->embedder_ctx, .l = g->limits, .sink = sink, .sum = sum, .cancel = g->cancel,
		.started_ms = clock_ms() };
	r->parsers = g->parsers;
	r->e = e ? e : &r->own;
	if (sum)
		memset(sum, 0, sizeof *sum);
	return r->g.m ? OK : err_set(r->e, E_NOT_FOUND, "ingest needs an embedder");
}

void run_end(struct run *r, int rc)
{
	if (rc != OK && rc != E_CANCELLED)
		group_fail(&r->g, r->e);
	snapshot_close(r->snap);
	r->snap = NULL;
	group_clear(&r->g);
	arena_clear(&r->docs);
	parts_forget(r);
	if (r->g.sum)
		r->g.sum->elapsed_ms = clock_ms() - r->g.started_ms;
}

int run_commit(struct run *r)
{
	snapshot_close(r->snap);
	r->snap = NULL;
	return group_commit(&r->g, r->e);
}

int run_cancelled(struct run *r)
{
	return flag_is(r->g.cancel) ? err_set(r->e, E_CANCELLED, "cancelled") : OK;
}

int run_snapshot(struct run *r)
{
	return r->snap ? OK : snapshot_open(&r->snap, r->g.x, r->e);
}

/* ---- what the store knows ---- */

struct reader reader_of(const char *collection)
{
	return (struct reader){ .collection = collection, .all_groups = 1 };
}

struct reader reader_seen(const struct run *r, const char *collection)
{
	struct reader out = r->reader ? *r->reader : reader_of(collection);

	out.collection = collection;
	return out;
}

int doc_is_hidden(const struct run *r, const struct doc *d)
{
	struct reader reader = reader_seen(r, NULL);

	return !reader_may_see(&reader, d);
}

int run_find(struct run *r, const char *id, const char *source, struct doc *out, int *have)
{
	struct reader all = reader_of(id && *id ? NULL : r->collection);
	struct err why;
	int rc = run_snapshot(r);

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

static int are_among(const char *const *a, size_t a_n, const char *const *b, size_t b_n)
{
	for (size_t i = 0; i < a_n; i++) {
		size_t k = 0;

		while (k < b_n && strcmp(a[i], b[k]) != 0)
			k++;
		if (k == b_n)
			return 0;
	}
	return 1;
}

static int same_groups(const char *const *a, size_t a_n, const char *const *b, size_t b_n)
{
	return are_among(a, a_n, b, b_n) && are_among(b, b_n, a, a_n);
}

int job_same_settings(const struct job *j, const struct doc *d)
{
	return same_groups(j->d.acl, j->d.acl_n, (const char *const *)d->acl, d->acl_n) && strcmp(j->d.meta, d->meta) == 0;
}

/* Is the document `id` still what a duplicate with this hash may point at? */
static int original_stands(struct run *r, const struct job *j, const char *id, const uint8_t hash[32], int *stands)
{
	struct reader all = reader_seen(r, r->collection);
	struct arena a;
	struct doc d;
	struct err why;
	int rc;

	*stands = 0;
	arena_init(&a, DOC_ARENA);
	rc = snapshot_doc(r->snap, &all, id, &a, &d, &why);
	if (rc == OK && doc_verdict_has_text(d.verdict) && memcmp(d.hash, hash, 32) == 0 && job_same_settings(j, &d)) {
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

const char *job_keep(struct job *j, const char *s)
{
	const char *out = arena_strdup(&j->strings, s ? s : "");

	return out ? out : "";
}

int job_keep_record(struct run *r, struct job *j, const struct doc *d, int *done)
{
	int rc = OK;

	*done = 1;
	if (d->duplicate_of[0]) {
		rc = original_stands(r, j, d->duplicate_of, d->hash, done);
		j->verdict = DOC_DUPLICATE;
	} else {
		j->verdict = doc_verdict_has_text(d->verdict) ? DOC_UNCHANGED : d->verdict;
	}
	if (*done) {
		j->kept = 1;
		j->reason = doc_verdict_has_text(d->verdict) ? "" : job_keep(j, d->reason);
		j->id = job_keep(j, d->id);
		j->chars = d->chars;
		j->chunks = d->chunks;
	}
	return rc;
}

void job_without_text(struct job *j, int verdict, const char *reason, const struct doc *have, int keep_it)
{
	const char *old = have ? job_keep(j, have->id) : "";

	j->verdict = j->d.verdict = verdict;
	j->reason = j->d.reason = job_keep(j, reason);
	j->id = old;
	j->store = keep_it && !(have && verdict == DOC_FAILED && doc_verdict_has_text(have->verdict))
		&& !(have && have->verdict == verdict && strcmp(have->reason, reason) == 0 && !have->duplicate_of[0]
			&& memcmp(have->hash, j->d.hash, 32) == 0);
	if (have && verdict == DOC_FAILED && doc_verdict_has_text(have->verdict)) {
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

/* The document's text and blocks, from a parser or, for plain text, made here. */
static int job_text(struct run *r, struct job *j, const struct job_source *s)
{
	size_t max = r->g.l->text_bytes_max;
	int rc;

	if (!s->name)
		return extract_plain(&j->x, s->data, s->len, max, r->e);
	if (!s->started)
		return r->parsers ? parsers_extract(r->parsers, &j->x, s->name, s->data, s->len, max, r->g.cancel, r->e)
			: err_set(r->e, E_BUG, "a file without parsers");
	rc = parse_wait(r->parsers, s->started, r->g.cancel, r->e);
	j->x = s->started->x;
	memset(&s->started->x, 0, sizeof s->started->x);
	return rc;
}

int job_extract(struct run *r, struct job *j, const struct job_source *s, const struct doc *have, int keep_it)
{
	struct chunk_options o = {
		.tokens = r->g.l->chunk_tokens, .overlap_tokens = r->g.l->chunk_overlap_tokens,
		.embed_tokens = embedder_info(r->g.m)->passage_tokens, .count = count_tokens, .ctx = r->g.m,
	};
	const char *note = j->reason;
	int rc, verdict;

	rc = job_text(r, j, s);
	if (rc != OK)
		return err_wrap(r->e, "%s", j->source);
	verdict = extract_status(j->x.verdict);
	j->d.type = j->x.type;
	if (s->title && *s->title)
		extracted_title(&j->x, s->title, strlen(s->title));
	if (!j->x.title[0]) {
		const char *from = name_title(j, s->name && *s->name ? s->name : j->source);

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
	j->reason = j->x.reason[0] ? job_keep(j, j->x.reason) : note;
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

void job_fields(struct run *r, struct job *j, const char *source, const char *root, uint64_t bytes)
{
	j->source = job_keep(j, source);
	j->bytes = bytes;
	j->d = (struct doc_in){ .collection = r->collection, .title = "", .source = j->source, .type = "", .bytes = bytes,
		.source_size = bytes, .root = job_keep(j, root), .meta = r->meta ? r->meta : "{}", .acl = r->acl, .acl_n = r->acl_n, .reason = "",
		.duplicate_of = "", .verdict = DOC_ADDED, .reader = r->reader };
}

/* Is every reader of what has the groups a also one of what has b? */
static int is_narrower(const char *const *a, size_t a_n, const char *const *b, size_t b_n)
{
	return b_n == 0 || (a_n > 0 && are_among(a, a_n, b, b_n));
}

static int groups_keep(struct run *r, struct job *j, const struct doc *have)
{
	const char **acl = arena_alloc(&j->strings, (have->acl_n + 1) * sizeof *acl);

	for (size_t i = 0; acl && i < have->acl_n; i++)
		if (!(acl[i] = arena_strdup(&j->strings, have->acl[i])))
			acl = NULL;
	if (!acl)
		return err_set(r->e, E_MEMORY, "%s: out of memory", j->source);
	j->d.acl = acl;
	j->d.acl_n = have->acl_n;
	return OK;
}

static void job_conflict(struct run *r, struct job *j, const char *why)
{
	j->verdict = DOC_FAILED;
	j->reason = why;
	if (r->g.refused.status == OK)
		err_set(&r->g.refused, E_CONFLICT, "%s", why);
}

int job_inherit(struct run *r, struct job *j, const char *path, const struct doc *have, int own)
{
	const struct ingest_acl *table = &r->g.l->acl;
	const struct ingest_acl_rule *rule = path ? ingest_acl_find(table, path) : NULL;
	const char *const *has = have ? (const char *const *)have->acl : NULL;

	if (!r->meta && have)
		j->d.meta = job_keep(j, have->meta);
	if (r->acl)
		return OK;
	j->d.acl = rule ? rule->groups : table->unset;
	j->d.acl_n = rule ? rule->group_n : table->unset_n;
	if (rule)
		return OK;
	j->over = have ? (struct doc_over){ have->key, have->revision } : (struct doc_over){ 0 };
	j->d.over = &j->over;
	if (!have)
		return OK;
	if (own || is_narrower(has, have->acl_n, table->unset, table->unset_n))
		return groups_keep(r, j, have);
	if (is_narrower(table->unset, table->unset_n, has, have->acl_n))
		return OK;
	job_conflict(r, j, "what has this source has other groups than acl.default gives: name the groups, or delete it before");
	return E_CONFLICT;
}

void job_refuse_hidden(struct run *r, struct job *j)
{
	job_conflict(r, j, "this id or source cannot be used");
}

int job_duplicate(struct run *r, struct job *j, int *is)
{
	struct reader all = reader_seen(r, r->collection);
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
			j->d.duplicate_of = job_keep(j, d.id);
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
