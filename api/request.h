/* request.h: one HTTP exchange as the handlers see it: what was asked, parsed and decoded; how it is answered. No
 * libmicrohttpd here.
 *
 * Life: made when the request line arrives (server.c), filled while headers and body come in, run in a pool's thread
 * (job.c) or at once, answered, and freed when both the connection and the job have let go (request_ref/unref).
 * Thread: until it is submitted it belongs to its connection's thread; while its handler runs, the first part belongs
 * to the handler; the part behind `lock` is shared. */
#ifndef API_REQUEST_H
#define API_REQUEST_H
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "api/auth.h"
#include "api/service.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

struct http;
struct route;
struct MHD_Connection;
struct filter;

enum { SEGMENTS_MAX = 8, QUERY_MAX = 32, REQUEST_ID_MAX = 64 };
enum { BODY_SMALL_MAX = 1 << 20 };            /* bytes of a JSON body of questions; documents have serve.body_bytes_max */
enum request_state { REQUEST_NEW, REQUEST_READING, REQUEST_REFUSED, REQUEST_WAITING, REQUEST_SENT };
enum cancel_why { CANCEL_NONE, CANCEL_LEFT, CANCEL_DEADLINE, CANCEL_DRAIN, CANCEL_SLOW };

struct query_pair { const char *key, *value; };

struct request {
	/* what was asked */
	struct http *http;
	struct service *service;
	const struct route *route;                /* NULL until matched */
	struct caller caller;                     /* who asks; may do nothing until server.c has looked at the headers */
	char method[16];
	char id[REQUEST_ID_MAX + 1];              /* X-Request-Id */
	const char *segments[SEGMENTS_MAX]; size_t segment_n;  /* of the path, percent-decoded, valid UTF-8 */
	struct query_pair query[QUERY_MAX]; size_t query_n;    /* the same */
	const char *content_type;                 /* "" when absent */
	struct buf body;
	struct arena arena;                       /* of this request; freed with it */
	uint64_t arrived_us;
	/* how it is answered */
	int status;                               /* HTTP status; 0: not answered yet */
	struct buf out;                           /* the body, owned */
	const char *out_data; size_t out_len;     /* what is sent: out's, or static bytes */
	const char *type;                         /* Content-Type, static or in the arena */
	const char *allow;                        /* of 405; NULL otherwise */
	const char *location;                     /* of 201; NULL otherwise */
	const char *challenge;                    /* WWW-Authenticate, static; NULL otherwise */
	int retry_after;                          /* seconds; 0: no header */
	const char *disposition;                  /* Content-Disposition; NULL: none */
	const char *policy;                       /* Content-Security-Policy; NULL: none */
	int is_page;                              /* the page's own files: more headers */
	const char *param;                        /* the field an error is about; a handler may set it before it fails */
	int fail_status;                          /* HTTP status of a failure when not that of its enum status */
	/* the server's and the pools' */
	enum request_state state;                 /* connection's thread only */
	struct err target_err;                    /* the request line could not be read */
	uint64_t body_held, discarded;            /* bytes counted in http's budget; bytes read and dropped */
	uint64_t limit_us;                        /* how long it may run once started; 0: no limit */
	struct request *next, *prev;              /* jobs' list of live requests, under its lock */
	atomic_int refs;
	volatile int cancel;                      /* non-zero: stop; polled by what runs */
	pthread_mutex_t lock;                     /* of what follows; taken after the jobs' lock */
	struct MHD_Connection *connection;        /* NULL once the client is gone */
	int suspended, submitted, running, done;
	int cancel_why;                           /* enum cancel_why: the first reason */
	uint64_t deadline_us;                     /* clock_us() at which it is cancelled; 0: never */
	int stream_open, stream_ended;            /* sse.h */
	struct buf stream; size_t stream_sent;    /* bytes the connection has not taken yet: stream[stream_sent, len) */
	uint64_t stream_wrote_us;
};

/* Parses the request target (path and query) and takes one reference. NULL: out of memory. A target that is malformed
 * leaves its mistake in target_err. */
struct request *request_new(struct http *h, struct service *s, const char *target);
void request_ref(struct request *r);
void request_unref(struct request *r);
/* Keeps a client's id of 1 … 64 characters [A-Za-z0-9._-], else makes one of 128 random bits. given may be NULL. */
void request_set_id(struct request *r, const char *given);
/* Asks what runs to stop; the first reason stays. Call with r->lock held. */
void request_cancel(struct request *r, int why);

/* Percent-decodes [s, end) into the arena; `plus` turns + into a blank. NULL with E_USAGE: a broken escape, NUL, or
 * invalid UTF-8. */
char *percent_decode(struct arena *a, const char *s, const char *end, int plus, struct err *e);

/* ---- the query part ---- */
const char *query_text(const struct request *r, const char *key);          /* NULL when absent */
int query_u64(struct request *r, const char *key, uint64_t lo, uint64_t hi, uint64_t absent, uint64_t *out, struct err *e);

/* ---- the JSON body. Every failure sets r->param ---- */
int body_json(struct request *r, cJSON **out, struct err *e);              /* an object; caller deletes */
/* Text field; absent or null: *out stays. E_USAGE: another type. */
int field_text(struct request *r, const cJSON *o, const char *key, const char **out, struct err *e);
int field_int(struct request *r, const cJSON *o, const char *key, int64_t lo, int64_t hi, int64_t *out, struct err *e);
int field_num(struct request *r, const cJSON *o, const char *key, double lo, double hi, double *out, struct err *e);
int field_bool(struct request *r, const cJSON *o, const char *key, int *out, struct err *e);
/* Array of non-empty strings, at most max; *out in the arena, borrowing from o. */
int field_texts(struct request *r, const cJSON *o, const char *key, size_t max, const char ***out, size_t *n, struct err *e);
/* Refuses a field of the contract that this build lacks, when it asks for something: null, false, "", [] and {} do not. */
int field_lacking(struct request *r, const cJSON *o, const char *key, struct err *e);
/* The collection asked for: the body's field, else the query's parameter, else absent. Checks its form. */
int request_collection(struct request *r, const cJSON *o, const char *absent, const char **out, struct err *e);
/* Who reads: THE way to a struct reader for what answers HTTP (checked by lint). The collection as request_collection
 * has it (absent NULL: every one), and the caller's groups, narrowed to those of `as` where the body has it (a list, or
 * "G,G") or the query. body may be NULL. Borrows from body and r's arena. */
int request_reader(struct request *r, const cJSON *body, const char *absent, struct reader *out, struct err *e);
/* The `filter` of the body, or of the query, into a reader; *keep as in ask.h. */
int request_filter(struct request *r, const cJSON *body, struct reader *out, struct filter **keep, struct err *e);

int collection_check(struct request *r, const char *name, struct err *e);  /* E_USAGE, r->param set */

/* ---- the reply ---- */
void reply_json(struct request *r, int status, cJSON *take);               /* NULL: out of memory, a 500 */
void reply_static(struct request *r, int status, const char *type, const char *data, size_t len); /* data is never freed */
/* An error in the contract's form. http_status 0: r->fail_status, or that of e's status. */
void reply_error(struct request *r, int http_status, const struct err *e);

#endif
