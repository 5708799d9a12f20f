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
/* When a document that last changed at updated_ms is due by the rule, wall time; 0: never. */
int64_t retention_due_ms(const struct retention_rule *rule, int64_t updated_ms);

#endif
