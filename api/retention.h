/* retention.h: how long a document is kept, by the settings retention.days and retention.rules. */
#ifndef API_RETENTION_H
#define API_RETENTION_H
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "index/index.h"

struct retention_rule { const char *path; double days; };   /* path "": what no other rule fits; days 0: for ever */
struct retention { struct retention_rule *rule; size_t n; };

/* Rules of the text "PATH DAYS, PATH DAYS" in its order, the general one, `days`, last; in the arena. E_USAGE. */
int retention_parse(struct retention *out, const char *rules, double days, struct arena *a, struct err *e);
/* The rule that holds for the source: that of the longest path that is it or a folder above it. Never NULL. */
const struct retention_rule *retention_of(const struct retention *r, const char *source);
/* When a document that last changed at changed_ms is due by the rule, wall time; 0: never. */
int64_t retention_due_ms(const struct retention_rule *rule, int64_t changed_ms);
/* When the content of a document last changed, wall time: the time of its file where that is older than the record. */
int64_t retention_changed_ms(const struct doc *d);
const char *retention_rule_name(const struct retention_rule *rule);      /* its path, or "retention.days" */
/* "older than 30 days (/srv/mail)": why the rule takes a document. Returns out. */
const char *retention_reason(const struct retention_rule *rule, char *out, size_t cap);
/* For ingest_limits.too_old; r: a struct retention. */
int retention_is_over(const void *r, const char *source, int64_t changed_ms, char *why, size_t cap);

#endif
