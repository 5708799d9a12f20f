/* stat.h: counters, gauges and histograms of the whole process, printed in Prometheus text format. Names and labels
 * are fixed strings, registered on first use. Thread-safe, lock-free after the first use of a name. */
#ifndef BASE_STAT_H
#define BASE_STAT_H
#include "base/buf.h"

/* name as "footnote_answers_total"; labels as "status=\"answered\"" or "" (both copied on first use). */
void stat_count(const char *name, const char *labels, double add);
void stat_gauge(const char *name, const char *labels, double value);
/* Buckets 1 ms … 60 s, roughly 1-2-5; exported in seconds as <name>_bucket, _sum and _count. */
void stat_observe_ms(const char *name, const char *labels, double ms);
/* Buckets 0.1, 0.2 … 1 of what lies from 0 to 1. */
void stat_observe_share(const char *name, const char *labels, double share);
int stat_print(struct buf *out);                                        /* OK, E_LIMIT */

#endif
