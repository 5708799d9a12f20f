/* push.c: owns documents that are pushed: uploads and texts, of which each call has the bytes.
 *
 * A document is found again by its id, else by its source, whose groups it then need not keep (pipeline.h); one without
 * both that repeats a stored text is not stored again. Threads: the caller's. Failure: a document's is its verdict; see ingest.h. */
#include "ingest/pipeline.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

static int same_item(const struct run *r, const struct ingest_item *it, const struct job *j, const struct doc *d)
{
	return memcmp(d->hash, j->d.hash, 32) == 0 && job_same_settings(j, d) && strcmp(d->collection, r->collection) == 0
		&& (!it->title || !*it->title || strcmp(it->title, d->title) == 0)
		&& (!it->source || strcmp(it->source, d->source) == 0);
}

/* Pushed without id and source, and already there: nothing is stored, the event names the document that is. */
static int item_repeats(struct run *r, const struct ingest_item *it, struct job *j, int *repeats)
{
	struct reader all = reader_seen(r, r->collection);
	struct err why;
	struct doc d;
	int rc = snapshot_doc_by_hash(r->snap, &all, r->collection, j->d.hash, &r->docs, &d, &why);

	*repeats = rc == OK && job_same_settings(j, &d) && (!it->title || !*it->title || strcmp(it->title, d.title) == 0);
	if (*repeats) {
		j->verdict = DOC_DUPLICATE;
		j->reason = "same content as the document named";
		j->id = job_keep(j, d.id);
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
	int by_id = it->id && *it->id, nameless = !by_id && !*source, found = 0, done = 0, rc = OK;
	struct doc d;
	char reason[100];

	r->collection = it->collection;
	r->acl = it->acl;
	r->acl_n = it->acl_n;
	r->meta = it->meta && *it->meta ? it->meta : NULL;
	r->reader = it->reader;
	job_fields(r, j, source, "", it->len);
	j->d.id = by_id ? job_keep(j, it->id) : NULL;
	j->d.title = job_keep(j, it->title);
	sha256_of(it->data ? it->data : "", it->len, j->d.hash);
	if (by_id)                                      /* the store will look at both */
		rc = run_find(r, NULL, source, &d, &found);
	if (rc == OK && !(found && doc_is_hidden(r, &d)))
		rc = run_find(r, it->id, source, &d, &found);
	j->may_have_parts = found && parts_possible(d.type);
	if (rc == OK && found && doc_is_hidden(r, &d)) {
		job_refuse_hidden(r, j);
		return OK;
	}
	if (rc == OK)
		rc = job_inherit(r, j, NULL, found ? &d : NULL, by_id);
	if (rc == E_CONFLICT)
		return OK;
	if (rc == OK && found && doc_verdict_has_text(d.verdict) && same_item(r, it, j, &d))
		rc = job_keep_record(r, j, &d, &done);
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
	return job_extract(r, j, &(struct job_source){ .name = it->is_text ? NULL : it->name && *it->name ? it->name : source,
		.data = it->data ? it->data : "", .len = it->len, .title = it->title }, found ? &d : NULL, !nameless);
}

/* *refused: the first document that the store would not take. */
static int run_items(struct run *r, const struct ingest_item *it, size_t n, struct err *refused)
{
	int rc = OK;

	r->g.progress.files_total = n;
	for (size_t i = 0; i < n && rc == OK; i++) {
		struct job *j;

		rc = run_cancelled(r);
		if (rc != OK)
			break;
		j = job_new();
		rc = j ? look_at_item(r, &it[i], j) : err_set(r->e, E_MEMORY, "document %zu: out of memory", i);
		if (rc != OK) {
			job_free(j);
			break;
		}
		rc = group_add(&r->g, j, r->e);
		if (rc == OK)
			rc = parts_run(r, j);
		parts_forget(r);
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

int ingest_items(const struct ingest *g, const struct ingest_item *it, size_t n, const struct ingest_sink *sink,
	struct ingest_summary *sum, struct err *e)
{
	struct err refused;
	struct run r;
	int rc = run_begin(&r, g, sink, sum, e);

	if (rc == OK)
		rc = run_items(&r, it, n, &refused);
	run_end(&r, rc);
	return rc;
}

int ingest_item(const struct ingest *g, const struct ingest_item *it, const struct ingest_sink *sink, struct err *e)
{
	struct err refused = { 0 };
	struct run r;
	int rc = run_begin(&r, g, sink, NULL, e);

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
