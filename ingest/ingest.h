/* ingest.h: PUBLIC. Files, folders and pushed text into the store.
 *
 *   walk -> extract -> clean -> chunk -> embed -> index_put, one LMDB commit for a group of files
 *
 * A file's verdict is told only after the commit that holds it. Unreadable, empty, binary, huge or broken files get a
 * verdict and a reason, and the rest goes on. Thread: each call runs in the caller's thread; several at once are
 * allowed (the store's writer lock orders them). */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "embed/embed.h"
#include "index/index.h"

/* Which groups documents get where a call names none. */
struct ingest_acl_rule { const char *path; const char *const *groups; size_t group_n; };  /* path: absolute, no slash at its end */
struct ingest_acl {
	const char *const *unset; size_t unset_n;     /* acl.default: of new documents that no rule fits */
	const struct ingest_acl_rule *rules; size_t rule_n; /* acl.rules: of files; the longest path that fits, at each sync anew */
};
/* The rule of the longest path that is `path` or a folder above it, NULL when none fits. */
const struct ingest_acl_rule *ingest_acl_find(const struct ingest_acl *t, const char *path);

struct ingest_limits {            /* all from service.conf */
	uint64_t file_bytes_max;      /* larger files are skipped */
	uint64_t text_bytes_max;      /* extracted text beyond is cut: verdict partial */
	int chunk_tokens;             /* budget of one chunk in the embedder's tokens */
	int chunk_overlap_tokens;     /* repeated at the start of the next chunk of the same section */
	size_t commit_docs;           /* files a commit */
	int commit_ms;                /* or this long, whichever comes first */
	int depth_max;                /* folders */
	struct ingest_acl acl;        /* borrowed; all zero: new documents are for everyone */
};
void ingest_limits_default(struct ingest_limits *l);

struct ingest_request {
	const char *collection;
	const char *cwd;                              /* relative paths are taken from here; NULL: the process's own */
	const char *const *paths; size_t path_n;
	/* NULL: what limits->acl says; files that no rule of it fits keep the groups they have. Else these (none: everyone). */
	const char *const *acl; size_t acl_n;
	const char *meta;                             /* JSON object text; NULL: kept likewise */
	int prune, dry_run;
	const volatile int *cancel;                   /* may be NULL */
	/* On whose behalf; NULL: someone who sees every document. Others are neither replaced nor removed (their files are
	 * `failed`), nor named as what a file duplicates. Its collection is not looked at. */
	const struct reader *reader;
};

struct ingest_event {             /* borrowed during the callback */
	const char *source; int verdict; const char *document_id; /* "" when there is none */
	uint64_t chars, chunks; const char *reason;
};
struct ingest_progress { uint64_t files_done, files_total, chunks, bytes_done, bytes_total; double elapsed_ms; };
struct ingest_summary { uint64_t by_verdict[8]; uint64_t files, chunks, chars, bytes; double elapsed_ms; };

struct ingest_sink {
	void *ctx;
	void (*event)(void *ctx, const struct ingest_event *ev);
	void (*progress)(void *ctx, const struct ingest_progress *p);  /* may be NULL; called often, cheap to ignore */
};

/* A path that does not exist is an event `failed`, not an error. Errors are those of the store or embedder. */
int ingest_paths(struct index *x, struct embedder *m, const struct ingest_limits *l, const struct ingest_request *q,
	const struct ingest_sink *sink, struct ingest_summary *sum, struct err *e);

struct ingest_item {              /* one pushed document: an upload (data is a file's bytes, name tells the type) or plain text */
	const char *id, *collection, *title, *source, *name, *meta; /* NULL or "" where unknown */
	const char *const *acl; size_t acl_n;         /* as in ingest_request, and so is meta; rules are for files, not for these */
	const char *data; size_t len;
	int is_text;                  /* 1: data is UTF-8 text as it is; 0: a file by its name and content */
	const struct reader *reader;  /* as in ingest_request */
};
/* E_CONFLICT, E_LIMIT, E_USAGE also when the store, or the reader's groups, would not take this document. */
int ingest_item(struct index *x, struct embedder *m, const struct ingest_limits *l, const struct ingest_item *it,
	const struct ingest_sink *sink, struct err *e);
/* Many pushed documents, committed in groups like files (eval sets, batches). */
int ingest_items(struct index *x, struct embedder *m, const struct ingest_limits *l, const struct ingest_item *it, size_t n,
	const struct ingest_sink *sink, struct ingest_summary *sum, struct err *e);

#endif
