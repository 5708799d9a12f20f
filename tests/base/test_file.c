/* test_file.c: whole files of odd sizes, caps, files that change while they are read, mappings, folders, paths, and
 * writes that fail or die in the middle. */
#include "base/file.h"
#include "base/fault.h"
#include "base/mem.h"
#include "tests/test.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *in_dir(const char *name)
{
	static char path[4][400], dir[300];
	static int turn;
	if (!dir[0]) snprintf(dir, sizeof dir, "%s", test_dir());
	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
	return path[turn];
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;
	CHECK(d);
	for (struct dirent *ent; (ent = readdir(d)) != NULL;) n += ent->d_name[0] != '.';
	closedir(d);
	return n;
}

TEST(file_round_trip_of_odd_sizes)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 65, 4095, 4096, 4097, 262143, 262144, 262145, 1000003 };
	const char *path = in_dir("f");
	struct err e;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t n = sizes[i];
		char *data = mem_alloc(n);
		struct buf b;
		struct mapping m;
		for (size_t k = 0; k < n; k++) data[k] = (char)(k * 31 + i);
		CHECK_OK(file_write_atomic(path, data, n, &e), e);
		buf_init(&b, n + 3); /* the largest that fits */
		buf_puts(&b, "abc");
		CHECK_OK(file_read(path, &b, &e), e);
		CHECK(b.len == n + 3 && memcmp(b.data, "abc", 3) == 0 && memcmp(b.data + 3, data, n) == 0);
		buf_clear(&b);
		if (n > 0) {
			buf_init(&b, n - 1);
			CHECK_INT(file_read(path, &b, &e), E_LIMIT);
			CHECK(strstr(e.msg, path));
			CHECK_INT(b.len, 0);
			buf_clear(&b);
		}
		CHECK_OK(mapping_open(&m, path, &e), e);
		CHECK(m.len == n && (n > 0 ? memcmp(m.data, data, n) == 0 : m.data == NULL));
		mapping_close(&m);
		mapping_close(&m);
		mem_free(data);
	}
	CHECK_INT(entries(in_dir("")), 1);
}

TEST(file_read_refusals_name_the_path)
{
	struct buf b;
	struct err e;
	buf_init(&b, 100);
	buf_puts(&b, "kept");
	CHECK_INT(file_read(in_dir("none"), &b, &e), E_NOT_FOUND);
	CHECK(strstr(e.msg, "/none: No such file"));
	CHECK_INT(file_read(in_dir(""), &b, &e), E_IO);
	CHECK(strstr(e.msg, "is a folder"));
	CHECK_INT(file_read("/dev/zero", &b, &e), E_LIMIT);
	CHECK_STR(buf_cstr(&b), "kept");
	CHECK(file_exists(in_dir("")) && !file_exists(in_dir("none")));
	buf_clear(&b);
	buf_init(&b, 1u << 20);
	CHECK_OK(file_read("/proc/self/status", &b, &e), e); /* tells size 0 and has more */
	CHECK(b.len > 100 && strstr(b.data, "VmRSS"));
	buf_clear(&b);
}

static void *grow_shrink(void *arg)
{
	int fd = open(arg, O_RDWR);
	for (int i = 0; i < 2000; i++)
		if (ftruncate(fd, i % 7 * 90001) != 0) break;
	close(fd);
	return NULL;
}

TEST(file_read_while_the_size_changes)
{
	char path[400];
	pthread_t thread;
	struct err e;
	snprintf(path, sizeof path, "%s", in_dir("f"));
	CHECK_OK(file_write_atomic(path, "", 0, &e), e);
	pthread_create(&thread, NULL, grow_shrink, path);
	for (int i = 0; i < 300; i++) {
		struct buf b;
		int rc;
		buf_init(&b, i % 2 ? 300000 : 1000000);
		rc = file_read(path, &b, &e);
		CHECK(rc == OK || (rc == E_LIMIT && i % 2));
		CHECK(b.len <= b.max);
		buf_clear(&b);
	}
	pthread_join(thread, NULL);
}

TEST(file_read_without_memory)
{
	struct buf b;
	struct err e;
	CHECK_OK(file_write_atomic(in_dir("f"), "hello", 5, &e), e);
	buf_init(&b, 100);
	fault_alloc_after(1);
	CHECK_INT(file_read(in_dir("f"), &b, &e), E_MEMORY);
	CHECK_INT(b.len, 0);
	buf_clear(&b);
}

TEST(mapping_refuses_what_is_no_regular_file)
{
	struct mapping m;
	struct err e;
	CHECK_INT(mapping_open(&m, in_dir(""), &e), E_IO);
	CHECK(strstr(e.msg, "is a folder") && m.data == NULL && m.len == 0);
	CHECK_INT(mapping_open(&m, "/dev/null", &e), E_IO);
	CHECK(strstr(e.msg, "not a regular file"));
	CHECK(mkfifo(in_dir("pipe"), 0600) == 0);
	CHECK_INT(mapping_open(&m, in_dir("pipe"), &e), E_IO);
	CHECK_INT(mapping_open(&m, in_dir("none"), &e), E_NOT_FOUND);
}

TEST(file_write_replaces_and_names_failures)
{
	struct buf b;
	struct err e;
	struct stat st;
	mode_t mask = umask(022);
	CHECK_OK(file_write_atomic(in_dir("f"), "old", 3, &e), e);
	CHECK_OK(file_write_atomic(in_dir("f"), "newer", 5, &e), e);
	CHECK(stat(in_dir("f"), &st) == 0 && (st.st_mode & 0777) == 0644);
	umask(mask);
	buf_init(&b, 100);
	CHECK_OK(file_read(in_dir("f"), &b, &e), e);
	CHECK_STR(buf_cstr(&b), "newer");
	buf_clear(&b);
	CHECK_INT(file_write_atomic(in_dir("none/f"), "x", 1, &e), E_NOT_FOUND);
	CHECK_OK(dir_make(in_dir("d"), &e), e);
	CHECK_INT(file_write_atomic(in_dir("d"), "x", 1, &e), E_IO); /* a folder is in its place */
	CHECK_INT(entries(in_dir("")), 2);
	CHECK(chdir(in_dir("d")) == 0);
	CHECK_OK(file_write_atomic("bare", "x", 1, &e), e); /* a path without a folder */
	CHECK(file_exists("bare"));
}

TEST(file_write_on_a_full_disk_keeps_the_old)
{
	struct buf b;
	struct err e;
	setenv("FOOTNOTE_FAULT", "file.write:2:fail", 1);
	CHECK_OK(file_write_atomic(in_dir("f"), "old", 3, &e), e);
	CHECK_INT(file_write_atomic(in_dir("f"), "new", 3, &e), E_FULL);
	CHECK(strstr(e.msg, "No space left"));
	buf_init(&b, 100);
	CHECK_OK(file_read(in_dir("f"), &b, &e), e);
	CHECK_STR(buf_cstr(&b), "old");
	CHECK_INT(entries(in_dir("")), 1);
	buf_clear(&b);
}

TEST(file_write_killed_before_the_rename_keeps_the_old)
{
	const char *path = in_dir("f");
	struct buf b;
	struct err e;
	int status;
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		setenv("FOOTNOTE_FAULT", "file.rename:2", 1);
		if (file_write_atomic(path, "old", 3, &e)) _exit(1);
		file_write_atomic(path, "new", 3, &e);
		_exit(2);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	buf_init(&b, 100);
	CHECK_OK(file_read(path, &b, &e), e);
	CHECK_STR(buf_cstr(&b), "old");
	buf_clear(&b);
}

TEST(dir_make_levels)
{
	char path[5000];
	struct err e;
	CHECK_OK(dir_make(in_dir("a/b//c/"), &e), e);
	CHECK_OK(dir_make(in_dir("a/b/c"), &e), e);
	CHECK(file_exists(in_dir("a/b/c")));
	CHECK_OK(file_write_atomic(in_dir("a/f"), "x", 1, &e), e);
	CHECK_INT(dir_make(in_dir("a/f"), &e), E_IO);
	CHECK(strstr(e.msg, "a file is in its place"));
	CHECK(dir_make(in_dir("a/f/g"), &e) != OK);
	CHECK_INT(dir_make("", &e), E_USAGE);
	CHECK_OK(dir_make("/", &e), e);
	memset(path, 'x', sizeof path - 1);
	path[sizeof path - 1] = 0;
	CHECK_INT(dir_make(path, &e), E_USAGE);
	CHECK_INT(file_write_atomic(path, "x", 1, &e), E_USAGE);
}

TEST(path_absolute_cases)
{
	static const struct { const char *cwd, *path, *want; } cases[] = {
		{ "/w/d", "a", "/w/d/a" }, { "/w/d", "./a/../b", "/w/d/b" }, { "/w/d", "..", "/w" }, { "/w/d", "../..", "/" },
		{ "/w/d", "../../../..", "/" }, { "/w/d", "/x//y/", "/x/y" }, { "/w/d", "/", "/" }, { "/w/d", "//", "/" },
		{ "/w/d", ".", "/w/d" }, { "/", "a", "/a" }, { "/w//d/", "a//b", "/w/d/a/b" }, { "/w/./d/../e", "f", "/w/e/f" },
		{ "/w", "...", "/w/..." }, { "/w", "..a/.b", "/w/..a/.b" }, { "/w", "a/..", "/w" }, { "/", "..", "/" },
		{ "/w", "sp ace/\xc3\xa9", "/w/sp ace/\xc3\xa9" }, { "/w", "/a/./../b/../../c", "/c" },
	};
	struct buf out;
	struct err e;
	char here[400];
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		CHECK_OK(path_absolute(&out, cases[i].cwd, cases[i].path, &e), e);
		CHECK_STR(buf_cstr(&out), cases[i].want);
	}
	CHECK_INT(path_absolute(&out, "/w", "", &e), E_USAGE);
	CHECK_INT(path_absolute(&out, "w", "a", &e), E_USAGE);
	CHECK(chdir(in_dir("")) == 0 && getcwd(here, sizeof here));
	CHECK_OK(path_absolute(&out, NULL, "x/../y", &e), e);
	CHECK(strncmp(buf_cstr(&out), here, strlen(here)) == 0);
	CHECK_STR(buf_cstr(&out) + strlen(here), "/y");
	buf_clear(&out);
	buf_init(&out, 5);
	CHECK_INT(path_absolute(&out, "/w", "abcdef", &e), E_LIMIT);
	buf_clear(&out);
}

TEST(path_named_in_a_text)
{
	static const struct { const char *text; int named; } cases[] = {
		{ "/a/b.txt", 1 }, { "/a/b.txt#part", 1 }, { "/a/b.txt: no parser", 1 }, { "same content as /a/b.txt", 1 },
		{ "\"/a/b.txt\" and others", 1 }, { "took /a/b.txt, then (/a/c)", 1 }, { "It was /a/b.txt.", 1 },
		{ "/a/b.txt2", 0 }, { "/a/b.txt.gz", 0 }, { "/a/b.txt c", 0 }, { "/a/b.txt/d", 0 }, { "/x/a/b.txt", 0 }, { "/a/b.tx", 0 },
		{ "took /x/a/b.txt and /a/b.txt.gz", 0 }, { "/a/b.txt.gz holds /a/b.txt", 1 }, { "", 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		CHECK_MSG(path_is_named(cases[i].text, "/a/b.txt") == cases[i].named, "%s", cases[i].text);
	CHECK(!path_is_named("x", "") && !path_is_named("", ""));
}

TEST(path_parts)
{
	static const struct { const char *a, *b, *want; } joins[] = {
		{ "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "a", "/b", "a/b" }, { "a//", "//b", "a/b" }, { "/", "b", "/b" },
		{ "", "b", "b" }, { "", "/b", "/b" }, { "a", "", "a" }, { "a/", "", "a" }, { "//", "/b", "/b" }, { "", "", "" },
	};
	struct buf out;
	buf_init(&out, 6);
	for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
		CHECK_INT(path_join(&out, joins[i].a, joins[i].b), OK);
		CHECK_STR(buf_cstr(&out), joins[i].want);
	}
	CHECK_INT(path_join(&out, "abc", "def"), E_LIMIT);
	buf_clear(&out);
	CHECK_STR(path_base("/a/b.txt"), "b.txt");
	CHECK_STR(path_base("b"), "b");
	CHECK_STR(path_base("a/"), "");
	CHECK_STR(path_ext("/a.d/b.tar.gz"), "gz");
	CHECK_STR(path_ext("/a.d/b"), "");
	CHECK_STR(path_ext("b."), "");
}
