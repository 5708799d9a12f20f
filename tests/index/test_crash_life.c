/* test_crash_life.c: SIGKILL at every named place of notes, compaction, erasure, backup and restore. After each the
 * store opens, is clean and holds what was acknowledged; what was erased is in no byte of the file; a backup that has
 * its name is whole. Each step runs in a process of its own, because a fault plan is read once a process. */
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { DOCS = 24, VICTIM = 7 };
enum step { STEP_NOTE = 1, STEP_COMPACT, STEP_ERASE, STEP_BACKUP, STEP_RESTORE };

static char data[340], file[360];
static int told;                     /* pipe: a byte a step that was acknowledged */

static struct index_options options(void)
{
	struct index_options o = help_options(data);
	o.exact_below = 40;
	return o;
}

static struct index *open_store(void)
{
	struct index_options o = options();
	struct index *x;
	struct err e;
	CHECK_OK(index_open(&x, &o, &e), e);
	return x;
}

static void fill(void)
{
	struct index *x = open_store();
	struct err e;
	char name[40];
	for (int i = 0; i < DOCS; i++) {
		snprintf(name, sizeof name, i == VICTIM ? "vermilion heron %d" : "ordinary %d", i);
		help_add(x, "c", name, name, (uint64_t)i * 100, 8, NULL, NULL);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);
	index_close(x);
}

static void tell(enum step s)
{
	char c = (char)s;
	if (write(told, &c, 1) != 1) _exit(3);
}

/* A note; a compaction; an erasure; a backup; the backup restored: each acknowledged. */
static void work(void)
{
	struct index_options o = options();
	struct index *x = open_store();
	struct index_erasure r;
	struct index_stats stats;
	struct write *w;
	uint64_t n, m;
	struct err e;
	CHECK_OK(index_write_begin(&w, x, &e), e);
	CHECK_OK(index_note_put(w, "job", "one", "{\"n\":1}", 7, &e), e);
	CHECK_OK(index_write_commit(w, &e), e);
	tell(STEP_NOTE);
	CHECK_OK(index_compact(x, &n, &m, &e), e);
	tell(STEP_COMPACT);
	CHECK_OK(index_erase(x, "d8", &r, &e), e);
	CHECK(r.verified);
	tell(STEP_ERASE);
	CHECK_OK(index_backup(x, file, &n, &e), e);
	tell(STEP_BACKUP);
	index_close(x);
	CHECK_OK(index_restore(&o, file, 1, &stats, &e), e);
	tell(STEP_RESTORE);
}

/* Runs fn in a child; *done: the last step it told of. 1: it was killed. */
static int child(void (*fn)(void), const char *fault, int *done)
{
	int fd[2], status;
	char c;
	pid_t pid;
	CHECK(pipe(fd) == 0);
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		close(fd[0]);
		told = fd[1];
		setenv("FOOTNOTE_FAULT", fault, 1);
		fn();
		_exit(0);
	}
	close(fd[1]);
	*done = 0;
	while (read(fd[0], &c, 1) == 1) *done = c;
	close(fd[0]);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_MSG(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0, "%s: status %d", fault, status);
	return WIFSIGNALED(status);
}

static int verify_done;

static int raw_count(const char *path, const char *what)
{
	struct buf b;
	struct err e;
	int count = 0;
	buf_init(&b, (size_t)1 << 30);
	CHECK_OK(file_read(path, &b, &e), e);
	for (const char *p = b.data; p && (p = memmem(p, b.len - (size_t)(p - b.data), what, strlen(what))); p++) count++;
	buf_clear(&b);
	return count;
}

static void verify(void)
{
	struct index *x = open_store();
	struct snapshot *s;
	struct arena a;
	struct note n;
	struct doc d;
	struct err e;
	int victim;
	help_check_clean(x);
	arena_init(&a, 1 << 24);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	for (int i = 0; i < DOCS; i++) {
		char id[64];
		snprintf(id, sizeof id, "d%d", i + 1);
		if (i != VICTIM) CHECK_OK(snapshot_doc(s, &everyone, id, &a, &d, &e), e);
	}
	victim = snapshot_doc(s, &everyone, "d8", &a, &d, &e) == OK;
	CHECK(!victim || verify_done < STEP_ERASE);
	CHECK(verify_done < STEP_NOTE || snapshot_note(s, "job", "one", &a, &n, &e) == OK);
	snapshot_close(s);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_check_clean(x);
	help_add(x, "c", "goes on", "/on", 5000, 3, NULL, NULL);
	index_close(x);
	arena_clear(&a);
	if (!victim) {
		char path[400];
		snprintf(path, sizeof path, "%s/data.mdb", data);
		CHECK_INT(raw_count(path, "vermilion"), 0);
	}
}

/* A file under the backup's name restores into a folder of its own. */
static void backup_verify(void)
{
	char other[400];
	struct index_options o = options();
	struct index_stats stats;
	struct err e;
	if (!file_exists(file)) {
		CHECK(verify_done < STEP_BACKUP);
		return;
	}
	snprintf(other, sizeof other, "%s-other", data);
	o.dir = other;
	CHECK_OK(index_restore(&o, file, 1, &stats, &e), e);
	CHECK_INT(stats.documents, DOCS - 1);
	CHECK_INT(raw_count(file, "vermilion"), 0);
}

TEST(crash_in_the_stores_life)
{
	static const char *const faults[] = {
		"words.flushed:1", "note.before_commit:1", "note.after_commit:1",
		"store.before_copy:1", "store.copied:1", "store.before_rename:1", "store.after_rename:1", "store.before_sync:1",
		"store.rewritten:1",
		"delete.before_commit:1", "erase.before_commit:1", "erase.after_commit:1", "delete.after_commit:1",
		"store.before_copy:2", "store.copied:2", "store.before_rename:2", "store.after_rename:2", "store.rewritten:2",
		"erase.before_verify:1", "erase.before_receipt:1", "erase.done:1",
		"backup.copied:1", "backup.sealed:1", "backup.renamed:1",
		"restore.copied:1", "restore.checked:1", "store.before_rename:3", "store.after_rename:3", "restore.renamed:1",
	};
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		char fresh[400];
		int done, nothing;
		snprintf(data, sizeof data, "%s/data", test_dir());
		snprintf(file, sizeof file, "%s/../store.backup", data);
		CHECK(!child(fill, "", &nothing));
		CHECK_MSG(child(work, faults[i], &done), "%s: the child was not killed", faults[i]);
		verify_done = done;
		CHECK(!child(verify, "", &nothing));
		CHECK(!child(backup_verify, "", &nothing));
		CHECK(!child(verify, "", &nothing));
		snprintf(fresh, sizeof fresh, "%s/data.new", data);
		CHECK_MSG(!file_exists(fresh), "%s: data.new stays", faults[i]);
	}
}
