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

/* ---- parsers: foreign files are read in child processes, in a sandbox (parser.h) ---- */

struct parsers;
struct parsers_options {
	int workers;                    /* processes at once; 0: one a core, at most 4 */
	int files_max;                  /* files after which a worker is replaced */
	uint64_t memory_bytes;          /* beyond what the program itself takes */
	int seconds;                    /* for one file */
	uint64_t output_bytes_max;      /* text, blocks and parts of one file */
	const char *pdftotext;          /* program; copied */
};
/* A pool of workers, started as files come; they die with this process, however it ends. Thread-safe: several runs may
 * share one. E_MEMORY. */
int parsers_open(struct parsers **out, const struct parsers_options *o, struct err *e);
void parsers_close(struct parsers *p);          /* no file may be in work; NULL is allowed */
int parsers_workers(const struct parsers *p);   /* how many at most */

/* Which walls this kernel gives them: "seccomp yes, landlock yes (ABI 7)". 1: both; 0: out says what that means. */
int parsers_describe(char *out, size_t cap);
/* For the top of main(): a child's exit code when this process is one, else -1. */
int parsers_main(int argc, char **argv);

/* ---- what a call works with, and its limits ---- */

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
	/* 1, and why, when a file that last changed at changed_ms (wall time) is too old to be brought in. What the store has
	 * the text of is not asked about. NULL: none is. */
	int (*too_old)(const void *ctx, const char *source, int64_t changed_ms, char *why, size_t cap);
	const void *too_old_ctx;      /* borrowed */
	int part_depth_max;           /* files inside files: attachments of attachments … */
	uint64_t part_bytes_max;      /* of all the parts of one file */
};
void ingest_limits_default(struct ingest_limits *l);

struct ingest {                   /* all borrowed */
	struct index *index;
	struct embedder *embedder;
	/* The embedder whose vectors the store takes now, when it has turned to another meanwhile; NULL: it never does. */
	int (*embedder_now)(void *ctx, struct embedder **out, struct err *e);
	void *embedder_ctx;
	struct parsers *parsers;      /* NULL is enough where all that comes is text (is_text) */
	const struct ingest_limits *limits;
	const char *except;           /* a folder that is passed over wherever it is met: the data folder; may be NULL */
	const volatile int *cancel;   /* polled; may be NULL */
};

struct ingest_request {
	const char *collection;
	const char *cwd;                              /* relative paths are taken from here; NULL: the process's own */
	const char *const *paths; size_t path_n;
	/* NULL: what limits->acl says; files that no rule of it fits keep the groups they were synced with. Else these (none:
	 * everyone). A record of the same source that was pushed may narrow the default, never widen it: E_CONFLICT, or
	 * `failed`, where it is neither narrower nor wider. */
	const char *const *acl; size_t acl_n;
	const char *meta;                             /* JSON object text; NULL: kept likewise */
	int prune, dry_run;
	/* On whose behalf; NULL: someone who sees every document. Others are neither replaced nor removed (their files are
	 * `failed`), nor named as what a file duplicates. Its collection is not looked at. */
	const struct reader *reader;
	const char *const *within; size_t within_n;   /* real paths of folders that files must lie in, links followed; none: anywhere */
	const char *const *only; size_t only_n;       /* sources, sorted by bytes: nothing but these and what lies below them; NULL: all */
};

struct ingest_event {             /* borrowed during the callback */
	const char *source; int verdict; const char *document_id; /* "" when there is none */
	uint64_t chars, chunks; const char *reason;
	const char *part_of;          /* source of the file it is a part of; "" for a file of its own */
};
struct ingest_progress { uint64_t files_done, files_total, chunks, bytes_done, bytes_total; double elapsed_ms; };
struct ingest_summary { uint64_t by_verdict[8]; uint64_t files, chunks, chars, bytes; double elapsed_ms; };

struct ingest_sink {
	void *ctx;
	void (*event)(void *ctx, const struct ingest_event *ev);
	void (*progress)(void *ctx, const struct ingest_progress *p);  /* may be NULL; called often, cheap to ignore */
};

/* A path that does not exist is an event `failed`, not an error. What a file holds inside (attachments) becomes
 * documents with the source "file#name", with events of their own after the file's. Errors are those of the store or
 * embedder, and E_CANCELLED. */
int ingest_paths(const struct ingest *g, const struct ingest_request *q, const struct ingest_sink *sink,
	struct ingest_summary *sum, struct err *e);

/* Vectors (n, dim) of n chunks of a document's text, the same as its ingest made. E_MEMORY and the embedder's. */
int ingest_embed(struct embedder *m, const char *title, const char *text, const struct chunk_in *c, size_t n, float *out,
	struct err *e);

/* ---- the store's chunks embedded anew ---- */

struct ingest_reembed { uint64_t done, total, embedded; double elapsed_ms; int turning; }; /* chunks; embedded: in this call */
struct ingest_reembed_sink {
	void *ctx;
	void (*progress)(void *ctx, const struct ingest_reembed *p); /* may be NULL; after each batch */
};
/* Every chunk gets a vector of m beside those that serve, which do so until all have one (index_reembed). model: m's name,
 * for the store. out: where it ended. Errors of index_reembed and the embedder; E_CANCELLED. */
int ingest_reembed(struct index *x, struct embedder *m, const char *model, const volatile int *cancel,
	const struct ingest_reembed_sink *sink, struct ingest_reembed *out, struct err *e);

/* The documents that the store has of the parts of d, a file: *parts in the arena. When d's type can have any, the
 * collection's records are read once. E_MEMORY and the store's. */
int ingest_may_have_parts(const struct doc *d);      /* 1: files of its type may hold others */
struct ingest_part { const char *id, *source; };
int ingest_parts(struct snapshot *s, const struct doc *d, struct arena *a, struct ingest_part **parts, size_t *n,
	struct err *e);

struct ingest_item {              /* one pushed document: an upload (data is a file's bytes, name tells the type) or plain text */
	const char *id, *collection, *title, *source, *name, *meta; /* NULL or "" where unknown */
	/* As in ingest_request, and so is meta; with an id those of its document are kept. Rules are for files, not for these. */
	const char *const *acl; size_t acl_n;
	const char *data; size_t len;
	int is_text;                  /* 1: data is UTF-8 text as it is; 0: a file by its name and content */
	const struct reader *reader;  /* as in ingest_request */
};
/* E_CONFLICT, E_LIMIT, E_USAGE also when the store, or the reader's groups, would not take this document. */
int ingest_item(const struct ingest *g, const struct ingest_item *it, const struct ingest_sink *sink, struct err *e);
/* Many pushed documents, committed in groups like files (eval sets, batches). Each has one event with part_of "", in
 * their order. */
int ingest_items(const struct ingest *g, const struct ingest_item *it, size_t n, const struct ingest_sink *sink,
	struct ingest_summary *sum, struct err *e);

#endif
