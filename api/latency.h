/* latency.h: how long something took, over many times, in few bytes: counts in bins that grow by 2^(1/4), so a quantile is
 * within a fifth of the truth. Not thread-safe. */
#ifndef API_LATENCY_H
#define API_LATENCY_H
#include <stdint.h>
#include "base/json.h"

enum { LATENCY_BINS = 80 };              /* 1 ms … 14 minutes */
struct latency {
	uint64_t n, bins[LATENCY_BINS];  /* bin 0: up to 1 ms; the last: all beyond */
	double sum_ms;
};
void latency_add(struct latency *l, double ms);
/* The time under which the share q (0 … 1) of them lie; 0 when there are none. */
double latency_quantile(const struct latency *l, double q);
/* {"p50","p95","mean"} in ms, null where there is nothing. NULL: no memory. */
cJSON *latency_view(const struct latency *l);
/* For the store: {"sum_ms","bins":[…]}. latency_read takes what it can use. */
cJSON *latency_keep(const struct latency *l);
void latency_read(struct latency *l, const cJSON *o);

#endif
