/* test_nth_write.c: the n-th write to the store fails, for every n of a scenario that goes through its whole life: put,
 * update, delete, graph, notes, erase, compact, backup, restore. Whichever it is: the call that needed it returns an error
 * that names what is wrong, nothing crashes or hangs, the process goes on or says why not, and afterwards the store opens,
 * check is clean, and what it holds is the state before or after the call that failed, whole.
 *
 * Each n is a child process of its own, and so is the look at what it left; what was acknowledged is told in shared memory.
 * A look at every n takes minutes: `make test-torture` takes some, of all modes, FOOTNOTE_LONG=1 all of them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "index/index.h"
#include "tests/index/help.h"
#include "tests/test.h"
#include "tests/torture/failwrite.h"

enum { DOCS = 12, CHUNKS = 12, CHILD_SECONDS = 120, NOTHING_FAILED = 0, TOLD = 10 };

struct seen { int version[DOCS]; };        /* 0: not there */

static struct shared {
	struct seen was, next;                 /* acknowledged; what the step at hand makes of it */
	struct seen backed_up;
	int step, erased, erasing, backup;     /* erased: acknowledged of document 3 */
	long writes, failed;
	int status;                            /* of the first error */
	char msg[240], where[60];
} *sh;

static char root[300], data[320], copy[320], other[320];
static struct index *x;                    /* the child's */

static struct index_options options(const char *dir)
{
	struct index_options o = help_options(dir);
	o.exact_below = 40;
	o.map_bytes = 64 << 20;
	o.sync = 1;
	return o;
}

/* ---- what is there ---- */

/* The versions in a store; every document that is there must be whole. */
static int seen_read(struct index *from, struct seen *out, struct err *e)
{
	struct snapshot *s;
	struct arena a;
	int rc = snapshot_open(&s, from, e);
	memset(out, 0, sizeof *out);
	if (rc) return rc;
	arena_init(&a, 1 << 24);
	for (int i = 0; !rc && i < DOCS; i++) {
		char source[40], sentence[80];
		const char *text;
		struct doc d;
		size_t len;
		int n;
		snprintf(source, sizeof source, "/doc/%d", i);
		rc = snapshot_doc_by_source(s, &everyone, "c", source, &a, &d, e);
		if (rc == E_NOT_FOUND) {
			rc = OK;
			continue;
		}
		if (!rc) rc = snapshot_text(s, &d, &text, &len, e);
		if (rc) break;
		CHECK(sscanf(d.title, "doc %d version %d", &n, &out->version[i]) == 2 && n == i);
		snprintf(sentence, sizeof sentence, "Sentence %d of %s.", CHUNKS - 1, d.title);
		CHECK_MSG(d.chunks == CHUNKS && memmem(text, len, sentence, strlen(sentence)), "%s is not whole", d.title);
	}
	arena_clear(&a);
	snapshot_close(s);
	return rc;
}

static int same(const struct seen *a, const struct seen *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* ---- the steps ---- */

static int opened(struct err *e)
{
	struct index_options o = options(data);
	return x ? OK : index_open(&x, &o, e);
}

static uint64_t seed(int doc, int version)
{
	return (uint64_t)(doc * 1000 + version * 100);
}

/* index_put as help_put does it, but a failure is an answer. */
static int doc_put(struct write *w, int doc, int version, struct err *e)
{
	struct chunk_in chunks[CHUNKS];
	struct span spans[CHUNKS];
	float vectors[CHUNKS * DIM];
	struct buf text;
	char title[60], source[40], id[64];
	struct doc_in d = { .id = id, .collection = "c", .title = title, .source = source, .verdict = DOC_ADDED, .chunks = chunks,
		.chunk_n = CHUNKS, .vectors = vectors, .meta = "{}" };
	int verdict, rc;
	snprintf(title, sizeof title, "doc %d version %d", doc, version);
	snprintf(source, sizeof source, "/doc/%d", doc);
	snprintf(id, sizeof id, "k%d", doc);
	buf_init(&text, 1 << 20);
	for (int i = 0; i < CHUNKS; i++) {
		spans[i].off = (uint32_t)text.len;
		CHECK(buf_printf(&text, "Sentence %d of %s. ", i, title) == OK);
		spans[i].len = (uint32_t)text.len - 1 - spans[i].off;
		chunks[i] = (struct chunk_in){ spans[i], "", 0, &spans[i], 1 };
		help_unit(seed(doc, version) + (uint64_t)i, vectors + i * DIM, DIM);
	}
	memcpy(d.hash, title, 20);
	d.text = text.data, d.text_len = text.len;
	rc = index_put(w, &d, id, &verdict, e);
	buf_clear(&text);
	return rc;
}

/* Documents first … last at a version, in one write; version 0: taken away. */
static int docs_write(int first, int last, int version, struct err *e)
{
	struct write *w;
	int rc = index_write_begin(&w, x, e);
	if (rc) return rc;
	for (int i = first; !rc && i <= last; i++) {
		char id[64];
		snprintf(id, sizeof id, "k%d", i);
		rc = version ? doc_put(w, i, version, e) : index_delete(w, id, e);
		if (!rc) sh->next.version[i] = version;
	}
	if (!rc) return index_write_commit(w, e);
	index_write_abort(w);
	return rc;
}

static int note_write(struct err *e)
{
	struct write *w;
	int rc = index_write_begin(&w, x, e);
	if (rc) return rc;
	rc = index_note_put(w, "case", "one", "{\"a\":1}", 7, e);
	if (!rc) return index_write_commit(w, e);
	index_write_abort(w);
	return rc;
}

static int document_erase(struct err *e)
{
	struct index_erasure r;
	int rc;
	sh->next.version[3] = 0;
	sh->erasing = 1;
	rc = index_erase(x, "k3", &r, e);
	sh->erased = rc == OK;
	return rc;
}

static int copy_make(struct err *e)
{
	uint64_t bytes;
	int rc = index_backup(x, copy, &bytes, e);
	if (file_exists(copy)) sh->backed_up = sh->was, sh->backup = 1;
	CHECK(rc || sh->backup);
	return rc;
}

static int copy_take(struct err *e)
{
	struct index_options o = options(data);
	struct index_stats st;
	if (!sh->backup) return OK;
	sh->next = sh->backed_up;
	index_close(x);
	x = NULL;
	return index_restore(&o, copy, 1, &st, e);
}

/* One step; E_CANCELLED: there are no more. */
static int step_run(int step, struct err *e)
{
	uint64_t before, after;
	int rc = opened(e);
	if (rc) return rc;
	switch (step) {
	case 0: case 1: case 2: case 3: case 4: case 5: return docs_write(step, step, 1, e);
	case 6: return docs_write(6, 8, 1, e);
	case 7: return docs_write(2, 2, 2, e);
	case 8: return docs_write(1, 1, 0, e);
	case 9: return index_rebuild_wait(x, e);
	case 10: return note_write(e);
	case 11: return document_erase(e);
	case 12: return index_compact(x, &before, &after, e);
	case 13: return copy_make(e);
	case 14: return docs_write(9, 9, 1, e);
	case 15: return docs_write(4, 5, 2, e);
	case 16: return index_rebuild_wait(x, e);
	case 17: return copy_take(e);
	case 18: return docs_write(10, 10, 1, e);
	case 19: index_close(x), x = NULL; return opened(e);
	case 20: return index_rebuild_wait(x, e);
	default: return E_CANCELLED;
	}
}

/* Which steps follow from which: those of a document that an earlier step could not put are not found. */
static int may_fail(int rc, int failed)
{
	return failed && rc == E_NOT_FOUND;
}

static void told(int step, int rc, const struct err *e, enum fail_mode mode)
{
	if (!sh->status) {
		sh->status = rc;
		snprintf(sh->msg, sizeof sh->msg, "%s", e->msg);
		snprintf(sh->where, sizeof sh->where, "step %d", step);
	}
	CHECK_MSG(rc == E_IO || rc == E_FULL, "step %d: status %s: %s", step, status_name((enum status)rc), e->msg);
	CHECK_MSG(*e->msg && e->status == rc, "step %d: no message", step);
	if (rc == E_FULL) CHECK_MSG(strstr(e->msg, "full") || strstr(e->msg, "No space left"), "%s", e->msg);
	if (mode == FAIL_EIO || mode == FAIL_DEAD) CHECK_MSG(rc == E_IO, "%s", e->msg);
}

/* The whole scenario under a plan; ends the process. */
static void scenario(long n, enum fail_mode mode)
{
	struct err e;
	int failed = 0;
	alarm(CHILD_SECONDS);
	failwrite_set(n, mode, root);
	for (int step = 0; ; step++) {
		struct seen now;
		int rc;
		sh->step = step;
		sh->next = sh->was;
		e = (struct err){ OK, "" };
		rc = step_run(step, &e);
		if (rc == E_CANCELLED) break;
		if (!rc) {
			sh->was = sh->next;
			continue;
		}
		if (may_fail(rc, failed)) continue;
		failed = 1;
		told(step, rc, &e, mode);
		if (!x && opened(&e)) break;                    /* what can't be opened now is looked at from outside */
		if (seen_read(x, &now, &e)) break;              /* the same for what can't be read */
		CHECK_MSG(same(&now, &sh->was) || same(&now, &sh->next), "step %d: half of it is there", step);
		sh->was = sh->next = now;
	}
	sh->writes = failwrite_count();
	sh->failed = failwrite_failed();
	failwrite_set(0, mode, NULL);
	index_close(x);
	_exit(sh->status ? TOLD : NOTHING_FAILED);
}

/* ---- what is left ---- */

static void erased_check(void)
{
	struct buf b, path;
	struct err e;
	if (!sh->erased) return;
	buf_init(&b, 1 << 28);
	buf_init(&path, 1 << 12);
	CHECK(path_join(&path, data, "data.mdb") == OK);
	CHECK_OK(file_read(path.data, &b, &e), e);
	CHECK_MSG(!memmem(b.data, b.len, "doc 3 version", 13), "erased, and in the file");
	buf_clear(&path);
	buf_clear(&b);
}

static void copy_check(void)
{
	struct index_options o = options(other);
	struct index_stats st;
	struct index *y;
	struct seen now;
	struct err e;
	if (!file_exists(copy)) {
		CHECK(!sh->backup);
		return;
	}
	CHECK_OK(index_restore(&o, copy, 1, &st, &e), e);
	CHECK_OK(index_open(&y, &o, &e), e);
	CHECK_OK(seen_read(y, &now, &e), e);
	CHECK_MSG(same(&now, &sh->backed_up), "the backup holds something else");
	index_close(y);
}

/* Without a plan: it opens, fits itself, holds what it must and goes on. Ends the process. */
static void look(void)
{
	struct index_options o = options(data);
	struct vec_hit hit[3];
	struct snapshot *s;
	struct seen now;
	struct err e;
	float q[DIM];
	size_t got;
	alarm(CHILD_SECONDS);
	if (sh->erased && sh->step < 17) erased_check();
	CHECK_OK(index_open(&x, &o, &e), e);
	help_check_clean(x);
	CHECK_OK(seen_read(x, &now, &e), e);
	CHECK_MSG(same(&now, &sh->was) || same(&now, &sh->next), "neither what was acknowledged nor what was under way");
	memset(sh->next.version, 0, sizeof sh->next.version);
	CHECK_OK(docs_write(11, 11, 7, &e), e);
	CHECK_OK(index_rebuild_wait(x, &e), e);
	help_check_clean(x);
	help_unit(seed(11, 7) + 3, q, DIM);
	CHECK_OK(snapshot_open(&s, x, &e), e);
	CHECK_OK(snapshot_search(s, &everyone, q, 3, hit, &got, &e), e);
	CHECK(got >= 1 && hit[0].score > 0.99f);
	snapshot_close(s);
	index_close(x);
	copy_check();
	_exit(0);
}

/* ---- the sweep ---- */

static int in_child(long n, enum fail_mode mode, int looking)
{
	int status;
	pid_t pid;
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		freopen("/dev/null", "w", stdout);
		if (looking) look();
		else scenario(n, mode);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_MSG(WIFEXITED(status), "write %ld, %s, %s step %d: ended by signal %d", n, fail_mode_name(mode),
		looking ? "looked at after" : "in", sh->step, WTERMSIG(status));
	CHECK_MSG(WEXITSTATUS(status) == 0 || (!looking && WEXITSTATUS(status) == TOLD), "write %ld, %s, %s step %d: failed",
		n, fail_mode_name(mode), looking ? "looked at after" : "in", sh->step);
	return WEXITSTATUS(status);
}

/* Runs the scenario with a plan and looks at what it left. Returns how many writes it had. */
static long try(long n, enum fail_mode mode)
{
	long writes;
	memset(sh, 0, sizeof *sh);
	snprintf(root, sizeof root, "%s", test_dir());
	snprintf(data, sizeof data, "%s/data", root);
	snprintf(copy, sizeof copy, "%s/copy", root);
	snprintf(other, sizeof other, "%s/other", root);
	CHECK(in_child(n, mode, 0) == TOLD || n == 0 || sh->failed <= 1 || sh->writes == 0);
	writes = sh->writes;
	if (getenv("FOOTNOTE_TALK")) fprintf(stderr, "%4ld %-5s %-8s %s\n", n, fail_mode_name(mode), sh->where, sh->msg);
	in_child(n, mode, 1);
	return writes;
}

static void sweep(enum fail_mode mode, long step)
{
	long all, told_n = 0;
	sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(sh != MAP_FAILED);
	all = try(0, mode);
	CHECK_MSG(!sh->status && all > 60, "%s: %ld writes: %s", sh->where, all, sh->msg);
	if (getenv("FOOTNOTE_LONG")) step = 1;
	for (long n = 1 + (long)mode % step; n <= all; n += step) {
		try(n, mode);
		told_n += sh->status != 0;
	}
	CHECK_MSG(told_n >= 3, "only %ld of the failures were told", told_n);
}

TEST(nth_write_is_an_io_error) { sweep(FAIL_EIO, 23); }
TEST(nth_write_finds_the_disk_full) { sweep(FAIL_NOSPC, 29); }
TEST(nth_write_is_short) { sweep(FAIL_SHORT, 29); }
TEST(nth_write_is_torn) { sweep(FAIL_TORN, 29); }
TEST(nth_write_and_all_later_find_the_disk_full) { sweep(FAIL_FULL, 29); }
TEST(nth_write_and_all_later_are_io_errors) { sweep(FAIL_DEAD, 29); }
