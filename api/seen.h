/* seen.h: how much of a collection a reader sees: counts that tell nothing about documents they may not see.
 * Thread-safe. */
#ifndef API_SEEN_H
#define API_SEEN_H
#include "api/service.h"

struct seen;
struct seen *seen_new(void);                 /* NULL: out of memory */
void seen_free(struct seen *s);
struct seen_count { uint64_t documents, chunks; };   /* documents with text */
/* Of r->collection (required), at this snapshot. A reader of every group costs nothing; another one costs a walk over
 * the collection's documents, remembered until the store changes. */
int seen_count(struct service *s, struct snapshot *snap, const struct reader *r, struct seen_count *out, struct err *e);

#endif
