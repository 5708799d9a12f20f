/* test_watch.c: what is told of changes under folders and files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/flag.h"
#include "ingest/watch.h"
#include "tests/test.h"

static char dir[200];
static struct watch *w;
static struct err e;
static const char *const *only;
static size_t n;

static const char *at(const char *name)
{
	static char path[4][400];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof path[0], "%s/%s", dir, name);
	return path[turn];
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");

	CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void begin(const char *const *paths, size_t path_n, int rescan_s)
{
	static char except[300];
	struct watch_options o = { .cwd = dir, .paths = paths, .path_n = path_n, .depth_max = 8, .settle_ms = 60, .rescan_s = rescan_s,
		.except = except };

	snprintf(except, sizeof except, "%s/in/data", dir);

	CHECK_OK(watch_open(&w, &o, NULL, &e), e);
}

static void folder(void)
{
	static const char *const in[] = { "in" };

	snprintf(dir, sizeof dir, "%s", test_dir());
	CHECK_OK(dir_make(at("in/sub"), &e), e);
	CHECK_OK(dir_make(at("in/data"), &e), e);
	put("in/a.txt", "a");
	begin(in, 1, 1000);
}

static int told(const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(only[i], at(name)) == 0)
			return 1;
	return 0;
}

/* Waits until `name` is told, over several rounds if the machine is slow. */
static void expect(const char *name)
{
	do
		CHECK_OK(watch_wait(w, NULL, &only, &n, &e), e);
	while (only && !told(name));
	CHECK(only);
	for (size_t i = 1; i < n; i++)
		CHECK(strcmp(only[i - 1], only[i]) < 0);
}

TEST(watch_files)
{
	folder();
	CHECK_INT(watch_folders(w), 2);
	CHECK_STR(watch_gap(w), "");
	put("in/a.txt", "changed");
	expect("in/a.txt");
	put("in/.a.txt.swp", "an editor's own");        /* hidden, then renamed over the file */
	CHECK(rename(at("in/.a.txt.swp"), at("in/a.txt")) == 0);
	expect("in/a.txt");
	CHECK(!told("in/.a.txt.swp"));
	CHECK(unlink(at("in/a.txt")) == 0);
	expect("in/a.txt");
	put("in/sub/b.txt", "b");
	expect("in/sub/b.txt");
	put("in/data/store", "ours");                   /* never told */
	put("in/c.txt", "c");
	expect("in/c.txt");
	CHECK(!told("in/data/store") && !told("in/data"));
	watch_close(w);
}

TEST(watch_new_and_moved_folders)
{
	folder();
	CHECK_OK(dir_make(at("in/new/deep"), &e), e);
	put("in/new/deep/x.txt", "x");                  /* before the folder has a watch */
	expect("in/new");
	CHECK_INT(watch_folders(w), 4);
	put("in/new/deep/y.txt", "y");
	expect("in/new/deep/y.txt");
	CHECK(rename(at("in/new"), at("in/sub/newer")) == 0);
	expect("in/sub/newer");
	put("in/sub/newer/deep/z.txt", "z");
	expect("in/sub/newer/deep/z.txt");              /* by its new name */
	CHECK(!told("in/new/deep/z.txt"));
	watch_close(w);
}

TEST(watch_given_file_and_missing_folder)
{
	static const char *const paths[] = { "one.txt", "later" };

	snprintf(dir, sizeof dir, "%s", test_dir());
	put("one.txt", "1");
	begin(paths, 2, 1000);
	put("two.txt", "2");
	put("one.txt.new", "1b");
	CHECK(rename(at("one.txt.new"), at("one.txt")) == 0);
	expect("one.txt");
	CHECK(!told("two.txt"));
	CHECK_OK(dir_make(at("later"), &e), e);
	expect("later");
	put("later/x.txt", "x");
	expect("later/x.txt");
	watch_close(w);
}

/* A path whose folder is not there either is looked for by time. */
TEST(watch_gap_rescans)
{
	static const char *const paths[] = { "no/where" };

	snprintf(dir, sizeof dir, "%s", test_dir());
	begin(paths, 1, 1);
	CHECK(strstr(watch_gap(w), "no/where"));
	CHECK_OK(watch_wait(w, NULL, &only, &n, &e), e);
	CHECK(!only);                                   /* everything */
	watch_close(w);
}

/* More events than the list holds: everything. */
TEST(watch_flood)
{
	folder();
	for (int i = 0; i < 12000; i++) {
		char name[40];

		snprintf(name, sizeof name, "in/sub/%d.txt", i);
		put(name, "x");
	}
	do
		CHECK_OK(watch_wait(w, NULL, &only, &n, &e), e);
	while (only);
	watch_close(w);
}

TEST(watch_cancel)
{
	volatile int stop = 1;

	folder();
	CHECK_INT(watch_wait(w, &stop, &only, &n, &e), E_CANCELLED);
	watch_close(w);
}
