/* retention.c: owns the rules of retention: their reading, which one holds, and when a document is due.
 * Threads: no state. Failure: E_USAGE, E_MEMORY. */
#include "api/retention.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

int64_t retention_due_ms(const struct retention_rule *rule, int64_t updated_ms)
{
	return rule->days > 0 ? updated_ms + (int64_t)ceil(rule->days * day_ms) : 0;
}
