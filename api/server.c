/* server.c: owns the libmicrohttpd daemon: how requests arrive, are let in or refused, and how replies leave; and the
 * service's start and end (`footnote serve`).
 *
 * Method: a pool of epoll threads. A request is made with its request line, checked when its headers are there (host,
 * origin, route, key, size), collects its body, and is then handed to a pool (job.h) with its connection suspended; the
 * connection is called again once a reply or a stream is ready. Only what never waits is answered in these threads. A
 * refused request's body is read and dropped within bounds, so that the client sees the reply instead of a reset.
 * Bodies in memory are counted over all connections. The listening socket is our own, so that a taken port is told by
 * its address and port 0 can be named.
 * Threads: the daemon's, the jobs', and the caller of cmd_serve, which waits for a signal and drains.
 * Failure: exit codes of the contract; a request's failure is its reply. */
#include "api/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "api/auth.h"
#include "api/batches.h"
#include "api/folders.h"
#include "api/job.h"
#include "api/keys.h"
#include "api/route.h"
#include "api/sse.h"
#include "api/view.h"
#include "base/clock.h"
#include "base/flag.h"
#include "base/log.h"
#include "base/stat.h"

enum { HEADER_BYTES_MAX = 32768, STREAM_BLOCK = 16384, FLUSH_MS = 2000 };
static const uint64_t DISCARD_MAX = 256u << 20;  /* bytes of a refused body that are read and dropped */

int http_body_reserve(struct http *h, uint64_t bytes)
{
	uint64_t most = h->service->conf.body_bytes_max * 4, held = atomic_load(&h->body_bytes);
	do {
		if (held + bytes > most)
			return 0;
	} while (!atomic_compare_exchange_weak(&h->body_bytes, &held, held + bytes));
	return 1;
}

void http_body_release(struct http *h, uint64_t bytes)
{
	atomic_fetch_sub(&h->body_bytes, bytes);
}

/* ---- replies ---- */
static const char page_policy[] =
	"default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static void headers_put(struct request *r, struct MHD_Response *m, const char *type)
{
	char seconds[16];
	MHD_add_response_header(m, "X-Request-Id", r->id);
	MHD_add_response_header(m, "Content-Type", type);
	MHD_add_response_header(m, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(m, "Cross-Origin-Resource-Policy", "same-origin");
	MHD_add_response_header(m, "Cache-Control", r->is_page ? "no-cache" : "no-store");
	if (r->is_page) {
		MHD_add_response_header(m, "Content-Security-Policy", page_policy);
		MHD_add_response_header(m, "Referrer-Policy", "no-referrer");
	}
	if (r->policy)
		MHD_add_response_header(m, "Content-Security-Policy", r->policy);
	if (r->disposition)
		MHD_add_response_header(m, "Content-Disposition", r->disposition);
	if (r->challenge && r->status == 401)
		MHD_add_response_header(m, "WWW-Authenticate", r->challenge);
	if (r->allow && r->status == 405)
		MHD_add_response_header(m, "Allow", r->allow);
	if (r->location)
		MHD_add_response_header(m, "Location", r->location);
	if (r->retry_after) {
		snprintf(seconds, sizeof seconds, "%d", r->retry_after);
		MHD_add_response_header(m, "Retry-After", seconds);
	}
	if (atomic_load(&r->http->state) == HTTP_DRAINING)
		MHD_add_response_header(m, "Connection", "close");
}

static enum MHD_Result reply_send(struct request *r, struct MHD_Connection *c)
{
	struct MHD_Response *m;
	enum MHD_Result rc;
	int stream;
	pthread_mutex_lock(&r->lock);
	stream = r->stream_open;
	pthread_mutex_unlock(&r->lock);
	m = stream ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, sse_read, r, NULL)
	           : MHD_create_response_from_buffer(r->out_len, (void *)(uintptr_t)r->out_data, MHD_RESPMEM_PERSISTENT);
	if (!m)
		return MHD_NO;
	r->state = REQUEST_SENT;
	headers_put(r, m, stream ? "text/event-stream" : r->type);
	rc = MHD_queue_response(c, stream ? 200 : (unsigned)r->status, m);
	MHD_destroy_response(m);
	return rc;
}

/* ---- letting in ---- */
static const char *header(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static uint64_t body_max(const struct request *r)
{
	uint64_t most = r->service->conf.body_bytes_max;
	return r->route && !r->route->big_body && most > BODY_SMALL_MAX ? BODY_SMALL_MAX : most;
}

/* The Authorization headers of a request; more than one is a mistake or an attack. */
struct credentials { const char *value; size_t len, n; };

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_len, const char *value,
	size_t len)
{
	struct credentials *c = cls;
	(void)kind;
	if (key_len != sizeof "Authorization" - 1 || strncasecmp(key, "Authorization", key_len))
		return MHD_YES;
	c->value = value ? value : "";
	c->len = value ? len : 0;
	c->n++;
	return MHD_YES;
}

/* r->caller, by the key of the request. Failure: E_KEY. */
static int key_check(struct request *r, struct err *e)
{
	struct credentials c = { 0 };
	const char *key;
	size_t len = 0;
	MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, on_header, &c);
	r->challenge = "Bearer realm=\"footnote\"";
	if (!c.n)
		return err_set(e, E_KEY, "an access key is needed: Authorization: Bearer KEY");
	key = c.n == 1 ? bearer_read(c.value, c.len, &len) : NULL;
	if (!len)
		return err_set(e, E_KEY, c.n > 1 ? "Authorization header: sent twice" : "Authorization header: must be Bearer KEY");
	r->challenge = "Bearer realm=\"footnote\", error=\"invalid_token\"";
	return keys_find(r->service->keys, key, len, clock_wall_ms(), &r->arena, &r->caller, e);
}

/* Who asks, into r->caller, and whether the endpoint is for them. An open endpoint is for everyone, but knows a caller
 * that shows a good key. */
static int caller_check(struct request *r, int keyed, struct err *e)
{
	struct err why;
	if (!keyed && r->http->loopback) {
		r->caller = (struct caller){ .role = ROLE_ADMIN, .all_groups = 1 };
	} else if (!keyed) {
		/* The last key was revoked: better nobody than everybody. */
		if (r->route->role == ROLE_OPEN)
			return OK;
		r->fail_status = 503;
		return err_set(e, E_BUSY, "no access keys are left, and the service listens beyond this machine: keys add makes one");
	} else if (key_check(r, &why) && r->route->role != ROLE_OPEN) {
		*e = why;
		return e->status;
	}
	if (caller_may(&r->caller, r->route->role))
		return OK;
	return err_set(e, E_DENIED, "this needs a key of the role %s", r->route->role == ROLE_NONE ? "admin" : role_name(r->route->role));
}

/* What a keyless service asks of browsers. */
static int browser_check(struct request *r, const char *host, struct err *e)
{
	const char *origin = header(r->connection, "Origin"), *site = header(r->connection, "Sec-Fetch-Site");
	int reads = !strcmp(r->method, "GET") || !strcmp(r->method, "HEAD");
	if (host && !host_is_loopback(host))
		return err_set(e, E_DENIED, "Host %.80s: only this machine's loopback names are served", host);
	if (!reads && (!origin_is_own(origin, host) || (site && !strcasecmp(site, "cross-site"))))
		return err_set(e, E_DENIED, "Origin %.80s: requests of other sites are refused", origin ? origin : "(cross-site)");
	return OK;
}

/* Everything that can be said from the headers alone. Failure: e, with r->fail_status where it is not e's own. */
static int headers_check(struct request *r, const char *version, struct err *e)
{
	struct http *h = r->http;
	const char *host = header(r->connection, "Host"), *length = header(r->connection, "Content-Length");
	int state = atomic_load(&h->state), keyed = keys_any(r->service->keys); /* asked once: it may change meanwhile */
	if (!host && strcmp(version, "HTTP/1.0"))
		return err_set(e, E_USAGE, "Host header: missing");
	if (!keyed && h->loopback && browser_check(r, host, e))
		return e->status;
	if (r->target_err.status) {
		*e = r->target_err;
		return e->status;
	}
	if (route_find(r, e)) {
		r->fail_status = r->allow ? 405 : 0;
		return e->status;
	}
	if (caller_check(r, keyed, e))
		return e->status;
	if (state != HTTP_READY && !r->route->early) {
		r->fail_status = 503;
		return err_set(e, E_BUSY, state == HTTP_DRAINING ? "the service is shutting down" : "the service is starting");
	}
	if (length && strtoull(length, NULL, 10) > body_max(r)) {
		r->fail_status = 413;
		return err_set(e, E_USAGE, "body: larger than %llu bytes", (unsigned long long)body_max(r));
	}
	return OK;
}

/* 1 when a refusal is sent at once, which ends the connection: the client waits for leave to send its body, or the body
 * is too large to be read and dropped. */
static int refuse_now(struct request *r)
{
	const char *length = header(r->connection, "Content-Length");
	return header(r->connection, "Expect") || (length && strtoull(length, NULL, 10) > DISCARD_MAX);
}

static enum MHD_Result request_begin(struct request *r, struct MHD_Connection *c, const char *method, const char *version)
{
	struct err e = { 0 };
	const char *type;
	pthread_mutex_lock(&r->lock);
	r->connection = c;
	pthread_mutex_unlock(&r->lock);
	snprintf(r->method, sizeof r->method, "%s", method);
	request_set_id(r, header(c, "X-Request-Id"));
	r->state = REQUEST_READING;
	if (headers_check(r, version, &e)) {
		reply_error(r, 0, &e);
		if (refuse_now(r))
			return reply_send(r, c);
		r->state = REQUEST_REFUSED;
		return MHD_YES;
	}
	buf_clear(&r->body);
	r->body.max = body_max(r);
	type = header(c, "Content-Type");
	if (type && !(r->content_type = arena_strdup(&r->arena, type)))
		return MHD_NO;
	return MHD_YES;
}

static enum MHD_Result body_take(struct request *r, const char *data, size_t len)
{
	struct err e = { 0 };
	if (r->state == REQUEST_REFUSED) {
		r->discarded += len;
		return r->discarded <= DISCARD_MAX ? MHD_YES : MHD_NO;
	}
	if (!http_body_reserve(r->http, len)) {
		err_set(&e, E_LIMIT, "too many bodies are being received, try again");
		r->fail_status = 429;
	} else {
		r->body_held += len;
		switch (buf_put(&r->body, data, len)) {
		case OK:
			return MHD_YES;
		case E_LIMIT:
			err_set(&e, E_USAGE, "body: larger than %llu bytes", (unsigned long long)r->body.max);
			r->fail_status = 413;
			break;
		default:
			err_set(&e, E_MEMORY, "out of memory");
		}
	}
	reply_error(r, 0, &e);
	buf_clear(&r->body);
	http_body_release(r->http, r->body_held);
	r->body_held = 0;
	r->state = REQUEST_REFUSED;
	return MHD_YES;
}

/* The whole request is here. */
static enum MHD_Result request_dispatch(struct request *r, struct MHD_Connection *c)
{
	struct err e = { 0 };
	if (r->route->pool != POOL_NONE) {
		r->state = REQUEST_WAITING;
		job_submit(r->http->jobs, r);
		return MHD_YES;
	}
	if (r->route->run(r, &e))
		reply_error(r, 0, &e);
	return reply_send(r, c);
}

/* ---- libmicrohttpd's callbacks ---- */
static void *on_target(void *cls, const char *target, struct MHD_Connection *c)
{
	struct http *h = cls;
	struct request *r = request_new(h, h->service, target);
	(void)c;
	if (r)
		atomic_fetch_add(&h->requests, 1);
	return r;
}

static size_t keep_escapes(void *cls, struct MHD_Connection *c, char *s)
{
	(void)cls;
	(void)c;
	return strlen(s); /* request.c decodes, after splitting */
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
	const char *upload, size_t *upload_len, void **con_cls)
{
	struct request *r = *con_cls;
	enum MHD_Result rc;
	int ready;
	(void)cls;
	(void)url;
	if (!r)
		return MHD_NO;
	switch (r->state) {
	case REQUEST_NEW:
		return request_begin(r, c, method, version);
	case REQUEST_READING:
	case REQUEST_REFUSED:
		if (*upload_len) {
			rc = body_take(r, upload, *upload_len);
			*upload_len = 0;
			return rc;
		}
		return r->state == REQUEST_REFUSED ? reply_send(r, c) : request_dispatch(r, c);
	case REQUEST_WAITING:
		pthread_mutex_lock(&r->lock);
		ready = r->done || r->stream_open;
		pthread_mutex_unlock(&r->lock);
		return ready ? reply_send(r, c) : MHD_YES;
	default:
		return MHD_NO;
	}
}

static void on_completed(void *cls, struct MHD_Connection *c, void **con_cls, enum MHD_RequestTerminationCode how)
{
	struct http *h = cls;
	struct request *r = *con_cls;
	const char *route;
	double ms;
	char labels[96];
	int status;
	(void)c;
	(void)how;
	if (!r)
		return;
	*con_cls = NULL;
	pthread_mutex_lock(&r->lock);
	r->connection = NULL;
	r->suspended = 0;
	if (r->submitted && !r->done)
		request_cancel(r, CANCEL_LEFT);
	/* 499: the client left before a status was sent. */
	status = r->stream_open ? 200 : r->submitted && !r->done ? 499 : r->status;
	pthread_mutex_unlock(&r->lock);
	route = r->route ? r->route->name : "none";
	ms = (double)(clock_us() - r->arrived_us) / 1e3;
	snprintf(labels, sizeof labels, "route=\"%s\",status=\"%d\"", route, status);
	stat_count("footnote_http_requests_total", labels, 1);
	snprintf(labels, sizeof labels, "route=\"%s\"", route);
	stat_observe_ms("footnote_http_request_seconds", labels, ms);
	log_put(LOG_DEBUG, "http", "%s %s %s %d %.1f ms", r->id, r->method, route, status, ms);
	request_unref(r);
	atomic_fetch_sub(&h->requests, 1);
}

static void on_log(void *cls, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
static void on_log(void *cls, const char *fmt, va_list args)
{
	char line[240];
	(void)cls;
	vsnprintf(line, sizeof line, fmt, args);
	line[strcspn(line, "\n")] = 0;
	log_put(LOG_DEBUG, "http", "libmicrohttpd: %s", line);
}

/* ---- start and end ---- */
/* A listening socket on s; what it is into h. */
static int listen_open(struct http *h, const char *s, struct err *e)
{
	struct sockaddr_storage addr;
	socklen_t len;
	char host[INET6_ADDRSTRLEN];
	int fd, one = 1;
	if (listen_parse(s, &addr, &len, &h->loopback, e))
		return -1;
	if (!h->loopback && !keys_any(h->service->keys)) {
		err_set(e, E_DENIED, "listen on %.80s: not loopback, and there are no access keys; footnote keys add makes one", s);
		return -1;
	}
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) || bind(fd, (struct sockaddr *)&addr, len) ||
	    listen(fd, 511) || getsockname(fd, (struct sockaddr *)&addr, &len)) {
		if (errno == EADDRINUSE)
			err_set(e, E_BUSY, "listen on %.80s: the address is in use; --listen takes another", s);
		else
			err_sys(e, "listen on %.80s", s);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (addr.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr;
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		snprintf(h->address, sizeof h->address, "http://[%s]:%d", host, ntohs(v6->sin6_port));
	} else {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr;
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		snprintf(h->address, sizeof h->address, "http://%s:%d", host, ntohs(v4->sin_port));
	}
	return fd;
}

static struct MHD_Daemon *daemon_open(struct http *h, int fd)
{
	const struct conf *c = &h->service->conf;
	return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		on_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_THREAD_POOL_SIZE, (unsigned)c->http_threads,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)c->connections_max,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)c->idle_timeout_s,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES_MAX + STREAM_BLOCK,
		MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
		MHD_OPTION_URI_LOG_CALLBACK, on_target, h,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
		MHD_OPTION_END);
}

static volatile int asked, hurry;   /* SIGTERM or SIGINT came; another one, which ends the patience */

static void on_signal(int number)
{
	(void)number;
	flag_set(flag_is(&asked) ? &hurry : &asked);
}

static void nap(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
	nanosleep(&t, NULL);
}

/* Loads what answering needs while /readyz says "starting". */
static int http_start(struct http *h, struct err *e)
{
	const char *why = NULL;
	struct embedder *embedder;
	if (service_embedder(h->service, &embedder, e) || service_engine(h->service, &h->engine, &why, e))
		return e->status;
	if (folders_open(&h->folders, h->service, e) || batches_open(&h->batches, h->service, e))
		return e->status;
	if (!h->engine)
		log_put(LOG_WARN, "serve", "answers are extractive: %s", why ? why : "no generator");
	atomic_store(&h->state, HTTP_READY);
	log_put(LOG_INFO, "serve", "ready");
	return OK;
}

static void http_drain(struct http *h, struct MHD_Daemon *d)
{
	int fd = MHD_quiesce_daemon(d), waited = 0;
	flag_set(&asked);
	atomic_store(&h->state, HTTP_DRAINING);
	if (fd >= 0)
		shutdown(fd, SHUT_RDWR); /* who connects now is refused; the daemon's threads may still hold the number */
	log_put(LOG_INFO, "serve", "draining");
	jobs_drain(h->jobs, h->service->conf.drain_s, &hurry);
	for (; atomic_load(&h->requests) > 0 && waited < FLUSH_MS; waited += 10)
		nap(10);
	MHD_stop_daemon(d);
	if (fd >= 0)
		close(fd);
}

static int serve_run(struct command_call *c, struct http *h, const char *address)
{
	struct err e = { 0 };
	struct MHD_Daemon *d = NULL;
	int fd = listen_open(h, address, &e), rc;
	if (fd < 0)
		return command_fail(c, &e);
	if (jobs_open(&h->jobs, h->service, &e)) {
		close(fd);
		return command_fail(c, &e);
	}
	if (!(d = daemon_open(h, fd))) {
		close(fd);
		jobs_close(h->jobs);
		err_set(&e, E_IO, "start the HTTP server on %s", h->address);
		return command_fail(c, &e);
	}
	out_printf(c->out, 1, c->json ? "{\"listening\":\"%s\"}\n" : "listening on %s\n", h->address);
	rc = http_start(h, &e);
	while (!rc && !flag_is(&asked) && !flag_is(c->cancel))
		nap(100);
	http_drain(h, d);
	batches_close(h->batches);
	folders_close(h->folders);
	jobs_close(h->jobs);
	return rc ? command_fail(c, &e) : 0;
}

int cmd_serve(struct command_call *c)
{
	struct http h = { .service = c->service };
	const char *address = c->conf->listen;
	const struct option options[] = { { "--listen", OPTION_TEXT, &address, 0, 0 } };
	struct sigaction act = { .sa_handler = on_signal }, old_term, old_int, old_pipe, ignore = { .sa_handler = SIG_IGN };
	struct err e = { 0 };
	int rc;
	if (options_parse(c, options, 1, &e))
		return command_misused(c, &e);
	if (c->argc > 1) {
		err_set(&e, E_USAGE, "serve: %.80s is not an option", c->argv[1]);
		return command_misused(c, &e);
	}
	asked = hurry = 0;
	sigaction(SIGTERM, &act, &old_term);
	sigaction(SIGINT, &act, &old_int);
	sigaction(SIGPIPE, &ignore, &old_pipe);
	rc = serve_run(c, &h, address);
	sigaction(SIGTERM, &old_term, NULL);
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGPIPE, &old_pipe, NULL);
	return rc;
}
