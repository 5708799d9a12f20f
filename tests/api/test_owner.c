/* test_owner.c: who owns a data folder, and commands over its socket: the lock against other processes, the wire with
 * well-meant and hostile clients, real commands on a real store, a client that leaves in the middle. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "api/owner.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "tests/test.h"

static struct service bare;          /* settings only: enough for commands that fail before they touch the store */

static struct owner *owner_start(const char *dir, struct service *s)
{
	struct owner *o;
	struct err e = {0};
	CHECK_OK(owner_take(&o, dir, &e), e);
	CHECK_OK(owner_listen(o, s, &e), e);
	return o;
}

static struct owner *bare_start(const char *dir, int commands_max)
{
	conf_default(&bare.conf);
	bare.conf.commands_max = commands_max;
	return owner_start(dir, &bare);
}

static int fd_write(void *ctx, int stream, const char *data, size_t len)
{
	(void)ctx;
	return write(stream, data, len) != (ssize_t)len;
}

/* owner_send with stdout and stderr caught; what it keeps of stdout is the same. */
static int sent(const char *dir, int *code, char out[4096], char err[4096], struct err *e, int argc, char **argv)
{
	char path[2][512];
	int saved[2], rc;
	struct buf got;
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof path[i], "%s/caught%d", dir, i);
		saved[i] = dup(i + 1);
		int fd = open(path[i], O_WRONLY | O_CREAT | O_TRUNC, 0600);
		dup2(fd, i + 1);
		close(fd);
	}
	struct out to = { .write = fd_write };
	struct buf said;
	buf_init(&said, 4095);
	rc = owner_send(dir, argc, argv, &to, &said, code, e);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
		buf_init(&got, 4095);
		CHECK_INT(file_read(path[i], &got, NULL), OK);
		snprintf(i ? err : out, 4096, "%s", buf_cstr(&got));
		buf_clear(&got);
	}
	CHECK_STR(buf_cstr(&said), out);
	buf_clear(&said);
	return rc;
}

/* A raw connection. */
static int raw_connect(const char *dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK((size_t)snprintf(a.sun_path, sizeof a.sun_path, "%s/footnote.sock", dir) < sizeof a.sun_path);
	CHECK_INT(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void raw_request(int fd, const char *json)
{
	uint32_t len = (uint32_t)strlen(json);
	CHECK_INT(send(fd, &len, 4, MSG_NOSIGNAL), 4);
	if (len) CHECK_INT(send(fd, json, len, MSG_NOSIGNAL), len); /* one of no bytes is answered and closed by now */
}

/* Runs fn in a child; its exit code. */
static int in_child(int (*fn)(const char *dir), const char *dir)
{
	int status;
	pid_t pid;
	fflush(NULL);
	pid = fork();
	if (pid == 0) _exit(fn(dir));
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- the lock ---- */

static int take_is_busy(const char *dir)
{
	struct owner *o;
	struct err e = {0};
	char pid[32];
	if (owner_take(&o, dir, &e) != E_BUSY) return 1;
	snprintf(pid, sizeof pid, "process %ld", (long)getppid());
	return strstr(e.msg, pid) && strstr(e.msg, dir) ? 0 : 2;
}

static int take_works(const char *dir)
{
	struct owner *o;
	struct err e = {0};
	if (owner_take(&o, dir, &e)) return 1;
	owner_release(o);
	return 0;
}

/* Takes it, leaves a process of its own behind, and dies without a word. */
static int take_fork_and_die(const char *dir)
{
	struct owner *o;
	struct err e = {0};
	if (owner_take(&o, dir, &e)) return 1;
	if (fork() == 0) {
		sleep(5);
		_exit(0);
	}
	return 0;
}

TEST(owner_second_process_is_told_who_holds_the_folder)
{
	struct owner *o;
	struct err e = {0};
	const char *dir = test_dir();
	CHECK_OK(owner_take(&o, dir, &e), e);
	CHECK_INT(in_child(take_is_busy, dir), 0);
	CHECK_INT(in_child(take_is_busy, dir), 0);
	owner_release(o);
	CHECK_INT(in_child(take_works, dir), 0);
}

TEST(owner_lock_dies_with_its_process_not_with_its_children)
{
	struct owner *o;
	struct err e = {0};
	const char *dir = test_dir();
	CHECK_INT(in_child(take_fork_and_die, dir), 0);
	CHECK_OK(owner_take(&o, dir, &e), e);     /* the socket that was left is no hindrance */
	owner_release(o);
}

TEST(owner_makes_the_folder_and_names_what_it_cannot)
{
	struct owner *o;
	struct err e = {0};
	char path[512];
	snprintf(path, sizeof path, "%s/a/b/c", test_dir());
	CHECK_OK(owner_take(&o, path, &e), e);
	owner_release(o);
	snprintf(path + strlen(path), 32, "/footnote.lock/x");
	CHECK(owner_take(&o, path, &e) != OK);
	CHECK(strstr(e.msg, "footnote.lock"));
}

/* ---- the wire ---- */

TEST(owner_runs_a_command_for_a_client)
{
	char out[4096], err[4096], *argv[] = { "--collection", "x", "docs", "--json", "paint" }, *bad[] = { "frobnicate" },
		*serve[] = { "serve" };
	struct err e = {0};
	struct stat st;
	char path[512];
	int code = -1;
	const char *dir = test_dir();
	struct owner *o = bare_start(dir, 4);
	CHECK_OK(sent(dir, &code, out, err, &e, 5, argv), e);
	CHECK_INT(code, 2);
	CHECK_STR(out, "");
	CHECK_MSG(strstr(err, "footnote: docs: must be list, show or text\nusage: footnote docs list"), "%s", err);
	CHECK_OK(sent(dir, &code, out, err, &e, 1, serve), e);
	CHECK_INT(code, 5);
	CHECK_OK(sent(dir, &code, out, err, &e, 1, bad), e);
	CHECK_INT(code, 5);
	snprintf(path, sizeof path, "%s/footnote.sock", dir);
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	owner_release(o);
	CHECK(stat(path, &st) != 0);
	CHECK_INT(sent(dir, &code, out, err, &e, 5, argv), E_NOT_FOUND);
}

TEST(owner_folder_path_longer_than_a_socket_address)
{
	char out[4096], err[4096], path[700], *argv[] = { "stats", "too", "many" };
	struct err e = {0};
	int code = -1;
	snprintf(path, sizeof path, "%s/", test_dir());
	for (int i = 0; i < 5; i++) snprintf(path + strlen(path), 64, "a-folder-with-a-rather-long-name-%d/", i);
	CHECK(strlen(path) > 150);
	struct owner *o = bare_start(path, 4);
	CHECK_OK(sent(path, &code, out, err, &e, 3, argv), e);
	CHECK_INT(code, 2);
	owner_release(o);
}

TEST(owner_that_does_not_listen_is_not_found)
{
	char out[4096], err[4096], path[512], *argv[] = { "stats" };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct err e = {0};
	int code, fd = socket(AF_UNIX, SOCK_STREAM, 0);
	const char *dir = test_dir();
	CHECK_INT(sent(dir, &code, out, err, &e, 1, argv), E_NOT_FOUND);
	snprintf(path, sizeof path, "%s/footnote.sock", dir);
	snprintf(a.sun_path, sizeof a.sun_path, "%.100s", path);
	CHECK_INT(bind(fd, (struct sockaddr *)&a, sizeof a), 0);  /* as a killed owner leaves it */
	close(fd);
	CHECK_INT(sent(dir, &code, out, err, &e, 1, argv), E_NOT_FOUND);
	CHECK_INT(owner_send("/no/such/folder", 1, argv, &(struct out){ .write = fd_write }, NULL, &code, &e), E_NOT_FOUND);
}

static void *release_later(void *owner)
{
	poll(NULL, 0, 200);
	owner_release(owner);
	return NULL;
}

TEST(owner_that_leaves_before_it_took_a_command_is_not_found)
{
	char out[4096], err[4096], *argv[] = { "stats" };
	struct err e = {0};
	struct owner *o;
	pthread_t t;
	int code;
	const char *dir = test_dir();
	CHECK_OK(owner_take(&o, dir, &e), e);      /* the socket is there, nobody accepts */
	pthread_create(&t, NULL, release_later, o);
	CHECK_INT(sent(dir, &code, out, err, &e, 1, argv), E_NOT_FOUND);
	pthread_join(t, NULL);
}

TEST(owner_refuses_more_commands_than_it_may_run)
{
	char out[4096], err[4096], *argv[] = { "docs" };
	struct err e = {0};
	int code = -1, fd[2];
	const char *dir = test_dir();
	struct owner *o = bare_start(dir, 2);
	for (int i = 0; i < 2; i++) fd[i] = raw_connect(dir);   /* each holds a place until it asks or leaves */
	for (int i = 0; i < 100 && code != 5; i++) {
		CHECK_OK(sent(dir, &code, out, err, &e, 1, argv), e);
		poll(NULL, 0, 20);
	}
	CHECK_INT(code, 5);
	CHECK_MSG(strstr(err, "data.commands_max"), "%s", err);
	for (int i = 0; i < 2; i++) close(fd[i]);
	for (int i = 0; i < 100 && code == 5; i++) {
		CHECK_OK(sent(dir, &code, out, err, &e, 1, argv), e);
		poll(NULL, 0, 20);
	}
	CHECK_INT(code, 2);
	owner_release(o);
}

TEST(owner_stands_hostile_clients)
{
	static const char *const requests[] = {
		"", "{", "[]", "{\"v\":1}", "{\"v\":2,\"argv\":[]}", "{\"v\":1,\"argv\":[]}", "{\"v\":1,\"argv\":[1,2]}",
		"{\"v\":1,\"argv\":\"stats\"}",
		"{\"v\":1,\"argv\":[\"docs\"],\"columns\":-1e300,\"cwd\":7}", "{\"v\":1,\"argv\":[\"--data\"]}",
		"{\"v\":1,\"argv\":[\"--\"]}",
	};
	char out[4096], err[4096], *argv[] = { "docs" };
	uint32_t huge = 0xffffffff;
	struct err e = {0};
	int code = -1, fd;
	const char *dir = test_dir();
	struct owner *o = bare_start(dir, 64);
	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
		fd = raw_connect(dir);
		raw_request(fd, requests[i]);
		while (recv(fd, out, sizeof out, 0) > 0) continue;  /* it answers and closes */
		close(fd);
	}
	fd = raw_connect(dir);
	CHECK_INT(send(fd, &huge, 4, MSG_NOSIGNAL), 4);
	CHECK(recv(fd, out, sizeof out, 0) > 0);
	close(fd);
	fd = raw_connect(dir);
	CHECK_INT(send(fd, "\x40\0\0\0half", 8, MSG_NOSIGNAL), 8);
	close(fd);
	CHECK_OK(sent(dir, &code, out, err, &e, 1, argv), e);
	CHECK_INT(code, 2);
	owner_release(o);
}

TEST(owner_release_does_not_wait_for_a_client_that_does_nothing)
{
	const char *dir = test_dir();
	struct owner *o = bare_start(dir, 4);
	int fd = raw_connect(dir), waits = raw_connect(dir);
	poll(NULL, 0, 50);
	owner_release(o);     /* ends, or the runner's alarm does */
	close(fd);
	close(waits);
}

TEST(owner_client_refuses_arguments_that_are_not_text)
{
	char out[4096], err[4096], *argv[] = { "delete", "\xff\xfe" };
	struct err e = {0};
	int code;
	const char *dir = test_dir();
	struct owner *o = bare_start(dir, 4);
	CHECK_INT(sent(dir, &code, out, err, &e, 2, argv), E_USAGE);
	CHECK_MSG(strstr(e.msg, "argument 2"), "%s", e.msg);
	owner_release(o);
}

/* ---- a real store ---- */

static struct service *store_open(const char *dir, unsigned need)
{
	static struct conf c;
	struct service *s;
	struct err e = {0};
	const char *model = test_model("all-minilm-l6-v2");
	conf_default(&c);
	snprintf(c.data_dir, sizeof c.data_dir, "%s", dir);
	if (need) snprintf(c.embed_model, sizeof c.embed_model, "%s", model);
	else snprintf(c.embed_model, sizeof c.embed_model, "no-such-model");
	CHECK_OK(service_open(&s, &c, need, &e), e);
	return s;
}

TEST(owner_serves_stats_of_a_store_without_an_embedder)
{
	char out[4096], err[4096], *stats[] = { "stats", "--json" }, *search[] = { "search", "x" },
		*list[] = { "docs", "list", "--json" };
	struct err e = {0};
	struct owner *o;
	cJSON *json;
	int code = -1;
	const char *dir = test_dir();
	CHECK_OK(owner_take(&o, dir, &e), e);
	struct service *s = store_open(dir, 0);
	CHECK_OK(owner_listen(o, s, &e), e);
	CHECK_OK(sent(dir, &code, out, err, &e, 2, stats), e);
	CHECK_MSG(code == 0, "%d %s", code, err);
	CHECK_OK(json_parse(&json, out, strlen(out), 1 << 20, "stats", &e), e);
	CHECK_INT(json_num(json, "documents", -1), 0);
	cJSON_Delete(json);
	CHECK_OK(sent(dir, &code, out, err, &e, 3, list), e);
	CHECK_INT(code, 0);
	CHECK_STR(out, "");
	CHECK_OK(sent(dir, &code, out, err, &e, 2, search), e);
	CHECK_MSG(code == 3 && strstr(err, "footnote models list"), "%d %s", code, err);
	owner_drain(o, NULL);
	service_close(s);
	owner_release(o);
}

static void files_write(const char *dir, int n)
{
	char path[600], text[4096];
	struct err e = {0};
	CHECK_OK(dir_make(dir, &e), e);
	for (int i = 0; i < n; i++) {
		size_t len = 0;
		for (int k = 0; k < 30; k++)
			len += (size_t)snprintf(text + len, sizeof text - len, "File %d, sentence %d: box %d stands in aisle %d. ",
				i, k, i * 31 + k, k * 7);
		snprintf(path, sizeof path, "%s/%d.txt", dir, i);
		FILE *f = fopen(path, "w");
		CHECK(f && fwrite(text, 1, len, f) == len && fclose(f) == 0);
	}
}

TEST(owner_cancels_the_command_of_a_client_that_left)
{
	enum { FILES = 1500 };
	char docs[512], request[1024], data[600], first[256];
	struct err e = {0};
	struct index_stats stats;
	struct owner *o;
	double left_ms;
	int fd;
	if (!test_model("all-minilm-l6-v2")) test_skip("all-minilm-l6-v2 was not fetched");
	snprintf(docs, sizeof docs, "%s", test_dir());
	snprintf(data, sizeof data, "%s/data", docs);
	snprintf(docs + strlen(docs), 32, "/docs");
	files_write(docs, FILES);
	CHECK_OK(owner_take(&o, data, &e), e);
	struct service *s = store_open(data, NEED_EMBEDDER);
	s->ingest_limits.commit_docs = 8;
	CHECK_OK(owner_listen(o, s, &e), e);
	fd = raw_connect(data);
	snprintf(request, sizeof request,
		"{\"v\":1,\"argv\":[\"--json\",\"ingest\",\"docs\"],\"cwd\":\"%.*s\",\"tty\":0,\"columns\":80}",
		(int)strlen(docs) - 5, docs);
	raw_request(fd, request);
	CHECK_INT(recv(fd, first, 5, MSG_WAITALL), 5);              /* taken */
	CHECK(recv(fd, first, sizeof first, 0) > 0);                /* the first files are stored */
	close(fd);
	left_ms = clock_ms();
	owner_drain(o, NULL);                                       /* waits for the command to end by itself */
	CHECK_OK(index_stats(s->index, &stats, &e), e);
	CHECK_MSG(stats.documents > 0 && stats.documents < FILES, "%d documents of %d after %.0f ms", (int)stats.documents,
		FILES, clock_ms() - left_ms);
	service_close(s);
	owner_release(o);
}
