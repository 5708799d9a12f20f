/* group.c: owns batches of chunks and the commit.
 *
 * Jobs are added one by one; whenever BATCH chunks wait, whichever files they come from, they are embedded in one call,
 * so that small files keep the embedder as busy as large ones. The commit is one LMDB transaction for the group. When
 * the store refuses one document (an id of another collection, a name too long), the transaction is aborted and
 * written again without it: puts are quick beside embedding, which is not repeated. Events go out only after the
 * commit returned, in the order the jobs came. A store that has turned to another embedder since the group was embedded
 * says so as the write begins; then it is embedded again, by that one.
 * Threads: one group, one thread; the store's writer lock orders several. Failure: see group.h; fault points
 * "ingest.before_commit" and "ingest.after_commit". */
#include "ingest/group.h"

#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/flag.h"
#include "base/mem.h"

enum { BATCH = 32, GROUP_TEXT_BYTES = 32 << 20 };

struct job *job_new(void)
{
	struct job *j = mem_calloc(1, sizeof *j);

	if (j) {
		arena_init(&j->strings, (size_t)1 << 24);
		j->duplicate_job = NO_JOB;
		j->source = j->reason = j->id = j->part_of = "";
	}
	return j;
}

void job_free(struct job *j)
{
	if (!j)
		return;
	extracted_clear(&j->x);
	chunk_set_clear(&j->set);
	mem_free(j->vectors);
	arena_clear(&j->strings);
	mem_free(j);
}

void group_progress(struct group *g)
{
	g->progress.elapsed_ms = clock_ms() - g->started_ms;
	if (g->sink && g->sink->progress)
		g->sink->progress(g->sink->ctx, &g->progress);
}

void group_report(struct group *g, const struct ingest_event *ev)
{
	if (g->sum && (unsigned)ev->verdict < sizeof g->sum->by_verdict / sizeof *g->sum->by_verdict) {
		g->sum->by_verdict[ev->verdict]++;
		g->sum->files++;
		g->sum->chars += ev->chars;
		g->sum->chunks += ev->chunks;
	}
	if (g->sink && g->sink->event)
		g->sink->event(g->sink->ctx, ev);
}

/* ---- embedding ---- */

/* Gathers up to BATCH waiting chunks: texts into buf, and where their vectors go. */
static size_t batch_fill(struct group *g, struct buf *text, struct embed_text *texts, float **to)
{
	size_t dim = (size_t)embedder_info(g->m)->dim, n = 0, at[BATCH + 1] = { 0 };

	while (n < BATCH && g->embed_job < g->n) {
		struct job *j = g->jobs[g->embed_job];

		if (g->embed_chunk >= j->set.n || !j->vectors) {
			g->embed_job++;
			g->embed_chunk = 0;
			continue;
		}
		at[n] = text->len;
		to[n++] = j->vectors + g->embed_chunk * dim;
		chunk_embed_text(j->d.title, j->x.text.data, &j->set.chunks[g->embed_chunk++], text);
	}
	at[n] = text->len;
	for (size_t i = 0; i < n; i++)
		texts[i] = (struct embed_text){ text->data + at[i], at[i + 1] - at[i] };
	return n;
}

static int embed_batch(struct group *g, struct err *e)
{
	size_t dim = (size_t)embedder_info(g->m)->dim, n;
	struct embed_text texts[BATCH];
	float *to[BATCH], *out = mem_calloc(BATCH * dim, sizeof *out);
	struct buf text;
	int rc = OK;

	buf_init(&text, SIZE_MAX);
	n = batch_fill(g, &text, texts, to);
	if (!out || buf_failed(&text))
		rc = err_set(e, E_MEMORY, "batch of %d chunks: out of memory", BATCH);
	else if (flag_is(g->cancel))
		rc = err_set(e, E_CANCELLED, "cancelled");
	else if (n > 0)
		rc = embedder_encode(g->m, texts, n, EMBED_PASSAGE, EMBED_BULK, out, e);
	for (size_t i = 0; i < n && rc == OK; i++)
		memcpy(to[i], out + i * dim, dim * sizeof *out);
	g->waiting -= n < g->waiting ? n : g->waiting;
	g->progress.chunks += n;
	group_progress(g);
	buf_clear(&text);
	mem_free(out);
	return rc;
}

int ingest_embed(struct embedder *m, const char *title, const char *text, const struct chunk_in *c, size_t n, float *out,
	struct err *e)
{
	struct buf b;
	int rc = OK;

	buf_init(&b, SIZE_MAX);
	for (size_t i = 0; i < n && rc == OK; i++) {
		buf_reset(&b);
		if (chunk_embed_text(title, text, &c[i], &b))
			rc = err_set(e, E_MEMORY, "embed a chunk: out of memory");
		else
			rc = embedder_encode(m, &(struct embed_text){ b.data, b.len }, 1, EMBED_PASSAGE, EMBED_BULK,
				out + i * (size_t)embedder_info(m)->dim, e);
	}
	buf_clear(&b);
	return rc;
}

static int job_vectors(struct group *g, struct job *j, struct err *e)
{
	size_t dim = (size_t)embedder_info(g->m)->dim;

	mem_free(j->vectors);
	j->vectors = NULL;
	if (j->set.n <= SIZE_MAX / sizeof(float) / dim)
		j->vectors = mem_calloc(j->set.n * dim, sizeof *j->vectors);
	if (!j->vectors)
		return err_set(e, E_MEMORY, "%s: vectors of %zu chunks: out of memory", j->source, j->set.n);
	j->d.vectors = j->vectors;
	g->waiting += j->set.n;
	return OK;
}

/* Embeds everything again, by the embedder whose vectors the store takes now. */
static int group_renew(struct group *g, struct err *e)
{
	int rc = g->embedder_now(g->embedder_ctx, &g->m, e);

	g->waiting = g->embed_job = g->embed_chunk = 0;
	for (size_t i = 0; i < g->n && rc == OK; i++)
		if (g->jobs[i]->vectors) {
			g->progress.chunks -= g->jobs[i]->set.n;
			rc = job_vectors(g, g->jobs[i], e);
		}
	while (g->waiting > 0 && rc == OK)
		rc = embed_batch(g, e);
	return rc;
}

int group_add(struct group *g, struct job *j, struct err *e)
{
	int rc = OK;

	if (g->n == g->cap) {
		size_t cap = g->cap ? g->cap * 2 : 64;
		struct job **more = mem_realloc(g->jobs, cap * sizeof *more);

		if (!more) {
			job_free(j);
			return err_set(e, E_MEMORY, "group of %zu documents: out of memory", cap);
		}
		g->jobs = more;
		g->cap = cap;
	}
	if (g->n == 0)
		g->opened_ms = clock_ms();
	g->jobs[g->n++] = j;
	g->text_bytes += j->x.text.len;
	if (!j->store || j->set.n == 0 || g->dry_run)
		return OK;
	rc = job_vectors(g, j, e);
	while (g->waiting >= BATCH && rc == OK)
		rc = embed_batch(g, e);
	return rc;
}

int group_is_due(const struct group *g)
{
	return g->n > 0 && (g->n >= g->l->commit_docs || g->text_bytes >= GROUP_TEXT_BYTES
		|| clock_ms() - g->opened_ms >= g->l->commit_ms);
}

/* ---- the commit ---- */

/* Is it this document that the store does not want, or is it the store that fails? */
static int is_refusal(int status)
{
	return status == E_USAGE || status == E_LIMIT || status == E_CONFLICT || status == E_NOT_FOUND
		|| status == E_UNSUPPORTED || status == E_FORMAT || status == E_DENIED;
}

static int job_put(struct group *g, struct write *w, struct job *j, struct err *e)
{
	if (j->remove) {
		struct err why;
		int rc = index_delete(w, j->id, &why);

		if (rc != OK && rc != E_NOT_FOUND)              /* another writer was quicker: as good */
			*e = why;
		return rc == E_NOT_FOUND ? OK : rc;
	}
	if (j->duplicate_job != NO_JOB)
		j->d.duplicate_of = g->jobs[j->duplicate_job]->put_id;
	return index_put(w, &j->d, j->put_id, &j->put_verdict, e);
}

/* The refused job becomes an event; those that would have pointed at it are failed with it, and so are its parts, which
 * have their groups from it. E_DENIED: its document is on hold, which is no failure: what is stored stays. */
static void job_refuse(struct group *g, size_t at, const struct err *why)
{
	for (size_t i = at; i < g->n; i++) {
		struct job *j = g->jobs[i];
		const char *reason;
		int is_part = why->status != E_DENIED && j->part_of[0] && strcmp(j->part_of, g->jobs[at]->source) == 0;

		if (i != at && j->duplicate_job != (long)at && !is_part)
			continue;
		reason = arena_strdup(&j->strings, why->msg);
		j->store = j->remove = 0;
		j->verdict = i == at && why->status == E_DENIED ? DOC_SKIPPED : DOC_FAILED;
		j->reason = reason ? reason : "out of memory";
		j->id = "";
		j->chars = j->chunks = 0;
	}
	if (g->refused.status == OK)
		g->refused = *why;
}

static void refuse_all(struct group *g, const struct err *why)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->jobs[i]->store)
			job_refuse(g, i, why);
}

/* One transaction. *refused: the job that the store did not take, *stale: the vectors are not of its embedder (then
 * nothing was written); or n and 0. */
static int write_once(struct group *g, size_t *refused, int *stale, struct err *e)
{
	struct write *w = NULL;
	int rc = index_write_begin(&w, g->x, e);

	*refused = g->n;
	*stale = 0;
	if (rc != OK)
		return rc;
	if (g->embedder_now && strcmp(index_write_embedder(w), embedder_info(g->m)->fingerprint) != 0) {
		index_write_abort(w);
		*stale = 1;
		return err_set(e, E_CONFLICT, "the store takes vectors of another embedder");
	}
	for (size_t i = 0; i < g->n; i++) {
		struct job *j = g->jobs[i];

		if (!j->store)
			continue;
		rc = job_put(g, w, j, e);
		if (rc != OK) {
			index_write_abort(w);
			if (is_refusal(rc))
				*refused = i;
			return rc;
		}
	}
	fault_point("ingest.before_commit");
	rc = index_write_commit(w, e);
	if (rc == OK)
		fault_point("ingest.after_commit");
	return rc;
}

static int write_group(struct group *g, struct err *e)
{
	size_t refused, stored = 0;
	struct err why = { 0 };
	int rc, stale;

	do {
		stored = 0;
		for (size_t i = 0; i < g->n; i++)
			stored += g->jobs[i]->store != 0;
		if (stored == 0)
			return OK;
		rc = write_once(g, &refused, &stale, &why);
		if (rc != OK && refused < g->n)
			job_refuse(g, refused, &why);
		if (stale)
			stale = (rc = group_renew(g, &why)) == OK;
	} while (stale || (rc != OK && refused < g->n));
	if (rc != OK) {
		if (e)
			*e = why;
		refuse_all(g, &why);
	}
	return rc;
}

/* What the store made of a job decides between added and updated. */
static void report_all(struct group *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct job *j = g->jobs[i];
		struct ingest_event ev = { j->source, j->verdict, j->id, j->chars, j->chunks, j->reason, j->part_of };

		if (j->store && !j->remove && !g->dry_run) {
			ev.document_id = j->put_id;
			ev.verdict = j->put_verdict;
		}
		if (g->sum)
			g->sum->bytes += j->bytes;
		group_report(g, &ev);
	}
}

static void group_empty(struct group *g)
{
	for (size_t i = 0; i < g->n; i++)
		job_free(g->jobs[i]);
	g->n = g->text_bytes = g->embed_job = g->embed_chunk = g->waiting = 0;
}

int group_commit(struct group *g, struct err *e)
{
	int rc = OK;

	while (g->waiting > 0 && rc == OK)
		rc = embed_batch(g, e);
	if (rc != OK)
		return rc;
	if (!g->dry_run)
		rc = write_group(g, e);
	report_all(g);
	group_progress(g);
	group_empty(g);
	return rc;
}

void group_fail(struct group *g, const struct err *why)
{
	refuse_all(g, why);
	report_all(g);
	group_empty(g);
}

void group_clear(struct group *g)
{
	group_empty(g);
	mem_free(g->jobs);
	g->jobs = NULL;
	g->cap = 0;
}
