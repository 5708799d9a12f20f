/* remove.c: owns the taking out of a document with its parts. Flow: remove_plan -> remove_delete or remove_erase.
 * Threads: the caller's. Failure: before the commit nothing is changed. */
#include <string.h>
#include "api/remove.h"
#include "api/answercache.h"
#include "api/folders.h"

int remove_plan(struct removal *m, struct snapshot *s, const struct doc *d, struct arena *a, struct err *e)
{
	struct ingest_part *parts;
	size_t n;
	int rc = ingest_parts(s, d, a, &parts, &n, e);
	memset(m, 0, sizeof *m);
	if (rc) return rc;
	m->docs = arena_alloc(a, (n + 1) * sizeof *m->docs);
	m->receipts = arena_calloc(a, n + 1, sizeof *m->receipts);
	if (!m->docs || !m->receipts) return err_set(e, E_MEMORY, "out of memory");
	if (n) memcpy(m->docs, parts, n * sizeof *parts);
	m->docs[n] = (struct ingest_part){ d->id, d->source };
	m->n = n + 1;
	return OK;
}

/* A part may be gone: one of equal content took it along. */
static int is_missing_part(const struct removal *m, size_t i, int rc)
{
	return rc == E_NOT_FOUND && i + 1 < m->n;
}

/* All in a write that the caller commits. The write is over when it fails. */
static int take_out(struct write **w, struct index *x, const struct removal *m, struct err *e)
{
	int rc = index_write_begin(w, x, e);
	if (rc) return rc;
	for (size_t i = 0; !rc && i < m->n; i++) {
		rc = index_delete(*w, m->docs[i].id, e);
		if (is_missing_part(m, i, rc)) rc = OK;
	}
	if (rc) index_write_abort(*w);
	return rc;
}

int remove_delete(struct index *x, const struct removal *m, struct err *e)
{
	struct write *w;
	int rc = take_out(&w, x, m, e);
	return rc ? rc : index_write_commit(w, e);
}

/* What is erased moves to the front, in its order: the document itself stays the last of it. */
static int erase_each(struct index *x, struct removal *m, size_t *done, struct err *e)
{
	*done = 0;
	for (size_t i = 0; i < m->n; i++) {
		struct ingest_part d = m->docs[i];
		int rc = index_erase(x, d.id, &m->receipts[*done], e);
		if (is_missing_part(m, i, rc)) continue;
		if (rc) return rc;
		m->docs[i] = m->docs[*done];
		m->docs[(*done)++] = d;
	}
	return OK;
}

/* Of the store; when that can't be known, later than any. */
static uint64_t seq_now(struct index *x)
{
	struct snapshot *s;
	if (snapshot_open(&s, x, NULL)) return UINT64_MAX;
	uint64_t seq = snapshot_seq(s);
	snapshot_close(s);
	return seq;
}

int remove_erase(struct service *s, struct removal *m, struct err *e)
{
	struct write *w;
	size_t done;
	int rc = take_out(&w, s->index, m, e);   /* a rehearsal: one on hold keeps all */
	if (rc) return rc;
	index_write_abort(w);
	rc = folders_erase_begin(s, m->docs, m->n, e);
	if (rc) return rc;
	rc = erase_each(s->index, m, &done, e);
	folders_erase_end(s, m->docs, m->n);
	answercache_clear(s->answers, seq_now(s->index));
	if (!rc) m->n = done;
	return rc;
}
