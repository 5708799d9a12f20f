/* group.h: documents on their way into the store: embedded in batches that cross file borders, written in one commit,
 * reported after it. Used by pipeline.c alone. Thread: one group belongs to one thread. */
#ifndef INGEST_GROUP_H
#define INGEST_GROUP_H
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "embed/embed.h"
#include "index/index.h"
#include "ingest/chunk.h"
#include "ingest/extract.h"
#include "ingest/ingest.h"

enum { NO_JOB = -1 };

struct job {                    /* one document */
	struct arena strings;   /* of d, source, reason; each job has its own so that a group can be any size */
	struct doc_in d;        /* what is put when `store` is set; its text and chunks are x's and set's */
	struct doc_over over;   /* what d.over points at */
	struct extracted x;
	struct chunk_set set;
	float *vectors;         /* (set.n, dim), owned */
	const char *source, *reason, *id;       /* for the event */
	int store;              /* 0: only an event */
	int remove;             /* with store: the document `id` is deleted instead */
	int kept;               /* the stored record stays as it is */
	int may_have_parts;     /* the stored record is of a type that may have them */
	const char *part_of;    /* source of the file it is a part of, "" for none */
	int verdict;            /* of the event; for stored ones corrected by the store's answer */
	uint64_t chars, chunks, bytes;
	long duplicate_job;     /* job of this group whose text it repeats, or NO_JOB */
	char put_id[64];
	int put_verdict;
};

struct group {
	struct index *x;
	struct embedder *m;
	int (*embedder_now)(void *ctx, struct embedder **out, struct err *e); /* as in struct ingest */
	void *embedder_ctx;
	const struct ingest_limits *l;
	const struct ingest_sink *sink;
	struct ingest_summary *sum;
	struct ingest_progress progress;
	const volatile int *cancel;
	int dry_run;
	double started_ms;              /* of the whole call */
	double opened_ms;               /* when the first job came; 0: empty */
	struct job **jobs; size_t n, cap;
	size_t text_bytes;
	size_t embed_job, embed_chunk;  /* the next chunk to embed */
	size_t waiting;                 /* chunks not embedded yet */
	struct err refused;             /* the first document that the store would not take; status OK: none */
};

struct job *job_new(void);              /* NULL: out of memory */
void job_free(struct job *j);           /* NULL is allowed */
/* Takes j (also on failure) and embeds full batches. E_CANCELLED, E_MEMORY, the embedder's errors. */
int group_add(struct group *g, struct job *j, struct err *e);
/* 1 when enough has gathered, or long enough. */
int group_is_due(const struct group *g);
/* Embeds what waits, writes, commits, reports, empties. A document that the store refuses is reported as failed and the
 * others are written; when the store itself fails, all that were to be written are reported as failed. */
int group_commit(struct group *g, struct err *e);
/* The call ends with an error before the commit: what was to be written is reported as failed, the rest as it is. */
void group_fail(struct group *g, const struct err *why);
void group_clear(struct group *g);      /* drops what was not committed, without a word */
/* Sends an event and counts it. */
void group_report(struct group *g, const struct ingest_event *ev);
void group_progress(struct group *g);

#endif
