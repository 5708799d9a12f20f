/* test_log.c: what a line looks like, which levels pass, and that no argument can forge a second line. */
#include "base/log.h"
#include "base/clock.h"
#include "tests/test.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static char got[1 << 20];

/* Runs fn with stderr going to a file, and reads the file into got. */
static void capture(void (*fn)(void))
{
	char path[300];
	int keep = dup(2), fd;
	ssize_t n;
	snprintf(path, sizeof path, "%s/log", test_dir());
	fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
	CHECK(fd >= 0 && keep >= 0);
	dup2(fd, 2);
	fn();
	dup2(keep, 2);
	close(keep);
	n = pread(fd, got, sizeof got - 1, 0);
	close(fd);
	CHECK(n >= 0);
	got[n] = 0;
}

static void some_lines(void)
{
	log_put(LOG_DEBUG, "base", "hidden");
	log_put(LOG_INFO, "base", "shown %d", 1);
	log_set_level(LOG_ERROR);
	log_put(LOG_WARN, "base", "hidden");
	log_put(LOG_ERROR, "base", "a\nb\x1b" "c");
	log_set_level(LOG_OFF);
	log_put(LOG_ERROR, "base", "hidden");
	log_put(LOG_OFF, "base", "hidden");
}

TEST(log_lines_by_level)
{
	char *line;
	capture(some_lines);
	CHECK(!strstr(got, "hidden"));
	line = got + CLOCK_TEXT_LEN - 1;
	CHECK(strncmp(line, " info base: shown 1\n", 20) == 0);
	CHECK(strstr(got, " error base: a b c\n"));
	CHECK(got[4] == '-' && got[10] == 'T' && got[CLOCK_TEXT_LEN - 2] == 'Z');
}

static void long_line(void)
{
	static char text[5000];
	memset(text, 'x', sizeof text - 1);
	log_put(LOG_WARN, "base", "%s", text);
	log_put(LOG_WARN, text, "tail");
}

TEST(log_long_line_is_cut_and_ended)
{
	char *end;
	capture(long_line);
	end = strchr(got, '\n');
	CHECK(end && end - got == 2047);
	CHECK(got[strlen(got) - 1] == '\n');
}

static void *log_many(void *arg)
{
	for (int i = 0; i < 200; i++) log_put(LOG_INFO, "base", "thread %d line %d.", *(int *)arg, i);
	return NULL;
}

static void four_threads(void)
{
	pthread_t thread[4];
	int id[4] = { 0, 1, 2, 3 };
	for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, log_many, &id[i]);
	for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
}

TEST(log_lines_of_threads_stay_whole)
{
	int lines = 0;
	capture(four_threads);
	for (char *line = got, *end; *line; line = end + 1, lines++) {
		end = strchr(line, '\n');
		CHECK(end && end[-1] == '.' && strncmp(line + CLOCK_TEXT_LEN - 1, " info base: thread ", 19) == 0);
	}
	CHECK_INT(lines, 800);
}

TEST(log_level_names)
{
	CHECK_INT(log_level_parse("debug"), LOG_DEBUG);
	CHECK_INT(log_level_parse("warn"), LOG_WARN);
	CHECK_INT(log_level_parse("off"), LOG_OFF);
	CHECK_INT(log_level_parse("WARN"), -1);
	CHECK_INT(log_level_parse(""), -1);
}
