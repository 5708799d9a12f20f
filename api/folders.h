/* folders.h: folders named over HTTP, and the jobs that bring them into the store, one after the other, in a thread of
 * their own. A job outlives the client that asked for it; what was in work when the service ended is listed as failed.
 *
 * Shapes (contract, section 3): source {"id","path","collection","prune","acl":[…]|null,"meta":{}|null,"added",
 * "last_job","last_synced","documents"}; job {"id","kind","state","sources":[id…],"paths":[…],"collection","acl",
 * "files_done","files_total","chunks","bytes_done","bytes_total","summary":{…}|null,"problems":[{"source","verdict",
 * "reason"}],"problems_left_out","error":null|{"code","message"},"created","started","finished"}. Who sees less than
 * the job's maker gets it as told_cut (told.h) leaves it.
 * Every function is thread-safe. cJSON that comes out is the caller's to delete. */
#ifndef API_FOLDERS_H
#define API_FOLDERS_H
#include "api/auth.h"
#include "api/service.h"
#include "base/json.h"

struct folders;
/* Also turns jobs that a former process left unfinished into failed ones. */
int folders_open(struct folders **out, struct service *s, struct err *e);
void folders_close(struct folders *f);       /* cancels what runs and joins; NULL is allowed */

struct folder_in {
	const char *const *paths; size_t path_n; /* absolute, folded */
	const char *collection;
	const char *const *acl; size_t acl_n;    /* NULL: by rule and default */
	const char *meta;                        /* JSON object text; NULL: none */
	int prune;
};
/* Keeps the folders as sources (one that is there is changed) and queues a job for them, run on behalf of the caller.
 * *out: {"job_id","source":{…},"sources":[…]}. E_LIMIT: the queue is full. */
int folders_add(struct folders *f, const struct folder_in *in, const struct caller *c, cJSON **out, struct err *e);
/* {"sources":[…]} that the caller may know of; documents counted as they see them. */
int folders_list(struct folders *f, const struct caller *c, cJSON **out, struct err *e);
/* Forgets a source; with documents: also deletes those below its path that the caller sees and that are not on hold.
 * E_NOT_FOUND; E_CONFLICT while a job of it waits or runs. */
struct forgotten { uint64_t deleted, held; };
int folders_forget(struct folders *f, const struct caller *c, const char *id, int documents, struct forgotten *out, struct err *e);

/* One job; id NULL: {"jobs":[…]}, newest first. E_NOT_FOUND. */
int folders_jobs(struct folders *f, const struct caller *c, const char *id, cJSON **out, struct err *e);
/* Asks a job to stop; *out as it is then. E_NOT_FOUND; E_DENIED: made by another key, and not asked by an admin;
 * E_CONFLICT: it is over. */
int folders_cancel(struct folders *f, const struct caller *c, const char *id, cJSON **out, struct err *e);

/* Around an erasure: between the two no job ends, and after it no running one still tells of the documents by their
 * sources. Nothing where no folders are open. E_CONFLICT: a job that is not over has one of them as its path; then
 * nothing is to be ended. The caller has no write open. */
int folders_erase_begin(struct service *s, const struct ingest_part *docs, size_t n, struct err *e);
void folders_erase_end(struct service *s, const struct ingest_part *docs, size_t n);

#endif
