/* view.h: the JSON shapes of the contract (section 4). Every function returns a new cJSON (caller deletes) or NULL when
 * out of memory. Byte offsets become code points here. */
#ifndef API_VIEW_H
#define API_VIEW_H
#include "api/answer.h"
#include "api/retrieve.h"
#include "base/json.h"

/* explain: with the parts of the score, which sum to it, each with its rank and score in its own ranking. */
cJSON *view_hit(const struct passage *p, int highlight, int explain);
cJSON *view_document(const struct doc *d);
/* Beside the contract's members: `plan` {question, parts, queries, language, rewritten: none, rules or model}: how it was understood. */
cJSON *view_answer(const struct answer *a);
cJSON *view_citation(const struct answer *a, const struct answer_citation *c);
/* A receipt, with the hashes and what a reader should know of copies made before. */
cJSON *view_erasure(const struct index_erasure *r);
cJSON *view_summary(const struct ingest_summary *s);           /* a count a verdict, files, chunks, chars, bytes, elapsed_ms */
/* {"error":{type,code,message,param}}; the type is that of the HTTP status it is sent with, 0: the usual one of e. */
cJSON *view_error(const struct err *e, const char *param, int http);
int view_http_status(int status);                              /* of an enum status */
int view_exit_code(int status);

/* Members of an object; 0: out of memory. */
int view_put_list(cJSON *o, const char *key, const char *const *list, size_t n);
int view_put_acl(cJSON *o, const char *const *acl, size_t n);  /* NULL: null */
int view_put_meta(cJSON *o, const char *meta);                 /* JSON text; NULL: null */
int view_put_time(cJSON *o, const char *key, int64_t ms);      /* 0: null */
cJSON *view_put_rounded(cJSON *o, const char *key, double x);  /* three decimals say all that a clock and a probability can */
int view_put_error(cJSON *o, const char *code, const char *message); /* code NULL: null */

#endif
