/* auth.h: who may talk to the service, what they may do, and which documents they see. Without keys only this machine
 * may, and only callers that mean it: a web page of another site must not reach the service through a visitor's
 * browser. */
#ifndef API_AUTH_H
#define API_AUTH_H
#include <stddef.h>
#include <sys/socket.h>
#include "base/arena.h"
#include "base/err.h"
#include "index/index.h"

/* What a caller may do, each role also what the ones before it may. In the table of endpoints: the least that is asked,
 * where ROLE_NONE, that is nothing written, asks for ROLE_ADMIN. */
enum role {
	ROLE_OPEN = -1,  /* endpoints only: no key is asked for */
	ROLE_NONE,       /* callers: may do nothing */
	ROLE_READ,       /* search, ask, read documents */
	ROLE_WRITE,      /* add and remove documents, name folders */
	ROLE_ADMIN       /* keys, backups, figures of the whole store */
};
const char *role_name(enum role role);       /* "read" "write" "admin"; "none" for the rest; static */
int role_parse(const char *s, enum role *out); /* 0 when it is none of the three */

/* Who asks. Zeroed: someone who may do nothing and sees what everyone sees. */
struct caller {
	enum role role;
	int all_groups;                          /* sees every document */
	const char *const *groups; size_t group_n;
	const char *key_id;                      /* NULL: no key was needed */
};
/* May the caller use an endpoint that asks for `need`? */
int caller_may(const struct caller *c, enum role need);
/* A reader of the collection (NULL: every one) with the caller's groups. Borrows them. */
void caller_reader(const struct caller *c, const char *collection, struct reader *out);
/* Leaves of the reader's groups those that are also in `as`; never adds one. A reader of every group gets exactly `as`.
 * Groups in the arena, borrowing their names. E_MEMORY. */
int reader_narrow(struct reader *r, const char *const *as, size_t n, struct arena *a, struct err *e);
/* "a, b,c" to names in the arena, blanks cut; "" is no group. E_USAGE: an empty name between commas. */
int groups_split(const char *text, struct arena *a, const char *const **out, size_t *n, struct err *e);
/* May the caller give documents these groups? Only those it has itself. E_DENIED names the group; E_USAGE as group_check. */
int caller_grants(const struct caller *c, const char *const *groups, size_t n, struct err *e);
/* A group is 1 … 128 bytes of UTF-8 without control characters, ',', ';' and ':', and not "*". E_USAGE names it. */
int group_check(const char *name, struct err *e);

/* Reads "127.0.0.1:8080", "[::1]:8080" or "localhost:0". *loopback: only this machine can reach it. E_USAGE: malformed. */
int listen_parse(const char *s, struct sockaddr_storage *out, socklen_t *len, int *loopback, struct err *e);
/* The key of an Authorization header "Bearer KEY"; *len 0 when it is of another form. Borrows. */
const char *bearer_read(const char *header, size_t header_len, size_t *len);
/* 1 when a Host header names this machine's loopback (localhost, 127.x.y.z, [::1], any port). A page that rebinds its
 * own name to 127.0.0.1 still sends that name and is refused. Ports are free, so that a tunnel works. */
int host_is_loopback(const char *host);
/* 1 when an Origin header is the page's own: http:// and exactly this Host. NULL, sent by programs: 1. */
int origin_is_own(const char *origin, const char *host);

#endif
