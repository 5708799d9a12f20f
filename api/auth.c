/* auth.c: owns the rules by which a keyless service on loopback tells its own callers from strangers, and what a caller
 * may do and see.
 *
 * Method: without keys the listen address must be loopback, a request's Host must name loopback, which defeats DNS
 * rebinding (the browser sends the name the page was loaded from), and a request that changes or costs something must
 * come without an Origin or with its own, which defeats cross-site posts (RFC 6454, section 7). No CORS headers are ever
 * sent, so that no other page reads a reply. With keys none of this is needed: a browser never adds a key by itself.
 * Groups of a request only ever narrow those of its caller. Thread-safe. Failure: E_USAGE, E_DENIED. */
#include "api/auth.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/utf8.h"

/* A port of digits only, 0 … 65535; -1 otherwise. */
static int port_parse(const char *s)
{
	size_t n = strlen(s);
	long v;
	if (n < 1 || n > 5 || strspn(s, "0123456789") != n)
		return -1;
	v = strtol(s, NULL, 10);
	return v <= 65535 ? (int)v : -1;
}

/* Splits "name:port" or "[v6]:port"; port_out is "" when absent. 0 when it does not fit the form. */
static int host_split(const char *s, char name[64], const char **port_out)
{
	const char *from = s, *end;
	if (*s == '[') {
		from = s + 1;
		end = strchr(from, ']');
		if (!end || (end[1] && end[1] != ':'))
			return 0;
		*port_out = end[1] ? end + 2 : "";
		if (end[1] && !end[2])
			return 0;
	} else {
		end = strchr(s, ':');
		if (end && (!end[1] || strchr(end + 1, ':')))
			return 0;
		*port_out = end ? end + 1 : "";
		end = end ? end : s + strlen(s);
	}
	if (end == from || (size_t)(end - from) >= 64)
		return 0;
	memcpy(name, from, (size_t)(end - from));
	name[end - from] = 0;
	return 1;
}

static int is_v4_loopback(const struct in_addr *a)
{
	return (ntohl(a->s_addr) >> 24) == 127;
}

int listen_parse(const char *s, struct sockaddr_storage *out, socklen_t *len, int *loopback, struct err *e)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	char name[64];
	const char *port_text;
	int port;
	memset(out, 0, sizeof *out);
	if (!host_split(s, name, &port_text) || (port = port_parse(port_text)) < 0)
		return err_set(e, E_USAGE, "listen address %.80s: must be ADDR:PORT, as 127.0.0.1:8080", s);
	if (!strcasecmp(name, "localhost"))
		memcpy(name, "127.0.0.1", sizeof "127.0.0.1");
	if (*s != '[' && inet_pton(AF_INET, name, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*len = sizeof *v4;
		*loopback = is_v4_loopback(&v4->sin_addr);
	} else if (*s == '[' && inet_pton(AF_INET6, name, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*len = sizeof *v6;
		*loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
	} else {
		return err_set(e, E_USAGE, "listen address %.80s: not an IP address", s);
	}
	return OK;
}

int host_is_loopback(const char *host)
{
	char name[64];
	const char *port;
	struct in_addr v4;
	struct in6_addr v6;
	if (!host || !host_split(host, name, &port) || (*port && port_parse(port) < 0))
		return 0;
	if (*host == '[')
		return inet_pton(AF_INET6, name, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
	if (!strcasecmp(name, "localhost"))
		return 1;
	return inet_pton(AF_INET, name, &v4) == 1 && is_v4_loopback(&v4);
}

int origin_is_own(const char *origin, const char *host)
{
	if (!origin)
		return 1;
	return host && !strncasecmp(origin, "http://", 7) && !strcasecmp(origin + 7, host);
}

/* ---- what a caller may ---- */
static const char *const role_names[] = { "none", "read", "write", "admin" };

const char *role_name(enum role role)
{
	return role_names[role >= ROLE_NONE && role <= ROLE_ADMIN ? role : ROLE_NONE];
}

int role_parse(const char *s, enum role *out)
{
	for (int i = ROLE_READ; i <= ROLE_ADMIN; i++)
		if (!strcmp(s, role_names[i])) {
			*out = (enum role)i;
			return 1;
		}
	return 0;
}

int caller_may(const struct caller *c, enum role need)
{
	return need == ROLE_OPEN || c->role >= (need == ROLE_NONE ? ROLE_ADMIN : need);
}

void caller_reader(const struct caller *c, const char *collection, struct reader *out)
{
	*out = (struct reader){ .collection = collection, .all_groups = c->all_groups, .groups = c->groups, .group_n = c->group_n };
}

int reader_narrow(struct reader *r, const char *const *as, size_t n, struct arena *a, struct err *e)
{
	const char **kept = arena_calloc(a, n + 1, sizeof *kept);
	size_t kept_n = 0;
	if (!kept)
		return err_set(e, E_MEMORY, "out of memory");
	for (size_t i = 0; i < n; i++) {
		int has = r->all_groups;
		for (size_t g = 0; g < r->group_n && !has; g++)
			has = !strcmp(as[i], r->groups[g]);
		if (has)
			kept[kept_n++] = as[i];
	}
	r->all_groups = 0;
	r->groups = kept;
	r->group_n = kept_n;
	return OK;
}

int group_check(const char *name, struct err *e)
{
	size_t n = strlen(name);
	int ok = n >= 1 && n <= 128 && utf8_valid(name, n) && strcmp(name, "*") && !name[strcspn(name, ",;:")];
	for (size_t i = 0; ok && i < n; i++)
		ok = (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
	return ok ? OK : err_set(e, E_USAGE, "group \"%.60s\": must be 1 to 128 bytes without , ; and :", name);
}

int caller_grants(const struct caller *c, const char *const *groups, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int has = c->all_groups;
		if (group_check(groups[i], e))
			return E_USAGE;
		for (size_t g = 0; g < c->group_n && !has; g++)
			has = !strcmp(groups[i], c->groups[g]);
		if (!has)
			return err_set(e, E_DENIED, "group %.60s: this key does not have it, so it cannot give it", groups[i]);
	}
	return OK;
}

const char *bearer_read(const char *header, size_t header_len, size_t *len)
{
	static const char scheme[] = "bearer";
	size_t n = sizeof scheme - 1;
	*len = 0;
	if (header_len <= n || strncasecmp(header, scheme, n) || header[n] != ' ')
		return header;
	while (n < header_len && header[n] == ' ')
		n++;
	while (header_len > n && header[header_len - 1] == ' ')
		header_len--;
	*len = header_len - n;
	return header + n;
}

int groups_split(const char *text, struct arena *a, const char *const **out, size_t *n, struct err *e)
{
	size_t max = 1;
	const char **list;
	for (const char *p = text; *p; p++)
		max += *p == ',';
	*out = list = arena_calloc(a, max, sizeof *list);
	*n = 0;
	if (!list)
		return err_set(e, E_MEMORY, "out of memory");
	if (!text[strspn(text, " \t")])
		return OK;
	for (;; text++) {
		size_t len, kept;
		text += strspn(text, " \t");
		kept = len = strcspn(text, ",");
		while (kept && strchr(" \t", text[kept - 1]))
			kept--;
		if (!kept)
			return err_set(e, E_USAGE, "a name is missing between the commas");
		if (!(list[(*n)++] = arena_strndup(a, text, kept)))
			return err_set(e, E_MEMORY, "out of memory");
		text += len;
		if (!*text)
			return OK;
	}
}
