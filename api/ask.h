/* ask.h: the fields of a question as the contract has them (POST /v1/answers, a line of a batch) to a request of
 * answer.h. */
#ifndef API_ASK_H
#define API_ASK_H
#include "api/answer.h"
#include "base/json.h"
#include "index/filter.h"

/* o's `filter` into the reader; where o, which may be NULL, has none, the one in absent. NULL and "" are none. *keep is for
 * filter_free, once the reader is not used any more; NULL: there was none. E_USAGE, E_MEMORY. Thread-safe. */
int ask_filter(const struct conf *c, const cJSON *o, const char *absent, struct reader *r, struct filter **keep, struct err *e);
/* question, history, k, style, prompt, user, max_tokens, temperature and seed into *q, which borrows from o and the arena. The
 * reader, its filter and the cancel flag are the caller's to set. E_USAGE, E_NOT_FOUND (prompt), E_UNSUPPORTED (a field this build
 * lacks), with *param naming the field; E_MEMORY. Thread-safe. */
int ask_read(struct service *s, const cJSON *o, struct arena *a, struct answer_request *q, const char **param, struct err *e);
/* o's `style` and that it has one; else nothing changes. E_USAGE. */
int ask_style(const cJSON *o, enum answer_style *out, int *given, struct err *e);
/* A `history` array into *q, which borrows from it and the arena; NULL: there is none. E_USAGE, E_MEMORY. */
int ask_history(const cJSON *list, struct arena *a, struct answer_request *q, struct err *e);
/* Narrows the reader to those of its groups that o's `as` names: a list, or "G,G"; where o has none, to those of absent
 * ("G,G"), where that is not NULL. o may be NULL. Borrows from o; names in the arena. E_USAGE, E_MEMORY. */
int ask_narrow(const cJSON *o, const char *absent, struct reader *r, struct arena *a, struct err *e);
/* A collection's name is 1 to 64 of A-Z a-z 0-9 . _ - (E_USAGE). */
int ask_collection_check(const char *name, struct err *e);

#endif
