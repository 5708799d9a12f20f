/* problems.h: what went wrong in a sync, file by file, as a job tells it. Whoever shares one locks it. */
#ifndef API_PROBLEMS_H
#define API_PROBLEMS_H
#include "base/arena.h"
#include "base/json.h"
#include "ingest/ingest.h"

enum { PROBLEMS_MAX = 200 };
struct problem { const char *source, *reason; int verdict; };
struct problems { struct problem at[PROBLEMS_MAX]; size_t n; uint64_t left_out; };    /* zeroed: none */

/* Keeps the event, its texts screened and cut, in the arena; past PROBLEMS_MAX only counts it. */
void problems_add(struct problems *p, struct arena *a, const struct ingest_event *ev);
/* Takes those out that name one of the documents by its source. */
void problems_forget(struct problems *p, const struct ingest_part *docs, size_t n);
/* "problems": [{"source","verdict","reason"}], "problems_left_out". 0: out of memory. */
int problems_put(cJSON *o, const struct problems *p);

#endif
