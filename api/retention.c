/* retention.c: owns the rules of retention: their reading, which one holds, and when a document is due.
 * The age of a file's document is that of the file, as its time of change tells, and not that of the sync which brought
 * it: so what was removed for its age is too old for the next sync as well, and nothing needs to be remembered of it.
 * Threads: no state. Failure: E_USAGE, E_MEMORY. */
#include "api/retention.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"

static const double day_ms = 24 * 3600 * 1e3;

/* "PATH DAYS", len bytes: the days are the last word. */
static int rule_parse(struct retention_rule *out, const char *s, size_t len, struct arena *a, struct err *e)
{
	char *text, *days, *end;
	while (len && strchr(" \t", s[len - 1])) len--;
	text = arena_strndup(a, s, len);
	if (!text) return err_set(e, E_MEMORY, "out of memory");
	days = text + len;
	while (days > text && !strchr(" \t", days[-1])) days--;
	errno = 0;
	out->days = strtod(days, &end);
	if (days == text || *end || end == days || errno || !(out->days >= 0 && out->days <= 36500))
		return err_set(e, E_USAGE, "\"%.100s\" is not a path and 0 to 36500 days", text);
	while (days > text && strchr(" \t", days[-1])) days--;
	while (days > text + 1 && days[-1] == '/') days--;
	*days = 0;
	out->path = text;
	return *text ? OK : err_set(e, E_USAGE, "a path is missing");
}

int retention_parse(struct retention *out, const char *rules, double days, struct arena *a, struct err *e)
{
	const char *s = rules;
	size_t max = 2;
	for (const char *p = s; *p; p++) max += *p == ',';
	out->n = 0;
	out->rule = arena_calloc(a, max, sizeof *out->rule);
	if (!out->rule) return err_set(e, E_MEMORY, "out of memory");
	s += strspn(s, " \t");
	while (*s) {
		size_t len = strcspn(s, ",");
		int rc = rule_parse(&out->rule[out->n], s, len, a, e);
		if (rc) return rc;
		out->n++;
		s += len;
		if (*s == ',') s++;
		s += strspn(s, " \t");
	}
	out->rule[out->n++] = (struct retention_rule){ "", days };
	return OK;
}

const struct retention_rule *retention_of(const struct retention *r, const char *source)
{
	const struct retention_rule *best = &r->rule[r->n - 1];
	for (size_t i = 0; i + 1 < r->n; i++) {
		size_t n = strlen(r->rule[i].path);
		if (strncmp(source, r->rule[i].path, n) != 0) continue;
		if (source[n] && source[n] != '/' && r->rule[i].path[n - 1] != '/') continue;
		if (n > strlen(best->path)) best = &r->rule[i];
	}
	return best;
}

int64_t retention_due_ms(const struct retention_rule *rule, int64_t changed_ms)
{
	return rule->days > 0 ? changed_ms + (int64_t)ceil(rule->days * day_ms) : 0;
}

int64_t retention_changed_ms(const struct doc *d)
{
	int64_t file_ms = d->source_mtime_ns / 1000000;
	return d->source_mtime_ns && file_ms < d->updated_ms ? file_ms : d->updated_ms;
}

const char *retention_rule_name(const struct retention_rule *rule)
{
	return *rule->path ? rule->path : "retention.days";
}

const char *retention_reason(const struct retention_rule *rule, char *out, size_t cap)
{
	snprintf(out, cap, "older than %g days (%s)", rule->days, retention_rule_name(rule));
	return out;
}

int retention_is_over(const void *r, const char *source, int64_t changed_ms, char *why, size_t cap)
{
	const struct retention_rule *rule = retention_of(r, source);
	int64_t due = retention_due_ms(rule, changed_ms);
	if (!due || due > clock_wall_ms()) return 0;
	retention_reason(rule, why, cap);
	return 1;
}
