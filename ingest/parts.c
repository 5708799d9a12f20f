/* parts.c: owns files inside files: what an extractor found in one (attachments) becomes documents of their own, with
 * the source "file#name" and the file's root, groups and meta; what they hold in turn "file#name#name", to a depth.
 *
 * Parts join the group of their file, so one commit holds both: after a kill a file is never "unchanged" without its
 * parts. Which parts the store has is read by one pass over the collection, and only when a file comes by whose record
 * may have some; a part is told from a real file with a "#" in its name by having no time of change. When a file is
 * unchanged, so are they; when it was read again, those it no longer has are deleted with the same commit.
 * Threads: the run's. Failure: a part's is its verdict; the store's and memory end the call. */
#include "ingest/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "ingest/clean.h"

struct known_part {
	const char *source, *id, *reason, *duplicate_of;
	int verdict, seen;              /* seen: told in this run */
	uint64_t chars, chunks;
};

struct parts_run { struct run *r; struct job *top; uint64_t bytes; };

int parts_possible(const char *type)
{
	return strcmp(type, "eml") == 0;
}

int parts_parent(const struct doc *d, char *buf, size_t cap)
{
	const char *cut = d->source_mtime_ns == 0 ? strrchr(d->source, '#') : NULL;

	if (!cut || cut == d->source || (size_t)(cut - d->source) >= cap)
		return 0;
	memmove(buf, d->source, (size_t)(cut - d->source));
	buf[cut - d->source] = 0;
	return 1;
}

/* ---- what the store has ---- */

static int no_memory(struct run *r)
{
	return err_set(r->e, E_MEMORY, "parts of files: out of memory");
}

static int known_add(struct run *r, const struct doc *d)
{
	struct known_parts *k = &r->known;
	struct known_part *p;

	if (k->n == k->cap) {
		size_t cap = k->cap ? k->cap * 2 : 64;

		p = mem_realloc(k->at, cap * sizeof *p);
		if (!p)
			return no_memory(r);
		k->at = p;
		k->cap = cap;
	}
	p = &k->at[k->n++];
	*p = (struct known_part){ arena_strdup(&k->strings, d->source), arena_strdup(&k->strings, d->id),
		arena_strdup(&k->strings, d->reason), arena_strdup(&k->strings, d->duplicate_of), d->verdict, 0, d->chars, d->chunks };
	return p->source && p->id && p->reason && p->duplicate_of ? OK : no_memory(r);
}

static int by_source(const void *a, const void *b)
{
	return strcmp(((const struct known_part *)a)->source, ((const struct known_part *)b)->source);
}

/* Calls each for every document of all's collection. */
static int docs_walk(struct snapshot *s, const struct reader *all, int (*each)(void *ctx, const struct doc *d), void *ctx,
	struct err *e)
{
	struct doc *page = mem_calloc(DOC_PAGE, sizeof *page);
	struct arena a;
	uint64_t after = 0;
	size_t got = 0;
	int rc = page ? OK : err_set(e, E_MEMORY, "parts of files: out of memory");

	arena_init(&a, SIZE_MAX);
	do {
		arena_clear(&a);
		if (rc == OK)
			rc = snapshot_docs(s, all, after, ~0u, DOC_PAGE, &a, page, &got, e);
		for (size_t i = 0; i < got && rc == OK; i++) {
			after = page[i].key;
			rc = each(ctx, &page[i]);
		}
	} while (rc == OK && got == DOC_PAGE);
	arena_clear(&a);
	mem_free(page);
	return rc;
}

static int known_each(void *ctx, const struct doc *d)
{
	return d->source_mtime_ns == 0 && strchr(d->source, '#') ? known_add(ctx, d) : OK;
}

static int known_load(struct run *r)
{
	struct reader all = reader_seen(r, r->collection);
	int rc;

	if (r->known.loaded)
		return OK;
	rc = run_snapshot(r);
	arena_init(&r->known.strings, SIZE_MAX);
	r->known.loaded = 1;
	if (rc == OK)
		rc = docs_walk(r->snap, &all, known_each, r, r->e);
	if (rc == OK && r->known.n > 0)
		qsort(r->known.at, r->known.n, sizeof *r->known.at, by_source);
	return rc;
}

static int is_part_of(const struct doc *part, const struct doc *d)
{
	size_t n = strlen(d->source);

	return n > 0 && part->source_mtime_ns == 0 && strncmp(part->source, d->source, n) == 0 && part->source[n] == '#';
}

int ingest_may_have_parts(const struct doc *d)
{
	return parts_possible(d->type);
}

struct found { const struct doc *file; struct arena *arena; struct ingest_part *at; size_t n, cap; struct err *e; };

static int found_each(void *ctx, const struct doc *d)
{
	struct found *f = ctx;

	if (!is_part_of(d, f->file))
		return OK;
	if (f->n == f->cap) {
		size_t cap = f->cap * 2 + 16;
		struct ingest_part *more = arena_alloc(f->arena, cap * sizeof *more);

		if (!more)
			return err_set(f->e, E_MEMORY, "parts of %.180s: out of memory", f->file->source);
		if (f->n > 0)
			memcpy(more, f->at, f->n * sizeof *more);
		f->at = more;
		f->cap = cap;
	}
	f->at[f->n] = (struct ingest_part){ arena_strdup(f->arena, d->id), arena_strdup(f->arena, d->source) };
	if (!f->at[f->n].id || !f->at[f->n].source)
		return err_set(f->e, E_MEMORY, "parts of %.180s: out of memory", f->file->source);
	f->n++;
	return OK;
}

int ingest_parts(struct snapshot *s, const struct doc *d, struct arena *a, struct ingest_part **parts, size_t *n,
	struct err *e)
{
	struct reader all = { .collection = d->collection, .all_groups = 1 };
	struct found f = { .file = d, .arena = a, .e = e };
	int rc = parts_possible(d->type) ? docs_walk(s, &all, found_each, &f, e) : OK;

	*parts = f.at;
	*n = rc == OK ? f.n : 0;
	return rc;
}

void parts_forget(struct run *r)
{
	if (!r->known.loaded)
		return;
	arena_clear(&r->known.strings);
	mem_free(r->known.at);
	memset(&r->known, 0, sizeof r->known);
}

/* The first known part at or behind source + "#". */
static size_t known_first(const struct run *r, const char *source)
{
	size_t lo = 0, hi = r->known.n, len = strlen(source);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strncmp(r->known.at[mid].source, source, len);

		if (c < 0 || (c == 0 && (unsigned char)r->known.at[mid].source[len] < '#'))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Part i of source, or NULL. */
static struct known_part *known_at(const struct run *r, const char *source, size_t i)
{
	size_t at = known_first(r, source) + i, len = strlen(source);

	return at < r->known.n && strncmp(r->known.at[at].source, source, len) == 0 && r->known.at[at].source[len] == '#'
		? &r->known.at[at] : NULL;
}

int parts_at(struct run *r, const char *source, size_t i, const char **part_source, const char **id, struct err *e)
{
	const struct known_part *p;

	(void)e;
	if (known_load(r) != OK)
		return 0;
	p = known_at(r, source, i);
	if (p) {
		*part_source = p->source;
		*id = p->id;
	}
	return p != NULL;
}

int parts_stale(struct run *r, const char *source, int *stale)
{
	struct reader all = reader_seen(r, r->collection);
	const struct known_part *p;
	int rc = known_load(r);

	if (rc == OK)
		rc = run_snapshot(r);
	*stale = 0;
	for (size_t i = 0; rc == OK && !*stale && (p = known_at(r, source, i)) != NULL; i++) {
		struct arena a;
		struct doc d;
		struct err why;

		*stale = p->verdict == DOC_FAILED;
		if (!p->duplicate_of[0])
			continue;
		arena_init(&a, DOC_ARENA);
		rc = snapshot_doc(r->snap, &all, p->duplicate_of, &a, &d, &why);
		*stale |= rc == E_NOT_FOUND || (rc == OK && !doc_verdict_has_text(d.verdict));
		if (rc != OK && rc != E_NOT_FOUND)
			*r->e = why;
		else
			rc = OK;
		arena_clear(&a);
	}
	return rc;
}

/* ---- events of what is known ---- */

/* A job in the group for a known part: its event alone, or its removal. */
static int known_job(struct parts_run *p, struct known_part *k, int gone)
{
	struct job *j = job_new();

	k->seen = 1;
	if (!j)
		return no_memory(p->r);
	job_fields(p->r, j, k->source, "", 0);
	j->part_of = job_keep(j, p->top->source);
	j->id = job_keep(j, k->id);
	j->verdict = gone ? DOC_REMOVED : k->duplicate_of[0] ? DOC_DUPLICATE
		: doc_verdict_has_text(k->verdict) ? DOC_UNCHANGED : k->verdict;
	j->store = j->remove = gone;
	if (!gone) {
		j->reason = doc_verdict_has_text(k->verdict) ? "" : job_keep(j, k->reason);
		j->chars = k->chars;
		j->chunks = k->chunks;
	}
	return group_add(&p->r->g, j, p->r->e);
}

static int known_rest(struct parts_run *p, const char *source, int gone)
{
	struct known_part *k;
	int rc = OK;

	for (size_t i = 0; rc == OK && (k = known_at(p->r, source, i)) != NULL; i++)
		if (!k->seen)
			rc = known_job(p, k, gone);
	return rc;
}

static void known_seen(struct run *r, const char *source)
{
	struct known_part key = { .source = source }, *k;

	k = r->known.n ? bsearch(&key, r->known.at, r->known.n, sizeof key, by_source) : NULL;
	if (k)
		k->seen = 1;
}

/* ---- parts that were found ---- */

/* Decides about one part. */
static int look_at_part(struct parts_run *p, const struct job *parent, const struct part *part, int depth, struct job *j)
{
	struct run *r = p->r;
	const char *source = arena_printf(&j->strings, "%s#%s", parent->source, part->name);
	struct doc d, *have = NULL;
	int found, done = 0, rc;

	if (!source)
		return no_memory(r);
	job_fields(r, j, source, parent->d.root, part->len);
	j->part_of = job_keep(j, p->top->source);
	j->d.acl = p->top->d.acl;
	j->d.acl_n = p->top->d.acl_n;
	j->d.meta = p->top->d.meta;
	sha256_of(part->data, part->len, j->d.hash);
	known_seen(r, j->source);
	rc = run_find(r, NULL, j->source, &d, &found);
	if (rc != OK)
		return rc;
	have = found ? &d : NULL;
	if (have && doc_is_hidden(r, have)) {
		job_refuse_hidden(r, j);
		return OK;
	}
	j->may_have_parts = have && parts_possible(have->type);
	if (depth > r->g.l->part_depth_max || part->len > p->bytes) {
		job_without_text(j, DOC_SKIPPED, part->len > p->bytes ? "over ingest.part_bytes_max" : "deeper than ingest.part_depth_max",
			have, 1);
		return OK;
	}
	p->bytes -= part->len;
	if (have && have->verdict != DOC_FAILED && memcmp(have->hash, j->d.hash, 32) == 0 && job_same_settings(j, have)
		&& strcmp(have->reason, "over ingest.part_bytes_max") != 0 && strcmp(have->reason, "deeper than ingest.part_depth_max") != 0)
		rc = job_keep_record(r, j, have, &done);
	if (rc == OK && !done && !clean_is_blank(part->data, part->len))
		rc = job_duplicate(r, j, &done);
	if (rc == OK && !done)
		rc = job_extract(r, j, &(struct job_source){ .name = part->name, .data = part->data, .len = part->len }, have, 1);
	return rc;
}

static int parts_found(struct parts_run *p, struct job *parent, int depth)
{
	int rc = OK;

	for (size_t i = 0; i < parent->x.part_n && rc == OK; i++) {
		struct part *part = &parent->x.parts[i];
		struct job *j;

		rc = run_cancelled(p->r);
		j = rc == OK ? job_new() : NULL;
		if (rc == OK && !j)
			rc = no_memory(p->r);
		if (rc == OK)
			rc = look_at_part(p, parent, part, depth, j);
		if (rc != OK) {
			job_free(j);
			break;
		}
		mem_free(part->data);                           /* the group may wait for long */
		part->data = NULL;
		part->len = 0;
		rc = group_add(&p->r->g, j, p->r->e);
		if (rc == OK && j->kept)
			rc = known_rest(p, j->source, 0);
		else if (rc == OK)
			rc = parts_found(p, j, depth + 1);
	}
	return rc;
}

int parts_run(struct run *r, struct job *top)
{
	struct parts_run p = { r, top, r->g.l->part_bytes_max };
	int rc = OK;

	if ((!top->may_have_parts && top->x.part_n == 0) || top->verdict == DOC_FAILED)
		return OK;
	if (!*top->source) {                                    /* nothing to call them by */
		const char *more = arena_printf(&top->strings, "%s%sattached files left out: %zu (pushed without a source)", top->reason,
			*top->reason ? "; " : "", top->x.part_n);

		if (more && top->x.part_n > 0)
			top->reason = top->d.reason = more;
		return OK;
	}
	if (top->may_have_parts)
		rc = known_load(r);
	if (rc == OK && top->kept)
		return known_rest(&p, top->source, 0);
	if (rc == OK)
		rc = parts_found(&p, top, 1);
	return rc == OK ? known_rest(&p, top->source, 1) : rc;
}
