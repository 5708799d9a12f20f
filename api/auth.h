/* auth.h: who may talk to the service. No keys exist yet, so only this machine may, and only callers that mean it:
 * a web page of another site must not reach the service through a visitor's browser. */
#ifndef API_AUTH_H
#define API_AUTH_H
#include <sys/socket.h>
#include "base/err.h"

/* Reads "127.0.0.1:8080", "[::1]:8080" or "localhost:0". E_USAGE: malformed; E_DENIED: not a loopback address. */
int listen_parse(const char *s, struct sockaddr_storage *out, socklen_t *len, struct err *e);
/* 1 when a Host header names this machine's loopback (localhost, 127.x.y.z, [::1], any port). A page that rebinds its
 * own name to 127.0.0.1 still sends that name and is refused. Ports are free, so that a tunnel works. */
int host_is_loopback(const char *host);
/* 1 when an Origin header is the page's own: http:// and exactly this Host. NULL, sent by programs: 1. */
int origin_is_own(const char *origin, const char *host);

#endif
