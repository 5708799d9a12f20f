/* test_walk.c: folders, links, odd names. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "index/index.h"
#include "ingest/walk.h"
#include "tests/test.h"

static char dir[200];

static const char *at(const char *name)
{
	static char path[400];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void put(const char *name)
{
	struct err e = { 0 };

	CHECK_OK(file_write_atomic(at(name), "x", 1, &e), e);
}

static void folder(const char *name)
{
	struct err e = { 0 };

	CHECK_OK(dir_make(at(name), &e), e);
}

static void links(const char *to, const char *name)
{
	CHECK(symlink(to, at(name)) == 0);
}

static void begin(void)
{
	snprintf(dir, sizeof dir, "%s", test_dir());
}

static const struct walk_file *find(const struct walk *w, const char *name)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->files[i].source, at(name)) == 0)
			return &w->files[i];
	return NULL;
}

TEST(walk_tree)
{
	const char *paths[] = { "in" };
	struct walk w;
	struct err e = { 0 };

	begin();
	folder("in/b/c");
	put("in/z.txt");
	put("in/b/c/d.txt");
	put("in/.hidden");
	folder("in/.git");
	put("in/.git/x");
	folder("out");
	put("out/o.txt");
	links("..", "in/b/up");                 /* a loop */
	links("z.txt", "in/a_link.txt");        /* its file is there under its own name */
	links("../out", "in/outside");
	links("../out/o.txt", "in/zz.txt");     /* already seen through the folder */
	links("nowhere", "in/dangling");
	CHECK(mkfifo(at("in/pipe"), 0600) == 0);
	CHECK_OK(walk_paths(&w, dir, paths, 1, &(struct walk_options){ .depth_max = 8 }, &e), e);
	CHECK(find(&w, "in/z.txt") && find(&w, "in/b/c/d.txt"));
	CHECK(!find(&w, "in/.hidden") && !find(&w, "in/.git/x") && !find(&w, "in/a_link.txt"));
	CHECK_INT((find(&w, "in/outside/o.txt") != NULL) + (find(&w, "in/zz.txt") != NULL), 1);
	CHECK_INT(find(&w, "in/dangling")->verdict, DOC_FAILED);
	CHECK_INT(find(&w, "in/pipe")->verdict, DOC_SKIPPED);
	CHECK_STR(find(&w, "in/pipe")->reason, "not a regular file (fifo)");
	CHECK_INT(w.n, 5);
	CHECK_INT(w.root_n, 1);
	CHECK_STR(w.roots[0].source, at("in"));
	CHECK(w.roots[0].complete);
	CHECK_STR(find(&w, "in/z.txt")->root, at("in"));
	CHECK_INT(find(&w, "in/z.txt")->size, 1);
	CHECK(walk_has(&w, at("in/z.txt")) && !walk_has(&w, at("in/y.txt")));
	walk_clear(&w);
}

TEST(walk_given)
{
	const char *paths[] = { "in/z.txt", "in", "gone.txt", "in/../in/z.txt" };
	const char *empty[] = { "" };
	struct walk w;
	struct err e = { 0 };

	begin();
	folder("in");
	put("in/z.txt");
	CHECK_OK(walk_paths(&w, dir, paths, 4, &(struct walk_options){ .depth_max = 8 }, &e), e);
	CHECK_INT(w.n, 2);
	CHECK(find(&w, "gone.txt")->missing);
	CHECK_INT(find(&w, "gone.txt")->verdict, DOC_FAILED);
	CHECK_STR(find(&w, "gone.txt")->reason, strerror(ENOENT));
	CHECK_STR(find(&w, "in/z.txt")->root, at("in"));
	walk_clear(&w);
	CHECK_INT(walk_paths(&w, dir, empty, 1, &(struct walk_options){ .depth_max = 8 }, &e), E_USAGE);
	walk_clear(&w);
}

/* Links lead no further than they may, whatever they are called. */
TEST(walk_within)
{
	const char *paths[] = { "in/open", "in/way" }, *within[1];
	struct walk_options o = { .depth_max = 8, .within = within, .within_n = 1 };
	struct buf text;
	struct walk w;
	struct err e = { 0 };
	char in[400];

	begin();
	snprintf(in, sizeof in, "%s", at("in"));
	within[0] = in;
	folder("in/open");
	folder("in/other");
	folder("out/deep");
	put("in/open/a.txt");
	put("in/other/b.txt");
	put("out/deep/c.txt");
	links("../other", "in/open/near");
	links("../../out", "in/open/link");
	links("../../out/deep/c.txt", "in/open/c.txt");
	links("../../in-gone", "in/open/gone");
	links("../out", "in/way");
	CHECK_OK(walk_paths(&w, dir, paths, 2, &o, &e), e);
	CHECK_INT(w.n, 6);
	CHECK_INT(find(&w, "in/open/a.txt")->verdict, 0);
	CHECK_INT(find(&w, "in/open/near/b.txt")->verdict, 0);
	CHECK_INT(find(&w, "in/open/link")->verdict, DOC_SKIPPED);
	CHECK_STR(find(&w, "in/open/link")->reason, "link leads out of sources.roots");
	CHECK_INT(find(&w, "in/open/c.txt")->verdict, DOC_SKIPPED);
	CHECK_INT(find(&w, "in/open/gone")->verdict, DOC_FAILED);
	CHECK_INT(find(&w, "in/way")->verdict, DOC_FAILED);
	walk_clear(&w);
	o.within_n = 0;
	CHECK_OK(walk_paths(&w, dir, paths, 2, &o, &e), e);
	CHECK_INT(w.n, 4);
	CHECK_INT(find(&w, "in/way/deep/c.txt")->verdict, 0);
	walk_clear(&w);
	/* a name that became a link after the walk */
	buf_init(&text, 100);
	CHECK_INT(file_read_within(at("in/open/c.txt"), within, 1, &text, &e), E_DENIED);
	CHECK_INT(text.len, 0);
	CHECK_OK(file_read_within(at("in/open/near/b.txt"), within, 1, &text, &e), e);
	buf_clear(&text);
}

TEST(walk_limits)
{
	const char *paths[] = { "in" };
	volatile int stop = 1;
	struct walk w;
	struct err e = { 0 };

	begin();
	folder("in/1/2/3");
	put("in/1/a.txt");
	put("in/1/2/3/b.txt");
	CHECK_OK(walk_paths(&w, dir, paths, 1, &(struct walk_options){ .depth_max = 2 }, &e), e);
	CHECK(find(&w, "in/1/a.txt") && !find(&w, "in/1/2/3/b.txt"));
	CHECK(!w.roots[0].complete);
	CHECK_INT(find(&w, "in/1/2/3")->verdict, DOC_SKIPPED);
	walk_clear(&w);
	CHECK_INT(walk_paths(&w, dir, paths, 1, &(struct walk_options){ .depth_max = 2, .cancel = &stop }, &e), E_CANCELLED);
	walk_clear(&w);
}

TEST(walk_name_not_utf8)
{
	const char *paths[] = { "." };
	struct walk w;
	struct err e = { 0 };
	int fd;

	begin();
	fd = open(at("caf\xE9.txt"), O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0 && close(fd) == 0);
	CHECK_OK(walk_paths(&w, dir, paths, 1, &(struct walk_options){ .depth_max = 8 }, &e), e);
	CHECK_INT(w.n, 1);
	CHECK_STR(w.files[0].source, at("caf%E9.txt"));
	CHECK_STR(w.files[0].path, at("caf\xE9.txt"));
	CHECK(strstr(w.files[0].reason, "not valid UTF-8"));
	CHECK_INT(w.files[0].verdict, 0);
	walk_clear(&w);
}
