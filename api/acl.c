/* acl.c: owns the form of acl.default, acl.rules and sources.roots.
 *
 * Method: entries are separated by ";", a rule's path ends at its first ":", so a path that holds one of these cannot
 * be named. Paths are folded in the text alone, as sources of documents are. Thread-safe, no state. Failure: E_USAGE
 * names the entry, E_MEMORY. */
#include "api/acl.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "api/auth.h"
#include "base/file.h"

enum { PATH_BYTES_MAX = 4096 };

/* The next entry of a list, blanks cut, in the arena; NULL at the end or without memory. */
static char *entry_next(const char **text, struct arena *a)
{
	while (**text) {
		size_t len = strcspn(*text, ";"), from = strspn(*text, " \t"), end = len;
		const char *at = *text;
		*text += len + ((*text)[len] != 0);
		while (end > from && strchr(" \t", at[end - 1]))
			end--;
		if (end > from)
			return arena_strndup(a, at + from, end - from);
	}
	return NULL;
}

static size_t entries_max(const char *text)
{
	size_t n = 1;
	for (; *text; text++)
		n += *text == ';';
	return n;
}

static int path_read(const char *text, struct arena *a, const char **out, struct err *e)
{
	struct buf b;
	int rc;
	if (*text != '/')
		return err_set(e, E_USAGE, "%.100s: must be an absolute path", text);
	buf_init(&b, PATH_BYTES_MAX);
	rc = path_absolute(&b, "/", text, e);
	if (!rc && !(*out = arena_strdup(a, buf_cstr(&b))))
		rc = err_set(e, E_MEMORY, "out of memory");
	buf_clear(&b);
	return rc;
}

static int groups_read(const char *text, struct arena *a, const char *const **out, size_t *n, struct err *e)
{
	int rc = groups_split(text, a, out, n, e);
	for (size_t i = 0; !rc && i < *n; i++)
		rc = group_check((*out)[i], e);
	return rc;
}

int acl_default_parse(const char *text, struct arena *a, struct ingest_acl *out, struct err *e)
{
	return groups_read(text, a, &out->unset, &out->unset_n, e);
}

int acl_rules_parse(const char *text, struct arena *a, struct ingest_acl *out, struct err *e)
{
	struct ingest_acl_rule *rules = arena_calloc(a, entries_max(text), sizeof *rules);
	size_t n = 0;
	char *entry;
	int rc = rules ? OK : err_set(e, E_MEMORY, "out of memory");
	while (!rc && (entry = entry_next(&text, a))) {
		char *colon = strchr(entry, ':');
		struct ingest_acl_rule *r = &rules[n];
		if (!colon) {
			rc = err_set(e, E_USAGE, "\"%.100s\" is not \"/path: group,group\"", entry);
			break;
		}
		*colon = 0;
		for (char *end = colon; end > entry && strchr(" \t", end[-1]); )
			*--end = 0;
		rc = path_read(entry, a, &r->path, e);
		if (!rc)
			rc = groups_read(colon + 1, a, &r->groups, &r->group_n, e) ? err_wrap(e, "%.100s", r->path) : OK;
		for (size_t i = 0; !rc && i < n; i++)
			if (!strcmp(rules[i].path, r->path))
				rc = err_set(e, E_USAGE, "%.100s: has two rules", r->path);
		n++;
	}
	out->rules = rules;
	out->rule_n = rc ? 0 : n;
	return rc;
}

int roots_parse(const char *text, struct arena *a, const char *const **out, size_t *n, struct err *e)
{
	const char **list = arena_calloc(a, entries_max(text), sizeof *list);
	char *entry;
	int rc = list ? OK : err_set(e, E_MEMORY, "out of memory");
	*n = 0;
	while (!rc && (entry = entry_next(&text, a)))
		if (!(rc = path_read(entry, a, &list[*n], e)))
			++*n;
	*out = list;
	return rc;
}

int roots_resolve(const char *const *roots, size_t n, struct arena *a, const char *const **out, struct err *e)
{
	const char **list = arena_calloc(a, n + 1, sizeof *list);
	char real[PATH_MAX];
	*out = list;
	for (size_t i = 0; list && i < n; i++)
		if (!(list[i] = arena_strdup(a, realpath(roots[i], real) ? real : roots[i])))
			list = NULL;
	return list ? OK : err_set(e, E_MEMORY, "out of memory");
}
