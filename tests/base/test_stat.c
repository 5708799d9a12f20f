/* test_stat.c: the text that is printed, sums over threads, the limit of series, and values that are no numbers. */
#include "base/stat.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "tests/test.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>

static const char *printed(void)
{
	static struct buf out;
	if (!out.max) buf_init(&out, 10u << 20);
	buf_reset(&out);
	CHECK_INT(stat_print(&out), OK);
	return buf_cstr(&out);
}

TEST(stat_text_format)
{
	stat_count("f_answers_total", "status=\"ok\"", 1);
	stat_gauge("f_size", "", 3);
	stat_count("f_answers_total", "status=\"bad\"", 2.5);
	stat_count("f_answers_total", "status=\"ok\"", 1);
	stat_gauge("f_size", "", -4.25);
	CHECK_STR(printed(), "# TYPE f_answers_total counter\nf_answers_total{status=\"ok\"} 2\n"
		"f_answers_total{status=\"bad\"} 2.5\n# TYPE f_size gauge\nf_size -4.25\n");
}

TEST(stat_histogram)
{
	const char *text;
	stat_observe_ms("f_seconds", "route=\"/a\"", 0.5);
	stat_observe_ms("f_seconds", "route=\"/a\"", 1);
	stat_observe_ms("f_seconds", "route=\"/a\"", 1.5);
	stat_observe_ms("f_seconds", "route=\"/a\"", 60000);
	stat_observe_ms("f_seconds", "route=\"/a\"", 99999);
	stat_observe_ms("f_plain", "", 20);
	text = printed();
	CHECK(strstr(text, "# TYPE f_seconds histogram\nf_seconds_bucket{route=\"/a\",le=\"0.001\"} 2\n"));
	CHECK(strstr(text, "f_seconds_bucket{route=\"/a\",le=\"0.002\"} 3\n"));
	CHECK(strstr(text, "f_seconds_bucket{route=\"/a\",le=\"20\"} 3\n"));
	CHECK(strstr(text, "f_seconds_bucket{route=\"/a\",le=\"60\"} 4\nf_seconds_bucket{route=\"/a\",le=\"+Inf\"} 5\n"));
	CHECK(strstr(text, "f_seconds_sum{route=\"/a\"} 160.002\nf_seconds_count{route=\"/a\"} 5\n"));
	CHECK(strstr(text, "f_plain_bucket{le=\"0.01\"} 0\nf_plain_bucket{le=\"0.02\"} 1\n"));
	CHECK(strstr(text, "f_plain_sum 0.02\nf_plain_count 1\n"));
}

TEST(stat_ignores_what_is_no_number)
{
	log_set_level(LOG_OFF);
	stat_count("f_a", "", 1);
	stat_count("f_a", "", NAN);
	stat_gauge("f_b", "", INFINITY);
	stat_observe_ms("f_c", "", NAN);
	stat_gauge("f_a", "", 9); /* another kind than its first use */
	CHECK(strstr(printed(), "f_a 1\n"));
	CHECK(strstr(printed(), "f_b 0\n"));
	CHECK(strstr(printed(), "f_c_count 0\n"));
}

TEST(stat_names_are_copied)
{
	char name[] = "f_x", labels[] = "k=\"v\"";
	stat_count(name, labels, 1);
	memset(name, 'z', 3);
	memset(labels, 'z', 5);
	CHECK(strstr(printed(), "f_x{k=\"v\"} 1\n"));
}

TEST(stat_limit_of_series)
{
	int lines = 0;
	log_set_level(LOG_OFF);
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 700; i++) {
			char labels[32];
			snprintf(labels, sizeof labels, "i=\"%d\"", i);
			stat_count("f_many", labels, 1);
		}
	for (const char *line = printed(); (line = strstr(line, "\nf_many{")) != NULL; line++) lines++;
	CHECK_INT(lines, 512);
	CHECK(strstr(printed(), "f_many{i=\"511\"} 3\n"));
	CHECK(!strstr(printed(), "f_many{i=\"512\"}"));
}

TEST(stat_print_says_when_it_does_not_fit)
{
	struct buf out;
	stat_count("f_total", "", 1);
	buf_init(&out, 10);
	CHECK_INT(stat_print(&out), E_LIMIT);
	buf_clear(&out);
}

static void *count_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < 4000; i++) {
		char labels[32];
		snprintf(labels, sizeof labels, "i=\"%d\"", i % 50);
		stat_count("f_shared", labels, 0.5);
		stat_observe_ms("f_shared_seconds", "", 2);
		if (i % 1000 == 0) {
			struct buf out;
			buf_init(&out, 1u << 20);
			stat_print(&out);
			buf_clear(&out);
		}
	}
	return NULL;
}

TEST(stat_threads_lose_nothing)
{
	pthread_t thread[4];
	for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, count_many, NULL);
	for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
	for (int i = 0; i < 50; i++) {
		char line[64];
		snprintf(line, sizeof line, "f_shared{i=\"%d\"} 160\n", i);
		CHECK_MSG(strstr(printed(), line), "%s", line);
	}
	CHECK(strstr(printed(), "f_shared_seconds_count 16000\n"));
	CHECK(strstr(printed(), "f_shared_seconds_sum 32\n"));
}

TEST(stat_shares_have_bins_of_a_tenth)
{
	struct buf out;
	buf_init(&out, 1 << 20);
	const double shares[] = { 0, 0.1, 0.11, 0.95, 1, 1.5 };
	for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) stat_observe_share("test_share", "", shares[i]);
	CHECK_INT(stat_print(&out), 0);
	CHECK(strstr(buf_cstr(&out), "# TYPE test_share histogram\ntest_share_bucket{le=\"0.1\"} 2\ntest_share_bucket{le=\"0.2\"} 3\n"));
	CHECK(strstr(buf_cstr(&out), "test_share_bucket{le=\"0.9\"} 3\ntest_share_bucket{le=\"1\"} 5\ntest_share_bucket{le=\"+Inf\"} 6\n"));
	CHECK(strstr(buf_cstr(&out), "test_share_sum 3.66\ntest_share_count 6\n"));
	buf_clear(&out);
}
