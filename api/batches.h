/* batches.h: batches posted over HTTP: jobs that survive a restart, run one after the other in a thread of their own, each
 * as the key that made it, while that key is good.
 *
 * Shape: {"id","state":"queued"|"running"|"done"|"failed"|"cancelled","collection","lines","done","answered","abstained",
 * "failed","error":null|{"code","message"},"created","started","finished"}. Only its maker knows of a batch, and whoever may
 * do and see all. Finished ones are kept for batches.days. Every function is thread-safe. */
#ifndef API_BATCHES_H
#define API_BATCHES_H
#include "api/auth.h"
#include "api/service.h"
#include "base/json.h"

struct batches;
/* Goes on with those that a former process left. */
int batches_open(struct batches **out, struct service *s, struct err *e);
void batches_close(struct batches *b);       /* stops what runs, which goes on at the next start; NULL is allowed */

/* Queues lines of questions; reader: its collection is that of lines that name none, its groups are kept. E_USAGE: no lines, too
 * many, not UTF-8; E_LIMIT: the queue is full. *out: the batch. */
int batches_add(struct batches *b, const char *text, size_t len, const struct caller *c, const struct reader *r, cJSON **out, struct err *e);
/* E_NOT_FOUND also for others' batches. */
int batches_get(struct batches *b, const struct caller *c, const char *id, cJSON **out, struct err *e);
/* {"batches":[…]}, oldest first. */
int batches_list(struct batches *b, const struct caller *c, cJSON **out, struct err *e);
/* Results `from` to at most `n` of them, in input order, as far as they are known: lines {"id","answer","error"}. An answer of
 * which a document is gone, or not for the reader any more, is an error. *text: mem_free. */
int batches_output(struct batches *b, const struct caller *c, const char *id, size_t from, size_t n, char **text, size_t *len, struct err *e);
/* Stops it and forgets all of it; *out as it was. */
int batches_delete(struct batches *b, const struct caller *c, const char *id, cJSON **out, struct err *e);

#endif
