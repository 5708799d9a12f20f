/* test_damage.c: data files with changed bits and with missing parts: open, check, search and repair may say that the store
 * is damaged, never crash or hang. Each damage is looked at in a child process of its own.
 * `make test-torture` tries 150 flips, FOOTNOTE_LONG=1 ten times as many. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { CHILD_SECONDS = 60 };

static char dir[300], path[320];

static void store_make(void)
{
	struct index_options o = help_options(dir);
	struct index *x;
	struct err e;
	o.exact_below = 50;
	CHECK_OK(index_open(&x, &o, &e), e);
	for (int i = 0; i < 14; i++) {
		char name[20], id[64];
		snprintf(name, sizeof name, "doc %d", i);
		help_add(x, i % 4 ? "c" : "b", name, name, (uint64_t)i * 100, 30, i % 2 ? "staff" : NULL, id);
		if (i == 7) help_delete(x, id);
	}
	CHECK_OK(index_rebuild_wait(x, &e), e);
	index_close(x);
}

/* Whatever a service would do with it. */
static void use(struct index *x)
{
	const struct reader all = { .all_groups = 1 };
	const struct reader staff = { .collection = "c", .groups = &(const char *){ "staff" }, .group_n = 1 };
	struct vec_hit hit[5];
	struct word_hit word[5];
	struct suggestion sug[5];
	struct snapshot *s;
	struct arena a;
	struct err e;
	struct doc d[20];
	float q[DIM];
	size_t got;
	if (snapshot_open(&s, x, &e)) return;
	arena_init(&a, 1 << 26);
	help_unit(3, q, DIM);
	snapshot_search(s, &everyone, q, 5, hit, &got, &e);
	snapshot_search(s, &staff, q, 5, hit, &got, &e);
	snapshot_search_words(s, &everyone, "sentence of doc", 15, 5, word, &got, &e);
	snapshot_search_words(s, &staff, "sentnce", 7, 5, word, &got, &e);
	snapshot_suggest(s, &everyone, "sen", 3, 5, &a, sug, &got, &e);
	if (!snapshot_docs(s, &all, 0, 0, 20, &a, d, &got, &e))
		for (size_t i = 0; i < got; i++) {
			struct chunk *c;
			const char *text;
			size_t n;
			if (!snapshot_text(s, &d[i], &text, &n, &e)) snapshot_chunks(s, &d[i], &a, &c, &n, &e);
		}
	arena_clear(&a);
	snapshot_close(s);
}

static void child(void)
{
	struct index_options o = help_options(dir);
	struct index *x;
	struct err e;
	uint64_t n, before, after;
	alarm(CHILD_SECONDS);
	o.exact_below = 50;
	if (index_open(&x, &o, &e)) _exit(*e.msg ? 0 : 1);
	use(x);
	if (index_check(x, NULL, NULL, &n, &e) && !*e.msg) _exit(2);
	index_rebuild_wait(x, &e);
	use(x);
	index_compact(x, &before, &after, &e);
	index_close(x);
	_exit(0);
}

static void in_child(const char *what)
{
	int status;
	pid_t pid;
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		if (!getenv("FOOTNOTE_TALK")) freopen("/dev/null", "w", stderr);
		child();
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (getenv("FOOTNOTE_TALK")) {
		if (!WIFEXITED(status)) fprintf(stderr, "CRASH %s: signal %d\n", what, WTERMSIG(status));
		return;
	}
	CHECK_MSG(WIFEXITED(status), "%s: signal %d", what, WTERMSIG(status));
	CHECK_MSG(WEXITSTATUS(status) == 0, "%s: exit %d", what, WEXITSTATUS(status));
}

static void file_put(const char *data, size_t n)
{
	FILE *f = fopen(path, "wb");
	CHECK(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

TEST(damage_of_any_bit_is_survived)
{
	unsigned long long random = 88172645463325252ull;
	int flips = getenv("FOOTNOTE_LONG") ? 1500 : 150;
	struct buf b;
	struct err e;
	snprintf(dir, sizeof dir, "%s", test_dir());
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	store_make();
	buf_init(&b, 1 << 28);
	CHECK_OK(file_read(path, &b, &e), e);
	for (int i = 0; i < flips; i++) {
		char what[80];
		size_t at;
		int bit;
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		at = (size_t)(random >> 8) % b.len, bit = random & 7;
		if (i % 2) at = at / 4096 * 4096 + at % 64;         /* half of them where LMDB keeps its own */
		b.data[at] ^= (char)(1 << bit);
		file_put(b.data, b.len);
		snprintf(what, sizeof what, "byte %zu of %zu (page %zu, %zu), bit %d", at, b.len, at / 4096, at % 4096, bit);
		in_child(what);
		b.data[at] ^= (char)(1 << bit);
	}
	buf_clear(&b);
}
