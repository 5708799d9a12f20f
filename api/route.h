/* route.h: the table from method and path to handler. A handler's file is routes_*.c; this is the list of what the
 * service answers to. */
#ifndef API_ROUTE_H
#define API_ROUTE_H
#include "api/request.h"

enum pool_kind {
	POOL_NONE,     /* at once, in the connection's thread: only what never waits */
	POOL_ADMIN,    /* readiness and metrics: answered while every other pool is full */
	POOL_SEARCH,   /* reads: search, documents */
	POOL_ANSWER,   /* answers */
	POOL_WRITE,    /* what changes the store, one at a time */
	POOL_N
};

struct route {
	const char *method;      /* "GET" also answers HEAD */
	const char *path;        /* "/v1/documents/{id}/text": a segment {…} matches any one that is not empty */
	const char *name;        /* label of the metrics */
	enum pool_kind pool;
	int big_body;            /* 1: up to serve.body_bytes_max; 0: BODY_SMALL_MAX */
	int early;               /* 1: answered also while starting and draining */
	/* Answers r (reply_json …, or a stream), or fails: then the caller turns e into the reply. */
	int (*run)(struct request *r, struct err *e);
	enum role role;          /* the least that a caller must be allowed; left out: ROLE_ADMIN */
};

/* The route of r->method and r->segments, into r->route. E_NOT_FOUND; E_USAGE with r->allow set: a wrong method (405). */
int route_find(struct request *r, struct err *e);
const struct route *route_at(size_t i);      /* NULL past the end */

/* routes_search.c */
int search_post(struct request *r, struct err *e);
int suggest_get(struct request *r, struct err *e);
/* routes_answers.c */
int answers_post(struct request *r, struct err *e);
int batches_post(struct request *r, struct err *e);
int batches_get_all(struct request *r, struct err *e);
int batches_get_one(struct request *r, struct err *e);
int batches_get_output(struct request *r, struct err *e);
int batches_delete_one(struct request *r, struct err *e);
int gaps_get(struct request *r, struct err *e);
int assist_post(struct request *r, struct err *e);
int summaries_post(struct request *r, struct err *e);
/* routes_records.c */
int answers_get(struct request *r, struct err *e);
int answers_replay(struct request *r, struct err *e);
int feedback_post(struct request *r, struct err *e);
int feedback_get(struct request *r, struct err *e);
int usage_get(struct request *r, struct err *e);
/* routes_chat.c */
int chat_completions_post(struct request *r, struct err *e);
/* routes_models.c */
int models_get(struct request *r, struct err *e);
int embeddings_post(struct request *r, struct err *e);
int rerank_post(struct request *r, struct err *e);
/* routes_documents.c */
int documents_list(struct request *r, struct err *e);
int documents_get(struct request *r, struct err *e);
int documents_text(struct request *r, struct err *e);
int documents_original(struct request *r, struct err *e);
int documents_page(struct request *r, struct err *e);
int documents_post(struct request *r, struct err *e);
int documents_delete(struct request *r, struct err *e);
/* routes_sources.c */
int sources_post(struct request *r, struct err *e);
int sources_list(struct request *r, struct err *e);
int sources_delete(struct request *r, struct err *e);
int jobs_list(struct request *r, struct err *e);       /* also one of them */
int jobs_delete(struct request *r, struct err *e);
/* routes_keys.c */
int keys_get(struct request *r, struct err *e);
int keys_post(struct request *r, struct err *e);
int keys_delete(struct request *r, struct err *e);
/* routes_prompts.c */
int prompts_get(struct request *r, struct err *e);      /* also one of them */
int prompts_post(struct request *r, struct err *e);
int prompts_use_post(struct request *r, struct err *e);
int prompts_diff_get(struct request *r, struct err *e);
/* routes_experiments.c */
int experiments_get(struct request *r, struct err *e);  /* also one of them */
int experiments_post(struct request *r, struct err *e);
int experiments_stop_post(struct request *r, struct err *e);
int experiments_export(struct request *r, struct err *e);
int experiments_delete(struct request *r, struct err *e);
/* routes_admin.c */
int page_get(struct request *r, struct err *e);
int healthz_get(struct request *r, struct err *e);
int readyz_get(struct request *r, struct err *e);
int openapi_get(struct request *r, struct err *e);
int stats_get(struct request *r, struct err *e);
int backup_post(struct request *r, struct err *e);
int metrics_get(struct request *r, struct err *e);

#endif
