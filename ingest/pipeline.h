/* pipeline.h: what sync.c (folders), push.c (pushed documents) and parts.c (files inside files) share: one call under
 * way, and how it is decided what becomes of one document. A run belongs to the thread that called. */
#ifndef INGEST_PIPELINE_H
#define INGEST_PIPELINE_H
#include "base/arena.h"
#include "ingest/group.h"
#include "ingest/ingest.h"
#include "ingest/parser.h"

struct known_part;
struct known_parts {            /* parts.c: the parts that the store has in the collection, by source */
	struct arena strings;
	struct known_part *at; size_t n, cap;
	int loaded;
};

struct run {
	struct group g;
	struct parsers *parsers;
	const char *collection, *meta;
	const char *const *acl; size_t acl_n;
	const struct reader *reader;    /* NULL: sees everything */
	struct snapshot *snap;          /* NULL: opened when needed */
	struct arena docs;              /* of the record looked at */
	struct known_parts known;
	struct err *e;                  /* the caller's, or own */
	struct err own;
};

enum { DOC_ARENA = 64 << 20, DOC_PAGE = 256 };

int run_begin(struct run *r, const struct ingest *g, const struct ingest_sink *sink, struct ingest_summary *sum, struct err *e);
void run_end(struct run *r, int rc);            /* rc: what the call returns */
int run_commit(struct run *r);                  /* the group; the snapshot is closed before */
int run_cancelled(struct run *r);               /* OK or E_CANCELLED */
int run_snapshot(struct run *r);                /* r->snap is there afterwards */
/* *have: 1 when the store has a document of this id (preferred) or source, seen or not; *out then lies in r->docs until the next call. */
int run_find(struct run *r, const char *id, const char *source, struct doc *out, int *have);
struct reader reader_of(const char *collection);        /* NULL: all of them; sees everything */
struct reader reader_seen(const struct run *r, const char *collection);         /* this run's reader there */
int doc_is_hidden(const struct run *r, const struct doc *d);

/* Fields of a new job; strings are copied. Groups and meta are the call's. */
void job_fields(struct run *r, struct job *j, const char *source, const char *root, uint64_t bytes);
/* Groups and meta that this call does not name: a rule's for the path, else those the document has (what was for some
 * eyes only must not become everyone's because a later call forgot to say so), else the default. path NULL: no rules.
 * have NULL: a new document. own 0: the document may be anyone's who took its source first, so what it says never opens
 * the new content to more than the default does: the narrower of the two holds. E_CONFLICT when neither is: j is then
 * the refusal. */
int job_inherit(struct run *r, struct job *j, const char *path, const struct doc *have, int own);
/* What stands in the way may not be seen: refused in words that fit any reason. */
void job_refuse_hidden(struct run *r, struct job *j);
const char *job_keep(struct job *j, const char *s);     /* a copy; "" when out of memory */
int job_same_settings(const struct job *j, const struct doc *d);
/* The event repeats what is stored, nothing is written. *done: 0 when the record must be looked at anew. */
int job_keep_record(struct run *r, struct job *j, const struct doc *d, int *done);
/* No text: a record says why, unless keep_it is 0 or the store has that already, or has text that a failure must not cost. */
void job_without_text(struct job *j, int verdict, const char *reason, const struct doc *have, int keep_it);
/* Makes j a duplicate when its hash is another document's. *is: 1 then. */
int job_duplicate(struct run *r, struct job *j, int *is);
/* Text and chunks of a document whose bytes are new. name NULL: data is text. started: the file on its way through the
 * parsers (waited for here), or NULL. have: its record, or NULL. */
struct job_source { const char *name, *data; size_t len; const char *title; struct parse *started; };
int job_extract(struct run *r, struct job *j, const struct job_source *s, const struct doc *have, int keep_it);

/* ---- parts.c ---- */

int parts_possible(const char *type);                   /* 1: files of this type may hold others */
/* To be called when top (a file's job, decided) is in the group, before it is committed: its parts join the same commit. */
int parts_run(struct run *r, struct job *top);
/* Must the unchanged file be read again for its parts' sake (one failed, the original of one is gone)? */
int parts_stale(struct run *r, const char *source, int *stale);
/* The source of the file that this document would be a part of, cut at the last "#" of buf; 0: it is none. */
int parts_parent(const struct doc *d, char *buf, size_t cap);
/* The parts that the store has of a file: i from 0. 0 past the last. */
int parts_at(struct run *r, const char *source, size_t i, const char **part_source, const char **id, struct err *e);
void parts_forget(struct run *r);                       /* the store changed: load them anew when needed */

#endif
