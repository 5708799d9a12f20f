/* server.h: the HTTP service around a struct service: one libmicrohttpd daemon with an epoll thread pool, the worker
 * pools behind it (job.h), and their start and end. */
#ifndef API_SERVER_H
#define API_SERVER_H
#include <stdatomic.h>
#include <stdint.h>
#include "api/command.h"
#include "api/service.h"

struct jobs;
struct folders;
struct batches;

enum http_state { HTTP_STARTING, HTTP_READY, HTTP_DRAINING };
struct http {
	struct service *service;
	struct jobs *jobs;
	struct folders *folders;           /* set before HTTP_READY */
	struct batches *batches;           /* likewise */
	_Atomic int state;                 /* enum http_state */
	struct engine *engine;             /* NULL: no generator; set before HTTP_READY */
	char address[80];                  /* "http://127.0.0.1:8080" */
	int loopback;                      /* the address is one that only this machine reaches */
	atomic_int requests;               /* that a connection still holds */
	_Atomic uint64_t body_bytes;       /* of bodies in memory, over all requests */
};

/* Counts bytes of a body that is being received; 0 when too much is held already (answer 429). */
int http_body_reserve(struct http *h, uint64_t bytes);
void http_body_release(struct http *h, uint64_t bytes);

/* cmd_serve (command.h) prints "listening on http://ADDR:PORT" once it accepts connections and runs until SIGTERM, SIGINT
 * or *c->cancel; then it drains for at most serve.drain_s. */

#endif
