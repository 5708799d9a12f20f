/* multipart.c: owns the reading of multipart/form-data.
 *
 * Method: RFC 2046 section 5.1 for the delimiters, RFC 7578 for the headers. The body is in memory, so parts are ranges
 * of it. A part ends at CRLF "--" boundary; its headers end at an empty line; of them only Content-Disposition counts.
 * File names lose their folders, as RFC 7578 section 4.2 asks of receivers. Thread-safe. Failure: E_USAGE, E_MEMORY. */
#include "api/multipart.h"
#include <string.h>
#include <strings.h>
#include "base/utf8.h"

enum { BOUNDARY_MAX = 200, HEAD_MAX = 8192 };

int multipart_is(const char *content_type)
{
	static const char want[] = "multipart/form-data";
	size_t n = sizeof want - 1;
	return !strncasecmp(content_type, want, n) && (!content_type[n] || strchr("; \t", content_type[n]));
}

/* Finds parameter `key` of a header value in [s, end): NAME=token or NAME="quoted"; browsers write quotes inside names
 * as %22 and older ones as \". Copies into the arena. NULL when absent. */
static char *parameter(const char *s, const char *end, const char *key, struct arena *a)
{
	size_t key_n = strlen(key);
	while (s < end && (s = memchr(s, ';', (size_t)(end - s)))) {
		const char *from;
		char *out;
		size_t n = 0;
		s++;
		while (s < end && (*s == ' ' || *s == '\t'))
			s++;
		if ((size_t)(end - s) <= key_n || strncasecmp(s, key, key_n) || s[key_n] != '=') {
			while (s < end && *s != ';' && *s != '"')
				s++;
			if (s < end && *s == '"') /* a quoted value may hold ';' */
				for (s++; s < end && *s != '"'; s++)
					s += *s == '\\' && s + 1 < end;
			continue;
		}
		from = s += key_n + 1;
		if (!(out = arena_alloc(a, (size_t)(end - from) + 1)))
			return NULL;
		if (s < end && *s == '"') {
			for (s++; s < end && *s != '"'; s++) {
				if (*s == '\\' && s + 1 < end && (s[1] == '"' || s[1] == '\\'))
					s++;
				out[n++] = *s;
			}
		} else {
			while (s < end && *s != ';' && *s != ' ' && *s != '\t')
				out[n++] = *s++;
		}
		out[n] = 0;
		return strlen(out) == n ? out : NULL;
	}
	return NULL;
}

/* Reads the header lines [s, end) of a part. */
static int head_parse(const char *s, const char *end, struct arena *a, struct part *p, struct err *e)
{
	static const char want[] = "content-disposition:";
	while (s < end) {
		const char *eol = memmem(s, (size_t)(end - s), "\r\n", 2);
		const char *stop = eol ? eol : end;
		if ((size_t)(stop - s) > sizeof want - 1 && !strncasecmp(s, want, sizeof want - 1)) {
			char *name = parameter(s, stop, "name", a), *file = parameter(s, stop, "filename", a);
			p->name = name ? name : "";
			p->filename = file;
		}
		s = eol ? eol + 2 : end;
	}
	if (!p->name)
		return err_set(e, E_USAGE, "multipart body: a part without Content-Disposition");
	if (p->filename) {
		for (const char *c = p->filename; *c; c++)
			if (*c == '/' || *c == '\\')
				p->filename = c + 1;
		if (!utf8_valid(p->filename, strlen(p->filename)))
			return err_set(e, E_USAGE, "multipart body: a file name that is not UTF-8");
	}
	if (!utf8_valid(p->name, strlen(p->name)))
		return err_set(e, E_USAGE, "multipart body: a field name that is not UTF-8");
	return OK;
}

/* The next delimiter at or after s: the mark as a whole line, not the beginning of a longer one. NULL: none. */
static const char *mark_find(const char *s, const char *end, const char *mark, size_t mark_n)
{
	for (; s < end && (s = memmem(s, (size_t)(end - s), mark, mark_n)); s++) {
		const char *after = s + mark_n;
		if (after == end || *after == '\r' || *after == ' ' || *after == '\t' || (end - after >= 2 && !memcmp(after, "--", 2)))
			return s;
	}
	return NULL;
}

/* Reads one part behind a delimiter and moves *at behind the next delimiter. */
static int part_next(const char **at, const char *end, const char *mark, size_t mark_n, struct arena *a, struct part *p,
	struct err *e)
{
	const char *s = *at, *head, *data, *stop;
	int rc;
	while (s < end && (*s == ' ' || *s == '\t'))
		s++;
	if (end - s < 2 || s[0] != '\r' || s[1] != '\n')
		return err_set(e, E_USAGE, "multipart body: cut off or malformed after a boundary");
	head = s + 2;
	data = memmem(s, (size_t)(end - s), "\r\n\r\n", 4);
	if (!data || data - s > HEAD_MAX)
		return err_set(e, E_USAGE, "multipart body: a part's header without an end");
	stop = mark_find(data + 2, end, mark, mark_n);
	if (!stop)
		return err_set(e, E_USAGE, "multipart body: a part without an end");
	if ((rc = head_parse(head, head < data ? data : head, a, p, e)))
		return rc;
	p->data = data + 4;
	p->len = stop > p->data ? (size_t)(stop - p->data) : 0;
	*at = stop + mark_n;
	return OK;
}

int multipart_parse(const char *content_type, const char *body, size_t len, struct arena *a, struct part **out, size_t *n,
	struct err *e)
{
	const char *end = body + len, *s;
	const char *boundary = parameter(content_type, content_type + strlen(content_type), "boundary", a);
	size_t mark_n, cap = 0;
	int rc;
	struct part *list = NULL;
	char *mark;
	*out = NULL;
	*n = 0;
	if (!boundary || !*boundary || strlen(boundary) > BOUNDARY_MAX)
		return err_set(e, E_USAGE, "Content-Type: multipart/form-data without a usable boundary");
	if (!(mark = arena_printf(a, "\r\n--%s", boundary)))
		return err_set(e, E_MEMORY, "out of memory");
	mark_n = strlen(mark);
	/* The first delimiter may open the body without the line break in front. */
	if (len >= mark_n - 2 && !memcmp(body, mark + 2, mark_n - 2))
		s = body + mark_n - 2;
	else if ((s = mark_find(body, end, mark, mark_n)))
		s += mark_n;
	else
		return err_set(e, E_USAGE, "multipart body: the boundary of Content-Type does not occur");
	while (end - s < 2 || s[0] != '-' || s[1] != '-') {
		if (*n == PARTS_MAX)
			return err_set(e, E_USAGE, "multipart body: more than %d parts", PARTS_MAX);
		if (*n == cap) {
			struct part *more = arena_calloc(a, cap ? cap * 2 : 16, sizeof *more);
			if (!more)
				return err_set(e, E_MEMORY, "out of memory");
			if (cap)
				memcpy(more, list, cap * sizeof *list);
			list = more;
			cap = cap ? cap * 2 : 16;
		}
		if ((rc = part_next(&s, end, mark, mark_n, a, &list[*n], e)))
			return rc;
		(*n)++;
	}
	*out = list;
	return OK;
}
