/* test_crash.c: the store after SIGKILL at every named place and at no named place, and after the n-th write or
 * allocation fails. The work is done in child processes, because a fault plan is read once a process; what a child has
 * acknowledged comes through a pipe. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/fault.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { DOCS_MAX = 400 };
enum { NEVER, THERE, MAYBE, GONE }; /* MAYBE: on its way when the child was killed */

static struct index *open_for_crash(const char *dir)
{
	struct index_options o = help_options(dir);
	struct index *x;
	struct err e;
	o.exact_below = 40;
	CHECK_OK(index_open(&x, &o, &e), e);
	return x;
}

static void tell(int fd, char what, int doc)
{
	unsigned char line[3] = { (unsigned char)what, (unsigned char)(doc >> 8), (unsigned char)doc };
	if (write(fd, line, 3) != 3) _exit(3);
}

/* Adds documents (ids "k<i>") and deletes each fifth, telling before ('?') and after ('+', '-') each commit. */
static void work(const char *dir, int first, int n, int fd)
{
	struct index *x = open_for_crash(dir);
	struct err e;
	for (int i = first; i < first + n; i++) {
		struct doc_in d = { .collection = "c", .verdict = DOC_ADDED, .text = "Words. ", .text_len = 7 };
		struct span sentence = { 0, 6 };
		struct chunk_in chunks[8];
		float v[8 * DIM];
		char id[64], source[40];
		struct write *w;
		int verdict;
		for (int j = 0; j < 8; j++) {
			chunks[j] = (struct chunk_in){ { 0, 7 }, "", 0, &sentence, 1 };
			help_unit((uint64_t)(i * 8 + j), v + j * DIM, DIM);
		}
		snprintf(id, sizeof id, "k%d", i);
		snprintf(source, sizeof source, "/k/%d", i);
		d.id = id, d.source = source, d.chunks = chunks, d.chunk_n = 8, d.vectors = v;
		tell(fd, '?', i);
		CHECK_OK(index_write_begin(&w, x, &e), e);
		CHECK_OK(index_put(w, &d, id, &verdict, &e), e);
		CHECK_OK(index_write_commit(w, &e), e);
		tell(fd, '+', i);
		if (i % 5 == 4) {
			snprintf(id, sizeof id, "k%d", i - 2);
			tell(fd, '?', i - 2);
			help_delete(x, id);
			tell(fd, '-', i - 2);
		}
		if (i % 10 == 9) index_rebuild_wait(x, &e);
	}
	index_close(x);
	_exit(0);
}

/* Runs work in a child with a fault plan (NULL: none), kills it after delay_us (0: never), and notes in state what it
 * told. Returns 1 when the child was killed. */
static int run_child(const char *dir, const char *fault, unsigned delay_us, int first, int n, int *state)
{
	unsigned char line[3];
	int fd[2], status;
	pid_t pid;
	CHECK(pipe(fd) == 0);
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		close(fd[0]);
		setenv("FOOTNOTE_FAULT", fault ? fault : "", 1);
		work(dir, first, n, fd[1]);
	}
	close(fd[1]);
	if (delay_us) {
		usleep(delay_us);
		kill(pid, SIGKILL);
	}
	for (;;) {
		ssize_t got = read(fd[0], line, 3);
		int doc = line[1] << 8 | line[2];
		if (got != 3) break;
		state[doc] = line[0] == '+' ? THERE : line[0] == '-' ? GONE : MAYBE;
	}
	close(fd[0]);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_MSG(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "child ended with %d", status);
	CHECK(!WIFSIGNALED(status) || WTERMSIG(status) == SIGKILL);
	return WIFSIGNALED(status);
}

/* In a child of its own: the store is clean, holds what was acknowledged, and goes on working. */
static void verify(const char *dir, const char *what, const int *state)
{
	int status;
	pid_t pid;
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		struct snapshot *s;
		struct index *x;
		struct arena a;
		struct err e;
		unsetenv("FOOTNOTE_FAULT");
		x = open_for_crash(dir);
		help_check_clean(x);
		arena_init(&a, 1 << 24);
		CHECK_OK(snapshot_open(&s, x, &e), e);
		for (int i = 0; i < DOCS_MAX; i++) {
			struct doc d;
			char id[64];
			int rc;
			snprintf(id, sizeof id, "k%d", i);
			rc = snapshot_doc(s, &everyone, id, &a, &d, &e);
			CHECK_MSG(state[i] != THERE || rc == OK, "%s: document %s was acknowledged and is lost", what, id);
			CHECK_MSG((state[i] != GONE && state[i] != NEVER) || rc == E_NOT_FOUND, "%s: document %s is there", what, id);
		}
		snapshot_close(s);
		arena_clear(&a);
		CHECK_OK(index_rebuild_wait(x, &e), e);
		help_check_clean(x);
		index_close(x);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "after %s: status %d", what, status);
}

TEST(crash_at_every_named_place)
{
	static const char *const faults[] = {
		"put.before_commit:1", "put.before_commit:13", "put.after_commit:1", "put.after_commit:13",
		"delete.before_commit:1", "delete.before_commit:3", "graph.before_write:1", "graph.before_write:2",
		"graph.piece:1", "graph.piece:2", "graph.after_write:1", "graph.after_write:2",
	};
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		int state[DOCS_MAX] = { NEVER };
		char dir[300];
		snprintf(dir, sizeof dir, "%s", test_dir());
		CHECK_MSG(run_child(dir, faults[i], 0, 0, 40, state), "%s: the child was not killed", faults[i]);
		verify(dir, faults[i], state);
		CHECK(!run_child(dir, NULL, 0, 100, 3, state));     /* and it goes on */
		verify(dir, faults[i], state);
	}
}

TEST(crash_anywhere_twenty_times)
{
	int state[DOCS_MAX] = { NEVER };
	char dir[300];
	snprintf(dir, sizeof dir, "%s", test_dir());
	for (int i = 0; i < 20; i++) {
		run_child(dir, NULL, 3000 + (unsigned)(i * 7919 % 40) * 1000, i * 20, 20, state);
		verify(dir, "a kill at any time", state);
	}
}

/* One failing operation: the write fails with its name, nothing of it is there, and the next write works. */
static void fail_child(const char *dir, const char *fault)
{
	struct index_options o = help_options(dir);
	struct index *x;
	struct write *w;
	struct index_stats before, after;
	struct err e = { OK, "" };
	int rc;
	setenv("FOOTNOTE_FAULT", fault, 1);
	CHECK_OK(index_open(&x, &o, &e), e);
	CHECK_OK(index_stats(x, &before, &e), e);
	CHECK_OK(index_write_begin(&w, x, &e), e);
	rc = index_delete(w, "d2", &e);
	if (!rc) {
		struct doc_in d = { .collection = "c", .source = "/1", .verdict = DOC_ADDED, .text = "New.", .text_len = 4 };
		char id[64];
		int verdict;
		rc = index_put(w, &d, id, &verdict, &e);
	}
	if (rc) index_write_abort(w);
	else rc = index_write_commit(w, &e);
	CHECK_OK(index_stats(x, &after, &e), e);
	help_check_clean(x);
	if (rc) {
		CHECK_INT(rc, E_IO);
		CHECK(after.seq == before.seq && after.documents == before.documents && after.chunks == before.chunks);
		help_add(x, "c", "later", "/later", 7, 2, NULL, NULL);
		help_check_clean(x);
	}
	index_close(x);
	_exit(rc ? 10 : 0);
}

TEST(crash_nth_write_fails)
{
	static const char *const points[] = { "store.put", "store.del", "store.commit" };
	for (int p = 0; p < 3; p++) {
		int failed = 0, status = 1;
		for (int n = 1; n <= 40 && status; n++) {
			char fault[60], dir[300];
			struct index *x;
			pid_t pid;
			snprintf(dir, sizeof dir, "%s", test_dir());
			snprintf(fault, sizeof fault, "%s:%d:fail", points[p], n);
			fflush(NULL);
			pid = fork();
			CHECK(pid >= 0);
			if (pid == 0) {
				pid_t inner = fork(); /* fills the store without a plan */
				if (inner == 0) {
					unsetenv("FOOTNOTE_FAULT");
					x = help_open(dir);
					help_add(x, "c", "one", "/1", 1, 3, NULL, NULL);
					help_add(x, "c", "two", "/2", 5, 3, NULL, NULL);
					index_close(x);
					_exit(0);
				}
				waitpid(inner, &status, 0);
				fail_child(dir, fault);
			}
			CHECK(waitpid(pid, &status, 0) == pid);
			CHECK_MSG(WIFEXITED(status), "%s: killed", fault);
			status = WEXITSTATUS(status);
			CHECK_MSG(status == 0 || status == 10, "%s: status %d", fault, status);
			failed += status == 10;
		}
		CHECK_INT(status, 0);                                   /* a plan past the last operation changes nothing */
		CHECK(failed >= 1);
	}
}

/* Every allocation of the room fails once: an error or success, never damage. The background thread allocates too, so
 * which request fails is not the same each time; what is checked holds whichever it is. */
TEST(crash_nth_allocation_fails)
{
	struct index *x;
	struct err e;
	char dir[300];
	snprintf(dir, sizeof dir, "%s", test_dir());
	x = help_open(dir);
	for (int i = 0; i < 9; i++) {
		char name[20];
		snprintf(name, sizeof name, "doc %d", i);
		help_add(x, "c", name, name, (uint64_t)i * 30, 30, NULL, NULL);
	}
	index_close(x);
	for (long n = 1; n < 60; n++) {
		struct index_options o = help_options(dir);
		struct snapshot *s;
		struct write *w;
		struct arena a;
		struct doc d;
		struct vec_hit hit[5];
		float q[DIM];
		size_t got;
		int rc;
		arena_init(&a, 1 << 20);
		help_unit(3, q, DIM);
		fault_alloc_after(n);
		rc = index_open(&x, &o, &e);
		CHECK(rc == OK || rc == E_MEMORY);
		if (rc) continue;
		rc = snapshot_open(&s, x, &e);
		CHECK(rc == OK || rc == E_MEMORY);
		if (!rc) {
			rc = snapshot_search(s, &everyone, q, 5, hit, &got, &e);
			CHECK(rc == OK || rc == E_MEMORY);
			rc = snapshot_doc(s, &everyone, "d3", &a, &d, &e);
			CHECK(rc == OK || rc == E_MEMORY);
			snapshot_close(s);
		}
		rc = index_write_begin(&w, x, &e);
		CHECK(rc == OK || rc == E_MEMORY);
		if (!rc) {
			struct doc_in in = { .collection = "c", .source = "doc 3", .verdict = DOC_ADDED, .text = "New.", .text_len = 4 };
			char id[64];
			int verdict;
			rc = index_put(w, &in, id, &verdict, &e);
			CHECK(rc == OK || rc == E_MEMORY);
			if (rc) index_write_abort(w);
			else rc = index_write_commit(w, &e);
			CHECK(rc == OK || rc == E_MEMORY);
		}
		rc = index_rebuild_wait(x, &e);
		CHECK(rc == OK || rc == E_MEMORY);
		fault_alloc_after(0);
		help_check_clean(x);
		index_close(x);
		arena_clear(&a);
	}
}
