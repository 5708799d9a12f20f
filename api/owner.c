/* owner.c: who owns a data folder, and how other processes have it run their commands.
 *
 * Ownership is a POSIX record lock on one file: the kernel drops it with the process, children do not inherit it, and
 * F_GETLK names the holder. Such a lock is lost when any descriptor of the file is closed in this process, so the file
 * is opened here alone and once. The socket is reached through /proc/self/fd/<folder>, because a socket's address
 * holds 108 bytes and folders may be longer; a socket left by a killed owner is removed once the lock is held.
 *
 * Threads: one listener polls the socket and every client; a client that hangs up has its command's cancel flag set
 * there. Each command runs in a thread of its own, which reads the request, runs the verb and writes frames. The list
 * of clients and the two flags are under `lock`; threads are joined by the listener. Lock order: `lock`, then nothing.
 *
 * Stopping: the listening socket is closed first, so that a client that was not accepted is told to try again; then
 * every cancel flag is set, and after STOP_PATIENCE_MS connections are cut, which frees a thread that is stuck in
 * writing to a client that does not read. */
#include "api/owner.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>
#include "api/screen.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

enum {
	REQUEST_BYTES_MAX = 4 << 20, REQUEST_SECONDS = 10, BACKLOG = 64, ARGS_MAX = 100000,
	FRAME_BYTES_MAX = 1 << 20, HEADER_BYTES = 5, STOP_PATIENCE_MS = 2000, DRAIN_POLL_MS = 20,
	STREAM_TAKEN = 0, STREAM_EXIT = 3
};
static const char lock_name[] = "footnote.lock", socket_name[] = "footnote.sock";

struct client {
	struct client *next;
	struct owner *owner;
	pthread_t thread;
	int fd;
	int hung_up;                     /* the listener's own */
	int done;                        /* under owner->lock */
	volatile int cancel;
	char *request; cJSON *json;
	char **argv;
};

struct owner {
	int dir_fd, lock_fd, listen_fd;  /* -1 when closed */
	int wake[2];                     /* pipe: the listener looks again */
	struct err socket_err;           /* why there is no socket */
	struct service *service;
	pthread_t listener;
	int listening;                   /* the listener thread runs */
	pthread_mutex_t lock;
	struct client *clients;
	int client_n;
	int stopping;
};

/* ---- lock and socket ---- */

static void socket_address(struct sockaddr_un *a, int dir_fd)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/%s", dir_fd, socket_name);
}

static int lock_take(struct owner *o, const char *data_dir, struct err *e)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	o->lock_fd = openat(o->dir_fd, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (o->lock_fd < 0 && err_sys(e, "open %s/%s", data_dir, lock_name) == E_DENIED)
		return err_set(e, E_DENIED, "%s; every command must be able to write in the data folder", e->msg);
	if (o->lock_fd < 0) return e->status;
	if (fcntl(o->lock_fd, F_SETLK, &l) == 0) return OK;
	if (errno != EAGAIN && errno != EACCES) return err_sys(e, "lock %s/%s", data_dir, lock_name);
	l = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (fcntl(o->lock_fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK && l.l_pid > 0)
		return err_set(e, E_BUSY, "%s is in use by process %ld", data_dir, (long)l.l_pid);
	return err_set(e, E_BUSY, "%s is in use by another process", data_dir);
}

/* Bound before the store is opened, so that who comes meanwhile waits instead of failing. */
static int socket_open(struct owner *o, const char *data_dir, struct err *e)
{
	struct sockaddr_un a;
	o->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->listen_fd < 0) return err_sys(e, "socket");
	if (unlinkat(o->dir_fd, socket_name, 0) != 0 && errno != ENOENT)
		return err_sys(e, "remove %s/%s", data_dir, socket_name);
	socket_address(&a, o->dir_fd);
	/* Linux takes the mode of the file that bind makes from the socket: it is never open to others. */
	fchmod(o->listen_fd, 0600);
	if (bind(o->listen_fd, (struct sockaddr *)&a, sizeof a) != 0)
		return err_sys(e, "make socket %s/%s", data_dir, socket_name);
	if (listen(o->listen_fd, BACKLOG) != 0) return err_sys(e, "listen on %s/%s", data_dir, socket_name);
	return OK;
}

static void fd_close(int *fd)
{
	if (*fd >= 0) close(*fd);
	*fd = -1;
}

static void owner_free(struct owner *o)
{
	fd_close(&o->listen_fd);
	fd_close(&o->wake[0]);
	fd_close(&o->wake[1]);
	fd_close(&o->lock_fd);
	fd_close(&o->dir_fd);
	pthread_mutex_destroy(&o->lock);
	mem_free(o);
}

int owner_take(struct owner **out, const char *data_dir, struct err *e)
{
	struct owner *o;
	int rc = dir_make(data_dir, e);
	if (rc) return rc;
	o = mem_calloc(1, sizeof *o);
	if (!o) return err_set(e, E_MEMORY, "%s: out of memory", data_dir);
	o->dir_fd = o->lock_fd = o->listen_fd = o->wake[0] = o->wake[1] = -1;
	pthread_mutex_init(&o->lock, NULL);
	o->dir_fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->dir_fd < 0) rc = err_sys(e, "open %s", data_dir);
	if (!rc) rc = lock_take(o, data_dir, e);
	if (!rc && pipe2(o->wake, O_CLOEXEC | O_NONBLOCK) != 0) rc = err_sys(e, "pipe");
	if (rc) {
		owner_free(o);
		return rc;
	}
	if (socket_open(o, data_dir, &o->socket_err)) fd_close(&o->listen_fd);
	*out = o;
	return OK;
}

/* ---- frames ---- */

static void u32_put(uint8_t out[4], uint32_t v)
{
	for (int i = 0; i < 4; i++) out[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t u32_get(const uint8_t in[4])
{
	return in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

/* All of it, or -1 with errno. */
static int send_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* All of it: 1; the end came before: 0; -1 with errno. */
static int recv_all(int fd, void *data, size_t len)
{
	char *p = data;
	while (len) {
		ssize_t n = recv(fd, p, len, 0);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return (int)n;
		p += n;
		len -= (size_t)n;
	}
	return 1;
}

static int frame_send(int fd, int stream, const char *data, size_t len)
{
	do {
		size_t part = len < FRAME_BYTES_MAX ? len : FRAME_BYTES_MAX;
		uint8_t head[HEADER_BYTES] = { (uint8_t)stream };
		u32_put(head + 1, (uint32_t)part);
		if (send_all(fd, head, sizeof head) || send_all(fd, data, part)) return -1;
		data += part;
		len -= part;
	} while (len);
	return 0;
}

static int client_write(void *ctx, int stream, const char *data, size_t len)
{
	struct client *k = ctx;
	if (len == 0) return 0;
	if (frame_send(k->fd, stream, data, len) == 0) return 0;
	flag_set(&k->cancel);
	return 1;
}

static int refuse(int fd, const char *why, uint8_t code)
{
	char line[320];
	int n = snprintf(line, sizeof line, "footnote: %s\n", why);
	if (frame_send(fd, STREAM_TAKEN, "", 0)) return -1;
	if (frame_send(fd, 2, line, n > 0 && (size_t)n < sizeof line ? (size_t)n : strlen(line))) return -1;
	return frame_send(fd, STREAM_EXIT, (char *)&code, 1);
}

/* ---- one command ---- */

static int peer_allowed(int fd)
{
	struct ucred u;
	socklen_t len = sizeof u;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) != 0) return 0;
	return u.uid == geteuid() || u.uid == 0;
}

/* The request's JSON into k->json and k->argv. E_NOT_FOUND: the client left without asking. */
static int request_read(struct client *k, int *argc, struct err *e)
{
	struct timeval wait = { .tv_sec = REQUEST_SECONDS };
	uint8_t head[4];
	uint32_t len;
	const cJSON *argv, *arg;
	int n = 0, rc;
	setsockopt(k->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	if (recv_all(k->fd, head, sizeof head) != 1) return err_set(e, E_NOT_FOUND, "no request");
	len = u32_get(head);
	if (len > REQUEST_BYTES_MAX)
		return err_set(e, E_LIMIT, "the command line is longer than %d bytes", REQUEST_BYTES_MAX);
	k->request = mem_alloc((size_t)len + 1);
	if (!k->request) return err_set(e, E_MEMORY, "out of memory");
	if (recv_all(k->fd, k->request, len) != 1) return err_set(e, E_NOT_FOUND, "no request");
	rc = json_parse(&k->json, k->request, len, REQUEST_BYTES_MAX, "command", e);
	if (rc) return rc;
	if (json_num(k->json, "v", 0) != 1)
		return err_set(e, E_UNSUPPORTED, "the owner of the data folder is another version of footnote");
	argv = cJSON_GetObjectItemCaseSensitive(k->json, "argv");
	if (!cJSON_IsArray(argv) || cJSON_GetArraySize(argv) > ARGS_MAX)
		return err_set(e, E_USAGE, "argv: must be an array of strings");
	k->argv = mem_calloc((size_t)cJSON_GetArraySize(argv) + 1, sizeof *k->argv);
	if (!k->argv) return err_set(e, E_MEMORY, "out of memory");
	cJSON_ArrayForEach(arg, argv) {
		if (!cJSON_IsString(arg)) return err_set(e, E_USAGE, "argv: must be an array of strings");
		k->argv[n++] = arg->valuestring;
	}
	*argc = n;
	return OK;
}

static int command_run(struct client *k, int argc, struct out *out)
{
	struct service *s = k->owner->service;
	struct common_options o;
	struct command_call c = {0};
	const struct command *command;
	struct err e = {0};
	c.out = out;
	c.argv = k->argv;
	if (common_parse(&o, argc, k->argv, &e)) return command_fail(&c, &e);
	command = o.argc ? command_find(o.argv[0]) : NULL;
	if (!command || command->local != COMMAND_OWNED) {
		err_set(&e, E_BUSY, "%.60s cannot run inside another process, and that one owns the data folder",
			o.argc ? o.argv[0] : "nothing");
		return command_fail(&c, &e);
	}
	c.service = s;
	c.conf = &s->conf;
	c.argc = o.argc;
	c.argv = o.argv;
	c.cwd = json_str(k->json, "cwd", "/");
	c.collection = o.collection ? o.collection : s->conf.collection;
	c.json = o.json;
	c.quiet = o.quiet;
	c.cancel = &k->cancel;
	return command->run(&c);
}

static void client_serve(struct client *k)
{
	struct out out = { .ctx = k, .write = client_write };
	struct err e = {0};
	int argc = 0, rc;
	uint8_t code;
	if (!peer_allowed(k->fd)) {
		refuse(k->fd, "the data folder is owned by another user's process", EXIT_REFUSED);
		return;
	}
	rc = request_read(k, &argc, &e);
	if (rc == E_NOT_FOUND) return;
	if (rc) {
		refuse(k->fd, e.msg, rc == E_LIMIT ? EXIT_REFUSED : EXIT_USAGE);
		return;
	}
	if (flag_is(&k->cancel) || frame_send(k->fd, STREAM_TAKEN, "", 0)) return;
	out.tty = json_num(k->json, "tty", 0) != 0;
	out.columns = (int)json_num(k->json, "columns", 80);
	if (out.columns < 20 || out.columns > 10000) out.columns = 80;
	code = (uint8_t)command_run(k, argc, &out);
	frame_send(k->fd, STREAM_EXIT, (char *)&code, 1);
}

static void owner_wake(struct owner *o)
{
	ssize_t n = write(o->wake[1], "", 1); /* a full pipe wakes as well */
	(void)n;
}

static void *client_main(void *arg)
{
	struct client *k = arg;
	client_serve(k);
	pthread_mutex_lock(&k->owner->lock);
	k->done = 1;
	pthread_mutex_unlock(&k->owner->lock);
	owner_wake(k->owner);
	return NULL;
}

/* ---- the listener ---- */

static void client_free(struct client *k)
{
	close(k->fd);
	cJSON_Delete(k->json);
	mem_free(k->request);
	mem_free(k->argv);
	mem_free(k);
}

static void client_accept(struct owner *o)
{
	struct client *k;
	int fd = accept4(o->listen_fd, NULL, NULL, SOCK_CLOEXEC), full;
	if (fd < 0) {
		/* Out of descriptors or memory: the one who waits stays in the queue; do not spin on it. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) poll(NULL, 0, DRAIN_POLL_MS);
		return;
	}
	pthread_mutex_lock(&o->lock);
	full = o->client_n >= o->service->conf.commands_max;
	pthread_mutex_unlock(&o->lock);
	k = full ? NULL : mem_calloc(1, sizeof *k);
	if (!k) {
		refuse(fd, full ? "too many commands at once (data.commands_max)" : "out of memory", EXIT_REFUSED);
		close(fd);
		return;
	}
	k->owner = o;
	k->fd = fd;
	pthread_mutex_lock(&o->lock);
	if (pthread_create(&k->thread, NULL, client_main, k) == 0) {
		k->next = o->clients;
		o->clients = k;
		o->client_n++;
		k = NULL;
	}
	pthread_mutex_unlock(&o->lock);
	if (k) {
		refuse(fd, "no thread to run the command in", EXIT_REFUSED);
		client_free(k);
	}
}

/* Joins and frees what is done. */
static void clients_reap(struct owner *o)
{
	struct client **at, *done = NULL, *k;
	pthread_mutex_lock(&o->lock);
	for (at = &o->clients; *at;) {
		k = *at;
		if (!k->done) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		k->next = done;
		done = k;
		o->client_n--;
	}
	pthread_mutex_unlock(&o->lock);
	while ((k = done)) {
		done = k->next;
		pthread_join(k->thread, NULL);
		client_free(k);
	}
}

/* The pipe, the socket, then every client in the list's order. Only the listener changes the list. */
static nfds_t polled(struct owner *o, struct pollfd *p, struct client **who, nfds_t max)
{
	nfds_t n = 0;
	p[n++] = (struct pollfd){ .fd = o->wake[0], .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = o->listen_fd, .events = POLLIN };
	for (struct client *k = o->clients; k && n < max; k = k->next) {
		who[n] = k;
		p[n++] = (struct pollfd){ .fd = k->hung_up ? -1 : k->fd, .events = POLLRDHUP };
	}
	return n;
}

static void clients_stop(struct owner *o, uint64_t since_us)
{
	int cut = clock_us() - since_us >= STOP_PATIENCE_MS * 1000ull;
	for (struct client *k = o->clients; k; k = k->next) {
		flag_set(&k->cancel);
		shutdown(k->fd, cut ? SHUT_RDWR : SHUT_RD);
	}
}

static void *listener_main(void *arg)
{
	enum { POLLED_MAX = 256 + 2 };
	struct owner *o = arg;
	struct pollfd p[POLLED_MAX];
	struct client *who[POLLED_MAX];
	uint64_t stop_us = 0;
	for (;;) {
		int stopping, left;
		char drop[64];
		nfds_t n;
		clients_reap(o);
		pthread_mutex_lock(&o->lock);
		stopping = o->stopping;
		left = o->client_n;
		pthread_mutex_unlock(&o->lock);
		if (stopping) {
			fd_close(&o->listen_fd);
			if (!left) return NULL;
			if (!stop_us) stop_us = clock_us();
			clients_stop(o, stop_us);
		}
		n = polled(o, p, who, POLLED_MAX);
		if (poll(p, n, stopping ? DRAIN_POLL_MS : -1) <= 0) continue;
		if (p[0].revents) while (read(o->wake[0], drop, sizeof drop) > 0) continue;
		for (nfds_t i = 2; i < n; i++) {
			if (!(p[i].revents & (POLLRDHUP | POLLHUP | POLLERR))) continue;
			who[i]->hung_up = 1;
			flag_set(&who[i]->cancel);
		}
		if (!stopping && p[1].revents) client_accept(o);
	}
}

int owner_listen(struct owner *o, struct service *s, struct err *e)
{
	int rc;
	if (o->listen_fd < 0) {
		if (e) *e = o->socket_err;
		return o->socket_err.status;
	}
	o->service = s;
	rc = pthread_create(&o->listener, NULL, listener_main, o);
	if (rc) return err_set(e, E_MEMORY, "no thread to listen in: %s", strerror(rc));
	o->listening = 1;
	return OK;
}

/* 1 when the listener has been told to stop: at once, or because nothing runs. */
static int stop_asked(struct owner *o, int at_once)
{
	int stop;
	pthread_mutex_lock(&o->lock);
	stop = at_once || o->client_n == 0;
	if (stop) o->stopping = 1;
	pthread_mutex_unlock(&o->lock);
	return stop;
}

void owner_drain(struct owner *o, const volatile int *cancel)
{
	if (o->listening) {
		while (!stop_asked(o, flag_is(cancel))) poll(NULL, 0, DRAIN_POLL_MS);
		owner_wake(o);
		pthread_join(o->listener, NULL);
		o->listening = 0;
	}
	fd_close(&o->listen_fd);
	unlinkat(o->dir_fd, socket_name, 0);
}

void owner_release(struct owner *o)
{
	const volatile int now = 1;
	if (!o) return;
	owner_drain(o, &now);
	owner_free(o);
}

/* ---- the other side ---- */

static int owner_connect(const char *data_dir, int *fd, struct err *e)
{
	struct sockaddr_un a;
	int dir_fd = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC), rc = OK;
	if (dir_fd < 0) return err_sys(e, "open %s", data_dir);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0) rc = err_sys(e, "socket");
	socket_address(&a, dir_fd);
	if (!rc && connect(*fd, (struct sockaddr *)&a, sizeof a) != 0) {
		if (errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN)
			rc = err_set(e, E_NOT_FOUND, "%s: its owner does not listen", data_dir);
		else
			rc = err_sys(e, "connect to %s/%s", data_dir, socket_name);
		fd_close(fd);
	}
	close(dir_fd);
	return rc;
}

static int request_make(int argc, char **argv, char **text, struct err *e)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "argv");
	char cwd[4096];
	int ok = o && list, rc = OK;
	if (!getcwd(cwd, sizeof cwd)) rc = err_sys(e, "working folder");
	else if (!utf8_valid(cwd, strlen(cwd)))
		rc = err_set(e, E_USAGE, "the name of the working folder is not valid UTF-8");
	for (int i = 0; i < argc && ok && !rc; i++) {
		cJSON *item;
		if (!utf8_valid(argv[i], strlen(argv[i]))) rc = err_set(e, E_USAGE, "argument %d is not valid UTF-8", i + 1);
		item = cJSON_CreateString(argv[i]);
		if (!item || !cJSON_AddItemToArray(list, item)) ok = 0;
	}
	ok = ok && cJSON_AddNumberToObject(o, "v", 1) && cJSON_AddNumberToObject(o, "tty", isatty(2));
	ok = ok && cJSON_AddNumberToObject(o, "columns", screen_columns(2));
	if (!rc) ok = ok && cJSON_AddStringToObject(o, "cwd", cwd);
	if (!rc) *text = ok ? cJSON_PrintUnformatted(o) : NULL;
	if (!rc && !*text) rc = err_set(e, E_MEMORY, "out of memory");
	cJSON_Delete(o);
	return rc;
}

/* Copies a frame's bytes. *refused: they could not be written. 1 whole, else as recv_all. */
static int frame_copy(int fd, int stream, uint32_t len, struct out *out, struct buf *said, int *refused)
{
	char part[16384];
	while (len) {
		size_t n = len < sizeof part ? len : sizeof part;
		int got = recv_all(fd, part, n);
		if (got != 1) return got;
		if (said && stream == 1) (void)buf_put(said, part, n);
		*refused = out->write(out->ctx, stream, part, n) != 0;
		if (*refused) return 1;
		len -= (uint32_t)n;
	}
	return 1;
}

/* Reads frames until the exit code. */
static int reply_copy(int fd, const char *data_dir, struct out *out, struct buf *said, int *exit_code, struct err *e)
{
	int taken = 0, refused = 0;
	for (;;) {
		uint8_t head[HEADER_BYTES], code;
		uint32_t len;
		if (recv_all(fd, head, sizeof head) != 1) break;
		len = u32_get(head + 1);
		if (head[0] == STREAM_TAKEN && len == 0) {
			taken = 1;
		} else if (head[0] == STREAM_EXIT && len == 1) {
			if (recv_all(fd, &code, 1) != 1) break;
			*exit_code = code;
			return OK;
		} else if (head[0] == 1 || head[0] == 2) {
			if (frame_copy(fd, head[0], len, out, said, &refused) != 1) break;
			if (refused && head[0] == 1) {
				out->broken = 1;
				*exit_code = EXIT_SOME_FAILED;
				return OK;
			}
		} else {
			return err_set(e, E_FORMAT, "%s: its owner speaks another version", data_dir);
		}
	}
	if (!taken) return err_set(e, E_NOT_FOUND, "%s: its owner just left", data_dir);
	return err_set(e, E_IO, "%s: the process that owned it ended before the command did", data_dir);
}

int owner_send(const char *data_dir, int argc, char **argv, struct out *out, struct buf *said, int *exit_code, struct err *e)
{
	char *text = NULL;
	uint8_t head[4];
	int fd = -1, rc = request_make(argc, argv, &text, e);
	if (rc) return rc;
	rc = owner_connect(data_dir, &fd, e);
	if (rc) goto out;
	u32_put(head, (uint32_t)strlen(text));
	/* An owner that refuses may have closed already; its reason is still there to read. */
	if (send_all(fd, head, sizeof head) == 0) send_all(fd, text, strlen(text));
	rc = reply_copy(fd, data_dir, out, said, exit_code, e);
out:
	fd_close(&fd);
	cJSON_free(text);
	return rc;
}
